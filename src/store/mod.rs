//! What survives a restart of hub, in one embedded database.
//!
//! In: rows. Out: rows. One thread owns the only connection; a [`Store`] is the way to it. May not: be on the way of a
//! request (callers read at start and write behind), or grow its queue without bound.
//!
//! The file is made for this user alone. A file that is no database (a disk error, a copy gone wrong) is moved aside
//! and a new one is begun: sessions and caches are worth less than a hub that starts. A file of a newer hub is left
//! alone and is an error.

mod cache;
mod database;
mod journal;
mod ports;
mod sessions;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use crate::limits;

pub use cache::CacheRow;
use database::Database;
pub use journal::{ProcessRow, RunRow};
pub use ports::ports_in;
pub use sessions::SessionRow;

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file, or a folder above it, cannot be used.
    #[error("cannot open {}", .path.display())]
    Open {
        /// The database file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The file was written by a newer hub.
    #[error(
        "the state was written by a newer hub (schema {found}, this one knows {known}); use that one, or another state folder"
    )]
    Newer {
        /// Schema version of the file.
        found: i64,
        /// Newest schema version that this hub knows.
        known: i64,
    },
    /// The database refused.
    #[error("the state database failed")]
    Database(#[from] rusqlite::Error),
    /// The store's thread is gone (hub is stopping).
    #[error("the state database is closed")]
    Closed,
}

/// The way to the database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    queue: mpsc::Sender<Job>,
    dropped: Arc<AtomicU64>,
}

type Work = Box<dyn FnOnce(&mut Database) + Send>;

enum Job {
    Work(Work),
    Close(oneshot::Sender<()>),
}

impl Store {
    /// Opens or creates the database file (0600) and starts its thread. Blocks for some milliseconds.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let database = Database::open(path)?;
        let (queue, jobs) = mpsc::channel(limits::STORE_QUEUE_MAX);
        let thread = std::thread::Builder::new().name("hub-store".into());
        let spawned = thread.spawn(move || run(database, jobs));
        spawned.map_err(|error| Error::Open { path: path.to_owned(), error })?;
        Ok(Self { queue, dropped: Arc::default() })
    }

    /// Finishes what is queued and closes the file. What comes later is [`Error::Closed`].
    pub async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.queue.send(Job::Close(done)).await.is_ok() {
            wait.await.ok();
        }
    }

    /// Touches that were dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Runs `work` on the store's thread and waits for its answer.
    async fn ask<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        let work: Work = Box::new(move |database| drop(done.send(database.run(work))));
        self.queue.send(Job::Work(work)).await.map_err(|_closed| Error::Closed)?;
        answer.await.map_err(|_closed| Error::Closed)?
    }

    /// Queues `work` if there is room; its errors are logged.
    fn later<F>(&self, what: &'static str, work: F) -> bool
    where
        F: FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<()> + Send + 'static,
    {
        self.queue.try_send(Job::logged(what, work)).is_ok()
    }
}

impl Job {
    /// Work that nobody waits for.
    fn logged<F>(what: &'static str, work: F) -> Self
    where
        F: FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<()> + Send + 'static,
    {
        Self::Work(Box::new(move |database| {
            if let Err(error) = database.run(work) {
                tracing::warn!(what, error = &error as &dyn std::error::Error, "a write to the state was lost");
            }
        }))
    }
}

fn run(mut database: Database, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        match job {
            Job::Work(work) => work(&mut database),
            Job::Close(done) => {
                jobs.close();
                while let Some(Job::Work(work)) = jobs.blocking_recv() {
                    work(&mut database);
                }
                drop(database);
                // The closer may have given up waiting.
                done.send(()).ok();
                return;
            }
        }
    }
}

/// Seconds since 1970, as times are kept in rows.
pub fn unix_seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

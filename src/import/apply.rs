//! Doing what the plan says: backups first, hub.toml next, the clients' files last.
//!
//! In: a [`Plan`]. Out: the files, changed, and what could not be. Owns the lock of imports while it runs. May not: write a
//! file that changed since the plan was made.
//!
//! A kill between any two steps leaves whole files and a backup that tells of all of them. hub.toml comes first: a server
//! that no client uses yet harms nobody, a client whose server is missing does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::journal::{self, Journal, Of, Record};
use super::plan::Plan;
use crate::files::{self, Change, Lock};
use crate::platform::dirs::{self, Dirs};

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// Files that were written.
    pub written: Vec<PathBuf>,
    /// Files that were not, and why.
    pub failed: Vec<(PathBuf, String)>,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process changes the same files.
    #[error("another hub command is changing these files just now (import, undo, add, remove, enable or disable)")]
    Busy,
    /// A folder cannot be made.
    #[error(transparent)]
    Folder(#[from] dirs::Error),
    /// No backup, no change.
    #[error(transparent)]
    Backup(#[from] journal::Error),
    /// The lock cannot be taken.
    #[error("cannot use {}", .folder.display())]
    Lock {
        /// The state folder.
        folder: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The files are written; an undo knows them.
    #[error("the import was done, but its backup could not be closed")]
    Unclosed(#[source] journal::Error),
    /// hub.toml cannot be written, so that no client was sent to it.
    #[error("cannot write {}: {why}", .path.display())]
    HubToml {
        /// hub.toml.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Makes the state folder if needed, and takes the lock on it.
pub(super) fn lock(state_dir: &Path) -> Result<Lock, Error> {
    dirs::create_private(state_dir)?;
    Lock::take(state_dir).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::Busy,
        _ => Error::Lock { folder: state_dir.to_owned(), error },
    })
}

/// Does it.
pub fn apply(plan: &Plan, dirs: &Dirs, now: SystemTime) -> Result<Done, Error> {
    let mut done = Done::default();
    if plan.is_empty() {
        return Ok(done);
    }
    let mut folders = missing(&dirs.state_dir);
    let _lock = lock(&dirs.state_dir)?;
    let journal = Journal::of(&dirs.state_dir);
    journal.sweep()?;
    for folder in plan.changes.iter().filter_map(|change| change.path.parent()) {
        folders.extend(missing(folder).into_iter().filter(|folder| !folders.contains(folder)).collect::<Vec<_>>());
    }
    let mut backup = journal.begin(plan.changes.clone(), folders, now)?;
    let mut records = Vec::new();
    for (record, change) in backup.manifest.files.clone().into_iter().zip(&plan.changes) {
        let before = change.before.as_ref().map(|(bytes, _)| bytes.as_slice());
        let (after, mode) = (Some(change.after.0.as_slice()), change.after.1);
        let change = Change { path: &record.path, temp: &record.temp, before, after, mode };
        match make_folder(&record).and_then(|()| files::change(change)) {
            Ok(()) => {
                done.written.push(record.path.clone());
                records.push(record);
            }
            Err(error) if matches!(record.of, Of::Hub { .. }) => {
                let folders = backup.manifest.folders.clone();
                backup.forget()?;
                journal.tidy();
                remove_folders(&folders);
                return Err(Error::HubToml { path: record.path, why: error.to_string() });
            }
            Err(error) => done.failed.push((record.path, error.to_string())),
        }
    }
    if records.is_empty() {
        backup.forget()?;
        journal.tidy();
    } else {
        backup.complete(records).map_err(Error::Unclosed)?;
    }
    Ok(done)
}

fn make_folder(record: &Record) -> Result<(), files::Error> {
    let Some(folder) = record.path.parent().filter(|folder| !folder.exists()) else { return Ok(()) };
    let made = dirs::create_private(folder);
    made.map_err(|error| files::Error::Io {
        what: "cannot make its folder",
        error: io::Error::other(error.to_string()),
    })
}

/// Folders that have to be made for this one, the outermost first.
fn missing(folder: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> =
        folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
    missing.reverse();
    missing
}

/// Removes folders that an import made, if nothing is in them now.
pub(super) fn remove_folders(folders: &[PathBuf]) {
    for folder in folders.iter().rev() {
        // Somebody may use it by now: then it stays.
        fs::remove_dir(folder).ok();
    }
}

//! Runs of the daemon and the processes that they started.
//!
//! In: beginnings and ends. Out: what never ended. The store's thread owns the rows. May not: drop a beginning, however
//! full the queue is.

use rusqlite::Connection;

use super::{Error, Job, Store};

/// One run of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Its random id, the marker of all its children.
    pub run: String,
    /// Its process id.
    pub pid: u32,
    /// Its start, in clock ticks since boot; 0: unknown.
    pub start: u64,
    /// Which boot.
    pub boot: String,
}

/// One child of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRow {
    /// The run that started it.
    pub run: String,
    /// Process, group and session id.
    pub pid: u32,
    /// Its start, in clock ticks since boot; 0: unknown.
    pub start: u64,
    /// The server that it is a child of.
    pub server: String,
    /// Which start of its instance.
    pub generation: u64,
}

impl Store {
    /// Notes a run of the daemon.
    pub async fn run_begun(&self, row: RunRow) -> Result<(), Error> {
        self.ask(move |connection| {
            let sql = "INSERT OR REPLACE INTO runs (run, pid, start, boot) VALUES (?, ?, ?, ?)";
            connection.execute(sql, (row.run, row.pid, row.start.cast_signed(), row.boot)).map(drop)
        })
        .await
    }

    /// Forgets a run and all its processes.
    pub async fn run_ended(&self, run: &str) -> Result<(), Error> {
        let run = run.to_owned();
        self.ask(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM processes WHERE run = ?", [&run])?;
            transaction.execute("DELETE FROM runs WHERE run = ?", [&run])?;
            transaction.commit()
        })
        .await
    }

    /// All runs that did not end in order, this one included.
    pub async fn runs(&self) -> Result<Vec<RunRow>, Error> {
        self.ask(|connection| {
            let mut statement = connection.prepare("SELECT run, pid, start, boot FROM runs")?;
            let rows = statement.query_map([], |row| {
                let start: i64 = row.get(2)?;
                Ok(RunRow { run: row.get(0)?, pid: row.get(1)?, start: start.cast_unsigned(), boot: row.get(3)? })
            })?;
            rows.collect()
        })
        .await
    }

    /// Notes a process at once or, if the queue is full, as soon as there is room. Needs a tokio runtime.
    pub fn process_started(&self, row: ProcessRow) {
        let write = move |connection: &mut Connection| {
            let sql = "INSERT OR REPLACE INTO processes (run, pid, start, server, generation) VALUES (?, ?, ?, ?, ?)";
            let values = (row.run, row.pid, row.start.cast_signed(), row.server, row.generation.cast_signed());
            connection.prepare_cached(sql)?.execute(values).map(drop)
        };
        match self.queue.try_reserve() {
            Ok(room) => room.send(Job::logged("a started process", write)),
            Err(tokio::sync::mpsc::error::TrySendError::Full(())) => {
                let queue = self.queue.clone();
                let job = Job::logged("a started process", write);
                // One waiting job per child at most, and children are few.
                drop(tokio::task::spawn_blocking(move || queue.blocking_send(job)));
            }
            Err(tokio::sync::mpsc::error::TrySendError::Closed(())) => {}
        }
    }

    /// Forgets a process whose group is gone.
    pub async fn process_ended(&self, run: &str, pid: u32) -> Result<(), Error> {
        let run = run.to_owned();
        self.ask(move |connection| {
            let sql = "DELETE FROM processes WHERE run = ? AND pid = ?";
            connection.prepare_cached(sql)?.execute((run, pid)).map(drop)
        })
        .await
    }

    /// The processes of a run that were not seen to end.
    pub async fn processes(&self, run: &str) -> Result<Vec<ProcessRow>, Error> {
        let run = run.to_owned();
        self.ask(move |connection| {
            let sql = "SELECT run, pid, start, server, generation FROM processes WHERE run = ?";
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([run], |row| {
                let (start, generation): (i64, i64) = (row.get(2)?, row.get(4)?);
                Ok(ProcessRow {
                    run: row.get(0)?,
                    pid: row.get(1)?,
                    start: start.cast_unsigned(),
                    server: row.get(3)?,
                    generation: generation.cast_unsigned(),
                })
            })?;
            rows.collect()
        })
        .await
    }
}

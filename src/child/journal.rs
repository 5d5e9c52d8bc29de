//! The process journal: what this daemon started, so that the next one can end what was left running.
//!
//! In: starts and ends of children. Out: rows in the store; at the next start, an end for leftovers. The store owns the
//! rows. May not: touch a process whose start time or marker does not match, or one of a daemon that still lives.

use crate::platform::family::{self, Marks, Seen};
use crate::platform::guarding;
use crate::store::{self, ProcessRow, RunRow, Store};

/// This daemon's part of the journal.
#[derive(Debug, Clone)]
pub struct Journal {
    store: Store,
    run: String,
}

impl Journal {
    /// Notes that this daemon runs, before it starts any child: even a child whose own row was never written is found
    /// later by the marker of this run.
    pub async fn open(store: Store, run_id: &str) -> Result<Self, store::Error> {
        let pid = std::process::id();
        let start = family::start_of(pid).unwrap_or(0);
        let row = RunRow { run: run_id.to_owned(), pid, start, boot: family::boot_id() };
        store.run_begun(row).await?;
        Ok(Self { store, run: run_id.to_owned() })
    }

    /// This daemon ends in order and leaves nothing.
    pub async fn close(self) -> Result<(), store::Error> {
        self.store.run_ended(&self.run).await
    }

    /// Ends what daemons that died left behind, and forgets them. Returns how many processes it found. Daemons that
    /// live (same pid, same start time, same boot) are left alone with all that is theirs. Takes milliseconds when
    /// there is nothing to do, two seconds per dead daemon at most.
    pub async fn clean_up(store: &Store) -> Result<usize, store::Error> {
        let boot = family::boot_id();
        let mut found = 0;
        for run in store.runs().await? {
            let same_boot = run.boot == boot;
            if same_boot && owner_lives(&run) {
                continue;
            }
            if same_boot {
                let groups = store.processes(&run.run).await?;
                let groups: Vec<Seen> = groups.iter().map(|row| Seen { pid: row.pid, start: row.start }).collect();
                let marks = Marks { run: run.run.clone(), child: None };
                // A panic while cleaning counts as nothing found; the rows must go all the same.
                found += tokio::task::spawn_blocking(move || guarding::end_all(&marks, &groups)).await.unwrap_or(0);
            }
            store.run_ended(&run.run).await?;
        }
        Ok(found)
    }

    pub(super) fn started(&self, pid: u32, server: &str, generation: u64) {
        let start = family::start_of(pid).unwrap_or(0);
        let row = ProcessRow { run: self.run.clone(), pid, start, server: server.to_owned(), generation };
        self.store.process_started(row);
    }

    pub(super) async fn removed(&self, pid: u32) {
        if let Err(error) = self.store.process_ended(&self.run, pid).await {
            // The next start finds the row, and no such process.
            tracing::warn!(pid, %error, "a process journal entry was not removed");
        }
    }
}

fn owner_lives(run: &RunRow) -> bool {
    let seen = Seen { pid: run.pid, start: run.start };
    family::may_live(seen)
}

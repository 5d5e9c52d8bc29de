//! One changer of hub.toml and of clients' files at a time: an import, an undo, an edit.
//!
//! In: the state folder. Out: a lock on it, held until it is dropped, whatever ends the process. Owns an open descriptor.
//! May not: leave a file behind, or wait for ever.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Tries for a lock on a folder that is removed at the same time, again and again.
const TRIES: usize = 10;
/// How often a lock that another has is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Holds the lock.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not used")] File);

impl Lock {
    /// Takes it; `WouldBlock` when another process has it.
    pub fn take(folder: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            let open = File::open(folder)?;
            open.try_lock().map_err(|error| match error {
                TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
                TryLockError::Error(error) => error,
            })?;
            // An undo may have removed the folder after it was opened: then the lock means nothing.
            if is_at(&open, folder) {
                return Ok(Self(open));
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Takes it when the other process is done; `WouldBlock` when that takes longer than `patience`.
    pub async fn wait(folder: &Path, patience: Duration) -> io::Result<Self> {
        let start = Instant::now();
        loop {
            match Self::take(folder) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && start.elapsed() < patience => {
                    sleep(LOOK_EVERY).await;
                }
                done => return done,
            }
        }
    }
}

/// Whether what is open is what has this name now.
pub(super) fn is_at(open: &File, path: &Path) -> bool {
    let id = |found: io::Result<Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
    id(fs::metadata(path)).is_some_and(|named| Some(named) == id(open.metadata()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one() {
        let folder = tempfile::tempdir().expect("folder");
        let first = Lock::take(folder.path()).expect("free");
        assert_eq!(Lock::take(folder.path()).expect_err("held").kind(), io::ErrorKind::WouldBlock);
        drop(first);
        Lock::take(folder.path()).expect("free again");
    }

    #[tokio::test]
    async fn it_is_waited_for() {
        let folder = tempfile::tempdir().expect("folder");
        let first = Lock::take(folder.path()).expect("free");
        let short = Lock::wait(folder.path(), Duration::from_millis(20)).await;
        assert_eq!(short.expect_err("held").kind(), io::ErrorKind::WouldBlock);
        let (second, ()) = tokio::join!(Lock::wait(folder.path(), Duration::from_mins(1)), async { drop(first) });
        second.expect("free then");
    }
}

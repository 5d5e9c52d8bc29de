//! One import or undo at a time.
//!
//! In: the state folder. Out: a lock on it, held until it is dropped, whatever ends the process. Owns an open descriptor.
//! May not: leave a file behind.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Tries for a lock on a folder that is removed at the same time, again and again.
const TRIES: usize = 10;

/// Holds the lock.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not used")] File);

impl Lock {
    /// Takes it; `WouldBlock` when another process has it.
    pub(super) fn take(folder: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            let open = File::open(folder)?;
            open.try_lock().map_err(|error| match error {
                TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
                TryLockError::Error(error) => error,
            })?;
            // An undo may have removed the folder after it was opened: then the lock means nothing.
            let (held, named) = (open.metadata()?, fs::metadata(folder));
            if named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
                return Ok(Self(open));
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
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
}

//! The daemon's own output when it goes into a file: kept small without losing what anything writes to stderr.
//!
//! In: the path of the file. Out: a new file behind stdout and stderr once the old one is large. Owns nothing. May not:
//! touch output that goes anywhere else.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Opens a log file to append to, for this user alone.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Is this file what stderr writes to? Whoever started hub decides that; systemd's journal keeps itself small.
pub fn is_stderr(path: &Path) -> bool {
    let stderr = io::stderr().as_fd().try_clone_to_owned().and_then(|open| File::from(open).metadata());
    let (Ok(open), Ok(named)) = (stderr, fs::metadata(path)) else { return false };
    (named.dev(), named.ino()) == (open.dev(), open.ino())
}

/// Moves the file away (one older is kept) when it is larger than `max` bytes.
pub fn rotate(path: &Path, max: u64) -> io::Result<bool> {
    if fs::metadata(path)?.len() <= max {
        return Ok(false);
    }
    fs::rename(path, path.with_extension("log.1"))?;
    Ok(true)
}

/// Lets stdout and stderr write to the file of that name from now on.
pub fn redirect(path: &Path) -> io::Result<()> {
    let file = open(path)?;
    nix::unistd::dup2_stdout(&file)?;
    Ok(nix::unistd::dup2_stderr(&file)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_log_is_private_and_one_older_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hub.log");
        fs::write(&path, "old").expect("a file");
        let mut file = open(&path).expect("opened");
        assert_eq!(file.metadata().expect("metadata").mode() & 0o777, 0o600);
        file.write_all(b"er").expect("written");
        assert!(!rotate(&path, 5).expect("looked"), "not larger");
        assert!(rotate(&path, 4).expect("moved"));
        assert_eq!(fs::read_to_string(folder.path().join("hub.log.1")).expect("a file"), "older");
        assert!(!path.exists() && !is_stderr(&path));
    }
}

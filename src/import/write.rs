//! Files replaced whole: who reads one sees the old text or the new one, whatever is killed when.
//!
//! In: what a file should hold now and what it shall hold. Out: the file, on the disk, or why not. Owns the temporary file
//! beside it for a moment. May not: write over a text that is not the expected one, or loosen permissions.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// One file and what shall become of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'a> {
    /// The file itself, no link to it.
    pub path: &'a Path,
    /// A path in the same folder that nothing else uses.
    pub temp: &'a Path,
    /// What it holds now; none when it is not there.
    pub before: Option<&'a [u8]>,
    /// What it shall hold; none when it shall not be there.
    pub after: Option<&'a [u8]>,
    /// Its permission bits afterwards.
    pub mode: u32,
}

/// Why a file was not changed. It is as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Somebody else wrote it after it was read.
    #[error("it changed in the meantime")]
    Changed,
    /// The system refused.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// Puts a tag on what was tried.
fn at(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::Io { what, error }
}

/// The name of the temporary file of a change: hidden, beside the file, and known before it is made.
pub(super) fn temp_of(path: &Path, id: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.hub-{id}"))
}

/// The bytes of a file, none when it is not there. A larger one than `max` is an error.
pub(super) fn read(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {max} bytes")));
    }
    Ok(Some(bytes))
}

/// Makes the change if the file still is what it should be.
pub(super) fn change(change: Change<'_>) -> Result<(), Error> {
    let Some(after) = change.after else {
        unchanged(change)?;
        fs::remove_file(change.path).map_err(at("cannot remove it"))?;
        return settle(change.path).map_err(at("cannot sync its folder"));
    };
    let result = fill(change, after).and_then(|()| {
        unchanged(change)?;
        fs::rename(change.temp, change.path).map_err(at("cannot replace it"))
    });
    if result.is_err() {
        // The reason is in the result already.
        fs::remove_file(change.temp).ok();
        return result;
    }
    settle(change.path).map_err(at("cannot sync its folder"))
}

fn fill(change: Change<'_>, after: &[u8]) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut temp = options.open(change.temp).map_err(at("cannot make a file beside it"))?;
    if let Ok(old) = fs::metadata(change.path) {
        // A group that this user may not give away is lost; its members then have what everybody has.
        std::os::unix::fs::fchown(&temp, None, Some(old.gid())).ok();
    }
    temp.write_all(after).map_err(at("cannot write beside it"))?;
    temp.set_permissions(Permissions::from_mode(change.mode & 0o7777)).map_err(at("cannot set permissions"))?;
    temp.sync_all().map_err(at("cannot write beside it"))
}

fn unchanged(change: Change<'_>) -> Result<(), Error> {
    let max = change.before.map_or(0, <[u8]>::len) as u64;
    let now = match read(change.path, max) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Err(Error::Changed),
        other => other.map_err(at("cannot read it again"))?,
    };
    if now.is_none() && fs::symlink_metadata(change.path).is_ok() {
        // A rename would replace the link itself.
        return Err(at("cannot replace it")(io::Error::other("it is a link that leads nowhere")));
    }
    if now.as_deref() == change.before { Ok(()) } else { Err(Error::Changed) }
}

/// Makes what happened to a name last: its folder is on the disk.
pub(super) fn settle(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// A new file for this user alone, on the disk when this returns.
pub(super) fn fresh(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        folder: tempfile::TempDir,
        path: PathBuf,
        temp: PathBuf,
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("file.json");
        let temp = temp_of(&path, "1");
        Scene { folder, path, temp }
    }

    impl Scene {
        fn change(&self, before: Option<&str>, after: Option<&str>, mode: u32) -> Result<(), Error> {
            let (before, after) = (before.map(str::as_bytes), after.map(str::as_bytes));
            change(Change { path: &self.path, temp: &self.temp, before, after, mode })
        }

        fn names(&self) -> Vec<String> {
            let names = fs::read_dir(self.folder.path()).expect("folder").flatten();
            names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        }
    }

    #[test]
    fn a_file_is_made_replaced_and_removed() {
        let scene = scene();
        scene.change(None, Some("one"), 0o640).expect("made");
        assert_eq!(fs::read_to_string(&scene.path).expect("text"), "one");
        assert_eq!(fs::metadata(&scene.path).expect("file").permissions().mode() & 0o7777, 0o640);
        scene.change(Some("one"), Some("two"), 0o600).expect("replaced");
        assert_eq!(fs::metadata(&scene.path).expect("file").permissions().mode() & 0o7777, 0o600);
        assert_eq!(scene.names(), ["file.json"]);
        scene.change(Some("two"), None, 0).expect("removed");
        assert!(scene.names().is_empty());
    }

    #[test]
    fn what_somebody_else_wrote_stays() {
        let scene = scene();
        fs::write(&scene.path, "theirs").expect("written");
        for before in [None, Some("mine"), Some("theirs and more"), Some("their")] {
            for after in [Some("new"), None] {
                assert!(matches!(scene.change(before, after, 0o600), Err(Error::Changed)), "{before:?}");
            }
        }
        assert_eq!(fs::read_to_string(&scene.path).expect("text"), "theirs");
        assert_eq!(scene.names(), ["file.json"], "no temporary file is left");
    }

    #[test]
    fn a_link_that_leads_nowhere_stays() {
        let scene = scene();
        std::os::unix::fs::symlink("nowhere", &scene.path).expect("a link");
        let error = scene.change(None, Some("new"), 0o600).expect_err("refused");
        assert!(error.to_string().contains("leads nowhere"), "{error}");
        assert!(scene.path.is_symlink());
        assert_eq!(scene.names(), ["file.json"]);
    }

    #[test]
    fn a_temporary_file_of_somebody_else_is_in_the_way() {
        let scene = scene();
        fs::write(&scene.temp, "left").expect("written");
        assert!(matches!(scene.change(None, Some("x"), 0o600), Err(Error::Io { .. })));
        assert!(!scene.path.exists());
    }

    #[test]
    fn reading_has_a_limit() {
        let scene = scene();
        assert_eq!(read(&scene.path, 3).expect("absent"), None);
        fs::write(&scene.path, "1234").expect("written");
        assert_eq!(read(&scene.path, 4).expect("read").as_deref(), Some(&b"1234"[..]));
        assert_eq!(read(&scene.path, 3).expect_err("too large").kind(), io::ErrorKind::FileTooLarge);
    }
}

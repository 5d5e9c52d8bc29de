//! Files replaced whole: who reads one sees the old text or the new one, whatever is killed when.
//!
//! In: what a file should hold now and what it shall hold. Out: the file, on the disk, or why not. Owns the temporary file
//! beside it for a moment. May not: write over a text that is not the expected one, or over a file that is read-only.
//!
//! The temporary file is locked while somebody fills it. One that nobody locks was left by a kill: the next change of the
//! file removes it.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One file and what shall become of it.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
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
pub enum Error {
    /// Somebody else wrote it after it was read, or does so now.
    #[error("it changed in the meantime")]
    Changed,
    /// Its owner may not write it: whoever made it so had a reason.
    #[error("it is read-only; if hub may change it, run: chmod u+w {}", .0.display())]
    ReadOnly(PathBuf),
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
pub fn temp_of(path: &Path, id: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.hub-{id}"))
}

/// The bytes of a file, none when it is not there. A larger one than `max` is an error.
pub fn read(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
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

/// Replaces the text of a file if it still is `before` (none: it is not there). Links are followed. `mode` makes the new
/// permission bits of the old ones, none for a new file.
pub fn replace(
    path: &Path,
    before: Option<&[u8]>,
    after: &[u8],
    mode: impl FnOnce(Option<u32>) -> u32,
) -> Result<(), Error> {
    let file = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        other => other.map_err(at("cannot look at it"))?,
    };
    let old = fs::metadata(&file).ok().map(|found| found.permissions().mode() & 0o7777);
    let temp = temp_of(&file, "new");
    change(Change { path: &file, temp: &temp, before, after: Some(after), mode: mode(old) })
}

/// Makes the change if the file still is what it should be.
pub fn change(change: Change<'_>) -> Result<(), Error> {
    unchanged(change)?;
    let Some(after) = change.after else {
        fs::remove_file(change.path).map_err(at("cannot remove it"))?;
        settle_if_possible(change.path);
        return Ok(());
    };
    let temp = Temp::make(change.temp)?;
    fill(&temp.file, change, after)?;
    unchanged(change)?;
    temp.put(change.path)?;
    settle_if_possible(change.path);
    Ok(())
}

/// Not every folder can be opened, nor synced on every file system. The file is changed by then: nothing may say that it is
/// not.
fn settle_if_possible(path: &Path) {
    if let Err(error) = settle(path) {
        tracing::warn!(path = %path.display(), %error, "changed, but its folder cannot be synced");
    }
}

fn fill(mut temp: &File, change: Change<'_>, after: &[u8]) -> Result<(), Error> {
    if let Ok(old) = fs::metadata(change.path) {
        let is_foreign = old.uid() != nix::unistd::geteuid().as_raw();
        fchown(temp, is_foreign.then(|| old.uid()), None).map_err(at("it belongs to another user"))?;
        // A group that this user may not give away is lost; its members then have what everybody has.
        fchown(temp, None, Some(old.gid())).ok();
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
    if now.as_deref() != change.before {
        return Err(Error::Changed);
    }
    match fs::metadata(change.path) {
        Ok(found) if found.permissions().mode() & 0o200 == 0 => Err(Error::ReadOnly(change.path.to_owned())),
        _ => Ok(()),
    }
}

/// A temporary file, locked and under its name; removed unless it is put in its place.
struct Temp<'a> {
    file: File,
    path: &'a Path,
    is_put: bool,
}

/// Who else fills or removes a temporary file of this name is done soon, or is at it all the time.
const TRIES: usize = 5;
/// Where files cannot be locked, one that is older was left by a kill.
const FILLED_WITHIN: Duration = Duration::from_secs(60);

impl<'a> Temp<'a> {
    fn make(path: &'a Path) -> Result<Self, Error> {
        Self::make_with(path, &File::try_lock)
    }

    fn make_with(path: &'a Path, lock: &dyn Fn(&File) -> Result<(), TryLockError>) -> Result<Self, Error> {
        let wrong = at("cannot make a file beside it");
        for _ in 0..TRIES {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let is_left = match &made {
                Err(error) => error.kind() == io::ErrorKind::AlreadyExists,
                Ok(_) => false,
            };
            let file = match made {
                // What is no file is not hub's; a link would lead to somebody else's.
                Err(error) if is_left => match fs::symlink_metadata(path) {
                    Ok(found) if !found.is_file() => return Err(wrong(error)),
                    _ => File::open(path),
                },
                made => made,
            };
            let file = match file {
                Err(error) if is_left && error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(&wrong)?,
            };
            let locked = match lock(&file) {
                // The file system has no locks.
                Err(TryLockError::Error(error)) if has_no_locks(&error) => {
                    if is_left && !is_old(&file) {
                        Err(TryLockError::WouldBlock)
                    } else {
                        Ok(())
                    }
                }
                other => other,
            };
            match locked {
                Ok(()) if !super::lock::is_at(&file, path) => {}
                Ok(()) if is_left => fs::remove_file(path).map_err(&wrong)?,
                Ok(()) => return Ok(Self { file, path, is_put: false }),
                Err(TryLockError::WouldBlock) => return Err(Error::Changed),
                Err(TryLockError::Error(error)) => {
                    if !is_left {
                        // Made just now, and nothing comes of it: the reason is told.
                        fs::remove_file(path).ok();
                    }
                    return Err(wrong(error));
                }
            }
        }
        Err(Error::Changed)
    }

    fn put(mut self, path: &Path) -> Result<(), Error> {
        fs::rename(self.path, path).map_err(at("cannot replace it"))?;
        self.is_put = true;
        Ok(())
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    use nix::errno::Errno::{ENOLCK, ENOSYS, EOPNOTSUPP};
    error.raw_os_error().is_some_and(|code| [ENOLCK, ENOSYS, EOPNOTSUPP].iter().any(|known| *known as i32 == code))
}

/// Whether nobody has filled a file for so long that nobody does now.
fn is_old(file: &File) -> bool {
    let written = file.metadata().and_then(|found| found.modified());
    written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > FILLED_WITHIN))
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.is_put {
            // The reason is told already.
            fs::remove_file(self.path).ok();
        }
    }
}

/// Makes what happened to a name last: its folder is on the disk.
pub fn settle(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// A new file for this user alone, on the disk when this returns.
pub fn fresh(path: &Path, bytes: &[u8]) -> io::Result<()> {
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
    fn a_temporary_file_that_a_kill_left_goes_and_one_in_use_stays() {
        let scene = scene();
        fs::write(&scene.temp, "half").expect("written");
        scene.change(None, Some("one"), 0o600).expect("made");
        assert_eq!((fs::read_to_string(&scene.path).expect("text").as_str(), scene.names().len()), ("one", 1));
        let other = File::create(&scene.temp).expect("made");
        other.try_lock().expect("free");
        assert!(matches!(scene.change(Some("one"), Some("two"), 0o600), Err(Error::Changed)));
        assert!(scene.temp.exists(), "another process fills it");
        drop(other);
        scene.change(Some("one"), Some("two"), 0o600).expect("replaced");
        // Nobody's file is written to through a link.
        std::os::unix::fs::symlink(&scene.path, &scene.temp).expect("a link");
        assert!(matches!(scene.change(Some("two"), Some("three"), 0o600), Err(Error::Io { .. })));
        assert_eq!(fs::read_to_string(&scene.path).expect("text"), "two");
    }

    /// As on some network file systems.
    #[test]
    fn files_are_made_where_none_can_be_locked() {
        use nix::errno::Errno;
        let scene = scene();
        let make = |errno: Errno| {
            let refuse = |_: &File| Err(TryLockError::Error(io::Error::from_raw_os_error(errno as i32)));
            Temp::make_with(&scene.temp, &refuse).map(drop)
        };
        for errno in [Errno::ENOLCK, Errno::ENOSYS, Errno::EOPNOTSUPP] {
            make(errno).expect("made");
            fs::write(&scene.temp, "half").expect("written");
            assert!(matches!(make(errno), Err(Error::Changed)), "somebody may be at it");
            let left = File::options().write(true).open(&scene.temp).expect("there");
            left.set_modified(std::time::SystemTime::now() - FILLED_WITHIN * 2).expect("older");
            make(errno).expect("nobody is");
        }
        assert!(matches!(make(Errno::EIO), Err(Error::Io { .. })));
        assert!(scene.names().is_empty(), "no temporary file is left");
    }

    /// The folder can be written to, and not opened (root opens it all the same).
    #[test]
    fn a_folder_that_cannot_be_synced_is_no_error() {
        let scene = scene();
        let closed = |mode| fs::set_permissions(scene.folder.path(), Permissions::from_mode(mode)).expect("mode");
        closed(0o311);
        let done = [(None, Some("one")), (Some("one"), Some("two")), (Some("two"), None)]
            .map(|(before, after)| scene.change(before, after, 0o600));
        closed(0o700);
        assert!(done.iter().all(Result::is_ok), "{done:?}");
        assert!(scene.names().is_empty());
    }

    #[test]
    fn what_is_read_only_stays() {
        let scene = scene();
        fs::write(&scene.path, "old").expect("written");
        fs::set_permissions(&scene.path, Permissions::from_mode(0o444)).expect("mode");
        for after in [Some("new"), None] {
            let error = scene.change(Some("old"), after, 0o644).expect_err("refused").to_string();
            assert!(error.ends_with(&format!("run: chmod u+w {}", scene.path.display())), "{error}");
        }
        assert_eq!(fs::metadata(&scene.path).expect("file").permissions().mode() & 0o7777, 0o444);
        assert_eq!((fs::read_to_string(&scene.path).expect("text").as_str(), scene.names().len()), ("old", 1));
    }

    #[test]
    fn a_link_stays_one_and_its_file_keeps_its_permissions() {
        let scene = scene();
        let link = scene.folder.path().join("link");
        std::os::unix::fs::symlink("file.json", &link).expect("a link");
        let kept = |old: Option<u32>| old.unwrap_or(0o600);
        assert!(matches!(replace(&link, None, b"one", kept), Err(Error::Io { .. })), "it leads nowhere");
        fs::write(&scene.path, "one").expect("written");
        fs::set_permissions(&scene.path, Permissions::from_mode(0o640)).expect("mode");
        replace(&link, Some(b"one"), b"two", kept).expect("replaced");
        assert!(link.is_symlink() && !scene.path.is_symlink());
        assert_eq!(fs::metadata(&scene.path).expect("file").permissions().mode() & 0o7777, 0o640);
        assert!(matches!(replace(&link, Some(b"one"), b"three", kept), Err(Error::Changed)));
        assert_eq!(fs::read_to_string(&link).expect("text"), "two");
        let new = scene.folder.path().join("new");
        replace(&new, None, b"text", kept).expect("made");
        assert_eq!(fs::metadata(&new).expect("file").permissions().mode() & 0o7777, 0o600);
        assert_eq!(scene.names().len(), 3, "no temporary file is left");
    }

    /// However many write at once, each change is of the text that it was made from.
    #[test]
    fn many_at_once_lose_nothing() {
        let scene = scene();
        fs::write(&scene.path, "").expect("written");
        let done = std::thread::scope(|scope| {
            let one = || {
                (0..50).filter(|_| {
                    let before = fs::read(&scene.path).expect("text");
                    replace(&scene.path, Some(&before), &[before.as_slice(), b"x"].concat(), |_| 0o600).is_ok()
                })
            };
            let all: Vec<_> = (0..4).map(|_| scope.spawn(move || one().count())).collect();
            all.into_iter().map(|one| one.join().expect("ends")).sum::<usize>()
        });
        assert!(done > 0, "somebody gets through");
        assert_eq!(fs::read(&scene.path).expect("text").len(), done);
        assert_eq!(scene.names(), ["file.json"]);
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

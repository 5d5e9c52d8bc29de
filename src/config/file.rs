//! Finding and reading hub.toml.
//!
//! In: where it may be. Out: its text, or why not; [`load`] with the real world as [`Context`]. Owns no state. May not:
//! judge the text, or follow a file that others may write.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Context, Loaded};
use crate::files;
use crate::limits::CONFIG_FILE_BYTES_MAX;

/// Files that hub.toml names (`env_file`, `${file:…}`), each with the SHA-256 of the text that was read; none when it
/// could not be read.
pub type Files = BTreeMap<PathBuf, Option<[u8; 32]>>;

/// Name of the variable that names the file.
pub const VARIABLE: &str = "HUB_CONFIG";

/// Why hub.toml was not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("there is no config file {}", path.display())]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It is there but cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others could make hub run any program.
    #[error("refusing {}: others may write it (mode {mode:03o}), and it says what hub runs; run: chmod 600 {}", path.display(), path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is a folder or something else that has no text.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
}

/// Where hub.toml is: the flag, else `$HUB_CONFIG` unless empty, else `hub/hub.toml` in the config folder. Absolute, if
/// the current folder is known.
pub fn locate(flag: Option<&Path>, variable: Option<OsString>, config_dir: &Path) -> PathBuf {
    let from_variable = variable.filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = flag.map(Path::to_owned).or(from_variable).unwrap_or_else(|| config_dir.join("hub").join("hub.toml"));
    std::path::absolute(&path).unwrap_or(path)
}

/// Reads hub.toml. Refuses a file that others (or a group that is not the user's own) may write, and one above [`CONFIG_FILE_BYTES_MAX`].
pub fn read(path: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Absent { path: path.to_owned() },
        _ => unreadable(source),
    })?;
    // Asked of the open file, so that what is judged is what is read.
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if !only_ours(mode, metadata.gid()) {
        return Err(Error::Writable { path: path.to_owned(), mode });
    }
    text_of(file).map_err(unreadable)
}

/// May nobody else write it? A group of one's own (umask 002, as many systems have it) is nobody else.
fn only_ours(mode: u32, group: u32) -> bool {
    let ours = group == nix::unistd::Gid::effective().as_raw();
    mode & 0o002 == 0 && (mode & 0o020 == 0 || ours)
}

/// Replaces the text of hub.toml, if it still is `before` (none: there is no file). See [`files::replace`]. A new file is
/// this user's alone; another keeps its permissions, or loses those of others when secrets come into it (`private`).
pub fn replace(path: &Path, before: Option<&str>, text: &str, private: bool) -> Result<(), files::Error> {
    let mode = |old: Option<u32>| old.map_or(0o600, |mode| if private { mode & 0o700 } else { mode });
    files::replace(path, before.map(str::as_bytes), text.as_bytes(), mode)
}

/// Judges a text with the real environment and files. `path` must be absolute.
pub fn load(text: &str, path: &Path, home: &Path) -> Loaded {
    let files = RefCell::new(Files::new());
    let context = Context {
        path,
        home,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        vars: &|name| std::env::var(name).ok(),
        read: &|path| {
            let text = File::open(path).and_then(text_of);
            files.borrow_mut().insert(path.to_owned(), text.as_deref().ok().map(digest));
            text
        },
        is_dir: &Path::is_dir,
    };
    let loaded = super::load(text, &context);
    Loaded { files: files.into_inner(), ..loaded }
}

/// The SHA-256 of a file's text; none when it cannot be read as [`load`] would.
pub(super) fn fingerprint(path: &Path) -> Option<[u8; 32]> {
    File::open(path).and_then(text_of).ok().as_deref().map(digest)
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn text_of(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(CONFIG_FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > CONFIG_FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {CONFIG_FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).expect("write");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }

    #[test]
    fn the_flag_wins_then_the_variable_then_the_folder() {
        let (flag, folder) = (Path::new("/f/x.toml"), Path::new("/c"));
        assert_eq!(locate(Some(flag), Some("/v.toml".into()), folder), flag);
        assert_eq!(locate(None, Some("/v.toml".into()), folder), Path::new("/v.toml"));
        assert_eq!(locate(None, Some("".into()), folder), Path::new("/c/hub/hub.toml"));
        assert_eq!(locate(None, None, folder), Path::new("/c/hub/hub.toml"));
        assert!(locate(Some(Path::new("x.toml")), None, folder).is_absolute());
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("hub.toml");
        for (mode, good) in [(0o600, true), (0o644, true), (0o400, true), (0o660, true), (0o602, false), (0o666, false)]
        {
            write(&path, "x", mode);
            let outcome = read(&path);
            assert_eq!(outcome.is_ok(), good, "{mode:o}");
            fs::remove_file(&path).expect("remove");
        }
        // A group that the user does not run as.
        let other = nix::unistd::Gid::effective().as_raw() + 1;
        assert!(!only_ours(0o660, other) && only_ours(0o640, other));
        write(&path, "x", 0o666);
        let said = read(&path).expect_err("refused").to_string();
        assert!(said.contains("others may write it (mode 666)"), "{said}");
        assert!(said.ends_with(&format!("run: chmod 600 {}", path.display())), "{said}");
    }

    #[test]
    fn a_new_text_is_private_when_asked_for() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("hub.toml");
        let mode = || fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
        replace(&path, None, "one", false).expect("made");
        assert_eq!(mode(), 0o600);
        write(&path, "one", 0o644);
        replace(&path, Some("one"), "two", false).expect("replaced");
        assert_eq!(mode(), 0o644);
        replace(&path, Some("two"), "three", true).expect("replaced");
        assert_eq!((mode(), read(&path).expect("readable").as_str()), (0o600, "three"));
        assert!(matches!(replace(&path, Some("two"), "four", true), Err(files::Error::Changed)));
        write(&path, "three", 0o444);
        assert!(matches!(replace(&path, Some("three"), "four", true), Err(files::Error::ReadOnly(_))));
    }

    #[test]
    fn a_link_is_judged_by_what_it_points_to() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (file, link) = (dir.path().join("real.toml"), dir.path().join("hub.toml"));
        std::os::unix::fs::symlink(&file, &link).expect("symlink");
        assert!(matches!(read(&link), Err(Error::Absent { .. })));
        write(&file, "text", 0o600);
        assert_eq!(read(&link).expect("readable"), "text");
        write(&file, "text", 0o602);
        assert!(matches!(read(&link), Err(Error::Writable { mode: 0o602, .. })));
    }

    #[test]
    fn what_has_no_text_is_an_error() {
        let dir = tempfile::tempdir().expect("tempdir");
        assert!(matches!(read(&dir.path().join("none.toml")), Err(Error::Absent { .. })));
        assert!(matches!(read(dir.path()), Err(Error::NotAFile { .. })));
        let path = dir.path().join("hub.toml");
        fs::write(&path, [0xff, 0xfe]).expect("write");
        assert!(matches!(read(&path), Err(Error::Unreadable { .. })));
        let file = File::create(&path).expect("create");
        file.set_len(CONFIG_FILE_BYTES_MAX).expect("grow");
        assert!(read(&path).is_ok());
        file.set_len(CONFIG_FILE_BYTES_MAX + 1).expect("grow");
        let said = read(&path).expect_err("too large");
        assert!(matches!(said, Error::Unreadable { ref source, .. } if source.kind() == io::ErrorKind::FileTooLarge));
    }

    #[test]
    fn the_real_world_is_asked() {
        let dir = tempfile::tempdir().expect("tempdir");
        write(&dir.path().join("token"), "secret\n", 0o600);
        let text = "[servers.s]\ncommand = \"x\"\nargs = [\"${PATH}\", \"${file:token}\"]\ncwd = \".\"\n";
        let loaded = load(text, &dir.path().join("hub.toml"), Path::new("/"));
        assert_eq!(loaded.problems, []);
        let config = loaded.config.expect("usable");
        let spec = config.server("s").expect("there").spec.as_ref().expect("usable");
        assert_eq!(spec.args, [std::env::var("PATH").expect("PATH is set"), "secret".to_owned()]);
        let token = dir.path().join("token");
        assert_eq!(loaded.files, Files::from([(token.clone(), fingerprint(&token))]));
        assert!(loaded.files[&token].is_some());
        let none = load("[servers.s]\ncommand = \"x\"\ncwd = \"none\"\n", &dir.path().join("hub.toml"), Path::new("/"));
        assert_eq!(none.problems.len(), 1);
    }
}

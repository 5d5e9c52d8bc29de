//! Where hub's files are (DESIGN 3.1), and how private folders are made.
//!
//! In: `HOME`, the XDG variables, `HUB_STATE_DIR`, `HUB_CONFIG`. Out: paths; folders that only this user can enter. Owns
//! nothing. May not: read or write a file.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use directories::BaseDirs;

/// The longest path of a unix socket that all systems take (macOS: 104 bytes with the NUL).
const SOCKET_PATH_BYTES_MAX: usize = 103;

/// A file in the state folder that says: an undo took the configuration back, and nobody has started hub since.
pub const MOVED_OUT: &str = "moved-out";

/// Where everything is. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// The configuration file.
    pub config_file: PathBuf,
    /// The folder of the configuration file.
    pub config_dir: PathBuf,
    /// The folder of the state.
    pub state_dir: PathBuf,
    /// The control socket.
    pub control_socket: PathBuf,
}

/// What says which hub is meant. See [`Dirs::told`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Arguments of `hub`, before the verb.
    pub args: Vec<String>,
    /// Variables.
    pub env: Vec<(String, String)>,
}

/// What can go wrong with folders. The texts are shown to people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `HOME` nor the user database names a home.
    #[error("cannot find your home folder: set HOME, or both HUB_CONFIG and HUB_STATE_DIR")]
    NoHome,
    /// The current folder is gone, so a relative path means nothing.
    #[error("cannot make {} absolute", .path.display())]
    Relative {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A folder cannot be made or used.
    #[error("cannot use the folder {}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A folder that others share (owned by another user, or a place like /tmp).
    #[error("{} is not a folder of yours alone: give hub one of its own", .0.display())]
    Shared(PathBuf),
    /// Unix sockets have short paths.
    #[error("the path of the control socket is too long for the system ({} bytes, {SOCKET_PATH_BYTES_MAX} at most): {}", .0.as_os_str().len(), .0.display())]
    SocketPath(PathBuf),
}

/// What the user's system and environment say, before hub's own names are added.
#[derive(Debug, Clone, Default)]
struct Base {
    config: PathBuf,
    state: PathBuf,
    runtime: Option<PathBuf>,
}

impl Dirs {
    /// The paths for this environment. `config` is the value of `--config`, which wins over `HUB_CONFIG`.
    pub fn find(config: Option<&Path>) -> Result<Self, Error> {
        Self::meant(config.map(Path::as_os_str), None)
    }

    /// The paths of a hub that is told these; what it is not told is as in this environment.
    pub fn meant(config: Option<&OsStr>, state: Option<&OsStr>) -> Result<Self, Error> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let config = config.map(OsStr::to_owned).or_else(|| variable("HUB_CONFIG"));
        let state = state.map(OsStr::to_owned).or_else(|| variable("HUB_STATE_DIR"));
        Self::from(base(), config, state)
    }

    fn from(base: Option<Base>, config: Option<OsString>, state: Option<OsString>) -> Result<Self, Error> {
        let own_state = state.is_some();
        let config_file = match (config, &base) {
            (Some(file), _) => absolute(file.into())?,
            (None, Some(base)) => base.config.join("hub.toml"),
            (None, None) => return Err(Error::NoHome),
        };
        let state_dir = match (state, &base) {
            (Some(folder), _) => absolute(folder.into())?,
            (None, Some(base)) => base.state.clone(),
            (None, None) => return Err(Error::NoHome),
        };
        let runtime = base.and_then(|base| base.runtime).filter(|_| !own_state);
        let control_socket = runtime.map_or_else(|| state_dir.clone(), |runtime| runtime.join("hub")).join("hub.sock");
        if control_socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(Error::SocketPath(control_socket));
        }
        let config_dir = config_file.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { config_file, config_dir, state_dir, control_socket })
    }

    /// What a program must be told so that it finds these when something else starts it, with `HOME` and nothing more.
    pub fn told(&self) -> Told {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        self.told_to(base(), std::env::home_dir(), &variable)
    }

    fn told_to(&self, base: Option<Base>, home: Option<PathBuf>, variable: &dyn Fn(&str) -> Option<OsString>) -> Told {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        // Who has these variables in a terminal may not have them in programs that were started elsewhere.
        let differs = |name: &str, usual: &str| {
            let set = variable(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
            set.filter(|folder| home.as_ref().is_none_or(|home| home.join(usual) != *folder))
        };
        let is_usual = base.is_some_and(|base| base.config.join("hub.toml") == self.config_file)
            && differs("XDG_CONFIG_HOME", ".config").is_none();
        let mut told = Told::default();
        if !is_usual {
            told.args = vec!["--config".to_owned(), text(&self.config_file)];
        }
        // The folder also says where the control socket is, so that the usual one is told too.
        if variable("HUB_STATE_DIR").is_some() {
            told.env.push(("HUB_STATE_DIR".to_owned(), text(&self.state_dir)));
        } else if let Some(folder) = differs("XDG_STATE_HOME", ".local/state") {
            told.env.push(("XDG_STATE_HOME".to_owned(), text(&folder)));
        }
        told
    }

    /// The database file of the state.
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("hub.db")
    }

    /// The folder of the servers' log files.
    pub fn logs(&self) -> PathBuf {
        self.state_dir.join("logs")
    }

    /// Where a daemon in the background writes what it would write to a terminal.
    pub fn own_log(&self) -> PathBuf {
        self.state_dir.join("hub.log")
    }

    /// Makes the folders that the daemon writes to: state, logs, and that of the control socket. 0700 each.
    pub fn create(&self) -> Result<(), Error> {
        create_private(&self.state_dir)?;
        create_private(&self.logs())?;
        create_private(self.control_socket.parent().unwrap_or(&self.state_dir))
    }
}

/// Makes a folder, and those above it that are missing, for this user alone. One that exists is closed to others if it
/// is this user's; a shared one (another owner, or sticky like /tmp) is refused and not touched.
pub fn create_private(folder: &Path) -> Result<(), Error> {
    let wrap = |error| Error::Folder { folder: folder.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(wrap)?;
    let found = fs::metadata(folder).map_err(wrap)?;
    let mode = found.permissions().mode();
    if found.uid() != nix::unistd::geteuid().as_raw() || mode & 0o1000 != 0 {
        return Err(Error::Shared(folder.to_owned()));
    }
    if mode & 0o077 != 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(wrap)?;
    }
    nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK)
        .map_err(|errno| wrap(errno.into()))
}

/// The home folder of this user, absolute: `HOME`, else what the user database says.
pub fn home() -> Result<PathBuf, Error> {
    let home = BaseDirs::new().map(|dirs| dirs.home_dir().to_owned());
    home.filter(|home| home.is_absolute()).ok_or(Error::NoHome)
}

/// The home folder, to read `~` and for servers to run in. Where there is none, as in a container for a user without a
/// name, the root: nothing of hub's own is written there.
pub fn home_or_root() -> PathBuf {
    home().unwrap_or_else(|_none| "/".into())
}

/// The home folder if it is there, else the root: where a program of hub's own starts.
pub fn home_to_start_in() -> PathBuf {
    home().ok().filter(|home| home.is_dir()).unwrap_or_else(|| "/".into())
}

fn absolute(path: PathBuf) -> Result<PathBuf, Error> {
    std::path::absolute(&path).map_err(|error| Error::Relative { path, error })
}

fn base() -> Option<Base> {
    let dirs = BaseDirs::new().filter(|dirs| dirs.home_dir().is_absolute())?;
    let config = dirs.config_dir().join("hub");
    // macOS has no folder for state; beside the configuration, but not among it.
    let state = dirs.state_dir().map_or_else(|| dirs.data_dir().join("hub").join("state"), |state| state.join("hub"));
    // The folder may be named but missing or not ours (su, ssh without a login session).
    let runtime = dirs.runtime_dir().filter(|runtime| {
        fs::metadata(runtime).is_ok_and(|found| found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw())
    });
    Some(Base { config, state, runtime: runtime.map(Path::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_base() -> Base {
        Base { config: "/c/hub".into(), state: "/s/hub".into(), runtime: Some("/r".into()) }
    }

    #[test]
    fn overrides_win_and_the_socket_follows_the_state() {
        let dirs = Dirs::from(Some(some_base()), None, None).expect("dirs");
        assert_eq!(dirs.config_file, Path::new("/c/hub/hub.toml"));
        assert_eq!(dirs.state_dir, Path::new("/s/hub"));
        assert_eq!(dirs.control_socket, Path::new("/r/hub/hub.sock"));
        let dirs = Dirs::from(Some(some_base()), Some("/x/my.toml".into()), Some("/y".into())).expect("dirs");
        assert_eq!(dirs.config_dir, Path::new("/x"));
        assert_eq!(dirs.control_socket, Path::new("/y/hub.sock"));
        let without_runtime = Base { runtime: None, ..some_base() };
        let dirs = Dirs::from(Some(without_runtime), None, None).expect("dirs");
        assert_eq!(dirs.control_socket, Path::new("/s/hub/hub.sock"));
    }

    #[test]
    fn only_what_is_not_usual_is_told() {
        let usual = Dirs::from(Some(some_base()), None, None).expect("dirs");
        let told = |dirs: &Dirs, set: &[(&str, &str)]| {
            let variable = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
            dirs.told_to(Some(some_base()), Some("/home/me".into()), &variable)
        };
        assert_eq!(told(&usual, &[]), Told::default());
        let as_usual = [("XDG_CONFIG_HOME", "/home/me/.config"), ("XDG_STATE_HOME", "/home/me/.local/state")];
        assert_eq!(told(&usual, &as_usual), Told::default());
        let args = vec!["--config".to_owned(), "/c/hub/hub.toml".to_owned()];
        let env = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let xdg = [("XDG_CONFIG_HOME", "/c"), ("XDG_STATE_HOME", "/s")];
        assert_eq!(told(&usual, &xdg), Told { args, env: env("XDG_STATE_HOME", "/s") });
        let other = Dirs::from(Some(some_base()), Some("/x/my.toml".into()), Some("/y".into())).expect("dirs");
        let args = vec!["--config".to_owned(), "/x/my.toml".to_owned()];
        let set = [("HUB_STATE_DIR", "/y"), ("XDG_STATE_HOME", "/s")];
        assert_eq!(told(&other, &set), Told { args, env: env("HUB_STATE_DIR", "/y") });
    }

    #[test]
    fn no_home_is_fine_only_with_both_overrides() {
        assert!(Dirs::from(None, Some("/x/hub.toml".into()), Some("/y".into())).is_ok());
        assert!(matches!(Dirs::from(None, Some("/x/hub.toml".into()), None), Err(Error::NoHome)));
        assert!(matches!(Dirs::from(None, None, Some("/y".into())), Err(Error::NoHome)));
    }

    #[test]
    fn relative_paths_become_absolute_and_long_ones_are_refused() {
        let dirs = Dirs::from(None, Some("hub.toml".into()), Some("state".into())).expect("dirs");
        assert!(dirs.config_file.is_absolute() && dirs.config_dir.is_absolute() && dirs.state_dir.is_absolute());
        let long = format!("/{}", "x".repeat(SOCKET_PATH_BYTES_MAX));
        assert!(matches!(Dirs::from(None, Some("/a".into()), Some(long.into())), Err(Error::SocketPath(_))));
    }

    #[test]
    fn folders_are_private_and_shared_ones_are_refused() {
        let above = tempfile::tempdir().expect("folder");
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o7777;
        let fresh = above.path().join("a/b");
        create_private(&fresh).expect("made");
        assert_eq!((mode(&fresh), mode(&above.path().join("a"))), (0o700, 0o700));
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).expect("mode");
        create_private(&fresh).expect("closed");
        assert_eq!(mode(&fresh), 0o700);
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o1777)).expect("mode");
        assert!(matches!(create_private(&fresh), Err(Error::Shared(_))));
        assert_eq!(mode(&fresh), 0o1777);
        let file = above.path().join("file");
        fs::write(&file, "").expect("written");
        let error = create_private(&file.join("below")).expect_err("a file is in the way");
        assert!(matches!(error, Error::Folder { .. }), "{error}");
    }
}

//! Which service manager this system has, and where it looks for what a user wants to run.
//!
//! In: `HOME`, the XDG variables. Out: a kind and a path. Owns nothing. May not: talk to it, or write the file.

use std::path::PathBuf;

use directories::BaseDirs;

/// A service manager of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `systemd --user`
    Systemd,
    /// launchd's agents
    Launchd,
}

/// The manager of this system.
pub fn kind() -> Kind {
    if cfg!(target_os = "macos") { Kind::Launchd } else { Kind::Systemd }
}

/// The folder of what this user wants to run. `None`: there is no home folder.
pub fn folder(kind: Kind) -> Option<PathBuf> {
    super::dirs::home().ok()?;
    let dirs = BaseDirs::new()?;
    Some(match kind {
        Kind::Systemd => dirs.config_dir().join("systemd").join("user"),
        Kind::Launchd => dirs.home_dir().join("Library").join("LaunchAgents"),
    })
}

/// Where launchd runs the agents of this user: `gui/UID`.
pub fn launchd_domain() -> String {
    format!("gui/{}", nix::unistd::getuid())
}

/// This user's name, for `loginctl`.
pub fn user() -> Option<String> {
    nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name)
}

//! What a stopped hub leaves in its folders, and whether anybody needs it still.
//!
//! In: hub's folders. Out: what is there; an empty place. Owns nothing. May not: remove anything while there is a hub.toml,
//! a service, a daemon or a backup, or a file that is not hub's own runtime state.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::platform::dirs::{self, Dirs, MOVED_OUT};
use crate::platform::sockets::{ControlSocket, control_owner};

use super::manager::Service;

/// What keeps the state from being removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A configuration: ports, sessions and caches belong to it.
    Config(PathBuf),
    /// Originals of files that an import changed: `hub undo` needs them.
    Backups(PathBuf),
    /// The service would start it again.
    Service(PathBuf),
    /// Somebody has started it again.
    Running,
}

/// Why the state stays; nothing if nobody needs it.
pub fn needed(dirs: &Dirs) -> Vec<Kept> {
    let mut needed = Vec::new();
    // A link that leads nowhere is somebody's, too.
    if fs::symlink_metadata(&dirs.config_file).is_ok() {
        needed.push(Kept::Config(dirs.config_file.clone()));
    }
    let backups = dirs.state_dir.join("backups");
    if fs::symlink_metadata(&backups).is_ok() {
        needed.push(Kept::Backups(backups));
    }
    if let Ok(service) = Service::of_this_user()
        && service.is_installed_for(dirs)
    {
        needed.push(Kept::Service(service.file().to_owned()));
    }
    if control_owner(&dirs.control_socket).is_some() {
        needed.push(Kept::Running);
    }
    needed
}

/// Whether an undo took everything back, and hub did not start since. Without its word, no hub.toml means nothing: it may
/// lie elsewhere, or be gone for a moment.
pub fn is_moved_out(dirs: &Dirs) -> bool {
    dirs.state_dir.join(MOVED_OUT).exists()
}

/// The files of a stopped daemon, by name: nothing else in the state folder is touched.
const FILES: [&str; 7] = ["hub.db", "hub.db-wal", "hub.db-shm", "hub.db-journal", "hub.log", "hub.log.1", MOVED_OUT];

/// Removes what a daemon made for itself, then the folders that are empty, those above them in the home folder included.
/// Does nothing when something is [`needed`]. Gives what is still there: it is not hub's, or cannot be removed.
pub fn remove(dirs: &Dirs) -> Vec<PathBuf> {
    // While the socket is taken nobody can start.
    let Ok(socket) = dirs.create().map_err(drop).and_then(|()| ControlSocket::bind(&dirs.control_socket).map_err(drop))
    else {
        return vec![dirs.state_dir.clone()];
    };
    if needed(dirs).iter().any(|kept| *kept != Kept::Running) {
        return vec![dirs.state_dir.clone()];
    }
    let logs = fs::read_dir(dirs.logs()).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = FILES.iter().map(|name| dirs.state_dir.join(name)).chain(logs.filter(|path| is_log(path)));
    let mut left: Vec<PathBuf> = files.filter(|path| !gone(fs::remove_file(path))).collect();
    if !gone(socket.remove()) {
        left.push(dirs.control_socket.with_extension("lock"));
    }
    let runtime = dirs.control_socket.parent().unwrap_or(&dirs.state_dir);
    for folder in [&dirs.logs(), &dirs.state_dir, runtime] {
        if !gone(fs::remove_dir(folder)) {
            left.push(folder.to_owned());
        }
    }
    // A hub.toml elsewhere is in a folder of somebody else.
    if dirs.config_dir.ends_with("hub") && gone(fs::remove_dir(&dirs.config_dir)) {
        empty_above(&dirs.config_dir);
    }
    empty_above(&dirs.state_dir);
    left
}

/// Removes the folders above one that are empty now, below the home folder.
fn empty_above(folder: &Path) {
    let Some(home) = dirs::home().ok().filter(|home| folder.starts_with(home)) else { return };
    for above in folder.ancestors().skip(1).take_while(|above| *above != home) {
        if fs::remove_dir(above).is_err() {
            return;
        }
    }
}

/// A log of a server, or an older one: `NAME.log`, `NAME.log.1`, …
fn is_log(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".log")
        || name.rsplit_once(".log.").is_some_and(|(_, number)| number.bytes().all(|b| b.is_ascii_digit()))
}

fn gone(removed: io::Result<()>) -> bool {
    match removed {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

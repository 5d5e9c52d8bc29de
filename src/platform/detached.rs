//! A process that outlives whoever starts it, and what no process of hub may inherit.
//!
//! In: arguments, a folder, a file for its output. Out: a started process in a session of its own. Owns nothing: whoever
//! started it may watch it, and need not. May not: start anything but this binary, or close what is another's.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::libc;
use tokio::process::{Child, Command};

use super::family::{ENV_CHILD, ENV_RUN, ENV_SERVER};

/// Variables by which a service manager speaks to hub, and hub's marks. A child that answered the first would speak for
/// hub; a daemon that carried the marks of another would be ended with its children.
pub const FOR_HUB_ALONE: [&str; 9] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    ENV_RUN,
    ENV_CHILD,
    ENV_SERVER,
];

/// Keeps every open descriptor but the first three from processes that are started from now on. Whoever started this one
/// may have left some open, and waits for their end: a pipe, a lock of a shell script.
pub fn keep_descriptors() {
    let Ok(open) = fs::read_dir("/dev/fd") else { return };
    let open: Vec<RawFd> = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: fcntl takes any number; what was closed meanwhile is refused.
        #[expect(unsafe_code, reason = "descriptors come as numbers")]
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: as above.
            #[expect(unsafe_code, reason = "descriptors come as numbers")]
            unsafe {
                libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC)
            };
        }
    }
}

/// Starts this binary again: no terminal, no input, output to `log`, nothing else that is open. The process stays when
/// its starter ends, and is no zombie as long as the runtime of the starter lives. Needs a tokio runtime.
pub fn spawn(args: &[OsString], env: &[(OsString, OsString)], cwd: &Path, log: &File) -> io::Result<Child> {
    keep_descriptors();
    let mut command = Command::new(own_program()?);
    command.arg0("hub").args(args).current_dir(cwd).kill_on_drop(false);
    for name in FOR_HUB_ALONE {
        command.env_remove(name);
    }
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    #[expect(unsafe_code, reason = "code between fork and exec")]
    // SAFETY: setsid is async-signal-safe and does not allocate.
    unsafe {
        command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?));
    }
    command.spawn()
}

/// The path by which this binary can be found again, also after an upgrade: a link on PATH that leads to it now (package
/// managers keep each version in a folder of its own), else where it is.
pub fn lasting_program() -> io::Result<PathBuf> {
    let running = std::env::current_exe()?.canonicalize()?;
    let name = running.file_name().unwrap_or_default().to_owned();
    let folders = super::shell_path::directories(&super::shell_path::current());
    let mut linked = folders.into_iter().map(|folder| folder.join(&name));
    Ok(linked.find(|path| path.canonicalize().is_ok_and(|found| found == running)).unwrap_or(running))
}

/// This binary: by its path where that still leads to it, so that `ps` shows a name, and else (its file was replaced by
/// an upgrade) by what the system keeps of it.
fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    if cfg!(target_os = "linux") {
        let running = Path::new("/proc/self/exe");
        let identity = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino()));
        if identity(&path).ok() != identity(running).ok() {
            return Ok(running.to_owned());
        }
    }
    Ok(path)
}

//! A daemon in the background, started by whoever needs one.
//!
//! In: hub's folders. Out: a daemon that serves, or the end of its log. Owns nothing: the daemon stays when its starter
//! ends. May not: start a second daemon for one control socket, or change the one that runs.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use bytes::Bytes;
use nix::fcntl::{Flock, FlockArg};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout_at};

use crate::control::client::{self, Client};
use crate::control::proto::Done;
use crate::limits::{
    DOWN_LOOK_EVERY, DOWN_PATIENCE, LOG_END_BYTES_MAX, LOG_FILE_BYTES_MAX, SHELL_PATH_PATIENCE, START_LOOK_EVERY,
    START_PATIENCE, START_TRIES,
};
use crate::platform::dirs::{self, Dirs};
use crate::platform::family::{self, Seen};
use crate::platform::sockets::control_owner;
use crate::platform::{detached, output, shell_path};

/// Who runs the daemon that now serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It ran already, or somebody else has just started it.
    Running,
    /// This call has started it.
    Started,
}

/// Why there is no daemon. The texts are shown to people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// hub's folders cannot be made.
    #[error(transparent)]
    Folders(#[from] dirs::Error),
    /// The log file cannot be written.
    #[error("cannot write {}", .path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The process cannot be started.
    #[error("cannot start a process")]
    Spawn(#[source] io::Error),
    /// It left at once.
    #[error("hub left at once ({status}):\n{log}")]
    Left {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote.
        log: String,
    },
    /// It lives, and does not serve.
    #[error("hub{} does not answer after {} s; its log is {}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), START_PATIENCE.as_secs(), .log.display())]
    Silent {
        /// Its process id, where that is known.
        pid: Option<u32>,
        /// Its log file.
        log: PathBuf,
    },
    /// It was told to stop, and lives.
    #[error("hub was told to stop, and still runs")]
    Stays {
        /// Its process id, where that is known.
        pid: Option<u32>,
    },
    /// The control socket is there, and cannot be used.
    #[error(transparent)]
    Control(client::Error),
}

/// Makes sure that a daemon serves with these folders: starts one unless one runs, and returns when it answers. Several
/// calls at once, in one process or many, start one daemon. Needs a tokio runtime.
pub async fn start(dirs: &Dirs) -> Result<Outcome, Error> {
    let deadline = Instant::now() + START_PATIENCE;
    if wait_ready(dirs, deadline).await? {
        return Ok(Outcome::Running);
    }
    dirs.create()?;
    let lock = only_one(dirs, deadline).await?;
    for _ in 0..START_TRIES {
        // Whoever had the lock before may have started it.
        if wait_ready(dirs, deadline).await? {
            return Ok(Outcome::Running);
        }
        let (mut child, from) = spawn(dirs, longer_path().await)?;
        let pid = child.id();
        let ready = tokio::select! {
            ready = wait_ready_of(pid, dirs, deadline) => ready,
            status = child.wait() => {
                let status = status.map_err(Error::Spawn)?;
                let log = log_end(&dirs.own_log(), from);
                // A `hub serve` of somebody else may have been faster.
                if control_owner(&dirs.control_socket).is_some() || wait_ready(dirs, deadline).await? {
                    continue;
                }
                return Err(Error::Left { status, log });
            }
        };
        drop(lock);
        return ready.map(|()| Outcome::Started);
    }
    Err(silent(dirs))
}

/// Waits until the daemon that somebody else starts just now serves.
pub async fn wait(dirs: &Dirs) -> Result<(), Error> {
    wait_ready_of(None, dirs, Instant::now() + START_PATIENCE).await
}

/// Stops the daemon of these folders, whoever started it, and waits until it has let go of its lock and, where that can
/// be seen, its process has ended. `false`: none runs.
pub async fn stop(dirs: &Dirs) -> Result<bool, Error> {
    let socket = &dirs.control_socket;
    let pid = control_owner(socket);
    let process = pid.and_then(|pid| Some(Seen { pid, start: family::start_of(pid)? }));
    match Client::new(socket).post("/v1/stop", Bytes::new()).await {
        Ok(Done { .. }) => {}
        Err(client::Error::NotRunning { .. }) if pid.is_none() => return Ok(false),
        // It is stopping already.
        Err(client::Error::NotRunning { .. } | client::Error::Refused(_)) => {}
        Err(error) => return Err(Error::Control(error)),
    }
    let gone = async {
        while control_owner(socket).is_some() || process.is_some_and(family::lives) {
            sleep(DOWN_LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(DOWN_PATIENCE, gone).await {
        Ok(()) => Ok(true),
        Err(_elapsed) => Err(Error::Stays { pid }),
    }
}

/// Waits for a daemon that is there already. `false`: there is none, and none is about to be.
async fn wait_ready(dirs: &Dirs, deadline: Instant) -> Result<bool, Error> {
    let client = Client::new(&dirs.control_socket);
    loop {
        match timeout_at(deadline, client.get_bytes("/v1/ready")).await {
            Ok(Ok(_)) => return Ok(true),
            Ok(Err(error @ client::Error::Unreachable { .. })) => return Err(Error::Control(error)),
            Ok(Err(client::Error::NotRunning { .. })) if control_owner(&dirs.control_socket).is_none() => {
                return Ok(false);
            }
            // It is starting, or stopping.
            Ok(_) if Instant::now() < deadline => sleep(START_LOOK_EVERY).await,
            Ok(_) | Err(_) => return Err(silent(dirs)),
        }
    }
}

/// Waits for the daemon that was just started. Its end is the caller's to notice.
async fn wait_ready_of(pid: Option<u32>, dirs: &Dirs, deadline: Instant) -> Result<(), Error> {
    loop {
        match wait_ready(dirs, deadline).await {
            Ok(true) => return Ok(()),
            // It has not come to its socket yet.
            Ok(false) if Instant::now() < deadline => sleep(START_LOOK_EVERY).await,
            Ok(false) => return Err(Error::Silent { pid, log: dirs.own_log() }),
            Err(error) => return Err(error),
        }
    }
}

fn silent(dirs: &Dirs) -> Error {
    Error::Silent { pid: control_owner(&dirs.control_socket), log: dirs.own_log() }
}

/// The right to start a daemon: a lock on a folder, which leaves nothing behind, whoever is killed. (That of the state
/// itself is locked by an import.)
async fn only_one(dirs: &Dirs, deadline: Instant) -> Result<Flock<File>, Error> {
    let path = dirs.logs();
    let wrap = |error| Error::Log { path: path.clone(), error };
    let mut folder = File::open(&path).map_err(wrap)?;
    loop {
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, errno)) if errno != nix::errno::Errno::EWOULDBLOCK => return Err(wrap(errno.into())),
            Err(_) if Instant::now() >= deadline => return Err(silent(dirs)),
            Err((again, _)) => folder = again,
        }
        sleep(START_LOOK_EVERY).await;
    }
}

/// The PATH of the login shell before this one, where this one is no more than what a system gives to programs that were
/// not started from a shell, as a client on the desktop is: servers would not be found. `None`: it is good as it is.
async fn longer_path() -> Option<OsString> {
    let here = shell_path::current();
    let systems = [super::systemd::DEFAULT_PATH, super::launchd::DEFAULT_PATH];
    let is_poor = systems.iter().any(|system| super::install::beyond(&here.to_string_lossy(), system).is_empty());
    if !is_poor {
        return None;
    }
    let captured = shell_path::capture(SHELL_PATH_PATIENCE).await.ok()?;
    let mut folders = shell_path::directories(captured.path.as_ref());
    let more = shell_path::directories(&here).into_iter().filter(|folder| !folders.contains(folder));
    folders.extend(more.collect::<Vec<_>>());
    std::env::join_paths(folders).ok()
}

/// A process of `hub serve`, and how long its log was before.
fn spawn(dirs: &Dirs, search: Option<OsString>) -> Result<(Child, u64), Error> {
    // A `hub down` may have removed them meanwhile.
    dirs.create()?;
    let path = dirs.own_log();
    let wrap = |error| Error::Log { path: path.clone(), error };
    match output::rotate(&path, LOG_FILE_BYTES_MAX) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(wrap(error)),
        _ => {}
    }
    let log = output::open(&path).map_err(wrap)?;
    let from = log.metadata().map_err(wrap)?.len();
    // Relative paths mean something else from the folder in which it runs.
    let args = [OsString::from("serve"), "--config".into(), dirs.config_file.clone().into()];
    let state = std::env::var_os("HUB_STATE_DIR").filter(|value| !value.is_empty());
    let state = state.map(|_| (OsString::from("HUB_STATE_DIR"), dirs.state_dir.clone().into()));
    let env: Vec<_> = state.into_iter().chain(search.map(|search| ("PATH".into(), search))).collect();
    let home = dirs::home_to_start_in();
    let child = detached::spawn(&args, &env, &home, &log).map_err(Error::Spawn)?;
    Ok((child, from))
}

/// What was written to a log after its first `from` bytes, the last lines of it.
fn log_end(path: &Path, from: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(LOG_END_BYTES_MAX))))?;
        let mut bytes = Vec::new();
        file.take(LOG_END_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    let text = read().unwrap_or_default();
    if text.is_empty() && fs::metadata(path).is_err() { "it wrote no log".to_owned() } else { text }
}

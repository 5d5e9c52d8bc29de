//! One process in a session of its own: started, watched, signalled, reaped.
//!
//! In: a resolved program with its environment. Out: a [`Process`], its three pipes, and later its exit status. A
//! [`Process`] is owned by whoever started it. May not: reap before its owner asks (an unreaped leader pins its id, so
//! that a signal to the group cannot reach a stranger).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::guardian::Record;

/// What to run. The environment is complete: nothing is inherited from hub.
#[derive(Debug)]
pub struct Program<'a> {
    /// Absolute path of the file to execute.
    pub file: &'a Path,
    /// What the program finds as its own name (`argv[0]`).
    pub name: &'a OsStr,
    /// Arguments after the name.
    pub args: &'a [String],
    /// The whole environment.
    pub env: &'a [(OsString, OsString)],
    /// Working folder.
    pub cwd: &'a Path,
}

/// hub's ends of a process's three pipes.
#[derive(Debug)]
pub struct Pipes {
    /// Write end.
    pub stdin: OwnedFd,
    /// Read end.
    pub stdout: OwnedFd,
    /// Read end.
    pub stderr: OwnedFd,
}

/// A started process: leader of its own session and process group, so that its pid is also its group's id.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    child: std::process::Child,
    watch: ExitWatch,
    reaped: bool,
}

/// Starts a process in a session of its own. The new process writes its own id to `guardian` before it executes
/// anything, so no moment exists in which it runs and the guardian does not know it. Needs a tokio runtime.
pub fn spawn(program: &Program<'_>, guardian: &OwnedFd) -> io::Result<(Process, Pipes)> {
    let mut command = Command::new(program.file);
    command.arg0(program.name).args(program.args).env_clear().current_dir(program.cwd);
    command.envs(program.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let guardian = guardian.as_raw_fd();
    let files = super::rlimits::original_open_files();
    #[expect(unsafe_code, reason = "code between fork and exec")]
    // SAFETY: the closure only calls async-signal-safe functions and does not allocate.
    unsafe {
        command.pre_exec(move || prepare_child(guardian, files));
    }
    let mut child = command.spawn()?;
    let pid = child.id();
    let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
    let ((stdin, stdout), stderr) = pipes.expect("all three were asked for");
    let pipes = Pipes { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() };
    match ExitWatch::new(pid) {
        Ok(watch) => Ok((Process { pid, child, watch, reaped: false }, pipes)),
        Err(error) => {
            signal_group(pid, Signal::SIGKILL);
            child.wait()?;
            Err(error)
        }
    }
}

/// Runs in the forked process, before exec: only async-signal-safe calls.
fn prepare_child(guardian: RawFd, files: Option<(u64, u64)>) -> io::Result<()> {
    let pid = nix::unistd::setsid()?.as_raw().unsigned_abs();
    super::rlimits::restore_open_files(files);
    Record::register(pid, 0).write_after_fork(guardian)
}

impl Process {
    /// Process id, group id and session id in one.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Ready once the process has ended. It stays a zombie, and its id its own, until [`Self::reap`].
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.reaped {
            return Poll::Ready(());
        }
        self.watch.poll_ended(cx, self.pid)
    }

    /// Has it ended? Does not reap.
    pub fn ended(&self) -> bool {
        self.reaped || has_ended(self.pid)
    }

    /// Takes the exit status of an ended process. `None`: it has not ended. From here on its id may be given to another.
    pub fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        self.reaped |= status.is_some();
        Ok(status)
    }

    /// Signals the whole group; safe as long as the leader is not reaped. Returns whether there was anybody.
    pub fn signal_group(&self, signal: Signal) -> bool {
        signal_group(self.pid, signal)
    }

    /// Leaves the process to a thread that waits for its end, for owners that vanish without a proper stop.
    pub fn abandon(mut self, after: impl FnOnce() + Send + 'static) {
        self.signal_group(Signal::SIGKILL);
        let reaper = std::thread::Builder::new().name("hub-reaper".into());
        let started = reaper.spawn(move || {
            self.child.wait().ok();
            after();
        });
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to reap a killed process; it stays a zombie until hub ends");
        }
    }
}

/// Signals a process group. Returns whether it had a member (zombies count).
pub fn signal_group(pgid: u32, signal: Signal) -> bool {
    let Some(pgid) = to_pid(pgid) else { return false };
    // EPERM (macOS: only zombies left) means that nobody could be signalled.
    killpg(pgid, signal).is_ok()
}

/// Does a process group have a member (zombies count)?
pub fn group_exists(pgid: u32) -> bool {
    to_pid(pgid).is_some_and(|pgid| killpg(pgid, None) != Err(Errno::ESRCH))
}

/// Does a process with this id exist (zombies count)?
pub fn process_exists(pid: u32) -> bool {
    to_pid(pid).is_some_and(|pid| kill(pid, None) != Err(Errno::ESRCH))
}

/// Guards against the ids that mean "everybody": 0 and 1 are never a child of ours.
pub(super) fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|&pid| pid > 1).map(Pid::from_raw)
}

/// Has a child of this process ended, without reaping it? `true` also when it is no child (any more).
fn has_ended(pid: u32) -> bool {
    #[expect(unsafe_code, reason = "nix has no waitid on macOS")]
    // SAFETY: an all-zero siginfo_t is valid: plain integers and pointers that nobody follows.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    #[expect(unsafe_code, reason = "nix has no waitid on macOS")]
    // SAFETY: `info` is a valid, exclusive out pointer.
    let answer = unsafe { libc::waitid(libc::P_PID, pid, &raw mut info, flags) };
    if answer != 0 {
        return Errno::last() == Errno::ECHILD;
    }
    // With WNOHANG and nobody ended, si_signo stays zero.
    info.si_signo != 0
}

// === impl ExitWatch ===

/// Wakes when a child ends: a pidfd where the kernel has one, else SIGCHLD.
#[derive(Debug)]
pub(super) enum ExitWatch {
    #[cfg(target_os = "linux")]
    PidFd(tokio::io::unix::AsyncFd<OwnedFd>),
    Signal(tokio::signal::unix::Signal),
}

impl ExitWatch {
    pub(super) fn new(pid: u32) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Ok(fd) = super::procfs::pidfd_open(pid) {
            use tokio::io::{Interest, unix::AsyncFd};
            #[expect(unsafe_code, reason = "the safe constructor is deprecated")]
            // SAFETY: an OwnedFd gives the same open descriptor for as long as the AsyncFd owns it.
            let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
            return Ok(Self::PidFd(registered.map_err(io::Error::from)?));
        }
        #[cfg(not(target_os = "linux"))]
        let _ = pid;
        Ok(Self::Signal(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child())?))
    }

    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>, pid: u32) -> Poll<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::PidFd(fd) => loop {
                match std::task::ready!(fd.poll_read_ready(cx)) {
                    Ok(_) if has_ended(pid) => return Poll::Ready(()),
                    Ok(mut guard) => guard.clear_ready(),
                    // The runtime is shutting down; nobody will poll again.
                    Err(_) => return Poll::Pending,
                }
            },
            Self::Signal(signal) => loop {
                // Registers first, looks second: an end between the two wakes again.
                let signalled = signal.poll_recv(cx);
                if has_ended(pid) {
                    return Poll::Ready(());
                }
                // None: the runtime is shutting down; nobody will poll again.
                if !matches!(signalled, Poll::Ready(Some(()))) {
                    return Poll::Pending;
                }
            },
        }
    }
}

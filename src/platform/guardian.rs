//! The guardian: a small process of the same binary that outlives hub by a moment, to end what hub left running.
//!
//! In: groups that began, groups that are gone. Out: a descriptor through which a forked child registers itself. Owns
//! the guardian process and the list of living groups. May not: end a group (that is `guarding`, in the other process).
//!
//! The parent-death signal does not do this job: it reaches only the direct child, and it follows the thread that
//! forked, not the process. A pipe whose write ends close when hub is gone does, however hub died.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The hidden subcommand that makes this binary a guardian.
pub const SUBCOMMAND: &str = "__guardian";
/// A guardian that died is started again after this long at most.
const REVIVE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// One fact about a group, as it travels through the pipe. Small enough to be written in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) register: bool,
    pub(super) pgid: u32,
    /// Start time of the leader in clock ticks since boot; 0: not known yet.
    pub(super) start: u64,
}

impl Record {
    pub(super) const BYTES: usize = 16;

    pub(super) fn register(pgid: u32, start: u64) -> Self {
        Self { register: true, pgid, start }
    }

    fn forget(pgid: u32) -> Self {
        Self { register: false, pgid, start: 0 }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = u8::from(self.register);
        bytes[4..8].copy_from_slice(&self.pgid.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.start.to_ne_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [kind, _, _, _, a, b, c, d, start @ ..] = bytes;
        Self { register: kind != 0, pgid: u32::from_ne_bytes([a, b, c, d]), start: u64::from_ne_bytes(start) }
    }

    /// Writes from a forked process before exec: async-signal-safe. There SIGPIPE is at its default again and would
    /// end the process silently if the guardian were gone; so it is ignored meanwhile, and the error is seen.
    pub(super) fn write_after_fork(self, fd: RawFd) -> io::Result<()> {
        let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        #[expect(unsafe_code, reason = "signal dispositions of a forked process")]
        // SAFETY: installs no handler function, so nothing can run at a bad moment.
        let before = unsafe { sigaction(Signal::SIGPIPE, &ignore) }?;
        let written = self.write(fd);
        #[expect(unsafe_code, reason = "signal dispositions of a forked process")]
        // SAFETY: puts back what was there.
        unsafe { sigaction(Signal::SIGPIPE, &before) }?;
        written
    }

    fn write(self, fd: RawFd) -> io::Result<()> {
        let bytes = self.to_bytes();
        #[expect(unsafe_code, reason = "a borrowed descriptor cannot cross a fork")]
        // SAFETY: `bytes` is a valid buffer of that length; the caller keeps the descriptor open.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        // A pipe takes so few bytes whole or not at all (pipe(7), PIPE_BUF).
        if written < 0 { Err(Errno::last().into()) } else { Ok(()) }
    }
}

/// hub's handle to its guardian. Cheap to clone; the guardian acts when the last clone is gone or hub is.
#[derive(Debug, Clone)]
pub struct Guardian {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    run: String,
    launch: Launch,
    inner: Mutex<Inner>,
}

/// How to start a guardian process: program and arguments before the run id.
#[derive(Debug)]
struct Launch {
    program: std::path::PathBuf,
    args: Vec<String>,
}

#[derive(Debug)]
struct Inner {
    process: Child,
    channel: Option<Arc<OwnedFd>>,
    /// Leaders' start times by group.
    groups: HashMap<u32, u64>,
}

impl Guardian {
    /// Starts the guardian of this daemon. `run_id` is the marker that all its children carry.
    pub fn start(run_id: &str) -> io::Result<Self> {
        Self::start_as(&own_program()?, &[SUBCOMMAND], run_id)
    }

    /// As [`Self::start`], with another program: one that calls [`super::guarding::guard`] with its last argument.
    pub fn start_as(program: &std::path::Path, args: &[&str], run_id: &str) -> io::Result<Self> {
        let launch = Launch { program: program.to_owned(), args: args.iter().map(|&arg| arg.to_owned()).collect() };
        let (process, channel) = launch.start(run_id)?;
        let inner = Inner { process, channel: Some(channel), groups: HashMap::new() };
        Ok(Self { shared: Arc::new(Shared { run: run_id.to_owned(), launch, inner: Mutex::new(inner) }) })
    }

    /// The run id of this daemon.
    pub fn run_id(&self) -> &str {
        &self.shared.run
    }

    /// Process id of the guardian.
    pub fn pid(&self) -> u32 {
        self.inner().process.id()
    }

    /// What a forked child writes its id to. Close-on-exec, so a program never sees it.
    pub fn fd_for_child(&self) -> io::Result<Arc<OwnedFd>> {
        self.inner().channel.clone().ok_or_else(|| io::Error::other("the guardian was told to finish"))
    }

    /// Notes a started group with its leader's start time, after the child registered itself.
    pub fn adopt(&self, pgid: u32) {
        let start = super::family::start_of(pgid).unwrap_or(0);
        let mut inner = self.inner();
        inner.groups.insert(pgid, start);
        inner.tell(Record::register(pgid, start));
    }

    /// The group is gone and its id may be given to a stranger.
    pub fn forget(&self, pgid: u32) {
        let mut inner = self.inner();
        inner.groups.remove(&pgid);
        inner.tell(Record::forget(pgid));
    }

    /// Starts another guardian if the present one is dead, and tells it all living groups. Returns whether it was.
    pub fn revive(&self) -> io::Result<bool> {
        let mut inner = self.inner();
        if inner.channel.is_none() || inner.process.try_wait()?.is_none() {
            return Ok(false);
        }
        let (process, channel) = self.shared.launch.start(&self.shared.run)?;
        inner.process = process;
        inner.channel = Some(channel);
        let groups: Vec<Record> = inner.groups.iter().map(|(&pgid, &start)| Record::register(pgid, start)).collect();
        for record in groups {
            inner.tell(record);
        }
        Ok(true)
    }

    /// Watches the guardian for as long as hub runs and replaces it when it dies. Never ends by itself; cancel safe.
    pub async fn keep(&self) {
        let mut pause = Duration::from_millis(50);
        loop {
            self.died().await;
            match self.revive() {
                Ok(true) => tracing::warn!(pid = self.pid(), "the guardian process died; another one was started"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the guardian process died and cannot be started again yet"),
            }
            // A guardian that cannot live must not become a fork loop.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(REVIVE_PAUSE_MAX);
        }
    }

    /// Ready once the present guardian has ended.
    async fn died(&self) {
        let pid = self.pid();
        match super::process::ExitWatch::new(pid) {
            Ok(mut watch) => std::future::poll_fn(|cx| watch.poll_ended(cx, pid)).await,
            // Already gone, or out of descriptors: look again soon.
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }

    /// Lets the guardian go at the end of hub: it looks for stragglers once more and leaves. Waits for it, bounded.
    pub async fn finish(&self, patience: Duration) {
        self.inner().channel = None;
        if tokio::time::timeout(patience, self.died()).await.is_ok() {
            self.inner().process.try_wait().ok();
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn tell(&mut self, record: Record) {
        let Some(channel) = &self.channel else { return };
        if let Err(error) = record.write(channel.as_raw_fd()) {
            // A dead guardian is replaced and told everything; a deaf one still checks each group before it acts.
            tracing::debug!(%error, pgid = record.pgid, "the guardian did not take a message");
        }
    }
}

impl Launch {
    fn start(&self, run_id: &str) -> io::Result<(Child, Arc<OwnedFd>)> {
        let (reader, writer) = io::pipe()?;
        let writer = OwnedFd::from(writer);
        // A guardian that does not read must fail a spawn, not hang it.
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = Command::new(&self.program);
        command.arg0("hub").args(&self.args).arg(run_id).current_dir("/");
        command.stdin(reader).stdout(Stdio::null()).stderr(Stdio::null());
        for name in super::detached::FOR_HUB_ALONE {
            command.env_remove(name);
        }
        #[expect(unsafe_code, reason = "code between fork and exec")]
        // SAFETY: setsid is async-signal-safe and does not allocate.
        unsafe {
            command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?));
        }
        Ok((command.spawn()?, Arc::new(writer)))
    }
}

/// This binary, also after its file was replaced by an upgrade.
fn own_program() -> io::Result<std::path::PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    std::env::current_exe()
}

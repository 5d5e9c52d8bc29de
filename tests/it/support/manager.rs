//! A service manager as hub sees one: a datagram socket that hears, and a store of descriptors.
//!
//! In: datagrams of sd_notify(3). Out: what was told, when, and the descriptors that came with it. Owns its socket, its
//! thread and its descriptors. May not: answer anything; systemd does not either.

use super::eventually;
use super::hub::Hub;
use super::setup::hub_binary;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One datagram.
#[derive(Debug)]
pub struct Told {
    /// When it came.
    pub at: Instant,
    /// `NAME=VALUE` lines.
    pub lines: Vec<String>,
    fds: Vec<OwnedFd>,
}

impl Told {
    /// Does it say this?
    pub fn has(&self, line: &str) -> bool {
        self.lines.iter().any(|told| told == line)
    }

    /// The value of a variable.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

/// See the module.
pub struct Manager {
    path: PathBuf,
    told: Arc<Mutex<Vec<Told>>>,
    end: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Manager {
    /// Listens at a path.
    pub fn listen(path: PathBuf) -> Self {
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let (told, end) = (Arc::<Mutex<Vec<Told>>>::default(), Arc::new(AtomicBool::new(false)));
        let (heard, ended) = (Arc::clone(&told), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                if let Some(one) = receive(&socket) {
                    let mut told = heard.lock().expect("never poisoned");
                    if one.has("FDSTOREREMOVE=1") {
                        told.iter_mut()
                            .filter(|told| told.value("FDNAME") == one.value("FDNAME"))
                            .for_each(|told| told.fds.clear());
                    }
                    told.push(one);
                }
            }
        });
        Self { path, told, end, thread: Some(thread) }
    }

    /// The value of `NOTIFY_SOCKET`.
    pub fn address(&self) -> String {
        self.path.display().to_string()
    }

    /// How many datagrams there are so far.
    pub fn mark(&self) -> usize {
        self.told.lock().expect("never poisoned").len()
    }

    /// What `look` makes of the datagrams from `mark` on.
    pub fn since<T>(&self, mark: usize, look: impl FnOnce(&[Told]) -> T) -> T {
        look(&self.told.lock().expect("never poisoned")[mark..])
    }

    /// Waits for a line in a datagram from `mark` on.
    pub fn wait(&self, mark: usize, line: &str) {
        eventually(&format!("{line} is told"), || {
            self.since(mark, |told| told.iter().any(|told| told.has(line)).then_some(()))
        });
    }

    /// The descriptor that is kept under a name now.
    pub fn kept(&self, name: &str) -> Option<OwnedFd> {
        let told = self.told.lock().expect("never poisoned");
        let last = told.iter().rev().find(|told| told.value("FDNAME") == Some(name))?;
        let fd = last.has("FDSTORE=1").then(|| last.fds.first())??;
        Some(fd.try_clone().expect("a descriptor"))
    }

    /// A command that becomes `hub serve` with descriptors 3 (`names[0]`), 4 (`names[1]`) and 5, which is no socket.
    pub fn passing(&self, hub: &Hub, names: [&str; 2]) -> Command {
        let script = "exec 3<&0 4<&2 5</dev/null </dev/null 2>>\"$HUB_LOG\"\n\
            export LISTEN_PID=$$ LISTEN_FDS=3\nexec \"$HUB\" serve";
        let mut command = hub.command();
        let shell = std::mem::replace(&mut command, Command::new("bash"));
        command.env_clear().current_dir(hub.dir.path());
        command.envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("HUB", hub_binary()).env("HUB_LOG", hub.log_path());
        command.env("LISTEN_FDNAMES", format!("{}:{}:stranger", names[0], names[1]));
        command.args(["-c", script]);
        command.stdin(self.kept(names[0]).expect("kept")).stderr(self.kept(names[1]).expect("kept"));
        command
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It ends within its timeout; that it panicked was said already.
            drop(thread.join());
        }
    }
}

fn receive(socket: &UnixDatagram) -> Option<Told> {
    let mut bytes = [0_u8; 4096];
    let mut space = nix::cmsg_space!([RawFd; 8]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags).ok()?;
    let rights = message.cmsgs().expect("whole").filter_map(|control| match control {
        ControlMessageOwned::ScmRights(fds) => Some(fds),
        _ => None,
    });
    #[expect(unsafe_code, reason = "descriptors come as numbers")]
    // SAFETY: the kernel made them for this process just now.
    let fds = rights.flatten().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect();
    let length = message.bytes;
    let lines = String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect();
    Some(Told { at: Instant::now(), lines, fds })
}

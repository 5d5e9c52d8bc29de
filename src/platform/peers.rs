//! Who has the other end of what a process reads from. Linux only.
//!
//! In: processes of this user, one of them. Out: whether anybody could still tell it something, or that this cannot be seen.
//! Owns what it has looked up. May not: take an end for gone because it is hidden.
//!
//! Whether there is another end at all the kernel knows best: a pipe without writers hangs up, and of a socket pair the
//! socket diagnosis tells the peer, which has no inode once nobody has it. Who has one that exists is looked for in the open
//! files of this user's processes.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::strays::Stdin;

const PIPE: &str = "pipe:[";
const SOCKET: &str = "socket:[";

/// Who has which ends: looked up when it is first asked for.
pub(super) struct Ends<'p> {
    /// Processes of this user.
    pids: &'p [u32],
    users: Option<Users>,
}

/// Which processes have an end open, by its inode.
#[derive(Default)]
struct Users {
    /// Ends of pipes that can be written into.
    pipes: HashMap<u64, HashSet<u32>>,
    sockets: HashMap<u64, HashSet<u32>>,
    /// A process of this user does not show its open files.
    is_partial: bool,
}

impl<'p> Ends<'p> {
    pub(super) fn of(pids: &'p [u32]) -> Self {
        Self { pids, users: None }
    }

    /// What a process reads from. `is_inside`: those that do not count as somebody else.
    pub(super) fn stdin(&mut self, pid: u32, is_inside: impl Fn(u32) -> bool) -> Stdin {
        let path = format!("/proc/{pid}/fd/0");
        let Ok(target) = fs::read_link(&path) else { return Stdin::Other };
        let target = target.to_string_lossy();
        let pipe = inode(&target, PIPE);
        let end = match (pipe, inode(&target, SOCKET)) {
            (Some(_), _) if has_hung_up(&path) => return Stdin::Dead,
            (Some(pipe), _) => pipe,
            (_, Some(socket)) => match peer(socket) {
                Ok(Peer::Gone) => return Stdin::Dead,
                Ok(Peer::Inode(peer)) => peer,
                // Not a local socket, one of another network namespace, or a kernel that does not tell.
                Err(_) => return Stdin::Unknown,
            },
            _ => return Stdin::Other,
        };
        let users = self.users.get_or_insert_with(|| Users::among(self.pids));
        let who = if pipe.is_some() { users.pipes.get(&end) } else { users.sockets.get(&end) };
        judge(who, users.is_partial, is_inside)
    }
}

/// Of an end that exists, and the processes that are seen to have it.
fn judge(who: Option<&HashSet<u32>>, is_partial: bool, is_inside: impl Fn(u32) -> bool) -> Stdin {
    match who {
        Some(pids) if pids.iter().any(|pid| !is_inside(*pid)) => Stdin::Live,
        // It keeps its own other end, and nobody else has it.
        Some(_) if !is_partial => Stdin::Dead,
        // Somebody has it who does not show it: another user, a protected process, a message under way.
        _ => Stdin::Unknown,
    }
}

impl Users {
    fn among(pids: &[u32]) -> Self {
        let mut users = Self::default();
        for pid in pids {
            users.add(*pid);
        }
        users
    }

    fn add(&mut self, pid: u32) {
        let open = match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(open) => open,
            // It has ended meanwhile, and has nothing open.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => {
                self.is_partial = true;
                return;
            }
        };
        for path in open.flatten().map(|entry| entry.path()) {
            let target = match fs::read_link(&path) {
                Ok(target) => target,
                // It has been closed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(_) => {
                    self.is_partial = true;
                    return;
                }
            };
            let target = target.to_string_lossy();
            if let Some(socket) = inode(&target, SOCKET) {
                self.sockets.entry(socket).or_default().insert(pid);
            }
            // The link to an end that can be written has the permission to write (proc_pid_fd(5)).
            let is_writable = || fs::symlink_metadata(&path).is_ok_and(|link| link.mode() & 0o200 != 0);
            if let Some(pipe) = inode(&target, PIPE).filter(|_| is_writable()) {
                self.pipes.entry(pipe).or_default().insert(pid);
            }
        }
    }
}

fn inode(target: &str, kind: &str) -> Option<u64> {
    target.strip_prefix(kind)?.strip_suffix(']')?.parse().ok()
}

/// Whether nobody at all can write into a pipe. Opens one more end to read from, which takes nothing out of it.
fn has_hung_up(path: &str) -> bool {
    let end = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    end.is_ok_and(|end: File| {
        let mut poll = libc::pollfd { fd: end.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        #[expect(unsafe_code, reason = "nix's poll is a feature of its own, for this one call")]
        // SAFETY: one valid entry, on an open descriptor that outlives the call, which does not wait.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
        ready == 1 && poll.revents & libc::POLLHUP != 0
    })
}

// === socket diagnosis (sock_diag(7), linux/unix_diag.h) ===

/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;
/// `UDIAG_SHOW_PEER`
const SHOW_PEER: u32 = 4;
/// `UNIX_DIAG_PEER`
const ATTRIBUTE_PEER: u16 = 2;
/// `UNIX_DIAG_SHUTDOWN`
const ATTRIBUTE_SHUTDOWN: u16 = 6;
/// `SHUTDOWN_MASK`: nothing comes in, nothing goes out. The end of the peer does that to a socket.
const SHUT: u8 = 3;
/// `TCP_ESTABLISHED`, of local sockets too.
const ESTABLISHED: u8 = 1;
/// Any socket of that inode, whatever its cookie is.
const NO_COOKIE: u32 = u32::MAX;
/// Bytes of a `nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of a `unix_diag_req`.
const REQUEST: usize = 24;
/// Bytes of a `unix_diag_msg`.
const ANSWER: usize = 16;
/// Bytes of a `nlattr`.
const ATTRIBUTE: usize = 4;

/// The other end of a local socket.
#[derive(Debug, PartialEq, Eq)]
enum Peer {
    /// Nobody has it open any more.
    Gone,
    /// Somebody has: its inode.
    Inode(u64),
}

/// Asks the kernel for the peer of one local socket. An error: it cannot be known.
fn peer(inode: u64) -> io::Result<Peer> {
    let wanted = u32::try_from(inode).map_err(io::Error::other)?;
    let diag = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    send(diag.as_raw_fd(), &request(wanted), MsgFlags::empty())?;
    // The kernel has answered before the call above returned: there is nothing to wait for.
    let mut answer = [0_u8; 1024];
    let length = recv(diag.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
    read_answer(&answer[..length], wanted)
}

fn request(inode: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + REQUEST);
    bytes.extend(u32::try_from(HEADER + REQUEST).unwrap_or_default().to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(u16::try_from(libc::NLM_F_REQUEST).unwrap_or_default().to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([u8::try_from(libc::AF_UNIX).unwrap_or_default(), 0, 0, 0]);
    // In every state.
    bytes.extend(u32::MAX.to_ne_bytes());
    for field in [inode, SHOW_PEER, NO_COOKIE, NO_COOKIE] {
        bytes.extend(field.to_ne_bytes());
    }
    bytes
}

fn read_answer(bytes: &[u8], wanted: u32) -> io::Result<Peer> {
    let unclear = || io::Error::from(io::ErrorKind::InvalidData);
    let u16_at = |at: usize| bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
    let u32_at = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let length = u32_at(0).and_then(|length| usize::try_from(length).ok()).ok_or_else(unclear)?;
    let kind = u16_at(4).ok_or_else(unclear)?;
    if i32::from(kind) == libc::NLMSG_ERROR {
        let errno = u32_at(HEADER).map_or(0, u32::cast_signed);
        return Err(Errno::from_raw(errno.wrapping_neg()).into());
    }
    if kind != BY_FAMILY || length > bytes.len() || u32_at(HEADER + 4) != Some(wanted) {
        return Err(unclear());
    }
    let is_connected = bytes.get(HEADER + 2) == Some(&ESTABLISHED);
    let (mut peer, mut is_shut) = (0, false);
    let mut at = HEADER + ANSWER;
    while at + ATTRIBUTE <= length {
        let size = usize::from(u16_at(at).ok_or_else(unclear)?);
        match u16_at(at + 2) {
            Some(ATTRIBUTE_PEER) => peer = u32_at(at + ATTRIBUTE).ok_or_else(unclear)?,
            Some(ATTRIBUTE_SHUTDOWN) => is_shut = bytes.get(at + ATTRIBUTE) == Some(&SHUT),
            _ => {}
        }
        at += size.max(ATTRIBUTE).next_multiple_of(4);
    }
    match peer {
        // Sockets that nobody has open have no inode; nor has one that a listener has not accepted yet.
        0 if is_connected && is_shut => Ok(Peer::Gone),
        // To one that listens, or is not connected, anybody may still speak.
        0 => Err(unclear()),
        peer => Ok(Peer::Inode(peer.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{ControlMessage, sendmsg};
    use std::io::IoSlice;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    /// Another test's child may hold a dropped end until it has become its program.
    fn eventually(what: &str, is: impl Fn() -> bool) {
        let began = tokio::time::Instant::now();
        while !is() {
            assert!(began.elapsed().as_secs() < 10, "{what}");
            std::thread::yield_now();
        }
    }

    fn inode_of(end: &impl AsFd) -> u64 {
        let copy = end.as_fd().try_clone_to_owned().expect("a descriptor");
        File::from(copy).metadata().expect("open").ino()
    }

    #[test]
    fn the_kernel_tells_the_peer() {
        let (one, other) = UnixStream::pair().expect("a pair");
        let (one_inode, other_inode) = (inode_of(&one), inode_of(&other));
        assert_eq!(peer(one_inode).expect("told"), Peer::Inode(other_inode));
        assert_eq!(peer(other_inode).expect("told"), Peer::Inode(one_inode));
        other.shutdown(std::net::Shutdown::Both).expect("shut");
        assert_eq!(peer(one_inode).expect("told"), Peer::Inode(other_inode), "somebody still has it");
        drop(other);
        eventually("nobody has it", || peer(one_inode).expect("told") == Peer::Gone);
        drop(one);
        eventually("there is none", || peer(one_inode).is_err());
    }

    #[test]
    fn what_is_no_pair_is_not_judged() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        assert!(peer(inode_of(&tcp)).is_err());
        let datagram = UnixDatagram::unbound().expect("a socket");
        assert!(peer(inode_of(&datagram)).is_err(), "anybody may send to it");
        assert!(peer(u64::MAX).is_err());
        // A named one, as of a client that listens: its peer is the accepted end.
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("s")).expect("bound");
        assert!(peer(inode_of(&listener)).is_err(), "anybody may connect to it");
        let stream = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        assert!(peer(inode_of(&stream)).is_err(), "it is not connected");
        let client = UnixStream::connect(folder.path().join("s")).expect("connected");
        assert!(peer(inode_of(&client)).is_err(), "it is not accepted yet");
        seen(listener.try_clone().expect("a descriptor").into(), |stdin| assert_eq!(stdin(&[]), Stdin::Unknown));
        let (accepted, _) = listener.accept().expect("accepted");
        assert_eq!(peer(inode_of(&client)).expect("told"), Peer::Inode(inode_of(&accepted)));
    }

    #[test]
    fn cut_off_and_foreign_answers_are_refused() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let wanted = u32::try_from(inode_of(&one)).expect("small");
        let mut error = vec![0; 36];
        error[0] = 36;
        error[4] = 2;
        error[HEADER..HEADER + 4].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
        assert_eq!(read_answer(&error, wanted).expect_err("refused").raw_os_error(), Some(libc::EPERM));
        let mut good = request(wanted);
        good[HEADER + 1] = 1;
        for length in 0..good.len() {
            assert!(read_answer(&good[..length], wanted).is_err(), "{length}");
        }
        assert!(read_answer(&good, wanted + 1).is_err(), "of another socket");
    }

    /// An end that is on its way in a message is open, and in nobody's table: as one of a process that hides it.
    fn hide(end: &impl AsFd) -> (UnixStream, UnixStream) {
        let (from, to) = UnixStream::pair().expect("a pair");
        let fds = [end.as_fd().as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(from.as_raw_fd(), &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None).expect("sent");
        (from, to)
    }

    /// What a child that reads from `stdin` is seen to read from.
    fn seen(stdin: OwnedFd, look: impl FnOnce(&dyn Fn(&[u32]) -> Stdin)) {
        let mut child = std::process::Command::new("sleep").arg("60").stdin(stdin).spawn().expect("started");
        let pid = child.id();
        look(&|others| {
            let mut pids = others.to_vec();
            pids.push(pid);
            Ends::of(&pids).stdin(pid, |other| other == pid)
        });
        child.kill().expect("ours");
        child.wait().expect("reaped");
    }

    #[test]
    fn sockets_and_pipes_with_and_without_somebody() {
        let me = std::process::id();
        let (theirs, ours) = UnixStream::pair().expect("a pair");
        seen(theirs.into(), |stdin| {
            assert_eq!(stdin(&[me]), Stdin::Live);
            assert_eq!(stdin(&[]), Stdin::Unknown, "it exists, and nobody who is looked at has it");
            let hidden = hide(&ours);
            drop(ours);
            assert_eq!(stdin(&[me]), Stdin::Unknown);
            drop(hidden);
            eventually("nobody has it", || stdin(&[me]) == Stdin::Dead);
        });
        let (reader, writer) = io::pipe().expect("a pipe");
        seen(reader.into(), |stdin| {
            assert_eq!(stdin(&[me]), Stdin::Live);
            let hidden = hide(&writer);
            drop(writer);
            assert_eq!(stdin(&[me]), Stdin::Unknown);
            drop(hidden);
            eventually("nobody has it", || stdin(&[me]) == Stdin::Dead);
        });
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = std::net::TcpStream::connect(tcp.local_addr().expect("bound")).expect("connected");
        seen(client.into(), |stdin| assert_eq!(stdin(&[me]), Stdin::Unknown));
        seen(File::open("/dev/null").expect("there").into(), |stdin| assert_eq!(stdin(&[me]), Stdin::Other));
    }

    #[test]
    fn its_own_other_end_does_not_count_unless_somebody_hides_his() {
        let who = HashSet::from([7]);
        for (is_partial, is_inside, expected) in [
            (false, false, Stdin::Live),
            (true, false, Stdin::Live),
            (false, true, Stdin::Dead),
            (true, true, Stdin::Unknown),
        ] {
            assert_eq!(judge(Some(&who), is_partial, |_| is_inside), expected);
        }
        assert_eq!(judge(None, false, |_| false), Stdin::Unknown);
    }
}

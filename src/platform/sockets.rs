//! Sockets that hub listens on: TCP ports, and the control socket that only one daemon can have.
//!
//! In: addresses, a path. Out: bound listeners, or an error that names who is in the way. A [`ControlSocket`] owns its
//! lock and its file. May not: take a socket away from a daemon that lives.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// Connections that wait to be accepted: a whole fleet of clients reconnects at once after a restart of hub.
const BACKLOG: u32 = 1024;

/// Tries for a lock whose file is removed at the same time.
const LOCK_TRIES: usize = 10;

/// Why a socket could not be had. The texts are shown to people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process listens there.
    #[error("port {} is taken{}", .address.port(), .holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default())]
    Taken {
        /// What was asked for.
        address: SocketAddr,
        /// `NAME (pid N)`, where that can be seen.
        holder: Option<String>,
    },
    /// Anything else.
    #[error("cannot listen on {address}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A daemon has this control socket.
    #[error("another hub is running{}", .pid.map(|pid| format!(", pid {pid}")).unwrap_or_default())]
    AnotherHub {
        /// Its process id, if it could be read.
        pid: Option<u32>,
    },
    /// The control socket or its lock cannot be made.
    #[error("cannot make the control socket {}", .path.display())]
    Control {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// Listens on a TCP address; port 0 takes a free one. Needs a tokio runtime.
pub fn bind_tcp(address: SocketAddr) -> Result<TcpListener, Error> {
    listen(address).map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            Error::Taken { address, holder: holder(address) }
        } else {
            Error::Listen { address, error }
        }
    })
}

/// Could a server listen there now?
pub fn is_free(host: IpAddr, port: u16) -> bool {
    std::net::TcpListener::bind((host, port)).is_ok()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for the connections of the last run to leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The daemon's control socket. Its lock is held for as long as this lives; the file is removed at the end.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    _lock: Flock<File>,
}

impl ControlSocket {
    /// Takes the lock beside `path`, removes what a dead daemon left and listens (0600). The folder must exist. Needs a
    /// tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let wrap = |error| Error::Control { path: path.to_owned(), error };
        let lock = take_lock(&lock_path(path)).map_err(wrap)?.map_err(|pid| Error::AnotherHub { pid })?;
        // Whoever had the lock is gone, so whatever lies here answers nobody.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(wrap(error)),
            _ => {}
        }
        // Between bind and chmod the folder (0700) keeps others out.
        let listener = UnixListener::bind(path).map_err(wrap)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(wrap)?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }

    /// The listener.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Gives it up for good: its lock file goes, too. Whoever waits for the lock notices that.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(lock_path(&self.path))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // The lock file stays: removing it would let two daemons lock two different files of one name.
        fs::remove_file(&self.path).ok();
    }
}

/// Process id of the daemon that has this control socket, whether it answers or not. `None`: there is no daemon.
pub fn control_owner(path: &Path) -> Option<u32> {
    let file = OpenOptions::new().read(true).open(lock_path(path)).ok()?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_nobody) => None,
        Err((file, _held)) => read_pid(file),
    }
}

fn lock_path(socket: &Path) -> PathBuf {
    socket.with_extension("lock")
}

/// The lock, or the pid of who has it.
fn take_lock(path: &Path) -> io::Result<Result<Flock<File>, Option<u32>>> {
    for _ in 0..LOCK_TRIES {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            // Whoever had it may have removed it at the end: then a lock on it means nothing.
            Ok(lock) if !is_at(&lock, path) => {}
            Ok(mut lock) => {
                lock.set_len(0)?;
                writeln!(lock, "{}", std::process::id())?;
                return Ok(Ok(lock));
            }
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => return Ok(Err(read_pid(file))),
            Err((_, errno)) => return Err(errno.into()),
        }
    }
    Err(io::Error::other("it is removed again and again"))
}

/// Is this the file of that name?
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    file.metadata().is_ok_and(|open| fs::metadata(path).is_ok_and(|named| identity(named) == identity(open)))
}

fn read_pid(mut file: File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

// === who is in the way ===

/// `NAME (pid N)` of the process that listens on a port, as far as this user may see it.
#[cfg(target_os = "linux")]
pub fn holder(address: SocketAddr) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().find_map(|line| listening_inode(line, address.port()))
    })?;
    let wanted = PathBuf::from(format!("socket:[{inode}]"));
    let pid = super::procfs::all().into_iter().map(|stat| stat.pid).find(|pid| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target == wanted)
    })?;
    Some(format!("{} (pid {pid})", super::procfs::name(pid).unwrap_or_default()))
}

/// Nobody can be seen here.
#[cfg(not(target_os = "linux"))]
pub fn holder(_address: SocketAddr) -> Option<String> {
    None
}

/// The socket inode of a line of /proc/net/tcp that is a listener on `port`.
#[cfg(target_os = "linux")]
fn listening_inode(line: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state) = (fields.get(1)?, fields.get(3)?);
    let its_port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
    if its_port != port || *state != LISTEN {
        return None;
    }
    fields.get(9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_who_has_it() {
        let first = bind_tcp("127.0.0.1:0".parse().expect("address")).expect("a free port");
        let address = first.local_addr().expect("bound");
        let error = bind_tcp(address).expect_err("taken");
        let text = error.to_string();
        assert!(text.starts_with(&format!("port {} is taken", address.port())), "{text}");
        if cfg!(target_os = "linux") {
            assert!(text.contains(&format!("(pid {})", std::process::id())), "{text}");
        }
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_a_clear_error() {
        let error = bind_tcp("192.0.2.1:0".parse().expect("address")).expect_err("not ours");
        assert_eq!(error.to_string(), "cannot listen on 192.0.2.1:0");
    }

    #[tokio::test]
    async fn one_daemon_per_control_socket_and_stale_ones_are_replaced() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("hub.sock");
        // What a killed daemon leaves behind.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert_eq!(control_owner(&path), None);
        let first = ControlSocket::bind(&path).expect("first");
        assert_eq!(fs::metadata(&path).expect("socket").permissions().mode() & 0o777, 0o600);
        let second = ControlSocket::bind(&path).expect_err("taken");
        assert_eq!(second.to_string(), format!("another hub is running, pid {}", std::process::id()));
        assert_eq!(control_owner(&path), Some(std::process::id()));
        let connected = std::os::unix::net::UnixStream::connect(&path);
        assert!(connected.is_ok(), "the refused second one must not have removed the socket");
        drop(first);
        assert!(!path.exists());
        ControlSocket::bind(&path).expect("free again");
    }
}

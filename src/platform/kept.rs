//! Listening sockets that the service manager keeps while hub is restarted, so that who connects meanwhile waits in the
//! backlog instead of being refused.
//!
//! In: descriptors that the manager passed (sd_listen_fds(3)), sockets that are bound now. Out: sockets by address. A
//! [`Kept`] owns a second descriptor of each. May not: serve a socket that hub.toml does not ask for.

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::socket::{getsockopt, sockopt};

use super::notify;

/// Descriptors are taken once: a second taker would own what the first one owns.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// See the module.
#[derive(Debug, Default)]
pub struct Kept {
    sockets: HashMap<SocketAddr, TcpListener>,
    served: HashSet<SocketAddr>,
    manager: bool,
}

impl Kept {
    /// What the service manager passed to this process. What is no listening TCP socket is closed. Call it before any
    /// process is started, which could inherit it.
    pub fn take() -> Self {
        let mut kept = Self { manager: notify::is_listened_to(), ..Self::default() };
        if TAKEN.swap(true, Ordering::SeqCst) {
            return kept;
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        match sd_notify::listen_fds() {
            Ok(passed) => passed.for_each(|fd| kept.adopt(fd, names.next().unwrap_or_default())),
            Err(error) => tracing::warn!(%error, "what the service manager passed cannot be used"),
        }
        kept
    }

    fn adopt(&mut self, fd: RawFd, name: &str) {
        #[expect(unsafe_code, reason = "descriptors come as numbers")]
        // SAFETY: sd_notify made sure that it is open and meant for this process, and it is taken only once.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let listens = getsockopt(&fd, sockopt::AcceptConn).unwrap_or(false)
            && getsockopt(&fd, sockopt::SockType).is_ok_and(|kind| kind == nix::sys::socket::SockType::Stream);
        let socket = TcpListener::from(fd);
        match socket.local_addr() {
            Ok(address) if listens && !self.sockets.contains_key(&address) => {
                self.sockets.insert(address, socket);
                if name != self::name(address) {
                    self.rename(address, name);
                }
            }
            _ => {
                tracing::warn!(name, "the service manager kept something that hub does not listen on");
                if self.manager && !self.sockets.keys().any(|address| self::name(*address) == name) {
                    notify::forget(name);
                }
            }
        }
    }

    /// It is to be found under hub's own name, or it could not be given back.
    fn rename(&self, address: SocketAddr, old: &str) {
        if self.manager {
            notify::forget(old);
            if let Some(socket) = self.sockets.get(&address) {
                notify::keep(&name(address), socket.as_fd());
            }
        }
    }

    /// The socket that listens at an address already, unless somebody serves it.
    pub fn serve(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let socket = self.sockets.get(&address)?.try_clone().ok()?;
        self.served.insert(address).then_some(socket)
    }

    /// Lets the service manager, if there is one, keep a socket that is served from now on.
    pub fn keep(&mut self, socket: &TcpListener) {
        let Ok(address) = socket.local_addr() else { return };
        if !self.manager || self.sockets.contains_key(&address) {
            return;
        }
        // Without a descriptor of its own the map could not give it out again, and the manager's would be in the way.
        if let Ok(own) = socket.try_clone() {
            notify::keep(&name(address), own.as_fd());
            self.sockets.insert(address, own);
            self.served.insert(address);
        }
    }

    /// Nobody serves this address any more; another may.
    pub fn release(&mut self, address: SocketAddr) {
        self.served.remove(&address);
    }

    /// Closes what nobody serves, here and at the service manager.
    pub fn forget_unserved(&mut self) {
        let (served, manager) = (&self.served, self.manager);
        self.sockets.retain(|address, _| {
            let stays = served.contains(address);
            if !stays && manager {
                notify::forget(&name(*address));
            }
            stays
        });
    }
}

/// The name of a socket at the service manager; a colon is not allowed in it.
fn name(address: SocketAddr) -> String {
    format!("tcp{}-{}", if address.is_ipv4() { 4 } else { 6 }, address.port())
}

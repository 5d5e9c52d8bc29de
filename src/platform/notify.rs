//! What hub tells the service manager (sd_notify(3)): ready, reloading, stopping, alive, a line of status.
//!
//! In: `NOTIFY_SOCKET` and `WATCHDOG_USEC` of the environment. Out: datagrams. Owns nothing. May not: fail anything, or
//! wait for a manager that does not read; without a service manager all of it does nothing.

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use sd_notify::NotifyState;

use crate::limits::MANAGER_PATIENCE;

/// Does a service manager listen?
pub fn is_listened_to() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

/// How often the service manager expects to hear that hub is alive, at the latest. `None`: it does not ask.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|time| !time.is_zero())
}

/// All listeners are served.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// hub.toml is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager is not told of a reload"),
    }
}

/// The end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// hub is alive.
pub fn alive() {
    said(send(&[NotifyState::Watchdog], &[], None));
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    said(send(&[NotifyState::Status(&line.replace(['\n', '\r'], " "))], &[], None));
}

/// Lets the service manager keep a socket for the next start of hub. That nobody talks on it is no reason to let it go.
pub(super) fn keep(name: &str, socket: BorrowedFd<'_>) {
    let states = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
    said(send(&states, &[socket.as_raw_fd()], Some(MANAGER_PATIENCE)));
}

/// Lets it close the sockets that it keeps under a name.
pub(super) fn forget(name: &str) {
    tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

fn tell(states: &[NotifyState<'_>]) {
    said(send(states, &[], Some(MANAGER_PATIENCE)));
}

/// Sends one datagram. The manager's queue may be full, and whoever waits for it would be as stuck as the manager is:
/// without patience the datagram is dropped then, as one that is soon followed by the next may be.
fn send(states: &[NotifyState<'_>], fds: &[RawFd], patience: Option<Duration>) -> io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(()) };
    let address = address(&name)?;
    let text = states.iter().fold(String::new(), |text, state| text + &state.to_string() + "\n");
    let socket = UnixDatagram::unbound()?;
    match patience {
        Some(patience) => socket.set_write_timeout(Some(patience))?,
        None => socket.set_nonblocking(true)?,
    }
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(text.as_bytes())], control, MsgFlags::empty(), Some(&address))?;
    Ok(())
}

/// A path, or a name in the abstract namespace of Linux after an `@`.
fn address(name: &OsStr) -> io::Result<UnixAddr> {
    let unsupported = || io::Error::new(io::ErrorKind::Unsupported, "NOTIFY_SOCKET is neither a path nor abstract");
    match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] if !name.is_empty() => Ok(UnixAddr::new_abstract(name)?),
        [b'/', ..] => Ok(UnixAddr::new(name)?),
        _ => Err(unsupported()),
    }
}

fn said(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "the service manager does not hear hub");
    }
}

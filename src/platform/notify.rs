//! What hub tells the service manager (sd_notify(3)): ready, reloading, stopping, alive, a line of status.
//!
//! In: `NOTIFY_SOCKET` and `WATCHDOG_USEC` of the environment. Out: datagrams. Owns nothing. May not: fail anything;
//! without a service manager all of it does nothing.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use sd_notify::NotifyState;

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
    tell(&[NotifyState::Watchdog]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(&line.replace(['\n', '\r'], " "))]);
}

/// Lets the service manager keep a socket for the next start of hub. That nobody talks on it is no reason to let it go.
pub(super) fn keep(name: &str, socket: BorrowedFd<'_>) {
    let states = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
    said(sd_notify::notify_with_fds(&states, &[socket]));
}

/// Lets it close the sockets that it keeps under a name.
pub(super) fn forget(name: &str) {
    tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

fn tell(states: &[NotifyState<'_>]) {
    said(sd_notify::notify(states));
}

fn said(outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "the service manager does not hear hub");
    }
}

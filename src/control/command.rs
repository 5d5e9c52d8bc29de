//! What may be asked of the supervisor.
//!
//! In: a verb and its arguments. Out: a [`Report`] for a person. The supervisor owns the receiving end. May not: carry
//! anything but plain data.

use tokio::sync::oneshot;

/// What came of a command: sentences for a person, or what was wrong.
pub type Report = Result<Vec<String>, String>;

/// A command to the supervisor.
#[derive(Debug)]
pub enum Command {
    /// Read hub.toml again and apply the difference.
    Reload {
        /// What changed, one line per step; or why nothing did.
        reply: oneshot::Sender<Report>,
    },
    /// Stop and start the children of a server; also the way out of `failed`.
    Restart {
        /// The server.
        name: String,
        /// Done, or why not.
        reply: oneshot::Sender<Report>,
    },
    /// Set `enabled` of a server in hub.toml (comments kept) and apply it.
    SetEnabled {
        /// The server.
        name: String,
        /// The new value.
        enabled: bool,
        /// Done, or why not.
        reply: oneshot::Sender<Report>,
    },
    /// Stop hub, as SIGTERM does.
    Stop {
        /// Answered before the shutdown begins.
        reply: oneshot::Sender<Report>,
    },
}

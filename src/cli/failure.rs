//! Why a command did not do what was asked: what, why, what next, and the exit code.
//!
//! In: errors of the rooms below. Out: [`Failure`]. Owns nothing. May not: print.

use std::io;
use std::process::ExitCode;

use crate::control::client;
use crate::platform::dirs;
use crate::service::{background, install, manager};

/// The exit codes of hub (DESIGN 3.4); 2 is clap's for wrong usage as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// The reader of our output went away, as `head` does: nothing is wrong.
    Quietly = 0,
    Failed = 1,
    Usage = 2,
    /// `EX_UNAVAILABLE` of sysexits.h
    NotRunning = 69,
    /// `EX_CONFIG` of sysexits.h
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failed command. An empty message means that all was said already.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// All was printed already; only the exit code is left.
    pub(super) fn said(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// An error with its causes in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::said(Exit::Quietly),
            _ => Self::new(Exit::Failed, error.to_string()),
        }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        match error {
            client::Error::NotRunning { socket } => Self::new(Exit::NotRunning, "hub is not running")
                .hint(format!("start it with `hub up` (nobody answers at {})", socket.display())),
            client::Error::Refused(refused) => Self { exit: Exit::Failed, message: refused.error, hint: refused.hint },
            client::Error::Unexpected(_) => Self::new(Exit::Failed, chain(&error))
                .hint("the daemon may be of another version than this command: `hub down`, then start it again"),
            client::Error::Unreachable { .. } => Self::new(Exit::Failed, chain(&error))
                .hint("the socket is another user's, or this one's limits are reached; `hub doctor` looks closer"),
            client::Error::Silent => Self::new(Exit::Failed, chain(&error))
                .hint("it may be starting or stopping; if it stays so, `hub doctor` tells its process"),
            client::Error::Broken(_) => Self::new(Exit::Failed, chain(&error))
                .hint("it may be stopping: try again, and see `hub doctor` if it stays so"),
        }
    }
}

impl From<background::Error> for Failure {
    fn from(error: background::Error) -> Self {
        use background::Error::{Control, Left, Silent, Stays};
        match error {
            // What it said ends with a hint of its own.
            Left { status, log } if log.contains("hint: ") => {
                let config = status.code() == Some(Exit::Config as i32);
                let exit = if config { Exit::Config } else { Exit::Failed };
                Self::new(exit, format!("hub left at once ({status}):\n{log}"))
            }
            Left { status, .. } if status.code() == Some(Exit::Config as i32) => {
                Self::new(Exit::Config, error.to_string()).hint("`hub check` shows all that is wrong")
            }
            Stays { pid: Some(pid) } | Silent { pid: Some(pid), .. } => Self::new(Exit::Failed, error.to_string())
                .hint(format!("see its log; `kill -9 {pid}` ends it and everything it started")),
            Control(error) => error.into(),
            error => Self::new(Exit::Failed, chain(&error)),
        }
    }
}

impl From<install::Error> for Failure {
    fn from(error: install::Error) -> Self {
        match error {
            install::Error::Background(error) => error.into(),
            install::Error::Manager(error) => error.into(),
        }
    }
}

impl From<manager::Error> for Failure {
    fn from(error: manager::Error) -> Self {
        let failure = Self::new(Exit::Failed, chain(&error));
        match error {
            manager::Error::Nobody { .. } => failure.hint(
                "in a container, or without a login, there may be none: `hub up` runs hub in the background without it",
            ),
            manager::Error::Foreign(file) => failure.hint(format!("move {} away first", file.display())),
            _ => failure,
        }
    }
}

impl From<dirs::Error> for Failure {
    fn from(error: dirs::Error) -> Self {
        Self::new(Exit::Failed, chain(&error))
    }
}

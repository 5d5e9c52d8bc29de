//! What the control socket works with: snapshots to read, a queue of commands to write.
//!
//! In: receivers and a sender from the daemon. Out: the same to `serve` and `status`. Owns nothing. May not: change
//! anything by itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, watch};

use crate::server::Registry;
use crate::server::usage::Meter;
use crate::session::Sessions;

use super::Command;

/// What is true of this daemon besides its servers.
#[derive(Debug, Clone)]
pub struct Facts {
    /// When it started.
    pub started_at: SystemTime,
    /// Its hub.toml.
    pub config: PathBuf,
    /// Its hub endpoint without a path: `http://127.0.0.1:18900`.
    pub url: String,
    /// The marker that all its children carry (`HUB_RUN`).
    pub run_id: String,
    /// Every listener is bound and served.
    pub ready: bool,
    /// Why the last change of hub.toml was refused; what runs is the last good one.
    pub config_error: Option<String>,
}

/// Everything a control request can see or do. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The servers as of now.
    pub registry: watch::Receiver<Arc<Registry>>,
    /// The daemon as of now.
    pub facts: watch::Receiver<Arc<Facts>>,
    /// All sessions, for their number.
    pub sessions: Arc<Sessions>,
    /// What the servers cost.
    pub meter: Arc<Meter>,
    /// To the supervisor.
    pub commands: mpsc::Sender<Command>,
}

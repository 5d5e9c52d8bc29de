//! What travels over the control socket.
//!
//! In and out: plain data, as JSON. Owns nothing. May not: change the meaning of a field without raising [`SCHEMA`];
//! `status --json` prints [`Status`] as it is (DESIGN 3.5).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::mcp::Era;
use crate::server::{Failure, State};

/// Version of [`Status`].
pub const SCHEMA: u32 = 1;

/// `GET /v1/status`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The daemon.
    pub hub: Hub,
    /// In the order of hub.toml.
    pub servers: Vec<Server>,
    /// Sums over the servers.
    pub totals: Totals,
    /// What the same work would cost without hub.
    pub without_hub: WithoutHub,
}

/// The daemon itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hub {
    /// Of the running daemon, not of the command line that asks.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// Since then.
    pub uptime_seconds: u64,
    /// Its hub.toml.
    pub config: String,
    /// The endpoint of all servers together.
    pub url: String,
    /// Its own memory, children not included.
    pub rss_bytes: u64,
    /// Its own memory, shared pages split.
    pub pss_bytes: u64,
    /// Why the last change of hub.toml was refused; `null` when what runs is what is written.
    pub config_error: Option<String>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Its name in hub.toml.
    pub name: String,
    /// Where it is in its life.
    pub state: State,
    /// Its own endpoint.
    pub url: String,
    /// The port of it.
    pub port: u16,
    /// Who shares a child.
    pub share: String,
    /// Why so.
    pub share_reason: String,
    /// How its child was opened; `null` before the first handshake.
    pub era: Option<Era>,
    /// What its child speaks; empty before the first handshake.
    pub protocol_version: String,
    /// What runs for it now.
    pub instances: Vec<Instance>,
    /// Living processes, descendants included.
    pub processes: usize,
    /// Memory of them.
    pub rss_bytes: u64,
    /// Memory of them, shared pages split.
    pub pss_bytes: u64,
    /// CPU of them since the last look; 100 is one core.
    pub cpu_percent: f64,
    /// Open sessions.
    pub sessions: u64,
    /// Calls without an answer yet.
    pub in_flight: u64,
    /// Calls since hub started.
    pub calls: u64,
    /// Those of them that ended with an error.
    pub errors: u64,
    /// Starts of a child after the first.
    pub restarts: u64,
    /// Since its child became ready.
    pub uptime_seconds: u64,
    /// Tools that clients see.
    pub tools: usize,
    /// Why it is not ready, or was not; `null` when all is well.
    pub last_failure: Option<Failure>,
}

/// One child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The process that hub started.
    pub pid: u32,
    /// The workspace that it serves; `null` for a child that knows none.
    pub workspace: Option<String>,
    /// Living processes, descendants included.
    pub processes: usize,
    /// Memory of them.
    pub rss_bytes: u64,
    /// Memory of them, shared pages split.
    pub pss_bytes: u64,
}

/// Sums over the servers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Configured servers.
    pub servers: usize,
    /// Ready ones.
    pub ready: usize,
    /// Living processes of all children.
    pub processes: usize,
    /// Memory of them.
    pub rss_bytes: u64,
    /// Memory of them, shared pages split.
    pub pss_bytes: u64,
    /// Open sessions, those of the endpoint of all servers included.
    pub sessions: u64,
}

/// An estimate, and what it rests on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WithoutHub {
    /// Processes.
    pub processes: usize,
    /// Memory, shared pages split.
    pub pss_bytes: u64,
    /// What was assumed, for a person.
    pub assumption: String,
}

/// `GET /v1/about`: what is known without measuring anything, and so at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Of the running daemon, not of the command line that asks.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its hub.toml.
    pub config: String,
    /// Its hub endpoint without a path: `http://127.0.0.1:18900`.
    pub url: String,
    /// Where it looks for programs.
    pub path: Option<String>,
    /// Why the last change of hub.toml was refused.
    pub config_error: Option<String>,
    /// In the order of hub.toml.
    pub servers: Vec<AboutServer>,
}

/// One server of [`About`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AboutServer {
    /// Its name in hub.toml.
    pub name: String,
    /// Where it is in its life.
    pub state: State,
    /// Its own endpoint.
    pub url: String,
    /// The port of it.
    pub port: u16,
    /// Tools that clients see; `null` when no list ever succeeded.
    pub tools: Option<usize>,
    /// Why it is not ready, or was not; `null` when all is well.
    pub last_failure: Option<Failure>,
}

/// `GET /v1/tools[?server=NAME]`
#[derive(Debug, Serialize, Deserialize)]
pub struct Tools {
    /// One entry per server.
    pub servers: Vec<ServerTools>,
}

/// The tools of one server.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerTools {
    /// Its name.
    pub server: String,
    /// Where it is in its life.
    pub state: State,
    /// How its child was opened; `null` before the first handshake.
    pub era: Option<Era>,
    /// What its child speaks; empty before the first handshake.
    pub protocol_version: String,
    /// As the server describes them; `null` when no list ever succeeded (which is not the same as no tools).
    pub tools: Option<Vec<Box<RawValue>>>,
}

/// Body of `POST /v1/call`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    /// The server.
    pub server: String,
    /// The tool, by the server's own name.
    pub tool: String,
    /// A JSON object.
    pub arguments: Box<RawValue>,
}

/// Answer to `POST /v1/call`: what the server answered, untouched.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Called {
    /// A result; `isError` may be set in it.
    Result(Box<RawValue>),
    /// A JSON-RPC error.
    Error(Box<RawValue>),
}

/// The line of a reload that found nothing to do.
pub const NOTHING_CHANGED: &str = "nothing changed";

/// Answer to a command that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Sentences for a person.
    pub lines: Vec<String>,
}

/// Answer to anything that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

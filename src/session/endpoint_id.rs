//! Which MCP endpoint a session belongs to.
//!
//! In and out: plain values. Owns nothing. May not: know ports or paths.

use std::fmt;

use crate::config::ServerName;

/// One server, or all of them together. A session is bound to one and unknown on every other (PROTOCOL 1.15).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointId {
    /// The endpoint of one server, whichever listener it is reached through.
    Server(ServerName),
    /// All servers behind one endpoint.
    Aggregate,
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(name) => name.fmt(f),
            Self::Aggregate => f.write_str("all servers"),
        }
    }
}

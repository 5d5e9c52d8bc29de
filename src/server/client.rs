//! Who hub works for when it sends something to a child.
//!
//! In: what an `initialize`, or the `_meta` of one modern request, said. Out: plain data. Owned by callers and calls.
//! May not: be used to choose whom a child's request belongs to (PROTOCOL 1.11.4).

use crate::mcp::meta::Level;
use crate::mcp::{ClientCapabilities, Era, Raw};

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Which way it opened. Decides what it can be sent: a modern client is never sent a request.
    pub era: Era,
    /// What it can be asked.
    pub can: ClientCapabilities,
    /// Its capabilities as a modern child is told them (PROTOCOL 3.C), a raw object.
    pub capabilities: Raw,
    /// Its `clientInfo`, a raw object, if it told one.
    pub info: Option<Raw>,
    /// The least severe log lines it wants: of a session, what it set (`None`: it never did); of a modern request, its
    /// `_meta.logLevel` (`None`: it wants none).
    pub level: Option<Level>,
}

impl Client {
    /// One that opened with `initialize`.
    pub fn legacy(can: ClientCapabilities, level: Option<Level>) -> Self {
        Self { era: Era::Legacy, can, capabilities: Raw::from_static(b"{}"), info: None, level }
    }
}

//! What a session of an older revision cannot read, made readable (PROTOCOL 1.3).
//!
//! In: an outcome of a server. Out: the same bytes, unless a search finds what the session's revision does not have.
//! Owns nothing. May not: strip what is merely newer (every SDK tolerates unknown members).

use crate::mcp::{Method, Outcome, ProtocolVersion};

use super::state::Session;

/// The outcome of `method` as a session at `version` can read it.
pub(super) fn for_session(
    _session: &Session,
    _version: ProtocolVersion,
    _method: &Method,
    outcome: Outcome,
) -> Outcome {
    outcome
}

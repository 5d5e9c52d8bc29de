//! What a child said, as a modern client is to read it.
//!
//! In: outcomes of a child of either era. Out: outcomes of the modern revision. Owns nothing. May not: touch what a
//! modern child sent, but for what it must not send.

use crate::mcp::splice::Object;
use crate::mcp::{Era, Method, Outcome, Raw, error};
use crate::server::Handshake;

pub(super) fn readable(method: &Method, handshake: Option<&Handshake>, outcome: Outcome) -> Outcome {
    let legacy = handshake.is_none_or(|handshake| handshake.era == Era::Legacy);
    match outcome {
        Outcome::Result(result) if legacy => {
            let Some(object) = Object::scan(&result) else { return Outcome::Result(result) };
            let mut edits: Vec<(&str, Option<&[u8]>)> = vec![("resultType", Some(b"\"complete\""))];
            if method.list_kind().is_some() || *method == Method::ResourcesRead {
                edits.push(("ttlMs", Some(b"0")));
                edits.push(("cacheScope", Some(b"\"private\"")));
            }
            Outcome::Result(object.edit(&edits))
        }
        other => other,
    }
}

/// A call that failed for want of something that its client did not declare (PROTOCOL 3.A.3).
pub(super) fn or_lacks(outcome: Outcome, lacks: Option<&Raw>) -> Outcome {
    let Some(required) = lacks else { return outcome };
    let failed = match &outcome {
        Outcome::Error(_) => true,
        Outcome::Result(result) => {
            Object::scan(result).and_then(|result| result.get("isError")).is_some_and(|flag| &flag[..] == b"true")
        }
    };
    if !failed {
        return outcome;
    }
    let message = "The server asked for something that this client did not declare";
    let head = format!(
        "{{\"code\":{},\"message\":\"{message}\",\"data\":{{\"requiredCapabilities\":",
        error::MISSING_CAPABILITY
    );
    Outcome::Error(Raw::from([head.as_bytes(), required, b"}}"].concat()))
}

//! What a child said, as a modern client is to read it (PROTOCOL 2.5, 3.A.1, 3.C).
//!
//! In: outcomes of a child of either era. Out: outcomes of the modern revision. Owns nothing. May not: touch what a
//! modern child sent, but for what it must not send.

use crate::bridge::ask::end_with_missing;
use crate::bridge::result::{self, ResultKind, Stamp};
use crate::bridge::{ask, error};
use crate::mcp::error::Reason;
use crate::mcp::splice::Object;
use crate::mcp::{ClientCapabilities, Era, ErrorObject, Method, Outcome, Raw};
use crate::server::Handshake;

/// An outcome ready to be sent.
#[derive(Debug)]
pub(super) enum Answer {
    /// A result in pieces.
    Result(Vec<Raw>),
    /// An error object.
    Error(Raw),
}

impl From<ErrorObject> for Answer {
    fn from(error: ErrorObject) -> Self {
        Self::Error(error.to_raw())
    }
}

/// The answer to a call of `method` by a client that can be asked `can`. `lacks`: what its child asked for in vain.
pub(super) fn readable(
    method: &Method,
    can: ClientCapabilities,
    handshake: Option<&Handshake>,
    outcome: Outcome,
    lacks: Option<&Raw>,
) -> Answer {
    let outcome = match lacks {
        Some(required) => end_with_missing(outcome, required),
        None => outcome,
    };
    match outcome {
        Outcome::Error(error) => Answer::Error(error::to_modern(error)),
        Outcome::Result(result) => match handshake {
            Some(handshake) if handshake.era == Era::Modern && is_modern(method, &result) => {
                checked(method, can, result)
            }
            Some(handshake) => stamped(method, &result, handshake),
            // Only who had a handshake can have answered.
            None => ErrorObject::internal(Reason::ServerUnavailable, "the server is not known").into(),
        },
    }
}

/// A legacy result with what a modern one must have.
pub(super) fn stamped(method: &Method, result: &Raw, handshake: &Handshake) -> Answer {
    let stamp = Stamp { server_info: &handshake.server_info, ttl_ms: 0, scope: "private" };
    match result::to_modern(method, result, &stamp) {
        Ok(pieces) => Answer::Result(pieces),
        Err(error) => error.into(),
    }
}

/// Lists that hub kept for a modern server are kept without the members that only a client needs.
fn is_modern(method: &Method, result: &Raw) -> bool {
    method.list_kind().is_none() || result::says_its_type(result)
}

/// A modern child's result for a modern client: as it is, unless it asks what may not be asked (PROTOCOL 2.5).
fn checked(method: &Method, can: ClientCapabilities, result: Raw) -> Answer {
    if result::kind(&result) != ResultKind::InputRequired {
        let is_tools = *method == Method::ToolsList;
        return Answer::Result(vec![if is_tools { result::with_valid_headers(result) } else { result }]);
    }
    if !method.may_need_input() {
        let text = format!("the server answered {} with a question", method.name());
        return ErrorObject::internal(Reason::ServerUnavailable, text).into();
    }
    let requests = Object::scan(&result).and_then(|result| Object::scan(&result.get("inputRequests")?));
    let undeclared = requests.iter().flat_map(Object::entries).find_map(|(_, request)| {
        let request = Object::scan(&request)?;
        let method = Method::from_name(&request.get_str("method")?);
        ask::missing(&method, request.get("params").as_ref(), can)
    });
    match undeclared {
        Some(missing) => ErrorObject::missing_capability(&missing.required).into(),
        None => Answer::Result(vec![result]),
    }
}

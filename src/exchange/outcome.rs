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
    /// A result as it came.
    Same(Raw),
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

/// The answer to a call of `method` by a client that can be asked `can`. `read`: the result, if its members are known.
/// `lacks`: what its child asked for in vain.
pub(super) fn readable(
    (method, can): (&Method, ClientCapabilities),
    handshake: Option<&Handshake>,
    (outcome, read): (Outcome, Option<Object>),
    lacks: Option<&Raw>,
) -> Answer {
    let outcome = match lacks {
        Some(required) => end_with_missing(outcome, required),
        None => outcome,
    };
    let result = match outcome {
        Outcome::Error(error) => return Answer::Error(error::to_modern(error)),
        Outcome::Result(result) => result,
    };
    // Only who had a handshake can have answered.
    let Some(handshake) = handshake else {
        return ErrorObject::internal(Reason::ServerUnavailable, "the server is not known").into();
    };
    let read = read.filter(|read| read.is_of(&result)).or_else(|| Object::scan(&result));
    match read {
        read if handshake.era == Era::Modern && is_modern(method, read.as_ref()) => {
            checked(method, can, result, read.as_ref())
        }
        Some(read) => stamp(method, &read, handshake),
        None => result::not_an_object().into(),
    }
}

/// A legacy result with what a modern one must have.
pub(super) fn stamped(method: &Method, result: &Raw, handshake: &Handshake) -> Answer {
    Object::scan(result).map_or_else(|| result::not_an_object().into(), |result| stamp(method, &result, handshake))
}

fn stamp(method: &Method, result: &Object, handshake: &Handshake) -> Answer {
    let stamp = Stamp { server_info: &handshake.server_info, ttl_ms: 0, scope: "private" };
    Answer::Result(result::to_modern(method, result, &stamp))
}

/// Lists that hub kept for a modern server are kept without the members that only a client needs.
fn is_modern(method: &Method, result: Option<&Object>) -> bool {
    method.list_kind().is_none() || result.is_some_and(result::says_its_type)
}

/// A modern child's result for a modern client: as it is, unless it asks what may not be asked (PROTOCOL 2.5).
fn checked(method: &Method, can: ClientCapabilities, result: Raw, read: Option<&Object>) -> Answer {
    if result::kind(read) != ResultKind::InputRequired {
        let is_tools = *method == Method::ToolsList;
        return Answer::Same(if is_tools { result::with_valid_headers(result) } else { result });
    }
    if !method.may_need_input() {
        let text = format!("the server answered {} with a question", method.name());
        return ErrorObject::internal(Reason::ServerUnavailable, text).into();
    }
    let requests = read.and_then(|result| Object::scan(&result.get("inputRequests")?));
    let undeclared = requests.iter().flat_map(Object::entries).find_map(|(_, request)| {
        let request = Object::scan(&request)?;
        let method = Method::from_name(&request.get_str("method")?);
        ask::missing(&method, request.get("params").as_ref(), can)
    });
    match undeclared {
        Some(missing) => ErrorObject::missing_capability(&missing.required).into(),
        None => Answer::Same(result),
    }
}

//! JSON-RPC error objects, and the only place that picks their codes.
//!
//! In: what went wrong, in words. Out: [`ErrorObject`] with its JSON text. Owns nothing. May not: know HTTP statuses
//! (that is `http::respond`), or touch an error object that a child sent (those pass as raw bytes).

use bytes::Bytes;
use serde::Serialize;

use super::{Era, ProtocolVersion, Raw};

/// The body is not JSON (JSON-RPC 2.0 section 5.1).
pub const PARSE_ERROR: i64 = -32700;
/// The body is JSON but not a request.
pub const INVALID_REQUEST: i64 = -32600;
/// The method does not exist or its capability is not there.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// Parameters that the method does not take; also unknown tools, prompts, tasks and cursors.
pub const INVALID_PARAMS: i64 = -32602;
/// Something behind hub failed, or hub could not do it.
pub const INTERNAL_ERROR: i64 = -32603;
/// A resource is not there (revisions up to 2025-11-25).
pub const RESOURCE_NOT_FOUND: i64 = -32002;
/// An HTTP request was refused before its message was looked at (what the TypeScript SDK answers with, too).
pub const HTTP_REFUSED: i64 = -32000;
/// No such session: the client must initialize again (what the TypeScript SDK answers with, too).
pub const SESSION_NOT_FOUND: i64 = -32001;
/// A URL must be visited first (2025-11-25, client/elicitation).
pub const URL_ELICITATION_REQUIRED: i64 = -32042;

/// The headers of a request do not say what its body says (2026-07-28, basic/transports/streamable-http).
pub const HEADER_MISMATCH: i64 = -32020;
/// The client did not declare what the request needs (2026-07-28).
pub const MISSING_CAPABILITY: i64 = -32021;
/// A revision that is not spoken here (2026-07-28, basic/versioning).
pub const UNSUPPORTED_VERSION: i64 = -32022;

/// Machine-readable cause of hub's own `-32603` errors, in `data.reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The child ended while it worked on the request: the request may have had an effect.
    ServerRestarted,
    /// The server is not running and did not start in time.
    ServerUnavailable,
    /// The server answered, but not as JSON-RPC 2.0 says.
    MalformedAnswer,
    /// `request_timeout` passed.
    Timeout,
    /// A child's request could not be attributed to one caller (PROTOCOL 1.11).
    Ambiguous,
    /// A bound of hub was reached.
    Overloaded,
    /// The session or the client that should have answered is gone.
    CallerGone,
    /// hub is stopping.
    ShuttingDown,
}

/// A JSON-RPC error that hub itself raises. Short, without paths or environment: clients show it to people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{message} ({code})")]
pub struct ErrorObject {
    /// The JSON-RPC code.
    pub code: i64,
    /// One sentence for a person.
    pub message: String,
    /// Details for a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

impl ErrorObject {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// `-32700`
    pub fn parse_error(message: impl Into<String>) -> Self {
        Self::new(PARSE_ERROR, message)
    }

    /// `-32600`
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(INVALID_REQUEST, message)
    }

    /// `-32601` for a method
    pub fn method_not_found(method: &str) -> Self {
        Self::new(METHOD_NOT_FOUND, format!("Method not found: {method}"))
    }

    /// `-32602`
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    /// `-32603` with the reason in `data.reason`.
    pub fn internal(reason: Reason, message: impl Into<String>) -> Self {
        let data = serde_json::json!({ "reason": reason });
        Self { data: Some(data), ..Self::new(INTERNAL_ERROR, message) }
    }

    /// `-32020`
    pub fn header_mismatch(message: impl Into<String>) -> Self {
        Self::new(HEADER_MISMATCH, format!("Header mismatch: {}", message.into()))
    }

    /// `-32021`, with the `ClientCapabilities` object that the request needs in `data.requiredCapabilities`.
    pub fn missing_capability(required: &Raw) -> Self {
        let required: serde_json::Value = serde_json::from_slice(required).unwrap_or_default();
        let data = serde_json::json!({ "requiredCapabilities": required });
        Self { data: Some(data), ..Self::new(MISSING_CAPABILITY, "Missing required client capability") }
    }

    /// `-32022`, with what is spoken. Only modern revisions are listed: the others have a handshake of their own.
    pub fn unsupported_version(requested: &str) -> Self {
        let supported = ProtocolVersion::ALL.into_iter().filter(|version| version.era() == Era::Modern);
        let supported: Vec<&str> = supported.map(ProtocolVersion::as_str).collect();
        let data = serde_json::json!({ "supported": supported, "requested": requested });
        Self {
            data: Some(data),
            ..Self::new(UNSUPPORTED_VERSION, format!("Unsupported protocol version: {requested}"))
        }
    }

    /// The error object as JSON text.
    pub fn to_raw(&self) -> Raw {
        Bytes::from(serde_json::to_vec(self).expect("strings and numbers serialise"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_modern_revision() {
        assert_eq!(
            ErrorObject::unsupported_version("1900-01-01").to_raw(),
            r#"{"code":-32022,"message":"Unsupported protocol version: 1900-01-01","data":{"supported":["2026-07-28"],"requested":"1900-01-01"}}"#
        );
        assert_eq!(
            ErrorObject::missing_capability(&Bytes::from_static(br#"{"sampling":{}}"#)).to_raw(),
            r#"{"code":-32021,"message":"Missing required client capability","data":{"requiredCapabilities":{"sampling":{}}}}"#
        );
        assert_eq!(
            ErrorObject::header_mismatch("Mcp-Method").to_raw(),
            r#"{"code":-32020,"message":"Header mismatch: Mcp-Method"}"#
        );
    }
}

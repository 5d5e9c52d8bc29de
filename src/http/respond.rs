//! The one place where an outcome becomes an HTTP response, and the only one that picks a status.
//!
//! In: results, streams, documents, [`Refusal`]s. Out: [`Reply`]s. Owns nothing. May not: decide whether to refuse, or
//! put paths, environment values or a child's internals into a body.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use crate::mcp::error::{self, HTTP_REFUSED, SESSION_NOT_FOUND};
use crate::mcp::{ErrorObject, RequestId, message};

use super::body::{PIECES_MAX, ReplyBody};

/// What hub answers with.
pub type Reply = Response<ReplyBody>;

/// Names a session, both ways (2025-11-25, basic/transports#session-management).
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Names the revision of a request (2025-11-25, basic/transports#protocol-version-header).
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Where to resume a stream (2025-11-25, basic/transports#resumability-and-redelivery).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Read by every Prometheus and shown by every browser; OpenMetrics text is valid in it.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// A proxy that buffers or rewrites an event stream breaks it.
const UNTOUCHED: HeaderValue = HeaderValue::from_static("no-cache, no-transform");

/// A request that is not served. Each says what a person would have to change.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No such path.
    #[error(
        "There is nothing at {path}. hub serves /mcp, /sse, /messages and /healthz; the hub port also serves /servers/NAME/mcp, /readyz and /metrics."
    )]
    NoSuchPath {
        /// As requested, without the query.
        path: String,
    },
    /// No such server in hub.toml.
    #[error("There is no server {name:?} in hub.toml.")]
    NoSuchServer {
        /// As requested.
        name: String,
    },
    /// The path exists, but not for this method.
    #[error("This path takes {allow} only.")]
    WrongMethod {
        /// The methods that it takes, as in `Allow`.
        allow: &'static str,
    },
    /// `Host` is none of hub's own names (DNS rebinding).
    #[error("Host is not one of hub's own addresses.")]
    ForeignHost,
    /// `Origin` is neither loopback nor configured.
    #[error("Requests from this origin are not allowed.")]
    ForeignOrigin,
    /// The client takes neither of the two types that hub can answer with.
    #[error("Not acceptable: the client must accept {wanted}.")]
    NotAcceptable {
        /// What `Accept` should name.
        wanted: &'static str,
    },
    /// The body is not declared as JSON.
    #[error("Content-Type must be application/json.")]
    NotJson,
    /// The body is larger than allowed.
    #[error("The body is larger than the limit of {max} bytes (body_max in hub.toml).")]
    BodyTooLarge {
        /// The limit in bytes.
        max: usize,
    },
    /// The body stopped coming.
    #[error("The body made no progress for {} s.", .idle.as_secs())]
    BodyTooSlow {
        /// How long hub waited for the next piece.
        idle: Duration,
    },
    /// The body could not be read.
    #[error("The body could not be read.")]
    BodyBroken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request is malformed, or its message is.
    #[error("{error}")]
    Malformed {
        /// The message's id, if it could be read.
        id: Option<RequestId>,
        /// What is wrong with it.
        error: Box<ErrorObject>,
    },
    /// A session id is needed here.
    #[error("Bad request: the Mcp-Session-Id header is missing; send initialize first.")]
    NoSession,
    /// The session never existed, ended or expired: the client must initialize again.
    #[error("Session not found; send initialize again.")]
    UnknownSession,
    /// A bound of hub was reached.
    #[error("hub is at its limit of {what}; try again.")]
    Busy {
        /// Which bound.
        what: &'static str,
    },
    /// The bodies of other requests take all the room there is.
    #[error("hub holds as many bytes of requests as it may; try again.")]
    NoRoom,
    /// hub, or this listener, is going away.
    #[error("hub is stopping.")]
    Stopping,
}

impl Refusal {
    /// A request that is malformed, or whose message is: 400 with a JSON-RPC error, with the id where it is known.
    pub fn malformed(id: Option<RequestId>, error: ErrorObject) -> Self {
        Self::Malformed { id, error: Box::new(error) }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPath { .. } | Self::NoSuchServer { .. } | Self::UnknownSession => StatusCode::NOT_FOUND,
            Self::WrongMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::ForeignHost | Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::NotAcceptable { .. } => StatusCode::NOT_ACCEPTABLE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken(_) | Self::Malformed { .. } | Self::NoSession => StatusCode::BAD_REQUEST,
            Self::Busy { .. } | Self::NoRoom | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn body(&self) -> Bytes {
        match self {
            // Clients look for OAuth metadata and registration on their own and expect an error of that family
            // (RFC 6749 section 5.2), never HTML.
            Self::NoSuchPath { .. } | Self::NoSuchServer { .. } => {
                let body = serde_json::json!({ "error": "not_found", "error_description": self.to_string() });
                Bytes::from(body.to_string())
            }
            Self::Malformed { id, error } => message::error_bytes(id.as_ref(), error),
            Self::UnknownSession => message::error_bytes(None, &ErrorObject::new(SESSION_NOT_FOUND, self.to_string())),
            _ => message::error_bytes(None, &ErrorObject::new(HTTP_REFUSED, self.to_string())),
        }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        tracing::debug!(status = refusal.status().as_u16(), "refused: {refusal}");
        let mut reply = json(refusal.body());
        *reply.status_mut() = refusal.status();
        match refusal {
            Refusal::WrongMethod { allow } => {
                reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Refusal::Busy { .. } | Refusal::Stopping => {
                reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Refusal::NoRoom => {
                let headers = reply.headers_mut();
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                // The rest of the body is not wanted.
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        reply
    }
}

/// 200 with JSON text.
pub fn json(body: impl Into<ReplyBody>) -> Reply {
    with_type(body.into(), JSON)
}

/// 200 with JSON text in pieces, as [`message::response_pieces`] makes them.
pub fn json_pieces(pieces: [Bytes; PIECES_MAX]) -> Reply {
    json(ReplyBody::pieces(pieces))
}

/// A modern response in pieces, whose status says what kind of error it is (PROTOCOL 2.2.10).
pub fn modern(pieces: [Bytes; PIECES_MAX], code: Option<i64>) -> Reply {
    let mut reply = json_pieces(pieces);
    *reply.status_mut() = match code {
        Some(
            error::PARSE_ERROR
            | error::INVALID_REQUEST
            | error::HEADER_MISMATCH
            | error::MISSING_CAPABILITY
            | error::UNSUPPORTED_VERSION,
        ) => StatusCode::BAD_REQUEST,
        Some(error::METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    };
    reply
}

/// 200 with an event stream.
pub fn event_stream(body: ReplyBody) -> Reply {
    let mut reply = with_type(body, EVENT_STREAM);
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, UNTOUCHED);
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    reply
}

/// 202: notifications and responses were taken (2025-11-25, basic/transports#sending-messages-to-the-server).
pub fn accepted() -> Reply {
    bare(StatusCode::ACCEPTED)
}

/// 204: a session ended, or a stream has nothing left to resume (PROTOCOL 1.14).
pub fn no_content() -> Reply {
    bare(StatusCode::NO_CONTENT)
}

/// 204 with the methods of a path: the answer to a plain `OPTIONS`.
pub fn options(allow: &'static str) -> Reply {
    let mut reply = bare(StatusCode::NO_CONTENT);
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    reply
}

/// A health document: 200 when all is well, else 503.
pub fn health(well: bool, document: &serde_json::Value) -> Reply {
    let mut reply = json(Bytes::from(document.to_string()));
    if !well {
        *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    reply
}

/// 200 with metrics as text.
pub fn metrics(text: String) -> Reply {
    with_type(Bytes::from(text).into(), METRICS)
}

/// 500: a fault of hub's own.
pub fn broken(why: &str) -> Reply {
    tracing::error!("{why}");
    bare(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The same reply with more headers.
pub fn with_headers(mut reply: Reply, headers: HeaderMap) -> Reply {
    reply.headers_mut().extend(headers);
    reply
}

/// What is written to a connection beyond the limit before it is closed: no parser, no task, no allocation.
pub const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 111\r\n\r\n\
    {\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32000,\"message\":\"hub is at its limit of open connections; try again later.\"}}";

fn with_type(body: ReplyBody, content_type: HeaderValue) -> Reply {
    let mut reply = Response::new(body);
    reply.headers_mut().insert(header::CONTENT_TYPE, content_type);
    reply
}

fn bare(status: StatusCode) -> Reply {
    let mut reply = Response::new(ReplyBody::Empty);
    *reply.status_mut() = status;
    reply
}

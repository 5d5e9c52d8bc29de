//! One MCP endpoint over HTTP+SSE, the transport of 2024-11-05.
//!
//! In: a request whose origin and path are checked. Out: a [`Reply`]. Owns nothing. May not: pick a status.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;

use crate::session::EndpointId;

use super::{Context, Refusal, Reply};

/// Serves `GET …/sse` and `POST …/messages?sessionId=…`.
#[expect(clippy::unused_async, reason = "the session room is not there yet")]
pub async fn serve(_ctx: &Arc<Context>, _endpoint: EndpointId, _request: Request<Incoming>) -> Reply {
    Refusal::Stopping.into()
}

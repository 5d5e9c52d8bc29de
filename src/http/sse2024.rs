//! One MCP endpoint over HTTP+SSE, the transport of 2024-11-05 (PROTOCOL 1.20).
//!
//! In: a request whose origin, path and HTTP method are checked. Out: a [`Reply`]. The body of the stream owns its
//! session: when the client goes away, the session ends. May not: pick a status.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::{Method, Request as HttpRequest};

use crate::mcp::message::{self, Body as MessageBody};
use crate::mcp::{ErrorObject, Message, ProtocolVersion, sse};
use crate::session::{EndpointId, Form, FromClient, Session, Sessions, Target, Transport};

use super::endpoint::target;
use super::reply::{Dialect, EventBody};
use super::{Context, Refusal, Reply, ReplyBody, accept_header, body, respond};

/// Serves `GET …/sse` and `POST …/messages?sessionId=…`.
pub async fn serve(ctx: &Arc<Context>, endpoint: EndpointId, request: HttpRequest<Incoming>) -> Reply {
    let served = match *request.method() {
        Method::POST => post(ctx, &endpoint, request).await,
        _ => get(ctx, &endpoint, &request).await,
    };
    served.unwrap_or_else(Reply::from)
}

async fn get(ctx: &Arc<Context>, endpoint: &EndpointId, request: &HttpRequest<Incoming>) -> Result<Reply, Refusal> {
    if !matches!(accept_header::form(request.headers()), Some(Form::Either | Form::Events)) {
        return Err(Refusal::NotAcceptable { wanted: "text/event-stream" });
    }
    let session = ctx.sessions.open_sse(endpoint).await.map_err(|error| Refusal::malformed(None, error))?;
    let reader = session.open_get().ok_or(Refusal::UnknownSession)?;
    // Path-relative: the client resolves it against the address that it used to come here.
    let base = request.uri().path().trim_end_matches("/sse");
    let messages = format!("{base}/messages?sessionId={}", session.id());
    let mut events = EventBody::new(reader, Dialect::Named, ctx.timing, &ctx.stopping);
    events.ready.push_back(sse::named_event("endpoint", &[Bytes::from(messages)]));
    let body = SessionBody { events, session, sessions: ctx.sessions.clone() };
    Ok(respond::event_stream(ReplyBody::stream(body)))
}

async fn post(ctx: &Arc<Context>, endpoint: &EndpointId, request: HttpRequest<Incoming>) -> Result<Reply, Refusal> {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let id = query.split('&').find_map(|pair| pair.strip_prefix("sessionId=")).ok_or(Refusal::NoSession)?;
    let session = ctx.sessions.find(id, endpoint, Transport::Sse).await.ok_or(Refusal::UnknownSession)?;
    if !accept_header::is_json(&head.headers) {
        return Err(Refusal::NotJson);
    }
    let body_max = ctx.settings.borrow().body_max;
    let body = body::collect(body, body_max, &ctx.bodies).await?;
    let messages = match message::parse_body(&body) {
        Ok(MessageBody::One(message)) => vec![message],
        Ok(MessageBody::Batch(elements)) if takes_batches(&session) => elements
            .into_iter()
            .collect::<Result<Vec<Message>, _>>()
            .map_err(|not| Refusal::malformed(None, not.to_error()))?,
        Ok(MessageBody::Batch(_)) => {
            let error = ErrorObject::invalid_request("Invalid request: batches exist in revision 2025-03-26 only");
            return Err(Refusal::malformed(None, error));
        }
        Err(not) => return Err(Refusal::malformed(not.id().cloned(), not.to_error())),
    };
    let target = target(ctx, endpoint);
    for message in messages {
        take(ctx, &session, &target, message.into()).await;
    }
    Ok(respond::accepted())
}

fn takes_batches(session: &Session) -> bool {
    session.version() == ProtocolVersion::V2025_03_26
}

/// Serves a message; its answer comes on the stream, so the POST is not held up by it.
async fn take(ctx: &Arc<Context>, session: &Arc<Session>, target: &Target, message: FromClient) {
    match message {
        FromClient::Request(request) => {
            let (session, target) = (session.clone(), target.clone());
            ctx.sessions.scope().spawn("sse-request", async move { session.request_on_sse(&target, request).await });
        }
        FromClient::Notification(method, params) => session.notification(target, method, params).await,
        FromClient::Response(response) => session.response(response).await,
    }
}

/// The stream of a session, whose end is the session's.
struct SessionBody {
    events: EventBody,
    session: Arc<Session>,
    sessions: Arc<Sessions>,
}

impl Body for SessionBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.get_mut().events).poll_frame(context)
    }
}

impl Drop for SessionBody {
    fn drop(&mut self) {
        let (session, sessions) = (self.session.clone(), self.sessions.clone());
        self.sessions.scope().spawn("sse-end", async move { sessions.end(&session).await });
    }
}

//! One MCP endpoint over Streamable HTTP: sessions of revisions up to 2025-11-25 (PROTOCOL 1.13 to 1.18), and the way to
//! `modern` for what claims to be of a later one.
//!
//! In: a request whose origin, path and HTTP method are checked. Out: a [`Reply`]. Owns nothing. May not: pick a status,
//! or decide what a message means (that is `session::dispatch`).

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request as HttpRequest};

use crate::limits::BATCH_MAX;
use crate::mcp::message::{self, Body};
use crate::mcp::{ErrorObject, Message, Outcome, ProtocolVersion, sse};
use crate::session::{Asked, EndpointId, EventId, Form, FromClient, Kind, Session, Target, Transport};

use super::respond::{LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID};
use super::{Context, Refusal, Reply, accept_header, body, modern, reply, respond};

/// Serves `GET`, `POST` and `DELETE` of `/mcp`.
pub async fn serve(ctx: &Arc<Context>, endpoint: EndpointId, request: HttpRequest<Incoming>) -> Reply {
    let served = match *request.method() {
        Method::POST => post(ctx, &endpoint, request).await,
        Method::GET => get(ctx, &endpoint, request.headers()).await,
        _ => delete(ctx, &endpoint, request.headers()).await,
    };
    served.unwrap_or_else(Reply::from)
}

async fn post(ctx: &Arc<Context>, endpoint: &EndpointId, request: HttpRequest<Incoming>) -> Result<Reply, Refusal> {
    let (head, body) = request.into_parts();
    let headers = head.headers;
    if !accept_header::is_json(&headers) {
        return Err(Refusal::NotJson);
    }
    let wanted = "application/json, text/event-stream";
    let form = accept_header::form(&headers).ok_or(Refusal::NotAcceptable { wanted })?;
    let body_max = ctx.settings.borrow().body_max;
    let body = body::collect(body, body_max, &ctx.bodies).await?;
    match message::parse_body(&body) {
        Ok(Body::One(message)) => {
            let message = FromClient::from(message);
            match (modern::classify(&headers, &message)?, message) {
                (modern::Kind::Request, FromClient::Request(asked)) => {
                    modern::serve(ctx, endpoint, headers, form, asked).await
                }
                (modern::Kind::Notification, _) => Ok(respond::accepted()),
                (_, message) => one(ctx, endpoint, &headers, form, message).await,
            }
        }
        Ok(Body::Batch(elements)) => batch(ctx, endpoint, &headers, form, elements).await,
        Err(not) => Err(Refusal::malformed(not.id().cloned(), not.to_error())),
    }
}

async fn one(
    ctx: &Arc<Context>,
    endpoint: &EndpointId,
    headers: &HeaderMap,
    form: Form,
    message: FromClient,
) -> Result<Reply, Refusal> {
    let target = target(ctx, endpoint);
    if let FromClient::Request(request) = &message
        && request.method == crate::mcp::Method::Initialize
    {
        return initialize(ctx, endpoint, &target, headers, form, request).await;
    }
    let session = find(ctx, endpoint, headers).await?;
    match message {
        FromClient::Request(request) => {
            let stream = session.open_post(form, 1);
            let reader = stream.attach();
            session.request(&target, request, &stream).await;
            Ok(reply::post(&session, reader, false, ctx.timing, &ctx.stopping).await)
        }
        FromClient::Notification(method, params) => {
            session.notification(&target, method, params).await;
            Ok(respond::accepted())
        }
        FromClient::Response(response) => {
            session.response(response).await;
            Ok(respond::accepted())
        }
    }
}

/// Opens a session. What goes wrong with the server is told in-band: clients hide the body of an HTTP error.
async fn initialize(
    ctx: &Arc<Context>,
    endpoint: &EndpointId,
    target: &Target,
    headers: &HeaderMap,
    form: Form,
    request: &Asked,
) -> Result<Reply, Refusal> {
    if let Some(id) = header(headers, &SESSION_ID)
        && ctx.sessions.find(id, endpoint, Transport::Streamable).await.is_some()
    {
        let error = ErrorObject::invalid_request("Invalid request: this session is initialized already");
        return Err(Refusal::malformed(Some(request.id.clone()), error));
    }
    let (outcome, session) = match ctx.sessions.initialize(endpoint, target, request.params.raw()).await {
        Ok((session, result)) => (Outcome::Result(result), Some(session)),
        Err(error) => (error.into(), None),
    };
    let pieces = message::response_pieces(&request.id, &outcome);
    let mut reply = match form {
        Form::Events => respond::event_stream(sse::event(None, &pieces).into()),
        Form::Either | Form::Json => respond::json_pieces(pieces),
    };
    if let Some(id) = session.and_then(|session| HeaderValue::from_str(session.id()).ok()) {
        reply.headers_mut().insert(SESSION_ID, id);
    }
    Ok(reply)
}

/// An array of messages: revision 2025-03-26 only (PROTOCOL 1.16).
async fn batch(
    ctx: &Arc<Context>,
    endpoint: &EndpointId,
    headers: &HeaderMap,
    form: Form,
    elements: Vec<Result<Message, message::NotAMessage>>,
) -> Result<Reply, Refusal> {
    let refuse = |why: &str| Refusal::malformed(None, ErrorObject::invalid_request(format!("Invalid request: {why}")));
    if modern::names_modern(headers) || elements.iter().flatten().any(modern::claims) {
        return Err(refuse("this revision has no batches"));
    }
    let session = find(ctx, endpoint, headers).await?;
    if session.version() != ProtocolVersion::V2025_03_26 {
        return Err(refuse("batches exist in revision 2025-03-26 only"));
    }
    if elements.is_empty() {
        return Err(refuse("an empty batch"));
    }
    if elements.len() > BATCH_MAX {
        return Err(refuse(&format!("a batch of more than {BATCH_MAX} messages")));
    }
    let messages: Vec<Message> =
        elements.into_iter().collect::<Result<_, _>>().map_err(|not| Refusal::malformed(None, not.to_error()))?;
    let messages: Vec<FromClient> = messages.into_iter().map(FromClient::from).collect();
    let target = target(ctx, endpoint);
    let requests = messages.iter().filter(|message| matches!(message, FromClient::Request(_))).count();
    // Several responses as events, unless the client takes only JSON.
    let form = if form == Form::Either { Form::Events } else { form };
    let stream = session.open_post(form, requests);
    let reader = stream.attach();
    for message in messages {
        match message {
            FromClient::Request(request) => {
                let (session, target, stream) = (session.clone(), target.clone(), stream.clone());
                // Each on its own: one that must wait does not hold up the others.
                ctx.sessions.scope().spawn("batch", async move { session.request(&target, request, &stream).await });
            }
            FromClient::Notification(method, params) => session.notification(&target, method, params).await,
            FromClient::Response(response) => session.response(response).await,
        }
    }
    if requests == 0 {
        return Ok(respond::accepted());
    }
    Ok(reply::post(&session, reader, true, ctx.timing, &ctx.stopping).await)
}

async fn get(ctx: &Arc<Context>, endpoint: &EndpointId, headers: &HeaderMap) -> Result<Reply, Refusal> {
    refuse_modern_method(headers)?;
    if !matches!(accept_header::form(headers), Some(Form::Either | Form::Events)) {
        return Err(Refusal::NotAcceptable { wanted: "text/event-stream" });
    }
    let session = find(ctx, endpoint, headers).await?;
    session.listen_to(&target(ctx, endpoint)).await;
    let (reader, fresh) = match header(headers, &LAST_EVENT_ID).map(EventId::parse) {
        None => (session.open_get(), true),
        Some(Some(id)) => match session.resume(id) {
            Some(reader) => (Some(reader), false),
            // A stream of before a restart, or one that expired: what it was for goes on.
            None if id.kind == Kind::Get => (session.open_get(), true),
            None => (None, false),
        },
        Some(None) => (None, false),
    };
    match reader {
        Some(reader) => Ok(reply::events(&session, reader, fresh, ctx.timing, &ctx.stopping)),
        // 204 is what stops both big SDKs from asking again (PROTOCOL 1.14).
        None => Ok(respond::no_content()),
    }
}

async fn delete(ctx: &Arc<Context>, endpoint: &EndpointId, headers: &HeaderMap) -> Result<Reply, Refusal> {
    refuse_modern_method(headers)?;
    let session = find(ctx, endpoint, headers).await?;
    ctx.sessions.end(&session).await;
    Ok(respond::no_content())
}

/// `GET` and `DELETE` have no meaning in the modern revision (PROTOCOL 2.1, row 2).
fn refuse_modern_method(headers: &HeaderMap) -> Result<(), Refusal> {
    if modern::names_modern(headers) {
        return Err(Refusal::WrongMethod { allow: "POST" });
    }
    Ok(())
}

/// The session that a request names (PROTOCOL 1.15, 1.18).
async fn find(ctx: &Context, endpoint: &EndpointId, headers: &HeaderMap) -> Result<Arc<Session>, Refusal> {
    if let Some(version) = headers.get(PROTOCOL_VERSION)
        && version.to_str().ok().and_then(ProtocolVersion::parse).is_none()
    {
        let text = "Bad request: MCP-Protocol-Version names a revision that hub does not know";
        return Err(Refusal::malformed(None, ErrorObject::invalid_request(text)));
    }
    let id = header(headers, &SESSION_ID).ok_or(Refusal::NoSession)?;
    ctx.sessions.find(id, endpoint, Transport::Streamable).await.ok_or(Refusal::UnknownSession)
}

/// What an endpoint serves right now.
pub(super) fn target(ctx: &Context, endpoint: &EndpointId) -> Target {
    match endpoint {
        EndpointId::Aggregate => Target::Aggregate(ctx.aggregate.clone()),
        EndpointId::Server(name) => Target::of(ctx.registry.borrow().get(name.as_ref())),
    }
}

/// A header's text; one that is no text names nothing that hub gave out.
fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

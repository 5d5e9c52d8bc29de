//! Modern requests over HTTP (2026-07-28, basic/transports/streamable-http): which they are, and the ladder of checks.
//!
//! In: one message and the headers it came with. Out: a [`Reply`]. Owns nothing; what it has begun is dropped with the
//! exchange, which cancels it. May not: pick a status, or check anything in another order than PROTOCOL 2.2: clients and
//! conformance suites tell servers apart by which of two mistakes is named.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::bridge::headers::decode_header_value;
use crate::exchange::{Asking, Claims, Seat};
use crate::mcp::meta::PROTOCOL_VERSION as CLAIM;
use crate::mcp::{Era, ErrorObject, Message, Method, ProtocolVersion};
use crate::session::{Asked, EndpointId, Form, FromClient, Params};

use super::respond::PROTOCOL_VERSION;
use super::{Context, Refusal, Reply, endpoint, reply};

/// Names the method of a request, for proxies.
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// Names what a request is about, for proxies.
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// What the names of headers that mirror arguments begin with.
const PARAM: &str = "mcp-param-";

/// What one message is to be served as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// By a session.
    Legacy,
    /// A modern request.
    Request,
    /// A modern notification: there is nothing that it could mean to hub.
    Notification,
}

/// Which era a message is of (PROTOCOL 2.1, rows 5 to 9). Decided from the body; headers only cross-check.
pub(super) fn classify(headers: &HeaderMap, message: &FromClient) -> Result<Kind, Refusal> {
    let modern_header = names_modern(headers);
    match message {
        FromClient::Request(asked) if asked.params.claims_modern() => Ok(Kind::Request),
        FromClient::Request(asked) if modern_header && asked.method != Method::Initialize => {
            Err(Refusal::malformed(Some(asked.id.clone()), Claims::missing()))
        }
        FromClient::Notification(_, params) if modern_header || params.claims_modern() => Ok(Kind::Notification),
        FromClient::Response(_) if modern_header => {
            let why = "Invalid request: this revision knows no responses of clients";
            Err(Refusal::malformed(None, ErrorObject::invalid_request(why)))
        }
        _ => Ok(Kind::Legacy),
    }
}

/// Whether a message of a batch says that it is modern: then the whole batch is refused.
pub(super) fn claims(message: &Message) -> bool {
    let scanned = match message {
        Message::Request(request) => &request.scanned,
        Message::Notification(note) => &note.scanned,
        Message::Response(_) => return false,
    };
    scanned.as_ref().and_then(|scanned| scanned.meta.as_ref()).is_some_and(|meta| meta.has(CLAIM))
}

/// Whether the headers name a revision that has no sessions, known to hub or not.
pub(super) fn names_modern(headers: &HeaderMap) -> bool {
    let Some(named) = headers.get(PROTOCOL_VERSION).and_then(|value| value.to_str().ok()) else { return false };
    let named = named.trim();
    match ProtocolVersion::parse(named) {
        Some(version) => version.era() == Era::Modern,
        None => is_date(named) && named > ProtocolVersion::V2026_07_28.as_str(),
    }
}

fn is_date(text: &str) -> bool {
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts[..], [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2))
}

/// Serves one modern request.
pub(super) async fn serve(
    ctx: &Arc<Context>,
    at: &EndpointId,
    headers: HeaderMap,
    form: Form,
    asked: Asked,
) -> Result<Reply, Refusal> {
    let Asked { id, method, params } = asked;
    let claims = match before_the_server(&headers, &method, &params) {
        Ok(claims) => claims,
        Err(error) => return Err(Refusal::malformed(Some(id), error)),
    };
    if method == Method::Listen && form == Form::Json {
        return Err(Refusal::NotAcceptable { wanted: "text/event-stream" });
    }
    let target = endpoint::target(ctx, at);
    let occupied = ctx.exchanges.sit(id, method, &claims, form);
    let work =
        answer(ctx.clone(), headers, Asking { endpoint: at.clone(), target, claims, params }, occupied.seat().clone());
    Ok(reply::exchange(occupied, Box::pin(work), form == Form::Events, ctx.timing, &ctx.stopping).await)
}

/// Steps 1 to 4, which need no server.
fn before_the_server(headers: &HeaderMap, method: &Method, params: &Params) -> Result<Claims, ErrorObject> {
    let claims = Claims::read(params)?;
    agrees(headers, &PROTOCOL_VERSION, &claims.version)?;
    if ProtocolVersion::parse(&claims.version).is_none_or(|version| version.era() == Era::Legacy) {
        return Err(ErrorObject::unsupported_version(&claims.version));
    }
    agrees(headers, &METHOD, method.name())?;
    Ok(claims)
}

/// Steps 5 to 9, and the answer.
async fn answer(ctx: Arc<Context>, headers: HeaderMap, asking: Asking, seat: Arc<Seat>) {
    let checked = async {
        let handshake = ctx.exchanges.admit(&asking.target, &seat.method).await?;
        names_agree(&headers, &seat.method, &asking.params)?;
        if seat.method == Method::ToolsCall {
            for name in headers.keys().filter(|name| name.as_str().starts_with(PARAM)) {
                single(&headers, name)?;
            }
            let mirrors = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
            ctx.exchanges.mirrored(&asking, mirrors).await?;
        }
        Ok(handshake)
    };
    match checked.await {
        Ok(handshake) => ctx.exchanges.serve(asking, &handshake, &seat).await,
        Err(error) => seat.refuse(error),
    }
}

/// A header that must be there once and say the same as the body.
fn agrees(headers: &HeaderMap, name: &HeaderName, body: &str) -> Result<(), ErrorObject> {
    let Some(value) = single(headers, name)? else {
        return Err(ErrorObject::header_mismatch(format!("{} is missing", shown(name))));
    };
    if value == body && body.is_ascii() {
        return Ok(());
    }
    match value.to_str().map(|text| text.trim_matches([' ', '\t'])) {
        Ok(said) if said == body => Ok(()),
        Ok(said) => Err(ErrorObject::header_mismatch(format!("{} says {said:?}, the body says {body:?}", shown(name)))),
        Err(_) => Err(ErrorObject::header_mismatch(format!("{} holds characters that a header may not", shown(name)))),
    }
}

/// A header's value; one that stands twice is an error even if it says the same.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, ErrorObject> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ErrorObject::header_mismatch(format!("{} stands twice", shown(name))));
    }
    Ok(Some(value))
}

/// The name of a header as specifications write it.
fn shown(name: &HeaderName) -> String {
    let capital = |part: &str| match part {
        "mcp" => "MCP".to_owned(),
        _ => part.chars().enumerate().map(|(at, c)| if at == 0 { c.to_ascii_uppercase() } else { c }).collect(),
    };
    name.as_str().split('-').map(capital).collect::<Vec<_>>().join("-")
}

/// Step 6: what the request is about, as the header says it (PROTOCOL 2.2.6).
fn names_agree(headers: &HeaderMap, method: &Method, params: &Params) -> Result<(), ErrorObject> {
    let member = match method {
        Method::ToolsCall | Method::PromptsGet => "name",
        Method::ResourcesRead => "uri",
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => "taskId",
        _ => return Ok(()),
    };
    // What is no string cannot be named; it is refused for its shape.
    let Some(body) = params.text(member) else { return Ok(()) };
    let Some(value) = single(headers, &NAME)? else { return Err(ErrorObject::header_mismatch("Mcp-Name is missing")) };
    // Plain text says itself.
    let is_plain = || !value.as_bytes().starts_with(b"=?") && body.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    if value.as_bytes() == body.as_bytes() && is_plain() {
        return Ok(());
    }
    match decode_header_value(value.as_bytes()) {
        Ok(said) if said == body => Ok(()),
        Ok(_) => Err(ErrorObject::header_mismatch(format!("Mcp-Name differs from `{member}` of the body"))),
        Err(why) => Err(ErrorObject::header_mismatch(format!("Mcp-Name: {why}"))),
    }
}

#[cfg(test)]
mod tests;

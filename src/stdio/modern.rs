//! Requests of the modern revision (2026-07-28): each stands for itself, with headers that mirror what it says.
//!
//! In: a request. Out: its answer, as one line. Owns the table of arguments that are mirrored. May not: send a request
//! again that may have had an effect, or keep anything else between two requests.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hyper::Method as Verb;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::OwnedSemaphorePermit;

use crate::bridge::headers::{HeaderTable, encode_header_value};
use crate::limits;
use crate::mcp::error::HEADER_MISMATCH;
use crate::mcp::message::{self, Message, elements};
use crate::mcp::splice::Object;
use crate::mcp::{Method, Outcome, Raw, RequestId, meta, scan};
use crate::session::Params;

use super::answer::{Answer, Ended, follow, may_have_run};
use super::post::{may_repeat, unanswered};
use super::relay::{Call, Relay};
use super::session::{self, PROTOCOL_VERSION};
use super::way::request;

/// Names the method of a request.
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// Names what a request is about.
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Which arguments are mirrored into headers; `None` until a call shows that some are.
#[derive(Debug, Default)]
pub(super) struct Mirrors(Mutex<Option<HeaderTable>>);

impl Mirrors {
    fn of(&self, params: &Params) -> Vec<(String, String)> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(table), Some(tool)) = (table.as_ref(), params.text("name")) else { return Vec::new() };
        table.mirror(&tool, params.get("arguments").as_ref())
    }
}

/// One request, to its answer.
pub(super) async fn run(
    relay: &Relay,
    call: &Call,
    body: Bytes,
    params: Params,
    room: Option<OwnedSemaphorePermit>,
) -> Option<Answer> {
    tokio::select! {
        // Its connection goes with it, and that cancels it.
        () = call.cancelled.cancelled() => None,
        answer = Box::pin(exchange(relay, call, body, &params, room)) => answer,
    }
}

async fn exchange(
    relay: &Relay,
    call: &Call,
    body: Bytes,
    params: &Params,
    room: Option<OwnedSemaphorePermit>,
) -> Option<Answer> {
    let (again, mut room, mut repeated, mut learned) = (may_repeat(&call.method), room, false, false);
    loop {
        let said = headers(&call.method, params, &relay.mirrors);
        let post = || {
            let mut request = request(Verb::POST, body.clone());
            *request.headers_mut() = said.clone();
            request
        };
        let response = match relay.way.deliver(post, again, true).await {
            Ok(response) => response,
            Err(fault) => return Some(unanswered(&call.id, &fault)),
        };
        drop(room.take());
        match follow(response, Some(&call.id), &relay.output, &mut None, |_| true).await {
            Ended::Answered(answer) => return Some(answer),
            Ended::Closed => return None,
            // Refused before it ran: an argument is mirrored that was not when this was last looked at.
            Ended::Refused(refused)
                if call.method == Method::ToolsCall
                    && refused.code() == Some(HEADER_MISMATCH)
                    && !std::mem::replace(&mut learned, true) =>
            {
                learn(relay, params).await;
            }
            Ended::Refused(refused) => return Some(refused.into_answer(&call.id)),
            Ended::Silently if again && !std::mem::replace(&mut repeated, true) => {}
            Ended::Silently => return Some(may_have_run(&call.id)),
        }
    }
}

/// The headers of a request. What cannot be said in one is left out: hub says what is wrong with it.
pub(super) fn headers(method: &Method, params: &Params, mirrors: &Mirrors) -> HeaderMap {
    let mut headers = session::headers(None);
    let mut put = |name: HeaderName, value: Option<String>| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    };
    let version = params.meta(meta::PROTOCOL_VERSION);
    put(PROTOCOL_VERSION, version.and_then(|raw| scan::unquote(&raw).map(std::borrow::Cow::into_owned)));
    put(METHOD, Some(method.name().to_owned()));
    let member = match method {
        Method::ToolsCall | Method::PromptsGet => Some("name"),
        Method::ResourcesRead => Some("uri"),
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => Some("taskId"),
        _ => None,
    };
    put(NAME, member.and_then(|member| params.text(member)).map(|text| encode_header_value(&text)));
    if *method == Method::ToolsCall {
        for (name, value) in mirrors.of(params) {
            if let Ok(name) = HeaderName::try_from(name) {
                put(name, Some(value));
            }
        }
    }
    headers
}

/// Asks for the tools, as the same client, for what they mirror.
async fn learn(relay: &Relay, params: &Params) {
    let mut tools: Vec<Raw> = Vec::new();
    let mut cursor: Option<Raw> = None;
    for _ in 0..limits::LIST_PAGES_MAX {
        let Some(page) = page(relay, params, cursor.take()).await else { break };
        let Some(items) = page.get("tools").filter(|items| items.first() == Some(&b'[')) else { break };
        tools.extend(elements(&items));
        cursor = page.get("nextCursor").filter(|cursor| cursor.first() == Some(&b'"'));
        if cursor.is_none() {
            break;
        }
    }
    *relay.mirrors.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(HeaderTable::compile(&tools));
}

/// One page of the tools; `None` when there is none.
async fn page(relay: &Relay, params: &Params, cursor: Option<Raw>) -> Option<Object> {
    let claims = Object::scan(&params.get("_meta")?)?.edit(&[("progressToken", None)]);
    let asked = Object::scan(&Bytes::from_static(b"{}"))?;
    let asked = asked.edit(&[("_meta", Some(&claims)), ("cursor", cursor.as_deref())]);
    let id = RequestId::from_raw(Bytes::from_static(b"\"hub-connect-tools\""))?;
    let body = message::request_bytes(&id, &Method::ToolsList, Some(&asked));
    let said = headers(&Method::ToolsList, params, &relay.mirrors);
    let post = || {
        let mut request = request(Verb::POST, body.clone());
        *request.headers_mut() = said.clone();
        request
    };
    let response = relay.way.deliver(post, true, true).await.ok()?;
    let Ended::Answered(answer) = follow(response, Some(&id), &relay.output, &mut None, |_| false).await else {
        return None;
    };
    match message::parse(&answer.line) {
        Ok(Message::Response(message::Response { outcome: Outcome::Result(result), .. })) => Object::scan(&result),
        _ => None,
    }
}

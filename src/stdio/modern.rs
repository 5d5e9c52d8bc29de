//! Requests of the modern revision (2026-07-28): each stands for itself, with headers that mirror what it says.
//!
//! In: a request. Out: its headers. Owns the table of arguments that are mirrored. May not: send anything but the question
//! for that table, or keep anything else between two requests.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::bridge::headers::{HeaderTable, encode_header_value};
use crate::limits;
use crate::mcp::error::HEADER_MISMATCH;
use crate::mcp::message::{self, Message, elements};
use crate::mcp::splice::Object;
use crate::mcp::{Method, Outcome, Raw, RequestId, meta, scan};
use crate::session::Params;

use super::answer::{Ended, Refused, follow};
use super::calls::Call;
use super::exchange::Dress;
use super::relay::Relay;
use super::session::{self, PROTOCOL_VERSION};
use super::way::Errand;

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

/// How a modern request is dressed.
pub(super) struct Modern {
    relay: Arc<Relay>,
    call: Arc<Call>,
    params: Params,
    /// The tools were asked for what they mirror.
    learned: bool,
}

impl Modern {
    pub(super) fn new(relay: Arc<Relay>, call: Arc<Call>, params: Params) -> Self {
        Self { relay, call, params, learned: false }
    }
}

impl Dress for Modern {
    async fn headers(&mut self) -> HeaderMap {
        headers(&self.call.method, &self.params, &self.relay.mirrors)
    }

    /// An argument may be mirrored that was not when this was last looked at.
    async fn mend(&mut self, refused: &Refused) -> bool {
        let mends = self.call.method == Method::ToolsCall
            && refused.code() == Some(HEADER_MISMATCH)
            && !std::mem::replace(&mut self.learned, true);
        if mends {
            learn(&self.relay, &self.params).await;
        }
        mends
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
    let mut errand = Errand::post(headers(&Method::ToolsList, params, &relay.mirrors), body);
    let response = relay.way.deliver(&mut errand).await.ok()?;
    let Ended::Answered(answer) = follow(response, Some(&id), &relay.output, &mut None, |_| false).await else {
        return None;
    };
    match message::parse(&answer.line) {
        Ok(Message::Response(message::Response { outcome: Outcome::Result(result), .. })) => Object::scan(&result),
        _ => None,
    }
}

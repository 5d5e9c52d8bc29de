//! The client's session at hub (revisions up to 2025-11-25).
//!
//! In: the client's `initialize`, hub's answer. Out: the headers of every later request. Owns the session's id, and what
//! makes a new session like the old one. May not: send anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::watch;

use crate::limits;
use crate::mcp::message::{self, Message, Outcome};
use crate::mcp::splice::Object;
use crate::mcp::{Method, Raw, RequestId};
use crate::session::Params;

/// Names a session, both ways (2025-11-25, basic/transports#session-management).
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Names the revision of a request (2025-11-25, basic/transports#protocol-version-header).
pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Where to resume a stream (2025-11-25, basic/transports#resumability-and-redelivery).
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opened {
    id: HeaderValue,
    version: Option<HeaderValue>,
    /// How often a session was opened before.
    generation: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// The client did not ask for one, or hub refused.
    Unopened,
    /// `initialize` is under way: what needs the session waits.
    Opening(Option<Arc<Opened>>),
    Open(Arc<Opened>),
}

/// What a new session is told when hub has forgotten the old one.
#[derive(Debug, Default)]
struct Memory {
    initialize: Option<Bytes>,
    level: Option<Raw>,
    subscriptions: HashMap<String, Raw>,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Session {
    phase: watch::Sender<Phase>,
    memory: Mutex<Memory>,
}

impl Session {
    pub(super) fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Unopened), memory: Mutex::default() }
    }

    /// The session, once it is known whether there is one.
    pub(super) async fn opened(&self) -> Option<Arc<Opened>> {
        let mut phases = self.phase.subscribe();
        // Cannot fail: the sender is here.
        let phase = phases.wait_for(|phase| !matches!(phase, Phase::Opening(_))).await.ok()?;
        match &*phase {
            Phase::Open(opened) => Some(opened.clone()),
            Phase::Unopened | Phase::Opening(_) => None,
        }
    }

    /// Whether there is a session, or will be.
    pub(super) fn is_begun(&self) -> bool {
        *self.phase.borrow() != Phase::Unopened
    }

    /// The client asks for a session: what comes behind waits for it.
    pub(super) fn begin(&self, initialize: &Bytes) {
        self.memory().initialize = Some(initialize.clone());
        self.phase.send_modify(|phase| {
            *phase = match phase {
                Phase::Open(opened) => Phase::Opening(Some(opened.clone())),
                Phase::Opening(before) => Phase::Opening(before.clone()),
                Phase::Unopened => Phase::Opening(None),
            }
        });
    }

    /// hub does not know this session any more. The `initialize` to send again, if nobody else does so already.
    pub(super) fn lost(&self, lost: &Arc<Opened>) -> Option<Bytes> {
        let initialize = self.memory().initialize.clone()?;
        let is_first = self.phase.send_if_modified(|phase| {
            let is_lost = *phase == Phase::Open(lost.clone());
            if is_lost {
                *phase = Phase::Opening(Some(lost.clone()));
            }
            is_lost
        });
        is_first.then_some(initialize)
    }

    /// hub has answered `initialize`. Without a session in the answer, all is as before.
    pub(super) fn answered(&self, headers: &HeaderMap, answer: Option<&Bytes>) {
        let id = headers.get(SESSION_ID).cloned();
        let version = answer.and_then(version_of);
        self.phase.send_modify(|phase| {
            let before = match phase {
                Phase::Opening(before) => before.take(),
                Phase::Open(opened) => Some(opened.clone()),
                Phase::Unopened => None,
            };
            let generation = before.as_ref().map_or(0, |before| before.generation + 1);
            *phase = match (id, before) {
                (Some(id), _) => Phase::Open(Arc::new(Opened { id, version, generation })),
                (None, Some(before)) => Phase::Open(before),
                (None, None) => Phase::Unopened,
            };
        });
    }

    /// Keeps what a new session would have to be told.
    pub(super) fn remember(&self, method: &Method, params: &Params) {
        let Some(raw) = params.raw() else { return };
        let mut memory = self.memory();
        match (method, params.text("uri")) {
            (Method::SetLevel, _) => memory.level = Some(raw.clone()),
            (Method::Subscribe, Some(uri)) if memory.subscriptions.len() < limits::SUBSCRIPTIONS_PER_INSTANCE_MAX => {
                memory.subscriptions.insert(uri.into_owned(), raw.clone());
            }
            (Method::Unsubscribe, Some(uri)) => drop(memory.subscriptions.remove(&*uri)),
            _ => {}
        }
    }

    /// What a new session is told after `initialize`.
    pub(super) fn restate(&self) -> Vec<Bytes> {
        let memory = self.memory();
        let mut told = vec![message::notification_bytes(&Method::Initialized, None)];
        let levels = memory.level.iter().map(|params| (Method::SetLevel, params));
        let subscriptions = memory.subscriptions.values().map(|params| (Method::Subscribe, params));
        for (number, (method, params)) in levels.chain(subscriptions).enumerate() {
            // An id that no client has: nobody waits for the answer.
            let id = RequestId::from_raw(Bytes::from(format!("\"hub-connect-{number}\""))).expect("a string is an id");
            told.push(message::request_bytes(&id, &method, Some(params)));
        }
        told
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The headers of a request of a session, or of none yet.
pub(super) fn headers(opened: Option<&Arc<Opened>>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, const { HeaderValue::from_static("application/json") });
    headers.insert(ACCEPT, const { HeaderValue::from_static("application/json, text/event-stream") });
    if let Some(opened) = opened {
        headers.insert(SESSION_ID, opened.id.clone());
        headers.extend(opened.version.clone().map(|version| (PROTOCOL_VERSION, version)));
    }
    headers
}

fn version_of(answer: &Bytes) -> Option<HeaderValue> {
    let Ok(Message::Response(message::Response { outcome: Outcome::Result(result), .. })) = message::parse(answer)
    else {
        return None;
    };
    HeaderValue::from_str(&Object::scan(&result)?.get_str("protocolVersion")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(id: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(SESSION_ID, HeaderValue::from_static(id))])
    }

    #[tokio::test]
    async fn a_lost_session_is_opened_again_by_one() {
        let session = Session::new();
        assert!(!session.is_begun() && session.opened().await.is_none());
        session.begin(&Bytes::from_static(b"{1}"));
        assert!(session.is_begun());
        let answer = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18"}}"#);
        session.answered(&given("one"), Some(&answer));
        let first = session.opened().await.expect("open");
        assert_eq!(headers(Some(&first))["mcp-protocol-version"], "2025-06-18");
        let uri = |text: &str| Params::read(Some(Bytes::from(format!("{{\"uri\":\"{text}\"}}"))));
        session.remember(&Method::Subscribe, &uri("a"));
        session.remember(&Method::Subscribe, &uri("b"));
        session.remember(&Method::Unsubscribe, &uri("a"));
        assert_eq!(session.lost(&first), Some(Bytes::from_static(b"{1}")));
        assert_eq!(session.lost(&first), None, "somebody does it");
        session.answered(&given("two"), Some(&answer));
        let second = session.opened().await.expect("open");
        assert_eq!((&second.id, second.generation), (&HeaderValue::from_static("two"), 1));
        assert_eq!(session.lost(&first), None, "that one is long gone");
        let told: Vec<_> = session.restate();
        assert_eq!(told.len(), 2);
        assert_eq!(
            told[1],
            r#"{"jsonrpc":"2.0","id":"hub-connect-0","method":"resources/subscribe","params":{"uri":"b"}}"#
        );
    }

    #[tokio::test]
    async fn a_refused_initialize_leaves_all_as_it_was() {
        let session = Session::new();
        session.begin(&Bytes::from_static(b"{}"));
        session.answered(&HeaderMap::new(), None);
        assert!(session.opened().await.is_none());
        session.begin(&Bytes::from_static(b"{}"));
        session.answered(&given("one"), None);
        session.begin(&Bytes::from_static(b"{}"));
        session.answered(&HeaderMap::new(), None);
        assert_eq!(session.opened().await.expect("still").id, "one");
    }
}

//! Requests, notifications and responses of a session (revisions up to 2025-11-25).
//!
//! In: messages of the client. Out: the answer to each request, as one line. Owns nothing. May not: send a request again
//! that may have had an effect.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method as Verb, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::mcp::error::Reason;
use crate::mcp::{ErrorObject, Method, RequestId, message};

use super::answer::{Answer, Ended, Refused, follow, may_have_run, refused};
use super::relay::{Call, Relay};
use super::session::{LAST_EVENT_ID, Opened, headers};
use super::way::{Fault, request};

/// How often a request is sent for which hub knows no session.
const SESSIONS_TRIED_MAX: usize = 3;

/// A message that wants no answer.
#[derive(Debug)]
pub(super) enum Aside {
    /// A notification, or the answer to one of hub's own requests.
    Message(Bytes),
    /// `notifications/initialized`: from now on hub may say something unasked.
    Initialized(Bytes),
    /// `notifications/cancelled` for a request in flight.
    Cancel(Arc<Call>, Bytes),
}

impl Aside {
    /// The message.
    pub(super) fn body(&self) -> &Bytes {
        match self {
            Self::Message(body) | Self::Initialized(body) | Self::Cancel(_, body) => body,
        }
    }
}

/// Whether a request may arrive twice (DESIGN 5): it reads, or leaves things as they are the second time.
pub(super) fn may_repeat(method: &Method) -> bool {
    method.list_kind().is_some()
        || matches!(
            method,
            Method::Initialize
                | Method::Ping
                | Method::Discover
                | Method::PromptsGet
                | Method::ResourcesRead
                | Method::Subscribe
                | Method::Unsubscribe
                | Method::Complete
                | Method::SetLevel
                | Method::TasksGet
                | Method::TasksList
                | Method::TasksResult
        )
}

/// The error for a request that hub did not get, or whose answer did not come.
pub(super) fn unanswered(id: &RequestId, fault: &Fault) -> Answer {
    match fault {
        Fault::NotSent(why) => {
            let error = ErrorObject::internal(Reason::ServerUnavailable, format!("hub cannot be reached: {why}"));
            message::error_bytes(Some(id), &error).into()
        }
        Fault::Broken(_) => may_have_run(id),
    }
}

/// Opens the session.
pub(super) async fn initialize(
    relay: &Relay,
    call: &Call,
    body: Bytes,
    room: Option<OwnedSemaphorePermit>,
) -> Option<Answer> {
    let (given, answer) = open(relay, &body, Some(&call.id)).await;
    drop(room);
    relay.session.answered(&given, answer.as_ref().map(|answer| &answer.line));
    answer
}

/// Sends `initialize`. The headers of the answer, and the answer.
async fn open(relay: &Relay, body: &Bytes, id: Option<&RequestId>) -> (HeaderMap, Option<Answer>) {
    let post = || {
        let mut request = request(Verb::POST, body.clone());
        *request.headers_mut() = headers(None);
        request
    };
    let response = match relay.way.deliver(post, true, true).await {
        Ok(response) => response,
        Err(fault) => return (HeaderMap::new(), id.map(|id| unanswered(id, &fault))),
    };
    let given = response.headers().clone();
    match follow(response, id, &relay.output, &mut None, |_| false).await {
        Ended::Answered(answer) => (given, Some(answer)),
        Ended::Refused(refused) => (HeaderMap::new(), id.map(|id| refused.into_answer(id))),
        Ended::Silently | Ended::Closed => (HeaderMap::new(), id.map(may_have_run)),
    }
}

/// Opens another session like the lost one, unless somebody else does so already.
pub(super) async fn reopen(relay: &Relay, lost: &Arc<Opened>) {
    let Some(initialize) = relay.session.lost(lost) else { return };
    tracing::info!("hub has forgotten the session: it is opened again");
    let (given, answer) = open(relay, &initialize, None).await;
    relay.session.answered(&given, answer.as_ref().map(|answer| &answer.line));
    for told in relay.session.restate() {
        send(relay, &told).await.ok();
    }
}

/// One request of the session.
pub(super) async fn call(
    relay: &Relay,
    call: &Call,
    body: Bytes,
    room: Option<OwnedSemaphorePermit>,
) -> Option<Answer> {
    let (again, mut room, mut repeated) = (may_repeat(&call.method), room, false);
    for _ in 0..SESSIONS_TRIED_MAX {
        let opened = relay.session.opened().await;
        let post = || {
            let mut request = request(Verb::POST, body.clone());
            *request.headers_mut() = headers(opened.as_ref());
            request
        };
        let response = match relay.way.deliver(post, again, true).await {
            Ok(response) => response,
            Err(fault) => return Some(unanswered(&call.id, &fault)),
        };
        drop(room.take());
        let mut resume = None;
        let mut ended = follow(response, Some(&call.id), &relay.output, &mut resume, |_| true).await;
        if matches!(ended, Ended::Silently) && resume.is_some() && !call.cancelled.is_cancelled() {
            ended = resumed(relay, call, opened.as_ref(), &mut resume).await;
        }
        match (ended, &opened) {
            (Ended::Answered(answer), _) => return Some(answer),
            (Ended::Closed, _) => return None,
            (Ended::Refused(refused), Some(opened)) if refused.is_unknown_session() => reopen(relay, opened).await,
            (Ended::Refused(refused), _) => return Some(refused.into_answer(&call.id)),
            (Ended::Silently, _) if call.cancelled.is_cancelled() => return None,
            (Ended::Silently, _) if again && !std::mem::replace(&mut repeated, true) => {}
            (Ended::Silently, _) => return Some(may_have_run(&call.id)),
        }
    }
    Some(may_have_run(&call.id))
}

/// Goes on with a stream that broke, for as long as hub has more of it.
async fn resumed(relay: &Relay, call: &Call, opened: Option<&Arc<Opened>>, resume: &mut Option<Bytes>) -> Ended {
    loop {
        let Some(from) = resume.as_ref().and_then(|id| HeaderValue::from_bytes(id).ok()) else {
            return Ended::Silently;
        };
        let get = || {
            let mut request = request(Verb::GET, Bytes::new());
            *request.headers_mut() = headers(opened);
            request.headers_mut().insert(LAST_EVENT_ID, from.clone());
            request
        };
        // After this much patience of its own, a hub that is away does not have the stream any more.
        let response = match relay.way.deliver(get, true, true).await {
            Ok(response) if response.status() == StatusCode::OK => response,
            Ok(_) | Err(_) => return Ended::Silently,
        };
        let before = resume.clone();
        match follow(response, Some(&call.id), &relay.output, resume, |_| true).await {
            // Progress was made: there may be more.
            Ended::Silently if *resume != before && !call.cancelled.is_cancelled() => {}
            ended => return ended,
        }
    }
}

/// An array of messages. Each request in it that gets no answer gets an error.
pub(super) async fn batch(relay: &Relay, asked: &[RequestId], body: Bytes, room: Option<OwnedSemaphorePermit>) {
    let opened = relay.session.opened().await;
    let post = || {
        let mut request = request(Verb::POST, body.clone());
        *request.headers_mut() = headers(opened.as_ref());
        request
    };
    let mut left: Vec<RequestId> = asked.to_vec();
    let ended = match relay.way.deliver(post, false, true).await {
        Ok(response) => {
            drop(room);
            let answered = |message: &message::Message| {
                if let message::Message::Response(response) = message {
                    left.retain(|id| response.id.as_ref() != Some(id));
                }
                true
            };
            follow(response, None, &relay.output, &mut None, answered).await
        }
        Err(fault) => {
            for id in &left {
                relay.answer_with(unanswered(id, &fault)).await;
            }
            return;
        }
    };
    match ended {
        Ended::Answered(answers) => relay.answer_with(answers).await,
        // There is no request in it that could be answered, and silence would leave its sender in the dark.
        Ended::Refused(refused) if asked.is_empty() => {
            relay.say(Bytes::from([b"{\"jsonrpc\":\"2.0\",\"error\":", &refused.error[..], b"}"].concat())).await;
        }
        Ended::Refused(refused) => {
            for id in &left {
                let error = crate::mcp::Outcome::Error(refused.error.clone());
                relay.say(Bytes::from(message::response_pieces(id, &error).concat())).await;
            }
        }
        Ended::Silently => {
            for id in &left {
                relay.answer_with(may_have_run(id)).await;
            }
        }
        Ended::Closed => {}
    }
}

/// Sends what wants no answer, one after another.
pub(super) async fn asides(relay: Arc<Relay>, mut queue: mpsc::Receiver<(Aside, Option<OwnedSemaphorePermit>)>) {
    while let Some((next, _room)) = queue.recv().await {
        match next {
            Aside::Message(body) => aside(&relay, body).await,
            Aside::Initialized(body) => {
                aside(&relay, body).await;
                relay.listen();
            }
            Aside::Cancel(call, body) => {
                aside(&relay, body.clone()).await;
                relay.cancel_again(call, body);
            }
        }
    }
}

/// Sends a message that wants no answer.
pub(super) async fn aside(relay: &Relay, body: Bytes) {
    for _ in 0..SESSIONS_TRIED_MAX {
        let Some(opened) = relay.session.opened().await else { return };
        match send(relay, &body).await {
            Err(Some(refused)) if refused.is_unknown_session() => reopen(relay, &opened).await,
            Err(Some(refused)) => {
                tracing::warn!("hub refused a notification: {}", String::from_utf8_lossy(&refused.error));
                return;
            }
            Ok(()) | Err(None) => return,
        }
    }
}

/// Sends a message of the session; the error, if hub answers with one.
async fn send(relay: &Relay, body: &Bytes) -> Result<(), Option<Refused>> {
    let opened = relay.session.opened().await;
    let post = || {
        let mut request = request(Verb::POST, body.clone());
        *request.headers_mut() = headers(opened.as_ref());
        request
    };
    match relay.way.deliver(post, true, false).await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(Some(refused(response).await)),
        Err(fault) => {
            tracing::warn!("a notification did not arrive: {fault}");
            Err(None)
        }
    }
}

/// Gives the session back, once.
pub(super) async fn end_session(relay: &Relay) {
    if !relay.session.is_begun() {
        return;
    }
    let Some(opened) = relay.session.opened().await else { return };
    let mut delete = request(Verb::DELETE, Bytes::new());
    *delete.headers_mut() = headers(Some(&opened));
    if let Err(fault) = relay.way.send(delete).await {
        tracing::debug!("the session is left to expire: {fault}");
    }
}

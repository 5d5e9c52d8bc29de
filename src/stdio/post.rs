//! Requests, notifications and responses of a session (revisions up to 2025-11-25).
//!
//! In: messages of the client. Out: the answer to each request, as one line. Owns nothing. May not: send a request again
//! that may have had an effect.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::mcp::RequestId;
use crate::mcp::message::Message;

use super::answer::{Answer, Ended, Refused, follow, may_have_run, refused};
use super::calls::Call;
use super::exchange::{Dress, unanswered};
use super::relay::Relay;
use super::session::{Opened, headers};
use super::way::Errand;

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

/// Opens the session.
pub(super) async fn initialize(relay: Arc<Relay>, call: Arc<Call>, errand: Errand) -> Option<Answer> {
    open(&relay, errand, Some(&call.id)).await
}

/// Sends `initialize` and keeps what hub says to it. The answer, if there is an id to say it to.
async fn open(relay: &Relay, mut errand: Errand, id: Option<&RequestId>) -> Option<Answer> {
    errand.headers = headers(None);
    let (given, answer) = match relay.way.deliver(&mut errand).await {
        Ok(response) => {
            let given = response.headers().clone();
            match follow(response, id, &relay.output, &mut None, |_| false).await {
                Ended::Answered(answer) => (given, Some(answer)),
                Ended::Refused(refused) => (HeaderMap::new(), id.map(|id| refused.to_answer(id))),
                Ended::Silently | Ended::Closed => (HeaderMap::new(), id.map(may_have_run)),
            }
        }
        Err(fault) => (HeaderMap::new(), id.map(|id| unanswered(id, &fault))),
    };
    relay.session.answered(&given, answer.as_ref().map(|answer| &answer.line));
    answer
}

/// Opens another session like the lost one, unless somebody else does so already.
pub(super) async fn reopen(relay: &Relay, lost: &Arc<Opened>) {
    let Some(initialize) = relay.session.lost(lost) else { return };
    tracing::info!("hub has forgotten the session: it is opened again");
    open(relay, Errand::post(HeaderMap::new(), initialize), None).await;
    for told in relay.session.restate() {
        send(relay, &told).await.ok();
    }
}

/// How a request of the session is dressed.
pub(super) struct InSession {
    relay: Arc<Relay>,
    opened: Option<Arc<Opened>>,
    tried: usize,
}

impl InSession {
    pub(super) fn new(relay: Arc<Relay>) -> Self {
        Self { relay, opened: None, tried: 0 }
    }
}

impl Dress for InSession {
    async fn headers(&mut self) -> HeaderMap {
        self.opened = self.relay.session.opened().await;
        self.tried += 1;
        headers(self.opened.as_ref())
    }

    async fn mend(&mut self, refused: &Refused) -> bool {
        let lost = refused.is_unknown_session() && self.tried < SESSIONS_TRIED_MAX;
        let Some(opened) = self.opened.as_ref().filter(|_| lost) else { return false };
        reopen(&self.relay, opened).await;
        true
    }
}

/// An array of messages. Each request in it that gets no answer gets an error.
pub(super) async fn batch(relay: Arc<Relay>, asked: Vec<Arc<Call>>, mut errand: Errand) {
    errand.headers = headers(relay.session.opened().await.as_ref());
    errand.again = false;
    let has_requests = !asked.is_empty();
    let mut left = asked;
    let ended = match relay.way.deliver(&mut errand).await {
        Ok(response) => {
            let answered = |message: &Message| {
                if let Message::Response(response) = message {
                    let answers = |call: &mut Arc<Call>| response.id.as_ref() == Some(&call.id);
                    left.extract_if(.., answers).for_each(|call| relay.calls.finish(&call));
                }
                true
            };
            Ok(follow(response, None, &relay.output, &mut None, answered).await)
        }
        Err(fault) => Err(fault),
    };
    left.iter().for_each(|call| relay.calls.finish(call));
    match ended {
        Ok(Ended::Answered(answers)) => relay.answer_with(answers).await,
        Ok(Ended::Closed) => {}
        // There is no request in it that could be answered, and silence would leave its sender in the dark.
        Ok(Ended::Refused(refused)) if !has_requests => {
            relay.say(Bytes::from([b"{\"jsonrpc\":\"2.0\",\"error\":", &refused.error[..], b"}"].concat())).await;
        }
        unsaid => {
            for call in left.iter().filter(|call| !call.cancelled.is_cancelled()) {
                relay
                    .answer_with(match &unsaid {
                        Ok(Ended::Refused(refused)) => refused.to_answer(&call.id),
                        Ok(_) => may_have_run(&call.id),
                        Err(fault) => unanswered(&call.id, fault),
                    })
                    .await;
            }
        }
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
    let headers = headers(relay.session.opened().await.as_ref());
    let mut errand = Errand { revive: false, ..Errand::post(headers, body.clone()) };
    match relay.way.deliver(&mut errand).await {
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
    if let Err(fault) = relay.way.send(&Errand::delete(headers(Some(&opened)))).await {
        tracing::debug!("the session is left to expire: {fault}");
    }
}

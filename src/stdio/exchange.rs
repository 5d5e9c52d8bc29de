//! One request of the client, to its one answer: sent until it arrives, repeated only where that does no harm.
//!
//! In: a request, and how its era dresses it. Out: the answer, as one line; what else hub says meanwhile goes to the
//! client. Owns nothing. May not: send a request again that may have had an effect.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};

use crate::mcp::error::Reason;
use crate::mcp::{ErrorObject, Method, RequestId, message};

use super::answer::{Answer, Ended, Refused, follow, may_have_run};
use super::calls::Call;
use super::relay::Relay;
use super::session::LAST_EVENT_ID;
use super::way::{Errand, Fault};

/// What the requests of one era have of their own.
pub(super) trait Dress {
    /// The headers that the request is sent with now.
    async fn headers(&mut self) -> HeaderMap;

    /// Puts right what the request was refused for before anybody worked on it. Whether it is worth being sent again.
    async fn mend(&mut self, refused: &Refused) -> bool;
}

/// Sends a request and hands on what comes of it. `None`: nobody waits for an answer any more.
pub(super) async fn run(
    relay: Arc<Relay>,
    call: Arc<Call>,
    mut errand: Errand,
    mut dress: impl Dress,
) -> Option<Answer> {
    errand.again = may_repeat(&call.method);
    let mut repeats = errand.again;
    loop {
        errand.headers = dress.headers().await;
        let response = match relay.way.deliver(&mut errand).await {
            Ok(response) => response,
            Err(fault) => return Some(unanswered(&call.id, &fault)),
        };
        let mut resume = None;
        let mut ended = follow(response, Some(&call.id), &relay.output, &mut resume, |_| true).await;
        if matches!(ended, Ended::Silently) && resume.is_some() && !call.cancelled.is_cancelled() {
            ended = resumed(&relay, &call, &errand.headers, &mut resume).await;
        }
        match ended {
            Ended::Answered(answer) => return Some(answer),
            Ended::Closed => return None,
            Ended::Refused(refused) if dress.mend(&refused).await => {}
            Ended::Refused(refused) => return Some(refused.to_answer(&call.id)),
            Ended::Silently if call.cancelled.is_cancelled() => return None,
            Ended::Silently if std::mem::take(&mut repeats) => {}
            Ended::Silently => return Some(may_have_run(&call.id)),
        }
    }
}

/// Goes on with a stream that broke, for as long as hub has more of it.
async fn resumed(relay: &Relay, call: &Call, headers: &HeaderMap, resume: &mut Option<Bytes>) -> Ended {
    loop {
        let Some(from) = resume.as_ref().and_then(|id| HeaderValue::from_bytes(id).ok()) else {
            return Ended::Silently;
        };
        let mut get = Errand::get(headers.clone());
        get.headers.insert(LAST_EVENT_ID, from);
        // After this much patience of its own, a hub that is away does not have the stream any more.
        let response = match relay.way.deliver(&mut get).await {
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

/// Whether a request may arrive twice (DESIGN 5): it reads, or leaves things as they are the second time.
fn may_repeat(method: &Method) -> bool {
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

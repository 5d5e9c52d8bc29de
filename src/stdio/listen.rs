//! `subscriptions/listen` (2026-07-28, basic/patterns/subscriptions): one long answer, which outlives hub.
//!
//! In: the request. Out: its notifications; its end, when the client or the server wants it. Owns nothing. May not: tell
//! the client of a hub that came back, except that everything may have changed.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::sleep;

use crate::limits;
use crate::mcp::message::{self, Message, elements};
use crate::mcp::splice::Object;
use crate::mcp::{Line, Method, Outcome, Raw, meta, scan};
use crate::session::Params;

use super::answer::{Answer, Ended, follow};
use super::calls::Call;
use super::exchange::unanswered;
use super::modern::headers;
use super::relay::Relay;
use super::way::{Errand, longer};

/// Listens until the client does not want to any more, or hub says that there is nothing to listen to.
pub(super) async fn run(relay: Arc<Relay>, call: Arc<Call>, mut errand: Errand, params: Params) -> Option<Answer> {
    errand.headers = headers(&call.method, &params, &relay.mirrors);
    let mut pause = limits::STDIO_RETRY_FIRST;
    // It was acknowledged once; how it ended last.
    let (mut acknowledged, mut end) = (false, None);
    loop {
        errand.revive = !acknowledged;
        let response = match relay.way.deliver(&mut errand).await {
            Ok(response) => response,
            Err(fault) if !acknowledged => return Some(unanswered(&call.id, &fault)),
            // Nobody is there to listen to; somebody will be.
            Err(_) => continue,
        };
        if acknowledged && response.status().is_success() {
            changed(&relay, &call, &params).await;
        }
        let (mut greeted, mut taken_down) = (false, false);
        let look = |message: &Message| {
            let Message::Notification(note) = message else { return true };
            taken_down |= note.method == Method::Cancelled;
            let greets = note.method == Method::ListenAcknowledged;
            greeted |= greets;
            // The client has seen one.
            !(greets && acknowledged)
        };
        let ended = follow(response, Some(&call.id), &relay.output, &mut None, look).await;
        match ended {
            Ended::Closed => return None,
            _ if taken_down => return None,
            // hub stops, or the server is gone: which of the two shows when hub is asked again.
            Ended::Answered(answer) if greeted && is_result(&answer.line) => end = Some(answer),
            Ended::Answered(answer) => return Some(end.unwrap_or(answer)),
            Ended::Refused(refused) => return Some(end.unwrap_or_else(|| refused.to_answer(&call.id))),
            Ended::Silently => {}
        }
        acknowledged |= greeted;
        pause = if greeted { limits::STDIO_RETRY_FIRST } else { longer(pause) };
        sleep(pause).await;
    }
}

fn is_result(answer: &Bytes) -> bool {
    matches!(message::parse(answer), Ok(Message::Response(message::Response { outcome: Outcome::Result(_), .. })))
}

/// Nobody knows what happened while nobody listened, so everything that was listened for may have.
async fn changed(relay: &Relay, call: &Call, params: &Params) {
    let Some(wanted) = params.get("notifications").as_ref().and_then(Object::scan) else { return };
    let kinds = [
        ("toolsListChanged", Method::ToolsChanged),
        ("promptsListChanged", Method::PromptsChanged),
        ("resourcesListChanged", Method::ResourcesChanged),
    ];
    for (flag, method) in kinds {
        if wanted.get(flag).is_some_and(|value| value == "true") {
            notify(relay, call, &method, None).await;
        }
    }
    let uris = wanted.get("resourceSubscriptions").filter(|uris| uris.first() == Some(&b'['));
    for uri in uris.iter().flat_map(elements).filter(|uri| scan::unquote(uri).is_some()) {
        notify(relay, call, &Method::ResourceUpdated, Some(&uri)).await;
    }
}

async fn notify(relay: &Relay, call: &Call, method: &Method, uri: Option<&Raw>) {
    let uri = uri.map(|uri| format!(",\"uri\":{}", String::from_utf8_lossy(uri))).unwrap_or_default();
    let id = String::from_utf8_lossy(call.id.raw());
    let params = Bytes::from(format!("{{\"_meta\":{{\"{}\":{id}}}{uri}}}", meta::SUBSCRIPTION_ID));
    // Who reads no more ends the bridge elsewhere.
    relay.output.line(Line::new([message::notification_bytes(method, Some(&params))])).await.ok();
}

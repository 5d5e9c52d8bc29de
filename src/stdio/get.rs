//! What hub says to a session unasked: its standalone stream.
//!
//! In: events. Out: lines to the client. Owns where to resume. May not: start hub, or give up before the client does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::time::sleep;

use crate::limits;
use crate::mcp::Line;

use super::answer::{Events, refused};
use super::pipes::Closed;
use super::post::reopen;
use super::relay::Relay;
use super::session::{LAST_EVENT_ID, Opened, headers};
use super::way::{Errand, longer};

/// Listens until the client is done.
pub(super) async fn run(relay: Arc<Relay>) {
    let (mut resume, mut pause) = (None, limits::STDIO_RETRY_FIRST);
    loop {
        let Some(opened) = relay.session.opened().await else { return };
        let looks = relay.way.looks();
        match relay.way.send(&get(&opened, resume.as_ref())).await {
            Ok(response) if response.status() == StatusCode::OK => {
                let events = Events::of(response);
                match pass_on(&relay, events, &mut resume).await {
                    Ok(true) => pause = limits::STDIO_RETRY_FIRST,
                    Ok(false) => {}
                    Err(Closed) => return,
                }
            }
            // It has no such stream, now or ever.
            Ok(response) if response.status() == StatusCode::METHOD_NOT_ALLOWED => return,
            Ok(response) => {
                let refused = refused(response).await;
                resume = None;
                if refused.is_unknown_session() {
                    reopen(&relay, &opened).await;
                }
            }
            Err(fault) => {
                tracing::debug!("not listening for now: {fault}");
                relay.way.look(looks, false).await.ok();
            }
        }
        sleep(pause).await;
        pause = longer(pause);
    }
}

fn get(opened: &Arc<Opened>, resume: Option<&Bytes>) -> Errand {
    let mut get = Errand::get(headers(Some(opened)));
    if let Some(id) = resume.and_then(|id| HeaderValue::from_bytes(id).ok()) {
        get.headers.insert(LAST_EVENT_ID, id);
    }
    get
}

/// Hands events on until the stream ends. Whether it was of use.
async fn pass_on(relay: &Relay, mut events: Events, resume: &mut Option<Bytes>) -> Result<bool, Closed> {
    let (mut was_of_use, since) = (false, tokio::time::Instant::now());
    while let Some((event, large)) = events.next(&relay.output).await {
        if event.id.is_some() {
            *resume = event.id;
        }
        if !event.data.is_empty() {
            was_of_use = true;
            relay.output.line(Line::new([event.data])).await?;
            drop(large);
        }
    }
    Ok(was_of_use || since.elapsed() > Duration::from_secs(1))
}

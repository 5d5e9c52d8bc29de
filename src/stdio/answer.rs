//! What hub's response to a request turns out to be.
//!
//! In: an HTTP response. Out: the messages in it, the one that answers among them; or why there is none. Owns nothing. May
//! not: decide what is sent again.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Response, StatusCode};

use crate::limits;
use crate::mcp::error::{self, HTTP_REFUSED, Reason};
use crate::mcp::message::{self, Message};
use crate::mcp::splice::Object;
use crate::mcp::{ErrorObject, Line, Outcome, Raw, RequestId};

use super::events::{Decoder, Event};
use super::pipes::{Closed, Large, Output};

/// See [`limits::STDIO_LARGE_FROM_BYTES`].
const LARGE: u64 = limits::STDIO_LARGE_FROM_BYTES as u64;

/// A message for the client, with the right to hold it where it is large.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) line: Bytes,
    large: Large,
}

impl From<Bytes> for Answer {
    fn from(line: Bytes) -> Self {
        Self { line, large: None }
    }
}

impl Answer {
    /// Queues it for the client.
    pub(super) async fn say(self, output: &Output) -> Result<(), Closed> {
        let Self { line, large } = self;
        let queued = output.line(Line::new([line])).await;
        drop(large);
        queued
    }
}

/// How a response ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With the answer, as one line.
    Answered(Answer),
    /// Without one: the request was cancelled, or the connection broke.
    Silently,
    /// It was refused before anybody worked on it, or with an HTTP status.
    Refused(Refused),
    /// The client reads no more.
    Closed,
}

/// A response that is an error.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its status.
    pub(super) status: StatusCode,
    /// The error object.
    pub(super) error: Raw,
}

impl Refused {
    /// Its JSON-RPC code.
    pub(super) fn code(&self) -> Option<i64> {
        std::str::from_utf8(&Object::scan(&self.error)?.get("code")?).ok()?.parse().ok()
    }

    /// hub does not know the session (any more).
    pub(super) fn is_unknown_session(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.code() == Some(error::SESSION_NOT_FOUND)
    }

    /// The same as the answer to a request.
    pub(super) fn to_answer(&self, id: &RequestId) -> Answer {
        Bytes::from(message::response_pieces(id, &Outcome::Error(self.error.clone())).concat()).into()
    }
}

/// The answer to a request that hub was given, and that nobody knows the end of.
pub(super) fn may_have_run(id: &RequestId) -> Answer {
    let why = "The connection to hub was lost before the answer; the request may have run and is not repeated.";
    message::error_bytes(Some(id), &ErrorObject::internal(Reason::ServerRestarted, why)).into()
}

/// Reads a response to its end. Messages other than the answer to `id` go to the client; each is shown to `look` first, and
/// kept from the client if that says so. `resume` is set to where a broken stream goes on.
pub(super) async fn follow(
    response: Response<Incoming>,
    id: Option<&RequestId>,
    output: &Output,
    resume: &mut Option<Bytes>,
    mut look: impl FnMut(&Message) -> bool,
) -> Ended {
    match response.status() {
        StatusCode::OK if is_stream(&response) => {}
        StatusCode::OK => {
            let is_small = response.body().size_hint().upper().is_some_and(|bytes| bytes < LARGE);
            let large = if is_small { None } else { output.large().await };
            return match Limited::new(response.into_body(), limits::STDIO_EVENT_BYTES_MAX).collect().await {
                Ok(body) => Ended::Answered(Answer { line: body.to_bytes(), large }),
                Err(_broken) => Ended::Silently,
            };
        }
        StatusCode::ACCEPTED | StatusCode::NO_CONTENT => return Ended::Silently,
        _ => return Ended::Refused(refused(response).await),
    }
    let mut events = Events::of(response);
    while let Some((event, large)) = events.next(output).await {
        if event.id.is_some() {
            *resume = event.id;
        }
        if event.data.is_empty() {
            continue;
        }
        if let Ok(message) = message::parse(&event.data) {
            let answers = id.is_some() && matches!(&message, Message::Response(response) if response.id.as_ref() == id);
            if answers {
                return Ended::Answered(Answer { line: event.data, large });
            }
            if !look(&message) {
                continue;
            }
        }
        if let Err(Closed) = (Answer { line: event.data, large }).say(output).await {
            return Ended::Closed;
        }
    }
    Ended::Silently
}

fn is_stream(response: &Response<Incoming>) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// The events of a response.
pub(super) struct Events {
    body: Incoming,
    decoder: Decoder,
    large: Large,
}

impl Events {
    pub(super) fn of(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), decoder: Decoder::default(), large: None }
    }

    /// The next one, with the right to hold it where it is large; `None` when the stream is over or broken.
    pub(super) async fn next(&mut self, output: &Output) -> Option<(Event, Large)> {
        loop {
            match self.decoder.next() {
                Ok(Some(event)) => return Some((event, self.large.take())),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!("hub sent {error}");
                    return None;
                }
            }
            if self.large.is_none() && self.decoder.pending() > limits::STDIO_LARGE_FROM_BYTES {
                self.large = output.large().await;
            }
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.decoder.push(bytes);
                    }
                }
                Err(error) => {
                    tracing::debug!("a stream of hub broke: {error}");
                    return None;
                }
            }
        }
    }
}

/// The error in a response that is one.
pub(super) async fn refused(response: Response<Incoming>) -> Refused {
    let status = response.status();
    let body = Limited::new(response.into_body(), limits::STDIO_EVENT_BYTES_MAX).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if let Ok(Message::Response(message::Response { outcome: Outcome::Error(error), .. })) = message::parse(&body) {
        return Refused { status, error };
    }
    let said = Object::scan(&body).and_then(|body| body.get_str("error_description"));
    let said = said.unwrap_or_else(|| format!("hub answered with HTTP status {status}"));
    Refused { status, error: ErrorObject::new(HTTP_REFUSED, said).to_raw() }
}

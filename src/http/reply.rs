//! From a stream to the answer of an HTTP request: JSON if the response comes first, else events.
//!
//! In: the reader of a stream. Out: a [`Reply`]. The body owns the reader; dropping it (the client went away) leaves a
//! session's stream to be resumed, and gives up what a modern request was about. May not: pick a status; send anything
//! but whole events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::exchange::Occupied;
use crate::limits;
use crate::mcp::line::without_newlines;
use crate::mcp::{ProtocolVersion, sse};
use crate::session::{EventId, First, Kind, Reader, Session};

use super::body::ReplyBody;
use super::{Reply, respond};

/// How long what may stay silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A request whose first message did not come by then is answered with events.
    pub commit_after: Duration,
    /// A comment after this much silence on a stream.
    pub keep_alive: Duration,
    /// A progress notification after this much silence of a call, where the client gave a token.
    pub heartbeat: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { commit_after: limits::COMMIT_SSE_AFTER, keep_alive: limits::KEEP_ALIVE, heartbeat: limits::HEARTBEAT }
    }
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Streamable HTTP: ids where the stream has them.
    Streamable,
    /// HTTP+SSE of 2024-11-05: named events.
    Named,
}

/// The answer to a POST: waits for what comes first. `array`: it was a batch, and JSON for it is an array.
pub(super) async fn post(
    session: &Arc<Session>,
    reader: Reader,
    array: bool,
    timing: Timing,
    stop: &CancellationToken,
) -> Reply {
    let first = first(&reader, &mut None, timing).await;
    match first {
        First::One(pieces) if !array => respond::json_pieces(pieces),
        First::One(pieces) => respond::json(in_array(&[pieces])),
        First::All(responses) => respond::json(in_array(&responses)),
        // No event and no id: the client does not come back for more (PROTOCOL 1.5).
        First::Nothing => respond::event_stream(ReplyBody::Empty),
        First::Events => {
            session.remember(reader.stream());
            events(session, reader, true, timing, stop)
        }
    }
}

/// What a modern request still does before its answer is up to a server: waits for the server to be known.
pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The answer to a modern request, which `work` brings about. `events`: the client takes nothing else.
pub(super) async fn exchange(
    mut occupied: Occupied,
    work: Work,
    events: bool,
    timing: Timing,
    stop: &CancellationToken,
) -> Reply {
    let reader = occupied.reader();
    let mut work = Some(work);
    match first(&reader, &mut work, timing).await {
        First::One(pieces) => {
            occupied.delivered();
            match occupied.seat().code() {
                None if events => respond::event_stream(sse::event(None, &pieces).into()),
                code => respond::modern(pieces, code),
            }
        }
        // It was cancelled while hub stops: nothing will come.
        First::All(_) | First::Nothing => respond::event_stream(ReplyBody::Empty),
        First::Events => {
            let mut body = EventBody::new(reader, Dialect::Streamable, timing, stop);
            body.stop = Some(Box::pin(stop.clone().cancelled_owned()));
            body.modern = Some(Modern { occupied, work });
            respond::event_stream(ReplyBody::stream(body))
        }
    }
}

/// Waits for what a stream turns out to be; events, if it does not show in time. Does `work` meanwhile.
async fn first(reader: &Reader, work: &mut Option<Work>, timing: Timing) -> First {
    let wait = |work: &mut Option<Work>, context: &mut TaskContext<'_>| {
        poll_work(work, context);
        reader.poll_first(context)
    };
    match tokio::time::timeout(timing.commit_after, poll_fn(|context| wait(work, context))).await {
        Ok(first) => first,
        Err(_elapsed) if reader.commit() => First::Events,
        Err(_elapsed) => poll_fn(|context| wait(work, context)).await,
    }
}

fn poll_work(work: &mut Option<Work>, context: &mut TaskContext<'_>) {
    if work.as_mut().is_some_and(|work| work.as_mut().poll(context).is_ready()) {
        *work = None;
    }
}

/// The answer with the events of a stream. `fresh`: its client has not seen anything of it yet.
pub(super) fn events(
    session: &Arc<Session>,
    reader: Reader,
    fresh: bool,
    timing: Timing,
    stop: &CancellationToken,
) -> Reply {
    let mut body = EventBody::new(reader, Dialect::Streamable, timing, stop);
    // Clients of earlier revisions parse the empty data of a priming event as JSON and fail (PROTOCOL 1.14).
    let primes = session.version() >= ProtocolVersion::V2025_11_25;
    if let (true, true, Some(id)) = (fresh, primes, body.reader.stream().event_id(0)) {
        body.ready.push_back(sse::prime(&id.to_text(), limits::SSE_RETRY_MS));
    }
    respond::event_stream(ReplyBody::stream(body))
}

fn in_array(responses: &[[Bytes; 3]]) -> Bytes {
    let mut out = BytesMut::from(&b"["[..]);
    for (index, response) in responses.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        response.iter().for_each(|piece| out.put_slice(piece));
    }
    out.put_u8(b']');
    out.freeze()
}

/// Messages at least this large are sent as separate frames instead of being copied into one.
const COPY_BELOW: usize = 16 << 10;

/// A stream as the body of a response.
pub(super) struct EventBody {
    reader: Reader,
    dialect: Dialect,
    timing: Timing,
    pub(super) ready: VecDeque<Bytes>,
    sent_at: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Streams that wait for nothing end when the listener stops; responses are still awaited.
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    modern: Option<Modern>,
}

/// What stands behind the stream of a modern request.
struct Modern {
    occupied: Occupied,
    work: Option<Work>,
}

impl EventBody {
    pub(super) fn new(reader: Reader, dialect: Dialect, timing: Timing, stop: &CancellationToken) -> Self {
        let endless = reader.stream().kind() == Kind::Get;
        let stop = endless.then(|| Box::pin(stop.clone().cancelled_owned()));
        Self {
            reader,
            dialect,
            timing,
            ready: VecDeque::new(),
            sent_at: Instant::now(),
            timer: None,
            stop,
            modern: None,
        }
    }

    /// Everything was handed out, unless the reader was cut off for being slow.
    fn over(&mut self) {
        if let Some(modern) = &mut self.modern
            && self.reader.stream().finished_at().is_some()
            && !self.reader.is_cut_off()
        {
            modern.occupied.delivered();
        }
    }

    fn encode(&mut self, seq: u64, pieces: &[Bytes; 3]) {
        let id = match self.dialect {
            Dialect::Streamable => self.reader.stream().event_id(seq).map(EventId::to_text),
            Dialect::Named => {
                self.ready.push_back(sse::named_event("message", pieces));
                return;
            }
        };
        if pieces.iter().map(Bytes::len).sum::<usize>() < COPY_BELOW {
            self.ready.push_back(sse::event(id.as_deref(), pieces));
            return;
        }
        let head = id.map_or_else(|| "data: ".to_owned(), |id| format!("id: {id}\ndata: "));
        self.ready.push_back(Bytes::from(head));
        let parts = pieces.iter().filter(|piece| !piece.is_empty());
        self.ready.extend(parts.map(|piece| without_newlines(piece.clone())));
        self.ready.push_back(Bytes::from_static(b"\n\n"));
    }

    /// Waits for the next silence that must be broken; breaks it. Ready when there is something to look at again.
    fn poll_silence(&mut self, context: &mut TaskContext<'_>) -> Poll<()> {
        let keep_alive_at = self.sent_at + self.timing.keep_alive;
        let beat_at = self.reader.next_beat(self.timing.heartbeat);
        let deadline = beat_at.map_or(keep_alive_at, |beat| beat.min(keep_alive_at));
        let now = Instant::now();
        if deadline <= now {
            if beat_at.is_some_and(|beat| beat <= now) {
                self.reader.beat(self.timing.heartbeat, now);
            } else {
                self.ready.push_back(sse::KEEP_ALIVE);
                self.sent_at = now;
            }
            return Poll::Ready(());
        }
        // A message moves the deadline; the timer is not touched for that, but looks again when it fires.
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.as_mut().poll(context).is_ready() {
            timer.as_mut().reset(deadline);
            return timer.as_mut().poll(context);
        }
        Poll::Pending
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(modern) = &mut this.modern {
                poll_work(&mut modern.work, context);
            }
            match this.reader.poll_event(context) {
                Poll::Ready(Some(entry)) => {
                    this.sent_at = Instant::now();
                    this.encode(entry.seq, &entry.pieces);
                    continue;
                }
                Poll::Ready(None) => {
                    this.over();
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            if this.stop.as_mut().is_some_and(|stop| stop.as_mut().poll(context).is_ready()) {
                this.stop = None;
                match &this.modern {
                    None => return Poll::Ready(None),
                    // Whoever works for it says what there is to say.
                    Some(modern) => modern.occupied.stop(),
                }
                continue;
            }
            if this.poll_silence(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Aggregate;
    use crate::mcp::{Outcome, RequestId};
    use crate::server::CallId;
    use crate::session::{EndpointId, Form, Options, Sessions, Stream, Target};
    use crate::tasks::Scope;
    use http_body_util::BodyExt;
    use std::sync::LazyLock;
    use tokio::sync::watch;

    static NEVER: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

    async fn session(version: &str) -> Arc<Session> {
        let target = Target::Aggregate(Aggregate::new(watch::channel(Arc::default()).1));
        let params = Bytes::from(format!(r#"{{"protocolVersion":"{version}"}}"#));
        let sessions = Sessions::new(Options::default(), None, Scope::new());
        let opened = sessions.initialize(&EndpointId::Aggregate, &target, Some(&params)).await;
        opened.expect("initialize is answered").0
    }

    fn respond(stream: &Stream, payload: Bytes) {
        stream.respond(Some(CallId(1)), &RequestId::from_number(1), &Outcome::Result(payload));
    }

    /// The next piece of a body; with paused time, waiting costs nothing but is counted.
    async fn piece(reply: &mut Reply) -> Option<String> {
        let frame = reply.body_mut().frame().await?.expect("bodies do not fail");
        Some(String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text"))
    }

    fn content_type(reply: &Reply) -> &str {
        reply.headers()["content-type"].to_str().expect("text")
    }

    #[tokio::test(start_paused = true)]
    async fn silence_becomes_events_comments_and_a_heartbeat() {
        let session = session("2025-11-25").await;
        let stream = session.open_post(Form::Either, 1);
        let reader = stream.attach();
        stream.expect_progress(CallId(1), Bytes::from_static(b"\"t\""));
        let start = Instant::now();
        let mut reply = post(&session, reader, false, Timing::default(), &NEVER).await;
        assert_eq!((start.elapsed().as_secs(), content_type(&reply)), (5, "text/event-stream"));
        let number = stream.event_id(0).expect("resumable").to_text();
        assert_eq!(piece(&mut reply).await.expect("a start"), format!("id: {number}\nretry: 3000\ndata: \n\n"));
        for second in [20, 35] {
            let next = piece(&mut reply).await.expect("a comment");
            assert_eq!((start.elapsed().as_secs(), next.as_str()), (second, ":\n\n"));
        }
        let beat = piece(&mut reply).await.expect("a beat");
        assert!(beat.contains(r#"{"progressToken":"t","progress":-1.0,"#), "{beat}");
        assert_eq!(start.elapsed().as_secs(), 50);
        stream.progress(CallId(1), &Bytes::from_static(b"{\"progress\":0,\"progressToken\":9}"));
        assert!(piece(&mut reply).await.expect("progress").contains(r#""progress":0"#));
        respond(&stream, Bytes::from_static(b"{}"));
        assert!(piece(&mut reply).await.expect("a response").contains(r#""result":{}"#));
        assert_eq!(piece(&mut reply).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn json_only_waits_as_long_as_it_takes() {
        let session = session("2025-06-18").await;
        let stream = session.open_post(Form::Json, 1);
        let reader = stream.attach();
        let (answer, ()) = tokio::join!(post(&session, reader, false, Timing::default(), &NEVER), async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            respond(&stream, Bytes::from_static(b"{}"));
        });
        assert_eq!(content_type(&answer), "application/json");
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_message_is_sent_in_pieces_and_reads_the_same() {
        let session = session("2025-06-18").await;
        let stream = session.open_post(Form::Events, 1);
        let reader = stream.attach();
        let payload = Bytes::from([b"\"".as_slice(), &[b'x'; COPY_BELOW], b"\"".as_slice()].concat());
        respond(&stream, payload.clone());
        let mut reply = post(&session, reader, false, Timing::default(), &NEVER).await;
        let mut pieces = Vec::new();
        while let Some(next) = piece(&mut reply).await {
            pieces.push(next);
        }
        let id = stream.event_id(1).expect("resumable").to_text();
        let payload = String::from_utf8(payload.to_vec()).expect("text");
        assert!(pieces.len() > 3);
        assert_eq!(
            pieces.concat(),
            format!("id: {id}\ndata: {{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{payload}}}\n\n")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn when_hub_stops_streams_end_and_responses_are_awaited() {
        let (session, stop) = (session("2025-06-18").await, CancellationToken::new());
        let mut get = events(&session, session.open_get().expect("alive"), true, Timing::default(), &stop);
        let stream = session.open_post(Form::Events, 1);
        let reader = stream.attach();
        let mut call = post(&session, reader, false, Timing::default(), &stop).await;
        stop.cancel();
        assert_eq!(piece(&mut get).await, None);
        respond(&stream, Bytes::from_static(b"{}"));
        assert!(piece(&mut call).await.is_some());
    }
}

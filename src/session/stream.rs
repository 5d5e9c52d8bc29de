//! One answer that may take several messages: the response of a POST, a GET stream, or the one stream of HTTP+SSE.
//!
//! In: messages from outlets (which never wait). Out: one JSON response, or events, to at most one reader at a time.
//! Owned by its session and by whoever still has to answer on it. May not: write HTTP, or wake a reader under its lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

use crate::mcp::message::{notification_bytes, response_pieces};
use crate::mcp::{Method, Outcome, Raw, RequestId};
use crate::server::CallId;

use super::event_id::EventId;
use super::progress::Progress;
use super::replay::Account;
use super::ring::{Entry, Pieces, Pushed, Ring, Weight, byte_len};

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Responses of one POST; ends after the last of them.
    Post,
    /// Messages that belong to no request; ends with its session.
    Get,
}

/// How a stream may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON if the response comes first, else events.
    Either,
    /// Only JSON: everything but responses is dropped.
    Json,
    /// Only events.
    Events,
}

/// How a stream begins.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// What for.
    pub kind: Kind,
    /// How it may speak.
    pub form: Form,
    /// Whether its events carry ids and can be had again (2025-11-25, basic/transports#resumability-and-redelivery).
    pub resumable: bool,
    /// Responses that will come; `0` for a stream without an end.
    pub responses: usize,
}

/// What a fresh stream turned out to be.
#[derive(Debug)]
pub enum First {
    /// One response and nothing else.
    One(Pieces),
    /// All responses of a batch whose client takes only JSON.
    All(Vec<Pieces>),
    /// Events.
    Events,
    /// Nothing will ever come: cancelled, or the session ended.
    Nothing,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    /// The only message so far is the only response: it can still go as JSON.
    lone: Option<Pieces>,
    committed: bool,
    waiting: usize,
    closed: bool,
    finished_at: Option<Instant>,
    /// The reader's number; a newer reader takes over.
    reader: Option<u64>,
    readers: u64,
    waker: Option<Waker>,
    unread_since: Option<Instant>,
    progress: Vec<Progress>,
}

/// See the module's header.
#[derive(Debug)]
pub struct Stream {
    number: u64,
    opening: Opening,
    account: Account,
    state: Mutex<State>,
}

/// Stream numbers go on where the last run of hub cannot have been: an id from before a restart never names a new stream.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut number = NEXT.fetch_add(1, Ordering::Relaxed);
    if number < 1 << 16 {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        NEXT.fetch_max(since_epoch.as_secs() << 16, Ordering::Relaxed);
        number = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    number
}

impl Stream {
    /// A stream that nobody reads yet. Its bytes count in `account`.
    pub fn open(opening: Opening, account: Account, now: Instant) -> Arc<Self> {
        let state = State {
            ring: Ring::new(opening.resumable),
            lone: None,
            committed: opening.form == Form::Events,
            waiting: opening.responses,
            closed: false,
            finished_at: None,
            reader: None,
            readers: 0,
            waker: None,
            unread_since: Some(now),
            progress: Vec::new(),
        };
        Arc::new(Self { number: next_number(), opening, account, state: Mutex::new(state) })
    }

    /// Unique over all sessions and runs of hub.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What it is for.
    pub fn kind(&self) -> Kind {
        self.opening.kind
    }

    /// Whether a child may ask something on it.
    pub fn takes_asks(&self) -> bool {
        self.opening.form != Form::Json
    }

    /// The id of an event; `None` where events carry none.
    pub fn event_id(&self, seq: u64) -> Option<EventId> {
        self.opening.resumable.then_some(EventId { kind: self.opening.kind, stream: self.number, seq })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    /// Changes the state, keeps the account, and wakes the reader after the lock is released.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let before = state.ring.byte_len();
        let value = change(&mut state);
        let after = state.ring.byte_len();
        let waker = state.waker.take();
        drop(state);
        self.account.moved(before, after);
        if let Some(waker) = waker {
            waker.wake();
        }
        value
    }

    // --- what outlets call -------------------------------------------------------------------------------------

    /// A message before or beside the responses. `false` if it was not taken.
    pub fn send(&self, weight: Weight, message: Bytes) -> bool {
        if self.opening.form == Form::Json {
            return false;
        }
        self.change(|state| state.push(weight, [message, Bytes::new(), Bytes::new()]))
    }

    /// As [`Self::send`], unless the reader has yet to read the very same message.
    pub fn send_once(&self, weight: Weight, message: Bytes) -> bool {
        if self.lock().ring.is_waiting(&message) {
            return true;
        }
        self.send(weight, message)
    }

    /// A response. After the last one the stream is over.
    pub fn respond(&self, call: Option<CallId>, id: &RequestId, outcome: &Outcome) {
        self.respond_in_pieces(call, response_pieces(id, outcome));
    }

    /// The same, already in an envelope.
    pub fn respond_in_pieces(&self, call: Option<CallId>, pieces: Pieces) {
        let now = Instant::now();
        self.change(|state| {
            if state.closed {
                return;
            }
            state.progress.retain(|progress| Some(progress.call) != call);
            state.answered(now);
            if state.waiting == 0 && !state.committed && state.ring.last_seq() == 0 && self.opening.responses == 1 {
                state.lone = Some(pieces);
            } else {
                state.push(Weight::Response, detached(pieces));
            }
        });
    }

    /// A response that will never come: its call was cancelled.
    pub fn respond_never(&self, call: CallId) {
        let now = Instant::now();
        self.change(|state| {
            state.progress.retain(|progress| progress.call != call);
            state.answered(now);
        });
    }

    /// Remembers the progress token of a call, raw as the client wrote it.
    pub fn expect_progress(&self, call: CallId, token: Raw) {
        self.lock().progress.push(Progress::new(call, token, Instant::now()));
    }

    /// A child's progress params for a call.
    pub fn progress(&self, call: CallId, params: &Raw) {
        if self.opening.form == Form::Json {
            return;
        }
        let now = Instant::now();
        self.change(|state| {
            if state.ring.is_behind() {
                return;
            }
            let Some(progress) = state.progress.iter_mut().find(|progress| progress.call == call) else { return };
            if let Some(params) = progress.from_server(params, now) {
                state.push_light(&Method::Progress, &params);
            }
        });
    }

    /// Ends the stream at once; what it still held is gone.
    pub fn close(&self) {
        let now = Instant::now();
        self.change(|state| {
            state.closed = true;
            state.finished_at.get_or_insert(now);
            state.ring.clear();
        });
    }

    // --- what the session's keeping calls ----------------------------------------------------------------------

    /// Whether somebody reads it now.
    pub fn is_read(&self) -> bool {
        self.lock().reader.is_some()
    }

    /// Since when nobody reads it.
    pub fn unread_since(&self) -> Option<Instant> {
        self.lock().unread_since
    }

    /// Since when all its responses are there.
    pub fn finished_at(&self) -> Option<Instant> {
        self.lock().finished_at
    }

    /// Drops what was read already.
    pub fn drop_history(&self) {
        self.change(|state| state.ring.drop_history());
    }

    // --- what readers call -------------------------------------------------------------------------------------

    /// Becomes the reader; the one before, if any, reads the end.
    pub fn attach(self: &Arc<Self>) -> Reader {
        let number = self.change(|state| {
            state.readers += 1;
            (state.reader, state.unread_since) = (Some(state.readers), None);
            state.readers
        });
        Reader { stream: self.clone(), number }
    }

    /// Becomes the reader after a lost connection and goes on after `seq`. `None` if that cannot be done exactly, or
    /// there is nothing left to say.
    pub fn resume(self: &Arc<Self>, seq: u64) -> Option<Reader> {
        let possible = {
            let mut state = self.lock();
            let more_to_come = state.finished_at.is_none() || seq < state.ring.last_seq();
            match self.opening.kind {
                Kind::Get if !state.closed => {
                    state.ring.rewind_leniently(seq);
                    true
                }
                _ => !state.closed && state.committed && more_to_come && state.ring.rewind(seq),
            }
        };
        possible.then(|| self.attach())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let held = self.state.get_mut().map_or(0, |state| state.ring.byte_len());
        self.account.moved(held, 0);
    }
}

/// A small slice must not keep the large read buffer alive that it was cut from.
fn detached(pieces: Pieces) -> Pieces {
    let is_one = pieces[1].is_empty() && pieces[2].is_empty();
    if is_one || byte_len(&pieces) >= COPY_BELOW {
        return pieces;
    }
    [Bytes::from(pieces.concat()), Bytes::new(), Bytes::new()]
}

const COPY_BELOW: usize = 16 << 10;

impl State {
    fn push(&mut self, weight: Weight, pieces: Pieces) -> bool {
        if self.closed || (self.finished_at.is_some() && weight != Weight::Response) {
            return false;
        }
        if weight != Weight::Response {
            self.committed = true;
        }
        match self.ring.push(weight, pieces) {
            Pushed::Queued => true,
            Pushed::Dropped => false,
            Pushed::Overflow => {
                // Too slow: this connection ends, a new one can resume.
                self.reader = None;
                true
            }
        }
    }

    fn push_light(&mut self, method: &Method, params: &Raw) {
        self.push(Weight::Light, [notification_bytes(method, Some(params)), Bytes::new(), Bytes::new()]);
    }

    fn answered(&mut self, now: Instant) {
        if self.waiting > 0 {
            self.waiting -= 1;
            if self.waiting == 0 {
                self.finished_at = Some(now);
            }
        }
    }
}

/// The one who reads a stream now. Dropping it leaves the stream to be resumed.
#[derive(Debug)]
pub struct Reader {
    stream: Arc<Stream>,
    number: u64,
}

impl Reader {
    /// What it reads.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// What the stream turns out to be.
    pub fn poll_first(&self, context: &mut Context<'_>) -> Poll<First> {
        let mut state = self.stream.lock();
        if let Some(pieces) = state.lone.take() {
            return Poll::Ready(First::One(pieces));
        }
        if state.committed {
            return Poll::Ready(First::Events);
        }
        if state.finished_at.is_some() {
            let responses: Vec<Pieces> = std::iter::from_fn(|| state.ring.take()).map(|entry| entry.pieces).collect();
            if responses.is_empty() {
                return Poll::Ready(First::Nothing);
            }
            if self.stream.opening.form == Form::Json {
                return Poll::Ready(First::All(responses));
            }
            state.ring.rewind_leniently(0);
            state.committed = true;
            return Poll::Ready(First::Events);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Nothing came for a while: events, unless the client takes only JSON. `false` for those.
    pub fn commit(&self) -> bool {
        if self.stream.opening.form == Form::Json {
            return false;
        }
        let mut state = self.stream.lock();
        state.committed = true;
        if let Some(pieces) = state.lone.take() {
            drop(state);
            self.stream.change(|state| state.push(Weight::Response, detached(pieces)));
        }
        true
    }

    /// The next event; `None` at the end.
    pub fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Entry>> {
        let mut state = self.stream.lock();
        if state.reader != Some(self.number) {
            return Poll::Ready(None);
        }
        let before = state.ring.byte_len();
        if let Some(entry) = state.ring.take() {
            let after = state.ring.byte_len();
            drop(state);
            self.stream.account.moved(before, after);
            return Poll::Ready(Some(entry));
        }
        if state.closed || state.finished_at.is_some() {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether somebody else reads it now, or nobody because this reader was too slow.
    pub fn is_cut_off(&self) -> bool {
        self.stream.lock().reader != Some(self.number)
    }

    /// When silence of a call has lasted too long, unless something comes before.
    pub fn next_beat(&self, silence: Duration) -> Option<Instant> {
        self.stream.lock().progress.iter().map(|progress| progress.heard + silence).min()
    }

    /// Sends a sign of life for each call that was silent too long.
    pub fn beat(&self, silence: Duration, now: Instant) {
        self.stream.change(|state| {
            let mut due = Vec::new();
            for progress in state.progress.iter_mut().filter(|progress| progress.heard + silence <= now) {
                due.push(progress.beat(now));
            }
            for params in due {
                state.push_light(&Method::Progress, &params);
            }
        });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.stream.lock();
        if state.reader == Some(self.number) || state.reader.is_none() {
            state.reader = None;
            state.waker = None;
            state.unread_since.get_or_insert_with(Instant::now);
        }
    }
}

#[cfg(test)]
mod tests;

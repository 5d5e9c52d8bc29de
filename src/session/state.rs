//! One session: its identity and everything that belongs to it alone.
//!
//! In: requests of its client (through `dispatch`), deliveries (through `call` and `outlet`). Out: messages on its
//! streams. Owns its calls in flight, asks, streams, outbox, and its bindings to instances. May not: hold its lock while
//! it waits; the order of locks is session, then stream.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::aggregate::Aggregate;
use crate::bridge::capabilities::client_to_modern;
use crate::config::ServerName;
use crate::limits::{GET_STREAMS_MAX, POST_STREAMS_MAX};
use crate::mcp::message::notification_bytes;
use crate::mcp::meta::Level;
use crate::mcp::{ClientCapabilities, Era, Method, ProtocolVersion, Raw, RequestId};
use crate::server::{AskId, CallId, CallerId, Client, InstanceHandle, ServerHandle};

use super::call::Call;
use super::durable::{Kept, Subscriptions, unix_now};
use super::endpoint_id::EndpointId;
use super::event_id::EventId;
use super::negotiate::Hello;
use super::outbox::{About, Outbox};
use super::replay::Account;
use super::ring::Weight;
use super::stream::{Form, Kind, Opening, Reader, Stream};
use super::table::Shared;

/// How a session's messages travel. Ids of the two are not interchangeable (PROTOCOL 1.20).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP.
    Streamable,
    /// HTTP+SSE of 2024-11-05: one stream for everything.
    Sse,
}

/// A session's place at one instance.
#[derive(Debug)]
pub struct Binding {
    /// Tells bindings of one session apart: asks are numbered per instance.
    pub number: u64,
    /// The server.
    pub server: ServerHandle,
    /// The instance that serves this session.
    pub instance: InstanceHandle,
    /// For sessions of the aggregate: who rewrites what comes from this server.
    pub aggregate: Option<Arc<Aggregate>>,
}

/// A child's request that this session's client works on.
#[derive(Debug)]
pub(super) struct OpenAsk {
    pub(super) binding: Arc<Binding>,
    pub(super) ask: AskId,
    pub(super) method: Method,
    /// The stream it went out on.
    pub(super) stream: Weak<Stream>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ended: bool,
    pub(super) level: Option<Level>,
    pub(super) subscriptions: Subscriptions,
    /// Level or subscriptions changed since they were last written down; somebody is writing them down.
    pub(super) unkept: bool,
    pub(super) keeping: bool,
    pub(super) in_flight: HashMap<RequestId, Arc<Call>>,
    pub(super) asks: BTreeMap<u64, OpenAsk>,
    pub(super) last_ask: u64,
    pub(super) bindings: HashMap<ServerName, Arc<OnceCell<Arc<Binding>>>>,
    /// GET streams, oldest first.
    gets: Vec<Arc<Stream>>,
    /// POST streams that carry ids, oldest first.
    posts: VecDeque<Arc<Stream>>,
    outbox: Outbox,
}

/// See the module's header.
pub struct Session {
    /// What the client sends in `Mcp-Session-Id`.
    pub(super) id: Arc<str>,
    pub(super) endpoint: EndpointId,
    pub(super) transport: Transport,
    pub(super) caller: CallerId,
    pub(super) hello: OnceLock<Hello>,
    pub(super) shared: Arc<Shared>,
    pub(super) replay: Account,
    /// Milliseconds between the table's start and the last use.
    used: AtomicU64,
    /// The last use that the store knows of.
    kept_use: AtomicU64,
    state: Mutex<State>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("endpoint", &self.endpoint)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(
        id: Arc<str>,
        endpoint: EndpointId,
        transport: Transport,
        shared: Arc<Shared>,
        hello: Option<Hello>,
    ) -> Arc<Self> {
        Self::with_state(id, endpoint, transport, shared, hello, State::default())
    }

    /// A session of an earlier run. What went on in it then ended with that run.
    pub(super) fn restored(id: Arc<str>, shared: Arc<Shared>, kept: Kept) -> Arc<Self> {
        let state = State {
            level: kept.level,
            subscriptions: kept.subscriptions,
            // A late answer to an ask of the earlier run must not answer one of this run.
            last_ask: u64::try_from(unix_now()).unwrap_or(0) << 8,
            ..State::default()
        };
        Self::with_state(id, kept.endpoint, Transport::Streamable, shared, Some(kept.hello), state)
    }

    fn with_state(
        id: Arc<str>,
        endpoint: EndpointId,
        transport: Transport,
        shared: Arc<Shared>,
        hello: Option<Hello>,
        state: State,
    ) -> Arc<Self> {
        Arc::new(Self {
            hello: hello.map_or_else(OnceLock::new, OnceLock::from),
            id,
            endpoint,
            transport,
            caller: CallerId(crate::server::next_id()),
            replay: Account::new(shared.replay.clone()),
            shared,
            used: AtomicU64::new(0),
            kept_use: AtomicU64::new(0),
            state: Mutex::new(state),
        })
    }

    /// Its id, a secret of its client.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Where it belongs.
    pub fn endpoint(&self) -> &EndpointId {
        &self.endpoint
    }

    /// How its messages travel.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// What its client said in `initialize`; `None` before that (HTTP+SSE only).
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.get()
    }

    /// What instances know of it; `level` is what it set last.
    pub(super) fn client(&self, level: Option<Level>) -> Arc<Client> {
        let Some(hello) = self.hello() else { return Arc::new(Client::legacy(ClientCapabilities::default(), level)) };
        Arc::new(Client {
            era: Era::Legacy,
            can: hello.capabilities,
            capabilities: client_to_modern(&hello.raw_capabilities),
            info: Some(hello.client_info.clone()),
            level,
        })
    }

    /// Its revision; before `initialize` (HTTP+SSE only) the oldest.
    pub fn version(&self) -> ProtocolVersion {
        self.hello().map_or(ProtocolVersion::V2024_11_05, |hello| hello.version)
    }

    /// Whether events carry ids: from 2025-03-26 on, unless `replay_ttl` is zero.
    fn is_resumable(&self) -> bool {
        self.transport == Transport::Streamable
            && self.version() > ProtocolVersion::V2024_11_05
            && !self.shared.options().replay_ttl.is_zero()
    }

    /// The short form for logs: enough to tell sessions apart, too little to use one.
    pub fn log_name(&self) -> &str {
        self.id.get(..8).unwrap_or_default()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    /// Whether it ended; nothing can be done with it any more.
    pub fn is_ended(&self) -> bool {
        self.lock().ended
    }

    // --- streams -----------------------------------------------------------------------------------------------

    /// A stream for the responses of one POST.
    pub fn open_post(&self, form: Form, responses: usize) -> Arc<Stream> {
        let resumable = form != Form::Json && self.is_resumable();
        let opening = Opening { kind: Kind::Post, form, resumable, responses };
        Stream::open(opening, self.replay.clone(), Instant::now())
    }

    /// The client has an id of this stream now: it stays findable for a resume.
    pub fn remember(&self, stream: &Arc<Stream>) {
        if stream.event_id(0).is_none() {
            return;
        }
        let surplus = {
            let mut state = self.lock();
            state.posts.push_back(stream.clone());
            let done = |stream: &Arc<Stream>| stream.finished_at().is_some() && !stream.is_read();
            let index = if state.posts.len() > POST_STREAMS_MAX { state.posts.iter().position(done) } else { None };
            index.and_then(|index| state.posts.remove(index))
        };
        drop(surplus);
        self.shared.replay.remember(stream);
    }

    /// Opens a stream for messages that belong to no request; what waited goes out on it at once.
    pub fn open_get(&self) -> Option<Reader> {
        let mut state = self.lock();
        if state.ended {
            return None;
        }
        let resumable = self.is_resumable();
        let opening = Opening { kind: Kind::Get, form: Form::Events, resumable, responses: 0 };
        let stream = Stream::open(opening, self.replay.clone(), Instant::now());
        let reader = stream.attach();
        state.gets.push(stream.clone());
        state.flush_outbox(&stream);
        // One that nobody reads goes before one that is read: a client with many must not reconnect in circles.
        let unread = state.gets.iter().position(|stream| !stream.is_read()).unwrap_or(0);
        let surplus = (state.gets.len() > GET_STREAMS_MAX).then(|| state.gets.remove(unread));
        drop(state);
        if let Some(oldest) = surplus {
            oldest.close();
        }
        Some(reader)
    }

    /// Takes a lost stream up again after the event the client saw last. `None`: there is nothing to take up.
    pub fn resume(&self, last: EventId) -> Option<Reader> {
        let mut state = self.lock();
        let mut streams = state.gets.iter().chain(&state.posts);
        let stream = streams.find(|stream| stream.number() == last.stream && stream.kind() == last.kind)?.clone();
        let ttl = self.shared.options().replay_ttl;
        if stream.finished_at().is_some_and(|at| at + ttl <= Instant::now()) {
            return None;
        }
        let reader = stream.resume(last.seq)?;
        if last.kind == Kind::Get {
            state.flush_outbox(&stream);
        }
        Some(reader)
    }

    /// The newest GET stream that somebody reads.
    pub(super) fn listening(&self) -> Option<Arc<Stream>> {
        self.lock().listening()
    }

    /// A message that belongs to no request: to the newest GET stream, or kept for the next.
    pub(super) fn tell(&self, method: &Method, params: Option<&Raw>) {
        let weight = if *method == Method::LogMessage { Weight::Light } else { Weight::Kept };
        let message = notification_bytes(method, params);
        let mut state = self.lock();
        if state.ended {
            return;
        }
        let taken = state.listening().is_some_and(|stream| stream.send(weight, message.clone()));
        if !taken {
            state.outbox.put(About::of(method, params), weight, message);
        }
        drop(state);
        self.make_room();
    }

    /// Keeps what streams hold for a resume within its bounds: finished streams go first, then what was read.
    pub(super) fn make_room(&self) {
        if self.replay.is_over() {
            let (posts, gets) = {
                let state = self.lock();
                (state.posts.clone(), state.gets.clone())
            };
            let finished = posts.iter().filter(|stream| stream.finished_at().is_some() && !stream.is_read());
            for stream in finished {
                if !self.replay.is_over() {
                    break;
                }
                stream.close();
            }
            for stream in posts.iter().chain(&gets) {
                if !self.replay.is_over() {
                    break;
                }
                stream.drop_history();
            }
        }
        self.replay.hub().make_room(Instant::now());
    }

    // --- calls and asks ----------------------------------------------------------------------------------------

    /// Takes a call out of the table; `false` if it was cancelled or ended before.
    pub(super) fn finish(&self, id: &RequestId, call: CallId) -> bool {
        let mut state = self.lock();
        match state.in_flight.remove_entry(id) {
            Some((_, known)) if known.number == call => true,
            // Another one of the same id, begun since.
            Some((id, other)) => {
                state.in_flight.insert(id, other);
                false
            }
            None => false,
        }
    }

    /// Numbers an ask as this session's client will see it.
    pub(super) fn open_ask(&self, ask: OpenAsk) -> Option<u64> {
        let mut state = self.lock();
        if state.ended {
            return None;
        }
        state.last_ask += 1;
        let number = state.last_ask;
        state.asks.insert(number, ask);
        Some(number)
    }

    /// A child took an ask back: its client is told, where it was asked.
    pub(super) fn withdraw_ask(&self, binding: u64, ask: AskId) {
        let mut state = self.lock();
        let found = state.asks.iter().find(|(_, open)| open.binding.number == binding && open.ask == ask);
        let Some(number) = found.map(|(number, _)| *number) else { return };
        let stream = state.asks.remove(&number).and_then(|open| open.stream.upgrade());
        drop(state);
        let params = Raw::from(format!("{{\"requestId\":{number}}}"));
        let message = notification_bytes(&Method::Cancelled, Some(&params));
        if !stream.is_some_and(|stream| stream.send(Weight::Kept, message)) {
            self.tell(&Method::Cancelled, Some(&params));
        }
    }

    pub(super) fn take_ask(&self, number: u64) -> Option<OpenAsk> {
        self.lock().asks.remove(&number)
    }

    // --- keeping -----------------------------------------------------------------------------------------------

    /// Notes a use.
    pub(super) fn touch(&self) {
        self.used.store(self.millis(Instant::now()), Ordering::Relaxed);
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.shared.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether a request came within `span`.
    pub(super) fn was_asked_within(&self, span: Duration) -> bool {
        self.shared.started + Duration::from_millis(self.used.load(Ordering::Relaxed)) + span > Instant::now()
    }

    /// When it was last used: a request came, or a stream was read.
    pub(super) fn used(&self) -> Instant {
        let touched = self.shared.started + Duration::from_millis(self.used.load(Ordering::Relaxed));
        let state = self.lock();
        let read = state.gets.iter().chain(&state.posts).filter_map(|stream| stream.unread_since()).max();
        read.map_or(touched, |read| read.max(touched))
    }

    /// Its last use, if the store is more than `lag` behind; from now on the store knows it.
    pub(super) fn use_to_keep(&self, lag: Duration) -> Option<Instant> {
        let used = self.used();
        let kept = self.shared.started + Duration::from_millis(self.kept_use.load(Ordering::Relaxed));
        (used.saturating_duration_since(kept) > lag).then(|| {
            self.kept_use.store(self.millis(used), Ordering::Relaxed);
            used
        })
    }

    /// Ends the streams that wait for nothing in particular, as a lost connection would; the session goes on.
    pub(super) fn close_gets(&self) {
        let gets = std::mem::take(&mut self.lock().gets);
        for stream in gets {
            stream.close();
        }
    }

    /// Whether something of it goes on: a call, or a stream that is read.
    pub fn is_busy(&self) -> bool {
        let state = self.lock();
        !state.in_flight.is_empty() || state.gets.iter().chain(&state.posts).any(|stream| stream.is_read())
    }

    /// Forgets streams that nobody took up again in time, and returns calls whose client went away that long ago.
    pub(super) fn sweep(&self, now: Instant, replay: Duration, patience: Duration) -> Vec<Arc<Call>> {
        let late = |since: Option<Instant>, by: Duration| since.is_some_and(|since| since + by <= now);
        let mut state = self.lock();
        state.posts.retain(|stream| stream.is_read() || !late(stream.finished_at(), replay));
        state.gets.retain(|stream| !late(stream.unread_since(), replay));
        state.in_flight.values().filter(|call| late(call.stream.unread_since(), patience)).cloned().collect()
    }

    /// Marks it ended and returns what must be told: its bindings.
    pub(super) fn end(&self) -> Option<Vec<Arc<Binding>>> {
        let (bindings, streams) = {
            let mut state = self.lock();
            if std::mem::replace(&mut state.ended, true) {
                return None;
            }
            let calls: Vec<Arc<Call>> = state.in_flight.drain().map(|(_, call)| call).collect();
            let mut streams: Vec<Arc<Stream>> = calls.iter().map(|call| call.stream.clone()).collect();
            streams.append(&mut state.gets);
            streams.extend(state.posts.drain(..));
            state.asks.clear();
            let bindings: Vec<Arc<Binding>> =
                state.bindings.drain().filter_map(|(_, cell)| cell.get().cloned()).collect();
            (bindings, streams)
        };
        for stream in streams {
            stream.close();
        }
        Some(bindings)
    }
}

impl State {
    fn listening(&self) -> Option<Arc<Stream>> {
        self.gets.iter().rev().find(|stream| stream.is_read()).cloned()
    }

    fn flush_outbox(&mut self, stream: &Stream) {
        for (weight, message) in self.outbox.drain() {
            stream.send(weight, message);
        }
    }
}

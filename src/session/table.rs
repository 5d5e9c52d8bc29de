//! All sessions by id: created, found, expired, ended.
//!
//! In: `initialize` params, ids of requests. Out: sessions. Owns the table of this run; ids of earlier runs are found in
//! the store. May not: hold its lock while it waits; give out an id that can be guessed, or one that is not kept yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::aggregate::ChangeCounts;
use crate::config::HubSpec;
use crate::limits::{REPLAY_TTL, SESSION_EXPIRY, SESSION_TOUCH_EVERY, SESSIONS_MAX};
use crate::mcp::error::Reason;
use crate::mcp::{ErrorObject, Method, Raw};
use crate::store::Store;
use crate::tasks::Scope;

use super::dispatch::Target;
use super::durable::{self, Durable, Kept};
use super::endpoint_id::EndpointId;
use super::negotiate::{self, Hello};
use super::replay;
use super::state::{Session, Transport};

/// How long sessions and streams are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A session without any use ends after this long (`[hub] session_expiry`).
    pub expiry: Duration,
    /// Over it the idlest session ends (`[hub] sessions_max`).
    pub max: usize,
    /// A finished stream can be resumed this long (`[hub] replay_ttl`); zero turns event ids off.
    pub replay_ttl: Duration,
    /// A call whose client went away is cancelled after this long (PROTOCOL 1.5).
    pub abandon_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { expiry: SESSION_EXPIRY, max: SESSIONS_MAX, replay_ttl: REPLAY_TTL, abandon_after: REPLAY_TTL }
    }
}

impl From<&HubSpec> for Options {
    fn from(hub: &HubSpec) -> Self {
        Self {
            expiry: hub.session_expiry,
            max: hub.sessions_max,
            replay_ttl: hub.replay_ttl,
            abandon_after: hub.replay_ttl.max(REPLAY_TTL),
        }
    }
}

/// What all sessions of a table use.
#[derive(Debug)]
pub(super) struct Shared {
    options: Mutex<Options>,
    /// Uses are counted from here.
    pub(super) started: Instant,
    pub(super) scope: Scope,
    pub(super) replay: Arc<replay::Hub>,
    pub(super) durable: Durable,
}

impl Shared {
    pub(super) fn options(&self) -> Options {
        *self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's header.
#[derive(Debug)]
pub struct Sessions {
    shared: Arc<Shared>,
    sessions: RwLock<HashMap<Arc<str>, Arc<Session>>>,
    /// When the store was last looked through.
    looked: Mutex<Option<Instant>>,
}

impl Sessions {
    /// The sessions of this run, and those that `store` kept of earlier ones. What they start runs in `scope`.
    pub fn new(options: Options, store: Option<Store>, scope: Scope) -> Arc<Self> {
        let shared = Shared {
            options: Mutex::new(options),
            started: Instant::now(),
            scope,
            replay: Arc::default(),
            durable: Durable(store),
        };
        Arc::new(Self { shared: Arc::new(shared), sessions: RwLock::default(), looked: Mutex::new(None) })
    }

    /// Where the tasks of sessions run.
    pub fn scope(&self) -> &Scope {
        &self.shared.scope
    }

    /// What a reload changed; holds from now on.
    pub fn set_options(&self, options: Options) {
        *self.shared.options.lock().unwrap_or_else(PoisonError::into_inner) = options;
    }

    // --- opening and finding -----------------------------------------------------------------------------------

    /// Answers an `initialize` and opens a session for it.
    pub async fn initialize(
        &self,
        endpoint: &EndpointId,
        target: &Target,
        params: Option<&Raw>,
    ) -> Result<(Arc<Session>, Raw), ErrorObject> {
        let hello = Hello::parse(params)?;
        let handshake = target.handshake().await?;
        let answer = negotiate::answer(hello.version, &handshake);
        let id = new_id()?;
        self.shared.durable.put(&id, &durable::kept(endpoint, &hello)).await;
        let session = Session::new(id, endpoint.clone(), Transport::Streamable, self.shared.clone(), Some(hello));
        self.admit(&session).await;
        Ok((session, answer))
    }

    /// Opens a session of HTTP+SSE, whose `initialize` comes later. It lasts as long as its stream, so it is not kept.
    pub async fn open_sse(&self, endpoint: &EndpointId) -> Result<Arc<Session>, ErrorObject> {
        let session = Session::new(new_id()?, endpoint.clone(), Transport::Sse, self.shared.clone(), None);
        self.admit(&session).await;
        Ok(session)
    }

    async fn admit(&self, session: &Arc<Session>) {
        session.touch();
        tracing::debug!(session = session.log_name(), endpoint = %session.endpoint(), "session opened");
        let surplus = {
            let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
            sessions.insert(session.id().clone(), session.clone());
            if sessions.len() > self.shared.options().max { idlest(&sessions, session) } else { None }
        };
        if let Some(idlest) = surplus {
            tracing::info!(session = idlest.log_name(), "sessions_max is reached: the idlest session ends");
            self.end(&idlest).await;
        }
    }

    /// The live session of that id at that endpoint and transport; using it keeps it from expiring.
    pub async fn find(&self, id: &str, endpoint: &EndpointId, transport: Transport) -> Option<Arc<Session>> {
        let session = match self.in_memory(id) {
            Some(session) => session,
            None => self.restore(id).await?,
        };
        if session.endpoint != *endpoint || session.transport != transport {
            return None;
        }
        if self.is_idle_too_long(&session) {
            self.end(&session).await;
            return None;
        }
        session.touch();
        Some(session)
    }

    fn is_idle_too_long(&self, session: &Session) -> bool {
        let expiry = self.shared.options().expiry;
        // The first is cheap, and nearly always decides.
        !session.was_asked_within(expiry) && !session.is_busy() && session.used() + expiry <= Instant::now()
    }

    fn in_memory(&self, id: &str) -> Option<Arc<Session>> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// A session that an earlier run of hub gave out.
    async fn restore(&self, id: &str) -> Option<Arc<Session>> {
        if id.len() != ID_TEXT_BYTES {
            return None;
        }
        let kept = self.shared.durable.get(id).await?;
        if self.is_expired(&kept) {
            self.shared.durable.delete(id).await;
            return None;
        }
        let session = Session::restored(id.into(), self.shared.clone(), kept);
        let session = {
            let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
            // Somebody else may have been faster.
            sessions.entry(session.id().clone()).or_insert(session).clone()
        };
        // It may have ended between the look into the store and now.
        if self.shared.durable.get(id).await.is_none() {
            self.end(&session).await;
            return None;
        }
        tracing::debug!(session = session.log_name(), endpoint = %session.endpoint(), "session of an earlier run");
        Some(session)
    }

    fn is_expired(&self, kept: &Kept) -> bool {
        kept.last_used < durable::unix_now().saturating_sub(as_seconds(self.shared.options().expiry))
    }

    // --- ending ------------------------------------------------------------------------------------------------

    /// Ends a session for good: its calls are cancelled, its asks fail, its streams close, its id is never valid again.
    pub async fn end(&self, session: &Arc<Session>) {
        if session.transport == Transport::Streamable {
            self.shared.durable.delete(session.id()).await;
        }
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).remove(session.id());
        let Some(bindings) = session.end() else { return };
        tracing::debug!(session = session.log_name(), "session ended");
        for binding in bindings {
            // A server that takes nothing must not hold up whoever ends a session of it.
            let (caller, id) = (session.caller, session.id().clone());
            drop(self.shared.scope.spawn("leave", async move {
                binding.instance.close(caller).await;
                binding.server.release(id).await;
            }));
        }
    }

    /// hub stops: streams that wait for nothing in particular end, responses still find theirs, every session goes on in
    /// the next run.
    pub fn suspend(&self) {
        let all = self.all();
        self.keep_uses(&all, Duration::ZERO);
        for session in all {
            session.close_gets();
        }
    }

    /// The endpoints of sessions that somebody seems to sit behind: a stream is read, a call runs, or they were used
    /// within `recent`. Clients that go away without a word leave sessions that are none of these.
    pub fn in_use(&self, recent: Duration) -> Vec<EndpointId> {
        let now = Instant::now();
        let sessions = self.all();
        let in_use = sessions.iter().filter(|session| session.used() + recent >= now || session.is_busy());
        in_use.map(|session| session.endpoint().clone()).collect()
    }

    /// How many sessions are in memory.
    pub fn len(&self) -> usize {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn all(&self) -> Vec<Arc<Session>> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    // --- keeping -----------------------------------------------------------------------------------------------

    /// Keeps the table until `stop`: expires sessions and streams, cancels calls whose client went away.
    pub async fn keep(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.sweep().await,
            }
        }
    }

    /// Tells the sessions of the aggregate when a merged list changed, until `stop`.
    pub async fn follow(self: Arc<Self>, mut changes: watch::Receiver<ChangeCounts>, stop: CancellationToken) {
        let mut seen = *changes.borrow_and_update();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            let now = *changes.borrow_and_update();
            let kinds = [
                (seen.tools != now.tools, Method::ToolsChanged),
                (seen.prompts != now.prompts, Method::PromptsChanged),
                (seen.resources != now.resources, Method::ResourcesChanged),
            ];
            seen = now;
            for session in self.all().iter().filter(|session| *session.endpoint() == EndpointId::Aggregate) {
                for (_, method) in kinds.iter().filter(|(changed, _)| *changed) {
                    session.tell(method, None);
                }
            }
        }
    }

    /// One round of [`Self::keep`].
    pub async fn sweep(&self) {
        let (all, options) = (self.all(), self.shared.options());
        let now = Instant::now();
        for session in &all {
            for call in session.sweep(now, options.replay_ttl, options.abandon_after) {
                tracing::info!(session = session.log_name(), method = call.method.name(), "client is gone: cancelled");
                call.cancel(Some("the client went away".into())).await;
            }
            if self.is_idle_too_long(session) {
                tracing::info!(session = session.log_name(), "session expired");
                self.end(session).await;
            } else if session.is_busy() {
                session.touch();
            }
        }
        self.keep_uses(&all, SESSION_TOUCH_EVERY);
        self.sweep_store(now, options).await;
    }

    /// Writes down the last uses that the store is more than `lag` behind with.
    fn keep_uses(&self, all: &[Arc<Session>], lag: Duration) {
        let (now, unix) = (Instant::now(), durable::unix_now());
        let behind = all.iter().filter(|session| session.transport == Transport::Streamable && !session.is_ended());
        let touches = behind.filter_map(|session| {
            let used = session.use_to_keep(lag)?;
            Some((session.id().to_string(), unix - as_seconds(now.saturating_duration_since(used))))
        });
        self.shared.durable.touch(touches.collect());
    }

    /// Forgets kept sessions that nobody came back for.
    async fn sweep_store(&self, now: Instant, options: Options) {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.is_some_and(|last| now < last + SESSION_TOUCH_EVERY) {
                return;
            }
            *looked = Some(now);
        }
        let known = self.shared.durable.known().await;
        let surplus = known.len().saturating_sub(options.max);
        let oldest = durable::unix_now().saturating_sub(as_seconds(options.expiry));
        let sleeping = known.into_iter().filter(|(id, _)| self.in_memory(id).is_none());
        for (index, (id, last_used)) in sleeping.enumerate() {
            if index < surplus || last_used < oldest {
                self.shared.durable.delete(&id).await;
            }
        }
    }
}

fn as_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// The session that was used least recently, but not `newest`, and none that is busy if there is another.
fn idlest(sessions: &HashMap<Arc<str>, Arc<Session>>, newest: &Arc<Session>) -> Option<Arc<Session>> {
    let others = sessions.values().filter(|session| !Arc::ptr_eq(session, newest));
    others.min_by_key(|session| (session.is_busy(), session.used())).cloned()
}

/// Random bytes of an id (PROTOCOL 1.15), and their length as base64url.
const ID_BYTES: usize = 32;
const ID_TEXT_BYTES: usize = (ID_BYTES * 4).div_ceil(3);

/// An id that nobody guesses.
pub(super) fn new_id() -> Result<Arc<str>, ErrorObject> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!("no random numbers: {error}");
        ErrorObject::internal(Reason::Overloaded, "the operating system gave no random numbers")
    })?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

#[cfg(test)]
mod tests;

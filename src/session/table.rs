//! All sessions by id: created, found, expired, ended.
//!
//! In: `initialize` params, ids of requests. Out: sessions. Owns the table. May not: hold its lock while it waits; give
//! out an id that can be guessed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits::{REPLAY_TTL, SESSION_EXPIRY, SESSIONS_MAX};
use crate::mcp::error::Reason;
use crate::mcp::{ErrorObject, Raw};
use crate::tasks::Scope;

use super::dispatch::Target;
use super::endpoint_id::EndpointId;
use super::negotiate::{self, Hello};
use super::replay;
use super::state::{Session, Transport};

/// How long sessions and streams are kept.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A session without any use ends after this long (`[hub] session_expiry`).
    pub expiry: Duration,
    /// Over it the idlest session ends (`[hub] sessions_max`).
    pub max: usize,
    /// A finished stream can be resumed this long, and a call whose client went away is cancelled after this long
    /// (`[hub] replay_ttl`).
    pub replay_ttl: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { expiry: SESSION_EXPIRY, max: SESSIONS_MAX, replay_ttl: REPLAY_TTL }
    }
}

/// See the module's header.
#[derive(Debug)]
pub struct Sessions {
    options: Options,
    scope: Scope,
    started: Instant,
    replay: Arc<replay::Hub>,
    sessions: RwLock<HashMap<Arc<str>, Arc<Session>>>,
}

impl Sessions {
    /// An empty table; what its sessions start runs in `scope`.
    pub fn new(options: Options, scope: Scope) -> Arc<Self> {
        Arc::new(Self { options, scope, started: Instant::now(), replay: Arc::default(), sessions: RwLock::default() })
    }

    /// Where the tasks of sessions run.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

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
        let session = self.create(endpoint, target, Transport::Streamable, Some(hello)).await?;
        Ok((session, answer))
    }

    /// Opens a session of HTTP+SSE, whose `initialize` comes later.
    pub async fn open_sse(&self, endpoint: &EndpointId, target: &Target) -> Result<Arc<Session>, ErrorObject> {
        self.create(endpoint, target, Transport::Sse, None).await
    }

    async fn create(
        &self,
        endpoint: &EndpointId,
        target: &Target,
        transport: Transport,
        hello: Option<Hello>,
    ) -> Result<Arc<Session>, ErrorObject> {
        let id = new_id()?;
        let account = replay::Account::new(self.replay.clone());
        let session = Session::new(id, endpoint.clone(), transport, self.scope.clone(), account, hello);
        session.touch(self.now());
        session.count(target);
        tracing::debug!(session = session.log_name(), endpoint = %endpoint, "session opened");
        let evicted = {
            let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
            sessions.insert(session.id().clone(), session.clone());
            if sessions.len() > self.options.max { idlest(&sessions, &session) } else { None }
        };
        if let Some(idlest) = evicted {
            tracing::info!(session = idlest.log_name(), "sessions_max is reached: the idlest session ends");
            self.end(&idlest).await;
        }
        Ok(session)
    }

    /// The live session of that id at that endpoint and transport; using it keeps it from expiring.
    pub async fn find(&self, id: &str, endpoint: &EndpointId, transport: Transport) -> Option<Arc<Session>> {
        let found = self.sessions.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        let session = found?;
        (session.endpoint == *endpoint && session.transport == transport).then(|| {
            session.touch(self.now());
            session
        })
    }

    /// Ends a session for good: its calls are cancelled, its asks fail, its streams close, its id is never valid again.
    pub async fn end(&self, session: &Arc<Session>) {
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).remove(session.id());
        let Some(bindings) = session.end() else { return };
        tracing::debug!(session = session.log_name(), "session ended");
        for binding in bindings {
            binding.instance.close(session.caller).await;
            binding.server.release(session.id().clone()).await;
        }
    }

    /// How many sessions are in memory.
    pub fn len(&self) -> usize {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends all streams without ending sessions: hub stops, and sessions go on in its next run.
    pub fn close_streams(&self) {
        let all: Vec<Arc<Session>> =
            self.sessions.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for session in all {
            session.close_streams();
        }
    }

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

    /// One round of [`Self::keep`].
    pub async fn sweep(&self) {
        let all: Vec<Arc<Session>> =
            self.sessions.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let (now, millis) = (Instant::now(), self.now());
        for session in all {
            for call in session.sweep(now, self.options.replay_ttl) {
                tracing::info!(session = session.log_name(), method = call.method.name(), "client is gone: cancelled");
                call.cancel(Some("the client went away".into())).await;
            }
            if session.is_busy() {
                session.touch(millis);
            } else if millis.saturating_sub(session.used()) >= as_millis(self.options.expiry) {
                tracing::info!(session = session.log_name(), "session expired");
                self.end(&session).await;
            }
        }
    }

    /// Milliseconds since this table was made.
    fn now(&self) -> u64 {
        as_millis(self.started.elapsed())
    }
}

fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The session that was used least recently, but not `newest`, and none that is busy if there is another.
fn idlest(sessions: &HashMap<Arc<str>, Arc<Session>>, newest: &Arc<Session>) -> Option<Arc<Session>> {
    let others = sessions.values().filter(|session| !Arc::ptr_eq(session, newest));
    others.min_by_key(|session| (session.is_busy(), session.used())).cloned()
}

/// 32 random bytes, base64url (PROTOCOL 1.15).
fn new_id() -> Result<Arc<str>, ErrorObject> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!("no random numbers: {error}");
        ErrorObject::internal(Reason::Overloaded, "the operating system gave no random numbers")
    })?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

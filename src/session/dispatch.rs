//! The method table: what hub does with each message of a session (PROTOCOL 1.4).
//!
//! In: parsed messages of one session. Out: calls to instances, answers on streams. Owns nothing. May not: hold the
//! session's lock while it waits; forward an `initialize`.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::OnceCell;

use crate::aggregate::{Aggregate, UriForm};
use crate::bridge::ask::answer_to_child;
use crate::limits::CALLS_PER_SESSION_MAX;
use crate::mcp::error::Reason;
use crate::mcp::meta::Level;
use crate::mcp::{Era, ErrorObject, Method, Outcome, ProtocolVersion, Raw, RequestId, Response};
use crate::server::registry::{NotRunning, Registered};
use crate::server::{CallId, Handshake, Hints, NewCall, NewCaller, ServerHandle, next_id};

use super::call::{Call, Effect};
use super::negotiate::{self, Hello};
use super::outlet::{Nobody, SessionOutlet};
use super::params::{Asked, Params};
use super::state::{Binding, Session};
use super::stream::Stream;

/// What an endpoint serves, as of now.
#[derive(Debug, Clone)]
pub enum Target {
    /// One server.
    Server(ServerHandle),
    /// All of them.
    Aggregate(Arc<Aggregate>),
    /// A server that cannot run now, and why.
    Down(ErrorObject),
}

impl Target {
    /// The endpoint of one server, running or not.
    pub fn of(server: Option<&Registered>) -> Self {
        let down = |why: String| Self::Down(ErrorObject::internal(Reason::ServerUnavailable, why));
        match server.map(|server| (&server.name, &server.handle)) {
            Some((_, Ok(handle))) => Self::Server(handle.clone()),
            Some((name, Err(NotRunning::Disabled))) => down(format!("server {name} is disabled in hub.toml")),
            Some((name, Err(NotRunning::Unusable(why)))) => down(format!("server {name} cannot run: {}", why.message)),
            None => down("the server was removed from hub.toml".into()),
        }
    }

    /// What `initialize` is answered with; waits for a server that never ran before (at most its `startup_timeout`).
    pub async fn handshake(&self) -> Result<Arc<Handshake>, ErrorObject> {
        match self {
            Self::Server(server) => server.handshake().await,
            Self::Aggregate(aggregate) => Ok(aggregate.handshake()),
            Self::Down(why) => Err(why.clone()),
        }
    }
}

/// Takes a call out of its session's table if it never got as far as the server: its client went away meanwhile.
struct Unsent(Option<Arc<Call>>);

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call.session.finish(&call.id, call.number);
            call.stream.respond_never(call.number);
        }
    }
}

impl Session {
    /// Serves one request. Returns when it is answered, or on its way to a server; the answer comes on `stream`.
    pub async fn request(self: &Arc<Self>, target: &Target, request: Asked, stream: &Arc<Stream>) {
        let Asked { id, method, params } = request;
        let refusal: ErrorObject = match method {
            _ if params.is_ambiguous() => ErrorObject::invalid_params("Invalid params: a member stands twice"),
            Method::Ping => return stream.respond(None, &id, &Outcome::empty()),
            Method::Initialize => ErrorObject::invalid_request("Invalid request: this session is initialized already"),
            Method::Discover | Method::Listen => ErrorObject::method_not_found(method.name()),
            // A notification with an id: what it names would mean somebody else's call to the child.
            ref method if method.name().starts_with("notifications/") => ErrorObject::method_not_found(method.name()),
            _ => match self.register(id.clone(), method, stream) {
                Ok(call) => {
                    if let Some(token) = params.progress_token() {
                        stream.expect_progress(call.number, token);
                    }
                    return self.serve(target, call, params).await;
                }
                Err(error) => error,
            },
        };
        stream.respond(None, &id, &refusal.into());
    }

    /// Serves one request of HTTP+SSE, whose answers all go to the session's one stream.
    pub async fn request_on_sse(self: &Arc<Self>, target: &Target, request: Asked) {
        let Some(stream) = self.listening() else { return };
        if request.method != Method::Initialize || self.hello().is_some() {
            return self.request(target, request, &stream).await;
        }
        let answer = match (Hello::parse(request.params.raw()), target.handshake().await) {
            (Ok(hello), Ok(handshake)) => {
                let answer = negotiate::answer(hello.version, &handshake);
                self.hello.set(hello).ok();
                Outcome::Result(answer)
            }
            (Err(error), _) | (_, Err(error)) => error.into(),
        };
        stream.respond(None, &request.id, &answer);
    }

    /// Serves a notification.
    pub async fn notification(self: &Arc<Self>, target: &Target, method: Method, params: Params) {
        match method {
            Method::Cancelled => self.cancel(&params).await,
            Method::Progress => self.ask_progress(params).await,
            // hub answers `roots/list` itself: one client's roots are not a shared child's (PROTOCOL 1.1).
            Method::RootsChanged => {}
            Method::Initialized => self.listen_to(target).await,
            // A request without an id, or what only servers send: a sloppy child might execute it past all rules.
            ref method if !is_foreign_notification(method) => {}
            _ => {
                if let Target::Server(server) = target
                    && let Ok(binding) = self.bind(server, None).await
                {
                    binding.instance.notify(method, params.into_raw()).await;
                }
            }
        }
    }

    /// Serves a response to an ask; unknown or repeated ones are ignored.
    pub async fn response(&self, response: Response) {
        let number = response.id.and_then(|id| id.as_number());
        if let Some(open) = number.and_then(|number| self.take_ask(number)) {
            let snapshot = open.binding.instance.snapshot();
            let child = snapshot.handshake.as_ref().map(|handshake| handshake.version.as_str());
            let outcome = answer_to_child(child, &open.method, response.outcome);
            open.binding.instance.answer(open.ask, outcome).await;
        }
    }

    /// Makes sure that the servers of this session know it, so that it hears of changes.
    pub async fn listen_to(self: &Arc<Self>, target: &Target) {
        if let Target::Server(server) = target
            && let Err(error) = self.bind(server, None).await
        {
            tracing::debug!(server = %server.name(), session = self.log_name(), "not bound: {error}");
        }
    }

    fn register(
        self: &Arc<Self>,
        id: RequestId,
        method: Method,
        stream: &Arc<Stream>,
    ) -> Result<Arc<Call>, ErrorObject> {
        let mut state = self.lock();
        if state.ended {
            return Err(ErrorObject::internal(Reason::CallerGone, "the session ended"));
        }
        if state.in_flight.len() >= CALLS_PER_SESSION_MAX {
            let text = format!("this session has {CALLS_PER_SESSION_MAX} requests in flight");
            return Err(ErrorObject::internal(Reason::Overloaded, text));
        }
        let Entry::Vacant(place) = state.in_flight.entry(id) else {
            return Err(ErrorObject::invalid_request("Invalid request: a request with this id is in flight"));
        };
        let call = Arc::new(Call {
            session: self.clone(),
            number: CallId(next_id()),
            id: place.key().clone(),
            method,
            version: self.version(),
            stream: stream.clone(),
            binding: OnceLock::new(),
            effect: OnceLock::new(),
            cancelled: AtomicBool::new(false),
        });
        place.insert(call.clone());
        Ok(call)
    }

    async fn serve(self: &Arc<Self>, target: &Target, call: Arc<Call>, params: Params) {
        let mut unsent = Unsent(Some(call.clone()));
        let outcome = match target {
            Target::Server(server) => self.serve_one(server, &call, params).await,
            Target::Aggregate(aggregate) => self.serve_all(aggregate, &call, params).await,
            Target::Down(why) => Err(why.clone().into()),
        };
        unsent.0 = None;
        if let Err(answer) = outcome {
            call.finish(answer);
        }
    }

    /// `Err` is the answer that hub gives itself.
    async fn serve_one(
        self: &Arc<Self>,
        server: &ServerHandle,
        call: &Arc<Call>,
        params: Params,
    ) -> Result<(), Outcome> {
        let has_tasks = call.version >= ProtocolVersion::V2025_11_25;
        let effect = match call.method {
            Method::SetLevel => Effect::Level(level(params.text("level").as_deref())?),
            Method::Subscribe => {
                Effect::Subscribe(server.name().clone(), uri(params.text("uri").as_deref())?, UriForm::Own)
            }
            Method::Unsubscribe => Effect::Unsubscribe(server.name().clone(), uri(params.text("uri").as_deref())?),
            Method::TasksGet | Method::TasksResult | Method::TasksList | Method::TasksCancel if !has_tasks => {
                return Err(ErrorObject::method_not_found(call.method.name()).into());
            }
            _ => Effect::None,
        };
        // A `task` member of an older session asks for nothing (PROTOCOL 1.12).
        let params = if has_tasks { params } else { params.without("task") };
        let (params, hints) = params.into_call();
        self.forward(server, None, call, effect, hints, params).await
    }

    async fn serve_all(
        self: &Arc<Self>,
        aggregate: &Arc<Aggregate>,
        call: &Arc<Call>,
        params: Params,
    ) -> Result<(), Outcome> {
        if let Some(kind) = call.method.list_kind() {
            return Err(aggregate.list(kind, params.get("cursor").as_ref(), Era::Legacy).await);
        }
        match call.method {
            Method::SetLevel => {
                self.apply(&Effect::Level(level(params.text("level").as_deref())?));
                self.level_everywhere(params.into_raw());
                return Err(Outcome::empty());
            }
            Method::ToolsCall
            | Method::PromptsGet
            | Method::ResourcesRead
            | Method::Subscribe
            | Method::Unsubscribe
            | Method::Complete => {}
            _ => return Err(ErrorObject::method_not_found(call.method.name()).into()),
        }
        let params = params.without("task");
        let hints = params.hints();
        let routed = aggregate.route(&call.method, params.into_raw()).await?;
        let effect = match (&call.method, routed.uri) {
            (Method::Subscribe, Some(uri)) => Effect::Subscribe(routed.server.name().clone(), uri.own, uri.form),
            (Method::Unsubscribe, Some(uri)) => Effect::Unsubscribe(routed.server.name().clone(), uri.own),
            _ => Effect::None,
        };
        self.forward(&routed.server, Some(aggregate), call, effect, hints, routed.params).await
    }

    async fn forward(
        self: &Arc<Self>,
        server: &ServerHandle,
        aggregate: Option<&Arc<Aggregate>>,
        call: &Arc<Call>,
        effect: Effect,
        hints: Hints,
        params: Option<Raw>,
    ) -> Result<(), Outcome> {
        let binding = self.bind(server, aggregate).await?;
        if !matches!(effect, Effect::None) {
            call.effect.set(effect).ok();
        }
        call.binding.set(binding.clone()).ok();
        if call.cancelled.load(Ordering::Acquire) {
            call.stream.respond_never(call.number);
            return Ok(());
        }
        let (method, outlet) = (call.method.clone(), call.clone());
        let new = NewCall { caller: self.caller, client: None, method, params, hints, outlet };
        binding.instance.call_as(call.number, new).await?;
        if call.cancelled.load(Ordering::Acquire) {
            // The cancellation may have been queued before the call was.
            binding.instance.cancel(call.number, None).await;
        }
        Ok(())
    }

    /// `notifications/cancelled` of the client: only its own calls can be meant.
    async fn cancel(&self, params: &Params) {
        let id = params.get("requestId").and_then(RequestId::from_raw);
        let Some(call) = id.and_then(|id| self.lock().in_flight.remove(&id)) else { return };
        call.cancel(params.text("reason").map(Cow::into_owned)).await;
    }

    /// `notifications/progress` of the client about an ask: hub's token for it is the ask's number.
    async fn ask_progress(&self, params: Params) {
        let token = params.get("progressToken").and_then(RequestId::from_raw);
        let open = token.and_then(|token| token.as_number()).and_then(|number| {
            let state = self.lock();
            state.asks.get(&number).map(|open| (open.binding.clone(), open.ask))
        });
        if let (Some((binding, ask)), Some(params)) = (open, params.into_raw()) {
            binding.instance.ask_progress(ask, params).await;
        }
    }

    /// The aggregate's level holds for every server that this session uses; later ones learn it when they are bound.
    fn level_everywhere(&self, params: Option<Raw>) {
        let bindings: Vec<Arc<Binding>> =
            self.lock().bindings.values().filter_map(|cell| cell.get().cloned()).collect();
        for binding in bindings {
            let (method, outlet) = (Method::SetLevel, Nobody::shared());
            let hints = Hints::UNKNOWN;
            let call = NewCall { caller: self.caller, client: None, method, params: params.clone(), hints, outlet };
            // One server that takes nothing must not keep the others from hearing of it.
            drop(self.shared.scope.spawn("level", async move { binding.instance.call(call).await.ok() }));
        }
    }

    /// What a server agreed to. Kept for the next run of hub.
    pub(super) fn apply(self: &Arc<Self>, effect: &Effect) {
        let mut state = self.lock();
        match effect {
            Effect::None => {}
            Effect::Level(level) => state.level = Some(*level),
            Effect::Subscribe(server, uri, form) => {
                state.subscriptions.insert((server.clone(), uri.clone()), *form);
            }
            Effect::Unsubscribe(server, uri) => {
                state.subscriptions.remove(&(server.clone(), uri.clone()));
            }
        }
        state.unkept = true;
        if !std::mem::replace(&mut state.keeping, true) {
            let session = self.clone();
            self.shared.scope.spawn("keep-session", async move { session.keep_changes().await });
        }
    }

    /// Writes level and subscriptions down until there is nothing new in them: one writer at a time, so that an older
    /// state never overwrites a newer one.
    async fn keep_changes(&self) {
        loop {
            let (level, subscriptions) = {
                let mut state = self.lock();
                if !std::mem::take(&mut state.unkept) {
                    state.keeping = false;
                    return;
                }
                (state.level, state.subscriptions.clone())
            };
            self.shared.durable.update(&self.id, level, &subscriptions).await;
        }
    }

    /// This session's place at a server's instance, made at first use and again when that instance is gone.
    pub(super) async fn bind(
        self: &Arc<Self>,
        server: &ServerHandle,
        aggregate: Option<&Arc<Aggregate>>,
    ) -> Result<Arc<Binding>, ErrorObject> {
        let cell = {
            let mut state = self.lock();
            if state.ended {
                return Err(ErrorObject::internal(Reason::CallerGone, "the session ended"));
            }
            let cell = state.bindings.entry(server.name().clone()).or_default();
            if cell.get().is_some_and(|binding| binding.instance.is_closed()) {
                *cell = Arc::new(OnceCell::new());
            }
            cell.clone()
        };
        if let Some(binding) = cell.get() {
            return Ok(binding.clone());
        }
        let binding = cell.get_or_try_init(|| self.open_at(server, aggregate)).await?.clone();
        if self.is_ended() {
            binding.instance.close(self.caller).await;
            server.release(self.id.clone()).await;
            return Err(ErrorObject::internal(Reason::CallerGone, "the session ended"));
        }
        Ok(binding)
    }

    async fn open_at(
        self: &Arc<Self>,
        server: &ServerHandle,
        aggregate: Option<&Arc<Aggregate>>,
    ) -> Result<Arc<Binding>, ErrorObject> {
        let instance = server.instance(Some(self.id.clone())).await?;
        let (client, subscriptions) = {
            let state = self.lock();
            let mine = state.subscriptions.keys().filter(|(name, _)| name == server.name());
            (self.client(state.level), mine.map(|(_, uri)| uri.clone()).collect())
        };
        let binding = Arc::new(Binding {
            number: next_id(),
            server: server.clone(),
            instance: instance.clone(),
            aggregate: aggregate.cloned(),
        });
        let outlet = Arc::new(SessionOutlet { session: Arc::downgrade(self), binding: Arc::downgrade(&binding) });
        instance.open(NewCaller { caller: self.caller, client, subscriptions, outlet }).await?;
        Ok(binding)
    }
}

impl Call {
    /// Its client gave it up.
    pub(super) async fn cancel(&self, reason: Option<String>) {
        self.cancelled.store(true, Ordering::Release);
        if let Some(binding) = self.binding.get() {
            // The instance delivers `Cancelled`, which ends the stream.
            binding.instance.cancel(self.number, reason).await;
        }
    }
}

fn level(name: Option<&str>) -> Result<Level, ErrorObject> {
    let known = name.and_then(Level::parse);
    known.ok_or_else(|| ErrorObject::invalid_params("Invalid params: level is not one of the eight of RFC 5424"))
}

/// Is it a notification that hub has no rule for?
fn is_foreign_notification(method: &Method) -> bool {
    matches!(method, Method::Other(_)) && method.name().starts_with("notifications/")
}

fn uri(uri: Option<&str>) -> Result<String, ErrorObject> {
    uri.map(str::to_owned).ok_or_else(|| ErrorObject::invalid_params("Invalid params: uri must be a string"))
}

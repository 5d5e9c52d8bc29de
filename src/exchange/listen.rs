//! Listeners: `subscriptions/listen`, a stream of what has changed (2026-07-28, basic/patterns/subscriptions).
//!
//! In: a filter; notifications of every server that the endpoint serves; changes of the registry. Out: the
//! acknowledgement, then only what was asked for, each tagged with the request's id, and a result when hub ends it. A
//! task of its own keeps each listener bound to its servers, whichever children run. May not: start a server to tell
//! what it has; wait for its reader.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::Poll;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::aggregate::{Aggregate, ChangeCounts, UriForm};
use crate::config::ServerName;
use crate::limits::{LISTENER_SUBSCRIBE_WAIT, LISTENERS_MAX, STREAM_EVENTS_MAX};
use crate::mcp::error::Reason;
use crate::mcp::meta::SUBSCRIPTION_ID;
use crate::mcp::splice::Object;
use crate::mcp::{ErrorObject, Method, Outcome, Raw};
use crate::server::{
    CallId, CallerId, Client, Delivery, Handshake, Hints, InstanceHandle, NewCall, NewCaller, Outlet, ServerHandle,
    next_id,
};
use crate::session::{Params, Target};

use super::filter::Filter;
use super::seat::{Occupant, Seat};
use super::{Claims, Shared};

/// See the module's header.
pub(super) struct Listener {
    seat: Arc<Seat>,
    shared: Arc<Shared>,
    caller: CallerId,
    client: Arc<Client>,
    of: Of,
    /// Its client left, or hub ended it.
    over: CancellationToken,
    state: Mutex<State>,
}

/// What it listens to.
enum Of {
    Server(ServerName),
    Aggregate(Arc<Aggregate>),
}

#[derive(Debug, Default)]
struct State {
    /// What was acknowledged; nothing before that.
    honoured: Option<Filter>,
    /// What came before the acknowledgement, each once.
    early: Vec<(Method, Option<Raw>)>,
    /// How the client wrote the URIs that it subscribed to, by server and that server's own form.
    uris: HashMap<(ServerName, String), UriForm>,
}

/// Its place at one server.
struct Binding {
    server: ServerHandle,
    instance: InstanceHandle,
}

impl Shared {
    /// Begins to listen. What cannot be is answered on the seat.
    pub(super) fn listen(
        self: &Arc<Self>,
        target: &Target,
        handshake: &Handshake,
        claims: &Claims,
        params: &Params,
        seat: &Arc<Seat>,
    ) -> Result<(), ErrorObject> {
        Filter::check(params, &claims.client.capabilities)?;
        let wanted = Filter::parse(params)?.supported(&handshake.capabilities);
        let of = match target {
            Target::Server(server) => Of::Server(server.name().clone()),
            Target::Aggregate(aggregate) => Of::Aggregate(aggregate.clone()),
            Target::Down(why) => return Err(why.clone()),
        };
        let Ok(place) = self.listeners.clone().try_acquire_owned() else {
            let text = format!("hub has {LISTENERS_MAX} listeners");
            return Err(ErrorObject::internal(Reason::Overloaded, text));
        };
        let listener = Arc::new(Listener {
            seat: seat.clone(),
            shared: self.clone(),
            caller: CallerId(next_id()),
            client: claims.client.clone(),
            of,
            over: CancellationToken::new(),
            state: Mutex::default(),
        });
        seat.occupy(listener.clone());
        drop(self.scope.spawn("listener", async move {
            listener.keep(wanted).await;
            drop(place);
        }));
        Ok(())
    }
}

impl Listener {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    /// Binds, acknowledges, and keeps bound until it is over.
    async fn keep(self: Arc<Self>, wanted: Filter) {
        let mut bindings = HashMap::new();
        let over = self.over.clone();
        tokio::select! {
            () = over.cancelled() => {}
            () = self.clone().work(wanted, &mut bindings) => {}
        }
        for binding in bindings.into_values() {
            binding.instance.close(self.caller).await;
        }
    }

    async fn work(self: Arc<Self>, wanted: Filter, bindings: &mut HashMap<ServerName, Binding>) {
        let mut registry = self.shared.registry.clone();
        registry.borrow_and_update();
        let mut changes = match &self.of {
            Of::Server(_) => None,
            Of::Aggregate(aggregate) => Some(aggregate.changes()),
        };
        let mut counts = changes.as_mut().map(|changes| *changes.borrow_and_update()).unwrap_or_default();
        self.bind(bindings).await;
        let honoured = self.subscribe(wanted, bindings).await;
        self.acknowledge(honoured);
        loop {
            tokio::select! {
                changed = registry.changed() => if changed.is_err() { return self.end() },
                () = any_closed(bindings) => {}
                () = moved(&mut changes) => {
                    let now = changes.as_mut().map(|changes| *changes.borrow_and_update()).unwrap_or_default();
                    self.tell_merged(counts, now);
                    counts = now;
                    continue;
                }
            }
            if let Of::Server(name) = &self.of
                && registry.borrow().get(name.as_ref()).is_none()
            {
                return self.end();
            }
            self.bind(bindings).await;
        }
    }

    /// Makes itself known at every server of the endpoint where it is not.
    async fn bind(self: &Arc<Self>, bindings: &mut HashMap<ServerName, Binding>) {
        let servers: Vec<ServerHandle> = {
            let registry = self.shared.registry.borrow();
            let ours = |server: &&ServerHandle| match &self.of {
                Of::Server(name) => server.name() == name,
                Of::Aggregate(_) => true,
            };
            registry.running().filter(ours).cloned().collect()
        };
        let current = |binding: &Binding| {
            !binding.instance.is_closed() && servers.iter().any(|server| server.is_same(&binding.server))
        };
        let gone: Vec<ServerName> =
            bindings.iter().filter(|(_, binding)| !current(binding)).map(|(name, _)| name.clone()).collect();
        for name in &gone {
            if let Some(binding) = bindings.remove(name) {
                binding.instance.close(self.caller).await;
            }
        }
        for server in servers {
            if bindings.contains_key(server.name()) {
                continue;
            }
            // One that is being removed says no; the registry will tell what comes instead.
            let Ok(instance) = self.open_at(&server).await else { continue };
            self.tell_new(&server);
            bindings.insert(server.name().clone(), Binding { server, instance });
        }
    }

    async fn open_at(self: &Arc<Self>, server: &ServerHandle) -> Result<InstanceHandle, ErrorObject> {
        let instance = server.passing_instance().await?;
        let subscriptions: Vec<String> = {
            let state = self.lock();
            state.uris.keys().filter(|(name, _)| name == server.name()).map(|(_, uri)| uri.clone()).collect()
        };
        let outlet = Arc::new(Post { listener: Arc::downgrade(self), server: server.name().clone() });
        let (caller, client) = (self.caller, self.client.clone());
        instance.open(NewCaller { caller, client, subscriptions, outlet }).await?;
        Ok(instance)
    }

    // --- subscribing -------------------------------------------------------------------------------------------

    /// Subscribes to each URI, all at once; those that a server did not take in time are left out.
    async fn subscribe(&self, mut wanted: Filter, bindings: &HashMap<ServerName, Binding>) -> Filter {
        let deadline = Instant::now() + LISTENER_SUBSCRIBE_WAIT;
        let uris = std::mem::take(&mut wanted.uris);
        let mut asking: Vec<_> = uris.iter().map(|uri| Some(Box::pin(self.subscribe_to(uri, bindings)))).collect();
        let mut asked: Vec<Option<Asked>> = uris.iter().map(|_| None).collect();
        let all = poll_fn(|context| {
            for (asking, asked) in asking.iter_mut().zip(&mut asked) {
                if let Some(Poll::Ready(sent)) = asking.as_mut().map(|asking| asking.as_mut().poll(context)) {
                    (*asking, *asked) = (None, sent);
                }
            }
            if asking.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
        });
        timeout_at(deadline, all).await.ok();
        drop(asking);
        let mut late = Vec::new();
        for (uri, asked) in uris.into_iter().zip(asked) {
            let Some(Asked { server, own, form, instance, call, answer }) = asked else { continue };
            match timeout_at(deadline, answer).await {
                Ok(Ok(Outcome::Result(_))) => {
                    self.lock().uris.insert((server, own), form);
                    wanted.uris.push(uri);
                }
                Ok(_refused) => {}
                Err(_elapsed) => {
                    instance.cancel(call, Some("it took too long".into())).await;
                    late.push((server, own, instance));
                }
            }
        }
        for (server, own, instance) in late {
            let key = (server, own);
            // It may have been taken in another spelling.
            if !self.lock().uris.contains_key(&key) {
                self.unsubscribe(&key.1, &instance).await;
            }
        }
        wanted
    }

    /// Takes back what is not honoured: its answer may still come, and updates would be passed on with the others.
    async fn unsubscribe(&self, own: &str, instance: &InstanceHandle) {
        let params = Some(Raw::from(serde_json::json!({ "uri": own }).to_string()));
        let (caller, method, hints) = (self.caller, Method::Unsubscribe, Hints::NOTHING);
        let outlet = Arc::new(Waiting(Mutex::new(None)));
        // An instance that is closing forgets its subscriptions by itself.
        instance.call_as(CallId(next_id()), NewCall { caller, client: None, method, params, hints, outlet }).await.ok();
    }

    async fn subscribe_to(&self, uri: &str, bindings: &HashMap<ServerName, Binding>) -> Option<Asked> {
        let params = Raw::from(serde_json::json!({ "uri": uri }).to_string());
        let (server, params, own, form) = match &self.of {
            Of::Server(name) => (name.clone(), Some(params), uri.to_owned(), UriForm::Own),
            Of::Aggregate(aggregate) => {
                let routed = aggregate.route(&Method::Subscribe, Some(params)).await.ok()?;
                let to = routed.uri?;
                (routed.server.name().clone(), routed.params, to.own, to.form)
            }
        };
        let instance = bindings.get(&server)?.instance.clone();
        let (told, answer) = oneshot::channel();
        let call = CallId(next_id());
        let outlet = Arc::new(Waiting(Mutex::new(Some(told))));
        let (caller, method, hints) = (self.caller, Method::Subscribe, Hints::NOTHING);
        instance.call_as(call, NewCall { caller, client: None, method, params, hints, outlet }).await.ok()?;
        Some(Asked { server, own, form, instance, call, answer })
    }

    // --- telling -----------------------------------------------------------------------------------------------

    fn acknowledge(&self, honoured: Filter) {
        let params = format!("{{\"notifications\":{}}}", std::str::from_utf8(&honoured.to_raw()).unwrap_or("{}"));
        let mut state = self.lock();
        self.send(&Method::ListenAcknowledged, Some(&Raw::from(params)));
        for (method, params) in std::mem::take(&mut state.early) {
            if honoured.admits(&method) {
                self.send(&method, params.as_ref());
            }
        }
        state.honoured = Some(honoured);
    }

    /// A notification, if it was asked for. One that the client has not read yet is not said again.
    fn tell(&self, method: &Method, params: Option<&Raw>) {
        let mut state = self.lock();
        match &state.honoured {
            Some(honoured) if honoured.admits(method) => self.send(method, params),
            Some(_) => {}
            None => {
                let early = (method.clone(), params.cloned());
                if state.early.len() < STREAM_EVENTS_MAX && !state.early.contains(&early) {
                    state.early.push(early);
                }
            }
        }
    }

    fn send(&self, method: &Method, params: Option<&Raw>) {
        let empty = Raw::from_static(b"{}");
        let Some(params) = Object::scan(params.unwrap_or(&empty)) else { return };
        let meta = params.get("_meta").and_then(|meta| Object::scan(&meta));
        let meta =
            meta.or_else(|| Object::scan(&empty)).map(|meta| meta.edit(&[(SUBSCRIPTION_ID, Some(self.seat.id.raw()))]));
        let params = params.edit(&[("_meta", meta.as_deref())]);
        self.seat.tell_once(method, Some(&params));
    }

    /// The lists of the aggregate changed.
    fn tell_merged(&self, then: ChangeCounts, now: ChangeCounts) {
        let kinds = [
            (then.tools != now.tools, Method::ToolsChanged),
            (then.prompts != now.prompts, Method::PromptsChanged),
            (then.resources != now.resources, Method::ResourcesChanged),
        ];
        for (_, method) in kinds.iter().filter(|(changed, _)| *changed) {
            self.tell(method, None);
        }
    }

    /// Another instance took the place of one that it knew: what it knew of it is old.
    fn tell_new(&self, server: &ServerHandle) {
        if matches!(self.of, Of::Server(_)) && self.lock().honoured.is_some() {
            tracing::debug!(server = %server.name(), "a listener is bound anew");
            for method in [Method::ToolsChanged, Method::PromptsChanged, Method::ResourcesChanged] {
                self.tell(&method, None);
            }
        }
    }

    /// hub ends it: its client hears of that (2026-07-28, basic/patterns/subscriptions#graceful-closure).
    fn end(&self) {
        let id = self.seat.id.raw();
        let head = format!("{{\"resultType\":\"complete\",\"_meta\":{{\"{SUBSCRIPTION_ID}\":");
        let result = [head.as_bytes(), id, b"}}"].concat();
        self.seat.answer(None, &Outcome::Result(Raw::from(result)));
        self.over.cancel();
    }
}

impl Occupant for Listener {
    fn left(&self, _seat: &Seat) {
        self.over.cancel();
    }

    fn stop(&self, _seat: &Seat) {
        self.end();
    }
}

/// A subscription on its way.
struct Asked {
    server: ServerName,
    own: String,
    form: UriForm,
    instance: InstanceHandle,
    call: CallId,
    answer: oneshot::Receiver<Outcome>,
}

/// Takes the answer to one subscription.
struct Waiting(Mutex<Option<oneshot::Sender<Outcome>>>);

impl Outlet for Waiting {
    fn deliver(&self, _from: &InstanceHandle, delivery: Delivery) {
        if let Some(outcome) = delivery.into_outcome()
            && let Some(told) = self.0.lock().expect("no panic under this lock").take()
        {
            told.send(outcome).ok();
        }
    }
}

/// Where a server's notifications for a listener arrive. Does not keep a listener alive that is over.
struct Post {
    listener: Weak<Listener>,
    server: ServerName,
}

impl Outlet for Post {
    fn deliver(&self, _from: &InstanceHandle, delivery: Delivery) {
        let (Some(listener), Delivery::Notification { method, params }) = (self.listener.upgrade(), delivery) else {
            return;
        };
        match &listener.of {
            Of::Server(_) => listener.tell(&method, params.as_ref()),
            // Its lists are not the merged ones: those are told of when they change.
            Of::Aggregate(_) if Aggregate::swallows(&method) => {}
            Of::Aggregate(aggregate) => {
                let uri = params.as_ref().and_then(Object::scan).and_then(|params| params.get_str("uri"));
                let key = (self.server.clone(), uri.unwrap_or_default());
                let form = listener.lock().uris.get(&key).copied().unwrap_or_default();
                let params = aggregate.outward(&self.server, &method, params, form);
                listener.tell(&method, params.as_ref());
            }
        }
    }
}

/// Returns when the instance of any binding is gone; never without bindings.
async fn any_closed(bindings: &HashMap<ServerName, Binding>) {
    let mut waits: Vec<_> = bindings.values().map(|binding| Box::pin(binding.instance.closed())).collect();
    poll_fn(|context| {
        if waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Returns when the merged lists changed; never for a server's own endpoint.
async fn moved(changes: &mut Option<watch::Receiver<ChangeCounts>>) {
    let moved = match changes {
        Some(changes) => changes.changed().await.is_ok(),
        None => false,
    };
    if !moved {
        std::future::pending::<()>().await;
    }
}

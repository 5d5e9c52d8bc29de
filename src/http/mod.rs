//! The edge: listeners, connections, requests. The only room that knows HTTP, and `respond` in it the only file that
//! picks a status.
//!
//! In: bound sockets, and a [`Context`] to serve with. Out: [`Reply`]s. Each [`Listener`] owns its accept loop and its
//! connections; a request is a future of its connection, so a client that leaves drops it. May not: start or stop a
//! server, touch a process, or decide anything about MCP before `Host` and `Origin` are checked.

pub mod accept;
mod accept_header;
pub mod body;
mod conn;
pub mod endpoint;
pub mod guard;
mod health;
pub mod held;
mod metrics;
mod modern;
pub mod reply;
pub mod respond;
mod route;
pub mod sse2024;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::aggregate::Aggregate;
use crate::config::{HubSpec, ServerName};
use crate::exchange::Exchanges;
use crate::limits;
use crate::server::Registry;
use crate::server::usage::Meter;
use crate::session::Sessions;

pub use accept::Listener;
pub use body::ReplyBody;
pub use respond::{Refusal, Reply};

use route::Route;

/// What a listener serves (DESIGN 3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Face {
    /// The port of one server.
    Server(ServerName),
    /// The hub port: all servers together, each of them by path, health and metrics.
    Hub,
}

/// What the edge needs of `[hub]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who may talk to hub.
    pub rules: guard::Rules,
    /// Largest request body in bytes.
    pub body_max: usize,
}

impl From<&HubSpec> for Settings {
    fn from(hub: &HubSpec) -> Self {
        let origins: Vec<_> = hub.allowed_origins.iter().filter_map(|origin| guard::Origin::parse(origin)).collect();
        Self { rules: guard::Rules::new(hub.host, &hub.allowed_hosts, &origins), body_max: hub.body_bytes_max }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { rules: guard::Rules::default(), body_max: limits::BODY_BYTES_MAX }
    }
}

/// What every request is served with. Cheap to clone; each listener has one of its own, which differs in `stopping`.
#[derive(Debug, Clone)]
pub struct Context {
    /// The servers as of now.
    pub registry: watch::Receiver<Arc<Registry>>,
    /// The part of `[hub]` that a reload may change.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// All servers as one.
    pub aggregate: Arc<Aggregate>,
    /// All sessions.
    pub sessions: Arc<Sessions>,
    /// All modern requests.
    pub exchanges: Arc<Exchanges>,
    /// How long what may stay silent.
    pub timing: reply::Timing,
    /// Room for connections, over all listeners.
    pub connections: Arc<Semaphore>,
    /// Room for the bodies of requests, over all listeners.
    pub bodies: Arc<held::Bodies>,
    /// What the servers cost.
    pub meter: Arc<Meter>,
    /// When hub started.
    pub started: Instant,
    /// This listener is going away: streams that wait for nothing end, nothing new begins.
    pub stopping: CancellationToken,
}

impl Context {
    /// A context for the first listener; [`Listener::start`] makes the others from it.
    pub fn new(
        registry: watch::Receiver<Arc<Registry>>,
        settings: watch::Receiver<Arc<Settings>>,
        aggregate: Arc<Aggregate>,
        (sessions, exchanges): (Arc<Sessions>, Arc<Exchanges>),
        meter: Arc<Meter>,
    ) -> Self {
        Self {
            registry,
            settings,
            aggregate,
            sessions,
            exchanges,
            timing: reply::Timing::default(),
            connections: Arc::new(Semaphore::new(limits::CONNECTIONS_MAX)),
            bodies: Arc::default(),
            meter,
            started: Instant::now(),
            stopping: CancellationToken::new(),
        }
    }
}

/// Serves one request: guard, route, endpoint.
async fn serve(ctx: &Arc<Context>, face: &Face, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let settings = ctx.settings.borrow().clone();
    let origin = match settings.rules.check(&head) {
        Ok(origin) => origin.cloned(),
        Err(refusal) => return refusal.into(),
    };
    let route = route::find(face, head.uri.path(), &ctx.registry.borrow());
    let Some(origin) = origin else {
        return answer(ctx, route, Request::from_parts(head, body)).await;
    };
    let mut headers = guard::cors(&origin);
    if let (&Method::OPTIONS, Ok(route)) = (&head.method, &route) {
        headers.extend(guard::preflight(&head.headers, route.allow()));
    }
    respond::with_headers(answer(ctx, route, Request::from_parts(head, body)).await, headers)
}

async fn answer(ctx: &Arc<Context>, route: Result<Route, Refusal>, request: Request<Incoming>) -> Reply {
    let route = match route {
        Ok(route) => route,
        Err(refusal) => return refusal.into(),
    };
    if request.method() == Method::OPTIONS {
        return respond::options(route.allow());
    }
    if !route.takes(request.method()) {
        return Refusal::WrongMethod { allow: route.allow() }.into();
    }
    match route {
        Route::Mcp(endpoint) => endpoint::serve(ctx, endpoint, request).await,
        Route::Sse(endpoint) | Route::Messages(endpoint) => sse2024::serve(ctx, endpoint, request).await,
        Route::Health(endpoint) => health::live(&endpoint, &ctx.registry.borrow()),
        Route::Ready => health::ready(&ctx.registry.borrow()),
        Route::Metrics => metrics::scrape(ctx).await,
    }
}

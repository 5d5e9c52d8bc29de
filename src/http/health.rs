//! `/healthz` and `/readyz`.
//!
//! In: the registry. Out: JSON documents. Owns nothing. May not: wait for anything, or start a child.

use serde_json::{Value, json};

use crate::config::{ServerName, Start};
use crate::server::registry::Registered;
use crate::server::{Registry, State};
use crate::session::EndpointId;

use super::{Reply, respond};

/// Liveness: the endpoint serves, so it is 200 whatever state its server is in.
pub(super) fn live(endpoint: &EndpointId, registry: &Registry) -> Reply {
    let document = match endpoint {
        EndpointId::Server(name) => server(name, registry),
        EndpointId::Aggregate => json!({ "status": "ok", "servers": states(registry) }),
    };
    respond::health(true, &document)
}

/// Readiness: 503 while a server that starts with hub has not come to a result.
pub(super) fn ready(registry: &Registry) -> Reply {
    let starting = registry
        .running()
        .any(|server| server.snapshot().state == State::Starting && server.spec().start == Start::Eager);
    let status = if starting { "starting" } else { "ready" };
    respond::health(!starting, &json!({ "status": status, "servers": states(registry) }))
}

fn server(name: &ServerName, registry: &Registry) -> Value {
    let state = registry.get(name.as_ref()).map(Registered::state);
    json!({ "status": "ok", "server": name, "state": state })
}

fn states(registry: &Registry) -> Value {
    registry.servers().iter().map(|server| (server.name.to_string(), json!(server.state()))).collect()
}

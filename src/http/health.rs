//! `/healthz` and `/readyz`.
//!
//! In: the registry. Out: JSON documents. Owns nothing. May not: wait for anything, or start a child.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::{ServerName, Start};
use crate::server::registry::Registered;
use crate::server::{Failure, Registry, State};
use crate::session::EndpointId;

use super::{Reply, respond};

/// Liveness: the endpoint serves, so it is 200 whatever state its server is in, and whichever port is taken.
pub(super) fn live(endpoint: &EndpointId, registry: &Registry) -> Reply {
    let document = match endpoint {
        EndpointId::Server(name) => server(name, registry),
        EndpointId::Aggregate => {
            json!({ "status": "ok", "servers": states(registry), "not_listening": shut(registry.servers()) })
        }
    };
    respond::health(true, &document)
}

/// Readiness: 503 while a server that starts with hub has not come to a result, and while a port of an enabled one is
/// not served: a client that is configured for it would be refused.
pub(super) fn ready(registry: &Registry) -> Reply {
    let starting = registry
        .running()
        .any(|server| server.snapshot().state == State::Starting && server.spec().start == Start::Eager);
    let is_shut = |server: &Registered| server.listen_failure.is_some() && server.state() != State::Disabled;
    let status = match registry.servers().iter().any(is_shut) {
        true => "not_listening",
        false if starting => "starting",
        false => "ready",
    };
    let document = json!({ "status": status, "servers": states(registry), "not_listening": shut(registry.servers()) });
    respond::health(status == "ready", &document)
}

fn server(name: &ServerName, registry: &Registry) -> Value {
    let server = registry.get(name.as_ref());
    let state = server.map(Registered::state);
    json!({ "status": "ok", "server": name, "state": state, "not_listening": shut(server) })
}

fn states(registry: &Registry) -> Value {
    registry.servers().iter().map(|server| (server.name.to_string(), json!(server.state()))).collect()
}

/// The servers whose own port is not served, and why.
fn shut<'a>(servers: impl IntoIterator<Item = &'a Registered>) -> Vec<Value> {
    let failed = servers.into_iter().filter_map(|server| Some((server, server.listen_failure.as_ref()?)));
    let entry = |(server, failure): (&Registered, &Arc<Failure>)| json!({ "server": server.name, "port": server.port, "since": failure.since, "message": failure.message });
    failed.map(entry).collect()
}

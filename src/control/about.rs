//! What the daemon knows of itself without measuring anything: where it is, and how its servers are.
//!
//! In: the registry, the facts. Out: [`About`]. Owns nothing. May not: look at a process, or wait.

use crate::mcp::ListKind;
use crate::server::ServerHandle;
use crate::server::registry::Registered;

use super::desk::{Desk, Facts};
use super::proto::{About, AboutServer};
use super::status::url_of;

/// What is true now.
pub(super) fn now(desk: &Desk) -> About {
    let registry = desk.registry.borrow().clone();
    let facts = desk.facts.borrow().clone();
    About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        config: facts.config.display().to_string(),
        url: facts.url.clone(),
        path: std::env::var("PATH").ok(),
        config_error: facts.config_error.clone(),
        servers: registry.servers().iter().map(|server| one(server, &facts)).collect(),
    }
}

fn one(server: &Registered, facts: &Facts) -> AboutServer {
    let snapshot = server.handle.as_ref().ok().map(ServerHandle::snapshot);
    let tools = snapshot.as_ref().and_then(|snapshot| snapshot.lists.get(ListKind::Tools));
    AboutServer {
        name: server.name.to_string(),
        state: server.state(),
        url: url_of(server.port, facts),
        port: server.port,
        tools: tools.map(|list| list.items.len()),
        last_failure: server.failure().map(|failure| (*failure).clone()),
    }
}

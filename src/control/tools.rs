//! The tools that clients see, for `hub tools`.
//!
//! In: the registry. Out: raw tool descriptions per server. Owns nothing. May not: show a list that failed as one
//! without tools.

use serde_json::value::RawValue;

use crate::mcp::{ListKind, Raw};
use crate::server::ServerHandle;
use crate::server::registry::Registered;

use super::desk::Desk;
use super::proto::{Refused, ServerTools, Tools};
use super::serve::{Fault, known};

/// The tools of all servers, or of one. One that was asked for by name is started if nothing is known of it yet.
pub(super) async fn list(desk: &Desk, server: Option<&str>) -> Result<Tools, Fault> {
    let registry = desk.registry.borrow().clone();
    let Some(name) = server else {
        return Ok(Tools { servers: registry.servers().iter().map(of).collect() });
    };
    let name = known(desk, name)?;
    let Some(server) = registry.get(&name) else {
        return Err(Fault::NotFound(Refused::new(format!("the server `{name}` was just removed"))));
    };
    if let Ok(handle) = &server.handle
        && handle.snapshot().lists.get(ListKind::Tools).is_none()
    {
        // Waits until it is ready; what went wrong is in its state.
        handle.handshake().await.ok();
    }
    Ok(Tools { servers: vec![of(server)] })
}

fn of(server: &Registered) -> ServerTools {
    let snapshot = server.handle.as_ref().ok().map(ServerHandle::snapshot);
    let tools = snapshot.as_ref().and_then(|snapshot| snapshot.lists.get(ListKind::Tools));
    let tools = tools.map(|list| list.items.iter().filter_map(boxed).collect());
    let handshake = snapshot.as_ref().and_then(|snapshot| snapshot.handshake.as_ref());
    ServerTools {
        server: server.name.to_string(),
        state: server.state(),
        era: handshake.map(|handshake| handshake.era),
        protocol_version: handshake.map(|handshake| handshake.version.clone()).unwrap_or_default(),
        tools,
    }
}

/// Raw bytes of a child as JSON text; they were validated when they were received.
pub(super) fn boxed(raw: &Raw) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(raw.to_vec()).ok()?).ok()
}

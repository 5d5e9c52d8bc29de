//! Modern requests (2026-07-28): each stands for itself, and its HTTP exchange is all that its client has.
//!
//! In: requests whose headers were checked; deliveries from instances. Out: one answer per seat. [`Exchanges`] owns what
//! outlives an exchange: parked calls and listeners. May not: know HTTP (statuses, headers, bodies), or keep anything of
//! one request for the next but by an explicit handle (2026-07-28, basic/index#statelessness).

mod call;
pub mod claims;
mod dispatch;
mod filter;
mod listen;
mod outcome;
mod park;
pub mod seat;
#[cfg(test)]
mod tests;
mod visit;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::bridge::headers::HeaderTable;
use crate::bridge::state::Sealer;
use crate::config::ServerName;
use crate::limits::LISTENERS_MAX;
use crate::mcp::{ErrorObject, ListKind, Method, RequestId};
use crate::server::{InstanceHandle, Registry, ServerHandle};
use crate::session::Form;
use crate::session::replay::Account;
use crate::tasks::Scope;

use park::Parks;
use visit::Visits;

pub use claims::Claims;
pub use dispatch::Asking;
pub use seat::{Occupied, Seat};

/// Of all that is wrong with the header annotations of one list, so much is logged.
const COMPLAINTS_TOLD: usize = 3;

/// What all exchanges use.
#[derive(Debug)]
struct Shared {
    scope: Scope,
    /// What streams hold. Nothing of it can be had again, so there is nothing to make room from.
    account: Account,
    /// The instance of each server that passing callers use, so that a request does not ask the server's task for it.
    instances: Mutex<HashMap<ServerName, (ServerHandle, InstanceHandle)>>,
    /// Which arguments of a server's tools are mirrored into headers, for the list of that digest.
    mirrors: Mutex<HashMap<ServerName, (u64, Arc<HeaderTable>)>>,
    /// The servers, for who listens longer than they live.
    registry: watch::Receiver<Arc<Registry>>,
    /// Room for listeners.
    listeners: Arc<Semaphore>,
    /// Times are counted from here.
    started: Instant,
    /// Calls that wait for their clients to come back.
    parks: Parks,
    /// URLs that clients visit.
    visits: Visits,
    /// Makes what clients carry from one round to the next.
    sealer: Sealer,
}

/// See the module's header.
#[derive(Debug)]
pub struct Exchanges {
    shared: Arc<Shared>,
}

impl Exchanges {
    /// No exchange yet. What they start runs in `scope`.
    pub fn new(registry: watch::Receiver<Arc<Registry>>, scope: Scope) -> Arc<Self> {
        let shared = Shared {
            scope,
            account: Account::default(),
            instances: Mutex::default(),
            mirrors: Mutex::default(),
            registry,
            listeners: Arc::new(Semaphore::new(LISTENERS_MAX)),
            started: Instant::now(),
            parks: Parks::default(),
            visits: Visits::default(),
            sealer: Sealer::new(key()),
        };
        Arc::new(Self { shared: Arc::new(shared) })
    }

    /// A seat for one request, with its client on it.
    pub fn sit(&self, id: RequestId, method: Method, claims: &Claims, form: Form) -> Occupied {
        Occupied::new(Seat::new(id, method, claims.client.level, form, self.shared.account.clone()))
    }

    /// hub stops: calls that wait for clients to come back are given up, as their clients cannot.
    pub fn suspend(&self) {
        self.shared.parks.give_up();
    }

    /// Calls whose child has asked something and is not done.
    pub fn parked(&self) -> usize {
        self.shared.parks.len()
    }
}

/// A key that nothing else knows. Without one nothing could be sealed, and a zero key would be a known one.
fn key() -> [u8; 32] {
    let mut key = [0; 32];
    getrandom::fill(&mut key).expect("the operating system has random numbers");
    key
}

impl Shared {
    /// The instance that serves callers without a session.
    async fn instance(&self, server: &ServerHandle) -> Result<InstanceHandle, ErrorObject> {
        let known = {
            let instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
            instances.get(server.name()).filter(|(of, _)| of.is_same(server)).map(|(_, instance)| instance.clone())
        };
        if let Some(known) = known.filter(|instance| !instance.is_closed()) {
            return Ok(known);
        }
        let instance = server.instance(None).await?;
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        instances.retain(|_, (_, instance)| !instance.is_closed());
        instances.insert(server.name().clone(), (server.clone(), instance.clone()));
        Ok(instance)
    }

    /// Which arguments of a server's tools are mirrored into headers. Read once per list.
    fn mirrors(&self, server: &ServerHandle) -> Option<Arc<HeaderTable>> {
        let snapshot = server.snapshot();
        let tools = snapshot.lists.get(ListKind::Tools)?;
        let known = || self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((digest, table)) = known().get(server.name())
            && *digest == tools.digest
        {
            return Some(table.clone());
        }
        // Not under the lock: two requests that come at once may both read a list, to the same effect.
        let table = Arc::new(HeaderTable::compile(&tools.items));
        let old = known().insert(server.name().clone(), (tools.digest, table.clone()));
        let complaints = table.complaints();
        if !complaints.is_empty() && old.is_none_or(|(digest, _)| digest != tools.digest) {
            let first = complaints.iter().take(COMPLAINTS_TOLD).map(String::as_str).collect::<Vec<_>>().join("; ");
            tracing::warn!(server = %server.name(), count = complaints.len(), first, "headers that cannot be mirrored");
        }
        Some(table)
    }
}

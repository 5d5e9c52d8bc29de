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

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::bridge::state::Sealer;
use crate::limits::LISTENERS_MAX;
use crate::mcp::{Method, RequestId};
use crate::server::Registry;
use crate::session::Form;
use crate::session::replay::Account;
use crate::tasks::Scope;

use park::Parks;
use visit::Visits;

pub use claims::Claims;
pub use dispatch::Asking;
pub use seat::{Occupied, Seat};

/// What all exchanges use.
#[derive(Debug)]
struct Shared {
    scope: Scope,
    /// What streams hold. Nothing of it can be had again, so there is nothing to make room from.
    account: Account,
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

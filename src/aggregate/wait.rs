//! Waiting for servers: until their first list is there, until anything changes.
//!
//! In: snapshots. Out: nothing but the moment. Owns no state but what [`Aggregate`] keeps of waits in vain. May not:
//! wait without a bound for a server.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::Poll;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::limits::AGGREGATE_LIST_WAIT;
use crate::mcp::ListKind;
use crate::server::{Registry, ServerHandle, Snapshot, State};

use super::Aggregate;
use super::catalog::may_have;

type Watch = watch::Receiver<Arc<Snapshot>>;

/// A watch on each server that runs.
pub fn watches(registry: &Registry) -> Vec<Watch> {
    registry.running().map(ServerHandle::watch).collect()
}

/// Returns when any of them changed since it was last looked at. Drops those whose server is gone; never returns when
/// none is left.
pub async fn any_changed(watches: &mut Vec<Watch>) {
    while !watches.is_empty() {
        let mut results: Vec<Option<bool>> = vec![None; watches.len()];
        let mut waits: Vec<_> = watches.iter_mut().map(|watch| Box::pin(watch.changed())).collect();
        std::future::poll_fn(|context| {
            // All are polled, so that a burst of several is one wake.
            for (wait, result) in waits.iter_mut().zip(&mut results) {
                if let Poll::Ready(changed) = wait.as_mut().poll(context) {
                    *result = Some(changed.is_ok());
                }
            }
            if results.iter().any(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        drop(waits);
        let changed = results.contains(&Some(true));
        let mut results = results.into_iter();
        watches.retain(|_| results.next().flatten() != Some(false));
        if changed {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Is the first list of this kind still to come, and soon?
fn expects_list(snapshot: &Snapshot, kind: ListKind) -> bool {
    let coming = match snapshot.state {
        // Lazy and never listed before: its lists are only to be had by starting it.
        State::Starting | State::Stopped => true,
        // The first list makes it ready, the others follow. What has not come soon has failed.
        State::Ready => {
            snapshot.ready_since.is_some_and(|at| at.elapsed().is_ok_and(|since| since < AGGREGATE_LIST_WAIT))
        }
        State::Backoff | State::Failed | State::Stopping | State::Disabled => false,
    };
    coming && snapshot.lists.get(kind).is_none() && may_have(snapshot.handshake.as_deref(), &snapshot.lists, kind)
}

impl Aggregate {
    /// Waits until no server is expected to have its first list of this kind soon, at most `AGGREGATE_LIST_WAIT`.
    /// Starts lazy servers that were never listed. A server that was waited for in vain is not waited for again until
    /// its child is another one.
    pub(super) async fn wait_for_lists(&self, kind: ListKind) {
        let registry = self.registry.borrow().clone();
        let awaited: Vec<ServerHandle> =
            registry.running().filter(|server| self.awaits(server, kind)).cloned().collect();
        if awaited.is_empty() {
            return;
        }
        let deadline = Instant::now() + AGGREGATE_LIST_WAIT;
        let waits = awaited.iter().map(|server| wait_for_list(server, kind)).collect();
        if timeout_at(deadline, all(waits)).await.is_err() {
            let mut patience = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
            // Servers come and go: what is not configured any more needs no memory.
            patience.retain(|name, _| registry.get(name.as_ref()).is_some());
            for server in awaited {
                let snapshot = server.snapshot();
                if expects_list(&snapshot, kind) {
                    tracing::info!(server = %server.name(), kind = kind.items_key(), "no list in time: left out for now");
                    patience.insert(server.name().clone(), snapshot.generation);
                }
            }
        }
    }

    fn awaits(&self, server: &ServerHandle, kind: ListKind) -> bool {
        let snapshot = server.snapshot();
        let patience = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        expects_list(&snapshot, kind) && patience.get(server.name()) != Some(&snapshot.generation)
    }
}

/// Waits until a server's first list is there or not to be expected.
async fn wait_for_list(server: &ServerHandle, kind: ListKind) {
    let mut watch = server.watch();
    if watch.borrow_and_update().state == State::Stopped {
        server.wake().await;
    }
    while expects_list(&watch.borrow_and_update(), kind) {
        if watch.changed().await.is_err() {
            return;
        }
    }
}

/// Runs all of them at once until all are done.
async fn all<F: Future<Output = ()>>(waits: Vec<F>) {
    let mut waits: Vec<Pin<Box<F>>> = waits.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        waits.retain_mut(|wait| wait.as_mut().poll(context).is_pending());
        if waits.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

//! Which requests of the client are in flight.
//!
//! In: requests, and their ends. Out: a [`Call`] for each, or why there is no place for it. Owns the table. May not: wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::mcp::error::Reason;
use crate::mcp::{ErrorObject, Method, RequestId};

/// A request in flight.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: RequestId,
    pub(super) method: Method,
    /// It stands for itself, and ends with its connection.
    pub(super) is_modern: bool,
    /// The client does not want the answer any more.
    pub(super) cancelled: CancellationToken,
    /// It is over.
    pub(super) done: CancellationToken,
}

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<HashMap<RequestId, Arc<Call>>>);

impl Calls {
    /// Takes a place, which [`Self::finish`] gives back.
    pub(super) fn begin(&self, id: RequestId, method: Method, is_modern: bool) -> Result<Arc<Call>, ErrorObject> {
        let mut calls = self.lock();
        if calls.contains_key(&id) {
            return Err(ErrorObject::invalid_request("Invalid request: a request with this id is in flight"));
        }
        if calls.len() >= limits::STDIO_CALLS_MAX {
            let why = format!("More than {} requests are in flight.", limits::STDIO_CALLS_MAX);
            return Err(ErrorObject::internal(Reason::Overloaded, why));
        }
        let (cancelled, done) = (CancellationToken::new(), CancellationToken::new());
        let call = Arc::new(Call { id: id.clone(), method, is_modern, cancelled, done });
        calls.insert(id, call.clone());
        Ok(call)
    }

    /// The request of this id.
    pub(super) fn get(&self, id: &RequestId) -> Option<Arc<Call>> {
        self.lock().get(id).cloned()
    }

    /// It is over, before its answer is said: its id may be used again as soon as the client sees that.
    pub(super) fn finish(&self, call: &Call) {
        self.lock().remove(&call.id);
        call.done.cancel();
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Arc<Call>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! One call of a modern client at a server: the outlet that brings what belongs to it to its seat.
//!
//! In: deliveries from an instance. Out: messages and one outcome on the seat. Owned by the instance until the call is
//! over, and by the seat. May not: wait; answer twice; hand a child's request to the client as a request.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::aggregate::{Aggregate, UriForm};
use crate::mcp::{Method, Outcome, Raw};
use crate::server::{CallId, Client, Delivery, InstanceHandle, Outlet, ServerHandle};
use crate::session::ring::Weight;

use super::Shared;
use super::outcome;
use super::seat::{Occupant, Seat};

/// See the module's header.
pub(super) struct Call {
    pub(super) number: CallId,
    pub(super) method: Method,
    pub(super) client: Arc<Client>,
    pub(super) server: ServerHandle,
    pub(super) instance: InstanceHandle,
    /// On the aggregate endpoint: who rewrites what comes from the server.
    pub(super) aggregate: Option<Arc<Aggregate>>,
    pub(super) shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seat: Option<Arc<Seat>>,
    /// What the child asked for and the client cannot be asked.
    lacks: Option<Raw>,
}

impl Call {
    pub(super) fn new(
        number: CallId,
        seat: &Arc<Seat>,
        client: Arc<Client>,
        server: &ServerHandle,
        instance: InstanceHandle,
        aggregate: Option<&Arc<Aggregate>>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            number,
            method: seat.method.clone(),
            client,
            server: server.clone(),
            instance,
            aggregate: aggregate.cloned(),
            shared,
            state: Mutex::new(State { seat: Some(seat.clone()), lacks: None }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    fn seat(&self) -> Option<Arc<Seat>> {
        self.lock().seat.clone()
    }

    fn finish(&self, from: &InstanceHandle, outcome: Outcome) {
        let (seat, lacks) = {
            let mut state = self.lock();
            (state.seat.take(), state.lacks.take())
        };
        let Some(seat) = seat else { return };
        let handshake = from.snapshot().handshake.clone();
        let answer = outcome::readable(&self.method, self.client.can, handshake.as_deref(), outcome, lacks.as_ref());
        seat.relay(self.number, answer);
    }

    fn notify(&self, method: &Method, params: Option<Raw>) {
        // Nothing else belongs to one request (2026-07-28, basic/transports/streamable-http).
        if *method != Method::LogMessage {
            return;
        }
        let Some(seat) = self.seat() else { return };
        let params = match &self.aggregate {
            Some(aggregate) => aggregate.outward(self.server.name(), method, params, UriForm::Own),
            None => params,
        };
        seat.tell(Weight::Light, method, params.as_ref());
    }

    /// Takes the call back at the server.
    fn cancel(&self) {
        if !self.instance.cancel_now(self.number) {
            let (instance, number) = (self.instance.clone(), self.number);
            drop(self.shared.scope.spawn("cancel", async move { instance.cancel(number, None).await }));
        }
    }
}

impl Outlet for Call {
    fn deliver(&self, from: &InstanceHandle, delivery: Delivery) {
        match delivery {
            Delivery::Finish(outcome) => self.finish(from, outcome),
            Delivery::Progress { params } => {
                if let Some(seat) = self.seat() {
                    seat.stream.progress(self.number, &params);
                }
            }
            Delivery::Notification { method, params } => self.notify(&method, params),
            Delivery::Lacks(required) => self.lock().lacks = Some(required),
            Delivery::Ask(_) | Delivery::Withdraw(_) => {}
            Delivery::Cancelled => {
                let seat = self.lock().seat.take();
                if let Some(seat) = seat {
                    seat.stream.respond_never(self.number);
                }
            }
        }
    }
}

impl Occupant for Call {
    fn left(&self, _seat: &Seat) {
        self.lock().seat = None;
        self.cancel();
    }
}

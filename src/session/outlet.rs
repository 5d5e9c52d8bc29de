//! The outlet of a session at one instance: what belongs to no call.
//!
//! In: deliveries from an instance. Out: messages on the session's GET stream, or in its outbox. Held by the instance;
//! it does not keep an ended session alive. May not: wait.

use std::sync::{Arc, Weak};

use crate::aggregate::{Aggregate, UriForm};
use crate::config::ServerName;
use crate::mcp::error::Reason;
use crate::mcp::splice::Object;
use crate::mcp::{ErrorObject, Method, Raw};
use crate::server::{Delivery, InstanceHandle, Outlet};

use super::call::{ask_client, refuse_ask};
use super::state::{Binding, Session};

/// See the module's header.
#[derive(Debug)]
pub(super) struct SessionOutlet {
    pub(super) session: Weak<Session>,
    pub(super) binding: Weak<Binding>,
}

impl SessionOutlet {
    fn notify(session: &Session, binding: &Binding, method: &Method, params: Option<Raw>) {
        if binding.aggregate.is_some() && Aggregate::swallows(method) {
            return;
        }
        let form = session.uri_form(binding.server.name(), method, params.as_ref());
        let params = binding.outward(method, params, form);
        session.tell(method, params.as_ref());
    }
}

impl Outlet for SessionOutlet {
    fn deliver(&self, from: &InstanceHandle, delivery: Delivery) {
        let (Some(session), Some(binding)) = (self.session.upgrade(), self.binding.upgrade()) else { return };
        match delivery {
            Delivery::Notification { method, params } => Self::notify(&session, &binding, &method, params),
            Delivery::Ask(ask) => {
                if let Some(stream) = session.listening() {
                    ask_client(&session, &binding, from, ask, &stream);
                } else {
                    let error = ErrorObject::internal(Reason::CallerGone, "the client does not listen");
                    refuse_ask(&session, from, ask.id, error);
                }
            }
            Delivery::Withdraw(ask) => session.withdraw_ask(binding.number, ask),
            // These belong to calls.
            Delivery::Progress { .. }
            | Delivery::Lacks(_)
            | Delivery::Finish(_)
            | Delivery::Result(_)
            | Delivery::Cancelled => {}
        }
    }

    fn listens(&self) -> bool {
        self.session.upgrade().is_some_and(|session| session.listening().is_some())
    }
}

impl Session {
    /// How this session wrote the URI that an update names.
    fn uri_form(&self, server: &ServerName, method: &Method, params: Option<&Raw>) -> UriForm {
        if *method != Method::ResourceUpdated {
            return UriForm::Own;
        }
        let uri = params.and_then(Object::scan).and_then(|params| params.get_str("uri")).unwrap_or_default();
        self.lock().subscriptions.get(&(server.clone(), uri)).copied().unwrap_or_default()
    }
}

/// An outlet for calls whose answer nobody waits for.
#[derive(Debug)]
pub(super) struct Nobody;

impl Outlet for Nobody {
    fn deliver(&self, _from: &InstanceHandle, _delivery: Delivery) {}
}

impl Nobody {
    pub(super) fn shared() -> Arc<dyn Outlet> {
        Arc::new(Self)
    }
}

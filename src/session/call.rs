//! The outlet of one request: brings what belongs to it to the stream of its POST.
//!
//! In: deliveries from an instance. Out: messages on the call's stream. Owned by the instance until the call is over,
//! and by its session's table. May not: wait; answer twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::aggregate::UriForm;
use crate::bridge::ask::with_elicitation_id;
use crate::bridge::{error, result};
use crate::config::ServerName;
use crate::mcp::error::Reason;
use crate::mcp::message::{notification_bytes, request_bytes, response_pieces, result_pieces};
use crate::mcp::meta::Level;
use crate::mcp::splice::{Object, progress_token, with_progress_token};
use crate::mcp::{Era, ErrorObject, Method, Outcome, ProtocolVersion, Raw, RequestId};
use crate::server::{Ask, AskId, CallId, Delivery, InstanceHandle, Outlet};

use super::convert;
use super::negotiate::tasks_usable;
use super::ring::Weight;
use super::state::{Binding, OpenAsk, Session};
use super::stream::Stream;
use super::table::new_id;

/// What a call changes in its session once the server agreed.
#[derive(Debug)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// `logging/setLevel`
    Level(Level),
    /// `resources/subscribe`, with the URI as the server knows it.
    Subscribe(ServerName, String, UriForm),
    /// `resources/unsubscribe`
    Unsubscribe(ServerName, String),
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) session: Arc<Session>,
    pub(super) number: CallId,
    pub(super) id: RequestId,
    pub(super) method: Method,
    pub(super) version: ProtocolVersion,
    pub(super) stream: Arc<Stream>,
    pub(super) binding: OnceLock<Arc<Binding>>,
    pub(super) effect: OnceLock<Effect>,
    pub(super) cancelled: AtomicBool,
}

impl Call {
    /// Ends it with an outcome that hub or the server made.
    pub(super) fn finish(&self, outcome: Outcome) {
        self.finish_with(outcome, None);
    }

    /// The same; `read`: the result, if its members are known.
    fn finish_with(&self, outcome: Outcome, read: Option<Object>) {
        if !self.session.finish(&self.id, self.number) {
            // Cancelled a moment ago: the client does not expect a response any more.
            return self.stream.respond_never(self.number);
        }
        if let (Outcome::Result(_), Some(effect)) = (&outcome, self.effect.get()) {
            self.session.apply(effect);
        }
        let pieces = match self.in_own_era(outcome, read) {
            Told::Whole(outcome) => response_pieces(&self.id, &self.readable(outcome)),
            Told::Pieces(pieces) => result_pieces(&self.id, &pieces),
        };
        self.stream.respond_in_pieces(Some(self.number), pieces);
        self.session.make_room();
    }

    /// The outcome as a legacy server would have told it.
    fn in_own_era(&self, outcome: Outcome, read: Option<Object>) -> Told {
        let handshake = self.binding.get().and_then(|binding| binding.instance.handshake());
        if handshake.is_none_or(|handshake| handshake.era == Era::Legacy) {
            return Told::Whole(outcome);
        }
        let result = match outcome {
            Outcome::Result(result) => result,
            Outcome::Error(error) => return Told::Whole(Outcome::Error(error::to_legacy(&self.method, error))),
        };
        let read = read.filter(|read| read.is_of(&result)).or_else(|| Object::scan(&result));
        let read = read.ok_or_else(result::not_an_object);
        match read.and_then(|read| result::to_legacy(&self.method, &read)) {
            Ok(pieces) if convert::may_concern(self.version, &self.method) => {
                Told::Whole(Outcome::Result(Raw::from(pieces.concat())))
            }
            Ok(pieces) => Told::Pieces(pieces),
            Err(error) => Told::Whole(error.into()),
        }
    }

    /// The outcome in this session's revision; untouched unless a search says otherwise.
    fn readable(&self, outcome: Outcome) -> Outcome {
        if !convert::concerns(self.version, &self.method, &outcome) {
            return outcome;
        }
        let handshake = self.binding.get().and_then(|binding| match binding.aggregate {
            None => binding.instance.handshake(),
            // There are no tasks on the aggregate endpoint.
            Some(_) => None,
        });
        let reader = convert::Reader {
            version: self.version,
            opens_urls: self.session.hello().is_some_and(|hello| hello.capabilities.elicitation_url),
            has_tasks: handshake.is_some_and(|handshake| tasks_usable(self.version, &handshake)),
        };
        convert::outcome(reader, &self.method, outcome)
    }

    fn notify(&self, method: &Method, params: Option<Raw>) {
        let weight = if *method == Method::LogMessage { Weight::Light } else { Weight::Kept };
        let params = self.binding.get().and_then(|binding| binding.outward(method, params.clone(), UriForm::Own));
        self.stream.send(weight, notification_bytes(method, params.as_ref()));
    }
}

impl Outlet for Call {
    fn deliver(&self, from: &InstanceHandle, delivery: Delivery) {
        match delivery {
            Delivery::Finish(outcome) => self.finish(outcome),
            Delivery::Result(object) => self.finish_with(Outcome::Result(object.raw().clone()), Some(object)),
            Delivery::Progress { params } => self.stream.progress(self.number, &params),
            Delivery::Notification { method, params } => self.notify(&method, params),
            Delivery::Ask(ask) => {
                if let Some(binding) = self.binding.get() {
                    ask_client(&self.session, binding, from, ask, &self.stream);
                }
            }
            Delivery::Withdraw(ask) => {
                if let Some(binding) = self.binding.get() {
                    self.session.withdraw_ask(binding.number, ask);
                }
            }
            // A session's refused ask is the server's to deal with.
            Delivery::Lacks(_) => {}
            Delivery::Cancelled => {
                self.cancelled.store(true, Ordering::Relaxed);
                self.session.finish(&self.id, self.number);
                self.stream.respond_never(self.number);
            }
        }
    }
}

/// An outcome of a server, in words of the legacy era.
enum Told {
    /// To be made readable for the session's revision.
    Whole(Outcome),
    /// A result that every revision of the era can read, in pieces.
    Pieces(Vec<Raw>),
}

/// Shows a child's request to the client, under the session's own number; refuses it where it cannot be shown.
pub(super) fn ask_client(
    session: &Arc<Session>,
    binding: &Arc<Binding>,
    from: &InstanceHandle,
    ask: Ask,
    stream: &Arc<Stream>,
) {
    let id = ask.id;
    if let Err(error) = show(session, binding, ask, stream) {
        refuse_ask(session, from, id, error);
    }
    session.make_room();
}

fn show(session: &Session, binding: &Arc<Binding>, ask: Ask, stream: &Arc<Stream>) -> Result<(), ErrorObject> {
    let gone = || ErrorObject::internal(Reason::CallerGone, "the client cannot be asked on this connection");
    if !stream.takes_asks() {
        return Err(gone());
    }
    let params = ask.params.map(|params| convert::ask(session.version(), &ask.method, params)).transpose()?;
    let params = params.map(|params| with_elicitation_id(params, || new_id().map(|id| id.to_string()))).transpose()?;
    let open =
        OpenAsk { binding: binding.clone(), ask: ask.id, method: ask.method.clone(), stream: Arc::downgrade(stream) };
    let number = session.open_ask(open).ok_or_else(gone)?;
    let id = RequestId::from_number(number);
    let params = params.map(|params| ask_params(&params, &id));
    let params = binding.outward(&ask.method, params, UriForm::Own);
    if !stream.send(Weight::Kept, request_bytes(&id, &ask.method, params.as_ref())) {
        session.take_ask(number);
        return Err(gone());
    }
    Ok(())
}

/// Answers an ask with an error. Not at once: deliveries come from the instance's own task, which must not wait for room
/// in its own queue.
pub(super) fn refuse_ask(session: &Session, from: &InstanceHandle, ask: AskId, error: ErrorObject) {
    let from = from.clone();
    session.shared.scope.spawn("refuse", async move { from.answer(ask, error.into()).await });
}

/// The params of an ask as the client sees them: its progress token is the ask's own number (unique in the session),
/// and no `task`, because hub did not declare client tasks to the child (PROTOCOL 1.11 "Relay").
fn ask_params(params: &Raw, id: &RequestId) -> Raw {
    let params = match progress_token(params) {
        Some(_) => with_progress_token(params, Some(id.raw())),
        None => params.clone(),
    };
    match memchr::memmem::find(&params, b"\"task\"").and_then(|_| Object::scan(&params)) {
        Some(object) => object.edit(&[("task", None)]),
        None => params,
    }
}

impl Binding {
    /// Params of a message of this server as this session is to see them.
    pub(super) fn outward(&self, method: &Method, params: Option<Raw>, form: UriForm) -> Option<Raw> {
        match &self.aggregate {
            Some(aggregate) => aggregate.outward(self.server.name(), method, params, form),
            None => params,
        }
    }
}

//! One call of a modern client at a server: the outlet that brings what belongs to it to the seat of the request that
//! waits for it.
//!
//! In: deliveries from an instance; clients that leave, or come back to a parked call. Out: messages and one outcome per
//! seat. Owned by the instance until the call is over, by its seat, and by the table of parked calls. May not: wait;
//! answer twice; hand a child's request to the client as a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::aggregate::{Aggregate, UriForm};
use crate::bridge::ask::{missing, with_questions};
use crate::bridge::parked::{Output, Parked, Refused, Rules};
use crate::bridge::result::{ResultKind, kind};
use crate::bridge::state::{Digest, Kind, digest};
use crate::mcp::error::Reason;
use crate::mcp::meta::Level;
use crate::mcp::splice::Object;
use crate::mcp::{Era, ErrorObject, Method, Outcome, Raw};
use crate::server::{Ask, AskId, CallId, Client, Delivery, Handshake, InstanceHandle, Outlet, ServerHandle};
use crate::session::EndpointId;
use crate::session::ring::Weight;

use super::outcome::{self, Answer};
use super::park::interim;
use super::seat::{Occupant, Seat};
use super::{Shared, visit};

/// What a call is, from its beginning to its end.
pub(super) struct Parts {
    pub(super) number: CallId,
    pub(super) client: Arc<Client>,
    pub(super) endpoint: EndpointId,
    pub(super) server: ServerHandle,
    pub(super) instance: InstanceHandle,
    /// On the aggregate endpoint: who rewrites what comes from the server.
    pub(super) aggregate: Option<Arc<Aggregate>>,
    /// The client's own params, if they may have to be recognised.
    pub(super) params: Option<Raw>,
    /// How often the server has refused it until URLs were visited.
    pub(super) reissued: u32,
}

/// See the module's header.
pub(super) struct Call {
    pub(super) parts: Parts,
    pub(super) method: Method,
    pub(super) shared: Arc<Shared>,
    me: Weak<Self>,
    /// It is over, and its end waits for a client to come back. Read under other locks than its own.
    done: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The request that waits for it now.
    seat: Option<Arc<Seat>>,
    /// The seat that was last answered with questions: its client may leave before it has read them.
    last: Option<u64>,
    /// Who sent the last retry: what it declared counts, not what the first request did.
    retried_by: Option<Arc<Client>>,
    /// What the child asked for and the client cannot be asked.
    lacks: Option<Raw>,
    /// Since the child asked something.
    parked: Option<Parked>,
    /// How the table of parked calls knows it.
    ticket: Option<u128>,
    params: Option<Raw>,
    digest: Option<Digest>,
    over: bool,
    armed: Option<Duration>,
    timer: Option<AbortHandle>,
}

/// What is left to be done when the lock is released.
#[derive(Default)]
struct Acts {
    say: Option<(Arc<Seat>, Answer)>,
    feed: Vec<(AskId, Outcome)>,
    cancel: bool,
    forget: Option<u128>,
}

impl Call {
    pub(super) fn new(mut parts: Parts, seat: &Arc<Seat>, shared: Arc<Shared>) -> Arc<Self> {
        let params = parts.params.take();
        let state = State { seat: Some(seat.clone()), params, ..State::default() };
        Arc::new_cyclic(|me| Self {
            parts,
            method: seat.method.clone(),
            shared,
            me: me.clone(),
            done: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    fn now(&self) -> Duration {
        self.shared.started.elapsed()
    }

    // --- what the child sends ----------------------------------------------------------------------------------

    /// `read`: the result, if its members are known.
    fn finish(&self, outcome: Outcome, read: Option<Object>) {
        self.change(|call, state, acts| match &mut state.parked {
            Some(parked) => {
                let outputs = parked.end(outcome);
                call.take_up(state, outputs, acts);
                call.done.store(!state.over, Ordering::Relaxed);
            }
            None => call.conclude(state, (outcome, read), acts),
        });
    }

    /// Whether nothing runs for it any more.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    fn notify(&self, method: &Method, params: Option<Raw>) {
        // Nothing else belongs to one request (2026-07-28, basic/transports/streamable-http).
        if *method != Method::LogMessage {
            return;
        }
        let Some(seat) = self.lock().seat.clone() else { return };
        // The instance knows what the first request wanted: a retry may want less, but what it wants beyond that was
        // never asked of the server's process, which may serve others, too.
        let Some(wanted) = seat.level else { return };
        if log_level(params.as_ref()).is_some_and(|level| level < wanted) {
            return;
        }
        seat.tell(Weight::Light, method, self.outward(method, params).as_ref());
    }

    fn outward(&self, method: &Method, params: Option<Raw>) -> Option<Raw> {
        match &self.parts.aggregate {
            Some(aggregate) => aggregate.outward(self.parts.server.name(), method, params, UriForm::Own),
            None => params,
        }
    }

    /// The child asks something: the call is parked, or about to be.
    fn ask(&self, ask: Ask) {
        let Ask { id, method, params } = ask;
        let params = self.outward(&method, params);
        self.change(|call, state, acts| {
            if let Err(error) = call.prepare(state) {
                acts.feed.push((id, error.into()));
                return;
            }
            // The instance knows what the first request's client declared. While none waits, the next will tell.
            let attached = state.parked.as_ref().is_some_and(Parked::is_attached);
            let client = state.retried_by.as_ref().filter(|_| attached);
            if let Some(missing) = client.and_then(|client| missing(&method, params.as_ref(), client.can)) {
                state.lacks = Some(missing.required);
                acts.feed.push((id, missing.error.into()));
                return;
            }
            let outputs = state.parked.as_mut().map(|parked| parked.ask(id.0, method, params.as_ref(), call.now()));
            call.take_up(state, outputs.unwrap_or_default(), acts);
        });
    }

    /// Makes sure that the call can be parked.
    fn prepare(&self, state: &mut State) -> Result<(), ErrorObject> {
        if state.over {
            return Err(ErrorObject::internal(Reason::CallerGone, "the client is gone"));
        }
        if state.parked.is_some() {
            return Ok(());
        }
        let me = self.me.upgrade().ok_or_else(|| ErrorObject::internal(Reason::CallerGone, "the call is over"))?;
        state.ticket = Some(self.shared.parks.admit(me)?);
        let handshake = self.parts.instance.handshake();
        state.parked = Some(Parked::new(Rules {
            expiry: self.parts.server.spec().park_timeout,
            child_version: handshake.map(|handshake| handshake.version.clone()),
            with_context: self.parts.client.can.sampling_context,
            ..Rules::default()
        }));
        Ok(())
    }

    // --- what the client does ----------------------------------------------------------------------------------

    /// A retry takes the seat of this parked call. From now on its client is the one that is asked, or cannot be.
    pub(super) fn attach(
        &self,
        seat: &Arc<Seat>,
        client: &Arc<Client>,
        (round, responses): (u32, Option<&Raw>),
        token: Option<Raw>,
    ) -> Result<(), Refused> {
        self.change(|call, state, acts| {
            let State { parked, lacks, .. } = state;
            let parked = parked.as_mut().ok_or(Refused::Stale)?;
            let may_not = |method: &Method, params: Option<&Raw>| {
                let missing = missing(method, params, client.can)?;
                *lacks = Some(missing.required);
                Some(missing.error)
            };
            let outputs = parked.attach(round, responses, may_not, call.now())?;
            state.retried_by = Some(client.clone());
            if let Some(token) = token {
                seat.stream.expect_progress(call.parts.number, token);
            }
            if let Some(me) = call.me.upgrade() {
                seat.occupy(me);
            }
            state.seat = Some(seat.clone());
            call.take_up(state, outputs, acts);
            Ok(())
        })
    }

    /// Ends it from hub's side: nobody may come back to it.
    pub(super) fn give_up(&self, why: &str) {
        self.change(|call, state, acts| {
            let outputs = state.parked.as_mut().map(|parked| parked.give_up(why));
            call.take_up(state, outputs.unwrap_or_default(), acts);
        });
    }

    /// Whether the child that asked is still the one that runs.
    pub(super) fn is_of(&self, epoch: u64) -> bool {
        self.parts.instance.snapshot().generation == epoch
    }

    /// Whether no request waits for it now.
    pub(super) fn is_parked(&self) -> bool {
        self.lock().parked.as_ref().is_some_and(|parked| !parked.is_attached())
    }

    fn tick(&self) {
        // Large params take their time, which the instance's own task, waiting for the lock, must not lose.
        let undigested = {
            let state = self.lock();
            state.digest.is_none().then(|| state.params.clone())
        };
        let digest = undigested.map(|params| digest(&self.method, params.as_ref()));
        self.change(|call, state, acts| {
            (state.armed, state.timer) = (None, None);
            if let Some(digest) = digest {
                (state.digest, state.params) = (Some(digest), None);
            }
            let outputs = state.parked.as_mut().map(|parked| parked.tick(call.now()));
            call.take_up(state, outputs.unwrap_or_default(), acts);
        });
    }

    // --- consequences ------------------------------------------------------------------------------------------

    /// Changes the state, and does what follows from that after the lock is released.
    fn change<T>(&self, change: impl FnOnce(&Self, &mut State, &mut Acts) -> T) -> T {
        let mut acts = Acts::default();
        let value = {
            let mut state = self.lock();
            let value = change(self, &mut state, &mut acts);
            self.arm(&mut state);
            value
        };
        self.carry_out(acts);
        value
    }

    fn take_up(&self, state: &mut State, outputs: Vec<Output>, acts: &mut Acts) {
        for output in outputs {
            match output {
                Output::Answer { input_requests, round } => {
                    let Some(seat) = state.seat.take() else { continue };
                    state.last = Some(seat.stream.number());
                    let (ticket, params) = (state.ticket.unwrap_or_default(), state.digest.unwrap_or_default());
                    let sealed = self.shared.sealed(self, Kind::Parked(ticket), round, params);
                    acts.say = Some((seat, interim(self, &input_requests, &sealed)));
                }
                Output::FeedChild { ask, outcome } => acts.feed.push((AskId(ask), outcome)),
                Output::Finish(outcome) => self.conclude(state, (outcome, None), acts),
                Output::Expire { asks, cancel } => {
                    (state.over, state.seat) = (true, None);
                    acts.feed.extend(asks.into_iter().map(|(ask, outcome)| (AskId(ask), outcome)));
                    acts.cancel = cancel;
                    acts.forget = state.ticket.take();
                }
            }
        }
    }

    /// The call is over: its end goes to who waits for it.
    fn conclude(&self, state: &mut State, (outcome, read): (Outcome, Option<Object>), acts: &mut Acts) {
        state.over = true;
        acts.forget = state.ticket.take();
        let (Some(seat), lacks) = (state.seat.take(), state.lacks.take()) else { return };
        let handshake = self.parts.instance.handshake();
        let (outcome, read) = self.named(outcome, read, handshake.as_deref());
        let can = state.retried_by.as_ref().unwrap_or(&self.parts.client).can;
        let params = state.params.take();
        let recognised = state.digest;
        let digest = || recognised.unwrap_or_else(|| digest(&self.method, params.as_ref()));
        let reissue = visit::required(self, can, &outcome, digest);
        let answer = reissue.unwrap_or_else(|| {
            outcome::readable((&self.method, can), handshake.as_deref(), (outcome, read), lacks.as_ref())
        });
        acts.say = Some((seat, answer));
    }

    /// On the aggregate endpoint, questions say which server asks, also those that are a result of a modern one.
    fn named(
        &self,
        outcome: Outcome,
        read: Option<Object>,
        handshake: Option<&Handshake>,
    ) -> (Outcome, Option<Object>) {
        let may_ask = self.parts.aggregate.is_some()
            && self.method.may_need_input()
            && handshake.is_some_and(|handshake| handshake.era == Era::Modern);
        match outcome {
            Outcome::Result(result) if may_ask && is_question(&result, read.as_ref()) => {
                (Outcome::Result(with_questions(&result, |method, params| self.outward(method, params))), None)
            }
            other => (other, read),
        }
    }

    fn carry_out(&self, acts: Acts) {
        let Acts { say, feed, cancel, forget } = acts;
        if let Some((seat, answer)) = say {
            seat.relay(self.parts.number, answer);
        }
        if let Some(ticket) = forget {
            self.shared.parks.forget(ticket);
        }
        if feed.is_empty() {
            if cancel {
                self.cancel();
            }
            return;
        }
        // Not at once: deliveries come from the instance's own task, which must not wait for room in its own queue.
        let (instance, number) = (self.parts.instance.clone(), self.parts.number);
        drop(self.shared.scope.spawn("parked-answers", async move {
            for (ask, outcome) in feed {
                instance.answer(ask, outcome).await;
            }
            if cancel {
                instance.cancel(number, None).await;
            }
        }));
    }

    /// Takes the call back at the server.
    fn cancel(&self) {
        if !self.parts.instance.cancel_now(self.parts.number) {
            let (instance, number) = (self.parts.instance.clone(), self.parts.number);
            drop(self.shared.scope.spawn("cancel", async move { instance.cancel(number, None).await }));
        }
    }

    /// Sets the call's one timer to its deadline.
    fn arm(&self, state: &mut State) {
        let deadline = state.parked.as_ref().and_then(Parked::deadline);
        if deadline == state.armed {
            return;
        }
        state.armed = deadline;
        if let Some(timer) = state.timer.take() {
            timer.abort();
        }
        let Some(deadline) = deadline else { return };
        let (me, at) = (self.me.clone(), self.shared.started + deadline);
        let stop = self.shared.scope.stopping().clone();
        let timer = self.shared.scope.spawn("parked", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep_until(at) => if let Some(call) = me.upgrade() { call.tick() },
            }
        });
        state.timer = Some(timer.abort_handle());
    }
}

impl Outlet for Call {
    fn deliver(&self, _from: &InstanceHandle, delivery: Delivery) {
        match delivery {
            Delivery::Finish(outcome) => self.finish(outcome, None),
            Delivery::Result(object) => self.finish(Outcome::Result(object.raw().clone()), Some(object)),
            Delivery::Progress { params } => {
                // Not in the condition, which would hold the lock while a reader is woken.
                let seat = self.lock().seat.clone();
                if let Some(seat) = seat {
                    seat.stream.progress(self.parts.number, &params);
                }
            }
            Delivery::Notification { method, params } => self.notify(&method, params),
            Delivery::Lacks(required) => self.lock().lacks = Some(required),
            Delivery::Ask(ask) => self.ask(ask),
            Delivery::Withdraw(ask) => self.change(|_, state, _| {
                if let Some(parked) = &mut state.parked {
                    parked.withdraw(ask.0);
                }
            }),
            Delivery::Cancelled => {
                let seat = self.change(|call, state, acts| {
                    let outputs = state.parked.as_mut().map(|parked| parked.give_up("the call was cancelled"));
                    call.take_up(state, outputs.unwrap_or_default(), acts);
                    (acts.cancel, state.over) = (false, true);
                    state.seat.take()
                });
                if let Some(seat) = seat {
                    seat.stream.respond_never(self.parts.number);
                }
            }
        }
    }
}

impl Occupant for Call {
    fn left(&self, seat: &Seat) {
        let number = seat.stream.number();
        self.change(|call, state, acts| {
            let is_now = state.seat.as_ref().is_some_and(|now| now.stream.number() == number);
            // A request that was answered with questions nobody read counts as one that was left.
            if state.over || !(is_now || (state.seat.is_none() && state.last == Some(number))) {
                return;
            }
            if let Some(parked) = &mut state.parked {
                let outputs = parked.give_up("the client is gone");
                call.take_up(state, outputs, acts);
            } else {
                (state.over, state.seat, acts.cancel) = (true, None, true);
            }
        });
    }
}

fn is_question(result: &Raw, read: Option<&Object>) -> bool {
    let found = if read.is_none() { Object::scan(result) } else { None };
    kind(read.or(found.as_ref())) == ResultKind::InputRequired
}

fn log_level(params: Option<&Raw>) -> Option<Level> {
    Level::parse(&Object::scan(params?)?.get_str("level")?)
}

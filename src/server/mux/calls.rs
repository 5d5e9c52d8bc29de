//! Calls: the queue, wire ids, cancellation, and what becomes of them when the child dies.
//!
//! In: calls and cancellations of callers, the child's end. Out: lines and deliveries through the [`Mux`]. Owns nothing
//! of its own. May not: repeat a call that may have had an effect (DESIGN 5).

use std::sync::Arc;
use std::time::Duration;

use crate::bridge::rounds::Rounds;
use crate::config::Concurrency;
use crate::limits::{CALLS_PER_INSTANCE_MAX, GHOST, TOMBSTONE};
use crate::mcp::error::Reason;
use crate::mcp::message::notification_line;
use crate::mcp::splice::Object;
use crate::mcp::{ErrorObject, Method, Outcome, Raw, WireId, scan};

use super::super::client::Client;
use super::super::handle::Hints;
use super::super::outlet::{CallId, CallerId, Delivery};
use super::timers::Timer;
use super::{Mux, Phase};

/// What a call is for, and so who wants its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A caller's, or one of the instance's own lists: delivered to its outlet.
    Delivered,
    /// `logging/setLevel`; the call of the caller whose wish it was waits for it.
    Level(Option<CallId>),
    Subscribe(String),
    Unsubscribe(String),
    /// Nobody wants the response.
    Forgotten,
}

/// A request of a caller, or of the mux itself, until its response.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) caller: CallerId,
    /// The client, when the caller exists for this call only.
    pub(super) client: Option<Arc<Client>>,
    pub(super) method: Method,
    pub(super) params: Option<Raw>,
    pub(super) purpose: Purpose,
    /// Set once it was written.
    pub(super) wire: Option<WireId>,
    /// When the child last gave a sign about it.
    pub(super) last_sign: Duration,
    /// What its params hold.
    pub(super) hints: Hints,
    /// What a modern child wants to know of a legacy client before it completes.
    pub(super) rounds: Option<Box<Rounds>>,
    /// It waits for that client, or for the time to poll, and is neither queued nor written.
    pub(super) asking: bool,
    /// It was already sent to a child that died.
    repeated: bool,
}

impl Call {
    pub(super) fn owner(&self) -> CallerId {
        if self.purpose == Purpose::Delivered { self.caller } else { CallerId::HUB }
    }
}

pub(super) fn overloaded(message: &str) -> Outcome {
    ErrorObject::internal(Reason::Overloaded, message).into()
}

/// Is a member of `params` a string that `accept` takes? Stops at the first such member, so a large payload behind it
/// is not looked at.
fn string_member(params: &Raw, key: &str) -> Option<String> {
    let start = scan::skip_space(params, 0);
    let member =
        scan::members(params, start)?.map_while(Result::ok).find(|m| scan::key_is(&params[m.key.clone()], key))?;
    scan::unquote(&params[member.value]).map(std::borrow::Cow::into_owned)
}

impl Mux {
    /// A request of a caller. Exactly one [`Delivery::Finish`] or [`Delivery::Cancelled`] will follow for it.
    pub fn call(&mut self, id: CallId, caller: CallerId, method: Method, params: Option<Raw>, now: Duration) {
        self.call_with(id, (caller, None), method, params, Hints::UNKNOWN, now);
    }

    /// As [`Self::call`], for params that were scanned already, and for callers that exist for this call only: those
    /// bring their client along, and their level holds while the call runs.
    pub fn call_with(
        &mut self,
        id: CallId,
        (caller, client): (CallerId, Option<Arc<Client>>),
        method: Method,
        params: Option<Raw>,
        hints: Hints,
        now: Duration,
    ) {
        if caller != CallerId::HUB && client.is_none() && !self.callers.contains_key(&caller) {
            // Its session ended while the call was on its way.
            return self.out.push_back(super::Output::Deliver(id, Delivery::Cancelled));
        }
        if self.calls.len() >= CALLS_PER_INSTANCE_MAX {
            return self.finish(id, overloaded("too many requests in flight at this server"));
        }
        match method {
            Method::SetLevel => self.set_level(id, caller, params.as_ref(), now),
            Method::Subscribe | Method::Unsubscribe => {
                self.subscription_call(id, caller, &method, params.as_ref(), now);
            }
            Method::TasksGet | Method::TasksResult | Method::TasksCancel | Method::TasksUpdate => {
                let call = Call { client, ..Call::of(caller, method, params, hints, now) };
                if self.is_about_anothers_task(&call) {
                    self.finish(id, ErrorObject::invalid_params("Unknown task").into());
                } else {
                    self.enqueue(id, call, now);
                }
            }
            method => {
                if let Some(level) = client.as_ref().and_then(|client| client.level) {
                    self.levels.open(caller, Some(level));
                    self.settle_level(None, now);
                }
                let call = Call { client, ..Call::of(caller, method, params, hints, now) };
                self.enqueue(id, call, now);
            }
        }
        self.pump(now);
    }

    /// A list request of the instance itself, for readiness and caches. Goes out while the child is warming.
    pub fn internal_call(&mut self, id: CallId, method: Method, params: Option<Raw>, now: Duration) {
        if self.phase == Phase::Warming {
            let call = Call::own(method, params, Purpose::Delivered, now);
            self.calls.insert(id, call);
            self.send(id, now);
        } else {
            self.enqueue(id, Call::own(method, params, Purpose::Delivered, now), now);
        }
        self.pump(now);
    }

    /// Does this call of a caller name a task that is not its own, or not of the child that is there?
    fn is_about_anothers_task(&self, call: &Call) -> bool {
        let of_task =
            matches!(call.method, Method::TasksGet | Method::TasksResult | Method::TasksCancel | Method::TasksUpdate);
        if !of_task || call.purpose != Purpose::Delivered {
            return false;
        }
        let owner = if call.client.is_some() { CallerId::MODERN } else { call.caller };
        let task = call.params.as_ref().and_then(|params| string_member(params, "taskId"));
        task.and_then(|task| self.tasks.owner(&task)) != Some(owner)
    }

    /// Passes a notification on that hub has no rule for. Lost while there is no child, as a pipe would lose it.
    pub fn notify(&mut self, method: &Method, params: Option<Raw>) {
        if self.phase == Phase::Up {
            self.write(notification_line(method, params));
        }
    }

    /// Takes a call back. Unknown and finished ones are ignored.
    pub fn cancel(&mut self, id: CallId, reason: Option<&str>, now: Duration) {
        if self.calls.contains_key(&id) {
            self.cancel_known(id, reason, now);
        } else if self.subscriptions.cancel(id) || self.cancel_level(id) {
            self.out.push_back(super::Output::Deliver(id, Delivery::Cancelled));
        }
        self.pump(now);
    }

    /// A cancelled `logging/setLevel` no longer wants an answer; the child hears of the level all the same.
    fn cancel_level(&mut self, id: CallId) -> bool {
        let waiter = self.calls.values_mut().find_map(|call| match &mut call.purpose {
            Purpose::Level(waiter) if *waiter == Some(id) => waiter.take(),
            _ => None,
        });
        waiter.is_some()
    }

    pub(super) fn own_call(&mut self, method: Method, params: Option<Raw>, purpose: Purpose, now: Duration) {
        // Own ids live in the upper half, apart from those that callers bring.
        let id = CallId(1 << 63 | self.next_own);
        self.next_own += 1;
        self.enqueue(id, Call::own(method, params, purpose, now), now);
    }

    fn enqueue(&mut self, id: CallId, call: Call, now: Duration) {
        self.calls.insert(id, call);
        self.queue.push_back(id);
        if let Some(timeout) = self.options.request_timeout {
            self.timers.arm(now + timeout, Timer::Call(id));
        }
    }

    /// Writes what waits, in order, as far as attribution allows.
    pub(super) fn dispatch(&mut self, now: Duration) {
        while self.phase == Phase::Up && self.held.is_empty() {
            let Some(&id) = self.queue.front() else { return };
            match self.calls.get(&id).map(Call::owner) {
                Some(owner) if !self.may_run(owner, now) => return,
                Some(_) => {
                    self.queue.pop_front();
                    self.send(id, now);
                }
                None => drop(self.queue.pop_front()),
            }
        }
    }

    /// May a call of this owner be written beside what runs?
    fn may_run(&self, owner: CallerId, now: Duration) -> bool {
        match self.options.concurrency {
            _ if self.is_modern() => true,
            Concurrency::Parallel => true,
            Concurrency::Serial => !self.owners.others_running(owner),
            Concurrency::Auto if self.options.interactive => {
                // Answers go before new calls; a turn ends when its owner completes or waits for an answer.
                let answer_first = self.answers.iter().any(|ask| self.asks[ask].owner() != Some(owner));
                !answer_first && !self.owners.others_unblocked(owner, now)
            }
            Concurrency::Auto => true,
        }
    }

    fn send(&mut self, id: CallId, now: Duration) {
        let Some(call) = self.calls.get(&id) else { return };
        let refusal = if self.facts.unwrap_or_default().admits(&call.method) {
            // The child may be another one than when the call came.
            self.is_about_anothers_task(call).then(|| ErrorObject::invalid_params("Unknown task"))
        } else {
            Some(ErrorObject::method_not_found(call.method.name()))
        };
        if let Some(error) = refusal {
            if let Some(call) = self.calls.remove(&id) {
                self.conclude(id, &call, error.into(), now);
            }
            return;
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        let wire = WireId(self.next_wire);
        self.next_wire += 1;
        call.wire = Some(wire);
        call.last_sign = now;
        let (owner, call) = (call.owner(), &self.calls[&id]);
        let line = self.line_of(call, wire);
        let logs = self.logs_told(call);
        self.owners.sent(owner, wire, logs);
        self.wires.insert(wire, id);
        self.write(line);
    }

    /// A passing caller leaves with its call, and its level with it.
    pub(super) fn left(&mut self, call: &Call, now: Duration) {
        if call.client.as_ref().is_some_and(|client| client.level.is_some()) {
            self.levels.close(call.caller);
            self.settle_level(None, now);
        }
    }

    /// Hands the outcome of a call that is no longer in the table to whoever wants it.
    pub(super) fn conclude(&mut self, id: CallId, call: &Call, outcome: Outcome, now: Duration) {
        self.left(call, now);
        match &call.purpose {
            Purpose::Delivered => self.finish(id, outcome),
            Purpose::Level(waiter) => {
                let outcome =
                    if let Outcome::Error(error) = outcome { Outcome::Error(error) } else { Outcome::empty() };
                waiter.iter().for_each(|waiter| self.finish(*waiter, outcome.clone()));
            }
            Purpose::Subscribe(uri) => {
                let acts = self.subscriptions.subscribed(uri, &outcome, now);
                self.act_on_subscriptions(acts, now);
            }
            Purpose::Unsubscribe(uri) => {
                let acts = self.subscriptions.unsubscribed(uri);
                self.act_on_subscriptions(acts, now);
            }
            Purpose::Forgotten => {}
        }
    }

    pub(super) fn cancel_known(&mut self, id: CallId, reason: Option<&str>, now: Duration) {
        let Some(call) = self.calls.remove(&id) else { return };
        if let Some(wire) = call.wire {
            let mut params = serde_json::json!({ "requestId": wire.0 });
            if let Some(reason) = reason {
                params["reason"] = reason.into();
            }
            self.bury(wire, &call, now);
            self.write(notification_line(&Method::Cancelled, Some(Raw::from(params.to_string()))));
        } else {
            self.end_rounds(id);
            self.queue.retain(|waiting| *waiting != id);
        }
        self.left(&call, now);
        self.out.push_back(super::Output::Deliver(id, Delivery::Cancelled));
    }

    /// A written call is given up: its late answer will be swallowed, and its handler may still ask for a while.
    fn bury(&mut self, wire: WireId, call: &Call, now: Duration) {
        let owner = call.owner();
        self.wires.remove(&wire);
        self.tombs.insert(wire, owner);
        self.owners.haunts(owner, wire, now + GHOST);
        self.timers.arm(now + GHOST, Timer::Look);
        self.timers.arm(now + TOMBSTONE, Timer::Tomb(wire));
        self.call_ended_for_asks(owner, wire, true);
    }

    /// The request timeout of a call may be over.
    pub(super) fn call_silent(&mut self, id: CallId, now: Duration) {
        let (Some(timeout), Some(call)) = (self.options.request_timeout, self.calls.get(&id)) else { return };
        let due = call.last_sign + timeout;
        if due > now {
            return self.timers.arm(due, Timer::Call(id));
        }
        if call.asking {
            // A person who is asked may take longer than a server; that has a bound of its own.
            return self.timers.arm(now + timeout, Timer::Call(id));
        }
        let message = format!("the server gave no sign for {} s (request_timeout)", timeout.as_secs_f64());
        let error: Outcome = ErrorObject::internal(Reason::Timeout, message).into();
        if self.keep_unsent(id, &error) {
            return self.timers.arm(now + timeout, Timer::Call(id));
        }
        let Some(call) = self.calls.remove(&id) else { return };
        if let Some(wire) = call.wire {
            self.bury(wire, &call, now);
            let params = format!("{{\"requestId\":{wire},\"reason\":\"request_timeout\"}}");
            self.write(notification_line(&Method::Cancelled, Some(Raw::from(params))));
        } else {
            self.queue.retain(|waiting| *waiting != id);
        }
        self.conclude(id, &call, error, now);
    }

    /// What the mux has to tell the child must reach it however long the queue is, or the two would believe different
    /// things. Only who waits for it need not wait any longer.
    fn keep_unsent(&mut self, id: CallId, error: &Outcome) -> bool {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.wire.is_none()) else { return false };
        let waiter = match &mut call.purpose {
            Purpose::Delivered | Purpose::Subscribe(_) => return false,
            Purpose::Level(waiter) => waiter.take(),
            Purpose::Unsubscribe(_) | Purpose::Forgotten => None,
        };
        if let Some(waiter) = waiter {
            self.finish(waiter, error.clone());
        }
        true
    }

    /// The child is gone. What it had not been sent waits for the next one; what may be repeated waits too, once; the
    /// rest gets an error that says that it may have run (DESIGN 5).
    pub fn down(&mut self, why: &str, now: Duration) {
        self.phase = Phase::Down;
        self.drop_all_asks();
        self.tombs.clear();
        // The next child's wire ids begin anew.
        self.timers.retain(|_, timer| !matches!(timer, Timer::Acknowledge(_) | Timer::Tomb(_)));
        self.owners.clear();
        self.tasks.clear();
        self.elicitations.clear();
        self.levels.child_gone();
        let mut written: Vec<(WireId, CallId)> = self.wires.drain().collect();
        written.sort_unstable();
        let mut again = Vec::new();
        for (_, id) in written {
            let Some(mut call) = self.calls.remove(&id) else { continue };
            if call.purpose == Purpose::Delivered
                && call.caller != CallerId::HUB
                && !call.repeated
                && self.repeatable(&call)
            {
                call.wire = None;
                call.repeated = true;
                self.calls.insert(id, call);
                again.push(id);
            } else if call.purpose != Purpose::Delivered {
                self.forget_own(&call.purpose);
            } else {
                let message = format!("{why}; the request may have run, hub does not repeat it");
                self.conclude(id, &call, ErrorObject::internal(Reason::ServerRestarted, message).into(), now);
            }
        }
        let own: Vec<Call> =
            self.calls.extract_if(|_, call| call.purpose != Purpose::Delivered).map(|(_, call)| call).collect();
        own.iter().for_each(|call| self.forget_own(&call.purpose));
        self.queue.retain(|id| self.calls.contains_key(id));
        for id in again.into_iter().rev() {
            self.queue.push_front(id);
        }
        self.subscriptions.child_gone();
        self.listens.child_gone();
        self.compact();
    }

    /// A request of the mux itself dies with the child. Levels and subscriptions are replayed as a whole to the next
    /// one; who waits for a subscription goes on waiting, a level counts as accepted.
    fn forget_own(&mut self, purpose: &Purpose) {
        if let Purpose::Level(Some(waiter)) = purpose {
            self.finish(*waiter, Outcome::empty());
        }
    }

    /// Fails everything that waits: the server will not come back by itself.
    pub fn fail_waiting(&mut self, error: &ErrorObject, now: Duration) {
        for id in std::mem::take(&mut self.queue) {
            if let Some(call) = self.calls.remove(&id) {
                self.conclude(id, &call, error.clone().into(), now);
            }
        }
        for call in self.subscriptions.waiting() {
            self.finish(call, error.clone().into());
        }
        self.compact();
    }

    fn repeatable(&self, call: &Call) -> bool {
        match &call.method {
            Method::ToolsCall => call.params.as_ref().is_some_and(|params| {
                // A task-augmented call creates something; its hint does not matter.
                let object = Object::scan(params);
                object.is_some_and(|object| {
                    object.get("task").is_none()
                        && object.get_str("name").is_some_and(|name| self.read_only.contains(&name))
                })
            }),
            Method::PromptsGet | Method::ResourcesRead | Method::Complete => true,
            method => method.list_kind().is_some(),
        }
    }
}

impl Call {
    fn of(caller: CallerId, method: Method, params: Option<Raw>, hints: Hints, now: Duration) -> Self {
        let purpose = Purpose::Delivered;
        Self {
            caller,
            client: None,
            method,
            params,
            purpose,
            hints,
            wire: None,
            last_sign: now,
            rounds: None,
            asking: false,
            repeated: false,
        }
    }

    /// One of the instance or the mux itself, whose params hold nothing to act on.
    fn own(method: Method, params: Option<Raw>, purpose: Purpose, now: Duration) -> Self {
        let hints = Hints::NOTHING;
        Self { purpose, ..Self::of(CallerId::HUB, method, params, hints, now) }
    }
}

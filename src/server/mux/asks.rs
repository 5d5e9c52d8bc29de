//! Requests of the child: whose are they? Hold, eliminate, baton, refuse; never guess (PROTOCOL 1.11).
//!
//! In: requests that the child sent, answers of callers, ends of calls. Out: relayed asks, answers on the pipe. Owns
//! nothing of its own (the tables are the [`Mux`]'s). May not: use a capability as evidence of ownership.
//!
//! A legacy child's request names no call. It belongs to some call that was written and not answered when it was read.
//! One owner of such calls: it is that owner's. Several: it is held; each call that completes was not the one. Held too
//! long: refused, and from then on calls of different owners run in turns (the baton), so that there is one owner.

use std::time::Duration;

use crate::bridge::ask::missing;
use crate::config::{Concurrency, Roots};
use crate::limits::{ASK_HOLD, ASK_TIMEOUT, ASKS_PER_INSTANCE_MAX, BATON_ANSWER_WAIT, BATON_COLLECT};
use crate::mcp::error::{METHOD_NOT_FOUND, Reason};
use crate::mcp::message::{notification_line, response_line};
use crate::mcp::splice::{self, Object};
use crate::mcp::{ClientCapabilities, Era, ErrorObject, Method, Outcome, Raw, Request, RequestId, WireId, meta};

use super::super::outlet::{Ask, AskId, CallId, CallerId, Delivery};
use super::owners::Candidates;
use super::timers::Timer;
use super::{Mux, Output};

/// Where an ask stands.
#[derive(Debug)]
enum Stage {
    /// Several callers may be the owner: these calls are left, and these owners cancelled one that may have been it.
    Held { calls: Vec<WireId>, ghosts: Vec<CallerId> },
    /// Shown to its owner.
    Relayed(CallerId),
    /// Answered; the answer waits for the baton.
    Answered(CallerId, Outcome),
}

/// A request of the child until its answer is written.
#[derive(Debug)]
pub(super) struct AskEntry {
    id: RequestId,
    method: Method,
    params: Option<Raw>,
    /// When it was read.
    read: Duration,
    stage: Stage,
    /// The call on whose stream it was shown; `None`: on the session's own.
    call: Option<CallId>,
    /// Calls of the owner that may have caused it. Empty from the start for task-related and unsolicited ones.
    causes: Vec<WireId>,
    /// The window of the owner's load that it counts in, if it counts.
    window: Option<Duration>,
}

impl AskEntry {
    pub(super) fn owner(&self) -> Option<CallerId> {
        match self.stage {
            Stage::Held { .. } => None,
            Stage::Relayed(owner) | Stage::Answered(owner, _) => Some(owner),
        }
    }

    pub(super) fn counts(&self) -> bool {
        self.window.is_some()
    }
}

fn ambiguous() -> ErrorObject {
    ErrorObject::internal(Reason::Ambiguous, "cannot attribute: concurrent callers")
}

fn caller_gone() -> ErrorObject {
    ErrorObject::internal(Reason::CallerGone, "the caller is gone")
}

impl Mux {
    fn baton(&self) -> bool {
        self.options.interactive && self.options.concurrency == Concurrency::Auto
    }

    /// A request of the child was read.
    pub(super) fn on_request(&mut self, request: Request, now: Duration) {
        match request.method {
            Method::Ping => self.write(response_line(&request.id, &Outcome::empty())),
            Method::RootsList if self.options.roots == Roots::Client => self.attribute(request, now),
            Method::RootsList => {
                let outcome = roots_answer(&self.options.roots);
                self.write(response_line(&request.id, &outcome));
            }
            Method::Sampling | Method::Elicitation => self.attribute(request, now),
            method => self.refuse(&request.id, &ErrorObject::method_not_found(method.name())),
        }
    }

    fn refuse(&mut self, id: &RequestId, error: &ErrorObject) {
        self.write(response_line(id, &error.clone().into()));
    }

    fn attribute(&mut self, request: Request, now: Duration) {
        let Request { id, method, params, .. } = request;
        if self.asks.len() >= ASKS_PER_INSTANCE_MAX || self.ask_ids.contains_key(&id) {
            return self.refuse(&id, &ErrorObject::internal(Reason::Overloaded, "too many requests, or a reused id"));
        }
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        let task = params.as_ref().and_then(meta::related_task);
        let entry = AskEntry {
            id,
            method,
            params,
            read: now,
            stage: Stage::Held { calls: Vec::new(), ghosts: Vec::new() },
            call: None,
            causes: Vec::new(),
            window: None,
        };
        self.ask_ids.insert(entry.id.clone(), ask);
        self.asks.insert(ask, entry);
        if let Some(task) = task {
            return match self.tasks.owner(&task) {
                Some(owner) => self.relay_for_task(ask, owner, now),
                None => self.answer_now(ask, &ErrorObject::invalid_params("Unknown task").into()),
            };
        }
        match self.owners.candidates(self.options.concurrency == Concurrency::Auto, now) {
            Candidates::One(owner) => self.relay(ask, owner, now),
            Candidates::Several { calls, ghosts } => self.hold(ask, Stage::Held { calls, ghosts }, now),
            Candidates::Ghost => self.answer_now(ask, &ambiguous().into()),
            Candidates::Nobody => self.unsolicited(ask, now),
        }
    }

    fn hold(&mut self, ask: AskId, held: Stage, now: Duration) {
        if let Some(entry) = self.asks.get_mut(&ask) {
            entry.stage = held;
            self.held.push(ask);
            self.timers.arm(now + ASK_HOLD, Timer::Hold(ask));
        }
        if self.options.concurrency == Concurrency::Auto && !std::mem::replace(&mut self.options.interactive, true) {
            self.out.push_back(Output::Interactive);
        }
    }

    /// Calls ended: perhaps only one owner is left for what is held.
    pub(super) fn resolve_held(&mut self, now: Duration) {
        for ask in self.held.clone() {
            let Some(AskEntry { stage: Stage::Held { calls, ghosts }, .. }) = self.asks.get_mut(&ask) else {
                self.held.retain(|held| *held != ask);
                continue;
            };
            calls.retain(|wire| self.wires.contains_key(wire));
            let mut left: Vec<CallerId> = calls.iter().map(|wire| self.calls[&self.wires[wire]].owner()).collect();
            left.sort_unstable();
            left.dedup();
            // A candidate that was cancelled may be the one, however long ago: then no other owner's call can be.
            let ghost = ghosts.iter().any(|owner| !left.contains(owner));
            match left[..] {
                _ if ghost => self.answer_now(ask, &ambiguous().into()),
                [] => self.answer_now(ask, &ambiguous().into()),
                [owner] => {
                    self.held.retain(|held| *held != ask);
                    self.relay(ask, owner, now);
                }
                _ => {}
            }
        }
    }

    pub(super) fn hold_over(&mut self, ask: AskId) {
        if self.held.contains(&ask) {
            self.answer_now(ask, &ambiguous().into());
        }
    }

    /// No call of anybody is at the child: shown only if there is exactly one caller at all.
    fn unsolicited(&mut self, ask: AskId, now: Duration) {
        match self.only_session() {
            Some(only) => self.relay(ask, only, now),
            None => self.answer_now(ask, &ErrorObject::invalid_params("no request is associated with this one").into()),
        }
    }

    fn relay_for_task(&mut self, ask: AskId, owner: CallerId, now: Duration) {
        let result_call =
            self.calls.iter().filter(|(_, call)| call.caller == owner && call.method == Method::TasksResult);
        let call = result_call.filter(|(_, call)| call.wire.is_some()).map(|(id, _)| *id).max();
        self.show(ask, owner, call, Vec::new(), now);
    }

    fn relay(&mut self, ask: AskId, owner: CallerId, now: Duration) {
        let causes = self.owners.get(owner).map(|load| load.live.clone()).unwrap_or_default();
        let call = causes.last().and_then(|wire| self.wires.get(wire)).copied();
        self.show(ask, owner, call, causes, now);
    }

    fn show(&mut self, ask: AskId, owner: CallerId, call: Option<CallId>, causes: Vec<WireId>, now: Duration) {
        let (can, era) =
            self.client(owner).map_or((ClientCapabilities::default(), Era::Legacy), |client| (client.can, client.era));
        let askable = era == Era::Legacy || call.is_some_and(|call| self.calls[&call].method.may_need_input());
        let Some(entry) = self.asks.get_mut(&ask) else { return };
        if !askable {
            let refusal = not_able(&entry.method).into();
            return self.answer_now(ask, &refusal);
        }
        if let Some(missing) = missing(&entry.method, entry.params.as_ref(), can) {
            let lacks = Delivery::Lacks(missing.required);
            let call = call.filter(|_| owner != CallerId::HUB);
            call.into_iter().for_each(|call| self.out.push_back(Output::Deliver(call, lacks.clone())));
            return self.answer_now(ask, &missing.error.into());
        }
        entry.stage = Stage::Relayed(owner);
        entry.call = call;
        let shown = Ask { id: ask, method: entry.method.clone(), params: entry.params.clone() };
        if let Some(id) =
            entry.params.as_ref().and_then(Object::scan).and_then(|params| params.get_str("elicitationId"))
        {
            self.elicitations.shown(id, owner, now);
        }
        // A cancelled call of the same owner may have asked: then none of the living ones is known to wait.
        if !causes.is_empty() && !self.owners.load(owner).ghost(now) {
            let began = self.owners.load(owner).asked(entry.read);
            entry.window = Some(began);
            if self.options.interactive && began + BATON_COLLECT > now {
                self.timers.arm(began + BATON_COLLECT, Timer::Look);
            }
        }
        entry.causes = causes;
        // A parked call has a patience of its own (`park_timeout`), and a kinder way to end.
        if era == Era::Legacy {
            self.timers.arm(now + ASK_TIMEOUT, Timer::Ask(ask));
        }
        let delivery = Delivery::Ask(shown);
        self.out.push_back(match call {
            Some(call) => Output::Deliver(call, delivery),
            None => Output::ToCaller(owner, delivery),
        });
    }

    // === Answers ===

    /// A caller answered an ask. Only the first answer counts.
    pub fn answer(&mut self, ask: AskId, outcome: Outcome, now: Duration) {
        if self.answer_round(ask, &outcome, now) {
            return self.pump(now);
        }
        let baton = self.baton();
        if let Some(entry) = self.asks.get_mut(&ask)
            && let Stage::Relayed(owner) = entry.stage
        {
            if baton && !entry.causes.is_empty() && self.owners.others_unblocked(owner, now) {
                entry.stage = Stage::Answered(owner, outcome);
                self.answers.push_back(ask);
                self.timers.arm(now + BATON_ANSWER_WAIT, Timer::Answer(ask));
            } else {
                self.answer_now(ask, &outcome);
            }
        }
        self.pump(now);
    }

    /// A caller tells how far it is with an ask.
    pub fn ask_progress(&mut self, ask: AskId, params: &Raw) {
        let child_token = self.asks.get(&ask).and_then(|entry| splice::progress_token(entry.params.as_ref()?));
        if let (Some(token), Some(object)) = (child_token, Object::scan(params)) {
            let params = object.edit(&[("progressToken", Some(&token[..]))]);
            self.write(notification_line(&Method::Progress, Some(params)));
        }
    }

    pub(super) fn write_waiting_answers(&mut self, now: Duration) {
        while let Some(&ask) = self.answers.front() {
            match self.asks.get(&ask).map(|entry| &entry.stage) {
                Some(Stage::Answered(owner, _)) if self.owners.others_unblocked(*owner, now) => return,
                Some(Stage::Answered(..)) => self.force_answer(ask),
                _ => drop(self.answers.pop_front()),
            }
        }
    }

    /// Writes an answer whether or not it is its owner's turn: a child gives up on its own request after a minute.
    pub(super) fn force_answer(&mut self, ask: AskId) {
        if let Some(AskEntry { stage: Stage::Answered(_, outcome), .. }) = self.asks.get(&ask) {
            let outcome = outcome.clone();
            self.answer_now(ask, &outcome);
        }
    }

    /// Writes the answer and forgets the ask.
    fn answer_now(&mut self, ask: AskId, outcome: &Outcome) {
        if let Some(entry) = self.remove_ask(ask) {
            self.write(response_line(&entry.id, outcome));
        }
    }

    fn remove_ask(&mut self, ask: AskId) -> Option<AskEntry> {
        let entry = self.asks.remove(&ask)?;
        self.ask_ids.remove(&entry.id);
        self.held.retain(|held| *held != ask);
        self.answers.retain(|waiting| *waiting != ask);
        if let (Some(owner), Some(window)) = (entry.owner(), entry.window) {
            self.owners.load(owner).answered(window);
        }
        Some(entry)
    }

    /// Tells the client that an ask it was shown is void.
    fn withdraw(&mut self, ask: AskId, entry: &AskEntry) {
        if let Stage::Relayed(owner) = entry.stage {
            let delivery = Delivery::Withdraw(ask);
            self.out.push_back(match entry.call.filter(|call| self.calls.contains_key(call)) {
                Some(call) => Output::Deliver(call, delivery),
                None => Output::ToCaller(owner, delivery),
            });
        }
    }

    fn fail(&mut self, ask: AskId, error: &ErrorObject) {
        if let Some(entry) = self.remove_ask(ask) {
            self.withdraw(ask, &entry);
            self.write(response_line(&entry.id, &error.clone().into()));
        }
    }

    // === Ends ===

    /// A call is over (`cancelled`: its caller gave it up). Asks that no remaining call can have caused are void.
    pub(super) fn call_ended_for_asks(&mut self, owner: CallerId, wire: WireId, cancelled: bool) {
        if self.asks.is_empty() {
            return;
        }
        let mut void: Vec<AskId> = Vec::new();
        for (id, entry) in &mut self.asks {
            if let Stage::Held { calls, ghosts } = &mut entry.stage
                && cancelled
                && calls.contains(&wire)
            {
                ghosts.push(owner);
            }
            if entry.owner() == Some(owner) && !entry.causes.is_empty() && entry.causes.contains(&wire) {
                if entry.causes.len() == 1 {
                    void.push(*id);
                } else {
                    entry.causes.retain(|cause| *cause != wire);
                    // It may be the cancelled one's: then none of those that are left is known to wait.
                    if let Some(window) = entry.window.take_if(|_| cancelled) {
                        self.owners.load(owner).answered(window);
                    }
                }
            }
        }
        void.sort_unstable();
        for ask in void {
            let error = if cancelled { caller_gone() } else { ErrorObject::invalid_params("its request is over") };
            self.fail(ask, &error);
        }
    }

    pub(super) fn ask_over(&mut self, ask: AskId) {
        if matches!(self.asks.get(&ask), Some(AskEntry { stage: Stage::Relayed(_), .. })) {
            self.fail(ask, &ErrorObject::internal(Reason::Timeout, "the client did not answer in time"));
        }
    }

    pub(super) fn fail_asks_of(&mut self, owner: CallerId) {
        let mut asks: Vec<AskId> =
            self.asks.iter().filter(|(_, e)| e.owner() == Some(owner)).map(|(id, _)| *id).collect();
        asks.sort_unstable();
        for ask in asks {
            self.fail(ask, &caller_gone());
        }
    }

    /// The child took one of its requests back.
    pub(super) fn ask_cancelled_by_child(&mut self, id: &RequestId) {
        if let Some(ask) = self.ask_ids.get(id).copied()
            && let Some(entry) = self.remove_ask(ask)
        {
            self.withdraw(ask, &entry);
        }
    }

    /// The child is gone: nobody waits for any answer.
    pub(super) fn drop_all_asks(&mut self) {
        let mut asks: Vec<AskId> = self.asks.keys().copied().collect();
        asks.sort_unstable();
        for ask in asks {
            if let Some(entry) = self.remove_ask(ask) {
                self.withdraw(ask, &entry);
            }
        }
    }
}

/// hub's own answer to `roots/list` (2025-11-25, client/roots).
pub(in crate::server) fn roots_answer(roots: &Roots) -> Outcome {
    match roots {
        Roots::Own(roots) if !roots.is_empty() => {
            let roots: Vec<_> = roots.iter().map(|uri| serde_json::json!({ "uri": uri })).collect();
            Outcome::Result(Raw::from(serde_json::json!({ "roots": roots }).to_string()))
        }
        _ => ErrorObject::method_not_found("roots/list").into(),
    }
}

fn not_able(method: &Method) -> ErrorObject {
    ErrorObject::new(METHOD_NOT_FOUND, format!("the client does not support {}", method.name()))
}

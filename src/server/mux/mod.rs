//! Many callers, one pipe: who asked what, who is asked what, who hears what. PURE.
//!
//! In: calls, answers and cancellations of callers; lines of the child; the time. Out: [`Output`]s, taken with
//! [`Mux::take`]. Owns pending calls, asks, subscriptions, logging levels, tasks. May not: do I/O, read a clock, or know
//! sessions and HTTP.
//!
//! Life of a call: [`Mux::call`] puts it in the queue; `dispatch` gives it a wire id and writes it when the child is up
//! and no attribution forbids it; its response finds it by the wire id. Life of an ask: `asks` attributes it to one
//! owner or refuses it; it is relayed; its answer is written, perhaps after waiting for the baton.
//!
//! The parts: `calls` (queue, wire ids, cancellation, restart), `owners` (who has work at the child), `asks` (hold,
//! eliminate, baton), `inbound` (lines of the child), `subscriptions`, `levels`, `tasks`, `timers`; and for children of the
//! modern era `cells` (a request in the child's own terms), `rounds`
//! (input that it wants of a legacy client), `modern` and `listens`.

mod asks;
mod calls;
mod cells;
mod elicitations;
mod inbound;
mod invariants;
mod levels;
mod listens;
mod modern;
mod owners;
mod rounds;
mod subscriptions;
mod tasks;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Concurrency, Roots};
use crate::limits::FORGET_EVERY;
use crate::mcp::meta::{Level, TASKS_EXTENSION};
use crate::mcp::splice::Object;
use crate::mcp::{Era, ErrorObject, Line, ListKind, Method, Outcome, Raw, RequestId, WireId};

use super::client::Client;
use super::id_map::IdMap;
use super::outlet::{AskId, CallId, CallerId, Delivery};
use asks::AskEntry;
pub(in crate::server) use asks::roots_answer;
use calls::Call;
use elicitations::Elicitations;
use levels::Levels;
use listens::{Listens, Which};
use owners::Owners;
use subscriptions::Subscriptions;
use tasks::Tasks;
use timers::{Timer, Timers};

/// What the mux wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write this line to the child.
    Write(Line),
    /// Deliver to the outlet of a call. [`Delivery::Finish`] and [`Delivery::Cancelled`] are its last.
    Deliver(CallId, Delivery),
    /// Deliver to the outlet of a caller. For an ask: if the caller does not listen, answer it with an error.
    ToCaller(CallerId, Delivery),
    /// The child says that a list changed: what is cached of it is old.
    Changed(ListKind),
    /// From now on calls of different owners run one at a time (PROTOCOL 1.11.7); worth remembering for this server.
    Interactive,
    /// Something of the child was dropped, and why.
    Dropped(&'static str),
}

/// What stays the same while an instance lives.
#[derive(Debug, Clone)]
pub struct Options {
    /// How calls of different owners run beside each other.
    pub concurrency: Concurrency,
    /// Was seen to send asks that could not be attributed.
    pub interactive: bool,
    /// What answers `roots/list`.
    pub roots: Roots,
    /// A call that is silent for so long fails.
    pub request_timeout: Option<Duration>,
}

/// What the child's handshake says about what may be sent to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent capability of the specification")]
pub struct ChildFacts {
    /// `logging`
    pub logging: bool,
    /// `tools`
    pub tools: bool,
    /// `prompts`
    pub prompts: bool,
    /// `resources`
    pub resources: bool,
    /// `resources.subscribe`
    pub subscribe: bool,
    /// `completions`
    pub completions: bool,
    /// `tasks`, or the extension of that name
    pub tasks: bool,
    /// `listChanged` of `tools`, `prompts`, `resources`
    pub changes: [bool; 3],
}

impl ChildFacts {
    /// Reads the raw `capabilities` of a handshake.
    pub fn parse(capabilities: &Raw) -> Self {
        let Some(object) = Object::scan(capabilities) else { return Self::default() };
        let has = |key: &str| object.get(key).is_some_and(|value| value.first() == Some(&b'{'));
        let resources = object.get("resources").and_then(|r| Object::scan(&r));
        let truly = |object: Option<Object>, key: &str| {
            object.and_then(|object| object.get(key)).is_some_and(|value| &value[..] == b"true")
        };
        let changes = ["tools", "prompts", "resources"]
            .map(|key| truly(object.get(key).and_then(|value| Object::scan(&value)), "listChanged"));
        let subscribe = truly(resources.clone(), "subscribe");
        let extensions = object.get("extensions").and_then(|raw| Object::scan(&raw));
        let extended_by_tasks = extensions.is_some_and(|all| all.get(TASKS_EXTENSION).is_some());
        Self {
            logging: has("logging"),
            tools: has("tools"),
            prompts: has("prompts"),
            resources: resources.is_some(),
            subscribe,
            completions: has("completions"),
            tasks: has("tasks") || extended_by_tasks,
            changes,
        }
    }

    /// May this method be sent? Gated on capabilities because children answer unknown methods with all kinds of codes
    /// (PROTOCOL 1.4).
    fn admits(&self, method: &Method) -> bool {
        match method {
            Method::ToolsList | Method::ToolsCall => self.tools,
            Method::PromptsList | Method::PromptsGet => self.prompts,
            Method::ResourcesList | Method::TemplatesList | Method::ResourcesRead => self.resources,
            Method::Subscribe | Method::Unsubscribe => self.subscribe,
            Method::SetLevel => self.logging,
            Method::TasksGet | Method::TasksResult | Method::TasksList | Method::TasksCancel | Method::TasksUpdate => {
                self.tasks
            }
            // Servers before 2025-03-26 complete without declaring it.
            _ => true,
        }
    }

    /// The lists that this child tells the changes of.
    fn changes(&self) -> impl Iterator<Item = ListKind> + use<> {
        let kinds = [ListKind::Tools, ListKind::Prompts, ListKind::Resources];
        kinds.into_iter().zip(self.changes).filter(|(_, told)| *told).map(|(kind, _)| kind)
    }

    /// The lists that this child has.
    pub fn lists(&self) -> impl Iterator<Item = ListKind> + use<> {
        let facts = *self;
        ListKind::ALL.into_iter().filter(move |kind| facts.admits(&kind.method()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No child, or its handshake is not done: calls wait.
    Down,
    /// Handshake done, first list not: only hub's own calls go out.
    Warming,
    Up,
}

/// See the module.
#[derive(Debug)]
pub struct Mux {
    options: Options,
    phase: Phase,
    era: Era,
    facts: Option<ChildFacts>,
    read_only: Arc<HashSet<String>>,
    next_wire: u64,
    next_own: u64,
    next_ask: u64,
    calls: IdMap<CallId, Call>,
    wires: IdMap<WireId, CallId>,
    tombs: IdMap<WireId, CallerId>,
    queue: VecDeque<CallId>,
    callers: IdMap<CallerId, Arc<Client>>,
    owners: Owners,
    asks: IdMap<AskId, AskEntry>,
    ask_ids: HashMap<RequestId, AskId>,
    held: Vec<AskId>,
    answers: VecDeque<AskId>,
    round_asks: IdMap<AskId, rounds::RoundAsk>,
    elicitations: Elicitations,
    subscriptions: Subscriptions,
    listens: Listens,
    levels: Levels,
    tasks: Tasks,
    changed: HashSet<ListKind>,
    timers: Timers,
    /// [`Timer::Forget`] is armed.
    forgets: bool,
    out: VecDeque<Output>,
}

impl Mux {
    /// A mux without a child: calls wait until [`Self::ready`].
    pub fn new(options: Options) -> Self {
        Self {
            options,
            phase: Phase::Down,
            era: Era::Legacy,
            facts: None,
            read_only: Arc::default(),
            next_wire: 1,
            next_own: 0,
            next_ask: 1,
            calls: IdMap::default(),
            wires: IdMap::default(),
            tombs: IdMap::default(),
            queue: VecDeque::new(),
            callers: IdMap::default(),
            owners: Owners::default(),
            asks: IdMap::default(),
            ask_ids: HashMap::new(),
            held: Vec::new(),
            answers: VecDeque::new(),
            round_asks: IdMap::default(),
            elicitations: Elicitations::default(),
            subscriptions: Subscriptions::default(),
            listens: Listens::default(),
            levels: Levels::default(),
            tasks: Tasks::default(),
            changed: HashSet::new(),
            timers: Timers::default(),
            forgets: false,
            out: VecDeque::new(),
        }
    }

    /// The next thing to do. Call until `None` after every input.
    pub fn take(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Self::tick`] wants to be called.
    pub fn deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Calls that have no response yet.
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }

    /// Does anybody wait for a child?
    pub fn wants_child(&self) -> bool {
        !self.queue.is_empty() || (self.phase != Phase::Up && self.subscriptions.has_waiters())
    }

    /// Calls that were not written to the child yet.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Replaces what configuration and lists say; takes effect with the next call.
    pub fn set_options(&mut self, options: Options) {
        self.options = Options { interactive: options.interactive || self.options.interactive, ..options };
    }

    /// Names of tools whose calls may be sent again after a crash.
    pub fn set_read_only(&mut self, names: Arc<HashSet<String>>) {
        self.read_only = names;
    }

    // === Callers ===

    /// A lasting caller, with what it had before.
    pub fn open(&mut self, caller: CallerId, client: Arc<Client>, subscriptions: Vec<String>, now: Duration) {
        // A modern listener wants no log lines (2026-07-28, basic/patterns/subscriptions).
        if client.era == Era::Legacy {
            self.levels.open(caller, client.level);
        }
        self.callers.insert(caller, client);
        for uri in subscriptions {
            let acts = self.subscriptions.subscribe(uri, caller, None);
            self.act_on_subscriptions(acts, now);
        }
        self.settle_level(None, now);
        self.pump(now);
    }

    /// What is known of a caller, lasting or passing.
    fn client(&self, caller: CallerId) -> Option<&Arc<Client>> {
        let passing = || self.calls.get(&CallId(caller.0))?.client.as_ref();
        self.callers.get(&caller).or_else(passing)
    }

    /// The session, if there is exactly one. Modern listeners are none.
    fn only_session(&self) -> Option<CallerId> {
        let mut sessions = self.callers.iter().filter(|(_, client)| client.era == Era::Legacy).map(|(id, _)| *id);
        let only = sessions.next();
        only.filter(|_| sessions.next().is_none())
    }

    /// Drops what nobody needs any more of owners that are gone.
    fn sweep_owners(&mut self, now: Duration) {
        let (callers, calls) = (&self.callers, &self.calls);
        self.owners.sweep(now, |owner| !callers.contains_key(&owner) && !calls.contains_key(&CallId(owner.0)));
    }

    /// A caller is gone: its calls are cancelled, its asks fail, its subscriptions, level and tasks are released.
    pub fn close(&mut self, caller: CallerId, now: Duration) {
        if self.callers.remove(&caller).is_none() {
            return;
        }
        let mut calls: Vec<CallId> =
            self.calls.iter().filter(|(_, c)| c.owner() == caller).map(|(id, _)| *id).collect();
        calls.sort_unstable();
        for call in calls {
            self.cancel_known(call, Some("the session ended"), now);
        }
        self.fail_asks_of(caller);
        self.levels.close(caller);
        self.settle_level(None, now);
        let acts = self.subscriptions.forget(caller, now);
        self.act_on_subscriptions(acts, now);
        for task in self.tasks.forget(caller) {
            let params = serde_json::json!({ "taskId": task }).to_string();
            self.own_call(Method::TasksCancel, Some(Raw::from(params)), calls::Purpose::Forgotten, now);
        }
        self.elicitations.forget(caller);
        self.sweep_owners(now);
        self.pump(now);
    }

    // === The child's life ===

    /// The handshake is done; `next_wire` is the first wire id that it did not use. hub's own calls go out.
    pub fn warming(&mut self, next_wire: u64, facts: ChildFacts, era: Era) {
        self.phase = Phase::Warming;
        self.era = era;
        self.next_wire = next_wire;
        self.facts = Some(facts);
    }

    /// The child will be stopped: what is at it may finish, nothing new goes out.
    pub fn pause(&mut self) {
        if self.phase == Phase::Up {
            self.phase = Phase::Warming;
        }
    }

    /// Calls that the child has and did not answer.
    pub fn written(&self) -> usize {
        self.wires.len()
    }

    /// What is known of the child from an earlier run, before it is up.
    pub fn expect_facts(&mut self, facts: ChildFacts) {
        self.facts.get_or_insert(facts);
    }

    /// The child is usable: the level and the subscriptions are replayed, what waited goes out, and after a restart
    /// every caller hears that the lists may have changed.
    pub fn ready(&mut self, restarted: bool, now: Duration) {
        self.phase = Phase::Up;
        self.settle_level(None, now);
        if self.is_modern() {
            self.listens.want(Which::Lists);
        }
        let acts = self.subscriptions.child_up();
        self.act_on_subscriptions(acts, now);
        if restarted {
            for kind in self.facts.unwrap_or_default().lists() {
                self.list_changed(kind, now);
            }
        }
        self.pump(now);
    }

    // === Time ===

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        while let Some(timer) = self.timers.due(now) {
            match timer {
                Timer::Hold(ask) => self.hold_over(ask),
                Timer::Ask(ask) if self.round_asks.contains_key(&ask) => self.round_over(ask, now),
                Timer::Ask(ask) => self.ask_over(ask),
                Timer::Answer(ask) => self.force_answer(ask),
                Timer::Look => self.sweep_owners(now),
                // What follows every input is all that is to be done.
                Timer::Listen => {}
                Timer::Again(call) => self.send_again(call),
                Timer::Acknowledge(wire) => self.acknowledge_over(wire, now),
                Timer::Tomb(wire) => drop(self.tombs.remove(&wire)),
                Timer::Call(call) => self.call_silent(call, now),
                Timer::Changed(kind) => self.announce(kind),
                Timer::Unsubscribe(uri) => {
                    let acts = self.subscriptions.due(&uri, now);
                    self.act_on_subscriptions(acts, now);
                }
                Timer::Level => self.settle_level(None, now),
                Timer::Forget => {
                    self.forgets = false;
                    self.tasks.sweep(now);
                    self.elicitations.sweep(now);
                }
            }
        }
        self.pump(now);
    }

    /// What any input may have made possible.
    fn pump(&mut self, now: Duration) {
        if !self.held.is_empty() {
            self.resolve_held(now);
        }
        if !self.answers.is_empty() {
            self.write_waiting_answers(now);
        }
        if !self.queue.is_empty() {
            self.dispatch(now);
        }
        if self.is_modern() {
            self.settle_listens(now);
        }
        if !self.forgets && self.tasks.len() + self.elicitations.len() > 0 {
            self.forgets = true;
            self.timers.arm(now + FORGET_EVERY, Timer::Forget);
        }
        self.compact();
    }

    /// Things that may have a timer.
    fn timed(&self) -> usize {
        self.calls.len() + self.asks.len() + self.round_asks.len() + self.tombs.len() + self.subscriptions.len()
    }

    /// Of a call, a subscription and a tomb one timer is live, of an ask three; of ghosts and collect windows there are
    /// no more than of tombs and asks, of the rest a handful. So what stays is at most four times [`Self::timed`], and
    /// some.
    fn compact(&mut self) {
        if !self.timers.is_bloated(self.timed()) {
            return;
        }
        let (calls, asks, tombs, looks) = (&self.calls, &self.asks, &self.tombs, self.owners.looks());
        let (subscriptions, levels, listens, rounds) =
            (&self.subscriptions, &self.levels, &self.listens, &self.round_asks);
        self.timers.retain(|at, timer| match timer {
            Timer::Ask(ask) => asks.contains_key(ask) || rounds.contains_key(ask),
            Timer::Hold(ask) | Timer::Answer(ask) => asks.contains_key(ask),
            Timer::Again(call) => calls.get(call).is_some_and(|call| call.asking),
            Timer::Acknowledge(wire) => listens.is_opening(*wire),
            Timer::Tomb(wire) => tombs.contains_key(wire),
            Timer::Call(call) => calls.contains_key(call),
            Timer::Look => looks.contains(&at),
            Timer::Unsubscribe(uri) => subscriptions.leaves_at(uri) == Some(at),
            Timer::Level => levels.lower_at() == Some(at),
            // One of each kind at most, and two of listens.
            Timer::Changed(_) | Timer::Forget | Timer::Listen => true,
        });
    }

    // === Levels and subscriptions ===

    fn set_level(&mut self, call: CallId, caller: CallerId, params: Option<&Raw>, now: Duration) {
        if self.facts.is_some_and(|facts| !facts.logging) {
            return self.finish(call, ErrorObject::method_not_found("logging/setLevel").into());
        }
        let level = params.and_then(Object::scan).and_then(|params| Level::parse(&params.get_str("level")?));
        let Some(level) = level else {
            return self
                .finish(call, ErrorObject::invalid_params("`level` must be one of the eight log levels").into());
        };
        self.levels.set(caller, level);
        self.settle_level(Some(call), now);
    }

    /// Tells the child its level if that changed; `waiter` is answered when the child has accepted it.
    fn settle_level(&mut self, waiter: Option<CallId>, now: Duration) {
        // A modern child learns it with each request.
        let sendable = self.phase == Phase::Up && !self.is_modern() && self.facts.is_some_and(|facts| facts.logging);
        match if sendable { self.levels.next(now) } else { levels::Next::Nothing } {
            levels::Next::Send(level) => {
                let params = Raw::from(format!("{{\"level\":\"{}\"}}", level.as_str()));
                self.own_call(Method::SetLevel, Some(params), calls::Purpose::Level(waiter), now);
            }
            levels::Next::Later(at) => {
                self.timers.arm(at, Timer::Level);
                waiter.into_iter().for_each(|call| self.finish(call, Outcome::empty()));
            }
            levels::Next::Nothing => waiter.into_iter().for_each(|call| self.finish(call, Outcome::empty())),
        }
    }

    fn subscription_call(
        &mut self,
        call: CallId,
        caller: CallerId,
        method: &Method,
        params: Option<&Raw>,
        now: Duration,
    ) {
        if self.facts.is_some_and(|facts| !facts.subscribe) {
            return self.finish(call, ErrorObject::method_not_found(method.name()).into());
        }
        let Some(uri) = params.and_then(Object::scan).and_then(|params| params.get_str("uri")) else {
            return self.finish(call, ErrorObject::invalid_params("`uri` must be a string").into());
        };
        if *method == Method::Subscribe {
            let acts = self.subscriptions.subscribe(uri, caller, Some(call));
            self.act_on_subscriptions(acts, now);
        } else {
            let acts = self.subscriptions.unsubscribe(&uri, caller, now);
            self.finish(call, Outcome::empty());
            self.act_on_subscriptions(acts, now);
        }
    }

    fn act_on_subscriptions(&mut self, acts: Vec<subscriptions::Act>, now: Duration) {
        let params = |uri: &str| Some(Raw::from(serde_json::json!({ "uri": uri }).to_string()));
        for act in acts {
            match act {
                subscriptions::Act::SendSubscribe(uri)
                    if self.phase == Phase::Up && self.listens.has_no_resources() =>
                {
                    let refusal = ErrorObject::method_not_found(Method::Subscribe.name());
                    let acts = self.subscriptions.subscribed(&uri, &refusal.into(), now);
                    self.act_on_subscriptions(acts, now);
                }
                subscriptions::Act::SendSubscribe(_) if self.phase == Phase::Up && self.is_modern() => {
                    self.listens.want(Which::Resources);
                }
                subscriptions::Act::SendUnsubscribe(uri) if self.phase == Phase::Up && self.is_modern() => {
                    let acts = self.subscriptions.unsubscribed(&uri);
                    self.listens.want(Which::Resources);
                    self.act_on_subscriptions(acts, now);
                }
                subscriptions::Act::SendSubscribe(uri) if self.phase == Phase::Up => {
                    self.own_call(Method::Subscribe, params(&uri), calls::Purpose::Subscribe(uri), now);
                }
                // Sent by `ready`, when there is a child.
                subscriptions::Act::SendSubscribe(_) => self.subscriptions.child_gone(),
                subscriptions::Act::SendUnsubscribe(uri) if self.phase == Phase::Up => {
                    self.own_call(Method::Unsubscribe, params(&uri), calls::Purpose::Unsubscribe(uri), now);
                }
                subscriptions::Act::SendUnsubscribe(_) => {}
                subscriptions::Act::Later(at, uri) => self.timers.arm(at, Timer::Unsubscribe(uri)),
                subscriptions::Act::Answer(call, outcome) => self.finish(call, outcome),
                subscriptions::Act::Refuse(call) => self.finish(call, calls::overloaded("too many subscriptions")),
            }
        }
    }

    // === list_changed ===

    /// A list changed without the child saying so (its filter did).
    pub fn lists_changed(&mut self, kind: ListKind, now: Duration) {
        self.list_changed(kind, now);
    }

    fn list_changed(&mut self, kind: ListKind, now: Duration) {
        self.out.push_back(Output::Changed(kind));
        // Templates have no notification of their own: theirs is that of resources.
        let kind = if kind == ListKind::Templates { ListKind::Resources } else { kind };
        if self.changed.insert(kind) {
            self.timers.arm(now + crate::limits::LIST_CHANGED_COALESCE, Timer::Changed(kind));
        }
    }

    fn announce(&mut self, kind: ListKind) {
        if self.changed.remove(&kind) {
            let mut callers: Vec<CallerId> = self.callers.keys().copied().collect();
            callers.sort_unstable();
            for caller in callers {
                let delivery = Delivery::Notification { method: kind.changed(), params: None };
                self.out.push_back(Output::ToCaller(caller, delivery));
            }
        }
    }

    fn finish(&mut self, call: CallId, outcome: Outcome) {
        self.out.push_back(Output::Deliver(call, Delivery::Finish(outcome)));
    }

    fn write(&mut self, line: Line) {
        self.out.push_back(Output::Write(line));
    }
}

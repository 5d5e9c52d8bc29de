//! The task that owns one child: its pipes, its mux, its life.
//!
//! In: commands through a bounded queue, control messages on a second one that is read first, events of the child, the
//! time. Out: lines to the child, deliveries to outlets, snapshots. Owns everything behind an
//! [`super::InstanceHandle`]. May not: await anything but its next input while a child runs; a reader that waits for a
//! slow client would stall everybody (PROTOCOL 1.13).

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::child::{Child, Event};
use crate::config::ServerSpec;
use crate::limits::{CHILD_WRITE_BYTES_MAX, COMMANDS_AT_ONCE_MAX, INSTANCE_QUEUE_MAX};
use crate::mcp::error::Reason;
use crate::mcp::splice::Object;
use crate::mcp::{Era, ErrorObject, Line, ListKind, Method, Outcome, Raw};

use super::era::Belief;
use super::handle::{Command, InstanceHandle, NewCall, next_id};
use super::id_map::IdMap;
use super::life::Life;
use super::lists::{self, Drains, Page};
use super::mux::{ChildFacts, Mux, Options, Output};
use super::outlet::{AskId, CallId, CallerId, Delivery, Outlet};
use super::snapshot::{Counters, Failure, Handshake, List, Lists, QueuedShare, Snapshot, State};
use super::world::World;

/// Why a call fails that reached an instance too late.
pub(super) const STOPPED: &str = "the server was stopped before it got the request";

/// What the server task tells an instance.
#[derive(Debug)]
pub(super) enum Control {
    /// Somebody needs the child: start it if it is stopped, or failed [`FAILED_RETRY_AFTER`] ago. Answered when that
    /// is to be seen in the snapshot.
    ///
    /// [`FAILED_RETRY_AFTER`]: crate::limits::FAILED_RETRY_AFTER
    Wake { reply: oneshot::Sender<()> },
    /// Stop and start the child, whatever its state, out of `failed` at once. In-flight calls have the grace period to
    /// finish. Answered when that is to be seen in the snapshot.
    Restart { grace: Duration, reply: oneshot::Sender<()> },
    /// New configuration; restarts the child only if told to.
    Reconfigure { spec: Arc<ServerSpec>, restart: bool },
    /// Stop for good.
    Stop { grace: Duration, reply: oneshot::Sender<()> },
}

/// A call that was accepted and has no response yet.
struct Waiting {
    outlet: Arc<dyn Outlet>,
    since: Instant,
    /// The result is a page of tools that must be filtered.
    filter: bool,
}

/// A caller that lasts longer than a call.
struct Lasting {
    outlet: Arc<dyn Outlet>,
    /// Modern listeners are none.
    is_session: bool,
}

/// See the module. The fields of its life are used by `life.rs`.
pub(super) struct Instance {
    pub(super) spec: Arc<ServerSpec>,
    pub(super) world: Arc<World>,
    pub(super) counters: Arc<Counters>,
    queued: QueuedShare,
    pub(super) mux: Mux,
    pub(super) life: Life,
    pub(super) child: Option<Child>,
    pub(super) generation: u64,
    pub(super) handshake: Option<Arc<Handshake>>,
    pub(super) lists: Arc<Lists>,
    pub(super) drains: Drains,
    /// Lists that are of an earlier run and were not drained in this one, by [`ListKind`].
    recalled: [bool; 4],
    pub(super) failure: Option<Arc<Failure>>,
    pub(super) belief: Belief,
    pub(super) history: super::life::History,
    pub(super) last_use: Instant,
    epoch: Instant,
    waiting: IdMap<CallId, Waiting>,
    callers: IdMap<CallerId, Lasting>,
    handle: InstanceHandle,
    commands: mpsc::Receiver<Command>,
    control: mpsc::Receiver<Control>,
    publish: watch::Sender<Arc<Snapshot>>,
    changed: Arc<Notify>,
}

/// What the server task keeps of an instance.
#[derive(Debug, Clone)]
pub(super) struct InstanceParts {
    pub(super) handle: InstanceHandle,
    pub(super) control: mpsc::Sender<Control>,
}

impl InstanceParts {
    /// Lets go of it: who has a handle asks for another instance from now on; what this one has may finish within
    /// `grace`.
    pub(super) async fn leave(&self, grace: Duration) {
        self.handle.leave();
        drop(self.stop(grace).await);
    }

    /// Stops it for good. Gives what tells of its end.
    pub(super) async fn stop(&self, grace: Duration) -> oneshot::Receiver<()> {
        let (reply, stopped) = oneshot::channel();
        self.control.send(Control::Stop { grace, reply }).await.ok();
        stopped
    }
}

/// What is known of a server before its first child runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) handshake: Option<Arc<Handshake>>,
    pub(super) lists: Lists,
    pub(super) interactive: bool,
    pub(super) belief: Belief,
}

/// Starts the task of an instance. `changed` is notified after each new snapshot.
pub(super) fn start(
    spec: Arc<ServerSpec>,
    world: Arc<World>,
    counters: Arc<Counters>,
    known: Known,
    changed: Arc<Notify>,
) -> InstanceParts {
    let (commands_in, commands) = mpsc::channel(INSTANCE_QUEUE_MAX);
    let (control_in, control) = mpsc::channel(16);
    let lists = Arc::new(known.lists);
    let lists_recalled = ListKind::ALL.map(|kind| lists.get(kind).is_some());
    let snapshot = Snapshot {
        state: State::Stopped,
        handshake: known.handshake.clone(),
        lists: lists.clone(),
        generation: 0,
        pid: None,
        ready_since: None,
        failure: None,
    };
    let (publish, seen) = watch::channel(Arc::new(snapshot));
    let handle = InstanceHandle::new(commands_in, seen);
    let mut mux = Mux::new(options(&spec, known.interactive));
    mux.set_read_only(lists.read_only.clone());
    if let Some(handshake) = &known.handshake {
        mux.expect_facts(ChildFacts::parse(&handshake.capabilities));
    }
    let now = Instant::now();
    let instance = Instance {
        history: super::life::History::new(&spec.restart),
        spec,
        queued: QueuedShare::new(counters.clone()),
        counters,
        mux,
        belief: known.belief,
        life: Life::Stopped,
        child: None,
        generation: 0,
        handshake: known.handshake,
        lists,
        drains: Drains::default(),
        recalled: lists_recalled,
        failure: None,
        last_use: now,
        epoch: now,
        waiting: IdMap::default(),
        callers: IdMap::default(),
        handle: handle.clone(),
        commands,
        control,
        publish,
        changed,
        world: world.clone(),
    };
    world.scope.spawn("instance", instance.run());
    InstanceParts { handle, control: control_in }
}

fn options(spec: &ServerSpec, interactive: bool) -> Options {
    Options {
        concurrency: spec.concurrency,
        interactive,
        roots: spec.roots.clone(),
        request_timeout: spec.request_timeout,
    }
}

/// The next event of a child; never, without one.
async fn event_of(child: &mut Option<Child>) -> Event {
    match child {
        Some(child) => child.event().await,
        None => pending().await,
    }
}

/// What woke the task.
enum Input {
    Control(Option<Control>),
    Event(Event),
    Command(Option<Command>),
    Life(super::life::Arrived),
    Time,
}

impl Instance {
    pub(super) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    async fn run(mut self) {
        let sleep = sleep_until(Instant::now());
        tokio::pin!(sleep);
        let mut armed: Option<Instant> = None;
        let mut controlled = true;
        loop {
            self.arm(sleep.as_mut(), &mut armed);
            let takes_work = self.child.as_ref().is_none_or(|child| child.queued_bytes() < CHILD_WRITE_BYTES_MAX);
            let (child, commands, life) = (&mut self.child, &mut self.commands, &mut self.life);
            let rest = async {
                // In no order: child and callers may both come without pause, and neither may keep out the other.
                tokio::select! {
                    event = event_of(child) => Input::Event(event),
                    command = commands.recv(), if takes_work => Input::Command(command),
                    arrived = life.arrival() => Input::Life(arrived),
                    () = &mut sleep, if armed.is_some() => Input::Time,
                }
            };
            let input = tokio::select! {
                biased;
                control = self.control.recv(), if controlled => Input::Control(control),
                input = rest => input,
            };
            match input {
                Input::Control(Some(control)) => self.on_control(control),
                Input::Event(event) => self.on_event(event),
                Input::Command(Some(command)) => {
                    self.on_command(command);
                    // What came meanwhile goes along, so that many callers cost one write.
                    for _ in 1..COMMANDS_AT_ONCE_MAX {
                        let Ok(command) = self.commands.try_recv() else { break };
                        self.on_command(command);
                    }
                }
                Input::Life(arrived) => self.on_arrival(arrived),
                Input::Time => {
                    armed = None;
                    self.mux.tick(self.epoch.elapsed());
                    self.on_time();
                }
                // The server task let go of it, as a rule right after `Stop`: what is in flight still finishes.
                Input::Control(None) => {
                    controlled = false;
                    self.abandoned();
                }
                // The instance holds a sender of its own.
                Input::Command(None) => {}
            }
            self.flush();
            self.life_settles();
            if matches!(self.life, Life::Over) {
                break;
            }
        }
        self.refuse_what_is_left().await;
    }

    /// Nothing is served any more: what was queued meanwhile is answered all the same.
    async fn refuse_what_is_left(mut self) {
        let open = self.callers.values().map(|lasting| i64::from(lasting.is_session)).sum::<i64>();
        self.counters.sessions.fetch_sub(open, Relaxed);
        self.commands.close();
        let gone = || ErrorObject::internal(Reason::ShuttingDown, STOPPED);
        while let Some(command) = self.commands.recv().await {
            if let Command::Call(_, call) = command {
                call.outlet.deliver(&self.handle, Delivery::Finish(gone().into()));
            }
        }
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            self.counters.in_flight.fetch_sub(1, Relaxed);
            waiting.outlet.deliver(&self.handle, Delivery::Finish(gone().into()));
        }
    }

    /// Did its server let go of it?
    pub(super) fn is_leaving(&self) -> bool {
        self.handle.is_leaving()
    }

    /// Was something on its way when its server let go of it?
    pub(super) fn has_late_commands(&self) -> bool {
        self.is_leaving() && !self.commands.is_empty()
    }

    /// Sets the one timer to the earliest deadline there is, if that changed.
    fn arm(&self, sleep: std::pin::Pin<&mut Sleep>, armed: &mut Option<Instant>) {
        let mux = self.mux.deadline().map(|at| self.epoch + at);
        let wanted = [mux, self.life_deadline()].into_iter().flatten().min();
        if wanted != *armed {
            *armed = wanted;
            if let Some(at) = wanted {
                sleep.reset(at);
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Open(caller) => {
                let is_session = caller.client.era == Era::Legacy;
                self.counters.sessions.fetch_add(i64::from(is_session), Relaxed);
                self.callers.insert(caller.caller, Lasting { outlet: caller.outlet, is_session });
                self.mux.open(caller.caller, caller.client, caller.subscriptions, now);
            }
            Command::Close(caller) => {
                if let Some(lasting) = self.callers.get(&caller) {
                    self.counters.sessions.fetch_sub(i64::from(lasting.is_session), Relaxed);
                    self.mux.close(caller, now);
                    self.flush();
                    self.callers.remove(&caller);
                }
            }
            Command::Call(id, call) => self.on_call(id, call),
            Command::Cancel { call, reason } => self.mux.cancel(call, reason.as_deref(), now),
            Command::Answer { ask, outcome } => self.mux.answer(ask, outcome, now),
            Command::AskProgress { ask, params } => self.mux.ask_progress(ask, &params),
            Command::Notify { method, params } => self.mux.notify(&method, params),
        }
    }

    fn on_call(&mut self, id: CallId, call: NewCall) {
        self.counters.calls.fetch_add(1, Relaxed);
        self.counters.in_flight.fetch_add(1, Relaxed);
        let started = Instant::now();
        self.last_use = started;
        let filter = call.method == Method::ToolsList && !self.spec.tools.is_open();
        self.waiting.insert(id, Waiting { outlet: call.outlet.clone(), since: started, filter });
        if let Some(outcome) = self.answer_without_child(&call.method, call.params.as_ref()) {
            return self.deliver(id, Delivery::Finish(outcome));
        }
        let NewCall { caller, client, method, params, hints, .. } = call;
        self.mux.call_with(id, (caller, client), method, params, hints, started - self.epoch);
        self.wanted();
    }

    /// Lists while the child is not ready come from the last good ones; a denied tool does not exist.
    fn answer_without_child(&mut self, method: &Method, params: Option<&Raw>) -> Option<Outcome> {
        if *method == Method::ToolsCall && !self.spec.tools.is_open() {
            let name = params.and_then(Object::scan).and_then(|params| params.get_str("name")).unwrap_or_default();
            if !self.spec.tools.admits(&name) {
                return Some(ErrorObject::invalid_params(format!("Unknown tool: {name}")).into());
            }
        }
        if matches!(self.life, Life::Ready { .. } | Life::Draining { .. }) {
            return None;
        }
        let kind = method.list_kind()?;
        if params.and_then(Object::scan).is_some_and(|params| params.get("cursor").is_some()) {
            return None;
        }
        // The cached page is already filtered.
        self.lists.get(kind).map(|list| list.to_result(kind))
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Line(line) => {
                if let Life::Opening { .. } = self.life {
                    self.opening_line(&line);
                } else {
                    let now = self.epoch.elapsed();
                    self.mux.line(&line, now);
                }
            }
            Event::TooLong => self.broken("it wrote a line longer than 64 MiB"),
            Event::StdoutClosed => self.broken("it closed its stdout"),
            Event::StdinClosed => self.broken("it closed its stdin"),
            Event::Exited(exit) => self.exited(exit),
        }
    }

    /// Carries out what the mux wants.
    pub(super) fn flush(&mut self) {
        // Lines that are there together go out in one write.
        let mut lines: Option<Line> = None;
        while let Some(output) = self.mux.take() {
            match output {
                Output::Write(line) => match &mut lines {
                    None => lines = Some(line),
                    Some(lines) => lines.append(line),
                },
                Output::Deliver(call, delivery) if self.drains.owns(call) => self.on_page(call, delivery),
                Output::Deliver(call, delivery) => self.deliver(call, delivery),
                Output::ToCaller(caller, delivery) => self.deliver_to_caller(caller, delivery),
                Output::Changed(kind) => self.refresh(kind),
                Output::Interactive => {
                    tracing::info!(server = %self.spec.name, "asks its clients; calls of different sessions now take turns");
                    self.world.keep_interactive(&self.spec);
                }
                Output::Dropped(what) => {
                    self.counters.dropped.fetch_add(1, Relaxed);
                    tracing::debug!(server = %self.spec.name, generation = self.generation, what, "dropped");
                }
            }
        }
        if let (Some(lines), Some(child)) = (lines, &mut self.child) {
            child.send(lines);
        }
        self.queued.set(self.mux.waiting());
    }

    fn deliver(&mut self, id: CallId, delivery: Delivery) {
        if !matches!(delivery, Delivery::Finish(_) | Delivery::Result(_) | Delivery::Cancelled) {
            if let Some(waiting) = self.waiting.get(&id) {
                waiting.outlet.deliver(&self.handle, delivery);
            }
            return;
        }
        let Some(waiting) = self.waiting.remove(&id) else { return };
        self.counters.in_flight.fetch_sub(1, Relaxed);
        self.last_use = Instant::now();
        self.counters.observe(self.last_use - waiting.since);
        let delivery = match delivery {
            Delivery::Finish(Outcome::Result(page)) if waiting.filter => self.admitted(&page),
            Delivery::Result(page) if waiting.filter => self.admitted(page.raw()),
            other => other,
        };
        if matches!(delivery, Delivery::Finish(Outcome::Error(_))) {
            self.counters.errors.fetch_add(1, Relaxed);
        }
        waiting.outlet.deliver(&self.handle, delivery);
    }

    /// A page of tools without those that are not admitted.
    fn admitted(&self, page: &Raw) -> Delivery {
        let page = lists::admitted_page(page, &self.spec.tools);
        Delivery::Finish(page.map_or_else(
            || ErrorObject::internal(Reason::ServerUnavailable, "the server sent no list of tools").into(),
            Outcome::Result,
        ))
    }

    fn deliver_to_caller(&mut self, caller: CallerId, delivery: Delivery) {
        let outlet = self.callers.get(&caller).map(|lasting| lasting.outlet.clone());
        match (outlet, delivery) {
            (Some(outlet), Delivery::Ask(ask)) if !outlet.listens() => self.nobody_listens(ask.id),
            (Some(outlet), delivery) => outlet.deliver(&self.handle, delivery),
            (None, Delivery::Ask(ask)) => self.nobody_listens(ask.id),
            (None, _) => {}
        }
    }

    fn nobody_listens(&mut self, ask: AskId) {
        let error = ErrorObject::invalid_params("no request is associated with this one, and nobody listens");
        let now = self.now();
        self.mux.answer(ask, error.into(), now);
    }

    // === Lists ===

    /// Begins to drain a list, unless that is under way.
    pub(super) fn drain(&mut self, kind: ListKind) {
        if !self.drains.running(kind) {
            let call = CallId(next_id());
            self.drains.begin(call, kind);
            let now = self.now();
            self.mux.internal_call(call, kind.method(), None, now);
        }
    }

    fn refresh(&mut self, kind: ListKind) {
        if matches!(self.life, Life::Ready { .. }) {
            self.drain(kind);
            if kind == ListKind::Resources {
                self.drain(ListKind::Templates);
            }
        }
    }

    fn on_page(&mut self, call: CallId, delivery: Delivery) {
        let Some(outcome) = delivery.into_outcome() else { return };
        let next = CallId(next_id());
        match self.drains.page(call, &outcome, next) {
            Some((kind, Page::Next(params))) => {
                let now = self.now();
                self.mux.internal_call(next, kind.method(), Some(params), now);
            }
            Some((kind, Page::Done(list))) => {
                self.learn(kind, &list);
                self.listed(kind, Ok(()));
            }
            Some((kind, Page::Failed(why))) => {
                tracing::debug!(server = %self.spec.name, why, "a list failed; the last good one stays");
                self.listed(kind, Err(why));
            }
            None => {}
        }
    }

    fn learn(&mut self, kind: ListKind, list: &Arc<List>) {
        let admitted = match kind {
            ListKind::Tools if !self.spec.tools.is_open() => Arc::new(list.admitted(&self.spec.tools)),
            _ => list.clone(),
        };
        let known = self.lists.get(kind).map(|known| known.digest);
        // Sessions of an earlier run know the list of that run; this child never said that it changed.
        let is_first = std::mem::take(&mut self.recalled[kind as usize]);
        if is_first && known.is_some_and(|digest| digest != admitted.digest) {
            let now = self.now();
            self.mux.lists_changed(kind, now);
        }
        let is_new = known != Some(admitted.digest);
        if is_new {
            self.world.keep_list(&self.spec, kind, list);
            self.lists = Arc::new(self.lists.with(kind, admitted));
            self.mux.set_read_only(self.lists.read_only.clone());
            self.publish();
        }
        if kind == ListKind::Tools && (is_first || is_new) {
            self.lists.complain(&self.spec.name);
        }
    }

    // === What others see ===

    /// Publishes a new snapshot.
    pub(super) fn publish(&self) {
        let ready_since = match &self.life {
            Life::Ready { since, .. } => Some(*since),
            _ => None,
        };
        let snapshot = Snapshot {
            state: self.life.state(),
            handshake: self.handshake.clone(),
            lists: self.lists.clone(),
            generation: self.generation,
            pid: self.child.as_ref().map(Child::pid),
            ready_since,
            failure: self.failure.clone(),
        };
        self.publish.send_replace(Arc::new(snapshot));
        self.changed.notify_one();
    }

    /// Takes a new configuration. What only the mux and the filter need applies at once.
    pub(super) fn reconfigured(&mut self, spec: Arc<ServerSpec>) {
        self.mux.set_options(options(&spec, false));
        self.history.set_policy(&spec.restart);
        let filter_changed = spec.tools != self.spec.tools;
        self.spec = spec;
        if filter_changed {
            if let Some(tools) = self.lists.get(ListKind::Tools) {
                let admitted = Arc::new(tools.admitted(&self.spec.tools));
                self.lists = Arc::new(self.lists.with(ListKind::Tools, admitted));
            }
            let now = self.now();
            self.mux.lists_changed(ListKind::Tools, now);
            self.publish();
        }
    }
}

//! A world around one mux: callers that come, call, answer and leave; a child that lives, answers, asks and dies.
//!
//! In: choices, from a seed or from a fuzzer. Out: a panic where a promise of PROTOCOL section 1 is broken. Owns the
//! mux, the child and what each caller may expect. May not: use threads, clocks or randomness of its own, or look into
//! the mux; it judges by what goes in and out.

mod caller;
mod child;
mod oracle;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hub::config::{Concurrency, Roots};
use hub::mcp::meta::Level;
use hub::mcp::{ClientCapabilities, ErrorObject, ListKind, Method, Raw};
use hub::server::mux::{ChildFacts, Mux, Options};
use hub::server::{AskId, CallId, CallerId};

use child::Child;

/// Where decisions come from.
pub trait Choice {
    /// A number below `bound`; `None` when there are no more decisions.
    fn below(&mut self, bound: usize) -> Option<usize>;

    /// One of these.
    fn of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        self.below(all.len()).map(|at| all[at])
    }
}

/// A caller as the world knows it.
#[derive(Debug, Default)]
struct Caller {
    level: Option<Level>,
    uris: BTreeSet<String>,
}

/// A call until its one end.
#[derive(Debug)]
struct Call {
    caller: CallerId,
    method: Method,
    /// May be sent again to the next child.
    repeatable: bool,
    /// How often a child got it.
    written: usize,
    cancelled: bool,
    over: bool,
}

/// An ask that was shown to a caller.
#[derive(Debug)]
struct Shown {
    caller: CallerId,
    /// The child's own id of it, raw.
    key: String,
    answered: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Down,
    Warming(CallId),
    /// Its first list failed.
    Failed,
    Up,
}

/// See the module.
pub struct World<C> {
    choice: C,
    now: Duration,
    mux: Mux,
    facts: ChildFacts,
    phase: Phase,
    child: Option<Child>,
    generation: u64,
    callers: BTreeMap<CallerId, Caller>,
    calls: BTreeMap<CallId, Call>,
    shown: BTreeMap<AskId, Shown>,
    last_id: u64,
    traced: bool,
    seen: Seen,
}

/// What happened how often: a world in which nothing happens proves nothing.
pub type Seen = BTreeMap<&'static str, u64>;

/// Finished calls are forgotten when there are this many.
const CALLS_KEPT: usize = 512;

const URIS: [&str; 4] = ["x:a", "x:a/b", "x:c", "y:"];

impl<C: Choice> World<C> {
    /// An empty world with a mux of any kind; `None` when the choices end at once.
    pub fn new(mut choice: C) -> Option<Self> {
        let options = Options {
            concurrency: choice.of(&[
                Concurrency::Auto,
                Concurrency::Auto,
                Concurrency::Serial,
                Concurrency::Parallel,
            ])?,
            interactive: choice.below(2)? == 0,
            roots: Roots::Own(if choice.below(2)? == 0 { vec![] } else { vec!["file:///r".into()] }),
            request_timeout: (choice.below(3)? == 0).then_some(Duration::from_secs(30)),
        };
        let facts = ChildFacts {
            logging: choice.below(4)? > 0,
            tools: true,
            prompts: choice.below(4)? > 0,
            resources: true,
            subscribe: choice.below(4)? > 0,
            completions: false,
            tasks: false,
            changes: [true; 3],
        };
        let mut mux = Mux::new(options);
        mux.expect_facts(facts);
        mux.set_read_only(Arc::new(HashSet::from(["look".to_owned()])));
        Some(Self {
            choice,
            now: Duration::from_secs(1),
            mux,
            facts,
            phase: Phase::Down,
            child: None,
            generation: 0,
            callers: BTreeMap::new(),
            calls: BTreeMap::new(),
            shown: BTreeMap::new(),
            last_id: 0,
            seen: Seen::new(),
            traced: std::env::var_os("HUB_SIM_TRACE").is_some(),
        })
    }

    /// One step; `None` when the choices have ended.
    pub fn step(&mut self) -> Option<()> {
        match self.choice.below(100)? {
            0..=21 => self.some_call()?,
            22..=26 => self.some_cancel()?,
            27..=41 => self.child_reads_one(),
            42..=53 => {
                let lines = 1 + self.choice.below(3)?;
                self.hub_reads(lines);
            }
            54..=65 => self.child_answers_some()?,
            66..=72 => self.child_asks_some()?,
            73..=79 => self.some_caller_answers()?,
            80..=85 => self.child_tells_some()?,
            86 => self.child_is_sloppy()?,
            87..=88 => self.some_caller_opens()?,
            89 => self.some_caller_closes()?,
            90..=97 => self.time_passes()?,
            _ => match self.choice.below(8)? {
                0 => self.child_dies(),
                1 => self.somebody_despairs(),
                _ => {}
            },
        }
        if self.child.is_none() {
            self.child_starts();
        }
        self.drain();
        if self.calls.len() > CALLS_KEPT {
            self.calls.retain(|_, call| !call.over);
        }
        Some(())
    }

    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Lets everything come to an end, and sees that it does: every call gets its answer, nothing is left.
    pub fn finish(mut self) -> Seen {
        self.bring_up();
        for _ in 0..10_000 {
            if self.mux.in_flight() == 0 && self.calls.values().all(|call| call.over) {
                break;
            }
            self.everybody_does_their_part();
        }
        let open: Vec<_> = self.calls.iter().filter(|(_, call)| !call.over).collect();
        assert!(open.is_empty(), "calls hang: {open:?}");
        let callers: Vec<CallerId> = self.callers.keys().copied().collect();
        for caller in callers {
            self.close(caller);
        }
        for _ in 0..100 {
            self.everybody_does_their_part();
        }
        self.pass(Duration::from_hours(2));
        for _ in 0..100 {
            self.everybody_does_their_part();
        }
        assert_eq!(self.mux.sizes(), [0; 5], "calls, asks, tombs, subscriptions, tasks are left");
        let child = self.child.as_ref().expect("it was brought up");
        let left = child.certainly_subscribed();
        assert!(left.is_empty(), "the child still believes in subscribers of {left:?}");
        self.seen
    }

    fn everybody_does_their_part(&mut self) {
        self.child_reads();
        let shown: Vec<AskId> = self.shown.iter().filter(|(_, shown)| !shown.answered).map(|(id, _)| *id).collect();
        for ask in shown {
            self.answer(ask);
        }
        self.child_reads();
        let waiting = self.child.as_ref().map(Child::answerable).unwrap_or_default();
        for wire in waiting {
            self.child_mut().answer(wire, true);
        }
        self.hub_reads(usize::MAX);
        self.pass(Duration::from_secs(1));
        if self.child.is_none() {
            self.child_starts();
        }
        self.drain();
    }

    fn bring_up(&mut self) {
        if self.child.is_none() {
            self.child_starts();
        }
        self.drain();
        for _ in 0..10 {
            if self.phase == Phase::Up {
                return;
            }
            self.everybody_does_their_part();
        }
        panic!("the child does not come up");
    }

    /// For a person who looks at one seed (`HUB_SIM_TRACE`).
    fn trace(&self, what: impl FnOnce() -> String) {
        if self.traced {
            eprintln!("{:>9.3} {}", self.now.as_secs_f64(), what());
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    // === Time ===

    fn time_passes(&mut self) -> Option<()> {
        // What is in a pipe gets there at once, compared with any of these.
        self.child_reads();
        self.hub_reads(usize::MAX);
        let millis = self.choice.of(&[1, 20, 40, 60, 500, 1500, 2500, 11_000, 16_000, 31_000, 610_000, 4_000_000])?;
        self.pass(Duration::from_millis(millis));
        Some(())
    }

    /// Lets time pass with every timer at its time.
    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        for ticks in 0.. {
            assert!(ticks < 100_000, "timers never end");
            // Drains, too.
            self.child_reads();
            match self.mux.deadline() {
                Some(at) if at <= until => {
                    self.now = self.now.max(at);
                    self.trace(|| "tick".into());
                    self.mux.tick(self.now);
                }
                _ => break,
            }
        }
        self.now = until;
    }

    // === The child's life ===

    fn child_starts(&mut self) {
        self.generation += 1;
        let first_free = 2 + self.generation % 3;
        self.child = Some(Child::new(first_free - 1));
        let list = CallId(self.next_id());
        self.phase = Phase::Warming(list);
        self.calls.insert(list, Call::new(CallerId::HUB, Method::ToolsList));
        self.mux.warming(first_free, self.facts, hub::mcp::Era::Legacy);
        self.mux.internal_call(list, Method::ToolsList, None, self.now);
    }

    /// Its first list came.
    fn child_is_ready(&mut self) {
        self.phase = Phase::Up;
        self.mux.ready(self.generation > 1, self.now);
        for kind in [ListKind::Prompts, ListKind::Resources] {
            let list = CallId(self.next_id());
            self.calls.insert(list, Call::new(CallerId::HUB, kind.method()));
            self.mux.internal_call(list, kind.method(), None, self.now);
        }
    }

    fn child_dies(&mut self) {
        if self.child.take().is_none() {
            return;
        }
        self.phase = Phase::Down;
        self.trace(|| "the child dies".into());
        self.count("death");
        self.mux.down("killed", self.now);
        self.drain();
        for (id, call) in &self.calls {
            assert!(
                call.over || call.written == 0 || call.may_be_written_again(),
                "{id:?} waits for a dead child: {call:?}"
            );
        }
    }

    /// The server is given up: what waits is refused.
    fn somebody_despairs(&mut self) {
        self.child_dies();
        let error = ErrorObject::invalid_request("given up");
        self.mux.fail_waiting(&error, self.now);
        self.drain();
        let open: Vec<_> = self.calls.iter().filter(|(_, call)| !call.over).collect();
        assert!(open.is_empty(), "calls wait for a server that will not come back: {open:?}");
    }

    fn child_mut(&mut self) -> &mut Child {
        self.child.as_mut().expect("a step without a child starts one")
    }

    fn child_reads_one(&mut self) {
        let now = self.now;
        let what = self.child.as_mut().and_then(|child| child.read_one(now));
        if let Some(what) = what {
            self.count(what);
        }
    }

    fn child_reads(&mut self) {
        self.drain();
        while self.child.as_ref().is_some_and(|child| !child.inbox.is_empty()) {
            self.child_reads_one();
        }
    }

    fn hub_reads(&mut self, lines: usize) {
        for _ in 0..lines {
            let Some(line) = self.child.as_mut().and_then(|child| child.outbox.pop_front()) else { return };
            self.trace(|| format!("child: {}", String::from_utf8_lossy(&line)));
            self.mux.line(&Bytes::from(line), self.now);
            self.drain();
        }
    }

    fn child_answers_some(&mut self) -> Option<()> {
        let Some(child) = &mut self.child else { return Some(()) };
        let answerable = child.answerable();
        if !answerable.is_empty() {
            let wire = self.choice.of(&answerable)?;
            let well = self.choice.below(8)? > 0;
            child.answer(wire, well);
        }
        Some(())
    }

    fn child_asks_some(&mut self) -> Option<()> {
        let Some(child) = &mut self.child else { return Some(()) };
        let causes = child.may_ask(self.now);
        if causes.is_empty() {
            // Nobody's request is at the child, and it asks all the same.
            if child.is_idle() && self.mux.written() == 0 && self.choice.below(4)? == 0 {
                child.ask(None, self.choice.below(3)?, self.now);
                self.hub_reads(1);
            }
            return Some(());
        }
        let cause = self.choice.of(&causes)?;
        child.ask(Some(cause), self.choice.below(3)?, self.now);
        Some(())
    }

    fn child_tells_some(&mut self) -> Option<()> {
        let (what, uri, level) = (self.choice.below(10)?, self.choice.of(&URIS)?, self.choice.below(8)?);
        let pick = self.choice.below(64)?;
        let Some(child) = &mut self.child else { return Some(()) };
        child.tell(what, uri, level, pick, self.now);
        Some(())
    }

    fn child_is_sloppy(&mut self) -> Option<()> {
        let (what, pick) = (self.choice.below(9)?, self.choice.below(64)?);
        let Some(child) = &mut self.child else { return Some(()) };
        child.be_sloppy(what, pick);
        Some(())
    }
}

impl Call {
    fn new(caller: CallerId, method: Method) -> Self {
        let lists = method.list_kind().is_some();
        let repeatable =
            caller != CallerId::HUB && (lists || matches!(method, Method::ResourcesRead | Method::PromptsGet));
        Self { caller, method, repeatable, written: 0, cancelled: false, over: false }
    }

    fn may_be_written_again(&self) -> bool {
        self.repeatable && self.written < 2 || matches!(self.method, Method::Subscribe | Method::SetLevel)
    }
}

fn capabilities(all: bool, some: bool) -> ClientCapabilities {
    ClientCapabilities {
        elicitation_form: all || some,
        elicitation_url: all,
        sampling: all,
        sampling_tools: all,
        ..ClientCapabilities::default()
    }
}

fn raw(value: &serde_json::Value) -> Raw {
    Raw::from(value.to_string())
}

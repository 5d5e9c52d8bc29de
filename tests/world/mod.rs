//! A world around one mux: clients of both eras that come, call, answer and leave; a child of either era that lives,
//! answers, asks and dies.
//!
//! In: choices, from a seed or from a fuzzer. Out: a panic where a promise of PROTOCOL sections 1 to 3 is broken. Owns
//! the mux, the child, the parked calls, and what each caller may expect. May not: use threads, clocks or randomness of
//! its own, or look into the mux; it judges by what goes in and out.

mod caller;
mod child;
mod life;
mod listens;
mod modern;
mod oracle;
mod park;
mod says;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hub::config::{Concurrency, Roots};
use hub::mcp::meta::Level;
use hub::mcp::{Era, Method, Outcome};
use hub::server::mux::{ChildFacts, Mux, Options};
use hub::server::{AskId, CallId, CallerId, Client};

use child::Child;
use park::{Again, Park};

/// Where decisions come from.
pub trait Choice {
    /// A number below `bound`; `None` when there are no more decisions.
    fn below(&mut self, bound: usize) -> Option<usize>;

    /// One of these.
    fn of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        self.below(all.len()).map(|at| all[at])
    }
}

/// Clients of one era at a child of the same or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    pub clients: Era,
    pub child: Era,
}

impl Cell {
    pub const ALL: [Self; 4] = [
        Self { clients: Era::Legacy, child: Era::Legacy },
        Self { clients: Era::Modern, child: Era::Legacy },
        Self { clients: Era::Legacy, child: Era::Modern },
        Self { clients: Era::Modern, child: Era::Modern },
    ];

    pub fn name(self) -> &'static str {
        match (self.clients, self.child) {
            (Era::Legacy, Era::Legacy) => "legacy client, legacy child",
            (Era::Modern, Era::Legacy) => "modern client, legacy child",
            (Era::Legacy, Era::Modern) => "legacy client, modern child",
            (Era::Modern, Era::Modern) => "modern client, modern child",
        }
    }
}

/// What happened how often, by cell: a world in which nothing happens proves nothing.
pub type Seen = BTreeMap<(&'static str, &'static str), u64>;

/// Takes what happens, line by line.
pub type Trail = Box<dyn FnMut(String)>;

/// A lasting caller as the world knows it: a session, or a modern listener.
#[derive(Debug)]
struct Caller {
    client: Arc<Client>,
    level: Option<Level>,
    uris: BTreeSet<String>,
}

/// A call until its one end.
#[derive(Debug)]
struct Call {
    caller: CallerId,
    /// Of a caller that exists for this call only.
    client: Option<Arc<Client>>,
    method: Method,
    /// May be sent again to the next child.
    repeatable: bool,
    /// How often a child got it, and how often it may: once, and once more after each question.
    written: usize,
    allowed: usize,
    cancelled: bool,
    over: bool,
}

/// An ask that was shown to a caller.
#[derive(Debug)]
struct Shown {
    caller: CallerId,
    method: Method,
    /// The child's own name of it.
    key: String,
    answered: bool,
}

/// What a parked call wants done, which takes its way through the instance's queue.
#[derive(Debug)]
enum Command {
    Answer(AskId, Outcome),
    Cancel(CallId),
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
    cell: Cell,
    /// Clients of the other era come, too.
    mixed: bool,
    /// The child may come back as one of the other era.
    changing: bool,
    /// How many calls are open at once.
    crowd: usize,
    roots_of_client: bool,
    phase: Phase,
    era: Era,
    child: Option<Child>,
    generation: u64,
    callers: BTreeMap<CallerId, Caller>,
    calls: BTreeMap<CallId, Call>,
    shown: BTreeMap<AskId, Shown>,
    parks: BTreeMap<CallId, Park>,
    commands: VecDeque<Command>,
    /// Questions of modern children that modern clients have not answered yet.
    again: Vec<Again>,
    /// Tasks that callers know of.
    tasks: Vec<String>,
    last_id: u64,
    trail: Option<Trail>,
    seen: Seen,
}

/// Finished calls are forgotten when there are this many.
const CALLS_KEPT: usize = 512;

const URIS: [&str; 4] = ["x:a", "x:a/b", "x:c", "y:"];

impl<C: Choice> World<C> {
    /// An empty world with a mux of any kind; `None` when the choices end at once.
    pub fn new(mut choice: C, cell: Cell, trail: Option<Trail>) -> Option<Self> {
        let modes = [Concurrency::Auto, Concurrency::Auto, Concurrency::Serial, Concurrency::Parallel];
        let concurrency = choice.of(&modes)?;
        let interactive = choice.below(2)? == 0;
        let roots = match choice.below(3)? {
            0 => Roots::Own(vec![]),
            1 => Roots::Own(vec!["file:///r".into()]),
            _ => Roots::Client,
        };
        let roots_of_client = roots == Roots::Client;
        let request_timeout = (choice.below(3)? == 0).then_some(Duration::from_secs(30));
        let options = Options { concurrency, interactive, roots, request_timeout };
        let facts = ChildFacts {
            logging: choice.below(4)? > 0,
            tools: true,
            prompts: choice.below(4)? > 0,
            resources: true,
            subscribe: choice.below(4)? > 0,
            completions: false,
            tasks: choice.below(2)? > 0,
            changes: [true; 3],
        };
        let (mixed, changing, crowd) = (choice.below(2)? == 0, choice.below(4)? == 0, choice.of(&[3, 6, 24])?);
        let mut mux = Mux::new(options);
        mux.expect_facts(facts);
        mux.set_read_only(Arc::new(HashSet::from(["look".to_owned()])));
        Some(Self {
            choice,
            now: Duration::from_secs(1),
            mux,
            facts,
            cell,
            mixed,
            changing,
            crowd,
            roots_of_client,
            phase: Phase::Down,
            era: cell.child,
            child: None,
            generation: 0,
            callers: BTreeMap::new(),
            calls: BTreeMap::new(),
            shown: BTreeMap::new(),
            parks: BTreeMap::new(),
            commands: VecDeque::new(),
            again: Vec::new(),
            tasks: Vec::new(),
            last_id: 0,
            trail,
            seen: Seen::new(),
        })
    }

    /// One step; `None` when the choices have ended.
    pub fn step(&mut self) -> Option<()> {
        match self.choice.below(100)? {
            0..=19 => self.some_call()?,
            20..=23 => self.some_cancel()?,
            24..=37 => self.child_reads_one(),
            38..=50 => {
                let lines = 1 + self.choice.below(3)?;
                self.hub_reads(lines);
            }
            51..=60 => self.child_answers_some()?,
            61..=68 => self.child_asks_some()?,
            69..=75 => self.some_session_answers()?,
            76..=80 => self.some_client_returns()?,
            81..=86 => self.child_tells_some()?,
            87 => self.child_is_sloppy()?,
            88..=89 => self.some_caller_opens()?,
            90 => self.some_caller_closes()?,
            91..=97 => self.time_passes()?,
            _ => match self.choice.below(8)? {
                0 => self.child_dies(),
                1 => self.somebody_despairs(),
                _ => {}
            },
        }
        if self.child.is_none() {
            self.child_starts()?;
        }
        self.drain();
        // What parked calls want takes its way through a queue.
        if !self.commands.is_empty() && self.choice.below(3)? > 0 {
            self.obey();
        }
        self.check();
        if self.calls.len() > CALLS_KEPT {
            let parks = &self.parks;
            self.calls.retain(|id, call| !call.over || parks.contains_key(id));
        }
        Some(())
    }

    /// The mux's own invariants.
    fn check(&self) {
        if let Err(broken) = self.mux.check_invariants(self.now) {
            panic!("invariant: {broken}");
        }
    }

    /// Counts something, of a client of that era if it is one's.
    fn count(&mut self, of: Option<Era>, what: &'static str) {
        let cell = match of {
            Some(clients) => Cell { clients, child: self.era }.name(),
            None if self.era == Era::Legacy => "legacy child",
            None => "modern child",
        };
        *self.seen.entry((cell, what)).or_default() += 1;
    }

    fn era_of(&self, caller: CallerId) -> Era {
        self.callers.get(&caller).map_or(Era::Modern, |caller| caller.client.era)
    }

    /// For a person who looks at one world.
    fn trace(&mut self, what: impl FnOnce() -> String) {
        if let Some(trail) = &mut self.trail {
            trail(format!("{:>9.3} {}", self.now.as_secs_f64(), what()));
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Call {
    fn new(caller: CallerId, method: Method) -> Self {
        let lists = method.list_kind().is_some();
        let repeatable =
            caller != CallerId::HUB && (lists || matches!(method, Method::ResourcesRead | Method::PromptsGet));
        let client = None;
        Self { caller, client, method, repeatable, written: 0, allowed: 1, cancelled: false, over: false }
    }

    fn may_be_written_again(&self) -> bool {
        self.written < self.allowed + usize::from(self.repeatable)
            || matches!(self.method, Method::Subscribe | Method::SetLevel)
    }
}

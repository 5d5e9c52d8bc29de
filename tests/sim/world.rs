//! One simulated world: callers, the mux, the child, the clock, and what must be true of every delivery.
//!
//! In: a seed. Out: steps; an error says which promise broke. Owns everything in it. May not: use real time.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hub::config::Concurrency;
use hub::mcp::meta::Level;
use hub::mcp::{ClientCapabilities, Line, Method, Outcome};
use hub::server::mux::{ChildFacts, Mux, Options, Output};
use hub::server::{AskId, CallId, CallerId, Client, Delivery};
use serde_json::Value;

use crate::child::Child;
use crate::rng::Rng;

const TOOLS: [&str; 3] = ["plain", "read", "work"];

/// What happened, over all steps.
#[derive(Debug, Default, Clone)]
pub struct Totals {
    pub finished: u64,
    pub cancelled: u64,
    pub asks_shown: u64,
    pub asks_refused: u64,
    pub restarts: u64,
    pub repeated: u64,
    pub updates: u64,
    pub logs: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.finished += other.finished;
        self.cancelled += other.cancelled;
        self.asks_shown += other.asks_shown;
        self.asks_refused += other.asks_refused;
        self.restarts += other.restarts;
        self.repeated += other.repeated;
        self.updates += other.updates;
        self.logs += other.logs;
    }
}

struct Call {
    caller: CallerId,
    nonce: String,
    /// May be executed more than once.
    repeatable: bool,
}

pub struct World {
    rng: Rng,
    mux: Mux,
    child: Option<Child>,
    now: Duration,
    next: u64,
    callers: Vec<CallerId>,
    calls: BTreeMap<CallId, Call>,
    /// Asks shown and not answered, with who was shown them.
    shown: BTreeMap<AskId, (CallerId, String)>,
    executed: HashMap<String, u64>,
    generation: u64,
    totals: Totals,
    history: VecDeque<String>,
}

fn capabilities(rng: &mut Rng) -> ClientCapabilities {
    let able = rng.chance(85);
    ClientCapabilities { elicitation_form: able, sampling: able, ..ClientCapabilities::default() }
}

fn parse(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}: {}", String::from_utf8_lossy(bytes)))
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let concurrency = match rng.below(6) {
            0 => Concurrency::Serial,
            1 => Concurrency::Parallel,
            _ => Concurrency::Auto,
        };
        let options = Options {
            concurrency,
            interactive: rng.chance(40),
            roots: hub::config::Roots::default(),
            request_timeout: rng.chance(30).then_some(Duration::from_secs(30)),
        };
        let mut mux = Mux::new(options);
        mux.set_read_only(Arc::new(HashSet::from(["read".to_owned()])));
        Self {
            rng,
            mux,
            child: None,
            now: Duration::from_secs(1),
            next: 1,
            callers: Vec::new(),
            calls: BTreeMap::new(),
            shown: BTreeMap::new(),
            executed: HashMap::new(),
            generation: 0,
            totals: Totals::default(),
            history: VecDeque::new(),
        }
    }

    /// The last things that happened, for a failure.
    pub fn history(&self) -> String {
        self.history.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    fn note(&mut self, what: String) {
        if self.history.len() == 1500 {
            self.history.pop_front();
        }
        self.history.push_back(format!("{:?} {what}", self.now));
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn step(&mut self) -> Result<(), String> {
        let elapsed = match self.rng.below(20) {
            0..=13 => self.rng.below(20),
            14..=18 => self.rng.below(400),
            _ => self.rng.below(12_000),
        };
        self.now += Duration::from_millis(elapsed);
        if self.mux.deadline().is_some_and(|at| at <= self.now) {
            self.mux.tick(self.now);
            self.settle()?;
        }
        match self.rng.below(100) {
            0..=3 if self.callers.len() < 6 => self.open(),
            4 => self.close(),
            5..=39 => self.call(),
            40..=44 => self.cancel(),
            45..=59 => self.answer(),
            60 => self.stop_child(),
            61..=64 => self.start_child(),
            _ => self.child_acts()?,
        }
        self.settle()
    }

    // === Stimuli ===

    fn open(&mut self) {
        let caller = CallerId(self.fresh());
        let can = capabilities(&mut self.rng);
        let level = self.rng.chance(30).then_some(Level::Debug);
        self.note(format!("open {caller:?} {can:?}"));
        self.callers.push(caller);
        self.mux.open(caller, Arc::new(Client::legacy(can, level)), Vec::new(), self.now);
    }

    fn close(&mut self) {
        if let Some(caller) = self.rng.pick(&self.callers).copied() {
            self.note(format!("close {caller:?}"));
            self.mux.close(caller, self.now);
            self.callers.retain(|other| *other != caller);
            self.shown.retain(|_, (owner, _)| *owner != caller);
        }
    }

    fn call(&mut self) {
        let Some(caller) = self.rng.pick(&self.callers).copied() else { return };
        let id = CallId(self.fresh());
        let nonce = format!("{}:{}", caller.0, id.0);
        let token = if self.rng.chance(40) { r#""_meta":{"progressToken":"tok"},"# } else { "" };
        let (method, params) = match self.rng.below(20) {
            0 => (Method::SetLevel, format!(r#"{{"level":"{}"}}"#, ["debug", "error"][self.rng.index(2)])),
            1..=2 => (Method::Subscribe, format!(r#"{{"uri":"test://{}"}}"#, self.rng.below(4))),
            3 => (Method::Unsubscribe, format!(r#"{{"uri":"test://{}"}}"#, self.rng.below(4))),
            4 => (Method::ToolsList, format!(r#"{{{token}"nonce":"{nonce}"}}"#)),
            5 => (Method::TasksGet, r#"{"taskId":"of somebody"}"#.to_owned()),
            6 => (Method::ToolsCall, format!(r#"{{{token}"name":"work","task":{{}},"nonce":"{nonce}"}}"#)),
            _ => {
                let tool = TOOLS[self.rng.index(3)];
                (Method::ToolsCall, format!("{{{token}\n\"name\":\"{tool}\",\"nonce\":\"{nonce}\"}}"))
            }
        };
        let repeatable = method != Method::ToolsCall || params.contains("\"read\"");
        self.note(format!("call {id:?} of {caller:?}: {} {params}", method.name()));
        self.calls.insert(id, Call { caller, nonce, repeatable });
        self.mux.call(id, caller, method, Some(Bytes::from(params)), self.now);
    }

    fn cancel(&mut self) {
        let all: Vec<CallId> = self.calls.keys().copied().collect();
        if let Some(id) = self.rng.pick(&all).copied() {
            self.note(format!("cancel {id:?}"));
            self.mux.cancel(id, None, self.now);
        }
    }

    fn answer(&mut self) {
        let all: Vec<AskId> = self.shown.keys().copied().collect();
        if let Some(ask) = self.rng.pick(&all).copied()
            && let Some((owner, nonce)) = self.shown.remove(&ask)
        {
            self.note(format!("{owner:?} answers {ask:?}"));
            // The client answers for whoever it was shown to: the child checks that it is its own.
            let answer = Outcome::Result(Bytes::from(format!(r#"{{"for":"{nonce}"}}"#)));
            self.mux.answer(ask, answer.clone(), self.now);
            if self.rng.chance(10) {
                self.mux.answer(ask, answer, self.now);
            }
        }
    }

    fn stop_child(&mut self) {
        if self.child.take().is_some() {
            self.note("the child dies".into());
            self.mux.down("the server ended", self.now);
            if self.rng.chance(20) {
                let error = hub::mcp::ErrorObject::new(-32603, "gone");
                self.mux.fail_waiting(&error, self.now);
            }
        }
    }

    fn start_child(&mut self) {
        if self.child.is_none() {
            self.generation += 1;
            self.totals.restarts += u64::from(self.generation > 1);
            self.note(format!("child {}", self.generation));
            self.child = Some(Child::new());
            let capabilities = r#"{"tools":{},"resources":{"subscribe":true},"logging":{},"tasks":{}}"#;
            self.mux.warming(2, ChildFacts::parse(&Bytes::from_static(capabilities.as_bytes())), hub::mcp::Era::Legacy);
            self.mux.ready(self.generation > 1, self.now);
        }
    }

    fn child_acts(&mut self) -> Result<(), String> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let Some(line) = child.act(&mut self.rng, self.now) else { return Ok(()) };
        self.say(&line)
    }

    fn say(&mut self, line: &Value) -> Result<(), String> {
        self.note(format!("child: {line}"));
        self.mux.line(&Bytes::from(line.to_string()), self.now);
        self.settle()
    }

    // === What must hold ===

    /// Takes what the mux wants and holds it against the truth.
    fn settle(&mut self) -> Result<(), String> {
        while let Some(output) = self.mux.take() {
            self.note(format!("-> {output:?}"));
            match output {
                Output::Write(line) => self.written(&line)?,
                Output::Deliver(call, delivery) => self.delivered(call, delivery)?,
                Output::ToCaller(caller, delivery) => self.told(caller, delivery)?,
                Output::Changed(_) | Output::Interactive | Output::Dropped(_) => {}
            }
        }
        self.mux.check_invariants(self.now)
    }

    fn written(&mut self, line: &Line) -> Result<(), String> {
        let bytes = line.to_bytes();
        if bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() != 1 || bytes.last() != Some(&b'\n') {
            return Err(format!("not one line: {bytes:?}"));
        }
        let Some(child) = &mut self.child else { return Err("written to a child that is not there".into()) };
        let value = parse(&bytes)?;
        if value.get("error").is_some() {
            self.totals.asks_refused += 1;
        }
        if let Some((method, nonce)) = child.read(&value, self.now)?
            && !nonce.is_empty()
        {
            let times = self.executed.entry(nonce.clone()).or_default();
            *times += 1;
            let repeatable = self.calls.values().find(|call| call.nonce == nonce).is_some_and(|call| call.repeatable);
            if *times > 1 + u64::from(repeatable) {
                return Err(format!("{method} {nonce} ran {times} times"));
            }
            self.totals.repeated += u64::from(*times == 2);
        }
        Ok(())
    }

    fn delivered(&mut self, id: CallId, delivery: Delivery) -> Result<(), String> {
        let Some(call) = self.calls.get(&id) else { return Err(format!("{id:?} is over and gets {delivery:?}")) };
        let own = |text: Option<&str>| text.is_none_or(|nonce| nonce == call.nonce || nonce.is_empty());
        match delivery {
            Delivery::Finish(outcome) => {
                let value = match &outcome {
                    Outcome::Result(raw) => parse(raw)?["nonce"].clone(),
                    Outcome::Error(raw) => {
                        let error = parse(raw)?;
                        if error["code"] == -1 { error["message"].clone() } else { Value::Null }
                    }
                };
                if !own(value.as_str()) {
                    return Err(format!("{id:?} ({}) got the result of {value}", call.nonce));
                }
                self.totals.finished += 1;
                self.calls.remove(&id);
            }
            Delivery::Cancelled => {
                self.totals.cancelled += 1;
                self.calls.remove(&id);
            }
            Delivery::Progress { params } => {
                let value = parse(&params)?;
                if !own(value["message"].as_str()) {
                    return Err(format!("{id:?} got the progress of {value}"));
                }
            }
            Delivery::Notification { params, .. } => {
                let caller = call.caller;
                return self.logged(caller, params.as_ref());
            }
            Delivery::Ask(ask) => {
                let caller = call.caller;
                return self.asked(caller, ask.id, ask.params.as_ref());
            }
            Delivery::Withdraw(ask) => drop(self.shown.remove(&ask)),
            Delivery::Lacks(_) => {}
        }
        Ok(())
    }

    fn told(&mut self, caller: CallerId, delivery: Delivery) -> Result<(), String> {
        if !self.callers.contains(&caller) && !matches!(delivery, Delivery::Withdraw(_)) {
            return Err(format!("{caller:?} is gone and gets {delivery:?}"));
        }
        match delivery {
            Delivery::Ask(ask) => self.asked(caller, ask.id, ask.params.as_ref()),
            Delivery::Withdraw(ask) => {
                self.shown.remove(&ask);
                Ok(())
            }
            Delivery::Notification { method: Method::LogMessage, params } => {
                // To everybody only when nobody has a call there: then it tells nothing of anybody.
                let quiet = self
                    .child
                    .as_ref()
                    .is_none_or(|child| child.running.values().all(|r| r.nonce.is_empty() || r.cancelled_at.is_some()));
                if quiet { Ok(()) } else { self.logged(caller, params.as_ref()) }
            }
            Delivery::Notification { method: Method::ResourceUpdated, .. } => {
                self.totals.updates += 1;
                Ok(())
            }
            Delivery::Notification { .. } => Ok(()),
            other => Err(format!("a caller gets {other:?}")),
        }
    }

    fn logged(&mut self, caller: CallerId, params: Option<&Bytes>) -> Result<(), String> {
        let Some(params) = params else { return Ok(()) };
        let value = parse(params)?;
        self.totals.logs += 1;
        let nonce = value["data"].as_str().unwrap_or_default();
        if nonce.is_empty() || nonce.starts_with(&format!("{}:", caller.0)) {
            return Ok(());
        }
        Err(format!("{caller:?} reads the log of {nonce}"))
    }

    fn asked(&mut self, caller: CallerId, ask: AskId, params: Option<&Bytes>) -> Result<(), String> {
        let value = parse(params.ok_or("an ask without params")?)?;
        let nonce = value["message"].as_str().unwrap_or_default().to_owned();
        if !nonce.starts_with(&format!("{}:", caller.0)) {
            return Err(format!("{caller:?} is asked what {nonce} should be"));
        }
        self.totals.asks_shown += 1;
        if self.shown.insert(ask, (caller, nonce)).is_some() {
            return Err(format!("{ask:?} is shown twice"));
        }
        Ok(())
    }

    // === The end ===

    /// Everybody leaves, time passes: nothing may be left of anything.
    pub fn wind_down(&mut self) -> Result<Totals, String> {
        self.start_child();
        self.settle()?;
        for caller in std::mem::take(&mut self.callers) {
            self.note(format!("close {caller:?}"));
            self.mux.close(caller, self.now);
            self.settle()?;
        }
        for _ in 0..2_000 {
            self.now += Duration::from_secs(5);
            self.mux.tick(self.now);
            self.settle()?;
            let wires: Vec<u64> = self.child.iter().flat_map(|child| child.running.keys().copied()).collect();
            for wire in wires {
                let line = self.child.as_mut().and_then(|child| child.answer(wire, &mut self.rng));
                if let Some(line) = line {
                    self.say(&line)?;
                }
            }
        }
        match self.mux.sizes() {
            [0, 0, 0, 0, 0] if self.calls.is_empty() => Ok(self.totals.clone()),
            sizes => Err(format!(
                "left over: {sizes:?} (calls, asks, tombs, subscriptions, tasks); unanswered: {:?}",
                self.calls.keys()
            )),
        }
    }
}

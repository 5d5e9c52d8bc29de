//! A child of either era that keeps to the protocol, but for what it says on the side; and what it makes of a legacy hub.
//!
//! In: lines of hub. Out: lines for hub. Owns what a real server would know: requests, its own asks, subscriptions,
//! listens, tasks. May not: break what the attribution of asks assumes (PROTOCOL 1.11): a call does not end before the
//! ask that it caused, and parallel asks of one call come within 50 ms.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hub::limits::{BATON_COLLECT, GHOST};
use hub::mcp::meta::Level;
use hub::mcp::{Era, Line, Method};
use hub::server::mux::ChildFacts;
use serde_json::{Value, json};

use super::listens::Listen;
use super::modern::Round;
use super::words::named;

/// A request of hub that was not answered.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    /// Which call of the world it is, and whose; `None` for what the mux asks by itself.
    pub call: Option<u64>,
    pub caller: Option<u64>,
    /// It comes from a modern client.
    pub modern: bool,
    pub params: Value,
    pub token: Option<Value>,
    /// The log lines that it wants (modern).
    pub level: Option<Level>,
    pub cancelled: Option<Duration>,
    /// When it began to wait for answers, if it does: the first of the asks that it has open now, or had meanwhile.
    waits: Option<Duration>,
}

/// A request of the child that was not answered.
#[derive(Debug)]
pub struct Ask {
    /// The request that it works on.
    cause: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub struct Child {
    pub era: Era,
    pub facts: ChildFacts,
    generation: u64,
    /// Lines of hub that it has not read.
    pub inbox: VecDeque<Value>,
    /// Lines that hub has not read.
    pub outbox: VecDeque<Vec<u8>>,
    /// What happened, to be counted: of a client of which era, if of one.
    pub events: Vec<(Option<Era>, &'static str)>,
    /// What it believes to be subscribed.
    subscribed: BTreeSet<String>,
    /// Where hub gave up waiting for an answer: it cannot know what became of these.
    uncertain: BTreeSet<String>,
    pub requests: BTreeMap<u64, Request>,
    /// By the raw id.
    pub asks: BTreeMap<String, Ask>,
    /// Asks that it took back: an answer may be on its way.
    pub withdrawn: BTreeSet<String>,
    /// Its tasks and their owners; `None`: modern clients.
    pub tasks: BTreeMap<String, Option<u64>>,
    /// The `subscriptions/listen` that hub has open.
    pub listens: BTreeMap<u64, Listen>,
    pub knows_listen: bool,
    /// What it wants to know before calls go on, by chain.
    pub rounds: BTreeMap<u64, Round>,
    last_id: u64,
    next: u64,
}

impl Child {
    /// A child whose handshake used ids up to `last_id`.
    pub fn new(last_id: u64, era: Era, facts: ChildFacts, generation: u64) -> Self {
        Self {
            era,
            facts,
            generation,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            events: Vec::new(),
            subscribed: BTreeSet::new(),
            uncertain: BTreeSet::new(),
            requests: BTreeMap::new(),
            asks: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            tasks: BTreeMap::new(),
            listens: BTreeMap::new(),
            knows_listen: true,
            rounds: BTreeMap::new(),
            last_id,
            next: 0,
        }
    }

    /// A line of hub; gives back what it says.
    pub fn send(&mut self, line: &Line) -> &Value {
        let bytes = line.to_bytes();
        let (end, text) = bytes.split_last().expect("at least a newline");
        assert!(*end == b'\n' && !text.contains(&b'\n') && !text.contains(&b'\r'), "not one line: {bytes:?}");
        self.inbox.push_back(serde_json::from_slice(text).expect("hub writes JSON"));
        self.inbox.back().expect("just put there")
    }

    pub fn say(&mut self, message: &Value) {
        self.outbox.push_back(message.to_string().into_bytes());
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    // === What it reads ===

    /// Reads one line.
    pub fn read_one(&mut self, now: Duration) {
        let Some(message) = self.inbox.pop_front() else { return };
        assert_eq!(message["jsonrpc"], "2.0");
        let modern = self.era == Era::Modern;
        match (message.get("method").and_then(Value::as_str), message.get("id")) {
            (Some(method), Some(id)) => self.read_request(method, id, &message["params"]),
            (Some("notifications/cancelled"), None) => self.read_cancel(&message["params"], now),
            (Some("notifications/progress"), None) if !modern => {
                let token = message["params"]["progressToken"].as_str().expect("the child's own token");
                assert!(token.starts_with("ask-"), "progress with a client's token: {token}");
            }
            (Some(method), None) => panic!("a notification that nobody sent: {method}"),
            (None, Some(id)) if !modern => self.read_response(&id.to_string(), &message),
            (None, Some(_)) => panic!("an answer to a child that may not ask: {message}"),
            (None, None) => panic!("neither request nor response: {message}"),
        }
    }

    fn read_request(&mut self, method: &str, id: &Value, params: &Value) {
        let id = id.as_u64().expect("a plain integer (PROTOCOL 0.2.3)");
        assert!(id > self.last_id && id < 1 << 53, "{id} after {}", self.last_id);
        self.last_id = id;
        let token = params["_meta"].get("progressToken").cloned();
        assert!(token.as_ref().is_none_or(|token| *token == id), "a client's token reaches the child: {token:?}");
        let request = Request {
            method: method.into(),
            call: params["call"].as_u64(),
            caller: params["caller"].as_u64(),
            modern: params["modern"] == true,
            params: params.clone(),
            token,
            level: None,
            cancelled: None,
            waits: None,
        };
        if let Some(task) = params.get("taskId").and_then(Value::as_str).filter(|_| method != "tasks/list") {
            let owner = self.tasks.get(task).expect("a task of this child");
            let may =
                if request.modern { owner.is_none() } else { request.caller.is_none() || *owner == request.caller };
            assert!(may, "{task} is not a task of {request:?}");
            self.events.push((request.era(), "request about a task"));
        }
        match self.era {
            Era::Modern => self.read_modern_request(id, request),
            Era::Legacy => self.read_legacy_request(id, request),
        }
    }

    fn read_legacy_request(&mut self, id: u64, request: Request) {
        let params = &request.params;
        for (key, _) in params["_meta"].as_object().into_iter().flatten() {
            assert!(!key.starts_with("io.modelcontextprotocol/"), "a claim reaches a legacy child: {params}");
        }
        let modern_only = ["inputResponses", "requestState"].into_iter().find(|key| params.get(key).is_some());
        assert!(modern_only.is_none(), "a retry reaches a legacy child: {params}");
        assert!(!request.modern || params.get("task").is_none(), "a modern client cannot ask for a task: {params}");
        let uri = request.uri();
        match request.method.as_str() {
            _ if self.uncertain.contains(uri) => {}
            "resources/subscribe" => assert!(!self.subscribed.contains(uri), "{uri} is subscribed twice"),
            "resources/unsubscribe" => assert!(self.subscribed.contains(uri), "{uri} was not subscribed"),
            _ => {}
        }
        let busy = self.requests.values().any(|other| other.cancelled.is_none() && other.is_about_subscription_of(uri));
        assert!(!(busy && request.is_about_subscription_of(uri)), "two at once about {uri}");
        match request.method.as_str() {
            "resources/subscribe" => self.events.push((None, "subscription")),
            "resources/unsubscribe" => self.events.push((None, "end of a subscription")),
            "logging/setLevel" => self.events.push((None, "level")),
            _ => {}
        }
        self.requests.insert(id, request);
    }

    fn read_cancel(&mut self, params: &Value, now: Duration) {
        let id = params["requestId"].as_u64().expect("hub's own id");
        assert!(id <= self.last_id, "{id} was never sent");
        if let Some(listen) = self.listens.get_mut(&id) {
            listen.cancelled = true;
        }
        // It may have been answered meanwhile.
        if let Some(request) = self.requests.get_mut(&id) {
            request.cancelled = Some(now);
            if request.is_about_subscription_of(request.uri()) {
                self.uncertain.insert(request.uri().to_owned());
            }
        }
    }

    fn read_response(&mut self, id: &str, message: &Value) {
        let known = self.asks.remove(id).is_some();
        assert!(known || self.withdrawn.remove(id), "an answer to {id}, which is not open");
        match message.get("result").filter(|_| known) {
            Some(result) => match named(result) {
                Some(answered) => assert_eq!(answered, (id, "once"), "{message}"),
                None => self.events.push((None, "cancelled dialog")),
            },
            None if message.get("error").is_some() => self.events.push((None, "refused ask")),
            None => {}
        }
    }

    /// What it is sure to be subscribed.
    pub fn certainly_subscribed(&self) -> BTreeSet<&String> {
        let listened = self.listens.values().filter(|listen| !listen.cancelled).flat_map(|listen| &listen.uris);
        self.subscribed.difference(&self.uncertain).chain(listened).collect()
    }

    // === What it answers ===

    /// Requests that it may answer now: not while its own ask about one is open, unless that was cancelled.
    pub fn answerable(&self) -> Vec<u64> {
        let asks = |wire: &u64| self.asks.values().any(|ask| ask.cause == Some(*wire));
        self.requests
            .iter()
            .filter(|(wire, request)| request.cancelled.is_some() || !asks(wire))
            .map(|(w, _)| *w)
            .collect()
    }

    /// Answers a request with what names its call and its caller.
    pub fn answer(&mut self, wire: u64, well: bool) {
        let Some(request) = self.requests.remove(&wire) else { return };
        match request.method.as_str() {
            "resources/subscribe" if well => drop(self.subscribed.insert(request.uri().to_owned())),
            "resources/unsubscribe" => drop(self.subscribed.remove(request.uri())),
            _ => {}
        }
        let mut response = json!({ "jsonrpc": "2.0", "id": wire });
        let whose = json!({ "call": request.call, "caller": request.caller });
        if well {
            let mut result = whose;
            for list in ["tools", "prompts", "resources"] {
                result[list] = json!([]);
            }
            if self.era == Era::Modern {
                result["resultType"] = "complete".into();
            }
            if request.method == "tasks/list" {
                result["tasks"] = self.tasks.keys().map(|id| json!({ "taskId": id })).collect();
            }
            self.make_task(&request, &mut result);
            response["result"] = result;
        } else {
            response["error"] = json!({ "code": -32000, "message": "no", "data": whose });
        }
        self.say(&response);
    }

    fn make_task(&mut self, request: &Request, result: &mut Value) {
        let extended = request.params["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"].is_object();
        let wanted = match self.era {
            Era::Legacy => request.params.get("task").is_some(),
            Era::Modern => extended && request.params["name"] == "do",
        };
        if !wanted || !self.facts.tasks || request.method != "tools/call" || request.cancelled.is_some() {
            return;
        }
        let (owner, number) = (request.caller.filter(|_| !request.modern), self.number());
        let name = owner.map_or_else(|| "m".to_owned(), |owner| format!("t{owner}"));
        let id = format!("{name}#{}.{number}", self.generation);
        self.tasks.insert(id.clone(), owner);
        self.events.push((request.era(), "task"));
        if self.era == Era::Legacy {
            result["task"] = json!({ "taskId": id, "status": "working", "ttl": 600_000 });
        } else {
            result["resultType"] = "task".into();
            result["taskId"] = id.into();
            result["status"] = "working".into();
            result["ttlMs"] = 600_000.into();
        }
    }

    // === What it asks ===

    /// Requests whose handler may ask now.
    pub fn may_ask(&self, now: Duration) -> Vec<u64> {
        let may = |wire: &u64, request: &Request| {
            let open = self.asks.values().any(|ask| ask.cause == Some(*wire));
            let blocked = open && request.waits.is_some_and(|since| now >= since + BATON_COLLECT);
            let laid = request.cancelled.is_some_and(|at| now >= at + GHOST);
            request.call.is_some() && !blocked && !laid
        };
        self.requests.iter().filter(|(wire, request)| may(wire, request)).map(|(wire, _)| *wire).collect()
    }

    /// Nothing to read and nothing to do.
    pub fn is_idle(&self) -> bool {
        self.inbox.is_empty() && self.outbox.is_empty() && self.requests.is_empty()
    }

    /// Asks its client something on behalf of a request.
    pub fn ask(&mut self, cause: Option<u64>, kind: usize, now: Duration) {
        let caller = cause.and_then(|wire| self.requests.get(&wire)).and_then(|request| request.caller);
        let call = cause.and_then(|wire| self.requests.get(&wire)).and_then(|request| request.call);
        let open = self.asks.values().any(|ask| ask.cause == cause);
        if let Some(request) = cause.and_then(|wire| self.requests.get_mut(&wire)).filter(|_| !open) {
            request.waits = Some(now);
        }
        self.ask_with(cause, kind, json!({ "call": call, "caller": caller }));
    }

    fn ask_with(&mut self, cause: Option<u64>, kind: usize, mut params: Value) {
        let number = self.number();
        // Children count from 0, and strings are ids, too.
        let id = if number.is_multiple_of(2) { json!(number) } else { json!(format!("a{number}")) };
        params["ask"] = id.to_string().into();
        params["_meta"]["progressToken"] = format!("ask-{number}").into();
        if kind == 2 {
            params["mode"] = json!("url");
            params["elicitationId"] = json!(format!("e{}.{number}", self.generation));
        }
        let method = [Method::Elicitation, Method::Sampling, Method::Elicitation, Method::RootsList][kind].clone();
        self.asks.insert(id.to_string(), Ask { cause });
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method.name(), "params": params }));
    }

    /// Asks something within a task, which says whose it is.
    pub fn ask_for_task(&mut self, pick: usize, kind: usize) {
        let Some((task, owner)) = self.tasks.iter().nth(pick % self.tasks.len().max(1)) else { return };
        let meta = json!({ "io.modelcontextprotocol/related-task": { "taskId": task } });
        let params = json!({ "caller": owner, "_meta": meta });
        self.events.push((None, "ask within a task"));
        self.ask_with(None, kind, params);
    }
}

impl Request {
    pub fn uri(&self) -> &str {
        self.params["uri"].as_str().unwrap_or_default()
    }

    /// The era of the client that it is of; `None`: hub's own.
    pub fn era(&self) -> Option<Era> {
        self.caller.filter(|caller| *caller != 0)?;
        Some(if self.modern { Era::Modern } else { Era::Legacy })
    }

    fn is_about_subscription_of(&self, uri: &str) -> bool {
        self.method.ends_with("subscribe") && self.uri() == uri
    }
}

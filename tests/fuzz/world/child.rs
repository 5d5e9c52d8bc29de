//! A child that keeps to the protocol, but for what it says on the side.
//!
//! In: lines of hub. Out: lines for hub. Owns what a real server would know: requests, its own asks, subscriptions. May
//! not: break what the attribution of asks assumes (PROTOCOL 1.11): a call does not end before the ask that it caused,
//! and parallel asks of one call come within 50 ms.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hub::limits::{BATON_COLLECT, GHOST};
use hub::mcp::Line;
use serde_json::{Value, json};

/// A request of hub that was not answered.
#[derive(Debug)]
pub struct Request {
    method: String,
    /// Which call of the world it is; `None` for what the mux asks by itself.
    pub call: Option<u64>,
    uri: String,
    token: Option<Value>,
    cancelled: Option<Duration>,
}

/// A request of the child that was not answered.
#[derive(Debug)]
pub struct Ask {
    /// The request that it works on.
    cause: Option<u64>,
    /// The call behind that request.
    pub call: Option<u64>,
    since: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Child {
    /// Lines of hub that it has not read.
    pub inbox: VecDeque<Vec<u8>>,
    /// Lines that hub has not read.
    pub outbox: VecDeque<Vec<u8>>,
    /// What it believes to be subscribed.
    subscribed: BTreeSet<String>,
    /// Where hub gave up waiting for an answer: it cannot know what became of these.
    uncertain: BTreeSet<String>,
    requests: BTreeMap<u64, Request>,
    /// By the raw id.
    pub asks: BTreeMap<String, Ask>,
    /// Asks that it took back: an answer may be on its way.
    withdrawn: BTreeSet<String>,
    last_id: u64,
    next_ask: u64,
}

const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

impl Child {
    /// A child whose handshake used ids up to `last_id`.
    pub fn new(last_id: u64) -> Self {
        Self { last_id, ..Self::default() }
    }

    /// A line of hub; gives back the call that it carries, if it is a request of one.
    pub fn send(&mut self, line: &Line) -> Option<u64> {
        let bytes = line.to_bytes();
        let (end, text) = bytes.split_last().expect("at least a newline");
        assert!(*end == b'\n' && !text.contains(&b'\n') && !text.contains(&b'\r'), "not one line: {bytes:?}");
        let message: Value = serde_json::from_slice(text).expect("hub writes JSON");
        self.inbox.push_back(text.to_vec());
        message["params"]["call"].as_u64().filter(|_| message.get("id").is_some())
    }

    fn say(&mut self, message: &Value) {
        self.outbox.push_back(message.to_string().into_bytes());
    }

    // === What it reads ===

    /// Reads one line; says what it was, if that is worth counting.
    pub fn read_one(&mut self, now: Duration) -> Option<&'static str> {
        let line = self.inbox.pop_front()?;
        let message: Value = serde_json::from_slice(&line).expect("checked when it was sent");
        assert_eq!(message["jsonrpc"], "2.0");
        match (message.get("method").and_then(Value::as_str), message.get("id")) {
            (Some(method), Some(id)) => self.read_request(method, id, &message["params"]),
            (Some("notifications/cancelled"), None) => self.read_cancel(&message["params"], now),
            (Some("notifications/progress"), None) => {
                let token = message["params"]["progressToken"].as_str().expect("the child's own token");
                assert!(token.starts_with("ask-"), "progress with a client's token: {token}");
            }
            (Some(method), None) => panic!("a notification that nobody sent: {method}"),
            (None, Some(id)) => self.read_response(&id.to_string(), &message),
            (None, None) => panic!("neither request nor response: {message}"),
        }
        match message["method"].as_str() {
            Some("resources/subscribe") => Some("subscription"),
            Some("resources/unsubscribe") => Some("end of a subscription"),
            Some("logging/setLevel") => Some("level"),
            None if message.get("error").is_some() => Some("refused ask"),
            _ => None,
        }
    }

    fn read_request(&mut self, method: &str, id: &Value, params: &Value) {
        let id = id.as_u64().expect("a plain integer (PROTOCOL 0.2.3)");
        assert!(id > self.last_id && id < 1 << 53, "{id} after {}", self.last_id);
        self.last_id = id;
        let uri = params["uri"].as_str().unwrap_or_default().to_owned();
        let token = params["_meta"].get("progressToken").cloned();
        assert!(token.as_ref().is_none_or(|token| *token == id), "a client's token reaches the child: {token:?}");
        match method {
            _ if self.uncertain.contains(&uri) => {}
            "resources/subscribe" => assert!(!self.subscribed.contains(&uri), "{uri} is subscribed twice"),
            "resources/unsubscribe" => assert!(self.subscribed.contains(&uri), "{uri} was not subscribed"),
            _ => {}
        }
        let busy =
            self.requests.values().any(|other| other.cancelled.is_none() && other.is_about_subscription_of(&uri));
        let request = Request { method: method.into(), call: params["call"].as_u64(), uri, token, cancelled: None };
        assert!(!(busy && request.is_about_subscription_of(&request.uri)), "two at once about {}", request.uri);
        self.requests.insert(id, request);
    }

    fn read_cancel(&mut self, params: &Value, now: Duration) {
        let id = params["requestId"].as_u64().expect("hub's own id");
        assert!(id <= self.last_id, "{id} was never sent");
        // It may have been answered meanwhile.
        if let Some(request) = self.requests.get_mut(&id) {
            request.cancelled = Some(now);
            if request.is_about_subscription_of(&request.uri) {
                self.uncertain.insert(request.uri.clone());
            }
        }
    }

    fn read_response(&mut self, id: &str, message: &Value) {
        let known = self.asks.remove(id).is_some();
        assert!(known || self.withdrawn.remove(id), "an answer to {id}, which is not open");
        if let Some(result) = message.get("result").filter(|_| known) {
            assert_eq!(
                (&result["content"]["ask"], &result["content"]["by"]),
                (&json!(id), &json!("once")),
                "{message}"
            );
        }
    }

    /// What it is sure to be subscribed.
    pub fn certainly_subscribed(&self) -> BTreeSet<&String> {
        self.subscribed.difference(&self.uncertain).collect()
    }

    // === What it says ===

    /// Requests that it may answer now: not while its own ask about one is open, unless that was cancelled.
    pub fn answerable(&self) -> Vec<u64> {
        let asks = |wire: &u64| self.asks.values().any(|ask| ask.cause == Some(*wire));
        self.requests
            .iter()
            .filter(|(wire, request)| request.cancelled.is_some() || !asks(wire))
            .map(|(w, _)| *w)
            .collect()
    }

    /// Answers a request with what names its call.
    pub fn answer(&mut self, wire: u64, well: bool) {
        let Some(request) = self.requests.remove(&wire) else { return };
        match request.method.as_str() {
            "resources/subscribe" if well => drop(self.subscribed.insert(request.uri.clone())),
            "resources/unsubscribe" => drop(self.subscribed.remove(&request.uri)),
            _ => {}
        }
        let mut response = json!({ "jsonrpc": "2.0", "id": wire });
        if well {
            response["result"] = json!({ "call": request.call, "tools": [], "prompts": [], "resources": [] });
        } else {
            response["error"] = json!({ "code": -32000, "message": "no", "data": { "call": request.call } });
        }
        self.say(&response);
    }

    /// Requests whose handler may ask now.
    pub fn may_ask(&self, now: Duration) -> Vec<u64> {
        let may = |wire: &u64, request: &Request| {
            let first = self.asks.values().filter(|ask| ask.cause == Some(*wire)).map(|ask| ask.since).min();
            let blocked = first.is_some_and(|since| now >= since + BATON_COLLECT);
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
        let number = self.next_ask;
        self.next_ask += 1;
        // Children count from 0, and strings are ids, too.
        let id = if number.is_multiple_of(2) { json!(number) } else { json!(format!("a{number}")) };
        let mut params =
            json!({ "ask": id.to_string(), "message": "?", "_meta": { "progressToken": format!("ask-{number}") } });
        if kind == 2 {
            params["mode"] = json!("url");
        }
        let method = if kind == 1 { "sampling/createMessage" } else { "elicitation/create" };
        let call = cause.and_then(|wire| self.requests.get(&wire)).and_then(|request| request.call);
        self.asks.insert(id.to_string(), Ask { cause, call, since: now });
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
    }

    /// Says something that needs no answer.
    pub fn tell(&mut self, what: usize, uri: &str, level: usize, pick: usize, now: Duration) {
        let message = match what {
            0 => json!({ "method": "notifications/tools/list_changed" }),
            1 => json!({ "method": "notifications/resources/list_changed", "params": {} }),
            2 | 3 => json!({ "method": "notifications/resources/updated", "params": { "uri": uri } }),
            4 | 5 => self.log(level, pick, now),
            6..=8 => {
                let Some((wire, request)) = self.requests.iter().nth(pick % self.requests.len().max(1)) else { return };
                let Some(token) = &request.token else { return };
                let params = json!({ "progressToken": token, "progress": 1, "call": request.call });
                debug_assert_eq!(*token, *wire);
                json!({ "method": "notifications/progress", "params": params })
            }
            _ => {
                let Some(id) = self.asks.keys().nth(pick % self.asks.len().max(1)).cloned() else { return };
                self.asks.remove(&id);
                let params = json!({ "requestId": serde_json::from_str::<Value>(&id).expect("its own id") });
                self.withdrawn.insert(id);
                json!({ "method": "notifications/cancelled", "params": params })
            }
        };
        let mut message = message;
        message["jsonrpc"] = json!("2.0");
        self.say(&message);
    }

    /// A log line: of a request that it works on, or of its own while it works on none.
    fn log(&self, level: usize, pick: usize, now: Duration) -> Value {
        let works = |request: &&Request| request.cancelled.is_none_or(|at| now < at + GHOST);
        let working: Vec<&Request> = self.requests.values().filter(works).collect();
        let call = working.get(pick % working.len().max(1)).and_then(|request| request.call);
        let own = working.is_empty();
        let params = json!({ "level": LEVELS[level % 8], "data": { "call": call, "own": own } });
        json!({ "method": "notifications/message", "params": params })
    }

    /// Says what it should not.
    pub fn be_sloppy(&mut self, what: usize, pick: usize) {
        let line: &[u8] = match what {
            0 => b"Server listening on stdio",
            1 => b"{\"jsonrpc\":\"2.0\",\"id\":9007199254740993,\"result\":{}}",
            2 => b"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"\"}}",
            3 => b"{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":{}}",
            4 => b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":999999,\"progress\":1}}",
            5 => b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":[1]}}",
            6 => return self.ask_hub("ping"),
            7 => return self.ask_hub("roots/list"),
            _ => return self.batch(2 + pick % 3),
        };
        self.outbox.push_back(line.to_vec());
    }

    /// Asks what hub answers by itself.
    fn ask_hub(&mut self, method: &str) {
        let id = json!(format!("hub{}", self.next_ask));
        self.next_ask += 1;
        self.withdrawn.insert(id.to_string());
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method }));
    }

    /// Sends what waits as one batch.
    fn batch(&mut self, count: usize) {
        let lines: Vec<Vec<u8>> = (0..count).map_while(|_| self.outbox.pop_front()).collect();
        if lines.iter().any(|line| line.first() != Some(&b'{')) {
            // What is no JSON cannot be in one.
            for line in lines.into_iter().rev() {
                self.outbox.push_front(line);
            }
        } else if !lines.is_empty() {
            self.outbox.push_front([&b"["[..], &lines.join(&b","[..]), b"]"].concat());
        }
    }
}

impl Request {
    fn is_about_subscription_of(&self, uri: &str) -> bool {
        self.method.ends_with("subscribe") && self.uri == uri
    }
}

//! A modern client: one POST per request, nothing kept between two of them.
//!
//! In: methods and parameters. Out: answers, listens, rounds of a question. Owns its request ids and what it declares. May
//! not: send a session id, follow an `input_required` by itself, or hide a status.

use super::http::{Connection, Reply, Target};
use super::session::{Answer, Pending, message};
use super::stream::Stream;
use base64::Engine;
use serde_json::{Map, Value, json};
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, Ordering};

/// The modern revision.
pub const M: &str = "2026-07-28";
/// `_meta`: the revision of a request.
pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// `_meta`: what the client can do.
pub const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// `_meta`: who the client is.
pub const CLIENT: &str = "io.modelcontextprotocol/clientInfo";
/// `_meta`: from which level on the client wants log messages of this request.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// `_meta`: which listen a notification belongs to.
pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// `_meta`: who the server is.
pub const SERVER: &str = "io.modelcontextprotocol/serverInfo";
/// What an elicitation is called in `inputRequests`.
pub const ELICIT: &str = "elicitation/create";

/// A modern client of one endpoint.
pub struct Modern {
    /// Its endpoint.
    pub target: Target,
    /// What it declares with every request.
    pub capabilities: Value,
    /// The level it asks for, if any.
    pub log_level: Option<&'static str>,
    next: AtomicI64,
}

/// The value of a header, encoded where it must be.
pub fn header_value(text: &str) -> String {
    let plain = text.bytes().all(|byte| (0x20..=0x7E).contains(&byte)) && text.trim() == text;
    if plain && !text.starts_with("=?base64?") {
        return text.to_owned();
    }
    format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text))
}

/// The parameter that `Mcp-Name` mirrors.
pub fn name_of(method: &str, params: &Value) -> Option<String> {
    let key = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    params[key].as_str().map(header_value)
}

impl Modern {
    /// A client that can do nothing in particular.
    pub fn open(target: &Target) -> Self {
        Self::with(target, json!({}))
    }

    /// A client that can show forms and URLs, and can sample.
    pub fn eliciting(target: &Target) -> Self {
        Self::with(target, json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}}))
    }

    /// A client that declares these capabilities.
    pub fn with(target: &Target, capabilities: Value) -> Self {
        Self { target: target.clone(), capabilities, log_level: None, next: AtomicI64::new(1) }
    }

    /// A client that wants to see log messages.
    pub fn logging(target: &Target, level: &'static str) -> Self {
        Self { log_level: Some(level), ..Self::open(target) }
    }

    /// The `_meta` of a request.
    pub fn meta(&self) -> Value {
        let mut meta =
            json!({VERSION: M, CLIENT: {"name": "modern-test", "version": "0"}, CAPABILITIES: self.capabilities});
        if let Some(level) = self.log_level {
            meta[LOG_LEVEL] = json!(level);
        }
        meta
    }

    /// The next request id.
    pub fn next_id(&self) -> Value {
        json!(self.next.fetch_add(1, Ordering::SeqCst))
    }

    /// The parameters with the claims of this client; what is in their `_meta` already stays.
    pub fn claimed(&self, params: &Value) -> Value {
        let (mut params, mut meta) = (params.clone(), self.meta());
        for (key, value) in params["_meta"].as_object().cloned().unwrap_or_default() {
            meta[key] = value;
        }
        params["_meta"] = meta;
        params
    }

    /// The headers of a request.
    pub fn headers(method: &str, params: &Value) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("Content-Type", "application/json".to_owned()),
            ("Accept", "application/json, text/event-stream".to_owned()),
            ("MCP-Protocol-Version", M.to_owned()),
            ("Mcp-Method", method.to_owned()),
        ];
        headers.extend(name_of(method, params).map(|name| ("Mcp-Name", name)));
        headers
    }

    /// POSTs these bytes with these headers and reads the whole answer.
    pub fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.target.send("POST", headers, body)
    }

    /// One request and its whole answer.
    pub fn request(&self, method: &str, params: &Value) -> Answer {
        self.request_as(&self.next_id(), method, params)
    }

    /// One request with this id.
    pub fn request_as(&self, id: &Value, method: &str, params: &Value) -> Answer {
        self.request_with(&[], id, method, params)
    }

    /// One request with more headers; one that is there already is replaced.
    pub fn request_with(&self, more: &[(&str, &str)], id: &Value, method: &str, params: &Value) -> Answer {
        let own = Self::headers(method, params);
        let mut headers: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.retain(|(name, _)| !more.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
        headers.extend_from_slice(more);
        let reply = self.post(&headers, &message(Some(id), method, &self.claimed(params)));
        assert_eq!(reply.head.header("mcp-session-id"), None, "no session is ever made for a modern request");
        let answer = Answer::from_reply(&reply);
        assert_eq!(answer.response()["id"], *id, "the caller's own id comes back: {answer:?}");
        answer
    }

    /// `tools/call`.
    pub fn call(&self, tool: &str, arguments: &Value) -> Answer {
        self.request("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    /// `tools/call` of `echo`, checked.
    pub fn echo(&self, text: &str) {
        let answer = self.call("echo", &json!({"v": text}));
        assert_eq!(answer.head.status, 200);
        assert_eq!(answer.text(), text);
        assert_eq!(answer.result()["resultType"], "complete");
    }

    /// Begins a request whose answer is read in the background.
    pub fn begin(&self, method: &str, params: &Value) -> Pending {
        self.begin_as(&self.next_id(), method, params)
    }

    /// Begins a request with this id.
    pub fn begin_as(&self, id: &Value, method: &str, params: &Value) -> Pending {
        let own = Self::headers(method, params);
        let headers: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut connection = Connection::open(self.target.addr);
        let body = message(Some(id), method, &self.claimed(params));
        connection.write_request("POST", &self.target.path, &headers, &body);
        Pending::new(id.clone(), Stream::read(connection))
    }

    /// Begins a `tools/call`.
    pub fn begin_call(&self, tool: &str, arguments: &Value) -> Pending {
        self.begin("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    /// Begins a `tools/call` with a progress token.
    pub fn begin_call_with_token(&self, tool: &str, arguments: &Value, token: &Value) -> Pending {
        let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": token}});
        self.begin("tools/call", &params)
    }

    /// A call that must end its round with a question.
    pub fn ask(&self, tool: &str, arguments: &Value) -> Round {
        self.ask_by("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    /// A request that must end its round with a question.
    pub fn ask_by(&self, method: &str, params: &Value) -> Round {
        Round::of(method, params, &self.request(method, params))
    }

    /// The next round: the same request with answers.
    pub fn retry(&self, round: &Round, responses: &Value) -> Answer {
        self.request(&round.method, &round.with(responses))
    }

    /// Begins the next round.
    pub fn begin_retry(&self, round: &Round, responses: &Value) -> Pending {
        self.begin(&round.method, &round.with(responses))
    }

    /// Opens a listen, and waits for its acknowledgement.
    pub fn listen(&self, filter: &Value) -> Listen {
        self.listen_as(&self.next_id(), filter)
    }

    /// Opens a listen with this id.
    pub fn listen_as(&self, id: &Value, filter: &Value) -> Listen {
        let pending = self.begin_as(id, "subscriptions/listen", &json!({"notifications": filter}));
        let head = pending.head();
        assert_eq!(head.status, 200, "{head:?}");
        assert!(head.is_sse(), "{head:?}");
        let first = pending.message("any message", |_| true);
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
        assert_eq!(first["params"]["_meta"][SUBSCRIPTION], *id, "value and type of the id: {first}");
        Listen { honoured: first["params"]["notifications"].clone(), pending }
    }

    /// One notification.
    pub fn notify(&self, method: &str, params: &Value) -> Reply {
        let own = Self::headers(method, params);
        let headers: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.post(&headers, &message(None, method, &self.claimed(params)))
    }
}

/// An open `subscriptions/listen`.
pub struct Listen {
    /// What the server promised.
    pub honoured: Value,
    pending: Pending,
}

impl Deref for Listen {
    type Target = Pending;

    fn deref(&self) -> &Pending {
        &self.pending
    }
}

impl Listen {
    /// What has come after the acknowledgement; each with the tag of this listen.
    pub fn news(&self) -> Vec<Value> {
        let news: Vec<Value> = self.messages().into_iter().skip(1).collect();
        for message in news.iter().filter(|message| message.get("method").is_some()) {
            assert_eq!(message["params"]["_meta"][SUBSCRIPTION], self.id, "{message}");
        }
        news
    }

    /// The methods of what has come.
    pub fn methods(&self) -> Vec<String> {
        self.news().iter().filter_map(|message| message["method"].as_str().map(str::to_owned)).collect()
    }
}

/// One round that ended with questions.
#[derive(Debug, Clone)]
pub struct Round {
    /// The method of the request.
    pub method: String,
    /// Its parameters.
    pub params: Value,
    /// What the client is to answer.
    pub requests: Map<String, Value>,
    /// What the client is to give back; null without one.
    pub state: Value,
    /// The whole result.
    pub result: Value,
}

impl Round {
    /// Reads the questions from an answer.
    pub fn of(method: &str, params: &Value, answer: &Answer) -> Self {
        assert_eq!(answer.head.status, 200, "{answer:?}");
        for message in answer.messages() {
            assert!(message.get("id").is_none() || message.get("method").is_none(), "a request on a stream: {message}");
        }
        Self::of_result(method, params, answer.result())
    }

    /// Reads the questions from a result.
    pub fn of_result(method: &str, params: &Value, result: Value) -> Self {
        assert_eq!(result["resultType"], "input_required", "{result}");
        let requests = result["inputRequests"].as_object().cloned().unwrap_or_default();
        let state = result.get("requestState").cloned().unwrap_or_default();
        Self { method: method.to_owned(), params: params.clone(), requests, state, result }
    }

    /// The keys of the questions, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.requests.keys().cloned().collect();
        keys.sort();
        keys
    }

    /// The only key.
    pub fn key(&self) -> &str {
        assert_eq!(self.requests.len(), 1, "{self:?}");
        self.requests.keys().next().expect("just counted")
    }

    /// The key of the question with this message.
    pub fn key_of(&self, message: &str) -> String {
        let found = self.requests.iter().find(|(_, request)| request["params"]["message"] == message);
        found.unwrap_or_else(|| panic!("no question {message:?} in {self:?}")).0.clone()
    }

    /// The only question's message.
    pub fn message(&self) -> String {
        self.requests[self.key()]["params"]["message"].as_str().expect("a message").to_owned()
    }

    /// The only question, accepted with a text.
    pub fn accept(&self, text: &str) -> Value {
        json!({self.key(): accepted(text)})
    }

    /// The parameters of the next round.
    pub fn with(&self, responses: &Value) -> Value {
        let mut params = self.params.clone();
        params["inputResponses"] = responses.clone();
        if !self.state.is_null() {
            params["requestState"] = self.state.clone();
        }
        params
    }
}

/// An accepted form.
pub fn accepted(text: &str) -> Value {
    json!({"action": "accept", "content": {"answer": text}})
}

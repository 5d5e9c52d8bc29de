//! A legacy client: one protocol session, driven by hand.
//!
//! In: methods and parameters. Out: answers, streams. Owns the session id, its own request ids (from 1, as every client
//! does) and a few idle connections. May not: end the session by itself, or hide a status.

use super::http::{Connection, Head, Reply, Target};
use super::stream::{Event, Stream, events_of};
use serde_json::{Value, json};
use std::ops::Deref;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

/// The newest legacy revision.
pub const L3: &str = "2025-11-25";
/// The one with elicitation.
pub const L2: &str = "2025-06-18";
/// The one with batches.
pub const L1: &str = "2025-03-26";
/// The first one.
pub const L0: &str = "2024-11-05";

/// A session.
pub struct Session {
    /// Its endpoint.
    pub target: Target,
    /// Its id.
    pub id: String,
    /// The revision that was negotiated.
    pub version: String,
    /// The result of `initialize`.
    pub init: Value,
    next: AtomicI64,
    idle: Mutex<Vec<Connection>>,
}

/// A whole answer to one POST.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status line and headers.
    pub head: Head,
    /// Everything in the body.
    pub events: Vec<Event>,
}

impl Answer {
    /// Reads a reply as messages.
    pub fn from_reply(reply: &Reply) -> Self {
        Self { head: reply.head.clone(), events: events_of(&reply.head, &reply.body) }
    }

    /// The messages of the body.
    pub fn messages(&self) -> Vec<Value> {
        self.events.iter().filter_map(Event::message).collect()
    }

    /// The response: the message without a method.
    pub fn response(&self) -> Value {
        let response = self.messages().into_iter().find(|message| message.get("method").is_none());
        response.unwrap_or_else(|| panic!("no response in {self:?}"))
    }

    /// The result; an error is a failure of the test.
    pub fn result(&self) -> Value {
        result_of(&self.response())
    }

    /// The error object; a result is a failure of the test.
    pub fn error(&self) -> Value {
        let response = self.response();
        response.get("error").cloned().unwrap_or_else(|| panic!("no error in {response}"))
    }

    /// The code of the error.
    pub fn code(&self) -> i64 {
        self.error()["code"].as_i64().expect("a code")
    }

    /// The text of a tool's result.
    pub fn text(&self) -> String {
        text_of(&self.response())
    }
}

/// The result in a response; an error is a failure of the test.
pub fn result_of(response: &Value) -> Value {
    response.get("result").cloned().unwrap_or_else(|| panic!("no result in {response}"))
}

/// The first text of a tool's result in a response.
pub fn text_of(response: &Value) -> String {
    let text = response["result"]["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("no text in {response}")).to_owned()
}

/// A request that is under way.
pub struct Pending {
    /// Its id.
    pub id: Value,
    stream: Stream,
}

impl Deref for Pending {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.stream
    }
}

impl Pending {
    /// A request whose answer `stream` reads.
    pub fn new(id: Value, stream: Stream) -> Self {
        Self { id, stream }
    }

    /// Waits for the text of a tool's result.
    pub fn text(&self) -> String {
        let response = self.response();
        assert_eq!(response["id"], self.id, "{response}");
        text_of(&response)
    }
}

/// The body of `initialize`.
pub fn initialize_body(version: &str, capabilities: &Value) -> Vec<u8> {
    let client = json!({"name": "test", "version": "0"});
    let params = json!({"protocolVersion": version, "capabilities": capabilities, "clientInfo": client});
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).to_string().into_bytes()
}

impl Session {
    /// A session of the newest revision without capabilities.
    pub fn open(target: &Target) -> Self {
        Self::with(target, L3, &json!({}))
    }

    /// A session that can show forms.
    pub fn eliciting(target: &Target) -> Self {
        Self::with(target, L3, &json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}}))
    }

    /// A session of a revision with capabilities; says `initialized`.
    pub fn with(target: &Target, version: &str, capabilities: &Value) -> Self {
        let session = Self::begin_handshake(target, version, capabilities);
        assert_eq!(session.notify("notifications/initialized", &json!({})).status(), 202);
        session
    }

    /// As [`Session::with`], without `initialized`.
    pub fn begin_handshake(target: &Target, version: &str, capabilities: &Value) -> Self {
        let reply = target.post(&[], &initialize_body(version, capabilities));
        assert_eq!(reply.status(), 200, "{}", reply.text());
        let init = Answer::from_reply(&reply).result();
        let id = reply.head.header("mcp-session-id").expect("a session id").to_owned();
        let version = init["protocolVersion"].as_str().expect("a revision").to_owned();
        let (target, next) = (target.clone(), AtomicI64::new(1));
        Self { target, id, version, init, next, idle: Mutex::default() }
    }

    /// The headers of a POST.
    pub fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = vec![
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
            ("Mcp-Session-Id", self.id.as_str()),
        ];
        if self.version.as_str() >= L2 {
            headers.push(("MCP-Protocol-Version", self.version.as_str()));
        }
        headers
    }

    /// POSTs these bytes and reads the whole answer.
    pub fn post(&self, body: &[u8]) -> Reply {
        self.post_with(&[], body)
    }

    /// POSTs these bytes with more headers; one that is there already is replaced.
    pub fn post_with(&self, more: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut headers = self.headers();
        headers.retain(|(name, _)| !more.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
        headers.extend_from_slice(more);
        let reused = self.idle.lock().expect("never poisoned").pop();
        if let Some(mut connection) = reused {
            // An idle connection may have been closed by the peer: then, and only then, a fresh one is used.
            if connection.try_write_request("POST", &self.target.path, &headers, body).is_ok()
                && let Some(reply) = connection.reply()
            {
                self.keep(connection, &reply);
                return reply;
            }
        }
        let mut connection = Connection::open(self.target.addr);
        connection.write_request("POST", &self.target.path, &headers, body);
        let reply = connection.reply().expect("an answer");
        self.keep(connection, &reply);
        reply
    }

    fn keep(&self, connection: Connection, reply: &Reply) {
        if reply.head.header("connection") != Some("close") {
            self.idle.lock().expect("never poisoned").push(connection);
        }
    }

    /// The next request id.
    pub fn next_id(&self) -> Value {
        json!(self.next.fetch_add(1, Ordering::SeqCst))
    }

    /// One request and its whole answer.
    pub fn request(&self, method: &str, params: &Value) -> Answer {
        self.request_as(&self.next_id(), method, params)
    }

    /// One request with this id.
    pub fn request_as(&self, id: &Value, method: &str, params: &Value) -> Answer {
        let answer = Answer::from_reply(&self.post(&message(Some(id), method, params)));
        assert_eq!(answer.response()["id"], *id, "the caller's own id comes back");
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
    }

    /// Begins a request whose answer is read in the background.
    pub fn begin(&self, method: &str, params: &Value) -> Pending {
        self.begin_as(&self.next_id(), method, params)
    }

    /// Begins a request with this id.
    pub fn begin_as(&self, id: &Value, method: &str, params: &Value) -> Pending {
        Pending::new(id.clone(), self.begin_raw(&message(Some(id), method, params)))
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

    /// POSTs these bytes and reads the answer in the background.
    pub fn begin_raw(&self, body: &[u8]) -> Stream {
        let mut connection = Connection::open(self.target.addr);
        connection.write_request("POST", &self.target.path, &self.headers(), body);
        Stream::read(connection)
    }

    /// One notification.
    pub fn notify(&self, method: &str, params: &Value) -> Reply {
        self.post(&message(None, method, params))
    }

    /// `notifications/cancelled`.
    pub fn cancel(&self, id: &Value) {
        let reply = self.notify("notifications/cancelled", &json!({"requestId": id, "reason": "test"}));
        assert_eq!(reply.status(), 202);
    }

    /// Answers a request of the server with a result.
    pub fn answer(&self, ask: &Value, result: &Value) {
        let body = json!({"jsonrpc": "2.0", "id": ask["id"], "result": result});
        assert_eq!(self.post(body.to_string().as_bytes()).status(), 202);
    }

    /// Accepts an elicitation.
    pub fn accept(&self, ask: &Value, text: &str) {
        self.answer(ask, &json!({"action": "accept", "content": {"answer": text}}));
    }

    /// Answers a request of the server with an error.
    pub fn refuse(&self, ask: &Value, code: i64, text: &str) {
        let body = json!({"jsonrpc": "2.0", "id": ask["id"], "error": {"code": code, "message": text}});
        assert_eq!(self.post(body.to_string().as_bytes()).status(), 202);
    }

    /// Opens the standalone GET stream.
    pub fn listen(&self) -> Stream {
        let stream = self.get(&[]);
        let head = stream.head();
        assert_eq!(head.status, 200, "{head:?}");
        assert!(head.is_sse(), "{head:?}");
        stream
    }

    /// Resumes a stream behind an event.
    pub fn resume(&self, last_event_id: &str) -> Stream {
        self.get(&[("Last-Event-ID", last_event_id)])
    }

    fn get(&self, more: &[(&str, &str)]) -> Stream {
        let mut headers: Vec<_> = self.headers().into_iter().filter(|(name, _)| *name != "Content-Type").collect();
        headers.extend_from_slice(more);
        let mut connection = Connection::open(self.target.addr);
        connection.write_request("GET", &self.target.path, &headers, b"");
        Stream::read(connection)
    }

    /// Ends the session.
    pub fn delete(&self) -> Reply {
        let mut headers = self.headers();
        headers.retain(|(name, _)| *name != "Content-Type");
        self.target.send("DELETE", &headers, b"")
    }
}

/// The bytes of a request, or of a notification.
pub fn message(id: Option<&Value>, method: &str, params: &Value) -> Vec<u8> {
    let mut message = json!({"jsonrpc": "2.0", "method": method, "params": params});
    if let Some(id) = id {
        message["id"] = id.clone();
    }
    message.to_string().into_bytes()
}

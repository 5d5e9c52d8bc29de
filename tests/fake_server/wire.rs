//! The pipes: messages out, requests of the server's own, and which calls the client has cancelled.
//!
//! In: values to send, messages that were read. Out: lines on stdout and in the journal. Owns both, the pending
//! requests and the cancellation flags. May not: know a tool.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

/// JSON-RPC error codes that the fake sends.
pub mod code {
    /// Malformed request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// Unknown method.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// Bad parameters.
    pub const INVALID_PARAMS: i64 = -32602;
    /// Anything else.
    pub const INTERNAL: i64 = -32603;
    /// Resource not found (legacy).
    pub const NOT_FOUND: i64 = -32002;
    /// URL elicitation required (2025-11-25).
    pub const URL_ELICITATION: i64 = -32042;
    /// The client did not declare what the request needs (modern).
    pub const MISSING_CAPABILITY: i64 = -32021;
    /// Unsupported protocol version (modern).
    pub const UNSUPPORTED_VERSION: i64 = -32022;
}

/// A request as it was read.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its id.
    pub id: Value,
    /// Its method.
    pub method: String,
    /// Its parameters, or null.
    pub params: Value,
}

impl Request {
    /// Takes a message apart that has an id and a method.
    pub fn from_message(mut message: Value) -> Self {
        Self {
            id: message["id"].take(),
            method: message["method"].as_str().unwrap_or_default().to_owned(),
            params: message.get_mut("params").map(Value::take).unwrap_or_default(),
        }
    }

    /// A string parameter.
    pub fn text(&self, key: &str) -> Option<String> {
        self.params.get(key)?.as_str().map(str::to_owned)
    }

    /// A member of `params._meta`.
    pub fn meta(&self, key: &str) -> Option<&Value> {
        self.params.get("_meta")?.get(key)
    }

    /// What the client of this request can do (modern); null if it does not say.
    pub fn client_caps(&self) -> Value {
        self.meta("io.modelcontextprotocol/clientCapabilities").cloned().unwrap_or_default()
    }
}

/// Set once, by `notifications/cancelled`; a tool may wait on it instead of sleeping.
#[derive(Debug, Default)]
pub struct Cancelled {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Cancelled {
    /// Sleeps for `time`, or less if the call is cancelled meanwhile. True if it was.
    pub fn sleep(&self, time: Duration) -> bool {
        let set = self.set.lock().expect("never poisoned");
        *self.changed.wait_timeout_while(set, time, |set| !*set).expect("never poisoned").0
    }

    /// Was the call cancelled?
    pub fn is_set(&self) -> bool {
        *self.set.lock().expect("never poisoned")
    }

    /// Marks the call as cancelled.
    pub fn set(&self) {
        *self.set.lock().expect("never poisoned") = true;
        self.changed.notify_all();
    }
}

/// The pipes and what is open on them.
pub struct Wire {
    out: Mutex<File>,
    journal: Option<Mutex<File>>,
    vendor: std::sync::atomic::AtomicBool,
    next_ask: AtomicU64,
    string_ids: bool,
    asks: Mutex<HashMap<String, mpsc::Sender<Value>>>,
    calls: Mutex<HashMap<String, Arc<Cancelled>>>,
}

impl Wire {
    /// Takes stdout and opens the journal, with its `start PID` record.
    pub fn open(journal: Option<&Path>, string_ids: bool) -> Self {
        use std::os::fd::AsFd;
        let out = std::io::stdout().as_fd().try_clone_to_owned().expect("stdout is open");
        let journal = journal.map(|path| {
            let file = File::options().create(true).append(true).open(path);
            Mutex::new(file.expect("the journal can be opened"))
        });
        let wire = Self {
            out: Mutex::new(out.into()),
            journal,
            vendor: false.into(),
            // TypeScript servers start at 0: an id is never to be tested for truth.
            next_ask: AtomicU64::new(0),
            string_ids,
            asks: Mutex::default(),
            calls: Mutex::default(),
        };
        wire.journal("start ", std::process::id().to_string().as_bytes());
        wire
    }

    /// From now on every response has an unknown top-level member.
    pub fn add_vendor_member(&self) {
        self.vendor.store(true, Ordering::SeqCst);
    }

    /// Appends one record in one write, so that generations which share the file do not tear it.
    pub fn journal(&self, mark: &str, record: &[u8]) {
        let Some(journal) = &self.journal else { return };
        let mut line = Vec::with_capacity(mark.len() + record.len() + 1);
        line.extend_from_slice(mark.as_bytes());
        line.extend_from_slice(record);
        line.push(b'\n');
        journal.lock().expect("never poisoned").write_all(&line).expect("the journal can be written");
    }

    /// Writes bytes as they are.
    pub fn raw(&self, bytes: &[u8]) {
        let mut out = self.out.lock().expect("never poisoned");
        if out.write_all(bytes).is_err() {
            // The reader has gone: so goes a well-behaved server.
            std::process::exit(0);
        }
    }

    /// Writes one message; the journal has it first, so who saw the message finds it there.
    pub fn send(&self, message: &Value) {
        let mut line = message.to_string().into_bytes();
        self.journal("> ", &line);
        line.push(b'\n');
        self.raw(&line);
    }

    /// Answers a request.
    pub fn answer(&self, id: &Value, result: &Value) {
        self.done(id);
        if self.vendor.load(Ordering::SeqCst) {
            return self.send(&json!({"result": result, "x-vendor": {"n": 1}, "id": id, "jsonrpc": "2.0"}));
        }
        self.send(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    /// Answers a request with an error object.
    pub fn refuse(&self, id: &Value, error: &Value) {
        self.done(id);
        self.send(&json!({"jsonrpc": "2.0", "id": id, "error": error}));
    }

    /// Answers a request with an error of a code and a message.
    pub fn fail(&self, id: &Value, code: i64, message: &str) {
        self.refuse(id, &json!({"code": code, "message": message}));
    }

    /// Sends a notification.
    pub fn notify(&self, method: &str, params: &Value) {
        match params {
            Value::Null => self.send(&json!({"jsonrpc": "2.0", "method": method})),
            params => self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params})),
        }
    }

    /// Sends a request of the server's own and gives the place where its answer arrives.
    pub fn ask_begin(&self, method: &str, params: &Value) -> (Value, mpsc::Receiver<Value>) {
        let number = self.next_ask.fetch_add(1, Ordering::SeqCst);
        let id = if self.string_ids { json!(format!("ask-{number}")) } else { json!(number) };
        let (tx, rx) = mpsc::channel();
        self.asks.lock().expect("never poisoned").insert(id.to_string(), tx);
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        (id, rx)
    }

    /// Asks and waits; without a `patience` for ever. `Err` is the error object, or null after a timeout.
    pub fn ask(&self, method: &str, params: &Value, patience: Option<Duration>) -> Result<Value, Value> {
        let (id, answer) = self.ask_begin(method, params);
        let message = match patience {
            None => answer.recv().ok(),
            Some(patience) => answer.recv_timeout(patience).ok(),
        };
        let Some(message) = message else {
            // As the TypeScript SDK does after its own timeout.
            self.notify("notifications/cancelled", &json!({"requestId": id, "reason": "timed out"}));
            return Err(Value::Null);
        };
        message.get("result").cloned().ok_or_else(|| message["error"].clone())
    }

    /// A response to one of the server's own requests was read.
    pub fn answered(&self, message: &Value) {
        let waiting = self.asks.lock().expect("never poisoned").remove(&message["id"].to_string());
        match waiting {
            Some(waiting) => drop(waiting.send(message.clone())),
            None => self.journal("unasked ", message.to_string().as_bytes()),
        }
    }

    /// Opens the cancellation flag of a call.
    pub fn begin(&self, id: &Value) -> Arc<Cancelled> {
        Arc::clone(self.calls.lock().expect("never poisoned").entry(id.to_string()).or_default())
    }

    fn done(&self, id: &Value) {
        self.calls.lock().expect("never poisoned").remove(&id.to_string());
    }

    /// `notifications/cancelled` was read.
    pub fn cancel(&self, id: &Value) {
        if let Some(call) = self.calls.lock().expect("never poisoned").get(&id.to_string()) {
            call.set();
        }
    }
}

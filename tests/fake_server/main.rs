//! A scripted MCP server over stdio that behaves, or misbehaves, exactly as its arguments say.
//!
//! In: lines on stdin, knobs as arguments (`args.rs` lists them). Out: lines on stdout, a journal file, now and then
//! garbage. State: one [`wire::Wire`] (pipes, pending) and one [`Fake`] (what a server remembers). May not: use
//! anything of hub, or an SDK; an SDK hides the wire that the tests are about.

#![expect(clippy::disallowed_methods, reason = "a blocking program with a thread per slow tool: it sleeps on purpose")]

mod args;
mod lists;
mod misbehave;
mod modern;
mod tasks;
mod tools;
mod tools_ask;
mod wire;

use args::{Knobs, Profile};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::BufRead;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use wire::{Request, Wire, code};

/// What the server remembers across requests.
pub struct Fake {
    /// How it was told to behave.
    pub knobs: Knobs,
    /// Its pipes.
    pub wire: Wire,
    /// URIs that the client subscribed to.
    pub subscriptions: Mutex<HashSet<String>>,
    /// What `logging/setLevel` said last.
    pub level: Mutex<Option<String>>,
    /// What the client declared in `initialize`.
    pub client_caps: Mutex<Value>,
    /// Set by the first request of a dual-era server: does this connection speak modern?
    pub pinned: Mutex<Option<bool>>,
    /// `initialize` was seen.
    pub initialized: AtomicBool,
    /// Requests read so far, for `--crash-after`.
    pub requests: AtomicU64,
    /// Probes refused so far, for `--probe-errors`.
    pub refused_probes: AtomicU64,
    /// Tasks by id.
    pub tasks: tasks::Tasks,
    /// Open `subscriptions/listen` requests of a modern client.
    pub listens: Mutex<Vec<modern::Listen>>,
}

fn main() {
    let argv: Vec<String> = std::env::args().skip(1).collect();
    let knobs = match Knobs::parse(argv) {
        Ok(knobs) => knobs,
        Err(problem) => {
            misbehave::complain(&format!("fake_server: {problem}"));
            std::process::exit(2);
        }
    };
    if knobs.sleeper {
        misbehave::sleep_on(&knobs);
    }
    misbehave::before_start(&knobs);
    let wire = Wire::open(knobs.journal.as_deref(), knobs.ask_ids_are_strings);
    let fake = Arc::new(Fake {
        wire,
        knobs,
        subscriptions: Mutex::default(),
        level: Mutex::default(),
        client_caps: Mutex::new(Value::Null),
        pinned: Mutex::default(),
        initialized: AtomicBool::new(false),
        requests: AtomicU64::new(0),
        refused_probes: AtomicU64::new(0),
        tasks: tasks::Tasks::default(),
        listens: Mutex::default(),
    });
    misbehave::at_start(&fake);
    read_all(&fake);
    if fake.knobs.ignore_eof {
        misbehave::sleep_for_ever();
    }
    fake.leave(0);
}

/// Reads stdin to its end.
fn read_all(fake: &Arc<Fake>) {
    let mut stdin = std::io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        match stdin.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while matches!(line.last(), Some(b'\n')) {
            line.pop();
        }
        fake.wire.journal("< ", &line);
        // As the TypeScript SDK does: what is not one JSON object is dropped without a word.
        let Ok(message @ Value::Object(_)) = serde_json::from_slice::<Value>(&line) else { continue };
        dispatch(fake, message);
    }
}

fn dispatch(fake: &Arc<Fake>, message: Value) {
    match (message.get("method").and_then(Value::as_str), message.get("id")) {
        (Some(_), Some(_)) => {
            let request = Request::from_message(message);
            let seen = fake.requests.fetch_add(1, Ordering::SeqCst) + 1;
            if fake.knobs.crash_after.is_some_and(|after| seen > after) {
                fake.leave(fake.knobs.exit_code.unwrap_or(1));
            }
            fake.request(request);
        }
        (Some(method), None) => fake.notification(method, &message),
        (None, Some(_)) => fake.wire.answered(&message),
        (None, None) => {}
    }
}

impl Fake {
    /// Ends the process as a program does that decides to.
    pub fn leave(&self, code: i32) -> ! {
        self.wire.journal("exit ", std::process::id().to_string().as_bytes());
        std::process::exit(code);
    }

    fn request(self: &Arc<Self>, request: Request) {
        if request.method == "server/discover" && self.refuses_probe(&request) {
            return;
        }
        let claim = request.meta("io.modelcontextprotocol/protocolVersion").is_some();
        match self.knobs.profile {
            Profile::Legacy => self.legacy(request),
            Profile::Modern => self.modern(request),
            Profile::Silent if tools::is_unknown(&request.method) => {}
            Profile::Silent => self.legacy(request),
            Profile::ExitsEarly => {
                let early = !self.initialized.load(Ordering::SeqCst) && request.method != "initialize";
                if early && request.method != "ping" {
                    self.leave(1);
                }
                self.legacy(request);
            }
            Profile::Dual => {
                let pinned_now = request.method != "initialize" && (claim || request.method == "server/discover");
                let modern = *self.pinned.lock().expect("never poisoned").get_or_insert(pinned_now);
                match (modern, claim) {
                    (true, _) if request.method == "initialize" => self.wire.refuse(
                        &request.id,
                        &json!({"code": code::UNSUPPORTED_VERSION,
                            "message": "this connection is serving the 2026-07-28 protocol",
                            "data": {"supported": ["2026-07-28"]}}),
                    ),
                    (true, _) => self.modern(request),
                    (false, true) => self.wire.fail(&request.id, code::INVALID_REQUEST, "pinned to the legacy era"),
                    (false, false) => self.legacy(request),
                }
            }
            Profile::Unpinned if request.method == "server/discover" => self.modern(request),
            Profile::Unpinned if request.method == "initialize" || self.initialized.load(Ordering::SeqCst) => {
                self.legacy(request);
            }
            Profile::Unpinned => self.modern(request),
        }
    }

    fn refuses_probe(&self, request: &Request) -> bool {
        let Some(error) = &self.knobs.probe_error else { return false };
        let refuses = self.refused_probes.fetch_add(1, Ordering::SeqCst) < self.knobs.probe_errors;
        if refuses {
            self.wire.refuse(&request.id, error);
        }
        refuses
    }

    /// One request of a legacy client.
    fn legacy(self: &Arc<Self>, request: Request) {
        match request.method.as_str() {
            "initialize" => self.initialize(&request),
            "ping" => self.wire.answer(&request.id, &json!({})),
            "logging/setLevel" => {
                *self.level.lock().expect("never poisoned") = request.text("level");
                self.wire.answer(&request.id, &json!({}));
            }
            "resources/subscribe" => {
                let uri = request.text("uri").unwrap_or_default();
                if uri.contains("refuse") {
                    return self.wire.fail(&request.id, code::INVALID_PARAMS, "not subscribable");
                }
                self.subscriptions.lock().expect("never poisoned").insert(uri);
                self.wire.answer(&request.id, &json!({}));
            }
            "resources/unsubscribe" => {
                self.subscriptions.lock().expect("never poisoned").remove(&request.text("uri").unwrap_or_default());
                self.wire.answer(&request.id, &json!({}));
            }
            "tools/call" => tools::call(self, request),
            method if method.starts_with("tasks/") => tasks::request(self, request),
            _ => lists::request(self, request),
        }
    }

    fn initialize(&self, request: &Request) {
        self.initialized.store(true, Ordering::SeqCst);
        *self.client_caps.lock().expect("never poisoned") = request.params["capabilities"].clone();
        if let Some(message) = &self.knobs.init_error {
            return self.wire.fail(&request.id, code::INTERNAL, message);
        }
        let asked = request.text("protocolVersion").unwrap_or_default();
        let legacy = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
        let version = match &self.knobs.version {
            Some(fixed) => fixed.clone(),
            None if legacy.contains(&asked.as_str()) => asked,
            None => "2025-11-25".to_owned(),
        };
        let mut result = json!({
            "protocolVersion": version,
            "capabilities": lists::capabilities(&self.knobs),
            "serverInfo": {"name": self.knobs.name, "version": "1.0.0", "title": self.knobs.tag},
        });
        if let Some(text) = &self.knobs.instructions {
            result["instructions"] = json!(text);
        }
        self.wire.answer(&request.id, &result);
    }

    fn notification(self: &Arc<Self>, method: &str, message: &Value) {
        match method {
            "notifications/cancelled" => {
                let id = &message["params"]["requestId"];
                self.wire.cancel(id);
                modern::forget_listen(self, id);
            }
            "notifications/initialized" if self.knobs.roots_after_init => {
                let fake = Arc::clone(self);
                std::thread::spawn(move || {
                    let answer = fake.wire.ask("roots/list", &json!({}), None);
                    fake.wire.journal("roots ", json!(answer.ok()).to_string().as_bytes());
                });
            }
            _ => {}
        }
    }
}

//! A client that speaks stdio: `hub connect` as its server.
//!
//! In: methods and parameters. Out: messages in the order in which they came. Owns the process and its pipes. May not: hide
//! a line that is no message.

use super::modern::{CAPABILITIES, CLIENT, M, VERSION};
use super::session::{message, result_of};
use super::{Hub, eventually, procs};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

/// One `hub connect`.
pub struct Bridge {
    child: Child,
    stdin: Mutex<Option<ChildStdin>>,
    lines: Arc<Mutex<Vec<Value>>>,
    stderr: Arc<Mutex<String>>,
    next: AtomicI64,
}

impl Bridge {
    /// Starts `hub connect` with these arguments.
    pub fn start(hub: &Hub, args: &[&str]) -> Self {
        let mut command = hub.command();
        command.arg("connect").args(args).env("HUB_LOG", "debug");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("hub can be started");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut errors = child.stderr.take().expect("piped");
        let (lines, stderr) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<Mutex<String>>::default());
        let (into, errors_into) = (Arc::clone(&lines), Arc::clone(&stderr));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|_problem| json!({"not JSON": line}));
                into.lock().expect("never poisoned").push(value);
            }
        });
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = errors.read(&mut bytes) {
                errors_into.lock().expect("never poisoned").push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        let stdin = Mutex::new(child.stdin.take());
        Self { child, stdin, lines, stderr, next: AtomicI64::new(1) }
    }

    /// Starts one and opens a legacy session.
    pub fn open(hub: &Hub, args: &[&str], version: &str, capabilities: &Value) -> Self {
        let bridge = Self::start(hub, args);
        let params = json!({"protocolVersion": version, "capabilities": capabilities,
            "clientInfo": {"name": "stdio-test", "version": "0"}});
        assert_eq!(bridge.request("initialize", &params)["protocolVersion"], version);
        bridge.notify("notifications/initialized", &json!({}));
        bridge
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line.
    pub fn write(&self, text: &str) {
        let mut stdin = self.stdin.lock().expect("never poisoned");
        let stdin = stdin.as_mut().expect("open");
        stdin.write_all(text.as_bytes()).expect("it reads");
        stdin.write_all(b"\n").expect("it reads");
    }

    /// The end of its stdin.
    pub fn close(&self) {
        self.stdin.lock().expect("never poisoned").take();
    }

    /// Sends a request; its id.
    pub fn begin(&self, method: &str, params: &Value) -> i64 {
        let id = self.next.fetch_add(1, Ordering::SeqCst);
        self.write(std::str::from_utf8(&message(Some(&json!(id)), method, params)).expect("text"));
        id
    }

    /// Sends a notification.
    pub fn notify(&self, method: &str, params: &Value) {
        self.write(std::str::from_utf8(&message(None, method, params)).expect("text"));
    }

    /// Answers a request of the server.
    pub fn answer(&self, request: &Value, result: &Value) {
        self.write(&json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string());
    }

    /// Sends a request and waits for its result.
    pub fn request(&self, method: &str, params: &Value) -> Value {
        result_of(&self.response(self.begin(method, params)))
    }

    /// Begins a call of a tool; its id.
    pub fn begin_call(&self, tool: &str, args: &Value) -> i64 {
        self.begin("tools/call", &json!({"name": tool, "arguments": args}))
    }

    /// The text that a tool answers with.
    pub fn call(&self, tool: &str, args: &Value) -> String {
        self.text(self.begin_call(tool, args))
    }

    /// Waits for the text of a tool's result.
    pub fn text(&self, id: i64) -> String {
        super::session::text_of(&self.response(id))
    }

    /// Parameters with the claims of a modern client.
    pub fn claimed(params: &Value, capabilities: &Value) -> Value {
        let mut params = params.clone();
        params["_meta"] =
            json!({VERSION: M, CLIENT: {"name": "stdio-test", "version": "0"}, CAPABILITIES: capabilities});
        params
    }

    /// Waits for the answer to a request.
    pub fn response(&self, id: i64) -> Value {
        self.wait(&format!("an answer to {id}"), |message| message["id"] == id && message.get("method").is_none())
    }

    /// Waits for a message of this method.
    pub fn wait_for(&self, method: &str) -> Value {
        self.wait(method, |message| message["method"] == method)
    }

    /// Waits for a message.
    pub fn wait(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || self.lines().into_iter().find(|message| is_it(message)))
    }

    /// Everything it wrote so far.
    pub fn lines(&self) -> Vec<Value> {
        self.lines.lock().expect("never poisoned").clone()
    }

    /// Everything of this method so far.
    pub fn of(&self, method: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|message| message["method"] == method).collect()
    }

    /// What it wrote on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("never poisoned").clone()
    }

    /// Waits for its end.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the bridge has left", || child.try_wait().expect("a child of ours"))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.close();
        if std::thread::panicking() {
            let said: Vec<String> =
                self.lines().iter().map(|line| line.to_string().chars().take(300).collect()).collect();
            eprintln!("--- hub connect {} said {said:#?}\n{}", self.child.id(), self.stderr());
            procs::signal(self.child.id(), nix::sys::signal::Signal::SIGKILL);
        }
        // It ends with its stdin; reaped either way.
        drop(self.child.wait());
    }
}

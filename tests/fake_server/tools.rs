//! The tools: a table, the dispatch, and those that ask the client nothing.
//!
//! In: `tools/call`. Out: results, notifications, trouble. Owns nothing. May not: block the reader; a slow tool runs on a
//! thread of its own.
//!
//! Every tool takes an optional `v`, a nonce of the caller that comes back in the text.

use crate::wire::{Cancelled, Request, code};
use crate::{Fake, lists, misbehave, modern, tasks, tools_ask};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// One call on its way through a tool.
pub struct Call {
    /// The arguments.
    pub args: Value,
    /// `params._meta` as it was read.
    pub meta: Value,
    /// Set by `notifications/cancelled` or `tasks/cancel`.
    pub cancelled: Arc<Cancelled>,
    /// The task that this call runs as.
    pub task: Option<String>,
    /// The modern client's answers of an earlier round, and its `requestState`.
    pub answers: Option<Value>,
    /// See `answers`.
    pub state: Option<String>,
}

impl Call {
    /// Reads a call from its request.
    pub fn of(fake: &Fake, request: &Request) -> Self {
        Self {
            args: request.params.get("arguments").cloned().unwrap_or(Value::Null),
            meta: request.params.get("_meta").cloned().unwrap_or(Value::Null),
            cancelled: fake.wire.begin(&request.id),
            task: None,
            answers: request.params.get("inputResponses").cloned(),
            state: request.text("requestState"),
        }
    }

    /// What the client of this call can do (modern).
    pub fn caps(&self) -> Value {
        self.meta["io.modelcontextprotocol/clientCapabilities"].clone()
    }

    /// A number among the arguments.
    pub fn number(&self, key: &str, otherwise: u64) -> u64 {
        self.args.get(key).and_then(Value::as_u64).unwrap_or(otherwise)
    }

    /// A string among the arguments.
    pub fn text(&self, key: &str, otherwise: &str) -> String {
        self.args.get(key).and_then(Value::as_str).unwrap_or(otherwise).to_owned()
    }

    /// Milliseconds among the arguments.
    pub fn ms(&self, key: &str, otherwise: u64) -> Duration {
        Duration::from_millis(self.number(key, otherwise))
    }
}

/// How a tool ends.
pub enum Outcome {
    /// A text result.
    Text(String),
    /// A text result that says it failed.
    Failed(String),
    /// This result, untouched.
    Result(Value),
    /// This error object.
    Error(Value),
    /// No answer at all.
    Silent,
}

type Run = fn(&Arc<Fake>, &Call) -> Outcome;

/// A row of the table.
pub struct Tool {
    name: &'static str,
    run: Run,
    slow: bool,
    read_only: bool,
    task: &'static str,
}

const fn fast(name: &'static str, run: Run) -> Tool {
    Tool { name, run, slow: false, read_only: false, task: "forbidden" }
}

const fn slow(name: &'static str, run: Run) -> Tool {
    Tool { name, run, slow: true, read_only: false, task: "forbidden" }
}

/// Every built-in tool, in the order of `tools/list`.
pub const TOOLS: &[Tool] = &[
    fast("echo", echo),
    fast("whoami", whoami),
    fast("env", environment),
    fast("meta", |_, call| Outcome::Text(call.meta.to_string())),
    fast("state", state),
    fast("big", |_, call| Outcome::Text("x".repeat(usize::try_from(call.number("n", 1)).unwrap_or(0)))),
    fast("raw_result", |_, call| Outcome::Result(call.args["result"].clone())),
    fast("raw_error", |_, call| Outcome::Error(call.args["error"].clone())),
    fast("raw_line", raw_line),
    slow("sleep", sleep),
    Tool { read_only: true, ..slow("sleep_ro", sleep_counted) },
    slow("count", sleep_counted),
    slow("prog", prog),
    slow("log", log),
    fast("change", change),
    fast("touch", touch),
    fast("need42", need42),
    fast("die", |fake, call| fake.leave(i32::try_from(call.number("code", 3)).unwrap_or(3))),
    slow("die_later", die_later),
    slow("half_line", half_line),
    fast("huge_line", huge_line),
    fast("noise", noise),
    fast("stderr", stderr),
    fast("fork", fork),
    slow("ignore_cancel", ignore_cancel),
    slow("ignore_cancel_then_elicit", tools_ask::ignore_cancel_then_elicit),
    slow("elicit", tools_ask::elicit),
    slow("elicit_url", tools_ask::elicit_url),
    slow("elicit2", tools_ask::elicit2),
    slow("rounds", tools_ask::rounds),
    slow("elicit_timeout", tools_ask::elicit_timeout),
    slow("sample", tools_ask::sample),
    slow("roots", tools_ask::roots),
    slow("ask", tools_ask::ask),
    fast("ask_later", tools_ask::ask_later),
    Tool { task: "optional", ..slow("task_sleep", sleep) },
    Tool { task: "optional", ..slow("task_elicit", tools_ask::elicit) },
    Tool { task: "required", ..slow("task_only", sleep) },
    fast("arr", arr),
    fast("state_only", tools_ask::state_only),
    fast("by_region", |_, call| Outcome::Text(format!("region {}", call.args["region"]))),
    fast("end_listens", end_listens),
];

impl Tool {
    /// The entry of `tools/list`.
    pub fn listed(&self, tag: &str, modern: bool) -> Value {
        let mut entry = json!({
            "name": self.name,
            "description": format!("{} of {tag}", self.name),
            "inputSchema": {"type": "object", "properties": {"v": {"type": "string"}}},
        });
        if self.read_only {
            entry["annotations"] = json!({"readOnlyHint": true});
        }
        if self.task != "forbidden" && !modern {
            entry["execution"] = json!({"taskSupport": self.task});
        }
        match self.name {
            "arr" if modern => {
                entry["outputSchema"] = json!({"type": "array", "items": {"type": "integer"}});
                entry["inputSchema"]["properties"] = json!({"any": true, "none": false, "v": {"type": "string"}});
            }
            "by_region" => {
                entry["inputSchema"]["properties"] = json!({
                    "v": {"type": "string"},
                    "region": {"type": "string", "x-mcp-header": "Region"},
                    "count": {"type": "integer", "x-mcp-header": "Count"},
                    "dry": {"type": "boolean", "x-mcp-header": "Dry"},
                    "at": {"type": "object", "properties": {"zone": {"type": "string", "x-mcp-header": "Zone"}}},
                });
            }
            _ => {}
        }
        entry
    }
}

/// Is there no handler for this method? (Profile S is silent then.)
pub fn is_unknown(method: &str) -> bool {
    const KNOWN: [&str; 17] = [
        "initialize",
        "ping",
        "tools/list",
        "tools/call",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
        "logging/setLevel",
        "tasks/get",
        "tasks/result",
        "tasks/list",
        "tasks/cancel",
    ];
    !KNOWN.contains(&method)
}

/// `tools/call`.
pub fn call(fake: &Arc<Fake>, request: Request) {
    let name = request.text("name").unwrap_or_default();
    let Some(tool) = TOOLS.iter().find(|tool| tool.name == name) else {
        // Added and odd names: the answer says which name arrived, and where.
        if lists::tools(fake).iter().any(|tool| tool["name"] == name.as_str()) {
            let text = format!("{} runs {name} v={}", fake.knobs.tag, request.params["arguments"]["v"]);
            return finish(fake, &request.id, text_result(&text, false));
        }
        return fake.wire.fail(&request.id, code::INVALID_PARAMS, &format!("Unknown tool: {name}"));
    };
    let mut call = Call::of(fake, &request);
    let modern = fake.speaks_modern();
    let as_task =
        if modern { call.caps()["extensions"][modern::TASKS].is_object() } else { request.params["task"].is_object() };
    if as_task && tool.task != "forbidden" {
        return tasks::create(fake, &request, call, tool.run);
    }
    if modern && tool.task == "required" {
        let error = modern::missing(&json!({"extensions": {modern::TASKS: {}}}));
        return fake.wire.refuse(&request.id, &error);
    }
    if !tool.slow {
        let outcome = (tool.run)(fake, &call);
        return settle(fake, &request.id, &call, outcome);
    }
    let (fake, run) = (Arc::clone(fake), tool.run);
    std::thread::spawn(move || {
        let outcome = run(&fake, &call);
        call.meta = Value::Null;
        settle(&fake, &request.id, &call, outcome);
    });
}

/// The result object, or the error object, that an outcome means.
pub fn settled(call: &Call, outcome: Outcome) -> Option<Result<Value, Value>> {
    let with_nonce = |text: String| match call.args.get("v").and_then(Value::as_str) {
        Some(nonce) if text != nonce => format!("{text} v={nonce}"),
        _ => text,
    };
    match outcome {
        Outcome::Silent => None,
        Outcome::Text(text) => Some(Ok(text_result(&with_nonce(text), false))),
        Outcome::Failed(text) => Some(Ok(text_result(&with_nonce(text), true))),
        Outcome::Result(result) => Some(Ok(result)),
        Outcome::Error(error) => Some(Err(error)),
    }
}

fn settle(fake: &Fake, id: &Value, call: &Call, outcome: Outcome) {
    match settled(call, outcome) {
        None => {}
        Some(Ok(result)) => finish(fake, id, result),
        Some(Err(error)) => fake.wire.refuse(id, &error),
    }
}

fn finish(fake: &Fake, id: &Value, mut result: Value) {
    if fake.speaks_modern() && result.is_object() && result.get("resultType").is_none() {
        result["resultType"] = json!("complete");
    }
    fake.wire.answer(id, &result);
}

fn text_result(text: &str, failed: bool) -> Value {
    let mut result = json!({"content": [{"type": "text", "text": text}]});
    if failed {
        result["isError"] = json!(true);
    }
    result
}

fn echo(_: &Arc<Fake>, call: &Call) -> Outcome {
    Outcome::Text(match &call.args["v"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

fn whoami(fake: &Arc<Fake>, _: &Call) -> Outcome {
    let cwd = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let argv: Vec<String> = std::env::args().skip(1).collect();
    let me = json!({"pid": std::process::id(), "tag": fake.knobs.tag, "cwd": cwd, "args": argv});
    Outcome::Text(me.to_string())
}

fn environment(_: &Arc<Fake>, call: &Call) -> Outcome {
    let all: serde_json::Map<_, _> = std::env::vars().map(|(name, value)| (name, json!(value))).collect();
    match call.args.get("name").and_then(Value::as_str) {
        Some(name) => Outcome::Text(all.get(name).and_then(Value::as_str).unwrap_or("(unset)").to_owned()),
        None => Outcome::Text(Value::Object(all).to_string()),
    }
}

/// What the server believes: level, subscriptions, the client's capabilities.
fn state(fake: &Arc<Fake>, _: &Call) -> Outcome {
    let mut subscriptions: Vec<String> = fake.subscriptions.lock().expect("never poisoned").iter().cloned().collect();
    subscriptions.sort();
    let level = fake.level.lock().expect("never poisoned").clone();
    let caps = fake.client_caps.lock().expect("never poisoned").clone();
    Outcome::Text(json!({"subscriptions": subscriptions, "level": level, "clientCapabilities": caps}).to_string())
}

fn raw_line(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let mut line = call.text("line", "").into_bytes();
    line.push(b'\n');
    fake.wire.raw(&line);
    Outcome::Text("written".into())
}

fn sleep(_: &Arc<Fake>, call: &Call) -> Outcome {
    if call.cancelled.sleep(call.ms("ms", 100)) { Outcome::Silent } else { Outcome::Text("slept".into()) }
}

/// Leaves one line in `file` before it sleeps, so a test can count how often it ran.
fn sleep_counted(_: &Arc<Fake>, call: &Call) -> Outcome {
    if let Some(path) = call.args.get("file").and_then(Value::as_str) {
        let file = std::fs::File::options().create(true).append(true).open(path);
        let line = format!("{} {}\n", std::process::id(), call.text("v", "-"));
        if let Err(problem) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
            return Outcome::Failed(problem.to_string());
        }
    }
    if call.cancelled.sleep(call.ms("ms", 0)) { Outcome::Silent } else { Outcome::Text("counted".into()) }
}

fn prog(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let total = call.number("n", 3);
    for step in 1..=total {
        if call.cancelled.sleep(call.ms("ms", 10)) {
            return Outcome::Silent;
        }
        if let Some(token) = call.meta.get("progressToken") {
            let message = format!("step {step} v={}", call.text("v", "-"));
            let params = json!({"progressToken": token, "progress": step, "total": total, "message": message});
            fake.wire.notify("notifications/progress", &params);
        }
    }
    Outcome::Text(format!("{total} steps"))
}

const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

fn log(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let level = call.text("level", "info");
    let rank = |level: &str| LEVELS.iter().position(|known| *known == level).unwrap_or(0);
    // A legacy server is told once, and logs by default; a modern one with each request, and else it is silent.
    let admitted = if fake.speaks_modern() {
        let floor = call.meta["io.modelcontextprotocol/logLevel"].as_str();
        floor.is_some_and(|floor| rank(&level) >= rank(floor))
    } else {
        let floor = fake.level.lock().expect("never poisoned").clone();
        floor.is_none_or(|floor| rank(&level) >= rank(&floor))
    };
    if admitted {
        let params = json!({"level": level, "logger": "fake", "data": call.text("text", "")});
        fake.wire.notify("notifications/message", &params);
    }
    call.cancelled.sleep(call.ms("ms", 0));
    Outcome::Text("logged".into())
}

fn change(fake: &Arc<Fake>, call: &Call) -> Outcome {
    if fake.knobs.list_changed {
        for _ in 0..call.number("n", 1) {
            for kind in ["tools", "prompts", "resources"] {
                fake.changed(kind);
            }
        }
    }
    Outcome::Text("changed".into())
}

/// `end_listens(gracefully)`: answers or cancels every open listen.
fn end_listens(fake: &Arc<Fake>, call: &Call) -> Outcome {
    fake.end_listens(call.args["gracefully"] == true);
    Outcome::Text("ended".into())
}

fn touch(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let uri = call.text("uri", "test://one");
    let force = call.args["force"] == true;
    let watched = fake.subscriptions.lock().expect("never poisoned").iter().any(|known| uri.starts_with(known));
    if watched || force || fake.speaks_modern() {
        fake.updated(&uri);
    }
    Outcome::Text("touched".into())
}

fn need42(_: &Arc<Fake>, call: &Call) -> Outcome {
    let id = call.text("elicitation", "e-42");
    Outcome::Error(json!({
        "code": code::URL_ELICITATION,
        "message": "URL elicitation required",
        "data": {"elicitations": [{"mode": "url", "elicitationId": id, "url": "https://example.invalid/go", "message": "please sign in"}]},
    }))
}

fn die_later(fake: &Arc<Fake>, call: &Call) -> Outcome {
    call.cancelled.sleep(call.ms("ms", 100));
    fake.leave(i32::try_from(call.number("code", 3)).unwrap_or(3));
}

/// A line that arrives in two pieces; with `die`, in one piece only.
fn half_line(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let note = json!({"jsonrpc": "2.0", "method": "notifications/half", "params": {"text": "é".repeat(100)}});
    let line = note.to_string();
    let (first, second) = line.as_bytes().split_at((line.len() / 2) | 1);
    // Nobody else may write in between, so this tool is called alone.
    fake.wire.raw(first);
    call.cancelled.sleep(call.ms("ms", 50));
    if call.args["die"] == true {
        fake.leave(1);
    }
    fake.wire.raw(second);
    fake.wire.raw(b"\n");
    Outcome::Text("whole".into())
}

fn huge_line(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let piece = vec![b'a'; 1 << 20];
    fake.wire.raw(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/huge\",\"params\":{\"text\":\"");
    let mut left = usize::try_from(call.number("n", 1 << 20)).unwrap_or(0);
    while left > 0 {
        let now = left.min(piece.len());
        fake.wire.raw(&piece[..now]);
        left -= now;
    }
    fake.wire.raw(b"\"}}\n");
    Outcome::Text("huge".into())
}

fn noise(fake: &Arc<Fake>, call: &Call) -> Outcome {
    for _ in 0..call.number("n", 1) {
        misbehave::noise(fake);
    }
    Outcome::Text("noisy".into())
}

fn stderr(_: &Arc<Fake>, call: &Call) -> Outcome {
    for line in 0..call.number("n", 1) {
        misbehave::complain(&format!("{} {line}", call.text("text", "said on stderr")));
    }
    Outcome::Text("complained".into())
}

fn fork(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let count = usize::try_from(call.number("n", 1)).unwrap_or(1);
    misbehave::grandchildren(count, call.args["escape"] == true, fake.knobs.ignore_term);
    Outcome::Text("forked".into())
}

fn ignore_cancel(_: &Arc<Fake>, call: &Call) -> Outcome {
    std::thread::sleep(call.ms("ms", 100));
    Outcome::Text(if call.cancelled.is_set() { "late" } else { "in time" }.into())
}

fn arr(fake: &Arc<Fake>, _: &Call) -> Outcome {
    let structured = if fake.speaks_modern() { json!([1, 2, 3]) } else { json!({"items": [1, 2, 3]}) };
    Outcome::Result(json!({"content": [{"type": "text", "text": "[1,2,3]"}], "structuredContent": structured}))
}

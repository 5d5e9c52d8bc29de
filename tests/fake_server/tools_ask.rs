//! The tools that ask the client something: elicitation, sampling, roots.
//!
//! In: calls. Out: the server's own requests (legacy) or `input_required` results (modern). Owns nothing. May not:
//! say which call a request belongs to; over stdio nothing does, and that is the point.

use crate::Fake;
use crate::tools::{Call, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn form(message: &str) -> Value {
    json!({
        "message": message,
        "requestedSchema": {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]},
    })
}

/// The text of an answer: what was given, or the error that came instead.
fn told(answer: Result<Value, Value>) -> Outcome {
    match answer {
        Ok(result) => Outcome::Text(result.to_string()),
        Err(Value::Null) => Outcome::Failed("MCP error -32001: Request timed out".into()),
        Err(error) => Outcome::Failed(format!("refused: {error}")),
    }
}

/// Asks in the way of the era: blocks on a request, or ends the round and reads the answer in the next.
fn ask_one(fake: &Arc<Fake>, call: &Call, method: &str, mut params: Value) -> Outcome {
    if fake.speaks_modern() {
        return match call.answers.as_ref().and_then(|answers| answers.get("q")) {
            Some(answer) if answer.is_object() => told(Ok(answer.clone())),
            _ => Outcome::Result(json!({
                "resultType": "input_required",
                "inputRequests": {"q": {"method": method, "params": params}},
                "requestState": format!("state of {}", fake.knobs.tag),
            })),
        };
    }
    if let Some(task) = &call.task {
        params["_meta"] = json!({"io.modelcontextprotocol/related-task": {"taskId": task}});
        fake.tasks.needs_input(fake, task);
    }
    let answer = fake.wire.ask(method, &params, None);
    if let Some(task) = &call.task {
        fake.tasks.goes_on(fake, task);
    }
    // A cancelled call gets no response, whatever its dialog brought (TypeScript SDK).
    if call.cancelled.is_set() { Outcome::Silent } else { told(answer) }
}

/// `elicit(tag)`: waits `before_ms`, then asks with the tag as the message.
pub fn elicit(fake: &Arc<Fake>, call: &Call) -> Outcome {
    if call.cancelled.sleep(call.ms("before_ms", 0)) {
        return Outcome::Silent;
    }
    let outcome = ask_one(fake, call, "elicitation/create", form(&call.text("tag", "who?")));
    call.cancelled.sleep(call.ms("after_ms", 0));
    outcome
}

/// `elicit_url(id, url)`: URL mode; with `complete`, says so afterwards.
pub fn elicit_url(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let id = call.text("id", "e-1");
    let url = call.text("url", "https://example.invalid/consent");
    let params = json!({"mode": "url", "message": call.text("tag", "open this"), "url": url, "elicitationId": id});
    let outcome = ask_one(fake, call, "elicitation/create", params);
    if call.args["complete"] == true {
        fake.wire.notify("notifications/elicitation/complete", &json!({"elicitationId": id}));
    }
    outcome
}

/// `elicit2(tag)`: two at once.
pub fn elicit2(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let tag = call.text("tag", "two");
    let (first, second) = (form(&format!("{tag} first")), form(&format!("{tag} second")));
    if fake.speaks_modern() {
        let given = |key: &str| call.answers.as_ref().and_then(|answers| answers.get(key)).filter(|a| a.is_object());
        let mut missing = serde_json::Map::new();
        for (key, params) in [("q1", first), ("q2", second)] {
            if given(key).is_none() {
                missing.insert(key.into(), json!({"method": "elicitation/create", "params": params}));
            }
        }
        if missing.is_empty() {
            return Outcome::Text(json!([given("q1"), given("q2")]).to_string());
        }
        let state = format!("state of {}", fake.knobs.tag);
        return Outcome::Result(
            json!({"resultType": "input_required", "inputRequests": missing, "requestState": state}),
        );
    }
    let (_, first) = fake.wire.ask_begin("elicitation/create", &first);
    let (_, second) = fake.wire.ask_begin("elicitation/create", &second);
    let read = |answer: Value| answer.get("result").cloned().unwrap_or_else(|| json!({"error": answer["error"]}));
    match (first.recv(), second.recv()) {
        (Ok(first), Ok(second)) => Outcome::Text(json!([read(first), read(second)]).to_string()),
        _ => Outcome::Failed("unanswered".into()),
    }
}

/// `elicit_timeout(ms)`: gives up on its own dialog, as the TypeScript SDK does after 60 s.
pub fn elicit_timeout(fake: &Arc<Fake>, call: &Call) -> Outcome {
    told(fake.wire.ask("elicitation/create", &form(&call.text("tag", "quick!")), Some(call.ms("ms", 1500))))
}

/// `sample(text)`
pub fn sample(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let message = json!({"role": "user", "content": {"type": "text", "text": call.text("text", "say something")}});
    let mut params = json!({"messages": [message], "maxTokens": 100});
    if call.args["tools"] == true {
        params["tools"] = json!([{"name": "t", "inputSchema": {"type": "object"}}]);
    }
    if let Some(token) = call.args.get("token") {
        params["_meta"] = json!({"progressToken": token});
    }
    ask_one(fake, call, "sampling/createMessage", params)
}

/// `roots`
pub fn roots(fake: &Arc<Fake>, call: &Call) -> Outcome {
    ask_one(fake, call, "roots/list", json!({}))
}

/// `ask(method, params)`: any request at all.
pub fn ask(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let params = call.args.get("params").cloned().unwrap_or_else(|| json!({}));
    told(fake.wire.ask(&call.text("method", "ping"), &params, None))
}

/// `ask_later(ms, method, params)`: answers at once, and asks when no call is there to explain it.
pub fn ask_later(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let params = call.args.get("params").cloned().unwrap_or_else(|| form(&call.text("tag", "whose?")));
    let (method, pause, fake) = (call.text("method", "elicitation/create"), call.ms("ms", 100), Arc::clone(fake));
    std::thread::spawn(move || {
        std::thread::sleep(pause);
        let answer = fake.wire.ask(&method, &params, None);
        let said = answer.unwrap_or_else(|error| json!({"refused": error}));
        fake.wire.journal("later ", said.to_string().as_bytes());
    });
    Outcome::Text("soon".into())
}

/// Ignores a cancellation, sleeps on, and then asks: the prompt must reach nobody.
pub fn ignore_cancel_then_elicit(fake: &Arc<Fake>, call: &Call) -> Outcome {
    std::thread::sleep(call.ms("ms", 200));
    let answer = fake.wire.ask("elicitation/create", &form(&call.text("tag", "ghost")), Some(Duration::from_mins(2)));
    fake.wire.journal("ghost ", json!(format!("{answer:?}")).to_string().as_bytes());
    Outcome::Text("haunted".into())
}

/// Modern: `input_required` without any request, `k` times; the state counts.
pub fn state_only(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let round: u64 = call.state.as_deref().and_then(|state| state.parse().ok()).unwrap_or(0);
    if fake.speaks_modern() && round < call.number("k", 1) {
        return Outcome::Result(json!({"resultType": "input_required", "requestState": (round + 1).to_string()}));
    }
    Outcome::Text(format!("after {round} rounds"))
}

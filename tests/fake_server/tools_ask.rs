//! The tools that ask the client something: elicitation, sampling, roots.
//!
//! In: calls. Out: the server's own requests (legacy) or `input_required` results (modern). Owns nothing. May not:
//! say which call a request belongs to; over stdio nothing does, and that is the point.

use crate::tools::{Call, Outcome};
use crate::wire::{Request, code};
use crate::{Fake, modern};
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

/// What a modern server gives the client to keep, and wants back to the byte: the round, and whose call it is.
fn state(call: &Call, round: u64) -> String {
    // A quote, a backslash, a line separator and a tab: who writes it anew gets one of them wrong.
    format!("{round}|\"\\\u{2028}é\t|{}", call.args)
}

/// One question of a modern server: its key, its method, its parameters.
type Question = (String, &'static str, Value);

/// The modern way to ask: ends the round with what is still missing. `Err` is the outcome of this round.
fn ask_round(call: &Call, round: u64, questions: &[Question]) -> Result<Vec<Value>, Outcome> {
    let own = state(call, round);
    if call.state.is_some() && call.state.as_ref() != Some(&own) {
        let told = json!({"code": code::INVALID_PARAMS, "message": "requestState is not mine", "data": call.state});
        return Err(Outcome::Error(told));
    }
    let given = |key: &str| call.answers.as_ref()?.get(key).filter(|answer| answer.is_object()).cloned();
    let given = |key: &str| call.state.as_ref().and_then(|_| given(key));
    let mut missing = serde_json::Map::new();
    for (key, method, params) in questions.iter().filter(|(key, ..)| given(key).is_none()) {
        let refusal = modern::missing_capability(&call.caps(), method, params);
        if let Some(error) = refusal.filter(|_| call.args["force"] != true) {
            return Err(Outcome::Error(error));
        }
        missing.insert(key.clone(), json!({"method": method, "params": params}));
    }
    if missing.is_empty() {
        return Ok(questions.iter().filter_map(|(key, ..)| given(key)).collect());
    }
    Err(Outcome::Result(json!({"resultType": "input_required", "inputRequests": missing, "requestState": own})))
}

/// Asks in the way of the era: blocks on a request, or ends the round and reads the answer in the next.
fn ask_one(fake: &Arc<Fake>, call: &Call, method: &'static str, mut params: Value) -> Outcome {
    if fake.speaks_modern() {
        if let Some(task) = &call.task {
            let answer = fake.tasks.ask(fake, task, &json!({"method": method, "params": params}));
            return answer.map_or(Outcome::Silent, |answer| told(Ok(answer)));
        }
        return match ask_round(call, 1, &[("q".into(), method, params)]) {
            Ok(mut answers) => told(Ok(answers.remove(0))),
            Err(outcome) => outcome,
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

/// The answer to a form, in the way of the era, for prompts and resources. `Err` is what answers this round instead.
pub fn form_answer(fake: &Arc<Fake>, request: &Request, message: &str) -> Result<Value, Outcome> {
    let call = Call::of(fake, request);
    if fake.speaks_modern() {
        let question = ("q".into(), "elicitation/create", form(message));
        return ask_round(&call, 1, &[question]).map(|mut answers| answers.remove(0));
    }
    let answer = fake.wire.ask("elicitation/create", &form(message), None);
    answer.map_err(|error| Outcome::Error(json!({"code": code::INTERNAL, "message": format!("refused: {error}")})))
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
    if call.args["complete"] == true && !fake.speaks_modern() {
        fake.wire.notify("notifications/elicitation/complete", &json!({"elicitationId": id}));
    }
    outcome
}

/// `rounds(n, tag)`: asks `n` times, one after the other.
pub fn rounds(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let (count, tag) = (call.number("n", 2), call.text("tag", "round"));
    if !fake.speaks_modern() {
        let mut answers = Vec::new();
        for round in 1..=count {
            match fake.wire.ask("elicitation/create", &form(&format!("{tag} {round}")), None) {
                Ok(answer) => answers.push(answer["content"]["answer"].clone()),
                Err(error) => return told(Err(error)),
            }
        }
        return Outcome::Text(json!(answers).to_string());
    }
    let round = call.state.as_ref().and_then(|state| state.split('|').next()?.parse().ok()).unwrap_or(1);
    let question = (format!("q{round}"), "elicitation/create", form(&format!("{tag} {round}")));
    match ask_round(call, round, &[question]) {
        Ok(answers) if round == count => Outcome::Text(answers[0]["content"]["answer"].to_string()),
        Ok(_) => {
            let next = round + 1;
            let request = json!({"method": "elicitation/create", "params": form(&format!("{tag} {next}"))});
            Outcome::Result(json!({"resultType": "input_required", "inputRequests": {format!("q{next}"): request},
                "requestState": state(call, next)}))
        }
        Err(outcome) => outcome,
    }
}

/// `elicit2(tag)`: two at once.
pub fn elicit2(fake: &Arc<Fake>, call: &Call) -> Outcome {
    let tag = call.text("tag", "two");
    let (first, second) = (form(&format!("{tag} first")), form(&format!("{tag} second")));
    if fake.speaks_modern() {
        let method = "elicitation/create";
        return match ask_round(call, 1, &[("q1".into(), method, first), ("q2".into(), method, second)]) {
            Ok(answers) => Outcome::Text(json!(answers).to_string()),
            Err(outcome) => outcome,
        };
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
    // A modern client never answers a request, so a modern server that sends one must not wait for ever.
    let patience = fake.speaks_modern().then_some(Duration::from_secs(1));
    told(fake.wire.ask(&call.text("method", "ping"), &params, patience))
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

//! The words that the sides of a world say to each other: answers that name what they answer, claims of modern requests.
//!
//! In: names. Out: JSON. Owns nothing. May not: know who says them.

use hub::mcp::meta::{CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, Level, PROTOCOL_VERSION};
use hub::mcp::{Method, Raw};
use serde_json::{Value, json};

/// The `requestState` of a client that did not get one: a legacy server must not see it, a modern one ignores it.
pub const JUNK: &str = "junk";

pub fn raw(value: &Value) -> Raw {
    Raw::from(value.to_string())
}

pub fn parsed(raw: &[u8]) -> Value {
    serde_json::from_slice(raw).expect("JSON")
}

/// An answer that a server can read, and that names the question and how often it is answered.
pub fn answer_to(method: &Method, ask: &str, by: &str) -> Value {
    match method {
        Method::Sampling => {
            json!({ "role": "assistant", "content": { "type": "text", "text": ask }, "model": by })
        }
        Method::RootsList => json!({ "roots": [{ "uri": ask, "name": by }] }),
        _ => json!({ "action": "accept", "content": { "ask": ask, "by": by } }),
    }
}

/// What an answer names: the question, and how often it was answered. `None` for a cancelled dialog.
pub fn named(answer: &Value) -> Option<(&str, &str)> {
    let pairs = [
        (&answer["content"]["ask"], &answer["content"]["by"]),
        (&answer["content"]["text"], &answer["model"]),
        (&answer["roots"][0]["uri"], &answer["roots"][0]["name"]),
    ];
    let found = pairs.iter().find_map(|(ask, by)| Some((ask.as_str()?, by.as_str()?)));
    assert!(found.is_some() || *answer == json!({ "action": "cancel" }), "an answer of nobody: {answer}");
    found
}

/// What a client says that it can do: everything, dialogs, or nothing; and modern ones perhaps tasks.
pub fn capabilities(kind: usize, tasks: bool) -> Value {
    let mut all = match kind {
        0 => json!({}),
        1 => json!({ "elicitation": {} }),
        2 => json!({ "sampling": {}, "roots": {} }),
        _ => json!({ "elicitation": { "form": {}, "url": {} }, "sampling": { "tools": {} }, "roots": {} }),
    };
    if tasks {
        all["extensions"] = json!({ "io.modelcontextprotocol/tasks": {} });
    }
    all
}

/// The name that a client gives itself.
pub fn name_of(caller: u64) -> String {
    if caller == 0 { "hub".into() } else { format!("c{caller}") }
}

/// The `_meta` of a modern client's request.
pub fn claims(caller: u64, capabilities: &Raw, level: Option<Level>) -> Value {
    let mut meta = json!({
        PROTOCOL_VERSION: "2026-07-28",
        CLIENT_CAPABILITIES: parsed(capabilities),
        CLIENT_INFO: { "name": name_of(caller), "version": "1" },
        "vendor/key": 1,
    });
    if let Some(level) = level {
        meta[LOG_LEVEL] = level.as_str().into();
    }
    meta
}

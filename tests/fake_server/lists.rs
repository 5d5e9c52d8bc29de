//! What the server has: capabilities, tools, prompts, resources, templates, completions.
//!
//! In: list, read, get and complete requests. Out: their answers. Owns nothing. May not: run a tool.

use crate::args::Knobs;
use crate::tools::{Outcome, TOOLS};
use crate::wire::{Request, code};
use crate::{Fake, tools_ask};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What `initialize` and `server/discover` declare.
pub fn capabilities(knobs: &Knobs) -> Value {
    if let Some(caps) = &knobs.caps {
        return caps.clone();
    }
    let changed = knobs.list_changed;
    json!({
        "tools": {"listChanged": changed},
        "prompts": {"listChanged": changed},
        "resources": {"listChanged": changed, "subscribe": true},
        "completions": {},
        "logging": {},
        "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}},
    })
}

/// Lists, reads, gets and completions; anything else is unknown.
pub fn request(fake: &Arc<Fake>, request: Request) {
    match request.method.as_str() {
        "tools/list" => tools_list(fake, request),
        "prompts/list" => page(fake, &request, "prompts", &prompts(&fake.knobs)),
        "resources/list" => page(fake, &request, "resources", &resources(&fake.knobs)),
        "resources/templates/list" => page(fake, &request, "resourceTemplates", &templates(&fake.knobs)),
        "resources/read" => read(fake, &request),
        "prompts/get" => prompt(fake, &request),
        "completion/complete" => {
            let typed = request.params["argument"]["value"].as_str().unwrap_or_default().to_owned();
            if typed == "ask" && !fake.speaks_modern() {
                return completion_that_asks(fake, request);
            }
            let values = [format!("{typed}-{}", fake.knobs.tag), request.params["ref"].to_string()];
            fake.complete(&request, json!({"completion": {"values": values, "total": 2, "hasMore": false}}));
        }
        "vendor/echo" => fake.complete(&request, json!({"params": request.params})),
        _ => fake.wire.fail(&request.id, code::METHOD_NOT_FOUND, "Method not found"),
    }
}

/// A question in a place where no client of the modern revision can be asked.
fn completion_that_asks(fake: &Arc<Fake>, request: Request) {
    let fake = Arc::clone(fake);
    std::thread::spawn(move || {
        let heard = fake.wire.ask("elicitation/create", &json!({"message": "complete?", "requestedSchema": {}}), None);
        let values = [json!(heard.map_err(|error| json!({"refused": error}))).to_string()];
        fake.complete(&request, json!({"completion": {"values": values}}));
    });
}

fn tools_list(fake: &Arc<Fake>, request: Request) {
    if fake.knobs.hang_list {
        return;
    }
    if let Some(text) = &fake.knobs.list_error {
        return fake.wire.fail(&request.id, code::INTERNAL, text);
    }
    let Some(flag) = fake.knobs.hang_list_while.clone().filter(|flag| flag.exists()) else {
        return page(fake, &request, "tools", &tools(fake));
    };
    let fake = Arc::clone(fake);
    std::thread::spawn(move || {
        while flag.exists() {
            std::thread::sleep(Duration::from_millis(20));
        }
        page(&fake, &request, "tools", &tools(&fake));
    });
}

/// JSON from the command line, or from a file that may change while the server runs.
fn json_or_file(source: &str) -> Vec<Value> {
    let text = match source.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).unwrap_or_default(),
        None => source.to_owned(),
    };
    serde_json::from_str(&text).unwrap_or_default()
}

/// Names that no LLM interface accepts as they are, one of them twice.
fn odd_names() -> Vec<String> {
    let long = |last: &str| format!("{}{last}", "n".repeat(129));
    vec![
        "a__b".into(),
        "a.b".into(),
        "a b".into(),
        "a_b".into(),
        "b__a__c".into(),
        "slash/name".into(),
        "ünïcode".into(),
        long("1"),
        long("2"),
        "twice".into(),
        "twice".into(),
    ]
}

/// All tools, built in and added.
pub fn tools(fake: &Fake) -> Vec<Value> {
    let (knobs, modern) = (&fake.knobs, fake.speaks_modern());
    if let Some(source) = &knobs.tools_only {
        return json_or_file(source);
    }
    let mut all: Vec<Value> = TOOLS.iter().map(|tool| tool.listed(&knobs.tag, modern)).collect();
    if knobs.odd_names {
        let odd = odd_names().into_iter().enumerate();
        all.extend(odd.map(|(index, name)| {
            json!({"name": name, "description": format!("odd {index}"), "inputSchema": {"type": "object"}})
        }));
    }
    all.extend(knobs.tools_extra.iter().flat_map(|source| json_or_file(source)));
    all
}

fn prompts(knobs: &Knobs) -> Vec<Value> {
    let argument = json!([{"name": "name", "description": "whom", "required": false}]);
    let mut all = vec![
        json!({"name": "greet", "description": format!("of {}", knobs.tag), "arguments": argument}),
        json!({"name": "plain"}),
        json!({"name": "asking", "description": "asks before it answers"}),
    ];
    if knobs.odd_names {
        all.extend(odd_names().into_iter().map(|name| json!({"name": name})));
    }
    all
}

fn resources(knobs: &Knobs) -> Vec<Value> {
    let mut all = Vec::new();
    if knobs.builtin_resources {
        for (uri, name) in [
            ("test://shared", "shared".to_owned()),
            ("test://one", "one".to_owned()),
            (&format!("test://{}/own", knobs.tag), format!("own of {}", knobs.tag)),
            ("test://asking", "asks before it answers".to_owned()),
        ] {
            all.push(json!({"uri": uri, "name": name, "mimeType": "text/plain"}));
        }
    }
    all.extend(knobs.resources_extra.iter().cloned());
    all
}

fn templates(knobs: &Knobs) -> Vec<Value> {
    let mut all = Vec::new();
    if knobs.builtin_resources {
        all.push(json!({"uriTemplate": "item://{id}", "name": "item"}));
        all.push(json!({"uriTemplate": format!("{}://item/{{id}}", knobs.tag), "name": "own item"}));
    }
    all.extend(knobs.templates_extra.iter().cloned());
    all
}

/// Answers a list, in pages if the knobs say so. The cursor is the offset.
fn page(fake: &Fake, request: &Request, key: &str, items: &[Value]) {
    let offset = match request.params.get("cursor") {
        None | Some(Value::Null) => Some(0),
        Some(cursor) => cursor.as_str().and_then(|text| text.strip_prefix("at-")?.parse().ok()),
    };
    let Some(offset) = offset.filter(|offset| *offset <= items.len()) else {
        return fake.wire.fail(&request.id, code::INVALID_PARAMS, "Invalid cursor");
    };
    let size = fake.knobs.page_size.unwrap_or(items.len()).max(1);
    let end = (offset + size).min(items.len());
    let mut result = json!({key: items[offset..end]});
    if end < items.len() {
        result["nextCursor"] = json!(format!("at-{end}"));
    }
    fake.complete(request, result);
}

/// Enough of RFC 6570 for a fixture: the literal text before the first `{`.
fn literal_prefix(template: &str) -> &str {
    template.split('{').next().unwrap_or_default()
}

/// Answers once the client has answered a form.
fn asking(fake: &Arc<Fake>, request: &Request, answer: impl Fn(&str, &Value) -> Value + Send + 'static) {
    let (fake, request) = (Arc::clone(fake), request.clone());
    std::thread::spawn(move || match tools_ask::form_answer(&fake, &request, "what do you say?") {
        Ok(said) => fake.complete(&request, answer(&fake.knobs.tag, &said["content"]["answer"])),
        Err(Outcome::Result(result)) => fake.wire.answer(&request.id, &result),
        Err(Outcome::Error(error)) => fake.wire.refuse(&request.id, &error),
        Err(_) => {}
    });
}

fn read(fake: &Arc<Fake>, request: &Request) {
    let uri = request.text("uri").unwrap_or_default();
    let knobs = &fake.knobs;
    let listed = resources(knobs).iter().any(|resource| resource["uri"] == uri.as_str());
    let templated = templates(knobs).iter().any(|template| {
        let prefix = literal_prefix(template["uriTemplate"].as_str().unwrap_or_default());
        uri.starts_with(prefix) && uri.len() > prefix.len()
    });
    let readable = knobs.readable.as_ref().is_some_and(|prefix| uri.starts_with(prefix.as_str()));
    if uri == "test://asking" {
        return asking(fake, request, move |tag, answer| {
            let text = format!("{tag} heard {answer}");
            json!({"contents": [{"uri": uri, "mimeType": "text/plain", "text": text}]})
        });
    }
    if !listed && !templated && !readable {
        let code = if fake.speaks_modern() { code::INVALID_PARAMS } else { code::NOT_FOUND };
        let error = json!({"code": code, "message": "Resource not found", "data": {"uri": uri}});
        return fake.wire.refuse(&request.id, &error);
    }
    let text = format!("{} reads {uri}", knobs.tag);
    fake.complete(request, json!({"contents": [{"uri": uri, "mimeType": "text/plain", "text": text}]}));
}

fn prompt(fake: &Arc<Fake>, request: &Request) {
    let name = request.text("name").unwrap_or_default();
    if name == "asking" {
        return asking(fake, request, |tag, answer| {
            let content = json!({"type": "text", "text": format!("{tag} heard {answer}")});
            json!({"messages": [{"role": "user", "content": content}]})
        });
    }
    if !prompts(&fake.knobs).iter().any(|prompt| prompt["name"] == name.as_str()) {
        return fake.wire.fail(&request.id, code::INVALID_PARAMS, &format!("Unknown prompt: {name}"));
    }
    let whom = request.params["arguments"]["name"].as_str().unwrap_or("nobody").to_owned();
    let text = format!("{} {name} {whom}", fake.knobs.tag);
    let message = json!({"role": "user", "content": {"type": "text", "text": text}});
    fake.complete(request, json!({"description": name, "messages": [message]}));
}

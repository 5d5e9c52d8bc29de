//! `hub call`: one tool, from the command line.
//!
//! In: server, tool, arguments as JSON or KEY=VALUE. Out: the texts of the answer, or all of it as JSON. Owns nothing.
//! May not: guess the type of a value against the tool's schema.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::control::proto::{Call, Called, Tools};

use super::args::CallArgs;
use super::failure::{Exit, Failure};
use super::out::bytes;
use super::resolve::Setting;
use super::tools::{self, Tool};

pub(super) async fn run(args: &CallArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    let known: Tools = setting.client.get(&tools::path(Some(&args.server))).await?;
    let known = known.servers.first().and_then(tools::readable).unwrap_or_default();
    let schema = known.iter().find(|tool| tool.name == args.tool).map(|tool| &tool.input_schema);
    let arguments = arguments(&args.arguments, schema)?;
    let arguments = RawValue::from_string(Value::Object(arguments).to_string()).map_err(std::io::Error::from)?;
    let call = Call { server: args.server.clone(), tool: args.tool.clone(), arguments };
    let body = serde_json::to_vec(&call).map_err(std::io::Error::from)?;
    let called: Called = setting.client.post("/v1/call", body.into()).await?;
    match called {
        Called::Result(result) => show(&result, args.json, setting),
        Called::Error(error) if args.json => {
            setting.out.document(&serde_json::to_vec(&serde_json::json!({ "error": error })).unwrap_or_default())?;
            Err(Failure::said(Exit::Failed))
        }
        Called::Error(error) => Err(refused(&error, &args.tool, &known)),
    }
}

/// One JSON object, or pairs.
fn arguments(typed: &[String], schema: Option<&Value>) -> Result<Map<String, Value>, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    if let [object] = typed
        && object.trim_start().starts_with('{')
    {
        return serde_json::from_str(object).map_err(|error| usage(format!("the arguments are not JSON: {error}")));
    }
    let mut arguments = Map::new();
    for pair in typed {
        let Some((key, text)) = pair.split_once('=') else {
            let hint = "write KEY=VALUE, or all arguments as one JSON object in quotes";
            return Err(usage(format!("`{pair}` is neither KEY=VALUE nor a JSON object")).hint(hint));
        };
        let property = schema.and_then(|schema| schema.get("properties")?.get(key));
        arguments.insert(key.to_owned(), value(key, text, property).map_err(usage)?);
    }
    Ok(arguments)
}

/// A value as the schema of its property wants it; without one, JSON if it is a number, true or false, else text.
fn value(key: &str, text: &str, property: Option<&Value>) -> Result<Value, String> {
    let json = serde_json::from_str::<Value>(text).ok();
    let wanted = property.map(types).unwrap_or_default();
    if wanted.is_empty() {
        let plain = json.filter(|json| json.is_number() || json.is_boolean());
        return Ok(plain.unwrap_or_else(|| Value::String(text.to_owned())));
    }
    let fits = |json: &Value| wanted.iter().any(|wanted| is(json, wanted));
    match json.filter(|json| !json.is_string() && fits(json)) {
        // A text that looks like a number is a text where a text is wanted.
        Some(json) if !wanted.contains(&"string") => Ok(json),
        _ if wanted.contains(&"string") => Ok(Value::String(text.to_owned())),
        _ => Err(format!("`{key}` must be of type {}, and `{text}` is not", wanted.join(" or "))),
    }
}

fn types(property: &Value) -> Vec<&str> {
    match property.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is(value: &Value, wanted: &str) -> bool {
    match wanted {
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn show(result: &RawValue, json: bool, setting: &Setting<'_>) -> Result<(), Failure> {
    let parsed: Value = serde_json::from_str(result.get()).map_err(std::io::Error::from)?;
    let failed = parsed.get("isError").and_then(Value::as_bool).unwrap_or(false);
    if json {
        setting.out.document(result.get().as_bytes())?;
    } else {
        let content = parsed.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for item in content {
            setting.out.line(&plain(item))?;
        }
        if let (true, Some(structured)) = (content.is_empty(), parsed.get("structuredContent")) {
            setting.out.line(&format!("{structured:#}"))?;
        }
    }
    if failed { Err(Failure::said(Exit::Failed)) } else { Ok(()) }
}

/// One content item for a person: text as it is, anything else by what it is.
fn plain(item: &Value) -> String {
    let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "text" => text("text").to_owned(),
        kind @ ("image" | "audio") => {
            // Base64 is four characters for three bytes.
            format!("[{kind} {}, {}]", text("mimeType"), bytes(text("data").len() as u64 / 4 * 3))
        }
        "resource_link" => format!("[resource {}]", text("uri")),
        "resource" => match item.pointer("/resource/text").and_then(Value::as_str) {
            Some(text) => text.to_owned(),
            None => format!("[resource {}]", item.pointer("/resource/uri").and_then(Value::as_str).unwrap_or_default()),
        },
        _ => item.to_string(),
    }
}

fn refused(error: &RawValue, tool: &str, known: &[Tool]) -> Failure {
    let parsed: Value = serde_json::from_str(error.get()).unwrap_or_default();
    let message = parsed.get("message").and_then(Value::as_str).unwrap_or(error.get());
    let failure = Failure::new(Exit::Failed, message);
    if known.is_empty() || known.iter().any(|known| known.name == tool) {
        return failure;
    }
    let names = known.iter().map(|known| (strsim::jaro_winkler(tool, &known.name), &known.name));
    match names.filter(|(score, _)| *score > 0.8).max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((_, name)) => failure.hint(format!("did you mean `{name}`?")),
        None => failure.hint("`hub tools` lists what there is"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(typed: &[&str], schema: Option<&Value>) -> Result<Value, String> {
        let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
        arguments(&typed, schema).map(Value::Object).map_err(|failure| failure.message)
    }

    #[test]
    fn pairs_follow_the_schema() {
        let schema = json!({ "properties": {
            "id": { "type": "string" }, "n": { "type": "integer" }, "x": { "type": ["number", "null"] },
            "on": { "type": "boolean" }, "list": { "type": "array" }, "maybe": { "type": ["string", "null"] },
            "any": {}
        }});
        let typed = ["id=7", "n=3", "x=null", "on=true", "list=[1,2]", "maybe=null", "any=1.5", "new=a=b"];
        let read_well = json!({ "id": "7", "n": 3, "x": null, "on": true, "list": [1, 2], "maybe": "null", "any": 1.5,
            "new": "a=b" });
        assert_eq!(read(&typed, Some(&schema)), Ok(read_well));
        let wrong = read(&["n=three"], Some(&schema));
        assert_eq!(wrong, Err("`n` must be of type integer, and `three` is not".to_owned()));
    }

    #[test]
    fn without_a_schema_only_plain_json_is_not_text() {
        let read_well = json!({ "a": 1, "b": false, "c": "[1]", "d": "null", "e": "" });
        assert_eq!(read(&["a=1", "b=false", "c=[1]", "d=null", "e="], None), Ok(read_well));
        assert_eq!(read(&["{\"a\": [1]}"], None), Ok(json!({ "a": [1] })));
        assert!(read(&["{\"a\": "], None).is_err() && read(&["a"], None).is_err());
        assert_eq!(read(&[], None), Ok(json!({})));
    }

    #[test]
    fn content_is_shown_by_what_it_is() {
        assert_eq!(plain(&json!({ "type": "text", "text": "a\nb" })), "a\nb");
        let image = json!({ "type": "image", "mimeType": "image/png", "data": "x".repeat(4000) });
        assert_eq!(plain(&image), "[image image/png, 3.0 KB]");
        assert_eq!(plain(&json!({ "type": "resource", "resource": { "uri": "file:///a" } })), "[resource file:///a]");
    }
}

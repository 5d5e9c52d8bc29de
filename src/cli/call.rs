//! `hub call`: one tool, from the command line.
//!
//! In: server, tool, arguments as JSON or KEY=VALUE. Out: the texts of the answer, or all of it as JSON. Owns nothing.
//! May not: show less of an error than the server said.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::control::proto::{Call, Called, Tools};
use crate::mcp::error::MISSING_CAPABILITY;

use super::args::CallArgs;
use super::arguments::arguments;
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
    if parsed.get("code").and_then(Value::as_i64) == Some(MISSING_CAPABILITY) {
        return failure.hint("the tool has to ask its caller something; call it from a client that can ask you");
    }
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

    #[test]
    fn content_is_shown_by_what_it_is() {
        assert_eq!(plain(&json!({ "type": "text", "text": "a\nb" })), "a\nb");
        let image = json!({ "type": "image", "mimeType": "image/png", "data": "x".repeat(4000) });
        assert_eq!(plain(&image), "[image image/png, 3.0 KB]");
        assert_eq!(plain(&json!({ "type": "resource", "resource": { "uri": "file:///a" } })), "[resource file:///a]");
    }
}

//! What a peer of an older revision cannot read, made readable (PROTOCOL 1.3).
//!
//! In: outcomes and asks of a server. Out: the same bytes, unless a search finds what the reader's
//! revision does not have. Owns nothing. May not: strip what is merely newer (every SDK tolerates unknown members; an
//! unknown content type or a missing enum fails the whole message).

use bytes::Bytes;
use memchr::memmem;
use serde_json::{Value, json};

use crate::bridge::result::needs_task;
use crate::mcp::error::{INTERNAL_ERROR, URL_ELICITATION_REQUIRED};
use crate::mcp::message::elements;
use crate::mcp::splice::{Object, array};
use crate::mcp::{ErrorObject, Method, Outcome, ProtocolVersion, Raw};

/// What the reader of an outcome can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    /// Its revision.
    pub(super) version: ProtocolVersion,
    /// It can be sent to a URL.
    pub(super) opens_urls: bool,
    /// It may use tasks with this server.
    pub(super) has_tasks: bool,
}

/// Might a result of `method` need [`outcome`] at all?
pub(super) fn may_concern(version: ProtocolVersion, method: &Method) -> bool {
    match method {
        Method::ToolsList => true,
        Method::ToolsCall | Method::PromptsGet => version < ProtocolVersion::V2025_06_18,
        _ => false,
    }
}

/// Might `outcome` need [`outcome`]? Costs at most a few searches.
pub(super) fn concerns(version: ProtocolVersion, method: &Method, outcome: &Outcome) -> bool {
    let has = |raw: &Raw, needle: &str| memmem::find(raw, needle.as_bytes()).is_some();
    match (method, outcome) {
        (_, Outcome::Error(error)) => has(error, "-32042"),
        (Method::ToolsList, Outcome::Result(result)) => has(result, "taskSupport"),
        (Method::ToolsCall | Method::PromptsGet, Outcome::Result(result)) => {
            (version < ProtocolVersion::V2025_06_18
                && (has(result, "\"resource_link\"") || has(result, "\"structuredContent\"")))
                || (version < ProtocolVersion::V2025_03_26 && has(result, "\"audio\""))
        }
        _ => false,
    }
}

/// The outcome of `method` as its reader can read it.
pub(super) fn outcome(reader: Reader, method: &Method, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Error(error) => url_required(reader, method, &error).unwrap_or(Outcome::Error(error)),
        Outcome::Result(result) => Outcome::Result(
            match method {
                Method::ToolsList if !reader.has_tasks => without_task_tools(&result),
                Method::ToolsCall => call_result(reader.version, &result),
                Method::PromptsGet => prompt_result(reader.version, &result),
                _ => None,
            }
            .unwrap_or(result),
        ),
    }
}

/// `-32042` means nothing to a client that cannot open URLs: it gets the address as text (specification 2025-11-25,
/// client/elicitation#url-mode-elicitation-required-error).
fn url_required(reader: Reader, method: &Method, error: &Raw) -> Option<Outcome> {
    if reader.opens_urls {
        return None;
    }
    let error = Object::scan(error)?;
    if error.get("code")? != URL_ELICITATION_REQUIRED.to_string() {
        return None;
    }
    let list = error.get("data").and_then(|data| Object::scan(&data)?.get("elicitations"));
    let list = list.filter(|list| list.first() == Some(&b'['));
    let line = |one: Raw| {
        let one = Object::scan(&one)?;
        Some(format!("Open {}: {}", one.get_str("url")?, one.get_str("message").unwrap_or_default()))
    };
    let lines: Vec<String> = list.iter().flat_map(elements).filter_map(line).collect();
    let text = if lines.is_empty() { error.get_str("message")? } else { lines.join("\n") };
    Some(if *method == Method::ToolsCall {
        let result = json!({ "content": [{ "type": "text", "text": text }], "isError": true });
        Outcome::Result(Bytes::from(result.to_string()))
    } else {
        ErrorObject::new(INTERNAL_ERROR, text).into()
    })
}

/// A tool that runs only as a task cannot be called without tasks, so it is not shown.
fn without_task_tools(result: &Raw) -> Option<Raw> {
    let page = Object::scan(result)?;
    let tools = page.get("tools").filter(|tools| tools.first() == Some(&b'['))?;
    let kept: Vec<Raw> = elements(&tools).filter(|tool| !needs_task(tool)).collect();
    Some(page.edit(&[("tools", Some(&array(&kept)))]))
}

fn call_result(version: ProtocolVersion, result: &Raw) -> Option<Raw> {
    let object = Object::scan(result)?;
    let content = object.get("content").filter(|content| content.first() == Some(&b'['));
    let mut blocks: Vec<Raw> =
        content.iter().flat_map(elements).enumerate().map(|(index, block)| readable(version, index, block)).collect();
    if blocks.is_empty()
        && let Some(structured) = object.get("structuredContent")
    {
        blocks.push(text_block(std::str::from_utf8(&structured).ok()?));
    }
    Some(object.edit(&[("content", Some(&array(&blocks)))]))
}

fn prompt_result(version: ProtocolVersion, result: &Raw) -> Option<Raw> {
    let object = Object::scan(result)?;
    let messages = object.get("messages").filter(|messages| messages.first() == Some(&b'['))?;
    let readable = |(index, message): (usize, Raw)| {
        let Some(object) = Object::scan(&message) else { return message };
        let Some(content) = object.get("content") else { return message };
        object.edit(&[("content", Some(&readable(version, index, content)))])
    };
    let messages: Vec<Raw> = elements(&messages).enumerate().map(readable).collect();
    Some(object.edit(&[("messages", Some(&array(&messages)))]))
}

/// A content block in a type that the revision has.
fn readable(version: ProtocolVersion, index: usize, block: Raw) -> Raw {
    let Some(object) = Object::scan(&block) else { return block };
    match object.get_str("type").as_deref() {
        Some("audio") if version < ProtocolVersion::V2025_03_26 => audio_block(index, &object).unwrap_or(block),
        Some("resource_link") if version < ProtocolVersion::V2025_06_18 => {
            let uri = object.get_str("uri").unwrap_or_default();
            text_block(&format!("{}: {uri}", object.get_str("name").unwrap_or_default()))
        }
        _ => block,
    }
}

/// Sound as an embedded resource, the one type of 2024-11-05 that carries any bytes.
fn audio_block(index: usize, audio: &Object) -> Option<Raw> {
    let (mime, data) = (audio.get("mimeType")?, audio.get("data")?);
    let head = format!("{{\"type\":\"resource\",\"resource\":{{\"uri\":\"hub:audio/{index}\",\"mimeType\":");
    Some(Bytes::from([head.as_bytes(), &mime, b",\"blob\":", &data, b"}}"].concat()))
}

fn text_block(text: &str) -> Raw {
    Bytes::from(json!({ "type": "text", "text": text }).to_string())
}

/// The params of an ask as a client at `version` can read them. The error is for the child.
pub(super) fn ask(version: ProtocolVersion, method: &Method, params: Raw) -> Result<Raw, ErrorObject> {
    let concerns = *method == Method::Elicitation
        && version < ProtocolVersion::V2025_11_25
        && (memmem::find(&params, b"\"oneOf\"").is_some() || memmem::find(&params, b"\"array\"").is_some());
    if !concerns {
        return Ok(params);
    }
    let Ok(mut tree) = serde_json::from_slice::<Value>(&params) else { return Ok(params) };
    let fields = tree.pointer_mut("/requestedSchema/properties").and_then(Value::as_object_mut);
    for (name, field) in fields.into_iter().flatten() {
        if field.get("type").is_some_and(|kind| kind == "array") {
            let text = format!("the client's revision {version} has no multiple choice ({name})");
            return Err(ErrorObject::invalid_params(text));
        }
        named_enum(field);
    }
    Ok(Bytes::from(tree.to_string()))
}

/// `oneOf` with `const` and `title` (2025-11-25) as `enum` with `enumNames` (2025-06-18).
fn named_enum(field: &mut Value) -> Option<()> {
    let options = field.get("oneOf")?.as_array()?.clone();
    let values: Vec<&Value> = options.iter().map(|option| option.get("const")).collect::<Option<_>>()?;
    let names: Vec<&Value> =
        options.iter().map(|option| option.get("title").or(option.get("const"))).collect::<Option<_>>()?;
    let (values, names) = (json!(values), json!(names));
    let field = field.as_object_mut()?;
    field.shift_remove("oneOf");
    field.insert("enum".into(), values);
    field.insert("enumNames".into(), names);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProtocolVersion::{V2024_11_05 as L0, V2025_03_26 as L1, V2025_06_18 as L2, V2025_11_25 as L3};

    fn raw(text: &str) -> Raw {
        Bytes::copy_from_slice(text.as_bytes())
    }

    /// The outcome as text, and whether the search found that it needs work.
    fn seen(version: ProtocolVersion, method: &Method, before: Outcome) -> (String, bool) {
        let concerned = concerns(version, method, &before);
        let reader = Reader { version, opens_urls: version >= L3, has_tasks: version >= L3 };
        let after = if concerned { outcome(reader, method, before) } else { before };
        let (Outcome::Result(raw) | Outcome::Error(raw)) = after;
        (String::from_utf8(raw.to_vec()).expect("text"), concerned)
    }

    fn result(version: ProtocolVersion, method: &Method, text: &str) -> (String, bool) {
        seen(version, method, Outcome::Result(raw(text)))
    }

    #[test]
    fn nothing_is_touched_for_a_session_that_can_read_it() {
        let text = r#"{ "content":[{"type":"audio","data":"AA==","mimeType":"audio/wav"},{"type":"resource_link","name":"n","uri":"u"}],"structuredContent":{} }"#;
        assert_eq!(result(L3, &Method::ToolsCall, text), (text.into(), false));
        assert_eq!(result(L2, &Method::ToolsCall, text), (text.into(), false));
        let plain = r#"{"content":[{"type":"text","text":"x"}],"new":1}"#;
        assert_eq!(result(L0, &Method::ToolsCall, plain), (plain.into(), false));
    }

    #[test]
    fn content_types_of_later_revisions() {
        let text = r#"{"content":[{"type":"text","text":"a"},{"type":"audio","data":"AA==","mimeType":"audio/wav"},{"type":"resource_link","name":"n","uri":"u://x"}],"x":1}"#;
        assert_eq!(
            result(L0, &Method::ToolsCall, text).0,
            r#"{"content":[{"type":"text","text":"a"},{"type":"resource","resource":{"uri":"hub:audio/1","mimeType":"audio/wav","blob":"AA=="}},{"type":"text","text":"n: u://x"}],"x":1}"#
        );
        assert_eq!(
            result(L1, &Method::ToolsCall, text).0,
            r#"{"content":[{"type":"text","text":"a"},{"type":"audio","data":"AA==","mimeType":"audio/wav"},{"type":"text","text":"n: u://x"}],"x":1}"#
        );
        let prompt = r#"{"messages":[{"role":"user","content":{"type":"resource_link","name":"n","uri":"u"}}]}"#;
        assert_eq!(
            result(L1, &Method::PromptsGet, prompt).0,
            r#"{"messages":[{"role":"user","content":{"type":"text","text":"n: u"}}]}"#
        );
    }

    #[test]
    fn structured_content_alone_gets_a_text() {
        assert_eq!(
            result(L1, &Method::ToolsCall, r#"{"structuredContent":{"a":"\"b"},"content":[]}"#).0,
            r#"{"structuredContent":{"a":"\"b"},"content":[{"type":"text","text":"{\"a\":\"\\\"b\"}"}]}"#
        );
        let both = r#"{"structuredContent":{},"content":[{"type":"text","text":"t"}]}"#;
        assert_eq!(result(L1, &Method::ToolsCall, both).0, both);
    }

    #[test]
    fn tools_that_need_tasks_are_hidden_without_them() {
        let tools = r#"{"tools":[{"name":"a"},{"name":"b","execution":{"taskSupport":"required"}},{"name":"c","execution":{"taskSupport":"optional"}}],"nextCursor":"x"}"#;
        assert_eq!(
            result(L2, &Method::ToolsList, tools).0,
            r#"{"tools":[{"name":"a"},{"name":"c","execution":{"taskSupport":"optional"}}],"nextCursor":"x"}"#
        );
        assert_eq!(result(L3, &Method::ToolsList, tools).0, tools);
    }

    #[test]
    fn urls_to_visit_become_text() {
        let error = r#"{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url","url":"https://x/","message":"Log in","elicitationId":"1"}]}}"#;
        let of = |version, method| seen(version, method, Outcome::Error(raw(error))).0;
        assert_eq!(
            of(L2, &Method::ToolsCall),
            r#"{"content":[{"type":"text","text":"Open https://x/: Log in"}],"isError":true}"#
        );
        assert_eq!(of(L2, &Method::PromptsGet), r#"{"code":-32603,"message":"Open https://x/: Log in"}"#);
        assert_eq!(of(L3, &Method::ToolsCall), error);
        let other = r#"{"code":-32000,"message":"not -32042"}"#;
        assert_eq!(seen(L2, &Method::ToolsCall, Outcome::Error(raw(other))).0, other);
    }

    #[test]
    fn choices_of_an_elicitation() {
        let params = |field: &str| {
            raw(&format!(r#"{{"message":"m","requestedSchema":{{"type":"object","properties":{{"f":{field}}}}}}}"#))
        };
        let named =
            params(r#"{"type":"string","oneOf":[{"const":"a","title":"A"},{"const":"b","title":"B"}],"default":"a"}"#);
        assert_eq!(
            ask(L2, &Method::Elicitation, named.clone()).expect("readable"),
            params(r#"{"type":"string","default":"a","enum":["a","b"],"enumNames":["A","B"]}"#)
        );
        assert_eq!(ask(L3, &Method::Elicitation, named.clone()).expect("as it is"), named);
        let several = params(r#"{"type":"array","items":{"type":"string","enum":["a"]}}"#);
        assert_eq!(ask(L2, &Method::Elicitation, several.clone()).expect_err("refused").code, -32602);
        assert_eq!(ask(L3, &Method::Elicitation, several.clone()).expect("as it is"), several);
    }
}

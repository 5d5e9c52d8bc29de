//! What kind a result is, and a result as a client of the other era takes it (PROTOCOL 3.A.1, 3.B.1, 3.C).
//!
//! In: raw results. Out: the same with a few members more or less; the payload in them is a slice. Owns nothing. May not:
//! let anything but a complete result pass to a legacy client (it would read a question as an empty success).

use bytes::Bytes;

use crate::mcp::error::INTERNAL_ERROR;
use crate::mcp::meta::SERVER_INFO;
use crate::mcp::scan::{self, may_hold};
use crate::mcp::splice::Object;
use crate::mcp::{ErrorObject, Method, Raw};

use super::tools;
pub use super::tools::{needs_task, tools_to_legacy, tools_to_modern, tools_with_valid_headers};

/// What a modern server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultKind {
    /// The end of the call. Also what does not say: results of the legacy era do not.
    Complete,
    /// A question to the client, to be answered with the call made again.
    InputRequired,
    /// The handle of a task that runs on.
    Task,
    /// A kind that hub does not know.
    Unknown(String),
}

/// The kind of a result; what is no object says nothing of it.
pub fn kind(result: Option<&Object>) -> ResultKind {
    kind_said(result.and_then(|result| result.value(RESULT_TYPE)))
}

const RESULT_TYPE: &str = "resultType";

fn kind_said(result_type: Option<&[u8]>) -> ResultKind {
    let Some(raw) = result_type else { return ResultKind::Complete };
    match scan::unquote(raw).as_deref() {
        Some("complete") => ResultKind::Complete,
        Some("input_required") => ResultKind::InputRequired,
        Some("task") => ResultKind::Task,
        Some(other) => ResultKind::Unknown(other.to_owned()),
        None => ResultKind::Unknown(String::from_utf8_lossy(raw).into_owned()),
    }
}

/// Whether a result has the member that every modern one has.
pub fn says_its_type(result: &Object) -> bool {
    result.has(RESULT_TYPE)
}

/// What hub adds to a legacy server's result.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The server's `serverInfo` object.
    pub server_info: &'a Raw,
    /// How long a client may keep a cacheable result, in milliseconds.
    pub ttl_ms: u64,
    /// Who may share it: `private` or `public`.
    pub scope: &'static str,
}

/// Whether results of a method carry cache hints (2026-07-28, server/utilities/caching).
pub fn is_cacheable(method: &Method) -> bool {
    matches!(
        method,
        Method::Discover
            | Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::TemplatesList
            | Method::ResourcesRead
    )
}

/// A legacy server's result for a modern client, in pieces.
pub fn to_modern(method: &Method, result: &Object, stamp: &Stamp<'_>) -> Vec<Raw> {
    let meta = result.get("_meta").and_then(|meta| Object::scan(&meta));
    let meta =
        meta.map_or_else(|| fresh_meta(stamp.server_info), |meta| meta.edit(&[(SERVER_INFO, Some(stamp.server_info))]));
    let mut edits = Vec::with_capacity(5);
    edits.push((RESULT_TYPE, Some(Raw::from_static(b"\"complete\""))));
    if is_cacheable(method) {
        edits.push(("ttlMs", Some(Raw::from(stamp.ttl_ms.to_string()))));
        edits.push(("cacheScope", Some(Raw::from(format!("\"{}\"", stamp.scope)))));
    }
    edits.push(("_meta", Some(meta)));
    let raw = result.raw();
    if *method == Method::ToolsList && (may_hold(raw, "\"x-mcp-header\"") || may_hold(raw, "\"execution\"")) {
        edits.extend(tools::each(result, needs_task, tools_to_modern).map(|tools| ("tools", Some(tools))));
    }
    result.pieces(&edits)
}

fn fresh_meta(server_info: &Raw) -> Raw {
    Bytes::from([b"{\"", SERVER_INFO.as_bytes(), b"\":", server_info, b"}"].concat())
}

/// A result that says nothing that hub could add to or take from.
pub fn not_an_object() -> ErrorObject {
    ErrorObject::new(INTERNAL_ERROR, "the server's result is not an object")
}

/// A modern server's `tools/list` for a modern client: a tool with an invalid annotation of headers loses the annotation,
/// because a client would have to drop the tool.
pub fn with_valid_headers(result: Raw) -> Raw {
    if !may_hold(&result, "\"x-mcp-header\"") {
        return result;
    }
    let edited =
        |page: Object| Some(page.edit(&[("tools", Some(&tools::each(&page, |_| false, tools_with_valid_headers)?))]));
    Object::scan(&result).and_then(edited).unwrap_or(result)
}

/// A modern server's result for a legacy session, in pieces. Anything but a complete one is an error: questions are asked
/// elsewhere ([`super::rounds`]).
pub fn to_legacy(method: &Method, result: &Object) -> Result<Vec<Raw>, ErrorObject> {
    let refuse = |what: &str| Err(ErrorObject::new(INTERNAL_ERROR, format!("the server answered with {what}")));
    match kind(Some(result)) {
        ResultKind::Complete => {}
        ResultKind::InputRequired => return refuse("a question that cannot be asked here"),
        ResultKind::Task => return refuse("a task that was not asked for"),
        ResultKind::Unknown(other) => return refuse(&format!("an unknown result type `{other:.40}`")),
    }
    // Hints elsewhere mean nothing to anybody: they may stay.
    let gone: &[&str] = if is_cacheable(method) { &[RESULT_TYPE, "ttlMs", "cacheScope"] } else { &[RESULT_TYPE] };
    let mut edits: Vec<(&str, Option<Raw>)> = gone.iter().map(|key| (*key, None)).collect();
    match method {
        Method::ToolsList => {
            edits.extend(tools::each(result, |_| false, tools_to_legacy).map(|tools| ("tools", Some(tools))));
        }
        Method::ToolsCall => edits.extend(unstructured(result)),
        _ => {}
    }
    let touched = edits.iter().any(|(key, value)| value.is_some() || result.has(key));
    Ok(if touched { result.pieces(&edits) } else { vec![result.raw().clone()] })
}

/// What becomes of a structured content that is no object: legacy clients refuse it, and read the text.
fn unstructured(result: &Object) -> Vec<(&'static str, Option<Raw>)> {
    let structured = result.get("structuredContent").filter(|value| value.first() != Some(&b'{'));
    let Some(structured) = structured else { return Vec::new() };
    let has_text = result.value("content").is_some_and(|content| !is_empty_array(content));
    let text = (!has_text).then(|| ("content", Some(text_content(&structured))));
    std::iter::once(("structuredContent", None)).chain(text).collect()
}

fn is_empty_array(raw: &[u8]) -> bool {
    raw.first() == Some(&b'[') && raw.get(scan::skip_space(raw, 1)) == Some(&b']')
}

/// The `content` of a tool result that has only a structured one.
fn text_content(structured: &Raw) -> Raw {
    let text = String::from_utf8_lossy(structured);
    Bytes::from(serde_json::json!([{ "type": "text", "text": text }]).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn raw(text: &str) -> Raw {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn kinds() {
        for (text, expected) in [
            (r#"{"resultType":"complete","x":1}"#, ResultKind::Complete),
            (r#"{"x":{"resultType":"task"},"y":"\"resultType\":"}"#, ResultKind::Complete),
            ("{}", ResultKind::Complete),
            (r#" { "a":[1,{"b":2}], "result\u0054ype" : "input_required" }"#, ResultKind::InputRequired),
            (r#"{"content":[],"resultType":"task"}"#, ResultKind::Task),
            (r#"{"resultType":"new"}"#, ResultKind::Unknown("new".into())),
            (r#"{"resultType":null}"#, ResultKind::Unknown("null".into())),
            ("[]", ResultKind::Complete),
        ] {
            assert_eq!(kind(Object::scan(&raw(text)).as_ref()), expected, "{text}");
        }
    }

    fn object(text: &str) -> Object {
        Object::scan(&raw(text)).expect("an object")
    }

    const STAMPED: &str = r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}"#;

    fn modern(method: &Method, text: &str) -> Result<String, ErrorObject> {
        let info = raw(r#"{"name":"s"}"#);
        let result = Object::scan(&raw(text)).ok_or_else(not_an_object)?;
        let pieces = to_modern(method, &result, &Stamp { server_info: &info, ttl_ms: 0, scope: "private" });
        Ok(String::from_utf8(pieces.concat()).expect("text"))
    }

    #[test]
    fn what_a_modern_result_must_have_is_added() {
        let call = |text: &str| modern(&Method::ToolsCall, text).expect("an object");
        assert_eq!(call("{}"), format!(r#"{{"resultType":"complete",{STAMPED}}}"#));
        assert_eq!(call(r#"{ "content":[] }"#), format!(r#"{{"content":[],"resultType":"complete",{STAMPED}}}"#));
        assert_eq!(
            call(
                r#"{"content":[],"_meta":{"v":1,"io.modelcontextprotocol/serverInfo":{}},"resultType":"input_required"}"#
            ),
            r#"{"content":[],"_meta":{"v":1,"io.modelcontextprotocol/serverInfo":{"name":"s"}},"resultType":"complete"}"#
        );
        assert_eq!(call(r#"{"_meta":null}"#), format!(r#"{{{STAMPED},"resultType":"complete"}}"#));
        assert_eq!(
            modern(&Method::ResourcesRead, r#"{"contents":[]}"#).expect("an object"),
            format!(r#"{{"contents":[],"resultType":"complete","ttlMs":0,"cacheScope":"private",{STAMPED}}}"#)
        );
        assert_eq!(
            modern(&Method::PromptsList, r#"{"ttlMs":9,"prompts":[],"cacheScope":"public"}"#).expect("an object"),
            format!(r#"{{"ttlMs":0,"prompts":[],"cacheScope":"private","resultType":"complete",{STAMPED}}}"#)
        );
        for text in ["[]", "null", "\"x\""] {
            assert_eq!(modern(&Method::ToolsCall, text).expect_err("no object").code, INTERNAL_ERROR);
        }
    }

    #[test]
    fn tools_are_cleaned_for_a_modern_client() {
        let list = r#"{"tools":[{"name":"t","execution":{"taskSupport":"required"}},{"name":"a","execution":{}},{"name":"b","inputSchema":{"x-mcp-header":"no"}}],"nextCursor":"n"}"#;
        let seen = modern(&Method::ToolsList, list).expect("an object");
        assert!(
            seen.starts_with(r#"{"tools":[{"name":"a"},{"name":"b","inputSchema":{}}],"nextCursor":"n","#),
            "{seen}"
        );
    }

    #[test]
    fn a_modern_list_loses_only_invalid_annotations() {
        let of = |text: &str| with_valid_headers(raw(text));
        let valid =
            r#"{ "tools":[{"name":"a","inputSchema":{"properties":{"r":{"type":"string","x-mcp-header":"R"}}}}] }"#;
        assert_eq!(
            of(valid),
            r#"{"tools":[{"name":"a","inputSchema":{"properties":{"r":{"type":"string","x-mcp-header":"R"}}}}]}"#
        );
        assert_eq!(
            of(
                r#"{"resultType":"complete","tools":[{"name":"a","execution":{},"inputSchema":{"properties":{"n":{"type":"number","x-mcp-header":"N"}}}}]}"#
            ),
            r#"{"resultType":"complete","tools":[{"name":"a","execution":{},"inputSchema":{"properties":{"n":{"type":"number"}}}}]}"#
        );
        assert_eq!(of(r#"{ "tools":[] }"#), r#"{ "tools":[] }"#);
    }

    #[test]
    fn a_large_result_is_not_copied() {
        let text = raw(&format!(r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#, "x".repeat(1 << 20)));
        let info = raw("{}");
        let stamp = Stamp { server_info: &info, ttl_ms: 0, scope: "private" };
        let object = Object::scan(&text).expect("an object");
        let pieces = to_modern(&Method::ToolsCall, &object, &stamp);
        assert_eq!((pieces.len(), pieces[1].as_ptr()), (3, text[1..].as_ptr()));
        let same = to_legacy(&Method::ToolsCall, &object).expect("complete");
        assert_eq!((same.len(), same[0].as_ptr()), (1, text.as_ptr()));
    }

    fn legacy(method: &Method, text: &str) -> String {
        String::from_utf8(to_legacy(method, &object(text)).expect("complete").concat()).expect("text")
    }

    #[test]
    fn modern_members_are_taken_out_for_a_legacy_client() {
        assert_eq!(
            legacy(
                &Method::ResourcesRead,
                r#"{"resultType":"complete","ttlMs":1,"contents":[],"cacheScope":"public","_meta":{"x":1}}"#
            ),
            r#"{"contents":[],"_meta":{"x":1}}"#
        );
        let plain = r#"{ "messages":[] }"#;
        assert_eq!(legacy(&Method::PromptsGet, plain), plain);
        assert_eq!(
            legacy(&Method::ToolsList, r#"{"resultType":"complete","tools":[{"name":"a","outputSchema":{}}]}"#),
            r#"{"tools":[{"name":"a"}]}"#
        );
        for text in [r#"{"resultType":"input_required"}"#, r#"{"x":1,"resultType":"task"}"#, r#"{"resultType":"z"}"#] {
            assert_eq!(
                to_legacy(&Method::ToolsCall, &object(text)).expect_err("refused").code,
                INTERNAL_ERROR,
                "{text}"
            );
        }
    }

    #[test]
    fn structured_content_is_an_object_or_goes() {
        let call = |text: &str| legacy(&Method::ToolsCall, text);
        let fine = r#"{"content":[],"structuredContent":{"a":1}}"#;
        assert_eq!(call(fine), fine);
        assert_eq!(
            call(r#"{"resultType":"complete","content":[{"type":"text","text":"[1]"}],"structuredContent":[1]}"#),
            r#"{"content":[{"type":"text","text":"[1]"}]}"#
        );
        let added = r#"{"content":[{"type":"text","text":"[\"a\"]"}]}"#;
        assert_eq!(call(r#"{"content":[ ],"structuredContent":["a"]}"#), added);
        assert_eq!(call(r#"{"structuredContent":["a"],"resultType":"complete"}"#), added);
        assert_eq!(call(r#"{"content":[{}],"structuredContent":null}"#), r#"{"content":[{}]}"#);
    }

    /// A result with members that are looked for and others, in an order, some of them escaped and one level deeper.
    fn some_result() -> impl Strategy<Value = (Value, String)> {
        const KEYS: [&str; 8] =
            ["resultType", "ttlMs", "cacheScope", "_meta", "content", "structuredContent", "x", "\\"];
        let values = [
            json!("complete"),
            json!(null),
            json!([]),
            json!([{ "type": "text", "text": "\"resultType\":\\" }]),
            json!({ "resultType": "task", "_meta": 1, "\u{e9}\n": [] }),
            json!(-1.5),
        ];
        let member = (proptest::sample::select(&KEYS[..]), proptest::sample::select(values.to_vec()), any::<bool>());
        proptest::collection::vec(member, 0..6).prop_map(|members| {
            let (mut tree, mut text) = (serde_json::Map::new(), Vec::new());
            for (key, value, escaped) in members {
                // A kind is a kind: what is refused has its own test.
                let value = if key == "resultType" { json!("complete") } else { value };
                if tree.contains_key(key) {
                    continue;
                }
                let spelled =
                    if escaped && key != "\\" { key.replacen('t', "\\u0074", 1) } else { key.replace('\\', "\\\\") };
                text.push(format!("\"{spelled}\" : {value}"));
                tree.insert(key.to_owned(), value);
            }
            (Value::Object(tree), format!("{{ {} }}", text.join(" , ")))
        })
    }

    proptest! {
        #[test]
        fn to_modern_agrees_with_a_tree((mut tree, text) in some_result()) {
            let seen: Value = serde_json::from_str(&modern(&Method::ResourcesRead, &text).expect("an object")).expect("json");
            let members = tree.as_object_mut().expect("object");
            members.insert("resultType".into(), json!("complete"));
            members.insert("ttlMs".into(), json!(0));
            members.insert("cacheScope".into(), json!("private"));
            let meta = members.entry("_meta").or_insert(json!({}));
            if !meta.is_object() {
                *meta = json!({});
            }
            meta[SERVER_INFO] = json!({ "name": "s" });
            prop_assert_eq!(seen, tree);
        }

        #[test]
        fn to_legacy_agrees_with_a_tree((mut tree, text) in some_result()) {
            prop_assert_eq!(kind(Some(&object(&text))), ResultKind::Complete);
            let seen: Value = serde_json::from_str(&legacy(&Method::ToolsCall, &text)).expect("json");
            let members = tree.as_object_mut().expect("object");
            members.shift_remove("resultType");
            if let Some(structured) = members.get("structuredContent").filter(|value| !value.is_object()).cloned() {
                members.shift_remove("structuredContent");
                if members.get("content").is_none_or(|content| content == &json!([])) {
                    let text = structured.to_string();
                    members.insert("content".into(), json!([{ "type": "text", "text": text }]));
                }
            }
            prop_assert_eq!(seen, tree);
        }
    }
}

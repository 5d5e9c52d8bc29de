//! A server's request to a client (legacy) as an `inputRequest` (modern), and the answer back (PROTOCOL 3.A.3).
//!
//! In: the raw params of an ask, what the client declared, raw answers. Out: the same for the other side, or what is
//! missing. Owns nothing. May not: choose who is asked.

use bytes::{BufMut, Bytes, BytesMut};

use crate::mcp::error::{INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::mcp::message::elements;
use crate::mcp::meta::RELATED_TASK;
use crate::mcp::splice::Object;
use crate::mcp::{ClientCapabilities, ErrorObject, Method, Outcome, ProtocolVersion, Raw, scan};

/// A question as an element of `inputRequests`. `with_context`: the client declared `sampling.context`, so
/// `includeContext` may stay.
pub fn input_request(method: &Method, params: Option<&Raw>, with_context: bool) -> Raw {
    let mut out = BytesMut::with_capacity(params.map_or(0, Bytes::len) + 64);
    out.put_slice(b"{\"method\":");
    out.put_slice(&serde_json::to_vec(method.name()).expect("a string serialises"));
    if let Some(params) = params {
        out.put_slice(b",\"params\":");
        out.put_slice(&without_legacy_members(params, with_context || *method != Method::Sampling));
    }
    out.put_u8(b'}');
    out.freeze()
}

/// `{key:value,…}`: the `inputRequests` or the `inputResponses` of one round.
pub fn by_key<'a>(entries: impl IntoIterator<Item = (&'a str, &'a Raw)>) -> Raw {
    let mut out = BytesMut::from(&b"{"[..]);
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(&serde_json::to_vec(key).expect("a string serialises"));
        out.put_u8(b':');
        out.put_slice(value);
    }
    out.put_u8(b'}');
    out.freeze()
}

/// An `input_required` result with the params of each question as `change` makes them.
pub fn with_questions(result: &Raw, change: impl Fn(&Method, Option<Raw>) -> Option<Raw>) -> Raw {
    let edited = || {
        let result = Object::scan(result)?;
        let requests = Object::scan(&result.get("inputRequests")?)?;
        let requests: Vec<(String, Raw)> = requests
            .entries()
            .map(|(key, request)| {
                let request = Object::scan(&request)?;
                let method = Method::from_name(&request.get_str("method")?);
                let params = change(&method, request.get("params"));
                Some((key, request.edit(&[("params", params.as_deref())])))
            })
            .collect::<Option<_>>()?;
        let requests = by_key(requests.iter().map(|(key, request)| (key.as_str(), request)));
        Some(result.edit(&[("inputRequests", Some(&requests))]))
    };
    edited().unwrap_or_else(|| result.clone())
}

fn without_legacy_members(params: &Raw, with_context: bool) -> Raw {
    let Some(object) = Object::scan(params) else { return params.clone() };
    let meta = object.get("_meta").and_then(|meta| Object::scan(&meta));
    let meta = meta.map(|meta| meta.edit(&[("progressToken", None), (RELATED_TASK, None)]));
    let mut edits: Vec<(&str, Option<&[u8]>)> = vec![("task", None), ("elicitationId", None)];
    edits.push(("_meta", meta.as_deref().filter(|meta| *meta != b"{}")));
    if !with_context {
        edits.push(("includeContext", None));
    }
    object.edit(&edits)
}

/// The params of a question with an id for the visit, if it is a URL without one: a legacy client requires it, a modern
/// server does not know it.
pub fn with_elicitation_id<E>(params: Raw, mint: impl FnOnce() -> Result<String, E>) -> Result<Raw, E> {
    if !scan::may_hold(&params, "\"url\"") {
        return Ok(params);
    }
    let object = Object::scan(&params).filter(|object| {
        object.get_str("mode").is_some_and(|mode| mode == "url") && object.get("elicitationId").is_none()
    });
    let Some(object) = object else { return Ok(params) };
    let id = serde_json::to_vec(&mint()?).expect("a string serialises");
    Ok(object.edit(&[("elicitationId", Some(&id))]))
}

/// Why a client cannot be asked something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The answer to the server that asked.
    pub error: ErrorObject,
    /// The `ClientCapabilities` object that would have been needed, for a `-32021`.
    pub required: Raw,
}

/// What the client would have to declare for this question, and has not. `None`: it can be asked.
pub fn missing(method: &Method, params: Option<&Raw>, declared: ClientCapabilities) -> Option<Missing> {
    let object = params.and_then(Object::scan);
    let has = |key: &str| object.as_ref().is_some_and(|object| object.get(key).is_some());
    let feature = |required: &'static str| (METHOD_NOT_FOUND, required);
    let (code, required) = match method {
        Method::Sampling if !declared.sampling => feature(r#"{"sampling":{}}"#),
        Method::Sampling if !declared.sampling_tools && (has("tools") || has("toolChoice")) => {
            (INVALID_PARAMS, r#"{"sampling":{"tools":{}}}"#)
        }
        Method::Elicitation => {
            let by_url = object.as_ref().and_then(|object| object.get_str("mode")).is_some_and(|mode| mode == "url");
            let neither = !declared.elicitation_form && !declared.elicitation_url;
            let code = if neither { METHOD_NOT_FOUND } else { INVALID_PARAMS };
            match by_url {
                true if !declared.elicitation_url => (code, r#"{"elicitation":{"url":{}}}"#),
                false if !declared.elicitation_form => (code, r#"{"elicitation":{"form":{}}}"#),
                _ => return None,
            }
        }
        Method::RootsList if !declared.roots => feature(r#"{"roots":{}}"#),
        _ => return None,
    };
    let error = ErrorObject::new(code, format!("the client does not support {}", method.name()));
    Some(Missing { error, required: Bytes::from_static(required.as_bytes()) })
}

/// The end of a call whose server was told that the client lacks a capability: had it failed for that, the client is told
/// what it would have to declare; a server that did without it is left alone.
pub fn end_with_missing(outcome: Outcome, required: &Raw) -> Outcome {
    let failed = match &outcome {
        Outcome::Error(_) => true,
        Outcome::Result(result) => {
            scan::may_hold(result, "\"isError\"")
                && Object::scan(result).and_then(|result| result.get("isError")).is_some_and(|flag| flag == "true")
        }
    };
    if failed { ErrorObject::missing_capability(required).into() } else { outcome }
}

/// Is this an answer that the server can read? One that is not counts as none: the client is asked again.
pub fn usable_answer(method: &Method, answer: &Raw) -> bool {
    let Some(object) = Object::scan(answer) else { return false };
    let has = |key: &str, first: &[u8]| object.get(key).is_some_and(|value| first.contains(&value[0]));
    match method {
        Method::Elicitation => {
            object.get_str("action").is_some_and(|action| matches!(action.as_str(), "accept" | "decline" | "cancel"))
        }
        Method::Sampling => has("role", b"\"") && has("content", b"{[") && has("model", b"\""),
        Method::RootsList => has("roots", b"["),
        _ => true,
    }
}

/// A client's answer as a child of revision `child` can read it: before 2025-11-25 a sampled message has one content
/// block, not a list.
pub fn answer_to_child(child: Option<&str>, method: &Method, outcome: Outcome) -> Outcome {
    let old = child.is_some_and(|version| version < ProtocolVersion::V2025_11_25.as_str());
    match outcome {
        Outcome::Result(result) if old && *method == Method::Sampling => {
            Outcome::Result(one_block(&result).unwrap_or(result))
        }
        other => other,
    }
}

fn one_block(result: &Raw) -> Option<Raw> {
    let object = Object::scan(result)?;
    let content = object.get("content").filter(|content| content.first() == Some(&b'['))?;
    let blocks: Vec<Raw> = elements(&content).collect();
    let is_text = |block: &&Raw| Object::scan(block).and_then(|b| b.get_str("type")).is_some_and(|kind| kind == "text");
    let block = if let [only] = &blocks[..] { only } else { blocks.iter().find(is_text)? };
    Some(object.edit(&[("content", Some(block))]))
}

/// The answer to a question that nobody will answer any more: a person may always cancel a dialog, the rest fails.
pub fn nobody_answers(method: &Method, why: &str) -> Outcome {
    match method {
        Method::Elicitation => Outcome::Result(Bytes::from_static(b"{\"action\":\"cancel\"}")),
        _ => ErrorObject::new(crate::mcp::error::INTERNAL_ERROR, why).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn questions_lose_what_only_the_legacy_era_has() {
        let of = |method: Method, params: &str| input_request(&method, Some(&raw(params)), false);
        assert_eq!(input_request(&Method::RootsList, None, false), r#"{"method":"roots/list"}"#);
        assert_eq!(
            of(
                Method::Elicitation,
                r#"{"mode":"url","elicitationId":"e","url":"https://x/","message":"m","task":{"ttl":1}}"#
            ),
            r#"{"method":"elicitation/create","params":{"mode":"url","url":"https://x/","message":"m"}}"#
        );
        assert_eq!(
            of(
                Method::Elicitation,
                r#"{"_meta":{"progressToken":1,"io.modelcontextprotocol/related-task":{"taskId":"t"}},"message":"m", "requestedSchema":{"type":"object"}}"#
            ),
            r#"{"method":"elicitation/create","params":{"message":"m", "requestedSchema":{"type":"object"}}}"#
        );
        let sampling = r#"{"_meta":{"v":1,"progressToken":"p"},"messages":[],"includeContext":"thisServer"}"#;
        assert_eq!(
            of(Method::Sampling, sampling),
            r#"{"method":"sampling/createMessage","params":{"_meta":{"v":1},"messages":[]}}"#
        );
        assert_eq!(
            input_request(&Method::Sampling, Some(&raw(sampling)), true),
            r#"{"method":"sampling/createMessage","params":{"_meta":{"v":1},"messages":[],"includeContext":"thisServer"}}"#
        );
    }

    #[test]
    fn a_url_gets_the_id_that_a_legacy_client_expects() {
        let of = |text: &str| with_elicitation_id(raw(text), || Ok::<_, ()>("e1".into())).expect("minted");
        assert_eq!(of(r#"{"mode":"url","url":"u"}"#), r#"{"mode":"url","url":"u","elicitationId":"e1"}"#);
        for same in [r#"{"mode":"url","url":"u","elicitationId":"own"}"#, r#"{"mode":"form","x":"url"}"#, "{}"] {
            assert_eq!(of(same), same);
        }
        assert_eq!(with_elicitation_id(raw(r#"{"mode":"url"}"#), || Err(7)), Err(7));
    }

    #[test]
    fn requests_and_responses_stand_by_key() {
        let requests = by_key([("i1", &raw(r#"{"method":"roots/list"}"#)), ("i\"2", &raw("{}"))]);
        assert_eq!(requests, r#"{"i1":{"method":"roots/list"},"i\"2":{}}"#);
        assert_eq!(by_key([]), "{}");
    }

    #[test]
    fn questions_can_be_reworded() {
        let louder = |method: &Method, params: Option<Raw>| match method {
            Method::Elicitation => Some(raw(r#"{"message":"WHO"}"#)),
            _ => params,
        };
        let text = r#"{"requestState":"s","inputRequests":{"q\"":{"method":"elicitation/create","params":{"message":"who"}},"r":{"method":"roots/list"}},"x":1}"#;
        assert_eq!(
            with_questions(&raw(text), louder),
            r#"{"requestState":"s","inputRequests":{"q\"":{"method":"elicitation/create","params":{"message":"WHO"}},"r":{"method":"roots/list"}},"x":1}"#
        );
        for odd in ["[]", r#"{"inputRequests":7}"#, r#"{"inputRequests":{"a":1}}"#] {
            assert_eq!(with_questions(&raw(odd), louder), odd);
        }
    }

    #[test]
    fn what_a_client_would_have_to_declare() {
        let of = |method: Method, params: &str, declared: &str| {
            missing(&method, Some(&raw(params)), ClientCapabilities::parse(&raw(declared)))
                .map(|missing| (missing.error.code, String::from_utf8(missing.required.to_vec()).expect("text")))
        };
        let needs = |code: i64, required: &str| Some((code, required.to_owned()));
        assert_eq!(of(Method::Sampling, "{}", "{}"), needs(-32601, r#"{"sampling":{}}"#));
        assert_eq!(of(Method::Sampling, "{}", r#"{"sampling":{}}"#), None);
        let tools = r#"{"sampling":{"tools":{}}}"#;
        assert_eq!(of(Method::Sampling, r#"{"tools":[]}"#, r#"{"sampling":{}}"#), needs(-32602, tools));
        assert_eq!(of(Method::Sampling, r#"{"toolChoice":{}}"#, tools), None);
        let (form, url) = (r#"{"elicitation":{"form":{}}}"#, r#"{"elicitation":{"url":{}}}"#);
        assert_eq!(of(Method::Elicitation, "{}", "{}"), needs(-32601, form));
        assert_eq!(of(Method::Elicitation, "{}", url), needs(-32602, form));
        assert_eq!(of(Method::Elicitation, r#"{"mode":"url"}"#, r#"{"elicitation":{}}"#), needs(-32602, url));
        assert_eq!(of(Method::Elicitation, r#"{"mode":"form"}"#, r#"{"elicitation":{}}"#), None);
        assert_eq!(of(Method::Elicitation, r#"{"mode":"url"}"#, url), None);
        assert_eq!(of(Method::RootsList, "{}", "{}"), needs(-32601, r#"{"roots":{}}"#));
        assert_eq!(of(Method::RootsList, "{}", r#"{"roots":{}}"#), None);
    }

    #[test]
    fn only_a_failure_is_put_down_to_what_is_missing() {
        let required = raw(r#"{"roots":{}}"#);
        let end = |outcome: Outcome| end_with_missing(outcome, &required);
        let told = Outcome::from(ErrorObject::missing_capability(&required));
        assert_eq!(end(Outcome::Error(raw(r#"{"code":1,"message":""}"#))), told);
        assert_eq!(end(Outcome::Result(raw(r#"{"content":[],"isError":true}"#))), told);
        for fine in [r#"{"content":[],"isError":false}"#, r#"{"content":[{"isError":true}]}"#, "{}"] {
            assert_eq!(end(Outcome::Result(raw(fine))), Outcome::Result(raw(fine)), "{fine}");
        }
    }

    #[test]
    fn answers_that_a_server_can_read() {
        for (method, answer, usable) in [
            (Method::Elicitation, r#"{"action":"accept","content":{}}"#, true),
            (Method::Elicitation, r#"{"action":"decline"}"#, true),
            (Method::Elicitation, r#"{"action":"yes"}"#, false),
            (Method::Elicitation, r#"{"content":{}}"#, false),
            (Method::Elicitation, "12345", false),
            (Method::Elicitation, "null", false),
            (Method::Sampling, r#"{"role":"assistant","content":{},"model":"m"}"#, true),
            (Method::Sampling, r#"{"role":"assistant","content":[],"model":"m"}"#, true),
            (Method::Sampling, r#"{"role":"assistant","content":{}}"#, false),
            (Method::Sampling, r#"{"role":"assistant","content":"x","model":"m"}"#, false),
            (Method::RootsList, r#"{"roots":[]}"#, true),
            (Method::RootsList, r#"{"roots":{}}"#, false),
        ] {
            assert_eq!(usable_answer(&method, &raw(answer)), usable, "{answer}");
        }
    }

    #[test]
    fn sampled_content_for_an_older_child() {
        let of = |child: &str, content: &str| {
            let text = raw(&format!(r#"{{"role":"assistant","content":{content},"model":"m"}}"#));
            let Outcome::Result(raw) = answer_to_child(Some(child), &Method::Sampling, Outcome::Result(text)) else {
                panic!("a result")
            };
            Object::scan(&raw).expect("object").get("content").expect("content")
        };
        let list = r#"[{"type":"tool_use"},{"type":"text","text":"t"}]"#;
        assert_eq!(of("2025-06-18", list), r#"{"type":"text","text":"t"}"#);
        assert_eq!(of("2025-06-18", r#"[{"type":"image"}]"#), r#"{"type":"image"}"#);
        assert_eq!(of("2025-11-25", list), list);
        assert_eq!(of("2025-06-18", r#"{"type":"text"}"#), r#"{"type":"text"}"#);
    }

    #[test]
    fn a_dialog_is_cancelled_and_the_rest_fails() {
        assert_eq!(nobody_answers(&Method::Elicitation, "gone"), Outcome::Result(raw(r#"{"action":"cancel"}"#)));
        let failed = Outcome::Error(raw(r#"{"code":-32603,"message":"gone"}"#));
        assert_eq!(nobody_answers(&Method::Sampling, "gone"), failed);
    }
}

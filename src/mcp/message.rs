//! A message from one pass over its bytes: the envelope is read, the payload stays a slice.
//!
//! In: a body or a line. Out: [`Message`], or why it is none; fresh envelopes for either direction. Owns nothing.
//! May not: forward a received envelope (unknown top-level members break strict SDKs, PROTOCOL 0.2.2), or look into
//! `params` and `result`.

use std::fmt::Write;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits::JSON_DEPTH_MAX;

use super::error::ErrorObject;
use super::scan::{self, NotJson};
use super::splice::{Object, Scanned};
use super::{Line, Method, Raw, RequestId, WireId};

/// One JSON-RPC message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notification(Notification),
    /// Is one.
    Response(Response),
}

/// A request and the slices of it that hub needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The sender's id, verbatim.
    pub id: RequestId,
    /// What it wants.
    pub method: Method,
    /// The `params` object, if there is one.
    pub params: Option<Raw>,
    /// The same with its members, which were found in the same pass.
    pub scanned: Option<Scanned>,
}

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// What it says.
    pub method: Method,
    /// The `params` object, if there is one.
    pub params: Option<Raw>,
    /// The same with its members, which were found in the same pass.
    pub scanned: Option<Scanned>,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The id it answers; `None` when it answers an unreadable request.
    pub id: Option<RequestId>,
    /// Success or failure.
    pub outcome: Outcome,
    /// The result with its members, which were found in the same pass, if it is an object.
    pub object: Option<Object>,
}

/// How a request ended: raw `result` or raw `error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The `result` value.
    Result(Raw),
    /// The `error` object.
    Error(Raw),
}

impl From<ErrorObject> for Outcome {
    fn from(error: ErrorObject) -> Self {
        Self::Error(error.to_raw())
    }
}

impl Outcome {
    /// The empty result `{}`.
    pub fn empty() -> Self {
        Self::Result(Bytes::from_static(b"{}"))
    }
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAMessage {
    /// Not UTF-8: `-32700`.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// Not JSON: `-32700`.
    #[error(transparent)]
    NotJson(#[from] NotJson),
    /// JSON, but not a JSON-RPC 2.0 message: `-32600`. Carries the id, if that could be read, so that the answer can.
    #[error("{why}")]
    NotJsonRpc {
        /// What is wrong with it.
        why: &'static str,
        /// The id of the request, when it is readable.
        id: Option<RequestId>,
    },
    /// As [`Self::NotJsonRpc`], but it can only be meant as the answer to a request of that id: it has no method.
    #[error("{why}")]
    BadResponse {
        /// What is wrong with it.
        why: &'static str,
        /// The id of the request that gets no better answer.
        id: RequestId,
    },
}

impl NotAMessage {
    /// The error that a client gets.
    pub fn to_error(&self) -> ErrorObject {
        match self {
            Self::NotUtf8 | Self::NotJson(_) => ErrorObject::parse_error(format!("Parse error: {self}")),
            Self::NotJsonRpc { why, .. } | Self::BadResponse { why, .. } => {
                ErrorObject::invalid_request(format!("Invalid request: {why}"))
            }
        }
    }

    /// The id to answer with, if any (2025-11-25, basic/index#error-responses: else the answer has no id).
    pub fn id(&self) -> Option<&RequestId> {
        match self {
            Self::NotJsonRpc { id, .. } => id.as_ref(),
            Self::BadResponse { id, .. } => Some(id),
            Self::NotUtf8 | Self::NotJson(_) => None,
        }
    }
}

/// A body: one message, or the elements of a batch (2025-03-26 only), each parsed on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Not an array.
    One(Message),
    /// A JSON array.
    Batch(Vec<Result<Message, NotAMessage>>),
}

/// Parses one message. Duplicate envelope keys are an error: two parsers that disagree on which one wins is request
/// smuggling (PROTOCOL 0.2.1).
pub fn parse(bytes: &Bytes) -> Result<Message, NotAMessage> {
    match parse_body(bytes)? {
        Body::One(message) => Ok(message),
        Body::Batch(_) => Err(NotAMessage::NotJsonRpc { why: "a batch is not accepted here", id: None }),
    }
}

/// Parses a body that may be a batch.
pub fn parse_body(bytes: &Bytes) -> Result<Body, NotAMessage> {
    if !scan::is_utf8(bytes) {
        return Err(NotAMessage::NotUtf8);
    }
    let start = scan::skip_space(bytes, 0);
    if bytes.get(start) == Some(&b'[') {
        let range = scan::text(bytes)?;
        return Ok(Body::Batch(elements(&bytes.slice(range)).map(|element| envelope(&element, 0)).collect()));
    }
    envelope(bytes, start).map(Body::One)
}

/// The elements of a valid JSON array.
pub fn elements(array: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let mut at = scan::skip_space(array, 1);
    std::iter::from_fn(move || {
        if matches!(array.get(at), None | Some(b']')) {
            return None;
        }
        let end = scan::value_end(array, at).ok()?;
        let element = array.slice(at..end);
        at = scan::skip_space(array, end);
        if array.get(at) == Some(&b',') {
            at = scan::skip_space(array, at + 1);
        }
        Some(element)
    })
}

/// The envelope's known members: where their values are.
#[derive(Default)]
struct Found {
    jsonrpc: Option<Range<usize>>,
    id: Option<Range<usize>>,
    method: Option<Range<usize>>,
    params: Option<Range<usize>>,
    result: Option<Range<usize>>,
    error: Option<Range<usize>>,
    /// What is in `params`, and in `result`, if they are objects.
    scanned: Option<Scanned>,
    object: Option<Object>,
}

impl Found {
    /// The slot for a key; `None` for keys hub does not know.
    fn slot(&mut self, key: &[u8]) -> Option<&mut Option<Range<usize>>> {
        Some(match key {
            b"\"jsonrpc\"" => &mut self.jsonrpc,
            b"\"id\"" => &mut self.id,
            b"\"method\"" => &mut self.method,
            b"\"params\"" => &mut self.params,
            b"\"result\"" => &mut self.result,
            b"\"error\"" => &mut self.error,
            escaped if escaped.contains(&b'\\') => {
                let plain = scan::unquote(escaped)?;
                return (!plain.contains(['"', '\\'])).then(|| self.slot(format!("\"{plain}\"").as_bytes()))?;
            }
            _ => return None,
        })
    }

    fn id(&self, bytes: &Bytes) -> Option<RequestId> {
        RequestId::from_raw(bytes.slice(self.id.clone()?))
    }

    /// Why this is no message; `id` is the request's, if it is one, and `answers` the one that it answers, if it does.
    fn refuse(&self, why: &'static str, id: Option<RequestId>, answers: Option<RequestId>) -> NotAMessage {
        // A log line with an `id` must not end a call: only what calls itself JSON-RPC is taken for a bad response.
        match answers.filter(|_| self.jsonrpc.is_some() && self.method.is_none()) {
            Some(id) => NotAMessage::BadResponse { why, id },
            None => NotAMessage::NotJsonRpc { why, id },
        }
    }
}

/// See [`JSON_DEPTH_MAX`].
const TOO_DEEP: &str = "nested more than 200 levels deep";

fn envelope(bytes: &Bytes, start: usize) -> Result<Message, NotAMessage> {
    let Some(mut members) = scan::members(bytes, start) else {
        let end = scan::value_end(bytes, start)?;
        only_space_after(bytes, end)?;
        return Err(NotAMessage::NotJsonRpc { why: "a message is a JSON object", id: None });
    };
    let mut found = Found::default();
    let (mut duplicate, mut duplicate_id) = (false, false);
    let mut deepest = 0;
    loop {
        let mut inside = None;
        let member = members.step(|_, key, at| {
            // One pass for both: a large payload is not walked again to find what hub reads of it.
            if matches!(&bytes[key.clone()], b"\"params\"" | b"\"result\"")
                && let Some((scanned, walked)) = Scanned::walk(bytes, at)?
            {
                inside = Some(scanned);
                deepest = deepest.max(walked.depth);
                return Ok(walked.end);
            }
            let walked = scan::walk(bytes, at)?;
            deepest = deepest.max(walked.depth);
            Ok(walked.end)
        })?;
        let Some(member) = member else { break };
        if let Some(slot) = found.slot(&bytes[member.key.clone()])
            && slot.replace(member.value).is_some()
        {
            duplicate = true;
            duplicate_id |= scan::key_is(&bytes[member.key.clone()], "id");
        }
        match inside {
            Some(inside) if &bytes[member.key.clone()] == b"\"params\"" => found.scanned = Some(inside),
            Some(inside) => found.object = Some(inside.object),
            None => {}
        }
    }
    only_space_after(bytes, members.end())?;
    if deepest >= JSON_DEPTH_MAX {
        let id = found.id(bytes).filter(|_| !duplicate_id);
        return Err(found.refuse(TOO_DEEP, id.clone(), id));
    }
    if duplicate {
        let id = found.id(bytes).filter(|_| !duplicate_id);
        return Err(found.refuse("duplicate member in the envelope", None, id));
    }
    classify(bytes, found)
}

fn only_space_after(bytes: &[u8], end: usize) -> Result<(), NotJson> {
    let rest = scan::skip_space(bytes, end);
    if rest == bytes.len() { Ok(()) } else { Err(NotJson { at: rest, what: "end of input" }) }
}

fn classify(bytes: &Bytes, found: Found) -> Result<Message, NotAMessage> {
    let id = found.id(bytes);
    let is_ours = found.jsonrpc.clone().is_some_and(|version| scan::key_is(&bytes[version], "2.0"));
    if !is_ours {
        return Err(found.refuse("`jsonrpc` must be \"2.0\"", id.clone(), id));
    }
    let Some(method) = found.method.clone() else { return response(bytes, found, id) };
    let bad = |why: &'static str, id: Option<RequestId>| Err(NotAMessage::NotJsonRpc { why, id });
    if found.result.is_some() || found.error.is_some() {
        return bad("both a method and a result", id);
    }
    let Some(name) = scan::unquote(&bytes[method]) else { return bad("`method` must be a string", id) };
    let method = Method::from_name(&name);
    let params = found.params.map(|params| bytes.slice(params));
    if params.as_ref().is_some_and(|params| params[0] != b'{') {
        return bad("`params` must be an object", id);
    }
    match (found.id.is_some(), id) {
        (true, Some(id)) => Ok(Message::Request(Request { id, method, scanned: found.scanned, params })),
        (true, None) => bad("`id` must be a string or an integer", None),
        (false, _) => Ok(Message::Notification(Notification { method, scanned: found.scanned, params })),
    }
}

fn response(bytes: &Bytes, found: Found, id: Option<RequestId>) -> Result<Message, NotAMessage> {
    let bad = |why: &'static str| match id.clone() {
        Some(id) => Err(NotAMessage::BadResponse { why, id }),
        None => Err(NotAMessage::NotJsonRpc { why, id: None }),
    };
    let raw = |range: Option<Range<usize>>| range.map(|range| bytes.slice(range));
    let outcome = match (raw(found.result), raw(found.error)) {
        (Some(result), None) => Outcome::Result(result),
        // Some servers write `"error":null` beside a result.
        (Some(result), Some(error)) if &error[..] == b"null" => Outcome::Result(result),
        // And some write `"result":null` beside an error.
        (Some(result), Some(error)) if &result[..] == b"null" && error.first() == Some(&b'{') => Outcome::Error(error),
        (None, Some(error)) if error.first() == Some(&b'{') => Outcome::Error(error),
        (None, Some(_)) => return bad("`error` must be an object"),
        (Some(_), Some(_)) => return bad("both a result and an error"),
        (None, None) => return bad("neither method, result nor error"),
    };
    if found.id.is_some() && id.is_none() && matches!(outcome, Outcome::Result(_)) {
        return bad("`id` must be a string or an integer");
    }
    // Under an escaped key it was not noticed on the way.
    let object = found.object.or_else(|| match &outcome {
        Outcome::Result(result) => Object::scan(result),
        Outcome::Error(_) => None,
    });
    Ok(Message::Response(Response { id, outcome, object }))
}

/// Room for what stands around the params of a line.
const AROUND_BYTES: usize = 128;

/// A line for a child: a request under hub's own id. `params` is given in pieces (none: no params), so that a token can
/// be replaced without copying what stands around it.
pub fn request_line(id: WireId, method: &Method, params: &[Raw]) -> Line {
    let mut head = line_head(params);
    head.put_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    write!(head, "{id}").expect("a buffer takes every write");
    head.put_slice(b",\"method\":");
    put_json_string(&mut head, method.name());
    with_params(head, params)
}

/// A line for a child: a notification.
pub fn notification_line(method: &Method, params: Option<Raw>) -> Line {
    let mut head = line_head(params.as_slice());
    head.put_slice(b"{\"jsonrpc\":\"2.0\",\"method\":");
    put_json_string(&mut head, method.name());
    with_params(head, params.as_slice())
}

/// A line for a child: the answer to one of its own requests, under the child's id bytes.
pub fn response_line(id: &RequestId, outcome: &Outcome) -> Line {
    Line::new(response_pieces(id, outcome))
}

/// A buffer for a line with these params, if they are small enough to be copied.
fn line_head(params: &[Raw]) -> BytesMut {
    let small: usize = params.iter().map(Bytes::len).filter(|length| *length < WHOLE_BELOW).sum();
    BytesMut::with_capacity(AROUND_BYTES + small)
}

fn with_params(mut head: BytesMut, params: &[Raw]) -> Line {
    if params.is_empty() {
        head.put_slice(b"}");
        return Line::with_head(head, []);
    }
    head.put_slice(b",\"params\":");
    Line::with_head(head, params.iter().cloned().chain([Bytes::from_static(b"}")]))
}

/// Smaller responses are one buffer: one small copy is cheaper than three slices.
const WHOLE_BELOW: usize = 4 << 10;

/// The pieces of a response to a client; large payloads stay slices.
pub fn response_pieces(id: &RequestId, outcome: &Outcome) -> [Bytes; 3] {
    match outcome {
        Outcome::Result(result) => payload_pieces(id, b",\"result\":", std::slice::from_ref(result)),
        Outcome::Error(error) => payload_pieces(id, b",\"error\":", std::slice::from_ref(error)),
    }
}

/// The pieces of a response whose result is in pieces: of a large one the largest stays a slice, the others are copied.
pub fn result_pieces(id: &RequestId, result: &[Raw]) -> [Bytes; 3] {
    payload_pieces(id, b",\"result\":", result)
}

fn payload_pieces(id: &RequestId, key: &[u8], payload: &[Raw]) -> [Bytes; 3] {
    let all: usize = payload.iter().map(Bytes::len).sum();
    let is_small = all < WHOLE_BELOW;
    let largest = (0..payload.len()).max_by_key(|&index| payload[index].len()).unwrap_or(0);
    let slice = payload.get(largest).filter(|_| !is_small);
    let copied = all - slice.map_or(0, Bytes::len);
    let mut head = BytesMut::with_capacity(48 + id.raw().len() + copied);
    head.put_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    head.put_slice(id.raw());
    head.put_slice(key);
    let Some(slice) = slice else {
        payload.iter().for_each(|piece| head.put_slice(piece));
        head.put_slice(b"}");
        return [head.freeze(), Bytes::new(), Bytes::new()];
    };
    payload.iter().take(largest).for_each(|piece| head.put_slice(piece));
    let behind = head.len();
    payload.iter().skip(largest + 1).for_each(|piece| head.put_slice(piece));
    head.put_slice(b"}");
    let tail = head.split_off(behind);
    [head.freeze(), slice.clone(), tail.freeze()]
}

/// A request to a client, as one buffer.
pub fn request_bytes(id: &RequestId, method: &Method, params: Option<&Raw>) -> Bytes {
    let mut out = BytesMut::with_capacity(64 + params.map_or(0, Bytes::len));
    out.put_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.put_slice(id.raw());
    out.put_slice(b",\"method\":");
    put_json_string(&mut out, method.name());
    put_params(out, params)
}

/// A notification to a client, as one buffer.
pub fn notification_bytes(method: &Method, params: Option<&Raw>) -> Bytes {
    let mut out = BytesMut::with_capacity(64 + params.map_or(0, Bytes::len));
    out.put_slice(b"{\"jsonrpc\":\"2.0\",\"method\":");
    put_json_string(&mut out, method.name());
    put_params(out, params)
}

fn put_params(mut out: BytesMut, params: Option<&Raw>) -> Bytes {
    if let Some(params) = params {
        out.put_slice(b",\"params\":");
        out.put_slice(params);
    }
    out.put_slice(b"}");
    out.freeze()
}

/// An error response as one buffer; without an id when the request's could not be read.
pub fn error_bytes(id: Option<&RequestId>, error: &ErrorObject) -> Bytes {
    let mut out = BytesMut::from(&b"{\"jsonrpc\":\"2.0\""[..]);
    if let Some(id) = id {
        out.put_slice(b",\"id\":");
        out.put_slice(id.raw());
    }
    out.put_slice(b",\"error\":");
    out.put_slice(&error.to_raw());
    out.put_slice(b"}");
    out.freeze()
}

fn put_json_string(out: &mut BytesMut, text: &str) {
    if text.bytes().all(|b| matches!(b, b' '..=b'~' if b != b'"' && b != b'\\')) {
        out.put_u8(b'"');
        out.put_slice(text.as_bytes());
        out.put_u8(b'"');
    } else {
        out.put_slice(&serde_json::to_vec(text).expect("a string serialises"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<Message, NotAMessage> {
        parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn the_three_kinds() {
        let request = parse_text(r#" {"id":"a","params":{"x":[1]},"jsonrpc":"2.0","method":"tools/call","vendor":1} "#)
            .expect("request");
        let Message::Request(request) = request else { panic!("{request:?}") };
        assert_eq!(
            (request.id.raw().as_ref(), request.method, request.params.expect("params").as_ref()),
            (&br#""a""#[..], Method::ToolsCall, &br#"{"x":[1]}"#[..])
        );
        assert!(
            matches!(parse_text(r#"{"jsonrpc":"2.0","method":"x/y"}"#), Ok(Message::Notification(n)) if n.method.name() == "x/y")
        );
        assert!(matches!(parse_text(r#"{"jsonrpc":"2.0","id":0,"result":{},"error":null}"#), Ok(Message::Response(_))));
        assert!(matches!(
            parse_text(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#),
            Ok(Message::Response(Response { id: None, .. }))
        ));
    }

    #[test]
    fn refusals_have_the_right_code() {
        for (text, code) in [
            ("", -32700),
            ("{", -32700),
            ("{}x", -32700),
            ("7", -32600),
            ("{}", -32600),
            (r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"a"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","m\u0065thod":"b"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        ] {
            assert_eq!(parse_text(text).expect_err(text).to_error().code, code, "{text}");
        }
        assert_eq!(parse(&Bytes::from_static(b"{\"a\":\"\xff\"}")).expect_err("utf8").to_error().code, -32700);
        let known = parse_text(r#"{"jsonrpc":"2.0","id":7,"method":"a","params":3}"#).expect_err("params");
        assert_eq!(known.id().expect("id").raw(), "7");
    }

    #[test]
    fn a_bad_response_is_told_from_other_text() {
        for text in [
            r#"{"jsonrpc":"2.0","id":7,"error":"text"}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":null}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{},"error":{"code":1,"message":""}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{},"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":7}"#,
            r#"{"jsonrpc":2.0,"id":7,"result":{}}"#,
        ] {
            let error = parse_text(text).expect_err(text);
            assert!(matches!(&error, NotAMessage::BadResponse { id, .. } if id.raw() == "7"), "{text}: {error:?}");
            assert_eq!(error.to_error().code, -32600);
        }
        for text in [
            r#"{"id":7,"error":"a line of a log"}"#,
            r#"{"jsonrpc":"2.0","id":7,"id":8,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"a","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":7.5,"error":"text"}"#,
            r#"{"jsonrpc":"2.0","error":"text"}"#,
        ] {
            let error = parse_text(text).expect_err(text);
            assert!(matches!(error, NotAMessage::NotJsonRpc { .. }), "{text}: {error:?}");
        }
    }

    #[test]
    fn one_level_too_many_is_refused_under_its_id() {
        assert!(TOO_DEEP.contains(&format!(" {JSON_DEPTH_MAX} ")));
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let request = |levels: usize, mark: &str| {
            let (inside, after) = (deep(levels - 3), r#""id":"x","method":"tools/call""#);
            format!(r#"{mark}{{"jsonrpc":"2.0","params":{{"arguments":{{"v":{inside}}}}},{after}}}"#)
        };
        assert!(parse_text(&request(JSON_DEPTH_MAX, "")).is_ok());
        for levels in [JSON_DEPTH_MAX + 1, 100_000] {
            let error = parse_text(&request(levels, " ")).expect_err("too deep");
            assert_eq!((error.to_error().code, error.id().expect("id").raw().as_ref()), (-32600, &br#""x""#[..]));
            assert_eq!(error.to_error().message, format!("Invalid request: {TOO_DEEP}"));
        }
        let response = |levels: usize| format!(r#"{{"result":{},"jsonrpc":"2.0","id":7}}"#, deep(levels - 1));
        assert!(parse_text(&response(JSON_DEPTH_MAX)).is_ok());
        let error = parse_text(&response(JSON_DEPTH_MAX + 1)).expect_err("too deep");
        assert!(matches!(&error, NotAMessage::BadResponse { id, .. } if id.raw() == "7"), "{error:?}");
        let unknown = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"a","vendor":{}}}"#, deep(JSON_DEPTH_MAX));
        assert_eq!(parse_text(&unknown).expect_err("too deep").id().expect("id").raw(), "7");
        let batch = Bytes::from(format!("[{},{}]", response(9), response(JSON_DEPTH_MAX + 1)));
        let Ok(Body::Batch(items)) = parse_body(&batch) else { panic!("batch") };
        assert!(matches!(items[..], [Ok(_), Err(NotAMessage::BadResponse { .. })]));
        let open = request(100_000, "").replacen(']', "", 1);
        assert_eq!(parse_text(&open).expect_err("broken").to_error().code, -32700, "what is no JSON is told so");
    }

    #[test]
    fn batches_are_parsed_one_by_one() {
        let body = Bytes::from_static(br#"[{"jsonrpc":"2.0","id":1,"method":"a"}, 3 ,{"jsonrpc":"2.0","method":"b"}]"#);
        let Ok(Body::Batch(items)) = parse_body(&body) else { panic!("batch") };
        assert!(matches!(items[..], [Ok(Message::Request(_)), Err(_), Ok(Message::Notification(_))]));
        assert_eq!(parse_body(&Bytes::from_static(b" [ ] ")), Ok(Body::Batch(vec![])));
    }

    #[test]
    fn envelopes_out() {
        let params = Bytes::from_static(b"{\n\"a\":1}");
        assert_eq!(
            request_line(WireId(7), &Method::ToolsCall, &[params]).to_bytes(),
            &b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{ \"a\":1}}\n"[..]
        );
        let odd = Method::from_name("a\"\u{e9}");
        assert_eq!(
            notification_line(&odd, None).to_bytes(),
            "{\"jsonrpc\":\"2.0\",\"method\":\"a\\\"\u{e9}\"}\n".as_bytes()
        );
        assert_eq!(
            error_bytes(None, &ErrorObject::new(-1, "x")),
            &br#"{"jsonrpc":"2.0","error":{"code":-1,"message":"x"}}"#[..]
        );
    }
}

//! Fuzz target: what hub takes for a message, held against `serde_json`.
//!
//! In: any bytes. Out: a panic where the two differ, where an envelope that hub writes does not say what was read, or
//! where an edit changes more than it should. Owns nothing. May not: use hub's scanner to judge hub's scanner.
#![no_main]

use bytes::Bytes;
use hub::limits::JSON_DEPTH_MAX;
use hub::mcp::message::{self, Body, NotAMessage};
use hub::mcp::splice::{self, Object};
use hub::mcp::{Line, Message, Outcome, RequestId, WireId};
use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let parsed = message::parse_body(&body);
    let Ok(text) = std::str::from_utf8(data) else {
        assert_eq!(parsed, Err(NotAMessage::NotUtf8));
        return;
    };
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    assert_eq!(is_json, !matches!(parsed, Err(NotAMessage::NotJson(_) | NotAMessage::NotUtf8)), "{text}");
    match &parsed {
        Ok(Body::Batch(elements)) => {
            let raws: Vec<&RawValue> = serde_json::from_str(text).expect("an array");
            assert_eq!(raws.len(), elements.len());
            for (raw, element) in raws.iter().zip(elements) {
                same_as_reference(raw.get(), element);
            }
        }
        Ok(Body::One(message)) => same_as_reference(text, &Ok(message.clone())),
        Err(error) if is_json => same_as_reference(text, &Err(error.clone())),
        Err(_) => {}
    }
    if let Ok(Body::One(message)) = &parsed {
        rewritten(message);
    }
});

/// The members of an object in their order, keys unescaped.
struct Entries(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Entries;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl Entries {
    /// `None` also for keys that are no Unicode (`"\ud800"`), which `serde_json` cannot represent.
    fn of(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn all(&self, key: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known == key).map(|(_, value)| value.get()).collect()
    }

    fn first(&self, key: &str) -> Option<&str> {
        self.all(key).first().copied()
    }

    fn has_duplicates(&self) -> bool {
        (1..self.0.len()).any(|at| self.0[..at].iter().any(|(key, _)| *key == self.0[at].0))
    }
}

/// PROTOCOL 0.2.1 in the plainest words.
#[derive(Debug, PartialEq)]
enum Reference {
    Request { id: String, method: String, params: Option<String> },
    Notification { method: String, params: Option<String> },
    Response { id: Option<String>, result: Option<String>, error: Option<String> },
    Refused,
}

fn reference(entries: &Entries) -> Reference {
    let known = ["jsonrpc", "id", "method", "params", "result", "error"];
    if known.iter().any(|key| entries.all(key).len() > 1) {
        return Reference::Refused;
    }
    let string = |raw: &str| serde_json::from_str::<String>(raw).ok();
    let owned = |key: &str| entries.first(key).map(str::to_owned);
    if entries.first("jsonrpc").and_then(string).as_deref() != Some("2.0") {
        return Reference::Refused;
    }
    let id = entries.first("id");
    let good_id = id.filter(|raw| raw.starts_with('"') || raw.parse::<f64>().is_ok() && !raw.contains(['.', 'e', 'E']));
    let good_id = good_id.map(str::to_owned);
    let (result, error) = (owned("result"), owned("error"));
    if let Some(method) = entries.first("method") {
        let params = owned("params");
        let bad_params = params.as_ref().is_some_and(|params| !params.starts_with('{'));
        let Some(method) = string(method).filter(|_| result.is_none() && error.is_none() && !bad_params) else {
            return Reference::Refused;
        };
        return match (id, good_id) {
            (None, _) => Reference::Notification { method, params },
            (Some(_), Some(id)) => Reference::Request { id, method, params },
            (Some(_), None) => Reference::Refused,
        };
    }
    match (result, error) {
        (Some(result), error) if error.as_deref().is_none_or(|error| error == "null") => {
            if id.is_some() && good_id.is_none() {
                return Reference::Refused;
            }
            Reference::Response { id: good_id, result: Some(result), error: None }
        }
        (None, Some(error)) if error.starts_with('{') => {
            Reference::Response { id: good_id, result: None, error: Some(error) }
        }
        _ => Reference::Refused,
    }
}

fn text(raw: &Bytes) -> String {
    String::from_utf8(raw.to_vec()).expect("slices of UTF-8 at its borders")
}

fn as_reference(message: &Message) -> Reference {
    let owned = |raw: &Option<Bytes>| raw.as_ref().map(text);
    match message {
        Message::Request(request) => Reference::Request {
            id: text(request.id.raw()),
            method: request.method.name().to_owned(),
            params: owned(&request.params),
        },
        Message::Notification(notification) => Reference::Notification {
            method: notification.method.name().to_owned(),
            params: owned(&notification.params),
        },
        Message::Response(response) => {
            let (result, error) = match &response.outcome {
                Outcome::Result(raw) => (Some(text(raw)), None),
                Outcome::Error(raw) => (None, Some(text(raw))),
            };
            Reference::Response { id: response.id.as_ref().map(|id| text(id.raw())), result, error }
        }
    }
}

fn same_as_reference(json: &str, parsed: &Result<Message, NotAMessage>) {
    let expected = match Entries::of(json) {
        _ if depth(json) > JSON_DEPTH_MAX => Reference::Refused,
        Some(entries) => reference(&entries),
        None if json.trim_start().starts_with('{') => return,
        None => Reference::Refused,
    };
    let found = match parsed {
        Ok(message) => as_reference(message),
        Err(NotAMessage::NotJsonRpc { .. } | NotAMessage::BadResponse { .. }) => Reference::Refused,
        Err(other) => panic!("valid JSON was refused as {other:?}: {json}"),
    };
    assert_eq!(found, expected, "{json}");
}

/// Brackets of valid JSON that are open at once.
fn depth(json: &str) -> usize {
    let (mut open, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => open += 1,
            b']' | b'}' if !in_string => open -= 1,
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

/// Whatever was read can be written for either direction, and reads the same.
fn rewritten(message: &Message) {
    let id = RequestId::from_raw(Bytes::from_static(b"\"x\\u0000\"")).expect("a string");
    match message {
        Message::Request(request) => {
            let line = message::request_line(WireId(7), &request.method, request.params.as_slice());
            let bytes = message::request_bytes(&request.id, &request.method, request.params.as_ref());
            for (written, id) in [(one_line(line), "7".into()), (bytes, text(request.id.raw()))] {
                let Ok(Message::Request(again)) = message::parse(&written) else { panic!("{written:?}") };
                assert_eq!((text(again.id.raw()), &again.method), (id, &request.method));
                same_value(again.params.as_ref(), request.params.as_ref());
            }
            request.params.iter().for_each(edited);
        }
        Message::Notification(notification) => {
            let line = message::notification_line(&notification.method, notification.params.clone());
            let bytes = message::notification_bytes(&notification.method, notification.params.as_ref());
            for written in [one_line(line), bytes] {
                let Ok(Message::Notification(again)) = message::parse(&written) else { panic!("{written:?}") };
                assert_eq!(again.method, notification.method);
                same_value(again.params.as_ref(), notification.params.as_ref());
            }
        }
        Message::Response(response) => {
            let pieces = message::response_pieces(&id, &response.outcome).concat();
            for written in [one_line(message::response_line(&id, &response.outcome)), Bytes::from(pieces)] {
                let Ok(Message::Response(again)) = message::parse(&written) else { panic!("{written:?}") };
                assert_eq!(again.id.as_ref(), Some(&id));
                match (&again.outcome, &response.outcome) {
                    (Outcome::Result(a), Outcome::Result(b)) | (Outcome::Error(a), Outcome::Error(b)) => {
                        same_value(Some(a), Some(b));
                    }
                    (a, b) => panic!("{a:?} is not {b:?}"),
                }
            }
        }
    }
}

fn one_line(line: Line) -> Bytes {
    let bytes = line.to_bytes();
    let (last, before) = bytes.split_last().expect("at least a newline");
    assert!(*last == b'\n' && !before.iter().any(|b| matches!(b, b'\n' | b'\r')), "{bytes:?}");
    bytes.slice(..bytes.len() - 1)
}

/// Equal but for newlines, which become spaces on a line.
fn same_value(a: Option<&Bytes>, b: Option<&Bytes>) {
    let flat = |raw: Option<&Bytes>| raw.map(|raw| text(raw).replace(['\n', '\r'], " "));
    assert_eq!(flat(a), flat(b));
}

/// Edits of an object change what they name and nothing else.
fn edited(params: &Bytes) {
    let object = Object::scan(params).expect("params are an object");
    let Some(entries) = Entries::of(&text(params)) else { return };
    let seen: Vec<(String, String)> = object.entries().map(|(key, value)| (key, text(&value))).collect();
    let plain: Vec<(String, String)> = entries.0.iter().map(|(key, value)| (key.clone(), value.get().into())).collect();
    assert_eq!(seen, plain);
    for (key, _) in &plain {
        assert_eq!(object.get(key).map(|raw| text(&raw)).as_deref(), entries.first(key));
        assert_eq!(object.get_once(key).is_err(), entries.all(key).len() > 1);
    }
    tokens(params, &entries);
    if entries.has_duplicates() {
        return;
    }
    let key = plain.first().map_or("name", |(key, _)| key.as_str());
    for value in [Some("\"new\""), None] {
        for key in [key, "no\"such\u{1}key"] {
            let mut expected = plain.clone();
            match (expected.iter().position(|(known, _)| known == key), value) {
                (Some(at), Some(value)) => expected[at].1 = value.into(),
                (Some(at), None) => drop(expected.remove(at)),
                (None, Some(value)) => expected.push((key.into(), value.into())),
                (None, None) => {}
            }
            let text = text(&object.edit(&[(key, value.map(str::as_bytes))]));
            let found = Entries::of(&text).unwrap_or_else(|| panic!("not an object any more: {text}"));
            assert_eq!(found.0.into_iter().map(|(key, raw)| (key, raw.get().to_owned())).collect::<Vec<_>>(), expected);
        }
    }
}

/// The progress token that hub finds is the one `serde_json` finds, and the one it puts in is found again.
fn tokens(params: &Bytes, entries: &Entries) {
    let meta = entries.first("_meta").and_then(Entries::of);
    if entries.first("_meta").is_some_and(|meta| meta.starts_with('{')) && meta.is_none() {
        return;
    }
    let token = meta.as_ref().and_then(|meta| meta.first("progressToken"));
    let token = token.filter(|raw| raw.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()));
    assert_eq!(splice::progress_token(params).map(|raw| text(&raw)).as_deref(), token);
    let with = splice::with_progress_token(params, Some(b"7"));
    assert_eq!(splice::progress_token(&with).map(|raw| text(&raw)).as_deref(), Some("7"));
    assert_eq!(splice::progress_token(&splice::with_progress_token(params, None)), None);
    assert!(serde_json::from_slice::<IgnoredAny>(&with).is_ok());
}

//! An error of a server as a client of the other era knows it (PROTOCOL 3.C).
//!
//! In: raw error objects. Out: the same under another code where the eras differ; message and data stay. Owns nothing.
//! May not: choose an HTTP status, or turn an error into a success.

use bytes::Bytes;

use crate::mcp::error::{
    HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, MISSING_CAPABILITY, PARSE_ERROR,
    RESOURCE_NOT_FOUND, UNSUPPORTED_VERSION, URL_ELICITATION_REQUIRED,
};
use crate::mcp::message::elements;
use crate::mcp::splice::Object;
use crate::mcp::{Method, Raw};

/// The codes that the specification keeps for itself: a server may not send one that it does not define.
const RESERVED: std::ops::RangeInclusive<i64> = -32099..=-32020;

/// The code of a raw error object, if it is an integer.
pub fn code(error: &Raw) -> Option<i64> {
    std::str::from_utf8(&Object::scan(error)?.get("code")?).ok()?.parse().ok()
}

/// A legacy server's error for a modern client.
pub fn to_modern(error: Raw) -> Raw {
    match code(&error) {
        Some(RESOURCE_NOT_FOUND) => with_code(&error, INVALID_PARAMS),
        _ => shared(error),
    }
}

/// A modern server's error for a legacy client.
pub fn to_legacy(method: &Method, error: Raw) -> Raw {
    match code(&error) {
        Some(INVALID_PARAMS) if *method == Method::ResourcesRead && says_not_found(&error) => {
            with_code(&error, RESOURCE_NOT_FOUND)
        }
        // What the modern revision keeps for itself is the server's own to a legacy client (as is -32042, of its era).
        Some(other) if RESERVED.contains(&other) && !matches!(other, HEADER_MISMATCH | UNSUPPORTED_VERSION) => error,
        _ => shared(error),
    }
}

/// What is the same both ways.
fn shared(error: Raw) -> Raw {
    match code(&error) {
        // hub wrote the request: what is wrong with it is not the client's.
        Some(PARSE_ERROR | INVALID_REQUEST | HEADER_MISMATCH | UNSUPPORTED_VERSION) => {
            with_code(&error, INTERNAL_ERROR)
        }
        Some(MISSING_CAPABILITY) => error,
        Some(other) if RESERVED.contains(&other) => with_original(&error, other),
        _ => error,
    }
}

fn with_code(error: &Raw, code: i64) -> Raw {
    let code = code.to_string();
    Object::scan(error).map_or_else(|| error.clone(), |error| error.edit(&[("code", Some(code.as_bytes()))]))
}

/// An internal error that tells which code it had, in `data.originalCode`.
fn with_original(error: &Raw, original: i64) -> Raw {
    let Some(object) = Object::scan(error) else { return error.clone() };
    let original = original.to_string();
    let data = match object.get("data") {
        None => Bytes::from(format!("{{\"originalCode\":{original}}}")),
        Some(data) => match Object::scan(&data) {
            Some(data) => data.edit(&[("originalCode", Some(original.as_bytes()))]),
            None => Bytes::from([b"{\"originalCode\":", original.as_bytes(), b",\"original\":", &data, b"}"].concat()),
        },
    };
    object.edit(&[("code", Some(INTERNAL_ERROR.to_string().as_bytes())), ("data", Some(&data))])
}

/// Does the error of a `resources/read` mean that there is no such resource? The modern revision has no code for it.
fn says_not_found(error: &Raw) -> bool {
    let Some(error) = Object::scan(error) else { return false };
    let names_it = error.get("data").and_then(|data| Object::scan(&data)?.get("uri")).is_some();
    names_it || error.get_str("message").is_some_and(|text| text.to_lowercase().contains("not found"))
}

/// The URLs that must be visited before the call is made again: the elicitations of a `-32042`. `None` for other errors,
/// and for one that names none.
pub fn url_elicitations(error: &Raw) -> Option<Vec<Raw>> {
    if code(error)? != URL_ELICITATION_REQUIRED {
        return None;
    }
    let list = Object::scan(&Object::scan(error)?.get("data")?)?.get("elicitations")?;
    let all: Vec<Raw> = (list.first() == Some(&b'[')).then(|| elements(&list).collect())?;
    let has_url = |one: &Raw| Object::scan(one).is_some_and(|one| one.get_str("url").is_some());
    (!all.is_empty() && all.iter().all(has_url)).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn codes() {
        // What a server sends, what a modern client of a legacy server gets, what a legacy client of a modern one gets.
        for (sent, modern, legacy) in [
            (-32700, -32603, -32603),
            (-32600, -32603, -32603),
            (-32601, -32601, -32601),
            (-32602, -32602, -32602),
            (-32603, -32603, -32603),
            (-32002, -32602, -32002),
            (-32020, -32603, -32603),
            (-32022, -32603, -32603),
            (-32021, -32021, -32021),
            (-32023, -32603, -32023),
            (-32042, -32603, -32042),
            (-32099, -32603, -32099),
            (-32100, -32100, -32100),
            (-32019, -32019, -32019),
            (-32000, -32000, -32000),
            (-1, -1, -1),
            (7, 7, 7),
        ] {
            let error = raw(&format!(r#"{{"code":{sent},"message":"m"}}"#));
            assert_eq!(code(&to_modern(error.clone())), Some(modern), "{sent} to modern");
            assert_eq!(code(&to_legacy(&Method::ToolsCall, error)), Some(legacy), "{sent} to legacy");
        }
        assert_eq!(to_modern(raw(r#"{"message":"m"}"#)), r#"{"message":"m"}"#);
    }

    #[test]
    fn a_missing_resource() {
        let error = r#"{"code":-32002,"message":"gone","data":{"uri":"u"}}"#;
        let modern = to_modern(raw(error));
        assert_eq!(modern, r#"{"code":-32602,"message":"gone","data":{"uri":"u"}}"#);
        assert_eq!(to_legacy(&Method::ResourcesRead, modern.clone()), error);
        assert_eq!(to_legacy(&Method::ToolsCall, modern.clone()), modern);
        let told = raw(r#"{"code":-32602,"message":"Resource Not Found: x"}"#);
        assert_eq!(code(&to_legacy(&Method::ResourcesRead, told)), Some(-32002));
        let other = raw(r#"{"code":-32602,"message":"uri must be a string"}"#);
        assert_eq!(to_legacy(&Method::ResourcesRead, other.clone()), other);
    }

    #[test]
    fn the_original_code_is_kept() {
        let of = |data: &str| to_modern(raw(&format!(r#"{{"code":-32050,"message":"m"{data}}}"#)));
        assert_eq!(of(""), r#"{"code":-32603,"message":"m","data":{"originalCode":-32050}}"#);
        assert_eq!(of(r#","data":{"a":1}"#), r#"{"code":-32603,"message":"m","data":{"a":1,"originalCode":-32050}}"#);
        assert_eq!(
            of(r#","data":"t""#),
            r#"{"code":-32603,"message":"m","data":{"originalCode":-32050,"original":"t"}}"#
        );
    }

    #[test]
    fn urls_to_visit() {
        let one = r#"{"mode":"url","url":"https://x/","message":"m","elicitationId":"1"}"#;
        let of = |text: &str| url_elicitations(&raw(text));
        assert_eq!(
            of(&format!(r#"{{"code":-32042,"message":"","data":{{"elicitations":[{one}, {one}]}}}}"#)),
            Some(vec![raw(one), raw(one)])
        );
        assert_eq!(of(&format!(r#"{{"code":-32041,"data":{{"elicitations":[{one}]}}}}"#)), None);
        for data in ["{}", r#"{"elicitations":[]}"#, r#"{"elicitations":{}}"#, r#"{"elicitations":[{}]}"#, "1"] {
            assert_eq!(of(&format!(r#"{{"code":-32042,"data":{data}}}"#)), None, "{data}");
        }
    }
}

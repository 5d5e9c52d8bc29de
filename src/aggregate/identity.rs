//! What the aggregate says of itself in a handshake (PROTOCOL 4.1).
//!
//! In: the members of the catalogue. Out: a [`Handshake`]. Owns nothing. May not: let capabilities depend on which
//! servers are up; a session's cannot change after `initialize`, and empty lists are legal.

use std::collections::BTreeMap;

use crate::limits::{AGGREGATE_INSTRUCTIONS_BYTES_MAX, AGGREGATE_INSTRUCTIONS_PER_SERVER_BYTES_MAX};
use crate::mcp::splice::Object;
use crate::mcp::{Era, ProtocolVersion, Raw, scan};
use crate::server::{Handshake, Offers};

use super::catalog::Member;

/// All that hub relays for any server.
const CAPABILITIES: &[u8] = br#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"completions":{},"logging":{}}"#;

const PREFACE: &str = "Several MCP servers behind one endpoint (hub). Tools and prompts are named SERVER__NAME after the server they are of.";

/// hub's own handshake over these servers, in the order of hub.toml.
pub fn handshake(members: &[Member]) -> Handshake {
    let texts = members.iter().filter(|member| !member.disabled).filter_map(|member| {
        let text = scan::unquote(member.handshake()?.instructions.as_ref()?)?.into_owned();
        Some((&*member.alias, text))
    });
    let server_info = serde_json::json!({ "name": "hub", "title": "hub", "version": env!("CARGO_PKG_VERSION") });
    let instructions = serde_json::to_vec(&instructions(texts)).expect("a string serialises");
    Handshake {
        era: Era::Legacy,
        version: ProtocolVersion::LATEST_LEGACY.as_str().into(),
        capabilities: capabilities(members.iter().filter_map(Member::handshake)),
        server_info: Raw::from(server_info.to_string()),
        instructions: Some(Raw::from(instructions)),
        offers: Offers::default(),
    }
}

/// The static set, and extensions that one server has or that several have with equal settings.
fn capabilities<'a>(handshakes: impl Iterator<Item = &'a Handshake>) -> Raw {
    let mut extensions: BTreeMap<String, Option<Raw>> = BTreeMap::new();
    for handshake in handshakes {
        let declared = Object::scan(&handshake.capabilities).and_then(|all| Object::scan(&all.get("extensions")?));
        for (id, settings) in declared.iter().flat_map(Object::entries) {
            let known = extensions.entry(id).or_insert_with(|| Some(settings.clone()));
            if known.as_ref() != Some(&settings) {
                *known = None;
            }
        }
    }
    let text = |(id, settings): (String, Option<Raw>)| {
        let settings = settings?;
        Some(format!("{}:{}", serde_json::json!(id), std::str::from_utf8(&settings).ok()?))
    };
    let texts: Vec<String> = extensions.into_iter().filter_map(text).collect();
    let fixed = Raw::from_static(CAPABILITIES);
    if texts.is_empty() {
        return fixed;
    }
    let all = format!("{{{}}}", texts.join(","));
    Object::scan(&fixed).expect("a constant object").edit(&[("extensions", Some(all.as_bytes()))])
}

/// The preface, and each server's own text under its alias, all bounded.
fn instructions<'a>(texts: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut out = PREFACE.to_owned();
    for (alias, text) in texts {
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        let text = cut(text, AGGREGATE_INSTRUCTIONS_PER_SERVER_BYTES_MAX);
        out.extend(["\n\n## ", alias, "\n", &text]);
    }
    cut(&out, AGGREGATE_INSTRUCTIONS_BYTES_MAX).into_owned()
}

/// At most `max` bytes, ending in "…" if something is missing.
fn cut(text: &str, max: usize) -> std::borrow::Cow<'_, str> {
    if text.len() <= max {
        text.into()
    } else {
        format!("{}…", &text[..text.floor_char_boundary(max - "…".len())]).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_in_order_and_bounded() {
        let long = "ü".repeat(5000);
        let text = instructions([("a", " one ".into()), ("b", "  ".into()), ("c", long)].into_iter());
        let (head, tail) = text.split_once("\n\n## c\n").expect("c");
        assert_eq!(head, format!("{PREFACE}\n\n## a\none"));
        assert!(tail.ends_with("ü…") && tail.len() <= AGGREGATE_INSTRUCTIONS_PER_SERVER_BYTES_MAX, "{}", tail.len());
        let many = instructions((0..50).map(|_| ("x", "y".repeat(3000))));
        assert!(many.ends_with('…') && many.len() <= AGGREGATE_INSTRUCTIONS_BYTES_MAX);
    }

    fn declaring(capabilities: &'static str) -> Handshake {
        Handshake {
            era: Era::Legacy,
            version: String::new(),
            capabilities: Raw::from_static(capabilities.as_bytes()),
            server_info: Raw::new(),
            instructions: None,
            offers: Offers::default(),
        }
    }

    #[test]
    fn capabilities_are_fixed_but_for_agreed_extensions() {
        assert_eq!(capabilities([declaring(r#"{"tools":{},"tasks":{}}"#)].iter()), CAPABILITIES);
        let all = [
            declaring(r#"{"extensions":{"same":{"a":1},"differ":{"a":1},"one":{}}}"#),
            declaring(r#"{"extensions":{"same":{"a":1},"differ":{"a":2}}}"#),
            declaring(r#"{"extensions":{"differ":{"a":1}}}"#),
        ];
        let raw = capabilities(all.iter());
        let value: serde_json::Value = serde_json::from_slice(&raw).expect("JSON");
        assert_eq!(value["extensions"], serde_json::json!({ "same": { "a": 1 }, "one": {} }));
        assert_eq!(value["tools"]["listChanged"], true);
    }
}

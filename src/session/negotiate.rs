//! What a session's `initialize` asks, and what it is answered (PROTOCOL 1.2).
//!
//! In: raw params, and what is known of the server. Out: a [`Hello`], a raw result. Owns nothing. May not: forward an
//! `initialize` (a second one changes the child for everybody, PROTOCOL 1.1).

use bytes::{BufMut, Bytes, BytesMut};

use crate::bridge::capabilities::server_other_era;
use crate::mcp::splice::Object;
use crate::mcp::{ClientCapabilities, Era, ErrorObject, ProtocolVersion, Raw};
use crate::server::Handshake;

/// What a client said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The revision that its session will have.
    pub version: ProtocolVersion,
    /// What it can be asked.
    pub capabilities: ClientCapabilities,
    /// The same, raw.
    pub raw_capabilities: Raw,
    /// Its `clientInfo`, raw.
    pub client_info: Raw,
}

impl Hello {
    /// Reads the params of an `initialize`.
    pub fn parse(params: Option<&Raw>) -> Result<Self, ErrorObject> {
        let refuse = |what: &str| ErrorObject::invalid_params(format!("Invalid params: {what}"));
        let params = params.and_then(Object::scan).ok_or_else(|| refuse("initialize takes an object"))?;
        let requested = params.get_str("protocolVersion").ok_or_else(|| refuse("protocolVersion must be a string"))?;
        // Copies: what a session keeps must not keep the request's whole buffer.
        let object = |key: &str| {
            let raw = params.get(key).filter(|raw| raw.first() == Some(&b'{'));
            raw.map_or(Bytes::from_static(b"{}"), |raw| Bytes::copy_from_slice(&raw))
        };
        let raw_capabilities = object("capabilities");
        Ok(Self {
            version: ProtocolVersion::negotiate(&requested),
            capabilities: ClientCapabilities::parse(&raw_capabilities),
            raw_capabilities,
            client_info: object("clientInfo"),
        })
    }
}

/// The result of an `initialize` at `version`.
pub fn answer(version: ProtocolVersion, handshake: &Handshake) -> Raw {
    let mut out = BytesMut::with_capacity(
        128 + handshake.capabilities.len()
            + handshake.server_info.len()
            + handshake.instructions.as_ref().map_or(0, Bytes::len),
    );
    out.put_slice(b"{\"protocolVersion\":\"");
    out.put_slice(version.as_str().as_bytes());
    out.put_slice(b"\",\"capabilities\":");
    out.put_slice(&capabilities(version, handshake));
    out.put_slice(b",\"serverInfo\":");
    out.put_slice(&handshake.server_info);
    if let Some(instructions) = &handshake.instructions {
        out.put_slice(b",\"instructions\":");
        out.put_slice(instructions);
    }
    out.put_u8(b'}');
    out.freeze()
}

/// Whether a session of this revision may use tasks with a server of that handshake (PROTOCOL 1.12).
pub fn tasks_usable(version: ProtocolVersion, handshake: &Handshake) -> bool {
    let tasks = ProtocolVersion::V2025_11_25;
    version == tasks && handshake.version == tasks.as_str()
}

/// The server's capabilities as a session is told: lists can always change (hub itself says so after a restart).
fn capabilities(version: ProtocolVersion, handshake: &Handshake) -> Raw {
    if handshake.era == Era::Modern {
        return server_other_era(&handshake.capabilities);
    }
    let Some(all) = Object::scan(&handshake.capabilities) else { return Bytes::from_static(b"{}") };
    let mut edits: Vec<(&str, Option<Raw>)> = Vec::new();
    for key in ["tools", "prompts", "resources"] {
        if let Some(object) = all.get(key).and_then(|value| Object::scan(&value)) {
            edits.push((key, Some(object.edit(&[("listChanged", Some(b"true"))]))));
        }
    }
    if all.get("tasks").is_some() && !tasks_usable(version, handshake) {
        edits.push(("tasks", None));
    }
    let edits: Vec<(&str, Option<&[u8]>)> = edits.iter().map(|(key, value)| (*key, value.as_deref())).collect();
    all.edit(&edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &'static str) -> Raw {
        Bytes::from_static(text.as_bytes())
    }

    fn handshake(version: &str, capabilities: &'static str) -> Handshake {
        Handshake {
            era: Era::Legacy,
            version: version.into(),
            capabilities: raw(capabilities),
            server_info: raw(r#"{"name":"x","version":"1"}"#),
            instructions: Some(raw(r#""be nice""#)),
            offers: crate::server::Offers::default(),
        }
    }

    #[test]
    fn the_version_is_the_sessions_whatever_the_child_speaks() {
        let params =
            raw(r#"{"protocolVersion":"2024-11-05","capabilities":{"sampling":{}},"clientInfo":{"name":"c"}}"#);
        let hello = Hello::parse(Some(&params)).expect("valid");
        assert_eq!((hello.version, hello.capabilities.sampling), (ProtocolVersion::V2024_11_05, true));
        assert_eq!(
            answer(hello.version, &handshake("2025-11-25", r#"{"tools":{},"tasks":{"list":{}},"x":{"y":1}}"#)),
            r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{"listChanged":true},"x":{"y":1}},"serverInfo":{"name":"x","version":"1"},"instructions":"be nice"}"#
        );
    }

    #[test]
    fn a_modern_server_in_the_words_of_a_session() {
        let capabilities = r#"{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}},"logging":{}}"#;
        let modern = Handshake { era: Era::Modern, ..handshake("2026-07-28", capabilities) };
        assert_eq!(
            answer(ProtocolVersion::V2025_11_25, &modern),
            r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"logging":{}},"serverInfo":{"name":"x","version":"1"},"instructions":"be nice"}"#
        );
        assert!(!tasks_usable(ProtocolVersion::V2025_11_25, &modern));
    }

    #[test]
    fn tasks_need_both_sides_to_be_new() {
        let has_tasks = |session, child: &str| {
            let result = answer(
                session,
                &handshake(child, r#"{"tasks":{},"resources":{"listChanged":false,"subscribe":true}}"#),
            );
            let tree: serde_json::Value = serde_json::from_slice(&result).expect("json");
            assert_eq!(tree["capabilities"]["resources"], serde_json::json!({"listChanged":true,"subscribe":true}));
            tree["capabilities"].get("tasks").is_some()
        };
        assert!(has_tasks(ProtocolVersion::V2025_11_25, "2025-11-25"));
        assert!(!has_tasks(ProtocolVersion::V2025_06_18, "2025-11-25"));
        assert!(!has_tasks(ProtocolVersion::V2025_11_25, "2025-06-18"));
    }

    #[test]
    fn what_is_not_an_initialize() {
        for bad in [None, Some(raw("{}")), Some(raw(r#"{"protocolVersion":7}"#))] {
            assert_eq!(Hello::parse(bad.as_ref()).expect_err("refused").code, -32602);
        }
        assert!(Hello::parse(Some(&raw(r#"{"protocolVersion":"2025-06-18"}"#))).is_ok(), "lenient about the rest");
    }
}

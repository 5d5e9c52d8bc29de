//! The answer to `server/discover`, made of what is known of a server (PROTOCOL 2.3, 3.A.1).
//!
//! In: the parts of a server's handshake, of either era. Out: a raw result. Owns nothing. May not: ask the server.

use bytes::{BufMut, BytesMut};

use crate::mcp::meta::SERVER_INFO;
use crate::mcp::{Era, ProtocolVersion, Raw};

use super::capabilities::{server_other_era, server_same_era};

/// What a server said of itself when it was opened.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The era that it was opened in.
    pub era: Era,
    /// Its `capabilities` object.
    pub capabilities: &'a Raw,
    /// Its `serverInfo` object.
    pub server_info: &'a Raw,
    /// Its `instructions` string, with quotes.
    pub instructions: Option<&'a Raw>,
    /// How long a client may keep the answer, in milliseconds.
    pub ttl_ms: u64,
    /// Who may share it: `private` or `public`.
    pub scope: &'static str,
}

/// The result of a `server/discover`. Only modern revisions are listed; the others have a handshake of their own.
pub fn discover_result(parts: &Parts<'_>) -> Raw {
    let capabilities = match parts.era {
        Era::Legacy => server_other_era(parts.capabilities),
        Era::Modern => server_same_era(parts.capabilities),
    };
    let modern = ProtocolVersion::ALL.into_iter().filter(|version| version.era() == Era::Modern);
    let versions: Vec<String> = modern.map(|version| format!("\"{version}\"")).collect();
    let known = capabilities.len() + parts.server_info.len() + parts.instructions.map_or(0, Raw::len);
    let mut out = BytesMut::with_capacity(known + 256);
    out.put_slice(format!("{{\"resultType\":\"complete\",\"supportedVersions\":[{}]", versions.join(",")).as_bytes());
    out.put_slice(b",\"capabilities\":");
    out.put_slice(&capabilities);
    if let Some(instructions) = parts.instructions {
        out.put_slice(b",\"instructions\":");
        out.put_slice(instructions);
    }
    out.put_slice(format!(",\"ttlMs\":{},\"cacheScope\":\"{}\"", parts.ttl_ms, parts.scope).as_bytes());
    out.put_slice(format!(",\"_meta\":{{\"{SERVER_INFO}\":").as_bytes());
    out.put_slice(parts.server_info);
    out.put_slice(b"}}");
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn both_eras() {
        let capabilities = Bytes::from_static(br#"{"tools":{},"tasks":{}}"#);
        let (info, instructions) = (Bytes::from_static(br#"{"name":"s"}"#), Bytes::from_static(br#""Be kind""#));
        let parts = Parts {
            era: Era::Legacy,
            capabilities: &capabilities,
            server_info: &info,
            instructions: Some(&instructions),
            ttl_ms: 60_000,
            scope: "private",
        };
        assert_eq!(
            discover_result(&parts),
            r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}},"instructions":"Be kind","ttlMs":60000,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}"#
        );
        let extended = Bytes::from_static(br#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#);
        let modern = Parts { era: Era::Modern, capabilities: &extended, instructions: None, ttl_ms: 0, ..parts };
        assert_eq!(
            discover_result(&modern),
            r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}},"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}"#
        );
    }
}

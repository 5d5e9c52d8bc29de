//! What one modern request says of itself and of its client (2026-07-28, basic/index#_meta).
//!
//! In: the scanned params of a request. Out: [`Claims`]. Owns what it read. May not: remember anything for the next
//! request; each stands for itself.

use std::borrow::Cow;
use std::sync::Arc;

use crate::mcp::meta::{CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, Level, PROTOCOL_VERSION};
use crate::mcp::{ClientCapabilities, Era, ErrorObject, Raw, scan};
use crate::server::Client;
use crate::session::Params;

/// See the module's header.
#[derive(Debug)]
pub struct Claims {
    /// The revision, as it was written.
    pub version: String,
    /// Who asks, with its level.
    pub client: Arc<Client>,
    /// The level is none of the eight.
    pub bad_level: bool,
}

impl Claims {
    /// Reads the claims; the error names what is missing (PROTOCOL 2.2, step 1).
    pub fn read(params: &Params) -> Result<Self, ErrorObject> {
        let bad = |why: String| ErrorObject::invalid_params(format!("Invalid params: {why}"));
        if params.is_ambiguous() {
            return Err(bad("a member stands twice".into()));
        }
        let version = params.meta_value(PROTOCOL_VERSION).and_then(scan::unquote).map(Cow::into_owned);
        let version = version.ok_or_else(|| bad(format!("`_meta[\"{PROTOCOL_VERSION}\"]` must be a string")))?;
        let capabilities = params.meta(CLIENT_CAPABILITIES).filter(is_object);
        let capabilities =
            capabilities.ok_or_else(|| bad(format!("`_meta[\"{CLIENT_CAPABILITIES}\"]` must be an object")))?;
        let level = params.meta_value(LOG_LEVEL);
        let known = level.and_then(|level| Level::parse(&scan::unquote(level)?));
        let client = Client {
            era: Era::Modern,
            can: ClientCapabilities::parse(&capabilities),
            capabilities,
            info: params.meta(CLIENT_INFO).filter(is_object),
            level: known,
        };
        Ok(Self { version, client: Arc::new(client), bad_level: level.is_some() && known.is_none() })
    }

    /// The error for a request that names a modern revision outside, but claims none inside (PROTOCOL 2.1, row 7).
    pub fn missing() -> ErrorObject {
        ErrorObject::invalid_params(format!(
            "Invalid params: a request of this revision carries `_meta[\"{PROTOCOL_VERSION}\"]` and `_meta[\"{CLIENT_CAPABILITIES}\"]`"
        ))
    }
}

fn is_object(raw: &Raw) -> bool {
    raw.first() == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn read(meta: &str) -> Result<Claims, ErrorObject> {
        Claims::read(&Params::read(Some(Bytes::from(format!("{{\"_meta\":{meta}}}")))))
    }

    #[test]
    fn claims() {
        let claims = read(
            r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},
               "io.modelcontextprotocol/clientInfo":{"name":"x"},"io.modelcontextprotocol/logLevel":"warning"}"#,
        )
        .expect("claims");
        assert_eq!((claims.version.as_str(), claims.bad_level), ("2026-07-28", false));
        assert!(claims.client.can.elicitation_form && !claims.client.can.elicitation_url);
        assert_eq!(claims.client.level, Some(Level::Warning));
        assert_eq!(claims.client.info.as_deref(), Some(&br#"{"name":"x"}"#[..]));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (meta, named) in [
            ("{}", PROTOCOL_VERSION),
            (r#"{"io.modelcontextprotocol/protocolVersion":7}"#, PROTOCOL_VERSION),
            (r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#, CLIENT_CAPABILITIES),
            (
                r#"{"io.modelcontextprotocol/protocolVersion":"x","io.modelcontextprotocol/clientCapabilities":[]}"#,
                CLIENT_CAPABILITIES,
            ),
            (r#"{"a":1,"\u0061":2}"#, "twice"),
        ] {
            let error = read(meta).expect_err(meta);
            assert!(error.code == -32602 && error.message.contains(named), "{error}");
        }
    }

    #[test]
    fn an_unknown_level_is_seen() {
        let meta = r#"{"io.modelcontextprotocol/protocolVersion":"x","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"loud"}"#;
        assert!(read(meta).expect("claims").bad_level);
    }
}

//! The params of a request as a server of the other era takes them (PROTOCOL 3.A.1, 3.B.1).
//!
//! In: raw params, what is known of the client, a wire id for the progress token. Out: params in pieces that are
//! written one after another; the payload in them is a slice. Owns nothing. May not: look into what is not a member of
//! `params` or of its `_meta`.

use std::borrow::Cow;

use bytes::Bytes;

use crate::mcp::meta::{CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, Level, PROTOCOL_VERSION, SUBSCRIPTION_ID};
use crate::mcp::splice::{Object, Scanned};
use crate::mcp::{Raw, WireId};

/// What a modern server is told of the client with each request.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    /// Its capabilities as modern ones ([`super::capabilities::client_to_modern`]).
    pub capabilities: &'a Raw,
    /// Its `clientInfo`.
    pub info: Option<&'a Raw>,
    /// The least severe log message that it wants with this request; none for no messages at all.
    pub level: Option<Level>,
}

/// Members of `params` that mean something in one era only: a legacy task request, a retried modern call.
const OF_ONE_ERA: [&str; 3] = ["task", "inputResponses", "requestState"];
/// The revision that hub speaks to modern servers, as JSON.
const VERSION: &[u8] = b"\"2026-07-28\"";

static EMPTY: Raw = Bytes::from_static(b"{}");

/// The params of a legacy client's request, or of one of hub's own, for a modern server. A progress token of the client
/// becomes `token`, or goes. `more` are members of the top level that a retry adds (`inputResponses`, `requestState`).
/// `scanned`: the same params, if their members are known.
pub fn to_modern(
    params: Option<&Raw>,
    scanned: Option<&Scanned>,
    claims: &Claims<'_>,
    token: Option<WireId>,
    more: &[(&str, Raw)],
) -> Vec<Raw> {
    let Some(scanned) = known(params.unwrap_or(&EMPTY), scanned) else { return params.cloned().into_iter().collect() };
    let mut edits = Vec::with_capacity(1 + OF_ONE_ERA.len());
    edits.push(("_meta", Some(meta_of(scanned.meta.as_ref(), claims, token))));
    edits.extend(more.iter().map(|(key, value)| (*key, Some(value.clone()))));
    edits.extend(OF_ONE_ERA.into_iter().filter(|key| !more.iter().any(|(set, _)| set == key)).map(|key| (key, None)));
    scanned.object.pieces(&edits)
}

/// The members of params, found now if they are not known.
fn known<'a>(params: &Raw, scanned: Option<&'a Scanned>) -> Option<Cow<'a, Scanned>> {
    scanned.map(Cow::Borrowed).or_else(|| Some(Cow::Owned(Scanned::scan(params)?)))
}

/// The `_meta` of a request to a modern server: the client's own keys, and the reserved ones as hub says them.
fn meta_of(old: Option<&Object>, claims: &Claims<'_>, token: Option<WireId>) -> Raw {
    let had_token = old.is_some_and(|old| old.value("progressToken").is_some_and(is_token));
    let token = token.filter(|_| had_token).map(|token| token.to_string());
    let level = claims.level.map(|level| format!("\"{}\"", level.as_str()));
    let edits = [
        (PROTOCOL_VERSION, Some(VERSION)),
        (CLIENT_CAPABILITIES, Some(&claims.capabilities[..])),
        (CLIENT_INFO, claims.info.map(|info| &info[..])),
        (LOG_LEVEL, level.as_ref().map(String::as_bytes)),
        (SUBSCRIPTION_ID, None),
        ("progressToken", token.as_ref().map(String::as_bytes)),
    ];
    match old {
        Some(old) => old.edit(&edits),
        None => Object::empty().edit(&edits),
    }
}

/// Is this the value of a progress token: a string or a number?
fn is_token(raw: &[u8]) -> bool {
    matches!(raw.first(), Some(b'"' | b'-' | b'0'..=b'9'))
}

/// The params of a modern client's request for a legacy server: without the reserved keys of `_meta` (a dual-era server
/// refuses them once it was opened the legacy way) and without what makes a retry a retry. Empty if there were none.
/// `scanned`: the same params, if their members are known.
pub fn to_legacy(params: Option<&Raw>, scanned: Option<&Scanned>, token: Option<WireId>) -> Vec<Raw> {
    let Some(params) = params else { return Vec::new() };
    let Some(scanned) = known(params, scanned) else { return vec![params.clone()] };
    let meta = scanned.meta.as_ref().map(|meta| {
        let token = token.filter(|_| meta.value("progressToken").is_some_and(is_token)).map(|id| id.to_string());
        meta.edit(&[
            (PROTOCOL_VERSION, None),
            (CLIENT_CAPABILITIES, None),
            (CLIENT_INFO, None),
            (LOG_LEVEL, None),
            (SUBSCRIPTION_ID, None),
            ("progressToken", token.as_ref().map(String::as_bytes)),
        ])
    });
    let meta = meta.filter(|meta| &meta[..] != b"{}");
    let [task, responses, state] = OF_ONE_ERA;
    scanned.object.pieces(&[("_meta", meta), (task, None), (responses, None), (state, None)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(text: &str) -> Raw {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn text(pieces: &[Raw]) -> String {
        String::from_utf8(pieces.concat()).expect("text")
    }

    const CLAIMED: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/clientInfo":{"name":"c"},"io.modelcontextprotocol/logLevel":"info""#;

    fn modern(params: Option<&str>, token: Option<u64>, more: &[(&str, Raw)]) -> String {
        let (capabilities, info) = (raw(r#"{"roots":{}}"#), raw(r#"{"name":"c"}"#));
        let claims = Claims { capabilities: &capabilities, info: Some(&info), level: Some(Level::Info) };
        text(&to_modern(params.map(raw).as_ref(), None, &claims, token.map(WireId), more))
    }

    fn legacy(params: &str, token: Option<u64>) -> String {
        text(&to_legacy(Some(&raw(params)), None, token.map(WireId)))
    }

    #[test]
    fn the_version_is_the_newest() {
        assert_eq!(VERSION, format!("\"{}\"", crate::mcp::ProtocolVersion::V2026_07_28).as_bytes());
    }

    #[test]
    fn claims_are_added_to_anything() {
        let only = format!(r#"{{"_meta":{{{CLAIMED}}}}}"#);
        assert_eq!(modern(None, Some(7), &[]), only);
        assert_eq!(modern(Some("{ }"), Some(7), &[]), only);
        assert_eq!(
            modern(Some(r#"{ "name":"echo","arguments":{"a":1} }"#), Some(7), &[]),
            format!(r#"{{"name":"echo","arguments":{{"a":1}},"_meta":{{{CLAIMED}}}}}"#)
        );
        assert_eq!(
            modern(Some(r#"{"name":"echo","_meta":{}}"#), None, &[]),
            format!(r#"{{"name":"echo","_meta":{{{CLAIMED}}}}}"#)
        );
        assert_eq!(modern(Some(r#"{"_meta":null}"#), None, &[]), only);
    }

    #[test]
    fn only_what_hub_knows_is_claimed() {
        let capabilities = raw("{}");
        let claims = Claims { capabilities: &capabilities, info: None, level: None };
        assert_eq!(
            text(&to_modern(None, None, &claims, None, &[])),
            r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#
        );
        let lies = raw(
            r#"{"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"x"},"io.modelcontextprotocol/logLevel":"debug","io.modelcontextprotocol/subscriptionId":1,"x":2}}"#,
        );
        assert_eq!(
            text(&to_modern(Some(&lies), None, &claims, None, &[])),
            r#"{"_meta":{"x":2,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#
        );
    }

    #[test]
    fn reserved_keys_are_overwritten_in_any_spelling_and_others_stay() {
        assert_eq!(
            modern(
                Some(
                    r#"{"_meta":{"traceparent":"t","io.modelcontextprotocol\/protocolVersion":"1","progressToken":"p","v/x":[1]}}"#
                ),
                Some(7),
                &[]
            ),
            r#"{"_meta":{"traceparent":"t","io.modelcontextprotocol\/protocolVersion":"2026-07-28","progressToken":7,"v/x":[1],"io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/clientInfo":{"name":"c"},"io.modelcontextprotocol/logLevel":"info"}}"#
        );
    }

    #[test]
    fn a_token_is_sent_only_if_the_client_sent_one() {
        assert!(modern(Some(r#"{"_meta":{"progressToken":0}}"#), Some(7), &[]).contains(r#""progressToken":7"#));
        assert!(!modern(Some(r#"{"_meta":{"progressToken":0}}"#), None, &[]).contains("progressToken"));
        assert!(!modern(Some(r#"{"_meta":{"progressToken":null}}"#), Some(7), &[]).contains("progressToken"));
        assert!(!modern(Some(r#"{"_meta":{"x":1}}"#), Some(7), &[]).contains("progressToken"));
        assert_eq!(
            legacy(r#"{"_meta":{"progressToken":"a"},"x":1}"#, Some(9)),
            r#"{"_meta":{"progressToken":9},"x":1}"#
        );
        assert_eq!(legacy(r#"{"_meta":{"progressToken":"a"},"x":1}"#, None), r#"{"x":1}"#);
        assert_eq!(legacy(r#"{"_meta":{"y":1}}"#, Some(9)), r#"{"_meta":{"y":1}}"#);
    }

    #[test]
    fn a_retry_adds_members_and_a_first_call_cannot_pretend_to_be_one() {
        let more = [("inputResponses", raw(r#"{"k":{}}"#)), ("requestState", raw("\"s\""))];
        let added = r#""inputResponses":{"k":{}},"requestState":"s""#;
        assert_eq!(
            modern(Some(r#"{"name":"x"}"#), None, &more),
            format!(r#"{{"name":"x","_meta":{{{CLAIMED}}},{added}}}"#)
        );
        assert_eq!(modern(Some("{}"), None, &more), format!(r#"{{"_meta":{{{CLAIMED}}},{added}}}"#));
        assert_eq!(
            modern(Some(r#"{"requestState":"old","name":"x","task":{}}"#), None, &more),
            format!(r#"{{"requestState":"s","name":"x","_meta":{{{CLAIMED}}},"inputResponses":{{"k":{{}}}}}}"#)
        );
        assert_eq!(
            modern(Some(r#"{"requestState":"old","inputResponses":{},"name":"x","t\u0061sk":{}}"#), None, &[]),
            format!(r#"{{"name":"x","_meta":{{{CLAIMED}}}}}"#)
        );
    }

    #[test]
    fn a_legacy_server_sees_no_trace_of_the_modern_era() {
        assert_eq!(
            legacy(
                &format!(
                    r#"{{"_meta":{{{CLAIMED},"traceparent":"t","progressToken":1}},"name":"echo","arguments":{{"task":1}},"task":{{}},"inputResponses":{{}},"requestState":"s"}}"#
                ),
                Some(3)
            ),
            r#"{"_meta":{"traceparent":"t","progressToken":3},"name":"echo","arguments":{"task":1}}"#
        );
        assert_eq!(legacy(&format!(r#"{{"_meta":{{{CLAIMED}}}}}"#), Some(3)), "{}");
        assert_eq!(legacy(&format!(r#"{{"name":"x","_meta":{{{CLAIMED}}},"z":1}}"#), None), r#"{"name":"x","z":1}"#);
        assert_eq!(legacy(r#"{"_meta":7,"a":1}"#, None), r#"{"a":1}"#);
        assert_eq!(to_legacy(None, None, Some(WireId(1))), Vec::<Raw>::new());
    }

    #[test]
    fn the_payload_is_not_copied() {
        let big = format!(r#"{{"name":"x","arguments":"{}"}}"#, "y".repeat(100_000));
        let capabilities = raw("{}");
        let claims = Claims { capabilities: &capabilities, info: None, level: None };
        let with_meta = big.replacen('{', r#"{"_meta":{"a":1},"#, 1);
        for params in [raw(&big), raw(&with_meta)] {
            let within = |piece: &Raw| params.as_ptr_range().contains(&piece.as_ptr());
            for pieces in [to_modern(Some(&params), None, &claims, None, &[]), to_legacy(Some(&params), None, None)] {
                assert!(pieces.len() <= 3 && pieces.iter().any(|piece| piece.len() > 100_000 && within(piece)));
            }
        }
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_same(
            payload in proptest::collection::btree_map("[a-z]{1,5}", "[a-z_\"\\\\ü]{0,8}", 0..4),
            vendor in proptest::collection::btree_map("v/[a-z]{1,3}", 0u32..9, 0..3),
        ) {
            let mut tree = serde_json::to_value(&payload).expect("json");
            if !vendor.is_empty() {
                tree["_meta"] = serde_json::to_value(&vendor).expect("json");
            }
            let capabilities = raw("{}");
            let claims = Claims { capabilities: &capabilities, info: None, level: Some(Level::Debug) };
            let there = Raw::from(to_modern(Some(&raw(&tree.to_string())), None, &claims, None, &[]).concat());
            let back = to_legacy(Some(&there), None, None).concat();
            tree.as_object_mut().expect("object").shift_remove("task");
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&back).expect("valid"), tree);
        }
    }
}

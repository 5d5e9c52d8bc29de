//! The `requestState` that a modern client carries from one round of a call to the next (PROTOCOL 3.A.4.3).
//!
//! In: a [`Claim`]; a string that a client brought. Out: a sealed string; the claim, if hub sealed it, for this caller
//! and this request, and not too long ago. Owns the key, which lives as long as hub: parked calls do not live longer.
//! May not: tell a client what is wrong with a string, or remember which ones were used (a round is used once because
//! the call counts them).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::mcp::message::elements;
use crate::mcp::scan::unquote;
use crate::mcp::splice::Object;
use crate::mcp::{ErrorObject, Method, Raw};

/// What every sealed string begins with.
pub const PREFIX: &str = "hub1.";
/// Keeps this use of the key apart from any other.
const DOMAIN: &[u8] = b"hub/mrtr/v1";

/// A SHA-256.
pub type Digest = [u8; 32];

/// What a sealed string says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What is to be continued.
    pub kind: Kind,
    /// Which interim result this came with.
    pub round: u32,
    /// The instance whose child asked.
    pub child: String,
    /// Which of its processes.
    pub epoch: u64,
    /// The endpoint that was called.
    pub endpoint: String,
    /// The SHA-256 of who called.
    pub principal: Digest,
    /// [`digest`] of what was called.
    pub params: Digest,
    /// When it is no longer taken, in seconds since 1970.
    pub expires: u64,
}

/// What a retry continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A call that waits at the server, by its random number.
    Parked(#[serde(with = "hexadecimal")] u128),
    /// A call that the server refused until URLs were visited; it is made again from the start.
    Reissue {
        /// The `elicitationId`s whose completion the server will announce.
        waits_for: Vec<String>,
        /// The keys of the questions that must all be accepted.
        keys: Vec<String>,
    },
}

/// JSON has no numbers of this size.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{number:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        u128::from_str_radix(&String::deserialize(from)?, 16).map_err(D::Error::custom)
    }
}

/// What a claim must agree with to be taken.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The endpoint that the retry came to.
    pub endpoint: &'a str,
    /// The SHA-256 of who sent it.
    pub principal: &'a Digest,
    /// [`digest`] of the retry.
    pub params: &'a Digest,
}

/// Why a string is not taken. Clients are told only [`Invalid::to_error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not sealed by this hub, or changed since.
    #[error("not sealed here")]
    Forged,
    /// Sealed too long ago.
    #[error("expired")]
    Expired,
    /// For another endpoint.
    #[error("of another endpoint")]
    Endpoint,
    /// For another caller.
    #[error("of another principal")]
    Principal,
    /// For another request.
    #[error("of another request")]
    Params,
}

impl Invalid {
    /// What a client is told: the same for every reason, so that it learns nothing by trying.
    pub fn to_error(self) -> ErrorObject {
        invalid()
    }
}

/// The error for any `requestState` that is not taken, also one whose call is gone or whose round is over.
pub fn invalid() -> ErrorObject {
    ErrorObject::invalid_params("invalid or expired requestState")
}

/// Seals and opens claims.
pub struct Sealer {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// A sealer with a key of random bytes, which nothing else knows.
    pub fn new(key: [u8; 32]) -> Self {
        Self { mac: Hmac::new_from_slice(&key).expect("HMAC takes a key of any length") }
    }

    /// The claim as a string that only this sealer makes.
    pub fn seal(&self, claim: &Claim) -> String {
        let payload = serde_json::to_vec(claim).expect("numbers and strings serialise");
        let tag = self.mac_of(&payload).finalize().into_bytes();
        format!("{PREFIX}{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(tag))
    }

    /// The claim of a string that a client brought, `now` in seconds since 1970. Nothing of it is read before its seal
    /// was verified.
    pub fn open(&self, sealed: &str, expected: &Expected<'_>, now: u64) -> Result<Claim, Invalid> {
        let claim = self.unsealed(sealed).ok_or(Invalid::Forged)?;
        if claim.expires <= now {
            return Err(Invalid::Expired);
        }
        if claim.endpoint != expected.endpoint {
            return Err(Invalid::Endpoint);
        }
        if claim.principal != *expected.principal {
            return Err(Invalid::Principal);
        }
        if claim.params != *expected.params {
            return Err(Invalid::Params);
        }
        Ok(claim)
    }

    fn unsealed(&self, sealed: &str) -> Option<Claim> {
        let (payload, tag) = sealed.strip_prefix(PREFIX)?.split_once('.')?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        // In constant time: a timing would tell how much of a guess is right.
        self.mac_of(&payload).verify_slice(&tag).ok()?;
        serde_json::from_slice(&payload).ok()
    }

    fn mac_of(&self, payload: &[u8]) -> Hmac<Sha256> {
        self.mac.clone().chain_update(DOMAIN).chain_update(payload)
    }
}

/// The SHA-256 of what a request asks for: the method and all of `params` that must be the same on a retry. Clients write
/// the same params differently (order of members, escapes, spaces); numbers count as they are written.
pub fn digest(method: &Method, params: Option<&Raw>) -> Digest {
    let mut hash = Sha256::new();
    hash.update(method.name());
    hash.update([0]);
    match params.map(|params| (params, Object::scan(params))) {
        Some((_, Some(object))) => {
            let salient = |key: &str| !matches!(key, "_meta" | "inputResponses" | "requestState");
            members(&mut hash, object.entries().filter(|(key, _)| salient(key)), 0);
        }
        Some((params, None)) => hash.update(params),
        None => hash.update(b"{}"),
    }
    hash.finalize().into()
}

/// Values nested deeper than this are taken as they are written: each level is read once more for every one above it,
/// and depth is a client's choice.
const DEPTH_MAX: usize = 8;

fn value(hash: &mut Sha256, raw: &Raw, depth: usize) {
    match raw.first() {
        Some(b'{') if depth < DEPTH_MAX => match Object::scan(raw) {
            Some(object) => members(hash, object.entries(), depth),
            None => hash.update(raw),
        },
        Some(b'[') if depth < DEPTH_MAX => {
            hash.update(b"[");
            for element in elements(raw) {
                value(hash, &element, depth + 1);
                hash.update(b",");
            }
            hash.update(b"]");
        }
        Some(b'"') => match unquote(raw) {
            Some(text) => string(hash, &text),
            None => hash.update(raw),
        },
        _ => hash.update(raw),
    }
}

fn members(hash: &mut Sha256, entries: impl Iterator<Item = (String, Raw)>, depth: usize) {
    let mut entries: Vec<(String, Raw)> = entries.collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    hash.update(b"{");
    for (key, raw) in &entries {
        string(hash, key);
        hash.update(b":");
        value(hash, raw, depth + 1);
        hash.update(b",");
    }
    hash.update(b"}");
}

fn string(hash: &mut Sha256, text: &str) {
    hash.update(serde_json::to_vec(text).expect("a string serialises"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn raw(text: &str) -> Raw {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn claim() -> Claim {
        Claim {
            kind: Kind::Parked(u128::MAX - 7),
            round: 3,
            child: "files".into(),
            epoch: 9,
            endpoint: "/mcp".into(),
            principal: [1; 32],
            params: [2; 32],
            expires: 100,
        }
    }

    const EXPECTED: Expected<'_> = Expected { endpoint: "/mcp", principal: &[1; 32], params: &[2; 32] };

    #[test]
    fn a_claim_comes_back_as_it_was() {
        let sealer = Sealer::new([7; 32]);
        let sealed = sealer.seal(&claim());
        assert!(sealed.starts_with(PREFIX) && sealed.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
        assert_eq!(sealer.open(&sealed, &EXPECTED, 99), Ok(claim()));
        let reissue =
            Claim { kind: Kind::Reissue { waits_for: vec!["e\"1".into()], keys: vec!["u1".into()] }, ..claim() };
        assert_eq!(sealer.open(&sealer.seal(&reissue), &EXPECTED, 0), Ok(reissue));
    }

    #[test]
    fn a_claim_is_for_one_caller_one_request_and_some_time() {
        let sealer = Sealer::new([7; 32]);
        let sealed = sealer.seal(&claim());
        let of = |expected: Expected<'_>, now| sealer.open(&sealed, &expected, now).expect_err("refused");
        assert_eq!(of(EXPECTED, 100), Invalid::Expired);
        assert_eq!(of(Expected { endpoint: "/other", ..EXPECTED }, 99), Invalid::Endpoint);
        assert_eq!(of(Expected { principal: &[3; 32], ..EXPECTED }, 99), Invalid::Principal);
        assert_eq!(of(Expected { params: &[3; 32], ..EXPECTED }, 99), Invalid::Params);
        assert_eq!(Invalid::Forged.to_error(), Invalid::Params.to_error());
        assert_eq!(invalid().to_raw(), r#"{"code":-32602,"message":"invalid or expired requestState"}"#);
    }

    #[test]
    fn nothing_forged_is_read() {
        let sealer = Sealer::new([7; 32]);
        let sealed = sealer.seal(&claim());
        let refused = |text: &str| assert_eq!(sealer.open(text, &EXPECTED, 0), Err(Invalid::Forged), "{text}");
        for index in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            refused(&String::from_utf8(changed).expect("text"));
        }
        refused(&format!("{sealed}-TAMPERED"));
        refused(&sealed[..sealed.len() - 1]);
        refused(&sealed[PREFIX.len()..]);
        refused(&Sealer::new([8; 32]).seal(&claim()));
        let (payload, _) = sealed.rsplit_once('.').expect("parts");
        for text in ["", "hub1.", "hub1..", "hub1.e30.", payload, &format!("{payload}.")] {
            refused(text);
        }
    }

    fn of(params: &str) -> Digest {
        digest(&Method::ToolsCall, Some(&raw(params)))
    }

    #[test]
    fn the_same_params_written_differently() {
        let one = of(r#"{"name":"x","arguments":{"a":[1,{"b":"ü"}],"c":null}}"#);
        assert_eq!(of(r#"{ "arguments" : {"c":null,"\u0061":[ 1 ,{"b":"\u00fc"}]},"name":"x"}"#), one);
        assert_eq!(
            of(
                r#"{"_meta":{"progressToken":1},"inputResponses":{},"requestState":"s","name":"x","arguments":{"a":[1,{"b":"ü"}],"c":null}}"#
            ),
            one
        );
        assert_eq!(digest(&Method::ToolsCall, None), of(r#"{"_meta":{}}"#));
    }

    #[test]
    fn other_params() {
        let base = r#"{"name":"x","arguments":{"a":1}}"#;
        for other in [
            r#"{"name":"y","arguments":{"a":1}}"#,
            r#"{"name":"x","arguments":{"a":1.0}}"#,
            r#"{"name":"x","arguments":{"a":"1"}}"#,
            r#"{"name":"x","arguments":{"a":[1]}}"#,
            r#"{"name":"x","arguments":{"a":1,"_meta":{}}}"#,
            r#"{"name":"x","arguments":{"a":1},"task":{}}"#,
            r#"{"name":"x"}"#,
        ] {
            assert_ne!(of(other), of(base), "{other}");
        }
        assert_ne!(digest(&Method::PromptsGet, Some(&raw(base))), of(base));
        assert_ne!(of(r#"{"a":["b","c"]}"#), of(r#"{"a":["b\",\"c"]}"#));
        assert_ne!(of(r#"{"a":[1,2]}"#), of(r#"{"a":[2,1]}"#));
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = |depth: usize| of(&format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth)));
        assert_ne!(deep(20_000), deep(20_001));
        assert_eq!(deep(20_000), deep(20_000));
    }

    #[test]
    fn depth_is_looked_into_as_far_as_arguments_go() {
        let at =
            |depth: usize, inner: &str| of(&format!(r#"{{"a":{}{inner}{}}}"#, "[".repeat(depth), "]".repeat(depth)));
        let (one, other) = (r#"{"b":1,"c":2}"#, r#"{"c":2,"b":1}"#);
        assert_eq!(at(DEPTH_MAX - 2, one), at(DEPTH_MAX - 2, other));
        assert_ne!(at(DEPTH_MAX - 1, one), at(DEPTH_MAX - 1, other));
    }

    proptest! {
        #[test]
        fn order_and_spaces_do_not_count(tree in proptest::collection::btree_map("[a-z\"\\\\ü]{1,4}", "[a-z\"\\\\\nü]{0,6}", 0..6)) {
            let forward: Vec<(&String, &String)> = tree.iter().collect();
            let text = |pairs: &[(&String, &String)], space: &str| {
                let members: Vec<String> =
                    pairs.iter().map(|(k, v)| format!("{}{space}:{}", serde_json::json!(k), serde_json::json!([v]))).collect();
                format!("{{{space}{}}}", members.join(&format!("{space},")))
            };
            let backward: Vec<_> = forward.iter().rev().copied().collect();
            prop_assert_eq!(of(&text(&forward, "")), of(&text(&backward, " \n")));
        }
    }
}

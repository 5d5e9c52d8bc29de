//! What is written to a child that is being opened, and what its answers say.
//!
//! In: a server's name and roots; raw results and errors. Out: lines; a [`Handshake`] or a [`Refusal`]. Owns nothing
//! that changes. May not: decide what follows from an answer (that is [`super::Opening`]).

use serde_json::{Value, json};

use crate::config::Roots;
use crate::mcp::error::{HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION};
use crate::mcp::message::{self, request_line};
use crate::mcp::meta::{CLIENT_CAPABILITIES, CLIENT_INFO, PROTOCOL_VERSION, SERVER_INFO};
use crate::mcp::splice::Object;
use crate::mcp::{Era, Line, Method, Outcome, ProtocolVersion, Raw, WireId, scan};

use crate::server::snapshot::{Handshake, Offers};

const MODERN: ProtocolVersion = ProtocolVersion::V2026_07_28;
/// Versions that a text names, at most.
const VERSIONS_NAMED_MAX: usize = 8;

/// What hub says of itself, and of whose server it opens.
#[derive(Debug)]
pub(super) struct Greeting {
    pub name: String,
    pub roots: Roots,
}

/// What a refusal means (PROTOCOL 2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// B: it is modern and names our revision all the same.
    SpeaksOurs,
    /// C: it knows about revisions, and speaks older ones only.
    SpeaksOlder,
    /// C: none that hub knows.
    SpeaksUnknown,
    /// D: it is modern and misses something.
    WantsMore,
    /// E: no modern server says this.
    Other,
}

/// An error, or a result that is none of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    code: i64,
    /// What it says, for people.
    pub text: String,
    supported: Vec<String>,
}

// === impl Refusal ===

impl Refusal {
    /// Reads a raw error object.
    pub(super) fn read(error: &Raw) -> Self {
        let object = Object::scan(error);
        let get = |key: &str| object.as_ref().and_then(|object| object.get(key));
        let code = get("code").and_then(|code| std::str::from_utf8(&code).ok()?.parse().ok());
        let text = object.as_ref().and_then(|object| object.get_str("message"));
        let supported = get("data").and_then(|data| Object::scan(&data)?.get("supported"));
        Self {
            code: code.unwrap_or_default(),
            text: text.filter(|text| !text.is_empty()).unwrap_or_else(|| "no reason given".to_owned()),
            supported: supported.map(|list| strings(&list)).unwrap_or_default(),
        }
    }

    /// A result that cannot be what was asked for.
    fn of_result(why: &str) -> Self {
        Self { code: 0, text: why.to_owned(), supported: Vec::new() }
    }

    /// A result that names revisions, but not ours.
    fn of_versions(supported: Vec<String>) -> Self {
        Self { code: UNSUPPORTED_VERSION, text: format!("it speaks {}", named(&supported)), supported }
    }

    pub(super) fn kind(&self) -> Kind {
        match self.code {
            HEADER_MISMATCH | MISSING_CAPABILITY => Kind::WantsMore,
            UNSUPPORTED_VERSION if self.supported.is_empty() || self.names(MODERN) => Kind::SpeaksOurs,
            UNSUPPORTED_VERSION if self.older().is_some() => Kind::SpeaksOlder,
            UNSUPPORTED_VERSION => Kind::SpeaksUnknown,
            _ => Kind::Other,
        }
    }

    /// Whether only a server that can be modern says this.
    pub(super) fn is_modern(&self) -> bool {
        matches!(self.kind(), Kind::SpeaksOurs | Kind::WantsMore)
    }

    /// The newest legacy revision that it names, unless it insists on the modern one.
    pub(super) fn older_revision(&self) -> Option<ProtocolVersion> {
        self.older().filter(|_| self.kind() != Kind::SpeaksOurs)
    }

    fn older(&self) -> Option<ProtocolVersion> {
        let known = self.supported.iter().filter_map(|version| ProtocolVersion::parse(version));
        known.filter(|version| version.era() == Era::Legacy).max()
    }

    fn names(&self, version: ProtocolVersion) -> bool {
        self.supported.iter().any(|named| named == version.as_str())
    }

    /// The revisions that it names, for people.
    pub(super) fn versions(&self) -> String {
        named(&self.supported)
    }
}

fn named(versions: &[String]) -> String {
    let few: Vec<&str> = versions.iter().take(VERSIONS_NAMED_MAX).map(String::as_str).collect();
    if few.is_empty() { "no revision".to_owned() } else { few.join(", ") }
}

/// The strings of a raw array; nothing, if it is none.
fn strings(raw: &Raw) -> Vec<String> {
    if raw.first() != Some(&b'[') {
        return Vec::new();
    }
    message::elements(raw).filter_map(|element| Some(scan::unquote(&element)?.into_owned())).collect()
}

fn client_info() -> Value {
    json!({ "name": "hub", "version": env!("CARGO_PKG_VERSION") })
}

// === impl Greeting ===

impl Greeting {
    /// Nothing is declared: nobody is there who could be asked. A server that insists is told everything that hub can
    /// relay.
    pub(super) fn discover(wire: u64, all_capabilities: bool) -> Line {
        let capabilities = if all_capabilities {
            json!({ "elicitation": { "form": {}, "url": {} }, "sampling": { "tools": {} }, "roots": {} })
        } else {
            json!({})
        };
        let meta = json!({
            PROTOCOL_VERSION: MODERN.as_str(),
            CLIENT_INFO: client_info(),
            CLIENT_CAPABILITIES: capabilities,
        });
        request_line(WireId(wire), &Method::Discover, &[Raw::from(json!({ "_meta": meta }).to_string())])
    }

    /// One static set of capabilities per configuration, so that behaviour does not depend on who connects first.
    pub(super) fn initialize(&self, wire: u64, version: Option<&str>) -> Line {
        let mut capabilities = json!({ "elicitation": { "form": {}, "url": {} }, "sampling": { "tools": {} } });
        if self.roots != Roots::default() {
            capabilities["roots"] = json!({ "listChanged": false });
        }
        let params = json!({
            "protocolVersion": version.unwrap_or(ProtocolVersion::LATEST_LEGACY.as_str()),
            "capabilities": capabilities,
            "clientInfo": client_info(),
        });
        request_line(WireId(wire), &Method::Initialize, &[Raw::from(params.to_string())])
    }

    /// The answer to `server/discover`.
    pub(super) fn discovered(&self, outcome: &Outcome) -> Result<Handshake, Refusal> {
        let result = match outcome {
            Outcome::Error(error) => return Err(Refusal::read(error)),
            Outcome::Result(result) => Object::scan(result),
        };
        let result = result.ok_or_else(|| Refusal::of_result("the result is not an object"))?;
        let versions = result.get("supportedVersions").filter(|list| list.first() == Some(&b'['));
        let versions = versions.ok_or_else(|| Refusal::of_result("the result names no `supportedVersions`"))?;
        let versions = strings(&versions);
        if !versions.iter().any(|version| version == MODERN.as_str()) {
            return Err(Refusal::of_versions(versions));
        }
        let meta = object_of(&result, "_meta").and_then(|meta| Object::scan(&meta));
        Ok(Handshake {
            era: Era::Modern,
            version: MODERN.as_str().to_owned(),
            capabilities: object_of(&result, "capabilities").unwrap_or_else(|| Raw::from_static(b"{}")),
            server_info: meta.and_then(|meta| object_of(&meta, SERVER_INFO)).unwrap_or_else(|| self.nameless()),
            instructions: instructions(&result),
            offers: Offers::default(),
        })
    }

    /// The result of `initialize`.
    pub(super) fn initialized(&self, result: &Raw) -> Result<Handshake, String> {
        let result = Object::scan(result).ok_or("initialize: the result is not an object")?;
        let version = result.get_str("protocolVersion").unwrap_or_default();
        let latest = ProtocolVersion::LATEST_LEGACY;
        if version.as_str() > latest.as_str() {
            return Err(format!("initialize: the server answered {version}; hub asked for {latest}"));
        }
        Ok(Handshake {
            era: Era::Legacy,
            version,
            capabilities: object_of(&result, "capabilities").unwrap_or_else(|| Raw::from_static(b"{}")),
            server_info: object_of(&result, "serverInfo").unwrap_or_else(|| self.nameless()),
            instructions: instructions(&result),
            offers: Offers::default(),
        })
    }

    /// Legacy clients insist on a `serverInfo`.
    fn nameless(&self) -> Raw {
        Raw::from(json!({ "name": self.name, "version": "0" }).to_string())
    }
}

fn object_of(object: &Object, key: &str) -> Option<Raw> {
    object.get(key).filter(|value| value.first() == Some(&b'{'))
}

fn instructions(result: &Object) -> Option<Raw> {
    result.get("instructions").filter(|text| text.first() == Some(&b'"'))
}

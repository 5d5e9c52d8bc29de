//! Who may talk to hub: `Host` and `Origin`, before anything else is looked at (PROTOCOL 1.19).
//!
//! In: a request head and the [`Rules`]. Out: allowed, with the CORS headers of that origin, or a [`Refusal`]. Owns
//! nothing. May not: read a body, or trust a name because it resolves to a loopback address.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;

use super::respond::Refusal;

/// The names under which hub may be reached, and the web pages that may call it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    hosts: Vec<String>,
    origins: Vec<Origin>,
}

/// A web origin (RFC 6454): compared as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

/// Headers that a page may send, beside those that every page may (PROTOCOL 1.19).
const REQUEST_HEADERS: [&str; 8] = [
    "content-type",
    "accept",
    "authorization",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "mcp-method",
    "mcp-name",
];
/// And any header that begins so.
const REQUEST_HEADER_PREFIX: &str = "mcp-param-";
const PRIVATE_NETWORK_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE_NETWORK_ALLOWED: HeaderName = HeaderName::from_static("access-control-allow-private-network");

impl Rules {
    /// Loopback, the address that hub is bound to, and what is configured beyond.
    pub fn new(bound: IpAddr, hosts: &[String], origins: &[Origin]) -> Self {
        let bound = match bound {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).chain([bound]).collect();
        Self { hosts, origins: origins.to_vec() }
    }

    /// Checks a request head. `Ok(None)` for a request that names no origin, as everything but a browser does.
    pub fn check<'a>(&self, head: &'a Parts) -> Result<Option<&'a HeaderValue>, Refusal> {
        self.check_host(head)?;
        let Some(origin) = single(&head.headers, &header::ORIGIN).map_err(|Twice| Refusal::ForeignOrigin)? else {
            return Ok(None);
        };
        let allowed = origin.to_str().ok().and_then(Origin::parse).is_some_and(|parsed| self.allows(&parsed));
        if allowed { Ok(Some(origin)) } else { Err(Refusal::ForeignOrigin) }
    }

    fn check_host(&self, head: &Parts) -> Result<(), Refusal> {
        let host = single(&head.headers, &header::HOST).map_err(|Twice| Refusal::ForeignHost)?;
        let named = host.and_then(|host| host.to_str().ok()).is_some_and(|host| self.knows(host));
        // An absolute request target overrides `Host` (RFC 9112 section 3.2.2), so it has to pass as well.
        let target = head.uri.authority().is_none_or(|authority| self.knows(authority.as_str()));
        if named && target { Ok(()) } else { Err(Refusal::ForeignHost) }
    }

    fn knows(&self, authority: &str) -> bool {
        let Some((host, _port)) = split_port(authority) else { return false };
        is_loopback(host) || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    fn allows(&self, origin: &Origin) -> bool {
        is_loopback(&origin.host) || self.origins.contains(origin)
    }
}

impl Origin {
    /// Reads `scheme://host[:port]`; the port may be left out where the scheme has one.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_port(authority)?;
        let port = match (port, scheme.as_str()) {
            (Some(port), "http" | "https") => port,
            (None, "http") => 80,
            (None, "https") => 443,
            _ => return None,
        };
        Some(Self { scheme, host: host.to_ascii_lowercase(), port })
    }
}

/// The headers that let a page of an allowed origin read the reply.
pub fn cors(origin: &HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Mcp-Session-Id"));
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers
}

/// What a preflight of an allowed origin is told about a path that takes `allow`.
pub fn preflight(request: &HeaderMap, allow: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allow));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Ok(names) = HeaderValue::try_from(allowed_headers(request)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    if request.contains_key(&PRIVATE_NETWORK_ASKED) {
        headers.insert(PRIVATE_NETWORK_ALLOWED, HeaderValue::from_static("true"));
    }
    headers
}

/// The fixed names, and of those asked for the ones with the open-ended prefix (CORS has no wildcard for a prefix).
fn allowed_headers(request: &HeaderMap) -> String {
    let asked = request.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|value| value.to_str().ok());
    let open_ended = asked
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| name.starts_with(REQUEST_HEADER_PREFIX) && HeaderName::try_from(name.as_str()).is_ok());
    REQUEST_HEADERS.iter().map(ToString::to_string).chain(open_ended).collect::<Vec<_>>().join(", ")
}

struct Twice;

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Twice> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Twice) } else { Ok(first) }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host == "127.0.0.1" || host == "[::1]"
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`; anything else (user info, a path, two ports) is nothing.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end_of_host = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(end_of_host);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'[' | b']' | b':');
    if host.is_empty() || !host.bytes().all(plain) {
        return None;
    }
    match rest.strip_prefix(':') {
        None => rest.is_empty().then_some((host, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some((host, Some(port.parse().ok()?))),
        Some(_) => None,
    }
}

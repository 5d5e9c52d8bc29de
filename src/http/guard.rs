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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hyper::Request;

    use super::*;

    fn rules() -> Rules {
        let origins = [Origin::parse("https://tools.example").expect("an origin")];
        Rules::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), &["Hub.Test".to_owned()], &origins)
    }

    fn head(target: &str, headers: &[(&str, &str)]) -> Parts {
        let request =
            headers.iter().fold(Request::builder().uri(target), |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    fn verdict(headers: &[(&str, &str)]) -> Option<&'static str> {
        match rules().check(&head("/mcp", headers)) {
            Ok(_) => None,
            Err(Refusal::ForeignHost) => Some("host"),
            Err(Refusal::ForeignOrigin) => Some("origin"),
            Err(_) => Some("other"),
        }
    }

    #[test]
    fn only_own_names_are_hosts() {
        for good in ["localhost", "LOCALHOST:1", "127.0.0.1:18901", "[::1]", "[::1]:80", "127.0.0.2:9", "hub.test:80"] {
            assert_eq!(verdict(&[("host", good)]), None, "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.3",
            "localhost@evil.example",
            "evil.example:80@localhost",
            "localhost:80:80",
            "localhost:x",
            "localhost:99999",
            "[::1",
            "[::1]x",
            "::1",
            "",
        ] {
            assert_eq!(verdict(&[("host", bad)]), Some("host"), "{bad:?}");
        }
        assert_eq!(verdict(&[]), Some("host"), "HTTP/1.0 without a host");
        assert_eq!(verdict(&[("host", "localhost"), ("host", "localhost")]), Some("host"), "which one counts?");
    }

    #[test]
    fn an_absolute_target_is_checked_too() {
        let headers = [("host", "localhost")];
        assert!(rules().check(&head("http://localhost:1/mcp", &headers)).is_ok());
        assert!(matches!(rules().check(&head("http://evil.example/mcp", &headers)), Err(Refusal::ForeignHost)));
    }

    #[test]
    fn only_loopback_and_configured_pages_may_call() {
        let with = |origin| verdict(&[("host", "localhost"), ("origin", origin)]);
        for good in [
            "http://localhost:6274",
            "https://localhost",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "https://tools.example",
            "HTTPS://TOOLS.example:443",
        ] {
            assert_eq!(with(good), None, "{good}");
        }
        for bad in [
            "null",
            "",
            "http://evil.example",
            "http://localhost.evil.example",
            "http://tools.example",
            "https://tools.example:444",
            "https://sub.tools.example",
            "file://localhost",
            "http://localhost/path",
            "localhost",
        ] {
            assert_eq!(with(bad), Some("origin"), "{bad:?}");
        }
        let twice = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://evil.example")];
        assert_eq!(verdict(&twice), Some("origin"));
    }

    #[test]
    fn a_preflight_allows_what_the_protocol_sends() {
        let asked = "mcp-session-id, Mcp-Param-Owner, x-evil, mcp-param-\u{7f}";
        let request = head("/mcp", &[("access-control-request-private-network", "true")]);
        let mut headers = request.headers;
        headers.insert(
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            HeaderValue::from_bytes(asked.replace('\u{7f}', "x y").as_bytes()).expect("a header"),
        );
        let answer = preflight(&headers, "GET, POST, DELETE, OPTIONS");
        let allowed = answer[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().expect("text");
        assert!(allowed.starts_with("content-type, accept, authorization"));
        assert!(allowed.ends_with("mcp-name, mcp-param-owner"), "{allowed}");
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_METHODS], "GET, POST, DELETE, OPTIONS");
        assert_eq!(answer[PRIVATE_NETWORK_ALLOWED], "true");
    }
}

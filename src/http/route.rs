//! Which path means what, on which listener (DESIGN 3.3).
//!
//! In: a [`Face`], a path, the servers. Out: a [`Route`], or a [`Refusal`]. Owns nothing. May not: answer "not found" for
//! a configured server, whatever state it is in.

use hyper::Method;

use crate::config::ServerName;
use crate::server::Registry;
use crate::session::EndpointId;

use super::{Face, Refusal};

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Streamable HTTP.
    Mcp(EndpointId),
    /// The stream of HTTP+SSE (2024-11-05).
    Sse(EndpointId),
    /// Where its client posts.
    Messages(EndpointId),
    /// Is it alive?
    Health(EndpointId),
    /// Is everything that should run up?
    Ready,
    /// Numbers for Prometheus.
    Metrics,
}

impl Route {
    /// The methods that it takes, as in `Allow`.
    pub(super) fn allow(&self) -> &'static str {
        match self {
            Self::Mcp(_) => "GET, POST, DELETE, OPTIONS",
            // POST is refused with 405 so that clients of both transports can tell which one this is (PROTOCOL 1.20).
            Self::Sse(_) => "GET",
            Self::Messages(_) => "POST, OPTIONS",
            Self::Health(_) | Self::Ready | Self::Metrics => "GET, HEAD",
        }
    }

    /// Does it take this method? `OPTIONS` is answered for every path.
    pub(super) fn takes(&self, method: &Method) -> bool {
        match self {
            Self::Mcp(_) => matches!(*method, Method::GET | Method::POST | Method::DELETE | Method::OPTIONS),
            Self::Sse(_) => *method == Method::GET,
            Self::Messages(_) => matches!(*method, Method::POST | Method::OPTIONS),
            Self::Health(_) | Self::Ready | Self::Metrics => matches!(*method, Method::GET | Method::HEAD),
        }
    }
}

/// Finds the route of a path.
pub(super) fn find(face: &Face, path: &str, registry: &Registry) -> Result<Route, Refusal> {
    let nothing = || Refusal::NoSuchPath { path: path.to_owned() };
    let (endpoint, rest) = match face {
        Face::Server(name) => (EndpointId::Server(name.clone()), path),
        Face::Hub => match path.strip_prefix("/servers/") {
            None => (EndpointId::Aggregate, path),
            Some(named) => {
                let slash = named.find('/').ok_or_else(nothing)?;
                let (name, rest) = named.split_at(slash);
                (EndpointId::Server(configured(name, registry)?), rest)
            }
        },
    };
    match (rest, face) {
        ("/mcp", _) => Ok(Route::Mcp(endpoint)),
        ("/sse", _) => Ok(Route::Sse(endpoint)),
        ("/messages", _) => Ok(Route::Messages(endpoint)),
        ("/healthz", _) => Ok(Route::Health(endpoint)),
        ("/readyz", Face::Hub) if endpoint == EndpointId::Aggregate => Ok(Route::Ready),
        ("/metrics", Face::Hub) if endpoint == EndpointId::Aggregate => Ok(Route::Metrics),
        _ => Err(nothing()),
    }
}

fn configured(name: &str, registry: &Registry) -> Result<ServerName, Refusal> {
    match registry.get(name) {
        Some(server) => Ok(server.name.clone()),
        None => Err(Refusal::NoSuchServer { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::registry::{NotRunning, Registered};

    fn name(text: &str) -> ServerName {
        ServerName::new(text).expect("a name")
    }

    fn registry() -> Registry {
        let server =
            |text| Registered { name: name(text), port: 1, handle: Err(NotRunning::Disabled), listen_failure: None };
        Registry::new(vec![server("git"), server("time")])
    }

    fn route(face: &Face, path: &str) -> Option<Route> {
        find(face, path, &registry()).ok()
    }

    #[test]
    fn the_port_of_a_server_serves_that_server_only() {
        let face = Face::Server(name("git"));
        let git = EndpointId::Server(name("git"));
        assert_eq!(route(&face, "/mcp"), Some(Route::Mcp(git.clone())));
        assert_eq!(route(&face, "/sse"), Some(Route::Sse(git.clone())));
        assert_eq!(route(&face, "/messages"), Some(Route::Messages(git.clone())));
        assert_eq!(route(&face, "/healthz"), Some(Route::Health(git)));
        for nothing in ["/", "", "/mcp/", "/readyz", "/metrics", "/servers/git/mcp", "/servers/time/mcp", "/MCP"] {
            assert_eq!(route(&face, nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_hub_port_serves_all_and_each() {
        let (all, time) = (EndpointId::Aggregate, EndpointId::Server(name("time")));
        assert_eq!(route(&Face::Hub, "/mcp"), Some(Route::Mcp(all.clone())));
        assert_eq!(route(&Face::Hub, "/messages"), Some(Route::Messages(all.clone())));
        assert_eq!(route(&Face::Hub, "/healthz"), Some(Route::Health(all)));
        assert_eq!(route(&Face::Hub, "/readyz"), Some(Route::Ready));
        assert_eq!(route(&Face::Hub, "/metrics"), Some(Route::Metrics));
        assert_eq!(route(&Face::Hub, "/servers/time/mcp"), Some(Route::Mcp(time.clone())));
        assert_eq!(route(&Face::Hub, "/servers/time/sse"), Some(Route::Sse(time.clone())));
        assert_eq!(route(&Face::Hub, "/servers/time/messages"), Some(Route::Messages(time)));
        for nothing in
            ["/servers", "/servers/", "/servers/time", "/servers//mcp", "/servers/other/mcp", "/servers/time/metrics"]
        {
            assert_eq!(route(&Face::Hub, nothing), None, "{nothing}");
        }
    }

    #[test]
    fn methods_are_those_of_the_protocol() {
        let mcp = Route::Mcp(EndpointId::Aggregate);
        assert!(mcp.takes(&Method::GET) && mcp.takes(&Method::POST) && mcp.takes(&Method::DELETE));
        assert!(!mcp.takes(&Method::PUT) && !mcp.takes(&Method::HEAD));
        assert_eq!(Route::Sse(EndpointId::Aggregate).allow(), "GET");
        assert!(!Route::Messages(EndpointId::Aggregate).takes(&Method::GET));
    }
}

//! HTTP around the protocol: PROTOCOL 5.3 tests 37, 38 and 39, sections 1.13 to 1.19, DESIGN 3.3.
//!
//! In: requests that are wrong in one way each. Out: one status each. Owns nothing. May not: accept a refusal that harms
//! anybody else.

use crate::support::session::{L0, L1, L2, L3, initialize_body, message};
use crate::support::{Answer, Fake, Hub, Reply, Session, Setup, Target, Value, json};
use std::time::Duration;

const LIST: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"v":"x"}}}"#;

fn with_session(target: &Target, id: &str) -> Reply {
    target.post(&[("Mcp-Session-Id", id)], LIST)
}

#[test]
fn t37_session_http() {
    let hub = Hub::start(Setup::of([Fake::new("a"), Fake::new("b")]));
    let (a, b) = (hub.at("a"), hub.at("b"));
    let none = a.post(&[], LIST);
    assert_eq!(none.status(), 400, "{}", none.text());
    for bogus in ["bogus", "", "../../etc/passwd", &"x".repeat(4000)] {
        let status = with_session(&a, bogus).status();
        assert!(status == 404 || (bogus.is_empty() && status == 400), "{bogus:.20}: {status}");
    }
    let session = Session::open(&a);
    assert!(session.id.len() >= 43, "32 random bytes: {}", session.id);
    assert!(session.id.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(with_session(&b, &session.id).status(), 404, "another server's port");
    assert_eq!(with_session(&hub.all(), &session.id).status(), 404, "the aggregate is another endpoint");
    assert_eq!(with_session(&a, &session.id).status(), 200);

    let call = session.begin_call("sleep", &json!({"ms": 20_000}));
    let wire = hub.journal("a").wait_for_calls("sleep", 1)[0]["id"].clone();
    assert_eq!(session.delete().status(), 204);
    let cancelled = hub.journal("a").wait_for("notifications/cancelled", 1);
    assert_eq!(cancelled[0]["params"]["requestId"], wire);
    call.closed();
    for reply in
        [with_session(&a, &session.id), session.delete(), session.notify("notifications/initialized", &json!({}))]
    {
        assert_eq!(reply.status(), 404, "{}", reply.text());
        assert!(reply.head.is_json(), "never HTML: {:?}", reply.head);
    }
    assert_eq!(session.resume("1-1").head().status, 404);
    assert_eq!(a.post(&[("Mcp-Session-Id", &session.id)], &initialize_body(L3, &json!({}))).status(), 200);
}

#[test]
fn t37_idle_expiry() {
    let hub = Hub::start(Setup::one().hub_key("session_expiry", "\"2s\""));
    let target = hub.at("a");
    let (idle, listening, calling) = (Session::open(&target), Session::open(&target), Session::open(&target));
    let _open = listening.listen();
    let call = calling.begin_call("sleep", &json!({"ms": 6000}));
    // The rule itself is about time, so time has to pass.
    std::thread::sleep(Duration::from_millis(5500));
    assert_eq!(with_session(&target, &idle.id).status(), 404);
    listening.echo("an open stream is use");
    assert_eq!(call.text(), "slept");
    calling.echo("so is a call in flight");
}

/// The idlest session goes when there are too many.
#[test]
fn t37_session_cap() {
    let hub = Hub::start(Setup::one().hub_key("sessions_max", "20"));
    let target = hub.at("a");
    let sessions: Vec<Session> = (0..20).map(|_| Session::open(&target)).collect();
    sessions[0].echo("in use");
    let newest = Session::open(&target);
    newest.echo("admitted");
    sessions[0].echo("kept");
    assert_eq!(with_session(&target, &sessions[1].id).status(), 404, "the idlest one");
    sessions[19].echo("kept");
}

#[test]
fn t38_origin_host() {
    let setup = Setup::one()
        .hub_key("allowed_origins", "[\"https://app.example\"]")
        .hub_key("allowed_hosts", "[\"hub.example\"]");
    let hub = Hub::start(setup);
    let session = hub.session("a");
    let evil = [
        ("Host", "evil.example"),
        ("Host", "localhost.evil.example:80"),
        ("Host", "127.0.0.1.evil.example"),
        ("Host", "169.254.169.254"),
        ("Origin", "http://evil.example"),
        ("Origin", "https://localhost.evil.example"),
        ("Origin", "http://127.0.0.1.evil.example"),
        ("Origin", "null"),
        ("Origin", "file://"),
        ("Origin", "http://app.example"),
        ("Origin", "https://app.example:444"),
        ("Origin", "http://evil.example#localhost"),
    ];
    let good = [
        ("Host", "localhost"),
        ("Host", "LOCALHOST:1"),
        ("Host", "127.0.0.1:9"),
        ("Host", "[::1]:9"),
        ("Host", "hub.example:443"),
        ("Origin", "http://localhost:5173"),
        ("Origin", "http://127.0.0.1"),
        ("Origin", "http://[::1]:80"),
        ("Origin", "https://app.example"),
    ];
    let before = hub.journal("a").count("tools/call");
    for header in evil {
        let posted = session.post_with(&[header], CALL);
        assert_eq!(posted.status(), 403, "{header:?}: {}", posted.text());
        for target in
            [hub.at("a"), hub.at("a").at("/sse"), hub.all(), hub.hub_path("/servers/a/mcp"), hub.hub_path("/metrics")]
        {
            let got =
                target.send("GET", &[header, ("Accept", "text/event-stream"), ("Mcp-Session-Id", &session.id)], b"");
            assert_eq!(got.status(), 403, "GET {} {header:?}", target.path);
        }
        let deleted = session.target.send("DELETE", &[header, ("Mcp-Session-Id", &session.id)], b"");
        assert_eq!(deleted.status(), 403, "{header:?}");
    }
    assert_eq!(hub.journal("a").count("tools/call"), before);
    for header in good {
        assert_eq!(session.post_with(&[header], CALL).status(), 200, "{header:?}");
    }
}

/// A page of an allowed origin may call, any other one learns nothing (1.19).
#[test]
fn t38_cors() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let ask = [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "mcp-session-id")];
    let preflight = |origin: &str| hub.at("a").send("OPTIONS", &[("Origin", origin), ask[0], ask[1]], b"");
    let allowed = preflight("http://localhost:5173");
    assert!(matches!(allowed.status(), 200 | 204), "{:?}", allowed.head);
    assert_eq!(allowed.head.header("access-control-allow-origin"), Some("http://localhost:5173"));
    let names = allowed.head.header("access-control-allow-headers").expect("header names").to_lowercase();
    for name in ["mcp-session-id", "mcp-protocol-version", "last-event-id", "authorization"] {
        assert!(names.contains(name), "{names}");
    }
    let refused = preflight("http://evil.example");
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.head.header("access-control-allow-origin"), None);
    let posted = session.post_with(&[("Origin", "http://localhost:5173")], LIST);
    assert_eq!(posted.head.header("access-control-allow-origin"), Some("http://localhost:5173"));
    let exposed = posted.head.header("access-control-expose-headers").expect("exposed headers").to_lowercase();
    assert!(exposed.contains("mcp-session-id"));
    assert_eq!(session.post(LIST).head.header("access-control-allow-origin"), None);
}

fn echo(id: &Value, text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "echo", "arguments": {"v": text}}})
}

#[test]
fn t39_batch() {
    let hub = Hub::start(Setup::one());
    let session = Session::with(&hub.at("a"), L1, &json!({}));
    let post = |value: Value| session.post(value.to_string().as_bytes());
    let note = json!({"jsonrpc": "2.0", "method": "notifications/vendor", "params": {}});

    let reply = post(json!([echo(&json!(1), "one"), note, echo(&json!("1"), "two")]));
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let mut messages = Answer::from_reply(&reply).messages();
    if let [Value::Array(all)] = messages.as_slice() {
        messages = all.clone();
    }
    assert_eq!(messages.len(), 2, "{messages:?}");
    for (id, text) in [(json!(1), "one"), (json!("1"), "two")] {
        let mine = messages.iter().find(|message| message["id"] == id).expect("a response per request");
        assert_eq!(mine["result"]["content"][0]["text"], text);
    }
    let body = json!([echo(&json!(2), "x"), echo(&json!(3), "y")]).to_string();
    let json_only = session.post_with(&[("Accept", "application/json")], body.as_bytes());
    assert_eq!(json_only.json().as_array().map(Vec::len), Some(2), "one array where only JSON will do");

    let notes = post(json!([note, note]));
    assert_eq!((notes.status(), notes.body.len()), (202, 0));
    assert_eq!(post(json!([])).status(), 400);
    let many: Vec<Value> = (0..101).map(|n| echo(&json!(n), "x")).collect();
    assert_eq!(post(json!(many)).status(), 400);
    assert_eq!(post(json!(many[..100])).status(), 200);

    let init: Value = serde_json::from_slice(&initialize_body(L1, &json!({}))).expect("JSON");
    let mixed = post(json!([init, echo(&json!(9), "served")]));
    let text = mixed.text();
    assert!(text.contains("served") && text.contains("-32600"), "initialize errors, the other is served: {text}");
    let mut claim = echo(&json!(10), "x");
    claim["params"]["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    assert_eq!(post(json!([claim, echo(&json!(11), "y")])).status(), 400);
    let broken = post(json!([{"jsonrpc": "2.0", "id": 12}, echo(&json!(13), "fine")]));
    assert!(broken.status() == 400 || broken.text().contains("fine"), "{}", broken.text());

    for line in hub.journal("a").lines() {
        assert!(line.starts_with('{'), "a child gets single messages: {line}");
    }
}

#[test]
fn t39_no_batches_elsewhere() {
    let hub = Hub::start(Setup::one());
    for version in [L0, L2, L3] {
        let session = Session::with(&hub.at("a"), version, &json!({}));
        let before = hub.journal("a").count("tools/call");
        let reply = session.post(json!([echo(&json!(1), "one")]).to_string().as_bytes());
        assert_eq!(reply.status(), 400, "{version}: {}", reply.text());
        assert_eq!(reply.json()["error"]["code"], -32600);
        assert_eq!(hub.journal("a").count("tools/call"), before);
    }
}

/// 1.17
#[test]
fn content_type_and_accept() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    for (kind, status) in [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json-seq", 415),
        ("", 415),
    ] {
        assert_eq!(session.post_with(&[("Content-Type", kind)], LIST).status(), status, "{kind:?}");
    }
    for (accept, status) in [
        ("*/*", 200),
        ("application/*", 200),
        ("text/event-stream", 200),
        ("application/json;q=0.1", 200),
        ("text/html", 406),
        ("application/json;q=0, text/event-stream;q=0", 406),
    ] {
        assert_eq!(session.post_with(&[("Accept", accept)], LIST).status(), status, "{accept:?}");
    }
    let headers = [("Content-Type", "application/json"), ("Mcp-Session-Id", session.id.as_str())];
    assert_eq!(session.target.send("POST", &headers, LIST).status(), 200, "no Accept accepts all");
    let get = session.target.send("GET", &[("Accept", "application/json"), headers[1]], b"");
    assert_eq!(get.status(), 406);
}

/// 1.18: a version that hub does not know is refused, a legacy one is served as negotiated.
#[test]
fn protocol_version_header() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let with = |version: &str| session.post_with(&[("MCP-Protocol-Version", version)], LIST).status();
    assert_eq!((with(L0), with(L1), with(L2), with(L3)), (200, 200, 200, 200));
    assert_eq!((with("1900-01-01"), with("bogus")), (400, 400));
    let without = session.target.post(&[("Mcp-Session-Id", &session.id)], LIST);
    assert_eq!(without.status(), 200);
}

/// 1.17: a body over the limit is refused, whether its length is announced or not.
#[test]
fn body_limit() {
    let hub = Hub::start(Setup::one().hub_key("body_max", "\"1MiB\""));
    let session = hub.session("a");
    let fits =
        message(Some(&json!(1)), "tools/call", &json!({"name": "echo", "arguments": {"v": "x".repeat(1_000_000)}}));
    assert_eq!(session.post(&fits).status(), 200);
    let over =
        message(Some(&json!(1)), "tools/call", &json!({"name": "echo", "arguments": {"v": "x".repeat(1 << 20)}}));
    let reply = session.target.post(&[("Mcp-Session-Id", &session.id)], &over);
    assert_eq!(reply.status(), 413, "{}", reply.text());
    assert!(reply.head.is_json());
    let mut chunked = format!("{:x}\r\n", over.len()).into_bytes();
    chunked.extend_from_slice(&over);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let headers = [("Mcp-Session-Id", session.id.as_str()), ("Transfer-Encoding", "chunked")];
    assert_eq!(session.target.post(&headers, &chunked).status(), 413);
    session.echo("others are served");
    assert!(hub.journal("a").lines().iter().all(|line| line.len() < 1 << 20));
}

/// DESIGN 3.3: what is not there is a JSON 404, and a method that does not fit says which ones do.
#[test]
fn unknown_paths_and_methods() {
    let hub = Hub::start(Setup::one());
    let paths = ["/", "/mcp/", "/nothing", "/.well-known/oauth-authorization-server", "/register", "/favicon.ico"];
    for base in [hub.at("a"), hub.all()] {
        for path in paths {
            for reply in [base.at(path).get(), base.at(path).post(&[], LIST)] {
                assert_eq!(reply.status(), 404, "{path}");
                assert!(reply.head.is_json(), "{path}: {:?}", reply.head);
                assert!(reply.json().is_object());
            }
        }
    }
    for path in ["/servers/nobody/mcp", "/servers/a", "/servers//mcp", "/servers/a/b/mcp"] {
        assert_eq!(hub.hub_path(path).post(&[], LIST).status(), 404, "{path}");
    }
    for method in ["PUT", "PATCH", "TRACE"] {
        let reply = hub.at("a").send(method, &[], b"");
        assert_eq!(reply.status(), 405, "{method}");
        let allow = reply.head.header("allow").expect("an Allow header");
        assert!(["GET", "POST", "DELETE"].iter().all(|known| allow.contains(known)), "{allow}");
    }
}

/// One server has two ways in: its own port and a path on the hub port. They are the same endpoint.
#[test]
fn server_path_on_the_hub_port() {
    let hub = Hub::start(Setup::one());
    let by_path = Session::open(&hub.hub_path("/servers/a/mcp"));
    by_path.echo("by path");
    assert_eq!(by_path.init["serverInfo"]["name"], "fake");
    hub.session("a").echo("by port");
    assert_eq!(hub.journal("a").count("initialize"), 1);
}

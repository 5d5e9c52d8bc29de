//! The ladder of checks over real sockets, with a scripted server behind it.
//!
//! In: requests, each a good one with something changed. Out: statuses and codes. Each test owns its listener and its
//! server. May not: sleep for ordering.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::tests::{PATIENCE, connect, rest, serving, start};
use crate::mcp::{Era, ListKind, Method, Outcome, Raw};
use crate::server::scripted::Scripted;

const PATH: &str = "/servers/s/mcp";

fn echo(method: &Method, params: Option<&Raw>) -> Option<Outcome> {
    let silent = params.is_some_and(|params| memchr::memmem::find(params, b"silent").is_some());
    (*method == Method::ToolsCall && !silent).then(|| Outcome::Result(Raw::from_static(b"{\"content\":[]}")))
}

fn server() -> Scripted {
    let server = Scripted::start("s", echo);
    let mirrored = r#"[{"name":"t"},{"name":"m","inputSchema":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"Region"}}}}]"#;
    server.list(ListKind::Tools, mirrored);
    server.ready_as(Era::Legacy, r#"{"tools":{}}"#);
    server
}

/// A request that can be changed in every way.
#[derive(Clone)]
struct Request {
    line: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

impl Request {
    /// A call that is served.
    fn good() -> Self {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let headers = [
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", "t"),
        ];
        Self {
            line: "POST",
            headers: headers.map(|(name, value)| (name, value.to_owned())).to_vec(),
            body: json!({ "jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": { "name": "t", "_meta": meta } }),
        }
    }

    fn header(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.extend(value.map(|value| (name, value.to_owned())));
        self
    }

    fn twice(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn body(mut self, pointer: &str, value: Value) -> Self {
        *self.body.pointer_mut(pointer).expect("a place") = value;
        self
    }

    fn method(self, name: &str) -> Self {
        self.header("Mcp-Method", Some(name)).body("/method", json!(name))
    }

    fn without(mut self, parent: &str, key: &str) -> Self {
        self.body.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").shift_remove(key);
        self
    }

    async fn open(&self, address: SocketAddr) -> TcpStream {
        let body = if self.line == "POST" { self.body.to_string() } else { String::new() };
        let headers: Vec<String> = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = headers.concat();
        let length = body.len();
        let head = format!(
            "{} {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n",
            self.line
        );
        let mut socket = connect(address).await;
        socket.write_all(format!("{head}{body}").as_bytes()).await.expect("sends");
        socket
    }

    async fn send(&self, address: SocketAddr) -> (u16, String) {
        let text = rest(&mut self.open(address).await).await.expect("an answer");
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, text)
    }

    /// The status, and the code of the error.
    async fn judged(&self, address: SocketAddr) -> (u16, Option<i64>, Value) {
        let (status, text) = self.send(address).await;
        let body = text.split_once("\r\n\r\n").expect("a head").1;
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        (status, body["error"]["code"].as_i64(), body)
    }
}

const VERSION: &str = "/params/_meta/io.modelcontextprotocol~1protocolVersion";

#[tokio::test]
async fn each_step_has_its_status_and_code() {
    let server = server();
    let ctx = serving(&[&server]);
    let (_listener, address) = start(&ctx);
    let good = Request::good;
    let claims = "/params/_meta";
    for (name, request, expected) in [
        ("good", good(), (200, None)),
        (
            "1: no capabilities",
            good().without(claims, "io.modelcontextprotocol/clientCapabilities"),
            (400, Some(-32602)),
        ),
        ("1: a version that is no string", good().body(VERSION, json!(7)), (400, Some(-32602))),
        ("2: no version header", good().header("MCP-Protocol-Version", None), (400, Some(-32020))),
        ("2: another version", good().header("MCP-Protocol-Version", Some("2025-11-25")), (400, Some(-32020))),
        ("2: twice", good().twice("mcp-protocol-version", "2026-07-28"), (400, Some(-32020))),
        (
            "3: unknown",
            good().body(VERSION, json!("v999")).header("MCP-Protocol-Version", Some("v999")),
            (400, Some(-32022)),
        ),
        (
            "3: legacy",
            good().body(VERSION, json!("2025-11-25")).header("MCP-Protocol-Version", Some("2025-11-25")),
            (400, Some(-32022)),
        ),
        ("4: no method header", good().header("Mcp-Method", None), (400, Some(-32020))),
        ("4: another case", good().header("Mcp-Method", Some("Tools/Call")), (400, Some(-32020))),
        ("4: spaces around", good().header("Mcp-Method", Some("  tools/call  ")), (200, None)),
        ("5: removed", good().method("ping"), (404, Some(-32601))),
        ("5: initialize with a claim", good().method("initialize"), (404, Some(-32601))),
        ("5: not advertised", good().method("prompts/get"), (404, Some(-32601))),
        ("5 before 6", good().method("resources/read").header("Mcp-Name", None), (404, Some(-32601))),
        ("6: no name", good().header("Mcp-Name", None), (400, Some(-32020))),
        ("6: another name", good().header("Mcp-Name", Some("T")), (400, Some(-32020))),
        ("6: encoded", good().header("Mcp-Name", Some("=?base64?dA==?=")), (200, None)),
        ("6: badly encoded", good().header("Mcp-Name", Some("=?base64?d?=")), (400, Some(-32020))),
        ("7: not mirrored", mirrored(None), (400, Some(-32020))),
        ("7: mirrored", mirrored(Some("eu")), (200, None)),
        ("7: mirrored wrongly", mirrored(Some("us")), (400, Some(-32020))),
        ("7: mirrored twice", mirrored(Some("eu")).twice("Mcp-Param-Region", "eu"), (400, Some(-32020))),
        ("8: shape", good().body("/params/name", json!(7)), (200, Some(-32602))),
    ] {
        let (status, code, body) = request.judged(address).await;
        assert_eq!((status, code), expected, "{name}: {body}");
        assert_eq!(body["id"], "x", "{name}");
    }
}

fn mirrored(header: Option<&str>) -> Request {
    let mut request = Request::good().body("/params/name", json!("m")).header("Mcp-Name", Some("m"));
    request.body["params"]["arguments"] = json!({ "r": "eu" });
    request.header("Mcp-Param-Region", header)
}

#[tokio::test]
async fn an_era_is_told_by_the_message() {
    let server = server();
    let ctx = serving(&[&server]);
    let (_listener, address) = start(&ctx);
    let good = Request::good;
    let unclaimed = good().without("/params", "_meta");
    let note = good().without("", "id");
    let response = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
    let batch = json!([good().body]);
    let plain = |request: Request| request.header("MCP-Protocol-Version", None);
    for (name, request, expected) in [
        ("a header without a claim", unclaimed.clone(), (400, Some(-32602))),
        ("a later revision", unclaimed.clone().header("MCP-Protocol-Version", Some("2027-01-01")), (400, Some(-32602))),
        ("neither: a session's", plain(unclaimed.clone()), (400, Some(-32000))),
        ("a notification", note.clone(), (202, None)),
        ("a cancellation", note.body("/method", json!("notifications/cancelled")), (202, None)),
        ("a response", good().body("", response), (400, Some(-32600))),
        ("a batch", plain(good().body("", batch.clone())), (400, Some(-32600))),
        ("a batch with a header", good().body("", json!([])), (400, Some(-32600))),
        ("with a session", good().twice("Mcp-Session-Id", "dead"), (200, None)),
    ] {
        let (status, code, body) = request.judged(address).await;
        assert_eq!((status, code), expected, "{name}: {body}");
    }
    for line in ["GET", "DELETE"] {
        let (status, text) = Request { line, ..good() }.send(address).await;
        assert!(status == 405 && text.contains("allow: POST\r\n"), "{text}");
    }
}

#[tokio::test]
async fn an_unsupported_version_is_told_what_is_supported() {
    let server = server();
    let ctx = serving(&[&server]);
    let (_listener, address) = start(&ctx);
    let request = Request::good().body(VERSION, json!("2099-01-01")).header("MCP-Protocol-Version", Some("2099-01-01"));
    let (_, _, body) = request.judged(address).await;
    assert_eq!(body["error"]["data"], json!({ "supported": ["2026-07-28"], "requested": "2099-01-01" }));
}

#[tokio::test]
async fn the_form_is_the_clients_choice() {
    let server = server();
    let ctx = serving(&[&server]);
    let (_listener, address) = start(&ctx);
    let accept = |types| Request::good().header("Accept", Some(types));
    for (types, content) in [("application/json", "application/json"), ("text/event-stream", "text/event-stream")] {
        let (status, text) = accept(types).send(address).await;
        assert!(status == 200 && text.contains(&format!("content-type: {content}\r\n")), "{text}");
        assert!(!text.contains("mcp-session-id") && !text.contains("\nid: "), "{text}");
    }
    assert_eq!(accept("text/plain").send(address).await.0, 406);
    // An error has its status even where only events are taken.
    assert_eq!(accept("text/event-stream").method("ping").send(address).await.0, 404);
    let mut listen = accept("application/json").method("subscriptions/listen");
    listen.body["params"]["notifications"] = json!({});
    assert_eq!(listen.send(address).await.0, 406);
}

#[tokio::test]
async fn a_client_that_goes_away_has_cancelled() {
    let server = server();
    let ctx = serving(&[&server]);
    let (_listener, address) = start(&ctx);
    let silent = Request::good().body("/params/name", json!("silent")).header("Mcp-Name", Some("silent"));
    let socket = silent.open(address).await;
    let until = |what: fn(&Scripted) -> bool| {
        let server = &server;
        async move {
            while !what(server) {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, until(|server| server.heard().calls.len() == 1)).await.expect("the call arrives");
    drop(socket);
    let cancelled = until(|server| server.cancels.load(Ordering::SeqCst) == 1);
    tokio::time::timeout(PATIENCE, cancelled).await.expect("cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_silent_call_gets_its_headers_within_five_seconds() {
    let server = server();
    let ctx = serving(&[&server]);
    let (_listener, address) = start(&ctx);
    let silent = Request::good().body("/params/name", json!("silent")).header("Mcp-Name", Some("silent"));
    let begun = tokio::time::Instant::now();
    let mut socket = silent.open(address).await;
    let mut bytes = vec![0; 4096];
    let count = socket.read(&mut bytes).await.expect("headers");
    let head = String::from_utf8_lossy(&bytes[..count]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("x-accel-buffering: no\r\n"), "{head}");
    assert_eq!(begun.elapsed().as_secs(), 5);
}

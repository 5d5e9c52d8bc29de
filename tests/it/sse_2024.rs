//! The HTTP+SSE transport of 2024-11-05: PROTOCOL 5.3 test 40, section 1.20.
//!
//! In: GET /sse and POST /messages. Out: everything on the one stream. Owns nothing. May not: mix the two transports.

use crate::support::session::{L0, L3, initialize_body, message, text_of};
use crate::support::{Fake, Hub, Setup, Stream, Target, Value, json};

/// A client of the old transport.
struct Old {
    stream: Stream,
    post: Target,
    next: std::cell::Cell<u64>,
}

impl Old {
    fn connect(sse: &Target) -> Self {
        let mut connection = crate::support::Connection::open(sse.addr);
        connection.write_request("GET", &sse.path, &[("Accept", "text/event-stream")], b"");
        let stream = Stream::read(connection);
        let first = stream.event("the first event", |event| event.data.is_some());
        assert_eq!(first.event.as_deref(), Some("endpoint"), "{first:?}");
        let path = first.data.expect("a path");
        assert!(path.starts_with('/') && path.contains("/messages?sessionId="), "{path}");
        Self { post: sse.at(&path), stream, next: 1.into() }
    }

    fn send(&self, body: &[u8]) {
        let reply = self.post.post(&[], body);
        assert_eq!(reply.status(), 202, "{}", reply.text());
    }

    fn begin(&self, method: &str, params: &Value) -> u64 {
        let id = self.next.replace(self.next.get() + 1);
        self.send(&message(Some(&json!(id)), method, params));
        id
    }

    fn response(&self, id: u64) -> Value {
        self.stream.message("a response", |m| m["id"] == id && m.get("method").is_none())
    }

    fn request(&self, method: &str, params: &Value) -> Value {
        self.response(self.begin(method, params))
    }

    fn open(sse: &Target, version: &str) -> Self {
        let old = Self::connect(sse);
        old.send(&initialize_body(version, &json!({"elicitation": {}, "sampling": {}})));
        let init = old.response(0);
        assert_eq!(init["result"]["protocolVersion"], version);
        old.send(&message(None, "notifications/initialized", &json!({})));
        old
    }
}

#[test]
fn t40_sse_2024() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let sse = hub.at("a").at("/sse");
        let a = Old::open(&sse, L0);
        let b = Old::open(&sse, L3);
        assert!(a.request("tools/list", &json!({}))["result"]["tools"].is_array());
        for (old, text) in [(&a, "of A"), (&b, "of B")] {
            let response = old.request("tools/call", &json!({"name": "echo", "arguments": {"v": text}}));
            assert_eq!(text_of(&response), text);
        }
        let asking = a.begin("tools/call", &json!({"name": "elicit", "arguments": {"tag": "old"}}));
        let prompt = a.stream.wait_for("elicitation/create");
        let answer =
            json!({"jsonrpc": "2.0", "id": prompt["id"], "result": {"action": "accept", "content": {"answer": "yes"}}});
        a.send(answer.to_string().as_bytes());
        assert!(text_of(&a.response(asking)).contains("yes"));

        let cancelled = a.begin("tools/call", &json!({"name": "sleep", "arguments": {"ms": 20_000, "v": "x"}}));
        let wire = hub.journal("a").wait_for_calls("sleep", 1)[0]["id"].clone();
        a.send(&message(None, "notifications/cancelled", &json!({"requestId": cancelled})));
        assert_eq!(hub.journal("a").wait_for("notifications/cancelled", 1)[0]["params"]["requestId"], wire);

        a.begin("tools/call", &json!({"name": "sleep", "arguments": {"ms": 20_000, "v": "y"}}));
        let wire = hub.journal("a").wait_for_calls("sleep", 2)[1]["id"].clone();
        a.stream.drop_connection();
        let all = hub.journal("a").wait_for("notifications/cancelled", 2);
        assert_eq!(all[1]["params"]["requestId"], wire, "the end of the stream is the end of the session");
        crate::support::eventually("the session is gone", || {
            (a.post.post(&[], &message(Some(&json!(1)), "ping", &json!({}))).status() == 404).then_some(())
        });
        assert_eq!(b.request("ping", &json!({}))["result"], json!({}));
        assert_eq!(b.stream.of("elicitation/create"), Vec::<Value>::new());
        assert!(b.stream.messages().iter().all(|m| m["id"] != cancelled || m["result"].is_object()));
    }
}

#[test]
fn t40_refusals() {
    let hub = Hub::start(Setup::one());
    let sse = hub.at("a").at("/sse");
    let posted = sse.post(&[], &initialize_body(L0, &json!({})));
    assert_eq!(posted.status(), 405);
    assert_eq!(posted.head.header("allow"), Some("GET"), "lets a client of both transports fall back");
    let ping = message(Some(&json!(1)), "ping", &json!({}));
    assert_eq!(sse.at("/messages?sessionId=nobody").post(&[], &ping).status(), 404);
    assert!(matches!(sse.at("/messages").post(&[], &ping).status(), 400 | 404));

    let old = Old::open(&sse, L0);
    assert_eq!(old.post.post(&[], b"{nonsense").status(), 400);
    let id = old.post.path.split('=').nth(1).expect("an id").to_owned();
    let crossed = hub.at("a").post(&[("Mcp-Session-Id", &id)], &ping);
    assert_eq!(crossed.status(), 404, "ids of the two transports are not interchangeable");
    let streamable = hub.session("a");
    let path = format!("/messages?sessionId={}", streamable.id);
    assert_eq!(sse.at(&path).post(&[], &ping).status(), 404);
    assert_eq!(old.request("ping", &json!({}))["result"], json!({}));
}

/// The same on the hub port: all servers together, and one by path.
#[test]
fn t40_on_the_hub_port() {
    let hub = Hub::start(Setup::of([Fake::new("a"), Fake::new("b")]));
    let all = Old::open(&hub.hub_path("/sse"), L0);
    let response = all.request("tools/call", &json!({"name": "b__echo", "arguments": {"v": "through all"}}));
    assert_eq!(text_of(&response), "through all");
    let one = Old::open(&hub.hub_path("/servers/b/sse"), L0);
    assert!(one.post.path.starts_with("/servers/b/messages?"), "{}", one.post.path);
    let response = one.request("tools/call", &json!({"name": "echo", "arguments": {"v": "by path"}}));
    assert_eq!(text_of(&response), "by path");
}

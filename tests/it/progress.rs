//! Progress, and when an answer becomes a stream: PROTOCOL 5.3 tests 3 and 49.
//!
//! In: calls with colliding tokens. Out: events on the right stream, with the right token. Owns nothing. May not: depend
//! on exact times beyond what the rule says.

use crate::support::{Hub, Session, Setup, Value, json};
use std::time::{Duration, Instant};

#[test]
fn t03_progress_collision() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let clients = [("A", json!(1)), ("B", json!(1)), ("C", json!("1")), ("D", json!("")), ("E", json!(-0))];
    let sessions: Vec<_> = clients.iter().map(|_| Session::open(&target)).collect();
    let gets: Vec<_> = sessions.iter().map(Session::listen).collect();
    let calls: Vec<_> = clients
        .iter()
        .zip(&sessions)
        .map(|((who, token), session)| {
            session.begin_call_with_token("prog", &json!({"n": 5, "ms": 50, "v": who}), token)
        })
        .collect();
    for ((who, token), call) in clients.iter().zip(&calls) {
        assert_eq!(call.text(), format!("5 steps v={who}"));
        call.closed();
        let messages = call.messages();
        assert_eq!(messages.len(), 6, "five events and then the response: {messages:?}");
        for (index, event) in messages[..5].iter().enumerate() {
            assert_eq!(event["method"], "notifications/progress");
            assert_eq!(event["params"]["progressToken"], *token, "value and type of the client's own token");
            assert_eq!(event["params"]["progress"], json!(index + 1));
            assert_eq!(event["params"]["message"], format!("step {} v={who}", index + 1));
        }
        assert!(call.head().is_sse());
    }
    for get in &gets {
        assert_eq!(get.messages(), Vec::<Value>::new(), "related messages never travel on GET");
    }
    for call in hub.journal("a").calls("prog") {
        assert_eq!(call["params"]["_meta"]["progressToken"], call["id"], "the child's token is the wire id");
    }
}

/// Other members of `_meta` stay; without a token none is invented.
#[test]
fn t03_meta_is_kept() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let meta = |meta: Value| {
        let params = json!({"name": "meta", "arguments": {}, "_meta": meta});
        let text = session.request("tools/call", &params).text();
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    assert_eq!(
        meta(json!({"traceparent": "00-1", "vendor/x": {"y": [1]}})),
        json!({"traceparent": "00-1", "vendor/x": {"y": [1]}})
    );
    let with_token = meta(json!({"a": 1, "progressToken": "mine", "b": 2}));
    assert_eq!((&with_token["a"], &with_token["b"]), (&json!(1), &json!(2)));
    assert!(with_token["progressToken"].is_u64());
    let none = session.call("meta", &json!({})).text();
    assert!(!none.contains("progressToken"), "{none}");
}

/// "Progress increases": what does not is dropped; unknown tokens too (1.5).
#[test]
fn t03_progress_must_increase() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let call = session.begin_call_with_token("sleep", &json!({"ms": 1500}), &json!("t"));
    let wire = hub.journal("a").wait_for_calls("sleep", 1)[0]["id"].clone();
    let other = hub.session("a");
    for progress in [json!(1), json!(1), json!(0.5), json!(2.5), json!(2), json!(3)] {
        let line = json!({"jsonrpc": "2.0", "method": "notifications/progress",
            "params": {"progressToken": wire, "progress": progress}});
        other.call("raw_line", &json!({"line": line.to_string()}));
    }
    call.text();
    let seen: Vec<Value> =
        call.of("notifications/progress").iter().map(|event| event["params"]["progress"].clone()).collect();
    assert_eq!(seen, [json!(1), json!(2.5), json!(3)]);
}

#[test]
fn t49_lazy_json() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let echo = session.call("echo", &json!({"v": "x"}));
    assert!(echo.head.is_json(), "{:?}", echo.head);
    let prog = session.begin_call_with_token("prog", &json!({"n": 2}), &json!(1));
    assert!(prog.head().is_sse());
    prog.text();

    let start = Instant::now();
    let slow = session.begin_call("sleep", &json!({"ms": 8000}));
    let head = slow.head();
    let committed = start.elapsed();
    assert!(head.is_sse());
    assert!(committed >= Duration::from_millis(4500), "not before 5 s of silence: {committed:?}");
    assert!(committed < Duration::from_millis(6500), "headers within 5 s of silence: {committed:?}");
    assert_eq!(slow.text(), "slept");
    assert!(slow.closed() >= Duration::from_secs(8));
}

/// An error as the only message is plain JSON: clients reconnect a stream that ended without a result (1.14).
#[test]
fn t49_an_error_alone_is_json() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let error = session.call("raw_error", &json!({"error": {"code": -7, "message": "own", "data": [1, {"x": null}]}}));
    assert!(error.head.is_json());
    assert_eq!(error.head.status, 200);
    assert_eq!(error.error(), json!({"code": -7, "message": "own", "data": [1, {"x": null}]}));
    assert_eq!(session.call("no_such_tool", &json!({})).code(), -32602);
}

/// `Accept` forces either form (1.17).
#[test]
fn t49_accept_forces() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let body = |tool: &str, id: u64| {
        let params = json!({"name": tool, "arguments": {"n": 3, "v": "x"}, "_meta": {"progressToken": 5}});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
    };
    let only_sse = session.post_with(&[("Accept", "text/event-stream")], body("echo", 1).as_bytes());
    assert!(only_sse.head.is_sse(), "{:?}", only_sse.head);
    let only_json = session.post_with(&[("Accept", "application/json")], body("prog", 2).as_bytes());
    assert!(only_json.head.is_json(), "{:?}", only_json.head);
    assert_eq!(only_json.json()["id"], 2, "notifications are dropped, the response comes");
    let excluded =
        session.post_with(&[("Accept", "application/json, text/event-stream;q=0")], body("prog", 3).as_bytes());
    assert!(excluded.head.is_json());
}

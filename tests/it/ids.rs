//! Request ids and message framing: PROTOCOL 5.3 tests 1, 20 and 21.
//!
//! In: sessions with colliding and strange ids, strange bodies. Out: each its own answer. Owns nothing. May not: rely on
//! the order of answers.

use crate::support::session::message;
use crate::support::{Answer, Hub, Session, Setup, Value, json};
use std::collections::HashSet;

#[test]
fn t01_id_collision() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let ids = [json!(1), json!("1"), json!(0), json!(-7), json!("")];
    std::thread::scope(|scope| {
        for who in ["A", "B", "C"] {
            let (target, ids) = (&target, &ids);
            scope.spawn(move || {
                let session = Session::open(target);
                for round in 0..200 {
                    let id = &ids[round % ids.len()];
                    let value = format!("{who}-{round}");
                    let answer =
                        session.request_as(id, "tools/call", &json!({"name": "echo", "arguments": {"v": value}}));
                    assert_eq!(answer.text(), value);
                }
            });
        }
    });
    let calls = hub.journal("a").calls("echo");
    assert_eq!(calls.len(), 600);
    let wire_ids: HashSet<u64> = calls.iter().map(|call| call["id"].as_u64().expect("an integer")).collect();
    assert_eq!(wire_ids.len(), 600, "no id is used twice");
    assert!(wire_ids.iter().all(|id| *id < 1 << 53));
}

/// One session answers many at once, ids interleaved.
#[test]
fn t01_one_session_in_parallel() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let session = hub.session("a");
        let pending: Vec<_> =
            (0..50).map(|n| session.begin_call("sleep", &json!({"ms": (50 - n) * 4, "v": format!("n{n}")}))).collect();
        for (n, pending) in pending.iter().enumerate() {
            assert_eq!(pending.text(), format!("slept v=n{n}"));
        }
    }
}

/// The journal must show one line per message, with the argument byte for byte as a value.
fn echoes_exactly(session: &Session, body: &[u8], expected: &str) {
    let reply = session.post(body);
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(Answer::from_reply(&reply).text(), expected);
}

#[test]
fn t20_framing() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let session = hub.session("a");
        let pretty = "{\r\n  \"jsonrpc\": \"2.0\",\r\n  \"id\": 1,\r\n  \"method\": \"tools/call\",\r\n  \"params\": {\r\n    \
                      \"name\": \"echo\",\n\n    \"arguments\": {\r\n \"v\": \"pretty\" }\r\n  }\r\n}\r\n";
        echoes_exactly(&session, pretty.as_bytes(), "pretty");

        let mega = "m".repeat(1 << 20);
        echoes_exactly(&session, &echo_body(&json!(mega)), &mega);
        let odd = "\u{2028}\u{2029} \u{85} \u{7f} é 😀 \\ \" \n \r\n \t \0";
        echoes_exactly(&session, &echo_body(&json!(odd)), odd);
        let raw = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"echo\",\"arguments\":{\"v\":\"\u{2028}\u{85}raw\"}}}";
        echoes_exactly(&session, raw.as_bytes(), "\u{2028}\u{85}raw");

        let journal = hub.journal("a");
        assert_eq!(journal.calls("echo").len(), 4);
        for line in journal.lines() {
            assert!(
                serde_json::from_str::<Value>(&line).is_ok_and(|value| value.is_object()),
                "not one message: {line:?}"
            );
            assert!(!line.contains('\r'));
        }
    }
}

fn echo_body(value: &Value) -> Vec<u8> {
    message(Some(&json!(1)), "tools/call", &json!({"name": "echo", "arguments": {"v": value}}))
}

/// Numbers that a tree of f64 would spoil go through untouched.
#[test]
fn t20_payload_is_not_reserialised() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let session = hub.session("a");
        let arguments = r#"{"v":12345678901234567890123,"w":1.10,"z":1e2,"a":-0.0,"dup":1,"dup":2}"#;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#
        );
        assert_eq!(session.post(body.as_bytes()).status(), 200);
        let line = hub.journal("a").lines().pop().expect("a line");
        assert!(line.contains(arguments), "{line}");
    }
}

#[test]
fn t20_bad_framing_never_reaches_the_child() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let cases: [(&[u8], i64); 17] = [
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"echo\",\"arguments\":{\"v\":\"\xff\"}}}", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"", -32700),
        (b"", -32700),
        (b"nonsense", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"} trailing", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"tools/call\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"method\":\"tools/call\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"i\\u0064\":2,\"method\":\"tools/call\"}", -32600),
        (b"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"tools/call\"}", -32600),
        (b"{\"id\":1,\"method\":\"tools/call\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"tools/call\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"tools/call\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{},\"error\":{\"code\":1,\"message\":\"\"}}", -32600),
        (b"\"text\"", -32600),
        (b"null", -32600),
    ];
    for (body, code) in cases {
        let reply = session.post(body);
        let shown = String::from_utf8_lossy(body);
        assert_eq!(reply.status(), 400, "{shown}: {}", reply.text());
        let error = reply.json();
        assert_eq!(error["error"]["code"], code, "{shown}: {error}");
        assert_ne!(error.get("id"), Some(&Value::Null), "an unreadable request's error omits the id (0.2.5)");
    }
    session.echo("still here");
    let arrived = hub.journal("a").of("tools/call");
    assert_eq!(arrived.len(), 1, "only the echo arrived: {arrived:?}");
    assert_eq!(hub.journal("a").count("ping"), 0);
}

/// Two parsers that disagree on which duplicate wins are a way to smuggle a tool past a filter (0.2.8).
#[test]
fn t20_duplicate_keys_in_params() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    for params in [
        r#"{"name":"echo","name":"die","arguments":{}}"#,
        r#"{"name":"echo","na\u006de":"die","arguments":{}}"#,
        r#"{"name":"echo","_meta":{},"_meta":{"progressToken":1},"arguments":{}}"#,
        r#"{"name":"echo","_meta":{"progressToken":1,"progressToken":2},"arguments":{}}"#,
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let reply = session.post(body.as_bytes());
        let answer = Answer::from_reply(&reply);
        assert_eq!(answer.code(), -32602, "{params}: {}", reply.text());
    }
    let escaped =
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"na\u006de":"echo","arguments":{"v":"escaped"}}}"#;
    echoes_exactly(&session, escaped, "escaped");
    assert_eq!(hub.journal("a").count("tools/call"), 1);
}

#[test]
fn t20_byte_order_mark_of_a_child() {
    let mut setup = Setup::one();
    *setup.server("a") = setup.server("a").clone().flag("--bom");
    let hub = Hub::start(setup);
    hub.session("a").echo("behind a BOM");
}

#[test]
fn t21_id_types() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let session = hub.session("a");
        let long = format!("\"{}\"", "i".repeat(100_000));
        let served = ["9007199254740993", "-1", "0", "\"\"", "\"1\"", "12345678901234567890123", "\"\\u0061\"", &long];
        for id in served {
            let reply = session.post(ping_like(id).as_bytes());
            // Served, or refused at once; never a hang, and never an id that the client did not send.
            assert_eq!(reply.status(), 200, "{id}: {}", reply.text());
            assert!(
                reply.text().contains(&format!("\"id\":{id}")),
                "{id} must come back byte for byte: {}",
                reply.text()
            );
            assert_eq!(Answer::from_reply(&reply).text(), "x");
        }
        for id in ["1.5", "null", "{}", "[1]", "true", "1e400"] {
            let reply = session.post(ping_like(id).as_bytes());
            assert_eq!(reply.status(), 400, "{id}: {}", reply.text());
        }
    }
}

fn ping_like(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"echo","arguments":{{"v":"x"}}}}}}"#)
}

/// A second request with an id that is still in flight is refused, and the first goes on (1.5).
#[test]
fn t21_duplicate_in_flight_id() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let first = session.begin_as(&json!(7), "tools/call", &json!({"name": "sleep", "arguments": {"ms": 800}}));
    hub.journal("a").wait_for_calls("sleep", 1);
    let second = session.post(&message(Some(&json!(7)), "tools/call", &json!({"name": "echo", "arguments": {}})));
    assert_eq!(Answer::from_reply(&second).code(), -32600);
    assert_eq!(first.text(), "slept");
    let third = session.request_as(&json!(7), "tools/call", &json!({"name": "echo", "arguments": {"v": "again"}}));
    assert_eq!(third.text(), "again");
}

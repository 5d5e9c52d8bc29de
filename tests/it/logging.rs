//! Logging levels of several sessions: PROTOCOL 5.3 test 25, section 1.7.
//!
//! In: sessions at different levels. Out: each its own lines, the child the most verbose level. Owns nothing. May not:
//! expect a line where several sessions have calls in flight; then it is nobody's.

use crate::support::{Fake, Hub, Session, Setup, Stream, Value, eventually, json};

const MESSAGE: &str = "notifications/message";

fn set_level(session: &Session, level: &str) {
    assert_eq!(session.request("logging/setLevel", &json!({"level": level})).result(), json!({}));
}

fn lines(stream: &Stream) -> Vec<String> {
    stream.of(MESSAGE).iter().map(|m| m["params"]["data"].as_str().unwrap_or_default().to_owned()).collect()
}

fn child_level(hub: &Hub) -> Value {
    hub.journal("a").of("logging/setLevel").last().map_or(Value::Null, |message| message["params"]["level"].clone())
}

#[test]
fn t25_setlevel_isolation() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let [a, b, c] = [(); 3].map(|()| Session::open(&target));
    let gets = [&a, &b, &c].map(Session::listen);
    set_level(&a, "debug");
    set_level(&b, "error");
    eventually("the child logs for the most verbose session", || (child_level(&hub) == "debug").then_some(()));

    for (session, who, admitted) in [(&a, "A", 2), (&b, "B", 1), (&c, "C", 1)] {
        for (level, mine) in [("debug", admitted > 1), ("error", true)] {
            let text = format!("{who} {level}");
            let call = session.begin_call("log", &json!({"level": level, "text": text}));
            call.text();
            assert_eq!(lines(&call), if mine { vec![text] } else { vec![] }, "{who} at {level}");
        }
    }
    for get in &gets {
        assert_eq!(lines(get), Vec::<String>::new(), "each line belonged to a call");
    }

    // Two calls in flight: a line may be either's, so it is nobody's.
    let sleeping = b.begin_call("sleep", &json!({"ms": 1000}));
    hub.journal("a").wait_for_calls("sleep", 1);
    let call = a.begin_call("log", &json!({"level": "error", "text": "whose?"}));
    call.text();
    assert_eq!(sleeping.text(), "slept");
    for stream in [&*call, &*sleeping, &gets[0], &gets[1], &gets[2]] {
        assert!(!lines(stream).contains(&"whose?".to_owned()));
    }

    // After A leaves, the most verbose one is C's baseline.
    assert_eq!(a.delete().status(), 204);
    eventually("the child's level rises again", || (child_level(&hub) == "info").then_some(()));
}

#[test]
fn t25_bad_and_unsupported_levels() {
    let without = Fake::new("b").arg("--caps", r#"{"tools":{}}"#);
    let hub = Hub::start(Setup::of([Fake::new("a"), without]));
    let session = hub.session("a");
    assert_eq!(session.request("logging/setLevel", &json!({"level": "loud"})).code(), -32602);
    assert_eq!(session.request("logging/setLevel", &json!({})).code(), -32602);
    let before = hub.journal("a").of("logging/setLevel");
    assert!(before.iter().all(|message| message["params"]["level"] != "loud"));
    assert_eq!(hub.session("b").request("logging/setLevel", &json!({"level": "debug"})).code(), -32601);
    assert_eq!(hub.journal("b").count("logging/setLevel"), 0);
}

/// The child hears a level only when it changes.
#[test]
fn t25_the_child_is_not_pestered() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let sessions: Vec<Session> = (0..4).map(|_| Session::open(&target)).collect();
    for session in &sessions {
        set_level(session, "debug");
    }
    let debugs = hub.journal("a").of("logging/setLevel").iter().filter(|m| m["params"]["level"] == "debug").count();
    assert_eq!(debugs, 1);
}

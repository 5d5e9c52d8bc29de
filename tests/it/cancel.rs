//! Cancellation: PROTOCOL 5.3 tests 8, 9 and 9b, section 1.5.
//!
//! In: cancelled calls, servers that ignore it. Out: silence where it is due. Owns nothing. May not: take the absence of a
//! message on faith; what must come after it is awaited first.

use crate::support::journal::Record;
use crate::support::{Hub, Session, Setup, Value, eventually, json};
use std::time::Duration;

fn sleep(session: &Session, id: &Value, who: &str, ms: u64) -> crate::support::session::Pending {
    session.begin_as(id, "tools/call", &json!({"name": "sleep", "arguments": {"ms": ms, "v": who}}))
}

fn wire_id(hub: &Hub, who: &str) -> Value {
    let calls = eventually("the call in the journal", || {
        let all = hub.journal("a").of("tools/call");
        all.into_iter().find(|call| call["params"]["arguments"]["v"] == who)
    });
    calls["id"].clone()
}

#[test]
fn t08_cancel_scope() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let (a, b) = (Session::open(&target), Session::open(&target));
    let (calls, id) = ((sleep(&a, &json!(7), "A", 3000), sleep(&b, &json!(7), "B", 3000)), json!(7));
    let (a_wire, _) = (wire_id(&hub, "A"), wire_id(&hub, "B"));
    a.cancel(&id);
    assert!(calls.0.closed() < Duration::from_millis(2900), "A's response closes at once");
    assert_eq!(calls.0.messages(), Vec::<Value>::new());
    assert_eq!(calls.0.head().status, 200);
    assert_eq!(calls.1.text(), "slept v=B");
    let cancelled = hub.journal("a").of("notifications/cancelled");
    assert_eq!(cancelled.len(), 1, "{cancelled:?}");
    assert_eq!(cancelled[0]["params"], json!({"requestId": a_wire, "reason": "test"}));
    assert_eq!(calls.0.messages(), Vec::<Value>::new(), "no late response, ever");
}

/// A cancelled call whose stream had begun: the stream ends, and a resume finds nothing (1.14: 204).
#[test]
fn t08_cancel_of_a_stream() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let session = hub.session("a");
        let call = session.begin_call_with_token("prog", &json!({"n": 100, "ms": 50}), &json!(1));
        call.wait_for_many("notifications/progress", 2);
        let last = call.last_event_id().expect("events of a stream have ids");
        session.cancel(&call.id);
        call.closed();
        assert_eq!(call.response_now(), None);
        assert_eq!(session.resume(&last).head().status, 204);
    }
}

/// What nobody knows is nobody's: 202, and the child hears nothing.
#[test]
fn t08_cancel_of_nothing() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let (a, b) = (Session::open(&target), Session::open(&target));
        let call = sleep(&a, &json!(41), "A", 600);
        wire_id(&hub, "A");
        b.cancel(&json!(41));
        a.cancel(&json!("41"));
        a.cancel(&json!(999));
        assert_eq!(a.notify("notifications/cancelled", &json!({})).status(), 202);
        assert_eq!(call.text(), "slept v=A");
        a.cancel(&json!(41));
        a.echo("order");
        assert_eq!(hub.journal("a").count("notifications/cancelled"), 0);
    }
}

#[test]
fn t09_cancel_late_response() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let session = hub.session("a");
        let id = json!(7);
        let params = json!({"name": "ignore_cancel", "arguments": {"ms": 700, "v": "first"}});
        let first = session.begin_as(&id, "tools/call", &params);
        wire_id(&hub, "first");
        session.cancel(&id);
        first.closed();
        let quick = session.request_as(&id, "tools/call", &json!({"name": "echo", "arguments": {"v": "quick"}}));
        assert_eq!(quick.text(), "quick");
        // In flight while the late answer of the first one arrives.
        let second = sleep(&session, &id, "second", 1500);
        eventually("the late answer", || {
            hub.journal("a").sent().iter().any(|m| m.to_string().contains("late v=first")).then_some(())
        });
        assert_eq!(second.text(), "slept v=second");
        assert_eq!((first.messages().len(), second.messages().len()), (0, 1));
    }
}

#[test]
fn t09b_ghost_elicit() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let (a, b) = (Session::eliciting(&target), Session::eliciting(&target));
    let b_get = b.listen();
    let sleeping = sleep(&b, &json!(1), "B", 2500);
    let haunted = a.begin_call("ignore_cancel_then_elicit", &json!({"ms": 500, "v": "A"}));
    wire_id(&hub, "A");
    wire_id(&hub, "B");
    a.cancel(&haunted.id);
    let refusal = eventually("the ghost's refusal", || {
        hub.journal("a").records().into_iter().find_map(|record| match record {
            Record::Remark(mark, rest) if mark == "ghost" => Some(rest),
            _ => None,
        })
    });
    assert!(refusal.contains("Err(") && refusal.contains("code"), "an error, not silence and not an answer: {refusal}");
    assert_eq!(sleeping.text(), "slept v=B");
    for stream in [&*sleeping, &*haunted, &b_get] {
        assert_eq!(stream.of("elicitation/create"), Vec::<Value>::new());
    }
    b.echo("unaffected");
}

/// A cancelled call takes its open prompt with it: the child gets an error for it (1.5).
#[test]
fn t09b_cancel_with_an_open_prompt() {
    let hub = Hub::start(Setup::one());
    let session = Session::eliciting(&hub.at("a"));
    let get = session.listen();
    let call = session.begin_call("elicit", &json!({"tag": "open"}));
    let prompt = call.wait_for("elicitation/create");
    session.cancel(&call.id);
    call.closed();
    let answered = |message: &Value| message.get("method").is_none() && message.get("error").is_some();
    eventually("an error for the child", || hub.journal("a").received().into_iter().find(answered));
    let withdrawn = eventually("the withdrawal", || {
        [&*call, &get].iter().find_map(|stream| stream.of("notifications/cancelled").first().cloned())
    });
    assert_eq!(withdrawn["params"]["requestId"], prompt["id"]);
    session.accept(&prompt, "too late");
    session.echo("order");
    let answers = hub.journal("a").received().into_iter().filter(|message| message.get("method").is_none()).count();
    assert_eq!(answers, 1);
}

/// `request_timeout`: the caller gets an error with the reason, the child a cancellation (1.5).
#[test]
fn request_timeout() {
    let mut setup = Setup::one();
    *setup.server("a") = setup.server("a").clone().key("request_timeout", "\"1s\"");
    let hub = Hub::start(setup);
    let session = hub.session("a");
    let call = sleep(&session, &json!(1), "A", 20_000);
    let wire = wire_id(&hub, "A");
    let response = call.response_within(Duration::from_secs(10));
    assert_eq!(response["error"]["code"], -32603, "{response}");
    assert_eq!(response["error"]["data"]["reason"], "timeout", "{response}");
    let cancelled = hub.journal("a").wait_for("notifications/cancelled", 1);
    assert_eq!(cancelled[0]["params"]["requestId"], wire);
    session.echo("goes on");
}

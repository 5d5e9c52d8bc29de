//! Streams that break and are resumed: PROTOCOL 5.3 tests 34, 35 and 36, section 1.14.
//!
//! In: connections that drop. Out: exactly what was missed. Owns nothing. May not: accept an event twice, or from another
//! stream.

use crate::support::session::{L0, L1, L2, L3, Pending};
use crate::support::{Hub, Session, Setup, Stream, Value, eventually, json};

const PROGRESS: &str = "notifications/progress";

fn prog(session: &Session, n: u64, ms: u64) -> Pending {
    session.begin_call_with_token("prog", &json!({"n": n, "ms": ms, "v": "me"}), &json!("t"))
}

fn steps(stream: &Stream) -> Vec<u64> {
    stream.of(PROGRESS).iter().filter_map(|event| event["params"]["progress"].as_u64()).collect()
}

fn answered(hub: &Hub, steps: u64) {
    eventually("the child has answered", || {
        hub.journal("a").sent().iter().any(|m| m.to_string().contains(&format!("{steps} steps"))).then_some(())
    });
}

#[test]
fn t34_disconnect_semantics() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let session = hub.session("a");
        let call = prog(&session, 10, 60);
        call.wait_for_many(PROGRESS, 2);
        let last = call.last_event_id().expect("an id");
        let seen = steps(&call).len();
        call.drop_connection();
        answered(&hub, 10);
        assert_eq!(hub.journal("a").count("notifications/cancelled"), 0, "a lost connection is no cancellation");
        let resumed = session.resume(&last);
        let response = resumed.response();
        assert_eq!(response["id"], call.id);
        assert_eq!(response["result"]["content"][0]["text"], "10 steps v=me");
        resumed.closed();
        assert_eq!(seen + steps(&resumed).len(), 10);
    }
}

#[test]
fn t35_resumability() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let session = hub.session("a");
        let call = prog(&session, 50, 20);
        call.wait_for_many(PROGRESS, 7);
        call.drop_connection();
        call.closed();
        let before = steps(&call);
        // While it runs, so the rest comes live.
        let resumed = session.resume(&call.last_event_id().expect("an id"));
        assert!(resumed.head().is_sse());
        assert_eq!(resumed.response()["id"], call.id);
        resumed.closed();
        let all: Vec<u64> = before.iter().copied().chain(steps(&resumed)).collect();
        assert_eq!(all, (1..=50).collect::<Vec<u64>>(), "the exact remainder, once");
        assert_eq!(resumed.messages().iter().filter(|m| m.get("method").is_none()).count(), 1);
        let mut ids: Vec<String> =
            call.events().into_iter().chain(resumed.events()).filter_map(|event| event.id).collect();
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count, "no id twice");
        // Delivered to its end: nothing to resume.
        assert_eq!(session.resume(&resumed.last_event_id().expect("an id")).head().status, 204);
    }
}

#[test]
fn t35_unknown_ids() {
    let hub = Hub::start(Setup::one());
    let (session, other) = (hub.session("a"), hub.session("a"));
    let call = prog(&session, 3, 10);
    call.text();
    let last = call.last_event_id().expect("an id");
    for unknown in ["nonsense", "999999-1", "-", "1-99999999999999999999", "0", "é"] {
        assert_eq!(session.resume(unknown).head().status, 204, "{unknown}");
    }
    let foreign = other.resume(&last);
    assert_eq!(foreign.head().status, 204, "another session's stream is unknown here");
    session.echo("fine");
}

/// A resume brings one stream back, not the others.
#[test]
fn t35_only_that_stream() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let session = hub.session("a");
        let get = session.listen();
        let (one, two) = (prog(&session, 30, 30), prog(&session, 30, 30));
        for call in [&one, &two] {
            call.wait_for_many(PROGRESS, 3);
            call.drop_connection();
            call.closed();
        }
        let resumed = session.resume(&one.last_event_id().expect("an id"));
        assert_eq!(resumed.response()["id"], one.id);
        resumed.closed();
        assert_eq!(steps(&one).len() + steps(&resumed).len(), 30);
        let second = session.resume(&two.last_event_id().expect("an id"));
        assert_eq!(second.response()["id"], two.id);
        assert_eq!(get.messages(), Vec::<Value>::new());
    }
}

#[test]
fn t35_after_the_ttl() {
    let hub = Hub::start(Setup::one().hub_key("replay_ttl", "\"1s\""));
    let session = hub.session("a");
    let call = prog(&session, 5, 40);
    call.wait_for_many(PROGRESS, 1);
    call.drop_connection();
    answered(&hub, 5);
    let last = call.last_event_id().expect("an id");
    // The rule itself is about time.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(session.resume(&last).head().status, 204);
}

/// The GET stream can be resumed too.
#[test]
fn t35_resume_the_get_stream() {
    let hub = Hub::start(Setup::one());
    let (session, other) = (hub.session("a"), hub.session("a"));
    let get = session.listen();
    other.call("change", &json!({})).result();
    get.wait_for("notifications/resources/list_changed");
    let last = get.last_event_id().expect("an id");
    get.drop_connection();
    get.closed();
    other.call("change", &json!({})).result();
    let resumed = session.resume(&last);
    for kind in ["tools", "prompts", "resources"] {
        resumed.wait_for(&format!("notifications/{kind}/list_changed"));
    }
}

#[test]
fn t36_priming_by_version() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        for (version, primed, numbered) in [(L3, true, true), (L2, false, true), (L1, false, true), (L0, false, false)]
        {
            let session = Session::with(&hub.at("a"), version, &json!({}));
            let call = prog(&session, 2, 10);
            call.text();
            let events = call.events();
            let empty = events.iter().filter(|event| event.data.as_deref() == Some("")).count();
            assert_eq!(empty, usize::from(primed), "{version}: {events:?}");
            if primed {
                assert!(events[0].id.is_some() && events[0].retry == Some(3000), "{version}: {events:?}");
            }
            for event in events.iter().filter(|event| event.message().is_some()) {
                assert_eq!(event.id.is_some(), numbered, "{version}: {event:?}");
            }
        }
    }
}

//! The daemon restarts, sessions live on (DESIGN 5, first point).
//!
//! In: SIGTERM and SIGKILL of hub. Out: the same sessions, with all that belongs to them. Owns nothing. May not: open a
//! session again where the old one must do.

use crate::support::session::L2;
use crate::support::setup::free_ports;
use crate::support::{Fake, Hub, Session, Setup, Value, eventually, json};

fn survives(kill: bool) {
    let mut hub = Hub::start(Setup::of([Fake::new("a"), Fake::new("b")]).fixed_ports());
    let target = hub.at("a");
    let a = Session::with(&target, L2, &json!({"elicitation": {}}));
    let b = Session::open(&target);
    let all = Session::open(&hub.all());
    a.request("logging/setLevel", &json!({"level": "debug"})).result();
    a.request("resources/subscribe", &json!({"uri": "test://one"})).result();
    b.request("logging/setLevel", &json!({"level": "error"})).result();
    let ended = Session::open(&target);
    assert_eq!(ended.delete().status(), 204);
    if kill {
        hub.kill();
    } else {
        assert!(hub.stop().success());
    }
    hub.serve();

    a.echo("the same session");
    b.echo("this one too");
    all.request("ping", &json!({})).result();
    assert_eq!(all.call("b__echo", &json!({"v": "through all"})).text(), "through all");
    let reply = target.post(&[("Mcp-Session-Id", &ended.id)], br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(reply.status(), 404, "what was ended stays ended");

    // Revision: 2025-06-18 has no primed streams and no tasks.
    let call = a.begin_call_with_token("prog", &json!({"n": 2, "ms": 10}), &json!(1));
    call.text();
    assert!(call.events().iter().all(|event| event.data.as_deref() != Some("")));
    // Capabilities: it can show forms, and B still cannot.
    let asking = a.begin_call("elicit", &json!({"tag": "after"}));
    a.accept(&asking.wait_for("elicitation/create"), "yes");
    assert!(asking.text().contains("yes"));
    assert!(b.call("elicit", &json!({})).text().contains("-32601"));
    // Level and subscriptions, at the child and at the session.
    eventually("the child is told again", || {
        let state: Value = serde_json::from_str(&b.call("state", &json!({})).text()).expect("JSON");
        (state["level"] == "debug" && state["subscriptions"] == json!(["test://one"])).then_some(())
    });
    let get = a.listen();
    b.call("touch", &json!({"uri": "test://one"})).result();
    get.wait_for("notifications/resources/updated");
    let log = a.begin_call("log", &json!({"level": "debug", "text": "fine print"}));
    log.text();
    assert_eq!(log.of("notifications/message").len(), 1);
    let log = b.begin_call("log", &json!({"level": "info", "text": "not for B"}));
    log.text();
    assert_eq!(log.of("notifications/message").len(), 0);
}

#[test]
fn sessions_survive_sigterm() {
    survives(false);
}

#[test]
fn sessions_survive_sigkill() {
    survives(true);
}

/// Ports that hub chose stay with their servers, also when another one comes before them.
#[test]
fn ports_are_remembered() {
    let base = free_ports(10);
    let mut hub = Hub::start(Setup::of([Fake::new("b"), Fake::new("c")]).hub_key("first_port", &base.to_string()));
    let ports = |hub: &Hub| ["b", "c"].map(|name| hub.at(name).addr.port());
    let before = ports(&hub);
    hub.stop();
    hub.setup.servers.insert(0, Fake::new("a"));
    hub.write_config();
    hub.serve();
    assert_eq!(ports(&hub), before);
    assert!(!before.contains(&hub.at("a").addr.port()));
}

/// What is in flight when hub is told to stop is answered, one way or the other; no connection just hangs.
#[test]
fn in_flight_at_sigterm() {
    let mut hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let short = session.begin_call("sleep", &json!({"ms": 800, "v": "short"}));
    let long = session.begin_call("sleep", &json!({"ms": 600_000, "v": "long"}));
    let get = session.listen();
    hub.journal("a").wait_for_calls("sleep", 2);
    hub.stop();
    for stream in [&*short, &*long, &get] {
        stream.closed();
    }
    if let Some(response) = short.response_now() {
        assert!(response.get("error").is_some() || response.to_string().contains("short"), "{response}");
    }
    assert!(long.response_now().is_none_or(|response| response.get("error").is_some()));
}

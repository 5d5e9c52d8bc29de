//! Starting: held requests, answers from the cache, lazy servers, idle ones (DESIGN 2.2, 2.7).
//!
//! In: slow and lazy children. Out: answers while they start. Owns nothing. May not: measure more than "before the child
//! was ready".

use crate::support::session::initialize_body;
use crate::support::{Answer, Fake, Hub, Session, Setup, Value, eventually, json, stays};
use std::time::{Duration, Instant};

/// Sockets are bound before children start; a request waits for the child instead of failing.
#[test]
fn requests_are_held() {
    let hub = Hub::start(Setup::of([Fake::new("a").arg("--ready-delay-ms", 2500)]).impatient());
    assert_eq!(hub.server("a")["state"], "starting");
    let reply = hub.at("a").post(&[], &initialize_body("2025-11-25", &json!({})));
    assert_eq!(reply.status(), 200);
    assert!(Answer::from_reply(&reply).result()["serverInfo"].is_object());
    let session = hub.session("a");
    session.echo("served as soon as it is ready");
}

/// The second time, `initialize` and the lists need no child.
#[test]
fn answers_from_the_cache() {
    let mut hub = Hub::start(Setup::one().fixed_ports());
    let first = hub.session("a");
    let methods = [
        ("tools/list", "tools"),
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
    ];
    let before: Vec<Value> = methods.iter().map(|(method, _)| first.request(method, &json!({})).result()).collect();
    hub.stop();
    // The journal is the lock of this test: the new child reads nothing before the lists were answered.
    let starts = hub.journal("a").starts().len();
    hub.setup.impatient = true;
    hub.setup.env.push(("FAKE_READY_DELAY_MS".into(), "6000".into()));
    hub.serve();
    let start = Instant::now();
    let session = hub.session("a");
    assert_eq!(session.init["serverInfo"], first.init["serverInfo"]);
    for ((method, key), before) in methods.iter().zip(&before) {
        assert_eq!(session.request(method, &json!({})).result()[key], before[key], "{method}");
    }
    first.request("tools/list", &json!({})).result();
    let taken = start.elapsed();
    assert_ne!(hub.server("a")["state"], "ready", "answered after {taken:?}, before the child was ready");
    session.echo("a call waits for the child");
    assert_eq!(hub.journal("a").starts().len(), starts + 1);
}

#[test]
fn lazy_start() {
    let hub = Hub::start(Setup::of([Fake::new("a").lazy()]).impatient());
    assert_eq!(hub.server("a")["state"], "stopped");
    stays("nobody asked", Duration::from_millis(500), || hub.journal("a").starts().is_empty());
    let session = hub.session("a");
    session.echo("now");
    assert_eq!(hub.wait_state("a", "ready")["instances"][0]["workspace"], Value::Null);
    assert_eq!(hub.journal("a").starts().len(), 1);
}

/// Many first requests at once start one child.
#[test]
fn lazy_start_by_a_crowd() {
    let hub = Hub::start(Setup::of([Fake::new("a").lazy().arg("--ready-delay-ms", 300)]).impatient());
    let target = hub.at("a");
    std::thread::scope(|scope| {
        for worker in 0..20 {
            let target = &target;
            scope.spawn(move || Session::open(target).echo(&format!("w{worker}")));
        }
    });
    assert_eq!(hub.journal("a").starts().len(), 1);
    assert_eq!(hub.journal("a").count("initialize"), 1);
}

/// An idle child is stopped and started again; the session does not notice.
#[test]
fn idle_stop() {
    let hub = Hub::start(Setup::of([Fake::new("a").lazy().key("idle_stop", "\"1s\"")]).impatient());
    let session = hub.session("a");
    session.request("logging/setLevel", &json!({"level": "debug"})).result();
    session.echo("first");
    let busy = session.begin_call("sleep", &json!({"ms": 2500, "v": "busy"}));
    assert_eq!(busy.text(), "slept v=busy", "a child with a call in flight is not idle");
    hub.wait_state("a", "stopped");
    eventually("the child is gone", || hub.child_pids("a").is_empty().then_some(()));
    let tools = session.request("tools/list", &json!({})).result();
    assert!(tools["tools"].as_array().is_some_and(|tools| !tools.is_empty()));
    session.echo("again");
    assert_eq!(hub.journal("a").starts().len(), 2);
    let state: Value = serde_json::from_str(&session.call("state", &json!({})).text()).expect("JSON");
    assert_eq!(state["level"], "debug", "what the session set is set again");
    assert_eq!(hub.server("a")["restarts"].as_u64().map(|count| count <= 1), Some(true));
}

/// A start that takes too long is a failure with a stage, and what was held gets an error.
#[test]
fn startup_timeout() {
    let slow = Fake::new("a").arg("--ready-delay-ms", 60_000).key("startup_timeout", "\"1s\"");
    let hub = Hub::start(Setup::of([slow.arg("--stderr-lines", 3)]).impatient());
    let reply = hub.at("a").post(&[], &initialize_body("2025-11-25", &json!({})));
    assert_eq!(Answer::from_reply(&reply).code(), -32603, "{}", reply.text());
    assert_eq!(reply.head.header("mcp-session-id"), None);
    let failure =
        eventually("the failure in status", || Some(hub.server("a")["last_failure"].clone()).filter(Value::is_object));
    assert!(
        failure["stage"].is_string() && failure["message"].is_string() && failure["since"].is_string(),
        "{failure}"
    );
}

/// `ready` means that a list call succeeded (DESIGN 2.7).
#[test]
fn a_list_that_fails_is_not_ready() {
    let bad = Fake::new("a")
        .arg("--list-error", "index is corrupt")
        .key("restart", "{ initial = \"50ms\", max = \"100ms\" }");
    let hub = Hub::start(Setup::of([bad, Fake::new("b")]).impatient());
    hub.wait_state("b", "ready");
    let failure =
        eventually("the failure in status", || Some(hub.server("a")["last_failure"].clone()).filter(Value::is_object));
    assert!(failure["message"].as_str().expect("text").contains("index is corrupt"), "{failure}");
    assert_ne!(hub.server("a")["state"], "ready");
}

/// Connections are accepted within 100 ms of the start, whatever the children do. (Debug build: ten times that.)
#[test]
fn accepts_before_children_start() {
    let servers = (0..10).map(|n| Fake::new(&format!("s{n}")).arg("--ready-delay-ms", 30_000));
    let mut hub = Hub::prepare(Setup::of(servers).impatient());
    let start = Instant::now();
    hub.spawn();
    hub.wait_ready();
    let ready = start.elapsed();
    assert!(ready < Duration::from_secs(2), "{ready:?}");
    let health = hub.hub_path("/healthz").get();
    assert_eq!(health.status(), 200);
}

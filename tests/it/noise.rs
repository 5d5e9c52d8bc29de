//! A child that does not keep to the protocol: PROTOCOL 5.3 test 26, section 0.2.6.
//!
//! In: garbage, halves, giants. Out: the right answers all the same. Owns nothing. May not: expect hub to mend a message.

use crate::support::{Fake, Hub, Setup, json, procs};
use std::time::Duration;

#[test]
fn t26_stray_stdout() {
    let hub = Hub::start(Setup::one());
    let pid = hub.child_pid("a");
    let session = hub.session("a");
    let get = session.listen();
    assert_eq!(session.call("noise", &json!({"n": 50, "v": "n"})).text(), "noisy v=n");
    session.echo("after noise");
    assert_eq!(get.messages().len(), 0, "noise reaches nobody: {:?}", get.messages());
    assert_eq!(hub.child_pid("a"), pid, "and the child lives");
    assert!(procs::is_alive(pid));
}

#[test]
fn t26_garbage_before_the_handshake() {
    let hub = Hub::start(Setup::of([Fake::new("a").arg("--big-stdout-garbage", 3 << 20).arg("--stderr-lines", 2000)]));
    hub.session("a").echo("behind 3 MiB of garbage");
    assert_eq!(hub.server("a")["restarts"], 0);
}

#[test]
fn t26_a_line_in_two_pieces() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    assert_eq!(session.call("half_line", &json!({"ms": 200})).text(), "whole");
    session.echo("next");
}

/// Half a line and then death: what was in flight fails, the half is not a message.
#[test]
fn t26_half_a_line_and_death() {
    let hub = Hub::start(Setup::of([Fake::new("a").key("restart", "{ initial = \"50ms\", max = \"1s\" }")]));
    let session = hub.session("a");
    let call = session.begin_call("half_line", &json!({"die": true, "ms": 50}));
    let response = call.response_within(Duration::from_secs(10));
    assert_eq!(response["error"]["code"], -32603, "{response}");
    session.echo("with the next child");
}

/// Strange values of the right shape pass through untouched.
#[test]
fn t26_odd_results() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    for result in [json!({}), json!({"content": null}), json!({"a": {"b": [[[]]]}}), json!({"": ""})] {
        assert_eq!(session.call("raw_result", &json!({"result": result})).result(), result);
    }
}

/// A line over the limit fails what is in flight and restarts the child; hub's memory stays bounded.
#[test]
fn t26_a_line_over_the_limit() {
    let hub = Hub::start(Setup::of([Fake::new("a").key("restart", "{ initial = \"50ms\", max = \"1s\" }")]));
    let pid = hub.child_pid("a");
    let session = hub.session("a");
    let call = session.begin_call("huge_line", &json!({"n": 65 << 20}));
    assert_eq!(call.response()["error"]["code"], -32603, "{:?}", call.messages());
    session.echo("with the next child");
    assert_ne!(hub.child_pid("a"), pid);
    if let Some(rss) = procs::rss_bytes(hub.pid()) {
        assert!(rss < 160 << 20, "{rss} bytes after a 65 MiB line");
    }
}

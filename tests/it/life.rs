//! The life of a server's children: starts that fail, floods, a changed `share`.
//!
//! In: servers that say what they should not, edits of hub.toml. Out: what hub makes of them, and when. Owns nothing. May
//! not: wait for a child where a caller would not have to.

use std::time::{Duration, Instant};

use crate::support::http::Connection;
use crate::support::session::{L2, initialize_body};
use crate::support::{Fake, Hub, Setup, eventually, json, procs};

const SERVED_AT_ONCE: Duration = Duration::from_secs(3);

/// A server as a shell script; `$1` is the answer to `initialize`, `$2` that to the first list.
fn script(text: &str) -> Fake {
    let hello = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}}"#;
    let list = r#"{"jsonrpc":"2.0","id":2,"result":{"tools":[]}}"#;
    let mut fake = Fake::new("a").command("sh", &["-c", text, "server", hello, list]);
    // It answers lines by their order: no probe.
    fake = fake.key("restart", "{ initial = \"10ms\", max = \"20ms\" }").key("era", "\"legacy\"");
    fake
}

/// What a server says after its start has failed does not make it ready.
#[test]
fn a_late_line_is_no_readiness() {
    let refusal = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"no licence"}}"#;
    let text = format!("read line; printf '%s\\n%s\\n%s\\n' '{refusal}' \"$1\" \"$2\"; sleep 60");
    let mut hub = Hub::prepare(Setup::of([script(&text)]).impatient());
    hub.serve();
    let failed = hub.wait_state("a", "failed");
    assert_eq!(failed["last_failure"]["stage"], "run", "the crash loop");
    let message = failed["last_failure"]["message"].as_str().expect("text");
    assert!(message.contains("initialize was refused: no licence"), "{message}");
    assert!(!hub.log().contains("INFO ready"), "{}", hub.log());
}

/// A server that ends at the probe is opened again without it: no crash, no restart, no pause.
#[test]
fn a_server_that_does_not_bear_the_probe_has_not_crashed() {
    let slow_again = "{ initial = \"30s\", max = \"30s\" }";
    let hub = Hub::start(Setup::of([Fake::new("a").arg("--profile", "X").key("restart", slow_again)]));
    let server = hub.wait_state("a", "ready");
    assert_eq!((&server["restarts"], &server["last_failure"]), (&json!(0), &json!(null)), "{server}");
    assert_eq!(hub.journal("a").starts().len(), 2);
    hub.session("a").call("die", &json!({})).error();
    hub.session("a").echo("the first death is made good at once, and without a probe");
    assert_eq!((hub.journal("a").starts().len(), &hub.server("a")["restarts"]), (3, &json!(1)));
}

/// A server that writes without pause can still be told to stop.
#[test]
fn a_flood_does_not_keep_controls_out() {
    let flood = r#"{"jsonrpc":"2.0","method":"notifications/flood"}"#;
    let text = format!("read a; echo \"$1\"; read b; read c; echo \"$2\"; while echo '{flood}'; do :; done");
    let hub = Hub::start(Setup::of([script(&text)]));
    for _ in 0..3 {
        let (pid, began) = (hub.child_pid("a"), Instant::now());
        hub.run(&["restart", "a"]);
        assert!(began.elapsed() < SERVED_AT_ONCE, "{:?}", began.elapsed());
        eventually("another child", || hub.child_pids("a").first().filter(|now| **now != pid).copied());
        hub.wait_state("a", "ready");
    }
}

fn share(hub: &mut Hub, share: &str) {
    let server = hub.setup.server("a");
    *server = server.clone().key("share", &format!("\"{share}\""));
    hub.write_config();
    hub.run(&["reload"]);
}

/// What runs at the old children finishes there; everything else goes to the new ones at once.
#[test]
fn a_changed_share_blocks_nobody() {
    let mut hub = Hub::start(Setup::one());
    let (busy, other) = (hub.session("a"), hub.session("a"));
    for (way, nonce) in [("session", "one"), ("shared", "two")] {
        let old = hub.child_pids("a");
        let already = hub.journal("a").count("tools/call");
        let call = busy.begin_call("sleep", &json!({"ms": 6000, "v": nonce}));
        eventually("the call runs", || (hub.journal("a").count("tools/call") > already).then_some(()));
        let began = Instant::now();
        share(&mut hub, way);
        other.echo("served by another child");
        busy.echo("this session too");
        hub.session("a").echo("and a new one");
        assert!(call.response_now().is_none(), "the old call still runs, {:?} later", began.elapsed());
        assert_eq!(hub.server("a")["state"], "ready");
        assert_eq!(call.text(), format!("slept v={nonce}"), "what was in flight is finished");
        eventually("the old children are gone", || old.iter().all(|pid| !procs::is_alive(*pid)).then_some(()));
    }
    eventually("one child for all", || (hub.child_pids("a").len() == 1).then_some(()));
    assert_eq!(hub.server("a")["errors"], 0);
}

/// Who waits for a server that starts is served by the child that takes its place.
#[test]
fn a_changed_share_fails_no_initialize() {
    let slow = Fake::new("a").arg("--ready-delay-ms", 2000);
    let mut hub = Hub::prepare(Setup::of([slow]).impatient());
    hub.serve();
    let target = hub.at("a");
    let mut waiting = Connection::open(target.addr);
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];
    waiting.write_request("POST", &target.path, &headers, &initialize_body(L2, &json!({})));
    share(&mut hub, "session");
    let reply = waiting.reply().expect("an answer");
    assert!(reply.text().contains("protocolVersion"), "{}", reply.text());
}

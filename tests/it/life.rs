//! The life of a server's children: starts that fail, floods.
//!
//! In: servers that say what they should not. Out: what hub makes of them, and when. Owns nothing. May
//! not: wait for a child where a caller would not have to.

use std::time::{Duration, Instant};

use crate::support::{Fake, Hub, Setup, eventually};

const SERVED_AT_ONCE: Duration = Duration::from_secs(3);

/// A server as a shell script; `$1` is the answer to `initialize`, `$2` that to the first list.
fn script(text: &str) -> Fake {
    let hello = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}}"#;
    let list = r#"{"jsonrpc":"2.0","id":2,"result":{"tools":[]}}"#;
    let mut fake = Fake::new("a").command("sh", &["-c", text, "server", hello, list]);
    fake = fake.key("restart", "{ initial = \"10ms\", max = \"20ms\" }");
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

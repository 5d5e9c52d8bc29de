//! A client that does not read: PROTOCOL 5.3 test 7.
//!
//! In: a stuck session and a busy one. Out: the busy one's answers, hub's memory. Owns nothing. May not: compare absolute
//! speeds; the machine is shared.

use crate::support::{Connection, Hub, Session, Setup, eventually, json, procs};
use std::time::{Duration, Instant};

/// Sends a request and never reads.
fn stuck(session: &Session, method: &str, body: &[u8]) -> Connection {
    let mut headers = session.headers();
    if method == "GET" {
        headers.retain(|(name, _)| *name != "Content-Type");
    }
    let mut connection = Connection::open(session.target.addr);
    connection.write_request(method, &session.target.path, &headers, body);
    connection
}

fn p99_of_echoes(session: &Session, count: u32) -> Duration {
    let mut times: Vec<Duration> = (0..count)
        .map(|n| {
            let start = Instant::now();
            session.echo(&format!("b{n}"));
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() * 99 / 100]
}

#[test]
fn t07_slow_client() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let (a, b) = (Session::open(&target), Session::open(&target));
    let undisturbed = p99_of_echoes(&b, 1000);
    let before = procs::rss_bytes(hub.pid());

    let get = stuck(&a, "GET", b"");
    let flood = |id: u64, n: u64, ms: u64| {
        let flood = json!({"name": "prog", "arguments": {"n": n, "ms": ms}, "_meta": {"progressToken": "a-token"}});
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": flood}).to_string();
        stuck(&a, "POST", body.as_bytes())
    };
    // More than any buffer on the way to A holds: hub must read on all the same, or the child blocks for everybody.
    let mut post = flood(1, 100_000, 0);
    eventually("the child has written everything", || hub.journal("a").mentions("100000 steps").then_some(()));
    // What A gets from now on piles up behind that.
    let more = flood(2, 3000, 1);
    b.call("change", &json!({"n": 1000})).result();
    let disturbed = p99_of_echoes(&b, 1000);
    // Twice the time, or what a scheduler on a busy machine costs, whichever is more.
    let bound = (undisturbed * 2).max(Duration::from_millis(100));
    assert!(disturbed <= bound, "p99 {undisturbed:?} became {disturbed:?}");
    if let (Some(before), Some(after)) = (before, procs::rss_bytes(hub.pid())) {
        assert!(after < before + (48 << 20), "memory grew from {before} to {after}");
    }
    // What hub could not deliver is not sent later: the stream was dropped before its response.
    let head = post.head().expect("a head");
    assert_eq!(head.status, 200);
    let mut text = Vec::new();
    while let Ok(Some(piece)) = post.piece() {
        text.extend_from_slice(&piece);
    }
    let text = String::from_utf8_lossy(&text);
    let seen = text.matches("notifications/progress").count();
    assert!(seen < 100_000, "all {seen} events were kept for a client that did not read");
    drop((get, more));
    a.echo("A's session itself goes on");
}

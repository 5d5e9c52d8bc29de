//! Clients that mean harm or are broken: a clear refusal, the others unaffected, memory bounded (issue 2, "Bad input").
//!
//! In: bytes no client should send. Out: statuses and closed sockets. Owns nothing. May not: judge by time where a status
//! or a close will do.

use crate::support::{Connection, Fake, Hub, Session, Setup, Target, eventually, json, procs};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn memory_stays_below(hub: &Hub, megabytes: u64) {
    if let Some(rss) = procs::rss_bytes(hub.pid()) {
        assert!(rss < megabytes << 20, "{} MiB", rss >> 20);
    }
}

/// The default limit: 64 MiB, and not a byte more.
#[test]
fn oversized_bodies() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let frame = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"v":""}}}"#;
    let exact = |size: usize| frame.replace("\"\"", &format!("\"{}\"", "x".repeat(size - frame.len())));
    let largest = session.post(exact(64 << 20).as_bytes());
    assert_eq!(largest.status(), 200, "{:.200}", largest.text());
    assert!(largest.body.len() > 63 << 20);

    // Announced: refused before it is sent. Not announced: refused once it is too long.
    let mut announced = Connection::open(session.target.addr);
    let length = ((64_u64 << 20) + 1).to_string();
    let mut headers = session.headers();
    headers.push(("Content-Length", &length));
    announced.write_request("POST", &session.target.path, &headers, b"{");
    assert_eq!(announced.head().expect("a refusal").status, 413);
    headers.pop();
    headers.push(("Transfer-Encoding", "chunked"));
    let mut endless = Connection::open(session.target.addr);
    endless.write_request("POST", &session.target.path, &headers, b"");
    let chunk = format!("100000\r\n{}\r\n", "y".repeat(1 << 20));
    let sent = (0..80).take_while(|_| endless.write_raw(chunk.as_bytes()).is_ok()).count();
    assert!(sent < 80 || endless.head().is_some_and(|head| head.status == 413), "80 MiB were taken");
    session.echo("others are served");
    drop((announced, endless));
    eventually("the memory is given back", || {
        procs::rss_bytes(hub.pid()).is_none_or(|rss| rss < 400 << 20).then_some(())
    });
}

fn held_bytes(hub: &Hub) -> Option<u64> {
    let text = hub.hub_path("/metrics").get().text();
    text.lines().find_map(|line| line.strip_prefix("hub_held_body_bytes ")?.parse().ok())
}

/// Bodies that fill all the room there is (limits.rs: 256 MiB) shut out other large ones, and nobody else.
#[test]
fn bodies_without_room() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let length = (64 << 20).to_string();
    let mut headers = session.headers();
    headers.push(("Content-Length", &length));
    let block = vec![b' '; 1 << 20];
    let begin = || {
        let mut connection = Connection::open(session.target.addr);
        connection.write_request("POST", &session.target.path, &headers, b"{");
        connection
    };
    let mut held: Vec<Connection> = (0..4).map(|_| begin()).collect();
    for connection in &mut held {
        (0..63).for_each(|_| connection.write_raw(&block).expect("there is room"));
    }
    eventually("all of it has arrived", || (held_bytes(&hub) > Some(252 << 20)).then_some(()));
    let mut late = begin();
    // hub may close before all of it was sent.
    let _sent = (0..6).take_while(|_| late.write_raw(&block).is_ok()).count();
    let refused = late.reply().expect("a refusal");
    assert_eq!((refused.status(), refused.head.header("retry-after")), (503, Some("1")), "{}", refused.text());
    assert_eq!(refused.head.header("connection"), Some("close"));
    assert!(refused.json()["error"]["code"].is_i64(), "{}", refused.text());
    assert!(late.is_closed_within(Duration::from_secs(10)));
    session.echo("small ones go on");
    held.iter().for_each(Connection::close);
    eventually("the room is given back", || (held_bytes(&hub) == Some(0)).then_some(()));
    session.echo(&"large ones, too".repeat(100_000));
}

/// A request that waits for its server takes room until it is answered.
#[test]
fn a_held_body_takes_room() {
    let hub = Hub::start(Setup::of([Fake::new("a").arg("--ready-delay-ms", 1500)]).impatient());
    let session = hub.session("a");
    let call = session.begin_call("echo", &json!({"v": "x".repeat(1 << 20)}));
    eventually("it is held", || (held_bytes(&hub) > Some(1 << 20)).then_some(()));
    assert!(call.response()["result"].is_object());
    eventually("the room is given back", || (held_bytes(&hub) == Some(0)).then_some(()));
}

/// Requests that stop in the middle: nobody waits for them for ever, nobody else notices.
#[test]
fn half_requests() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let target = hub.at("a");
    let halves: Vec<Connection> = [
        &b"POST /mcp HT"[..],
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"json",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"j",
        b"",
    ]
    .into_iter()
    .map(|half| {
        let mut connection = Connection::open(target.addr);
        connection.write_raw(half).expect("written");
        connection
    })
    .collect();
    session.echo("meanwhile");
    halves[2].close();
    session.echo("and after");
    let before = hub.journal("a").count("tools/call");
    drop(halves);
    session.echo("and in the end");
    assert_eq!(hub.journal("a").count("tools/call"), before + 1);
}

/// A head that comes a byte at a time is cut off (limits.rs: 10 s for a head).
#[test]
fn slow_loris() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let start = Instant::now();
    let mut slow = Connection::open(hub.at("a").addr);
    slow.write_raw(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").expect("written");
    let mut echoes = 0;
    let closed = loop {
        if slow.write_raw(b"a").is_err() || slow.is_closed_within(Duration::from_millis(200)) {
            break start.elapsed();
        }
        session.echo("meanwhile");
        echoes += 1;
        assert!(start.elapsed() < Duration::from_secs(25), "still open");
    };
    assert!(closed > Duration::from_secs(5) && echoes > 10, "{closed:?}");
}

/// Bytes that are not HTTP, and HTTP that is not right.
#[test]
fn broken_http() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let addr = hub.at("a").addr;
    let long_header = format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "h".repeat(1 << 20));
    let many_headers = format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(5000));
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "p".repeat(1 << 20));
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03TLS, is anybody there"[..],
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /mcp HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        long_header.as_bytes(),
        many_headers.as_bytes(),
        long_path.as_bytes(),
    ] {
        let mut connection = Connection::open(addr);
        // The peer may refuse while it is still being sent.
        let written = connection.write_raw(bytes);
        connection.read_timeout(Duration::from_secs(15));
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        if written.is_ok()
            && let Some(head) = connection.head()
        {
            assert!((400..500).contains(&head.status), "{shown}: {head:?}");
        }
        session.echo("others are served");
    }
    memory_stays_below(&hub, 200);
}

/// Depth is a cheap way to exhaust a stack, and parsers of servers drop what is too deep for them without an answer:
/// hub's scanner has no stack, and what is too deep ends there (limits.rs: 200 levels).
#[test]
fn deep_nesting() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let depth = 1_000_000;
    let open = "[".repeat(depth);
    let unclosed =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{open}"#);
    assert_eq!(session.post(unclosed.as_bytes()).status(), 400);
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let nested = |depth: usize| {
        let v = deep(depth - 3);
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{{"v":{v}}}}}}}"#
        )
    };
    for depth in [201, 200_000] {
        let refused = session.post(nested(depth).as_bytes());
        let error = refused.json();
        assert_eq!(
            (refused.status(), &error["id"], &error["error"]["code"]),
            (400, &json!(7), &json!(-32600)),
            "{error}"
        );
        assert!(error["error"]["message"].as_str().is_some_and(|text| text.contains("200 levels")), "{error}");
    }
    // The scripted server's parser reads 128.
    assert_eq!(session.post(nested(120).as_bytes()).status(), 200);
    let answer = |depth: usize| {
        let call = session.begin_call("sleep", &json!({"ms": 30_000}));
        let wire = hub.journal("a").wait_for_calls("sleep", 1).last().expect("arrived")["id"].clone();
        let line = format!(r#"{{"jsonrpc":"2.0","id":{wire},"result":{{"content":[],"x":{}}}}}"#, deep(depth - 2));
        session.call("raw_line", &json!({ "line": line })).result();
        call.response()
    };
    let error = answer(201)["error"].clone();
    assert_eq!(error["code"], -32603, "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("200 levels")), "{error}");
    let before = hub.journal("a").count("tools/call");
    session.echo("hub lives");
    assert_eq!(hub.journal("a").count("tools/call"), before + 1);
    memory_stays_below(&hub, 200);
}

/// Five thousand connections at once; requests among them are served.
#[test]
fn many_connections() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let addr = hub.at("a").addr;
    let wanted = 5000;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most.min(20_000), most).expect("the soft limit may rise");
    let mut open = Vec::with_capacity(wanted);
    for _ in 0..wanted {
        match TcpStream::connect_timeout(&addr, Duration::from_secs(10)) {
            Ok(stream) => open.push(stream),
            Err(problem) => panic!("connection {}: {problem}", open.len()),
        }
    }
    session.echo("among many");
    let other = Session::open(&hub.at("a"));
    other.echo("a new session too");
    for stream in open.iter_mut().step_by(100) {
        // hub may have closed idle ones by now.
        drop(stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }
    memory_stays_below(&hub, 300);
    let peak = procs::rss_bytes(hub.pid());
    drop(open);
    eventually("hub lets go of its sockets", || {
        let text = hub.hub_path("/metrics").get().text();
        let line = text.lines().find(|line| line.starts_with("hub_open_connections "))?.to_owned();
        line.rsplit(' ').next()?.parse::<f64>().ok().filter(|count| *count < 50.0).map(drop)
    });
    // limits.rs: looked at every 10 s. Some 10 KB per connection were in use.
    if cfg!(all(target_os = "linux", target_env = "gnu")) {
        eventually("the memory is given back to the system", || {
            let (now, peak) = (procs::rss_bytes(hub.pid())?, peak?);
            (now + (30 << 20) < peak).then_some(())
        });
    }
}

/// One session with more calls in flight than it may have, one server with more than it can hold: refusals, no growth.
#[test]
fn too_many_calls() {
    let hub = Hub::start(Setup::one());
    let (greedy, modest) = (hub.session("a"), hub.session("a"));
    let mut calls = Vec::new();
    let mut refused = 0;
    // limits.rs: 1024 per session. A pipelined raw request each, without a reader thread.
    for n in 0..1100 {
        let body = json!({"jsonrpc": "2.0", "id": n, "method": "tools/call",
            "params": {"name": "sleep", "arguments": {"ms": 600_000}}});
        let mut connection = Connection::open(greedy.target.addr);
        connection.write_request("POST", &greedy.target.path, &greedy.headers(), body.to_string().as_bytes());
        calls.push(connection);
    }
    for call in calls.iter_mut().rev().take(40) {
        call.read_timeout(Duration::from_secs(10));
        if call.reply().is_some_and(|reply| reply.text().contains("error")) {
            refused += 1;
        }
    }
    assert_eq!(refused, 40, "calls over the limit are refused at once");
    modest.echo("others have their own");
    assert_eq!(greedy.delete().status(), 204);
    eventually("nothing is left in flight", || (hub.server("a")["in_flight"] == 0).then_some(()));
}

/// The old transport and the hub port refuse as well.
#[test]
fn refusals_everywhere() {
    let hub = Hub::start(Setup::one());
    let targets: [Target; 3] = [hub.at("a"), hub.all(), hub.hub_path("/servers/a/mcp")];
    for target in &targets {
        let session = Session::open(target);
        for (body, status) in [(&b"{"[..], 400), (b"[]", 400), (b"\xff", 400), (b"", 400), (b"[[]]", 400)] {
            let reply = session.post(body);
            assert_eq!(reply.status(), status, "{} {:?}: {}", target.path, String::from_utf8_lossy(body), reply.text());
            assert!(reply.head.is_json());
        }
        session.request("ping", &json!({})).result();
    }
}

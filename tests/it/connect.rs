//! `hub connect`: a client that speaks only stdio has what all others have.
//!
//! In: lines. Out: the same answers as over HTTP, whatever dies in between. Owns nothing. May not: open a second session
//! where the first must do.

use crate::support::session::{L1, L2, L3, text_of};
use crate::support::{Bridge, Fake, Hub, Setup, Value, eventually, json, patience, procs, stays};
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn legacy(hub: &Hub) -> Bridge {
    Bridge::open(hub, &["a"], L3, &json!({"elicitation": {}}))
}

#[test]
fn a_legacy_client() {
    for (child, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let bridge = legacy(&hub);
        assert_eq!(bridge.request("ping", &json!({})), json!({}));
        let tools = bridge.request("tools/list", &json!({}));
        assert!(tools["tools"].as_array().is_some_and(|tools| tools.len() > 20), "{child}: {tools}");
        assert_eq!(bridge.call("echo", &json!({"v": "Grüße\n"})), "Grüße\n", "{child}");
        let unknown = bridge.response(bridge.begin("no/such", &json!({})));
        assert!(unknown["error"]["code"].is_i64(), "{child}: {unknown}");
        // Progress comes before the answer, under the client's own token.
        let params = json!({"name": "prog", "arguments": {"n": 3, "ms": 5}, "_meta": {"progressToken": "mine"}});
        bridge.response(bridge.begin("tools/call", &params));
        let progress = bridge.of("notifications/progress");
        assert_eq!(progress.len(), 3, "{child}: {progress:?}");
        assert!(progress.iter().all(|one| one["params"]["progressToken"] == "mine"));
        // What the child asks in the middle of a call.
        let call = bridge.begin_call("elicit", &json!({"tag": "t"}));
        let ask = bridge.wait_for("elicitation/create");
        bridge.answer(&ask, &json!({"action": "accept", "content": {"answer": "forty-two"}}));
        assert!(bridge.text(call).contains("forty-two"), "{child}");
        assert_eq!(hub.server("a")["sessions"], 1, "{child}");
    }
}

#[test]
fn a_modern_client() {
    for (child, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let bridge = Bridge::start(&hub, &["a"]);
        let claimed = |params: Value| Bridge::claimed(&params, &json!({"elicitation": {"form": {}}}));
        let discover = bridge.request("server/discover", &claimed(json!({})));
        assert_eq!(discover["supportedVersions"], json!(["2026-07-28"]), "{child}");
        let called = bridge.request("tools/call", &claimed(json!({"name": "echo", "arguments": {"v": "é"}})));
        assert_eq!(called["content"][0]["text"], "é", "{child}");
        assert_eq!(called["resultType"], "complete");
        // Names that no header holds as they are, and arguments that are mirrored.
        let odd = bridge.response(bridge.begin("tools/call", &claimed(json!({"name": "nö such", "arguments": {}}))));
        assert_eq!(odd["error"]["code"], -32602, "{child}: {odd}");
        let arguments = json!({"region": " eu–west ", "count": 42, "dry": true, "at": {"zone": "b"}});
        for _ in 0..2 {
            let mirrored = bridge.request("tools/call", &claimed(json!({"name": "by_region", "arguments": arguments})));
            assert_eq!(mirrored["content"][0]["text"], "region \" eu–west \"", "{child}");
        }
        // A question ends the first round; the answer comes with the second.
        let asked = bridge.request("tools/call", &claimed(json!({"name": "elicit", "arguments": {}})));
        assert_eq!(asked["resultType"], "input_required", "{child}");
        let key = asked["inputRequests"].as_object().expect("questions").keys().next().expect("one").clone();
        let answers = json!({key: {"action": "accept", "content": {"answer": "yes"}}});
        let again = json!({"name": "elicit", "arguments": {}, "inputResponses": answers,
            "requestState": asked["requestState"]});
        let told = bridge.request("tools/call", &claimed(again));
        assert!(told["content"][0]["text"].as_str().is_some_and(|text| text.contains("yes")), "{child}: {told}");
        assert_eq!(hub.server("a")["sessions"], 0, "{child}: nothing was opened");
    }
}

/// All servers together, and one without a session.
#[test]
fn the_aggregate() {
    let hub = Hub::start(Setup::of([Fake::new("a"), Fake::modern("b")]));
    let bridge = Bridge::start(&hub, &[]);
    assert_eq!(bridge.request("ping", &json!({})), json!({}), "a stdio server answers a ping at any time");
    let early = bridge.response(bridge.begin("tools/list", &json!({})));
    assert!(early["error"]["message"].as_str().is_some_and(|text| text.contains("initialize")), "{early}");
    let params = json!({"protocolVersion": L2, "capabilities": {}, "clientInfo": {"name": "x", "version": "0"}});
    assert_eq!(bridge.request("initialize", &params)["serverInfo"]["name"], "hub");
    bridge.notify("notifications/initialized", &json!({}));
    for server in ["a", "b"] {
        assert_eq!(bridge.call(&format!("{server}__echo"), &json!({"v": server})), server);
    }
}

#[test]
fn what_is_no_message() {
    let hub = Hub::start(Setup::one());
    let bridge = legacy(&hub);
    bridge.write("{broken");
    let parse = bridge.wait("a parse error", |message| message["error"]["code"] == -32700);
    assert!(parse.get("id").is_none(), "{parse}");
    bridge.write(r#"{"jsonrpc":"1.0","id":77,"method":"ping"}"#);
    assert_eq!(bridge.response(77)["error"]["code"], -32600);
    bridge.write("\r\n  \r");
    assert_eq!(bridge.call("echo", &json!({"v": "still here"})), "still here");
    // The same id twice: the second is refused, the first goes on.
    let slow = bridge.begin_call("sleep", &json!({"ms": 300, "v": "first"}));
    bridge.write(&json!({"jsonrpc": "2.0", "id": slow, "method": "ping"}).to_string());
    let both = eventually("two answers", || {
        let both: Vec<Value> = bridge.lines().into_iter().filter(|message| message["id"] == slow).collect();
        (both.len() == 2).then_some(both)
    });
    assert_eq!(both[0]["error"]["code"], -32600, "{both:?}");
    assert!(text_of(&both[1]).contains("first"), "{both:?}");
}

/// The request is refused as over HTTP, and the conversation goes on.
#[test]
fn a_line_that_is_too_long() {
    let hub = Hub::start(Setup::one());
    let bridge = legacy(&hub);
    let params = json!({"name": "echo", "arguments": {"v": "y".repeat(65 << 20)}});
    let refused = bridge.response(bridge.begin("tools/call", &params));
    assert_eq!(refused["error"]["code"], -32600, "{refused}");
    bridge.write(&format!(
        r#"{{"method":"x/y","params":["{}"],"jsonrpc":"2.0","id":"at the end"}}"#,
        "y".repeat(65 << 20)
    ));
    bridge.wait("an answer to it too", |message| message["id"] == "at the end" && message["error"]["code"] == -32600);
    assert_eq!(bridge.call("echo", &json!({"v": "still here"})), "still here");
}

/// A client knows nothing of the variables that named this hub's files: its entry tells them.
#[test]
fn an_entry_says_which_hub_it_means() {
    let hub = Hub::start(Setup::one());
    let entry = hub.run(&["export", "--client", "claude-desktop"]).json()["mcpServers"]["a"].clone();
    let mut command = Command::new(entry["command"].as_str().expect("a program"));
    command.args(entry["args"].as_array().expect("a list").iter().filter_map(Value::as_str));
    command.env_clear().env("HOME", hub.path("home"));
    for (name, value) in entry["env"].as_object().expect("variables") {
        command.env(name, value.as_str().expect("text"));
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("hub can be started");
    let mut stdin = child.stdin.take().expect("piped");
    let params = json!({"protocolVersion": L3, "capabilities": {}, "clientInfo": {"name": "x", "version": "0"}});
    writeln!(stdin, "{}", json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))
        .expect("it reads");
    let mut answer = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut answer).expect("an answer");
    assert!(answer.contains("\"protocolVersion\""), "{answer}");
    writeln!(stdin, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).expect("it reads");
    eventually("it is this hub's", || (hub.server("a")["sessions"] == 1).then_some(()));
    drop(stdin);
    child.wait().expect("it ends with its input");
}

/// What cannot be sent stays in the client's pipe, by bytes and not by lines.
#[test]
fn large_lines_wait_outside() {
    const BYTES: usize = 16 << 20;
    let hub = Hub::start(Setup::one());
    let mut command = hub.command();
    command.args(["connect", "a"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("hub can be started");
    let mut stdin = child.stdin.take().expect("piped");
    let params = json!({"protocolVersion": L3, "capabilities": {}, "clientInfo": {"name": "x", "version": "0"}});
    writeln!(stdin, "{}", json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))
        .expect("it reads");
    let mut answers = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(answers.next().is_some_and(|line| line.is_ok()));
    hub.signal(Signal::SIGSTOP);
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let calls = std::thread::spawn(move || {
        let params = json!({"name": "whoami", "arguments": {"x": "y".repeat(BYTES)}});
        for id in 1..=16 {
            let line = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string() + "\n";
            if stdin.write_all(line.as_bytes()).is_err() {
                return;
            }
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    // Four are sent, one waits to be, one waits to be looked at, one is being read.
    stays("it takes no more", Duration::from_secs(3), || written.load(Ordering::SeqCst) <= 7);
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
    calls.join().expect("its pipe is broken");
    hub.signal(Signal::SIGCONT);
}

#[test]
fn a_batch() {
    let hub = Hub::start(Setup::one());
    let bridge = Bridge::open(&hub, &["a"], L1, &json!({}));
    bridge.write(
        r#"[{"jsonrpc":"2.0","id":100,"method":"ping"},{"jsonrpc":"2.0","method":"x/y"},{"jsonrpc":"2.0","id":101,"method":"tools/list"}]"#,
    );
    assert_eq!(bridge.response(100)["result"], json!({}));
    assert!(bridge.response(101)["result"]["tools"].is_array());
    let newer = legacy(&hub);
    bridge.write("[]");
    bridge.wait("a refusal", |message| message.get("id").is_none() && message["error"]["code"] == -32600);
    newer.write(r#"[{"jsonrpc":"2.0","id":100,"method":"ping"}]"#);
    assert_eq!(newer.response(100)["error"]["code"], -32600, "{newer:?}", newer = newer.lines());
}

/// A batch takes as many places as it holds requests. hub is stopped, so only the bridge can have refused anything.
#[test]
fn batches_are_counted() {
    const PLACES: i64 = 1024;
    let hub = Hub::start(Setup::one());
    let bridge = Bridge::open(&hub, &["a"], L1, &json!({}));
    hub.signal(Signal::SIGSTOP);
    let ids: Vec<i64> = (10_000..11_100).collect();
    for ids in ids.chunks(99) {
        let pings = ids.iter().map(|id| json!({"jsonrpc": "2.0", "id": id, "method": "ping"}));
        let batch: Vec<Value> = pings.chain([json!({"jsonrpc": "2.0", "method": "x/y"})]).collect();
        bridge.write(&Value::from(batch).to_string());
    }
    let refused = "More than 1024 requests are in flight.";
    for id in [10_000 + PLACES, 11_099, bridge.begin("ping", &json!({}))] {
        assert_eq!(bridge.response(id)["error"]["message"], refused);
    }
    hub.signal(Signal::SIGCONT);
    for (id, place) in ids.iter().zip(0..) {
        let answer = bridge.response(*id);
        assert_eq!(answer.get("result").is_some(), place < PLACES, "{answer}");
    }
    assert_eq!(bridge.request("ping", &json!({})), json!({}), "there is room again");
    bridge.write(r#"[{"jsonrpc":"2.0","id":7,"method":"ping"},{"jsonrpc":"2.0","id":7,"method":"ping"}]"#);
    eventually("both are answered", || {
        let answers = bridge.lines().into_iter().filter(|message| message["id"] == 7);
        (answers.filter(|answer| answer["error"]["code"] == -32600).count() == 1).then_some(())
    });
}

/// Answers come as they are ready, each to its own request.
#[test]
fn many_at_once() {
    let hub = Hub::start(Setup::one());
    let bridge = legacy(&hub);
    let slow = bridge.begin_call("sleep", &json!({"ms": 3000, "v": "slow"}));
    let calls: Vec<(i64, String)> = (0..300)
        .map(|n| {
            let v = format!("nonce {n} {}", "x".repeat(n * 20));
            (bridge.begin_call("echo", &json!({"v": v})), v)
        })
        .collect();
    for (id, v) in &calls {
        assert_eq!(bridge.text(*id), *v);
    }
    assert!(!bridge.lines().iter().any(|message| message["id"] == slow), "the slow one holds up nobody");
    assert!(bridge.text(slow).contains("slow"));
}

#[test]
fn large_messages() {
    let hub = Hub::start(Setup::one());
    let bridge = legacy(&hub);
    let v = "y".repeat(12 << 20);
    assert_eq!(bridge.call("echo", &json!({"v": v})).len(), v.len());
    assert_eq!(bridge.call("big", &json!({"n": 12 << 20})).len(), 12 << 20);
}

/// What a client does not read stays where it is: hub's answers wait in hub, not in the bridge.
#[test]
fn a_client_that_does_not_read() {
    const CALLS: usize = 30;
    const BYTES: usize = 4 << 20;
    let hub = Hub::start(Setup::one());
    let mut command = hub.command();
    command.args(["connect", "a"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("hub can be started");
    let mut stdin = child.stdin.take().expect("piped");
    let mut line = |message: Value| writeln!(stdin, "{message}").expect("it reads");
    let params = json!({"protocolVersion": L3, "capabilities": {}, "clientInfo": {"name": "x", "version": "0"}});
    line(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}));
    for id in 1..=CALLS {
        let params = json!({"name": "big", "arguments": {"n": BYTES}});
        line(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}));
    }
    eventually("all are answered", || (hub.server("a")["in_flight"] == 0).then_some(()));
    if let Some(rss) = procs::rss_bytes(child.id()) {
        assert!(rss < 64 << 20, "{rss} bytes for {} of answers", CALLS * BYTES);
    }
    let answers = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let ids: HashSet<i64> = answers
        .take(CALLS + 1)
        .filter_map(|line| {
            let message: Value = serde_json::from_str(&line).expect("JSON");
            message["id"].as_i64()
        })
        .collect();
    assert_eq!(ids.len(), CALLS + 1, "each is answered once");
    drop(stdin);
    assert!(child.wait().expect("a child of ours").success());
}

#[test]
fn cancelling() {
    for (child, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let bridge = legacy(&hub);
        // At once: the cancellation may overtake the request.
        for round in 1..=10 {
            let call = bridge.begin_call("sleep", &json!({"ms": 60_000, "v": round}));
            bridge.notify("notifications/cancelled", &json!({"requestId": call, "reason": "test"}));
        }
        eventually("nothing is in flight", || (hub.server("a")["in_flight"] == 0).then_some(()));
        let call = bridge.begin_call("sleep", &json!({"ms": 60_000}));
        hub.journal("a").wait_for_calls("sleep", 1);
        bridge.notify("notifications/cancelled", &json!({"requestId": call}));
        eventually("nothing is in flight", || (hub.server("a")["in_flight"] == 0).then_some(()));
        bridge.request("ping", &json!({}));
        assert!(
            !bridge.lines().iter().any(|message| message["id"] == call),
            "{child}: no answer to what was cancelled"
        );

        let modern = Bridge::start(&hub, &["a"]);
        let params = Bridge::claimed(&json!({"name": "sleep", "arguments": {"ms": 60_000}}), &json!({}));
        let call = modern.begin("tools/call", &params);
        eventually("it is in flight", || (hub.server("a")["in_flight"] == 1).then_some(()));
        modern.notify("notifications/cancelled", &json!({"requestId": call}));
        eventually("nothing is in flight", || (hub.server("a")["in_flight"] == 0).then_some(()));
        let discover = Bridge::claimed(&json!({}), &json!({}));
        modern.request("server/discover", &discover);
        assert!(!modern.lines().iter().any(|message| message["id"] == call), "{child}");
    }
}

/// What comes unasked: lists that change, resources, logs.
#[test]
fn unasked() {
    for (child, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let bridge = legacy(&hub);
        let listening = Bridge::start(&hub, &["a"]);
        let wanted = json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": ["test://one"]}});
        let listen = listening.begin("subscriptions/listen", &Bridge::claimed(&wanted, &json!({})));
        let acknowledged = listening.wait_for("notifications/subscriptions/acknowledged");
        let id = "io.modelcontextprotocol/subscriptionId";
        assert_eq!(acknowledged["params"]["_meta"][id], listen, "{child}");
        bridge.request("resources/subscribe", &json!({"uri": "test://one"}));
        bridge.call("change", &json!({"kind": "tools"}));
        bridge.call("touch", &json!({"uri": "test://one"}));
        for one in [&bridge, &listening] {
            one.wait_for("notifications/tools/list_changed");
            assert_eq!(one.wait_for("notifications/resources/updated")["params"]["uri"], "test://one", "{child}");
        }
        listening.notify("notifications/cancelled", &json!({"requestId": listen}));
        // Two processes: the cancellation of one reaches hub before or after the call of the other.
        let told = |one: &Bridge| one.of("notifications/resources/updated").len();
        eventually(&format!("{child}: it listens no more"), || {
            let before = (told(&bridge), told(&listening));
            bridge.call("touch", &json!({"uri": "test://one"}));
            eventually("once more", || (told(&bridge) == before.0 + 1).then_some(()));
            (told(&listening) == before.1).then_some(())
        });
    }
}

/// A child dies: the bridge shows what every client sees.
#[test]
fn the_child_is_killed() {
    let quick = Fake::new("a").key("restart", "{ initial = \"50ms\", max = \"500ms\" }");
    let hub = Hub::start(Setup::of([quick]));
    let bridge = legacy(&hub);
    let call = bridge.begin_call("sleep", &json!({"ms": 60_000}));
    hub.journal("a").wait_for_calls("sleep", 1);
    procs::signal(hub.child_pid("a"), Signal::SIGKILL);
    assert!(bridge.response(call)["error"]["message"].as_str().is_some_and(|text| text.contains("may have run")));
    assert_eq!(bridge.call("echo", &json!({"v": "again"})), "again");
    bridge.wait_for("notifications/tools/list_changed");
}

fn restarted(kill: bool) {
    let mut hub = Hub::start(Setup::one().fixed_ports());
    let bridge = legacy(&hub);
    let modern = Bridge::start(&hub, &["a"]);
    let wanted = Bridge::claimed(&json!({"notifications": {"toolsListChanged": true}}), &json!({}));
    let listen = modern.begin("subscriptions/listen", &wanted);
    modern.wait_for("notifications/subscriptions/acknowledged");
    let file = hub.path("ran");
    let calls: Vec<i64> =
        (0..3).map(|n| bridge.begin_call("count", &json!({"file": file, "v": n, "ms": 60_000}))).collect();
    hub.journal("a").wait_for_calls("count", 3);
    if kill {
        hub.kill();
    } else {
        hub.stop();
    }
    for call in calls {
        let response = bridge.response(call);
        let message = response["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains("may have run") || message.contains("stopping"), "{response}");
    }
    // While hub is away: what cannot be sent yet waits.
    let waiting = bridge.begin_call("echo", &json!({"v": "waited"}));
    let asked =
        modern.begin("tools/call", &Bridge::claimed(&json!({"name": "echo", "arguments": {"v": "m"}}), &json!({})));
    hub.serve();
    assert_eq!(bridge.text(waiting), "waited");
    assert_eq!(modern.text(asked), "m");
    assert_eq!(std::fs::read_to_string(&file).expect("it ran").lines().count(), 3, "nothing ran twice");
    let session = hub.server("a")["sessions"].clone();
    assert_eq!(session, 1, "the same session");
    // Both listen again.
    let before = modern.of("notifications/tools/list_changed").len();
    eventually("changes are heard", || {
        bridge.call("change", &json!({"kind": "tools"}));
        let heard = modern.of("notifications/tools/list_changed").len() > before;
        (heard && !bridge.of("notifications/tools/list_changed").is_empty()).then_some(())
    });
    assert_eq!(modern.of("notifications/subscriptions/acknowledged").len(), 1, "acknowledged once");
    assert!(!modern.lines().iter().any(|message| message["id"] == listen && message.get("method").is_none()));
}

#[test]
fn hub_restarts() {
    restarted(false);
}

#[test]
fn hub_is_killed() {
    restarted(true);
}

/// A session that hub has forgotten is opened again, with all that belongs to it.
#[test]
fn a_forgotten_session() {
    let mut hub = Hub::start(Setup::one().fixed_ports());
    let bridge = legacy(&hub);
    bridge.request("logging/setLevel", &json!({"level": "debug"}));
    bridge.request("resources/subscribe", &json!({"uri": "test://one"}));
    hub.stop();
    std::fs::remove_dir_all(hub.path("state")).expect("its state");
    hub.serve();
    assert_eq!(bridge.call("echo", &json!({"v": "nobody noticed"})), "nobody noticed");
    eventually("the subscription", || {
        bridge.call("touch", &json!({"uri": "test://one"}));
        (!bridge.of("notifications/resources/updated").is_empty()).then_some(())
    });
    bridge.call("log", &json!({"level": "debug", "text": "fine print"}));
    bridge.wait_for("notifications/message");
    let ids: HashSet<String> =
        bridge.lines().iter().filter_map(|message| message["id"].as_str().map(str::to_owned)).collect();
    assert!(ids.is_empty(), "answers to requests that the client never sent: {ids:?}");
}

/// No daemon: two clients at once start one; it stays when they leave.
#[test]
fn hub_is_started() {
    let hub = Hub::prepare(Setup::one().fixed_ports());
    let bridges = [(); 2].map(|()| Bridge::start(&hub, &["a"]));
    let params = json!({"protocolVersion": L3, "capabilities": {}, "clientInfo": {"name": "x", "version": "0"}});
    for bridge in &bridges {
        bridge.request("initialize", &params);
        bridge.notify("notifications/initialized", &json!({}));
    }
    let pids: HashSet<String> = bridges.iter().map(|bridge| bridge.call("whoami", &json!({}))).collect();
    assert_eq!(pids.len(), 1, "one child of one daemon: {pids:?}");
    for mut bridge in bridges {
        bridge.close();
        assert!(bridge.wait_exit().success());
    }
    eventually("no session is left", || (hub.server("a")["sessions"] == 0).then_some(()));

    // It is gone while a client is there: the next request starts it.
    let bridge = legacy(&hub);
    hub.run(&["down"]);
    stays("nobody starts it unasked", Duration::from_millis(300), || hub.cli(&["status"]).code == 69);
    assert_eq!(bridge.call("echo", &json!({"v": "back"})), "back");
    hub.run(&["down"]);
    drop(bridge);
    hub.wait_nothing_left(patience());
}

/// Who comes while the daemon starts is not told that its server does not exist.
#[test]
fn hub_is_starting() {
    let hub = Hub::prepare(Setup::one().fixed_ports());
    let params = json!({"protocolVersion": L3, "capabilities": {}, "clientInfo": {"name": "x", "version": "0"}});
    for _ in 0..3 {
        let bridges: Vec<_> = (0..10).map(|_| Bridge::start(&hub, &["a"])).collect();
        let asked: Vec<_> = bridges.iter().map(|bridge| bridge.begin("initialize", &params)).collect();
        for (bridge, id) in bridges.iter().zip(asked) {
            let response = bridge.response(id);
            assert!(response["result"].is_object(), "{response}");
        }
        drop(bridges);
        hub.run(&["down"]);
    }
    hub.wait_nothing_left(patience());
}

#[test]
fn the_end_of_stdin() {
    let hub = Hub::start(Setup::one());
    let mut bridge = legacy(&hub);
    let quick = bridge.begin_call("sleep", &json!({"ms": 200, "v": "quick"}));
    let start = Instant::now();
    bridge.close();
    assert!(bridge.wait_exit().success());
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    assert!(bridge.text(quick).contains("quick"), "what ends soon is waited for");
    assert_eq!(hub.server("a")["sessions"], 0, "the session is given back");

    let mut bridge = legacy(&hub);
    bridge.begin_call("sleep", &json!({"ms": 60_000}));
    hub.journal("a").wait_for_calls("sleep", 2);
    let start = Instant::now();
    bridge.close();
    assert!(bridge.wait_exit().success());
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    eventually("it is cancelled", || (hub.server("a")["in_flight"] == 0).then_some(()));

    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut bridge = legacy(&hub);
        let start = Instant::now();
        procs::signal(bridge.pid(), signal);
        assert!(bridge.wait_exit().success());
        assert!(start.elapsed() < Duration::from_secs(1), "{signal}: {:?}", start.elapsed());
        assert_eq!(hub.server("a")["sessions"], 0, "the session is given back");
    }

    // As in a pipeline: the last line without a newline.
    let mut bridge = Bridge::start(&hub, &["a"]);
    bridge.write(&json!({"jsonrpc": "2.0", "id": 9, "method": "ping"}).to_string());
    bridge.close();
    assert!(bridge.wait_exit().success());
    assert_eq!(bridge.lines(), [json!({"jsonrpc": "2.0", "id": 9, "result": {}})]);
}

#[test]
fn an_unknown_server() {
    let hub = Hub::start(Setup::of([Fake::new("github")]));
    let mut bridge = Bridge::start(&hub, &["gihub"]);
    let asked = bridge.begin("initialize", &json!({"protocolVersion": L3}));
    assert_eq!(bridge.wait_exit().code(), Some(1));
    let response = bridge.response(asked);
    assert!(response["error"]["message"].as_str().is_some_and(|text| text.contains("no server `gihub`")), "{response}");
    eventually("stderr", || bridge.stderr().contains("did you mean `github`?").then_some(()));
    let broken = Hub::prepare(Setup::one());
    broken.write_config_text("[hub\n");
    let refused = broken.cli(&["connect", "a"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("hub.toml") && refused.stderr.contains("hint: "), "{refused:?}");
    assert!(refused.stdout.is_empty());
}

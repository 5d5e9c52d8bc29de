//! Clients of both eras on one child: the modern parts of PROTOCOL 5.3 tests 1, 3, 4, 6, 8, 9, 20 to 22, 25, 26, 34 and 49.
//!
//! In: sessions and modern callers at once, on children of both eras. Out: each its own, nothing of another. Owns nothing.
//! May not: look only at the modern half; the session beside it is checked as well.

use crate::support::journal::Record;
use crate::support::modern::ELICIT;
use crate::support::session::message;
use crate::support::{Connection, Fake, Hub, Modern, Session, Setup, Stream, Value, eventually, json, procs};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const PROGRESS: &str = "notifications/progress";
const MESSAGE: &str = "notifications/message";

#[test]
fn t01_id_collision_of_both_eras() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        std::thread::scope(|scope| {
            for worker in 0..6 {
                let target = &target;
                scope.spawn(move || {
                    let (session, client) = (Session::open(target), Modern::open(target));
                    for round in 0..40 {
                        let id =
                            [json!(1), json!("1"), json!(0), json!(-1), json!(""), json!(9_007_199_254_740_993_u64)]
                                [round % 6]
                                .clone();
                        let text = format!("{era} {worker} {round}");
                        let call = json!({"name": "echo", "arguments": {"v": text}});
                        let answer = if worker % 2 == 0 {
                            session.request_as(&id, "tools/call", &call)
                        } else {
                            client.request_as(&id, "tools/call", &call)
                        };
                        assert_eq!(answer.text(), text);
                    }
                });
            }
        });
        let ids: Vec<u64> =
            hub.journal("a").of("tools/call").iter().map(|call| call["id"].as_u64().expect("an integer")).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{era}: no wire id twice");
    }
}

#[test]
fn t03_progress_collision_of_both_eras() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let (a, b, p) = (Session::open(&target), Session::open(&target), Modern::open(&target));
        let steps = |who: &str| json!({"n": 5, "ms": 50, "v": who});
        let calls = [
            ("A", json!(1), a.begin_call_with_token("prog", &steps("A"), &json!(1))),
            ("B", json!(1), b.begin_call_with_token("prog", &steps("B"), &json!(1))),
            ("P", json!("1"), p.begin_call_with_token("prog", &steps("P"), &json!("1"))),
            ("Q", json!(1), p.begin_call_with_token("prog", &steps("Q"), &json!(1))),
        ];
        for (who, token, call) in &calls {
            assert_eq!(call.text(), format!("5 steps v={who}"), "{era}");
            call.closed();
            let messages = call.messages();
            assert_eq!(messages.len(), 6, "{era}: five events and then the response: {messages:?}");
            for (index, event) in messages[..5].iter().enumerate() {
                assert_eq!((&event["method"], &event["params"]["progressToken"]), (&json!(PROGRESS), token), "{era}");
                assert_eq!(event["params"]["message"], format!("step {} v={who}", index + 1), "{era}");
            }
        }
        for call in hub.journal("a").calls("prog") {
            assert_eq!(call["params"]["_meta"]["progressToken"], call["id"], "{era}: the child's token is the wire id");
        }
    }
}

/// A session's prompt is not a modern caller's, and the other way round.
#[test]
fn t04_elicit_wrong_user_of_both_eras() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let (session, client) = (Session::eliciting(&target), Modern::eliciting(&target));
        let sleeping = client.begin_call("sleep", &json!({"ms": 700, "v": "P"}));
        hub.journal("a").wait_for_calls("sleep", 1);
        let asking = session.begin_call("elicit", &json!({"tag": "for A"}));
        let prompt = asking.wait_for(ELICIT);
        assert_eq!(prompt["params"]["message"], "for A", "{era}");
        session.accept(&prompt, "A's secret");
        assert!(asking.text().contains("A's secret"), "{era}");
        assert_eq!(sleeping.text(), "slept v=P", "{era}");
        assert_eq!(sleeping.messages().len(), 1, "{era}");

        let get = session.listen();
        let sleeping = session.begin_call("sleep", &json!({"ms": 700, "v": "A"}));
        hub.journal("a").wait_for_calls("sleep", 2);
        let round = client.ask("elicit", &json!({"tag": "for P"}));
        assert_eq!(round.message(), "for P", "{era}");
        assert!(client.retry(&round, &round.accept("P's secret")).text().contains("P's secret"), "{era}");
        assert_eq!(sleeping.text(), "slept v=A", "{era}");
        assert_eq!((sleeping.messages().len(), get.of(ELICIT).len()), (1, 0), "{era}");
    }
}

/// That only the other one could answer is no evidence that it is the other one's.
#[test]
fn t06_capability_not_evidence_of_both_eras() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let (session, client) = (Session::eliciting(&target), Modern::open(&target));
    let sleeping = session.begin_call("sleep", &json!({"ms": 700, "v": "A"}));
    hub.journal("a").wait_for_calls("sleep", 1);
    let answer = client.call("elicit", &json!({"tag": "P's"}));
    assert_eq!(answer.code(), -32021, "{answer:?}");
    assert_eq!(sleeping.text(), "slept v=A");
    assert_eq!(sleeping.of(ELICIT), Vec::<Value>::new());
}

/// 8 and 9: a modern caller cancels by leaving; only its own call, and a late answer goes nowhere.
#[test]
fn t08_cancel_by_disconnect() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let (session, client) = (Session::open(&target), Modern::open(&target));
        let mine = client.begin_as(
            &json!(7),
            "tools/call",
            &json!({"name": "ignore_cancel", "arguments": {"ms": 700, "v": "P"}}),
        );
        let other =
            session.begin_as(&json!(7), "tools/call", &json!({"name": "sleep", "arguments": {"ms": 900, "v": "A"}}));
        let wire = hub.journal("a").wait_for_calls("ignore_cancel", 1)[0]["id"].clone();
        hub.journal("a").wait_for_calls("sleep", 1);
        mine.drop_connection();
        let cancelled = hub.journal("a").wait_for("notifications/cancelled", 1);
        assert_eq!(cancelled[0]["params"]["requestId"], wire, "{era}");
        // The same id again, while the late answer of the first one comes.
        let again =
            client.begin_as(&json!(7), "tools/call", &json!({"name": "sleep", "arguments": {"ms": 900, "v": "again"}}));
        eventually("the late answer", || {
            hub.journal("a").sent().iter().any(|m| m.to_string().contains("late v=P")).then_some(())
        });
        assert_eq!((again.text(), other.text()), ("slept v=again".to_owned(), "slept v=A".to_owned()), "{era}");
        assert_eq!(hub.journal("a").count("notifications/cancelled"), 1, "{era}");
    }
}

/// A session's cancellation reaches a modern child with the right id.
#[test]
fn t08_cancel_of_a_session_on_a_modern_child() {
    let hub = Hub::start(Setup::modern());
    let (a, b) = (hub.session("a"), hub.session("a"));
    let calls = [(&a, "A"), (&b, "B")].map(|(session, who)| {
        session.begin_as(&json!(7), "tools/call", &json!({"name": "sleep", "arguments": {"ms": 1500, "v": who}}))
    });
    let seen = hub.journal("a").wait_for_calls("sleep", 2);
    let wire = seen.iter().find(|call| call["params"]["arguments"]["v"] == "A").expect("A's")["id"].clone();
    a.cancel(&json!(7));
    calls[0].closed();
    assert_eq!(calls[0].messages(), Vec::<Value>::new());
    assert_eq!(calls[1].text(), "slept v=B");
    let cancelled = hub.journal("a").of("notifications/cancelled");
    assert_eq!(cancelled.len(), 1, "{cancelled:?}");
    assert_eq!(cancelled[0]["params"]["requestId"], wire);
}

/// 20 and 21: bodies as people write them, and as they should not.
#[test]
fn t20_framing_of_modern_bodies() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let client = Modern::open(&hub.at("a"));
        let own = Modern::headers("tools/call", &json!({"name": "echo"}));
        let headers: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let value = "line\nbreak \u{2028} \\ \" é ☃ \u{0}";
        let params = client.claimed(&json!({"name": "echo", "arguments": {"v": value}}));
        let whole = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let pretty = serde_json::to_string_pretty(&whole).expect("JSON").replace('\n', "\r\n");
        let answer = crate::support::Answer::from_reply(&client.post(&headers, pretty.as_bytes()));
        assert_eq!(answer.text(), value, "{era}");
        let big = "x".repeat(1 << 20);
        client.echo(&big);
        let before = hub.journal("a").lines().len();
        let good = whole.to_string();
        for bad in [
            good.replacen("\"id\":1", "\"id\":1,\"id\":2", 1).into_bytes(),
            good.replacen("\"name\":\"echo\"", "\"name\":\"echo\",\"name\":\"big\"", 1).into_bytes(),
            good.replacen("\"id\":1", "\"id\":null", 1).into_bytes(),
            good.replacen("\"id\":1", "\"id\":1.5", 1).into_bytes(),
            good.as_bytes()[..good.len() - 1].to_vec(),
            [good.as_bytes(), b"\xff"].concat(),
        ] {
            let reply = client.post(&headers, &bad);
            let text = reply.text();
            let refused = reply.status() == 400 || reply.json()["error"]["code"] == -32602;
            assert!(refused, "{era}: {} for {}: {text}", reply.status(), String::from_utf8_lossy(&bad));
        }
        client.echo("order");
        assert_eq!(hub.journal("a").lines().len(), before + 1, "{era}: the child was not touched");
        for line in hub.journal("a").lines() {
            assert!(serde_json::from_str::<Value>(&line).is_ok(), "{era}: not one line per message: {line}");
        }
    }
}

/// 22: a death under callers of both eras.
#[test]
fn t22_child_crash_of_both_eras() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let (a, p) = (Session::open(&target), Modern::open(&target));
        let get = a.listen();
        assert_eq!(a.request("resources/subscribe", &json!({"uri": "test://one"})).result(), json!({}), "{era}");
        let listen =
            Modern::open(&target).listen(&json!({"toolsListChanged": true, "resourceSubscriptions": ["test://one"]}));
        let calls = [
            a.begin_call("sleep", &json!({"ms": 60_000, "v": "A"})),
            p.begin_call("sleep", &json!({"ms": 60_000, "v": "P"})),
        ];
        hub.journal("a").wait_for_calls("sleep", 2);
        let start = Instant::now();
        p.call("die", &json!({})).error();
        for call in &calls {
            let response = call.response();
            assert_eq!(response["error"]["code"], -32603, "{era}: {response}");
        }
        assert!(start.elapsed() < Duration::from_secs(2), "{era}: {:?}", start.elapsed());
        hub.wait_state("a", "ready");
        for (stream, method) in
            [(&get, "notifications/tools/list_changed"), (&**listen, "notifications/tools/list_changed")]
        {
            stream.wait_for(method);
        }
        a.echo("the session lives");
        p.echo("and so does everybody else");
        p.call("touch", &json!({"uri": "test://one", "force": true})).result();
        for stream in [&get, &**listen] {
            stream.wait_for("notifications/resources/updated");
        }
        assert_eq!(hub.journal("a").starts().len(), 2, "{era}");
        assert_eq!(hub.journal("a").calls("sleep").len(), 2, "{era}: nothing ran again");
    }
}

fn lines(stream: &Stream) -> Vec<String> {
    stream.of(MESSAGE).iter().map(|m| m["params"]["data"].as_str().unwrap_or_default().to_owned()).collect()
}

/// 25: a modern caller sees what it asked for with this request; a session what it set for itself.
#[test]
fn t25_levels_of_both_eras() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let (debug, error, unset) = (Session::open(&target), Session::open(&target), Session::open(&target));
        assert_eq!(debug.request("logging/setLevel", &json!({"level": "debug"})).result(), json!({}), "{era}");
        assert_eq!(error.request("logging/setLevel", &json!({"level": "error"})).result(), json!({}), "{era}");
        let (silent, modest, curious) =
            (Modern::open(&target), Modern::logging(&target, "error"), Modern::logging(&target, "debug"));
        let check = |who: &str, admitted: u8, begin: &dyn Fn(&Value) -> crate::support::session::Pending| {
            for (level, rank) in [("debug", 2), ("info", 1), ("error", 0)] {
                let text = format!("{who} {level}");
                let call = begin(&json!({"level": level, "text": text}));
                call.text();
                let expected = if admitted > rank { vec![text] } else { vec![] };
                assert_eq!(lines(&call), expected, "{era}: {who} at {level}");
            }
        };
        check("debug", 3, &|arguments| debug.begin_call("log", arguments));
        check("error", 1, &|arguments| error.begin_call("log", arguments));
        check("unset", 2, &|arguments| unset.begin_call("log", arguments));
        check("silent", 0, &|arguments| silent.begin_call("log", arguments));
        check("modest", 1, &|arguments| modest.begin_call("log", arguments));
        check("curious", 3, &|arguments| curious.begin_call("log", arguments));
        let told = hub.journal("a").count("logging/setLevel");
        assert_eq!(told == 0, era == "a modern child", "{era}: a modern child is told with each request");
    }
}

/// 25: a request's level raises the child's, and leaves nothing behind.
#[test]
fn t25_a_level_for_one_request() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let level = || hub.journal("a").of("logging/setLevel").last().map(|message| message["params"]["level"].clone());
    let call =
        Modern::logging(&target, "debug").begin_call("log", &json!({"level": "debug", "text": "fine", "ms": 300}));
    call.text();
    assert_eq!(lines(&call), ["fine"]);
    assert!(hub.journal("a").of("logging/setLevel").iter().any(|message| message["params"]["level"] == "debug"));
    let session = hub.session("a");
    session.echo("order");
    eventually("the child's level is what it was", || (level() != Some(json!("debug"))).then_some(()));
}

/// 26: noise on stdout of a modern child.
#[test]
fn t26_stray_stdout_of_a_modern_child() {
    let hub = Hub::start(Setup::modern());
    let (session, client) = (hub.session("a"), Modern::open(&hub.at("a")));
    client.call("noise", &json!({"n": 5})).result();
    session.call("noise", &json!({"n": 5})).result();
    session.echo("alive");
    client.echo("alive");
    assert_eq!(hub.journal("a").starts().len(), 1);
}

#[test]
fn t34_disconnect_semantics_of_both_eras() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let (session, client) = (Session::open(&target), Modern::open(&target));
        let a = session.begin_call_with_token("prog", &json!({"n": 20, "ms": 60, "v": "A"}), &json!("t"));
        let p = client.begin_call_with_token("prog", &json!({"n": 20, "ms": 60, "v": "P"}), &json!("t"));
        let silent = client.begin_call("sleep", &json!({"ms": 60_000, "v": "silent"}));
        a.wait_for_many(PROGRESS, 2);
        p.wait_for_many(PROGRESS, 2);
        hub.journal("a").wait_for_calls("sleep", 1);
        let last = a.last_event_id().expect("events of a session have ids");
        assert_eq!(p.last_event_id(), None, "{era}");
        let start = Instant::now();
        for call in [&a, &p, &silent] {
            call.drop_connection();
        }
        let cancelled = hub.journal("a").wait_for("notifications/cancelled", 2);
        assert!(start.elapsed() < Duration::from_secs(1), "{era}: {:?}", start.elapsed());
        let of = |tool: &str, who: &str| {
            let calls = hub.journal("a").calls(tool);
            calls.iter().find(|call| call["params"]["arguments"]["v"] == who).expect("the call")["id"].clone()
        };
        let ids: Vec<Value> = cancelled.iter().map(|message| message["params"]["requestId"].clone()).collect();
        assert!(ids.contains(&of("prog", "P")) && ids.contains(&of("sleep", "silent")), "{era}: {ids:?}");
        let resumed = session.resume(&last);
        assert_eq!(resumed.response()["result"]["content"][0]["text"], "20 steps v=A", "{era}: A's went on");
        assert_eq!(hub.journal("a").count("notifications/cancelled"), 2, "{era}");
    }
}

/// 49: JSON while there is nothing else to say, a stream when there is; headers before the client gives up.
#[test]
fn t49_lazy_json_for_modern_callers() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let client = Modern::open(&hub.at("a"));
        assert!(client.call("echo", &json!({"v": "x"})).head.is_json(), "{era}");
        let prog = client.begin_call_with_token("prog", &json!({"n": 2}), &json!(1));
        prog.text();
        assert!(prog.head().is_sse(), "{era}");
        let call = json!({"name": "prog", "arguments": {"n": 2, "v": "x"}, "_meta": {"progressToken": 5}});
        let only_json = client.request_with(&[("Accept", "application/json")], &json!(1), "tools/call", &call);
        assert!(only_json.head.is_json() && only_json.messages().len() == 1, "{era}: {only_json:?}");
        let only_sse = client.request_with(&[("Accept", "text/event-stream")], &json!(1), "tools/call", &call);
        assert!(only_sse.head.is_sse(), "{era}");
        let start = Instant::now();
        let slow = client.begin_call("sleep", &json!({"ms": 7000}));
        assert!(slow.head().is_sse(), "{era}");
        let committed = start.elapsed();
        assert!(
            committed > Duration::from_millis(4500) && committed < Duration::from_millis(6500),
            "{era}: {committed:?}"
        );
        assert_eq!(slow.text(), "slept", "{era}");
    }
}

/// A method that only a session may use stays a session's, even from the same connection.
#[test]
fn t29_eras_are_told_apart_per_request() {
    let hub = Hub::start(Setup::of([Fake::new("a")]));
    let target = hub.at("a");
    let (session, client) = (Session::open(&target), Modern::open(&target));
    assert_eq!(session.request("ping", &json!({})).result(), json!({}));
    assert_eq!(client.request("ping", &json!({})).code(), -32601);
    // A claim decides, whatever session the request names.
    let params = client.claimed(&json!({"name": "echo", "arguments": {"v": "x"}}));
    let own = Modern::headers("tools/call", &params);
    let mut headers: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers.push(("Mcp-Session-Id", &session.id));
    let reply = client.post(&headers, &message(Some(&json!(1)), "tools/call", &params));
    assert_eq!((reply.status(), reply.head.header("mcp-session-id")), (200, None));
    assert_eq!(reply.json()["result"]["resultType"], "complete");
}

/// 7: a modern caller that never reads costs the others nothing, and hub little.
#[test]
fn t07_slow_modern_client() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let client = Modern::open(&hub.at("a"));
        let stuck = |method: &str, params: &Value| {
            let own = Modern::headers(method, params);
            let headers: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut connection = Connection::open(client.target.addr);
            let body = message(Some(&json!("stuck")), method, &client.claimed(params));
            connection.write_request("POST", &client.target.path, &headers, &body);
            connection
        };
        let filter = json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": ["test://one"]}});
        let listening = stuck("subscriptions/listen", &filter);
        let before = procs::rss_bytes(hub.pid());
        let flood =
            json!({"name": "prog", "arguments": {"n": 100_000, "ms": 0}, "_meta": {"progressToken": "a-token"}});
        let call = stuck("tools/call", &flood);
        let other = Modern::open(&hub.at("a"));
        let start = Instant::now();
        for round in 0..300 {
            other.echo(&format!("{era} {round}"));
        }
        // A debug build on a busy machine; a hub that waits for the reader never comes here.
        assert!(start.elapsed() < Duration::from_secs(20), "{era}: {:?}", start.elapsed());
        other.call("touch", &json!({"uri": "test://one", "force": true})).result();
        other.call("change", &json!({"n": 1000})).result();
        // Dropped because it does not read: as good as gone, so the child is told; or the child was faster.
        eventually("the flood is over", || {
            let journal = hub.journal("a");
            (journal.mentions("100000 steps") || journal.mentions("notifications/cancelled")).then_some(())
        });
        if let (Some(before), Some(after)) = (before, procs::rss_bytes(hub.pid())) {
            assert!(after < before + (48 << 20), "{era}: memory grew from {before} to {after}");
        }
        drop((listening, call));
        other.echo("goes on");
    }
}

/// 9b: the question of a call whose caller has left reaches nobody.
#[test]
fn t09b_ghost_of_a_modern_caller() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let (session, client) = (Session::eliciting(&target), Modern::eliciting(&target));
    let get = session.listen();
    let sleeping = session.begin_call("sleep", &json!({"ms": 2000, "v": "A"}));
    let haunted = client.begin_call("ignore_cancel_then_elicit", &json!({"ms": 500, "v": "P"}));
    hub.journal("a").wait_for_calls("sleep", 1);
    hub.journal("a").wait_for_calls("ignore_cancel_then_elicit", 1);
    haunted.drop_connection();
    let refusal = eventually("the ghost's refusal", || {
        hub.journal("a").records().into_iter().find_map(|record| match record {
            Record::Remark(mark, rest) if mark == "ghost" => Some(rest),
            _ => None,
        })
    });
    assert!(refusal.contains("Err(") && refusal.contains("code"), "an error, not silence and not an answer: {refusal}");
    assert_eq!(sleeping.text(), "slept v=A");
    assert_eq!((sleeping.of(ELICIT), get.of(ELICIT)), (vec![], vec![]));
    // Nor does one that comes after its caller has left, with a modern caller alone at the child.
    let other = client.begin_call("sleep", &json!({"ms": 1500, "v": "Q"}));
    let haunted = client.begin_call("ignore_cancel_then_elicit", &json!({"ms": 400, "v": "P"}));
    hub.journal("a").wait_for_calls("ignore_cancel_then_elicit", 2);
    haunted.drop_connection();
    assert_eq!(other.text(), "slept v=Q", "the other's result, not the ghost's question");
}

/// What cannot have had an effect is sent once more, for modern callers and to modern children too (DESIGN 5).
#[test]
fn t22_reads_are_sent_again_for_both_eras() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let (session, client) = (hub.session("a"), Modern::open(&hub.at("a")));
        client.request("tools/list", &json!({})).result();
        let calls = [
            session.begin_call("sleep_ro", &json!({"ms": 1200, "v": "A"})),
            client.begin_call("sleep_ro", &json!({"ms": 1200, "v": "P"})),
        ];
        hub.journal("a").wait_for_calls("sleep_ro", 2);
        procs::signal(hub.child_pid("a"), nix::sys::signal::Signal::SIGKILL);
        assert_eq!(calls[0].text(), "counted v=A", "{era}");
        assert_eq!(calls[1].text(), "counted v=P", "{era}");
        assert_eq!(hub.journal("a").calls("sleep_ro").len(), 4, "{era}");
    }
}

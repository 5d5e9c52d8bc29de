//! Questions in rounds: PROTOCOL 5.3 tests 10 to 15, section 3.A.4.
//!
//! In: calls that end their round with a question, and retries of every kind. Out: one run of the tool, and answers that
//! land where they belong. Owns nothing. May not: take "refused" for "harmless"; the genuine retry is tried afterwards.

use crate::support::journal::Record;
use crate::support::modern::{ELICIT, Round, accepted};
use crate::support::{Answer, Fake, Hub, Modern, Session, Setup, Value, eventually, json};
use std::time::Duration;

/// Calls of several callers may be parked from now on: the server is known to ask.
pub(crate) fn teach(hub: &Hub, name: &str) {
    let (a, b) = (hub.session(name), Session::eliciting(&hub.at(name)));
    let sleeping = a.begin_call("sleep", &json!({"ms": 300, "v": "lesson"}));
    hub.journal(name).wait_for_calls("sleep", 1);
    let asking = b.begin_call("elicit", &json!({"tag": "lesson"}));
    b.accept(&asking.wait_for(ELICIT), "learnt");
    asking.text();
    sleeping.text();
}

/// The responses that the child read.
fn responses(hub: &Hub) -> Vec<Value> {
    hub.journal("a").received().into_iter().filter(|message| message.get("method").is_none()).collect()
}

fn remarks(hub: &Hub, wanted: &str) -> usize {
    let records = hub.journal("a").records().into_iter();
    records.filter(|record| matches!(record, Record::Remark(mark, _) if mark == wanted)).count()
}

/// Nothing is in flight and nothing is parked.
pub(crate) fn nothing_left(hub: &Hub, name: &str) {
    eventually("nothing is in flight", || (hub.server(name)["in_flight"] == 0).then_some(()));
    eventually("no call is parked", || {
        let metrics = hub.hub_path("/metrics").get().text();
        let parked = metrics.lines().find_map(|line| line.strip_prefix("hub_parked_calls "));
        (parked.expect("the number of parked calls is a metric") == "0").then_some(())
    });
}

fn finished(answer: &Answer) -> String {
    let result = answer.result();
    assert_eq!((answer.head.status, &result["resultType"]), (200, &json!("complete")), "{answer:?}");
    assert!(result.get("inputRequests").is_none() && result.get("requestState").is_none(), "{result}");
    answer.text()
}

#[test]
fn t10_mrtr_park() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let client = Modern::eliciting(&hub.at("a"));
        let round = client.ask("elicit", &json!({"tag": "x", "v": "mine"}));
        let request = &round.requests[round.key()];
        assert_eq!(
            (&request["method"], &request["params"]["message"]),
            (&json!(ELICIT), &json!("x")),
            "{era}: {request}"
        );
        assert_eq!(request["params"]["requestedSchema"]["required"], json!(["answer"]), "{era}: raw: {request}");
        assert!(request.get("id").is_none() && request.get("jsonrpc").is_none(), "{era}: {request}");
        assert!(round.state.is_string(), "{era}: {:?}", round.state);
        for hint in ["ttlMs", "cacheScope"] {
            assert!(round.result.get(hint).is_none(), "{era}: {}", round.result);
        }
        let answer = client.retry(&round, &round.accept("the answer"));
        let text = finished(&answer);
        assert!(text.contains("the answer") && text.ends_with("v=mine"), "{era}: {text}");
        if era == "a legacy child" {
            assert_eq!(hub.journal("a").calls("elicit").len(), 1, "the tool ran once");
            assert_eq!(responses(&hub).len(), 1);
            assert_eq!(responses(&hub)[0]["result"], accepted("the answer"), "raw");
        } else {
            let calls = hub.journal("a").calls("elicit");
            assert_eq!(calls.len(), 2);
            assert_eq!(calls[1]["params"]["requestState"], round.state, "to the byte");
            assert_eq!(calls[1]["params"]["inputResponses"], round.accept("the answer"));
            assert_ne!(calls[0]["id"], calls[1]["id"]);
        }
        nothing_left(&hub, "a");
    }
}

/// While the client thinks, the child's request is open and the call is not answered.
#[test]
fn t10_the_child_waits() {
    let hub = Hub::start(Setup::one());
    let client = Modern::eliciting(&hub.at("a"));
    let round = client.ask("elicit", &json!({"tag": "x"}));
    assert_eq!(responses(&hub), Vec::<Value>::new());
    let wire = hub.journal("a").calls("elicit")[0]["id"].clone();
    assert!(!hub.journal("a").sent().iter().any(|m| m["id"] == wire && m.get("method").is_none()));
    Modern::open(&hub.at("a")).echo("others are served meanwhile");
    // A declined or cancelled form is an answer too.
    let text = finished(&client.retry(&round, &json!({round.key(): {"action": "decline"}})));
    assert!(text.contains("decline"), "{text}");
}

/// Prompts and resources may ask as well; nothing else may (3.A.4).
#[test]
fn t10_every_method() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let client = Modern::eliciting(&hub.at("a"));
        let prompt = client.ask_by("prompts/get", &json!({"name": "asking"}));
        let answer = client.retry(&prompt, &prompt.accept("Ada")).result();
        assert_eq!(answer["messages"][0]["content"]["text"], "a heard \"Ada\"", "{era}");
        let resource = client.ask_by("resources/read", &json!({"uri": "test://asking"}));
        let answer = client.retry(&resource, &resource.accept("Bob")).result();
        assert_eq!(answer["contents"][0]["text"], "a heard \"Bob\"", "{era}");
        assert!(answer["ttlMs"].is_u64() && answer["cacheScope"].is_string(), "{era}: {answer}");
    }
    let hub = Hub::start(Setup::one());
    let reference = json!({"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "n", "value": "ask"}});
    let answer = Modern::eliciting(&hub.at("a")).request("completion/complete", &reference).result();
    let heard = answer["completion"]["values"][0].as_str().expect("a value").to_owned();
    assert!(heard.contains("-32601"), "a completion cannot end its round with a question: {heard}");
}

/// Sampling, and what of its parameters does not cross.
#[test]
fn t10_sampling() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let client = Modern::eliciting(&hub.at("a"));
        let round = client.ask("sample", &json!({"text": "a poem", "token": "childs-own"}));
        let request = &round.requests[round.key()];
        assert_eq!(request["method"], "sampling/createMessage", "{era}");
        assert_eq!(request["params"]["messages"][0]["content"]["text"], "a poem");
        if era == "a legacy child" {
            assert_eq!(request["params"].pointer("/_meta/progressToken"), None, "nobody could use it: {request}");
        }
        let poem = json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "roses"}});
        assert!(finished(&client.retry(&round, &json!({round.key(): poem}))).contains("roses"), "{era}");
    }
}

/// The retry's own token and level count: progress and logs of the second half reach the second request.
#[test]
fn t10_progress_of_the_retry() {
    let hub = Hub::start(Setup::one());
    let client = Modern::eliciting(&hub.at("a"));
    let round = client.ask("elicit", &json!({"tag": "x", "after_ms": 400}));
    let mut params = round.with(&round.accept("yes"));
    params["_meta"] = json!({"progressToken": "second"});
    let retry = client.begin("tools/call", &params);
    let wire = hub.journal("a").calls("elicit")[0]["id"].clone();
    eventually("the answer at the child", || responses(&hub).pop());
    let line = json!({"jsonrpc": "2.0", "method": "notifications/progress",
        "params": {"progressToken": wire, "progress": 1}});
    hub.session("a").call("raw_line", &json!({"line": line.to_string()}));
    let progress = retry.wait_for("notifications/progress");
    assert_eq!(progress["params"]["progressToken"], "second");
    assert!(retry.text().contains("yes"));
}

fn must_refuse(why: &str, answer: &Answer) {
    assert_eq!((answer.head.status, answer.code()), (200, -32602), "{why}: {answer:?}");
}

/// Every way to change one byte of the state, at its ends and inside each part.
fn tampered(state: &str) -> Vec<String> {
    let bytes = state.as_bytes();
    let dots: Vec<usize> = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at).collect();
    let mut places = vec![0, bytes.len() / 2, bytes.len() - 2];
    places.extend(dots.iter().flat_map(|at| [*at, at + 1]));
    let mut all: Vec<String> = places
        .into_iter()
        .map(|at| {
            let mut copy = bytes.to_vec();
            copy[at] = if copy[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(copy).expect("ASCII")
        })
        .collect();
    all.extend([format!("{state}-TAMPERED"), state[..state.len() - 1].to_owned(), String::new(), "hub1.".into()]);
    all
}

#[test]
fn t11_mrtr_tamper_replay() {
    let hub = Hub::start(Setup::of([Fake::new("a"), Fake::new("b")]));
    let client = Modern::eliciting(&hub.at("a"));
    let round = client.ask("elicit", &json!({"tag": "x", "n": 5}));
    let responses = round.accept("answer");
    let state = round.state.as_str().expect("a string").to_owned();
    for forged in tampered(&state) {
        let other = Round { state: json!(forged), ..round.clone() };
        must_refuse(&format!("forged: {forged}"), &client.retry(&other, &responses));
    }
    for odd in [json!(5), json!({"hub1": 1}), json!([state])] {
        let other = Round { state: odd.clone(), ..round.clone() };
        must_refuse(&format!("not a string: {odd}"), &client.retry(&other, &responses));
    }
    let call =
        |name: &str, arguments: Value| Round { params: json!({"name": name, "arguments": arguments}), ..round.clone() };
    must_refuse("other arguments", &client.retry(&call("elicit", json!({"tag": "y", "n": 5})), &responses));
    must_refuse("another number", &client.retry(&call("elicit", json!({"tag": "x", "n": 5.0})), &responses));
    must_refuse("another tool", &client.retry(&call("echo", json!({"tag": "x", "n": 5})), &responses));
    let get = Round { method: "prompts/get".into(), params: json!({"name": "asking"}), ..round.clone() };
    must_refuse("another method", &client.retry(&get, &responses));
    must_refuse("another server", &Modern::eliciting(&hub.at("b")).retry(&round, &responses));
    let all = call("a__elicit", json!({"tag": "x", "n": 5}));
    must_refuse("the aggregate endpoint", &Modern::eliciting(&hub.all()).retry(&all, &responses));

    assert_eq!(hub.journal("a").calls("elicit").len(), 1, "nothing ran again");
    assert_eq!(hub.journal("b").count("tools/call"), 0);
    // Another connection, another id, members in another order: still the same call.
    let reordered = call("elicit", json!({"n": 5, "tag": "x"}));
    let answer = Modern::eliciting(&hub.at("a")).retry(&reordered, &responses);
    assert!(finished(&answer).contains("answer"), "the genuine retry still works");
    must_refuse("used up", &client.retry(&round, &responses));
    assert_eq!(hub.journal("a").calls("elicit").len(), 1, "the tool ran once");
    nothing_left(&hub, "a");
}

/// Each round has a state of its own, good for once.
#[test]
fn t11_old_rounds() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let client = Modern::eliciting(&hub.at("a"));
        let arguments = json!({"n": 3, "tag": "round", "v": "mine"});
        let first = client.ask("rounds", &arguments);
        let answer = client.retry(&first, &first.accept("one"));
        let second = Round::of("tools/call", &first.params, &answer);
        assert_eq!(second.message(), "round 2", "{era}");
        assert_ne!(second.state, first.state, "{era}");
        assert_ne!(second.key(), first.key(), "{era}: keys are used once");
        if era == "a legacy child" {
            must_refuse("an old round", &client.retry(&first, &first.accept("again")));
            must_refuse("an old round with new keys", &client.retry(&first, &second.accept("again")));
        }
        let third = Round::of("tools/call", &first.params, &client.retry(&second, &second.accept("two")));
        let text = finished(&client.retry(&third, &third.accept("three")));
        assert!(text.contains("three") && text.ends_with("v=mine"), "{era}: {text}");
        if era == "a legacy child" {
            assert!(text.contains("[\"one\",\"two\",\"three\"]"), "{text}");
            assert_eq!(hub.journal("a").calls("rounds").len(), 1, "the tool ran once");
        }
        nothing_left(&hub, "a");
    }
}

/// A second retry while the first one is served is no second answer.
#[test]
fn t11_twice_at_once() {
    let hub = Hub::start(Setup::one());
    let client = Modern::eliciting(&hub.at("a"));
    let round = client.ask("elicit", &json!({"tag": "x", "after_ms": 1200}));
    let first = client.begin_retry(&round, &round.accept("first"));
    eventually("the answer at the child", || responses(&hub).pop());
    must_refuse("already attached", &client.retry(&round, &round.accept("second")));
    assert!(first.text().contains("first"));
    assert_eq!(responses(&hub).len(), 1);
}

/// Answers without a state are no retry: the call is a fresh one (5.3, last paragraph).
#[test]
fn t11_answers_without_a_state() {
    let hub = Hub::start(Setup::one());
    let client = Modern::eliciting(&hub.at("a"));
    teach(&hub, "a");
    for responses in [json!({"i0": accepted("guess")}), json!(null), json!({"q": 12345})] {
        let call = json!({"name": "elicit", "arguments": {"tag": "fresh"}, "inputResponses": responses});
        let round = client.ask_by("tools/call", &call);
        assert_eq!(round.message(), "fresh");
        let seen = hub.journal("a").calls("elicit").pop().expect("the call");
        assert!(seen["params"].get("inputResponses").is_none(), "{seen}");
    }
    let call = json!({"name": "echo", "arguments": {"v": "x"}, "requestState": "made-up"});
    must_refuse("a state that hub did not make", &client.request("tools/call", &call));
}

fn short() -> Setup {
    Setup::of([Fake::new("a").key("park_timeout", "\"1s\"")])
}

#[test]
fn t12_mrtr_expiry() {
    let hub = Hub::start(short());
    let client = Modern::eliciting(&hub.at("a"));
    let round = client.ask("elicit", &json!({"tag": "x"}));
    let wire = hub.journal("a").calls("elicit")[0]["id"].clone();
    let answer = eventually("the child gets an answer", || responses(&hub).pop());
    assert_eq!(answer["result"], json!({"action": "cancel"}));
    let cancelled = hub.journal("a").wait_for("notifications/cancelled", 1);
    assert_eq!(cancelled[0]["params"]["requestId"], wire);
    must_refuse("too late", &client.retry(&round, &round.accept("late")));
    nothing_left(&hub, "a");
    client.echo("the server lives");
    assert_eq!((hub.journal("a").calls("elicit").len(), hub.journal("a").starts().len()), (1, 1));
}

/// Sampling has no answer that says "cancelled": the server gets an error.
#[test]
fn t12_expiry_of_sampling() {
    let hub = Hub::start(short());
    let client = Modern::eliciting(&hub.at("a"));
    let round = client.ask("sample", &json!({}));
    hub.journal("a").wait_for("notifications/cancelled", 1);
    assert_eq!(responses(&hub)[0]["error"]["code"], -32603);
    must_refuse("too late", &client.retry(&round, &json!({})));
    nothing_left(&hub, "a");
}

/// Each round has the whole time.
#[test]
fn t12_time_starts_anew() {
    let hub = Hub::start(Setup::of([Fake::new("a").key("park_timeout", "\"2s\"")]));
    let client = Modern::eliciting(&hub.at("a"));
    let mut round = client.ask("rounds", &json!({"n": 4}));
    for _ in 1..4 {
        // The rule itself is about time.
        std::thread::sleep(Duration::from_millis(900));
        let answer = client.retry(&round, &round.accept("in time"));
        round = Round::of("tools/call", &round.params, &answer);
    }
    finished(&client.retry(&round, &round.accept("in time")));
}

#[test]
fn t13_mrtr_disconnect() {
    let hub = Hub::start(Setup::one());
    let client = Modern::eliciting(&hub.at("a"));
    let round = client.ask("elicit", &json!({"tag": "x", "after_ms": 20_000}));
    let wire = hub.journal("a").calls("elicit")[0]["id"].clone();
    // That connection is closed by now, and the call is parked all the same.
    assert_eq!(hub.journal("a").count("notifications/cancelled"), 0);
    let retry = client.begin_retry(&round, &round.accept("yes"));
    eventually("the answer at the child", || responses(&hub).pop());
    retry.drop_connection();
    let cancelled = hub.journal("a").wait_for("notifications/cancelled", 1);
    assert_eq!(cancelled[0]["params"]["requestId"], wire);
    nothing_left(&hub, "a");
    must_refuse("forgotten", &client.retry(&round, &round.accept("again")));
    assert_eq!(hub.journal("a").calls("elicit").len(), 1);
}

/// Who leaves before the question was written has cancelled the call.
#[test]
fn t13_before_the_question() {
    let hub = Hub::start(Setup::one());
    let client = Modern::eliciting(&hub.at("a"));
    let call = client.begin_call("elicit", &json!({"tag": "x", "before_ms": 600}));
    hub.journal("a").wait_for_calls("elicit", 1);
    call.drop_connection();
    hub.journal("a").wait_for("notifications/cancelled", 1);
    nothing_left(&hub, "a");
    client.echo("order");
}

/// The child gave up on its own question meanwhile: the retry gets the child's own words.
#[test]
fn t13b_mrtr_child_timeout() {
    let hub = Hub::start(Setup::one());
    let client = Modern::eliciting(&hub.at("a"));
    let round = client.ask("elicit_timeout", &json!({"ms": 1500, "v": "mine"}));
    eventually("the child gives up", || {
        hub.journal("a").sent().into_iter().find(|message| message["result"]["isError"] == true)
    });
    let answer = client.retry(&round, &round.accept("too late"));
    let result = answer.result();
    assert_eq!((&result["isError"], &result["resultType"]), (&json!(true), &json!("complete")), "{result}");
    assert!(answer.text().contains("timed out") && answer.text().ends_with("v=mine"), "{result}");
    client.echo("order");
    assert_eq!((responses(&hub).len(), remarks(&hub, "unasked")), (0, 0), "the late answer went nowhere");
    must_refuse("once", &client.retry(&round, &round.accept("again")));
    nothing_left(&hub, "a");
}

/// A child that dies takes its parked calls along.
#[test]
fn t13_child_exit() {
    let hub = Hub::start(Setup::of([Fake::new("a").key("restart", "{ initial = \"10ms\", max = \"20ms\" }")]));
    let client = Modern::eliciting(&hub.at("a"));
    let round = client.ask("elicit", &json!({"tag": "x"}));
    Modern::open(&hub.at("a")).call("die", &json!({})).error();
    eventually("the next generation", || (hub.journal("a").starts().len() == 2).then_some(()));
    hub.wait_state("a", "ready");
    must_refuse("of an earlier generation", &client.retry(&round, &round.accept("yes")));
    assert_eq!(hub.journal("a").calls("elicit").len(), 1, "never run again by itself");
    nothing_left(&hub, "a");
}

#[test]
fn t14_mrtr_several() {
    let hub = Hub::start(Setup::one());
    let client = Modern::eliciting(&hub.at("a"));
    let round = client.ask("elicit2", &json!({"tag": "two"}));
    assert_eq!(round.requests.len(), 2, "both questions of one moment: {round:?}");
    let (first, second) = (round.key_of("two first"), round.key_of("two second"));
    let answer = client.retry(&round, &json!({&second: accepted("2"), "unknown": accepted("?")}));
    let rest = Round::of("tools/call", &round.params, &answer);
    assert_eq!(rest.keys(), vec![first.clone()], "only what is missing");
    assert_ne!(rest.state, round.state);
    // Not one of these is an answer.
    let mut rest = rest;
    for unusable in [json!(12345), json!("text"), json!(null), json!({}), json!({"action": "maybe"})] {
        let answer = client.retry(&rest, &json!({&first: unusable}));
        if let Some(error) = answer.response().get("error") {
            assert_eq!(error["code"], -32602, "{error}");
            continue;
        }
        rest = Round::of("tools/call", &round.params, &answer);
        assert_eq!(rest.keys(), vec![first.clone()], "asked again after {unusable}");
    }
    let text = finished(&client.retry(&rest, &json!({&first: accepted("1"), &second: accepted("changed my mind")})));
    let answers: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&answers[0]["content"]["answer"], &answers[1]["content"]["answer"]), (&json!("1"), &json!("2")));
    assert_eq!(hub.journal("a").calls("elicit2").len(), 1);
    nothing_left(&hub, "a");
}

/// Two people are asked at once: neither can answer for the other.
#[test]
fn t14_two_parked() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    teach(&hub, "a");
    let (p, q) = (Modern::eliciting(&target), Modern::eliciting(&target));
    let for_p = p.ask("elicit", &json!({"tag": "for P", "v": "P"}));
    let for_q = q.ask("elicit", &json!({"tag": "for Q", "v": "Q"}));
    assert_eq!((for_p.message(), for_q.message()), ("for P".into(), "for Q".into()));
    assert_ne!(for_p.state, for_q.state);
    must_refuse(
        "Q's state for P's call",
        &p.retry(&Round { state: for_q.state.clone(), ..for_p.clone() }, &for_p.accept("x")),
    );
    must_refuse("Q's state, P's key", &p.retry(&Round { state: for_q.state.clone(), ..for_p.clone() }, &json!({})));
    assert_eq!(responses(&hub).len(), 1, "the lesson's only");
    let text = finished(&q.retry(&for_q, &for_q.accept("Q's own")));
    assert!(text.contains("Q's own") && text.ends_with("v=Q"), "{text}");
    let text = finished(&p.retry(&for_p, &for_p.accept("P's own")));
    assert!(text.contains("P's own") && text.ends_with("v=P"), "{text}");
    nothing_left(&hub, "a");
}

#[test]
fn t15_mrtr_capability() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let cases = [
            (json!({}), "elicit", json!({}), "/elicitation/form"),
            (json!({"elicitation": {"url": {}}}), "elicit", json!({}), "/elicitation/form"),
            (json!({"elicitation": {}}), "elicit_url", json!({}), "/elicitation/url"),
            (json!({"elicitation": {}}), "sample", json!({}), "/sampling"),
            (json!({"sampling": {}}), "sample", json!({"tools": true}), "/sampling/tools"),
        ];
        for (capabilities, tool, arguments, needed) in cases {
            let answer = Modern::with(&target, capabilities.clone()).call(tool, &arguments);
            assert_eq!(
                (answer.code(), answer.head.status),
                (-32021, 400),
                "{era}: {tool} with {capabilities}: {answer:?}"
            );
            let required = &answer.error()["data"]["requiredCapabilities"];
            assert!(required.pointer(needed).is_some_and(Value::is_object), "{era}: {tool}: {required}");
        }
        if era == "a legacy child" {
            let codes: Vec<Value> = responses(&hub).iter().map(|message| message["error"]["code"].clone()).collect();
            assert_eq!(codes, [-32601, -32602, -32602, -32601, -32602].map(|code| json!(code)), "errors, not silence");
        }
        // What is declared in the least way is enough.
        let client = Modern::with(&target, json!({"elicitation": {}}));
        let round = client.ask("elicit", &json!({"tag": "plain"}));
        finished(&client.retry(&round, &round.accept("yes")));
        nothing_left(&hub, "a");
    }
}

/// A child that copes with a refusal has its success passed on (3.A.3).
#[test]
fn t15_graceful() {
    let hub = Hub::start(Setup::one());
    let client = Modern::open(&hub.at("a"));
    let reference = json!({"name": "elicit2", "arguments": {"tag": "t"}});
    let answer = client.request("tools/call", &reference);
    let text = finished(&answer);
    assert!(text.contains("-32601"), "both refusals became an ordinary result: {text}");
}

/// URL mode: the id of the legacy revision does not cross, and the child's own end of the wait does.
#[test]
fn t15_url_mode() {
    let hub = Hub::start(Setup::one());
    let client = Modern::eliciting(&hub.at("a"));
    let round = client.ask("elicit_url", &json!({"id": "e-77", "complete": true}));
    let request = &round.requests[round.key()];
    assert_eq!(
        (&request["params"]["mode"], request["params"].get("elicitationId")),
        (&json!("url"), None),
        "{request}"
    );
    let retry = client.begin_retry(&round, &json!({round.key(): {"action": "accept"}}));
    assert!(retry.text().contains("accept"));
    assert_eq!(retry.of("notifications/elicitation/complete"), Vec::<Value>::new(), "unknown to this revision");
}

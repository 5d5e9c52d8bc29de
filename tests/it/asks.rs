//! Requests of a child and their owner: PROTOCOL 5.3 tests 4, 5 and 6, section 1.11.
//!
//! In: tools that ask, run by several sessions at once. Out: each prompt at its owner, or a refusal. Owns nothing. May not:
//! accept a prompt at the wrong session, whatever else goes right.

use crate::support::journal::Record;
use crate::support::session::{L2, L3};
use crate::support::{Fake, Hub, Session, Setup, Value, eventually, json};
use std::sync::Barrier;

const ELICIT: &str = "elicitation/create";

#[test]
fn t04_elicit_wrong_user() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let (a, b) = (Session::eliciting(&target), Session::eliciting(&target));
    let (a_get, b_get) = (a.listen(), b.listen());
    let sleeping = b.begin_call("sleep", &json!({"ms": 1000}));
    hub.journal("a").wait_for_calls("sleep", 1);
    let asking = a.begin_call("elicit", &json!({"tag": "for A"}));
    let prompt = asking.wait_for(ELICIT);
    assert_eq!(prompt["params"]["message"], "for A");
    a.accept(&prompt, "A's secret");
    assert!(asking.text().contains("A's secret"));
    assert_eq!(sleeping.text(), "slept");
    assert_eq!(sleeping.of(ELICIT), Vec::<Value>::new());
    assert_eq!((a_get.of(ELICIT), b_get.of(ELICIT)), (vec![], vec![]), "never on GET, never at B");
}

/// One person's part: answers what is asked with an own secret, and tells how the call ended.
fn take_part(session: &Session, tag: &str) -> Result<(), String> {
    let call = session.begin_call("elicit", &json!({"tag": tag, "before_ms": 150}));
    let message = call.message("a prompt or the end", |m| m["method"] == ELICIT || m.get("method").is_none());
    if message["method"] == ELICIT {
        assert_eq!(message["params"]["message"], tag, "somebody else's prompt");
        session.accept(&message, &format!("secret of {tag}"));
    }
    let text = call.text();
    assert_eq!(call.of(ELICIT).len(), usize::from(message["method"] == ELICIT));
    if text.contains(&format!("secret of {tag}")) {
        return Ok(());
    }
    assert!(!text.contains("secret"), "somebody else's answer: {text}");
    assert!(text.contains("refused"), "neither an answer nor an error: {text}");
    Err(text)
}

fn two_at_once(hub: &Hub) -> [Result<(), String>; 2] {
    let target = hub.at("a");
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        ["a", "b"]
            .map(|tag| {
                let (start, target) = (&start, &target);
                scope.spawn(move || {
                    let session = Session::eliciting(target);
                    start.wait();
                    take_part(&session, tag)
                })
            })
            .map(|thread| thread.join().expect("no panic"))
    })
}

#[test]
fn t05_elicit_two_users() {
    let mut hub = Hub::start(Setup::one().fixed_ports());
    // Not learnt yet: each gets its own prompt, or an error; `take_part` refuses everything else.
    let first = two_at_once(&hub);
    // Else nothing was learnt either, and the rest proves nothing.
    assert!(!first.iter().all(Result::is_ok), "the calls did not overlap: {first:?}");
    for outcome in &first {
        assert!(outcome.as_ref().err().is_none_or(|text| text.contains("attribute")), "{first:?}");
    }
    let before = hub.journal("a").records().len();
    assert_eq!(two_at_once(&hub), [Ok(()), Ok(())], "learnt: the baton goes round");
    baton_order(&hub.journal("a").records()[before..]);
    // The lesson survives the daemon (persisted per server).
    hub.stop();
    hub.serve();
    assert_eq!(two_at_once(&hub), [Ok(()), Ok(())], "learnt before the restart");
}

/// The second call is written only after the first one is blocked on its prompt.
fn baton_order(records: &[Record]) {
    let is_call = |record: &&Record| matches!(record, Record::In(m, _) if m["params"]["name"] == "elicit");
    let is_prompt = |record: &&Record| matches!(record, Record::Out(m, _) if m["method"] == ELICIT);
    let first = records.iter().position(|r| is_call(&r)).expect("the first call");
    let second = first + 1 + records[first + 1..].iter().position(|r| is_call(&r)).expect("the second call");
    assert!(records[first..second].iter().any(|r| is_prompt(&r)), "no prompt between the calls: {records:#?}");
}

#[test]
fn t06_elicit_capability_not_evidence() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let (a, b) = (Session::open(&target), Session::eliciting(&target));
    let get = b.listen();
    let sleeping = b.begin_call("sleep", &json!({"ms": 800}));
    hub.journal("a").wait_for_calls("sleep", 1);
    let text = a.call("elicit", &json!({"tag": "A's"})).text();
    assert!(text.contains("-32601"), "the child's own handling of the refusal: {text}");
    assert_eq!(sleeping.text(), "slept");
    assert_eq!((sleeping.of(ELICIT), get.of(ELICIT)), (vec![], vec![]), "B can show it, but it is not B's");
}

#[test]
fn asks_of_one_call_in_parallel() {
    let hub = Hub::start(Setup::of([Fake::new("a").arg("--ask-ids", "string")]));
    let session = Session::eliciting(&hub.at("a"));
    let call = session.begin_call("elicit2", &json!({"tag": "t"}));
    let prompts = call.wait_for_many(ELICIT, 2);
    assert_ne!(prompts[0]["id"], prompts[1]["id"]);
    let find = |message: &str| prompts.iter().find(|p| p["params"]["message"] == message).expect("both prompts");
    session.accept(find("t second"), "2");
    session.accept(find("t first"), "1");
    let answers: Value = serde_json::from_str(&call.text()).expect("JSON");
    assert_eq!((&answers[0]["content"]["answer"], &answers[1]["content"]["answer"]), (&json!("1"), &json!("2")));
}

/// Sampling is relayed, its progress token mapped both ways (1.11 "Relay").
#[test]
fn asks_sampling_with_progress() {
    let hub = Hub::start(Setup::one());
    let session = Session::eliciting(&hub.at("a"));
    let call = session.begin_call("sample", &json!({"text": "a poem", "token": "childs-own"}));
    let ask = call.wait_for("sampling/createMessage");
    assert_eq!(ask["params"]["messages"][0]["content"]["text"], "a poem");
    let token = ask["params"]["_meta"]["progressToken"].clone();
    assert_ne!(token, "childs-own", "tokens of children may collide in one session");
    session.notify("notifications/progress", &json!({"progressToken": token, "progress": 1}));
    let seen = hub.journal("a").wait_for("notifications/progress", 1);
    assert_eq!(seen[0]["params"]["progressToken"], "childs-own");
    let poem = json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "roses"}});
    session.answer(&ask, &poem);
    assert!(call.text().contains("roses"));
    let refused = session.begin_call("sample", &json!({}));
    session.refuse(&refused.wait_for("sampling/createMessage"), -1, "user said no");
    assert!(refused.text().contains("user said no"), "a client's error reaches the child as it is");
    let tools = session.call("sample", &json!({"tools": true})).text();
    assert!(tools.contains("-32602"), "sampling.tools was not declared: {tools}");
}

/// What hub answers itself: ping, undeclared roots, unknown methods (1.11.1).
#[test]
fn asks_that_are_local() {
    let hub = Hub::start(Setup::one());
    let session = Session::with(&hub.at("a"), L3, &json!({"roots": {}}));
    assert_eq!(session.call("ask", &json!({"method": "ping"})).text(), "{}");
    assert!(session.call("roots", &json!({})).text().contains("-32601"));
    assert!(session.call("ask", &json!({"method": "vendor/ask"})).text().contains("-32601"));
}

/// URL mode needs the mode; `elicitation/complete` goes to the session that got the prompt, alone.
#[test]
fn asks_url_mode() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let (a, b) = (Session::eliciting(&target), Session::eliciting(&target));
    let (a_get, b_get) = (a.listen(), b.listen());
    let call = a.begin_call("elicit_url", &json!({"id": "e-77", "complete": true}));
    let prompt = call.wait_for(ELICIT);
    assert_eq!((&prompt["params"]["mode"], &prompt["params"]["elicitationId"]), (&json!("url"), &json!("e-77")));
    a.answer(&prompt, &json!({"action": "accept"}));
    call.text();
    let method = "notifications/elicitation/complete";
    let done = eventually("the completion", || [&*call, &a_get].iter().find_map(|s| s.of(method).first().cloned()));
    assert_eq!(done["params"]["elicitationId"], "e-77");
    assert_eq!(b_get.of(method), Vec::<Value>::new());
    let old = Session::with(&target, L2, &json!({"elicitation": {}}));
    let text = old.call("elicit_url", &json!({})).text();
    assert!(text.contains("-32602"), "the mode is not supported: {text}");
}

/// A child that gives up on its own dialog: the client is told, and the late answer goes nowhere.
#[test]
fn asks_withdrawn_by_the_child() {
    let hub = Hub::start(Setup::one());
    let session = Session::eliciting(&hub.at("a"));
    let get = session.listen();
    let call = session.begin_call("elicit_timeout", &json!({"ms": 300}));
    let prompt = call.wait_for(ELICIT);
    assert!(call.text().contains("timed out"));
    let cancelled = eventually("the withdrawal", || {
        [&*call, &get].iter().find_map(|stream| stream.of("notifications/cancelled").first().cloned())
    });
    assert_eq!(cancelled["params"]["requestId"], prompt["id"]);
    session.accept(&prompt, "too late");
    session.echo("order");
    let late = hub.journal("a").records().iter().any(|r| matches!(r, Record::Remark(mark, _) if mark == "unasked"));
    assert!(!late, "the child has forgotten its request");
}

/// The first answer wins, and only the owner can give it.
#[test]
fn asks_answered_by_others() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let (a, b) = (Session::eliciting(&target), Session::eliciting(&target));
    let call = a.begin_call("elicit", &json!({"tag": "mine"}));
    let prompt = call.wait_for(ELICIT);
    b.accept(&prompt, "B's forgery");
    a.accept(&prompt, "A's own");
    a.accept(&prompt, "A again");
    a.answer(&json!({"id": 424_242}), &json!({}));
    let text = call.text();
    assert!(text.contains("A's own"), "{text}");
    a.echo("order");
    let answers = hub.journal("a").received().into_iter().filter(|m| m.get("method").is_none()).count();
    assert_eq!(answers, 1);
}

/// Nobody is left to answer: the child gets an error, not silence.
#[test]
fn asks_of_a_session_that_ends() {
    let hub = Hub::start(Setup::one());
    let session = Session::eliciting(&hub.at("a"));
    let call = session.begin_call("elicit", &json!({"tag": "gone"}));
    call.wait_for(ELICIT);
    assert_eq!(session.delete().status(), 204);
    let refusal = eventually("the refusal", || {
        hub.journal("a").received().into_iter().find(|message| message.get("error").is_some())
    });
    assert_eq!(refusal["error"]["code"], -32603);
    hub.session("a").echo("the child lives");
}

/// An answer that can only be JSON cannot carry a prompt (1.17).
#[test]
fn asks_without_a_stream() {
    let hub = Hub::start(Setup::one());
    let session = Session::eliciting(&hub.at("a"));
    let params = json!({"name": "elicit", "arguments": {"tag": "x"}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let reply = session.post_with(&[("Accept", "application/json")], body.as_bytes());
    assert!(reply.text().contains("-32603"), "{}", reply.text());
}

/// A question that no call explains is refused while several sessions live; the only one may have it (1.11.6).
#[test]
fn asks_unsolicited() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let a = Session::eliciting(&target);
    let a_get = a.listen();
    a.call("ask_later", &json!({"tag": "alone"})).result();
    let prompt = a_get.wait_for(ELICIT);
    assert_eq!(prompt["params"]["message"], "alone");
    a.accept(&prompt, "only me");
    assert_eq!(later(&hub, 0)["content"]["answer"], "only me");

    let b = Session::eliciting(&target);
    let b_get = b.listen();
    a.call("ask_later", &json!({"tag": "whose?"})).result();
    assert_eq!(later(&hub, 1)["refused"]["code"], -32602);
    assert_eq!((a_get.of(ELICIT).len(), b_get.of(ELICIT).len()), (1, 0));
}

/// What the child got for its nth late question.
fn later(hub: &Hub, nth: usize) -> Value {
    eventually("the answer to a late question", || {
        let records = hub.journal("a").records().into_iter();
        let mut answers = records.filter_map(|record| match record {
            Record::Remark(mark, rest) if mark == "later" => serde_json::from_str(&rest).ok(),
            _ => None,
        });
        answers.nth(nth)
    })
}

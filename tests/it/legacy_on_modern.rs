//! Sessions on a modern child: PROTOCOL 5.3 tests 16 and 17, section 3.B; and that sharing holds there too.
//!
//! In: sessions, a child that asks in rounds. Out: prompts on the caller's stream, retries to the byte, ordinary results.
//! Owns nothing. May not: let a member of the modern era through.

use crate::support::modern::ELICIT;
use crate::support::session::{L0, L2, L3, Pending};
use crate::support::{Fake, Hub, Session, Setup, Value, eventually, json};
use std::time::Duration;

/// The rounds of a tool at the child, as it read them.
fn rounds(hub: &Hub, tool: &str) -> Vec<Value> {
    hub.journal("a").calls(tool)
}

/// The state that the child gave in its nth unfinished round.
fn given_state(hub: &Hub, nth: usize) -> Value {
    let sent = hub.journal("a").sent().into_iter();
    let mut states = sent.filter_map(|message| message["result"].get("requestState").cloned());
    states.nth(nth).expect("a round with a state")
}

fn plain(call: &Pending) -> Value {
    let response = call.response();
    for era_member in ["resultType", "requestState", "inputRequests", "ttlMs", "cacheScope"] {
        assert!(response["result"].get(era_member).is_none(), "{era_member} leaked: {response}");
    }
    for message in call.messages() {
        assert!(!message.to_string().contains("input_required"), "{message}");
    }
    response
}

#[test]
fn t16_legacy_on_modern_mrtr() {
    let hub = Hub::start(Setup::modern());
    let target = hub.at("a");
    let session = Session::eliciting(&target);
    let get = session.listen();
    let arguments = json!({"tag": "for A", "v": "mine", "odd": [1.10, {"b": 1, "a": 2}]});
    let call = session.begin_call_with_token("elicit", &arguments, &json!("tok"));
    let prompt = call.wait_for(ELICIT);
    assert_eq!(prompt["params"]["message"], "for A");
    assert_eq!(prompt["params"]["requestedSchema"]["required"], json!(["answer"]), "raw: {prompt}");
    assert!(call.head().is_sse());
    session.accept(&prompt, "A's secret");
    let response = plain(&call);
    let text = response["result"]["content"][0]["text"].as_str().expect("text").to_owned();
    assert!(text.contains("A's secret") && text.ends_with("v=mine"), "{text}");
    assert_eq!(get.of(ELICIT), Vec::<Value>::new(), "never on GET");

    let calls = rounds(&hub, "elicit");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1]["params"]["arguments"], calls[0]["params"]["arguments"], "the same arguments");
    assert_eq!(calls[1]["params"]["requestState"], given_state(&hub, 0), "to the byte");
    let answer = json!({"action": "accept", "content": {"answer": "A's secret"}});
    assert_eq!(calls[1]["params"]["inputResponses"], json!({"q": answer}));
    assert_ne!(calls[0]["id"], calls[1]["id"]);
    for call in &calls {
        assert_eq!(call["params"]["_meta"]["progressToken"], call["id"], "{call}");
    }
    assert!(calls[0]["params"].get("inputResponses").is_none());
}

/// The server fails for good while a person looks at a dialog: the answer finds nobody, and the call must end.
#[test]
fn t16_the_server_fails_between_rounds() {
    let mut hub = Hub::prepare(Setup::modern().impatient());
    let flag = hub.path("DEAD");
    let server = hub.setup.server("a");
    *server =
        server.clone().key("restart", "{ initial = \"10ms\", max = \"20ms\" }").arg("--dead-while", flag.display());
    hub.write_config();
    hub.serve();
    hub.wait_state("a", "ready");
    let session = Session::eliciting(&hub.at("a"));
    let call = session.begin_call("elicit", &json!({"tag": "lost"}));
    let prompt = call.wait_for(ELICIT);
    std::fs::write(&flag, "").expect("a file");
    hub.session("a").begin_call("die", &json!({}));
    hub.wait_state("a", "failed");
    session.accept(&prompt, "too late");
    let response = call.response_within(Duration::from_secs(5));
    assert_eq!(response["error"]["code"], -32603, "{response}");
}

/// Several rounds, several questions, each with its own request; declined and refused ones.
#[test]
fn t16_rounds() {
    let hub = Hub::start(Setup::modern());
    let session = Session::eliciting(&hub.at("a"));
    let call = session.begin_call("rounds", &json!({"n": 3}));
    for round in 1..=3 {
        let prompt = call.message("the prompt of this round", |m| m["params"]["message"] == format!("round {round}"));
        session.accept(&prompt, &format!("answer {round}"));
    }
    assert!(plain(&call).to_string().contains("answer 3"));
    assert_eq!(rounds(&hub, "rounds").len(), 4);

    let call = session.begin_call("elicit2", &json!({"tag": "two"}));
    for text in ["first", "second"] {
        let prompts = call.wait_for_many(ELICIT, if text == "first" { 1 } else { 2 });
        let prompt = prompts.last().expect("a prompt");
        session.accept(prompt, prompt["params"]["message"].as_str().expect("text"));
    }
    let text = call.text();
    assert!(text.contains("two first") && text.contains("two second"), "{text}");

    for answer in [json!({"action": "decline"}), json!({"action": "cancel"})] {
        let call = session.begin_call("elicit", &json!({"tag": "no"}));
        session.answer(&call.wait_for(ELICIT), &answer);
        assert!(plain(&call).to_string().contains(answer["action"].as_str().expect("text")));
    }
    // An error instead of an answer: a dialog was cancelled; sampling has no such answer, so the call fails.
    let call = session.begin_call("elicit", &json!({"tag": "no"}));
    session.refuse(&call.wait_for(ELICIT), -1, "window closed");
    assert!(call.text().contains("cancel"));
    let call = session.begin_call("sample", &json!({}));
    session.refuse(&call.wait_for("sampling/createMessage"), -1, "user said no");
    let error = call.response()["error"].clone();
    assert_eq!(error["code"], -32603, "{error}");
    assert!(error["message"].as_str().expect("text").contains("user said no"), "{error}");
}

/// Prompts and resources ask as well; sampling and roots are answered as they are.
#[test]
fn t16_every_method() {
    let hub = Hub::start(Setup::modern());
    let session = Session::with(&hub.at("a"), L3, &json!({"elicitation": {}, "sampling": {}, "roots": {}}));
    let prompt = session.begin("prompts/get", &json!({"name": "asking"}));
    session.accept(&prompt.wait_for(ELICIT), "Ada");
    assert_eq!(plain(&prompt)["result"]["messages"][0]["content"]["text"], "a heard \"Ada\"");
    let resource = session.begin("resources/read", &json!({"uri": "test://asking"}));
    session.accept(&resource.wait_for(ELICIT), "Bob");
    assert_eq!(plain(&resource)["result"]["contents"][0]["text"], "a heard \"Bob\"");
    let sample = session.begin_call("sample", &json!({"text": "a poem"}));
    let poem = json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "roses"}});
    session.answer(&sample.wait_for("sampling/createMessage"), &poem);
    assert!(sample.text().contains("roses"));
    let roots = session.begin_call("roots", &json!({}));
    session.answer(&roots.wait_for("roots/list"), &json!({"roots": [{"uri": "file:///mine"}]}));
    assert!(roots.text().contains("file:///mine"), "asked in this call, so answered for this caller");
}

/// URL mode exists for sessions of 2025-11-25 that declared it; hub makes up the id that they need.
#[test]
fn t16_url_mode() {
    let hub = Hub::start(Setup::modern());
    let target = hub.at("a");
    let session = Session::eliciting(&target);
    let call = session.begin_call("elicit_url", &json!({}));
    let prompt = call.wait_for(ELICIT);
    assert_eq!(prompt["params"]["mode"], "url");
    assert!(prompt["params"]["elicitationId"].as_str().is_some_and(|id| !id.is_empty()), "{prompt}");
    session.answer(&prompt, &json!({"action": "accept"}));
    assert!(call.text().contains("accept"));
    let old = Session::with(&target, L2, &json!({"elicitation": {}}));
    let refused = old.begin_call("elicit_url", &json!({}));
    assert_eq!(refused.response()["error"]["code"], -32021, "the child saw what this session can do");
    assert_eq!(refused.of(ELICIT), Vec::<Value>::new());
}

/// Cancelled while the person thinks: the prompt is withdrawn, and the child, which holds nothing, hears nothing.
#[test]
fn t16_cancel_between_rounds() {
    let hub = Hub::start(Setup::modern());
    let session = Session::eliciting(&hub.at("a"));
    let get = session.listen();
    let call = session.begin_call("elicit", &json!({"tag": "x"}));
    let prompt = call.wait_for(ELICIT);
    session.cancel(&call.id);
    call.closed();
    let withdrawn = eventually("the withdrawal", || {
        [&*call, &get].iter().find_map(|stream| stream.of("notifications/cancelled").first().cloned())
    });
    assert_eq!(withdrawn["params"]["requestId"], prompt["id"]);
    session.accept(&prompt, "too late");
    session.echo("order");
    assert_eq!((rounds(&hub, "elicit").len(), hub.journal("a").count("notifications/cancelled")), (1, 0));
    assert_eq!(call.response_now(), None);
}

#[test]
fn t17_no_input_required_leak() {
    let hub = Hub::start(Setup::modern());
    let session = hub.session("a");
    let call = session.begin_call("state_only", &json!({"k": 3, "v": "mine"}));
    assert_eq!(plain(&call)["result"]["content"][0]["text"], "after 3 rounds v=mine");
    let calls = rounds(&hub, "state_only");
    assert_eq!(calls.len(), 4, "polled until it was done");
    for (round, call) in calls.iter().enumerate().skip(1) {
        assert_eq!(call["params"]["requestState"], round.to_string());
        assert!(call["params"].get("inputResponses").is_none_or(|given| *given == json!({})), "{call}");
    }
    assert!(call.closed() >= Duration::from_millis(250), "with a pause that grows: {:?}", call.closed());

    // Not able to answer: an error, never an empty success; also when the child asks although it was told.
    for (tool, arguments) in [
        ("elicit", json!({"tag": "x"})),
        ("elicit", json!({"tag": "x", "force": true})),
        ("elicit2", json!({"tag": "x", "force": true})),
        ("sample", json!({"force": true})),
        ("roots", json!({"force": true})),
    ] {
        let call = session.begin_call(tool, &arguments);
        let response = plain(&call);
        let code = response["error"]["code"].clone();
        assert!([json!(-32603), json!(-32021)].contains(&code), "{tool} {arguments}: {response}");
        assert_eq!(call.messages().len(), 1, "and no prompt");
    }
    // Kinds of results that a session does not know.
    let odd = json!({"resultType": "hologram", "content": []});
    assert_eq!(session.call("raw_result", &json!({"result": odd})).code(), -32603);
    let wrong = json!({"resultType": "input_required", "inputRequests": 5});
    assert_eq!(session.call("raw_result", &json!({"result": wrong})).code(), -32603);
    let strange =
        json!({"resultType": "input_required", "inputRequests": {"k": {"method": "vendor/ask", "params": {}}}});
    assert_eq!(session.call("raw_result", &json!({"result": strange})).code(), -32603);
}

/// A child that never finishes its rounds: bounded.
#[test]
fn t17_endless_rounds() {
    let hub = Hub::start(Setup::modern());
    let session = Session::eliciting(&hub.at("a"));
    let call = session.begin_call("rounds", &json!({"n": 1_000_000}));
    let mut answered = 0;
    loop {
        let next = format!("round {}", answered + 1);
        let message =
            call.message("a prompt or the end", |m| m["params"]["message"] == next || m.get("method").is_none());
        if message.get("method").is_none() {
            assert_eq!(message["error"]["code"], -32603, "{message}");
            break;
        }
        session.accept(&message, "again");
        answered += 1;
        assert!(answered <= 32, "32 rounds are the limit");
    }
    session.echo("goes on");
}

/// A second person's question never waits for the first one's answer: nothing is serialised on a modern child.
#[test]
fn t16_two_users() {
    let hub = Hub::start(Setup::modern());
    let target = hub.at("a");
    let (a, b) = (Session::eliciting(&target), Session::eliciting(&target));
    let for_a = a.begin_call("elicit", &json!({"tag": "for A"}));
    let for_b = b.begin_call("elicit", &json!({"tag": "for B"}));
    let (prompt_a, prompt_b) = (for_a.wait_for(ELICIT), for_b.wait_for(ELICIT));
    assert_eq!((&prompt_a["params"]["message"], &prompt_b["params"]["message"]), (&json!("for A"), &json!("for B")));
    b.accept(&prompt_b, "B's");
    assert!(for_b.text().contains("B's"));
    a.accept(&prompt_a, "A's");
    assert!(for_a.text().contains("A's"));
}

/// A modern server that sends requests breaks the rules: nobody sees them, and it gets no answer.
#[test]
fn t17_requests_of_a_modern_child() {
    let hub = Hub::start(Setup::modern());
    let session = Session::eliciting(&hub.at("a"));
    let get = session.listen();
    let call = session.begin_call("ask", &json!({"method": ELICIT, "params": {"message": "x", "requestedSchema": {}}}));
    assert!(call.text().contains("timed out"));
    assert_eq!((call.of(ELICIT), get.of(ELICIT)), (vec![], vec![]));
    let responses = hub.journal("a").received().into_iter().filter(|message| message.get("method").is_none());
    assert_eq!(responses.count(), 0, "a modern child never gets a response");
    session.echo("alive");
}

/// Every legacy revision on one modern child: what each negotiates, and what the child sees of it.
#[test]
fn t16_every_revision() {
    let hub = Hub::start(Setup::modern());
    let target = hub.at("a");
    for version in [L0, "2025-03-26", L2, L3] {
        let session = Session::with(&target, version, &json!({}));
        assert_eq!(session.version, version);
        session.echo(version);
        let capabilities = &session.init["capabilities"];
        assert_eq!(capabilities["tools"]["listChanged"], true, "{capabilities}");
        assert!(capabilities.get("tasks").is_none(), "{capabilities}");
        assert_eq!(session.request("vendor/unknown", &json!({})).code(), -32601);
    }
    assert_eq!(hub.journal("a").count("initialize"), 0);
    assert_eq!(hub.journal("a").count("notifications/initialized"), 0);
    assert_eq!(hub.journal("a").count("server/discover"), 1);
    let named = Hub::start(Setup::of([Fake::modern("a").arg("--instructions", "Use it wisely")]));
    assert_eq!(named.session("a").init["instructions"], "Use it wisely");
}

//! Children of the modern era, and modern callers: what the simulation's oracle does not spell out.
//!
//! In: calls and lines by hand. Out: what the mux wants done. Owns a mux per test. May not: use real time.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::*;
use super::{A, T, call, line, outputs};
use crate::mcp::ClientCapabilities;
use crate::server::handle::Hints;
use crate::server::{Ask, Client};

pub(super) const B: CallerId = CallerId(2);

pub(super) fn session(level: Option<Level>, can: &'static str) -> Arc<Client> {
    let raw = Bytes::from_static(can.as_bytes());
    let info = Some(Bytes::from_static(br#"{"name":"c","version":"1"}"#));
    Arc::new(Client { capabilities: raw.clone(), info, ..Client::legacy(ClientCapabilities::parse(&raw), level) })
}

/// A mux whose modern child is up, with one legacy caller that can be asked forms.
pub(super) fn up() -> Mux {
    let options =
        Options { concurrency: Concurrency::Auto, interactive: false, roots: Roots::default(), request_timeout: None };
    let mut mux = Mux::new(options);
    let capabilities = r#"{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{}}"#;
    mux.warming(2, ChildFacts::parse(&Bytes::from_static(capabilities.as_bytes())), Era::Modern);
    mux.open(A, session(None, r#"{"elicitation":{"form":{}}}"#), Vec::new(), T);
    mux.ready(false, T);
    let lists = written(&mut mux);
    assert_eq!(lists.len(), 1, "{lists:?}");
    assert_eq!(lists[0]["method"], "subscriptions/listen");
    assert_eq!(lists[0]["params"]["notifications"], json!({ "toolsListChanged": true }));
    acknowledge(&mut mux, &lists[0]["id"], json!({ "toolsListChanged": true }));
    mux
}

pub(super) fn written(mux: &mut Mux) -> Vec<Value> {
    let lines = outputs(mux).into_iter().filter_map(|output| match output {
        Output::Write(line) => Some(serde_json::from_slice(&line.to_bytes()).expect("JSON")),
        _ => None,
    });
    lines.collect()
}

pub(super) fn acknowledge(mux: &mut Mux, id: &Value, honoured: Value) -> Vec<Output> {
    let params = json!({ "_meta": { "io.modelcontextprotocol/subscriptionId": id }, "notifications": honoured });
    let text = json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params });
    line(mux, &text.to_string(), T)
}

pub(super) fn result(mux: &mut Mux, id: &Value, result: Value) -> Vec<Output> {
    line(mux, &json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string(), T)
}

fn asked(outputs: &[Output]) -> Vec<Ask> {
    let asks = outputs.iter().filter_map(|output| match output {
        Output::Deliver(_, Delivery::Ask(ask)) => Some(ask.clone()),
        _ => None,
    });
    asks.collect()
}

/// A call whose client is being asked something.
fn asking(mux: &mut Mux) -> Vec<Ask> {
    call(mux, 1, "tools/call", r#"{"name":"x"}"#);
    let first = written(mux);
    let wanted = json!({
        "resultType": "input_required",
        "inputRequests": { "who": { "method": "elicitation/create", "params": { "message": "Who?" } } }
    });
    asked(&result(mux, &first[0]["id"], wanted))
}

#[test]
fn a_legacy_call_carries_its_clients_claims() {
    let mut mux = up();
    call(&mut mux, 1, "tools/call", r#"{"name":"x","_meta":{"progressToken":"t","vendor/k":1},"task":{}}"#);
    let sent = written(&mut mux);
    let (id, params) = (&sent[0]["id"], &sent[0]["params"]);
    assert_eq!((params["name"].as_str(), params.get("task")), (Some("x"), None));
    let meta = &params["_meta"];
    assert_eq!(&meta["progressToken"], id);
    assert_eq!(meta["vendor/k"], 1);
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({ "elicitation": { "form": {} } }));
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "c");
    assert_eq!(meta["io.modelcontextprotocol/logLevel"], "info", "absent would mean that it wants none");
    call(&mut mux, 2, "logging/setLevel", r#"{"level":"error"}"#);
    assert_eq!(outputs(&mut mux), [Output::Deliver(CallId(2), Delivery::Finish(Outcome::empty()))], "not the child's");
    call(&mut mux, 3, "tools/call", r#"{"name":"x"}"#);
    assert_eq!(written(&mut mux)[0]["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "error");
}

#[test]
fn input_is_asked_for_and_the_call_sent_again() {
    let mut mux = up();
    call(&mut mux, 1, "tools/call", r#"{"name":"x","arguments":{"a":1}}"#);
    let first = written(&mut mux);
    let wanted = json!({
        "resultType": "input_required", "requestState": "s1",
        "inputRequests": { "who": { "method": "elicitation/create", "params": { "message": "Who?" } } }
    });
    let out = result(&mut mux, &first[0]["id"], wanted);
    let asks = asked(&out);
    assert_eq!((out.len(), asks.len(), asks[0].method.name()), (1, 1, "elicitation/create"));
    mux.answer(asks[0].id, Outcome::Result(Bytes::from_static(br#"{"action":"accept","content":{"n":"Al"}}"#)), T);
    mux.check_invariants(T).expect("invariants");
    let again = written(&mut mux);
    let params = &again[0]["params"];
    assert_ne!(again[0]["id"], first[0]["id"]);
    assert_eq!((&params["requestState"], &params["arguments"]["a"]), (&json!("s1"), &json!(1)));
    assert_eq!(params["inputResponses"], json!({ "who": { "action": "accept", "content": { "n": "Al" } } }));
    let out = result(&mut mux, &again[0]["id"], json!({ "resultType": "complete", "content": [] }));
    assert!(matches!(&out[..], [Output::Deliver(CallId(1), Delivery::Result(_))]), "{out:?}");
    assert_eq!(mux.sizes(), [0; 5]);
}

#[test]
fn a_cancelled_call_takes_its_questions_back() {
    let mut mux = up();
    let asks = asking(&mut mux);
    mux.cancel(CallId(1), None, T);
    mux.check_invariants(T).expect("invariants");
    let out = outputs(&mut mux);
    let expected =
        [Output::Deliver(CallId(1), Delivery::Withdraw(asks[0].id)), Output::Deliver(CallId(1), Delivery::Cancelled)];
    assert_eq!(out, expected, "and nothing to the child, which holds no state");
    mux.answer(asks[0].id, Outcome::empty(), T);
    assert_eq!((outputs(&mut mux), mux.sizes()), (vec![], [0; 5]));
}

#[test]
fn a_server_that_ends_takes_its_questions_back() {
    let mut mux = up();
    let asks = asking(&mut mux);
    mux.fail_asking(&ErrorObject::internal(crate::mcp::error::Reason::ShuttingDown, "it was stopped"), T);
    mux.check_invariants(T).expect("invariants");
    let out = outputs(&mut mux);
    assert_eq!(out[0], Output::Deliver(CallId(1), Delivery::Withdraw(asks[0].id)));
    assert!(matches!(&out[1..], [Output::Deliver(CallId(1), Delivery::Finish(Outcome::Error(_)))]), "{out:?}");
    assert_eq!(mux.sizes(), [0; 5]);
}

#[test]
fn what_only_has_state_is_polled_and_what_the_client_cannot_fails() {
    let mut mux = up();
    call(&mut mux, 1, "tools/call", r#"{"name":"x"}"#);
    let first = written(&mut mux);
    let out = result(&mut mux, &first[0]["id"], json!({ "resultType": "input_required", "requestState": "s" }));
    assert_eq!(out, [], "it waits");
    let at = mux.deadline().expect("a time to poll");
    mux.tick(at);
    mux.check_invariants(at).expect("invariants");
    let again = written(&mut mux);
    assert_eq!(again[0]["params"]["requestState"], "s");
    let wanted = json!({
        "resultType": "input_required",
        "inputRequests": { "m": { "method": "sampling/createMessage", "params": {} } }
    });
    let out = result(&mut mux, &again[0]["id"], wanted);
    assert!(matches!(&out[..], [Output::Deliver(CallId(1), Delivery::Finish(Outcome::Error(_)))]), "{out:?}");
    assert_eq!(mux.sizes(), [0; 5]);
}

#[test]
fn one_listen_for_all_uris_made_before_the_old_one_breaks() {
    let mut mux = up();
    mux.open(B, session(None, "{}"), Vec::new(), T);
    call(&mut mux, 1, "resources/subscribe", r#"{"uri":"a:1"}"#);
    let first = written(&mut mux);
    assert_eq!(first[0]["params"]["notifications"], json!({ "resourceSubscriptions": ["a:1"] }));
    mux.call(CallId(2), B, Method::Subscribe, Some(Bytes::from_static(br#"{"uri":"b:2"}"#)), T);
    assert_eq!(written(&mut mux), [] as [Value; 0], "one at a time");
    let out = acknowledge(&mut mux, &first[0]["id"], json!({ "resourceSubscriptions": ["a:1"] }));
    assert_eq!(out[0], Output::Deliver(CallId(1), Delivery::Finish(Outcome::empty())));
    let Output::Write(second) = &out[1] else { panic!("{out:?}") };
    let second: Value = serde_json::from_slice(&second.to_bytes()).expect("JSON");
    assert_eq!(second["params"]["notifications"], json!({ "resourceSubscriptions": ["a:1", "b:2"] }));
    let out = acknowledge(&mut mux, &second["id"], json!({ "resourceSubscriptions": ["a:1"] }));
    let Output::Write(cancel) = &out[0] else { panic!("{out:?}") };
    let cancel: Value = serde_json::from_slice(&cancel.to_bytes()).expect("JSON");
    assert_eq!(
        (&cancel["method"], &cancel["params"]["requestId"]),
        (&json!("notifications/cancelled"), &first[0]["id"])
    );
    assert!(
        matches!(&out[1], Output::Deliver(CallId(2), Delivery::Finish(Outcome::Error(_)))),
        "not honoured: {out:?}"
    );
    let updated = |id: &Value| {
        let meta = json!({ "io.modelcontextprotocol/subscriptionId": id });
        json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": "a:1", "_meta": meta } })
    };
    let heard = line(&mut mux, &updated(&second["id"]).to_string(), T);
    let params = Some(Bytes::from_static(br#"{"uri":"a:1"}"#));
    assert_eq!(heard, [Output::ToCaller(A, Delivery::Notification { method: Method::ResourceUpdated, params })]);
    let stale = line(&mut mux, &updated(&first[0]["id"]).to_string(), T);
    assert!(matches!(stale[..], [Output::Dropped(_)]), "{stale:?}");
}

#[test]
fn a_child_without_listen_is_not_asked_again() {
    let mut mux = up();
    call(&mut mux, 1, "resources/subscribe", r#"{"uri":"a:1"}"#);
    let first = written(&mut mux);
    let error = json!({ "jsonrpc": "2.0", "id": first[0]["id"], "error": { "code": -32601, "message": "no" } });
    let out = line(&mut mux, &error.to_string(), T);
    assert!(matches!(&out[..], [Output::Deliver(CallId(1), Delivery::Finish(Outcome::Error(_)))]), "{out:?}");
    call(&mut mux, 2, "resources/subscribe", r#"{"uri":"a:1"}"#);
    let out = outputs(&mut mux);
    assert!(matches!(&out[..], [Output::Deliver(CallId(2), Delivery::Finish(Outcome::Error(_)))]), "{out:?}");
    assert_eq!(mux.subscriptions.len(), 0);
}

#[test]
fn a_log_line_goes_to_the_only_one_that_admits_it() {
    let mut mux = up();
    mux.open(B, session(Some(Level::Error), "{}"), Vec::new(), T);
    call(&mut mux, 1, "tools/call", r#"{"name":"x"}"#);
    mux.call(CallId(2), B, Method::ToolsCall, None, T);
    outputs(&mut mux);
    let mut log = |level: &str| {
        let text = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": level } });
        line(&mut mux, &text.to_string(), T)
    };
    assert!(matches!(log("info")[..], [Output::Deliver(CallId(1), Delivery::Notification { .. })]));
    assert!(matches!(log("error")[..], [Output::Dropped(_)]), "both admit it");
    assert!(matches!(log("debug")[..], [Output::Dropped(_)]), "nobody does");
}

#[test]
fn it_may_not_ask_and_is_never_answered() {
    let mut mux = up();
    call(&mut mux, 1, "tools/call", r#"{"name":"x"}"#);
    outputs(&mut mux);
    let out = line(&mut mux, r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}"#, T);
    assert!(matches!(out[..], [Output::Dropped(_)]), "{out:?}");
}

/// A modern caller at a legacy child: its claims stay in hub, its ask is its own, its level ends with it.
#[test]
fn a_passing_caller_at_a_legacy_child() {
    let mut mux = super::up();
    let can = ClientCapabilities::default();
    let client = Arc::new(Client { era: Era::Modern, level: Some(Level::Debug), ..Client::legacy(can, None) });
    let params = r#"{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":7}}"#;
    let hints = Hints { token: true, ..Hints::NOTHING };
    let who = (CallerId::passing(CallId(9)), Some(client));
    mux.call_with(CallId(9), who, Method::ToolsCall, Some(Bytes::from_static(params.as_bytes())), hints, T);
    mux.check_invariants(T).expect("invariants");
    let sent = written(&mut mux);
    assert_eq!((&sent[0]["method"], &sent[0]["params"]["level"]), (&json!("logging/setLevel"), &json!("debug")));
    assert_eq!(sent[1]["params"], json!({ "name": "x", "_meta": { "progressToken": sent[1]["id"] } }));
    line(&mut mux, &json!({ "jsonrpc": "2.0", "id": sent[0]["id"], "result": {} }).to_string(), T);
    let ask = json!({ "jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": { "message": "?" } });
    let out = line(&mut mux, &ask.to_string(), T);
    let needed = Bytes::from_static(br#"{"elicitation":{"form":{}}}"#);
    assert_eq!(out[0], Output::Deliver(CallId(9), Delivery::Lacks(needed)));
    let Output::Write(refusal) = &out[1] else { panic!("{out:?}") };
    assert!(String::from_utf8_lossy(&refusal.to_bytes()).contains("-32601"));
    result(&mut mux, &sent[1]["id"], json!({ "content": [] }));
    mux.check_invariants(T).expect("invariants");
    let back = mux.deadline().expect("the level is lowered in a while");
    mux.tick(back);
    assert_eq!(written(&mut mux)[0]["params"]["level"], "info");
}

/// With `roots = "client"` a legacy child's question about roots is one of the call that is at work, like any other.
#[test]
fn roots_of_the_client_are_asked_within_calls_only() {
    let mut mux = super::up();
    mux.set_options(Options {
        concurrency: Concurrency::Auto,
        interactive: false,
        roots: Roots::Client,
        request_timeout: None,
    });
    mux.open(B, session(None, r#"{"roots":{}}"#), Vec::new(), T);
    let ask = json!({ "jsonrpc": "2.0", "id": 5, "method": "roots/list" }).to_string();
    let out = line(&mut mux, &ask, T);
    assert!(matches!(&out[..], [Output::Write(_)]), "refused, whose would they be? {out:?}");
    mux.call(CallId(3), B, Method::ToolsCall, None, T);
    outputs(&mut mux);
    let out = line(&mut mux, &ask, T);
    assert_eq!(asked(&out).len(), 1, "{out:?}");
    assert_eq!(asked(&out)[0].method, Method::RootsList);
}

/// A call that waits for an answer asks nothing more, so the question is the other call's, also at a child of which it is
/// new that it asks: a modern call may wait for its answer for minutes.
#[test]
fn who_waits_for_an_answer_is_not_suspected() {
    let mut mux = super::up();
    let can = r#"{"elicitation":{"form":{}}}"#;
    let ask = |id: u64| json!({ "jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": {} }).to_string();
    for (at, caller) in [(1, CallerId(3)), (2, CallerId(4))] {
        let now = T * at;
        mux.open(caller, session(None, can), Vec::new(), now);
        mux.call(CallId(u64::from(at)), caller, Method::ToolsCall, None, now);
        outputs(&mut mux);
        let out = line(&mut mux, &ask(u64::from(at)), now);
        assert!(matches!(&out[..], [Output::Deliver(to, Delivery::Ask(_))] if *to == CallId(u64::from(at))), "{out:?}");
    }
}

/// Tasks of modern requests are those of modern requests only: no session may see them, nor they a session's.
#[test]
fn tasks_of_modern_requests() {
    let mut mux = up();
    let capabilities = r#"{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
    mux.warming(50, ChildFacts::parse(&Bytes::from_static(capabilities.as_bytes())), Era::Modern);
    mux.ready(false, T);
    outputs(&mut mux);
    let can = ClientCapabilities::default();
    let client = Some(Arc::new(Client { era: Era::Modern, ..Client::legacy(can, None) }));
    let modern = |mux: &mut Mux, id: u64, method: Method, params: &'static str| {
        let who = (CallerId::passing(CallId(id)), client.clone());
        mux.call_with(CallId(id), who, method, Some(Bytes::from_static(params.as_bytes())), Hints::UNKNOWN, T);
        mux.check_invariants(T).expect("invariants");
        outputs(mux)
    };
    let sent = modern(&mut mux, 9, Method::ToolsCall, r#"{"name":"slow"}"#);
    assert!(matches!(&sent[..], [Output::Write(_)]), "{sent:?}");
    result(&mut mux, &json!(50), json!({ "resultType": "task", "taskId": "t1", "status": "working", "ttlMs": 9000 }));
    let sent = modern(&mut mux, 10, Method::TasksGet, r#"{"taskId":"t1"}"#);
    assert!(matches!(&sent[..], [Output::Write(_)]), "{sent:?}");
    let sent = modern(&mut mux, 11, Method::TasksUpdate, r#"{"taskId":"t2"}"#);
    assert!(matches!(&sent[..], [Output::Deliver(CallId(11), Delivery::Finish(Outcome::Error(_)))]), "{sent:?}");
    call(&mut mux, 12, "tasks/get", r#"{"taskId":"t1"}"#);
    let out = outputs(&mut mux);
    assert!(matches!(&out[..], [Output::Deliver(CallId(12), Delivery::Finish(Outcome::Error(_)))]), "{out:?}");
}

/// How long a parked call's client may take is `park_timeout`, which may be longer than a session's client may take.
#[test]
fn an_ask_of_a_modern_caller_has_no_time_of_its_own() {
    let mut mux = super::up();
    let raw = Bytes::from_static(br#"{"elicitation":{}}"#);
    let client = Client { era: Era::Modern, ..Client::legacy(ClientCapabilities::parse(&raw), None) };
    let who = (CallerId::passing(CallId(9)), Some(Arc::new(client)));
    mux.call_with(CallId(9), who, Method::ToolsCall, None, Hints::UNKNOWN, T);
    outputs(&mut mux);
    let ask = json!({ "jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": { "message": "?" } });
    let asks = asked(&line(&mut mux, &ask.to_string(), T));
    let later = T + crate::limits::ASK_TIMEOUT * 2;
    mux.tick(later);
    assert_eq!(outputs(&mut mux), [], "it still waits");
    mux.answer(asks[0].id, Outcome::Result(Bytes::from_static(br#"{"action":"decline"}"#)), later);
    assert!(matches!(&outputs(&mut mux)[..], [Output::Write(_)]));
}

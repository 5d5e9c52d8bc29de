//! What the simulation found, each as short as it can be told.
//!
//! In: calls and lines by hand. Out: what the mux wants done. Owns a mux per test. May not: use real time.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::super::*;
use super::modern::{B, acknowledge, result, session, up, written};
use super::{A, T, call, line, outputs};
use crate::mcp::ClientCapabilities;
use crate::server::Client;
use crate::server::handle::Hints;

fn passing(mux: &mut Mux, id: u64, method: Method, params: &'static str) -> Vec<Output> {
    let can = ClientCapabilities::default();
    let client = Arc::new(Client { era: Era::Modern, ..Client::legacy(can, None) });
    let who = (CallerId::passing(CallId(id)), Some(client));
    mux.call_with(CallId(id), who, method, Some(Bytes::from_static(params.as_bytes())), Hints::UNKNOWN, T);
    mux.check_invariants(T).expect("invariants");
    outputs(mux)
}

fn refuse(mux: &mut Mux, id: &serde_json::Value) -> Vec<Output> {
    line(mux, &json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "no" } }).to_string(), T)
}

fn ends(outputs: &[Output], call: u64, well: bool) -> bool {
    outputs.iter().any(|output| match output {
        Output::Deliver(id, Delivery::Finish(outcome)) => {
            *id == CallId(call) && matches!(outcome, Outcome::Result(_)) == well
        }
        Output::Deliver(id, Delivery::Result(_)) => *id == CallId(call) && well,
        _ => false,
    })
}

fn log(mux: &mut Mux) -> Vec<Output> {
    let text = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info" } });
    line(mux, &text.to_string(), T)
}

/// Whose a log line is depends on what the child was told, not on what its clients want by now.
#[test]
fn a_log_line_of_one_who_no_longer_wants_it_is_nobody_elses() {
    let mut mux = up();
    mux.open(B, session(None, "{}"), Vec::new(), T);
    call(&mut mux, 1, "tools/call", r#"{"name":"x"}"#);
    call(&mut mux, 2, "logging/setLevel", r#"{"level":"error"}"#);
    mux.call(CallId(3), B, Method::ToolsCall, None, T);
    outputs(&mut mux);
    assert!(matches!(log(&mut mux)[..], [Output::Dropped(_)]), "it may be of either");
}

#[test]
fn a_log_line_of_one_who_has_left_is_nobody_elses() {
    let mut mux = up();
    mux.open(B, session(None, "{}"), Vec::new(), T);
    call(&mut mux, 1, "tools/call", r#"{"name":"x"}"#);
    mux.call(CallId(3), B, Method::ToolsCall, None, T);
    mux.close(A, T);
    outputs(&mut mux);
    assert!(matches!(log(&mut mux)[..], [Output::Dropped(_)]), "it was written before the child knew");
    mux.tick(T + crate::limits::GHOST);
    assert!(matches!(log(&mut mux)[..], [Output::Deliver(CallId(3), Delivery::Notification { .. })]));
}

#[test]
fn a_log_line_without_a_request_is_nobodys() {
    let mut mux = up();
    assert!(matches!(log(&mut mux)[..], [Output::Dropped(_)]), "a modern child has none of its own");
}

#[test]
fn a_modern_request_leaves_nothing_behind() {
    let mut mux = super::up();
    for id in 10..20 {
        passing(&mut mux, id, Method::ToolsCall, r#"{"name":"x"}"#);
        result(&mut mux, &json!(id - 9), json!({}));
    }
    assert_eq!(mux.owners.iter().count(), 0);
    mux.close(A, T);
    assert_eq!(mux.leftovers(), Vec::<String>::new());
}

/// Who came while the child was about to say that it knows no listen is answered, too.
#[test]
fn a_listen_that_is_not_known_is_refused_to_all_who_wait() {
    let mut mux = up();
    call(&mut mux, 1, "resources/subscribe", r#"{"uri":"a:1"}"#);
    let first = written(&mut mux);
    call(&mut mux, 2, "resources/subscribe", r#"{"uri":"b:2"}"#);
    let out = refuse(&mut mux, &first[0]["id"]);
    assert!(ends(&out, 1, false) && ends(&out, 2, false), "{out:?}");
    assert_eq!(mux.sizes(), [0; 5]);
}

/// Each kind of listen is judged by its own answer.
#[test]
fn a_listen_that_is_not_known_is_no_word_about_the_other() {
    let mut mux = up();
    mux.warming(50, mux.facts.expect("known"), Era::Modern);
    mux.ready(false, T);
    call(&mut mux, 1, "resources/subscribe", r#"{"uri":"a:1"}"#);
    let both = written(&mut mux);
    refuse(&mut mux, &both[0]["id"]);
    let out = acknowledge(&mut mux, &both[1]["id"], json!({ "resourceSubscriptions": ["a:1"] }));
    assert!(ends(&out, 1, true), "{out:?}");
    assert!(mux.listens.has_resources());
}

/// A busy child that acknowledges too late is asked again, and what it has acknowledged before stays.
#[test]
fn a_late_acknowledgement_is_not_the_end_of_listening() {
    let mut mux = up();
    call(&mut mux, 1, "resources/subscribe", r#"{"uri":"a:1"}"#);
    let first = written(&mut mux);
    acknowledge(&mut mux, &first[0]["id"], json!({ "resourceSubscriptions": ["a:1"] }));
    call(&mut mux, 2, "resources/subscribe", r#"{"uri":"b:2"}"#);
    outputs(&mut mux);
    let late = T + crate::limits::LISTEN_ACKNOWLEDGE;
    mux.tick(late);
    let out = outputs(&mut mux);
    assert!(ends(&out, 2, false), "{out:?}");
    let updated = json!({ "uri": "a:1", "_meta": { "io.modelcontextprotocol/subscriptionId": first[0]["id"] } });
    let updated = json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": updated });
    let heard = line(&mut mux, &updated.to_string(), late);
    assert!(matches!(heard[..], [Output::ToCaller(A, Delivery::Notification { .. })]), "{heard:?}");
    mux.call(CallId(3), A, Method::Subscribe, Some(Bytes::from_static(br#"{"uri":"b:2"}"#)), late);
    mux.tick(late + crate::limits::LISTEN_RETRY_MIN);
    let again = written(&mut mux);
    assert_eq!(again[0]["params"]["notifications"], json!({ "resourceSubscriptions": ["a:1", "b:2"] }));
}

#[test]
fn a_listen_that_is_honoured_in_nothing_is_ended() {
    let mut mux = up();
    call(&mut mux, 1, "resources/subscribe", r#"{"uri":"a:1"}"#);
    let first = written(&mut mux);
    let out = acknowledge(&mut mux, &first[0]["id"], json!({}));
    assert!(ends(&out, 1, false), "{out:?}");
    assert!(!mux.listens.has_resources(), "{out:?}");
}

/// Task ids are the child's own: another child may give the same one to another caller.
#[test]
fn a_request_about_a_task_is_not_sent_to_another_child() {
    let mut mux = super::up();
    call(&mut mux, 1, "tools/call", r#"{"name":"x","task":{}}"#);
    outputs(&mut mux);
    line(&mut mux, r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"1","status":"working"}}}"#, T);
    mux.pause();
    call(&mut mux, 2, "tasks/get", r#"{"taskId":"1"}"#);
    assert_eq!(outputs(&mut mux), [], "it waits");
    mux.down("it ended", T);
    mux.warming(1, mux.facts.expect("known"), Era::Legacy);
    mux.ready(true, T);
    let out = outputs(&mut mux);
    assert!(ends(&out, 2, false), "{out:?}");
    assert!(!out.iter().any(|output| matches!(output, Output::Write(_))), "{out:?}");
}

#[test]
fn the_news_of_a_task_is_not_for_who_happens_to_be_at_work() {
    let mut mux = up();
    call(&mut mux, 1, "tools/call", r#"{"name":"x"}"#);
    outputs(&mut mux);
    for method in ["notifications/tasks", "notifications/tasks/status", "notifications/vendor"] {
        let text = json!({ "jsonrpc": "2.0", "method": method, "params": { "taskId": "t", "status": "working" } });
        let out = line(&mut mux, &text.to_string(), T);
        assert!(matches!(out[..], [Output::Dropped(_)]), "{method}: {out:?}");
    }
}

/// A request of the mux itself has no outlet that could be told what its client lacks.
#[test]
fn hubs_own_requests_cannot_be_asked() {
    let mut mux = super::up();
    call(&mut mux, 1, "logging/setLevel", r#"{"level":"debug"}"#);
    outputs(&mut mux);
    let out = line(&mut mux, r#"{"jsonrpc":"2.0","id":0,"method":"elicitation/create","params":{"message":"?"}}"#, T);
    assert!(matches!(out[..], [Output::Write(_)]), "refused: {out:?}");
}

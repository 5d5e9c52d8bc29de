//! Single promises of the mux that the simulation does not reach.
//!
//! In: calls and lines by hand. Out: what the mux wants done. Owns a mux per test. May not: use real time.

mod found;
mod modern;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::mcp::ClientCapabilities;

const A: CallerId = CallerId(1);
const T: Duration = Duration::from_secs(1);

/// A mux whose child is up and can do everything, with one caller.
fn up() -> Mux {
    let options =
        Options { concurrency: Concurrency::Auto, interactive: false, roots: Roots::default(), request_timeout: None };
    let mut mux = Mux::new(options);
    let capabilities = r#"{"tools":{},"resources":{"subscribe":true},"logging":{},"tasks":{}}"#;
    mux.warming(1, ChildFacts::parse(&Bytes::from_static(capabilities.as_bytes())), Era::Legacy);
    mux.ready(false, T);
    mux.open(A, Arc::new(Client::legacy(ClientCapabilities::default(), None)), Vec::new(), T);
    outputs(&mut mux);
    mux
}

fn outputs(mux: &mut Mux) -> Vec<Output> {
    std::iter::from_fn(|| mux.take()).collect()
}

fn call(mux: &mut Mux, id: u64, method: &str, params: &str) {
    let params = Bytes::copy_from_slice(params.as_bytes());
    mux.call(CallId(id), A, Method::from_name(method), Some(params), T);
}

fn line(mux: &mut Mux, text: &str, now: Duration) -> Vec<Output> {
    mux.line(&Bytes::copy_from_slice(text.as_bytes()), now);
    mux.check_invariants(now).expect("invariants");
    outputs(mux)
}

#[test]
fn a_level_that_waits_for_the_child_can_be_cancelled() {
    let mut mux = up();
    call(&mut mux, 1, "logging/setLevel", r#"{"level":"debug"}"#);
    assert!(matches!(outputs(&mut mux)[..], [Output::Write(_)]), "it waits for the child");
    mux.cancel(CallId(1), None, T);
    assert_eq!(outputs(&mut mux), [Output::Deliver(CallId(1), Delivery::Cancelled)]);
    // The child has the level all the same; its answer is nobody's any more.
    assert_eq!(line(&mut mux, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, T), []);
    mux.cancel(CallId(1), None, T);
    assert_eq!(outputs(&mut mux), []);
}

#[test]
fn a_malformed_answer_ends_its_call() {
    let bad = [
        r#"{"jsonrpc":"2.0","id":ID,"error":"text"}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":{},"error":{"code":1,"message":""}}"#,
        r#"{"jsonrpc":"2.0","id":ID}"#,
        r#"[{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":ID,"error":7},3]"#,
    ];
    let mut mux = up();
    for (text, id) in bad.iter().zip(1_u64..) {
        call(&mut mux, id, "tools/call", r#"{"name":"x"}"#);
        outputs(&mut mux);
        let out = line(&mut mux, &text.replace("ID", &id.to_string()), T);
        let end = out.iter().find_map(|output| match output {
            Output::Deliver(call, Delivery::Finish(Outcome::Error(error))) if *call == CallId(id) => {
                Some(error.clone())
            }
            _ => None,
        });
        let end = String::from_utf8(end.unwrap_or_else(|| panic!("{text}: {out:?}")).to_vec()).expect("text");
        assert!(end.contains("-32603") && end.contains("malformed_answer"), "{end}");
    }
    assert_eq!(mux.sizes(), [0; 5]);
    // One of a cancelled call lays its ghost; one of nobody is counted.
    call(&mut mux, 9, "tools/call", r#"{"name":"x"}"#);
    mux.cancel(CallId(9), None, T);
    outputs(&mut mux);
    assert_eq!(line(&mut mux, r#"{"jsonrpc":"2.0","id":5,"error":"late"}"#, T), []);
    assert!(matches!(line(&mut mux, r#"{"jsonrpc":"2.0","id":5,"error":"again"}"#, T)[..], [Output::Dropped(_)]));
}

/// Timers are armed and overtaken without one of them ever being due.
#[test]
fn stale_timers_do_not_pile_up() {
    let mut mux = up();
    for round in 0..2_000_u64 {
        let now = T + Duration::from_micros(round);
        for (id, method, params) in [
            (1, "logging/setLevel", r#"{"level":"debug"}"#),
            (2, "logging/setLevel", r#"{"level":"error"}"#),
            (3, "resources/subscribe", r#"{"uri":"x:y"}"#),
            (4, "resources/unsubscribe", r#"{"uri":"x:y"}"#),
            (5, "tools/call", r#"{"name":"x"}"#),
        ] {
            let id = CallId(round * 10 + id);
            mux.call(id, A, Method::from_name(method), Some(Bytes::from_static(params.as_bytes())), now);
            mux.cancel(id, None, now);
            // The child answers everything, also what was cancelled.
            for output in outputs(&mut mux) {
                let Output::Write(written) = output else { continue };
                let written: serde_json::Value = serde_json::from_slice(&written.to_bytes()).expect("JSON");
                if let Some(id) = written.get("id") {
                    line(&mut mux, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#), now);
                }
            }
        }
    }
    assert!(!mux.timers.is_bloated(10), "{:?}", mux.timers);
}

#[test]
fn what_a_child_never_ends_is_forgotten_in_time() {
    let mut mux = up();
    call(&mut mux, 1, "tools/call", r#"{"name":"x","task":{}}"#);
    call(&mut mux, 2, "tools/call", r#"{"name":"x"}"#);
    line(&mut mux, r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"t","status":"working","ttl":90000}}}"#, T);
    let data = r#"{"elicitations":[{"mode":"url","elicitationId":"e"}]}"#;
    let error = format!(r#"{{"jsonrpc":"2.0","id":2,"error":{{"code":-32042,"message":"","data":{data}}}}}"#);
    line(&mut mux, &error, T);
    let mut tick_until = |end: Duration| {
        while let Some(at) = mux.deadline().filter(|at| *at <= T + end) {
            mux.tick(at);
            mux.check_invariants(at).expect("invariants");
        }
        (mux.tasks.len(), mux.elicitations.len())
    };
    assert_eq!(tick_until(Duration::from_secs(89)), (1, 1));
    assert_eq!(tick_until(Duration::from_mins(3)), (0, 1));
    assert_eq!(tick_until(Duration::from_mins(59)), (0, 1));
    assert_eq!(tick_until(Duration::from_mins(62)), (0, 0));
    assert_eq!(mux.deadline(), None, "nothing is left to wake for");
}

//! Single promises of the mux that the simulation does not reach.
//!
//! In: calls and lines by hand. Out: what the mux wants done. Owns a mux per test. May not: use real time.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::mcp::ClientCapabilities;

const A: CallerId = CallerId(1);
const T: Duration = Duration::from_secs(1);

/// A mux whose child is up and can do everything, with one caller.
fn up() -> Mux {
    let options =
        Options { concurrency: Concurrency::Auto, interactive: false, roots: Vec::new(), request_timeout: None };
    let mut mux = Mux::new(options);
    let capabilities = r#"{"tools":{},"resources":{"subscribe":true},"logging":{},"tasks":{}}"#;
    mux.warming(1, ChildFacts::parse(&Bytes::from_static(capabilities.as_bytes())));
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

//! Exchanges over a scripted server, with the clock in the test's hand.
//!
//! In: requests as the edge hands them over. Out: what their clients read. Each test owns its server. May not: use HTTP.

mod listening;
mod parking;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::aggregate::Aggregate;
use crate::mcp::meta::{CLIENT_CAPABILITIES, PROTOCOL_VERSION, SERVER_INFO};
use crate::mcp::{Era, ListKind, Method, Outcome, Raw, RequestId};
use crate::server::scripted::{Script, Scripted};
use crate::server::{Ask, AskId, CallId, Delivery, Registry};
use crate::session::{EndpointId, First, Form, Params, Reader, Target};
use crate::tasks::Scope;

use super::{Asking, Claims, Exchanges, Occupied};

const ALL: &str = r#"{"tools":{},"prompts":{},"resources":{"subscribe":true},"completions":{}}"#;

/// A server, and clients of it.
struct Bench {
    server: Scripted,
    exchanges: Arc<Exchanges>,
    registry: watch::Sender<Arc<Registry>>,
    capabilities: Value,
    /// Requests go to all servers together.
    merged: bool,
}

/// A request on its way, and its client.
struct Asked {
    occupied: Occupied,
    reader: Reader,
}

impl Bench {
    fn new(era: Era, script: Script) -> Self {
        let server = Scripted::start("s", script);
        server.ready_as(era, ALL);
        let (registry, seen) = watch::channel(Arc::new(Registry::new(vec![server.registered()])));
        let exchanges = Exchanges::new(seen, Scope::new());
        Self { server, exchanges, registry, capabilities: json!({ "elicitation": {}, "sampling": {} }), merged: false }
    }

    fn legacy() -> Self {
        Self::new(Era::Legacy, silent)
    }

    /// Asks, and waits until hub has done its part.
    async fn ask(&self, method: Method, params: Value) -> Asked {
        let asked = self.begin(method, params).await;
        settle().await;
        asked
    }

    async fn begin(&self, method: Method, mut params: Value) -> Asked {
        params["_meta"] = json!({ PROTOCOL_VERSION: "2026-07-28", CLIENT_CAPABILITIES: self.capabilities });
        let params = Params::read(Some(Raw::from(params.to_string())));
        let claims = Claims::read(&params).expect("claims");
        let occupied = self.exchanges.sit(RequestId::from_number(1), method, &claims, Form::Either);
        let reader = occupied.reader();
        let target = if self.merged {
            Target::Aggregate(Aggregate::new(self.registry.subscribe()))
        } else {
            Target::Server(self.server.handle.clone())
        };
        let endpoint = EndpointId::Server(self.server.handle.name().clone());
        let seat = occupied.seat().clone();
        match self.exchanges.admit(&target, &seat.method).await {
            Ok(handshake) => {
                self.exchanges.serve(Asking { endpoint, target, claims, params }, &handshake, &seat).await;
            }
            Err(error) => seat.refuse(error),
        }
        Asked { occupied, reader }
    }

    fn elicit(&self, id: u64) {
        let params = Some(Raw::from_static(br#"{"message":"?","requestedSchema":{"type":"object"}}"#));
        self.server.deliver(Delivery::Ask(Ask { id: AskId(id), method: Method::Elicitation, params }));
    }

    fn finish(&self, result: &'static str) {
        self.server.deliver(Delivery::Finish(Outcome::Result(Raw::from_static(result.as_bytes()))));
    }

    fn fail(&self, error: &'static str) {
        self.server.deliver(Delivery::Finish(Outcome::Error(Raw::from_static(error.as_bytes()))));
    }

    fn answers(&self) -> Vec<(u64, Value)> {
        let value = |outcome: &Outcome| {
            let (Outcome::Result(raw) | Outcome::Error(raw)) = outcome;
            serde_json::from_slice(raw).expect("JSON")
        };
        self.server.heard().answers.iter().map(|(ask, outcome)| (ask.0, value(outcome))).collect()
    }

    fn cancels(&self) -> usize {
        self.server.cancels.load(Ordering::SeqCst)
    }

    fn calls(&self) -> usize {
        self.server.heard().calls.len()
    }
}

impl Asked {
    /// The only message, which is the response. Its client has it.
    async fn response(mut self) -> Value {
        match poll_fn(|context| self.reader.poll_first(context)).await {
            First::One(pieces) => {
                self.occupied.delivered();
                serde_json::from_slice(&pieces.concat()).expect("JSON")
            }
            other => panic!("{other:?}"),
        }
    }

    /// The messages so far.
    async fn events(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        settle().await;
        assert!(self.reader.commit());
        poll_fn(|context| {
            while let Poll::Ready(Some(entry)) = self.reader.poll_event(context) {
                events.push(serde_json::from_slice(&entry.pieces.concat()).expect("JSON"));
            }
            Poll::Ready(())
        })
        .await;
        events
    }
}

/// Lets everything happen that can happen now.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn silent(_: &Method, _: Option<&Raw>) -> Option<Outcome> {
    None
}

fn call() -> Value {
    json!({ "name": "t", "arguments": { "a": 1 } })
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_told_without_the_server() {
    let bench = Bench::legacy();
    bench.server.show(|snapshot| snapshot.state = crate::server::State::Stopped);
    let told = bench.ask(Method::Discover, json!({})).await.response().await;
    assert_eq!(told["result"]["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(told["result"]["capabilities"]["tools"], json!({ "listChanged": true }));
    for gone in ["ping", "initialize", "logging/setLevel", "resources/subscribe", "tasks/get", "x/y", "notifications/z"]
    {
        let asked = bench.ask(Method::from_name(gone), json!({})).await;
        assert_eq!(asked.occupied.seat().code(), Some(-32601), "{gone}");
    }
    assert_eq!((bench.calls(), bench.server.wakes.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_legacy_result_becomes_a_modern_one() {
    let bench = Bench::legacy();
    for (method, params, result, hinted) in [
        (Method::ToolsCall, call(), r#"{"content":[]}"#, false),
        (Method::ResourcesRead, json!({ "uri": "a:b" }), r#"{"contents":[]}"#, true),
        (Method::PromptsList, json!({}), r#"{"prompts":[]}"#, true),
    ] {
        let asked = bench.ask(method, params).await;
        bench.finish(result);
        let result = asked.response().await["result"].take();
        assert_eq!((&result["resultType"], result.get("ttlMs").is_some()), (&json!("complete"), hinted));
        assert_eq!(result["_meta"][SERVER_INFO], json!({}));
    }
}

#[tokio::test(start_paused = true)]
async fn a_modern_result_passes_unless_it_asks_what_it_may_not() {
    let bench = Bench::new(Era::Modern, silent);
    let fine = r#"{ "resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{}}},"requestState":"x"}"#;
    let asked = bench.ask(Method::ToolsCall, call()).await;
    bench.finish(fine);
    let told = asked.response().await;
    assert_eq!(told["result"], serde_json::from_str::<Value>(fine).expect("JSON"));

    let asked = bench.ask(Method::Complete, json!({})).await;
    bench.finish(fine);
    assert_eq!(asked.response().await["error"]["code"], -32603);

    let asked = bench.ask(Method::ToolsCall, call()).await;
    bench.finish(r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list"}}}"#);
    assert_eq!(asked.occupied.seat().code(), Some(-32021));
    assert_eq!(asked.response().await["error"]["data"], json!({ "requiredCapabilities": { "roots": {} } }));
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_is_named_where_all_are_one() {
    for era in [Era::Legacy, Era::Modern] {
        let bench = Bench { merged: true, ..Bench::new(era, silent) };
        bench.server.list(ListKind::Tools, r#"[{"name":"t"}]"#);
        let asked = bench.ask(Method::ToolsCall, json!({ "name": "s__t" })).await;
        match era {
            Era::Legacy => bench.elicit(1),
            Era::Modern => bench.finish(
                r#"{"resultType":"input_required","inputRequests":{"i1":{"method":"elicitation/create","params":{"message":"?"}}},"requestState":"x"}"#,
            ),
        }
        let told = asked.response().await;
        assert_eq!(told["result"]["inputRequests"]["i1"]["params"]["message"], "[s] ?", "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_tool_is_listed_that_its_reader_would_refuse() {
    for (era, tool, listed) in [
        (Era::Legacy, r#"{"name":"a","execution":{"taskSupport":"required"}}"#, json!([])),
        (Era::Legacy, r#"{"name":"a","execution":{"taskSupport":"optional"}}"#, json!([{ "name": "a" }])),
        (
            Era::Modern,
            r#"{"name":"a","inputSchema":{"properties":{"n":{"type":"number","x-mcp-header":"N"}}}}"#,
            json!([{ "name": "a", "inputSchema": { "properties": { "n": { "type": "number" } } } }]),
        ),
    ] {
        for merged in [false, true] {
            let bench = Bench { merged, ..Bench::new(era, silent) };
            bench.server.list(ListKind::Tools, &format!("[{tool}]"));
            let asked = bench.ask(Method::ToolsList, json!({})).await;
            if !merged {
                let kind = if era == Era::Modern { "\"resultType\":\"complete\"," } else { "" };
                let page = Raw::from(format!("{{{kind}\"tools\":[{tool}]}}"));
                bench.server.deliver(Delivery::Finish(Outcome::Result(page)));
            }
            let mut told = asked.response().await["result"]["tools"].take();
            if let Some(name) = told.pointer_mut("/0/name") {
                *name = json!("a");
            }
            assert_eq!(told, listed, "{era:?} {merged}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_two_errors_of_a_server_have_a_status() {
    let bench = Bench::legacy();
    for (method, params, error, told, status) in [
        (Method::ToolsCall, call(), r#"{"code":-32601,"message":""}"#, -32601, None),
        (Method::PromptsGet, call(), r#"{"code":-32601,"message":""}"#, -32601, Some(-32601)),
        (Method::ToolsCall, call(), r#"{"code":-32602,"message":""}"#, -32602, None),
        (Method::ToolsCall, call(), r#"{"code":-32700,"message":""}"#, -32603, None),
        (Method::ResourcesRead, json!({ "uri": "a" }), r#"{"code":-32002,"message":""}"#, -32602, None),
        (Method::ToolsCall, call(), r#"{"code":-32021,"message":""}"#, -32021, Some(-32021)),
    ] {
        let asked = bench.ask(method, params).await;
        bench.fail(error);
        assert_eq!(asked.occupied.seat().code(), status, "{error}");
        assert_eq!(asked.response().await["error"]["code"], told, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_has_cancelled_and_who_has_its_answer_has_not() {
    let bench = Bench::legacy();
    let asked = bench.ask(Method::ToolsCall, call()).await;
    drop(asked);
    settle().await;
    assert_eq!(bench.cancels(), 1);
    let asked = bench.ask(Method::ToolsCall, call()).await;
    bench.finish("{}");
    asked.response().await;
    settle().await;
    assert_eq!(bench.cancels(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_waits_for_room_rather_than_being_lost() {
    let bench = Bench::legacy();
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(bench.ask(Method::ToolsCall, call()).await);
    }
    let instance = bench.server.handle.instance(None).await.expect("an instance");
    // Nothing else runs meanwhile, so the queue fills up.
    let mut queued = 0;
    while instance.cancel_now(CallId(u64::MAX)) {
        queued += 1;
    }
    drop(asked);
    settle().await;
    assert_eq!(bench.cancels(), queued + 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_of_the_wrong_shape_reaches_no_server() {
    let bench = Bench::legacy();
    for (method, params) in [
        (Method::ToolsCall, json!({})),
        (Method::ToolsCall, json!({ "name": 7 })),
        (Method::ToolsCall, json!({ "name": "t", "arguments": [] })),
        (Method::ResourcesRead, json!({ "name": "x" })),
        (Method::ToolsList, json!({ "cursor": 7 })),
        (Method::Listen, json!({})),
    ] {
        let asked = bench.ask(method, params.clone()).await;
        assert_eq!(asked.response().await["error"]["code"], -32602, "{params}");
    }
    assert_eq!(bench.calls(), 0);
}

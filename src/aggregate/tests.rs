//! The aggregate over scripted servers, with the clock in the test's hand.
//!
//! In: snapshots that change, requests. Out: assertions. Owns its servers. May not: wait for real time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Aggregate, ChangeCounts, UriForm};
use crate::limits::AGGREGATE_LIST_WAIT;
use crate::mcp::{Era, ListKind, Method, Outcome, Raw};
use crate::server::registry::{NotRunning, Registered, Registry};
use crate::server::scripted::{Script, Scripted};
use crate::server::{Failure, State};

const ALL: &str = r#"{"tools":{},"prompts":{},"resources":{}}"#;

fn silent(_: &Method, _: Option<&Raw>) -> Option<Outcome> {
    None
}

/// A ready server with these tools and no other lists.
fn with_tools(name: &str, tools: &str) -> Scripted {
    let server = Scripted::start(name, silent);
    server.list(ListKind::Tools, tools);
    server.ready(r#"{"tools":{}}"#);
    server
}

/// A ready server with these resources.
fn with_resources(name: &str, resources: &str, script: Script) -> Scripted {
    let server = Scripted::start(name, script);
    server.list(ListKind::Resources, resources);
    server.ready(r#"{"resources":{}}"#);
    server
}

fn registry(servers: &[&Scripted]) -> Registry {
    Registry::new(servers.iter().map(|server| server.registered()).collect())
}

fn aggregate(servers: &[&Scripted]) -> (Arc<Aggregate>, watch::Sender<Arc<Registry>>) {
    let (sender, receiver) = watch::channel(Arc::new(registry(servers)));
    (Aggregate::new(receiver), sender)
}

fn value(outcome: &Outcome) -> Value {
    let (Outcome::Result(raw) | Outcome::Error(raw)) = outcome;
    serde_json::from_slice(raw).expect("JSON")
}

async fn tools(aggregate: &Aggregate) -> Value {
    value(&aggregate.list(ListKind::Tools, None, Era::Legacy).await)
}

async fn route(
    aggregate: &Aggregate,
    method: Method,
    params: Value,
) -> Result<(String, Value, Option<UriForm>), Value> {
    let routed = aggregate.route(&method, Some(Raw::from(params.to_string()))).await;
    match routed {
        Ok(to) => {
            let params = serde_json::from_slice(&to.params.expect("params stay")).expect("JSON");
            Ok((to.server.name().to_string(), params, to.uri.map(|uri| uri.form)))
        }
        Err(outcome) => Err(value(&outcome)),
    }
}

fn failed(server: &Scripted, message: &str) {
    server.show(|snapshot| {
        snapshot.state = State::Failed;
        let (stage, since, exit) = ("run".into(), String::new(), "exit code 1".into());
        snapshot.failure = Some(Arc::new(Failure { stage, message: message.into(), since, exit }));
    });
}

#[tokio::test(start_paused = true)]
async fn calls_reach_the_server_under_its_own_name() {
    let a = with_tools("a", r#"[{"name":"search"},{"name":"x__y"},{"name":"sp ace"}]"#);
    let b = with_tools("b", r#"[{"name":"search","description":"\u00fc"}]"#);
    let (aggregate, _registry) = aggregate(&[&a, &b]);
    let listed = tools(&aggregate).await;
    let names: Vec<&str> =
        listed["tools"].as_array().expect("tools").iter().filter_map(|t| t["name"].as_str()).collect();
    assert_eq!(names, ["a__search", "a__x__y", "a__sp_ace", "b__search"]);

    let call = |name: &str| json!({ "arguments": { "name": "no" }, "name": name, "_meta": { "progressToken": 1 } });
    for (name, server, own) in [("a__x__y", "a", "x__y"), ("a__sp_ace", "a", "sp ace"), ("b__search", "b", "search")] {
        let routed = route(&aggregate, Method::ToolsCall, call(name)).await.expect("known");
        assert_eq!(routed, (server.to_owned(), call(own), None));
    }
    for unknown in ["search", "a__nope", "b__x__y", ""] {
        let error = route(&aggregate, Method::ToolsCall, call(unknown)).await.expect_err("unknown");
        assert_eq!(error, json!({ "code": -32602, "message": format!("Unknown tool: {unknown}") }));
    }
}

#[tokio::test(start_paused = true)]
async fn params_are_checked_before_they_are_routed() {
    let a = with_tools("a", r#"[{"name":"t"}]"#);
    let (aggregate, _registry) = aggregate(&[&a]);
    for bad in [None, Some("[]"), Some("{}"), Some(r#"{"name":7}"#), Some(r#"{"name":"a__t","n\u0061me":"a__t"}"#)] {
        let params = bad.map(|text| Raw::from_static(text.as_bytes()));
        let outcome = aggregate.route(&Method::ToolsCall, params).await.expect_err("bad params");
        assert_eq!(value(&outcome)["code"], -32602, "{bad:?}");
    }
    let escaped = Raw::from_static(br#"{"n\u0061me":"\u0061__t"}"#);
    let routed = aggregate.route(&Method::ToolsCall, Some(escaped)).await.expect("an escaped name is a name");
    assert_eq!(routed.params.expect("params"), r#"{"n\u0061me":"t"}"#);
}

#[tokio::test(start_paused = true)]
async fn the_same_set_gives_the_same_bytes() {
    let build = || (with_tools("a", r#"[ {"name" : "t" , "x":1.0e5 } ]"#), with_tools("b", r#"[{"name":"t"}]"#));
    let (first, second) = (build(), build());
    let (one, _r1) = aggregate(&[&first.0, &first.1]);
    let (two, _r2) = aggregate(&[&second.0, &second.1]);
    assert_eq!(one.list(ListKind::Tools, None, Era::Legacy).await, two.list(ListKind::Tools, None, Era::Legacy).await);
    assert_eq!(one.known().list(ListKind::Tools).generation(), two.known().list(ListKind::Tools).generation());
}

#[tokio::test(start_paused = true)]
async fn each_reader_gets_tools_that_it_can_read() {
    let tool =
        r#"[{"execution":{},"outputSchema":{"type":"array"},"name":"t","inputSchema":{"properties":{"a":true}}}]"#;
    let (old, new) = (Scripted::start("old", silent), Scripted::start("new", silent));
    old.list(ListKind::Tools, tool);
    new.list(ListKind::Tools, tool);
    old.ready_as(Era::Legacy, r#"{"tools":{}}"#);
    new.ready_as(Era::Modern, r#"{"tools":{}}"#);
    let (aggregate, _registry) = aggregate(&[&old, &new]);
    let own = |alias: &str| {
        let mut own: Value = serde_json::from_str(tool).expect("JSON");
        own[0]["name"] = format!("{alias}__t").into();
        own[0].take()
    };
    let mut legacy = own("new");
    legacy["inputSchema"]["properties"]["a"] = json!({});
    legacy.as_object_mut().expect("an object").remove("outputSchema");
    assert_eq!(tools(&aggregate).await["tools"], json!([own("old"), legacy]));
    let mut modern = own("old");
    modern.as_object_mut().expect("an object").remove("execution");
    let listed = value(&aggregate.list(ListKind::Tools, None, Era::Modern).await);
    assert_eq!(listed["tools"], json!([modern, own("new")]));
}

#[tokio::test(start_paused = true)]
async fn a_list_waits_for_a_server_that_starts() {
    let (ready, starting) = (with_tools("ready", r#"[{"name":"t"}]"#), Scripted::start("late", silent));
    starting.show(|snapshot| (snapshot.state, snapshot.generation) = (State::Starting, 1));
    let (aggregate, _registry) = aggregate(&[&starting, &ready]);
    let begun = Instant::now();
    let listing = tools(&aggregate);
    let start = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        starting.list(ListKind::Tools, r#"[{"name":"u"}]"#);
        starting.ready(r#"{"tools":{}}"#);
    };
    let (listed, ()) = tokio::join!(listing, start);
    assert_eq!(listed, json!({ "tools": [{ "name": "late__u" }, { "name": "ready__t" }] }));
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_costs_one_wait() {
    let (ready, hung) = (with_tools("ready", r#"[{"name":"t"}]"#), Scripted::start("hung", silent));
    hung.show(|snapshot| (snapshot.state, snapshot.generation) = (State::Starting, 1));
    let (aggregate, _registry) = aggregate(&[&hung, &ready]);
    let begun = Instant::now();
    let without = json!({ "tools": [{ "name": "ready__t" }], "_meta": { "hub/unavailable": ["hung"] } });
    assert_eq!(tools(&aggregate).await, without);
    assert_eq!(begun.elapsed(), AGGREGATE_LIST_WAIT);
    assert_eq!(tools(&aggregate).await, without);
    let answer = route(&aggregate, Method::ToolsCall, json!({ "name": "hung__u" })).await.expect_err("not listed");
    assert_eq!(answer["isError"], true);
    assert_eq!(answer["content"][0]["text"], "server 'hung' is unavailable: it is still starting");
    assert_eq!(begun.elapsed(), AGGREGATE_LIST_WAIT, "nobody waits for it again");
    // Its next child gets a new chance.
    hung.show(|snapshot| snapshot.generation = 2);
    tools(&aggregate).await;
    assert_eq!(begun.elapsed(), AGGREGATE_LIST_WAIT * 2);
}

#[tokio::test(start_paused = true)]
async fn a_lazy_server_is_started_for_its_first_list() {
    let lazy = Scripted::start("lazy", silent);
    let (aggregate, _registry) = aggregate(&[&lazy]);
    let start = async {
        while lazy.wakes.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        lazy.show(|snapshot| snapshot.state = State::Starting);
        tokio::time::sleep(Duration::from_millis(10)).await;
        lazy.list(ListKind::Tools, r#"[{"name":"t"}]"#);
        lazy.ready(r#"{"tools":{}}"#);
    };
    let (listed, ()) = tokio::join!(tools(&aggregate), start);
    assert_eq!(listed, json!({ "tools": [{ "name": "lazy__t" }] }));
    // It has no prompts, and says so.
    assert_eq!(value(&aggregate.list(ListKind::Prompts, None, Era::Legacy).await), json!({ "prompts": [] }));
    lazy.show(|snapshot| snapshot.state = State::Stopped);
    assert_eq!(tools(&aggregate).await, json!({ "tools": [{ "name": "lazy__t" }] }));
    assert_eq!(lazy.wakes.load(Ordering::SeqCst), 1, "what is known needs no child");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_stays_listed_and_says_why() {
    let server = Scripted::start("s", silent);
    for (kind, items) in [
        (ListKind::Tools, r#"[{"name":"t"}]"#),
        (ListKind::Prompts, r#"[{"name":"p"}]"#),
        (ListKind::Resources, r#"[{"uri":"x:1"}]"#),
    ] {
        server.list(kind, items);
    }
    server.ready(ALL);
    let (aggregate, _registry) = aggregate(&[&server]);
    failed(&server, "it exits at once\nstderr: secret");
    assert_eq!(tools(&aggregate).await["_meta"], json!({ "hub/unavailable": ["s"] }));
    assert_eq!(tools(&aggregate).await["tools"], json!([{ "name": "s__t" }]));
    let text = "server 's' is unavailable: it exits at once";
    let answer = route(&aggregate, Method::ToolsCall, json!({ "name": "s__t" })).await.expect_err("down");
    assert_eq!(answer, json!({ "content": [{ "type": "text", "text": text }], "isError": true }));
    for (method, params) in [
        (Method::PromptsGet, json!({ "name": "s__p" })),
        (Method::ResourcesRead, json!({ "uri": "x:1" })),
        (Method::Complete, json!({ "ref": { "type": "ref/prompt", "name": "s__p" } })),
    ] {
        let error = route(&aggregate, method, params).await.expect_err("down");
        assert_eq!((&error["code"], &error["message"]), (&json!(-32603), &json!(text)));
    }
    // The requests were answered, and it is tried again.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.wakes.load(Ordering::SeqCst), 4);
    // A child that starts again holds calls: that is not down.
    server.show(|snapshot| snapshot.state = State::Backoff);
    assert!(route(&aggregate, Method::ToolsCall, json!({ "name": "s__t" })).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn broken_and_disabled_servers() {
    let server = with_tools("s", r#"[{"name":"t"}]"#);
    let (aggregate, registry) = aggregate(&[&server]);
    let not_running = |why| {
        let name = server.handle.name().clone();
        Arc::new(Registry::new(vec![Registered { name, port: 1, handle: Err(why), listen_failure: None }]))
    };
    let (stage, message, since, exit) = ("config".into(), "no $TOKEN".into(), String::new(), String::new());
    registry.send_replace(not_running(NotRunning::Unusable(Arc::new(Failure { stage, message, since, exit }))));
    // What it offered stays listed, so that calls get a reason.
    assert_eq!(tools(&aggregate).await["tools"], json!([{ "name": "s__t" }]));
    let answer = route(&aggregate, Method::ToolsCall, json!({ "name": "s__t" })).await.expect_err("unusable");
    assert_eq!(answer["content"][0]["text"], "server 's' is unavailable: no $TOKEN");

    registry.send_replace(not_running(NotRunning::Disabled));
    assert_eq!(tools(&aggregate).await, json!({ "tools": [] }));
    let error = route(&aggregate, Method::ToolsCall, json!({ "name": "s__t" })).await.expect_err("disabled");
    assert_eq!(error["code"], -32602);
}

#[tokio::test(start_paused = true)]
async fn changes_are_counted_once_per_burst_and_only_for_what_differs() {
    let (a, b) = (with_tools("a", r#"[{"name":"t"}]"#), with_tools("b", r#"[{"name":"t"}]"#));
    let (aggregate, registry_out) = aggregate(&[&a, &b]);
    let stop = CancellationToken::new();
    let mut changes = aggregate.changes();
    let drive = async {
        for n in 0..5 {
            a.list(ListKind::Tools, &format!(r#"[{{"name":"t{n}"}}]"#));
            b.list(ListKind::Tools, &format!(r#"[{{"name":"t{n}"}}]"#));
        }
        changes.changed().await.expect("the aggregate lives");
        assert_eq!(*changes.borrow_and_update(), ChangeCounts { tools: 1, prompts: 0, resources: 0 });

        // A restart with the same lists is no change.
        a.show(|snapshot| snapshot.state = State::Backoff);
        a.show(|snapshot| snapshot.state = State::Ready);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!changes.has_changed().expect("alive"));

        b.show(|snapshot| snapshot.handshake = None);
        b.ready(ALL);
        b.list(ListKind::Templates, r#"[{"uriTemplate":"x:{y}"}]"#);
        changes.changed().await.expect("alive");
        let counts = *changes.borrow_and_update();
        assert_eq!((counts.tools, counts.resources), (1, 1), "templates change with resources: {counts:?}");

        tokio::time::sleep(Duration::from_secs(5)).await;
        changes.borrow_and_update();
        registry_out.send_replace(Arc::new(registry(&[&b])));
        changes.changed().await.expect("alive");
        assert_eq!(changes.borrow_and_update().tools, 2, "a server disappeared");
        stop.cancel();
    };
    tokio::join!(aggregate.clone().run(stop.clone()), drive);
}

#[tokio::test(start_paused = true)]
async fn cursors_walk_through_more_than_a_page() {
    let many: Vec<Value> = (0..1201).map(|n| json!({ "name": format!("t{n}") })).collect();
    let server = with_tools("s", &Value::from(many).to_string());
    let (aggregate, _registry) = aggregate(&[&server]);
    let (mut cursor, mut sizes) = (None, Vec::new());
    loop {
        let page = value(&aggregate.list(ListKind::Tools, cursor.as_ref(), Era::Legacy).await);
        sizes.push(page["tools"].as_array().expect("tools").len());
        let Some(next) = page.get("nextCursor") else { break };
        cursor = Some(Raw::from(next.to_string()));
    }
    assert_eq!(sizes, [500, 500, 201]);
    server.list(ListKind::Tools, "[]");
    assert_eq!(value(&aggregate.list(ListKind::Tools, cursor.as_ref(), Era::Legacy).await)["code"], -32602);
}

#[expect(clippy::unnecessary_wraps, reason = "a script may also not answer")]
fn reads_only_b(method: &Method, params: Option<&Raw>) -> Option<Outcome> {
    assert_eq!(*method, Method::ResourcesRead);
    let known = params.is_some_and(|params| memchr::memmem::find(params, b"known").is_some());
    let error = Raw::from_static(br#"{"code":-32002,"message":"Resource not found"}"#);
    Some(if known { Outcome::Result(Raw::from_static(b"{\"contents\":[1]}")) } else { Outcome::Error(error) })
}

#[expect(clippy::unnecessary_wraps, reason = "a script may also not answer")]
fn knows_nothing(_: &Method, _: Option<&Raw>) -> Option<Outcome> {
    Some(Outcome::Error(Raw::from_static(br#"{"code":0,"message":"Unknown resource"}"#)))
}

#[tokio::test(start_paused = true)]
async fn an_unlisted_resource_is_searched_for() {
    let a = with_resources("a", r#"[{"uri":"s:1"}]"#, knows_nothing);
    let b = with_resources("b", r#"[{"uri":"s:2"}]"#, reads_only_b);
    let hung = with_resources("hung", r#"[{"uri":"s:3"}]"#, silent);
    let (aggregate, _registry) = aggregate(&[&a, &b, &hung]);
    let begun = Instant::now();
    let read = route(&aggregate, Method::ResourcesRead, json!({ "uri": "s:known" })).await;
    assert_eq!(read, Err(json!({ "contents": [1] })), "what the search read is the answer");
    assert_eq!(begun.elapsed(), Duration::ZERO, "a later server cannot hold it up");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(hung.cancels.load(Ordering::SeqCst), 1);
    let again = route(&aggregate, Method::ResourcesRead, json!({ "uri": "s:known" })).await.expect("remembered");
    assert_eq!((again.0.as_str(), again.2), ("b", Some(UriForm::Own)));

    let nobody = route(&aggregate, Method::ResourcesRead, json!({ "uri": "s:other" })).await.expect_err("nobody");
    assert_eq!(
        nobody,
        json!({ "code": -32002, "message": "Resource not found: s:other", "data": { "uri": "s:other" } })
    );
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_same_uri_of_two_servers() {
    let a = with_resources("a", r#"[{"uri":"x:1"}]"#, silent);
    let b = with_resources("b", r#"[{"uri":"x:1"}]"#, silent);
    let (aggregate, _registry) = aggregate(&[&a, &b]);
    let listed = value(&aggregate.list(ListKind::Resources, None, Era::Legacy).await);
    assert_eq!(listed, json!({ "resources": [{ "uri": "x:1" }, { "uri": "hub://b/x%3A1" }] }));
    let own = |uri: &str| json!({ "uri": uri });
    let first = route(&aggregate, Method::Subscribe, own("x:1")).await;
    assert_eq!(first, Ok(("a".into(), own("x:1"), Some(UriForm::Own))));
    let second = route(&aggregate, Method::Subscribe, own("hub://b/x%3A1")).await;
    assert_eq!(second, Ok(("b".into(), own("x:1"), Some(UriForm::Prefixed))));
    let update = Some(Raw::from_static(br#"{"uri":"x:1/sub"}"#));
    let seen = aggregate.outward(b.handle.name(), &Method::ResourceUpdated, update, UriForm::Prefixed);
    assert_eq!(seen.expect("params"), r#"{"uri":"hub://b/x%3A1%2Fsub"}"#);
}

#[tokio::test(start_paused = true)]
async fn completions_go_to_the_prompt_or_template() {
    let server = Scripted::start("s", silent);
    server.list(ListKind::Prompts, r#"[{"name":"p q"}]"#);
    server.list(ListKind::Resources, "[]");
    server.list(ListKind::Templates, r#"[{"uriTemplate":"x:{y}"}]"#);
    server.ready(r#"{"prompts":{},"resources":{}}"#);
    let (aggregate, _registry) = aggregate(&[&server]);
    let complete = |reference: Value| json!({ "ref": reference, "argument": { "name": "a", "value": "v" } });
    for (exposed, own) in [
        (json!({ "type": "ref/prompt", "name": "s__p_q" }), json!({ "type": "ref/prompt", "name": "p q" })),
        (json!({ "type": "ref/resource", "uri": "x:{y}" }), json!({ "type": "ref/resource", "uri": "x:{y}" })),
    ] {
        let routed = route(&aggregate, Method::Complete, complete(exposed)).await.expect("known");
        assert_eq!(routed, ("s".into(), complete(own), None));
    }
    for (reference, code) in [
        (json!({ "type": "ref/prompt", "name": "p q" }), -32602),
        (json!({ "type": "ref/other" }), -32602),
        (json!(7), -32602),
        (json!({ "type": "ref/resource", "uri": "zzz" }), -32002),
    ] {
        let error = route(&aggregate, Method::Complete, complete(reference.clone())).await.expect_err("unknown");
        assert_eq!(error["code"], code, "{reference}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_handshake_names_every_server() {
    let (a, b) = (Scripted::start("One", silent), with_tools("two", "[]"));
    a.ready(r#"{"tools":{"listChanged":false}}"#);
    a.show(|snapshot| {
        let mut handshake = (**snapshot.handshake.as_ref().expect("ready")).clone();
        handshake.instructions = Some(Raw::from_static(br#""Use it\nwell""#));
        snapshot.handshake = Some(Arc::new(handshake));
    });
    let (aggregate, _registry) = aggregate(&[&a, &b]);
    let handshake = aggregate.handshake();
    let info: Value = serde_json::from_slice(&handshake.server_info).expect("JSON");
    assert_eq!(info["name"], "hub");
    let text: String = serde_json::from_slice(handshake.instructions.as_ref().expect("some")).expect("a string");
    assert!(text.ends_with("\n\n## one\nUse it\nwell"), "{text}");
    let capabilities: Value = serde_json::from_slice(&handshake.capabilities).expect("JSON");
    assert_eq!(capabilities["tools"], json!({ "listChanged": true }));
    assert_eq!(capabilities["resources"], json!({ "listChanged": true, "subscribe": true }));
}

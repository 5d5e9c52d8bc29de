//! Calls whose legacy server asks: rounds, retries, ends.
//!
//! In: asks of the server, retries of the client. Out: interim results, and what the server hears. May not: sleep but on
//! the paused clock.

use super::*;

/// A call that was asked something, and its interim result.
async fn asked_once(bench: &Bench) -> Value {
    let asked = bench.ask(Method::ToolsCall, call()).await;
    bench.elicit(7);
    let interim = asked.response().await["result"].take();
    assert_eq!(interim["resultType"], "input_required");
    interim
}

fn retry(interim: &Value, responses: Value) -> Value {
    json!({ "name": "t", "arguments": { "a": 1 }, "requestState": interim["requestState"], "inputResponses": responses })
}

fn accepted() -> Value {
    json!({ "action": "accept", "content": { "x": 1 } })
}

async fn refused(bench: &Bench, params: Value) {
    let told = bench.ask(Method::ToolsCall, params).await.response().await;
    assert_eq!(told["error"], json!({ "code": -32602, "message": "invalid or expired requestState" }));
}

#[tokio::test(start_paused = true)]
async fn a_call_runs_once_however_many_rounds_it_takes() {
    let bench = Bench::legacy();
    let asked = bench.ask(Method::ToolsCall, call()).await;
    bench.elicit(7);
    bench.elicit(8);
    let first = asked.response().await["result"].take();
    let keys: Vec<&String> = first["inputRequests"].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["i1", "i2"]);
    assert_eq!(first["inputRequests"]["i1"]["params"]["message"], "?");

    let second = bench.ask(Method::ToolsCall, retry(&first, json!({ "i1": accepted(), "other": 1 }))).await;
    let second = second.response().await["result"].take();
    assert_eq!(bench.answers(), [(7, accepted())]);
    let keys: Vec<&String> = second["inputRequests"].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["i2"]);

    let third = bench.ask(Method::ToolsCall, retry(&second, json!({ "i2": accepted() }))).await;
    assert_eq!(bench.answers().len(), 2);
    bench.finish(r#"{"content":[]}"#);
    let told = third.response().await;
    assert_eq!((&told["result"]["resultType"], bench.calls()), (&json!("complete"), 1));
    assert_eq!(bench.exchanges.parked(), 0);
    refused(&bench, retry(&second, json!({ "i2": accepted() }))).await;
}

#[tokio::test(start_paused = true)]
async fn a_state_is_for_its_own_request_and_its_own_round() {
    let bench = Bench::legacy();
    let interim = asked_once(&bench).await;
    let good = retry(&interim, json!({ "i1": accepted() }));
    for (key, value) in [
        ("arguments", json!({ "a": 2 })),
        ("name", json!("other")),
        ("requestState", json!("hub1.x.y")),
        ("requestState", json!("plain")),
        ("requestState", json!(format!("{}A", interim["requestState"].as_str().expect("text")))),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        refused(&bench, bad).await;
    }
    // Nothing usable: asked again, and the state of before is no longer good.
    let again = bench.ask(Method::ToolsCall, retry(&interim, json!({ "i1": 12345 }))).await.response().await;
    assert_eq!(again["result"]["resultType"], "input_required");
    refused(&bench, good).await;
    assert_eq!((bench.calls(), bench.answers().len(), bench.exchanges.parked()), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn answers_without_a_state_are_a_fresh_call() {
    let bench = Bench::legacy();
    let mut params = call();
    params["inputResponses"] = json!({ "i1": accepted() });
    let _asked = bench.ask(Method::ToolsCall, params).await;
    assert_eq!(bench.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_came_while_nobody_waited_is_kept_for_the_retry() {
    let bench = Bench::legacy();
    let interim = asked_once(&bench).await;
    assert_eq!(bench.exchanges.parked(), 1);
    bench.finish(r#"{"content":[],"isError":true}"#);
    assert_eq!(bench.exchanges.parked(), 0, "it takes no place of one that runs");
    let told = bench.ask(Method::ToolsCall, retry(&interim, json!({}))).await.response().await;
    assert_eq!((&told["result"]["isError"], bench.answers().len()), (&json!(true), 0));
    assert_eq!((bench.exchanges.parked(), bench.cancels()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_comes_back_is_given_up() {
    let bench = Bench::legacy();
    let interim = asked_once(&bench).await;
    tokio::time::sleep(bench.server.handle.spec().park_timeout + Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(bench.answers(), [(7, json!({ "action": "cancel" }))]);
    assert_eq!((bench.cancels(), bench.exchanges.parked()), (1, 0));
    refused(&bench, retry(&interim, json!({ "i1": accepted() }))).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_it_was_asked_has_cancelled() {
    let bench = Bench::legacy();
    // Before the interim result was written.
    let asked = bench.ask(Method::ToolsCall, call()).await;
    bench.elicit(7);
    tokio::time::sleep(Duration::from_millis(60)).await;
    drop(asked);
    settle().await;
    assert_eq!((bench.cancels(), bench.exchanges.parked()), (1, 0));
    // While the retry waits.
    let interim = asked_once(&bench).await;
    let second = bench.ask(Method::ToolsCall, retry(&interim, json!({ "i1": accepted() }))).await;
    assert_eq!(bench.exchanges.parked(), 1);
    drop(second);
    settle().await;
    assert_eq!((bench.cancels(), bench.exchanges.parked()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_not_asked_what_it_does_not_declare() {
    let mut bench = Bench::legacy();
    let interim = asked_once(&bench).await;
    bench.elicit(8);
    bench.capabilities = json!({ "sampling": {} });
    let second = bench.ask(Method::ToolsCall, retry(&interim, json!({ "i1": accepted() }))).await;
    bench.elicit(9);
    settle().await;
    let answers = bench.answers();
    assert_eq!((answers.len(), &answers[0]), (3, &(7, accepted())), "what it answers, it may answer");
    for (ask, refused) in &answers[1..] {
        assert_eq!(refused["code"], -32601, "{ask}");
    }
    bench.finish(r#"{"content":[],"isError":true}"#);
    assert_eq!(second.occupied.seat().code(), Some(-32021));
    let told = second.response().await;
    assert_eq!(told["error"]["data"], json!({ "requiredCapabilities": { "elicitation": { "form": {} } } }));
    assert_eq!(bench.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_requests_cannot_continue_one_call() {
    let bench = Bench::legacy();
    let interim = asked_once(&bench).await;
    let good = retry(&interim, json!({ "i1": accepted() }));
    let first = bench.ask(Method::ToolsCall, good.clone()).await;
    refused(&bench, good).await;
    bench.finish("{}");
    assert_eq!(first.response().await["result"]["resultType"], "complete");
    assert_eq!(bench.answers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_takes_back_is_not_asked() {
    let bench = Bench::legacy();
    let interim = asked_once(&bench).await;
    bench.server.deliver(Delivery::Withdraw(AskId(7)));
    let second = bench.ask(Method::ToolsCall, retry(&interim, json!({ "i1": accepted() }))).await;
    bench.finish("{}");
    assert_eq!(second.response().await["result"]["resultType"], "complete");
    assert!(bench.answers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_started_anew_continues_nothing() {
    let bench = Bench::legacy();
    let interim = asked_once(&bench).await;
    bench.server.ready(ALL);
    refused(&bench, retry(&interim, json!({ "i1": accepted() }))).await;
    assert_eq!(bench.exchanges.parked(), 0);
}

#[tokio::test(start_paused = true)]
async fn hub_stops_and_nobody_is_left_waiting() {
    let bench = Bench::legacy();
    asked_once(&bench).await;
    bench.exchanges.suspend();
    settle().await;
    assert_eq!((bench.answers().len(), bench.cancels(), bench.exchanges.parked()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_client_lacks_is_told_only_if_the_call_failed_for_it() {
    let bench = Bench::legacy();
    for (end, code) in [(r#"{"content":[]}"#, None), (r#"{"content":[],"isError":true}"#, Some(-32021))] {
        let asked = bench.ask(Method::ToolsCall, call()).await;
        bench.server.deliver(Delivery::Lacks(Raw::from_static(br#"{"roots":{}}"#)));
        bench.finish(end);
        assert_eq!(asked.occupied.seat().code(), code);
    }
}

const SIGN_IN: &str = r#"{"code":-32042,"message":"sign in","data":{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://x.example/","message":"m"}]}}"#;

#[tokio::test(start_paused = true)]
async fn urls_are_visited_and_the_call_is_made_again() {
    let mut bench = Bench::legacy();
    let asked = bench.ask(Method::ToolsCall, call()).await;
    bench.fail(SIGN_IN);
    assert_eq!(asked.occupied.seat().code(), Some(-32021));
    drop(asked);
    bench.capabilities = json!({ "elicitation": { "url": {} } });
    let asked = bench.ask(Method::ToolsCall, call()).await;
    bench.fail(SIGN_IN);
    let interim = asked.response().await["result"].take();
    let params = json!({ "mode": "url", "url": "https://x.example/", "message": "m" });
    assert_eq!(interim["inputRequests"]["u1"], json!({ "method": "elicitation/create", "params": params }));

    let declined = retry(&interim, json!({ "u1": { "action": "decline" } }));
    let told = bench.ask(Method::ToolsCall, declined).await.response().await;
    assert_eq!((&told["result"]["isError"], bench.calls()), (&json!(true), 2));

    // The server tells when the visit is over; only then is the call made again.
    let responses = json!({ "u1": { "action": "accept" } });
    let begun = bench.begin(Method::ToolsCall, retry(&interim, responses));
    let (third, ()) = tokio::join!(begun, async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(bench.calls(), 2);
        let params = Some(Raw::from_static(br#"{"elicitationId":"e"}"#));
        bench.server.tell(&Delivery::Notification { method: Method::ElicitationComplete, params });
    });
    settle().await;
    assert_eq!(bench.calls(), 3);
    bench.finish("{}");
    assert_eq!(third.response().await["result"]["resultType"], "complete");
    settle().await;
    assert_eq!(bench.server.heard().closed.len(), 1);
}

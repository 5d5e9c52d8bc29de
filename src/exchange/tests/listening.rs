//! Listeners: what is acknowledged, what is told, how it ends.
//!
//! In: filters; notifications of the server. Out: the events of a listener. May not: sleep but on the paused clock.

use super::*;
use crate::mcp::meta::SUBSCRIPTION_ID;

fn changed(method: Method) -> Delivery {
    Delivery::Notification { method, params: None }
}

fn subscribes(method: &Method, params: Option<&Raw>) -> Option<Outcome> {
    let taken = params.is_some_and(|params| !params.windows(3).any(|part| part == b"bad"));
    (*method == Method::Subscribe && taken).then(Outcome::empty)
}

async fn listen(bench: &Bench, filter: Value) -> Asked {
    bench.ask(Method::Listen, json!({ "notifications": filter })).await
}

#[tokio::test(start_paused = true)]
async fn it_hears_what_it_asked_for_and_nothing_before_the_acknowledgement() {
    let bench = Bench::new(Era::Legacy, subscribes);
    let mut asked =
        listen(&bench, json!({ "toolsListChanged": true, "resourceSubscriptions": ["a:1", "bad:2"] })).await;
    // One server takes its time with the second subscription.
    bench.server.tell(&changed(Method::ToolsChanged));
    bench.server.tell(&changed(Method::ToolsChanged));
    assert_eq!(asked.events().await, Vec::<Value>::new());
    tokio::time::sleep(Duration::from_secs(6)).await;
    let tag = json!({ SUBSCRIPTION_ID: 1 });
    let told = asked.events().await;
    assert_eq!(told[0]["method"], "notifications/subscriptions/acknowledged");
    let honoured = json!({ "toolsListChanged": true, "resourceSubscriptions": ["a:1"] });
    assert_eq!(told[0]["params"], json!({ "notifications": honoured, "_meta": tag }));
    assert_eq!((told.len(), &told[1]["params"]), (2, &json!({ "_meta": tag })));
    assert_eq!(bench.cancels(), 1, "the subscription that was not taken in time");
    let taken_back: Vec<Option<Raw>> = {
        let heard = bench.server.heard();
        let unsubscribes = heard.calls.iter().filter(|(method, ..)| *method == Method::Unsubscribe);
        unsubscribes.map(|(_, params, _)| params.clone()).collect()
    };
    assert_eq!(taken_back, [Some(Raw::from_static(br#"{"uri":"bad:2"}"#))]);

    bench.server.tell(&changed(Method::PromptsChanged));
    bench.server.tell(&changed(Method::LogMessage));
    let params = Some(Raw::from_static(br#"{"uri":"a:1","_meta":{"x":1,"io.modelcontextprotocol/subscriptionId":9}}"#));
    bench.server.tell(&Delivery::Notification { method: Method::ResourceUpdated, params });
    let told = asked.events().await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["params"], json!({ "uri": "a:1", "_meta": { "x": 1, SUBSCRIPTION_ID: 1 } }));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_told_once() {
    let bench = Bench::legacy();
    let mut asked = listen(&bench, json!({ "toolsListChanged": true })).await;
    asked.events().await;
    for _ in 0..1000 {
        bench.server.tell(&changed(Method::ToolsChanged));
    }
    assert_eq!(asked.events().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_removed_ends_it_in_order() {
    let bench = Bench::legacy();
    let mut asked = listen(&bench, json!({ "toolsListChanged": true })).await;
    asked.events().await;
    bench.registry.send_replace(Arc::default());
    let told = asked.events().await;
    assert_eq!(told[0]["result"], json!({ "resultType": "complete", "_meta": { SUBSCRIPTION_ID: 1 } }));
    assert_eq!(bench.server.heard().closed.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn hub_ends_it_in_order_and_its_client_by_leaving() {
    let bench = Bench::legacy();
    let mut stopped = listen(&bench, json!({})).await;
    assert_eq!(stopped.events().await.len(), 1);
    stopped.occupied.stop();
    assert_eq!(stopped.events().await[0]["result"]["resultType"], "complete");
    let left = listen(&bench, json!({})).await;
    assert_eq!(bench.server.heard().closed.len(), 1);
    drop(left);
    settle().await;
    assert_eq!(bench.server.heard().closed.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn another_server_of_the_same_name_takes_its_place() {
    let bench = Bench::new(Era::Legacy, subscribes);
    let filter = json!({ "toolsListChanged": true, "resourceSubscriptions": ["a:1"] });
    let mut asked = listen(&bench, filter).await;
    assert_eq!(asked.events().await.len(), 1);
    let other = Scripted::start("s", subscribes);
    other.ready(ALL);
    bench.registry.send_replace(Arc::new(Registry::new(vec![other.registered()])));
    let told = asked.events().await;
    assert_eq!(told[0]["method"], "notifications/tools/list_changed");
    assert_eq!((other.heard().callers.len(), bench.server.heard().closed.len()), (1, 1));
    other.tell(&changed(Method::ToolsChanged));
    assert_eq!(asked.events().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn tasks_are_for_who_declared_them() {
    let mut bench = Bench::legacy();
    let filter = json!({ "taskIds": ["t"] });
    let asked = listen(&bench, filter.clone()).await;
    assert_eq!(asked.occupied.seat().code(), Some(-32021));
    bench.capabilities = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let mut asked = listen(&bench, filter).await;
    assert_eq!(asked.events().await[0]["params"]["notifications"], json!({}));
}

#[tokio::test(start_paused = true)]
async fn many_subscriptions_are_made_at_once() {
    let bench = Bench::new(Era::Legacy, subscribes);
    let uris: Vec<String> = (0..1000).map(|n| format!("a:{n}")).collect();
    let mut asked = listen(&bench, json!({ "resourceSubscriptions": uris })).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(asked.events().await[0]["params"]["notifications"]["resourceSubscriptions"], json!(uris));
}

//! The tasks extension (SEP-2663) with a modern child: issue 3, Build 5.
//!
//! In: clients with and without the extension. Out: tasks for those that declared it, passed as they are. Owns nothing. May
//! not: expect a task where the client did not say that it knows them.

use crate::support::modern::accepted;
use crate::support::{Hub, Modern, Setup, Target, Value, eventually, json};

fn with_tasks(target: &Target) -> Modern {
    Modern::with(target, json!({"elicitation": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}))
}

fn get(client: &Modern, id: &Value) -> Value {
    client.request("tasks/get", &json!({"taskId": id})).result()
}

fn wait_status(client: &Modern, id: &Value, status: &str) -> Value {
    eventually(&format!("the task is {status}"), || Some(get(client, id)).filter(|task| task["status"] == status))
}

#[test]
fn tasks_of_a_modern_child() {
    let hub = Hub::start(Setup::modern());
    let client = with_tasks(&hub.at("a"));
    let declared = client.request("server/discover", &json!({})).result();
    assert!(declared["capabilities"]["extensions"]["io.modelcontextprotocol/tasks"].is_object(), "{declared}");
    let created = client.call("task_sleep", &json!({"ms": 200, "v": "mine"})).result();
    assert_eq!(created["resultType"], "task", "{created}");
    let id = created["taskId"].clone();
    let done = wait_status(&client, &id, "completed");
    assert_eq!(
        (&done["resultType"], &done["result"]["content"][0]["text"]),
        (&json!("complete"), &json!("slept v=mine"))
    );

    let asking = client.call("task_elicit", &json!({"tag": "x"})).result()["taskId"].clone();
    let open = wait_status(&client, &asking, "input_required");
    let (key, request) = open["inputRequests"].as_object().and_then(|all| all.iter().next()).expect("a question");
    assert_eq!(request["params"]["message"], "x");
    let update = json!({"taskId": asking, "inputResponses": {key: accepted("yes")}});
    assert_eq!(client.request("tasks/update", &update).result()["resultType"], "complete");
    assert!(wait_status(&client, &asking, "completed")["result"].to_string().contains("yes"));

    let long = client.call("task_sleep", &json!({"ms": 60_000})).result()["taskId"].clone();
    client.request("tasks/cancel", &json!({"taskId": long})).result();
    wait_status(&client, &long, "cancelled");
    let unknown = client.request("tasks/get", &json!({"taskId": "no-such-task"}));
    assert_eq!((unknown.head.status, unknown.code()), (200, -32602), "{unknown:?}");
    assert_eq!(hub.journal("a").of("tasks/get").iter().filter(|m| m["params"]["taskId"] == "no-such-task").count(), 0);
}

/// Who did not declare the extension gets ordinary results, or is told what is missing.
#[test]
fn tasks_are_not_for_everybody() {
    let hub = Hub::start(Setup::modern());
    let (client, session) = (Modern::open(&hub.at("a")), hub.session("a"));
    assert_eq!(client.call("task_sleep", &json!({"ms": 10})).text(), "slept");
    assert_eq!(session.call("task_sleep", &json!({"ms": 10})).text(), "slept");
    let refused = client.call("task_only", &json!({"ms": 10}));
    assert_eq!((refused.head.status, refused.code()), (400, -32021), "{refused:?}");
    let needed = &refused.error()["data"]["requiredCapabilities"]["extensions"]["io.modelcontextprotocol/tasks"];
    assert!(needed.is_object(), "{refused:?}");
    assert!(session.call("task_only", &json!({"ms": 10})).error()["code"].is_i64());
    let foreign = client.request("tasks/get", &json!({"taskId": "task-1"}));
    assert!([-32602, -32601, -32021].contains(&foreign.code()), "{foreign:?}");
}

/// Tasks of 2025-11-25 are not turned into the extension, nor the other way round (3.D is off by default).
#[test]
fn tasks_do_not_cross_eras() {
    let hub = Hub::start(Setup::one());
    let client = with_tasks(&hub.at("a"));
    let declared = client.request("server/discover", &json!({})).result();
    assert!(
        declared["capabilities"].get("extensions").is_none_or(|all| all.get("io.modelcontextprotocol/tasks").is_none())
    );
    let params = json!({"name": "task_sleep", "arguments": {"ms": 10}, "task": {"ttl": 1000}});
    assert_eq!(client.request("tools/call", &params).text(), "slept", "`task` means nothing here");
    assert!(hub.journal("a").calls("task_sleep")[0]["params"].get("task").is_none());
}

/// Changes of a task on a listen that names it.
#[test]
fn tasks_on_a_listen() {
    let hub = Hub::start(Setup::modern());
    let client = with_tasks(&hub.at("a"));
    let id = client.call("task_sleep", &json!({"ms": 1500, "v": "mine"})).result()["taskId"].clone();
    let listen = client.listen(&json!({"taskIds": [id]}));
    if listen.honoured.get("taskIds").is_none() {
        // Polling is what the extension asks for; notifications are an extra that a server need not give.
        wait_status(&client, &id, "completed");
        return;
    }
    let told = listen.wait_for("notifications/tasks");
    assert_eq!((&told["params"]["taskId"], &told["params"]["status"]), (&id, &json!("completed")), "{told}");
}

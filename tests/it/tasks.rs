//! Tasks of 2025-11-25 and their owners: PROTOCOL 5.3 test 48, section 1.12.
//!
//! In: two sessions with tasks on one child. Out: each its own. Owns nothing. May not: let a task be seen by the other.

use crate::support::session::{L2, Pending};
use crate::support::{Hub, Session, Setup, Value, eventually, json};

fn create(session: &Session, tool: &str, arguments: &Value) -> String {
    let params = json!({"name": tool, "arguments": arguments, "task": {"ttl": 60_000}});
    let result = session.request("tools/call", &params).result();
    result["task"]["taskId"].as_str().unwrap_or_else(|| panic!("no task in {result}")).to_owned()
}

fn task(session: &Session, method: &str, id: &str) -> crate::support::Answer {
    session.request(method, &json!({"taskId": id}))
}

fn begin(session: &Session, method: &str, id: &str) -> Pending {
    session.begin(method, &json!({"taskId": id}))
}

fn listed(session: &Session) -> Vec<String> {
    let result = session.request("tasks/list", &json!({})).result();
    let tasks = result["tasks"].as_array().expect("a list").iter();
    tasks.map(|task| task["taskId"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn t48_tasks_scope() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let (a, b) = (Session::eliciting(&target), Session::eliciting(&target));
    let (a_get, b_get) = (a.listen(), b.listen());
    let of_a = create(&a, "task_sleep", &json!({"ms": 300, "v": "A"}));
    let of_b = create(&b, "task_sleep", &json!({"ms": 60_000, "v": "B"}));
    assert_ne!(of_a, of_b);
    assert_eq!((listed(&a), listed(&b)), (vec![of_a.clone()], vec![of_b.clone()]), "a shared child lists everybody's");

    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        assert_eq!(task(&b, method, &of_a).code(), -32602, "{method} of a foreign task");
        assert_eq!(task(&b, method, "task-nobody").code(), -32602, "{method} of no task");
    }
    assert_eq!(hub.journal("a").count("tasks/cancel"), 0);
    assert_eq!(task(&a, "tasks/get", &of_a).result()["taskId"], of_a.as_str());
    let result = begin(&a, "tasks/result", &of_a);
    assert_eq!(result.text(), "slept v=A");
    let status = eventually("the owner hears of the end", || {
        let all = [a_get.of("notifications/tasks/status"), result.of("notifications/tasks/status")].concat();
        all.into_iter().find(|message| message["params"]["status"] == "completed")
    });
    assert_eq!(status["params"]["taskId"], of_a.as_str());
    assert_eq!(b_get.of("notifications/tasks/status"), Vec::<Value>::new());

    assert_eq!(task(&b, "tasks/cancel", &of_b).result()["status"], "cancelled");
    assert_eq!(task(&b, "tasks/cancel", &of_b).code(), -32602, "over is over, says the child");
}

/// A dialog inside a task reaches the owner of the task, whoever else is busy.
#[test]
fn t48_elicitation_inside_a_task() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let (a, b) = (Session::eliciting(&target), Session::eliciting(&target));
    let of_a = create(&a, "task_elicit", &json!({"tag": "task of A"}));
    let busy = b.begin_call("sleep", &json!({"ms": 1500, "v": "B"}));
    let waiting = begin(&a, "tasks/result", &of_a);
    let prompt = waiting.wait_for("elicitation/create");
    assert_eq!(prompt["params"]["message"], "task of A");
    let related = &prompt["params"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"];
    assert_eq!(related, of_a.as_str(), "related-task is kept");
    a.accept(&prompt, "given in a task");
    assert!(waiting.text().contains("given in a task"));
    assert_eq!(busy.text(), "slept v=B");
    assert_eq!(busy.of("elicitation/create"), Vec::<Value>::new());
}

/// Nobody can ask for the result any more: the task is cancelled.
#[test]
fn t48_end_of_the_owner() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let id = create(&session, "task_sleep", &json!({"ms": 60_000}));
    assert_eq!(session.delete().status(), 204);
    assert_eq!(hub.journal("a").wait_for("tasks/cancel", 1)[0]["params"]["taskId"], id.as_str());
}

/// A session of an older revision has no tasks; a tool that needs one is hidden or run for it (1.3).
#[test]
fn t48_sessions_without_tasks() {
    let hub = Hub::start(Setup::one());
    let old = Session::with(&hub.at("a"), L2, &json!({}));
    let tools = old.request("tools/list", &json!({})).result();
    let names: Vec<&str> =
        tools["tools"].as_array().expect("a list").iter().filter_map(|t| t["name"].as_str()).collect();
    assert!(names.contains(&"task_sleep"), "optional: usable as it is");
    if names.contains(&"task_only") {
        assert_eq!(old.call("task_only", &json!({"ms": 50, "v": "old"})).text(), "slept v=old");
        assert!(hub.journal("a").calls("task_only").iter().all(|call| call["params"]["task"].is_object()));
    }
    create(&Session::open(&hub.at("a")), "task_sleep", &json!({"ms": 60_000}));
    let response = old.request("tasks/list", &json!({})).response();
    assert!(response["error"].is_object() || response["result"]["tasks"] == json!([]), "{response}");
}

//! Tasks: a tool call that answers at once and is asked for its result later.
//!
//! In: calls with `params.task` (2025-11-25) or of a client with the tasks extension (SEP-2663), `tasks/*`. Out: task
//! objects, results, notifications. Owns the table. May not: tell owners apart; a stdio server cannot, so hub has to.

use crate::Fake;
use crate::tools::{self, Call, Outcome};
use crate::wire::{Cancelled, Request, code};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

struct Task {
    status: &'static str,
    outcome: Option<Result<Value, Value>>,
    cancelled: Arc<Cancelled>,
    /// `tasks/result` requests that wait: a dialog of the task needs one to travel on.
    waiting: usize,
    /// What the task asks now (modern), by a key that is used once.
    requests: Map<String, Value>,
    /// What `tasks/update` brought for them.
    responses: Map<String, Value>,
    asked: usize,
}

/// The table.
#[derive(Default)]
pub struct Tasks {
    all: Mutex<BTreeMap<String, Task>>,
    changed: Condvar,
    next: AtomicU64,
}

impl Task {
    fn is_over(&self) -> bool {
        matches!(self.status, "completed" | "failed" | "cancelled")
    }

    fn object(&self, id: &str) -> Value {
        let at = "2026-01-01T00:00:00Z";
        json!({"taskId": id, "status": self.status, "createdAt": at, "lastUpdatedAt": at, "ttl": 600_000, "pollInterval": 50})
    }

    /// The form of the extension: everything in one object.
    fn detailed(&self, id: &str) -> Value {
        let at = "2026-01-01T00:00:00Z";
        let mut object = json!({"taskId": id, "status": self.status, "createdAt": at, "lastUpdatedAt": at,
            "ttlMs": 600_000, "pollIntervalMs": 50});
        match &self.outcome {
            Some(Ok(result)) => object["result"] = result.clone(),
            Some(Err(error)) => object["error"] = error.clone(),
            None if self.status == "input_required" => object["inputRequests"] = json!(self.requests),
            None => {}
        }
        object
    }
}

impl Tasks {
    /// The task asks its owner something; waits until a `tasks/result` is open.
    pub fn needs_input(&self, fake: &Fake, id: &str) {
        self.set(fake, id, "input_required", None);
        let all = self.all.lock().expect("never poisoned");
        let nobody_waits =
            |all: &mut BTreeMap<String, Task>| all.get(id).is_some_and(|task| task.waiting == 0 && !task.is_over());
        drop(self.changed.wait_while(all, nobody_waits).expect("never poisoned"));
    }

    /// The task has its answer.
    pub fn goes_on(&self, fake: &Fake, id: &str) {
        self.set(fake, id, "working", None);
    }

    fn set(&self, fake: &Fake, id: &str, status: &'static str, outcome: Option<Result<Value, Value>>) {
        let mut all = self.all.lock().expect("never poisoned");
        let Some(task) = all.get_mut(id).filter(|task| !task.is_over()) else { return };
        task.status = status;
        task.outcome = outcome;
        let (object, detailed) = (task.object(id), task.detailed(id));
        drop(all);
        self.changed.notify_all();
        if fake.speaks_modern() {
            fake.task_changed(id, &detailed);
        } else {
            fake.wire.notify("notifications/tasks/status", &object);
        }
    }

    /// Asks through the task (modern) and waits for `tasks/update`; `None` when the task ends meanwhile.
    pub fn ask(&self, fake: &Fake, id: &str, request: &Value) -> Option<Value> {
        let mut all = self.all.lock().expect("never poisoned");
        let task = all.get_mut(id)?;
        task.asked += 1;
        let key = format!("t{}", task.asked);
        task.requests.insert(key.clone(), request.clone());
        drop(all);
        self.set(fake, id, "input_required", None);
        let all = self.all.lock().expect("never poisoned");
        let waits = |all: &mut BTreeMap<String, Task>| {
            all.get(id).is_some_and(|task| !task.responses.contains_key(&key) && !task.is_over())
        };
        let mut all = self.changed.wait_while(all, waits).expect("never poisoned");
        let task = all.get_mut(id)?;
        task.requests.remove(&key);
        let answer = task.responses.remove(&key);
        drop(all);
        self.set(fake, id, "working", None);
        answer
    }
}

/// Starts a call as a task and answers with the task.
pub fn create(fake: &Arc<Fake>, request: &Request, mut call: Call, run: fn(&Arc<Fake>, &Call) -> Outcome) {
    let number = fake.tasks.next.fetch_add(1, Ordering::SeqCst);
    let id = format!("task-{}-{number}", std::process::id());
    // `notifications/cancelled` does not reach a task: it has a flag of its own.
    call.cancelled = Arc::default();
    let task = Task {
        status: "working",
        outcome: None,
        cancelled: Arc::clone(&call.cancelled),
        waiting: 0,
        requests: Map::new(),
        responses: Map::new(),
        asked: 0,
    };
    let mut created = json!({"task": task.object(&id)});
    if fake.speaks_modern() {
        created = task.detailed(&id);
        created["resultType"] = json!("task");
    }
    fake.tasks.all.lock().expect("never poisoned").insert(id.clone(), task);
    fake.wire.answer(&request.id, &created);
    call.task = Some(id.clone());
    let fake = Arc::clone(fake);
    std::thread::spawn(move || {
        let outcome = run(&fake, &call);
        match tools::settled(&call, outcome) {
            None => fake.tasks.set(&fake, &id, "cancelled", None),
            // An error that a tool reports is a completed task there, a failed one here.
            Some(Ok(mut result)) if fake.speaks_modern() => {
                result["resultType"] = json!("complete");
                fake.tasks.set(&fake, &id, "completed", Some(Ok(result)));
            }
            Some(Ok(mut result)) => {
                result["_meta"] = json!({"io.modelcontextprotocol/related-task": {"taskId": id}});
                let status = if result["isError"] == true { "failed" } else { "completed" };
                fake.tasks.set(&fake, &id, status, Some(Ok(result)));
            }
            Some(Err(error)) => fake.tasks.set(&fake, &id, "failed", Some(Err(error))),
        }
    });
}

/// `tasks/*`.
pub fn request(fake: &Arc<Fake>, request: Request) {
    if request.method == "tasks/list" {
        let all = fake.tasks.all.lock().expect("never poisoned");
        let objects: Vec<Value> = all.iter().map(|(id, task)| task.object(id)).collect();
        drop(all);
        return fake.wire.answer(&request.id, &json!({"tasks": objects}));
    }
    let id = request.text("taskId").unwrap_or_default();
    let all = fake.tasks.all.lock().expect("never poisoned");
    let Some(task) = all.get(&id) else {
        drop(all);
        return fake.wire.fail(&request.id, code::INVALID_PARAMS, "Task not found");
    };
    let (object, over, cancelled) = (task.object(&id), task.is_over(), Arc::clone(&task.cancelled));
    drop(all);
    match request.method.as_str() {
        "tasks/get" => fake.wire.answer(&request.id, &object),
        "tasks/cancel" if over => fake.wire.fail(&request.id, code::INVALID_PARAMS, "Task is over"),
        "tasks/cancel" => {
            cancelled.set();
            fake.tasks.set(fake, &id, "cancelled", None);
            let mut object = object;
            object["status"] = json!("cancelled");
            fake.wire.answer(&request.id, &object);
        }
        "tasks/result" => {
            let fake = Arc::clone(fake);
            std::thread::spawn(move || result(&fake, &request, &id));
        }
        _ => fake.wire.fail(&request.id, code::METHOD_NOT_FOUND, "Method not found"),
    }
}

/// `tasks/get`, `tasks/update` and `tasks/cancel` of the extension.
pub fn modern(fake: &Arc<Fake>, request: &Request) {
    let id = request.text("taskId").unwrap_or_default();
    let mut all = fake.tasks.all.lock().expect("never poisoned");
    let Some(task) = all.get_mut(&id) else {
        drop(all);
        return fake.wire.fail(&request.id, code::INVALID_PARAMS, "Task not found");
    };
    let mut answer = json!({});
    match request.method.as_str() {
        "tasks/get" => answer = task.detailed(&id),
        "tasks/update" => {
            for (key, response) in request.params["inputResponses"].as_object().into_iter().flatten() {
                if task.requests.contains_key(key) {
                    task.responses.insert(key.clone(), response.clone());
                }
            }
        }
        _ => task.cancelled.set(),
    }
    let cancels = request.method == "tasks/cancel";
    drop(all);
    if cancels {
        fake.tasks.set(fake, &id, "cancelled", None);
    }
    fake.tasks.changed.notify_all();
    answer["resultType"] = json!("complete");
    fake.wire.answer(&request.id, &answer);
}

fn result(fake: &Fake, request: &Request, id: &str) {
    let cancelled = fake.wire.begin(&request.id);
    let mut all = fake.tasks.all.lock().expect("never poisoned");
    if let Some(task) = all.get_mut(id) {
        task.waiting += 1;
    }
    fake.tasks.changed.notify_all();
    let unfinished = |all: &mut BTreeMap<String, Task>| all.get(id).is_some_and(|task| !task.is_over());
    let mut all = fake.tasks.changed.wait_while(all, unfinished).expect("never poisoned");
    let Some(task) = all.get_mut(id) else { return };
    task.waiting -= 1;
    let outcome = task.outcome.clone();
    drop(all);
    match outcome {
        _ if cancelled.is_set() => {}
        Some(Ok(result)) => fake.wire.answer(&request.id, &result),
        Some(Err(error)) => fake.wire.refuse(&request.id, &error),
        None => fake.wire.fail(&request.id, code::INTERNAL, "Task was cancelled"),
    }
}

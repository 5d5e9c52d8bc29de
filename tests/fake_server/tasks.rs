//! Tasks of revision 2025-11-25: a tool call that answers at once and is asked for its result later.
//!
//! In: calls with `params.task`, `tasks/*`. Out: task objects, results, `notifications/tasks/status`. Owns the table.
//! May not: tell owners apart; a stdio server cannot, so hub has to.

use crate::Fake;
use crate::tools::{self, Call, Outcome};
use crate::wire::{Cancelled, Request, code};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

struct Task {
    status: &'static str,
    outcome: Option<Result<Value, Value>>,
    cancelled: Arc<Cancelled>,
    /// `tasks/result` requests that wait: a dialog of the task needs one to travel on.
    waiting: usize,
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
        let object = task.object(id);
        drop(all);
        self.changed.notify_all();
        fake.wire.notify("notifications/tasks/status", &object);
    }
}

/// Starts a call as a task and answers with the task.
pub fn create(fake: &Arc<Fake>, request: &Request, mut call: Call, run: fn(&Arc<Fake>, &Call) -> Outcome) {
    let number = fake.tasks.next.fetch_add(1, Ordering::SeqCst);
    let id = format!("task-{}-{number}", std::process::id());
    // `notifications/cancelled` does not reach a task: it has a flag of its own.
    call.cancelled = Arc::default();
    let task = Task { status: "working", outcome: None, cancelled: Arc::clone(&call.cancelled), waiting: 0 };
    let object = task.object(&id);
    fake.tasks.all.lock().expect("never poisoned").insert(id.clone(), task);
    fake.wire.answer(&request.id, &json!({"task": object}));
    call.task = Some(id.clone());
    let fake = Arc::clone(fake);
    std::thread::spawn(move || {
        let outcome = run(&fake, &call);
        match tools::settled(&call, outcome) {
            None => fake.tasks.set(&fake, &id, "cancelled", None),
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

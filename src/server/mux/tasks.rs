//! Who owns which task of a child (2025-11-25, basic/utilities/tasks; PROTOCOL 1.12).
//!
//! In: results that create tasks, statuses that end them. Out: owners. Owns the table. May not: let one caller see
//! another's task.

use std::collections::HashMap;
use std::time::Duration;

use super::super::outlet::CallerId;
use crate::limits::{TASK_AFTER_END, TASKS_PER_INSTANCE_MAX};
use crate::mcp::splice::{Object, array};
use crate::mcp::{Raw, WireId, message, scan};

#[derive(Debug)]
struct Task {
    owner: CallerId,
    created: Duration,
    /// The child forgets it this long after its creation; `None`: it did not say.
    ttl: Option<Duration>,
    ended: Option<Duration>,
    /// The call that created it, and the client's progress token: progress goes on after the creating call's answer.
    progress: Option<(WireId, Raw)>,
}

/// All tasks of one child.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    by_id: HashMap<String, Task>,
    by_wire: HashMap<WireId, String>,
}

fn status_ended(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "cancelled")
}

fn ttl(task: &Object) -> Option<Duration> {
    let text = task.get("ttl").or_else(|| task.get("ttlMs"))?;
    std::str::from_utf8(&text).ok()?.parse().ok().map(Duration::from_millis)
}

impl Task {
    fn is_over(&self, now: Duration) -> bool {
        let expires = self.ttl.map(|ttl| self.created.saturating_add(ttl));
        let forgotten = self.ended.map(|ended| ended + TASK_AFTER_END);
        expires.into_iter().chain(forgotten).any(|at| at <= now)
    }
}

impl Tasks {
    /// Notes the task that a `tools/call` result created, if it did.
    pub(super) fn created(&mut self, owner: CallerId, wire: WireId, token: Option<Raw>, result: &Raw, now: Duration) {
        if memchr::memmem::find(result, b"taskId").is_none() {
            return;
        }
        let Some(result) = Object::scan(result) else { return };
        // In the modern era the result itself is the task (SEP-2663).
        let task =
            if owner == CallerId::MODERN { Some(result) } else { result.get("task").and_then(|t| Object::scan(&t)) };
        let Some(task) = task else { return };
        let Some(id) = task.get_str("taskId") else { return };
        if self.by_id.len() >= TASKS_PER_INSTANCE_MAX {
            self.by_id.retain(|_, task| task.ended.is_none());
        }
        if self.by_id.len() >= TASKS_PER_INSTANCE_MAX {
            return;
        }
        // A slice would keep the whole request alive for as long as the task.
        let progress = token.map(|token| (wire, Raw::copy_from_slice(&token)));
        if progress.is_some() {
            self.by_wire.insert(wire, id.clone());
        }
        self.by_id.insert(id, Task { owner, created: now, ttl: ttl(&task), ended: None, progress });
        self.note(&task, now);
    }

    /// Who owns a task.
    pub(super) fn owner(&self, id: &str) -> Option<CallerId> {
        self.by_id.get(id).map(|task| task.owner)
    }

    /// What a child says of a task: its id, its status, how long it is kept.
    pub(super) fn note(&mut self, said: &Object, now: Duration) {
        let Some(id) = said.get_str("taskId") else { return };
        if let Some(task) = self.by_id.get_mut(&id)
            && said.get("ttl").is_some()
        {
            task.ttl = ttl(said);
        }
        if let Some(status) = said.get_str("status") {
            self.status(&id, &status, now);
        }
    }

    /// Notes the end, if it is one.
    pub(super) fn status(&mut self, id: &str, status: &str, now: Duration) {
        let Some(task) = self.by_id.get_mut(id) else { return };
        if status_ended(status) && task.ended.is_none() {
            task.ended = Some(now);
            if let Some((wire, _)) = task.progress.take() {
                self.by_wire.remove(&wire);
            }
        }
    }

    /// The owner and its token, for progress that follows the creating call's answer.
    pub(super) fn progress(&self, wire: WireId) -> Option<(CallerId, &Raw)> {
        let task = self.by_id.get(self.by_wire.get(&wire)?)?;
        task.progress.as_ref().map(|(_, token)| (task.owner, token))
    }

    /// Forgets what ended long ago, and what the child has forgotten.
    pub(super) fn sweep(&mut self, now: Duration) {
        let by_wire = &mut self.by_wire;
        self.by_id.retain(|_, task| {
            let over = task.is_over(now);
            if let Some((wire, _)) = task.progress.as_ref().filter(|_| over) {
                by_wire.remove(wire);
            }
            !over
        });
    }

    /// Forgets a caller; gives back its tasks that still run, to be cancelled.
    pub(super) fn forget(&mut self, caller: CallerId) -> Vec<String> {
        let gone: Vec<(String, Task)> = self.by_id.extract_if(|_, task| task.owner == caller).collect();
        for (_, task) in &gone {
            if let Some((wire, _)) = &task.progress {
                self.by_wire.remove(wire);
            }
        }
        gone.into_iter().filter(|(_, task)| task.ended.is_none()).map(|(id, _)| id).collect()
    }

    /// The child is gone, and its tasks with it.
    pub(super) fn clear(&mut self) {
        self.by_id.clear();
        self.by_wire.clear();
    }

    /// `tasks/list` of a shared child lists everybody's: only the caller's own stay, `nextCursor` too.
    pub(super) fn only_own(&self, caller: CallerId, result: &Raw) -> Option<Raw> {
        let object = Object::scan(result)?;
        let tasks = object.get("tasks")?;
        if tasks.first() != Some(&b'[') || scan::text(&tasks).is_err() {
            return None;
        }
        let own = |task: &Raw| {
            let id = Object::scan(task).and_then(|task| task.get_str("taskId"));
            id.is_some_and(|id| self.owner(&id) == Some(caller))
        };
        let kept: Vec<Raw> = message::elements(&tasks).filter(own).collect();
        Some(object.edit(&[("tasks", Some(&array(&kept)))]))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn only_the_owner_sees_a_task() {
        let (a, b) = (CallerId(1), CallerId(2));
        let mut tasks = Tasks::default();
        tasks.created(
            a,
            WireId(5),
            Some(Bytes::from_static(b"\"tok\"")),
            &Bytes::from_static(br#"{"task":{"taskId":"x","status":"working"}}"#),
            Duration::ZERO,
        );
        tasks.created(b, WireId(6), None, &Bytes::from_static(br#"{"task":{"taskId":"y"}}"#), Duration::ZERO);
        assert_eq!((tasks.owner("x"), tasks.owner("y"), tasks.owner("z")), (Some(a), Some(b), None));
        let all = Bytes::from_static(br#"{"tasks":[{"taskId":"x"},{"taskId":"y"},{"taskId":"z"}],"nextCursor":"c"}"#);
        assert_eq!(tasks.only_own(b, &all).expect("a list"), r#"{"tasks":[{"taskId":"y"}],"nextCursor":"c"}"#);
        assert_eq!(tasks.progress(WireId(5)).expect("mapped").0, a);
        tasks.status("x", "completed", Duration::ZERO);
        assert_eq!(tasks.progress(WireId(5)), None);
        assert_eq!(tasks.forget(b), ["y"]);
        tasks.sweep(TASK_AFTER_END);
        assert_eq!(tasks.len(), 0);
    }

    #[test]
    fn a_task_lives_as_long_as_the_child_says() {
        let t = Duration::from_secs(5);
        let mut tasks = Tasks::default();
        let mut create = |id: &str, rest: &str| {
            let result = format!(r#"{{"task":{{"taskId":"{id}"{rest}}}}}"#);
            tasks.created(CallerId(1), WireId(7), Some(Bytes::from_static(b"1")), &result.into(), t);
        };
        create("short", r#","status":"working","ttl":2000"#);
        create("never", r#","status":"working","ttl":null"#);
        create("ended", r#","status":"failed","ttl":18446744073709551615"#);
        create("said", r#","ttl":2000"#);
        tasks.note(&Object::scan(&Bytes::from_static(br#"{"taskId":"said","ttl":60000}"#)).expect("object"), t);
        tasks.sweep(t + Duration::from_secs(2));
        assert_eq!(tasks.owner("short"), None);
        assert_eq!(tasks.len(), 3);
        tasks.sweep(t + Duration::from_secs(60));
        assert_eq!((tasks.owner("said"), tasks.len()), (None, 2));
        tasks.sweep(t + TASK_AFTER_END);
        assert_eq!((tasks.owner("ended"), tasks.owner("never")), (None, Some(CallerId(1))));
        assert!(tasks.by_wire.len() <= 1);
    }
}

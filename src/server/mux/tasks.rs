//! Who owns which task of a child (2025-11-25, basic/utilities/tasks; PROTOCOL 1.12).
//!
//! In: results that create tasks, statuses that end them. Out: owners. Owns the table. May not: let one caller see
//! another's task.

use std::collections::HashMap;
use std::time::Duration;

use super::super::outlet::CallerId;
use crate::mcp::splice::Object;
use crate::mcp::{Raw, WireId, message, scan};

/// A task is remembered this long after it ended, so that its result can still be fetched.
const AFTER_END: Duration = Duration::from_secs(600);
/// Tasks remembered per instance; the oldest ended one goes first.
const TASKS_MAX: usize = 10_000;

#[derive(Debug)]
struct Task {
    owner: CallerId,
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

impl Tasks {
    /// Notes the task that a `tools/call` result created, if it did.
    pub(super) fn created(&mut self, owner: CallerId, wire: WireId, token: Option<Raw>, result: &Raw) {
        if memchr::memmem::find(result, b"taskId").is_none() {
            return;
        }
        let task = Object::scan(result).and_then(|result| Object::scan(&result.get("task")?));
        let Some(id) = task.as_ref().and_then(|task| task.get_str("taskId")) else { return };
        if self.by_id.len() >= TASKS_MAX {
            self.by_id.retain(|_, task| task.ended.is_none());
        }
        if self.by_id.len() >= TASKS_MAX {
            return;
        }
        let progress = token.map(|token| (wire, token));
        if progress.is_some() {
            self.by_wire.insert(wire, id.clone());
        }
        self.by_id.insert(id, Task { owner, ended: None, progress });
    }

    /// Who owns a task.
    pub(super) fn owner(&self, id: &str) -> Option<CallerId> {
        self.by_id.get(id).map(|task| task.owner)
    }

    /// A status notification or answer: notes the end.
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

    /// Forgets what ended long ago.
    pub(super) fn sweep(&mut self, now: Duration) {
        self.by_id.retain(|_, task| task.ended.is_none_or(|ended| ended + AFTER_END > now));
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
        let array = [&b"["[..], &kept.join(&b","[..]), b"]"].concat();
        Some(object.edit(&[("tasks", Some(&array))]))
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
        );
        tasks.created(b, WireId(6), None, &Bytes::from_static(br#"{"task":{"taskId":"y"}}"#));
        assert_eq!((tasks.owner("x"), tasks.owner("y"), tasks.owner("z")), (Some(a), Some(b), None));
        let all = Bytes::from_static(br#"{"tasks":[{"taskId":"x"},{"taskId":"y"},{"taskId":"z"}],"nextCursor":"c"}"#);
        assert_eq!(tasks.only_own(b, &all).expect("a list"), r#"{"tasks":[{"taskId":"y"}],"nextCursor":"c"}"#);
        assert_eq!(tasks.progress(WireId(5)).expect("mapped").0, a);
        tasks.status("x", "completed", Duration::ZERO);
        assert_eq!(tasks.progress(WireId(5)), None);
        assert_eq!(tasks.forget(b), ["y"]);
        tasks.sweep(AFTER_END + Duration::from_secs(1));
        assert_eq!(tasks.len(), 0);
    }
}

//! Named tasks that are always joined; a panic is reported, not lost.
//!
//! In: futures. Out: running tasks. Each [`Scope`] is owned by whoever must not end before its tasks do. May not: know
//! what a task is for.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A group of tasks with one stop signal.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Scope {
    /// An empty scope.
    pub fn new() -> Self {
        Self::default()
    }

    /// A scope whose stop signal also fires when this one's does.
    pub fn child(&self) -> Self {
        Self { tracker: TaskTracker::new(), stop: self.stop.child_token() }
    }

    /// The signal that tasks of this scope watch.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Starts a task. A panic in it is logged as a bug and ends only that task.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        let inner = tokio::spawn(task);
        self.tracker.spawn(async move {
            match inner.await {
                Ok(output) => Some(output),
                Err(error) => {
                    if error.is_panic() {
                        tracing::error!(task = name, "a task panicked: this is a bug in hub, please report it");
                    }
                    None
                }
            }
        })
    }

    /// Signals stop and waits for all tasks, at most `patience`. Returns whether all ended.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.stop.cancel();
        self.join(patience).await
    }

    /// Waits for all tasks without a signal, at most `patience`. Returns whether all ended.
    pub async fn join(&self, patience: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_one_task_only() {
        let scope = Scope::new();
        let bad = scope.spawn("bad", async { assert_eq!(1, 2, "meant to fail") });
        let good = scope.spawn("good", async { 7 });
        assert_eq!(bad.await.expect("joined"), None);
        assert_eq!(good.await.expect("joined"), Some(7));
        assert!(scope.stop(Duration::from_secs(1)).await);
    }
}

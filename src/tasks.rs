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

    /// Starts a task. A panic in it is logged as a bug and ends only that task (the handle then gives an error).
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let notice = PanicNotice(name);
        let watched = async move {
            let _notice = notice;
            task.await
        };
        self.tracker.spawn(watched)
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

/// Dropped while its task unwinds, it says so in the log.
struct PanicNotice(&'static str);

impl Drop for PanicNotice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.0, "a task panicked: this is a bug in hub, please report it");
        }
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
        assert!(bad.await.is_err());
        assert_eq!(good.await.expect("joined"), 7);
        assert!(scope.stop(Duration::from_secs(1)).await);
    }
}

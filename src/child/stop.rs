//! The stop sequence as a small state machine: stdin closed, grace, TERM, grace, KILL, grace, give up.
//!
//! In: "begin", "hurry", time. Out: what to do next. Owns its stage and timer. May not: signal anybody itself.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::limits;

/// What the owner must do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// TERM to everybody.
    Terminate,
    /// KILL to everybody.
    Kill,
    /// The process hangs in the kernel; leave it.
    GiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Idle,
    Closing,
    Terminating,
    Killing,
    GivenUp,
}

/// The sequence of one child. Begun once; hurrying is possible, going back is not.
#[derive(Debug)]
pub(super) struct Stop {
    stage: Stage,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Idle, timer: None }
    }

    /// Stdin was closed: from now on the clock runs.
    pub(super) fn begin(&mut self) {
        if self.stage == Stage::Idle {
            self.enter(Stage::Closing, limits::STOP_STDIN_GRACE);
        }
    }

    /// The next act is to kill, and it is due now.
    pub(super) fn skip_to_kill(&mut self) {
        if self.stage < Stage::Killing {
            self.enter(Stage::Terminating, Duration::ZERO);
        }
    }

    /// The next act, when it is due.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Act> {
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(match self.stage {
            Stage::Idle | Stage::Closing => {
                self.enter(Stage::Terminating, limits::STOP_TERM_GRACE);
                Act::Terminate
            }
            Stage::Terminating => {
                self.enter(Stage::Killing, limits::STOP_KILL_GRACE);
                Act::Kill
            }
            Stage::Killing | Stage::GivenUp => {
                self.stage = Stage::GivenUp;
                self.timer = None;
                Act::GiveUp
            }
        })
    }

    fn enter(&mut self, stage: Stage, grace: Duration) {
        self.stage = stage;
        self.timer = Some(Box::pin(sleep(grace)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    async fn next(stop: &mut Stop) -> Act {
        std::future::poll_fn(|cx| stop.poll(cx)).await
    }

    #[tokio::test(start_paused = true)]
    async fn escalates_with_a_grace_at_each_step() {
        let (mut stop, began) = (Stop::new(), Instant::now());
        stop.begin();
        assert_eq!(next(&mut stop).await, Act::Terminate);
        assert_eq!(began.elapsed().as_secs(), limits::STOP_STDIN_GRACE.as_secs());
        stop.begin();
        assert_eq!(next(&mut stop).await, Act::Kill);
        let until_kill = limits::STOP_STDIN_GRACE + limits::STOP_TERM_GRACE;
        assert_eq!(began.elapsed().as_secs(), until_kill.as_secs());
        assert_eq!(next(&mut stop).await, Act::GiveUp);
        assert_eq!(began.elapsed().as_secs(), (until_kill + limits::STOP_KILL_GRACE).as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn hurry_kills_at_once_and_only_once() {
        let (mut stop, began) = (Stop::new(), Instant::now());
        stop.begin();
        stop.skip_to_kill();
        assert_eq!(next(&mut stop).await, Act::Kill);
        assert!(began.elapsed() < Duration::from_millis(10));
        stop.skip_to_kill();
        assert_eq!(next(&mut stop).await, Act::GiveUp);
    }

    #[tokio::test(start_paused = true)]
    async fn does_nothing_before_it_begins() {
        let mut stop = Stop::new();
        let waited = tokio::time::timeout(Duration::from_hours(1), next(&mut stop)).await;
        assert!(waited.is_err());
    }
}

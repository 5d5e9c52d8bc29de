//! Gives memory back to the system after a peak.
//!
//! In: time. Out: a smaller hub. The task owns what it saw last. May not: do so often, or on the thread that serves.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::limits::{MEMORY_LOOK_EVERY, MEMORY_RELIEF_PAUSE, MEMORY_SLACK_BYTES_MAX};
use crate::platform::memory;

/// What the allocator keeps anyway, and when it was last told to give something back.
#[derive(Debug, Default)]
struct Relief {
    floor: Option<usize>,
    last: Option<Duration>,
}

impl Relief {
    /// Is it time? `slack` is what the allocator keeps `now`.
    fn is_due(&mut self, slack: usize, now: Duration) -> bool {
        let floor = *self.floor.get_or_insert(slack);
        self.floor = Some(floor.min(slack));
        slack > floor.saturating_add(MEMORY_SLACK_BYTES_MAX)
            && self.last.is_none_or(|last| now.saturating_sub(last) >= MEMORY_RELIEF_PAUSE)
    }

    fn done(&mut self, slack: usize, now: Duration) {
        (self.floor, self.last) = (Some(slack), Some(now));
    }
}

/// Looks now and then until `stop`.
pub(super) async fn keep_small(stop: CancellationToken) {
    let (mut relief, begun) = (Relief::default(), Instant::now());
    let mut looks = interval(MEMORY_LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let looked = tokio::task::spawn_blocking(move || {
            let slack = memory::slack()?;
            let now = begun.elapsed();
            if relief.is_due(slack, now) {
                memory::give_back();
                relief.done(memory::slack()?, now);
                tracing::debug!(took = ?begun.elapsed().saturating_sub(now), "gave memory back after a peak");
            }
            Some(relief)
        });
        match looked.await {
            Ok(Some(back)) => relief = back,
            // This allocator cannot be asked.
            Ok(None) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_after_a_peak_and_not_often() {
        let mut relief = Relief::default();
        let (base, peak) = (10 << 20, (11 << 20) + MEMORY_SLACK_BYTES_MAX);
        assert!(!relief.is_due(base, SECOND), "the first look only learns");
        assert!(!relief.is_due(base + MEMORY_SLACK_BYTES_MAX, 2 * SECOND));
        assert!(relief.is_due(peak, 3 * SECOND));
        relief.done(base, 3 * SECOND);
        assert!(!relief.is_due(peak, 4 * SECOND), "not so soon");
        assert!(relief.is_due(peak, 3 * SECOND + MEMORY_RELIEF_PAUSE));
        // What cannot be given back is not tried again and again.
        relief.done(peak, 3 * SECOND + MEMORY_RELIEF_PAUSE);
        assert!(!relief.is_due(peak, 9 * MEMORY_RELIEF_PAUSE));
        assert!(!relief.is_due(base, 10 * MEMORY_RELIEF_PAUSE), "it became smaller by itself");
        assert!(relief.is_due(peak, 11 * MEMORY_RELIEF_PAUSE));
    }
}

//! The supervisor's signs of life towards the service manager.
//!
//! In: time, the servers. Out: `WATCHDOG=1` twice in the time that the manager allows, and a line of status when it
//! changes. Owns the line that was told last. May not: have a task of its own, which would go on while the supervisor is
//! stuck.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::limits::{MANAGER_BEAT_MIN, MANAGER_STATUS_EVERY};
use crate::platform::notify;
use crate::server::{Registry, State};

/// See the module.
#[derive(Debug)]
pub(super) struct Beats {
    interval: Option<Interval>,
    watchdog: bool,
    told: String,
}

impl Beats {
    pub(super) fn new() -> Self {
        let watchdog = notify::watchdog();
        let interval = notify::is_listened_to().then(|| {
            let mut interval = interval(pause(watchdog));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        Self { interval, watchdog: watchdog.is_some(), told: String::new() }
    }

    /// When the next one is due; never without a service manager. Cancel safe.
    pub(super) async fn next(&mut self) {
        match &mut self.interval {
            Some(interval) => drop(interval.tick().await),
            None => std::future::pending().await,
        }
    }

    pub(super) fn send(&mut self, servers: &Registry) {
        if self.watchdog {
            notify::alive();
        }
        let line = status(servers);
        if line != self.told {
            notify::status(&line);
            self.told = line;
        }
    }
}

/// Twice in the time that the manager allows, as sd_watchdog_enabled(3) advises; but no value makes hub spin.
fn pause(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(MANAGER_STATUS_EVERY, |time| (time / 2).clamp(MANAGER_BEAT_MIN, MANAGER_STATUS_EVERY))
}

/// How the servers are, in one line.
fn status(servers: &Registry) -> String {
    let count = |state: State| servers.servers().iter().filter(|server| server.state() == state).count();
    let all = servers.servers().len();
    let mut line = format!("{} of {all} servers ready", count(State::Ready));
    for state in [State::Starting, State::Backoff, State::Failed, State::Disabled] {
        let count = count(state);
        if count > 0 {
            // Writing to a string cannot fail.
            write!(line, ", {count} {}", state.as_str()).ok();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_that_a_manager_allows_makes_hub_spin() {
        assert_eq!(pause(None), MANAGER_STATUS_EVERY);
        assert_eq!(pause(Some(Duration::from_millis(600))), Duration::from_millis(300));
        assert_eq!(pause(Some(Duration::from_hours(1))), MANAGER_STATUS_EVERY);
        for tiny in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(1), MANAGER_BEAT_MIN] {
            assert_eq!(pause(Some(tiny)), MANAGER_BEAT_MIN, "{tiny:?}");
        }
    }
}

//! The supervisor's signs of life towards the service manager.
//!
//! In: time, the servers. Out: `WATCHDOG=1` twice in the time that the manager allows, and a line of status when it
//! changes. Owns the line that was told last. May not: have a task of its own, which would go on while the supervisor is
//! stuck.

use std::fmt::Write as _;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::limits::MANAGER_STATUS_EVERY;
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
            let every = watchdog.map_or(MANAGER_STATUS_EVERY, |time| MANAGER_STATUS_EVERY.min(time / 2));
            let mut interval = interval(every);
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

//! What a reload did, in sentences for a person.
//!
//! In: steps of a plan. Out: lines. Owns nothing. May not: show values, which may be secrets.

use crate::config::{HubChange, Step};

/// One line for a step; none for what nobody needs to know.
pub(super) fn step(step: &Step) -> Option<String> {
    Some(match step {
        Step::Add(entry) => format!("added {}", entry.name),
        Step::Remove(name) => format!("removed {name}"),
        Step::Change(entry, changed) => {
            let keys = if changed.keys.is_empty() { String::new() } else { format!(" ({})", changed.keys.join(", ")) };
            let restart = if changed.restart { "; its process restarts" } else { "" };
            format!("changed {}{keys}{restart}", entry.name)
        }
        Step::Reorder(_) => return None,
    })
}

/// Keys of `[hub]` that a running daemon can take.
const LIVE: [&str; 8] = [
    "log",
    "body_max",
    "allowed_hosts",
    "allowed_origins",
    "first_port",
    "session_expiry",
    "sessions_max",
    "replay_ttl",
];

/// Lines for a change of `[hub]`.
pub(super) fn hub(change: &HubChange) -> Vec<String> {
    let (live, later): (Vec<&str>, Vec<&str>) = change.keys.iter().copied().partition(|key| LIVE.contains(key));
    let mut lines = Vec::new();
    if !live.is_empty() {
        lines.push(format!("changed [hub] {}", live.join(", ")));
    }
    if !later.is_empty() {
        lines.push(format!("[hub] {} takes effect when hub is started again", later.join(", ")));
    }
    lines
}

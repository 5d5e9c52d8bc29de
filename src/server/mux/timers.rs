//! What the mux wants to be woken for.
//!
//! In: times and what they are for. Out: the next deadline, and what is due. Owns the set. May not: read a clock.
//!
//! An entry may be stale when it is due (the call ended long ago): whoever takes it checks. Stale entries are thrown
//! out when they are most of all, so there never are many more than of what is live.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::outlet::{AskId, CallId};
use crate::mcp::{ListKind, WireId};

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A held ask is refused.
    Hold(AskId),
    /// A relayed ask was not answered.
    Ask(AskId),
    /// An answer has waited for the baton long enough.
    Answer(AskId),
    /// Something that only needs a look: a collect window or a ghost ended.
    Look,
    /// A call that polls is sent again.
    Again(CallId),
    /// A listen that the child ended may be opened again.
    Listen,
    /// A listen was not acknowledged.
    Acknowledge(WireId),
    /// A cancelled call is forgotten.
    Tomb(WireId),
    /// A call was silent for `request_timeout`.
    Call(CallId),
    /// `list_changed` goes out.
    Changed(ListKind),
    /// The last unsubscribe of a URI goes out.
    Unsubscribe(String),
    /// A less verbose level goes out.
    Level,
    /// Tasks and elicitations that are over are forgotten.
    Forget,
}

/// Deadlines, earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// A set: what is armed twice for one moment is one entry.
    entries: BTreeSet<(Duration, Timer)>,
}

impl Timers {
    pub(super) fn arm(&mut self, at: Duration, timer: Timer) {
        self.entries.insert((at, timer));
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.entries.first().map(|(at, _)| *at)
    }

    /// The next timer that is due at `now`.
    pub(super) fn due(&mut self, now: Duration) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.entries.pop_first().map(|(_, timer)| timer)
    }

    /// Are there so many more entries than `live` things that most are stale?
    pub(super) fn is_bloated(&self, live: usize) -> bool {
        self.entries.len() > 4 * live + 256
    }

    /// Throws out what is not live.
    pub(super) fn retain(&mut self, is_live: impl Fn(Duration, &Timer) -> bool) {
        self.entries.retain(|(at, timer)| is_live(*at, timer));
    }
}

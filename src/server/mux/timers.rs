//! What the mux wants to be woken for.
//!
//! In: times and what they are for. Out: the next deadline, and what is due. Owns the heap. May not: read a clock.
//!
//! An entry may be stale when it is due (the call ended long ago): whoever takes it checks. Stale entries are thrown
//! out when they are most of the heap, so it stays within a small factor of what is live.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
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
}

/// Deadlines, earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Duration, Timer)>>,
}

impl Timers {
    pub(super) fn arm(&mut self, at: Duration, timer: Timer) {
        self.heap.push(Reverse((at, timer)));
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next timer that is due at `now`.
    pub(super) fn due(&mut self, now: Duration) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, timer))| timer)
    }

    /// Throws stale entries out when there are many more entries than `live` things.
    pub(super) fn compact(&mut self, live: usize, is_live: impl Fn(&Timer) -> bool) {
        if self.heap.len() > 4 * live + 256 {
            self.heap.retain(|Reverse((_, timer))| is_live(timer));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

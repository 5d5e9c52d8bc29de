//! The logging level of one child, merged from all its callers (PROTOCOL 1.7).
//!
//! In: what each caller set. Out: the level that the child should have, and when to send it. Owns the levels. May not:
//! send anything itself.

use std::time::Duration;

use super::super::id_map::IdMap;
use super::super::outlet::CallerId;
use crate::limits::LEVEL_LOWER_DEBOUNCE;
use crate::mcp::meta::Level;

/// What a session that never called `logging/setLevel` gets, and what a child is taken to send by itself.
pub(super) const BASELINE: Level = Level::Info;

/// What to do about the child's level.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    Send(Level),
    /// Less verbose than before: look again at that time.
    Later(Duration),
}

/// Levels of all callers of one child.
#[derive(Debug, Default)]
pub(super) struct Levels {
    callers: IdMap<CallerId, Option<Level>>,
    /// What the child was last told; `None`: nothing yet.
    told: Option<Level>,
    lower_at: Option<Duration>,
}

impl Levels {
    pub(super) fn open(&mut self, caller: CallerId, level: Option<Level>) {
        self.callers.insert(caller, level);
    }

    pub(super) fn close(&mut self, caller: CallerId) {
        self.callers.remove(&caller);
    }

    pub(super) fn set(&mut self, caller: CallerId, level: Level) {
        self.callers.insert(caller, Some(level));
    }

    /// How many callers it knows.
    pub(super) fn len(&self) -> usize {
        self.callers.len()
    }

    /// What a caller set.
    pub(super) fn of(&self, caller: CallerId) -> Option<Level> {
        self.callers.get(&caller).copied().flatten()
    }

    /// Does this caller want a line of that level?
    pub(super) fn admits(&self, caller: CallerId, level: Level) -> bool {
        self.callers.get(&caller).is_some_and(|wanted| level >= wanted.unwrap_or(BASELINE))
    }

    fn wanted(&self) -> Level {
        self.callers.values().map(|level| level.unwrap_or(BASELINE)).min().unwrap_or(BASELINE)
    }

    /// What the child should be told now. A more verbose level goes out at once, a less verbose one after a while.
    pub(super) fn next(&mut self, now: Duration) -> Next {
        let (wanted, told) = (self.wanted(), self.told.unwrap_or(BASELINE));
        if wanted == told {
            self.lower_at = None;
            return Next::Nothing;
        }
        if wanted > told {
            let at = *self.lower_at.get_or_insert(now + LEVEL_LOWER_DEBOUNCE);
            if at > now {
                return Next::Later(at);
            }
        }
        self.lower_at = None;
        self.told = Some(wanted);
        Next::Send(wanted)
    }

    /// When a less verbose level goes out, if one waits.
    pub(super) fn lower_at(&self) -> Option<Duration> {
        self.lower_at
    }

    /// The child is gone; the next one starts at its own default.
    pub(super) fn child_gone(&mut self) {
        self.told = None;
        self.lower_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_verbose_wins_and_lowering_waits() {
        let (a, b) = (CallerId(1), CallerId(2));
        let mut levels = Levels::default();
        levels.open(a, None);
        let t = Duration::from_secs(5);
        assert_eq!(levels.next(t), Next::Nothing, "baseline is not sent");
        levels.set(a, Level::Debug);
        assert_eq!(levels.next(t), Next::Send(Level::Debug));
        levels.open(b, None);
        levels.set(b, Level::Error);
        assert_eq!(levels.next(t), Next::Nothing);
        assert!(levels.admits(a, Level::Debug) && !levels.admits(b, Level::Info));
        levels.close(a);
        let at = t + LEVEL_LOWER_DEBOUNCE;
        assert_eq!(levels.next(t), Next::Later(at));
        assert_eq!(levels.next(at), Next::Send(Level::Error));
        levels.child_gone();
        levels.set(b, Level::Debug);
        assert_eq!(levels.next(at), Next::Send(Level::Debug));
    }
}

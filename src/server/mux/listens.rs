//! The two `subscriptions/listen` requests of hub at a modern child (2026-07-28, basic/patterns/subscriptions;
//! PROTOCOL 2.7): one for its lists, one for the union of all subscribed URIs.
//!
//! In: what is wanted, what the child acknowledged or ended. Out: what to open and to cancel. Owns which listen is
//! which. May not: send anything itself, or ask a child again that said that it has no listen.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::limits::{LISTEN_ACKNOWLEDGE, LISTEN_RETRY_MAX, LISTEN_RETRY_MIN};
use crate::mcp::WireId;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Which {
    /// Changes of lists.
    Lists,
    /// Updates of resources.
    Resources,
}

/// What a listen of the child meant to hub.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Was {
    /// The one that is in use.
    Current(Which),
    /// One that was not acknowledged yet, with the URIs it was for.
    Opening(Which, BTreeSet<String>),
}

#[derive(Debug)]
struct Open {
    wire: WireId,
    uris: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Slot {
    current: Option<Open>,
    opening: Option<Open>,
    /// The child ends it again and again: not before that time.
    not_before: Duration,
    failures: u32,
    wanted: bool,
    /// The child does not know the method.
    unsupported: bool,
}

/// Both listens of one child.
#[derive(Debug, Default)]
pub(super) struct Listens {
    lists: Slot,
    resources: Slot,
}

impl Listens {
    fn slot(&mut self, which: Which) -> &mut Slot {
        match which {
            Which::Lists => &mut self.lists,
            Which::Resources => &mut self.resources,
        }
    }

    /// The child said that it does not know the method when it was asked for resources.
    pub(super) fn has_no_resources(&self) -> bool {
        self.resources.unsupported
    }

    /// The child answered one of that kind that it does not know the method. One that has acknowledged such a listen
    /// knows it all the same. The other kind is judged by its own answer, for which somebody may wait.
    pub(super) fn set_unsupported(&mut self, which: Which) {
        let slot = self.slot(which);
        slot.unsupported = slot.current.is_none();
    }

    /// What is wanted of that kind is not what the child was told.
    pub(super) fn want(&mut self, which: Which) {
        self.slot(which).wanted = true;
    }

    /// Is one to be opened now?
    pub(super) fn due(&mut self, which: Which, now: Duration) -> bool {
        let slot = self.slot(which);
        slot.wanted && slot.opening.is_none() && slot.not_before <= now && !slot.unsupported
    }

    /// A request for these URIs went out. When to stop waiting for its acknowledgement.
    pub(super) fn opened(&mut self, which: Which, wire: WireId, uris: BTreeSet<String>, now: Duration) -> Duration {
        let slot = self.slot(which);
        slot.wanted = false;
        slot.opening = Some(Open { wire, uris });
        now + LISTEN_ACKNOWLEDGE
    }

    /// Nothing is wanted of that kind any more: what is to be cancelled.
    pub(super) fn close(&mut self, which: Which) -> Option<WireId> {
        let slot = self.slot(which);
        slot.wanted = false;
        slot.current.take().map(|open| open.wire)
    }

    /// The child acknowledged one: its URIs, and the one that it replaces, to be cancelled (make before break).
    pub(super) fn acknowledged(&mut self, wire: WireId) -> Option<(Which, BTreeSet<String>, Option<WireId>)> {
        for which in [Which::Lists, Which::Resources] {
            let slot = self.slot(which);
            if let Some(open) = slot.opening.take_if(|open| open.wire == wire) {
                (slot.failures, slot.unsupported) = (0, false);
                let uris = open.uris.clone();
                let replaced = slot.current.replace(open).map(|old| old.wire);
                return Some((which, uris, replaced));
            }
        }
        None
    }

    /// Does it wait for its acknowledgement?
    pub(super) fn is_opening(&self, wire: WireId) -> bool {
        [&self.lists, &self.resources].iter().any(|slot| slot.opening.as_ref().is_some_and(|open| open.wire == wire))
    }

    /// Is one for resources in use or on its way?
    pub(super) fn has_resources(&self) -> bool {
        self.resources.current.is_some() || self.resources.opening.is_some()
    }

    /// Which one a notification names. `None` for one that hub does not listen to (any more).
    pub(super) fn current(&self, wire: WireId) -> Option<Which> {
        let is = |slot: &Slot| slot.current.as_ref().is_some_and(|open| open.wire == wire);
        match (is(&self.lists), is(&self.resources)) {
            (true, _) => Some(Which::Lists),
            (_, true) => Some(Which::Resources),
            _ => None,
        }
    }

    /// The child ended one, or did not acknowledge it in time. It is wanted again, after a pause that grows: until then.
    pub(super) fn ended(&mut self, wire: WireId, now: Duration) -> Option<(Was, Duration)> {
        for which in [Which::Lists, Which::Resources] {
            let slot = self.slot(which);
            let was = if slot.current.take_if(|open| open.wire == wire).is_some() {
                Was::Current(which)
            } else if let Some(open) = slot.opening.take_if(|open| open.wire == wire) {
                Was::Opening(which, open.uris)
            } else {
                continue;
            };
            let slot = self.slot(which);
            slot.not_before = now + (LISTEN_RETRY_MIN * 2u32.saturating_pow(slot.failures)).min(LISTEN_RETRY_MAX);
            slot.failures = (slot.failures + 1).min(16);
            slot.wanted = true;
            return Some((was, slot.not_before));
        }
        None
    }

    /// The child is gone; the next one is asked anew.
    pub(super) fn child_gone(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_secs(9);

    #[test]
    fn the_new_one_is_there_before_the_old_one_goes() {
        let mut listens = Listens::default();
        assert!(!listens.due(Which::Resources, T), "nothing is wanted");
        listens.want(Which::Resources);
        assert!(listens.due(Which::Resources, T));
        let one = BTreeSet::from(["a".to_owned()]);
        assert_eq!(listens.opened(Which::Resources, WireId(3), one.clone(), T), T + LISTEN_ACKNOWLEDGE);
        listens.want(Which::Resources);
        assert!(!listens.due(Which::Resources, T), "one at a time");
        assert_eq!(listens.current(WireId(3)), None, "not before it is acknowledged");
        assert_eq!(listens.acknowledged(WireId(3)), Some((Which::Resources, one, None)));
        assert_eq!(listens.current(WireId(3)), Some(Which::Resources));
        listens.opened(Which::Resources, WireId(4), BTreeSet::new(), T);
        assert_eq!(listens.acknowledged(WireId(4)), Some((Which::Resources, BTreeSet::new(), Some(WireId(3)))));
        assert_eq!((listens.current(WireId(3)), listens.close(Which::Resources)), (None, Some(WireId(4))));
    }

    #[test]
    fn a_child_that_ends_it_is_asked_ever_less_often() {
        let mut listens = Listens::default();
        let mut now = T;
        let mut pauses = Vec::new();
        for wire in 1..=8 {
            listens.want(Which::Lists);
            assert!(listens.due(Which::Lists, now));
            listens.opened(Which::Lists, WireId(wire), BTreeSet::new(), now);
            let (was, at) = listens.ended(WireId(wire), now).expect("one of ours");
            assert_eq!(was, Was::Opening(Which::Lists, BTreeSet::new()));
            assert!(!listens.due(Which::Lists, now));
            pauses.push(at.saturating_sub(now).as_secs());
            now = at;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(listens.ended(WireId(1), now), None);
        listens.set_unsupported(Which::Lists);
        listens.want(Which::Lists);
        assert!(!listens.due(Which::Lists, now + LISTEN_RETRY_MAX), "never again");
        listens.want(Which::Resources);
        assert!(listens.due(Which::Resources, now), "which has not been asked");
    }
}

//! Who is to hear that a URL elicitation is complete (2025-11-25, client/elicitation; PROTOCOL 1.11).
//!
//! In: elicitation ids and whom they were shown to. Out: the owner, once. Owns the table. May not: keep an entry for
//! ever; many children never say that one is complete.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::super::outlet::CallerId;
use crate::limits::{ELICITATION_REMEMBERED, ELICITATIONS_PER_INSTANCE_MAX};

/// All URL elicitations of one child that may still be completed.
#[derive(Debug, Default)]
pub(super) struct Elicitations {
    owners: HashMap<String, (CallerId, Duration)>,
    /// As they came. Holds the id of each entry and of some that are gone, so it bounds the table.
    order: VecDeque<(Duration, String)>,
}

impl Elicitations {
    /// An elicitation was shown to its owner. Over the bound the oldest one is forgotten.
    pub(super) fn shown(&mut self, id: String, owner: CallerId, now: Duration) {
        if self.order.len() >= ELICITATIONS_PER_INSTANCE_MAX {
            self.forget_oldest();
        }
        self.order.push_back((now, id.clone()));
        self.owners.insert(id, (owner, now));
    }

    /// It is complete: whose was it?
    pub(super) fn complete(&mut self, id: &str) -> Option<CallerId> {
        self.owners.remove(id).map(|(owner, _)| owner)
    }

    /// Forgets what was shown too long ago.
    pub(super) fn sweep(&mut self, now: Duration) {
        while self.order.front().is_some_and(|(shown, _)| *shown + ELICITATION_REMEMBERED <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((shown, id)) = self.order.pop_front() else { return };
        // It may have been shown again since.
        if self.owners.get(&id).is_some_and(|(_, last)| *last == shown) {
            self.owners.remove(&id);
        }
    }

    /// Forgets a caller.
    pub(super) fn forget(&mut self, caller: CallerId) {
        self.owners.retain(|_, (owner, _)| *owner != caller);
    }

    /// The child is gone, and will complete nothing.
    pub(super) fn clear(&mut self) {
        self.owners.clear();
        self.order.clear();
    }

    /// How much is kept.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CallerId = CallerId(1);
    const B: CallerId = CallerId(2);

    #[test]
    fn each_is_completed_once_and_forgotten_in_time() {
        let mut all = Elicitations::default();
        let t = Duration::from_secs(5);
        all.shown("x".into(), A, Duration::ZERO);
        all.shown("y".into(), A, t);
        all.shown("x".into(), B, t);
        all.sweep(ELICITATION_REMEMBERED);
        assert_eq!(all.complete("x"), Some(B), "shown again, so remembered longer");
        assert_eq!(all.complete("x"), None);
        all.sweep(ELICITATION_REMEMBERED + t);
        assert_eq!((all.complete("y"), all.len()), (None, 0));
        all.shown("z".into(), B, t);
        all.forget(B);
        assert_eq!(all.complete("z"), None);
    }

    #[test]
    fn a_child_that_never_completes_fills_no_memory() {
        let mut all = Elicitations::default();
        for number in 0..=ELICITATIONS_PER_INSTANCE_MAX {
            all.shown(number.to_string(), A, Duration::ZERO);
        }
        assert_eq!((all.len(), all.owners.len()), (ELICITATIONS_PER_INSTANCE_MAX, ELICITATIONS_PER_INSTANCE_MAX));
        assert_eq!((all.complete("0"), all.complete("1")), (None, Some(A)));
    }
}

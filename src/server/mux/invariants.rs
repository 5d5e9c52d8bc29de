//! What must hold after every input; checked by the simulation and the fuzz target.
//!
//! In: a [`Mux`]. Out: nothing, or the first invariant that does not hold. Owns nothing. May not: change anything.

use std::time::Duration;

use super::{Mux, Phase};
use crate::server::CallerId;

impl Mux {
    /// Checks the tables against each other. Costs a pass over all of them.
    pub fn check_invariants(&self, now: Duration) -> Result<(), String> {
        let broken = |what: &str| Err(what.to_owned());
        for (wire, id) in &self.wires {
            if self.calls.get(id).is_none_or(|call| call.wire != Some(*wire)) {
                return Err(format!("wire {wire} points to no call"));
            }
            if self.tombs.contains_key(wire) {
                return Err(format!("wire {wire} lives and is a tomb"));
            }
        }
        for (id, call) in &self.calls {
            let states = [self.queue.contains(id), call.wire.is_some(), call.asking];
            if states.iter().filter(|is| **is).count() != 1 {
                return Err(format!("{id:?} must wait, be written, or ask its client"));
            }
            if call.wire.is_some_and(|wire| self.wires.get(&wire) != Some(id)) {
                return Err(format!("{id:?} has a wire id that does not lead back"));
            }
        }
        let live: usize = self.owners.iter().map(|(_, load)| load.live.len()).sum();
        if live != self.wires.len() {
            return Err(format!("{live} live calls of owners, {} written calls", self.wires.len()));
        }
        for (owner, load) in self.owners.iter() {
            if !load.live.is_sorted() || load.live.iter().any(|wire| !self.wires.contains_key(wire)) {
                return Err(format!("loads of {owner:?} are not its calls"));
            }
            let relayed = self.asks.values().filter(|ask| ask.owner() == Some(*owner) && ask.counts()).count();
            if relayed != load.asks() {
                return Err(format!("{owner:?} has {} asks, {relayed} are relayed", load.asks()));
            }
            if *owner != CallerId::HUB && self.client(*owner).is_none() && !load.live.is_empty() {
                return Err(format!("{owner:?} is gone and has calls at the child"));
            }
        }
        if self.phase == Phase::Down && !(self.wires.is_empty() && self.asks.is_empty()) {
            return broken("something is written to a child that is not there");
        }
        if self.asks.len() != self.ask_ids.len() {
            return broken("ask ids and asks differ");
        }
        if self.held.iter().chain(&self.answers).any(|ask| !self.asks.contains_key(ask)) {
            return broken("an ask that is gone still waits");
        }
        if self.timers.is_bloated(self.timed()) {
            return broken("timers pile up");
        }
        if self.deadline().is_some_and(|at| at < now && at + Duration::from_secs(1) < now) {
            return broken("a timer is long overdue");
        }
        if self.callers.is_empty() && self.calls.is_empty() && self.subscribed_without_callers() {
            return broken("subscriptions of nobody");
        }
        Ok(())
    }

    fn subscribed_without_callers(&self) -> bool {
        self.callers.keys().any(|caller| self.subscriptions.wants(*caller) > 0)
    }

    /// What is left of callers that are gone, by table; must be nothing once everybody has left and time has passed.
    pub fn leftovers(&self) -> Vec<String> {
        let tables = [
            ("callers", self.callers.len()),
            ("owners", self.owners.iter().count()),
            ("waiting calls", self.queue.len()),
            ("wire ids", self.wires.len()),
            ("held asks", self.held.len()),
            ("waiting answers", self.answers.len()),
            ("elicitations", self.elicitations.len()),
            ("levels", self.levels.len()),
            ("listens for resources", usize::from(self.listens.has_resources())),
        ];
        tables.into_iter().filter(|(_, left)| *left > 0).map(|(table, left)| format!("{left} {table}")).collect()
    }

    /// Counts that must return to zero when everybody has left (leak checks): calls, asks, tombs, subscriptions, tasks.
    pub fn sizes(&self) -> [usize; 5] {
        [
            self.calls.len(),
            self.asks.len() + self.round_asks.len(),
            self.tombs.len(),
            self.subscriptions.len(),
            self.tasks.len(),
        ]
    }
}

//! Resource subscriptions of one child, counted over all its callers (PROTOCOL 1.8).
//!
//! In: who wants a URI, who lets go of it, what the child answered. Out: [`Act`]s: what to send, whom to answer. Owns
//! the subscribers per URI. May not: send anything itself, or interpret a URI beyond "is a prefix of".

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::super::outlet::{CallId, CallerId};
use crate::limits::{SUBSCRIPTIONS_PER_INSTANCE_MAX, UNSUBSCRIBE_DEBOUNCE};
use crate::mcp::Outcome;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The child does not know of it.
    Idle,
    /// `resources/subscribe` is at the child (or waits for the child to be up).
    Subscribing,
    Active,
    /// Nobody is left; `resources/unsubscribe` follows at that time unless somebody comes back.
    Leaving(Duration),
    Unsubscribing,
}

#[derive(Debug)]
struct Entry {
    state: State,
    subscribers: BTreeSet<CallerId>,
    /// Calls that wait for the child's answer.
    waiters: Vec<(CallerId, CallId)>,
}

/// What follows from a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    SendSubscribe(String),
    SendUnsubscribe(String),
    /// Wake at that time to unsubscribe.
    Later(Duration, String),
    Answer(CallId, Outcome),
    /// Over the bound.
    Refuse(CallId),
}

/// All URIs of one child.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    entries: HashMap<String, Entry>,
}

impl Subscriptions {
    pub(super) fn subscribe(&mut self, uri: String, caller: CallerId, call: Option<CallId>) -> Vec<Act> {
        if self.entries.len() >= SUBSCRIPTIONS_PER_INSTANCE_MAX && !self.entries.contains_key(&uri) {
            return call.map(Act::Refuse).into_iter().collect();
        }
        let entry = self.entries.entry(uri.clone()).or_insert_with(|| Entry {
            state: State::Idle,
            subscribers: BTreeSet::new(),
            waiters: Vec::new(),
        });
        entry.subscribers.insert(caller);
        match entry.state {
            State::Active | State::Leaving(_) => {
                entry.state = State::Active;
                call.map(|call| Act::Answer(call, Outcome::empty())).into_iter().collect()
            }
            State::Idle => {
                entry.state = State::Subscribing;
                entry.waiters.extend(call.map(|call| (caller, call)));
                vec![Act::SendSubscribe(uri)]
            }
            State::Subscribing | State::Unsubscribing => {
                entry.waiters.extend(call.map(|call| (caller, call)));
                Vec::new()
            }
        }
    }

    /// Removes a subscriber. What it was still waiting for is answered as done.
    pub(super) fn unsubscribe(&mut self, uri: &str, caller: CallerId, now: Duration) -> Vec<Act> {
        let Some(entry) = self.entries.get_mut(uri) else { return Vec::new() };
        entry.subscribers.remove(&caller);
        let mut acts: Vec<Act> = entry
            .waiters
            .extract_if(.., |(waiter, _)| *waiter == caller)
            .map(|(_, call)| Act::Answer(call, Outcome::empty()))
            .collect();
        acts.extend(entry.leave_if_empty(uri, now));
        acts
    }

    /// Removes a caller everywhere.
    pub(super) fn forget(&mut self, caller: CallerId, now: Duration) -> Vec<Act> {
        let uris: Vec<String> =
            self.entries.iter().filter(|(_, e)| e.subscribers.contains(&caller)).map(|(uri, _)| uri.clone()).collect();
        uris.iter().flat_map(|uri| self.unsubscribe(uri, caller, now)).collect()
    }

    /// A cancelled subscribe call no longer wants an answer; the subscription itself stays.
    pub(super) fn cancel(&mut self, call: CallId) -> bool {
        self.entries.values_mut().any(|entry| {
            let before = entry.waiters.len();
            entry.waiters.retain(|(_, waiter)| *waiter != call);
            entry.waiters.len() != before
        })
    }

    /// The URIs that a modern child should send updates of.
    pub(super) fn wanted(&self) -> BTreeSet<String> {
        let told = |entry: &Entry| matches!(entry.state, State::Subscribing | State::Active | State::Leaving(_));
        self.entries.iter().filter(|(_, entry)| told(entry)).map(|(uri, _)| uri.clone()).collect()
    }

    /// Is the child's answer about this URI awaited?
    pub(super) fn is_subscribing(&self, uri: &str) -> bool {
        self.entries.get(uri).is_some_and(|entry| entry.state == State::Subscribing)
    }

    /// Does a call wait for an answer?
    pub(super) fn has_waiters(&self) -> bool {
        self.entries.values().any(|entry| !entry.waiters.is_empty())
    }

    /// Takes all calls that wait for an answer; their URIs stay wanted.
    pub(super) fn waiting(&mut self) -> Vec<CallId> {
        self.entries.values_mut().flat_map(|entry| std::mem::take(&mut entry.waiters)).map(|(_, call)| call).collect()
    }

    pub(super) fn subscribed(&mut self, uri: &str, outcome: &Outcome, now: Duration) -> Vec<Act> {
        let Some(entry) = self.entries.get_mut(uri) else { return Vec::new() };
        let waiters = std::mem::take(&mut entry.waiters);
        let mut acts: Vec<Act> = waiters.iter().map(|(_, call)| Act::Answer(*call, outcome.clone())).collect();
        match outcome {
            Outcome::Result(_) => {
                entry.state = State::Active;
                acts.extend(entry.leave_if_empty(uri, now));
            }
            Outcome::Error(_) => {
                self.entries.remove(uri);
            }
        }
        acts
    }

    pub(super) fn unsubscribed(&mut self, uri: &str) -> Vec<Act> {
        let Some(entry) = self.entries.get_mut(uri) else { return Vec::new() };
        if entry.subscribers.is_empty() {
            self.entries.remove(uri);
            return Vec::new();
        }
        entry.state = State::Subscribing;
        vec![Act::SendSubscribe(uri.to_owned())]
    }

    /// When the unsubscribe of this URI goes out, if one waits.
    pub(super) fn leaves_at(&self, uri: &str) -> Option<Duration> {
        match self.entries.get(uri)?.state {
            State::Leaving(at) => Some(at),
            _ => None,
        }
    }

    /// The debounce of [`Act::Later`] is over.
    pub(super) fn due(&mut self, uri: &str, now: Duration) -> Vec<Act> {
        match self.entries.get_mut(uri) {
            Some(entry) if matches!(entry.state, State::Leaving(at) if at <= now) => {
                entry.state = State::Unsubscribing;
                vec![Act::SendUnsubscribe(uri.to_owned())]
            }
            _ => Vec::new(),
        }
    }

    /// The child is gone and with it what it knew. Wanted URIs are subscribed again when the next one is up.
    pub(super) fn child_gone(&mut self) {
        self.entries.retain(|_, entry| !entry.subscribers.is_empty() || !entry.waiters.is_empty());
        for entry in self.entries.values_mut() {
            entry.state = State::Idle;
        }
    }

    /// The new child is up.
    pub(super) fn child_up(&mut self) -> Vec<Act> {
        self.entries.retain(|_, entry| !entry.subscribers.is_empty() || !entry.waiters.is_empty());
        let mut uris: Vec<String> =
            self.entries.iter().filter(|(_, entry)| entry.state == State::Idle).map(|(uri, _)| uri.clone()).collect();
        uris.sort_unstable();
        for uri in &uris {
            if let Some(entry) = self.entries.get_mut(uri) {
                entry.state = State::Subscribing;
            }
        }
        uris.into_iter().map(Act::SendSubscribe).collect()
    }

    /// Who gets `resources/updated` for `uri`: subscribers of exactly it, else of a path prefix of it, else all
    /// subscribers of this child (2025-11-25 schema, ResourceUpdatedNotificationParams: "might be a sub-resource").
    pub(super) fn interested(&self, uri: &str) -> BTreeSet<CallerId> {
        if let Some(entry) = self.entries.get(uri).filter(|entry| !entry.subscribers.is_empty()) {
            return entry.subscribers.clone();
        }
        let of = |matches: &dyn Fn(&str) -> bool| -> BTreeSet<CallerId> {
            self.entries.iter().filter(|(k, _)| matches(k)).flat_map(|(_, e)| e.subscribers.iter().copied()).collect()
        };
        let below = of(&|prefix| {
            uri.strip_prefix(prefix).is_some_and(|rest| prefix.ends_with('/') || rest.starts_with(['/', '?', '#']))
        });
        if below.is_empty() { of(&|_| true) } else { below }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn wants(&self, caller: CallerId) -> usize {
        self.entries.values().filter(|entry| entry.subscribers.contains(&caller)).count()
    }
}

impl Entry {
    fn leave_if_empty(&mut self, uri: &str, now: Duration) -> Option<Act> {
        if !self.subscribers.is_empty() || self.state != State::Active {
            return None;
        }
        let at = now + UNSUBSCRIBE_DEBOUNCE;
        self.state = State::Leaving(at);
        Some(Act::Later(at, uri.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CallerId = CallerId(1);
    const B: CallerId = CallerId(2);
    const T: Duration = Duration::from_secs(1);

    fn send(uri: &str) -> Vec<Act> {
        vec![Act::SendSubscribe(uri.into())]
    }

    #[test]
    fn one_subscribe_and_one_unsubscribe_for_many() {
        let mut subs = Subscriptions::default();
        assert_eq!(subs.subscribe("u".into(), A, Some(CallId(1))), send("u"));
        assert_eq!(subs.subscribe("u".into(), B, Some(CallId(2))), []);
        let done = subs.subscribed("u", &Outcome::empty(), T);
        assert_eq!(done, [Act::Answer(CallId(1), Outcome::empty()), Act::Answer(CallId(2), Outcome::empty())]);
        assert_eq!(subs.unsubscribe("u", A, T), []);
        let later = T + UNSUBSCRIBE_DEBOUNCE;
        assert_eq!(subs.forget(B, T), [Act::Later(later, "u".into())]);
        assert_eq!(subs.due("u", T), []);
        assert_eq!(subs.due("u", later), [Act::SendUnsubscribe("u".into())]);
        assert_eq!(subs.subscribe("u".into(), A, Some(CallId(3))), [], "waits for the unsubscribe");
        assert_eq!(subs.unsubscribed("u"), send("u"));
    }

    #[test]
    fn an_error_goes_to_all_and_forgets() {
        let mut subs = Subscriptions::default();
        subs.subscribe("u".into(), A, Some(CallId(1)));
        subs.subscribe("u".into(), B, Some(CallId(2)));
        let error = Outcome::Error("{}".into());
        assert_eq!(subs.subscribed("u", &error, T).len(), 2);
        assert_eq!(subs.len(), 0);
    }

    #[test]
    fn a_new_child_is_told_again() {
        let mut subs = Subscriptions::default();
        subs.subscribe("u".into(), A, None);
        subs.subscribed("u", &Outcome::empty(), T);
        subs.child_gone();
        assert_eq!(subs.child_up(), send("u"));
    }

    #[test]
    fn updates_reach_exact_then_prefix_then_all() {
        let mut subs = Subscriptions::default();
        subs.subscribe("file:///a".into(), A, None);
        subs.subscribe("file:///a/b".into(), B, None);
        assert_eq!(subs.interested("file:///a/b"), BTreeSet::from([B]));
        assert_eq!(subs.interested("file:///a/c"), BTreeSet::from([A]));
        assert_eq!(subs.interested("file:///ab"), BTreeSet::from([A, B]));
    }
}

//! Who has work at the child right now: the basis of every attribution (PROTOCOL 1.11).
//!
//! In: calls written, answered, cancelled; asks relayed and answered. Out: loads per owner, and the candidates for a
//! child's request. Owns the counts. May not: decide what happens to an ask (that is `asks`).

use std::collections::HashSet;
use std::time::Duration;

use super::super::id_map::IdMap;
use super::super::outlet::CallerId;
use crate::limits::{BATON_COLLECT, BATON_WINDOW};
use crate::mcp::WireId;
use crate::mcp::meta::Level;

/// What one owner has at the child.
#[derive(Debug, Default, Clone)]
pub(super) struct Load {
    /// Calls written and not answered, oldest first (wire ids grow).
    pub(super) live: Vec<WireId>,
    /// Cancelled calls whose handler may still ask, with the time until which it may.
    pub(super) ghosts: Vec<(WireId, Duration)>,
    /// Asks relayed to this owner whose answers are not written yet, by the window that they were read in.
    windows: Vec<Window>,
    /// What calls told a modern child about the log lines that they want, until they end or are laid.
    logs: Vec<(WireId, Level)>,
}

/// Asks that were read close to one another: perhaps of one call, perhaps of several. Asks of different windows are of
/// different calls, because a call that waits for an answer asks nothing more (stated assumption of PROTOCOL 1.11.7).
#[derive(Debug, Clone)]
struct Window {
    began: Duration,
    asks: usize,
}

impl Load {
    /// Can a call of this owner send another ask? One call per window is known to wait for an answer; while a window is
    /// being collected, that call may still ask.
    pub(super) fn unblocked(&self, now: Duration) -> bool {
        let collecting = self.windows.iter().any(|window| window.began + BATON_COLLECT > now);
        self.live.len() > self.windows.len() || (!self.live.is_empty() && collecting)
    }

    fn is_idle(&self) -> bool {
        self.live.is_empty() && self.ghosts.is_empty() && self.windows.is_empty()
    }

    /// An ask was relayed that was read at that time (it may have been held since). Says in which window it counts, for
    /// [`Self::answered`].
    pub(super) fn asked(&mut self, read: Duration) -> Duration {
        if let Some(window) = self.windows.iter_mut().find(|window| window.began.abs_diff(read) < BATON_WINDOW) {
            window.asks += 1;
            return window.began;
        }
        self.windows.push(Window { began: read, asks: 1 });
        read
    }

    /// The answer of an ask of that window was written.
    pub(super) fn answered(&mut self, began: Duration) {
        self.windows.iter_mut().filter(|window| window.began == began).for_each(|window| window.asks -= 1);
        self.windows.retain(|window| window.asks > 0);
    }

    /// Asks without an answer.
    pub(super) fn asks(&self) -> usize {
        self.windows.iter().map(|window| window.asks).sum()
    }

    pub(super) fn ghost(&self, now: Duration) -> bool {
        self.ghosts.iter().any(|(_, until)| *until > now)
    }
}

/// Who a child's request may belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Candidates {
    /// Nobody has a call at the child.
    Nobody,
    /// Exactly this owner.
    One(CallerId),
    /// Several: these are their calls, and these owners have a cancelled call besides.
    Several { calls: Vec<WireId>, ghosts: Vec<CallerId> },
    /// A cancelled call of another owner may be the one: never resolvable to a living call.
    Ghost,
}

/// Who has a call at the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtWork {
    Nobody,
    One(CallerId),
    Several,
}

/// Loads of all owners.
#[derive(Debug, Default)]
pub(super) struct Owners {
    loads: IdMap<CallerId, Load>,
}

impl Owners {
    pub(super) fn load(&mut self, owner: CallerId) -> &mut Load {
        self.loads.entry(owner).or_default()
    }

    pub(super) fn get(&self, owner: CallerId) -> Option<&Load> {
        self.loads.get(&owner)
    }

    /// A call was written, with the level of the log lines that it wants.
    pub(super) fn sent(&mut self, owner: CallerId, wire: WireId, logs: Option<Level>) {
        let load = self.load(owner);
        load.live.push(wire);
        load.logs.extend(logs.map(|level| (wire, level)));
    }

    /// A call was answered.
    pub(super) fn ended(&mut self, owner: CallerId, wire: WireId) {
        if let Some(load) = self.loads.get_mut(&owner)
            && let Ok(at) = load.live.binary_search(&wire)
        {
            load.live.remove(at);
            load.logs.retain(|(of, _)| *of != wire);
        }
    }

    /// An owner that exists for one call only, or hub, has nothing more at the child.
    pub(super) fn forget_if_idle(&mut self, owner: CallerId) {
        if self.loads.get(&owner).is_some_and(Load::is_idle) {
            self.loads.remove(&owner);
        }
    }

    /// A call was cancelled: it stays a possible owner until `until`.
    pub(super) fn haunts(&mut self, owner: CallerId, wire: WireId, until: Duration) {
        let load = self.load(owner);
        load.live.retain(|live| *live != wire);
        load.ghosts.push((wire, until));
    }

    /// The late answer of a cancelled call came: its handler is over.
    pub(super) fn laid(&mut self, owner: CallerId, wire: WireId) {
        if let Some(load) = self.loads.get_mut(&owner) {
            load.ghosts.retain(|(ghost, _)| *ghost != wire);
            load.logs.retain(|(of, _)| *of != wire);
        }
    }

    /// Drops empty loads of owners that are gone, and ghosts whose time is over.
    pub(super) fn sweep(&mut self, now: Duration, gone: impl Fn(CallerId) -> bool) {
        self.loads.retain(|owner, load| {
            load.ghosts.retain(|(_, until)| *until > now);
            let Load { live, ghosts, logs, .. } = load;
            logs.retain(|(of, _)| live.contains(of) || ghosts.iter().any(|(ghost, _)| ghost == of));
            !(load.is_idle() && gone(*owner))
        });
    }

    pub(super) fn clear(&mut self) {
        self.loads.clear();
    }

    /// When ghosts and collect windows end. A ghost has a tomb and a window has an ask, so there are no more of them.
    pub(super) fn looks(&self) -> HashSet<Duration> {
        let ends = |load: &Load| {
            let ghosts = load.ghosts.iter().map(|(_, until)| *until);
            ghosts.chain(load.windows.iter().map(|window| window.began + BATON_COLLECT)).collect::<Vec<_>>()
        };
        self.loads.values().flat_map(ends).collect()
    }

    /// Owners that could send an ask now, other than `except`.
    pub(super) fn others_unblocked(&self, except: CallerId, now: Duration) -> bool {
        self.loads.iter().any(|(owner, load)| *owner != except && load.unblocked(now))
    }

    /// Owners with any call at the child, other than `except`.
    pub(super) fn others_running(&self, except: CallerId) -> bool {
        self.loads.iter().any(|(owner, load)| *owner != except && !load.live.is_empty())
    }

    /// Who a request of the child, read now, may belong to. Where a call that waits for an answer `asks_nothing` more, only
    /// owners that do not wait count, as long as there is one.
    pub(super) fn candidates(&self, asks_nothing: bool, now: Duration) -> Candidates {
        let running = || self.loads.iter().filter(|(_, load)| !load.live.is_empty());
        let active = asks_nothing && running().any(|(_, load)| load.unblocked(now));
        let mut found: Vec<(CallerId, &Load)> =
            running().filter(|(_, load)| !active || load.unblocked(now)).map(|(owner, load)| (*owner, load)).collect();
        let foreign_ghost =
            self.loads.iter().any(|(owner, load)| load.ghost(now) && !found.iter().any(|(o, _)| o == owner));
        if foreign_ghost {
            return Candidates::Ghost;
        }
        match found.len() {
            0 => Candidates::Nobody,
            1 => Candidates::One(found[0].0),
            _ => {
                found.sort_unstable_by_key(|(owner, _)| *owner);
                Candidates::Several {
                    calls: found.iter().flat_map(|(_, load)| load.live.iter().copied()).collect(),
                    ghosts: found.iter().filter(|(_, load)| load.ghost(now)).map(|(owner, _)| *owner).collect(),
                }
            }
        }
    }

    /// Whose a notification without an id is (1.7). Ghosts count.
    pub(super) fn at_work(&self, now: Duration) -> AtWork {
        let mut busy = self.loads.iter().filter(|(_, load)| !load.live.is_empty() || load.ghost(now));
        match (busy.next(), busy.next()) {
            (None, _) => AtWork::Nobody,
            (Some((owner, _)), None) => AtWork::One(*owner),
            (Some(_), Some(_)) => AtWork::Several,
        }
    }

    /// Owners with a call that told the child that it wants such log lines. Ghosts count: what they wanted may still be
    /// on its way.
    pub(super) fn wanting_logs(&self, level: Level) -> impl Iterator<Item = CallerId> {
        let wants = move |load: &Load| load.logs.iter().any(|(_, wanted)| level >= *wanted);
        self.loads.iter().filter(move |(_, load)| wants(load)).map(|(owner, _)| *owner)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&CallerId, &Load)> {
        self.loads.iter()
    }
}

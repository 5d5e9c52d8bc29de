//! From a process that was just started to a server that is ready.
//!
//! In: the child, what its [`Opening`] wants, its first list. Out: the transitions from `Opening` to `Ready`, or to
//! another process that is opened in another way. Owns what is known of how to open it. May not: count a process that
//! only did not bear the probe as a death (PROTOCOL 2.7).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::time::Instant;

use crate::child::Child;
use crate::config::EraChoice;
use crate::mcp::ListKind;
use crate::server::era;
use crate::server::instance::Instance;
use crate::server::mux::ChildFacts;
use crate::server::opening::{Ended, Opened, Opening, Step, Way};

use super::{After, Life};

/// How the children of an instance were opened.
#[derive(Debug)]
pub(super) struct EraHistory {
    /// Of what the child runs, see [`era::key`].
    key: String,
    /// How the child was opened.
    way: Way,
    /// How the next one must be.
    next: Option<Way>,
    /// The last one died, and the next one takes its place.
    again: bool,
    /// Processes that only showed how the next one must be opened.
    tries: u64,
    /// What a person may do about a child that ended too early.
    advice: &'static str,
}

impl Default for EraHistory {
    fn default() -> Self {
        Self { key: String::new(), way: Way::Probe, next: None, again: false, tries: 0, advice: "" }
    }
}

impl EraHistory {
    /// The next start makes good a death.
    pub(super) fn after_death(&mut self) {
        self.again = true;
    }

    /// The next start is one of its own.
    pub(super) fn reset(&mut self) {
        (self.next, self.again) = (None, false);
    }
}

impl Instance {
    /// A process runs: it is opened in the way that is known to work, or probed.
    pub(super) fn spawned(&mut self, child: Child) {
        let key = era::key(&self.spec, child.executable());
        let again = std::mem::take(&mut self.history.era.again);
        let tried = self.history.era.next.take();
        let way = tried.unwrap_or_else(|| self.belief.way(self.spec.era, &key, again, SystemTime::now()));
        tracing::info!(server = %self.spec.name, generation = self.generation, pid = child.pid(), ?way, "started");
        if tried.is_none() && self.restarted() {
            self.counters.restarts.fetch_add(1, Ordering::Relaxed);
        }
        let (opening, first) = Opening::begin(self.spec.name.as_ref(), &self.spec.roots, way);
        self.history.era.key = key;
        self.history.era.way = way;
        self.history.era.advice = "";
        self.history.started = Instant::now();
        self.history.was_ready = false;
        let child = self.child.insert(child);
        child.send(first);
        let patience = match way {
            Way::Probe => Some(self.spec.probe_timeout),
            // A slow start must not make the older era of what speaks both.
            Way::Discover => Some(self.spec.probe_timeout.max(self.spec.startup_timeout / 2)),
            Way::Initialize | Way::OnlyDiscover | Way::OnlyInitialize => None,
        };
        let now = Instant::now();
        self.life = Life::Opening {
            opening: Box::new(opening),
            until: now + self.spec.startup_timeout,
            patience: patience.map(|patience| now + patience),
        };
        self.publish();
    }

    /// Whether another child of this instance ran before, not counting those that were only tried.
    fn restarted(&self) -> bool {
        self.generation - self.history.era.tries > 1
    }

    // === Opening ===

    /// The child wrote a line while it is opened.
    pub(in crate::server) fn opening_line(&mut self, line: &Bytes) {
        if let Life::Opening { opening, .. } = &mut self.life {
            let steps = opening.line(line);
            self.opening_steps(steps);
        }
    }

    /// The time for a probe has passed.
    pub(super) fn opening_waited(&mut self) {
        if let Life::Opening { opening, patience, .. } = &mut self.life {
            *patience = None;
            let steps = opening.waited();
            tracing::debug!(server = %self.spec.name, generation = self.generation, awaits = opening.awaits(), "slow");
            self.opening_steps(steps);
        }
    }

    fn opening_steps(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Write(line) => self.child.iter_mut().for_each(|child| child.send(line.clone())),
                Step::Note(text) => self.child.iter_mut().for_each(|child| child.note(&text)),
                Step::Wait => {
                    if let Life::Opening { patience, .. } = &mut self.life {
                        *patience = Some(Instant::now() + self.spec.probe_timeout);
                    }
                }
                Step::Failed(why) => {
                    self.disbelieve();
                    return self.start_failed("initialize", &why);
                }
                Step::Again(way) => return self.stop_for_another(way),
                Step::Done(opened) => return self.opened(*opened),
            }
        }
    }

    fn opened(&mut self, opened: Opened) {
        let Life::Opening { until, .. } = self.life else { return };
        let Opened { handshake, next_wire, verdict } = opened;
        let (server, generation) = (&self.spec.name, self.generation);
        tracing::info!(%server, generation, era = ?handshake.era, version = handshake.version, "opened");
        if self.spec.era == EraChoice::Auto {
            match verdict {
                Some(era) => {
                    let kept = self.belief.learn(&self.history.era.key, era, SystemTime::now());
                    kept.into_iter().for_each(|value| self.world.keep_verdict(&self.spec, value));
                }
                None => self.disbelieve(),
            }
        }
        let facts = ChildFacts::parse(&handshake.capabilities);
        self.world.keep_handshake(&self.spec, &handshake);
        self.mux.warming(next_wire, facts, handshake.era);
        self.handshake = Some(Arc::new(handshake));
        self.life = Life::Warming { until };
        self.drains.clear();
        let mut lists = facts.lists();
        match lists.next() {
            Some(first) => self.drain(first),
            // Nothing can be listed: the handshake is the proof.
            None => self.ready(),
        }
    }

    /// What was believed of its era proved wrong, or at least of no use.
    pub(super) fn disbelieve(&mut self) {
        if self.belief.forget() {
            self.world.forget_verdict(&self.spec);
        }
    }

    // === Another process ===

    /// What the end of a child that is being opened means; gives it back.
    pub(super) fn ended_while_opened(&mut self, ended: Ended) -> Ended {
        if let Ended::Crashed(advice) = ended {
            self.history.era.advice = advice;
        }
        // It may have been replaced by a server of the other era behind the same command.
        if matches!(self.history.era.way, Way::Discover | Way::Initialize) {
            self.disbelieve();
        }
        ended
    }

    /// Why it is not ready, if it just ended.
    pub(super) fn unready(&self) -> String {
        format!("the server ended before it was ready{}", self.history.era.advice)
    }

    /// This process is of no use, and its end no failure.
    pub(super) fn stop_for_another(&mut self, way: Way) {
        self.tried(way);
        if let Some(child) = &mut self.child {
            child.kill();
        }
        self.life = Life::Stopping { after: After::Start };
        self.publish();
    }

    /// As [`Self::stop_for_another`], when it has ended by itself.
    pub(super) fn begin_another(&mut self, way: Way) {
        self.tried(way);
        self.begin();
    }

    fn tried(&mut self, way: Way) {
        let (server, generation) = (&self.spec.name, self.generation);
        tracing::info!(%server, generation, next = ?way, "does not bear the probe; starting it anew without");
        self.history.era.next = Some(way);
        self.history.era.tries += 1;
    }

    // === Ready ===

    /// A list was drained, or failed. The first one decides about readiness.
    pub(in crate::server) fn listed(&mut self, kind: ListKind, result: Result<(), String>) {
        match (&self.life, result) {
            (Life::Warming { .. }, Ok(())) => {
                self.ready();
                let facts = self.handshake.as_ref().map(|handshake| ChildFacts::parse(&handshake.capabilities));
                facts.unwrap_or_default().lists().filter(|other| *other != kind).for_each(|other| self.drain(other));
            }
            (Life::Warming { .. }, Err(why)) => self.start_failed("list", &why),
            _ => {}
        }
    }

    fn ready(&mut self) {
        let took = self.history.started.elapsed();
        tracing::info!(server = %self.spec.name, generation = self.generation, ms = took.as_millis(), "ready");
        self.life = Life::Ready { since: SystemTime::now() };
        self.history.permit = None;
        self.history.was_ready = true;
        self.history.down_since = None;
        self.failure = None;
        self.last_use = Instant::now();
        let (restarted, now) = (self.restarted(), self.now());
        self.mux.ready(restarted, now);
        self.publish();
    }
}

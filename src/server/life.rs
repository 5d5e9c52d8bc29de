//! The life of a child within its instance: start, handshake, ready, stop, death, backoff.
//!
//! In: controls, what arrives, the time. Out: transitions, and what they mean for the mux. Owns nothing of its own (the
//! state is the [`Instance`]'s). May not: repeat a start faster than the backoff says, or call a server ready before a
//! list call succeeded (DESIGN 2.7).
//!
//! ```text
//! Stopped -> Queued -> Spawning -> Opening -> Warming -> Ready -> (Draining ->) Stopping -> Stopped | Queued | Over
//!    ^                    |           |          |         |
//!    |                    v           v          v         v
//!    +---- wanted ---- Failed <--- too often -- Backoff -> Queued
//! ```

mod start;

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::child::{Child, Exit, SpawnError};
use crate::config::{RestartPolicy, Start};
use crate::limits::{
    BACKOFF_RESET_AFTER, CRASH_LOOP_EXITS_MAX, CRASH_LOOP_WINDOW, DRAIN, FAILED_RETRY_AFTER, SPAWN_PERMIT,
};
use crate::mcp::error::Reason;
use crate::mcp::{ErrorObject, ListKind};

use super::instance::{Control, Instance, STOPPED};
use super::opening::{Ended, Opening};
use super::snapshot::{Failure, State};

/// Where an instance is in its life.
pub(super) enum Life {
    Stopped,
    /// Waits for the family of the last child to be gone and for a permit to spawn.
    Queued(JoinHandle<OwnedSemaphorePermit>),
    Spawning(JoinHandle<Result<Child, SpawnError>>),
    Opening {
        opening: Box<Opening>,
        until: Instant,
        /// When the opening is told that it was waited for long enough.
        patience: Option<Instant>,
    },
    Warming {
        until: Instant,
    },
    Ready {
        since: SystemTime,
    },
    /// What is at the child may finish until then; `after` follows.
    Draining {
        until: Instant,
        after: After,
    },
    Stopping {
        after: After,
    },
    Backoff {
        until: Instant,
    },
    Failed {
        since: Instant,
    },
    /// The task ends.
    Over,
}

/// What follows a stop.
#[derive(Debug)]
pub(super) enum After {
    Stay,
    Start,
    /// It cannot be used: its end counts as its own, whose reason is known already or is to be found in it.
    Retry {
        stage: &'static str,
        known: bool,
    },
    End(oneshot::Sender<()>),
}

/// What arrives while no child runs.
pub(super) enum Arrived {
    Permit(Option<OwnedSemaphorePermit>),
    Child(Option<Result<Box<Child>, SpawnError>>),
}

/// What past children teach about the next start.
pub(super) struct History {
    backoff: Backoff,
    exits: VecDeque<Instant>,
    started: Instant,
    was_ready: bool,
    /// Since when calls wait for a child that was there before.
    down_since: Option<Instant>,
    /// The last child's family, being buried.
    burial: Option<JoinHandle<()>>,
    permit: Option<(OwnedSemaphorePermit, Instant)>,
    era: start::EraHistory,
}

impl History {
    pub(super) fn new(policy: &RestartPolicy) -> Self {
        Self {
            backoff: Backoff::new(policy.initial, policy.max),
            exits: VecDeque::new(),
            started: Instant::now(),
            was_ready: false,
            down_since: None,
            burial: None,
            permit: None,
            era: start::EraHistory::default(),
        }
    }

    pub(super) fn set_policy(&mut self, policy: &RestartPolicy) {
        self.backoff = Backoff::new(policy.initial, policy.max);
        self.exits.clear();
    }
}

impl Life {
    pub(super) fn state(&self) -> State {
        match self {
            Self::Stopped | Self::Over => State::Stopped,
            Self::Queued(_) | Self::Spawning(_) | Self::Opening { .. } | Self::Warming { .. } => State::Starting,
            Self::Ready { .. } => State::Ready,
            Self::Draining { .. } | Self::Stopping { .. } => State::Stopping,
            Self::Backoff { .. } => State::Backoff,
            Self::Failed { .. } => State::Failed,
        }
    }

    /// How far a start has come, as [`Failure::stage`] names it.
    fn start_stage(&self) -> Option<&'static str> {
        match self {
            Self::Opening { .. } => Some("initialize"),
            Self::Warming { .. } => Some("list"),
            _ => None,
        }
    }

    /// Waits for what the present state waits for, if that is not the child. Cancel safe.
    pub(super) async fn arrival(&mut self) -> Arrived {
        match self {
            Self::Queued(permit) => Arrived::Permit(permit.await.ok()),
            Self::Spawning(child) => Arrived::Child(child.await.ok().map(|child| child.map(Box::new))),
            _ => pending().await,
        }
    }
}

fn fraction() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

impl Instance {
    // === Wishes ===

    pub(super) fn on_control(&mut self, control: Control) {
        match control {
            Control::Wake { reply } => {
                self.wake();
                reply.send(()).ok();
            }
            Control::Restart { grace, reply } => {
                self.history.exits.clear();
                self.history.backoff.reset();
                self.stop_then(After::Start, grace);
                // The caller learns that it began; whether it worked is in the snapshot.
                reply.send(()).ok();
            }
            Control::Reconfigure { spec, restart } => {
                self.reconfigured(spec);
                if restart {
                    self.history.exits.clear();
                    let runs = !matches!(self.life, Life::Stopped | Life::Failed { .. } | Life::Backoff { .. });
                    let again = runs || self.spec.start == Start::Eager;
                    self.stop_then(if again { After::Start } else { After::Stay }, DRAIN);
                } else if matches!(self.life, Life::Ready { .. }) {
                    self.drain(ListKind::Tools);
                }
            }
            Control::Stop { grace, reply } => self.stop_then(After::End(reply), grace),
        }
    }

    /// Nobody can tell this instance anything any more.
    pub(super) fn abandoned(&mut self) {
        let ends = matches!(
            self.life,
            Life::Over | Life::Draining { after: After::End(_), .. } | Life::Stopping { after: After::End(_) }
        );
        if !ends {
            let (reply, _nobody) = oneshot::channel();
            self.stop_then(After::End(reply), Duration::ZERO);
        }
    }

    /// Somebody needs the child now.
    fn wake(&mut self) {
        match self.life {
            Life::Stopped => self.begin(),
            Life::Failed { since } if since.elapsed() >= FAILED_RETRY_AFTER => self.begin(),
            _ => {}
        }
    }

    /// A call waits in the mux: start the child if it is not there, or say why not.
    pub(super) fn wanted(&mut self) {
        if !self.mux.wants_child() {
            return;
        }
        self.wake();
        if matches!(self.life, Life::Failed { .. }) {
            self.fail_waiting();
        }
    }

    fn begin(&mut self) {
        self.history.down_since.get_or_insert_with(Instant::now);
        let burial = self.history.burial.take();
        let spawns = self.world.spawns.clone();
        let queued = self.world.scope.spawn("spawn-permit", async move {
            if let Some(burial) = burial {
                // How the family of the last child ended was logged there.
                burial.await.ok();
            }
            spawns.acquire_owned().await.expect("the semaphore is never closed")
        });
        self.life = Life::Queued(queued);
        self.publish();
    }

    fn stop_then(&mut self, after: After, grace: Duration) {
        self.history.era.reset();
        match &self.life {
            Life::Ready { .. } => {
                // Who comes to one that its server let go of had no time to learn of its successor.
                if !self.is_leaving() {
                    self.mux.pause();
                }
                self.life = Life::Draining { until: Instant::now() + grace, after };
            }
            Life::Draining { until, .. } => {
                let until = (*until).min(Instant::now() + grace);
                self.life = Life::Draining { until, after };
            }
            Life::Stopping { .. } => self.life = Life::Stopping { after },
            Life::Opening { .. } | Life::Warming { .. } => self.begin_stop(after),
            Life::Stopped | Life::Backoff { .. } | Life::Failed { .. } => self.stopped(after),
            // The permit task reads nothing of the old configuration: it may go on.
            Life::Queued(_) if matches!(after, After::Start) => {}
            // What is being buried or started ends before anything else starts.
            Life::Queued(_) | Life::Spawning(_) => {
                let life = std::mem::replace(&mut self.life, Life::Stopped);
                self.history.burial = Some(self.world.scope.spawn("late-child", late(life)));
                self.stopped(after);
            }
            Life::Over => {}
        }
        self.publish();
    }

    fn begin_stop(&mut self, after: After) {
        if let Some(child) = &mut self.child {
            child.begin_stop();
        }
        self.life = Life::Stopping { after };
        self.publish();
    }

    fn stopped(&mut self, after: After) {
        self.history.permit = None;
        match after {
            After::Stay => {
                self.life = Life::Stopped;
                self.wanted();
            }
            After::Start => self.begin(),
            After::Retry { .. } => self.again_later(),
            After::End(reply) => {
                self.life = Life::Over;
                let error = ErrorObject::internal(Reason::ShuttingDown, STOPPED);
                let now = self.now();
                self.mux.fail_waiting(&error, now);
                let error = ErrorObject::internal(Reason::ShuttingDown, "the server was stopped");
                self.mux.fail_asking(&error, now);
                self.flush();
                let burial = self.history.burial.take();
                self.world.scope.spawn("burial", async move {
                    if let Some(burial) = burial {
                        burial.await.ok();
                    }
                    reply.send(()).ok();
                });
            }
        }
        self.publish();
    }

    // === Arrivals ===

    pub(super) fn on_arrival(&mut self, arrived: Arrived) {
        match arrived {
            Arrived::Permit(Some(permit)) => {
                self.history.permit = Some((permit, Instant::now() + SPAWN_PERMIT));
                self.generation += 1;
                let (world, spec, generation) = (self.world.clone(), self.spec.clone(), self.generation);
                // Fork and exec take milliseconds: not on the thread that serves requests.
                self.life = Life::Spawning(tokio::task::spawn_blocking(move || world.spawn(&spec, generation)));
            }
            Arrived::Child(Some(Ok(child))) => self.spawned(*child),
            Arrived::Child(Some(Err(error))) => self.failed_for_good("spawn", error.to_string()),
            Arrived::Permit(None) | Arrived::Child(None) => {
                self.failed_for_good("spawn", "hub could not start it (a bug; see the log)".to_owned());
            }
        }
    }

    // === Deaths ===

    /// The child cannot be used any more although its process may live.
    pub(super) fn broken(&mut self, why: &str) {
        if matches!(self.life, Life::Stopping { .. }) {
            return;
        }
        if let Some(child) = &mut self.child {
            child.note(why);
        }
        if let Life::Opening { opening, .. } = &self.life {
            let ended = opening.ended();
            if let Ended::Again(way) = self.ended_while_opened(ended) {
                return self.stop_for_another(way);
            }
        }
        if let Some(stage) = self.life.start_stage() {
            // Often it is about to exit, and its exit says more than the closed pipe.
            return self.give_up_start(stage, false);
        }
        if let Some(child) = &mut self.child {
            child.kill();
        }
        let now = self.now();
        self.mux.down(&format!("the server is gone: {why}"), now);
    }

    /// Whatever the child still says, it is not ready and will not be.
    fn give_up_start(&mut self, stage: &'static str, known: bool) {
        if let Some(child) = &mut self.child {
            child.kill();
        }
        self.life = Life::Stopping { after: After::Retry { stage, known } };
        self.drains.clear();
        let now = self.now();
        self.mux.down("the server did not start", now);
        self.publish();
    }

    /// A start that did not lead to readiness.
    fn start_failed(&mut self, stage: &'static str, why: &str) {
        let message = self.with_stderr(why);
        tracing::warn!(server = %self.spec.name, generation = self.generation, stage, message, "not ready");
        self.set_failure(stage, message, String::new());
        self.give_up_start(stage, true);
    }

    pub(super) fn exited(&mut self, exit: Exit) {
        let Some(child) = self.child.take() else { return };
        let tail = child.stderr_tail();
        let finish = async move { drop(child.finish().await) };
        self.history.burial = Some(self.world.scope.spawn("burial", finish));
        self.history.permit = None;
        self.drains.clear();
        let now = self.now();
        self.mux.down(&format!("the server ended ({exit})"), now);
        self.flush();
        let life = std::mem::replace(&mut self.life, Life::Stopped);
        if let Life::Opening { opening, .. } = &life
            && let Ended::Again(way) = self.ended_while_opened(opening.ended())
        {
            return self.begin_another(way);
        }
        let unready = self.unready();
        match life {
            Life::Stopping { after: After::Retry { stage, known } } => {
                // Of a known reason, the exit that followed was hub's doing.
                if !known {
                    self.set_failure(stage, with_tail(&unready, &tail), exit.to_string());
                }
            }
            Life::Draining { after, .. } | Life::Stopping { after } => return self.stopped(after),
            Life::Ready { .. } => {
                self.set_failure("run", with_tail("the server ended by itself", &tail), exit.to_string());
            }
            Life::Opening { .. } => self.set_failure("initialize", with_tail(&unready, &tail), exit.to_string()),
            Life::Warming { .. } => self.set_failure("list", with_tail(&unready, &tail), exit.to_string()),
            Life::Stopped
            | Life::Queued(_)
            | Life::Spawning(_)
            | Life::Backoff { .. }
            | Life::Failed { .. }
            | Life::Over => {}
        }
        self.again_later();
    }

    fn again_later(&mut self) {
        let (now, history) = (Instant::now(), &mut self.history);
        if history.started.elapsed() >= BACKOFF_RESET_AFTER {
            history.backoff.reset();
        }
        history.exits.push_back(now);
        history.exits.retain(|exit| now - *exit < CRASH_LOOP_WINDOW);
        if history.exits.len() >= CRASH_LOOP_EXITS_MAX {
            let text = self.failure.as_ref().map_or_else(String::new, |failure| failure.message.clone());
            let times =
                format!("ended {CRASH_LOOP_EXITS_MAX} times within {} s; last: {text}", CRASH_LOOP_WINDOW.as_secs());
            return self.failed_for_good("run", times);
        }
        // One death of a server that worked is made good at once; what dies again has to wait.
        let first_death = history.was_ready && history.backoff.attempt() == 0;
        let pause = history.backoff.next_pause(fraction());
        let until = if first_death { now } else { now + pause };
        let held_long = history.down_since.get_or_insert(now).elapsed() > self.spec.startup_timeout;
        tracing::warn!(server = %self.spec.name, generation = self.generation, pause_ms = (until - now).as_millis(), "will be started again");
        self.life = Life::Backoff { until };
        if held_long || self.lists.kinds.iter().all(Option::is_none) {
            self.fail_waiting();
        }
        self.publish();
    }

    fn failed_for_good(&mut self, stage: &str, message: String) {
        tracing::error!(server = %self.spec.name, stage, message, "failed");
        let exit = self.failure.as_ref().map_or_else(String::new, |failure| failure.exit.clone());
        self.set_failure(stage, message, exit);
        self.history.permit = None;
        self.history.exits.clear();
        self.life = Life::Failed { since: Instant::now() };
        self.fail_waiting();
        self.publish();
    }

    fn fail_waiting(&mut self) {
        let why = self.failure.as_ref().map_or("it is not running", |failure| failure.message.as_str());
        let message = format!("server '{}' is unavailable: {why}", self.spec.name);
        let now = self.now();
        self.mux.fail_waiting(&ErrorObject::internal(Reason::ServerUnavailable, message), now);
    }

    fn set_failure(&mut self, stage: &str, message: String, exit: String) {
        let since = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        self.failure = Some(Arc::new(Failure { stage: stage.to_owned(), message, since, exit }));
    }

    fn with_stderr(&self, why: &str) -> String {
        with_tail(why, &self.child.as_ref().map(Child::stderr_tail).unwrap_or_default())
    }

    // === Time ===

    pub(super) fn life_deadline(&self) -> Option<Instant> {
        let own = match &self.life {
            Life::Opening { until, patience, .. } => Some(patience.map_or(*until, |at| at.min(*until))),
            Life::Warming { until } | Life::Backoff { until } => Some(*until),
            Life::Draining { until, .. } => Some(*until),
            Life::Ready { .. } => self.spec.idle_stop.map(|idle| self.last_use + idle),
            Life::Stopped
            | Life::Queued(_)
            | Life::Spawning(_)
            | Life::Stopping { .. }
            | Life::Failed { .. }
            | Life::Over => None,
        };
        let permit = self.history.permit.as_ref().map(|(_, until)| *until);
        [own, permit].into_iter().flatten().min()
    }

    pub(super) fn on_time(&mut self) {
        let now = Instant::now();
        if self.history.permit.as_ref().is_some_and(|(_, until)| *until <= now) {
            // A slow start must not keep others from starting.
            self.history.permit = None;
        }
        match &self.life {
            Life::Opening { until, .. } | Life::Warming { until } if *until <= now => {
                let stage = self.life.start_stage().unwrap_or("initialize");
                let limit = self.spec.startup_timeout.as_secs_f64();
                let to = match &self.life {
                    Life::Opening { opening, .. } => format!(" to {}", opening.awaits()),
                    _ => String::new(),
                };
                if matches!(self.life, Life::Opening { .. }) {
                    self.disbelieve();
                }
                self.start_failed(stage, &format!("no answer{to} within {limit} s (startup_timeout)"));
            }
            Life::Opening { patience: Some(at), .. } if *at <= now => self.opening_waited(),
            Life::Backoff { until } if *until <= now => {
                self.history.era.after_death();
                self.begin();
            }
            Life::Draining { until, .. } if *until <= now => self.drained(),
            Life::Ready { .. } if self.spec.idle_stop.is_some_and(|idle| self.last_use + idle <= now) => self.idle(now),
            _ => {}
        }
    }

    fn idle(&mut self, now: Instant) {
        let [calls, asks, _, subscriptions, tasks] = self.mux.sizes();
        if calls + asks + subscriptions + tasks > 0 {
            self.last_use = now;
        } else {
            tracing::info!(server = %self.spec.name, generation = self.generation, "idle, stopping it");
            self.mux.pause();
            self.begin_stop(After::Stay);
        }
    }

    fn drained(&mut self) {
        if let Life::Draining { after, .. } = std::mem::replace(&mut self.life, Life::Stopped) {
            self.mux.pause();
            self.begin_stop(after);
        }
    }

    /// Looks after each input whether a drain is complete, and whether anybody waits for a child that nobody starts: a
    /// call whose client was asked something meanwhile comes back to the queue by itself.
    pub(super) fn life_settles(&mut self) {
        if matches!(self.life, Life::Stopped | Life::Failed { .. }) && self.mux.wants_child() {
            self.wanted();
            self.flush();
        }
        if matches!(self.life, Life::Draining { .. }) && self.mux.written() == 0 && !self.has_late_commands() {
            self.drained();
        }
    }
}

fn with_tail(why: &str, stderr: &[String]) -> String {
    let last = &stderr[stderr.len().saturating_sub(5)..];
    if last.is_empty() { why.to_owned() } else { format!("{why}; stderr: {}", last.join(" | ")) }
}

/// A start that was under way when it was no longer wanted.
async fn late(life: Life) {
    match life {
        // Granted or not, the permit is given back.
        Life::Queued(permit) => drop(permit.await),
        Life::Spawning(child) => {
            if let Ok(Ok(child)) = child.await {
                child.stop().await;
            }
        }
        _ => {}
    }
}

//! The task of one server: which instance serves whom, and what the server as a whole looks like.
//!
//! In: [`ServerCommand`]s, snapshots of its instances. Out: instance handles, the merged snapshot. Owns the instances by
//! session. May not: see any message; calls go straight to instances.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::config::{ServerSpec, Share, Start};
use crate::limits::{DRAIN, RESTART_GRACE, SERVER_QUEUE_MAX};
use crate::mcp::ErrorObject;
use crate::mcp::error::Reason;

use super::instance::{self, Control, InstanceParts, Known};
use super::registry::{ServerCommand, ServerHandle};
use super::snapshot::{Counters, Handshake, Snapshot, State};
use super::world::World;

type HandshakeReply = oneshot::Sender<Result<Arc<Handshake>, ErrorObject>>;

/// See the module.
struct Task {
    spec: Arc<ServerSpec>,
    spec_out: watch::Sender<Arc<ServerSpec>>,
    world: Arc<World>,
    counters: Arc<Counters>,
    known: Known,
    /// The one for everybody; with `share = "session"` a spare that proves the server works and goes to the next session.
    common: Option<InstanceParts>,
    /// Callers without a session were given the common one: it is no session's own any more.
    common_is_shared: bool,
    by_session: HashMap<Arc<str>, InstanceParts>,
    /// Let go of, not gone yet.
    leaving: Vec<InstanceParts>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    changed: Arc<Notify>,
    waiting: Vec<HandshakeReply>,
}

/// Starts the task of a server. Its children start now (eager) or when needed (lazy).
pub async fn start(spec: Arc<ServerSpec>, world: Arc<World>, counters: Arc<Counters>) -> ServerHandle {
    let known = world.recall(&spec).await;
    let first = Snapshot {
        state: State::Stopped,
        handshake: known.handshake.clone(),
        lists: Arc::new(known.lists.clone()),
        generation: 0,
        pid: None,
        ready_since: None,
        failure: None,
    };
    let (snapshot, seen) = watch::channel(Arc::new(first));
    let (spec_out, spec_seen) = watch::channel(spec.clone());
    let (commands_in, commands) = mpsc::channel(SERVER_QUEUE_MAX);
    let handle = ServerHandle::new(spec.name.clone(), spec_seen, counters.clone(), commands_in, seen);
    let mut task = Task {
        spec,
        spec_out,
        world: world.clone(),
        counters,
        known,
        common: None,
        common_is_shared: false,
        by_session: HashMap::new(),
        leaving: Vec::new(),
        snapshot,
        changed: Arc::new(Notify::new()),
        waiting: Vec::new(),
    };
    task.common = Some(task.new_instance());
    if task.spec.start == Start::Eager {
        task.wake().await;
    }
    world.scope.spawn("server", task.run(commands));
    handle
}

impl Task {
    async fn run(mut self, mut commands: mpsc::Receiver<ServerCommand>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(ServerCommand::Stop { grace, reply }) => {
                        self.stop_all(grace).await;
                        reply.send(()).ok();
                        return;
                    }
                    Some(command) => self.on_command(command).await,
                    None => return self.stop_all(Duration::ZERO).await,
                },
                () = self.changed.notified() => {}
            }
            self.merge();
        }
    }

    fn new_instance(&self) -> InstanceParts {
        let spec = self.instance_spec();
        instance::start(spec, self.world.clone(), self.counters.clone(), self.known.clone(), self.changed.clone())
    }

    /// The configuration as an instance gets it.
    fn instance_spec(&self) -> Arc<ServerSpec> {
        let mut spec = self.spec.clone();
        if spec.share == Share::Session && spec.idle_stop.is_none() {
            // What is expensive is the instance of a session that sleeps, not the session (DESIGN 5).
            Arc::make_mut(&mut spec).idle_stop = Some(crate::limits::SESSION_INSTANCE_IDLE);
        }
        spec
    }

    async fn on_command(&mut self, command: ServerCommand) {
        match command {
            ServerCommand::Instance { session, reply } => {
                let is_shared = session.is_none();
                let handle = self.instance_for(session).handle.clone();
                self.common_is_shared |= is_shared;
                reply.send(handle).ok();
            }
            ServerCommand::Release { session } => {
                if let Some(parts) = self.by_session.remove(&session) {
                    self.let_go(vec![parts], Duration::ZERO).await;
                }
            }
            ServerCommand::Wake => self.wake().await,
            ServerCommand::Restart { reply } => {
                for parts in self.all() {
                    let (done, begun) = oneshot::channel();
                    parts.control.send(Control::Restart { grace: RESTART_GRACE, reply: done }).await.ok();
                    begun.await.ok();
                }
                reply.send(()).ok();
            }
            ServerCommand::Reconfigure { spec, reply } => {
                self.reconfigure(spec).await;
                reply.send(()).ok();
            }
            ServerCommand::Instances { reply } => {
                let all = self.all();
                reply.send(all.iter().chain(&self.leaving).map(|parts| parts.handle.snapshot()).collect()).ok();
            }
            ServerCommand::Handshake { reply } => {
                self.waiting.push(reply);
                self.wake().await;
            }
            ServerCommand::Stop { .. } => {}
        }
    }

    fn instance_for(&mut self, session: Option<Arc<str>>) -> &InstanceParts {
        // One whose task is gone (a bug ended it) is replaced.
        self.common.take_if(|parts| parts.control.is_closed());
        self.by_session.retain(|_, parts| !parts.control.is_closed());
        if let (Share::Session, Some(session)) = (self.spec.share, session) {
            if !self.by_session.contains_key(&session) {
                let spare = self.common.take_if(|_| !self.common_is_shared);
                let parts = spare.unwrap_or_else(|| self.new_instance());
                self.by_session.insert(session.clone(), parts);
            }
            return &self.by_session[&session];
        }
        if self.common.is_none() {
            self.common_is_shared = false;
            self.common = Some(self.new_instance());
        }
        self.common.as_ref().expect("set above")
    }

    fn all(&self) -> Vec<InstanceParts> {
        self.common.iter().chain(self.by_session.values()).cloned().collect()
    }

    async fn wake(&mut self) {
        let parts = self.instance_for(None).clone();
        let (reply, seen) = oneshot::channel();
        parts.control.send(Control::Wake { reply }).await.ok();
        // Who waits for the handshake must not be told of the failure that this start may mend.
        seen.await.ok();
    }

    async fn reconfigure(&mut self, spec: Arc<ServerSpec>) {
        let restart = spec.fingerprint() != self.spec.fingerprint();
        if restart {
            self.known = self.world.recall(&spec).await;
        }
        if spec.share != self.spec.share {
            // Sessions find their new instance with their next request.
            let old = self.take_all();
            self.let_go(old, DRAIN).await;
        }
        self.spec = spec.clone();
        self.spec_out.send_replace(spec);
        let spec = self.instance_spec();
        for parts in self.all() {
            parts.control.send(Control::Reconfigure { spec: spec.clone(), restart }).await.ok();
        }
        let nobody = self.common.is_none() && self.by_session.is_empty();
        if nobody && (self.spec.start == Start::Eager || !self.waiting.is_empty()) {
            self.wake().await;
        }
    }

    fn take_all(&mut self) -> Vec<InstanceParts> {
        let by_session = std::mem::take(&mut self.by_session).into_values();
        self.common.take().into_iter().chain(by_session).collect()
    }

    /// Lets instances end by themselves; they are remembered until they have, so that a stop of the server hurries them.
    async fn let_go(&mut self, old: Vec<InstanceParts>, grace: Duration) {
        for parts in &old {
            parts.leave(grace).await;
        }
        self.leaving.retain(|parts| !parts.control.is_closed());
        self.leaving.extend(old);
    }

    async fn stop_all(&mut self, grace: Duration) {
        let old = self.take_all();
        let mut stopped = Vec::new();
        for parts in old.iter().chain(&std::mem::take(&mut self.leaving)) {
            stopped.push(parts.stop(grace).await);
        }
        for done in stopped {
            done.await.ok();
        }
        let error = ErrorObject::internal(Reason::ShuttingDown, "the server was stopped");
        for reply in self.waiting.drain(..) {
            reply.send(Err(error.clone())).ok();
        }
    }

    /// The server is as well as its best instance; what an instance learned is known to all.
    fn merge(&mut self) {
        let best_first =
            [State::Ready, State::Starting, State::Backoff, State::Failed, State::Stopping, State::Stopped];
        let rank = |state: State| best_first.iter().position(|best| *best == state).unwrap_or(best_first.len());
        let all: Vec<Arc<Snapshot>> = self.all().iter().map(|parts| parts.handle.snapshot()).collect();
        let Some(best) = all.into_iter().min_by_key(|snapshot| rank(snapshot.state)) else {
            // The last instance went with its session.
            let none =
                Snapshot { state: State::Stopped, pid: None, ready_since: None, ..(**self.snapshot.borrow()).clone() };
            self.snapshot.send_replace(Arc::new(none));
            return;
        };
        if best.handshake.is_some() {
            self.known.handshake.clone_from(&best.handshake);
        }
        if best.state == State::Ready || best.lists.kinds.iter().any(Option::is_some) {
            self.known.lists = (*best.lists).clone();
        }
        self.answer_waiting(&best);
        let merged = Snapshot { handshake: self.known.handshake.clone(), ..(*best).clone() };
        self.snapshot.send_replace(Arc::new(merged));
    }

    fn answer_waiting(&mut self, best: &Snapshot) {
        let answer = match (&best.handshake, &best.failure, best.state) {
            (Some(handshake), _, _) => Ok(handshake.clone()),
            (None, Some(failure), State::Backoff | State::Failed) => {
                let message = format!("server '{}' is unavailable: {}", self.spec.name, failure.message);
                Err(ErrorObject::internal(Reason::ServerUnavailable, message))
            }
            _ => return,
        };
        for reply in self.waiting.drain(..) {
            reply.send(answer.clone()).ok();
        }
    }
}

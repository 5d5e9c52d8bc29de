//! The servers by name: handles, and an immutable table of them.
//!
//! In: changes from the supervisor (a new [`Registry`] each time). Out: handles. Owned by whoever holds the `Arc`.
//! May not: start or stop anything by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{ServerName, ServerSpec};
use crate::mcp::ErrorObject;
use crate::mcp::error::Reason;

use super::handle::InstanceHandle;
use super::snapshot::{Counters, Failure, Handshake, Snapshot, State};

/// What travels to a server task.
#[derive(Debug)]
pub(super) enum ServerCommand {
    /// The instance that serves this session (`None`: any caller without one).
    Instance {
        session: Option<Arc<str>>,
        reply: oneshot::Sender<InstanceHandle>,
    },
    /// The session ended: an instance of its own is stopped.
    Release {
        session: Arc<str>,
    },
    /// Somebody needs a child.
    Wake,
    Restart {
        reply: oneshot::Sender<()>,
    },
    Reconfigure {
        spec: Arc<ServerSpec>,
        reply: oneshot::Sender<()>,
    },
    Instances {
        reply: oneshot::Sender<Vec<Arc<Snapshot>>>,
    },
    /// The handshake, now or when the child is ready.
    Handshake {
        reply: oneshot::Sender<Result<Arc<Handshake>, ErrorObject>>,
    },
    Stop {
        grace: Duration,
        reply: oneshot::Sender<()>,
    },
}

/// The way to one server. Cheap to clone; stays valid across restarts and reloads until the server is removed.
#[derive(Debug, Clone)]
pub struct ServerHandle(Arc<Ways>);

/// What all handles of a server share.
#[derive(Debug)]
struct Ways {
    name: ServerName,
    spec: watch::Receiver<Arc<ServerSpec>>,
    counters: Arc<Counters>,
    commands: mpsc::Sender<ServerCommand>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The instance that passing callers use, so that a request does not ask the server's task for it.
    passing: Mutex<Option<InstanceHandle>>,
}

impl ServerHandle {
    pub(super) fn new(
        name: ServerName,
        spec: watch::Receiver<Arc<ServerSpec>>,
        counters: Arc<Counters>,
        commands: mpsc::Sender<ServerCommand>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        Self(Arc::new(Ways { name, spec, counters, commands, snapshot, passing: Mutex::default() }))
    }

    /// Its name in hub.toml.
    pub fn name(&self) -> &ServerName {
        &self.0.name
    }

    /// Whether both lead to the same server, and not to another one that has its name now.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Its configuration now.
    pub fn spec(&self) -> Arc<ServerSpec> {
        self.0.spec.borrow().clone()
    }

    /// Its running totals.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.0.counters
    }

    /// State, handshake and lists as of now, summed over its instances.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot.borrow().clone()
    }

    /// Wakes when the snapshot changes (the aggregate's catalogue).
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.snapshot.clone()
    }

    /// The handshake: at once from the last good one, else when the child is ready (at most `startup_timeout`).
    /// Starts a lazy server only if no handshake was ever seen.
    pub async fn handshake(&self) -> Result<Arc<Handshake>, ErrorObject> {
        if let Some(handshake) = &self.0.snapshot.borrow().handshake {
            return Ok(handshake.clone());
        }
        self.ask(|reply| ServerCommand::Handshake { reply }).await?
    }

    /// The instance for a session: the shared one, or the session's own (`share = "session"`). Does not start a child;
    /// the first call that needs one does.
    pub async fn instance(&self, session: Option<Arc<str>>) -> Result<InstanceHandle, ErrorObject> {
        self.ask(|reply| ServerCommand::Instance { session, reply }).await
    }

    /// The instance for a caller without a session, without a way through the server's task if it is known.
    pub async fn passing_instance(&self) -> Result<InstanceHandle, ErrorObject> {
        let known = || self.0.passing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instance) = known().as_ref().filter(|instance| !instance.is_closed()) {
            return Ok(instance.clone());
        }
        let instance = self.instance(None).await?;
        *known() = Some(instance.clone());
        Ok(instance)
    }

    /// A session ended: stops an instance of its own.
    pub async fn release(&self, session: Arc<str>) {
        self.0.commands.send(ServerCommand::Release { session }).await.ok();
    }

    /// Starts its child if it is not there, as a request would; a `failed` one is tried again as often as requests may.
    pub async fn wake(&self) {
        self.0.commands.send(ServerCommand::Wake).await.ok();
    }

    /// Stops and starts its children; sessions stay. Also the way out of `failed`.
    pub async fn restart(&self) -> Result<(), ErrorObject> {
        self.ask(|reply| ServerCommand::Restart { reply }).await
    }

    /// Applies a changed configuration: children restart (after a bounded drain) only if what runs them changed.
    pub async fn reconfigure(&self, spec: Arc<ServerSpec>) -> Result<(), ErrorObject> {
        self.ask(|reply| ServerCommand::Reconfigure { spec, reply }).await
    }

    /// All instances (one for `shared`).
    pub async fn instances(&self) -> Vec<Arc<Snapshot>> {
        self.ask(|reply| ServerCommand::Instances { reply }).await.unwrap_or_default()
    }

    /// Stops its children and ends the server's task; what is in flight may finish within `grace`. Afterwards every use
    /// of the handle is an error.
    pub async fn stop(&self, grace: Duration) {
        self.ask(|reply| ServerCommand::Stop { grace, reply }).await.ok();
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> ServerCommand) -> Result<T, ErrorObject> {
        let gone = || ErrorObject::internal(Reason::ServerUnavailable, "the server was removed from hub.toml");
        let (reply, answer) = oneshot::channel();
        if self.0.commands.send(command(reply)).await.is_err() {
            return Err(gone());
        }
        answer.await.ok().ok_or_else(gone)
    }
}

/// One configured server, running or not.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its name.
    pub name: ServerName,
    /// The port of its own listener.
    pub port: u16,
    /// Runs, or why it cannot (its configuration is unusable, or it is disabled).
    pub handle: Result<ServerHandle, NotRunning>,
    /// Its listener could not be bound: it still answers on the hub port.
    pub listen_failure: Option<Arc<Failure>>,
}

impl Registered {
    /// The state that everything reports for it.
    pub fn state(&self) -> State {
        match &self.handle {
            Ok(handle) => handle.snapshot().state,
            Err(NotRunning::Disabled) => State::Disabled,
            Err(NotRunning::Unusable(_)) => State::Failed,
        }
    }

    /// What is wrong with it: its child, its configuration, or else its listener.
    pub fn failure(&self) -> Option<Arc<Failure>> {
        let own = match &self.handle {
            Ok(handle) => handle.snapshot().failure.clone(),
            Err(NotRunning::Unusable(failure)) => Some(failure.clone()),
            Err(NotRunning::Disabled) => None,
        };
        own.or_else(|| self.listen_failure.clone())
    }
}

/// A configured server without a task.
#[derive(Debug, Clone)]
pub enum NotRunning {
    /// `enabled = false`
    Disabled,
    /// Its part of hub.toml cannot be used.
    Unusable(Arc<Failure>),
}

/// All configured servers, in the order of hub.toml. Replaced as a whole, never changed.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    servers: Vec<Registered>,
    by_name: HashMap<ServerName, usize>,
}

impl Registry {
    /// A table of these servers, in this order.
    pub fn new(servers: Vec<Registered>) -> Self {
        let by_name = servers.iter().enumerate().map(|(index, server)| (server.name.clone(), index)).collect();
        Self { servers, by_name }
    }

    /// All, in the order of hub.toml.
    pub fn servers(&self) -> &[Registered] {
        &self.servers
    }

    /// The one of that name.
    pub fn get(&self, name: &str) -> Option<&Registered> {
        self.by_name.get(name).map(|&index| &self.servers[index])
    }

    /// Handles of those that run.
    pub fn running(&self) -> impl Iterator<Item = &ServerHandle> {
        self.servers.iter().filter_map(|server| server.handle.as_ref().ok())
    }
}

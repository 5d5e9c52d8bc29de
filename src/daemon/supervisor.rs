//! The task that owns the running configuration, the servers and the listeners.
//!
//! In: commands, signals, changes of hub.toml. Out: started, changed and stopped servers; a new registry each time. Owns
//! all of them. May not: touch a server that a change does not concern, or let a bad file change anything.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::config::{self, Config, HubChange, ServerEntry, ServerName, Step, file};
use crate::control::{Command, Facts, command::Report, proto::NOTHING_CHANGED};
use crate::files::Lock;
use crate::http::{Context, Face, Listener, Settings};
use crate::limits::{
    BIND_RETRY, CHANGE_PATIENCE, DOOR_PAUSE, DOOR_TRIES, DRAIN, SHUTDOWN_DRAIN, SHUTDOWN_LINGER, SUPERVISOR_QUEUE_MAX,
};
use crate::platform::dirs::{Dirs, home_or_root};
use crate::platform::kept::Kept;
use crate::platform::notify;
use crate::platform::signals::{Signals, Wish};
use crate::server::registry::{NotRunning, Registered};
use crate::server::{self, Counters, Failure, Registry, ServerHandle, World};
use crate::session::Sessions;

use super::beats::Beats;
use super::doors::{Door, Ports};
use super::telemetry::Telemetry;
use super::{Error, report};

/// What the supervisor works with.
pub(super) struct Parts {
    pub(super) dirs: Dirs,
    pub(super) telemetry: Telemetry,
    pub(super) world: Arc<World>,
    pub(super) ctx: Context,
    pub(super) registry: watch::Sender<Arc<Registry>>,
    pub(super) settings: watch::Sender<Arc<Settings>>,
    pub(super) facts: watch::Sender<Arc<Facts>>,
    /// What hub.toml names, for who watches it.
    pub(super) files: watch::Sender<file::Files>,
    pub(super) sessions: Arc<Sessions>,
}

/// One configured server.
struct Slot {
    entry: ServerEntry,
    running: Result<ServerHandle, NotRunning>,
    counters: Arc<Counters>,
    door: Door,
}

/// A server to be enabled or disabled in hub.toml, as soon as nobody else changes that.
struct Wanted {
    name: String,
    enabled: bool,
    reply: oneshot::Sender<Report>,
    since: Instant,
}

/// The lock for a change, `WouldBlock` when its patience ends; never, without one. Dropped, it loses nothing.
async fn lock_for(wanted: Option<&Wanted>, folder: &Path) -> io::Result<Lock> {
    match wanted {
        Some(wanted) => Lock::wait(folder, CHANGE_PATIENCE.saturating_sub(wanted.since.elapsed())).await,
        None => std::future::pending().await,
    }
}

/// See the module.
pub(super) struct Supervisor {
    parts: Parts,
    config: Option<Config>,
    hub: SocketAddr,
    hub_listener: Option<Listener>,
    ports: Ports,
    slots: HashMap<ServerName, Slot>,
    /// In the order in which they were asked for, at most [`SUPERVISOR_QUEUE_MAX`].
    wanted: VecDeque<Wanted>,
}

impl Supervisor {
    pub(super) async fn new(parts: Parts, hub: SocketAddr, kept: Kept) -> Result<Self, Error> {
        let ports = Ports::load(parts.world.store.clone(), kept).await;
        Ok(Self { parts, config: None, hub, hub_listener: None, ports, slots: HashMap::new(), wanted: VecDeque::new() })
    }

    /// The first start is the difference from nothing.
    pub(super) async fn begin(&mut self, config: Config) {
        self.apply(config).await;
    }

    /// Serves the hub port from now on.
    pub(super) fn open(&mut self, socket: std::net::TcpListener) -> io::Result<()> {
        self.hub_listener = Some(Listener::start(&self.parts.ctx, Face::Hub, socket)?);
        Ok(())
    }

    /// Says that every listener is served, or is no longer.
    pub(super) fn tell_ready(&self, ready: bool) {
        self.parts.facts.send_modify(|facts| Arc::make_mut(facts).ready = ready);
    }

    /// Works until hub is to stop, then stops everything.
    pub(super) async fn run(
        mut self,
        mut signals: Signals,
        mut commands: mpsc::Receiver<Command>,
        mut changes: mpsc::Receiver<()>,
    ) {
        let mut retries = interval(BIND_RETRY);
        retries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beats = Beats::new();
        loop {
            let shut = self.slots.values().any(|slot| slot.door.listener.is_none());
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::Stop => break,
                    Wish::Reload => self.reload_and_log().await,
                },
                command = commands.recv() => match command {
                    Some(Command::Stop { reply }) => {
                        reply.send(Ok(vec!["stopping".to_owned()])).ok();
                        break;
                    }
                    Some(command) => self.on_command(command).await,
                    None => break,
                },
                lock = lock_for(self.wanted.front(), &self.parts.dirs.state_dir) => self.on_lock(lock).await,
                Some(()) = changes.recv() => self.reload_and_log().await,
                _ = retries.tick(), if shut => self.open_shut_doors(),
                // Here and nowhere else: a supervisor that is stuck must be missed.
                () = beats.next() => beats.send(&self.parts.registry.borrow()),
            }
        }
        tokio::select! {
            () = self.stop() => {}
            // Asked twice: the guardian ends the children.
            _ = signals.next() => tracing::warn!("stopping at once"),
        }
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Reload { reply } => {
                let report = self.reload().await;
                reply.send(report).ok();
            }
            Command::Restart { name, reply } => {
                let report = match self.slot(&name).map(|slot| slot.running.clone()) {
                    Err(unknown) => Err(unknown),
                    Ok(Ok(handle)) => match handle.restart().await {
                        Ok(()) => Ok(vec![format!("restarting {name}")]),
                        Err(error) => Err(error.message),
                    },
                    Ok(Err(NotRunning::Disabled)) => Err(format!("{name} is disabled; `hub enable {name}` enables it")),
                    Ok(Err(NotRunning::Unusable(failure))) => Err(failure.message.clone()),
                };
                reply.send(report).ok();
            }
            Command::SetEnabled { name, enabled, reply } => {
                if self.wanted.len() < SUPERVISOR_QUEUE_MAX {
                    self.wanted.push_back(Wanted { name, enabled, reply, since: Instant::now() });
                } else {
                    reply.send(Err("too many changes of hub.toml wait for their turn".to_owned())).ok();
                }
            }
            Command::Stop { reply } => drop(reply),
        }
    }

    fn slot(&self, name: &str) -> Result<&Slot, String> {
        self.slots.get(name).ok_or_else(|| {
            let mut names: Vec<&str> = self.slots.keys().map(AsRef::as_ref).collect();
            names.sort_unstable();
            format!("there is no server '{name}'; there are: {}", names.join(", "))
        })
    }

    async fn on_lock(&mut self, lock: io::Result<Lock>) {
        if let Some(Wanted { name, enabled, reply, .. }) = self.wanted.pop_front() {
            let report = self.set_enabled(&name, enabled, lock).await;
            reply.send(report).ok();
        }
    }

    async fn set_enabled(&mut self, name: &str, enabled: bool, lock: io::Result<Lock>) -> Report {
        self.slot(name)?;
        let path = self.parts.dirs.config_file.clone();
        let cannot = |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", path.display());
        let lock = lock.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => cannot(&"another hub command is changing it"),
            _ => cannot(&error),
        })?;
        let text = file::read(&path).map_err(|error| error.to_string())?;
        if file::load(&text, &path, &home_or_root()).refuses_reload() {
            // Which says what is wrong; a text that nothing comes of is not written.
            return self.reload().await;
        }
        let edited = config::edit::set_enabled(&text, name, enabled)?;
        file::replace(&path, Some(&text), &edited, false).map_err(|error| cannot(&error))?;
        drop(lock);
        self.reload().await
    }

    // === Reload ===

    async fn reload_and_log(&mut self) {
        match self.reload().await {
            Ok(lines) => lines.iter().for_each(|line| tracing::info!("hub.toml: {line}")),
            Err(problems) => tracing::error!("hub.toml was not applied:\n{problems}"),
        }
    }

    /// Reads hub.toml again and applies the difference. A file with something wrong changes nothing.
    async fn reload(&mut self) -> Report {
        notify::reloading();
        let report = self.reload_now().await;
        notify::ready();
        report
    }

    async fn reload_now(&mut self) -> Report {
        let path = &self.parts.dirs.config_file;
        let judged = file::read(path).map_err(|error| error.to_string()).and_then(|text| {
            let loaded = file::load(&text, path, &home_or_root());
            let refuse = loaded.refuses_reload();
            self.parts.files.send_replace(loaded.files);
            let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
            match loaded.config {
                Some(config) if !refuse => Ok((config, problems)),
                _ => Err(problems.join("\n")),
            }
        });
        let error = judged.as_ref().err().cloned();
        self.parts.facts.send_modify(|facts| Arc::make_mut(facts).config_error = error);
        let (config, mut lines) = judged?;
        lines.extend(self.apply(config).await);
        if lines.is_empty() {
            lines.push(NOTHING_CHANGED.to_owned());
        }
        Ok(lines)
    }

    async fn apply(&mut self, config: Config) -> Vec<String> {
        let plan = config::diff(self.config.as_ref(), &config);
        let first = self.config.is_none();
        let mut lines = Vec::new();
        self.config = Some(config.clone());
        if let Some(change) = plan.hub_changed.as_ref().filter(|_| !first) {
            self.apply_hub(change);
            lines.extend(report::hub(change));
        }
        for step in plan.steps {
            lines.extend(report::step(&step));
            match step {
                Step::Add(entry) => self.add(&config, entry).await,
                Step::Remove(name) => self.remove(&name),
                Step::Change(entry, changed) => self.change(&config, entry, changed.keys.contains(&"port")).await,
                Step::Reorder(_) => {}
            }
        }
        self.settle_doors().await;
        self.ports.forget_unserved();
        self.publish();
        let shut = self.slots.values().filter_map(|slot| Some((&slot.entry.name, slot.door.failure.as_ref()?)));
        lines.extend(shut.map(|(name, failure)| format!("{name}: {}", failure.message)));
        lines
    }

    /// Ports that moved from one server to another are free as soon as the old listener has noticed.
    async fn settle_doors(&mut self) {
        for _ in 0..DOOR_TRIES {
            if self.slots.values().all(|slot| slot.door.listener.is_some()) {
                return;
            }
            tokio::time::sleep(DOOR_PAUSE).await;
            self.open_shut_doors();
        }
    }

    fn apply_hub(&mut self, change: &HubChange) {
        self.parts.settings.send_replace(Arc::new(Settings::from(&change.to)));
        self.parts.sessions.set_options(super::session_options(&change.to));
        if change.keys.contains(&"log") && !self.parts.telemetry.set(&change.to.log) {
            tracing::warn!(log = change.to.log, "not a log filter; the old one stays");
        }
    }

    async fn add(&mut self, config: &Config, entry: ServerEntry) {
        let counters = Arc::new(Counters::default());
        let running = self.start(&entry, &counters).await;
        // Known before its door opens: who comes in at once must find it.
        let shut = Door { port: 0, listener: None, failure: None };
        let slot = Slot { entry: entry.clone(), running, counters, door: shut };
        self.slots.insert(entry.name.clone(), slot);
        self.publish();
        let door = self.ports.open(&self.parts.ctx, config, self.hub.port(), &entry).await;
        self.slots.entry(entry.name).and_modify(|slot| slot.door = door);
    }

    async fn start(&self, entry: &ServerEntry, counters: &Arc<Counters>) -> Result<ServerHandle, NotRunning> {
        match &entry.spec {
            Ok(_) if !entry.enabled => Err(NotRunning::Disabled),
            Ok(spec) => Ok(server::start(spec.clone(), self.parts.world.clone(), counters.clone()).await),
            Err(_) if !entry.enabled => Err(NotRunning::Disabled),
            Err(problems) => {
                let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                let since = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
                let failure = Failure { stage: "config".to_owned(), message, since, exit: String::new() };
                Err(NotRunning::Unusable(Arc::new(failure)))
            }
        }
    }

    fn remove(&mut self, name: &ServerName) {
        if let Some(slot) = self.slots.remove(name) {
            if let Ok(handle) = slot.running {
                drop(self.parts.world.scope.spawn("remove-server", async move { handle.stop(DRAIN).await }));
            }
            self.shut(slot.door.listener);
        }
    }

    /// Lets the connections of a door finish, and its port be another's.
    fn shut(&mut self, listener: Option<Listener>) {
        let Some(listener) = listener else { return };
        listener.close();
        self.ports.release(listener.address());
        drop(self.parts.world.scope.spawn("shut-door", async move { listener.stop(DRAIN).await }));
    }

    async fn change(&mut self, config: &Config, entry: ServerEntry, new_port: bool) {
        let Some(mut slot) = self.slots.remove(&entry.name) else { return self.add(config, entry).await };
        // Writing down the port that a server has anyway must not shut its door: hub would find the port taken by itself.
        let stays = slot.door.listener.is_some() && self.ports.promised(&entry) == Some(slot.door.port);
        if new_port && !stays {
            self.shut(slot.door.listener.take());
            slot.door = self.ports.open(&self.parts.ctx, config, self.hub.port(), &entry).await;
        }
        slot.running = match (slot.running, &entry.spec) {
            (Ok(handle), Ok(spec)) if entry.enabled => {
                // An error means that it was removed meanwhile, which only this task does.
                handle.reconfigure(spec.clone()).await.ok();
                Ok(handle)
            }
            (Ok(handle), _) => {
                drop(self.parts.world.scope.spawn("stop-server", async move { handle.stop(DRAIN).await }));
                self.start(&entry, &slot.counters).await
            }
            (Err(_), _) => self.start(&entry, &slot.counters).await,
        };
        slot.entry = entry;
        self.slots.insert(slot.entry.name.clone(), slot);
    }

    fn publish(&self) {
        let order = self.config.iter().flat_map(|config| &config.servers);
        let registered = order.filter_map(|entry| self.slots.get(&entry.name)).map(|slot| Registered {
            name: slot.entry.name.clone(),
            port: slot.door.port,
            handle: slot.running.clone(),
            listen_failure: slot.door.failure.clone(),
        });
        self.parts.registry.send_replace(Arc::new(Registry::new(registered.collect())));
    }

    fn open_shut_doors(&mut self) {
        let Some(host) = self.config.as_ref().map(|config| config.hub.host) else { return };
        let shut = self.slots.values_mut().filter(|slot| slot.door.listener.is_none() && slot.door.port != 0);
        for slot in shut {
            let door = self.ports.door(&self.parts.ctx, host, slot.door.port, &slot.entry);
            if door.listener.is_some() {
                slot.door = door;
            }
        }
        self.publish();
    }

    // === Shutdown ===

    /// Accept nothing new, end streams, let calls finish, stop children, let connections take their last bytes.
    async fn stop(self) {
        notify::stopping();
        self.tell_ready(false);
        tracing::info!("stopping");
        let mut listeners: Vec<Listener> = self.hub_listener.into_iter().collect();
        listeners.extend(self.slots.into_values().filter_map(|slot| slot.door.listener));
        listeners.iter().for_each(Listener::close);
        self.parts.sessions.suspend();
        self.parts.ctx.exchanges.suspend();
        let registry = self.parts.registry.borrow().clone();
        let scope = crate::tasks::Scope::new();
        for handle in registry.running() {
            let handle = handle.clone();
            drop(scope.spawn("stop-server", async move { handle.stop(SHUTDOWN_DRAIN).await }));
        }
        // Children are bounded by their own stop sequence; this only guards against a bug in it.
        scope.join(SHUTDOWN_DRAIN + DRAIN).await;
        for listener in listeners {
            drop(scope.spawn("stop-listener", listener.stop(SHUTDOWN_LINGER)));
        }
        scope.join(SHUTDOWN_LINGER * 2).await;
    }
}

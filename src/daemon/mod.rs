//! The daemon: bootstrap in order, wait, shut down in order.
//!
//! In: where the configuration is. Out: a running hub until a signal or `hub down`. Owns the runtime and everything in
//! it. May not: serve anything itself; the supervisor and the rooms below do.
//!
//! Start: log, folders, control socket (the lock against a second daemon), configuration, store, hub socket, guardian,
//! supervisor with its listeners, `ready`. Sockets are bound before any child starts, so a taken port is an immediate,
//! clean failure, and no client is ever refused while children install.

mod beats;
mod doors;
mod memory;
mod output;
mod report;
mod supervisor;
mod telemetry;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::aggregate::Aggregate;
use crate::child::{Journal, LogFiles};
use crate::config::{Config, HubSpec, Problem, file};
use crate::control::{Desk, Facts};
use crate::exchange::Exchanges;
use crate::http::{self, Settings};
use crate::limits;
use crate::platform::dirs::{Dirs, MOVED_OUT, home_or_root};
use crate::platform::guardian::Guardian;
use crate::platform::kept::Kept;
use crate::platform::signals::Signals;
use crate::platform::sockets::ControlSocket;
use crate::platform::{detached, notify, rlimits};
use crate::server::usage::Meter;
use crate::server::{Registry, World};
use crate::session::{self, Sessions};
use crate::store::Store;
use crate::tasks::Scope;

use supervisor::{Parts, Supervisor};
use telemetry::Telemetry;

/// Why the daemon did not run, by exit code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// hub.toml cannot be used (exit code 78).
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Config(Vec<Problem>),
    /// hub.toml cannot be read (exit code 78).
    #[error("{error}")]
    NoConfig {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        #[source]
        error: file::Error,
    },
    /// Anything else (exit code 1).
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// Runs hub in the foreground until it is told to stop.
pub fn serve(config: Option<&Path>) -> Result<(), Error> {
    let telemetry = Telemetry::start();
    let kept = Kept::take();
    detached::keep_descriptors();
    rlimits::raise_open_files();
    // One thread serves: what one call costs is system calls, and handing it to another thread costs more of them.
    // What blocks (fork, database, files) has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(limits::BLOCKING_THREADS_MAX)
        .thread_keep_alive(limits::BLOCKING_KEEP_ALIVE)
        .build()
        .context("starting the runtime")?;
    let outcome = runtime.block_on(run(config, telemetry, kept));
    runtime.shutdown_timeout(limits::SHUTDOWN_LINGER);
    outcome
}

async fn run(config: Option<&Path>, telemetry: Telemetry, mut kept: Kept) -> Result<(), Error> {
    let dirs = Dirs::find(config).context("finding hub's folders")?;
    dirs.create().context("making hub's folders")?;
    let control = ControlSocket::bind(&dirs.control_socket).context("taking the control socket")?;
    // Whoever starts it is not moving out any more.
    std::fs::remove_file(dirs.state_dir.join(MOVED_OUT)).ok();
    let signals = Signals::listen().context("listening for signals")?;
    let (text, config, files) = load(&dirs.config_file)?;
    if !telemetry.set(&config.hub.log) {
        tracing::warn!(log = config.hub.log, "not a log filter; logging at info");
    }
    let scope = Scope::new();
    let address = SocketAddr::new(config.hub.host, config.hub.port);
    let socket = doors::listening(&mut kept, address).context("binding the hub port")?;
    kept.keep(&socket);
    let store = Store::open(&dirs.database()).context("opening the state")?;
    let started = Started::new(&dirs, &config, store, scope.clone()).await?;
    let (registry, seen) = watch::channel(Arc::new(Registry::default()));
    let (settings, settings_seen) = watch::channel(Arc::new(Settings::from(&config.hub)));
    let aggregate = Aggregate::new(seen.clone());
    drop(scope.spawn("own-log", output::keep_bounded(dirs.own_log(), scope.stopping().clone())));
    drop(scope.spawn("memory", memory::keep_small(scope.stopping().clone())));
    drop(scope.spawn("aggregate", aggregate.clone().run(scope.stopping().clone())));
    let options = session_options(&config.hub);
    let sessions = Sessions::new(options, Some(started.world.store.clone()), scope.clone());
    drop(scope.spawn("sessions", sessions.clone().keep(limits::SESSION_SWEEP, scope.stopping().clone())));
    let follow = sessions.clone().follow(aggregate.changes(), scope.stopping().clone());
    drop(scope.spawn("aggregate-changes", follow));
    let exchanges = Exchanges::new(seen.clone(), scope.clone());
    let meter = Meter::new(started.world.guardian.run_id());
    let ctx = http::Context::new(seen.clone(), settings_seen, aggregate, (sessions.clone(), exchanges), meter.clone());
    let address = socket.local_addr().context("asking for the hub port")?;
    let url = format!("http://{address}");
    let (commands, commands_in) = mpsc::channel(limits::SUPERVISOR_QUEUE_MAX);
    let (facts, facts_seen) = watch::channel(Arc::new(Facts {
        started_at: SystemTime::now(),
        config: dirs.config_file.clone(),
        url: url.clone(),
        run_id: started.world.guardian.run_id().to_owned(),
        ready: false,
        config_error: None,
    }));
    let desk = Desk { registry: seen, facts: facts_seen, sessions: sessions.clone(), meter, commands };
    drop(scope.spawn("control", crate::control::serve::run(control, desk, scope.stopping().clone())));
    let (files, named) = watch::channel(files);
    let changes = crate::config::watch::watch(&scope, dirs.config_file.clone(), Some(text), named);
    let world = started.world.clone();
    let parts = Parts { dirs, telemetry, world, ctx, registry, settings, facts, files, sessions };
    let mut supervisor = Supervisor::new(parts, address, kept).await?;
    supervisor.begin(config).await;
    // Who connected meanwhile waited in the backlog: a configured path must not be unknown for a moment.
    supervisor.open(socket).context("serving the hub port")?;
    supervisor.tell_ready(true);
    announce(&url)?;
    supervisor.run(signals, commands_in, changes).await;
    started.finish(&scope).await;
    Ok(())
}

/// Reads and judges hub.toml. Problems of single servers are logged; those servers are `failed`.
fn load(path: &Path) -> Result<(String, Config, file::Files), Error> {
    let text = file::read(path).map_err(|error| Error::NoConfig { path: path.to_owned(), error })?;
    let loaded = file::load(&text, path, &home_or_root());
    let Some(config) = loaded.config else { return Err(Error::Config(loaded.problems)) };
    for problem in loaded.problems {
        tracing::error!("{problem}");
    }
    Ok((text, config, loaded.files))
}

fn session_options(hub: &HubSpec) -> session::Options {
    session::Options {
        expiry: hub.session_expiry,
        max: hub.sessions_max,
        replay_ttl: hub.replay_ttl,
        ..session::Options::default()
    }
}

fn announce(url: &str) -> Result<(), Error> {
    let mut out = std::io::stdout();
    writeln!(out, "ready {url}").and_then(|()| out.flush()).context("writing to stdout")?;
    notify::ready();
    Ok(())
}

/// What is started before any server and ends after the last.
struct Started {
    world: Arc<World>,
}

impl Started {
    async fn new(dirs: &Dirs, config: &Config, store: Store, scope: Scope) -> Result<Self, Error> {
        let mut random = [0u8; 16];
        getrandom::fill(&mut random).context("asking the system for randomness")?;
        let run_id = random.iter().fold(String::new(), |id, byte| format!("{id}{byte:02x}"));
        let guardian = Guardian::start(&run_id).context("starting the guardian process")?;
        let keeper = guardian.clone();
        drop(scope.spawn("guardian", async move { keeper.keep().await }));
        let journal = Journal::open(store.clone(), &run_id).await.context("opening the process journal")?;
        let logs = LogFiles::open(&dirs.logs()).context("opening the log folder")?;
        // No child starts before what a dead daemon left behind is gone: two copies of a server could fight over files.
        let spawns = Arc::new(Semaphore::new(0));
        let (permits, gate, leftovers) = (config.hub.spawns_max, spawns.clone(), store.clone());
        drop(scope.spawn("clean-up", async move {
            match Journal::clean_up(&leftovers).await {
                Ok(0) => {}
                Ok(found) => tracing::warn!(found, "ended processes that a dead daemon left behind"),
                Err(error) => tracing::warn!(%error, "cannot look for processes that a dead daemon left behind"),
            }
            gate.add_permits(permits);
        }));
        Ok(Self { world: Arc::new(World { guardian, journal, logs, store, spawns, scope }) })
    }

    /// After all servers have stopped.
    async fn finish(self, scope: &Scope) {
        scope.stop(limits::SHUTDOWN_LINGER).await;
        let world = &self.world;
        if let Err(error) = world.journal.clone().close().await {
            tracing::warn!(%error, "the process journal was not closed");
        }
        world.store.close().await;
        world.guardian.finish(limits::SHUTDOWN_LINGER).await;
        let logs = world.logs.clone();
        tokio::task::spawn_blocking(move || logs.flush(limits::SHUTDOWN_LINGER)).await.ok();
    }
}

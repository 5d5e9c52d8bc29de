//! What the servers cost: processes, memory and CPU time of every child's whole tree, and of hub itself.
//!
//! In: the registry. Out: a [`Survey`]. A [`Meter`] owns the last measurement, so that many who ask share one. May not:
//! measure on a runtime thread (a scan of all processes takes milliseconds), or more often than once a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

use crate::platform::process_info::{self, TreeUsage};

use super::registry::{Registered, Registry, ServerHandle};
use super::snapshot::{Snapshot, State};

/// What one process tree costs now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Living processes.
    pub processes: usize,
    /// Resident bytes; pages that processes share count in each of them.
    pub rss_bytes: u64,
    /// Proportional bytes: a page shared by n processes counts 1/n in each.
    pub pss_bytes: u64,
    /// CPU of the last measured interval; 100 is one core.
    pub cpu_percent: f64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.processes += other.processes;
        self.rss_bytes += other.rss_bytes;
        self.pss_bytes += other.pss_bytes;
        self.cpu_percent += other.cpu_percent;
    }
}

/// One server with what runs for it.
#[derive(Debug, Clone)]
pub struct Surveyed {
    /// The server.
    pub server: Registered,
    /// What it says of itself; `None` for one without a task.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Its instances that have a process, with the cost of its tree.
    pub instances: Vec<(Arc<Snapshot>, Usage)>,
}

impl Surveyed {
    /// Its state at the moment of the survey.
    pub fn state(&self) -> State {
        self.snapshot.as_ref().map_or_else(|| self.server.state(), |snapshot| snapshot.state)
    }

    /// All its instances together.
    pub fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        for (_, usage) in &self.instances {
            sum += *usage;
        }
        sum
    }
}

/// All servers and hub itself at one moment.
#[derive(Debug, Clone)]
pub struct Survey {
    /// hub's own process, without its children.
    pub hub: Usage,
    /// In the order of hub.toml.
    pub servers: Vec<Surveyed>,
}

/// Measures, at most once a second.
#[derive(Debug)]
pub struct Meter {
    run_id: String,
    last: Mutex<Option<Arc<Reading>>>,
}

#[derive(Debug)]
struct Reading {
    at: Instant,
    /// By the process id at the root of the tree; hub's own as well.
    trees: HashMap<u32, (TreeUsage, Usage)>,
}

impl Meter {
    /// A meter for the children that carry this run id.
    pub fn new(run_id: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { run_id: run_id.into(), last: Mutex::default() })
    }

    /// Surveys the servers of `registry`.
    pub async fn survey(self: &Arc<Self>, registry: &Registry) -> Survey {
        let first = running(registry).await;
        // Two readings apart enough make the CPU percentage; so where there is no earlier one of a tree, two are made.
        let (servers, look) = match self.look(&first, limits::USAGE_EVERY).await {
            Some(look) if !look.is_comparable => {
                tokio::time::sleep(limits::USAGE_FIRST_INTERVAL).await;
                let second = running(registry).await;
                let look = self.look(&second, limits::USAGE_FIRST_INTERVAL).await;
                (second, look)
            }
            look => (first, look),
        };
        let usage = |pid: u32| look.as_ref().and_then(|look| look.reading.trees.get(&pid)).map(|(_, usage)| *usage);
        let servers = servers.into_iter().map(|mut server| {
            for (instance, cost) in &mut server.instances {
                *cost = instance.pid.and_then(usage).unwrap_or_default();
            }
            server
        });
        Survey { servers: servers.collect(), hub: usage(std::process::id()).unwrap_or_default() }
    }

    /// The last reading if it is fresh and knows these trees, else a new one.
    async fn look(self: &Arc<Self>, servers: &[Surveyed], fresh_for: Duration) -> Option<Look> {
        let instances = servers.iter().flat_map(|server| &server.instances);
        let roots: Vec<u32> = instances.filter_map(|(instance, _)| instance.pid).collect();
        let meter = self.clone();
        // The lock is held while the scan runs: whoever comes meanwhile waits for its result instead of scanning, too.
        let measured = tokio::task::spawn_blocking(move || {
            let mut last = meter.last.lock().unwrap_or_else(PoisonError::into_inner);
            let knows = |reading: &&Arc<Reading>| roots.iter().all(|root| reading.trees.contains_key(root));
            if let Some(fresh) = last.as_ref().filter(|last| last.at.elapsed() < fresh_for).filter(knows) {
                return Look { reading: fresh.clone(), is_comparable: true };
            }
            let is_comparable = last.as_ref().is_some_and(|last| knows(&last));
            let reading = Arc::new(measure(&roots, &meter.run_id, last.as_deref()));
            *last = Some(reading.clone());
            Look { reading, is_comparable }
        });
        measured.await.ok()
    }
}

struct Look {
    reading: Arc<Reading>,
    /// An earlier reading knew the same trees, so there are percentages.
    is_comparable: bool,
}

/// What runs now, not yet priced.
async fn running(registry: &Registry) -> Vec<Surveyed> {
    let mut servers = Vec::with_capacity(registry.servers().len());
    for server in registry.servers() {
        let instances = match &server.handle {
            // A server's task answers at once; one that does not must not silence the status of the others.
            Ok(handle) => tokio::time::timeout(limits::USAGE_EVERY, handle.instances()).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let running = instances.into_iter().filter(|instance| instance.pid.is_some());
        let instances = running.map(|instance| (instance, Usage::default())).collect();
        let snapshot = server.handle.as_ref().ok().map(ServerHandle::snapshot);
        servers.push(Surveyed { server: server.clone(), snapshot, instances });
    }
    servers
}

fn measure(roots: &[u32], run_id: &str, before: Option<&Reading>) -> Reading {
    let mut costs = process_info::trees(roots, run_id);
    costs.insert(std::process::id(), process_info::own_usage());
    let at = Instant::now();
    let trees = costs.into_iter().map(|(root, tree)| {
        let earlier = before.and_then(|before| Some((before.at, before.trees.get(&root)?.0.cpu_ticks)));
        let usage = Usage {
            processes: tree.processes as usize,
            rss_bytes: tree.rss_bytes,
            pss_bytes: tree.pss_bytes,
            cpu_percent: earlier.map_or(0.0, |(then, ticks)| percent(tree.cpu_ticks.saturating_sub(ticks), at - then)),
        };
        (root, (tree, usage))
    });
    Reading { at, trees: trees.collect() }
}

/// Of one core, to a tenth.
fn percent(ticks: u64, wall: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "ticks of an interval, far below 2^52")]
    let seconds = ticks as f64 / process_info::ticks_per_second() as f64;
    if wall.is_zero() { 0.0 } else { (seconds / wall.as_secs_f64() * 1000.0).round() / 10.0 }
}

//! What the servers cost: processes, memory and CPU time of every child's whole tree, and of hub itself.
//!
//! In: the registry. Out: a [`Survey`]. A [`Meter`] owns the last measurement, so that many who ask share one. May not:
//! measure on a runtime thread (a scan of all processes takes milliseconds), or more often than once a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

use super::registry::{Registered, Registry};
use super::snapshot::Snapshot;

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
    /// Its instances that have a process, with the cost of its tree.
    pub instances: Vec<(Arc<Snapshot>, Usage)>,
}

impl Surveyed {
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
#[derive(Debug, Default)]
pub struct Meter {
    last: Mutex<Option<Arc<Reading>>>,
}

#[derive(Debug)]
struct Reading {
    at: Instant,
    /// By the process id at the root of the tree.
    trees: HashMap<u32, (TreeCost, Usage)>,
}

impl Meter {
    /// Surveys the servers of `registry`.
    pub async fn survey(self: &Arc<Self>, registry: &Registry) -> Survey {
        let mut servers = Vec::with_capacity(registry.servers().len());
        for server in registry.servers() {
            servers.push((server.clone(), instances(server).await));
        }
        let roots = servers.iter().flat_map(|(_, instances)| instances).filter_map(|instance| instance.pid);
        let reading = self.read(roots.collect()).await;
        let usage = |pid: u32| reading.as_ref().and_then(|reading| reading.trees.get(&pid)).map(|(_, usage)| *usage);
        let servers = servers.into_iter().map(|(server, instances)| {
            let priced = |instance: Arc<Snapshot>| Some((instance.pid?, instance));
            let priced = instances.into_iter().filter_map(priced);
            let instances = priced.map(|(pid, instance)| (instance, usage(pid).unwrap_or_default())).collect();
            Surveyed { server, instances }
        });
        Survey { servers: servers.collect(), hub: usage(std::process::id()).unwrap_or_default() }
    }

    /// The last reading if it is fresh and knows these trees, else a new one.
    async fn read(self: &Arc<Self>, roots: Vec<u32>) -> Option<Arc<Reading>> {
        let meter = self.clone();
        // The lock is held while the scan runs: whoever comes meanwhile waits for its result instead of scanning, too.
        let measured = tokio::task::spawn_blocking(move || {
            let mut last = meter.last.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = last.as_ref().filter(|last| {
                last.at.elapsed() < limits::USAGE_EVERY && roots.iter().all(|root| last.trees.contains_key(root))
            });
            if let Some(fresh) = fresh {
                return fresh.clone();
            }
            let reading = Arc::new(measure(&roots, last.as_deref()));
            *last = Some(reading.clone());
            reading
        });
        measured.await.ok()
    }
}

async fn instances(server: &Registered) -> Vec<Arc<Snapshot>> {
    let Ok(handle) = &server.handle else { return Vec::new() };
    // A server's task answers at once; one that does not must not silence the status of the others.
    tokio::time::timeout(limits::USAGE_EVERY, handle.instances()).await.unwrap_or_default()
}

fn measure(roots: &[u32], before: Option<&Reading>) -> Reading {
    let costs = process_info::trees(roots);
    let hub = process_info::this_process();
    let at = Instant::now();
    let all = roots.iter().copied().zip(costs).chain([(std::process::id(), hub)]);
    let trees = all.map(|(root, cost)| {
        let earlier = before.and_then(|before| Some((before.at, before.trees.get(&root)?.0)));
        let cpu_percent = match earlier {
            Some((then, earlier)) => percent(cost.cpu.saturating_sub(earlier.cpu), at - then),
            // Nothing to compare with: the average over its life.
            None => percent(cost.cpu, cost.age),
        };
        let TreeCost { processes, rss_bytes, pss_bytes, .. } = cost;
        (root, (cost, Usage { processes, rss_bytes, pss_bytes, cpu_percent }))
    });
    Reading { at, trees: trees.collect() }
}

fn percent(cpu: Duration, wall: Duration) -> f64 {
    if wall.is_zero() { 0.0 } else { (cpu.as_secs_f64() / wall.as_secs_f64() * 1000.0).round() / 10.0 }
}

#[derive(Debug, Clone, Copy, Default)]
struct TreeCost {
    processes: usize,
    rss_bytes: u64,
    pss_bytes: u64,
    cpu: Duration,
    age: Duration,
}
mod process_info {
    pub fn trees(roots: &[u32]) -> Vec<super::TreeCost> {
        roots.iter().map(|_| super::TreeCost::default()).collect()
    }
    pub fn this_process() -> super::TreeCost {
        super::TreeCost::default()
    }
}

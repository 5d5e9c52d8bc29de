//! Drives a gateway with calls for a while and counts what comes back.
//!
//! In: a gateway, a [`Load`], a time. Out: a [`Run`] with latencies, CPU time and every wrong or missing reply. Owns its
//! connections. May not: go on silently when an answer is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::call::{EchoCall, Target};
use crate::http::Conn;
use crate::procs::Cpu;
use crate::stand::Gateway;

/// A reply that takes longer is missing.
const REPLY_WAIT: Duration = Duration::from_secs(30);
/// Calls of each connection before the clock starts.
const WARM_UP_CALLS: usize = 2;

/// How a gateway is used.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Sessions at once.
    pub sessions: usize,
    /// Calls that each session has in flight.
    pub in_flight: usize,
    /// Length of the echoed value.
    pub bytes: usize,
}

/// What one run gave.
#[derive(Debug, Default)]
pub struct Run {
    /// Latency of each call that was answered right, in seconds, shortest first.
    latencies: Vec<f64>,
    /// Seconds from the first request to the last reply.
    elapsed: f64,
    /// CPU seconds of everything.
    pub cpu: Cpu,
    /// What was wrong or missing.
    pub faults: Vec<String>,
}

impl Run {
    /// Calls that were answered right.
    pub fn calls(&self) -> f64 {
        f64::from(u32::try_from(self.latencies.len()).unwrap_or(u32::MAX))
    }

    /// Calls per second.
    pub fn rate(&self) -> f64 {
        self.calls() / self.elapsed
    }

    /// The latency that this many of a hundred calls do not exceed, in seconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * percent / 100).copied().unwrap_or(f64::NAN)
    }
}

/// One of the calls that a session has in flight: a connection of its own, as HTTP/1.1 clients do it.
struct Worker {
    conn: Conn,
    call: EchoCall,
    target: Target,
    /// Whether it opened the session, and so ends it.
    is_first: bool,
    /// Shared with the session's other workers: ids count 1, 2, 3… in every session.
    ids: Arc<AtomicU64>,
    latencies: Vec<f64>,
    fault: Option<String>,
}

impl Worker {
    async fn call(&mut self) -> Result<(), String> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let request = self.call.request(id);
        let sent = Instant::now();
        let reply = match timeout(REPLY_WAIT, self.conn.exchange(request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(e)) => return Err(format!("id {id}: no reply: {e}")),
            Err(_) => return Err(format!("id {id}: no reply in {} s", REPLY_WAIT.as_secs())),
        };
        let took = sent.elapsed().as_secs_f64();
        self.call.check(&reply).map_err(|wrong| wrong.to_string())?;
        self.latencies.push(took);
        Ok(())
    }

    async fn run(mut self, until: Instant) -> Self {
        while Instant::now() < until {
            if let Err(fault) = self.call().await {
                self.fault = Some(fault);
                break;
            }
        }
        self
    }
}

async fn prepare(gateway: &Gateway, load: Load) -> Result<Vec<Worker>> {
    let mut workers = Vec::new();
    for session_number in 0..load.sessions {
        let ids = Arc::new(AtomicU64::new(1));
        let mut session = None;
        for _ in 0..load.in_flight {
            let mut conn = Conn::open(gateway.target.address).await?;
            let is_first = session.is_none();
            let target = match &session {
                Some(target) => Target::clone(target),
                None => session.insert(gateway.open_session(&mut conn).await?).clone(),
            };
            let call = EchoCall::new(target.clone(), session_number, load.bytes);
            let ids = Arc::clone(&ids);
            let mut worker = Worker { conn, call, target, is_first, ids, latencies: Vec::new(), fault: None };
            for _ in 0..WARM_UP_CALLS {
                worker.call().await.map_err(anyhow::Error::msg)?;
            }
            worker.latencies.clear();
            workers.push(worker);
        }
    }
    Ok(workers)
}

/// Calls for `time` and returns what came of it.
pub async fn drive(gateway: &Gateway, load: Load, time: Duration) -> Result<Run> {
    let workers = prepare(gateway, load).await?;
    let root = gateway.running.pid();
    let mut run = Run::default();
    let mut tasks = JoinSet::new();
    let before = Cpu::now(root)?;
    let start = Instant::now();
    for worker in workers {
        tasks.spawn(worker.run(start + time));
    }
    let workers = tasks.join_all().await;
    run.elapsed = start.elapsed().as_secs_f64();
    run.cpu = Cpu::now(root)?.since(before);
    for mut worker in workers {
        run.latencies.append(&mut worker.latencies);
        match worker.fault {
            Some(fault) => run.faults.push(fault),
            None if worker.is_first => {
                let Worker { conn, target, .. } = &mut worker;
                gateway.close_session(conn, target).await?;
            }
            None => {}
        }
    }
    run.latencies.sort_by(f64::total_cmp);
    Ok(run)
}

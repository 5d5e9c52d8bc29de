//! What others may know of a server or instance: plain data, published through `watch`.
//!
//! In: states and results of the instance task. Out: immutable values. Owns nothing. May not: hold secrets (environment
//! values never get here).

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::bridge::headers::HeaderTable;
use crate::mcp::meta::TASKS_EXTENSION;
use crate::mcp::splice::Object;
use crate::mcp::{Era, ListKind, Method, Raw};

/// Where a server is in its life (DESIGN 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not running and not wanted yet (lazy, or idle).
    Stopped,
    /// Spawned, handshake or first list not done.
    Starting,
    /// A list call succeeded.
    Ready,
    /// Died or failed to start; will be tried again by itself.
    Backoff,
    /// Will not be tried again by itself: crash loop or unusable configuration.
    Failed,
    /// Being stopped.
    Stopping,
    /// `enabled = false`.
    Disabled,
}

impl State {
    /// The name in `status --json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Backoff => "backoff",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
            Self::Disabled => "disabled",
        }
    }
}

/// Why a server is not ready, or was not the last time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `config`, `listen`, `spawn`, `initialize`, `list` or `run`.
    pub stage: String,
    /// One sentence, then the last lines of stderr if there are any.
    pub message: String,
    /// When this failure began, RFC 3339.
    pub since: String,
    /// `exit code 1`, `killed by SIGKILL`, or empty while the process lives.
    pub exit: String,
}

/// What a child said of itself in its handshake: raw, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Which way it was opened.
    pub era: Era,
    /// The revision that it answered with.
    pub version: String,
    /// Its `capabilities` object.
    pub capabilities: Raw,
    /// Its `serverInfo` object.
    pub server_info: Raw,
    /// Its `instructions` string, with quotes.
    pub instructions: Option<Raw>,
    /// What the capabilities say, read when it is first needed.
    pub offers: Offers,
}

/// Which methods a handshake offers. Says nothing that `capabilities` does not, so it makes no difference between two.
#[derive(Debug, Clone, Default)]
pub struct Offers(OnceLock<Offered>);

impl PartialEq for Offers {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Offers {}

#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent capability of the specification")]
struct Offered {
    tools: bool,
    prompts: bool,
    resources: bool,
    completions: bool,
    /// The tasks extension of the modern revision.
    tasks: bool,
    /// Any other extension.
    others: bool,
}

impl Offered {
    fn read(capabilities: &Raw) -> Self {
        let Some(capabilities) = Object::scan(capabilities) else { return Self::default() };
        let has = |key: &str| capabilities.value(key).is_some_and(|value| value.first() == Some(&b'{'));
        let extensions = capabilities.get("extensions").and_then(|raw| Object::scan(&raw));
        let extension =
            |is_it: fn(&str) -> bool| extensions.as_ref().is_some_and(|all| all.entries().any(|(id, _)| is_it(&id)));
        Self {
            tools: has("tools"),
            prompts: has("prompts"),
            resources: has("resources"),
            completions: has("completions"),
            tasks: extension(|id| id == TASKS_EXTENSION),
            others: extension(|id| id != TASKS_EXTENSION),
        }
    }
}

impl Handshake {
    /// Whether a modern client may use this method here: gated on capabilities, because children answer unknown methods
    /// with all kinds of codes (PROTOCOL 1.4).
    pub fn offers(&self, method: &Method) -> bool {
        let offered = self.offers.0.get_or_init(|| Offered::read(&self.capabilities));
        match method {
            Method::Discover | Method::Listen => true,
            Method::ToolsList | Method::ToolsCall => offered.tools,
            Method::PromptsList | Method::PromptsGet => offered.prompts,
            Method::ResourcesList | Method::TemplatesList | Method::ResourcesRead => offered.resources,
            Method::Complete => offered.completions,
            Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => self.era == Era::Modern && offered.tasks,
            // An extension may have methods of its own.
            Method::Other(_) => {
                self.era == Era::Modern && !method.name().starts_with("notifications/") && offered.others
            }
            _ => false,
        }
    }
}

/// One of the four lists, drained of all pages: raw items in the server's own order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Raw JSON objects, tools already filtered by `tools.allow` and `tools.deny`.
    pub items: Vec<Raw>,
    /// Changes exactly when the items do; equal across restarts for equal items.
    pub digest: u64,
}

/// The last good lists of a server. `None`: never listed, or the capability is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    /// Indexed by [`ListKind`] in the order of [`ListKind::ALL`].
    pub kinds: [Option<Arc<List>>; 4],
    /// Names of tools with `annotations.readOnlyHint: true`: their calls may be sent again after a crash.
    pub read_only: Arc<HashSet<String>>,
    /// Which arguments of the tools are mirrored into headers.
    pub mirrors: Arc<HeaderTable>,
}

impl Lists {
    /// The last good list of a kind.
    pub fn get(&self, kind: ListKind) -> Option<&Arc<List>> {
        self.kinds[kind as usize].as_ref()
    }
}

/// An instance at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its state.
    pub state: State,
    /// Last good handshake, perhaps from the durable cache of an earlier run.
    pub handshake: Option<Arc<Handshake>>,
    /// Last good lists, perhaps from the durable cache.
    pub lists: Arc<Lists>,
    /// Counts starts of the child in this daemon; 0 before the first.
    pub generation: u64,
    /// The child's process id.
    pub pid: Option<u32>,
    /// When the child became ready.
    pub ready_since: Option<SystemTime>,
    /// `None` when all is well.
    pub failure: Option<Arc<Failure>>,
}

/// Upper bounds of the latency buckets, in microseconds.
pub const LATENCY_BOUNDS_US: [u64; 14] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000, 10_000_000, 60_000_000];

/// Running totals of one server: raised by its instances, read by status and metrics. They survive restarts of the
/// child and reloads.
#[derive(Debug, Default)]
pub struct Counters {
    /// Calls that were accepted.
    pub calls: AtomicU64,
    /// Calls that ended with a JSON-RPC error.
    pub errors: AtomicU64,
    /// Starts of a child after the first.
    pub restarts: AtomicU64,
    /// Calls without a response yet.
    pub in_flight: AtomicI64,
    /// Calls and asks that wait in hub.
    pub queued: AtomicI64,
    /// Open sessions.
    pub sessions: AtomicI64,
    /// Late or unattributable messages that were dropped.
    pub dropped: AtomicU64,
    /// Counts per bucket of [`LATENCY_BOUNDS_US`], the last one for everything slower.
    pub latency_buckets: [AtomicU64; 15],
    /// Sum of all latencies, in microseconds.
    pub latency_sum_us: AtomicU64,
}

/// What one instance adds to a gauge of its server. Taken back when it is dropped.
#[derive(Debug)]
pub(super) struct QueuedShare {
    counters: Arc<Counters>,
    now: i64,
}

impl QueuedShare {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, now: 0 }
    }

    /// So many calls and asks of this instance wait now.
    pub(super) fn set(&mut self, waiting: usize) {
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        if waiting != self.now {
            self.counters.queued.fetch_add(waiting - self.now, Ordering::Relaxed);
            self.now = waiting;
        }
    }
}

impl Drop for QueuedShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Counters {
    /// One call ended after `taken`.
    pub fn observe(&self, taken: Duration) {
        let micros = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|&bound| bound < micros);
        self.latency_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.latency_sum_us.fetch_add(micros, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_of_a_server_add_up() {
        let counters = Arc::new(Counters::default());
        let queued = || counters.queued.load(Ordering::Relaxed);
        let (mut a, mut b) = (QueuedShare::new(counters.clone()), QueuedShare::new(counters.clone()));
        a.set(3);
        b.set(2);
        b.set(0);
        assert_eq!(queued(), 3, "an idle instance does not hide what waits at another");
        b.set(5);
        a.set(1);
        assert_eq!(queued(), 6);
        drop(b);
        assert_eq!(queued(), 1, "what is gone waits for nothing");
    }
}

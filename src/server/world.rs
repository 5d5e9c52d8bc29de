//! What all instances of a daemon share: where children come from, and what outlives them.
//!
//! In: handles made by the daemon at start. Out: children, and what is remembered of a server from run to run. Owns
//! nothing but handles. May not: decide when anything starts.

use std::ffi::OsString;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use crate::child::{Child, Journal, LogFiles, SpawnError, Start, full_environment};
use crate::config::ServerSpec;
use crate::mcp::{Era, ListKind, Outcome, Raw};
use crate::platform::guardian::Guardian;
use crate::store::Store;
use crate::tasks::Scope;

use super::era::Belief;
use super::instance::Known;
use super::snapshot::{Handshake, List, Offers};

/// See the module.
#[derive(Debug, Clone)]
pub struct World {
    /// Kills everything when hub dies.
    pub guardian: Guardian,
    /// Notes every child for the next daemon.
    pub journal: Journal,
    /// Log files of stderr.
    pub logs: LogFiles,
    /// The durable state.
    pub store: Store,
    /// As many children start at the same time as it has permits.
    pub spawns: Arc<Semaphore>,
    /// Where tasks of servers run.
    pub scope: Scope,
}

const HANDSHAKE: &str = "handshake";
const INTERACTIVE: &str = "interactive";
const ERA: &str = "era";

/// A handshake as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    era: Era,
    version: String,
    capabilities: Box<RawValue>,
    server_info: Box<RawValue>,
    instructions: Option<Box<RawValue>>,
}

fn boxed(raw: &Raw) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(raw.to_vec()).ok()?).ok()
}

fn raw(boxed: &RawValue) -> Raw {
    Raw::copy_from_slice(boxed.get().as_bytes())
}

impl World {
    /// Starts a child. Blocks for the fork and exec.
    pub(super) fn spawn(&self, spec: &ServerSpec, generation: u64) -> Result<Child, SpawnError> {
        let env: Vec<(OsString, OsString)> =
            full_environment(spec.env.iter().map(|(key, value)| (key, value.expose())));
        let secrets: Vec<String> = spec.env.values().map(|value| value.expose().to_owned()).collect();
        let start = Start {
            server: spec.name.as_ref(),
            generation,
            program: &spec.command,
            args: &spec.args,
            env: &env,
            cwd: &spec.cwd,
            secrets: &secrets,
            logs: Some(&self.logs),
            journal: Some(&self.journal),
        };
        Child::spawn(&start, &self.guardian)
    }

    /// What an earlier run knew of this very configuration of a server.
    pub(super) async fn recall(&self, spec: &ServerSpec) -> Known {
        let rows = match self.store.cache_of(spec.name.as_ref(), &spec.fingerprint()).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(server = %spec.name, %error, "the cache cannot be read; going on without");
                Vec::new()
            }
        };
        let mut known = Known::default();
        for (kind, value) in rows {
            match kind.as_str() {
                HANDSHAKE => known.handshake = thaw(&value).map(Arc::new),
                INTERACTIVE => known.interactive = true,
                ERA => known.belief = Belief::recalled(&value),
                kind => {
                    let Some(kind) = ListKind::ALL.into_iter().find(|known| known.items_key() == kind) else {
                        continue;
                    };
                    let Some(list) = List::from_result(kind, &value.into()) else { continue };
                    let list = if kind == ListKind::Tools { list.admitted(&spec.tools) } else { list };
                    known.lists = known.lists.with(kind, Arc::new(list));
                }
            }
        }
        known
    }

    /// Keeps a handshake for the next run.
    pub(super) fn keep_handshake(&self, spec: &ServerSpec, handshake: &Handshake) {
        let (Some(capabilities), Some(server_info)) = (boxed(&handshake.capabilities), boxed(&handshake.server_info))
        else {
            return;
        };
        let kept = Kept {
            era: handshake.era,
            version: handshake.version.clone(),
            capabilities,
            server_info,
            instructions: handshake.instructions.as_ref().and_then(boxed),
        };
        if let Ok(bytes) = serde_json::to_vec(&kept) {
            self.keep(spec, HANDSHAKE, bytes);
        }
    }

    /// Keeps a list for the next run: unfiltered, so that a changed filter applies to it.
    pub(super) fn keep_list(&self, spec: &ServerSpec, kind: ListKind, list: &List) {
        if let Outcome::Result(result) = list.to_result(kind) {
            self.keep(spec, kind.items_key(), result.to_vec());
        }
    }

    /// Remembers that this configuration was seen to send asks that could not be attributed.
    pub(super) fn keep_interactive(&self, spec: &ServerSpec) {
        self.keep(spec, INTERACTIVE, vec![1]);
    }

    /// Remembers which era this configuration was found to speak.
    pub(super) fn keep_verdict(&self, spec: &ServerSpec, verdict: Vec<u8>) {
        self.keep(spec, ERA, verdict);
    }

    /// Forgets that again.
    pub(super) fn forget_verdict(&self, spec: &ServerSpec) {
        let (store, name) = (self.store.clone(), spec.name.clone());
        self.scope.spawn("forget", async move {
            if let Err(error) = store.cache_forget(name.as_ref(), Some(ERA)).await {
                tracing::warn!(server = %name, %error, "a verdict that proved wrong is still remembered");
            }
        });
    }

    fn keep(&self, spec: &ServerSpec, kind: &'static str, value: Vec<u8>) {
        let (store, name, fingerprint) = (self.store.clone(), spec.name.clone(), spec.fingerprint());
        self.scope.spawn("keep", async move {
            if let Err(error) = store.cache_put(name.as_ref(), kind, &fingerprint, value).await {
                tracing::warn!(server = %name, kind, %error, "not remembered for the next run");
            }
        });
    }
}

fn thaw(value: &[u8]) -> Option<Handshake> {
    let kept: Kept = serde_json::from_slice(value).ok()?;
    Some(Handshake {
        era: kept.era,
        version: kept.version,
        capabilities: raw(&kept.capabilities),
        server_info: raw(&kept.server_info),
        instructions: kept.instructions.as_deref().map(raw),
        offers: Offers::default(),
    })
}

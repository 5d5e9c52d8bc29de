//! Many servers as one: names, lists, routing (PROTOCOL section 4).
//!
//! In: the registry and the snapshots of its servers; requests of aggregate sessions. Out: merged lists, the server that
//! a request belongs to with its parameters as that server knows them. Owns the catalogue, which is replaced as a whole
//! and never changed. May not: know sessions or HTTP, start or stop servers, or look into payloads beyond names and URIs.
//!
//! The parts: `names` (aliases, exposed names), `merge` and `cursor` (lists and their pages), `resources` and `templates`
//! (whose URI is it), `identity` (the handshake), `catalog` (all of these at one moment), `route` (requests to servers),
//! `wait` (for servers that start, for changes), `search` (whose URI is it, when no list says so), `outward` (the way
//! back).

mod catalog;
mod cursor;
mod identity;
mod merge;
mod names;
mod outward;
mod resources;
mod route;
mod search;
mod templates;
#[cfg(test)]
mod tests;
mod wait;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::ServerName;
use crate::limits::AGGREGATE_CHANGES_COALESCE;
use crate::mcp::{Era, ListKind, Method, Outcome, Raw};
use crate::server::{Handshake, Registry, ServerHandle};

use catalog::Catalog;
use search::Found;

/// How often each list changed since hub started. Sessions turn increments into `list_changed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChangeCounts {
    /// `notifications/tools/list_changed`
    pub tools: u64,
    /// `notifications/prompts/list_changed`
    pub prompts: u64,
    /// `notifications/resources/list_changed` (resources and templates)
    pub resources: u64,
}

/// How a client of the aggregate writes a resource's URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UriForm {
    /// As the server writes it.
    #[default]
    Own,
    /// `hub://ALIAS/…`, because another server has the same URI.
    Prefixed,
}

/// The URI of a routed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutedUri {
    /// As the server knows it.
    pub own: String,
    /// How the client wrote it: what [`Aggregate::outward`] needs for later `updated` notifications.
    pub form: UriForm,
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub struct Routed {
    /// The server.
    pub server: ServerHandle,
    /// The parameters with names and URIs as the server knows them.
    pub params: Option<Raw>,
    /// The URI, for the `resources/…` methods.
    pub uri: Option<RoutedUri>,
}

/// All servers behind one endpoint.
#[derive(Debug)]
pub struct Aggregate {
    registry: watch::Receiver<Arc<Registry>>,
    catalog: Mutex<Arc<Catalog>>,
    changes: watch::Sender<ChangeCounts>,
    found: Mutex<Found>,
    /// The generation in which a server was waited for in vain: one that hangs costs each client's list one wait, not
    /// every list of every client.
    patience: Mutex<HashMap<ServerName, u64>>,
}

impl Aggregate {
    /// An aggregate over the servers of `registry`, now and later.
    pub fn new(registry: watch::Receiver<Arc<Registry>>) -> Arc<Self> {
        let catalog = Catalog::build(registry.borrow().clone(), None);
        Arc::new(Self {
            registry,
            catalog: Mutex::new(Arc::new(catalog)),
            changes: watch::Sender::new(ChangeCounts::default()),
            found: Mutex::default(),
            patience: Mutex::default(),
        })
    }

    /// Keeps the catalogue and counts changes until `stop`. Must run for [`Self::changes`] to move.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut announced = self.known();
        let keep = async {
            let mut registry = self.registry.clone();
            loop {
                let mut servers = wait::watches(&registry.borrow_and_update());
                let current = self.current();
                self.announce(&announced, &current);
                announced = current;
                // A server that is gone takes its watch along; the registry says so as well.
                tokio::select! {
                    changed = registry.changed() => if changed.is_err() { return },
                    () = wait::any_changed(&mut servers) => {}
                }
                tokio::time::sleep(AGGREGATE_CHANGES_COALESCE).await;
            }
        };
        tokio::select! {
            () = keep => stop.cancelled().await,
            () = stop.cancelled() => {}
        }
    }

    /// Counts what differs between two catalogues.
    fn announce(&self, old: &Catalog, new: &Catalog) {
        let differs = |kind| old.list(kind).generation() != new.list(kind).generation();
        let tools = differs(ListKind::Tools);
        let prompts = differs(ListKind::Prompts);
        let resources = differs(ListKind::Resources) || differs(ListKind::Templates);
        self.changes.send_if_modified(|counts| {
            counts.tools += u64::from(tools);
            counts.prompts += u64::from(prompts);
            counts.resources += u64::from(resources);
            tools || prompts || resources
        });
    }

    /// What an aggregate session's `initialize` is answered with (PROTOCOL 4.1): a capability superset that does not
    /// depend on which servers are up.
    pub fn handshake(&self) -> Arc<Handshake> {
        self.current().handshake().clone()
    }

    /// One page of a merged list (PROTOCOL 4.4). Waits at most `AGGREGATE_LIST_WAIT` for servers that start for the
    /// first time; never fails because of a server. Tools are written for a reader of that era.
    pub async fn list(&self, kind: ListKind, cursor: Option<&Raw>, reader: Era) -> Outcome {
        // Only a first page waits: a cursor belongs to the list as it was.
        if cursor.is_none() {
            self.wait_for_lists(kind).await;
        }
        self.current().readable(kind, reader).page(cursor)
    }

    /// The server that a request belongs to: `tools/call`, `prompts/get`, `resources/read|subscribe|unsubscribe`,
    /// `completion/complete`. `Err` is the answer to the client: unknown name, server down, or (resources that had to
    /// be searched for) the result itself.
    pub async fn route(&self, method: &Method, params: Option<Raw>) -> Result<Routed, Outcome> {
        match method {
            Method::ToolsCall => self.route_name(ListKind::Tools, params).await,
            Method::PromptsGet => self.route_name(ListKind::Prompts, params).await,
            Method::ResourcesRead | Method::Subscribe | Method::Unsubscribe => self.route_uri(method, params).await,
            Method::Complete => self.route_completion(params).await,
            other => Err(crate::mcp::ErrorObject::method_not_found(other.name()).into()),
        }
    }

    /// Moves whenever a merged list changed; bursts are coalesced.
    pub fn changes(&self) -> watch::Receiver<ChangeCounts> {
        self.changes.subscribe()
    }

    /// The parameters of a notification or ask of `server`, as an aggregate session is to see them: `logger` and the
    /// `message` of an elicitation name the server, the `uri` of an update is written in the subscriber's form.
    pub fn outward(&self, server: &ServerName, method: &Method, params: Option<Raw>, form: UriForm) -> Option<Raw> {
        match self.known().member_of(server) {
            Some(member) => outward::outward(&member.alias, method, params, form),
            None => params,
        }
    }

    /// Is this notification of one server kept from aggregate sessions? Its lists are not theirs: [`Self::changes`]
    /// tells when the merged ones changed.
    pub fn swallows(method: &Method) -> bool {
        matches!(method, Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged)
    }

    /// The catalogue as it was last built: at most as old as the coalescing of changes.
    fn known(&self) -> Arc<Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The catalogue as of now; builds a new one if anything has changed.
    fn current(&self) -> Arc<Catalog> {
        let registry = self.registry.borrow().clone();
        let known = self.known();
        if known.is_current(&registry) {
            return known;
        }
        let built = Arc::new(Catalog::build(registry, Some(&known)));
        // Two may build at once; whichever is stored last, the next look sees whether it is current.
        *self.catalog.lock().unwrap_or_else(PoisonError::into_inner) = built.clone();
        built
    }
}

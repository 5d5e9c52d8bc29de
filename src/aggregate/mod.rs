//! Many servers as one: names, lists, routing (PROTOCOL section 4).
//!
//! In: the registry and the snapshots of its servers; requests of aggregate sessions. Out: merged lists, the server that
//! a request belongs to with its parameters as that server knows them. Owns the catalogue, which is replaced as a whole
//! and never changed. May not: know sessions or HTTP, start or stop servers, or look into payloads beyond names and URIs.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::ServerName;
use crate::mcp::{ErrorObject, ListKind, Method, Outcome, Raw};
use crate::server::{Handshake, Registry, ServerHandle};

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
    changes: watch::Sender<ChangeCounts>,
    handshake: Arc<Handshake>,
}

impl Aggregate {
    /// An aggregate over the servers of `registry`, now and later.
    pub fn new(registry: watch::Receiver<Arc<Registry>>) -> Arc<Self> {
        let handshake = Arc::new(Handshake {
            era: crate::mcp::Era::Legacy,
            version: crate::mcp::ProtocolVersion::LATEST_LEGACY.as_str().into(),
            capabilities: Raw::from_static(b"{}"),
            server_info: Raw::from_static(b"{\"name\":\"hub\"}"),
            instructions: None,
        });
        Arc::new(Self { registry, changes: watch::Sender::new(ChangeCounts::default()), handshake })
    }

    /// Keeps the catalogue and counts changes until `stop`. Must run for [`Self::changes`] to move.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        stop.cancelled().await;
    }

    /// What an aggregate session's `initialize` is answered with (PROTOCOL 4.1): a capability superset that does not
    /// depend on which servers are up.
    pub fn handshake(&self) -> Arc<Handshake> {
        self.handshake.clone()
    }

    /// One page of a merged list (PROTOCOL 4.4). Waits at most `AGGREGATE_LIST_WAIT` for servers that start for the
    /// first time; never fails because of a server.
    pub async fn list(&self, kind: ListKind, cursor: Option<&Raw>) -> Outcome {
        let _ = (kind, cursor, &self.registry);
        ErrorObject::method_not_found(kind.method().name()).into()
    }

    /// The server that a request belongs to: `tools/call`, `prompts/get`, `resources/read|subscribe|unsubscribe`,
    /// `completion/complete`. `Err` is the answer to the client: unknown name, server down, or (resources that had to
    /// be searched for) the result itself.
    pub async fn route(&self, method: &Method, params: Option<Raw>) -> Result<Routed, Outcome> {
        let _ = params;
        Err(ErrorObject::method_not_found(method.name()).into())
    }

    /// Moves whenever a merged list changed; bursts are coalesced.
    pub fn changes(&self) -> watch::Receiver<ChangeCounts> {
        self.changes.subscribe()
    }

    /// The parameters of a notification or ask of `server`, as an aggregate session is to see them: `logger` and the
    /// `message` of an elicitation name the server, the `uri` of an update is written in the subscriber's form.
    pub fn outward(&self, server: &ServerName, method: &Method, params: Option<Raw>, form: UriForm) -> Option<Raw> {
        let _ = (server, method, form, self);
        params
    }

    /// Is this notification of one server kept from aggregate sessions? Its lists are not theirs: [`Self::changes`]
    /// tells when the merged ones changed.
    pub fn swallows(method: &Method) -> bool {
        matches!(method, Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged)
    }
}

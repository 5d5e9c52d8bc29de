//! Sessions as rows: what makes an id valid in the next run of hub (DESIGN 5).
//!
//! In: sessions. Out: the same after a restart, without their streams and calls. The store owns the rows. May not: keep a
//! session from working when the store fails; it then lasts only as long as this run.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::SystemTime;

use bytes::Bytes;

use crate::aggregate::UriForm;
use crate::config::ServerName;
use crate::mcp::meta::Level;
use crate::mcp::{ClientCapabilities, ProtocolVersion};
use crate::store::{SessionRow, Store, unix_seconds};

use super::endpoint_id::EndpointId;
use super::negotiate::Hello;

/// Subscribed URIs as the server knows them, per server, with the form that the client knows.
pub(super) type Subscriptions = HashMap<(ServerName, String), UriForm>;

/// A session without what a restart ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) endpoint: EndpointId,
    pub(super) hello: Hello,
    pub(super) level: Option<Level>,
    pub(super) subscriptions: Subscriptions,
    /// Seconds since 1970.
    pub(super) last_used: i64,
}

/// See the module's header. Without a store (tests) nothing is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Durable(pub(super) Option<Store>);

/// Seconds since 1970, now.
pub(super) fn unix_now() -> i64 {
    unix_seconds(SystemTime::now())
}

fn complain(doing: &str, error: &dyn Display) {
    tracing::warn!("{doing} a session in the state failed, it will not survive a restart of hub: {error}");
}

impl Durable {
    /// Commits a new session; returns when it is on its way to the disk.
    pub(super) async fn put(&self, id: &str, kept: &Kept) {
        let Some(store) = &self.0 else { return };
        if let Err(error) = store.session_put(to_row(id, kept)).await {
            complain("keeping", &error);
        }
    }

    /// A session of this or an earlier run.
    pub(super) async fn get(&self, id: &str) -> Option<Kept> {
        match self.0.as_ref()?.session(id).await {
            Ok(row) => from_row(&row?),
            Err(error) => {
                complain("reading", &error);
                None
            }
        }
    }

    /// Forgets a session.
    pub(super) async fn delete(&self, id: &str) {
        let Some(store) = &self.0 else { return };
        if let Err(error) = store.session_delete(id).await {
            complain("ending", &error);
        }
    }

    /// Keeps what a session set since it was made.
    pub(super) async fn update(&self, id: &str, level: Option<Level>, subscriptions: &Subscriptions) {
        let Some(store) = &self.0 else { return };
        let level = level.map(|level| level.as_str().to_owned());
        if let Err(error) = store.session_update(id, level, subscriptions_text(subscriptions)).await {
            complain("changing", &error);
        }
    }

    /// Notes when sessions were last used.
    pub(super) fn touch(&self, touches: Vec<(String, i64)>) {
        if let Some(store) = self.0.as_ref().filter(|_| !touches.is_empty()) {
            store.sessions_touch_later(touches);
        }
    }

    /// Ids and last uses of all that is kept, idlest first.
    pub(super) async fn known(&self) -> Vec<(String, i64)> {
        let Some(store) = &self.0 else { return Vec::new() };
        let mut known: Vec<(String, i64)> = match store.sessions_known().await {
            Ok(rows) => rows.into_iter().map(|(id, _, last_used)| (id, last_used)).collect(),
            Err(error) => {
                complain("listing", &error);
                Vec::new()
            }
        };
        known.sort_by_key(|(_, last_used)| *last_used);
        known
    }
}

/// Server names are `[a-z0-9-]`, so this is none.
const AGGREGATE: &str = "*";

fn to_row(id: &str, kept: &Kept) -> SessionRow {
    SessionRow {
        id: id.to_owned(),
        endpoint: match &kept.endpoint {
            EndpointId::Server(name) => name.to_string(),
            EndpointId::Aggregate => AGGREGATE.to_owned(),
        },
        version: kept.hello.version.as_str().to_owned(),
        capabilities: kept.hello.raw_capabilities.to_vec(),
        client_info: kept.hello.client_info.to_vec(),
        level: kept.level.map(|level| level.as_str().to_owned()),
        subscriptions: subscriptions_text(&kept.subscriptions),
        created: kept.last_used,
        last_used: kept.last_used,
    }
}

fn from_row(row: &SessionRow) -> Option<Kept> {
    let raw_capabilities = Bytes::copy_from_slice(&row.capabilities);
    Some(Kept {
        endpoint: match row.endpoint.as_str() {
            AGGREGATE => EndpointId::Aggregate,
            name => EndpointId::Server(ServerName::new(name).ok()?),
        },
        hello: Hello {
            version: ProtocolVersion::parse(&row.version)?,
            capabilities: ClientCapabilities::parse(&raw_capabilities),
            raw_capabilities,
            client_info: Bytes::copy_from_slice(&row.client_info),
        },
        level: row.level.as_deref().and_then(Level::parse),
        subscriptions: subscriptions_from(&row.subscriptions),
        last_used: row.last_used,
    })
}

/// `[[server, uri, prefixed], …]`
fn subscriptions_text(subscriptions: &Subscriptions) -> String {
    let rows: Vec<(&str, &str, bool)> = subscriptions
        .iter()
        .map(|((server, uri), form)| (server.as_ref(), uri.as_str(), *form == UriForm::Prefixed))
        .collect();
    serde_json::to_string(&rows).expect("strings serialise")
}

fn subscriptions_from(text: &str) -> Subscriptions {
    let rows: Vec<(String, String, bool)> = serde_json::from_str(text).unwrap_or_default();
    let form = |prefixed| if prefixed { UriForm::Prefixed } else { UriForm::Own };
    rows.into_iter()
        .filter_map(|(server, uri, prefixed)| Some(((ServerName::new(&server).ok()?, uri), form(prefixed))))
        .collect()
}

/// What a row is made from; see [`Kept`].
pub(super) fn kept(endpoint: &EndpointId, hello: &Hello) -> Kept {
    Kept {
        endpoint: endpoint.clone(),
        hello: hello.clone(),
        level: None,
        subscriptions: Subscriptions::new(),
        last_used: unix_now(),
    }
}

/// A store of its own in a private folder, for tests.
#[cfg(test)]
pub(super) fn private() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("state.db")).expect("opens");
    (folder, store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_comes_back_as_it_was() {
        let (_folder, store) = private();
        let durable = Durable(Some(store));
        let params = Bytes::from_static(
            br#"{"protocolVersion":"2025-06-18","capabilities":{"elicitation":{}},"clientInfo":{"name":"c"}}"#,
        );
        let hello = Hello::parse(Some(&params)).expect("valid");
        let server = ServerName::new("git").expect("a name");
        let mut session = kept(&EndpointId::Server(server.clone()), &hello);
        durable.put("one", &session).await;
        session.level = Some(Level::Warning);
        session.subscriptions.insert((server.clone(), "a \"b\"".into()), UriForm::Prefixed);
        session.subscriptions.insert((server, "c".into()), UriForm::Own);
        durable.update("one", session.level, &session.subscriptions).await;
        assert_eq!(durable.get("one").await, Some(session));
        durable.put("all", &kept(&EndpointId::Aggregate, &hello)).await;
        assert_eq!(durable.get("all").await.expect("kept").endpoint, EndpointId::Aggregate);
        durable.delete("one").await;
        assert_eq!(durable.get("one").await, None);
        assert_eq!(durable.known().await.len(), 1);
    }
}

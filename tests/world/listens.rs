//! The listens of hub at a modern child (2026-07-28, basic/patterns/subscriptions).
//!
//! In: requests, choices. Out: acknowledgements, ends, notifications through them. Owns nothing of its own. May not: let
//! hub have more than one in use and one on its way of each kind.

use std::collections::BTreeSet;

use hub::mcp::meta::SUBSCRIPTION_ID;
use serde_json::{Value, json};

use super::child::{Child, Request};

/// A `subscriptions/listen` that was not ended.
#[derive(Debug)]
pub struct Listen {
    filter: Value,
    /// What of its resources it will tell of.
    pub uris: BTreeSet<String>,
    acknowledged: bool,
    pub cancelled: bool,
}

impl Listen {
    fn is_for_resources(&self) -> bool {
        self.filter.get("resourceSubscriptions").is_some()
    }
}

impl Child {
    pub fn read_listen(&mut self, wire: u64, request: &Request) {
        let filter = request.params["notifications"].clone();
        let uris = filter["resourceSubscriptions"].as_array();
        let uris: BTreeSet<String> = uris.into_iter().flatten().filter_map(|uri| Some(uri.as_str()?.into())).collect();
        let listen = Listen { filter, uris, acknowledged: false, cancelled: false };
        assert_eq!(listen.is_for_resources(), !listen.uris.is_empty(), "{:?}", listen.filter);
        let same = |other: &&Listen| !other.cancelled && other.is_for_resources() == listen.is_for_resources();
        let others: Vec<&Listen> = self.listens.values().filter(same).collect();
        assert!(others.len() < 2, "one in use and one on its way: {others:?}");
        // Of those that hub has left, a few are remembered, to tell of them all the same.
        let left: Vec<u64> = self.listens.iter().filter(|(_, l)| l.cancelled).map(|(wire, _)| *wire).collect();
        left.iter().rev().skip(3).for_each(|wire| drop(self.listens.remove(wire)));
        self.events.push((None, if listen.is_for_resources() { "listen for resources" } else { "listen for lists" }));
        self.listens.insert(wire, listen);
    }

    /// Acknowledges, ends, or uses a listen.
    pub fn tend_listens(&mut self, pick: usize, how: usize) {
        let waiting: Vec<u64> = self.listens.iter().filter(|(_, l)| !l.acknowledged).map(|(wire, _)| *wire).collect();
        if !waiting.is_empty() && how > 0 {
            return self.confirm(waiting[pick % waiting.len()], how);
        }
        let Some(wire) = self.listens.keys().nth(pick % self.listens.len().max(1)).copied() else { return };
        if how == 1 && pick.is_multiple_of(2) {
            return self.end_listen(wire, pick);
        }
        let listen = &self.listens[&wire];
        if !listen.acknowledged {
            return;
        }
        let meta = json!({ SUBSCRIPTION_ID: wire });
        let (method, params) = if listen.is_for_resources() {
            let Some(uri) = listen.uris.iter().nth(pick % listen.uris.len().max(1)) else { return };
            ("notifications/resources/updated", json!({ "uri": uri, "_meta": meta }))
        } else if how == 2 {
            // Some servers forget the id.
            ("notifications/tools/list_changed", json!({}))
        } else {
            ("notifications/tools/list_changed", json!({ "_meta": meta }))
        };
        self.say(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn confirm(&mut self, wire: u64, how: usize) {
        if !self.knows_listen {
            return self.end_listen(wire, 0);
        }
        let Some(listen) = self.listens.get_mut(&wire) else { return };
        listen.acknowledged = true;
        if how == 7 {
            // Not all that was wanted.
            listen.uris.pop_first();
        }
        let mut honoured = listen.filter.clone();
        if listen.is_for_resources() {
            honoured["resourceSubscriptions"] = json!(listen.uris);
        }
        let params = json!({ "_meta": { SUBSCRIPTION_ID: wire }, "notifications": honoured });
        self.events.push((None, "listen acknowledged"));
        self.say(&json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params }));
    }

    pub fn confirm_all(&mut self) {
        let waiting: Vec<u64> = self.listens.iter().filter(|(_, l)| !l.acknowledged).map(|(wire, _)| *wire).collect();
        waiting.into_iter().for_each(|wire| self.confirm(wire, 0));
    }

    fn end_listen(&mut self, wire: u64, pick: usize) {
        self.listens.remove(&wire);
        self.events.push((None, "listen ended by the child"));
        let line = match (self.knows_listen, pick % 3) {
            (false, _) => json!({ "id": wire, "error": { "code": -32601, "message": "no listen" } }),
            (true, 0) => json!({ "id": wire, "error": { "code": -32000, "message": "not now" } }),
            (true, 1) => json!({ "id": wire, "result": { "resultType": "complete" } }),
            (true, _) => json!({ "method": "notifications/cancelled", "params": { "requestId": wire } }),
        };
        let mut line = line;
        line["jsonrpc"] = "2.0".into();
        self.say(&line);
    }
}

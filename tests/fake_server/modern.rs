//! The modern revision (2026-07-28): no handshake, `_meta` on every request, listen streams.
//!
//! In: requests with a claim. Out: results with `resultType`, tagged notifications. Owns the open listens. May not:
//! send a request; a modern server returns `input_required` instead.

use crate::wire::{Request, code};
use crate::{Fake, lists, tools};
use serde_json::{Value, json};
use std::sync::Arc;

/// One open `subscriptions/listen`.
pub struct Listen {
    id: Value,
    filter: Value,
}

const VERSION: &str = "2026-07-28";
const CACHEABLE: [&str; 5] =
    ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"];

impl Fake {
    /// Is this connection modern by now?
    pub fn speaks_modern(&self) -> bool {
        match self.knobs.profile {
            crate::args::Profile::Modern => true,
            crate::args::Profile::Dual => *self.pinned.lock().expect("never poisoned") == Some(true),
            _ => false,
        }
    }

    /// `KIND` has changed: tells a legacy client, or each listen that asked.
    pub fn changed(&self, kind: &str) {
        let method = format!("notifications/{kind}/list_changed");
        if !self.speaks_modern() {
            return self.wire.notify(&method, &Value::Null);
        }
        let flag = format!("{kind}ListChanged");
        for listen in self.listens.lock().expect("never poisoned").iter().filter(|l| l.filter[&flag] == true) {
            self.wire.notify(&method, &tagged(listen, json!({})));
        }
    }

    /// A resource has changed.
    pub fn updated(&self, uri: &str) {
        let method = "notifications/resources/updated";
        if !self.speaks_modern() {
            return self.wire.notify(method, &json!({"uri": uri}));
        }
        for listen in self.listens.lock().expect("never poisoned").iter() {
            let uris = listen.filter["resourceSubscriptions"].as_array();
            if uris.is_some_and(|uris| uris.iter().any(|known| known == uri)) {
                self.wire.notify(method, &tagged(listen, json!({"uri": uri})));
            }
        }
    }

    /// Answers anything but a tool call, with the members that the modern revision requires.
    pub fn complete(&self, request: &Request, mut result: Value) {
        if self.speaks_modern() {
            result["resultType"] = json!("complete");
            if CACHEABLE.contains(&request.method.as_str()) {
                result["ttlMs"] = json!(60_000);
                result["cacheScope"] = json!("private");
            }
        }
        self.wire.answer(&request.id, &result);
    }

    /// One request of a modern client.
    pub fn modern(self: &Arc<Self>, request: Request) {
        let Some(version) = request.meta("io.modelcontextprotocol/protocolVersion").cloned() else {
            let known = request.method == "server/discover";
            let (code, text) = if request.method == "initialize" {
                (code::UNSUPPORTED_VERSION, "this server speaks 2026-07-28")
            } else {
                (code::INVALID_PARAMS, "_meta is missing")
            };
            if known {
                return self.discover(&request);
            }
            let error = json!({"code": code, "message": text, "data": {"supported": [VERSION]}});
            return self.wire.refuse(&request.id, &error);
        };
        if version != VERSION {
            let data = json!({"supported": [VERSION], "requested": version});
            let error = json!({"code": code::UNSUPPORTED_VERSION, "message": "unsupported version", "data": data});
            return self.wire.refuse(&request.id, &error);
        }
        match request.method.as_str() {
            "server/discover" => self.discover(&request),
            "subscriptions/listen" => self.listen(request),
            "tools/call" => tools::call(self, request),
            "prompts/get" | "completion/complete" => lists::request(self, request),
            method if CACHEABLE.contains(&method) => lists::request(self, request),
            _ => self.wire.fail(&request.id, code::METHOD_NOT_FOUND, "Method not found"),
        }
    }

    fn discover(&self, request: &Request) {
        let mut capabilities = lists::capabilities(&self.knobs);
        if let Some(members) = capabilities.as_object_mut() {
            members.remove("tasks");
        }
        let mut result = json!({
            "resultType": "complete",
            "supportedVersions": [VERSION],
            "capabilities": capabilities,
            "ttlMs": 60_000,
            "cacheScope": "private",
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": self.knobs.name, "version": "1.0.0"}},
        });
        if let Some(text) = &self.knobs.instructions {
            result["instructions"] = json!(text);
        }
        self.wire.answer(&request.id, &result);
    }

    fn listen(&self, request: Request) {
        let listen = Listen { filter: request.params["notifications"].clone(), id: request.id };
        let params = tagged(&listen, json!({"notifications": listen.filter}));
        self.wire.notify("notifications/subscriptions/acknowledged", &params);
        self.listens.lock().expect("never poisoned").push(listen);
    }
}

fn tagged(listen: &Listen, mut params: Value) -> Value {
    params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": listen.id});
    params
}

/// The client closed a listen.
pub fn forget_listen(fake: &Fake, id: &Value) {
    fake.listens.lock().expect("never poisoned").retain(|listen| listen.id != *id);
}

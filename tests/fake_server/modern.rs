//! The modern revision (2026-07-28): no handshake, `_meta` on every request, listen streams.
//!
//! In: requests with a claim. Out: results with `resultType`, tagged notifications. Owns the open listens. May not:
//! send a request; a modern server returns `input_required` instead.

use crate::args::Profile;
use crate::wire::{Request, code};
use crate::{Fake, lists, tasks, tools};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One open `subscriptions/listen`.
pub struct Listen {
    id: Value,
    filter: Value,
}

/// The extension that brings tasks into the modern revision (SEP-2663).
pub const TASKS: &str = "io.modelcontextprotocol/tasks";
const VERSION: &str = "2026-07-28";
const CACHEABLE: [&str; 5] =
    ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"];

impl Fake {
    /// Is this connection modern by now?
    pub fn speaks_modern(&self) -> bool {
        match self.knobs.profile {
            Profile::Modern => true,
            Profile::Dual => *self.pinned.lock().expect("never poisoned") == Some(true),
            Profile::Unpinned => !self.initialized.load(Ordering::SeqCst),
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
        self.tell_listens(method, "resourceSubscriptions", |known| uri.starts_with(known), &json!({"uri": uri}));
    }

    /// A task has changed.
    pub fn task_changed(&self, id: &str, object: &Value) {
        self.tell_listens("notifications/tasks", "taskIds", |known| known == id, object);
    }

    fn tell_listens(&self, method: &str, list: &str, wanted: impl Fn(&str) -> bool, params: &Value) {
        for listen in self.listens.lock().expect("never poisoned").iter() {
            let mut entries = listen.filter[list].as_array().into_iter().flatten().filter_map(Value::as_str);
            if entries.any(&wanted) {
                self.wire.notify(method, &tagged(listen, params.clone()));
            }
        }
    }

    /// Ends every listen, as a server does that shuts down (`gracefully`) or that loses them.
    pub fn end_listens(&self, gracefully: bool) {
        for listen in std::mem::take(&mut *self.listens.lock().expect("never poisoned")) {
            if gracefully {
                self.wire.answer(&listen.id, &tagged(&listen, json!({"resultType": "complete"})));
            } else {
                self.wire.notify("notifications/cancelled", &json!({"requestId": listen.id, "reason": "too many"}));
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
        for (key, value) in self.knobs.result_extra.iter().filter_map(Value::as_object).flatten() {
            result[key] = value.clone();
        }
        self.wire.answer(&request.id, &result);
    }

    /// One request of a modern client.
    pub fn modern(self: &Arc<Self>, request: Request) {
        let version = request.meta("io.modelcontextprotocol/protocolVersion").cloned();
        // Python 2.x refuses what does not say who can do what; `initialize` it takes for a client of another time.
        let Some(version) = version.filter(|_| request.client_caps().is_object()) else {
            let (code, text) = match request.method.as_str() {
                "initialize" => (code::UNSUPPORTED_VERSION, "this server speaks 2026-07-28"),
                _ => (code::INVALID_PARAMS, "_meta is missing"),
            };
            let error = json!({"code": code, "message": text, "data": {"supported": [VERSION]}});
            return self.wire.refuse(&request.id, &error);
        };
        if version != VERSION {
            let data = json!({"supported": [VERSION], "requested": version});
            let error = json!({"code": code::UNSUPPORTED_VERSION, "message": "unsupported version", "data": data});
            return self.wire.refuse(&request.id, &error);
        }
        match request.method.as_str() {
            "server/discover" => self.discover(request),
            "subscriptions/listen" if self.knobs.listen => self.listen(request),
            "tools/call" => tools::call(self, request),
            "tasks/get" | "tasks/update" | "tasks/cancel" => tasks::modern(self, &request),
            "prompts/get" | "completion/complete" => lists::request(self, request),
            method if CACHEABLE.contains(&method) => lists::request(self, request),
            _ => self.wire.fail(&request.id, code::METHOD_NOT_FOUND, "Method not found"),
        }
    }

    fn discover(self: &Arc<Self>, request: Request) {
        let mut capabilities = lists::capabilities(&self.knobs);
        if capabilities.as_object_mut().and_then(|members| members.remove("tasks")).is_some() {
            capabilities["extensions"] = json!({TASKS: {}});
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
        if self.knobs.probe_delay.is_zero() {
            return self.wire.answer(&request.id, &result);
        }
        let fake = Arc::clone(self);
        std::thread::spawn(move || {
            std::thread::sleep(fake.knobs.probe_delay);
            fake.wire.answer(&request.id, &result);
        });
    }

    fn listen(&self, request: Request) {
        let mut filter = request.params["notifications"].clone();
        if let Some(uris) = filter["resourceSubscriptions"].as_array_mut() {
            uris.retain(|uri| uri.as_str().is_some_and(|uri| !uri.contains("refuse")));
        }
        if let Some(members) = filter.as_object_mut().filter(|_| !self.knobs.list_changed) {
            members.retain(|key, _| !key.ends_with("ListChanged"));
        }
        let listen = Listen { filter, id: request.id };
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

/// The error for a client that cannot do what `method` asks of it; `None` if it can.
pub fn missing_capability(caps: &Value, method: &str, params: &Value) -> Option<Value> {
    let (able, needed) = match method {
        "elicitation/create" if params["mode"] == "url" => {
            (caps["elicitation"]["url"].is_object(), json!({"elicitation": {"url": {}}}))
        }
        "elicitation/create" => {
            // No mode at all means forms (2025-11-25 and later).
            let modes = caps["elicitation"].as_object();
            let able = modes.is_some_and(|modes| modes.is_empty() || modes.contains_key("form"));
            (able, json!({"elicitation": {"form": {}}}))
        }
        "sampling/createMessage" if params.get("tools").is_some() => {
            (caps["sampling"]["tools"].is_object(), json!({"sampling": {"tools": {}}}))
        }
        "sampling/createMessage" => (caps["sampling"].is_object(), json!({"sampling": {}})),
        "roots/list" => (caps["roots"].is_object(), json!({"roots": {}})),
        _ => (true, Value::Null),
    };
    (!able).then(|| missing(&needed))
}

/// -32021 with what is missing.
pub fn missing(needed: &Value) -> Value {
    let data = json!({"requiredCapabilities": needed});
    json!({"code": code::MISSING_CAPABILITY, "message": "Missing required client capability", "data": data})
}

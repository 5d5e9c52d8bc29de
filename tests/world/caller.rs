//! What callers do: sessions, modern listeners, modern requests.
//!
//! In: choices. Out: inputs of the mux, and what may be expected of them. Owns nothing of its own. May not: check
//! anything (that is `oracle`).

use std::sync::Arc;

use hub::mcp::meta::Level;
use hub::mcp::{ClientCapabilities, Era, Method, Outcome, Raw};
use hub::server::{AskId, CallId, CallerId, Client, Hints};
use serde_json::{Value, json};

use super::words::{JUNK, answer_to, capabilities, claims, name_of, raw};
use super::{Call, Caller, Choice, URIS, World};

const LEVELS: [&str; 4] = ["debug", "info", "error", "emergency"];

impl<C: Choice> World<C> {
    /// The era of a client that does something now.
    fn some_era(&mut self) -> Option<Era> {
        let other = self.mixed && self.choice.below(4)? == 0;
        Some(match (self.cell.clients, other) {
            (Era::Legacy, false) | (Era::Modern, true) => Era::Legacy,
            _ => Era::Modern,
        })
    }

    fn some_client(&mut self, era: Era, id: u64, level: Option<Level>) -> Option<Arc<Client>> {
        let modern = era == Era::Modern;
        let capabilities = capabilities(self.choice.below(6)?, modern && self.choice.below(2)? == 0);
        let capabilities = raw(&capabilities);
        let can = ClientCapabilities::parse(&capabilities);
        let info = Some(raw(&json!({ "name": name_of(id), "version": "1" })));
        Some(Arc::new(Client { era, can, capabilities, info, level }))
    }

    pub(super) fn some_caller_opens(&mut self) -> Option<()> {
        if self.callers.len() >= 5 {
            return Some(());
        }
        let (id, era) = (CallerId(self.next_id()), self.some_era()?);
        let level = match self.choice.below(4)? {
            0 if era == Era::Legacy => Level::parse(self.choice.of(&LEVELS)?),
            _ => None,
        };
        let client = self.some_client(era, id.0, level)?;
        let uris: Vec<String> = match self.choice.below(4)? {
            0 => vec![self.choice.of(&URIS)?.to_owned()],
            _ => vec![],
        };
        self.callers.insert(id, Caller { client: client.clone(), level, uris: uris.iter().cloned().collect() });
        self.trace(|| format!("{id:?} comes: {client:?} {uris:?}"));
        self.count(Some(era), "caller");
        self.mux.open(id, client, uris, self.now);
        Some(())
    }

    pub(super) fn some_caller_closes(&mut self) -> Option<()> {
        let callers: Vec<CallerId> = self.callers.keys().copied().collect();
        if !callers.is_empty() {
            let caller = self.choice.of(&callers)?;
            self.close(caller);
        }
        Some(())
    }

    pub(super) fn close(&mut self, caller: CallerId) {
        self.callers.remove(&caller);
        for call in self.calls.values_mut().filter(|call| call.caller == caller) {
            call.cancelled = true;
        }
        self.trace(|| format!("{caller:?} leaves"));
        self.mux.close(caller, self.now);
        self.drain();
        // A level is the child's: who set it may have left when it is told.
        let stays = |call: &Call| call.caller == caller && !call.over && call.method != Method::SetLevel;
        let open: Vec<_> = self.calls.iter().filter(|(_, call)| stays(call)).collect();
        assert!(open.is_empty(), "calls of a caller that left: {open:?}");
    }

    pub(super) fn some_call(&mut self) -> Option<()> {
        if self.calls.values().filter(|call| !call.over).count() > self.crowd {
            return Some(());
        }
        // hub itself calls, too, now and then.
        if self.choice.below(32)? == 0 {
            let uri = self.choice.of(&URIS)?;
            self.call(CallerId::HUB, Method::ResourcesRead, json!({ "uri": uri }));
            return Some(());
        }
        if self.some_era()? == Era::Modern {
            return self.some_modern_call();
        }
        let sessions: Vec<CallerId> = self.callers.keys().copied().collect();
        if sessions.is_empty() {
            return self.some_caller_opens();
        }
        let caller = self.choice.of(&sessions)?;
        let (kind, uri) = (self.choice.below(16)?, self.choice.of(&URIS)?);
        let (method, params) = match kind {
            // A listener only subscribes.
            _ if self.era_of(caller) == Era::Modern => (Method::Subscribe, json!({ "uri": uri })),
            0..=1 => (Method::ResourcesRead, json!({ "uri": uri })),
            2..=5 => (Method::ToolsCall, json!({ "name": "look", "arguments": { "x": "\n" } })),
            6..=8 => (Method::ToolsCall, json!({ "name": "do", "_meta": { "progressToken": "t" } })),
            9 => (Method::PromptsGet, json!({ "name": "p", "_meta": { "progressToken": 1, "x": {} } })),
            10 => (Method::Subscribe, json!({ "uri": uri })),
            11 => (Method::Unsubscribe, json!({ "uri": uri })),
            12 => (Method::ToolsCall, json!({ "name": "do", "task": { "ttl": 600_000 } })),
            13..=14 => self.some_task_call(&format!("t{}#", caller.0))?,
            _ => (Method::SetLevel, json!({ "level": self.choice.of(&LEVELS)? })),
        };
        self.call(caller, method, params);
        Some(())
    }

    /// About a task of its own, or of somebody else.
    fn some_task_call(&mut self, own: &str) -> Option<(Method, Value)> {
        let all = [Method::TasksGet, Method::TasksResult, Method::TasksCancel, Method::TasksList];
        let method = all[self.choice.below(all.len())?].clone();
        let (pick, mine) = (self.choice.below(self.tasks.len().min(8) + 1)?, self.choice.below(3)? > 0);
        let all = || self.tasks.iter().rev();
        let task = all().find(|task| mine && task.starts_with(own)).or_else(|| all().nth(pick));
        let task = task.cloned().unwrap_or_else(|| "of nobody".into());
        Some((method, json!({ "taskId": task })))
    }

    fn call(&mut self, caller: CallerId, method: Method, mut params: Value) {
        let id = CallId(self.next_id());
        for (key, value) in [("call", id.0), ("caller", caller.0), ("chain", id.0)] {
            params[key] = value.into();
        }
        self.note(caller, &method, &params);
        let mut call = Call::new(caller, method.clone());
        call.repeatable |= caller != CallerId::HUB && params["name"] == "look";
        self.calls.insert(id, call);
        self.trace(|| format!("{caller:?} {id:?}: {} {params}", method.name()));
        if caller != CallerId::HUB {
            self.count(Some(self.era_of(caller)), "call");
        }
        self.mux.call(id, caller, method, Some(raw(&params)), self.now);
    }

    /// What follows from a call as soon as it is made.
    fn note(&mut self, caller: CallerId, method: &Method, params: &Value) {
        let Some(known) = self.callers.get_mut(&caller) else { return };
        let uri = params["uri"].as_str().unwrap_or_default().to_owned();
        match method {
            Method::SetLevel if self.facts.logging => {
                known.level = params["level"].as_str().and_then(Level::parse);
            }
            Method::Subscribe if self.facts.subscribe => drop(known.uris.insert(uri)),
            Method::Unsubscribe if self.facts.subscribe => drop(known.uris.remove(&uri)),
            _ => {}
        }
    }

    // === Modern requests ===

    fn some_modern_call(&mut self) -> Option<()> {
        if !self.again.is_empty() && self.choice.below(3)? > 0 {
            return self.some_modern_retry();
        }
        let id = self.next_id();
        let level = match self.choice.below(3)? {
            0 => Level::parse(self.choice.of(&LEVELS)?),
            _ => None,
        };
        let client = self.some_client(Era::Modern, id, level)?;
        let uri = self.choice.of(&URIS)?;
        let (method, mut params) = match self.choice.below(16)? {
            0..=1 => (Method::ResourcesRead, json!({ "uri": uri })),
            2..=6 => (Method::ToolsCall, json!({ "name": "look", "arguments": { "x": "\n" } })),
            7..=10 => (Method::ToolsCall, json!({ "name": "do" })),
            // What only a legacy client may say, and what only a retry has.
            11 => (Method::ToolsCall, json!({ "name": "do", "task": {}, "inputResponses": {}, "requestState": JUNK })),
            12 => (Method::PromptsGet, json!({ "name": "p" })),
            13 => (Method::ToolsList, json!({ "cursor": "c" })),
            _ => {
                let (method, params) = self.some_task_call("m#")?;
                // There is no list of tasks, and no result apart, in this era.
                let known = matches!(method, Method::TasksGet | Method::TasksCancel);
                (if known { method } else { Method::TasksUpdate }, params)
            }
        };
        params["_meta"] = claims(id, &client.capabilities, level);
        if self.choice.below(2)? == 0 {
            params["_meta"]["progressToken"] = json!("mine");
        }
        self.modern_call(id, id, client, method, params);
        Some(())
    }

    /// A call of a client that exists for it only. `chain`: the first of the calls that are one for its client.
    pub(super) fn modern_call(&mut self, id: u64, chain: u64, client: Arc<Client>, method: Method, mut params: Value) {
        for (key, value) in [("call", id), ("caller", id), ("chain", chain)] {
            params[key] = value.into();
        }
        params["modern"] = true.into();
        let (id, caller) = (CallId(id), CallerId::passing(CallId(id)));
        let mut call = Call::new(caller, method.clone());
        call.client = Some(client.clone());
        call.repeatable |= params["name"] == "look" && params.get("task").is_none();
        self.calls.insert(id, call);
        self.trace(|| format!("modern {id:?}: {} {params}", method.name()));
        self.count(Some(Era::Modern), "call");
        self.mux.call_with(id, (caller, Some(client)), method, Some(raw(&params)), Hints::UNKNOWN, self.now);
    }

    // === Second thoughts ===

    pub(super) fn some_cancel(&mut self) -> Option<()> {
        let open: Vec<CallId> = self.calls.iter().filter(|(_, call)| !call.over).map(|(id, _)| *id).collect();
        let any = CallId(self.choice.below(64)? as u64);
        let id = if open.is_empty() || self.choice.below(8)? == 0 { any } else { self.choice.of(&open)? };
        // Nobody cancels what hub does for itself.
        if self.calls.get(&id).is_some_and(|call| call.caller == CallerId::HUB) {
            return Some(());
        }
        if self.parks.contains_key(&id) {
            let lost = self.choice.below(4)? == 0;
            self.client_leaves(id, lost);
            return Some(());
        }
        if let Some(call) = self.calls.get_mut(&id) {
            call.cancelled = true;
        }
        self.trace(|| format!("{id:?} is cancelled"));
        self.mux.cancel(id, Some("changed my mind"), self.now);
        Some(())
    }

    pub(super) fn some_session_answers(&mut self) -> Option<()> {
        let shown: Vec<AskId> = self.shown.keys().copied().collect();
        if shown.is_empty() {
            return Some(());
        }
        let ask = self.choice.of(&shown)?;
        match self.choice.below(16)? {
            0..=3 => self.mux.ask_progress(ask, &Raw::from_static(br#"{"progressToken":"mine","progress":1}"#)),
            4 => {
                self.refuse(ask);
                return Some(());
            }
            _ => {}
        }
        self.answer(ask);
        Some(())
    }

    /// Answers an ask with what names it; a second time, with what must never arrive.
    pub(super) fn answer(&mut self, ask: AskId) {
        let Some(shown) = self.shown.get_mut(&ask) else { return };
        let by = if std::mem::replace(&mut shown.answered, true) { "twice" } else { "once" };
        let (answer, caller) = (answer_to(&shown.method, &shown.key, by), shown.caller);
        if by == "twice" {
            // Once is enough to see that it does nothing.
            self.shown.remove(&ask);
        }
        self.trace(|| format!("{ask:?}: {answer}"));
        self.count(Some(self.era_of(caller)), "answer");
        self.mux.answer(ask, Outcome::Result(raw(&answer)), self.now);
        self.drain();
    }

    /// Answers an ask with an error.
    fn refuse(&mut self, ask: AskId) {
        if let Some(shown) = self.shown.get_mut(&ask).filter(|shown| !shown.answered) {
            shown.answered = true;
            let caller = shown.caller;
            self.trace(|| format!("{ask:?} is refused"));
            self.count(Some(self.era_of(caller)), "refusal");
            self.mux.answer(ask, hub::mcp::ErrorObject::new(-1, "not today").into(), self.now);
        }
    }
}

//! What callers do.
//!
//! In: choices. Out: inputs of the mux, and what may be expected of them. Owns nothing of its own. May not: check
//! anything (that is `oracle`).

use std::sync::Arc;

use hub::mcp::meta::Level;
use hub::mcp::{Method, Outcome, Raw};
use hub::server::{AskId, CallId, CallerId, Client};
use serde_json::json;

use super::{Call, Caller, Choice, URIS, World, capabilities, raw};

const LEVELS: [&str; 4] = ["debug", "info", "error", "emergency"];

impl<C: Choice> World<C> {
    pub(super) fn some_caller_opens(&mut self) -> Option<()> {
        if self.callers.len() >= 5 {
            return Some(());
        }
        let id = CallerId(self.next_id());
        let can = capabilities(self.choice.below(3)? > 0, self.choice.below(2)? > 0);
        let level = match self.choice.below(4)? {
            0 => Level::parse(self.choice.of(&LEVELS)?),
            _ => None,
        };
        let uris: Vec<String> = match self.choice.below(4)? {
            0 => vec![self.choice.of(&URIS)?.to_owned()],
            _ => vec![],
        };
        self.callers.insert(id, Caller { level, uris: uris.iter().cloned().collect() });
        self.trace(|| format!("{id:?} comes: {level:?} {uris:?}"));
        self.mux.open(id, Arc::new(Client::legacy(can, level)), uris, self.now);
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
        let callers: Vec<CallerId> = self.callers.keys().copied().collect();
        // hub itself calls, too, now and then.
        let pick = self.choice.below(callers.len() * 8 + 1)?;
        let caller = callers.get(pick / 8).copied().unwrap_or(CallerId::HUB);
        let open = self.calls.values().filter(|call| !call.over).count();
        if caller == CallerId::HUB && callers.is_empty() {
            return self.some_caller_opens();
        }
        if open > 24 {
            return Some(());
        }
        let id = CallId(self.next_id());
        let (kind, uri) = (if caller == CallerId::HUB { 0 } else { self.choice.below(12)? }, self.choice.of(&URIS)?);
        let (method, params) = match kind {
            0..=1 => (Method::ResourcesRead, json!({ "uri": uri, "call": id.0 })),
            2..=4 => (Method::ToolsCall, json!({ "name": "look", "arguments": { "x": "\n" }, "call": id.0 })),
            5..=7 => (Method::ToolsCall, json!({ "name": "do", "call": id.0, "_meta": { "progressToken": "t" } })),
            8 => (Method::PromptsGet, json!({ "name": "p", "call": id.0, "_meta": { "progressToken": 1, "x": {} } })),
            9 => (Method::Subscribe, json!({ "uri": uri })),
            10 => (Method::Unsubscribe, json!({ "uri": uri })),
            _ => (Method::SetLevel, json!({ "level": self.choice.of(&LEVELS)? })),
        };
        self.note(caller, &method, &params);
        let mut call = Call::new(caller, method.clone());
        call.repeatable |= caller != CallerId::HUB && params["name"] == "look";
        self.calls.insert(id, call);
        self.trace(|| format!("{caller:?} {id:?}: {} {params}", method.name()));
        self.mux.call(id, caller, method, Some(raw(&params)), self.now);
        Some(())
    }

    /// What follows from a call as soon as it is made.
    fn note(&mut self, caller: CallerId, method: &Method, params: &serde_json::Value) {
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

    pub(super) fn some_cancel(&mut self) -> Option<()> {
        let open: Vec<CallId> = self.calls.iter().filter(|(_, call)| !call.over).map(|(id, _)| *id).collect();
        let any = CallId(self.choice.below(64)? as u64);
        let id = if open.is_empty() || self.choice.below(8)? == 0 { any } else { self.choice.of(&open)? };
        // Nobody cancels what hub does for itself.
        if self.calls.get(&id).is_none_or(|call| call.caller != CallerId::HUB) {
            if let Some(call) = self.calls.get_mut(&id) {
                call.cancelled = true;
            }
            self.trace(|| format!("{id:?} is cancelled"));
            self.mux.cancel(id, Some("changed my mind"), self.now);
        }
        Some(())
    }

    pub(super) fn some_caller_answers(&mut self) -> Option<()> {
        let shown: Vec<AskId> = self.shown.keys().copied().collect();
        if shown.is_empty() {
            return Some(());
        }
        let ask = self.choice.of(&shown)?;
        if self.choice.below(4)? == 0 {
            self.mux.ask_progress(ask, &Raw::from_static(br#"{"progressToken":"mine","progress":1}"#));
        }
        self.answer(ask);
        Some(())
    }

    /// Answers an ask with what names it; a second time, with what must never arrive.
    pub(super) fn answer(&mut self, ask: AskId) {
        let Some(shown) = self.shown.get_mut(&ask) else { return };
        let by = if std::mem::replace(&mut shown.answered, true) { "twice" } else { "once" };
        let answer = json!({ "action": "accept", "content": { "ask": shown.key, "by": by, "caller": shown.caller.0 } });
        if by == "twice" {
            // Once is enough to see that it does nothing.
            self.shown.remove(&ask);
        }
        self.trace(|| format!("{ask:?}: {answer}"));
        self.count("answer");
        self.mux.answer(ask, Outcome::Result(raw(&answer)), self.now);
        self.drain();
    }
}

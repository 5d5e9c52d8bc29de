//! What the mux puts out, and whether it should.
//!
//! In: outputs. Out: a panic where one breaks a promise: the right owner or nobody, one end per call, nothing after it,
//! nothing twice. Owns nothing of its own. May not: change what it judges.

use hub::mcp::meta::{LOG_LEVEL, Level};
use hub::mcp::{Era, Line, Method, Outcome, Raw};
use hub::server::mux::Output;
use hub::server::{Ask, CallId, CallerId, Delivery};
use serde_json::Value;

use super::park::params_of;
use super::words::parsed;
use super::{Choice, Phase, Shown, World};

/// What a message says whose it is must be who gets it.
fn assert_own(caller: CallerId, message: &Value) {
    let whose = message["caller"].as_u64();
    assert!(whose.is_none_or(|whose| whose == caller.0), "{caller:?} gets what is another's: {message}");
}

impl<C: Choice> World<C> {
    /// Takes all that the mux wants done.
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.mux.take() {
            self.trace(|| format!("    {output:?}"));
            match output {
                Output::Write(line) => self.write(&line),
                Output::Deliver(call, delivery) => self.delivered(call, delivery),
                Output::ToCaller(caller, delivery) => self.told(caller, delivery),
                Output::Interactive => self.count(None, "learnt that it asks"),
                Output::Dropped(what) => self.count(None, what),
                Output::Changed(_) => {}
            }
        }
        if self.phase == Phase::Failed {
            self.child_dies();
        }
    }

    fn write(&mut self, line: &Line) {
        let child = self.child.as_mut().expect("written to a child that is not there");
        let message = child.send(line);
        let call = message["params"]["call"].as_u64().filter(|_| message.get("id").is_some());
        let level = message["params"]["_meta"].get(LOG_LEVEL).and_then(Value::as_str).and_then(Level::parse);
        if let Some(call) = call {
            self.written(CallId(call), level);
        }
    }

    /// Nothing runs twice, but for what may.
    fn written(&mut self, id: CallId, level: Option<Level>) {
        let call = self.calls.get_mut(&id).expect("a call of ours");
        call.written += 1;
        let again = call.written > call.allowed;
        assert!(!call.over, "{id:?} is over and is sent: {call:?}");
        assert!(!again || (call.repeatable && call.written == call.allowed + 1), "{id:?} runs again: {call:?}");
        let caller = call.caller;
        if again {
            self.count(None, "call sent again");
        }
        if self.era == Era::Modern
            && self.facts.logging
            && let Some(session) = self.callers.get(&caller)
        {
            assert_eq!(level, Some(session.level.unwrap_or(Level::Info)), "the level of {caller:?}");
        }
    }

    fn delivered(&mut self, id: CallId, delivery: Delivery) {
        let call = self.calls.get_mut(&id).unwrap_or_else(|| panic!("{id:?} is no call of ours: {delivery:?}"));
        assert!(!call.over, "{id:?} is over and gets {delivery:?}");
        let (caller, modern) = (call.caller, call.client.is_some());
        match delivery {
            delivery @ (Delivery::Finish(_) | Delivery::Result(_)) => {
                let outcome = delivery.into_outcome().expect("an end");
                call.over = true;
                if !self.parked_end(id, &outcome) {
                    self.ended(id, &outcome);
                }
                match self.phase {
                    Phase::Warming(list) if list == id && matches!(outcome, Outcome::Result(_)) => {
                        self.child_is_ready();
                    }
                    Phase::Warming(list) if list == id => self.phase = Phase::Failed,
                    _ => {}
                }
            }
            Delivery::Cancelled => {
                call.over = true;
                self.parked_cancelled(id);
                assert!(self.calls[&id].cancelled, "{id:?} was not cancelled");
                self.count(Some(self.era_of(caller)), "cancelled call");
            }
            Delivery::Progress { params } => {
                assert_eq!(parsed(&params)["call"], id.0, "progress of another call");
                self.count(Some(self.era_of(caller)), "progress");
            }
            Delivery::Notification { method, params } => self.heard(caller, Some(id), &method, params.as_ref()),
            Delivery::Ask(ask) if modern => self.asked_modern(id, &ask),
            Delivery::Ask(ask) => self.shown(caller, &ask),
            Delivery::Lacks(_) => self.count(Some(self.era_of(caller)), "ask that the client cannot answer"),
            Delivery::Withdraw(ask) => {
                self.shown.remove(&ask);
                if let Some(park) = self.parks.get_mut(&id) {
                    park.machine.withdraw(ask.0);
                }
                self.count(Some(self.era_of(caller)), "withdrawn ask");
            }
        }
    }

    /// Its client has the end of a call.
    pub(super) fn ended(&mut self, id: CallId, outcome: &Outcome) {
        let call = &self.calls[&id];
        let (caller, modern, method) = (call.caller, call.client.is_some(), call.method.clone());
        let (Outcome::Result(raw) | Outcome::Error(raw)) = outcome;
        let answer = parsed(raw);
        let of = [&answer["call"], &answer["data"]["call"]].into_iter().find_map(Value::as_u64);
        assert!(of.is_none_or(|of| of == id.0), "{id:?} gets the answer of {of:?}");
        assert_own(caller, &answer);
        assert_own(caller, &answer["data"]);
        let names_itself = matches!(method, Method::ToolsCall | Method::ResourcesRead | Method::PromptsGet);
        assert!(!names_itself || of.is_some() || matches!(outcome, Outcome::Error(_)), "whose is {answer}?");
        for task in [&answer["task"]["taskId"], &answer["taskId"]] {
            self.tasks.extend(task.as_str().map(str::to_owned));
        }
        for task in answer["tasks"].as_array().into_iter().flatten().filter_map(|task| task["taskId"].as_str()) {
            assert!(task.starts_with(&format!("t{}#", caller.0)), "{caller:?} sees {task}");
        }
        if answer["resultType"] == "input_required" {
            assert!(modern || caller == CallerId::HUB, "a legacy client is given a question as a result: {answer}");
            self.wanted(id, &answer);
        }
        if caller != CallerId::HUB {
            let what = if matches!(outcome, Outcome::Result(_)) { "result" } else { "error" };
            self.count(Some(self.era_of(caller)), what);
        }
    }

    fn told(&mut self, caller: CallerId, delivery: Delivery) {
        if let Delivery::Withdraw(ask) = delivery {
            self.shown.remove(&ask);
            return;
        }
        match delivery {
            // Who visited an address within a call may hear of it after its end.
            Delivery::Notification { method: Method::ElicitationComplete, .. } => {
                self.count(Some(self.era_of(caller)), "completed visit");
            }
            Delivery::Notification { method, params } => {
                assert!(self.callers.contains_key(&caller), "{caller:?} is gone and gets {} {params:?}", method.name());
                self.heard(caller, None, &method, params.as_ref());
            }
            Delivery::Ask(ask) => {
                assert_eq!(self.callers.get(&caller).map(|to| to.client.era), Some(Era::Legacy), "{ask:?}");
                self.shown(caller, &ask);
            }
            other => panic!("not for a caller: {other:?}"),
        }
    }

    fn heard(&mut self, caller: CallerId, call: Option<CallId>, method: &Method, params: Option<&Raw>) {
        let params = params_of(params);
        self.count(
            Some(self.era_of(caller)),
            match method {
                Method::LogMessage => "log line",
                Method::ResourceUpdated => "update",
                Method::TasksStatus => "status of a task",
                Method::Other(_) => "what no revision knows",
                _ => "list_changed",
            },
        );
        assert_own(caller, &params);
        let passing = call.and_then(|call| self.calls[&call].client.clone());
        match method {
            Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged => {}
            Method::ResourceUpdated => {
                let known = &self.callers[&caller];
                assert!(!known.uris.is_empty(), "{caller:?} subscribed to nothing and hears of {params}");
            }
            Method::LogMessage => {
                let level = params["level"].as_str().and_then(Level::parse).expect("a level");
                let wanted = match &passing {
                    Some(client) => client.level,
                    None => Some(self.callers[&caller].level.unwrap_or(Level::Info)),
                };
                assert!(wanted.is_some_and(|wanted| level >= wanted), "{caller:?} did not want {params}");
                assert_own(caller, &params["data"]);
            }
            Method::TasksStatus | Method::Other(_) => {}
            other => panic!("{caller:?} hears {other:?}"),
        }
    }

    /// The right owner or nobody.
    fn prompt(caller: CallerId, ask: &Ask) -> String {
        let params = params_of(ask.params.as_ref());
        assert_own(caller, &params);
        params["ask"].as_str().expect("its name").to_owned()
    }

    fn shown(&mut self, caller: CallerId, ask: &Ask) {
        let key = Self::prompt(caller, ask);
        self.count(Some(self.era_of(caller)), "shown ask");
        let shown = Shown { caller, method: ask.method.clone(), key, answered: false };
        assert!(self.shown.insert(ask.id, shown).is_none(), "{:?} is shown twice", ask.id);
    }

    fn asked_modern(&mut self, id: CallId, ask: &Ask) {
        assert_eq!(self.era, Era::Legacy, "a modern child asks no client: {ask:?}");
        Self::prompt(CallerId::passing(id), ask);
        self.park(id, ask);
    }
}

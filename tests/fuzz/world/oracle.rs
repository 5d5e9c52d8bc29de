//! What the mux puts out, and whether it should.
//!
//! In: outputs. Out: a panic where one breaks a promise: the right owner or nobody, one end per call, nothing after it,
//! nothing twice. Owns nothing of its own. May not: change what it judges.

use hub::mcp::meta::Level;
use hub::mcp::{Method, Outcome, Raw};
use hub::server::mux::Output;
use hub::server::{Ask, CallId, CallerId, Delivery};
use serde_json::Value;

use super::{Choice, Phase, Shown, World};

fn json(raw: &Raw) -> Value {
    serde_json::from_slice(raw).expect("JSON")
}

impl<C: Choice> World<C> {
    /// Takes all that the mux wants done, and then looks at its own invariants.
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.mux.take() {
            self.trace(|| format!("    {output:?}"));
            match output {
                Output::Write(line) => {
                    let child = self.child.as_mut().expect("written to a child that is not there");
                    if let Some(call) = child.send(&line) {
                        self.written(CallId(call));
                    }
                }
                Output::Deliver(call, delivery) => self.delivered(call, delivery),
                Output::ToCaller(caller, delivery) => self.told(caller, delivery),
                Output::Interactive => self.count("learnt that it asks"),
                Output::Dropped(what) => self.count(what),
                Output::Changed(_) => {}
            }
        }
        if self.phase == Phase::Failed {
            self.child_dies();
        }
        if let Err(broken) = self.mux.check_invariants(self.now) {
            panic!("invariant: {broken}");
        }
    }

    /// Nothing runs twice, but for what may.
    fn written(&mut self, id: CallId) {
        let call = self.calls.get_mut(&id).expect("a call of ours");
        call.written += 1;
        let again = call.written > 1;
        assert!(!call.over, "{id:?} is over and is sent: {call:?}");
        assert!(call.written == 1 || (call.repeatable && call.written == 2), "{id:?} runs again: {call:?}");
        if again {
            self.count("call sent again");
        }
    }

    fn delivered(&mut self, id: CallId, delivery: Delivery) {
        let call = self.calls.get_mut(&id).unwrap_or_else(|| panic!("{id:?} is no call of ours: {delivery:?}"));
        assert!(!call.over, "{id:?} is over and gets {delivery:?}");
        let caller = call.caller;
        match delivery {
            Delivery::Finish(outcome) => {
                call.over = true;
                let method = call.method.clone();
                let (Outcome::Result(raw) | Outcome::Error(raw)) = &outcome;
                let answer = json(raw);
                let of = [&answer["call"], &answer["data"]["call"]].into_iter().find_map(Value::as_u64);
                assert!(of.is_none_or(|of| of == id.0), "{id:?} gets the answer of {of:?}");
                let names_itself = matches!(method, Method::ToolsCall | Method::ResourcesRead | Method::PromptsGet);
                assert!(!names_itself || of.is_some() || matches!(outcome, Outcome::Error(_)), "whose is {answer}?");
                self.count(if matches!(outcome, Outcome::Result(_)) { "result" } else { "error" });
                if self.phase == Phase::Warming(id) && matches!(outcome, Outcome::Result(_)) {
                    self.child_is_ready();
                } else if self.phase == Phase::Warming(id) {
                    self.phase = Phase::Failed;
                }
            }
            Delivery::Cancelled => {
                assert!(call.cancelled, "{id:?} was not cancelled");
                call.over = true;
                self.count("cancelled call");
            }
            Delivery::Progress { params } => {
                assert_eq!(json(&params)["call"], id.0, "progress of another call");
                self.count("progress");
            }
            Delivery::Notification { method, params } => self.heard(caller, &method, params.as_ref()),
            Delivery::Ask(ask) => self.shown(caller, &ask),
            Delivery::Lacks(_) => {}
            Delivery::Withdraw(ask) => {
                self.shown.remove(&ask);
                self.count("withdrawn ask");
            }
        }
    }

    fn told(&mut self, caller: CallerId, delivery: Delivery) {
        if let Delivery::Withdraw(ask) = delivery {
            self.shown.remove(&ask);
            return;
        }
        assert!(self.callers.contains_key(&caller), "{caller:?} is gone and gets {delivery:?}");
        match delivery {
            Delivery::Notification { method, params } => self.heard(caller, &method, params.as_ref()),
            Delivery::Ask(ask) => self.shown(caller, &ask),
            other => panic!("not for a caller: {other:?}"),
        }
    }

    fn heard(&mut self, caller: CallerId, method: &Method, params: Option<&Raw>) {
        let params = params.map(json).unwrap_or_default();
        self.count(match method {
            Method::LogMessage => "log line",
            Method::ResourceUpdated => "update",
            _ => "list_changed",
        });
        let known = &self.callers[&caller];
        match method {
            Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged => {}
            Method::ResourceUpdated => {
                assert!(!known.uris.is_empty(), "{caller:?} subscribed to nothing and hears of {params}");
            }
            Method::LogMessage => {
                let level = params["level"].as_str().and_then(Level::parse).expect("a level");
                assert!(level >= known.level.unwrap_or(Level::Info), "{caller:?} did not want {params}");
                let call = params["data"]["call"].as_u64().and_then(|call| self.calls.get(&CallId(call)));
                assert!(call.is_none_or(|call| call.caller == caller), "{caller:?} hears of {call:?}: {params}");
            }
            other => panic!("{caller:?} hears {other:?}"),
        }
    }

    /// The right owner or nobody.
    fn shown(&mut self, caller: CallerId, ask: &Ask) {
        let params = json(ask.params.as_ref().expect("asks have params"));
        let key = params["ask"].as_str().expect("its name").to_owned();
        let child = self.child.as_ref().expect("an ask of a child that is gone");
        // It may have been taken back while it was on its way.
        let call = child.asks.get(&key).and_then(|ask| self.calls.get(&CallId(ask.call?)));
        assert!(call.is_none_or(|call| call.caller == caller), "{caller:?} is asked on behalf of {call:?}: {params}");
        self.count("shown ask");
        let shown = self.shown.insert(ask.id, Shown { caller, key, answered: false });
        assert!(shown.is_none(), "{:?} is shown twice", ask.id);
    }
}

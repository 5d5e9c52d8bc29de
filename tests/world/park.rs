//! Modern clients that are asked something: calls that are parked at hub while a legacy child waits, and calls that a
//! modern child wants made again.
//!
//! In: asks of the mux, choices of clients. Out: prompts, held against whose they are; answers and retries. Owns the
//! state machine of each parked call, as the exchange of the real hub does. May not: answer twice what must be once.

use std::collections::BTreeMap;
use std::sync::Arc;

use hub::bridge::parked::{Output, Parked, Refused, Rules};
use hub::mcp::{Era, Method, Outcome, Raw};
use hub::server::{Ask, CallId, Client};
use serde_json::{Value, json};

use super::words::{answer_to, claims, named, parsed, raw};
use super::{Choice, Command, World};

/// A question as its client sees it.
#[derive(Debug, Clone)]
struct Question {
    /// The child's own name of it.
    ask: String,
    method: Method,
}

/// A call that may be parked.
#[derive(Debug)]
pub struct Park {
    pub machine: Parked,
    /// A request of the client waits.
    attached: bool,
    round: u32,
    /// What the client was asked last, and everything that it ever was.
    open: BTreeMap<String, Question>,
    ever: BTreeMap<String, Question>,
    /// Keys that were answered.
    answered: Vec<String>,
    /// The server's end of it came.
    ended: bool,
}

/// A call that a modern child wants made again with answers.
#[derive(Debug)]
pub struct Again {
    chain: u64,
    client: Arc<Client>,
    method: Method,
    name: Value,
    state: Option<Value>,
    questions: BTreeMap<String, Question>,
}

fn questions(requests: &Value, call: CallId) -> BTreeMap<String, Question> {
    let requests = requests.as_object().into_iter().flatten();
    let read = requests.map(|(key, request)| {
        let params = &request["params"];
        assert_eq!(params["caller"], call.0, "{call:?} is asked on behalf of another: {request}");
        let ask = params["ask"].as_str().expect("its name").to_owned();
        let method = Method::from_name(request["method"].as_str().expect("a method"));
        (key.clone(), Question { ask, method })
    });
    read.collect()
}

impl<C: Choice> World<C> {
    /// The child asks something within a modern call.
    pub(super) fn park(&mut self, id: CallId, ask: &Ask) {
        let client = self.calls[&id].client.clone().expect("a modern call");
        let now = self.now;
        let park = self.parks.entry(id).or_insert_with(|| Park {
            machine: Parked::new(Rules { with_context: client.can.sampling_context, ..Rules::default() }),
            attached: true,
            round: 0,
            open: BTreeMap::new(),
            ever: BTreeMap::new(),
            answered: Vec::new(),
            ended: false,
        });
        let outputs = park.machine.ask(ask.id.0, ask.method.clone(), ask.params.as_ref(), now);
        self.count(Some(Era::Modern), "shown ask");
        self.take_up(id, outputs);
    }

    pub(super) fn parks_tick(&mut self) {
        let due: Vec<CallId> = self
            .parks
            .iter()
            .filter(|(_, park)| park.machine.deadline().is_some_and(|at| at <= self.now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            if let Some(park) = self.parks.get_mut(&id) {
                let outputs = park.machine.tick(self.now);
                if outputs.iter().any(|output| matches!(output, Output::Expire { .. })) {
                    self.count(Some(Era::Modern), "expiry");
                }
                self.take_up(id, outputs);
            }
        }
    }

    /// What the state machine wants done, and whether it should.
    pub(super) fn take_up(&mut self, id: CallId, outputs: Vec<Output>) {
        for output in outputs {
            self.trace(|| format!("    {id:?} {output:?}"));
            let park = self.parks.get_mut(&id).expect("not after its end");
            match output {
                Output::Answer { input_requests, round } => {
                    assert!(park.attached, "{id:?} is answered while nobody waits");
                    assert_eq!(round, park.round + 1, "rounds count");
                    (park.attached, park.round) = (false, round);
                    park.open = questions(&parsed(&input_requests), id);
                    assert!(!park.open.is_empty(), "{id:?} is asked nothing");
                    for (key, question) in &park.open {
                        assert!(!park.answered.contains(key), "{key} was answered");
                        let before = park.ever.insert(key.clone(), question.clone());
                        assert!(before.is_none_or(|before| before.ask == question.ask), "{key} is used again");
                    }
                    let several = park.open.len() > 1;
                    self.count(Some(Era::Modern), "park");
                    if several {
                        self.count(Some(Era::Modern), "park with several questions");
                    }
                }
                Output::FeedChild { ask, outcome } => {
                    self.commands.push_back(Command::Answer(hub::server::AskId(ask), outcome));
                }
                Output::Finish(outcome) => {
                    assert!(park.attached, "{id:?} ends while nobody waits");
                    self.parks.remove(&id);
                    self.ended(id, &outcome);
                    self.count(Some(Era::Modern), "end of a parked call");
                }
                Output::Expire { asks, cancel } => {
                    assert!(cancel || park.ended, "{id:?} still runs");
                    let asks = asks.into_iter().map(|(ask, outcome)| {
                        assert!(named_or_none(&outcome).is_none(), "an answer that nobody gave: {outcome:?}");
                        Command::Answer(hub::server::AskId(ask), outcome)
                    });
                    self.commands.extend(asks);
                    if cancel {
                        self.commands.push_back(Command::Cancel(id));
                    }
                    self.parks.remove(&id);
                    if let Some(call) = self.calls.get_mut(&id) {
                        call.cancelled = true;
                    }
                }
            }
        }
    }

    /// The mux has delivered the end of a call. Says whether it is parked, and the end kept for its client.
    pub(super) fn parked_end(&mut self, id: CallId, outcome: &Outcome) -> bool {
        let Some(park) = self.parks.get_mut(&id) else { return false };
        park.ended = true;
        if !park.attached {
            self.count(Some(Era::Modern), "end while parked");
        }
        let outputs = self.parks.get_mut(&id).map(|park| park.machine.end(outcome.clone())).unwrap_or_default();
        self.take_up(id, outputs);
        true
    }

    /// The mux has cancelled a call.
    pub(super) fn parked_cancelled(&mut self, id: CallId) {
        let Some(park) = self.parks.get_mut(&id) else { return };
        park.ended = true;
        let mut outputs = park.machine.give_up("the call was cancelled");
        for output in &mut outputs {
            if let Output::Expire { cancel, .. } = output {
                *cancel = false;
            }
        }
        self.take_up(id, outputs);
    }

    // === What its client does ===

    /// Its request is left: that cancels the call, unless it was answered with questions (which may have been `lost`).
    pub(super) fn client_leaves(&mut self, id: CallId, lost: bool) {
        let Some(park) = self.parks.get_mut(&id) else { return };
        let attached = park.attached;
        let gone = lost || park.machine.is_attached();
        let outputs = if gone { park.machine.give_up("the client is gone") } else { Vec::new() };
        assert_eq!(outputs.is_empty(), !attached && !lost, "{id:?}: {outputs:?}");
        self.trace(|| format!("the client of {id:?} leaves, lost: {lost}"));
        if attached || lost {
            self.count(Some(Era::Modern), "disconnect of an asked client");
        }
        self.take_up(id, outputs);
    }

    /// A client comes back to its parked call: well, badly, too late, or twice.
    pub(super) fn some_client_returns(&mut self) -> Option<()> {
        let parked: Vec<CallId> = self.parks.keys().copied().collect();
        if parked.is_empty() {
            return Some(());
        }
        let id = self.choice.of(&parked)?;
        let how = self.choice.below(16)?;
        let mut responses = json!({});
        let park = &self.parks[&id];
        for (key, question) in park.open.clone() {
            match self.choice.below(6)? {
                0 => {}
                1 => {
                    responses[&key] = json!({ "action": "perhaps", "content": { "ask": question.ask, "by": "wrong" } });
                }
                _ => responses[&key] = answer_to(&question.method, &question.ask, "once"),
            }
        }
        let park = &self.parks[&id];
        if how < 4 {
            for key in &park.answered {
                let question = &park.ever[key];
                responses[key] = answer_to(&question.method, &question.ask, "twice");
            }
            responses["i999"] = answer_to(&Method::Elicitation, "nothing", "twice");
        }
        if how == 15 {
            let round = park.round.wrapping_add(if park.round > 1 { u32::MAX } else { 1 });
            return self.refused(id, round, &responses);
        }
        if park.attached {
            let round = park.round;
            return self.refused(id, round, &responses);
        }
        self.client_returns(id, &responses);
        Some(())
    }

    fn refused(&mut self, id: CallId, round: u32, responses: &Value) -> Option<()> {
        let now = self.now;
        let park = self.parks.get_mut(&id)?;
        let expected = if park.attached { Refused::Attached } else { Refused::Stale };
        assert_eq!(park.machine.attach(round, Some(&raw(responses)), |_, _| None, now), Err(expected));
        self.count(Some(Era::Modern), "refused retry");
        Some(())
    }

    pub(super) fn client_returns_well(&mut self, id: CallId) {
        let Some(park) = self.parks.get(&id).filter(|park| !park.attached) else { return };
        let answers = park.open.iter().map(|(key, q)| (key.clone(), answer_to(&q.method, &q.ask, "once")));
        let responses = Value::Object(answers.collect());
        self.client_returns(id, &responses);
    }

    fn client_returns(&mut self, id: CallId, responses: &Value) {
        let Some(park) = self.parks.get_mut(&id) else { return };
        let now = self.now;
        let waiting: Vec<u64> = park.machine.asks().collect();
        let outputs =
            park.machine.attach(park.round, Some(&raw(responses)), |_, _| None, now).expect("the current round");
        park.attached = true;
        for output in &outputs {
            let Output::FeedChild { ask, outcome } = output else { continue };
            assert!(waiting.contains(ask), "{id:?} answers {ask}, which is not its own");
            let fed = named_or_none(outcome).map(|(ask, _)| ask).expect("an answer of the client");
            let (key, _) = park.open.iter().find(|(_, question)| question.ask == fed).expect("what it was asked");
            assert_eq!(named(&responses[key]).map(|(_, by)| by), Some("once"), "{outcome:?}");
            park.answered.push(key.clone());
        }
        let partly = !outputs.is_empty() && park.machine.asks().next().is_some();
        self.trace(|| format!("the client of {id:?} comes back: {responses}"));
        self.count(Some(Era::Modern), if partly { "partial retry" } else { "retry" });
        self.take_up(id, outputs);
    }

    // === Modern children ===

    /// A modern child asks a modern client: the result itself is the question.
    pub(super) fn wanted(&mut self, id: CallId, result: &Value) {
        let call = &self.calls[&id];
        let (Some(client), method) = (call.client.clone(), call.method.clone()) else { return };
        let questions = questions(&result["inputRequests"], id);
        let chain = result["chain"].as_u64().expect("echoed");
        let (name, state) = (result["name"].clone(), result.get("requestState").cloned());
        self.count(Some(Era::Modern), "question passed on");
        if self.again.len() < 16 {
            self.again.push(Again { chain, client, method, name, state, questions });
        }
    }

    /// A modern client makes such a call again.
    pub(super) fn some_modern_retry(&mut self) -> Option<()> {
        let at = self.choice.below(self.again.len())?;
        let Again { chain, client, method, name, state, questions } = self.again.swap_remove(at);
        let id = self.next_id();
        let mut responses = json!({});
        for (key, question) in questions {
            if self.choice.below(6)? > 0 {
                responses[&key] = answer_to(&question.method, &question.ask, "once");
            }
        }
        // As with every request, its client says anew who it is.
        let info = Some(raw(&json!({ "name": super::words::name_of(id), "version": "1" })));
        let client = Arc::new(Client { info, ..Client::clone(&client) });
        let meta = claims(id, &client.capabilities, client.level);
        let mut params = json!({ "name": name, "inputResponses": responses, "_meta": meta });
        if let Some(state) = state {
            params["requestState"] = state;
        }
        self.count(Some(Era::Modern), "retry of a call");
        self.modern_call(id, chain, client, method, params);
        Some(())
    }
}

/// What an outcome names, if it is an answer of a client.
fn named_or_none(outcome: &Outcome) -> Option<(String, String)> {
    let Outcome::Result(result) = outcome else { return None };
    let value = parsed(result);
    named(&value).map(|(ask, by)| (ask.to_owned(), by.to_owned()))
}

/// The raw params of an ask as JSON.
pub fn params_of(raw: Option<&Raw>) -> Value {
    raw.map(|raw| parsed(raw)).unwrap_or_default()
}

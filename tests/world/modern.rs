//! A modern child: what it requires of each request, and how it asks (2026-07-28, basic/index#_meta, patterns/mrtr).
//!
//! In: requests. Out: results that are questions; a panic where a request lacks what it must have, or where the answers
//! of one call reach another. Owns nothing of its own. May not: ask by a request.

use std::collections::BTreeMap;

use hub::mcp::meta::{CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, Level, PROTOCOL_VERSION};
use hub::mcp::{Era, Method};
use serde_json::{Value, json};

use super::child::{Child, Request};
use super::words::{JUNK, name_of, named};

/// What it wants to know before a call goes on.
#[derive(Debug)]
pub struct Round {
    number: u64,
    keys: BTreeMap<String, String>,
    has_state: bool,
}

impl Child {
    pub fn read_modern_request(&mut self, wire: u64, mut request: Request) {
        let (params, meta) = (&request.params, &request.params["_meta"]);
        assert_eq!(meta[PROTOCOL_VERSION], "2026-07-28", "{params}");
        assert!(meta[CLIENT_CAPABILITIES].is_object(), "{params}");
        let name = name_of(request.caller.unwrap_or_default());
        assert_eq!(meta[CLIENT_INFO]["name"], name, "claims of another client: {params}");
        let level = meta.get(LOG_LEVEL).and_then(Value::as_str).and_then(Level::parse);
        if !request.modern {
            let logs = self.facts.logging && request.caller.is_some_and(|caller| caller != 0);
            assert_eq!(level.is_some(), logs, "{params}");
            assert!(params.get("task").is_none(), "a task of the legacy era: {params}");
        }
        let legacy_only = ["resources/subscribe", "resources/unsubscribe", "logging/setLevel", "ping", "initialize"];
        assert!(!legacy_only.contains(&request.method.as_str()), "{} at a modern child", request.method);
        request.level = level;
        if request.method == "subscriptions/listen" {
            return self.read_listen(wire, &request);
        }
        self.read_answers(&request);
        self.requests.insert(wire, request);
    }

    /// A call that is made again: with the answers to its own questions, all of them if a legacy client is behind it.
    fn read_answers(&mut self, request: &Request) {
        let Some(chain) = request.params["chain"].as_u64() else { return };
        let round = self.rounds.remove(&chain);
        let state = request.params.get("requestState").and_then(Value::as_str).filter(|state| *state != JUNK);
        let responses = request.params.get("inputResponses").and_then(Value::as_object);
        let mut numbers: Vec<u64> = Vec::new();
        if let Some(state) = state {
            numbers.push(Self::number_in(state, "s", chain));
        }
        for (key, response) in responses.into_iter().flatten() {
            if let Some((ask, by)) = named(response) {
                assert_eq!(by, "once", "{response}");
                let (ask, of) = ask.rsplit_once('/').expect("the child's own name");
                assert_eq!(of, key, "the answer to another question: {}", request.params);
                numbers.push(Self::number_in(ask, "q", chain));
            }
        }
        numbers.dedup();
        assert!(numbers.len() <= 1, "answers of several rounds: {}", request.params);
        let Some(round) = round else { return };
        assert!(numbers.iter().all(|number| *number == round.number), "{round:?}: {}", request.params);
        if request.modern {
            return;
        }
        assert_eq!(state.is_some(), round.has_state, "{round:?}: {}", request.params);
        let keys = |key: &String| responses.is_some_and(|responses| responses.contains_key(key));
        assert!(round.keys.keys().all(keys), "not all answers of {round:?}: {}", request.params);
        assert_eq!(responses.map_or(0, serde_json::Map::len), round.keys.len(), "more than was asked");
        self.events.push((Some(Era::Legacy), "round answered"));
    }

    /// The number in what it made for a call of this chain.
    fn number_in(text: &str, kind: &str, chain: u64) -> u64 {
        let parts: Vec<&str> = text.split('/').collect();
        let [of, whose, number] = parts[..] else { panic!("not its own: {text}") };
        assert_eq!((of, whose), (kind, chain.to_string().as_str()), "what belongs to another call");
        number.parse().expect("a number")
    }

    /// Requests that it may answer with a question.
    pub fn may_want_input(&self) -> Vec<u64> {
        let may = |request: &Request| {
            let method = Method::from_name(&request.method);
            request.call.is_some() && method.may_need_input() && request.cancelled.is_none()
        };
        self.requests.iter().filter(|(_, request)| may(request)).map(|(wire, _)| *wire).collect()
    }

    /// Answers a request with questions: of several kinds, or none but a state. Gives back its call.
    pub fn want_input(&mut self, wire: u64, shape: usize, kinds: usize) -> Option<u64> {
        let request = self.requests.remove(&wire)?;
        let (call, number) = (request.call?, self.number());
        let (has_state, count) = match shape {
            0 => (true, 0),
            1 => (false, 0),
            2..=5 => (false, 1),
            6..=10 => (true, 1),
            11..=13 => (true, 2),
            _ => (true, 3),
        };
        let chain = request.params["chain"].as_u64()?;
        let can = &request.params["_meta"][CLIENT_CAPABILITIES];
        let mut requests = json!({});
        let mut keys = BTreeMap::new();
        for index in 0..count {
            let kind = (kinds >> (2 * index)) % 4;
            let (method, needs) = match kind {
                1 => ("sampling/createMessage", "sampling"),
                2 => ("roots/list", "roots"),
                _ => ("elicitation/create", "elicitation"),
            };
            // Now and then it asks what it may not.
            if can.get(needs).is_none() && kinds > 0 {
                continue;
            }
            let key = format!("k{index}");
            let ask = format!("q/{chain}/{number}/{key}");
            let params = json!({ "ask": ask, "call": call, "caller": request.caller, "message": "?" });
            requests[&key] = json!({ "method": method, "params": params });
            keys.insert(key, ask);
        }
        let has_state = has_state || (keys.is_empty() && shape != 1);
        let mut result = json!({
            "resultType": "input_required", "call": call, "caller": request.caller,
            "chain": chain, "name": request.params["name"], "inputRequests": requests
        });
        if has_state {
            result["requestState"] = format!("s/{chain}/{number}").into();
        }
        let what = match keys.len() {
            0 => "poll",
            1 => "question",
            _ => "several questions",
        };
        self.events.push((request.era(), what));
        self.rounds.insert(chain, Round { number, keys, has_state });
        self.say(&json!({ "jsonrpc": "2.0", "id": wire, "result": result }));
        Some(call)
    }
}

//! A model of a legacy child that knows the truth: for each of its messages, which call it comes from.
//!
//! In: lines of the mux, random choices. Out: lines for the mux. Owns what runs in it. May not: do what the protocol and
//! the stated assumption of PROTOCOL 1.11.7 exclude: a call that waits for an answer asks nothing more after 50 ms, and
//! a cancelled call asks nothing after 10 s.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::rng::Rng;

/// The id of every ping.
const PING: u64 = 1 << 40;

/// A request that runs in the child.
pub struct Running {
    pub method: String,
    /// `caller:call` of a caller's call; empty for hub's own.
    pub nonce: String,
    pub token: Option<Value>,
    pub progress: u64,
    /// Its asks without an answer, with the time of the first.
    pub asks: HashSet<u64>,
    pub asked_at: Duration,
    pub cancelled_at: Option<Duration>,
    pub params: Value,
}

impl Running {
    /// Cancelled too long ago to be heard of again.
    fn is_late(&self, now: Duration) -> bool {
        self.cancelled_at.is_some_and(|at| at + Duration::from_secs(10) <= now)
    }
}

#[derive(Default)]
pub struct Child {
    pub running: BTreeMap<u64, Running>,
    /// Whose asks are open: ask id to wire id.
    pub asks: HashMap<u64, u64>,
    given_up: HashSet<u64>,
    next_ask: u64,
    next_task: u64,
    last_wire: u64,
    pub subscribed: HashSet<String>,
    pub level: Option<String>,
}

impl Child {
    pub fn new() -> Self {
        Self { next_ask: 0, ..Self::default() }
    }

    /// A line of the mux. Says which call began to run, if one did.
    pub fn read(&mut self, line: &Value, now: Duration) -> Result<Option<(String, String)>, String> {
        let method = line["method"].as_str();
        match (line.get("id"), method) {
            (Some(id), Some(method)) => {
                let wire = id.as_u64().ok_or("a wire id is not a number")?;
                if wire <= self.last_wire || wire >= 1 << 53 {
                    return Err(format!("wire id {wire} after {}", self.last_wire));
                }
                self.last_wire = wire;
                let params = line["params"].clone();
                let nonce = params["nonce"].as_str().unwrap_or_default().to_owned();
                let token = params["_meta"].get("progressToken").cloned();
                if token.as_ref().is_some_and(|token| token.as_u64() != Some(wire)) {
                    return Err(format!("progress token {token:?} of wire {wire}"));
                }
                let began = Some((method.to_owned(), nonce.clone()));
                let asks = HashSet::new();
                let running = Running {
                    nonce,
                    token,
                    asks,
                    params,
                    method: method.to_owned(),
                    progress: 0,
                    asked_at: now,
                    cancelled_at: None,
                };
                self.running.insert(wire, running);
                Ok(began)
            }
            (Some(id), None) => {
                let ask = id.as_u64().ok_or("the answer's id is not the ask's")?;
                if ask == PING {
                    return Ok(None);
                }
                if self.given_up.remove(&ask) {
                    return Err(format!("ask {ask} was taken back and is answered"));
                }
                let wire =
                    self.asks.remove(&ask).ok_or_else(|| format!("ask {ask} is answered twice, or never was"))?;
                if let Some(running) = self.running.get_mut(&wire) {
                    running.asks.remove(&ask);
                    let answer = line["result"]["for"].as_str();
                    if answer.is_some_and(|whose| whose != running.nonce) {
                        return Err(format!("the answer of {answer:?} reached {}", running.nonce));
                    }
                }
                Ok(None)
            }
            (None, Some("notifications/cancelled")) => {
                let wire = line["params"]["requestId"].as_u64().ok_or("cancelled without an id")?;
                if let Some(running) = self.running.get_mut(&wire) {
                    running.cancelled_at = Some(now);
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn pick(&self, rng: &mut Rng) -> Option<u64> {
        let all: Vec<u64> = self.running.keys().copied().collect();
        rng.pick(&all).copied()
    }

    /// Something the child does by itself.
    pub fn act(&mut self, rng: &mut Rng, now: Duration) -> Option<Value> {
        let wire = self.pick(rng);
        match (rng.below(10), wire) {
            (0..=4, Some(wire)) => self.answer(wire, rng),
            (5..=6, Some(wire)) => self.ask(wire, rng, now),
            (7, Some(wire)) => self.tell_progress(wire),
            (8, Some(wire)) if !self.running[&wire].is_late(now) => {
                let nonce = self.running[&wire].nonce.clone();
                let data = json!({ "level": "error", "data": nonce });
                Some(json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": data }))
            }
            _ => Some(match rng.below(5) {
                0 => json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }),
                1 => {
                    let uri = format!("test://{}/part", rng.below(4));
                    json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": uri } })
                }
                2 => json!({ "jsonrpc": "2.0", "id": PING, "method": "ping" }),
                3 => json!({ "jsonrpc": "2.0", "id": 999_999_999, "result": {} }),
                _ => {
                    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": 999_999_999, "progress": 1 } })
                }
            }),
        }
    }

    /// Ends a call that waits for nothing. A cancelled one often never answers.
    pub fn answer(&mut self, wire: u64, rng: &mut Rng) -> Option<Value> {
        let running = self.running.get_mut(&wire)?;
        if let Some(ask) = running.asks.iter().min().copied() {
            // A call does not end before its asks do (the nested model that attribution rests on), but it may give up on
            // one.
            if rng.chance(90) {
                return None;
            }
            running.asks.remove(&ask);
            self.asks.remove(&ask);
            self.given_up.insert(ask);
            let params = json!({ "requestId": ask, "reason": "timeout" });
            return Some(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }));
        }
        let running = self.running.remove(&wire)?;
        if running.cancelled_at.is_some() && rng.chance(70) {
            return None;
        }
        match running.method.as_str() {
            "resources/subscribe" => drop(self.subscribed.insert(running.params["uri"].as_str()?.to_owned())),
            "resources/unsubscribe" => drop(self.subscribed.remove(running.params["uri"].as_str()?)),
            "logging/setLevel" => self.level = running.params["level"].as_str().map(str::to_owned),
            _ => {}
        }
        let mut result = json!({ "nonce": running.nonce });
        if running.params.get("task").is_some() {
            self.next_task += 1;
            result["task"] = json!({ "taskId": format!("{}#{}", running.nonce, self.next_task), "status": "working" });
        }
        let fails = rng.chance(5);
        Some(if fails {
            json!({ "jsonrpc": "2.0", "id": wire, "error": { "code": -1, "message": running.nonce } })
        } else {
            json!({ "jsonrpc": "2.0", "id": wire, "result": result })
        })
    }

    fn ask(&mut self, wire: u64, rng: &mut Rng, now: Duration) -> Option<Value> {
        let running = self.running.get_mut(&wire)?;
        let late = running.is_late(now);
        let blocked = !running.asks.is_empty() && running.asked_at + Duration::from_millis(50) <= now;
        if late || blocked || running.nonce.is_empty() || running.method != "tools/call" {
            return None;
        }
        if running.asks.is_empty() {
            running.asked_at = now;
        }
        let id = self.next_ask;
        self.next_ask += 1;
        running.asks.insert(id);
        self.asks.insert(id, wire);
        let method = if rng.chance(50) { "elicitation/create" } else { "sampling/createMessage" };
        Some(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "message": running.nonce } }))
    }

    fn tell_progress(&mut self, wire: u64) -> Option<Value> {
        let running = self.running.get_mut(&wire)?;
        let token = running.token.clone()?;
        running.progress += 1;
        let params = json!({ "progressToken": token, "progress": running.progress, "message": running.nonce });
        Some(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }))
    }
}

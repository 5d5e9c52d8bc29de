//! What a child says that needs no answer, and what it should not say.
//!
//! In: which of it. Out: lines for hub, each with whose it is. Owns nothing of its own. May not: log for a request that
//! ended, or of which it knows that it was cancelled long ago.

use std::time::Duration;

use hub::limits::GHOST;
use hub::mcp::Era;
use hub::mcp::meta::Level;
use serde_json::{Value, json};

use super::child::{Child, Request};

const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

impl Child {
    /// Says something that needs no answer.
    pub fn tell(&mut self, what: usize, uri: &str, level: usize, pick: usize, now: Duration) {
        let message = match what {
            0 => Some(json!({ "method": "notifications/tools/list_changed" })),
            1 => Some(json!({ "method": "notifications/resources/list_changed", "params": {} })),
            2 | 3 => Some(json!({ "method": "notifications/resources/updated", "params": { "uri": uri } })),
            4 | 5 | 7 => self.log(level, pick, now),
            6 | 8..=10 => self.progress(pick),
            11 => self.withdraw(pick),
            12 => self.task_status(pick),
            13 => Some(self.elicitation_complete(pick)),
            _ => self.of_a_request(pick),
        };
        if let Some(mut message) = message {
            message["jsonrpc"] = json!("2.0");
            self.say(&message);
        }
    }

    fn some_request(&self, pick: usize) -> Option<(&u64, &Request)> {
        self.requests.iter().nth(pick % self.requests.len().max(1))
    }

    fn progress(&mut self, pick: usize) -> Option<Value> {
        let (wire, request) = self.some_request(pick)?;
        let token = request.token.as_ref()?;
        assert_eq!(token, wire);
        let params = json!({ "progressToken": token, "progress": 1, "call": request.call });
        Some(json!({ "method": "notifications/progress", "params": params }))
    }

    /// Takes an ask back.
    fn withdraw(&mut self, pick: usize) -> Option<Value> {
        let id = self.asks.keys().nth(pick % self.asks.len().max(1)).cloned()?;
        self.asks.remove(&id);
        let params = json!({ "requestId": serde_json::from_str::<Value>(&id).expect("its own id") });
        self.withdrawn.insert(id);
        Some(json!({ "method": "notifications/cancelled", "params": params }))
    }

    fn task_status(&mut self, pick: usize) -> Option<Value> {
        let (task, owner) = self.tasks.iter().nth(pick % self.tasks.len().max(1))?;
        let status = ["working", "completed"][pick % 2];
        let method = if self.era == Era::Modern { "notifications/tasks" } else { "notifications/tasks/status" };
        let params = json!({ "taskId": task, "status": status, "caller": owner, "task": true });
        Some(json!({ "method": method, "params": params }))
    }

    fn elicitation_complete(&self, pick: usize) -> Value {
        let id = format!("e{}.{}", self.generation(), pick);
        json!({ "method": "notifications/elicitation/complete", "params": { "elicitationId": id } })
    }

    /// What no revision knows, of a request that it works on.
    fn of_a_request(&mut self, pick: usize) -> Option<Value> {
        let (_, request) = self.some_request(pick).filter(|(_, request)| request.cancelled.is_none())?;
        Some(json!({ "method": "notifications/vendor", "params": { "caller": request.caller, "call": request.call } }))
    }

    /// A log line: of a request that it works on, or (legacy) of its own while it works on none.
    fn log(&mut self, level: usize, pick: usize, now: Duration) -> Option<Value> {
        let level = LEVELS[level % 8];
        let severity = Level::parse(level).expect("one of the eight");
        let modern = self.era == Era::Modern;
        let works = |request: &&Request| {
            if modern {
                return request.cancelled.is_none() && request.level.is_some_and(|wanted| severity >= wanted);
            }
            request.cancelled.is_none_or(|at| now < at + GHOST)
        };
        let working: Vec<&Request> = self.requests.values().filter(works).collect();
        let request = working.get(pick % working.len().max(1));
        if modern && request.is_none() {
            return None;
        }
        let (call, caller) = (request.and_then(|r| r.call), request.and_then(|r| r.caller));
        let data = json!({ "call": call, "caller": caller, "own": working.is_empty() });
        Some(json!({ "method": "notifications/message", "params": { "level": level, "data": data } }))
    }

    /// Says what it should not.
    pub fn be_sloppy(&mut self, what: usize, pick: usize, own_roots: bool) {
        let line: &[u8] = match what {
            0 => b"Server listening on stdio",
            1 => b"{\"jsonrpc\":\"2.0\",\"id\":9007199254740993,\"result\":{}}",
            2 => b"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"\"}}",
            3 => b"{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":{}}",
            4 => b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":999999,\"progress\":1}}",
            5 => b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":[1]}}",
            7 if own_roots || self.era == Era::Modern => return self.ask_hub("roots/list"),
            6 | 7 => return self.ask_hub("ping"),
            _ => return self.batch(2 + pick % 3),
        };
        self.outbox.push_back(line.to_vec());
    }

    /// Asks what hub answers by itself, or (modern) what it may not ask at all.
    fn ask_hub(&mut self, method: &str) {
        let id = json!(format!("hub{}", self.number()));
        self.withdrawn.insert(id.to_string());
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method }));
    }

    /// Sends what waits as one batch.
    fn batch(&mut self, count: usize) {
        let lines: Vec<Vec<u8>> = (0..count).map_while(|_| self.outbox.pop_front()).collect();
        if lines.iter().any(|line| line.first() != Some(&b'{')) {
            // What is no JSON cannot be in one.
            for line in lines.into_iter().rev() {
                self.outbox.push_front(line);
            }
        } else if !lines.is_empty() {
            self.outbox.push_front([&b"["[..], &lines.join(&b","[..]), b"]"].concat());
        }
    }
}

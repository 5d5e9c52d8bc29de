//! One call of a legacy client at a modern server, round by round: what the server wants to know becomes requests to
//! the client, and their answers the next try (PROTOCOL 3.B.3; 2026-07-28, basic/patterns/mrtr). PURE.
//!
//! In: `input_required` results, answers. Out: [`Next`]. Owns the questions of the present round. May not: ask a client
//! what it did not declare, or make up an answer for it beyond "cancel".

use std::collections::VecDeque;
use std::time::Duration;

use super::ask;
use crate::limits::{POLL_FIRST, POLL_LONGEST, ROUNDS_MAX};
use crate::mcp::error::{INTERNAL_ERROR, Reason};
use crate::mcp::splice::Object;
use crate::mcp::{ClientCapabilities, ErrorObject, Method, Outcome, Raw};

/// A request to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The server's name for it; the answer goes back under it.
    pub key: String,
    /// What is asked.
    pub method: Method,
    /// Of what, as the server wrote it.
    pub params: Option<Raw>,
}

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask these now.
    Ask(Vec<Question>),
    /// Other answers are still awaited.
    Wait,
    /// Make the call again, with [`Rounds::more`].
    Retry,
    /// The same, after a while: the server wanted nothing to be asked.
    RetryAfter(Duration),
    /// The call failed.
    Fail(ErrorObject),
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Rounds {
    round: u32,
    polls: u32,
    /// Elicitations that wait for the one before: naive clients show one dialog at a time.
    later: VecDeque<Question>,
    open: Vec<(String, Method)>,
    answers: Vec<(String, Raw)>,
    state: Option<Raw>,
}

fn failed(message: impl Into<String>) -> Next {
    Next::Fail(ErrorObject::new(INTERNAL_ERROR, message))
}

impl Rounds {
    /// The server answered `input_required`.
    pub fn begin(&mut self, result: &Raw, can: ClientCapabilities) -> Next {
        self.round += 1;
        (self.open, self.answers, self.later) = Default::default();
        if self.round > ROUNDS_MAX {
            return failed(format!("the server asked for input {ROUNDS_MAX} times"));
        }
        let Some(result) = Object::scan(result) else { return failed("the server's result is not an object") };
        self.state = result.get("requestState").filter(|state| state.first() == Some(&b'"'));
        let requests = result.get("inputRequests").and_then(|requests| Object::scan(&requests));
        let mut now = Vec::new();
        for (key, request) in requests.iter().flat_map(Object::entries) {
            let Some(question) = question(key, &request) else {
                return failed("the server asked for input in a way that cannot be read");
            };
            // A server may only ask what was declared to it (2026-07-28, basic/patterns/mrtr).
            if let Some(missing) = ask::missing(&question.method, question.params.as_ref(), can) {
                return failed(format!("the server asked what it may not: {}", missing.error.message));
            }
            if question.method == Method::Elicitation && now.iter().any(|q: &Question| q.method == Method::Elicitation)
            {
                self.later.push_back(question);
            } else {
                now.push(question);
            }
        }
        if now.is_empty() {
            let pause = (POLL_FIRST * 2u32.saturating_pow(self.polls)).min(POLL_LONGEST);
            self.polls = (self.polls + 1).min(16);
            // Polling is bounded by the caller's patience, not by the number of rounds.
            self.round -= 1;
            return Next::RetryAfter(pause);
        }
        self.polls = 0;
        self.open = now.iter().map(|question| (question.key.clone(), question.method.clone())).collect();
        Next::Ask(now)
    }

    /// The client answered a question, or will not.
    pub fn answered(&mut self, key: &str, outcome: &Outcome) -> Next {
        let Some(at) = self.open.iter().position(|(open, _)| open == key) else { return Next::Wait };
        let (key, method) = self.open.remove(at);
        match (usable(&method, outcome), &method) {
            (Some(answer), _) => self.answers.push((key, answer)),
            (None, Method::Elicitation) => {
                self.answers.push((key, Raw::from_static(b"{\"action\":\"cancel\"}")));
            }
            // There is no way to tell the server of a refusal, and to try again without an answer would go on for ever.
            (None, method) => return Next::Fail(refused(method, outcome)),
        }
        if method == Method::Elicitation
            && let Some(question) = self.later.pop_front()
        {
            self.open.push((question.key.clone(), question.method.clone()));
            return Next::Ask(vec![question]);
        }
        if self.open.is_empty() { Next::Retry } else { Next::Wait }
    }

    /// The members that the next try carries besides the call's own.
    pub fn more(&self) -> Vec<(&'static str, Raw)> {
        let mut more = Vec::new();
        if !self.answers.is_empty() {
            let members: Vec<String> = self
                .answers
                .iter()
                .map(|(key, answer)| {
                    format!("{}:{}", serde_json::Value::from(key.as_str()), String::from_utf8_lossy(answer))
                })
                .collect();
            more.push(("inputResponses", Raw::from(format!("{{{}}}", members.join(",")))));
        }
        more.extend(self.state.clone().map(|state| ("requestState", state)));
        more
    }
}

fn question(key: String, request: &Raw) -> Option<Question> {
    let request = Object::scan(request)?;
    let method = Method::from_name(&request.get_str("method")?);
    matches!(method, Method::Elicitation | Method::Sampling | Method::RootsList).then(|| Question {
        key,
        method,
        params: request.get("params").filter(|params| params.first() == Some(&b'{')),
    })
}

fn usable(method: &Method, outcome: &Outcome) -> Option<Raw> {
    match outcome {
        Outcome::Result(answer) if ask::usable_answer(method, answer) => Some(answer.clone()),
        _ => None,
    }
}

fn refused(method: &Method, outcome: &Outcome) -> ErrorObject {
    let what = if *method == Method::Sampling { "sampling" } else { "roots" };
    let why = match outcome {
        Outcome::Error(error) => Object::scan(error).and_then(|error| error.get_str("message")),
        Outcome::Result(_) => None,
    };
    let why = why.unwrap_or_else(|| "its answer cannot be used".into());
    ErrorObject::internal(Reason::CallerGone, format!("client refused {what}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ALL: ClientCapabilities = ClientCapabilities {
        elicitation_form: true,
        elicitation_url: false,
        sampling: true,
        sampling_tools: false,
        sampling_context: false,
        roots: true,
    };

    fn raw(value: &Value) -> Raw {
        Raw::from(value.to_string())
    }

    fn wants(requests: &Value, state: Option<&str>) -> Raw {
        let mut result = json!({ "resultType": "input_required", "inputRequests": requests });
        if let Some(state) = state {
            result["requestState"] = state.into();
        }
        raw(&result)
    }

    fn ask(method: &str) -> Value {
        json!({ "method": method, "params": { "message": "?" } })
    }

    fn keys(next: &Next) -> Vec<&str> {
        let Next::Ask(questions) = next else { panic!("{next:?}") };
        questions.iter().map(|question| question.key.as_str()).collect()
    }

    fn accept() -> Outcome {
        Outcome::Result(Raw::from_static(b"{\"action\":\"accept\",\"content\":{\"n\":1.50}}"))
    }

    #[test]
    fn forms_come_one_after_another_and_the_rest_at_once() {
        let mut rounds = Rounds::default();
        let requests = json!({
            "a": ask("elicitation/create"), "b": ask("elicitation/create"),
            "m": ask("sampling/createMessage"), "r": { "method": "roots/list" }
        });
        let next = rounds.begin(&wants(&requests, Some("s\"1")), ALL);
        assert_eq!(keys(&next), ["a", "m", "r"]);
        assert_eq!(rounds.answered("r", &Outcome::Result(Raw::from_static(b"{\"roots\":[]}"))), Next::Wait);
        assert_eq!(keys(&rounds.answered("a", &accept())), ["b"]);
        assert_eq!(rounds.answered("a", &accept()), Next::Wait, "once");
        // An error of the client is how it says that it was closed.
        assert_eq!(rounds.answered("b", &ErrorObject::invalid_params("x").into()), Next::Wait);
        let sampled = Outcome::Result(Raw::from_static(b"{\"role\":\"r\",\"content\":{},\"model\":\"m\"}"));
        assert_eq!(rounds.answered("m", &sampled), Next::Retry);
        let more = rounds.more();
        assert_eq!(more[1], ("requestState", Raw::from_static(b"\"s\\\"1\"")));
        assert_eq!(
            more[0].1,
            r#"{"r":{"roots":[]},"a":{"action":"accept","content":{"n":1.50}},"b":{"action":"cancel"},"m":{"role":"r","content":{},"model":"m"}}"#
        );
        assert!(matches!(rounds.begin(&wants(&json!({}), None), ALL), Next::RetryAfter(_)));
        assert_eq!(rounds.more(), [], "nothing of an earlier round");
    }

    #[test]
    fn polls_ever_less_often_and_asks_only_so_many_times() {
        let mut rounds = Rounds::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let Next::RetryAfter(pause) = rounds.begin(&wants(&json!({}), Some("s")), ALL) else { panic!("polls") };
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        let form = json!({ "a": ask("elicitation/create") });
        for _ in 0..ROUNDS_MAX {
            assert_eq!(keys(&rounds.begin(&wants(&form, None), ALL)), ["a"]);
        }
        assert!(matches!(rounds.begin(&wants(&form, None), ALL), Next::Fail(_)));
    }

    #[test]
    fn what_cannot_be_asked_or_answered_fails() {
        let url = json!({ "u": { "method": "elicitation/create", "params": { "mode": "url", "url": "http://x" } } });
        for requests in [url, json!({ "k": ask("tools/call") }), json!({ "k": 7 })] {
            assert!(matches!(Rounds::default().begin(&wants(&requests, None), ALL), Next::Fail(_)), "{requests}");
        }
        let mut rounds = Rounds::default();
        rounds.begin(&wants(&json!({ "m": ask("sampling/createMessage") }), None), ALL);
        let Next::Fail(error) = rounds.answered("m", &ErrorObject::new(-1, "not today").into()) else {
            panic!("fails")
        };
        assert_eq!(error.message, "client refused sampling: not today");
    }
}

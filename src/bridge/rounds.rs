//! One call of a legacy client to a modern server that answers with questions (PROTOCOL 3.B.3; 2026-07-28,
//! basic/patterns/mrtr).
//!
//! In: `input_required` results, the client's answers. Out: what to ask the client, and what to make the call again with.
//! Owns the questions and answers of the present round. May not: know ids, streams or time (a delay is told, not waited
//! for), or make up an answer beyond "cancel".

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::{POLL_FIRST, POLL_LONGEST, POLLS_MAX, QUESTIONS_MAX, ROUNDS_MAX};
use crate::mcp::error::{INTERNAL_ERROR, Reason};
use crate::mcp::splice::Object;
use crate::mcp::{ClientCapabilities, ErrorObject, Method, Outcome, Raw};

use super::ask::{by_key, missing, nobody_answers, usable_answer};

/// A request to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The server's name for it; the answer goes back under it.
    pub key: String,
    /// `sampling/createMessage`, `elicitation/create` or `roots/list`.
    pub method: Method,
    /// Of what, as the server wrote it.
    pub params: Option<Raw>,
}

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask these now, beside what the client is being asked already.
    Ask(Vec<Question>),
    /// Other answers are still awaited.
    Wait,
    /// Make the call again, with [`Rounds::more`].
    Retry,
    /// The same, after a while: the server asked nothing and only wants to be called again.
    RetryAfter(Duration),
    /// The call failed. What the client is still being asked is void.
    Fail(ErrorObject),
}

/// The rounds of one call.
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

impl Rounds {
    /// The server answered `input_required` to a call of a client that can do this much.
    pub fn begin(&mut self, result: &Raw, can: ClientCapabilities) -> Next {
        (self.open, self.answers, self.later) = Default::default();
        let Some(result) = Object::scan(result) else { return failed("the server's result is not an object") };
        self.state = result.get("requestState").filter(|state| state.first() == Some(&b'"'));
        let requests = match result.get("inputRequests") {
            None => None,
            Some(requests) => match Object::scan(&requests) {
                Some(requests) => Some(requests),
                None => return failed("the server asked for input in a way that cannot be read"),
            },
        };
        if requests.as_ref().is_some_and(|requests| requests.entries().nth(QUESTIONS_MAX).is_some()) {
            return failed(format!("the server asked more than {QUESTIONS_MAX} questions at once"));
        }
        let mut now = Vec::new();
        for (key, request) in requests.iter().flat_map(Object::entries) {
            let question = match question(key, &request, can) {
                Ok(question) => question,
                Err(error) => return Next::Fail(error),
            };
            let is_dialog = |question: &Question| question.method == Method::Elicitation;
            if is_dialog(&question) && now.iter().any(is_dialog) {
                self.later.push_back(question);
            } else {
                now.push(question);
            }
        }
        if now.is_empty() {
            return self.poll();
        }
        self.polls = 0;
        self.round += 1;
        if self.round > ROUNDS_MAX {
            return failed(format!("the server asked for input more than {ROUNDS_MAX} times"));
        }
        self.open = now.iter().map(|question| (question.key.clone(), question.method.clone())).collect();
        Next::Ask(now)
    }

    /// The server wants nothing but to be called again.
    fn poll(&mut self) -> Next {
        if self.state.is_none() {
            return failed("the server asked for input and said not for which");
        }
        if self.polls >= POLLS_MAX {
            return failed(format!("the server wanted to be called again more than {POLLS_MAX} times"));
        }
        let pause = (POLL_FIRST * 2u32.saturating_pow(self.polls)).min(POLL_LONGEST);
        self.polls += 1;
        Next::RetryAfter(pause)
    }

    /// The client answered a question, or will not.
    pub fn answered(&mut self, key: &str, outcome: &Outcome) -> Next {
        let Some(at) = self.open.iter().position(|(open, _)| open == key) else { return Next::Wait };
        let (key, method) = self.open.remove(at);
        let answer = match outcome {
            Outcome::Result(answer) if usable_answer(&method, answer) => answer.clone(),
            _ => match nobody_answers(&method, "") {
                Outcome::Result(cancelled) => cancelled,
                // There is no way to tell the server of a refusal, and to try again without an answer would go on for
                // ever.
                Outcome::Error(_) => return Next::Fail(refused(&method, outcome)),
            },
        };
        self.answers.push((key, answer));
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
        let answers = self.answers.iter().map(|(key, answer)| (key.as_str(), answer));
        let responses = (!self.answers.is_empty()).then(|| ("inputResponses", by_key(answers)));
        responses.into_iter().chain(self.state.clone().map(|state| ("requestState", state))).collect()
    }
}

/// An entry of `inputRequests`. A server may ask only what was declared to it.
fn question(key: String, request: &Raw, can: ClientCapabilities) -> Result<Question, ErrorObject> {
    let request = Object::scan(request);
    let method = request.as_ref().and_then(|request| request.get_str("method")).unwrap_or_default();
    let method = Method::from_name(&method);
    if !matches!(method, Method::Elicitation | Method::Sampling | Method::RootsList) {
        let text = format!("the server asked for input in a way that no client knows: `{:.40}`", method.name());
        return Err(ErrorObject::new(INTERNAL_ERROR, text));
    }
    let params = request.and_then(|request| request.get("params")).filter(|params| params.first() == Some(&b'{'));
    if missing(&method, params.as_ref(), can).is_some() {
        let text = format!("the server asks for {}, which the client does not support", method.name());
        return Err(ErrorObject::new(INTERNAL_ERROR, text));
    }
    Ok(Question { key, method, params })
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

fn failed(message: impl Into<String>) -> Next {
    Next::Fail(ErrorObject::new(INTERNAL_ERROR, message))
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
        assert!(matches!(rounds.begin(&wants(&json!({}), Some("2")), ALL), Next::RetryAfter(_)));
        assert_eq!(rounds.more(), [("requestState", Raw::from_static(b"\"2\""))], "nothing of an earlier round");
        let roots = json!({ "r": { "method": "roots/list" } });
        assert_eq!(keys(&rounds.begin(&wants(&roots, None), ALL)), ["r"]);
        rounds.answered("r", &Outcome::Result(Raw::from_static(b"{\"roots\":[]}")));
        assert_eq!(rounds.more(), [("inputResponses", Raw::from_static(b"{\"r\":{\"roots\":[]}}"))], "no state given");
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
        let many: serde_json::Map<String, Value> =
            (0..=QUESTIONS_MAX).map(|key| (key.to_string(), ask("elicitation/create"))).collect();
        assert!(matches!(Rounds::default().begin(&wants(&many.into(), None), ALL), Next::Fail(_)), "too many at once");
        let odd = Raw::from_static(br#"{"resultType":"input_required","inputRequests":[{}],"requestState":"s"}"#);
        assert!(matches!(Rounds::default().begin(&odd, ALL), Next::Fail(_)), "no questions that it could mean");
        let mut patient = Rounds::default();
        let polled = (0..).take_while(|_| {
            let state = Raw::from_static(br#"{"resultType":"input_required","requestState":"s"}"#);
            matches!(patient.begin(&state, ALL), Next::RetryAfter(_))
        });
        assert_eq!(polled.count(), POLLS_MAX as usize);
    }

    #[test]
    fn a_question_resets_the_pause_and_nothing_at_all_fails() {
        let mut rounds = Rounds::default();
        let poll = wants(&json!({}), Some("s"));
        rounds.begin(&poll, ALL);
        rounds.begin(&wants(&json!({ "a": ask("elicitation/create") }), None), ALL);
        assert_eq!(rounds.begin(&poll, ALL), Next::RetryAfter(POLL_FIRST));
        assert!(matches!(rounds.begin(&wants(&json!({}), None), ALL), Next::Fail(_)));
        assert!(matches!(rounds.begin(&Raw::from_static(b"[]"), ALL), Next::Fail(_)));
    }

    #[test]
    fn what_cannot_be_asked_or_answered_fails() {
        let url = json!({ "u": { "method": "elicitation/create", "params": { "mode": "url", "url": "http://x" } } });
        let tools = json!({ "k": { "method": "sampling/createMessage", "params": { "tools": [] } } });
        for requests in [url, tools, json!({ "k": ask("tools/call") }), json!({ "k": 7 })] {
            assert!(matches!(Rounds::default().begin(&wants(&requests, None), ALL), Next::Fail(_)), "{requests}");
        }
        let mut rounds = Rounds::default();
        rounds.begin(&wants(&json!({ "m": ask("sampling/createMessage") }), None), ALL);
        let Next::Fail(error) = rounds.answered("m", &ErrorObject::new(-1, "not today").into()) else {
            panic!("fails")
        };
        assert_eq!(error.message, "client refused sampling: not today");
        rounds.begin(&wants(&json!({ "r": { "method": "roots/list" } }), None), ALL);
        let Next::Fail(error) = rounds.answered("r", &Outcome::empty()) else { panic!("fails") };
        assert_eq!(error.message, "client refused roots: its answer cannot be used");
        rounds.begin(&wants(&json!({ "e": ask("elicitation/create") }), None), ALL);
        assert_eq!(rounds.answered("e", &Outcome::empty()), Next::Retry);
        assert_eq!(rounds.more()[0].1, r#"{"e":{"action":"cancel"}}"#);
    }
}

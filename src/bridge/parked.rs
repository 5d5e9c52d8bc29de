//! One call of a modern client that a legacy server holds open while it asks something (PROTOCOL 3.A.4).
//!
//! In: the server's questions and its answer, the client's retries and disconnects, the time. Out: [`Output`]s, in the
//! order in which they are to be done. Owns the call's open questions, its round and the outcome that waits for a retry.
//! May not: know which call it is, verify a `requestState` (that is [`super::state`]), or decide whether a client may be
//! asked (that is [`super::ask::missing`]).
//!
//! At any time either a request of the client waits for a result (*attached*), or the last one got an interim result and
//! the next is awaited (*parked*). The server knows nothing of this: its call runs through, from start to end.

use std::time::Duration;

use crate::limits::{PARK_TIMEOUT, PARKED_COLLECT, ROUNDS_MAX};
use crate::mcp::error::INTERNAL_ERROR;
use crate::mcp::splice::Object;
use crate::mcp::{ErrorObject, Method, Outcome, Raw};

use super::ask::{answer_to_child, by_key, input_request, nobody_answers, usable_answer};

/// What bounds a parked call, and what its server and client can read.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Questions that come within this time of the first are put to the client together.
    pub collect: Duration,
    /// How long the client may take to come back.
    pub expiry: Duration,
    /// How many interim results one call may have.
    pub rounds_max: u32,
    /// The revision of the server, for which an answer may have to be made readable.
    pub child_version: Option<String>,
    /// Whether the client declared `sampling.context`.
    pub with_context: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            collect: PARKED_COLLECT,
            expiry: PARK_TIMEOUT,
            rounds_max: ROUNDS_MAX,
            child_version: None,
            with_context: false,
        }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Answer the attached request with an interim result. The call is parked from here on.
    Answer {
        /// The open questions, by key.
        input_requests: Raw,
        /// What the `requestState` of the retry must say.
        round: u32,
    },
    /// Answer a question of the server.
    FeedChild {
        /// The question.
        ask: u64,
        /// The client's answer as the server can read it, or hub's refusal.
        outcome: Outcome,
    },
    /// Answer the attached request with the end of the call, and forget the call.
    Finish(Outcome),
    /// Nobody waits for the call any more: answer what the server still asks, cancel the call, and forget it.
    Expire {
        /// Open questions and what the server is told.
        asks: Vec<(u64, Outcome)>,
        /// Whether the server still works on the call.
        cancel: bool,
    },
}

/// Why a retry is not taken. Which of the two it was is not told to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A retry of an earlier round, or of a call that is over.
    #[error("not the current round")]
    Stale,
    /// Another request already waits for this call.
    #[error("already attached")]
    Attached,
}

#[derive(Debug)]
struct Open {
    key: String,
    ask: u64,
    method: Method,
    request: Raw,
}

#[derive(Debug)]
enum Stage {
    /// A request of the client waits. With questions to put to it, the time when that is done.
    Attached { put_at: Option<Duration> },
    /// The client has an interim result. The end of the call, if it came meanwhile.
    Parked { expires_at: Duration, end: Option<Outcome> },
    /// Finished or expired.
    Over,
}

/// One call.
#[derive(Debug)]
pub struct Parked {
    rules: Rules,
    stage: Stage,
    round: u32,
    open: Vec<Open>,
    keys: u64,
}

impl Parked {
    /// A call to which the client's first request is attached.
    pub fn new(rules: Rules) -> Self {
        Self { rules, stage: Stage::Attached { put_at: None }, round: 0, open: Vec::new(), keys: 0 }
    }

    /// Whether a request of the client waits for a result.
    pub fn is_attached(&self) -> bool {
        matches!(self.stage, Stage::Attached { .. })
    }

    /// Questions that the server waits for, oldest first: for who holds a call against what is known of it.
    pub fn asks(&self) -> impl Iterator<Item = u64> + '_ {
        self.open.iter().map(|open| open.ask)
    }

    /// When [`Self::tick`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        match self.stage {
            Stage::Attached { put_at } => put_at,
            Stage::Parked { expires_at, .. } => Some(expires_at),
            Stage::Over => None,
        }
    }

    /// The server asks something within this call.
    pub fn ask(&mut self, ask: u64, method: Method, params: Option<&Raw>, now: Duration) -> Vec<Output> {
        if matches!(self.stage, Stage::Over | Stage::Parked { end: Some(_), .. }) {
            return vec![refused(ask, "the call has ended")];
        }
        if self.round >= self.rules.rounds_max {
            return vec![refused(ask, TOO_OFTEN)];
        }
        self.keys += 1;
        let key = format!("i{}", self.keys);
        let request = input_request(&method, params, self.rules.with_context);
        self.open.push(Open { key, ask, method, request });
        self.put_soon(now);
        Vec::new()
    }

    /// The server takes a question back. A later answer to it is ignored.
    pub fn withdraw(&mut self, ask: u64) {
        self.open.retain(|open| open.ask != ask);
        if let Stage::Attached { put_at } = &mut self.stage
            && self.open.is_empty()
        {
            *put_at = None;
        }
    }

    /// The server answered the call. What it still asked is moot.
    pub fn end(&mut self, outcome: Outcome) -> Vec<Output> {
        match &mut self.stage {
            Stage::Attached { .. } => {
                self.open.clear();
                self.stage = Stage::Over;
                vec![Output::Finish(outcome)]
            }
            Stage::Parked { end, .. } => {
                self.open.clear();
                end.get_or_insert(outcome);
                Vec::new()
            }
            Stage::Over => Vec::new(),
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) -> Vec<Output> {
        match self.deadline() {
            Some(deadline) if deadline <= now && self.is_attached() => self.put(now),
            Some(deadline) if deadline <= now => self.give_up("the client did not come back"),
            _ => Vec::new(),
        }
    }

    /// The client makes the call again, with the `round` that its verified `requestState` says. What it left open and,
    /// as `may_not` says, cannot be asked now is answered with that error.
    pub fn attach(
        &mut self,
        round: u32,
        responses: Option<&Raw>,
        may_not: impl FnMut(&Method, Option<&Raw>) -> Option<ErrorObject>,
        now: Duration,
    ) -> Result<Vec<Output>, Refused> {
        let Stage::Parked { end, .. } = &mut self.stage else {
            return Err(if self.is_attached() { Refused::Attached } else { Refused::Stale });
        };
        if round != self.round {
            return Err(Refused::Stale);
        }
        if let Some(outcome) = end.take() {
            self.stage = Stage::Over;
            return Ok(vec![Output::Finish(outcome)]);
        }
        self.stage = Stage::Attached { put_at: None };
        let mut outputs = self.feed(responses);
        outputs.extend(self.refuse(may_not));
        if self.open.is_empty() {
            return Ok(outputs);
        }
        if outputs.is_empty() {
            return Ok(self.put(now));
        }
        // What is still open is put to the client again, together with what the server asks on these answers.
        self.put_soon(now);
        Ok(outputs)
    }

    /// Ends the call from hub's side: its interim result could not be delivered, or hub stops.
    pub fn give_up(&mut self, why: &str) -> Vec<Output> {
        let cancel = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => return Vec::new(),
            Stage::Attached { .. } => true,
            Stage::Parked { end, .. } => end.is_none(),
        };
        let asks = self.open.drain(..).map(|open| (open.ask, nobody_answers(&open.method, why))).collect();
        vec![Output::Expire { asks, cancel }]
    }

    /// Answers for open questions, taken out. Unknown keys and what no server could read are left aside.
    fn feed(&mut self, responses: Option<&Raw>) -> Vec<Output> {
        let Some(responses) = responses.and_then(Object::scan) else { return Vec::new() };
        let mut outputs = Vec::new();
        self.open.retain(|open| {
            let Some(answer) = responses.get(&open.key).filter(|answer| usable_answer(&open.method, answer)) else {
                return true;
            };
            let child = self.rules.child_version.as_deref();
            let outcome = answer_to_child(child, &open.method, Outcome::Result(answer));
            outputs.push(Output::FeedChild { ask: open.ask, outcome });
            false
        });
        outputs
    }

    /// Refusals of open questions, taken out.
    fn refuse(&mut self, mut may_not: impl FnMut(&Method, Option<&Raw>) -> Option<ErrorObject>) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.open.retain(|open| {
            let params = Object::scan(&open.request).and_then(|request| request.get("params"));
            let Some(error) = may_not(&open.method, params.as_ref()) else { return true };
            outputs.push(Output::FeedChild { ask: open.ask, outcome: error.into() });
            false
        });
        outputs
    }

    /// The open questions go to the attached request when no more are expected to join them.
    fn put_soon(&mut self, now: Duration) {
        if let Stage::Attached { put_at } = &mut self.stage {
            put_at.get_or_insert(now + self.rules.collect);
        }
    }

    /// The open questions go to the attached request; or, when there were too many rounds, back to the server.
    fn put(&mut self, now: Duration) -> Vec<Output> {
        if self.round >= self.rules.rounds_max {
            self.stage = Stage::Attached { put_at: None };
            return self.open.drain(..).map(|open| refused(open.ask, TOO_OFTEN)).collect();
        }
        self.round += 1;
        self.stage = Stage::Parked { expires_at: now + self.rules.expiry, end: None };
        let input_requests = by_key(self.open.iter().map(|open| (open.key.as_str(), &open.request)));
        vec![Output::Answer { input_requests, round: self.round }]
    }
}

const TOO_OFTEN: &str = "the call asked its client too often";

fn refused(ask: u64, why: &str) -> Output {
    Output::FeedChild { ask, outcome: ErrorObject::new(INTERNAL_ERROR, why).into() }
}

#[cfg(test)]
mod tests;

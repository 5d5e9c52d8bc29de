//! Calls of legacy clients at a modern child that answers `input_required`: what it wants to know is asked, then the
//! call is sent once more (PROTOCOL 3.B.3).
//!
//! In: results of the child, answers of the client, the time. Out: asks, and the same call with another wire id. Owns
//! nothing of its own (the tables are the [`Mux`]'s). May not: let an `input_required` reach a legacy client, which
//! would read it as an empty success.

use std::time::Duration;

use crate::bridge::rounds::{Next, Question};
use crate::limits::ASK_TIMEOUT;
use crate::mcp::error::Reason;
use crate::mcp::splice::Object;
use crate::mcp::{Era, ErrorObject, Outcome, Raw};

use super::super::outlet::{Ask, AskId, CallId, Delivery};
use super::calls::Call;
use super::timers::Timer;
use super::{Mux, Output};

/// A question of a round that its client has not answered.
#[derive(Debug)]
pub(super) struct RoundAsk {
    call: CallId,
    key: String,
}

impl Mux {
    /// Does this result of the child ask something that the call's client cannot be told as it is?
    pub(super) fn must_ask(&self, call: &Call, result: Option<&Object>) -> bool {
        self.is_modern()
            && call.method.may_need_input()
            && self.client_of(call).era == Era::Legacy
            && crate::bridge::result::kind(result) == crate::bridge::result::ResultKind::InputRequired
    }

    /// The child wants input for a call that was taken out of the table.
    pub(super) fn needs_input(&mut self, id: CallId, mut call: Call, result: &Raw, now: Duration) {
        let can = self.client_of(&call).can;
        call.wire = None;
        call.asking = true;
        let next = call.rounds.get_or_insert_default().begin(result, can);
        self.calls.insert(id, call);
        self.go_on(id, next, now);
    }

    fn go_on(&mut self, id: CallId, next: Next, now: Duration) {
        match next {
            Next::Ask(questions) => questions.into_iter().for_each(|question| self.ask_round(id, question, now)),
            Next::Wait => {}
            Next::Retry => self.send_again(id),
            Next::RetryAfter(pause) => self.timers.arm(now + pause, Timer::Again(id)),
            Next::Fail(error) => {
                self.end_rounds(id);
                if let Some(call) = self.calls.remove(&id) {
                    self.conclude(id, &call, error.into(), now);
                }
            }
        }
    }

    /// What a call waited for is there: it goes before those that came later.
    pub(super) fn send_again(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id)
            && std::mem::take(&mut call.asking)
        {
            self.queue.push_front(id);
        }
    }

    fn ask_round(&mut self, call: CallId, question: Question, now: Duration) {
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        let Question { key, method, params } = question;
        self.round_asks.insert(ask, RoundAsk { call, key });
        self.timers.arm(now + ASK_TIMEOUT, Timer::Ask(ask));
        self.out.push_back(Output::Deliver(call, Delivery::Ask(Ask { id: ask, method, params })));
    }

    /// A client answered. Says whether the ask was one of a round.
    pub(super) fn answer_round(&mut self, ask: AskId, outcome: &Outcome, now: Duration) -> bool {
        let Some(RoundAsk { call: id, key }) = self.round_asks.remove(&ask) else { return false };
        let rounds = self.calls.get_mut(&id).and_then(|call| call.rounds.as_mut());
        if let Some(next) = rounds.map(|rounds| rounds.answered(&key, outcome)) {
            self.go_on(id, next, now);
        }
        true
    }

    /// A client did not answer in time.
    pub(super) fn round_over(&mut self, ask: AskId, now: Duration) {
        if let Some(RoundAsk { call, .. }) = self.round_asks.get(&ask) {
            self.out.push_back(Output::Deliver(*call, Delivery::Withdraw(ask)));
            let error = ErrorObject::internal(Reason::Timeout, "the client did not answer in time");
            self.answer_round(ask, &error.into(), now);
        }
    }

    /// The server ends for good: calls that wait for their client end with it, and so do their questions.
    pub fn fail_asking(&mut self, error: &ErrorObject, now: Duration) {
        let mut asking: Vec<CallId> = self.calls.iter().filter(|(_, call)| call.asking).map(|(id, _)| *id).collect();
        asking.sort_unstable();
        for id in asking {
            self.go_on(id, Next::Fail(error.clone()), now);
        }
    }

    /// A call is over: what its client still sees of its questions is void.
    pub(super) fn end_rounds(&mut self, id: CallId) {
        if self.round_asks.is_empty() {
            return;
        }
        let mut void: Vec<AskId> = self.round_asks.extract_if(|_, ask| ask.call == id).map(|(ask, _)| ask).collect();
        void.sort_unstable();
        self.out.extend(void.into_iter().map(|ask| Output::Deliver(id, Delivery::Withdraw(ask))));
    }
}

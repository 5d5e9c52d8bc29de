//! Each rule of a parked call, and many of them at random.
//!
//! In: scripted and random events. Out: assertions. Owns a seeded generator. May not: sleep.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn raw(text: &str) -> Raw {
    Bytes::copy_from_slice(text.as_bytes())
}

fn result(text: &str) -> Outcome {
    Outcome::Result(raw(text))
}

fn is_over(call: &Parked) -> bool {
    matches!(call.stage, Stage::Over)
}

/// A retry of a client that can be asked anything.
fn attach(call: &mut Parked, round: u32, responses: Option<&Raw>, now: Duration) -> Result<Vec<Output>, Refused> {
    call.attach(round, responses, |_, _| None, now)
}

/// A call that has put the questions 10 (elicitation) and 11 (roots) to its client at 50 ms.
fn parked() -> Parked {
    let mut call = Parked::new(Rules::default());
    assert_eq!((call.deadline(), call.round, call.is_attached()), (None, 0, true));
    assert!(call.ask(10, Method::Elicitation, Some(&raw(r#"{"message":"m"}"#)), ms(0)).is_empty());
    assert!(call.ask(11, Method::RootsList, None, ms(40)).is_empty());
    assert_eq!(call.deadline(), Some(ms(50)));
    assert!(call.tick(ms(49)).is_empty());
    let answer = Output::Answer {
        input_requests: raw(
            r#"{"i1":{"method":"elicitation/create","params":{"message":"m"}},"i2":{"method":"roots/list"}}"#,
        ),
        round: 1,
    };
    assert_eq!(call.tick(ms(50)), [answer]);
    assert!(!call.is_attached() && call.tick(ms(60)).is_empty());
    call
}

const BOTH: &str = r#"{"i1":{"action":"accept","content":{}},"i2":{"roots":[]}}"#;

fn fed(ask: u64, text: &str) -> Output {
    Output::FeedChild { ask, outcome: result(text) }
}

#[test]
fn answers_reach_the_server_and_its_answer_the_retry() {
    let mut call = parked();
    let outputs = attach(&mut call, 1, Some(&raw(BOTH)), SECOND).expect("current");
    assert_eq!(outputs, [fed(10, r#"{"action":"accept","content":{}}"#), fed(11, r#"{"roots":[]}"#)]);
    assert_eq!((call.is_attached(), call.deadline()), (true, None));
    assert_eq!(call.end(result("{}")), [Output::Finish(result("{}"))]);
    assert!(is_over(&call));
}

#[test]
fn a_further_question_is_a_further_round_under_a_new_key() {
    let mut call = parked();
    attach(&mut call, 1, Some(&raw(BOTH)), SECOND).expect("current");
    assert!(call.ask(12, Method::RootsList, None, SECOND).is_empty());
    let answer = Output::Answer { input_requests: raw(r#"{"i3":{"method":"roots/list"}}"#), round: 2 };
    assert_eq!(call.tick(SECOND + ms(50)), [answer]);
    let outputs = attach(&mut call, 2, Some(&raw(r#"{"i1":{"roots":[]},"i3":{"roots":[1]}}"#)), 2 * SECOND);
    assert_eq!(outputs.expect("current"), [fed(12, r#"{"roots":[1]}"#)]);
}

#[test]
fn what_was_not_answered_is_asked_again() {
    let mut call = parked();
    let outputs = attach(&mut call, 1, Some(&raw(r#"{"i2":{"roots":[]},"other":{}}"#)), SECOND).expect("current");
    assert_eq!(outputs, [fed(11, r#"{"roots":[]}"#)]);
    assert_eq!(call.deadline(), Some(SECOND + ms(50)));
    call.ask(12, Method::RootsList, None, SECOND + ms(20));
    let text = r#"{"i1":{"method":"elicitation/create","params":{"message":"m"}},"i3":{"method":"roots/list"}}"#;
    assert_eq!(call.tick(SECOND + ms(50)), [Output::Answer { input_requests: raw(text), round: 2 }]);
}

#[test]
fn nothing_usable_is_asked_again_at_once() {
    let responses = ["{}", r#"{"i1":{"action":"maybe"},"i2":7}"#, r#"{"x":{"action":"accept"}}"#, "null", "[]"];
    for responses in responses.map(|text| Some(raw(text))).into_iter().chain([None]) {
        let mut call = parked();
        let outputs = attach(&mut call, 1, responses.as_ref(), SECOND).expect("current");
        assert!(matches!(outputs[..], [Output::Answer { round: 2, .. }]), "{responses:?}: {outputs:?}");
        assert_eq!(call.deadline(), Some(SECOND + PARK_TIMEOUT));
        assert_eq!(attach(&mut call, 1, None, SECOND), Err(Refused::Stale));
    }
}

#[test]
fn what_a_retry_cannot_be_asked_is_refused_unless_it_answers() {
    let no_form = |method: &Method, params: Option<&Raw>| {
        let form = *method == Method::Elicitation && params.is_some_and(|params| params == r#"{"message":"m"}"#);
        form.then(|| ErrorObject::invalid_params("no"))
    };
    let no = Output::FeedChild { ask: 10, outcome: ErrorObject::invalid_params("no").into() };
    let mut call = parked();
    assert_eq!(call.attach(2, None, no_form, SECOND), Err(Refused::Stale), "nothing is refused for a stale retry");
    assert_eq!(call.attach(1, None, no_form, SECOND), Ok(vec![no]));
    let answer = Output::Answer { input_requests: raw(r#"{"i2":{"method":"roots/list"}}"#), round: 2 };
    assert_eq!(call.tick(SECOND + ms(50)), [answer]);

    let answered = parked().attach(1, Some(&raw(BOTH)), no_form, SECOND).expect("current");
    assert_eq!(answered, [fed(10, r#"{"action":"accept","content":{}}"#), fed(11, r#"{"roots":[]}"#)]);
}

#[test]
fn a_retry_is_taken_once() {
    let mut call = parked();
    assert_eq!(attach(&mut call, 0, Some(&raw(BOTH)), SECOND), Err(Refused::Stale));
    assert_eq!(attach(&mut call, 2, Some(&raw(BOTH)), SECOND), Err(Refused::Stale));
    attach(&mut call, 1, Some(&raw(BOTH)), SECOND).expect("current");
    assert_eq!(attach(&mut call, 1, Some(&raw(BOTH)), SECOND), Err(Refused::Attached));
    call.end(result("{}"));
    assert_eq!(attach(&mut call, 1, Some(&raw(BOTH)), SECOND), Err(Refused::Stale));
}

#[test]
fn a_question_that_is_taken_back_is_not_put() {
    let mut call = Parked::new(Rules::default());
    call.ask(10, Method::RootsList, None, ms(0));
    call.withdraw(10);
    assert_eq!(call.deadline(), None);
    call.ask(11, Method::RootsList, None, ms(200));
    assert_eq!(call.deadline(), Some(ms(250)));

    let mut call = parked();
    call.withdraw(10);
    let outputs = attach(&mut call, 1, Some(&raw(BOTH)), SECOND).expect("current");
    assert_eq!(outputs, [fed(11, r#"{"roots":[]}"#)]);
    assert_eq!(call.deadline(), None);

    let mut call = parked();
    call.withdraw(10);
    call.withdraw(11);
    assert_eq!(attach(&mut call, 1, None, SECOND), Ok(vec![]), "nothing is left to answer, so the retry waits");
    assert!(call.is_attached());
}

#[test]
fn an_end_that_came_while_parked_waits_for_the_retry() {
    let mut call = parked();
    assert!(call.end(result(r#"{"isError":true}"#)).is_empty());
    assert!(!is_over(&call));
    let late = call.ask(12, Method::RootsList, None, SECOND);
    assert!(matches!(&late[..], [Output::FeedChild { ask: 12, outcome: Outcome::Error(_) }]));
    let finish = Output::Finish(result(r#"{"isError":true}"#));
    assert_eq!(attach(&mut call, 1, None, SECOND), Ok(vec![finish]), "even without answers");

    let mut call = parked();
    call.end(result("{}"));
    let forgotten = Output::Expire { asks: vec![], cancel: false };
    assert_eq!(call.tick(ms(50) + PARK_TIMEOUT), [forgotten]);
}

#[test]
fn a_client_that_does_not_come_back() {
    let mut call = parked();
    assert!(call.tick(PARK_TIMEOUT).is_empty());
    let failed = Outcome::Error(raw(r#"{"code":-32603,"message":"the client did not come back"}"#));
    let asks = vec![(10, result(r#"{"action":"cancel"}"#)), (11, failed)];
    assert_eq!(call.tick(ms(50) + PARK_TIMEOUT), [Output::Expire { asks, cancel: true }]);
    assert!(is_over(&call) && call.tick(2 * PARK_TIMEOUT).is_empty());
    assert_eq!(attach(&mut call, 1, Some(&raw(BOTH)), SECOND), Err(Refused::Stale));
}

#[test]
fn what_is_given_up_is_cancelled_once() {
    let mut call = parked();
    attach(&mut call, 1, Some(&raw(r#"{"i2":{"roots":[]}}"#)), SECOND).expect("current");
    let asks = vec![(10, result(r#"{"action":"cancel"}"#))];
    assert_eq!(call.give_up("gone"), [Output::Expire { asks, cancel: true }]);
    assert!(call.give_up("gone").is_empty());

    let mut call = parked();
    assert!(matches!(&call.give_up("hub stops")[..], [Output::Expire { asks, cancel: true }] if asks.len() == 2));
}

#[test]
fn rounds_are_bounded() {
    let mut call = Parked::new(Rules { rounds_max: 2, ..Rules::default() });
    call.ask(1, Method::Elicitation, None, ms(0));
    assert!(matches!(call.tick(ms(50))[..], [Output::Answer { round: 1, .. }]));
    assert!(matches!(attach(&mut call, 1, None, ms(60)).as_deref(), Ok([Output::Answer { round: 2, .. }])));
    assert_eq!(attach(&mut call, 2, None, ms(70)), Ok(vec![refused(1, TOO_OFTEN)]));
    assert!(call.is_attached());
    assert_eq!(call.ask(2, Method::Elicitation, None, ms(80)), [refused(2, TOO_OFTEN)]);
    assert_eq!(call.end(result("{}")), [Output::Finish(result("{}"))]);
}

#[test]
fn an_older_server_gets_answers_that_it_can_read() {
    let rules = Rules { child_version: Some("2025-06-18".into()), ..Rules::default() };
    let mut call = Parked::new(rules);
    call.ask(1, Method::Sampling, Some(&raw(r#"{"includeContext":"none"}"#)), ms(0));
    let text = r#"{"i1":{"method":"sampling/createMessage","params":{}}}"#;
    assert_eq!(call.tick(ms(50)), [Output::Answer { input_requests: raw(text), round: 1 }]);
    let answer = raw(r#"{"i1":{"role":"assistant","content":[{"type":"text"}],"model":"m"}}"#);
    assert_eq!(
        attach(&mut call, 1, Some(&answer), SECOND),
        Ok(vec![fed(1, r#"{"role":"assistant","content":{"type":"text"},"model":"m"}"#)])
    );
}

/// xorshift64*: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

/// What the world outside of one call knows of it, to hold its outputs against.
#[derive(Default)]
struct World {
    waiting: BTreeSet<u64>,
    keys: BTreeMap<String, u64>,
    keys_ever: BTreeSet<String>,
    attached: bool,
    ended: bool,
    interims: u32,
    finished: u32,
    over: bool,
}

impl World {
    fn take(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            assert!(!self.over, "nothing comes of a call that is over");
            match output {
                Output::Answer { input_requests, round } => {
                    assert!(self.attached, "only an attached request is answered");
                    self.attached = false;
                    self.interims += 1;
                    assert_eq!(round, self.interims);
                    let object = Object::scan(&input_requests).expect("an object");
                    self.keys = object.entries().map(|(key, _)| key).zip(self.waiting.iter().copied()).collect();
                    assert_eq!(self.keys.len(), self.waiting.len(), "every open question is put");
                    assert!(!self.keys.is_empty(), "an interim result asks something");
                    self.keys_ever.extend(self.keys.keys().cloned());
                }
                Output::FeedChild { ask, .. } => assert!(self.waiting.remove(&ask), "{ask} was open"),
                Output::Finish(_) => {
                    assert!(self.attached && self.ended);
                    self.finished += 1;
                    self.over = true;
                }
                Output::Expire { asks, cancel } => {
                    assert_eq!(asks.iter().map(|(ask, _)| *ask).collect::<BTreeSet<_>>(), self.waiting);
                    assert_eq!(cancel, !self.ended);
                    self.waiting.clear();
                    self.over = true;
                }
            }
        }
    }
}

#[test]
fn invariants_hold_at_random() {
    let mut finished = 0;
    for seed in 1..=300 {
        let mut random = Random(seed);
        let mut call = Parked::new(Rules::default());
        let mut world = World { attached: true, ..World::default() };
        let mut now = Duration::ZERO;
        let mut next = 0;
        for _ in 0..200 {
            now += ms(random.below(40));
            let outputs = match random.below(20) {
                0..5 if !world.ended => {
                    next += 1;
                    world.waiting.insert(next);
                    call.ask(next, Method::RootsList, None, now)
                }
                5 if !world.waiting.is_empty() => {
                    let nth = random.below(world.waiting.len() as u64);
                    let ask = *world.waiting.iter().nth(usize::try_from(nth).expect("small")).expect("in range");
                    world.waiting.remove(&ask);
                    call.withdraw(ask);
                    Vec::new()
                }
                6 if world.waiting.is_empty() && random.below(8) == 0 => {
                    world.ended = true;
                    call.end(result("{}"))
                }
                7 if random.below(40) == 0 && call.is_attached() => call.give_up("gone"),
                8..14 => {
                    // A retry: of this round or another, with answers to some of what was asked, ever.
                    let round = world.interims.saturating_sub(u32::try_from(random.below(3)).expect("small") / 2);
                    let some: Vec<&String> = world.keys_ever.iter().filter(|_| random.below(2) == 0).collect();
                    let answer = raw(r#"{"roots":[]}"#);
                    let responses = by_key(some.iter().map(|key| (key.as_str(), &answer)));
                    match attach(&mut call, round, Some(&responses), now) {
                        Ok(outputs) => {
                            assert!(!world.attached && round == world.interims, "taken once, and in its round");
                            world.attached = true;
                            outputs
                        }
                        Err(Refused::Attached) => {
                            assert!(world.attached);
                            Vec::new()
                        }
                        Err(Refused::Stale) => {
                            assert!(world.over || round != world.interims);
                            Vec::new()
                        }
                    }
                }
                _ => call.tick(now),
            };
            world.take(outputs);
            assert_eq!(is_over(&call), world.over, "seed {seed}");
            if world.over {
                break;
            }
            assert_eq!(call.asks().collect::<BTreeSet<_>>(), world.waiting, "seed {seed}");
            assert_eq!(call.is_attached(), world.attached, "seed {seed}");
            let must_wake = !world.attached || !world.waiting.is_empty();
            assert_eq!(call.deadline().is_some(), must_wake, "a question is never forgotten, seed {seed}");
        }
        finished += world.finished;
    }
    assert!(finished > 20, "{finished} calls came to an end");
}

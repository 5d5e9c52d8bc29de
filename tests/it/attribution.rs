//! Whose question is it, under load: callers of both eras who trigger dialogs on one shared child at random times.
//!
//! In: a seed (`HUB_SOAK_SEED`, printed) and a time (8 s; `HUB_SOAK_SECONDS` for the long one, 60 by default). Out: every
//! question at the caller of the tool that asked it, every answer in that caller's result, and nobody left waiting. Owns
//! nothing. May not: count an error as an answer.

use crate::modern_mrtr::{nothing_left, teach};
use crate::soak::{Random, number};
use crate::support::modern::{ELICIT, Round, accepted};
use crate::support::session::Pending;
use crate::support::{Hub, Modern, Session, Setup, Target, Value, json, patience};
use std::time::{Duration, Instant, SystemTime};

const CALLERS: u64 = 8;
const SAMPLE: &str = "sampling/createMessage";

/// What one caller wants now.
struct Wish {
    nonce: String,
    tool: &'static str,
    arguments: Value,
}

/// What a caller has had.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    dialogs: u64,
    plain: u64,
    longest: Duration,
}

fn wish(random: &mut Random, who: u64, count: u64) -> Wish {
    let nonce = format!("n{who}.{count}");
    let before = random.below(60);
    let (tool, arguments) = match random.below(10) {
        0..=3 => ("elicit", json!({"tag": nonce, "v": nonce, "before_ms": before, "after_ms": random.below(40)})),
        4..=6 => ("sample", json!({"text": nonce, "v": nonce})),
        7 => ("rounds", json!({"tag": nonce, "v": nonce, "n": 2})),
        8 => ("sleep", json!({"ms": before, "v": nonce})),
        _ => ("echo", json!({"v": nonce})),
    };
    Wish { nonce, tool, arguments }
}

/// Is this question the caller's own? Gives what to answer, which names the caller.
fn answer_to(question: &Value, nonce: &str) -> Value {
    let secret = format!("secret of {nonce}");
    match question["method"].as_str() {
        Some(ELICIT) => {
            let asked = question["params"]["message"].as_str().expect("a message");
            assert!(asked == nonce || asked.starts_with(&format!("{nonce} ")), "{nonce} was asked {asked}");
            accepted(&secret)
        }
        Some(SAMPLE) => {
            assert_eq!(question["params"]["messages"][0]["content"]["text"], nonce, "somebody else's: {question}");
            json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": secret}})
        }
        _ => panic!("{nonce} was asked {question}"),
    }
}

fn check_end(response: &Value, wish: &Wish) {
    let text = crate::support::session::text_of(response);
    let Wish { nonce, tool, .. } = wish;
    assert_ne!(response["result"]["isError"], true, "{tool} {nonce}: {response}");
    assert!(text.ends_with(nonce.as_str()), "{tool} {nonce} got {text}");
    let asks = !["sleep", "echo"].contains(tool);
    assert_eq!(text.contains(&format!("secret of {nonce}")), asks, "{tool} {nonce} got {text}");
    assert_eq!(text.matches("secret of").count() > 0, asks, "{tool} {nonce} got {text}");
}

fn think(random: &mut Random) {
    // A person who reads the question before answering it.
    std::thread::sleep(Duration::from_millis(random.below(150)));
}

fn by_session(session: &Session, random: &mut Random, wish: &Wish) {
    let call: Pending = session.begin_call(wish.tool, &wish.arguments);
    let mut answered: Vec<Value> = Vec::new();
    loop {
        let is_next = |message: &Value| is_question(message) && !answered.contains(&message["id"]);
        let next = call.message("a question or the end", |m| m.get("method").is_none() || is_next(m));
        if next.get("method").is_none() {
            return check_end(&next, wish);
        }
        think(random);
        session.answer(&next, &answer_to(&next, &wish.nonce));
        answered.push(next["id"].clone());
    }
}

fn is_question(message: &Value) -> bool {
    message["method"] == ELICIT || message["method"] == SAMPLE
}

fn by_rounds(client: &Modern, random: &mut Random, wish: &Wish) {
    let params = json!({"name": wish.tool, "arguments": wish.arguments});
    let mut answer = client.request("tools/call", &params);
    for _ in 0..8 {
        if answer.response()["result"]["resultType"] != "input_required" {
            return check_end(&answer.response(), wish);
        }
        let round = Round::of("tools/call", &params, &answer);
        let mut responses = json!({});
        for (key, question) in &round.requests {
            responses[key] = answer_to(question, &wish.nonce);
        }
        think(random);
        answer = client.retry(&round, &responses);
    }
    panic!("{}: no end of rounds", wish.nonce);
}

fn caller(who: u64, seed: u64, target: &Target, time: Duration) -> Tally {
    let mut random = Random::new(seed ^ (who + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (session, client) = (Session::eliciting(target), Modern::eliciting(target));
    let (start, mut tally) = (Instant::now(), Tally::default());
    let get = session.listen();
    while start.elapsed() < time {
        let wish = wish(&mut random, who, tally.dialogs + tally.plain);
        let begun = Instant::now();
        if who.is_multiple_of(2) {
            by_session(&session, &mut random, &wish);
        } else {
            by_rounds(&client, &mut random, &wish);
        }
        tally.longest = tally.longest.max(begun.elapsed());
        match wish.tool {
            "sleep" | "echo" => tally.plain += 1,
            _ => tally.dialogs += 1,
        }
        std::thread::sleep(Duration::from_millis(random.below(40)));
    }
    assert_eq!(get.messages().into_iter().filter(is_question).count(), 0, "never on GET");
    tally
}

fn everybody(hub: &Hub, time: Duration) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let seed = number("HUB_SOAK_SEED").unwrap_or(now);
    eprintln!("HUB_SOAK_SEED={seed}");
    let target = hub.at("a");
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let target = &target;
        let threads: Vec<_> = (0..CALLERS).map(|who| scope.spawn(move || caller(who, seed, target, time))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    eprintln!("{tallies:?}");
    for tally in &tallies {
        assert!(tally.dialogs > 0, "one never got a dialog through: {tallies:?}");
        assert!(tally.longest < patience(), "one waited too long: {tallies:?}");
    }
    nothing_left(hub, "a");
    assert_eq!(hub.journal("a").starts().len(), 1);
}

#[test]
fn attribution_on_a_legacy_child() {
    let hub = Hub::start(Setup::one());
    teach(&hub, "a");
    everybody(&hub, Duration::from_secs(8));
}

#[test]
fn attribution_on_a_modern_child() {
    let hub = Hub::start(Setup::modern());
    everybody(&hub, Duration::from_secs(8));
}

/// On a modern child nobody waits for anybody: eight dialogs are open at once.
#[test]
fn attribution_without_turns() {
    let hub = Hub::start(Setup::modern());
    let target = hub.at("a");
    let sessions: Vec<Session> = (0..CALLERS / 2).map(|_| Session::eliciting(&target)).collect();
    let calls: Vec<Pending> = sessions
        .iter()
        .enumerate()
        .map(|(who, s)| s.begin_call("elicit", &json!({"tag": format!("s{who}")})))
        .collect();
    let client = Modern::eliciting(&target);
    let rounds: Vec<Round> =
        (0..CALLERS / 2).map(|who| client.ask("elicit", &json!({"tag": format!("m{who}")}))).collect();
    let prompts: Vec<Value> = calls.iter().map(|call| call.wait_for(ELICIT)).collect();
    for (who, (prompt, round)) in prompts.iter().zip(&rounds).enumerate() {
        assert_eq!((&prompt["params"]["message"], round.message()), (&json!(format!("s{who}")), format!("m{who}")));
    }
    for (who, round) in rounds.iter().enumerate().rev() {
        assert!(client.retry(round, &round.accept(&format!("for m{who}"))).text().contains(&format!("for m{who}")));
        sessions[who].accept(&prompts[who], &format!("for s{who}"));
        assert!(calls[who].text().contains(&format!("for s{who}")));
    }
}

#[test]
#[ignore = "a minute long: scripts/test soak"]
fn soak_attribution_on_a_legacy_child() {
    let hub = Hub::start(Setup::one());
    teach(&hub, "a");
    everybody(&hub, Duration::from_secs(number("HUB_SOAK_SECONDS").unwrap_or(60)));
}

#[test]
#[ignore = "a minute long: scripts/test soak"]
fn soak_attribution_on_a_modern_child() {
    let hub = Hub::start(Setup::modern());
    everybody(&hub, Duration::from_secs(number("HUB_SOAK_SECONDS").unwrap_or(60)));
}

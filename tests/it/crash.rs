//! Children that die: PROTOCOL 5.3 test 22, DESIGN 5 ("held, sent once more, may have run").
//!
//! In: deaths in the middle of everything. Out: an answer for each call, and sessions that go on. Owns nothing. May not:
//! let a call run twice that may have had an effect.

use crate::support::journal::Record;
use crate::support::{Fake, Hub, Session, Setup, Value, eventually, json, procs};
use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const QUICK: &str = "{ initial = \"50ms\", max = \"500ms\" }";

fn quick() -> Setup {
    Setup::of([Fake::new("a").key("restart", QUICK)])
}

#[test]
fn t22_child_crash() {
    let hub = Hub::start(quick());
    let target = hub.at("a");
    let (a, b) = (Session::open(&target), Session::open(&target));
    let get = a.listen();
    a.request("resources/subscribe", &json!({"uri": "test://one"})).result();
    a.request("logging/setLevel", &json!({"level": "debug"})).result();
    let file = hub.path("ran");
    let count = json!({"ms": 20_000, "file": file, "v": "once"});
    let calls = [a.begin_call("count", &count), b.begin_call("sleep", &json!({"ms": 20_000}))];
    hub.journal("a").wait_for_calls("count", 1);
    hub.journal("a").wait_for_calls("sleep", 1);

    let start = Instant::now();
    let dying = b.begin_call("die", &json!({}));
    for call in calls.iter().chain([&dying]) {
        let response = call.response_within(Duration::from_secs(10));
        assert_eq!(response["error"]["code"], -32603, "{response}");
        let message = response["error"]["message"].as_str().expect("text").to_lowercase();
        assert!(message.contains("may have run"), "{message}");
        assert_eq!(response["id"], call.id);
    }
    assert!(start.elapsed() < Duration::from_secs(1), "answered {:?} after the death", start.elapsed());
    for kind in ["tools", "prompts", "resources"] {
        get.wait_for(&format!("notifications/{kind}/list_changed"));
    }
    a.echo("A is still valid");
    b.echo("B too");
    hub.wait_state("a", "ready");
    let server = hub.server("a");
    assert_eq!(server["restarts"], 1, "{server}");

    let journal = hub.journal("a");
    assert_eq!(journal.starts().len(), 2);
    let replayed: Vec<String> = journal
        .generation(1)
        .iter()
        .filter_map(|record| {
            if let Record::In(message, _) = record { message["method"].as_str().map(str::to_owned) } else { None }
        })
        .collect();
    for method in ["initialize", "notifications/initialized", "logging/setLevel", "resources/subscribe"] {
        assert_eq!(replayed.iter().filter(|seen| *seen == method).count(), 1, "{method} in {replayed:?}");
    }
    assert_eq!(std::fs::read_to_string(&file).expect("it ran").lines().count(), 1, "nothing runs twice");
    a.call("touch", &json!({"uri": "test://one"})).result();
    get.wait_for("notifications/resources/updated");
}

/// What cannot have had an effect is sent once more (DESIGN 5).
#[test]
fn t22_reads_are_sent_again() {
    let hub = Hub::start(quick());
    let session = hub.session("a");
    session.request("tools/list", &json!({})).result();
    let file = hub.path("ran");
    let read = session.begin_call("sleep_ro", &json!({"ms": 1500, "file": file, "v": "ro"}));
    hub.journal("a").wait_for_calls("sleep_ro", 1);
    procs::signal(hub.child_pid("a"), Signal::SIGKILL);
    assert_eq!(read.text(), "counted v=ro", "readOnlyHint: the new process answers");
    assert_eq!(hub.journal("a").calls("sleep_ro").len(), 2);
    // Once more is once: a second death is an error.
    let read = session.begin_call("sleep_ro", &json!({"ms": 20_000, "v": "again"}));
    for round in 3..5 {
        hub.journal("a").wait_for_calls("sleep_ro", round);
        let pid = *hub.journal("a").starts().last().expect("a start");
        procs::signal(pid, Signal::SIGKILL);
    }
    assert_eq!(read.response()["error"]["code"], -32603);
}

/// What was never written is held for the next process.
#[test]
fn t22_held_while_restarting() {
    let mut setup = quick();
    let slow = Fake::new("a").key("restart", "{ initial = \"500ms\", max = \"1s\" }").arg("--ready-delay-ms", 1000);
    *setup.server("a") = slow;
    let hub = Hub::start(setup);
    let session = hub.session("a");
    // The first death is made good at once, so the second one comes while the next child is starting.
    procs::signal(hub.child_pid("a"), Signal::SIGKILL);
    let second = eventually("the second child", || hub.journal("a").starts().get(1).copied());
    let file = hub.path("ran");
    let held: Vec<_> =
        (0..20).map(|n| session.begin_call("count", &json!({"file": file, "v": format!("h{n}")}))).collect();
    procs::signal(second, Signal::SIGKILL);
    for (n, call) in held.iter().enumerate() {
        assert_eq!(call.text(), format!("counted v=h{n}"));
    }
    assert_eq!(std::fs::read_to_string(&file).expect("it ran").lines().count(), 20);
}

/// The child is killed with -9 under the load of eight sessions, three times.
#[test]
fn t22_killed_under_load() {
    let hub = Hub::start(quick());
    let target = hub.at("a");
    let over = AtomicBool::new(false);
    let file = hub.path("ran");
    let outcomes: Vec<(String, bool)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                let (target, over, file) = (&target, &over, &file);
                scope.spawn(move || load(target, worker, file, over))
            })
            .collect();
        for round in 0..3 {
            hub.wait_state("a", "ready");
            kill_with_calls_in_flight(&hub, round);
        }
        hub.wait_state("a", "ready");
        over.store(true, Ordering::SeqCst);
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    let mut ran: HashMap<String, usize> = HashMap::new();
    for line in std::fs::read_to_string(&file).expect("it ran").lines() {
        *ran.entry(line.split(' ').nth(1).expect("a nonce").to_owned()).or_default() += 1;
    }
    assert!(ran.values().all(|times| *times == 1), "nothing runs twice: {ran:?}");
    for (nonce, served) in &outcomes {
        assert!(!served || ran.contains_key(nonce), "{nonce} was answered and never ran");
    }
    assert!(outcomes.iter().filter(|(_, served)| *served).count() > 50, "the sessions went on");
    assert_eq!(hub.server("a")["in_flight"], 0);
}

/// One session that calls until told to stop. Every answer is its own, or an error that is due.
fn load(
    target: &crate::support::Target,
    worker: usize,
    file: &std::path::Path,
    over: &AtomicBool,
) -> Vec<(String, bool)> {
    let session = Session::open(target);
    let mut outcomes = Vec::new();
    let mut round = 0;
    while !over.load(Ordering::SeqCst) {
        let nonce = format!("w{worker}-{round}");
        let response = session.call("count", &json!({"v": nonce, "file": file, "ms": 5})).response();
        let served = response.get("result").is_some();
        if served {
            assert_eq!(crate::support::session::text_of(&response), format!("counted v={nonce}"));
        } else {
            assert_eq!(response["error"]["code"], -32603, "{response}");
        }
        outcomes.push((nonce, served));
        round += 1;
    }
    outcomes
}

fn kill_with_calls_in_flight(hub: &Hub, round: usize) {
    let session = hub.session("a");
    let calls: Vec<_> =
        (0..4).map(|n| session.begin_call("sleep", &json!({"ms": 60_000, "v": format!("{round}-{n}")}))).collect();
    hub.journal("a").wait_for_calls("sleep", (round + 1) * 4);
    let pid = hub.child_pid("a");
    let start = Instant::now();
    procs::signal(pid, Signal::SIGKILL);
    for call in &calls {
        let response = call.response_within(Duration::from_secs(10));
        assert_eq!(response["error"]["code"], -32603, "{response}");
    }
    assert!(start.elapsed() < Duration::from_secs(1), "answered {:?} after the death", start.elapsed());
    eventually("another child", || hub.child_pids("a").first().filter(|now| **now != pid).copied());
}

/// A child that always dies is `failed` in the end, says why, and can be revived (issue: crash loop).
#[test]
fn crash_loop() {
    let mut setup = quick().impatient();
    let flag = "DEAD";
    *setup.server("a") = Fake::new("a").key("restart", "{ initial = \"10ms\", max = \"20ms\" }");
    let mut hub = Hub::prepare(setup);
    let path = hub.path(flag);
    std::fs::write(&path, "").expect("a file");
    let server = hub.setup.server("a");
    *server = server.clone().arg("--dead-while", path.display()).arg("--exit-code", 41);
    hub.write_config();
    hub.serve();
    let failed = hub.wait_state("a", "failed");
    let failure = &failed["last_failure"];
    assert!(failure["exit"].as_str().is_some_and(|exit| exit.contains("41")), "{failure}");
    assert!(failure.to_string().contains("the flux is missing"), "the last lines of stderr: {failure}");
    let count = hub.journal("a").starts().len();
    let reply = hub.at("a").post(&[], &crate::support::session::initialize_body("2025-11-25", &json!({})));
    assert!(reply.text().contains("-32603"), "{}", reply.text());
    crate::support::stays("a failed server is left alone", Duration::from_secs(1), || {
        hub.journal("a").starts().len() <= count + 1
    });
    std::fs::remove_file(&path).expect("the file");
    hub.run(&["restart", "a"]);
    hub.wait_state("a", "ready");
    hub.session("a").echo("revived");
    assert_eq!(hub.server("a")["state"], "ready");
}

/// A program that does not exist: a clear failure of that server alone.
#[test]
fn no_such_program() {
    let missing = Fake::new("missing").command("no-such-program-at-all", &[]);
    let hub = Hub::start(Setup::of([Fake::new("a"), missing]).impatient());
    hub.wait_state("a", "ready");
    let failure = eventually("the failure in status", || {
        Some(hub.server("missing")["last_failure"].clone()).filter(Value::is_object)
    });
    let message = failure["message"].as_str().expect("text");
    assert!(message.contains("no-such-program-at-all") && message.contains("PATH"), "{failure}");
    hub.session("a").echo("unharmed");
}

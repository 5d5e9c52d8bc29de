//! Tests of children with real processes: shells that behave, misbehave, escape and refuse to die.
//!
//! In: this test binary, which also plays the guardian and a hub that is killed. Out: verdicts. Owns every process it
//! starts and leaves none. May not: sleep for an order of events (it polls with patience instead).

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use tokio::time::{Instant, timeout};

use super::*;
use crate::platform::family::Seen;
use crate::platform::{guarding, process};
use crate::store::{ProcessRow, RunRow, Store};

const PATIENCE: Duration = Duration::from_secs(20);

// === the parts that this binary plays in other processes ===

const GUARDIAN: &str = "child::tests::play_guardian";
const DOOMED_HUB: &str = "child::tests::play_doomed_hub";

#[test]
#[ignore = "the inside of a guardian process, started by other tests"]
fn play_guardian() {
    guarding::guard(&std::env::args().next_back().expect("the run id"));
}

#[tokio::test]
#[ignore = "a hub that gets killed, started by another test"]
async fn play_doomed_hub() {
    let script = "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & echo up; while :; do sleep 1; done";
    let guardian = guardian();
    let mut children = [sh(script, &guardian), sh("exec sleep 1000", &guardian)];
    assert_eq!(line(&mut children[0]).await, "up");
    println!("run {} guardian {} child {}", guardian.run_id(), guardian.pid(), children[0].pid());
    loop {
        children[0].event().await;
    }
}

fn test_binary() -> PathBuf {
    std::env::current_exe().expect("this binary")
}

fn guardian() -> Guardian {
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).expect("randomness");
    let run = format!("test-{:016x}", u64::from_ne_bytes(random));
    Guardian::start_as(&test_binary(), &["--ignored", "--exact", GUARDIAN], &run).expect("guardian")
}

// === helpers ===

fn start<'a>(program: &'a str, args: &'a [String], env: &'a [(std::ffi::OsString, std::ffi::OsString)]) -> Start<'a> {
    Start {
        server: "test",
        generation: 1,
        program,
        args,
        env,
        cwd: Path::new("/"),
        secrets: &[],
        logs: None,
        journal: None,
    }
}

fn spawn(program: &str, args: &[&str], guardian: &Guardian) -> Child {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let env = full_environment([("LC_ALL", "C")]);
    Child::spawn(&start(program, &args, &env), guardian).expect("spawned")
}

fn sh(script: &str, guardian: &Guardian) -> Child {
    spawn("sh", &["-c", script], guardian)
}

async fn event(child: &mut Child) -> Event {
    timeout(PATIENCE, child.event()).await.expect("an event in time")
}

async fn line(child: &mut Child) -> String {
    match event(child).await {
        Event::Line(line) => String::from_utf8(line.to_vec()).expect("text"),
        other => panic!("a line was expected, not {other:?}"),
    }
}

/// All events up to the exit, and the exit.
async fn until_exit(child: &mut Child) -> (Vec<Event>, Exit) {
    let mut seen = Vec::new();
    loop {
        match event(child).await {
            Event::Exited(exit) => return (seen, exit),
            other => seen.push(other),
        }
    }
}

fn send(child: &mut Child, text: &str) {
    child.send(Line::new([Bytes::from(text.to_owned())]));
}

/// Does anybody of a group still run? Zombies that init has yet to reap do not.
fn group_runs(pgid: u32) -> bool {
    let nobody = Marks { run: "nobody carries this".to_owned(), child: None };
    !family::members(&nobody, &[pgid]).is_empty()
}

fn runs(pid: u32) -> bool {
    family::start_of(pid).is_some_and(|start| family::lives(Seen { pid, start }))
}

fn marks(child: &Child) -> Marks {
    child.marks.clone()
}

fn left_of(marks: &Marks) -> Vec<Seen> {
    family::members(marks, &[])
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// === talking ===

#[tokio::test]
async fn ping_pong() {
    let guardian = guardian();
    let mut child = spawn("cat", &[], &guardian);
    for round in 0..2000 {
        let text = format!("{{\"id\":{round}}}");
        send(&mut child, &text);
        assert_eq!(line(&mut child).await, text);
    }
    let ended = child.stop().await;
    assert_eq!((ended.exit, ended.clean), (Exit::Code(0), true));
}

#[tokio::test]
async fn a_line_of_16_mib_through_both_pipes_at_once() {
    let guardian = guardian();
    let mut child = spawn("cat", &[], &guardian);
    let big = "x".repeat(16 << 20);
    send(&mut child, &big);
    send(&mut child, "after");
    assert!(child.queued_bytes() > 8 << 20);
    assert!(line(&mut child).await == big, "the big line was changed");
    assert_eq!(line(&mut child).await, "after");
    assert_eq!(child.queued_bytes(), 0);
    let mut more = 0;
    for _ in 0..200 {
        send(&mut child, &big[..100_000]);
        more += 1;
    }
    for _ in 0..more {
        assert_eq!(line(&mut child).await.len(), 100_000);
    }
    child.stop().await;
}

#[tokio::test]
async fn dropping_the_future_of_an_event_loses_nothing() {
    let guardian = guardian();
    let mut child = spawn("cat", &[], &guardian);
    let mut seen = 0;
    for round in 0..200 {
        send(&mut child, &format!("{round} {}", "y".repeat(round * 50)));
        // A future that is dropped after one poll, as select! does.
        poll_fn(|cx| {
            if let Poll::Ready(Event::Line(line)) = child.poll_event(cx) {
                assert!(line.starts_with(format!("{seen} ").as_bytes()));
                seen += 1;
            }
            Poll::Ready(())
        })
        .await;
    }
    while seen < 200 {
        assert!(line(&mut child).await.starts_with(&format!("{seen} ")));
        seen += 1;
    }
    child.stop().await;
}

#[tokio::test]
async fn a_line_without_end_is_reported_once_and_the_child_can_still_exit() {
    let guardian = guardian();
    let script =
        format!("head -c {} /dev/zero | tr '\\0' x; echo; echo after; exit 4", limits::LINE_BYTES_MAX + (1 << 20));
    let mut child = sh(&script, &guardian);
    let (seen, exit) = until_exit(&mut child).await;
    let without_end: Vec<&Event> = seen.iter().filter(|event| **event != Event::StdoutClosed).collect();
    assert_eq!(without_end, [&Event::TooLong]);
    assert_eq!(exit, Exit::Code(4));
    child.finish().await;
}

#[tokio::test]
async fn a_child_that_closes_its_stdin_is_noticed() {
    let guardian = guardian();
    let mut child = sh("exec 0<&-; echo closed; exec sleep 1000", &guardian);
    assert_eq!(line(&mut child).await, "closed");
    send(&mut child, "nobody reads this");
    assert_eq!(event(&mut child).await, Event::StdinClosed);
    child.kill();
    assert_eq!(until_exit(&mut child).await.1, Exit::Signal(9));
    child.finish().await;
}

#[tokio::test]
async fn gets_its_environment_folder_and_name() {
    let guardian = guardian();
    let folder = tempfile::tempdir().expect("folder");
    let folder = folder.path().canonicalize().expect("folder");
    let args = [
        "-c".to_owned(),
        "pwd; echo $HUB_SERVER $HUB_RUN $HUB_CHILD; echo \"$MINE\"; echo ${NOTIFY_SOCKET-none}".to_owned(),
    ];
    let env = full_environment([("MINE", "a b"), ("NOTIFY_SOCKET", "none")]);
    let start = Start { cwd: &folder, generation: 5, ..start("sh", &args, &env) };
    let mut child = Child::spawn(&start, &guardian).expect("spawned");
    assert_eq!(line(&mut child).await, folder.to_str().expect("text"));
    let marks = line(&mut child).await;
    assert!(marks.starts_with(&format!("test {} test.5.", guardian.run_id())), "{marks}");
    assert_eq!(line(&mut child).await, "a b");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap_or_default();
    if let Some(rest) = stat.rsplit(')').next().filter(|rest| !rest.is_empty()) {
        let ids: Vec<u32> = rest.split_whitespace().skip(2).take(2).map(|id| id.parse().expect("id")).collect();
        assert_eq!(ids, [child.pid(), child.pid()], "group and session");
    }
    child.stop().await;
}

// === ending ===

#[tokio::test]
async fn what_was_written_before_the_exit_comes_before_it() {
    let guardian = guardian();
    let mut child =
        sh("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo oops >&2; exit 3", &guardian);
    let (seen, exit) = until_exit(&mut child).await;
    let lines = seen.iter().filter(|event| matches!(event, Event::Line(_))).count();
    assert_eq!((lines, exit), (3000, Exit::Code(3)));
    assert_eq!(child.stderr_tail(), ["oops"]);
    let ended = child.finish().await;
    assert_eq!((ended.exit, ended.stderr, ended.clean), (Exit::Code(3), vec!["oops".to_owned()], true));
}

#[tokio::test]
async fn the_exit_is_seen_though_a_grandchild_holds_and_floods_the_pipes() {
    let guardian = guardian();
    let mut child = sh("yes flood & echo $! >&2; sleep 0.2; exit 7", &guardian);
    let (_, exit) = until_exit(&mut child).await;
    assert_eq!(exit, Exit::Code(7));
    let flooder: u32 = child.stderr_tail()[0].parse().expect("a pid");
    assert!(child.finish().await.clean);
    assert!(!runs(flooder));
}

#[tokio::test]
async fn stop_is_quick_for_those_who_leave_when_stdin_closes() {
    let guardian = guardian();
    let child = sh("cat >/dev/null; exit 5", &guardian);
    let (pid, began) = (child.pid(), Instant::now());
    let ended = child.stop().await;
    assert_eq!((ended.exit, ended.clean), (Exit::Code(5), true));
    assert!(began.elapsed() < limits::STOP_STDIN_GRACE);
    assert!(!group_runs(pid));
}

#[tokio::test]
async fn stop_takes_everybody_however_they_resist() {
    let guardian = guardian();
    // The leader and a grandchild ignore TERM; a third one has left group and session; all hold the pipes.
    let script = "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & setsid sh -c 'trap \"\" TERM; echo out; while :; do sleep 1; done' & while :; do sleep 1; done";
    let mut child = sh(script, &guardian);
    assert_eq!(line(&mut child).await, "out");
    let (pid, marks, began) = (child.pid(), marks(&child), Instant::now());
    assert!(left_of(&marks).len() >= 3);
    let ended = child.stop().await;
    assert_eq!((ended.exit, ended.clean), (Exit::Signal(9), true));
    assert!(began.elapsed() < limits::STOP_STDIN_GRACE + limits::STOP_TERM_GRACE + Duration::from_secs(1));
    assert!(!group_runs(pid));
    assert_eq!(left_of(&marks), []);
}

#[tokio::test]
async fn a_crash_takes_the_escaped_with_it() {
    let guardian = guardian();
    let mut child = sh("setsid sleep 1000 & (setsid setsid sleep 1000 &) ; echo up; read gone; kill -9 $$", &guardian);
    assert_eq!(line(&mut child).await, "up");
    let marks = marks(&child);
    eventually("both escaped", || left_of(&marks).len() == 3).await;
    send(&mut child, "go");
    assert_eq!(until_exit(&mut child).await.1, Exit::Signal(9));
    assert!(child.finish().await.clean);
    assert_eq!(left_of(&marks), []);
}

#[tokio::test]
async fn two_children_of_one_server_are_two_families() {
    let guardian = guardian();
    let mut first = sh("setsid sleep 1000 & echo up; read gone", &guardian);
    let mut second = sh("setsid sleep 1000 & echo up; read gone", &guardian);
    line(&mut first).await;
    line(&mut second).await;
    let other = marks(&second);
    eventually("escaped", || left_of(&other).len() == 2).await;
    assert!(first.stop().await.clean);
    assert_eq!(left_of(&other).len(), 2);
    assert!(second.stop().await.clean);
}

#[tokio::test]
async fn a_dropped_child_is_killed_and_reaped() {
    let guardian = guardian();
    let mut child = sh("(sleep 1000 &); setsid sleep 1000 & echo up; exec sleep 1000", &guardian);
    line(&mut child).await;
    let (pid, marks) = (child.pid(), marks(&child));
    drop(child);
    eventually("nobody left", || !process::process_exists(pid) && left_of(&marks).is_empty()).await;
}

#[tokio::test]
async fn stop_does_not_wait_for_a_child_that_reads_nothing() {
    let guardian = guardian();
    let mut child = sh("exec sleep 1000", &guardian);
    send(&mut child, &"z".repeat(4 << 20));
    assert!(child.queued_bytes() > 0);
    child.begin_stop();
    assert_eq!(child.queued_bytes(), 0);
    child.kill();
    let began = Instant::now();
    assert_eq!(until_exit(&mut child).await.1, Exit::Signal(9));
    assert!(began.elapsed() < Duration::from_secs(2));
    child.finish().await;
}

// === the guardian ===

/// Whoever of a run is left, its guardian not counted.
fn left(run: &str) -> Vec<Seen> {
    family::members(&Marks { run: run.to_owned(), child: None }, &[])
}

#[tokio::test]
async fn nothing_outlives_a_hub_that_is_killed() {
    let mut hub = Command::new(test_binary())
        .args(["--ignored", "--exact", DOOMED_HUB, "--nocapture"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a hub");
    let stdout = BufReader::new(hub.stdout.take().expect("piped"));
    let facts =
        stdout.lines().map_while(Result::ok).find_map(|line| line.find("run test-").map(|at| line[at..].to_owned()));
    let facts: Vec<String> = facts.expect("facts").split(' ').map(str::to_owned).collect();
    let (run, guardian, child) = (&facts[1], facts[3].parse().expect("pid"), facts[5].parse::<u32>().expect("pid"));
    assert!(left(run).len() >= 4, "{:?}", left(run));
    hub.kill().expect("killed");
    let killed = Instant::now();
    hub.wait().expect("reaped");
    eventually("nobody left", || left(run).is_empty() && !group_runs(child)).await;
    assert!(killed.elapsed() < Duration::from_secs(2), "took {:?}", killed.elapsed());
    eventually("no guardian left", || !runs(guardian)).await;
}

#[tokio::test]
async fn a_dead_guardian_is_replaced_and_knows_the_living_groups() {
    let guardian = guardian();
    let mut old = sh("echo up; exec sleep 1000", &guardian);
    line(&mut old).await;
    let first = guardian.pid();
    assert!(process::signal_group(first, Signal::SIGKILL));
    // Spawning meets the closed pipe and revives by itself, whether or not somebody keeps watch.
    eventually("dead", || !runs(first)).await;
    let new = sh("exec sleep 1000", &guardian);
    assert_ne!(guardian.pid(), first);
    // From here on the guardian must end both, as if hub had died.
    let groups = [old.pid(), new.pid()];
    guardian.finish(Duration::from_secs(5)).await;
    eventually("both groups ended", || left(guardian.run_id()).is_empty()).await;
    for child in [old, new] {
        let pid = child.pid();
        assert!(groups.contains(&pid));
        assert!(matches!(child.stop().await.exit, Exit::Signal(_)));
    }
}

#[tokio::test]
async fn somebody_keeps_the_guardian_alive() {
    let guardian = guardian();
    let first = guardian.pid();
    let keeper = guardian.clone();
    let watch = timeout(PATIENCE, async {
        tokio::select! {
            () = keeper.keep() => {}
            () = async {
                process::signal_group(first, Signal::SIGKILL);
                eventually("another guardian", || guardian.pid() != first).await;
            } => {}
        }
    });
    watch.await.expect("in time");
    guardian.finish(Duration::from_secs(5)).await;
    assert!(!runs(guardian.pid()));
}

#[tokio::test]
async fn a_guardian_ignores_polite_signals() {
    let guardian = guardian();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // Before its first instruction a process cannot ignore anything; wait until it says who it is.
        let comm = format!("/proc/{}/comm", guardian.pid());
        eventually("named", || std::fs::read_to_string(&comm).is_ok_and(|name| name.trim() == "hub-guardian")).await;
        process::signal_group(guardian.pid(), signal);
    }
    let child = sh("cat", &guardian);
    assert!(!guardian.revive().expect("looked"), "it still lives");
    child.stop().await;
    guardian.finish(Duration::from_secs(5)).await;
}

// === the journal ===

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&folder.path().join("hub.db")).expect("store");
    (folder, store)
}

/// A process in a session of its own that no daemon knows.
fn stranger(marked_as: Option<&str>) -> std::process::Child {
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", "echo up; exec sleep 1000"]).stdout(Stdio::piped());
    if let Some(run) = marked_as {
        command.env(family::ENV_RUN, run);
    }
    let mut process = command.spawn().expect("started");
    process.stdout.as_mut().expect("piped").read_exact(&mut [0; 3]).expect("up");
    process
}

async fn dead_run(store: &Store, run: &str) {
    // No process has this id: it is above the kernel's limit.
    let row = RunRow { run: run.to_owned(), pid: 4_194_305, start: 1, boot: family::boot_id() };
    store.run_begun(row).await.expect("noted");
}

#[tokio::test]
async fn clean_up_ends_leftovers_and_no_stranger() {
    let (_folder, store) = store();
    let (mut left, mut marked, mut recycled) = (stranger(None), stranger(Some("run-of-the-dead")), stranger(None));
    dead_run(&store, "run-of-the-dead").await;
    let row = |pid: u32, start: u64| ProcessRow {
        run: "run-of-the-dead".to_owned(),
        pid,
        start,
        server: "s".to_owned(),
        generation: 1,
    };
    let start = |pid| family::start_of(pid).expect("alive");
    store.process_started(row(left.id(), start(left.id())));
    store.process_started(row(recycled.id(), start(recycled.id()) - 1));
    let found = Journal::clean_up(&store).await.expect("cleaned");
    assert_eq!(found, 2);
    assert!(left.wait().expect("reaped").code().is_none(), "the leftover was killed");
    assert!(marked.wait().expect("reaped").code().is_none(), "the one with the marker was killed");
    assert!(recycled.try_wait().expect("looked").is_none(), "the stranger lives");
    recycled.kill().expect("killed");
    recycled.wait().expect("reaped");
    assert_eq!(store.runs().await.expect("rows"), []);
    assert_eq!(store.processes("run-of-the-dead").await.expect("rows"), []);
    assert_eq!(Journal::clean_up(&store).await.expect("nothing to do"), 0);
}

#[tokio::test]
async fn clean_up_leaves_living_daemons_alone() {
    let (_folder, store) = store();
    let guardian = guardian();
    let journal = Journal::open(store.clone(), guardian.run_id()).await.expect("journal");
    let args = ["1000".to_owned()];
    let env = full_environment([("A", "b")]);
    let start = Start { journal: Some(&journal), ..start("sleep", &args, &env) };
    let child = Child::spawn(&start, &guardian).expect("spawned");
    assert_eq!(Journal::clean_up(&store).await.expect("looked"), 0);
    let rows = store.processes(guardian.run_id()).await.expect("rows");
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].pid, rows[0].server.as_str()), (child.pid(), "test"));
    assert!(family::lives(Seen { pid: child.pid(), start: rows[0].start }));
    child.stop().await;
    assert_eq!(store.processes(guardian.run_id()).await.expect("rows"), []);
    journal.close().await.expect("closed");
    assert_eq!(store.runs().await.expect("rows"), []);
}

// === what cannot start ===

fn refused(program: &str, args: &[String], path: Option<&str>, cwd: &Path) -> SpawnError {
    let guardian = guardian();
    let mut env = full_environment([("A", "b")]);
    if let Some(path) = path {
        env.retain(|(name, _)| name != "PATH");
        env.push(("PATH".into(), path.into()));
    }
    let start = Start { cwd, ..start(program, args, &env) };
    Child::spawn(&start, &guardian).expect_err("must not start")
}

fn executable(folder: &Path, name: &str, content: &[u8]) -> String {
    use std::os::unix::fs::PermissionsExt;
    let file = folder.join(name);
    std::fs::write(&file, content).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("mode");
    file.to_str().expect("text").to_owned()
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let folder = tempfile::tempdir().expect("folder");
    let here = folder.path();
    let shown = here.to_str().expect("text");
    let text = |program: &str| refused(program, &[], None, here).to_string();

    let error = refused("npx-of-nowhere", &[], Some("/no/such:/folder"), here);
    assert_eq!(error.to_string(), "npx-of-nowhere is not on PATH=/no/such:/folder");
    assert_eq!(text("./missing"), format!("{shown}/./missing does not exist"));
    std::fs::write(here.join("plain"), "text").expect("written");
    assert_eq!(text(&format!("{shown}/plain")), format!("{shown}/plain is not executable"));
    assert_eq!(text(shown), format!("{shown} is not executable"));
    let script = executable(here, "script", b"#!/no/such/interpreter -x\n");
    assert!(
        text(&script).ends_with("needs an interpreter that does not exist: /no/such/interpreter"),
        "{}",
        text(&script)
    );
    let mut foreign = b"\x7fELF\x02\x01\x01".to_vec();
    foreign.resize(18, 0);
    foreign.extend_from_slice(&[0xF7, 0xFE]);
    let foreign = executable(here, "foreign", &foreign);
    assert!(text(&foreign).contains("cannot run on this machine"), "{}", text(&foreign));
    let empty = executable(here, "empty", b"");
    assert!(text(&empty).contains("cannot run on this machine"), "{}", text(&empty));
    let error = refused("sh", &[], None, &here.join("gone"));
    assert_eq!(error.to_string(), format!("the working folder {shown}/gone does not exist"));
    let error = refused("sh", &[], None, &here.join("plain"));
    assert_eq!(error.to_string(), format!("the working folder {shown}/plain is not a folder"));
    assert!(matches!(refused("sh", &["a\0b".to_owned()], None, here), SpawnError::NulByte));
    let huge = vec!["x".repeat(100_000); 100];
    assert!(matches!(refused("sh", &huge, None, here), SpawnError::TooLarge(10_000_000..)));
}

#[tokio::test]
async fn a_script_without_a_first_line_runs_as_everywhere_else() {
    let folder = tempfile::tempdir().expect("folder");
    let script = executable(folder.path(), "script", b"echo plain\n");
    let mut child = spawn(&script, &[], &guardian());
    assert_eq!(line(&mut child).await, "plain");
    child.stop().await;
}

#[tokio::test]
async fn relative_programs_are_relative_to_the_childs_folder() {
    let folder = tempfile::tempdir().expect("folder");
    executable(folder.path(), "tool", b"#!/bin/sh\necho mine\n");
    let guardian = guardian();
    let env = full_environment([("PATH", "/usr/bin:/bin:.")]);
    for program in ["./tool", "tool"] {
        let start = Start { cwd: folder.path(), ..start(program, &[], &env) };
        let mut child = Child::spawn(&start, &guardian).expect("spawned");
        assert_eq!(line(&mut child).await, "mine", "{program}");
        child.stop().await;
    }
}

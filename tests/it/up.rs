//! `hub up` and `hub down` as a newcomer meets them.
//!
//! In: a folder with a hub.toml, or with clients' files. Out: lines of progress, a daemon, and nothing in the end. Owns
//! nothing. May not: leave a daemon behind.

use crate::support::setup::{fake_server, free_ports};
use crate::support::{Fake, Hub, Setup, Value, eventually, json, patience, procs};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn down(hub: &Hub) -> String {
    let output = hub.run(&["down"]);
    hub.wait_nothing_left(Duration::from_secs(5));
    output.stdout
}

/// A line of progress for each server as it comes up, and no second without one.
#[test]
fn each_server_has_its_line_and_each_second_one() {
    let slow = Fake::new("slow").arg("--ready-delay-ms", 4000);
    let hub = Hub::prepare(Setup::of([Fake::new("quick"), slow, Fake::new("later").lazy()]));
    let mut up = hub.command().arg("up").stdout(Stdio::piped()).spawn().expect("hub can be started");
    let mut lines = Vec::new();
    let mut last = Instant::now();
    let mut pauses = Vec::new();
    for line in BufReader::new(up.stdout.take().expect("piped")).lines().map_while(Result::ok) {
        pauses.push((last.elapsed(), line.clone()));
        last = Instant::now();
        lines.push(line);
    }
    assert!(up.wait().expect("a child of ours").success(), "{lines:#?}");
    let at =
        |part: &str| lines.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {lines:#?}"));
    assert!(
        at("quick ready") < at("waiting for slow (starting)") && at("waiting for slow") < at("slow ready"),
        "{lines:#?}"
    );
    at("later lazy");
    // Twice what is promised: the machine may be busy with other tests.
    assert!(pauses.iter().all(|(pause, _)| *pause < Duration::from_millis(2500)), "{pauses:#?}");
    assert!(lines.iter().filter(|line| line.contains("waiting for slow")).count() >= 2, "{lines:#?}");
    at("NAME");
    down(&hub);
}

/// One that fails says why, and hinders nobody.
#[test]
fn a_server_that_fails() {
    let dying = Fake::new("dying").flag("--crash-at-start").arg("--stderr-lines", 3).arg("--exit-code", 3);
    let absent = Fake::new("absent").command("/no/such/program", &[]);
    let hub = Hub::prepare(Setup::of([Fake::new("a"), dying, absent]));
    let begun = Instant::now();
    let up = hub.cli(&["up"]);
    assert_eq!(up.code, 1, "{up:?}");
    assert!(begun.elapsed() < Duration::from_secs(25), "it is not waited for ever: {:?}", begun.elapsed());
    let line =
        |part: &str| up.stdout.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {up:?}"));
    assert!(line("absent failed").contains("spawn: "), "{up:?}");
    let dying = line("dying failed");
    assert!(
        dying.contains("initialize: ") && dying.contains("stderr line 2 of dying"),
        "stage, message, stderr: {dying}"
    );
    line("a ready");
    assert!(up.stderr.contains("dying") && up.stderr.contains("absent") && up.stderr.contains("hint: "), "{up:?}");
    hub.session("a").echo("hub runs on");
    let again = hub.cli(&["up", "--json"]);
    assert_eq!(again.code, 1);
    let document: Value = again.json();
    assert_eq!((&document["started"], &document["status"]["schema"]), (&false.into(), &1.into()));
    down(&hub);
}

/// One that dies at first and then comes up has not failed.
#[test]
fn a_second_try_is_waited_for() {
    let hub = Hub::prepare(Setup::of([Fake::new("a")]));
    let (flag, server) = (hub.path("starts"), fake_server());
    let (flag, server) = (flag.display(), server.display());
    // The first two are about the era of the server, and no failure yet.
    let script = format!("echo x >>{flag}; [ $(wc -l <{flag}) -lt 4 ] && exit 1; exec {server} --tag a");
    let setup = Setup::of([Fake::new("a").command("sh", &["-c", &script])]);
    hub.write_config_text(&setup.toml(hub.dir.path()));
    let up = hub.run(&["up"]);
    assert!(up.stdout.contains("a failed") && up.stdout.contains("a ready "), "{up:?}");
    down(&hub);
}

#[test]
fn ctrl_c_ends_the_waiting_and_not_hub() {
    let hub = Hub::prepare(Setup::of([Fake::new("slow").arg("--ready-delay-ms", 60_000)]));
    let mut command = hub.command();
    let mut up = command.arg("up").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("hub can be started");
    let mut lines = BufReader::new(up.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("waiting for slow")));
    procs::signal(up.id(), Signal::SIGINT);
    let output = up.wait_with_output().expect("a child of ours");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("hub goes on in the background") && said.contains("hub down"), "{said}");
    assert_eq!(hub.server("slow")["state"], "starting");
    down(&hub);
}

#[test]
fn another_hub_toml_is_not_what_runs() {
    let hub = Hub::prepare(Setup::one());
    hub.run(&["up"]);
    let other = hub.path("config/other.toml");
    std::fs::copy(hub.config_path(), &other).expect("a file");
    let up = hub.cli(&["up", "--config", &other.display().to_string()]);
    assert_eq!(up.code, 1);
    assert!(up.stderr.contains(&hub.config_path().display().to_string()), "{up:?}");
    down(&hub);
}

/// While there is a hub.toml, `down` keeps the state and says where it is.
#[test]
fn down_says_what_it_keeps() {
    let hub = Hub::prepare(Setup::one());
    hub.run(&["up"]);
    let said = down(&hub);
    assert!(said.contains(&hub.config_path().display().to_string()), "{said}");
    assert!(said.contains(&hub.path("state").display().to_string()) && hub.path("state/hub.db").exists(), "{said}");
    let again = hub.cli(&["down"]);
    assert_eq!(again.code, 69, "{again:?}");
}

/// A home folder with the file of a client, and hub with nothing set but `HOME`.
struct Newcomer {
    hub: Hub,
    project: PathBuf,
}

impl Newcomer {
    fn new(servers: &Value) -> Self {
        let hub = Hub::prepare(Setup::default());
        let project = hub.path("project");
        std::fs::create_dir(&project).expect("a folder");
        std::fs::write(
            project.join(".mcp.json"),
            serde_json::to_string_pretty(&json!({ "mcpServers": servers })).expect("JSON"),
        )
        .expect("a file");
        Self { hub, project }
    }

    fn command(&self) -> Command {
        let mut command = self.hub.command();
        command.env_remove("HUB_CONFIG").env_remove("HUB_STATE_DIR").current_dir(&self.project);
        command
    }

    fn run(&self, args: &[&str]) -> String {
        let output = self.command().args(args).stdin(Stdio::null()).output().expect("hub can be started");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn home(&self) -> Vec<PathBuf> {
        files(&self.hub.path("home"))
    }
}

/// Everything below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries: Vec<_> = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
    let below = entries.iter().filter(|path| path.is_dir()).flat_map(|path| files(path)).collect::<Vec<_>>();
    entries.into_iter().chain(below).collect()
}

fn fake(name: &str) -> Value {
    json!({ "command": fake_server(), "args": ["--tag", name] })
}

/// From a project's file to a hub that serves it, and back to nothing.
#[test]
fn a_newcomer_comes_and_goes_without_a_trace() {
    let newcomer = Newcomer::new(&json!({ "one": fake("one"), "two": fake("two") }));
    let file = newcomer.project.join(".mcp.json");
    let before = std::fs::read(&file).expect("a file");
    let asked = newcomer.command().arg("up").stdin(Stdio::null()).output().expect("hub can be started");
    assert_eq!(asked.status.code(), Some(1), "it asks before it changes anything: {asked:?}");
    assert!(newcomer.home().is_empty(), "{:?}", newcomer.home());
    // A newcomer has hub's own port, and so only one of them at a time.
    eventually("hub's port is free", || TcpListener::bind(("127.0.0.1", 18900)).ok());
    let up = newcomer.run(&["up", "--yes"]);
    for said in ["one ready", "two ready", "hub is up", "2 of 2 entries through hub"] {
        assert!(up.replace("  ", " ").contains(said), "{said}: {up}");
    }
    assert!(newcomer.run(&["call", "one", "echo", "v=hello"]).contains("hello"));
    assert_ne!(std::fs::read(&file).expect("a file"), before);

    // What could be needed for an undo stays.
    let kept = newcomer.run(&["down"]);
    assert!(kept.contains("hub undo") && kept.contains("backups"), "{kept}");
    newcomer.run(&["up"]);
    newcomer.run(&["undo"]);
    assert_eq!(std::fs::read(&file).expect("a file"), before);
    let gone = newcomer.run(&["down"]);
    assert!(gone.contains("nothing of hub is left on this machine but the program"), "{gone}");
    assert!(newcomer.home().is_empty(), "{:?}", newcomer.home());
    assert!(files(&newcomer.hub.path("run")).is_empty(), "{:?}", files(&newcomer.hub.path("run")));
    newcomer.hub.wait_nothing_left(patience());
}

/// A hub.toml that goes away while hub runs changes nothing of what runs, and what an undo needs stays.
#[test]
fn hub_toml_goes_away() {
    let newcomer = Newcomer::new(&json!({ "one": fake("one") }));
    let config = newcomer.hub.path("home/.config/hub/hub.toml");
    std::fs::create_dir_all(config.parent().expect("a folder")).expect("a folder");
    let first = free_ports(3);
    std::fs::write(&config, format!("[hub]\nport = {first}\nfirst_port = {}\n", first + 1)).expect("a file");
    newcomer.run(&["import", "--yes"]);
    newcomer.run(&["up"]);
    std::fs::remove_file(&config).expect("removed");
    eventually("hub has noticed", || newcomer.run(&["status", "--json"]).contains("config_error\":\"").then_some(()));
    assert!(newcomer.run(&["call", "one", "echo", "v=still"]).contains("still"));
    let kept = newcomer.run(&["down"]);
    assert!(kept.contains("backups"), "there is something to undo: {kept}");
    assert!(newcomer.hub.path("home/.local/state/hub/backups").exists());
    newcomer.hub.wait_nothing_left(patience());
}

/// What is not hub's own is not removed.
#[test]
fn down_removes_only_its_own() {
    let newcomer = Newcomer::new(&json!({}));
    let config = newcomer.hub.path("home/.config/hub/hub.toml");
    std::fs::create_dir_all(config.parent().expect("a folder")).expect("a folder");
    std::fs::write(&config, format!("[hub]\nport = {}\n", free_ports(1))).expect("a file");
    newcomer.run(&["up"]);
    let mine = newcomer.hub.path("home/.local/state/hub/notes.txt");
    std::fs::write(&mine, "mine").expect("a file");
    std::fs::remove_file(&config).expect("removed");
    let database = newcomer.hub.path("home/.local/state/hub/hub.db");
    let said = newcomer.run(&["down"]);
    assert!(said.contains("what is kept") && database.exists(), "a hub.toml that is gone may come back: {said}");
    // The word of an undo that took everything back.
    std::fs::write(newcomer.hub.path("home/.local/state/hub/moved-out"), "").expect("a file");
    let said = newcomer.run(&["down"]);
    assert!(said.contains(".local/state/hub") && !said.contains("nothing of hub is left"), "{said}");
    assert!(mine.exists() && !database.exists());
    newcomer.hub.wait_nothing_left(patience());
}

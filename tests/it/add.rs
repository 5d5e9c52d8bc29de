//! `hub add`, `remove`, `enable`, `disable`: hub.toml changed in place, with a daemon and without.
//!
//! In: command lines. Out: the file, what runs, what is said. Owns nothing. May not: lose a comment.

use crate::support::setup::{fake_server, free_ports};
use crate::support::{Fake, Hub, Setup, eventually, json};
use std::os::unix::fs::PermissionsExt;

fn text(hub: &Hub) -> String {
    std::fs::read_to_string(hub.config_path()).expect("a file")
}

fn mode(hub: &Hub) -> u32 {
    std::fs::metadata(hub.config_path()).expect("a file").permissions().mode() & 0o777
}

#[test]
fn to_a_running_hub() {
    let hub = Hub::start(Setup::one());
    let commented = text(&hub).replace("[servers.a]", "# mine\n[servers.a] # stays");
    hub.write_config_text(&commented);
    let fake = fake_server().display().to_string();
    let journal = hub.path("b.journal").display().to_string();
    let port = free_ports(1).to_string();
    let added =
        hub.run(&["add", "b", "-s", "user", "-e", "TOKEN=s3cret", "--port", &port, "--", &fake, "--journal", &journal]);
    assert!(added.stdout.contains("added b"), "{added:?}");
    let url = format!("http://127.0.0.1:{port}/mcp");
    assert!(added.stdout.contains(&format!("b is ready on {url}, ")) && added.stdout.contains(" tools"), "{added:?}");
    assert!(added.stderr.contains(&format!("claude mcp add --transport http b {url}")), "{added:?}");
    assert!(added.stderr.contains("`user` is ignored") && added.stderr.contains("hub connect b"), "{added:?}");
    assert!(!format!("{added:?}").contains("s3cret"));
    assert_eq!(hub.session("b").call("env", &json!({"name": "TOKEN"})).text(), "s3cret");
    assert_eq!(mode(&hub) & 0o077, 0, "it holds a value that may be a secret");
    assert!(text(&hub).starts_with(&commented), "what was there stays: {}", text(&hub));
    assert!(text(&hub).contains(&format!("port = {port}")));

    let again = hub.cli(&["add", "B", "--", &fake]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("`b` in hub.toml already") && again.stderr.contains("hint: "), "{again:?}");
    let removed = hub.run(&["remove", "b"]);
    assert!(removed.stdout.contains("removed b"), "{removed:?}");
    assert_eq!(text(&hub), commented, "to the byte");
    assert_eq!(hub.status()["servers"].as_array().map(Vec::len), Some(1));
    let unknown = hub.cli(&["remove", "bb"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(unknown.stderr.contains("no server `bb`") && unknown.stderr.contains("hint: "), "{unknown:?}");
}

#[test]
fn what_does_not_start() {
    let hub = Hub::start(Setup::one());
    let missing = hub.cli(&["add", "x", "--", "no-such-program-at-all"]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.contains("x does not start (spawn)"), "{missing:?}");
    assert!(missing.stderr.contains("hint: hub does not find the program"), "{missing:?}");
    let fake = fake_server().display().to_string();
    let refuses = hub.cli(&["add", "y", "--", &fake, "--init-error", "API_KEY is required: 401 Unauthorized"]);
    assert_eq!(refuses.code, 1, "{refuses:?}");
    assert!(refuses.stderr.contains("401 Unauthorized") && refuses.stderr.contains("key or token"), "{refuses:?}");
    let unset = hub.cli(&["add", "z", "-e", "T=${NO_SUCH_VARIABLE_HERE}", "--", &fake]);
    assert_eq!(unset.code, 1, "{unset:?}");
    assert!(unset.stderr.contains("NO_SUCH_VARIABLE_HERE"), "{unset:?}");
    let lazy = hub.run(&["add", "later", "--lazy", "--", &fake]);
    assert!(lazy.stdout.contains("starts with its first request"), "{lazy:?}");
    hub.session("later").echo("here");
    hub.session("a").echo("nobody else was touched");
}

/// A new hub.toml, and hub started later.
#[test]
fn from_nothing() {
    let mut hub = Hub::prepare(Setup::of([]).impatient());
    std::fs::remove_dir_all(hub.path("config")).expect("a folder");
    let fake = fake_server().display().to_string();
    let first = hub.run(&["add-json", "a", &json!({"command": fake, "args": ["--tag", "one"]}).to_string()]);
    assert!(first.stdout.contains("added a") && first.stderr.contains("hub is not running"), "{first:?}");
    hub.run(&["add", "b", "--", &fake, "--tag", "two"]);
    assert_eq!(mode(&hub), 0o600);
    let config = text(&hub);
    let ports: Vec<u16> = config.lines().filter_map(|line| line.strip_prefix("port = ")?.parse().ok()).collect();
    assert_eq!(ports.len(), 2, "each has a fixed port: {config}");
    assert_ne!(ports[0], ports[1]);
    let disabled = hub.run(&["disable", "b"]);
    assert!(disabled.stdout.contains("b is disabled"), "{disabled:?}");
    assert_eq!(hub.cli(&["enable", "c"]).code, 1);
    // Other hubs of this machine have their ports.
    let first_port = free_ports(3);
    let moved = config.replace(&format!("port = {}", ports[0]), &format!("port = {}", first_port + 1));
    let moved = moved.replace(&format!("port = {}", ports[1]), &format!("port = {}", first_port + 2));
    hub.write_config_text(&format!("[hub]\nport = {first_port}\n\n{moved}"));
    hub.run(&["disable", "b"]);
    hub.serve();
    hub.wait_state("a", "ready");
    assert_eq!(hub.server("b")["state"], "disabled");
    hub.run(&["enable", "b"]);
    hub.wait_state("b", "ready");
}

#[test]
fn what_is_refused() {
    let hub = Hub::prepare(Setup::of([Fake::new("a")]));
    let before = text(&hub);
    for (args, code, said) in [
        (
            &["add", "x", "https://mcp.example.com/mcp"][..],
            2,
            "claude mcp add --transport http x https://mcp.example.com/mcp",
        ),
        (&["add", "-t", "sse", "x", "https://mcp.example.com/sse"], 2, "hub runs servers that speak stdio"),
        (&["add", "x"], 2, "what runs `x` is missing"),
        (&["add", "a b", "--", "true"], 2, "cannot be a name"),
        (&["add", "x", "--port", "0", "--", "true"], 2, "0"),
        (&["add", "x", "{\"command\": 7}"], 2, "mcpServers"),
        (&["add", "x", "-e", "s3cret", "--", "true"], 2, "KEY=VALUE"),
    ] {
        let refused = hub.cli(args);
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.stderr.contains(said) && !refused.stderr.contains("s3cret"), "{refused:?}");
    }
    assert_eq!(text(&hub), before);
    // A port that another one has; a file that has a mistake already.
    let one = format!("{before}port = 20001\n");
    hub.write_config_text(&one);
    let taken = hub.cli(&["add", "x", "--port", "20001", "--", "true"]);
    assert_eq!(taken.code, 1, "{taken:?}");
    assert_eq!(text(&hub), one);
    hub.write_config_text("[hub]\nprot = 1\n");
    let broken = hub.cli(&["add", "x", "--", "true"]);
    assert_eq!(broken.code, 78, "{broken:?}");
    assert!(broken.stderr.contains("prot") && broken.stderr.contains("`hub check`"), "{broken:?}");
    assert_eq!(text(&hub), "[hub]\nprot = 1\n");
}

/// Relative paths are those of the folder in which they were typed.
#[test]
fn folders() {
    let hub = Hub::start(Setup::one());
    let folder = hub.path("project");
    std::fs::create_dir(&folder).expect("a folder");
    std::os::unix::fs::symlink(fake_server(), folder.join("server")).expect("a link");
    let mut add = hub.command();
    add.current_dir(&folder).args(["add", "p", "--", "./server"]);
    let output = add.output().expect("hub can be started");
    assert!(output.status.success(), "{output:?}");
    eventually("ready", || (hub.server("p")["state"] == "ready").then_some(()));
    let me = hub.session("p").call("whoami", &json!({})).text();
    assert!(me.contains(&folder.display().to_string()), "{me}");
}

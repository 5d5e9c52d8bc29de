//! `hub add`, `remove`, `enable`, `disable`: hub.toml changed in place, with a daemon and without.
//!
//! In: command lines. Out: the file, what runs, what is said. Owns nothing. May not: lose a comment.

use crate::support::setup::{fake_server, free_ports};
use crate::support::{Fake, Hub, Setup, eventually, json, stays};
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::Duration;

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
    hub.write_config_text(&moved.replace("[hub]\n", &format!("[hub]\nport = {first_port}\n")));
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

/// Whoever changes hub.toml waits for the other: each gets its server, its own port, and no comment is lost.
#[test]
fn many_at_once() {
    // Each waits for the ones before it, which wait for the disk.
    const MANY: usize = 3;
    let first = free_ports(6).to_string();
    let hub = Hub::prepare(Setup::of([Fake::new("a")]).hub_key("first_port", &first));
    let commented = format!("# mine\n{}", text(&hub));
    hub.write_config_text(&commented);
    let start = |n: usize| {
        let mut command = hub.command();
        command.args(["add", &format!("s{n}"), "--", "true"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("hub can be started")
    };
    let children: Vec<Child> = (0..MANY).map(start).collect();
    for child in children {
        let output = child.wait_with_output().expect("ends");
        assert!(output.status.success(), "{output:?}");
    }
    let after = text(&hub);
    assert!(after.starts_with(&commented), "{after}");
    let ports: BTreeSet<&str> = after.lines().filter_map(|line| line.strip_prefix("port = ")).collect();
    let names = (0..MANY).filter(|n| after.contains(&format!("[servers.s{n}]\n"))).count();
    assert_eq!(names, MANY, "{after}");
    assert_eq!(ports.len(), MANY + 1, "one each, and hub its own: {after}");
}

/// An import or another change holds the lock: it is waited for.
#[test]
fn one_change_at_a_time() {
    let hub = Hub::prepare(Setup::of([Fake::new("a")]));
    let before = text(&hub);
    std::fs::create_dir_all(hub.path("state")).expect("a folder");
    let lock = std::fs::File::open(hub.path("state")).expect("a folder");
    lock.lock().expect("free");
    let mut add = hub.command();
    let mut add =
        add.args(["add", "b", "--", "true"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("runs");
    stays("it waits", Duration::from_millis(300), || {
        add.try_wait().expect("a child of ours").is_none() && text(&hub) == before
    });
    drop(lock);
    assert!(add.wait().expect("ends").success());
    assert!(text(&hub).contains("[servers.b]"));
}

/// The daemon waits for the lock too, and does what else it is asked in the meantime.
#[test]
fn a_change_that_waits_keeps_nobody_waiting() {
    let hub = Hub::start(Setup::one());
    let lock = std::fs::File::open(hub.path("state")).expect("a folder");
    lock.lock().expect("free");
    let mut command = hub.command();
    command.args(["disable", "a"]).stderr(Stdio::null()).stdout(Stdio::null());
    let mut first = command.spawn().expect("runs");
    stays("it waits", Duration::from_millis(300), || first.try_wait().expect("a child of ours").is_none());
    hub.run(&["reload"]);
    assert!(first.try_wait().expect("a child of ours").is_none(), "it waits on");
    drop(lock);
    assert!(first.wait().expect("ends").success());
    assert_eq!(hub.server("a")["state"], "disabled");
}

/// What somebody made read-only is not written, with a daemon and without; what a kill left is removed.
#[test]
fn a_read_only_file_and_a_half_written_one() {
    let mut hub = Hub::prepare(Setup::one());
    let path = hub.config_path();
    let (before, half) = (text(&hub), path.with_file_name(".hub.toml.hub-new"));
    std::fs::set_permissions(&path, Permissions::from_mode(0o444)).expect("mode");
    let refused = |hub: &Hub, args: &[&str]| {
        let refused = hub.cli(args);
        assert_eq!(refused.code, 1, "{refused:?}");
        let said = format!("it is read-only; if hub may change it, run: chmod u+w {}", path.display());
        assert!(refused.stderr.contains(&said), "{refused:?}");
        assert_eq!((text(hub), mode(hub)), (before.clone(), 0o444));
    };
    refused(&hub, &["add", "b", "--", "true"]);
    refused(&hub, &["remove", "a"]);
    refused(&hub, &["disable", "a"]);
    hub.serve();
    refused(&hub, &["disable", "a"]);
    refused(&hub, &["add", "b", "--", "true"]);
    hub.wait_state("a", "ready");
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("mode");
    std::fs::write(&half, "half").expect("written");
    hub.run(&["disable", "a"]);
    assert!(!half.exists() && text(&hub).contains("enabled = false"));
    assert_eq!(mode(&hub), 0o644, "no secret came into it");
}

#[test]
fn a_link_stays_one() {
    let hub = Hub::prepare(Setup::of([Fake::new("a")]));
    let (path, real) = (hub.config_path(), hub.path("dotfiles.toml"));
    std::fs::rename(&path, &real).expect("moved");
    std::os::unix::fs::symlink(&real, &path).expect("a link");
    hub.run(&["add", "b", "--", "true"]);
    hub.run(&["disable", "b"]);
    assert!(path.is_symlink());
    assert!(std::fs::read_to_string(&real).expect("a file").contains("[servers.b]"));
    std::fs::remove_file(&real).expect("a file");
    let nowhere = hub.cli(&["add", "b", "--", "true"]);
    assert_eq!(nowhere.code, 1, "{nowhere:?}");
    assert!(nowhere.stderr.contains("it is a link that leads nowhere"), "{nowhere:?}");
    assert!(path.is_symlink() && !real.exists());
}

/// A server that comes back gets the port that clients know it by, and nobody else does.
#[test]
fn the_port_that_it_had() {
    let first = free_ports(8);
    let hub = Hub::start(Setup::of([Fake::new("a"), Fake::new("b")]).hub_key("first_port", &first.to_string()));
    let port = |name: &str| hub.server(name)["port"].as_u64();
    let had = port("b");
    assert!(had.is_some_and(|port| port > u64::from(first)), "{had:?}");
    let taken = hub.cli(&["add", "c", "--port", &had.unwrap_or_default().to_string(), "--", "true"]);
    assert!(taken.code == 1 && taken.stderr.contains("is that of `b`"), "{taken:?}");
    assert!(!text(&hub).contains("[servers.c]"));
    hub.run(&["remove", "b"]);
    let fake = fake_server().display().to_string();
    hub.run(&["add", "c", "--", &fake]);
    hub.run(&["add", "b", "--", &fake]);
    assert!(port("c").is_some() && port("c") != had, "{:?}", port("c"));
    assert_eq!(port("b"), had);
}

/// What is wrong can be removed; a file with another mistake stays as it is.
#[test]
fn the_server_that_is_wrong_can_be_removed() {
    let hub = Hub::prepare(Setup::of([Fake::new("a")]));
    let good = text(&hub);
    let one = format!("{good}\n[servers.bad]\ncomand = \"x\"\n");
    hub.write_config_text(&one);
    for args in [&["remove", "a"][..], &["disable", "a"], &["add", "b", "--", "true"]] {
        let refused = hub.cli(args);
        assert!(refused.code == 78 && refused.stderr.contains("unknown key `comand`"), "{refused:?}");
        assert_eq!(text(&hub), one);
    }
    hub.run(&["remove", "bad"]);
    assert_eq!(text(&hub), good);
    std::fs::remove_file(hub.config_path()).expect("a file");
    for verb in ["remove", "enable", "disable"] {
        let absent = hub.cli(&[verb, "a"]);
        assert!(absent.code == 78 && absent.stderr.contains("there is no config file"), "{absent:?}");
    }
    assert!(!hub.config_path().exists());
}

/// A file with a mistake is not changed by the daemon either.
#[test]
fn a_broken_file_and_a_running_hub() {
    let hub = Hub::start(Setup::one());
    let broken = format!("{}\n[servers.bad]\ncomand = \"x\"\n", text(&hub));
    hub.write_config_text(&broken);
    let refused = hub.cli(&["disable", "a"]);
    assert!(refused.code != 0 && refused.stderr.contains("unknown key `comand`"), "{refused:?}");
    assert_eq!(text(&hub), broken);
    assert_eq!(hub.server("a")["state"], "ready");
}

/// The daemon reads the file for all at once: each is told of what it did itself.
#[test]
fn many_at_once_to_a_running_hub() {
    let hub = Hub::start(Setup::one());
    let fake = fake_server().display().to_string();
    let start = |n: usize| {
        let mut command = hub.command();
        command.args(["add", &format!("s{n}"), "--", &fake]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("hub can be started")
    };
    let children: Vec<Child> = (0..4).map(start).collect();
    hub.run(&["disable", "a"]);
    for (n, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(said.contains(&format!("added s{n}\n")) && !said.contains("nothing changed"), "{said}");
    }
    assert_eq!(hub.server("a")["state"], "disabled");
}

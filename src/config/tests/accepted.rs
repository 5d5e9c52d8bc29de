//! What a hub.toml may say, and what comes of it.
//!
//! In: texts. Out: verdicts. Owns no state. May not: touch the real environment or files.

use std::path::Path;
use std::time::Duration;

use super::super::*;
use super::{good, spec};

#[test]
fn roots_can_be_those_of_the_client() {
    let config = good("[servers.s]\ncommand = \"x\"\nroots = \"client\"\n");
    assert_eq!(config.servers[0].spec.as_ref().expect("usable").roots, Roots::Client);
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = good("");
    assert_eq!(config, Config { hub: HubSpec::new(2), servers: Vec::new() });
    assert_eq!((config.hub.port, config.hub.first_port, config.hub.spawns_max), (18900, 18901, 2));
}

#[test]
fn a_server_needs_only_a_command() {
    let name = ServerName::new("s").expect("valid");
    assert_eq!(spec("command = \"npx\""), ServerSpec::new(name, "npx", "/home/me"));
}

const EVERY_KEY: &str = r#"
[hub]
host = "::1"
port = 0
first_port = 0
log = "warn,hub::server=debug"
body_max = "2MiB"
sessions_max = 7
session_expiry = "1d"
replay_ttl = "0s"
spawns_max = 3
allowed_hosts = ["Box.local"]
allowed_origins = ["HTTPS://box.local:8443"]
[servers.s]
command = "~/bin/run"
args = ["-t", "${TOKEN}"]
env = { A = "1", B = "${file:token}" }
env_file = ".env"
cwd = "~/${DIR}"
port = 4000
enabled = false
start = "lazy"
idle_stop = "30m"
share = "session"
restart = { initial = "1s", max = "1m" }
startup_timeout = "2m"
request_timeout = "5m"
tools = { allow = ["get_*"], deny = ["get_secret"] }
roots = ["file:///a", "file://${HOME}/b"]
concurrency = "serial"
era = "legacy"
probe_timeout = "3s"
park_timeout = "1h"
"#;

#[test]
fn every_key_is_read() {
    let config = good(EVERY_KEY);
    let hub = HubSpec {
        host: "::1".parse().expect("address"),
        port: 0,
        first_port: 0,
        log: "warn,hub::server=debug".to_owned(),
        body_bytes_max: 2 << 20,
        sessions_max: 7,
        session_expiry: Duration::from_hours(24),
        replay_ttl: Duration::ZERO,
        spawns_max: 3,
        allowed_hosts: vec!["box.local".to_owned()],
        allowed_origins: vec!["https://box.local:8443".to_owned()],
    };
    assert_eq!(config.hub, hub);
    let entry = &config.servers[0];
    assert_eq!((entry.port, entry.enabled), (Some(4000), false));
    let env = [("A", "1"), ("B", "file-secret"), ("ONLY_FILE", "x y"), ("TOKEN", "from-file")];
    let expected = ServerSpec {
        args: vec!["-t".to_owned(), "from-file".to_owned()],
        env: env.map(|(k, v)| (k.to_owned(), Secret::new(v))).into(),
        port: Some(4000),
        enabled: false,
        start: Start::Lazy,
        idle_stop: Some(Duration::from_mins(30)),
        share: Share::Session,
        restart: RestartPolicy { initial: Duration::from_secs(1), max: Duration::from_mins(1) },
        startup_timeout: Duration::from_mins(2),
        request_timeout: Some(Duration::from_mins(5)),
        tools: ToolFilter::new(vec!["get_*".to_owned()], vec!["get_secret".to_owned()]),
        roots: Roots::Own(vec!["file:///a".to_owned(), "file:///home/me/b".to_owned()]),
        concurrency: Concurrency::Serial,
        era: EraChoice::Legacy,
        probe_timeout: Duration::from_secs(3),
        park_timeout: Duration::from_hours(1),
        ..ServerSpec::new(entry.name.clone(), "/home/me/bin/run", "/home/me/work")
    };
    assert_eq!(**entry.spec.as_ref().expect("usable"), expected);
}

#[test]
fn every_toml_spelling_of_a_table_is_the_same() {
    let header = good("[servers.s]\ncommand = \"x\"\n[servers.s.tools]\ndeny = [\"a\"]\n[servers.s.env]\nA = \"1\"\n");
    let inline = good("servers = { s = { command = \"x\", tools = { deny = [\"a\"] }, env = { A = \"1\" } } }\n");
    let dotted = good("servers.s.command = \"x\"\nservers.s.tools.deny = [\"a\"]\nservers.s.env.A = \"1\"\n");
    assert_eq!(header, inline);
    assert_eq!(header, dotted);
}

#[test]
fn servers_keep_the_order_of_the_file() {
    let config = good("[servers.b]\ncommand=\"x\"\n[servers.a]\ncommand=\"x\"\n[servers.c]\ncommand=\"x\"\n");
    let names: Vec<_> = config.servers.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["b", "a", "c"]);
}

#[test]
fn defaults_fill_what_a_server_leaves_out() {
    let text = r#"
[defaults]
cwd = "/d"
env = { A = "default", B = "default" }
idle_stop = "30m"
request_timeout = "5m"
restart = { max = "1m" }
tools = { deny = ["delete_*"] }
start = "lazy"
era = "legacy"
park_timeout = "1m"
[servers.plain]
command = "x"
[servers.own]
command = "x"
cwd = "/o"
env = { B = "own" }
idle_stop = "never"
restart = { initial = "2s" }
tools = { allow = ["get_*"] }
start = "eager"
era = "modern"
"#;
    let config = good(text);
    let of = |at: usize| config.servers[at].spec.as_ref().expect("usable");
    let (plain, own) = (of(0), of(1));
    assert_eq!((plain.cwd.as_path(), plain.start), (Path::new("/d"), Start::Lazy));
    assert_eq!(plain.idle_stop, Some(Duration::from_mins(30)));
    assert!(!plain.tools.admits("delete_x") && plain.tools.admits("put"));
    assert_eq!((own.cwd.as_path(), own.start), (Path::new("/o"), Start::Eager));
    assert_eq!((own.idle_stop, own.request_timeout), (None, Some(Duration::from_mins(5))));
    assert_eq!(own.restart, RestartPolicy { initial: Duration::from_secs(2), max: Duration::from_mins(1) });
    assert!(!own.tools.admits("delete_x") && !own.tools.admits("put") && own.tools.admits("get_x"));
    assert_eq!((plain.era, own.era), (EraChoice::Legacy, EraChoice::Modern));
    assert_eq!((plain.park_timeout, own.park_timeout), (Duration::from_mins(1), Duration::from_mins(1)));
    let env: Vec<_> = own.env.iter().map(|(k, v)| (k.as_str(), v.expose())).collect();
    assert_eq!(env, [("A", "default"), ("B", "own")]);
}

#[test]
fn paths_of_a_program() {
    assert_eq!(spec("command = \"npx\"\ncwd = \"/c\"").command, "npx");
    assert_eq!(spec("command = \"./run\"\ncwd = \"/c\"").command, "/c/./run");
    assert_eq!(spec("command = \"bin/run\"\ncwd = \"sub\"").command, "/conf/sub/bin/run");
    assert_eq!(spec("command = \"/bin/run\"").command, "/bin/run");
}

#[test]
fn a_bound_that_nobody_wrote_gives_way() {
    let probe = |text: &str| spec(&format!("command = \"x\"\n{text}")).probe_timeout;
    assert_eq!(probe(""), Duration::from_secs(10));
    assert_eq!(probe("startup_timeout = \"8s\""), Duration::from_secs(4));
    assert_eq!(probe("probe_timeout = \"50s\""), Duration::from_secs(50));
    assert_eq!(probe("probe_timeout = \"2m\"\nera = \"modern\""), Duration::from_mins(2), "there is no probe");
    let restart = |text: &str| spec(&format!("command = \"x\"\nrestart = {text}")).restart;
    let policy =
        |initial, max| RestartPolicy { initial: Duration::from_millis(initial), max: Duration::from_millis(max) };
    assert_eq!(restart("{}"), policy(500, 30_000));
    assert_eq!(restart("{ initial = \"1m\" }"), policy(60_000, 60_000));
    assert_eq!(restart("{ max = \"100ms\" }"), policy(100, 100));
}

//! Tests of reading a whole hub.toml: what is accepted, and the exact words of what is not.
//!
//! In: texts. Out: verdicts. Owns no state. May not: touch the real environment or files.

use std::io;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const EXAMPLE: &str = include_str!("../../hub.toml.example");

fn vars(name: &str) -> Option<String> {
    match name {
        "HOME" => Some("/home/me".to_owned()),
        "TOKEN" => Some("hunter2".to_owned()),
        "DIR" => Some("work".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn read(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/conf/token") => Ok("file-secret\n".to_owned()),
        Some("/conf/.env") => Ok("TOKEN=from-file\nONLY_FILE='x y'\n".to_owned()),
        Some("/conf/bad.env") => Ok("A=1\nhunter2\nB='open\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn is_dir(path: &Path) -> bool {
    !path.to_string_lossy().contains("none")
}

fn check(text: &str) -> Loaded {
    let (path, home) = (Path::new("/conf/hub.toml"), Path::new("/home/me"));
    load(text, &Context { path, home, cores: 2, vars: &vars, read: &read, is_dir: &is_dir })
}

fn said(loaded: &Loaded) -> Vec<String> {
    loaded.problems.iter().map(Problem::to_string).collect()
}

#[track_caller]
fn good(text: &str) -> Config {
    let loaded = check(text);
    assert_eq!(said(&loaded), [""; 0]);
    assert!(!loaded.refuses_reload());
    loaded.config.expect("without problems there is a config")
}

#[track_caller]
fn spec(text: &str) -> ServerSpec {
    let config = good(&format!("[servers.s]\n{text}"));
    ServerSpec::clone(config.servers[0].spec.as_ref().expect("usable"))
}

/// The problems of a text, without `hub.toml:` before each.
#[track_caller]
fn bad(text: &str) -> Vec<String> {
    let loaded = check(text);
    assert!(!loaded.problems.is_empty(), "accepted");
    let strip = |line: String| line.strip_prefix("hub.toml").expect("names the file").to_owned();
    said(&loaded).into_iter().map(strip).collect()
}

// === what is accepted ===

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

#[test]
fn every_key_is_read() {
    let text = r#"
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
"#;
    let config = good(text);
    let hub = HubSpec {
        host: "::1".parse().expect("address"),
        port: 0,
        first_port: 0,
        log: "warn,hub::server=debug".to_owned(),
        body_bytes_max: 2 << 20,
        sessions_max: 7,
        session_expiry: Duration::from_secs(86_400),
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
        idle_stop: Some(Duration::from_secs(1800)),
        share: Share::Session,
        restart: RestartPolicy { initial: Duration::from_secs(1), max: Duration::from_secs(60) },
        startup_timeout: Duration::from_secs(120),
        request_timeout: Some(Duration::from_secs(300)),
        tools: ToolFilter::new(vec!["get_*".to_owned()], vec!["get_secret".to_owned()]),
        roots: vec!["file:///a".to_owned(), "file:///home/me/b".to_owned()],
        concurrency: Concurrency::Serial,
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
"#;
    let config = good(text);
    let of = |at: usize| config.servers[at].spec.as_ref().expect("usable");
    let (plain, own) = (of(0), of(1));
    assert_eq!((plain.cwd.as_path(), plain.start), (Path::new("/d"), Start::Lazy));
    assert_eq!(plain.idle_stop, Some(Duration::from_secs(1800)));
    assert!(!plain.tools.admits("delete_x") && plain.tools.admits("put"));
    assert_eq!((own.cwd.as_path(), own.start), (Path::new("/o"), Start::Eager));
    assert_eq!((own.idle_stop, own.request_timeout), (None, Some(Duration::from_secs(300))));
    assert_eq!(own.restart, RestartPolicy { initial: Duration::from_secs(2), max: Duration::from_secs(60) });
    assert!(!own.tools.admits("delete_x") && !own.tools.admits("put") && own.tools.admits("get_x"));
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
    let restart = |text: &str| spec(&format!("command = \"x\"\nrestart = {text}")).restart;
    let policy =
        |initial, max| RestartPolicy { initial: Duration::from_millis(initial), max: Duration::from_millis(max) };
    assert_eq!(restart("{}"), policy(500, 30_000));
    assert_eq!(restart("{ initial = \"1m\" }"), policy(60_000, 60_000));
    assert_eq!(restart("{ max = \"100ms\" }"), policy(100, 100));
}

// === what is refused, in words ===

#[test]
fn all_problems_come_at_once_each_with_its_line() {
    let text = r#"[hub]
host = "0.0.0.0"
prot = 1
[servers.github]
comand = "npx"
args = "-y"
port = 18900
[servers.two]
command = "x"
port = 70000
start = "eagre"
env = { N = 1, OK = "y" }
tools = { alow = [] }
[servers.three]
[servers."a b"]
command = "x"
cwd = 1
"#;
    assert_eq!(
        bad(text),
        [
            ":2: `hub.host` must be a loopback address: clients do not authenticate yet, and whoever reaches hub runs its tools; write \"127.0.0.1\"",
            ":3: unknown key `hub.prot`; did you mean `port`?",
            ":5: servers.github: unknown key `comand`; did you mean `command`?",
            ":6: servers.github: `args` must be a list of strings, not a string; put it in brackets",
            ":7: servers.github: `port` 18900 is already that of [hub]; choose another one, or leave `port` out to get a free one",
            ":10: servers.two: `port` must be from 1 to 65535, not 70000",
            ":11: servers.two: `start` must be \"eager\" or \"lazy\"; did you mean \"eager\"?",
            ":12: servers.two: `env.N` must be a string, not an integer; put it in quotes",
            ":13: servers.two: unknown key `tools.alow`; did you mean `allow`?",
            ":14: servers.three: `command` is missing",
            ":15: servers.\"a b\": a server name has only letters, digits, `_` and `-`; write [servers.a-b]",
            ":17: `servers.a b.cwd` must be a string, not an integer",
        ]
    );
    assert_eq!(check(text).config, None, "[hub] is wrong");
}

#[test]
fn syntax_and_schema_come_together() {
    let text = "[servers.s]\ncommand = npx\ncommand = \"x\"\nargs = []\nargs = []\nport = \"1\"\n";
    assert_eq!(
        bad(text),
        [
            ":2: this is not a TOML value; put text in quotes",
            ":5: duplicate key `args`",
            ":6: servers.s: `port` must be a whole number, not a string; leave the quotes out",
        ]
    );
    let loaded = check(text);
    assert_eq!(loaded.config, None);
    assert_eq!(loaded.problems[0].kind, Kind::Syntax);
    assert!(loaded.refuses_reload());
}

#[test]
fn a_lost_line_is_not_missed_twice() {
    assert_eq!(bad("[servers.s]\ncommand = npx\n"), [":2: this is not a TOML value; put text in quotes"]);
}

#[test]
fn what_is_not_built_yet_is_refused_and_says_so() {
    let line = |key: &str| bad(&format!("[servers.s]\ncommand = \"x\"\n{key}\n")).join("\n");
    for word in ["auto", "workspace"] {
        assert_eq!(
            line(&format!("share = \"{word}\"")),
            format!(":3: servers.s: `share` cannot be \"{word}\"; not available yet, use \"shared\" or \"session\"")
        );
    }
    assert_eq!(
        line("memory_max = \"2GiB\""),
        ":3: servers.s: unknown key `memory_max`; not available yet, leave it out"
    );
    assert_eq!(
        line("url = \"https://x?key=hunter2\""),
        ":3: servers.s: unknown key `url`; hub runs servers that speak over stdio; remote ones are not available yet"
    );
    assert_eq!(
        bad("[defaults]\nmemory_max = \"2GiB\"\nshare = \"auto\"\n"),
        [
            ":2: unknown key `defaults.memory_max`; not available yet, leave it out",
            ":3: `defaults.share` cannot be \"auto\"; not available yet, use \"shared\" or \"session\"",
        ]
    );
}

#[test]
fn keys_of_one_server_are_no_defaults() {
    let hint = "it belongs to one server: [servers.NAME]";
    assert_eq!(
        bad("[defaults]\ncommand = \"x\"\nargs = []\nport = 1\n"),
        [
            format!(":2: unknown key `defaults.command`; {hint}"),
            format!(":3: unknown key `defaults.args`; {hint}"),
            format!(":4: unknown key `defaults.port`; {hint}"),
        ]
    );
}

#[test]
fn values_out_of_their_bounds() {
    let hub = |key: &str| bad(&format!("[hub]\n{key}\n")).join("\n");
    assert_eq!(hub("port = -1"), ":2: `hub.port` must be from 0 to 65535, not -1");
    assert_eq!(hub("host = \"example.com\""), ":2: `hub.host` is not an IP address; write \"127.0.0.1\"");
    assert_eq!(hub("sessions_max = 0"), ":2: `hub.sessions_max` must be from 1 to 1000000, not 0");
    assert_eq!(hub("spawns_max = 0"), ":2: `hub.spawns_max` must be from 1 to 1024, not 0");
    assert_eq!(hub("body_max = \"2GiB\""), ":2: `hub.body_max` must be from 1024 to 1073741824 bytes");
    assert_eq!(hub("body_max = 1"), ":2: `hub.body_max` must be from 1024 to 1073741824, not 1");
    assert_eq!(
        hub("body_max = \"64M\""),
        ":2: `hub.body_max` is not a size; write a number with its unit, such as \"512KiB\", \"64MiB\" or \"2GiB\""
    );
    assert_eq!(hub("session_expiry = \"0s\""), ":2: `hub.session_expiry` must be longer than nothing");
    assert_eq!(hub("session_expiry = \"9years\""), ":2: `hub.session_expiry` is longer than 366 days");
    assert_eq!(
        hub("session_expiry = 60"),
        ":2: `hub.session_expiry` must be a string, not an integer; write it with its unit, such as \"30s\""
    );
    assert_eq!(
        hub("replay_ttl = \"soon\""),
        ":2: `hub.replay_ttl` is not a duration; write a number with its unit, such as \"500ms\", \"30s\", \"5m\" or \"7d\""
    );
    for filter in ["infoo", "", "info,debugg", "hub=loud"] {
        assert!(
            hub(&format!("log = \"{filter}\"")).starts_with(":2: `hub.log` is not a log filter; write a level"),
            "{filter}"
        );
    }
    assert_eq!(
        hub("allowed_origins = [\"*\"]"),
        ":2: `hub.allowed_origins` holds an entry that cannot match; a wildcard would let any page call your tools: name each origin"
    );
}

#[test]
fn values_of_a_server_out_of_their_bounds() {
    let server = |key: &str| bad(&format!("[servers.s]\ncommand = \"x\"\n{key}\n")).join("\n");
    assert_eq!(server("port = 0"), ":3: servers.s: `port` must be from 1 to 65535, not 0");
    assert_eq!(
        server("restart = { initial = \"2s\", max = \"1s\" }"),
        ":3: servers.s: `restart.max` is shorter than `restart.initial`"
    );
    assert_eq!(
        server("enabled = \"true\""),
        ":3: servers.s: `enabled` must be true or false, not a string; leave the quotes out"
    );
    assert_eq!(server("cwd = \"\""), ":3: servers.s: `cwd` must not be empty");
    assert_eq!(
        server("cwd = \"~root\""),
        ":3: servers.s: `cwd` cannot be read: `~user` is not supported; write `~/…` or the whole path"
    );
    assert_eq!(
        server("args = [\n\"a\",\n1]"),
        ":5: servers.s: `args` must be a list of strings, not an integer; put it in quotes"
    );
    assert_eq!(
        server("args = [\n\"a\",\n\"${TOKEN\"]"),
        ":5: servers.s: `args` cannot be read: `${` without its `}`; write `$${` for a literal `${`"
    );
    assert_eq!(server("roots = [\"/a\"]"), ":3: servers.s: `roots` must hold file URIs; write \"file:///path\"");
    assert_eq!(server("env = { \"A=B\" = \"x\" }"), ":3: servers.s: `env.A=B` is not a name of a variable");
    assert_eq!(server("tools = [\"*\"]"), ":3: servers.s: `tools` must be a table, not an array");
    assert_eq!(
        server("tools = { deny = [\"\"] }"),
        ":3: servers.s: `tools.deny` holds an empty pattern; write \"*\" for every tool"
    );
    assert_eq!(server("restart = { x = 1 }"), ":3: servers.s: unknown key `restart.x`; known here: `initial`, `max`");
}

#[test]
fn tables_in_the_wrong_place() {
    assert_eq!(bad("[server.s]\ncommand = \"x\"\n"), [":1: unknown key `server`; did you mean `servers`?"]);
    assert_eq!(bad("[github]\ncommand = \"x\"\n"), [":1: unknown key `github`; write [servers.github]"]);
    assert_eq!(
        bad("[mcpServers.s]\ncommand = \"x\"\n"),
        [":1: unknown key `mcpServers`; write each server as [servers.NAME]"]
    );
    assert_eq!(bad("[[servers]]\ncommand = \"x\"\n"), [":1: `servers` must be a table, not an array of tables"]);
    assert_eq!(bad("hub = 1\n"), [":1: `hub` must be a table, not an integer"]);
    assert_eq!(
        bad("[servers]\ncommand = \"x\"\n"),
        [":2: servers.command: a server must be a table, not string; write [servers.command] above its keys"]
    );
}

// === one bad server ===

#[test]
fn a_bad_server_leaves_the_others_alone() {
    let text = r#"
[servers.good]
command = "x"
port = 4000
[servers.typo]
command = "x"
enviroment = {}
port = 4001
[servers.twin]
command = "x"
port = 4000
[servers.GOOD]
command = "x"
[servers."no name"]
command = "x"
[servers.three]
"#;
    let loaded = check(text);
    assert!(loaded.refuses_reload());
    let config = loaded.config.expect("others run");
    let states: Vec<_> = config.servers.iter().map(|e| (e.name.as_str(), e.port, e.spec.is_ok())).collect();
    assert_eq!(
        states,
        [
            ("good", Some(4000), true),
            ("typo", Some(4001), false),
            ("twin", None, false),
            ("GOOD", None, false),
            ("three", None, false),
        ]
    );
    let own = config.server("typo").expect("there").spec.as_ref().expect_err("failed");
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].to_string(), "hub.toml:7: servers.typo: unknown key `enviroment`");
    let twin = config.server("twin").expect("there").spec.as_ref().expect_err("failed");
    assert!(twin[0].what.contains("`port` 4000 is already that of servers.good"), "{}", twin[0]);
    let case = config.server("GOOD").expect("there").spec.as_ref().expect_err("failed");
    assert!(case[0].what.contains("differs from servers.good only in case"), "{}", case[0]);
}

#[test]
fn what_a_server_lacks_fails_it_alone_and_is_no_fault_of_the_text() {
    let text = r#"
[servers.good]
command = "x"
[servers.lacks]
command = "${NOPE}"
args = ["${file:nope}", "${ALSO}"]
env = { A = "${TOKEN}${GONE}" }
cwd = "~/none"
[servers.files]
command = "x"
env_file = "nope.env"
args = ["${FROM_THERE}"]
[servers.lines]
command = "x"
env_file = "bad.env"
"#;
    let hint = |name| format!("set it where hub starts, put it into an `env_file`, or write ${{{name}:-default}}");
    assert_eq!(
        bad(text),
        [
            format!(":5: servers.lacks: `command`: variable NOPE is not set; {}", hint("NOPE")),
            ":6: servers.lacks: `args`: file /conf/nope cannot be read: entity not found".to_owned(),
            format!(":6: servers.lacks: `args`: variable ALSO is not set; {}", hint("ALSO")),
            format!(":7: servers.lacks: `env.A`: variable GONE is not set; {}", hint("GONE")),
            ":8: servers.lacks: `cwd`: folder /home/me/none does not exist".to_owned(),
            ":11: servers.files: `env_file`: /conf/nope.env cannot be read: entity not found".to_owned(),
            ":15: servers.lines: `env_file`: /conf/bad.env:2: expected KEY=VALUE".to_owned(),
            ":15: servers.lines: `env_file`: /conf/bad.env:3: this quote is never closed".to_owned(),
        ]
    );
    let loaded = check(text);
    assert!(!loaded.refuses_reload());
    assert!(loaded.problems.iter().all(|problem| problem.kind == Kind::Environment));
    let config = loaded.config.expect("others run");
    let usable: Vec<_> = config.servers.iter().map(|entry| entry.spec.is_ok()).collect();
    assert_eq!(usable, [true, false, false, false]);
}

#[test]
fn what_is_empty_or_no_uri_once_expanded_is_said() {
    assert_eq!(
        bad("[servers.s]\ncommand = \"${EMPTY}\"\nroots = [\"file://${DIR}\"]\n"),
        [
            ":2: servers.s: `command`: is empty once expanded",
            ":3: servers.s: `roots`: is not a file URI once expanded; a root is \"file:///path\"",
        ]
    );
}

#[test]
fn a_disabled_server_may_lack_anything_but_not_be_wrong() {
    let config = good("[servers.s]\ncommand = \"${NOPE}\"\nenabled = false\n");
    let entry = &config.servers[0];
    assert!(!entry.enabled);
    assert_eq!(entry.spec.as_ref().expect_err("not usable").len(), 1);
    assert_eq!(bad("[servers.s]\ncommand = \"${NOPE}\"\nenabled = false\nx = 1\n"), [":4: servers.s: unknown key `x`"]);
}

#[test]
fn a_default_that_one_server_cannot_use_fails_those_that_use_it() {
    let text = "[defaults]\nenv = { A = \"${NOPE}\" }\n[servers.a]\ncommand = \"x\"\n[servers.b]\ncommand = \"x\"\nenv = { A = \"1\" }\n";
    assert_eq!(bad(text).len(), 1);
    assert!(bad(text)[0].starts_with(":2: servers.a: `env.A`: variable NOPE is not set"));
}

#[test]
fn no_secret_is_in_any_message() {
    let text = r#"
[hub]
log = "hunter2"
host = "hunter2"
[servers.s]
command = "x"
args = ["${TOKEN}", "${TOKEN}${NOPE}", "hunter2${"]
env = { A = "${TOKEN}${NOPE}", B = "hunter2${" , C = ["hunter2"] }
start = "hunter2"
startup_timeout = "hunter2"
port = "hunter2"
env_file = "bad.env"
roots = ["hunter2"]
[servers.t]
command = hunter2
args = ["hunter2
"#;
    for text in [text.to_owned(), text.split("[servers.t]").next().expect("first half").to_owned()] {
        let loaded = check(&text);
        assert!(!loaded.problems.is_empty());
        let all = format!("{:?}", loaded) + &said(&loaded).join("\n");
        assert!(!all.contains("hunter2"), "{all}");
    }
}

// === the example ===

#[test]
fn the_example_has_no_problems() {
    let config = good(EXAMPLE);
    let names: Vec<_> = config.servers.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["everything", "memory", "filesystem"]);
    for entry in &config.servers {
        let spec = entry.spec.as_ref().expect("usable");
        assert_eq!((spec.command.as_str(), spec.args[0].as_str()), ("npx", "-y"));
        assert!(spec.args[1].starts_with("@modelcontextprotocol/server-"), "{:?}", spec.args);
    }
    assert_eq!(config.hub, HubSpec::new(2));
}

/// Every commented key is a key, and its value is the default it claims to be.
#[test]
fn the_example_tells_the_truth_about_defaults() {
    let mut keys = Vec::new();
    let mut server = String::new();
    let mut lines = Vec::new();
    for line in EXAMPLE.lines() {
        if line.starts_with('[') {
            server = line.split(']').next().unwrap_or_default().trim_start_matches('[').to_owned();
        }
        let written = line.strip_prefix("# ").and_then(|rest| rest.split_once(" = ").map(|(key, _)| (key, rest)));
        let is_key = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        match written.filter(|(key, _)| is_key(key)) {
            // No value of these two says "default", and what is advised for one server is none either.
            Some(("env_file" | "port", _)) if server == "servers.everything" => lines.push(line),
            Some(("env", _)) if server == "servers.memory" => lines.push(line),
            Some((key, rest)) => {
                keys.push(format!("{server}.{key}"));
                lines.push(rest);
            }
            None => lines.push(line),
        }
    }
    assert_eq!(good(&lines.join("\n")), good(EXAMPLE));
    let hub = "host port first_port log body_max sessions_max session_expiry replay_ttl spawns_max allowed_hosts allowed_origins";
    let of_server = "env cwd enabled start idle_stop share restart request_timeout tools roots concurrency";
    let hub = hub.split(' ').map(|key| format!("hub.{key}"));
    let of_server = of_server.split(' ').map(|key| format!("servers.everything.{key}"));
    assert_eq!(keys, hub.chain(of_server).collect::<Vec<_>>(), "every key is shown");
}

// === anything at all ===

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_gets_a_verdict(text in "\\PC{0,120}") {
        verdict(&text)?;
    }

    #[test]
    fn any_toml_like_text_gets_a_verdict(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "[hub]\n", "[servers.s]\n", "[servers.s.env]\n", "[defaults]\n", "[servers]\n", "[[servers]]\n", "s = ",
                "command", "args", "env", "port", "tools", "cwd", "share", " = ", "\"", "'", "\"\"\"", "{", "}", "[", "]",
                ",", ".", "\n", "${A}", "${", "~", "1", "-1", "true", "1979-05-27", "\"x\"\n", "# c\n", "\u{0}", "é",
            ]),
            0..40,
        )
    ) {
        verdict(&parts.concat())?;
    }

    #[test]
    fn a_damaged_example_gets_a_verdict(at in 0..EXAMPLE.len(), length in 0usize..40, put in "[\\[\\]{}\"'=.\n$a1]{0,3}") {
        let mut text = EXAMPLE.to_owned();
        let (start, end) = (text.floor_char_boundary(at), text.floor_char_boundary((at + length).min(text.len())));
        text.replace_range(start..end, &put);
        verdict(&text)?;
    }
}

fn verdict(text: &str) -> Result<(), TestCaseError> {
    let loaded = check(text);
    prop_assert!(loaded.config.is_some() || !loaded.problems.is_empty());
    let lines = 1 + text.matches('\n').count();
    prop_assert!(loaded.problems.iter().all(|problem| problem.line <= lines));
    prop_assert!(loaded.problems.is_sorted_by_key(|problem| problem.line));
    for entry in loaded.config.iter().flat_map(|config| &config.servers) {
        let own = loaded.problems.iter().filter(|problem| problem.server.as_ref() == Some(&entry.name)).count();
        prop_assert!(own == 0 || entry.spec.is_err());
        prop_assert!(entry.spec.is_err() || entry.spec.as_ref().is_ok_and(|spec| !spec.command.is_empty()));
    }
    prop_assert_eq!(loaded, check(text), "the same text, the same verdict");
    Ok(())
}

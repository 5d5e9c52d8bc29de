//! The command line: exit codes, clean output, every verb of issue 2 (DESIGN 3.4).
//!
//! In: verbs. Out: exit code, stdout, stderr. Owns nothing. May not: depend on the width of a terminal.

use crate::support::{Fake, Hub, Setup, Value, eventually, json, skipped};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn usage_errors_are_2() {
    let hub = Hub::prepare(Setup::one());
    for args in [&["nonsense"][..], &["status", "--nonsense"], &["call"], &["restart"], &["logs", "-n", "many", "a"]] {
        let output = hub.cli(args);
        assert_eq!(output.code, 2, "{args:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{output:?}");
    }
    for args in [&["--help"][..], &["help"], &["serve", "--help"], &["status", "--help"]] {
        let output = hub.cli(args);
        assert_eq!(output.code, 0, "{args:?}");
        assert!(output.stdout.contains("Usage"), "{output:?}");
    }
    let version = hub.cli(&["--version"]);
    assert_eq!((version.code, version.stdout.trim().starts_with("hub ")), (0, true), "{version:?}");
    let help = hub.cli(&["--help"]).stdout;
    for verb in ["serve", "status", "check", "tools", "call", "logs", "restart", "enable", "disable", "reload", "down"]
    {
        assert!(help.contains(verb), "{verb} is not in\n{help}");
    }
}

#[test]
fn no_daemon_is_69() {
    let hub = Hub::prepare(Setup::one());
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["tools"],
        &["call", "a", "echo"],
        &["restart", "a"],
        &["reload"],
        &["down"],
    ] {
        let output = hub.cli(args);
        assert_eq!(output.code, 69, "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert!(output.stderr.contains("not running"), "{output:?}");
    }
}

#[test]
fn bad_config_is_78() {
    let hub = Hub::prepare(Setup::one());
    let bad = "[hub]\nprot = 1\n\n[servers.a]\ncomand = \"x\"\n\n[servers.b]\ncommand = \"x\"\nshare = \"auto\"\nmemory_max = \"2GiB\"\n";
    hub.write_config_text(bad);
    let check = hub.cli(&["check"]);
    assert_eq!(check.code, 78, "{check:?}");
    let said = format!("{}{}", check.stdout, check.stderr);
    for part in ["prot", "port", "comand", "command", "auto", "memory_max", "2", "5", "9", "10"] {
        assert!(said.contains(part), "all problems at once, each with its line and a hint: {part:?} is not in\n{said}");
    }
    let path = hub.config_path().display().to_string();
    assert_eq!(hub.cli(&["check", &path]).code, 78);
    hub.write_config();
    assert_eq!(hub.cli(&["check"]).code, 0);
    let missing = hub.cli(&["check", "/no/such/hub.toml"]);
    assert_eq!(missing.code, 78, "{missing:?}");
    assert!(missing.stderr.contains("mkdir -p /no/such && printf"), "{missing:?}");
    let in_root = hub.cli(&["check", "/no-such-hub.toml"]);
    assert_eq!(in_root.code, 78, "{in_root:?}");
    assert!(in_root.stderr.contains("> /no-such-hub.toml") && !in_root.stderr.contains("mkdir"), "{in_root:?}");
    hub.write_config_text("[hub\n");
    let serve = hub.cli(&["serve"]);
    assert_eq!(serve.code, 78, "{serve:?}");
    assert!(!serve.stdout.contains("ready"));
}

/// One bad server is that server's `failed`, never the daemon's (DESIGN 3.2).
#[test]
fn one_bad_server() {
    let bad = Fake::new("bad").key("env", "{ TOKEN = \"${NO_SUCH_VARIABLE_AT_ALL}\" }");
    let hub = Hub::start(Setup::of([bad, Fake::new("a")]).impatient());
    hub.wait_state("a", "ready");
    hub.session("a").echo("runs");
    let failed = hub.wait_state("bad", "failed");
    assert!(failed["last_failure"].to_string().contains("NO_SUCH_VARIABLE_AT_ALL"), "{failed}");
}

#[test]
fn variables_reach_the_child_and_nobody_else() {
    let mut setup = Setup::one().env("FROM_HUB", "s3cret-value");
    let fake = Fake::new("a").key("env", "{ TOKEN = \"${FROM_HUB}\", PLAIN = \"${UNSET_X:-fallback}\" }");
    *setup.server("a") = fake.key("env_file", "\"side.env\"");
    let mut hub = Hub::prepare(setup);
    std::fs::write(hub.path("config/side.env"), "# comment\nSIDE=\"from file\"\n").expect("a file");
    hub.serve();
    let session = hub.session("a");
    for (name, value) in [("TOKEN", "s3cret-value"), ("PLAIN", "fallback"), ("SIDE", "from file")] {
        assert_eq!(session.call("env", &json!({"name": name})).text(), value);
    }
    let home = session.call("whoami", &json!({})).text();
    let me: Value = serde_json::from_str(&home).expect("JSON");
    assert_eq!(me["cwd"], hub.path("home").display().to_string(), "cwd is home by default");
    for shown in
        [hub.run(&["status", "--json"]).stdout, hub.run(&["status"]).stdout, hub.log(), hub.run(&["tools"]).stdout]
    {
        assert!(!shown.contains("s3cret-value"), "{shown}");
    }
}

#[test]
fn listings_are_one_json_document() {
    let hub = Hub::start(Setup::of([Fake::new("a"), Fake::new("b")]));
    for args in [&["status", "--json"][..], &["tools", "--json"], &["tools", "a", "--json"]] {
        let output = hub.run(args);
        output.json();
        assert!(!output.stdout.contains('\u{1b}'), "no colours: {output:?}");
    }
    let table = hub.run(&["status"]).stdout;
    assert!(!table.contains('\u{1b}'), "not a terminal, so no colours");
    for part in ["a", "b", "ready"] {
        assert!(table.contains(part), "{table}");
    }
    let tools = hub.run(&["tools", "a"]).stdout;
    assert!(tools.contains("echo") && tools.contains("sleep"), "{tools}");
    assert_ne!(hub.cli(&["tools", "nobody"]).code, 0);
}

#[test]
fn call() {
    let hub = Hub::start(Setup::one());
    let output = hub.run(&["call", "a", "echo", r#"{"v": "by JSON"}"#]);
    assert!(output.stdout.contains("by JSON"), "{output:?}");
    let output = hub.run(&["call", "a", "echo", "v=by key"]);
    assert!(output.stdout.contains("by key"), "{output:?}");
    let failed = hub.cli(&["call", "a", "no_such_tool"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("no_such_tool"), "{failed:?}");
    assert_eq!(hub.cli(&["call", "nobody", "echo"]).code, 1);
    assert_eq!(hub.cli(&["call", "a", "echo", "{broken"]).code, 2);
    for (wrong, said) in [(&["=1"][..], "names no argument"), (&["v=1", "v=2"], "`v` is given twice")] {
        let output = hub.cli(&[&["call", "a", "echo"], wrong].concat());
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains(said) && output.stderr.contains("hint: "), "{output:?}");
    }
}

/// A modern server is called as any other; what only a person could answer is said to be so.
#[test]
fn call_of_a_modern_server() {
    let hub = Hub::start(Setup::of([Fake::new("a").arg("--profile", "M")]));
    let output = hub.run(&["call", "a", "echo", "v=hello"]);
    assert!(output.stdout.contains("hello") && output.stderr.is_empty(), "{output:?}");
    assert!(hub.run(&["tools", "a"]).stdout.contains("2026-07-28 modern"));
    assert!(hub.run(&["status"]).stdout.contains("2026-07-28 modern"));
    let document: Value = serde_json::from_str(&hub.run(&["tools", "a", "--json"]).stdout).expect("JSON");
    assert_eq!(document["servers"][0]["era"], "modern");
    assert!(hub.run(&["call", "a", "state_only", "k=2"]).stdout.contains("after 2 rounds"), "it is polled");
    let asks = hub.cli(&["call", "a", "elicit"]);
    assert_eq!(asks.code, 1, "{asks:?}");
    assert!(asks.stderr.contains("hint: ") && asks.stderr.contains("a client that can ask you"), "{asks:?}");
}

/// Who connects to the control socket and says nothing makes room for those who do.
#[test]
fn idle_control_connections() {
    let hub = Hub::start(Setup::one());
    let path = hub.path("state/hub.sock");
    let connect = |_| std::os::unix::net::UnixStream::connect(&path).expect("connects");
    let idle: Vec<_> = (0..400).map(connect).collect();
    let start = std::time::Instant::now();
    hub.run(&["status"]);
    hub.run(&["call", "a", "echo", "v=still here"]);
    assert!(start.elapsed() < std::time::Duration::from_secs(8), "{:?}", start.elapsed());
    drop(idle);
    hub.run(&["status"]);
}

/// What a server says may come from anywhere: no terminal obeys it. `--json` stays as it was said.
#[test]
fn escapes_of_servers() {
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}1m";
    let tool = json!([{"name": "evil", "description": format!("does {evil}"), "inputSchema": {"type": "object"}}]);
    let extra = Fake::new("a").arg("--tools-extra", tool);
    let failing = Fake::new("bad").arg("--init-error", evil);
    let hub = Hub::start(Setup::of([extra, failing]).impatient());
    hub.wait_state("a", "ready");
    eventually("the failure", || hub.server("bad")["last_failure"].is_object().then_some(()));
    let said = format!("v=one\ttwo\n{evil}");
    let error = json!({"error": {"code": -32000, "message": evil}}).to_string();
    for args in [&["call", "a", "echo", &said][..], &["call", "a", "raw_error", &error], &["tools"], &["status"]] {
        let output = hub.cli(args);
        let shown = format!("{}{}", output.stdout, output.stderr);
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{args:?}: {shown:?}");
        assert!(shown.contains(r"\x1b]0;owned\x07\x1b[2J\x9b1m"), "what was there is shown: {args:?}: {shown:?}");
    }
    assert!(hub.run(&["call", "a", "echo", &said]).stdout.starts_with("one\ttwo\n"));
    let document = hub.run(&["call", "a", "echo", &said, "--json"]).json();
    assert_eq!(document["content"][0]["text"].as_str(), said.strip_prefix("v="), "untouched");
}

#[test]
fn restart_down_and_logs() {
    let mut hub = Hub::start(Setup::of([Fake::new("a").arg("--stderr-lines", 5), Fake::new("b")]));
    let (before, other) = (hub.child_pid("a"), hub.child_pid("b"));
    let session = hub.session("a");
    hub.run(&["restart", "a"]);
    eventually("another child", || hub.child_pids("a").first().filter(|pid| **pid != before).copied());
    assert_eq!(hub.child_pid("b"), other);
    session.echo("the session goes on");
    assert_eq!(hub.cli(&["restart", "nobody"]).code, 1);

    let logs = hub.run(&["logs", "a", "-n", "3"]);
    assert!(logs.stdout.contains("stderr line 4 of a"), "{logs:?}");
    assert!(logs.stdout.lines().count() <= 3, "{logs:?}");
    follow_logs(&hub);

    hub.run(&["down"]);
    assert!(hub.wait_exit().success());
    hub.wait_nothing_left(std::time::Duration::from_secs(5));
    assert_eq!(hub.cli(&["status"]).code, 69);
}

fn follow_logs(hub: &Hub) {
    let mut command = hub.command();
    let mut follow = command.args(["logs", "a", "-f"]).stdout(Stdio::piped()).spawn().expect("hub can be started");
    let mut lines = BufReader::new(follow.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("stderr line 4 of a")), "what is there already");
    hub.session("a").call("stderr", &json!({"text": "fresh news", "n": 2})).result();
    assert!(lines.any(|line| line.contains("fresh news 1")), "and what comes");
    follow.kill().expect("a child of ours");
    follow.wait().expect("a child of ours");
}

/// Where a state folder and the socket go without `HUB_STATE_DIR` (DESIGN 3.1).
#[test]
fn default_places() {
    let mut hub = Hub::prepare(Setup::one());
    hub.setup.env = vec![("XDG_CONFIG_HOME".into(), hub.path("config/xdg").display().to_string())];
    hub.setup.env.push(("XDG_STATE_HOME".into(), hub.path("home/xdg-state").display().to_string()));
    let folder = hub.path("config/xdg/hub");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::copy(hub.config_path(), folder.join("hub.toml")).expect("a file");
    let mut command = hub.command();
    command.env_remove("HUB_STATE_DIR").env_remove("HUB_CONFIG");
    let mut child =
        command.arg("serve").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("hub can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("ready http://127.0.0.1:")));
    if cfg!(target_os = "linux") {
        assert!(hub.path("run/hub/hub.sock").exists(), "the control socket");
        assert!(hub.path("home/xdg-state/hub").is_dir(), "the state");
    }
    let mut status = hub.command();
    status.env_remove("HUB_STATE_DIR").env_remove("HUB_CONFIG");
    assert!(status.args(["status", "--json"]).output().expect("hub can be started").status.success());
    crate::support::procs::signal(child.id(), nix::sys::signal::Signal::SIGTERM);
    assert!(child.wait().expect("a child of ours").success());
}

/// The man page and the completions know every verb; the shell completes names of servers.
#[test]
fn manual_and_completions() {
    let hub = Hub::prepare(Setup::of([Fake::new("github"), Fake::new("gitlab"), Fake::new("time")]));
    let help = hub.run(&["--help"]).stdout;
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs: Vec<&str> =
        verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help").collect();
    assert!(verbs.len() > 15 && verbs.contains(&"doctor") && !help.contains("server-names"), "{help}");
    let manual = hub.run(&["man"]).stdout;
    for verb in &verbs {
        assert!(manual.contains(&format!(".SH \"HUB {}\"", verb.to_uppercase())), "{verb} is not in the manual");
        let shown = hub.run(&[verb, "--help"]).stdout;
        assert!(shown.contains("Examples:"), "{shown}");
    }
    assert!(!manual.contains("SERVER-NAMES"));
    let bash = std::path::Path::new("/bin/bash");
    if !bash.exists() {
        skipped("completions are not tried: there is no /bin/bash");
        return;
    }
    let completed = |words: &str| {
        let count = words.split(' ').count() - 1;
        let script = format!(
            "source <($HUB completions bash); COMP_WORDS=({words}); COMP_WORDS[0]=$HUB; COMP_CWORD={count}; \
             _hub_servers \"$HUB\" \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo ${{COMPREPLY[@]}}"
        );
        // An empty word at the end is one that is not begun.
        let script = script.replace("_ )", "'')").replace("_)", "'')");
        let mut command = std::process::Command::new(bash);
        let hub_command = hub.command();
        command.env_clear().envs(hub_command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("HUB", hub_command.get_program()).args(["--norc", "-c", &script]);
        let output = command.output().expect("bash runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    assert_eq!(completed("hub restart _"), "github gitlab time");
    assert_eq!(completed("hub logs git"), "github gitlab");
    assert_eq!(completed("hub --config $HUB_CONFIG call ti"), "time");
    assert_eq!(completed("hub rest"), "restart");
    assert!(completed("hub logs --fo").contains("--follow"));
    assert!(!completed("hub call time _").contains("github"), "only the first argument is a server");
    hub.write_config_text("[hub\n");
    assert_eq!(hub.run(&["server-names"]).stdout, "");
}

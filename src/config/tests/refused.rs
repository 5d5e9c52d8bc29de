//! What a hub.toml may not say, and the exact words of the refusal.
//!
//! In: texts. Out: verdicts. Owns no state. May not: touch the real environment or files.

use super::super::*;
use super::{bad, check};

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
    assert_eq!(
        server("era = \"modren\""),
        ":3: servers.s: `era` must be \"auto\" or \"legacy\" or \"modern\"; did you mean \"modern\"?"
    );
    assert_eq!(server("era = \"2026-07-28\""), ":3: servers.s: `era` must be \"auto\" or \"legacy\" or \"modern\"");
    assert_eq!(server("protocol = \"x\""), ":3: servers.s: unknown key `protocol`; did you mean `era`?");
    assert_eq!(server("park_timeout = \"0s\""), ":3: servers.s: `park_timeout` must be longer than nothing");
    assert_eq!(
        server("probe_timeout = \"1m\""),
        ":3: servers.s: `probe_timeout` is not shorter than `startup_timeout`; shorten it, or write `era` to start without the probe"
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
        [":2: servers.command: a server must be a table, not a string; write [servers.command] above its keys"]
    );
}

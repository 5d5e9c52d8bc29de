//! One bad server hurts nobody else.
//!
//! In: texts. Out: verdicts. Owns no state. May not: touch the real environment or files.

use super::super::*;
use super::{bad, check, good, said};

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
fn a_path_is_said_as_it_is_written_where_a_secret_may_be_in_it() {
    let text = r#"
[servers.file]
command = "x"
env_file = "${file:token}.env"
[servers.variable]
command = "x"
cwd = "~/${TOKEN}/${HOME_OF:-none}"
"#;
    assert_eq!(
        bad(text),
        [
            ":4: servers.file: `env_file`: ${file:token}.env cannot be read: entity not found".to_owned(),
            ":7: servers.variable: `cwd`: folder /home/me/${TOKEN}/${HOME_OF:-none} does not exist".to_owned(),
        ]
    );
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
        let all = format!("{loaded:?}") + &said(&loaded).join("\n");
        assert!(!all.contains("hunter2"), "{all}");
    }
}

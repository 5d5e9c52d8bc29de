//! YAML files, read and edited.
//!
//! In: texts. Out: verdicts. Owns no state. May not: touch a file.

use super::{Act, Client, Edit, Entry, Place, Scope, edit, inserted, moved, only, place, program, reason};
use crate::clients::{EditError, Unreadable, hub_entry, read, restore};

fn goose() -> (&'static Client, &'static Place) {
    place("goose", Scope::User, "config.yaml")
}

fn cont() -> (&'static Client, &'static Place) {
    place("continue", Scope::User, "config.yaml")
}

fn act(text: &str, (_, place): (&Client, &Place), at: &[&str], act: Act) -> Result<String, EditError> {
    let at = at.iter().map(|key| (*key).to_owned()).collect();
    edit(text, &place.shape, &[Edit { at, act }])
}

const GOOSE: &str = r#"# goose
GOOSE_MODEL: 'x'   # model
extensions:
  developer:
    enabled: true
    type: builtin
    bundled: true
  # the good one
  github:  # code
    available_tools: []
    # how it starts
    cmd: npx   # by npm
    args:
      # quietly
      - -y
      - '@scope/pkg'  # pinned
    enabled: true
    envs: {TOKEN: "t # x"}
    env_keys: []
    name: GitHub
    timeout: 300
    type: stdio  # kind
    description: |
      Two
      # lines

  "my fetch":
    type: stdio
    name: fetch
    cmd: uvx
    args: [mcp-server-fetch]
    enabled: false
# end
other: &a {x: *b}
"#;

#[test]
fn only_the_lines_of_the_entry_change() {
    let goose_text = GOOSE.replace("&a {x: *b}", "[1, 2]");
    let expected = r#"# goose
GOOSE_MODEL: 'x'   # model
extensions:
  developer:
    enabled: true
    type: builtin
    bundled: true
  # the good one
  github:  # code
    available_tools: []
    # how it starts
    uri: http://127.0.0.1:18901/mcp   # by npm
    # quietly
    # pinned
    enabled: true
    name: GitHub
    timeout: 300
    type: streamable_http  # kind
    description: |
      Two
      # lines

  "my fetch":
    type: streamable_http
    name: fetch
    uri: http://127.0.0.1:18901/mcp
    enabled: false
# end
other: [1, 2]
"#;
    let result = moved(&goose_text, goose());
    assert_eq!(result, expected);
    assert_eq!(moved(&goose_text.replace('\n', "\r\n"), goose()), expected.replace('\n', "\r\n"));
    assert_eq!(moved(&format!("\u{feff}{goose_text}"), goose()), format!("\u{feff}{expected}"));
    assert_eq!(moved(&result, goose()), result);
    let found = read(&goose_text, &goose().1.shape).expect("readable").found;
    let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["developer", "github", "my fetch"]);
    assert!(matches!(&found[0].entry, Entry::Other { reason } if reason.contains("builtin")), "{found:?}");
    let at = |name: &str| ["extensions".to_owned(), name.to_owned()];
    let back = restore(&result, &goose_text, &goose().1.shape, &[at("my fetch").to_vec()]).expect("an edit");
    let back = restore(&back, &goose_text, &goose().1.shape, &[at("github").to_vec()]).expect("an edit");
    assert_eq!(back, goose_text);
}

#[test]
fn lists_of_entries() {
    let text = "name: mine\nversion: 1.0.0\nmcpServers:\n- name: a b # first\n  command: npx\n  args:\n  - -y\n  - x\n  env:\n    K: v\n-   command: uvx\n    name: c\n    cwd: /p\n- name: r\n  type: sse\n  url: https://x\nmodels:\n- name: m";
    let found = read(text, &cont().1.shape).expect("readable").found;
    assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["a b", "c", "r"]);
    assert_eq!(found[1].at, ["mcpServers", "1"]);
    let expected = "name: mine\nversion: 1.0.0\nmcpServers:\n- name: a b # first\n  type: streamable-http\n  url: http://127.0.0.1:18901/mcp\n-   type: streamable-http\n    name: c\n    url: http://127.0.0.1:18901/mcp\n- name: r\n  type: sse\n  url: https://x\nmodels:\n- name: m";
    let result = moved(text, cont());
    assert_eq!(result, expected);
    let back = restore(&result, text, &cont().1.shape, std::slice::from_ref(&found[0].at)).expect("an edit");
    let back = restore(&back, text, &cont().1.shape, std::slice::from_ref(&found[1].at)).expect("an edit");
    assert_eq!(back, text);
    let without_first = act(text, cont(), &["mcpServers", "0"], Act::Remove).expect("an edit");
    assert!(without_first.contains("mcpServers:\n# first\n-   command: uvx"), "{without_first}");
    let no_name = "mcpServers:\n  - command: x\n";
    assert_eq!(reason(no_name, cont().1), "the entry has no `name`");
    let removes: Vec<Edit> =
        ["0", "2", "1"].map(|index| Edit { at: vec!["mcpServers".into(), index.into()], act: Act::Remove }).into();
    let gone = edit(text, &cont().1.shape, &removes).expect("an edit");
    assert_eq!(gone, "name: mine\nversion: 1.0.0\nmcpServers: []\n# first\nmodels:\n- name: m");
}

#[test]
fn entries_between_braces() {
    let text = "extensions: {a: {type: stdio, cmd: npx, args: [-y, \"x, y\"], enabled: true}, b: {cmd: y}}\n";
    let expected = "extensions: {a: {type: streamable_http, uri: http://127.0.0.1:18901/mcp, enabled: true}, b: {type: streamable_http, uri: http://127.0.0.1:18901/mcp, enabled: true}}\n";
    assert_eq!(moved(text, goose()), expected);
    let lines = "extensions:\n  a: {\n    cmd: npx, # by npm\n    args: [\n      x # quietly\n    ],\n    enabled: false\n  }\n";
    let result = moved(lines, goose());
    assert!(
        result.contains("# by npm") && result.contains("# quietly") && result.contains("enabled: false"),
        "{result}"
    );
    let json = "{\"extensions\": {\"a\": {\"cmd\": \"x\", \"args\": []}}}";
    let expected = "{\"extensions\": {\"a\": {type: streamable_http, uri: http://127.0.0.1:18901/mcp, enabled: true}}}";
    assert_eq!(moved(json, goose()), expected);
}

#[test]
fn what_is_tied_to_another_place_is_left_alone() {
    let tied = "it uses an anchor, an alias or a tag of YAML, which hub does not follow";
    for entry in ["&a {cmd: x}", "{cmd: x, envs: *e}", "{<<: *e, cmd: x}", "{cmd: !s x}", "*e"] {
        let text = format!("e: &e {{A: b}}\nextensions:\n  x: {entry}\n");
        assert_eq!(reason(&text, goose().1), tied, "{entry}");
        let put = Act::Put(hub_entry(goose().0, &goose().1.shape, super::TARGET));
        assert!(act(&text, goose(), &["extensions", "x"], put).is_err(), "{entry}");
    }
    // Elsewhere they do not matter.
    let text = "e: &e {A: b}\nf: *e\nextensions:\n  x:\n    cmd: y\n  z: *e\n";
    let act = Act::Put(hub_entry(goose().0, &goose().1.shape, super::TARGET));
    let result = self::act(text, goose(), &["extensions", "x"], act).expect("an edit");
    assert_eq!(
        result,
        "e: &e {A: b}\nf: *e\nextensions:\n  x:\n    type: streamable_http\n    uri: http://127.0.0.1:18901/mcp\n    enabled: true\n  z: *e\n"
    );
}

#[test]
fn keys_of_an_entry() {
    let text = "extensions:\n  x:\n    cmd: bash\n    args:\n    - -l\n    - -c\n    - \"exec npx -y 'x'\"\n    envs:\n      A: 'it''s'\n      B: \"a\\\"b\"\n      C: ''\n    timeout: 30\n    enabled: False\n    env_keys: []\n";
    let x = program(text, goose().1);
    assert_eq!(x.args, ["-l", "-c", "exec npx -y 'x'"]);
    let env: Vec<_> = x.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(env, [("A", "it's"), ("B", "a\"b"), ("C", "")]);
    assert_eq!((x.enabled, x.timeout), (false, Some(std::time::Duration::from_secs(30))));
    let reasons = [
        ("{cmd: x, envs: {A: 1}}", "`envs.A` is a number, not text"),
        ("{cmd: x, envs: {A: true}}", "`envs.A` is true or false, not text"),
        ("{cmd: x, envs: {A: }}", "`envs.A` is null, not text"),
        ("{cmd: x, args: [1.5]}", "item 1 of `args` is a number, not text"),
        (
            "{cmd: x, env_keys: [TOKEN]}",
            "`env_keys` names secrets that lie in the client's keyring, out of hub's reach",
        ),
        ("{type: platform, name: y}", "`type` is `platform`: the client's own, not an MCP server"),
        ("{type: stdio, cmd: x, bundled: true}", "it is bundled with the client"),
        ("x", "the entry is text, not a table of keys"),
        ("", "the entry is null, not a table of keys"),
    ];
    for (entry, expected) in reasons {
        assert_eq!(reason(&format!("extensions:\n  x: {entry}\n"), goose().1), expected);
    }
    let remote = "extensions:\n  x:\n    type: sse\n    uri: https://x\n";
    assert_eq!(only(remote, goose().1), Entry::Remote { url: "https://x".to_owned() });
}

#[test]
fn removing_and_inserting() {
    let two = "extensions:\n  a:\n    cmd: x # c\n\n  # about b\n  b:\n    cmd: y\nz: 1\n";
    let gone = |name| act(two, goose(), &["extensions", name], Act::Remove).expect("an edit");
    assert_eq!(gone("a"), "extensions:\n  # c\n\n  # about b\n  b:\n    cmd: y\nz: 1\n");
    assert_eq!(gone("b"), "extensions:\n  a:\n    cmd: x # c\n\n  # about b\nz: 1\n");
    let one = act("extensions:\n  b:\n    cmd: y", goose(), &["extensions", "b"], Act::Remove);
    assert_eq!(one.as_deref(), Ok("extensions: {}"));
    let at = ["extensions", "s"];
    let entry = "    name: s\n    type: streamable_http\n    uri: http://127.0.0.1:18901/mcp\n    enabled: true\n";
    assert_eq!(inserted("", goose(), &at), format!("extensions:\n  s:\n{entry}"));
    assert_eq!(inserted("a: 1 # c\n", goose(), &at), format!("a: 1 # c\nextensions:\n  s:\n{entry}"));
    assert_eq!(
        inserted("extensions:\n  a:\n    cmd: x\nz: 1\n", goose(), &at),
        format!("extensions:\n  a:\n    cmd: x\n  s:\n{entry}z: 1\n")
    );
    let empty = inserted("extensions: {}\n", goose(), &at);
    assert_eq!(
        empty,
        "extensions: {s: {name: s, type: streamable_http, uri: http://127.0.0.1:18901/mcp, enabled: true}}\n"
    );
    let restored = restore(&empty, "extensions: {}\n", &goose().1.shape, &[at.map(str::to_owned).to_vec()]);
    assert_eq!(restored.as_deref(), Ok("extensions: {}\n"));
}

#[test]
fn what_does_not_parse_is_told() {
    let Err(Unreadable::Syntax { line, .. }) = read("a: 1\nb: [\n", &goose().1.shape) else { panic!("it was read") };
    assert!(line >= 2, "{line}");
    let Err(Unreadable::Syntax { line, .. }) = read("a: 1\nb: 2\na: 3\n", &goose().1.shape) else {
        panic!("it was read")
    };
    assert_eq!(line, 3);
    assert!(read("a: 1\n---\nb: 2\n", &goose().1.shape).is_err());
    for deep in ["[", "- ", "{a: "] {
        assert!(read(&deep.repeat(100_000), &goose().1.shape).is_err(), "{deep}");
    }
    for text in ["", "\u{feff}", "# only a comment\n", "---\n", "a: 1\n", "extensions:\n", "extensions: {}\n"] {
        assert_eq!(read(text, &goose().1.shape).expect("readable").found, [], "{text:?}");
    }
    let Err(shape) = read("extensions: [1]\n", &goose().1.shape) else { panic!("it was read") };
    assert_eq!(shape.to_string(), "`extensions` is a list, where a table of servers belongs");
}

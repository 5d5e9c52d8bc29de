//! TOML files, read and edited.
//!
//! In: texts. Out: verdicts. Owns no state. May not: touch a file.

use super::{Act, Client, Edit, Entry, Place, Scope, edit, inserted, moved, place, program, reason};
use crate::clients::{EditError, Unreadable, read, restore};

fn codex() -> (&'static Client, &'static Place) {
    place("codex", Scope::User, "config.toml")
}

fn at(name: &str) -> Vec<String> {
    vec!["mcp_servers".to_owned(), name.to_owned()]
}

fn remove(text: &str, name: &str) -> String {
    edit(text, &codex().1.shape, &[Edit { at: at(name), act: Act::Remove }]).expect("an edit")
}

const TABLES: &str = r#"# mine
model = "gpt-5"   # the model

[mcp_servers.github]  # code
# how it starts
command = "npx" # by npm
args = [
    "-y", # yes
    "server-github",
]
startup_timeout_sec = 20
enabled_tools = ["a"]

[mcp_servers.github.env]
# a secret
GITHUB_TOKEN = "t"

[mcp_servers.github.tools.create]
approval_mode = "approve"

[mcp_servers."io.github.X/y"]
command = 'uvx'
env = { A = "b" }
cwd = "/p"
enabled = false

[tui]
theme = "dark"
"#;

#[test]
fn only_the_lines_of_the_entry_change() {
    let expected = r#"# mine
model = "gpt-5"   # the model

[mcp_servers.github]  # code
# how it starts
url = "http://127.0.0.1:18901/mcp" # by npm
# yes
startup_timeout_sec = 20
enabled_tools = ["a"]
# a secret

[mcp_servers.github.tools.create]
approval_mode = "approve"

[mcp_servers."io.github.X/y"]
url = "http://127.0.0.1:18901/mcp"
enabled = false

[tui]
theme = "dark"
"#;
    let result = moved(TABLES, codex());
    assert_eq!(result, expected);
    let crlf = moved(&TABLES.replace('\n', "\r\n"), codex());
    assert_eq!(crlf, expected.replace('\n', "\r\n"));
    let marked = moved(&format!("\u{feff}{TABLES}"), codex());
    assert_eq!(marked, format!("\u{feff}{expected}"));
    assert_eq!(moved(&result, codex()), result);
}

#[test]
fn entries_come_back_to_the_byte() {
    let written = moved(TABLES, codex());
    let back = restore(&written, TABLES, &codex().1.shape, &[at("io.github.X/y")]).expect("an edit");
    // A header in between belongs to the entry too.
    let back = restore(&back, TABLES, &codex().1.shape, &[at("github")]).expect("an edit");
    assert_eq!(back, TABLES);
    let inline = "[mcp_servers]\nx = { command = \"y\", args = [\"z\"] }\n";
    let written = moved(inline, codex());
    assert_eq!(restore(&written, inline, &codex().1.shape, &[at("x")]).as_deref(), Ok(inline));
}

#[test]
fn other_ways_to_write_it() {
    let table = [
        (
            "[mcp_servers]\nx = { command = \"y\", args = [\"z\"], enabled = true } # c\n",
            "[mcp_servers]\nx = { url = \"http://127.0.0.1:18901/mcp\", enabled = true } # c\n",
        ),
        (
            "mcp_servers = { x = { enabled = true, command = \"y\" }, r = { url = \"u\" } }",
            "mcp_servers = { x = { enabled = true, url = \"http://127.0.0.1:18901/mcp\" }, r = { url = \"u\" } }",
        ),
        (
            "[mcp_servers]\nx.command = \"y\"\nx.args = []\nx.env.A = \"b\"\nx.enabled = true\n",
            "[mcp_servers]\nx.url = \"http://127.0.0.1:18901/mcp\"\nx.enabled = true\n",
        ),
        (
            "mcp_servers.x.env.A = \"b\"\nmcp_servers.x.command = \"y\"\n",
            "mcp_servers.x.url = \"http://127.0.0.1:18901/mcp\"\n",
        ),
        (
            "[mcp_servers.x.env]\nA = \"b\"\n[mcp_servers.x]\ncommand = \"y\"",
            "[mcp_servers.x]\nurl = \"http://127.0.0.1:18901/mcp\"",
        ),
        ("  [mcp_servers.x]\n\tcommand=\"y\"\n\targs=[]", "  [mcp_servers.x]\n\turl=\"http://127.0.0.1:18901/mcp\""),
        (
            "[mcp_servers.x]\ncommand = \"\"\"\ny\"\"\"\nenv_vars = [\"A\"]\n",
            "[mcp_servers.x]\nurl = \"http://127.0.0.1:18901/mcp\"\n",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(moved(text, codex()), expected);
    }
}

#[test]
fn keys_of_an_entry() {
    let text = r#"[mcp_servers.x]
command = "y"
args = ["a", 'b\c']
cwd = "/p"
env_vars = ["HOME2"]
tool_timeout_sec = 1.5
enabled = false
[mcp_servers.x.env]
"K K" = "v"
"#;
    let x = program(text, codex().1);
    assert_eq!(x.args, ["a", "b\\c"]);
    assert_eq!(x.env, [("K K".to_owned(), "v".to_owned())]);
    assert_eq!((x.cwd.as_deref(), x.enabled, x.passed_env), (Some("/p"), false, vec!["HOME2".to_owned()]));
    assert_eq!(x.timeout, Some(std::time::Duration::from_millis(1500)));
    let reasons = [
        ("command = \"y\"\nenv = { A = 1 }", "`env.A` is a number, not text"),
        ("command = \"y\"\nargs = \"z\"", "`args` is text, not a list of texts"),
        ("command = 1979-05-27", "`command` is a date, not text"),
        ("command = \"y\"\nurl = \"u\"", "it has both `command` and `url`"),
        ("enabled = true", "it has neither `command` nor `url`"),
    ];
    for (entry, expected) in reasons {
        assert_eq!(reason(&format!("[mcp_servers.x]\n{entry}\n"), codex().1), expected);
    }
}

#[test]
fn removing_and_inserting() {
    let gone = remove(TABLES, "github");
    assert!(!gone.contains("github\n") && gone.contains("io.github") && gone.contains("# a secret"), "{gone}");
    assert_eq!(remove("a = 1\n\n[mcp_servers.x]\ncommand = \"y\"\n", "x"), "a = 1\n");
    assert_eq!(remove("[mcp_servers]\nx = {command = \"y\"}\nz = {}", "x"), "[mcp_servers]\nz = {}");
    assert_eq!(remove("mcp_servers = { x = {}, y = {} }", "y"), "mcp_servers = { x = {} }");
    let entry = "[mcp_servers.x]\nurl = \"http://127.0.0.1:18901/mcp\"\n";
    assert_eq!(inserted("", codex(), &["mcp_servers", "x"]), entry);
    assert_eq!(inserted("a = 1", codex(), &["mcp_servers", "x"]), format!("a = 1\n\n{entry}"));
    assert_eq!(inserted("a = 1\n", codex(), &["mcp_servers", "x"]), format!("a = 1\n\n{entry}"));
    let quoted = inserted("", codex(), &["mcp_servers", "a b"]);
    assert!(quoted.starts_with("[mcp_servers.\"a b\"]\n"), "{quoted}");
    assert_eq!(
        restore(&inserted("a = 1\n", codex(), &["mcp_servers", "x"]), "a = 1\n", &codex().1.shape, &[at("x")])
            .as_deref(),
        Ok("a = 1\n")
    );
}

#[test]
fn what_cannot_be_edited_is_left_alone() {
    let put = |text: &str| {
        let act = Act::Put(crate::clients::hub_entry(codex().0, &codex().1.shape, super::TARGET));
        edit(text, &codex().1.shape, &[Edit { at: at("x"), act }])
    };
    let dotted = put("mcp_servers = { x = { command = \"y\", env.A = \"b\" } }");
    assert!(matches!(dotted, Err(EditError::Unsafe { .. })), "{dotted:?}");
    assert_eq!(put("a = 1"), Err(EditError::Absent("mcp_servers.x".to_owned())));
}

/// Entries whose tables stand apart; `x` is the one that comes back, `z` another one of hub's.
const SCATTERED: [&str; 6] = [
    "[mcp_servers.x]\ncommand = \"y\"\n[other]\n[mcp_servers.x.env]\nA = \"b\"\n",
    "[mcp_servers.x]\ncommand = \"y\" # c\n\n# of other\n[other] # o\na = 1\n\n# of env\n[mcp_servers.x.env] # e\nA = \"b\"\n# last\n",
    "[mcp_servers.x.env]\nA = \"b\"\n\n[mcp_servers.z]\ncommand = \"z\"\n\n[mcp_servers.x]\ncommand = \"y\"\n\n[mcp_servers.z.env]\nB = \"c\"",
    "\u{feff}[[l]]\na = [\n1, # one\n]\n[mcp_servers.x]\ncommand = \"y\"\n[[l]]\na = 2\n[mcp_servers.x.tools.t]\napproval_mode = \"approve\"\n[[l]]\n\n[mcp_servers.x.env]\nA = \"b\"",
    "[mcp_servers]\nx.command = \"y\"\nz.command = \"z\"\nx.args = [\n  \"a\", # first\n]\n# of env\nx.env.A = \"b\"\nz.env = {}\n",
    "mcp_servers.x.command = \"y\"\na = 1\nmcp_servers.x.env.A = \"b\"\n\n[mcp_servers.z]\ncommand = \"z\"\n",
];

#[test]
fn tables_of_one_entry_that_stand_apart() {
    for text in SCATTERED.into_iter().flat_map(|text| [text.to_owned(), text.replace('\n', "\r\n")]) {
        let hub = moved(&text, codex());
        assert_eq!(
            read(&hub, &codex().1.shape)
                .expect("readable")
                .found
                .iter()
                .filter(|found| matches!(&found.entry, Entry::Remote { .. }))
                .count(),
            hub.matches("url").count()
        );
        let found = read(&text, &codex().1.shape).expect("readable").found;
        let all: Vec<Vec<String>> = found.into_iter().map(|found| found.at).collect();
        assert_eq!(restore(&hub, &text, &codex().1.shape, &all).as_deref(), Ok(text.as_str()));
        let gone = remove(&text, "x");
        assert!(!gone.contains("mcp_servers.x") && !gone.contains("x.env"), "{text}\n=>\n{gone}");
        for comment in ["# c", "# o", "# e", "# of env", "# last", "# one", "# first"] {
            assert!(
                !text.contains(comment) || hub.contains(comment) && gone.contains(comment),
                "{comment}: {hub}\n{gone}"
            );
        }
    }
}

#[test]
fn tables_that_stand_apart_among_what_others_wrote_since() {
    let shape = &codex().1.shape;
    let back = |hub: &str, text: &str| restore(hub, text, shape, &[at("x")]);
    let text = SCATTERED[0];
    let hub = moved(text, codex());
    assert_eq!(hub, "[mcp_servers.x]\nurl = \"http://127.0.0.1:18901/mcp\"\n[other]\n");
    assert_eq!(back(&format!("m = 1 # new\n{hub}"), text), Ok(format!("m = 1 # new\n{text}")));
    let below = back(&format!("{hub}a = 2\n"), text);
    assert_eq!(
        below.as_deref(),
        Ok("[mcp_servers.x]\ncommand = \"y\"\n[other]\na = 2\n[mcp_servers.x.env]\nA = \"b\"\n")
    );
    let below = back(&format!("{hub}\n[new] # n\n"), text);
    assert_eq!(below, Ok(format!("{text}\n[new] # n\n")));
    for refused in [
        hub.replace("[other]", "[another]"),
        hub.replace("[other]", "# new\n[other]"),
        format!("{hub}[new]\n[mcp_servers.x.more]\n"),
    ] {
        let why = back(&refused, text);
        assert!(matches!(why, Err(EditError::Unsafe { .. })), "{refused}: {why:?}");
    }
}

#[test]
fn what_does_not_parse_is_told_by_line() {
    let Err(Unreadable::Syntax { line, .. }) = read("a = 1\nb = [\nc", &codex().1.shape) else { panic!("it was read") };
    assert!(line >= 2, "{line}");
    assert!(read("[mcp_servers.x]\ncommand = \"y\"\ncommand = \"z\"\n", &codex().1.shape).is_err());
    assert!(read(&"[".repeat(100_000), &codex().1.shape).is_err());
    assert!(read(&format!("a = {}", "[".repeat(100_000)), &codex().1.shape).is_err());
    assert_eq!(read("", &codex().1.shape).expect("readable").found, []);
    assert_eq!(read("\u{feff}model = \"x\"\n", &codex().1.shape).expect("readable").found, []);
    let Err(shape) = read("mcp_servers = 5", &codex().1.shape) else { panic!("it was read") };
    assert_eq!(shape.to_string(), "`mcp_servers` is a number, where a table of servers belongs");
    let found = read("[mcpServers.x]\ncommand = \"y\"\n", &codex().1.shape).expect("readable").found;
    assert!(matches!(&found[0].entry, Entry::Other { reason } if reason.contains("`mcp_servers`")), "{found:?}");
}

#[test]
fn what_stands_first_can_go() {
    assert_eq!(remove("\u{feff}[mcp_servers.a]\ncommand = 'x'\n", "a"), "\u{feff}");
    assert_eq!(remove("\u{feff}\n[mcp_servers.a]\ncommand = 'x'\n\n[z]\n", "a"), "\u{feff}\n[z]\n");
    assert_eq!(remove("\u{feff}mcp_servers.a.command = 'x'\nz = 1\n", "a"), "\u{feff}z = 1\n");
}

//! JSON files, read and edited.
//!
//! In: texts. Out: verdicts. Owns no state. May not: touch a file.

use super::{Act, Client, Edit, Entry, Place, Scope, edit, inserted, moved, only, place, program, reason};
use crate::clients::{EditError, Unreadable, read, restore};

fn claude() -> (&'static Client, &'static Place) {
    place("claude-code", Scope::Project, ".mcp.json")
}

fn claude_user() -> (&'static Client, &'static Place) {
    place("claude-code", Scope::User, ".claude.json")
}

fn cursor() -> (&'static Client, &'static Place) {
    place("cursor", Scope::User, "mcp.json")
}

fn remove(text: &str, at: &[&str]) -> String {
    let at = at.iter().map(|key| (*key).to_owned()).collect();
    edit(text, &cursor().1.shape, &[Edit { at, act: Act::Remove }]).expect("an edit")
}

#[test]
fn only_the_lines_of_the_entry_change() {
    let text = r#"{
  "other": [1,   2],
  "mcpServers": {
    "github": {
      "type": "stdio",
      "command": "npx",
      "args": ["-y", "server-github"],
      "env": { "GITHUB_TOKEN": "${GITHUB_TOKEN}" }
    },
    "remote": { "type": "http", "url": "https://example.com/mcp" }
  }
}
"#;
    let expected = r#"{
  "other": [1,   2],
  "mcpServers": {
    "github": {
      "type": "http",
      "url": "http://127.0.0.1:18901/mcp",
      "timeout": 86400000
    },
    "remote": { "type": "http", "url": "https://example.com/mcp" }
  }
}
"#;
    assert_eq!(moved(text, claude()), expected);
}

#[test]
fn comments_and_foreign_keys_stay() {
    let text = r#"// mine
{
	"mcpServers": { // servers
		// the first
		"a": {
			"description": "x", // about it
			// how it starts
			"command": "npx", // by npm
			"args": [
				// quietly
				"-y",
				"pkg" /* pinned */
			],
			/* secrets */
			"env": {"K": "v"},
			"disabled": false,
			"alwaysAllow": ["x"],
		}, // end of a
	},
}"#;
    let expected = r#"// mine
{
	"mcpServers": { // servers
		// the first
		"a": {
			"description": "x", // about it
			// how it starts
			"url": "http://127.0.0.1:18901/mcp", // by npm
			// quietly
			/* pinned */
			/* secrets */
			"disabled": false,
			"alwaysAllow": ["x"],
		}, // end of a
	},
}"#;
    assert_eq!(moved(text, cursor()), expected);
}

#[test]
fn one_line_stays_one_line() {
    let moved_claude = moved(r#"{"mcpServers":{"a":{"command":"x","args":["y"]}}}"#, claude());
    assert_eq!(
        moved_claude,
        r#"{"mcpServers":{"a":{"type":"http","url":"http://127.0.0.1:18901/mcp", "timeout":86400000}}}"#
    );
    let text = r#"{ "mcpServers": { "a": { "command": "x", "args": [], "env": {} }, "b": { "url": "u" } } }"#;
    let expected = r#"{ "mcpServers": { "a": { "url": "http://127.0.0.1:18901/mcp" }, "b": { "url": "u" } } }"#;
    assert_eq!(moved(text, cursor()), expected);
    let text = "{\n  \"mcpServers\": {\n    \"a\": { \"command\": \"x\", \"disabled\": true },\n    \"b\": {\"args\": [], \"command\": \"x\"}\n  }\n}";
    let expected = "{\n  \"mcpServers\": {\n    \"a\": { \"url\": \"http://127.0.0.1:18901/mcp\", \"disabled\": true },\n    \"b\": {\"url\": \"http://127.0.0.1:18901/mcp\"}\n  }\n}";
    assert_eq!(moved(text, cursor()), expected);
}

#[test]
fn byte_order_mark_and_line_ends_stay() {
    let text = "\u{feff}{\r\n    \"mcpServers\": {\r\n        \"a\": {\r\n            \"command\": \"x\"\r\n        }\r\n    }\r\n}\r\n";
    let expected = "\u{feff}{\r\n    \"mcpServers\": {\r\n        \"a\": {\r\n            \"type\": \"http\",\r\n            \"url\": \"http://127.0.0.1:18901/mcp\",\r\n            \"timeout\": 86400000\r\n        }\r\n    }\r\n}\r\n";
    assert_eq!(moved(text, claude()), expected);
    assert_eq!(read(text, &claude().1.shape).expect("readable").rejected, None);
}

#[test]
fn a_timeout_of_the_user_stays() {
    let text = r#"{"mcpServers": {"a": {"command": "x", "timeout": 5000, "alwaysLoad": true}}}"#;
    let expected = r#"{"mcpServers": {"a": {"type": "http", "url": "http://127.0.0.1:18901/mcp", "timeout": 5000, "alwaysLoad": true}}}"#;
    assert_eq!(moved(text, claude()), expected);
}

#[test]
fn of_two_keys_of_one_name_the_last_counts() {
    let text =
        r#"{"mcpServers": {"a": {"command": "old"}, "a": {"command": "x", "command": "y", "url2": 1, "args": []}}}"#;
    assert_eq!(program(text, cursor().1).command, "y");
    let expected =
        r#"{"mcpServers": {"a": {"command": "old"}, "a": {"url": "http://127.0.0.1:18901/mcp", "url2": 1}}}"#;
    assert_eq!(moved(text, cursor()), expected);
}

#[test]
fn removing_leaves_commas_and_comments_right() {
    let text = "{\n  \"mcpServers\": {\n    \"a\": {\"url\": \"1\"}, // one\n    \"b\": {\"url\": \"2\"},\n    // three\n    \"c\": {\"url\": \"3\"}\n  }\n}\n";
    let gone = remove(text, &["mcpServers", "c"]);
    let expected = "{\n  \"mcpServers\": {\n    \"a\": {\"url\": \"1\"}, // one\n    \"b\": {\"url\": \"2\"}\n    // three\n  }\n}\n";
    assert_eq!(gone, expected);
    let gone = remove(text, &["mcpServers", "a"]);
    assert!(gone.contains("\"mcpServers\": {\n    // one\n    \"b\""), "{gone}");
    assert_eq!(remove(r#"{"a": 1, "b": 2}"#, &["b"]), r#"{"a": 1}"#);
    assert_eq!(remove(r#"{ "a": 1, "b": 2 }"#, &["b"]), r#"{ "a": 1 }"#);
    assert_eq!(remove(r#"{ "a": 1, "b": 2 }"#, &["a"]), r#"{ "b": 2 }"#);
    assert_eq!(remove(r#"{"a": 1, "b": 2, "c": 3}"#, &["b"]), r#"{"a": 1, "c": 3}"#);
    assert_eq!(remove("{\n \"a\": 1,\n}", &["a"]), "{\n}");
    assert_eq!(remove("{\n \"a\": 1, \"b\": 2\n}", &["a"]), "{\n \"b\": 2\n}");
    assert_eq!(remove("{\n \"a\": 1, \"b\": 2\n}", &["b"]), "{\n \"a\": 1\n}");
    assert_eq!(
        remove("{\n \"a\": 1 /*,*/ , // z\n \"b\": {/* kept */}\n}", &["b"]),
        "{\n \"a\": 1 /*,*/  // z\n /* kept */\n}"
    );
}

#[test]
fn inserting_makes_what_is_missing() {
    let at = ["projects", "/p/a", "mcpServers", "s"];
    let text =
        "{\n  \"numStartups\": 3,\n  \"projects\": {\n    \"/p/b\": {\n      \"allowedTools\": []\n    }\n  }\n}";
    let expected = "{\n  \"numStartups\": 3,\n  \"projects\": {\n    \"/p/b\": {\n      \"allowedTools\": []\n    },\n    \"/p/a\": {\n      \"mcpServers\": {\n        \"s\": {\n          \"type\": \"http\",\n          \"url\": \"http://127.0.0.1:18901/mcp\",\n          \"timeout\": 86400000\n        }\n      }\n    }\n  }\n}";
    let result = inserted(text, claude_user(), &at);
    assert_eq!(result, expected);
    assert_eq!(restore(&result, text, &claude_user().1.shape, &[at.map(str::to_owned).to_vec()]).as_deref(), Ok(text));
    let empty = "{\n    \"projects\": {\n        \"/p/a\": {\n            \"mcpServers\": {}\n        }\n    }\n}\n";
    let expected = "{\n    \"projects\": {\n        \"/p/a\": {\n            \"mcpServers\": {\n                \"s\": {\n                    \"type\": \"http\",";
    assert!(inserted(empty, claude_user(), &at).starts_with(expected), "{}", inserted(empty, claude_user(), &at));
    for blank in ["", "\u{feff}", "\n", "{}", "{}\n", "{\n}\n", "\u{feff}{ }"] {
        let result = inserted(blank, claude_user(), &at);
        assert!(result.ends_with("}\n") || blank.ends_with('}'), "{result:?}");
        assert_eq!(result.starts_with('\u{feff}'), blank.starts_with('\u{feff}'));
        assert!(result.contains("{\n  \"projects\": {\n    \"/p/a\": {\n      \"mcp"), "{result}");
    }
    assert_eq!(
        inserted(r#"{"mcpServers":{"a":{"url":"u"}}}"#, cursor(), &["mcpServers", "b"]),
        r#"{"mcpServers":{"a":{"url":"u"}, "b":{"url":"http://127.0.0.1:18901/mcp"}}}"#
    );
    let commented = "{\n  \"mcpServers\": {\n    \"a\": {\"url\": \"u\"} // last\n  }\n}";
    let expected = "{\n  \"mcpServers\": {\n    \"a\": {\"url\": \"u\"}, // last\n    \"b\": {\n      \"url\": \"http://127.0.0.1:18901/mcp\"\n    }\n  }\n}";
    assert_eq!(inserted(commented, cursor(), &["mcpServers", "b"]), expected);
    let hollow = "{\n  \"mcpServers\": {\n    // none yet\n  }\n}";
    let expected = "{\n  \"mcpServers\": {\n    // none yet\n    \"b\": {\n      \"url\": \"http://127.0.0.1:18901/mcp\"\n    }\n  }\n}";
    assert_eq!(inserted(hollow, cursor(), &["mcpServers", "b"]), expected);
}

#[test]
fn an_insert_never_replaces() {
    let insert = |text: &str| {
        let edit_ =
            Edit { at: vec!["mcpServers".into(), "a".into()], act: Act::Insert(vec![("url".into(), "u".into())]) };
        edit(text, &cursor().1.shape, &[edit_])
    };
    assert_eq!(insert(r#"{"mcpServers": {"a": {}}}"#), Err(EditError::Present("mcpServers.a".into())));
    assert_eq!(insert(r#"{"mcpServers": []}"#), Err(EditError::NotATable("mcpServers".into())));
    assert_eq!(insert("[]"), Err(EditError::NotATable(String::new())));
}

#[test]
fn an_entry_comes_back_to_the_byte() {
    let text = "{\n  \"mcpServers\": {\n    \"a\": {\n      // why\n      \"command\": \"x\",\n      \"args\": [\n        \"y\"\n      ]\n    }\n  },\n  \"n\": 1\n}\n";
    let written = moved(text, claude()).replace("\"n\": 1", "\"n\": 2");
    let back = restore(&written, text, &claude().1.shape, &[vec!["mcpServers".into(), "a".into()]]).expect("an edit");
    assert_eq!(back, text.replace("\"n\": 1", "\"n\": 2"));
    let crlf = written.replace('\n', "\r\n");
    let back = restore(&crlf, text, &claude().1.shape, &[vec!["mcpServers".into(), "a".into()]]).expect("an edit");
    assert_eq!(back, text.replace("\"n\": 1", "\"n\": 2").replace('\n', "\r\n"));
    let absent = restore(&written, text, &claude().1.shape, &[vec!["mcpServers".into(), "b".into()]]);
    assert_eq!(absent, Err(EditError::Absent("mcpServers.b".into())));
}

#[test]
fn a_file_that_its_client_refuses_is_told() {
    let shape = &claude().1.shape;
    let reading = read("{\n // c\n \"mcpServers\": {\"a\": {\"command\": \"x\"}}}", shape).expect("readable");
    assert_eq!(reading.found.len(), 1);
    assert_eq!(reading.rejected.map(|rejected| rejected.line), Some(2));
    let reading = read("{\n \"mcpServers\": {\"a\": {\"command\": \"x\"},\n}}", shape).expect("readable");
    assert!(reading.rejected.is_some());
    for (text, line) in [("{\n \"a\": \"x\ty\"}", 2), ("{\"a\": 'x'}", 1), ("{a: 1}", 1), ("{\"a\": 01}", 1), ("", 1)] {
        let told = read(text, shape).map(|reading| reading.rejected.map(|rejected| rejected.line));
        assert!(told.is_err() || told == Ok(Some(line)), "{text:?}: {told:?}");
    }
    assert!(read("{\n // c\n}", &cursor().1.shape).expect("readable").rejected.is_none());
}

#[test]
fn what_does_not_parse_is_told_by_line() {
    let javascript = "{\n  \"mcpServers\": {\n    \"a\": {\n      \"command\": \"npx\",\n      \"env\": { \"K\": process.env.K }\n    }\n  }\n}";
    let Err(Unreadable::Syntax { line, .. }) = read(javascript, &cursor().1.shape) else { panic!("it was read") };
    assert_eq!(line, 5);
    assert!(read("{\"mcpServers\": {\"a\" {}}}", &cursor().1.shape).is_err());
    let Err(shape) = read("{\"mcpServers\": [1]}", &cursor().1.shape) else { panic!("it was read") };
    assert_eq!(shape.to_string(), "`mcpServers` is a list, where a table of servers belongs");
    let deep = "[".repeat(100_000);
    assert!(read(&deep, &cursor().1.shape).is_err());
}

/// `~/.claude.json` grows to megabytes.
#[test]
fn large_files_are_no_trouble() {
    let projects: Vec<String> = (0..5000)
        .map(|i| {
            format!(
                "    \"/p/{i}\": {{\n      \"history\": [\"{}\"],\n      \"mcpServers\": {{}}\n    }}",
                "x".repeat(200)
            )
        })
        .collect();
    let text = format!("{{\n  \"projects\": {{\n{}\n  }}\n}}\n", projects.join(",\n"));
    let result = inserted(&text, claude_user(), &["projects", "/p/4000", "mcpServers", "s"]);
    assert_eq!(read(&result, &claude_user().1.shape).expect("readable").found.len(), 1);
    assert_eq!(result.lines().count(), text.lines().count() + 6);
}

#[test]
fn files_without_servers_have_none() {
    for text in
        ["", "\u{feff}", "  \n", "{}", "{\"theme\": \"dark\"}", "{\"mcpServers\": {}}", "{\"mcpServers\": null}"]
    {
        assert_eq!(read(text, &cursor().1.shape).expect("readable").found, [], "{text:?}");
    }
}

#[test]
fn what_is_no_server_says_why() {
    let reasons = [
        (r#"{"command": "x", "env": {"PORT": 1}}"#, "`env.PORT` is a number, not text"),
        (r#"{"command": "x", "env": ["A=1"]}"#, "`env` is a list, not a table of texts"),
        (r#"{"command": "x", "args": "-y pkg"}"#, "`args` is text, not a list of texts"),
        (r#"{"command": "x", "args": ["a", 5]}"#, "item 2 of `args` is a number, not text"),
        (r#"{"command": "  "}"#, "`command` is empty"),
        (r#"{"command": 5}"#, "`command` is a number, not text"),
        (r#"{"command": []}"#, "`command` is empty"),
        (r#"{"command": "x", "url": "http://a"}"#, "it has both `command` and `url`"),
        (r#"{"link": "https://a"}"#, "it has a `link`, and neither `command` nor `url`"),
        (r#"{"description": "a"}"#, "it has neither `command` nor `url`"),
        (r#"{"url": 5}"#, "`url` is a number, not text"),
        (r#"{"url": ""}"#, "`url` is empty"),
        (r#"{"command": "x", "cwd": 5}"#, "`cwd` is a number, not text"),
        (r#"{"command": "x", "disabled": "yes"}"#, "`disabled` is text, not true or false"),
        ("\"npx\"", "the entry is text, not a table of keys"),
        ("[\"npx\"]", "the entry is a list, not a table of keys"),
        ("null", "the entry is null, not a table of keys"),
    ];
    for (entry, expected) in reasons {
        assert_eq!(reason(&format!("{{\"mcpServers\": {{\"a\": {entry}}}}}"), cursor().1), expected);
    }
    let misplaced = reason(r#"{"servers": {"a": {"command": "x"}}}"#, cursor().1);
    assert_eq!(misplaced, "it is under `servers`, which this client does not read: it reads `mcpServers`");
}

#[test]
fn shapes_that_people_have() {
    let shell = program(r#"{"mcpServers": {"a b": {"command": "cmd", "args": ["/c", "npx", "-y", "x"]}}}"#, cursor().1);
    assert_eq!((shell.command.as_str(), shell.args.len()), ("cmd", 4));
    let bash = r#"{"mcpServers": {"io.github.X/y": {"command": "bash", "args": ["-l", "-c", "exec npx -y x"], "envFile": ".env"}}}"#;
    let bash = program(bash, cursor().1);
    assert_eq!((bash.args[2].as_str(), bash.env_file.as_deref(), bash.enabled), ("exec npx -y x", Some(".env"), true));
    let off = r#"{"mcpServers": {"": {"command": "x", "disabled": true, "env": {"A": "${process.env.A}", "B": ""}, "args": null}}}"#;
    let off = program(off, cursor().1);
    assert_eq!(off.env, [("A".to_owned(), "${process.env.A}".to_owned()), ("B".to_owned(), String::new())]);
    assert!(!off.enabled);
    assert_eq!(only(r#"{"mcpServers": {"a": {"httpUrl": "u"}}}"#, cursor().1), Entry::Remote { url: "u".into() });
    let slow = program(r#"{"mcpServers": {"a": {"command": "x", "timeout": 1500}}}"#, claude().1);
    assert_eq!(slow.timeout, Some(std::time::Duration::from_millis(1500)));
}

#[test]
fn local_entries_name_their_project() {
    let text = r#"{"mcpServers": {"u": {"command": "x"}}, "projects": {"/p/a": {"mcpServers": {"l": {"command": "y"}}}, "/p/b": {}}}"#;
    let found = read(text, &claude_user().1.shape).expect("readable").found;
    let told: Vec<_> = found.iter().map(|found| (found.name.as_str(), found.project.as_deref())).collect();
    assert_eq!(told, [("u", None), ("l", Some("/p/a"))]);
    assert_eq!(found[1].at, ["projects", "/p/a", "mcpServers", "l"]);
}

/// JavaScript cuts texts anywhere, and writes the halves of a pair as escapes.
#[test]
fn halves_of_a_surrogate_pair() {
    let text = r#"{"history": ["cut \ud83d", "\\ud83d \\\ude00 \ud83d\ude00"], "mcpServers": {"a": {"command": "x"}}}"#;
    let reading = read(text, &claude_user().1.shape).expect("readable");
    assert!(reading.rejected.is_none(), "{reading:?}");
    let after = moved(text, claude_user());
    let (before, _) = text.split_once("\"mcpServers\"").expect("there");
    assert!(after.starts_with(before) && after.contains("18901"), "{after}");
    assert_eq!(
        restore(&after, text, &claude_user().1.shape, &[vec!["mcpServers".into(), "a".into()]]).as_deref(),
        Ok(text)
    );
    for bad in [r#"{"a": "\ud83"#, r#"{"a": "\"#, r#"{"a": "\é"}"#] {
        assert!(matches!(read(bad, &cursor().1.shape), Err(Unreadable::Syntax { .. })), "{bad}");
    }
}

/// As many comments as anybody could write do not take as long as they are many.
#[test]
fn a_hundred_thousand_comments() {
    let many = "// one\n".repeat(100_000);
    let text = format!("{{\"mcpServers\": {{\"a\": {{\"command\": \"x\"\n{many}, \"env\": {{}}}}}}}}");
    let start = tokio::time::Instant::now();
    assert!(moved(&text, cursor()).contains("18901"));
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

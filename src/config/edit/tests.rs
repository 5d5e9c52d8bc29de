//! Edits of hub.toml, as people write it.
//!
//! In: texts. Out: the same with one thing changed. Owns nothing. May not: touch a file.

use super::*;

fn some() -> NewServer {
    NewServer {
        command: "npx".into(),
        args: vec!["-y".into(), "@scope/server".into()],
        env: vec![("TOKEN".into(), "${TOKEN}".into()), ("A B".into(), "\"quoted\"\n\\\u{7f}".into())],
        env_file: None,
        cwd: Some("~/work".into()),
        port: Some(18901),
        share: None,
        enabled: None,
    }
}

#[test]
fn enabling_keeps_comments_and_order() {
    let text = "# top\n[servers.a] # one\ncommand = \"x\"\nenabled = true # why\n\n[servers.b]\ncommand = \"y\"\n";
    let off = set_enabled(text, "a", false).expect("edited");
    assert_eq!(off, text.replace("enabled = true", "enabled = false"));
    assert_eq!(set_enabled(&off, "a", true).expect("edited"), text);
    let b = set_enabled(text, "b", false).expect("edited");
    assert_eq!(b, format!("{text}enabled = false\n"));
    assert!(set_enabled(text, "c", false).is_err());
    assert_eq!(
        set_enabled("servers = { a = { command = \"x\" } }\n", "a", false).expect("edited"),
        "servers = { a = { command = \"x\" , enabled = false } }\n"
    );
}

#[test]
fn a_server_is_added_at_the_end() {
    let added = add_server("", "a", &some()).expect("added");
    assert_eq!(
        added,
        "[servers.a]\ncommand = \"npx\"\nargs = [\"-y\", \"@scope/server\"]\n\
         env = { TOKEN = \"${TOKEN}\", \"A B\" = \"\\\"quoted\\\"\\n\\\\\\u007f\" }\n\
         cwd = \"~/work\"\nport = 18901\n"
    );
    let twice =
        add_server(&added, "b", &NewServer { command: "b".into(), enabled: Some(false), ..NewServer::default() });
    assert_eq!(twice.expect("added"), format!("{added}\n[servers.b]\ncommand = \"b\"\nenabled = false\n"));
    assert!(add_server(&added, "a", &some()).expect_err("twice").contains("already"));
    assert!(add_server("[servers", "a", &some()).is_err());
}

#[test]
fn what_was_there_stays_byte_for_byte() {
    let texts = [
        "# only a comment",
        "[hub]\nport = 1 # mine\n\n\n",
        "\u{feff}[hub]\r\nport = 1\r\n# end\r\n",
        "[servers.x]\ncommand = \"x\"\n[servers.x.env]\nA = \"1\"\n# share = \"session\"\n",
        "servers.x.command = \"x\"\nservers.x.cwd = \"/\"\n",
        "[servers]\nx = { command = \"x\" }\n",
        "[servers]\nx.command = \"x\"\n\n[defaults]\ncwd = \"/\"\n",
    ];
    for text in texts {
        let added = add_server(text, "new", &some()).unwrap_or_else(|problem| panic!("{problem}: {text}"));
        assert!(added.starts_with(text), "{added}");
        assert_eq!(text.contains("\r\n"), !added.replace("\r\n", "").contains('\n'), "{added}");
        let removed = remove_server(&added, "new").unwrap_or_else(|problem| panic!("{problem}: {added}"));
        assert_eq!(removed.trim_end(), text.trim_end());
    }
    let inline = "servers = { x = { command = \"x\" } } # all\n";
    let added = add_server(inline, "new", &NewServer { command: "n".into(), ..NewServer::default() }).expect("added");
    assert_eq!(added, "servers = { x = { command = \"x\" } , new = { command = \"n\" } } # all\n");
}

#[test]
fn long_lists_and_tables_are_broken() {
    let long = |text: &str| format!("{text}{}", "x".repeat(60));
    let fields = NewServer {
        args: vec![long("one"), long("two")],
        env: vec![("A".into(), long("a")), ("B".into(), long("b"))],
        ..some()
    };
    let added = add_server("", "a", &fields).expect("added");
    let x = "x".repeat(60);
    let args = format!("args = [\n    \"one{x}\",\n    \"two{x}\",\n]\n");
    let env = format!("port = 18901\n\n[servers.a.env]\nA = \"a{x}\"\nB = \"b{x}\"\n");
    assert!(added.contains(&args) && added.ends_with(&env), "{added}");
    assert_eq!(remove_server(&added, "a").expect("removed"), "");
}

#[test]
fn a_removed_server_takes_its_own_comments_along() {
    let text = "# My servers.\n[hub]\nport = 1\n\n# GitHub,\n# for work\n[servers.a] # head\ncommand = \"a\"\n\
                args = [\n  \"x\", # why\n]\n# share = \"session\"\n\n# of b\n[servers.b]\ncommand = \"b\"\n\n\
                [servers.a.env]\nK = \"1\"\n\n[defaults]\ncwd = \"/\"\n";
    assert_eq!(
        remove_server(text, "a").expect("removed"),
        "# My servers.\n[hub]\nport = 1\n\n# of b\n[servers.b]\ncommand = \"b\"\n\n[defaults]\ncwd = \"/\"\n"
    );
    assert!(remove_server(text, "b").expect("removed").contains("# for work"));
    let top = "# The file of mine\n[servers.a]\ncommand = \"a\"\n";
    assert_eq!(remove_server(top, "a").expect("removed"), "# The file of mine\n");
    let dotted = "servers.a.command = \"a\"\nservers.b.command = \"b\"\n";
    assert_eq!(remove_server(dotted, "a").expect("removed"), "servers.b.command = \"b\"\n");
    assert_eq!(remove_server("[servers]\na = { command = \"a\" }\n", "a").expect("removed"), "[servers]\n");
    assert!(remove_server(top, "b").expect_err("absent").contains("no [servers.b]"));
}

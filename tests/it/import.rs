//! Moving in and out: what `hub import`, `hub undo` and `hub export` do beside the texts (those are in `import_corpus`).
//!
//! In: files of clients. Out: a verdict per promise. Owns nothing. May not: start a server.

use crate::support::user::{Thing, User, differences};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const ONE: &str = "{\n  \"mcpServers\": {\n    \"a\": {\"command\": \"npx\", \"args\": [\"a-mcp\"]}\n  }\n}\n";

/// A `git` that does something else before it says that it tracks nothing: it is asked after all files were read.
fn git_that(user: &User, does: &str) {
    fs::remove_file(user.path("bin/git")).expect("a link");
    user.write("bin/git", format!("#!/bin/sh\n{does}\nexit 1\n").as_bytes());
    user.chmod("bin/git", 0o755);
    // The script is run by a shell that looks for its own programs.
    for program in ["sh", "cp", "cat"] {
        let real = ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(program));
        let real = real.into_iter().find(|path| path.exists()).expect("a program of every system");
        let link = user.path(&format!("bin/{program}"));
        std::os::unix::fs::symlink(real, link).expect("a link");
    }
}

fn mode(user: &User, name: &str) -> u32 {
    user.tree()[Path::new(name)].0
}

#[test]
fn nothing_is_changed_without_a_yes() {
    let user = User::new();
    user.write("project/.mcp.json", ONE.as_bytes());
    let before = user.tree();
    let asked = user.cli(&["import"]);
    assert_eq!(asked.code, 1, "{asked:?}");
    assert!(asked.stdout.contains("New servers") && asked.stderr.contains("hint: `hub import --yes`"), "{asked:?}");
    let document = user.cli(&["import", "--json"]);
    assert_eq!((document.code, &document.json()["done"]), (1, &Value::Null));
    assert_eq!(user.run(&["import", "--dry-run"]).stderr, "");
    assert_eq!(differences(&before, &user.tree()), Vec::<PathBuf>::new());
}

#[test]
fn the_first_import_makes_everything_and_undo_leaves_no_trace() {
    let user = User::without_config();
    user.write("project/.mcp.json", ONE.as_bytes());
    fs::remove_dir(user.path("hub")).expect("an empty folder");
    let before = user.tree();
    user.run(&["import", "--yes"]);
    assert_eq!((mode(&user, "hub"), mode(&user, "hub/hub.toml")), (0o700, 0o600));
    assert!(user.read("hub/hub.toml").contains("[hub]\n# port = 18900"));
    assert!(user.run(&["check"]).stdout.contains("is fine: 1 server"));
    for (path, (mode, thing)) in user.tree().iter().filter(|(path, _)| path.starts_with("state")) {
        let wanted = if *thing == Thing::Folder { 0o700 } else { 0o600 };
        assert_eq!(*mode, wanted, "{}", path.display());
    }
    user.run(&["undo"]);
    assert_eq!(differences(&before, &user.tree()), Vec::<PathBuf>::new());
}

#[test]
fn a_readable_hub_toml_becomes_private_and_readable_again() {
    let user = User::new();
    user.write("project/.mcp.json", ONE.as_bytes());
    user.chmod("hub/hub.toml", 0o644);
    user.run(&["import", "--yes"]);
    assert_eq!(mode(&user, "hub/hub.toml"), 0o600, "secrets may be in it now");
    user.run(&["undo"]);
    assert_eq!(mode(&user, "hub/hub.toml"), 0o644);
}

#[test]
fn an_invalid_hub_toml_stops_everything() {
    let user = User::new();
    user.write("project/.mcp.json", ONE.as_bytes());
    for (text, said) in
        [("[hub]\nprot = 1\n", "unknown key"), ("[hub\n", "hub.toml:1"), ("[servers.x]\n", "`command` is missing")]
    {
        user.write("hub/hub.toml", text.as_bytes());
        let before = user.tree();
        let output = user.cli(&["import", "--yes"]);
        assert_eq!(output.code, 78, "{output:?}");
        assert!(output.stderr.contains(said), "{output:?}");
        assert_eq!(differences(&before, &user.tree()), Vec::<PathBuf>::new());
    }
    user.write("hub/hub.toml", user.hub_head().as_bytes());
    user.chmod("hub/hub.toml", 0o666);
    assert_eq!(user.cli(&["import", "--yes"]).code, 78, "others may write it");
}

#[test]
fn named_files_that_are_of_no_use() {
    let user = User::new();
    user.write("project/what.json", b"{\"some\": \"settings\"}");
    let absent = user.cli(&["import", "nothing.json"]);
    assert!(absent.code == 1 && absent.stderr.contains("there is no file"), "{absent:?}");
    let unknown = user.cli(&["import", "what.json"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("--from claude-code|"), "{unknown:?}");
    assert_eq!(user.cli(&["import", "--from", "emacs"]).code, 2);
    assert!(user.run(&["import", "what.json", "--from", "cursor"]).stdout.starts_with("Nothing to do"));
}

/// Somebody writes a file after it was read: it stays theirs, the others move, and the next import does the rest.
#[test]
fn a_concurrent_edit_is_kept() {
    let user = User::new();
    user.write("project/.mcp.json", ONE.as_bytes());
    user.write("home/.cursor/mcp.json", ONE.replace("a-mcp", "b-mcp").as_bytes());
    let theirs = ONE.replace("}\n}\n", "},\n  \"theirs\": 1\n}\n");
    user.write("theirs.json", theirs.as_bytes());
    let [from, to] = ["theirs.json", "project/.mcp.json"].map(|name| user.path(name).display().to_string());
    git_that(&user, &format!("cp '{from}' '{to}'"));
    let before = user.tree();
    let output = user.cli(&["import", "--yes"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains(".mcp.json: it changed in the meantime"), "{output:?}");
    assert!(output.stderr.contains("hint: run `hub import` again"), "{output:?}");
    assert_eq!(user.read("project/.mcp.json"), theirs);
    assert!(user.read("home/.cursor/mcp.json").contains("http://127.0.0.1:"));
    assert!(user.run(&["check"]).stdout.contains("2 servers"));

    git_that_tracks_nothing(&user);
    let middle = user.tree();
    user.run(&["import", "--yes"]);
    let moved = user.read("project/.mcp.json");
    assert!(moved.contains("http://127.0.0.1:") && moved.contains("\"theirs\": 1"), "{moved}");
    user.run(&["undo"]);
    assert_eq!(differences(&middle, &user.tree()), Vec::<PathBuf>::new());
    user.run(&["undo"]);
    let left = differences(&before, &user.tree());
    assert!(left.iter().all(|path| path.starts_with("bin") || path.ends_with(".mcp.json")), "{left:?}");
    assert_eq!(user.read("project/.mcp.json"), theirs);
}

fn git_that_tracks_nothing(user: &User) {
    user.write("bin/git", b"#!/bin/sh\nexit 1\n");
}

/// hub.toml itself changes: then no client is sent to servers that are not in it.
#[test]
fn a_concurrent_edit_of_hub_toml_stops_everything() {
    let user = User::new();
    user.write("project/.mcp.json", ONE.as_bytes());
    user.write("theirs.toml", format!("{}# theirs\n", user.hub_head()).as_bytes());
    let [from, to] = ["theirs.toml", "hub/hub.toml"].map(|name| user.path(name).display().to_string());
    git_that(&user, &format!("cat '{from}' > '{to}'"));
    let before = user.tree();
    let output = user.cli(&["import", "--yes"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.stderr.contains("it changed in the meantime") && output.stderr.contains("nothing was changed"),
        "{output:?}"
    );
    let changed = differences(&before, &user.tree());
    let changed: Vec<_> = changed.into_iter().filter(|path| !path.starts_with("state")).collect();
    assert_eq!(changed, [Path::new("hub/hub.toml")]);
    assert!(user.read("hub/hub.toml").ends_with("# theirs\n"));
    assert!(user.run(&["undo"]).stdout.starts_with("Nothing to undo"));
}

#[test]
fn one_import_at_a_time() {
    let user = User::new();
    user.write("project/.mcp.json", ONE.as_bytes());
    fs::create_dir(user.path("state")).expect("a folder");
    let state = File::open(user.path("state")).expect("a folder");
    state.lock().expect("free");
    for args in [&["import", "--yes"][..], &["undo"]] {
        let output = user.cli(args);
        assert!(
            output.code == 1 && output.stderr.contains("another hub command is changing these files"),
            "{output:?}"
        );
    }
    assert_eq!(user.read("project/.mcp.json"), ONE);
    drop(state);
    user.run(&["import", "--yes"]);
}

/// Claude Code writes its file all the time: what it wrote stays, and the entries can be put back alone.
#[test]
fn undo_of_a_file_that_changed_since() {
    let user = User::new();
    let claude = "{\n  \"numStartups\": 1,\n  \"mcpServers\": {\n    \"a\": {\"command\": \"npx\", \"args\": [\"a-mcp\"], \"env\": {\"K\": \"s3cr3t\"}},\n    \
                  \"b\": {\"command\": \"npx\", \"args\": [\"b-mcp\"]}\n  }\n}\n";
    user.write("home/.claude.json", claude.as_bytes());
    user.write("project/.mcp.json", ONE.as_bytes());
    let before = user.tree();
    user.run(&["import", "--yes"]);
    let moved = user.read("home/.claude.json");
    let since = moved.replace("\"numStartups\": 1", "\"numStartups\": 2,\n  \"apiKey\": \"s3cr3t\"");
    user.write("home/.claude.json", since.as_bytes());

    let dry = user.cli(&["undo", "--dry-run"]);
    assert!(dry.code == 1 && dry.stdout.contains("would be restored"), "{dry:?}");
    let refused = user.cli(&["undo"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for said in [
        "-  \"numStartups\": 1,",
        "+  \"numStartups\": 2,",
        "+  \"apiKey\": \"***\"",
        "clients still read from its servers",
    ] {
        assert!(refused.stdout.contains(said), "{said}: {}", refused.stdout);
    }
    assert!(refused.stderr.contains("hint: `hub undo --entries`") && !refused.stdout.contains("s3cr3t"), "{refused:?}");
    assert_eq!(user.read("home/.claude.json"), since);
    assert_eq!(user.read("project/.mcp.json"), ONE, "the other file is back");
    assert!(user.read("hub/hub.toml").contains("[servers.b]"), "a client still needs it");

    user.run(&["undo", "--entries"]);
    let wanted = claude.replace("\"numStartups\": 1", "\"numStartups\": 2,\n  \"apiKey\": \"s3cr3t\"");
    assert_eq!(user.read("home/.claude.json"), wanted);
    assert_eq!(differences(&before, &user.tree()), [Path::new("home/.claude.json")]);
}

#[test]
fn undo_of_entries_leaves_those_that_changed_since() {
    let user = User::new();
    let two = "{\"mcpServers\": {\"a\": {\"command\": \"npx\", \"args\": [\"a-mcp\"]}, \"b\": {\"command\": \"npx\", \"args\": [\"b-mcp\"]}}}\n";
    user.write("home/.claude.json", two.as_bytes());
    user.run(&["import", "--yes"]);
    let moved: Value = serde_json::from_str(&user.read("home/.claude.json")).expect("JSON");
    let mut since = moved.clone();
    since["mcpServers"]["a"]["url"] = json!("https://mine.example.com/mcp");
    user.write("home/.claude.json", since.to_string().as_bytes());
    let output = user.run(&["undo", "--entries", "--json"]);
    let files = &output.json()["undone"]["files"];
    assert_eq!(files[0]["detail"], json!({"back": ["b"], "left": ["a"]}));
    assert_eq!(files[1]["outcome"], "restored", "no client reads from hub any more");
    let now: Value = serde_json::from_str(&user.read("home/.claude.json")).expect("JSON");
    assert_eq!(now["mcpServers"]["a"], since["mcpServers"]["a"]);
    assert_eq!(now["mcpServers"]["b"], json!({"command": "npx", "args": ["b-mcp"]}));
}

/// An entry was made to read from the server of another one: hub.toml is needed still.
#[test]
fn undo_of_entries_keeps_the_servers_that_are_read_from() {
    let user = User::new();
    let two = ONE.replace("\n  }", ",\n    \"b\": {\"command\": \"npx\", \"args\": [\"b-mcp\"]}\n  }");
    user.write("home/.claude.json", two.as_bytes());
    user.run(&["import", "--yes"]);
    let mut since: Value = serde_json::from_str(&user.read("home/.claude.json")).expect("JSON");
    since["mcpServers"]["a"] = since["mcpServers"]["b"].clone();
    user.write("home/.claude.json", since.to_string().as_bytes());
    let output = user.cli(&["undo", "--entries", "--json"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(output.json()["undone"]["files"][1]["outcome"], "needed");
    assert!(user.read("hub/hub.toml").contains("[servers.b]"));
}

/// The folder of a project is gone, or a client: that does not stand in the way of the rest, nor of earlier imports.
#[test]
fn undo_of_entries_passes_over_files_that_are_gone() {
    let user = User::new();
    let before = user.tree();
    user.write("home/.cursor/mcp.json", ONE.as_bytes());
    user.run(&["import", "--yes"]);
    fs::remove_dir_all(user.path("home/.cursor")).expect("a folder");
    let refused = user.cli(&["undo"]);
    assert!(refused.code == 1 && refused.stderr.contains("hint: `hub undo --entries`"), "{refused:?}");
    let output = user.run(&["undo", "--entries"]);
    assert!(output.stdout.contains("gone since"), "{output:?}");
    assert_eq!(differences(&before, &user.tree()), Vec::<PathBuf>::new());
}

/// Two accounts of one service, imported where neither variable is set.
#[test]
fn variables_that_are_not_set_keep_servers_apart() {
    let user = User::new();
    let account =
        |variable: &str| json!({"command": "npx", "args": ["a-mcp"], "env": {"TOKEN": format!("${{env:{variable}}}")}});
    let both = json!({"mcpServers": {"work": account("HUB_TEST_WORK"), "home": account("HUB_TEST_HOME")}});
    user.write("home/.cursor/mcp.json", both.to_string().as_bytes());
    user.run(&["import", "--yes"]);
    let hub = user.read("hub/hub.toml");
    assert!(hub.contains("\"${HUB_TEST_WORK:-}\"") && hub.contains("\"${HUB_TEST_HOME:-}\""), "{hub}");
}

/// Claude Code starts an entry whatever its `disabled` says; and a server that was imported switched off is told of when an
/// entry comes that is not.
#[test]
fn what_is_switched_off_is_said() {
    let user = User::new();
    let off = ONE.replace("\"args\"", "\"disabled\": true, \"args\"");
    user.write("project/.mcp.json", off.replace("a-mcp", "b-mcp").as_bytes());
    user.write("home/.codeium/windsurf/mcp_config.json", off.as_bytes());
    user.run(&["import", "--yes"]);
    assert_eq!(user.read("hub/hub.toml").matches("enabled = false").count(), 1);
    user.write("home/.cursor/mcp.json", ONE.as_bytes());
    let output = user.run(&["import", "--yes"]);
    assert!(output.stdout.contains("switched off in hub.toml: `hub enable a"), "{output:?}");
}

/// No git to ask: what is in a repository may be committed.
#[test]
fn without_git_files_of_a_repository_stay() {
    let user = User::new();
    user.write("project/.mcp.json", ONE.as_bytes());
    user.git_add("project", &[".mcp.json"]);
    fs::remove_file(user.path("bin/git")).expect("a link");
    user.run(&["import", "--yes"]);
    assert_eq!(user.read("project/.mcp.json"), ONE);
    assert!(user.read("home/.claude.json").contains("http://127.0.0.1:"));
}

/// hub.toml grew since (`hub add`): only what import added goes.
#[test]
fn undo_keeps_what_was_added_to_hub_toml_since() {
    let user = User::new();
    user.write("project/.mcp.json", ONE.as_bytes());
    user.run(&["import", "--yes"]);
    let since = format!("{}\n[servers.mine]\ncommand = \"mine\"\n", user.read("hub/hub.toml"));
    user.write("hub/hub.toml", since.as_bytes());
    let refused = user.cli(&["undo"]);
    assert!(refused.code == 1 && refused.stdout.contains("+[servers.mine]"), "{refused:?}");
    assert_eq!(user.read("project/.mcp.json"), ONE);
    user.run(&["undo", "--entries"]);
    assert_eq!(user.read("hub/hub.toml"), format!("{}\n[servers.mine]\ncommand = \"mine\"\n", user.hub_head()));
}

#[test]
fn undo_goes_back_one_import_at_a_time() {
    let user = User::new();
    let files = ["home/.cursor/mcp.json", "home/.junie/mcp/mcp.json", "home/.lmstudio/mcp.json"];
    let text = |file: &str| ONE.replace("a-mcp", file.rsplit('.').nth(1).expect("a name"));
    for file in files {
        user.write(file, text(file).as_bytes());
        user.run(&["import", "--yes"]);
    }
    for (left, file) in files.iter().enumerate().rev() {
        let output = user.run(&["undo"]);
        assert_eq!(output.stdout.contains("Another `hub undo`"), left > 0, "{output:?}");
        for (at, other) in files.iter().enumerate() {
            assert_eq!(user.read(other) == text(other), at >= left, "{other} after undo of {file}");
        }
        assert_eq!(user.read("hub/hub.toml").matches("[servers.").count(), left);
    }
    assert_eq!(user.run(&["undo", "--json"]).json()["undone"], Value::Null);
    assert!(!user.path("state").exists());
}

/// However many imports there were, their undos lead back to the first bytes.
#[test]
fn undo_goes_back_to_the_very_first_bytes() {
    const IMPORTS: usize = 24;
    let user = User::new();
    let file = |n: usize| format!("project/f{n}.json");
    for n in 0..IMPORTS {
        user.write(&file(n), ONE.replace("a-mcp", &format!("mcp-{n}")).as_bytes());
    }
    let before = user.tree();
    for n in 0..IMPORTS {
        user.run(&["import", &format!("f{n}.json"), "--from", "cursor", "--yes"]);
    }
    for n in 1..=IMPORTS {
        let undone = user.run(&["undo"]);
        let earlier = format!("{} earlier import", IMPORTS - n);
        assert!(n == IMPORTS || undone.stdout.contains(&earlier), "{undone:?}");
    }
    assert_eq!(differences(&before, &user.tree()), Vec::<PathBuf>::new());
}

/// A read-only hub.toml says that nobody shall write it.
#[test]
fn a_read_only_hub_toml_stays() {
    let user = User::new();
    user.write("project/.mcp.json", ONE.as_bytes());
    user.write("hub/hub.toml", user.hub_head().as_bytes());
    let path = user.path("hub/hub.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("mode");
    let before = user.tree();
    let refused = user.cli(&["import", "--yes"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains(&format!("it is read-only; if hub may change it, run: chmod u+w {}", path.display())),
        "{refused:?}"
    );
    let changed: Vec<_> =
        differences(&before, &user.tree()).into_iter().filter(|path| !path.starts_with("state")).collect();
    assert_eq!(changed, Vec::<PathBuf>::new());
}

#[test]
fn a_plan_of_many_entries_fits_the_page() {
    let user = User::new();
    let entries: Vec<String> = (0..50)
        .map(|n| format!("\"server-number-{n:02}\": {{\"command\": \"npx\", \"args\": [\"-y\", \"@some-scope/a-rather-long-name-{n:02}\", \"--option\", \"value\"], \"env\": {{\"SOME_TOKEN\": \"${{SOME_TOKEN}}\"}}}}"))
        .collect();
    user.write("home/.claude.json", format!("{{\"mcpServers\": {{{}}}}}", entries.join(",\n")).as_bytes());
    let page = user.run(&["import", "--dry-run"]).stdout;
    assert!(page.starts_with("50 entries of your clients: 50 new servers of hub.\n"), "{page}");
    let long: Vec<&str> = page.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(long.is_empty(), "{long:#?}");
    assert!(page.lines().count() < 180, "{} lines", page.lines().count());
}

#[test]
fn export_is_what_import_writes() {
    let user = User::new();
    user.write("home/.claude.json", ONE.as_bytes());
    user.run(&["import", "--yes"]);
    let url = format!("http://127.0.0.1:{}/mcp", user.port + 1);
    let claude = user.run(&["export"]).json();
    let moved: Value = serde_json::from_str(&user.read("home/.claude.json")).expect("JSON");
    assert_eq!(claude["mcpServers"], moved["mcpServers"]);
    assert_eq!(user.run(&["export", "--client", "codex"]).stdout, format!("[mcp_servers.a]\nurl = \"{url}\"\n"));
    let all = user.run(&["export", "--client", "cursor", "--aggregate"]).json();
    assert_eq!(all, json!({"mcpServers": {"hub": {"url": format!("http://127.0.0.1:{}/mcp", user.port)}}}));
    let shim = user.run(&["export", "--client", "claude-desktop", "--aggregate"]).json();
    // This user's folders are told: a client would start hub without the variables of this test.
    let config = user.path("hub/hub.toml").display().to_string();
    assert_eq!(shim["mcpServers"]["hub"]["args"], json!(["--config", config, "connect"]));
    assert_eq!(shim["mcpServers"]["hub"]["env"], json!({"HUB_STATE_DIR": user.path("state")}));
    user.write("hub/hub.toml", format!("{}[servers.a]\ncommand = \"x\"\n", user.hub_head()).as_bytes());
    let without = user.cli(&["export"]);
    assert!(without.code == 1 && without.stderr.contains("not given a port yet to: a"), "{without:?}");
}

/// A port that something else listens on is not given to a server.
#[test]
fn ports_are_free_when_they_are_given() {
    let user = User::new();
    user.write("project/.mcp.json", ONE.as_bytes());
    let _other = std::net::TcpListener::bind(("127.0.0.1", user.port + 1)).expect("a free port");
    user.run(&["import", "--yes"]);
    assert!(user.read("hub/hub.toml").contains(&format!("port = {}\n", user.port + 2)));
}

#[test]
fn a_folder_of_a_project_stands_for_the_project() {
    let user = User::new();
    user.write("project/.mcp.json", ONE.as_bytes());
    user.write("project/src/deep/main.js", b"");
    let planned = |folder: &str| {
        let mut command = user.command();
        command.args(["import", "--dry-run"]).current_dir(user.path(folder));
        String::from_utf8(command.output().expect("hub runs").stdout).expect("text")
    };
    let found = |folder: &str| planned(folder).contains("npx a-mcp");
    assert!(!found("project/src/deep"), "without a repository nobody knows how far up a project goes");
    fs::create_dir(user.path("project/.git")).expect("made");
    assert!(found("project/src/deep") && found("project/src") && found("project"));
    fs::create_dir(user.path("project/src/.git")).expect("made");
    assert!(!found("project/src/deep"), "a repository within is a project of its own");
}

/// A repository's own configuration names programs, and a repository may come from anybody.
#[test]
fn nothing_of_a_repository_is_run() {
    let user = User::new();
    user.write("project/.mcp.json", ONE.as_bytes());
    user.git_add("project", &[".mcp.json"]);
    let ran = user.path("ran");
    let program = user.path("monitor");
    user.write("monitor", format!("#!/bin/sh\n: > '{}'\n", ran.display()).as_bytes());
    user.chmod("monitor", 0o755);
    let config = fs::read_to_string(user.path("project/.git/config")).expect("text");
    let monitor = format!("{config}[core]\n\tfsmonitor = {}\n", program.display());
    user.write("project/.git/config", monitor.as_bytes());
    let said = user.run(&["import", "--dry-run"]);
    assert!(said.stdout.contains("npx a-mcp"), "{said:?}");
    assert!(!ran.exists());
}

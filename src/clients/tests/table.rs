//! The table of clients: where their files lie, what their entries look like, what they become.
//!
//! In: the table. Out: verdicts. Owns no state. May not: touch a file.

use std::path::{Path, PathBuf};

use super::{Scope, TARGET, inserted, moved, place, program};
use crate::clients::{Bases, CLIENTS, Entry, HttpForm, client, export, guess, matches, read};

/// Where the places of a scope lie for a user `u` with these variables.
fn paths(id: &str, scope: Scope, mac: bool, vars: &[(&str, &str)]) -> Vec<String> {
    let home = Path::new("/h");
    let config = if mac { "/h/Library/Application Support" } else { "/h/.config" };
    let lookup = |name: &str| vars.iter().find(|var| var.0 == name).map(|var| var.1.to_owned());
    let bases = Bases {
        home,
        config: Path::new(config),
        xdg: Path::new("/h/.config"),
        vars: &lookup,
        project: Some(Path::new("/p")),
    };
    let client = client(id).expect("known");
    let places = client.places.iter().filter(|place| place.scope == scope);
    places.filter_map(|place| place.path(&bases)).map(|path| path.display().to_string()).collect()
}

#[test]
fn all_clients() {
    let ids: Vec<_> = CLIENTS.iter().map(|client| client.id).collect();
    let expected = [
        "claude-code",
        "claude-desktop",
        "cursor",
        "vscode",
        "windsurf",
        "cline",
        "roo",
        "continue",
        "zed",
        "codex",
        "gemini",
        "opencode",
        "goose",
        "amp",
        "kiro",
        "junie",
        "warp",
        "lmstudio",
        "copilot",
    ];
    assert_eq!(ids, expected);
    assert!(client("nothing").is_none());
    for client in CLIENTS {
        assert!(client.places.iter().any(|place| place.scope == Scope::User), "{}", client.id);
        assert!(client.places.iter().all(|place| !place.path.starts_with('/')), "{}", client.id);
        assert!(client.places.iter().all(|place| !place.shape.entries.is_empty()), "{}", client.id);
    }
}

#[test]
fn where_files_lie_on_linux() {
    let user = |id| paths(id, Scope::User, false, &[]);
    assert_eq!(user("claude-code"), ["/h/.claude.json"]);
    assert_eq!(user("claude-desktop"), ["/h/.config/Claude/claude_desktop_config.json"]);
    assert_eq!(user("cursor"), ["/h/.cursor/mcp.json"]);
    assert_eq!(
        user("vscode")[..3],
        [
            "/h/.config/Code/User/mcp.json",
            "/h/.config/Code/User/profiles/*/mcp.json",
            "/h/.config/Code/User/settings.json"
        ]
    );
    assert_eq!(user("windsurf"), ["/h/.codeium/windsurf/mcp_config.json", "/h/.codeium/mcp_config.json"]);
    assert_eq!(
        user("cline")[0],
        "/h/.config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"
    );
    assert_eq!(
        user("roo")[0],
        "/h/.config/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json"
    );
    assert_eq!(user("continue")[0], "/h/.continue/config.yaml");
    assert_eq!(user("zed"), ["/h/.config/zed/settings.json"]);
    assert_eq!(user("codex"), ["/h/.codex/config.toml"]);
    assert_eq!(user("gemini"), ["/h/.gemini/settings.json"]);
    assert_eq!(user("opencode"), ["/h/.config/opencode/opencode.json", "/h/.config/opencode/opencode.jsonc"]);
    assert_eq!(user("goose"), ["/h/.config/goose/config.yaml"]);
    assert_eq!(user("amp")[0], "/h/.config/amp/settings.json");
    assert_eq!(user("kiro"), ["/h/.kiro/settings/mcp.json"]);
    assert_eq!(user("junie"), ["/h/.junie/mcp/mcp.json"]);
    assert_eq!(user("warp"), ["/h/.warp/.mcp.json"]);
    assert_eq!(user("lmstudio"), ["/h/.lmstudio/mcp.json", "/h/.cache/lm-studio/mcp.json"]);
    assert_eq!(user("copilot"), ["/h/.copilot/mcp-config.json"]);
    assert_eq!(paths("claude-code", Scope::Project, false, &[]), ["/p/.mcp.json"]);
    assert_eq!(paths("claude-code", Scope::Managed, false, &[])[0], "/etc/claude-code/managed-mcp.json");
    assert_eq!(paths("vscode", Scope::Project, false, &[]), ["/p/.vscode/mcp.json", "/p/.vscode/settings.json"]);
}

#[test]
fn where_files_lie_on_macos() {
    let user = |id: &str| paths(id, Scope::User, true, &[]).remove(0);
    let support = "/h/Library/Application Support";
    assert_eq!(user("claude-desktop"), format!("{support}/Claude/claude_desktop_config.json"));
    assert_eq!(user("vscode"), format!("{support}/Code/User/mcp.json"));
    assert!(user("cline").starts_with(support) && user("roo").starts_with(support));
    // These take no notice of the system.
    for id in ["zed", "opencode", "goose", "amp"] {
        assert!(user(id).starts_with("/h/.config/"), "{id}");
    }
}

#[test]
fn variables_move_files() {
    let user = |id: &str, var: &str, value: &str| paths(id, Scope::User, false, &[(var, value)]);
    assert_eq!(user("claude-code", "CLAUDE_CONFIG_DIR", "/c"), ["/c/.claude.json"]);
    assert_eq!(user("codex", "CODEX_HOME", "/c"), ["/c/config.toml"]);
    assert_eq!(user("codex", "CODEX_HOME", ""), ["/h/.codex/config.toml"]);
    assert_eq!(user("opencode", "OPENCODE_CONFIG", "/c/o.json")[2], "/c/o.json");
    assert_eq!(user("copilot", "COPILOT_HOME", "/c")[1], "/c/mcp-config.json");
}

#[test]
fn names_and_patterns() {
    assert!(matches("*.yaml", "a.yaml") && matches("mcp.json", "mcp.json") && matches("*", "1a2b"));
    assert!(
        !matches("*.yaml", ".yaml")
            && !matches("*.yaml", "a.yml")
            && !matches("mcp.json", "xmcp.json")
            && !matches("ab*ba", "aba")
    );
}

#[test]
fn files_that_a_person_names() {
    let told = |path: &str| guess(Path::new(path)).map(|(client, place)| (client.id, place.scope));
    assert_eq!(told("/x/y/.mcp.json"), Some(("claude-code", Scope::Project)));
    assert_eq!(told(".mcp.json"), Some(("claude-code", Scope::Project)));
    assert_eq!(told("/h/.warp/.mcp.json"), Some(("warp", Scope::User)));
    assert_eq!(told("/h/.claude.json"), Some(("claude-code", Scope::User)));
    assert_eq!(told("/h/.codex/config.toml"), Some(("codex", Scope::User)));
    assert_eq!(told("/x/.vscode/mcp.json"), Some(("vscode", Scope::Project)));
    assert_eq!(told("/x/Code/User/profiles/1f/mcp.json"), Some(("vscode", Scope::User)));
    assert_eq!(told("/x/.continue/mcpServers/a.yaml"), Some(("continue", Scope::User)));
    assert_eq!(told("/x/opencode.jsonc"), Some(("opencode", Scope::Project)));
    assert_eq!(told("/x/claude_desktop_config.json"), Some(("claude-desktop", Scope::User)));
    assert_eq!(told("/x/cline_mcp_settings.json"), Some(("cline", Scope::User)));
    assert_eq!(told("/x/mcp.json"), None);
    assert_eq!(told("/x/settings.json"), None);
    assert_eq!(told("/x/unknown.json"), None);
    assert_eq!(guess(&PathBuf::new()).map(|(client, _)| client.id), None);
}

/// One entry in the form of each client, with its own switches, and what it becomes.
const BECOMES: &[(&str, &str, &str)] = &[
    (
        "claude-code",
        r#"{"mcpServers": {"a": {"type": "stdio", "command": "x", "args": ["y"], "env": {}, "alwaysLoad": true}}}"#,
        r#"{"mcpServers": {"a": {"type": "http", "url": "URL", "timeout": 86400000, "alwaysLoad": true}}}"#,
    ),
    (
        "claude-desktop",
        r#"{"mcpServers": {"a": {"command": "x", "args": ["y"], "env": {"K": "v"}}}}"#,
        r#"{"mcpServers": {"a": {"command": "/usr/local/bin/hub", "args": ["connect", "srv"]}}}"#,
    ),
    (
        "cursor",
        r#"{"mcpServers": {"a": {"command": "x", "envFile": ".env"}}}"#,
        r#"{"mcpServers": {"a": {"url": "URL"}}}"#,
    ),
    (
        "vscode",
        r#"{"servers": {"a": {"type": "stdio", "command": "x", "cwd": "/p", "dev": {"watch": "*"}, "gallery": "g", "version": "1"}}, "inputs": []}"#,
        r#"{"servers": {"a": {"type": "http", "url": "URL", "gallery": "g", "version": "1"}}, "inputs": []}"#,
    ),
    (
        "windsurf",
        r#"{"mcpServers": {"a": {"command": "x", "disabledTools": ["t"]}}}"#,
        r#"{"mcpServers": {"a": {"serverUrl": "URL", "disabledTools": ["t"]}}}"#,
    ),
    (
        "cline",
        r#"{"mcpServers": {"a": {"command": "x", "autoApprove": ["t"], "disabled": true, "timeout": 60, "transportType": "stdio"}}}"#,
        r#"{"mcpServers": {"a": {"type": "streamableHttp", "autoApprove": ["t"], "disabled": true, "timeout": 60, "url": "URL"}}}"#,
    ),
    (
        "roo",
        r#"{"mcpServers": {"a": {"command": "x", "args": [], "watchPaths": ["p"], "alwaysAllow": ["t"], "timeout": 60}}}"#,
        r#"{"mcpServers": {"a": {"type": "streamable-http", "url": "URL", "alwaysAllow": ["t"], "timeout": 60}}}"#,
    ),
    (
        "continue",
        "mcpServers:\n  - name: a\n    command: x\n    args: [y]\n",
        "mcpServers:\n  - name: a\n    type: streamable-http\n    url: URL\n",
    ),
    (
        "zed",
        r#"{"theme": "x", "context_servers": {"a": {"source": "custom", "enabled": true, "command": {"path": "x", "args": ["y"], "env": {}}, "settings": {}}}}"#,
        r#"{"theme": "x", "context_servers": {"a": {"url": "URL", "enabled": true, "settings": {}}}}"#,
    ),
    (
        "codex",
        "[mcp_servers.a]\ncommand = \"x\"\nenv_vars = [\"K\"]\ntool_timeout_sec = 9\n",
        "[mcp_servers.a]\nurl = \"URL\"\ntool_timeout_sec = 9\n",
    ),
    (
        "gemini",
        r#"{"mcpServers": {"a": {"command": "x", "args": [], "trust": true, "includeTools": ["t"], "timeout": 5}}}"#,
        r#"{"mcpServers": {"a": {"type": "http", "url": "URL", "trust": true, "includeTools": ["t"], "timeout": 5}}}"#,
    ),
    (
        "opencode",
        r#"{"mcp": {"a": {"type": "local", "command": ["x", "y"], "environment": {"K": "v"}, "enabled": false, "timeout": 9}}}"#,
        r#"{"mcp": {"a": {"type": "remote", "url": "URL", "enabled": false, "timeout": 9}}}"#,
    ),
    (
        "goose",
        "extensions:\n  a:\n    cmd: x\n    args: []\n    envs: {}\n    enabled: true\n    available_tools: [t]\n",
        "extensions:\n  a:\n    type: streamable_http\n    uri: URL\n    enabled: true\n    available_tools: [t]\n",
    ),
    (
        "amp",
        r#"{"amp.mcpServers": {"a": {"command": "x", "includeTools": ["t"]}}, "amp.x": 1}"#,
        r#"{"amp.mcpServers": {"a": {"url": "URL", "includeTools": ["t"]}}, "amp.x": 1}"#,
    ),
    (
        "kiro",
        r#"{"mcpServers": {"a": {"command": "x", "disabled": false, "autoApprove": []}}}"#,
        r#"{"mcpServers": {"a": {"url": "URL", "disabled": false, "autoApprove": []}}}"#,
    ),
    (
        "junie",
        r#"{"mcpServers": {"a": {"command": "x"}}}"#,
        r#"{"mcpServers": {"a": {"command": "/usr/local/bin/hub", "args": ["connect", "srv"]}}}"#,
    ),
    (
        "warp",
        r#"{"mcpServers": {"a": {"command": "x", "working_directory": "/p"}}}"#,
        r#"{"mcpServers": {"a": {"url": "URL"}}}"#,
    ),
    ("lmstudio", r#"{"mcpServers": {"a": {"command": "x"}}}"#, r#"{"mcpServers": {"a": {"url": "URL"}}}"#),
    (
        "copilot",
        r#"{"mcpServers": {"a": {"type": "local", "command": "x", "args": [], "tools": ["t"]}}}"#,
        r#"{"mcpServers": {"a": {"type": "http", "url": "URL", "tools": ["t"]}}}"#,
    ),
];

#[test]
fn what_an_entry_becomes() {
    assert_eq!(BECOMES.len(), CLIENTS.len());
    for (id, text, expected) in BECOMES {
        let client = client(id).expect("known");
        let result = moved(text, (client, &client.places[0]));
        assert_eq!(result, expected.replace("URL", TARGET.url), "{id}");
        if !matches!(client.http, HttpForm::Shim) {
            assert_eq!(moved(&result, (client, &client.places[0])), result, "{id}: a second time");
        }
    }
}

#[test]
fn shapes_of_single_clients() {
    let old_zed = r#"{"context_servers": {"a": {"command": {"path": "x", "args": ["y"], "env": {"K": "v"}}}}}"#;
    let stdio = program(old_zed, place("zed", Scope::User, "settings.json").1);
    assert_eq!((stdio.command.as_str(), stdio.args.len(), stdio.env.len()), ("x", 1, 1));
    let array = r#"{"mcp": {"a": {"type": "local", "command": ["x", "y", "z"], "environment": {"K": "v"}}}}"#;
    let opencode = place("opencode", Scope::Project, "opencode.json").1;
    let stdio = program(array, opencode);
    assert_eq!((stdio.command.as_str(), stdio.args.len(), stdio.env.len()), ("x", 2, 1));
    let newer = r#"{"mcp": {"servers": {"a": {"command": ["x"]}, "b": {"command": ["y"]}}}}"#;
    let found = read(newer, &opencode.shape).expect("readable").found;
    assert_eq!(found.iter().map(|found| found.at.join("/")).collect::<Vec<_>>(), ["mcp/servers/a", "mcp/servers/b"]);
    let called_servers = r#"{"mcp": {"servers": {"type": "local", "command": ["x"]}}}"#;
    assert_eq!(program(called_servers, opencode).command, "x");
    let settings = r#"{"editor.x": 1, "mcp": {"inputs": [], "servers": {"a": {"command": "x"}}}}"#;
    assert_eq!(program(settings, place("vscode", Scope::User, "settings.json").1).command, "x");
    let settings = r#"{"mcp.servers": {"a": {"command": "x"}}}"#;
    assert_eq!(program(settings, place("vscode", Scope::User, "settings.json").1).command, "x");
}

#[test]
fn a_snippet_is_what_the_client_reads() {
    for client in CLIENTS {
        let other = super::Target { server: "b", url: "http://127.0.0.1:18902/mcp", ..TARGET };
        let text = export(client, &[("a", TARGET), ("io.github.X/y z", other)]);
        assert!(text.ends_with('\n') && !text.contains("\n\n\n"), "{}: {text}", client.id);
        let found = read(&text, &client.places[0].shape).expect("readable").found;
        assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["a", "io.github.X/y z"]);
        for (found, target) in found.iter().zip([TARGET, other]) {
            match &found.entry {
                Entry::Remote { url } => assert_eq!(url, target.url, "{}", client.id),
                Entry::Stdio(stdio) => assert_eq!(stdio.args, ["connect", target.server], "{}", client.id),
                Entry::Other { reason } => panic!("{}: {reason}", client.id),
            }
        }
        let none = export(client, &[]);
        assert_eq!(read(&none, &client.places[0].shape).expect("readable").found, [], "{}: {none}", client.id);
    }
    let codex = export(client("codex").expect("known"), &[("a", TARGET), ("b c", TARGET)]);
    let section = "url = \"http://127.0.0.1:18901/mcp\"\n";
    assert_eq!(codex, format!("[mcp_servers.a]\n{section}\n[mcp_servers.\"b c\"]\n{section}"));
    let goose = export(client("goose").expect("known"), &[("a", TARGET)]);
    assert_eq!(
        goose,
        "extensions:\n  a:\n    name: a\n    type: streamable_http\n    uri: http://127.0.0.1:18901/mcp\n    enabled: true\n"
    );
    let listed = export(client("continue").expect("known"), &[("a", TARGET)]);
    assert_eq!(listed, "mcpServers:\n  - name: a\n    type: streamable-http\n    url: http://127.0.0.1:18901/mcp\n");
    let claude = export(client("claude-code").expect("known"), &[("a", TARGET)]);
    let expected = "{\n  \"mcpServers\": {\n    \"a\": {\n      \"type\": \"http\",\n      \"url\": \"http://127.0.0.1:18901/mcp\",\n      \"timeout\": 86400000\n    }\n  }\n}\n";
    assert_eq!(claude, expected);
    let copilot = inserted("", place("copilot", Scope::User, ""), &["mcpServers", "a"]);
    assert!(copilot.contains("\"tools\": [\"*\"]"), "{copilot}");
}

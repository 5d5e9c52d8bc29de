//! AI clients read what `hub import` wrote: Claude Code, Codex, Gemini CLI and opencode, each in its own format.
//!
//! In: the pinned clients and published servers. Out: each client lists the moved servers as connected, under the names that
//! they had, with one process per server behind all. State: a private home. May not: write a client's file after the import.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::env::{TestEnv, hub_binary};
use crate::processes::{MARK, eventually, family};
use crate::watched::Watched;

const PATIENCE: Duration = Duration::from_secs(90);

/// A home as five people's rolled into one: the same two servers in the files of four clients.
struct Home {
    env: TestEnv,
    top: tempfile::TempDir,
    mark: String,
    /// Where hub listens; its servers get the numbers above it.
    port: u16,
}

impl Home {
    fn lay(env: &TestEnv) -> Self {
        let top = tempfile::tempdir().unwrap();
        let mark = format!("{}-moved", std::process::id());
        let home = Self { env: env.clone(), top, mark, port: free_ports() };
        let hub = format!("[hub]\nport = {}\nfirst_port = {}\n", home.port, home.port + 1);
        home.write("hub.toml", &hub);
        let [everything, memory] = home.entries();
        let project = home.path("project").display().to_string();
        let team = home.path("team").display().to_string();
        home.json("project/.mcp.json", &json!({ "mcpServers": { "memory": memory } }));
        home.json("project/.claude/settings.local.json", &json!({ "enabledMcpjsonServers": ["memory"] }));
        home.json("team/.mcp.json", &json!({ "mcpServers": { "everything": everything, "memory": memory } }));
        let trusted = json!({ "hasTrustDialogAccepted": true });
        // Of a project that is not at hand, only what was approved moves.
        let approved = json!({ "hasTrustDialogAccepted": true, "enabledMcpjsonServers": ["everything", "memory"] });
        let claude = json!({
            "numStartups": 7,
            "mcpServers": { "everything": everything },
            "projects": { (project.clone()): trusted, team: approved },
        });
        home.json(".claude.json", &claude);
        home.json(".gemini/settings.json", &json!({ "mcpServers": { "all of it": everything } }));
        home.json(".gemini/trustedFolders.json", &json!({ project: "TRUST_FOLDER" }));
        let local = |entry: &Value| {
            let words = std::iter::once(&entry["command"]).chain(entry["args"].as_array().unwrap());
            json!({ "type": "local", "command": words.collect::<Vec<_>>(), "environment": entry["env"] })
        };
        // It adds the schema when it reads a file that has none.
        let opencode = json!({ "$schema": "https://opencode.ai/config.json", "mcp": { "memory": local(&memory), "everything": local(&everything) } });
        home.json(".config/opencode/opencode.json", &opencode);
        let codex = format!(
            "# mine\nmodel = \"none\"\n\n[mcp_servers.every-thing]\ncommand = {}\nargs = {} # kept short\n\n\
             [mcp_servers.every-thing.env]\n{MARK} = {}\n",
            everything["command"], everything["args"], everything["env"][MARK],
        );
        home.write(".codex/config.toml", &codex);
        home.git(&["init", "--quiet"]);
        home.git(&["add", ".mcp.json"]);
        home
    }

    /// A server with state of its own, and one without.
    fn entries(&self) -> [Value; 2] {
        let script = |package: &str| {
            self.env.npm().join("node_modules/@modelcontextprotocol").join(package).join("dist/index.js")
        };
        ["server-everything", "server-memory"].map(
            |package| json!({ "command": self.env.node(), "args": [script(package)], "env": { (MARK): self.mark } }),
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn json(&self, name: &str, value: &Value) {
        self.write(name, &serde_json::to_string_pretty(value).unwrap());
    }

    fn command(&self, program: &Path, folder: &str, args: &[&str]) -> Command {
        let mut command = self.env.command(program, self.top.path());
        command.args(args).current_dir(self.path(folder)).env("HUB_CONFIG", self.path("hub.toml"));
        for name in ["CODEX_HOME", "CLAUDE_CONFIG_DIR", "OPENCODE_CONFIG"] {
            command.env_remove(name);
        }
        command
    }

    fn hub(&self, folder: &str, args: &[&str]) -> String {
        Watched::succeed(&mut self.command(&hub_binary(), folder, args), PATIENCE).text()
    }

    /// What a client lists, without colours.
    fn client(&self, name: &str, folder: &str) -> String {
        let mut command = self.command(&self.env.ai_client(name), folder, &["mcp", "list"]);
        command.env("NO_COLOR", "1");
        plain(&Watched::succeed(&mut command, PATIENCE).text())
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git").args(args).current_dir(self.path("team")).output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.command(&hub_binary(), ".", &["down"]).output());
    }
}

#[test]
fn published_ai_clients_read_what_import_wrote() {
    let Some(env) = TestEnv::find() else { return };
    let home = Home::lay(&env);
    let files = ["project/.mcp.json", ".gemini/settings.json", ".config/opencode/opencode.json", ".codex/config.toml"];
    let before = files.map(|file| fs::read_to_string(home.path(file)).unwrap());
    // Both projects are known to Claude Code; import finds them from anywhere.
    home.hub("project", &["import", "--yes"]);
    home.hub("project", &["up"]);

    let status: Value = serde_json::from_str(&home.hub(".", &["status", "--json"])).unwrap();
    let servers: Vec<_> = status["servers"].as_array().unwrap().iter().map(|server| server["name"].clone()).collect();
    assert_eq!(servers.len(), 2, "the same two servers in every file: {servers:?}");

    for folder in ["project", "team"] {
        let listed = home.client("claude", folder);
        for name in ["everything", "memory"] {
            let line = listed.lines().find(|line| line.starts_with(&format!("{name}: http://127.0.0.1:")));
            assert!(line.is_some_and(|line| line.contains("✔ Connected")), "{folder}: {name}:\n{listed}");
        }
    }
    assert_eq!(home.git(&["diff", "--name-only"]), "", "what is committed is not rewritten");
    let gemini = home.client("gemini", "project");
    assert!(gemini.contains("✓ all of it: http://127.0.0.1:") && gemini.contains("Connected"), "{gemini}");
    let opencode = home.client("opencode", "project");
    assert!(opencode.contains("✓ memory connected") && opencode.contains("✓ everything connected"), "{opencode}");
    let codex = home.client("codex", "project");
    let line = codex.lines().find(|line| line.starts_with("every-thing"));
    assert!(line.is_some_and(|line| line.contains("http://127.0.0.1:") && line.contains("enabled")), "{codex}");

    let trees = family(&home.mark);
    assert_eq!(trees.roots().len(), 2, "one process per server behind all clients: {trees:#?}");

    // Claude Code has written into its file since: that one is refused as a whole, and given back entry by entry.
    let undone = Watched::run(&mut home.command(&hub_binary(), "project", &["undo", "--entries"]), PATIENCE);
    assert!(undone.status.success(), "{}", undone.text());
    for (file, before) in files.iter().zip(before) {
        assert_eq!(fs::read_to_string(home.path(file)).unwrap(), before, "{file}");
    }
    let claude: Value = serde_json::from_slice(&fs::read(home.path(".claude.json")).unwrap()).unwrap();
    assert_eq!(claude["mcpServers"]["everything"], home.entries()[0]);
    home.hub(".", &["down"]);
    eventually(PATIENCE, || {
        let left = family(&home.mark).members;
        if left.is_empty() { Ok(()) } else { Err(format!("outlived hub: {left:#?}")) }
    });
}

/// A port with room above it for hub's servers, below those that the system gives out.
fn free_ports() -> u16 {
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let wanted = 20_000 + u16::try_from(std::process::id() % 1000).unwrap() * 8;
    (wanted..32_000).step_by(8).find(|port| (*port..port + 8).all(free)).expect("eight free ports in a row")
}

/// Text without the escapes of a terminal.
fn plain(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest)
    })
}

//! A newcomer: an empty home, a `.mcp.json` of five servers, `hub up --yes`, and no trace after `hub undo && hub down`.
//!
//! In: npm's registry, with nothing of it in a cache yet. Out: a first call within a minute, a line of progress each
//! second, and a home that is as it was. State: a private home, hub's usual ports. May not: run where another hub has them.
//!
//! The only test that leaves this machine, as a newcomer's `npx` does; `scripts/test` fetched the other tests' packages the
//! same way.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::env::{TestEnv, hub_binary};
use crate::processes::family;
use crate::watched::Watched;

const SERVERS: [&str; 5] = ["everything", "memory", "filesystem", "sequential-thinking", "github"];
/// From `hub up` to the end of the first call.
const FIRST_CALL: Duration = Duration::from_secs(60);
/// Between two lines of progress: one second, and what a busy machine adds.
const SILENCE: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(150);

#[test]
fn published_servers_from_an_empty_home_to_the_first_call_and_back() {
    let Some(env) = TestEnv::find() else { return };
    let top = tempfile::tempdir().unwrap();
    let (home, project) = (top.path().join("home"), top.path().join("project"));
    fs::create_dir_all(home.join("run")).unwrap();
    fs::create_dir_all(&project).unwrap();
    let mark = format!("{}-newcomer", std::process::id());
    let config = configuration(&mark);
    fs::write(project.join(".mcp.json"), &config).unwrap();
    let hub = |args: &[&str]| {
        let mut command = env.command(&hub_binary(), &home);
        command.args(args).current_dir(&project).env_remove("HUB_STATE_DIR").env_remove("npm_config_offline");
        command
    };
    let _stop = Stop(|| drop(hub(&["down"]).output()));

    let up = Watched::succeed(&mut hub(&["up", "--yes"]), PATIENCE);
    let call = Watched::succeed(&mut hub(&["call", "everything", "echo", "message=first"]), PATIENCE);
    assert!(call.text().contains("first"), "{}", call.text());
    assert!(up.took + call.took < FIRST_CALL, "{:?} and {:?}:\n{}", up.took, call.took, up.text());
    assert!(up.longest_silence() < SILENCE, "silent for {:?}:\n{:#?}", up.longest_silence(), up.lines);
    let status: Value = serde_json::from_slice(&hub(&["status", "--json"]).output().unwrap().stdout).unwrap();
    assert_eq!(status["totals"]["ready"], SERVERS.len(), "{status:#}\n{}", up.text());
    assert_eq!(family(&mark).roots().len(), SERVERS.len(), "one tree per server");

    let again = Watched::succeed(&mut hub(&["up", "--yes"]), PATIENCE);
    assert!(again.text().contains("already"), "{}", again.text());

    Watched::succeed(&mut hub(&["undo"]), PATIENCE);
    assert_eq!(fs::read_to_string(project.join(".mcp.json")).unwrap(), config, "back to the byte");
    let down = Watched::succeed(&mut hub(&["down"]), PATIENCE);
    assert!(down.text().contains("nothing of hub is left"), "{}", down.text());
    assert_eq!(family(&mark).members, [], "outlived hub");
    let left: Vec<_> =
        tree(top.path()).into_keys().filter(|path| path.contains("hub") && !path.contains("npm-cache")).collect();
    assert_eq!(left, Vec::<String>::new());
    assert!(!home.join(".claude.json").exists() && !home.join(".config").exists() && !home.join(".local").exists());
}

/// Five servers as people write them.
fn configuration(mark: &str) -> String {
    let entry = |name: &str| {
        let mut args = vec![json!("-y"), json!(format!("@modelcontextprotocol/server-{name}"))];
        if name == "filesystem" {
            args.push(json!("/tmp"));
        }
        json!({ "command": "npx", "args": args, "env": { (crate::processes::MARK): mark } })
    };
    let servers: serde_json::Map<_, _> = SERVERS.into_iter().map(|name| (name.to_owned(), entry(name))).collect();
    serde_json::to_string_pretty(&json!({ "mcpServers": servers })).unwrap()
}

/// Every file and folder below, by its path from there.
fn tree(top: &Path) -> BTreeMap<String, bool> {
    let mut found = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let is_folder = entry.file_type().unwrap().is_dir();
            found.insert(path.strip_prefix(top).unwrap().display().to_string(), is_folder);
            if is_folder {
                folders.push(path);
            }
        }
    }
    found
}

/// Does something when the test ends, however it ends.
struct Stop<F: Fn()>(F);

impl<F: Fn()> Drop for Stop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

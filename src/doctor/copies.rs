//! Copies of a server that run beside hub's own: what a client had started before it was moved, or starts still.
//!
//! In: hub.toml, the processes of this user. Out: findings, a list of copies in each. Owns nothing. May not: accuse a
//! process that differs in an argument, a variable or its folder, that hub has started, or that no client has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::config::{Config, Secret, ServerSpec};
use crate::import::{depends_on_folder, shown_command};
use crate::limits::DOCTOR_COPIES_SHOWN_MAX;
use crate::platform::dirs;
use crate::platform::family::ENV_RUN;
use crate::platform::processes::{Running, Snapshot};

use super::clients::Clients;
use super::same::{is_between, is_runner, is_same, script_of};
use super::{Finding, Scene};

/// One copy: a process tree that a client started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunningCopy {
    /// The server of hub.toml.
    pub server: String,
    /// The process at the top of the tree.
    pub pid: u32,
    /// It and its descendants.
    pub processes: usize,
    /// Memory of them; pages that are shared count several times.
    pub rss_bytes: u64,
    /// How long it has been running.
    pub age_seconds: u64,
    /// Who started it.
    pub client: Starter,
}

/// The program that started a copy: the nearest one above it that is no runner and no shell with a command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Starter {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
}

/// A finding for each server that has copies. Blocks for some milliseconds.
pub(super) fn findings(scene: &Scene<'_>, clients: &Clients) -> Vec<Finding> {
    let Some(config) = scene.config() else { return Vec::new() };
    let daemon = scene.about.as_ref().ok().map(|about| about.pid);
    let mut of_server: BTreeMap<String, Vec<RunningCopy>> = BTreeMap::new();
    for copy in find(config, daemon) {
        of_server.entry(copy.server.clone()).or_default().push(copy);
    }
    let finding = |(server, copies): (String, Vec<RunningCopy>)| finding(&server, copies, clients);
    of_server.into_iter().map(finding).collect()
}

fn finding(server: &str, copies: Vec<RunningCopy>, clients: &Clients) -> Finding {
    let bytes: u64 = copies.iter().map(|copy| copy.rss_bytes).sum();
    let (number, verb) =
        if copies.len() == 1 { ("1 copy".to_owned(), "runs") } else { (format!("{} copies", copies.len()), "run") };
    let what = format!("{number} of `{server}` {verb} outside of hub, {}", megabytes(bytes));
    let mut lines: Vec<String> = copies.iter().take(DOCTOR_COPIES_SHOWN_MAX).map(line).collect();
    if let Some(more @ 1..) = copies.len().checked_sub(DOCTOR_COPIES_SHOWN_MAX) {
        lines.push(format!("and {more} more (`hub doctor --json` has all)"));
    }
    let hint = hint(server, &copies, clients);
    Finding { lines, copies, ..Finding::warn("clients", what).hint(hint) }
}

/// What to do about copies: what their clients' files say of it, and who is no client that is known.
fn hint(server: &str, copies: &[RunningCopy], clients: &Clients) -> String {
    let starters: BTreeSet<&str> = copies.iter().map(|copy| copy.client.name.as_str()).collect();
    let entries = clients.copying.get(server).map(Vec::as_slice).unwrap_or_default();
    let mut hints = Vec::new();
    let movable: Vec<&str> = entries.iter().filter(|entry| entry.left.is_none()).map(|entry| &*entry.who).collect();
    if !movable.is_empty() {
        let all: Vec<&str> = starters.iter().copied().collect();
        let (files, all) = (movable.join(", "), all.join(", "));
        hints.push(format!("`hub import` moves what still starts it: {files}; then restart {all}"));
    }
    for (who, reason) in entries.iter().filter_map(|entry| Some((&entry.who, entry.left.as_ref()?))) {
        hints.push(format!("{who} still starts it, and `hub import` leaves that alone: {reason}"));
    }
    if entries.is_empty() {
        let (moved, others): (Vec<&str>, Vec<&str>) =
            starters.into_iter().partition(|name| clients.is_moved(name, server));
        if !moved.is_empty() {
            let moved = moved.join(", ");
            hints.push(format!("restart {moved}: it runs what it had started before its config was moved to hub"));
        }
        if !others.is_empty() {
            let others = others.join(" or ");
            hints.push(format!("if {others} is an AI client, restart it, or move it to hub; otherwise let it be"));
        }
    }
    hints.join("; ")
}

fn line(copy: &RunningCopy) -> String {
    let age = Duration::from_secs(if copy.age_seconds < 60 { copy.age_seconds } else { copy.age_seconds / 60 * 60 });
    let plural = if copy.processes == 1 { "" } else { "es" };
    format!(
        "pid {}: {} in {} process{plural} for {}, started by {} (pid {})",
        copy.pid,
        megabytes(copy.rss_bytes),
        copy.processes,
        humantime::format_duration(age),
        copy.client.name,
        copy.client.pid,
    )
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

/// All copies, by the ids of their processes.
fn find(config: &Config, daemon: Option<u32>) -> Vec<RunningCopy> {
    let home = dirs::home_or_root();
    let servers = config.servers.iter().filter(|server| server.enabled);
    let known: Vec<Known<'_>> =
        servers.filter_map(|server| Some(Known::of(server.spec.as_deref().ok()?, &home))).collect();
    if known.is_empty() {
        return Vec::new();
    }
    let snapshot = Snapshot::take();
    let look = Look { snapshot: &snapshot, daemon, hub: std::env::current_exe().ok() };
    let likely: HashMap<u32, &Known<'_>> = snapshot
        .mine()
        .filter_map(|running| {
            let words = snapshot.command(running.pid);
            let is_known =
                |known: &&Known<'_>| known.has_words(&words) && known.has_surroundings(&snapshot, running.pid);
            Some((running.pid, known.iter().find(is_known)?))
        })
        .collect();
    let copy = |running: &Running| look.copy(running, &likely);
    snapshot.mine().filter_map(copy).collect()
}

/// A server that hub has.
struct Known<'a> {
    spec: &'a ServerSpec,
    /// It is the same one in every folder.
    is_anywhere: bool,
}

impl<'a> Known<'a> {
    fn of(spec: &'a ServerSpec, home: &Path) -> Self {
        let exists = |path: &str| spec.cwd.join(path).exists();
        let vars = spec.env.iter().map(|(name, value)| (name.as_str(), value.expose()));
        let depends = depends_on_folder(&spec.command, &spec.args, vars, &exists).is_some();
        let is_anywhere = spec.cwd == home && !depends;
        Self { spec, is_anywhere }
    }

    fn has_words(&self, words: &[String]) -> bool {
        is_same(&self.spec.command, &self.spec.args, words, &package_of)
    }

    /// Variables and folder: what runs with another token or in another project is another server. What it has in
    /// addition, only its client tells: see [`Known::has_no_more`].
    fn has_surroundings(&self, snapshot: &Snapshot, pid: u32) -> bool {
        let Some(variables) = snapshot.variables(pid) else { return false };
        let is_given =
            |(name, value): (&String, &Secret)| variables.get(name).is_some_and(|given| given == value.expose());
        let same = |folder: PathBuf| match (folder.canonicalize(), self.spec.cwd.canonicalize()) {
            (Ok(folder), Ok(wanted)) => folder == wanted,
            _ => false,
        };
        self.spec.env.iter().all(is_given) && (self.is_anywhere || snapshot.folder(pid).is_some_and(same))
    }

    /// Whether a process has no variable that neither the server nor the client has: another account, another server.
    fn has_no_more(&self, snapshot: &Snapshot, pid: u32, client: u32) -> bool {
        let (Some(variables), Some(of_client)) = (snapshot.variables(pid), snapshot.variables(client)) else {
            return false;
        };
        variables.iter().all(|(name, value)| {
            is_set_on_the_way(name) || self.spec.env.contains_key(name) || of_client.get(name) == Some(value)
        })
    }
}

struct Look<'a> {
    snapshot: &'a Snapshot,
    daemon: Option<u32>,
    /// The program that runs now.
    hub: Option<PathBuf>,
}

impl Look<'_> {
    /// What is known of a process that is the top of a copy.
    fn copy(&self, running: &Running, likely: &HashMap<u32, &Known<'_>>) -> Option<RunningCopy> {
        let known = likely.get(&running.pid)?;
        if self.is_hubs(running.pid) || !self.snapshot.is_piped(running.pid) {
            return None;
        }
        let mut client = None;
        for above in self.snapshot.ancestors(running.pid) {
            // The top of the tree speaks for what is below it; what lost its client is an orphan.
            if self.is_hubs(above.pid) || likely.contains_key(&above.pid) {
                return None;
            }
            if client.is_some() {
                continue;
            }
            if self.snapshot.takes_over(above.pid) {
                return None;
            }
            let words = self.snapshot.command(above.pid);
            // It runs another version, or another package, and would be a copy itself else.
            if is_runner(&words) {
                return None;
            }
            client = Some(above.pid).filter(|_| !is_between(&words));
        }
        let client = client.filter(|client| known.has_no_more(self.snapshot, running.pid, *client))?;
        let tree = self.snapshot.tree(running.pid);
        Some(RunningCopy {
            server: known.spec.name.to_string(),
            pid: running.pid,
            processes: tree.len(),
            rss_bytes: tree.iter().map(|running| running.rss_bytes).sum(),
            age_seconds: running.age.as_secs(),
            client: Starter { name: self.name(client), pid: client },
        })
    }

    /// The daemon, a bridge, a child of a hub (this one or another), or any other process of hub's.
    fn is_hubs(&self, pid: u32) -> bool {
        let is_program = || {
            let program = self.snapshot.program(pid);
            program.is_some_and(|program| {
                // A hub that was replaced while it ran.
                let program = program.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
                self.hub.as_ref().is_some_and(|hub| *hub == Path::new(&program)) || program.ends_with("/hub")
            })
        };
        let is_marked = || self.snapshot.variables(pid).is_some_and(|variables| variables.contains_key(ENV_RUN));
        self.daemon == Some(pid) || is_program() || is_marked()
    }

    /// A name that a person knows the process by: of an interpreter, that of its script.
    fn name(&self, pid: u32) -> String {
        let words = self.snapshot.command(pid);
        let name = script_of(&words).unwrap_or_else(|| self.snapshot.name(pid));
        shown_command(&name, &[])
    }
}

/// Variables that runners, shells and clients give to whatever they start: they say nothing of the server.
fn is_set_on_the_way(name: &str) -> bool {
    const NAMES: [&str; 22] = [
        "_",
        "SHLVL",
        "PWD",
        "OLDPWD",
        "PATH",
        "TERM",
        "COLUMNS",
        "LINES",
        "NODE",
        "INIT_CWD",
        "COLOR",
        "EDITOR",
        "GIT_EDITOR",
        "VIRTUAL_ENV",
        "VIRTUAL_ENV_PROMPT",
        "UV",
        "DEBUGINFOD_URLS",
        "CLAUDECODE",
        "CLAUDE_PROJECT_DIR",
        "CLAUDE_AGENT_SDK_VERSION",
        "COREPACK_ENABLE_AUTO_PIN",
        "NoDefaultCurrentDirectoryInExePath",
    ];
    const STARTS: [&str; 6] = ["npm_", "UV_", "CLAUDE_CODE_", "VSCODE_", "ELECTRON_", "__CF"];
    // A key may be the only thing that two servers differ in, whatever its name begins with.
    let is_key = ["TOKEN", "KEY", "SECRET", "PASS"].iter().any(|part| name.to_ascii_uppercase().contains(part));
    NAMES.contains(&name) || (!is_key && STARTS.iter().any(|start| name.starts_with(start)))
}

/// The package of npm that a path in `node_modules/.bin` leads into.
fn package_of(path: &Path) -> Option<String> {
    if !path.parent()?.ends_with("node_modules/.bin") {
        return None;
    }
    let target = std::fs::read_link(path).ok()?;
    let mut parts = target.strip_prefix("..").ok()?.components().map(|part| part.as_os_str().to_string_lossy());
    let first = parts.next()?;
    Some(if first.starts_with('@') { format!("{first}/{}", parts.next()?) } else { first.into_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::clients::Copying;
    use super::*;

    fn copy(pid: u32) -> RunningCopy {
        let client = Starter { name: "claude".to_owned(), pid: 7 };
        RunningCopy { server: "a".to_owned(), pid, processes: 3, rss_bytes: 1_500_000, age_seconds: 3725, client }
    }

    #[test]
    fn how_copies_are_told() {
        let one = finding("a", vec![copy(1)], &Clients::default());
        assert_eq!(one.what, "1 copy of `a` runs outside of hub, 2 MB");
        assert_eq!(one.lines, ["pid 1: 2 MB in 3 processes for 1h 2m, started by claude (pid 7)"]);
        let hint = one.hint.expect("a hint");
        assert_eq!(hint, "if claude is an AI client, restart it, or move it to hub; otherwise let it be", "unknown");
        let mut clients = Clients::default();
        let who = "Claude Code (/home/u/.claude.json)".to_owned();
        let copying = |left: Option<&str>| Copying { who: who.clone(), left: left.map(str::to_owned) };
        clients.copying.insert("a".to_owned(), vec![copying(Some("it is read-only"))]);
        let left = finding("a", vec![copy(1)], &clients).hint.expect("a hint");
        assert_eq!(left, format!("{who} still starts it, and `hub import` leaves that alone: it is read-only"));
        clients.copying.insert("a".to_owned(), vec![copying(None)]);
        let many: Vec<RunningCopy> = (0..=u32::try_from(DOCTOR_COPIES_SHOWN_MAX).expect("small")).map(copy).collect();
        let many = finding("a", many, &clients);
        assert_eq!((many.lines.len(), many.copies.len()), (DOCTOR_COPIES_SHOWN_MAX + 1, DOCTOR_COPIES_SHOWN_MAX + 1));
        assert!(many.lines.last().is_some_and(|line| line.starts_with("and 1 more")), "{:?}", many.lines);
        let hint = many.hint.expect("a hint");
        assert!(hint.contains("`hub import`") && hint.contains("/home/u/.claude.json"), "{hint}");
        assert!(hint.ends_with("then restart claude"), "{hint}");
    }

    #[test]
    fn what_a_variable_says() {
        for name in ["_", "PWD", "npm_lifecycle_event", "UV_RUN_RECURSION_DEPTH", "CLAUDE_CODE_ENTRYPOINT"] {
            assert!(is_set_on_the_way(name), "{name}");
        }
        for name in ["GITHUB_TOKEN", "HOME", "DATABASE_URL", "npm_token", "CLAUDE_CODE_OAUTH_TOKEN"] {
            assert!(!is_set_on_the_way(name), "{name}");
        }
    }

    #[test]
    fn packages_behind_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let bin = folder.path().join("node_modules/.bin");
        std::fs::create_dir_all(&bin).expect("a folder");
        for (name, target) in [("a", "../@x/a-mcp/dist/i.js"), ("b", "../b-mcp/i.js"), ("c", "/opt/c")] {
            std::os::unix::fs::symlink(target, bin.join(name)).expect("a link");
        }
        assert_eq!(package_of(&bin.join("a")).as_deref(), Some("@x/a-mcp"));
        assert_eq!(package_of(&bin.join("b")).as_deref(), Some("b-mcp"));
        assert_eq!(package_of(&bin.join("c")), None);
        assert_eq!(package_of(&bin.join("none")), None);
        assert_eq!(package_of(Path::new("/usr/bin/a")), None);
    }
}

//! MCP servers that their client left behind: `hub doctor --orphans`.
//!
//! In: processes without a parent. Out: those that are such servers, and why; their end, if it is wanted. Owns nothing. May
//! not: take a process for one that has a terminal, belongs to a hub, or has somebody at the other end of its pipe or socket.

use std::path::Path;

use serde::Serialize;

use crate::config::Config;
use crate::import::shown_command;
use crate::limits::ORPHAN_GRACE;
use crate::platform::family::{ENV_RUN, Seen};
use crate::platform::strays::{self, Stdin, Stray};

use super::Finding;

/// What Claude Code gives the servers that it starts.
const CLAUDE: [&str; 2] = ["CLAUDE_PROJECT_DIR", "CLAUDE_CODE_SESSION_ID"];
/// All variables that say something.
const VARIABLES: [&str; 3] = [ENV_RUN, CLAUDE[0], CLAUDE[1]];
/// Programs that run servers; versions (`python3.12`) do not count.
const RUNNERS: [&str; 14] =
    ["node", "npx", "npm", "pnpm", "yarn", "bun", "bunx", "deno", "uv", "uvx", "python", "docker", "podman", "sh"];

/// A server that was left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// The process at the top of its tree.
    pub pid: u32,
    /// How long it has been running.
    pub age_seconds: u64,
    /// It and its descendants.
    pub processes: usize,
    /// Memory of them, shared pages split.
    pub pss_bytes: u64,
    /// Its command line, without secrets.
    pub command: String,
    /// Why it is taken for one.
    pub why: String,
    /// Nobody can speak to it; otherwise it cannot be seen whether somebody can.
    pub certain: bool,
    #[serde(skip)]
    tree: Vec<Seen>,
}

/// All of this user, oldest first. `config`: what is a server is known from it, too. Blocks for some milliseconds.
pub fn find(config: Option<&Config>) -> Vec<Orphan> {
    let known = known(config);
    let strays = strays::strays(&VARIABLES).into_iter();
    strays.filter_map(|stray| Some(Orphan::of(why(&stray, &known)?, stray))).collect()
}

/// Ends one, if it still is what it was. Whether nobody of it is left. Blocks up to twice the grace.
pub fn end(orphan: &Orphan, config: Option<&Config>) -> bool {
    let top = |orphan: &Orphan| orphan.tree.first().copied();
    // Looked at once more: somebody may have ended it, and its number may be another's.
    let Some(now) = find(config).into_iter().find(|now| top(now) == top(orphan)) else { return true };
    strays::end(&now.tree, ORPHAN_GRACE)
}

pub(super) fn finding(config: Option<&Config>) -> Vec<Finding> {
    let orphans = find(config);
    if orphans.is_empty() {
        return Vec::new();
    }
    let (what, hint) = told(&orphans);
    vec![Finding::warn("orphans", what).hint(hint)]
}

/// What is said of some, and what to do: of those that were left behind, and apart from them of those that may have been.
fn told(orphans: &[Orphan]) -> (String, &'static str) {
    let (certain, unsure): (Vec<&Orphan>, Vec<&Orphan>) = orphans.iter().partition(|orphan| orphan.certain);
    let cost = |orphans: &[&Orphan]| {
        let processes: usize = orphans.iter().map(|orphan| orphan.processes).sum();
        let bytes: u64 = orphans.iter().map(|orphan| orphan.pss_bytes).sum();
        let plural = if processes == 1 { "" } else { "es" };
        format!("{processes} process{plural}, {} MB", bytes.div_ceil(1_000_000))
    };
    let left = match certain.len() {
        0 => None,
        1 => Some("1 MCP server was left behind by its client".to_owned()),
        count => Some(format!("{count} MCP servers were left behind by their clients")),
    };
    let perhaps = match unsure.len() {
        0 => None,
        1 => Some("1 MCP server may have been left behind: it cannot be seen whether its client lives".to_owned()),
        count => {
            Some(format!("{count} MCP servers may have been left behind: it cannot be seen whether their clients live"))
        }
    };
    let left = left.map(|who| format!("{who}: {}", cost(&certain)));
    let perhaps = perhaps.map(|who| format!("{who} ({})", cost(&unsure)));
    let hint = match (certain.is_empty(), unsure.is_empty()) {
        (true, _) => "`hub doctor --orphans` shows them",
        (false, true) => "`hub doctor --orphans` shows what was left behind; with `--kill`, it is ended",
        (false, false) => {
            "`hub doctor --orphans` shows them all; with `--kill`, those that were left behind are ended, the others only by their PID"
        }
    };
    (left.into_iter().chain(perhaps).collect::<Vec<_>>().join("; "), hint)
}

impl Orphan {
    fn of(why: String, stray: Stray) -> Self {
        let (program, args) = stray.command.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        Self {
            pid: stray.root.pid,
            age_seconds: stray.age.as_secs(),
            processes: stray.tree.len(),
            pss_bytes: strays::memory(&stray.tree),
            command: shown_command(program, args),
            why,
            certain: stray.stdin == Stdin::Dead,
            tree: stray.tree,
        }
    }
}

/// What hub.toml runs: the last part of each program's path, and the arguments.
fn known(config: Option<&Config>) -> Vec<(String, Vec<String>)> {
    let specs = config.into_iter().flat_map(|config| &config.servers).filter_map(|server| server.spec.as_ref().ok());
    specs.map(|spec| (last_part(&spec.command), spec.args.clone())).collect()
}

fn last_part(program: &str) -> String {
    // npm writes its whole command line into the first word.
    let program = program.split(' ').next().unwrap_or_default();
    Path::new(program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Why a process is taken for an MCP server that was left behind; `None` if it is not, or might not be.
fn why(stray: &Stray, known: &[(String, Vec<String>)]) -> Option<String> {
    let may_be_spoken_to = !matches!(stray.stdin, Stdin::Dead | Stdin::Unknown);
    if stray.has_terminal || stray.variables.contains(&ENV_RUN) || may_be_spoken_to {
        return None;
    }
    let (program, words) = stray.command.split_first()?;
    let name = last_part(program);
    if known.iter().any(|(program, args)| *program == name && words == args) {
        return Some("hub.toml has the same command".to_owned());
    }
    let runner = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if !RUNNERS.contains(&runner) && !is_mcp(&name) {
        return None;
    }
    let claude = stray.variables.iter().find(|name| CLAUDE.contains(name));
    if stray.command.iter().any(|word| is_mcp(word)) {
        let named = named(program, words).map_or("MCP".to_owned(), |named| format!("`{named}`"));
        return Some(match claude {
            Some(variable) => format!("{named}, started by Claude Code ({variable})"),
            None => format!("{named} in its command line"),
        });
    }
    claude.map(|variable| format!("started by Claude Code ({variable})"))
}

/// What of a command line names an MCP server: only out of what may be shown of it. The word itself may be a secret, or
/// hold one: npm has all its words in one.
fn named(program: &str, args: &[String]) -> Option<String> {
    let shown = shown_command(program, args);
    let word = shown.split([' ', '\'']).find(|word| is_mcp(word))?;
    Some(last_words(word).to_owned())
}

/// Does a word name an MCP server?
fn is_mcp(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    word.contains("modelcontextprotocol")
        || word
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|part| part == "mcp" || part.starts_with("mcp") || part.ends_with("mcp"))
}

/// The telling end of a long path.
fn last_words(word: &str) -> &str {
    let at = word.char_indices().rev().nth(39).map_or(0, |(at, _)| at);
    &word[at..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn stray(command: &str) -> Stray {
        let root = Seen { pid: 7, start: 1 };
        Stray {
            root,
            command: command.split(' ').map(|word| word.replace('_', " ")).collect(),
            age: Duration::from_hours(1),
            tree: vec![root],
            has_terminal: false,
            stdin: Stdin::Unknown,
            variables: Vec::new(),
        }
    }

    fn judged(stray: &Stray) -> bool {
        why(stray, &[("my-server".to_owned(), vec!["--db".to_owned(), "x".to_owned()])]).is_some()
    }

    #[test]
    fn what_looks_like_a_server() {
        for command in [
            "npm_exec_@modelcontextprotocol/server-github",
            "node /home/u/.npm/_npx/1/node_modules/.bin/mcp-server-filesystem /data",
            "/usr/bin/python3.12 -m mcp_server_time".replace("mcp_server", "mcp-server").as_str(),
            "uvx mcp-server-fetch",
            "/usr/bin/docker run -i --rm ghcr.io/github/github-mcp-server",
            "github-mcp-server stdio",
            "/opt/my-server --db x",
        ] {
            assert!(judged(&stray(command)), "{command}");
        }
        for command in [
            "node server.js",
            "vim mcp.txt",
            "my-server --db y",
            "bash -c sleep",
            "tail -f mcp.log",
            "node /srv/tmcpx/x.js",
        ] {
            assert!(!judged(&stray(command)), "{command}");
        }
        let from_claude = Stray { variables: vec!["CLAUDE_PROJECT_DIR"], ..stray("node server.js") };
        assert!(judged(&from_claude));
    }

    #[test]
    fn why_shows_no_more_than_the_command() {
        for (command, said) in [
            ("docker run -i --rm -e GITHUBMCP=ghp-s3cret img", "`GITHUBMCP=***` in its command line"),
            ("npm_exec_mcp-remote_https://mcp.example/sse?api-key=s3cret", "`mcp-remote` in its command line"),
            ("node /x/cli.js --token mcp-s3cret", "MCP in its command line"),
        ] {
            let why = why(&stray(command), &[]).expect("one");
            assert_eq!(why, said, "{command}");
        }
    }

    #[test]
    fn those_that_are_certain_are_counted_apart() {
        let orphan = |stdin| Orphan { processes: 2, ..Orphan::of(String::new(), Stray { stdin, ..stray("x") }) };
        let (left, perhaps) = (orphan(Stdin::Dead), orphan(Stdin::Unknown));
        let (what, hint) = told(&[left.clone(), perhaps.clone(), perhaps.clone()]);
        assert!(what.starts_with("1 MCP server was left behind by its client: 2 processes, "), "{what}");
        assert!(
            what.contains("; 2 MCP servers may have been left behind: ") && what.contains("(4 processes"),
            "{what}"
        );
        assert!(hint.contains("only by their PID"), "{hint}");
        let (what, hint) = told(&[perhaps]);
        assert!(what.starts_with("1 MCP server may have been") && !what.contains(';'), "{what}");
        assert!(!hint.contains("--kill"), "{hint}");
        let (what, hint) = told(&[left]);
        assert!(!what.contains("may have been") && hint.contains("--kill"), "{what} {hint}");
    }

    #[test]
    fn what_is_left_alone() {
        let server = || stray("npx -y mcp-server-x");
        assert!(judged(&Stray { stdin: Stdin::Dead, ..server() }));
        for (why, spared) in [
            ("it has a terminal", Stray { has_terminal: true, ..server() }),
            ("it is a hub's", Stray { variables: vec![ENV_RUN, "CLAUDE_PROJECT_DIR"], ..server() }),
            ("somebody has the other end", Stray { stdin: Stdin::Live, ..server() }),
            ("it reads from a file or nothing, as a service does", Stray { stdin: Stdin::Other, ..server() }),
        ] {
            assert!(!judged(&spared), "{why}");
        }
    }
}

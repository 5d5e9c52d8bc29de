//! Processes whose parent is gone: what can be known of them, and ending them.
//!
//! In: names of environment variables. Out: [`Stray`]s of this user, at one moment. Owns nothing. May not: judge who may be
//! ended, or signal a process that is not exactly the one that was seen.
//!
//! Linux only; elsewhere there is nothing to be seen.

use std::time::Duration;

use super::family::Seen;

/// A process without a parent of its own, with all that descends from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The process itself.
    pub root: Seen,
    /// Its command line, word by word.
    pub command: Vec<String>,
    /// How long it has been running.
    pub age: Duration,
    /// It and its descendants.
    pub tree: Vec<Seen>,
    /// One of them has a terminal.
    pub has_terminal: bool,
    /// What its stdin is.
    pub stdin: Stdin,
    /// Those of the variables that were asked for that it was started with.
    pub variables: Vec<&'static str>,
}

/// What a process reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// A pipe or socket whose other end nobody else has: it can never be told anything again.
    Dead,
    /// A pipe or socket whose other end somebody else has.
    Live,
    /// A pipe or socket; who has the other end cannot be seen.
    Unknown,
    /// A file, a terminal, nothing, or it may not be looked at.
    Other,
}

/// Processes that take over those whose parent ends, besides the first of all.
const REAPERS: [&str; 6] = ["systemd", "init", "tini", "dumb-init", "s6-svscan", "runit"];
/// Programs that are the first of all in a container, and clients with living servers of their own.
const CLIENTS: [&str; 9] = ["node", "bun", "deno", "python", "python3", "claude", "codex", "gemini", "opencode"];

/// Whether a process of this name takes over those whose parent ends.
pub(super) fn takes_over(pid: u32, name: &str) -> bool {
    if pid == 1 { !CLIENTS.contains(&name) } else { REAPERS.contains(&name) }
}

#[cfg(target_os = "linux")]
pub use linux::{end, memory, strays};

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{end, memory, strays};

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::{HashMap, HashSet};
    use std::time::Duration;

    use nix::sys::signal::Signal;

    use super::super::family::{self, Scan, Seen, variable};
    use super::super::peers::Ends;
    use super::super::process_info::ticks_per_second;
    use super::super::procfs::{self, Stat};
    use super::{Stray, takes_over};

    /// All strays of this user, oldest first. Blocks for some milliseconds.
    pub fn strays(variables: &[&'static str]) -> Vec<Stray> {
        let scan = Scan::fresh();
        let me = nix::unistd::geteuid().as_raw();
        let mine: Vec<&Stat> =
            scan.stats.iter().filter(|stat| !stat.zombie && procfs::owner(stat.pid) == Some(me)).collect();
        let mut below: HashMap<u32, Vec<&Stat>> = HashMap::new();
        for stat in &mine {
            below.entry(stat.ppid).or_default().push(stat);
        }
        let mut known: HashMap<u32, bool> = HashMap::new();
        let mut is_reaper =
            |pid: u32| *known.entry(pid).or_insert_with(|| takes_over(pid, &procfs::name(pid).unwrap_or_default()));
        let orphans: Vec<&Stat> = mine
            .iter()
            .copied()
            .filter(|stat| stat.pid != 1 && stat.pid != std::process::id() && is_reaper(stat.ppid))
            .collect();
        let living = scan.stats.iter().filter(|stat| !stat.zombie);
        let pids: Vec<u32> = living
            .map(|stat| stat.pid)
            .filter(|pid| is_of(me, procfs::owner(*pid), || procfs::real_user(*pid)))
            .collect();
        let mut ends = Ends::of(&pids);
        let mut found: Vec<Stray> =
            orphans.into_iter().filter_map(|stat| stray(stat, &below, &mut ends, variables)).collect();
        found.sort_by_key(|stray| stray.root.start);
        found
    }

    /// Whether a process is of this user. `/proc` gives one that protects itself to root, and it may still have the other
    /// end of a pipe.
    pub(super) fn is_of(me: u32, owner: Option<u32>, real_user: impl FnOnce() -> Option<u32>) -> bool {
        match owner {
            Some(0) if me != 0 => real_user() == Some(me),
            owner => owner == Some(me),
        }
    }

    /// Memory of a tree in bytes, shared pages split.
    pub fn memory(tree: &[Seen]) -> u64 {
        tree.iter().filter_map(|seen| procfs::pss_bytes(seen.pid)).sum()
    }

    fn stray(
        root: &Stat,
        below: &HashMap<u32, Vec<&Stat>>,
        ends: &mut Ends<'_>,
        variables: &[&'static str],
    ) -> Option<Stray> {
        let tree = tree(root, below);
        let environ = procfs::environ(root.pid);
        let age = procfs::uptime()?.saturating_sub(Duration::from_secs(root.start / ticks_per_second()));
        Some(Stray {
            root: seen(root),
            command: procfs::command(root.pid),
            age,
            has_terminal: tree.iter().any(|stat| procfs::has_terminal(stat.pid)),
            stdin: ends.stdin(root.pid, |pid| tree.iter().any(|stat| stat.pid == pid)),
            variables: variables.iter().copied().filter(|name| variable(&environ, name).is_some()).collect(),
            tree: tree.into_iter().map(seen).collect(),
        })
    }

    fn seen(stat: &Stat) -> Seen {
        Seen { pid: stat.pid, start: stat.start }
    }

    fn tree<'s>(root: &'s Stat, below: &HashMap<u32, Vec<&'s Stat>>) -> Vec<&'s Stat> {
        let (mut tree, mut at) = (vec![root], 0);
        while at < tree.len() {
            tree.extend(below.get(&tree[at].pid).into_iter().flatten().filter(|stat| stat.pid != root.pid));
            at += 1;
        }
        tree
    }

    /// Ends a tree: SIGTERM, and SIGKILL for who is left after `grace`, with all that descends from it by then. Whether
    /// nobody is left. Blocks.
    pub fn end(tree: &[Seen], grace: Duration) -> bool {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        let mut known: Vec<Seen> = tree.to_vec();
        signal(&known, Signal::SIGTERM);
        let mut waited = Duration::ZERO;
        while waited < grace && known.iter().any(|seen| family::lives(*seen)) {
            family::pause(LOOK_EVERY);
            waited += LOOK_EVERY;
            descend(&mut known);
        }
        waited = Duration::ZERO;
        while waited < grace && known.iter().any(|seen| family::lives(*seen)) {
            signal(&known, Signal::SIGKILL);
            family::pause(LOOK_EVERY);
            waited += LOOK_EVERY;
            descend(&mut known);
        }
        !known.iter().any(|seen| family::lives(*seen))
    }

    /// Adds what living members have started since.
    fn descend(known: &mut Vec<Seen>) {
        let scan = Scan::fresh();
        loop {
            let is_member = |seen: &Seen| known.contains(seen);
            let parents: HashSet<u32> =
                scan.stats.iter().filter(|stat| is_member(&seen(stat))).map(|stat| stat.pid).collect();
            let fresh: Vec<Seen> = scan
                .stats
                .iter()
                .filter(|stat| parents.contains(&stat.ppid) && !is_member(&seen(stat)))
                .map(seen)
                .collect();
            if fresh.is_empty() {
                return;
            }
            known.extend(fresh);
        }
    }

    fn signal(known: &[Seen], signal: Signal) {
        for seen in known {
            if let Some(stat) = procfs::stat(seen.pid).filter(|stat| stat.start == seen.start && !stat.zombie) {
                procfs::signal_exactly(&stat, signal);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::time::Duration;

    use super::Stray;
    use crate::platform::family::Seen;

    /// Without `/proc` nothing is known.
    pub fn strays(_variables: &[&'static str]) -> Vec<Stray> {
        Vec::new()
    }

    /// Nothing is known.
    pub fn memory(_tree: &[Seen]) -> u64 {
        0
    }

    /// Nobody was seen, so nobody is left.
    pub fn end(_tree: &[Seen], _grace: Duration) -> bool {
        true
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    /// Starts a process whose parent ends at once; its pid.
    fn orphan(script: &str, stdin: Stdio) -> u32 {
        // Without `<&3` a shell gives a job in the background no stdin.
        let outer = format!("exec 3<&0; sh -c '{script}' <&3 3<&- >/dev/null 2>&1 & echo $!");
        let mut shell =
            Command::new("sh").args(["-c", &outer]).stdin(stdin).stdout(Stdio::piped()).spawn().expect("started");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("piped")).read_line(&mut line).expect("a pid");
        shell.wait().expect("reaped");
        line.trim().parse().expect("a pid")
    }

    fn find(pid: u32) -> Stray {
        let began = tokio::time::Instant::now();
        loop {
            let found = strays(&["HOME", "NO_SUCH_VARIABLE"]).into_iter().find(|stray| stray.root.pid == pid);
            match found {
                Some(stray) if stray.tree.len() == 2 => return stray,
                _ => assert!(began.elapsed().as_secs() < 10, "{found:?}"),
            }
        }
    }

    #[test]
    fn what_is_seen_of_an_orphan() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let pid = orphan("trap \"\" TERM; sleep 1000; true", reader.into());
        let stray = find(pid);
        assert_eq!(stray.stdin, Stdin::Live, "the test has its other end");
        assert_eq!(stray.command[..2], ["sh".to_owned(), "-c".to_owned()]);
        assert!(memory(&stray.tree) > 0 && stray.age < Duration::from_mins(1));
        assert!(!stray.variables.contains(&"NO_SUCH_VARIABLE"));
        drop(writer);
        assert_eq!(find(pid).stdin, Stdin::Dead);
        // One that ignores SIGTERM, and the `sleep` below it.
        assert!(end(&stray.tree, Duration::from_millis(300)));
        assert!(!stray.tree.iter().any(|seen| super::super::family::lives(*seen)));
    }

    #[test]
    fn protected_processes_count_as_their_users() {
        for (owner, real_user, expected) in [
            (Some(7), None, true),
            (Some(8), Some(7), false),
            (Some(0), Some(7), true),
            (Some(0), Some(0), false),
            (Some(0), None, false),
            (None, Some(7), false),
        ] {
            assert_eq!(linux::is_of(7, owner, || real_user), expected, "{owner:?} {real_user:?}");
        }
    }

    #[test]
    fn others_are_not_touched() {
        let pid = orphan("sleep 1000; true", Stdio::null());
        let stray = find(pid);
        assert_eq!(stray.stdin, Stdin::Other);
        let wrong = Seen { start: stray.root.start + 1, ..stray.root };
        assert!(end(&[wrong], Duration::from_millis(100)), "that one does not live");
        assert!(super::super::family::lives(stray.root));
        assert!(end(&stray.tree, Duration::from_secs(2)));
    }
}

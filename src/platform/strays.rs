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
    /// A pipe that nobody else can write into: it can never be told anything again.
    DeadPipe,
    /// A pipe that somebody else can write into.
    LivePipe,
    /// A socket, as Node gives its children; who has the other end cannot be seen.
    Socket,
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
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use nix::sys::signal::Signal;

    use super::super::family::{self, Scan, Seen, variable};
    use super::super::process_info::ticks_per_second;
    use super::super::procfs::{self, Stat};
    use super::{Stdin, Stray, takes_over};

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
        let mut pipes = Pipes { all: &mine, users: None };
        let mut found: Vec<Stray> =
            orphans.into_iter().filter_map(|stat| stray(stat, &below, &mut pipes, variables)).collect();
        found.sort_by_key(|stray| stray.root.start);
        found
    }

    /// Memory of a tree in bytes, shared pages split.
    pub fn memory(tree: &[Seen]) -> u64 {
        tree.iter().filter_map(|seen| procfs::pss_bytes(seen.pid)).sum()
    }

    fn stray(
        root: &Stat,
        below: &HashMap<u32, Vec<&Stat>>,
        pipes: &mut Pipes<'_>,
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
            stdin: pipes.stdin(root.pid, &tree),
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

    /// Who can write into which pipe, looked up when it is first asked for.
    struct Pipes<'s> {
        all: &'s [&'s Stat],
        users: Option<HashMap<PathBuf, HashSet<u32>>>,
    }

    impl Pipes<'_> {
        fn stdin(&mut self, pid: u32, tree: &[&Stat]) -> Stdin {
            let Ok(target) = fs::read_link(format!("/proc/{pid}/fd/0")) else { return Stdin::Other };
            if kind(&target, "socket:") {
                return Stdin::Socket;
            }
            if !kind(&target, "pipe:") {
                return Stdin::Other;
            }
            let all = self.all;
            let users = self.users.get_or_insert_with(|| users(all));
            let is_inside = |pid: &u32| tree.iter().any(|stat| stat.pid == *pid);
            match users.get(&target) {
                Some(users) if users.iter().any(|pid| !is_inside(pid)) => Stdin::LivePipe,
                _ => Stdin::DeadPipe,
            }
        }
    }

    fn kind(target: &Path, prefix: &str) -> bool {
        target.to_str().is_some_and(|target| target.starts_with(prefix))
    }

    fn users(all: &[&Stat]) -> HashMap<PathBuf, HashSet<u32>> {
        let mut users: HashMap<PathBuf, HashSet<u32>> = HashMap::new();
        for stat in all {
            let open = fs::read_dir(format!("/proc/{}/fd", stat.pid)).into_iter().flatten().flatten();
            // The link to an end that can be written has the permission to write (proc_pid_fd(5)).
            let writable = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|link| link.mode() & 0o200 != 0);
            let ends = open.map(|entry| entry.path()).filter(writable);
            for target in ends.filter_map(|path| fs::read_link(path).ok()).filter(|target| kind(target, "pipe:")) {
                users.entry(target).or_default().insert(stat.pid);
            }
        }
        users
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
        assert_eq!(stray.stdin, Stdin::LivePipe, "the test has its other end");
        assert_eq!(stray.command[..2], ["sh".to_owned(), "-c".to_owned()]);
        assert!(memory(&stray.tree) > 0 && stray.age < Duration::from_mins(1));
        assert!(!stray.variables.contains(&"NO_SUCH_VARIABLE"));
        drop(writer);
        assert_eq!(find(pid).stdin, Stdin::DeadPipe);
        // One that ignores SIGTERM, and the `sleep` below it.
        assert!(end(&stray.tree, Duration::from_millis(300)));
        assert!(!stray.tree.iter().any(|seen| super::super::family::lives(*seen)));
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

//! All processes at one moment: who started whom, with which words, and what a tree of them costs.
//!
//! In: nothing. Out: a [`Snapshot`], and what else may be seen of the processes of this user. Owns nothing. May not: judge
//! what a process is, or signal one.
//!
//! Linux: `/proc`, one pass. Elsewhere: sysinfo.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

/// No chain of parents is longer; one that seems to be is not followed.
const ANCESTORS_MAX: usize = 128;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its id.
    pub pid: u32,
    /// Who started it, or took it over.
    pub parent: u32,
    /// Whether it is a process of this user.
    pub is_mine: bool,
    /// Its own memory, in bytes.
    pub rss_bytes: u64,
    /// How long it has been running.
    pub age: Duration,
}

/// The living processes of one moment.
#[derive(Debug)]
pub struct Snapshot {
    all: BTreeMap<u32, Running>,
    below: HashMap<u32, Vec<u32>>,
    source: system::Source,
}

impl Snapshot {
    /// Looks now. Blocks for some milliseconds.
    pub fn take() -> Self {
        let source = system::Source::now();
        let all: BTreeMap<u32, Running> = source.all().into_iter().map(|running| (running.pid, running)).collect();
        let mut below: HashMap<u32, Vec<u32>> = HashMap::new();
        for running in all.values() {
            below.entry(running.parent).or_default().push(running.pid);
        }
        Self { all, below, source }
    }

    /// Those of this user, by their ids.
    pub fn mine(&self) -> impl Iterator<Item = &Running> {
        self.all.values().filter(|running| running.is_mine)
    }

    /// The parent of a process, its parent, and so on.
    pub fn ancestors(&self, pid: u32) -> impl Iterator<Item = &Running> {
        let parent = |running: &&Running| self.all.get(&running.parent).filter(|parent| parent.pid != running.pid);
        std::iter::successors(self.all.get(&pid), move |running| parent(running)).skip(1).take(ANCESTORS_MAX)
    }

    /// A process and all that descends from it.
    pub fn tree(&self, pid: u32) -> Vec<&Running> {
        let mut tree: Vec<&Running> = self.all.get(&pid).into_iter().collect();
        let mut at = 0;
        while at < tree.len() && tree.len() <= self.all.len() {
            tree.extend(self.below.get(&tree[at].pid).into_iter().flatten().filter_map(|pid| self.all.get(pid)));
            at += 1;
        }
        tree
    }

    /// The command line of a process, word by word, as it was given or as the process has rewritten it; empty for one
    /// that ended or may not be looked at.
    pub fn command(&self, pid: u32) -> Vec<String> {
        self.source.command(pid)
    }

    /// The short name of a process.
    pub fn name(&self, pid: u32) -> String {
        self.source.name(pid)
    }

    /// The variables that a process was started with; none if they may not be read.
    pub fn variables(&self, pid: u32) -> Option<HashMap<String, String>> {
        Some(self.source.variables(pid)).filter(|variables| !variables.is_empty())
    }

    /// The folder that a process works in.
    pub fn folder(&self, pid: u32) -> Option<PathBuf> {
        self.source.folder(pid)
    }

    /// The program that a process runs.
    pub fn program(&self, pid: u32) -> Option<PathBuf> {
        self.source.program(pid)
    }

    /// Whether a process is seen to be spoken to by a program: its stdin is a pipe or a socket. Linux only; elsewhere it
    /// cannot be seen.
    pub fn is_piped(&self, pid: u32) -> bool {
        self.source.is_piped(pid)
    }

    /// Whether this process takes over those whose parent ended: it started none of what is below it.
    pub fn takes_over(&self, pid: u32) -> bool {
        super::strays::takes_over(pid, &self.name(pid))
    }
}

fn pair(entry: &str) -> Option<(String, String)> {
    entry.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::HashMap;
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::family::Scan;
    use super::super::process_info::{page_bytes, ticks_per_second};
    use super::super::procfs;
    use super::{Running, pair};

    /// `/proc` itself: what is not in a scan is read when it is asked for.
    #[derive(Debug)]
    pub(super) struct Source;

    impl Source {
        pub(super) fn now() -> Self {
            Self
        }

        #[expect(clippy::unused_self, reason = "the other system needs it")]
        pub(super) fn all(&self) -> Vec<Running> {
            let me = nix::unistd::geteuid().as_raw();
            let uptime = procfs::uptime().unwrap_or_default();
            let scan = Scan::fresh();
            let living = scan.stats.iter().filter(|stat| !stat.zombie);
            let running = living.map(|stat| Running {
                pid: stat.pid,
                parent: stat.ppid,
                is_mine: procfs::owner(stat.pid) == Some(me),
                rss_bytes: stat.rss_pages * page_bytes(),
                age: uptime.saturating_sub(Duration::from_secs(stat.start / ticks_per_second())),
            });
            running.collect()
        }

        #[expect(clippy::unused_self, reason = "the other system needs it")]
        pub(super) fn command(&self, pid: u32) -> Vec<String> {
            procfs::command(pid)
        }

        #[expect(clippy::unused_self, reason = "the other system needs it")]
        pub(super) fn name(&self, pid: u32) -> String {
            procfs::name(pid).unwrap_or_default()
        }

        #[expect(clippy::unused_self, reason = "the other system needs it")]
        pub(super) fn variables(&self, pid: u32) -> HashMap<String, String> {
            let environ = procfs::environ(pid);
            environ.split(|byte| *byte == 0).filter_map(|entry| pair(&String::from_utf8_lossy(entry))).collect()
        }

        #[expect(clippy::unused_self, reason = "the other system needs it")]
        pub(super) fn folder(&self, pid: u32) -> Option<PathBuf> {
            fs::read_link(format!("/proc/{pid}/cwd")).ok()
        }

        #[expect(clippy::unused_self, reason = "the other system needs it")]
        pub(super) fn program(&self, pid: u32) -> Option<PathBuf> {
            fs::read_link(format!("/proc/{pid}/exe")).ok()
        }

        #[expect(clippy::unused_self, reason = "the other system needs it")]
        pub(super) fn is_piped(&self, pid: u32) -> bool {
            let target = fs::read_link(format!("/proc/{pid}/fd/0")).ok();
            let target = target.as_ref().and_then(|target| target.to_str());
            target.is_some_and(|target| target.starts_with("pipe:") || target.starts_with("socket:"))
        }
    }
}

#[cfg(not(target_os = "linux"))]
use portable as system;

/// What sysinfo tells. In tests it is compiled on Linux too, so that it does not rot where nobody looks.
#[cfg(any(test, not(target_os = "linux")))]
mod portable {
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

    use super::{Running, pair};

    #[derive(Debug)]
    pub(super) struct Source(Option<System>);

    impl Source {
        pub(super) fn now() -> Self {
            let wanted = ProcessRefreshKind::nothing()
                .with_cmd(UpdateKind::Always)
                .with_environ(UpdateKind::Always)
                .with_cwd(UpdateKind::Always)
                .with_exe(UpdateKind::Always)
                .with_user(UpdateKind::Always)
                .with_memory()
                .without_tasks();
            let mut system = System::new().ok();
            if let Some(system) = &mut system {
                system.refresh_processes_specifics(ProcessesToUpdate::All, true, wanted);
            }
            Self(system)
        }

        pub(super) fn all(&self) -> Vec<Running> {
            let me = nix::unistd::geteuid().as_raw();
            let all = self.0.iter().flat_map(|system| system.processes().values());
            let living = all.filter(|process| process.thread_kind().is_none());
            let running = living.map(|process| Running {
                pid: process.pid().as_u32(),
                parent: process.parent().map_or(0, Pid::as_u32),
                is_mine: process.effective_user_id().or(process.user_id()).is_some_and(|user| **user == me),
                rss_bytes: process.memory(),
                age: Duration::from_secs(process.run_time()),
            });
            running.collect()
        }

        fn process(&self, pid: u32) -> Option<&Process> {
            self.0.as_ref()?.process(Pid::from_u32(pid))
        }

        pub(super) fn command(&self, pid: u32) -> Vec<String> {
            let words = self.process(pid).into_iter().flat_map(Process::cmd);
            words.map(|word| word.to_string_lossy().into_owned()).collect()
        }

        pub(super) fn name(&self, pid: u32) -> String {
            self.process(pid).map(|process| process.name().to_string_lossy().into_owned()).unwrap_or_default()
        }

        pub(super) fn variables(&self, pid: u32) -> HashMap<String, String> {
            let entries = self.process(pid).into_iter().flat_map(Process::environ);
            entries.filter_map(|entry| pair(&entry.to_string_lossy())).collect()
        }

        pub(super) fn folder(&self, pid: u32) -> Option<PathBuf> {
            self.process(pid)?.cwd().map(Path::to_owned)
        }

        pub(super) fn program(&self, pid: u32) -> Option<PathBuf> {
            self.process(pid)?.exe().map(Path::to_owned)
        }

        /// It cannot be seen, and what cannot be seen accuses nobody.
        #[expect(clippy::unused_self, reason = "the other system needs it")]
        pub(super) fn is_piped(&self, _pid: u32) -> bool {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn what_is_seen_of_a_tree() {
        let script = "sleep 60 & echo up; wait";
        let mut root = Command::new("sh")
            .args(["-c", script, "", "last"])
            .env("OF_THIS_TEST", "a=b")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut line = String::new();
        BufReader::new(root.stdout.take().expect("piped")).read_line(&mut line).expect("up");
        let pid = root.id();
        let began = tokio::time::Instant::now();
        let snapshot = loop {
            let now = Snapshot::take();
            if now.tree(pid).get(1).is_some_and(|below| now.command(below.pid) == ["sleep", "60"]) {
                break now;
            }
            assert!(began.elapsed().as_secs() < 10, "{:?}", now.tree(pid));
        };
        let tree = snapshot.tree(pid);
        let below: Vec<u32> = tree.iter().map(|running| running.pid).filter(|other| *other != pid).collect();
        assert_eq!((tree.len(), tree[0].pid), (2, pid), "{tree:?}");
        assert!(tree.iter().all(|running| running.is_mine && running.age < Duration::from_mins(1)));
        assert!(tree[0].rss_bytes > 0);
        let above: Vec<u32> = snapshot.ancestors(below[0]).map(|running| running.pid).collect();
        assert_eq!(above[..2], [pid, std::process::id()]);
        assert_eq!(snapshot.command(pid), ["sh", "-c", script, "", "last"], "empty words count");
        let variables = snapshot.variables(pid).expect("ours");
        assert_eq!(variables.get("OF_THIS_TEST").map(String::as_str), Some("a=b"));
        assert_eq!(snapshot.folder(pid), Some(PathBuf::from("/")));
        assert!(snapshot.program(std::process::id()).is_some_and(|program| program.exists()));
        assert_eq!(snapshot.is_piped(pid), cfg!(target_os = "linux"));
        assert!(!snapshot.is_piped(below[0]), "a job in the background reads from nothing");
        let gone = 4_194_305;
        assert!(snapshot.command(gone).is_empty() && snapshot.variables(gone).is_none() && !snapshot.is_piped(gone));

        let portable = portable::Source::now();
        let of = |pid: u32| portable.all().into_iter().find(|running| running.pid == pid).expect("seen");
        assert_eq!((of(below[0]).parent, of(pid).is_mine), (pid, true));
        assert!(of(pid).rss_bytes > 0 && of(pid).age < Duration::from_mins(1));
        assert_eq!(portable.command(below[0]), ["sleep", "60"]);
        assert_eq!(portable.variables(pid).get("OF_THIS_TEST").map(String::as_str), Some("a=b"));
        assert_eq!((portable.folder(pid), portable.name(pid).as_str()), (Some(PathBuf::from("/")), "sh"));
        assert!(portable.program(pid).is_some() && !portable.is_piped(pid), "that cannot be seen");

        for pid in [below[0], pid] {
            let pid = super::super::process::to_pid(pid).expect("a pid");
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("ours");
        }
        root.wait().expect("reaped");
    }
}

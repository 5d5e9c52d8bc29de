//! What `/proc` says runs: the independent witness.
//!
//! In: `/proc`. Out: the processes that carry a mark in their environment, wherever they hang in the process tree. State:
//! none. May not: ask hub.
//!
//! Each server gets a mark of its own through its `env` in hub.toml, which all it starts inherits. So a second child, or
//! one that was left behind and adopted by init, is found although no parent leads to it.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

/// The variable that marks a server's processes.
pub const MARK: &str = "HUB_TEST_MARK";

/// One running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    /// In clock ticks after boot: with the pid, one process and no other.
    pub started: u64,
    pub rss_bytes: u64,
    pub command: String,
}

/// All processes of one mark.
#[derive(Debug, Clone)]
pub struct Family {
    pub members: Vec<Process>,
}

impl Family {
    /// The members whose parent is not a member: one for each tree.
    pub fn roots(&self) -> Vec<&Process> {
        let pids: HashSet<u32> = self.members.iter().map(|process| process.pid).collect();
        self.members.iter().filter(|process| !pids.contains(&process.parent)).collect()
    }

    /// Resident memory of all members, in bytes; shared pages count in each.
    pub fn rss_bytes(&self) -> u64 {
        self.members.iter().map(|process| process.rss_bytes).sum()
    }
}

/// The processes with this mark now. A process that ends while it is read is not there.
pub fn family(mark: &str) -> Family {
    let wanted = format!("{MARK}={mark}");
    let has_mark = |pid: u32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()))
    };
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Family { members: pids.filter(|pid| has_mark(*pid)).filter_map(process).collect() }
}

/// Does this process run (a zombie does not)?
pub fn runs(pid: u32) -> bool {
    process(pid).is_some()
}

/// The pids of all direct and indirect children.
pub fn descendants(pid: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<Process> = pids.filter_map(process).collect();
    let mut found = vec![pid];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(all.iter().filter(|process| process.parent == parent).map(|process| process.pid));
        at += 1;
    }
    found.split_off(1)
}

fn process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name stands in parentheses and may contain anything; the fields begin after the last one.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 2..].split(' ').collect();
    if matches!(fields[0], "Z" | "X") {
        return None;
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.split_whitespace().next()?.parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(Process {
        pid,
        parent: fields[1].parse().ok()?,
        started: fields[19].parse().ok()?,
        rss_bytes: kib * 1024,
        command: String::from_utf8_lossy(&command).replace('\0', " "),
    })
}

/// Calls `check` until it gives a value, or until the patience is over: then fails with the last reason it gave.
pub fn eventually<T>(patience: Duration, mut check: impl FnMut() -> Result<T, String>) -> T {
    let since = tokio::time::Instant::now();
    loop {
        match check() {
            Ok(value) => return value,
            Err(reason) => assert!(since.elapsed() < patience, "after {patience:?}: {reason}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

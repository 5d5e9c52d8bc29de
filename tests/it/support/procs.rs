//! Processes as the system sees them.
//!
//! In: pids and markers. Out: who lives. Owns nothing. May not: signal a process that is not the test's own.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::Command;

/// One living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proc {
    /// Its id.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// Its command line.
    pub command: String,
}

/// Every living process whose environment has `marker`, that is: hub of one test, and all that came from it.
pub fn marked(marker: &str) -> Vec<Proc> {
    if Path::new("/proc/self/environ").exists() { marked_in_proc(marker) } else { marked_by_ps(marker) }
}

fn marked_in_proc(marker: &str) -> Vec<Proc> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found = Vec::new();
    for pid in pids {
        // A zombie has an empty environment: it is dead, only not yet buried.
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if environ.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes()) {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push(Proc { pid, ppid: parent(pid).unwrap_or(0), command });
        }
    }
    found
}

fn marked_by_ps(marker: &str) -> Vec<Proc> {
    let output = Command::new("ps").args(["-axEww", "-o", "pid=,ppid=,command="]).output().expect("ps runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| line.split(' ').any(|word| word == marker));
    let parsed = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let (pid, ppid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Proc { pid, ppid, command: words.collect::<Vec<_>>().join(" ") })
    });
    parsed.collect()
}

/// The parent of a process, `None` when it is gone.
pub fn parent(pid: u32) -> Option<u32> {
    status_field(pid, "PPid:")?.parse().ok()
}

/// Resident memory in bytes. (Linux; `None` elsewhere.)
pub fn rss_bytes(pid: u32) -> Option<u64> {
    let text = status_field(pid, "VmRSS:")?;
    text.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Proportional memory in bytes: shared pages counted once. (Linux; `None` elsewhere.)
pub fn pss_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Pss:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn status_field(pid: u32, field: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field)).map(|value| value.trim().to_owned())
}

/// Is the process alive? A zombie is not.
pub fn is_alive(pid: u32) -> bool {
    match status_field(pid, "State:") {
        Some(state) => !state.starts_with('Z') && !state.starts_with('X'),
        None if Path::new("/proc/self/status").exists() => false,
        None => kill(raw(pid), None).is_ok(),
    }
}

/// `pid` and everything below it.
pub fn tree(pid: u32, all: &[Proc]) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while at < found.len() {
        let below = all.iter().filter(|proc| proc.ppid == found[at]).map(|proc| proc.pid);
        found.extend(below.collect::<Vec<_>>());
        at += 1;
    }
    found
}

/// Sends a signal; a process that is gone is no error.
pub fn signal(pid: u32, signal: Signal) {
    // ESRCH: it was faster.
    let _ = kill(raw(pid), signal);
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a pid fits"))
}

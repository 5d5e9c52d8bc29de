//! The inside of the guardian process: remember groups, wait for hub's end, end them.
//!
//! In: records on stdin. Out: signals. Owns the list of groups, in a process of its own without threads or a runtime.
//! May not: outlive its work, signal a group whose leader it cannot identify, or depend on anything of the daemon.

use std::io::{self, Read};
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use tokio::time::Instant;

use super::family::{self, Marks, Scan, Seen};
use super::guardian::Record;
use super::procfs;

/// After TERM everybody has this long to leave.
const TERM_GRACE: Duration = Duration::from_millis(400);
/// After KILL the sweep goes on until nobody is left, at most this long.
const SWEEP_MAX: Duration = Duration::from_millis(1200);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Entered by `hub __guardian RUN` before any runtime exists. Returns when hub is gone and nothing of it is left.
pub fn guardian_main() -> ExitCode {
    let Some(run) = std::env::args_os().next_back().and_then(|run| run.into_string().ok()) else {
        return ExitCode::from(2);
    };
    guard(&run);
    ExitCode::SUCCESS
}

/// Reads records from stdin until its end, then ends every group that is still there and everybody with the marker.
pub fn guard(run: &str) {
    ignore_signals();
    set_name();
    let mut groups = Vec::new();
    follow(&mut io::stdin().lock(), &mut groups);
    let marks = Marks { run: run.to_owned(), child: None };
    let _found: usize = end_all(&marks, &groups);
}

/// Whoever stops hub by a signal to its whole group or terminal must not stop the guardian with it.
fn ignore_signals() {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE] {
        #[expect(unsafe_code, reason = "signal dispositions of the guardian process")]
        // SAFETY: installs no handler function, so nothing can run at a bad moment.
        let set = unsafe { sigaction(signal, &ignore) };
        // Failing to ignore a signal leaves a guardian that is merely easier to kill.
        set.ok();
    }
}

/// What `ps` shows; started as /proc/self/exe it would be called "exe".
fn set_name() {
    #[cfg(target_os = "linux")]
    std::fs::write("/proc/self/comm", "hub-guardian").ok();
}

fn follow(input: &mut impl Read, groups: &mut Vec<Seen>) {
    let mut buffer = [0u8; Record::BYTES * 64];
    let mut filled = 0;
    loop {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => return,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        }
        let (records, rest) = buffer[..filled].as_chunks::<{ Record::BYTES }>();
        for &record in records {
            note(groups, Record::from_bytes(record));
        }
        let (whole, rest) = (filled - rest.len(), rest.len());
        buffer.copy_within(whole..filled, 0);
        filled = rest;
    }
}

fn note(groups: &mut Vec<Seen>, record: Record) {
    let known = groups.iter().position(|group| group.pid == record.pgid);
    if !record.register {
        if let Some(known) = known {
            groups.swap_remove(known);
        }
        return;
    }
    // A forked child does not know its start time yet; at this moment its id can only be its own.
    let start = if record.start == 0 { family::start_of(record.pgid).unwrap_or(0) } else { record.start };
    let seen = Seen { pid: record.pgid, start };
    match known {
        Some(known) => groups[known] = seen,
        None => groups.push(seen),
    }
}

/// Ends what a daemon left: TERM, a short grace that ends early, KILL, and a sweep until two looks in a row find
/// nobody. Returns how many processes it found. Blocks for two seconds at most.
pub fn end_all(marks: &Marks, groups: &[Seen]) -> usize {
    let began = Instant::now();
    let found = round(marks, groups, Signal::SIGTERM);
    while began.elapsed() < TERM_GRACE && anybody(&found, groups) {
        family::pause(LOOK_AGAIN);
    }
    let killing = Instant::now();
    let mut quiet = 0;
    while quiet < 2 && killing.elapsed() < SWEEP_MAX {
        let left = round(marks, groups, Signal::SIGKILL);
        quiet = if anybody(&left, groups) { 0 } else { quiet + 1 };
        family::pause(LOOK_AGAIN);
    }
    found.len()
}

/// Signals all groups that are certainly ours and everybody else of the family. Returns whom it found.
fn round(marks: &Marks, groups: &[Seen], signal: Signal) -> Vec<Seen> {
    let scan = Scan::fresh();
    let ours: Vec<u32> = groups.iter().filter(|group| is_ours(&scan, marks, group)).map(|group| group.pid).collect();
    for &pgid in &ours {
        super::process::signal_group(pgid, signal);
    }
    let members = scan.family(marks, &ours);
    for stat in members.iter().filter(|stat| !ours.contains(&stat.pgid)) {
        procfs::signal_exactly(stat, signal);
    }
    members.iter().map(|stat| Seen { pid: stat.pid, start: stat.start }).collect()
}

/// Is this still the group that registered? Its leader is the same process, or the leader is gone and a member carries
/// the marker. Without `/proc` the registration must do: hub forgets groups that are gone.
pub(super) fn is_ours(scan: &Scan, marks: &Marks, group: &Seen) -> bool {
    if cfg!(not(target_os = "linux")) {
        return super::process::group_exists(group.pid);
    }
    if let Some(leader) = scan.stats.iter().find(|stat| stat.pid == group.pid) {
        return leader.start == group.start;
    }
    family::group_is_orphaned(scan, marks, group.pid)
}

fn anybody(members: &[Seen], groups: &[Seen]) -> bool {
    if cfg!(not(target_os = "linux")) {
        return groups.iter().any(|group| super::process::group_exists(group.pid));
    }
    members.iter().any(|&member| family::lives(member))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_any_split() {
        let records = [Record::register(7, 70), Record::register(9, 90), Record { register: false, pgid: 7, start: 0 }];
        let bytes: Vec<u8> = records.iter().flat_map(|record| record.to_bytes()).collect();
        for cut in 0..bytes.len() {
            let (mut first, second) = (&bytes[..cut], &bytes[cut..]);
            let mut groups = Vec::new();
            follow(&mut Read::chain(&mut first, second), &mut groups);
            assert_eq!(groups, [Seen { pid: 9, start: 90 }], "cut at {cut}");
        }
    }

    #[test]
    fn a_recycled_id_is_a_stranger() {
        let me = std::process::id();
        let scan = Scan::fresh();
        let marks = Marks { run: "no such run".into(), child: None };
        let start = family::start_of(me).expect("own start time");
        assert!(is_ours(&scan, &marks, &Seen { pid: me, start }));
        assert!(!is_ours(&scan, &marks, &Seen { pid: me, start: start + 1 }));
    }
}

//! Who belongs to a child: its group, its descendants, and those that left both but still carry its marker.
//!
//! In: markers and roots. Out: processes, at one moment, and signals to exactly them. Owns the last scan, so that many
//! children that stop together share one. May not: touch a process on the strength of its id alone.
//!
//! Without `/proc` (macOS) a family has no known members beyond its group, and all here finds nobody.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::procfs::{self, Stat};

/// Environment variable with the run id of the daemon: every child and descendant carries it.
pub const ENV_RUN: &str = "HUB_RUN";
/// Environment variable that names one child of one daemon.
pub const ENV_CHILD: &str = "HUB_CHILD";
/// Environment variable with the server's name, for people and scripts.
pub const ENV_SERVER: &str = "HUB_SERVER";

/// Rounds of "look, signal" before hub gives up on a family that breeds faster than it dies.
const KILL_ROUNDS_MAX: usize = 50;
/// Pause between two rounds.
const KILL_PAUSE: Duration = Duration::from_millis(10);
/// Looks that must find nobody, as long as one of them found a process that hides its marks.
const LOOKS_MAX: usize = 3;
/// Pause between two of them.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// A process that was forked longer ago has been what it is for long: it is not waited for.
const STARTING: Duration = Duration::from_secs(5);

/// What tells a process of ours from a stranger's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// Run id of the daemon.
    pub run: String,
    /// One child of that daemon; `None`: all of them.
    pub child: Option<String>,
}

/// A process that was seen. Its start time makes it itself for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Process id.
    pub pid: u32,
    /// Clock ticks since boot.
    pub start: u64,
}

/// All processes at one moment.
#[derive(Debug)]
pub(super) struct Scan {
    began: Instant,
    pub(super) stats: Vec<Stat>,
}

static LAST: Mutex<Option<Arc<Scan>>> = Mutex::new(None);

impl Scan {
    /// A scan that began after this call was made. Callers that wait for each other share one. Blocks for some
    /// milliseconds.
    pub(super) fn fresh() -> Arc<Self> {
        let wanted = Instant::now();
        let mut last: MutexGuard<'_, _> = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scan) = last.as_ref().filter(|scan| scan.began > wanted) {
            return scan.clone();
        }
        let scan = Arc::new(Self { began: Instant::now(), stats: procfs::all() });
        *last = Some(scan.clone());
        scan
    }

    /// Living members of a family: everybody in the groups or sessions of `roots`, everybody with the marks, and all
    /// descendants of these. The caller vouches for the identity of the roots.
    pub(super) fn family(&self, marks: &Marks, roots: &[u32]) -> Vec<Stat> {
        self.search(marks, roots).0
    }

    /// The family, and whether somebody else may belong to it whose marks could not be seen just now: a process that
    /// is turning into another program has no environment for a moment.
    fn search(&self, marks: &Marks, roots: &[u32]) -> (Vec<Stat>, bool) {
        let me = std::process::id();
        let (since, mut hidden) = (starting_since(), false);
        let mut open: Vec<usize> = Vec::new();
        let mut taken: HashSet<u32> = HashSet::from([me]);
        for (at, stat) in self.stats.iter().enumerate() {
            let rooted = [stat.pid, stat.pgid, stat.sid].iter().any(|id| roots.contains(id));
            let marked = !rooted && !stat.zombie && {
                let environ = procfs::environ(stat.pid);
                let is_young = since.is_some_and(|since| stat.start >= since);
                hidden |= environ.is_empty() && is_young && is_of_this_user(stat.pid);
                are_in(&environ, marks)
            };
            if (rooted || marked) && taken.insert(stat.pid) {
                open.push(at);
            }
        }
        let children = self.by_relation();
        let mut members = Vec::new();
        while let Some(at) = open.pop() {
            let stat = &self.stats[at];
            members.push(*stat);
            for &child in children.get(&stat.pid).into_iter().flatten() {
                if taken.insert(self.stats[child].pid) {
                    open.push(child);
                }
            }
        }
        members.retain(|stat| !stat.zombie);
        (members, hidden)
    }

    /// Positions of those whose parent, group leader or session leader a process is.
    fn by_relation(&self) -> HashMap<u32, Vec<usize>> {
        let mut relation: HashMap<u32, Vec<usize>> = HashMap::new();
        for (at, stat) in self.stats.iter().enumerate() {
            for id in [stat.ppid, stat.pgid, stat.sid] {
                if id > 1 && id != stat.pid {
                    relation.entry(id).or_default().push(at);
                }
            }
        }
        relation
    }
}

/// Does a process carry the marks in the environment that it was started with?
pub fn has_marks(pid: u32, marks: &Marks) -> bool {
    are_in(&procfs::environ(pid), marks)
}

/// The clock tick since boot after which a process counts as just forked. `None`: no way to know.
fn starting_since() -> Option<u64> {
    let since = procfs::uptime()?.saturating_sub(STARTING);
    Some(since.as_secs() * super::process_info::ticks_per_second())
}

fn is_of_this_user(pid: u32) -> bool {
    procfs::owner(pid) == Some(nix::unistd::geteuid().as_raw())
}

fn are_in(environ: &[u8], marks: &Marks) -> bool {
    let has = |name: &str, value: &str| variable(environ, name).is_some_and(|found| found == value.as_bytes());
    has(ENV_RUN, &marks.run) && marks.child.as_ref().is_none_or(|child| has(ENV_CHILD, child))
}

/// One variable of the environment that a process was started with.
pub(super) fn variable<'a>(environ: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environ.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The living members of a family, now. Blocks for some milliseconds.
pub fn members(marks: &Marks, roots: &[u32]) -> Vec<Seen> {
    let members = Scan::fresh().family(marks, roots);
    members.iter().map(|stat| Seen { pid: stat.pid, start: stat.start }).collect()
}

/// Signals living members that left the group of their leader, which is still ours. Blocks for some milliseconds.
pub fn signal_outside_group(marks: &Marks, leader: u32, signal: Signal) {
    let members = Scan::fresh().family(marks, &[leader]);
    for stat in members.iter().filter(|stat| stat.pgid != leader) {
        procfs::signal_exactly(stat, signal);
    }
}

/// Ends what is left of a family whose leader ended: kills its group and all with the marks, again and again until
/// nobody is left. Returns whether nobody is. Blocks: never call it on a thread of the runtime.
pub fn end(marks: &Marks, leader: u32) -> bool {
    hunt(marks, leader, pause)
}

fn hunt(marks: &Marks, leader: u32, mut pause: impl FnMut(Duration)) -> bool {
    if cfg!(not(target_os = "linux")) {
        // Groups are all that is known here. The group was killed before its leader was reaped; this is for a member
        // that was forked in that moment.
        super::process::signal_group(leader, Signal::SIGKILL);
        return true;
    }
    let mut looks = 0;
    for _ in 0..KILL_ROUNDS_MAX {
        let scan = Scan::fresh();
        let roots = if group_is_orphaned(&scan, marks, leader) { &[leader][..] } else { &[] };
        let (members, hidden) = scan.search(marks, roots);
        // Those that cannot be signalled (another user's) are not ours to wait for.
        if members.iter().filter(|stat| procfs::signal_exactly(stat, Signal::SIGKILL)).count() > 0 {
            pause(KILL_PAUSE);
            continue;
        }
        looks += 1;
        if !hidden || looks >= LOOKS_MAX {
            return true;
        }
        pause(LOOK_PAUSE);
    }
    false
}

/// Its leader is gone and a member carries the marks: so the id was not given to a stranger since.
pub(super) fn group_is_orphaned(scan: &Scan, marks: &Marks, pgid: u32) -> bool {
    if scan.stats.iter().any(|stat| stat.pid == pgid) {
        return false;
    }
    scan.stats.iter().filter(|stat| stat.pgid == pgid).any(|stat| has_marks(stat.pid, marks))
}

/// When a process started, in clock ticks since boot. `None`: no such process, or no way to know (macOS).
pub fn start_of(pid: u32) -> Option<u64> {
    procfs::stat(pid).map(|stat| stat.start)
}

/// Does exactly this process still run (zombies do not)?
pub fn lives(seen: Seen) -> bool {
    procfs::stat(seen.pid).is_some_and(|stat| stat.start == seen.start && !stat.zombie)
}

/// Does exactly this process still run, as far as this system tells? Where no start time can be read, the id has to do.
pub fn may_live(seen: Seen) -> bool {
    if cfg!(target_os = "linux") { lives(seen) } else { super::process::process_exists(seen.pid) }
}

/// Names this boot; empty where the system has no such name.
pub fn boot_id() -> String {
    procfs::boot_id()
}

/// Sleeps on a thread that belongs to no runtime.
pub(super) fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "only called on blocking threads and in the guardian process")]
    std::thread::sleep(duration);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, Stdio};

    /// No process has it: ids end below.
    const GONE: u32 = 4_194_305;

    /// A process without an environment, which then becomes another with the marks when it reads a line.
    fn hidden(run: &str) -> Child {
        let script = format!("read line; exec env {ENV_RUN}={run} sleep 60");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).env_clear().stdin(Stdio::piped()).spawn().expect("started")
    }

    #[test]
    fn who_is_just_being_replaced_is_found_in_another_look() {
        let marks = Marks { run: "family-replaced".to_owned(), child: None };
        let mut child = hidden(&marks.run);
        let mut stdin = child.stdin.take();
        let clean = hunt(&marks, GONE, |time| {
            if let Some(mut stdin) = stdin.take() {
                stdin.write_all(b"\n").expect("it reads");
                let began = Instant::now();
                while !has_marks(child.id(), &marks) && began.elapsed().as_secs() < 10 {}
            }
            pause(time);
        });
        assert!(clean);
        drop(stdin);
        assert_eq!(child.wait().expect("reaped").signal(), Some(Signal::SIGKILL as i32));
    }

    #[test]
    fn who_has_no_environment_is_not_waited_for_long_and_not_killed() {
        let marks = Marks { run: "family-of-nobody".to_owned(), child: None };
        let mut child = hidden(&marks.run);
        let mut looks = 1;
        assert!(hunt(&marks, GONE, |_| looks += 1));
        assert_eq!(looks, LOOKS_MAX);
        assert!(child.try_wait().expect("a child").is_none(), "it lives");
        child.kill().expect("ours");
        child.wait().expect("reaped");
    }
}

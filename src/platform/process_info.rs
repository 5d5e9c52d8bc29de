//! What process trees cost: counts, memory, processor time.
//!
//! In: roots. Out: [`TreeUsage`] per root, at one moment. Owns nothing. May not: be called on a thread of the runtime (a
//! look takes milliseconds, PSS some more per process).
//!
//! Linux: `/proc`; PSS from `smaps_rollup`, where pages shared by n processes count 1/n each. macOS: sysinfo; there PSS
//! is the resident size, because the system tells no better number without special rights.

use std::collections::HashMap;

/// What one tree costs now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// Living processes.
    pub processes: u32,
    /// Sum of the resident sizes; pages that are shared count several times.
    pub rss_bytes: u64,
    /// Sum of the proportional sizes; 0 where it was not asked for.
    pub pss_bytes: u64,
    /// User and system time of all of them and of their reaped children, in clock ticks ([`ticks_per_second`]).
    pub cpu_ticks: u64,
    /// Who they are, the root first if it lives.
    pub pids: Vec<u32>,
}

/// What each tree costs, with PSS. A root's tree is its session and group, its descendants, and those that left all
/// this but carry the root's own marker of run `run_id`.
pub fn trees(roots: &[u32], run_id: &str) -> HashMap<u32, TreeUsage> {
    system::trees(roots, run_id, true)
}

/// As [`trees`], without PSS: a look per second is cheap enough.
pub fn trees_without_pss(roots: &[u32], run_id: &str) -> HashMap<u32, TreeUsage> {
    system::trees(roots, run_id, false)
}

/// What hub itself costs, without its children and its guardian.
pub fn own_usage() -> TreeUsage {
    system::one(std::process::id())
}

/// Clock ticks per second of [`TreeUsage::cpu_ticks`].
pub fn ticks_per_second() -> u64 {
    system::ticks_per_second()
}

/// Size of a page of memory, in bytes.
#[cfg(target_os = "linux")]
pub(super) fn page_bytes() -> u64 {
    system::page_bytes()
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::HashMap;

    use nix::unistd::{SysconfVar, sysconf};

    use super::super::family::{self, ENV_CHILD, ENV_RUN, Scan};
    use super::super::procfs::{self, Stat};
    use super::TreeUsage;

    pub(super) fn trees(roots: &[u32], run_id: &str, with_pss: bool) -> HashMap<u32, TreeUsage> {
        let scan = Scan::fresh();
        let owners = owners(&scan, roots, run_id);
        let mut trees: HashMap<u32, TreeUsage> = roots.iter().map(|&root| (root, TreeUsage::default())).collect();
        for (stat, root) in scan.stats.iter().zip(&owners) {
            if let Some(tree) = root.and_then(|root| trees.get_mut(&root)).filter(|_| !stat.zombie) {
                add(tree, stat, with_pss);
                if root == &Some(stat.pid) {
                    let last = tree.pids.len() - 1;
                    tree.pids.swap(0, last);
                }
            }
        }
        trees
    }

    pub(super) fn one(pid: u32) -> TreeUsage {
        let mut usage = TreeUsage::default();
        if let Some(stat) = procfs::stat(pid) {
            add(&mut usage, &stat, true);
        }
        usage
    }

    /// The root that each process of a scan belongs to: by session or group, by parents, by marker.
    fn owners(scan: &Scan, roots: &[u32], run_id: &str) -> Vec<Option<u32>> {
        let markers: HashMap<Vec<u8>, u32> =
            roots.iter().filter_map(|&root| Some((marker(root, run_id)?, root))).collect();
        let direct = |stat: &Stat| [stat.pid, stat.sid, stat.pgid].into_iter().find(|id| roots.contains(id));
        let mut owners: Vec<Option<u32>> = scan.stats.iter().map(direct).collect();
        let position: HashMap<u32, usize> = scan.stats.iter().enumerate().map(|(at, stat)| (stat.pid, at)).collect();
        inherit(scan, &position, &mut owners);
        for (at, stat) in scan.stats.iter().enumerate() {
            if owners[at].is_none() && !markers.is_empty() && !stat.zombie {
                owners[at] = marker(stat.pid, run_id).and_then(|marker| markers.get(&marker).copied());
            }
        }
        inherit(scan, &position, &mut owners);
        owners
    }

    /// Gives each process without an owner that of its nearest ancestor with one.
    fn inherit(scan: &Scan, position: &HashMap<u32, usize>, owners: &mut [Option<u32>]) {
        for at in 0..scan.stats.len() {
            let mut path = Vec::new();
            let mut here = Some(at);
            let mut owner = None;
            // Parents form no cycle, but a scan is not one instant: the bound makes sure.
            while let Some(now) = here.filter(|_| path.len() < scan.stats.len()) {
                owner = owners[now];
                if owner.is_some() {
                    break;
                }
                path.push(now);
                here = position.get(&scan.stats[now].ppid).copied();
            }
            for visited in path.into_iter().filter(|_| owner.is_some()) {
                owners[visited] = owner;
            }
        }
    }

    fn marker(pid: u32, run_id: &str) -> Option<Vec<u8>> {
        let environ = procfs::environ(pid);
        let run = family::variable(&environ, ENV_RUN)?;
        (run == run_id.as_bytes()).then(|| family::variable(&environ, ENV_CHILD).map(<[u8]>::to_vec))?
    }

    fn add(tree: &mut TreeUsage, stat: &Stat, with_pss: bool) {
        let rss = stat.rss_pages * page_bytes();
        tree.processes += 1;
        tree.rss_bytes += rss;
        tree.cpu_ticks += stat.cpu_ticks;
        tree.pids.push(stat.pid);
        if with_pss {
            // Unreadable (another user's process): the resident size is the honest upper bound.
            tree.pss_bytes += procfs::pss_bytes(stat.pid).unwrap_or(rss);
        }
    }

    pub(super) fn page_bytes() -> u64 {
        known(SysconfVar::PAGE_SIZE).unwrap_or(4096)
    }

    pub(super) fn ticks_per_second() -> u64 {
        known(SysconfVar::CLK_TCK).unwrap_or(100)
    }

    fn known(name: SysconfVar) -> Option<u64> {
        u64::try_from(sysconf(name).ok()??).ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::collections::{HashMap, HashSet};

    use sysinfo::{Pid, Process, ProcessesToUpdate, System};

    use super::TreeUsage;

    pub(super) fn trees(roots: &[u32], _run_id: &str, _with_pss: bool) -> HashMap<u32, TreeUsage> {
        let Ok(mut system) = System::new() else { return HashMap::new() };
        system.refresh_processes(ProcessesToUpdate::All, true);
        roots.iter().map(|&root| (root, tree(&system, root))).collect()
    }

    pub(super) fn one(pid: u32) -> TreeUsage {
        let mut usage = TreeUsage::default();
        let Ok(mut system) = System::new() else { return usage };
        let pid = Pid::from_u32(pid);
        system.refresh_processes(ProcessesToUpdate::Some(&[pid]), true);
        if let Some(process) = system.process(pid) {
            add(&mut usage, process);
        }
        usage
    }

    pub(super) fn ticks_per_second() -> u64 {
        1000
    }

    fn tree(system: &System, root: u32) -> TreeUsage {
        let mut usage = TreeUsage::default();
        let mut open = vec![Pid::from_u32(root)];
        let mut taken: HashSet<Pid> = open.iter().copied().collect();
        while let Some(pid) = open.pop() {
            if let Some(process) = system.process(pid) {
                add(&mut usage, process);
            }
            let children = system.processes().values().filter(|process| process.parent() == Some(pid));
            open.extend(children.map(Process::pid).filter(|&child| taken.insert(child)));
        }
        usage
    }

    fn add(usage: &mut TreeUsage, process: &Process) {
        usage.processes += 1;
        usage.rss_bytes += process.memory();
        usage.pss_bytes += process.memory();
        usage.cpu_ticks += process.accumulated_cpu_time();
        usage.pids.push(process.pid().as_u32());
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::super::family::{self, ENV_CHILD, ENV_RUN, Marks};

    #[test]
    fn a_tree_is_the_group_the_descendants_and_the_escaped() {
        // The last one tells: then there are as many as there will be, or more that are just leaving.
        let last = "(setsid setsid sh -c 'echo up; exec sleep 1000' &)";
        let script = format!("sleep 1000 & setsid sleep 1000 & {last}; wait");
        let run = format!("info-run-{}", std::process::id());
        let mut root = Command::new("sh")
            .args(["-c", &script])
            .envs([(ENV_RUN, run.as_str()), (ENV_CHILD, "s.1.1")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut line = String::new();
        BufReader::new(root.stdout.take().expect("piped")).read_line(&mut line).expect("up");
        let pid = root.id();
        let began = tokio::time::Instant::now();
        let usage = loop {
            let tree = trees(&[pid, 4_194_305], &run).remove(&pid).expect("the root");
            if tree.processes == 4 || began.elapsed().as_secs() > 10 {
                break tree;
            }
        };
        let quick = trees_without_pss(&[pid], &run).remove(&pid).expect("the root");
        let stranger = trees(&[4_194_305], &run).remove(&4_194_305).expect("asked for");
        // Before anything is asserted: a test that fails leaves nobody behind either.
        family::end(&Marks { run, child: None }, pid);
        root.wait().expect("reaped");
        assert_eq!((usage.processes, usage.pids.len(), usage.pids[0]), (4, 4, pid));
        assert!(usage.rss_bytes >= usage.pss_bytes && usage.pss_bytes > 0, "{usage:?}");
        assert_eq!((quick.processes, quick.pss_bytes), (4, 0));
        assert_eq!(stranger, TreeUsage::default());
    }

    #[test]
    fn hub_itself() {
        let usage = own_usage();
        assert_eq!((usage.processes, usage.pids), (1, vec![std::process::id()]));
        assert!(usage.rss_bytes > 1 << 20 && usage.pss_bytes > 0);
        assert!(ticks_per_second() > 0);
    }
}

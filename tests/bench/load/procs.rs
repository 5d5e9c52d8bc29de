//! Processes as the bench sees them: what is started, what it uses, and that it ends.
//!
//! In: commands. Out: [`Running`] programs, CPU time and memory of process trees. Owns the processes it started and ends
//! them when dropped. May not: touch any other process.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use tokio::time::Instant;

/// How long a program may take to say that it is ready, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A program under test, asked to end (TERM, then KILL) when dropped.
pub struct Running {
    process: Child,
    lines: mpsc::Receiver<String>,
    /// Just before the program was started.
    pub started: Instant,
}

impl Running {
    /// Starts it without waiting for anything.
    pub fn start(command: &mut Command) -> Result<Self> {
        let started = Instant::now();
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let stdout = process.stdout.take().context("stdout was asked for")?;
        let (sender, lines) = mpsc::sync_channel(16);
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Self { process, lines, started })
    }

    /// Waits for the line `ready http://ADDRESS`.
    pub fn wait_ready(&self) -> Result<SocketAddr> {
        let line = self.lines.recv_timeout(PATIENCE).context("no `ready` line")?;
        let address = line.strip_prefix("ready http://").context("the first line is not `ready`")?;
        Ok(address.parse()?)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn has_ended(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return true;
            }
            pause(Duration::from_millis(2));
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.process.id().cast_signed());
        // Whether it took the signal shows when it ends.
        let _taken = kill(pid, Signal::SIGTERM);
        if !self.has_ended(PATIENCE) {
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }
}

/// Blocks the generator, which does nothing else meanwhile.
#[expect(clippy::disallowed_methods, reason = "the generator waits for another process, and has one thread")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// CPU time, in seconds, of a gateway's parts. Differences count.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// The gateway, and all helpers that it started.
    pub gateway: f64,
    /// The echo servers behind it.
    pub child: f64,
    /// The generator itself.
    pub generator: f64,
}

impl Cpu {
    /// Reads `/proc/PID/stat` of the whole tree.
    pub fn now(root: u32) -> Result<Self> {
        let mut cpu = Self { generator: Stat::read(std::process::id())?.cpu_seconds()?, ..Self::default() };
        for stat in tree(root)? {
            let part = if stat.name == "bench_echo" { &mut cpu.child } else { &mut cpu.gateway };
            *part += stat.cpu_seconds()?;
        }
        Ok(cpu)
    }

    /// What was used since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            gateway: self.gateway - before.gateway,
            child: self.child - before.child,
            generator: self.generator - before.generator,
        }
    }
}

/// The interesting fields of `/proc/PID/stat`.
struct Stat {
    pid: u32,
    name: String,
    parent: u32,
    ticks: u32,
}

impl Stat {
    fn read(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name may hold anything, so the fields are counted from the last parenthesis.
        let (start, rest) = text.rsplit_once(')').context("no name in stat")?;
        let name = start.split_once('(').context("no name in stat")?.1.to_owned();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| -> Result<u32> {
            fields.get(at).and_then(|field| field.parse().ok()).context("a field of stat")
        };
        Ok(Self { pid, name, parent: number(1)?, ticks: number(11)? + number(12)? })
    }

    fn cpu_seconds(&self) -> Result<f64> {
        let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
        Ok(f64::from(self.ticks) / f64::from(u32::try_from(per_second)?))
    }
}

/// The process and all its descendants.
fn tree(root: u32) -> Result<Vec<Stat>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        // A process may end between the listing and the reading.
        all.extend(pid.and_then(|pid| Stat::read(pid).ok()));
    }
    let mut found: Vec<Stat> = all.extract_if(.., |stat| stat.pid == root).collect();
    if found.is_empty() {
        bail!("process {root} is gone");
    }
    let mut next = 0;
    while next < found.len() {
        let parent = found[next].pid;
        found.extend(all.extract_if(.., |stat| stat.parent == parent));
        next += 1;
    }
    Ok(found)
}

/// Resident memory in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// All pages.
    pub rss: f64,
    /// Shared pages counted in part.
    pub pss: f64,
}

impl Memory {
    /// Of one process, from `smaps_rollup`.
    pub fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let field = |name: &str| -> Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).context("a field of smaps_rollup")?;
            Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
        };
        Ok(Self { rss: field("Rss:")?, pss: field("Pss:")? })
    }

    /// Of a process and all it started.
    pub fn of_tree(root: u32) -> Result<Self> {
        let mut sum = Self::default();
        for stat in tree(root)? {
            let one = Self::of(stat.pid)?;
            sum.rss += one.rss;
            sum.pss += one.pss;
        }
        Ok(sum)
    }

    /// What came on top of `before`.
    pub fn since(self, before: Self) -> Self {
        Self { rss: self.rss - before.rss, pss: self.pss - before.pss }
    }
}

/// Allows a thousand open connections and more.
pub fn allow_many_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard.min(16_384), hard)?)
}

/// One line about the machine: figures from a busy one are worth less.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned()))
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let load = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned();
    format!("{cores} cores of {processor}, Linux {}, load {load}", read("/proc/sys/kernel/osrelease").trim())
}

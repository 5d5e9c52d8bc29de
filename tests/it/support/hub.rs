//! One hub under test, in a folder of its own.
//!
//! In: a [`Setup`]. Out: a running daemon, its command line, its ports. Owns the folder and every process that carries its
//! marker. May not: outlive the test; when it is dropped, nothing of it is left, or the test fails.

use super::eventually::within;
use super::http::Target;
use super::journal::Journal;
use super::procs::{self, Proc};
use super::session::Session;
use super::setup::{Setup, hub_binary};
use super::{eventually, patience};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Every process of a test has it in its environment: hub hands its own variables on.
const MARK: &str = "HUB_IT_MARK";
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A hub under test.
pub struct Hub {
    /// Its folder: `config/`, `home/`, `state/`, `run/`, journals.
    pub dir: tempfile::TempDir,
    /// What it runs.
    pub setup: Setup,
    marker: String,
    child: Option<Child>,
    stdout: Arc<Mutex<Vec<String>>>,
    url: String,
}

/// What a command printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output as one JSON document, and nothing else.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|problem| panic!("{problem} in {self:?}"))
    }
}

impl Hub {
    /// A folder with a config, and no daemon yet.
    pub fn prepare(setup: Setup) -> Self {
        let dir = tempfile::Builder::new().prefix("hub-it-").tempdir().expect("a folder");
        for folder in ["config", "home", "state", "run"] {
            std::fs::create_dir(dir.path().join(folder)).expect("a folder");
        }
        let marker = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let hub = Self { dir, setup, marker, child: None, stdout: Arc::default(), url: String::new() };
        hub.write_config();
        hub
    }

    /// Starts a daemon and waits until it and its servers are ready.
    pub fn start(setup: Setup) -> Self {
        let mut hub = Self::prepare(setup);
        hub.serve();
        hub
    }

    /// Starts the daemon (again) and waits until it is ready.
    pub fn serve(&mut self) {
        self.spawn();
        self.wait_ready();
        if !self.setup.impatient {
            for server in self.setup.servers.clone() {
                self.wait_state(&server.name, "ready");
            }
        }
    }

    /// Starts the daemon without waiting for anything.
    pub fn spawn(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = self.command();
        command.arg("serve").arg("--config").arg(self.config_path());
        command.stdin(Stdio::null()).stderr(log);
        self.spawn_as(command);
    }

    /// Starts the daemon by a command that becomes it.
    pub fn spawn_as(&mut self, mut command: Command) {
        command.stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("hub can be started");
        let lines = Arc::<Mutex<Vec<String>>>::default();
        self.stdout = Arc::clone(&lines);
        let stdout = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lines.lock().expect("never poisoned").push(line);
            }
        });
        self.child = Some(child);
    }

    /// Waits for `ready URL` on stdout.
    pub fn wait_ready(&mut self) {
        let start = Instant::now();
        loop {
            let ready = self.stdout_lines().iter().find_map(|line| line.strip_prefix("ready ").map(str::to_owned));
            if let Some(url) = ready {
                self.url = url;
                return;
            }
            if let Some(status) = self.child.as_mut().expect("started").try_wait().expect("a child of ours") {
                panic!("hub left before it was ready: {status}\n{}", self.log());
            }
            assert!(start.elapsed() < patience(), "hub is not ready\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A command of this binary with this hub's folders.
    pub fn command(&self) -> Command {
        let mut command = Command::new(hub_binary());
        let path = |folder: &str| self.dir.path().join(folder);
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", path("home")).env("HUB_STATE_DIR", path("state")).env("XDG_RUNTIME_DIR", path("run"));
        command.env("HUB_CONFIG", self.config_path()).env(MARK, &self.marker).env("RUST_BACKTRACE", "1");
        // The mark by which `scripts/test` looks for what a whole run left behind.
        command.envs(std::env::var_os("HUB_TEST_RUN").map(|run| ("HUB_TEST_RUN", run)));
        command.envs(self.setup.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.dir.path());
        command
    }

    /// Runs a verb and waits for its end.
    pub fn cli(&self, args: &[&str]) -> Output {
        let output = self.command().args(args).stdin(Stdio::null()).output().expect("hub can be started");
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Runs a verb that must succeed.
    pub fn run(&self, args: &[&str]) -> Output {
        let output = self.cli(args);
        assert_eq!(output.code, 0, "hub {args:?}: {output:?}\n{}", self.log());
        output
    }

    /// `hub status --json`.
    pub fn status(&self) -> Value {
        self.run(&["status", "--json"]).json()
    }

    /// One server of `hub status --json`.
    pub fn server(&self, name: &str) -> Value {
        self.find_server(name).unwrap_or_else(|| panic!("no server {name} in {}", self.status()))
    }

    fn find_server(&self, name: &str) -> Option<Value> {
        self.status()["servers"].as_array()?.iter().find(|server| server["name"] == name).cloned()
    }

    /// Waits until a server is in a state, and gives it.
    pub fn wait_state(&self, name: &str, state: &str) -> Value {
        eventually(&format!("server {name} is {state}"), || {
            self.find_server(name).filter(|server| server["state"] == state)
        })
    }

    /// Pids of a server's children now.
    pub fn child_pids(&self, name: &str) -> Vec<u32> {
        let server = self.server(name);
        let instances = server["instances"].as_array().cloned().unwrap_or_default();
        let pids = instances.iter().filter_map(|instance| instance["pid"].as_u64());
        pids.map(|pid| u32::try_from(pid).expect("a pid")).filter(|pid| *pid != 0).collect()
    }

    /// The one child of a server.
    pub fn child_pid(&self, name: &str) -> u32 {
        let pids = self.child_pids(name);
        assert_eq!(pids.len(), 1, "{pids:?}");
        pids[0]
    }

    /// The endpoint of one server, on its own port.
    pub fn at(&self, name: &str) -> Target {
        let url = self.server(name)["url"].as_str().expect("a url").to_owned();
        let target = Target::parse(&url);
        if target.path == "/mcp" { target } else { target.at("/mcp") }
    }

    /// The endpoint of all servers together.
    pub fn all(&self) -> Target {
        self.hub_path("/mcp")
    }

    /// A path on the hub port.
    pub fn hub_path(&self, path: &str) -> Target {
        Target::parse(&self.url).at(path)
    }

    /// A session of the newest revision with one server.
    pub fn session(&self, name: &str) -> Session {
        Session::open(&self.at(name))
    }

    /// The journal of one server.
    pub fn journal(&self, name: &str) -> Journal {
        Journal::at(&self.path(&format!("{name}.journal")))
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// hub.toml.
    pub fn config_path(&self) -> PathBuf {
        self.path("config/hub.toml")
    }

    /// Where the daemon in the foreground writes its log.
    pub fn log_path(&self) -> PathBuf {
        self.path("hub.log")
    }

    /// Writes hub.toml from the setup, in one rename as editors do.
    pub fn write_config(&self) {
        self.write_config_text(&self.setup.toml(self.dir.path()));
    }

    /// Writes hub.toml.
    pub fn write_config_text(&self, text: &str) {
        let draft = self.path("config/hub.toml.new");
        std::fs::write(&draft, text).expect("a file");
        std::fs::rename(draft, self.config_path()).expect("a file");
    }

    /// What hub wrote on stderr, in the foreground and then in the background.
    pub fn log(&self) -> String {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        read(self.log_path()) + &read(self.path("state/hub.log"))
    }

    /// What hub wrote on stdout.
    pub fn stdout_lines(&self) -> Vec<String> {
        self.stdout.lock().expect("never poisoned").clone()
    }

    /// The daemon's pid.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("started").id()
    }

    /// Sends a signal to the daemon alone.
    pub fn signal(&self, signal: Signal) {
        procs::signal(self.pid(), signal);
    }

    /// Waits for the daemon's end.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("started");
        let status = eventually("hub has left", || child.try_wait().expect("a child of ours"));
        self.child = None;
        status
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_exit()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait_exit();
    }

    /// Everything alive that came from this hub, itself included.
    pub fn processes(&self) -> Vec<Proc> {
        procs::marked(&format!("{MARK}={}", self.marker))
    }

    /// Waits until nothing of this hub is left, at most `limit`.
    pub fn wait_nothing_left(&self, limit: Duration) {
        within(limit, "no process is left", || self.processes().is_empty().then_some(()));
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let failing = std::thread::panicking();
        if failing {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- the last lines of hub {}", self.marker);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        let left_by_itself = match &mut self.child {
            None => true,
            Some(child) => {
                procs::signal(child.id(), Signal::SIGTERM);
                let start = Instant::now();
                let mut gone = false;
                while !gone && start.elapsed() < patience() {
                    gone = child.try_wait().is_ok_and(|status| status.is_some());
                    std::thread::sleep(Duration::from_millis(5));
                }
                if !gone {
                    procs::signal(child.id(), Signal::SIGKILL);
                    // Reaped; its status says nothing more.
                    drop(child.wait());
                }
                gone
            }
        };
        let start = Instant::now();
        let mut left = self.processes();
        while !left.is_empty() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
            left = self.processes();
        }
        for proc in &left {
            procs::signal(proc.pid, Signal::SIGKILL);
        }
        if !failing {
            assert!(left_by_itself, "hub does not leave on SIGTERM");
            assert!(left.is_empty(), "hub left processes behind: {left:#?}");
        }
    }
}

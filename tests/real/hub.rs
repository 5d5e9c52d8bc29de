//! One hub of a test's own: private home, ports chosen by the system, killed with all it started when dropped.
//!
//! In: the `[servers.*]` part of a hub.toml. Out: URLs, `status --json`. State: the process and its home. May not: leave a
//! process behind, even when the test fails.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::env::{TestEnv, hub_binary};
use crate::processes::{descendants, eventually, runs};

/// How long hub may take from start to `ready` on stdout.
const START: Duration = Duration::from_secs(30);
/// How long hub may take to stop, its children included.
const STOP: Duration = Duration::from_secs(30);

/// A running hub.
pub struct Hub {
    env: TestEnv,
    process: Child,
    /// Taken away only by [`Hub::kill`].
    home: Option<TempDir>,
}

impl Hub {
    /// Starts `hub serve` and waits until it says that it is ready.
    pub fn start(env: &TestEnv, home: TempDir, servers: &str) -> Self {
        fs::create_dir_all(home.path().join("run")).unwrap();
        let config = home.path().join("hub.toml");
        fs::write(&config, format!("[hub]\nport = 0\nfirst_port = 0\n\n{servers}")).unwrap();
        let log = File::create(home.path().join("hub.log")).unwrap();
        let mut command = env.command(&hub_binary(), home.path());
        command.arg("serve").arg("--config").arg(&config);
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().expect("the hub binary runs");
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let hub = Self { env: env.clone(), process, home: Some(home) };
        let (said, saying) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = stdout.read_line(&mut line).map(|_| line);
            drop(said.send(read));
            // Read on, so that hub never writes into a closed pipe.
            drop(std::io::copy(&mut stdout, &mut std::io::sink()));
        });
        let line = saying.recv_timeout(START);
        match line {
            Ok(Ok(line)) if line.starts_with("ready http://127.0.0.1:") => hub,
            other => panic!("hub did not say ready but {other:?}; its log:\n{}", hub.log()),
        }
    }

    /// Hub's process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The end of what hub wrote on stderr.
    pub fn log(&self) -> String {
        let log = fs::read(self.path("hub.log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(8000)..]).into_owned()
    }

    /// A path in hub's home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.as_ref().expect("there until hub is killed").path().join(name)
    }

    /// What `hub status --json` prints.
    pub fn status(&self) -> Value {
        let mut command = self.env.command(&hub_binary(), &self.path("."));
        let output = command.args(["status", "--json"]).stdin(Stdio::null()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "hub status: {}: {errors}\nlog:\n{}", output.status, self.log());
        serde_json::from_slice(&output.stdout).expect("one JSON document on stdout")
    }

    /// Waits until every server is ready, and gives the status that says so.
    pub fn all_ready(&self, patience: Duration) -> Value {
        eventually(patience, || {
            let status = self.status();
            let waiting: Vec<String> = servers(&status)
                .filter(|server| server["state"] != "ready")
                .map(|server| format!("{} is {}: {}", server["name"], server["state"], server["last_failure"]))
                .collect();
            if waiting.is_empty() { Ok(status) } else { Err(format!("{}\nlog:\n{}", waiting.join("; "), self.log())) }
        })
    }

    /// SIGTERM; then hub must exit with success, and everything that hung under it must be gone.
    pub fn stop(mut self) {
        let below = descendants(self.pid());
        signal(self.pid(), Signal::SIGTERM);
        let status = eventually(STOP, || {
            self.process.try_wait().unwrap().ok_or_else(|| format!("hub still runs; its log:\n{}", self.log()))
        });
        assert!(status.success(), "hub stopped with {status}; its log:\n{}", self.log());
        let left: Vec<u32> = below.into_iter().filter(|pid| runs(*pid)).collect();
        assert!(left.is_empty(), "processes {left:?} outlived hub; its log:\n{}", self.log());
    }

    /// SIGKILL: hub itself can do nothing any more. Gives its home back, for the next one.
    pub fn kill(mut self) -> TempDir {
        signal(self.pid(), Signal::SIGKILL);
        self.process.wait().unwrap();
        self.home.take().expect("there until hub is killed")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(Some(_))) {
            return;
        }
        let below = descendants(self.pid());
        signal(self.pid(), Signal::SIGTERM);
        for _ in 0..100 {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.process.kill());
        drop(self.process.wait());
        for pid in below.into_iter().filter(|pid| runs(*pid)) {
            signal(pid, Signal::SIGKILL);
        }
    }
}

/// Signals a process; one that is gone needs none.
fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    kill(pid, signal).ok();
}

/// The entries of `servers`.
pub fn servers(status: &Value) -> impl Iterator<Item = &Value> {
    status["servers"].as_array().expect("an array of servers").iter()
}

/// The entry of one server.
pub fn server<'a>(status: &'a Value, name: &str) -> &'a Value {
    servers(status).find(|server| server["name"] == name).expect("every configured server has an entry")
}

/// The endpoint of one server, on its own port.
pub fn endpoint(status: &Value, name: &str) -> String {
    let server = server(status, name);
    let port = server["port"].as_u64().filter(|port| *port != 0).expect("a bound port");
    assert_eq!(server["url"], format!("http://127.0.0.1:{port}/mcp"));
    server["url"].as_str().expect("compared above").to_owned()
}

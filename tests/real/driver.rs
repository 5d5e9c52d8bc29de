//! A client process of a published SDK that does what the test says (ts.mjs, py.py, rmcp).
//!
//! In: the job and commands, as JSON lines on its stdin. Out: its JSON lines, read by a thread. State: the process. May
//! not: judge anything.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::env::{TestEnv, top};
use crate::hub::Hub;
use crate::plan::Plan;

/// For anything that waits for many Node and Python processes on a small machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A running client process.
pub struct Driver {
    pub name: String,
    process: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    log: PathBuf,
}

impl Driver {
    /// Starts a client (one of [`crate::eras::CLIENTS`]) in hub's home and gives it its job.
    pub fn start(name: &str, env: &TestEnv, hub: &Hub, job: &Value) -> Self {
        let log = hub.path(&format!("{name}.log"));
        let script = |program: PathBuf, script: &str| {
            let mut command = env.command(&program, &hub.path("."));
            command.arg(top().join("tests/real").join(script)).arg(name);
            command
        };
        let mut command = match name {
            "mcp1" => script(env.python_program("mcp1", "python"), "py.py"),
            "mcp2" | "fastmcp" => script(env.python_program("mcp2", "python"), "py.py"),
            "rmcp-auto" | "rmcp-initialize" => {
                let mut command = env.command(&env.rmcp(), &hub.path("."));
                command.arg(name);
                command
            }
            _ => script(env.node(), "ts.mjs"),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = sync_channel(1024);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Anything that is not JSON is a stray print; the log of the failure shows it.
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let stdin = process.stdin.take();
        let mut driver = Self { name: name.to_owned(), process, stdin, lines, log };
        driver.send(job);
        driver
    }

    /// Sends one command.
    pub fn send(&mut self, command: &Value) {
        let stdin = self.stdin.as_mut().expect("open until the driver is dropped");
        writeln!(stdin, "{command}").and_then(|()| stdin.flush()).unwrap_or_else(|error| self.fail(&error.to_string()));
    }

    /// The next line, which must come within the patience.
    pub fn next(&self, patience: Duration) -> Value {
        self.lines
            .recv_timeout(patience)
            .unwrap_or_else(|error| self.fail(&format!("no line in {patience:?}: {error}")))
    }

    /// The member of the next line, which must have it.
    pub fn expect(&self, member: &str, patience: Duration) -> Value {
        let mut line = self.next(patience);
        match line.get_mut(member) {
            Some(value) => value.take(),
            None => self.fail(&format!("expected {member}, got {line}")),
        }
    }

    /// Waits for the process to end by itself.
    pub fn finish(mut self, patience: Duration) {
        let status = crate::processes::eventually(patience, || {
            self.process.try_wait().unwrap().ok_or_else(|| format!("{} does not end", self.name))
        });
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    fn fail(&self, what: &str) -> ! {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        panic!("client {}: {what}\nits stderr:\n{log}", self.name);
    }
}

/// Has every client perform one round at the same time, and judges all results.
pub fn perform_round(clients: &mut [Driver], round: usize, plan: &mut Plan, hub: &Hub) {
    let since = tokio::time::Instant::now();
    for client in clients.iter_mut() {
        client.send(&json!({ "round": round }));
    }
    let (mut judged, mut wrong) = (0, Vec::new());
    for client in clients {
        loop {
            let line = client.next(PATIENCE);
            if let Some(result) = line.get("result") {
                judged += 1;
                wrong.extend(plan.judge(result).err().map(|what| format!("{}: {what}", result["session"])));
            } else {
                assert_eq!(line, json!({ "finished": round }), "{}", client.name);
                break;
            }
        }
    }
    eprintln!("round {round}: {} of {judged} right, {:.1?}", judged - wrong.len(), since.elapsed());
    assert!(wrong.is_empty(), "round {round}: {}\nhub's log:\n{}", wrong.join("\n"), hub.log());
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

//! A client process of a published SDK that does what the test says (ts1.mjs, py.py).
//!
//! In: the job and commands, as JSON lines on its stdin. Out: its JSON lines, read by a thread. State: the process. May
//! not: judge anything.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::Value;

/// A running client process.
pub struct Driver {
    pub name: String,
    process: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    log: PathBuf,
}

impl Driver {
    /// Starts the client and gives it its job. What it writes on stderr goes to `log`.
    pub fn start(name: &str, mut command: Command, log: PathBuf, job: &Value) -> Self {
        let stderr = File::create(&log).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
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

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

//! A command, with the time at which it said each line.
//!
//! In: a command and how long it may take. Out: its lines, when each came, and how it ended. State: the process, killed
//! when it takes too long. May not: leave it running.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tokio::time::Instant;

/// What a command did.
#[derive(Debug)]
pub struct Watched {
    /// The lines of stdout and stderr as they came, after how long.
    pub lines: Vec<(Duration, String)>,
    pub took: Duration,
    pub status: ExitStatus,
}

impl Watched {
    /// Runs a command to its end.
    pub fn run(command: &mut Command, patience: Duration) -> Self {
        let began = Instant::now();
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let (said, hears) = mpsc::channel();
        listen(process.stdout.take().unwrap(), said.clone());
        listen(process.stderr.take().unwrap(), said);
        let mut lines = Vec::new();
        // Ends when both streams have ended, which a process in the background must not prevent.
        while let Some(left) = patience.checked_sub(began.elapsed()) {
            match hears.recv_timeout(left) {
                Ok(line) => lines.push((began.elapsed(), line)),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    process.kill().ok();
                    panic!("{command:?} still ran after {patience:?}: {lines:#?}");
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = process.wait().unwrap();
        Self { lines, took: began.elapsed(), status }
    }

    /// The same, and it must succeed.
    pub fn succeed(command: &mut Command, patience: Duration) -> Self {
        let watched = Self::run(command, patience);
        assert!(watched.status.success(), "{command:?}: {}\n{}", watched.status, watched.text());
        watched
    }

    /// All that it said.
    pub fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, (_, line)| text + line + "\n")
    }

    /// The longest silence before a line, or before the end.
    pub fn longest_silence(&self) -> Duration {
        let times = self.lines.iter().map(|(at, _)| *at).chain([self.took]);
        times
            .scan(Duration::ZERO, |last, at| Some(at.saturating_sub(std::mem::replace(last, at))))
            .max()
            .unwrap_or_default()
    }
}

fn listen(stream: impl Read + Send + 'static, said: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if said.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}

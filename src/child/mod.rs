//! One running process: started, spoken to in lines, stopped with all that belongs to it.
//!
//! In: a [`Start`], lines to write. Out: [`Event`]s. A [`Child`] owns both pipe ends, the stderr tail and the stop
//! sequence, and is owned by the one task that runs its instance. May not: know what a line says, or await a write.

mod environment;
mod exit;
pub mod journal;
pub mod logs;
mod spawn;
mod stderr;
mod stop;

use std::future::poll_fn;
use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use nix::sys::signal::Signal;

use crate::limits;
use crate::mcp::line::{Framed, Line, LineFramer};
use crate::platform::family::{self, Marks};
use crate::platform::guardian::Guardian;
use crate::platform::pipe::{PipeReader, PipeWriter};
use crate::platform::process::Process;

pub use environment::full_environment;
pub use exit::Exit;
pub use journal::Journal;
pub use logs::LogFiles;
pub use spawn::{SpawnError, Start};
use stderr::Stderr;
use stop::{Act, Stop};

/// After this many events in a row from the pipe alone, the exit and the stop sequence are looked at as well: a
/// descendant that writes without pause must not hide them.
const EVENTS_PER_LOOK: u32 = 64;

/// What happened to a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It wrote a line.
    Line(Bytes),
    /// It wrote more than [`limits::LINE_BYTES_MAX`] without a newline; nothing after that can be understood.
    TooLong,
    /// It closed its stdin (or died, and the exit follows): what was sent since may be lost.
    StdinClosed,
    /// It closed its stdout but may still run.
    StdoutClosed,
    /// Its leader ended and all that it wrote was delivered. Call [`Child::finish`] next.
    Exited(Exit),
}

/// A running child. Dropped without [`Child::finish`], its group is killed and reaped in the background.
#[derive(Debug)]
pub struct Child {
    /// `None` only after the process was taken over by [`Child::finish`] or `drop`.
    process: Option<Process>,
    pid: u32,
    generation: u64,
    executable: Executable,
    marks: Marks,
    guardian: Guardian,
    journal: Option<Journal>,
    stdin: PipeWriter,
    stdin_reported: bool,
    stdout: PipeReader,
    stdout_open: bool,
    framer: LineFramer,
    too_long: bool,
    stderr: Stderr,
    stop: Stop,
    events_since_look: u32,
    exit: ExitStage,
}

/// How far the end of the leader has been dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExitStage {
    Running,
    /// Ended, group killed; the pipes may still hold bytes, of which at most so many are read.
    Draining(usize),
    Done(Exit),
}

/// The file that a child was started from, as it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    /// Where it was found.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// When it was changed last.
    pub modified: SystemTime,
}

/// What is left of a child.
#[derive(Debug)]
pub struct Ended {
    /// How the leader ended.
    pub exit: Exit,
    /// The last lines of stderr.
    pub stderr: Vec<String>,
    /// Nobody of its family lives any more.
    pub clean: bool,
}

impl Child {
    /// Starts a child. Blocks for the fork and exec, some milliseconds; needs a tokio runtime.
    pub fn spawn(start: &Start<'_>, guardian: &Guardian) -> Result<Self, SpawnError> {
        spawn::spawn(start, guardian)
    }

    /// Process id of the leader, which is also the id of its group and session.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it was started from.
    pub fn executable(&self) -> &Executable {
        &self.executable
    }

    /// Which start of its instance this is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Writes a line at once if nothing waits before it, else queues it. A child that no longer reads makes
    /// [`Event::StdinClosed`].
    pub fn send(&mut self, line: Line) {
        if let Err(error) = self.stdin.send(line.into_pieces()) {
            tracing::debug!(pid = self.pid, generation = self.generation, %error, "a line was not written");
        }
    }

    /// Bytes that the pipe did not take yet. Above [`limits::CHILD_WRITE_BYTES_MAX`] the owner takes no new work.
    pub fn queued_bytes(&self) -> usize {
        self.stdin.queued_bytes()
    }

    /// The next event. Cancel safe: nothing is lost when the future is dropped. Also drives queued writes, stderr and
    /// the stop sequence, so it must be polled for as long as the child lives.
    pub async fn event(&mut self) -> Event {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// As [`Self::event`], for owners that poll.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.events_since_look >= EVENTS_PER_LOOK {
            self.look(cx);
        }
        if let Some(event) = self.next_buffered() {
            self.events_since_look += 1;
            return Poll::Ready(event);
        }
        if let Some(event) = self.drive_writes(cx) {
            return Poll::Ready(event);
        }
        if self.exit == ExitStage::Running {
            if let Some(event) = self.drive_reads(cx) {
                self.events_since_look += 1;
                return Poll::Ready(event);
            }
            self.look(cx);
        }
        match self.exit {
            ExitStage::Running => Poll::Pending,
            ExitStage::Draining(_) => Poll::Ready(self.drain()),
            ExitStage::Done(exit) => Poll::Ready(Event::Exited(exit)),
        }
    }

    /// The last lines that it wrote to stderr, oldest first.
    pub fn stderr_tail(&self) -> Vec<String> {
        self.stderr.tail()
    }

    /// Notes something about the child between its own lines, in the tail and in the log file: a line of stdout that
    /// is no message, for example.
    pub fn note(&mut self, text: &str) {
        self.stderr.note(text);
    }

    /// Begins to stop: closes stdin now, TERM to the group after [`limits::STOP_STDIN_GRACE`], KILL after
    /// [`limits::STOP_TERM_GRACE`] more. [`Self::event`] drives it and ends with [`Event::Exited`]. Lines still come.
    pub fn begin_stop(&mut self) {
        self.stdin_reported = true;
        self.stdin.close();
        self.stop.begin();
    }

    /// Skips what is left of the stop sequence and kills the group now.
    pub fn kill(&mut self) {
        self.begin_stop();
        self.stop.skip_to_kill();
    }

    /// Stops and cleans up; what the child still writes is dropped. Bounded in time.
    pub async fn stop(mut self) -> Ended {
        self.begin_stop();
        while !matches!(self.event().await, Event::Exited(_)) {}
        self.finish().await
    }

    /// Ends whatever is left of its family and reports. Stops it first if that was not done. Bounded in time.
    pub async fn finish(mut self) -> Ended {
        while !matches!(self.exit, ExitStage::Done(_)) {
            self.kill();
            self.event().await;
        }
        let ExitStage::Done(exit) = self.exit else { unreachable!("the loop above ends with Done") };
        let clean = self.end_family().await;
        Ended { exit, stderr: self.stderr.tail(), clean }
    }

    // === reading and writing ===

    /// A line or fault that needs no system call.
    fn next_buffered(&mut self) -> Option<Event> {
        if self.too_long {
            return None;
        }
        match self.framer.next_line()? {
            Framed::Line(line) => Some(Event::Line(line)),
            Framed::TooLong => {
                self.too_long = true;
                *self.framer.buffer() = BytesMut::new();
                Some(Event::TooLong)
            }
        }
    }

    fn drive_writes(&mut self, cx: &mut Context<'_>) -> Option<Event> {
        if self.stdin.queued_bytes() > 0 {
            // Pending: the pipe is full and wakes us; an error closes the writer, which the next line reports.
            drop(self.stdin.poll_flush(cx));
        }
        if self.stdin.is_closed() && !self.stdin_reported {
            self.stdin_reported = true;
            return Some(Event::StdinClosed);
        }
        None
    }

    fn drive_reads(&mut self, cx: &mut Context<'_>) -> Option<Event> {
        while self.stdout_open {
            match self.stdout.poll_fill(cx, self.framer.buffer()) {
                Poll::Pending => break,
                // After a line without end there is nothing to understand, but the child must not block on the pipe.
                Poll::Ready(Ok(1..)) if self.too_long => self.framer.buffer().clear(),
                Poll::Ready(Ok(1..)) => {
                    if let Some(event) = self.next_buffered() {
                        return Some(event);
                    }
                }
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.stdout_open = false;
                    return Some(Event::StdoutClosed);
                }
            }
        }
        None
    }

    // === the end ===

    /// Looks at everything but stdin and stdout: stderr, exit, stop sequence.
    fn look(&mut self, cx: &mut Context<'_>) {
        self.events_since_look = 0;
        self.stderr.poll(cx);
        let Some(process) = &mut self.process else { return };
        if self.exit == ExitStage::Running && process.poll_ended(cx).is_ready() {
            // Not reaped yet, so the group's id cannot mean anybody else.
            process.signal_group(Signal::SIGKILL);
            self.exit = ExitStage::Draining(limits::LINE_BYTES_MAX);
            return;
        }
        while let Poll::Ready(act) = self.stop.poll(cx) {
            match act {
                Act::Terminate => self.signal_family(Signal::SIGTERM),
                Act::Kill => self.signal_family(Signal::SIGKILL),
                Act::GiveUp => {
                    self.exit = ExitStage::Done(Exit::Unkillable);
                    return;
                }
            }
        }
    }

    /// The group now; those that left it as soon as they are found, on a thread that may block.
    fn signal_family(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal_group(signal);
        }
        let (marks, pid) = (self.marks.clone(), self.pid);
        let escaped = move || family::signal_outside_group(&marks, pid, signal);
        drop(tokio::task::spawn_blocking(escaped));
    }

    /// After the leader's end: what is still in the pipes, then the exit.
    fn drain(&mut self) -> Event {
        while let ExitStage::Draining(left) = self.exit {
            match self.stdout.read_now(self.framer.buffer()) {
                Ok(Some(count @ 1..)) if left > 0 => {
                    self.exit = ExitStage::Draining(left.saturating_sub(count));
                    if let Some(event) = self.next_buffered() {
                        return event;
                    }
                }
                _ => self.exit = ExitStage::Done(self.reap()),
            }
        }
        self.stderr.drain();
        let ExitStage::Done(exit) = self.exit else { unreachable!("the loop above ends with Done") };
        Event::Exited(exit)
    }

    fn reap(&mut self) -> Exit {
        match self.process.as_mut().map(Process::reap) {
            Some(Ok(Some(status))) => Exit::from(status),
            _ => Exit::Unkillable,
        }
    }

    /// Kills the group once more after its leader was reaped, then everybody who left it, and forgets the group.
    async fn end_family(&mut self) -> bool {
        let (marks, pid) = (self.marks.clone(), self.pid);
        let sweep = tokio::task::spawn_blocking(move || family::end(&marks, pid));
        // A panic in the sweep counts as "somebody may be left": the journal keeps the group then.
        let clean = sweep.await.unwrap_or(false);
        let reaped = !matches!(self.exit, ExitStage::Done(Exit::Unkillable));
        if clean && reaped {
            self.process = None;
            self.guardian.forget(self.pid);
            if let Some(journal) = &self.journal {
                journal.removed(self.pid).await;
            }
        }
        clean && reaped
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            let (marks, pid, guardian) = (self.marks.clone(), self.pid, self.guardian.clone());
            process.abandon(move || {
                if family::end(&marks, pid) {
                    guardian.forget(pid);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;

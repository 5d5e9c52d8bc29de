//! A child's stderr: the last lines kept, all lines logged.
//!
//! In: bytes of the pipe, notes of the owner. Out: the tail, and pieces for the log thread. Owned by the child, read by
//! the child's own task, so it cannot outlive it. May not: block, or keep a secret.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::BytesMut;

use super::logs::ServerLog;
use crate::limits;
use crate::platform::pipe::PipeReader;

/// Reads per poll: a child that floods stderr must not starve its own stdout.
const READS_PER_POLL: usize = 4;
/// After the exit at most this much is still read.
const DRAIN_BYTES_MAX: usize = 1 << 20;
/// Shorter values are too likely to occur by chance (`1`, `true`, `info`).
const SECRET_BYTES_MIN: usize = 6;
const REDACTED: &str = "[redacted]";

/// Reader, ring and log of one child.
#[derive(Debug)]
pub(super) struct Stderr {
    reader: Option<PipeReader>,
    buffer: BytesMut,
    /// The rest of a line that was cut is skipped up to its newline.
    skipping: bool,
    tail: VecDeque<String>,
    log: Option<ServerLog>,
    secrets: Vec<String>,
}

impl Stderr {
    pub(super) fn new(reader: PipeReader, log: Option<ServerLog>, secrets: &[String]) -> Self {
        let mut secrets: Vec<String> =
            secrets.iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN).cloned().collect();
        // The longest first, so that a secret which contains another leaves no part of itself.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let reader = Some(reader);
        Self { reader, buffer: BytesMut::new(), skipping: false, tail: VecDeque::new(), log, secrets }
    }

    /// Takes what is there and arranges to be woken for more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        let mut text = String::new();
        for _ in 0..READS_PER_POLL {
            let Some(reader) = &mut self.reader else { break };
            match reader.poll_fill(cx, &mut self.buffer) {
                Poll::Ready(Ok(1..)) => self.take_lines(&mut text),
                Poll::Ready(Ok(0) | Err(_)) => self.close(&mut text),
                Poll::Pending => {
                    self.log(text);
                    return;
                }
            }
        }
        if self.reader.is_some() {
            cx.waker().wake_by_ref();
        }
        self.log(text);
    }

    /// After the exit: takes what is in the pipe this moment.
    pub(super) fn drain(&mut self) {
        let mut text = String::new();
        let mut left = DRAIN_BYTES_MAX;
        while let Some(reader) = &mut self.reader {
            match reader.read_now(&mut self.buffer) {
                Ok(Some(count @ 1..)) if left > 0 => {
                    left = left.saturating_sub(count);
                    self.take_lines(&mut text);
                }
                _ => self.close(&mut text),
            }
        }
        self.log(text);
    }

    /// The last lines, oldest first.
    pub(super) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    /// A line that does not come from the pipe.
    pub(super) fn note(&mut self, line: &str) {
        let mut text = String::new();
        for line in line.lines() {
            self.keep(cut(line.as_bytes()), &mut text);
        }
        self.log(text);
    }

    /// The end of the pipe: a last line without newline counts too.
    fn close(&mut self, text: &mut String) {
        self.reader = None;
        if !self.buffer.is_empty() && !self.skipping {
            let rest = std::mem::take(&mut self.buffer);
            self.keep(cut(&rest), text);
        }
        self.buffer = BytesMut::new();
    }

    fn take_lines(&mut self, text: &mut String) {
        while let Some(length) = memchr::memchr(b'\n', &self.buffer) {
            let line = self.buffer.split_to(length + 1);
            if !std::mem::take(&mut self.skipping) {
                self.keep(cut(&line[..length]), text);
            }
        }
        if self.buffer.len() > limits::STDERR_LINE_BYTES_MAX {
            let start = std::mem::take(&mut self.buffer);
            if !std::mem::replace(&mut self.skipping, true) {
                self.keep(cut(&start), text);
            }
        }
    }

    fn keep(&mut self, mut line: String, text: &mut String) {
        for secret in &self.secrets {
            if line.contains(secret.as_str()) {
                line = line.replace(secret.as_str(), REDACTED);
            }
        }
        if let Some(log) = &self.log {
            log.write_line(text, &line);
        }
        if self.tail.len() >= limits::STDERR_TAIL_LINES_MAX {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    fn log(&mut self, text: String) {
        if let Some(log) = self.log.as_mut().filter(|_| !text.is_empty()) {
            log.send(text);
        }
    }
}

/// Valid UTF-8 without line ends, of bounded length; what is missing is marked.
fn cut(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.get(..limits::STDERR_LINE_BYTES_MAX) {
        Some(start) if line.len() > start.len() => format!("{} […]", String::from_utf8_lossy(start)),
        _ => String::from_utf8_lossy(line).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn fed(input: &[u8], secrets: &[&str]) -> Stderr {
        let (reader, mut writer) = std::io::pipe().expect("pipe");
        let reader = PipeReader::new(reader.into()).expect("reader");
        let secrets: Vec<String> = secrets.iter().map(|&secret| secret.to_owned()).collect();
        let mut stderr = Stderr::new(reader, None, &secrets);
        // In pieces, so that lines are split at odd places.
        for piece in input.chunks(7000) {
            writer.write_all(piece).expect("room in the pipe");
            while let Ok(Some(1..)) = stderr.reader.as_mut().expect("open").read_now(&mut stderr.buffer) {
                stderr.take_lines(&mut String::new());
            }
        }
        drop(writer);
        stderr.drain();
        stderr
    }

    #[tokio::test]
    async fn keeps_the_last_lines_and_an_unfinished_one() {
        let input: Vec<String> = (0..500).map(|number| format!("line {number}\r\n")).collect();
        let input = input.concat();
        let tail = fed(format!("{input}no newline").as_bytes(), &[]).tail();
        assert_eq!(tail.len(), limits::STDERR_TAIL_LINES_MAX);
        assert_eq!(tail.last().map(String::as_str), Some("no newline"));
        assert_eq!(tail[0], format!("line {}", 501 - limits::STDERR_TAIL_LINES_MAX));
    }

    #[tokio::test]
    async fn cuts_long_lines_and_goes_on_after_them() {
        let mut input = vec![b'x'; 3 * limits::STDERR_LINE_BYTES_MAX];
        input.extend_from_slice(b"\nnext \xff\n");
        let tail = fed(&input, &[]).tail();
        assert_eq!(tail.len(), 2);
        assert!(tail[0].len() < limits::STDERR_LINE_BYTES_MAX + 10 && tail[0].ends_with("[…]"));
        assert_eq!(tail[1], "next \u{FFFD}");
    }

    #[tokio::test]
    async fn secrets_are_not_kept() {
        let tail = fed(b"token=abcdef123 and abcdef\nshort on\n", &["abcdef", "abcdef123", "on"]).tail();
        assert_eq!(tail, ["token=[redacted] and [redacted]", "short on"]);
    }
}

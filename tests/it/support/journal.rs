//! What a scripted server saw and said.
//!
//! In: the file that `fake_server --journal` appends to. Out: records in order, over all generations. Owns nothing. May
//! not: write.

use super::eventually;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One line of a journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A process has started.
    Start(u32),
    /// A process has left by itself.
    Exit(u32),
    /// A line it read: the message, and the bytes.
    In(Value, String),
    /// A line it wrote.
    Out(Value, String),
    /// A remark of the fixture: its mark and the rest.
    Remark(String, String),
}

/// The journal of one server.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// The journal in `path`; it need not exist yet.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// All records so far. A line without its end is not there yet.
    pub fn records(&self) -> Vec<Record> {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let text = String::from_utf8_lossy(&bytes[..end]);
        // Not `lines()`: a stray carriage return inside a message must stay visible.
        text.split('\n').map(record).collect()
    }

    /// Does this text stand in it? Without parsing, for journals of many thousand lines.
    pub fn mentions(&self, text: &str) -> bool {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(text)
    }

    /// Messages that were read.
    pub fn received(&self) -> Vec<Value> {
        self.records()
            .into_iter()
            .filter_map(|r| if let Record::In(value, _) = r { Some(value) } else { None })
            .collect()
    }

    /// Lines that were read, raw.
    pub fn lines(&self) -> Vec<String> {
        self.records().into_iter().filter_map(|r| if let Record::In(_, raw) = r { Some(raw) } else { None }).collect()
    }

    /// Messages that were written.
    pub fn sent(&self) -> Vec<Value> {
        self.records()
            .into_iter()
            .filter_map(|r| if let Record::Out(value, _) = r { Some(value) } else { None })
            .collect()
    }

    /// Messages of a method that were read.
    pub fn of(&self, method: &str) -> Vec<Value> {
        self.received().into_iter().filter(|message| message["method"] == method).collect()
    }

    /// How many of a method were read.
    pub fn count(&self, method: &str) -> usize {
        self.of(method).len()
    }

    /// Calls of a tool that were read.
    pub fn calls(&self, tool: &str) -> Vec<Value> {
        self.of("tools/call").into_iter().filter(|message| message["params"]["name"] == tool).collect()
    }

    /// The pids that have started, in order.
    pub fn starts(&self) -> Vec<u32> {
        self.records().into_iter().filter_map(|r| if let Record::Start(pid) = r { Some(pid) } else { None }).collect()
    }

    /// Waits until `count` messages of a method were read.
    pub fn wait_for(&self, method: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} × {method} in the journal"), || {
            Some(self.of(method)).filter(|all| all.len() >= count)
        })
    }

    /// Waits until `count` calls of a tool were read.
    pub fn wait_for_calls(&self, tool: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} calls of {tool} in the journal"), || {
            Some(self.calls(tool)).filter(|all| all.len() >= count)
        })
    }

    /// The records behind the `generation`th start (0 is the first), up to the next start.
    pub fn generation(&self, generation: usize) -> Vec<Record> {
        let all = self.records();
        let mut generations = all.split(|record| matches!(record, Record::Start(_))).skip(1);
        generations.nth(generation).map(<[Record]>::to_vec).unwrap_or_default()
    }
}

fn record(line: &str) -> Record {
    let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
    let value = || serde_json::from_str(rest).unwrap_or(Value::Null);
    let pid = || rest.parse().unwrap_or(0);
    match mark {
        "start" => Record::Start(pid()),
        "exit" => Record::Exit(pid()),
        "<" => Record::In(value(), rest.to_owned()),
        ">" => Record::Out(value(), rest.to_owned()),
        _ => Record::Remark(mark.to_owned(), rest.to_owned()),
    }
}

//! The figures of the bench: collected as rows, printed side by side, written as JSON.
//!
//! In: rows and faults. Out: the table, the JSON document, the verdict. Owns nothing beyond them. May not: measure.

use std::fmt::{self, Write};
use std::fs;

use serde_json::{Value, json};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Time,
    /// Bytes.
    Bytes,
    /// Per second.
    Rate,
}

impl Unit {
    fn show(self, value: f64) -> String {
        let (scale, unit) = match self {
            Self::Time if value < 1e-3 => (1e6, "µs"),
            Self::Time => (1e3, "ms"),
            Self::Bytes if value < 1e6 => (1e-3, "KB"),
            Self::Bytes => (1e-6, "MB"),
            Self::Rate => (1.0, "/s"),
        };
        let value = value * scale;
        let digits = if value >= 1000.0 { 0 } else { usize::from(value < 100.0) + 1 };
        format!("{value:.digits$} {unit}")
    }

    fn name(self) -> &'static str {
        match self {
            Self::Time => "seconds",
            Self::Bytes => "bytes",
            Self::Rate => "per second",
        }
    }
}

/// What a figure of hub has to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// At most this many times the floor.
    Ratio(f64),
    /// Below this, in the figure's unit.
    Below(f64),
}

/// One figure, of hub and of the floor where it has one.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was done.
    pub part: String,
    /// What was measured.
    pub what: String,
    /// In what.
    pub unit: Unit,
    /// Hub's figure.
    pub hub: Option<f64>,
    /// The floor's.
    pub floor: Option<f64>,
    /// How many times the floor's figure hub's is.
    pub ratio: Option<f64>,
    /// What is asked of it.
    pub goal: Option<Goal>,
}

impl Row {
    /// Whether the goal is kept; `None` without one, or without a figure.
    fn is_kept(&self) -> Option<bool> {
        match self.goal? {
            Goal::Ratio(limit) => Some(self.ratio? <= limit),
            Goal::Below(limit) => Some(self.hub? < limit),
        }
    }

    fn verdict(&self) -> String {
        let Some(goal) = self.goal else {
            return String::new();
        };
        let goal = match goal {
            Goal::Ratio(limit) => format!("≤ {limit}×"),
            Goal::Below(limit) => format!("< {}", self.unit.show(limit).replace(".00", "").replace(".0", "")),
        };
        let kept = match self.is_kept() {
            Some(true) => "pass",
            Some(false) => "FAIL",
            None => "",
        };
        format!("{goal:<10} {kept}")
    }

    fn to_json(&self) -> Value {
        let (goal, limit) = match self.goal {
            Some(Goal::Ratio(limit)) => ("ratio at most", Some(limit)),
            Some(Goal::Below(limit)) => ("below", Some(limit)),
            None => ("", None),
        };
        json!({
            "part": self.part, "what": self.what, "unit": self.unit.name(), "hub": self.hub, "floor": self.floor,
            "ratio": self.ratio, "goal": limit.map(|_| goal), "limit": limit, "pass": self.is_kept(),
        })
    }
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Report {
    /// The figures, in the order of measuring.
    pub rows: Vec<Row>,
    /// Replies that were checked and right.
    pub replies: f64,
    /// Replies that were wrong or missing, with what was wrong.
    pub faults: Vec<String>,
}

impl Report {
    /// Figures that miss their goal.
    pub fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.is_kept() == Some(false)).count()
    }

    /// Writes the JSON document.
    pub fn write_json(&self, path: &std::path::Path, about: &str) -> std::io::Result<()> {
        let rows: Vec<Value> = self.rows.iter().map(Row::to_json).collect();
        let document = json!({
            "schema": 1, "about": about, "rows": rows, "replies": self.replies, "faults": self.faults,
            "missed": self.missed(),
        });
        fs::write(path, format!("{document:#}\n"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<40} {:>12} {:>12} {:>8}   goal", "", "hub", "floor", "ratio")?;
        let mut part = "";
        for row in &self.rows {
            if row.part != part {
                part = &row.part;
                writeln!(f, "{part}")?;
            }
            let show = |figure: Option<f64>| figure.map_or_else(String::new, |value| row.unit.show(value));
            let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}×"));
            let mut line = String::new();
            write!(
                line,
                "  {:<38} {:>12} {:>12} {ratio:>8}   {}",
                row.what,
                show(row.hub),
                show(row.floor),
                row.verdict()
            )?;
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f, "\n{} replies right, {} wrong or missing", self.replies, self.faults.len())?;
        for fault in self.faults.iter().take(10) {
            writeln!(f, "  {fault}")?;
        }
        let goals = self.rows.iter().filter(|row| row.is_kept().is_some()).count();
        write!(f, "{} of {goals} goals kept", goals - self.missed())
    }
}

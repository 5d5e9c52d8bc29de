//! How a file differs from what import wrote: for a person, without secrets.
//!
//! In: two texts. Out: a unified diff with masked values, of a length that can be read. Owns nothing. PURE. May not: show
//! a line that was not masked.

use std::fmt::Write as _;
use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use super::mask;
use crate::limits::{DIFF_LINE_CHARS_MAX, DIFF_LINES_MAX};

/// Lines around a change.
const CONTEXT: usize = 2;
/// A diff that takes longer gets coarser.
const PATIENCE: Duration = Duration::from_millis(500);

/// The difference; empty when only what does not show (a line end, a secret) differs.
pub(super) fn unified(from: &str, to: &str) -> String {
    let (old, new) = (mask::lines(from), mask::lines(to));
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(from, to);
    let mut text = String::new();
    let mut count = 0;
    for group in diff.grouped_ops(CONTEXT) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let span = |start: usize, end: usize| format!("{},{}", start + 1, end - start);
        let olds = span(first.old_range().start, last.old_range().end);
        let news = span(first.new_range().start, last.new_range().end);
        let _ = writeln!(text, "@@ -{olds} +{news} @@");
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            count += 1;
            if count > DIFF_LINES_MAX {
                let _ = writeln!(text, "(and more)");
                return text;
            }
            let (sign, line) = match change.tag() {
                ChangeTag::Delete => ('-', change.old_index().and_then(|at| old.get(at))),
                ChangeTag::Insert => ('+', change.new_index().and_then(|at| new.get(at))),
                ChangeTag::Equal => (' ', change.new_index().and_then(|at| new.get(at))),
            };
            let _ = writeln!(text, "{sign}{}", cut(line.map_or("", String::as_str)));
        }
    }
    text
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(DIFF_LINE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown_and_no_secret() {
        let from = "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3,\n  \"env\": {\n    \"K\": \"hunter2\"\n  }\n}\n";
        let to = from.replace("hunter2", "hunter3").replace("1,", "9,");
        let diff = unified(from, &to);
        assert!(!diff.contains("hunter"), "{diff}");
        assert!(diff.contains("-  \"a\": 1,\n+  \"a\": 9,\n"), "{diff}");
        assert!(diff.contains("-    \"K\": \"***\"\n+    \"K\": \"***\"\n"), "{diff}");
        assert_eq!(unified(from, from), "");
    }

    #[test]
    fn it_has_an_end() {
        let to: String = ["x".repeat(1000), "y".repeat(1000)].join("\n").repeat(5000);
        let diff = unified("", &to);
        assert!(diff.lines().count() <= DIFF_LINES_MAX + 2 && diff.ends_with("(and more)\n"));
        assert!(diff.lines().all(|line| line.chars().count() <= DIFF_LINE_CHARS_MAX + 2));
    }
}

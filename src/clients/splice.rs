//! Pieces of a text replaced, all others untouched; lines, indentation and comments of a text.
//!
//! In: a text and positions in it. Out: a text. Owns no state. May not: know a format beyond its comment signs.

use std::ops::Range;

use super::node::{Node, Value};

/// Replacements to be made in one text.
#[derive(Debug, Default)]
pub(super) struct Splices(Vec<(Range<usize>, String)>);

/// How a text is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// `\n` or `\r\n`.
    pub newline: &'static str,
    /// One step of indentation.
    pub unit: String,
}

/// How comments begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comments {
    /// `//` and `/* */`.
    Slashes,
    /// `#` after white space.
    Hash,
    /// `#` anywhere.
    AnyHash,
}

// === impl Splices ===

impl Splices {
    pub(super) fn replace(&mut self, range: Range<usize>, with: impl Into<String>) {
        self.0.push((range, with.into()));
    }

    pub(super) fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.replace(at..at, text);
    }

    /// None if two of them overlap, unless both only delete, or one is no part of the text. Insertions at one place stay in order, before what is
    /// replaced from there on.
    pub(super) fn apply(mut self, text: &str) -> Option<String> {
        self.0.sort_by_key(|(range, _)| (range.start, range.end));
        let mut result = String::with_capacity(text.len());
        let mut done = 0;
        for (mut range, with) in self.0 {
            if with.is_empty() {
                range = range.start.max(done)..range.end.max(done);
            } else if range.start < done {
                return None;
            }
            result.push_str(text.get(done..range.start)?);
            result.push_str(&with);
            text.get(range.clone())?;
            done = range.end;
        }
        result.push_str(text.get(done..)?);
        Some(result)
    }
}

// === impl Layout ===

impl Layout {
    /// `first` is where the first thing stands that is one step in, if there is one on a line of its own.
    pub(super) fn of(text: &str, first: Option<usize>) -> Self {
        let newline = match text.find('\n') {
            Some(at) if text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        };
        let unit = first.and_then(|at| indent(text, at)).filter(|unit| !unit.is_empty()).unwrap_or("  ").to_owned();
        Self { newline, unit }
    }
}

/// The number of the line of a position, from 1.
pub(super) fn line_number(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    memchr::memchr_iter(b'\n', before.as_bytes()).count() + 1
}

/// Where the line of a position begins.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the line of a position ends, before its newline.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    if end > at && text[..end].ends_with('\r') { end - 1 } else { end }
}

/// After the newline of the line of a position, or the end of the text.
pub(super) fn next_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1)
}

/// The white space before a position, if nothing else is before it on its line.
pub(super) fn indent(text: &str, at: usize) -> Option<&str> {
    let before = text[line_start(text, at)..at].trim_start_matches('\u{feff}');
    before.bytes().all(|byte| matches!(byte, b' ' | b'\t')).then_some(before)
}

/// The white space that the line of a position begins with.
pub(super) fn line_indent(text: &str, at: usize) -> &str {
    let line = text[line_start(text, at)..].trim_start_matches('\u{feff}');
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

/// The first position from here on that is no space or tab.
pub(super) fn skip_blanks(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start_matches([' ', '\t']).len()
}

/// The lines of one thing in two texts, each with where the comments and empty lines below it end: with those below if
/// those of the second are below it in the first one too, as comments of parts that went still are.
pub(super) fn with_below(
    (text, lines, below): (&str, Range<usize>, usize),
    (other, other_lines, other_below): (&str, Range<usize>, usize),
) -> (Range<usize>, Range<usize>) {
    if text[lines.end..below].ends_with(&other[other_lines.end..other_below]) {
        (lines.start..below, other_lines.start..other_below)
    } else {
        (lines, other_lines)
    }
}

/// The comments of a range in their order, found between the words of a tree: what is not in a key or a value is white space,
/// punctuation and comments.
pub(super) fn comments(text: &str, tree: &Node, range: Range<usize>, signs: Comments) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    leaves(tree, &mut words);
    words.retain(|word| word.start >= range.start && word.end <= range.end);
    words.push(range.end..range.end);
    let mut found = Vec::new();
    let mut at = range.start;
    for word in words {
        let mut from = at;
        while let Some(comment) = text.get(from..word.start).and_then(|gap| first_comment(text, from, gap, signs)) {
            from = comment.end;
            found.push(comment);
        }
        at = at.max(word.end);
    }
    found
}

/// The first comment of a gap that begins at `from`; it ends before the newline.
fn first_comment(text: &str, from: usize, gap: &str, signs: Comments) -> Option<Range<usize>> {
    match signs {
        Comments::Slashes => {
            // Nothing else in a gap begins so.
            let start = from + gap.find('/')?;
            let end = if text[start..].starts_with("//") {
                line_end(text, start)
            } else {
                text[start + 2..].find("*/").map_or(text.len(), |length| start + length + 4)
            };
            Some(start..end)
        }
        Comments::Hash | Comments::AnyHash => {
            let begins = |(at, _): &(usize, &str)| {
                signs == Comments::AnyHash || text[..from + at].chars().next_back().is_none_or(char::is_whitespace)
            };
            let start = from + gap.match_indices('#').find(begins)?.0;
            Some(start..line_end(text, start))
        }
    }
}

/// Spans of all keys and scalars, in the order of the text.
pub(super) fn leaves(node: &Node, found: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| leaves(item, found)),
        Value::Map(pairs) => pairs.iter().for_each(|pair| {
            found.push(pair.key_span.clone());
            leaves(&pair.value, found);
        }),
        _ => found.push(node.span.clone()),
    }
}

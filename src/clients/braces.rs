//! Items between braces, divided by commas: some replaced, some deleted, some added.
//!
//! In: a text, where the items stand, what shall become of each. Out: splices. Owns no state. May not: know how an item
//! is written. JSON objects and the flow mappings of YAML are such.

use std::ops::Range;

use serde_json::Value as Json;

use super::edit::Fields;
use super::node::{Node, Pair, Value};
use super::splice::{Comments, Layout, Splices, indent, line_end, line_indent, next_line, skip_blanks};

/// What stands between two braces.
pub(super) struct Braces<'a> {
    pub text: &'a str,
    /// From brace to brace, both included.
    pub span: Range<usize>,
    /// Each item with its key, in order, without its comma.
    pub items: Vec<Range<usize>>,
    /// All comments between the braces, also those within items.
    pub comments: Vec<Range<usize>>,
    pub signs: Comments,
    pub layout: &'a Layout,
    /// Whether an item that is added to none gets a line of its own.
    pub lines: bool,
}

/// What becomes of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    /// Something within it is replaced.
    Within(Range<usize>, String),
    /// All of it is replaced; comments in it come to stand before.
    Replace(String),
    /// It goes; comments in it stay.
    Delete,
}

/// The fates of the items of a table or a list when some of them go: keys, or numbers of items.
pub(super) fn fates(node: &Node, gone: &[&str]) -> Vec<Fate> {
    let fate = |name: &str| if gone.contains(&name) { Fate::Delete } else { Fate::Keep };
    match &node.value {
        Value::Map(pairs) => pairs.iter().map(|pair| fate(&pair.key)).collect(),
        Value::List(items) => (0..items.len()).map(|index| fate(&index.to_string())).collect(),
        _ => Vec::new(),
    }
}

/// Writes a pair: its key with what divides it from the value, and the value; beside another pair if there is one.
pub(super) type Write<'a> = dyn Fn(&str, &Json, Option<&Pair>) -> (String, String) + 'a;

// === impl Braces ===

impl Braces<'_> {
    /// Sets and drops keys of an entry that stands between these braces.
    pub(super) fn put(&self, entry: &Node, fields: &Fields, write: &Write<'_>, splices: &mut Splices) {
        let pairs = entry.pairs().unwrap_or_default();
        let wanted = fields.wanted(entry);
        let last = |index: usize| pairs[index + 1..].iter().all(|later| later.key != pairs[index].key);
        let mut new = wanted.iter().filter(|wanted| entry.get(&wanted.0).is_none());
        let mut anchor = None;
        let mut fates = Vec::with_capacity(pairs.len());
        for (index, pair) in pairs.iter().enumerate() {
            let fate = match wanted.iter().find(|wanted| wanted.0 == pair.key) {
                Some((key, value)) if last(index) => {
                    Fate::Within(pair.value.span.clone(), write(key, value, Some(pair)).1)
                }
                // Hidden by a later one of the same name.
                Some(_) => Fate::Delete,
                None if fields.drops(&pair.key) => match new.next() {
                    // What is new stands where that stood which it replaces.
                    Some((key, value)) => {
                        anchor = Some(index);
                        let (key, value) = write(key, value, Some(pair));
                        Fate::Replace(key + &value)
                    }
                    None => Fate::Delete,
                },
                None => Fate::Keep,
            };
            fates.push(fate);
        }
        let more: Vec<String> =
            new.map(|(key, value)| write(key, value, pairs.first())).map(|(key, value)| key + &value).collect();
        self.edit(&fates, anchor, &more, splices);
    }

    /// `more` comes after the last item that is not deleted, or after `anchor`.
    pub(super) fn edit(&self, fates: &[Fate], anchor: Option<usize>, more: &[String], splices: &mut Splices) {
        let commas: Vec<Option<usize>> = (0..self.items.len()).map(|index| self.comma(index)).collect();
        let trailing = commas.last().copied().flatten().is_some();
        let rest = fates.iter().rposition(|fate| *fate != Fate::Delete);
        for (index, fate) in fates.iter().enumerate() {
            let span = self.items[index].clone();
            match fate {
                Fate::Keep => {}
                Fate::Within(range, with) => splices.replace(range.clone(), with.clone()),
                Fate::Replace(with) => splices.replace(span.clone(), self.lead(&span, span.end, false) + with),
                Fate::Delete => self.delete(span, commas[index], rest.is_some_and(|rest| index > rest), splices),
            }
        }
        let Some(rest) = rest else {
            if !more.is_empty() {
                self.fill(more, splices);
            }
            return;
        };
        // The last item that remains may have a comma that only the deleted ones needed.
        let surplus = commas[rest].filter(|_| rest + 1 < fates.len() && !trailing);
        let anchor = anchor.unwrap_or(rest);
        let adds_at_end = !more.is_empty() && anchor == rest;
        if let Some(comma) = surplus.filter(|_| !adds_at_end) {
            splices.replace(comma..comma + 1, "");
        }
        if !more.is_empty() {
            self.add(anchor, commas[anchor], more, adds_at_end && !trailing, splices);
        }
    }

    /// The comma after an item.
    fn comma(&self, index: usize) -> Option<usize> {
        let end = self.items.get(index + 1).map_or(self.span.end - 1, |next| next.start);
        let mut at = self.items[index].end;
        let before = self.comments.partition_point(|comment| comment.start < at);
        let mut comments = self.comments[before..].iter().peekable();
        while at < end {
            if let Some(comment) = comments.next_if(|comment| comment.start == at) {
                at = comment.end;
            } else if self.text.as_bytes()[at] == b',' {
                return Some(at);
            } else {
                at += 1;
            }
        }
        None
    }

    /// The comments within a range, so that they can stand before something; each on its line where the range has its own.
    fn lead(&self, span: &Range<usize>, end: usize, last: bool) -> String {
        let mut lead = String::new();
        let inside = self.comments.iter().filter(|comment| comment.start >= span.start && comment.end <= end);
        let inside: Vec<&str> = inside.map(|comment| &self.text[comment.clone()]).collect();
        let own_line = indent(self.text, span.start).is_some();
        for (index, comment) in inside.iter().enumerate() {
            lead.push_str(comment);
            if last && index + 1 == inside.len() {
                break;
            }
            if own_line || self.ends_line(comment) {
                lead.push_str(self.layout.newline);
                lead.push_str(line_indent(self.text, span.start));
            } else {
                lead.push(' ');
            }
        }
        lead
    }

    fn ends_line(&self, comment: &str) -> bool {
        self.signs != Comments::Slashes || comment.starts_with("//")
    }

    /// `tail` says that no item follows that stays.
    fn delete(&self, span: Range<usize>, comma: Option<usize>, tail: bool, splices: &mut Splices) {
        let text = self.text;
        let end = comma.map_or(span.end, |comma| comma + 1);
        let lead = self.lead(&span, end, true);
        let after = skip_blanks(text, end);
        let at_line_end = after == line_end(text, after);
        let own_line = indent(text, span.start).is_some();
        if !lead.is_empty() {
            let ends_line = self
                .comments
                .iter()
                .rfind(|comment| comment.end <= end)
                .is_some_and(|last| self.ends_line(&text[last.clone()]));
            let close = if at_line_end {
                String::new()
            } else if ends_line {
                format!("{}{}", self.layout.newline, line_indent(text, span.start))
            } else {
                " ".to_owned()
            };
            splices.replace(span.start..if at_line_end { end } else { after }, lead + &close);
        } else if own_line && at_line_end {
            splices.replace(span.start - line_indent(text, span.start).len()..next_line(text, after), "");
        } else if own_line && after < self.span.end - 1 {
            splices.replace(span.start..after, "");
        } else if tail || at_line_end || after == self.span.end - 1 {
            let blanks = text[..span.start].len() - text[..span.start].trim_end_matches([' ', '\t']).len();
            splices.replace(span.start - blanks..end, "");
        } else {
            splices.replace(span.start..after, "");
        }
    }

    /// Adds items after one that stays. `last` says that no comma may follow them.
    fn add(&self, anchor: usize, comma: Option<usize>, more: &[String], last: bool, splices: &mut Splices) {
        let text = self.text;
        let end = self.items[anchor].end;
        if comma.is_none() {
            splices.insert(end, ",");
        }
        let from = comma.map_or(end, |comma| comma + 1);
        let trivia = self.trivia_end(from);
        let first = self.items[0].start;
        let own_lines = indent(text, first).is_some() || (trivia == line_end(text, from) && self.lines);
        let mut added = String::new();
        for (index, item) in more.iter().enumerate() {
            if own_lines {
                added.push_str(self.layout.newline);
                added.push_str(line_indent(text, first));
            } else {
                added.push(' ');
            }
            added.push_str(item);
            if index + 1 < more.len() || !last {
                added.push(',');
            }
        }
        // A comment at the end of the line is about the item before.
        splices.insert(if own_lines && trivia == line_end(text, from) { trivia } else { from }, added);
    }

    /// The end of the blanks and comments that follow on the same line.
    fn trivia_end(&self, from: usize) -> usize {
        let mut at = from;
        loop {
            let next = skip_blanks(self.text, at);
            match self.comments.iter().find(|comment| comment.start == next) {
                Some(comment) if !self.text[comment.clone()].contains('\n') => at = comment.end,
                _ if next == line_end(self.text, next) => return next,
                _ => return at,
            }
        }
    }

    /// Adds items where there are none.
    fn fill(&self, more: &[String], splices: &mut Splices) {
        let text = self.text;
        let inside = self.span.start + 1..self.span.end - 1;
        if !self.lines {
            splices.insert(inside.end, more.join(", "));
            return;
        }
        let newline = self.layout.newline;
        let outer = line_indent(text, self.span.start).to_owned();
        let inner = format!("{newline}{outer}{}", self.layout.unit);
        let added = format!("{inner}{}", more.join(&format!(",{inner}")));
        let kept = text[inside.clone()].trim_end();
        let at = inside.start + kept.len();
        splices.replace(at..inside.end, format!("{added}{newline}{outer}"));
    }
}

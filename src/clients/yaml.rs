//! YAML: edited in place, line by line.
//!
//! In: a text. Out: the text with some entries changed. Owns no state. May not: know a client, or touch a line that is
//! not the entry's.

use std::ops::Range;

use serde_json::Value as Json;

use super::Unreadable;
use super::braces::{Braces, Fate, fates};
use super::edit::{Document, Edit, EditError, Fields, New, Parts, Tree, nested};
use super::node::{Node, Pair, Value};
use super::splice::{
    Comments, Layout, Splices, comments, indent, line_end, line_indent, line_start, next_line, skip_blanks, with_below,
};
use super::yaml_tree::is_number;
pub(super) use super::yaml_tree::parse;

const SIGNS: Comments = Comments::Hash;

/// A text of YAML that was read.
pub(super) struct YamlText {
    tree: Tree,
}

impl Document for YamlText {
    fn read(text: String) -> Result<Self, Unreadable> {
        let root = parse(&text)?;
        let layout = layout(&text, &root);
        Ok(Self { tree: Tree { text, root, layout } })
    }

    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn put(&self, edit: &Edit, entry: &Node, fields: &Fields, splices: &mut Splices) -> Result<(), EditError> {
        if entry.is_linked() {
            return Err(refusal(&edit.at, "has an anchor, an alias or a tag"));
        }
        if is_flow(&self.tree.text, entry) {
            self.braces(entry).put(entry, fields, &pair_in_flow, splices);
            return Ok(());
        }
        let pairs = entry.pairs().ok_or_else(|| EditError::NotATable(edit.place()))?;
        self.put_on_lines(&edit.at, entry, pairs, fields, splices)
    }

    fn remove(&self, from: &[String], names: &[&str], splices: &mut Splices) -> Result<(), EditError> {
        let absent = || EditError::Absent(from.join("."));
        let table = self.tree.root.at(from).ok_or_else(absent)?;
        let fates = fates(table, names);
        if is_flow(&self.tree.text, table) {
            self.braces(table).edit(&fates, None, &[], splices);
            return Ok(());
        }
        for (item, _) in self.items(table).into_iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Delete) {
            let at_dash = self.tree.text[..item.start].trim_end();
            let is_item = matches!(table.value, Value::List(_)) && at_dash.ends_with('-');
            let start = if is_item { at_dash.len() - 1 } else { item.start };
            self.delete(from, table, start, item.end, splices)?;
        }
        if !fates.contains(&Fate::Keep) {
            // A key without a value would be null.
            let (key, outer) = from.split_last().ok_or_else(|| refusal(from, "is all that the file holds"))?;
            let pairs = self.tree.root.at(outer).and_then(Node::pairs).ok_or_else(absent)?;
            let pair = pairs.iter().find(|pair| pair.key == *key).ok_or_else(absent)?;
            let colon = skip_blanks(&self.tree.text, pair.key_span.end) + 1;
            splices.insert(colon, if matches!(table.value, Value::List(_)) { " []" } else { " {}" });
        }
        Ok(())
    }

    fn insert(&self, to: &[String], new: &[New<'_>], splices: &mut Splices) -> Result<(), EditError> {
        let (text, newline) = (&self.tree.text, self.tree.layout.newline);
        let not_a_table = || EditError::NotATable(to.join("."));
        let table = self.tree.root.at(to).ok_or_else(not_a_table)?;
        let values = nested(new, to.len());
        match &table.value {
            Value::Null if to.is_empty() => {
                let end = if text.is_empty() || text.ends_with('\n') || text == "\u{feff}" { "" } else { newline };
                splices.insert(text.len(), format!("{end}{}", block(&Json::Object(values), "", &self.tree.layout)));
            }
            Value::Map(own) if !is_flow(text, table) => {
                let last = own.last().ok_or_else(not_a_table)?;
                let indent = self.column(to, last.key_span.start)?;
                let added = block(&Json::Object(values), &indent, &self.tree.layout);
                let end = line_end(text, end_of(text, last));
                splices.insert(end, format!("{newline}{}", added.trim_end_matches(['\n', '\r'])));
            }
            Value::Map(own) => {
                let item = |(key, value): (&String, &Json)| {
                    let (key, value) = pair_in_flow(key, value, None);
                    key + &value
                };
                let items: Vec<String> = values.iter().map(item).collect();
                self.braces(table).edit(&vec![Fate::Keep; own.len()], None, &items, splices);
            }
            _ => return Err(not_a_table()),
        }
        Ok(())
    }

    fn parts(&self, other: &Self, at: &[&[String]]) -> Result<Parts, EditError> {
        let (text, original) = (&self.tree.text, &other.tree.text);
        let part = |at: &&[String]| {
            let absent = || EditError::Absent(at.join("."));
            let current = self.tree.root.at(at).ok_or_else(absent)?;
            let old = other.tree.root.at(at).ok_or_else(absent)?;
            if is_flow(text, current) && is_flow(original, old) {
                return Ok((current.span.clone(), old.span.clone()));
            }
            let (to, from) = (lines(text, &self.tree.root, at), lines(original, &other.tree.root, at));
            if line_indent(text, to.start) != line_indent(original, from.start) {
                let why = "is indented otherwise than before".to_owned();
                return Err(EditError::Unsafe { at: at.join("."), why });
            }
            let (below, then_below) = (trivia_end(text, to.end), trivia_end(original, from.end));
            Ok(with_below((text, to, below), (original, from, then_below)))
        };
        at.iter().map(part).collect()
    }
}

fn layout(text: &str, root: &Node) -> Layout {
    // The first key of the second level is one step in.
    let second = root.pairs().unwrap_or_default().iter().find_map(|pair| pair.value.pairs()?.first());
    Layout::of(text, second.map(|pair| pair.key_span.start))
}

fn is_flow(text: &str, node: &Node) -> bool {
    text[node.span.clone()].starts_with(['{', '['])
}

/// The lines of an entry, with its name or its dash, without the last newline.
fn lines(text: &str, root: &Node, at: &[String]) -> Range<usize> {
    let Some((name, parent)) = at.split_last() else { return 0..text.len() };
    let parent = root.at(parent).unwrap_or(root);
    let (start, end) = match &parent.value {
        Value::Map(pairs) => match pairs.iter().find(|pair| pair.key == *name) {
            Some(pair) => (pair.key_span.start, end_of(text, pair)),
            None => (0, 0),
        },
        _ => root.at(at).map_or((0, 0), |item| (item.span.start, item.span.end)),
    };
    line_start(text, start)..line_end(text, end)
}

/// Where comments and empty lines after a line end.
fn trivia_end(text: &str, from: usize) -> usize {
    let mut at = from;
    loop {
        let next = next_line(text, at);
        let line = text[next..line_end(text, next)].trim();
        if next == text.len() || !(line.is_empty() || line.starts_with('#')) {
            return if next == text.len() { next } else { at.max(from) };
        }
        at = line_end(text, next);
    }
}

/// Where a pair ends: a key may have no value.
fn end_of(text: &str, pair: &Pair) -> usize {
    let after = skip_blanks(text, pair.key_span.end);
    let colon = if text[after..].starts_with(':') { after + 1 } else { pair.key_span.end };
    if pair.value.span.is_empty() { colon } else { pair.value.span.end.max(pair.key_span.end) }
}

impl YamlText {
    fn put_on_lines(
        &self,
        at: &[String],
        entry: &Node,
        pairs: &[Pair],
        fields: &Fields,
        splices: &mut Splices,
    ) -> Result<(), EditError> {
        let wanted = fields.wanted(entry);
        let mut new = wanted.iter().filter(|wanted| entry.get(&wanted.0).is_none());
        let mut anchor = None;
        for pair in pairs {
            let set = wanted.iter().find(|wanted| wanted.0 == pair.key);
            let put = if fields.drops(&pair.key) { set.or_else(|| new.next()) } else { set };
            match put {
                Some((key, value)) => {
                    anchor = Some(pair);
                    self.replace(at, entry, pair, key, value, splices)?;
                }
                None if fields.drops(&pair.key) => {
                    self.delete(at, entry, pair.key_span.start, end_of(&self.tree.text, pair), splices)?;
                }
                None => anchor = anchor.or(Some(pair)),
            }
        }
        let Some(anchor) = anchor else { return Err(refusal(at, "has no line to write on")) };
        let indent = self.column(at, anchor.key_span.start)?;
        let line = |(key, value): &(String, Json)| {
            format!("{}{indent}{}: {}", self.tree.layout.newline, written(&Json::from(key.as_str())), written(value))
        };
        let more: String = new.map(|more| line(more)).collect();
        if !more.is_empty() {
            splices.insert(line_end(&self.tree.text, end_of(&self.tree.text, anchor)), more);
        }
        Ok(())
    }

    /// The white space that puts a line under the key that stands here, after dashes perhaps.
    fn column(&self, at: &[String], start: usize) -> Result<String, EditError> {
        let before = &self.tree.text[line_start(&self.tree.text, start)..start];
        let before = before.trim_start_matches('\u{feff}');
        if before.bytes().all(|byte| matches!(byte, b' ' | b'-')) {
            Ok(" ".repeat(before.len()))
        } else {
            Err(refusal(at, "is not written one key to a line"))
        }
    }

    /// Puts another pair in the place of one. Comments within its value come to stand before it.
    fn replace(
        &self,
        at: &[String],
        entry: &Node,
        pair: &Pair,
        key: &str,
        value: &Json,
        splices: &mut Splices,
    ) -> Result<(), EditError> {
        let (text, end) = (&self.tree.text, end_of(&self.tree.text, pair));
        let column = self.column(at, pair.key_span.start)?;
        let newline = self.tree.layout.newline;
        let inside: Vec<&str> =
            comments(text, entry, pair.key_span.start..end, SIGNS).into_iter().map(|comment| &text[comment]).collect();
        let own_line = indent(text, pair.key_span.start).is_some();
        if own_line && !inside.is_empty() {
            let lead: String = inside.iter().flat_map(|comment| [*comment, newline, column.as_str()]).collect();
            splices.insert(pair.key_span.start, lead);
        } else if !inside.is_empty() {
            // On the line of a dash: below it.
            let lead: String = inside.iter().flat_map(|comment| [newline, column.as_str(), *comment]).collect();
            splices.insert(line_end(text, end), lead);
        }
        let key = if key == pair.key { text[pair.key_span.clone()].to_owned() } else { written(&Json::from(key)) };
        splices.replace(pair.key_span.start..end, format!("{key}: {}", written(value)));
        Ok(())
    }

    /// Deletes whole lines; comments in and behind them stay.
    fn delete(
        &self,
        at: &[String],
        tree: &Node,
        start: usize,
        end: usize,
        splices: &mut Splices,
    ) -> Result<(), EditError> {
        let text = &self.tree.text;
        let Some(indent) = indent(text, start) else {
            return Err(refusal(at, "is not written one key to a line"));
        };
        let end = line_end(text, end);
        let kept: Vec<&str> =
            comments(text, tree, start..end, SIGNS).into_iter().map(|comment| &text[comment]).collect();
        if !kept.is_empty() {
            splices.replace(start..end, kept.join(&format!("{}{indent}", self.tree.layout.newline)));
            return Ok(());
        }
        let mut from = start - indent.len();
        let to = next_line(text, end);
        // The last line without a newline: the one before it ends so too.
        if to == text.len() && !text.ends_with('\n') {
            from = text[..from].trim_end_matches(['\n', '\r']).len();
        }
        splices.replace(from..to, "");
        Ok(())
    }

    fn items(&self, node: &Node) -> Vec<Range<usize>> {
        node.items(|pair| end_of(&self.tree.text, pair))
    }

    fn braces(&self, node: &Node) -> Braces<'_> {
        Braces {
            text: &self.tree.text,
            span: node.span.clone(),
            items: self.items(node),
            comments: comments(&self.tree.text, node, node.span.clone(), SIGNS),
            signs: SIGNS,
            layout: &self.tree.layout,
            lines: self.tree.text[node.span.clone()].contains('\n'),
        }
    }
}

fn refusal(at: &[String], why: &str) -> EditError {
    EditError::Unsafe { at: at.join("."), why: why.to_owned() }
}

fn pair_in_flow(key: &str, value: &Json, _near: Option<&Pair>) -> (String, String) {
    (format!("{}: ", written(&Json::from(key))), written(value))
}

/// A value on one line.
fn written(value: &Json) -> String {
    match value {
        Json::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", written(&Json::from(key.as_str())), written(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Json::String(text) if is_plain(text) => text.clone(),
        // What JSON quotes, YAML reads.
        other => other.to_string(),
    }
}

/// Whether a text can stand without quotes, in YAML 1.1 too, where `no` and `1:20` are not text.
fn is_plain(text: &str) -> bool {
    let word = text.to_ascii_lowercase();
    let reserved = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&word.as_str());
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_'))
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'.' | b':' | b'-'))
        && !text.ends_with(':')
        && !reserved
        && !is_number(text)
}

/// A table over lines, each with its newline.
fn block(value: &Json, indent: &str, layout: &Layout) -> String {
    let Json::Object(map) = value else { return String::new() };
    let line = |(key, value): (&String, &Json)| {
        let key = written(&Json::from(key.as_str()));
        let newline = layout.newline;
        match value {
            Json::Object(inner) if !inner.is_empty() => {
                format!("{indent}{key}:{newline}{}", block(value, &format!("{indent}{}", layout.unit), layout))
            }
            Json::Array(items) if items.iter().any(Json::is_object) => {
                let inner = format!("{indent}    ");
                let item = |item: &Json| format!("{indent}  - {}", block(item, &inner, layout).trim_start());
                format!("{indent}{key}:{newline}{}", items.iter().map(item).collect::<String>())
            }
            other => format!("{indent}{key}: {}{newline}", written(other)),
        }
    };
    map.iter().map(line).collect()
}

/// A whole document, to be pasted.
pub(super) fn snippet(value: &Json) -> String {
    block(value, "", &Layout { newline: "\n", unit: "  ".to_owned() })
}

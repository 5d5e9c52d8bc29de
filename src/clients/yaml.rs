//! YAML: edited in place, line by line.
//!
//! In: a text. Out: the text with some entries changed. Owns no state. May not: know a client, or touch a line that is
//! not the entry's.

use std::ops::Range;

use serde_json::Value as Json;

use super::braces::{Braces, Fate};
use super::edit::{Act, Edit, EditError, Fields, in_order, proved, with_value};
use super::node::{Node, Pair, Value};
use super::splice::{
    Comments, Layout, Splices, comments, indent, line_end, line_indent, line_start, next_line, skip_blanks,
};
use super::yaml_tree::is_number;
pub(super) use super::yaml_tree::parse;

const SIGNS: Comments = Comments::Hash;

/// See [`super::edit()`].
pub(super) fn edit(text: &str, edits: &[Edit]) -> Result<String, EditError> {
    let mut text = text.to_owned();
    let mut before = parse(&text)?;
    for edit in in_order(edits)? {
        let damaged = || EditError::Damaged(edit.place());
        let file = File { text: &text, root: &before, layout: layout(&text, &before) };
        text = file.step(edit)?.apply(&text).ok_or_else(damaged)?;
        let after = parse(&text).map_err(|_unreadable| damaged())?;
        if !proved(&before, &after, edit) {
            return Err(damaged());
        }
        before = after;
    }
    Ok(text)
}

/// See [`super::restore`].
pub(super) fn restore(text: &str, original: &str, at: &[String]) -> Result<String, EditError> {
    let (now, then) = (parse(text)?, parse(original)?);
    let place = at.join(".");
    let current = now.at(at).ok_or_else(|| EditError::Absent(place.clone()))?;
    let Some(old) = then.at(at) else {
        return edit(text, &[Edit { at: at.to_vec(), act: Act::Remove }]);
    };
    let to = lines(text, &now, at);
    let from = lines(original, &then, at);
    let layout = layout(text, &now);
    let (from, to) = if is_flow(text, current) && is_flow(original, old) {
        (old.span.clone(), current.span.clone())
    } else if line_indent(text, to.start) == line_indent(original, from.start) {
        // Comments of parts that went still stand below what is left.
        let (below, then_below) = (trivia_end(text, to.end), trivia_end(original, from.end));
        let moved = text[to.end..below].ends_with(&original[from.end..then_below]);
        if moved { (from.start..then_below, to.start..below) } else { (from, to) }
    } else {
        let why = "is indented otherwise than before".to_owned();
        return Err(EditError::Unsafe { at: place, why });
    };
    let mut splices = Splices::default();
    splices.replace(to, original[from].replace("\r\n", "\n").replace('\n', layout.newline));
    let damaged = || EditError::Damaged(place.clone());
    let result = splices.apply(text).ok_or_else(damaged)?;
    let after = parse(&result).map_err(|_unreadable| damaged())?;
    let expected = with_value(&now, at, old).ok_or_else(damaged)?;
    if expected.same(&after) { Ok(result) } else { Err(damaged()) }
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

struct File<'a> {
    text: &'a str,
    root: &'a Node,
    layout: Layout,
}

impl File<'_> {
    fn step(&self, edit: &Edit) -> Result<Splices, EditError> {
        let mut splices = Splices::default();
        let entry = self.root.at(&edit.at);
        match (&edit.act, entry) {
            (Act::Insert(_), Some(_)) => return Err(EditError::Present(edit.place())),
            (Act::Insert(pairs), None) => self.insert(edit, pairs, &mut splices)?,
            (_, None) => return Err(EditError::Absent(edit.place())),
            (Act::Put(fields), Some(entry)) => {
                let pairs = entry.pairs().ok_or_else(|| EditError::NotATable(edit.place()))?;
                if entry.is_linked() {
                    return Err(refusal(edit, "has an anchor, an alias or a tag"));
                }
                if is_flow(self.text, entry) {
                    self.braces(entry).put(entry, fields, &pair_in_flow, &mut splices);
                } else {
                    self.put(edit, entry, pairs, fields, &mut splices)?;
                }
            }
            (Act::Remove, Some(entry)) => self.remove(edit, entry, &mut splices)?,
        }
        Ok(splices)
    }

    fn put(
        &self,
        edit: &Edit,
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
                    self.replace(edit, entry, pair, key, value, splices)?;
                }
                None if fields.drops(&pair.key) => {
                    self.delete(edit, entry, pair.key_span.start, end_of(self.text, pair), splices)?;
                }
                None => anchor = anchor.or(Some(pair)),
            }
        }
        let Some(anchor) = anchor else { return Err(refusal(edit, "has no line to write on")) };
        let indent = self.column(edit, anchor.key_span.start)?;
        let line = |(key, value): &(String, Json)| {
            format!("{}{indent}{}: {}", self.layout.newline, written(&Json::from(key.as_str())), written(value))
        };
        let more: String = new.map(|more| line(more)).collect();
        if !more.is_empty() {
            splices.insert(line_end(self.text, end_of(self.text, anchor)), more);
        }
        Ok(())
    }

    /// The white space that puts a line under the key that stands here, after dashes perhaps.
    fn column(&self, edit: &Edit, at: usize) -> Result<String, EditError> {
        let before = &self.text[line_start(self.text, at)..at];
        let before = before.trim_start_matches('\u{feff}');
        if before.bytes().all(|byte| matches!(byte, b' ' | b'-')) {
            Ok(" ".repeat(before.len()))
        } else {
            Err(refusal(edit, "is not written one key to a line"))
        }
    }

    /// Puts another pair in the place of one. Comments within its value come to stand before it.
    fn replace(
        &self,
        edit: &Edit,
        entry: &Node,
        pair: &Pair,
        key: &str,
        value: &Json,
        splices: &mut Splices,
    ) -> Result<(), EditError> {
        let (text, end) = (self.text, end_of(self.text, pair));
        let column = self.column(edit, pair.key_span.start)?;
        let newline = self.layout.newline;
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
        edit: &Edit,
        tree: &Node,
        start: usize,
        end: usize,
        splices: &mut Splices,
    ) -> Result<(), EditError> {
        let text = self.text;
        let Some(indent) = indent(text, start) else {
            return Err(refusal(edit, "is not written one key to a line"));
        };
        let end = line_end(text, end);
        let kept: Vec<&str> =
            comments(text, tree, start..end, SIGNS).into_iter().map(|comment| &text[comment]).collect();
        if !kept.is_empty() {
            splices.replace(start..end, kept.join(&format!("{}{indent}", self.layout.newline)));
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

    fn braces<'a>(&'a self, node: &Node) -> Braces<'a> {
        let items = match &node.value {
            Value::Map(pairs) => pairs.iter().map(|pair| pair.key_span.start..end_of(self.text, pair)).collect(),
            Value::List(items) => items.iter().map(|item| item.span.clone()).collect(),
            _ => Vec::new(),
        };
        Braces {
            text: self.text,
            span: node.span.clone(),
            items,
            comments: comments(self.text, node, node.span.clone(), SIGNS),
            signs: SIGNS,
            layout: &self.layout,
            lines: self.text[node.span.clone()].contains('\n'),
        }
    }

    fn remove(&self, edit: &Edit, entry: &Node, splices: &mut Splices) -> Result<(), EditError> {
        let absent = || EditError::Absent(edit.place());
        let (name, above) = edit.at.split_last().ok_or_else(absent)?;
        let parent = self.root.at(above).ok_or_else(absent)?;
        let (count, index) = match &parent.value {
            Value::Map(pairs) => (pairs.len(), pairs.iter().position(|pair| pair.key == *name).ok_or_else(absent)?),
            Value::List(items) => (items.len(), name.parse().map_err(|_not_a_number| absent())?),
            _ => return Err(absent()),
        };
        if is_flow(self.text, parent) {
            let mut fates = vec![Fate::Keep; count];
            fates[index] = Fate::Delete;
            self.braces(parent).edit(&fates, None, &[], splices);
            return Ok(());
        }
        let (start, end) = if let Value::Map(pairs) = &parent.value {
            (pairs[index].key_span.start, end_of(self.text, &pairs[index]))
        } else {
            let dash = self.text[..entry.span.start].trim_end().len();
            let at_dash = self.text[..dash].ends_with('-');
            (if at_dash { dash - 1 } else { entry.span.start }, entry.span.end)
        };
        self.delete(edit, parent, start, end, splices)?;
        if count == 1 {
            // A key without a value would be null.
            let (key, grand) = above.split_last().ok_or_else(|| refusal(edit, "is all that the file holds"))?;
            let pairs = self.root.at(grand).and_then(Node::pairs).ok_or_else(absent)?;
            let pair = pairs.iter().find(|pair| pair.key == *key).ok_or_else(absent)?;
            let colon = skip_blanks(self.text, pair.key_span.end) + 1;
            splices.insert(colon, if matches!(parent.value, Value::List(_)) { " []" } else { " {}" });
        }
        Ok(())
    }

    fn insert(&self, edit: &Edit, pairs: &[(String, Json)], splices: &mut Splices) -> Result<(), EditError> {
        let text = self.text;
        let depth = (0..edit.at.len()).rev().find(|depth| self.root.at(&edit.at[..*depth]).is_some()).unwrap_or(0);
        let parent = self.root.at(&edit.at[..depth]).unwrap_or(self.root);
        let value = super::edit::nested(&edit.at[depth..], pairs);
        let newline = self.layout.newline;
        match (&parent.value, depth) {
            (Value::Null, 0) => {
                let end = if text.is_empty() || text.ends_with('\n') || text == "\u{feff}" { "" } else { newline };
                splices.insert(text.len(), format!("{end}{}", block(&value, "", &self.layout)));
            }
            (Value::Map(own), _) if !is_flow(text, parent) => {
                let Some(last) = own.last() else { return Err(EditError::NotATable(edit.place())) };
                let indent = self.column(edit, last.key_span.start)?;
                let added = block(&value, &indent, &self.layout);
                let end = line_end(text, end_of(text, last));
                splices.insert(end, format!("{newline}{}", added.trim_end_matches(['\n', '\r'])));
            }
            (Value::Map(own), _) => {
                let item = pair_in_flow(&edit.at[depth], &super::edit::nested(&edit.at[depth + 1..], pairs), None);
                let fates = vec![Fate::Keep; own.len()];
                self.braces(parent).edit(&fates, None, &[item.0 + &item.1], splices);
            }
            _ => return Err(EditError::NotATable(edit.at[..depth].join("."))),
        }
        Ok(())
    }
}

fn refusal(edit: &Edit, why: &str) -> EditError {
    EditError::Unsafe { at: edit.place(), why: why.to_owned() }
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

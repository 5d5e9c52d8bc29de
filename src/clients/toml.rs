//! TOML: read with positions, edited in place.
//!
//! In: a text. Out: its tree; the text with some entries changed. Owns no state. May not: know a client.
//!
//! An entry is either written between braces, or as statements: a header `[mcp_servers.x]` with lines below it, headers of
//! its inner tables, dotted keys. They may stand anywhere; each is edited where it stands.

use std::ops::Range;

use serde_json::Value as Json;
use toml_edit::{Document, Item, Table, TableLike, Value as Toml};

use super::Unreadable;
use super::braces::{Braces, Fate};
use super::edit::{Act, Edit, EditError, Fields, in_order, proved, with_value};
use super::node::{Node, Pair, Value};
use super::splice::{
    Comments, Layout, Splices, comments, line_end, line_indent, line_number, line_start, next_line, skip_blanks,
};

const BOM: &str = "\u{feff}";
const SIGNS: Comments = Comments::AnyHash;

/// The tree of a text. Tables that are not between braces have an empty span.
pub(super) fn parse(text: &str) -> Result<Node, Unreadable> {
    parsed(text).map(|(root, _)| root)
}

/// A header or a pair.
#[derive(Debug)]
struct Statement {
    /// All keys to what it defines.
    path: Vec<String>,
    /// From its bracket or first key to its bracket or the end of its value.
    span: Range<usize>,
    /// Of a pair: its last key.
    key: Option<Range<usize>>,
}

fn parsed(text: &str) -> Result<(Node, Vec<Statement>), Unreadable> {
    let body = text.strip_prefix(BOM).unwrap_or(text);
    let offset = text.len() - body.len();
    let document = Document::parse(body).map_err(|error| {
        let line = line_number(body, error.span().map_or(0, |span| span.start));
        // The message may quote the text; its first line does not.
        let what = error.message().lines().next().unwrap_or("this is no TOML").to_owned();
        Unreadable::Syntax { line, what }
    })?;
    let mut walk = Walk { text, offset, statements: Vec::new(), path: Vec::new() };
    let root = walk.table(document.as_table());
    walk.statements.sort_by_key(|statement| statement.span.start);
    Ok((root, walk.statements))
}

struct Walk<'a> {
    text: &'a str,
    offset: usize,
    statements: Vec<Statement>,
    path: Vec<String>,
}

impl Walk<'_> {
    fn moved(&self, span: Option<Range<usize>>) -> Range<usize> {
        span.map_or(0..0, |span| span.start + self.offset..span.end + self.offset)
    }

    fn table(&mut self, table: &Table) -> Node {
        let mut pairs = Vec::new();
        for (name, item) in table {
            let Some((key, _)) = table.get_key_value(name) else { continue };
            let key_span = self.moved(key.span());
            self.path.push(name.to_owned());
            let value = self.item(item, &key_span);
            self.path.pop();
            if let Some(value) = value {
                pairs.push(Pair { key: name.to_owned(), key_span, value });
            }
        }
        Node { span: 0..0, value: Value::Map(pairs) }
    }

    fn item(&mut self, item: &Item, key_span: &Range<usize>) -> Option<Node> {
        match item {
            Item::None => None,
            Item::Value(value) => {
                let node = self.value(value);
                let start = line_start(self.text, key_span.start);
                let start = skip_blanks(self.text, if start == 0 { self.offset } else { start });
                let (path, key) = (self.path.clone(), Some(key_span.clone()));
                self.statements.push(Statement { path, span: start..node.span.end, key });
                Some(node)
            }
            Item::Table(table) => {
                self.header(table);
                Some(self.table(table))
            }
            Item::ArrayOfTables(tables) => {
                let mut items = Vec::new();
                for table in tables {
                    self.header(table);
                    items.push(self.table(table));
                }
                Some(Node { span: 0..0, value: Value::List(items) })
            }
        }
    }

    fn header(&mut self, table: &Table) {
        if !table.is_implicit() && !table.is_dotted() {
            let span = self.moved(table.span());
            self.statements.push(Statement { path: self.path.clone(), span, key: None });
        }
    }

    fn value(&self, value: &Toml) -> Node {
        let span = self.moved(value.span());
        let value = match value {
            Toml::String(text) => Value::Text(text.value().clone()),
            Toml::Integer(number) => Value::Number(number.value().to_string()),
            Toml::Float(number) => Value::Number(number.value().to_string()),
            Toml::Boolean(is) => Value::Bool(*is.value()),
            Toml::Datetime(date) => Value::Odd("a date", date.value().to_string()),
            Toml::Array(items) => Value::List(items.iter().map(|item| self.value(item)).collect()),
            Toml::InlineTable(table) => {
                let mut pairs = Vec::new();
                for (name, item) in TableLike::iter(table) {
                    let Some((key, _)) = table.get_key_value(name) else { continue };
                    let Some(value) = item.as_value() else { continue };
                    let key_span = self.moved(key.span());
                    pairs.push(Pair { key: name.to_owned(), key_span, value: self.value(value) });
                }
                Value::Map(pairs)
            }
        };
        Node { span, value }
    }
}

/// See [`super::edit()`].
pub(super) fn edit(text: &str, edits: &[Edit]) -> Result<String, EditError> {
    let mut text = text.to_owned();
    let (mut before, mut statements) = parsed(&text)?;
    for edit in in_order(edits)? {
        let damaged = || EditError::Damaged(edit.place());
        let file = File { text: &text, root: &before, statements: &statements, layout: Layout::of(&text, None) };
        text = file.step(edit)?.apply(&text).ok_or_else(damaged)?;
        let (after, next) = parsed(&text).map_err(|_unreadable| damaged())?;
        if !proved(&before, &after, edit) {
            return Err(damaged());
        }
        (before, statements) = (after, next);
    }
    Ok(text)
}

/// See [`super::restore`].
pub(super) fn restore(text: &str, original: &str, at: &[String]) -> Result<String, EditError> {
    let ((now, now_statements), (then, then_statements)) = (parsed(text)?, parsed(original)?);
    let place = at.join(".");
    let current = now.at(at).ok_or_else(|| EditError::Absent(place.clone()))?;
    let Some(old) = then.at(at) else {
        return edit(text, &[Edit { at: at.to_vec(), act: Act::Remove }]);
    };
    let layout = Layout::of(text, None);
    let (from, to) = if current.span.is_empty() || old.span.is_empty() {
        let why = "is written in several places of the file, or in another way than before";
        let scattered = || EditError::Unsafe { at: place.clone(), why: why.to_owned() };
        let to = block(text, &now_statements, at).ok_or_else(scattered)?;
        let from = block(original, &then_statements, at).ok_or_else(scattered)?;
        // Comments of parts that went still stand below what is left.
        let (below, then_below) = (trivia(text, &now_statements, to.end), trivia(original, &then_statements, from.end));
        let moved = text[to.end..below].ends_with(&original[from.end..then_below]);
        if moved { (from.start..then_below, to.start..below) } else { (from, to) }
    } else {
        (old.span.clone(), current.span.clone())
    };
    let mut splices = Splices::default();
    splices.replace(to, original[from].replace("\r\n", "\n").replace('\n', layout.newline));
    let damaged = || EditError::Damaged(place.clone());
    let result = splices.apply(text).ok_or_else(damaged)?;
    let after = parse(&result).map_err(|_unreadable| damaged())?;
    let expected = with_value(&now, at, old).ok_or_else(damaged)?;
    if expected.same(&after) { Ok(result) } else { Err(damaged()) }
}

/// The lines of an entry, if nothing else stands between them.
fn block(text: &str, statements: &[Statement], at: &[String]) -> Option<Range<usize>> {
    let own = |statement: &Statement| statement.path.starts_with(at);
    let first = statements.iter().position(own)?;
    let last = statements.iter().rposition(own)?;
    let whole = statements[first..=last].iter().all(own);
    let start = statements[first].span.start;
    whole.then(|| start - line_indent(text, start).len()..line_end(text, statements[last].span.end))
}

/// Where the comments and empty lines after a position end: before the next statement.
fn trivia(text: &str, statements: &[Statement], from: usize) -> usize {
    let next = statements.iter().find(|statement| statement.span.start >= from);
    next.map_or(text.len(), |next| line_start(text, next.span.start))
}

struct File<'a> {
    text: &'a str,
    root: &'a Node,
    statements: &'a [Statement],
    layout: Layout,
}

impl File<'_> {
    fn step(&self, edit: &Edit) -> Result<Splices, EditError> {
        let mut splices = Splices::default();
        let entry = self.root.at(&edit.at);
        match (&edit.act, entry) {
            (Act::Insert(_), Some(_)) => return Err(EditError::Present(edit.place())),
            (Act::Insert(pairs), None) => self.insert(&edit.at, pairs, &mut splices),
            (_, None) => return Err(EditError::Absent(edit.place())),
            (Act::Put(fields), Some(entry)) if entry.span.is_empty() => {
                self.put(edit, entry, fields, &mut splices)?;
            }
            (Act::Put(fields), Some(entry)) => self.put_in_braces(edit, entry, fields, &mut splices)?,
            (Act::Remove, Some(_)) => self.remove(edit, &mut splices)?,
        }
        Ok(splices)
    }

    fn own<'a>(&'a self, at: &'a [String]) -> impl Iterator<Item = &'a Statement> {
        self.statements.iter().filter(move |statement| statement.path.starts_with(at))
    }

    fn put(&self, edit: &Edit, entry: &Node, fields: &Fields, splices: &mut Splices) -> Result<(), EditError> {
        if entry.pairs().is_none() {
            return Err(EditError::NotATable(edit.place()));
        }
        let depth = edit.at.len();
        let wanted = fields.wanted(entry);
        let mut new = wanted.iter().filter(|wanted| entry.get(&wanted.0).is_none());
        // New lines come after the last line that stays or takes the place of another.
        let mut anchor: Option<&Statement> = None;
        for statement in self.own(&edit.at) {
            let Some(key) = statement.path.get(depth) else {
                anchor = anchor.or(Some(statement));
                continue;
            };
            let direct = statement.path.len() == depth + 1;
            match (wanted.iter().find(|wanted| wanted.0 == *key), &statement.key) {
                (Some((key, value)), Some(span)) if direct => {
                    self.replace(statement, span, key, value, splices);
                    anchor = Some(statement);
                }
                (Some(_), _) => self.delete(statement, splices),
                (None, Some(span)) if direct && fields.drops(key) => match new.next() {
                    Some((key, value)) => {
                        self.replace(statement, span, key, value, splices);
                        anchor = Some(statement);
                    }
                    None => self.delete(statement, splices),
                },
                (None, _) if fields.drops(key) => self.delete(statement, splices),
                (None, Some(_)) if direct => anchor = Some(statement),
                (None, _) => {}
            }
        }
        let more: Vec<&&(String, Json)> = new.collect();
        if more.is_empty() {
            return Ok(());
        }
        let why = || EditError::Unsafe { at: edit.place(), why: "has no line of its own".to_owned() };
        let anchor = anchor.ok_or_else(why)?;
        let prefix = anchor.key.as_ref().map_or("", |key| &self.text[anchor.span.start..key.start]);
        let indent = line_indent(self.text, anchor.span.start);
        let line = |(key, value): &(String, Json)| {
            format!("{}{indent}{prefix}{} = {}", self.layout.newline, bare(key), written(value))
        };
        splices
            .insert(line_end(self.text, anchor.span.end), more.into_iter().map(|more| line(more)).collect::<String>());
        Ok(())
    }

    /// Puts another pair in the place of one. Comments within its value come to stand before it.
    fn replace(&self, statement: &Statement, key_span: &Range<usize>, key: &str, value: &Json, splices: &mut Splices) {
        let lead = self.lead(statement);
        if !lead.is_empty() {
            splices.insert(statement.span.start, lead);
        }
        let between = self.root.at(&statement.path).map(|old| &self.text[key_span.end..old.span.start]);
        let between = between.filter(|between| !between.contains('\n')).unwrap_or(" = ");
        let same = statement.path.last().is_some_and(|last| last == key);
        let key = if same { self.text[key_span.clone()].to_owned() } else { bare(key) };
        splices.replace(key_span.start..statement.span.end, format!("{key}{between}{}", written(value)));
    }

    fn lead(&self, statement: &Statement) -> String {
        let Some(value) = statement.key.as_ref().and_then(|_| self.root.at(&statement.path)) else {
            return String::new();
        };
        let inside = comments(self.text, value, value.span.clone(), SIGNS);
        let indent = line_indent(self.text, statement.span.start);
        let newline = self.layout.newline;
        let lines = inside.into_iter().flat_map(|comment| [&self.text[comment], newline, indent]);
        lines.collect()
    }

    /// Deletes a statement; comments in and behind it stay. An empty line before a header goes with it.
    fn delete(&self, statement: &Statement, splices: &mut Splices) {
        let (text, span) = (self.text, &statement.span);
        let first = if text.starts_with(BOM) { BOM.len() } else { 0 };
        let mut start = line_start(text, span.start).max(first);
        let lead = self.lead(statement);
        let after = skip_blanks(text, span.end);
        if after < line_end(text, after) {
            splices.replace(span.start..after, lead);
            return;
        }
        if !lead.is_empty() {
            let lead = lead.trim_end_matches([' ', '\t', '\n', '\r']);
            splices.replace(span.start..span.end, lead);
            return;
        }
        if statement.key.is_none() && start > first {
            let above = line_start(text, start - 1).max(first);
            if text[above..start].trim().is_empty() {
                start = above;
            }
        }
        let end = next_line(text, after);
        // The last line without a newline: the one before it ends so too.
        if end == text.len() && !text.ends_with('\n') {
            start = text[..start].trim_end_matches(['\n', '\r']).len();
        }
        splices.replace(start..end, "");
    }

    fn braces<'a>(&'a self, edit: &Edit, node: &Node) -> Result<Braces<'a>, EditError> {
        let pairs = node.pairs().ok_or_else(|| EditError::NotATable(edit.place()))?;
        // The span of a table of dotted keys is that of a key.
        let dotted = |node: &Node| node.pairs().is_some() && !self.text[node.span.clone()].starts_with('{');
        if dotted(node) || pairs.iter().any(|pair| dotted(&pair.value)) {
            let why = "has dotted keys between braces".to_owned();
            return Err(EditError::Unsafe { at: edit.place(), why });
        }
        Ok(Braces {
            text: self.text,
            span: node.span.clone(),
            items: pairs.iter().map(|pair| pair.key_span.start..pair.value.span.end).collect(),
            comments: comments(self.text, node, node.span.clone(), SIGNS),
            signs: SIGNS,
            layout: &self.layout,
            lines: false,
        })
    }

    fn put_in_braces(
        &self,
        edit: &Edit,
        entry: &Node,
        fields: &Fields,
        splices: &mut Splices,
    ) -> Result<(), EditError> {
        let braces = self.braces(edit, entry)?;
        let write = |key: &str, value: &Json, _: Option<&Pair>| (format!("{} = ", bare(key)), written(value));
        braces.put(entry, fields, &write, splices);
        Ok(())
    }

    fn remove(&self, edit: &Edit, splices: &mut Splices) -> Result<(), EditError> {
        if self.own(&edit.at).next().is_some() {
            self.own(&edit.at).for_each(|statement| self.delete(statement, splices));
            return Ok(());
        }
        // It stands between the braces of its table.
        let absent = || EditError::Absent(edit.place());
        let (name, parent) = edit.at.split_last().ok_or_else(absent)?;
        let parent = self.root.at(parent).ok_or_else(absent)?;
        let fate = |pair: &Pair| if pair.key == *name { Fate::Delete } else { Fate::Keep };
        let fates: Vec<Fate> = parent.pairs().ok_or_else(absent)?.iter().map(fate).collect();
        self.braces(edit, parent)?.edit(&fates, None, &[], splices);
        Ok(())
    }

    fn insert(&self, at: &[String], pairs: &[(String, Json)], splices: &mut Splices) {
        let newline = self.layout.newline;
        let text = self.text;
        let mut added = String::new();
        if !text.trim_start_matches(BOM).is_empty() {
            added.push_str(if text.ends_with('\n') { newline } else { "" });
            if !text.ends_with('\n') {
                added.push_str(newline);
                added.push_str(newline);
            }
        }
        added.push_str(&section(at, pairs, newline));
        splices.insert(text.len(), added);
    }
}

/// A header and its lines.
fn section(at: &[String], pairs: &[(String, Json)], newline: &str) -> String {
    let path: Vec<String> = at.iter().map(|key| bare(key)).collect();
    let lines: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{} = {}{newline}", bare(key), written(value))).collect();
    format!("[{}]{newline}{}", path.join("."), lines.concat())
}

/// A key, quoted if it must be.
fn bare(key: &str) -> String {
    toml_edit::Key::new(key).display_repr().into_owned()
}

/// A value on one line.
fn written(value: &Json) -> String {
    match value {
        Json::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{} = {}", bare(key), written(value))).collect();
            if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
        }
        Json::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Json::String(text) => Toml::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}

/// A document of tables of entries, to be pasted.
pub(super) fn snippet(value: &Json) -> String {
    let mut sections = Vec::new();
    if let Json::Object(top) = value {
        for (key, entries) in top {
            let Json::Object(entries) = entries else { continue };
            for (name, entry) in entries {
                let Json::Object(entry) = entry else { continue };
                let pairs: Vec<(String, Json)> =
                    entry.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                sections.push(section(&[key.clone(), name.clone()], &pairs, "\n"));
            }
        }
    }
    sections.join("\n")
}

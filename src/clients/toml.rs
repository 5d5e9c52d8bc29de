//! TOML: read with positions, edited in place.
//!
//! In: a text. Out: its tree; the text with some entries changed. Owns no state. May not: know a client.
//!
//! An entry is either written between braces, or as statements: a header `[mcp_servers.x]` with lines below it, headers of
//! its inner tables, dotted keys. They may stand anywhere; each is edited where it stands.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::Value as Json;
use toml_edit::{Document as Parsed, Item, Table, TableLike, Value as Toml};

use super::Unreadable;
use super::braces::{Braces, fates};
use super::edit::{Document, Edit, EditError, Fields, New, Parts, Tree};
use super::node::{Node, Pair, Value};
use super::splice::{
    Comments, Layout, Splices, comments, line_end, line_indent, line_number, line_start, next_line, skip_blanks,
    with_below,
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

/// What stands between two statements, from the end of the line of the first to the line of the second.
struct Gap<'a> {
    /// The first: its path, and how many of this path there were until then.
    after: Option<(&'a [String], usize)>,
    before: Option<(&'a [String], usize)>,
    span: Range<usize>,
    /// What comes behind it does not belong to the table before it.
    ends_table: bool,
    /// The lines in it from the first statement to the last.
    lines: Option<Range<usize>>,
}

fn parsed(text: &str) -> Result<(Node, Vec<Statement>), Unreadable> {
    let body = text.strip_prefix(BOM).unwrap_or(text);
    let offset = text.len() - body.len();
    let document = Parsed::parse(body).map_err(|error| {
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

/// A text of TOML that was read.
pub(super) struct TomlText {
    tree: Tree,
    statements: Vec<Statement>,
}

impl Document for TomlText {
    const ORDER_COUNTS: bool = false;

    fn read(text: String) -> Result<Self, Unreadable> {
        let (root, statements) = parsed(&text)?;
        let layout = Layout::of(&text, None);
        Ok(Self { tree: Tree { text, root, layout }, statements })
    }

    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn put(&self, edit: &Edit, entry: &Node, fields: &Fields, splices: &mut Splices) -> Result<(), EditError> {
        if entry.span.is_empty() {
            return self.put_on_lines(edit, entry, fields, splices);
        }
        let write = |key: &str, value: &Json, _: Option<&Pair>| (format!("{} = ", bare(key)), written(value));
        self.braces(&edit.at, entry)?.put(entry, fields, &write, splices);
        Ok(())
    }

    fn remove(&self, from: &[String], names: &[&str], splices: &mut Splices) -> Result<(), EditError> {
        let mut in_braces = Vec::new();
        for name in names {
            let at = [from, &[(*name).to_owned()]].concat();
            let before = in_braces.len();
            in_braces.extend(self.own(&at).next().is_none().then_some(*name));
            if in_braces.len() == before {
                self.own(&at).for_each(|statement| self.delete(statement, splices));
            }
        }
        if !in_braces.is_empty() {
            let table = self.tree.root.at(from).ok_or_else(|| EditError::Absent(from.join(".")))?;
            self.braces(from, table)?.edit(&fates(table, &in_braces), None, &[], splices);
        }
        Ok(())
    }

    fn insert(&self, _to: &[String], new: &[New<'_>], splices: &mut Splices) -> Result<(), EditError> {
        let (text, newline) = (&self.tree.text, self.tree.layout.newline);
        let sections: Vec<String> = new.iter().map(|(at, pairs)| section(at, pairs, newline)).collect();
        let gap = match text.trim_start_matches(BOM) {
            "" => String::new(),
            body if body.ends_with('\n') => newline.to_owned(),
            _ => newline.repeat(2),
        };
        splices.insert(text.len(), gap + &sections.join(newline));
        Ok(())
    }

    fn parts(&self, other: &Self, at: &[&[String]]) -> Result<Parts, EditError> {
        let (mut parts, mut on_lines) = (Vec::new(), Vec::new());
        for at in at {
            match (self.tree.root.at(at), other.tree.root.at(at)) {
                (Some(here), Some(there)) if !here.span.is_empty() && !there.span.is_empty() => {
                    parts.push((here.span.clone(), there.span.clone()));
                }
                _ => on_lines.push(*at),
            }
        }
        let blocks: Option<Vec<_>> = on_lines.iter().map(|at| self.block_in(other, at)).collect();
        parts.extend(match blocks {
            Some(blocks) => blocks,
            None => self.between(other, &on_lines)?,
        });
        Ok(parts)
    }
}

impl TomlText {
    /// The lines of an entry in both texts, if nothing else stands between them.
    fn block_in(&self, other: &Self, at: &[String]) -> Option<(Range<usize>, Range<usize>)> {
        let (lines, others) = (self.block(at)?, other.block(at)?);
        let (below, others_below) = (self.trivia(lines.end), other.trivia(others.end));
        Some(with_below((&self.tree.text, lines, below), (&other.tree.text, others, others_below)))
    }

    fn block(&self, at: &[String]) -> Option<Range<usize>> {
        let (text, statements) = (&self.tree.text, &self.statements);
        let own = |statement: &Statement| statement.path.starts_with(at);
        let first = statements.iter().position(own)?;
        let last = statements.iter().rposition(own)?;
        let whole = statements[first..=last].iter().all(own);
        let start = statements[first].span.start;
        whole.then(|| start - line_indent(text, start).len()..line_end(text, statements[last].span.end))
    }

    /// Where the comments and empty lines after a position end: before the next statement.
    fn trivia(&self, from: usize) -> usize {
        let next = self.statements.iter().find(|statement| statement.span.start >= from);
        next.map_or(self.tree.text.len(), |next| line_start(&self.tree.text, next.span.start))
    }

    /// Entries whose lines stand in several places: in both texts, all that stands between the same two statements of
    /// others and holds, or held, lines of theirs. Where others came to stand on one side since, only those lines.
    fn between(&self, other: &Self, at: &[&[String]]) -> Result<Parts, EditError> {
        let (gaps, others) = (self.gaps(at), other.gaps(at));
        let refusal = || {
            let why = "is written in several places of the file, and what is around them has changed".to_owned();
            EditError::Unsafe { at: at.iter().map(|at| at.join(".")).collect::<Vec<_>>().join(", "), why }
        };
        let mut used = HashSet::new();
        let mut part = |there: &Gap<'_>| {
            let find = |same: &dyn Fn(&Gap<'_>) -> bool| gaps.iter().position(same);
            let index = find(&|here| here.after == there.after && here.before == there.before)
                .or_else(|| find(&|here| here.after == there.after && here.after.is_some() && here.ends_table))
                .or_else(|| find(&|here| here.before == there.before))?;
            used.insert(index);
            let here = &gaps[index];
            let (is, was) = if here.after == there.after && here.before == there.before {
                (here.span.clone(), there.span.clone())
            } else if let Some(own) = &here.lines {
                (own.clone(), there.lines.clone()?)
            } else if here.after == there.after {
                let lead = there.span.start..there.lines.clone()?.end;
                (here.span.start..here.span.start, lead)
            } else {
                let tail = there.lines.clone()?.start..there.span.end;
                (here.span.end..here.span.end, tail)
            };
            // What somebody wrote since would go, or what is there still would come twice.
            let (kept, comes) = (self.comments(&is), other.comments(&was));
            let stays = [here.span.start..is.start, is.end..here.span.end].map(|rest| self.comments(&rest)).concat();
            let is_safe = kept.iter().all(|comment| comes.contains(comment))
                && !stays.iter().any(|comment| comes.contains(comment));
            is_safe.then_some((is, was))
        };
        let parts: Option<Vec<_>> = others.iter().filter(|there| there.lines.is_some()).map(&mut part).collect();
        let is_used = gaps.iter().enumerate().all(|(index, gap)| gap.lines.is_none() || used.contains(&index));
        parts.filter(|_| is_used).ok_or_else(refusal)
    }

    fn comments(&self, range: &Range<usize>) -> Vec<&str> {
        comments(&self.tree.text, &self.tree.root, range.clone(), SIGNS)
            .into_iter()
            .map(|comment| &self.tree.text[comment])
            .collect()
    }

    /// What stands between the statements of others than these entries.
    fn gaps<'a>(&'a self, at: &[&[String]]) -> Vec<Gap<'a>> {
        let mut seen: HashMap<&[String], usize> = HashMap::new();
        let start = if self.tree.text.starts_with(BOM) { BOM.len() } else { 0 };
        let mut gap = Gap { after: None, before: None, span: start..start, ends_table: true, lines: None };
        let mut gaps = Vec::new();
        for statement in &self.statements {
            if at.iter().any(|at| statement.path.starts_with(at)) {
                let start = line_start(&self.tree.text, statement.span.start).max(gap.span.start);
                let end = line_end(&self.tree.text, statement.span.end);
                gap.lines = Some(gap.lines.map_or(start, |lines| lines.start)..end);
                continue;
            }
            let times = seen.entry(&statement.path).or_default();
            *times += 1;
            let name = Some((statement.path.as_slice(), *times));
            gap.before = name;
            gap.ends_table = statement.key.is_none();
            gap.span.end = line_start(&self.tree.text, statement.span.start).max(gap.span.start);
            let end = line_end(&self.tree.text, statement.span.end);
            gaps.push(std::mem::replace(
                &mut gap,
                Gap { after: name, before: None, span: end..end, ends_table: true, lines: None },
            ));
        }
        gap.span.end = self.tree.text.len();
        gaps.push(gap);
        gaps
    }

    fn own<'a>(&'a self, at: &'a [String]) -> impl Iterator<Item = &'a Statement> {
        self.statements.iter().filter(move |statement| statement.path.starts_with(at))
    }

    fn put_on_lines(&self, edit: &Edit, entry: &Node, fields: &Fields, splices: &mut Splices) -> Result<(), EditError> {
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
        let prefix = anchor.key.as_ref().map_or("", |key| &self.tree.text[anchor.span.start..key.start]);
        let indent = line_indent(&self.tree.text, anchor.span.start);
        let line = |(key, value): &(String, Json)| {
            format!("{}{indent}{prefix}{} = {}", self.tree.layout.newline, bare(key), written(value))
        };
        splices.insert(
            line_end(&self.tree.text, anchor.span.end),
            more.into_iter().map(|more| line(more)).collect::<String>(),
        );
        Ok(())
    }

    /// Puts another pair in the place of one. Comments within its value come to stand before it.
    fn replace(&self, statement: &Statement, key_span: &Range<usize>, key: &str, value: &Json, splices: &mut Splices) {
        let lead = self.lead(statement);
        if !lead.is_empty() {
            splices.insert(statement.span.start, lead);
        }
        let between = self.tree.root.at(&statement.path).map(|old| &self.tree.text[key_span.end..old.span.start]);
        let between = between.filter(|between| !between.contains('\n')).unwrap_or(" = ");
        let same = statement.path.last().is_some_and(|last| last == key);
        let key = if same { self.tree.text[key_span.clone()].to_owned() } else { bare(key) };
        splices.replace(key_span.start..statement.span.end, format!("{key}{between}{}", written(value)));
    }

    fn lead(&self, statement: &Statement) -> String {
        let Some(value) = statement.key.as_ref().and_then(|_| self.tree.root.at(&statement.path)) else {
            return String::new();
        };
        let inside = comments(&self.tree.text, value, value.span.clone(), SIGNS);
        let indent = line_indent(&self.tree.text, statement.span.start);
        let newline = self.tree.layout.newline;
        let lines = inside.into_iter().flat_map(|comment| [&self.tree.text[comment], newline, indent]);
        lines.collect()
    }

    /// Deletes a statement; comments in and behind it stay. An empty line before a header goes with it.
    fn delete(&self, statement: &Statement, splices: &mut Splices) {
        let (text, span) = (&self.tree.text, &statement.span);
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

    fn braces(&self, at: &[String], node: &Node) -> Result<Braces<'_>, EditError> {
        let pairs = node.pairs().ok_or_else(|| EditError::NotATable(at.join(".")))?;
        // The span of a table of dotted keys is that of a key.
        let dotted = |node: &Node| node.pairs().is_some() && !self.tree.text[node.span.clone()].starts_with('{');
        if dotted(node) || pairs.iter().any(|pair| dotted(&pair.value)) {
            let why = "has dotted keys between braces".to_owned();
            return Err(EditError::Unsafe { at: at.join("."), why });
        }
        Ok(Braces {
            text: &self.tree.text,
            span: node.span.clone(),
            items: node.items(|pair| pair.value.span.end),
            comments: comments(&self.tree.text, node, node.span.clone(), SIGNS),
            signs: SIGNS,
            layout: &self.tree.layout,
            lines: false,
        })
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

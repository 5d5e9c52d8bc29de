//! Small changes to the text of hub.toml, with comments, order and format kept. PURE.
//!
//! In: the text, and what to change. Out: the new text. Owns nothing. May not: change anything else, or quote a value in
//! an error (it could be a secret).

use std::ops::Range;

use toml_edit::{Array, Document, DocumentMut, InlineTable, Item, Table, Value, value};

/// A server to be written. Values are in the words of hub.toml: `${VAR}` is a reference, `$${` a literal `${`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewServer {
    /// The program.
    pub command: String,
    /// Its arguments; no key is written when there are none.
    pub args: Vec<String>,
    /// Its variables, in this order.
    pub env: Vec<(String, String)>,
    /// A file of more variables.
    pub env_file: Option<String>,
    /// Its folder.
    pub cwd: Option<String>,
    /// Its own port.
    pub port: Option<u16>,
    /// Who shares a child: the word of hub.toml.
    pub share: Option<&'static str>,
    /// Only `Some(false)` is worth a line, but what is asked for is written.
    pub enabled: Option<bool>,
}

/// What a hub.toml that hub makes begins with.
pub const BEGINNING: &str = "\
# The servers of hub: it runs each of them once, for all clients. Saving this file is enough, hub follows.
# `hub check` says what is wrong with it; `hub undo` takes back what `hub import` did.

[hub]
# port = 18900        # all servers behind one endpoint
# first_port = 18901  # servers without a `port` get the lowest free one from here
# log = \"info\"
";

/// Longest line that a list or a table is written on.
const LINE_CHARS_MAX: usize = 100;
const BOM: char = '\u{feff}';

/// A text in the words of hub.toml that mean just this text.
pub fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// The text with `enabled` of a server set.
pub fn set_enabled(text: &str, server: &str, enabled: bool) -> Result<String, String> {
    set(text, server, "enabled", enabled.into())
}

/// The text with a server that starts with its first request.
pub fn set_lazy(text: &str, server: &str) -> Result<String, String> {
    set(text, server, "start", "lazy".into())
}

fn set(text: &str, server: &str, key: &str, new: Value) -> Result<String, String> {
    let mut document = parse_mut(text)?;
    let servers = document.get_mut("servers").and_then(Item::as_table_like_mut);
    let table = servers.and_then(|servers| servers.get_mut(server)).and_then(Item::as_table_like_mut);
    let Some(table) = table else { return Err(format!("there is no [servers.{server}] in hub.toml")) };
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        None => drop(table.insert(key, value(new))),
    }
    Ok(document.to_string())
}

/// The text with a server added at its end. An error when the text is not TOML, or has the server already.
pub fn add_server(text: &str, name: &str, fields: &NewServer) -> Result<String, String> {
    add_servers(text, &[(name, fields)])
}

/// The text with servers added at its end, in this order. See [`add_server`].
pub fn add_servers(text: &str, added: &[(&str, &NewServer)]) -> Result<String, String> {
    let old = parse(text)?;
    if let Some((name, _)) = added.iter().find(|(name, _)| server(&old, name).is_some()) {
        return Err(format!("there is a [servers.{name}] in hub.toml already"));
    }
    let new = if old.get("servers").is_some_and(|servers| !servers.is_table()) {
        let mut document = parse_mut(text)?;
        let table = document.get_mut("servers").and_then(Item::as_table_like_mut);
        let Some(table) = table else { return Err("`servers` is no table in hub.toml".to_owned()) };
        for (name, fields) in added {
            table.insert(name, Item::Value(Value::InlineTable(fields.table().into_inline_table())));
        }
        document.to_string()
    } else {
        added.iter().fold(text.to_owned(), |text, (name, fields)| appended(&text, &fields.section(name)))
    };
    let names: Vec<&str> = added.iter().map(|(name, _)| *name).collect();
    checked(text, new, &names, true)
}

/// The text with the port of a server set.
pub fn set_port(text: &str, server: &str, port: u16) -> Result<String, String> {
    let mut document = parse_mut(text)?;
    let servers = document.get_mut("servers").and_then(Item::as_table_like_mut);
    let table = servers.and_then(|servers| servers.get_mut(server)).and_then(Item::as_table_like_mut);
    let Some(table) = table else { return Err(format!("there is no [servers.{server}] in hub.toml")) };
    table.insert("port", value(i64::from(port)));
    checked(text, document.to_string(), &[server], true)
}

/// The text with the port of a server no longer set.
pub fn unset_port(text: &str, server: &str) -> Result<String, String> {
    let mut document = parse_mut(text)?;
    let servers = document.get_mut("servers").and_then(Item::as_table_like_mut);
    let table = servers.and_then(|servers| servers.get_mut(server)).and_then(Item::as_table_like_mut);
    let Some(table) = table else { return Err(format!("there is no [servers.{server}] in hub.toml")) };
    table.remove("port");
    checked(text, document.to_string(), &[server], true)
}

/// The text without a server: its tables, and the comments that stand directly above or at the end of them.
pub fn remove_server(text: &str, name: &str) -> Result<String, String> {
    let old = parse(text)?;
    let Some(found) = server(&old, name) else { return Err(format!("there is no [servers.{name}] in hub.toml")) };
    let mut ranges = Vec::new();
    let new = if let Some(table) = found.as_table().filter(|table| !table.is_dotted()) {
        sections(table, &mut ranges);
        without(text, ranges)
    } else {
        let mut document = parse_mut(text)?;
        let servers = document.get_mut("servers").and_then(Item::as_table_like_mut);
        servers.map(|servers| servers.remove(name));
        document.to_string()
    };
    checked(text, new, &[name], false)
}

// === impl NewServer ===

impl NewServer {
    fn table(&self) -> Table {
        let mut table = Table::new();
        table.insert("command", Item::Value(string(&self.command)));
        if !self.args.is_empty() {
            table.insert("args", Item::Value(list(&self.args)));
        }
        if !self.env.is_empty() {
            let env: InlineTable = self.env.iter().map(|(key, text)| (key.as_str(), string(text))).collect();
            table.insert("env", Item::Value(Value::InlineTable(env)));
        }
        if let Some(file) = &self.env_file {
            table.insert("env_file", Item::Value(string(file)));
        }
        if let Some(cwd) = &self.cwd {
            table.insert("cwd", Item::Value(string(cwd)));
        }
        if let Some(port) = self.port {
            table.insert("port", value(i64::from(port)));
        }
        if let Some(share) = self.share {
            table.insert("share", value(share));
        }
        if let Some(enabled) = self.enabled {
            table.insert("enabled", value(enabled));
        }
        table
    }

    /// The text of a section of its own. A long `env` becomes a table of its own, which has to come last.
    fn section(&self, name: &str) -> String {
        let mut table = self.table();
        let is_long = |item: &Item| item.to_string().chars().count() + "env = ".len() > LINE_CHARS_MAX;
        if table.get("env").is_some_and(is_long)
            && let Some(Item::Value(Value::InlineTable(env))) = table.remove("env")
        {
            table.insert("env", Item::Table(env.into_table()));
        }
        let mut servers = Table::new();
        servers.set_implicit(true);
        servers.insert(name, Item::Table(table));
        let mut document = DocumentMut::new();
        document.insert("servers", Item::Table(servers));
        document.to_string().trim_start().to_owned()
    }
}

/// A string on one line: a newline inside it must not follow the line ends of the file.
fn string(text: &str) -> Value {
    let escaped = serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f");
    let value = text.contains(char::is_control).then(|| escaped.parse().ok()).flatten();
    value.unwrap_or_else(|| text.into())
}

/// A list on one line if it fits, else one element a line.
fn list(texts: &[String]) -> Value {
    let mut array: Array = texts.iter().map(|text| string(text)).collect();
    if array.to_string().chars().count() + "args = ".len() > LINE_CHARS_MAX {
        for element in array.iter_mut() {
            element.decor_mut().set_prefix("\n    ");
        }
        array.set_trailing("\n");
        array.set_trailing_comma(true);
    }
    Value::Array(array)
}

/// The section after one blank line, with the line ends of the text.
fn appended(text: &str, section: &str) -> String {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut new = text.to_owned();
    if !text.trim_start_matches(BOM).is_empty() {
        if !text.ends_with('\n') {
            new.push_str(end);
        }
        if !new.ends_with(&[end, end].concat()) {
            new.push_str(end);
        }
    }
    new.push_str(&section.replace('\n', end));
    new
}

/// Where each table of a server begins and ends: from its header to its last value.
fn sections(table: &Table, into: &mut Vec<Range<usize>>) {
    if let Some(header) = table.span().filter(|span| !span.is_empty()) {
        into.push(header.start..last_value(table).unwrap_or(header.end).max(header.end));
    }
    for (_, item) in table {
        match item {
            Item::Table(below) => sections(below, into),
            Item::ArrayOfTables(list) => list.iter().for_each(|below| sections(below, into)),
            Item::Value(_) | Item::None => {}
        }
    }
}

/// The end of the last value that is written in the section of a table itself.
fn last_value(table: &Table) -> Option<usize> {
    let ends = table.iter().filter_map(|(_, item)| match item {
        Item::Value(value) => value.span().map(|span| span.end),
        Item::Table(below) if below.is_dotted() => last_value(below),
        Item::Table(_) | Item::ArrayOfTables(_) | Item::None => None,
    });
    ends.max()
}

/// The text without these ranges, each widened to whole lines, to comments that belong to it, and to one blank line.
fn without(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let starts: Vec<usize> = lines
        .iter()
        .scan(0, |at, line| {
            *at += line.len();
            Some(*at - line.len())
        })
        .collect();
    let line_of = |offset: usize| starts.partition_point(|start| *start <= offset).saturating_sub(1);
    let is_comment = |line: usize| lines.get(line).is_some_and(|text| text.trim_start().starts_with('#'));
    let is_blank = |line: usize| lines.get(line).is_some_and(|text| text.trim().is_empty());
    ranges.sort_by_key(|range| range.start);
    let mut kept = vec![true; lines.len()];
    for range in ranges {
        let (mut first, mut end) = (line_of(range.start), line_of(range.end.saturating_sub(1)) + 1);
        while first > 0 && is_comment(first - 1) {
            first -= 1;
        }
        // Comments at the very top speak of the file, even where a server follows at once.
        if first == 0 {
            first = line_of(range.start);
        }
        let tail = (end..lines.len()).find(|line| !is_comment(*line)).unwrap_or(lines.len());
        if tail == lines.len() || is_blank(tail) {
            end = tail;
        }
        while is_blank(end) {
            end += 1;
        }
        kept[first..end].fill(false);
    }
    let kept: String = lines.iter().zip(kept).filter_map(|(line, kept)| kept.then_some(*line)).collect();
    // The blank line that stood between the last server and the one before it.
    let end = if kept.ends_with("\r\n") { "\r\n" } else { "\n" };
    let body = kept.trim_end_matches(['\n', '\r']);
    if body.is_empty() { kept } else { [body, end].concat() }
}

/// The new text, if nothing but these servers differs from the old one. What a person wrote is worth the check.
fn checked(old: &str, new: String, names: &[&str], are_there: bool) -> Result<String, String> {
    let same = match (apart(old, names), apart(&new, names)) {
        (Some((_, before)), Some((found, after))) => {
            found == if are_there { names.len() } else { 0 } && before == after
        }
        _ => false,
    };
    let wrong = || "hub.toml is written in a way that hub cannot edit: change it by hand".to_owned();
    if same { Ok(new) } else { Err(wrong()) }
}

/// How many of these servers a text has, and what it says but for them.
fn apart(text: &str, names: &[&str]) -> Option<(usize, serde_json::Value)> {
    let mut all: serde_json::Value = toml_edit::de::from_str(text.trim_start_matches(BOM)).ok()?;
    let top = all.as_object_mut()?;
    let Some(servers) = top.get_mut("servers") else { return Some((0, all)) };
    let servers = servers.as_object_mut()?;
    let found = names.iter().filter(|name| servers.shift_remove(**name).is_some()).count();
    if servers.is_empty() {
        top.shift_remove("servers");
    }
    Some((found, all))
}

fn parse(text: &str) -> Result<Document<String>, String> {
    Document::parse(text.to_owned()).map_err(|error| error.message().to_owned())
}

fn parse_mut(text: &str) -> Result<DocumentMut, String> {
    text.parse().map_err(|error: toml_edit::TomlError| error.message().to_owned())
}

fn server<'a>(document: &'a Document<String>, name: &str) -> Option<&'a Item> {
    document.get("servers").and_then(Item::as_table_like)?.get(name)
}
#[cfg(test)]
mod tests;

//! What the entries of a file are.
//!
//! In: a document as a tree, and the shape of its file. Out: [`Found`] entries, each a program, a URL, or a reason why
//! it is neither. Owns no state. May not: expand a placeholder, or quote a value in a reason (it could be a secret).

use std::collections::HashSet;
use std::time::Duration;

use super::Unreadable;
use super::client::{Entries, Keys, Shape, Unit};
use super::node::{Node, Pair, Value};

/// Keys that hold a URL, in the order in which they count.
const URL_KEYS: &[&str] = &["url", "serverUrl", "httpUrl", "uri", "baseUrl"];
/// Keys that say how to reach a server.
pub(super) const TRANSPORT_KEYS: &[&str] = &["type", "transport", "transportType"];

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The entries in the order of the file. No two have the same `at`.
    pub found: Vec<Found>,
    /// Why the client itself refuses this file, which hub can read and edit all the same: comments or trailing commas
    /// in a file of a client that takes none.
    pub rejected: Option<Rejected>,
}

/// Why a client refuses its file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Rejected {
    /// From 1.
    pub line: usize,
    /// In words; quotes nothing of the file.
    pub what: String,
}

/// One entry of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Path of keys from the top of the document to the entry; in a list the number of the item, from 0. It names the
    /// entry in an [`crate::clients::Edit`] of the same text.
    pub at: Vec<String>,
    /// The server's name as the client knows it: any text, also empty.
    pub name: String,
    /// The folder of the project that the entry is for, when the document says so (Claude Code's local scope).
    pub project: Option<String>,
    /// What it is.
    pub entry: Entry,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A program to start.
    Stdio(Stdio),
    /// A server that is reached by URL.
    Remote {
        /// With the client's placeholders. May hold a secret.
        url: String,
    },
    /// Neither, or the client would not take it.
    Other {
        /// For a person; names the key, quotes no value.
        reason: String,
    },
}

/// A program to start. All texts are as written, with the client's placeholders. `command` is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stdio {
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables for it, in the order of the file; no name twice.
    pub env: Vec<(String, String)>,
    /// A file of more variables; those of `env` win.
    pub env_file: Option<String>,
    /// Its working folder.
    pub cwd: Option<String>,
    /// False when the entry says that it is switched off.
    pub enabled: bool,
    /// Longest time for a call that the user set.
    pub timeout: Option<Duration>,
    /// Names of variables that the client passes on from its own environment.
    pub passed_env: Vec<String>,
}

/// The entries of a document.
pub(super) fn read(root: &Node, shape: &Shape) -> Result<Vec<Found>, Unreadable> {
    let mut found = Vec::new();
    if matches!(root.value, Value::Null) {
        return Ok(found);
    }
    if root.pairs().is_none() {
        return Err(Unreadable::Shape { key: String::new(), kind: root.kind() });
    }
    for entries in shape.entries {
        match entries {
            Entries::Map(path) => {
                let mut some = Vec::new();
                maps(root, path, &mut Vec::new(), shape.keys, &mut some)?;
                found.extend(some.into_iter().filter(|found| is_at_its_place(root, found, path.len(), shape)));
            }
            Entries::List(path) => list(root, path, shape.keys, &mut found)?,
        }
    }
    for key in shape.misplaced {
        misplaced(root, key, shape, &mut found);
    }
    Ok(found)
}

/// opencode keeps entries under `mcp`, newer ones under `mcp.servers`: whether `mcp.servers` is an entry or a table of
/// entries is told by what is in it.
fn is_at_its_place(root: &Node, found: &Found, depth: usize, shape: &Shape) -> bool {
    let ends_at = |path: &[String]| {
        let same = |keys: &[&str]| keys.len() == path.len() && keys.iter().zip(path).all(|(key, at)| key == at);
        shape.entries.iter().any(|entries| matches!(entries, Entries::Map(keys) if same(keys)))
    };
    let is_table = |path: &[String]| {
        let pairs = root.at(path).and_then(Node::pairs);
        pairs.is_some_and(|pairs| pairs.iter().all(|pair| pair.value.pairs().is_some()))
    };
    let hides_a_table = ends_at(&found.at) && is_table(&found.at);
    let is_within_an_entry = depth > 1 && ends_at(&found.at[..depth - 1]) && !is_table(&found.at[..depth]);
    !hides_a_table && !is_within_an_entry
}

fn maps(
    node: &Node,
    rest: &[&str],
    at: &mut Vec<String>,
    keys: &Keys,
    found: &mut Vec<Found>,
) -> Result<(), Unreadable> {
    let Some(pairs) = node.pairs() else {
        return if matches!(node.value, Value::Null) {
            Ok(())
        } else {
            Err(Unreadable::Shape { key: at.join("."), kind: node.kind() })
        };
    };
    let Some((first, rest)) = rest.split_first() else {
        for pair in last_ones(pairs) {
            let mut path = at.clone();
            path.push(pair.key.clone());
            let project = (path.len() == 4 && path[0] == "projects").then(|| path[1].clone());
            found.push(Found { at: path, name: pair.key.clone(), project, entry: entry(&pair.value, keys) });
        }
        return Ok(());
    };
    for pair in last_ones(pairs).filter(|pair| *first == "*" || pair.key == *first) {
        at.push(pair.key.clone());
        maps(&pair.value, rest, at, keys, found)?;
        at.pop();
    }
    Ok(())
}

/// Without the pairs that a later one of the same key hides.
fn last_ones(pairs: &[Pair]) -> impl Iterator<Item = &Pair> {
    let mut seen = HashSet::new();
    let mut last: Vec<&Pair> = pairs.iter().rev().filter(|pair| seen.insert(pair.key.as_str())).collect();
    last.reverse();
    last.into_iter()
}

fn list(root: &Node, path: &[&str], keys: &Keys, found: &mut Vec<Found>) -> Result<(), Unreadable> {
    let path: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
    let Some(node) = root.at(&path) else { return Ok(()) };
    let items = match &node.value {
        Value::List(items) => items,
        Value::Null => return Ok(()),
        _ => return Err(Unreadable::Shape { key: path.join("."), kind: node.kind() }),
    };
    for (index, item) in items.iter().enumerate() {
        let mut at = path.clone();
        at.push(index.to_string());
        let name = item.get("name").and_then(Node::text);
        let entry = match name {
            Some(_) => entry(item, keys),
            None => Entry::Other { reason: "the entry has no `name`".to_owned() },
        };
        found.push(Found { at, name: name.unwrap_or_default().to_owned(), project: None, entry });
    }
    Ok(())
}

fn misplaced(root: &Node, key: &str, shape: &Shape, found: &mut Vec<Found>) {
    let Some(pairs) = root.get(key).and_then(Node::pairs) else { return };
    let right = match shape.entries.first() {
        Some(Entries::Map(path) | Entries::List(path)) => path.join("."),
        None => return,
    };
    for pair in last_ones(pairs).filter(|pair| pair.value.pairs().is_some()) {
        let reason = format!("it is under `{key}`, which this client does not read: it reads `{right}`");
        let at = vec![key.to_owned(), pair.key.clone()];
        found.push(Found { at, name: pair.key.clone(), project: None, entry: Entry::Other { reason } });
    }
}

fn entry(node: &Node, keys: &Keys) -> Entry {
    match try_entry(node, keys) {
        Ok(entry) => entry,
        Err(reason) => Entry::Other { reason },
    }
}

fn try_entry(node: &Node, keys: &Keys) -> Result<Entry, String> {
    if node.is_linked() {
        return Err("it uses an anchor, an alias or a tag of YAML, which hub does not follow".to_owned());
    }
    if node.pairs().is_none() {
        return Err(format!("the entry is {}, not a table of keys", node.kind()));
    }
    if let Some(own) = node.get("type").and_then(Node::text).filter(|own| keys.own_types.contains(own)) {
        return Err(format!("`type` is `{own}`: the client's own, not an MCP server"));
    }
    if matches!(node.get("bundled"), Some(Node { value: Value::Bool(true), .. })) {
        return Err("it is bundled with the client".to_owned());
    }
    let url = URL_KEYS.iter().find_map(|key| node.get(key).map(|value| (*key, value)));
    let command = node.get(keys.command).filter(|command| !matches!(command.value, Value::Null));
    match (command, url) {
        (Some(_), Some((key, _))) => Err(format!("it has both `{}` and `{key}`", keys.command)),
        (Some(command), None) => stdio(node, command, keys).map(Entry::Stdio),
        (None, Some((_, Node { value: Value::Text(url), .. }))) if !url.trim().is_empty() => {
            Ok(Entry::Remote { url: url.clone() })
        }
        (None, Some((key, Node { value: Value::Text(_), .. }))) => Err(format!("`{key}` is empty")),
        (None, Some((key, value))) => Err(format!("`{key}` is {}, not text", value.kind())),
        (None, None) if node.get("link").is_some() => {
            Err(format!("it has a `link`, and neither `{}` nor `url`", keys.command))
        }
        (None, None) => Err(format!("it has neither `{}` nor `url`", keys.command)),
    }
}

fn stdio(node: &Node, command: &Node, keys: &Keys) -> Result<Stdio, String> {
    let name = keys.command;
    // Old Zed: command = {path, args, env}.
    let (program, holder, args_key, env_key) = match &command.value {
        Value::Map(_) => (command.get("path").ok_or(format!("`{name}` has no `path`"))?, command, "args", "env"),
        _ => (command, node, keys.args, keys.env),
    };
    let (program, mut args) = match &program.value {
        Value::Text(program) => (program.clone(), Vec::new()),
        Value::List(_) => {
            let mut words = texts(program, name)?;
            if words.is_empty() {
                return Err(format!("`{name}` is empty"));
            }
            (words.remove(0), words)
        }
        _ => return Err(format!("`{name}` is {}, not text", program.kind())),
    };
    if program.trim().is_empty() {
        return Err(format!("`{name}` is empty"));
    }
    if let Some(more) = present(holder, args_key) {
        args.extend(texts(more, args_key)?);
    }
    if let Some(key) = keys.keyring_env
        && let Some(names) = present(node, key)
        && !texts(names, key)?.is_empty()
    {
        return Err(format!("`{key}` names secrets that lie in the client's keyring, out of hub's reach"));
    }
    let passed_env = match keys.passed_env.and_then(|key| present(node, key).map(|value| (key, value))) {
        Some((key, value)) => texts(value, key)?,
        None => Vec::new(),
    };
    Ok(Stdio {
        command: program,
        args,
        env: env(holder, env_key)?,
        env_file: text(node, "envFile")?,
        cwd: text(node, keys.cwd)?,
        enabled: !keys.switches || enabled(node)?,
        timeout: timeout(node, keys),
        passed_env,
    })
}

/// The value of a key, unless it is null: all clients take that for absent.
fn present<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    node.get(key).filter(|value| !matches!(value.value, Value::Null))
}

fn text(node: &Node, key: &str) -> Result<Option<String>, String> {
    match present(node, key) {
        None => Ok(None),
        Some(Node { value: Value::Text(text), .. }) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(other) => Err(format!("`{key}` is {}, not text", other.kind())),
    }
}

fn texts(node: &Node, key: &str) -> Result<Vec<String>, String> {
    let Value::List(items) = &node.value else {
        return Err(format!("`{key}` is {}, not a list of texts", node.kind()));
    };
    let text = |(index, item): (usize, &Node)| match item.text() {
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("item {} of `{key}` is {}, not text", index + 1, item.kind())),
    };
    items.iter().enumerate().map(text).collect()
}

fn env(node: &Node, key: &str) -> Result<Vec<(String, String)>, String> {
    let Some(table) = present(node, key) else { return Ok(Vec::new()) };
    let Some(pairs) = table.pairs() else {
        return Err(format!("`{key}` is {}, not a table of texts", table.kind()));
    };
    let one = |pair: &Pair| match pair.value.text() {
        Some(text) => Ok((pair.key.clone(), text.to_owned())),
        None => Err(format!("`{key}.{}` is {}, not text", pair.key, pair.value.kind())),
    };
    last_ones(pairs).map(one).collect()
}

fn enabled(node: &Node) -> Result<bool, String> {
    let flag = |key: &str| match present(node, key).map(|value| (&value.value, value)) {
        None => Ok(None),
        Some((Value::Bool(is), _)) => Ok(Some(*is)),
        Some((_, other)) => Err(format!("`{key}` is {}, not true or false", other.kind())),
    };
    Ok(flag("enabled")?.unwrap_or(true) && !flag("disabled")?.unwrap_or(false))
}

/// A timeout that makes no sense is the client's to complain about.
fn timeout(node: &Node, keys: &Keys) -> Option<Duration> {
    let (key, unit) = keys.timeout?;
    let Value::Number(number) = &node.get(key)?.value else { return None };
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)?;
    let seconds = match unit {
        Unit::Millis => number / 1000.0,
        Unit::Seconds => number,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

//! A document of any format as one kind of tree, with positions.
//!
//! In: what a format's parser found. Out: [`Node`]. Owns no state. May not: know a format's grammar, or a client.

use std::ops::Range;

/// What YAML ties to another place, in the words of a reason.
pub(super) const LINKED: &str = "a value with an anchor, an alias or a tag";

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Bytes of the text. Only JSON and YAML have it for every node; in TOML a table may stand in many places.
    pub span: Range<usize>,
    pub value: Value,
}

/// A value of any format.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; a key may be there twice, then the last one counts.
    Map(Vec<Pair>),
    /// Something that the other formats do not have (a date, an alias), in words, with what it says.
    Odd(&'static str, String),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub key: String,
    /// Bytes of the key, with its quotes.
    pub key_span: Range<usize>,
    pub value: Node,
}

// === impl Node ===

impl Node {
    /// The value of a key; of the last one if it is there twice, as all JSON clients see it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.pairs()?.iter().rev().find(|pair| pair.key == key).map(|pair| &pair.value)
    }

    pub(super) fn pairs(&self) -> Option<&[Pair]> {
        if let Value::Map(pairs) = &self.value { Some(pairs) } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The value at a path of keys; in a list a key is the number of the item.
    pub(super) fn at(&self, path: &[String]) -> Option<&Node> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        let next = match &self.value {
            Value::List(items) => items.get(first.parse::<usize>().ok()?)?,
            _ => self.get(first)?,
        };
        next.at(rest)
    }

    /// The same, to be changed.
    pub(super) fn at_mut(&mut self, path: &[String]) -> Option<&mut Node> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        let next = match &mut self.value {
            Value::Map(pairs) => &mut pairs.iter_mut().rev().find(|pair| pair.key == *first)?.value,
            Value::List(items) => items.get_mut(first.parse::<usize>().ok()?)?,
            _ => return None,
        };
        next.at_mut(rest)
    }

    /// Where each of its items stands, with its key; `end` says where a pair ends.
    pub(super) fn items(&self, end: impl Fn(&Pair) -> usize) -> Vec<Range<usize>> {
        match &self.value {
            Value::Map(pairs) => pairs.iter().map(|pair| pair.key_span.start..end(pair)).collect(),
            Value::List(items) => items.iter().map(|item| item.span.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// What it is, for a sentence: "a number".
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a table",
            Value::Odd(what, _) => what,
        }
    }

    /// Whether something in it is tied to another place of the document.
    pub(super) fn is_linked(&self) -> bool {
        match &self.value {
            Value::Odd(what, _) => *what == LINKED,
            Value::List(items) => items.iter().any(Self::is_linked),
            Value::Map(pairs) => pairs.iter().any(|pair| pair.value.is_linked()),
            _ => false,
        }
    }

    /// Whether two trees say the same, wherever it stands.
    pub(super) fn same(&self, other: &Node) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Number(a), Value::Number(b)) | (Value::Text(a), Value::Text(b)) => a == b,
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key == b.key && a.value.same(&b.value))
            }
            (Value::Odd(a, says), Value::Odd(b, other)) => a == b && says == other,
            _ => false,
        }
    }

    /// Puts the keys of all tables in order.
    pub(super) fn sort(&mut self) {
        match &mut self.value {
            Value::Map(pairs) => {
                pairs.sort_by(|one, other| one.key.cmp(&other.key));
                pairs.iter_mut().for_each(|pair| pair.value.sort());
            }
            Value::List(items) => items.iter_mut().for_each(Self::sort),
            _ => {}
        }
    }

    /// The same value as the table and the callers write it.
    pub(super) fn from_json(value: &serde_json::Value) -> Self {
        let value = match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(is) => Value::Bool(*is),
            serde_json::Value::Number(number) => Value::Number(number.to_string()),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => Value::List(items.iter().map(Self::from_json).collect()),
            serde_json::Value::Object(map) => Value::Map(
                map.iter()
                    .map(|(key, value)| Pair { key: key.clone(), key_span: 0..0, value: Self::from_json(value) })
                    .collect(),
            ),
        };
        Self { span: 0..0, value }
    }
}

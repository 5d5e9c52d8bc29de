//! Changing entries in a text, and the proof that nothing else changed.
//!
//! In: a text, where its entries are, what they shall be. Out: [`Edit`] and its parts; the comparison of a document
//! before and after. Owns no state. May not: know a format's grammar.

use serde_json::Value as Json;

use super::node::{Node, Pair, Value};

/// One change of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// Which entry: [`crate::clients::Found::at`], or for [`Act::Insert`] the path of the new one.
    pub at: Vec<String>,
    /// What becomes of it.
    pub act: Act,
}

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Its keys are set and dropped as told; all others, their order and every comment stay.
    Put(Fields),
    /// It goes, with its name; comments around it stay.
    Remove,
    /// It is made, after the last entry of its table; tables on the way that do not exist are made too, also in an
    /// empty text. Into lists (Continue) nothing is inserted.
    Insert(Vec<(String, Json)>),
}

/// What shall be in an entry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields {
    /// Keys that shall have these values, whatever they have now.
    pub set: Vec<(String, Json)>,
    /// Keys that shall have these values if they are absent.
    pub defaults: Vec<(String, Json)>,
    /// Keys that shall be absent. Those of `set` win.
    pub drop: Vec<String>,
}

/// Why a text cannot be changed. The text is then as good as it was: nothing was returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It cannot be read in the first place.
    #[error(transparent)]
    Unreadable(#[from] super::Unreadable),
    /// There is no such entry.
    #[error("there is no `{0}`")]
    Absent(String),
    /// There is such an entry already.
    #[error("there is a `{0}` already")]
    Present(String),
    /// Something on the way to the entry, or the entry, is not a table.
    #[error("`{0}` is not a table")]
    NotATable(String),
    /// The entry is written in a way that cannot be edited safely.
    #[error("`{at}` {why}")]
    Unsafe {
        /// The entry.
        at: String,
        /// In words, after its name.
        why: String,
    },
    /// The result would not say what it should, which is a bug of hub. Nothing is lost: it was noticed in time.
    #[error("changing `{0}` would damage the file; nothing was changed")]
    Damaged(String),
}

// === impl Edit ===

impl Edit {
    /// The path as a person reads it.
    pub(super) fn place(&self) -> String {
        self.at.join(".")
    }
}

/// The edits in an order in which the path of each is right when its turn comes.
pub(super) fn in_order(edits: &[Edit]) -> Result<Vec<&Edit>, EditError> {
    let mut ordered: Vec<&Edit> = edits.iter().collect();
    let turn = |edit: &Edit| match edit.act {
        Act::Put(_) => 0,
        Act::Remove => 1,
        Act::Insert(_) => 2,
    };
    // Later items of a list are removed first; the rest stays as it came.
    let number = |edit: &Edit| edit.at.last().and_then(|last| last.parse::<u64>().ok()).unwrap_or(0);
    ordered.sort_by_key(|edit| (turn(edit), if edit.act == Act::Remove { u64::MAX - number(edit) } else { 0 }));
    for (index, edit) in ordered.iter().enumerate() {
        if ordered[..index].iter().any(|other| other.at == edit.at) {
            return Err(EditError::Unsafe { at: edit.place(), why: "is named twice".to_owned() });
        }
    }
    Ok(ordered)
}

// === impl Fields ===

impl Fields {
    /// What shall be said that is not said yet: all of `set`, and the defaults that are absent.
    pub(super) fn wanted<'a>(&'a self, entry: &Node) -> Vec<&'a (String, Json)> {
        let absent =
            |pair: &&(String, Json)| entry.get(&pair.0).is_none() && self.set.iter().all(|set| set.0 != pair.0);
        self.set.iter().chain(self.defaults.iter().filter(absent)).collect()
    }

    /// Whether a key goes.
    pub(super) fn drops(&self, key: &str) -> bool {
        self.drop.iter().any(|drop| drop == key) && !self.set.iter().any(|set| set.0 == key)
    }
}

/// Whether a document says after an edit what it should, and nothing else is different.
pub(super) fn proved(before: &Node, after: &Node, edit: &Edit) -> bool {
    match &edit.act {
        Act::Put(fields) => put_at(before, after, &edit.at, fields),
        Act::Remove => removed(before, after, &edit.at),
        Act::Insert(pairs) => with(before, &edit.at, pairs).is_some_and(|expected| expected.same(after)),
    }
}

/// In TOML a table goes with the last header that names it.
fn removed(before: &Node, after: &Node, at: &[String]) -> bool {
    let Some((_, parent)) = at.split_last() else { return false };
    without(before, at).is_some_and(|expected| expected.same(after))
        || before.at(parent).and_then(Node::pairs).is_some_and(|pairs| pairs.len() == 1)
            && removed(before, after, parent)
}

fn put_at(before: &Node, after: &Node, at: &[String], fields: &Fields) -> bool {
    let Some((first, rest)) = at.split_first() else { return put(before, after, fields) };
    match (&before.value, &after.value) {
        (Value::Map(old), Value::Map(new)) => {
            let Some(here) = old.iter().rposition(|pair| pair.key == *first) else { return false };
            old.len() == new.len()
                && old.iter().zip(new).enumerate().all(|(index, (old, new))| {
                    old.key == new.key
                        && if index == here {
                            put_at(&old.value, &new.value, rest, fields)
                        } else {
                            old.value.same(&new.value)
                        }
                })
        }
        (Value::List(old), Value::List(new)) => {
            old.len() == new.len()
                && old.iter().zip(new).enumerate().all(|(index, (old, new))| {
                    if index.to_string() == *first { put_at(old, new, rest, fields) } else { old.same(new) }
                })
        }
        _ => false,
    }
}

fn put(before: &Node, after: &Node, fields: &Fields) -> bool {
    let (Some(old), Some(new)) = (before.pairs(), after.pairs()) else { return false };
    let wanted = fields.wanted(before);
    let other = |pair: &&Pair| !fields.drops(&pair.key) && wanted.iter().all(|wanted| wanted.0 != pair.key);
    let (old, kept): (Vec<_>, Vec<_>) = (old.iter().filter(other).collect(), new.iter().filter(other).collect());
    old.len() == kept.len()
        && old.iter().zip(&kept).all(|(old, new)| old.key == new.key && old.value.same(&new.value))
        && new.len() == kept.len() + wanted.len()
        && wanted.iter().all(|(key, value)| after.get(key).is_some_and(|is| is.same(&Node::from_json(value))))
}

/// The document without an entry, or `None` if there is none.
pub(super) fn without(node: &Node, at: &[String]) -> Option<Node> {
    let (first, rest) = at.split_first()?;
    let mut node = node.clone();
    match &mut node.value {
        Value::Map(pairs) if rest.is_empty() => {
            let count = pairs.len();
            pairs.retain(|pair| pair.key != *first);
            (pairs.len() < count).then_some(())?;
        }
        Value::Map(pairs) => {
            let pair = pairs.iter_mut().rev().find(|pair| pair.key == *first)?;
            pair.value = without(&pair.value, rest)?;
        }
        Value::List(items) => {
            let index = first.parse::<usize>().ok().filter(|index| *index < items.len())?;
            if rest.is_empty() {
                items.remove(index);
            } else {
                items[index] = without(&items[index], rest)?;
            }
        }
        _ => return None,
    }
    Some(node)
}

/// The document with another value at a path that exists.
pub(super) fn with_value(node: &Node, at: &[String], value: &Node) -> Option<Node> {
    let Some((first, rest)) = at.split_first() else { return Some(value.clone()) };
    let mut node = node.clone();
    let inner = match &mut node.value {
        Value::Map(pairs) => &mut pairs.iter_mut().rev().find(|pair| pair.key == *first)?.value,
        Value::List(items) => items.get_mut(first.parse::<usize>().ok()?)?,
        _ => return None,
    };
    *inner = with_value(inner, rest, value)?;
    Some(node)
}

/// The document with a new entry.
fn with(node: &Node, at: &[String], pairs: &[(String, Json)]) -> Option<Node> {
    let (first, rest) = at.split_first()?;
    let mut node = node.clone();
    if matches!(node.value, Value::Null) {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(own) = &mut node.value else { return None };
    match own.iter_mut().rev().find(|pair| pair.key == *first) {
        Some(_) if rest.is_empty() => return None,
        Some(pair) => pair.value = with(&pair.value, rest, pairs)?,
        None => own.push(Pair { key: first.clone(), key_span: 0..0, value: Node::from_json(&nested(rest, pairs)) }),
    }
    Some(node)
}

/// A table of these pairs, in tables of these keys.
pub(super) fn nested(at: &[String], pairs: &[(String, Json)]) -> Json {
    let inner = Json::Object(pairs.iter().cloned().collect());
    at.iter().rev().fold(inner, |inner, key| Json::Object(std::iter::once((key.clone(), inner)).collect()))
}

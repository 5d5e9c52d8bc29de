//! The proof that a change of a text changed what it should, and nothing else.
//!
//! In: a document before and after, and the edits between the two. Out: a verdict. Owns no state. May not: know a format's
//! grammar.

use serde_json::Value as Json;

use super::edit::{Act, Document, Edit, Fields};
use super::node::{Node, Pair, Value};

/// Whether a document says after these edits what it should, and nothing else is different. Their paths are those of
/// `before`, and each is right when its turn comes.
pub(super) fn proved<D: Document>(before: &Node, after: &Node, edits: &[&Edit]) -> bool {
    let mut expected = before.clone();
    let made = edits.iter().all(|edit| match &edit.act {
        Act::Put(fields) => put(&mut expected, after, &edit.at, fields),
        Act::Remove => remove(&mut expected, &edit.at),
        Act::Insert(pairs) => insert(&mut expected, &edit.at, pairs),
    });
    for edit in edits.iter().filter(|edit| edit.act == Act::Remove) {
        let parents = (1..edit.at.len()).rev().map(|depth| &edit.at[..depth]);
        // In TOML a table goes with the last header that names it.
        for parent in parents.take_while(|parent| after.at(parent).is_none()) {
            if expected.at(parent).and_then(Node::pairs).is_some_and(<[Pair]>::is_empty) {
                remove(&mut expected, parent);
            }
        }
    }
    made && is_same::<D>(expected, after)
}

/// Whether a document says what is expected.
pub(super) fn is_same<D: Document>(mut expected: Node, is: &Node) -> bool {
    if D::ORDER_COUNTS {
        return expected.same(is);
    }
    let mut is = is.clone();
    expected.sort();
    is.sort();
    expected.same(&is)
}

/// Takes over an entry that was changed as it should.
fn put(expected: &mut Node, after: &Node, at: &[String], fields: &Fields) -> bool {
    let (Some(old), Some(new)) = (expected.at_mut(at), after.at(at)) else { return false };
    let is_right = is_put(old, new, fields);
    *old = new.clone();
    is_right
}

fn is_put(before: &Node, after: &Node, fields: &Fields) -> bool {
    let (Some(old), Some(new)) = (before.pairs(), after.pairs()) else { return false };
    let wanted = fields.wanted(before);
    let other = |pair: &&Pair| !fields.drops(&pair.key) && wanted.iter().all(|wanted| wanted.0 != pair.key);
    let (old, kept): (Vec<_>, Vec<_>) = (old.iter().filter(other).collect(), new.iter().filter(other).collect());
    old.len() == kept.len()
        && old.iter().zip(&kept).all(|(old, new)| old.key == new.key && old.value.same(&new.value))
        && new.len() == kept.len() + wanted.len()
        && wanted.iter().all(|(key, value)| after.get(key).is_some_and(|is| is.same(&Node::from_json(value))))
}

/// Takes a value out; `false` if there is none.
fn remove(node: &mut Node, at: &[String]) -> bool {
    let Some((name, parent)) = at.split_last() else { return false };
    match node.at_mut(parent).map(|parent| &mut parent.value) {
        Some(Value::Map(pairs)) => {
            let count = pairs.len();
            pairs.retain(|pair| pair.key != *name);
            pairs.len() < count
        }
        Some(Value::List(items)) => {
            let index = name.parse::<usize>().ok().filter(|index| *index < items.len());
            index.map(|index| items.remove(index)).is_some()
        }
        _ => false,
    }
}

/// Adds an entry, and the tables on its way; `false` if there is one.
fn insert(node: &mut Node, at: &[String], pairs: &[(String, Json)]) -> bool {
    let Some((first, rest)) = at.split_first() else { return false };
    if matches!(node.value, Value::Null) {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(own) = &mut node.value else { return false };
    if let Some(pair) = own.iter_mut().rev().find(|pair| pair.key == *first) {
        return insert(&mut pair.value, rest, pairs);
    }
    let inner = Json::Object(pairs.iter().cloned().collect());
    let value = rest.iter().rev().fold(inner, |inner, key| Json::Object([(key.clone(), inner)].into_iter().collect()));
    own.push(Pair { key: first.clone(), key_span: 0..0, value: Node::from_json(&value) });
    true
}

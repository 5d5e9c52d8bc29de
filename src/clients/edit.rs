//! Changing entries in a text, and putting them back: the same for all formats.
//!
//! In: a text of a format, which of its entries change, and how. Out: [`Edit`] and its parts; the changed text, proved.
//! Owns no state. May not: know a format's grammar, or read a text once for each edit of it.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::{Map, Value as Json};

use super::Unreadable;
use super::node::{Node, Pair};
use super::proof::{is_same, proved};
use super::splice::{Layout, Splices};

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
    Unreadable(#[from] Unreadable),
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

// === the formats ===

/// A text that was read.
pub(super) struct Tree {
    pub text: String,
    pub root: Node,
    pub layout: Layout,
}

/// A text of one format: what can be changed in it, and how that is written. All that is asked of one text at once is
/// independent of each other.
pub(super) trait Document: Sized {
    /// Whether a table that only inserted entries needed is taken out with them as a whole.
    const TABLES_GO: bool = false;

    /// Whether the order of keys says something. In TOML it changes with the first table that names a key.
    const ORDER_COUNTS: bool = true;

    /// Reads it.
    fn read(text: String) -> Result<Self, Unreadable>;

    /// What was read.
    fn tree(&self) -> &Tree;

    /// Sets and drops keys of an entry.
    fn put(&self, edit: &Edit, entry: &Node, fields: &Fields, splices: &mut Splices) -> Result<(), EditError>;

    /// Takes entries out of a table or a list; all of them are in it.
    fn remove(&self, from: &[String], names: &[&str], splices: &mut Splices) -> Result<(), EditError>;

    /// Adds entries whose way is there down to `to`, and not below.
    fn insert(&self, to: &[String], new: &[New<'_>], splices: &mut Splices) -> Result<(), EditError>;

    /// Where entries stand in this text, and in another one where they are as they shall be: first here, then there.
    fn parts(&self, other: &Self, at: &[&[String]]) -> Result<Parts, EditError>;
}

/// Pieces of two texts that stand for each other.
pub(super) type Parts = Vec<(Range<usize>, Range<usize>)>;

/// An entry to be made: its path and its pairs.
pub(super) type New<'a> = (&'a [String], &'a [(String, Json)]);

/// What new entries are below the first `depth` keys of their paths: one table, with all tables on the way.
pub(super) fn nested(new: &[New<'_>], depth: usize) -> Map<String, Json> {
    let mut top = Map::new();
    for (at, pairs) in new {
        let mut table = &mut top;
        for key in &at[depth..] {
            let inner = table.entry(key.clone()).or_insert_with(|| Json::Object(Map::new()));
            table = inner.as_object_mut().expect("made here, as the paths of new entries lead to no values");
        }
        table.extend(pairs.iter().cloned());
    }
    top
}

// === all edits of a text ===

/// See [`super::edit()`].
pub(super) fn edit<D: Document>(text: &str, edits: &[Edit]) -> Result<String, EditError> {
    let mut document = D::read(text.to_owned())?;
    for round in rounds(edits)? {
        document = changed(&document, &round)?;
    }
    Ok(document.tree().text.clone())
}

/// The edits in an order in which the path of each is right when its turn comes, in rounds that can be made at once: all
/// of one kind, and no entry within another.
fn rounds(edits: &[Edit]) -> Result<Vec<Vec<&Edit>>, EditError> {
    let mut ordered: Vec<&Edit> = edits.iter().collect();
    let turn = |edit: &Edit| match edit.act {
        Act::Put(_) => 0,
        Act::Remove => 1,
        Act::Insert(_) => 2,
    };
    // Later items of a list are removed first; the rest stays as it came.
    let number = |edit: &Edit| edit.at.last().and_then(|last| last.parse::<u64>().ok()).unwrap_or(0);
    ordered.sort_by_key(|edit| (turn(edit), if edit.act == Act::Remove { u64::MAX - number(edit) } else { 0 }));
    let mut named = HashSet::new();
    if let Some(twice) = ordered.iter().find(|edit| !named.insert(&edit.at)) {
        return Err(EditError::Unsafe { at: twice.place(), why: "is named twice".to_owned() });
    }
    let mut rounds: Vec<Vec<&Edit>> = Vec::new();
    // The entries of the last round, and all that is around them.
    let (mut entries, mut around) = (HashSet::new(), HashSet::new());
    for edit in ordered {
        let outer: Vec<&[String]> = (0..edit.at.len()).map(|depth| &edit.at[..depth]).collect();
        let nests = around.contains(&edit.at[..]) || outer.iter().any(|outer| entries.contains(outer));
        match rounds.last_mut() {
            Some(round) if !nests && turn(round[0]) == turn(edit) => round.push(edit),
            _ => {
                (entries, around) = (HashSet::new(), HashSet::new());
                rounds.push(vec![edit]);
            }
        }
        entries.insert(&edit.at[..]);
        around.extend(outer);
    }
    Ok(rounds)
}

/// One round of edits, proved. What goes wrong at once is tried in halves: at the end it is known which edit it was.
fn changed<D: Document>(document: &D, round: &[&Edit]) -> Result<D, EditError> {
    let tried = splices(document, round)?.apply(&document.tree().text).and_then(|text| D::read(text).ok());
    match tried.filter(|after| proved::<D>(&document.tree().root, &after.tree().root, round)) {
        Some(after) => Ok(after),
        None if round.len() > 1 => {
            let (first, rest) = round.split_at(round.len() / 2);
            changed(&changed(document, first)?, rest)
        }
        None => Err(EditError::Damaged(round.iter().map(|edit| edit.place()).collect())),
    }
}

fn splices<D: Document>(document: &D, round: &[&Edit]) -> Result<Splices, EditError> {
    let mut splices = Splices::default();
    let root = &document.tree().root;
    let (mut removed, mut inserted) = (Tables::default(), Tables::default());
    for edit in round {
        match (&edit.act, root.at(&edit.at)) {
            (Act::Insert(_), Some(_)) => return Err(EditError::Present(edit.place())),
            (Act::Insert(pairs), None) => {
                let depth = (0..edit.at.len()).rev().find(|depth| root.at(&edit.at[..*depth]).is_some());
                inserted.add(&edit.at[..depth.unwrap_or(0)], (edit.at.as_slice(), pairs.as_slice()));
            }
            (_, None) => return Err(EditError::Absent(edit.place())),
            (Act::Put(fields), Some(entry)) => {
                if entry.pairs().is_none() {
                    return Err(EditError::NotATable(edit.place()));
                }
                document.put(edit, entry, fields, &mut splices)?;
            }
            (Act::Remove, Some(_)) => {
                let (name, table) = edit.at.split_last().ok_or_else(|| EditError::Absent(edit.place()))?;
                removed.add(table, name.as_str());
            }
        }
    }
    for (table, names) in removed.0 {
        document.remove(table, &names, &mut splices)?;
    }
    for (table, new) in inserted.0 {
        document.insert(table, &new, &mut splices)?;
    }
    Ok(splices)
}

/// What is done to each table, in the order in which they are first named.
struct Tables<'a, T>(Vec<(&'a [String], Vec<T>)>);

impl<T> Default for Tables<'_, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, T> Tables<'a, T> {
    fn add(&mut self, table: &'a [String], what: T) {
        match self.0.iter_mut().find(|(known, _)| *known == table) {
            Some((_, all)) => all.push(what),
            None => self.0.push((table, vec![what])),
        }
    }
}

// === entries as they were ===

/// See [`super::restore`].
pub(super) fn restore<D: Document>(text: &str, original: &str, at: &[Vec<String>]) -> Result<String, EditError> {
    let (now, then) = (D::read(text.to_owned())?, D::read(original.to_owned())?);
    let absent = at.iter().find(|at| now.tree().root.at(at).is_none());
    if let Some(absent) = absent {
        return Err(EditError::Absent(absent.join(".")));
    }
    let (back, gone): (Vec<&[String]>, Vec<&[String]>) =
        at.iter().map(Vec::as_slice).partition(|at| then.tree().root.at(at).is_some());
    let restored = if back.is_empty() { now } else { put_back(&now, &then, &back)? };
    let gone: Vec<Edit> =
        whole(&restored, &then, &gone).into_iter().map(|at| Edit { at: at.to_vec(), act: Act::Remove }).collect();
    edit::<D>(&restored.tree().text, &gone)
}

fn put_back<D: Document>(now: &D, then: &D, at: &[&[String]]) -> Result<D, EditError> {
    let mut splices = Splices::default();
    for (here, there) in now.parts(then, at)? {
        splices.replace(here, then.tree().text[there].replace("\r\n", "\n").replace('\n', now.tree().layout.newline));
    }
    let mut expected = now.tree().root.clone();
    for at in at {
        if let (Some(is), Some(was)) = (expected.at_mut(at), then.tree().root.at(at)) {
            *is = was.clone();
        }
    }
    let restored = splices.apply(&now.tree().text).and_then(|text| D::read(text).ok());
    let restored = restored.filter(|restored| is_same::<D>(expected, &restored.tree().root));
    restored.ok_or_else(|| EditError::Damaged(at.iter().map(|at| at.join(".")).collect::<Vec<_>>().join(", ")))
}

/// What goes when these entries go: tables that are not in the original and hold nothing else go with them.
fn whole<'a, D: Document>(now: &D, then: &D, gone: &[&'a [String]]) -> Vec<&'a [String]> {
    fn goes(table: &Node, path: &[String], gone: &HashSet<&[String]>) -> bool {
        let inner = |pair: &Pair| goes(&pair.value, &[path, std::slice::from_ref(&pair.key)].concat(), gone);
        gone.contains(path) || table.pairs().is_some_and(|pairs| !pairs.is_empty() && pairs.iter().all(inner))
    }
    if !D::TABLES_GO {
        return gone.to_vec();
    }
    let named: HashSet<&[String]> = gone.iter().copied().collect();
    let is_whole = |path: &[String]| {
        then.tree().root.at(path).is_none() && now.tree().root.at(path).is_some_and(|table| goes(table, path, &named))
    };
    let mut seen = HashSet::new();
    let widest = |at: &&'a [String]| (1..at.len()).map(|depth| &at[..depth]).find(|path| is_whole(path)).unwrap_or(at);
    gone.iter().map(widest).filter(|at| seen.insert(*at)).collect()
}

//! Changing entries in a text, and the proof that nothing else changed.
//!
//! In: a text, where its entries are, what they shall be. Out: [`Edit`] and its parts; splices applied; the comparison of
//! a document before and after. Owns no state. May not: know a format's grammar.

use std::ops::Range;

use serde_json::Value as Json;

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
    /// It is made, after the last entry of its table; tables on the way that do not exist are made too. Also in an
    /// empty text. Only JSON so far.
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

//! Other programs' config files: which clients there are, where their files lie, what an entry means, how it is
//! edited. PURE.
//!
//! In: the text of a file and what is known of its client. Out: the entries it holds; the text with entries changed
//! and everything else kept. Owns nothing. May not: open a file, read the environment, or print.
//!
//! The order of use: [`CLIENTS`] and [`Place::path`] say which files to open, [`decode`] makes text of bytes, [`read`]
//! finds the entries, [`to_hub`] says each text of an entry in the words of hub.toml, [`hub_entry`] makes what the entry
//! shall be, [`edit()`] writes it.

mod braces;
mod client;
mod edit;
mod entry;
mod expansion;
mod form;
mod json;
mod node;
mod proof;
mod splice;
mod table;
mod toml;
mod yaml;
mod yaml_tree;

#[cfg(test)]
mod tests;

pub use client::{
    Base, Bases, Client, Entries, Expansion, Format, HttpForm, Keys, Literal, Place, Scope, Shape, Unit, client, guess,
    matches,
};
pub use edit::{Act, Edit, EditError, Fields};
pub use entry::{Entry, Found, Reading, Rejected, Stdio};
pub use expansion::{Around, Reason, to_hub};
pub use form::{Program, Target, export, hub_entry, new_entry};
pub use table::CLIENTS;

/// Why nothing can be said of a file. Quotes nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Its bytes are not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// It breaks the grammar of its format.
    #[error("line {line}: {what}")]
    Syntax {
        /// From 1.
        line: usize,
        /// In words.
        what: String,
    },
    /// Something that should hold entries is no table of them.
    #[error("{} is {kind}, where a table of servers belongs", if key.is_empty() { "the whole file".to_owned() } else { format!("`{key}`") })]
    Shape {
        /// Path of the key, with dots; empty for the whole document.
        key: String,
        /// What it is.
        kind: &'static str,
    },
}

/// The text of a file. Nothing is replaced and a byte order mark stays, so the bytes of the text are those of the file.
pub fn decode(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_not_utf8| Unreadable::NotText)
}

/// The entries of a text. A text without any (an empty one, settings of other things) has none, and is no error. Never
/// panics, whatever the text.
pub fn read(text: &str, shape: &Shape) -> Result<Reading, Unreadable> {
    let root = parse(text, shape)?;
    let rejected = if shape.format == Format::Json { json::rejected(text) } else { None };
    Ok(Reading { found: entry::read(&root, shape)?, rejected })
}

/// The text with entries changed: all edits, or an error and none. Each entry may be named once.
///
/// Outside of the edited entries every byte is as before; within them comments, other keys and their order stay. It is
/// proved before it is returned: the result is read again and everything else in it says what it said. How often the text
/// is read does not depend on how many edits there are.
pub fn edit(text: &str, shape: &Shape, edits: &[Edit]) -> Result<String, EditError> {
    match shape.format {
        Format::Json | Format::Jsonc => edit::edit::<json::JsonText>(text, edits),
        Format::Toml => edit::edit::<toml::TomlText>(text, edits),
        Format::Yaml => edit::edit::<yaml::YamlText>(text, edits),
    }
}

/// The text with these entries as they were in `original`, to the byte; gone, if they were not there. For an undo of
/// single entries in a file that others have written since. Tables that only an [`Act::Insert`] needed go with their last
/// entry.
pub fn restore(text: &str, original: &str, shape: &Shape, at: &[Vec<String>]) -> Result<String, EditError> {
    match shape.format {
        Format::Json | Format::Jsonc => edit::restore::<json::JsonText>(text, original, at),
        Format::Toml => edit::restore::<toml::TomlText>(text, original, at),
        Format::Yaml => edit::restore::<yaml::YamlText>(text, original, at),
    }
}

fn parse(text: &str, shape: &Shape) -> Result<node::Node, Unreadable> {
    match shape.format {
        Format::Json | Format::Jsonc => json::parse(text),
        Format::Toml => toml::parse(text),
        Format::Yaml => yaml::parse(text),
    }
}

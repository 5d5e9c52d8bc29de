//! A client's placeholders in the words of hub.toml.
//!
//! In: a text of an entry, and how its client expands. Out: the same as hub expands it: `${VAR}`, `${VAR:-default}`,
//! `${file:PATH}`, and `$${` for a literal `${`. Owns no state. May not: look anything up.

use super::client::Expansion;

/// What a text is part of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Around<'a> {
    /// The folder of the project that the file belongs to; none for a user's file.
    pub project: Option<&'a str>,
}

/// Why a text has no equal in hub.toml. For a person; names the placeholder, which is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Reason(pub String);

/// The text as hub.toml says it.
pub fn to_hub(text: &str, expansion: Expansion, around: Around<'_>) -> Result<String, Reason> {
    let _ = (expansion, around);
    Ok(text.replace("${", "$${"))
}

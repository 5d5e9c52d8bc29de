//! The name of a server: the key under `[servers]`.
//!
//! In: text. Out: a [`ServerName`] that is safe in a URL path, a file name, a tool prefix and a terminal. Owns no
//! state. May not: make the alias of the aggregate endpoint (that room does).

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::SERVER_NAME_BYTES_MAX;

/// A valid server name: 1 to 64 of `[A-Za-z0-9_-]`, not starting with `-` (it would read as an option). Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName(Arc<str>);

/// Why a text is not a [`ServerName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing at all.
    #[error("a server name cannot be empty")]
    Empty,
    /// Longer than [`SERVER_NAME_BYTES_MAX`].
    #[error("a server name has at most {SERVER_NAME_BYTES_MAX} characters")]
    TooLong,
    /// A leading `-`.
    #[error("a server name cannot start with `-`")]
    LeadingDash,
    /// A character outside `[A-Za-z0-9_-]`.
    #[error("a server name has only letters, digits, `_` and `-`")]
    Character,
}

// === impl ServerName ===

impl ServerName {
    /// Checks the rules of [`ServerName`].
    pub fn new(text: &str) -> Result<Self, BadName> {
        if text.is_empty() {
            return Err(BadName::Empty);
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(BadName::Character);
        }
        if text.len() > SERVER_NAME_BYTES_MAX {
            return Err(BadName::TooLong);
        }
        if text.starts_with('-') {
            return Err(BadName::LeadingDash);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for ServerName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ServerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ServerName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::new(text)
    }
}

impl Serialize for ServerName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ServerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// What to do about a name that hub.toml does not have: the nearest of those that it has, or all of them.
pub fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let near = known.iter().map(|known| (strsim::jaro_winkler(name, known), known));
    match near.filter(|(score, _)| *score > 0.8).max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((_, nearest)) => format!("did you mean `{nearest}`?"),
        None if known.is_empty() => "hub.toml has no servers".to_owned(),
        None => format!("servers are: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_hold_at_their_edges() {
        for good in ["a", "_", "GitHub", "my-server_2", "0", &"x".repeat(64)] {
            assert_eq!(ServerName::new(good).expect(good).as_str(), good);
        }
        assert_eq!(ServerName::new(""), Err(BadName::Empty));
        assert_eq!(ServerName::new("-x"), Err(BadName::LeadingDash));
        assert_eq!(ServerName::new(&"x".repeat(65)), Err(BadName::TooLong));
        for bad in ["a b", "a.b", "a/b", "ä", "a\n", "../x"] {
            assert_eq!(ServerName::new(bad), Err(BadName::Character), "{bad}");
        }
    }

    #[test]
    fn it_travels_through_json_and_is_checked_on_the_way_in() {
        let name = ServerName::new("github").expect("valid");
        let text = serde_json::to_string(&name).expect("json");
        assert_eq!(text, "\"github\"");
        assert_eq!(serde_json::from_str::<ServerName>(&text).expect("back"), name);
        assert!(serde_json::from_str::<ServerName>("\"a b\"").is_err());
    }

    #[test]
    fn it_pads_in_tables() {
        assert_eq!(format!("{:<6}|", ServerName::new("ab").expect("valid")), "ab    |");
    }
}

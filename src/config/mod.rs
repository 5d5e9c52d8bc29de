//! The config room (types first).

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A server's name in hub.toml.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct ServerName(Arc<str>);

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

/// One server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSpec {
    /// Its name.
    pub name: ServerName,
}

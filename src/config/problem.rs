//! What is wrong with a hub.toml, said so that a person can mend it.
//!
//! In: facts from the schema, the expansion and the validation. Out: [`Problem`], one line of text each. Owns no state.
//! May not: quote a value that could be a secret.

use std::fmt;
use std::sync::Arc;

use super::ServerName;

/// Where the cause of a problem lies, which decides what a reload may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The text is not TOML: nothing of it can be used.
    Syntax,
    /// The text is TOML but not a hub.toml: unknown key, wrong type, value out of range. A reload refuses it.
    Schema,
    /// The text is right, its surroundings are not: a variable that is not set, a file that cannot be read, a folder
    /// that does not exist. The server is `failed`; a reload goes on.
    Environment,
}

/// One thing that is wrong, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// See [`Kind`].
    pub kind: Kind,
    /// Name of the file for messages, `hub.toml` as a rule.
    pub file: Arc<str>,
    /// Line in the file, from 1; 0 when unknown.
    pub line: usize,
    /// The one server that this concerns; none when it concerns the file.
    pub server: Option<ServerName>,
    /// What is wrong, without a final stop.
    pub what: String,
    /// What to do: `did you mean …?`.
    pub hint: Option<String>,
}

/// `hub.toml:12: servers.github: unknown key `comand`; did you mean `command`?`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if let Some(server) = &self.server {
            write!(f, ": servers.{server}")?;
        }
        write!(f, ": {}", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_like_a_compiler_message() {
        let mut problem = Problem {
            kind: Kind::Schema,
            file: Arc::from("hub.toml"),
            line: 12,
            server: Some(ServerName::new("github").expect("valid")),
            what: "unknown key `comand`".to_owned(),
            hint: Some("did you mean `command`?".to_owned()),
        };
        assert_eq!(problem.to_string(), "hub.toml:12: servers.github: unknown key `comand`; did you mean `command`?");
        problem.line = 0;
        problem.server = None;
        problem.hint = None;
        assert_eq!(problem.to_string(), "hub.toml: unknown key `comand`");
    }
}

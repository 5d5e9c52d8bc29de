//! hub.toml: schema, expansion, validation, and the difference between two of them.
//!
//! In: the text of a file, and what [`Context`] lets it ask for. Out: a [`Config`] and every [`Problem`] at once; a
//! [`Plan`] from one config to the next. Owns no state. May not: do I/O except in `file` and `watch`, start anything, or
//! print a secret.
//!
//! # What a problem costs
//!
//! | [`Kind`] | concerns | at start | on reload |
//! |---|---|---|---|
//! | `Syntax` | the file | nothing runs | refused |
//! | `Schema` | the file (`[hub]`, `[defaults]`, a key of the top level) | nothing runs | refused |
//! | `Schema` | one server | that server is `failed`, others run | refused |
//! | `Environment` | one server | that server is `failed`, others run | the same |
//!
//! `hub check` fails on any of them.

mod diff;
pub mod edit;
mod env_file;
mod expand;
pub mod file;
mod name;
mod ports;
mod problem;
mod reader;
mod schema;
mod spec;
mod text;
mod tools;
mod units;
mod validate;
pub mod watch;

#[cfg(test)]
mod tests;

pub use diff::{Changed, HubChange, Plan, Step, diff};
pub use name::{BadName, ServerName, hint as name_hint};
pub use ports::Ports;
pub use problem::{Kind, Problem};
pub use spec::{
    Concurrency, Config, EraChoice, HubSpec, RestartPolicy, Roots, Secret, ServerEntry, ServerSpec, Share, Start,
};
pub use tools::ToolFilter;
pub use validate::load;

use std::io;
use std::path::Path;

/// What reading a hub.toml may ask of the world; handed in, so that the room stays pure.
pub struct Context<'a> {
    /// The file, for messages and as the base of relative paths.
    pub path: &'a Path,
    /// Home folder of the user: `~`, and the default of `cwd`.
    pub home: &'a Path,
    /// Processors, the default of `spawns_max`.
    pub cores: usize,
    /// Value of an environment variable.
    pub vars: &'a dyn Fn(&str) -> Option<String>,
    /// Text of a file (`env_file`, `${file:…}`).
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// Whether a folder exists (`cwd`).
    pub is_dir: &'a dyn Fn(&Path) -> bool,
}

/// What came of reading a hub.toml.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// None when the file as a whole cannot be used.
    pub config: Option<Config>,
    /// Everything that is wrong, in the order of the file.
    pub problems: Vec<Problem>,
    /// The files that it names and whose text was wanted: [`file::load`] notes them.
    pub files: file::Files,
}

impl Loaded {
    /// Whether a reload must leave the running config alone: something is wrong with the text itself.
    pub fn refuses_reload(&self) -> bool {
        self.config.is_none() || self.problems.iter().any(|problem| problem.kind != Kind::Environment)
    }
}

//! Moving in and out: what `hub import`, `hub undo` and `hub export` decide and do.
//!
//! In: the config files of clients, hub.toml, the state folder. Out: a plan; then files written whole, with backups to
//! undo it. Owns the backups in the state folder. May not: start a process other than `git` (to ask what is committed), talk
//! to the daemon, print, or change a file that is not in the plan.
//!
//! `discover` finds the files, `judge` says of each entry what it is, `plan` brings them together with hub.toml,
//! `rewrite` makes the new texts, `apply` writes them through [`crate::files`] after `journal` has kept the old ones, `undo` goes
//! back.

mod apply;
mod approvals;
mod browsers;
mod connected;
mod cwd;
mod diff;
mod discover;
mod export;
mod identity;
mod journal;
mod judge;
mod mask;
mod names;
mod plan;
mod rewrite;
mod undo;
mod world;

pub use apply::{Done, Error as ApplyError, apply};
pub use connected::{Link, LinkedEntry, LinkedFile, connected};
pub use cwd::depends_on_folder;
pub use discover::{Error as DiscoverError, Home, Wanted as Selection};
pub use export::{ExportError, Exported, export};
pub use mask::command_line as shown_command;
pub use plan::{EntryPlan, Error as PlanError, Fate, File, Manner, Plan, Server};
pub use undo::{How, Outcome, Undone, undo};
pub use world::{Error, prepare};

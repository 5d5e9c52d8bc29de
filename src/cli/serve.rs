//! `hub serve`: run in the foreground until told to stop.
//!
//! In: perhaps a file. Out: what the daemon prints (`ready …` on stdout, its log on stderr). Owns nothing. May not: do
//! anything of the daemon's work.

use std::path::Path;

use crate::daemon::{self, Error};

use super::check;
use super::failure::{Exit, Failure};

pub(super) fn run(config: Option<&Path>) -> Result<(), Failure> {
    daemon::serve(config).map_err(|error| match error {
        Error::Config(_) => {
            Failure::new(Exit::Config, error.to_string()).hint("`hub check` shows the same without starting")
        }
        Error::NoConfig { path, error } => check::unreadable(&path, &error),
        Error::Other(_) => Failure::new(Exit::Failed, error.to_string()),
    })
}

//! `hub up`: from nothing to servers that are ready.
//!
//! In: perhaps a hub.toml. Out: a daemon in the background, and how its servers are. Owns nothing. May not: stop what it
//! started when it is interrupted.

use crate::config::file;
use crate::service::background::{self, Outcome};

use super::args::UpArgs;
use super::check;
use super::failure::Failure;
use super::resolve::Setting;

pub(super) async fn run(_args: &UpArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    let path = &setting.dirs.config_file;
    if let Err(error @ file::Error::Absent { .. }) = file::read(path) {
        return Err(check::unreadable(path, &error));
    }
    match background::start(&setting.dirs).await? {
        Outcome::Running => setting.out.line("hub is up already"),
        Outcome::Started => setting.out.line("hub is up"),
    }
}

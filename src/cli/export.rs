//! `hub export`: entries to paste into a client's config.
//!
//! In: a client. Out: its entries on stdout, everything else on stderr. Owns nothing. May not: write a file.

use crate::clients;
use crate::import::{self, ExportError};

use super::args::ExportArgs;
use super::check;
use super::failure::{Exit, Failure, chain};
use super::resolve::Setting;

pub(super) fn run(args: &ExportArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    let Some(client) = clients::client(&args.client) else {
        return Err(Failure::new(Exit::Usage, format!("there is no client `{}`", args.client)));
    };
    let exported = import::export(&setting.dirs, client, args.aggregate).map_err(|error| match error {
        ExportError::HubToml(error) => check::unreadable(&setting.dirs.config_file, &error),
        ExportError::Invalid(_) => Failure::new(Exit::Config, chain(&error)).hint("`hub check` says what is wrong"),
        ExportError::World(error) => Failure::new(Exit::Failed, chain(&error)),
    })?;
    setting.out.bytes(exported.text.as_bytes())?;
    if exported.without_port.is_empty() {
        return Ok(());
    }
    let names = exported.without_port.join(", ");
    Err(Failure::new(Exit::Failed, format!("hub has not given a port yet to: {names}"))
        .hint("start hub once, or write a `port` for each into hub.toml"))
}

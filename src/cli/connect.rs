//! `hub connect`: a client's stdin and stdout, joined to hub.
//!
//! In: perhaps a server. Out: messages on stdout, logs on stderr. Owns nothing. May not: print anything on stdout itself.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::platform::dirs::Dirs;
use crate::stdio;

use super::args::ConnectArgs;
use super::failure::{Exit, Failure, chain};

pub(super) async fn run(args: ConnectArgs, dirs: Dirs) -> Result<(), Failure> {
    // Most clients keep what comes on stderr, and show it to nobody who is not looking for trouble.
    let filter = EnvFilter::try_from_env("HUB_LOG").unwrap_or_else(|_unset| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).init();
    stdio::run(dirs, args.name).await.map_err(|error| {
        let failure = Failure::new(Exit::Failed, chain(&error));
        match error {
            stdio::Error::UnknownServer { hint, .. } => failure.hint(hint),
            stdio::Error::Start(_) => {
                failure.hint("`hub check` finds mistakes in hub.toml; `hub serve` shows why hub does not start")
            }
            _ => failure,
        }
    })
}

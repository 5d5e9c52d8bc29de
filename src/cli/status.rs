//! `hub status`: the page that people look at every day.
//!
//! In: the daemon's status document. Out: the page, once or again and again, or the document itself. Owns nothing. May
//! not: decide how the page looks (that is `page`).

use crate::control::client;
use crate::limits;

use super::args::StatusArgs;
use super::failure::Failure;
use super::page::page;
use super::resolve::Setting;

const PATH: &str = "/v1/status";

pub(super) async fn run(args: &StatusArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    if args.json {
        return setting.out.document(&setting.client.prompt_bytes(PATH).await?);
    }
    if args.watch {
        return watch(setting).await;
    }
    let status = setting.client.prompt(PATH).await?;
    setting.out.text(&page(&status, setting.out))
}

/// Draws until Ctrl-C. A daemon that goes away is waited for: that is when one wants to watch.
async fn watch(setting: &Setting<'_>) -> Result<(), Failure> {
    if setting.out.is_terminal() {
        setting.out.text("\x1b[2J")?;
    }
    loop {
        let page = match setting.client.prompt(PATH).await {
            Ok(status) => page(&status, setting.out),
            Err(error @ client::Error::Refused(_)) => return Err(error.into()),
            Err(error) => format!("{}\n", super::failure::chain(&error)),
        };
        setting.out.redraw(&page)?;
        tokio::time::sleep(limits::WATCH_EVERY).await;
    }
}

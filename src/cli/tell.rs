//! `hub restart`, `enable`, `disable`, `reload`: one command to the daemon, and what it says.
//!
//! In: a verb, perhaps a server. Out: the daemon's sentences. Owns nothing. May not: change hub.toml while a daemon
//! runs that can.

use bytes::Bytes;

use crate::config::edit::set_enabled;
use crate::control::client::Error;
use crate::control::proto::Done;

use super::edit;
use super::failure::{Exit, Failure};
use super::resolve::Setting;

pub(super) async fn server(verb: &str, name: &str, setting: &Setting<'_>) -> Result<(), Failure> {
    // Names in hub.toml need no escaping in a path; anything else cannot be one.
    if name.is_empty() || name.contains(|c: char| !c.is_ascii_graphic() || "/?#%".contains(c)) {
        let failure = Failure::new(Exit::Failed, format!("there is no server `{name}` in hub.toml"));
        return Err(failure.hint("`hub status` shows all names"));
    }
    match tell(&format!("/v1/servers/{name}/{verb}"), setting).await {
        Err(failure) if failure.exit == Exit::NotRunning && verb != "restart" => in_the_file(verb, name, setting).await,
        told => told,
    }
}

/// Without a daemon, hub.toml is changed here.
async fn in_the_file(verb: &str, name: &str, setting: &Setting<'_>) -> Result<(), Failure> {
    let path = &setting.dirs.config_file;
    edit::known(name, path)?;
    let changed = |text: &str| set_enabled(text, name, verb == "enable");
    edit::change(setting, false, |text, _| changed(text).map_err(|why| Failure::new(Exit::Failed, why))).await?;
    setting.out.line(&format!("{name} is {verb}d in {}; hub is not running", path.display()))
}

pub(super) async fn reload(setting: &Setting<'_>) -> Result<(), Failure> {
    match setting.client.post("/v1/reload", Bytes::new()).await {
        Ok(Done { lines }) => say(&lines, setting),
        // The one thing that the daemon refuses to read again is a hub.toml with something wrong in it.
        Err(Error::Refused(refused)) => Err(Failure { exit: Exit::Config, message: refused.error, hint: refused.hint }),
        Err(error) => Err(error.into()),
    }
}

async fn tell(path: &str, setting: &Setting<'_>) -> Result<(), Failure> {
    let done: Done = setting.client.post(path, Bytes::new()).await?;
    say(&done.lines, setting)
}

fn say(lines: &[String], setting: &Setting<'_>) -> Result<(), Failure> {
    lines.iter().try_for_each(|line| setting.out.line(line))
}

//! `hub restart`, `enable`, `disable`, `reload`: one command to the daemon, and what it says.
//!
//! In: a verb, perhaps a server. Out: the daemon's sentences. Owns nothing. May not: change hub.toml itself.

use bytes::Bytes;

use crate::control::proto::Done;

use super::failure::Failure;
use super::resolve::Setting;

pub(super) async fn server(verb: &str, name: &str, setting: &Setting<'_>) -> Result<(), Failure> {
    // Names in hub.toml need no escaping in a path; anything else cannot be one.
    if name.is_empty() || name.contains(|c: char| !c.is_ascii_graphic() || "/?#%".contains(c)) {
        let failure = Failure::new(super::failure::Exit::Failed, format!("there is no server `{name}` in hub.toml"));
        return Err(failure.hint("`hub status` shows all names"));
    }
    tell(&format!("/v1/servers/{name}/{verb}"), setting).await
}

pub(super) async fn hub(verb: &str, setting: &Setting<'_>) -> Result<(), Failure> {
    tell(&format!("/v1/{verb}"), setting).await
}

async fn tell(path: &str, setting: &Setting<'_>) -> Result<(), Failure> {
    let done: Done = setting.client.post(path, Bytes::new()).await?;
    done.lines.iter().try_for_each(|line| setting.out.line(line))
}

//! What `hub add`, `remove`, `enable` and `disable` have in common: hub.toml changed in place, and the daemon told.
//!
//! In: a change of the text. Out: the file, replaced whole; what the daemon says. Owns nothing. May not: write a text that
//! `hub check` would refuse, or over one that somebody else has just written.

use std::path::Path;

use bytes::Bytes;

use crate::config::{Kind, Loaded, file, name_hint};
use crate::control::client::Error;
use crate::control::proto::Done;
use crate::platform::dirs;

use super::check::unreadable;
use super::failure::{Exit, Failure};
use super::resolve::Setting;

/// What a new hub.toml begins with.
const BEGINNING: &str = "# What hub runs. It is read again when it is saved; `hub check` finds mistakes.\n";

/// The text of hub.toml; `None` when there is none yet.
pub(super) fn read(path: &Path) -> Result<Option<String>, Failure> {
    match file::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(file::Error::Absent { .. }) => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// What a text says here and now.
pub(super) fn judge(text: &str, path: &Path) -> Loaded {
    let home = std::env::home_dir().unwrap_or_else(|| "/".into());
    file::load(text, path, &home)
}

/// Is there a server of this name in hub.toml?
pub(super) fn known(name: &str, path: &Path) -> Result<(), Failure> {
    let config = read(path)?.and_then(|text| judge(&text, path).config);
    let names: Vec<&str> =
        config.iter().flat_map(|config| &config.servers).map(|server| server.name.as_str()).collect();
    if config.is_none() || names.contains(&name) {
        // Of a file with a mistake the names are not known; whoever changes it says so.
        return Ok(());
    }
    let failure = Failure::new(Exit::Failed, format!("there is no server `{name}` in hub.toml"));
    Err(failure.hint(name_hint(name, names.iter().copied())))
}

/// Changes hub.toml, or makes it. What is wrong only with this machine, as a variable that is not set, is returned.
/// `private`: from now on only this user may read it.
pub(super) fn change(
    path: &Path,
    private: bool,
    edit: impl FnOnce(&str) -> Result<String, String>,
) -> Result<Vec<String>, Failure> {
    let before = read(path)?;
    let old = before.clone().unwrap_or_else(|| BEGINNING.to_owned());
    if let Some(problem) = judge(&old, path).problems.iter().find(|problem| problem.kind != Kind::Environment) {
        let failure = Failure::new(Exit::Config, format!("hub.toml has a mistake, and is not changed: {problem}"));
        return Err(failure.hint("`hub check` shows all of them"));
    }
    let new = edit(&old).map_err(|why| Failure::new(Exit::Failed, why))?;
    let (grave, light): (Vec<_>, Vec<_>) =
        judge(&new, path).problems.into_iter().partition(|problem| problem.kind != Kind::Environment);
    if let Some(problem) = grave.first() {
        let failure = Failure::new(Exit::Failed, problem.what.clone());
        return Err(match &problem.hint {
            Some(hint) => failure.hint(hint.clone()),
            None => failure,
        });
    }
    if read(path)? != before {
        let failure = Failure::new(Exit::Failed, format!("{} was changed by somebody else just now", path.display()));
        return Err(failure.hint("run the command again"));
    }
    if before.is_none() {
        dirs::create_private(path.parent().unwrap_or(Path::new("/")))?;
    }
    file::replace(path, &new, private).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
            .hint("is the folder yours, and is there room on the disk?")
    })?;
    Ok(light.into_iter().map(|problem| problem.to_string()).collect())
}

/// Tells the daemon to read hub.toml again, and what came of it. `false`: there is none.
pub(super) async fn reload(setting: &Setting<'_>) -> Result<bool, Failure> {
    match setting.client.post("/v1/reload", Bytes::new()).await {
        Ok(Done { lines }) => {
            lines.iter().try_for_each(|line| setting.out.line(line))?;
            Ok(true)
        }
        Err(Error::NotRunning { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

//! What `hub add`, `remove`, `enable` and `disable` have in common: hub.toml changed in place, and the daemon told.
//!
//! In: a change of the text. Out: the file, replaced whole; what the daemon says. Owns nothing. May not: write a text that
//! `hub check` would refuse, or over one that somebody else has just written.

use std::io;
use std::path::Path;

use bytes::Bytes;

use crate::config::edit::BEGINNING;
use crate::config::{Config, Kind, Loaded, file, name_hint};
use crate::control::client::Error;
use crate::control::proto::{Done, NOTHING_CHANGED};
use crate::files::{self, Lock};
use crate::limits::CHANGE_PATIENCE;
use crate::platform::dirs;

use super::check::unreadable;
use super::failure::{Exit, Failure};
use super::resolve::Setting;

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
    let home = dirs::home_or_root();
    file::load(text, path, &home)
}

/// Is there a server of this name in hub.toml?
pub(super) fn known(name: &str, path: &Path) -> Result<(), Failure> {
    let text = file::read(path).map_err(|error| unreadable(path, &error))?;
    let config = judge(&text, path).config;
    let names: Vec<&str> =
        config.iter().flat_map(|config| &config.servers).map(|server| server.name.as_str()).collect();
    if config.is_none() || names.contains(&name) {
        // Of a file with a mistake the names are not known; whoever changes it says so.
        return Ok(());
    }
    let failure = Failure::new(Exit::Failed, format!("there is no server `{name}` in hub.toml"));
    Err(failure.hint(name_hint(name, names.iter().copied())))
}

/// Changes hub.toml, or makes it; nobody else of hub does at the same time. What is wrong only with this machine, as a
/// variable that is not set, is returned. `private`: from now on only this user may read it.
pub(super) async fn change(
    setting: &Setting<'_>,
    private: bool,
    edit: impl FnOnce(&str, &Config) -> Result<String, Failure>,
) -> Result<Vec<String>, Failure> {
    let path = &setting.dirs.config_file;
    let _lock = lock(setting).await?;
    let before = read(path)?;
    let old = before.as_deref().unwrap_or(BEGINNING);
    let judged = judge(old, path);
    let mistake = judged.problems.iter().find(|problem| problem.kind != Kind::Environment);
    let had_mistake = || {
        let why = mistake.map(ToString::to_string).unwrap_or_default();
        let failure = Failure::new(Exit::Config, format!("hub.toml has a mistake, and is not changed: {why}"));
        failure.hint("`hub check` shows all of them")
    };
    let Some(config) = &judged.config else { return Err(had_mistake()) };
    let new = edit(old, config)?;
    let (grave, light): (Vec<_>, Vec<_>) =
        judge(&new, path).problems.into_iter().partition(|problem| problem.kind != Kind::Environment);
    if let Some(problem) = grave.first() {
        // Removing the server that is wrong mends the file; nothing else goes into one that stays wrong.
        if mistake.is_some() {
            return Err(had_mistake());
        }
        let failure = Failure::new(Exit::Failed, problem.what.clone());
        return Err(match &problem.hint {
            Some(hint) => failure.hint(hint.clone()),
            None => failure,
        });
    }
    if before.is_none() {
        dirs::create_private(path.parent().unwrap_or(Path::new("/")))?;
    }
    file::replace(path, before.as_deref(), &new, private).map_err(|error| not_written(path, &error))?;
    Ok(light.into_iter().map(|problem| problem.to_string()).collect())
}

/// The lock of everything that changes hub.toml.
async fn lock(setting: &Setting<'_>) -> Result<Lock, Failure> {
    let folder = &setting.dirs.state_dir;
    dirs::create_private(folder)?;
    Lock::wait(folder, CHANGE_PATIENCE).await.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Failure::new(Exit::Failed, "another hub command is changing hub.toml just now")
            .hint("nothing was changed; run it again when the other one is done"),
        _ => Failure::new(Exit::Failed, format!("cannot use {}: {error}", folder.display())),
    })
}

fn not_written(path: &Path, error: &files::Error) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()));
    match error {
        files::Error::Changed => failure.hint("somebody else wrote it; run the command again"),
        // It says what to run.
        files::Error::ReadOnly(_) => failure,
        files::Error::Io { .. } => failure.hint("is its folder yours and writable, and is there room on the disk?"),
    }
}

/// Tells the daemon to read hub.toml again, and what came of it. `what` was done to the file: the daemon may have read it
/// for somebody else already, and has nothing to say then. `false`: there is none.
pub(super) async fn reload(what: &str, setting: &Setting<'_>) -> Result<bool, Failure> {
    match setting.client.post("/v1/reload", Bytes::new()).await {
        Ok(Done { lines }) => {
            if !lines.iter().any(|line| line == what) {
                setting.out.line(what)?;
            }
            lines.iter().filter(|line| *line != NOTHING_CHANGED).try_for_each(|line| setting.out.line(line))?;
            Ok(true)
        }
        Err(Error::NotRunning { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

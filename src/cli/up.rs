//! `hub up`: from nothing to servers that are ready.
//!
//! In: perhaps a hub.toml, else what clients have. Out: a daemon in the background, how its servers are, what clients read
//! through it. Owns nothing. May not: stop what it started when it is interrupted.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use crate::config::{Start, file};
use crate::control::proto::{Done, Status};
use crate::limits::{STARTUP_TIMEOUT, UP_LOOK_EVERY, UP_QUEUE};
use crate::platform::dirs;
use crate::server::State;
use crate::service::background::Outcome;
use crate::service::install;

use super::args::{ImportArgs, UpArgs};
use super::failure::{Exit, Failure};
use super::page::page;
use super::progress::{Progress, Standing};
use super::resolve::Setting;
use super::{check, import, linked};

pub(super) async fn run(args: &UpArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    let imported = begin(args, setting)?;
    let (lazy, patience) = expectations(setting)?;
    let mut progress = Progress::new(setting.out, args.json, lazy);
    let mut interrupts = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let coming = async {
        let outcome = started(setting, &mut progress).await?;
        if outcome == Outcome::Running && imported {
            let Done { .. } = setting.client.post("/v1/reload", Bytes::new()).await?;
        }
        let status = settled(setting, &mut progress, patience).await?;
        Ok::<_, Failure>((outcome, status))
    };
    let come = tokio::select! {
        come = pin!(coming) => Some(come),
        _ = interrupts.recv() => None,
    };
    progress.end()?;
    let Some(come) = come else {
        let hint = "`hub status` shows how it is, `hub down` stops it";
        return Err(Failure::new(Exit::Failed, "not waited for; hub goes on in the background").hint(hint));
    };
    let (outcome, status) = come?;
    let failed = not_ready(&mut progress, &status);
    said(args, setting, outcome, &status, failed.is_empty() && !imported)?;
    if failed.is_empty() {
        return Ok(());
    }
    let message = format!("hub is up, but not ready: {}", failed.join(", "));
    Err(Failure::new(Exit::Failed, message).hint("`hub logs NAME` shows what a server says; hub goes on trying"))
}

/// Makes a hub.toml where there is none. Says whether it did.
fn begin(args: &UpArgs, setting: &Setting<'_>) -> Result<bool, Failure> {
    let path = &setting.dirs.config_file;
    match file::read(path) {
        Err(file::Error::Absent { .. }) => {}
        Err(error) => return Err(check::unreadable(path, &error)),
        Ok(_) => return Ok(false),
    }
    if args.json {
        // The plan is a document of its own.
        let failure = Failure::new(Exit::Failed, format!("there is no {}", path.display()));
        return Err(failure.hint("`hub import --yes` makes one of what your clients have"));
    }
    import::run(&ImportArgs { yes: args.yes, ..ImportArgs::default() }, setting)?;
    match file::read(path) {
        Err(error) => Err(check::unreadable(path, &error)),
        Ok(_) => Ok(true),
    }
}

/// Who is not to start by itself, and how long all others may take together.
fn expectations(setting: &Setting<'_>) -> Result<(BTreeSet<String>, Duration), Failure> {
    let path = &setting.dirs.config_file;
    let text = file::read(path).map_err(|error| check::unreadable(path, &error))?;
    let home = dirs::home_or_root();
    let servers = file::load(&text, path, &home).config.map(|config| config.servers).unwrap_or_default();
    let specs = || servers.iter().filter_map(|entry| Some((&entry.name, entry.spec.as_ref().ok()?)));
    let lazy = specs().filter(|(_, spec)| spec.start == Start::Lazy).map(|(name, _)| name.to_string()).collect();
    let longest = specs().map(|(_, spec)| spec.startup_timeout).max().unwrap_or(STARTUP_TIMEOUT);
    Ok((lazy, longest.saturating_add(UP_QUEUE)))
}

/// Starts the daemon.
async fn started(setting: &Setting<'_>, progress: &mut Progress<'_>) -> Result<Outcome, Failure> {
    telling(progress, "starting hub", install::start(&setting.dirs)).await
}

/// Waits for something, and says what every second, also on a machine that is too busy to answer.
async fn telling<T, E>(
    progress: &mut Progress<'_>,
    what: &str,
    task: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure>
where
    Failure: From<E>,
{
    let mut task = pin!(task);
    loop {
        tokio::select! {
            done = task.as_mut() => return Ok(done?),
            () = tokio::time::sleep(UP_LOOK_EVERY) => progress.tick(what)?,
        }
    }
}

/// Waits until every server is ready, failed or at rest, at most `patience`.
async fn settled(setting: &Setting<'_>, progress: &mut Progress<'_>, patience: Duration) -> Result<Status, Failure> {
    let deadline = Instant::now() + patience;
    let mut first = true;
    loop {
        let status: Status = telling(progress, "asking hub", setting.client.prompt("/v1/status")).await?;
        if std::mem::take(&mut first) && status.hub.config != setting.dirs.config_file.display().to_string() {
            let message = format!("hub runs already, with another hub.toml: {}", status.hub.config);
            return Err(Failure::new(Exit::Failed, message).hint("stop that one first: `hub down`"));
        }
        if !progress.show(&status)? || Instant::now() >= deadline {
            return Ok(status);
        }
        tokio::time::sleep(UP_LOOK_EVERY).await;
    }
}

fn not_ready(progress: &mut Progress<'_>, status: &Status) -> Vec<String> {
    let mut late = |server| matches!(progress.standing(server), Standing::Failed | Standing::Waiting);
    status.servers.iter().filter(|server| late(server)).map(|server| server.name.clone()).collect()
}

/// The last word: the table, and per client what is connected. `quietly`: nothing was changed and all is well.
fn said(args: &UpArgs, setting: &Setting<'_>, outcome: Outcome, status: &Status, quietly: bool) -> Result<(), Failure> {
    let was_up = outcome == Outcome::Running;
    if args.json {
        let clients = linked::document(&setting.dirs);
        let document = json!({ "schema": 1, "started": !was_up, "status": status, "clients": clients });
        return setting.out.document(document.to_string().as_bytes());
    }
    if was_up && quietly {
        let ready = status.servers.iter().filter(|server| server.state == State::Ready).count();
        let pid = status.hub.pid;
        return setting
            .out
            .line(&format!("hub is up already (pid {pid}, {ready} of {} ready); nothing to do", status.servers.len()));
    }
    setting.out.line(if was_up { "hub is up already\n" } else { "hub is up\n" })?;
    setting.out.text(&page(status, setting.out))?;
    let clients = linked::lines(&setting.dirs, setting.out);
    if !clients.is_empty() {
        setting.out.text(&format!("\n{clients}"))?;
    }
    Ok(())
}

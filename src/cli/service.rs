//! `hub service`: hub at every login, by the service manager of this user.
//!
//! In: a verb. Out: what was done, the PATH that servers will have, what they will not see. Owns nothing. May not: leave
//! half a service.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::config::{self, file};
use crate::platform::dirs::{self, Dirs};
use crate::service::install::{self, ChosenPath};
use crate::service::manager::{Service, State};
use crate::service::unit::Unit;

use super::args::{ServiceInstallArgs, ServiceStatusArgs, ServiceVerb};
use super::check;
use super::failure::{Exit, Failure, chain};
use super::out::Tone;
use super::resolve::Setting;

pub(super) async fn run(verb: &ServiceVerb, config: Option<&Path>, setting: &Setting<'_>) -> Result<(), Failure> {
    let service = Service::of_this_user()?;
    match verb {
        ServiceVerb::Install(args) => install(args, config, &service, setting).await,
        ServiceVerb::Uninstall => uninstall(&service, setting).await,
        ServiceVerb::Status(args) => status(args, &service, setting).await,
    }
}

async fn install(
    args: &ServiceInstallArgs,
    config: Option<&Path>,
    service: &Service,
    setting: &Setting<'_>,
) -> Result<(), Failure> {
    let (dirs, out) = (&setting.dirs, setting.out);
    // Nothing is asked of a shell for a service that cannot be.
    let old = service.installed()?;
    if !args.no_start {
        service.answers().await.map_err(|error| {
            let hint = "`hub up` runs hub in the background without a service manager; with `--no-start` the file is \
                        written for one that comes later";
            Failure::new(Exit::Failed, chain(&error)).hint(hint)
        })?;
        file::read(&dirs.config_file).map_err(|error| check::unreadable(&dirs.config_file, &error))?;
    }
    let chosen = match &args.path {
        Some(path) => ChosenPath { path: path.clone(), from: Ok("--path".into()) },
        None => install::choose_path().await,
    };
    show_path(&chosen, service, setting)?;
    let unit = install::unit(dirs, config, &chosen.path)?;
    if args.no_start {
        service.write(old.as_deref(), &service.render(&unit))?;
        out.line(&format!("{} is written", service.file().display()))?;
        return out.line(&format!("to start hub: {}", service.how_to_start()));
    }
    let stopped = install::install(service, &unit, dirs).await.map_err(|error| {
        let failure = Failure::from(error);
        let message = format!("{}\neverything is as it was before", failure.message);
        Failure { message, ..failure }.hint(format!("the log: {}", service.how_to_look(dirs)))
    })?;
    if stopped {
        out.line("the hub that ran in the background was stopped for it")?;
    }
    out.line(&format!("hub runs as a service of {} and starts at every login", service.manager()))?;
    out.line(&format!("  {}", service.file().display()))?;
    if service.ends_with_login().await {
        out.line("on a machine that you are not always logged in to: `loginctl enable-linger` keeps it running")?;
    }
    warn_of_variables(&unit, service, setting).await;
    out.line("`hub status` shows how its servers are")
}

/// The PATH, and why it is worth to have been asked for.
fn show_path(chosen: &ChosenPath, service: &Service, setting: &Setting<'_>) -> Result<(), Failure> {
    let out = setting.out;
    match &chosen.from {
        Ok(from) => out.line(&format!("PATH for hub and its servers, from {}:", from.display()))?,
        Err(error) => {
            out.line(&format!("{}; PATH for hub and its servers is that of this terminal:", chain(error)))?;
        }
    }
    let new = chosen.beyond(service.default_path());
    for folder in crate::platform::shell_path::directories(chosen.path.as_ref()) {
        let mark = if new.contains(&folder) { out.paint(Tone::Good, "+") } else { " ".to_owned() };
        out.text(&format!("  {mark} {}\n", super::harmless::harmless(&folder.display().to_string())))?;
    }
    match new.len() {
        0 => Ok(()),
        _ => out.line(&format!("  (+: {} alone would not look there)", service.manager())),
    }
}

/// Variables of hub.toml that are set here, and that the service will not have.
async fn warn_of_variables(unit: &Unit, service: &Service, setting: &Setting<'_>) {
    let Some(shared) = service.shared_environment().await else { return };
    let mut unseen = wanted_variables(&setting.dirs);
    unseen.retain(|name| !unit.env.contains_key(name) && !shared.contains(name));
    if unseen.is_empty() {
        return;
    }
    let names = unseen.into_iter().collect::<Vec<_>>().join(", ");
    setting.out.note(&format!(
        "warning: hub.toml uses {names}, which this terminal has and the service will not see\n\
         hint: put them into a file and name it as `env_file`, or write them where all services find them \
         (systemd: ~/.config/environment.d/*.conf, launchd: `launchctl setenv`)"
    ));
}

/// The variables that hub.toml refers to and that are set here.
fn wanted_variables(dirs: &Dirs) -> BTreeSet<String> {
    let wanted = std::cell::RefCell::new(BTreeSet::new());
    let context = config::Context {
        path: &dirs.config_file,
        home: &dirs::home_or_root(),
        cores: 1,
        vars: &|name| {
            let value = std::env::var(name).ok();
            if value.is_some() {
                wanted.borrow_mut().insert(name.to_owned());
            }
            value
        },
        read: &|path| std::fs::read_to_string(path),
        is_dir: &Path::is_dir,
    };
    if let Ok(text) = file::read(&dirs.config_file) {
        drop(config::load(&text, &context));
    }
    wanted.into_inner()
}

async fn uninstall(service: &Service, setting: &Setting<'_>) -> Result<(), Failure> {
    if install::uninstall(service).await? {
        setting.out.line(&format!("hub is no service any more; {} is gone", service.file().display()))?;
        return setting.out.line("`hub up` starts it in the background");
    }
    setting.out.line("hub is no service; there is nothing to remove")
}

async fn status(args: &ServiceStatusArgs, service: &Service, setting: &Setting<'_>) -> Result<(), Failure> {
    let (text, foreign) = match service.installed() {
        Ok(text) => (text, None),
        Err(error) => (None, Some(chain(&error))),
    };
    let answers = service.answers().await;
    let state = if text.is_some() { service.state().await } else { State::default() };
    let path = text.as_deref().and_then(|text| service.environment(text).remove("PATH"));
    if args.json {
        let document = json!({
            "schema": 1, "manager": service.manager(), "manager_answers": answers.is_ok(),
            "file": service.file().display().to_string(), "installed": text.is_some(), "enabled": state.enabled,
            "running": state.running, "pid": state.pid, "failure": state.failure, "path": path,
        });
        return setting.out.document(document.to_string().as_bytes());
    }
    let out = setting.out;
    if let Some(foreign) = foreign {
        return out.line(&foreign);
    }
    if text.is_none() {
        return out.line("hub is no service; `hub service install` makes it one");
    }
    let yes = |is: bool| if is { "yes" } else { "no" };
    let pid = state.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let failure = state.failure.as_ref().map(|why| format!(", it failed: {why}")).unwrap_or_default();
    let rows = [
        ("manager", service.manager().to_owned() + if answers.is_ok() { "" } else { ", which does not answer" }),
        ("file", service.file().display().to_string()),
        ("at login", yes(state.enabled).to_owned()),
        ("running", format!("{}{pid}{failure}", yes(state.running))),
        ("PATH", path.unwrap_or_default()),
    ];
    rows.iter().try_for_each(|(name, value)| out.line(&format!("{name:<9} {value}")))
}

//! `hub add`: one more server in hub.toml, running.
//!
//! In: what was typed. Out: hub.toml with the server; whether it starts, and how a client connects. Owns nothing. May not:
//! take a port that another server has, or has had.

use std::collections::HashMap;
use std::path::Path;

use tokio::time::{Instant, sleep};

use crate::config::edit::{add_server, remove_server, set_lazy};
use crate::config::{Config, Ports, ServerEntry, ServerName};
use crate::control::proto::{About, AboutServer};
use crate::doctor::causes;
use crate::limits;
use crate::platform::sockets;
use crate::server::State;
use crate::store;

use super::args::AddArgs;
use super::edit;
use super::entry::{Typed, typed};
use super::failure::{Exit, Failure};
use super::resolve::Setting;

pub(super) async fn run(args: &AddArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    let here = std::env::current_dir().map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot tell the current folder: {error}"))
            .hint("go to another folder first")
    })?;
    let Typed { name, mut server, notes } = typed(args, &here, Path::exists)?;
    if let Err(error) = ServerName::new(&name) {
        return Err(Failure::new(Exit::Usage, format!("`{name}` cannot be a name: {error}"))
            .hint("take letters, digits, - and _"));
    }
    let path = &setting.dirs.config_file;
    let mut url = None;
    // Values of variables are secrets, and arguments may be.
    let missing = edit::change(setting, true, |text, config| {
        if let Some(known) = same_name(config, &name) {
            return Err(Failure::new(Exit::Failed, format!("there is a server `{known}` in hub.toml already"))
                .hint(format!("take another name, or `hub remove {known}` first")));
        }
        let had = store::ports_in(&setting.dirs.database());
        if let Some(port) = server.port
            && let Some(entry) = config.servers.iter().find(|entry| entry.port.is_none() && has(&had, entry, port))
        {
            return Err(Failure::new(Exit::Failed, format!("port {port} is that of `{}`: hub gave it", entry.name))
                .hint("leave `--port` out, and it gets a free one"));
        }
        server.port = server.port.or_else(|| free_port(config, &name, &had));
        url = server.port.map(|port| config.hub.url(port));
        let added = add_server(text, &name, &server);
        let added = added.and_then(|text| if args.lazy { set_lazy(&text, &name) } else { Ok(text) });
        added.map_err(|why| Failure::new(Exit::Failed, why))
    });
    let missing = missing.await?;
    for note in notes.iter().chain(&missing) {
        setting.out.note(&format!("note: {note}"));
    }
    if !edit::reload(&format!("added {name}"), setting).await? {
        setting.out.line(&format!("added {name} to {}", path.display()))?;
        setting.out.note("note: hub is not running; `hub up` starts it");
        connect(&name, url, setting);
        return Ok(());
    }
    let now = settled(&name, setting).await?;
    report(&name, &now, setting)?;
    connect(&name, Some(now.url), setting);
    Ok(())
}

/// A server of the same name, as hub.toml compares names.
fn same_name<'a>(config: &'a Config, name: &str) -> Option<&'a str> {
    config.servers.iter().map(|entry| entry.name.as_str()).find(|known| known.eq_ignore_ascii_case(name))
}

/// A port to write into hub.toml; none where the system is to choose, and hub to remember. `had`: what servers had.
fn free_port(config: &Config, name: &str, had: &HashMap<String, u16>) -> Option<u16> {
    if config.hub.first_port == 0 {
        return None;
    }
    Ports::of(config, had).give(name, |port| sockets::is_free(config.hub.host, port))
}

fn has(had: &HashMap<String, u16>, entry: &ServerEntry, port: u16) -> bool {
    had.get(entry.name.as_str()) == Some(&port)
}

/// The server once it is ready, has failed, or waits for its first request.
async fn settled(name: &str, setting: &Setting<'_>) -> Result<AboutServer, Failure> {
    let start = Instant::now();
    let mut said = false;
    loop {
        let about: About = setting.client.prompt("/v1/about").await?;
        let Some(now) = about.servers.into_iter().find(|server| server.name == name) else {
            return Err(Failure::new(Exit::Failed, format!("{name} is gone from hub.toml again")));
        };
        let is_settled = !matches!(now.state, State::Starting | State::Stopping);
        if is_settled || start.elapsed() > limits::ADD_PATIENCE {
            return Ok(now);
        }
        if !std::mem::replace(&mut said, true) {
            setting.out.note(&format!("{name} starts; a package that is not here yet is downloaded first …"));
        }
        sleep(limits::ADD_LOOK_EVERY).await;
    }
}

fn report(name: &str, now: &AboutServer, setting: &Setting<'_>) -> Result<(), Failure> {
    match (now.state, &now.last_failure) {
        (State::Ready, _) => {
            let tools = now
                .tools
                .map_or_else(String::new, |count| format!(", {count} tool{}", if count == 1 { "" } else { "s" }));
            setting.out.line(&format!("{name} is ready on {}{tools}", now.url))
        }
        (State::Stopped, None) => {
            setting.out.line(&format!("{name} is on {}, and starts with its first request", now.url))
        }
        (State::Starting, _) => setting
            .out
            .line(&format!("{name} is on {}, and still starting; `hub status` shows when it is ready", now.url)),
        (_, Some(failure)) => {
            let message = format!("{name} does not start ({}): {}", failure.stage, failure.message);
            let hint = causes::hint(&failure.message).map_or_else(
                || format!("`hub logs {name}` shows all that it wrote; `hub remove {name}` takes it out again"),
                |hint| format!("{hint}; it stays in hub.toml, and `hub remove {name}` takes it out again"),
            );
            Err(Failure::new(Exit::Failed, message).hint(hint))
        }
        (state, None) => setting.out.line(&format!("{name} is on {}, {}", now.url, state.as_str())),
    }
}

/// How a client connects.
fn connect(name: &str, url: Option<String>, setting: &Setting<'_>) {
    match url {
        Some(url) => {
            setting.out.note(&format!("Claude Code connects with: claude mcp add --transport http {name} {url}"));
        }
        None => setting.out.note("`hub status` shows its URL once hub runs"),
    }
    setting.out.note(&format!("a client that speaks only stdio, with the command: hub connect {name}"));
}

/// `hub remove`
pub(super) async fn remove(name: &str, setting: &Setting<'_>) -> Result<(), Failure> {
    let path = &setting.dirs.config_file;
    edit::known(name, path)?;
    let removed = |text: &str| remove_server(text, name).map_err(|why| Failure::new(Exit::Failed, why));
    edit::change(setting, false, |text, _| removed(text)).await?;
    if !edit::reload(&format!("removed {name}"), setting).await? {
        setting.out.line(&format!("removed {name} from {}", path.display()))?;
    }
    setting.out.note(&format!(
        "note: clients that point at it find nothing there now; `claude mcp remove {name}` and the like"
    ));
    Ok(())
}

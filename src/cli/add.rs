//! `hub add`: one more server in hub.toml, running.
//!
//! In: what was typed. Out: hub.toml with the server; whether it starts, and how a client connects. Owns nothing. May not:
//! take a port that another server has, or has had.

use std::collections::HashSet;
use std::net::TcpListener;
use std::path::Path;

use tokio::time::{Instant, sleep};

use crate::config::edit::{add_server, remove_server, set_lazy};
use crate::config::{Config, ServerName};
use crate::control::proto::{About, AboutServer};
use crate::doctor::causes;
use crate::limits;
use crate::server::State;
use crate::store::Store;

use super::args::AddArgs;
use super::edit;
use super::entry::{Typed, typed};
use super::failure::{Exit, Failure};
use super::resolve::Setting;

pub(super) async fn run(args: &AddArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    let here = std::env::current_dir()?;
    let Typed { name, mut server, notes } = typed(args, &here)?;
    if let Err(error) = ServerName::new(&name) {
        return Err(Failure::new(Exit::Usage, format!("`{name}` cannot be a name: {error}"))
            .hint("take letters, digits, - and _"));
    }
    let path = &setting.dirs.config_file;
    let old = edit::read(path)?.and_then(|text| edit::judge(&text, path).config);
    if let Some(known) = old.as_ref().and_then(|config| same_name(config, &name)) {
        return Err(Failure::new(Exit::Failed, format!("there is a server `{known}` in hub.toml already"))
            .hint(format!("take another name, or `hub remove {known}` first")));
    }
    let about = setting.client.get::<About>("/v1/about").await.ok();
    if server.port.is_none() {
        server.port = free_port(old.as_ref(), about.as_ref(), setting).await;
    }
    // Values of variables are secrets, and arguments may be.
    let missing = edit::change(path, true, |text| {
        let text = add_server(text, &name, &server)?;
        if args.lazy { set_lazy(&text, &name) } else { Ok(text) }
    })?;
    for note in notes.iter().chain(&missing) {
        setting.out.note(&format!("note: {note}"));
    }
    if !edit::reload(setting).await? {
        setting.out.line(&format!("added {name} to {}", path.display()))?;
        setting.out.note("note: hub is not running; `hub up` starts it");
        connect(&name, server.port.map(|port| own_url(old.as_ref(), port)), setting);
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

/// The lowest port that nobody has, had, or listens on; none if the system is to choose.
async fn free_port(old: Option<&Config>, about: Option<&About>, setting: &Setting<'_>) -> Option<u16> {
    let first = old.map_or(limits::FIRST_SERVER_PORT, |config| config.hub.first_port);
    let hub = old.map_or(limits::HUB_PORT, |config| config.hub.port);
    let mut taken: HashSet<u16> =
        old.iter().flat_map(|config| &config.servers).filter_map(|entry| entry.port).collect();
    taken.insert(hub);
    taken.extend(about.iter().flat_map(|about| &about.servers).map(|server| server.port));
    let database = setting.dirs.database();
    if about.is_none()
        && database.exists()
        && let Ok(store) = Store::open(&database)
    {
        taken.extend(store.ports().await.unwrap_or_default().into_values());
        store.close().await;
    }
    let host = old.map_or(std::net::Ipv4Addr::LOCALHOST.into(), |config| config.hub.host);
    let is_free = |port: &u16| !taken.contains(port) && TcpListener::bind((host, *port)).is_ok();
    (first != 0).then(|| (first..=u16::MAX).find(is_free)).flatten()
}

fn own_url(config: Option<&Config>, port: u16) -> String {
    let host = config.map_or(std::net::Ipv4Addr::LOCALHOST.into(), |config| config.hub.host);
    format!("http://{}/mcp", std::net::SocketAddr::new(host, port))
}

/// The server once it is ready, has failed, or waits for its first request.
async fn settled(name: &str, setting: &Setting<'_>) -> Result<AboutServer, Failure> {
    let start = Instant::now();
    let mut said = false;
    loop {
        let about: About = setting.client.get("/v1/about").await?;
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
    let path: &Path = &setting.dirs.config_file;
    edit::known(name, path)?;
    edit::change(path, false, |text| remove_server(text, name))?;
    if !edit::reload(setting).await? {
        setting.out.line(&format!("removed {name} from {}", path.display()))?;
    }
    setting.out.note(&format!(
        "note: clients that point at it find nothing there now; `claude mcp remove {name}` and the like"
    ));
    Ok(())
}

//! The entries of hub's servers for a client, to paste.
//!
//! In: hub.toml, the ports that the daemon remembers. Out: text in the client's own form. Owns nothing. May not: write a
//! file.

use crate::clients::{self, Client, Target};
use crate::config::{Config, Kind, Problem, file};
use crate::platform::detached::lasting_program;
use crate::platform::dirs::Dirs;

use super::discover::Home;
use super::world;

/// The name of the entry of all servers together.
const TOGETHER: &str = "hub";

/// Entries for one client.
#[derive(Debug)]
pub struct Exported {
    /// In the form of the client's user file; ends with a newline.
    pub text: String,
    /// Servers that have no entry because hub has not given them a port yet.
    pub without_port: Vec<String>,
}

/// Why there are no entries.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// hub.toml cannot be read.
    #[error(transparent)]
    HubToml(#[from] file::Error),
    /// hub.toml is wrong.
    #[error("hub.toml is not valid")]
    Invalid(Vec<Problem>),
    /// See [`world::Error`].
    #[error(transparent)]
    World(#[from] world::Error),
}

/// Makes the entries: one for each enabled server, or one for all of them together.
pub fn export(dirs: &Dirs, client: &Client, aggregate: bool) -> Result<Exported, ExportError> {
    let home = Home::find().ok_or(world::Error::NoHome)?;
    let text = file::read(&dirs.config_file)?;
    let loaded = file::load(&text, &dirs.config_file, &home.home);
    let Some(config) = loaded.config else {
        let is_grave = |problem: &Problem| problem.kind != Kind::Environment;
        return Err(ExportError::Invalid(loaded.problems.into_iter().filter(is_grave).collect()));
    };
    let program = lasting_program().map_err(world::Error::Program)?;
    let (path, told) = (program.to_string_lossy(), dirs.told());
    let hub = clients::Program { path: &path, args: &told.args, env: &told.env };
    let (named, without_port) = if aggregate {
        (vec![(TOGETHER.to_owned(), config.hub.url(config.hub.port))], Vec::new())
    } else {
        servers(&config, dirs)
    };
    let target = |(name, url)| {
        let server = if aggregate { "" } else { name };
        (name, Target { server, url, hub })
    };
    let entries: Vec<(&str, Target<'_>)> =
        named.iter().map(|(name, url)| (name.as_str(), url.as_str())).map(target).collect();
    Ok(Exported { text: clients::export(client, &entries), without_port })
}

/// Name and URL of each enabled server, and the names of those without a port.
fn servers(config: &Config, dirs: &Dirs) -> (Vec<(String, String)>, Vec<String>) {
    let remembered = world::remembered(dirs);
    let (mut named, mut without_port) = (Vec::new(), Vec::new());
    for entry in config.servers.iter().filter(|entry| entry.enabled) {
        let name = entry.name.as_str();
        match entry.port.or_else(|| remembered.get(name).copied()) {
            Some(port) => named.push((name.to_owned(), config.hub.url(port))),
            None => without_port.push(name.to_owned()),
        }
    }
    (named, without_port)
}

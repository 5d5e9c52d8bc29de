//! What is wrong on this machine, and what to do about it.
//!
//! In: config, state, service, clients, processes, and the daemon if it runs. Out: findings with hints. Owns nothing.
//! May not: change anything; only `--kill` ends processes, and only those that were shown and confirmed.

pub mod causes;
mod clients;
pub mod copies;
mod files;
pub mod orphans;
mod path;
mod running;
mod same;
mod servers;

use serde::Serialize;

use crate::config::{Config, Loaded, file};
use crate::control::client::{self, Client};
use crate::control::proto::About;
use crate::platform::dirs::{self, Dirs};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, and could be better.
    Warn,
    /// Does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: `config`, `hub`, `ports`, `path`, `server NAME`, `clients`, `disk`, `orphans`.
    pub about: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Lines that belong to it, as the end of stderr.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// Processes of clients that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<copies::RunningCopy>,
}

impl Finding {
    fn new(about: impl Into<String>, level: Level, what: impl Into<String>) -> Self {
        Self { about: about.into(), level, what: what.into(), hint: None, lines: Vec::new(), copies: Vec::new() }
    }

    fn ok(about: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(about, Level::Ok, what)
    }

    fn warn(about: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(about, Level::Warn, what)
    }

    fn fail(about: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(about, Level::Fail, what)
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// What the checks look at.
struct Scene<'a> {
    dirs: &'a Dirs,
    /// hub.toml, if it can be read.
    loaded: Option<Loaded>,
    /// What the daemon says of itself; the error says why there is nothing.
    about: Result<About, client::Error>,
}

impl Scene<'_> {
    fn config(&self) -> Option<&Config> {
        self.loaded.as_ref()?.config.as_ref()
    }

    /// The PATH that servers are looked up in: the daemon's; without one, what a daemon started here would have.
    fn path(&self) -> String {
        let own = || std::env::var("PATH").unwrap_or_default();
        self.about.as_ref().ok().and_then(|about| about.path.clone()).unwrap_or_else(own)
    }
}

/// Looks at everything. Takes up to some seconds: shells and files of clients are slow.
pub async fn examine(dirs: &Dirs) -> Vec<Finding> {
    let text = file::read(&dirs.config_file);
    let home = dirs::home_or_root();
    let loaded = text.as_ref().ok().map(|text| file::load(text, &dirs.config_file, &home));
    let about = about(dirs).await;
    let scene = Scene { dirs, loaded, about };
    let mut findings = files::config(&scene, text.as_ref().err());
    findings.extend(files::state(dirs));
    findings.extend(running::hub(&scene));
    findings.extend(running::ports(&scene));
    findings.extend(path::drift(&scene).await);
    findings.extend(servers::all(&scene));
    // Without a hub.toml that can be read, all that would be said of clients is that once more.
    let is_unreadable = text.as_ref().is_err_and(|error| !matches!(error, file::Error::Absent { .. }));
    let mut clients = if is_unreadable { clients::Clients::default() } else { clients::look(dirs) };
    findings.append(&mut clients.findings);
    findings.extend(copies::findings(&scene, &clients));
    findings.extend(orphans::finding(scene.config()));
    findings
}

/// What the daemon says of itself. One that hangs is as good as none; whose process it is, its lock tells.
async fn about(dirs: &Dirs) -> Result<About, client::Error> {
    let client = Client::new(&dirs.control_socket);
    let silent = || client::Error::NotRunning { socket: dirs.control_socket.clone() };
    let answer = client.prompt("/v1/about").await;
    answer.map_err(|error| if matches!(error, client::Error::Silent) { silent() } else { error })
}

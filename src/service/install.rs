//! hub as a service: installed as a whole or not at all, and gone without a trace.
//!
//! In: hub's folders. Out: a service that runs, or everything as it was. Owns nothing. May not: leave two daemons, or
//! none where one ran before.

use std::path::{Path, PathBuf};

use crate::limits::SHELL_PATH_PATIENCE;
use crate::platform::dirs::Dirs;
use crate::platform::shell_path::{self, Captured};
use crate::platform::sockets::control_owner;

use super::background;
use super::manager::{self, Service};
use super::unit::Unit;

/// Why hub is not a service (any more). The texts are shown to people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manager, or its file.
    #[error(transparent)]
    Manager(#[from] manager::Error),
    /// The daemon that ran before does not stop, or the new one does not serve.
    #[error(transparent)]
    Background(#[from] background::Error),
}

/// The PATH that a service is to have.
#[derive(Debug)]
pub struct ChosenPath {
    /// Absolute folders, each once.
    pub path: String,
    /// The shell that told it; else why it did not, and the PATH is that of this process.
    pub from: Result<PathBuf, shell_path::Error>,
}

impl ChosenPath {
    /// Its folders that are not in `other`.
    pub fn beyond(&self, other: &str) -> Vec<PathBuf> {
        beyond(&self.path, other)
    }
}

/// The folders of a PATH that are not in another.
pub fn beyond(path: &str, other: &str) -> Vec<PathBuf> {
    let known = shell_path::directories(other.as_ref());
    shell_path::directories(path.as_ref()).into_iter().filter(|folder| !known.contains(folder)).collect()
}

/// Asks the login shell, for a few seconds at most.
pub async fn choose_path() -> ChosenPath {
    let tidy = |path: &std::ffi::OsStr| {
        let folders = shell_path::directories(path).into_iter().map(PathBuf::into_os_string);
        let utf8 = folders.filter_map(|folder| folder.into_string().ok());
        utf8.collect::<Vec<_>>().join(":")
    };
    match shell_path::capture(SHELL_PATH_PATIENCE).await {
        Ok(Captured { path, shell }) => ChosenPath { path: tidy(path.as_ref()), from: Ok(shell) },
        Err(error) => ChosenPath { path: tidy(&shell_path::current()), from: Err(error) },
    }
}

/// Makes hub a service that runs now and at every login. Says whether a daemon in the background was stopped for it. When
/// it fails, everything is as it was.
pub async fn install(service: &Service, unit: &Unit, dirs: &Dirs) -> Result<bool, Error> {
    service.answers().await?;
    let old = service.installed()?;
    let before = service.state().await;
    let owner = control_owner(&dirs.control_socket);
    let in_background = owner.is_some() && (!before.running || before.pid != owner);
    if in_background {
        background::stop(dirs).await?;
    }
    let installed = async {
        service.write(old.as_deref(), &service.render(unit))?;
        service.enable().await?;
        Ok(background::wait(dirs).await?)
    };
    match installed.await {
        Ok(()) => Ok(in_background),
        Err(error) => {
            put_back(service, old.as_deref(), before.running).await;
            if in_background {
                background::start(dirs).await.ok();
            }
            Err(error)
        }
    }
}

/// As it was before a failed install. What goes wrong here is less than what went wrong before.
async fn put_back(service: &Service, old: Option<&str>, ran: bool) {
    service.disable().await.ok();
    let now = service.installed().ok().flatten();
    match old {
        Some(text) if now.as_deref() != old => service.write(now.as_deref(), text).ok(),
        Some(_) => None,
        None => service.remove().ok(),
    };
    service.read_again().await;
    if old.is_some() && ran {
        service.enable().await.ok();
    }
}

/// Stops the service and removes its file. `false`: there was none.
pub async fn uninstall(service: &Service) -> Result<bool, Error> {
    if service.installed()?.is_none() {
        return Ok(false);
    }
    // Where nobody answers, nothing runs.
    if service.answers().await.is_ok() {
        service.disable().await?;
    }
    service.remove()?;
    service.read_again().await;
    Ok(true)
}

/// Makes sure that a daemon serves with these folders: the service if it is theirs, else one in the background.
pub async fn start(dirs: &Dirs) -> Result<background::Outcome, Error> {
    if control_owner(&dirs.control_socket).is_none()
        && let Some(service) = ours(dirs).await
    {
        service.start().await?;
        background::wait(dirs).await?;
        return Ok(background::Outcome::Started);
    }
    Ok(background::start(dirs).await?)
}

/// Stops the daemon of these folders, by the service manager if it runs under it. `false`: none runs.
pub async fn stop(dirs: &Dirs) -> Result<bool, Error> {
    if let Some(service) = ours(dirs).await
        && service.state().await.running
    {
        service.stop().await?;
        // Another may run beside the service that was starting again and again.
        background::stop(dirs).await?;
        return Ok(true);
    }
    Ok(background::stop(dirs).await?)
}

/// The service of these folders, if there is one and its manager answers.
async fn ours(dirs: &Dirs) -> Option<Service> {
    let service = Service::of_this_user().ok().filter(|service| service.is_installed_for(dirs))?;
    service.answers().await.is_ok().then_some(service)
}

/// The program of a service: by a path that an upgrade keeps.
pub fn program() -> std::io::Result<PathBuf> {
    crate::platform::detached::lasting_program()
}

/// What the service of these folders will be; `config` is what `--config` said.
pub fn unit(dirs: &Dirs, config: Option<&Path>, path: &str) -> Result<Unit, Error> {
    let program = program().map_err(|error| manager::Error::File { file: "hub".into(), error })?;
    let place = |name: &str| std::env::var_os(name);
    Ok(Unit::new(&program, dirs, config, path, place).map_err(manager::Error::from)?)
}

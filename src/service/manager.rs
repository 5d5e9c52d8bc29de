//! The service manager of this user: what it knows of hub, and what hub asks of it.
//!
//! In: a [`Unit`]. Out: a file in the manager's folder, commands to `systemctl` or `launchctl`, a [`State`]. Owns nothing.
//! May not: touch a file that hub did not write, or wait for a command for ever.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::files;
use crate::limits::SERVICE_COMMAND_PATIENCE;
use crate::platform::dirs::Dirs;
use crate::platform::init::{self, Kind};

use super::unit::{Unfit, Unit, WRITTEN_BY, tag};
use super::{launchd, systemd};

/// What the manager knows of hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// It has read the file.
    pub loaded: bool,
    /// It starts hub at login.
    pub enabled: bool,
    /// hub runs under it, or is about to.
    pub running: bool,
    /// The daemon's process.
    pub pid: Option<u32>,
    /// Why it does not run, in the manager's words.
    pub failure: Option<String>,
}

/// Why the manager did not do what was asked. The texts are shown to people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `HOME` nor the user database names a home.
    #[error("cannot find your home folder: set HOME")]
    NoHome,
    /// Nobody answers, as in a container.
    #[error("no service manager answers for your user: {why}")]
    Nobody {
        /// What was tried, and what came of it.
        why: String,
    },
    /// A file of that name is somebody else's.
    #[error("{} was not written by hub, and stays as it is", .0.display())]
    Foreign(PathBuf),
    /// The file cannot be read, written or removed.
    #[error("cannot change {}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The file cannot be replaced.
    #[error("cannot write {}", .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        error: files::Error,
    },
    /// A text that the file cannot hold.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A command that did not succeed.
    #[error("`{command}` failed: {why}")]
    Command {
        /// As one would type it.
        command: String,
        /// What it wrote, or how it ended.
        why: String,
    },
}

/// hub as the service manager sees it.
#[derive(Debug, Clone)]
pub struct Service {
    kind: Kind,
    file: PathBuf,
}

impl Service {
    /// Of this system and user.
    pub fn of_this_user() -> Result<Self, Error> {
        let kind = init::kind();
        let name = match kind {
            Kind::Systemd => systemd::NAME.to_owned(),
            Kind::Launchd => format!("{}.plist", launchd::LABEL),
        };
        Ok(Self { kind, file: init::folder(kind).ok_or(Error::NoHome)?.join(name) })
    }

    /// `systemd` or `launchd`.
    pub fn manager(&self) -> &'static str {
        match self.kind {
            Kind::Systemd => "systemd",
            Kind::Launchd => "launchd",
        }
    }

    /// The unit or the agent.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What a person types to start it after `--no-start`.
    pub fn how_to_start(&self) -> String {
        match self.kind {
            Kind::Systemd => "systemctl --user daemon-reload && systemctl --user enable --now hub".to_owned(),
            Kind::Launchd => format!("launchctl bootstrap {} {}", init::launchd_domain(), self.file.display()),
        }
    }

    /// What a person types to see its log.
    pub fn how_to_look(&self, dirs: &Dirs) -> String {
        match self.kind {
            Kind::Systemd => "journalctl --user --unit hub".to_owned(),
            Kind::Launchd => format!("tail {}", dirs.own_log().display()),
        }
    }

    /// The PATH of a service that names none.
    pub fn default_path(&self) -> &'static str {
        match self.kind {
            Kind::Systemd => systemd::DEFAULT_PATH,
            Kind::Launchd => launchd::DEFAULT_PATH,
        }
    }

    /// The text of the file.
    pub fn render(&self, unit: &Unit) -> String {
        match self.kind {
            Kind::Systemd => systemd::render(unit),
            Kind::Launchd => launchd::render(unit),
        }
    }

    // === the file ===

    /// The text of the file, if hub wrote it. An error when somebody else did.
    pub fn installed(&self) -> Result<Option<String>, Error> {
        match fs::read_to_string(&self.file) {
            Ok(text) if text.contains(WRITTEN_BY) => Ok(Some(text)),
            Ok(_) => Err(Error::Foreign(self.file.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.wrong(error)),
        }
    }

    /// Is the service that is installed the hub of these folders? Another one may have folders of its own.
    pub fn is_installed_for(&self, dirs: &Dirs) -> bool {
        let tag = tag(&dirs.control_socket.display().to_string());
        self.installed().ok().flatten().is_some_and(|text| text.contains(&tag))
    }

    /// The variables of the file.
    pub fn environment(&self, text: &str) -> BTreeMap<String, String> {
        match self.kind {
            Kind::Systemd => systemd::environment(text),
            Kind::Launchd => launchd::environment(text),
        }
    }

    /// Writes the file as a whole, if it still is `before`; its folder is made. Readable for all, as is customary: no
    /// secret is in it.
    pub fn write(&self, before: Option<&str>, text: &str) -> Result<(), Error> {
        fs::create_dir_all(self.file.parent().unwrap_or(Path::new("/"))).map_err(|error| self.wrong(error))?;
        let mode = |old: Option<u32>| old.unwrap_or(0o644);
        let written = files::replace(&self.file, before.map(str::as_bytes), text.as_bytes(), mode);
        written.map_err(|error| Error::Write { file: self.file.clone(), error })
    }

    /// Removes the file, and the folders of it that are empty then.
    pub fn remove(&self) -> Result<(), Error> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.wrong(error)),
            _ => {}
        }
        if self.kind == Kind::Systemd {
            // Links of `systemctl enable` are gone already; a folder that holds something stays.
            for folder in self.file.ancestors().skip(1).take(2) {
                fs::remove_dir(folder.join("default.target.wants")).ok();
                fs::remove_dir(folder).ok();
            }
        }
        Ok(())
    }

    fn wrong(&self, error: io::Error) -> Error {
        Error::File { file: self.file.clone(), error }
    }

    // === commands ===

    /// Does the manager answer?
    pub async fn answers(&self) -> Result<(), Error> {
        let asked = match self.kind {
            Kind::Systemd => self.systemctl(&["show", "--property=Version", "--value"]).await,
            Kind::Launchd => run("launchctl", &["print", &init::launchd_domain()]).await,
        };
        asked.map(drop).map_err(|error| Error::Nobody { why: error.to_string() })
    }

    /// What the manager knows; nothing, if it does not answer.
    pub async fn state(&self) -> State {
        match self.kind {
            Kind::Systemd => systemd::state(&self.systemctl(&systemd::SHOW).await.unwrap_or_default()),
            Kind::Launchd => launchd::state(&run("launchctl", &["print", &target()]).await.unwrap_or_default()),
        }
    }

    /// Reads the file that was written, starts hub, and starts it at every login.
    pub async fn enable(&self) -> Result<(), Error> {
        match self.kind {
            Kind::Systemd => {
                self.systemctl(&["daemon-reload"]).await?;
                self.systemctl(&["enable", systemd::NAME]).await?;
                // What runs under the old text, if anything does, must not go on with it.
                self.systemctl(&["restart", systemd::NAME]).await?;
            }
            Kind::Launchd => {
                self.stop().await.ok();
                run("launchctl", &["enable", &target()]).await?;
                run("launchctl", &["bootstrap", &init::launchd_domain(), &self.file.display().to_string()]).await?;
            }
        }
        Ok(())
    }

    /// Starts it, if it does not run.
    pub async fn start(&self) -> Result<(), Error> {
        match self.kind {
            Kind::Systemd => {
                // The file may be newer than what the manager has read, and what failed before is over.
                self.systemctl(&["daemon-reload"]).await?;
                self.systemctl(&["reset-failed", systemd::NAME]).await.ok();
                self.systemctl(&["start", systemd::NAME]).await.map(drop)
            }
            Kind::Launchd if self.state().await.loaded => run("launchctl", &["kickstart", &target()]).await.map(drop),
            Kind::Launchd => {
                run("launchctl", &["bootstrap", &init::launchd_domain(), &self.file.display().to_string()])
                    .await
                    .map(drop)
            }
        }
    }

    /// Stops it, so that it is not restarted before the next login.
    pub async fn stop(&self) -> Result<(), Error> {
        match self.kind {
            Kind::Systemd => self.systemctl(&["stop", systemd::NAME]).await.map(drop),
            Kind::Launchd => run("launchctl", &["bootout", &target()]).await.map(drop),
        }
    }

    /// Stops it for good, and forgets it.
    pub async fn disable(&self) -> Result<(), Error> {
        match self.kind {
            Kind::Systemd => self.systemctl(&["disable", "--now", systemd::NAME]).await.map(drop),
            Kind::Launchd => self.stop().await,
        }
    }

    /// After the file has changed or is gone.
    pub async fn read_again(&self) {
        if self.kind == Kind::Systemd {
            self.systemctl(&["daemon-reload"]).await.ok();
            self.systemctl(&["reset-failed", systemd::NAME]).await.ok();
        }
    }

    /// The variables that the manager gives to all services, besides those of the file. `None`: nobody can tell.
    pub async fn shared_environment(&self) -> Option<Vec<String>> {
        match self.kind {
            Kind::Systemd => {
                let shown = self.systemctl(&["show-environment"]).await.ok()?;
                Some(shown.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect())
            }
            // launchd gives each agent these and what `launchctl setenv` added, which it does not list.
            Kind::Launchd => Some(["HOME", "USER", "LOGNAME", "SHELL", "TMPDIR"].map(str::to_owned).to_vec()),
        }
    }

    /// Would hub end with the last login of this user?
    pub async fn ends_with_login(&self) -> bool {
        let (Kind::Systemd, Some(user)) = (self.kind, init::user()) else { return false };
        let lingers = run("loginctl", &["show-user", &user, "--property=Linger", "--value"]).await;
        lingers.is_ok_and(|shown| shown.trim() == "no")
    }

    async fn systemctl(&self, words: &[&str]) -> Result<String, Error> {
        run("systemctl", &[&["--user"], words].concat()).await
    }
}

fn target() -> String {
    format!("{}/{}", init::launchd_domain(), launchd::LABEL)
}

/// Runs a command, and gives what it printed.
async fn run(program: &str, words: &[&str]) -> Result<String, Error> {
    let failed = |why: String| Error::Command { command: [&[program], words].concat().join(" "), why };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(SERVICE_COMMAND_PATIENCE, command.output()).await;
    let output =
        output.map_err(|_elapsed| failed("it did not end".to_owned()))?.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(if said.is_empty() { output.status.to_string() } else { said }))
}

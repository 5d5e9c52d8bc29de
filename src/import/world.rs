//! What a plan asks of this machine: files, variables, ports, git.
//!
//! In: the folders of this user and of hub. Out: a [`Plan`] of the real world. Owns nothing. May not: change anything.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::discover::{self, Home, Wanted};
use super::judge::Told;
use super::plan::{self, HubToml, Manner, Plan, Sources, World};
use crate::clients::Program;
use crate::config::file;
use crate::platform::detached::lasting_program;
use crate::platform::dirs::Dirs;
use crate::platform::sockets;
use crate::store;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `HOME` nor the user database names one.
    #[error("cannot find your home folder: set HOME")]
    NoHome,
    /// A named file cannot be looked at.
    #[error(transparent)]
    File(#[from] discover::Error),
    /// hub.toml is there and cannot be read.
    #[error(transparent)]
    HubToml(#[from] file::Error),
    /// See [`plan::Error`].
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// Where this program is.
    #[error("cannot tell where the hub program is")]
    Program(#[source] std::io::Error),
}

/// Looks at everything and makes the plan.
pub fn prepare(wanted: &Wanted, manner: Manner, dirs: &Dirs) -> Result<Plan, Error> {
    prepare_for(&Home::find().ok_or(Error::NoHome)?, wanted, manner, dirs)
}

/// The same for a home that is not this environment's.
pub(super) fn prepare_for(home: &Home, wanted: &Wanted, manner: Manner, dirs: &Dirs) -> Result<Plan, Error> {
    let sources = sources(home, wanted)?;
    let hub = hub_toml(&dirs.config_file)?;
    let program = lasting_program().map_err(Error::Program)?;
    let (remembered, told) = (store::ports_in(&dirs.database()), dirs.told());
    let host = host(hub.text.as_deref().unwrap_or_default(), &hub.path, &home.home);
    let world = World {
        load: &|text| file::load(text, &dirs.config_file, &home.home),
        exists: &Path::exists,
        is_free: &|port| sockets::is_free(host, port),
        is_tracked: &is_tracked,
        has_program: &has_program,
        remembered: &remembered,
        hub: Program { path: &program.to_string_lossy(), args: &told.args, env: &told.env },
        is_own: &|told| is_own(told, dirs),
    };
    Ok(plan::plan(&sources, &hub, manner, &world)?)
}

/// Whether a hub that is told these has the same hub.toml and the same daemon, by whatever names.
fn is_own(told: Told<'_>, dirs: &Dirs) -> bool {
    let is_same = |one: &Path, other: &Path| real(one) == real(other);
    Dirs::meant(told.config.map(OsStr::new), told.state.map(OsStr::new))
        .is_ok_and(|meant| is_same(&meant.config_file, &dirs.config_file) && is_same(&meant.state_dir, &dirs.state_dir))
}

/// A path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let known = |part: &Path| Some(fs::canonicalize(part).ok()?.join(path.strip_prefix(part).ok()?));
    path.ancestors().find_map(known).unwrap_or_else(|| path.to_owned())
}

fn sources(home: &Home, wanted: &Wanted) -> Result<Sources, Error> {
    let mut all = home.sources(wanted)?;
    let asked = all.len();
    let mut claude = None;
    if let Some(companion) = home.claude() {
        claude = all.iter().position(|source| source.real == companion.real).or(Some(asked));
        if claude == Some(asked) {
            all.push(companion);
        }
    }
    Ok(Sources { all, asked, claude })
}

pub(super) fn hub_toml(path: &Path) -> Result<HubToml, Error> {
    let real = fs::canonicalize(path).unwrap_or_else(|_absent| path.to_owned());
    let text = match file::read(path) {
        Err(file::Error::Absent { .. }) => None,
        other => Some(other?),
    };
    let mode = fs::metadata(&real).map_or(0o600, |found| found.permissions().mode() & 0o7777);
    Ok(HubToml { path: real, text, mode })
}

/// The address that hub listens on.
fn host(text: &str, path: &Path, home: &Path) -> IpAddr {
    file::load(text, path, home).config.map_or(IpAddr::from([127, 0, 0, 1]), |config| config.hub.host)
}

/// Whether git tracks a file. Outside of a repository nothing is tracked; in one that git says nothing of, everything.
fn is_tracked(path: &Path) -> bool {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return false };
    let mut git = Command::new("git");
    // A repository comes from anybody, and its own configuration names programs for git to run: none of them here.
    git.args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]);
    git.arg("--literal-pathspecs").arg("-C").arg(folder);
    git.args(["ls-files", "--error-unmatch", "--"]).arg(name);
    // Looking changes nothing, and asks nobody.
    git.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0");
    for inherited in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_CEILING_DIRECTORIES"] {
        git.env_remove(inherited);
    }
    git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match git.status().map(|status| status.code()) {
        Ok(Some(0)) => true,
        Ok(Some(1)) => false,
        // No repository; or one that git does not trust, or no git to ask: its files may well be committed.
        _ => folder.ancestors().any(|folder| folder.join(".git").exists()),
    }
}

/// Whether a command can be started from a folder.
fn has_program(command: &str, cwd: &Path) -> bool {
    let is_program = |path: PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if command.contains('/') {
        return is_program(cwd.join(command));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(folder.join(command)))
}

/// Ports that the daemon remembers.
pub(super) fn remembered(dirs: &Dirs) -> HashMap<String, u16> {
    store::ports_in(&dirs.database())
}

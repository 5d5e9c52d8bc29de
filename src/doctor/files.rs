//! hub.toml and the state folder: there, valid, private, and with room to grow.
//!
//! In: paths, what was read. Out: findings. Owns nothing. May not: show a value of hub.toml.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::config::{Kind, file};
use crate::limits::{DOCTOR_DISK_BYTES_MIN, DOCTOR_LOG_BYTES_MAX};
use crate::platform::dirs::Dirs;

use super::{Finding, Scene};

pub(super) fn config(scene: &Scene<'_>, unreadable: Option<&file::Error>) -> Vec<Finding> {
    const ABOUT: &str = "config";
    let path = &scene.dirs.config_file;
    if let Some(error) = unreadable {
        let said = match (error, std::error::Error::source(error)) {
            // What to do is said below.
            (file::Error::Writable { mode, .. }, _) => {
                format!("others may write {} (mode {mode:03o}), and it says what hub runs", path.display())
            }
            (_, Some(source)) => format!("{error}: {source}"),
            (_, None) => error.to_string(),
        };
        let finding = Finding::fail(ABOUT, said);
        return vec![match error {
            file::Error::Absent { .. } => {
                finding.hint("`hub up` imports what your clients have; `hub add` writes a first server")
            }
            file::Error::Writable { .. } => finding.hint(format!("run: chmod 600 {}", path.display())),
            _ => finding,
        }];
    }
    let mut findings = Vec::new();
    let Some(loaded) = &scene.loaded else { return findings };
    let (mistakes, surroundings): (Vec<_>, Vec<_>) =
        loaded.problems.iter().partition(|problem| problem.kind != Kind::Environment);
    let servers = scene.config().map_or(0, |config| config.servers.len());
    if mistakes.is_empty() {
        let plural = if servers == 1 { "" } else { "s" };
        findings.push(Finding::ok(ABOUT, format!("{}: {servers} server{plural}", path.display())));
    }
    findings.extend(mistakes.iter().map(|problem| {
        Finding::fail(ABOUT, problem.to_string())
            .hint("hub goes on with the last version that was right; `hub check` shows all")
    }));
    // What keeps one server from running is told of that server.
    let of_all = surroundings.iter().filter(|problem| problem.server.is_none());
    findings.extend(of_all.map(|problem| Finding::fail(ABOUT, problem.to_string())));
    let others = mode(path).filter(|mode| mode & 0o077 != 0);
    findings.extend(others.map(|mode| {
        Finding::warn(
            ABOUT,
            format!("{} can be read by others (mode {mode:03o}), and may hold secrets", path.display()),
        )
        .hint(format!("run: chmod 600 {}", path.display()))
    }));
    findings
}

pub(super) fn state(dirs: &Dirs) -> Vec<Finding> {
    const ABOUT: &str = "disk";
    let folder = &dirs.state_dir;
    if !folder.exists() {
        return vec![Finding::ok(ABOUT, format!("{} is made when hub first runs", folder.display()))];
    }
    let mut findings = Vec::new();
    let others = mode(folder).filter(|mode| mode & 0o077 != 0);
    findings.extend(others.map(|mode| {
        Finding::warn(ABOUT, format!("{} is open to others (mode {mode:03o})", folder.display()))
            .hint(format!("run: chmod 700 {}", folder.display()))
    }));
    if let Ok(disk) = statvfs(folder) {
        // The types differ from system to system.
        #[allow(clippy::allow_attributes, clippy::useless_conversion, clippy::unnecessary_cast, reason = "see above")]
        let free = (disk.blocks_available() as u64).saturating_mul(disk.fragment_size() as u64);
        if free < DOCTOR_DISK_BYTES_MIN {
            let what = format!("only {} MB are free where the state is ({})", free >> 20, folder.display());
            findings.push(Finding::fail(ABOUT, what).hint("hub keeps sessions and logs there: make room"));
        }
    }
    let logs = size(&dirs.logs());
    if logs > DOCTOR_LOG_BYTES_MAX {
        let what = format!("the logs take {} MB ({})", logs >> 20, dirs.logs().display());
        findings.push(Finding::warn(ABOUT, what).hint("logs of servers that are gone can be deleted"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(ABOUT, format!("{}: private, {} MB of logs", folder.display(), logs >> 20)));
    }
    findings
}

fn mode(path: &Path) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o777)
}

/// Bytes of the files in a folder.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

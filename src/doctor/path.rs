//! PATH: what the daemon has against what a login shell would give (FIELD 2.2: the commonest trouble of all).
//!
//! In: the daemon's PATH, a login shell. Out: a finding. Owns nothing. May not: wait for a shell without an end.

use crate::service::install;

use super::{Finding, Scene};

const ABOUT: &str = "path";

pub(super) async fn drift(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(path) = scene.about.as_ref().ok().and_then(|about| about.path.as_deref()) else { return Vec::new() };
    let chosen = install::choose_path().await;
    let shell = match &chosen.from {
        Ok(shell) => shell.display(),
        Err(error) => return vec![Finding::warn(ABOUT, format!("the login shell does not tell its PATH: {error}"))],
    };
    let missing = chosen.beyond(path);
    if missing.is_empty() {
        return vec![Finding::ok(ABOUT, format!("hub has all folders that {shell} has"))];
    }
    let folders: Vec<String> = missing.iter().map(|folder| folder.display().to_string()).collect();
    let what = format!("{shell} has folders in its PATH that hub does not have: {}", folders.join(", "));
    vec![Finding::warn(ABOUT, what).hint(
        "`hub service install` takes PATH over again; without the service, `hub down` and `hub up` from a new shell do",
    )]
}

//! PATH: what the daemon has against what a login shell would give (FIELD 2.2: the commonest trouble of all).
//!
//! In: the daemon's PATH, a login shell. Out: a finding. Owns nothing. May not: wait long for a shell.

use super::{Finding, Scene};

pub(super) async fn drift(scene: &Scene<'_>) -> Vec<Finding> {
    if scene.about.is_err() {
        return Vec::new();
    }
    let _ = scene.path();
    Vec::new()
}

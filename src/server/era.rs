//! What was learnt about the era that a program speaks, and for how long that holds (PROTOCOL 2.7).
//!
//! In: verdicts of openings, what is about to be opened, the time. Out: the [`Way`] to open it, what to keep for the next
//! run. Owns the belief about one server, which its instances share. May not: touch the store, or believe anything of a
//! program that has changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::child::Executable;
use crate::config::{EraChoice, ServerSpec};
use crate::limits::LEGACY_VERDICT;
use crate::mcp::Era;

use super::opening::Way;

/// Which era a program spoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    era: Era,
    /// Of what it was learnt, see [`key`].
    key: String,
    /// When, in seconds since 1970.
    at: u64,
}

/// What is believed of a server. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Belief(Arc<Mutex<Option<Verdict>>>);

/// Hex SHA-256 of everything that decides which era answers: the configuration, and the file that is executed. A script
/// behind an interpreter may change unnoticed; that is why a legacy verdict ages.
pub(super) fn key(spec: &ServerSpec, executable: &Executable) -> String {
    let modified = executable.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(b"hub era 1");
    hash.update(spec.fingerprint());
    hash.update(executable.size.to_be_bytes());
    hash.update(modified.as_nanos().to_be_bytes());
    hash.update(executable.path.as_os_str().as_encoded_bytes());
    format!("{:x}", hash.finalize())
}

impl Belief {
    /// What an earlier run has kept.
    pub(super) fn recalled(value: &[u8]) -> Self {
        Self(Arc::new(Mutex::new(serde_json::from_slice(value).ok())))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Verdict>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How to open what has this key. `again`: its last process has just died, and nobody wants to wait.
    pub(super) fn way(&self, choice: EraChoice, key: &str, again: bool, now: SystemTime) -> Way {
        let era = match choice {
            EraChoice::Legacy => return Way::OnlyInitialize,
            EraChoice::Modern => return Way::OnlyDiscover,
            EraChoice::Auto => {
                let verdict = self.lock();
                verdict.as_ref().filter(|v| v.key == key && (again || v.holds(now))).map(|v| v.era)
            }
        };
        match era {
            None => Way::Probe,
            Some(Era::Legacy) => Way::Initialize,
            Some(Era::Modern) => Way::Discover,
        }
    }

    /// What has this key was opened, in this era. Gives what is to be kept for the next run, if that is new.
    pub(super) fn learn(&self, key: &str, era: Era, now: SystemTime) -> Option<Vec<u8>> {
        let mut verdict = self.lock();
        // What held is not made younger: nothing new was learnt by skipping the probe.
        if verdict.as_ref().is_some_and(|v| v.key == key && v.era == era && v.holds(now)) {
            return None;
        }
        let learnt = Verdict { era, key: key.to_owned(), at: seconds(now) };
        let value = serde_json::to_vec(&learnt).ok();
        *verdict = Some(learnt);
        value
    }

    /// Whatever was believed proved wrong. Whether there was anything.
    pub(super) fn forget(&self) -> bool {
        self.lock().take().is_some()
    }
}

impl Verdict {
    /// A modern verdict is put to the proof at each start. A server that was upgraded from legacy to both still answers
    /// `initialize`: only age retires that verdict.
    fn holds(&self, now: SystemTime) -> bool {
        let age = seconds(now).checked_sub(self.at);
        self.era == Era::Modern || age.is_some_and(|age| Duration::from_secs(age) < LEGACY_VERDICT)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerName;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn later(hours: u64) -> SystemTime {
        NOW + Duration::from_hours(hours)
    }

    #[test]
    fn a_legacy_verdict_holds_for_a_day_and_is_not_renewed_by_itself() {
        let belief = Belief::default();
        assert_eq!(belief.way(EraChoice::Auto, "k", false, NOW), Way::Probe);
        let kept = belief.learn("k", Era::Legacy, NOW).expect("new");
        assert_eq!(belief.learn("k", Era::Legacy, later(23)), None);
        for belief in [belief, Belief::recalled(&kept)] {
            assert_eq!(belief.way(EraChoice::Auto, "k", false, later(23)), Way::Initialize);
            assert_eq!(belief.way(EraChoice::Auto, "other", false, later(1)), Way::Probe, "the program has changed");
            assert_eq!(belief.way(EraChoice::Auto, "k", false, later(24)), Way::Probe);
            assert_eq!(belief.way(EraChoice::Auto, "k", true, later(24)), Way::Initialize, "its process just died");
            assert!(belief.learn("k", Era::Legacy, later(24)).is_some(), "it was probed again");
            assert_eq!(belief.way(EraChoice::Auto, "k", false, later(25)), Way::Initialize);
        }
        assert_eq!(Belief::recalled(b"garbage").way(EraChoice::Auto, "k", false, NOW), Way::Probe);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_verdict_immortal() {
        let belief = Belief::default();
        belief.learn("k", Era::Legacy, later(1000));
        assert_eq!(belief.way(EraChoice::Auto, "k", false, later(1)), Way::Probe);
    }

    #[test]
    fn a_modern_verdict_does_not_age_and_can_be_lost() {
        let belief = Belief::default();
        belief.learn("k", Era::Modern, NOW);
        assert_eq!(belief.clone().way(EraChoice::Auto, "k", false, later(10_000)), Way::Discover);
        assert!(belief.forget());
        assert!(!belief.forget());
        assert_eq!(belief.way(EraChoice::Auto, "k", true, NOW), Way::Probe);
    }

    #[test]
    fn a_pin_needs_no_belief() {
        let belief = Belief::default();
        belief.learn("k", Era::Modern, NOW);
        assert_eq!(belief.way(EraChoice::Legacy, "k", true, NOW), Way::OnlyInitialize);
        belief.learn("k", Era::Legacy, NOW);
        assert_eq!(belief.way(EraChoice::Modern, "k", true, NOW), Way::OnlyDiscover);
    }

    #[test]
    fn the_key_sees_the_program_and_the_configuration() {
        let spec = ServerSpec::new(ServerName::new("s").expect("valid"), "cmd", "/");
        let file = Executable { path: "/bin/cmd".into(), size: 1, modified: later(1) };
        let base = key(&spec, &file);
        assert_eq!(base.len(), 64);
        let others = [
            Executable { path: "/usr/bin/cmd".into(), ..file.clone() },
            Executable { size: 2, ..file.clone() },
            Executable { modified: later(2), ..file.clone() },
        ];
        assert!(others.iter().all(|other| key(&spec, other) != base));
        let other = ServerSpec { args: vec!["--modern".into()], ..spec.clone() };
        assert_ne!(key(&other, &file), base);
        let slower = ServerSpec { probe_timeout: Duration::from_secs(1), ..spec };
        assert_eq!(key(&slower, &file), base);
    }
}

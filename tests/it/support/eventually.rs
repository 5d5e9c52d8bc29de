//! Waiting for what will happen, without guessing how long it takes.
//!
//! In: a condition. Out: its value, or a panic that names it. Owns nothing. May not: be used to order two things; poll for
//! the first instead.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen: `HUB_TEST_PATIENCE_SECONDS`, 30 by default.
pub fn patience() -> Duration {
    let seconds = std::env::var("HUB_TEST_PATIENCE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

/// Polls until `look` finds something.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(patience(), what, look)
}

/// Polls until `look` finds something, for at most `limit`.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {:?} in vain: {what}", start.elapsed());
        sleep(Duration::from_millis(10));
    }
}

/// Asserts that `holds` stays true for all of `time`: for what must *not* happen, where nothing marks its absence.
pub fn stays(what: &str, time: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < time {
        assert!(holds(), "no longer true after {:?}: {what}", start.elapsed());
        sleep(Duration::from_millis(10));
    }
}

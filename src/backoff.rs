//! Jittered exponential backoff.
//!
//! In: a policy and a random fraction. Out: the next pause. Owns the attempt count. May not: read a clock or sleep.

use std::time::Duration;

/// Doubles from `initial` to `max`; each pause is drawn from the upper half of its step, so that many servers that
/// died together do not start together.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    attempt: u32,
}

impl Backoff {
    /// A backoff between two pauses; `max` below `initial` counts as `initial`.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max: max.max(initial), attempt: 0 }
    }

    /// The next pause. `fraction` is a random number in 0..=1.
    pub fn next_pause(&mut self, fraction: f64) -> Duration {
        let factor = 2u32.saturating_pow(self.attempt.min(20));
        self.attempt += 1;
        let step = self.initial.saturating_mul(factor).min(self.max);
        step.mul_f64(0.5 + 0.5 * fraction.clamp(0.0, 1.0))
    }

    /// How many pauses were given since the last reset.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Back to the first pause.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stays_within_its_bounds(initial in 1u64..10_000, max in 1u64..100_000, tries in 1usize..64, fraction in 0.0f64..=1.0) {
            let mut backoff = Backoff::new(Duration::from_millis(initial), Duration::from_millis(max));
            let mut last_step = Duration::ZERO;
            for _ in 0..tries {
                let pause = backoff.next_pause(fraction);
                prop_assert!(pause >= Duration::from_millis(initial) / 2);
                prop_assert!(pause <= Duration::from_millis(max.max(initial)));
                prop_assert!(pause >= last_step);
                last_step = pause;
            }
            backoff.reset();
            prop_assert!(backoff.next_pause(1.0) <= Duration::from_millis(initial));
        }
    }
}

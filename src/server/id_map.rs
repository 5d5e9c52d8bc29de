//! Tables by numbers that hub itself gives out.
//!
//! In: ids. Out: a [`HashMap`] with a hash of one multiplication. Owns nothing. May not: be used for what a peer chooses
//! (it could choose what falls into one place).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table whose keys are hub's own numbers, one after another.
pub(super) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Spreads consecutive numbers over both ends of the hash, which is all that such a table needs.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio: neighbours come to lie far apart.
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::outlet::CallId;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn consecutive_numbers_collide_nowhere() {
        let hash = |number: u64| {
            let mut hasher = IdHasher::default();
            hasher.write_u64(number);
            hasher.finish()
        };
        for from in [0, 1 << 20, 1 << 63] {
            assert_eq!((from..from + 4096).map(|number| hash(number) % 4096).collect::<HashSet<_>>().len(), 4096);
            assert!((from..from + 4096).map(|number| hash(number) >> 57).collect::<HashSet<_>>().len() > 100);
        }
        let map: IdMap<CallId, u64> = (0..100).map(|number| (CallId(number), number)).collect();
        assert_eq!((map[&CallId(7)], map.len()), (7, 100));
    }
}

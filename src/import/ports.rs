//! Ports for new servers: fixed in hub.toml, so that the URL in a client's file never changes.
//!
//! In: the first port, the ports that are taken, a way to ask the system. Out: free ones, the lowest first. Owns what it
//! gave out. PURE. May not: open a socket itself.

use std::collections::BTreeSet;

use crate::limits::FIRST_SERVER_PORT;

/// Gives out ports.
pub(super) struct Ports<'a> {
    next: u16,
    taken: BTreeSet<u16>,
    is_free: &'a dyn Fn(u16) -> bool,
}

impl<'a> Ports<'a> {
    /// From `first` upwards (0: hub's default), without those that are taken.
    pub(super) fn from(first: u16, taken: impl IntoIterator<Item = u16>, is_free: &'a dyn Fn(u16) -> bool) -> Self {
        let next = if first == 0 { FIRST_SERVER_PORT } else { first };
        Self { next, taken: taken.into_iter().collect(), is_free }
    }

    /// The next one; none when there is no free port up to the last one.
    pub(super) fn give(&mut self) -> Option<u16> {
        let port = (self.next..=u16::MAX).find(|port| !self.taken.contains(port) && (self.is_free)(*port))?;
        self.taken.insert(port);
        self.next = port;
        Some(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_one_comes_first() {
        let mut ports = Ports::from(100, [100, 102], &|port| port != 103);
        assert_eq!([ports.give(), ports.give(), ports.give()], [Some(101), Some(104), Some(105)]);
        assert_eq!(Ports::from(0, [], &|_| true).give(), Some(FIRST_SERVER_PORT));
        let mut last = Ports::from(u16::MAX, [], &|_| true);
        assert_eq!([last.give(), last.give()], [Some(u16::MAX), None]);
    }
}

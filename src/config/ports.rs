//! Which port a server gets that has none.
//!
//! In: hub.toml, the ports that servers had (the store remembers them). Out: ports to try, the best first. Owns what it
//! gave out. PURE. May not: open a socket, or offer a port that another server has, or has had.

use std::collections::{BTreeSet, HashMap};

use super::Config;
use crate::limits::FIRST_SERVER_PORT;

/// The ports that are spoken for.
#[derive(Debug, Clone)]
pub struct Ports {
    first: u16,
    taken: BTreeSet<u16>,
    remembered: HashMap<String, u16>,
}

impl Ports {
    /// As hub.toml and the store (by name of the server) say. A `first_port` that leaves the choice to the system counts as
    /// hub's default here.
    pub fn of(config: &Config, remembered: &HashMap<String, u16>) -> Self {
        let first = if config.hub.first_port == 0 { FIRST_SERVER_PORT } else { config.hub.first_port };
        let taken = config.servers.iter().filter_map(|entry| entry.port).chain([config.hub.port]).collect();
        Self { first, taken, remembered: remembered.clone() }
    }

    /// One more port that nobody else gets.
    pub fn take(&mut self, port: u16) {
        self.taken.insert(port);
    }

    /// Ports for a server: the one that it had, then from `first_port` upwards those that no other server has, or has had:
    /// one that is gone from hub.toml may come back.
    pub fn candidates(&self, server: &str) -> impl Iterator<Item = u16> {
        let is_open = |port: &u16| !self.taken.contains(port);
        let had = self.remembered.get(server).copied().filter(is_open);
        let of_others: BTreeSet<u16> = self.remembered.values().copied().collect();
        had.into_iter().chain((self.first..=u16::MAX).filter(move |port| is_open(port) && !of_others.contains(port)))
    }

    /// The first of them that is free on this machine; it is taken then. None when there is none.
    pub fn give(&mut self, server: &str, is_free: impl Fn(u16) -> bool) -> Option<u16> {
        let port = self.candidates(server).find(|port| is_free(*port))?;
        self.take(port);
        Some(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn ports(text: &str, remembered: &[(&str, u16)]) -> Ports {
        let loaded = super::super::file::load(text, Path::new("/hub.toml"), Path::new("/"));
        let remembered = remembered.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
        Ports::of(&loaded.config.expect("usable"), &remembered)
    }

    #[test]
    fn the_lowest_that_nobody_has_or_had() {
        let text = "[hub]\nport = 1000\nfirst_port = 1000\n[servers.a]\ncommand = \"x\"\nport = 1002\n";
        let mut some = ports(text, &[("gone", 1001), ("a", 1009)]);
        let is_free = |port| port != 1003;
        assert_eq!([some.give("b", is_free), some.give("c", is_free)], [Some(1004), Some(1005)]);
        some.take(1006);
        assert_eq!(some.give("d", is_free), Some(1007));
        assert_eq!(ports("[hub]\nfirst_port = 0\n", &[]).give("a", |_| true), Some(FIRST_SERVER_PORT));
        let mut last = ports("[hub]\nfirst_port = 65535\n", &[]);
        assert_eq!([last.give("a", |_| true), last.give("b", |_| true)], [Some(u16::MAX), None]);
    }

    #[test]
    fn a_server_that_comes_back_gets_the_port_that_it_had() {
        let text = "[hub]\nfirst_port = 1000\n[servers.a]\ncommand = \"x\"\nport = 1005\n";
        let remembered = [("back", 1004), ("lost", 1005)];
        assert_eq!(ports(text, &remembered).give("back", |_| true), Some(1004));
        assert_eq!(ports(text, &remembered).give("back", |port| port != 1004), Some(1000), "something listens there");
        assert_eq!(ports(text, &remembered).give("lost", |_| true), Some(1000), "another has it now");
    }
}

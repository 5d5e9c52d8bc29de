//! TERM, INT and HUP as one stream.
//!
//! In: signals to this process. Out: what the person wants. The daemon owns the one [`Signals`]. May not: act on them.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// TERM or INT: stop; a second one: stop now.
    Stop,
    /// HUP: read the configuration again.
    Reload,
}

/// Listens for TERM, INT and HUP from its creation on.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    /// Begins to listen. From now on these signals no longer end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// The next wish. Cancel safe.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.term.recv() => Wish::Stop,
            _ = self.int.recv() => Wish::Stop,
            _ = self.hup.recv() => Wish::Reload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hup_means_reload() {
        let mut signals = Signals::listen().expect("signal handlers");
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).expect("own signal");
        assert_eq!(signals.next().await, Wish::Reload);
    }
}

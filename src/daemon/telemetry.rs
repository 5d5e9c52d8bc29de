//! The daemon's own log: one format on stderr, a level that can change while it runs.
//!
//! In: a filter text. Out: a subscriber, and a handle to change its filter. Owns nothing else. May not: write a secret
//! (rooms log names, ids and counts).

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// Changes the filter of the running log.
#[derive(Debug, Clone)]
pub struct Telemetry {
    filter: reload::Handle<EnvFilter, Registry>,
}

fn filter(text: &str) -> Option<EnvFilter> {
    EnvFilter::try_new(text).ok()
}

impl Telemetry {
    /// Starts logging at `info`, before the configuration is known, so that its problems are logged too.
    pub fn start() -> Self {
        let (layer, handle) = reload::Layer::new(EnvFilter::new("info"));
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
        let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false);
        // A subscriber is there already only in tests.
        tracing_subscriber::registry().with(layer).with(lines).try_init().ok();
        Self { filter: handle }
    }

    /// Uses another filter from now on; says whether it was one.
    pub fn set(&self, text: &str) -> bool {
        filter(text).is_some_and(|filter| self.filter.reload(filter).is_ok())
    }
}

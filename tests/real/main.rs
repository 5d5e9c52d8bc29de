//! hub against the world: published servers shared by published clients of both eras, and the conformance suite.
//!
//! In: the packages that `scripts/test-env` installed, the hub binary (`HUB_BIN`, or the one cargo built). Out: a verdict;
//! nothing here reaches past 127.0.0.1. State: a private home per test, removed with everything started in it. May not:
//! pass without having run where `HUB_REQUIRE_REAL=1` (as in CI); elsewhere it says loudly that it skips.
//!
//! Linux only: what runs is counted in `/proc`, not believed from hub.

#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "a blocking harness around processes: it polls with patience")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed test is a panic with its reason"
)]

mod conformance;
mod driver;
mod env;
mod eras;
mod hub;
mod killed;
mod moved;
mod newcomer;
mod plan;
mod processes;
mod published;
mod watched;
mod ways_in;

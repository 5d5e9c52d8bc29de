//! What every black-box test needs: a hub, clients, journals, patience.
//!
//! In: nothing. Out: the types below. Owns nothing. May not: assert a rule of the protocol; tests do that.

use std::io::Write as _;

pub mod eventually;
pub mod http;
pub mod hub;
pub mod journal;
pub mod manager;
pub mod modern;
pub mod procs;
pub mod session;
pub mod setup;
pub mod stdio;
pub mod stream;
pub mod systemd;
pub mod user;

pub use eventually::{eventually, patience, stays};
pub use http::{Connection, Reply, Target};
pub use hub::Hub;
pub use manager::Manager;
pub use modern::Modern;
pub use session::{Answer, Session};
pub use setup::{Fake, Setup};
pub use stdio::Bridge;
pub use stream::Stream;

pub use serde_json::{Value, json};

/// Says that a test leaves something out because this machine lacks what it needs. Runners hide what a test prints that
/// passes: `scripts/test` names a file, and reports what is in it.
pub fn skipped(what: &str) {
    eprintln!("SKIPPED: {what}");
    if let Some(file) = std::env::var_os("HUB_TEST_SKIPPED") {
        let mut file = std::fs::File::options().create(true).append(true).open(file).expect("a file");
        writeln!(file, "SKIPPED: {what}").expect("written");
    }
}

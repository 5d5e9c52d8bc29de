//! What every black-box test needs: a hub, clients, journals, patience.
//!
//! In: nothing. Out: the types below. Owns nothing. May not: assert a rule of the protocol; tests do that.

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

//! hub talking to hub: the control socket.
//!
//! In: requests of the command line over a unix socket (0600). Out: status, lists, reports. Owns no state: it reads
//! snapshots and sends [`Command`]s to the supervisor. May not: change anything by itself.

mod about;
mod call;
pub mod client;
pub mod command;
pub mod desk;
pub mod proto;
pub mod serve;
mod status;
#[cfg(test)]
mod tests;
mod tools;

pub use command::{Command, Report};
pub use desk::{Desk, Facts};

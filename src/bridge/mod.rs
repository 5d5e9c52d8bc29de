//! One era told in the words of the other (PROTOCOL 3): params, results, errors, capabilities, and the two ways to ask a
//! client something: by a request of the server (legacy), or by the result of a call that is then made again (modern).
//!
//! In: raw bytes and the time. Out: raw bytes, mostly slices of what came in, and decisions. Owns the state machines of
//! one call that is asked something ([`parked`], [`rounds`]), no table of them. May not: do I/O or read a clock; see
//! traffic between two sides of one era.

mod annotations;
pub mod ask;
pub mod capabilities;
pub mod discover;
pub mod error;
pub mod headers;
pub mod parked;
pub mod request;
pub mod result;
pub mod rounds;
pub mod state;
mod tools;

//! One MCP server: the heart of hub.
//!
//! In: calls from callers through handles. Out: deliveries through outlets, knowledge through snapshots. Each instance
//! task owns its child, its mux and its backoff; the server task owns its instances. May not: know HTTP, sessions or
//! the aggregate.

pub mod client;
mod era;
pub mod handle;
mod id_map;
mod instance;
mod life;
mod lists;
pub mod mux;
mod opening;
pub mod outlet;
pub mod registry;
#[cfg(test)]
pub mod scripted;
pub mod snapshot;
mod task;
pub mod usage;
mod world;

pub use client::Client;
pub use handle::{Hints, InstanceHandle, NewCall, NewCaller, next_id};
pub use outlet::{Ask, AskId, CallId, CallerId, Delivery, Outlet};
pub use registry::{Registry, ServerHandle};
pub use snapshot::{Counters, Failure, Handshake, List, Lists, Offers, Snapshot, State};
pub use task::start;
pub use world::World;

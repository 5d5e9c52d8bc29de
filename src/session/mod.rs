//! Legacy sessions (revisions up to 2025-11-25): who a message came from, what it may do, and where answers go.
//!
//! In: parsed messages with a session id; deliveries from instances. Out: messages on streams. The [`Sessions`] table
//! owns all sessions, a session owns its streams, its calls in flight and its asks. May not: know HTTP (statuses,
//! headers, bodies), or touch another session.

pub mod call;
pub mod convert;
pub mod dispatch;
mod durable;
mod endpoint_id;
pub mod event_id;
pub mod negotiate;
pub mod outbox;
pub mod outlet;
pub mod params;
pub mod progress;
pub mod replay;
pub mod ring;
pub mod state;
pub mod stream;
pub mod table;

pub use dispatch::Target;
pub use endpoint_id::EndpointId;
pub use event_id::EventId;
pub use negotiate::Hello;
pub use params::{Asked, FromClient, Params};
pub use state::{Session, Transport};
pub use stream::{First, Form, Kind, Reader, Stream};
pub use table::{Options, Sessions};

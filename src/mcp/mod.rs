//! What the protocol is to hub: an envelope around payload bytes that are never looked into.
//!
//! In: bytes. Out: decisions about bytes (ranges, fresh envelopes, errors). Owns no state but the framer's buffer.
//! May not: do I/O, know time, tasks, HTTP or processes.

pub mod capabilities;
pub mod error;
pub mod id;
pub mod line;
pub mod message;
pub mod meta;
pub mod method;
pub mod scan;
pub mod splice;
pub mod sse;
mod strings;
pub mod version;

pub use capabilities::ClientCapabilities;
pub use error::ErrorObject;
pub use id::{RequestId, WireId};

pub use line::{Line, LineFramer};
pub use message::{Message, Notification, Outcome, Request, Response};
pub use method::{ListKind, Method};
pub use version::{Era, ProtocolVersion};

/// The text of one JSON value, exactly as it was received: a slice of the body or line that it came in.
pub type Raw = bytes::Bytes;

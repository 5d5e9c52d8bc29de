//! Legacy sessions: their streams, asks and the method table.

mod endpoint_id;

pub use endpoint_id::EndpointId;

//! The child room.

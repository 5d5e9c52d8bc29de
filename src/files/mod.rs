//! Files that somebody else may read or write at the same time: replaced whole, one changer at a time.
//!
//! In: what a file held and what it shall hold; a folder that stands for what is being changed. Out: the file, on the
//! disk, or why not; a lock. Owns a temporary file, or an open descriptor, for a moment. May not: know what is in a file.

mod lock;
mod write;

pub use lock::Lock;
pub use write::{Change, Error, change, fresh, read, replace, settle, temp_of};

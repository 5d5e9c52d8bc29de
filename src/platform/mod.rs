//! The operating system: processes, pipes, sockets, folders, signals, and what `/proc` tells.
//!
//! In: paths, descriptors, process ids. Out: safe values of them. Owns the guardian process and the lock of the control
//! socket. May not: know what a server, a message or a session is. The only room with `unsafe` and `cfg(target_os)`.

pub mod detached;
pub mod dirs;
pub mod family;
pub mod guardian;
pub mod guarding;
pub mod init;
pub mod kept;
pub mod memory;
pub mod notify;
pub mod output;
#[cfg(target_os = "linux")]
mod peers;
pub mod pipe;
pub mod process;
pub mod process_info;
pub mod processes;
mod procfs;
pub mod rlimits;
pub mod shell_path;
pub mod signals;
pub mod sockets;
pub mod strays;

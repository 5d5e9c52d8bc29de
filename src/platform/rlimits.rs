//! The limit on open files: raised for hub, put back for children.
//!
//! In: nothing. Out: the limit now in force. Owns the limit that hub was started with. May not: fail hub's start.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

static ORIGINAL: OnceLock<(u64, u64)> = OnceLock::new();

/// Raises the soft limit on open files to the hard one and returns it: a thousand sessions are a thousand sockets.
/// Children get the old limit back, because programs that use `select` break above 1024.
pub fn raise_open_files() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let (soft, hard) = ORIGINAL.get_or_init(|| (soft, hard));
    // macOS reports "unlimited" but accepts at most its own OPEN_MAX.
    let wanted = if cfg!(target_os = "macos") { (*hard).min(10_240) } else { *hard };
    if wanted > *soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, *hard).is_ok() {
        return Some(wanted);
    }
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft)
}

/// The limits from before [`raise_open_files`], if it was called.
pub(super) fn original_open_files() -> Option<(u64, u64)> {
    ORIGINAL.get().copied()
}

/// Puts the limits back in a forked process: one system call, no allocation.
pub(super) fn restore_open_files(original: Option<(u64, u64)>) {
    if let Some((soft, hard)) = original {
        // A child with too high a limit is better than no child.
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).ok();
    }
}

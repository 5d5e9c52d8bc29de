//! What hub's own allocator keeps, and giving it back.
//!
//! In: nothing. Out: bytes. Owns nothing. May not: be called often; both functions walk the allocator's lists.
//!
//! glibc gives freed memory back only from the end of its heap. After thousands of connections there always is something
//! that lives near the end, and hub would stay as large as it ever was (measured: 69 MB instead of 19 after 5,000).

/// Resident bytes that nothing lives in, and the program's own pages, which are about constant. `None` where the
/// allocator cannot be asked.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn slack() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident: usize = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    #[expect(unsafe_code, reason = "the allocator can be asked in C only")]
    // SAFETY: it takes no arguments, locks the allocator by itself and returns numbers.
    let info = unsafe { nix::libc::mallinfo() };
    // The old form, whose numbers wrap at 4 GiB: the new one needs a glibc that some systems lack. Nothing breaks.
    let lives = |bytes: i32| usize::try_from(bytes.cast_unsigned()).unwrap_or(0);
    Some((resident << 10).saturating_sub(lives(info.uordblks) + lives(info.hblkhd)))
}

/// Gives whole free pages back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn give_back() {
    #[expect(unsafe_code, reason = "the allocator can be told in C only")]
    // SAFETY: it locks the allocator by itself and touches only what is free.
    let _was_any = unsafe { nix::libc::malloc_trim(0) };
}

/// See above.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn slack() -> Option<usize> {
    None
}

/// See above.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_in_the_middle_is_given_back() {
        let before = slack().expect("glibc");
        let mut pieces: Vec<Vec<u8>> = (0..16_384).map(|_| vec![1; 4096]).collect();
        // Something that lives stands between all that is free, and at the end.
        let live: Vec<Vec<u8>> = (0..64).map(|piece| pieces[piece * 256 + 255].clone()).collect();
        pieces.clear();
        let kept = slack().expect("glibc");
        give_back();
        let after = slack().expect("glibc");
        // Other tests of this process allocate as well.
        assert!(kept > before + (32 << 20), "{before} -> {kept}: this allocator needs no help");
        assert!(after < kept - (32 << 20), "{kept} -> {after}");
        drop(live);
    }
}

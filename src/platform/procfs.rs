//! `/proc` on Linux, and its absence elsewhere.
//!
//! In: process ids. Out: plain facts about processes, at one moment. Owns nothing. May not: signal anybody but through a
//! pidfd whose identity was checked.

/// One process as `/proc/PID/stat` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: u32,
    pub(super) ppid: u32,
    pub(super) pgid: u32,
    pub(super) sid: u32,
    /// Clock ticks since boot: together with the pid it names a process for ever.
    pub(super) start: u64,
    /// User and system time, of the process and of its reaped children, in clock ticks.
    pub(super) cpu_ticks: u64,
    pub(super) rss_pages: u64,
    /// Ended, not yet reaped.
    pub(super) zombie: bool,
}

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::*;
#[cfg(target_os = "linux")]
pub(super) use linux::*;

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{self, File};
    use std::io::{self, Read};
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::fs::MetadataExt;
    use std::time::Duration;

    use nix::libc;
    use nix::sys::signal::Signal;

    use super::Stat;

    /// More environment than this is not searched for the markers.
    const ENVIRON_BYTES_MAX: u64 = 1 << 20;

    /// Every process of this pid namespace, in no particular order; those that vanish meanwhile are left out.
    pub(in super::super) fn all() -> Vec<Stat> {
        let Ok(folder) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(stat).collect()
    }

    /// One process.
    pub(in super::super) fn stat(pid: u32) -> Option<Stat> {
        let mut text = [0u8; 1024];
        let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
        let length = file.read(&mut text).ok()?;
        parse_stat(pid, &text[..length])
    }

    /// The name in parentheses may hold anything, also parentheses and newlines: what follows the last one counts.
    pub(super) fn parse_stat(pid: u32, text: &[u8]) -> Option<Stat> {
        let after_name = memchr::memrchr(b')', text)? + 1;
        let rest = std::str::from_utf8(&text[after_name..]).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc_pid_stat(5) counts from 1 and the state is field 3.
        let field = |number: usize| fields.get(number - 3).copied();
        let id = |number| field(number)?.parse::<u32>().ok();
        let count = |number| field(number)?.parse::<i64>().ok().map(|value| u64::try_from(value).unwrap_or(0));
        Some(Stat {
            pid,
            ppid: id(4)?,
            pgid: id(5)?,
            sid: id(6)?,
            cpu_ticks: count(14)? + count(15)? + count(16)? + count(17)?,
            start: count(22)?,
            rss_pages: count(24)?,
            zombie: matches!(field(3)?, "Z" | "X"),
        })
    }

    /// The environment that a process was started with. Empty if it may not be read.
    pub(in super::super) fn environ(pid: u32) -> Vec<u8> {
        let mut text = Vec::new();
        if let Ok(file) = File::open(format!("/proc/{pid}/environ")) {
            // What was read before an error still counts.
            file.take(ENVIRON_BYTES_MAX).read_to_end(&mut text).ok();
        }
        text
    }

    /// The user that a process runs as; root for one that may not be looked into.
    pub(in super::super) fn owner(pid: u32) -> Option<u32> {
        Some(fs::metadata(format!("/proc/{pid}")).ok()?.uid())
    }

    /// The user that started a process, also of one that may not be looked into. (proc_pid_status(5))
    pub(in super::super) fn real_user(pid: u32) -> Option<u32> {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().next()?.parse().ok()
    }

    /// Time since boot.
    pub(in super::super) fn uptime() -> Option<Duration> {
        let text = fs::read_to_string("/proc/uptime").ok()?;
        Duration::try_from_secs_f64(text.split_ascii_whitespace().next()?.parse().ok()?).ok()
    }

    /// The short name of a process.
    pub(in super::super) fn name(pid: u32) -> Option<String> {
        let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
        Some(String::from_utf8_lossy(&name).trim_end().to_owned())
    }

    /// The command line of a process, word by word; empty for one that ended or may not be looked at.
    pub(in super::super) fn command(pid: u32) -> Vec<String> {
        let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if text.is_empty() {
            return Vec::new();
        }
        let words = text.strip_suffix(b"\0").unwrap_or(&text).split(|byte| *byte == 0);
        let mut words: Vec<String> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        // A process that writes a title over its command line leaves the rest of the room empty.
        if words.first().is_some_and(|first| first.contains(' ')) {
            let used = words.iter().rposition(|word| !word.is_empty()).map_or(0, |last| last + 1);
            words.truncate(used);
        }
        words
    }

    /// Whether a process has a terminal that could still talk to it.
    pub(in super::super) fn has_terminal(pid: u32) -> bool {
        let Ok(text) = fs::read(format!("/proc/{pid}/stat")) else { return false };
        let after_name = memchr::memrchr(b')', &text).map_or(0, |at| at + 1);
        let rest = String::from_utf8_lossy(&text[after_name..]).into_owned();
        // Field 7 of proc_pid_stat(5); 0 is none.
        rest.split_ascii_whitespace().nth(4).is_some_and(|terminal| terminal != "0")
    }

    /// Proportional set size in bytes: pages shared by n processes count 1/n.
    pub(in super::super) fn pss_bytes(pid: u32) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }

    /// Names this boot: start times of another boot mean nothing.
    pub(in super::super) fn boot_id() -> String {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
    }

    /// A descriptor of a process: it never means another one, whatever happens to the id.
    pub(in super::super) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        #[expect(unsafe_code, reason = "nix has no pidfd_open")]
        // SAFETY: takes two integers, touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        #[expect(unsafe_code, reason = "the kernel just gave us this descriptor")]
        // SAFETY: a fresh descriptor that nobody else owns; the kernel sets close-on-exec on it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Signals exactly the process that `stat` described, never one that got its id later.
    pub(in super::super) fn signal_exactly(stat: &Stat, signal: Signal) -> bool {
        let still_the_same = || super::stat(stat.pid).is_some_and(|now| now.start == stat.start);
        let Ok(fd) = pidfd_open(stat.pid) else {
            // Kernels before 5.3: the check and the signal are two steps, some microseconds apart.
            let pid = super::super::process::to_pid(stat.pid);
            return still_the_same() && pid.is_some_and(|pid| nix::sys::signal::kill(pid, signal).is_ok());
        };
        if !still_the_same() {
            return false;
        }
        let no_info: *const libc::siginfo_t = std::ptr::null();
        #[expect(unsafe_code, reason = "nix has no pidfd_send_signal")]
        // SAFETY: a live descriptor, a signal number, a null info as the call allows.
        let answer = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal as i32, no_info, 0) };
        answer == 0
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn names_with_parentheses_do_not_confuse() {
            let text =
                b"7 (a) b (c\n) S 1 5 6 0 -1 4194560 1 2 3 4 10 20 3 4 20 0 1 0 999 1000 77 18446744073709551615";
            let stat = parse_stat(7, text).expect("parsed");
            let expected =
                Stat { pid: 7, ppid: 1, pgid: 5, sid: 6, start: 999, cpu_ticks: 37, rss_pages: 77, zombie: false };
            assert_eq!(stat, expected);
        }

        #[test]
        fn finds_this_process() {
            let me = std::process::id();
            assert!(all().iter().any(|stat| stat.pid == me && !stat.zombie && stat.rss_pages > 0));
            assert!(!environ(me).is_empty());
            assert_eq!(real_user(me), Some(nix::unistd::getuid().as_raw()));
            assert!(pss_bytes(me).is_some_and(|pss| pss > 0));
            assert!(!boot_id().is_empty());
        }

        #[test]
        fn cut_off_text_is_refused() {
            assert_eq!(parse_stat(7, b"7 (a) S 1 5"), None);
            assert_eq!(parse_stat(7, b""), None);
        }
    }
}

/// Where there is no `/proc`, nothing is known; groups are all that can be followed.
#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::time::Duration;

    use nix::sys::signal::Signal;

    use super::Stat;

    pub(in super::super) fn all() -> Vec<Stat> {
        Vec::new()
    }

    pub(in super::super) fn stat(_pid: u32) -> Option<Stat> {
        None
    }

    pub(in super::super) fn environ(_pid: u32) -> Vec<u8> {
        Vec::new()
    }

    pub(in super::super) fn owner(_pid: u32) -> Option<u32> {
        None
    }

    pub(in super::super) fn uptime() -> Option<Duration> {
        None
    }

    pub(in super::super) fn boot_id() -> String {
        String::new()
    }

    pub(in super::super) fn signal_exactly(_stat: &Stat, _signal: Signal) -> bool {
        false
    }
}

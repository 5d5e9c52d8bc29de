//! What a server does that nobody asked for: dies, hangs, forks, prints.
//!
//! In: knobs. Out: trouble. Owns nothing. May not: answer a request.

use crate::Fake;
use crate::args::Knobs;
use nix::sys::signal::{SigSet, Signal};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// One line on stderr.
pub fn complain(text: &str) {
    // A closed stderr is no reason to die.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Never comes back.
pub fn sleep_for_ever() -> ! {
    loop {
        std::thread::sleep(Duration::from_hours(1));
    }
}

fn block_term() {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.add(Signal::SIGHUP);
    set.thread_block().expect("a signal can be blocked");
}

/// The life of a grandchild: hold the pipes and do nothing.
pub fn sleep_on(knobs: &Knobs) -> ! {
    if knobs.ignore_term {
        block_term();
    }
    if knobs.own_session {
        nix::unistd::setsid().expect("a freshly spawned process leads no group");
    }
    sleep_for_ever();
}

/// Starts `count` processes that inherit all three pipes; escapees leave the group and the session.
pub fn grandchildren(count: usize, escape: bool, ignore_term: bool) {
    let exe = std::env::current_exe().expect("own path");
    for _ in 0..count {
        let mut command = Command::new(&exe);
        command.arg("--sleeper").stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        if ignore_term {
            command.arg("--ignore-term");
        }
        if escape {
            command.arg("--own-session");
        }
        // Not waited for: it is meant to outlive its parent.
        drop(command.spawn().expect("a process can be started"));
    }
}

/// Before there is a journal, so before any thread: signals, delay, death.
pub fn before_start(knobs: &Knobs) {
    if knobs.ignore_term {
        block_term();
    }
    for line in 0..knobs.stderr_lines {
        complain(&format!("stderr line {line} of {}", knobs.tag));
    }
}

/// After the journal has its `start` record.
pub fn at_start(fake: &Arc<Fake>) {
    let knobs = &fake.knobs;
    let dead = knobs.dead_while.as_ref().is_some_and(|path| path.exists());
    if knobs.crash_at_start || dead {
        complain(&format!("{}: cannot start: the flux is missing", knobs.tag));
        fake.leave(knobs.exit_code.unwrap_or(1));
    }
    grandchildren(knobs.grandchildren, false, knobs.ignore_term);
    grandchildren(knobs.escapees, true, knobs.ignore_term);
    if knobs.bom {
        fake.wire.raw(b"\xEF\xBB\xBF");
    }
    if knobs.garbage > 0 {
        let mut garbage = vec![b'#'; knobs.garbage];
        garbage.push(b'\n');
        fake.wire.raw(&garbage);
    }
    if knobs.vendor {
        fake.wire.add_vendor_member();
    }
    // From outside too: a test may slow the next generation down without touching what hub.toml says of it.
    let more = std::env::var("FAKE_READY_DELAY_MS").ok().and_then(|text| text.parse().ok());
    std::thread::sleep(knobs.ready_delay + Duration::from_millis(more.unwrap_or(0)));
}

/// Everything on stdout that is not a message of the protocol.
pub fn noise(fake: &Fake) {
    for line in [
        &b"Server listening on stdio"[..],
        b"",
        b"   ",
        b"\r",
        b"null",
        b"42",
        b"\"text\"",
        b"{\"half\": ",
        b"[1, 2",
        b"\xff\xfe\x00 not UTF-8",
        b"{\"jsonrpc\":\"2.0\",\"id\":99999999,\"result\":{}}",
        b"{\"jsonrpc\":\"2.0\",\"id\":\"nobody\",\"result\":{}}",
        b"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"Parse error\"}}",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":99999999,\"progress\":1}}",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/unheard_of\"}",
        b"{}",
    ] {
        let mut line = line.to_vec();
        line.push(b'\n');
        fake.wire.raw(&line);
    }
}

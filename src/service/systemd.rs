//! The systemd user unit: its text, and the words of `systemctl`. PURE.
//!
//! In: a [`Unit`]; what `systemctl show` printed. Out: the text of `hub.service`; a [`State`]. Owns nothing. May not: run
//! anything, or fence hub in: what its servers may do is decided by what they are for.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::manager::State;
use super::unit::{Unit, WRITTEN_BY, tag};

/// The name of the unit.
pub const NAME: &str = "hub.service";

/// What a user manager gives a unit that names no PATH (systemd.exec(5)).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Before `[Service]`. hub is tried again for ever: what is in its way (a taken port) may go.
const HEAD: &str = "
[Unit]
Description=hub: one copy of each MCP server for all AI clients
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
";

/// After the program.
const TAIL: &str = "
# It ends without an error only when it was told to. 78: hub.toml is wrong, and stays so until somebody changes it.
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=78
TimeoutStartSec=60
TimeoutStopSec=45
WatchdogSec=60

# Clients that connect during a restart wait instead of being refused.
FileDescriptorStoreMax=4096

# hub stops its servers itself, gently; what is left after it is killed. A server that the kernel kills for its memory
# is started again by hub, and is no reason to stop the others.
KillMode=mixed
OOMPolicy=continue
TasksMax=infinity

[Install]
WantedBy=default.target
";

/// The text of the unit.
pub fn render(unit: &Unit) -> String {
    let mut text = format!("# {WRITTEN_BY}; `hub service uninstall` removes it.\n# {}\n{HEAD}", tag(&unit.socket));
    let program = quoted(&unit.program);
    // Writing to a string cannot fail, here and below.
    write!(text, "ExecStart={program} serve\nExecReload={program} reload\n").ok();
    for (name, value) in &unit.env {
        writeln!(text, "Environment={}", quoted(&format!("{name}={value}"))).ok();
    }
    text.push_str(TAIL);
    text
}

/// One word of a unit file: quoted, escaped, without specifiers (systemd.syntax(7), systemd.unit(5)). In the path of a
/// program and in `Environment=` a `$` is itself.
fn quoted(word: &str) -> String {
    let mut text = String::with_capacity(word.len() + 2);
    text.push('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '%' => text.push_str("%%"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// The variables of a unit that [`render`] wrote.
pub fn environment(text: &str) -> BTreeMap<String, String> {
    let words = text.lines().filter_map(|line| line.strip_prefix("Environment=\"")?.strip_suffix('"'));
    words
        .filter_map(|word| unquoted(word).split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect()
}

fn unquoted(word: &str) -> String {
    let mut text = String::with_capacity(word.len());
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' | '%' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

/// What [`state`] wants to read: arguments of `systemctl --user`.
pub const SHOW: [&str; 4] =
    ["show", NAME, "--property=LoadState,ActiveState,SubState,UnitFileState,MainPID,Result", "--no-pager"];

/// What `systemctl show` tells of the unit.
pub fn state(shown: &str) -> State {
    let value =
        |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    let active = value("ActiveState");
    let running = matches!(active, "active" | "reloading" | "activating" | "deactivating");
    let failed = active == "failed" || (active == "activating" && value("SubState") == "auto-restart");
    State {
        loaded: value("LoadState") == "loaded",
        enabled: value("UnitFileState").starts_with("enabled"),
        running,
        pid: value("MainPID").parse().ok().filter(|pid| *pid != 0),
        failure: failed.then(|| value("Result").to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(program: &str, path: &str) -> Unit {
        let env = [("PATH", path), ("HUB_STATE_DIR", "/home/a b/100%/$x")];
        Unit {
            program: program.to_owned(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            log: "/log".to_owned(),
            socket: "/run/hub.sock".to_owned(),
        }
    }

    #[test]
    fn the_unit_is_what_it_was() {
        let expected = "\
# Written by `hub service install`; `hub service uninstall` removes it.
# hub-socket=/run/hub.sock

[Unit]
Description=hub: one copy of each MCP server for all AI clients
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart=\"/opt/my hub/bin/hub\" serve
ExecReload=\"/opt/my hub/bin/hub\" reload
Environment=\"HUB_STATE_DIR=/home/a b/100%%/$x\"
Environment=\"PATH=/a \\\"b\\\"\\\\:/c\"
"
        .to_owned()
            + TAIL;
        assert_eq!(render(&unit("/opt/my hub/bin/hub", "/a \"b\"\\:/c")), expected);
        for sandbox in ["Protect", "Private", "NoNewPrivileges", "Restrict", "UMask", "SystemCall"] {
            assert!(!expected.contains(sandbox), "servers may need what {sandbox} takes");
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        for path in ["/a:/b", "/a b:/100%", "/q\"uo\\te:/$HOME", "/é=x"] {
            assert_eq!(environment(&render(&unit("/hub", path))), unit("/hub", path).env, "{path}");
        }
    }

    #[test]
    fn the_state_is_read_from_what_systemctl_shows() {
        let shown = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nMainPID=77\nResult=success\n";
        let running = State { loaded: true, enabled: true, running: true, pid: Some(77), failure: None };
        assert_eq!(state(shown), running);
        let failed = "LoadState=loaded\nActiveState=failed\nSubState=failed\nUnitFileState=disabled\nMainPID=0\nResult=exit-code\n";
        let stopped = State { loaded: true, failure: Some("exit-code".to_owned()), ..State::default() };
        assert_eq!(state(failed), stopped);
        assert_eq!(state("LoadState=not-found\nActiveState=inactive\n"), State::default());
        assert_eq!(state(""), State::default());
    }
}

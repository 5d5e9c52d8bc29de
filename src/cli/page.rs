//! The page of `hub status`: a headline, a table, totals, the estimate without hub, and what is wrong.
//!
//! In: the daemon's status document. Out: text. Owns nothing. May not: hide a failure, or sell the estimate as a
//! measurement.

use std::fmt::Write as _;

use crate::control::proto::{Server, Status};
use crate::mcp::Era;
use crate::server::State;

use super::harmless::harmless;
use super::out::{Out, Tone, bytes, span};

const HEADER: [&str; 12] =
    ["NAME", "STATE", "PROTOCOL", "PORT", "PROCS", "MEM", "CPU", "SESSIONS", "CALLS", "ERRORS", "RESTARTS", "UPTIME"];

/// The whole page, with its last newline.
pub(super) fn page(status: &Status, out: &Out) -> String {
    let mut page = headline(status, out);
    if let Some(error) = &status.hub.config_error {
        let title = out.paint(Tone::Bad, "hub.toml was not applied; what runs is the last good one:");
        // Writing to a string cannot fail, here and below.
        writeln!(page, "\n{title}\n{}", indented(error)).ok();
    }
    page.push('\n');
    if status.servers.is_empty() {
        writeln!(page, "no servers yet: add [servers.NAME] with a command to {}", status.hub.config).ok();
        return page;
    }
    let rows = status.servers.iter().map(row).chain([totals(status)]).collect();
    page.push_str(&out.table(&HEADER, &HEADER[3..], rows));
    page.push('\n');
    page.push_str(&estimate(status, out));
    for server in &status.servers {
        if let Some(failure) = failure(server, out) {
            page.push('\n');
            page.push_str(&failure);
        }
    }
    page
}

fn headline(status: &Status, out: &Out) -> String {
    let hub = &status.hub;
    format!(
        "{} {}   {}   pid {}   up {}   {} itself\n",
        out.paint(Tone::Strong, "hub"),
        hub.version,
        out.paint(Tone::Strong, &hub.url),
        hub.pid,
        span(hub.uptime_seconds),
        bytes(hub.pss_bytes)
    )
}

fn row(server: &Server) -> Vec<(String, Tone)> {
    let quiet_if = |quiet: bool, text: String| if quiet { ("-".to_owned(), Tone::Faint) } else { (text, Tone::Plain) };
    let stopped = server.processes == 0;
    let errors = if server.errors == 0 { Tone::Plain } else { Tone::Busy };
    let restarts = if server.restarts == 0 { Tone::Plain } else { Tone::Busy };
    vec![
        (server.name.clone(), Tone::Strong),
        (server.state.as_str().to_owned(), tone(server.state)),
        quiet_if(server.era.is_none(), protocol(server.era, &server.protocol_version)),
        (server.port.to_string(), Tone::Plain),
        quiet_if(stopped, server.processes.to_string()),
        quiet_if(stopped, bytes(server.pss_bytes)),
        quiet_if(stopped, format!("{:.1}%", server.cpu_percent)),
        (server.sessions.to_string(), Tone::Plain),
        (server.calls.to_string(), Tone::Plain),
        (server.errors.to_string(), errors),
        (server.restarts.to_string(), restarts),
        quiet_if(server.uptime_seconds == 0 && server.state != State::Ready, span(server.uptime_seconds)),
    ]
}

/// What a server speaks, for people: the revision is its own word.
pub(super) fn protocol(era: Option<Era>, version: &str) -> String {
    let era = era.map_or("", Era::as_str);
    format!("{} {era}", harmless(version)).trim().to_owned()
}

fn totals(status: &Status) -> Vec<(String, Tone)> {
    let sum = |pick: fn(&Server) -> u64| status.servers.iter().map(pick).sum::<u64>().to_string();
    let cpu: f64 = status.servers.iter().map(|server| server.cpu_percent).sum();
    let totals = &status.totals;
    let cells = [
        if totals.servers == 1 { "1 server".to_owned() } else { format!("{} servers", totals.servers) },
        format!("{} ready", totals.ready),
        String::new(),
        String::new(),
        totals.processes.to_string(),
        bytes(totals.pss_bytes),
        format!("{cpu:.1}%"),
        totals.sessions.to_string(),
        sum(|server| server.calls),
        sum(|server| server.errors),
        sum(|server| server.restarts),
        String::new(),
    ];
    cells.map(|cell| (cell, Tone::Faint)).to_vec()
}

fn tone(state: State) -> Tone {
    match state {
        State::Ready => Tone::Good,
        State::Starting | State::Backoff | State::Stopping => Tone::Busy,
        State::Failed => Tone::Bad,
        State::Stopped | State::Disabled => Tone::Faint,
    }
}

fn estimate(status: &Status, out: &Out) -> String {
    let (without, with) = (&status.without_hub, &status.totals);
    if without.processes == 0 {
        // Nobody is connected: an estimate of zero would be true and tell nothing.
        let each = format!("{}, {}", processes(with.processes), bytes(with.pss_bytes));
        return format!("no session is in use; without hub each would start its own copy of this ({each})\n");
    }
    let text = format!("without hub ≈ {}, {}", processes(without.processes), bytes(without.pss_bytes));
    let now =
        format!("now {}, {} with hub itself", processes(with.processes), bytes(with.pss_bytes + status.hub.pss_bytes));
    let assumption = out.paint(Tone::Faint, &without.assumption);
    format!("{}   ({now})\n{assumption}\n", out.paint(Tone::Strong, &text))
}

fn processes(count: usize) -> String {
    if count == 1 { "1 process".to_owned() } else { format!("{count} processes") }
}

/// Stage, message and what to do, for a server that is not well.
fn failure(server: &Server, out: &Out) -> Option<String> {
    let failure = server.last_failure.as_ref()?;
    let exit = if failure.exit.is_empty() { String::new() } else { format!(" ({})", failure.exit) };
    let title = format!("{}: {} failed{exit}, since {}", server.name, failure.stage, failure.since);
    let mut text = format!("{}\n{}\n", out.paint(tone_of(server.state), &title), indented(&failure.message));
    if let Some(hint) = hint(server) {
        writeln!(text, "  {}: {hint}", out.paint(Tone::Strong, "hint")).ok();
    }
    Some(text)
}

fn tone_of(state: State) -> Tone {
    if state == State::Ready { Tone::Faint } else { Tone::Bad }
}

fn hint(server: &Server) -> Option<String> {
    let stage = server.last_failure.as_ref()?.stage.as_str();
    match (server.state, stage) {
        (State::Ready, "listen") => {
            Some("the server still answers on the hub port; free its own, or change `port`".into())
        }
        (State::Ready | State::Disabled, _) => None,
        (_, "config") => Some("`hub check` shows the line".into()),
        (_, "spawn") => Some("check `command` in hub.toml".into()),
        (State::Failed, _) => Some(format!("`hub logs {0}`, then `hub restart {0}`", server.name)),
        _ => Some(format!("`hub logs {}`", server.name)),
    }
}

fn indented(text: &str) -> String {
    harmless(text).trim_end().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let server = serde_json::json!({
            "name": "github", "state": "failed", "url": "http://127.0.0.1:18901/mcp", "port": 18901, "share": "shared",
            "share_reason": "", "era": "modern", "protocol_version": "2026-07-28", "instances": [], "processes": 0, "rss_bytes": 0,
            "pss_bytes": 0, "cpu_percent": 0.0, "sessions": 2, "in_flight": 0, "calls": 7, "errors": 1, "restarts": 10,
            "uptime_seconds": 0, "tools": 0,
            "last_failure": { "stage": "initialize", "message": "it left\nno token", "since": "T", "exit": "exit code 1" }
        });
        let document = serde_json::json!({
            "schema": 1,
            "hub": { "version": "0.1.0", "pid": 7, "started_at": "T", "uptime_seconds": 60, "config": "/c/hub.toml",
                "url": "http://127.0.0.1:18900/mcp", "rss_bytes": 0, "pss_bytes": 9_000_000, "config_error": "line 3" },
            "servers": [server],
            "totals": { "servers": 1, "ready": 0, "processes": 0, "rss_bytes": 0, "pss_bytes": 0, "sessions": 2 },
            "without_hub": { "processes": 8, "pss_bytes": 1_200_000_000, "assumption": "each of the 2 sessions" }
        });
        serde_json::from_value(document).expect("a status")
    }

    #[test]
    fn what_a_server_says_of_its_revision_cannot_drive_the_terminal() {
        assert_eq!(protocol(Some(Era::Legacy), "2025-11-25"), "2025-11-25 legacy");
        assert!(!protocol(Some(Era::Legacy), "\u{1b}[2J").contains('\u{1b}'));
        assert_eq!(protocol(None, ""), "");
    }

    #[test]
    fn nobody_connected_is_not_an_estimate_of_zero() {
        let mut status = status();
        status.without_hub.processes = 0;
        let page = page(&status, &Out::plain());
        assert!(
            page.contains("no session is in use; without hub each would start its own copy of this (0 processes"),
            "{page}"
        );
        assert!(!page.contains("without hub ≈"), "{page}");
    }

    #[test]
    fn the_page_says_what_runs_what_it_costs_and_what_is_wrong() {
        let page = page(&status(), &Out::plain());
        let expected = "\
hub 0.1.0   http://127.0.0.1:18900/mcp   pid 7   up 1m 0s   9.0 MB itself

hub.toml was not applied; what runs is the last good one:
  line 3

NAME      STATE    PROTOCOL            PORT  PROCS  MEM   CPU  SESSIONS  CALLS  ERRORS  RESTARTS  UPTIME
github    failed   2026-07-28 modern  18901      -    -     -         2      7       1        10       -
1 server  0 ready                                0  0 B  0.0%         2      7       1        10

without hub ≈ 8 processes, 1.2 GB   (now 0 processes, 9.0 MB with hub itself)
each of the 2 sessions

github: initialize failed (exit code 1), since T
  it left
  no token
  hint: `hub logs github`, then `hub restart github`
";
        assert_eq!(page, expected);
    }
}

//! The keys of hub.toml: their names, types and bounds.
//!
//! In: the tables of the file. Out: a [`Draft`] of each server and of `[defaults]`, the finished `[hub]`. Owns no state.
//! May not: look anything up, or compare one server with another.

use std::net::IpAddr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::expand::Template;
use super::reader::{At, Keys, Patience, Section};
use super::{Concurrency, EraChoice, HubSpec, Share, Start};

/// Keys of the top level.
pub(super) const TOP: Keys = Keys {
    known: &["hub", "defaults", "servers"],
    advice: &[
        ("mcpServers", "write each server as [servers.NAME]"),
        ("mcp_servers", "write each server as [servers.NAME]"),
        ("mcp", "write each server as [servers.NAME]"),
    ],
};

const HUB: Keys = Keys {
    known: &[
        "host",
        "port",
        "first_port",
        "log",
        "body_max",
        "sessions_max",
        "session_expiry",
        "replay_ttl",
        "spawns_max",
        "allowed_hosts",
        "allowed_origins",
    ],
    advice: &[
        ("log_level", "did you mean `log`?"),
        ("bind", "did you mean `host`?"),
        ("address", "did you mean `host`?"),
    ],
};

const REMOTE: &str = "hub runs servers that speak over stdio; remote ones are not available yet";
const LATER: &str = "not available yet, leave it out";

const SERVER: Keys = Keys {
    known: &[
        "command",
        "args",
        "env",
        "env_file",
        "cwd",
        "port",
        "enabled",
        "start",
        "idle_stop",
        "share",
        "restart",
        "startup_timeout",
        "request_timeout",
        "tools",
        "roots",
        "concurrency",
        "era",
        "probe_timeout",
        "park_timeout",
    ],
    advice: &[
        ("memory_max", LATER),
        ("url", REMOTE),
        ("httpUrl", REMOTE),
        ("serverUrl", REMOTE),
        ("headers", REMOTE),
        ("type", "leave it out: hub runs servers that speak over stdio"),
        ("transport", "leave it out: hub runs servers that speak over stdio"),
        ("disabled", "write `enabled = false`"),
        ("timeout", "did you mean `request_timeout`?"),
        ("protocol", "did you mean `era`?"),
        ("protocol_version", "did you mean `era`?"),
        ("cmd", "did you mean `command`?"),
        ("name", "the name is in the header: [servers.NAME]"),
        ("elicitation", LATER),
        ("sampling", LATER),
    ],
};

/// `[defaults]` knows all keys of a server but those that only make sense for one.
const DEFAULTS: Keys = Keys {
    known: &[
        "env",
        "env_file",
        "cwd",
        "enabled",
        "start",
        "idle_stop",
        "share",
        "restart",
        "startup_timeout",
        "request_timeout",
        "tools",
        "roots",
        "concurrency",
        "era",
        "probe_timeout",
        "park_timeout",
    ],
    advice: &[
        ("command", "it belongs to one server: [servers.NAME]"),
        ("args", "it belongs to one server: [servers.NAME]"),
        ("port", "it belongs to one server: [servers.NAME]"),
        ("memory_max", LATER),
        ("timeout", "did you mean `request_timeout`?"),
    ],
};

const RESTART: Keys = Keys { known: &["initial", "max"], advice: &[] };
const TOOLS: Keys = Keys { known: &["allow", "deny"], advice: &[] };

const BODY_BYTES_MIN: u64 = 1 << 10;
const BODY_BYTES_LIMIT: u64 = 1 << 30;
const SESSIONS_LIMIT: u64 = 1_000_000;
const SPAWNS_LIMIT: u64 = 1024;

/// What is written of a server or of `[defaults]`; references are found but not looked up.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub command: Option<At<Template>>,
    pub args: Vec<At<Template>>,
    pub env: Vec<(String, At<Template>)>,
    pub env_file: Option<At<Template>>,
    pub cwd: Option<At<Template>>,
    pub port: Option<At<u16>>,
    pub enabled: Option<bool>,
    pub start: Option<Start>,
    pub idle_stop: Option<Patience>,
    pub share: Option<Share>,
    pub restart_initial: Option<At<Duration>>,
    pub restart_max: Option<At<Duration>>,
    pub startup_timeout: Option<At<Duration>>,
    pub request_timeout: Option<Patience>,
    pub allow: Option<Vec<String>>,
    pub deny: Option<Vec<String>>,
    pub roots: Option<DraftRoots>,
    pub concurrency: Option<Concurrency>,
    pub era: Option<EraChoice>,
    pub probe_timeout: Option<At<Duration>>,
    pub park_timeout: Option<Duration>,
}

/// `roots` as it is written.
#[derive(Debug, Clone)]
pub(super) enum DraftRoots {
    Own(Vec<At<Template>>),
    Client,
}

// === impl Draft ===

impl Draft {
    /// Reads `[defaults]`.
    pub(super) fn defaults(mut section: Section<'_, '_>) -> Self {
        section.refuse_unknown(&DEFAULTS);
        Self::common(&mut section)
    }

    /// Reads one server. `header` is the line to blame when something is missing; `partial` says that lines were lost.
    pub(super) fn server(mut section: Section<'_, '_>, header: usize, partial: bool) -> Self {
        let any_unknown = section.refuse_unknown(&SERVER);
        let mut draft = Self::common(&mut section);
        draft.command = section.path("command");
        draft.args = section.templates("args").unwrap_or_default();
        draft.port = section.port("port", 1);
        // An unknown key is probably the command under another name: one problem, not two.
        if !section.has("command") && !any_unknown && !partial {
            section.fault(header, "`command` is missing".to_owned(), None);
        }
        draft
    }

    fn common(section: &mut Section<'_, '_>) -> Self {
        let mut draft = Self {
            env: section.template_map("env"),
            env_file: section.path("env_file"),
            cwd: section.path("cwd"),
            enabled: section.boolean("enabled"),
            start: section.word("start", &[("eager", Start::Eager), ("lazy", Start::Lazy)], &[]),
            idle_stop: section.patience("idle_stop"),
            share: section.word(
                "share",
                &[("shared", Share::Shared), ("session", Share::Session)],
                &["auto", "workspace", "capabilities"],
            ),
            startup_timeout: section.duration("startup_timeout", false),
            request_timeout: section.patience("request_timeout"),
            roots: roots(section),
            concurrency: section.word(
                "concurrency",
                &[("auto", Concurrency::Auto), ("serial", Concurrency::Serial), ("parallel", Concurrency::Parallel)],
                &[],
            ),
            era: section.word(
                "era",
                &[("auto", EraChoice::Auto), ("legacy", EraChoice::Legacy), ("modern", EraChoice::Modern)],
                &[],
            ),
            probe_timeout: section.duration("probe_timeout", false),
            park_timeout: section.duration("park_timeout", false).map(|at| at.value),
            ..Self::default()
        };
        if let Some(mut restart) = section.table("restart") {
            restart.refuse_unknown(&RESTART);
            draft.restart_initial = restart.duration("initial", false);
            draft.restart_max = restart.duration("max", false);
        }
        if let Some(mut tools) = section.table("tools") {
            tools.refuse_unknown(&TOOLS);
            draft.allow = patterns(&mut tools, "allow");
            draft.deny = patterns(&mut tools, "deny");
        }
        draft
    }

    /// This draft where it says something, `defaults` elsewhere. `env`, `restart` and `tools` are merged key by key.
    pub(super) fn over(self, defaults: &Self) -> Self {
        let mut env = defaults.env.clone();
        env.retain(|(name, _)| !self.env.iter().any(|(own, _)| own == name));
        env.extend(self.env);
        Self {
            command: self.command,
            args: self.args,
            env,
            env_file: self.env_file.or_else(|| defaults.env_file.clone()),
            cwd: self.cwd.or_else(|| defaults.cwd.clone()),
            port: self.port,
            enabled: self.enabled.or(defaults.enabled),
            start: self.start.or(defaults.start),
            idle_stop: self.idle_stop.or(defaults.idle_stop),
            share: self.share.or(defaults.share),
            restart_initial: self.restart_initial.or(defaults.restart_initial),
            restart_max: self.restart_max.or(defaults.restart_max),
            startup_timeout: self.startup_timeout.or(defaults.startup_timeout),
            request_timeout: self.request_timeout.or(defaults.request_timeout),
            allow: self.allow.or_else(|| defaults.allow.clone()),
            deny: self.deny.or_else(|| defaults.deny.clone()),
            roots: self.roots.or_else(|| defaults.roots.clone()),
            concurrency: self.concurrency.or(defaults.concurrency),
            era: self.era.or(defaults.era),
            probe_timeout: self.probe_timeout.or(defaults.probe_timeout),
            park_timeout: self.park_timeout.or(defaults.park_timeout),
        }
    }
}

/// Only `file://` URIs are roots (2025-11-25, client/roots). References may complete one, but not make one.
fn roots(section: &mut Section<'_, '_>) -> Option<DraftRoots> {
    if section.is_word("roots", "client") {
        return Some(DraftRoots::Client);
    }
    for root in section.strings("roots")? {
        if !root.value.starts_with("file:///") && !root.value.starts_with("file://${") {
            section.key_fault("roots", root.line, "must hold file URIs", Some("write \"file:///path\""));
        }
    }
    section.templates("roots").map(DraftRoots::Own)
}

fn patterns(section: &mut Section<'_, '_>, key: &str) -> Option<Vec<String>> {
    let patterns = section.strings(key)?;
    for empty in patterns.iter().filter(|pattern| pattern.value.is_empty()) {
        section.key_fault(key, empty.line, "holds an empty pattern", Some("write \"*\" for every tool"));
    }
    Some(patterns.into_iter().map(|pattern| pattern.value.to_owned()).collect())
}

/// Reads `[hub]` over its defaults. Gives it with the line of `port`.
pub(super) fn hub(mut section: Section<'_, '_>, mut hub: HubSpec) -> HubSpec {
    section.refuse_unknown(&HUB);
    hub.host = host(&mut section).unwrap_or(hub.host);
    hub.port = section.port("port", 0).map_or(hub.port, |at| at.value);
    hub.first_port = section.port("first_port", 0).map_or(hub.first_port, |at| at.value);
    hub.log = log(&mut section).unwrap_or(hub.log);
    let count = |number: u64| usize::try_from(number).expect("bounded far below usize");
    hub.body_bytes_max = section.size("body_max", BODY_BYTES_MIN, BODY_BYTES_LIMIT).map_or(hub.body_bytes_max, count);
    let sessions_max = section.integer("sessions_max", 1, SESSIONS_LIMIT);
    hub.sessions_max = sessions_max.map_or(hub.sessions_max, |at| count(at.value));
    hub.session_expiry = section.duration("session_expiry", false).map_or(hub.session_expiry, |at| at.value);
    hub.replay_ttl = section.duration("replay_ttl", true).map_or(hub.replay_ttl, |at| at.value);
    let spawns_max = section.integer("spawns_max", 1, SPAWNS_LIMIT);
    hub.spawns_max = spawns_max.map_or(hub.spawns_max, |at| count(at.value));
    hub.allowed_hosts = checked(&mut section, "allowed_hosts", host_fault);
    hub.allowed_origins = checked(&mut section, "allowed_origins", origin_fault);
    hub
}

fn host(section: &mut Section<'_, '_>) -> Option<IpAddr> {
    let text = section.string("host", None)?;
    let bare = text.value.trim_start_matches('[').trim_end_matches(']');
    let address = if bare == "localhost" { Some(IpAddr::from([127, 0, 0, 1])) } else { bare.parse().ok() };
    match address {
        Some(address) if address.is_loopback() => return Some(address),
        Some(_) => section.key_fault(
            "host",
            text.line,
            "must be a loopback address: clients do not authenticate yet, and whoever reaches hub runs its tools",
            Some("write \"127.0.0.1\""),
        ),
        None => section.key_fault("host", text.line, "is not an IP address", Some("write \"127.0.0.1\"")),
    }
    None
}

/// A bare word that is no level would be taken for a target and silently log everything of it.
fn log(section: &mut Section<'_, '_>) -> Option<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let text = section.string("log", None)?;
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let mut directives = text.value.split(',').map(str::trim);
    if directives.all(|one| is_level(one) || one.contains('=')) && EnvFilter::try_new(text.value).is_ok() {
        return Some(text.value.to_owned());
    }
    let hint = "write a level (off, error, warn, info, debug, trace), or \"info,hub::server=debug\"";
    section.key_fault("log", text.line, "is not a log filter", Some(hint));
    None
}

fn checked(section: &mut Section<'_, '_>, key: &str, fault: fn(&str) -> Option<&'static str>) -> Vec<String> {
    let mut good = Vec::new();
    for text in section.strings(key).unwrap_or_default() {
        match fault(text.value) {
            None => good.push(text.value.to_ascii_lowercase()),
            Some(hint) => section.key_fault(key, text.line, "holds an entry that cannot match", Some(hint)),
        }
    }
    good
}

fn host_fault(host: &str) -> Option<&'static str> {
    let is_v6 =
        host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|v6| v6.parse::<IpAddr>().is_ok());
    if is_v6 {
        return None;
    }
    let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if host.contains('*') {
        Some("a wildcard would undo the protection against DNS rebinding: name each host")
    } else if host.is_empty() || !host.bytes().all(is_name_byte) {
        Some("write a host name only, without scheme, port or path")
    } else {
        None
    }
}

/// PROTOCOL 1.19: compared as scheme, host and port; `null` is never allowed.
fn origin_fault(origin: &str) -> Option<&'static str> {
    const FORM: &str = "write scheme://host or scheme://host:port";
    if origin.contains('*') {
        return Some("a wildcard would let any page call your tools: name each origin");
    }
    let Some((scheme, rest)) = origin.split_once("://") else {
        return Some(FORM);
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_port = port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    if is_scheme && is_port && host_fault(host).is_none() { None } else { Some(FORM) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["box", "box.local", "[::1]", "10.0.0.1"] {
            assert_eq!(host_fault(good), None, "{good}");
        }
        for bad in ["", "*", "*.local", "http://box", "box:80", "box/", "a b", "::1"] {
            assert!(host_fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn origins() {
        for good in ["http://box", "https://box:8443", "http://[::1]:80", "http://[::1]", "vscode-webview://abc-def"] {
            assert_eq!(origin_fault(good), None, "{good}");
        }
        for bad in [
            "",
            "null",
            "*",
            "https://*.x",
            "box",
            "http://",
            "http://box/",
            "http://box:x",
            "http://box:99999",
            "://x",
        ] {
            assert!(origin_fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn defaults_know_every_server_key_but_three() {
        let missing: Vec<_> = SERVER.known.iter().filter(|key| !DEFAULTS.known.contains(key)).collect();
        assert_eq!(missing, [&"command", &"args", &"port"]);
        assert!(DEFAULTS.known.iter().all(|key| SERVER.known.contains(key)));
    }
}

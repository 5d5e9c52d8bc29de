//! The validated model of hub.toml: complete, comparable, without an `Option` that means "default".
//!
//! In: nothing (validation fills it). Out: [`Config`] and its parts. Owns no state. May not: know TOML, or print a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Problem, ServerName, ToolFilter};
use crate::limits;

/// A whole hub.toml. Servers are in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[hub]`.
    pub hub: HubSpec,
    /// `[servers.*]`, in the order of the file; names are unique, also without regard to case.
    pub servers: Vec<ServerEntry>,
}

/// One server of the file, usable or not.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerEntry {
    /// Its key under `[servers]`.
    pub name: ServerName,
    /// Its own port, if the file names one that is free for it; kept apart so that a failed server keeps its listener.
    pub port: Option<u16>,
    /// Whether it should run at all; known also when `spec` is not.
    pub enabled: bool,
    /// What to run, or why this server alone is `failed`.
    pub spec: Result<Arc<ServerSpec>, Vec<Problem>>,
}

/// `[hub]`: the daemon itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSpec {
    /// Address of all listeners; always a loopback address.
    pub host: IpAddr,
    /// Port of the hub endpoint; 0 lets the system choose.
    pub port: u16,
    /// Servers without a port get the lowest free number from here; 0 lets the system choose each.
    pub first_port: u16,
    /// Log filter: a level, or `level,target=level`.
    pub log: String,
    /// Largest request body, in bytes (key `body_max`).
    pub body_bytes_max: usize,
    /// Sessions kept at once; over it the idlest one goes.
    pub sessions_max: usize,
    /// A session without any use expires after this long.
    pub session_expiry: Duration,
    /// A finished stream can be resumed this long.
    pub replay_ttl: Duration,
    /// Children that start at the same time.
    pub spawns_max: usize,
    /// Host names that the Host header may carry besides loopback ones: lower case, no port.
    pub allowed_hosts: Vec<String>,
    /// Origins that may call besides loopback ones: `scheme://host[:port]`, lower case.
    pub allowed_origins: Vec<String>,
}

impl HubSpec {
    /// The MCP endpoint of a listener of hub, as clients are told it.
    pub fn url(&self, port: u16) -> String {
        format!("http://{}/mcp", SocketAddr::new(self.host, port))
    }
}

/// What to run for one server and how. Equality decides whether a reload touches it; [`ServerSpec::fingerprint`] whether
/// the child restarts.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerSpec {
    /// Its name.
    pub name: ServerName,
    /// Program: a path, or a name to look up in PATH.
    pub command: String,
    /// Its arguments, expanded.
    pub args: Vec<String>,
    /// Variables added to hub's own environment (`env_file`, then `env` over it).
    pub env: BTreeMap<String, Secret>,
    /// Working folder, absolute.
    pub cwd: PathBuf,
    /// Its own port; none = assigned from `first_port` and remembered.
    pub port: Option<u16>,
    /// Whether it should run at all.
    pub enabled: bool,
    /// When its child starts.
    pub start: Start,
    /// An unused child is stopped after this long; none = never.
    pub idle_stop: Option<Duration>,
    /// Who shares a child.
    pub share: Share,
    /// Pauses between restarts.
    pub restart: RestartPolicy,
    /// Time from spawn to `ready`.
    pub startup_timeout: Duration,
    /// Time for one request; none = no limit.
    pub request_timeout: Option<Duration>,
    /// Tools that are listed and may be called.
    pub tools: ToolFilter,
    /// What the server hears when it asks for roots.
    pub roots: Roots,
    /// How requests of the child find their owner while several calls run (PROTOCOL 1.11).
    pub concurrency: Concurrency,
    /// Which era of the protocol the child is spoken to in (PROTOCOL 2.7).
    pub era: EraChoice,
    /// Time for the answer to the probe, before `initialize` is tried beside it; with `era = "auto"` shorter than
    /// `startup_timeout`.
    pub probe_timeout: Duration,
    /// A call that waits for answers of a modern client is given up after this long (PROTOCOL 3.A.4).
    pub park_timeout: Duration,
}

/// When the child of a server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With hub.
    Eager,
    /// With the first request that needs it.
    Lazy,
}

/// Who shares a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All sessions.
    Shared,
    /// Nobody: one child per session.
    Session,
}

/// Pauses between restarts, doubling from `initial` to `max`, jittered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// First pause.
    pub initial: Duration,
    /// Longest pause; not below `initial`.
    pub max: Duration,
}

/// How requests of the child find their owner while several calls run (PROTOCOL 1.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// Parallel until the child asks something; then a baton.
    Auto,
    /// One call at a time.
    Serial,
    /// Always parallel: what cannot be attributed is refused.
    Parallel,
}

/// Which era of the protocol a child is spoken to in (PROTOCOL 2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EraChoice {
    /// Found out with a probe.
    Auto,
    /// Only `initialize`: no probe.
    Legacy,
    /// Only `server/discover`: never `initialize`.
    Modern,
}

/// A value that must not be shown: its `Debug` is `***` and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

// === impl Secret ===

impl Secret {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the child's environment only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl Config ===

impl Config {
    /// The entry of that name.
    pub fn server(&self, name: &str) -> Option<&ServerEntry> {
        self.servers.iter().find(|entry| entry.name.as_str() == name)
    }
}

// === impl HubSpec ===

impl HubSpec {
    /// All defaults; `cores` bounds how many children start at once.
    pub fn new(cores: usize) -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: limits::HUB_PORT,
            first_port: limits::FIRST_SERVER_PORT,
            log: "info".to_owned(),
            body_bytes_max: limits::BODY_BYTES_MAX,
            sessions_max: limits::SESSIONS_MAX,
            session_expiry: limits::SESSION_EXPIRY,
            replay_ttl: limits::REPLAY_TTL,
            spawns_max: cores.max(1),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

// === impl ServerSpec ===

impl ServerSpec {
    /// A server with every default, in folder `cwd`.
    pub fn new(name: ServerName, command: impl Into<String>, cwd: impl Into<PathBuf>) -> Self {
        Self {
            name,
            command: command.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: cwd.into(),
            port: None,
            enabled: true,
            start: Start::Eager,
            idle_stop: None,
            share: Share::Shared,
            restart: RestartPolicy::default(),
            startup_timeout: limits::STARTUP_TIMEOUT,
            request_timeout: None,
            tools: ToolFilter::default(),
            roots: Roots::default(),
            concurrency: Concurrency::Auto,
            era: EraChoice::Auto,
            probe_timeout: limits::PROBE_TIMEOUT,
            park_timeout: limits::PARK_TIMEOUT,
        }
    }

    /// Hex SHA-256 of what decides how the child behaves: command, args, env, cwd, roots, share, era. Two specs with the
    /// same fingerprint may use the same running child and the same cached lists.
    pub fn fingerprint(&self) -> String {
        let mut hash = Fields(Sha256::new());
        // A version, so that a change of this recipe makes old cache entries miss instead of lie.
        hash.field(b"hub child 2");
        hash.field(self.command.as_bytes());
        hash.count(self.args.len());
        for arg in &self.args {
            hash.field(arg.as_bytes());
        }
        hash.count(self.env.len());
        for (key, value) in &self.env {
            hash.field(key.as_bytes());
            hash.field(value.expose().as_bytes());
        }
        hash.field(self.cwd.as_os_str().as_encoded_bytes());
        let (roots, of_client): (&[String], bool) = match &self.roots {
            Roots::Own(roots) => (roots, false),
            Roots::Client => (&[], true),
        };
        hash.count(roots.len());
        for root in roots {
            hash.field(root.as_bytes());
        }
        if of_client {
            hash.field(b"roots of the client");
        }
        hash.field(self.share.as_str().as_bytes());
        hash.field(self.era.as_str().as_bytes());
        hash.hex()
    }
}

/// Arguments are expanded and may carry secrets, so only their number is shown.
impl fmt::Debug for ServerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSpec")
            .field("name", &self.name)
            .field("command", &self.command)
            .field("args", &self.args.len())
            .field("env", &self.env)
            .field("cwd", &self.cwd)
            .field("port", &self.port)
            .field("enabled", &self.enabled)
            .field("start", &self.start)
            .field("idle_stop", &self.idle_stop)
            .field("share", &self.share)
            .field("restart", &self.restart)
            .field("startup_timeout", &self.startup_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("tools", &self.tools)
            .field("roots", &self.roots)
            .field("concurrency", &self.concurrency)
            .field("era", &self.era)
            .field("probe_timeout", &self.probe_timeout)
            .field("park_timeout", &self.park_timeout)
            .finish()
    }
}

/// What a server hears when it asks for roots (PROTOCOL 1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// These `file://` URIs, whoever it works for. Empty: roots are not declared, and asking is refused.
    Own(Vec<String>),
    /// Those of the client that it works for when it asks. Refused between calls: what one client has is nobody else's.
    Client,
}

impl Default for Roots {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl Share {
    /// The word of hub.toml and of `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Session => "session",
        }
    }
}

impl EraChoice {
    /// The word of hub.toml.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { initial: limits::RESTART_INITIAL, max: limits::RESTART_MAX }
    }
}

/// A hash over fields that cannot run into one another.
struct Fields(Sha256);

impl Fields {
    fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.update(bytes);
    }

    fn hex(self) -> String {
        use fmt::Write as _;
        self.0.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ServerSpec {
        ServerSpec::new(ServerName::new("s").expect("valid"), "cmd", "/")
    }

    #[test]
    fn the_fingerprint_sees_what_the_child_sees_and_nothing_else() {
        let base = spec().fingerprint();
        assert_eq!(base.len(), 64);
        let differs: [fn(&mut ServerSpec); 8] = [
            |s| s.command = "other".into(),
            |s| s.args.push("x".into()),
            |s| drop(s.env.insert("K".into(), Secret::new("v"))),
            |s| s.cwd = "/tmp".into(),
            |s| s.roots = Roots::Own(vec!["file:///x".into()]),
            |s| s.roots = Roots::Client,
            |s| s.share = Share::Session,
            |s| s.era = EraChoice::Legacy,
        ];
        for change in differs {
            let mut other = spec();
            change(&mut other);
            assert_ne!(other.fingerprint(), base);
        }
        let same: [fn(&mut ServerSpec); 11] = [
            |s| s.port = Some(1),
            |s| s.enabled = false,
            |s| s.start = Start::Lazy,
            |s| s.idle_stop = Some(Duration::from_secs(1)),
            |s| s.restart.max = Duration::from_secs(1),
            |s| s.startup_timeout = Duration::from_secs(1),
            |s| s.request_timeout = Some(Duration::from_secs(1)),
            |s| s.tools = ToolFilter::new(Vec::new(), Vec::new()),
            |s| s.concurrency = Concurrency::Serial,
            |s| s.probe_timeout = Duration::from_secs(1),
            |s| s.park_timeout = Duration::from_secs(1),
        ];
        for change in same {
            let mut other = spec();
            change(&mut other);
            assert_eq!(other.fingerprint(), base);
        }
    }

    #[test]
    fn fields_do_not_run_into_one_another() {
        let with = |args: &[&str], roots: &[&str]| {
            let own = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect();
            ServerSpec { args: own(args), roots: Roots::Own(own(roots)), ..spec() }.fingerprint()
        };
        assert_ne!(with(&["ab"], &[]), with(&["a", "b"], &[]));
        assert_ne!(with(&["a"], &[]), with(&[], &["a"]));
        assert_ne!(with(&[""], &[]), with(&[], &[]));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let mut spec = spec();
        spec.env.insert("TOKEN".into(), Secret::new("hunter2"));
        spec.args.push("--token=hunter2".into());
        let config = Config {
            hub: HubSpec::new(2),
            servers: vec![ServerEntry { name: spec.name.clone(), port: None, enabled: true, spec: Ok(Arc::new(spec)) }],
        };
        let text = format!("{config:?} {config:#?}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("TOKEN") && text.contains("***"));
    }
}

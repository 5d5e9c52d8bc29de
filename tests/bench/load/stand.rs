//! The two things that are compared, set up alike: hub with an echo server behind it, and the floor with the same one.
//!
//! In: paths of programs. Out: a [`Gateway`] that takes requests, sessions on it. Owns the private folders and, through
//! [`Running`], the processes. May not: touch the user's own files or ports.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::call::{INITIALIZE, INITIALIZED, Target, answer};
use crate::http::Conn;
use crate::procs::Running;

/// Ports below the range that outgoing connections use, so that none is taken between two starts.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// What `scripts/bench` built.
#[derive(Debug, Clone, clap::Args)]
pub struct Programs {
    /// The hub binary.
    #[arg(long)]
    hub: PathBuf,
    /// The bare forwarder.
    #[arg(long)]
    floor: PathBuf,
    /// The echo server.
    #[arg(long)]
    echo: PathBuf,
}

/// Something that forwards calls to an echo server.
pub struct Gateway {
    /// The process.
    pub running: Rc<Running>,
    /// Where the echo server is served.
    pub target: Target,
    /// Whether it wants sessions.
    pub is_hub: bool,
}

/// A private home of hub: folders, ports and a config that last over several starts.
pub struct Home {
    dir: TempDir,
    /// The hub port, then one port per server.
    ports: Vec<u16>,
}

impl Home {
    /// A config with one `eager` server that is named first, and `lazy` ones that nobody calls.
    pub fn new(programs: &Programs, eager: usize, lazy: usize) -> Result<Self> {
        Self::with(programs, eager, lazy, 0)
    }

    /// Two eager servers: one legacy, one modern.
    pub fn of_both_eras(programs: &Programs) -> Result<Self> {
        Self::with(programs, 2, 0, 1)
    }

    /// The last `modern` of them speak the modern era.
    fn with(programs: &Programs, eager: usize, lazy: usize, modern: usize) -> Result<Self> {
        let dir = TempDir::with_prefix("hub-bench-")?;
        let ports = free_ports(1 + eager + lazy)?;
        let mut config = format!("[hub]\nport = {}\n", ports[0]);
        for (number, port) in ports[1..].iter().enumerate() {
            let args = if number + modern < eager + lazy { "" } else { "\"--modern\"" };
            let start = if number < eager { "eager" } else { "lazy" };
            write!(
                config,
                "\n[servers.echo{number}]\ncommand = {:?}\nargs = [{args}]\nport = {port}\nstart = \"{start}\"\nshare = \"shared\"\n",
                programs.echo.to_str().context("the path of the echo server is not UTF-8")?,
            )?;
        }
        fs::write(dir.path().join("hub.toml"), config)?;
        Ok(Self { dir, ports })
    }

    /// Where hub listens first.
    pub fn hub_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[0]).into()
    }

    /// Where a server is served, counted from 0.
    pub fn server_address(&self, number: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[1 + number]).into()
    }

    /// Starts hub here, without waiting for anything.
    pub fn start(&self, programs: &Programs) -> Result<Running> {
        let home = self.dir.path();
        let log = fs::File::options().create(true).append(true).open(home.join("hub.log"))?;
        let mut command = Command::new(&programs.hub);
        command.arg("serve").arg("--config").arg(home.join("hub.toml")).stderr(Stdio::from(log));
        for variable in ["HUB_CONFIG", "HUB_LOG", "RUST_LOG", "NOTIFY_SOCKET", "LISTEN_FDS"] {
            command.env_remove(variable);
        }
        command.env("HOME", home).env("HUB_STATE_DIR", home.join("state"));
        for variable in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"] {
            command.env(variable, home.join(variable));
        }
        Running::start(&mut command)
    }

    /// The end of hub's log, to explain a failure.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.dir.path().join("hub.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// Starts hub and waits until it is ready and, if it serves an eager server, that answers.
    pub fn serve(&self, programs: &Programs) -> Result<Gateway> {
        let running = self.start(programs)?;
        running.wait_ready().with_context(|| format!("hub did not start:\n{}", self.log_tail()))?;
        let target = Target { address: self.server_address(0), path: "/mcp", session: None, is_modern: false };
        Ok(Gateway { running: Rc::new(running), target, is_hub: true })
    }
}

/// Starts the floor, for requests of an era and in front of an echo server of the same.
pub fn floor(programs: &Programs, is_modern: bool) -> Result<Gateway> {
    let era = is_modern.then_some("--modern");
    let running = Running::start(Command::new(&programs.floor).arg(&programs.echo).args(era))?;
    let target = Target { address: running.wait_ready()?, path: "/mcp", session: None, is_modern };
    Ok(Gateway { running: Rc::new(running), target, is_hub: false })
}

impl Gateway {
    /// The same process, for clients of an era, at a server.
    pub fn at(&self, address: SocketAddr, is_modern: bool) -> Self {
        let target = Target { address, is_modern, ..self.target.clone() };
        Self { running: self.running.clone(), target, is_hub: self.is_hub }
    }

    /// Opens a session, if this gateway wants one.
    pub async fn open_session(&self, conn: &mut Conn) -> Result<Target> {
        if !self.is_hub || self.target.is_modern {
            return Ok(self.target.clone());
        }
        let reply = conn.exchange(&self.target.post(INITIALIZE)).await.context("initialize")?;
        let answer = answer(&reply).map_err(|e| anyhow::anyhow!("initialize: {e}"))?;
        ensure!(answer["result"]["serverInfo"].is_object(), "initialize was answered by {answer}");
        let session = reply.session.context("initialize gave no session")?;
        let target = Target { session: Some(session), ..self.target.clone() };
        let reply = conn.exchange(&target.post(INITIALIZED)).await.context("initialized")?;
        ensure!(reply.status == 202, "initialized was answered with {}", reply.status);
        Ok(target)
    }

    /// Ends a session, so that rounds do not add up.
    pub async fn close_session(&self, conn: &mut Conn, target: &Target) -> Result<()> {
        if target.session.is_some() {
            let reply = conn.exchange(&target.delete()).await.context("DELETE")?;
            ensure!((200..300).contains(&reply.status), "DELETE was answered with {}", reply.status);
        }
        Ok(())
    }
}

fn free_ports(count: usize) -> Result<Vec<u16>> {
    // Two benches at once start at different places.
    let offset = u16::try_from(std::process::id() % 8_000)?;
    let candidates = (PORTS.start + offset..PORTS.end).chain(PORTS.start..PORTS.start + offset);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let ports: Vec<u16> = candidates.filter(is_free).take(count).collect();
    ensure!(ports.len() == count, "not enough free ports");
    Ok(ports)
}

impl Programs {
    /// The same with absolute paths, as hub's children do not start here. Fails when one does not exist.
    pub fn resolve(&self) -> Result<Self> {
        let absolute = |path: &Path| {
            let found = path.canonicalize();
            found.with_context(|| format!("cannot find {}", path.display()))
        };
        Ok(Self { hub: absolute(&self.hub)?, floor: absolute(&self.floor)?, echo: absolute(&self.echo)? })
    }
}

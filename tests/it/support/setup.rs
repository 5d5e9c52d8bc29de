//! What a test wants to run: servers and keys, as hub.toml.
//!
//! In: builder calls. Out: TOML text. Owns nothing. May not: start anything.

use std::fmt::{Display, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// One server of hub.toml; by default the scripted one with a journal.
#[derive(Debug, Clone)]
pub struct Fake {
    /// Its key under `[servers]`.
    pub name: String,
    args: Vec<String>,
    keys: Vec<(String, String)>,
    command: Option<String>,
}

impl Fake {
    /// A scripted server that is tagged with its own name.
    pub fn new(name: &str) -> Self {
        let fake = Self { name: name.to_owned(), args: Vec::new(), keys: Vec::new(), command: None };
        fake.arg("--tag", name)
    }

    /// A scripted server of the modern revision.
    pub fn modern(name: &str) -> Self {
        Self::new(name).arg("--profile", "M")
    }

    /// A knob with a value.
    pub fn arg(mut self, knob: &str, value: impl Display) -> Self {
        self.args.extend([knob.to_owned(), value.to_string()]);
        self
    }

    /// A knob without a value.
    pub fn flag(mut self, knob: &str) -> Self {
        self.args.push(knob.to_owned());
        self
    }

    /// A key of hub.toml, its value as TOML.
    pub fn key(mut self, key: &str, toml: &str) -> Self {
        self.keys.retain(|(known, _)| known != key);
        self.keys.push((key.to_owned(), toml.to_owned()));
        self
    }

    /// `start = "lazy"`
    pub fn lazy(self) -> Self {
        self.key("start", "\"lazy\"")
    }

    /// Another program than the scripted server; knobs become its arguments as they are.
    pub fn command(mut self, command: &str, args: &[&str]) -> Self {
        self.command = Some(command.to_owned());
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
        self
    }

    fn toml(&self, dir: &Path) -> String {
        let mut text = format!("[servers.{}]\n", self.name);
        let mut args = self.args.clone();
        let command = self.command.clone().unwrap_or_else(|| {
            args.extend(["--journal".into(), dir.join(format!("{}.journal", self.name)).display().to_string()]);
            fake_server().display().to_string()
        });
        let args: Vec<String> = args.iter().map(|arg| quote(arg)).collect();
        let _ = writeln!(text, "command = {}\nargs = [{}]", quote(&command), args.join(", "));
        for (key, value) in &self.keys {
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }
}

/// A whole hub.toml and the environment of hub.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Servers in the order of the file.
    pub servers: Vec<Fake>,
    hub: Vec<(String, String)>,
    /// Variables of hub itself.
    pub env: Vec<(String, String)>,
    /// Wait for every server to be `ready` before the test goes on.
    pub impatient: bool,
}

impl Setup {
    /// One scripted server named `a`.
    pub fn one() -> Self {
        Self::of([Fake::new("a")])
    }

    /// One scripted server of the modern revision named `a`.
    pub fn modern() -> Self {
        Self::of([Fake::modern("a")])
    }

    /// One server named `a` of each era: for what must hold whatever the child speaks.
    pub fn both() -> [(&'static str, Self); 2] {
        [("a legacy child", Self::one()), ("a modern child", Self::modern())]
    }

    /// These servers.
    pub fn of(servers: impl IntoIterator<Item = Fake>) -> Self {
        Self { servers: servers.into_iter().collect(), ..Self::default() }
    }

    /// A key of `[hub]`, its value as TOML.
    pub fn hub_key(mut self, key: &str, toml: &str) -> Self {
        self.set_hub_key(key, toml);
        self
    }

    /// See [`Setup::hub_key`].
    pub fn set_hub_key(&mut self, key: &str, toml: &str) {
        self.hub.retain(|(known, _)| known != key);
        self.hub.push((key.to_owned(), toml.to_owned()));
    }

    /// A variable of hub's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Do not wait for the servers: the test is about how they start, or that they do not.
    pub fn impatient(mut self) -> Self {
        self.impatient = true;
        self
    }

    /// Fixed ports for all listeners, so that a restart of hub finds the same ones free.
    pub fn fixed_ports(mut self) -> Self {
        let port = free_ports(1).to_string();
        self.set_hub_key("port", &port);
        for server in &mut self.servers {
            *server = server.clone().key("port", &free_ports(1).to_string());
        }
        self
    }

    /// The server of that name, to change it.
    pub fn server(&mut self, name: &str) -> &mut Fake {
        self.servers.iter_mut().find(|server| server.name == name).expect("a server of that name")
    }

    /// The text of hub.toml.
    pub fn toml(&self, dir: &Path) -> String {
        let mut text = "[hub]\n".to_owned();
        for (key, default) in [("port", "0"), ("first_port", "0")] {
            if !self.hub.iter().any(|(known, _)| known == key) {
                let _ = writeln!(text, "{key} = {default}");
            }
        }
        for (key, value) in &self.hub {
            let _ = writeln!(text, "{key} = {value}");
        }
        for server in &self.servers {
            text += "\n";
            text += &server.toml(dir);
        }
        text
    }
}

/// The first of `count` free ports in a row, handed out once. They lie below the range from which the system serves
/// `port 0` and outgoing connections: while hub is down, other tests would take one of those.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Tests may run as one process each: every process starts somewhere else.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..1000 {
        let offset = start.wrapping_add(NEXT.fetch_add(u32::from(count), Ordering::SeqCst)) % 14_000;
        let first = 15_000 + u16::try_from(offset).expect("small");
        if (first..first + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
    panic!("no {count} free ports in a row");
}

/// The hub under test: `HUB_BIN` (relative to the top), as `scripts/test` sets it, else the one that cargo just built.
pub fn hub_binary() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("HUB_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_hub")), |bin| top.join(bin))
}

/// The scripted server: cargo builds examples beside the binaries of its own profile, whichever hub is tested with it.
pub fn fake_server() -> PathBuf {
    let hub = Path::new(env!("CARGO_BIN_EXE_hub"));
    hub.parent().expect("a folder").join("examples").join("fake_server")
}

/// A TOML string.
pub fn quote(text: &str) -> String {
    // JSON strings are TOML basic strings, but for DEL.
    serde_json::to_string(text).expect("a string").replace('\u{7f}', "\\u007f")
}

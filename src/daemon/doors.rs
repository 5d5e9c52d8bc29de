//! The port of each server: which one, and whether it is open.
//!
//! In: what hub.toml says, what the store remembers. Out: bound listeners, or why not. Owns the numbers that are in use.
//! May not: change a port that was ever given out (DESIGN 2.1); a taken one is reported and tried again.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::{self, Config, ServerEntry};
use crate::http::{Context, Face, Listener};
use crate::platform::kept::Kept;
use crate::platform::sockets::{self, Error};
use crate::server::Failure;
use crate::store::Store;

/// Numbers tried for a server that never had a port before it is reported as failed.
const NEW_PORT_TRIES: usize = 100;

/// A server's port and its listener.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) port: u16,
    pub(super) listener: Option<Listener>,
    pub(super) failure: Option<Arc<Failure>>,
}

/// Which server has which port.
#[derive(Debug)]
pub(super) struct Ports {
    store: Store,
    kept: Kept,
    remembered: HashMap<String, u16>,
}

impl Ports {
    pub(super) async fn load(store: Store, kept: Kept) -> Self {
        let remembered = store.ports().await.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read which ports servers had; they may get others");
            HashMap::new()
        });
        Self { store, kept, remembered }
    }

    /// The port that a server must have: that of hub.toml, else the one it had.
    pub(super) fn promised(&self, entry: &ServerEntry) -> Option<u16> {
        entry.port.filter(|port| *port != 0).or_else(|| self.remembered.get(entry.name.as_ref()).copied())
    }

    /// Opens the door of a server: on the port of hub.toml, else on the one it had, else on the lowest free one.
    pub(super) async fn open(&mut self, ctx: &Context, config: &Config, hub_port: u16, entry: &ServerEntry) -> Door {
        let (host, name) = (config.hub.host, entry.name.as_ref());
        if let Some(port) = self.promised(entry) {
            return told(entry, self.door(ctx, host, port, entry));
        }
        let os_chooses = config.hub.first_port == 0 || entry.port == Some(0);
        let numbers: Vec<u16> = if os_chooses {
            vec![0]
        } else {
            let mut ports = config::Ports::of(config, &self.remembered);
            ports.take(hub_port);
            ports.candidates(name).take(NEW_PORT_TRIES).collect()
        };
        let mut last = Door { port: 0, listener: None, failure: None };
        for port in numbers {
            last = self.door(ctx, host, port, entry);
            if last.listener.is_some() {
                self.remembered.insert(name.to_owned(), last.port);
                if let Err(error) = self.store.set_port(name, last.port).await {
                    tracing::error!(server = name, %error, "its port cannot be remembered");
                }
                break;
            }
        }
        told(entry, last)
    }
    /// Binds and serves one port.
    pub(super) fn door(&mut self, ctx: &Context, host: IpAddr, port: u16, entry: &ServerEntry) -> Door {
        let address = SocketAddr::new(host, port);
        let bound = listening(&mut self.kept, address).and_then(|socket| {
            self.kept.keep(&socket);
            Listener::start(ctx, Face::Server(entry.name.clone()), socket).map_err(|error| {
                self.kept.release(address);
                Error::Listen { address, error }
            })
        });
        match bound {
            Ok(listener) => Door { port: listener.address().port(), listener: Some(listener), failure: None },
            Err(error) => {
                let failure = Failure {
                    stage: "listen".to_owned(),
                    message: format!("{error}; hub tries again every few seconds"),
                    since: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
                    exit: String::new(),
                };
                Door { port, listener: None, failure: Some(Arc::new(failure)) }
            }
        }
    }

    /// The door at this address is shut; another may open there.
    pub(super) fn release(&mut self, address: SocketAddr) {
        self.kept.release(address);
    }

    /// Lets sockets go that the service manager kept and that nobody serves.
    pub(super) fn forget_unserved(&mut self) {
        self.kept.forget_unserved();
    }
}

/// A socket that listens there: one that the service manager kept, else a new one.
pub(super) fn listening(kept: &mut Kept, address: SocketAddr) -> Result<TcpListener, Error> {
    match kept.serve(address) {
        Some(socket) => Ok(socket),
        None => sockets::bind_tcp(address)?.into_std().map_err(|error| Error::Listen { address, error }),
    }
}

/// Says in the log that a door is shut.
fn told(entry: &ServerEntry, door: Door) -> Door {
    if let Some(failure) = &door.failure {
        tracing::warn!(server = %entry.name, "its own port is not served yet: {}", failure.message);
    }
    door
}

//! The way to hub: where it listens, connections to it, and starting it when it is gone.
//!
//! In: HTTP requests. Out: responses, or whether the request may have arrived. Owns the connections and the address. May
//! not: send a request a second time that may have arrived.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use crate::config::name_hint;
use crate::control::client::{self, Client};
use crate::control::proto::About;
use crate::limits;
use crate::platform::dirs::Dirs;
use crate::service::install;
use crate::tasks::Scope;

use super::Error;

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It never arrived: to send it again is safe.
    #[error("hub cannot be reached: {0}")]
    NotSent(String),
    /// The connection broke before the response: it may have arrived.
    #[error("the connection to hub broke: {0}")]
    Broken(hyper::Error),
}

/// A request to hub, and what may be done to get it there. Its path is what [`Way`] knows.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// It may arrive twice.
    pub(super) again: bool,
    /// A hub that is gone is started for it.
    pub(super) revive: bool,
    /// Its share of the room for bytes, given back when hub begins to answer.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl Errand {
    /// Says something to hub: again until it arrives, unless told otherwise.
    pub(super) fn post(headers: HeaderMap, body: Bytes) -> Self {
        Self { method: Method::POST, headers, body, again: true, revive: true, room: None }
    }

    /// Asks for a stream.
    pub(super) fn get(headers: HeaderMap) -> Self {
        Self { method: Method::GET, ..Self::post(headers, Bytes::new()) }
    }

    /// Gives something back.
    pub(super) fn delete(headers: HeaderMap) -> Self {
        Self { method: Method::DELETE, ..Self::post(headers, Bytes::new()) }
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Way {
    dirs: Dirs,
    uri: Uri,
    place: Mutex<Place>,
    /// One looks for hub at a time; the others wait for what is found.
    looking: Semaphore,
    looks: AtomicU64,
    idle: Mutex<Vec<Sender>>,
    connections: Scope,
}

/// Where hub listens.
#[derive(Debug, Clone)]
struct Place {
    address: SocketAddr,
    host: HeaderValue,
}

impl Way {
    /// Finds hub, starting it if it is not running, and the server in it.
    pub(super) async fn find(dirs: Dirs, server: Option<String>) -> Result<Self, Error> {
        // Also one that runs may be starting still: it answers before it knows its servers.
        install::start(&dirs).await?;
        let about = about(&dirs).await?;
        let path = match server {
            None => "/mcp".to_owned(),
            Some(name) if about.servers.iter().any(|server| server.name == name) => format!("/servers/{name}/mcp"),
            Some(name) => {
                let hint = name_hint(&name, about.servers.iter().map(|server| server.name.as_str()));
                return Err(Error::UnknownServer { name, hint });
            }
        };
        let place = Place::of(&about.url)?;
        Ok(Self {
            dirs,
            uri: path.parse().map_err(|_not_a_path| Error::Address(path))?,
            place: Mutex::new(place),
            looking: Semaphore::new(1),
            looks: AtomicU64::new(0),
            idle: Mutex::default(),
            connections: Scope::new(),
        })
    }

    /// Sends a request until it arrives, or hub stays away for too long.
    pub(super) async fn deliver(&self, errand: &mut Errand) -> Result<Response<Incoming>, Fault> {
        let response = self.delivered(errand).await?;
        drop(errand.room.take());
        Ok(response)
    }

    async fn delivered(&self, errand: &Errand) -> Result<Response<Incoming>, Fault> {
        let start = Instant::now();
        let (mut pause, mut broke) = (limits::STDIO_RETRY_FIRST, false);
        loop {
            let looks = self.looks.load(Ordering::Acquire);
            let fault = match self.send(errand).await {
                // It was refused before anybody looked at it.
                Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    if start.elapsed() >= limits::STDIO_HUB_PATIENCE {
                        return Ok(response);
                    }
                    sleep(pause).await;
                    pause = longer(pause);
                    continue;
                }
                Ok(response) => return Ok(response),
                Err(Fault::Broken(error)) if errand.again && !std::mem::replace(&mut broke, true) => {
                    Fault::Broken(error)
                }
                Err(Fault::Broken(error)) => return Err(Fault::Broken(error)),
                Err(fault) => fault,
            };
            let waited = start.elapsed();
            if waited >= limits::STDIO_HUB_PATIENCE {
                return Err(fault);
            }
            sleep(pause).await;
            pause = longer(pause);
            if let Err(error) = self.look(looks, errand.revive && waited >= limits::STDIO_REVIVE_AFTER).await {
                return Err(Fault::NotSent(error.to_string()));
            }
        }
    }

    /// Sends a request once, over a connection that is idle or a new one.
    pub(super) async fn send(&self, errand: &Errand) -> Result<Response<Incoming>, Fault> {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut request = Request::new(Full::new(errand.body.clone()));
        *request.method_mut() = errand.method.clone();
        request.headers_mut().clone_from(&errand.headers);
        request.headers_mut().insert(HOST, place.host);
        *request.uri_mut() = self.uri.clone();
        while let Some(mut sender) = self.idle_one() {
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.keep(sender);
                    return Ok(response);
                }
                // hub closed it while it was idle.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Fault::Broken(error.into_error())),
                },
            }
        }
        let mut sender = self.connect(place.address).await?;
        match sender.try_send_request(request).await {
            Ok(response) => {
                self.keep(sender);
                Ok(response)
            }
            Err(mut error) => Err(match error.take_message() {
                Some(_unsent) => Fault::NotSent(error.into_error().to_string()),
                None => Fault::Broken(error.into_error()),
            }),
        }
    }

    async fn connect(&self, address: SocketAddr) -> Result<Sender, Fault> {
        let unreachable = |error: &dyn std::error::Error| Fault::NotSent(error.to_string());
        let stream = TcpStream::connect(address).await.map_err(|error| unreachable(&error))?;
        stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
        self.connections.spawn("connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection to hub ended: {error}");
            }
        });
        Ok(sender)
    }

    fn idle_one(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().rposition(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    /// Keeps a connection for when its response is over. What is not idle by then is bounded by the calls in flight.
    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(sender);
        let mut ready = 0;
        idle.retain(|sender| {
            ready += usize::from(sender.is_ready());
            ready <= limits::STDIO_IDLE_CONNECTIONS_MAX || !sender.is_ready()
        });
    }

    /// Looks where hub is now, unless somebody did since `looks`. A restarted one may listen elsewhere.
    pub(super) async fn look(&self, looks: u64, revive: bool) -> Result<(), Error> {
        let _one = self.looking.acquire().await.map_err(std::io::Error::other)?;
        if self.looks.load(Ordering::Acquire) != looks {
            return Ok(());
        }
        if revive && matches!(about(&self.dirs).await, Err(client::Error::NotRunning { .. })) {
            tracing::info!("hub is gone, and started again");
            install::start(&self.dirs).await?;
        }
        // Still away, or still starting: whoever asked tries again.
        if let Ok(about) = about(&self.dirs).await {
            *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Place::of(&about.url)?;
            self.looks.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// For [`Self::look`]: how often somebody has looked.
    pub(super) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Acquire)
    }
}

async fn about(dirs: &Dirs) -> Result<About, client::Error> {
    Client::new(&dirs.control_socket).get("/v1/about").await
}

/// The pause after this one.
pub(super) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(limits::STDIO_RETRY_LONGEST)
}

impl Place {
    fn of(url: &str) -> Result<Self, Error> {
        let bad = || Error::Address(url.to_owned());
        let host = url.strip_prefix("http://").ok_or_else(bad)?;
        let address = host.parse().map_err(|_not_an_address| bad())?;
        Ok(Self { address, host: HeaderValue::from_str(host).map_err(|_not_text| bad())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_hub_listens() {
        let place = Place::of("http://127.0.0.1:18900").expect("an address");
        assert_eq!((place.address.port(), place.host.to_str().expect("text")), (18900, "127.0.0.1:18900"));
        assert!(Place::of("http://[::1]:1").is_ok());
        assert!(Place::of("https://127.0.0.1:1").is_err() && Place::of("http://hub:1").is_err());
    }
}

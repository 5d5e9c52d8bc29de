//! The daemon's side of the control socket: HTTP/1.1 and JSON over a unix socket that only this user can open.
//!
//! In: requests of the command line. Out: JSON documents. Owns its connections. May not: be reached by a browser (there
//! is no TCP port), or be locked by clients that connect and say nothing (the number of connections is bounded, and the one
//! that has been idle longest makes room).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::config::name_hint;
use crate::limits;
use crate::platform::sockets::ControlSocket;
use crate::tasks::Scope;

use super::command::{Command, Report};
use super::desk::Desk;
use super::proto::{Call, Done, Refused};
use super::{about, call, status, tools};

type Reply = Response<Full<Bytes>>;

/// Why a request got no answer.
pub(super) enum Fault {
    /// The request makes no sense.
    BadRequest(Refused),
    /// It names something that is not there.
    NotFound(Refused),
    /// It made sense, and could not be done.
    Failed(Refused),
}

impl Refused {
    pub(super) fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Serves the socket until `stop`, then removes it.
pub async fn run(socket: ControlSocket, desk: Desk, stop: CancellationToken) {
    let tasks = Scope::new();
    let mut seats = Seats::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = socket.listener().accept() => accepted,
        };
        match accepted {
            Ok((stream, _peer)) => match seats.take() {
                Some(seat) => drop(tasks.spawn("control", connection(stream, desk.clone(), seat))),
                // Everybody is being served. Nothing can be done about one who does not read this.
                None => drop(stream.try_write(NO_SEAT)),
            },
            Err(error) => {
                tracing::warn!("the control socket cannot accept for now: {error}");
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
    // Answers in progress get a moment, such as the one to `hub down`.
    tasks.join(limits::LINGER).await;
}

/// The places of all connections, in the order in which they came.
#[derive(Default)]
struct Seats(VecDeque<Arc<Seat>>);

/// The place of one connection, which holds it for as long as it is open.
#[derive(Default)]
struct Seat {
    /// A request of it is being answered.
    busy: AtomicBool,
    /// Somebody else needs the place.
    leave: CancellationToken,
}

/// What is told when every place is taken by a request in progress.
const NO_SEAT: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\nconnection: close\r\ncontent-length: 55\r\n\r\n\
    {\"error\":\"hub is busy with other commands; try again.\"}";

impl Seats {
    /// A place: a free one, or that of the connection that has been idle since it came, or was the first to fall idle.
    fn take(&mut self) -> Option<Arc<Seat>> {
        self.0.retain(|seat| Arc::strong_count(seat) > 1);
        if self.0.len() >= limits::CONTROL_CONNECTIONS_MAX {
            let idle = self.0.iter().position(|seat| !seat.busy.load(Ordering::Relaxed))?;
            self.0.remove(idle)?.leave.cancel();
        }
        let seat = Arc::new(Seat::default());
        self.0.push_back(seat.clone());
        Some(seat)
    }
}

async fn connection(stream: UnixStream, desk: Desk, seat: Arc<Seat>) {
    let seated = seat.clone();
    let service = service_fn(move |request| {
        let (desk, seat) = (desk.clone(), seated.clone());
        Box::pin(async move {
            seat.busy.store(true, Ordering::Relaxed);
            let answer = answer(&desk, request).await;
            seat.busy.store(false, Ordering::Relaxed);
            Ok::<_, Infallible>(answer)
        })
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits::HEADER_READ);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = seat.leave.cancelled() => {
            tracing::debug!("an idle control connection makes room for another");
            // It may be idle only since now, with its answer not yet written.
            served.as_mut().graceful_shutdown();
            tokio::time::timeout(limits::LINGER, served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a control connection ended early: {error}");
    }
}

async fn answer(desk: &Desk, request: Request<Incoming>) -> Reply {
    match dispatch(desk, request).await {
        Ok(reply) => reply,
        Err(Fault::BadRequest(refused)) => json(StatusCode::BAD_REQUEST, &refused),
        Err(Fault::NotFound(refused)) => json(StatusCode::NOT_FOUND, &refused),
        Err(Fault::Failed(refused)) => json(StatusCode::CONFLICT, &refused),
    }
}

async fn dispatch(desk: &Desk, request: Request<Incoming>) -> Result<Reply, Fault> {
    let path = request.uri().path().to_owned();
    let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (request.method(), words.as_slice()) {
        (&Method::GET, ["v1", "ready"]) => ready(desk).await,
        (&Method::GET, ["v1", "about"]) => Ok(json(StatusCode::OK, &about::now(desk))),
        (&Method::GET, ["v1", "status"]) => Ok(json(StatusCode::OK, &status::now(desk).await)),
        (&Method::GET, ["v1", "tools"]) => {
            let server = request.uri().query().and_then(|query| query.strip_prefix("server="));
            Ok(json(StatusCode::OK, &tools::list(desk, server).await?))
        }
        (&Method::POST, ["v1", "call"]) => {
            let body = collect(request.into_body()).await?;
            let call: Call =
                serde_json::from_slice(&body).map_err(|error| Fault::BadRequest(Refused::new(error.to_string())))?;
            Ok(json(StatusCode::OK, &call::run(desk, &call).await?))
        }
        (&Method::POST, ["v1", "reload"]) => command(desk, |reply| Command::Reload { reply }).await,
        (&Method::POST, ["v1", "stop"]) => command(desk, |reply| Command::Stop { reply }).await,
        (&Method::POST, ["v1", "servers", name, verb @ ("restart" | "enable" | "disable")]) => {
            let name = known(desk, name)?;
            match *verb {
                "restart" => command(desk, |reply| Command::Restart { name, reply }).await,
                verb => command(desk, |reply| Command::SetEnabled { name, enabled: verb == "enable", reply }).await,
            }
        }
        (method, _) => Err(Fault::NotFound(
            Refused::new(format!("the daemon does not know {method} {path}"))
                .hint("the daemon may be of another version than this command: `hub down`, then start it again"),
        )),
    }
}

/// Answered once hub serves: who started it need not ask again and again.
async fn ready(desk: &Desk) -> Result<Reply, Fault> {
    let mut facts = desk.facts.clone();
    let stopping = |_gone| Fault::Failed(Refused::new("hub is stopping"));
    let url = facts.wait_for(|facts| facts.ready).await.map_err(stopping)?.url.clone();
    Ok(json(StatusCode::OK, &Done { lines: vec![format!("ready {url}")] }))
}

/// The name, if hub.toml has it.
pub(super) fn known(desk: &Desk, name: &str) -> Result<String, Fault> {
    let registry = desk.registry.borrow();
    if registry.get(name).is_some() {
        return Ok(name.to_owned());
    }
    let hint = name_hint(name, registry.servers().iter().map(|server| server.name.as_ref()));
    Err(Fault::NotFound(Refused::new(format!("there is no server `{name}` in hub.toml")).hint(hint)))
}

async fn command(desk: &Desk, command: impl FnOnce(oneshot::Sender<Report>) -> Command) -> Result<Reply, Fault> {
    let stopping = || Fault::Failed(Refused::new("hub is stopping"));
    let (reply, report) = oneshot::channel();
    desk.commands.send(command(reply)).await.map_err(|_gone| stopping())?;
    match report.await {
        Ok(Ok(lines)) => Ok(json(StatusCode::OK, &Done { lines })),
        Ok(Err(why)) => Err(Fault::Failed(Refused::new(why))),
        Err(_dropped) => Err(stopping()),
    }
}

async fn collect(body: Incoming) -> Result<Bytes, Fault> {
    let unreadable = |why: String| Fault::BadRequest(Refused::new(format!("the request could not be read: {why}")));
    let body = Limited::new(body, limits::BODY_BYTES_MAX).collect();
    // The command line sends all of it at once.
    match tokio::time::timeout(limits::BODY_READ_IDLE, body).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) => Err(unreadable(error.to_string())),
        Err(_elapsed) => Err(unreadable("it did not end".to_owned())),
    }
}

fn json(status: StatusCode, document: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(document).expect("plain data serialises");
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_idle_longest_makes_room_and_who_works_does_not() {
        let mut seats = Seats::default();
        let mut all: Vec<_> = (0..limits::CONTROL_CONNECTIONS_MAX).map(|_| seats.take().expect("room")).collect();
        all[0].busy.store(true, Ordering::Relaxed);
        let newcomer = seats.take().expect("room was made");
        assert!(all[1].leave.is_cancelled() && !all[0].leave.is_cancelled() && !all[2].leave.is_cancelled());
        drop(all.pop());
        let _another = seats.take().expect("a place was free");
        assert!(!all[2].leave.is_cancelled(), "nobody had to leave");
        for seat in all.iter().chain([&newcomer]) {
            seat.busy.store(true, Ordering::Relaxed);
        }
        let last = seats.take().expect("the other newcomer is idle");
        last.busy.store(true, Ordering::Relaxed);
        assert!(seats.take().is_none(), "everybody works");
    }

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(NO_SEAT).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{} bytes", body.len());
        assert!(serde_json::from_str::<Refused>(body).is_ok());
    }
}

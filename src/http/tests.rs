//! The edge over real sockets, without any server behind it.
//!
//! In: raw bytes on a loopback connection. Out: what came back. Each test owns its listener. May not: sleep for ordering.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{Context, Face, Listener, Settings};
use crate::aggregate::Aggregate;
use crate::exchange::Exchanges;
use crate::limits;
use crate::server::Registry;
use crate::server::scripted::Scripted;
use crate::server::usage::Meter;
use crate::session::{self, Sessions};
use crate::tasks::Scope;

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

fn context() -> Context {
    serving(&[])
}

/// A context with these servers in it.
pub(super) fn serving(servers: &[&Scripted]) -> Context {
    let registered = servers.iter().map(|server| server.registered()).collect();
    let (_registry, registry) = watch::channel(Arc::new(Registry::new(registered)));
    let (_settings, settings) = watch::channel(Arc::new(Settings::default()));
    let aggregate = Aggregate::new(registry.clone());
    let sessions = Sessions::new(session::Options::default(), None, Scope::new());
    let exchanges = Exchanges::new(registry.clone(), Scope::new());
    Context::new(registry, settings, aggregate, (sessions, exchanges), Meter::new("test"))
}

pub(super) fn start(ctx: &Context) -> (Listener, SocketAddr) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listener = Listener::start(ctx, Face::Hub, socket).expect("starts");
    let address = listener.address();
    (listener, address)
}

pub(super) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("connects")
}

fn request(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Reads until the other side closes.
pub(super) async fn rest(socket: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes)).await??;
    Ok(String::from_utf8(bytes).expect("text"))
}

/// One request on a connection of its own, and everything that comes back.
async fn ask(address: SocketAddr, line: &str, more: &str) -> String {
    let mut socket = connect(address).await;
    let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n");
    socket.write_all(head.as_bytes()).await.expect("sends");
    rest(&mut socket).await.expect("an answer")
}

/// Sends a request on an open connection and reads the answer's head and body, which must have a length.
async fn exchange(socket: &mut TcpStream, line: &str) -> String {
    socket.write_all(request(line).as_bytes()).await.expect("sends");
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 1024];
        let count = socket.read(&mut piece).await.expect("reads");
        assert_ne!(count, 0, "closed in the middle of an answer");
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8(bytes.clone()).expect("text");
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if body.len() == length.parse::<usize>().expect("a number") {
            return text;
        }
    }
}

#[tokio::test]
async fn every_path_answers_in_json() {
    let ctx = context();
    let (_listener, address) = start(&ctx);
    assert!(ask(address, "GET /healthz", "").await.starts_with("HTTP/1.1 200"));
    assert!(ask(address, "GET /readyz", "").await.contains("\"status\":\"ready\""));
    let metrics = ask(address, "GET /metrics", "").await;
    assert!(
        metrics.contains("\nhub_build_info{version=") && metrics.contains("\nhub_open_connections 1\n"),
        "{metrics}"
    );
    for path in ["/", "/.well-known/oauth-protected-resource/mcp", "/register", "/mcp/", "/servers/nobody/mcp"] {
        let answer = ask(address, &format!("POST {path}"), "").await;
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("application/json"), "{path}: {answer}");
        assert!(answer.contains("\"error\":\"not_found\""), "{answer}");
    }
    let wrong = ask(address, "POST /sse", "").await;
    assert!(wrong.starts_with("HTTP/1.1 405") && wrong.contains("allow: GET\r\n"), "{wrong}");
    assert!(ask(address, "PUT /mcp", "").await.contains("allow: GET, POST, DELETE, OPTIONS\r\n"));
    assert!(ask(address, "HEAD /healthz", "").await.ends_with("\r\n\r\n"), "a HEAD has no body");
}

#[tokio::test]
async fn pages_of_strangers_are_refused_before_anything_else() {
    let ctx = context();
    let (_listener, address) = start(&ctx);
    let evil = ask(address, "GET /nowhere", "Origin: http://evil.example\r\n").await;
    assert!(evil.starts_with("HTTP/1.1 403") && !evil.contains("access-control-allow-origin"), "{evil}");
    let own =
        ask(address, "OPTIONS /mcp", "Origin: http://localhost:6274\r\nAccess-Control-Request-Method: POST\r\n").await;
    assert!(own.starts_with("HTTP/1.1 204"), "{own}");
    assert!(own.contains("access-control-allow-origin: http://localhost:6274\r\n"), "{own}");
    assert!(own.contains("access-control-allow-methods: GET, POST, DELETE, OPTIONS\r\n"), "{own}");
    let lost = ask(address, "GET /nowhere", "Origin: http://localhost:6274\r\n").await;
    assert!(lost.starts_with("HTTP/1.1 404") && lost.contains("access-control-allow-origin"), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_closed_and_a_silent_connection_is_not() {
    let ctx = context();
    let (_listener, address) = start(&ctx);
    let mut silent = connect(address).await;
    exchange(&mut silent, "GET /healthz").await;

    let begun = tokio::time::Instant::now();
    let mut slow = connect(address).await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").await.expect("sends");
    rest(&mut slow).await.ok();
    assert!(begun.elapsed() >= limits::HEADER_READ, "closed after {:?}", begun.elapsed());

    tokio::time::sleep(Duration::from_hours(24)).await;
    exchange(&mut silent, "GET /healthz").await;
    silent.write_all(b"GET /hea").await.expect("sends");
    let begun = tokio::time::Instant::now();
    rest(&mut silent).await.ok();
    assert!(begun.elapsed() >= limits::HEADER_READ, "closed after {:?}", begun.elapsed());
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so_and_others_go_on() {
    let ctx = Context { connections: Arc::new(Semaphore::new(2)), ..context() };
    let (_listener, address) = start(&ctx);
    let (mut first, mut second) = (connect(address).await, connect(address).await);
    exchange(&mut first, "GET /healthz").await;
    exchange(&mut second, "GET /healthz").await;
    let refused = rest(&mut connect(address).await).await.expect("a refusal");
    let (head, body) = refused.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head} has {} bytes", body.len());
    exchange(&mut first, "GET /healthz").await;
    drop(second);
    // The place becomes free when the server notices; until then newcomers are refused.
    tokio::time::timeout(PATIENCE, async {
        while !rest_of_one(address).await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the place of a closed connection is given out again");
}

async fn rest_of_one(address: SocketAddr) -> Option<String> {
    let mut socket = connect(address).await;
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.ok()?;
    rest(&mut socket).await.ok()
}

#[tokio::test]
async fn a_stopped_listener_closes_idle_connections_and_refuses_new_ones() {
    let ctx = context();
    let (listener, address) = start(&ctx);
    let mut idle = connect(address).await;
    exchange(&mut idle, "GET /healthz").await;
    let client = async {
        assert_eq!(rest(&mut idle).await.expect("closed in order"), "");
        drop(idle);
    };
    tokio::join!(listener.stop(PATIENCE), client);
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(ctx.connections.available_permits(), limits::CONNECTIONS_MAX);
}

#[tokio::test]
async fn an_idle_connection_is_small() {
    let ctx = Arc::new(context());
    let (_listener, address) = start(&ctx);
    let socket = connect(address).await;
    let room = ctx.connections.clone().try_acquire_owned().expect("room");
    let connection = super::conn::serve(socket, ctx, Arc::new(Face::Hub), CancellationToken::new(), room);
    // hyper's buffers come on top, some 10 KB; a buffer of our own inside would be paid for by every silent client.
    assert!(size_of_val(&connection) < 2048, "{} bytes", size_of_val(&connection));
}

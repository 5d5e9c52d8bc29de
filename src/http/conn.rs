//! One connection: hyper's HTTP/1.1 and the three ways it ends.
//!
//! In: an accepted socket. Out: requests to the room's `serve`. The connection's task owns the socket, hyper's buffers and
//! the request in progress. May not: close a silent connection between two requests (clients keep them for hours, and a
//! POST that meets a closing one is not repeated), or wait for a head that never ends.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::limits;

use super::{Context, Face};

/// Serves the requests of one connection until it ends. `_room` is its place among all connections.
pub(super) async fn serve(
    socket: TcpStream,
    ctx: Arc<Context>,
    face: Arc<Face>,
    forced: CancellationToken,
    _room: OwnedSemaphorePermit,
) {
    let stopping = ctx.stopping.clone();
    let heard = Arc::new(AtomicBool::new(false));
    let service = service_fn(move |request| {
        let (ctx, face) = (ctx.clone(), face.clone());
        // Boxed, so that an idle connection does not carry the room of a request in progress.
        Box::pin(async move { Ok::<_, Infallible>(super::serve(&ctx, &face, request).await) })
    });
    let mut connection = http1::Builder::new()
        .timer(HeadTimer { heard: heard.clone(), fresh: AtomicBool::new(true) })
        .header_read_timeout(limits::HEADER_READ)
        .max_buf_size(limits::CONNECTION_BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Heard { socket, heard }), service);

    let mut graceful = false;
    let ended = loop {
        tokio::select! {
            biased;
            // The client is done, or went away.
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
            // The listener is stopping: finish the request in progress (its streams end by themselves), take no other.
            () = stopping.cancelled(), if !graceful => {
                graceful = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            // Its patience is over, which only ends after it has begun.
            () = forced.cancelled(), if graceful => return,
        }
    };
    match ended {
        Ok(()) => linger(connection.into_parts().io.into_inner().socket, &forced).await,
        Err(error) => tracing::debug!("a connection ended early: {error}"),
    }
}

/// Says goodbye and reads on for a moment. A client that is still sending a body that was refused would otherwise get a
/// reset, which throws away the refusal that is on its way to it.
async fn linger(mut socket: TcpStream, forced: &CancellationToken) {
    if socket.shutdown().await.is_err() {
        return;
    }
    // On the heap: every open connection would otherwise carry it for its last moment.
    let mut scratch = vec![0; 4096];
    let rest = async { while socket.read(&mut scratch).await.is_ok_and(|count| count > 0) {} };
    tokio::select! {
        () = rest => {}
        () = tokio::time::sleep(limits::LINGER) => {}
        () = forced.cancelled() => {}
    }
}

// === The time that a head may take ===

/// A socket that notes when something arrived.
struct Heard {
    socket: TcpStream,
    heard: Arc<AtomicBool>,
}

/// Gives hyper, for its head timeout, a sleep that begins with the first byte of a head. hyper's own begins when the
/// previous request ends, and would close every connection that is idle for longer.
struct HeadTimer {
    heard: Arc<AtomicBool>,
    fresh: AtomicBool,
}

/// Over when a head that has begun did not end in time.
struct HeadSleep {
    heard: Arc<AtomicBool>,
    patience: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl HeadTimer {
    fn begin(&self) -> Pin<Box<dyn hyper::rt::Sleep>> {
        // A fresh connection owes its first request at once; later ones come when they come.
        let fresh = self.fresh.swap(false, Ordering::Relaxed);
        self.heard.store(fresh, Ordering::Relaxed);
        Box::pin(HeadSleep { heard: self.heard.clone(), patience: None })
    }
}

#[expect(clippy::disallowed_types, reason = "hyper's trait names std's Instant; it is not read here")]
impl hyper::rt::Timer for HeadTimer {
    fn sleep(&self, _duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.begin()
    }

    fn sleep_until(&self, _deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.begin()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn hyper::rt::Sleep>>, _deadline: std::time::Instant) {
        *sleep = self.begin();
    }
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        // No waker is needed while nothing was heard: the socket's wakes the connection, which polls this again.
        if !self.heard.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(limits::HEADER_READ)));
        patience.as_mut().poll(cx)
    }
}

impl hyper::rt::Sleep for HeadSleep {}

impl AsyncRead for Heard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

//! A listener: one bound socket, its accept loop and its connections.
//!
//! In: a bound socket and what it serves. Out: running connections. Owned by the supervisor; a [`Listener`] owns its
//! tasks. May not: let one bad connection, or a machine short of file descriptors, end the loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::tasks::Scope;

use super::respond::TOO_MANY_CONNECTIONS;
use super::{Context, Face, conn};

/// A socket that is served until it is stopped or dropped.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    tasks: Scope,
    forced: CancellationToken,
}

impl Listener {
    /// Serves `socket` from now on. Must be called in a runtime.
    pub fn start(ctx: &Context, face: Face, socket: std::net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let tasks = Scope::new();
        let forced = CancellationToken::new();
        let ctx = Arc::new(Context { stopping: tasks.stopping().clone(), ..ctx.clone() });
        let socket = TcpListener::from_std(socket)?;
        let accept = AcceptTask { socket, ctx, face: Arc::new(face), tasks: tasks.clone(), forced: forced.clone() };
        drop(tasks.spawn("accept", accept.run()));
        Ok(Self { address, tasks, forced })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the socket and tells the connections: streams end, what is in flight may finish. Returns at once.
    pub fn close(&self) {
        self.tasks.stopping().cancel();
    }

    /// Closes, gives what is in flight `patience` to finish, then cuts it off. Returns when no connection is left.
    pub async fn stop(self, patience: Duration) {
        if !self.tasks.stop(patience).await {
            self.forced.cancel();
            // A cut connection has nothing to wait for.
            self.tasks.join(limits::LINGER).await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
        self.forced.cancel();
    }
}

struct AcceptTask {
    socket: TcpListener,
    ctx: Arc<Context>,
    face: Arc<Face>,
    tasks: Scope,
    forced: CancellationToken,
}

impl AcceptTask {
    async fn run(self) {
        let mut in_trouble = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.ctx.stopping.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((socket, _peer)) => {
                    in_trouble = false;
                    self.admit(socket);
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    // Out of file descriptors or memory: those come back when a connection or a child ends.
                    if !std::mem::replace(&mut in_trouble, true) {
                        tracing::warn!(face = ?self.face, "cannot accept connections for now: {error}");
                    }
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, socket: TcpStream) {
        let Ok(permit) = self.ctx.connections.clone().try_acquire_owned() else {
            // Waiting instead would let one flood silence every listener, health included, without a word.
            socket.try_write(TOO_MANY_CONNECTIONS).ok();
            return;
        };
        // Answers are written whole: waiting for more (Nagle) only adds latency.
        socket.set_nodelay(true).ok();
        // Boxed here, because each async block around a future would otherwise hold its size twice.
        let connection =
            Box::pin(conn::serve(socket, self.ctx.clone(), self.face.clone(), self.forced.clone(), permit));
        drop(self.tasks.spawn("connection", connection));
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

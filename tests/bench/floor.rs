//! The floor of the bench: the barest correct forwarder from HTTP to a child's pipes, without any MCP logic.
//!
//! In: `bench_floor COMMAND [ARGS…]`, then POST bodies. Out: `ready http://ADDRESS` on stdout; each body goes to the
//! child as one line, and the next line of the child is the reply. Owns one child. May not: know what a message says.
//!
//! First in, first out is enough, because the child of the bench answers in order. It is what a competent engineer would
//! write to be fast: hyper, no body copied twice, pipes of a megabyte, a line written at once when the child is idle and
//! with all others that are ready when it is not. One thread: with two, a call at 8 × 4 costs 23 to 27 µs of CPU instead
//! of 14 to 20, and the latency of one alone is the same. Writing each line by itself costs 20 to 24 µs.

#![expect(clippy::disallowed_methods, reason = "the floor has no need of supervised tasks, and none of hub's code")]

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::{Notify, oneshot};

/// Frames below this are joined with their neighbours: one small copy beats a scattered write.
const JOIN_BELOW: usize = 16 << 10;
/// What a pipe may hold without privileges.
#[cfg(target_os = "linux")]
const PIPE_BYTES: i32 = 1 << 20;
/// Spare room for a read from the child: what a pipe holds at first.
const READ_BYTES: usize = 64 << 10;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What waits to be written to the child.
#[derive(Default)]
struct Outgoing {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
}

impl Outgoing {
    fn push(&mut self, frames: Vec<Bytes>) {
        for frame in frames {
            if frame.len() < JOIN_BELOW {
                self.tail.extend_from_slice(&frame);
            } else {
                self.seal();
                self.pieces.push_back(frame);
            }
        }
        self.tail.extend_from_slice(b"\n");
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    /// Writes what the pipe takes now. `WouldBlock` when something is left.
    fn write(&mut self, stdin: &pipe::Sender) -> io::Result<()> {
        self.seal();
        while let Some(piece) = self.pieces.front_mut() {
            let written = stdin.try_write(piece)?;
            drop(piece.split_to(written));
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        Ok(())
    }
}

/// The child as the connections see it.
struct Child {
    stdin: pipe::Sender,
    /// Written and pushed together: the order of the lines is the order of the replies.
    queue: Mutex<(Outgoing, VecDeque<oneshot::Sender<Bytes>>)>,
    ready: Notify,
}

fn main() -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve())
}

async fn serve() -> Result<(), Failure> {
    let mut args = std::env::args_os().skip(1);
    let mut command = Command::new(args.next().ok_or("usage: bench_floor COMMAND [ARGS…]")?);
    let mut process = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let stdin = process.stdin.take().ok_or("no stdin")?.into_owned_fd()?;
    let stdout = process.stdout.take().ok_or("no stdout")?.into_owned_fd()?;
    for pipe in [&stdin, &stdout] {
        enlarge(pipe)?;
    }
    let child =
        Arc::new(Child { stdin: pipe::Sender::from_owned_fd(stdin)?, queue: Mutex::default(), ready: Notify::new() });
    tokio::spawn(write_lines(Arc::clone(&child)));
    tokio::spawn(read_lines(Arc::clone(&child), pipe::Receiver::from_owned_fd(stdout)?));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "ready http://{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(converse(stream, Arc::clone(&child)));
    }
}

/// A megabyte then takes one switch between the processes, not sixteen.
fn enlarge(pipe: &OwnedFd) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    nix::fcntl::fcntl(pipe, nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE_BYTES))?;
    #[cfg(not(target_os = "linux"))]
    let _ = pipe;
    Ok(())
}

async fn converse(stream: TcpStream, child: Arc<Child>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| forward(request, Arc::clone(&child)));
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
}

async fn forward(request: Request<Incoming>, child: Arc<Child>) -> Result<Response<Full<Bytes>>, Failure> {
    let mut body = request.into_body();
    let mut frames = Vec::with_capacity(1);
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else {
            break;
        };
        frames.extend(frame?.into_data().ok());
    }
    let (sender, reply) = oneshot::channel();
    {
        let mut queue = child.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.1.push_back(sender);
        queue.0.push(frames);
        let is_alone = queue.1.len() == 1;
        if !is_alone || queue.0.write(&child.stdin).is_err() {
            child.ready.notify_one();
        }
    }
    let mut response = Response::new(Full::new(reply.await?));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Writes the lines in order, all that are ready at once.
async fn write_lines(child: Arc<Child>) -> io::Result<()> {
    loop {
        child.ready.notified().await;
        loop {
            let written = child.queue.lock().unwrap_or_else(PoisonError::into_inner).0.write(&child.stdin);
            match written {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => child.stdin.writable().await?,
                other => break other?,
            }
        }
    }
}

/// Gives each line of the child to the oldest request that waits.
async fn read_lines(child: Arc<Child>, mut stdout: pipe::Receiver) -> io::Result<()> {
    let mut input = BytesMut::new();
    let mut searched = 0;
    loop {
        input.reserve(READ_BYTES);
        if stdout.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        let mut queue = child.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(found) = memchr::memchr(b'\n', &input[searched..]) {
            let mut line = input.split_to(searched + found + 1);
            line.truncate(searched + found);
            searched = 0;
            if let Some(waiting) = queue.1.pop_front() {
                drop(waiting.send(line.freeze()));
            }
        }
        searched = input.len();
    }
}

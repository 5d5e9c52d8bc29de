//! The client's end: lines from stdin, lines to stdout, each on a thread of its own.
//!
//! In: bytes of stdin; lines to write. Out: lines; bytes on stdout. Each thread owns its pipe. May not: hold more than a
//! bounded number of lines and bytes, or change the pipes' flags: their other holders would see it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::limits;
use crate::mcp::line::Framed;
use crate::mcp::{Line, LineFramer, RequestId};

use super::overlong::Overlong;

/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;

/// What the client says.
#[derive(Debug)]
pub(super) struct Input {
    lines: mpsc::Receiver<(Said, Option<OwnedSemaphorePermit>)>,
}

/// One line of the client.
#[derive(Debug)]
pub(super) enum Said {
    Line(Bytes),
    /// Longer than [`limits::LINE_BYTES_MAX`], and let go; the id of the request that it was, where that is certain.
    TooLong(Option<RequestId>),
}

impl Input {
    /// The next line; `None` when the client is done.
    pub(super) async fn next(&mut self) -> Option<Said> {
        self.lines.recv().await.map(|(said, _room)| said)
    }
}

/// Begins to read. The thread is not joined: nothing but the end of the process ends a read of a pipe that stays open.
/// Needs a tokio runtime.
pub(super) fn read() -> io::Result<Input> {
    let (sender, lines) = mpsc::channel(limits::STDIO_QUEUE_MAX);
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let queue = Queue {
        lines: sender,
        room: Arc::new(Semaphore::new(limits::STDIO_READ_BYTES_MAX)),
        runtime: Handle::current(),
    };
    drop(thread::Builder::new().name("stdin".into()).spawn(move || read_all(stdin, &queue))?);
    Ok(Input { lines })
}

/// The way of lines from their thread.
struct Queue {
    lines: mpsc::Sender<(Said, Option<OwnedSemaphorePermit>)>,
    room: Arc<Semaphore>,
    runtime: Handle,
}

impl Queue {
    /// Waits until there is room; `false`: nobody wants more.
    fn put(&self, said: Said) -> bool {
        let bytes = if let Said::Line(line) = &said { line.len() } else { 0 };
        // One that is larger than all the room there is waits until it is alone.
        let bytes = u32::try_from(bytes.min(limits::STDIO_READ_BYTES_MAX)).unwrap_or(u32::MAX);
        let room = self.runtime.block_on(self.room.clone().acquire_many_owned(bytes)).ok();
        self.lines.blocking_send((said, room)).is_ok()
    }
}

fn read_all(mut stdin: File, queue: &Queue) {
    let mut framer = LineFramer::new(limits::LINE_BYTES_MAX);
    let mut overlong: Option<Overlong> = None;
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let count = match stdin.read(&mut bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::warn!("stdin cannot be read any more: {error}");
                0
            }
        };
        let is_end = count == 0;
        // The last line may have no newline.
        framer.buffer().extend_from_slice(if is_end { b"\n" } else { &bytes[..count] });
        while let Some(said) = next(&mut framer, &mut overlong) {
            if !queue.put(said) {
                return;
            }
        }
        if is_end {
            return;
        }
    }
}

/// The next line of what was read. Of one that is too long only the ends are kept, in `overlong`.
fn next(framer: &mut LineFramer, overlong: &mut Option<Overlong>) -> Option<Said> {
    if overlong.is_none() {
        match framer.next_line()? {
            Framed::Line(line) => return Some(Said::Line(line)),
            Framed::TooLong => tracing::warn!("a line of more than {} bytes came on stdin", limits::LINE_BYTES_MAX),
        }
    }
    let (part, is_over) = framer.take_part();
    let line = overlong.get_or_insert_default();
    line.add(&part);
    let id = is_over.then(|| line.id())?;
    *overlong = None;
    Some(Said::TooLong(id))
}

/// The way to the client. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Output {
    lines: mpsc::Sender<(Line, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// The right to hold a large message.
pub(super) type Large = Option<OwnedSemaphorePermit>;

/// The client reads no more.
#[derive(Debug)]
pub(super) struct Closed;

impl Output {
    /// Queues a line; waits while the client does not read what was queued before.
    pub(super) async fn line(&self, line: Line) -> Result<(), Closed> {
        // One that is larger than all the room there is waits until it is alone.
        let size = u32::try_from(line.byte_len().min(limits::STDIO_WRITE_BYTES_MAX)).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(size).await.map_err(|_closed| Closed)?;
        self.lines.send((line, room)).await.map_err(|_gone| Closed)
    }

    /// Waits until nobody else holds a large message that is not queued yet.
    pub(super) async fn large(&self) -> Large {
        self.large.clone().acquire_owned().await.ok()
    }

    /// Waits until the client reads no more.
    pub(super) async fn closed(&self) {
        self.lines.closed().await;
    }
}

/// Resolves when everything that was queued is written.
#[derive(Debug)]
pub(super) struct Written(oneshot::Receiver<()>);

impl Written {
    /// Waits until all [`Output`]s are gone and their lines written, at most `patience`.
    pub(super) async fn wait(self, patience: Duration) {
        if tokio::time::timeout(patience, self.0).await.is_err() {
            tracing::warn!("the client does not read what is left for it");
        }
    }
}

/// Begins to write.
pub(super) fn write() -> io::Result<(Output, Written)> {
    let (lines, queue) = mpsc::channel(limits::STDIO_QUEUE_MAX);
    let (done, written) = oneshot::channel();
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let work = move || {
        write_all(stdout, queue);
        // Nobody may be waiting.
        done.send(()).ok();
    };
    drop(thread::Builder::new().name("stdout".into()).spawn(work)?);
    let room = Arc::new(Semaphore::new(limits::STDIO_WRITE_BYTES_MAX));
    let large = Arc::new(Semaphore::new(1));
    Ok((Output { lines, room, large }, Written(written)))
}

fn write_all(mut stdout: File, mut queue: mpsc::Receiver<(Line, OwnedSemaphorePermit)>) {
    while let Some((line, _room)) = queue.blocking_recv() {
        if let Err(error) = line.into_pieces().iter().try_for_each(|piece| stdout.write_all(piece)) {
            tracing::debug!("stdout cannot be written any more: {error}");
            return;
        }
    }
}

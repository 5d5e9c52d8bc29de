//! Both ends of a child's pipes, without blocking and with as few system calls as the traffic allows.
//!
//! In: buffers to write, room to read into. Out: bytes. Each end is owned by the one task that owns the child. May not:
//! await a write (with both pipes full, the child waits for hub to read), or know what a line is.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::unix::pipe::{Receiver, Sender};

/// What one read asks for at first: most messages fit many times over.
const READ_BYTES_MIN: usize = 16 << 10;
/// What one read asks for at most, once lines are long.
const READ_BYTES_MAX: usize = 1 << 20;
/// An idle reader keeps a buffer of at most this size.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// What a pipe is made to hold once a message did not fit. Not from the start: a user's pipes share a budget
/// (`/proc/sys/fs/pipe-user-pages-soft`), and over it all new pipes of that user shrink to a page.
const PIPE_BYTES: usize = 1 << 20;
/// Pieces given to one write.
const SLICES_MAX: usize = 64;

/// The write end: tries at once, keeps what does not fit.
#[derive(Debug)]
pub struct PipeWriter {
    sender: Option<Sender>,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    widened: bool,
}

/// The read end, with a read size that follows the traffic.
#[derive(Debug)]
pub struct PipeReader {
    receiver: Receiver,
    ask: usize,
    widened: bool,
}

// === impl PipeWriter ===

impl PipeWriter {
    /// Takes over the write end of a pipe. Needs a tokio runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let sender = Sender::from_owned_fd(fd)?;
        Ok(Self { sender: Some(sender), queue: VecDeque::new(), queued_bytes: 0, widened: false })
    }

    /// Writes pieces if nothing waits before them, and queues what the pipe does not take. An error means that the
    /// other side closed; what was queued is gone then.
    pub fn send(&mut self, pieces: Vec<Bytes>) -> io::Result<()> {
        let idle = self.queue.is_empty();
        let Some(sender) = &self.sender else { return Err(io::ErrorKind::BrokenPipe.into()) };
        // The common case by far: one small piece, one write, nothing queued.
        if idle && let [piece] = pieces.as_slice() {
            match sender.try_write(piece) {
                Ok(count) if count == piece.len() => return Ok(()),
                Ok(count) => {
                    self.enqueue(piece.slice(count..));
                    self.widen();
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return self.fail(error),
            }
        }
        for piece in pieces {
            self.enqueue(piece);
        }
        if idle { self.try_flush() } else { Ok(()) }
    }

    /// Bytes that wait for room in the pipe.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Writes what is queued. Ready when nothing is, or when the other side closed.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            let Some(sender) = &mut self.sender else { break };
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = fill_slices(&self.queue, &mut slices);
            match ready!(Pin::new(sender).poll_write_vectored(cx, &slices[..count])) {
                Ok(written) => self.advance(written),
                Err(error) => return Poll::Ready(self.fail(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Closes the pipe; the reader sees its end after what was written. What is still queued is dropped.
    pub fn close(&mut self) {
        self.sender = None;
        self.queue.clear();
        self.queued_bytes = 0;
    }

    /// Is it closed, by us or by the other side?
    pub fn is_closed(&self) -> bool {
        self.sender.is_none()
    }

    fn enqueue(&mut self, piece: Bytes) {
        self.queued_bytes += piece.len();
        self.queue.push_back(piece);
    }

    fn try_flush(&mut self) -> io::Result<()> {
        while !self.queue.is_empty() {
            let Some(sender) = &self.sender else { break };
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = fill_slices(&self.queue, &mut slices);
            match sender.try_write_vectored(&slices[..count]) {
                Ok(written) => {
                    let full = slices[..count].iter().map(|slice| slice.len()).sum::<usize>() > written;
                    self.advance(written);
                    if full {
                        self.widen();
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return self.fail(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        self.queued_bytes -= written;
        while let Some(front) = self.queue.front_mut() {
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.queue.pop_front();
        }
    }

    fn widen(&mut self) {
        if let Some(sender) = self.sender.as_ref().filter(|_| !self.widened) {
            self.widened = true;
            widen(sender);
        }
    }

    fn fail(&mut self, error: io::Error) -> io::Result<()> {
        self.close();
        Err(error)
    }
}

fn fill_slices<'a>(queue: &'a VecDeque<Bytes>, slices: &mut [IoSlice<'a>]) -> usize {
    let mut count = 0;
    for (slot, piece) in slices.iter_mut().zip(queue) {
        *slot = IoSlice::new(piece);
        count += 1;
    }
    count
}

// === impl PipeReader ===

impl PipeReader {
    /// Takes over the read end of a pipe. Needs a tokio runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { receiver: Receiver::from_owned_fd(fd)?, ask: READ_BYTES_MIN, widened: false })
    }

    /// Reads once into `buffer` and says how many bytes came; 0 is the end. A read that does not fill its room proves
    /// that the pipe is empty, so the next poll waits without asking the kernel first.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let offered = self.ask;
        buffer.reserve(offered);
        let mut room = (&mut *buffer).limit(offered);
        // The future holds no state of its own, so a fresh one per poll loses nothing.
        let Poll::Ready(count) = pin!(self.receiver.read_buf(&mut room)).poll(cx) else {
            if buffer.is_empty() && buffer.capacity() > KEPT_BYTES_MAX {
                // A child that once sent something big must not cost that much for ever.
                *buffer = BytesMut::new();
            }
            return Poll::Pending;
        };
        let count = count?;
        self.adapt(count, offered);
        Poll::Ready(Ok(count))
    }

    /// Reads what is in the pipe this very moment, whatever the runtime knows of it. `None`: nothing now.
    pub fn read_now(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        let mut bytes = [0u8; READ_BYTES_MIN];
        match nix::unistd::read(&self.receiver, &mut bytes) {
            Ok(count) => {
                buffer.extend_from_slice(&bytes[..count]);
                Ok(Some(count))
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn adapt(&mut self, count: usize, offered: usize) {
        if count == offered {
            self.ask = (self.ask * 2).min(READ_BYTES_MAX);
            if self.ask > 4 * READ_BYTES_MIN && !self.widened {
                self.widened = true;
                widen(&self.receiver);
            }
        } else if count < self.ask / 4 {
            self.ask = (self.ask / 2).max(READ_BYTES_MIN);
        }
    }
}

/// Best effort: without the budget for it the pipe just takes more turns.
fn widen(pipe: &impl AsFd) {
    #[cfg(target_os = "linux")]
    {
        use nix::fcntl::{FcntlArg, fcntl};
        let bytes = i32::try_from(PIPE_BYTES).unwrap_or(i32::MAX);
        fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes)).ok();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (pipe, PIPE_BYTES);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (PipeWriter, PipeReader) {
        let (reader, writer) = io::pipe().expect("pipe");
        (PipeWriter::new(writer.into()).expect("writer"), PipeReader::new(reader.into()).expect("reader"))
    }

    /// Lets both ends work until the reader has seen so many bytes more, or the end.
    async fn transfer(writer: &mut PipeWriter, reader: &mut PipeReader, buffer: &mut BytesMut, count: usize) {
        let wanted = buffer.len() + count;
        std::future::poll_fn(|cx| {
            while buffer.len() < wanted {
                assert!(!matches!(writer.poll_flush(cx), Poll::Ready(Err(_))));
                if ready!(reader.poll_fill(cx, buffer)).expect("read") == 0 {
                    break;
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn what_does_not_fit_waits_and_arrives_in_order() {
        let (mut writer, mut reader) = pair();
        let big: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
        writer.send(vec![Bytes::from(big.clone())]).expect("sent");
        writer.send(vec![Bytes::from_static(b"tail"), Bytes::from_static(b"!")]).expect("sent");
        assert!(writer.queued_bytes() > 1_000_000);
        let mut buffer = BytesMut::new();
        transfer(&mut writer, &mut reader, &mut buffer, big.len() + 5).await;
        assert_eq!(writer.queued_bytes(), 0);
        assert_eq!(&buffer[..big.len()], &big[..]);
        assert_eq!(&buffer[big.len()..], b"tail!");
    }

    #[tokio::test]
    async fn a_closed_reader_is_an_error_and_frees_the_queue() {
        let (mut writer, reader) = pair();
        writer.send(vec![Bytes::from(vec![0; 2_000_000])]).expect("sent");
        drop(reader);
        let error = std::future::poll_fn(|cx| writer.poll_flush(cx)).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(writer.queued_bytes(), 0);
        assert!(writer.is_closed());
        assert!(writer.send(vec![Bytes::from_static(b"more")]).is_err());
    }

    #[tokio::test]
    async fn the_end_is_zero_bytes_and_nothing_now_is_none() {
        let (mut writer, mut reader) = pair();
        let mut buffer = BytesMut::new();
        assert_eq!(reader.read_now(&mut buffer).expect("read"), None);
        writer.send(vec![Bytes::from_static(b"abc")]).expect("sent");
        std::future::poll_fn(|cx| writer.poll_flush(cx)).await.expect("flushed");
        assert_eq!(reader.read_now(&mut buffer).expect("read"), Some(3));
        writer.close();
        assert_eq!(reader.read_now(&mut buffer).expect("read"), Some(0));
        transfer(&mut writer, &mut reader, &mut buffer, 1).await;
        assert_eq!(&buffer[..], b"abc");
    }

    #[tokio::test]
    async fn the_read_size_follows_the_traffic() {
        let (mut writer, mut reader) = pair();
        let mut buffer = BytesMut::new();
        writer.send(vec![Bytes::from(vec![1; 60_000])]).expect("sent");
        transfer(&mut writer, &mut reader, &mut buffer, 60_000).await;
        assert!(reader.ask > READ_BYTES_MIN);
        for _ in 0..10 {
            writer.send(vec![Bytes::from_static(b"x")]).expect("sent");
            transfer(&mut writer, &mut reader, &mut buffer, 1).await;
        }
        assert_eq!(reader.ask, READ_BYTES_MIN);
    }
}

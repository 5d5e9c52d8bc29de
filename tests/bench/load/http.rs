//! One keep-alive HTTP/1.1 connection, written by hand so that the generator costs little beside what it measures.
//!
//! In: whole requests as bytes. Out: [`Reply`]s. Owns its socket and its read buffer. May not: know MCP, reconnect, or
//! retry (a connection that closes is a missing reply).

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Spare room for a read.
const READ_BYTES: usize = 64 << 10;

/// A connection with at most one request under way.
pub struct Conn {
    stream: TcpStream,
    input: Vec<u8>,
}

/// What a response says, its body borrowed from the connection.
pub struct Reply<'a> {
    /// The status code.
    pub status: u16,
    /// `Mcp-Session-Id`, if there is one.
    pub session: Option<String>,
    /// Whether the body is an event stream.
    pub is_event_stream: bool,
    /// The whole body.
    pub body: &'a [u8],
}

#[derive(Default)]
struct Head {
    status: u16,
    session: Option<String>,
    is_event_stream: bool,
    is_chunked: bool,
    body_bytes: usize,
    /// Where the body starts in the buffer.
    body_at: usize,
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Conn {
    /// Connects, without Nagle's delay.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Sends one request and reads its whole response.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        let head = self.send(request).await?;
        if head.is_chunked {
            self.read_chunked(&head).await?;
        } else {
            self.fill(head.body_at + head.body_bytes).await?;
        }
        let body = &self.input[head.body_at..];
        let Head { status, session, is_event_stream, .. } = head;
        Ok(Reply { status, session, is_event_stream, body })
    }

    /// Sends one request and reads only the head of its response: for streams that stay open. Returns the status.
    pub async fn exchange_head(&mut self, request: &[u8]) -> io::Result<u16> {
        Ok(self.send(request).await?.status)
    }

    async fn send(&mut self, request: &[u8]) -> io::Result<Head> {
        self.input.clear();
        self.stream.write_all(request).await?;
        let mut searched = 0;
        loop {
            self.read().await?;
            if let Some(found) = memchr::memmem::find(&self.input[searched..], b"\r\n\r\n") {
                return parse_head(&self.input[..searched + found], searched + found + 4);
            }
            searched = self.input.len().saturating_sub(3);
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads until the buffer holds at least `bytes`.
    async fn fill(&mut self, bytes: usize) -> io::Result<()> {
        self.input.reserve(bytes.saturating_sub(self.input.len()));
        while self.input.len() < bytes {
            self.read().await?;
        }
        Ok(())
    }

    /// Replaces the chunks in the buffer by what they carry.
    async fn read_chunked(&mut self, head: &Head) -> io::Result<()> {
        let mut body = Vec::new();
        let mut at = head.body_at;
        loop {
            let line_end = loop {
                if let Some(found) = memchr::memmem::find(&self.input[at..], b"\r\n") {
                    break at + found;
                }
                self.read().await?;
            };
            let size = std::str::from_utf8(&self.input[at..line_end])
                .ok()
                .and_then(|text| usize::from_str_radix(text.split(';').next()?.trim(), 16).ok())
                .ok_or_else(|| malformed("bad chunk size"))?;
            at = line_end + 2;
            self.fill(at + size + 2).await?;
            body.extend_from_slice(&self.input[at..at + size]);
            at += size + 2;
            if size == 0 {
                break;
            }
        }
        self.input.truncate(head.body_at);
        self.input.append(&mut body);
        Ok(())
    }
}

fn parse_head(bytes: &[u8], body_at: usize) -> io::Result<Head> {
    let text = std::str::from_utf8(bytes).map_err(|_utf8| malformed("head is not UTF-8"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let mut head = Head { status: status.ok_or_else(|| malformed("no status"))?, body_at, ..Head::default() };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.body_bytes = value.parse().map_err(|_int| malformed("bad content-length"))?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.is_chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("content-type") {
            head.is_event_stream = value.starts_with("text/event-stream");
        } else if name.eq_ignore_ascii_case("mcp-session-id") {
            head.session = Some(value.to_owned());
        }
    }
    Ok(head)
}

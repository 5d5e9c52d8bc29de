//! HTTP/1.1 by hand, so that a test sees and sends every byte.
//!
//! In: requests as text. Out: status, headers, body bytes as they come. A [`Connection`] owns one socket. May not: retry,
//! follow, decompress, or know MCP.

use super::patience;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Where a request goes: an address and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The listener.
    pub addr: SocketAddr,
    /// Path and query.
    pub path: String,
}

impl Target {
    /// From `http://127.0.0.1:PORT/PATH`.
    pub fn parse(url: &str) -> Self {
        let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("not a plain URL: {url}"));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let addr = host.parse().unwrap_or_else(|_| panic!("not an address: {url}"));
        Self { addr, path: if path.is_empty() { "/".into() } else { path.to_owned() } }
    }

    /// The same listener, another path.
    pub fn at(&self, path: &str) -> Self {
        Self { addr: self.addr, path: path.to_owned() }
    }

    /// One request on a connection of its own; the whole answer.
    pub fn send(&self, method: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut connection = Connection::open(self.addr);
        connection.write_request(method, &self.path, headers, body);
        connection.reply().expect("an answer")
    }

    /// `GET` without anything special.
    pub fn get(&self) -> Reply {
        self.send("GET", &[], b"")
    }

    /// `POST` of JSON with the headers that every revision asks for.
    pub fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut all = vec![("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];
        all.extend_from_slice(headers);
        self.send("POST", &all, body)
    }
}

/// Status line and headers.
#[derive(Debug, Clone)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Is the body an event stream?
    pub fn is_sse(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// Is the body one JSON document?
    pub fn is_json(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("application/json"))
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status line and headers.
    pub head: Head,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Reply {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as one JSON document.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|problem| panic!("{problem} in {} {:?}", self.status(), self.text()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// One socket.
#[derive(Debug)]
pub struct Connection {
    /// The socket itself, for tests that break rules.
    pub stream: TcpStream,
    buffer: Vec<u8>,
    framing: Framing,
    done: bool,
}

impl Connection {
    /// Connects.
    pub fn open(addr: SocketAddr) -> Self {
        Self::try_open(addr).unwrap_or_else(|problem| panic!("cannot connect to {addr}: {problem}"))
    }

    /// Connects, or says why not.
    pub fn try_open(addr: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, patience())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience()))?;
        stream.set_write_timeout(Some(patience()))?;
        Ok(Self { stream, buffer: Vec::new(), framing: Framing::Length(0), done: true })
    }

    /// Gives up reading after `limit`; for streams that live long.
    pub fn read_timeout(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("a socket has a read timeout");
    }

    /// Writes a request; `Host` and `Content-Length` are added where they are missing.
    pub fn write_request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        self.try_write_request(method, path, headers, body).expect("the request can be written");
    }

    /// As [`Connection::write_request`], where the peer may have closed.
    pub fn try_write_request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<()> {
        let has = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !has("host") {
            text += &["Host: ", &self.stream.peer_addr()?.to_string(), "\r\n"].concat();
        }
        for (name, value) in headers {
            text += &[name, ": ", value, "\r\n"].concat();
        }
        if !has("content-length") && !has("transfer-encoding") && (method == "POST" || !body.is_empty()) {
            text += &["Content-Length: ", &body.len().to_string(), "\r\n"].concat();
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes)
    }

    /// Writes bytes as they are.
    pub fn write_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        let mut block = [0; 16 << 10];
        let count = self.stream.read(&mut block)?;
        self.buffer.extend_from_slice(&block[..count]);
        Ok(count)
    }

    /// The next status line and headers; `None` when the peer has closed instead.
    pub fn head(&mut self) -> Option<Head> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            match self.fill() {
                Ok(0) => return None,
                Ok(_) => {}
                Err(problem) if problem.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(problem) => panic!("no head: {problem}; read {:?}", String::from_utf8_lossy(&self.buffer)),
            }
        };
        let text = String::from_utf8(self.buffer.drain(..end + 4).collect()).expect("a head is text");
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|text| text.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {text:?}"));
        if status == 100 {
            return self.head();
        }
        let pairs = lines.filter_map(|line| line.split_once(':'));
        let headers = pairs.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        let head = Head { status, headers };
        self.framing = match (head.header("transfer-encoding"), head.header("content-length")) {
            (Some("chunked"), _) => Framing::Chunked,
            (_, Some(length)) => Framing::Length(length.parse().expect("a length")),
            _ if matches!(status, 204 | 304) => Framing::Length(0),
            _ => Framing::UntilClose,
        };
        self.done = self.framing == Framing::Length(0);
        Some(head)
    }

    /// The next piece of the body; `None` at its end, `Err` when it was cut off or the read timed out.
    pub fn piece(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        if self.done {
            return Ok(None);
        }
        match self.framing {
            Framing::Length(left) => {
                if self.buffer.is_empty() && self.fill()? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                let take = left.min(self.buffer.len());
                self.framing = Framing::Length(left - take);
                self.done = left == take;
                Ok(Some(self.buffer.drain(..take).collect()))
            }
            Framing::UntilClose => {
                if self.buffer.is_empty() && self.fill()? == 0 {
                    self.done = true;
                    return Ok(None);
                }
                Ok(Some(std::mem::take(&mut self.buffer)))
            }
            Framing::Chunked => self.chunk(),
        }
    }

    fn chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let size = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
                if self.buffer.len() >= at + 2 + size + 2 {
                    let data = self.buffer[at + 2..at + 2 + size].to_vec();
                    self.buffer.drain(..at + 2 + size + 2);
                    if size == 0 {
                        self.done = true;
                        return Ok(None);
                    }
                    return Ok(Some(data));
                }
            }
            if self.fill()? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The whole answer; `None` when the peer closed before it.
    pub fn reply(&mut self) -> Option<Reply> {
        let head = self.head()?;
        let mut body = Vec::new();
        while let Some(piece) = self.piece().unwrap_or_else(|problem| panic!("body of {head:?}: {problem}")) {
            body.extend_from_slice(&piece);
        }
        Some(Reply { head, body })
    }

    /// Has the peer closed (or does it within `limit`)?
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        self.read_timeout(limit);
        let closed = loop {
            match self.fill() {
                Ok(0) => break true,
                Ok(_) => {}
                Err(problem) => {
                    let waiting = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
                    break !waiting.contains(&problem.kind());
                }
            }
        };
        self.read_timeout(patience());
        closed
    }

    /// Closes both directions at once.
    pub fn close(&self) {
        // Already closed by the peer is closed.
        drop(self.stream.shutdown(Shutdown::Both));
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

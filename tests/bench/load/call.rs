//! The messages of the bench: what is sent, and whether what came back is the right answer.
//!
//! In: a session's name, ids and payload sizes. Out: requests as bytes, and verdicts on replies. Owns one reused buffer
//! per [`EchoCall`]. May not: do I/O.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;

use serde_json::Value;

use crate::http::Reply;

/// The revision that the sessions of the bench speak.
const REVISION: &str = "2025-11-25";
/// The revision of modern requests.
const MODERN: &str = "2026-07-28";
/// What follows the arguments of a modern request.
const CLAIMS: &str = r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1.0.0"},"io.modelcontextprotocol/clientCapabilities":{}}"#;

/// What a client sends first.
pub const INITIALIZE: &str = r#"{"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1.0.0"}},"jsonrpc":"2.0","id":0}"#;
/// What a client sends when it has read the answer.
pub const INITIALIZED: &str = r#"{"method":"notifications/initialized","jsonrpc":"2.0"}"#;
/// A request whose answer hub keeps.
pub const LIST: &str = r#"{"method":"tools/list","jsonrpc":"2.0","id":1}"#;

/// Room in front of the body for the request head.
const HEAD_BYTES: usize = 512;
/// Digits of a nonce: eight for the session, eight for the call.
const NONCE_BYTES: usize = 16;

/// Why a reply does not count.
#[derive(Debug)]
pub struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where requests go: an address, a path and perhaps a session.
#[derive(Clone)]
pub struct Target {
    /// The listener.
    pub address: SocketAddr,
    /// The endpoint's path.
    pub path: &'static str,
    /// The session that requests name.
    pub session: Option<String>,
    /// Whether requests are modern: each for itself, without a session.
    pub is_modern: bool,
}

impl Target {
    /// The head of a request, the empty line included. A session is all that hub's requests have and the floor's lack.
    fn write_head(&self, method: &str, accept: &str, body_bytes: usize, out: &mut Vec<u8>) {
        let written = write!(
            out,
            "{method} {} HTTP/1.1\r\nhost: {}\r\nconnection: keep-alive\r\nuser-agent: bench\r\naccept: {accept}\r\n\
             mcp-protocol-version: {}\r\n",
            self.path,
            self.address,
            if self.is_modern { MODERN } else { REVISION },
        );
        written.expect("a Vec takes every write");
        if self.is_modern {
            out.extend_from_slice(b"mcp-method: tools/call\r\nmcp-name: echo\r\n");
        }
        if let Some(session) = &self.session {
            write!(out, "mcp-session-id: {session}\r\n").expect("a Vec takes every write");
        }
        if method == "POST" {
            write!(out, "content-type: application/json\r\ncontent-length: {body_bytes}\r\n")
                .expect("a Vec takes every write");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// A whole POST.
    pub fn post(&self, body: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + body.len());
        self.write_head("POST", "application/json, text/event-stream", body.len(), &mut out);
        out.extend_from_slice(body.as_bytes());
        out
    }

    /// The GET of a session's own stream.
    pub fn listen(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_head("GET", "text/event-stream", 0, &mut out);
        out
    }

    /// The end of a session.
    pub fn delete(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_head("DELETE", "*/*", 0, &mut out);
        out
    }
}

/// Text as tools carry it, as the inside of a JSON string of exactly `bytes` bytes: lines of code with escapes.
fn filler(bytes: usize) -> String {
    const LINE: &str = r#"    if name == \"hub\" { return Ok(session.find(&name)?); } // 0123456789\n"#;
    let mut text = LINE.repeat(bytes / LINE.len());
    text.extend(std::iter::repeat_n('x', bytes - text.len()));
    text
}

/// One `tools/call` of `echo`, rewritten in place for each id. The members are in the order of the TypeScript SDK.
pub struct EchoCall {
    target: Target,
    session_number: usize,
    /// Room for the head, then the body; `head_at` is where the request starts.
    buffer: Vec<u8>,
    head: Vec<u8>,
    head_at: usize,
    value_at: usize,
    value_end: usize,
    id: u64,
}

impl EchoCall {
    /// A call whose value has `bytes` bytes and is unique to `session_number` and the id.
    pub fn new(target: Target, session_number: usize, bytes: usize) -> Self {
        let mut buffer = vec![b' '; HEAD_BYTES];
        buffer.extend_from_slice(br#"{"method":"tools/call","params":{"name":"echo","arguments":{"v":""#);
        let value_at = buffer.len();
        buffer.resize(value_at + NONCE_BYTES, b'0');
        buffer.extend_from_slice(filler(bytes.saturating_sub(NONCE_BYTES)).as_bytes());
        let value_end = buffer.len();
        let head = Vec::with_capacity(HEAD_BYTES);
        Self { target, session_number, buffer, head, head_at: 0, value_at, value_end, id: 0 }
    }

    /// The whole request with this id and the nonce that goes with it.
    pub fn request(&mut self, id: u64) -> &[u8] {
        self.id = id;
        let mut nonce = &mut self.buffer[self.value_at..self.value_at + NONCE_BYTES];
        write!(nonce, "{:08x}{id:08x}", self.session_number).expect("both parts have eight digits");
        self.buffer.truncate(self.value_end);
        let claims = if self.target.is_modern { CLAIMS } else { "" };
        write!(self.buffer, r#""}}{claims}}},"jsonrpc":"2.0","id":{id}}}"#).expect("a Vec takes every write");
        self.head.clear();
        let body_bytes = self.buffer.len() - HEAD_BYTES;
        let accept = "application/json, text/event-stream";
        self.target.write_head("POST", accept, body_bytes, &mut self.head);
        self.head_at = HEAD_BYTES - self.head.len();
        self.buffer[self.head_at..HEAD_BYTES].copy_from_slice(&self.head);
        &self.buffer[self.head_at..]
    }

    fn value(&self) -> &[u8] {
        &self.buffer[self.value_at..self.value_end]
    }

    /// Whether this is the answer to the last request. Compares bytes where it can, and reads the JSON where it must.
    pub fn check(&self, reply: &Reply<'_>) -> Result<(), Wrong> {
        if reply.status == 200 && !reply.is_event_stream && self.is_exactly(reply.body) {
            return Ok(());
        }
        let expected = format!(r#"{{"text":"{}"}}"#, String::from_utf8_lossy(self.value()));
        let expected: Value = serde_json::from_str(&expected).expect("the value is valid JSON");
        let answer = answer(reply)?;
        if answer["id"] != self.id {
            return Err(Wrong(format!("id {} instead of {}", answer["id"], self.id)));
        }
        if answer["result"]["content"][0]["text"] != expected["text"] {
            return Err(Wrong(format!("id {}: another value: {}", self.id, shown(reply.body))));
        }
        Ok(())
    }

    /// The id and the value, where they must be; what a modern result holds besides is not looked at.
    fn is_exactly(&self, body: &[u8]) -> bool {
        const CONTENT: &[u8] = br#""content":[{"type":"text","text":""#;
        let mut start = [0; 48];
        let mut rest = &mut start[..];
        write!(rest, r#"{{"jsonrpc":"2.0","id":{},"result":{{"#, self.id).expect("an id has at most 20 digits");
        let unused = rest.len();
        let start = &start[..start.len() - unused];
        let Some(result) = body.strip_prefix(start) else { return false };
        let head = &result[..result.len().min(HEAD_BYTES)];
        let Some(at) = memchr::memmem::find(head, CONTENT) else { return false };
        let value = &result[at + CONTENT.len()..];
        value.strip_prefix(self.value()).is_some_and(|rest| rest.starts_with(br#""}]"#))
    }
}

/// The response in a reply, be it plain or the last event of a stream.
pub fn answer(reply: &Reply<'_>) -> Result<Value, Wrong> {
    if reply.status != 200 {
        return Err(Wrong(format!("status {}: {}", reply.status, shown(reply.body))));
    }
    let unreadable = || Wrong(format!("not an answer: {}", shown(reply.body)));
    if !reply.is_event_stream {
        return serde_json::from_slice(reply.body).map_err(|_not_json| unreadable());
    }
    let text = std::str::from_utf8(reply.body).map_err(|_not_json| unreadable())?;
    let mut messages = text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?).ok());
    messages.rfind(|m: &Value| m.get("id").is_some() && m.get("method").is_none()).ok_or_else(unreadable)
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned()
}

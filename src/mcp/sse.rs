//! Server-sent events, encoding only (WHATWG HTML section 9.2).
//!
//! In: message bytes. Out: event bytes. Owns nothing. May not: decode (only tests do).

use bytes::{BufMut, Bytes, BytesMut};

use super::line::without_newlines;

/// One event: `id` if the stream can be resumed, the message as one data line. Raw newlines in a message are
/// insignificant whitespace and would split the data, so they become spaces.
pub fn event(id: Option<&str>, pieces: &[Bytes]) -> Bytes {
    let length: usize = pieces.iter().map(Bytes::len).sum();
    let mut out = BytesMut::with_capacity(length + 64);
    put_id(&mut out, id);
    out.put_slice(b"data: ");
    for piece in pieces {
        out.put_slice(&without_newlines(piece.clone()));
    }
    out.put_slice(b"\n\n");
    out.freeze()
}

/// An event with a name of its own (HTTP+SSE of 2024-11-05: `endpoint`, `message`).
pub fn named_event(name: &str, data: &[Bytes]) -> Bytes {
    let mut out = BytesMut::from(&b"event: "[..]);
    out.put_slice(name.as_bytes());
    out.put_u8(b'\n');
    out.put_slice(&event(None, data));
    out.freeze()
}

/// The event that primes a stream for reconnection (2025-11-25, basic/transports#streamable-http): an id, a retry
/// time in milliseconds and empty data.
pub fn prime(id: &str, retry_ms: u64) -> Bytes {
    let mut out = BytesMut::new();
    put_id(&mut out, Some(id));
    out.put_slice(format!("retry: {retry_ms}\ndata: \n\n").as_bytes());
    out.freeze()
}

/// A comment that keeps a silent connection open.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n\n");

fn put_id(out: &mut BytesMut, id: Option<&str>) {
    if let Some(id) = id {
        out.put_slice(b"id: ");
        out.put_slice(id.as_bytes());
        out.put_u8(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events() {
        assert_eq!(event(Some("3-7"), &[Bytes::from_static(b"{\"a\":\n1}")]), "id: 3-7\ndata: {\"a\": 1}\n\n");
        assert_eq!(
            named_event("endpoint", &[Bytes::from_static(b"/messages")]),
            "event: endpoint\ndata: /messages\n\n"
        );
        assert_eq!(prime("1-0", 3000), "id: 1-0\nretry: 3000\ndata: \n\n");
    }
}

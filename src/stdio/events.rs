//! Server-sent events as they come in (WHATWG HTML section 9.2).
//!
//! In: bytes of a response. Out: [`Event`]s. Owns what was not complete yet. May not: look into the data.

use bytes::{Buf, Bytes, BytesMut};

use crate::limits;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event {
    /// Where to resume the stream after this event.
    pub(super) id: Option<Bytes>,
    /// The message; empty in an event that only carries an id.
    pub(super) data: Bytes,
    /// How long to wait before the stream is opened again, in milliseconds.
    pub(super) retry: Option<u64>,
}

/// An event is larger than any message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {} bytes", limits::STDIO_EVENT_BYTES_MAX)]
pub(super) struct TooLarge;

/// Cuts bytes into events.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    buffer: BytesMut,
    /// So many bytes of the buffer hold no newline.
    looked: usize,
    event: Event,
    started: bool,
}

impl Decoder {
    /// Takes more bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes of an event that is not complete.
    pub(super) fn pending(&self) -> usize {
        self.buffer.len() + self.event.data.len()
    }

    /// The next complete event, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Event>, TooLarge> {
        while let Some(found) = memchr::memchr(b'\n', &self.buffer[self.looked..]) {
            let mut line = self.buffer.split_to(self.looked + found).freeze();
            self.buffer.advance(1);
            self.looked = 0;
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if !line.is_empty() {
                self.field(&line);
            } else if std::mem::take(&mut self.started) {
                return Ok(Some(std::mem::take(&mut self.event)));
            }
        }
        self.looked = self.buffer.len();
        let too_large = self.looked + self.event.data.len() > limits::STDIO_EVENT_BYTES_MAX;
        if too_large { Err(TooLarge) } else { Ok(None) }
    }

    fn field(&mut self, line: &Bytes) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let mut value = line.slice((colon + 1).min(line.len())..);
        if value.first() == Some(&b' ') {
            value.advance(1);
        }
        match &line[..colon] {
            b"data" if self.event.data.is_empty() => self.event.data = value,
            b"data" => self.event.data = Bytes::from([&self.event.data[..], b"\n", &value[..]].concat()),
            b"id" => self.event.id = Some(Bytes::copy_from_slice(&value)),
            b"retry" => self.event.retry = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()),
            // A comment, or a field that means nothing here.
            _ => return,
        }
        self.started = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::sse;
    use proptest::prelude::*;

    fn all(pieces: &[&[u8]]) -> Vec<Event> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(event) = decoder.next().expect("small") {
                events.push(event);
            }
        }
        events
    }

    #[test]
    fn what_hub_writes_is_read() {
        let message = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"a: b"}"#);
        let stream = [
            sse::prime("7-0", 3000),
            sse::KEEP_ALIVE,
            sse::event(Some("7-1"), std::slice::from_ref(&message)),
            sse::named_event("message", std::slice::from_ref(&message)),
        ]
        .concat();
        let event = |id: Option<&'static str>, data: &Bytes, retry| Event {
            id: id.map(|id| Bytes::from_static(id.as_bytes())),
            data: data.clone(),
            retry,
        };
        let expected = [
            event(Some("7-0"), &Bytes::new(), Some(3000)),
            event(Some("7-1"), &message, None),
            event(None, &message, None),
        ];
        assert_eq!(all(&[&stream]), expected);
    }

    #[test]
    fn what_others_write_is_read_too() {
        let stream = b"data:a\r\ndata: b\r\n\r\nid\ndata: c\n\n\n\n: only a comment\n\nevent: x\n\ndata: half";
        let events = all(&[stream]);
        let data: Vec<&[u8]> = events.iter().map(|event| &event.data[..]).collect();
        assert_eq!(data, [&b"a\nb"[..], b"c"]);
        assert_eq!(events[1].id.as_deref(), Some(&b""[..]));
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&vec![b'x'; limits::STDIO_EVENT_BYTES_MAX + 1]);
        assert_eq!(decoder.next(), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn split_anywhere_is_the_same_as_whole(text in "(data: [a-c]{0,5}|id: [0-9]|\\n|:){0,20}", cut in 0usize..200) {
            let cut = cut.min(text.len());
            prop_assert_eq!(all(&[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]), all(&[text.as_bytes()]));
        }
    }
}

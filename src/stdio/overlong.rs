//! A line of the client that is too long to be taken: what can be said of it without holding it.
//!
//! In: its bytes, piece by piece. Out: which request it is, so that it can be answered. Owns its first and last bytes. May
//! not: guess; an id that may not be the request's own is none.

use bytes::Bytes;

use crate::mcp::RequestId;

/// Bytes that are kept of each end: a method and an id, and more.
const END_BYTES: usize = 1 << 10;

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Overlong {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Overlong {
    /// The next piece.
    pub(super) fn add(&mut self, piece: &[u8]) {
        let wanted = END_BYTES.saturating_sub(self.head.len()).min(piece.len());
        self.head.extend_from_slice(&piece[..wanted]);
        self.tail.extend_from_slice(&piece[piece.len().saturating_sub(END_BYTES)..]);
        self.tail.drain(..self.tail.len().saturating_sub(END_BYTES));
    }

    /// The id, if it is a request: the id of a response is that of a request to the client. All libraries write `method`
    /// before the parameters, and `id` either there or at the very end.
    pub(super) fn id(&self) -> Option<RequestId> {
        let members = first_members(&self.head);
        let first = |wanted: &[u8]| members.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
        first(b"\"method\"")?;
        let id = first(b"\"id\"").or_else(|| last_id(&self.tail))?;
        RequestId::from_raw(Bytes::copy_from_slice(id))
    }
}

/// The members of an object up to the first that is no text and no number.
fn first_members(text: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut members = Vec::new();
    let mut rest = text.trim_ascii_start().strip_prefix(b"{");
    while let Some(at_key) = rest {
        let member = (|| {
            let (key, after) = string(at_key.trim_ascii_start())?;
            let value = after.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
            let (value, after) = string(value).or_else(|| word(value))?;
            Some((key, value, after.trim_ascii_start().strip_prefix(b",")?))
        })();
        rest = member.map(|(key, value, after)| {
            members.push((key, value));
            after
        });
    }
    members
}

/// A string with its quotes, and what is behind it.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut escaped = false;
    let inner = text.strip_prefix(b"\"")?;
    let end = inner.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    Some(text.split_at(end + 2))
}

/// A number or a name, and what is behind it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text.iter().position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(byte)))?;
    (length > 0).then(|| text.split_at(length))
}

/// The value of the last member of an object, if that is `id`: what stands before the last brace belongs to no inner one.
fn last_id(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end();
    let start = match text.strip_suffix(b"\"") {
        Some(inner) => inner.iter().rposition(|byte| *byte == b'"')?,
        None => text.iter().rposition(|byte| !(byte.is_ascii_digit() || *byte == b'-'))? + 1,
    };
    let (before, value) = text.split_at(start);
    let key = before.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"\"id\"")?;
    let is_key = key.trim_ascii_end().ends_with(b",");
    (is_key && !value.is_empty() && !value.contains(&b'\\')).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str, piece: usize) -> Option<String> {
        let mut line = Overlong::default();
        text.as_bytes().chunks(piece).for_each(|piece| line.add(piece));
        line.id().map(|id| String::from_utf8_lossy(id.raw()).into_owned())
    }

    #[test]
    fn a_request_is_known_by_either_end() {
        let x = "x".repeat(5000);
        for (text, expected) in [
            (format!(r#"{{"jsonrpc":"2.0","id":7,"method":"m","params":{{"v":"{x}"}}}}"#), Some("7")),
            (format!(r#"{{"method":"m","params":{{"v":"{x}"}},"jsonrpc":"2.0","id":-12}}"#), Some("-12")),
            (format!(r#" {{ "method" : "m", "params": ["{x}"] , "id" : "a b" }} "#), Some(r#""a b""#)),
            (format!(r#"{{"id":"\"q\\","method":"m","params":["{x}"]}}"#), Some(r#""\"q\\""#)),
            // A response, a notification, and what only looks like a request's id.
            (format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"v":"{x}"}}}}"#), None),
            (format!(r#"{{"result":{{"method":"m","v":"{x}"}},"id":7}}"#), None),
            (format!(r#"{{"method":"m","params":{{"v":"{x}","id":7}}}}"#), None),
            (format!(r#"{{"method":"m","params":{{"v":"{x}"}},"x":",\"id\":7"}}"#), None),
            (format!(r#"{{"method":"m","params":{{"v":"{x}"}},"x,\"id":7}}"#), None),
            (format!(r#"{{"method":"m","params":{{"v":"{x}"}},"id":1.5}}"#), None),
            (format!(r#"{{"method":"m","params":{{"v":"{x}"}},"id":"a\"b"}}"#), None),
            (x.clone(), None),
        ] {
            for piece in [7, 1000, 1 << 20] {
                assert_eq!(id(&text, piece).as_deref(), expected, "{}", text.replace(&x, "…"));
            }
        }
    }
}

//! Request ids: the client's own, kept byte for byte, and hub's own towards a child.
//!
//! In: raw JSON. Out: ids that cannot be mixed up. Owns nothing. May not: normalise a client's id; `1`, `"1"` and `1e0`
//! are three different ids to keep (PROTOCOL 0.2.4).

use bytes::Bytes;

/// A request id exactly as its sender wrote it: the text of a JSON string or integer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Bytes);

impl RequestId {
    /// Accepts a JSON string or integer; `null`, a fraction, an exponent, an object or an array is not an id
    /// (specification 2025-11-25, basic/index#requests).
    pub fn from_raw(raw: Bytes) -> Option<Self> {
        match raw.first()? {
            b'"' => Some(Self(raw)),
            b'-' | b'0'..=b'9' if !raw.iter().any(|b| matches!(b, b'.' | b'e' | b'E')) => Some(Self(raw)),
            _ => None,
        }
    }

    /// An id made by hub for a message to a client.
    pub fn from_number(number: u64) -> Self {
        Self(Bytes::from(number.to_string()))
    }

    /// The JSON text.
    pub fn raw(&self) -> &Bytes {
        &self.0
    }

    /// The number, when the id is a plain non-negative integer that fits.
    pub fn as_number(&self) -> Option<u64> {
        std::str::from_utf8(&self.0).ok()?.parse().ok()
    }
}

/// The id hub writes on a pipe: 1, 2, 3 …, never reused while the process lives, below 2^53 (PROTOCOL 0.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WireId(pub u64);

impl std::fmt::Display for WireId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strings_and_integers_are_ids() {
        let id = |text: &'static str| RequestId::from_raw(Bytes::from_static(text.as_bytes()));
        for good in ["1", "-1", "0", "\"\"", "\"1\"", "9007199254740993", "123456789012345678901234"] {
            assert_eq!(id(good).expect(good).raw(), good);
        }
        for bad in ["null", "1.5", "1e0", "{}", "[]", "true"] {
            assert_eq!(id(bad), None, "{bad}");
        }
    }
}

//! hub's own cursors: which list, and from where on (PROTOCOL 4.4).
//!
//! In: a list's generation and an offset, or a client's cursor. Out: `base64url(generation ‖ offset ‖ crc)`, or the two
//! numbers again. Owns nothing. May not: accept what hub did not write.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of generation, offset and checksum.
const BYTES: usize = 8 + 4 + 4;

/// A place in a merged list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which content of which list.
    pub generation: u64,
    /// Items before it.
    pub offset: u32,
}

impl Cursor {
    /// The text that a client gets; needs no escaping in JSON.
    pub fn encode(self) -> String {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.generation.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.offset.to_be_bytes());
        let sum = crc32(&bytes[..12]);
        bytes[12..].copy_from_slice(&sum.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a text back; `None` if [`Self::encode`] did not make it.
    pub fn decode(text: &str) -> Option<Self> {
        let mut bytes = [0; BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (body, sum) = bytes.split_at(12);
        if length != BYTES || crc32(body).to_be_bytes() != sum {
            return None;
        }
        let (generation, offset) = body.split_at(8);
        Some(Self {
            generation: u64::from_be_bytes(generation.try_into().ok()?),
            offset: u32::from_be_bytes(offset.try_into().ok()?),
        })
    }
}

/// CRC-32 (IEEE 802.3), bit by bit: it runs over twelve bytes.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_common_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn foreign_texts_are_refused() {
        for text in ["", "a", "AAAAAAAAAAAAAAAAAAAAAA", "bm90IGEgY3Vyc29y", &"A".repeat(1 << 20)] {
            assert_eq!(Cursor::decode(text), None, "{text:.30}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(generation: u64, offset: u32) {
            let cursor = Cursor { generation, offset };
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }

        #[test]
        fn one_wrong_character_is_noticed(generation: u64, offset: u32, at in 0usize..22, with in "[A-Za-z0-9_-]") {
            let text = Cursor { generation, offset }.encode();
            let mut wrong = text.clone();
            wrong.replace_range(at..=at, &with);
            prop_assume!(wrong != text);
            prop_assert_eq!(Cursor::decode(&wrong), None);
        }
    }
}

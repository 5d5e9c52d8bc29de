//! Where a JSON string ends, and whether it is one.
//!
//! In: bytes, and the place of an opening quote. Out: the place behind the closing one, or where the string breaks. Owns
//! nothing. May not: resolve escapes, or accept what `serde_json` refuses (tests and a fuzz target hold the two against
//! each other).
//!
//! Text in tool results is full of escapes, and one search per escape cost three times as much as this: sixteen bytes at
//! a time at first, as most strings are short, then 64 at a time with one bit per byte (as simdjson does it).

use wide::u8x16;

use super::scan::{NotJson, fail};

/// Bytes that are looked at together in short strings.
const LANES: usize = 16;
/// Bytes that are looked at together in long ones.
const BLOCK: usize = 64;

/// The end of the string whose opening quote is at `open`.
pub(super) fn string_end(bytes: &[u8], open: usize) -> Result<usize, NotJson> {
    string(bytes, open).map(|(end, _)| end)
}

/// The same, and whether it may hold escapes: if not, it is what it spells.
pub(super) fn string(bytes: &[u8], open: usize) -> Result<(usize, bool), NotJson> {
    let mut escapes = false;
    let mut at = open + 1;
    let mut long_from = at + BLOCK;
    loop {
        if let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let special = Lanes::new(*block).special();
            if special == 0 {
                at += LANES;
                if at >= long_from {
                    (at, escapes) = (long_end(bytes, at), true);
                    long_from = at + BLOCK;
                }
                continue;
            }
            at += special.trailing_zeros() as usize;
        } else {
            while bytes.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
                at += 1;
            }
        }
        match bytes.get(at) {
            None => return fail(bytes.len(), "string without an end"),
            Some(b'"') => return Ok((at + 1, escapes)),
            Some(b'\\') => (at, escapes) = (escape_end(bytes, at)?, true),
            Some(_) => return fail(at, "control character in a string"),
        }
        if at >= long_from {
            (at, escapes) = (long_end(bytes, at), true);
            long_from = at + BLOCK;
        }
    }
}

/// The end of the escape whose backslash is at `at`.
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, NotJson> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let hex = bytes.get(at + 2..at + 6);
            if hex.is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)) {
                Ok(at + 6)
            } else {
                fail(at, "bad \\u escape")
            }
        }
        _ => fail(at, "bad escape"),
    }
}

/// Skips whole blocks from `from`, where a character begins, as long as all in them are plain bytes and escapes of two
/// characters. Gives the place of the first thing that is not, where a character begins, or a place near the end.
fn long_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    let mut least = Lanes::new([u8::MAX; LANES]);
    let stop = loop {
        let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>) else { break at };
        let (quotes, backslashes) = (bits(block, Lanes::quotes), bits(block, Lanes::backslashes));
        let (escapes, escaped) = escapes(backslashes);
        // Most escapes are of these three; of the others each is looked at, and `\u` by the caller, from its backslash on.
        let odd = match escaped & !(quotes | backslashes) {
            0 => 0,
            others => odd_escapes(block, others & !bits(block, Lanes::newlines)) >> 1,
        };
        let stops = (quotes & !escaped) | odd;
        if stops != 0 {
            break at + (stops | bits(block, Lanes::controls)).trailing_zeros() as usize;
        }
        least = least.least(block);
        // A backslash that begins an escape with the block's last byte begins the next one.
        at += BLOCK - usize::from(escapes >> (BLOCK - 1) == 1);
    };
    if least.controls() == 0 {
        return stop;
    }
    // Somewhere in the blocks that were skipped.
    bytes[from..stop].iter().position(|&byte| byte < 0x20).map_or(stop, |control| from + control)
}

/// Those of the `escaped` bytes that do not end an escape of two characters.
fn odd_escapes(block: &[u8; BLOCK], mut escaped: u64) -> u64 {
    let mut odd = 0;
    while escaped != 0 {
        let place = escaped.trailing_zeros();
        if !matches!(block[place as usize % BLOCK], b'/' | b'b' | b'f' | b'r' | b't' | b'n' | b'"' | b'\\') {
            odd |= 1 << place;
        }
        escaped &= escaped - 1;
    }
    odd
}

/// Of the backslashes of a block, those that begin an escape; and the bytes that are escaped. A run of backslashes
/// alternates; subtracting it from the odd places lets the borrow find where each run begins.
fn escapes(backslashes: u64) -> (u64, u64) {
    const ODD: u64 = 0xAAAA_AAAA_AAAA_AAAA;
    if backslashes == 0 {
        return (0, 0);
    }
    let codes = ((backslashes << 1) | ODD).wrapping_sub(backslashes) ^ ODD;
    (codes & backslashes, codes ^ backslashes)
}

/// What `one` says of each byte of a block, the first byte lowest.
#[inline]
fn bits(block: &[u8; BLOCK], one: impl Fn(Lanes) -> u32) -> u64 {
    let (lanes, _rest) = block.as_chunks::<LANES>();
    lanes.iter().rev().fold(0, |bits, lanes| bits << LANES | u64::from(one(Lanes::new(*lanes))))
}

/// Sixteen bytes, and what is said of each of them in one bit.
#[derive(Clone, Copy)]
struct Lanes(u8x16);

impl Lanes {
    #[inline]
    fn new(bytes: [u8; LANES]) -> Self {
        Self(u8x16::new(bytes))
    }

    #[inline]
    fn are(self, byte: u8) -> u8x16 {
        self.0.simd_eq(u8x16::splat(byte))
    }

    #[inline]
    fn below_space(self) -> u8x16 {
        self.0.min(u8x16::splat(0x1f)).simd_eq(self.0)
    }

    #[inline]
    fn special(self) -> u32 {
        (self.are(b'"') | self.are(b'\\') | self.below_space()).to_bitmask()
    }

    #[inline]
    fn quotes(self) -> u32 {
        self.are(b'"').to_bitmask()
    }

    #[inline]
    fn backslashes(self) -> u32 {
        self.are(b'\\').to_bitmask()
    }

    #[inline]
    fn controls(self) -> u32 {
        self.below_space().to_bitmask()
    }

    #[inline]
    fn newlines(self) -> u32 {
        self.are(b'n').to_bitmask()
    }

    /// In each place the least of what was there before and what the block has there.
    #[inline]
    fn least(self, block: &[u8; BLOCK]) -> Self {
        let (lanes, _rest) = block.as_chunks::<LANES>();
        lanes.iter().fold(self, |least, lanes| Self(least.0.min(u8x16::new(*lanes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Byte by byte.
    fn reference(bytes: &[u8], open: usize) -> Option<usize> {
        let mut at = open + 1;
        loop {
            match bytes.get(at)? {
                b'"' => return Some(at + 1),
                b'\\' => at = escape_end(bytes, at).ok()?,
                0..0x20 => return None,
                _ => at += 1,
            }
        }
    }

    #[test]
    fn every_byte_at_every_place() {
        for special in 0..=255u8 {
            for place in 0..200 {
                let mut text = vec![b'x'; 200];
                (text[0], text[199]) = (b'"', b'"');
                if place > 0 {
                    text[place] = special;
                }
                assert_eq!(string_end(&text, 0).ok(), reference(&text, 0), "{special} at {place}");
                if place > 1 {
                    text[place - 1] = b'\\';
                    assert_eq!(string_end(&text, 0).ok(), reference(&text, 0), "\\{special} at {place}");
                }
            }
        }
    }

    #[test]
    fn errors_name_their_place() {
        let long = "x".repeat(150);
        for (rest, at) in [("\\x\"", 0), ("\\u12g4\"", 0), ("\\\\\u{1}\"", 2), ("\\\"", 2), ("", 0)] {
            for before in ["", &long] {
                let error = string_end(format!("\"{before}{rest}").as_bytes(), 0).expect_err(rest);
                assert_eq!(error.at, 1 + before.len() + at, "{before}{rest}");
            }
        }
    }

    proptest! {
        #[test]
        fn runs_of_backslashes(runs in proptest::collection::vec((0usize..70, 0usize..9, r#"["nuxé/]{0,2}"#), 1..12)) {
            let inside = runs.iter().map(|(plain, run, after)| ["x".repeat(*plain), "\\".repeat(*run), after.clone()].concat());
            let text = format!("\"{}\"", inside.collect::<Vec<_>>().concat());
            prop_assert_eq!(string_end(text.as_bytes(), 0).ok(), reference(text.as_bytes(), 0), "{}", text);
        }

        #[test]
        fn escapes_alternate(backslashes in any::<u64>(), more in any::<u64>()) {
            let backslashes = backslashes | more;
            let (mut starts, mut escaped) = (0u64, 0u64);
            for bit in 0..64 {
                let here = 1u64 << bit;
                if escaped & here == 0 && backslashes & here != 0 {
                    starts |= here;
                    escaped |= here.checked_shl(1).unwrap_or(0);
                }
            }
            prop_assert_eq!(escapes(backslashes), (starts, escaped));
        }
    }
}

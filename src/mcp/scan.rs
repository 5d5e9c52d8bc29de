//! A JSON scanner: validates one value and yields the byte ranges of an object's members, without building anything.
//!
//! In: bytes. Out: "valid up to here", or where it breaks. Owns nothing. May not: allocate per value, recurse, or
//! accept what `serde_json` refuses (a fuzz target holds the two against each other).
//!
//! Strings are skipped with vectorised searches, so a megabyte of text costs tens of microseconds. Validating the whole
//! value matters: what is forwarded to a child must be one JSON text on one line.

use std::borrow::Cow;
use std::ops::Range;

/// Where and why bytes are not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not valid JSON at byte {at}: {what}")]
pub struct NotJson {
    /// Offset of the offending byte.
    pub at: usize,
    /// What was expected.
    pub what: &'static str,
}

fn fail<T>(at: usize, what: &'static str) -> Result<T, NotJson> {
    Err(NotJson { at, what })
}

/// Skips insignificant whitespace.
pub fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The end of the string whose opening quote is at `at`.
fn string_end(bytes: &[u8], at: usize) -> Result<usize, NotJson> {
    let mut from = at + 1;
    loop {
        let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[from..]) else {
            return fail(bytes.len(), "string without an end");
        };
        let stop = from + found;
        if let Some(control) = control_in(&bytes[from..stop]) {
            return fail(from + control, "control character in a string");
        }
        if bytes[stop] == b'"' {
            return Ok(stop + 1);
        }
        match bytes.get(stop + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => from = stop + 2,
            Some(b'u') => {
                let hex = bytes.get(stop + 2..stop + 6);
                if !hex.is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)) {
                    return fail(stop, "bad \\u escape");
                }
                from = stop + 6;
            }
            _ => return fail(stop, "bad escape"),
        }
    }
}

/// The first byte below 0x20. Written in blocks so that the compiler vectorises it.
fn control_in(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for block in bytes.chunks(64) {
        if block.iter().fold(0u8, |bad, &b| bad | u8::from(b < 0x20)) != 0 {
            return block.iter().position(|&b| b < 0x20).map(|i| at + i);
        }
        at += block.len();
    }
    None
}

/// The end of the number that starts at `at` (RFC 8259 section 6).
fn number_end(bytes: &[u8], mut at: usize) -> Result<usize, NotJson> {
    let digits = |mut at: usize| -> Result<usize, NotJson> {
        let start = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at == start { fail(at, "digit") } else { Ok(at) }
    };
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(at)?;
    }
    Ok(at)
}

fn word_end(bytes: &[u8], at: usize, word: &'static str) -> Result<usize, NotJson> {
    if bytes[at..].starts_with(word.as_bytes()) { Ok(at + word.len()) } else { fail(at, "value") }
}

/// Open brackets as a stack of bits: depth costs an eighth of a byte and no recursion.
#[derive(Default)]
struct Nest {
    bits: Vec<u64>,
    depth: usize,
}

impl Nest {
    fn push(&mut self, object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.bits.len() {
            self.bits.push(0);
        }
        self.bits[word] = self.bits[word] & !(1 << bit) | (u64::from(object) << bit);
        self.depth += 1;
    }

    /// Is the innermost open bracket an object? `None` when all are closed.
    fn top(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        Some(self.bits[last / 64] >> (last % 64) & 1 == 1)
    }
}

/// The end of the value that starts at `at` (after whitespace was skipped).
pub fn value_end(bytes: &[u8], at: usize) -> Result<usize, NotJson> {
    let mut nest = Nest::default();
    let mut at = at;
    loop {
        // One value, or the opening of one.
        at = match bytes.get(at) {
            Some(b'"') => string_end(bytes, at)?,
            Some(b'-' | b'0'..=b'9') => number_end(bytes, at)?,
            Some(b't') => word_end(bytes, at, "true")?,
            Some(b'f') => word_end(bytes, at, "false")?,
            Some(b'n') => word_end(bytes, at, "null")?,
            Some(b'{') => {
                at = skip_space(bytes, at + 1);
                if bytes.get(at) == Some(&b'}') {
                    at + 1
                } else {
                    nest.push(true);
                    at = key_end(bytes, at)?;
                    continue;
                }
            }
            Some(b'[') => {
                at = skip_space(bytes, at + 1);
                if bytes.get(at) == Some(&b']') {
                    at + 1
                } else {
                    nest.push(false);
                    continue;
                }
            }
            _ => return fail(at, "value"),
        };
        // What may follow it: a comma (and then the next value), or closing brackets.
        loop {
            let Some(object) = nest.top() else { return Ok(at) };
            at = skip_space(bytes, at);
            match (bytes.get(at), object) {
                (Some(b','), true) => {
                    at = key_end(bytes, skip_space(bytes, at + 1))?;
                    break;
                }
                (Some(b','), false) => {
                    at = skip_space(bytes, at + 1);
                    break;
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    nest.depth -= 1;
                    at += 1;
                }
                _ => return fail(at, "comma or closing bracket"),
            }
        }
    }
}

/// From a key's opening quote to the start of its value.
fn key_end(bytes: &[u8], at: usize) -> Result<usize, NotJson> {
    if bytes.get(at) != Some(&b'"') {
        return fail(at, "key");
    }
    let at = skip_space(bytes, string_end(bytes, at)?);
    if bytes.get(at) != Some(&b':') {
        return fail(at, "colon");
    }
    Ok(skip_space(bytes, at + 1))
}

/// Checks that `bytes` are exactly one JSON text and gives its range without the whitespace around it.
pub fn text(bytes: &[u8]) -> Result<Range<usize>, NotJson> {
    let start = skip_space(bytes, 0);
    let end = value_end(bytes, start)?;
    let rest = skip_space(bytes, end);
    if rest != bytes.len() {
        return fail(rest, "end of input");
    }
    Ok(start..end)
}

/// One member of an object: ranges into the bytes that were scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The key with its quotes.
    pub key: Range<usize>,
    /// The value, without whitespace around it.
    pub value: Range<usize>,
}

/// The members of an object, one level deep, validating as it goes. Ends after the first error.
#[derive(Debug)]
pub struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
    state: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    First,
    More,
    Done,
}

/// Starts at the `{` at `at`; `None` if there is no object there.
pub fn members(bytes: &[u8], at: usize) -> Option<Members<'_>> {
    (bytes.get(at) == Some(&b'{')).then_some(Members { bytes, at: at + 1, state: Next::First })
}

impl Members<'_> {
    /// Offset behind the closing `}` once the iteration has ended without an error.
    pub fn end(&self) -> usize {
        self.at
    }

    fn step(&mut self) -> Result<Option<Member>, NotJson> {
        let bytes = self.bytes;
        let mut at = skip_space(bytes, self.at);
        match (self.state, bytes.get(at)) {
            (Next::Done, _) => return Ok(None),
            (Next::First | Next::More, Some(b'}')) => {
                (self.at, self.state) = (at + 1, Next::Done);
                return Ok(None);
            }
            (Next::First, _) => {}
            (Next::More, Some(b',')) => at = skip_space(bytes, at + 1),
            (Next::More, _) => return fail(at, "comma or closing bracket"),
        }
        let value = key_end(bytes, at)?;
        let key = at..string_end(bytes, at)?;
        self.at = value_end(bytes, value)?;
        self.state = Next::More;
        Ok(Some(Member { key, value: value..self.at }))
    }
}

impl Iterator for Members<'_> {
    type Item = Result<Member, NotJson>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.state = Next::Done;
        }
        step.transpose()
    }
}

/// Does a key (with its quotes) spell `name`? Escapes are resolved first: `"na\u006de"` is `name`.
pub fn key_is(key: &[u8], name: &str) -> bool {
    unquote(key).is_some_and(|k| k == name)
}

/// The string that a JSON string spells; `None` if `raw` is not one.
pub fn unquote(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice::<String>(raw).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text_: &str) -> bool {
        text(text_.as_bytes()).is_ok()
    }

    fn reference(text_: &str) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(text_).is_ok()
    }

    #[test]
    fn agrees_with_serde_json_on_the_odd_ones() {
        for case in [
            "",
            " ",
            "{}",
            "[]",
            "[1,]",
            "[,1]",
            "{\"a\":1,}",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{1:2}",
            "nul",
            "nulll",
            "null ",
            "truefalse",
            "-",
            "-0",
            "01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "1E-7",
            "-1.5e10",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u00e9\"",
            "\"a\nb\"",
            "\"a\u{1}b\"",
            "\"\u{7f}\"",
            "[[[]]",
            "[[]]]",
            "{\"a\":[{\"b\":{}}]}",
            " [ 1 , 2 ] ",
            "{\"a\" : 1 , \"b\":[ ] }",
            "[}",
            "{]",
            "\"\u{2028}\"",
            "1 2",
            "[1 2]",
            "{\"a\":1 \"b\":2}",
            "+1",
            "\u{feff}1",
        ] {
            assert_eq!(accepts(case), reference(case), "{case:?}");
        }
    }

    #[test]
    fn deep_nesting_needs_no_stack() {
        let depth = 200_000;
        let deep = "[".repeat(depth) + &"]".repeat(depth);
        assert!(accepts(&deep));
        assert!(!accepts(&deep[..deep.len() - 1]));
    }

    #[test]
    fn members_give_ranges_and_the_end() {
        let bytes = br#"  {"a" : 1, "b":{"c":[2]} , "n\u0061":"x"}  "#;
        let mut found = members(bytes, 2).expect("an object");
        let mut seen = Vec::new();
        for member in found.by_ref() {
            let member = member.expect("valid");
            seen.push((unquote(&bytes[member.key]).expect("key").into_owned(), &bytes[member.value]));
        }
        assert_eq!(seen, [("a".into(), &b"1"[..]), ("b".into(), br#"{"c":[2]}"#), ("na".into(), br#""x""#)]);
        assert_eq!(found.end(), bytes.len() - 2);
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text_ in r#"[\[\]{}:,"\\ntruefals0-9.eE+u \n\t-]{0,24}"#) {
            prop_assert_eq!(accepts(&text_), reference(&text_));
        }
    }
}

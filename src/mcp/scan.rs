//! A JSON scanner: validates one value and yields the byte ranges of an object's members, without building anything.
//!
//! In: bytes. Out: "valid up to here", or where it breaks. Owns nothing. May not: allocate per value, recurse, or
//! accept what `serde_json` refuses (a fuzz target holds the two against each other).
//!
//! Strings are skipped many bytes at a time (`strings`), so a megabyte of text costs tens of microseconds. Validating the
//! whole value matters: what is forwarded to a child must be one JSON text on one line.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use super::strings::{string, string_end};

/// Where and why bytes are not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not valid JSON at byte {at}: {what}")]
pub struct NotJson {
    /// Offset of the offending byte.
    pub at: usize,
    /// What was expected.
    pub what: &'static str,
}

pub(super) fn fail<T>(at: usize, what: &'static str) -> Result<T, NotJson> {
    Err(NotJson { at, what })
}

/// Skips insignificant whitespace.
pub fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Could a member called `key` stand somewhere in this valid JSON, in any spelling? One search or two, and no scan:
/// letters can be written differently only as `\u`.
pub fn may_hold(bytes: &[u8], key: &str) -> bool {
    memchr::memmem::find(bytes, key.as_bytes()).is_some() || memchr::memmem::find(bytes, b"\\u").is_some()
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

/// Open brackets as a stack of bits: depth costs an eighth of a byte and no recursion, and nothing on the heap as long as
/// it is not unusual.
#[derive(Default)]
struct Nest {
    first: u64,
    more: Vec<u64>,
    depth: usize,
    deepest: usize,
}

impl Nest {
    /// A bracket opens, whether anything follows in it or not.
    fn enter(&mut self) {
        self.deepest = self.deepest.max(self.depth + 1);
    }

    fn push(&mut self, object: bool) {
        let (index, bit) = (self.depth / 64, self.depth % 64);
        if index > self.more.len() {
            self.more.push(0);
        }
        let word = if index == 0 { &mut self.first } else { &mut self.more[index - 1] };
        *word = *word & !(1 << bit) | (u64::from(object) << bit);
        self.depth += 1;
    }

    /// Is the innermost open bracket an object? `None` when all are closed.
    fn top(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        let word = if last < 64 { self.first } else { self.more[last / 64 - 1] };
        Some(word >> (last % 64) & 1 == 1)
    }
}

/// A value that was walked over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// Offset behind it.
    pub end: usize,
    /// Arrays and objects around its innermost part, itself included; 0 for a plain value.
    pub depth: usize,
}

/// The end of the value that starts at `at` (after whitespace was skipped).
pub fn value_end(bytes: &[u8], at: usize) -> Result<usize, NotJson> {
    walk(bytes, at).map(|walked| walked.end)
}

/// As [`value_end`], and how deep it is. No depth is an error here: what is too deep for others is not this room's to say.
pub fn walk(bytes: &[u8], at: usize) -> Result<Walked, NotJson> {
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
                nest.enter();
                at = skip_space(bytes, at + 1);
                if bytes.get(at) == Some(&b'}') {
                    at + 1
                } else {
                    nest.push(true);
                    (at, ..) = key_end(bytes, at)?;
                    continue;
                }
            }
            Some(b'[') => {
                nest.enter();
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
            let Some(object) = nest.top() else { return Ok(Walked { end: at, depth: nest.deepest }) };
            at = skip_space(bytes, at);
            match (bytes.get(at), object) {
                (Some(b','), true) => {
                    (at, ..) = key_end(bytes, skip_space(bytes, at + 1))?;
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

/// From a key's opening quote to the start of its value, and its end, and whether it may hold escapes.
fn key_end(bytes: &[u8], at: usize) -> Result<(usize, usize, bool), NotJson> {
    if bytes.get(at) != Some(&b'"') {
        return fail(at, "key");
    }
    let (end, escaped) = string(bytes, at)?;
    let colon = skip_space(bytes, end);
    if bytes.get(colon) != Some(&b':') {
        return fail(colon, "colon");
    }
    Ok((skip_space(bytes, colon + 1), end, escaped))
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
    /// The key may hold escapes: without, it is what it spells.
    pub escaped: bool,
    /// The value, without whitespace around it.
    pub value: Range<usize>,
}

/// The members of an object, one level deep, validating as it goes. Ends after the first error.
#[derive(Debug)]
pub struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
    state: Next,
    depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    First,
    More,
    Done,
}

/// Starts at the `{` at `at`; `None` if there is no object there.
pub fn members(bytes: &[u8], at: usize) -> Option<Members<'_>> {
    (bytes.get(at) == Some(&b'{')).then_some(Members { bytes, at: at + 1, state: Next::First, depth: 1 })
}

impl Members<'_> {
    /// Offset behind the closing `}` once the iteration has ended without an error.
    pub fn end(&self) -> usize {
        self.at
    }

    /// How deep the object is, its own bracket included, as far as it was iterated.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The next member, whose value `value` finds the end of: given the bytes, the key's range and the value's start. For
    /// a caller that wants to look into a value while it is scanned anyway.
    pub fn step(
        &mut self,
        value: impl FnOnce(&[u8], &Range<usize>, usize) -> Result<usize, NotJson>,
    ) -> Result<Option<Member>, NotJson> {
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
        let (start, key_end, escaped) = key_end(bytes, at)?;
        let key = at..key_end;
        self.at = value(bytes, &key, start)?;
        self.state = Next::More;
        Ok(Some(Member { key, escaped, value: start..self.at }))
    }
}

impl Iterator for Members<'_> {
    type Item = Result<Member, NotJson>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut depth = 1;
        let step = self.step(|bytes, _key, at| {
            let walked = walk(bytes, at)?;
            depth += walked.depth;
            Ok(walked.end)
        });
        self.depth = self.depth.max(depth);
        if step.is_err() {
            self.state = Next::Done;
        }
        step.transpose()
    }
}

/// Does a key (with its quotes) spell `name`? Escapes are resolved first: `"na\u006de"` is `name`.
pub fn key_is(key: &[u8], name: &str) -> bool {
    // Every escape is longer than what it stands for.
    match key.len().checked_sub(2).map(|length| length.cmp(&name.len())) {
        None | Some(Ordering::Less) => false,
        Some(Ordering::Equal) => key[0] == b'"' && &key[1..key.len() - 1] == name.as_bytes() && !name.contains('\\'),
        Some(Ordering::Greater) => key.contains(&b'\\') && unquote(key).is_some_and(|spelled| spelled == name),
    }
}

/// Is this UTF-8? Most of what travels is plain ASCII, which is seen several times faster.
pub fn is_utf8(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
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
    fn depth_counts_every_bracket() {
        for (text_, depth) in [
            ("1", 0),
            ("\"[[\"", 0),
            ("[]", 1),
            ("{}", 1),
            ("[1,[],2]", 2),
            (r#"{"a":[{"b":{}}],"c":[[]]}"#, 4),
            ("[[1],[2],[3]]", 2),
        ] {
            let walked = walk(text_.as_bytes(), 0);
            assert_eq!(walked, Ok(Walked { end: text_.len(), depth }), "{text_}");
            if let Some(mut members) = members(text_.as_bytes(), 0) {
                assert!(members.by_ref().all(|member| member.is_ok()));
                assert_eq!(members.depth(), depth, "{text_}");
            }
        }
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

    #[test]
    fn keys_are_compared_as_what_they_spell() {
        for (key, name, same) in [
            (r#""name""#, "name", true),
            (r#""nam""#, "name", false),
            (r#""names""#, "name", false),
            (r#""na\u006de""#, "name", true),
            (r#""\u006e\u0061m\u0065""#, "name", true),
            (r#""a\/b""#, "a/b", true),
            (r#""a\b""#, r"a\b", false),
            (r#""a\\b""#, r"a\b", true),
            (r#""é""#, "é", true),
            (r#""\u00e9""#, "é", true),
            (r#""""#, "", true),
            ("7", "", false),
            ("[2.0]", "2.0", false),
            ("\"", "", false),
        ] {
            assert_eq!(key_is(key.as_bytes(), name), same, "{key} {name}");
        }
    }

    #[test]
    fn a_key_is_suspected_in_every_spelling() {
        for text_ in [r#"{"_meta":1}"#, r#"{"\u005fmeta":1}"#, r#"{"_m\u0065ta":1}"#] {
            assert!(may_hold(text_.as_bytes(), "_meta"), "{text_}");
        }
        assert!(!may_hold(br#"{"a":"line\nline \"quoted\" C:\\dir"}"#, "_meta"));
    }

    proptest! {
        // Long enough for whole blocks, with what is special at every place in them.
        #[test]
        fn agrees_with_serde_json_on_long_strings(
            pieces in proptest::collection::vec(("[a-z é]{0,70}", r#"(\\["\\/bfnrtu]|\\u00e9|\\\\\\|"|\n|\\x|)"#), 0..8),
        ) {
            let inside = pieces.iter().map(|(plain, special)| [plain.as_str(), special].concat()).collect::<Vec<_>>().concat();
            let text_ = format!("\"{inside}\"");
            prop_assert_eq!(accepts(&text_), reference(&text_), "{}", text_);
        }

        #[test]
        fn agrees_with_serde_json(text_ in r#"[\[\]{}:,"\\ntruefals0-9.eE+u \n\t-]{0,24}"#) {
            prop_assert_eq!(accepts(&text_), reference(&text_));
        }
    }
}

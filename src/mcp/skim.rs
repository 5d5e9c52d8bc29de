//! Finds a few members of a large object without scanning what lies between them.
//!
//! In: the text of a valid object, the keys in question. Out: the same members as a scan finds, the rest as one opaque
//! member; or nothing, where only a scan can tell. Owns nothing. May not: be wrong about bytes that are valid JSON.
//!
//! What hub reads of a payload stands before or behind it, and the payload holds no such key. That it holds none, a
//! vectorised search says several times faster than a scan of its structure.

use std::ops::Range;

use memchr::memmem;

use super::scan::{self, Member, NotJson};

/// With more keys in the text than this, a scan is as fast.
const MENTIONS_MAX: usize = 16;

/// The members of the object `raw` that are called one of `keys`, in order. All that is between them is one member with
/// an empty range for a key. `None`: scan it.
pub(super) fn members(raw: &[u8], keys: &[&str]) -> Option<Vec<Member>> {
    // A key can be written differently only with this.
    if memmem::find(raw, b"\\u").is_some() {
        return None;
    }
    let mentions = mentions(raw, keys)?;
    let close = raw.iter().rposition(|byte| !byte.is_ascii_whitespace()).filter(|last| raw[*last] == b'}')?;
    let (mut found, gap_start) = front(raw, &mentions)?;
    let Some(gap_start) = gap_start else { return Some(found) };
    let (tail, gap_end) = tail(raw, &mentions, gap_start, close);
    if gap_start < gap_end {
        found.push(Member { key: gap_start..gap_start, value: gap_start..gap_end });
    }
    found.extend(tail.into_iter().rev());
    // A key in between is a member's or one of something inside a member.
    let within = |range: &Range<usize>| {
        found.iter().any(|m| m.key.start < m.key.end && m.key.start <= range.start && range.end <= m.value.end)
    };
    mentions.iter().all(within).then_some(found)
}

/// Where the keys stand, as keys of whatever object, in order.
fn mentions(raw: &[u8], keys: &[&str]) -> Option<Vec<Range<usize>>> {
    let mut mentions = Vec::new();
    for key in keys {
        let quoted = format!("\"{key}\"");
        for start in memmem::find_iter(raw, quoted.as_bytes()) {
            let range = start..start + quoted.len();
            // Behind a backslash it is the end of a string; without a colon, a value.
            if start > 0 && raw[start - 1] != b'\\' && raw.get(scan::skip_space(raw, range.end)) == Some(&b':') {
                mentions.push(range);
            }
            if mentions.len() > MENTIONS_MAX {
                return None;
            }
        }
    }
    mentions.sort_unstable_by_key(|range| range.start);
    Some(mentions)
}

/// The members in question that the object begins with, and where the first other one starts; `None` if there is none.
fn front(raw: &[u8], mentions: &[Range<usize>]) -> Option<(Vec<Member>, Option<usize>)> {
    let mut found = Vec::new();
    let mut members = scan::members(raw, scan::skip_space(raw, 0))?;
    let mut other = None;
    loop {
        let step = members.step(|bytes, key, value| {
            if mentions.contains(key) {
                return scan::value_end(bytes, value);
            }
            other = Some(key.start);
            Err(NotJson { at: value, what: "a key in question" })
        });
        match step {
            Ok(Some(member)) => found.push(member),
            Ok(None) => return Some((found, None)),
            Err(_) => return Some((found, Some(other?))),
        }
    }
}

/// The members in question that the object ends with, last first, and where the values before them end. One whose value
/// is followed by the object's end, or by the comma before such a member, is the object's own.
fn tail(raw: &[u8], mentions: &[Range<usize>], from: usize, close: usize) -> (Vec<Member>, usize) {
    let trimmed =
        |end: usize| raw[..end].iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |last| last + 1);
    let mut found = Vec::new();
    let mut end = trimmed(close);
    for key in mentions.iter().rev().filter(|key| key.start >= from) {
        let value = scan::skip_space(raw, scan::skip_space(raw, key.end) + 1);
        if key.end > end || scan::value_end(raw, value) != Ok(end) {
            continue;
        }
        found.push(Member { key: key.clone(), value: value..end });
        let before = trimmed(key.start);
        if raw[..before].last() != Some(&b',') {
            return (found, from);
        }
        end = trimmed(before - 1);
    }
    (found, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: [&str; 2] = ["_meta", "task"];

    /// Every member in question as a scan finds it, and what lies between them.
    fn by_scan(raw: &[u8]) -> Vec<Member> {
        let all = scan::members(raw, scan::skip_space(raw, 0)).expect("an object");
        let mut found: Vec<Member> = Vec::new();
        for member in all.map(|member| member.expect("valid")) {
            let is_asked = KEYS.iter().any(|key| scan::key_is(&raw[member.key.clone()], key));
            match found.last_mut() {
                Some(last) if !is_asked && last.key.is_empty() => last.value.end = member.value.end,
                _ if is_asked => found.push(member),
                _ => found.push(Member {
                    key: member.key.start..member.key.start,
                    value: member.key.start..member.value.end,
                }),
            }
        }
        found
    }

    #[test]
    fn finds_what_stands_first_and_last() {
        for text in [
            "{}",
            " { } ",
            r#"{"a":1}"#,
            r#"{"_meta":{}}"#,
            r#" { "_meta" : {"task":1} , "task":"x" , "a":{"b":[1]},"c":"task"} "#,
            r#"{"a":{"b":"}"},"c":"say \"task","task": "}", "_meta":{"_meta":{"x":"\"task\":"}} }"#,
            r#"{"_meta":1,"a":"\"_meta\":2","_meta":3}"#,
            r#"{"task":"_meta","_meta":"task"}"#,
        ] {
            assert_eq!(members(text.as_bytes(), &KEYS), Some(by_scan(text.as_bytes())), "{text}");
        }
    }

    #[test]
    fn leaves_to_a_scan_what_only_a_scan_can_tell() {
        for text in [
            r#"{"a":{"task":1}}"#,
            r#"{"a":1,"task":2,"b":3}"#,
            r#"{"t\u0061sk":2}"#,
            r#"{"a":{"_meta":1},"_meta":{}}"#,
            "[]",
            "",
        ] {
            assert_eq!(members(text.as_bytes(), &KEYS), None, "{text}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::json!(null)),
            Just(serde_json::json!("task")),
            Just(serde_json::json!("\"task\":1,\"_meta\":{}}")),
            Just(serde_json::json!("\\")),
            Just(serde_json::json!("}")),
            (0..9).prop_map(|n| serde_json::json!(n)),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let key = proptest::sample::select(vec!["_meta", "task", "a", "\"task", "task\"", "_meta\\"]);
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
                proptest::collection::vec((key, inner), 0..5)
                    .prop_map(|members| members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_scan(tree in json().prop_filter("an object", serde_json::Value::is_object), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.expect("json");
            if let Some(found) = members(text.as_bytes(), &KEYS) {
                prop_assert_eq!(found, by_scan(text.as_bytes()), "{}", text);
            }
        }

        #[test]
        fn garbage_is_no_panic(pieces in proptest::collection::vec(proptest::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\"_meta\"", "\"task\"", "1", " ", "a",
        ]), 0..16)) {
            members(pieces.concat().as_bytes(), &KEYS);
        }
    }
}

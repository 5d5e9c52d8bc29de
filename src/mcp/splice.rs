//! Reading and replacing a few members of a JSON object without rebuilding it.
//!
//! In: the raw text of an object. Out: slices of it, or a new text made of untouched ranges and replacements. Owns
//! nothing. May not: reorder, reformat or drop what it was not told to.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::Raw;
use super::scan::{self, Member, NotJson, Walked};

/// A shallow view of one object: where its members are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    raw: Bytes,
    members: Vec<Member>,
}

/// Where each of many edits is, by its key; nothing for a few, which are found faster one by one. A schema of a child may
/// need as many as it has properties.
struct Places<'e>(Option<HashMap<&'e str, usize>>);

impl<'e> Places<'e> {
    fn of<T>(edits: &[(&'e str, Option<T>)]) -> Self {
        let all = || edits.iter().enumerate().rev().map(|(index, (key, _))| (*key, index)).collect();
        Self((edits.len() > 16).then(all))
    }
}

/// A set of small numbers: a word for those that are common, a list for the others.
struct Set {
    low: u64,
    high: Vec<bool>,
}

impl Set {
    fn of(size: usize) -> Self {
        Self { low: 0, high: vec![false; size.saturating_sub(64)] }
    }

    fn has(&self, index: usize) -> bool {
        index.checked_sub(64).map_or_else(|| self.low & (1 << index) != 0, |index| self.high[index])
    }

    /// Whether it was not there.
    fn insert(&mut self, index: usize) -> bool {
        let is_new = !self.has(index);
        match index.checked_sub(64) {
            None => self.low |= 1 << index,
            Some(index) => self.high[index] = true,
        }
        is_new
    }
}

/// A member that may occur once occurs twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("duplicate member")]
pub struct Duplicate;

impl Object {
    /// Scans an object one level deep; `None` if the text is not an object.
    pub fn scan(raw: &Raw) -> Option<Self> {
        let start = scan::skip_space(raw, 0);
        let members = scan::members(raw, start)?.collect::<Result<Vec<_>, _>>().ok()?;
        Some(Self { raw: raw.clone(), members })
    }

    /// The object without members.
    pub fn empty() -> Self {
        Self { raw: Bytes::from_static(b"{}"), members: Vec::new() }
    }

    /// An object whose members were found while what holds it was scanned: `members` are ranges of that text, in which
    /// this object begins at `start`.
    pub(super) fn scanned(raw: Raw, mut members: Vec<Member>, start: usize) -> Self {
        for member in &mut members {
            member.key = member.key.start - start..member.key.end - start;
            member.value = member.value.start - start..member.value.end - start;
        }
        Self { raw, members }
    }

    /// The text that was scanned.
    pub fn raw(&self) -> &Raw {
        &self.raw
    }

    /// Whether this is the very text that was scanned.
    pub fn is_of(&self, raw: &Raw) -> bool {
        self.raw.as_ptr() == raw.as_ptr() && self.raw.len() == raw.len()
    }

    /// The text that was scanned, for sending it on.
    pub fn into_raw(self) -> Raw {
        self.raw
    }

    /// The value of `key` (the first one, if it stands twice). Escaped spellings of the key count.
    pub fn get(&self, key: &str) -> Option<Raw> {
        self.find(key).map(|member| self.raw.slice(member.value.clone()))
    }

    /// The same without a share in the bytes.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.find(key).map(|member| &self.raw[member.value.clone()])
    }

    /// Whether there is such a member.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The value of `key`, if it is a string.
    pub fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        scan::unquote(self.value(key)?)
    }

    /// The value of `key`; an error if it stands twice.
    pub fn get_once(&self, key: &str) -> Result<Option<Raw>, Duplicate> {
        let mut all = self.members.iter().filter(|member| self.spells(member, key));
        let first = all.next();
        if all.next().is_some() { Err(Duplicate) } else { Ok(first.map(|member| self.raw.slice(member.value.clone()))) }
    }

    /// The string value of `key`.
    pub fn get_str(&self, key: &str) -> Option<String> {
        self.text(key).map(Cow::into_owned)
    }

    /// All members as (key, value), keys unescaped.
    pub fn entries(&self) -> impl Iterator<Item = (String, Raw)> + '_ {
        self.members.iter().filter_map(|member| {
            let key = scan::unquote(&self.raw[member.key.clone()])?.into_owned();
            Some((key, self.raw.slice(member.value.clone())))
        })
    }

    /// Whether any key stands twice, in whatever spelling.
    pub fn has_duplicates(&self) -> bool {
        let key = |member: &Member| &self.raw[member.key.clone()];
        let escaped = self.members.iter().any(|member| member.escaped);
        if self.members.len() <= 16 && !escaped {
            let mut earlier = self.members.iter().enumerate();
            return earlier.any(|(index, member)| self.members[..index].iter().any(|other| key(other) == key(member)));
        }
        let mut seen = HashSet::new();
        !self.members.iter().filter_map(|member| scan::unquote(key(member))).all(|spelled| seen.insert(spelled))
    }

    fn spells(&self, member: &Member, key: &str) -> bool {
        let spelled = &self.raw[member.key.clone()];
        if member.escaped {
            scan::key_is(spelled, key)
        } else {
            spelled.len() == key.len() + 2 && &spelled[1..=key.len()] == key.as_bytes()
        }
    }

    /// Which of the edits is of this member.
    fn place<T>(&self, member: &Member, edits: &[(&str, Option<T>)], places: &Places<'_>) -> Option<usize> {
        match &places.0 {
            None => edits.iter().position(|(key, _)| self.spells(member, key)),
            Some(places) => places.get(&*scan::unquote(&self.raw[member.key.clone()])?).copied(),
        }
    }

    fn find(&self, key: &str) -> Option<&Member> {
        self.members.iter().find(|member| self.spells(member, key))
    }

    /// The object with `edits` applied. `Some` sets a member (in its old place if it has one, else at the end),
    /// `None` removes it with its comma. Every other byte stays as it was.
    pub fn edit(&self, edits: &[(&str, Option<&[u8]>)]) -> Raw {
        let extra: usize = edits.iter().map(|(key, value)| key.len() + value.map_or(0, <[u8]>::len) + 4).sum();
        let mut out = BytesMut::with_capacity(self.raw.len() + extra);
        self.walk(edits, |part| match part {
            Part::Glue(bytes) => out.put_slice(bytes),
            Part::Kept(range) => out.put_slice(&self.raw[range]),
            Part::New(value) => out.put_slice(value),
        });
        out.freeze()
    }

    /// The same as pieces that are to be written one after another: what was not edited, and the new values, are
    /// slices, so a large payload is not copied.
    pub fn pieces(&self, edits: &[(&str, Option<Raw>)]) -> Vec<Raw> {
        let mut out = Pieces::default();
        self.walk(edits, |part| match part {
            Part::Glue(bytes) => out.glue(bytes),
            Part::Kept(range) => out.put(&self.raw.slice(range)),
            Part::New(value) => out.put(value),
        });
        out.finish()
    }

    /// The parts of the edited object, in order.
    fn walk<'a, T>(&self, edits: &'a [(&str, Option<T>)], mut put: impl FnMut(Part<'_, &'a T>)) {
        let (mut set, places) = (Set::of(edits.len()), Places::of(edits));
        let mut first = true;
        let mut comma = |put: &mut dyn FnMut(Part<'_, &'a T>)| {
            put(Part::Glue(if std::mem::take(&mut first) { b"{" } else { b"," }));
        };
        // Untouched neighbours are taken as one range with what stands between them.
        let mut run: Option<Range<usize>> = None;
        for member in &self.members {
            let Some(index) = self.place(member, edits, &places) else {
                run = Some(run.map_or(member.key.start, |run| run.start)..member.value.end);
                continue;
            };
            if let Some(range) = run.take() {
                comma(&mut put);
                put(Part::Kept(range));
            }
            // A key that stood twice stands once.
            let is_first = set.insert(index);
            if let (Some(value), true) = (&edits[index].1, is_first) {
                comma(&mut put);
                put(Part::Kept(member.key.clone()));
                put(Part::Glue(b":"));
                put(Part::New(value));
            }
        }
        if let Some(range) = run {
            comma(&mut put);
            put(Part::Kept(range));
        }
        let unset = edits.iter().enumerate().filter(|(index, _)| !set.has(*index)).map(|(_, edit)| edit);
        for (key, value) in unset {
            if let Some(value) = value {
                comma(&mut put);
                if key.bytes().all(|byte| matches!(byte, b' '..=b'~' if byte != b'"' && byte != b'\\')) {
                    [&b"\""[..], key.as_bytes(), b"\":"].into_iter().for_each(|part| put(Part::Glue(part)));
                } else {
                    put(Part::Glue(&serde_json::to_vec(key).expect("a string serialises")));
                    put(Part::Glue(b":"));
                }
                put(Part::New(value));
            }
        }
        put(Part::Glue(if first { b"{}" } else { b"}" }));
    }
}

/// An object with its members, and those of its `_meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// The object.
    pub object: Object,
    /// Its (first) `_meta`, if that is an object.
    pub meta: Option<Object>,
}

impl Scanned {
    /// How many members were found, those of `_meta` included.
    pub fn members(&self) -> usize {
        self.object.members.len() + self.meta.as_ref().map_or(0, |meta| meta.members.len())
    }

    /// Scans an object and its `_meta`; `None` if the text is not an object.
    pub fn scan(raw: &Raw) -> Option<Self> {
        Some(Self::of(Object::scan(raw)?))
    }

    fn of(object: Object) -> Self {
        let meta = object.get("_meta").and_then(|meta| Object::scan(&meta));
        Self { object, meta }
    }

    /// Scans the object at `at` while what holds it is scanned; `None` if there is no object.
    pub(super) fn walk(bytes: &Bytes, at: usize) -> Result<Option<(Self, Walked)>, NotJson> {
        let Some(mut members) = scan::members(bytes, at) else { return Ok(None) };
        let (mut found, mut meta, mut depth) = (Vec::new(), None, 1);
        while let Some(member) = members.step(|_, key, value| {
            if meta.is_none()
                && &bytes[key.clone()] == b"\"_meta\""
                && let Some(mut inner) = scan::members(bytes, value)
            {
                let inside = inner.by_ref().collect::<Result<Vec<_>, _>>()?;
                depth = depth.max(1 + inner.depth());
                meta = Some(Object::scanned(bytes.slice(value..inner.end()), inside, value));
                return Ok(inner.end());
            }
            let walked = scan::walk(bytes, value)?;
            depth = depth.max(1 + walked.depth);
            Ok(walked.end)
        })? {
            found.push(member);
        }
        let end = members.end();
        let object = Object::scanned(bytes.slice(at..end), found, at);
        // Another one may stand before it, written with escapes.
        let is_first = |meta: &Object| object.value("_meta").is_some_and(|first| first.as_ptr() == meta.raw.as_ptr());
        let scanned = match meta.filter(is_first) {
            Some(meta) => Self { object, meta: Some(meta) },
            None => Self::of(object),
        };
        Ok(Some((scanned, Walked { end, depth })))
    }
}

/// What an edited object is made of.
enum Part<'a, T> {
    /// Brackets, commas, colons and new keys.
    Glue(&'a [u8]),
    /// A range of the old text.
    Kept(Range<usize>),
    /// A new value.
    New(T),
}

/// A text that is put together from slices and small copies.
#[derive(Debug, Default)]
pub struct Pieces {
    out: Vec<Raw>,
    small: BytesMut,
}

/// Shorter parts are copied: a slice costs more than so many bytes.
const PIECE_BYTES_MIN: usize = 512;

impl Pieces {
    /// Appends a copy.
    pub fn glue(&mut self, bytes: &[u8]) {
        self.small.put_slice(bytes);
    }

    /// Appends a slice, or a copy of a short one.
    pub fn put(&mut self, part: &Raw) {
        if part.len() < PIECE_BYTES_MIN {
            self.small.put_slice(part);
            return;
        }
        if !self.small.is_empty() {
            self.out.push(self.small.split().freeze());
        }
        self.out.push(part.clone());
    }

    /// What was appended, in order.
    pub fn finish(mut self) -> Vec<Raw> {
        if !self.small.is_empty() {
            self.out.push(self.small.freeze());
        }
        self.out
    }
}

/// The values as one array.
pub fn array(items: &[Raw]) -> Raw {
    Bytes::from([&b"["[..], &items.join(&b","[..]), b"]"].concat())
}

/// `params` with `_meta.progressToken` set to `token`, or removed. Everything else, also inside `_meta`, stays.
pub fn with_progress_token(params: &Raw, token: Option<&[u8]>) -> Raw {
    let Some(object) = Object::scan(params) else { return params.clone() };
    let meta = object.get("_meta").and_then(|meta| Object::scan(&meta));
    let Some(meta) = meta else {
        return match token {
            None => params.clone(),
            Some(token) => object.edit(&[("_meta", Some(&[b"{\"progressToken\":", token, b"}"].concat()))]),
        };
    };
    object.edit(&[("_meta", Some(&meta.edit(&[("progressToken", token)])))])
}

/// The raw `_meta.progressToken` of `params`: a string or a number, as the client wrote it.
pub fn progress_token(params: &Raw) -> Option<Raw> {
    progress_token_range(params).map(|range| params.slice(range))
}

/// Where that token stands in `params`.
pub fn progress_token_range(params: &Raw) -> Option<Range<usize>> {
    // Most calls carry no token: one search is cheaper than a scan of the members.
    if !scan::may_hold(params, "_meta") {
        return None;
    }
    let find = |from: usize, key: &str| {
        let start = scan::skip_space(params, from);
        let mut members = scan::members(params, start)?.map_while(Result::ok);
        members.find(|member| scan::key_is(&params[member.key.clone()], key)).map(|member| member.value)
    };
    let token = find(find(0, "_meta")?.start, "progressToken")?;
    matches!(params.get(token.start), Some(b'"' | b'-' | b'0'..=b'9')).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(text: &str) -> Raw {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn edits_keep_everything_else() {
        let object = Object::scan(&raw(r#"{ "a" : 1 , "b":2,"n\u0061me":"x", "z":[ ]  }"#)).expect("object");
        assert_eq!(object.edit(&[("name", Some(b"\"y\""))]), r#"{"a" : 1 , "b":2,"n\u0061me":"y","z":[ ]}"#);
        assert_eq!(object.edit(&[("a", None), ("z", None)]), r#"{"b":2,"n\u0061me":"x"}"#);
        assert_eq!(object.edit(&[("new", Some(b"3"))]), r#"{"a" : 1 , "b":2,"n\u0061me":"x", "z":[ ],"new":3}"#);
        assert_eq!(Object::scan(&raw("{}")).expect("object").edit(&[("k", Some(b"1"))]), r#"{"k":1}"#);
        assert_eq!(Object::scan(&raw(r#"{"k":1}"#)).expect("object").edit(&[("k", None)]), "{}");
    }

    #[test]
    fn duplicates_are_seen_through_escapes() {
        let object = Object::scan(&raw(r#"{"name":1,"n\u0061me":2}"#)).expect("object");
        assert_eq!(object.get_once("name"), Err(Duplicate));
        let duplicates = |text: &str| Object::scan(&raw(text)).expect("object").has_duplicates();
        assert!(object.has_duplicates() && duplicates(r#"{"a":1,"b":2,"a":3}"#));
        assert!(!duplicates("{}") && !duplicates(r#"{"a":{"a":1},"b":"a","n\u0061":3}"#));
        let many = |last: usize| (0..99).chain([last]).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(",");
        assert!(duplicates(&format!("{{{}}}", many(50))) && !duplicates(&format!("{{{}}}", many(100))));
        assert_eq!(object.get_once("other"), Ok(None));
    }

    #[test]
    fn what_was_found_on_the_way_is_what_a_scan_finds() {
        for text in [
            "{}",
            r#"{ "a" : [1,{"b":2}] , "_meta":{"x":1, "y":{"_meta":{}}},"c":"_meta" }"#,
            r#"{"_meta":7,"a":1}"#,
            r#"{"\u005fmeta":{"x":1},"_meta":{"y":2}}"#,
            r#"{"_meta":{"x":1},"_meta":{"y":2}}"#,
            r#"{"_meta":null,"_meta":{"y":2}}"#,
            r#"{"a":{"_meta":{"x":1}}}"#,
        ] {
            let whole = raw(&format!("[{text}]"));
            let (found, walked) = Scanned::walk(&whole, 1).expect("valid").expect("an object");
            assert_eq!((Some(&found), walked.end), (Scanned::scan(&raw(text)).as_ref(), whole.len() - 1), "{text}");
            assert_eq!(Ok(walked), scan::walk(&whole, 1), "{text}");
            assert!(found.object.is_of(&whole.slice(1..walked.end)) && !found.object.is_of(&raw(text)));
        }
        assert_eq!(Scanned::walk(&raw("[]"), 0), Ok(None));
        for broken in [r#"{"_meta":{"x":}}"#, r#"{"_meta":{"x":1}"#, r#"{"a":1,}"#] {
            assert!(Scanned::walk(&raw(broken), 0).is_err(), "{broken}");
        }
    }

    #[test]
    fn tokens() {
        let params = raw(r#"{"_meta":{"progressToken":"t","vendor":{"x":1}},"name":"echo"}"#);
        assert_eq!(progress_token(&params).expect("token"), r#""t""#);
        assert_eq!(
            with_progress_token(&params, Some(b"7")),
            r#"{"_meta":{"progressToken":7,"vendor":{"x":1}},"name":"echo"}"#
        );
        assert_eq!(with_progress_token(&params, None), r#"{"_meta":{"vendor":{"x":1}},"name":"echo"}"#);
        assert_eq!(progress_token(&raw(r#"{"a":"_meta"}"#)), None);
        assert_eq!(progress_token(&raw(r#"{"_meta":{"progressToken":null}}"#)), None);
        assert_eq!(with_progress_token(&raw("{}"), Some(b"1")), r#"{"_meta":{"progressToken":1}}"#);
    }

    #[test]
    fn pieces_are_slices_of_what_was_not_edited() {
        let long = format!("\"{}\"", "x".repeat(PIECE_BYTES_MIN));
        let text = raw(&format!(r#"{{"a":1,"long":{long},"b":2}}"#));
        let pieces =
            Object::scan(&text).expect("object").pieces(&[("a", None), ("b", Some(raw("3"))), ("c", Some(raw("4")))]);
        assert_eq!(pieces.concat(), format!(r#"{{"long":{long},"b":3,"c":4}}"#).as_bytes());
        assert_eq!((pieces.len(), pieces[1].as_ptr()), (3, text[7..].as_ptr()));
        assert_eq!(Object::scan(&raw(r#"{"a":1}"#)).expect("object").pieces(&[("a", None)]), ["{}"]);
    }

    #[test]
    fn a_key_that_stands_twice_is_set_once_and_removed_twice() {
        let object = Object::scan(&raw(r#"{"a":1,"b":2,"\u0061":3}"#)).expect("object");
        assert_eq!(object.edit(&[("a", Some(b"4"))]), r#"{"a":4,"b":2}"#);
        assert_eq!(object.edit(&[("a", None)]), r#"{"b":2}"#);
    }

    /// As many as a child's schema has properties.
    #[test]
    fn many_edits_at_once() {
        for count in [15, 16, 17, 63, 64, 65, 130, 500] {
            let keys: Vec<String> = (0..count).map(|number| format!("k{number}")).collect();
            let old: Vec<String> = keys.iter().map(|key| format!("\"{key}\":0")).collect();
            // Every third is escaped, and the last ones are new.
            let old = format!("{{{}}}", old[..count - 3].join(",").replace("\"k3", "\"\\u006b3"));
            let value = |number: usize| (number.is_multiple_of(2)).then(|| number.to_string());
            let values: Vec<Option<String>> = (0..count).map(value).collect();
            let edits: Vec<(&str, Option<&[u8]>)> = keys
                .iter()
                .zip(&values)
                .map(|(key, value)| (key.as_str(), value.as_ref().map(String::as_bytes)))
                .collect();
            let edited = Object::scan(&raw(&old)).expect("object").edit(&edits);
            let tree: serde_json::Value = serde_json::from_slice(&edited).expect("valid");
            let wanted: serde_json::Map<_, _> =
                (0..count).step_by(2).map(|number| (format!("k{number}"), number.into())).collect();
            assert_eq!(tree, serde_json::Value::Object(wanted), "{count}");
        }
    }

    proptest! {
        #[test]
        fn edit_agrees_with_a_tree(keys in proptest::collection::btree_map("[a-d]", 0u32..9, 0..4), key in "[a-e]", value in proptest::option::of(0u32..9)) {
            let mut tree = serde_json::to_value(&keys).expect("json");
            let text = raw(&tree.to_string());
            let value_text = value.map(|v| v.to_string());
            let object = Object::scan(&text).expect("object");
            let edited = object.edit(&[(&key, value_text.as_ref().map(String::as_bytes))]);
            prop_assert_eq!(object.pieces(&[(&key, value_text.map(Raw::from))]).concat(), &edited[..]);
            let map = tree.as_object_mut().expect("object");
            match value { Some(v) => { map.insert(key, v.into()); } None => { map.shift_remove(&key); } }
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&edited).expect("valid"), tree);
        }
    }
}

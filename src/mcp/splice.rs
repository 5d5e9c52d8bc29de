//! Reading and replacing a few members of a JSON object without rebuilding it.
//!
//! In: the raw text of an object. Out: slices of it, or a new text made of untouched ranges and replacements. Owns
//! nothing. May not: reorder, reformat or drop what it was not told to.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::Raw;
use super::scan::{self, Member};

/// A shallow view of one object: where its members are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    raw: Bytes,
    members: Vec<Member>,
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

    /// The value of `key` (the first one, if it stands twice). Escaped spellings of the key count.
    pub fn get(&self, key: &str) -> Option<Raw> {
        self.find(key).map(|member| self.raw.slice(member.value.clone()))
    }

    /// The value of `key`; an error if it stands twice.
    pub fn get_once(&self, key: &str) -> Result<Option<Raw>, Duplicate> {
        let mut all = self.members.iter().filter(|member| self.spells(member, key));
        let first = all.next();
        if all.next().is_some() { Err(Duplicate) } else { Ok(first.map(|member| self.raw.slice(member.value.clone()))) }
    }

    /// The string value of `key`.
    pub fn get_str(&self, key: &str) -> Option<String> {
        scan::unquote(&self.get(key)?).map(Cow::into_owned)
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
        let escaped = self.members.iter().any(|member| memchr::memchr(b'\\', key(member)).is_some());
        if self.members.len() <= 16 && !escaped {
            let mut earlier = self.members.iter().enumerate();
            return earlier.any(|(index, member)| self.members[..index].iter().any(|other| key(other) == key(member)));
        }
        let mut seen = HashSet::new();
        !self.members.iter().filter_map(|member| scan::unquote(key(member))).all(|spelled| seen.insert(spelled))
    }

    fn spells(&self, member: &Member, key: &str) -> bool {
        scan::key_is(&self.raw[member.key.clone()], key)
    }

    fn find(&self, key: &str) -> Option<&Member> {
        self.members.iter().find(|member| self.spells(member, key))
    }

    /// The object with `edits` applied. `Some` sets a member (in its old place if it has one, else at the end),
    /// `None` removes it with its comma. Every other byte stays as it was.
    pub fn edit(&self, edits: &[(&str, Option<&[u8]>)]) -> Raw {
        let edit_of = |member: &Member| edits.iter().find(|(key, _)| self.spells(member, key)).map(|(_, value)| *value);
        let extra: usize = edits.iter().map(|(key, value)| key.len() + value.map_or(0, <[u8]>::len) + 4).sum();
        let mut out = BytesMut::with_capacity(self.raw.len() + extra);
        out.put_u8(b'{');
        let mut first = true;
        let mut comma = |out: &mut BytesMut| {
            if !std::mem::take(&mut first) {
                out.put_u8(b',');
            }
        };
        // Untouched neighbours are copied as one range with what stands between them.
        let mut run: Option<Range<usize>> = None;
        for member in &self.members {
            match edit_of(member) {
                None => run = Some(run.map_or(member.key.start, |r| r.start)..member.value.end),
                Some(edit) => {
                    if let Some(range) = run.take() {
                        comma(&mut out);
                        out.put_slice(&self.raw[range]);
                    }
                    if let Some(value) = edit {
                        comma(&mut out);
                        out.put_slice(&self.raw[member.key.clone()]);
                        out.put_u8(b':');
                        out.put_slice(value);
                    }
                }
            }
        }
        if let Some(range) = run {
            comma(&mut out);
            out.put_slice(&self.raw[range]);
        }
        for (key, value) in edits {
            if let (Some(value), None) = (value, self.find(key)) {
                comma(&mut out);
                out.put_slice(&serde_json::to_vec(key).expect("a string serialises"));
                out.put_u8(b':');
                out.put_slice(value);
            }
        }
        out.put_u8(b'}');
        out.freeze()
    }
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

    proptest! {
        #[test]
        fn edit_agrees_with_a_tree(keys in proptest::collection::btree_map("[a-d]", 0u32..9, 0..4), key in "[a-e]", value in proptest::option::of(0u32..9)) {
            let mut tree = serde_json::to_value(&keys).expect("json");
            let text = raw(&tree.to_string());
            let value_text = value.map(|v| v.to_string());
            let edited = Object::scan(&text).expect("object").edit(&[(&key, value_text.as_ref().map(String::as_bytes))]);
            let map = tree.as_object_mut().expect("object");
            match value { Some(v) => { map.insert(key, v.into()); } None => { map.shift_remove(&key); } }
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&edited).expect("valid"), tree);
        }
    }
}

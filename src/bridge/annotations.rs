//! Which arguments of a tool are mirrored into headers, as its `inputSchema` says it (SEP-2243; PROTOCOL 2.2.6).
//!
//! In: a raw schema. Out: its valid annotations, what is wrong with the others, and the schema without those. Owns
//! nothing. May not: look at a byte of a schema more often than a few times, or keep more of it than there is, whatever
//! it says.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;

use crate::limits::MIRRORED_PER_TOOL_MAX;
use crate::mcp::Raw;
use crate::mcp::scan::{self, NotJson, may_hold};

/// The annotation that mirrors an argument into a header (SEP-2243).
pub(super) const ANNOTATION: &str = "x-mcp-header";
/// The same as a key in JSON.
const ANNOTATION_KEY: &str = "\"x-mcp-header\"";
/// Schemas nested deeper than this lose what is below: no client reads them, and no stack has to.
const DEPTH_MAX: usize = 64;
/// Bytes of all paths of one schema: paths share their beginnings, so they can be far longer than it.
const PATHS_BYTES_MAX: usize = 16 << 10;
/// Complaints about one schema that are kept in words.
const COMPLAINTS_KEPT: usize = 4;
/// Characters of a path in a complaint.
const PATH_TOLD: usize = 100;

/// What an annotated argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `string`
    Text,
    /// `integer`
    Integer,
    /// `boolean`
    Boolean,
}

/// A valid annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Annotation {
    /// Where the argument is: names of nested properties.
    pub(super) path: Vec<String>,
    /// The header's name behind `Mcp-Param-`.
    pub(super) name: String,
    /// What the argument is.
    pub(super) kind: Kind,
}

/// What the annotations of one schema are.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    /// The valid ones, in the schema's order.
    pub(super) valid: Vec<Annotation>,
    /// How many others there are.
    pub(super) invalid: usize,
    /// Why they are not valid, of the first few.
    pub(super) complaints: Vec<String>,
    /// What is to be taken out of the schema, and what comes in its place.
    cuts: Vec<(Range<usize>, &'static [u8])>,
    /// Bytes of keys and of values without schemas that were looked at.
    #[cfg(test)]
    pub(super) work: usize,
}

/// Reads the annotations of an `inputSchema`.
pub(super) fn annotations(schema: &Raw) -> Annotations {
    if !may_hold(schema, ANNOTATION_KEY) {
        return Annotations::default();
    }
    let mut walk = Walk::new(schema);
    match walk.schema(scan::skip_space(schema, 0), Place { property: None, reachable: true }, 0) {
        Ok(_end) => walk.judged(),
        Err(_not_json) => Annotations::default(),
    }
}

impl Annotations {
    /// The schema without what is not valid; `None` if all is.
    pub(super) fn repaired(&self, schema: &Raw) -> Option<Raw> {
        if self.cuts.is_empty() {
            return None;
        }
        let mut repaired = Vec::with_capacity(schema.len());
        let mut done = 0;
        for (cut, with) in &self.cuts {
            repaired.extend_from_slice(&schema[done..cut.start]);
            repaired.extend_from_slice(with);
            done = cut.end;
        }
        repaired.extend_from_slice(&schema[done..]);
        Some(Bytes::from(repaired))
    }

    fn complain(&mut self, walk: &Walk<'_>, property: Option<usize>, why: &str) {
        self.invalid += 1;
        if self.complaints.len() < COMPLAINTS_KEPT {
            let path: String = walk.path(property).join(".").chars().take(PATH_TOLD).collect();
            self.complaints.push(format!("{ANNOTATION} at `{path}`: {why}"));
        }
    }
}

/// Where a schema stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The innermost property around it, in [`Walk::properties`].
    property: Option<usize>,
    /// Only the `properties` of schemas lead to it.
    reachable: bool,
}

/// An annotation as it was found.
struct Mark {
    place: Place,
    value: Range<usize>,
    kind: Option<Kind>,
}

/// A schema with annotations: where its members stand, and which of them are [`Walk::marks`].
struct Annotated {
    members: Vec<Range<usize>>,
    marks: Vec<(usize, usize)>,
}

/// One pass over a schema.
struct Walk<'a> {
    bytes: &'a [u8],
    /// Each property: the one around it, and its key with the quotes.
    properties: Vec<(Option<usize>, Range<usize>)>,
    marks: Vec<Mark>,
    annotated: Vec<Annotated>,
    /// Schemas that are nested too deep.
    deep: Vec<(Range<usize>, Place)>,
    #[cfg(test)]
    work: usize,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            properties: Vec::new(),
            marks: Vec::new(),
            annotated: Vec::new(),
            deep: Vec::new(),
            #[cfg(test)]
            work: 0,
        }
    }

    /// Reads what may be a schema, or a list of them. Its end.
    fn schema(&mut self, at: usize, place: Place, depth: usize) -> Result<usize, NotJson> {
        match self.bytes.get(at) {
            Some(b'{' | b'[') if depth == DEPTH_MAX => {
                let end = self.skip(at)?;
                if may_hold(&self.bytes[at..end], ANNOTATION_KEY) {
                    self.deep.push((at..end, place));
                }
                Ok(end)
            }
            Some(b'{') => self.object(at, place, depth),
            Some(b'[') => self.list(at, place, depth),
            _ => self.skip(at),
        }
    }

    fn object(&mut self, at: usize, place: Place, depth: usize) -> Result<usize, NotJson> {
        let Some(mut members) = scan::members(self.bytes, at) else { return self.skip(at) };
        let hidden = Place { reachable: false, ..place };
        let (mut spans, mut marks, mut kind) = (Vec::new(), Vec::new(), None);
        loop {
            let index = spans.len();
            let member = members.step(|bytes, key, start| {
                self.look(key.len());
                match &*name(&bytes[key.clone()]) {
                    ANNOTATION => {
                        let end = self.skip(start)?;
                        marks.push((index, self.marks.len()));
                        self.marks.push(Mark { place, value: start..end, kind: None });
                        Ok(end)
                    }
                    "properties" => self.by_name(start, place, depth),
                    "patternProperties" | "dependentSchemas" | "$defs" | "definitions" => {
                        self.by_name(start, hidden, depth)
                    }
                    // Values, not schemas.
                    "default" | "const" | "enum" | "examples" => self.skip(start),
                    "type" if kind.is_none() => {
                        let end = self.schema(start, hidden, depth + 1)?;
                        kind = Some(kind_of(&bytes[start..end]));
                        Ok(end)
                    }
                    _ => self.schema(start, hidden, depth + 1),
                }
            })?;
            let Some(member) = member else { break };
            spans.push(member.key.start..member.value.end);
        }
        if !marks.is_empty() {
            marks.iter().for_each(|(_, mark)| self.marks[*mark].kind = kind.flatten());
            self.annotated.push(Annotated { members: spans, marks });
        }
        Ok(members.end())
    }

    fn list(&mut self, at: usize, place: Place, depth: usize) -> Result<usize, NotJson> {
        let hidden = Place { reachable: false, ..place };
        let mut at = scan::skip_space(self.bytes, at + 1);
        while !matches!(self.bytes.get(at), None | Some(b']')) {
            self.look(1);
            at = scan::skip_space(self.bytes, self.schema(at, hidden, depth + 1)?);
            if self.bytes.get(at) == Some(&b',') {
                at = scan::skip_space(self.bytes, at + 1);
            }
        }
        Ok(at + 1)
    }

    /// An object whose keys are names, and whose values are schemas.
    fn by_name(&mut self, at: usize, place: Place, depth: usize) -> Result<usize, NotJson> {
        let Some(mut members) = scan::members(self.bytes, at) else { return self.skip(at) };
        loop {
            let member = members.step(|_, key, start| {
                self.look(key.len());
                self.properties.push((place.property, key.clone()));
                let property = Some(self.properties.len() - 1);
                self.schema(start, Place { property, ..place }, depth + 1)
            })?;
            if member.is_none() {
                return Ok(members.end());
            }
        }
    }

    /// Passes over a value without schemas.
    fn skip(&mut self, at: usize) -> Result<usize, NotJson> {
        let end = scan::value_end(self.bytes, at)?;
        self.look(end - at);
        Ok(end)
    }

    #[cfg(test)]
    fn look(&mut self, bytes: usize) {
        self.work += bytes;
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "only a test counts")]
    fn look(&mut self, _bytes: usize) {}

    // === what was found ===

    fn judged(self) -> Annotations {
        let mut found = Annotations::default();
        #[cfg(test)]
        {
            found.work = self.work;
        }
        let mut room = PATHS_BYTES_MAX;
        let mut names = HashSet::new();
        let mut is_valid = vec![false; self.marks.len()];
        for (mark, is_valid) in self.marks.iter().zip(&mut is_valid) {
            let judged = if found.valid.len() == MIRRORED_PER_TOOL_MAX {
                Err("more headers than a request can have")
            } else {
                self.judge(mark, &mut room, &mut names)
            };
            match judged {
                Ok(annotation) => {
                    found.valid.push(annotation);
                    *is_valid = true;
                }
                Err(why) => found.complain(&self, mark.place.property, why),
            }
        }
        for (schema, place) in &self.deep {
            found.complain(&self, place.property, "nested too deep");
            found.cuts.push((schema.clone(), b"{}"));
        }
        for annotated in &self.annotated {
            annotated.cuts(&is_valid, &mut found.cuts);
        }
        found.cuts.sort_by_key(|(cut, _)| cut.start);
        found
    }

    fn judge(&self, mark: &Mark, room: &mut usize, names: &mut HashSet<String>) -> Result<Annotation, &'static str> {
        if !mark.place.reachable || mark.place.property.is_none() {
            return Err("not on a property that only `properties` lead to");
        }
        let name = scan::unquote(&self.bytes[mark.value.clone()]);
        let name = name.filter(|name| is_token(name)).ok_or("not the name of a header")?;
        let kind = mark.kind.ok_or("not on a string, an integer or a boolean")?;
        let length: usize = self.way(mark.place.property).map(Range::len).sum();
        *room = room.checked_sub(length).ok_or("too long a way to it")?;
        if !names.insert(name.to_ascii_lowercase()) {
            return Err("the same header twice");
        }
        Ok(Annotation { path: self.path(mark.place.property), name: name.into_owned(), kind })
    }

    /// The keys that lead to a property, the innermost first.
    fn way(&self, property: Option<usize>) -> impl Iterator<Item = &Range<usize>> {
        let steps = std::iter::successors(property, |property| self.properties[*property].0);
        steps.map(|property| &self.properties[property].1)
    }

    fn path(&self, property: Option<usize>) -> Vec<String> {
        let mut path: Vec<String> = self.way(property).map(|key| name(&self.bytes[key.clone()]).into_owned()).collect();
        path.reverse();
        path
    }
}

impl Annotated {
    /// What takes the members that are not valid out of their object, each with one comma.
    fn cuts(&self, is_valid: &[bool], cuts: &mut Vec<(Range<usize>, &'static [u8])>) {
        let goes: Vec<usize> =
            self.marks.iter().filter(|(_, mark)| !is_valid[*mark]).map(|(member, _)| *member).collect();
        // As many as go before any stays have their comma behind them.
        let first = goes.iter().enumerate().take_while(|(index, member)| index == *member).count();
        for member in &goes {
            let own = &self.members[*member];
            let cut = match (*member < first, self.members.get(member + 1)) {
                (true, Some(next)) => own.start..next.start,
                (true, None) => own.clone(),
                (false, _) => self.members[member - 1].end..own.end,
            };
            cuts.push((cut, b""));
        }
    }
}

/// What a key with its quotes spells.
fn name(key: &[u8]) -> Cow<'_, str> {
    scan::unquote(key).unwrap_or_default()
}

fn kind_of(value: &[u8]) -> Option<Kind> {
    match scan::unquote(value).as_deref() {
        Some("string") => Some(Kind::Text),
        Some("integer") => Some(Kind::Integer),
        Some("boolean") => Some(Kind::Boolean),
        _ => None,
    }
}

/// RFC 9110 section 5.6.2
fn is_token(name: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_tchar)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Bytes::copy_from_slice(text.as_bytes())
    }

    /// The schema without its invalid annotations, and the paths of the valid ones.
    fn judged(properties: &str) -> (String, Vec<String>) {
        let schema = raw(&format!(r#"{{"properties":{properties}}}"#));
        let found = annotations(&schema);
        let repaired = found.repaired(&schema);
        assert_eq!(repaired.is_some(), found.invalid > 0, "{:?}", found.complaints);
        let repaired = repaired.map_or_else(|| "same".into(), |raw| String::from_utf8(raw.to_vec()).expect("text"));
        (repaired, found.valid.iter().map(|one| format!("{}={}", one.path.join("."), one.name)).collect())
    }

    #[test]
    fn valid_annotations() {
        let (repaired, valid) = judged(
            r#"{"a":{"type":"string","x-mcp-header":"A"},"o":{"type":"object","properties":{"b":{"type":"integer","x-mcp-header":"x-b!"}}},"c":{"x-mcp-header":"C","type":"boolean"}}"#,
        );
        assert_eq!(repaired, "same");
        assert_eq!(valid, ["a=A", "o.b=x-b!", "c=C"]);
        // A property of that name, and a value that looks like one, are no annotations.
        let (repaired, valid) = judged(r#"{"x-mcp-header":{"type":"string"},"d":{"default":{"x-mcp-header":1}}}"#);
        assert_eq!((repaired.as_str(), valid.len()), ("same", 0));
    }

    #[test]
    fn invalid_annotations_are_taken_out() {
        for bad in [
            r#"{"a":{"type":"string"@"x-mcp-header":""}}"#,
            r#"{"a":{"type":"string"@"x-mcp-header":"a b"}}"#,
            r#"{"a":{"type":"string"@"x-mcp-header":"a\r\nB: c"}}"#,
            r#"{"a":{"type":"string"@"x-mcp-header":"ä"}}"#,
            r#"{"a":{"type":"string"@"x-mcp-header":1}}"#,
            r#"{"a":{"type":"number"@"x-mcp-header":"A"}}"#,
            r#"{"a":{"type":"object"@"x-mcp-header":"A"}}"#,
            r#"{"a":{"type":["string","null"]@"x-mcp-header":"A"}}"#,
            r#"{"a":{"items":{"type":"string"@"x-mcp-header":"A"}}}"#,
            r#"{"a":{"anyOf":[{},{"type":"string"@"x-mcp-header":"A"}]}}"#,
            r#"{"a":{"not":{"properties":{"b":{"type":"string"@"x-mcp-header":"A"}}}}}"#,
            r#"{"a":{"$defs":{"b":{"type":"string"@"x-\u006dcp-header":"A"}}}}"#,
        ] {
            let with = bad.replace('@', ",");
            let without = format!(r#"{{"properties":{}}}"#, &bad[..bad.find('@').expect("mark")]);
            let (repaired, valid) = judged(&with);
            assert!(repaired.starts_with(&without) && !repaired.contains("-header"), "{with} -> {repaired}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&repaired).map(|_| ()).ok(), Some(()));
            assert_eq!(valid, Vec::<String>::new());
        }
    }

    #[test]
    fn the_same_header_twice_and_one_at_the_root() {
        let (repaired, valid) =
            judged(r#"{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}"#);
        assert_eq!(repaired, r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string"}}}"#);
        assert_eq!(valid, ["a=A"]);
        let root = raw(r#"{"type":"string","x-mcp-header":"A"}"#);
        assert_eq!(annotations(&root).repaired(&root).expect("changed"), r#"{"type":"string"}"#);
    }

    #[test]
    fn a_deep_schema_costs_no_stack() {
        let depth = 20_000;
        let deep = format!("{}{{\"x-mcp-header\":1}}{}", "{\"not\":".repeat(depth), "}".repeat(depth));
        let deep = raw(&deep);
        let repaired = annotations(&deep).repaired(&deep).expect("cut");
        assert!(!may_hold(&repaired, ANNOTATION) && repaired.len() < 1000);
    }

    #[test]
    fn all_that_is_not_valid_in_one_schema_goes() {
        for (schema, expected) in [
            (r#"{"x-mcp-header":1,"x-mcp-header":2}"#, "{}"),
            (r#"{ "x-mcp-header":1 , "x-mcp-header":2 , "a":3 }"#, r#"{ "a":3 }"#),
            (r#"{"a":3 , "x-mcp-header":1, "x-mcp-header":2}"#, r#"{"a":3}"#),
            (r#"{"x-mcp-header":1,"a":3,"x-mcp-header":2,"b":4}"#, r#"{"a":3,"b":4}"#),
        ] {
            let schema = raw(schema);
            assert_eq!(annotations(&schema).repaired(&schema).expect("changed"), expected);
        }
    }

    /// Schemas that are made to be read, repaired or complained of as often as they are deep or wide.
    fn hostile() -> Vec<String> {
        let bad = r#""a":{"x-mcp-header":"A"}"#;
        let nested = |around: &str, times: usize| around.repeat(times);
        let wide = format!(
            "{{{}}}",
            (0..2000)
                .map(|n| format!(r#""p{n}":{{"type":"integer","x-mcp-header":"H{n}"}}"#))
                .collect::<Vec<_>>()
                .join(",")
        );
        let (long, longer) = ("n".repeat(500), "n".repeat(50_000));
        vec![
            // Deep, with something invalid and something escaped on every level.
            format!("{}1{}", nested(&format!(r#"{{"\u0064":1,{bad},"not":"#), 63), "}".repeat(63)),
            format!("{}{{}}{}", nested(&format!(r#"{{"properties":{{{bad},"b":"#), 60), "}}".repeat(60)),
            // Many headers below one long name; many complaints about it.
            format!(r#"{{"properties":{{"{long}":{{"properties":{wide}}}}}}}"#),
            format!(r#"{{"properties":{{"{longer}":{{"properties":{wide}}}}}}}"#),
            format!(r#"{{"properties":{{"{longer}":{{"items":{{"properties":{wide}}}}}}}}}"#),
            // A list within lists; what is not looked into.
            format!("{}{{{bad}}}{}", "[".repeat(30_000), "]".repeat(30_000)),
            format!(r#"{{"enum":[{{{bad}}}],"default":{wide},{bad}}}"#),
        ]
    }

    #[test]
    fn a_hostile_schema_is_read_once_and_little_of_it_kept() {
        for text in hostile() {
            let schema = raw(&text);
            let found = annotations(&schema);
            let told = &text[..text.len().min(60)];
            assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() || text.contains("[[["), "{told}");
            assert!(found.work > 0 && found.work <= text.len(), "{} bytes of {}: {told}", found.work, text.len());
            assert!(found.invalid > 0 && found.complaints.len() <= COMPLAINTS_KEPT, "{told}");
            assert!(found.complaints.iter().all(|complaint| complaint.len() < 300), "{told}");
            let kept: usize = found.valid.iter().flat_map(|one| &one.path).map(String::len).sum();
            assert!(kept <= PATHS_BYTES_MAX && found.valid.len() <= MIRRORED_PER_TOOL_MAX, "{told}");
            let repaired = found.repaired(&schema).expect("changed");
            assert_eq!(annotations(&repaired).invalid, 0, "{told}");
            assert_eq!(annotations(&repaired).valid, found.valid, "{told}");
        }
    }
}

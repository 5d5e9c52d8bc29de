//! Headers that mirror what a modern request says in its body (SEP-2243; PROTOCOL 2.2.6, 2.2.7).
//!
//! In: header values, the tools of a server, a call's arguments. Out: the decoded value, or where header and body
//! disagree. Owns the compiled table of one tools list. May not: know how HTTP keeps its headers.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::mcp::scan::unquote;
use crate::mcp::splice::{Duplicate, Object};
use crate::mcp::{ErrorObject, Raw};

use super::annotations::{Annotation, Kind, annotations};

/// Why a header's value says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// A byte that a header may not have.
    #[error("a character that a header cannot hold")]
    Character,
    /// Between `=?base64?` and `?=` stands something else.
    #[error("not valid Base64")]
    Base64,
    /// What was encoded is no text.
    #[error("not valid UTF-8")]
    Utf8,
}

/// What a header's value says: itself, or what `=?base64?…?=` encodes. Spaces around it are not part of it.
pub fn decode_header_value(value: &[u8]) -> Result<String, Bad> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    let value = &value[start..end];
    if !value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return Err(Bad::Character);
    }
    let inner = value.strip_prefix(b"=?base64?").and_then(|rest| rest.strip_suffix(b"?="));
    let bytes = match inner {
        Some(inner) => STANDARD.decode(inner).map_err(|_not_base64| Bad::Base64)?,
        None => value.to_vec(),
    };
    String::from_utf8(bytes).map_err(|_not_text| Bad::Utf8)
}

/// The same the other way round: a header's value that says `text`.
pub fn encode_header_value(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    let is_trimmed = !text.starts_with([' ', '\t']) && !text.ends_with([' ', '\t']);
    let looks_encoded = text.starts_with("=?base64?") && text.ends_with("?=");
    if is_plain && is_trimmed && !looks_encoded {
        return text.to_owned();
    }
    format!("=?base64?{}?=", STANDARD.encode(text))
}

/// A header that does not say what the body says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The body has a value, and no header mirrors it.
    #[error("{header} is missing")]
    Missing {
        /// The header's name.
        header: String,
    },
    /// The header cannot be read.
    #[error("{header}: {why}")]
    Unreadable {
        /// The header's name.
        header: String,
        /// What is wrong with it.
        why: Bad,
    },
    /// The argument stands twice: which one the server reads, hub cannot know.
    #[error("the argument `{argument}`, which {header} mirrors, stands twice")]
    Twice {
        /// The header's name.
        header: String,
        /// The argument that it mirrors: names of properties, joined by dots.
        argument: String,
    },
    /// The two differ.
    #[error("{header} differs from the argument `{argument}`")]
    Differs {
        /// The header's name.
        header: String,
        /// The argument that it mirrors: names of properties, joined by dots.
        argument: String,
    },
}

impl From<Mismatch> for ErrorObject {
    fn from(mismatch: Mismatch) -> Self {
        Self::header_mismatch(mismatch.to_string())
    }
}

/// Complaints about one list of tools that are kept in words.
const COMPLAINTS_KEPT: usize = 3;

/// Which arguments of which tools are mirrored into `Mcp-Param-*` headers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeaderTable {
    tools: HashMap<String, Vec<Annotation>>,
    invalid: usize,
    complaints: Vec<String>,
}

impl HeaderTable {
    /// Reads the items of a `tools/list`.
    pub fn compile(tools: &[Raw]) -> Self {
        let mut table = Self::default();
        for tool in tools {
            let Some(tool) = Object::scan(tool) else { continue };
            let (Some(name), Some(schema)) = (tool.get_str("name"), tool.get("inputSchema")) else { continue };
            let found = annotations(&schema);
            table.invalid += found.invalid;
            let room = COMPLAINTS_KEPT.saturating_sub(table.complaints.len());
            let told = found.complaints.iter().take(room).map(|complaint| format!("tool `{name}`: {complaint}"));
            table.complaints.extend(told);
            if !found.valid.is_empty() {
                table.tools.insert(name, found.valid);
            }
        }
        table
    }

    /// How many annotations are not valid and so not in the table: worth a warning once per list.
    pub fn invalid(&self) -> usize {
        self.invalid
    }

    /// What is wrong with the first few of them, in words.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Whether no tool mirrors anything.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// The headers that a call needs, as names and encoded values. What stands twice is mirrored by nothing, and refused.
    pub fn mirror(&self, tool: &str, arguments: Option<&Raw>) -> Vec<(String, String)> {
        let (Some(annotations), Some(arguments)) = (self.tools.get(tool), arguments) else { return Vec::new() };
        let header = |annotation: &Annotation| {
            let value = at_path(arguments, &annotation.path).ok()??;
            Some((format!("Mcp-Param-{}", annotation.name), said(annotation.kind, &value)?))
        };
        annotations.iter().filter_map(header).collect()
    }

    /// Holds the headers of a call against its `arguments`. `lookup` gives the raw value of a header by its name, whose
    /// case does not count. An argument that is absent or null has no header, and one that it has is not looked at.
    pub fn check<'h>(
        &self,
        tool: &str,
        arguments: Option<&Raw>,
        lookup: impl Fn(&str) -> Option<&'h [u8]>,
    ) -> Result<(), Mismatch> {
        let Some(annotations) = self.tools.get(tool) else { return Ok(()) };
        for annotation in annotations {
            let header = || format!("Mcp-Param-{}", annotation.name);
            let argument = || annotation.path.join(".");
            let Some(arguments) = arguments else { continue };
            let value = at_path(arguments, &annotation.path)
                .map_err(|_twice| Mismatch::Twice { header: header(), argument: argument() })?;
            let Some(value) = value else { continue };
            let Some(raw) = lookup(&header()) else { return Err(Mismatch::Missing { header: header() }) };
            let said = decode_header_value(raw).map_err(|why| Mismatch::Unreadable { header: header(), why })?;
            if !agrees(annotation.kind, &value, &said) {
                return Err(Mismatch::Differs { header: header(), argument: argument() });
            }
        }
        Ok(())
    }
}

/// A value as a header says it; `None` for a text that is none.
fn said(kind: Kind, value: &Raw) -> Option<String> {
    const SAFE: f64 = 9_007_199_254_740_991.0;
    if value.first() == Some(&b'"') {
        return unquote(value).map(|text| encode_header_value(&text));
    }
    let text = std::str::from_utf8(value).ok()?;
    // Headers have no exponents.
    let number = text.parse::<f64>().ok().filter(|number| {
        kind == Kind::Integer && text.contains(['e', 'E']) && number.abs() <= SAFE && number.fract() == 0.0
    });
    Some(number.map_or_else(|| text.to_owned(), |number| format!("{number:.0}")))
}

/// The primitive value at a path; `None` for what no header can mirror (null; and an object or a list, which the schema
/// forbids, so that the server itself will refuse the call). Of two members of one name, parsers take either.
fn at_path(arguments: &Raw, path: &[String]) -> Result<Option<Raw>, Duplicate> {
    let mut value = arguments.clone();
    for name in path {
        let Some(object) = Object::scan(&value) else { return Ok(None) };
        let Some(member) = object.get_once(name)? else { return Ok(None) };
        value = member;
    }
    Ok((!matches!(value.first(), Some(b'n' | b'{' | b'['))).then_some(value))
}

/// Does the header's text say the argument's value? Whole numbers count as numbers: `42` is `42.0`.
fn agrees(kind: Kind, value: &Raw, said: &str) -> bool {
    let text = std::str::from_utf8(value).unwrap_or_default();
    match value.first() {
        Some(b'"') => unquote(value).is_some_and(|value| value == said),
        Some(b't' | b'f') => text == said,
        _ if kind == Kind::Integer => {
            let digits = said.strip_prefix('-').unwrap_or(said);
            let is_decimal = digits.starts_with(|c: char| c.is_ascii_digit())
                && digits.ends_with(|c: char| c.is_ascii_digit())
                && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
            is_decimal && same_number(text, said)
        }
        _ => text == said,
    }
}

/// Equal as numbers. Beyond the integers that a double holds exactly, equal as text.
fn same_number(one: &str, other: &str) -> bool {
    const SAFE: f64 = 9_007_199_254_740_991.0;
    match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(a), Ok(b)) if a.abs() <= SAFE && b.abs() <= SAFE => (a - b).abs() < f64::EPSILON,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn raw(text: &str) -> Raw {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn values_are_decoded() {
        for (value, said) in [
            ("us-west1", Ok("us-west1")),
            ("  a b\t", Ok("a b")),
            ("", Ok("")),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", Ok("Hello, 世界")),
            ("=?base64?IHBhZGRlZCA=?=", Ok(" padded ")),
            ("=?base64?bGluZTEKbGluZTI=?=", Ok("line1\nline2")),
            ("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", Ok("=?base64?literal?=")),
            ("=?base64??=", Ok("")),
            ("=?BASE64?YQ==?=", Ok("=?BASE64?YQ==?=")),
            ("=?base64?YQ==", Ok("=?base64?YQ==")),
            ("=?base64?", Ok("=?base64?")),
            ("=?base64?YQ?=", Err(Bad::Base64)),
            ("=?base64?Y Q==?=", Err(Bad::Base64)),
            ("=?base64?!!!!?=", Err(Bad::Base64)),
            ("=?base64?/w==?=", Err(Bad::Utf8)),
            ("ä", Err(Bad::Character)),
            ("a\u{1}b", Err(Bad::Character)),
            ("a\u{7f}", Err(Bad::Character)),
        ] {
            assert_eq!(decode_header_value(value.as_bytes()), said.map(str::to_owned), "{value:?}");
        }
    }

    fn table() -> HeaderTable {
        HeaderTable::compile(&[
            raw(r#"{"name":"sql","inputSchema":{"type":"object","properties":{
                "region":{"type":"string","x-mcp-header":"Region"},
                "deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},
                "dry":{"type":"boolean","x-mcp-header":"Dry"},
                "bad":{"type":"number","x-mcp-header":"Bad"}}}}"#),
            raw(r#"{"name":"plain","inputSchema":{"type":"object"}}"#),
            raw("7"),
        ])
    }

    fn check(arguments: &str, headers: &[(&str, &str)]) -> Result<(), String> {
        let lookup = |name: &str| {
            headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_bytes())
        };
        table().check("sql", Some(&raw(arguments)), lookup).map_err(|mismatch| mismatch.to_string())
    }

    #[test]
    fn headers_are_held_against_arguments() {
        let wrong = |text: &str| Err(text.to_owned());
        assert_eq!(check(r#"{"region":"us"}"#, &[("mcp-param-region", "us")]), Ok(()));
        assert_eq!(check(r#"{"r\u0065gion":"\u0075s"}"#, &[("Mcp-Param-Region", "us")]), Ok(()));
        assert_eq!(check(r#"{"region":"ü"}"#, &[("Mcp-Param-Region", "=?base64?w7w=?=")]), Ok(()));
        assert_eq!(check(r#"{"region":"us"}"#, &[]), wrong("Mcp-Param-Region is missing"));
        let differs = wrong("Mcp-Param-Region differs from the argument `region`");
        assert_eq!(check(r#"{"region":"us"}"#, &[("Mcp-Param-Region", "US")]), differs);
        assert_eq!(
            check(r#"{"region":"us"}"#, &[("Mcp-Param-Region", "=?base64?x?=")]),
            wrong("Mcp-Param-Region: not valid Base64")
        );
        assert_eq!(check(r#"{"region":null}"#, &[("Mcp-Param-Region", "us")]), Ok(()));
        assert_eq!(check("{}", &[("Mcp-Param-Other", "x")]), Ok(()));
        assert_eq!(check(r#"{"bad":1.5}"#, &[]), Ok(()));
        assert_eq!(check(r#"{"region":["us"]}"#, &[]), Ok(()));
    }

    #[test]
    fn an_argument_that_stands_twice_is_mirrored_by_nothing() {
        let region = "the argument `region`, which Mcp-Param-Region mirrors, stands twice";
        let us = [("Mcp-Param-Region", "us")];
        assert_eq!(check(r#"{"region":"us","region":"eu"}"#, &us), Err(region.to_owned()));
        assert_eq!(check(r#"{"region":"us","r\u0065gion":"us"}"#, &us), Err(region.to_owned()));
        assert_eq!(check(r#"{"region":null,"region":"eu"}"#, &[]), Err(region.to_owned()));
        let n = Err("the argument `deep.n`, which Mcp-Param-N mirrors, stands twice".to_owned());
        assert_eq!(check(r#"{"deep":{"n":1},"deep":{"n":2}}"#, &[("Mcp-Param-N", "1")]), n);
        assert_eq!(check(r#"{"deep":{"n":1,"n":2}}"#, &[("Mcp-Param-N", "1")]), n);
        assert_eq!(check(r#"{"other":1,"other":2}"#, &[]), Ok(()));
    }

    #[test]
    fn numbers_and_booleans() {
        let n = |value: &str, header: &str| {
            check(&format!(r#"{{"deep":{{"n":{value}}}}}"#), &[("Mcp-Param-N", header)]).is_ok()
        };
        assert!(n("42", "42") && n("42.0", "42") && n("42", "42.0") && n("-7", "-7") && n("4e1", "40") && n("0", "0"));
        assert!(
            !n("42", "43") && !n("42", "0x2a") && !n("42", "4.2e1") && !n("42", "") && !n("1", "NaN") && !n("1", "inf")
        );
        assert!(!n("9007199254740993", "9007199254740992") && n("9007199254740993", "9007199254740993"));
        assert!(n("\"abc\"", "abc") && !n("\"abc\"", "1"));
        assert!(check(r#"{"deep":{}}"#, &[]).is_ok() && check(r#"{"deep":7}"#, &[]).is_ok());
        let dry =
            |value: &str, header: &str| check(&format!(r#"{{"dry":{value}}}"#), &[("Mcp-Param-Dry", header)]).is_ok();
        assert!(dry("true", "true") && dry("false", "false") && !dry("true", "false") && !dry("true", "True"));
    }

    #[test]
    fn tools_without_a_mirror() {
        let none = |_: &str| None;
        assert_eq!(table().check("unknown", Some(&raw(r#"{"region":"us"}"#)), none), Ok(()));
        assert_eq!(table().check("plain", Some(&raw(r#"{"region":"us"}"#)), none), Ok(()));
        assert_eq!(table().check("sql", None, none), Ok(()));
        assert_eq!((table().invalid(), table().complaints().len()), (1, 1));
        assert!(!table().is_empty() && HeaderTable::compile(&[]).is_empty());
        let error = ErrorObject::from(Mismatch::Missing { header: "Mcp-Param-N".into() });
        assert_eq!((error.code, error.message.as_str()), (-32020, "Header mismatch: Mcp-Param-N is missing"));
    }

    #[test]
    fn what_is_mirrored_agrees() {
        for arguments in [
            r#"{"region":"us","deep":{"n":4e1},"dry":true}"#,
            r#"{"region":" Größe ","deep":{"n":-7}}"#,
            r#"{"region":"=?base64?x?=","deep":{"n":42.0},"dry":false}"#,
            r#"{"region":null,"deep":{"n":9007199254740993}}"#,
        ] {
            let headers = table().mirror("sql", Some(&raw(arguments)));
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            assert_eq!(check(arguments, &headers), Ok(()), "{arguments}: {headers:?}");
        }
        assert_eq!(table().mirror("sql", Some(&raw(r#"{"region":"us","region":"eu"}"#))), []);
        assert_eq!(table().mirror("plain", Some(&raw(r#"{"region":"us"}"#))), []);
    }

    proptest! {
        #[test]
        fn any_text_passes_encoded(text in ".{0,20}") {
            let encoded = format!("=?base64?{}?=", STANDARD.encode(&text));
            prop_assert_eq!(decode_header_value(encoded.as_bytes()), Ok(text.clone()));
            prop_assert_eq!(decode_header_value(encode_header_value(&text).as_bytes()), Ok(text));
        }
    }
}

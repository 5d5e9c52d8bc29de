//! JSON, with and without comments: read with positions, edited in place.
//!
//! In: a text. Out: its tree; the text with some entries changed. Owns no state. May not: know a client.

use std::borrow::Cow;
use std::ops::Range;

use jsonc_parser::ast::{ObjectPropName, Value as Ast};
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseError;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use serde_json::Value as Json;

use super::braces::{Braces, Fate, fates};
use super::edit::{Document, Edit, EditError, Fields, New, Parts, Tree, nested};
use super::node::{Node, Pair, Value};
use super::splice::{Comments, Layout, Splices, comments, indent, leaves, line_indent, line_number};
use super::{Rejected, Unreadable};

const BOM: &str = "\u{feff}";

/// What all clients that take comments take. Nothing of JSON5: what only some of them read is not worth a guess.
fn options(comments: bool) -> ParseOptions {
    ParseOptions {
        allow_comments: comments,
        allow_trailing_commas: comments,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

/// The tree of a text; null for one that says nothing.
pub(super) fn parse(text: &str) -> Result<Node, Unreadable> {
    let (offset, body) = body(text);
    let body = &without_halves(body);
    let parsed =
        parse_to_ast(body, &CollectOptions::default(), &options(true)).map_err(|error| syntax(body, &error))?;
    Ok(parsed.value.map_or(Node { span: text.len()..text.len(), value: Value::Null }, |value| node(&value, offset)))
}

/// Why a client that wants plain JSON refuses a text that [`parse`] takes.
pub(super) fn rejected(text: &str) -> Option<Rejected> {
    let (_, body) = body(text);
    let body = &without_halves(body);
    match parse_to_ast(body, &CollectOptions::default(), &options(false)) {
        Ok(parsed) if parsed.value.is_some() => {
            // The parser takes a tab within a text, and JSON does not.
            let at = control_character(text, &parse(text).ok()?)?;
            Some(Rejected { line: line_number(text, at), what: "A control character in a text".to_owned() })
        }
        Ok(_) => Some(Rejected { line: 1, what: "the file is empty".to_owned() }),
        Err(error) => {
            let Unreadable::Syntax { line, what } = syntax(body, &error) else { return None };
            Some(Rejected { line, what })
        }
    }
}

fn control_character(text: &str, root: &Node) -> Option<usize> {
    let mut words = Vec::new();
    leaves(root, &mut words);
    let inside = |word: Range<usize>| Some(word.start + text[word].bytes().position(|byte| byte < b' ')?);
    words.into_iter().find_map(inside)
}

/// The text after a byte order mark, and how long that is.
fn body(text: &str) -> (usize, &str) {
    text.strip_prefix(BOM).map_or((0, text), |body| (BOM.len(), body))
}

/// The text with `\ufffd` for each escape of half a surrogate pair: JavaScript writes and reads those, where it cut a text
/// in two, but no text of Rust can hold them. Both are as long, so that all else stands where it stood.
fn without_halves(body: &str) -> Cow<'_, str> {
    let mut whole = Cow::Borrowed(body);
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', body.get(at..).unwrap_or_default().as_bytes()) {
        at += found;
        let half =
            |at: usize| body.get(at..at + 6)?.strip_prefix("\\u").and_then(|code| u16::from_str_radix(code, 16).ok());
        at += match (half(at), half(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                whole.to_mut().replace_range(at..at + 6, "\\ufffd");
                6
            }
            // Also another backslash, which begins no escape then.
            _ => 1 + body[at + 1..].chars().next().map_or(0, char::len_utf8),
        };
    }
    whole
}

fn syntax(body: &str, error: &ParseError) -> Unreadable {
    let line = line_number(body, error.range().start);
    Unreadable::Syntax { line, what: error.kind().to_string() }
}

fn node(value: &Ast<'_>, offset: usize) -> Node {
    let span = |range: jsonc_parser::common::Range| range.start + offset..range.end + offset;
    let kind = match value {
        Ast::NullKeyword(_) => Value::Null,
        Ast::BooleanLit(is) => Value::Bool(is.value),
        Ast::NumberLit(number) => Value::Number(number.value.to_owned()),
        Ast::StringLit(text) => Value::Text(text.value.to_string()),
        Ast::Array(array) => Value::List(array.elements.iter().map(|item| node(item, offset)).collect()),
        Ast::Object(object) => {
            let pair = |prop: &jsonc_parser::ast::ObjectProp<'_>| {
                let (key, range) = match &prop.name {
                    ObjectPropName::String(name) => (name.value.to_string(), name.range),
                    ObjectPropName::Word(name) => (name.value.to_owned(), name.range),
                };
                Pair { key, key_span: span(range), value: node(&prop.value, offset) }
            };
            Value::Map(object.properties.iter().map(pair).collect())
        }
    };
    Node { span: span(value.range()), value: kind }
}

/// A text of JSON that was read.
pub(super) struct JsonText {
    tree: Tree,
    /// Whether the document is written over lines. One line stays one line, but an empty document has no style yet.
    lines: bool,
}

impl Document for JsonText {
    const TABLES_GO: bool = true;

    fn read(text: String) -> Result<Self, Unreadable> {
        let root = parse(&text)?;
        let layout = Layout::of(&text, root.pairs().and_then(<[Pair]>::first).map(|pair| pair.key_span.start));
        let lines = text[root.span.clone()].contains('\n') || root.pairs().is_none_or(<[Pair]>::is_empty);
        Ok(Self { tree: Tree { text, root, layout }, lines })
    }

    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn put(&self, _edit: &Edit, entry: &Node, fields: &Fields, splices: &mut Splices) -> Result<(), EditError> {
        let braces = self.braces(entry);
        let pair = |key: &str, value: &Json, near: Option<&Pair>| {
            let between = near.map_or(": ", |near| colon(&self.tree.text, near));
            let at = near.map_or(entry.span.start, |near| near.key_span.start);
            (quoted(key) + between, written(value, &self.tree.text, at, &braces))
        };
        braces.put(entry, fields, &pair, splices);
        Ok(())
    }

    fn remove(&self, from: &[String], names: &[&str], splices: &mut Splices) -> Result<(), EditError> {
        let table = self.tree.root.at(from).ok_or_else(|| EditError::Absent(from.join(".")))?;
        self.braces(table).edit(&fates(table, names), None, &[], splices);
        Ok(())
    }

    fn insert(&self, to: &[String], new: &[New<'_>], splices: &mut Splices) -> Result<(), EditError> {
        let (text, layout) = (&self.tree.text, &self.tree.layout);
        let values = nested(new, to.len());
        if to.is_empty() && matches!(self.tree.root.value, Value::Null) {
            let end = if text.ends_with('\n') || text.is_empty() { "" } else { layout.newline };
            let whole = pretty(&Json::Object(values), "", layout);
            splices.insert(text.len(), format!("{end}{whole}{}", layout.newline));
            return Ok(());
        }
        let not_a_table = || EditError::NotATable(to.join("."));
        let table = self.tree.root.at(to).ok_or_else(not_a_table)?;
        let own = table.pairs().ok_or_else(not_a_table)?;
        let braces = self.braces(table);
        let item = |(key, value): (&String, &Json)| match own.first() {
            Some(first) => quoted(key) + colon(text, first) + &written(value, text, first.key_span.start, &braces),
            None if braces.lines => {
                let inner = format!("{}{}", line_indent(text, table.span.start), layout.unit);
                format!("{}: {}", quoted(key), pretty(value, &inner, layout))
            }
            None => format!("{}: {}", quoted(key), flat(value, ": ")),
        };
        let items: Vec<String> = values.iter().map(item).collect();
        braces.edit(&vec![Fate::Keep; own.len()], None, &items, splices);
        Ok(())
    }

    fn parts(&self, other: &Self, at: &[&[String]]) -> Result<Parts, EditError> {
        let part = |at: &&[String]| {
            let (here, there) = (self.tree.root.at(at)?, other.tree.root.at(at)?);
            Some((here.span.clone(), there.span.clone()))
        };
        at.iter().map(|at| part(at).ok_or_else(|| EditError::Absent(at.join(".")))).collect()
    }
}

impl JsonText {
    fn braces(&self, node: &Node) -> Braces<'_> {
        Braces {
            text: &self.tree.text,
            span: node.span.clone(),
            items: node.items(|pair| pair.value.span.end),
            comments: comments(&self.tree.text, node, node.span.clone(), Comments::Slashes),
            signs: Comments::Slashes,
            layout: &self.tree.layout,
            lines: self.lines,
        }
    }
}

/// What stands between a key and its value, unless a comment does.
fn colon<'a>(text: &'a str, pair: &Pair) -> &'a str {
    let between = &text[pair.key_span.end..pair.value.span.start];
    if between.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b':')) { between } else { ": " }
}

/// A value as it is written beside others: over lines if they have lines.
fn written(value: &Json, text: &str, near: usize, braces: &Braces<'_>) -> String {
    match indent(text, near) {
        Some(indent) if braces.lines => pretty(value, indent, braces.layout),
        _ => flat(value, if text[braces.span.clone()].contains(": ") { ": " } else { ":" }),
    }
}

fn flat(value: &Json, colon: &str) -> String {
    match value {
        Json::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, value)| quoted(key) + colon + &flat(value, colon)).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| flat(item, colon)).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// A whole document, to be pasted.
pub(super) fn snippet(value: &Json) -> String {
    pretty(value, "", &Layout { newline: "\n", unit: "  ".to_owned() }) + "\n"
}

/// Objects over lines, lists on one: they are short here.
fn pretty(value: &Json, indent: &str, layout: &Layout) -> String {
    let Json::Object(map) = value else { return flat(value, ": ") };
    if map.is_empty() {
        return "{}".to_owned();
    }
    let inner = format!("{indent}{}", layout.unit);
    let newline = layout.newline;
    let pairs: Vec<String> =
        map.iter().map(|(key, value)| format!("{inner}{}: {}", quoted(key), pretty(value, &inner, layout))).collect();
    format!("{{{newline}{}{newline}{indent}}}", pairs.join(&format!(",{newline}")))
}

fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

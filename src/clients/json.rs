//! JSON, with and without comments: read with positions, edited in place.
//!
//! In: a text. Out: its tree; the text with some entries changed. Owns no state. May not: know a client.

use jsonc_parser::ast::{ObjectPropName, Value as Ast};
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseError;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::edit::{Edit, EditError};
use super::node::{Node, Pair, Value};
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
    let parsed =
        parse_to_ast(body, &CollectOptions::default(), &options(true)).map_err(|error| syntax(body, &error))?;
    Ok(parsed.value.map_or(Node { span: text.len()..text.len(), value: Value::Null }, |value| node(&value, offset)))
}

/// Why a client that wants plain JSON refuses a text that [`parse`] takes.
pub(super) fn rejected(text: &str) -> Option<Rejected> {
    let (_, body) = body(text);
    match parse_to_ast(body, &CollectOptions::default(), &options(false)) {
        Ok(parsed) if parsed.value.is_some() => None,
        Ok(_) => Some(Rejected { line: 1, what: "the file is empty".to_owned() }),
        Err(error) => {
            let Unreadable::Syntax { line, what } = syntax(body, &error) else { return None };
            Some(Rejected { line, what })
        }
    }
}

/// The text after a byte order mark, and how long that is.
fn body(text: &str) -> (usize, &str) {
    text.strip_prefix(BOM).map_or((0, text), |body| (BOM.len(), body))
}

fn syntax(body: &str, error: &ParseError) -> Unreadable {
    let start = error.range().start.min(body.len());
    let line = body.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
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

/// See [`super::edit()`].
pub(super) fn edit(text: &str, edits: &[Edit]) -> Result<String, EditError> {
    let _ = (text, edits);
    Err(EditError::Damaged("json".to_owned()))
}

/// See [`super::restore`].
pub(super) fn restore(text: &str, original: &str, at: &[String]) -> Result<String, EditError> {
    let _ = (text, original, at);
    Err(EditError::Damaged("json".to_owned()))
}

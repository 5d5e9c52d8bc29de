//! JSON, with and without comments: read with positions, edited in place.
//!
//! In: a text. Out: its tree; the text with some entries changed. Owns no state. May not: know a client.

use std::borrow::Cow;

use jsonc_parser::ast::{ObjectPropName, Value as Ast};
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseError;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use serde_json::Value as Json;

use super::braces::{Braces, Fate};
use super::edit::{Act, Edit, EditError, in_order, nested, proved, with_value};
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
    let inside = |word: std::ops::Range<usize>| Some(word.start + text[word].bytes().position(|byte| byte < b' ')?);
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

/// See [`super::edit()`].
pub(super) fn edit(text: &str, edits: &[Edit]) -> Result<String, EditError> {
    let mut text = text.to_owned();
    let mut before = parse(&text)?;
    for edit in in_order(edits)? {
        let damaged = || EditError::Damaged(edit.place());
        text = step(&text, &before, edit)?.apply(&text).ok_or_else(damaged)?;
        let after = parse(&text).map_err(|_unreadable| damaged())?;
        if !proved(&before, &after, edit) {
            return Err(damaged());
        }
        before = after;
    }
    Ok(text)
}

/// See [`super::restore`].
pub(super) fn restore(text: &str, original: &str, at: &[String]) -> Result<String, EditError> {
    let (now, then) = (parse(text)?, parse(original)?);
    let place = at.join(".");
    let Some(current) = now.at(at) else { return Err(EditError::Absent(place)) };
    let Some(old) = then.at(at) else {
        // Tables that are not in the original and hold nothing but the entry go with it.
        let alone = |depth: &usize| {
            then.at(&at[..*depth]).is_none()
                && now.at(&at[..*depth]).and_then(Node::pairs).is_some_and(|own| own.len() == 1)
        };
        let depth = (1..at.len()).find(alone).unwrap_or(at.len());
        let whole = (depth..at.len()).all(|depth| alone(&depth));
        let at = if whole { &at[..depth] } else { at };
        return edit(text, &[Edit { at: at.to_vec(), act: Act::Remove }]);
    };
    let layout = layout(text, &now);
    let lines = original[old.span.clone()].replace("\r\n", "\n").replace('\n', layout.newline);
    let mut splices = Splices::default();
    splices.replace(current.span.clone(), lines);
    let result = splices.apply(text).ok_or_else(|| EditError::Damaged(place.clone()))?;
    let after = parse(&result).map_err(|_unreadable| EditError::Damaged(place.clone()))?;
    match with_value(&now, at, old) {
        Some(expected) if expected.same(&after) => Ok(result),
        _ => Err(EditError::Damaged(place)),
    }
}

fn step(text: &str, root: &Node, edit: &Edit) -> Result<Splices, EditError> {
    let layout = layout(text, root);
    let mut splices = Splices::default();
    match &edit.act {
        Act::Put(fields) => {
            let entry = root.at(&edit.at).ok_or_else(|| EditError::Absent(edit.place()))?;
            if entry.pairs().is_none() {
                return Err(EditError::NotATable(edit.place()));
            }
            let braces = braces(text, root, entry, &layout);
            let pair = |key: &str, value: &Json, near: Option<&Pair>| {
                let between = near.map_or(": ", |near| colon(text, near));
                let at = near.map_or(entry.span.start, |near| near.key_span.start);
                (quoted(key) + between, written(value, text, at, &braces))
            };
            braces.put(entry, fields, &pair, &mut splices);
        }
        Act::Remove => remove(text, root, edit, &layout, &mut splices)?,
        Act::Insert(pairs) => insert(text, root, edit, pairs, &layout, &mut splices)?,
    }
    Ok(splices)
}

fn layout(text: &str, root: &Node) -> Layout {
    Layout::of(text, root.pairs().and_then(<[Pair]>::first).map(|pair| pair.key_span.start))
}

fn braces<'a>(text: &'a str, root: &Node, node: &Node, layout: &'a Layout) -> Braces<'a> {
    let items = match &node.value {
        Value::Map(pairs) => pairs.iter().map(|pair| pair.key_span.start..pair.value.span.end).collect(),
        Value::List(items) => items.iter().map(|item| item.span.clone()).collect(),
        _ => Vec::new(),
    };
    Braces {
        text,
        span: node.span.clone(),
        items,
        comments: comments(text, node, node.span.clone(), Comments::Slashes),
        signs: Comments::Slashes,
        layout,
        // One line stays one line, but an empty document has no style yet.
        lines: text[root.span.clone()].contains('\n') || root.pairs().is_none_or(<[Pair]>::is_empty),
    }
}

fn remove(text: &str, root: &Node, edit: &Edit, layout: &Layout, splices: &mut Splices) -> Result<(), EditError> {
    let absent = || EditError::Absent(edit.place());
    let (name, parent) = edit.at.split_last().ok_or_else(absent)?;
    let parent = root.at(parent).ok_or_else(absent)?;
    let fate = |goes: bool| if goes { Fate::Delete } else { Fate::Keep };
    let fates: Vec<Fate> = match &parent.value {
        Value::Map(pairs) => pairs.iter().map(|pair| fate(pair.key == *name)).collect(),
        Value::List(items) => (0..items.len()).map(|index| fate(index.to_string() == *name)).collect(),
        _ => return Err(absent()),
    };
    if !fates.contains(&Fate::Delete) {
        return Err(absent());
    }
    braces(text, root, parent, layout).edit(&fates, None, &[], splices);
    Ok(())
}

fn insert(
    text: &str,
    root: &Node,
    edit: &Edit,
    pairs: &[(String, Json)],
    layout: &Layout,
    splices: &mut Splices,
) -> Result<(), EditError> {
    let depth = (0..=edit.at.len()).rev().find(|depth| root.at(&edit.at[..*depth]).is_some()).unwrap_or(0);
    if depth == edit.at.len() {
        return Err(EditError::Present(edit.place()));
    }
    let parent = root.at(&edit.at[..depth]).unwrap_or(root);
    let value = nested(&edit.at[depth + 1..], pairs);
    if depth == 0 && matches!(root.value, Value::Null) {
        let whole = nested(&edit.at[..], pairs);
        let end = if text.ends_with('\n') || text.is_empty() { "" } else { layout.newline };
        splices.insert(text.len(), format!("{end}{}{}", pretty(&whole, "", layout), layout.newline));
        return Ok(());
    }
    let Some(own) = parent.pairs() else { return Err(EditError::NotATable(edit.at[..depth].join("."))) };
    let braces = braces(text, root, parent, layout);
    let near = own.first().map(|pair| pair.key_span.start);
    let item = match near {
        Some(near) => quoted(&edit.at[depth]) + colon(text, &own[0]) + &written(&value, text, near, &braces),
        None if braces.lines => {
            let inner = format!("{}{}", line_indent(text, parent.span.start), layout.unit);
            format!("{}: {}", quoted(&edit.at[depth]), pretty(&value, &inner, layout))
        }
        None => format!("{}: {}", quoted(&edit.at[depth]), flat(&value, ": ")),
    };
    braces.edit(&vec![Fate::Keep; own.len()], None, &[item], splices);
    Ok(())
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

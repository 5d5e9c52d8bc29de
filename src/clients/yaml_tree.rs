//! YAML: read with positions.
//!
//! In: a text. Out: its tree. Owns no state. May not: know a client, or change a text (that is `yaml`).
//!
//! What has an anchor, an alias or a tag becomes [`Value::Odd`]: it means something elsewhere, so it is neither followed
//! nor changed.

use std::collections::HashSet;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::Unreadable;
use super::node::{LINKED, Node, Pair, Value};

const BOM: &str = "\u{feff}";
/// Collections around the innermost value.
const DEPTH_MAX: usize = 128;
const ODD_KEYS: &str = "a table with keys that are no text";

/// A collection that is being read.
struct Open {
    start: usize,
    linked: bool,
    flow: bool,
    odd_keys: bool,
    keys: HashSet<String>,
    key: Option<(String, Range<usize>)>,
    value: Value,
}

struct Builder<'a> {
    text: &'a str,
    /// Where each character begins; none if all are one byte.
    starts: Option<Vec<usize>>,
    offset: usize,
    open: Vec<Open>,
    root: Option<Node>,
}

/// The tree of a text; null for one that says nothing.
pub(super) fn parse(text: &str) -> Result<Node, Unreadable> {
    let body = text.strip_prefix(BOM).unwrap_or(text);
    let starts = (!body.is_ascii()).then(|| body.char_indices().map(|(at, _)| at).collect());
    let mut builder = Builder { text, starts, offset: text.len() - body.len(), open: Vec::new(), root: None };
    for event in Parser::new_from_str(body) {
        let (event, span) = event.map_err(|error| syntax(error.marker().line(), error.info()))?;
        builder.event(&event, span)?;
    }
    let nothing = Node { span: text.len()..text.len(), value: Value::Null };
    Ok(builder.root.unwrap_or(nothing))
}

fn syntax(line: usize, what: &str) -> Unreadable {
    Unreadable::Syntax { line: line.max(1), what: what.to_owned() }
}

impl Builder<'_> {
    fn event(&mut self, event: &Event<'_>, span: Span) -> Result<(), Unreadable> {
        let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err(syntax(line, "a second document begins here"));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(text, *style, start, end, *anchor > 0 || tag.is_some());
                let plain = matches!(style, ScalarStyle::Plain);
                self.add(node, plain.then_some(text), line)?;
            }
            Event::Alias(_) => {
                let value = Value::Odd(LINKED, self.text[start..end].to_owned());
                self.add(Node { span: start..end, value }, None, line)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.push(start, *anchor > 0 || tag.is_some(), Value::List(Vec::new()), line)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.push(start, *anchor > 0 || tag.is_some(), Value::Map(Vec::new()), line)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(end, line)?,
            _ => {}
        }
        Ok(())
    }

    fn byte(&self, index: usize) -> usize {
        let end = self.text.len() - self.offset;
        self.offset + self.starts.as_ref().map_or(index.min(end), |starts| starts.get(index).copied().unwrap_or(end))
    }

    fn push(&mut self, start: usize, linked: bool, value: Value, line: usize) -> Result<(), Unreadable> {
        if self.open.len() >= DEPTH_MAX {
            return Err(syntax(line, "this is nested too deeply"));
        }
        let flow = self.text[start..].starts_with(['{', '[']);
        self.open.push(Open { start, linked, flow, odd_keys: false, keys: HashSet::new(), key: None, value });
        Ok(())
    }

    fn close(&mut self, end: usize, line: usize) -> Result<(), Unreadable> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        // The end of a block is where the next thing begins: that is not its own.
        let last = match &open.value {
            Value::Map(pairs) => pairs.last().map(|pair| pair.value.span.end.max(pair.key_span.end)),
            Value::List(items) => items.last().map(|item| item.span.end),
            _ => None,
        };
        let end = if open.flow { end } else { last.unwrap_or(open.start).max(open.start) };
        let raw = || self.text[open.start..end].to_owned();
        let value = match open.value {
            _ if open.linked => Value::Odd(LINKED, raw()),
            _ if open.odd_keys => Value::Odd(ODD_KEYS, raw()),
            value => value,
        };
        self.add(Node { span: open.start..end, value }, None, line)
    }

    fn add(&mut self, node: Node, plain: Option<&str>, line: usize) -> Result<(), Unreadable> {
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return Ok(());
        };
        match (&mut open.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(pairs), Some((key, key_span))) => {
                let mut node = node;
                if node.span.start < key_span.end {
                    node.span = key_span.end..key_span.end;
                }
                pairs.push(Pair { key, key_span, value: node });
            }
            (Value::Map(_), None) => {
                let key = match (&node.value, plain) {
                    (Value::Odd(..) | Value::List(_) | Value::Map(_), _) => None,
                    (_, Some(plain)) => Some(plain.to_owned()),
                    (Value::Text(text), None) => Some(text.clone()),
                    _ => None,
                };
                open.odd_keys |= key.is_none();
                let key = key.unwrap_or_default();
                if !open.odd_keys && !open.keys.insert(key.clone()) {
                    return Err(syntax(line, "this key is there twice"));
                }
                open.key = Some((key, node.span));
            }
            _ => {}
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, start: usize, end: usize, linked: bool) -> Node {
        let end = match style {
            _ if linked => trimmed(self.text, start, end),
            ScalarStyle::SingleQuoted => quoted_end(self.text, start, '\'').unwrap_or(end),
            ScalarStyle::DoubleQuoted => quoted_end(self.text, start, '"').unwrap_or(end),
            _ => trimmed(self.text, start, end),
        };
        let value = match style {
            _ if linked => Value::Odd(LINKED, self.text[start..end].to_owned()),
            ScalarStyle::Plain => plain(text),
            _ => Value::Text(text.to_owned()),
        };
        Node { span: start..end, value }
    }
}

/// Without the white space at the end.
fn trimmed(text: &str, start: usize, end: usize) -> usize {
    start + text[start..end.max(start)].trim_end().len()
}

/// After the closing quote: the parser counts what follows it on the line too.
fn quoted_end(text: &str, start: usize, quote: char) -> Option<usize> {
    let mut inside = text[start..].char_indices().skip(1).peekable();
    while let Some((at, c)) = inside.next() {
        if c == '\\' && quote == '"' {
            inside.next();
        } else if c == quote {
            if quote == '\'' && inside.peek().is_some_and(|(_, next)| *next == quote) {
                inside.next();
            } else {
                return Some(start + at + 1);
            }
        }
    }
    None
}

/// What a scalar without quotes means in YAML 1.2.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.to_owned()),
        _ => Value::Text(text.to_owned()),
    }
}

/// Whether YAML 1.2 takes a plain scalar for a number.
pub(super) fn is_number(text: &str) -> bool {
    let radix = |prefix: &str, digits: fn(&u8) -> bool| {
        text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.as_bytes().iter().all(digits))
    };
    if radix("0x", u8::is_ascii_hexdigit) || radix("0o", |byte| (b'0'..=b'7').contains(byte)) {
        return true;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let digits = unsigned.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    digits && unsigned.bytes().any(|byte| byte.is_ascii_digit()) && unsigned.parse::<f64>().is_ok()
}

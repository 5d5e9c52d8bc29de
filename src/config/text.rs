//! hub.toml as a tree with line numbers, as far as it can be read.
//!
//! In: the text. Out: a TOML document, and what is wrong with its syntax. Owns no state. May not: know any key, or quote a
//! value (it could be a secret).
//!
//! The parser stops at the first error. A person wants all of them, so the text is mended and parsed again: a key that is
//! there twice gets another name of the same length, a line that cannot be read is blanked. Lengths stay, so every line
//! number stays right. What mending cannot explain is not reported: a wrong guess is worse than a second run.

use std::collections::BTreeSet;
use std::ops::Range;

use toml_edit::{Document, Item, Key, TableLike};

/// Parses of one text at most; each one mends one place.
const ROUNDS_MAX: usize = 64;
/// Bytes that all of them may read together, so that a large text full of faults does not take a minute.
const PARSED_BYTES_MAX: usize = 2 << 20;

/// A TOML text, parsed as far as possible.
pub(super) struct Text {
    /// None when nothing but the syntax problems can be said.
    pub document: Option<Document<String>>,
    /// What is wrong with the syntax.
    pub faults: Vec<SyntaxFault>,
    /// Whether a line is missing from the document, so that absence of a key proves nothing.
    pub partial: bool,
    /// Where each line starts.
    lines: Lines,
    /// Where the keys stand that were renamed.
    renamed: BTreeSet<usize>,
}

/// One syntax error.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxFault {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: Option<&'static str>,
}

/// Offsets to line numbers.
pub(super) struct Lines(Vec<usize>);

// === impl Lines ===

impl Lines {
    fn new(text: &str) -> Self {
        Self(std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect())
    }

    /// The line of a byte offset, from 1.
    fn of(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }

    /// The bytes of a line (from 1), its newline included.
    fn range(&self, line: usize, text: &str) -> Range<usize> {
        let start = self.0.get(line - 1).copied().unwrap_or(text.len());
        start..self.0.get(line).copied().unwrap_or(text.len())
    }
}

// === impl Text ===

impl Text {
    /// Parses, and mends what can be mended.
    pub(super) fn parse(original: &str) -> Self {
        let lines = Lines::new(original);
        let mut text = Self { document: None, faults: Vec::new(), partial: false, lines, renamed: BTreeSet::new() };
        let mut mended = original.to_owned();
        let rounds = (PARSED_BYTES_MAX / original.len().max(1)).clamp(1, ROUNDS_MAX);
        for round in 0..rounds {
            let error = match Document::parse(mended.clone()) {
                Ok(document) => {
                    text.document = Some(document);
                    text.faults.sort_by_key(|fault| fault.line);
                    return text;
                }
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            let again = text.renamed.contains(&span.start);
            if !again {
                text.faults.push(text.fault(original, error.message(), &span));
            }
            let is_mended = if error.message() == "duplicate key" {
                text.renamed.insert(span.start);
                rename(&mut mended, span, round)
            } else {
                text.partial = true;
                blank(&mut mended, text.lines.of(span.start), &text.lines)
            };
            if !is_mended {
                break;
            }
        }
        // The text never became whole: what was found after a blanked line may only be an echo of it.
        if text.partial {
            text.faults.truncate(1);
        }
        text
    }

    fn fault(&self, original: &str, message: &str, span: &Range<usize>) -> SyntaxFault {
        let line = self.lines.of(span.start);
        let found = original.get(span.clone()).unwrap_or_default();
        if message == "duplicate key" {
            let what = format!("duplicate key `{}`", found.trim_matches(['"', '\'']));
            return SyntaxFault { line, what, hint: None };
        }
        let is_word = found.starts_with(|c: char| c.is_alphabetic() || matches!(c, '$' | '~' | '/' | '@' | '.'));
        if is_word && message.starts_with("invalid") {
            return SyntaxFault { line, what: "this is not a TOML value".to_owned(), hint: Some("put text in quotes") };
        }
        SyntaxFault { line, what: message.to_owned(), hint: None }
    }

    /// Line of a key.
    pub(super) fn line_of_key(&self, key: &Key) -> usize {
        key.span().map_or(0, |span| self.lines.of(span.start))
    }

    /// Line of a value, or of the key when the value has no place of its own (a table made by dotted keys).
    pub(super) fn line_of(&self, key: &Key, item: &Item) -> usize {
        match item {
            Item::Value(value) => self.line_of_value(value).unwrap_or_else(|| self.line_of_key(key)),
            Item::None | Item::Table(_) | Item::ArrayOfTables(_) => self.line_of_key(key),
        }
    }

    /// Line of a value.
    pub(super) fn line_of_value(&self, value: &toml_edit::Value) -> Option<usize> {
        value.span().map(|span| self.lines.of(span.start))
    }

    /// The keys of a table that the person wrote and that are not there twice.
    pub(super) fn entries<'t>(&'t self, table: &'t dyn TableLike) -> impl Iterator<Item = (&'t Key, &'t Item)> {
        let with_key = table.iter().filter_map(|(name, _)| table.get_key_value(name));
        with_key.filter(|(key, _)| key.span().is_none_or(|span| !self.renamed.contains(&span.start)))
    }
}

/// Gives the key at `span` another name of the same length. `round` varies the name until it is free.
fn rename(text: &mut String, span: Range<usize>, round: usize) -> bool {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    if span.is_empty() || text.get(span.clone()).is_none() {
        return false;
    }
    let letter = char::from(LETTERS[round % LETTERS.len()]);
    text.replace_range(span.clone(), &letter.to_string().repeat(span.len()));
    true
}

/// Replaces a line by spaces. Refuses where that would move other lines into another table, or when there is nothing left.
fn blank(text: &mut String, line: usize, lines: &Lines) -> bool {
    let range = lines.range(line, text);
    let Some(content) = text.get(range.clone()) else {
        return false;
    };
    if content.trim().is_empty() || content.trim_start().starts_with('[') {
        return false;
    }
    let spaces: String = content.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
    text.replace_range(range, &spaces);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let parsed = Text::parse(text);
        let shown = |f: &SyntaxFault| match f.hint {
            Some(hint) => format!("{}: {}; {hint}", f.line, f.what),
            None => format!("{}: {}", f.line, f.what),
        };
        parsed.faults.iter().map(shown).collect()
    }

    #[test]
    fn a_good_text_has_no_faults() {
        let text = Text::parse("[a]\nb = 1\n");
        assert!(text.document.is_some() && text.faults.is_empty() && !text.partial);
    }

    #[test]
    fn every_duplicate_is_found_and_hidden() {
        let source = "[s]\na = 1\na = 2\na = 3\nb = {x=1, x=2}\n[t]\n[s]\nc = 1\n";
        let text = Text::parse(source);
        assert_eq!(
            faults(source),
            ["3: duplicate key `a`", "4: duplicate key `a`", "5: duplicate key `x`", "7: duplicate key `s`"]
        );
        assert!(!text.partial);
        let document = text.document.as_ref().expect("mended");
        let names = |table: &dyn TableLike| text.entries(table).map(|(k, _)| k.get().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(document.as_table()), ["s", "t"]);
        assert_eq!(names(document["s"].as_table_like().expect("table")), ["a", "b"]);
    }

    #[test]
    fn unreadable_lines_do_not_hide_the_next_fault() {
        let source = "[s]\ncommand = npx\nport 1\nx = \"open\ny = 1\n";
        assert_eq!(
            faults(source),
            [
                "2: this is not a TOML value; put text in quotes",
                "3: key with no value, expected `=`",
                "4: invalid basic string, expected `\"`",
            ]
        );
        assert!(Text::parse(source).partial);
    }

    #[test]
    fn echoes_of_a_fault_are_not_reported() {
        for source in ["[s]\na = [\"x\"\nb = 2\nc = 3\n[t]\nd = 4\n", "[s\na = 1\nb = \n"] {
            let text = Text::parse(source);
            assert!(text.document.is_none(), "{source}");
            assert_eq!(text.faults.len(), 1, "{source}");
        }
    }

    #[test]
    fn a_large_text_full_of_faults_is_given_up_early() {
        let text = Text::parse(&"a = x\n".repeat(PARSED_BYTES_MAX / 6));
        assert!(text.document.is_none());
        assert_eq!(text.faults.len(), 1);
        // One of the names that are tried is `a` again, which costs a round.
        assert_eq!(faults(&"a = 1\n".repeat(ROUNDS_MAX + 10)).len(), ROUNDS_MAX - 1);
    }

    #[test]
    fn values_stay_out_of_the_messages() {
        for source in ["a = hunter2", "a = \"hunter2", "a = 1\na = \"hunter2\"", "a = { b = hunter2 }", "a = [hunter2]"]
        {
            let said = faults(source).join(" ");
            assert!(!said.is_empty() && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn offsets_become_lines() {
        let lines = Lines::new("a\nbc\n\nd");
        let found: Vec<_> = (0..7).map(|offset| lines.of(offset)).collect();
        assert_eq!(found, [1, 1, 2, 2, 2, 3, 4]);
    }
}

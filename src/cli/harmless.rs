//! Text of others made harmless for a terminal.
//!
//! In: what a server, or a file, says. Out: the same text without anything that a terminal would obey. Owns nothing. May
//! not: hide that something was there (but for colours), or touch `--json`.
//!
//! A terminal can be told to retitle itself, to wipe what was shown, to write to the clipboard, to answer as if the person
//! had typed. A tool's result comes from whoever wrote the web page that it read.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with control characters shown as `\x1b`, but for newlines and tabs, which stay. Colours are dropped.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(is_obeyed) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = colour_end(rest) {
            rest = after;
            continue;
        }
        let mut chars = rest.chars();
        let control = chars.next().unwrap_or_default();
        rest = chars.as_str();
        if control == '\r' && rest.starts_with('\n') {
            continue;
        }
        // Writing to a string cannot fail.
        write!(out, "\\x{:02x}", u32::from(control)).ok();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn is_obeyed(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

/// What follows a colour (`ESC [ digits m`), if the text begins with one.
fn colour_end(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\x1b[")?;
    parameters.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';' || c == ':').strip_prefix('m')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_not_copied() {
        for text in ["", "a\n\tb", "Größe ≈ 3 \u{1f980}", "\\x1b"] {
            assert!(matches!(harmless(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        for (text, shown) in [
            ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
            ("\x1b]52;c;aGk=\x1b\\", r"\x1b]52;c;aGk=\x1b\"),
            ("a\x1b[2J\x1b[Hb", r"a\x1b[2J\x1b[Hb"),
            ("\x1b[31mred\x1b[0m \x1b[38;5;9mx\x1b[m", "red x"),
            ("\x1b[31", r"\x1b[31"),
            ("safe\rfake", r"safe\x0dfake"),
            ("one\r\ntwo\r", "one\ntwo\\x0d"),
            ("\u{9b}31m \u{7f}\0\u{8}", r"\x9b31m \x7f\x00\x08"),
        ] {
            assert_eq!(harmless(text), shown);
            assert!(!harmless(&harmless(text)).contains(is_obeyed));
        }
    }
}

//! `env_file`: variables of one server in a file of their own.
//!
//! In: its text. Out: names and values, or the lines that are wrong. Owns no state. May not: expand anything (a `$` in a
//! password is a `$`), or quote a value in a message.
//!
//! Lines are `KEY=VALUE`, `export KEY=VALUE`, `# comment` or empty. A value is bare (trimmed; ` #` starts a comment),
//! in `'single quotes'` (as it stands) or in `"double quotes"` (`\n`, `\r`, `\t`, `\"`, `\\`, `\$`). Quoted values may
//! go over several lines.

use std::collections::BTreeMap;

/// Reads an env file. On failure gives (line from 1, what is wrong) for each fault.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, String>, Vec<(usize, &'static str)>> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = BTreeMap::new();
    let mut faults = Vec::new();
    let whole = rest;
    while !rest.is_empty() {
        let line = 1 + whole[..whole.len() - rest.len()].matches('\n').count();
        let outcome;
        (outcome, rest) = entry(rest);
        match outcome {
            Ok(Some((key, value))) => drop(found.insert(key, value)),
            Ok(None) => {}
            Err(what) => faults.push((line, what)),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

type Entry = Result<Option<(String, String)>, &'static str>;

/// Reads one entry; gives what follows it.
fn entry(text: &str) -> (Entry, &str) {
    let (line, next) = text.split_once('\n').unwrap_or((text, ""));
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return (Ok(None), next);
    }
    let Some((key, value)) = line.split_once('=') else {
        return (Err("expected KEY=VALUE"), next);
    };
    let key = key.trim();
    let key = key.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).map_or(key, str::trim_start);
    if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c == '\0' || c == '"' || c == '\'') {
        return (Err("expected a variable name before `=`"), next);
    }
    let done = |value: Result<String, &'static str>| match value {
        Ok(value) if value.contains('\0') => Err("a NUL character cannot be passed to a process"),
        Ok(value) => Ok(Some((key.to_owned(), value))),
        Err(what) => Err(what),
    };
    let value = value.trim_start_matches([' ', '\t']);
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return (done(Ok(bare(value))), next);
    };
    // From the opening quote to the end of the file: the value may go over several lines.
    let from = line.len() - value.len() + 1;
    let Some((value, after)) = quoted(&text[from..], quote) else {
        return (Err("this quote is never closed"), next);
    };
    let (tail, next) = after.split_once('\n').unwrap_or((after, ""));
    let tail = tail.trim();
    if tail.is_empty() || tail.starts_with('#') {
        (done(Ok(value)), next)
    } else {
        (Err("text after the closing quote"), next)
    }
}

fn bare(value: &str) -> String {
    let comment = value.char_indices().find(|(at, c)| *c == '#' && value[..*at].ends_with([' ', '\t']));
    let end = comment.map_or(value.len(), |(at, _)| at);
    if value.starts_with('#') { String::new() } else { value[..end].trim_end().to_owned() }
}

/// The value up to its closing quote, and what follows that.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((value, &text[at + 1..]));
        }
        if c != '\\' || quote == '\'' {
            value.push(c);
            continue;
        }
        match chars.next()?.1 {
            'n' => value.push('\n'),
            'r' => value.push('\r'),
            't' => value.push('\t'),
            c @ ('"' | '\\' | '$') => value.push(c),
            other => {
                value.push('\\');
                value.push(other);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).expect(text).into_iter().collect()
    }

    #[test]
    fn forms_of_a_line() {
        for (text, value) in [
            ("K=v", "v"),
            ("export K=v", "v"),
            ("  export\tK = v  ", "v"),
            ("K=", ""),
            ("K=#c", ""),
            ("K=a#b", "a#b"),
            ("K=a b # c", "a b"),
            ("K=a=b", "a=b"),
            ("K=pa$$w${X}", "pa$$w${X}"),
            ("K='a # \\n b' # c", "a # \\n b"),
            ("K=\"a\\n\\\"b\\\" \\$ \\q\"", "a\n\"b\" $ \\q"),
            ("K=\"one\ntwo\"\r\n", "one\ntwo"),
            ("K=v\r\n", "v"),
            ("\u{feff}K=v", "v"),
            ("# c\n\nK=v\n", "v"),
            ("K=x\nK=v", "v"),
            ("K = \"é\"", "é"),
        ] {
            assert_eq!(pairs(text), [("K".to_owned(), value.to_owned())], "{text}");
        }
        assert_eq!(pairs("A='x\ny'\nB=2\n").len(), 2);
        assert_eq!(pairs("export=1"), [("export".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn all_faults_with_their_lines_and_without_values() {
        let text = "A=1\nhunter2\nB='x'y\n=z\nC D=1\nE=\"open\nF=1\n";
        let faults = parse(text).expect_err("faults");
        assert_eq!(
            faults,
            [
                (2, "expected KEY=VALUE"),
                (3, "text after the closing quote"),
                (4, "expected a variable name before `=`"),
                (5, "expected a variable name before `=`"),
                (6, "this quote is never closed"),
            ]
        );
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(K|=|\"|'|\\\\|#| |\n|\r|export |\\PC){0,40}") {
            drop(parse(&text));
        }

        #[test]
        fn double_quotes_round_trip(value in "[^\\x00]{0,40}") {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("A=1\nK=\"{escaped}\"\nB=2\n");
            let found = parse(&text).expect("valid");
            prop_assert_eq!(found.get("K"), Some(&value));
        }
    }
}

//! The lines of a config file for a person: its keys, and of its values those that can hold no secret.
//!
//! In: the text of a JSON, TOML or YAML file, whole or broken. Out: as many lines as it has, masked. Owns nothing. PURE. May
//! not: need the file to be valid.

use super::{MASK, command_line, is_plain, is_reference, is_secret_name, path, url};

/// Keys whose values are a word of the client's.
const WORDS: &[&str] = &["type", "transport", "name", "version"];
/// Tables of TOML whose headers are shown.
const TABLES: &[&str] = &["servers", "mcp_servers", "hub", "defaults"];

/// The lines of a file, masked.
pub(in crate::import) fn lines(text: &str) -> Vec<String> {
    let mut block = Block::None;
    text.lines().map(|line| block.line(line)).collect()
}

/// A value that goes on over lines.
enum Block {
    None,
    /// Of TOML, until these quotes.
    Quotes(&'static str),
    /// Of YAML, while lines are indented more than this.
    Indented(usize),
}

impl Block {
    fn line(&mut self, line: &str) -> String {
        let indent = line.len() - line.trim_start().len();
        match self {
            Self::Quotes(quotes) => {
                if line.contains(*quotes) {
                    *self = Self::None;
                }
                return MASK.to_owned();
            }
            Self::Indented(above) if indent > *above || line.trim().is_empty() => {
                return format!("{}{MASK}", &line[..indent]);
            }
            Self::Indented(_) | Self::None => *self = Self::None,
        }
        let begins = |quotes: &&str| line.matches(*quotes).count() % 2 == 1;
        if let Some(quotes) = ["\"\"\"", "'''"].into_iter().find(begins) {
            *self = Self::Quotes(quotes);
        } else if line.trim_end().ends_with(['|', '>', '-', '+']) && line.contains([':', '-']) {
            let sign = line.trim_end().rsplit(char::is_whitespace).next().unwrap_or_default();
            if sign.starts_with(['|', '>']) {
                *self = Self::Indented(indent);
            }
        }
        header(line).unwrap_or_else(|| Masked::of(line))
    }
}

/// The header of a table of TOML; none if the line is none.
fn header(line: &str) -> Option<String> {
    let name = line.trim().strip_prefix('[')?.strip_suffix(']')?.trim_matches(['[', ']']);
    let is_one = TABLES.contains(&name.split('.').next()?) && is_plain(&name.replace('"', ""));
    is_one.then(|| line.to_owned())
}

/// A line as it is masked from left to right.
struct Masked<'a> {
    shown: String,
    rest: &'a str,
    /// The key whose value comes next.
    key: Option<&'a str>,
    /// Brackets that are open, as far as this line tells.
    depth: usize,
}

impl<'a> Masked<'a> {
    fn of(line: &'a str) -> String {
        let mut masked = Self { shown: String::with_capacity(line.len()), rest: line, key: None, depth: 0 };
        while !masked.rest.is_empty() {
            masked.step();
        }
        masked.shown
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn step(&mut self) {
        let signs =
            self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_whitespace() || "{}[],".contains(c)).len();
        if signs > 0 {
            let signs = self.take(signs);
            let count = |of: [char; 2]| signs.matches(of).count();
            self.depth = (self.depth + count(['{', '['])).saturating_sub(count(['}', ']']));
            if signs.contains(['{', '}', '[', ']', ',']) {
                self.key = None;
            }
            return self.shown.push_str(signs);
        }
        if self.key.is_none() && self.rest.starts_with("- ") {
            let dash = self.take(2);
            return self.shown.push_str(dash);
        }
        let (text, is_quoted) = self.token();
        let after = self.rest.trim_start();
        let is_colon = after.starts_with(':') && (is_quoted || after[1..].is_empty() || after[1..].starts_with(' '));
        if self.key.is_none() && (is_colon || after.starts_with('=')) {
            self.key = Some(text);
            let name = if is_plain(text) { text.to_owned() } else { path(text).unwrap_or_else(|| MASK.to_owned()) };
            let sign = self.take(self.rest.len() - after.len() + 1);
            return self.push(&format!("{}{sign}", if is_quoted { format!("\"{name}\"") } else { name }));
        }
        let value = value(text, self.key.take(), is_quoted);
        self.push(&if is_quoted { format!("\"{value}\"") } else { value });
    }

    fn push(&mut self, text: &str) {
        self.shown.push_str(text);
    }

    /// The next key or value, without its quotes.
    fn token(&mut self) -> (&'a str, bool) {
        if let Some(quote @ ('"' | '\'')) = self.rest.chars().next() {
            let token = self.take(string_end(self.rest, quote));
            return (token[1..].strip_suffix(quote).unwrap_or(&token[1..]), true);
        }
        let end = match self.key {
            // A bare value of YAML goes to the end of its line, one of JSON to the comma there.
            Some(_) if self.depth == 0 => Some(self.rest.trim_end().trim_end_matches(',').len()),
            Some(_) => self.rest.find([',', '}', ']']),
            None => {
                let colon = self.rest.find(": ").or_else(|| self.rest.strip_suffix(':').map(str::len));
                let end = self.rest.find([',', '}', ']', '{', '[', '"']);
                let sign = self.rest.find('=');
                [colon, end, sign].into_iter().flatten().min()
            }
        };
        let end = end.filter(|end| *end > 0).unwrap_or(self.rest.len());
        (self.take(self.rest[..end].trim_end().len().max(1)), false)
    }
}

/// A value; what may be a secret is masked.
fn value(text: &str, key: Option<&str>, is_quoted: bool) -> String {
    let name = key.unwrap_or_default();
    // A variable of the environment, whose value may be written as a number.
    let is_open = name.contains(|c: char| c.is_ascii_lowercase()) && !is_secret_name(name);
    let is_switch = matches!(text, "true" | "false" | "null" | "|" | ">" | "|-" | ">-");
    let is_number = text.parse::<f64>().is_ok() && text.len() <= 20;
    if is_reference(text) || (!is_quoted && (is_switch || (is_number && is_open))) {
        return text.to_owned();
    }
    let shown = match name {
        "command" | "cmd" => Some(command_line(text, &[])),
        "url" | "uri" | "serverUrl" | "httpUrl" => url(text),
        "cwd" => path(text),
        _ if WORDS.contains(&name) && is_plain(text) => Some(text.to_owned()),
        _ => None,
    };
    shown.unwrap_or_else(|| MASK.to_owned())
}

/// Where a string ends, its quotes included; one that does not end takes all.
fn string_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

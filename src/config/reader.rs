//! Typed access to one table of hub.toml; whatever is wrong becomes a [`Problem`] and reading goes on.
//!
//! In: a table and the names of its keys. Out: values with their lines, problems. Each [`Section`] borrows the one
//! [`Report`]. May not: know what a key is for, or quote a value that is not one of a few known words.

use std::sync::Arc;
use std::time::Duration;

use toml_edit::{Item, Key, TableLike, Value};

use super::expand::{BadTemplate, Template};
use super::text::Text;
use super::{Kind, Problem, ServerName, units};

/// A value and its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At<T> {
    pub value: T,
    pub line: usize,
}

/// A time that may be without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Endless,
    Until(Duration),
}

/// Problems found so far.
pub(super) struct Report {
    pub file: Arc<str>,
    pub problems: Vec<Problem>,
    /// Whether something is wrong that no single server has to answer for.
    pub unusable: bool,
}

/// What a table belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// The file: `[hub]`, `[defaults]`, the top level.
    File,
    /// One server.
    Server(ServerName),
    /// One server without a usable name; the others run without it.
    Unnamed,
}

/// One table.
pub(super) struct Section<'t, 'r> {
    text: &'t Text,
    table: &'t dyn TableLike,
    pub owner: Owner,
    /// What stands before a key in messages: `hub.`, `tools.`, or nothing.
    prefix: String,
    pub report: &'r mut Report,
}

/// An advice for keys that hub does not know but people write.
pub(super) type Advice = (&'static str, &'static str);

/// Where an unknown key came from may explain it.
pub(super) struct Keys {
    pub known: &'static [&'static str],
    pub advice: &'static [Advice],
}

// === impl Patience ===

impl Patience {
    pub(super) fn until(self) -> Option<Duration> {
        match self {
            Self::Endless => None,
            Self::Until(duration) => Some(duration),
        }
    }
}

// === impl Report ===

impl Report {
    pub(super) fn new(file: Arc<str>) -> Self {
        Self { file, problems: Vec::new(), unusable: false }
    }

    pub(super) fn add(&mut self, kind: Kind, owner: &Owner, line: usize, what: String, hint: Option<String>) {
        let server = match owner {
            Owner::Server(name) => Some(name.clone()),
            Owner::File => {
                self.unusable = true;
                None
            }
            Owner::Unnamed => None,
        };
        self.problems.push(Problem { kind, file: Arc::clone(&self.file), line, server, what, hint });
    }

    /// The problems after the first `count`.
    pub(super) fn since(&self, count: usize) -> Vec<Problem> {
        self.problems.get(count..).unwrap_or_default().to_vec()
    }
}

// === impl Section ===

impl<'t, 'r> Section<'t, 'r> {
    pub(super) fn new(
        text: &'t Text,
        table: &'t dyn TableLike,
        owner: Owner,
        prefix: &str,
        report: &'r mut Report,
    ) -> Self {
        Self { text, table, owner, prefix: prefix.to_owned(), report }
    }

    /// Reports a schema problem of this section.
    pub(super) fn fault(&mut self, line: usize, what: String, hint: Option<&str>) {
        self.report.add(Kind::Schema, &self.owner, line, what, hint.map(str::to_owned));
    }

    /// Reports a schema problem of one key: `` `prefix.key` what ``.
    pub(super) fn key_fault(&mut self, key: &str, line: usize, what: &str, hint: Option<&str>) {
        self.fault(line, format!("`{}{key}` {what}", self.prefix), hint);
    }

    /// Reports keys that are not among the known ones. Gives whether there were any.
    pub(super) fn refuse_unknown(&mut self, keys: &Keys) -> bool {
        let mut any = false;
        for (key, _) in self.entries() {
            let name = key.get();
            if keys.known.contains(&name) {
                continue;
            }
            any = true;
            let what = format!("unknown key `{}{}`", self.prefix, shown(name));
            let hint = hint_for(name, keys);
            let line = self.text.line_of_key(key);
            self.report.add(Kind::Schema, &self.owner, line, what, hint);
        }
        any
    }

    /// All keys, each once, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'t Key, &'t Item)> {
        self.text.entries(self.table).collect()
    }

    /// Whether the key is there at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    fn find(&self, key: &str) -> Option<(&'t Item, usize)> {
        let (key, item) = self.text.entries(self.table).find(|(found, _)| found.get() == key)?;
        Some((item, self.text.line_of(key, item)))
    }

    /// Line of a key's value.
    pub(super) fn line_of(&self, key: &Key, item: &Item) -> usize {
        self.text.line_of(key, item)
    }

    fn wrong_type(&mut self, key: &str, line: usize, wanted: &str, found: &Item, hint: Option<&str>) {
        let what = format!("must be {wanted}, not {}", type_name(found));
        self.key_fault(key, line, &what, hint);
    }

    /// A string.
    pub(super) fn string(&mut self, key: &str, hint: Option<&str>) -> Option<At<&'t str>> {
        let (item, line) = self.find(key)?;
        if item.as_str().is_none() {
            self.wrong_type(key, line, "a string", item, hint);
        }
        item.as_str().map(|value| At { value, line })
    }

    /// A path (or program) with references, not empty.
    pub(super) fn path(&mut self, key: &str) -> Option<At<Template>> {
        let text = self.string(key, None)?;
        if text.value.is_empty() {
            self.key_fault(key, text.line, "must not be empty", None);
            return None;
        }
        self.parse_template(key, text, Template::parse_path)
    }

    fn parse_template(
        &mut self,
        key: &str,
        text: At<&str>,
        parse: impl Fn(&str) -> Result<Template, BadTemplate>,
    ) -> Option<At<Template>> {
        match parse(text.value) {
            Ok(value) => Some(At { value, line: text.line }),
            Err(bad) => {
                self.key_fault(key, text.line, &format!("cannot be read: {bad}"), None);
                None
            }
        }
    }

    /// A list of strings, each with its line.
    pub(super) fn strings(&mut self, key: &str) -> Option<Vec<At<&'t str>>> {
        let (item, line) = self.find(key)?;
        let Some(array) = item.as_array() else {
            let hint = item.as_str().map(|_| "put it in brackets");
            self.wrong_type(key, line, "a list of strings", item, hint);
            return None;
        };
        let mut strings = Vec::with_capacity(array.len());
        for value in array {
            let line = self.text.line_of_value(value).unwrap_or(line);
            match value.as_str() {
                Some(value) => strings.push(At { value, line }),
                None => self.wrong_type(key, line, "a list of strings", &Item::Value(value.clone()), quotes(value)),
            }
        }
        Some(strings)
    }

    /// Whether the key is there and holds exactly that word.
    pub(super) fn is_word(&mut self, key: &str, word: &str) -> bool {
        self.find(key).is_some_and(|(item, _)| item.as_str() == Some(word))
    }

    /// A list of strings with references.
    pub(super) fn templates(&mut self, key: &str) -> Option<Vec<At<Template>>> {
        let strings = self.strings(key)?;
        Some(strings.into_iter().filter_map(|text| self.parse_template(key, text, Template::parse)).collect())
    }

    /// A table of strings with references, in the order of the file.
    pub(super) fn template_map(&mut self, key: &str) -> Vec<(String, At<Template>)> {
        let Some(mut inner) = self.table(key) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, item) in inner.entries() {
            let (name, line) = (name.get(), inner.line_of(name, item));
            if name.is_empty() || name.contains(['=', '\0']) {
                inner.key_fault(&shown(name), line, "is not a name of a variable", None);
            } else if let Some(value) = item.as_str() {
                let parsed = inner.parse_template(&shown(name), At { value, line }, Template::parse);
                found.extend(parsed.map(|template| (name.to_owned(), template)));
            } else {
                let hint = item.as_value().and_then(quotes);
                inner.wrong_type(&shown(name), line, "a string", item, hint);
            }
        }
        found
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &str) -> Option<bool> {
        let (item, line) = self.find(key)?;
        if item.as_bool().is_none() {
            let hint = matches!(item.as_str(), Some("true" | "false")).then_some("leave the quotes out");
            self.wrong_type(key, line, "true or false", item, hint);
        }
        item.as_bool()
    }

    /// A whole number between two bounds, both included.
    pub(super) fn integer(&mut self, key: &str, min: u64, max: u64) -> Option<At<u64>> {
        let (item, line) = self.find(key)?;
        let Some(number) = item.as_integer() else {
            self.wrong_type(key, line, "a whole number", item, item.as_str().map(|_| "leave the quotes out"));
            return None;
        };
        match u64::try_from(number) {
            Ok(value) if (min..=max).contains(&value) => Some(At { value, line }),
            _ => {
                self.key_fault(key, line, &format!("must be from {min} to {max}, not {number}"), None);
                None
            }
        }
    }

    /// A port.
    pub(super) fn port(&mut self, key: &str, min: u16) -> Option<At<u16>> {
        let number = self.integer(key, u64::from(min), u64::from(u16::MAX))?;
        u16::try_from(number.value).ok().map(|value| At { value, line: number.line })
    }

    /// A size in bytes, at least `min` and at most `max`: `"64MiB"` or a whole number.
    pub(super) fn size(&mut self, key: &str, min: u64, max: u64) -> Option<u64> {
        let (item, line) = self.find(key)?;
        let Some(text) = item.as_str() else {
            return self.integer(key, min, max).map(|number| number.value);
        };
        let what = match units::size(text) {
            Ok(size) if (min..=max).contains(&size) => return Some(size),
            Ok(_) => format!("must be from {min} to {max} bytes"),
            Err(what) => what.to_owned(),
        };
        self.key_fault(key, line, &what, None);
        None
    }

    /// A duration; zero only where `zero` allows it.
    pub(super) fn duration(&mut self, key: &str, zero: bool) -> Option<At<Duration>> {
        let text = self.string(key, Some("write it with its unit, such as \"30s\""))?;
        match units::duration(text.value) {
            Ok(Duration::ZERO) if !zero => self.key_fault(key, text.line, "must be longer than nothing", None),
            Ok(value) => return Some(At { value, line: text.line }),
            Err(what) => self.key_fault(key, text.line, what, None),
        }
        None
    }

    /// A duration, or `"never"`, which overrides one from `[defaults]`.
    pub(super) fn patience(&mut self, key: &str) -> Option<Patience> {
        if self.find(key)?.0.as_str() == Some("never") {
            return Some(Patience::Endless);
        }
        self.duration(key, false).map(|duration| Patience::Until(duration.value))
    }

    /// One of a few words. `later` are words that hub will know one day.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)], later: &[&str]) -> Option<T> {
        let text = self.string(key, None)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(*value);
        }
        let known: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let known = known.join(" or ");
        if later.contains(&text.value) {
            let what = format!("cannot be \"{}\"", text.value);
            self.key_fault(key, text.line, &what, Some(&format!("not available yet, use {known}")));
        } else {
            let close = closest(text.value, words.iter().map(|(word, _)| *word));
            let hint = close.map(|word| format!("did you mean \"{word}\"?"));
            self.key_fault(key, text.line, &format!("must be {known}"), hint.as_deref());
        }
        None
    }

    /// A table inside this one.
    pub(super) fn table(&mut self, key: &str) -> Option<Section<'t, '_>> {
        let (item, line) = self.find(key)?;
        let Some(table) = item.as_table_like() else {
            self.wrong_type(key, line, "a table", item, None);
            return None;
        };
        let prefix = format!("{}{key}.", self.prefix);
        Some(Section { text: self.text, table, owner: self.owner.clone(), prefix, report: self.report })
    }
}

/// Keys are quoted in messages, so they are cut and made printable.
pub(super) fn shown(key: &str) -> String {
    const CHARS_MAX: usize = 64;
    let mut shown: String = key.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if key.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// The type of a value with its article.
pub(super) fn type_name(item: &Item) -> String {
    let name = item.type_name();
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {name}")
}

fn quotes(value: &Value) -> Option<&'static str> {
    matches!(value, Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_))
        .then_some("put it in quotes")
}

fn hint_for(name: &str, keys: &Keys) -> Option<String> {
    if let Some((_, advice)) = keys.advice.iter().find(|(key, _)| *key == name) {
        return Some((*advice).to_owned());
    }
    if let Some(key) = closest(name, keys.known.iter().copied()) {
        return Some(format!("did you mean `{key}`?"));
    }
    let few = keys.known.len() <= 4;
    few.then(|| {
        format!("known here: {}", keys.known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "))
    })
}

/// The word that was probably meant: spelled otherwise (`startupTimeout`), or a few letters off.
fn closest<'w>(name: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    const LETTERS_MAX: usize = 40;
    if name.chars().nth(LETTERS_MAX).is_some() {
        return None;
    }
    let plain = |word: &str| word.to_ascii_lowercase().replace(['-', '_', ' '], "");
    let name = plain(name);
    words
        .map(|word| (strsim::damerau_levenshtein(&name, &plain(word)), word))
        .filter(|(distance, word)| *distance <= word.len().max(name.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_key() {
        let keys = ["command", "args", "env", "env_file", "startup_timeout", "share", "port"];
        for (typed, meant) in [
            ("comand", Some("command")),
            ("cmd", None),
            ("commnad", Some("command")),
            ("arg", Some("args")),
            ("envFile", Some("env_file")),
            ("startup-timeout", Some("startup_timeout")),
            ("startupTimeout", Some("startup_timeout")),
            ("prot", Some("port")),
            ("shared", Some("share")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(closest(typed, keys.iter().copied()), meant, "{typed}");
        }
    }

    #[test]
    fn keys_in_messages_are_printable_and_short() {
        assert_eq!(shown("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 65);
    }
}

//! References in values: `${VAR}`, `${VAR:-default}`, `${file:PATH}`, and `~` where a path is meant.
//!
//! In: the text of a value; later, a way to look things up. Out: a [`Template`]; later, the expanded text. Owns no state.
//! May not: expand twice (what a variable holds is data), or show what it looked up.
//!
//! | written | becomes |
//! |---|---|
//! | `${VAR}` | its value; an error of that server when it is not set |
//! | `${VAR:-default}` | its value; `default`, taken as it stands, when it is not set or empty |
//! | `${file:PATH}` | the text of the file without trailing newlines; PATH is relative to hub.toml, or starts with `~/` |
//! | `$${` | `${`, literally |
//! | any other `$` | itself, so that `pa$$word` and `$5` survive |

use std::path::{Path, PathBuf};

/// A value with its references found but not yet looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Home,
    Var { name: String, default: Option<String> },
    File(String),
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadTemplate {
    #[error("`${{` without its `}}`; write `$${{` for a literal `${{`")]
    Open,
    #[error("`${{…}}` holds no valid variable name; write `${{VAR}}`, `${{VAR:-default}}` or `${{file:PATH}}`")]
    Name,
    #[error("`${{file:}}` names no file")]
    EmptyFile,
    #[error("`${{…}}` inside `${{…}}` is not expanded; nest nothing")]
    Nested,
    #[error("`~user` is not supported; write `~/…` or the whole path")]
    User,
    #[error("a NUL character cannot be passed to a process")]
    Nul,
}

/// Why a template cannot be expanded.
#[derive(Debug, thiserror::Error)]
pub(super) enum Missing {
    #[error("variable {name} is not set")]
    Variable { name: String },
    #[error("file {} cannot be read: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error("variable {name} holds a NUL character")]
    NulInVariable { name: String },
    #[error("file {} holds a NUL character", path.display())]
    NulInFile { path: PathBuf },
    #[error("the path of the home folder is not UTF-8")]
    Home,
}

/// Where references are looked up.
pub(super) struct Lookup<'a> {
    /// Value of a variable.
    pub vars: &'a dyn Fn(&str) -> Option<String>,
    /// Text of a file.
    pub read: &'a dyn Fn(&Path) -> std::io::Result<String>,
    /// What relative paths are relative to.
    pub base: &'a Path,
    /// What `~` is.
    pub home: &'a Path,
}

// === impl Template ===

impl Template {
    /// Finds the references of a value.
    pub(super) fn parse(text: &str) -> Result<Self, BadTemplate> {
        let mut parts = Vec::new();
        Self::parse_into(&mut parts, text)?;
        Ok(Self(parts))
    }

    /// As [`Template::parse`], with a leading `~` as the home folder.
    pub(super) fn parse_path(text: &str) -> Result<Self, BadTemplate> {
        let Some(rest) = text.strip_prefix('~') else {
            return Self::parse(text);
        };
        if !rest.is_empty() && !rest.starts_with('/') {
            return Err(BadTemplate::User);
        }
        let mut parts = vec![Part::Home];
        Self::parse_into(&mut parts, rest)?;
        Ok(Self(parts))
    }

    fn parse_into(parts: &mut Vec<Part>, text: &str) -> Result<(), BadTemplate> {
        if text.contains('\0') {
            return Err(BadTemplate::Nul);
        }
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("$${") {
                literal.push_str("${");
                rest = after;
            } else if let Some(after) = from.strip_prefix("${") {
                let (inside, after) = after.split_once('}').ok_or(BadTemplate::Open)?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::reference(inside)?);
                rest = after;
            } else {
                literal.push('$');
                rest = &from[1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(())
    }

    /// The text, when it has no references.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Looks everything up. On failure says all that is missing, never what was found.
    pub(super) fn expand(&self, lookup: &Lookup<'_>) -> Result<String, Vec<Missing>> {
        let mut text = String::new();
        let mut missing = Vec::new();
        for part in &self.0 {
            match part.expand(lookup) {
                Ok(found) => text.push_str(&found),
                Err(what) => missing.push(what),
            }
        }
        if missing.is_empty() { Ok(text) } else { Err(missing) }
    }

    /// As [`Template::expand`], as an absolute path (if [`Lookup::base`] is one).
    pub(super) fn expand_path(&self, lookup: &Lookup<'_>) -> Result<PathBuf, Vec<Missing>> {
        self.expand(lookup).map(|text| lookup.base.join(text))
    }

    /// The path as it may be said: `~` and what it is relative to looked up, references as they are written. What they
    /// hold may be a secret.
    pub(super) fn show_path(&self, lookup: &Lookup<'_>) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Home => text.push_str(&lookup.home.to_string_lossy()),
                Part::Var { name, default: None } => text.extend(["${", name, "}"]),
                Part::Var { name, default: Some(default) } => text.extend(["${", name, ":-", default, "}"]),
                Part::File(path) => text.extend(["${file:", path, "}"]),
            }
        }
        if matches!(self.0.first(), Some(Part::Var { .. } | Part::File(_))) {
            return text; // it may well be absolute
        }
        lookup.base.join(text).display().to_string()
    }
}

impl Part {
    fn reference(inside: &str) -> Result<Self, BadTemplate> {
        if inside.contains("${") {
            return Err(BadTemplate::Nested);
        }
        if let Some(path) = inside.strip_prefix("file:") {
            return match path {
                "" => Err(BadTemplate::EmptyFile),
                path if path.starts_with('~') && path != "~" && !path.starts_with("~/") => Err(BadTemplate::User),
                path => Ok(Self::File(path.to_owned())),
            };
        }
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (inside, None),
        };
        let is_start = |b: u8| b.is_ascii_alphabetic() || b == b'_';
        let is_name =
            name.bytes().next().is_some_and(is_start) && name.bytes().all(|b| is_start(b) || b.is_ascii_digit());
        if is_name { Ok(Self::Var { name: name.to_owned(), default }) } else { Err(BadTemplate::Name) }
    }

    fn expand(&self, lookup: &Lookup<'_>) -> Result<String, Missing> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Home => lookup.home.to_str().map(str::to_owned).ok_or(Missing::Home),
            Self::Var { name, default } => {
                let found = match ((lookup.vars)(name), default) {
                    (Some(value), None) => value,
                    (Some(value), Some(_)) if !value.is_empty() => value,
                    (_, Some(default)) => return Ok(default.clone()),
                    (None, None) => return Err(Missing::Variable { name: name.clone() }),
                };
                if found.contains('\0') { Err(Missing::NulInVariable { name: name.clone() }) } else { Ok(found) }
            }
            Self::File(path) => {
                let path = match path.strip_prefix('~') {
                    Some(rest) => lookup.home.join(rest.trim_start_matches('/')),
                    None => lookup.base.join(path),
                };
                match (lookup.read)(&path) {
                    Ok(found) if found.contains('\0') => Err(Missing::NulInFile { path }),
                    Ok(found) => Ok(found.trim_end_matches(['\n', '\r']).to_owned()),
                    Err(error) => Err(Missing::File { path, error }),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io;

    fn var(name: &str) -> Option<String> {
        match name {
            "A" => Some("alpha".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${A} $${A} ~".to_owned()),
            "NUL" => Some("a\0b".to_owned()),
            _ => None,
        }
    }

    fn read(path: &Path) -> io::Result<String> {
        match path.to_str() {
            Some("/conf/token") => Ok("secret\r\n\n".to_owned()),
            Some("/home/me/t") => Ok("home".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn lookup() -> Lookup<'static> {
        Lookup { vars: &var, read: &read, base: Path::new("/conf"), home: Path::new("/home/me") }
    }

    fn expand(text: &str) -> Result<String, Vec<String>> {
        let missing = |all: Vec<Missing>| all.iter().map(Missing::to_string).collect();
        Template::parse(text).expect(text).expand(&lookup()).map_err(missing)
    }

    #[test]
    fn what_is_written_becomes() {
        for (written, becomes) in [
            ("", ""),
            ("plain", "plain"),
            ("${A}", "alpha"),
            ("x${A}y${A}z", "xalphayalphaz"),
            ("${NONE:-d e}", "d e"),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${A:-d}", "alpha"),
            ("${file:token}", "secret"),
            ("${file:/conf/token}", "secret"),
            ("${file:~/t}", "home"),
            ("$${A}", "${A}"),
            ("pa$$word $5 $A $", "pa$$word $5 $A $"),
            ("${TRICKY}", "${A} $${A} ~"),
            ("~/x", "~/x"),
        ] {
            assert_eq!(expand(written), Ok(becomes.to_owned()), "{written}");
        }
    }

    #[test]
    fn all_that_is_missing_is_said() {
        let missing = expand("${X} ${A} ${Y} ${file:none} ${NUL}").expect_err("missing");
        assert_eq!(
            missing,
            [
                "variable X is not set",
                "variable Y is not set",
                "file /conf/none cannot be read: entity not found",
                "variable NUL holds a NUL character"
            ]
        );
    }

    #[test]
    fn what_is_not_a_reference_is_refused() {
        for (text, error) in [
            ("${A", BadTemplate::Open),
            ("${}", BadTemplate::Name),
            ("${env:A}", BadTemplate::Name),
            ("${A-b}", BadTemplate::Name),
            ("${1}", BadTemplate::Name),
            ("${file:}", BadTemplate::EmptyFile),
            ("${file:~root/x}", BadTemplate::User),
            ("${A:-${B}}", BadTemplate::Nested),
            ("a\0", BadTemplate::Nul),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
        assert_eq!(Template::parse_path("~root/x"), Err(BadTemplate::User));
    }

    #[test]
    fn paths_know_home_and_their_base() {
        let path = |text: &str| Template::parse_path(text).expect(text).expand_path(&lookup()).expect(text);
        assert_eq!(path("~"), Path::new("/home/me"));
        assert_eq!(path("~/a/${A}"), Path::new("/home/me/a/alpha"));
        assert_eq!(path("a"), Path::new("/conf/a"));
        assert_eq!(path("/a"), Path::new("/a"));
        assert_eq!(path("a~"), Path::new("/conf/a~"));
        assert_eq!(Template::parse_path("~").expect("valid").literal(), None);
    }

    #[test]
    fn messages_name_the_forms() {
        assert_eq!(BadTemplate::Open.to_string(), "`${` without its `}`; write `$${` for a literal `${`");
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(\\$|\\{|\\}|~|:-|file:|[A-Z]|/|\\PC){0,24}") {
            for template in [Template::parse(&text), Template::parse_path(&text)].into_iter().flatten() {
                drop(template.expand(&lookup()));
            }
        }

        #[test]
        fn text_without_references_stays(text in "[^$\\x00]{0,40}") {
            let template = Template::parse(&text).expect("no references");
            prop_assert_eq!(template.literal(), Some(text.as_str()));
            prop_assert_eq!(template.expand(&lookup()).ok(), Some(text));
        }

        #[test]
        fn escaping_every_reference_keeps_the_text(text in "(\\$\\{|\\}|[a-z]){0,24}") {
            let escaped = text.replace("${", "$${");
            prop_assert_eq!(Template::parse(&escaped).expect("escaped").expand(&lookup()).ok(), Some(text));
        }
    }
}

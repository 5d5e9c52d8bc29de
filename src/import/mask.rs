//! What may be shown of a command line or of a line of a config file: everything but secrets.
//!
//! In: arguments, URLs, lines of text. Out: the same with `***` where a secret is or may be. Owns nothing. PURE. May not:
//! let a value pass that looks like a key because it stands in an unusual place.

use std::fmt::Write as _;

/// What stands for a secret.
pub(super) const MASK: &str = "***";

/// Parts of names whose values are secrets.
const SECRET_NAMES: &[&str] = &[
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "api-key",
    "api_key",
    "accesskey",
    "access-key",
    "access_key",
    "private",
    "credential",
    "auth",
    "bearer",
    "cookie",
    "session",
    "signature",
    "dsn",
    "connection-string",
    "connection_string",
    "connectionstring",
    "pat",
    "pass",
    "pin",
    "pwd",
    "key",
];
/// How keys of well-known services begin.
const KEY_STARTS: &[&str] = &[
    "sk-",
    "pk-",
    "rk_",
    "sk_",
    "pk_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "eyJ",
    "hf_",
    "npm_",
    "figd_",
    "ATATT",
    "lin_api_",
    "ntn_",
    "secret_",
    "sbp_",
    "tvly-",
    "fc-",
    "pplx-",
    "r8_",
    "dop_v1_",
    "SG.",
    "key-",
    "pypi-",
    "sntrys_",
    "whsec_",
    "Bearer ",
    "Basic ",
    "-----BEGIN",
];
/// Shortest word that can be a random key.
const KEY_CHARS_MIN: usize = 20;

/// A command line for a person, each argument masked where needed and quoted where a shell would want it.
pub fn command_line(command: &str, args: &[String]) -> String {
    let mut words = vec![quoted(&value(command))];
    let mut secret_next = false;
    for arg in args {
        let shown = if secret_next && !is_reference(arg) {
            MASK.to_owned()
        } else {
            short(arg).unwrap_or_else(|| argument(arg))
        };
        secret_next = is_flag(arg) && !arg.contains('=') && (is_secret_name(arg) || is_short(arg));
        words.push(quoted(&shown));
    }
    words.join(" ")
}

/// Letters of flags that mean a password, a key, a token, a secret or a header somewhere.
const SHORT_SECRETS: [char; 6] = ['p', 'P', 'k', 't', 's', 'H'];

fn is_short(arg: &str) -> bool {
    arg.strip_prefix('-').is_some_and(|letter| letter.len() == 1 && letter.starts_with(SHORT_SECRETS))
}

/// A password right behind the letter of its flag, as `-pPASSWORD`; none if the argument is no such thing.
fn short(arg: &str) -> Option<String> {
    let letter = arg.strip_prefix('-')?.strip_prefix('p')?;
    let sign = if letter.starts_with('=') { "=" } else { "" };
    (!letter.is_empty()).then(|| format!("-p{sign}{MASK}"))
}

fn is_flag(arg: &str) -> bool {
    arg.starts_with('-') && arg.len() > 1
}

/// An argument that no secret flag stands before.
fn argument(arg: &str) -> String {
    // A connection string, or commands of a shell.
    if arg.contains(';') && arg.contains('=') {
        let part = |part: &str| match part.split_once('=') {
            Some((name, rest)) if is_secret_name(name) && is_word(name.trim()) && !is_reference(rest) => {
                format!("{name}={MASK}")
            }
            _ => argument(part),
        };
        return arg.split(';').map(part).collect::<Vec<_>>().join(";");
    }
    // A header, and a script or JSON that carries one.
    if let Some((name, rest)) = arg.split_once(':').filter(|(name, _)| is_word(name) && is_secret_name(name))
        && !is_reference(rest.trim())
    {
        return format!("{name}: {MASK}");
    }
    match arg.split_once('=').filter(|_| !arg.contains(char::is_whitespace)) {
        Some((name, rest)) if is_word(name.trim_start_matches('-')) => {
            let is_secret = is_secret_name(name) && !is_reference(rest);
            format!("{name}={}", if is_secret { MASK.to_owned() } else { argument(rest) })
        }
        _ => value(arg),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// A text without the parts that look like secrets.
fn value(text: &str) -> String {
    if text.trim_start().starts_with(['{', '[']) && text.len() > 2 {
        return format!(
            "{}{MASK}{}",
            &text.trim_start()[..1],
            if text.trim_start().starts_with('{') { "}" } else { "]" }
        );
    }
    if text.contains(char::is_whitespace) {
        return words(text);
    }
    if text.contains("://") {
        return url(text);
    }
    if is_key(text) { MASK.to_owned() } else { text.to_owned() }
}

/// A text of several words, as the script of a shell: each is an argument.
fn words(text: &str) -> String {
    let mut secret_next = false;
    let masked = text.split(char::is_whitespace).map(|word| {
        let shown = if secret_next && !is_reference(word) { MASK.to_owned() } else { argument_word(word) };
        secret_next = (is_flag(word) && !word.contains('=') && is_secret_name(word))
            || ["bearer", "basic"].contains(&word.to_ascii_lowercase().as_str())
            || (word.ends_with(':') && is_secret_name(word));
        shown
    });
    masked.collect::<Vec<_>>().join(" ")
}

fn argument_word(word: &str) -> String {
    let bare = word.trim_matches(['"', '\'', ',', ';']);
    match bare.split_once('=') {
        Some((name, rest)) if is_secret_name(name) && !is_reference(rest) => format!("{name}={MASK}"),
        _ if word.contains("://") => url(word),
        Some((name, rest)) => format!("{name}={}", if is_key(rest) { MASK } else { rest }),
        None if is_key(bare) => MASK.to_owned(),
        None => word.to_owned(),
    }
}

/// A URL without user, password, query and fragment, and without parts of the path that look like keys.
pub(super) fn url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return if is_key(text) { MASK.to_owned() } else { text.to_owned() };
    };
    // A password may hold what would divide a URL.
    let user = rest.rfind('@').filter(|at| rest[..*at].contains(':')).unwrap_or(0);
    let end = rest[user..].find(['?', '#']).map_or(rest.len(), |end| user + end);
    let (address, hidden) = rest.split_at(end);
    let (host, path) = address.split_at(address[user..].find('/').map_or(address.len(), |end| user + end));
    let host = match host.rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}"),
        None => host.to_owned(),
    };
    let path: Vec<&str> = path.split('/').map(|part| if is_key(part) { MASK } else { part }).collect();
    let tail = if hidden.len() > 1 { format!("{}{MASK}", &hidden[..1]) } else { String::new() };
    let scheme = scheme.rsplit_once(['=', '"', '\'']).map_or(scheme.to_owned(), |(name, scheme)| {
        // `--url=https://…`: what stands before the URL is no part of it.
        format!("{name}={scheme}")
    });
    format!("{scheme}://{host}{}{tail}", path.join("/"))
}

/// A reference is shown: it names a secret and does not hold it.
fn is_reference(text: &str) -> bool {
    let text = text.trim_start_matches("Bearer ").trim_start_matches("Basic ");
    text.is_empty()
        || (text.starts_with("${") && text.ends_with('}') && (!text.contains(":-") || text.ends_with(":-}")))
}

/// Whether a name says that its value is a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let parts = || lower.split(|c: char| !c.is_ascii_alphanumeric());
    SECRET_NAMES.iter().any(|secret| match *secret {
        // Too short to be looked for inside of words: `path`, `monkey`, `author`, `sessions`.
        "pat" | "pass" | "pin" | "pwd" | "key" | "auth" | "private" | "session" | "dsn" => parts().any(|part| {
            part == *secret || part.strip_suffix(*secret).is_some_and(|_| *secret == "key" && part != "monkey")
        }),
        secret => lower.contains(secret),
    }) || parts().any(|part| part == "authorization")
}

/// Whether a text looks like a key: begins like one, or is long and random.
pub(super) fn is_key(text: &str) -> bool {
    let starts = KEY_STARTS.iter().any(|start| text.starts_with(start) && text.len() >= start.len() + 4);
    if starts {
        return true;
    }
    let is_wordlike = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '='));
    let count = |is: fn(&char) -> bool| text.chars().filter(is).count();
    let (digits, upper, lower) =
        (count(char::is_ascii_digit), count(char::is_ascii_uppercase), count(char::is_ascii_lowercase));
    let is_hex = text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let is_mixed = digits >= 3 && (is_hex || (upper >= 3 && lower >= 3) || digits * 4 >= text.len());
    text.len() >= KEY_CHARS_MIN && is_wordlike && is_mixed && upper + lower >= 2
}

/// As a shell takes it.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@%:,=~*${}[]".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The lines of a config file (JSON, TOML, YAML) with every value masked that may be secret: in a table of variables or
/// headers, under a name that says so, or by its look. As many lines as the text has.
pub(super) fn lines(text: &str) -> Vec<String> {
    let mut within = Within::default();
    text.lines().map(|line| within.line(line)).collect()
}

/// Whether the lines are in a table whose values are all secret.
#[derive(Default)]
struct Within {
    /// Depth of brackets since the table began; none outside of one.
    brackets: Option<usize>,
    /// A TOML header or a YAML key with this indentation began it.
    section: Option<usize>,
    /// A TOML header began it.
    header: bool,
}

impl Within {
    fn line(&mut self, line: &str) -> String {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if trimmed.starts_with('[') && trimmed.trim_end().ends_with(']') && trimmed.contains(['.', '_']) {
            let name = trimmed.trim_matches(['[', ']', ' ']).rsplit('.').next().unwrap_or_default();
            (self.header, self.section, self.brackets) = (holds_secrets(name), None, None);
            return line.to_owned();
        }
        if self.section.is_some_and(|start| indent <= start && !trimmed.is_empty()) {
            self.section = None;
        }
        let inside = self.brackets.is_some() || self.section.is_some() || self.header;
        let key = key_of(trimmed);
        let begins = secrets_from(line).is_some();
        let masked = if inside || key.is_some_and(|key| is_secret_name(key) || holds_secrets(key)) {
            mask_values(line, true)
        } else {
            let (open, secret) = line.split_at(secrets_from(line).unwrap_or(line.len()));
            mask_values(open, false) + &mask_values(secret, true)
        };
        self.follow(line, begins, indent);
        masked
    }

    fn follow(&mut self, line: &str, begins: bool, indent: usize) {
        let depth = |from: usize| {
            line.chars().fold(from, |depth, c| match c {
                '{' | '[' => depth + 1,
                '}' | ']' => depth.saturating_sub(1),
                _ => depth,
            })
        };
        match self.brackets {
            Some(open) => self.brackets = Some(depth(open)).filter(|open| *open > 0),
            None if begins && line.contains(['{', '[']) => self.brackets = Some(depth(0)).filter(|open| *open > 0),
            None if begins && line.trim_end().ends_with(':') => self.section = Some(indent),
            None => {}
        }
    }
}

fn holds_secrets(key: &str) -> bool {
    matches!(
        key.to_ascii_lowercase().as_str(),
        "env"
            | "envs"
            | "environment"
            | "headers"
            | "http_headers"
            | "requestoptions"
            | "args"
            | "oauth"
            | "oauthaccount"
    )
}

/// Where in a line the value of the first key begins that holds secrets.
fn secrets_from(line: &str) -> Option<usize> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut at = 0;
    while let Some(start) = line[at..].find(is_of_word).map(|start| at + start) {
        let end = line[start..].find(|c| !is_of_word(c)).map_or(line.len(), |end| start + end);
        let rest = line[end..].trim_start_matches(['"', '\'']).trim_start();
        if rest.starts_with([':', '=']) && holds_secrets(&line[start..end]) {
            return Some(line.len() - rest.len() + 1);
        }
        at = end;
    }
    None
}

/// The key at the start of a line: `"key":`, `key =`, `- key:`.
fn key_of(line: &str) -> Option<&str> {
    let line = line.trim_start_matches("- ").trim_start_matches('{').trim_start();
    let end = line.find([':', '='])?;
    let key = line[..end].trim().trim_matches(['"', '\'']);
    (!key.is_empty() && key.len() <= 100).then_some(key)
}

/// A line with its quoted values masked: all of them, or those that look like keys or stand after a name that says so.
/// Keys stay: they are followed by a colon or an equals sign.
fn mask_values(line: &str, all: bool) -> String {
    let mut shown = String::with_capacity(line.len());
    let (mut rest, mut name) = (line, String::new());
    while let Some(start) = rest.find('"') {
        let (before, from) = rest.split_at(start);
        shown.push_str(before);
        let Some(end) = string_end(from) else {
            rest = from;
            break;
        };
        let (string, after) = from.split_at(end);
        let inner = &string[1..string.len() - 1];
        if after.trim_start().starts_with([':', '=']) {
            inner.clone_into(&mut name);
            shown.push_str(string);
        } else if (all || is_secret_name(&name)) && !inner.is_empty() && !is_reference(inner) {
            let _ = write!(shown, "\"{MASK}\"");
        } else {
            let _ = write!(shown, "\"{}\"", value(inner));
        }
        rest = after;
    }
    shown.push_str(&bare(rest, all));
    shown
}

/// What is not in double quotes: bare values of YAML, single quotes, a string that does not end on its line.
fn bare(text: &str, all: bool) -> String {
    let at = text.find([':', '=']).map_or(0, |at| at + 1);
    let (name, value) = text.split_at(at);
    let content = value.trim().trim_end_matches(',');
    let is_structure = content.chars().all(|c| "{}[](),;|>-".contains(c) || c.is_whitespace());
    let is_plain = matches!(content, "true" | "false" | "null" | "~") || content.parse::<f64>().is_ok();
    if is_structure || is_reference(content.trim_matches(['"', '\''])) || (is_plain && !all) {
        return text.to_owned();
    }
    if all
        || is_secret_name(name)
        || content.split(char::is_whitespace).any(|word| is_key(word.trim_matches(['"', '\''])))
    {
        return format!("{name}{}{MASK}", if name.is_empty() { "" } else { " " });
    }
    text.to_owned()
}

/// Where a double-quoted string ends, its quotes included.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;

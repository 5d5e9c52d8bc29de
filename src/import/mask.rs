//! What may be shown to a person of a command line or of a line of a config file: only what is known to hold no secret.
//!
//! In: arguments, URLs, paths, lines of text. Out: the same with `***` for all that may be a secret. Owns nothing. PURE. May
//! not: let anything pass that no rule here names.

mod command;
mod lines;
mod runners;

pub use command::command_line;
pub(super) use lines::lines;

/// What stands for a secret.
const MASK: &str = "***";

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
/// Shortest run of letters and digits that is taken for one.
const RUN_CHARS_MIN: usize = 12;
/// Parts of a URL's path that name no account.
const ROUTES: &[&str] = &["", "mcp", "sse", "api", "http", "stream", "message", "messages"];

/// A URL without user, password, query, fragment and the parts of its path that may be keys; none if it is no URL.
fn url(text: &str) -> Option<String> {
    address(text, false)
}

/// A URL; `is_source`: it says where a program comes from, and all of its path that does not look like a key is shown.
fn address(text: &str, is_source: bool) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-".contains(c));
    if !is_scheme || is_random(scheme) {
        return None;
    }
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(_, host)| ("***@", host));
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    // Of other schemes, `scheme://SECRET` is all that there is.
    let is_web = ["http", "https", "ws", "wss"].contains(&scheme);
    let is_told = is_web || is_source || name == "localhost" || !user.is_empty();
    let is_host = is_reference(host) || name.is_empty() || name == "[::1]" || (is_plain(name) && is_told);
    let is_port = port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit());
    // A password may hold what divides a URL: what seems to be the host is a part of it then.
    let is_tag = |behind: &str| is_source && name.contains('.') && !behind.contains('/');
    let is_clear = tail.rsplit_once('@').is_none_or(|(_, behind)| is_tag(behind));
    if !is_host || !(is_port || is_reference(host)) || !is_clear {
        return Some(format!("{scheme}://{MASK}"));
    }
    let (route, hidden) = tail.split_at(tail.find(['?', '#']).unwrap_or(tail.len()));
    let number = |part: &str| part.len() <= 4 && part.chars().all(|c| c.is_ascii_digit());
    let is_shown = |part: &str| {
        ROUTES.contains(&part)
            || is_reference(part)
            || number(part.strip_prefix('v').unwrap_or(part))
            || (is_source && is_plain(part))
    };
    let route: Vec<&str> = route.split('/').map(|part| if is_shown(part) { part } else { MASK }).collect();
    let hidden = hidden.get(..1).map(|sign| format!("{sign}{MASK}")).unwrap_or_default();
    Some(format!("{scheme}://{user}{host}{}{hidden}", route.join("/")))
}

/// A path that says so by its beginning, without parts that look like keys; none if it is none.
fn path(text: &str) -> Option<String> {
    const STARTS: &[&str] = &["/", "./", "../", "~/", ".\\", "..\\", "~\\"];
    let has_drive = matches!(text.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    let is_root = |root: &str| root == "$HOME" || (is_reference(root) && !root.is_empty());
    let has_root = text.split_once(['/', '\\']).is_some_and(|(root, _)| is_root(root));
    let is_path =
        has_drive || has_root || ["~", ".", ".."].contains(&text) || STARTS.iter().any(|start| text.starts_with(start));
    let shown = |part: &str| {
        let name = part.trim_end_matches(['/', '\\']);
        // Of a drive, or of a folder that becomes another one in a container.
        let bare = [":", ":ro", ":rw"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let is_shown = name.is_empty() || name == "~" || is_root(name) || bare.is_empty() || is_plain(bare);
        format!("{}{}", if is_shown { name } else { MASK }, &part[name.len()..])
    };
    is_path.then(|| text.split_inclusive(['/', '\\']).map(shown).collect())
}

/// A folder or a file, which is a path however it begins.
pub(super) fn place(text: &str) -> String {
    let below = |text: &str| path(&format!("./{text}")).map_or(MASK.to_owned(), |path| path[2..].to_owned());
    path(text).unwrap_or_else(|| below(text))
}

/// A sentence about a file: what it quotes may hold a secret.
pub(super) fn told(sentence: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches(['`', '"', ',', ':', '.']);
        match bare.split_once('=') {
            Some((name, _)) if !name.is_empty() => word.replace(bare, MASK),
            _ => match path(bare) {
                Some(path) => word.replace(bare, &path),
                None if is_random(bare) => word.replace(bare, MASK),
                None => word.to_owned(),
            },
        }
    };
    sentence.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// A name that a person gave, of an entry or a variable.
pub(super) fn name(text: &str) -> String {
    if is_key(text) || text.contains('=') { MASK.to_owned() } else { text.to_owned() }
}

/// A part of a name, a path or a host that looks like nothing else.
fn is_plain(part: &str) -> bool {
    let is_of_name = |c: char| c.is_alphanumeric() || "-_.@()\u{a0}".contains(c);
    !part.is_empty() && part.chars().all(is_of_name) && !is_random(part)
}

/// A reference is shown: it names a secret and does not hold it.
fn is_reference(text: &str) -> bool {
    let Some(name) = text.strip_prefix("${").and_then(|text| text.strip_suffix('}')) else { return text.is_empty() };
    let name = name.strip_suffix(":-").unwrap_or(name);
    match name.strip_prefix("file:") {
        Some(file) => path(file).is_some_and(|shown| shown == file),
        None => name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !is_random(name),
    }
}

/// Whether a name says that its value is a secret.
fn is_secret_name(name: &str) -> bool {
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

/// Whether a name holds what looks like a key.
fn is_random(text: &str) -> bool {
    let is_mixed = |run: &str| {
        let digits = run.chars().filter(char::is_ascii_digit).count();
        run.len() >= RUN_CHARS_MIN && digits >= 2 && run.len() - digits >= 2
    };
    is_key(text) || text.split('.').any(is_key) || text.split(|c: char| !c.is_ascii_alphanumeric()).any(is_mixed)
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

#[cfg(test)]
mod tests;

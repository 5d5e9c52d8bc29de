//! A command line for a person: what tells which program it is, and nothing else.
//!
//! In: a command and its arguments. Out: the same words, `***` for each that is not known to be harmless. Owns nothing.
//! PURE. May not: show a word because it does not look like a secret: any word may be one.

use super::runners::{First, Runner};
use super::{MASK, is_plain, is_random, is_reference, is_secret_name, path, url};

/// Shells in runners in shells; deeper ones are nobody's.
const DEPTH_MAX: usize = 6;
/// Words that say how a server speaks, or what it does: nobody's secrets.
const HARMLESS: &[&str] = &[
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "stdio",
    "sse",
    "http",
    "https",
    "mcp",
    "mcp-server",
    "serve",
    "server",
    "start",
    "run",
    "exec",
    "gateway",
    "info",
    "debug",
    "warn",
    "error",
    "streamable-http",
    "--",
    ".",
    "..",
];
/// Ends of names that only files have.
const FILES: &[&str] = &[
    ".js", ".mjs", ".cjs", ".ts", ".mts", ".py", ".rb", ".php", ".sh", ".jar", ".dll", ".csproj", ".json", ".toml",
    ".yml", ".yaml",
];
/// Several letters behind one dash that are no letter with a value.
const SHORT: &[&str] = &["-it", "-ti", "-ai", "-lc", "-cl", "-ic", "-ec", "-jar", "-cp", "-OO", "-lic", "-ilc", "-euc"];
/// Letters of options that mean a password, a key, a token, a secret or a header somewhere.
const SHORT_SECRETS: &[&str] = &["-p", "-P", "-k", "-t", "-s", "-H"];
/// Names of folders with blanks, which divide no words.
const SPACED: &[&str] = &["Program Files (x86)", "Program Files", "Application Support"];
/// Stands for a blank in one of them.
const BLANK: &str = "\u{a0}";
/// What may follow the number of a version.
const TAGS: &[&str] =
    &["latest", "next", "beta", "alpha", "rc", "canary", "dev", "pre", "post", "preview", "stable", "main", "x", "*"];

/// A command line for a person, quoted where a shell would want it. Shown are the program, the package, script, module or
/// image that it runs, names of options, paths, URLs without what may be secret in them, references, switches and small
/// numbers; all else is masked.
pub fn command_line(command: &str, args: &[String]) -> String {
    let spaced = |text: String, name: &&str| text.replace(*name, &name.replace(' ', BLANK));
    let command = SPACED.iter().fold(command.to_owned(), spaced);
    // Some people, and some processes, put all words into the first one.
    let words = command.split([' ', '\t', '\n', '\r']).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.chain(args.iter().map(String::as_str)).collect();
    let shown = line(&words, DEPTH_MAX);
    shown.iter().map(|word| quoted(&word.replace(BLANK, " "))).collect::<Vec<_>>().join(" ")
}

/// A program and its arguments.
fn line(words: &[&str], depth: usize) -> Vec<String> {
    let mut shown: Vec<String> = words.iter().map_while(|word| assigned(word)).collect();
    let Some((&command, mut rest)) = words[shown.len()..].split_first() else { return shown };
    shown.push(program(command));
    let Some(runner) = Runner::of(command).filter(|_| depth > 0) else {
        shown.extend(arguments(rest));
        return shown;
    };
    while let [word, behind @ ..] = rest {
        let next = behind.first();
        let is = |list: &[&str]| list.contains(word);
        match (word.split_once('='), next) {
            // What follows is the arguments of the program that an option named.
            _ if *word == "--" && runner.first == First::File => break,
            _ if is(runner.verbs) || is(runner.bare) || *word == "--" => shown.push((*word).to_owned()),
            (Some((flag, name)), _) if runner.naming.contains(&flag) => shown.push(format!("{flag}={}", program(name))),
            (Some(_), _) if word.starts_with("--") => shown.push(option(word)),
            (None, Some(name)) if is(runner.naming) || is(runner.module) => {
                shown.extend([(*word).to_owned(), program(name)]);
            }
            (None, Some(text)) if is(runner.script) => shown.extend([(*word).to_owned(), script(text, depth)]),
            (None, Some(variable)) if runner.first == First::Image && ["-e", "--env"].contains(word) => {
                shown.extend([(*word).to_owned(), assigned(variable).unwrap_or_else(|| name_of(variable))]);
            }
            (None, Some(text)) if is(runner.valued) => shown.extend([(*word).to_owned(), value(text, Some(word))]),
            _ if word.starts_with('-') => break,
            _ if assigned(word).is_some() => shown.extend(assigned(word)),
            _ => {
                shown.extend(first(runner.first, rest, depth));
                return shown;
            }
        }
        let takes_value = !word.contains('=') && (is(runner.naming) || is(runner.valued));
        let ends = is(runner.module) || is(runner.script);
        rest = behind.get(usize::from(takes_value || ends)..).unwrap_or_default();
        if ends {
            break;
        }
    }
    shown.extend(arguments(rest));
    shown
}

/// What a runner runs, and its arguments.
fn first(kind: First, words: &[&str], depth: usize) -> Vec<String> {
    let Some((word, rest)) = words.split_first() else { return Vec::new() };
    match kind {
        First::Command => {
            let words: Vec<&str> = word.split_whitespace().chain(rest.iter().copied()).collect();
            line(&words, depth - 1)
        }
        First::Image => [program(word)].into_iter().chain(arguments(rest)).collect(),
        First::File => {
            let is_named = ["artisan", "npm:", "jsr:"].iter().any(|start| word.starts_with(start));
            let is_file = is_named || word.contains(['.', '/', '\\']);
            let name = if is_file { program(word) } else { value(word, None) };
            [name].into_iter().chain(arguments(rest)).collect()
        }
    }
}

/// Arguments of a program that is not known: those that can hold no secret.
fn arguments(words: &[&str]) -> Vec<String> {
    let mut before: Option<&str> = None;
    let mut shown = Vec::with_capacity(words.len());
    for word in words {
        let is_option = word.starts_with('-') && word.len() > 1;
        shown.push(match before {
            Some(flag) if !is_option || is_for_secrets(flag) => value(word, Some(flag)),
            _ => option(word),
        });
        before = (is_option && !word.contains('=')).then_some(*word);
    }
    shown
}

/// The name of an option, with its value if that is harmless; or a value.
fn option(word: &str) -> String {
    if !word.starts_with('-') || word == "--" {
        return value(word, None);
    }
    let (flag, given) = word.split_once('=').map_or((word, None), |(flag, given)| (flag, Some(given)));
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !is_random(name)
    };
    let letter = flag.chars().nth(1).filter(char::is_ascii_alphabetic);
    let name = match (flag.strip_prefix("--"), letter) {
        (Some(name), _) if is_name(name) => flag.to_owned(),
        (None, Some(_)) if flag.len() == 2 || SHORT.contains(&flag) => flag.to_owned(),
        // A value may stand right behind the letter.
        (None, Some(letter)) => return format!("-{letter}{MASK}"),
        _ => return MASK.to_owned(),
    };
    match given {
        Some(given) => format!("{name}={}", value(given, Some(flag))),
        None => name,
    }
}

fn is_for_secrets(flag: &str) -> bool {
    is_secret_name(flag) || SHORT_SECRETS.contains(&flag)
}

/// A value, if it is harmless by its shape, and not that of an option for secrets.
fn value(word: &str, flag: Option<&str>) -> String {
    let is_number = !word.is_empty() && word.len() <= 5 && word.chars().all(|c| c.is_ascii_digit());
    let is_secret = flag.is_some_and(is_for_secrets);
    if is_reference(word) || (!is_secret && (HARMLESS.contains(&word) || is_number)) {
        return word.to_owned();
    }
    let shown = if is_secret { None } else { url(word).or_else(|| path(word)).or_else(|| file(word)) };
    shown.unwrap_or_else(|| MASK.to_owned())
}

/// A relative path to a file whose kind is known by its name.
fn file(word: &str) -> Option<String> {
    FILES.iter().any(|end| word.len() > end.len() && word.ends_with(end)).then(|| package(word)).flatten()
}

/// What is run: a path, a URL, a name with its version.
fn program(word: &str) -> String {
    super::address(word, true).or_else(|| path(word)).or_else(|| package(word)).unwrap_or_else(|| MASK.to_owned())
}

/// `name`, `@scope/name@1.2.3`, `name[extra]==1.0`, `registry.example/name:tag`, `dist/index.js`.
fn package(word: &str) -> Option<String> {
    const SOURCES: &[&str] = &["npm:", "jsr:", "github:", "gitlab:", "file:"];
    let source = SOURCES.iter().find(|source| word.starts_with(**source)).copied().unwrap_or_default();
    let name = &word[source.len()..];
    // A port of a registry is no tag.
    let tagged = name.rfind(':').filter(|at| !name[*at..].contains('/'));
    let scope = usize::from(name.starts_with('@'));
    let versioned = name[scope..].find(['@', '=', '~', '>', '<', '^']).map(|at| at + scope);
    let (name, version) = name.split_at(versioned.into_iter().chain(tagged).min().unwrap_or(name.len()));
    let (base, extras) = name.strip_suffix(']').and_then(|name| name.split_once('[')).unwrap_or((name, ""));
    let is_part = |part: &str| {
        let (part, port) = part.split_once(':').unwrap_or((part, ""));
        is_plain(part) && port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit())
    };
    let is_name = base.get(scope..).is_some_and(|base| base.split(['/', '\\']).all(is_part));
    let are_extras = extras.split(',').all(|part| part.is_empty() || is_plain(part));
    let shown = || format!("{source}{name}{}", tag(version));
    (is_name && are_extras && base.contains(char::is_alphanumeric)).then(shown)
}

/// A version with what divides it from the name; what is none may be a secret.
fn tag(version: &str) -> String {
    let digits = version.trim_start_matches(['@', '=', '~', ':', '^', '>', 'v']);
    let is_part = |part: &str| {
        let number = part.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let is_number = number.len() <= 4 && number.chars().all(|c| c.is_ascii_digit());
        let name = &part[..part.len() - number.len()];
        TAGS.contains(&part) || (is_number && (name.is_empty() || TAGS.contains(&name)))
    };
    // One alone gives a variable its value.
    let is_assigned = version.starts_with('=') && !version.starts_with("==");
    match version.len() - digits.len() {
        _ if digits.is_empty() && version.is_empty() => String::new(),
        _ if !is_assigned && digits.split(['.', '-', '+']).all(is_part) => version.to_owned(),
        sign => format!("{}{MASK}", &version[..sign]),
    }
}

/// `NAME=***`, or the reference that it is given.
fn assigned(word: &str) -> Option<String> {
    let (name, value) = word.split_once('=')?;
    let value = if is_reference(value) { value } else { MASK };
    (is_variable(name) && !value.is_empty()).then(|| format!("{name}={value}"))
}

fn name_of(word: &str) -> String {
    if is_variable(word) || is_reference(word) { word.to_owned() } else { MASK.to_owned() }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && !is_random(name)
}

/// What the commands of a script of a shell show; nothing, if it is more than words, quotes and commands in a row.
fn script(text: &str, depth: usize) -> String {
    let Some(commands) = commands(text) else { return MASK.to_owned() };
    let mut shown = String::new();
    for (at, (sign, words)) in commands.iter().enumerate() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // A divider may have been part of a secret that nobody quoted.
        let is_known = |word: &&str| Runner::of(word).is_some() || ["cd", "export", "source", "."].contains(word);
        let program = words.iter().find(|word| assigned(word).is_none());
        let words = match program {
            Some(word) if at == 0 || is_known(word) => line(&words, depth - 1),
            _ => words.iter().map(|_| MASK.to_owned()).collect(),
        };
        shown.push_str(sign);
        shown.push_str(&words.join(" "));
    }
    shown
}

/// The words of each command, and what divides it from the one before.
fn commands(text: &str) -> Option<Vec<(String, Vec<String>)>> {
    let mut all = vec![(String::new(), Vec::new())];
    let (mut word, mut quote): (Option<String>, Option<char>) = (None, None);
    for c in text.trim().chars() {
        match c {
            _ if quote == Some(c) => quote = None,
            '`' | '\\' | '(' | ')' | '<' | '>' | '#' => return None,
            _ if quote.is_some() => word.get_or_insert_default().push(c),
            '"' | '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            _ if c.is_whitespace() || ";&|".contains(c) => {
                let (sign, words) = all.last_mut()?;
                words.extend(word.take());
                let is_sign = !" \t".contains(c);
                if is_sign && words.is_empty() && !sign.is_empty() {
                    sign.insert(sign.trim_end().len(), c);
                } else if is_sign {
                    all.push((format!(" {c} "), Vec::new()));
                }
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    all.last_mut()?.1.extend(word);
    quote.is_none().then_some(all)
}

/// As a shell takes it.
fn quoted(text: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "/._-+@%:,=~*${}[]".contains(c);
    if !text.is_empty() && text.chars().all(is_safe) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

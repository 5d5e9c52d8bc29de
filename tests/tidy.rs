//! The style of this repository as a test: layers, sizes, headers, bans.
//!
//! In: the files of the repository. Out: a list of what breaks a rule, with file and line. Owns nothing. May not: need
//! anything but the sources; it parses no Rust, and knows just enough of it to skip comments and strings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

struct Source {
    path: PathBuf,
    text: String,
    /// The text with comments, strings and character literals blanked, line by line the same.
    code: String,
}

impl Source {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The room of a file under `src`, or `None` for `lib.rs` and `main.rs`.
    fn room(&self) -> Option<String> {
        let inner = self.path.strip_prefix("src").ok()?;
        let first = inner.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
        (first != "lib" && first != "main").then_some(first)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<Source> {
    let mut folders = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let code = blank(&text);
                let path = path.strip_prefix(root()).expect("below the root").to_owned();
                found.push(Source { path, text, code });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn fail_on(problems: &str) {
    assert!(problems.is_empty(), "\n{problems}");
}

/// The end of a raw string that starts at `at`, if one does.
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let mut from = at;
    if chars.get(from) == Some(&'b') {
        from += 1;
    }
    if chars.get(from) != Some(&'r') || at.checked_sub(1).is_some_and(|i| is_word(chars[i])) {
        return None;
    }
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    let quote = from + 1 + hashes;
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let is_end =
        |i: &usize| chars[*i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (quote + 1..chars.len()).find(is_end).map(|end| end + 1 + hashes)
}

fn quoted_end(chars: &[char], at: usize, quote: char) -> usize {
    let mut i = at + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

fn comment_end(chars: &[char], at: usize) -> usize {
    let ends = |i: usize| if chars[at + 1] == '/' { chars[i] == '\n' } else { chars[i - 1] == '*' && chars[i] == '/' };
    let line = chars[at + 1] == '/';
    let end = (at + 2..chars.len()).find(|i| ends(*i) && (line || *i > at + 2)).unwrap_or(chars.len());
    if line { end } else { (end + 1).min(chars.len()) }
}

/// Replaces everything that is not code by spaces, keeping the lines.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let next = chars.get(at + 1);
        let end = match chars[at] {
            '/' if matches!(next, Some('/' | '*')) => comment_end(&chars, at),
            '"' => quoted_end(&chars, at, '"'),
            // A character, not a lifetime: it ends soon.
            '\'' if next == Some(&'\\') || chars.get(at + 2) == Some(&'\'') => quoted_end(&chars, at, '\''),
            'r' | 'b' => raw_string_end(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            code.push(chars[at]);
            at += 1;
        }
        while at < end {
            code.push(if chars[at] == '\n' { '\n' } else { ' ' });
            at += 1;
        }
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Rooms and their layers, from the table in `src/lib.rs`. A room may use rooms of lower layers, and itself.
fn layers_told() -> BTreeMap<String, u8> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let mut layers = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("//! | ")) {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let Some(Ok(layer)) = cells.next().map(str::parse::<u8>) else { continue };
        let rooms = cells.next().unwrap_or_default();
        layers.extend(rooms.split(',').map(|room| (room.trim().trim_matches(['[', ']', '`']).to_owned(), layer)));
    }
    layers
}

/// The rooms that code names, with line numbers: `crate::ROOM`, and each of `crate::{ROOM, …}`.
fn rooms_used(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (offset, _) in code.match_indices("crate::") {
        let line = code[..offset].matches('\n').count() + 1;
        let rest = &code[offset + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => first_names(group),
            None => vec![rest.chars().take_while(|c| is_word(*c)).collect()],
        };
        found.extend(names.into_iter().map(|name| (line, name)));
    }
    found
}

/// The first segment of each path in a `use` group.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut current, mut fresh) = (0, Vec::new(), String::new(), true);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(std::mem::take(&mut current));
                fresh = true;
            }
            ':' if depth == 0 => fresh = false,
            c if depth == 0 && fresh && is_word(c) => current.push(c),
            _ => {}
        }
    }
    names.push(current);
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn layers() {
    let layers = layers_told();
    let mut problems = String::new();
    for source in sources("src") {
        let Some(room) = source.room() else { continue };
        let Some(own) = layers.get(&room) else {
            let _ = writeln!(problems, "{}: room `{room}` is not in the table of src/lib.rs", source.name());
            continue;
        };
        for (line, used) in rooms_used(&source.code) {
            let allowed = used == room || layers.get(&used).is_none_or(|other| other < own);
            if !allowed {
                let _ = writeln!(problems, "{}:{line}: `{room}` (layer {own}) may not use `{used}`", source.name());
            }
        }
    }
    fail_on(&problems);
}

/// The table names every room, and no other; without it the test above would pass by finding nothing.
#[test]
fn the_table_in_lib_rs() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let declared: BTreeSet<String> = modules(&blank(&text)).into_iter().collect();
    let told: BTreeSet<String> = layers_told().into_keys().collect();
    assert_eq!(told, declared);
    assert!(layers_told().values().collect::<BTreeSet<_>>().len() > 5, "the layers are told apart");
}

#[test]
fn sizes() {
    let mut problems = String::new();
    for source in sources("src").iter().chain(&sources("tests")) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            let _ = writeln!(problems, "{}: {lines} lines, at most {FILE_LINES_MAX}", source.name());
        }
        for (line, length) in functions(&source.code).into_iter().filter(|(_, length)| *length > FUNCTION_LINES_MAX) {
            let _ = writeln!(problems, "{}:{line}: {length} lines, at most {FUNCTION_LINES_MAX}", source.name());
        }
    }
    fail_on(&problems);
}

/// Where functions begin and how many lines they have.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(column) = line.find("fn ").filter(|at| !line[..*at].ends_with(is_word)) else { continue };
        if !line[column + 3..].starts_with(|c: char| is_word(c)) {
            continue;
        }
        let (mut depth, mut open) = (0_usize, false);
        'body: for (offset, line) in lines[index..].iter().enumerate() {
            for c in line[if offset == 0 { column } else { 0 }..].chars() {
                match c {
                    ';' if !open => break 'body,
                    '{' => (depth, open) = (depth + 1, true),
                    '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if open && depth == 0 {
                    found.push((index + 1, offset + 1));
                    break 'body;
                }
            }
        }
    }
    found
}

#[test]
fn headers() {
    let mut problems = String::new();
    for source in sources("src").iter().chain(&sources("tests")) {
        let header = source.text.lines().take_while(|line| line.starts_with("//!")).count();
        if header == 0 {
            let _ = writeln!(problems, "{}: no `//!` header", source.name());
        }
    }
    fail_on(&problems);
}

#[test]
fn bans() {
    let leftovers = ["TODO", "FIXME", "XXX"].map(|word| (word, "leftover"));
    let mut problems = String::new();
    for source in sources("src").iter().chain(&sources("tests")) {
        if source.path == Path::new("tests/tidy.rs") {
            continue;
        }
        let in_platform = source.path.starts_with("src/platform");
        let is_src = source.path.starts_with("src");
        for (index, (text, code)) in source.text.lines().zip(source.code.lines()).enumerate() {
            let mut broken: Vec<&str> = Vec::new();
            broken.extend(leftovers.iter().filter(|(word, _)| text.contains(word)).map(|(word, _)| *word));
            if code.contains("dbg!") {
                broken.push("dbg!");
            }
            if is_src && !in_platform {
                let unsafe_code = code.split(|c| !is_word(c)).any(|word| word == "unsafe");
                broken.extend(unsafe_code.then_some("unsafe outside of platform"));
                let system =
                    ["cfg(target_", "cfg!(target_", "cfg(unix", "cfg(windows", "cfg(any(target_", "cfg(not(target_"];
                let system = system.iter().any(|start| code.contains(start));
                broken.extend(system.then_some("a choice of system outside of platform"));
            }
            for rule in broken {
                let _ = writeln!(problems, "{}:{}: {rule}", source.name(), index + 1);
            }
        }
    }
    fail_on(&problems);
}

/// A file that no `mod` names is dead, and nobody notices.
#[test]
fn every_file_is_reachable() {
    let all = sources("src");
    let mut reached = BTreeSet::from([PathBuf::from("src/lib.rs"), PathBuf::from("src/main.rs")]);
    let mut open: Vec<PathBuf> = reached.iter().cloned().collect();
    while let Some(path) = open.pop() {
        let Some(source) = all.iter().find(|source| source.path == path) else { continue };
        for name in modules(&source.code) {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            let parent = path.parent().expect("a folder");
            let folder = if matches!(stem, "mod" | "lib" | "main") { parent.to_owned() } else { parent.join(stem) };
            for file in [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")] {
                if root().join(&file).exists() && reached.insert(file.clone()) {
                    open.push(file);
                }
            }
        }
    }
    let lost: Vec<_> = all.iter().map(|source| source.path.clone()).filter(|path| !reached.contains(path)).collect();
    assert!(lost.is_empty(), "no `mod` leads to {lost:?}");
}

/// The names of `mod NAME;` items.
fn modules(code: &str) -> Vec<String> {
    let items = code.lines().filter_map(|line| {
        let line = line.trim().strip_suffix(';')?;
        let at = line.find("mod ").filter(|at| *at == 0 || line[..*at].ends_with(' '))?;
        let name = line[at + 4..].trim();
        name.chars().all(is_word).then(|| name.to_owned())
    });
    items.collect()
}

/// Nothing in the repository says where it lay when it was written.
#[test]
fn no_paths_of_one_machine() {
    let tracked = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Some(tracked) = tracked.ok().filter(|output| output.status.success()) else {
        // A release archive has no history, and nothing to check that was not checked before.
        return;
    };
    let mut problems = String::new();
    // In two parts, so that this file does not accuse itself.
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/home/", "runner")];
    for name in String::from_utf8(tracked.stdout).expect("names").split('\0').filter(|name| !name.is_empty()) {
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        for (index, line) in text.lines().enumerate() {
            if paths.iter().any(|path| line.contains(path)) {
                let _ = writeln!(problems, "{name}:{}: {line:.100}", index + 1);
            }
        }
    }
    fail_on(&problems);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanking_keeps_lines_and_code() {
        let text = "a /* { */ b\n// }\n\"{\\\"\" c '{' d 'x e r#\"}\"\n\"# f\n";
        let code = blank(text);
        assert_eq!(code.lines().count(), text.lines().count());
        assert!(!code.contains(['{', '}']), "{code}");
        for kept in ["a", "b", "c", "d", "'x e", "f"] {
            assert!(code.contains(kept), "{kept} in {code}");
        }
    }

    #[test]
    fn rooms_and_functions_are_found() {
        let code = "use crate::mcp::Raw;\nuse crate::{server::{a, b}, limits, http::x};\n";
        let names: Vec<String> = rooms_used(code).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["mcp", "server", "limits", "http"]);
        assert_eq!(functions("fn a() {\n}\ntrait T { fn b(); }\npub fn c()\nwhere\n{ {\n} }\n"), [(1, 2), (4, 4)]);
        assert_eq!(modules("pub mod a;\nmod b;\nmod c {\n}\npub(crate) mod d;\n"), ["a", "b", "d"]);
    }
}

//! `hub check`: everything that is wrong with a hub.toml, without running anything.
//!
//! In: a file. Out: its problems, all at once, or that there are none. Owns nothing. May not: show a value that could be
//! a secret, or need a daemon.

use std::path::Path;

use serde_json::json;

use crate::config::{Kind, Loaded, Problem, file};
use crate::platform::dirs::{self, Dirs};

use super::failure::{Exit, Failure, chain};
use super::out::Out;

pub(super) fn run(file: Option<&Path>, json: bool, out: &Out) -> Result<(), Failure> {
    let path = match file {
        Some(file) => std::path::absolute(file)?,
        None => Dirs::find(None)?.config_file,
    };
    let text = file::read(&path).map_err(|error| unreadable(&path, &error))?;
    let home = dirs::home_or_root();
    let loaded = file::load(&text, &path, &home);
    if json {
        out.document(document(&path, &loaded).to_string().as_bytes())?;
    } else if loaded.problems.is_empty() {
        let count = loaded.config.as_ref().map_or(0, |config| config.servers.len());
        let plural = if count == 1 { "" } else { "s" };
        out.line(&format!("{} is fine: {count} server{plural}", path.display()))?;
    } else {
        for problem in &loaded.problems {
            out.line(&problem.to_string())?;
        }
    }
    match loaded.problems.len() {
        0 => Ok(()),
        _ if json => Err(Failure::said(Exit::Config)),
        1 => Err(Failure::new(Exit::Config, format!("1 problem in {}", path.display()))),
        count => Err(Failure::new(Exit::Config, format!("{count} problems in {}", path.display()))),
    }
}

/// A file that cannot be read, with a first one to begin from.
pub(super) fn unreadable(path: &Path, error: &file::Error) -> Failure {
    let failure = Failure::new(Exit::Config, chain(error));
    match error {
        file::Error::Absent { .. } => failure.hint(first_one(path, Path::is_dir)),
        // It says what to run.
        file::Error::Writable { .. } => failure,
        file::Error::Unreadable { .. } | file::Error::NotAFile { .. } => {
            failure.hint("`--config FILE` or HUB_CONFIG names another one")
        }
    }
}

/// How to write a first hub.toml, for a shell.
fn first_one(path: &Path, is_dir: impl Fn(&Path) -> bool) -> String {
    let folder = path.parent().filter(|folder| !is_dir(folder));
    let make = folder.map(|folder| format!("mkdir -p {} && ", quoted(folder))).unwrap_or_default();
    let text = r#"[servers.time]\ncommand = "uvx"\nargs = ["mcp-server-time"]\n"#;
    format!("write one, for example: {make}printf '{text}' > {}", quoted(path))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@%:,".contains(c));
    if is_plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn document(path: &Path, loaded: &Loaded) -> serde_json::Value {
    json!({
        "file": path.display().to_string(),
        "ok": loaded.problems.is_empty(),
        "servers": loaded.config.as_ref().map(|config| config.servers.len()),
        "problems": loaded.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

fn problem(problem: &Problem) -> serde_json::Value {
    let kind = match problem.kind {
        Kind::Syntax => "syntax",
        Kind::Schema => "schema",
        Kind::Environment => "environment",
    };
    let line = Some(problem.line).filter(|&line| line > 0);
    json!({ "kind": kind, "line": line, "server": problem.server, "message": problem.what, "hint": problem.hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_for_a_missing_file_can_be_typed() {
        let printf = r#"printf '[servers.time]\ncommand = "uvx"\nargs = ["mcp-server-time"]\n' > "#;
        let there = |path: &str| first_one(Path::new(path), |_| true);
        assert_eq!(there("/hub.toml"), format!("write one, for example: {printf}/hub.toml"));
        let missing = first_one(Path::new("/a b/it's.toml"), |_| false);
        assert_eq!(missing, format!(r"write one, for example: mkdir -p '/a b' && {printf}'/a b/it'\''s.toml'"));
    }
}

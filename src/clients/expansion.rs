//! A client's placeholders in the words of hub.toml.
//!
//! In: a text of an entry, and how its client expands. Out: the same as hub expands it: `${VAR}`, `${VAR:-default}`,
//! `${file:PATH}`, and `$${` for a literal `${`. Owns no state. May not: look anything up.
//!
//! What a client does not expand is literal for hub too. What it takes from where hub cannot look (a dialog, a keyring,
//! an editor's state) is a [`Reason`] to leave the entry alone, whichever client's file it is in: as a literal it is of
//! use to nobody.

use super::client::Expansion;

/// What a text is part of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Around<'a> {
    /// The folder of the project that the entry belongs to; none for a user's file.
    pub project: Option<&'a str>,
    /// The folder of the file that the entry is in: opencode's `{file:PATH}` is relative to it.
    pub folder: Option<&'a str>,
}

/// Why a text has no equal in hub.toml. For a person; quotes the placeholder without its default, and nothing else of
/// the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Reason(pub String);

/// The text as hub.toml says it. What hub makes of that is what the client makes of the text, but for two things: a
/// variable that is empty has its default as if it were not set, and one that is not set and has no default is an error
/// for hub where Claude Code leaves the placeholder as it is written.
pub fn to_hub(text: &str, expansion: Expansion, around: Around<'_>) -> Result<String, Reason> {
    if text.contains('\0') {
        return Err(Reason("it holds a NUL character".to_owned()));
    }
    let mut said = String::with_capacity(text.len());
    let mut literal = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let Some((whole, inside)) = placeholder(rest, expansion) else {
            literal.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        out_of_reach(whole)?;
        match one(whole, inside, expansion, around)? {
            Said::Literal(text) => literal.push_str(&text),
            // `$` and `${` side by side would be the sign for a literal `${`.
            Said::Reference(_) if literal.ends_with('$') => {
                return Err(Reason(format!("hub.toml cannot say a `$` right before `{}`", named(whole))));
            }
            Said::Reference(reference) => {
                said.push_str(&escaped(&literal));
                literal.clear();
                said.push_str(&reference);
            }
        }
        rest = &rest[whole.len()..];
    }
    Ok(said + &escaped(&literal))
}

/// What becomes of a placeholder.
enum Said {
    Literal(String),
    Reference(String),
}

fn escaped(literal: &str) -> String {
    literal.replace("${", "$${")
}

/// The placeholder that a text begins with, whole and what is inside. Also those that the client knows nothing of, if
/// they look like one: some are out of reach for all.
fn placeholder(text: &str, expansion: Expansion) -> Option<(&str, &str)> {
    let enclosed = |open: &str, close: &str| {
        let inside = text.strip_prefix(open)?;
        let end = inside.find(close)?;
        Some((&text[..open.len() + end + close.len()], &inside[..end]))
    };
    if text.starts_with("${{") {
        return enclosed("${{", "}}");
    }
    if text.starts_with("${") {
        return enclosed("${", "}");
    }
    match expansion {
        Expansion::Opencode if text.starts_with("{env:") || text.starts_with("{file:") => enclosed("{", "}"),
        Expansion::Shell => {
            let name = text.strip_prefix('$')?;
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
            (end > 0).then(|| (&text[..=end], &name[..end]))
        }
        _ => None,
    }
}

/// What no client's file can hold for hub.
fn out_of_reach(whole: &str) -> Result<(), Reason> {
    let why = if whole.starts_with("${input:") {
        "is asked for in a dialog of the client"
    } else if whole.starts_with("${CLAUDE_PLUGIN_ROOT") || whole.starts_with("${CLAUDE_PLUGIN_DATA") {
        "only has a value inside a plugin"
    } else if whole.starts_with("${{") && (whole.contains("secrets.") || whole.contains("inputs.")) {
        "lies in the client's own store of secrets"
    } else {
        return Ok(());
    };
    Err(Reason(format!("`{}` {why}", named(whole))))
}

/// A placeholder for a person: without its default, which may be a secret.
fn named(whole: &str) -> String {
    whole.split_once(":-").map_or_else(|| whole.to_owned(), |(name, _)| format!("{name}:-…}}"))
}

fn one(whole: &str, inside: &str, expansion: Expansion, around: Around<'_>) -> Result<Said, Reason> {
    if whole.starts_with("${{") {
        return Ok(Said::Literal(whole.to_owned()));
    }
    match expansion {
        Expansion::None | Expansion::Secrets => Ok(Said::Literal(whole.to_owned())),
        Expansion::Claude => claude(whole, inside, around),
        Expansion::Editor => editor(whole, inside, around),
        Expansion::Shell | Expansion::Braces => shell(whole, inside),
        Expansion::Opencode => match (inside.strip_prefix("env:"), inside.strip_prefix("file:")) {
            (Some(name), _) if !whole.starts_with('$') => variable(whole, name.trim(), Some("")),
            (_, Some(path)) if !whole.starts_with('$') => file(whole, path.trim(), around),
            _ => Ok(Said::Literal(whole.to_owned())),
        },
    }
}

fn claude(whole: &str, inside: &str, around: Around<'_>) -> Result<Said, Reason> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if name == "CLAUDE_PROJECT_DIR" {
        return root(whole, around);
    }
    // `${env:X}`, `${process.env.X}`: no variable can have such a name, so Claude Code leaves them as they are.
    if is_name(name) { variable(whole, name, default) } else { Ok(Said::Literal(whole.to_owned())) }
}

fn shell(whole: &str, inside: &str) -> Result<Said, Reason> {
    let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
    if is_name(name) { variable(whole, name, Some(default)) } else { Ok(Said::Literal(whole.to_owned())) }
}

fn editor(whole: &str, inside: &str, around: Around<'_>) -> Result<Said, Reason> {
    if let Some(name) = inside.strip_prefix("env:") {
        return variable(whole, name, Some(""));
    }
    match inside {
        "workspaceFolder" | "workspaceRoot" => root(whole, around),
        "workspaceFolderBasename" | "workspaceRootFolderName" => {
            let name = around.project.and_then(|root| root.trim_end_matches('/').rsplit('/').next());
            name.map(|name| Said::Literal(name.to_owned())).ok_or_else(|| no_project(whole))
        }
        "userHome" => Ok(Said::Reference("${HOME}".to_owned())),
        "pathSeparator" | "/" => Ok(Said::Literal("/".to_owned())),
        "cwd" | "file" | "selectedText" | "lineNumber" | "execPath" | "defaultBuildTask" => Err(state(whole)),
        _ if inside.starts_with("file") || inside.starts_with("relativeFile") => Err(state(whole)),
        _ => match inside.split_once(':') {
            // One folder of a workspace of several, a command's result, a setting.
            Some(("workspaceFolder" | "command" | "config" | "extensionInstallFolder", _)) => Err(state(whole)),
            _ => Ok(Said::Literal(whole.to_owned())),
        },
    }
}

fn state(whole: &str) -> Reason {
    Reason(format!("only the editor knows `{whole}`"))
}

fn no_project(whole: &str) -> Reason {
    Reason(format!("`{whole}` is another folder in each project, and the entry is for all of them"))
}

fn root(whole: &str, around: Around<'_>) -> Result<Said, Reason> {
    around.project.map(|root| Said::Literal(root.to_owned())).ok_or_else(|| no_project(whole))
}

fn variable(whole: &str, name: &str, default: Option<&str>) -> Result<Said, Reason> {
    if !is_name(name) {
        return Err(Reason(format!("`{}` names a variable that hub.toml cannot name", named(whole))));
    }
    match default {
        Some(default) if default.contains("${") => {
            Err(Reason(format!("hub.toml cannot say `{}`: it nests", named(whole))))
        }
        Some(default) => Ok(Said::Reference(format!("${{{name}:-{default}}}"))),
        None => Ok(Said::Reference(format!("${{{name}}}"))),
    }
}

fn file(whole: &str, path: &str, around: Around<'_>) -> Result<Said, Reason> {
    let absolute = path.starts_with('/') || path == "~" || path.starts_with("~/");
    let path = match around.folder {
        _ if absolute => path.to_owned(),
        Some(folder) => format!("{}/{}", folder.trim_end_matches('/'), path.trim_start_matches("./")),
        None => return Err(Reason(format!("`{whole}` is relative to a folder that is not known"))),
    };
    if path.contains(['}', '\0']) || path.contains("${") {
        return Err(Reason(format!("hub.toml cannot say `{whole}`")));
    }
    Ok(Said::Reference(format!("${{file:{path}}}")))
}

fn is_name(name: &str) -> bool {
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(is_start) && name.bytes().all(|byte| is_start(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::client;

    fn said(client_id: &str, text: &str) -> String {
        let client = client(client_id).expect("a client");
        let around = Around { project: Some("/p/a"), folder: Some("/p/a/conf") };
        to_hub(text, client.expansion, around).unwrap_or_else(|Reason(why)| format!("! {why}"))
    }

    #[test]
    fn claude_code() {
        let table = [
            ("plain", "plain"),
            ("", ""),
            ("${A}", "${A}"),
            ("x${A}y${B:-c d}z", "x${A}y${B:-c d}z"),
            ("${A:-}", "${A:-}"),
            ("$A ~/x $5 a$", "$A ~/x $5 a$"),
            ("${env:A}", "$${env:A}"),
            ("${process.env.A}", "$${process.env.A}"),
            ("${A", "$${A"),
            ("${}", "$${}"),
            ("$${A}", "! hub.toml cannot say a `$` right before `${A}`"),
            ("$$A", "$$A"),
            ("{env:A}", "{env:A}"),
            ("${CLAUDE_PROJECT_DIR}/x", "/p/a/x"),
            ("${CLAUDE_PROJECT_DIR:-.}/x", "/p/a/x"),
            ("${A:-${B}}", "! hub.toml cannot say `${A:-…}`: it nests"),
            ("$${A:-key}", "! hub.toml cannot say a `$` right before `${A:-…}`"),
            ("${input:key}", "! `${input:key}` is asked for in a dialog of the client"),
            ("${CLAUDE_PLUGIN_ROOT}/x", "! `${CLAUDE_PLUGIN_ROOT}` only has a value inside a plugin"),
            ("a\0b", "! it holds a NUL character"),
        ];
        for (text, expected) in table {
            assert_eq!(said("claude-code", text), expected, "{text:?}");
        }
    }

    #[test]
    fn editors() {
        for id in ["vscode", "cursor", "windsurf", "roo"] {
            let table = [
                ("${env:A}", "${A:-}"),
                ("${workspaceFolder}/x", "/p/a/x"),
                ("${workspaceFolderBasename}", "a"),
                ("${userHome}/x", "${HOME}/x"),
                ("a${/}b${pathSeparator}c", "a/b/c"),
                ("${A}", "$${A}"),
                ("${A:-b}", "$${A:-b}"),
                ("$A", "$A"),
                ("${workspaceFolder:other}", "! only the editor knows `${workspaceFolder:other}`"),
                ("${fileDirname}", "! only the editor knows `${fileDirname}`"),
                ("${command:x.y}", "! only the editor knows `${command:x.y}`"),
                ("${input:token}", "! `${input:token}` is asked for in a dialog of the client"),
                ("${env:ProgramFiles(x86)}", "! `${env:ProgramFiles(x86)}` names a variable that hub.toml cannot name"),
            ];
            for (text, expected) in table {
                assert_eq!(said(id, text), expected, "{id}: {text:?}");
            }
        }
        let user = to_hub("${workspaceFolder}/x", Expansion::Editor, Around::default());
        assert!(user.expect_err("no project").0.contains("another folder in each project"));
    }

    #[test]
    fn gemini() {
        let table = [
            ("$A", "${A:-}"),
            ("$A_1-x", "${A_1:-}-x"),
            ("${A}", "${A:-}"),
            ("${A:-b}", "${A:-b}"),
            ("$5", "$5"),
            ("cost $", "cost $"),
            ("$$A", "! hub.toml cannot say a `$` right before `$A`"),
            ("${env:A}", "$${env:A}"),
        ];
        for (text, expected) in table {
            assert_eq!(said("gemini", text), expected, "{text:?}");
        }
    }

    #[test]
    fn opencode() {
        let table = [
            ("{env:A}", "${A:-}"),
            ("Bearer {env:A}!", "Bearer ${A:-}!"),
            ("{file:~/.k}", "${file:~/.k}"),
            ("{file:/etc/k}", "${file:/etc/k}"),
            ("{file:./k}", "${file:/p/a/conf/k}"),
            ("{file:k}", "${file:/p/a/conf/k}"),
            ("${A}", "$${A}"),
            ("${env:A}", "$${env:A}"),
            ("{\"json\": 1}", "{\"json\": 1}"),
        ];
        for (text, expected) in table {
            assert_eq!(said("opencode", text), expected, "{text:?}");
        }
    }

    #[test]
    fn braces() {
        for id in ["amp", "kiro", "copilot"] {
            for (text, expected) in
                [("${A}", "${A:-}"), ("${A:-b}", "${A:-b}"), ("$A", "$A"), ("${env:A}", "$${env:A}")]
            {
                assert_eq!(said(id, text), expected, "{id}: {text:?}");
            }
        }
    }

    #[test]
    fn clients_that_expand_nothing() {
        for id in ["claude-desktop", "cline", "zed", "codex", "goose", "junie", "warp", "lmstudio", "continue"] {
            for text in ["$A", "~/x", "{env:A}", "pa$$word"] {
                assert_eq!(said(id, text), text, "{id}");
            }
            assert_eq!(said(id, "a${A}${B:-c}"), "a$${A}$${B:-c}", "{id}");
            assert_eq!(said(id, "$${A}"), "$$${A}", "{id}");
            assert_eq!(said(id, "${{ x }}"), "$${{ x }}", "{id}");
        }
        let secret = "! `${{ secrets.X }}` lies in the client's own store of secrets";
        assert_eq!(said("continue", "${{ secrets.X }}"), secret);
    }
}

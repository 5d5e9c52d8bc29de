//! What `hub import` shows: the plan, and what became of it.
//!
//! In: a plan. Out: a page for a person, a document for a program. Owns nothing. May not: show what the plan does not (it
//! holds no secrets).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::import::{Done, Fate, File, Plan, Server};
use crate::platform::dirs;

use super::harmless::harmless;
use super::out::{Out, Tone, first_line};

/// Columns of a page that does not go to a terminal.
const WIDTH: usize = 80;
/// A wider line is hard to read.
const WIDTH_MAX: usize = 100;
/// A narrower one is left to the terminal to break.
const WIDTH_MIN: usize = 40;
/// The column of names is no wider.
const NAME_MAX: usize = 24;

/// How a page looks.
pub(super) struct Page<'a> {
    out: &'a Out,
    width: usize,
    home: Option<PathBuf>,
}

impl<'a> Page<'a> {
    pub(super) fn new(out: &'a Out) -> Self {
        Self { out, width: width(out.width()), home: dirs::home().ok() }
    }

    /// A path with `~` for the home folder.
    pub(super) fn path(&self, path: &Path) -> String {
        let below = self.home.as_ref().and_then(|home| path.strip_prefix(home).ok());
        match below.filter(|below| !below.as_os_str().is_empty()) {
            Some(below) => format!("~/{}", below.display()),
            None => path.display().to_string(),
        }
    }

    fn title(&self, text: &str) -> String {
        format!("\n{}\n", self.out.paint(Tone::Strong, text))
    }

    /// The plan, as a page.
    pub(super) fn plan(&self, plan: &Plan) -> String {
        let mut page = format!("{}\n", harmless(&Self::summary(plan)));
        let new: Vec<&Server> = plan.servers.iter().filter(|server| server.is_new).collect();
        if !new.is_empty() {
            page += &self.title(&format!("New servers in {}", self.path(&plan.config)));
            page += &self.servers(&new);
        }
        page += &self.moves(plan);
        page += &self.shared(plan);
        page += &self.left(plan);
        if !plan.warnings.is_empty() {
            page += &self.title("To know before");
            for warning in &plan.warnings {
                page += &self.wrapped(warning, 2, 4);
            }
        }
        page
    }

    fn summary(plan: &Plan) -> String {
        let count = |is: fn(&Fate) -> bool| plan.entries().filter(|(_, entry)| is(&entry.fate)).count();
        let moving =
            count(|fate| matches!(fate, Fate::Rewritten { .. } | Fate::Overridden { .. } | Fate::Copied { .. }));
        let through = count(|fate| matches!(fate, Fate::Through { .. }));
        let new = plan.servers.iter().filter(|server| server.is_new).count();
        if plan.is_empty() {
            return match (plan.entries().count(), through) {
                (0, _) => "Nothing to do: no MCP servers were found in the files of your clients.".to_owned(),
                (_, 0) => "Nothing to do: nothing that was found is for hub.".to_owned(),
                (_, through) => format!("Nothing to do: {} already.", go_through(through)),
            };
        }
        let servers = match (new, plan.servers.len() - new) {
            (new, 0) => plural(new, "new server"),
            (0, known) => plural(known, "known server"),
            (new, known) => format!("{} and {}", plural(new, "new server"), plural(known, "known one")),
        };
        let already = if through > 0 { format!("; {} already", go_through(through)) } else { String::new() };
        format!("{} of your clients: {servers} of hub{already}.", plural(moving, "entry"))
    }

    fn servers(&self, servers: &[&Server]) -> String {
        let widest = servers.iter().map(|server| server.name.len()).max().unwrap_or(0).min(NAME_MAX);
        let mut page = String::new();
        for server in servers {
            let room = self.width.saturating_sub(widest + 4);
            let command = first_line(&harmless(&server.command), room);
            let _ = writeln!(page, "  {:<widest$}  {command}", server.name);
            let mut facts = vec![format!("port {}", server.port)];
            facts.extend(server.cwd.as_ref().map(|cwd| format!("in {}", self.path(Path::new(cwd)))));
            if !server.env.is_empty() {
                facts.push(format!("env {}", server.env.join(" ")));
            }
            facts.extend(server.env_file.as_ref().map(|file| format!("env file {}", self.path(Path::new(file)))));
            if server.for_each_session {
                facts.push("one for each session, as it drives a browser".to_owned());
            }
            if !server.enabled {
                facts.push(format!("switched off, as in your client: `hub enable {}`", server.name));
            }
            page += &self.wrapped(&facts.join(", "), widest + 4, widest + 4);
        }
        page
    }

    /// Which entries of which file become what.
    fn moves(&self, plan: &Plan) -> String {
        let mut page = String::new();
        for file in &plan.files {
            let mut ways: BTreeMap<u8, (String, Vec<String>)> = BTreeMap::new();
            for entry in &file.entries {
                let (rank, how, server) = match &entry.fate {
                    Fate::Rewritten { server } => (0, self.head(file, ""), server),
                    Fate::Overridden { server, by } => {
                        let what = format!("; committed, so it stays: {} overrides it", self.path(by));
                        (1, self.head(file, &what), server)
                    }
                    Fate::Copied { server } => (2, self.head(file, "; stays as it is"), server),
                    Fate::Through { .. } | Fate::Left { .. } => continue,
                };
                let to = if *server == entry.name { String::new() } else { format!(" -> {server}") };
                let of = entry.project.as_ref().map(|project| format!(" ({})", self.path(project)));
                let shown = format!("{}{}{to}", named(&entry.name), of.unwrap_or_default());
                ways.entry(rank).or_insert((how, Vec::new())).1.push(shown);
            }
            for (head, entries) in ways.into_values() {
                page += &self.wrapped(&head, 2, 4);
                page += &self.wrapped(&entries.join(", "), 4, 4);
            }
        }
        if page.is_empty() { page } else { self.title("Entries that will read from hub") + &page }
    }

    fn head(&self, file: &File, what: &str) -> String {
        format!("{} ({}{what})", self.path(&file.path), file.client.title)
    }

    /// What is the same server several times.
    fn shared(&self, plan: &Plan) -> String {
        let several: Vec<String> = plan
            .servers
            .iter()
            .filter(|server| server.entries > 1)
            .map(|server| format!("{} {}", server.name, times(server.entries)))
            .collect();
        if several.is_empty() {
            return String::new();
        }
        let saved: usize = plan.servers.iter().map(|server| server.entries.saturating_sub(1)).sum();
        let text = format!("{}: {} less for each round of windows", several.join(", "), plural(saved, "process"));
        self.title("The same server under several entries") + &self.wrapped(&text, 2, 2)
    }

    fn left(&self, plan: &Plan) -> String {
        let mut page = String::new();
        for file in &plan.files {
            if let Some(why) = &file.left {
                page += &self.wrapped(&format!("{}: {why}", self.head(file, "")), 2, 4);
                continue;
            }
            let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
            for entry in &file.entries {
                let Fate::Left { reason } = &entry.fate else { continue };
                match reasons.iter_mut().find(|(known, _)| known == reason) {
                    Some((_, names)) => names.push(named(&entry.name)),
                    None => reasons.push((reason, vec![named(&entry.name)])),
                }
            }
            if !reasons.is_empty() {
                page += &self.wrapped(&self.head(file, ""), 2, 4);
            }
            for (reason, names) in reasons {
                page += &self.wrapped(&format!("{}: {reason}", names.join(", ")), 4, 6);
            }
        }
        if page.is_empty() { page } else { self.title("Left alone") + &page }
    }

    /// What was done.
    pub(super) fn done(&self, done: &Done, plan: &Plan) -> String {
        let mut page = self.title("Done");
        for path in &done.written {
            page += &self.wrapped(&format!("wrote {}", self.path(path)), 2, 4);
        }
        let next = if plan.servers.iter().any(|server| server.enabled) {
            "`hub up` starts hub; windows that are open now read the change when they start again. `hub undo` takes it back."
        } else {
            "`hub undo` takes it back."
        };
        page + "\n" + &self.wrapped(next, 0, 0)
    }

    /// A text broken between words, its first line indented by `first` columns and the others by `rest`.
    pub(super) fn wrapped(&self, text: &str, first: usize, rest: usize) -> String {
        let text = harmless(text);
        let mut page = " ".repeat(first);
        let mut column = first;
        let mut fresh = true;
        for word in text.split_whitespace() {
            let width = word.chars().count();
            if !fresh && column + 1 + width > self.width {
                let _ = write!(page, "\n{}", " ".repeat(rest));
                (column, fresh) = (rest, true);
            }
            if !fresh {
                page.push(' ');
                column += 1;
            }
            page.push_str(word);
            (column, fresh) = (column + width, false);
        }
        page.push('\n');
        page
    }
}

/// A terminal that says nothing of its size (0 columns) is taken for one of the usual width.
fn width(of_terminal: Option<usize>) -> usize {
    of_terminal.filter(|columns| *columns > 0).unwrap_or(WIDTH).clamp(WIDTH_MIN, WIDTH_MAX)
}

/// An entry's name; one that is empty can be seen.
fn named(name: &str) -> String {
    if name.trim().is_empty() { format!("{name:?}") } else { name.to_owned() }
}

fn go_through(count: usize) -> String {
    if count == 1 { "1 entry goes through hub".to_owned() } else { format!("{count} entries go through hub") }
}

fn times(count: usize) -> String {
    format!("({count} entries)")
}

pub(super) fn plural(count: usize, what: &str) -> String {
    match what.strip_suffix('y') {
        _ if count == 1 => format!("1 {what}"),
        Some(stem) => format!("{count} {stem}ies"),
        None if what.ends_with('s') => format!("{count} {what}es"),
        None => format!("{count} {what}s"),
    }
}

/// The plan, and what was done, for a program.
pub(super) fn document(plan: &Plan, done: Option<&Done>) -> serde_json::Value {
    let failed = |done: &Done| {
        let failed = done.failed.iter();
        failed.map(|(path, why)| json!({ "path": path.display().to_string(), "why": why })).collect::<Vec<_>>()
    };
    json!({
        "schema": 1,
        "config": plan.config.display().to_string(),
        "servers": plan.servers.iter().map(server).collect::<Vec<_>>(),
        "files": plan.files.iter().map(file).collect::<Vec<_>>(),
        "warnings": plan.warnings,
        "changes": plan.written().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "done": done.map(|done| json!({
            "written": done.written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
            "failed": failed(done),
        })),
    })
}

fn server(server: &Server) -> serde_json::Value {
    json!({
        "name": server.name, "new": server.is_new, "command": server.command, "env": server.env, "env_file": server.env_file,
        "cwd": server.cwd, "port": server.port, "url": server.url,
        "for_each_session": server.for_each_session, "enabled": server.enabled, "entries": server.entries,
    })
}

fn file(file: &File) -> serde_json::Value {
    let path = |path: &PathBuf| path.display().to_string();
    let entries = file.entries.iter().map(|entry| {
        let (fate, server, reason, by) = match &entry.fate {
            Fate::Rewritten { server } => ("rewritten", Some(server), None, None),
            Fate::Overridden { server, by } => ("overridden", Some(server), None, Some(path(by))),
            Fate::Copied { server } => ("copied", Some(server), None, None),
            Fate::Through { server } => ("through", server.as_ref(), None, None),
            Fate::Left { reason } => ("left", None, Some(reason), None),
        };
        json!({
            "name": entry.name, "project": entry.project.as_ref().map(path), "fate": fate, "server": server, "reason": reason,
            "overridden_by": by,
        })
    });
    json!({
        "client": file.client.id, "path": path(&file.path), "project": file.project.as_ref().map(path), "left": file.left,
        "entries": entries.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_a_width_that_can_be_read() {
        assert_eq!([None, Some(0), Some(10), Some(72), Some(300)].map(width), [80, 80, 40, 72, 100]);
    }

    #[test]
    fn lines_are_broken_between_words_and_indented() {
        let out = Out::plain();
        let page = Page { out: &out, width: 12, home: None };
        assert_eq!(page.wrapped("one two three four", 2, 4), "  one two\n    three\n    four\n");
        assert_eq!(page.wrapped("averylongwordindeed x", 0, 2), "averylongwordindeed\n  x\n");
    }

    #[test]
    fn numbers_of_things() {
        assert_eq!(
            [plural(1, "entry"), plural(2, "entry"), plural(2, "process")],
            ["1 entry", "2 entries", "2 processes"]
        );
    }
}

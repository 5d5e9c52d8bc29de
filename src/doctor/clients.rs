//! Clients that still start a copy of a server that hub runs.
//!
//! In: the config files of all clients. Out: findings. Owns nothing. May not: change them (that is `hub import`).

use std::collections::BTreeMap;

use crate::clients::Client;
use crate::import::{Link, LinkedEntry, LinkedFile, connected};
use crate::platform::dirs::Dirs;

use super::Finding;

/// What the files of clients say.
#[derive(Default)]
pub(super) struct Clients {
    pub(super) findings: Vec<Finding>,
    /// By server of hub.toml: who still starts one.
    pub(super) copying: BTreeMap<String, Vec<Copying>>,
    /// Who has an entry that leads through hub, and to which server; none: to all together.
    through: Vec<(&'static Client, Option<String>)>,
}

/// A file of a client that still starts a server that hub has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copying {
    /// `CLIENT (FILE)`.
    pub(super) who: String,
    /// Why `hub import` leaves it alone; none: it moves it.
    pub(super) left: Option<String>,
}

impl Clients {
    /// Whether a program of this name is a client that reaches this server through hub by now.
    pub(super) fn is_moved(&self, program: &str, server: &str) -> bool {
        let leads = |to: &Option<String>| to.as_deref().is_none_or(|to| to == server);
        self.through.iter().any(|(client, to)| leads(to) && is_called(client, program))
    }
}

/// Whether a program is this client: `claude` is Claude Code, or Claude Desktop.
fn is_called(client: &Client, program: &str) -> bool {
    let program = program.to_ascii_lowercase();
    let first = client.id.split('-').next().unwrap_or(client.id);
    [client.id, first, &client.title.to_ascii_lowercase()].contains(&program.as_str())
        || (client.id == "vscode" && program == "code")
}

pub(super) fn look(dirs: &Dirs) -> Clients {
    const ABOUT: &str = "clients";
    let mut looked = Clients::default();
    let files = match connected(dirs) {
        Ok(files) => files,
        Err(error) => {
            looked.findings.push(Finding::warn(ABOUT, format!("the clients cannot be looked at: {error}")));
            return looked;
        }
    };
    let mut through: BTreeMap<&str, usize> = BTreeMap::new();
    let Clients { findings, copying, through: all_through } = &mut looked;
    for file in &files {
        if let Some(why) = &file.unreadable {
            findings.push(Finding::warn(ABOUT, format!("{} ({}): {why}", file.client.title, file.path.display())));
        }
        for entry in &file.entries {
            match &entry.link {
                Link::Hub { server } => {
                    *through.entry(file.client.title).or_default() += 1;
                    all_through.push((file.client, server.clone()));
                }
                Link::Copy { server, left } => {
                    let who = format!("{} ({})", file.client.title, file.path.display());
                    let copy = Copying { who, left: left.clone() };
                    let all = copying.entry(server.clone()).or_default();
                    if !all.contains(&copy) {
                        all.push(copy);
                    }
                }
                Link::Own | Link::Other { .. } => {}
            }
        }
        findings.extend(copies(file));
    }
    if !through.is_empty() {
        let shown: Vec<String> = through.iter().map(|(client, count)| format!("{client} ({count})")).collect();
        findings.insert(0, Finding::ok(ABOUT, format!("through hub: {}", shown.join(", "))));
    }
    looked
}

/// What a file still starts of hub's servers: what an import would move together, and the rest by why it would not.
fn copies(file: &LinkedFile) -> Vec<Finding> {
    let mut by_reason: BTreeMap<Option<&str>, Vec<String>> = BTreeMap::new();
    for LinkedEntry { name, link, .. } in &file.entries {
        if let Link::Copy { left, .. } = link {
            by_reason.entry(left.as_deref()).or_default().push(format!("`{name}`"));
        }
    }
    let finding = |(left, copies): (Option<&str>, Vec<String>)| {
        let (verb, own) = if copies.len() == 1 { ("is", "a copy of its own") } else { ("are", "copies of its own") };
        let (title, path) = (file.client.title, file.path.display());
        let what = format!("{title} starts {own}: {} in {path} {verb} not through hub", copies.join(", "));
        let hint = match left {
            None => "`hub import` moves them; then restart the client".to_owned(),
            Some(reason) => format!("`hub import` leaves that alone: {reason}"),
        };
        Finding::warn("clients", what).hint(hint)
    };
    by_reason.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::CLIENTS;

    #[test]
    fn names_of_programs() {
        let of = |id: &str| CLIENTS.iter().find(|client| client.id == id).expect("known");
        for (id, program) in [("claude-code", "claude"), ("vscode", "code"), ("zed", "zed"), ("cursor", "Cursor")] {
            assert!(is_called(of(id), program), "{program}");
        }
        for (id, program) in [("claude-code", "code"), ("claude-code", "node"), ("cursor", ""), ("zed", "inspector")] {
            assert!(!is_called(of(id), program), "{program}");
        }
        let through = vec![(of("claude-code"), Some("a".to_owned())), (of("zed"), None)];
        let clients = Clients { through, ..Clients::default() };
        assert!(clients.is_moved("claude", "a") && clients.is_moved("zed", "b"));
        assert!(!clients.is_moved("claude", "b") && !clients.is_moved("inspector", "a"));
    }
}

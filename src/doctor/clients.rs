//! Clients that still start a copy of a server that hub runs.
//!
//! In: the config files of all clients. Out: findings. Owns nothing. May not: change them (that is `hub import`).

use std::collections::BTreeMap;

use crate::import::{Link, connected};
use crate::platform::dirs::Dirs;

use super::Finding;

/// What the files of clients say.
#[derive(Default)]
pub(super) struct Clients {
    pub(super) findings: Vec<Finding>,
    /// By server of hub.toml: who still starts one, as `CLIENT (FILE)`.
    pub(super) copying: BTreeMap<String, Vec<String>>,
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
    let Clients { findings, copying } = &mut looked;
    for file in &files {
        if let Some(why) = &file.unreadable {
            findings.push(Finding::warn(ABOUT, format!("{} ({}): {why}", file.client.title, file.path.display())));
        }
        let mut copies = Vec::new();
        for entry in &file.entries {
            match &entry.link {
                Link::Hub { .. } => *through.entry(file.client.title).or_default() += 1,
                Link::Copy { server } => {
                    copies.push(format!("`{}`", entry.name));
                    let who = format!("{} ({})", file.client.title, file.path.display());
                    let all = copying.entry(server.clone()).or_default();
                    if !all.contains(&who) {
                        all.push(who);
                    }
                }
                Link::Own | Link::Other { .. } => {}
            }
        }
        if !copies.is_empty() {
            let (verb, own) =
                if copies.len() == 1 { ("is", "a copy of its own") } else { ("are", "copies of its own") };
            let what = format!(
                "{} starts {own}: {} in {} {verb} not through hub",
                file.client.title,
                copies.join(", "),
                file.path.display()
            );
            findings.push(Finding::warn(ABOUT, what).hint("`hub import` moves them; then restart the client"));
        }
    }
    if !through.is_empty() {
        let shown: Vec<String> = through.iter().map(|(client, count)| format!("{client} ({count})")).collect();
        findings.insert(0, Finding::ok(ABOUT, format!("through hub: {}", shown.join(", "))));
    }
    looked
}

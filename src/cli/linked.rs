//! What each client reads through hub, in a line.
//!
//! In: the clients' files. Out: counts per client, as text or JSON. Owns nothing. May not: change a file, or show a value.

use serde_json::{Value, json};

use crate::import::{self, Link, LinkedFile};
use crate::platform::dirs::Dirs;

use super::out::{Out, Tone};

/// The entries of one client, over all its files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    all: usize,
    hub: usize,
    movable: usize,
}

/// Clients in the order of their files; those without an entry are not worth a line.
fn counts(files: &[LinkedFile]) -> Vec<(&'static str, &'static str, Count)> {
    let mut counts: Vec<(&'static str, &'static str, Count)> = Vec::new();
    for file in files.iter().filter(|file| !file.entries.is_empty()) {
        let at = counts.iter().position(|(id, ..)| *id == file.client.id).unwrap_or_else(|| {
            counts.push((file.client.id, file.client.title, Count::default()));
            counts.len() - 1
        });
        let count = &mut counts[at].2;
        for entry in &file.entries {
            count.all += 1;
            match entry.link {
                Link::Hub { .. } => count.hub += 1,
                Link::Copy { left: None, .. } | Link::Own => count.movable += 1,
                Link::Copy { .. } | Link::Other { .. } => {}
            }
        }
    }
    counts
}

/// Lines for a person; none when nothing can be told.
pub(super) fn lines(dirs: &Dirs, out: &Out) -> String {
    let counts = counts(&import::connected(dirs).unwrap_or_default());
    let width = counts.iter().map(|(_, title, _)| title.chars().count()).max().unwrap_or_default();
    let line = |(_, title, count): &(&str, &str, Count)| {
        let entries = if count.all == 1 { "entry" } else { "entries" };
        let movable = match count.movable {
            0 => String::new(),
            1 => "; `hub import` moves 1 more".to_owned(),
            more => format!("; `hub import` moves {more} more"),
        };
        let title = out.paint(Tone::Strong, &format!("{title:<width$}"));
        format!("{title}  {} of {} {entries} through hub{movable}\n", count.hub, count.all)
    };
    counts.iter().map(line).collect()
}

/// The same for a program.
pub(super) fn document(dirs: &Dirs) -> Value {
    let one = |(id, title, count): &(&str, &str, Count)| json!({ "id": id, "title": title, "entries": count.all, "through_hub": count.hub, "movable": count.movable });
    counts(&import::connected(dirs).unwrap_or_default()).iter().map(one).collect()
}

//! The room from outside: files as people have them, read and edited.
//!
//! In: texts. Out: verdicts. Owns no state. May not: touch a file.

mod any;
mod json;
mod large;
mod table;
mod toml;
mod yaml;

use super::{Act, Client, Edit, Entry, Place, Program, Scope, Stdio, Target, client, edit, hub_entry, new_entry, read};

pub(super) const TARGET: Target<'static> = Target {
    server: "srv",
    url: "http://127.0.0.1:18901/mcp",
    hub: Program { path: "/usr/local/bin/hub", args: &[], env: &[] },
};

/// A client and the place of it whose path ends so.
pub(super) fn place(id: &str, scope: Scope, end: &str) -> (&'static Client, &'static Place) {
    let client = client(id).expect("a known client");
    let place = client.places.iter().find(|place| place.scope == scope && place.path.ends_with(end));
    (client, place.expect("a place"))
}

/// The text with every program of it moved to hub.
pub(super) fn moved(text: &str, (client, place): (&Client, &Place)) -> String {
    let found = read(text, &place.shape).expect("a readable text").found;
    let edits: Vec<Edit> = found
        .into_iter()
        .filter(|found| matches!(found.entry, Entry::Stdio(_)))
        .map(|found| Edit { at: found.at, act: Act::Put(hub_entry(client, &place.shape, TARGET)) })
        .collect();
    edit(text, &place.shape, &edits).expect("an edit")
}

/// The text with a new entry.
pub(super) fn inserted(text: &str, (client, place): (&Client, &Place), at: &[&str]) -> String {
    let act = Act::Insert(new_entry(client, &place.shape, at.last().expect("a name"), TARGET));
    let at = at.iter().map(|key| (*key).to_owned()).collect();
    edit(text, &place.shape, &[Edit { at, act }]).expect("an edit")
}

/// The only entry of a text.
pub(super) fn only(text: &str, place: &Place) -> Entry {
    let mut found = read(text, &place.shape).expect("a readable text").found;
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).entry
}

pub(super) fn program(text: &str, place: &Place) -> Stdio {
    match only(text, place) {
        Entry::Stdio(stdio) => stdio,
        other => panic!("not a program: {other:?}"),
    }
}

pub(super) fn reason(text: &str, place: &Place) -> String {
    match only(text, place) {
        Entry::Other { reason } => reason,
        other => panic!("an entry like any other: {other:?}"),
    }
}

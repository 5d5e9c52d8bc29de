//! A large file with many entries: the work is that of a few readings of it, not of one for each entry.
//!
//! In: a file like that of a Claude Code that is long in use. Out: verdicts. Owns no state. May not: touch a file.

use std::cell::Cell;

use super::{Act, Edit, Scope, TARGET, hub_entry, new_entry, place};
use crate::clients::Unreadable;
use crate::clients::edit::{self, Document, EditError, Fields, New, Parts, Tree};
use crate::clients::json::JsonText;
use crate::clients::node::Node;
use crate::clients::splice::Splices;

/// Projects, each with a server of its own.
const PROJECTS: usize = 200;

fn file() -> String {
    let project = |n: usize| {
        let said = "what was said, with \\\"quotes\\\" and a path /home/me. ";
        format!(
            r#"    "/p/{n}": {{
      "history": ["{said}"],
      "mcpServers": {{
        "s": {{"type": "stdio", "command": "npx", "args": ["-y", "s{n}"], "env": {{"K": "v{n}"}}}}
      }}
    }}"#
        )
    };
    let projects: Vec<String> = (0..PROJECTS).map(project).collect();
    format!("{{\n  \"numStartups\": 7,\n  \"projects\": {{\n{}\n  }}\n}}\n", projects.join(",\n"))
}

fn edits() -> Vec<Edit> {
    let (client, place) = place("claude-code", Scope::User, ".claude.json");
    let at = |n: usize, name: &str| ["projects", &format!("/p/{n}"), "mcpServers", name].map(str::to_owned).to_vec();
    let put = |n| Edit { at: at(n, "s"), act: Act::Put(hub_entry(client, &place.shape, TARGET)) };
    let insert = |n| Edit { at: at(n, "new"), act: Act::Insert(new_entry(client, &place.shape, "new", TARGET)) };
    (0..PROJECTS).flat_map(|n| [put(n), insert(n)]).collect()
}

thread_local! {
    static READ: Cell<usize> = const { Cell::new(0) };
}

/// How often a text was read meanwhile.
fn readings(work: impl FnOnce()) -> usize {
    READ.set(0);
    work();
    READ.get()
}

/// JSON that counts how often it is read.
struct Counted(JsonText);

impl Document for Counted {
    const TABLES_GO: bool = JsonText::TABLES_GO;

    fn read(text: String) -> Result<Self, Unreadable> {
        READ.set(READ.get() + 1);
        JsonText::read(text).map(Self)
    }

    fn tree(&self) -> &Tree {
        self.0.tree()
    }

    fn put(&self, edit: &Edit, entry: &Node, fields: &Fields, splices: &mut Splices) -> Result<(), EditError> {
        self.0.put(edit, entry, fields, splices)
    }

    fn remove(&self, from: &[String], names: &[&str], splices: &mut Splices) -> Result<(), EditError> {
        self.0.remove(from, names, splices)
    }

    fn insert(&self, to: &[String], new: &[New<'_>], splices: &mut Splices) -> Result<(), EditError> {
        self.0.insert(to, new, splices)
    }

    fn parts(&self, other: &Self, at: &[&[String]]) -> Result<Parts, EditError> {
        self.0.parts(&other.0, at)
    }
}

#[test]
fn a_file_is_read_once_for_each_kind_of_edit() {
    let text = file();
    let edits = edits();
    let mut after = String::new();
    let read = readings(|| after = edit::edit::<Counted>(&text, &edits).expect("an edit"));
    assert_eq!(read, 3, "to be changed, and to prove two rounds");
    let at: Vec<Vec<String>> = edits.iter().map(|edit| edit.at.clone()).collect();
    let mut back = String::new();
    let read = readings(|| back = edit::restore::<Counted>(&after, &text, &at).expect("an undo"));
    assert_eq!((read, back.as_str()), (5, text.as_str()));
    let one_by_one = edits
        .iter()
        .fold(text.clone(), |text, one| edit::edit::<Counted>(&text, std::slice::from_ref(one)).expect("an edit"));
    assert_eq!(one_by_one, after);
}

//! Which file an entry's change goes to, and the new text of that file.
//!
//! In: the entries that can move in, and the server of each. Out: reasons against it, then the changed texts. Owns nothing.
//! PURE but for what [`World`] asks. May not: change a file that the user's team reads, unless told to.

use super::discover::{Content, Source};
use super::journal::{Of, Part, Wanted};
use super::judge::{self, Reached, Verdict};
use super::plan::{Item, Manner, Sources, World};
use crate::clients::{self, Act, Edit, Entry, Program, Target};

/// Any target, to see whether an entry can be edited at all.
const PROBE: (&str, &str) = ("server", "http://127.0.0.1:65535/mcp");
const PROBE_HUB: Program<'static> = Program { path: "/hub", args: &[], env: &[] };

/// What is behind a port of hub.
type Ports<'a> = &'a dyn Fn(u16) -> Option<Reached>;

/// Leaves the entries that cannot be changed: files that are read-only or committed, entries that cannot be edited.
pub(super) fn leave_what_cannot_be_written(
    sources: &Sources,
    manner: Manner,
    ports: Ports<'_>,
    world: &World<'_>,
    items: &mut [Item],
) {
    for (index, source) in sources.all.iter().enumerate().take(sources.asked) {
        let movable = |item: &Item| item.source == index && matches!(item.verdict, Verdict::Server(_));
        if !items.iter().any(movable) {
            continue;
        }
        let is_committed = source.project.is_some() && !manner.rewrite_committed && (world.is_tracked)(&source.real);
        for item in items.iter_mut().filter(|item| movable(item)) {
            let outcome = match &source.content {
                _ if is_committed => overridden(sources, source, item, ports),
                Content::Text { locked: Some(why), .. } => Err(Verdict::Left(why.clone())),
                _ => Ok(None),
            };
            match outcome {
                Ok(by) => item.by = by,
                Err(verdict) => item.verdict = verdict,
            }
        }
    }
    leave_what_cannot_be_edited(sources, items);
}

/// Where an entry of a committed file can be overridden, or why it cannot.
fn overridden(
    sources: &Sources,
    source: &Source,
    item: &Item,
    ports: Ports<'_>,
) -> Result<Option<Vec<String>>, Verdict> {
    let left = |why: String| Err(Verdict::Left(why));
    let claude = sources.claude.map(|index| (index, &sources.all[index]));
    let Some((index, claude)) = claude.filter(|(_, claude)| claude.client.id == source.client.id) else {
        return left("its file is committed, so others read it too (--rewrite-committed rewrites it)".to_owned());
    };
    let (text, locked) = match &claude.content {
        Content::Absent => ("", None),
        Content::Text { text, locked, .. } => (text.as_str(), locked.clone()),
        Content::Unusable(why) => ("", Some(why.clone())),
    };
    let of_claude =
        |why: String| format!("its file is committed, and {} cannot be written: {why}", claude.path.display());
    if let Some(why) = locked {
        return left(of_claude(why));
    }
    let root = item.project.as_deref().and_then(std::path::Path::to_str).unwrap_or_default();
    let found = match clients::read(text, &sources.place(index).shape) {
        Ok(reading) => reading.found,
        Err(why) => return left(of_claude(why.to_string())),
    };
    let Some(at) = sources.place(index).local(root, &item.found.name) else {
        return left(of_claude("it has no place for it".to_owned()));
    };
    let Some(local) = found.iter().find(|found| found.at == at) else {
        return Ok(Some(at));
    };
    match &local.entry {
        Entry::Remote { url } => match judge::loopback(url).and_then(ports) {
            Some(reached) => Err(Verdict::Through(reached)),
            None => left(format!("the entry of this name in {} counts instead", claude.path.display())),
        },
        Entry::Stdio(_) | Entry::Other { .. } => {
            left(format!("the entry of this name in {} counts instead", claude.path.display()))
        }
    }
}

/// Tries every change before any is promised.
fn leave_what_cannot_be_edited(sources: &Sources, items: &mut [Item]) {
    for index in 0..sources.all.len() {
        let all: Vec<usize> = (0..items.len()).filter(|at| target_file(sources, &items[*at]) == Some(index)).collect();
        leave(sources, index, items, &all);
    }
}

/// All changes of a file at once, then in halves, to find those that fail.
fn leave(sources: &Sources, index: usize, items: &mut [Item], which: &[usize]) {
    let probe = |_: usize| (PROBE.0.to_owned(), PROBE.1.to_owned());
    let edits: Vec<Edit> = which.iter().map(|at| edit_of(sources, &items[*at], PROBE_HUB, &probe)).collect();
    match (text_with(sources, index, &edits), which) {
        (Err(why), [one]) => {
            items[*one].verdict = Verdict::Left(format!("it cannot be edited: {why}"));
            items[*one].by = None;
        }
        (Err(_), [_, ..]) => {
            let (first, rest) = which.split_at(which.len() / 2);
            leave(sources, index, items, first);
            leave(sources, index, items, rest);
        }
        (Err(_) | Ok(_), _) => {}
    }
}

/// The index of the file that is changed for an entry; none when it stays.
fn target_file(sources: &Sources, item: &Item) -> Option<usize> {
    match (&item.verdict, &item.by) {
        (Verdict::Server(_), Some(_)) => sources.claude,
        (Verdict::Server(_), None) => Some(item.source),
        _ => None,
    }
}

fn edit_of(sources: &Sources, item: &Item, hub: Program<'_>, target: &dyn Fn(usize) -> (String, String)) -> Edit {
    let client = sources.all[item.source].client;
    let (server, url) = target(item.group.unwrap_or(0));
    let target = Target { server: &server, url: &url, hub };
    let shape = &sources.place(item.source).shape;
    let Some(at) = &item.by else {
        return Edit { at: item.found.at.clone(), act: Act::Put(clients::hub_entry(client, shape, target)) };
    };
    let shape = sources.claude.map_or(shape, |index| &sources.place(index).shape);
    let entry = clients::new_entry(client, shape, &item.found.name, target);
    Edit { at: at.clone(), act: Act::Insert(entry) }
}

fn text_with(sources: &Sources, index: usize, edits: &[Edit]) -> Result<String, clients::EditError> {
    let text = match &sources.all[index].content {
        Content::Text { text, .. } => text.as_str(),
        Content::Absent | Content::Unusable(_) => "",
    };
    clients::edit(text, &sources.place(index).shape, edits)
}

/// The changed files, each with the entries that were changed in it.
pub(super) fn changes(
    sources: &Sources,
    items: &[Item],
    hub: Program<'_>,
    target: &dyn Fn(usize) -> (String, String),
) -> Result<Vec<Wanted>, String> {
    let mut changes: Vec<Wanted> = Vec::new();
    for (index, source) in sources.all.iter().enumerate() {
        let of_file = items.iter().filter(|item| item.group.is_some() && target_file(sources, item) == Some(index));
        let edits: Vec<Edit> = of_file.map(|item| edit_of(sources, item, hub, target)).collect();
        if edits.is_empty() {
            continue;
        }
        let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", source.path.display());
        let entries = edits.iter().map(|edit| edit.at.clone()).collect();
        let part = Part { client: source.client.id.to_owned(), place: source.place, entries };
        // Another client may have entries in the same file.
        let known = changes.iter_mut().find(|change| change.path == source.real);
        if let Some(Wanted { after: (bytes, _), of: Of::Clients(parts), .. }) = known {
            let text = clients::decode(bytes).map_err(|why| wrong(&why))?;
            let text = clients::edit(text, &sources.place(index).shape, &edits).map_err(|why| wrong(&why))?;
            *bytes = text.into_bytes();
            parts.push(part);
            continue;
        }
        let text = text_with(sources, index, &edits).map_err(|why| wrong(&why))?;
        let (before, mode) = match &source.content {
            Content::Text { text, mode, .. } => (Some((text.clone().into_bytes(), *mode)), *mode),
            Content::Absent | Content::Unusable(_) => (None, 0o600),
        };
        let of = Of::Clients(vec![part]);
        changes.push(Wanted { path: source.real.clone(), before, after: (text.into_bytes(), mode), of });
    }
    Ok(changes)
}

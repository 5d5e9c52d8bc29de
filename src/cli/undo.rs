//! `hub undo`: the last import, taken back.
//!
//! In: arguments. Out: what became of each file. Owns nothing. May not: ask; whatever somebody wrote since stays anyway.

use std::path::PathBuf;

use serde_json::json;

use crate::import::{self, ApplyError, How, Outcome, Undone};

use super::args::UndoArgs;
use super::failure::{Exit, Failure, chain};
use super::import_page::{Page, plural};
use super::resolve::Setting;

pub(super) fn run(args: &UndoArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    let how = How { dry_run: args.dry_run, entries: args.entries };
    let undone = import::undo(&setting.dirs.state_dir, how).map_err(|error| {
        let failure = Failure::new(Exit::Failed, chain(&error));
        if matches!(error, ApplyError::Busy) {
            failure.hint("wait for the other one, then run it again")
        } else {
            failure
        }
    })?;
    let Some(undone) = undone else {
        return if args.json {
            setting.out.document(json!({ "schema": 1, "undone": null }).to_string().as_bytes())
        } else {
            setting.out.line("Nothing to undo: hub has changed no file that it has not put back.")
        };
    };
    if args.json {
        setting.out.document(document(&undone).to_string().as_bytes())?;
    } else {
        setting.out.text(&page(&undone, args, &Page::new(setting.out)))?;
    }
    if undone.is_done() {
        return Ok(());
    }
    let open = undone.files.iter().filter(|(_, outcome)| !outcome.is_done()).count();
    let failure = Failure::new(Exit::Failed, format!("{} could not be taken back", plural(open, "file")));
    let is_refused = undone.files.iter().any(|(_, outcome)| matches!(outcome, Outcome::Refused { .. }));
    Err(if is_refused {
        failure.hint("`hub undo --entries` puts back the entries that the import wrote, and keeps what changed since")
    } else {
        failure
    })
}

fn page(undone: &Undone, args: &UndoArgs, page: &Page<'_>) -> String {
    let is_cut = if undone.was_complete { "" } else { ", which was cut short" };
    let mut text = page.wrapped(&format!("The import of {}{is_cut}:", undone.at), 0, 0);
    for (path, outcome) in &undone.files {
        let would = if args.dry_run { "would be " } else { "" };
        let what = match outcome {
            Outcome::Restored => format!("{would}restored"),
            Outcome::Removed => format!("{would}removed: the import had made it"),
            Outcome::AsBefore => "as before the import already".to_owned(),
            Outcome::Entries { back, left, .. } => {
                let back = if back.is_empty() { "nothing".to_owned() } else { back.join(", ") };
                let left = left.join(", ");
                let left = if left.is_empty() { left } else { format!("; changed since, so left: {left}") };
                format!("{would}put back: {back}{left}")
            }
            Outcome::Refused { .. } => "changed since, so it stays as it is".to_owned(),
            Outcome::Gone => "gone since, so it stays gone".to_owned(),
            Outcome::Needed => "stays: clients still read from its servers".to_owned(),
            Outcome::Failed { why } => format!("failed: {why}"),
        };
        text += &page.wrapped(&format!("{}: {what}", page.path(path)), 2, 4);
        if let Outcome::Refused { diff } = outcome {
            text += &differences(diff);
        }
    }
    if undone.is_done() && undone.earlier > 0 && !args.dry_run {
        text += &page.wrapped(
            &format!("Another `hub undo` takes back {}.", plural(undone.earlier, "earlier import")),
            0,
            0,
        );
    }
    text
}

/// What changed since the import; masked already.
fn differences(diff: &str) -> String {
    let diff = super::harmless::harmless(diff);
    if diff.is_empty() {
        return "    (the difference is in line ends or in bytes that are no text)\n".to_owned();
    }
    let lines = diff.lines().map(|line| format!("    {line}\n"));
    ["    --- as the import wrote it\n    +++ as it is now\n".to_owned()].into_iter().chain(lines).collect()
}

fn document(undone: &Undone) -> serde_json::Value {
    let file = |(path, outcome): &(PathBuf, Outcome)| {
        let (what, more) = match outcome {
            Outcome::Restored => ("restored", json!(null)),
            Outcome::Removed => ("removed", json!(null)),
            Outcome::AsBefore => ("as_before", json!(null)),
            Outcome::Entries { back, left, .. } => ("entries", json!({ "back": back, "left": left })),
            Outcome::Refused { diff } => ("refused", json!(diff)),
            Outcome::Gone => ("gone", json!(null)),
            Outcome::Needed => ("needed", json!(null)),
            Outcome::Failed { why } => ("failed", json!(why)),
        };
        json!({ "path": path.display().to_string(), "outcome": what, "detail": more })
    };
    json!({
        "schema": 1,
        "undone": {
            "at": undone.at, "was_complete": undone.was_complete, "is_done": undone.is_done(), "earlier": undone.earlier,
            "files": undone.files.iter().map(file).collect::<Vec<_>>(),
        },
    })
}

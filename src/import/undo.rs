//! Taking back the newest import that was not taken back: to the byte, or not at all.
//!
//! In: the newest backup, the files as they are now. Out: the files as they were, and what became of each. Owns the lock
//! of imports while it runs. May not: overwrite what somebody else wrote since.

use std::io;
use std::path::{Path, PathBuf};

use super::apply::{self, remove_folders};
use super::diff;
use super::journal::{self, Backup, Journal, Kept, Of, Record};
use super::mask;
use crate::clients::{self, Entry, Found, Shape};
use crate::config::edit;
use crate::files::{self, Change};
use crate::limits::IMPORT_FILE_BYTES_MAX;
use crate::platform::dirs::MOVED_OUT;

/// How an undo is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Only look.
    pub dry_run: bool,
    /// Where a file changed since, put back the entries that import wrote and nothing else.
    pub entries: bool,
}

/// What an undo did, or would do.
#[derive(Debug)]
pub struct Undone {
    /// When the import was (RFC 3339).
    pub at: String,
    /// Whether that import came to its end.
    pub was_complete: bool,
    /// Its files, in the order in which they were taken back.
    pub files: Vec<(PathBuf, Outcome)>,
    /// Imports before it that can be undone next.
    pub earlier: usize,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it was, to the byte.
    Restored,
    /// Import had made it; it is gone again.
    Removed,
    /// It was as before the import already.
    AsBefore,
    /// Its entries are as they were; what others wrote since stays.
    Entries {
        /// Names of entries (or servers) that were put back.
        back: Vec<String>,
        /// Those that changed since, and stay.
        left: Vec<String>,
        /// Whether one of these still reads from hub.
        needs_hub: bool,
    },
    /// It changed since, and stays.
    Refused {
        /// How it differs from what import wrote; empty when that does not show.
        diff: String,
    },
    /// It is gone since, and stays gone: nothing of the import is left.
    Gone,
    /// hub.toml: clients still read from servers in it.
    Needed,
    /// It cannot be read or written.
    Failed {
        /// Why.
        why: String,
    },
}

impl Outcome {
    /// Whether nothing of the import is left in the file.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Restored | Self::Removed | Self::AsBefore | Self::Gone => true,
            Self::Entries { needs_hub, .. } => !needs_hub,
            Self::Refused { .. } | Self::Needed | Self::Failed { .. } => false,
        }
    }
}

impl Undone {
    /// Whether the import is taken back as a whole.
    pub fn is_done(&self) -> bool {
        self.files.iter().all(|(_, outcome)| outcome.is_done())
    }
}

/// Takes back the newest import; none when there is none.
pub fn undo(state_dir: &Path, how: How) -> Result<Option<Undone>, apply::Error> {
    if !state_dir.exists() {
        return Ok(None);
    }
    let _lock = apply::lock(state_dir)?;
    let journal = Journal::of(state_dir);
    if !how.dry_run {
        journal.sweep()?;
    }
    let Some(backup) = journal.newest()? else {
        if !how.dry_run {
            leave_no_trace(&journal, state_dir);
        }
        return Ok(None);
    };
    let mut files: Vec<(PathBuf, Outcome)> = Vec::new();
    // hub.toml was written first; it goes last, when no client needs it.
    for record in backup.manifest.files.iter().rev() {
        let is_needed = matches!(record.of, Of::Hub { .. }) && !files.iter().all(|(_, outcome)| outcome.is_done());
        let outcome = if is_needed { Ok(Outcome::Needed) } else { take_back(&backup, record, how) };
        let outcome = outcome.unwrap_or_else(|error| Outcome::Failed { why: error.to_string() });
        files.push((record.path.clone(), outcome));
    }
    let earlier = journal.ids()?.len().saturating_sub(1);
    let (at, was_complete) = (backup.manifest.at.clone(), backup.manifest.complete);
    let undone = Undone { at, was_complete, files, earlier };
    if undone.is_done() && !how.dry_run {
        let folders = backup.manifest.folders.clone();
        let had_none = |record: &Record| matches!(record.of, Of::Hub { .. }) && record.before.is_none();
        let moved_out = earlier == 0 && backup.manifest.files.iter().any(had_none);
        // Before the backup goes, so that a kill leaves none; the rest after it, when it holds no backup any more.
        remove_folders(&folders);
        backup.forget()?;
        leave_no_trace(&journal, state_dir);
        remove_folders(&folders);
        if moved_out && state_dir.exists() {
            // Only for `hub down`, which keeps the state without it.
            std::fs::write(state_dir.join(MOVED_OUT), "").ok();
        }
    }
    Ok(Some(undone))
}

/// Removes the folders of hub's own that are empty; those that hold something stay.
fn leave_no_trace(journal: &Journal, state_dir: &Path) {
    journal.tidy();
    remove_folders(&[state_dir.to_owned()]);
}

/// Why a file could not be taken back.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Backup(#[from] journal::Error),
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("{0}")]
    Write(#[from] files::Error),
    #[error("{0}")]
    Edit(String),
}

fn take_back(backup: &Backup, record: &Record, how: How) -> Result<Outcome, Error> {
    if record.path.is_symlink() {
        return Ok(Outcome::Failed { why: "it has become a link since".to_owned() });
    }
    let now = files::read(&record.path, IMPORT_FILE_BYTES_MAX)?;
    let before = record.before.as_ref().map(|kept| backup.bytes(kept)).transpose()?;
    if now == before {
        return Ok(Outcome::AsBefore);
    }
    let after = backup.bytes(&record.after)?;
    if now.as_ref() == Some(&after) {
        let outcome = if before.is_some() { Outcome::Restored } else { Outcome::Removed };
        put(record, now.as_deref(), before.as_deref(), record.before.as_ref(), how)?;
        return Ok(outcome);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let current = now.as_deref().map(text).unwrap_or_default();
    if how.entries && now.is_none() {
        return Ok(Outcome::Gone);
    }
    if !how.entries {
        return Ok(Outcome::Refused { diff: diff::unified(&text(&after), &current) });
    }
    let texts = Texts { before: before.as_deref().map(text).unwrap_or_default(), after: text(&after), current };
    let Parts { text, back, left, needs_hub } = texts.parts(&record.of)?;
    if text != texts.current {
        put(record, now.as_deref(), Some(text.as_bytes()), None, how)?;
    }
    Ok(Outcome::Entries { back, left, needs_hub })
}

/// Writes the old text; with the old permissions, or those that the file has.
fn put(record: &Record, now: Option<&[u8]>, to: Option<&[u8]>, kept: Option<&Kept>, how: How) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    if how.dry_run {
        return Ok(());
    }
    let mode = match kept {
        Some(kept) => kept.mode,
        None => std::fs::metadata(&record.path)?.permissions().mode() & 0o7777,
    };
    Ok(files::change(Change { path: &record.path, temp: &record.temp, before: now, after: to, mode })?)
}

/// The three texts of a file that changed since.
struct Texts {
    before: String,
    after: String,
    current: String,
}

/// What comes of putting back parts of a file.
struct Parts {
    text: String,
    back: Vec<String>,
    left: Vec<String>,
    needs_hub: bool,
}

impl Texts {
    fn parts(&self, of: &Of) -> Result<Parts, Error> {
        match of {
            Of::Hub { added } => self.servers(added),
            Of::Clients(parts) => {
                let mut all = self.nothing_yet();
                for part in parts {
                    let place = clients::client(&part.client).and_then(|client| client.places.get(part.place));
                    let unknown = || Error::Edit(format!("this hub does not know the client `{}`", part.client));
                    self.entries(&place.ok_or_else(unknown)?.shape, &part.entries, &mut all)?;
                }
                Ok(all)
            }
        }
    }

    fn nothing_yet(&self) -> Parts {
        Parts { text: self.current.clone(), back: Vec::new(), left: Vec::new(), needs_hub: false }
    }

    /// Without the servers that import added, and the ports that it fixed, where nobody changed them since.
    fn servers(&self, added: &[String]) -> Result<Parts, Error> {
        let written = |text: &str| {
            let all: Option<serde_json::Value> = toml_edit::de::from_str(text.trim_start_matches('\u{feff}')).ok();
            all.and_then(|all| all.get("servers").cloned()).unwrap_or_default()
        };
        let (was, ours, theirs) = (written(&self.before), written(&self.after), written(&self.current));
        let mut parts = self.nothing_yet();
        for name in added {
            match theirs.get(name) {
                None => {}
                theirs if theirs == ours.get(name) => {
                    parts.text = edit::remove_server(&parts.text, name).map_err(Error::Edit)?;
                    parts.back.push(name.clone());
                }
                Some(_) => parts.left.push(name.clone()),
            }
        }
        let port =
            |servers: &serde_json::Value, name: &str| servers.get(name).and_then(|server| server.get("port")).cloned();
        for (name, _) in was.as_object().into_iter().flatten() {
            match (port(&was, name), port(&ours, name), port(&theirs, name)) {
                (None, Some(ours), Some(theirs)) if ours == theirs => {
                    parts.text = edit::unset_port(&parts.text, name).map_err(Error::Edit)?;
                    parts.back.push(name.clone());
                }
                (None, Some(_), Some(_)) => parts.left.push(name.clone()),
                _ => {}
            }
        }
        Ok(parts)
    }

    /// With the entries that import wrote as they were, unless somebody changed them since.
    fn entries(&self, shape: &Shape, entries: &[Vec<String>], parts: &mut Parts) -> Result<(), Error> {
        let read = |text: &str| -> Result<Vec<Found>, Error> {
            clients::read(text, shape).map(|reading| reading.found).map_err(|why| Error::Edit(why.to_string()))
        };
        let (before, after, current) = (read(&self.before)?, read(&self.after)?, read(&self.current)?);
        let at = |found: &[Found], path: &[String]| found.iter().find(|found| found.at == path).cloned();
        let mut back = Vec::new();
        for path in entries {
            let (was, ours, is) = (at(&before, path), at(&after, path), at(&current, path));
            if is == was {
                continue;
            }
            let name = ours.as_ref().map(|ours| mask::name(&ours.name)).unwrap_or_default();
            if is != ours {
                // An entry may have come to read from the server of another one.
                let mut written = after.iter().filter(|found| entries.contains(&found.at));
                parts.needs_hub |= is.is_some_and(|is| written.any(|ours| reads_the_same(&ours.entry, &is.entry)));
                parts.left.push(name);
                continue;
            }
            back.push(path.clone());
            parts.back.push(name);
        }
        if !back.is_empty() {
            let restored = clients::restore(&parts.text, &self.before, shape, &back);
            parts.text = restored.map_err(|why| Error::Edit(why.to_string()))?;
        }
        Ok(())
    }
}

fn reads_the_same(ours: &Entry, entry: &Entry) -> bool {
    match (ours, entry) {
        (Entry::Remote { url: ours }, Entry::Remote { url }) => ours == url,
        (Entry::Stdio(ours), Entry::Stdio(stdio)) => ours.command == stdio.command && ours.args == stdio.args,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_import_fixed_are_open_again() {
        let before = "[servers.a] # mine\ncommand = \"a\"\n\n[servers.b]\ncommand = \"b\"\n\n[servers.c]\ncommand = \"c\"\nport = 9\n";
        let fixed = |text: &str, name: &str, port| edit::set_port(text, name, port).expect("set");
        let after = fixed(&fixed(before, "a", 18901), "b", 18902);
        let later = "\n[servers.mine]\ncommand = \"m\"\n";
        let current = fixed(&after, "b", 20000) + later;
        let texts = Texts { before: before.to_owned(), after, current };
        let parts = texts.parts(&Of::Hub { added: Vec::new() }).expect("put back");
        assert_eq!(parts.text, fixed(before, "b", 20000) + later);
        assert_eq!((parts.back, parts.left), (vec!["a".to_owned()], vec!["b".to_owned()]));
    }
}

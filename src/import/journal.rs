//! Backups: what each import changed, kept so that it can be taken back, whatever was killed when.
//!
//! In: the files that an import is going to change. Out: a folder of their texts with a manifest, on the disk before the
//! first change. Owns `backups/` in the state folder. May not: touch a file that is not in a manifest, except its own.
//!
//! A backup is made under another name and renamed when it is whole; it is moved aside before it is removed. What a kill
//! leaves between is swept away by the next import or undo, with the temporary files that its manifest names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::files;
use crate::limits::IMPORT_BACKUPS_MAX;
use crate::platform::dirs;

const MANIFEST: &str = "manifest.json";
/// A manifest that was not renamed to its place.
const UNFINISHED: &str = "new";
/// A backup on its way out.
const GOING: &str = "gone";
const SCHEMA: u32 = 1;

/// Why a backup cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] dirs::Error),
    /// The system refused.
    #[error("cannot keep a backup in {}", .folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// No more are kept, and none is thrown away: each is the only way back to what it holds.
    #[error(
        "{max} imports are kept to be taken back, and no more are; `hub undo` takes back the newest, or move {} away, \
         and none of them can be taken back",
        .folder.display()
    )]
    Full {
        /// The folder.
        folder: PathBuf,
        /// How many there may be.
        max: usize,
    },
    /// Not what this program wrote.
    #[error("the backup {} cannot be read: {what}", .folder.display())]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// What an import did or was about to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    schema: u32,
    /// RFC 3339.
    pub at: String,
    /// Whether the import came to its end.
    pub complete: bool,
    /// Folders that it made, the outermost first.
    pub folders: Vec<PathBuf>,
    /// Files in the order in which they are changed.
    pub files: Vec<Record>,
}

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The file itself.
    pub path: PathBuf,
    /// What it is replaced through.
    pub temp: PathBuf,
    /// How it was; none when it was not there.
    pub before: Option<Kept>,
    /// How it is after the import.
    pub after: Kept,
    /// Whose it is.
    pub of: Of,
}

/// The text and the permissions of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    blob: String,
    sha256: String,
    /// Permission bits.
    pub mode: u32,
}

/// Whose file it is, and which parts of it were written: for an undo of these alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// hub.toml.
    Hub {
        /// Servers that were added.
        added: Vec<String>,
    },
    /// A file of clients.
    Clients(Vec<Part>),
}

/// The entries of one client in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// [`crate::clients::Client::id`]
    pub client: String,
    /// Index of the place in the client's table.
    pub place: usize,
    /// Where the entries are.
    pub entries: Vec<Vec<String>>,
}

/// A file that is going to be changed.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub path: PathBuf,
    pub before: Option<(Vec<u8>, u32)>,
    pub after: (Vec<u8>, u32),
    pub of: Of,
}

/// One backup on the disk.
#[derive(Debug)]
pub(super) struct Backup {
    folder: PathBuf,
    pub manifest: Manifest,
}

/// The folder of all backups.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    max: usize,
}

// === impl Journal ===

impl Journal {
    pub(super) fn of(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("backups"), max: IMPORT_BACKUPS_MAX }
    }

    fn wrap(&self) -> impl Fn(io::Error) -> Error {
        |error| Error::Io { folder: self.folder.clone(), error }
    }

    /// The names of whole backups, the oldest first.
    pub(super) fn ids(&self) -> Result<Vec<String>, Error> {
        let mut ids: Vec<String> = self.names()?.into_iter().filter(|name| sequence(name).is_some()).collect();
        ids.sort_by_key(|name| sequence(name));
        Ok(ids)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(self.wrap())?,
        };
        Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }

    /// The newest backup: what an undo takes back.
    pub(super) fn newest(&self) -> Result<Option<Backup>, Error> {
        self.ids()?.last().map(|id| self.open(id)).transpose()
    }

    fn open(&self, id: &str) -> Result<Backup, Error> {
        let folder = self.folder.join(id);
        let damaged = |what: String| Error::Damaged { folder: folder.clone(), what };
        let bytes = fs::read(folder.join(MANIFEST)).map_err(|error| damaged(error.to_string()))?;
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if manifest.schema != SCHEMA {
            return Err(damaged(format!("its schema is {}, this hub knows {SCHEMA}", manifest.schema)));
        }
        Ok(Backup { folder, manifest })
    }

    /// Removes what a killed import or undo left behind: half a backup, temporary files.
    pub(super) fn sweep(&self) -> Result<(), Error> {
        for name in self.names()? {
            let suffix = Path::new(&name).extension().and_then(|suffix| suffix.to_str());
            if matches!(suffix, Some(UNFINISHED | GOING)) {
                fs::remove_dir_all(self.folder.join(&name)).map_err(self.wrap())?;
            }
        }
        // One that cannot be read is in nobody's way but its own undo's.
        for backup in self.ids()?.iter().filter_map(|id| self.open(id).ok()) {
            fs::remove_file(backup.folder.join(MANIFEST).with_extension(UNFINISHED)).ok();
            for record in &backup.manifest.files {
                // As a rule there is none.
                fs::remove_file(&record.temp).ok();
            }
        }
        Ok(())
    }

    /// Keeps the texts of these files, and says what is going to happen to them. On the disk when this returns.
    pub(super) fn begin(&self, files: Vec<Wanted>, folders: Vec<PathBuf>, now: SystemTime) -> Result<Backup, Error> {
        dirs::create_private(&self.folder)?;
        let ids = self.ids()?;
        if ids.len() >= self.max {
            return Err(Error::Full { folder: self.folder.clone(), max: self.max });
        }
        let next = ids.last().and_then(|id| sequence(id)).unwrap_or(0) + 1;
        let at = humantime::format_rfc3339_seconds(now).to_string();
        let id = format!("{next:06}-{}", at.replace([':', '-'], ""));
        let (folder, unfinished) = (self.folder.join(&id), self.folder.join(format!("{id}.{UNFINISHED}")));
        dirs::create_private(&unfinished)?;
        let mut records = Vec::with_capacity(files.len());
        for (index, file) in files.into_iter().enumerate() {
            let keep = |(bytes, mode): (Vec<u8>, u32), suffix: &str| -> Result<Kept, Error> {
                let blob = format!("{index}.{suffix}");
                files::fresh(&unfinished.join(&blob), &bytes).map_err(self.wrap())?;
                Ok(Kept { blob, sha256: digest(&bytes), mode })
            };
            let before = file.before.map(|before| keep(before, "before")).transpose()?;
            let after = keep(file.after, "after")?;
            let temp = files::temp_of(&file.path, &id);
            records.push(Record { path: file.path, temp, before, after, of: file.of });
        }
        let manifest = Manifest { schema: SCHEMA, at, complete: false, folders, files: records };
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| self.wrap()(error.into()))?;
        files::fresh(&unfinished.join(MANIFEST), &text).map_err(self.wrap())?;
        files::settle(&unfinished.join(MANIFEST)).map_err(self.wrap())?;
        fs::rename(&unfinished, &folder).map_err(self.wrap())?;
        files::settle(&folder).map_err(self.wrap())?;
        Ok(Backup { folder, manifest })
    }

    /// Removes the folder of backups if the last one is gone.
    pub(super) fn tidy(&self) {
        // Not empty, or not there: both are fine.
        fs::remove_dir(&self.folder).ok();
    }
}

/// The number that a backup's name starts with; none for what is no whole backup.
fn sequence(name: &str) -> Option<u64> {
    let (number, _) = name.split_once('-').filter(|_| !name.contains('.'))?;
    number.parse().ok()
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

// === impl Backup ===

impl Backup {
    fn wrap(&self) -> impl Fn(io::Error) -> Error {
        |error| Error::Io { folder: self.folder.clone(), error }
    }

    /// The text that was kept, if it still is what it was.
    pub(super) fn bytes(&self, kept: &Kept) -> Result<Vec<u8>, Error> {
        let damaged =
            |what: &str| Error::Damaged { folder: self.folder.clone(), what: format!("{}: {what}", kept.blob) };
        let bytes = fs::read(self.folder.join(&kept.blob)).map_err(|error| damaged(&error.to_string()))?;
        if digest(&bytes) == kept.sha256 { Ok(bytes) } else { Err(damaged("it is not what was written")) }
    }

    /// Writes that the import came to its end, with these files.
    pub(super) fn complete(&mut self, files: Vec<Record>) -> Result<(), Error> {
        self.manifest.files = files;
        self.manifest.complete = true;
        let text = serde_json::to_vec_pretty(&self.manifest).map_err(|error| self.wrap()(error.into()))?;
        let (path, beside) = (self.folder.join(MANIFEST), self.folder.join(MANIFEST).with_extension(UNFINISHED));
        files::fresh(&beside, &text).map_err(self.wrap())?;
        fs::rename(&beside, &path).map_err(self.wrap())?;
        files::settle(&path).map_err(self.wrap())
    }

    /// Removes it: there is nothing left to take back.
    pub(super) fn forget(self) -> Result<(), Error> {
        let mut name = self.folder.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{GOING}"));
        let going = self.folder.with_file_name(name);
        fs::rename(&self.folder, &going).map_err(self.wrap())?;
        files::settle(&going).map_err(self.wrap())?;
        fs::remove_dir_all(&going).map_err(self.wrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(path: &Path) -> Wanted {
        Wanted {
            path: path.to_owned(),
            before: Some((b"old".to_vec(), 0o644)),
            after: (b"new".to_vec(), 0o600),
            of: Of::Hub { added: vec!["a".to_owned()] },
        }
    }

    #[test]
    fn a_backup_is_found_again_with_its_texts() {
        let state = tempfile::tempdir().expect("folder");
        let journal = Journal::of(state.path());
        assert!(journal.newest().expect("none").is_none());
        let file = state.path().join("hub.toml");
        let begin = || journal.begin(vec![wanted(&file)], Vec::new(), SystemTime::UNIX_EPOCH).expect("kept");
        let first = begin();
        let mut second = begin();
        assert!(!second.manifest.complete);
        let files = second.manifest.files.clone();
        second.complete(files).expect("written");
        let newest = journal.newest().expect("readable").expect("there");
        assert!(newest.manifest.complete);
        let record = &newest.manifest.files[0];
        assert_eq!(newest.bytes(record.before.as_ref().expect("kept")).expect("text"), b"old");
        assert_eq!(newest.bytes(&record.after).expect("text"), b"new");
        assert_eq!(journal.ids().expect("ids"), ["000001-19700101T000000Z", "000002-19700101T000000Z"]);
        newest.forget().expect("removed");
        assert_eq!(journal.newest().expect("readable").expect("there").folder, first.folder);
        first.forget().expect("removed");
        journal.tidy();
        assert!(!state.path().join("backups").exists());
    }

    #[test]
    fn what_a_kill_left_is_swept_away() {
        let state = tempfile::tempdir().expect("folder");
        let journal = Journal::of(state.path());
        let file = state.path().join("hub.toml");
        let backup = journal.begin(vec![wanted(&file)], Vec::new(), SystemTime::UNIX_EPOCH).expect("kept");
        let temp = &backup.manifest.files[0].temp;
        fs::write(temp, "half").expect("written");
        for name in ["000002-x.new", "000000-x.gone"] {
            fs::create_dir(journal.folder.join(name)).expect("folder");
            fs::write(journal.folder.join(name).join("0.before"), "secret").expect("written");
        }
        journal.sweep().expect("swept");
        assert!(!temp.exists());
        assert_eq!(journal.names().expect("names").len(), 1);
    }

    #[test]
    fn a_damaged_text_is_not_given_back() {
        let state = tempfile::tempdir().expect("folder");
        let journal = Journal::of(state.path());
        let backup = journal.begin(vec![wanted(&state.path().join("f"))], Vec::new(), SystemTime::UNIX_EPOCH);
        let backup = backup.expect("kept");
        fs::write(backup.folder.join("0.before"), "other").expect("written");
        let kept = backup.manifest.files[0].before.as_ref().expect("kept");
        assert!(matches!(backup.bytes(kept), Err(Error::Damaged { .. })));
    }

    #[test]
    fn no_backup_goes_by_itself() {
        let state = tempfile::tempdir().expect("folder");
        let journal = Journal { max: 3, ..Journal::of(state.path()) };
        let begin = || journal.begin(vec![wanted(&state.path().join("f"))], Vec::new(), SystemTime::UNIX_EPOCH);
        for _ in 0..3 {
            begin().expect("kept");
        }
        let before = journal.names().expect("names");
        let error = begin().expect_err("no room").to_string();
        assert!(error.starts_with("3 imports are kept") && error.contains("backups away"), "{error}");
        assert_eq!(journal.names().expect("names"), before, "nothing is begun");
        journal.newest().expect("readable").expect("there").forget().expect("taken back");
        begin().expect("room again");
    }
}

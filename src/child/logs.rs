//! Log files of servers: written by one thread, rotated, read by `hub logs`.
//!
//! In: pieces of text from children. Out: `NAME.log` and its older generations `.1` and `.2` in the state folder. The
//! thread owns the open files. May not: make a child wait (a full queue drops, and says so later).
//!
//! A thread and not the runtime's own file support: a disk that stalls must stall no child and no session, and the
//! order of pieces must hold across the instances of a server.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use crate::limits;

/// Generations besides the current file.
const OLD_FILES: [&str; 2] = ["log.1", "log.2"];
/// One read of [`Follow`] takes at most this much.
const FOLLOW_BYTES_MAX: u64 = 1 << 20;

/// The way to the log thread. Cheap to clone; the thread ends when the last clone is gone.
#[derive(Debug, Clone)]
pub struct LogFiles {
    folder: Arc<Path>,
    queue: SyncSender<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text { server: Arc<str>, text: String },
    Flush(SyncSender<()>),
}

/// One child's part of its server's log.
#[derive(Debug)]
pub(super) struct ServerLog {
    server: Arc<str>,
    generation: u64,
    queue: SyncSender<Piece>,
    dropped: usize,
}

impl LogFiles {
    /// Starts the log thread for a folder that exists.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let (queue, pieces) = sync_channel(limits::LOG_QUEUE_MAX);
        let files = Files { folder: folder.to_owned(), open: HashMap::new(), failing: false };
        std::thread::Builder::new().name("hub-logs".into()).spawn(move || files.run(&pieces))?;
        Ok(Self { folder: folder.into(), queue })
    }

    /// The folder of the files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until everything queued so far is written, at most `patience`. Blocks.
    pub fn flush(&self, patience: Duration) {
        let (done, wait) = sync_channel(1);
        if self.queue.send(Piece::Flush(done)).is_ok() {
            // Too slow a disk: the text is still written if the process lives long enough.
            wait.recv_timeout(patience).ok();
        }
    }

    pub(super) fn log_of(&self, server: &str, generation: u64) -> ServerLog {
        ServerLog { server: server.into(), generation, queue: self.queue.clone(), dropped: 0 }
    }
}

impl ServerLog {
    /// Appends one line with time and generation to a piece.
    pub(super) fn write_line(&self, piece: &mut String, line: &str) {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        // Writing to a string cannot fail.
        writeln!(piece, "{now} [{}] {line}", self.generation).ok();
    }

    /// Queues a piece of whole lines, or counts it as dropped.
    pub(super) fn send(&mut self, mut text: String) {
        if self.dropped > 0 {
            let mut notice = String::new();
            self.write_line(&mut notice, &format!("hub: {} lines were not logged, the disk is too slow", self.dropped));
            text.insert_str(0, &notice);
        }
        match self.queue.try_send(Piece::Text { server: self.server.clone(), text }) {
            Ok(()) => self.dropped = 0,
            Err(
                TrySendError::Full(Piece::Text { text, .. }) | TrySendError::Disconnected(Piece::Text { text, .. }),
            ) => {
                self.dropped += text.lines().count() - usize::from(self.dropped > 0);
            }
            Err(_) => {}
        }
    }
}

/// The file of a server, whatever characters its name has.
pub fn path_of(folder: &Path, server: &str) -> PathBuf {
    let safe = |letter: char| if letter.is_ascii_alphanumeric() || "-_".contains(letter) { letter } else { '_' };
    let name: String = server.chars().map(safe).collect();
    folder.join(format!("{name}.log"))
}

// === the thread ===

struct Files {
    folder: PathBuf,
    open: HashMap<Arc<str>, LogFile>,
    /// Said once, until a write succeeds again.
    failing: bool,
}

struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    inode: u64,
}

impl Files {
    fn run(mut self, pieces: &Receiver<Piece>) {
        while let Ok(piece) = pieces.recv() {
            match piece {
                Piece::Flush(done) => drop(done.try_send(())),
                Piece::Text { server, text } => match self.write(&server, &text) {
                    Ok(()) => self.failing = false,
                    Err(error) => {
                        self.open.remove(&server);
                        if !std::mem::replace(&mut self.failing, true) {
                            tracing::warn!(%server, %error, folder = %self.folder.display(), "cannot write a log file");
                        }
                    }
                },
            }
        }
    }

    fn write(&mut self, server: &Arc<str>, text: &str) -> io::Result<()> {
        if let Some(log) = self.open.get(server) {
            // Someone removed or renamed the file: do not go on writing into nowhere.
            if fs::metadata(&log.path).map_or(true, |now| now.ino() != log.inode) {
                self.open.remove(server);
            }
        }
        if !self.open.contains_key(server) {
            self.open.insert(server.clone(), LogFile::open(path_of(&self.folder, server))?);
        }
        let log = self.open.get_mut(server).expect("inserted above");
        if log.bytes > 0 && log.bytes + text.len() as u64 > limits::LOG_FILE_BYTES_MAX {
            *log = LogFile::rotate(std::mem::take(&mut log.path))?;
        }
        log.file.write_all(text.as_bytes())?;
        log.bytes += text.len() as u64;
        Ok(())
    }
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let found = file.metadata()?;
        Ok(Self { path, file, bytes: found.len(), inode: found.ino() })
    }

    fn rotate(path: PathBuf) -> io::Result<Self> {
        let [first, second] = OLD_FILES.map(|end| path.with_extension(end));
        // The first rotation has no older file to move.
        fs::rename(&first, second).ok();
        fs::rename(&path, first)?;
        Self::open(path)
    }
}

// === reading ===

/// The last `count` lines of a server's log, oldest first, across its older files.
pub fn last_lines(folder: &Path, server: &str, count: usize) -> io::Result<Vec<String>> {
    let current = path_of(folder, server);
    let mut lines: Vec<String> = Vec::new();
    let older = OLD_FILES.map(|end| current.with_extension(end));
    for path in std::iter::once(&current).chain(&older) {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&text);
        let wanted = count - lines.len();
        let mut found: Vec<String> = text.lines().rev().take(wanted).map(str::to_owned).collect();
        found.reverse();
        found.append(&mut lines);
        lines = found;
        if lines.len() >= count {
            break;
        }
    }
    Ok(lines)
}

/// Reads what is appended to a server's log, across rotations.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    file: Option<File>,
    unfinished: Vec<u8>,
}

impl Follow {
    /// Begins at the present end of the file; a file that does not exist yet is read from its start.
    pub fn from_end(folder: &Path, server: &str) -> Self {
        let path = path_of(folder, server);
        let file = File::open(&path).and_then(|mut file| file.seek(SeekFrom::End(0)).map(|_| file)).ok();
        Self { path, file, unfinished: Vec::new() }
    }

    /// Begins at the start of the file, whenever there is one.
    pub fn from_start(folder: &Path, server: &str) -> Self {
        Self { path: path_of(folder, server), file: None, unfinished: Vec::new() }
    }

    /// Whole lines that were added since the last call; empty when there are none. Call it again after a pause.
    pub fn new_lines(&mut self) -> io::Result<Vec<String>> {
        self.read_more()?;
        if self.was_replaced() {
            // All of the old file was read; what is in the new one is new.
            self.file = File::open(&self.path).ok();
            self.read_more()?;
        }
        let Some(end) = memchr::memrchr(b'\n', &self.unfinished) else { return Ok(Vec::new()) };
        let rest = self.unfinished.split_off(end + 1);
        let whole = std::mem::replace(&mut self.unfinished, rest);
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }

    fn read_more(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.take(FOLLOW_BYTES_MAX).read_to_end(&mut self.unfinished)?;
        }
        Ok(())
    }

    fn was_replaced(&self) -> bool {
        let Ok(now) = fs::metadata(&self.path) else { return false };
        let Some(Ok(open)) = self.file.as_ref().map(File::metadata) else { return true };
        now.ino() != open.ino()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn send(log: &mut ServerLog, line: &str) {
        let mut piece = String::new();
        log.write_line(&mut piece, line);
        log.send(piece);
    }

    #[test]
    fn lines_have_time_and_generation_and_the_file_is_private() {
        let folder = tempfile::tempdir().expect("folder");
        let logs = LogFiles::open(folder.path()).expect("thread");
        send(&mut logs.log_of("git/hub", 7), "hello");
        logs.flush(PATIENCE);
        let lines = last_lines(folder.path(), "git/hub", 10).expect("read");
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with(" [7] hello"), "{lines:?}");
        assert!(humantime::parse_rfc3339(lines[0].split(' ').next().expect("time")).is_ok());
        let mode = fs::metadata(path_of(folder.path(), "git/hub")).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn rotates_and_is_read_and_followed_across_files() {
        let folder = tempfile::tempdir().expect("folder");
        let logs = LogFiles::open(folder.path()).expect("thread");
        let mut log = logs.log_of("s", 1);
        send(&mut log, "first");
        logs.flush(PATIENCE);
        let mut follow = Follow::from_end(folder.path(), "s");
        let filler = "x".repeat(1 << 20);
        for number in 0..18 {
            send(&mut log, &format!("{number} {filler}"));
            logs.flush(PATIENCE);
            let seen = follow.new_lines().expect("read");
            let more = if seen.is_empty() { follow.new_lines().expect("read") } else { seen };
            assert!(more.len() == 1 && more[0].contains(&format!(" [1] {number} x")), "line {number}");
        }
        let current = path_of(folder.path(), "s");
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .expect("folder")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("name"))
            .collect();
        names.sort();
        assert_eq!(names, ["s.log", "s.log.1", "s.log.2"]);
        assert!(fs::metadata(&current).expect("file").len() <= limits::LOG_FILE_BYTES_MAX);
        let lines = last_lines(folder.path(), "s", 6).expect("read");
        let numbers: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(2)).collect();
        assert_eq!(numbers, ["12", "13", "14", "15", "16", "17"]);
    }

    #[test]
    fn a_removed_file_is_made_again() {
        let folder = tempfile::tempdir().expect("folder");
        let logs = LogFiles::open(folder.path()).expect("thread");
        let mut log = logs.log_of("s", 1);
        send(&mut log, "one");
        logs.flush(PATIENCE);
        fs::remove_file(path_of(folder.path(), "s")).expect("removed");
        send(&mut log, "two");
        logs.flush(PATIENCE);
        let lines = last_lines(folder.path(), "s", 10).expect("read");
        assert!(lines.len() == 1 && lines[0].ends_with("two"), "{lines:?}");
    }
}

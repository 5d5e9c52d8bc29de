//! The database file: opened, checked, brought to the present schema, replaced when it is broken.
//!
//! In: a path. Out: a connection to work with. Owned by the store's thread. May not: throw away a file (a broken one is
//! renamed, a newer one refused).

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::Error;

/// Changes to the schema, oldest first; the version of a file is how many it has seen.
const STEPS: [&str; 1] = ["
    CREATE TABLE ports (server TEXT PRIMARY KEY, port INTEGER NOT NULL UNIQUE) STRICT;
    CREATE TABLE cache (
        server TEXT NOT NULL, kind TEXT NOT NULL, fingerprint TEXT NOT NULL, value BLOB NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (server, kind)) STRICT, WITHOUT ROWID;
    CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY, endpoint TEXT NOT NULL, version TEXT NOT NULL, capabilities BLOB NOT NULL,
        client_info BLOB NOT NULL, level TEXT, subscriptions TEXT NOT NULL, created INTEGER NOT NULL,
        last_used INTEGER NOT NULL) STRICT;
    CREATE INDEX sessions_by_use ON sessions (last_used);
    CREATE TABLE runs (run TEXT PRIMARY KEY, pid INTEGER NOT NULL, start INTEGER NOT NULL, boot TEXT NOT NULL) STRICT;
    CREATE TABLE processes (
        run TEXT NOT NULL, pid INTEGER NOT NULL, start INTEGER NOT NULL, server TEXT NOT NULL,
        generation INTEGER NOT NULL, PRIMARY KEY (run, pid)) STRICT, WITHOUT ROWID;
"];

/// Another hub on the same state folder may hold the file this long.
const BUSY: Duration = Duration::from_secs(2);

/// An open database file.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    connection: Connection,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        match connect(path) {
            Err(Error::Database(error)) if is_broken(&error) => {
                move_aside(path, &error)?;
                connect(path)
            }
            other => other,
        }
        .map(|connection| Self { path: path.to_owned(), connection })
    }

    /// Runs one piece of work. If the file turns out to be broken, this work fails and the next finds a new file.
    pub(super) fn run<T>(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let result = work(&mut self.connection);
        if let Err(error) = &result
            && is_broken(error)
        {
            self.replace(error);
        }
        Ok(result?)
    }

    fn replace(&mut self, reason: &rusqlite::Error) {
        let fresh = move_aside(&self.path, reason).and_then(|()| connect(&self.path));
        match fresh {
            Ok(connection) => self.connection = connection,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the broken state database cannot be replaced");
            }
        }
    }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let wrap = |error| Error::Open { path: path.to_owned(), error };
    // SQLite would create it by the umask; its companions (-wal, -shm) get the mode of this file.
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(wrap)?;
    let mut permissions = file.metadata().map_err(wrap)?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o600);
        file.set_permissions(permissions).map_err(wrap)?;
    }
    drop(file);
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(BUSY)?;
    // NORMAL in WAL mode: a crash of hub loses nothing, a power failure perhaps the last moments, neither corrupts.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // KiB. The whole working set is small and hub must be too.
    connection.pragma_update(None, "cache_size", -256)?;
    connection.pragma_update(None, "journal_size_limit", 1 << 20)?;
    migrate(&mut connection)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let known = i64::try_from(STEPS.len()).expect("few steps");
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(Error::Newer { found, known });
    }
    for step in &STEPS[usize::try_from(found).unwrap_or(0)..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    Ok(transaction.commit()?)
}

fn is_broken(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn move_aside(path: &Path, reason: &rusqlite::Error) -> Result<(), Error> {
    let now = super::unix_seconds(SystemTime::now());
    let with_end = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let aside = with_end(&format!(".broken-{now}"));
    tracing::warn!(error = %reason, kept_as = %aside.display(), "the state database is broken; a new one is begun");
    for end in ["-wal", "-shm"] {
        match std::fs::remove_file(with_end(end)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Open { path: with_end(end), error });
            }
            _ => {}
        }
    }
    std::fs::rename(path, &aside).map_err(|error| Error::Open { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("hub.db");
        drop(Database::open(&path).expect("created"));
        let connection = Connection::open(&path).expect("opened");
        connection.pragma_update(None, "user_version", 999).expect("set");
        drop(connection);
        let before = std::fs::read(&path).expect("read");
        assert!(matches!(Database::open(&path), Err(Error::Newer { found: 999, .. })));
        assert_eq!(std::fs::read(&path).expect("read"), before);
    }

    #[test]
    fn a_file_that_is_no_database_is_moved_aside() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("hub.db");
        std::fs::write(&path, "this is not a database, not at all. ".repeat(100)).expect("written");
        drop(Database::open(&path).expect("a new one"));
        let aside = std::fs::read_dir(folder.path()).expect("folder").flatten();
        let aside = aside.filter(|entry| entry.file_name().to_string_lossy().contains(".broken-"));
        assert_eq!(aside.count(), 1);
    }

    #[test]
    fn a_file_that_breaks_later_is_replaced() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("hub.db");
        let mut database = Database::open(&path).expect("created");
        let broken =
            || Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), None));
        database.run(|_| -> rusqlite::Result<()> { broken() }).expect_err("broken");
        let fresh = database.run(|connection| connection.execute("INSERT INTO ports VALUES ('a', 1)", []));
        assert_eq!(fresh.expect("works again"), 1);
    }

    #[test]
    fn the_file_is_private() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("hub.db");
        std::fs::write(&path, "").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("mode");
        let mut database = Database::open(&path).expect("opened");
        database.run(|connection| connection.execute("INSERT INTO ports VALUES ('a', 1)", [])).expect("written");
        for entry in std::fs::read_dir(folder.path()).expect("folder").flatten() {
            let mode = entry.metadata().expect("metadata").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
        }
    }
}

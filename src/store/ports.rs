//! Ports that were given to servers, and single values under a key.
//!
//! In: names and numbers. Out: the same, after a restart. The store's thread owns the rows. May not: choose a port.

use std::collections::HashMap;

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{Error, Store};

/// The daemon may hold the file this long.
const BUSY: std::time::Duration = std::time::Duration::from_secs(2);

impl Store {
    /// All remembered ports by server name.
    pub async fn ports(&self) -> Result<HashMap<String, u16>, Error> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached("SELECT server, port FROM ports")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .await
    }

    /// Remembers a server's port; another server that had it loses it.
    pub async fn set_port(&self, server: &str, port: u16) -> Result<(), Error> {
        let server = server.to_owned();
        self.ask(move |connection| {
            let mut statement =
                connection.prepare_cached("INSERT OR REPLACE INTO ports (server, port) VALUES (?, ?)")?;
            statement.execute((server, port)).map(drop)
        })
        .await
    }

    /// Forgets a server's port.
    pub async fn forget_port(&self, server: &str) -> Result<(), Error> {
        let server = server.to_owned();
        self.ask(move |connection| connection.execute("DELETE FROM ports WHERE server = ?", [server]).map(drop)).await
    }

    /// The value under a key.
    pub async fn value(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let key = key.to_owned();
        self.ask(move |connection| {
            connection.query_row("SELECT value FROM kv WHERE key = ?", [key], |row| row.get(0)).optional()
        })
        .await
    }

    /// Keeps a value under a key; `None` removes it.
    pub async fn set_value(&self, key: &str, value: Option<Vec<u8>>) -> Result<(), Error> {
        let key = key.to_owned();
        self.ask(move |connection| match value {
            Some(value) => {
                connection.execute("INSERT OR REPLACE INTO kv (key, value) VALUES (?, ?)", (key, value)).map(drop)
            }
            None => connection.execute("DELETE FROM kv WHERE key = ?", [key]).map(drop),
        })
        .await
    }
}

/// All remembered ports by server name, for a command that is not the daemon: the file is only read. Nothing when there is
/// no file, or none that can be read.
pub fn ports_in(database: &Path) -> HashMap<String, u16> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = || -> rusqlite::Result<HashMap<String, u16>> {
        let connection = Connection::open_with_flags(database, flags)?;
        connection.busy_timeout(BUSY)?;
        let mut statement = connection.prepare("SELECT server, port FROM ports")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    if database.exists() { read().unwrap_or_default() } else { HashMap::new() }
}

//! What servers last said of themselves: handshakes, lists, era verdicts. Lets hub answer before a child runs.
//!
//! In: values of a server with the fingerprint of its configuration. Out: the same, after a restart. The store's thread
//! owns the rows. May not: know what is in a value.

use std::time::SystemTime;

use super::{Error, Store, unix_seconds};

/// One remembered value of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRow {
    /// The server's name.
    pub server: String,
    /// What it is: `handshake`, `tools`, `verdict` …
    pub kind: String,
    /// Of the configuration that it was learnt under; under another one it means nothing.
    pub fingerprint: String,
    /// The value.
    pub value: Vec<u8>,
    /// When, in seconds since 1970.
    pub at: i64,
}

impl Store {
    /// All that is remembered of all servers, for the start.
    pub async fn cache(&self) -> Result<Vec<CacheRow>, Error> {
        self.ask(|connection| {
            let mut statement = connection.prepare("SELECT server, kind, fingerprint, value, at FROM cache")?;
            let rows = statement.query_map([], |row| {
                Ok(CacheRow {
                    server: row.get(0)?,
                    kind: row.get(1)?,
                    fingerprint: row.get(2)?,
                    value: row.get(3)?,
                    at: row.get(4)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    /// What is remembered of one server under one fingerprint: kind and value.
    pub async fn cache_of(&self, server: &str, fingerprint: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let row = (server.to_owned(), fingerprint.to_owned());
        self.ask(move |connection| {
            let sql = "SELECT kind, value FROM cache WHERE server = ? AND fingerprint = ?";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(row, |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
        .await
    }

    /// Remembers a value in place of the older one of that server and kind.
    pub async fn cache_put(&self, server: &str, kind: &str, fingerprint: &str, value: Vec<u8>) -> Result<(), Error> {
        let at = unix_seconds(SystemTime::now());
        let row = (server.to_owned(), kind.to_owned(), fingerprint.to_owned(), value, at);
        self.ask(move |connection| {
            let sql = "INSERT OR REPLACE INTO cache (server, kind, fingerprint, value, at) VALUES (?, ?, ?, ?, ?)";
            connection.prepare_cached(sql)?.execute(row).map(drop)
        })
        .await
    }

    /// Forgets one kind of a server, or all with `None`.
    pub async fn cache_forget(&self, server: &str, kind: Option<&str>) -> Result<(), Error> {
        let row = (server.to_owned(), kind.map(str::to_owned));
        self.ask(move |connection| {
            let sql = "DELETE FROM cache WHERE server = ?1 AND (?2 IS NULL OR kind = ?2)";
            connection.execute(sql, row).map(drop)
        })
        .await
    }
}

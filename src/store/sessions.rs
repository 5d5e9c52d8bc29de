//! Sessions: an id that hub gave out stays valid across a restart (DESIGN 5).
//!
//! In: sessions as plain values. Out: the same, after a restart. The store's thread owns the rows. May not: decide when
//! a session ends.

use rusqlite::{OptionalExtension, Row};

use super::{Error, Store};

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The unguessable id.
    pub id: String,
    /// Which endpoint it belongs to.
    pub endpoint: String,
    /// The negotiated revision.
    pub version: String,
    /// The client's `capabilities` object, raw.
    pub capabilities: Vec<u8>,
    /// The client's `clientInfo` object, raw.
    pub client_info: Vec<u8>,
    /// Its logging level, if it set one.
    pub level: Option<String>,
    /// What it subscribed to: a JSON document of the session room's own making.
    pub subscriptions: String,
    /// When it began, in seconds since 1970.
    pub created: i64,
    /// When it was last used, in seconds since 1970.
    pub last_used: i64,
}

const COLUMNS: &str = "id, endpoint, version, capabilities, client_info, level, subscriptions, created, last_used";

fn from_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        id: row.get(0)?,
        endpoint: row.get(1)?,
        version: row.get(2)?,
        capabilities: row.get(3)?,
        client_info: row.get(4)?,
        level: row.get(5)?,
        subscriptions: row.get(6)?,
        created: row.get(7)?,
        last_used: row.get(8)?,
    })
}

impl Store {
    /// Keeps a session, in place of its older state.
    pub async fn session_put(&self, session: SessionRow) -> Result<(), Error> {
        self.ask(move |connection| {
            let sql = format!("INSERT OR REPLACE INTO sessions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
            let values = (
                session.id,
                session.endpoint,
                session.version,
                session.capabilities,
                session.client_info,
                session.level,
                session.subscriptions,
                session.created,
                session.last_used,
            );
            connection.prepare_cached(&sql)?.execute(values).map(drop)
        })
        .await
    }

    /// One session.
    pub async fn session(&self, id: &str) -> Result<Option<SessionRow>, Error> {
        let id = id.to_owned();
        self.ask(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM sessions WHERE id = ?");
            connection.prepare_cached(&sql)?.query_row([id], from_row).optional()
        })
        .await
    }

    /// Forgets a session. Returns whether there was one.
    pub async fn session_delete(&self, id: &str) -> Result<bool, Error> {
        let id = id.to_owned();
        let sql = "DELETE FROM sessions WHERE id = ?";
        self.ask(move |connection| Ok(connection.prepare_cached(sql)?.execute([id])? > 0)).await
    }

    /// Changes the logging level and the subscriptions of a session.
    pub async fn session_update(&self, id: &str, level: Option<String>, subscriptions: String) -> Result<(), Error> {
        let row = (level, subscriptions, id.to_owned());
        let sql = "UPDATE sessions SET level = ?, subscriptions = ? WHERE id = ?";
        self.ask(move |connection| connection.prepare_cached(sql)?.execute(row).map(drop)).await
    }

    /// Notes when sessions were last used: (id, seconds since 1970). Dropped and counted when the store is busy; the
    /// next touch says it again.
    pub fn sessions_touch_later(&self, touches: Vec<(String, i64)>) {
        let queued = self.later("the last use of sessions", move |connection| {
            let transaction = connection.transaction()?;
            {
                let sql = "UPDATE sessions SET last_used = max(last_used, ?2) WHERE id = ?1";
                let mut statement = transaction.prepare_cached(sql)?;
                for touch in touches {
                    statement.execute(touch)?;
                }
            }
            transaction.commit()
        });
        if !queued {
            self.dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Deletes sessions that were last used before `before` and returns their ids.
    pub async fn sessions_expire(&self, before: i64) -> Result<Vec<String>, Error> {
        self.ask(move |connection| {
            let mut statement = connection.prepare_cached("DELETE FROM sessions WHERE last_used < ? RETURNING id")?;
            statement.query_map([before], |row| row.get(0))?.collect()
        })
        .await
    }

    /// The `count` sessions that were idle longest, idlest first.
    pub async fn sessions_idlest(&self, count: usize) -> Result<Vec<String>, Error> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.ask(move |connection| {
            let mut statement = connection.prepare_cached("SELECT id FROM sessions ORDER BY last_used LIMIT ?")?;
            statement.query_map([count], |row| row.get(0))?.collect()
        })
        .await
    }

    /// How many sessions there are.
    pub async fn sessions_count(&self) -> Result<usize, Error> {
        let count = self.ask(|connection| connection.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)));
        count.await.map(|count: i64| usize::try_from(count).unwrap_or(0))
    }

    /// Every session's id, endpoint and last use: what a start needs to know without the rest.
    pub async fn sessions_known(&self) -> Result<Vec<(String, String, i64)>, Error> {
        self.ask(|connection| {
            let mut statement = connection.prepare("SELECT id, endpoint, last_used FROM sessions")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        })
        .await
    }

    /// Every session, whole.
    pub async fn sessions_all(&self) -> Result<Vec<SessionRow>, Error> {
        self.ask(|connection| {
            let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM sessions"))?;
            statement.query_map([], from_row)?.collect()
        })
        .await
    }
}

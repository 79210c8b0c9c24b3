//! SQLCipher: SQLite whose pages are encrypted (AES-256-CBC) and authenticated (HMAC-SHA-512).

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use crate::peer::{Database, Peer, Session};
use crate::sample::Sample;

const SHARED: &str = "one connection behind a mutex";
const POOL: &str = "one connection per thread";

/// A raw key: no password is stretched when a connection opens, which would cost more than everything else.
const KEY: &str =
    "PRAGMA key = \"x'000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'\";";

/// The memory that ATE gets for its cache in the same rows.
const CACHE_KIB: u32 = 64 * 1024;

pub(crate) struct SqlCipher;

impl Peer for SqlCipher {
    fn name(&self) -> &'static str {
        "sqlcipher"
    }

    fn ways(&self) -> &'static [&'static str] {
        &[SHARED, POOL]
    }

    fn open(&self, dir: &Path, way: &str) -> Result<Box<dyn Database>> {
        let path = dir.join("samples.db");
        let connection = connect(&path)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS sample (id INTEGER PRIMARY KEY, body BLOB NOT NULL);",
        )?;
        Ok(Box::new(Open {
            path,
            shared: Mutex::new(connection),
            is_pool: way == POOL,
        }))
    }
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(KEY)?;
    let cipher: Option<String> = connection
        .query_row("PRAGMA cipher_version", [], |row| row.get(0))
        .optional()?;
    ensure!(cipher.is_some(), "this SQLite does not encrypt");
    connection.busy_timeout(Duration::from_secs(60))?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    ensure!(mode == "wal", "the journal mode is {mode}");
    // FULL syncs the write-ahead log at every commit; NORMAL would sync at checkpoints only.
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -{CACHE_KIB};"
    ))?;
    Ok(connection)
}

struct Open {
    path: PathBuf,
    shared: Mutex<Connection>,
    is_pool: bool,
}

impl Database for Open {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(if self.is_pool {
            Box::new(Own(connect(&self.path)?))
        } else {
            Box::new(Shared(&self.shared))
        })
    }

    fn close(self: Box<Self>) -> Result<()> {
        let connection = self
            .shared
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        connection
            .close()
            .map_err(|(_, error)| error)
            .context("closing")
    }
}

struct Own(Connection);

impl Session for Own {
    fn commit(&mut self, samples: &[Sample]) -> Result<()> {
        commit(&mut self.0, samples)
    }

    fn read(&mut self, id: u64) -> Result<Option<Sample>> {
        read(&self.0, id)
    }
}

struct Shared<'a>(&'a Mutex<Connection>);

impl Session for Shared<'_> {
    fn commit(&mut self, samples: &[Sample]) -> Result<()> {
        commit(
            &mut self.0.lock().unwrap_or_else(PoisonError::into_inner),
            samples,
        )
    }

    fn read(&mut self, id: u64) -> Result<Option<Sample>> {
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner), id)
    }
}

fn commit(connection: &mut Connection, samples: &[Sample]) -> Result<()> {
    // Takes the write lock at once: a reader that turns writer could fail with "busy" instead of waiting.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut insert =
            transaction.prepare_cached("INSERT INTO sample (id, body) VALUES (?1, ?2)")?;
        for sample in samples {
            insert.execute((i64::try_from(sample.id)?, sample.encode()?))?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn read(connection: &Connection, id: u64) -> Result<Option<Sample>> {
    let mut select = connection.prepare_cached("SELECT body FROM sample WHERE id = ?1")?;
    let mut rows = select.query([i64::try_from(id)?])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Sample::decode(row.get_ref(0)?.as_blob()?)?))
}

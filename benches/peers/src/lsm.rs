//! fjall: a log-structured key-value store. It neither encrypts nor signs.

use std::path::Path;

use anyhow::Result;
use fjall::{Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::peer::{Database, Peer, Session};
use crate::sample::Sample;

const BATCH: &str = "batch with durability";
const PERSIST: &str = "insert then persist";

/// As much as the other peers get.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// `fdatasync`, as ATE uses: the cheapest that makes a commit durable.
const MODE: PersistMode = PersistMode::SyncData;

pub(crate) struct Fjall;

impl Peer for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn ways(&self) -> &'static [&'static str] {
        &[BATCH, PERSIST]
    }

    fn open(&self, dir: &Path, way: &str) -> Result<Box<dyn Database>> {
        let database = fjall::Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .open()?;
        let samples = database.keyspace("samples", KeyspaceCreateOptions::default)?;
        Ok(Box::new(Open {
            samples,
            database,
            is_batch: way == BATCH,
        }))
    }
}

struct Open {
    samples: Keyspace,
    database: fjall::Database,
    is_batch: bool,
}

impl Database for Open {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.database.persist(PersistMode::SyncAll)?;
        Ok(())
    }
}

impl Session for &Open {
    fn commit(&mut self, samples: &[Sample]) -> Result<()> {
        if let ([sample], false) = (samples, self.is_batch) {
            self.samples
                .insert(sample.id.to_be_bytes(), sample.encode()?)?;
            self.database.persist(MODE)?;
            return Ok(());
        }
        let mut batch = self.database.batch().durability(Some(MODE));
        for sample in samples {
            batch.insert(&self.samples, sample.id.to_be_bytes(), sample.encode()?);
        }
        batch.commit()?;
        Ok(())
    }

    fn read(&mut self, id: u64) -> Result<Option<Sample>> {
        let found = self.samples.get(id.to_be_bytes())?;
        found.map(|bytes| Sample::decode(&bytes)).transpose()
    }
}

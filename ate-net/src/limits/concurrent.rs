//! How many of something there are at one moment, by key.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{LimitHit, LimitKind};

/// Counts what is going on, by key and in all. A key has a row only while something of it goes on, so that the number of all bounds the table.
pub struct Concurrent<K: Ord + Clone> {
    per_key_max: u32,
    all_max: u32,
    counts: Arc<Mutex<Counts<K>>>,
}

struct Counts<K> {
    by_key: BTreeMap<K, u32>,
    all: u32,
}

/// There is no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    /// The key has all that it may have.
    Key,
    /// All keys together have.
    All,
}

impl Full {
    pub(super) const fn hit(self, of_key: LimitKind, of_all: LimitKind) -> LimitHit {
        LimitHit {
            limit: match self {
                Self::Key => of_key,
                Self::All => of_all,
            },
            retry_ms: None,
        }
    }
}

impl<K: Ord + Clone> Concurrent<K> {
    /// At most so many at one moment for one key, and for all together.
    #[must_use]
    pub fn new(per_key_max: u32, all_max: u32) -> Self {
        Self {
            per_key_max,
            all_max,
            counts: Arc::new(Mutex::new(Counts {
                by_key: BTreeMap::new(),
                all: 0,
            })),
        }
    }

    /// One more, until the permit is dropped.
    pub(crate) fn take(&self, key: K) -> Result<Permit<K>, Full> {
        let mut counts = self.counts.lock();
        if counts.by_key.get(&key).copied().unwrap_or(0) >= self.per_key_max {
            return Err(Full::Key);
        }
        if counts.all >= self.all_max {
            return Err(Full::All);
        }
        counts.all += 1;
        *counts.by_key.entry(key.clone()).or_insert(0) += 1;
        drop(counts);
        Ok(Permit {
            key,
            counts: self.counts.clone(),
        })
    }

    /// One more, until the permit is dropped; `None` if there is no room.
    #[must_use]
    pub fn try_take(&self, key: K) -> Option<Permit<K>> {
        self.take(key).ok()
    }

    /// How many there are, of all keys.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.counts.lock().all
    }

    /// How many there are of one key.
    #[must_use]
    pub fn count_of(&self, key: &K) -> u32 {
        self.counts.lock().by_key.get(key).copied().unwrap_or(0)
    }

    /// Keys of which there is at least one.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.counts.lock().by_key.len()
    }
}

/// The right to be one of a limited number, given back on drop.
#[must_use = "a permit that is dropped is given back"]
pub struct Permit<K: Ord + Clone> {
    key: K,
    counts: Arc<Mutex<Counts<K>>>,
}

impl<K: Ord + Clone> std::fmt::Debug for Permit<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl<K: Ord + Clone> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        counts.all -= 1;
        if let Some(count) = counts.by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.by_key.remove(&self.key);
            }
        }
    }
}

//! Decoded values by key, in a sharded table with a byte budget.
//!
//! A hit takes one shard's lock and nothing else. A confirmed change removes the value *before* the commit is answered; a reader that decoded the older
//! version meanwhile may not put it back: it took the shard's epoch before it looked, and the removal advanced it.

use std::any::Any;
use std::sync::Arc;

use ate_chain::{KeyHasher, RecordKey, Version};
use hashbrown::HashTable;
use parking_lot::Mutex;

const SHARDS: usize = 64;
/// Table, allocation and handle beside the value.
const ENTRY_BYTES: usize = 96;

/// 64 bytes: key, version and handle come in with one cache line.
struct Entry {
    key: RecordKey,
    version: Version,
    value: Arc<dyn Any + Send + Sync>,
    bytes: u32,
    used: bool,
}

const _: () = assert!(size_of::<Entry>() <= 64);

#[derive(Default)]
struct Shard {
    table: HashTable<Entry>,
    /// Bucket at which eviction looks next.
    hand: usize,
    bytes: usize,
    epoch: u64,
}

/// A cache of decoded values.
pub(crate) struct Cache {
    shards: Box<[Mutex<Shard>]>,
    hasher: KeyHasher,
    shard_bytes_max: usize,
}

/// Permission to insert, void once the shard has lost a value.
pub(crate) struct Ticket {
    epoch: u64,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: KeyHasher::new(),
            shard_bytes_max: bytes_max / SHARDS,
        }
    }

    /// The shard of a hash. The table takes its own bits from both ends, so these come from the middle.
    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        &self.shards[(hash >> 40) as usize % SHARDS]
    }

    /// The cached value and its version.
    pub(crate) fn get(&self, key: &RecordKey) -> Option<(Version, Arc<dyn Any + Send + Sync>)> {
        let hash = self.hasher.hash(key);
        let mut shard = self.shard(hash).lock();
        let entry = shard.table.find_mut(hash, |entry| entry.key == *key)?;
        if !entry.used {
            entry.used = true;
        }
        Some((entry.version, entry.value.clone()))
    }

    /// To be taken before the record is looked up.
    pub(crate) fn ticket(&self, key: &RecordKey) -> Ticket {
        Ticket {
            epoch: self.shard(self.hasher.hash(key)).lock().epoch,
        }
    }

    /// Keeps a value unless something was removed from its shard since the ticket was taken.
    pub(crate) fn insert(
        &self,
        ticket: &Ticket,
        key: RecordKey,
        version: Version,
        bytes: usize,
        value: Arc<dyn Any + Send + Sync>,
    ) {
        let bytes = bytes + ENTRY_BYTES;
        if bytes > self.shard_bytes_max {
            return;
        }
        let hash = self.hasher.hash(&key);
        let mut shard = self.shard(hash).lock();
        let known = shard.table.find(hash, |entry| entry.key == key).is_some();
        if shard.epoch != ticket.epoch || known {
            return;
        }
        while shard.bytes + bytes > self.shard_bytes_max && shard.evict() {}
        shard.bytes += bytes;
        let entry = Entry {
            key,
            version,
            value,
            bytes: bytes as u32,
            used: false,
        };
        let rehash = |entry: &Entry| self.hasher.hash(&entry.key);
        shard.table.insert_unique(hash, entry, rehash);
    }

    /// Forgets a value that is no longer the newest.
    pub(crate) fn remove(&self, key: &RecordKey) {
        let hash = self.hasher.hash(key);
        let mut shard = self.shard(hash).lock();
        shard.epoch += 1;
        if let Ok(entry) = shard.table.find_entry(hash, |entry| entry.key == *key) {
            let (gone, _) = entry.remove();
            shard.bytes -= gone.bytes as usize;
        }
    }

    /// Bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
    }
}

impl Shard {
    /// Second chance: passes over what was used since the hand came by last. `false` if nothing is left.
    fn evict(&mut self) -> bool {
        let buckets = self.table.num_buckets();
        for _ in 0..2 * buckets {
            let at = self.hand % buckets;
            self.hand = at + 1;
            match self.table.get_bucket_mut(at) {
                Some(entry) if entry.used => entry.used = false,
                Some(_) => {
                    if let Ok(entry) = self.table.get_bucket_entry(at) {
                        let (gone, _) = entry.remove();
                        self.bytes -= gone.bytes as usize;
                    }
                    return true;
                }
                None => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> RecordKey {
        let mut key = RecordKey::default();
        key.0[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    const V: Version = Version { seq: 1, event: 0 };

    #[test]
    fn stays_within_its_budget_and_keeps_what_is_used() {
        let cache = Cache::new(SHARDS * 10 * (100 + ENTRY_BYTES));
        for number in 0..10_000 {
            cache.insert(
                &cache.ticket(&key(number)),
                key(number),
                V,
                100,
                Arc::new(number),
            );
            assert!(
                number < 1 || cache.get(&key(0)).is_some(),
                "key 0 is used all the time, lost at {number}"
            );
        }
        assert!(cache.bytes() <= SHARDS * 10 * (100 + ENTRY_BYTES));
        assert!(cache.bytes() > SHARDS * 5 * (100 + ENTRY_BYTES));
    }

    #[test]
    fn a_late_reader_cannot_bring_back_an_old_value() {
        let cache = Cache::new(1 << 20);
        let ticket = cache.ticket(&key(1));
        cache.remove(&key(1));
        cache.insert(&ticket, key(1), V, 10, Arc::new(1u64));
        assert!(cache.get(&key(1)).is_none());
        cache.insert(&cache.ticket(&key(1)), key(1), V, 10, Arc::new(2u64));
        assert_eq!(*cache.get(&key(1)).unwrap().1.downcast::<u64>().unwrap(), 2);
    }

    #[test]
    fn values_over_the_budget_are_not_kept() {
        let cache = Cache::new(SHARDS * 100);
        cache.insert(&cache.ticket(&key(1)), key(1), V, 1000, Arc::new(1u64));
        assert!(cache.get(&key(1)).is_none());
        assert_eq!(cache.bytes(), 0);
    }
}

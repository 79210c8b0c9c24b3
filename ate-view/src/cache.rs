//! Decoded values by session and key, in one sharded table with a byte budget for all chains of a store.
//!
//! A session finds what it put in and nothing else: its number is part of the key, and no number is given twice. The budget is kept shard by shard, so a
//! value that goes may be any chain's, and ten thousand chains take no more than one. A hit takes one shard's lock and nothing else. A confirmed change removes the value *before* the commit is answered; a reader that decoded the older
//! version meanwhile may not put it back: it took the shard's epoch before it looked, and the removal advanced it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ate_chain::{KeyHasher, RecordKey, Version};
use hashbrown::HashTable;
use parking_lot::Mutex;

const SHARDS: usize = 64;
/// Table, allocation and handle beside the value.
const ENTRY_BYTES: usize = 96;

/// 64 bytes: session, key, version and handle come in with one cache line.
struct Entry {
    key: RecordKey,
    version: Version,
    value: Arc<dyn Any + Send + Sync>,
    session: u64,
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

/// The decoded values of all chains that were made with it. Cheap to clone.
///
/// What a chain put in stays until its place is needed, also when the chain has gone: nobody finds it then.
#[derive(Clone)]
pub struct ValueCache(Arc<Shards>);

struct Shards {
    shards: Box<[Mutex<Shard>]>,
    hasher: KeyHasher,
    shard_bytes_max: usize,
    /// Sessions so far.
    sessions: AtomicU64,
}

/// One session's share in a [`ValueCache`].
pub(crate) struct Cache {
    shared: ValueCache,
    session: u64,
}

/// Permission to insert, void once the shard has lost a value.
pub(crate) struct Ticket {
    epoch: u64,
}

impl ValueCache {
    /// A cache of at most `bytes_max` bytes; 0 keeps nothing. A single value has at most a 64th of it.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Shards {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: KeyHasher::new(),
            shard_bytes_max: bytes_max / SHARDS,
            sessions: AtomicU64::new(0),
        }))
    }

    /// Bytes held now, by all chains together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let shards = self.0.shards.iter();
        shards.map(|shard| shard.lock().bytes).sum()
    }

    /// A share for a new session.
    pub(crate) fn share(&self) -> Cache {
        Cache {
            shared: self.clone(),
            session: self.0.sessions.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Shards {
    fn hash(&self, session: u64, key: &RecordKey) -> u64 {
        /// An odd number of many ones: spreads sessions that hold the same key.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.hasher.hash(key) ^ session.wrapping_mul(SPREAD)
    }
}

impl Cache {
    /// The shard of a hash. The table takes its own bits from both ends, so these come from the middle.
    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        &self.shared.0.shards[(hash >> 40) as usize % SHARDS]
    }

    fn hash(&self, key: &RecordKey) -> u64 {
        self.shared.0.hash(self.session, key)
    }

    fn is(&self, entry: &Entry, key: &RecordKey) -> bool {
        entry.key == *key && entry.session == self.session
    }

    pub(crate) fn shared(&self) -> &ValueCache {
        &self.shared
    }

    /// The cached value and its version.
    pub(crate) fn get(&self, key: &RecordKey) -> Option<(Version, Arc<dyn Any + Send + Sync>)> {
        let hash = self.hash(key);
        let mut shard = self.shard(hash).lock();
        let entry = shard.table.find_mut(hash, |entry| self.is(entry, key))?;
        if !entry.used {
            entry.used = true;
        }
        Some((entry.version, entry.value.clone()))
    }

    /// To be taken before the record is looked up.
    pub(crate) fn ticket(&self, key: &RecordKey) -> Ticket {
        Ticket {
            epoch: self.shard(self.hash(key)).lock().epoch,
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
        let (shared, bytes) = (&*self.shared.0, bytes + ENTRY_BYTES);
        if bytes > shared.shard_bytes_max {
            return;
        }
        let hash = self.hash(&key);
        let mut shard = self.shard(hash).lock();
        let known = shard.table.find(hash, |entry| self.is(entry, &key));
        if shard.epoch != ticket.epoch || known.is_some() {
            return;
        }
        while shard.bytes + bytes > shared.shard_bytes_max && shard.evict() {}
        shard.bytes += bytes;
        let entry = Entry {
            key,
            version,
            value,
            session: self.session,
            bytes: bytes as u32,
            used: false,
        };
        let rehash = |entry: &Entry| shared.hash(entry.session, &entry.key);
        shard.table.insert_unique(hash, entry, rehash);
    }

    /// Forgets a value that is no longer the newest.
    pub(crate) fn remove(&self, key: &RecordKey) {
        let hash = self.hash(key);
        let mut shard = self.shard(hash).lock();
        shard.epoch += 1;
        if let Ok(entry) = shard.table.find_entry(hash, |entry| self.is(entry, key)) {
            let (gone, _) = entry.remove();
            shard.bytes -= gone.bytes as usize;
        }
    }
}

impl std::fmt::Debug for ValueCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValueCache")
            .field("bytes_max", &(self.0.shard_bytes_max * SHARDS))
            .finish_non_exhaustive()
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
        let shared = ValueCache::new(SHARDS * 10 * (100 + ENTRY_BYTES));
        let cache = shared.share();
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
        assert!(shared.bytes() <= SHARDS * 10 * (100 + ENTRY_BYTES));
        assert!(shared.bytes() > SHARDS * 5 * (100 + ENTRY_BYTES));
    }

    #[test]
    fn sessions_share_the_budget_and_no_value() {
        const BYTES: usize = SHARDS * 10 * (100 + ENTRY_BYTES);
        let shared = ValueCache::new(BYTES);
        let sessions: Vec<Cache> = (0..100).map(|_| shared.share()).collect();
        for number in 0..100 {
            for (at, cache) in sessions.iter().enumerate() {
                let (ticket, value) = (cache.ticket(&key(number)), Arc::new(at));
                cache.insert(&ticket, key(number), V, 100, value);
            }
        }
        assert!(shared.bytes() <= BYTES);
        let mut found = 0;
        for number in 0..100 {
            for (at, cache) in sessions.iter().enumerate() {
                let Some((_, value)) = cache.get(&key(number)) else {
                    continue;
                };
                assert_eq!(*value.downcast::<usize>().unwrap(), at, "its own value");
                found += 1;
            }
        }
        assert!(found > SHARDS * 5, "{found}");
        sessions[0].remove(&key(99));
        assert!(sessions[0].get(&key(99)).is_none());
        assert!(sessions[99].get(&key(99)).is_some());
    }

    #[test]
    fn a_late_reader_cannot_bring_back_an_old_value() {
        let cache = ValueCache::new(1 << 20).share();
        let ticket = cache.ticket(&key(1));
        cache.remove(&key(1));
        cache.insert(&ticket, key(1), V, 10, Arc::new(1u64));
        assert!(cache.get(&key(1)).is_none());
        cache.insert(&cache.ticket(&key(1)), key(1), V, 10, Arc::new(2u64));
        assert_eq!(*cache.get(&key(1)).unwrap().1.downcast::<u64>().unwrap(), 2);
    }

    #[test]
    fn values_over_the_budget_are_not_kept() {
        let shared = ValueCache::new(SHARDS * 100);
        let cache = shared.share();
        cache.insert(&cache.ticket(&key(1)), key(1), V, 1000, Arc::new(1u64));
        assert!(cache.get(&key(1)).is_none());
        assert_eq!(shared.bytes(), 0);
    }
}

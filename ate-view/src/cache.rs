//! Decoded values by key, in a sharded table with a byte budget.
//!
//! A hit takes one shard's lock and nothing else. A confirmed change removes the value *before* the commit is answered; a reader that decoded the older
//! version meanwhile may not put it back: it took the shard's epoch before it looked, and the removal advanced it.

use std::any::Any;
use std::hash::BuildHasher;
use std::sync::Arc;

use ate_chain::{RecordKey, Version};
use hashbrown::HashTable;
use parking_lot::Mutex;

const SHARDS: usize = 64;
/// Table, allocation and handle beside the value.
const ENTRY_BYTES: usize = 96;

struct Entry {
    key: RecordKey,
    version: Version,
    bytes: u32,
    used: bool,
    value: Arc<dyn Any + Send + Sync>,
}

#[derive(Default)]
struct Shard {
    index: HashTable<u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Where eviction looks next.
    hand: usize,
    bytes: usize,
    epoch: u64,
}

/// A cache of decoded values.
pub(crate) struct Cache {
    shards: Box<[Mutex<Shard>]>,
    secret: u64,
    shard_bytes_max: usize,
}

/// Permission to insert, void once the shard has lost a value.
pub(crate) struct Ticket {
    epoch: u64,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let secret = std::collections::hash_map::RandomState::new().hash_one(0u8);
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            secret,
            shard_bytes_max: bytes_max / SHARDS,
        }
    }

    fn hash(&self, key: &RecordKey) -> u64 {
        let low = u64::from_le_bytes(key.0[..8].try_into().expect("8 of 16 bytes"));
        (low ^ self.secret).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        &self.shards[(hash >> 58) as usize]
    }

    /// The cached value and its version.
    pub(crate) fn get(&self, key: &RecordKey) -> Option<(Version, Arc<dyn Any + Send + Sync>)> {
        let hash = self.hash(key);
        let mut shard = self.shard(hash).lock();
        let slot = shard.find(hash, key)?;
        let entry = shard.entries[slot as usize].as_mut()?;
        entry.used = true;
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
        let bytes = bytes + ENTRY_BYTES;
        if bytes > self.shard_bytes_max {
            return;
        }
        let hash = self.hash(&key);
        let mut shard = self.shard(hash).lock();
        if shard.epoch != ticket.epoch || shard.find(hash, &key).is_some() {
            return;
        }
        while shard.bytes + bytes > self.shard_bytes_max && shard.evict(|key| self.hash(key)) {}
        shard.bytes += bytes;
        let entry = Entry {
            key,
            version,
            bytes: bytes as u32,
            used: false,
            value,
        };
        let slot = match shard.free.pop() {
            Some(slot) => {
                shard.entries[slot as usize] = Some(entry);
                slot
            }
            None => {
                shard.entries.push(Some(entry));
                shard.entries.len() as u32 - 1
            }
        };
        let Shard { index, entries, .. } = &mut *shard;
        index.insert_unique(hash, slot, |&slot| {
            entries[slot as usize]
                .as_ref()
                .map_or(0, |entry| self.hash(&entry.key))
        });
    }

    /// Forgets a value that is no longer the newest.
    pub(crate) fn remove(&self, key: &RecordKey) {
        let hash = self.hash(key);
        let mut shard = self.shard(hash).lock();
        shard.epoch += 1;
        if let Some(slot) = shard.find(hash, key) {
            shard.take(hash, slot);
        }
    }

    /// Bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
    }
}

impl Shard {
    fn find(&self, hash: u64, key: &RecordKey) -> Option<u32> {
        self.index
            .find(hash, |&slot| {
                self.entries[slot as usize]
                    .as_ref()
                    .is_some_and(|entry| entry.key == *key)
            })
            .copied()
    }

    fn take(&mut self, hash: u64, slot: u32) {
        if let Ok(found) = self.index.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        if let Some(entry) = self.entries[slot as usize].take() {
            self.bytes -= entry.bytes as usize;
            self.free.push(slot);
        }
    }

    /// Second chance: passes over what was used since the hand came by last. `false` if nothing is left.
    fn evict(&mut self, hash: impl Fn(&RecordKey) -> u64) -> bool {
        let slots = self.entries.len();
        for _ in 0..2 * slots {
            let at = self.hand % slots;
            self.hand = at + 1;
            match &mut self.entries[at] {
                Some(entry) if entry.used => entry.used = false,
                Some(entry) => {
                    let hash = hash(&entry.key);
                    self.take(hash, at as u32);
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

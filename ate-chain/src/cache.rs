//! Seal keys of commits that were read lately. Records of one commit share a key, and deriving it also checks the commit's key commitment.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ate_crypto::SealKey;
use parking_lot::RwLock;

use crate::ids::{Epoch, RecordKey};

/// Parts with a lock each; a reader's keys of one commit after the other spread over them.
const SHARDS: usize = 16;
/// Most keys held of a part: about 650 bytes each, 40 MiB in all.
const SHARD_KEYS_MAX: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SealKeyId {
    pub(crate) seq: u32,
    pub(crate) scope: RecordKey,
    pub(crate) epoch: Epoch,
}

type Shard = RwLock<HashMap<(u64, SealKeyId), Arc<SealKey>>>;

/// The keys of all readers of a store: a bounded cache. A part that is full starts anew, which costs each commit one derivation.
pub(crate) struct SealKeyPool {
    shards: [Shard; SHARDS],
    /// Readers so far.
    readers: AtomicU64,
}

/// One reader's share: no other finds what it put in, since its number is given once.
pub(crate) struct SealKeys {
    pool: Arc<SealKeyPool>,
    reader: u64,
}

impl Default for SealKeyPool {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            readers: AtomicU64::new(0),
        }
    }
}

impl SealKeyPool {
    pub(crate) fn share(self: &Arc<Self>) -> SealKeys {
        SealKeys {
            pool: self.clone(),
            reader: self.readers.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl SealKeys {
    fn shard(&self, id: &SealKeyId) -> &Shard {
        let spread = u64::from(id.seq).wrapping_add(self.reader);
        &self.pool.shards[(spread % SHARDS as u64) as usize]
    }

    pub(crate) fn get(&self, id: &SealKeyId) -> Option<Arc<SealKey>> {
        let keys = self.shard(id).read();
        keys.get(&(self.reader, *id)).cloned()
    }

    pub(crate) fn insert(&self, id: SealKeyId, key: Arc<SealKey>) {
        let mut keys = self.shard(&id).write();
        if keys.len() >= SHARD_KEYS_MAX {
            keys.clear();
        }
        keys.insert((self.reader, id), key);
    }
}

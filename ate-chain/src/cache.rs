//! Seal keys of commits that one reader read lately. Records of one commit share a key, and deriving it also checks the commit's key commitment.

use std::collections::HashMap;
use std::sync::Arc;

use ate_crypto::SealKey;
use parking_lot::RwLock;

use crate::ids::{Epoch, RecordKey};

/// Most keys held.
const KEYS_MAX: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SealKeyId {
    pub(crate) seq: u32,
    pub(crate) scope: RecordKey,
    pub(crate) epoch: Epoch,
}

/// A bounded cache: when it is full it starts anew, which costs each commit one derivation.
#[derive(Default)]
pub(crate) struct SealKeys {
    keys: RwLock<HashMap<SealKeyId, Arc<SealKey>>>,
}

impl SealKeys {
    pub(crate) fn get(&self, id: &SealKeyId) -> Option<Arc<SealKey>> {
        self.keys.read().get(id).cloned()
    }

    pub(crate) fn insert(&self, id: SealKeyId, key: Arc<SealKey>) {
        let mut keys = self.keys.write();
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert(id, key);
    }
}

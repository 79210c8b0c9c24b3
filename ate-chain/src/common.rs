//! What the chains of one store have in common and keep once: public keys, which are kilobytes each, and the budget for derived keys.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ate_crypto::{Identity, KeyId, Who};
use parking_lot::Mutex;

use crate::cache::SealKeyPool;
use crate::event::Genesis;

/// Most keys remembered of each kind: beyond that it starts anew, which costs memory only.
const KEYS_MAX: usize = 1024;

#[derive(Default)]
pub(crate) struct Common {
    who: Mutex<HashMap<KeyId, Who>>,
    note_keys: Mutex<HashSet<Arc<[u8]>>>,
    /// Of identities that begin chains here.
    own_note_keys: Mutex<HashMap<KeyId, Arc<[u8]>>>,
    pub(crate) seal_keys: Arc<SealKeyPool>,
}

impl Common {
    /// The same public identity, in memory that others share. A key id does not cover the wrap key, so all bytes are compared.
    pub(crate) fn who(&self, who: &Who) -> Who {
        let mut known = self.who.lock();
        match known.get(&who.id()) {
            Some(same) if same.as_bytes() == who.as_bytes() => same.clone(),
            Some(_) => who.clone(),
            None => {
                if known.len() >= KEYS_MAX {
                    known.clear();
                }
                known.insert(who.id(), who.clone());
                who.clone()
            }
        }
    }

    /// The same key for notes, in memory that others share.
    pub(crate) fn note_key(&self, key: &[u8]) -> Arc<[u8]> {
        let mut known = self.note_keys.lock();
        if let Some(same) = known.get(key) {
            return same.clone();
        }
        if known.len() >= KEYS_MAX {
            known.clear();
        }
        let key = Arc::<[u8]>::from(key);
        known.insert(key.clone());
        key
    }

    /// The key for notes of an identity; deriving it takes as long as a signature.
    pub(crate) fn note_key_of(&self, identity: &Identity) -> Arc<[u8]> {
        let known = self.own_note_keys.lock().get(&identity.id()).cloned();
        known.unwrap_or_else(|| {
            let key = self.note_key(&identity.note_keys().public_bytes());
            let mut own = self.own_note_keys.lock();
            if own.len() >= KEYS_MAX {
                own.clear();
            }
            own.insert(identity.id(), key.clone());
            key
        })
    }

    /// The same genesis over shared keys.
    pub(crate) fn genesis(&self, genesis: &Genesis) -> Genesis {
        let note_keys = genesis.note_keys.iter();
        Genesis {
            root: self.who(&genesis.root),
            note_keys: note_keys.map(|key| self.note_key(key)).collect(),
            ..genesis.clone()
        }
    }
}

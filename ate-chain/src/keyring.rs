//! The read keys that one identity holds in one chain, unwrapped when first needed.
//!
//! Nothing here is taken on anybody's word: grants come from verified commits, are read back through their hashes, and a key counts only if it fits the
//! commitment of its epoch.

use std::collections::HashMap;
use std::sync::Arc;

use ate_crypto::{Hash, Identity, LinkInfo, NameKey, ReadKey, WrapInfo};
use parking_lot::RwLock;

use crate::cache::{SealKeyPool, SealKeys};
use crate::error::ReadError;
use crate::event::Change;
use crate::ids::{ChainId, Epoch, RecordKey};
use crate::local::Local;
use crate::observe::ConfirmedCommit;
use crate::policy::ReadPolicy;
use crate::scope::{GrantFacts, Scope};

/// Keys of one scope.
#[derive(Clone)]
pub(crate) struct ScopeKeys {
    pub(crate) epoch: Epoch,
    pub(crate) read: Arc<ReadKey>,
    pub(crate) name: Arc<NameKey>,
}

#[derive(Default)]
struct Held {
    read: HashMap<(RecordKey, Epoch), Arc<ReadKey>>,
    name: HashMap<RecordKey, Arc<NameKey>>,
    /// What the chain commits the root scope's read keys to, as far as it was seen go by.
    root_commitments: HashMap<Epoch, Hash>,
}

/// The keys an identity holds in a chain.
pub(crate) struct Keyring {
    pub(crate) identity: Identity,
    held: RwLock<Held>,
    /// Seal keys derived from what is held.
    pub(crate) seal_keys: SealKeys,
}

impl Keyring {
    pub(crate) fn new(identity: Identity, seal_keys: &Arc<SealKeyPool>) -> Self {
        Self {
            identity,
            held: RwLock::default(),
            seal_keys: seal_keys.share(),
        }
    }

    /// Takes in keys that this process made itself.
    pub(crate) fn insert(
        &self,
        scope: RecordKey,
        epoch: Epoch,
        read: Arc<ReadKey>,
        name: Arc<NameKey>,
    ) {
        let mut held = self.held.write();
        held.read.insert((scope, epoch), read);
        held.name.insert(scope, name);
    }

    /// Gives up keys of an epoch that did not come to be: its commit was not written.
    pub(crate) fn forget(&self, scope: &RecordKey, epoch: Epoch) {
        let mut held = self.held.write();
        held.read.remove(&(*scope, epoch));
        if !held.read.keys().any(|(known, _)| known == scope) {
            held.name.remove(scope);
        }
    }

    /// The keys to seal with: those of the scope's newest epoch.
    pub(crate) fn current(&self, local: &Local, scope: &RecordKey) -> Result<ScopeKeys, ReadError> {
        let stored = local.with_state(|state| state.scopes.get(scope).map(|facts| facts.epoch));
        // The root scope of a chain that is not written yet exists in memory only.
        let planned = (local.birth.is_some() && *scope == RecordKey::ROOT).then_some(1);
        let epoch = stored
            .or(planned)
            .ok_or(ReadError::NotFound { key: *scope })?;
        Ok(ScopeKeys {
            epoch,
            read: self.read_key(local, scope, epoch)?,
            name: self.name_key(local, scope)?,
        })
    }

    /// The name key of a scope.
    pub(crate) fn name_key(
        &self,
        local: &Local,
        scope: &RecordKey,
    ) -> Result<Arc<NameKey>, ReadError> {
        if let Some(key) = self.held.read().name.get(scope) {
            return Ok(key.clone());
        }
        let facts = self.facts(local, scope, 0)?;
        // Any epoch will do: the name key is the same in all.
        for epoch in (1..=facts.epoch).rev() {
            if self.take(local, scope, &facts, epoch)?
                && let Some(key) = self.held.read().name.get(scope)
            {
                return Ok(key.clone());
            }
        }
        Err(ReadError::NoKey {
            scope: *scope,
            epoch: facts.epoch,
        })
    }

    /// The read key of one epoch, if it was granted, is public, or is linked from a later epoch that was.
    pub(crate) fn read_key(
        &self,
        local: &Local,
        scope: &RecordKey,
        epoch: Epoch,
    ) -> Result<Arc<ReadKey>, ReadError> {
        if let Some(key) = self.held.read().read.get(&(*scope, epoch)) {
            return Ok(key.clone());
        }
        let facts = self.facts(local, scope, epoch)?;
        let mut found = None;
        for at in epoch..=facts.epoch {
            if self.take(local, scope, &facts, at)? {
                found = self
                    .held
                    .read()
                    .read
                    .get(&(*scope, at))
                    .cloned()
                    .map(|key| (at, key));
                break;
            }
        }
        let (mut at, mut key) = found.ok_or(ReadError::NoKey {
            scope: *scope,
            epoch,
        })?;
        while at > epoch {
            let link = facts.epochs[at as usize - 1]
                .link
                .as_ref()
                .ok_or(ReadError::NoKey {
                    scope: *scope,
                    epoch,
                })?;
            let info = LinkInfo {
                chain: &local.chain().0,
                scope: &scope.0,
                epoch: at,
            };
            let old = key.link_open(&info, link).map_err(|_| ReadError::NoKey {
                scope: *scope,
                epoch,
            })?;
            at -= 1;
            if facts.epochs[at as usize - 1]
                .commitment
                .is_some_and(|commitment| commitment != old.scope_commitment())
            {
                return Err(ReadError::NoKey {
                    scope: *scope,
                    epoch,
                });
            }
            key = Arc::new(old);
            self.held.write().read.insert((*scope, at), key.clone());
        }
        Ok(key)
    }

    /// A key that is held already; nothing is unwrapped.
    pub(crate) fn held_key(&self, scope: &RecordKey, epoch: Epoch) -> Option<Arc<ReadKey>> {
        self.held.read().read.get(&(*scope, epoch)).cloned()
    }

    /// Takes in what a confirmed commit says about the root scope, without looking at the state. Keys of other scopes wait until they are needed: there
    /// may be many of them, and each costs a decapsulation.
    pub(crate) fn absorb(&self, local: &Local, commit: &ConfirmedCommit<'_>) {
        let me = self.identity.id();
        for event in commit.events() {
            let committed = match (&event.change, &event.read) {
                (Change::Genesis(_), Some(ReadPolicy::Keys { commitment })) => {
                    Some((1, *commitment))
                }
                (Change::Rotate(rotate), _) if rotate.scope == RecordKey::ROOT => {
                    Some((rotate.epoch, rotate.commitment))
                }
                _ => None,
            };
            self.held.write().root_commitments.extend(committed);
        }
        for event in commit.events() {
            match (&event.change, &event.read) {
                (Change::Genesis(_), Some(ReadPolicy::Public { read, name })) => {
                    self.insert(
                        RecordKey::ROOT,
                        1,
                        Arc::new(ReadKey::from_bytes(*read)),
                        Arc::new(NameKey::from_bytes(*name)),
                    );
                }
                (Change::Grant(grant), _)
                    if grant.scope == RecordKey::ROOT && grant.recipient == me =>
                {
                    if self
                        .held
                        .read()
                        .read
                        .contains_key(&(RecordKey::ROOT, grant.epoch))
                    {
                        continue;
                    }
                    let chain = if commit.seq() == 0 {
                        ChainId::UNBORN
                    } else {
                        local.chain()
                    };
                    let info = WrapInfo {
                        chain: &chain.0,
                        scope: &grant.scope.0,
                        epoch: grant.epoch,
                        recipient: &me,
                    };
                    // A key that the chain does not commit to is nobody's word; one that was committed to before this process looked waits until it is
                    // needed.
                    let committed = self.held.read().root_commitments.get(&grant.epoch).copied();
                    if let Ok((read, name)) =
                        self.identity.unwrap_keys(&info, &grant.ct, &grant.sealed)
                        && committed == Some(read.scope_commitment())
                    {
                        self.insert(RecordKey::ROOT, grant.epoch, Arc::new(read), Arc::new(name));
                    }
                }
                _ => {}
            }
        }
    }

    fn facts(
        &self,
        local: &Local,
        scope: &RecordKey,
        epoch: Epoch,
    ) -> Result<Arc<Scope>, ReadError> {
        let facts = local.with_state(|state| state.scopes.get(scope).cloned());
        facts
            .filter(|facts| epoch <= facts.epoch)
            .ok_or(ReadError::NoKey {
                scope: *scope,
                epoch,
            })
    }

    /// Takes the keys of one epoch from the chain; `false` if they are not for this identity.
    fn take(
        &self,
        local: &Local,
        scope: &RecordKey,
        facts: &Scope,
        epoch: Epoch,
    ) -> Result<bool, ReadError> {
        let of_epoch = (epoch as usize)
            .checked_sub(1)
            .and_then(|index| facts.epochs.get(index));
        let Some(of_epoch) = of_epoch else {
            return Ok(false);
        };
        if let Some((read, name)) = &of_epoch.public {
            self.insert(
                *scope,
                epoch,
                Arc::new(ReadKey::from_bytes(*read)),
                Arc::new(NameKey::from_bytes(*name)),
            );
            return Ok(true);
        }
        let me = self.identity.id();
        for grant in facts
            .grants
            .iter()
            .rev()
            .filter(|grant| grant.epoch == epoch && grant.recipient == me)
        {
            if let Some((read, name)) = self.unwrap(local, scope, grant, of_epoch.commitment)? {
                self.insert(*scope, epoch, Arc::new(read), Arc::new(name));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn unwrap(
        &self,
        local: &Local,
        scope: &RecordKey,
        grant: &GrantFacts,
        commitment: Option<Hash>,
    ) -> Result<Option<(ReadKey, NameKey)>, ReadError> {
        let event = local.event_at(grant.at)?;
        let Change::Grant(wrapped) = &event.change else {
            return Ok(None);
        };
        // The genesis commit wraps under the chain id that it has itself: none yet.
        let chain = if grant.at.seq == 0 {
            ChainId::UNBORN
        } else {
            local.chain()
        };
        let info = WrapInfo {
            chain: &chain.0,
            scope: &scope.0,
            epoch: grant.epoch,
            recipient: &grant.recipient,
        };
        let keys = self
            .identity
            .unwrap_keys(&info, &wrapped.ct, &wrapped.sealed)
            .ok();
        Ok(keys.filter(|(read, _)| {
            commitment.is_none_or(|commitment| commitment == read.scope_commitment())
        }))
    }
}

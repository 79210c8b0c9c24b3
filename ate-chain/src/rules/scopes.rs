//! Keys and scopes: who is known, which epoch of a scope is in force, and who was given its keys.

use std::collections::hash_map::Entry;

use ate_crypto::Who;

use crate::error::Reject;
use crate::event::{Change, Grant, Rotate};
use crate::ids::{Epoch, RecordKey, Version};
use crate::policy::ReadPolicy;
use crate::scope::{EpochFacts, GrantFacts, Scope};

use super::{Check, invalid};

impl Check<'_> {
    /// Rotations first: bodies of this commit are sealed under the epochs that it leaves behind.
    pub(super) fn key_events(&mut self) -> Result<(), Reject> {
        for event in &self.commit.events {
            match &event.head.change {
                Change::Genesis(_) => return Err(invalid("a second genesis")),
                Change::Rotate(rotate) => self.rotate(rotate)?,
                // A record that becomes a scope opens its epoch before any grant of this commit is judged.
                Change::Create { key, .. } | Change::Update { key, .. } => {
                    let create = matches!(event.head.change, Change::Create { .. });
                    match &event.head.read {
                        Some(read) => self.change_scope(*key, read, create)?,
                        // A record that comes back without a scope of its own leaves the old one behind.
                        None if create && self.state.scopes.get(key).is_some() => {
                            self.change_scope(*key, &ReadPolicy::Inherit, true)?
                        }
                        None => {}
                    }
                    // A schema counts for the whole commit, so that the head of a new scope can use what is defined below it.
                    if let Change::Create { parent, schema, .. } = &event.head.change
                        && event.head.defines
                    {
                        self.scope_mut(*parent)?.define(*schema);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A record becomes the head of a scope, or gives its scope up.
    fn change_scope(
        &mut self,
        key: RecordKey,
        read: &ReadPolicy,
        create: bool,
    ) -> Result<(), Reject> {
        let known = self
            .scopes
            .get(&key)
            .cloned()
            .or_else(|| self.state.scopes.get(&key).map(|scope| (**scope).clone()));
        match read {
            ReadPolicy::Inherit if key == RecordKey::ROOT => {
                return Err(invalid("the root record cannot inherit"));
            }
            ReadPolicy::Inherit => match known {
                Some(mut scope) if scope.active || create => {
                    scope.active = false;
                    self.scopes.insert(key, scope);
                }
                None if create => {}
                _ => return Err(invalid("the record has no scope to give up")),
            },
            _ => {
                let mut scope = known.unwrap_or_default();
                if scope.active && !create {
                    return Err(invalid(
                        "the record is a scope already: rotate it, or let it inherit first",
                    ));
                }
                scope.begin(read);
                self.scopes.insert(key, scope);
            }
        }
        Ok(())
    }

    /// A scope goes on to its next epoch.
    fn rotate(&mut self, rotate: &Rotate) -> Result<(), Reject> {
        self.needs_write(&rotate.scope)?;
        let scope = self.scope_mut(rotate.scope)?;
        if rotate.epoch != scope.epoch.wrapping_add(1) {
            return Err(Reject::StaleEpoch {
                scope: rotate.scope,
                current: scope.epoch,
            });
        }
        if scope
            .epochs
            .last()
            .is_none_or(|facts| facts.public.is_some())
        {
            return Err(invalid("a public scope has nothing to rotate"));
        }
        scope.epoch = rotate.epoch;
        scope.epochs.push(EpochFacts {
            commitment: Some(rotate.commitment),
            public: None,
            link: rotate.link,
        });
        Ok(())
    }

    /// A reader gets the keys of a scope's current epoch, from event `index`.
    pub(super) fn grant(&mut self, index: u32, grant: &Grant) -> Result<(), Reject> {
        self.needs_write(&grant.scope)?;
        let at = Version {
            seq: self.seq,
            event: index,
        };
        let scope = self.scope_mut(grant.scope)?;
        if grant.epoch != scope.epoch {
            return Err(Reject::StaleEpoch {
                scope: grant.scope,
                current: scope.epoch,
            });
        }
        scope.grants.push(GrantFacts {
            epoch: grant.epoch,
            recipient: grant.recipient,
            at,
        });
        Ok(())
    }

    /// A public key becomes known; introducing it again changes nothing.
    pub(super) fn introduce(&mut self, who: &Who) -> Result<(), Reject> {
        let id = who.id();
        let known = self
            .state
            .keys
            .get(&id)
            .or_else(|| self.effects.keys.iter().find(|known| known.id() == id));
        match known {
            Some(known) if known != who => Err(invalid("this key is known with other parts")),
            Some(_) => Ok(()),
            None => {
                self.effects.keys.push(who.clone());
                Ok(())
            }
        }
    }

    /// Every read key used is the current one of its scope.
    pub(super) fn commitments(&self) -> Result<(), Reject> {
        for commitment in &self.commit.head.commitments {
            match self.scope(&commitment.scope) {
                Some(scope) if scope.epoch == commitment.epoch => {}
                Some(scope) => {
                    return Err(Reject::StaleEpoch {
                        scope: commitment.scope,
                        current: scope.epoch,
                    });
                }
                None => {
                    return Err(Reject::NoRecord {
                        key: commitment.scope,
                    });
                }
            }
        }
        Ok(())
    }

    /// The head lists the current key of `scope`; yields its epoch.
    pub(super) fn sealed_under(&self, scope: RecordKey) -> Result<Epoch, Reject> {
        let commitments = &self.commit.head.commitments;
        match commitments.binary_search_by_key(&scope, |commitment| commitment.scope) {
            Ok(index) => Ok(commitments[index].epoch),
            Err(_) => Err(invalid(
                "a body is sealed under a key that the head does not commit to",
            )),
        }
    }

    /// A scope as the events so far leave it.
    pub(super) fn scope(&self, key: &RecordKey) -> Option<&Scope> {
        self.scopes
            .get(key)
            .or_else(|| self.state.scopes.get(key).map(|scope| &**scope))
    }

    /// A scope that is in force, to be changed.
    fn scope_mut(&mut self, key: RecordKey) -> Result<&mut Scope, Reject> {
        let state = self.state;
        match self.scopes.entry(key) {
            Entry::Occupied(entry) if entry.get().active => Ok(entry.into_mut()),
            Entry::Occupied(_) => Err(Reject::NoRecord { key }),
            Entry::Vacant(entry) => match state.scopes.get(&key) {
                Some(scope) if scope.active => Ok(entry.insert((**scope).clone())),
                _ => Err(Reject::NoRecord { key }),
            },
        }
    }
}

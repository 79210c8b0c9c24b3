//! Read scopes: a subtree with read keys of its own, in epochs, and one name key.

use ate_crypto::{Hash, KeyId};

use crate::ids::{Epoch, SchemaTag, Version};
use crate::policy::ReadPolicy;

/// What a chain knows of one read scope. The keys themselves stand here only if the scope is public.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Scope {
    /// Whether the record is the head of a scope now; what was sealed earlier stays readable.
    pub(crate) active: bool,
    /// Newest epoch.
    pub(crate) epoch: Epoch,
    /// One entry for each epoch, from 1.
    pub(crate) epochs: Vec<EpochFacts>,
    /// Grants in order.
    pub(crate) grants: Vec<GrantFacts>,
    /// Schema tags defined in the scope, ascending.
    pub(crate) schemas: Vec<SchemaTag>,
}

/// What a chain knows of one epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EpochFacts {
    pub(crate) commitment: Option<Hash>,
    /// Read key and name key in clear.
    pub(crate) public: Option<([u8; 32], [u8; 32])>,
    /// The read key before, sealed under this one.
    pub(crate) link: Option<[u8; 48]>,
}

/// One grant; the wrapped keys are read from the log when needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GrantFacts {
    pub(crate) epoch: Epoch,
    pub(crate) recipient: KeyId,
    pub(crate) at: Version,
}

impl Scope {
    /// Opens the next epoch under `policy`; `false` if the policy makes no scope.
    pub(crate) fn begin(&mut self, policy: &ReadPolicy) -> bool {
        let facts = match policy {
            ReadPolicy::Inherit => return false,
            ReadPolicy::Public { read, name } => EpochFacts {
                commitment: None,
                public: Some((*read, *name)),
                link: None,
            },
            ReadPolicy::Keys { commitment } => EpochFacts {
                commitment: Some(*commitment),
                public: None,
                link: None,
            },
        };
        self.active = true;
        self.epoch += 1;
        self.epochs.push(facts);
        true
    }

    pub(crate) fn defines(&self, tag: &SchemaTag) -> bool {
        self.schemas.binary_search(tag).is_ok()
    }

    pub(crate) fn define(&mut self, tag: SchemaTag) {
        if let Err(index) = self.schemas.binary_search(&tag) {
            self.schemas.insert(index, tag);
        }
    }
}

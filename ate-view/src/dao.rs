//! `Dao`: one record as it was at one version.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use ate_chain::{RecordKey, Version};
use ate_crypto::KeyId;

use crate::key::Key;
use crate::schema::Unknown;

/// One record as it was at one version. Reads the value through `Deref`; cheap to clone; borrows nothing.
pub struct Dao<T>(pub(crate) Arc<DaoInner<T>>);

pub(crate) struct DaoInner<T> {
    pub(crate) value: T,
    pub(crate) facts: Facts,
    /// What a newer program stored and this one does not know; written back with the next change.
    pub(crate) unknown: Unknown,
}

/// What a view knows of a record version besides its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    pub(crate) key: RecordKey,
    pub(crate) version: Version,
    pub(crate) author: KeyId,
    pub(crate) order_time_ms: u64,
}

impl<T> Dao<T> {
    /// Key of the record.
    #[must_use]
    pub fn key(&self) -> Key<T> {
        Key::from_raw(self.0.facts.key)
    }

    /// The version that this is.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.facts.version
    }

    /// Whether this version is not confirmed: written by the transaction that showed it, or staged in this replica. It may still be refused, and is not seen
    /// then any more.
    #[must_use]
    pub fn is_staged(&self) -> bool {
        self.version().is_staged()
    }

    /// Who signed this version.
    #[must_use]
    pub fn author(&self) -> KeyId {
        self.0.facts.author
    }

    /// The sequencer's time of this version, in milliseconds since 1970; of a staged one the author's own.
    #[must_use]
    pub fn order_time_ms(&self) -> u64 {
        self.0.facts.order_time_ms
    }

    /// The value, if this is the only handle to it: the cache holds another until it is evicted.
    ///
    /// # Errors
    /// The handle itself.
    pub fn try_into_inner(self) -> Result<T, Self> {
        Arc::try_unwrap(self.0)
            .map(|inner| inner.value)
            .map_err(Self)
    }
}

impl<T> Clone for Dao<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Dao<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Dao<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dao")
            .field("key", &self.key())
            .field("version", &self.version())
            .field("value", &self.0.value)
            .finish()
    }
}

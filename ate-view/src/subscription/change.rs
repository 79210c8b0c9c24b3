//! What a subscription yields.

use std::fmt;
use std::sync::Arc;

use ate_chain::{Opened, Position, RecordKey, Version};

use crate::dao::Dao;
use crate::document::Document;
use crate::error::ReadError;
use crate::key::Key;
use crate::session::Session;

/// One change of one record, or a word about the subscription itself.
#[derive(Debug)]
#[non_exhaustive]
pub enum Change<T> {
    /// The record was written: as it was at that version, not as it is now.
    Put(Dao<T>),
    /// The record ended. Its versions are still there.
    Removed {
        /// Record.
        key: Key<T>,
        /// The version that ended it.
        version: Version,
    },
    /// The record was erased: by this version, or by a later one, and then what this version held is gone for good. Whoever keeps copies destroys them.
    Erased {
        /// Record.
        key: Key<T>,
        /// The version that erased it, or the one that is gone.
        version: Version,
    },
    /// The record was written, but that content was superseded below the chain's horizon and is not kept. A later version follows.
    Dropped {
        /// Record.
        key: Key<T>,
        /// The version that is gone.
        version: Version,
    },
    /// The record was written, but cannot be read as a `T`: by a newer program, or it is damaged. The subscription goes on behind it.
    Unreadable {
        /// Record.
        key: Key<T>,
        /// The version that cannot be read.
        version: Version,
        /// Why.
        error: ReadError,
    },
    /// The consumer is more commits behind than it said it would ever be. Nothing is lost, all of them follow. Said once, and again only after it had caught up
    /// to half of that.
    Lagged {
        /// Commits that it has not looked at.
        behind: u64,
    },
}

impl<T> Change<T> {
    /// The record that changed.
    #[must_use]
    pub fn key(&self) -> Option<Key<T>> {
        match self {
            Self::Put(dao) => Some(dao.key()),
            Self::Removed { key, .. }
            | Self::Erased { key, .. }
            | Self::Dropped { key, .. }
            | Self::Unreadable { key, .. } => Some(*key),
            Self::Lagged { .. } => None,
        }
    }

    /// The version that this is: unique among all changes of a chain, ascending in a subscription. [`Subscription::after`](crate::Subscription::after) goes on
    /// behind it.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match self {
            Self::Put(dao) => Some(dao.version()),
            Self::Removed { version, .. }
            | Self::Erased { version, .. }
            | Self::Dropped { version, .. }
            | Self::Unreadable { version, .. } => Some(*version),
            Self::Lagged { .. } => None,
        }
    }

    /// The chain's position after the commit that made the change. All changes of a commit have the same: to go on behind one of them, use its version.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.version().map(|version| Position(version.seq + 1))
    }
}

/// A record of any type, as [`Chain::subscribe_any`](crate::Chain::subscribe_any) gives it: opened and proven, decoded when asked for.
pub struct AnyRecord {
    session: Arc<Session>,
    key: RecordKey,
    opened: Opened,
}

impl AnyRecord {
    pub(super) const fn new(session: Arc<Session>, key: RecordKey, opened: Opened) -> Self {
        Self {
            session,
            key,
            opened,
        }
    }

    /// The record as JSON.
    ///
    /// # Errors
    /// [`ReadError::Descriptor`], [`ReadError::Schema`].
    pub fn document(&self) -> Result<Document, ReadError> {
        self.session
            .document_of(&self.opened, &self.key, &self.key.to_string())
    }
}

impl fmt::Debug for AnyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyRecord")
            .field("key", &self.key)
            .field("version", &self.opened.version)
            .finish_non_exhaustive()
    }
}

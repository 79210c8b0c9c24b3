//! A view: all records as they stood at one position.

use std::sync::Arc;

use ate_chain::{Pending, Position, RecordKey};
use ate_crypto::Hash;

use crate::dao::Dao;
use crate::document::{Document, NamedEntry};
use crate::error::ReadError;
use crate::key::{IntoKey, Key, Target};
use crate::lacking::{fetched, lack, waiting};
use crate::schema::Record;
use crate::session::{Session, shown};

/// The chain as it stood at one position. Nothing changes under you; cheap to clone.
///
/// Versions that were superseded since are found by walking a record's history back: one commit is read for each step.
#[derive(Clone)]
pub struct View {
    session: Arc<Session>,
    position: Position,
}

impl View {
    pub(crate) fn new(session: Arc<Session>, position: Position) -> Self {
        let position = position.min(session.position());
        Self { session, position }
    }

    /// The position.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Merkle root of the chain at the position.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.session
            .local()
            .root_at(self.position)
            .unwrap_or_default()
    }

    /// The record as it stood then. A content that is elsewhere is fetched, and kept.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if it did not exist then.
    ///
    /// # Cancel safety
    /// Reading changes nothing.
    pub fn get<T: Record>(&self, key: impl IntoKey<T>) -> Pending<Result<Dao<T>, ReadError>> {
        let target = key.into_target();
        let found = self.session.resolve(&target).and_then(|key| {
            self.session
                .get(&key, Some(self.position), || shown(&target))
        });
        let Some(content) = lack(&found) else {
            return Pending::ready(found);
        };
        let (session, position) = (self.session.clone(), self.position);
        fetched(self.session.clone(), content, move || {
            let key = session.resolve(&target)?;
            session.get(&key, Some(position), || shown(&target))
        })
    }

    /// The record, if its value is resident and did not change since. Memory only.
    #[must_use]
    pub fn peek<T: Record>(&self, key: impl IntoKey<T>) -> Option<Dao<T>> {
        let key = self.session.resolve(&key.into_target()).ok()?;
        self.session
            .peek(&key)
            .filter(|dao: &Dao<T>| dao.version().seq < self.position.0)
    }

    /// Whether the record existed then.
    ///
    /// # Errors
    /// [`ReadError`] if its history cannot be read.
    pub fn contains<T>(&self, key: impl IntoKey<T>) -> Result<bool, ReadError> {
        let key = self.session.resolve(&key.into_target())?;
        Ok(self.session.stood_at(&key, self.position)?.is_some())
    }

    /// Any program's record as JSON. If its content is elsewhere, this waits for it on the calling thread, 60 s at most.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn document(&self, record: impl Into<Target>) -> Result<Document, ReadError> {
        let target = record.into();
        let key = self.session.resolve(&target)?;
        waiting(&self.session, || {
            self.session
                .document(&key, Some(self.position), &shown(&target))
        })
    }

    /// The keys below `parent` in `collection` that existed then, in order of creation.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there never was such a parent; [`ReadError`] if a history cannot be read.
    pub fn children<P, T: Record>(
        &self,
        parent: impl IntoKey<P>,
        collection: &str,
    ) -> Result<Vec<Key<T>>, ReadError> {
        let target = parent.into_target();
        let parent = self.session.resolve(&target)?;
        let all = self
            .session
            .children(&parent, collection, &|| shown(&target))?;
        let mut keys = Vec::with_capacity(all.len());
        for key in all {
            if self.session.stood_at(&key, self.position)?.is_some() {
                keys.push(Key::from_raw(key));
            }
        }
        Ok(keys)
    }

    /// The keys of all records of type `T` that were added without a name and existed then, in order of creation.
    ///
    /// # Errors
    /// As [`View::children`]; none before the first commit.
    pub fn all<T: Record>(&self) -> Result<Vec<Key<T>>, ReadError> {
        match self.children::<T, T>(Key::from_raw(RecordKey::ROOT), T::NAME) {
            Err(ReadError::NotFound { .. }) => Ok(Vec::new()),
            found => found,
        }
    }

    /// The names that begin with `prefix` and stood then, ascending.
    ///
    /// # Errors
    /// [`ReadError`] if a history cannot be read.
    pub fn names(&self, prefix: &str) -> Result<Vec<NamedEntry>, ReadError> {
        self.session.names(prefix, Some(self.position))
    }
}

//! Transactions: changes that become one commit, or nothing.
//!
//! Optimistic: a transaction remembers the versions it read and wrote over, and the chain refuses it if one of them has changed. Writes without a read
//! (`put`) follow whatever stands there by themselves; everything else comes back as a [`Conflict`] with the transaction inside.

use std::sync::Arc;

use ate_chain::{Opened, Pending, Position, RecordKey, SchemaTag, SealError, Version, WritePolicy};
use ate_crypto::{Hash, Who};
use parking_lot::Mutex;

use crate::commit::{Submitted, reached, receipt};
use crate::dao::{Dao, DaoInner, Facts};
use crate::error::{CommitError, ReadError};
use crate::key::{IntoKey, Key, Target};
use crate::lacking::{fetched, lack, waiting};
use crate::receipt::{Durability, Receipt};
use crate::schema::{Descriptor, Encoded, Plan, Record, Unknown, decode, encode_spliced};
use crate::session::{Session, check_collection, shown};
use crate::staging::{Access, Base, STAGED, State, What};

/// What must hold for a named record before it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Expect {
    /// Whatever stands there.
    Anything,
    /// No record of that name.
    Absent,
    /// This version. A staged one is no longer the version of its record when it is ordered: it has its place in the order for a name then.
    Version(Version),
}

/// Changes that become one commit. A handle: cheap to clone, `&self` methods. Dropping it discards the changes.
#[derive(Clone)]
pub struct Transaction {
    pub(crate) session: Arc<Session>,
    pub(crate) state: Arc<Mutex<State>>,
}

/// A commit that was refused because somebody else changed what it depends on.
pub struct Conflict {
    pub(crate) transaction: Transaction,
    pub(crate) records: Vec<ConflictingRecord>,
}

/// One record of a conflict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConflictingRecord {
    /// Record.
    pub key: RecordKey,
    /// The version that the transaction depends on; `None` for "does not exist".
    pub expected: Option<Version>,
    /// The version that stands there now.
    pub stored: Option<Version>,
}

impl Conflict {
    /// The first record in conflict.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        self.records[0].key
    }

    /// The records in conflict, as far as the chain named them.
    #[must_use]
    pub fn records(&self) -> &[ConflictingRecord] {
        &self.records
    }

    /// The transaction with all its changes. Write the conflicting records again in it (`update`, `put`, `remove`): it starts from what stands there now.
    /// Then commit it again. For a record that was only read ([`Transaction::serializable`]), reading it again is enough.
    #[must_use]
    pub fn into_transaction(self) -> Transaction {
        self.transaction
    }
}

impl std::fmt::Debug for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conflict")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

impl Transaction {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(session.clone()))),
            session,
        }
    }

    /// Makes every read a precondition: the commit is refused if anything that was read has changed.
    #[must_use]
    pub fn serializable(self) -> Self {
        self.state.lock().serializable = true;
        self
    }

    /// Records to be written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.lock().writes.len()
    }

    /// Whether nothing would be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A new record without a name, in the collection of its type below the root record.
    ///
    /// # Errors
    /// [`CommitError::Encode`] for a value that could not be read back, [`CommitError::Seal`] for one over the limits.
    pub fn add<T: Record>(&self, value: &T) -> Result<Key<T>, CommitError> {
        self.create(RecordKey::ROOT, T::NAME, value, &Access::default())
    }

    /// A new record without a name in a collection below `parent`, which may be a record of this very transaction.
    ///
    /// # Errors
    /// As [`Transaction::add`]; [`SealError::NoRecord`] if there is no such parent; [`ReadError::Collection`].
    pub fn push<P, T: Record>(
        &self,
        parent: impl IntoKey<P>,
        collection: &str,
        value: &T,
    ) -> Result<Key<T>, CommitError> {
        self.push_with(&parent.into_target(), collection, value, &Access::default())
    }

    /// Writes a record under a name or over a key, whatever stands there. Fields that this program does not know are kept.
    ///
    /// If the record was read in this transaction, the commit depends on what was read; otherwise it follows other writers by itself.
    ///
    /// # Errors
    /// As [`Transaction::add`]; [`ReadError::Schema`] if a record of another type stands there; [`CommitError::NewerSchema`];
    /// [`ReadError::NotFound`] for a key without a record.
    pub fn put<T: Record>(&self, key: impl IntoKey<T>, value: &T) -> Result<Key<T>, CommitError> {
        self.put_if(key, value, Expect::Anything)
    }

    /// As [`Transaction::put`], if the record is as expected, now and when the commit is ordered.
    ///
    /// Over a record of another schema both have to read what stands there. If that is elsewhere, they wait for it on the calling thread, 60 s at most.
    ///
    /// # Errors
    /// As [`Transaction::put`]; [`CommitError::Exists`], [`CommitError::NotAtVersion`].
    pub fn put_if<T: Record>(
        &self,
        key: impl IntoKey<T>,
        value: &T,
        expect: Expect,
    ) -> Result<Key<T>, CommitError> {
        let (target, access) = (key.into_target(), Access::default());
        waiting(&self.session, || {
            self.put_with(&target, value, expect, &access)
        })
    }

    /// The record as this transaction leaves it. Remembers the version that it read first: a later write of the record depends on it.
    ///
    /// Reads of several records may stand at several positions; the commit is refused where that matters for what is written, and with
    /// [`Transaction::serializable`] wherever it does.
    ///
    /// # Errors
    /// [`ReadError`].
    ///
    /// # Cancel safety
    /// Reading changes nothing but the memory of what was read.
    pub fn get<T: Record>(&self, key: impl IntoKey<T>) -> Pending<Result<Dao<T>, ReadError>> {
        let target = key.into_target();
        let found = self.get_now(&target);
        let Some(content) = lack(&found) else {
            return Pending::ready(found);
        };
        let transaction = self.clone();
        fetched(self.session.clone(), content, move || {
            transaction.get_now(&target)
        })
    }

    /// Read, change, write back. `change` runs once: at the call, or, if the content is elsewhere, when it has come; it is not run if the answer is dropped before.
    ///
    /// # Errors
    /// [`CommitError::Read`] if the record does not exist or cannot be read; as [`Transaction::add`].
    pub fn update<T: Record>(
        &self,
        key: impl IntoKey<T>,
        change: impl FnOnce(&mut T) + Send + 'static,
    ) -> Pending<Result<Key<T>, CommitError>> {
        let (target, mut change) = (key.into_target(), Some(change));
        let updated = self.update_now(&target, &mut change);
        let Some(content) = lack(&updated) else {
            return Pending::ready(updated);
        };
        let transaction = self.clone();
        fetched(self.session.clone(), content, move || {
            transaction.update_now(&target, &mut change)
        })
    }

    /// Ends a record. What hangs below it stays readable by its key. A record that this transaction made itself is simply not written; nothing may hang
    /// below it then.
    ///
    /// # Errors
    /// [`ReadError::NotFound`].
    pub fn remove<T>(&self, key: impl IntoKey<T>) -> Result<(), CommitError> {
        let target = key.into_target();
        let key = self.session.resolve(&target)?;
        self.open()?.remove(key, &target)
    }

    /// Ends a record, if it lives, and destroys its name and all the contents it ever had. That it existed, when it was written and by whom stays known.
    ///
    /// The bytes are destroyed once the commit is durable: the commit's answer comes after that, and takes as long. If nobody waits for the answer, the
    /// store destroys them when it is closed, or opened again. Copies that are elsewhere are not reached.
    ///
    /// Follows other writers by itself, unless the record was read in this transaction. The record cannot be written in the same commit.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if it never existed, [`ReadError::Erased`] if it stands erased already.
    pub fn erase<T>(&self, key: impl IntoKey<T>) -> Result<(), CommitError> {
        let target = key.into_target();
        let key = self.session.resolve(&target)?;
        self.open()?.erase(key, &target)
    }

    /// Allows the chain to drop the content of every version that was superseded before `position`. Views of `position` and later stay whole; names, newest
    /// versions and the proof of everything stay. It takes the right to write at the root record, and never goes back.
    ///
    /// # Errors
    /// In the commit's answer: [`CommitError::Rejected`] for a position beyond the end, or not beyond the horizon in force.
    pub fn set_horizon(&self, position: Position) -> Result<(), CommitError> {
        self.open()?.draft.set_horizon(position);
        Ok(())
    }

    /// Hands the commit over. It is durable when the answer says so; dropping the answer takes nothing back.
    /// [`CommitError::NotDestroyed`] is the answer to a commit that is durable too.
    #[must_use = "the commit is on its way, but its outcome is in here"]
    pub fn commit(&self) -> Pending<Result<Receipt, CommitError>> {
        let session = self.session.clone();
        Submitted::start(self.clone())
            .map(move |outcome| outcome.map(|committed| receipt(&session, &committed)))
    }

    /// As [`Transaction::commit`], with at least this durability. A commit waits for all that its chain reaches without being asked, which is
    /// [`Durability::Server`] on a replica and [`Durability::Local`] elsewhere; [`Durability::Witnessed`] waits for the store's witnesses after that.
    ///
    /// # Errors
    /// [`CommitError::Durability`] if no commit of the chain reaches so far: nothing was written. [`CommitError::Unwitnessed`] if this one did not: it stands in the
    /// order.
    #[must_use = "the commit is on its way, but its outcome is in here"]
    pub fn commit_to(&self, durability: Durability) -> Pending<Result<Receipt, CommitError>> {
        let reached = match self.session.local().has_witnesses() {
            true => Durability::Witnessed,
            false => reached(&self.session),
        };
        if durability > reached {
            return Pending::ready(Err(CommitError::Durability {
                asked: durability,
                reached,
            }));
        }
        if durability < Durability::Witnessed {
            return self.commit();
        }
        let local = self.session.local().clone();
        self.commit().then(move |outcome| match outcome {
            Err(error) => Pending::ready(Err(error)),
            Ok(receipt) => local.witnessed(receipt.position).map(move |seen| {
                let witnessed = Receipt {
                    durability: Durability::Witnessed,
                    ..receipt
                };
                seen.map(|()| witnessed)
                    .map_err(|source| CommitError::Unwitnessed {
                        receipt: Box::new(receipt),
                        source,
                    })
            }),
        })
    }

    /// Hands the commit over and waits only until it is durable in this store; the answer is its id. On a replica it is staged then: it is seen by readers of
    /// this store, outlives the process, and is sent until the node has ordered or refused it, whether or not anybody waits. What became of it tells
    /// [`Chain::outcome`](crate::Chain::outcome); a refused one goes to the merge hooks ([`Chain::on_conflict`](crate::Chain::on_conflict)).
    ///
    /// On a chain that is ordered here this is [`Transaction::commit`].
    ///
    /// # Errors
    /// In the answer: [`CommitError`]. [`ate_chain::SubmitError::StagedFull`] if too much waits already.
    #[must_use = "the commit is on its way, but whether it is durable is in here"]
    pub fn stage(&self) -> Pending<Result<Hash, CommitError>> {
        Submitted::stage(self.clone())
    }

    /// Makes an identity known to the chain, so that it may author commits where policies name it.
    ///
    /// # Errors
    /// [`CommitError::Spent`].
    pub fn introduce(&self, who: &Who) -> Result<(), CommitError> {
        let mut state = self.open()?;
        if !self.session.local().knows(&who.id()) {
            state.draft.introduce(who.clone());
        }
        Ok(())
    }

    /// Gives `who` the keys to read what is in the scope that `key` heads.
    ///
    /// # Errors
    /// [`CommitError::Seal`] if the record heads no scope, or its keys are not held.
    pub fn grant<T>(&self, key: impl IntoKey<T>, who: &Who) -> Result<(), CommitError> {
        let scope = self.session.resolve(&key.into_target())?;
        Ok(self.open()?.draft.grant(scope, who.clone())?)
    }

    /// Gives the scope that `key` heads a new read key, for `readers` and the own identity alone. What others have read they keep.
    ///
    /// # Errors
    /// As [`Transaction::grant`].
    pub fn rotate<T>(&self, key: impl IntoKey<T>, readers: &[Who]) -> Result<(), CommitError> {
        let scope = self.session.resolve(&key.into_target())?;
        let mut readers = readers.to_vec();
        readers.push(self.session.author.identity().who().clone());
        self.open()?.rotate(scope, readers)
    }

    /// Says who may write at a record and below; for the root record, to the whole chain. The list is the whole list: name yourself if you are to stay on it.
    ///
    /// The record's content is read; if it is elsewhere, this waits for it on the calling thread, 60 s at most.
    ///
    /// # Errors
    /// [`ReadError::NotFound`]; [`CommitError::Staged`] if this transaction writes the record already.
    pub fn set_writers(&self, record: RecordKey, writers: &[Who]) -> Result<(), CommitError> {
        let stored = self
            .session
            .live(&record)
            .ok_or_else(|| ReadError::NotFound {
                name: record.to_string(),
            })?;
        writers.iter().try_for_each(|who| self.introduce(who))?;
        let policy = WritePolicy::any_of(writers.iter().map(Who::id));
        let opened = match stored.schema == SchemaTag::default() {
            true => None,
            false => Some(waiting(&self.session, || self.content_of(&record))?),
        };
        let mut state = self.open()?;
        if state.writes.contains_key(&record) {
            return Err(CommitError::Staged { key: record });
        }
        let base = Base::of(Some(&stored));
        let Some((opened, descriptor)) = opened else {
            state
                .draft
                .set_write_policy(record, stored.version.reference(), policy);
            state.stage_policy(record, base);
            return Ok(());
        };
        // An update of a record with content carries content: the same, sealed anew.
        let base = Base {
            version: Some(opened.version),
            ..base
        };
        let encoded = Encoded {
            body: opened.content,
            descriptor,
        };
        let access = Access {
            write: Some(policy),
            ..Access::default()
        };
        state.write_over(record, base, encoded, &access)
    }

    fn content_of(&self, record: &RecordKey) -> Result<(Opened, Arc<Descriptor>), ReadError> {
        let session = &self.session;
        let opened = session.local().open_content(&session.author, record)?;
        let descriptor = session.descriptor(&opened.scope, opened.schema, *record)?;
        Ok((opened, descriptor))
    }

    pub(crate) fn open(&self) -> Result<parking_lot::MutexGuard<'_, State>, CommitError> {
        let state = self.state.lock();
        if state.spent {
            Err(CommitError::Spent {
                state: "committed already",
            })
        } else {
            Ok(state)
        }
    }

    pub(crate) fn create<T: Record>(
        &self,
        parent: RecordKey,
        collection: &str,
        value: &T,
        access: &Access,
    ) -> Result<Key<T>, CommitError> {
        let encoded = encode_spliced(value, &Unknown::default())?;
        let mut state = self.open()?;
        let base = Base {
            version: None,
            live: false,
        };
        let key = state.create(parent, collection, None, encoded, access, base)?;
        Ok(Key::from_raw(key))
    }

    pub(crate) fn push_with<T: Record>(
        &self,
        parent: &Target,
        collection: &str,
        value: &T,
        access: &Access,
    ) -> Result<Key<T>, CommitError> {
        check_collection(collection)?;
        let key = self.session.resolve(parent)?;
        let stands = match self.open()?.writes.get(&key) {
            Some(staged) => !matches!(staged.what, What::Removal | What::Erasure),
            None => key == RecordKey::ROOT || self.session.live(&key).is_some(),
        };
        if !stands {
            return Err(SealError::NoRecord { key }.into());
        }
        self.create(key, collection, value, access)
    }

    pub(crate) fn put_with<T: Record>(
        &self,
        target: &Target,
        value: &T,
        expect: Expect,
        access: &Access,
    ) -> Result<Key<T>, CommitError> {
        Ok(Key::from_raw(
            self.open()?.put(target, value, expect, access)?,
        ))
    }

    fn get_now<T: Record>(&self, target: &Target) -> Result<Dao<T>, ReadError> {
        let key = self.session.resolve(target)?;
        let mut state = self.state.lock();
        if !state.writes.contains_key(&key) {
            state.refresh(&key);
        }
        if let Some((value, unknown)) = staged::<T>(&state, &key, target)? {
            let facts = Facts {
                key,
                version: STAGED,
                author: self.session.author.id(),
                order_time_ms: 0,
            };
            return Ok(Dao(Arc::new(DaoInner {
                value,
                facts,
                unknown,
            })));
        }
        loop {
            let read = self.session.get::<T>(&key, None, || shown(target));
            match &read {
                Ok(dao) => {
                    let (version, live) = (Some(dao.version()), true);
                    state.note_read(key, Base { version, live });
                }
                Err(ReadError::NotFound { .. } | ReadError::Erased { .. }) => {
                    let base = Base::of(self.session.record(&key).as_ref());
                    if base.live {
                        // It has come meanwhile.
                        continue;
                    }
                    state.note_read(key, base);
                }
                Err(_) => {}
            }
            return read;
        }
    }

    pub(crate) fn update_now<T: Record>(
        &self,
        target: &Target,
        change: &mut Option<impl FnOnce(&mut T)>,
    ) -> Result<Key<T>, CommitError> {
        let mut change = |value: &mut T| change.take().expect("it runs once")(value);
        let key = self.session.resolve(target)?;
        let staged = {
            let mut state = self.open()?;
            state.refresh(&key);
            if matches!(
                state.writes.get(&key).map(|staged| &staged.what),
                Some(What::Policy)
            ) {
                return Err(CommitError::Staged { key });
            }
            staged::<T>(&state, &key, target)?
        };
        // The caller's code runs without any lock: it may use this very transaction.
        let Some((mut value, unknown)) = staged else {
            let (mut value, facts, unknown) =
                self.session.open_owned::<T>(&key, || shown(target))?;
            change(&mut value);
            let encoded = encode_spliced(&value, &unknown)?;
            let mut state = self.open()?;
            let read = Base {
                version: Some(facts.version),
                live: true,
            };
            state.note_read(key, read);
            let base = state.reads[&key];
            if state.writes.contains_key(&key) {
                return Err(CommitError::Staged { key });
            }
            state.write_over(key, base, encoded, &Access::default())?;
            return Ok(Key::from_raw(key));
        };
        change(&mut value);
        let encoded = encode_spliced(&value, &unknown)?;
        self.open()?.replace(&key, encoded)?;
        Ok(Key::from_raw(key))
    }

    /// Whether something that was read is not what stands there now.
    pub(crate) fn is_stale(&self) -> bool {
        self.state.lock().is_stale()
    }

    /// Makes a record the head of a scope of its own, its content sealed anew.
    pub(crate) fn rescope<T: Record>(
        &self,
        dao: &Dao<T>,
        readers: &[Who],
    ) -> Result<(), CommitError> {
        let access = Access {
            readers: Some(ate_chain::Readers::Only(readers.to_vec())),
            ..Access::default()
        };
        let base = Base {
            version: Some(dao.version()),
            live: true,
        };
        let encoded = encode_spliced(&**dao, &dao.0.unknown)?;
        self.open()?
            .write_over(dao.key().raw(), base, encoded, &access)
    }
}

/// A value that this transaction wrote itself; `None` if it left the record alone.
fn staged<T: Record>(
    state: &State,
    key: &RecordKey,
    target: &Target,
) -> Result<Option<(T, Unknown)>, ReadError> {
    let Some(staged) = state
        .writes
        .get(key)
        .filter(|_| !state.spent && !state.is_conflicted(key))
    else {
        return Ok(None);
    };
    let descriptor = match &staged.what {
        What::Content(descriptor) => descriptor,
        What::Removal => {
            return Err(ReadError::NotFound {
                name: shown(target),
            });
        }
        What::Erasure => {
            return Err(ReadError::Erased {
                name: shown(target),
            });
        }
        What::Policy => return Ok(None),
    };
    let content = state.draft.content(staged.event).unwrap_or_default();
    let decoded =
        decode::<T>(content, &Plan::of::<T>(descriptor)).map_err(|source| ReadError::Schema {
            name: shown(target),
            source,
        })?;
    Ok(Some(decoded))
}

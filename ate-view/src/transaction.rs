//! Transactions: changes that become one commit, or nothing.
//!
//! Optimistic: a transaction remembers the versions it read and wrote over, and the chain refuses it if one of them has changed. Writes without a read
//! (`put`) follow the newest version by themselves; everything else comes back as a [`Conflict`] with the transaction inside.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ate_chain::{
    CreateOptions, Draft, KeyMap, Pending, Readers, RecordKey, Ref, SealError, Version, WritePolicy,
};
use ate_crypto::{Hash, Who};
use parking_lot::Mutex;

use crate::commit::Submitted;
use crate::dao::{Dao, DaoInner, Facts};
use crate::error::{CommitError, ReadError};
use crate::index::{NAMED, SCHEMAS};
use crate::key::{IntoKey, Key, Target};
use crate::receipt::Receipt;
use crate::schema::{Descriptor, Record, Unknown, decode, encode, encode_spliced, unknown_of};
use crate::session::{Session, check_name, shown};

/// What must hold for a named record before it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Expect {
    /// Whatever stands there.
    Anything,
    /// No record of that name.
    Absent,
    /// This version.
    Version(Version),
}

/// Who may read and write a record from now on.
#[derive(Clone, Default)]
pub(crate) struct Access {
    pub(crate) readers: Option<Readers>,
    pub(crate) write: Option<WritePolicy>,
    /// Identities that the chain has to know for that.
    pub(crate) introduce: Vec<Who>,
}

/// Changes that become one commit. A handle: cheap to clone, `&self` methods. Dropping it discards the changes.
#[derive(Clone)]
pub struct Transaction {
    pub(crate) session: Arc<Session>,
    pub(crate) state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    session: Arc<Session>,
    pub(crate) draft: Draft,
    /// Records that this transaction writes, and the event that does.
    pub(crate) targets: KeyMap<u32>,
    /// Writes that follow the newest version by themselves.
    pub(crate) blind: HashSet<RecordKey>,
    /// Versions read; `None` for a record that was not there.
    pub(crate) reads: HashMap<RecordKey, Option<Version>>,
    /// Schemas that this transaction defines, with their tags.
    pub(crate) defines: Vec<(RecordKey, RecordKey, ate_chain::SchemaTag)>,
    /// Schemas it uses.
    pub(crate) schemas: Vec<(RecordKey, Arc<Descriptor>)>,
    pub(crate) serializable: bool,
    pub(crate) spent: bool,
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

    /// The transaction with all its changes. Read or update the conflicting records again in it, then commit it again.
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
        let state = State {
            session: session.clone(),
            draft: Draft::new(session.author.clone()),
            targets: KeyMap::default(),
            blind: HashSet::new(),
            reads: HashMap::new(),
            defines: Vec::new(),
            schemas: Vec::new(),
            serializable: false,
            spent: false,
        };
        Self {
            session,
            state: Arc::new(Mutex::new(state)),
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
        self.state.lock().targets.len()
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
        self.create(RecordKey::ROOT, T::NAME, None, value, Access::default())
    }

    /// A new record without a name in a collection below `parent`, which may be a record of this very transaction.
    ///
    /// # Errors
    /// As [`Transaction::add`]; [`SealError::NoRecord`] if there is no such parent.
    pub fn push<P, T: Record>(
        &self,
        parent: impl IntoKey<P>,
        collection: &str,
        value: &T,
    ) -> Result<Key<T>, CommitError> {
        let parent = self.session.resolve(&parent.into_target())?;
        self.create(parent, collection, None, value, Access::default())
    }

    /// Writes a record under a name or over a key, whatever stands there. Fields that this program does not know are kept.
    ///
    /// # Errors
    /// As [`Transaction::add`]; [`ReadError::Schema`] if a record of another type stands there; [`CommitError::NewerSchema`].
    pub fn put<T: Record>(&self, key: impl IntoKey<T>, value: &T) -> Result<Key<T>, CommitError> {
        self.put_if(key, value, Expect::Anything)
    }

    /// As [`Transaction::put`], if the record is as expected, now and when the commit is ordered.
    ///
    /// # Errors
    /// As [`Transaction::put`]; [`CommitError::Exists`], [`CommitError::NotAtVersion`].
    pub fn put_if<T: Record>(
        &self,
        key: impl IntoKey<T>,
        value: &T,
        expect: Expect,
    ) -> Result<Key<T>, CommitError> {
        self.put_with(key.into_target(), value, expect, Access::default())
    }

    /// The record as this transaction leaves it. Remembers the version it read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get<T: Record>(&self, key: impl IntoKey<T>) -> Pending<Result<Dao<T>, ReadError>> {
        Pending::ready(self.get_now(&key.into_target()))
    }

    /// Read, change, write back. `change` runs once.
    ///
    /// # Errors
    /// [`CommitError::Read`] if the record does not exist or cannot be read; as [`Transaction::add`].
    pub fn update<T: Record + Clone>(
        &self,
        key: impl IntoKey<T>,
        change: impl FnOnce(&mut T),
    ) -> Pending<Result<Key<T>, CommitError>> {
        Pending::ready(self.update_now(&key.into_target(), change))
    }

    /// Ends a record.
    ///
    /// # Errors
    /// [`ReadError::NotFound`].
    pub fn remove<T>(&self, key: impl IntoKey<T>) -> Result<(), CommitError> {
        let target = key.into_target();
        let key = self.session.resolve(&target)?;
        let mut state = self.open()?;
        if let Some(&index) = state.targets.get(&key) {
            // Only a record that nothing else in here hangs below can simply not be written.
            return state.forget(key, index, &self.session);
        }
        let record = self.session.live(&key).ok_or_else(|| ReadError::NotFound {
            name: shown(&target),
        })?;
        let expected = state
            .reads
            .get(&key)
            .copied()
            .flatten()
            .unwrap_or(record.version);
        state.draft.remove(key, Ref::At(expected));
        state.note(key);
        Ok(())
    }

    /// Hands the commit over. It is durable when the answer says so; dropping the answer takes nothing back.
    #[must_use = "the commit is on its way, but its outcome is in here"]
    pub fn commit(&self) -> Pending<Result<Receipt, CommitError>> {
        Submitted::start(self.clone())
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
        Ok(self.open()?.draft.rotate(scope, readers, true)?)
    }

    /// Says who may write at a record and below; for the root record, to the whole chain.
    ///
    /// # Errors
    /// [`ReadError::NotFound`].
    pub fn set_writers(&self, record: RecordKey, writers: &[Who]) -> Result<(), CommitError> {
        let stored = self
            .session
            .live(&record)
            .ok_or_else(|| ReadError::NotFound {
                name: record.to_string(),
            })?;
        writers.iter().try_for_each(|who| self.introduce(who))?;
        let mut state = self.open()?;
        state.draft.set_write_policy(
            record,
            Ref::At(stored.version),
            WritePolicy::any_of(writers.iter().map(Who::id)),
        );
        state.note(record);
        Ok(())
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
        name: Option<&str>,
        value: &T,
        access: Access,
    ) -> Result<Key<T>, CommitError> {
        let content = encode(value)?;
        let mut state = self.open()?;
        access
            .introduce
            .iter()
            .filter(|who| !self.session.local().knows(&who.id()))
            .for_each(|who| state.draft.introduce(who.clone()));
        let scope = state.draft.scope_below(&parent)?;
        let own_scope = matches!(access.readers, Some(Readers::Only(_) | Readers::Public));
        if !own_scope {
            state.define(&self.session, scope, Descriptor::of::<T>())?;
        }
        let options = CreateOptions {
            supersedes: Ref::Absent,
            write: access.write,
            readers: access.readers,
            defines: false,
        };
        let key = state.draft.create(
            parent,
            collection,
            name,
            &Descriptor::of::<T>().id(),
            content,
            options,
        )?;
        if own_scope {
            // The scope begins with this record, so its schema is defined below it, in the same commit.
            state.define(&self.session, key, Descriptor::of::<T>())?;
        }
        // A random key has no tombstone.
        if let Some(tombstone) = name.and_then(|_| self.session.record(&key)) {
            let index = state.draft.event_of(&key).expect("just drafted");
            state
                .draft
                .set_supersedes(index, Ref::At(tombstone.version));
        }
        if own_scope {
            let index = state.draft.event_of(&key).expect("just drafted");
            state.targets.insert(key, index);
        } else {
            state.note(key);
        }
        Ok(Key::from_raw(key))
    }

    pub(crate) fn put_with<T: Record>(
        &self,
        target: Target,
        value: &T,
        expect: Expect,
        access: Access,
    ) -> Result<Key<T>, CommitError> {
        if let Target::Name(name) = &target {
            check_name(name)?;
        }
        let key = self.session.resolve(&target)?;
        let staged = self.open()?.targets.get(&key).copied();
        if let Some(index) = staged {
            let content = encode(value)?;
            let mut state = self.open()?;
            state
                .draft
                .replace_content(index, &Descriptor::of::<T>().id(), content)?;
            return Ok(Key::from_raw(key));
        }
        let stored = self.session.live(&key);
        match (expect, &stored) {
            (Expect::Absent, Some(record)) => {
                return Err(CommitError::Exists {
                    name: shown(&target),
                    version: record.version,
                });
            }
            (Expect::Version(expected), stored)
                if stored.map(|record| record.version) != Some(expected) =>
            {
                return Err(CommitError::NotAtVersion {
                    name: shown(&target),
                    expected,
                    stored: stored.map(|record| record.version),
                });
            }
            _ => {}
        }
        match (stored, target) {
            (Some(record), _) => {
                let unknown = self.unknown_of::<T>(&record)?;
                self.write_over(key, record.version, value, &unknown, access)?;
            }
            (None, Target::Name(name)) => {
                self.create(RecordKey::ROOT, NAMED, Some(&name), value, access)?;
            }
            (None, target) => {
                return Err(ReadError::NotFound {
                    name: shown(&target),
                }
                .into());
            }
        }
        if expect == Expect::Anything {
            self.state.lock().blind.insert(key);
        }
        Ok(Key::from_raw(key))
    }

    /// What a stored record holds that `T` does not know. A record of the very same schema holds nothing.
    fn unknown_of<T: Record>(
        &self,
        record: &ate_chain::RecordInfo,
    ) -> Result<Unknown, CommitError> {
        let (scope, tag) = (record.sealed.0, record.schema);
        let same = self
            .session
            .author
            .schema_tag(&scope, &Descriptor::of::<T>().id())
            .is_ok_and(|own| own == tag);
        if same && T::CODEC != crate::schema::Codec::Json {
            return Ok(Unknown::default());
        }
        if same && std::any::TypeId::of::<T>() == std::any::TypeId::of::<crate::json::Json>() {
            // A document is replaced as a whole.
            return Ok(Unknown::default());
        }
        let plan = self.session.plan::<T>(&scope, tag, record.key)?;
        let name = || record.key.to_string();
        plan.check().map_err(|source| ReadError::Schema {
            name: name(),
            source: source.clone(),
        })?;
        plan.check_rewrite().map_err(|newer| newer.clone())?;
        let opened = self
            .session
            .local()
            .open_content(&self.session.author, &record.key)
            .map_err(ReadError::from)?;
        Ok(
            unknown_of::<T>(&opened.content, &plan).map_err(|source| ReadError::Schema {
                name: name(),
                source,
            })?,
        )
    }

    pub(crate) fn write_over<T: Record>(
        &self,
        key: RecordKey,
        version: Version,
        value: &T,
        unknown: &Unknown,
        access: Access,
    ) -> Result<(), CommitError> {
        let encoded = encode_spliced(value, unknown)?;
        let mut state = self.open()?;
        access
            .introduce
            .iter()
            .filter(|who| !self.session.local().knows(&who.id()))
            .for_each(|who| state.draft.introduce(who.clone()));
        let own_scope = matches!(access.readers, Some(Readers::Only(_) | Readers::Public));
        if !own_scope {
            let scope = match &access.readers {
                Some(_) => self
                    .session
                    .local()
                    .scope_above(&key)
                    .ok_or(SealError::NoRecord { key })?,
                None => state.draft.scope_below(&key)?,
            };
            state.define(&self.session, scope, &encoded.descriptor)?;
        }
        state.draft.update(
            key,
            Ref::At(version),
            &encoded.descriptor.id(),
            encoded.body,
            access.write,
            access.readers,
        )?;
        let index = state.draft.event_of(&key).expect("just drafted");
        state.targets.insert(key, index);
        if own_scope {
            state.define(&self.session, key, &encoded.descriptor)?;
        }
        Ok(())
    }

    fn get_now<T: Record>(&self, target: &Target) -> Result<Dao<T>, ReadError> {
        let key = self.session.resolve(target)?;
        let mut state = self.state.lock();
        if let Some(dao) = state.staged::<T>(&key, target)? {
            return Ok(dao);
        }
        let read = self.session.get::<T>(&key, None, || shown(target));
        match &read {
            Ok(dao) => {
                state.reads.insert(key, Some(dao.version()));
            }
            Err(ReadError::NotFound { .. }) => {
                state.reads.insert(
                    key,
                    self.session.record(&key).map(|tombstone| tombstone.version),
                );
            }
            Err(_) => {}
        }
        read
    }

    pub(crate) fn update_now<T: Record + Clone>(
        &self,
        target: &Target,
        change: impl FnOnce(&mut T),
    ) -> Result<Key<T>, CommitError> {
        drop(self.open()?);
        let key = self.session.resolve(target)?;
        let dao = self.get_now::<T>(target)?;
        let mut value = T::clone(&dao);
        change(&mut value);
        let staged = self.state.lock().targets.get(&key).copied();
        match staged {
            Some(index) => {
                let encoded = encode_spliced(&value, &dao.0.unknown)?;
                let mut state = self.open()?;
                state
                    .draft
                    .replace_content(index, &encoded.descriptor.id(), encoded.body)?;
            }
            None => self.write_over(
                key,
                dao.version(),
                &value,
                &dao.0.unknown,
                Access::default(),
            )?,
        }
        Ok(Key::from_raw(key))
    }

    /// Turns reads into preconditions, once, right before the commit.
    pub(crate) fn require_reads(state: &mut State) {
        if !state.serializable {
            return;
        }
        let reads: Vec<_> = state
            .reads
            .drain()
            .filter(|(key, _)| !state.targets.contains_key(key))
            .collect();
        for (key, version) in reads {
            state
                .draft
                .require(key, version.map_or(Ref::Absent, Ref::At));
        }
    }
}

impl State {
    /// Notes the event drafted last as the one that writes `key`.
    pub(crate) fn note(&mut self, key: RecordKey) {
        self.targets.insert(key, self.draft.len() as u32 - 1);
    }

    /// Takes a staged write back, or turns it into the removal of what stands there.
    fn forget(&mut self, key: RecordKey, index: u32, session: &Session) -> Result<(), CommitError> {
        self.draft.take_back(index);
        self.targets.remove(&key);
        self.blind.remove(&key);
        self.targets
            .values_mut()
            .filter(|at| **at > index)
            .for_each(|at| *at -= 1);
        if let Some(record) = session.live(&key) {
            self.draft.remove(key, Ref::At(record.version));
            self.note(key);
        }
        Ok(())
    }

    /// Makes sure that a schema exists in a scope when the commit is judged.
    pub(crate) fn define(
        &mut self,
        session: &Session,
        scope: RecordKey,
        descriptor: &Arc<Descriptor>,
    ) -> Result<(), CommitError> {
        let known = self
            .schemas
            .iter()
            .any(|(at, used)| *at == scope && Arc::ptr_eq(used, descriptor));
        if known {
            return Ok(());
        }
        self.schemas.push((scope, descriptor.clone()));
        self.define_now(session, scope, descriptor)
    }

    pub(crate) fn define_now(
        &mut self,
        session: &Session,
        scope: RecordKey,
        descriptor: &Arc<Descriptor>,
    ) -> Result<(), CommitError> {
        let tag = ate_chain::SchemaTag(self.draft.name_key(scope)?.schema_tag(&descriptor.id()));
        let mut announced = session.shared.announced.lock();
        if session.local().defines(&scope, &tag) || announced.contains(&(scope, tag)) {
            return Ok(());
        }
        let options = CreateOptions {
            defines: true,
            ..CreateOptions::default()
        };
        let (id, name): (Hash, String) = (descriptor.id(), descriptor.id().to_string());
        let key = self.draft.create(
            scope,
            SCHEMAS,
            Some(&name),
            &id,
            descriptor.as_bytes().to_vec(),
            options,
        )?;
        announced.insert((scope, tag));
        self.defines.push((key, scope, tag));
        Ok(())
    }

    /// A value that this transaction wrote itself.
    fn staged<T: Record>(
        &self,
        key: &RecordKey,
        target: &Target,
    ) -> Result<Option<Dao<T>>, ReadError> {
        let Some(content) = self
            .targets
            .get(key)
            .and_then(|&index| self.draft.content(index))
        else {
            return Ok(None);
        };
        let plan = crate::schema::Plan::of::<T>(
            self.schemas
                .iter()
                .map(|(_, descriptor)| descriptor)
                .find(|descriptor| descriptor.name() == T::NAME)
                .unwrap_or(Descriptor::of::<T>()),
        );
        let (value, unknown) = decode::<T>(content, &plan).map_err(|source| ReadError::Schema {
            name: shown(target),
            source,
        })?;
        let facts = Facts {
            key: *key,
            version: Version {
                seq: u64::MAX,
                event: 0,
            },
            schema: ate_chain::SchemaTag::default(),
            author: self.draft.author().id(),
            order_time_ms: 0,
        };
        Ok(Some(Dao(Arc::new(DaoInner {
            value,
            facts,
            unknown,
        }))))
    }
}

impl Drop for State {
    /// A transaction that is discarded takes back what it announced.
    fn drop(&mut self) {
        if !self.defines.is_empty() {
            let session = self.session.clone();
            self.withdraw(&session);
        }
    }
}

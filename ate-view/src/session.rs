//! One identity's view of one chain: what it may read, indexed and cached for it alone.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use ate_chain::{
    Author, Clock, ConfirmedCommit, Local, Observer, Position, ReadError as ChainError, RecordInfo,
    RecordKey, RowChange, SchemaTag, Version,
};
use ate_crypto::Identity;
use parking_lot::{Mutex, RwLock};

use crate::cache::Cache;
use crate::dao::{Dao, DaoInner, Facts};
use crate::error::ReadError;
use crate::index::{Index, NAMED, SCHEMAS};
use crate::key::Target;
use crate::schema::{Descriptor, Plan, Record, decode};

/// Longest name in bytes.
pub const NAME_BYTES_MAX: usize = 1024;

type PlanKey = (TypeId, RecordKey, SchemaTag);

/// All sessions of one chain.
pub(crate) struct Shared {
    pub(crate) local: Arc<Local>,
    pub(crate) name: String,
    pub(crate) clock: Arc<dyn Clock>,
    cache_bytes: usize,
    sessions: RwLock<Vec<Weak<Session>>>,
    /// Tags that a commit on its way defines: those behind it in the queue need not define them again.
    pub(crate) announced: Mutex<HashSet<(RecordKey, SchemaTag)>>,
}

/// One identity's view.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) author: Author,
    pub(crate) index: RwLock<Index>,
    pub(crate) cache: Cache,
    descriptors: RwLock<HashMap<(RecordKey, SchemaTag), Arc<Descriptor>>>,
    plans: RwLock<HashMap<PlanKey, Arc<Plan>>>,
    /// Keys have changed since names stayed closed: some may open now.
    stale: AtomicBool,
}

/// Fans confirmed commits out to the sessions.
struct FanOut(Weak<Shared>);

impl Observer for FanOut {
    fn confirmed(&self, commit: &ConfirmedCommit<'_>) {
        let Some(shared) = self.0.upgrade() else {
            return;
        };
        for session in shared.sessions.read().iter().filter_map(Weak::upgrade) {
            session.take_in(commit);
        }
    }
}

impl Shared {
    pub(crate) fn new(
        local: Arc<Local>,
        name: String,
        clock: Arc<dyn Clock>,
        cache_bytes: usize,
    ) -> Arc<Self> {
        let shared = Arc::new(Self {
            local,
            name,
            clock,
            cache_bytes,
            sessions: RwLock::default(),
            announced: Mutex::default(),
        });
        shared
            .local
            .observe(Arc::new(FanOut(Arc::downgrade(&shared))));
        shared
    }

    /// The session of an identity; made, with all rows indexed, when it is asked for first.
    pub(crate) fn session(self: &Arc<Self>, identity: &Identity) -> Arc<Session> {
        let id = identity.id();
        let known = |sessions: &[Weak<Session>]| {
            let mut alive = sessions.iter().filter_map(Weak::upgrade);
            alive.find(|session| session.author.id() == id)
        };
        if let Some(session) = known(&self.sessions.read()) {
            return session;
        }
        let session = Arc::new(Session {
            shared: self.clone(),
            author: self.local.author(identity),
            index: RwLock::default(),
            cache: Cache::new(self.cache_bytes),
            descriptors: RwLock::default(),
            plans: RwLock::default(),
            stale: AtomicBool::new(self.local.is_born()),
        });
        // Listed while the state stands still: no commit is confirmed between the last row and the first change it is told of.
        self.local.fold_rows(
            Index::default(),
            |index, change| {
                index.row(change);
            },
            |index| {
                let mut sessions = self.sessions.write();
                sessions.retain(|session| session.strong_count() > 0);
                known(&sessions).unwrap_or_else(|| {
                    *session.index.write() = index;
                    sessions.push(Arc::downgrade(&session));
                    session
                })
            },
        )
    }
}

impl Session {
    pub(crate) fn local(&self) -> &Arc<Local> {
        &self.shared.local
    }

    /// A confirmed commit: indexes first, then the cache forgets what is no longer the newest.
    fn take_in(&self, commit: &ConfirmedCommit<'_>) {
        let mut index = self.index.write();
        let mut known = Vec::new();
        for change in commit.changes() {
            // A record that is new was never cached.
            if !index.row(change) {
                known.push(change.key);
            }
        }
        let closed = self
            .local()
            .open_names(&self.author, commit, |change, collection, name| {
                index.name(change.parent_slot, collection, name, change.slot)
            });
        index.closed += closed;
        if index.closed > 0 && commit.changes_keys() {
            self.stale.store(true, Ordering::Relaxed);
        }
        drop(index);
        known.iter().for_each(|key| self.cache.remove(key));
    }

    /// Brings the index to the state of a chain that was opened from rest, with the names kept beside it. Nothing may be confirmed meanwhile.
    pub(crate) fn restore(&self, index: Index) {
        let gather = |index: &mut Index, change: &RowChange| {
            index.row(change);
        };
        self.local()
            .fold_rows(index, gather, |index| *self.index.write() = index);
        self.stale.store(false, Ordering::Relaxed);
    }

    /// Names are read from the log when they are asked for first.
    pub(crate) fn find_later(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    /// Opens names that stayed closed, if keys have changed since. Linear in the log when they have.
    pub(crate) fn refresh_names(&self) -> Result<(), ReadError> {
        if self.stale.swap(false, Ordering::Relaxed) {
            self.find_names()
        } else {
            Ok(())
        }
    }

    /// Reads all names from the log, for a session that was not there when they were written.
    pub(crate) fn find_names(&self) -> Result<(), ReadError> {
        let mut found = Vec::new();
        let closed = self.local().visit_names(&self.author, |name| {
            found.push((
                name.parent,
                name.collection.to_owned(),
                name.name.to_owned(),
                name.slot,
            ))
        })?;
        let mut index = self.index.write();
        found.iter().for_each(|(parent, collection, name, slot)| {
            index.name(*parent, collection, name, *slot)
        });
        index.closed = closed;
        Ok(())
    }

    pub(crate) fn position(&self) -> Position {
        self.local().position()
    }

    /// The record key that a target means now, whether or not the record exists.
    pub(crate) fn resolve(&self, target: &Target) -> Result<RecordKey, ReadError> {
        match target {
            Target::Key(key) => Ok(*key),
            Target::Name(name) => {
                check_name(name)?;
                self.refresh_names()?;
                let known = self.index.read().find(0, NAMED, name);
                match known {
                    Some(slot) => Ok(self.local().record_at(slot).key),
                    None => self
                        .author
                        .named_key(&RecordKey::ROOT, NAMED, name)
                        .map_err(|error| seal_to_read(error, name)),
                }
            }
        }
    }

    pub(crate) fn record(&self, key: &RecordKey) -> Option<RecordInfo> {
        self.local().record(key)
    }

    pub(crate) fn live(&self, key: &RecordKey) -> Option<RecordInfo> {
        self.record(key).filter(|record| record.live)
    }

    /// A resident value of the newest version.
    pub(crate) fn peek<T: Record>(&self, key: &RecordKey) -> Option<Dao<T>> {
        let (_, value) = self.cache.get(key)?;
        value.downcast::<DaoInner<T>>().ok().map(Dao)
    }

    /// The newest version of a record, or the one that stood at `position`.
    pub(crate) fn get<T: Record>(
        &self,
        key: &RecordKey,
        position: Option<Position>,
        shown: impl Fn() -> String,
    ) -> Result<Dao<T>, ReadError> {
        if let Some(dao) = self.peek::<T>(key)
            && position.is_none_or(|position| dao.version().seq < position.0)
        {
            return Ok(dao);
        }
        let ticket = self.cache.ticket(key);
        let newest = match position {
            None => true,
            Some(position) => self
                .record(key)
                .is_some_and(|record| record.version.seq < position.0),
        };
        let opened = match (newest, position) {
            (false, Some(position)) => match self.local().version_at(key, position)? {
                Some(version) => self.local().open_version(&self.author, key, version),
                None => Err(ChainError::NotFound { key: *key }),
            },
            _ => self.local().open_content(&self.author, key),
        };
        let opened = opened.map_err(|error| name_it(error, &shown))?;
        let plan = self.plan::<T>(&opened.scope, opened.schema, *key)?;
        let (value, unknown) =
            decode::<T>(&opened.content, &plan).map_err(|source| ReadError::Schema {
                name: shown(),
                source,
            })?;
        let facts = Facts {
            key: *key,
            version: opened.version,
            schema: opened.schema,
            author: opened.author,
            order_time_ms: opened.order_time_ms,
        };
        let bytes = opened.content.len() + size_of::<DaoInner<T>>() + unknown.heap_bytes();
        let dao = Arc::new(DaoInner {
            value,
            facts,
            unknown,
        });
        if newest {
            self.cache
                .insert(&ticket, *key, facts.version, bytes, dao.clone());
        }
        Ok(Dao(dao))
    }

    /// How to read records of a stored schema as `T`.
    pub(crate) fn plan<T: Record>(
        &self,
        scope: &RecordKey,
        tag: SchemaTag,
        record: RecordKey,
    ) -> Result<Arc<Plan>, ReadError> {
        let key = (TypeId::of::<T>(), *scope, tag);
        if let Some(plan) = self.plans.read().get(&key) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(Plan::of::<T>(&self.descriptor(scope, tag, record)?));
        self.plans.write().insert(key, plan.clone());
        Ok(plan)
    }

    /// The descriptor behind a schema tag: a record below the head of the scope.
    pub(crate) fn descriptor(
        &self,
        scope: &RecordKey,
        tag: SchemaTag,
        record: RecordKey,
    ) -> Result<Arc<Descriptor>, ReadError> {
        if let Some(descriptor) = self.descriptors.read().get(&(*scope, tag)) {
            return Ok(descriptor.clone());
        }
        let missing = || ReadError::Descriptor {
            key: record,
            source: None,
        };
        let (_, name_key) = self
            .author
            .name_key_below(scope)
            .map_err(|error| seal_to_read(error, "schema"))?;
        let parent = self.record(scope).ok_or_else(missing)?.slot;
        let slots = self
            .index
            .read()
            .children(
                parent,
                ate_chain::CollectionTag(name_key.collection_tag(SCHEMAS)),
            )
            .to_vec();
        let found = slots
            .into_iter()
            .map(|slot| self.local().record_at(slot))
            .find(|found| found.schema == tag)
            .ok_or_else(missing)?;
        let bytes = self.local().open_content(&self.author, &found.key)?.content;
        let descriptor =
            Descriptor::from_bytes(&bytes).map_err(|source| ReadError::Descriptor {
                key: record,
                source: Some(source),
            })?;
        // The tag is a keyed hash of the descriptor: another descriptor cannot stand behind it.
        if name_key.schema_tag(&descriptor.id()) != tag.0 {
            return Err(missing());
        }
        let descriptor = Arc::new(descriptor);
        self.descriptors
            .write()
            .insert((*scope, tag), descriptor.clone());
        Ok(descriptor)
    }

    /// Whether a record stood at `position`.
    pub(crate) fn stood_at(
        &self,
        key: &RecordKey,
        position: Position,
    ) -> Result<Option<Version>, ReadError> {
        match self.record(key) {
            Some(record) if record.version.seq < position.0 => {
                Ok(record.live.then_some(record.version))
            }
            Some(_) => Ok(self.local().version_at(key, position)?),
            None => Ok(None),
        }
    }
}

/// A name: 1 to 1024 bytes without control characters.
pub(crate) fn check_name(name: &str) -> Result<(), ReadError> {
    let good =
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    if good {
        Ok(())
    } else {
        Err(ReadError::Name {
            name: name.chars().take(64).collect(),
        })
    }
}

/// What a target is called in messages.
pub(crate) fn shown(target: &Target) -> String {
    match target {
        Target::Key(key) => key.to_string(),
        Target::Name(name) => name.clone(),
    }
}

fn name_it(error: ChainError, shown: &impl Fn() -> String) -> ReadError {
    match error {
        ChainError::NotFound { .. } => ReadError::NotFound { name: shown() },
        error => error.into(),
    }
}

fn seal_to_read(error: ate_chain::SealError, name: &str) -> ReadError {
    match error {
        ate_chain::SealError::Read(error) => error.into(),
        ate_chain::SealError::NoKey { scope } => {
            ReadError::Chain(ChainError::NoKey { scope, epoch: 0 })
        }
        _ => ReadError::NotFound {
            name: name.to_owned(),
        },
    }
}

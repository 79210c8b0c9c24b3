//! One identity's view of one chain: what it may read, indexed and cached for it alone.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use ate_chain::{
    Author, Clock, CollectionTag, ConfirmedCommit, Local, Observer, Opened, Position,
    ReadError as ChainError, RecordInfo, RecordKey, SchemaTag, Slot, Version,
};
use ate_crypto::{Identity, KeyId};
use parking_lot::{Mutex, RwLock};

use crate::cache::{Cache, ValueCache};
use crate::commit::Orphan;
use crate::dao::{Dao, DaoInner, Facts};
use crate::error::ReadError;
use crate::index::{Index, NAMED};
use crate::key::Target;
use crate::merge::{Hook, Resolving};
use crate::schema::{Descriptor, Plan, Record};
use crate::subscription::Consumer;

mod values;

/// Longest name in bytes.
pub const NAME_BYTES_MAX: usize = 1024;

type PlanKey = (TypeId, RecordKey, SchemaTag);

/// All sessions of one chain.
pub(crate) struct Shared {
    pub(crate) local: Arc<Local>,
    pub(crate) name: String,
    pub(crate) clock: Arc<dyn Clock>,
    cache: ValueCache,
    /// Taken under the chain's lock by whoever confirms: nothing may call the chain while holding it.
    sessions: RwLock<Vec<Weak<Session>>>,
    /// Held while a session comes into being, so that nobody gets one that is half filled.
    making: Mutex<()>,
    /// Tags that a commit on its way defines: those behind it in the queue need not define them again.
    pub(crate) announced: Mutex<HashSet<(RecordKey, SchemaTag)>>,
    /// Commits whose callers went away before the answer came.
    pub(crate) orphans: Mutex<Vec<Arc<Orphan>>>,
    /// What is done about refused commits that nobody waits for.
    pub(crate) resolving: Resolving,
    /// Durable consumers that run.
    pub(crate) consumers: Mutex<Vec<Weak<Consumer>>>,
    /// What the layer above keeps beside the chain.
    pub(crate) companion: OnceLock<Companion>,
}

pub(crate) type Companion = Arc<dyn Any + Send + Sync>;

/// One identity's view.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) author: Author,
    pub(crate) index: RwLock<Index>,
    pub(crate) cache: Cache,
    descriptors: RwLock<HashMap<(RecordKey, SchemaTag), Arc<Descriptor>>>,
    plans: RwLock<HashMap<PlanKey, Arc<Plan>>>,
    /// Counts the reasons to read all names anew: keys have changed, or the session was not there when they were written.
    names_due: AtomicU64,
    /// How many of them have been met.
    names_done: AtomicU64,
    /// Held while names are read anew.
    names_turn: Mutex<()>,
    /// Who merges what, by the names of record types.
    pub(crate) hooks: RwLock<Vec<(&'static str, Arc<dyn Hook>)>>,
    /// Schema descriptors that stood elsewhere were asked for.
    pub(crate) has_schemas: AtomicBool,
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

    fn refused(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.resolve_refused();
        }
    }
}

impl Shared {
    pub(crate) fn new(
        local: Arc<Local>,
        name: String,
        clock: Arc<dyn Clock>,
        cache: ValueCache,
    ) -> Arc<Self> {
        let shared = Arc::new(Self {
            local,
            name,
            clock,
            cache,
            sessions: RwLock::default(),
            making: Mutex::default(),
            announced: Mutex::default(),
            orphans: Mutex::default(),
            resolving: Resolving::default(),
            consumers: Mutex::default(),
            companion: OnceLock::new(),
        });
        shared
            .local
            .observe(Arc::new(FanOut(Arc::downgrade(&shared))));
        shared
    }

    /// Whether `session` is the only one, and nobody but its one holder refers to it, to this or to the chain below.
    ///
    /// The counts are read one after the other, so a handle that moves between threads meanwhile may be missed: what is let go on this word must be found
    /// again if it lives on.
    fn is_idle(self: &Arc<Self>, session: &Arc<Session>) -> bool {
        /// The session holds the chain as its author, and this does.
        const OWN: usize = 2;
        Arc::strong_count(session) == 1
            && Arc::strong_count(self) == 1
            && Arc::strong_count(&self.local) == OWN
            && self.orphans.lock().is_empty()
            && !self.local.has_staged()
    }

    /// The session of an identity, if there is one.
    pub(crate) fn session_of(&self, author: &KeyId) -> Option<Arc<Session>> {
        let sessions = self.sessions.read();
        let mut sessions = sessions.iter().filter_map(Weak::upgrade);
        sessions.find(|session| session.author.id() == *author)
    }

    /// The session of an identity; made when it is asked for first.
    pub(crate) fn session(self: &Arc<Self>, identity: &Identity) -> Arc<Session> {
        let _making = self.making.lock();
        let known = self
            .sessions
            .read()
            .iter()
            .filter_map(Weak::upgrade)
            .find(|session| session.author.id() == identity.id());
        if let Some(session) = known {
            return session;
        }
        let session = Arc::new(Session {
            shared: self.clone(),
            author: self.local.author(identity),
            index: RwLock::default(),
            cache: self.cache.share(),
            descriptors: RwLock::default(),
            plans: RwLock::default(),
            names_due: AtomicU64::new(0),
            names_done: AtomicU64::new(0),
            names_turn: Mutex::default(),
            hooks: RwLock::default(),
            has_schemas: AtomicBool::new(false),
        });
        {
            let mut sessions = self.sessions.write();
            sessions.retain(|session| session.strong_count() > 0);
            sessions.push(Arc::downgrade(&session));
        }
        session.fill();
        session
    }
}

impl Session {
    pub(crate) fn is_idle(self: &Arc<Self>) -> bool {
        self.shared.is_idle(self)
    }
}

impl Shared {
    /// Sees the commits through that nobody waits for any more.
    ///
    /// On a replica they are made durable and left to the next opening: whoever decides their order may be out of reach for long.
    pub(crate) fn settle(&self) {
        if self.local.is_replica() {
            // A log that fails has said so to whoever waited.
            drop(self.local.sync_staged());
            let orphans = std::mem::take(&mut *self.orphans.lock());
            orphans.iter().for_each(|orphan| orphan.let_go());
            self.local.abandon_staged(
                "the store was closed; the commit is staged and goes on with the next opening",
            );
            return;
        }
        loop {
            let Some(orphan) = self.orphans.lock().pop() else {
                return;
            };
            while !orphan.finish() {
                std::thread::yield_now();
            }
        }
    }
}

impl Shared {
    /// Ends all waiting for the chain to move, and keeps the places of durable consumers: the store is being closed.
    pub(crate) fn end_subscriptions(&self) {
        self.local.end_watches();
        let consumers = self.consumers.lock();
        let running: Vec<Arc<Consumer>> = consumers.iter().filter_map(Weak::upgrade).collect();
        drop(consumers);
        // A place that could not be kept is one that comes again.
        running
            .iter()
            .for_each(|consumer| drop(consumer.keep_now()));
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
            index.erase(change);
            // A record that is new was never cached.
            if !index.row(change) {
                known.push(change.key);
            }
        }
        let closed = self
            .local()
            .open_names(&self.author, commit, |change, collection, name| {
                index.name(
                    change.parent_slot,
                    collection,
                    name,
                    change.slot,
                    commit.seq(),
                )
            });
        index.closed += closed;
        if index.closed > 0 && commit.changes_keys() {
            self.find_later();
        }
        drop(index);
        known.iter().for_each(|key| self.cache.remove(key));
    }

    /// Takes in what stood in the chain before the session did. Commits that are confirmed meanwhile are passed over by the index until it has what
    /// comes before them, and found here.
    fn fill(&self) {
        // The chain's lock is taken first, as when a commit is confirmed.
        let mut index = None;
        self.local().visit_rows(|change| {
            let index = index.get_or_insert_with(|| self.index.write());
            index.erase(change);
            index.row(change);
        });
        if index.take().is_some() {
            self.find_later();
            // Names of commits to come are opened with keys that are held; a session without one finds out later.
            drop(self.author.name_key_below(&RecordKey::ROOT));
        }
    }

    /// Takes names from a sealed file instead of the log; `false` if they do not fit the rows.
    pub(crate) fn restore(&self, names: Index) -> bool {
        let _turn = self.names_turn.lock();
        let taken = self.index.write().take_names(names);
        if taken {
            let due = self.names_due.load(Ordering::Acquire);
            self.names_done.store(due, Ordering::Release);
        }
        taken
    }

    /// Names are read from the log when they are asked for next.
    pub(crate) fn find_later(&self) {
        self.names_due.fetch_add(1, Ordering::AcqRel);
    }

    /// Opens names that stayed closed, if keys have changed since. Linear in the log when they have.
    pub(crate) fn refresh_names(&self) -> Result<(), ReadError> {
        let is_done =
            || self.names_done.load(Ordering::Acquire) >= self.names_due.load(Ordering::Acquire);
        if is_done() {
            return Ok(());
        }
        // Whoever comes meanwhile waits: half of the names are no answer.
        let _turn = self.names_turn.lock();
        if is_done() {
            return Ok(());
        }
        let due = self.names_due.load(Ordering::Acquire);
        self.find_names()?;
        self.names_done.store(due, Ordering::Release);
        Ok(())
    }

    /// Reads all names from the log, for a session that was not there when they were written.
    fn find_names(&self) -> Result<(), ReadError> {
        let closed_before = self.index.read().closed;
        let mut found = Vec::new();
        let closed = self.local().visit_names(&self.author, |name| {
            found.push((
                name.parent,
                name.collection.to_owned(),
                name.name.to_owned(),
                name.slot,
                name.seq,
            ))
        })?;
        let mut index = self.index.write();
        for (parent, collection, name, slot, seq) in &found {
            // What was erased since it was read is not taken in.
            index.name(*parent, collection, name, *slot, *seq);
        }
        // What was confirmed meanwhile and stayed closed may count twice; what opens later is looked for once more then.
        index.closed = closed + index.closed.saturating_sub(closed_before);
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
        // What is staged is never cached, so that nothing has to be taken back when it is refused: its bytes are in memory anyway.
        if self.local().is_staged(key) {
            let (opened, _) = self.open_at(key, None, &String::new).ok()?;
            let (value, unknown) = self.decode::<T>(&opened, key, &String::new).ok()?;
            let facts = facts_of(key, &opened);
            return Some(Dao(Arc::new(DaoInner {
                value,
                facts,
                unknown,
            })));
        }
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
        let (opened, newest) = self.open_at(key, position, &shown)?;
        self.decoded(key, &opened, newest.then_some(&ticket), &shown)
    }

    /// A record as it was at exactly this version.
    pub(crate) fn get_exactly<T: Record>(
        self: &Arc<Self>,
        key: &RecordKey,
        version: Version,
    ) -> Result<Dao<T>, ReadError> {
        if let Some(dao) = self.peek::<T>(key)
            && dao.version() == version
        {
            return Ok(dao);
        }
        let shown = || key.to_string();
        let ticket = self.cache.ticket(key);
        let (opened, newest) = self.open_exactly(key, version, &shown)?;
        self.decoded(key, &opened, newest.then_some(&ticket), &shown)
    }

    /// The keys below `parent` in `collection`, ended records too, in order of creation; staged ones come last.
    pub(crate) fn children(
        &self,
        parent: &RecordKey,
        collection: &str,
        shown: &impl Fn() -> String,
    ) -> Result<Vec<RecordKey>, ReadError> {
        let (slot, tags) = self.collection_tags(parent, collection, shown)?;
        let mut keys: Vec<RecordKey> = self
            .child_slots(slot, &tags)
            .into_iter()
            .map(|slot| self.local().record_at(slot).key)
            .collect();
        for tag in tags {
            keys.extend(self.local().staged_children(parent, tag));
        }
        Ok(keys)
    }

    /// The rows below a row in a collection, tombstones too, in order of creation.
    pub(crate) fn child_slots(&self, parent: Slot, tags: &[CollectionTag]) -> Vec<Slot> {
        let index = self.index.read();
        let mut slots: Vec<Slot> = tags
            .iter()
            .flat_map(|tag| index.children(parent, *tag))
            .copied()
            .collect();
        slots.sort_unstable();
        slots
    }

    /// The row of a record, and what a collection below it is called in the chain.
    pub(crate) fn collection_tags(
        &self,
        parent: &RecordKey,
        collection: &str,
        shown: &impl Fn() -> String,
    ) -> Result<(Slot, Vec<CollectionTag>), ReadError> {
        let row = |key: &RecordKey| {
            self.record(key)
                .ok_or_else(|| ReadError::NotFound { name: shown() })
        };
        let slot = row(parent)?.slot;
        // A collection's tag is keyed by the scope that it was written in. A parent that was given a scope of its own has children from before.
        let (scope, key) = self
            .author
            .name_key_below(parent)
            .map_err(|error| seal_to_read(error, &shown()))?;
        let mut tags = vec![CollectionTag(key.collection_tag(collection))];
        let mut at = scope;
        while at != RecordKey::ROOT {
            let above = row(&at)?.parent;
            match self.author.name_key_below(&above) {
                Ok((scope, key)) => {
                    tags.push(CollectionTag(key.collection_tag(collection)));
                    at = scope;
                }
                // What was written under keys that this session does not hold is not to be found by it.
                Err(_) => at = self.local().scope_of(&above).unwrap_or(RecordKey::ROOT),
            }
        }
        tags.sort_unstable();
        tags.dedup();
        Ok((slot, tags))
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

/// A collection of the caller's: a name that does not begin as those of this crate do.
pub(crate) fn check_collection(collection: &str) -> Result<(), ReadError> {
    if check_name(collection).is_ok() && !collection.starts_with("ate.") {
        Ok(())
    } else {
        Err(ReadError::Collection {
            collection: collection.chars().take(64).collect(),
        })
    }
}

pub(crate) fn facts_of(key: &RecordKey, opened: &Opened) -> Facts {
    Facts {
        key: *key,
        version: opened.version,
        author: opened.author,
        order_time_ms: opened.order_time_ms,
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
        ChainError::Erased { .. } => ReadError::Erased { name: shown() },
        ChainError::Dropped { horizon, .. } => ReadError::Dropped {
            name: shown(),
            horizon,
        },
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

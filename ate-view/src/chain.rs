//! `Chain`: a named history, seen as one session.

use std::any::Any;
use std::sync::Arc;

use ate_chain::{
    ChainId, Clock, CommitInfo, HistoryEntry, Local, Pending, Position, RecordKey, Reject, Version,
};
use ate_crypto::{Hash, Identity, KeyId, Who};

use crate::cache::ValueCache;
use crate::commit::ATTEMPTS_MAX;
use crate::commit::receipt;
use crate::dao::{Dao, DaoInner, Facts};
use crate::document::{Document, NamedEntry};
use crate::error::{BoxError, CommitError, ReadError, TransactError};
use crate::index::Index;
use crate::key::{IntoKey, Key, Target};
use crate::lacking::{complete, fetched, lack, waiting};
use crate::receipt::Receipt;
use crate::schema::{Record, Unknown};
use crate::session::{Session, Shared, shown};
use crate::transaction::{Expect, Transaction};
use crate::view::View;
use crate::weak::WeakChain;
use crate::write::{FutureSource, Write};

/// How often a transaction closure runs again after an error of its own that rests on reads which do not hold any more.
const STALE_ATTEMPTS_MAX: u32 = 64;

/// A named history as one identity sees it. Cheap to clone; every clone and thread may use it at once.
#[derive(Clone)]
pub struct Chain {
    pub(crate) session: Arc<Session>,
}

impl Chain {
    /// A chain over a local log, for programs that use this crate without `ate`. Call it before [`Local::load`], and never while another chain made of this
    /// [`Local`] lives: commits are observed from then on, by the newest.
    ///
    /// Names of records from before (a chain opened from rest) are read from the log when they are asked for first, or come from
    /// [`Chain::restore_names`].
    #[must_use]
    pub fn over(
        local: Arc<Local>,
        name: &str,
        identity: &Identity,
        clock: Arc<dyn Clock>,
        cache: &ValueCache,
    ) -> Self {
        let shared = Shared::new(local, name.to_owned(), clock, cache.clone());
        Self {
            session: shared.session(identity),
        }
    }

    pub(crate) fn of(session: Arc<Session>) -> Self {
        Self { session }
    }

    pub(crate) const fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// What the layer above keeps beside this chain, the same for all its identities and handles.
    #[must_use]
    pub fn companion(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.session
            .shared
            .companion
            .get()
            .map(|companion| &**companion)
    }

    /// Keeps something beside this chain, for extensions by a layer above that this crate knows nothing of. The first one stays; `false` if there was one. It lives as
    /// long as the chain, so it may not hold a `Chain` of it.
    pub fn accompany(&self, companion: Arc<dyn Any + Send + Sync>) -> bool {
        self.session.shared.companion.set(companion).is_ok()
    }

    /// Takes in the names that [`Chain::names_at_rest`] gave, for a chain that was opened from rest; `false` if they are of no known shape.
    #[must_use]
    pub fn restore_names(&self, bytes: &[u8]) -> bool {
        Index::decode(bytes).is_some_and(|names| self.session.restore(names))
    }

    /// Forgets nothing, but reads all names from the log when they are asked for next.
    pub fn read_names_again(&self) {
        self.session.find_later();
    }

    /// The names that this session could open, for a sealed file.
    #[must_use]
    pub fn names_at_rest(&self) -> Vec<u8> {
        self.session.index.read().encode()
    }

    /// Whether nothing but this one handle refers to the chain: no clone, view, transaction, other identity, or commit on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.session.is_idle()
    }

    /// The way back to the chain when this handle is gone.
    #[must_use]
    pub fn downgrade(&self) -> WeakChain {
        WeakChain::of(&self.session.shared)
    }

    /// Bytes of memory held by rows, tree and indexes; decoded values have a budget of their own. Approximate, O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        /// What a chain of a few commits takes beside rows: states, sessions, keys and tables at their smallest. Measured.
        const SMALL_BYTES: usize = 7000;
        SMALL_BYTES + self.local().memory_bytes() + self.session.index.read().memory_bytes()
    }

    /// The chain's id.
    #[must_use]
    pub fn id(&self) -> ChainId {
        self.session.local().chain()
    }

    /// The name it was opened by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.session.shared.name
    }

    /// The state machine below, for those who need commits, proofs or checkpoints.
    #[must_use]
    pub fn local(&self) -> &Arc<Local> {
        self.session.local()
    }

    /// Who is acting.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.session.author.identity()
    }

    /// The same chain as another identity sees it.
    ///
    /// # Cost
    /// The first time for an identity, linear in the records; its first use of a name is linear in the log.
    #[must_use]
    pub fn as_identity(&self, identity: &Identity) -> Self {
        Self {
            session: self.session.shared.session(identity),
        }
    }

    /// Commits so far.
    #[must_use]
    pub fn position(&self) -> Position {
        self.session.position()
    }

    /// Merkle root of all commits so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let position = self.position();
        self.root_at(position).unwrap_or_default()
    }

    /// Merkle root at a position; `None` beyond the end.
    #[must_use]
    pub fn root_at(&self, position: Position) -> Option<Hash> {
        self.local().root_at(position)
    }

    /// Whether nothing has been written yet: the chain exists in memory only.
    #[must_use]
    pub fn is_new(&self) -> bool {
        !self.local().is_born()
    }

    /// Live records that are confirmed, schema descriptors included.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        self.local().record_count()
    }

    /// The record's newest version. A content that is here is there at the first poll; one that is elsewhere is fetched, and kept.
    ///
    /// # Errors
    /// [`ReadError::NotFound`]; [`ReadError::Schema`] if the record is of another type; [`ReadError::Chain`] for damage, a key that is not held, or a content that
    /// is elsewhere ([`ate_chain::ReadError::Elsewhere`]) and did not come.
    ///
    /// # Cancel safety
    /// Reading changes nothing.
    pub fn get<T: Record>(&self, key: impl IntoKey<T>) -> Pending<Result<Dao<T>, ReadError>> {
        let target = key.into_target();
        let found = self
            .session
            .resolve(&target)
            .and_then(|key| self.session.get(&key, None, || shown(&target)));
        let Some(content) = lack(&found) else {
            return Pending::ready(found);
        };
        let session = self.session.clone();
        fetched(self.session.clone(), content, move || {
            let key = session.resolve(&target)?;
            session.get(&key, None, || shown(&target))
        })
    }

    /// The record's newest version if its value is resident: one shard's lock, no I/O. `None` is "absent or not resident"; [`Chain::contains`] tells which.
    #[must_use]
    pub fn peek<T: Record>(&self, key: impl IntoKey<T>) -> Option<Dao<T>> {
        match key.into_target() {
            Target::Key(key) => self.session.peek(&key),
            target => self
                .session
                .resolve(&target)
                .ok()
                .and_then(|key| self.session.peek(&key)),
        }
    }

    /// Whether the record exists. Memory only.
    #[must_use]
    pub fn contains<T>(&self, key: impl IntoKey<T>) -> bool {
        self.session
            .resolve(&key.into_target())
            .is_ok_and(|key| self.session.live(&key).is_some())
    }

    /// The key of a named record that exists.
    #[must_use]
    pub fn key_of<T>(&self, name: &str) -> Option<Key<T>> {
        let key = self.session.resolve(&Target::Name(name.to_owned())).ok()?;
        self.session
            .live(&key)
            .map(|record| Key::from_raw(record.key))
    }

    /// The newest version of a record, without reading it.
    #[must_use]
    pub fn version<T>(&self, key: impl IntoKey<T>) -> Option<Version> {
        let key = self.session.resolve(&key.into_target()).ok()?;
        self.session.live(&key).map(|record| record.version)
    }

    /// The keys below `parent` in `collection` that exist, in order of creation. Memory only. A parent that was removed still shows them.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there never was such a parent, [`ReadError::Chain`] if the keys of its scope are not held.
    pub fn children<P, T: Record>(
        &self,
        parent: impl IntoKey<P>,
        collection: &str,
    ) -> Result<Vec<Key<T>>, ReadError> {
        let target = parent.into_target();
        let parent = self.session.resolve(&target)?;
        let keys = self
            .session
            .children(&parent, collection, &|| shown(&target))?;
        Ok(keys
            .into_iter()
            .filter(|key| self.session.live(key).is_some())
            .map(Key::from_raw)
            .collect())
    }

    /// The keys of all records of type `T` that were added without a name, in order of creation. Memory only.
    #[must_use]
    pub fn all<T: Record>(&self) -> Vec<Key<T>> {
        self.children::<T, T>(Key::from_raw(RecordKey::ROOT), T::NAME)
            .unwrap_or_default()
    }

    /// The named records whose names begin with `prefix`, ascending.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn names(&self, prefix: &str) -> Result<Vec<NamedEntry>, ReadError> {
        self.session.names(prefix, None)
    }

    /// The name of a record below the root record, if it has one that this session may read.
    #[must_use]
    pub fn name_of(&self, key: &RecordKey) -> Option<String> {
        let slot = self.session.record(key)?.slot;
        let known = self.session.index.read().name_of(slot).cloned();
        known.map(|name| name.to_string()).or_else(|| {
            let staged = self.session.staged_names();
            let mut staged = staged.into_iter();
            staged.find_map(|(of, name)| (of == *key).then_some(name))
        })
    }

    /// Any program's record as JSON. If its content is elsewhere, this waits for it on the calling thread, 60 s at most.
    ///
    /// # Errors
    /// As [`Chain::get`].
    pub fn document<T>(&self, key: impl IntoKey<T>) -> Result<Document, ReadError> {
        let target = key.into_target();
        let key = self.session.resolve(&target)?;
        waiting(&self.session, || {
            self.session.document(&key, None, &shown(&target))
        })
    }

    /// The live confirmed records in order of their newest versions, root record and schema descriptors left out. Memory only.
    #[must_use]
    pub fn keys_in_order(&self) -> Vec<RecordKey> {
        let mut keys = Vec::new();
        self.local().visit_rows(|change| {
            if change.live && change.key != RecordKey::ROOT && !change.defines {
                keys.push((change.version, change.key));
            }
        });
        keys.sort_unstable_by_key(|(version, _)| *version);
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// The versions of a record, newest first.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] for a record that never existed.
    pub fn history<T>(&self, key: impl IntoKey<T>) -> Result<Vec<HistoryEntry>, ReadError> {
        let target = key.into_target();
        let key = self.session.resolve(&target)?;
        let mut entries = Vec::new();
        let walked = self.local().history(&key, |entry| {
            entries.push(*entry);
            std::ops::ControlFlow::Continue(())
        });
        match walked {
            Err(ate_chain::ReadError::NotFound { .. }) => Err(ReadError::NotFound {
                name: shown(&target),
            }),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(entries),
        }
    }

    /// One commit as its history shows it.
    ///
    /// # Errors
    /// [`ReadError::Chain`].
    pub fn commit(&self, seq: u64) -> Result<CommitInfo, ReadError> {
        Ok(self.local().commit_at(seq)?)
    }

    /// The chain as it stands now, and stays in this view.
    #[must_use]
    pub fn view(&self) -> View {
        self.as_of(self.position())
    }

    /// The chain as it stood at a position; a position beyond the end means now.
    #[must_use]
    pub fn as_of(&self, position: Position) -> View {
        View::new(self.session.clone(), position)
    }

    /// A new record without a name.
    pub fn add<T: Record>(&self, value: T) -> Write<Dao<T>> {
        self.write(value, move |transaction, value, access| {
            transaction.create(RecordKey::ROOT, T::NAME, value, access)
        })
    }

    /// A new record without a name in a collection below `parent`.
    pub fn push<P, T: Record>(
        &self,
        parent: impl IntoKey<P>,
        collection: &str,
        value: T,
    ) -> Write<Dao<T>> {
        let (parent, collection) = (parent.into_target(), collection.to_owned());
        self.write(value, move |transaction, value, access| {
            transaction.push_with(&parent, &collection, value, access)
        })
    }

    /// Writes a record under a name or over a key, whatever stands there.
    pub fn put<T: Record>(&self, key: impl IntoKey<T>, value: T) -> Write<Dao<T>> {
        self.put_if(key, value, Expect::Anything)
    }

    /// As [`Chain::put`], if the record is as expected.
    pub fn put_if<T: Record>(
        &self,
        key: impl IntoKey<T>,
        value: T,
        expect: Expect,
    ) -> Write<Dao<T>> {
        let target = key.into_target();
        self.write(value, move |transaction, value, access| {
            transaction.put_with(&target, value, expect, access)
        })
    }

    /// Ends a record.
    pub fn remove<T>(&self, key: impl IntoKey<T>) -> Write<Receipt> {
        let target = key.into_target();
        Write::new(
            self.session.clone(),
            Box::new(move |transaction, _| {
                transaction.remove::<T>(target.clone())?;
                let session = transaction.session.clone();
                Ok(Box::new(move |committed| receipt(&session, &committed)))
            }),
        )
    }

    /// Ends a record, if it lives, and destroys its name and all the contents it ever had, in this store; see [`Transaction::erase`]. The answer comes when
    /// the bytes are destroyed, on the thread that takes it.
    ///
    /// # Errors
    /// In the answer: as [`Transaction::erase`]; [`CommitError::NotDestroyed`] if the commit is durable but bytes are left.
    pub fn erase<T>(&self, key: impl IntoKey<T>) -> Write<Receipt> {
        let target = key.into_target();
        Write::new(
            self.session.clone(),
            Box::new(move |transaction, _| {
                transaction.erase::<T>(target.clone())?;
                let session = transaction.session.clone();
                Ok(Box::new(move |committed| receipt(&session, &committed)))
            }),
        )
    }

    /// Allows the chain to drop the content of every version that was superseded before `position`; see [`Transaction::set_horizon`].
    ///
    /// # Errors
    /// In the answer: [`CommitError::Rejected`].
    pub fn set_horizon(&self, position: Position) -> Write<Receipt> {
        Write::new(
            self.session.clone(),
            Box::new(move |transaction, _| {
                transaction.set_horizon(position)?;
                let session = transaction.session.clone();
                Ok(Box::new(move |committed| receipt(&session, &committed)))
            }),
        )
    }

    /// The position below which superseded contents are not kept; 0 if all are.
    #[must_use]
    pub fn horizon(&self) -> Position {
        self.local().horizon()
    }

    /// Read, change, write back, again if somebody else was faster: `change` may run several times.
    ///
    /// # Errors
    /// In the answer: [`CommitError`].
    pub fn update<T: Record>(
        &self,
        key: impl IntoKey<T>,
        mut change: impl FnMut(&mut T) + Send + 'static,
    ) -> Pending<Result<Receipt, CommitError>> {
        let (session, target) = (self.session.clone(), key.into_target());
        Pending::new(FutureSource(Box::pin(async move {
            for attempt in 1.. {
                let transaction = Transaction::new(session.clone());
                let updated = transaction.update_now::<T>(&target, &mut Some(&mut change));
                match lack(&updated) {
                    None => updated.map(drop)?,
                    Some(content) => {
                        let again = || transaction.update_now::<T>(&target, &mut Some(&mut change));
                        complete(&session, content, again).await?;
                    }
                }
                match transaction.commit().await {
                    Err(CommitError::Conflict(_)) if attempt < ATTEMPTS_MAX => {}
                    outcome => return outcome,
                }
            }
            unreachable!("the loop ends by returning")
        })))
    }

    /// Gives `who` the keys to read a record and what is written below it. A record without a scope of its own becomes one: it is sealed anew for it, and
    /// what stood below it before stays sealed as it was.
    ///
    /// # Errors
    /// In the answer: [`CommitError`].
    pub fn share<T: Record>(
        &self,
        key: impl IntoKey<T>,
        who: &Who,
    ) -> Pending<Result<Receipt, CommitError>> {
        let (chain, target, who) = (self.clone(), key.into_target(), who.clone());
        Pending::new(FutureSource(Box::pin(async move {
            for attempt in 1.. {
                let stage = || chain.stage_share::<T>(&target, &who);
                let staged = stage();
                let staged = match lack(&staged) {
                    None => staged?,
                    Some(content) => complete(&chain.session, content, stage).await?,
                };
                match staged.commit().await {
                    Err(error) if attempt < ATTEMPTS_MAX && was_overtaken(&error) => {}
                    outcome => return outcome,
                }
            }
            unreachable!("the loop ends by returning")
        })))
    }

    fn stage_share<T: Record>(
        &self,
        target: &Target,
        who: &Who,
    ) -> Result<Transaction, CommitError> {
        let transaction = self.begin();
        let key = self.session.resolve(target)?;
        let record = self.session.live(&key).ok_or_else(|| ReadError::NotFound {
            name: shown(target),
        })?;
        if record.scope_head {
            transaction.grant::<T>(Key::from_raw(key), who)?;
        } else {
            let dao = self.session.get::<T>(&key, None, || shown(target))?;
            transaction.rescope(&dao, std::slice::from_ref(who))?;
        }
        Ok(transaction)
    }

    /// Gives a scope a new key for `readers` and the own identity; everybody else reads nothing that is written from the answer's position on.
    ///
    /// # Errors
    /// In the answer: [`CommitError`].
    pub fn unshare<T>(
        &self,
        key: impl IntoKey<T>,
        readers: &[Who],
    ) -> Pending<Result<Receipt, CommitError>> {
        let (chain, target, readers) = (self.clone(), key.into_target(), readers.to_vec());
        Pending::new(FutureSource(Box::pin(async move {
            for attempt in 1.. {
                let transaction = chain.begin();
                transaction.rotate::<T>(target.clone(), &readers)?;
                match transaction.commit().await {
                    Err(error) if attempt < ATTEMPTS_MAX && was_overtaken(&error) => {}
                    outcome => return outcome,
                }
            }
            unreachable!("the loop ends by returning")
        })))
    }

    /// Changes that become one commit.
    #[must_use]
    pub fn begin(&self) -> Transaction {
        Transaction::new(self.session.clone())
    }

    /// Runs `change` in a transaction and commits it; runs it again if somebody else was faster. Any error of `change` ends it and nothing is written.
    ///
    /// # Errors
    /// In the answer: [`TransactError`].
    pub fn transact<R, F, Fut>(&self, mut change: F) -> Pending<Result<(R, Receipt), TransactError>>
    where
        R: Send + 'static,
        F: FnMut(Transaction) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, BoxError>> + Send + 'static,
    {
        let session = self.session.clone();
        Pending::new(FutureSource(Box::pin(async move {
            for attempt in 1.. {
                let transaction = Transaction::new(session.clone());
                let result = match change(transaction.clone()).await {
                    Ok(result) => result,
                    // The closure may have seen two records at two positions, and concluded what never was.
                    Err(_) if attempt < STALE_ATTEMPTS_MAX && transaction.is_stale() => continue,
                    Err(error) => return Err(TransactError::Own(error)),
                };
                match transaction.commit().await {
                    Ok(receipt) => return Ok((result, receipt)),
                    Err(CommitError::Conflict(_)) if attempt < ATTEMPTS_MAX => {}
                    Err(error) => return Err(error.into()),
                }
            }
            unreachable!("the loop ends by returning")
        })))
    }

    /// Waits on the calling thread until every commit whose [`Pending`] was dropped has been written or refused. A commit that met another one on its way may have
    /// to be sent again, which a closed log does not allow: whoever closes one calls this first.
    ///
    /// A replica does not wait for its node: what is staged is made durable here, and sent when the chain is followed again.
    pub fn settle(&self) {
        self.session.shared.settle();
    }

    /// Ends every subscription once it has handed out what is there, and keeps the places of durable consumers: for whoever closes the store, before the log is
    /// closed.
    pub fn end_subscriptions(&self) {
        self.session.shared.end_subscriptions();
    }

    /// Takes in what another process wrote since, for a store that is open for reading.
    ///
    /// # Errors
    /// [`ate_chain::OpenError`]; what was there before stays.
    pub fn catch_up(&self) -> Result<Position, ate_chain::OpenError> {
        self.local().catch_up()
    }

    /// The public identity behind a key id, if the chain knows it.
    #[must_use]
    pub fn who(&self, key: &KeyId) -> Option<Who> {
        self.local().who(key)
    }

    /// Bytes of decoded values held in memory, by all chains that share a [`ValueCache`] with this one.
    #[must_use]
    pub fn cache_bytes(&self) -> usize {
        self.session.cache.shared().bytes()
    }

    fn write<T: Record>(
        &self,
        value: T,
        mut stage: impl FnMut(&Transaction, &T, &crate::staging::Access) -> Result<Key<T>, CommitError>
        + Send
        + 'static,
    ) -> Write<Dao<T>> {
        let (session, mut value) = (self.session.clone(), Some(value));
        Write::new(
            self.session.clone(),
            Box::new(move |transaction, access| {
                let here = value.as_ref().expect("it is staged once");
                let key = stage(transaction, here, access)?;
                let value = value.take().expect("it is staged once");
                let unknown = Unknown::default();
                let (session, transaction) = (session.clone(), transaction.clone());
                Ok(Box::new(move |committed| {
                    let event = transaction
                        .state
                        .lock()
                        .writes
                        .get(&key.raw())
                        .map_or(0, |staged| staged.event);
                    let version = Version {
                        seq: committed.seq,
                        event,
                    };
                    let facts = Facts {
                        key: key.raw(),
                        version,
                        author: session.author.id(),
                        order_time_ms: committed.order_time_ms,
                    };
                    Dao(Arc::new(DaoInner {
                        value,
                        facts,
                        unknown,
                    }))
                }))
            }),
        )
    }
}

/// Whether somebody else changed the record or the scope first.
const fn was_overtaken(error: &CommitError) -> bool {
    matches!(
        error,
        CommitError::Conflict(_)
            | CommitError::Rejected {
                reason: Reject::StaleEpoch { .. }
            }
    )
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

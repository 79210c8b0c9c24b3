//! One chain in one store: its state behind a lock, its bodies in the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ate_crypto::{Hash, Identity, KeyId, Random};
use ate_log::{Location, Log};
use parking_lot::{Mutex, RwLock};

use crate::batch::Batch;
use crate::committer::{Committed, Committer};
use crate::directory::DirectoryEntry;
use crate::dismiss::dismissed;
use crate::draft::{Author, Draft};
use crate::error::{Reject, SealError, SubmitError};
use crate::event::Genesis;
use crate::genesis::{Birth, lane_of};
use crate::ids::{ChainId, LaneId, Position, RecordKey, SchemaTag, Version};
use crate::keyring::Keyring;
use crate::observe::RowChange;
use crate::overlay::staged_info;
use crate::pending::Pending;
use crate::policy::WritePolicy;
use crate::ports::Observer;
use crate::replay::ReadTo;
use crate::replica::ReplicaCell;
use crate::seal::Sealed;
use crate::state::{Found, State};
use crate::table::{Slot, flag};
use crate::watch::Watched;

/// This store's own memory of a lane. Not stored: a store that forgets starts a new run of links.
#[derive(Clone, Copy)]
pub(crate) struct OwnLane {
    pub(crate) id: LaneId,
    /// Leaf that this process signed last, or zero.
    pub(crate) link: Hash,
}

/// A chain over a local log: the `Sequencer` that decides the order itself.
///
/// Readers take the state's read lock for the moment of a look-up and never the writer's. Everything they see is confirmed: verified and durable. In a replica
/// they also see what this store has staged and nobody has refused, above it, and can tell it by its version.
pub struct Local {
    chain: ChainId,
    pub(crate) log: Arc<dyn Log>,
    committer: Arc<Committer>,
    pub(crate) state: RwLock<State>,
    /// Locked after the state, never before.
    pub(crate) observer: RwLock<Option<Arc<dyn Observer>>>,
    pub(crate) lanes: Mutex<HashMap<KeyId, OwnLane>>,
    pub(crate) birth: Option<Birth>,
    keyrings: Mutex<HashMap<KeyId, Arc<Keyring>>>,
    random: Arc<dyn Random>,
    /// How far the log is in the state. Locked after the state, never before.
    pub(crate) read_to: Mutex<ReadTo>,
    /// What makes the chain a replica.
    pub(crate) replica: ReplicaCell,
    /// Held while erased bodies are destroyed.
    pub(crate) erasing: Mutex<()>,
    /// An erasure has removed the state at rest.
    pub(crate) rest_removed: AtomicBool,
    /// Told when the position has moved.
    pub(crate) watched: Watched,
    /// Staged commits are shown above the confirmed state: never so but in a replica. Changes under the state's lock.
    pub(crate) overlaid: AtomicBool,
}

/// A record as it stands now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordInfo {
    /// Record.
    pub key: RecordKey,
    /// Its row; [`NO_SLOT`](crate::NO_SLOT) for one that exists in staged commits alone.
    pub slot: Slot,
    /// Newest version.
    pub version: Version,
    /// Whether it exists; a tombstone does not.
    pub live: bool,
    /// Whether an erasure ended it: nothing of it can be read.
    pub erased: bool,
    /// Schema of its content.
    pub schema: SchemaTag,
    /// Record above.
    pub parent: RecordKey,
    /// Whether it heads a read scope.
    pub scope_head: bool,
    /// Scope that its content is sealed under, and the epoch.
    pub sealed: (RecordKey, u32),
}

impl Local {
    pub(crate) fn assemble(
        committer: Arc<Committer>,
        state: State,
        birth: Option<Birth>,
    ) -> Arc<Self> {
        let keyrings = birth
            .iter()
            .map(|birth| (birth.keyring.identity.id(), birth.keyring.clone()))
            .collect();
        let committer_start = committer.log().start();
        let watched = Watched::at(state.confirmed());
        Arc::new(Self {
            chain: state.chain,
            log: committer.log().clone(),
            random: committer.random().clone(),
            committer,
            state: RwLock::new(state),
            observer: RwLock::default(),
            lanes: Mutex::default(),
            birth,
            keyrings: Mutex::new(keyrings),
            read_to: Mutex::new(ReadTo::at(committer_start)),
            replica: ReplicaCell::new(),
            erasing: Mutex::default(),
            rest_removed: AtomicBool::new(false),
            watched,
            overlaid: AtomicBool::new(false),
        })
    }

    /// A chain named `name` with `identity` as its root. Nothing is written before the first commit.
    ///
    /// # Errors
    /// [`SealError::Limit`] for a name that is too long.
    pub fn create(
        committer: &Arc<Committer>,
        name: &str,
        identity: &Identity,
    ) -> Result<Arc<Self>, SealError> {
        Self::create_ordered_by(committer, name, identity, None)
    }

    /// As [`Local::create`], for a chain that will be ordered by somebody else, who signs its checkpoints too: `sequencer` is its note key
    /// ([`ate_crypto::NoteKeys::public_bytes`]).
    ///
    /// # Errors
    /// As [`Local::create`]; [`SealError::Limit`] for a key of another length.
    pub fn create_ordered_by(
        committer: &Arc<Committer>,
        name: &str,
        identity: &Identity,
        sequencer: Option<&[u8]>,
    ) -> Result<Arc<Self>, SealError> {
        let birth = Birth::plan(
            name,
            identity,
            sequencer,
            committer.store(),
            committer.common(),
            &**committer.random(),
            committer.now_ms(),
        )?;
        Ok(Self::assemble(
            committer.clone(),
            State::new(birth.chain),
            Some(birth),
        ))
    }

    /// Names who learns of confirmed commits from now on, in the place of whoever was named before.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        *self.observer.write() = Some(observer);
    }

    /// The chain's id.
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// The committer that writes this chain.
    pub fn committer(&self) -> &Arc<Committer> {
        &self.committer
    }

    /// Bytes of the chain's own frames that a load would replay: all since the last state at rest that was kept.
    pub fn replay_bytes(&self) -> u64 {
        self.read_to.lock().fresh_bytes
    }

    /// Notes that a state at rest was kept, and which bytes need no replay since: those that [`Local::replay_bytes`] gave *before* [`Local::at_rest`].
    pub fn rested(&self, bytes: u64) {
        let mut read_to = self.read_to.lock();
        read_to.fresh_bytes = read_to.fresh_bytes.saturating_sub(bytes);
    }

    /// The chain as a list of chains shows it; `None` for one that was not born here and of which no commit has come.
    pub(crate) fn entry(&self) -> Option<DirectoryEntry> {
        match &self.birth {
            Some(birth) => Some(birth.entry()),
            None => self.with_state(|state| self.entry_in(state)),
        }
    }

    pub(crate) fn entry_in(&self, state: &State) -> Option<DirectoryEntry> {
        let genesis = state.genesis.as_ref()?;
        Some(DirectoryEntry {
            chain: self.chain,
            name: genesis.name.clone(),
            root: genesis.root.id(),
        })
    }

    /// Whether the chain stands in the log: its first commit has been confirmed.
    pub fn is_born(&self) -> bool {
        self.state.read().confirmed() > 0
    }

    /// Confirmed commits.
    pub fn position(&self) -> Position {
        Position(self.state.read().confirmed())
    }

    /// Where the frame of the last confirmed commit starts in the log.
    pub fn tip(&self) -> Option<Location> {
        let state = self.state.read();
        let last = state.commits.last()?;
        Some(Location {
            file: last.file,
            offset: last.frame,
        })
    }

    /// Where the chain stood at a time of its sequencer, in ms since 1970: after the last commit of that time or before. O(log n).
    pub fn position_at(&self, order_time_ms: u64) -> Position {
        let state = self.state.read();
        let commits = &state.commits;
        Position(commits.partition_point(|row| row.order_time_ms <= order_time_ms) as u64)
    }

    /// The sequencer's time of the last of the first `size` commits, in ms since 1970; 0 if there is none.
    pub fn order_time_of(&self, size: u64) -> u64 {
        let state = self.state.read();
        let last = size
            .checked_sub(1)
            .and_then(|last| state.commits.get(last as usize));
        last.map_or(0, |row| row.order_time_ms)
    }

    /// Merkle root at a position; `None` beyond the end.
    pub fn root_at(&self, position: Position) -> Option<Hash> {
        let state = self.state.read();
        (position.0 <= state.confirmed()).then(|| state.root_at(position.0))
    }

    /// What the chain was founded on; `None` before the first commit.
    pub fn genesis(&self) -> Option<Arc<Genesis>> {
        let state = self.state.read();
        (state.confirmed() > 0)
            .then(|| state.genesis.clone())
            .flatten()
    }

    /// Live records, the root record not counted.
    pub fn record_count(&self) -> u64 {
        self.state.read().live.saturating_sub(1)
    }

    /// Bytes of memory held by rows and tree, without the view's share.
    pub fn memory_bytes(&self) -> usize {
        const LEAF_AND_NODES_BYTES: usize = 64;
        let state = self.state.read();
        state.table.memory_bytes()
            + state.commits.len() * (size_of::<crate::state::CommitRow>() + LEAF_AND_NODES_BYTES)
    }

    /// The author that `identity` is in this chain.
    pub fn author(self: &Arc<Self>, identity: &Identity) -> Author {
        let keyring = self
            .keyrings
            .lock()
            .entry(identity.id())
            .or_insert_with(|| {
                let seal_keys = &self.committer.common().seal_keys;
                Arc::new(Keyring::new(identity.clone(), seal_keys))
            })
            .clone();
        Author {
            local: self.clone(),
            keyring,
            random: self.random.clone(),
        }
    }

    /// What an identity that has acted here holds.
    pub(crate) fn keyring(&self, author: &KeyId) -> Option<Arc<Keyring>> {
        self.keyrings.lock().get(author).cloned()
    }

    pub(crate) fn random_below(&self, end: u64) -> u64 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        u64::from_le_bytes(bytes) % end
    }

    /// Hands over commits that somebody else has signed; one answer for each, in order, and one that is refused does not stop those behind it.
    ///
    /// Cheap refusals come first: the author must be known to the chain, or be the root that the batch founds the chain on; commits that were sent again,
    /// epochs that are over and states that never were are answered from the state; only then the signature is verified, on the calling thread and without a lock. A commit that was
    /// sent before is answered with the place that it has.
    pub fn submit_signed(
        self: &Arc<Self>,
        batch: Batch,
    ) -> Vec<Pending<Result<Committed, SubmitError>>> {
        let author = batch.author();
        if self.is_replica() {
            let why = "this store follows another, which decides the order".to_owned();
            let refusals = std::iter::repeat_n(Reject::Elsewhere { why }, batch.ids().len());
            return refusals
                .map(|refusal| Pending::ready(Err(refusal.into())))
                .collect();
        }
        let (known, dismissed) = self.with_state(|state| {
            let known = state.keys.get(&author).cloned();
            let dismissed = known.as_ref().and_then(|_| dismissed(state, &batch));
            (known, dismissed)
        });
        if let Some(answers) = dismissed {
            return answers.into_iter().map(Pending::ready).collect();
        }
        let founder = batch.genesis().map(|genesis| genesis.root.clone());
        let refusal = match known.or(founder) {
            None => Reject::UnknownAuthor { author },
            Some(who) if batch.is_signed_by(&who) => {
                return self.committer.submit_signed(self.clone(), batch);
            }
            Some(_) => Reject::Invalid {
                why: "the signature does not hold",
            },
        };
        let refusals = std::iter::repeat_n(refusal, batch.ids().len());
        refusals
            .map(|refusal| Pending::ready(Err(refusal.into())))
            .collect()
    }

    /// Hands a commit over for ordering. It is in the order, or refused, when the answer comes; dropping the answer takes nothing back.
    pub fn submit(self: &Arc<Self>, sealed: Sealed) -> Pending<Result<Committed, SubmitError>> {
        match self.replica.get() {
            Some(replica) => self.send_up(replica, sealed, None, None),
            None => self.committer.submit(self.clone(), sealed),
        }
    }

    /// Seals and submits a draft.
    ///
    /// # Errors
    /// [`SealError`] if it cannot be sealed; what becomes of it after that is in the answer.
    pub fn commit(
        self: &Arc<Self>,
        draft: Draft,
    ) -> Result<Pending<Result<Committed, SubmitError>>, SealError> {
        let now_ms = self.committer.now_ms();
        Ok(self.submit(draft.seal(now_ms)?))
    }

    /// A record as it stands, tombstones included.
    pub fn record(&self, key: &RecordKey) -> Option<RecordInfo> {
        if self.is_overlaid()
            && let Some(staged) = self.staged_record(key)
        {
            return Some(staged);
        }
        self.confirmed_record(key)
    }

    /// A record as it is confirmed, tombstones included.
    pub fn confirmed_record(&self, key: &RecordKey) -> Option<RecordInfo> {
        let state = self.state.read();
        let slot = state.table.slot(key)?;
        Some(info(&state, slot))
    }

    /// The record of a row.
    ///
    /// # Panics
    /// If there is no such row: slots come from this chain and are never taken back.
    pub fn record_at(&self, slot: Slot) -> RecordInfo {
        let state = self.state.read();
        if self.is_overlaid()
            && let Some(staged) = staged_info(&state, &state.table.row(slot).key)
        {
            return staged;
        }
        info(&state, slot)
    }

    /// All rows as changes, in order of creation. No commit is confirmed meanwhile.
    pub fn visit_rows(&self, mut visit: impl FnMut(&RowChange)) {
        let state = self.state.read();
        for slot in 0..state.table.len() as Slot {
            visit(&RowChange::of(&state, slot, RecordKey::ROOT));
        }
    }

    /// Scope of a record's content and of what inherits from it, pending changes included.
    pub fn scope_of(&self, key: &RecordKey) -> Option<RecordKey> {
        if self.birth.is_some() && *key == RecordKey::ROOT {
            return Some(RecordKey::ROOT);
        }
        self.with_state(|state| scope_from(state, *key, |_| None))
    }

    /// As [`Local::scope_of`], where `placed` knows the scopes of records that a draft changes.
    pub(crate) fn scope_through(
        &self,
        key: &RecordKey,
        placed: impl Fn(&RecordKey) -> Option<RecordKey>,
    ) -> Option<RecordKey> {
        if let Some(scope) = placed(key) {
            return Some(scope);
        }
        if self.birth.is_some() && *key == RecordKey::ROOT {
            return Some(RecordKey::ROOT);
        }
        self.with_state(|state| scope_from(state, *key, placed))
    }

    /// The record above, pending changes included.
    pub(crate) fn parent_of(&self, key: &RecordKey) -> Option<RecordKey> {
        self.with_state(|state| Some(state.find(key)?.parent(state)))
    }

    /// Scope of the record above.
    pub fn scope_above(&self, key: &RecordKey) -> Option<RecordKey> {
        self.with_state(|state| scope_from(state, state.find(key)?.parent(state), |_| None))
    }

    /// The record's own write policy, if it has one.
    pub fn write_policy(&self, key: &RecordKey) -> Option<WritePolicy> {
        self.with_state(|state| state.find(key)?.write(state).cloned())
    }

    /// Whether `schema` exists in `scope`.
    pub fn defines(&self, scope: &RecordKey, schema: &SchemaTag) -> bool {
        self.with_state(|state| {
            state
                .scopes
                .get(scope)
                .is_some_and(|scope| scope.defines(schema))
        })
    }

    /// Whether the chain knows this public key.
    pub fn knows(&self, key: &KeyId) -> bool {
        self.with_state(|state| state.keys.get(key).is_some())
    }

    /// The public identity behind a key id, if the chain knows it.
    pub fn who(&self, key: &KeyId) -> Option<ate_crypto::Who> {
        self.with_state(|state| state.keys.confirmed(key).cloned())
    }

    pub(crate) fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read())
    }

    pub(crate) fn own_lane(&self, author: &KeyId) -> OwnLane {
        let fresh = || OwnLane {
            id: lane_of(self.committer.store(), author),
            link: Hash::ZERO,
        };
        *self.lanes.lock().entry(*author).or_insert_with(fresh)
    }

    pub(crate) fn set_link(&self, author: &KeyId, link: Hash) {
        if let Some(lane) = self.lanes.lock().get_mut(author) {
            lane.link = link;
        }
    }
}

fn info(state: &State, slot: Slot) -> RecordInfo {
    let row = state.table.row(slot);
    RecordInfo {
        key: row.key,
        slot,
        version: Version {
            seq: row.seq.into(),
            event: row.event.into(),
        },
        live: row.is(flag::LIVE),
        erased: state.gone.erased_before(row, slot) == Some(row.seq.into()),
        schema: *state.schemas.value(row.schema),
        parent: state.parent_of(row),
        scope_head: row.is(flag::SCOPE),
        sealed: *state.seals.value(row.sealed),
    }
}

fn scope_from(
    state: &State,
    mut at: RecordKey,
    placed: impl Fn(&RecordKey) -> Option<RecordKey>,
) -> Option<RecordKey> {
    loop {
        if let Some(scope) = placed(&at) {
            return Some(scope);
        }
        let found: Found<'_> = state.find(&at)?;
        if found.is(flag::SCOPE) {
            return Some(at);
        }
        at = found.parent(state);
    }
}

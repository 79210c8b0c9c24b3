//! The state of one chain: what is confirmed, and what is proposed on top of it.
//!
//! `propose` judges a commit against everything before it, pending or not, and stacks its effects; `confirm_to` makes effects visible to readers;
//! `rollback_to` takes pending ones back. Leaders that run ahead of their disk, and later replicas that lose uncommitted entries, are this one mechanism.

use std::collections::VecDeque;
use std::sync::Arc;

use ate_crypto::merkle::Tree;
use ate_crypto::{Hash, KeyId, Salt, Who};
use ate_log::Placed;

use crate::bodies::CRC_BYTES;
use crate::commit::{Commit, Contents, Verified};
use crate::committer::Committed;
use crate::common::Common;
use crate::erasure::Gone;
use crate::error::Reject;
use crate::event::Genesis;
use crate::head::{Seen, chain_leaf};
use crate::ids::{ChainId, CollectionTag, Epoch, LaneId, Position, RecordKey, SchemaTag, Version};
use crate::intern::Interner;
use crate::layered::Layered;
use crate::policy::WritePolicy;
use crate::rules::{self, Effects, PendingRow};
use crate::scope::Scope;
use crate::seal::Placing;
use crate::table::{KeyMap, Row, Slot, Table, flag};

/// Most lanes of one author; the least recently used is dropped.
pub const LANES_MAX: usize = 256;

/// What is kept of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CommitRow {
    pub(crate) salt: Salt,
    pub(crate) order_time_ms: u64,
    pub(crate) number: u64,
    pub(crate) author: u32,
    pub(crate) lane: u32,
    /// Segment file of the frame.
    pub(crate) file: u32,
    /// Offset of the frame.
    pub(crate) frame: u32,
    /// Offset of frame part 0.
    pub(crate) heads: u32,
    /// Bytes of frame part 0, and [`APART`].
    pub(crate) heads_and_kind: u32,
}

/// The frame holds no contents: they stand apart, as far as they are here at all. A frame is far smaller than this.
const APART: u32 = 1 << 31;

impl CommitRow {
    /// Bytes of frame part 0.
    pub(crate) fn heads_bytes(&self) -> u32 {
        self.heads_and_kind & !APART
    }

    /// Where the contents are.
    pub(crate) fn contents(&self) -> Contents {
        if self.heads_and_kind & APART == 0 {
            Contents::InFrame
        } else {
            Contents::Apart
        }
    }
}

/// One lane's memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lane {
    /// Last number used.
    pub(crate) last: u64,
    /// Commit that used it.
    pub(crate) seq: u64,
    /// What it had seen.
    pub(crate) seen: Seen,
}

/// The lanes of one author.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LaneBook {
    pub(crate) lanes: Vec<LaneId>,
    /// Position at which a lane was last dropped: a new lane must have seen it.
    pub(crate) dropped_at: u64,
}

/// A commit that is ordered but not confirmed.
pub(crate) struct PendingCommit {
    pub(crate) row: CommitRow,
    pub(crate) author: KeyId,
    pub(crate) lane: LaneId,
    pub(crate) rows: Vec<(RecordKey, PendingRow)>,
    pub(crate) horizon: Option<Position>,
    /// It waits to be ordered elsewhere, and its own store shows it meanwhile.
    pub(crate) staged: Option<Arc<Placing>>,
}

/// Where a commit stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum At {
    /// In the order for good.
    Confirmed { seq: u64, order_time_ms: u64 },
    /// In the order, but not durable yet.
    Pending,
}

/// A record as found: confirmed, or in a pending commit.
#[derive(Clone, Copy)]
pub(crate) enum Found<'a> {
    Confirmed(&'a Row),
    Pending(&'a PendingCommit, u64, &'a PendingRow),
}

/// The state machine of one chain.
pub(crate) struct State {
    pub(crate) chain: ChainId,
    pub(crate) genesis: Option<Arc<Genesis>>,
    pub(crate) table: Table,
    pub(crate) commits: Vec<CommitRow>,
    /// Leaves of all commits, pending ones included.
    pub(crate) tree: Tree,
    pub(crate) pending: VecDeque<PendingCommit>,
    /// Newest pending row of a record: commit and index within it.
    pending_rows: KeyMap<(u64, u32)>,
    pub(crate) collections: Interner<CollectionTag>,
    pub(crate) schemas: Interner<SchemaTag>,
    pub(crate) policies: Interner<WritePolicy>,
    pub(crate) seals: Interner<(RecordKey, Epoch)>,
    pub(crate) authors: Interner<KeyId>,
    pub(crate) lane_ids: Interner<LaneId>,
    pub(crate) keys: Layered<KeyId, Who>,
    pub(crate) scopes: Layered<RecordKey, Arc<Scope>>,
    pub(crate) lanes: Layered<(KeyId, LaneId), Lane>,
    pub(crate) lane_books: Layered<KeyId, Arc<LaneBook>>,
    pub(crate) live: u64,
    /// Bodies that need not be there any more.
    pub(crate) gone: Gone,
    /// The parent looked up last. Rows never move.
    last_parent: (RecordKey, Slot),
}

/// A commit's place in the order, before it is durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordered {
    pub(crate) seq: u64,
    /// Whether a write policy of an existing record changed: proofs before it must be verified on their own.
    pub(crate) authority_changed: bool,
}

impl State {
    pub(crate) fn new(chain: ChainId) -> Self {
        Self {
            chain,
            genesis: None,
            table: Table::new(),
            commits: Vec::new(),
            tree: Tree::default(),
            pending: VecDeque::new(),
            pending_rows: KeyMap::default(),
            collections: Interner::starting_with(CollectionTag::default()),
            schemas: Interner::starting_with(SchemaTag::default()),
            policies: Interner::starting_with(WritePolicy::Inherit),
            seals: Interner::starting_with((RecordKey::ROOT, 0)),
            authors: Interner::starting_with(KeyId([0; 32])),
            lane_ids: Interner::starting_with(LaneId::default()),
            keys: Layered::default(),
            scopes: Layered::default(),
            lanes: Layered::default(),
            lane_books: Layered::default(),
            live: 0,
            gone: Gone::default(),
            last_parent: (RecordKey::ROOT, 0),
        }
    }

    /// Number of confirmed commits.
    pub(crate) fn confirmed(&self) -> u64 {
        self.commits.len() as u64
    }

    /// Number of the next commit to be ordered.
    pub(crate) fn next_seq(&self) -> u64 {
        self.confirmed() + self.pending.len() as u64
    }

    /// What a new commit should say it has seen.
    pub(crate) fn seen(&self) -> Seen {
        let size = self.confirmed();
        Seen {
            size,
            root: self.root_at(size),
        }
    }

    /// Merkle root after `size` commits.
    pub(crate) fn root_at(&self, size: u64) -> Hash {
        self.tree.root_at(size).unwrap_or(Hash::ZERO)
    }

    /// Order time of the newest commit, pending ones included.
    pub(crate) fn last_order_time_ms(&self) -> u64 {
        self.pending
            .back()
            .map(|pending| pending.row.order_time_ms)
            .or_else(|| self.commits.last().map(|row| row.order_time_ms))
            .unwrap_or(0)
    }

    /// The horizon with all pending changes applied.
    pub(crate) fn next_horizon(&self) -> Position {
        self.pending
            .iter()
            .rev()
            .find_map(|commit| commit.horizon)
            .unwrap_or(self.gone.horizon)
    }

    /// The record with all pending changes applied.
    pub(crate) fn find(&self, key: &RecordKey) -> Option<Found<'_>> {
        if !self.pending_rows.is_empty()
            && let Some(&(seq, index)) = self.pending_rows.get(key)
        {
            let commit = &self.pending[(seq - self.confirmed()) as usize];
            return Some(Found::Pending(commit, seq, &commit.rows[index as usize].1));
        }
        self.table
            .slot(key)
            .map(|slot| Found::Confirmed(self.table.row(slot)))
    }

    /// Judges a commit as number `next_seq()` and stacks its effects.
    ///
    /// # Errors
    /// The rule broken; the state is unchanged.
    pub(crate) fn propose(&mut self, commit: &Commit<Verified>) -> Result<Ordered, Reject> {
        let seq = self.next_seq();
        if commit.order_time_ms < self.last_order_time_ms() {
            return Err(Reject::Invalid {
                why: "order time goes back",
            });
        }
        let effects = rules::check(self, commit, seq)?;
        let authority_changed = effects.authority_changed;
        self.stack(commit, seq, effects);
        Ok(Ordered {
            seq,
            authority_changed,
        })
    }

    /// Judges a staged commit as if it were ordered at that time, and shows it to readers of its own store from then on.
    ///
    /// # Errors
    /// As [`State::propose`].
    pub(crate) fn propose_at(
        &mut self,
        placing: &Arc<Placing>,
        order_time_ms: u64,
    ) -> Result<(), Reject> {
        let seq = self.next_seq();
        let effects = rules::check(self, &placing.commit, seq)?;
        self.stack(&placing.commit, seq, effects);
        if let Some(pending) = self.pending.back_mut() {
            pending.row.order_time_ms = order_time_ms;
            pending.staged = Some(placing.clone());
        }
        Ok(())
    }

    /// Finds a confirmed commit by its id. Linear: a hash for each commit.
    pub(crate) fn find_id(&self, id: &Hash) -> Option<Committed> {
        let commits = self.commits.iter().enumerate().rev();
        let mut commits = commits.map(|(seq, row)| (seq as u64, row));
        let (seq, row) = commits.find(|(seq, row)| {
            self.tree.leaf(*seq) == Some(chain_leaf(*seq, row.order_time_ms, id))
        })?;
        Some(Committed {
            chain: self.chain,
            seq,
            id: *id,
            order_time_ms: row.order_time_ms,
        })
    }

    fn stack(&mut self, commit: &Commit<Verified>, seq: u64, effects: Effects) {
        let head = &commit.head;
        if let Some(genesis) = effects.genesis {
            self.genesis = Some(genesis);
        }
        for (index, (key, _)) in effects.rows.iter().enumerate() {
            self.pending_rows.insert(*key, (seq, index as u32));
        }
        effects
            .keys
            .into_iter()
            .for_each(|who| self.keys.propose(seq, who.id(), who));
        effects
            .scopes
            .into_iter()
            .for_each(|(key, scope)| self.scopes.propose(seq, key, Arc::new(scope)));
        let lane = Lane {
            last: head.number,
            seq,
            seen: head.seen,
        };
        self.lanes.propose(seq, (head.author, head.lane), lane);
        if let Some(dropped) = effects.dropped_lane {
            self.lanes.propose_removal(seq, (head.author, dropped));
        }
        if let Some(book) = effects.lane_book {
            self.lane_books.propose(seq, head.author, Arc::new(book));
        }
        self.tree
            .push(chain_leaf(seq, commit.order_time_ms, &commit.id));
        let row = CommitRow {
            salt: head.salt,
            order_time_ms: commit.order_time_ms,
            number: head.number,
            author: 0,
            lane: 0,
            file: 0,
            frame: 0,
            heads: 0,
            heads_and_kind: 0,
        };
        self.pending.push_back(PendingCommit {
            row,
            author: head.author,
            lane: head.lane,
            rows: effects.rows,
            horizon: effects.horizon,
            staged: None,
        });
    }

    /// Makes the oldest pending commit confirmed: it stands in the log where `placed` says, with part 0 of `heads_bytes` and part 1 of `metas_bytes`.
    /// Calls `each` with the slot of every row it changes and the scope that a name in that event is sealed under.
    pub(crate) fn confirm_next(
        &mut self,
        placed: &Placed,
        heads_bytes: u32,
        metas_bytes: u32,
        contents: Contents,
        mut each: impl FnMut(Slot, RecordKey),
    ) {
        let seq = self.confirmed();
        let mut commit = self
            .pending
            .pop_front()
            .expect("confirmed in order of proposal");
        commit.row.author = self.authors.number(&commit.author);
        commit.row.lane = self.lane_ids.number(&commit.lane);
        commit.row.file = placed.frame.file;
        commit.row.frame = placed.frame.offset;
        commit.row.heads = placed.parts.offset;
        commit.row.heads_and_kind = match contents {
            Contents::InFrame => heads_bytes,
            Contents::Apart => heads_bytes | APART,
        };
        let contents = placed.parts.offset + heads_bytes + CRC_BYTES + metas_bytes + CRC_BYTES;
        self.commits.push(commit.row);
        for (key, pending) in commit.rows {
            if self
                .pending_rows
                .get(&key)
                .is_some_and(|(newest, _)| *newest == seq)
            {
                self.pending_rows.remove(&key);
            }
            let slot = self.write_row(key, &pending, seq, placed.parts.offset, contents);
            if pending.erases {
                self.gone.erase(slot, seq);
            }
            each(slot, pending.above);
        }
        if let Some(horizon) = commit.horizon {
            self.gone.horizon = horizon;
        }
        let next = seq + 1;
        self.keys.confirm_to(next);
        self.scopes.confirm_to(next);
        self.lanes.confirm_to(next);
        self.lane_books.confirm_to(next);
    }

    fn write_row(
        &mut self,
        key: RecordKey,
        pending: &PendingRow,
        seq: u64,
        heads: u32,
        contents: u32,
    ) -> Slot {
        let known = self.table.slot(&key);
        let was_live = known.is_some_and(|slot| self.table.row(slot).is(flag::LIVE));
        let is_live = pending.flags & flag::LIVE != 0;
        self.live = self.live + u64::from(is_live && !was_live) - u64::from(was_live && !is_live);
        let mut row = Row {
            key,
            event_hash: pending.event_hash,
            parent: 0,
            collection: self.collections.number(&pending.collection),
            schema: self.schemas.number(&pending.schema),
            write: pending
                .write
                .as_deref()
                .map_or(0, |policy| self.policies.number(policy)),
            sealed: self.seals.number(&pending.sealed),
            seq: u32::try_from(seq).expect("a chain holds fewer than 2^32 commits"),
            event: pending.event as u16,
            flags: pending.flags,
            head_offset: heads + pending.head_start,
            head_bytes: u16::try_from(pending.head_bytes).expect(
                "every field of a record's event head is capped, a genesis takes 40 kB at most",
            ),
            depth: pending.depth,
            content_offset: contents + pending.content_start,
            content_bytes: pending.content_bytes,
        };
        match known {
            Some(slot) => {
                row.parent = self.table.row(slot).parent;
                *self.table.row_mut(slot) = row;
                slot
            }
            None => {
                // Siblings come in runs, and the root record is in row 0, its own parent.
                if self.last_parent.0 != pending.parent {
                    let slot = self.table.slot(&pending.parent);
                    self.last_parent = (pending.parent, slot.expect("parents precede children"));
                }
                row.parent = self.last_parent.1;
                self.table.push(row)
            }
        }
    }

    /// As [`State::find_commit`], among the newest `look_back` confirmed commits alone.
    pub(crate) fn find_recent(
        &self,
        author: &KeyId,
        lane: &LaneId,
        number: u64,
        id: &Hash,
        look_back: usize,
    ) -> Option<At> {
        let is_leaf = |seq: u64, row: &CommitRow| {
            self.tree.leaf(seq) == Some(chain_leaf(seq, row.order_time_ms, id))
        };
        let mut pending = (self.confirmed()..).zip(&self.pending);
        if pending.any(|(seq, commit)| {
            commit.row.number == number && commit.lane == *lane && is_leaf(seq, &commit.row)
        }) {
            return Some(At::Pending);
        }
        let newest = self.commits.iter().enumerate().rev().take(look_back);
        let mut same = newest
            .map(|(seq, row)| (seq as u64, row))
            .filter(|(_, row)| {
                row.number == number
                    && self.lane_ids.value(row.lane) == lane
                    && self.authors.value(row.author) == author
            });
        let (seq, row) = same.find(|(seq, row)| is_leaf(*seq, row))?;
        let order_time_ms = row.order_time_ms;
        Some(At::Confirmed { seq, order_time_ms })
    }

    /// Where a commit stands, found by its number in its author's lane. Linear in the commits behind it.
    pub(crate) fn find_commit(
        &self,
        author: &KeyId,
        lane: &LaneId,
        number: u64,
        id: &Hash,
    ) -> Option<At> {
        let is_leaf = |seq: u64, row: &CommitRow| {
            self.tree.leaf(seq) == Some(chain_leaf(seq, row.order_time_ms, id))
        };
        let pending = (self.confirmed()..).zip(&self.pending);
        if pending
            .filter(|(_, commit)| commit.row.number == number && commit.lane == *lane)
            .any(|(seq, commit)| is_leaf(seq, &commit.row))
        {
            return Some(At::Pending);
        }
        let commits = self.commits.iter().enumerate().rev();
        let mut same = commits
            .map(|(seq, row)| (seq as u64, row))
            .filter(|(_, row)| {
                row.number == number
                    && self.lane_ids.value(row.lane) == lane
                    && self.authors.value(row.author) == author
            });
        let (seq, row) = same.find(|(seq, row)| is_leaf(*seq, row))?;
        Some(At::Confirmed {
            seq,
            order_time_ms: row.order_time_ms,
        })
    }

    /// Drops every pending commit from number `seq` on.
    pub(crate) fn rollback_to(&mut self, seq: u64) {
        let keep = seq.saturating_sub(self.confirmed()) as usize;
        self.pending.truncate(keep);
        self.pending_rows.clear();
        for (at, commit) in (self.confirmed()..).zip(&self.pending) {
            for (index, (key, _)) in commit.rows.iter().enumerate() {
                self.pending_rows.insert(*key, (at, index as u32));
            }
        }
        self.keys.rollback_to(seq);
        self.scopes.rollback_to(seq);
        self.lanes.rollback_to(seq);
        self.lane_books.rollback_to(seq);
        self.tree.truncate(seq);
        if seq == 0 {
            self.genesis = None;
        }
    }

    /// Takes up no more memory than it needs: public keys are shared with other chains, and what a replay left empty is given back. A small chain takes half
    /// of the memory then.
    pub(crate) fn shrink(&mut self, common: &Common) {
        self.keys.renew(|who| common.who(who));
        self.genesis = self
            .genesis
            .take()
            .map(|genesis| Arc::new(common.genesis(&genesis)));
        self.keys.shrink();
        self.scopes.shrink();
        self.lanes.shrink();
        self.lane_books.shrink();
        if self.pending.is_empty() {
            self.pending = VecDeque::new();
            self.pending_rows = KeyMap::default();
        }
    }

    /// Key of the record above; the root record is above itself.
    pub(crate) fn parent_of(&self, row: &Row) -> RecordKey {
        self.table.row(row.parent).key
    }
}

impl<'a> Found<'a> {
    pub(crate) fn flags(&self) -> u16 {
        match self {
            Self::Confirmed(row) => row.flags,
            Self::Pending(_, _, row) => row.flags,
        }
    }

    pub(crate) fn is(&self, flag: u16) -> bool {
        self.flags() & flag != 0
    }

    pub(crate) fn depth(&self) -> u16 {
        match self {
            Self::Confirmed(row) => row.depth,
            Self::Pending(_, _, row) => row.depth,
        }
    }

    pub(crate) fn version(&self) -> Version {
        match self {
            Self::Confirmed(row) => Version {
                seq: row.seq.into(),
                event: row.event.into(),
            },
            Self::Pending(_, seq, row) => Version {
                seq: *seq,
                event: row.event,
            },
        }
    }

    pub(crate) fn parent(&self, state: &State) -> RecordKey {
        match self {
            Self::Confirmed(row) => state.parent_of(row),
            Self::Pending(_, _, row) => row.parent,
        }
    }

    pub(crate) fn collection(&self, state: &State) -> CollectionTag {
        match self {
            Self::Confirmed(row) => *state.collections.value(row.collection),
            Self::Pending(_, _, row) => row.collection,
        }
    }

    pub(crate) fn sealed(&self, state: &State) -> (RecordKey, Epoch) {
        match self {
            Self::Confirmed(row) => *state.seals.value(row.sealed),
            Self::Pending(_, _, row) => row.sealed,
        }
    }

    pub(crate) fn schema(&self, state: &State) -> SchemaTag {
        match self {
            Self::Confirmed(row) => *state.schemas.value(row.schema),
            Self::Pending(_, _, row) => row.schema,
        }
    }

    /// The record's own write policy, if it has one.
    pub(crate) fn write(&self, state: &'a State) -> Option<&'a WritePolicy> {
        match self {
            Self::Confirmed(row) => (row.write != 0).then(|| state.policies.value(row.write)),
            Self::Pending(_, _, row) => row.write.as_deref(),
        }
    }

    /// Whether the newest event came from commit `number` of `lane` under `author`.
    pub(crate) fn came_from(
        &self,
        state: &State,
        author: &KeyId,
        lane: &LaneId,
        number: u64,
    ) -> bool {
        match self {
            Self::Confirmed(row) => {
                let commit = &state.commits[row.seq as usize];
                commit.number == number
                    && state.lane_ids.value(commit.lane) == lane
                    && state.authors.value(commit.author) == author
            }
            Self::Pending(commit, ..) => {
                commit.row.number == number && commit.lane == *lane && commit.author == *author
            }
        }
    }
}

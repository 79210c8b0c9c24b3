//! Commits on their way to whoever decides the order: placed in the own lane, signed, staged in the log, sent, and settled.
//!
//! A commit ends as *landed* (it is in the order, and the replica has seen it there), *refused*, or stays staged: then it is sent again with the next connection.
//! Its lane number makes that safe: a number is used once, so a commit lands once or never.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use ate_crypto::{Hash, KeyId, Purpose, Suite};
use ate_log::{AppendError, FrameKind};

use crate::batch::Batch;
use crate::committer::Committed;
use crate::error::{Reject, SubmitError};
use crate::genesis::unseen;
use crate::head::Seen;
use crate::ids::{ChainId, Position};
use crate::local::Local;
use crate::pending::{Pending, Source};
use crate::proof::{BATCH_COMMITS_MAX, Proof, batch_leaf, commits_root};
use crate::replica::{Replica, Settled};
use crate::seal::{Placing, Sealed};
use crate::slot::Slot;
use crate::state::{At, State};

/// Refusals remembered for whoever asks later.
const REFUSED_MAX: usize = 1024;

type Outcome = Result<Committed, SubmitError>;

/// A signed batch that is not settled as a whole.
struct Staged {
    /// Counts the batches of this opening.
    ticket: u64,
    batch: Arc<Batch>,
    /// What is known of each of its commits.
    commits: Vec<StagedCommit>,
    is_durable: bool,
}

struct StagedCommit {
    slot: Option<Arc<Slot>>,
    fate: Fate,
}

#[derive(Clone)]
enum Fate {
    Open,
    /// The sequencer says so; the replica has not seen it there yet.
    Landed(u64),
    /// Refused by a state of this many commits, which the replica has not reached yet.
    Refused(Reject, u64),
    Settled,
}

/// What the sequencer says of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Answered {
    /// It has this place in the order.
    Landed {
        /// Leaf number.
        seq: u64,
    },
    /// The rules refuse it, in the state of a position.
    Refused {
        /// The rule broken.
        reason: Reject,
        /// Commits that the sequencer had then.
        at: Position,
    },
}

/// A commit that is not settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StagedInfo {
    /// Commit id.
    pub id: Hash,
    /// Who signed it.
    pub author: KeyId,
    /// Its number in the author's lane.
    pub number: u64,
    /// The author's clock when it was sealed, in ms since 1970.
    pub author_time_ms: u64,
    /// Events in it.
    pub events: u32,
    /// Whether it is on stable storage here.
    pub is_durable: bool,
}

/// What is known of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CommitOutcome {
    /// It is in the order.
    Committed(Committed),
    /// It waits to be ordered.
    Staged,
    /// It was refused and never will be in the order under that id.
    Refused {
        /// The sequencer's reason.
        reason: String,
    },
    /// Nothing is known of it here. If it was staged here, and lost before it was durable, it may still come.
    Unknown,
}

#[derive(Default)]
pub(crate) struct Outbox {
    queue: VecDeque<(Sealed, Arc<Slot>)>,
    /// Some thread places what is queued.
    writing: bool,
    staged: VecDeque<Staged>,
    tickets: u64,
    refused: VecDeque<Settled>,
    /// The last number used in the own lanes, by author.
    last: BTreeMap<KeyId, u64>,
}

impl Outbox {
    /// A batch that was staged before the store was opened.
    pub(crate) fn restore(&mut self, batch: Batch) {
        let is_same = |staged: &Staged| staged.batch.ids() == batch.ids();
        if self.staged.iter().any(is_same) {
            return;
        }
        self.use_numbers(&batch);
        let ticket = self.next_ticket();
        let commits = batch.ids().iter().map(|_| StagedCommit {
            slot: None,
            fate: Fate::Open,
        });
        self.staged.push_back(Staged {
            ticket,
            commits: commits.collect(),
            batch: Arc::new(batch),
            is_durable: true,
        });
    }

    /// What became of a commit that was staged.
    pub(crate) fn note(&mut self, settled: Settled) {
        for staged in &mut self.staged {
            let ids = staged.batch.ids().iter();
            for (_, commit) in ids
                .zip(&mut staged.commits)
                .filter(|(id, _)| **id == settled.id)
            {
                commit.fate = Fate::Settled;
            }
        }
        self.staged.retain(|staged| !staged.is_settled());
        self.remember(settled);
    }

    fn remember(&mut self, settled: Settled) {
        if settled.refused.is_some() {
            self.refused.push_back(settled);
            if self.refused.len() > REFUSED_MAX {
                self.refused.pop_front();
            }
        }
    }

    fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn use_numbers(&mut self, batch: &Batch) {
        if let Some(number) = batch.numbers().last() {
            let last = self.last.entry(batch.author()).or_default();
            *last = number.max(*last);
        }
    }
}

impl Staged {
    fn is_settled(&self) -> bool {
        let mut commits = self.commits.iter();
        commits.all(|commit| matches!(commit.fate, Fate::Settled))
    }
}

impl Local {
    /// Queues a commit for the way upstream, and places and signs what is queued unless another thread does.
    pub(crate) fn send_up(self: &Arc<Self>, replica: &Replica, sealed: Sealed) -> Pending<Outcome> {
        if sealed.chain != self.chain() {
            return Pending::ready(Err(SubmitError::Rejected(Reject::Invalid {
                why: "the commit is sealed for another chain",
            })));
        }
        if !self.log.writable() {
            return Pending::ready(Err(SubmitError::ReadOnly));
        }
        let slot = Arc::new(Slot::default());
        let mut outbox = replica.outbox.lock();
        outbox.queue.push_back((sealed, slot.clone()));
        let leads = !std::mem::replace(&mut outbox.writing, true);
        drop(outbox);
        if leads {
            self.place_queued(replica);
        }
        Pending::new(Waiting(slot))
    }

    /// Places and signs until the queue is empty. Commits that arrive meanwhile share the next signature.
    fn place_queued(self: &Arc<Self>, replica: &Replica) {
        loop {
            let queued = {
                let mut outbox = replica.outbox.lock();
                let count = outbox.queue.len().min(BATCH_COMMITS_MAX / 2);
                if count == 0 {
                    outbox.writing = false;
                    break;
                }
                outbox.queue.drain(..count).collect::<Vec<_>>()
            };
            // One author after the other, in the order in which they came.
            let mut rest = VecDeque::from(queued);
            while let Some((first, _)) = rest.front() {
                let author = first.identity().id();
                let of_author = rest
                    .iter()
                    .take_while(|(sealed, _)| sealed.identity().id() == author)
                    .count();
                let run = rest.drain(..of_author).collect();
                self.place_run(replica, run);
            }
        }
        replica.upstream.wake();
    }

    /// Places, judges and signs commits of one author; those that the own state refuses already are answered.
    fn place_run(self: &Arc<Self>, replica: &Replica, run: Vec<(Sealed, Arc<Slot>)>) {
        let Some((first, _)) = run.first() else {
            return;
        };
        let keyring = first.keyring.clone();
        let author = keyring.identity.id();
        let lane = self.own_lane(&author);
        let now_ms = self.committer().now_ms();
        let mut refused = Vec::new();
        let (mut placings, mut commits) = (Vec::new(), Vec::new());
        {
            let mut state = self.state.write();
            let known = state
                .lanes
                .get(&(author, lane.id))
                .map_or(0, |lane| lane.last);
            let used = replica.outbox.lock().last.get(&author).copied();
            let mut last = known.max(used.unwrap_or(0));
            let order_time_ms = now_ms.max(state.last_order_time_ms());
            let seen = state.seen();
            if let Some(genesis) = self.genesis_for(&mut state, &author, order_time_ms) {
                last = 1;
                placings.push(genesis);
                commits.push(StagedCommit {
                    slot: None,
                    fate: Fate::Open,
                });
            }
            for (mut sealed, slot) in run {
                let made = std::mem::take(&mut sealed.made);
                let placing = sealed.place(
                    &self.chain(),
                    lane.id,
                    last + 1,
                    seen_by(&state, seen),
                    order_time_ms,
                );
                if let Err(reject) = state.propose(&placing.commit) {
                    refused.push((slot, reject));
                    continue;
                }
                last += 1;
                made.into_iter().for_each(|(scope, keys)| {
                    keyring.insert(scope, keys.epoch, keys.read, keys.name);
                });
                placings.push(placing);
                commits.push(StagedCommit {
                    slot: Some(slot),
                    fate: Fate::Open,
                });
            }
        }
        for (slot, reject) in refused {
            slot.answer(Err(SubmitError::Rejected(reject)));
        }
        if placings.is_empty() {
            return;
        }
        placings.iter_mut().for_each(|placing| placing.order_at(0));
        let ids: Vec<Hash> = placings.iter().map(|placing| placing.commit.id).collect();
        let leaf = batch_leaf(&self.chain(), &lane.id, &lane.link, &commits_root(&ids));
        let proof = Proof {
            suite: Suite::Hybrid1,
            author,
            lane: lane.id,
            link: lane.link,
            commits: ids,
            leaf_index: 0,
            path: Vec::new(),
            signature: keyring.identity.sign(Purpose::Batch, &leaf.0),
        };
        self.set_link(&author, leaf);
        let batch = Batch::new(self.chain(), proof, placings);
        let mut outbox = replica.outbox.lock();
        outbox.use_numbers(&batch);
        let ticket = outbox.next_ticket();
        outbox.staged.push_back(Staged {
            ticket,
            batch: Arc::new(batch),
            commits,
            is_durable: false,
        });
    }

    /// The genesis of a chain that has none yet, before the first commit of its root.
    fn genesis_for(
        &self,
        state: &mut State,
        author: &KeyId,
        order_time_ms: u64,
    ) -> Option<Placing> {
        let birth = self
            .birth
            .as_ref()
            .filter(|birth| birth.keyring.identity.id() == *author)?;
        if state.next_seq() != 0 {
            return None;
        }
        let lane = self.own_lane(author);
        let placing = birth
            .sealed()
            .place(&ChainId::UNBORN, lane.id, 1, unseen(), order_time_ms);
        state
            .propose(&placing.commit)
            .expect("a planned genesis is valid");
        Some(placing)
    }

    /// Proposes what is staged behind the confirmed commits again. What does not fit any more is left out: the sequencer will say why.
    pub(crate) fn propose_staged(&self, state: &mut State) {
        let Some(replica) = self.replica.get() else {
            return;
        };
        let outbox = replica.outbox.lock();
        for staged in &outbox.staged {
            for (placing, commit) in staged.batch.commits.iter().zip(&staged.commits) {
                if matches!(commit.fate, Fate::Open | Fate::Landed(_)) {
                    let time = state.last_order_time_ms();
                    // It stands in the confirmed state already, or cannot any more.
                    drop(state.propose_at(&placing.commit, time));
                }
            }
        }
    }

    /// The batches that are not settled, behind the one of this ticket, in order. Whoever has a new connection asks from 0 on.
    pub fn unsent(&self, behind: u64) -> Vec<(u64, Arc<Batch>)> {
        let Some(replica) = self.replica.get() else {
            return Vec::new();
        };
        let outbox = replica.outbox.lock();
        let staged = outbox.staged.iter().filter(|staged| staged.ticket > behind);
        staged
            .map(|staged| (staged.ticket, staged.batch.clone()))
            .collect()
    }

    /// Makes staged commits durable here.
    ///
    /// # Errors
    /// The log's: it is poisoned, and what is staged may be lost with this process.
    pub fn sync_staged(&self) -> Result<(), AppendError> {
        let Some(replica) = self.replica.get() else {
            return Ok(());
        };
        let _staging = replica.staging.lock();
        let waiting: Vec<(u64, Arc<Batch>)> = {
            let outbox = replica.outbox.lock();
            let staged = outbox.staged.iter().filter(|staged| !staged.is_durable);
            staged
                .map(|staged| (staged.ticket, staged.batch.clone()))
                .collect()
        };
        if waiting.is_empty() {
            return Ok(());
        }
        for (_, batch) in &waiting {
            let mut bytes = Vec::new();
            batch.encode(&mut bytes);
            let number = batch.numbers().next().unwrap_or(0);
            self.append_beside(replica, FrameKind::Staged, number, 0, &[&bytes])?;
        }
        self.log.sync()?;
        let mut outbox = replica.outbox.lock();
        for staged in &mut outbox.staged {
            staged.is_durable |= waiting.iter().any(|(ticket, _)| *ticket == staged.ticket);
        }
        Ok(())
    }

    /// Notes what the sequencer says of a commit that was sent. The caller of the commit is answered when the replica has reached the state that the answer rests
    /// on: so whoever is answered sees it.
    pub fn answered(&self, id: &Hash, answer: Answered) {
        let Some(replica) = self.replica.get() else {
            return;
        };
        let fate = match answer {
            Answered::Landed { seq } => Fate::Landed(seq),
            Answered::Refused { reason, at } => Fate::Refused(reason, at.0),
        };
        {
            let mut outbox = replica.outbox.lock();
            for staged in &mut outbox.staged {
                let Some(index) = staged.batch.ids().iter().position(|other| other == id) else {
                    continue;
                };
                let commit = &mut staged.commits[index];
                if matches!(commit.fate, Fate::Open) {
                    commit.fate = fate;
                }
                break;
            }
        }
        self.settle_landed();
    }

    /// Answers the callers of commits whose outcome the confirmed state shows. To be called after frames were taken in, without a lock.
    pub fn settle_landed(&self) {
        let Some(replica) = self.replica.get() else {
            return;
        };
        let mut answers: Vec<(Option<Arc<Slot>>, Outcome, Settled, bool)> = Vec::new();
        {
            let state = self.state.read();
            let mut outbox = replica.outbox.lock();
            for staged in &mut outbox.staged {
                let (batch, is_durable) = (staged.batch.clone(), staged.is_durable);
                for (placing, commit) in batch.commits.iter().zip(&mut staged.commits) {
                    let Some(outcome) = fate_in(&state, &batch, placing, commit) else {
                        continue;
                    };
                    commit.fate = Fate::Settled;
                    let settled = Settled {
                        id: placing.commit.id,
                        refused: match &outcome {
                            Err(SubmitError::Rejected(reason)) => Some(reason.to_string()),
                            _ => None,
                        },
                    };
                    answers.push((commit.slot.take(), outcome, settled, is_durable));
                }
            }
            outbox.staged.retain(|staged| !staged.is_settled());
            for (.., settled, _) in &answers {
                outbox.remember(settled.clone());
            }
        }
        for (slot, outcome, settled, is_durable) in answers {
            // What is not on the disk needs no note that it is done; a landed one is told by the chain itself.
            if is_durable || settled.refused.is_some() {
                let bytes = settled.encode();
                drop(self.append_beside(replica, FrameKind::Settled, 0, 1, &[&bytes]));
            }
            if let Some(slot) = slot {
                slot.answer(outcome);
            }
        }
    }

    /// Whether commits wait for their outcome.
    pub fn has_staged(&self) -> bool {
        let staged = |replica: &Replica| !replica.outbox.lock().staged.is_empty();
        self.replica.get().is_some_and(staged)
    }

    /// Tells those who wait for staged commits that they will not learn the outcome here: the store is being closed. What is staged durably goes on with the next
    /// opening.
    pub fn abandon_staged(&self) {
        let Some(replica) = self.replica.get() else {
            return;
        };
        let mut waiting = Vec::new();
        {
            let mut outbox = replica.outbox.lock();
            for staged in &mut outbox.staged {
                let ids = staged.batch.ids().to_vec();
                let slots = staged.commits.iter_mut().map(|commit| commit.slot.take());
                waiting.extend(ids.into_iter().zip(slots));
            }
        }
        for (commit, slot) in waiting {
            let why =
                "the store was closed; the commit is staged and goes on with the next opening";
            if let Some(slot) = slot {
                slot.answer(Err(SubmitError::Unknown {
                    commit,
                    why: why.into(),
                }));
            }
        }
    }

    /// The commits that are not settled, in order.
    pub fn staged(&self) -> Vec<StagedInfo> {
        let Some(replica) = self.replica.get() else {
            return Vec::new();
        };
        let outbox = replica.outbox.lock();
        let mut infos = Vec::new();
        for staged in &outbox.staged {
            for (placing, commit) in staged.batch.commits.iter().zip(&staged.commits) {
                let head = &placing.commit.head;
                if !matches!(commit.fate, Fate::Settled) {
                    infos.push(StagedInfo {
                        id: placing.commit.id,
                        author: head.author,
                        number: head.number,
                        author_time_ms: head.author_time_ms,
                        events: head.event_count,
                        is_durable: staged.is_durable,
                    });
                }
            }
        }
        infos
    }

    /// What is known of a commit, by its id.
    ///
    /// # Cost
    /// Linear in the chain's commits: a hash for each.
    pub fn outcome(&self, id: &Hash) -> CommitOutcome {
        if let Some(committed) = self.with_state(|state| state.find_id(id)) {
            return CommitOutcome::Committed(committed);
        }
        let Some(replica) = self.replica.get() else {
            return CommitOutcome::Unknown;
        };
        let outbox = replica.outbox.lock();
        let mut staged = outbox.staged.iter();
        if staged.any(|staged| staged.batch.ids().contains(id)) {
            return CommitOutcome::Staged;
        }
        let refused = outbox.refused.iter().find(|settled| settled.id == *id);
        match refused.and_then(|settled| settled.refused.clone()) {
            Some(reason) => CommitOutcome::Refused { reason },
            None => CommitOutcome::Unknown,
        }
    }
}

/// A commit binds itself to what its author has seen confirmed.
fn seen_by(state: &State, seen: Seen) -> Seen {
    if state.confirmed() == 0 {
        unseen()
    } else {
        seen
    }
}

/// The outcome of a staged commit, if the confirmed state shows it.
fn fate_in(
    state: &State,
    batch: &Batch,
    placing: &Placing,
    commit: &StagedCommit,
) -> Option<Outcome> {
    let head = &placing.commit.head;
    let id = placing.commit.id;
    let landed = || {
        let known = state.lanes.confirmed(&(batch.author(), batch.lane()))?;
        if known.last < head.number {
            return None;
        }
        match state.find_commit(&batch.author(), &batch.lane(), head.number, &id) {
            Some(At::Confirmed { seq, order_time_ms }) => Some(Ok(Committed {
                chain: state.chain,
                seq,
                id,
                order_time_ms,
            })),
            Some(At::Pending) => None,
            // A later number of the lane is in the order: this one never will be.
            None => Some(Err(SubmitError::Rejected(Reject::Spent {
                number: head.number,
                last: known.last,
            }))),
        }
    };
    match &commit.fate {
        Fate::Settled => None,
        Fate::Open => landed().filter(Result::is_ok),
        Fate::Landed(seq) => (state.confirmed() > *seq).then(landed).flatten(),
        Fate::Refused(reason, at) => {
            (state.confirmed() >= *at).then(|| Err(SubmitError::Rejected(reason.clone())))
        }
    }
}

/// The answer to a commit that was sent up.
struct Waiting(Arc<Slot>);

impl Source<Outcome> for Waiting {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        self.0.poll(context)
    }

    fn wait(self: Box<Self>) -> Outcome {
        loop {
            if let Some(outcome) = self.0.take() {
                return outcome;
            }
            self.0.park_next();
            self.0.park();
        }
    }
}

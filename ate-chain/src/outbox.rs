//! Commits on their way to whoever decides the order: placed in the own lane, signed, staged in the log, and given out to be sent.
//!
//! A commit ends as *landed* (it is in the order, and the replica has seen it there), *refused*, or stays staged: then it is sent again with the next connection.
//! Its lane number makes that safe: a number is used once, so a commit lands once or never.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ate_crypto::{Hash, KeyId, Purpose, Suite};
use ate_log::{AppendError, FrameKind};
use parking_lot::{Condvar, Mutex};

use crate::batch::Batch;
use crate::committer::Committed;
use crate::error::{Reject, SubmitError};
use crate::genesis::unseen;
use crate::head::Seen;
use crate::ids::{ChainId, RecordKey};
use crate::local::Local;
use crate::overlay::staged_info;
use crate::pending::{Pending, Source};
use crate::proof::{BATCH_COMMITS_MAX, Proof, batch_leaf, commits_root};
use crate::refused::Kept;
use crate::replica::Replica;
use crate::seal::{Placing, Sealed};
use crate::settle::Fate;
use crate::slot::Slot;
use crate::state::{Found, State};

/// Refusals and replacements remembered for whoever asks later.
const REMEMBERED_MAX: usize = 1024;
/// Bytes of commits in one batch, unless a single one has more: a batch is one message.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Bytes that may be staged, or refused and kept, unless the program says otherwise.
pub(crate) const STAGED_BYTES_MAX: u64 = 256 << 20;
/// What a process passes over of its lanes at least when it begins. What the one before it sent and did not have on its disk when it ended may be in the order, and
/// nobody here knows: its numbers are left to it.
const NUMBERS_PASSED_OVER: u64 = 1 << 20;

pub(crate) type Outcome = Result<Committed, SubmitError>;

/// A commit that waits for its place in a lane.
struct Queued {
    sealed: Sealed,
    slot: Arc<Slot>,
    /// `None`: the caller cannot tell the commit's id.
    placed: Option<Placed>,
    replaces: Option<Hash>,
}

/// A signed batch that is not settled as a whole.
pub(crate) struct Staged {
    /// Counts the batches of this opening.
    pub(crate) ticket: u64,
    pub(crate) batch: Arc<Batch>,
    /// What is known of each of its commits.
    pub(crate) commits: Vec<StagedCommit>,
    /// Refused commits in whose place its own are.
    replaces: Vec<(Hash, Hash)>,
    /// It stands in the log, synced or not.
    is_written: bool,
    pub(crate) is_durable: bool,
}

pub(crate) struct StagedCommit {
    pub(crate) slot: Option<Arc<Slot>>,
    /// Whoever waits knows its id, and can say what is to become of it when it is refused.
    pub(crate) is_tracked: bool,
    pub(crate) fate: Fate,
}

/// A commit that was handed over to a replica.
pub struct Submission {
    /// What becomes of it. Dropping it takes nothing back.
    pub outcome: Pending<Result<Committed, SubmitError>>,
    /// Its place in its author's lane.
    pub placed: Placed,
}

/// Where a commit that was handed over to a replica stands on its way into the log. Cheap to clone.
#[derive(Clone, Default)]
pub struct Placed(Arc<PlacedShared>);

#[derive(Default)]
struct PlacedShared {
    state: Mutex<PlacedState>,
    changed: Condvar,
}

#[derive(Default)]
struct PlacedState {
    id: Option<Hash>,
    /// Its id when it was durable here, or why it never will be.
    done: Option<Result<Hash, SubmitError>>,
    waker: Option<Waker>,
}

impl Placed {
    /// The commit's id, once it has a place in its lane.
    #[must_use]
    pub fn id(&self) -> Option<Hash> {
        self.0.state.lock().id
    }

    /// Waits until the commit is durable in this store: it outlives the process then, and is sent until it is ordered or refused.
    ///
    /// # Errors
    /// In the answer: why it was not staged; [`SubmitError::Unknown`] if the log failed, when it may still be ordered.
    pub fn durable(&self, local: &Arc<Local>) -> Pending<Result<Hash, SubmitError>> {
        Pending::new(Durable {
            local: local.clone(),
            placed: self.clone(),
        })
    }

    fn place(&self, id: Hash) {
        self.0.state.lock().id = Some(id);
        self.0.changed.notify_all();
    }

    fn finish(&self, done: Result<Hash, SubmitError>) {
        let mut state = self.0.state.lock();
        state.done.get_or_insert(done);
        let waker = state.waker.take();
        drop(state);
        self.0.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Durable {
    local: Arc<Local>,
    placed: Placed,
}

impl Source<Result<Hash, SubmitError>> for Durable {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Hash, SubmitError>> {
        let mut state = self.placed.0.state.lock();
        match &state.done {
            Some(done) => Poll::Ready(done.clone()),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn wait(self: Box<Self>) -> Result<Hash, SubmitError> {
        {
            // Another thread may be at placing it.
            let mut state = self.placed.0.state.lock();
            while state.id.is_none() && state.done.is_none() {
                self.placed.0.changed.wait(&mut state);
            }
            if let Some(done) = &state.done {
                return done.clone();
            }
        }
        // Whoever waits does the work. An error is in the answer.
        drop(self.local.sync_staged());
        let mut state = self.placed.0.state.lock();
        loop {
            match &state.done {
                Some(done) => return done.clone(),
                None => self.placed.0.changed.wait(&mut state),
            }
        }
    }
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
    /// Bytes of it in memory and in the log, about.
    pub bytes: u64,
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
    /// It was refused, and what it meant was written again, merged or under new keys or another number: ask for that commit.
    Replaced {
        /// The commit in its place.
        by: Hash,
    },
    /// Nothing is known of it here. If it was staged here, and lost before it was durable, it may still come.
    Unknown,
}

#[derive(Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Queued>,
    /// Some thread places what is queued.
    writing: bool,
    /// Placed and not signed yet.
    unsigned: Vec<Arc<Placing>>,
    pub(crate) staged: VecDeque<Staged>,
    tickets: u64,
    /// Who waits for the next sync.
    unsynced: Vec<(Hash, Placed)>,
    /// Refused commits, with their contents, until somebody has dealt with them.
    pub(crate) kept: Vec<Kept>,
    pub(crate) refusals: VecDeque<(Hash, String)>,
    pub(crate) replaced: VecDeque<(Hash, Hash)>,
    /// The last number used in the own lanes, by author.
    last: BTreeMap<KeyId, u64>,
    /// Authors whose lanes this process has begun to use.
    begun: HashSet<KeyId>,
    /// Bytes of all that is queued, staged and kept.
    pub(crate) bytes: u64,
}

impl Outbox {
    /// A batch that was staged before the store was opened.
    pub(crate) fn restore(&mut self, batch: Batch, replaces: Vec<(Hash, Hash)>) {
        self.use_numbers(&batch);
        for (old, new) in &replaces {
            self.replace(old, *new);
        }
        let ids = batch.ids();
        if self.staged.iter().any(|staged| staged.batch.ids() == ids) {
            return;
        }
        let commits = ids.iter().map(|_| StagedCommit {
            slot: None,
            is_tracked: true,
            fate: Fate::Open,
        });
        let commits = commits.collect();
        self.stage(batch, commits, replaces, true);
    }

    fn stage(
        &mut self,
        batch: Batch,
        commits: Vec<StagedCommit>,
        replaces: Vec<(Hash, Hash)>,
        is_durable: bool,
    ) {
        self.tickets += 1;
        self.bytes += batch.bytes() as u64;
        self.staged.push_back(Staged {
            ticket: self.tickets,
            batch: Arc::new(batch),
            commits,
            replaces,
            is_written: is_durable,
            is_durable,
        });
    }

    /// What a refused commit meant is on its way under another id.
    fn replace(&mut self, old: &Hash, new: Hash) {
        self.forget(old);
        self.replaced.push_back((*old, new));
        if self.replaced.len() > REMEMBERED_MAX {
            self.replaced.pop_front();
        }
    }

    pub(crate) fn remember(&mut self, id: Hash, reason: String) {
        self.refusals.push_back((id, reason));
        if self.refusals.len() > REMEMBERED_MAX {
            self.refusals.pop_front();
        }
    }

    /// Lets go of batches of which nothing is left to be done.
    pub(crate) fn sweep(&mut self) {
        let mut freed = 0;
        self.staged.retain(|staged| {
            let is_settled = staged.is_settled();
            freed += if is_settled {
                staged.batch.bytes() as u64
            } else {
                0
            };
            !is_settled
        });
        self.bytes = self.bytes.saturating_sub(freed);
    }

    fn use_numbers(&mut self, batch: &Batch) {
        if let Some(number) = batch.numbers().last() {
            let last = self.last.entry(batch.author()).or_default();
            *last = number.max(*last);
        }
    }

    /// Takes commits from the queue for one batch: as many as a batch holds, and no more bytes than one message bears.
    fn draw(&mut self) -> Vec<Queued> {
        let (mut drawn, mut bytes) = (Vec::new(), 0);
        while let Some(next) = self.queue.front() {
            let more = next.sealed.bytes();
            let is_full = drawn.len() >= BATCH_COMMITS_MAX / 2
                || (!drawn.is_empty() && bytes + more > BATCH_BYTES_MAX);
            if is_full {
                break;
            }
            bytes += more;
            drawn.extend(self.queue.pop_front());
        }
        self.bytes = self.bytes.saturating_sub(bytes as u64);
        drawn
    }
}

impl Staged {
    /// Whoever sends again waits for another answer. Whether one was forgotten that had taken a commit from sight.
    fn forget_answers(&mut self) -> bool {
        #[cfg(ate_planted)]
        if ate_crypto::planted("trust-an-answer-that-was-asked-again") {
            return false;
        }
        let mut revived = false;
        for commit in &mut self.commits {
            if !matches!(commit.fate, Fate::Settled) {
                revived |= matches!(commit.fate, Fate::Refused(..));
                commit.fate = Fate::Open;
            }
        }
        revived
    }

    /// Whether it may be sent.
    fn is_safe(&self) -> bool {
        self.replaces.is_empty() || self.is_durable
    }

    /// Whether a commit of this id is in it and not settled.
    fn is_open(&self, id: &Hash) -> bool {
        let mut commits = self.batch.ids().iter().zip(&self.commits);
        commits.any(|(of, commit)| of == id && !matches!(commit.fate, Fate::Settled))
    }

    fn is_settled(&self) -> bool {
        let mut commits = self.commits.iter();
        commits.all(|commit| matches!(commit.fate, Fate::Settled))
    }
}

/// Commits of one author at their places in the lane, to be signed together.
#[derive(Default)]
struct PlacedRun {
    placings: Vec<Arc<Placing>>,
    commits: Vec<StagedCommit>,
    replaces: Vec<(Hash, Hash)>,
    placed: Vec<(Hash, Placed)>,
    refused: Vec<(Arc<Slot>, Option<Placed>, SubmitError)>,
}

impl Local {
    /// Hands a commit over to a replica, in the place of one that was refused if it is meant so: with it in the log, that one is dealt with.
    ///
    /// On a chain that is ordered here the commit is simply submitted, and [`Submission::placed`] never comes to anything.
    pub fn submit_staged(self: &Arc<Self>, sealed: Sealed, replaces: Option<Hash>) -> Submission {
        let placed = Placed::default();
        let outcome = match self.replica.get() {
            Some(replica) => self.send_up(replica, sealed, Some(placed.clone()), replaces),
            None => self.submit(sealed),
        };
        Submission { outcome, placed }
    }

    /// Bytes that may be staged, or refused and kept; 256 MiB unless it was said otherwise. Does nothing to a chain that is ordered here.
    pub fn set_staged_bytes_max(&self, bytes: u64) {
        if let Some(replica) = self.replica.get() {
            let max = &replica.staged_bytes_max;
            max.store(bytes, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Queues a commit for the way upstream, and places and signs what is queued unless another thread does.
    pub(crate) fn send_up(
        self: &Arc<Self>,
        replica: &Replica,
        sealed: Sealed,
        placed: Option<Placed>,
        replaces: Option<Hash>,
    ) -> Pending<Outcome> {
        let refuse = |error: SubmitError| {
            if let Some(placed) = &placed {
                placed.finish(Err(error.clone()));
            }
            Pending::ready(Err(error))
        };
        if sealed.chain != self.chain() {
            return refuse(SubmitError::Rejected(Reject::Invalid {
                why: "the commit is sealed for another chain",
            }));
        }
        if !self.log.writable() {
            return refuse(SubmitError::ReadOnly);
        }
        let slot = Arc::new(Slot::default());
        let mut outbox = replica.outbox.lock();
        let max = replica
            .staged_bytes_max
            .load(std::sync::atomic::Ordering::Relaxed);
        let bytes = sealed.bytes() as u64;
        if outbox.bytes + bytes > max {
            let staged = outbox.bytes;
            drop(outbox);
            return refuse(SubmitError::StagedFull { staged, max, bytes });
        }
        outbox.bytes += bytes;
        outbox.queue.push_back(Queued {
            sealed,
            slot: slot.clone(),
            placed: placed.clone(),
            replaces,
        });
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
            let drawn = {
                let mut outbox = replica.outbox.lock();
                let drawn = outbox.draw();
                outbox.writing = !drawn.is_empty();
                drawn
            };
            if drawn.is_empty() {
                break;
            }
            // One author after the other, in the order in which they came.
            let mut rest = VecDeque::from(drawn);
            while let Some(first) = rest.front() {
                let author = first.sealed.identity().id();
                let of_author = rest
                    .iter()
                    .take_while(|queued| queued.sealed.identity().id() == author)
                    .count();
                let run = rest.drain(..of_author).collect();
                self.place_run(replica, run);
            }
        }
        replica.upstream.wake();
    }

    /// Places, judges and signs commits of one author; those that the own state refuses already are answered.
    fn place_run(self: &Arc<Self>, replica: &Replica, run: Vec<Queued>) {
        let Some(first) = run.first() else {
            return;
        };
        let keyring = first.sealed.keyring.clone();
        let author = keyring.identity.id();
        let lane = self.own_lane(&author);
        let placed = self.place_in_lane(replica, run);
        for (slot, placed, error) in placed.refused {
            if let Some(placed) = placed {
                placed.finish(Err(error.clone()));
            }
            slot.answer(Err(error));
        }
        if placed.placings.is_empty() {
            return;
        }
        let ids: Vec<Hash> = placed
            .placings
            .iter()
            .map(|placing| placing.commit.id)
            .collect();
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
        let batch = Batch::new(self.chain(), proof, placed.placings);
        let mut outbox = replica.outbox.lock();
        outbox.unsigned.clear();
        for (old, new) in &placed.replaces {
            outbox.replace(old, *new);
        }
        outbox.stage(batch, placed.commits, placed.replaces, false);
        outbox.unsynced.extend(placed.placed.iter().cloned());
        drop(outbox);
        // From here on a sync makes it durable: whoever waits may do that.
        for (id, placed) in placed.placed {
            placed.place(id);
        }
    }

    /// Gives commits their numbers and puts them on the state, where readers of this store find them from then on.
    fn place_in_lane(self: &Arc<Self>, replica: &Replica, run: Vec<Queued>) -> PlacedRun {
        let keyring = run[0].sealed.keyring.clone();
        let author = keyring.identity.id();
        let lane = self.own_lane(&author);
        let now_ms = self.committer().now_ms();
        let mut state = self.state.write();
        let mut last = self.last_number(replica, &state, &author);
        let order_time_ms = now_ms.max(state.last_order_time_ms());
        let seen = seen_by(&state, state.seen());
        let mut done = PlacedRun::default();
        if let Some(genesis) = self.genesis_for(&mut state, &author, order_time_ms) {
            last = 1;
            done.placings.push(genesis);
            done.commits.push(StagedCommit {
                slot: None,
                is_tracked: true,
                fate: Fate::Open,
            });
        }
        for queued in run {
            let Queued {
                mut sealed,
                slot,
                placed,
                replaces,
            } = queued;
            let made = std::mem::take(&mut sealed.made);
            // The order time is given by whoever orders.
            let placing = Arc::new(sealed.place(&self.chain(), lane.id, last + 1, seen, 0));
            if let Err(reject) = state.propose_at(&placing, order_time_ms) {
                let error = refusal(&state, &author, reject);
                done.refused.push((slot, placed, error));
                continue;
            }
            last += 1;
            made.into_iter().for_each(|(scope, keys)| {
                keyring.insert(scope, keys.epoch, keys.read, keys.name);
            });
            let id = placing.commit.id;
            done.replaces.extend(replaces.map(|old| (old, id)));
            done.placings.push(placing);
            done.commits.push(StagedCommit {
                slot: Some(slot),
                is_tracked: placed.is_some(),
                fate: Fate::Open,
            });
            done.placed.extend(placed.map(|placed| (id, placed)));
        }
        // Until they are signed they are not staged; whoever builds the state anew meanwhile finds them here.
        let mut outbox = replica.outbox.lock();
        outbox.unsigned.clone_from(&done.placings);
        // A commit that is refused leaves the state, and its number stays used: it is signed, and whoever has it may show it later.
        outbox.last.insert(author, last);
        drop(outbox);
        self.note_overlay(&state);
        done
    }

    /// The last number of the own lane of an author that is used, or passed over: by a process that begins, and whenever the lane shows a number that it has not used
    /// itself. One before it has then, which may have used, sent and lost more of them behind that.
    fn last_number(&self, replica: &Replica, state: &State, author: &KeyId) -> u64 {
        let lane = self.own_lane(author).id;
        let known = state
            .lanes
            .get(&(*author, lane))
            .map_or(0, |lane| lane.last);
        let mut outbox = replica.outbox.lock();
        let own = outbox.last.get(author).copied().unwrap_or(0);
        let last = known.max(own);
        let is_new = outbox.begun.insert(*author) && self.birth.is_none();
        let is_behind_others = known > own && own > 0;
        let last = match is_new || is_behind_others {
            true => last + NUMBERS_PASSED_OVER + self.random_below(NUMBERS_PASSED_OVER),
            false => last,
        };
        outbox.last.insert(*author, last);
        last
    }

    /// The genesis of a chain that has none yet, before the first commit of its root.
    fn genesis_for(
        &self,
        state: &mut State,
        author: &KeyId,
        order_time_ms: u64,
    ) -> Option<Arc<Placing>> {
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
            .place(&ChainId::UNBORN, lane.id, 1, unseen(), 0);
        let placing = Arc::new(placing);
        state
            .propose_at(&placing, order_time_ms)
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
                    drop(state.propose_at(placing, time));
                }
            }
        }
        for placing in &outbox.unsigned {
            let time = state.last_order_time_ms();
            drop(state.propose_at(placing, time));
        }
    }

    /// The batches that are not settled, behind the one of this ticket, in order. Whoever has a new connection asks from 0 on. They are to be sent: what was answered
    /// before and has not reached the caller counts no more, since a commit that is judged again may land.
    ///
    /// A batch that takes the place of refused commits waits until it is durable here, and with it all behind it: were it in the order and its word on what it
    /// replaces lost in a crash, the next process would write that once more.
    pub fn unsent(&self, behind: u64) -> Vec<(u64, Arc<Batch>)> {
        let Some(replica) = self.replica.get() else {
            return Vec::new();
        };
        let (unsent, revived) = {
            let mut outbox = replica.outbox.lock();
            let is_safe = |staged: &&mut Staged| staged.is_safe();
            let staged = outbox.staged.iter_mut().take_while(is_safe);
            let (mut unsent, mut revived) = (Vec::new(), false);
            for staged in staged.filter(|staged| staged.ticket > behind) {
                revived |= staged.forget_answers();
                unsent.push((staged.ticket, staged.batch.clone()));
            }
            (unsent, revived)
        };
        if revived {
            self.renew_overlay(&mut self.state.write());
        }
        unsent
    }

    /// Whether [`Local::unsent`] has something. Changes nothing.
    pub fn has_unsent(&self) -> bool {
        let replica = self.replica.get();
        replica.is_some_and(|replica| {
            let outbox = replica.outbox.lock();
            outbox.staged.front().is_some_and(Staged::is_safe)
        })
    }

    /// Makes staged commits durable here.
    ///
    /// # Errors
    /// The log's: it is poisoned, and what is staged may be lost with this process.
    pub fn sync_staged(&self) -> Result<(), AppendError> {
        let Some(replica) = self.replica.get() else {
            return Ok(());
        };
        // One at a time: a batch is written once.
        let _turn = replica.syncing.lock();
        let (waiting, last) = {
            let mut outbox = replica.outbox.lock();
            let waiting = std::mem::take(&mut outbox.unsynced);
            if waiting.is_empty() && outbox.staged.iter().all(|staged| staged.is_durable) {
                return Ok(());
            }
            (waiting, outbox.tickets)
        };
        let synced = self
            .write_staged(replica)
            .and_then(|()| self.log.sync().map(drop));
        if synced.is_ok() {
            let mut outbox = replica.outbox.lock();
            let mut may_go = false;
            for staged in &mut outbox.staged {
                may_go |= !staged.is_durable && !staged.replaces.is_empty();
                staged.is_durable |= staged.ticket <= last;
            }
            drop(outbox);
            if may_go {
                replica.upstream.wake();
            }
        }
        for (id, placed) in waiting {
            placed.finish(match &synced {
                Ok(()) => Ok(id),
                Err(error) => Err(SubmitError::Unknown {
                    commit: id,
                    why: error.to_string(),
                }),
            });
        }
        synced
    }

    /// Appends staged batches that are not in the log yet. Not synced.
    pub(crate) fn write_staged(&self, replica: &Replica) -> Result<(), AppendError> {
        let mut outbox = replica.outbox.lock();
        for staged in outbox.staged.iter_mut().filter(|staged| !staged.is_written) {
            let (mut replaces, mut bytes) = (Vec::new(), Vec::new());
            for (old, new) in &staged.replaces {
                replaces.extend_from_slice(&old.0);
                replaces.extend_from_slice(&new.0);
            }
            staged.batch.encode(&mut bytes);
            let number = staged.batch.numbers().next().unwrap_or(0);
            self.append_beside(replica, FrameKind::Staged, number, 1, &[&replaces, &bytes])?;
            staged.is_written = true;
        }
        Ok(())
    }

    /// Whether commits wait for their outcome.
    pub fn has_staged(&self) -> bool {
        let staged = |replica: &Replica| !replica.outbox.lock().staged.is_empty();
        self.replica.get().is_some_and(staged)
    }

    /// Tells those who wait for staged commits, now and until the chain is opened anew, that they will not learn the outcome here: the store is being closed, or the
    /// node is not followed any more. What is staged durably goes on with the next opening.
    pub fn abandon_staged(&self, why: &str) {
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
                        bytes: placing.bytes() as u64,
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
        if staged.any(|staged| staged.is_open(id)) {
            return CommitOutcome::Staged;
        }
        if let Some((_, by)) = outbox.replaced.iter().find(|(old, _)| old == id) {
            return CommitOutcome::Replaced { by: *by };
        }
        match outbox.refusals.iter().find(|(refused, _)| refused == id) {
            Some((_, reason)) => CommitOutcome::Refused {
                reason: reason.clone(),
            },
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

/// Why the own state refuses a commit. What another identity has staged here cannot be built upon: its place in the order is not known.
fn refusal(state: &State, author: &KeyId, reject: Reject) -> SubmitError {
    let staged_by = |key: &RecordKey| match state.find(key) {
        Some(Found::Pending(commit, ..)) if commit.staged.is_some() => Some(commit.author),
        _ => None,
    };
    match reject {
        Reject::Conflict { key, .. } if staged_by(&key).is_some_and(|by| by != *author) => {
            SubmitError::StagedByOther { key }
        }
        // As readers see it: it has no place in the order.
        Reject::Conflict { key, expected, .. } => SubmitError::Rejected(Reject::Conflict {
            key,
            expected,
            stored: match staged_info(state, &key) {
                Some(staged) => Some(staged.version),
                None => state.find(&key).map(|found| found.version()),
            },
        }),
        reject => SubmitError::Rejected(reject),
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

#[cfg(test)]
mod tests {
    use ate_crypto::{Identity, Seed, SeededRandom, sha256};
    use ate_log::MemLog;

    use super::*;
    use crate::committer::Committer;
    use crate::draft::{CreateOptions, Draft};
    use crate::ports::Clock;

    struct Noon;
    impl Clock for Noon {
        fn now_ms(&self) -> u64 {
            1_700_000_000_000
        }
    }

    #[test]
    fn a_batch_is_one_message_however_much_waits() {
        const MIB: usize = 1 << 20;
        let random = Arc::new(SeededRandom::new(1));
        let identity = Identity::from_seed(&Seed::generate(&*random));
        let log = Arc::new(MemLog::new());
        let committer = Committer::new(log, Arc::new(Noon), random, None, [1; 16]);
        let local = Local::create(&committer, "notes", &identity).unwrap();
        let sealed = |bytes: usize| {
            let mut draft = Draft::new(local.author(&identity));
            let (schema, options) = (sha256(&[b"text"]), CreateOptions::default());
            let content = vec![7; bytes];
            let root = RecordKey::ROOT;
            draft
                .create(root, "", None, &schema, content, options)
                .unwrap();
            draft.seal(0).unwrap()
        };
        let mut outbox = Outbox::default();
        for bytes in [6 * MIB, 6 * MIB, 6 * MIB, 15 * MIB, 15 * MIB, 1, 1] {
            let sealed = sealed(bytes);
            outbox.bytes += sealed.bytes() as u64;
            outbox.queue.push_back(Queued {
                sealed,
                slot: Arc::default(),
                placed: None,
                replaces: None,
            });
        }
        let drawn: Vec<usize> = std::iter::from_fn(|| {
            let drawn = outbox.draw();
            (!drawn.is_empty()).then_some(drawn.len())
        })
        .collect();
        assert_eq!(drawn, [2, 1, 1, 3]);
        assert_eq!(outbox.bytes, 0);
    }
}

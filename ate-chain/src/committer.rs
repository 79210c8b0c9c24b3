//! The committer: one per log. It owns the queue, the writer role, batches, signatures and the sync.
//!
//! Whoever waits for a commit takes the writer role on its own thread if nobody has it, so a lone committer pays no hand-over, and while one round syncs
//! the next one gathers. A round is: order and judge every queued commit, sign each author's share once, append, sync, confirm, answer.
//! **The commit point is the return of `Log::sync`**: nothing is confirmed, observed or answered before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ate_crypto::{Hash, KeyId, Random};
use ate_log::{AppendError, Entry, FrameKind, Log, Placed};
use parking_lot::{Condvar, Mutex};

use crate::error::{Reject, SubmitError};
use crate::ids::{ChainId, Epoch, Position, RecordKey};
use crate::local::Local;
use crate::observe::{ConfirmedCommit, RowChange};
use crate::pending::Pending;
use crate::ports::{Clock, Spawn};
use crate::proof::{BATCH_COMMITS_MAX, Proof, batch_tree};
use crate::replay::ReadTo;
use crate::seal::{Placing, Sealed};
use crate::slot::{Answer, Slot};

/// Most bytes in one round; what does not fit waits for the next.
const ROUND_BYTES_MAX: usize = 48 << 20;
/// Largest frame payload: the log's frame limit less its own header.
const COMMIT_BYTES_MAX: usize = (32 << 20) - (1 << 20);
/// Most commits in one round.
const ROUND_COMMITS_MAX: usize = 4096;

/// A commit that is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed {
    /// Chain.
    pub chain: ChainId,
    /// Leaf number; the position after it is one more.
    pub seq: u64,
    /// Commit id.
    pub id: Hash,
    /// The sequencer's time.
    pub order_time_ms: u64,
}

impl Committed {
    /// The state that includes the commit.
    pub fn position(&self) -> Position {
        Position(self.seq + 1)
    }
}

struct Submission {
    local: Arc<Local>,
    sealed: Sealed,
    slot: Arc<Slot>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Submission>,
    /// Whether some thread has the writer role.
    writing: bool,
    /// Whether the store's thread was started.
    running: bool,
    /// Whether the store's thread should look.
    called: bool,
    closed: bool,
}

/// Orders and writes the commits of all chains of one log.
pub struct Committer {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    spawn: Option<Box<dyn Spawn>>,
    store: [u8; 16],
    queue: Mutex<Queue>,
    call: Condvar,
    poisoned: Mutex<Option<String>>,
    is_poisoned: AtomicBool,
    rounds: AtomicU64,
    commits: AtomicU64,
}

impl Committer {
    /// A committer over `log`. `store` tells this store's lanes from those of others: random, kept with the store.
    /// Without `spawn`, commits that nobody waits for are written at the first poll, on the polling thread.
    pub fn new(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        spawn: Option<Box<dyn Spawn>>,
        store: [u8; 16],
    ) -> Arc<Self> {
        Arc::new(Self {
            log,
            clock,
            random,
            spawn,
            store,
            queue: Mutex::default(),
            call: Condvar::new(),
            poisoned: Mutex::default(),
            is_poisoned: AtomicBool::new(false),
            rounds: AtomicU64::new(0),
            commits: AtomicU64::new(0),
        })
    }

    /// The log below.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// The source of randomness.
    pub fn random(&self) -> &Arc<dyn Random> {
        &self.random
    }

    /// Rounds (syncs) and commits so far: their ratio is what group commit saves.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.rounds.load(Ordering::Relaxed),
            self.commits.load(Ordering::Relaxed),
        )
    }

    /// The clock's time.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    pub(crate) fn store(&self) -> &[u8; 16] {
        &self.store
    }

    /// Refuses further commits and waits until the queue is written.
    pub fn close(self: &Arc<Self>) {
        loop {
            let mut queue = self.queue.lock();
            queue.closed = true;
            self.call.notify_all();
            if queue.items.is_empty() && !queue.writing {
                return;
            }
            if queue.writing {
                // The writer looks at the queue again before it lets go of the role.
                self.call
                    .wait_for(&mut queue, std::time::Duration::from_millis(1));
                continue;
            }
            queue.writing = true;
            drop(queue);
            self.lead(None);
        }
    }

    pub(crate) fn submit(
        self: &Arc<Self>,
        local: Arc<Local>,
        sealed: Sealed,
    ) -> Pending<Result<Committed, SubmitError>> {
        if let Some(refusal) = self.refusal(&local, &sealed) {
            return Pending::ready(Err(refusal));
        }
        let slot = Arc::new(Slot::default());
        {
            let mut queue = self.queue.lock();
            if queue.closed {
                return Pending::ready(Err(SubmitError::Closed));
            }
            queue.items.push_back(Submission {
                local,
                sealed,
                slot: slot.clone(),
            });
        }
        Pending::new(Answer::new(self.clone(), slot))
    }

    fn refusal(&self, local: &Local, sealed: &Sealed) -> Option<SubmitError> {
        if self.queue.lock().closed {
            return Some(SubmitError::Closed);
        }
        if sealed.chain != local.chain() {
            return Some(SubmitError::Rejected(Reject::Invalid {
                why: "the commit is sealed for another chain",
            }));
        }
        if self.is_poisoned.load(Ordering::Acquire) {
            return Some(SubmitError::Poisoned {
                why: self.poisoned.lock().clone().unwrap_or_default(),
            });
        }
        if !self.log.writable() {
            return Some(SubmitError::ReadOnly);
        }
        let bytes = sealed.bytes();
        (bytes > COMMIT_BYTES_MAX).then(|| SubmitError::TooLarge {
            why: format!("{bytes} bytes, at most {COMMIT_BYTES_MAX}; split it into several"),
        })
    }

    /// Waits on the calling thread, writing if nobody else does.
    pub(crate) fn wait(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<Committed, SubmitError> {
        loop {
            if let Some(result) = slot.take() {
                return result;
            }
            let mut queue = self.queue.lock();
            if slot.is_done() {
                continue;
            }
            if queue.writing && !slot.is_promoted() {
                slot.park_next();
                drop(queue);
                slot.park();
                continue;
            }
            queue.writing = true;
            drop(queue);
            self.lead(Some(slot));
        }
    }

    /// Makes sure that somebody writes what is queued: the store's thread, or the caller if there is none.
    pub(crate) fn call(self: &Arc<Self>) {
        let mut queue = self.queue.lock();
        if queue.items.is_empty() || queue.writing && self.spawn.is_none() {
            return;
        }
        let Some(spawn) = &self.spawn else {
            queue.writing = true;
            drop(queue);
            self.lead(None);
            return;
        };
        queue.called = true;
        if queue.running {
            self.call.notify_one();
            return;
        }
        queue.running = true;
        drop(queue);
        let committer = Arc::downgrade(self);
        spawn.spawn(Box::new(move || {
            while let Some(committer) = committer.upgrade() {
                if !committer.serve() {
                    break;
                }
            }
        }));
    }

    /// One turn of the store's thread; `false` when the committer is closed.
    fn serve(self: &Arc<Self>) -> bool {
        let mut queue = self.queue.lock();
        if queue.called && !queue.writing && !queue.items.is_empty() {
            queue.called = false;
            queue.writing = true;
            drop(queue);
            self.lead(None);
            return true;
        }
        if queue.closed && queue.items.is_empty() {
            queue.running = false;
            return false;
        }
        // Wakes by itself now and then, so that a committer nobody refers to any more can end.
        self.call
            .wait_for(&mut queue, std::time::Duration::from_millis(200));
        true
    }

    /// Writes rounds with the writer role held, until the queue is empty or `own` is answered and another thread can take over.
    fn lead(self: &Arc<Self>, own: Option<&Arc<Slot>>) {
        loop {
            let round = self.drain();
            let answers = self.round(round);
            let mut queue = self.queue.lock();
            let done = queue.items.is_empty()
                || own.is_some_and(|slot| {
                    slot.is_done()
                        || answers
                            .iter()
                            .any(|(answered, _)| Arc::ptr_eq(answered, slot))
                });
            // Hand over first, answer then: the next round starts while these threads wake.
            let done = done && self.hand_over(&mut queue);
            drop(queue);
            answers
                .into_iter()
                .for_each(|(slot, result)| slot.answer(result));
            if done {
                return;
            }
        }
    }

    /// Gives the writer role to a thread that waits, or back; `false` if nobody else would ever write what is queued.
    fn hand_over(&self, queue: &mut Queue) -> bool {
        if queue.items.iter().any(|item| item.slot.promote()) {
            return true;
        }
        let polled = queue.items.iter().any(|item| item.slot.is_polled());
        if polled && self.spawn.is_none() {
            return false;
        }
        queue.writing = false;
        queue.called |= polled;
        self.call.notify_all();
        true
    }

    fn drain(&self) -> Vec<Submission> {
        let mut queue = self.queue.lock();
        let mut bytes = 0;
        let mut round = Vec::new();
        while let Some(item) = queue.items.front() {
            bytes += item.sealed.bytes();
            if !round.is_empty() && (bytes > ROUND_BYTES_MAX || round.len() >= ROUND_COMMITS_MAX) {
                break;
            }
            round.push(queue.items.pop_front().expect("just seen"));
        }
        round
    }

    fn round(
        self: &Arc<Self>,
        submissions: Vec<Submission>,
    ) -> Vec<(Arc<Slot>, Result<Committed, SubmitError>)> {
        let mut answers = Vec::with_capacity(submissions.len());
        if let Some(why) = self.poisoned.lock().clone() {
            answers.extend(
                submissions
                    .into_iter()
                    .map(|item| (item.slot, Err(SubmitError::Poisoned { why: why.clone() }))),
            );
            return answers;
        }
        let mut runs = self.order(submissions, &mut answers);
        if runs.is_empty() {
            return answers;
        }
        let proofs = sign(&runs);
        let written = self.write(&runs, &proofs);
        self.rounds.fetch_add(1, Ordering::Relaxed);
        match written {
            Ok(placed) => {
                let mut placed = placed.into_iter();
                for run in &mut runs {
                    run.local.set_link(&run.author, run.leaf);
                    placed.next();
                    for item in run.items.drain(..) {
                        let at = placed.next().expect("one place for each frame");
                        let committed = confirm(&run.local, item.placing, item.seq, &at);
                        self.commits.fetch_add(1, Ordering::Relaxed);
                        if let Some(slot) = item.slot {
                            answers.push((slot, Ok(committed)));
                        }
                    }
                }
            }
            Err(error) => self.fail(runs, &error, &mut answers),
        }
        answers
    }

    /// Judges every submission in turn; those of one author in one chain form a run, in the order they came.
    fn order(
        &self,
        submissions: Vec<Submission>,
        answers: &mut Vec<(Arc<Slot>, Result<Committed, SubmitError>)>,
    ) -> Vec<Run> {
        let mut groups: Vec<(Arc<Local>, KeyId, Vec<Submission>)> = Vec::new();
        for item in submissions {
            let author = item.sealed.identity().id();
            // Chains and authors of one round are few; the newest group is the likeliest.
            match groups
                .iter_mut()
                .rfind(|(local, id, _)| Arc::ptr_eq(local, &item.local) && *id == author)
            {
                Some((.., items)) => items.push(item),
                None => groups.push((item.local.clone(), author, vec![item])),
            }
        }
        // A proof covers consecutive commits of its chain, so all groups of one chain are ordered one after the other.
        groups.sort_by_key(|(local, ..)| local.chain());
        let now_ms = self.clock.now_ms();
        let mut runs = Vec::new();
        for (local, author, items) in groups {
            let run = Run::order(local, author, items, now_ms, answers);
            runs.extend((!run.items.is_empty()).then_some(run));
        }
        runs
    }

    fn write(&self, runs: &[Run], proofs: &[Vec<u8>]) -> Result<Vec<Placed>, WriteError> {
        let parts: Vec<Vec<&[u8]>> = runs
            .iter()
            .flat_map(|run| run.items.iter().map(|item| item.placing.parts()))
            .collect();
        let proof_parts: Vec<[&[u8]; 1]> = proofs.iter().map(|proof| [proof.as_slice()]).collect();
        let mut entries = Vec::with_capacity(parts.len() + proofs.len());
        let mut commit_parts = parts.iter();
        for (run, proof) in runs.iter().zip(&proof_parts) {
            let stream = run.local.chain().stream();
            entries.push(Entry {
                kind: FrameKind::Proof,
                stream,
                number: run.items[0].seq,
                parts: proof,
            });
            for item in &run.items {
                let parts = commit_parts.next().expect("one entry for each commit");
                entries.push(Entry {
                    kind: FrameKind::Commit,
                    stream,
                    number: item.seq,
                    parts,
                });
            }
        }
        let mut placed = Vec::with_capacity(entries.len());
        self.log
            .append(&entries, &mut placed)
            .map_err(WriteError::Append)?;
        self.log.sync().map_err(WriteError::Sync)?;
        Ok(placed)
    }

    /// Takes every commit of a failed round back.
    fn fail(
        &self,
        runs: Vec<Run>,
        error: &WriteError,
        answers: &mut Vec<(Arc<Slot>, Result<Committed, SubmitError>)>,
    ) {
        let why = error.source().to_string();
        if error.poisons() {
            *self.poisoned.lock() = Some(why.clone());
            self.is_poisoned.store(true, Ordering::Release);
        }
        for run in runs {
            let mut state = run.local.state.write();
            let confirmed = state.confirmed();
            state.rollback_to(confirmed);
            drop(state);
            for item in run.items {
                for (scope, epoch) in &item.made {
                    run.keyring
                        .iter()
                        .for_each(|keyring| keyring.forget(scope, *epoch));
                }
                let answer = error.answer(item.placing.commit.id, &why);
                answers.extend(item.slot.map(|slot| (slot, Err(answer))));
            }
        }
    }
}

enum WriteError {
    Append(AppendError),
    Sync(AppendError),
}

impl WriteError {
    fn source(&self) -> &AppendError {
        match self {
            Self::Append(error) | Self::Sync(error) => error,
        }
    }

    /// Whether nobody can tell any more what is in the log. An append that was refused left it as it was.
    fn poisons(&self) -> bool {
        !matches!(
            self,
            Self::Append(
                AppendError::DiskFull { .. }
                    | AppendError::FrameTooLarge { .. }
                    | AppendError::TooManyParts { .. }
                    | AppendError::GroupTooLarge { .. }
                    | AppendError::ReadOnly
                    | AppendError::Closed
            )
        )
    }

    fn answer(&self, commit: Hash, why: &str) -> SubmitError {
        let why = why.to_owned();
        match self {
            Self::Append(AppendError::DiskFull { .. }) => SubmitError::Full { why },
            Self::Append(AppendError::Poisoned { .. }) => SubmitError::Poisoned { why },
            Self::Append(AppendError::ReadOnly) => SubmitError::ReadOnly,
            Self::Append(AppendError::Closed) => SubmitError::Closed,
            _ if self.poisons() => SubmitError::Unknown { commit, why },
            _ => SubmitError::TooLarge { why },
        }
    }
}

struct Item {
    placing: Placing,
    seq: u64,
    /// Epochs whose keys the author holds already, on the word of this commit.
    made: Vec<(RecordKey, Epoch)>,
    /// Nobody waits for a genesis: it goes with the commit that caused it.
    slot: Option<Arc<Slot>>,
}

/// Commits of one author in one chain that go under one batch leaf.
struct Run {
    local: Arc<Local>,
    author: KeyId,
    keyring: Option<Arc<crate::keyring::Keyring>>,
    lane: crate::ids::LaneId,
    link: Hash,
    commits: Vec<Hash>,
    leaf: Hash,
    items: Vec<Item>,
}

impl Run {
    fn order(
        local: Arc<Local>,
        author: KeyId,
        items: Vec<Submission>,
        now_ms: u64,
        answers: &mut Vec<(Arc<Slot>, Result<Committed, SubmitError>)>,
    ) -> Self {
        let lane = local.own_lane(&author);
        let chain = local.chain();
        let mut run = Self {
            author,
            keyring: None,
            lane: lane.id,
            link: lane.link,
            commits: Vec::new(),
            leaf: Hash::ZERO,
            items: Vec::new(),
            local: local.clone(),
        };
        let mut state = local.state.write();
        let order_time_ms = now_ms.max(state.last_order_time_ms());
        let mut last = state
            .lanes
            .get(&(author, lane.id))
            .map_or(0, |lane| lane.last);
        if state.next_seq() == 0
            && let Some(birth) = local
                .birth
                .as_ref()
                .filter(|birth| birth.keyring.identity.id() == author)
        {
            let placing = birth.sealed().place(
                &ChainId::UNBORN,
                lane.id,
                1,
                crate::genesis::unseen(),
                order_time_ms,
            );
            let ordered = state
                .propose(&placing.commit)
                .expect("a planned genesis is valid");
            last = 1;
            run.push(placing, ordered.seq, Vec::new(), None);
        }
        let seen = state.seen();
        for Submission {
            local: _,
            mut sealed,
            slot,
        } in items
        {
            if run.items.len() >= BATCH_COMMITS_MAX {
                answers.push((
                    slot,
                    Err(SubmitError::TooLarge {
                        why: "too many commits in one round; send it again".into(),
                    }),
                ));
                continue;
            }
            run.keyring.get_or_insert_with(|| sealed.keyring.clone());
            let made = std::mem::take(&mut sealed.made);
            let keyring = sealed.keyring.clone();
            let placing = sealed.place(&chain, lane.id, last + 1, seen, order_time_ms);
            match state.propose(&placing.commit) {
                Ok(ordered) => {
                    last += 1;
                    let epochs = made.iter().map(|(scope, keys)| (*scope, keys.epoch));
                    let epochs = epochs.collect();
                    made.into_iter().for_each(|(scope, keys)| {
                        keyring.insert(scope, keys.epoch, keys.read, keys.name)
                    });
                    run.push(placing, ordered.seq, epochs, Some(slot));
                }
                Err(reject) => answers.push((slot, Err(SubmitError::Rejected(reject)))),
            }
        }
        drop(state);
        run.leaf = crate::proof::batch_leaf(
            &chain,
            &run.lane,
            &run.link,
            &crate::proof::commits_root(&run.commits),
        );
        run
    }

    fn push(
        &mut self,
        placing: Placing,
        seq: u64,
        made: Vec<(RecordKey, Epoch)>,
        slot: Option<Arc<Slot>>,
    ) {
        self.commits.push(placing.commit.id);
        self.items.push(Item {
            placing,
            seq,
            made,
            slot,
        });
    }
}

/// One signature for each author over all its runs; the proof of each run.
fn sign(runs: &[Run]) -> Vec<Vec<u8>> {
    let mut proofs = vec![Vec::new(); runs.len()];
    let mut authors: Vec<KeyId> = runs.iter().map(|run| run.author).collect();
    authors.sort_unstable();
    authors.dedup();
    for author in authors {
        let of_author: Vec<usize> = (0..runs.len())
            .filter(|&index| runs[index].author == author)
            .collect();
        let leaves: Vec<Hash> = of_author.iter().map(|&index| runs[index].leaf).collect();
        let (root, paths) = batch_tree(&leaves);
        let run = &runs[of_author[0]];
        let identity = run
            .keyring
            .as_ref()
            .or_else(|| run.local.birth.as_ref().map(|birth| &birth.keyring))
            .map(|keyring| &keyring.identity);
        let signature = identity
            .expect("a run has a commit, and a commit its author")
            .sign(ate_crypto::Purpose::Batch, &root.0);
        for ((&index, path), leaf_index) in of_author.iter().zip(paths).zip(0..) {
            let run = &runs[index];
            let proof = Proof {
                suite: ate_crypto::Suite::Hybrid1,
                author,
                lane: run.lane,
                link: run.link,
                commits: run.commits.clone(),
                leaf_index,
                path,
                signature: signature.clone(),
            };
            proof.encode(&mut proofs[index]);
        }
    }
    proofs
}

/// Makes the oldest pending commit of a chain visible. It is durable.
fn confirm(local: &Local, placing: Placing, seq: u64, placed: &Placed) -> Committed {
    let mut state = local.state.write();
    apply(
        local,
        &mut state,
        &placing.commit,
        &placing.heads,
        &placing.metas,
        placed,
    );
    *local.read_to.lock() = ReadTo::at(placed.next);
    Committed {
        chain: local.chain(),
        seq,
        id: placing.commit.id,
        order_time_ms: placing.commit.order_time_ms,
    }
}

/// Confirms a commit and tells the observer: the one way into what readers see, for commits made here and for those that a load replays.
pub(crate) fn apply(
    local: &Local,
    state: &mut crate::state::State,
    commit: &crate::commit::Commit<crate::commit::Verified>,
    heads: &[u8],
    metas: &[u8],
    placed: &Placed,
) {
    let seq = state.confirmed();
    let observer = local.observer.get();
    let mut changed = Vec::with_capacity(if observer.is_some() {
        commit.events.len()
    } else {
        0
    });
    state.confirm_next(
        placed,
        heads.len() as u32,
        metas.len() as u32,
        |slot, above| {
            if observer.is_some() {
                changed.push((slot, above));
            }
        },
    );
    if let Some(observer) = observer {
        let changes: Vec<RowChange> = changed
            .into_iter()
            .map(|(slot, above)| RowChange::of(state, slot, above))
            .collect();
        let head = &commit.head;
        observer.confirmed(&ConfirmedCommit {
            seq,
            order_time_ms: commit.order_time_ms,
            author: head.author,
            salt: head.salt,
            commitments: &head.commitments,
            events: &commit.events,
            heads,
            metas,
            changes: &changes,
        });
    }
}

impl Placing {
    /// The parts of the commit's frame.
    fn parts(&self) -> Vec<&[u8]> {
        let mut parts = Vec::with_capacity(2 + self.content_bytes.len());
        parts.push(self.heads.as_slice());
        parts.push(self.metas.as_slice());
        let mut rest = self.contents.as_slice();
        for &bytes in &self.content_bytes {
            let (content, after) = rest.split_at(bytes as usize);
            parts.push(content);
            rest = after;
        }
        parts
    }
}

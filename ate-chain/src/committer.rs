//! The committer: one per log. It owns the queue, the writer role, batches, signatures and the sync.
//!
//! Whoever waits for a commit takes the writer role on its own thread if nobody has it, so a lone committer pays no hand-over, and while one round syncs
//! the next one gathers. A round is: order and judge every queued commit, sign each author's share once, append, sync, confirm, answer.
//! **The commit point is the return of `Log::sync`**: nothing is confirmed, observed or answered before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ate_crypto::{Hash, Random};
use ate_log::{AppendError, Cursor, Log};
use parking_lot::{Condvar, Mutex};

use crate::batch::Batch;
use crate::common::Common;
use crate::directory::DirectoryEntry;
use crate::error::{Reject, SubmitError};
use crate::ids::{ChainId, Position};
use crate::local::Local;
use crate::pending::Pending;
use crate::ports::{Clock, Spawn};
use crate::seal::Sealed;
use crate::slot::{Answer, Slot};

mod confirm;
mod round;
mod run;

pub(crate) use confirm::apply;

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

/// What the threads that wait are told.
type Answers = Vec<(Arc<Slot>, Result<Committed, SubmitError>)>;

/// Commits on their way.
struct Submission {
    local: Arc<Local>,
    work: Work,
    /// One for each commit.
    slots: Vec<Arc<Slot>>,
}

/// What is to be ordered.
enum Work {
    /// A commit made here, to be signed with others of its author.
    Own(Sealed),
    /// Commits that somebody else has signed.
    Signed(Batch),
}

impl Work {
    fn chain(&self) -> ChainId {
        match self {
            Self::Own(sealed) => sealed.chain,
            Self::Signed(batch) => batch.chain(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Own(sealed) => sealed.bytes(),
            Self::Signed(batch) => batch.bytes(),
        }
    }

    /// Bytes of its largest frame.
    fn frame_bytes(&self) -> usize {
        match self {
            Self::Own(sealed) => sealed.bytes(),
            Self::Signed(batch) => {
                let commits = batch.commits.iter().map(|commit| commit.bytes());
                commits.max().unwrap_or(0)
            }
        }
    }
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
    /// Where the log stood when the committer was made.
    from: Cursor,
    born: Mutex<Born>,
    common: Common,
}

/// Chains whose genesis this committer has written, until a [`Directory`](crate::Directory) takes them in.
pub(crate) struct Born {
    pub(crate) chains: Vec<DirectoryEntry>,
    /// Every chain that was born before this place of the log is in the list, or was.
    pub(crate) to: Cursor,
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
        let from = log.durable();
        Arc::new(Self {
            from,
            born: Mutex::new(Born {
                chains: Vec::new(),
                to: from,
            }),
            common: Common::default(),
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

    /// Where the log stood when this committer was made: all behind it is its own work, if it writes.
    pub(crate) fn from(&self) -> Cursor {
        self.from
    }

    /// The chains that were begun since this was asked last, and the place before which none is missing.
    pub(crate) fn take_born(&self) -> (Vec<DirectoryEntry>, Cursor) {
        let mut born = self.born.lock();
        (std::mem::take(&mut born.chains), born.to)
    }

    /// Lists a chain whose genesis is about to be written.
    pub(crate) fn announce(&self, entry: DirectoryEntry) {
        self.born.lock().chains.push(entry);
    }

    /// The clock's time.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// What its chains keep once.
    pub(crate) fn common(&self) -> &Common {
        &self.common
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
        let answer = self.enqueue(local, Work::Own(sealed), 1).pop();
        answer.expect("one answer for one commit")
    }

    /// Queues commits whose signature was verified; one answer for each, in order.
    pub(crate) fn submit_signed(
        self: &Arc<Self>,
        local: Arc<Local>,
        batch: Batch,
    ) -> Vec<Pending<Result<Committed, SubmitError>>> {
        let commits = batch.ids().len();
        self.enqueue(local, Work::Signed(batch), commits)
    }

    fn enqueue(
        self: &Arc<Self>,
        local: Arc<Local>,
        work: Work,
        commits: usize,
    ) -> Vec<Pending<Result<Committed, SubmitError>>> {
        let refused = |refusal: SubmitError| {
            let refusals = std::iter::repeat_n(refusal, commits);
            refusals
                .map(|refusal| Pending::ready(Err(refusal)))
                .collect()
        };
        if let Some(refusal) = self.refusal(&local, &work) {
            return refused(refusal);
        }
        let slots: Vec<Arc<Slot>> = (0..commits).map(|_| Arc::default()).collect();
        let mut queue = self.queue.lock();
        if queue.closed {
            return refused(SubmitError::Closed);
        }
        queue.items.push_back(Submission {
            local,
            work,
            slots: slots.clone(),
        });
        drop(queue);
        let answer = |slot| Pending::new(Answer::new(self.clone(), slot));
        slots.into_iter().map(answer).collect()
    }

    fn refusal(&self, local: &Local, work: &Work) -> Option<SubmitError> {
        if self.queue.lock().closed {
            return Some(SubmitError::Closed);
        }
        if work.chain() != local.chain() {
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
            // Sealing or erasing may have failed since: the log itself knows why, and tells whoever wants to write.
            return Some(match self.log.sync() {
                Err(AppendError::Poisoned { cause }) => SubmitError::Poisoned { why: cause },
                Err(AppendError::Closed) => SubmitError::Closed,
                _ => SubmitError::ReadOnly,
            });
        }
        let bytes = work.frame_bytes();
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
        if queue
            .items
            .iter()
            .any(|item| item.slots.iter().any(|slot| slot.promote()))
        {
            return true;
        }
        let is_polled = |item: &Submission| item.slots.iter().any(|slot| slot.is_polled());
        let polled = queue.items.iter().any(is_polled);
        if polled && self.spawn.is_none() {
            return false;
        }
        queue.writing = false;
        queue.called |= polled;
        self.call.notify_all();
        true
    }

    /// Takes the next round out of the queue, in the order it came.
    fn drain(&self) -> Vec<Submission> {
        let mut queue = self.queue.lock();
        let mut bytes = 0;
        let mut round = Vec::new();
        while let Some(item) = queue.items.front() {
            bytes += item.work.bytes();
            if !round.is_empty() && (bytes > ROUND_BYTES_MAX || round.len() >= ROUND_COMMITS_MAX) {
                break;
            }
            round.push(queue.items.pop_front().expect("just seen"));
        }
        round
    }
}

//! A transaction on its way: sealed, handed over, and sent again by itself where that is safe.

use std::sync::Arc;
use std::task::{Context, Poll};

use ate_chain::{
    Committed, ContentId, Pending, Placed, ReadError as ChainError, Reject, Source, SubmitError,
};
use ate_crypto::Hash;
use parking_lot::Mutex;

use crate::error::{CommitError, ReadError};
use crate::lacking::lack;
use crate::receipt::{Durability, Receipt};
use crate::session::Session;
use crate::staging::State;
use crate::transaction::{Conflict, ConflictingRecord, Transaction};
use crate::write::FutureSource;

/// How often a commit follows other writers by itself before it comes back as a conflict. Each time, another commit has succeeded.
pub(crate) const ATTEMPTS_MAX: u32 = 10_000;

type Answer = Pending<Result<Committed, SubmitError>>;

/// A commit that was handed over and may have to be sent again.
struct Work {
    transaction: Transaction,
    answer: Option<Answer>,
    /// Its place in the own lane, on a replica.
    placed: Option<Placed>,
    attempts: u32,
    /// Nobody waits for the outcome.
    is_orphan: bool,
    /// The content that was asked for last, to follow a refusal, and why it did not come.
    sought: Option<(ContentId, Arc<Mutex<Option<ChainError>>>)>,
}

/// What the caller holds of it.
pub(crate) struct Submitted(Option<Work>);

/// A commit whose caller went away: it is seen through by whoever brings its answer.
pub(crate) struct Orphan(Mutex<Care>);

#[derive(Default)]
struct Care {
    work: Option<Work>,
    is_polled: bool,
    was_woken: bool,
    /// Nobody is to see it through.
    is_let_go: bool,
}

impl Submitted {
    /// Seals and hands over at once.
    pub(crate) fn start(transaction: Transaction) -> Pending<Result<Committed, CommitError>> {
        match Self::begin(transaction, None) {
            Ok(submitted) => Pending::new(submitted),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// Seals and hands over, in the place of a commit that was refused if it is meant so.
    pub(crate) fn begin(
        transaction: Transaction,
        replaces: Option<Hash>,
    ) -> Result<Self, CommitError> {
        let mut state = transaction.open()?;
        if state.draft.is_empty() {
            return Err(CommitError::Spent { state: "empty" });
        }
        state.spent = true;
        let answer = submit(&transaction.session, &mut state, replaces);
        if answer.is_err() {
            state.spent = false;
            state.withdraw();
        }
        drop(state);
        let (answer, placed) = answer?;
        Ok(Self(Some(Work {
            transaction,
            answer: Some(answer),
            placed,
            attempts: 1,
            is_orphan: false,
            sought: None,
        })))
    }

    /// Hands over, and waits until it is durable in this store. It is seen through after that without anybody.
    pub(crate) fn stage(transaction: Transaction) -> Pending<Result<Hash, CommitError>> {
        let session = transaction.session.clone();
        let submitted = match Self::begin(transaction, None) {
            Ok(submitted) => submitted,
            Err(error) => return Pending::ready(Err(error)),
        };
        let placed = submitted.0.as_ref().and_then(|work| work.placed.clone());
        let Some(placed) = placed else {
            return Pending::new(submitted).map(|outcome| outcome.map(|committed| committed.id));
        };
        let durable = placed.durable(session.local());
        drop(submitted);
        durable.map(|durable| durable.map_err(unwritten))
    }
}

impl Work {
    /// Judges an answer: the outcome, or `None` if the commit was sent again.
    fn settle(
        &mut self,
        answer: Result<Committed, SubmitError>,
    ) -> Option<Result<Committed, CommitError>> {
        let session = self.transaction.session.clone();
        let mut state = self.transaction.state.lock();
        let reject = match answer {
            Ok(committed) => {
                state.withdraw();
                let erases = state.erases();
                drop(state);
                return Some(if erases {
                    destroyed(&session, committed)
                } else {
                    Ok(committed)
                });
            }
            Err(SubmitError::Rejected(reject)) => reject,
            Err(error) => {
                state.withdraw();
                // Nothing was written, unless nobody knows.
                state.spent = matches!(error, SubmitError::Unknown { .. });
                return Some(Err(unwritten(error)));
            }
        };
        let refused = self.placed.as_ref().and_then(Placed::id);
        self.attempts += 1;
        let followed = match self.attempts <= ATTEMPTS_MAX {
            true => state.follow(&reject),
            false => Ok(false),
        };
        if let Some(content) = lack(&followed) {
            drop(state);
            return self.seek(content, reject);
        }
        let sent = followed.and_then(|followed| match followed {
            true => submit(&session, &mut state, refused).map(Some),
            false => Ok(None),
        });
        let error = match sent {
            Ok(Some((answer, placed))) => {
                (self.answer, self.placed) = (Some(answer), placed);
                return None;
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        state.withdraw();
        state.spent = false;
        if let Reject::Conflict { key, .. } = &reject {
            state.note_conflict(*key);
        }
        drop(state);
        if let Some(id) = refused {
            self.hand_back(&session, &id);
        }
        Some(Err(error.unwrap_or_else(|| self.refused(reject))))
    }

    /// A refused commit of a replica belongs to its caller now, or, if there is none, to the merge hooks.
    fn hand_back(&self, session: &Session, id: &Hash) {
        if self.is_orphan {
            session.local().release_refused(id);
            session.shared.resolve_refused();
        } else {
            session.local().dismiss_refused(id);
        }
    }

    /// Asks for a content that stands elsewhere, after which the same refusal is judged again; the outcome if it was asked for in vain.
    fn seek(
        &mut self,
        content: ContentId,
        reject: Reject,
    ) -> Option<Result<Committed, CommitError>> {
        let before = self.sought.take();
        if let Some((_, failed)) = before.filter(|(sought, _)| *sought == content) {
            let mut state = self.transaction.state.lock();
            state.withdraw();
            state.spent = false;
            drop(state);
            if let Some(id) = self.placed.as_ref().and_then(Placed::id) {
                let session = self.transaction.session.clone();
                self.hand_back(&session, &id);
            }
            let error = failed
                .lock()
                .take()
                .map(|error| ReadError::from(error).into());
            return Some(Err(
                error.unwrap_or(CommitError::Rejected { reason: reject })
            ));
        }
        let failed = Arc::new(Mutex::new(None));
        self.sought = Some((content, failed.clone()));
        let session = self.transaction.session.clone();
        self.answer = Some(Pending::new(FutureSource(Box::pin(async move {
            let error = session.fetch(content).await.err();
            *failed.lock() = error;
            Err(SubmitError::Rejected(reject))
        }))));
        None
    }

    /// What the caller learns of a refusal: of a conflict the record, with the transaction to go on with.
    fn refused(&self, reject: Reject) -> CommitError {
        let Reject::Conflict {
            key,
            expected,
            stored,
        } = reject
        else {
            return CommitError::Rejected { reason: reject };
        };
        let expected = expected.version();
        CommitError::Conflict(Box::new(Conflict {
            transaction: self.transaction.clone(),
            records: vec![ConflictingRecord {
                key,
                expected,
                stored,
            }],
        }))
    }
}

impl Work {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Committed, CommitError>> {
        loop {
            let answer = self.answer.as_mut().expect("polled while on its way");
            let Poll::Ready(answer) = std::pin::Pin::new(answer).poll(context) else {
                return Poll::Pending;
            };
            if let Some(outcome) = self.settle(answer) {
                return Poll::Ready(outcome);
            }
        }
    }

    fn wait(mut self) -> Result<Committed, CommitError> {
        loop {
            let answer = self
                .answer
                .take()
                .expect("waited for while on its way")
                .wait();
            if let Some(outcome) = self.settle(answer) {
                return outcome;
            }
        }
    }
}

impl Source<Result<Committed, CommitError>> for Submitted {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Committed, CommitError>> {
        let work = self.0.as_mut().expect("a commit is answered once");
        let outcome = work.poll(context);
        if outcome.is_ready() {
            self.0 = None;
        }
        outcome
    }

    fn wait(mut self: Box<Self>) -> Result<Committed, CommitError> {
        let work = self.0.take().expect("a commit is answered once");
        work.wait()
    }
}

impl Drop for Submitted {
    /// A commit that was handed over is written even if nobody asks for its outcome, also if it has to be sent again for that.
    fn drop(&mut self) {
        if let Some(mut work) = self.0.take() {
            work.is_orphan = true;
            let shared = work.transaction.session.shared.clone();
            let orphan = Arc::new(Orphan(Mutex::new(Care {
                work: Some(work),
                ..Care::default()
            })));
            shared.orphans.lock().push(orphan.clone());
            orphan.step();
        }
    }
}

impl Orphan {
    fn step(self: Arc<Self>) {
        let waker = self.clone().into();
        let mut context = Context::from_waker(&waker);
        loop {
            let mut work = {
                let mut care = self.0.lock();
                if care.is_polled {
                    care.was_woken = true;
                    return;
                }
                let Some(work) = care.work.take() else { return };
                care.is_polled = true;
                work
            };
            // Without any lock: the thread that polls may write the commit itself, and wake this very orphan.
            let is_done = work.poll(&mut context).is_ready();
            let mut care = self.0.lock();
            care.is_polled = false;
            if care.is_let_go {
                drop(care);
                return;
            }
            if is_done {
                drop(care);
                let shared = work.transaction.session.shared.clone();
                shared
                    .orphans
                    .lock()
                    .retain(|other| !Arc::ptr_eq(other, &self));
                return;
            }
            care.work = Some(work);
            if !std::mem::take(&mut care.was_woken) {
                return;
            }
        }
    }

    /// Leaves a replica's commit to the store, where it is staged: if it is refused, it is kept there.
    pub(crate) fn let_go(&self) {
        let mut care = self.0.lock();
        care.is_let_go = true;
        let work = care.work.take();
        drop(care);
        drop(work);
    }

    /// Sees it through on the calling thread; `false` if another thread is at it.
    pub(crate) fn finish(&self) -> bool {
        let work = {
            let mut care = self.0.lock();
            if care.is_polled {
                return false;
            }
            care.work.take()
        };
        // Nobody is left to hear the outcome.
        drop(work.map(Work::wait));
        true
    }
}

impl std::task::Wake for Orphan {
    fn wake(self: Arc<Self>) {
        self.step();
    }
}

fn submit(
    session: &Arc<Session>,
    state: &mut State,
    replaces: Option<Hash>,
) -> Result<(Answer, Option<Placed>), CommitError> {
    let sealed = state.seal()?;
    let local = session.local();
    if !local.is_replica() {
        return Ok((local.submit(sealed), None));
    }
    let submission = local.submit_staged(sealed, replaces);
    Ok((submission.outcome, Some(submission.placed)))
}

/// What the caller learns of a commit that no rule refused, and that is not known to be in the order.
fn unwritten(error: SubmitError) -> CommitError {
    match error {
        SubmitError::Unknown { commit, why } => CommitError::Unknown { commit, why },
        SubmitError::Rejected(reason) => CommitError::Rejected { reason },
        error => CommitError::Store(error),
    }
}

/// Sees the bytes destroyed that a durable commit erases, without any lock of the view.
fn destroyed(session: &Session, committed: Committed) -> Result<Committed, CommitError> {
    match session.local().finish_erasures() {
        Ok(_) => Ok(committed),
        Err(source) => Err(CommitError::NotDestroyed {
            receipt: Box::new(receipt(session, &committed)),
            source,
        }),
    }
}

/// The receipt of a commit. Computes the root of its position: O(log n) hashes.
pub(crate) fn receipt(session: &Session, committed: &Committed) -> Receipt {
    let position = committed.position();
    Receipt {
        chain: committed.chain,
        commit: committed.id,
        position,
        root: session.local().root_at(position).unwrap_or_default(),
        order_time_ms: committed.order_time_ms,
        durability: reached(session),
    }
}

/// What an answered commit of a chain has reached.
pub(crate) fn reached(session: &Session) -> Durability {
    if session.local().is_replica() {
        Durability::Server
    } else {
        Durability::Local
    }
}

//! A transaction on its way: sealed, handed over, and sent again by itself where that is safe.

use std::sync::Arc;
use std::task::{Context, Poll};

use ate_chain::{
    Committed, ContentId, Pending, ReadError as ChainError, Ref, Reject, Source, SubmitError,
};
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
    attempts: u32,
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
}

impl Submitted {
    /// Seals and hands over at once.
    pub(crate) fn start(transaction: Transaction) -> Pending<Result<Committed, CommitError>> {
        let mut state = match transaction.open() {
            Ok(state) => state,
            Err(error) => return Pending::ready(Err(error)),
        };
        if state.draft.is_empty() {
            return Pending::ready(Err(CommitError::Spent { state: "empty" }));
        }
        state.spent = true;
        let answer = submit(&transaction.session, &mut state);
        drop(state);
        match answer {
            Ok(answer) => Pending::new(Self(Some(Work {
                transaction,
                answer: Some(answer),
                attempts: 1,
                sought: None,
            }))),
            Err(error) => {
                let mut state = transaction.state.lock();
                state.spent = false;
                state.withdraw();
                Pending::ready(Err(error))
            }
        }
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
                return Some(Err(match error {
                    SubmitError::Unknown { commit, why } => CommitError::Unknown { commit, why },
                    error => CommitError::Store(error),
                }));
            }
        };
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
            true => submit(&session, &mut state).map(Some),
            false => Ok(None),
        });
        match sent {
            Ok(Some(answer)) => {
                self.answer = Some(answer);
                return None;
            }
            Ok(None) => {}
            Err(error) => {
                state.withdraw();
                state.spent = false;
                return Some(Err(error));
            }
        }
        state.withdraw();
        state.spent = false;
        if let Reject::Conflict { key, .. } = &reject {
            state.note_conflict(*key);
        }
        drop(state);
        Some(Err(self.refused(reject)))
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
        let expected = match expected {
            Ref::At(version) => Some(version),
            _ => None,
        };
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
        if let Some(work) = self.0.take() {
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

fn submit(session: &Arc<Session>, state: &mut State) -> Result<Answer, CommitError> {
    let sealed = state.seal()?;
    Ok(session.local().submit(sealed))
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
        durability: Durability::Local,
    }
}

//! A transaction on its way: sealed, handed over, and sent again by itself where that is safe.

use std::sync::Arc;
use std::task::{Context, Poll};

use ate_chain::{Committed, Pending, Ref, Reject, Source, SubmitError};

use crate::error::CommitError;
use crate::receipt::{Durability, Receipt};
use crate::session::Session;
use crate::transaction::{Conflict, ConflictingRecord, State, Transaction};

/// How often a commit follows other writers by itself before it comes back as a conflict.
const ATTEMPTS_MAX: u32 = 64;

type Answer = Pending<Result<Committed, SubmitError>>;

/// A commit that was handed over.
pub(crate) struct Submitted {
    transaction: Transaction,
    answer: Option<Answer>,
    attempts: u32,
}

impl Submitted {
    /// Seals and hands over at once.
    pub(crate) fn start(transaction: Transaction) -> Pending<Result<Receipt, CommitError>> {
        let mut state = match transaction.open() {
            Ok(state) => state,
            Err(error) => return Pending::ready(Err(error)),
        };
        Transaction::require_reads(&mut state);
        if state.draft.is_empty() {
            return Pending::ready(Err(CommitError::Spent { state: "empty" }));
        }
        state.spent = true;
        let answer = submit(&transaction.session, &mut state);
        drop(state);
        match answer {
            Ok(answer) => Pending::new(Self {
                transaction,
                answer: Some(answer),
                attempts: 1,
            }),
            Err(error) => {
                let mut state = transaction.state.lock();
                state.spent = false;
                state.withdraw(&transaction.session);
                Pending::ready(Err(error))
            }
        }
    }

    /// Judges an answer: the outcome, or `None` if the commit was sent again.
    fn settle(
        &mut self,
        answer: Result<Committed, SubmitError>,
    ) -> Option<Result<Receipt, CommitError>> {
        let session = self.transaction.session.clone();
        let mut state = self.transaction.state.lock();
        let reject = match answer {
            Ok(committed) => {
                state.withdraw(&session);
                return Some(Ok(receipt(&session, &committed)));
            }
            Err(SubmitError::Rejected(reject)) => reject,
            Err(error) => {
                state.withdraw(&session);
                return Some(Err(match error {
                    SubmitError::Unknown { commit, why } => CommitError::Unknown { commit, why },
                    error => CommitError::Store(error),
                }));
            }
        };
        self.attempts += 1;
        let again = self.attempts <= ATTEMPTS_MAX && state.follow(&session, &reject);
        if again {
            match submit(&session, &mut state) {
                Ok(answer) => {
                    self.answer = Some(answer);
                    return None;
                }
                Err(error) => {
                    state.withdraw(&session);
                    return Some(Err(error));
                }
            }
        }
        state.withdraw(&session);
        state.spent = false;
        drop(state);
        Some(Err(match reject {
            Reject::Conflict {
                key,
                expected,
                stored,
            } => {
                let expected = match expected {
                    Ref::At(version) => Some(version),
                    _ => None,
                };
                let records = vec![ConflictingRecord {
                    key,
                    expected,
                    stored,
                }];
                CommitError::Conflict(Box::new(Conflict {
                    transaction: self.transaction.clone(),
                    records,
                }))
            }
            reason => CommitError::Rejected { reason },
        }))
    }
}

impl Source<Result<Receipt, CommitError>> for Submitted {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Receipt, CommitError>> {
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

    fn wait(mut self: Box<Self>) -> Result<Receipt, CommitError> {
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

fn submit(session: &Arc<Session>, state: &mut State) -> Result<Answer, CommitError> {
    let sealed = state.draft.seal_again(session.shared.clock.now_ms())?;
    Ok(session.local().submit(sealed))
}

fn receipt(session: &Session, committed: &Committed) -> Receipt {
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

impl State {
    /// What was announced is confirmed by now, or not coming.
    pub(crate) fn withdraw(&mut self, session: &Session) {
        if !self.defines.is_empty() {
            let mut announced = session.shared.announced.lock();
            self.defines.drain(..).for_each(|(_, scope, tag)| {
                announced.remove(&(scope, tag));
            });
        }
    }

    /// Changes the draft so that a refusal which says nothing about the caller's intent goes away; `false` if it cannot.
    fn follow(&mut self, session: &Session, reject: &Reject) -> bool {
        match reject {
            // Somebody else defined the schema first.
            Reject::Conflict { key, .. }
                if self.defines.iter().any(|(define, ..)| define == key) =>
            {
                let Some(index) = self.draft.event_of(key) else {
                    return false;
                };
                self.draft.take_back(index);
                self.targets
                    .values_mut()
                    .filter(|at| **at > index)
                    .for_each(|at| *at -= 1);
                let mut announced = session.shared.announced.lock();
                self.defines.retain(|(define, scope, tag)| {
                    if define == key {
                        announced.remove(&(*scope, *tag));
                    }
                    define != key
                });
                true
            }
            // The definition that this commit relied on never came.
            Reject::UnknownSchema { .. } => {
                let schemas = self.schemas.clone();
                schemas
                    .iter()
                    .all(|(scope, descriptor)| self.define_now(session, *scope, descriptor).is_ok())
            }
            Reject::StaleEpoch { .. } => {
                self.draft.refresh_keys();
                true
            }
            // A write without a read follows the newest version, unless the record came or went meanwhile: then it is another kind of event.
            Reject::Conflict {
                key,
                expected,
                stored: Some(stored),
            } if self.blind.contains(key) && *expected != Ref::Absent => {
                let live = session.live(key).is_some();
                match self.draft.event_of(key) {
                    Some(index) if live => {
                        self.draft.set_supersedes(index, Ref::At(*stored));
                        true
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

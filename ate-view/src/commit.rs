//! A transaction on its way: sealed, handed over, and sent again by itself where that is safe.

use std::sync::Arc;
use std::task::{Context, Poll};

use ate_chain::{Committed, Pending, Ref, Reject, Source, SubmitError};

use crate::error::CommitError;
use crate::receipt::{Durability, Receipt};
use crate::session::Session;
use crate::staging::State;
use crate::transaction::{Conflict, ConflictingRecord, Transaction};

/// How often a commit follows other writers by itself before it comes back as a conflict. Each time, another commit has succeeded.
pub(crate) const ATTEMPTS_MAX: u32 = 10_000;

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
                state.withdraw();
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
                state.withdraw();
                return Some(Ok(receipt(&session, &committed)));
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
    let sealed = state.seal()?;
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

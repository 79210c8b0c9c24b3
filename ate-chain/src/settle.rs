//! How staged commits end: what the sequencer says of them, what the confirmed state shows, and what is told to whom.

use std::sync::Arc;

use ate_crypto::Hash;
use ate_log::{AppendError, FrameKind};

use crate::batch::Batch;
use crate::codec::Reader;
use crate::committer::Committed;
use crate::error::{FormatError, Reject, SubmitError};
use crate::ids::Position;
use crate::local::Local;
use crate::outbox::{Outbox, Outcome, StagedCommit};
use crate::refused::Kept;
use crate::replica::Replica;
use crate::seal::Placing;
use crate::slot::Slot;
use crate::state::{At, State};

/// What is known of a staged commit.
#[derive(Clone)]
pub(crate) enum Fate {
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

/// Why a commit was refused, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    /// Another commit may do what this one meant: it came too late, not without the right to.
    pub(crate) may_retry: bool,
}

impl Refusal {
    fn of(reject: &Reject) -> Self {
        Self {
            reason: reject.to_string(),
            may_retry: matches!(
                reject,
                Reject::Conflict { .. }
                    | Reject::NoRecord { .. }
                    | Reject::StaleEpoch { .. }
                    | Reject::UnknownSchema { .. }
                    | Reject::Behind { .. }
                    | Reject::Spent { .. }
                    | Reject::After { .. }
            ),
        }
    }
}

/// What became of a staged commit, as it is noted beside the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settled {
    pub(crate) id: Hash,
    /// Why it was refused; `None` if it is in the order, or was refused and has been dealt with.
    pub(crate) refused: Option<Refusal>,
}

impl Settled {
    const FINAL: u8 = 1;
    const MAY_RETRY: u8 = 2;

    /// `id`, and for one that was refused `u8` (1 for good, 2 it may be written again) `‖ reason`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.id.0.to_vec();
        if let Some(refusal) = &self.refused {
            out.push(match refusal.may_retry {
                true => Self::MAY_RETRY,
                false => Self::FINAL,
            });
            out.extend_from_slice(refusal.reason.as_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let id = Hash(reader.array()?);
        if reader.is_empty() {
            return Ok(Self { id, refused: None });
        }
        let class = reader.u8()?;
        if class != Self::FINAL && class != Self::MAY_RETRY {
            return Err(FormatError::Unknown {
                what: "class of a refusal",
                got: class.into(),
            });
        }
        let reason = reader.take(reader.left())?;
        Ok(Self {
            id,
            refused: Some(Refusal {
                reason: String::from_utf8_lossy(reason).into_owned(),
                may_retry: class == Self::MAY_RETRY,
            }),
        })
    }
}

impl Outbox {
    /// What became of a commit that was staged, as an earlier process noted it.
    pub(crate) fn note(&mut self, settled: Settled) {
        let mut found = None;
        for staged in &mut self.staged {
            let placings = staged.batch.commits.iter();
            for (placing, commit) in placings.zip(&mut staged.commits) {
                if placing.commit.id == settled.id {
                    commit.fate = Fate::Settled;
                    found = Some(placing.clone());
                }
            }
        }
        self.sweep();
        match (settled.refused, found) {
            (Some(refusal), Some(placing)) => {
                self.remember(settled.id, refusal.reason.clone());
                self.keep(Kept::of(placing, refusal));
            }
            (Some(_), None) => {}
            (None, _) => {
                self.forget(&settled.id);
            }
        }
    }
}

/// A staged commit at its end.
struct Ended {
    slot: Option<Arc<Slot>>,
    outcome: Outcome,
    settled: Settled,
    placing: Arc<Placing>,
    is_durable: bool,
    /// Its caller is told, and cannot deal with it later: nothing of it is kept.
    is_told: bool,
}

impl Local {
    /// Notes what the sequencer says of a commit that was sent. The caller of the commit is answered when the replica has reached the state that the answer rests
    /// on: so whoever is answered sees it. What is refused is not shown to readers any more at once, nor is what builds upon it.
    pub fn answered(&self, id: &Hash, answer: Answered) {
        let Some(replica) = self.replica.get() else {
            return;
        };
        let fate = match answer {
            Answered::Landed { seq } => Fate::Landed(seq),
            Answered::Refused { reason, at } => Fate::Refused(reason, at.0),
        };
        let is_refused = matches!(fate, Fate::Refused(..));
        {
            let mut outbox = replica.outbox.lock();
            outbox.judge(id, fate);
            #[cfg(ate_planted)]
            if ate_crypto::planted("settle-on-the-answer") {
                outbox.believe(id, self.chain());
            }
        }
        if is_refused {
            let mut state = self.state.write();
            let mut staged = state
                .pending
                .iter()
                .filter_map(|commit| commit.staged.as_ref());
            if staged.any(|placing| placing.commit.id == *id) {
                self.renew_overlay(&mut state);
            }
        }
        self.settle_landed();
    }

    /// Answers the callers of commits whose outcome the confirmed state shows. To be called after frames were taken in, without a lock.
    pub fn settle_landed(&self) {
        let Some(replica) = self.replica.get() else {
            return;
        };
        let ended = {
            let state = self.state.read();
            replica.outbox.lock().end(&state)
        };
        if ended.is_empty() {
            return;
        }
        let noted = self.note_ends(replica, &ended);
        let mut answers = Vec::new();
        {
            let mut outbox = replica.outbox.lock();
            for end in ended {
                if let Some(refusal) = end.settled.refused.filter(|_| !end.is_told) {
                    let mut kept = Kept::of(end.placing, refusal);
                    // Whoever holds the answer learns of it there.
                    let slot = end.slot.as_ref();
                    kept.is_claimed = slot.is_some_and(is_waited_for);
                    outbox.keep(kept);
                }
                let outcome = match (end.outcome, &noted) {
                    (Err(_), Err(error)) => Err(SubmitError::Unknown {
                        commit: end.settled.id,
                        why: error.to_string(),
                    }),
                    (outcome, _) => outcome,
                };
                answers.extend(end.slot.map(|slot| (slot, outcome)));
            }
            outbox.sweep();
        }
        for (slot, outcome) in answers {
            slot.answer(outcome);
        }
        self.tell_refused();
    }

    /// Tells whoever observes the chain of refused commits that nobody waits for.
    pub(crate) fn tell_refused(&self) {
        let any = self.replica.get().is_some_and(|replica| {
            let outbox = replica.outbox.lock();
            outbox.kept.iter().any(Kept::is_free)
        });
        let observer = self.observer.read().clone();
        if let Some(observer) = observer.filter(|_| any) {
            observer.refused();
        }
    }

    /// Notes beside the chain how commits ended. What was refused is written first if it is not yet: it is kept until it is dealt with.
    ///
    /// A landed commit is told by the chain itself. The note on a refused one is durable when this returns: were it lost after its caller was told, the commit would
    /// be sent again, and might land then.
    fn note_ends(&self, replica: &Replica, ended: &[Ended]) -> Result<(), AppendError> {
        let refused = |end: &Ended| end.settled.refused.is_some();
        let any = ended.iter().any(refused);
        let mut noted = Ok(());
        // With one that is settled the rest of its batch may be written later.
        if ended.iter().any(|end| refused(end) && !end.is_durable) {
            noted = self.write_staged(replica);
        }
        for end in ended {
            if let Some(refusal) = &end.settled.refused {
                self.forget_keys(&end.placing);
                replica
                    .outbox
                    .lock()
                    .remember(end.settled.id, refusal.reason.clone());
            }
            let settled = match end.is_told {
                true => Settled {
                    id: end.settled.id,
                    refused: None,
                },
                false => end.settled.clone(),
            };
            // What landed and is not on the disk needs no note that it is done.
            if end.is_durable || refused(end) {
                let note = self.note_settled(replica, &settled);
                noted = noted.and(note);
            }
        }
        match any {
            true => noted.and_then(|()| self.keep_refusals()),
            false => noted,
        }
    }

    fn keep_refusals(&self) -> Result<(), AppendError> {
        #[cfg(ate_planted)]
        if ate_crypto::planted("tell-a-refusal-before-it-is-kept") {
            return Ok(());
        }
        self.log.sync().map(drop)
    }

    /// Appends a note to the side stream. Not synced.
    ///
    /// # Errors
    /// The log's. Without the note the chain itself says what landed, and what was refused is sent, and judged, once more.
    pub(crate) fn note_settled(
        &self,
        replica: &Replica,
        settled: &Settled,
    ) -> Result<(), AppendError> {
        let bytes = settled.encode();
        self.append_beside(replica, FrameKind::Settled, 0, 1, &[&bytes])
            .map(drop)
    }
}

/// Whether somebody holds the answer to come.
fn is_waited_for(slot: &Arc<Slot>) -> bool {
    Arc::strong_count(slot) > 1
}

impl Outbox {
    /// A planted bug: the caller is told before anything of it is seen.
    #[cfg(ate_planted)]
    fn believe(&mut self, id: &Hash, chain: crate::ids::ChainId) {
        for staged in &mut self.staged {
            for (index, other) in staged.batch.ids().iter().enumerate() {
                let commit = &mut staged.commits[index];
                if let Fate::Landed(seq) = commit.fate
                    && other == id
                    && let Some(slot) = commit.slot.take()
                {
                    slot.answer(Ok(Committed {
                        chain,
                        seq,
                        id: *id,
                        order_time_ms: 0,
                    }));
                }
            }
        }
    }

    fn judge(&mut self, id: &Hash, fate: Fate) {
        for staged in &mut self.staged {
            let Some(index) = staged.batch.ids().iter().position(|other| other == id) else {
                continue;
            };
            let commit = &mut staged.commits[index];
            if matches!(commit.fate, Fate::Open) {
                commit.fate = fate;
            }
            return;
        }
    }

    /// The commits whose outcome the state shows, which are settled with that. Their batches stay until they are swept.
    fn end(&mut self, state: &State) -> Vec<Ended> {
        let mut ended = Vec::new();
        for staged in &mut self.staged {
            let (batch, is_durable) = (staged.batch.clone(), staged.is_durable);
            for (placing, commit) in batch.commits.iter().zip(&mut staged.commits) {
                let Some(outcome) = fate_in(state, &batch, placing, commit) else {
                    continue;
                };
                commit.fate = Fate::Settled;
                let is_told = !commit.is_tracked && commit.slot.as_ref().is_some_and(is_waited_for);
                let settled = Settled {
                    id: placing.commit.id,
                    refused: match &outcome {
                        Err(SubmitError::Rejected(reason)) => Some(Refusal::of(reason)),
                        _ => None,
                    },
                };
                ended.push(Ended {
                    slot: commit.slot.take(),
                    outcome,
                    settled,
                    placing: placing.clone(),
                    is_durable,
                    is_told,
                });
            }
        }
        ended
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
    if matches!(commit.fate, Fate::Settled) {
        return None;
    }
    // What the chain itself shows counts, whatever was said of it.
    if let Some(shown) = landed().filter(Result::is_ok) {
        return Some(shown);
    }
    match &commit.fate {
        Fate::Settled | Fate::Open => None,
        Fate::Landed(seq) => (state.confirmed() > *seq).then(landed).flatten(),
        Fate::Refused(reason, at) => {
            let told = || told_of(reason, head.seen.size, state.confirmed());
            (state.confirmed() >= *at).then(|| Err(SubmitError::Rejected(told())))
        }
    }
}

/// What a caller is told of a refusal. A replica takes in nothing of another history, so a commit that "has seen another history", while the replica has come further,
/// went behind its lane: placed anew it has seen more. That it has is demanded, so that nobody who says it again and again makes a store write for ever.
fn told_of(reason: &Reject, seen: u64, confirmed: u64) -> Reject {
    match reason {
        Reject::Seen if seen < confirmed => Reject::Behind { seen },
        reason => reason.clone(),
    }
}

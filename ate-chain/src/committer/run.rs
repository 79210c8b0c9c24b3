//! Runs: the commits of one author in one chain, placed and judged in the order they came, and signed together.

use std::sync::Arc;

use ate_crypto::{Hash, KeyId, Purpose, Suite};

use crate::batch::Batch;
use crate::error::{Reject, SubmitError};
use crate::genesis::unseen;
use crate::head::Seen;
use crate::ids::{ChainId, Epoch, LaneId, RecordKey};
use crate::keyring::Keyring;
use crate::local::Local;
use crate::proof::{BATCH_COMMITS_MAX, Proof, batch_leaf, batch_tree, commits_root};
use crate::seal::{Placing, Sealed};
use crate::slot::Slot;
use crate::state::{At, State};

use super::{Answers, Committed};

/// A commit at its place, until the round is written.
pub(super) struct Item {
    pub(super) placing: Placing,
    pub(super) seq: u64,
    /// Epochs whose keys the author holds already, on the word of this commit.
    pub(super) made: Vec<(RecordKey, Epoch)>,
    /// Nobody waits for a genesis: it goes with the commit that caused it.
    pub(super) slot: Option<Arc<Slot>>,
}

/// Commits of one author in one chain that go under one batch leaf.
pub(super) struct Run {
    pub(super) local: Arc<Local>,
    pub(super) author: KeyId,
    /// `None` only for a genesis that goes alone.
    pub(super) keyring: Option<Arc<Keyring>>,
    lane: LaneId,
    /// Last number of the lane that is used.
    last: u64,
    order_time_ms: u64,
    link: Hash,
    commits: Vec<Hash>,
    pub(super) leaf: Hash,
    pub(super) items: Vec<Item>,
    /// The proof that its author has sent along.
    signed: Option<Vec<u8>>,
}

impl Run {
    /// Places and judges every submission in turn; those that are refused are answered.
    pub(super) fn order(
        local: Arc<Local>,
        author: KeyId,
        items: Vec<(Sealed, Arc<Slot>)>,
        now_ms: u64,
        answers: &mut Answers,
    ) -> Self {
        let lane = local.own_lane(&author);
        let mut state = local.state.write();
        let mut run = Self {
            author,
            keyring: None,
            lane: lane.id,
            last: state
                .lanes
                .get(&(author, lane.id))
                .map_or(0, |lane| lane.last),
            order_time_ms: now_ms.max(state.last_order_time_ms()),
            link: lane.link,
            commits: Vec::new(),
            leaf: Hash::ZERO,
            items: Vec::new(),
            signed: None,
            local: local.clone(),
        };
        run.begin_chain(&mut state);
        let seen = state.seen();
        for (sealed, slot) in items {
            if run.items.len() >= BATCH_COMMITS_MAX {
                let why = "too many commits in one round; send it again".into();
                answers.push((slot, Err(SubmitError::TooLarge { why })));
                continue;
            }
            match run.propose(&mut state, sealed, seen) {
                Ok(item) => run.push(Item {
                    slot: Some(slot),
                    ..item
                }),
                Err(reject) => answers.push((slot, Err(SubmitError::Rejected(reject)))),
            }
        }
        drop(state);
        run.leaf = batch_leaf(
            &local.chain(),
            &run.lane,
            &run.link,
            &commits_root(&run.commits),
        );
        run
    }

    /// Places the commits of a batch that somebody else has signed, and judges each in turn: one that is refused does not stop those behind it.
    pub(super) fn order_signed(
        local: Arc<Local>,
        batch: Batch,
        slots: Vec<Arc<Slot>>,
        now_ms: u64,
        answers: &mut Answers,
    ) -> Self {
        let mut state = local.state.write();
        let mut run = Self {
            author: batch.author(),
            keyring: None,
            lane: batch.lane(),
            last: 0,
            order_time_ms: now_ms.max(state.last_order_time_ms()),
            link: batch.proof.link,
            commits: Vec::new(),
            leaf: Hash::ZERO,
            items: Vec::new(),
            signed: Some(batch.proof_bytes),
            local: local.clone(),
        };
        for (placing, slot) in batch.commits.into_iter().zip(slots) {
            // A batch that was decoded is held by nobody else: nothing is copied.
            let mut placing = Arc::unwrap_or_clone(placing);
            placing.order_at(run.order_time_ms);
            match state.propose(&placing.commit) {
                Ok(ordered) => run.push(Item {
                    placing,
                    seq: ordered.seq,
                    made: Vec::new(),
                    slot: Some(slot),
                }),
                Err(reject) => answers.push((slot, run.refused(&state, &placing, reject))),
            }
        }
        drop(state);
        run
    }

    /// What becomes of a commit that is refused. One that was sent again is at its place already, or on its way there.
    fn refused(
        &self,
        state: &State,
        placing: &Placing,
        reject: Reject,
    ) -> Result<Committed, SubmitError> {
        let id = placing.commit.id;
        if !matches!(reject, Reject::Spent { .. } | Reject::Invalid { .. }) {
            return Err(reject.into());
        }
        let number = placing.commit.head.number;
        match state.find_commit(&self.author, &self.lane, number, &id) {
            Some(At::Confirmed { seq, order_time_ms }) => Ok(Committed {
                chain: state.chain,
                seq,
                id,
                order_time_ms,
            }),
            Some(At::Pending) => Err(SubmitError::Unknown {
                commit: id,
                why: "it was sent before and is on its way".into(),
            }),
            None => Err(reject.into()),
        }
    }

    /// Whether this store signs it.
    pub(super) fn is_own(&self) -> bool {
        self.signed.is_none()
    }

    /// The genesis of a chain that has none yet goes before the first commit of its root.
    fn begin_chain(&mut self, state: &mut State) {
        let birth = self
            .local
            .birth
            .as_ref()
            .filter(|birth| birth.keyring.identity.id() == self.author);
        let Some(birth) = birth.filter(|_| state.next_seq() == 0) else {
            return;
        };
        let placing =
            birth
                .sealed()
                .place(&ChainId::UNBORN, self.lane, 1, unseen(), self.order_time_ms);
        let ordered = state
            .propose(&placing.commit)
            .expect("a planned genesis is valid");
        self.last = 1;
        self.push(Item {
            placing,
            seq: ordered.seq,
            made: Vec::new(),
            slot: None,
        });
    }

    /// Places a commit next in the lane and judges it; its author holds the keys it makes from here on. A refused one leaves its number to the next.
    fn propose(
        &mut self,
        state: &mut State,
        mut sealed: Sealed,
        seen: Seen,
    ) -> Result<Item, Reject> {
        let keyring = sealed.keyring.clone();
        self.keyring.get_or_insert_with(|| keyring.clone());
        let made = std::mem::take(&mut sealed.made);
        let placing = sealed.place(
            &self.local.chain(),
            self.lane,
            self.last + 1,
            seen,
            self.order_time_ms,
        );
        let ordered = state.propose(&placing.commit)?;
        self.last += 1;
        let epochs = made.iter().map(|(scope, keys)| (*scope, keys.epoch));
        let epochs = epochs.collect();
        made.into_iter()
            .for_each(|(scope, keys)| keyring.insert(scope, keys.epoch, keys.read, keys.name));
        Ok(Item {
            placing,
            seq: ordered.seq,
            made: epochs,
            slot: None,
        })
    }

    fn push(&mut self, item: Item) {
        self.commits.push(item.placing.commit.id);
        self.items.push(item);
    }
}

/// One signature for each author over all its runs; the proof of each run.
pub(super) fn sign(runs: &mut [Run]) -> Vec<Vec<u8>> {
    let mut proofs = vec![Vec::new(); runs.len()];
    for (run, proof) in runs.iter_mut().zip(&mut proofs) {
        if let Some(signed) = &mut run.signed {
            *proof = std::mem::take(signed);
        }
    }
    let own = runs.iter().filter(|run| run.is_own());
    let mut authors: Vec<KeyId> = own.map(|run| run.author).collect();
    authors.sort_unstable();
    authors.dedup();
    for author in authors {
        let of_author: Vec<usize> = (0..runs.len())
            .filter(|&index| runs[index].is_own() && runs[index].author == author)
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
            .sign(Purpose::Batch, &root.0);
        for ((&index, path), leaf_index) in of_author.iter().zip(paths).zip(0..) {
            let run = &runs[index];
            let proof = Proof {
                suite: Suite::Hybrid1,
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

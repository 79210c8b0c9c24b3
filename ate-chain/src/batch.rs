//! Commits of one author for one chain under one signature, on their way to whoever decides the order.
//!
//! Everything is in it but the order time, which the sequencer gives. Decoding checks every hash; the signature is checked with the author's key, which only
//! the chain knows.

use std::borrow::Cow;
use std::sync::Arc;

use ate_crypto::{Hash, KeyId, Who};

use crate::codec::{Reader, put_bytes, put_varint};
use crate::commit::{Commit, PART_CONTENTS, Stored, Unverified, encode_part_head};
use crate::error::{BatchError, Reject};
use crate::event::{Change, Genesis};
use crate::head::EVENTS_MAX;
use crate::ids::{ChainId, LaneId};
use crate::proof::{Proof, verify_batch};
use crate::seal::Placing;
use crate::state::State;

/// Parts of a commit: heads, metas, and a content for each event at most.
const PARTS_MAX: u64 = PART_CONTENTS as u64 + EVENTS_MAX as u64;

/// Bytes of the order time in front of frame part 0.
const ORDER_TIME_BYTES: usize = 8;

/// Signed commits without a place in the order.
pub struct Batch {
    chain: ChainId,
    pub(crate) proof: Proof,
    pub(crate) proof_bytes: Vec<u8>,
    pub(crate) commits: Vec<Arc<Placing>>,
}

/// Who a batch says that it is of: nothing of it was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claimed {
    /// Its author.
    pub author: KeyId,
    /// The author's lane.
    pub lane: LaneId,
    /// Commits that it announces.
    pub commits: usize,
}

impl Batch {
    /// Whose batch the bytes say to be, without a look at its commits: so that whoever is not known costs next to nothing.
    ///
    /// # Errors
    /// [`BatchError`] if there is not even a proof.
    pub fn claimed(bytes: &[u8]) -> Result<Claimed, BatchError> {
        let mut reader = Reader::new(bytes);
        let proof = Proof::decode(reader.bytes(bytes.len())?)?;
        Ok(Claimed {
            author: proof.author,
            lane: proof.lane,
            commits: proof.commits.len(),
        })
    }

    /// Whether a chain that does not exist yet could begin with this batch: its first commit is a valid genesis, signed by the root that it names. About 80 µs.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn founds(&self) -> Result<&Genesis, Reject> {
        let none = Reject::Invalid {
            why: "a chain begins with its genesis",
        };
        let (Some(genesis), Some(first)) = (self.genesis(), self.commits.first()) else {
            return Err(none);
        };
        State::new(self.chain).propose(&first.commit)?;
        if self.is_signed_by(&genesis.root) {
            Ok(genesis)
        } else {
            Err(Reject::Invalid {
                why: "the signature does not hold",
            })
        }
    }

    pub(crate) fn new(chain: ChainId, proof: Proof, commits: Vec<Arc<Placing>>) -> Self {
        let mut proof_bytes = Vec::new();
        proof.encode(&mut proof_bytes);
        Self {
            chain,
            proof,
            proof_bytes,
            commits,
        }
    }

    /// The chain that it is for.
    #[must_use]
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// Who signed it.
    #[must_use]
    pub fn author(&self) -> KeyId {
        self.proof.author
    }

    /// The author's lane.
    #[must_use]
    pub fn lane(&self) -> LaneId {
        self.proof.lane
    }

    /// The ids of its commits, in order.
    #[must_use]
    pub fn ids(&self) -> &[Hash] {
        &self.proof.commits
    }

    /// The lane numbers of its commits, in order.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.commits.iter().map(|item| item.commit.head.number)
    }

    /// What it founds the chain on, if its first commit does.
    #[must_use]
    pub fn genesis(&self) -> Option<&Genesis> {
        genesis_of(&self.commits.first()?.commit.events.first()?.head.change)
    }

    /// What it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let commits = self.commits.iter();
        self.proof_bytes.len() + commits.map(|placing| placing.bytes()).sum::<usize>()
    }

    /// Whether `who`, who must be its author, signed it. About 75 µs.
    pub(crate) fn is_signed_by(&self, who: &Who) -> bool {
        let root = self.proof.batch_root(self.proof.leaf(&self.chain));
        who.id() == self.proof.author && verify_batch(who, &root, &self.proof.signature)
    }

    /// Appends the bytes: `bytes(proof) ‖ (varint part count ‖ bytes(part)…)…`, one list of parts for each commit that the proof names, each as in its frame but
    /// without the order time in front of the first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes() + 64);
        put_bytes(out, &self.proof_bytes);
        for commit in &self.commits {
            let parts = commit.parts();
            put_varint(out, parts.len() as u64);
            put_bytes(out, &parts[0][ORDER_TIME_BYTES..]);
            parts[1..].iter().for_each(|part| put_bytes(out, part));
        }
    }

    /// Decodes a batch for `chain` and checks every hash in it.
    ///
    /// # Errors
    /// [`BatchError`].
    ///
    /// # Cost
    /// One hash over everything. Memory is a small multiple of `bytes`.
    pub fn decode(chain: ChainId, bytes: &[u8]) -> Result<Self, BatchError> {
        let mut reader = Reader::new(bytes);
        let proof_bytes = reader.bytes(bytes.len())?;
        let proof = Proof::decode(proof_bytes)?;
        let mut commits = Vec::with_capacity(proof.commits.len().min(bytes.len() / 64));
        let mut last = 0;
        for id in &proof.commits {
            let placing = decode_commit(&chain, &mut reader, commits.is_empty())?;
            let head = &placing.commit.head;
            if placing.commit.id != *id || head.author != proof.author || head.lane != proof.lane {
                return Err(BatchError::Invalid {
                    why: "the proof does not name this commit",
                });
            }
            if head.number <= last {
                return Err(BatchError::Invalid {
                    why: "lane numbers do not ascend",
                });
            }
            last = head.number;
            commits.push(Arc::new(placing));
        }
        reader.finish()?;
        Ok(Self {
            chain,
            proof_bytes: proof_bytes.to_vec(),
            proof,
            commits,
        })
    }
}

fn genesis_of(change: &Change) -> Option<&Genesis> {
    match change {
        Change::Genesis(genesis) => Some(genesis),
        _ => None,
    }
}

fn decode_commit(
    chain: &ChainId,
    reader: &mut Reader<'_>,
    may_found: bool,
) -> Result<Placing, BatchError> {
    let parts = reader.varint()?;
    if !(PART_CONTENTS as u64..=PARTS_MAX).contains(&parts) {
        return Err(BatchError::Invalid {
            why: "a commit has two parts and its bodies, one for an event",
        });
    }
    let most = reader.left();
    let mut heads = vec![0; ORDER_TIME_BYTES];
    heads.extend_from_slice(reader.bytes(most)?);
    let metas = reader.bytes(most)?.to_vec();
    let (mut contents, mut content_bytes) = (Vec::new(), Vec::new());
    for _ in PART_CONTENTS as u64..parts {
        let part = reader.bytes(most)?;
        contents.extend_from_slice(part);
        content_bytes.push(part.len() as u32);
    }
    let commit = decode_heads(chain, &heads, may_found)?;
    let mut rest = contents.as_slice();
    let mut lengths = content_bytes.iter();
    let next = || {
        let (part, after) = rest.split_at(*lengths.next()? as usize);
        rest = after;
        Some(Stored::Here(Cow::Borrowed(part)))
    };
    let (commit, missing) = commit
        .verify(&metas, next, true)
        .map_err(|why| BatchError::Invalid { why })?;
    if !missing.is_empty() {
        return Err(BatchError::Invalid {
            why: "a sealed name does not match its signed hash",
        });
    }
    Ok(Placing {
        commit,
        heads,
        metas,
        contents,
        content_bytes,
    })
}

/// A genesis has no chain id in its head: its own id is the chain's.
fn decode_heads(
    chain: &ChainId,
    heads: &[u8],
    may_found: bool,
) -> Result<Commit<Unverified>, BatchError> {
    let commit = Commit::decode(chain, heads)?;
    let founds = commit
        .events
        .first()
        .is_some_and(|event| genesis_of(&event.head.change).is_some());
    if !(founds && may_found) {
        return Ok(commit);
    }
    let commit = Commit::decode(&ChainId::UNBORN, heads)?;
    if commit.id != chain.0 {
        return Err(BatchError::Invalid {
            why: "the genesis commit is not the one that the chain is named after",
        });
    }
    Ok(commit)
}

impl Placing {
    /// What it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.heads.len() + self.metas.len() + self.contents.len() + 8 * self.content_bytes.len()
    }

    /// Gives the commit its order time.
    pub(crate) fn order_at(&mut self, order_time_ms: u64) {
        self.commit.order_time_ms = order_time_ms;
        let mut time = Vec::with_capacity(ORDER_TIME_BYTES + 1);
        encode_part_head(order_time_ms, &[], &mut time);
        self.heads[..ORDER_TIME_BYTES].copy_from_slice(&time[..ORDER_TIME_BYTES]);
    }
}

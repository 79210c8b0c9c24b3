//! Loading a chain from its log: every frame is decoded, hashed, proved and judged again before anybody sees the state.
//!
//! Signatures: a proof's batch leaf names the leaf that the same store signed before in the lane, so a later signature covers the earlier ones it is
//! linked to. A load verifies the last of every unbroken run, and the last before each change of authority; a deep load verifies all.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use ate_crypto::{Hash, KeyId, Signature, Who};
use ate_log::{Cursor, Frame, FrameKind, Location, Log, Placed};

use crate::commit::{Commit, PART_CONTENTS, PART_HEADS, PART_METAS, Verified};
use crate::committer::{Committer, apply};
use crate::error::OpenError;
use crate::event::Change;
use crate::ids::{ChainId, LaneId, Position};
use crate::local::Local;
use crate::proof::{Proof, verify_batch};
use crate::rest::Rest;
use crate::state::State;

/// How much a load proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Depth {
    /// Heads, order, rules, roots, and the signatures that cover them. Bodies are checked when they are read.
    Heads,
    /// Also every body against its signed hash.
    Bodies,
    /// Also every single signature.
    Deep,
}

/// What a load proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Proved {
    /// Commits judged by the rules.
    pub commits: u64,
    /// Events in them.
    pub events: u64,
    /// Bodies whose hash was checked.
    pub bodies: u64,
    /// Bytes of those bodies, sealed.
    pub body_bytes: u64,
    /// Hybrid signatures verified.
    pub signatures: u64,
    /// Proof frames covered by those signatures.
    pub proofs: u64,
}

/// The signature that stands for an unbroken run of proofs.
struct Run {
    leaf: Hash,
    root: Hash,
    signature: Signature,
    at: Location,
    /// First commit that nothing else covers.
    seq: u64,
}

/// A proof whose commits are still to come.
struct Open {
    author: KeyId,
    lane: LaneId,
    commits: std::vec::IntoIter<Hash>,
}

/// Replays the frames of one chain into a state.
pub(crate) struct Replay<'a> {
    chain: ChainId,
    depth: Depth,
    open: Option<Open>,
    runs: HashMap<(KeyId, LaneId), Run>,
    /// The proof of the genesis commit, before its key is known.
    first: Option<(Proof, Location)>,
    pub(crate) proved: Proved,
    progress: &'a mut dyn FnMut(&Proved),
}

impl<'a> Replay<'a> {
    pub(crate) fn new(chain: ChainId, depth: Depth, progress: &'a mut dyn FnMut(&Proved)) -> Self {
        Self {
            chain,
            depth,
            open: None,
            runs: HashMap::new(),
            first: None,
            proved: Proved::default(),
            progress,
        }
    }

    /// Takes one frame of the chain. `confirm` makes a judged commit part of the state.
    fn frame(
        &mut self,
        state: &mut State,
        frame: &Frame<'_>,
        confirm: &mut dyn FnMut(&mut State, &Commit<Verified>, &[u8], &[u8], &Placed),
    ) -> Result<(), OpenError> {
        match frame.kind {
            FrameKind::Proof => self.proof(state, frame),
            FrameKind::Commit => self.commit(state, frame, confirm),
            _ => Err(self.damaged(
                state,
                frame.at,
                "a frame of a kind that this chain cannot have",
            )),
        }
    }

    fn proof(&mut self, state: &State, frame: &Frame<'_>) -> Result<(), OpenError> {
        let bytes = frame
            .part(0)
            .filter(|_| frame.part_count() == 1)
            .ok_or_else(|| self.damaged(state, frame.at, "a proof frame has one part"))?;
        let proof = Proof::decode(bytes).map_err(|source| OpenError::Format {
            chain: self.chain,
            at: frame.at,
            source,
        })?;
        self.proved.proofs += 1;
        self.open = Some(Open {
            author: proof.author,
            lane: proof.lane,
            commits: proof.commits.clone().into_iter(),
        });
        if state.confirmed() == 0 {
            self.first = Some((proof, frame.at));
            return Ok(());
        }
        self.cover(state, proof, frame.at)
    }

    /// Files a proof under its run; verifies what it does not cover.
    fn cover(&mut self, state: &State, proof: Proof, at: Location) -> Result<(), OpenError> {
        let leaf = proof.leaf(&self.chain);
        let root = proof.batch_root(leaf);
        let key = (proof.author, proof.lane);
        if let Some(run) = self.runs.remove(&key)
            && (run.leaf != proof.link || self.depth == Depth::Deep)
        {
            self.verify(state, &proof.author, &run)?;
        }
        self.runs.insert(
            key,
            Run {
                leaf,
                root,
                signature: proof.signature,
                at,
                seq: state.confirmed(),
            },
        );
        Ok(())
    }

    fn verify(&mut self, state: &State, author: &KeyId, run: &Run) -> Result<(), OpenError> {
        self.proved.signatures += 1;
        let damaged = |why| OpenError::Damaged {
            chain: self.chain,
            seq: run.seq,
            at: run.at,
            why,
        };
        let who: &Who = state
            .keys
            .get(author)
            .ok_or_else(|| damaged("signed by a key that the chain does not know"))?;
        if verify_batch(who, &run.root, &run.signature) {
            Ok(())
        } else {
            Err(damaged("the signature does not hold"))
        }
    }

    fn verify_all(&mut self, state: &State) -> Result<(), OpenError> {
        for ((author, _), run) in std::mem::take(&mut self.runs) {
            self.verify(state, &author, &run)?;
        }
        Ok(())
    }

    fn commit(
        &mut self,
        state: &mut State,
        frame: &Frame<'_>,
        confirm: &mut dyn FnMut(&mut State, &Commit<Verified>, &[u8], &[u8], &Placed),
    ) -> Result<(), OpenError> {
        let seq = state.confirmed();
        if frame.number != seq {
            return Err(self.damaged(state, frame.at, "commits are missing or out of order"));
        }
        let too_short = || OpenError::Damaged {
            chain: self.chain,
            seq,
            at: frame.at,
            why: "a commit frame has two parts and its bodies",
        };
        let (heads, metas) = (
            frame.part(PART_HEADS).ok_or_else(too_short)?,
            frame.part(PART_METAS).ok_or_else(too_short)?,
        );
        let under = if seq == 0 {
            ChainId::UNBORN
        } else {
            self.chain
        };
        let commit = Commit::decode(&under, heads).map_err(|source| OpenError::Format {
            chain: self.chain,
            at: frame.at,
            source,
        })?;
        self.check_proved(
            state,
            &commit.id,
            &commit.head.author,
            &commit.head.lane,
            frame.at,
        )?;
        let bodies = self.depth != Depth::Heads;
        let mut parts = frame.parts().skip(PART_CONTENTS);
        let contents = |_: usize| parts.next().map(|(_, bytes)| bytes);
        let commit = commit
            .verify(metas, contents, bodies)
            .map_err(|why| self.damaged(state, frame.at, why))?;
        if seq == 0 {
            self.genesis(state, &commit, frame.at)?;
        }
        let ordered = state
            .propose(&commit)
            .map_err(|source| OpenError::Invalid {
                chain: self.chain,
                seq,
                at: frame.at,
                source,
            })?;
        if let Some((proof, at)) = self.first.take() {
            self.cover(state, proof, at)?;
        }
        if ordered.authority_changed {
            self.verify_all(state)?;
        }
        let parts = frame.parts().next().map_or(frame.at, |(at, _)| at);
        let placed = Placed {
            frame: frame.at,
            parts,
            next: frame.next,
        };
        confirm(state, &commit, heads, metas, &placed);
        self.proved.commits += 1;
        self.proved.events += commit.events.len() as u64;
        if bodies {
            let body_bytes = commit
                .events
                .iter()
                .flat_map(|event| [event.head.meta, event.head.content])
                .flatten();
            let (count, bytes) = body_bytes.fold((0, 0), |(count, bytes), body| {
                (count + 1, bytes + u64::from(body.bytes))
            });
            self.proved.bodies += count;
            self.proved.body_bytes += bytes;
        }
        (self.progress)(&self.proved);
        Ok(())
    }

    /// The commit is the next one that the open proof names, by its author and lane.
    fn check_proved(
        &mut self,
        state: &State,
        id: &Hash,
        author: &KeyId,
        lane: &LaneId,
        at: Location,
    ) -> Result<(), OpenError> {
        let proved = self.open.as_mut().is_some_and(|open| {
            open.author == *author && open.lane == *lane && open.commits.next() == Some(*id)
        });
        if proved {
            Ok(())
        } else {
            Err(self.damaged(state, at, "no proof covers this commit"))
        }
    }

    /// The chain id is the id of this commit, and its author is the root that it names.
    fn genesis(
        &mut self,
        state: &State,
        commit: &Commit<Verified>,
        at: Location,
    ) -> Result<(), OpenError> {
        if commit.id != self.chain.0 {
            return Err(self.damaged(
                state,
                at,
                "the genesis commit is not the one that the chain is named after",
            ));
        }
        match commit.events.first().map(|event| &event.head.change) {
            Some(Change::Genesis(_)) => Ok(()),
            _ => Err(self.damaged(state, at, "the first commit is not a genesis")),
        }
    }

    fn damaged(&self, state: &State, at: Location, why: &'static str) -> OpenError {
        OpenError::Damaged {
            chain: self.chain,
            seq: state.confirmed(),
            at,
            why,
        }
    }

    /// Ends the replay: every run that is still open is verified.
    fn finish(mut self, state: &State) -> Result<Proved, OpenError> {
        self.verify_all(state)?;
        Ok(self.proved)
    }
}

/// Replays `chain` from `from` to the durable end of the log into `state`.
pub(crate) fn replay(
    log: &dyn Log,
    state: &mut State,
    from: Cursor,
    depth: Depth,
    progress: &mut dyn FnMut(&Proved),
    confirm: &mut dyn FnMut(&mut State, &Commit<Verified>, &[u8], &[u8], &Placed),
) -> Result<(Proved, Cursor), OpenError> {
    let stream = state.chain.stream();
    let mut replay = Replay::new(state.chain, depth, progress);
    let mut failed = None;
    let end = log.scan(from, &mut |frame| {
        if frame.stream != stream {
            return ControlFlow::Continue(());
        }
        match replay.frame(state, &frame, confirm) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok((replay.finish(state)?, end)),
    }
}

impl Local {
    /// Loads a chain from the log, from a sealed state if one fits, else from its genesis.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is exposed.
    ///
    /// # Cost
    /// Without a sealed state linear in the log; with one, in what was written since.
    pub fn open(
        committer: &Arc<Committer>,
        chain: ChainId,
        rest: Option<Rest>,
    ) -> Result<Arc<Self>, OpenError> {
        let local = Self::at(committer, chain, rest);
        local.load()?;
        Ok(local)
    }

    /// A chain at rest, or empty: [`Local::load`] has to follow, before anything is read. In between an observer can be named that learns of what is
    /// replayed.
    pub fn at(committer: &Arc<Committer>, chain: ChainId, rest: Option<Rest>) -> Arc<Self> {
        let (state, from) = match rest {
            Some(rest) => (rest.state, rest.cursor),
            None => (State::new(chain), committer.log().start()),
        };
        let local = Self::assemble(committer.clone(), state, None);
        *local.read_to.lock() = from;
        local
    }

    /// Replays and proves what the log holds beyond the state.
    ///
    /// # Errors
    /// [`OpenError`]; the chain is not to be used.
    pub fn load(&self) -> Result<(), OpenError> {
        let (chain, from, sealed) = (self.chain(), *self.read_to.lock(), self.position().0);
        if from > self.log.durable() {
            return Err(OpenError::RolledBack {
                chain,
                found: 0,
                sealed,
            });
        }
        self.catch_up_from(from)?;
        if self.position().0 == 0 {
            Err(OpenError::NotFound { chain })
        } else {
            Ok(())
        }
    }

    fn catch_up_from(&self, from: Cursor) -> Result<Cursor, OpenError> {
        let mut state = self.state.write();
        let (_, end) = replay(
            &*self.log,
            &mut state,
            from,
            Depth::Heads,
            &mut |_| {},
            &mut |state, commit, heads, metas, placed| {
                apply(self, state, commit, heads, metas, placed);
            },
        )?;
        drop(state);
        *self.read_to.lock() = end;
        Ok(end)
    }

    /// Takes in what another process wrote since, for a store that is open for reading; the position after it.
    ///
    /// # Errors
    /// As [`Local::open`]; the state stays at the last good commit.
    pub fn catch_up(&self) -> Result<Position, OpenError> {
        self.log.refresh()?;
        let from = *self.read_to.lock();
        self.catch_up_from(from)?;
        Ok(self.position())
    }

    /// Proves the whole chain again from its genesis, from the log alone: no sealed state, no cache, nothing that was believed before.
    ///
    /// # Errors
    /// [`OpenError`] with chain, commit, file and offset of the first thing that does not hold.
    pub fn verify(
        log: &dyn Log,
        chain: ChainId,
        depth: Depth,
        mut progress: impl FnMut(&Proved),
    ) -> Result<(Proved, Position, Hash), OpenError> {
        let mut state = State::new(chain);
        let mut confirm = |state: &mut State,
                           _: &Commit<Verified>,
                           heads: &[u8],
                           metas: &[u8],
                           placed: &Placed| {
            state.confirm_next(placed, heads.len() as u32, metas.len() as u32, |_, _| {});
        };
        let (proved, _) = replay(
            log,
            &mut state,
            log.start(),
            depth,
            &mut progress,
            &mut confirm,
        )?;
        if state.confirmed() == 0 {
            return Err(OpenError::NotFound { chain });
        }
        Ok((
            proved,
            Position(state.confirmed()),
            state.root_at(state.confirmed()),
        ))
    }
}

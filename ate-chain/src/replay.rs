//! Loading a chain from its log: every frame is decoded, hashed, proved and judged again before anybody sees the state.
//!
//! Signatures: a proof's batch leaf names the leaf that the same store signed before in the lane, so a later signature covers the earlier ones it is
//! linked to. A load verifies the last of every unbroken run, and the last before each change of authority; a deep load verifies all.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::ControlFlow;

use ate_crypto::{Hash, KeyId, Part, Signature, Who};
use ate_log::{Cursor, Damage, Frame, FrameKind, Location, Log, PartBytes, Placed, Scan};

use crate::commit::{
    Commit, Contents, Event, MissingPart, PART_CONTENTS, PART_HEADS, PART_METAS, Stored,
    Unverified, Verified,
};
use crate::error::OpenError;
use crate::event::{BodyHash, Change};
use crate::ids::{ChainId, LaneId};
use crate::proof::{Proof, verify_batch};
use crate::state::State;
use missing::Missing;

mod missing;

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
    /// Bodies that are not there, as the chain allows: erased, or dropped below its horizon.
    pub erased: u64,
    /// Bodies that a replica does not keep with their commits: their hashes are checked when they are read.
    pub apart: u64,
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

/// How far a log was read for one chain.
#[derive(Clone)]
pub(crate) struct ReadTo {
    /// Everything before this place is in the state.
    pub(crate) cursor: Cursor,
    /// A proof that was verified, with the commits it names that have not come. A torn end of the log leaves one behind.
    open: Option<Open>,
    /// Bytes of the chain's own frames in the state that no kept state at rest holds.
    pub(crate) fresh_bytes: u64,
}

impl ReadTo {
    pub(crate) fn at(cursor: Cursor) -> Self {
        Self {
            cursor,
            open: None,
            fresh_bytes: 0,
        }
    }

    /// Moves on behind frames of the chain that this process wrote: whole batches.
    pub(crate) fn pass(&mut self, next: Cursor, bytes: u64) {
        self.cursor = next;
        self.open = None;
        self.fresh_bytes += bytes;
    }

    /// Goes on under the proof that `other` was read under.
    pub(crate) fn take_open(&mut self, other: &Self) {
        self.open.clone_from(&other.open);
    }

    /// Whether a proof before the place covers commits after it.
    pub(crate) fn is_within_batch(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| !open.commits.as_slice().is_empty())
    }
}

/// What one pass over the log found.
pub(crate) struct Stretch {
    pub(crate) proved: Proved,
    /// Everything before this was judged, and every signature that it takes was verified.
    pub(crate) to: ReadTo,
    /// Why the pass ended there, if not at the end.
    pub(crate) failed: Option<OpenError>,
}

/// Takes in a commit that was judged: heads, metas and where its frame stands.
type Take<'a> = dyn FnMut(&mut State, Taken<'_>) + 'a;

/// A commit that was judged.
pub(crate) struct Taken<'f> {
    pub(crate) commit: Commit<Verified>,
    pub(crate) heads: &'f [u8],
    pub(crate) metas: &'f [u8],
    pub(crate) contents: Contents,
    pub(crate) placed: Placed,
}

/// A proof whose commits are still to come.
#[derive(Clone)]
struct Open {
    author: KeyId,
    lane: LaneId,
    commits: std::vec::IntoIter<Hash>,
}

/// Replays the frames of one chain into a state.
pub(crate) struct Replay<'a> {
    log: &'a dyn Log,
    chain: ChainId,
    depth: Depth,
    open: Option<Open>,
    runs: HashMap<(KeyId, LaneId), Run>,
    /// The proof of the genesis commit, before its key is known.
    first: Option<(Proof, Location)>,
    /// A signature did not hold: nothing since the last one that did may be believed.
    forged: bool,
    pub(crate) proved: Proved,
    /// Bodies that were not there.
    missing: Missing,
    /// Frames of which a large body is damaged, as an erasure leaves it that was interrupted, with what the log says of it.
    torn: Vec<(Location, ate_log::ReadError)>,
    progress: &'a mut dyn FnMut(&Proved),
}

impl<'a> Replay<'a> {
    fn new(
        log: &'a dyn Log,
        chain: ChainId,
        depth: Depth,
        open: Option<Open>,
        progress: &'a mut dyn FnMut(&Proved),
    ) -> Self {
        Self {
            log,
            chain,
            depth,
            open,
            forged: false,
            runs: HashMap::new(),
            first: None,
            proved: Proved::default(),
            missing: Missing::default(),
            torn: Vec::new(),
            progress,
        }
    }

    /// Takes one frame of the chain, and hands on a judged commit.
    fn frame(
        &mut self,
        state: &mut State,
        frame: &Frame<'_>,
        confirm: &mut Take<'_>,
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
        if state.next_seq() == 0 {
            self.first = Some((proof, frame.at));
            return Ok(());
        }
        self.cover(state, proof, frame.at, state.next_seq())
    }

    /// Files a proof under its run; verifies what it does not cover.
    fn cover(
        &mut self,
        state: &State,
        proof: Proof,
        at: Location,
        seq: u64,
    ) -> Result<(), OpenError> {
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
                seq,
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
        let Some(who): Option<&Who> = state.keys.get(author) else {
            self.forged = true;
            return Err(damaged("signed by a key that the chain does not know"));
        };
        let holds = verify_batch(who, &run.root, &run.signature);
        #[cfg(ate_planted)]
        let holds = holds || ate_crypto::planted("take-in-without-signatures");
        if holds {
            Ok(())
        } else {
            self.forged = true;
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
        confirm: &mut Take<'_>,
    ) -> Result<(), OpenError> {
        let seq = state.next_seq();
        let Parted {
            commit,
            heads,
            metas,
            contents,
            missing,
            torn,
        } = self.verified(state, frame)?;
        self.torn
            .extend(torn.into_iter().map(|error| (frame.at, error)));
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
            self.cover(state, proof, at, seq)?;
        }
        if ordered.authority_changed {
            self.verify_all(state)?;
        }
        let parts = frame.parts().next().map_or(frame.at, |(at, _)| at);
        let placed = Placed {
            frame: frame.at,
            parts,
            next: frame.next,
            head_parts: frame.head_parts,
        };
        if let Some(open) = &mut self.open {
            // Those that were refused are passed over.
            open.commits.find(|id| *id == commit.id);
        }
        self.count(&commit, &missing, contents);
        self.missing.take_in(&commit, seq, frame.at, &missing);
        let taken = Taken {
            commit,
            heads,
            metas,
            contents,
            placed,
        };
        confirm(state, taken);
        (self.progress)(&self.proved);
        Ok(())
    }

    /// The commit of the next frame, with its heads and metas: an open proof names it, and every hash of the load's depth holds.
    fn verified<'f>(&self, state: &State, frame: &Frame<'f>) -> Result<Parted<'f>, OpenError> {
        let damaged = |why| self.damaged(state, frame.at, why);
        if frame.number != state.next_seq() {
            return Err(damaged("commits are missing or out of order"));
        }
        let too_short = || damaged("a commit frame has two parts and its bodies");
        let (heads, metas) = (
            frame.part(PART_HEADS).ok_or_else(too_short)?,
            frame.part(PART_METAS).ok_or_else(too_short)?,
        );
        let under = if frame.number == 0 {
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
        let check_bodies = self.depth != Depth::Heads;
        let (mut parts, mut failed) = (frame.parts().skip(PART_CONTENTS), None);
        let mut torn = Vec::new();
        let (kept, mut apart) = contents_of(frame, &commit);
        let contents = || {
            if apart > 0 {
                apart -= 1;
                return Some(Stored::Apart);
            }
            let (at, part) = parts.next()?;
            let stored = self.body(at, part, check_bodies);
            Some(stored.unwrap_or_else(|error| {
                match error {
                    ate_log::ReadError::Corrupt {
                        damage: Damage::LargeBody,
                        ..
                    } => torn.push(error),
                    error => failed = Some(error),
                }
                Stored::Absent { bytes: part.len() }
            }))
        };
        let verified = commit.verify(metas, contents, check_bodies);
        // What the disk said explains more than that a body is missing.
        if let Some(error) = failed {
            return Err(error.into());
        }
        let (commit, missing) = verified.map_err(damaged)?;
        Ok(Parted {
            commit,
            heads,
            metas,
            contents: kept,
            missing,
            torn,
        })
    }

    /// A content as far as it is needed: its bytes, where bodies are checked and it is there.
    fn body<'f>(
        &self,
        at: Location,
        part: PartBytes<'f>,
        check_bodies: bool,
    ) -> Result<Stored<'f>, ate_log::ReadError> {
        let bytes = part.len();
        match part {
            _ if !check_bodies => Ok(Stored::Absent { bytes }),
            PartBytes::Here(bytes) => Ok(Stored::Here(Cow::Borrowed(bytes))),
            PartBytes::NotRead { bytes } => {
                let mut body = vec![0; bytes as usize];
                self.log.read_body(at, &mut body)?;
                Ok(Stored::Here(Cow::Owned(body)))
            }
            _ => Ok(Stored::Absent { bytes }),
        }
    }

    /// Adds a commit that was judged to what was proved.
    fn count(&mut self, commit: &Commit<Verified>, missing: &[MissingPart], contents: Contents) {
        self.proved.commits += 1;
        self.proved.events += commit.events.len() as u64;
        if self.depth == Depth::Heads {
            return;
        }
        let with = |content: Option<BodyHash>| content.filter(|_| contents == Contents::InFrame);
        let apart = commit
            .events
            .iter()
            .filter(|event| event.head.content.is_some());
        if contents == Contents::Apart {
            self.proved.apart += apart.count() as u64;
        }
        let bodies = commit
            .events
            .iter()
            .flat_map(|event| [event.head.meta, with(event.head.content)])
            .flatten();
        for body in bodies {
            self.proved.bodies += 1;
            self.proved.body_bytes += u64::from(body.bytes);
        }
        for (index, part) in missing {
            let head = &commit.events[*index as usize].head;
            let body = match part {
                Part::Meta => head.meta,
                _ => head.content,
            };
            self.proved.bodies -= 1;
            self.proved.body_bytes -= body.map_or(0, |body| u64::from(body.bytes));
        }
    }

    /// The open proof names the commit, behind those that came under it already, and its author and lane.
    fn check_proved(
        &self,
        state: &State,
        id: &Hash,
        author: &KeyId,
        lane: &LaneId,
        at: Location,
    ) -> Result<(), OpenError> {
        let proved = self.open.as_ref().is_some_and(|open| {
            open.author == *author && open.lane == *lane && open.commits.as_slice().contains(id)
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

    /// Every body that was missing may be, as the chain stands at the end of the pass.
    fn settle(&mut self, state: &State) -> Result<(), OpenError> {
        match self.missing.settle(state) {
            Ok(count) => {
                self.proved.erased += count;
                Ok(())
            }
            Err((seq, at)) => match self.torn.iter().position(|(frame, _)| *frame == at) {
                Some(index) => Err(self.torn.swap_remove(index).1.into()),
                None => Err(OpenError::Damaged {
                    chain: self.chain,
                    seq,
                    at,
                    why: "a body is missing that nothing erased",
                }),
            },
        }
    }

    fn damaged(&self, state: &State, at: Location, why: &'static str) -> OpenError {
        OpenError::Damaged {
            chain: self.chain,
            seq: state.next_seq(),
            at,
            why,
        }
    }
}

/// Replays the chain of `state` from `from` to the durable end of the log, or until `enough` says so after a commit.
///
/// # Errors
/// Only if a signature does not hold: then nothing of this pass may be believed. Everything else ends the pass, see [`Stretch::failed`].
pub(crate) fn replay(
    log: &dyn Log,
    state: &mut State,
    from: ReadTo,
    depth: Depth,
    progress: &mut dyn FnMut(&Proved),
    confirm: &mut Take<'_>,
    enough: &dyn Fn(&State) -> bool,
) -> Result<Stretch, OpenError> {
    let stream = state.chain.stream();
    let mut replay = Replay::new(log, state.chain, depth, from.open, progress);
    let (mut failed, mut good, mut fresh_bytes) = (None, from.cursor, from.fresh_bytes);
    let mut scan = Scan::from(from.cursor).of(stream);
    if depth != Depth::Heads {
        scan = scan.with_bodies();
    }
    let end = log.scan(scan, &mut |frame| {
        if let Err(error) = replay.frame(state, &frame, confirm) {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        good = frame.next;
        fresh_bytes += frame_bytes(frame.at, frame.next);
        if enough(state) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let cursor = match (&failed, end) {
        (None, Ok(end)) => end,
        (_, end) => {
            failed = failed.or_else(|| end.err().map(OpenError::Log));
            good
        }
    };
    match failed {
        Some(error) if replay.forged => Err(error),
        failed => {
            replay.verify_all(state)?;
            let failed = failed.or_else(|| replay.settle(state).err());
            Ok(Stretch {
                proved: replay.proved,
                to: ReadTo {
                    cursor,
                    open: replay.open,
                    fresh_bytes,
                },
                failed,
            })
        }
    }
}

/// Where the contents of a frame's commit are, and how many stand apart: a frame has the contents of all events that have one, or none.
fn contents_of(frame: &Frame<'_>, commit: &Commit<Unverified>) -> (Contents, usize) {
    let with_content = |event: &&Event| event.head.content.is_some();
    let count = commit.events.iter().filter(with_content).count();
    if count > 0 && frame.part_count() == PART_CONTENTS {
        (Contents::Apart, count)
    } else {
        (Contents::InFrame, 0)
    }
}

/// A commit whose hashes hold, with frame parts 0 and 1 and what is not there.
struct Parted<'f> {
    commit: Commit<Verified>,
    heads: &'f [u8],
    metas: &'f [u8],
    contents: Contents,
    missing: Vec<MissingPart>,
    torn: Vec<ate_log::ReadError>,
}

/// Bytes of a frame. One never spans segments.
pub(crate) fn frame_bytes(at: Location, next: Location) -> u64 {
    debug_assert_eq!(at.file, next.file, "a frame stands in one segment");
    u64::from(next.offset.saturating_sub(at.offset))
}

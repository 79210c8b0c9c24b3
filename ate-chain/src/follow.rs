//! Replicas: the frames of a chain, shown to whoever follows it, and taken in from whoever shows them.
//!
//! A replica believes nothing: frames are replayed from a log in memory, with every rule, hash and signature that a load checks, before one byte of them reaches the
//! replica's own log. What is shown to it was durable where it came from, so it is visible at once; the own log is a cache until it is synced.

use std::ops::ControlFlow;

use ate_log::{Cursor, Entry, Frame, FrameKind, Location, MemLog, PartBytes, Placed, Scan};

use crate::codec::{Reader, put_bytes, put_varint};
use crate::commit::{COMMIT_HEAD_PARTS, PART_CONTENTS, PROOF_HEAD_PARTS};
use crate::committer::apply;
use crate::error::{BatchError, FollowError, OpenError, ReadError};
use crate::ids::Position;
use crate::load::Held;
use crate::local::Local;
use crate::replay::{Depth, ReadTo, frame_bytes, replay};
use crate::state::State;
use crate::watch::Telling;

/// Whether contents come along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contents {
    /// With their commits, as far as they are there.
    Eager,
    /// Asked for when they are read.
    Lazy,
}

/// A proof, or a commit, as it stands in the log of whoever shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownFrame {
    kind: FrameKind,
    number: u64,
    parts: Vec<Vec<u8>>,
}

const KIND_PROOF: u8 = 1;
const KIND_COMMIT: u8 = 2;
/// Proofs before one commit: a log gets one more with each time that its end was torn.
const PROOFS_IN_A_ROW_MAX: usize = 256;
/// Most parts of a frame.
const PARTS_MAX: u64 = 65_538;

impl ShownFrame {
    /// A commit without its contents has its heads and names alone.
    fn of(frame: &Frame<'_>, contents: Contents) -> Option<Self> {
        let most = match contents {
            Contents::Eager => usize::MAX,
            Contents::Lazy => PART_CONTENTS,
        };
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for (index, (_, part)) in frame.parts().enumerate().take(most) {
            match part {
                PartBytes::Here(bytes) => parts.push(bytes.to_vec()),
                // Erased, or so large that it is better asked for: then all of this commit's contents are.
                _ if index >= PART_CONTENTS => {
                    parts.truncate(PART_CONTENTS);
                    break;
                }
                _ => return None,
            }
        }
        Some(Self {
            kind: frame.kind,
            number: frame.number,
            parts,
        })
    }

    /// What it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Vec::len).sum::<usize>() + 64
    }

    /// Whether it is a commit.
    #[must_use]
    pub fn is_commit(&self) -> bool {
        self.kind == FrameKind::Commit
    }

    /// Appends the bytes: `kind u8 (1 proof, 2 commit) ‖ varint number ‖ varint part count ‖ bytes(part)…`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self.kind {
            FrameKind::Proof => KIND_PROOF,
            _ => KIND_COMMIT,
        });
        put_varint(out, self.number);
        put_varint(out, self.parts.len() as u64);
        self.parts.iter().for_each(|part| put_bytes(out, part));
    }

    /// Decodes frames that fill `bytes` exactly.
    ///
    /// # Errors
    /// [`BatchError`]. Nothing of it is believed.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, BatchError> {
        let mut reader = Reader::new(bytes);
        let mut frames = Vec::new();
        while !reader.is_empty() {
            let kind = match reader.u8()? {
                KIND_PROOF => FrameKind::Proof,
                KIND_COMMIT => FrameKind::Commit,
                _ => {
                    return Err(BatchError::Invalid {
                        why: "a frame of a kind that no chain has",
                    });
                }
            };
            let number = reader.varint()?;
            let count = reader.varint()?;
            if count == 0 || count > PARTS_MAX {
                return Err(BatchError::Invalid {
                    why: "a frame has 1 to 65,538 parts",
                });
            }
            let mut parts = Vec::with_capacity((count as usize).min(reader.left()));
            for _ in 0..count {
                parts.push(reader.bytes(reader.left())?.to_vec());
            }
            frames.push(Self {
                kind,
                number,
                parts,
            });
        }
        Ok(frames)
    }

    fn head_parts(&self) -> u8 {
        match self.kind {
            FrameKind::Proof => PROOF_HEAD_PARTS,
            _ => COMMIT_HEAD_PARTS,
        }
    }
}

/// A place from which a chain is shown.
#[derive(Clone, Copy, Debug)]
pub struct ShowFrom {
    cursor: Cursor,
    /// The frame at the cursor was shown.
    passed: bool,
    /// The next commit to be shown.
    seq: u64,
}

impl ShowFrom {
    /// The next commit to be shown.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

impl Local {
    /// Where commit `seq` is shown from, with the proof that covers it if that stands right before it.
    ///
    /// # Errors
    /// `None` if the chain is shorter.
    #[must_use]
    pub fn show_from(&self, seq: u64) -> Option<ShowFrom> {
        if seq > self.position().0 {
            return None;
        }
        let last = seq.checked_sub(1);
        let row = last.map(|last| self.with_state(|state| state.commits[last as usize]));
        Some(ShowFrom {
            cursor: row.map_or_else(
                || self.log.start(),
                |row| Location {
                    file: row.file,
                    offset: row.frame,
                },
            ),
            passed: row.is_none(),
            seq,
        })
    }

    /// Shows the frames from a place on that are confirmed now, until `bytes_max` are reached or a commit ends them; the place behind them.
    ///
    /// # Errors
    /// The log's.
    ///
    /// # Cost
    /// A scan of what is shown, and of what other chains have written in between.
    pub fn show(
        &self,
        mut from: ShowFrom,
        contents: Contents,
        bytes_max: usize,
        shown: &mut Vec<ShownFrame>,
    ) -> Result<ShowFrom, ReadError> {
        let end = self.position().0;
        if from.seq >= end {
            return Ok(from);
        }
        let (mut bytes, mut broken) = (0, None);
        let mut scan = Scan::from(from.cursor).of(self.chain().stream());
        if contents == Contents::Eager {
            scan = scan.with_bodies();
        }
        let behind = self.log.scan(scan, &mut |frame| {
            if !std::mem::replace(&mut from.passed, true) {
                return ControlFlow::Continue(());
            }
            if frame.kind == FrameKind::Commit && frame.number != from.seq {
                broken = Some(frame.at);
                return ControlFlow::Break(());
            }
            let Some(frame_shown) = ShownFrame::of(&frame, contents) else {
                broken = Some(frame.at);
                return ControlFlow::Break(());
            };
            bytes += frame_shown.bytes();
            from.seq += u64::from(frame_shown.is_commit());
            let ends = frame_shown.is_commit() && (from.seq >= end || bytes >= bytes_max);
            shown.push(frame_shown);
            if ends {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if let Some(at) = broken {
            return Err(ReadError::Damaged {
                at,
                why: "the log does not show the chain in its order",
            });
        }
        from.cursor = behind;
        Ok(from)
    }

    /// Takes in frames that somebody shows, from the next commit on: all are verified as a load verifies, then appended to the own log, then visible. Not synced.
    ///
    /// Commits of the own store that were staged are taken back first and proposed again behind the new ones.
    ///
    /// # Errors
    /// [`FollowError`]: nothing of these frames was taken in. One that names what does not hold is evidence against whoever showed it.
    ///
    /// # Cost
    /// As a load: hashes and rules for each commit, a signature for each unbroken run of proofs.
    pub fn take_in(&self, frames: &[ShownFrame]) -> Result<Position, FollowError> {
        let shown = MemLog::new();
        let stream = self.chain().stream();
        let parts: Vec<Vec<&[u8]>> = frames
            .iter()
            .map(|frame| frame.parts.iter().map(Vec::as_slice).collect())
            .collect();
        let entries: Vec<Entry<'_>> = frames
            .iter()
            .zip(&parts)
            .map(|(frame, parts)| Entry {
                kind: frame.kind,
                stream,
                number: frame.number,
                head_parts: frame.head_parts(),
                parts,
            })
            .collect();
        ate_log::Log::append(&shown, &entries, &mut Vec::new()).map_err(FollowError::Shown)?;
        ate_log::Log::sync(&shown).map_err(FollowError::Shown)?;
        let telling = Telling::of(self);
        let mut state = self.state.write();
        let confirmed = state.confirmed();
        state.rollback_to(confirmed);
        let numbered = self.check_numbers(confirmed, frames);
        let taken = numbered.and_then(|()| self.judge(&mut state, &shown));
        let done = taken.and_then(|(held, open)| {
            self.announce_birth(&state);
            let mut placed = Vec::with_capacity(entries.len());
            self.log
                .append(&entries, &mut placed)
                .map_err(FollowError::Log)?;
            self.settle_in(&telling, &mut state, frames, held, &placed, open);
            Ok(())
        });
        if done.is_err() {
            let confirmed = state.confirmed();
            state.rollback_to(confirmed);
        }
        self.renew_overlay(&mut state);
        let position = Position(state.confirmed());
        drop(state);
        // Whoever is answered sees it, and whoever watches finds it answered.
        self.settle_landed();
        drop(telling);
        done.map(|()| position)
    }

    /// A commit has its own number, a proof that of the commit behind it: a load does not look at those of proofs. What is shown ends with a commit, so that nobody
    /// fills a log with proofs of nothing; a few of them stand in every log whose end was torn.
    fn check_numbers(&self, mut next: u64, frames: &[ShownFrame]) -> Result<(), FollowError> {
        let invalid = |why, seq| {
            FollowError::Invalid(OpenError::Damaged {
                chain: self.chain(),
                seq,
                at: self.log.start(),
                why,
            })
        };
        let mut proofs = 0;
        for frame in frames {
            if frame.number != next {
                let why = "what was shown is not numbered in the chain's order";
                return Err(invalid(why, next));
            }
            next += u64::from(frame.is_commit());
            proofs = if frame.is_commit() { 0 } else { proofs + 1 };
            if proofs > PROOFS_IN_A_ROW_MAX {
                return Err(invalid("proofs were shown that cover nothing", next));
            }
        }
        match proofs {
            0 => Ok(()),
            _ => Err(invalid("what was shown does not end with a commit", next)),
        }
    }

    /// Replays what was shown on top of the state, whose pending commits it becomes.
    fn judge(&self, state: &mut State, shown: &MemLog) -> Result<(Vec<Held>, ReadTo), FollowError> {
        let mut held = Vec::new();
        let mut from = ReadTo::at(ate_log::Log::start(shown));
        from.take_open(&self.read_to.lock());
        let stretch = replay(
            shown,
            state,
            from,
            Depth::Bodies,
            &mut |_| {},
            &mut |_, taken| held.push(Held::of(taken)),
            &|_| false,
        )
        .map_err(FollowError::Invalid)?;
        match stretch.failed {
            Some(error) => Err(FollowError::Invalid(error)),
            None => Ok((held, stretch.to)),
        }
    }

    /// A chain that begins is listed before it stands in the log: whoever finds it there finds it listed.
    fn announce_birth(&self, state: &State) {
        if state.confirmed() == 0
            && let Some(entry) = self.entry_in(state)
        {
            self.committer().announce(entry);
        }
    }

    /// Makes commits visible that were judged and appended.
    fn settle_in(
        &self,
        telling: &Telling<'_>,
        state: &mut State,
        frames: &[ShownFrame],
        held: Vec<Held>,
        placed: &[Placed],
        open: ReadTo,
    ) {
        let mut held = held.into_iter();
        let mut bytes = 0;
        for (frame, placed) in frames.iter().zip(placed) {
            bytes += frame_bytes(placed.frame, placed.next);
            if frame.is_commit()
                && let Some(held) = held.next()
            {
                held.at(*placed, |taken| apply(telling, state, taken));
            }
        }
        if let Some(last) = placed.last() {
            let mut read_to = self.read_to.lock();
            read_to.pass(last.next, bytes);
            read_to.take_open(&open);
        }
    }
}

//! Writes a pair anew without what is to go.

use super::{
    Pace, SealError,
    draft::{Draft, Pieces, Source, write_pair},
    index::{Gone, Index},
    manifest::GroupFiles,
    names::PairId,
    pair::SealedPair,
    scrub::{front, is_whole},
    shape::{Outline, Part},
    tables::FrameEntry,
};
use crate::{
    error::{Damage, ReadError},
    frame::{Binding, FRAME_HEADER_BYTES},
};
use std::ops::Range;

const CRC_BYTES: usize = 4;

/// What is to go: a whole body part, or any range within one head part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Removal {
    /// Where its first byte stood in the segment.
    pub(crate) at: u32,
    /// How long it is; the real length of a part of which the frame has a stub.
    pub(crate) bytes: u32,
}

/// Writes and syncs the next version of `pair` without `removals`, in any order: body parts are
/// gone with their checksums, ranges of head parts are zero and the part's checksum is right
/// again. `None`, and nothing written, if all of it has gone before.
///
/// `index` is that of `pair`. The new files have names that become durable as those of
/// [`SealPlan::write`](super::SealPlan::write) do. The old files are left alone. Large files of
/// which a stub is removed are not looked at. Memory: the index, and the head parts that change.
///
/// # Errors
/// Nothing is left then. [`SealError::NotAPart`]: a removal is neither; [`SealError::Read`] with
/// [`Damage::FramePart`]: a head part that would get a new checksum has a wrong one, which must
/// not be made right.
pub(crate) fn rewrite(
    pair: &SealedPair,
    index: &Index,
    removals: &[Removal],
    pace: &mut Pace<'_>,
) -> Result<Option<GroupFiles>, SealError> {
    let mut plan = Plan {
        pair,
        index,
        binding: Binding::new(&pair.id.log_id, pair.id.file),
        gone: Vec::new(),
        zeros: Vec::new(),
    };
    plan.take(removals)?;
    let patches = plan.patches()?;
    if plan.gone.is_empty() && patches.is_empty() {
        return Ok(None);
    }
    let too_large = || SealError::TooLarge { file: pair.id.file };
    let id = PairId {
        version: pair.id.version.checked_add(1).ok_or_else(too_large)?,
        ..pair.id
    };
    let mut gone = index.gone.clone();
    gone.append(&mut plan.gone);
    gone.sort_unstable();
    let (frames, streams) = (index.frames.clone(), index.streams.clone());
    let next = Index::build(&id, pair.header.end, frames, streams, gone).ok_or_else(too_large)?;
    let ranges = present_ranges(index, &next);
    let (heads_name, bodies_name) = (pair.id.heads_name(), pair.id.bodies_name());
    let heads = Pieces {
        source: source(pair, &**pair.heads(), &heads_name),
        ranges: &mut std::iter::once(super::SEALED_HEADER_BYTES..index.heads_end),
        change: &|at, bytes| apply(&patches, at, bytes),
    };
    let mut ranges = ranges.into_iter();
    let bodies = if next.bodies_bytes > 0 {
        Some(Pieces {
            source: source(pair, &**pair.bodies()?, &bodies_name),
            ranges: &mut ranges,
            change: &|_, _| {},
        })
    } else {
        None
    };
    let mut draft = Draft::new(pair.storage());
    let files = write_pair(&mut draft, &id, pair.header.end, &next, heads, bodies, pace)?;
    draft.finish()?;
    Ok(Some(files))
}

const fn source<'a>(
    pair: &SealedPair,
    file: &'a dyn crate::storage::StorageFile,
    name: &'a str,
) -> Source<'a> {
    Source {
        file,
        name,
        at: pair.id.location(),
        short: Damage::SealedLength,
    }
}

struct Plan<'a> {
    pair: &'a SealedPair,
    index: &'a Index,
    binding: Binding,
    /// Those that are not gone yet, ascending.
    gone: Vec<Gone>,
    /// Ascending by logical place.
    zeros: Vec<Zeros>,
}

/// Ranges of one head part that become zero.
struct Zeros {
    frame: FrameEntry,
    part: Part,
    /// From the start of the part.
    ranges: Vec<Range<usize>>,
}

/// New bytes of a head part with its checksum.
struct Patch {
    /// Where they stand in the heads file.
    at: u32,
    bytes: Vec<u8>,
}

impl Plan<'_> {
    /// Finds out what each removal is.
    fn take(&mut self, removals: &[Removal]) -> Result<(), SealError> {
        let mut removals = removals.to_vec();
        removals.sort_unstable();
        removals.dedup();
        let mut current: Option<(FrameEntry, Vec<Part>)> = None;
        for removal in removals {
            let not_a_part = SealError::NotAPart {
                at: self.pair.location(removal.at),
            };
            let Some(frame) = self.index.entry_at(removal.at).copied() else {
                return Err(not_a_part);
            };
            let (_, parts) = match current.take() {
                Some(held) if held.0 == frame => current.insert(held),
                _ => current.insert((frame, self.parts(&frame)?)),
            };
            let within = removal.at - frame.offset;
            let after = parts.partition_point(|part| part.stored.start <= within);
            let Some(part) = after.checked_sub(1).map(|at| &parts[at]) else {
                return Err(not_a_part);
            };
            let start = within - part.stored.start;
            if part.is_head {
                let room = part.length.checked_sub(start);
                if room.is_none_or(|room| room < removal.bytes) {
                    return Err(not_a_part);
                }
                let range = start as usize..(start + removal.bytes) as usize;
                match self.zeros.last_mut() {
                    Some(last) if last.frame == frame && last.part == *part => {
                        last.ranges.push(range);
                    }
                    _ => self.zeros.push(Zeros {
                        frame,
                        part: part.clone(),
                        ranges: vec![range],
                    }),
                }
            } else {
                if start > 0 || part.length != removal.bytes {
                    return Err(not_a_part);
                }
                if self.index.gone_in(removal.at..removal.at + 1).is_empty() {
                    self.gone.push(Gone {
                        at: removal.at,
                        stored: part.stored.end - part.stored.start,
                    });
                }
            }
        }
        Ok(())
    }

    /// The parts of a frame, from its header and its table, both checked.
    fn parts(&self, frame: &FrameEntry) -> Result<Vec<Part>, ReadError> {
        let corrupt = |damage| ReadError::Corrupt {
            at: self.pair.location(frame.offset),
            damage,
        };
        // The index has made sure that there is room for a header at least.
        let mut bytes = vec![0; FRAME_HEADER_BYTES as usize];
        self.pair.read_heads(frame.heads_at, &mut bytes)?;
        let outline = Outline::read(&bytes)
            .filter(|outline| outline.front_bytes() <= frame.head_bytes)
            .ok_or_else(|| corrupt(Damage::FrameHeader))?;
        bytes.resize(outline.front_bytes() as usize, 0);
        self.pair.read_heads(frame.heads_at, &mut bytes)?;
        let shape = front(self.binding, frame.offset, &bytes).map_err(corrupt)?;
        if shape.outline.total != frame.total || shape.head_bytes != frame.head_bytes {
            return Err(corrupt(Damage::SealedIndex));
        }
        Ok(shape.parts().collect())
    }

    /// The head parts that change, by their place in the heads file.
    fn patches(&self) -> Result<Vec<Patch>, ReadError> {
        let mut patches = Vec::new();
        for Zeros {
            frame,
            part,
            ranges,
        } in &self.zeros
        {
            let at = frame.heads_at + part.stored.start;
            let mut bytes = vec![0; part.length as usize + CRC_BYTES];
            self.pair.read_heads(at, &mut bytes)?;
            let logical = frame.offset + part.stored.start;
            if !is_whole(self.binding, logical, &bytes) {
                return Err(ReadError::Corrupt {
                    at: self.pair.location(frame.offset),
                    damage: Damage::FramePart { index: part.index },
                });
            }
            let is_zero = |range: &Range<usize>| bytes[range.clone()].iter().all(|byte| *byte == 0);
            if ranges.iter().all(is_zero) {
                continue;
            }
            for range in ranges {
                bytes[range.clone()].fill(0);
            }
            let (part, crc) = bytes.split_at_mut(part.length as usize);
            crc.copy_from_slice(&self.binding.crc(logical, part).to_le_bytes());
            patches.push(Patch { at, bytes });
        }
        patches.sort_unstable_by_key(|patch| patch.at);
        Ok(patches)
    }
}

/// Overwrites what patches there are for `bytes`, which stand at `at`.
fn apply(patches: &[Patch], at: u32, bytes: &mut [u8]) {
    let end = u64::from(at) + bytes.len() as u64;
    let first = patches
        .partition_point(|patch| u64::from(patch.at) + patch.bytes.len() as u64 <= u64::from(at));
    for patch in &patches[first..] {
        if u64::from(patch.at) >= end {
            break;
        }
        // The patch may start before these bytes, or end after them.
        let (skip, to) = if patch.at < at {
            ((at - patch.at) as usize, 0)
        } else {
            (0, (patch.at - at) as usize)
        };
        let count = (patch.bytes.len() - skip).min(bytes.len() - to);
        bytes[to..to + count].copy_from_slice(&patch.bytes[skip..skip + count]);
    }
}

/// The ranges of the old bodies file that are in the new one, in order. `new` has the frames of
/// `old` and all of its gone parts.
fn present_ranges(old: &Index, new: &Index) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for (frame, kept) in old.frames.iter().zip(&new.frames) {
        if kept.bodies_at == 0 {
            continue;
        }
        let body = frame.body_range();
        let mut at = body.start;
        let ends = new.gone_in(body.clone()).iter();
        let ends = ends.map(|gone| (gone.at, gone.end()));
        for (end, next) in ends.chain([(body.end, body.end)]) {
            if at < end {
                let start = frame.bodies_at + (at - body.start) - old.absent_in(body.start..at);
                match ranges.last_mut() {
                    Some(last) if last.end == start => last.end += end - at,
                    _ => ranges.push(start..start + (end - at)),
                }
            }
            at = next;
        }
    }
    ranges
}

//! Looks into the tables of a pair where they stand, without reading all of them.
//!
//! The checksum of a table covers all of it, so what is found this way is not checked by it.
//! Instead every entry must agree with its neighbours and with the file: ids ascend, frames
//! follow each other, pieces lie in their room. A wrong entry that passes points to bytes which
//! are not the frame asked for; the frame's own checksum, which is bound to its place, tells.
//! What no neighbour can tell is that a stream's id was damaged *in order*: it is then not found.
//! [`SealedPair::load_index`] and [`SealedPair::scrub`] find that.

use super::{
    SEALED_HEADER_BYTES,
    index::{Gone, SealedFrame},
    names::group_of,
    pair::SealedPair,
    tables::{self, Entry, FrameEntry, StreamEntry},
};
use crate::{
    error::{Damage, ReadError},
    location::StreamId,
    segment::SEGMENT_HEADER_BYTES,
};
use std::ops::Range;

/// How many entries are looked at in one read.
const BLOCK: u32 = 32;

const FRAMES: usize = 0;
const STREAMS: usize = 2;
const GONE: usize = 3;

impl SealedPair {
    /// The frames of one stream, in logical order; empty if it has none here.
    ///
    /// A few reads of 1.5 KiB to find the stream if ids are spread evenly, never more than twice
    /// what halving takes; then one for the entries of its frames.
    ///
    /// # Errors
    /// [`Damage::SealedIndex`] if what was looked at contradicts itself; see the limits of that
    /// above.
    pub(crate) fn frames_of(&self, stream: &StreamId) -> Result<Vec<SealedFrame>, ReadError> {
        if group_of(stream, self.id.groups) != self.id.group {
            return Ok(Vec::new());
        }
        let Some((index, entry)) = self.find_stream(stream)? else {
            return Ok(Vec::new());
        };
        let end = entry.first.checked_add(entry.count);
        let end = end.filter(|end| entry.count > 0 && *end <= self.header.frames);
        let end = end.ok_or_else(|| self.corrupt(Damage::SealedIndex))?;
        let frames: Vec<FrameEntry> = self.entries(FRAMES, entry.first..end)?;
        let possible = |frame: &FrameEntry| frame.stream == index && self.is_possible(frame);
        let follow = |a: &FrameEntry, b: &FrameEntry| {
            a.offset + a.total <= b.offset && a.heads_at + a.head_bytes == b.heads_at
        };
        // What is possible has ends that do not overflow, so the order is asked after it.
        if !frames.iter().all(possible) || !frames.is_sorted_by(follow) {
            return Err(self.corrupt(Damage::SealedIndex));
        }
        Ok(frames.iter().map(|frame| frame.shown(*stream)).collect())
    }

    /// The gone parts that started in this range of the segment, in order.
    ///
    /// # Errors
    /// As [`frames_of`](Self::frames_of).
    pub(crate) fn gone_in(&self, range: Range<u32>) -> Result<Vec<Gone>, ReadError> {
        let (mut low, mut high) = (0, self.header.gone);
        while high - low > BLOCK {
            let middle = low + (high - low) / 2;
            let at = self.entries::<Gone>(GONE, middle..middle + 1)?[0].at;
            if at < range.start {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut found = Vec::new();
        let mut last = None;
        // The first one may be in the block that is left, or just behind it.
        while low < self.header.gone {
            let end = low.saturating_add(BLOCK).min(self.header.gone);
            for part in self.entries::<Gone>(GONE, low..end)? {
                let part_end = u64::from(part.at) + u64::from(part.stored) + 4;
                if last.is_some_and(|last| last > u64::from(part.at))
                    || part_end > u64::from(self.header.end)
                {
                    return Err(self.corrupt(Damage::SealedIndex));
                }
                last = Some(part_end);
                if part.at >= range.end {
                    return Ok(found);
                }
                if part.at >= range.start {
                    found.push(part);
                }
            }
            low = end;
        }
        Ok(found)
    }

    /// Index and entry of a stream.
    fn find_stream(&self, stream: &StreamId) -> Result<Option<(u32, StreamEntry)>, ReadError> {
        let (mut low, mut high) = (0, self.header.streams);
        let (mut below, mut above) = (None, None);
        let mut halve = false;
        while low < high {
            // Guesses alone could creep along ids that are not spread evenly.
            let guess = if halve {
                low + (high - low) / 2
            } else {
                low + guess(stream, below.as_ref(), above.as_ref(), high - low)
            };
            halve = !halve;
            let end = guess.saturating_add(BLOCK / 2).min(high);
            let start = end.saturating_sub(BLOCK).max(low);
            let block = self.streams_in(start..end)?;
            let (Some(first), Some(last)) = (block.first(), block.last()) else {
                return Ok(None);
            };
            if below.is_some_and(|below| below >= first.id)
                || above.is_some_and(|above| above <= last.id)
            {
                return Err(self.corrupt(Damage::SealedIndex));
            }
            if *stream < first.id {
                (high, above) = (start, Some(first.id));
            } else if *stream > last.id {
                (low, below) = (end, Some(last.id));
            } else {
                let found = block.binary_search_by(|entry| entry.id.cmp(stream));
                let Ok(at) = found else { return Ok(None) };
                let index = start + at as u32;
                if at == 0 || at + 1 == block.len() {
                    // One neighbour was not in the block, and has to agree as well.
                    self.streams_in(index.saturating_sub(1)..(index + 2).min(self.header.streams))?;
                }
                return Ok(Some((index, block[at])));
            }
        }
        Ok(None)
    }

    /// Some entries of the table of streams, which agree with each other and with the ends.
    fn streams_in(&self, range: Range<u32>) -> Result<Vec<StreamEntry>, ReadError> {
        let (starts, ends) = (range.start == 0, range.end == self.header.streams);
        let block: Vec<StreamEntry> = self.entries(STREAMS, range)?;
        let end_of = |entry: &StreamEntry| entry.first.checked_add(entry.count);
        let agree = block.is_sorted_by(|a, b| a.id < b.id && end_of(a) == Some(b.first))
            && block.iter().all(|entry| entry.count > 0)
            && (!starts || block.first().is_some_and(|entry| entry.first == 0))
            && (!ends || block.last().and_then(end_of) == Some(self.header.frames));
        agree
            .then_some(block)
            .ok_or_else(|| self.corrupt(Damage::SealedIndex))
    }

    /// Some entries of a table; the trailer's tables have room for as many as the header says.
    fn entries<E: Entry>(&self, table: usize, range: Range<u32>) -> Result<Vec<E>, ReadError> {
        let mut bytes = vec![0; range.len() * E::BYTES];
        let at = self.trailer.range(table).start + range.start * E::BYTES as u32;
        self.read_heads(at, &mut bytes)?;
        tables::decode(&bytes).ok_or_else(|| self.corrupt(Damage::SealedIndex))
    }

    /// Whether the frame fits into the segment and its pieces into the files.
    fn is_possible(&self, frame: &FrameEntry) -> bool {
        let end_of = |at: u32, bytes: u32| u64::from(at) + u64::from(bytes);
        let heads_fit = frame.heads_at >= SEALED_HEADER_BYTES
            && end_of(frame.heads_at, frame.head_bytes) <= u64::from(self.trailer.tables[0]);
        let segment_fits = frame.offset >= SEGMENT_HEADER_BYTES
            && end_of(frame.offset, frame.total) <= u64::from(self.header.end);
        if !(frame.has_possible_sizes() && heads_fit && segment_fits) {
            return false;
        }
        let body_bytes = frame.total - frame.head_bytes;
        if frame.bodies_at == 0 {
            return body_bytes == 0 || self.header.gone > 0;
        }
        // Some of it may be gone, but not all.
        let present_min = if self.header.gone == 0 { body_bytes } else { 1 };
        body_bytes > 0
            && frame.bodies_at >= SEALED_HEADER_BYTES
            && end_of(frame.bodies_at, present_min) <= u64::from(self.files.bodies_bytes)
    }
}

/// Where among `count` entries the id would be, were they spread evenly between the two.
fn guess(id: &StreamId, below: Option<&StreamId>, above: Option<&StreamId>, count: u32) -> u32 {
    let start = below.map_or(0, front);
    let room = u128::from(above.map_or(u64::MAX, front).saturating_sub(start)) + 1;
    let at = u128::from(front(id).saturating_sub(start)) * u128::from(count) / room;
    (at as u32).min(count - 1)
}

fn front(id: &StreamId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

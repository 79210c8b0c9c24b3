//! The index of a pair: where each frame's pieces stand, found by stream and by logical place.

use super::{
    SEALED_HEADER_BYTES,
    names::{PairId, group_of},
    tables::{self, FrameEntry, StreamEntry},
};
use crate::{
    frame::{FRAME_BYTES_MAX, parts_offset},
    location::StreamId,
    segment::SEGMENT_HEADER_BYTES,
};
use std::ops::Range;

pub(crate) use crate::frame::Gone;

const CRC_BYTES: u32 = 4;

/// All tables of a heads file, checked against each other. About 40 bytes for each frame.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Index {
    /// In physical order: by stream, then by logical place.
    pub(super) frames: Vec<FrameEntry>,
    /// Indexes of frames, by logical place.
    by_place: Vec<u32>,
    /// Ascending by id.
    pub(super) streams: Vec<StreamEntry>,
    /// Ascending by place.
    pub(super) gone: Vec<Gone>,
    /// What is absent of the bodies before each gone part, and in all.
    absent: Vec<u32>,
    /// Where the head pieces end in the heads file.
    pub(super) heads_end: u32,
    /// Size of the bodies file, 0 if there is none.
    pub(super) bodies_bytes: u32,
}

/// One frame of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SealedFrame {
    /// The stream that it belongs to.
    pub(crate) stream: StreamId,
    /// Where it stood in the segment.
    pub(crate) offset: u32,
    /// Its size there, what is gone included.
    pub(crate) total: u32,
    /// Size of its piece in the heads file: header, table and head parts.
    pub(crate) head_bytes: u32,
    /// Where that piece starts.
    pub(crate) heads_at: u32,
    /// Where its piece in the bodies file starts. `None`: it has no bodies, or all are gone.
    pub(crate) bodies_at: Option<u32>,
}

/// Where a byte of the segment is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// At this offset of the heads file.
    Heads(u32),
    /// At this offset of the bodies file.
    Bodies(u32),
    /// Nowhere: it was in a part, or its checksum, that was removed.
    Gone,
}

/// What [`Index::locate`] finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Located {
    pub(crate) place: Place,
    /// How many bytes from here on stand as they stood in the segment; at least 1. The end of
    /// a piece or of a gone part bounds it, of a frame in any case.
    pub(crate) bytes: u32,
}

/// What a rewrite is decided by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    /// What the bodies file holds besides its header.
    pub(crate) body_bytes: u64,
    /// What earlier rewrites took out of it.
    pub(crate) gone_bytes: u64,
}

impl Index {
    /// The index of frames that are to be written: in physical order, their places not set yet.
    ///
    /// `None` if a file would be too large for its offsets. What is not in order is a mistake of
    /// the caller's too, and also gives `None`.
    pub(super) fn build(
        id: &PairId,
        end: u32,
        frames: Vec<FrameEntry>,
        streams: Vec<StreamEntry>,
        gone: Vec<Gone>,
    ) -> Option<Self> {
        let mut by_place: Vec<u32> = (0..frames.len() as u32).collect();
        by_place.sort_unstable_by_key(|index| frames[*index as usize].offset);
        let mut index = Self::checked(id, end, frames, by_place, streams, gone)?;
        for at in 0..index.frames.len() {
            let (heads_at, bodies_at) = index.next_places(at)?;
            let frame = &mut index.frames[at];
            (frame.heads_at, frame.bodies_at) = (heads_at, bodies_at);
        }
        index.close();
        Some(index)
    }

    /// Reads the four tables; `bodies_bytes` is the size of the bodies file.
    ///
    /// `None` unless every entry is the only one it could be: pieces follow each other without a
    /// gap in the order they must have, and the files end where they do.
    pub(super) fn decode(
        id: &PairId,
        end: u32,
        heads_end: u32,
        bodies_bytes: u32,
        bytes: [&[u8]; 4],
    ) -> Option<Self> {
        let [frames, by_place, streams, gone] = bytes;
        let mut index = Self::checked(
            id,
            end,
            tables::decode(frames)?,
            tables::decode(by_place)?,
            tables::decode(streams)?,
            tables::decode(gone)?,
        )?;
        for at in 0..index.frames.len() {
            let (heads_at, bodies_at) = index.next_places(at)?;
            let frame = &index.frames[at];
            ((frame.heads_at, frame.bodies_at) == (heads_at, bodies_at)).then_some(())?;
        }
        index.close();
        (index.heads_end == heads_end && index.bodies_bytes == bodies_bytes).then_some(index)
    }

    /// The bytes of the four tables.
    pub(super) fn encode(&self) -> [Vec<u8>; 4] {
        [
            tables::encode(&self.frames),
            tables::encode(&self.by_place),
            tables::encode(&self.streams),
            tables::encode(&self.gone),
        ]
    }

    /// Checks everything but the places in the new files.
    fn checked(
        id: &PairId,
        end: u32,
        frames: Vec<FrameEntry>,
        by_place: Vec<u32>,
        streams: Vec<StreamEntry>,
        gone: Vec<Gone>,
    ) -> Option<Self> {
        let mut absent = Vec::with_capacity(gone.len() + 1);
        let mut sum = 0_u32;
        absent.push(0);
        for part in &gone {
            sum = sum.checked_add(part.stored)?.checked_add(CRC_BYTES)?;
            absent.push(sum);
        }
        let index = Self {
            frames,
            by_place,
            streams,
            gone,
            absent,
            heads_end: SEALED_HEADER_BYTES,
            bodies_bytes: SEALED_HEADER_BYTES,
        };
        let ordered = !index.frames.is_empty()
            && index.streams_are_ordered(id)
            && index.places_are_ordered(end)
            && index.gone_are_within_frames();
        ordered.then_some(index)
    }

    fn streams_are_ordered(&self, id: &PairId) -> bool {
        let mut next = 0;
        let tiled = (0..).zip(&self.streams).all(|(index, stream)| {
            let start = next as usize;
            let end = start.saturating_add(stream.count as usize);
            let Some(frames) = self.frames.get(start..end) else {
                return false;
            };
            next = end as u32;
            stream.first as usize == start
                && !frames.is_empty()
                && group_of(&stream.id, id.groups) == id.group
                && frames.iter().all(|frame| frame.stream == index)
                && frames.is_sorted_by(|a, b| a.offset < b.offset)
        });
        tiled && next as usize == self.frames.len() && self.streams.is_sorted_by(|a, b| a.id < b.id)
    }

    fn places_are_ordered(&self, end: u32) -> bool {
        let mut next = u64::from(SEGMENT_HEADER_BYTES);
        // As many as there are frames and each behind the one before: none is named twice.
        self.by_place.len() == self.frames.len()
            && self.by_place.iter().all(|index| {
                let Some(frame) = self.frames.get(*index as usize) else {
                    return false;
                };
                let free = next;
                next = u64::from(frame.offset) + u64::from(frame.total);
                frame.has_possible_sizes() && u64::from(frame.offset) >= free
            })
            && next <= u64::from(end)
    }

    fn gone_are_within_frames(&self) -> bool {
        let mut next = 0;
        self.gone.iter().all(|part| {
            let free = next;
            next = u64::from(part.at) + u64::from(part.stored) + u64::from(CRC_BYTES);
            let within = self.entry_at(part.at).is_some_and(|frame| {
                part.at >= frame.offset + frame.head_bytes
                    && next <= u64::from(frame.offset + frame.total)
            });
            within && u64::from(part.at) >= free
        })
    }

    /// Where the pieces of the next frame stand, called once for each in physical order.
    fn next_places(&mut self, at: usize) -> Option<(u32, u32)> {
        let frame = self.frames[at];
        let present = frame.total - frame.head_bytes - self.absent_in(frame.body_range());
        let heads_at = self.heads_end;
        let bodies_at = if present > 0 { self.bodies_bytes } else { 0 };
        self.heads_end = heads_at.checked_add(frame.head_bytes)?;
        self.bodies_bytes = self.bodies_bytes.checked_add(present)?;
        Some((heads_at, bodies_at))
    }

    /// Called after the last [`next_places`](Self::next_places).
    const fn close(&mut self) {
        if self.bodies_bytes == SEALED_HEADER_BYTES {
            self.bodies_bytes = 0;
        }
    }

    /// Where the byte at `offset` of the segment is now; `None` if no frame of this pair had it.
    ///
    /// O(log n).
    pub(crate) fn locate(&self, offset: u32) -> Option<Located> {
        let frame = self.entry_at(offset)?;
        let (within, head_bytes) = (offset - frame.offset, frame.head_bytes);
        if within < head_bytes {
            return Some(Located {
                place: Place::Heads(frame.heads_at + within),
                bytes: head_bytes - within,
            });
        }
        let body = frame.body_range();
        let next = self.gone.partition_point(|part| part.at <= offset);
        let before = next.checked_sub(1).map(|before| self.gone[before]);
        if let Some(part) = before.filter(|part| part.end() > offset) {
            return Some(Located {
                place: Place::Gone,
                bytes: part.end() - offset,
            });
        }
        let end = self.gone.get(next).map_or(body.end, |part| part.at);
        Some(Located {
            place: Place::Bodies(
                frame.bodies_at + (offset - body.start) - self.absent_in(body.start..offset),
            ),
            bytes: end.min(body.end) - offset,
        })
    }

    /// The frame that has the byte at `offset` of the segment. O(log n).
    pub(crate) fn frame_at(&self, offset: u32) -> Option<SealedFrame> {
        self.entry_at(offset).map(|frame| self.shown(frame))
    }

    /// The frames from the first one on that starts at `offset` or after it, in logical order.
    pub(crate) fn frames_from(&self, offset: u32) -> impl Iterator<Item = SealedFrame> + '_ {
        let first = self
            .by_place
            .partition_point(|index| self.frames[*index as usize].offset < offset);
        self.by_place[first..]
            .iter()
            .map(|index| self.shown(&self.frames[*index as usize]))
    }

    /// The frames of one stream, in logical order. O(log n) to find them.
    #[cfg(test)]
    pub(crate) fn frames_of(&self, stream: &StreamId) -> impl Iterator<Item = SealedFrame> + '_ {
        let found = self.streams.binary_search_by(|entry| entry.id.cmp(stream));
        let range = found.map_or(0..0, |at| self.streams[at].range());
        self.frames[range].iter().map(|frame| self.shown(frame))
    }

    /// The streams that have frames here, ascending.
    #[cfg(test)]
    pub(crate) fn streams(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.streams.iter().map(|stream| stream.id)
    }

    /// The gone parts that started in this range of the segment. O(log n).
    pub(crate) fn gone_in(&self, range: Range<u32>) -> &[Gone] {
        &self.gone[self.gone_range(range)]
    }

    /// What it takes in memory, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.frames)
            + size_of_val(&*self.by_place)
            + size_of_val(&*self.streams)
            + size_of_val(&*self.gone)
            + size_of_val(&*self.absent)
    }

    /// What is there and what is gone.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            body_bytes: u64::from(self.bodies_bytes.saturating_sub(SEALED_HEADER_BYTES)),
            gone_bytes: u64::from(*self.absent.last().expect("one more than gone parts")),
        }
    }

    pub(super) fn entry_at(&self, offset: u32) -> Option<&FrameEntry> {
        let after = self
            .by_place
            .partition_point(|index| self.frames[*index as usize].offset <= offset);
        let frame = &self.frames[self.by_place[after.checked_sub(1)?] as usize];
        (offset - frame.offset < frame.total).then_some(frame)
    }

    fn shown(&self, frame: &FrameEntry) -> SealedFrame {
        frame.shown(self.streams[frame.stream as usize].id)
    }

    fn gone_range(&self, range: Range<u32>) -> Range<usize> {
        let start = self.gone.partition_point(|part| part.at < range.start);
        let end = self.gone.partition_point(|part| part.at < range.end);
        start..end.max(start)
    }

    /// What is absent of the gone parts that started in this range of the segment.
    pub(super) fn absent_in(&self, range: Range<u32>) -> u32 {
        let Range { start, end } = self.gone_range(range);
        self.absent[end] - self.absent[start]
    }
}

impl SealedFrame {
    /// As [`Index::locate`], for who has this frame without the index; `gone` are the gone
    /// parts of the frame's bodies, in order. `None` if the byte is not the frame's. O(`gone`).
    #[cfg(test)]
    pub(crate) fn locate(&self, offset: u32, gone: &[Gone]) -> Option<Located> {
        let within = offset.checked_sub(self.offset)?;
        if within < self.head_bytes {
            return Some(Located {
                place: Place::Heads(self.heads_at + within),
                bytes: self.head_bytes - within,
            });
        }
        let (mut end, mut absent) = (self.offset + self.total, 0);
        for part in gone {
            if part.at > offset {
                end = end.min(part.at);
                break;
            }
            if offset < part.end() {
                return Some(Located {
                    place: Place::Gone,
                    bytes: part.end() - offset,
                });
            }
            absent += part.end() - part.at;
        }
        let place = Place::Bodies(self.bodies_at? + within - self.head_bytes - absent);
        (offset < end).then(|| Located {
            place,
            bytes: end - offset,
        })
    }

    /// Where its bodies stood in the segment; empty if it has none.
    pub(crate) const fn body_range(&self) -> Range<u32> {
        self.offset + self.head_bytes..self.offset + self.total
    }
}

impl FrameEntry {
    /// Whether the pieces are not smaller than nothing, nor larger than a frame may be.
    pub(super) fn has_possible_sizes(&self) -> bool {
        (parts_offset(0)..=self.total).contains(&self.head_bytes) && self.total <= FRAME_BYTES_MAX
    }

    /// Where its bodies stood in the segment.
    pub(super) const fn body_range(&self) -> Range<u32> {
        self.offset + self.head_bytes..self.offset + self.total
    }

    pub(super) fn shown(&self, stream: StreamId) -> SealedFrame {
        SealedFrame {
            stream,
            offset: self.offset,
            total: self.total,
            head_bytes: self.head_bytes,
            heads_at: self.heads_at,
            bodies_at: (self.bodies_at > 0).then_some(self.bodies_at),
        }
    }
}

impl StreamEntry {
    /// Indexes of its frames, once it is known that there are so many.
    #[cfg(test)]
    pub(super) const fn range(&self) -> Range<usize> {
        self.first as usize..self.first as usize + self.count as usize
    }
}

impl Gone {
    /// Where it ended with its checksum, once it is known to have been in a frame.
    pub(crate) const fn end(&self) -> u32 {
        self.at + self.stored + CRC_BYTES
    }
}

//! The shape of one frame, read from the bytes of its header and its table.
//!
//! A frame is known by more than its header says: which parts are heads, and how much each part
//! takes. Nothing here looks at checksums.

use super::take::Take;
use crate::{
    frame::{FRAME_HEADER_BYTES, PARTS_MAX, body_bytes_in_frame, parts_offset},
    location::StreamId,
};
use std::ops::Range;

const KIND_MARK: u8 = 3;
const CRC_BYTES: u32 = 4;

/// What a part takes in its frame, without its checksum.
const fn stored_bytes(index: u32, head_parts: u32, length: u32) -> u32 {
    if index >= head_parts {
        body_bytes_in_frame(length)
    } else {
        length
    }
}

/// What a frame's header says about its shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outline {
    kind: u8,
    /// How many parts are heads; not more than there are parts.
    pub(super) head_parts: u32,
    pub(super) parts: u32,
    /// Size of the frame.
    pub(super) total: u32,
    pub(super) stream: StreamId,
}

impl Outline {
    /// Reads a header; `None` if it is short or has too many parts.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes.get(..FRAME_HEADER_BYTES as usize)?);
        let [_, _, kind, heads] = take.array()?;
        let parts = take.u32()?;
        let total = take.u32()?;
        take.slice(12)?; // Watermark and number.
        let stream = StreamId(take.array()?);
        // The upper half of the byte holds flags, which tell nothing about the shape.
        let head_parts = u32::from(heads & 0x0f).min(parts);
        (parts as usize <= PARTS_MAX).then_some(Self {
            kind,
            head_parts,
            parts,
            total,
            stream,
        })
    }

    /// Whether this is a mark of the log's own, which nobody gets to see.
    pub(super) const fn is_mark(&self) -> bool {
        self.kind == KIND_MARK && self.parts == 0
    }

    /// Size of header, table and table checksum.
    pub(super) const fn front_bytes(&self) -> u32 {
        parts_offset(self.parts as usize)
    }
}

/// A frame's outline and the lengths of its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    pub(super) outline: Outline,
    table: &'a [u8],
    /// Size of the piece that stands in the heads file.
    pub(super) head_bytes: u32,
}

/// One part of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) index: u32,
    pub(super) is_head: bool,
    /// Where its bytes stand, from the start of the frame; its checksum follows.
    pub(super) stored: Range<u32>,
    /// How long it really is.
    pub(super) length: u32,
}

impl Part {
    /// Where it ends with its checksum, from the start of the frame.
    pub(super) const fn end(&self) -> u32 {
        self.stored.end + CRC_BYTES
    }
}

impl<'a> Shape<'a> {
    /// Reads a frame's front: `bytes` has its header, its table and any more. `None` if the
    /// lengths do not add up to the size of the frame.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let outline = Outline::read(bytes)?;
        let table =
            bytes.get(FRAME_HEADER_BYTES as usize..(outline.front_bytes() - CRC_BYTES) as usize)?;
        // In 64 bits first: parts that overlap by overflow are never handed out.
        let (mut sum, mut head_bytes) = (u64::from(outline.front_bytes()), outline.front_bytes());
        for (index, length) in (0..).zip(lengths(table)) {
            let stored = stored_bytes(index, outline.head_parts, length);
            sum += u64::from(stored) + u64::from(CRC_BYTES);
            if index < outline.head_parts {
                head_bytes = u32::try_from(sum).ok()?;
            }
        }
        (sum == u64::from(outline.total)).then_some(Self {
            outline,
            table,
            head_bytes,
        })
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part> + use<'a> {
        let heads = self.outline.head_parts;
        let mut at = self.outline.front_bytes();
        (0..).zip(lengths(self.table)).map(move |(index, length)| {
            let start = at;
            let end = start + stored_bytes(index, heads, length);
            at = end + CRC_BYTES;
            Part {
                index,
                is_head: index < heads,
                stored: start..end,
                length,
            }
        })
    }
}

fn lengths(table: &[u8]) -> impl Iterator<Item = u32> {
    table
        .as_chunks()
        .0
        .iter()
        .map(|length| u32::from_le_bytes(*length))
}

//! Entries and frames, as the layers above see them.

use crate::{
    error::AppendError,
    location::{Cursor, Location, StreamId},
};
use codec::{CRC_BYTES, LENGTH_BYTES};

mod codec;

pub(crate) use codec::{
    BadFrame, Binding, FRAME_HEADER_BYTES, Header, MAGIC, MARK_BYTES, Meaning, check, encode,
    encode_mark, parts_offset, view,
};

/// The largest frame, all of it counted: 32 MiB.
pub const FRAME_BYTES_MAX: u32 = 32 << 20;
/// The most parts of one frame: two and one for each of 65,536 events.
pub const PARTS_MAX: usize = 65_538;
/// What a frame without parts takes; [`PART_OVERHEAD`] comes on top for each part.
pub const FRAME_OVERHEAD: u32 = FRAME_HEADER_BYTES + CRC_BYTES;
/// What each part takes besides its bytes: its length and its checksum.
pub const PART_OVERHEAD: u32 = LENGTH_BYTES + CRC_BYTES;

/// What a frame means to the layer above. The log treats all kinds alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
#[repr(u8)]
pub enum FrameKind {
    /// An entry of a stream.
    Commit = 1,
    /// A proof that covers commits after it.
    Proof = 2,
    /// Entries of the stream with this number or a higher one that stand before this frame
    /// are withdrawn. The log carries the frame and does nothing about it.
    Void = 4,
}

impl FrameKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Commit),
            2 => Some(Self::Proof),
            4 => Some(Self::Void),
            _ => None,
        }
    }
}

/// What becomes one frame.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What it means.
    pub kind: FrameKind,
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// Its number in the stream.
    pub number: u64,
    /// Its bytes, at most [`PARTS_MAX`] parts, each with a checksum of its own; the frame is
    /// at most [`FRAME_BYTES_MAX`].
    pub parts: &'a [&'a [u8]],
}

impl Entry<'_> {
    /// The size of the frame that this entry makes.
    ///
    /// # Errors
    /// Over one of the limits; `index` is what the error names as the entry's place.
    pub(crate) fn frame_bytes(&self, index: usize) -> Result<u32, AppendError> {
        if self.parts.len() > PARTS_MAX {
            return Err(AppendError::TooManyParts {
                index,
                parts: self.parts.len(),
                max: PARTS_MAX,
            });
        }
        let bodies: u64 = self
            .parts
            .iter()
            .map(|part| part.len() as u64 + u64::from(PART_OVERHEAD))
            .sum();
        let bytes = bodies + u64::from(FRAME_OVERHEAD);
        if bytes > u64::from(FRAME_BYTES_MAX) {
            return Err(AppendError::FrameTooLarge {
                index,
                bytes,
                max: u64::from(FRAME_BYTES_MAX),
            });
        }
        Ok(bytes as u32)
    }
}

/// Where an entry went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// Start of the frame.
    pub frame: Location,
    /// First byte of part 0; part `i + 1` starts 4 bytes after the end of part `i`.
    pub parts: Location,
    /// Where the next frame starts.
    pub next: Cursor,
}

impl Placed {
    /// The place of part `lens.len()`, whose predecessors have these lengths.
    ///
    /// Right for lengths that were appended; others give a place that means nothing.
    #[must_use]
    pub fn part(&self, lens: &[usize]) -> Location {
        let bytes: usize = lens.iter().map(|len| len + CRC_BYTES as usize).sum();
        Location {
            file: self.parts.file,
            offset: self.parts.offset.wrapping_add(bytes as u32),
        }
    }

    /// The places of all parts, given their lengths in order. Lazy, O(1) each.
    pub fn part_locations<I: IntoIterator<Item = usize>>(
        &self,
        lens: I,
    ) -> impl Iterator<Item = Location> {
        let Location { file, mut offset } = self.parts;
        lens.into_iter().map(move |len| {
            let at = Location { file, offset };
            offset = offset.wrapping_add(len as u32).wrapping_add(CRC_BYTES);
            at
        })
    }
}

/// A frame that was read and checked.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Start of the frame.
    pub at: Location,
    /// Where the next frame starts.
    pub next: Cursor,
    /// What it means.
    pub kind: FrameKind,
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// Its number in the stream.
    pub number: u64,
    /// Everything before this place was proven durable when the frame was written.
    pub watermark: Cursor,
    body: Body<'a>,
}

#[derive(Clone, Copy, Debug)]
struct Body<'a> {
    table: &'a [u8],
    bytes: &'a [u8],
    at: Location,
}

impl<'a> Frame<'a> {
    /// How many parts there are.
    #[must_use]
    pub const fn part_count(&self) -> usize {
        self.body.table.len() / LENGTH_BYTES as usize
    }

    /// All parts in order, each with the place of its first byte.
    #[must_use]
    pub const fn parts(&self) -> Parts<'a> {
        Parts {
            body: self.body,
            offset: 0,
        }
    }

    /// One part. O(`index`): to visit all, take [`parts`](Self::parts).
    #[must_use]
    pub fn part(&self, index: usize) -> Option<&'a [u8]> {
        self.parts().nth(index).map(|(_, bytes)| bytes)
    }
}

/// The parts of a [`Frame`].
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    body: Body<'a>,
    offset: u32,
}

impl<'a> Iterator for Parts<'a> {
    type Item = (Location, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, table) = self.body.table.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        // The lengths were added up and compared with the frame when it was checked.
        let bytes = self
            .body
            .bytes
            .get(self.offset as usize..)?
            .get(..length as usize)?;
        let at = Location {
            file: self.body.at.file,
            offset: self.body.at.offset + self.offset,
        };
        self.body.table = table;
        self.offset += length + CRC_BYTES;
        Some((at, bytes))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.body.table.len() / LENGTH_BYTES as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Parts<'_> {}

/// A checked frame that owns its bytes.
#[derive(Clone, Debug)]
pub struct OwnedFrame {
    at: Location,
    header: Header,
    kind: FrameKind,
    bytes: Vec<u8>,
}

impl OwnedFrame {
    /// Takes the bytes of a frame that [`check`] has passed.
    pub(crate) const fn new(at: Location, header: Header, kind: FrameKind, bytes: Vec<u8>) -> Self {
        Self {
            at,
            header,
            kind,
            bytes,
        }
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> Frame<'_> {
        view(self.at, &self.header, self.kind, &self.bytes)
    }
}

#[cfg(test)]
mod tests;

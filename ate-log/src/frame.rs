//! Entries and frames, as the layers above see them.

use crate::{
    error::AppendError,
    location::{Cursor, Location, StreamId},
};
use codec::{CRC_BYTES, LENGTH_BYTES};

mod codec;

pub(crate) use codec::{
    BadFrame, Binding, FRAME_HEADER_BYTES, Gone, Header, MAGIC, MARK_BYTES, Meaning, STUB_BYTES,
    Stub, check, encode, encode_mark, parts_offset, view,
};

/// The largest frame, all of it counted: 32 MiB.
pub const FRAME_BYTES_MAX: u32 = 32 << 20;
/// The most parts of one frame: two and one for each of 65,536 events.
pub const PARTS_MAX: usize = 65_538;
/// What a frame without parts takes; [`PART_OVERHEAD`] comes on top for each part.
pub const FRAME_OVERHEAD: u32 = FRAME_HEADER_BYTES + CRC_BYTES;
/// What each part takes besides its bytes: its length and its checksum.
pub const PART_OVERHEAD: u32 = LENGTH_BYTES + CRC_BYTES;

/// A body of at least this many bytes does not stand in its frame: 64 KiB.
///
/// It lies in a file for large bodies, which is synced before the frame that names it is written.
pub const LARGE_BODY_BYTES: u32 = 64 << 10;
/// The most parts of a frame that can be heads.
pub const HEAD_PARTS_MAX: u8 = 15;

/// What a body of this length takes in its frame, its checksum not counted.
#[must_use]
pub const fn body_bytes_in_frame(bytes: u32) -> u32 {
    if bytes < LARGE_BODY_BYTES {
        bytes
    } else {
        STUB_BYTES
    }
}

/// What part `index` takes in a frame whose first `head_parts` parts are heads.
pub(crate) const fn stored_bytes(index: usize, head_parts: u8, bytes: u32) -> u32 {
    if index < head_parts as usize {
        bytes
    } else {
        body_bytes_in_frame(bytes)
    }
}

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
    /// What became of a staged entry.
    Settled = 5,
    /// A body of another stream's entry, which came later than the entry.
    Body = 6,
    /// Entries that wait to become part of a stream elsewhere.
    Staged = 7,
}

impl FrameKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Commit),
            2 => Some(Self::Proof),
            4 => Some(Self::Void),
            5 => Some(Self::Settled),
            6 => Some(Self::Body),
            7 => Some(Self::Staged),
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
    /// How many of the parts are *heads*, which are read with the frame; at most
    /// [`HEAD_PARTS_MAX`]. The others are *bodies*: they may be stored apart, passed over by a
    /// scan, and erased.
    pub head_parts: u8,
    /// Its bytes, at most [`PARTS_MAX`] parts, each with a checksum of its own; the frame is
    /// at most [`FRAME_BYTES_MAX`], bodies of [`LARGE_BODY_BYTES`] and more not counted.
    pub parts: &'a [&'a [u8]],
}

impl<'a> Entry<'a> {
    /// The parts that stand outside of the frame, in order.
    pub(crate) fn large_bodies(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bodies = self.parts.iter().skip(self.head_parts.into());
        bodies
            .copied()
            .filter(|part| part.len() >= LARGE_BODY_BYTES as usize)
    }

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
        if self.head_parts > HEAD_PARTS_MAX {
            return Err(AppendError::TooManyParts {
                index,
                parts: self.head_parts.into(),
                max: HEAD_PARTS_MAX.into(),
            });
        }
        let stored = |(index, part): (usize, &&[u8])| {
            let bytes = u32::try_from(part.len()).unwrap_or(u32::MAX);
            u64::from(stored_bytes(index, self.head_parts, bytes)) + u64::from(PART_OVERHEAD)
        };
        let parts: u64 = self.parts.iter().enumerate().map(stored).sum();
        let bytes = parts + u64::from(FRAME_OVERHEAD);
        let longest = self.parts.iter().map(|part| part.len()).max().unwrap_or(0);
        if bytes.max(longest as u64) > u64::from(FRAME_BYTES_MAX) {
            return Err(AppendError::FrameTooLarge {
                index,
                bytes: bytes.max(longest as u64),
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
    /// How many of the parts are heads.
    pub head_parts: u8,
}

impl Placed {
    /// The place of part `lens.len()`, whose predecessors have these lengths.
    ///
    /// Right for lengths that were appended; others give a place that means nothing.
    #[must_use]
    pub fn part(&self, lens: &[usize]) -> Location {
        let all = lens.iter().copied().chain([0]);
        self.part_locations(all)
            .last()
            .expect("there is at least the part behind the lengths")
    }

    /// The places of all parts, given their lengths in order. Lazy, O(1) each.
    pub fn part_locations<I: IntoIterator<Item = usize>>(
        &self,
        lens: I,
    ) -> impl Iterator<Item = Location> {
        let Location { file, mut offset } = self.parts;
        let head_parts = self.head_parts;
        lens.into_iter().enumerate().map(move |(index, len)| {
            let at = Location { file, offset };
            let stored = stored_bytes(index, head_parts, len as u32);
            offset = offset.wrapping_add(stored).wrapping_add(CRC_BYTES);
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
    /// How many of the parts are heads.
    pub head_parts: u8,
    body: Body<'a>,
}

#[derive(Clone, Copy, Debug)]
struct Body<'a> {
    table: &'a [u8],
    /// From part 0 on, as far as it was read.
    bytes: &'a [u8],
    at: Location,
    /// What of the frame is erased, ascending.
    gone: &'a [Gone],
}

/// One part of a frame, as a scan found it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PartBytes<'a> {
    /// Read and checked.
    Here(&'a [u8]),
    /// A body that was not read: [`Log::read_body`](crate::Log::read_body) does.
    NotRead {
        /// Its length.
        bytes: u32,
    },
    /// A body that was erased.
    Erased {
        /// The length that it had.
        bytes: u32,
    },
}

impl<'a> PartBytes<'a> {
    /// The length of the part, whether it is there or not.
    #[must_use]
    pub const fn len(&self) -> u32 {
        match self {
            Self::Here(bytes) => bytes.len() as u32,
            Self::NotRead { bytes } | Self::Erased { bytes } => *bytes,
        }
    }

    /// Whether the part has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they were read.
    #[must_use]
    pub const fn here(&self) -> Option<&'a [u8]> {
        match self {
            Self::Here(bytes) => Some(bytes),
            Self::NotRead { .. } | Self::Erased { .. } => None,
        }
    }
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
            head_parts: self.head_parts,
            index: 0,
            offset: 0,
        }
    }

    /// The places of large bodies that are not erased.
    pub(crate) fn large_bodies(&self) -> impl Iterator<Item = Location> + use<'a> {
        let bodies = self.parts().skip(self.head_parts.into());
        bodies.filter_map(|(at, part)| match part {
            PartBytes::NotRead { bytes } if bytes >= LARGE_BODY_BYTES => Some(at),
            _ => None,
        })
    }

    /// One part, if it was read. O(`index`): to visit all, take [`parts`](Self::parts).
    #[must_use]
    pub fn part(&self, index: usize) -> Option<&'a [u8]> {
        self.parts().nth(index).and_then(|(_, part)| part.here())
    }
}

/// The parts of a [`Frame`].
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    body: Body<'a>,
    head_parts: u8,
    index: usize,
    offset: u32,
}

impl<'a> Iterator for Parts<'a> {
    type Item = (Location, PartBytes<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, table) = self.body.table.split_first_chunk::<4>()?;
        let bytes = u32::from_le_bytes(*length);
        let stored = stored_bytes(self.index, self.head_parts, bytes);
        let at = Location {
            file: self.body.at.file,
            offset: self.body.at.offset + self.offset,
        };
        let is_gone = || {
            let gone = self.body.gone;
            gone.binary_search_by_key(&at.offset, |gone| gone.at)
                .is_ok()
        };
        let is_body = self.index >= self.head_parts.into();
        // The lengths were added up and compared with the frame when it was checked.
        let here = self.body.bytes.get(self.offset as usize..);
        let here = here.and_then(|rest| rest.get(..stored as usize));
        let part = match here {
            _ if is_body && is_gone() => PartBytes::Erased { bytes },
            Some(here) if stored == bytes => PartBytes::Here(here),
            _ => PartBytes::NotRead { bytes },
        };
        self.body.table = table;
        self.index += 1;
        self.offset += stored + CRC_BYTES;
        Some((at, part))
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
    gone: Vec<Gone>,
}

impl OwnedFrame {
    /// Takes the bytes of a frame that [`check`] has passed.
    pub(crate) const fn new(
        at: Location,
        header: Header,
        kind: FrameKind,
        bytes: Vec<u8>,
        gone: Vec<Gone>,
    ) -> Self {
        Self {
            at,
            header,
            kind,
            bytes,
            gone,
        }
    }

    /// All bytes of it as they stood in its segment, unless a part is gone.
    pub(crate) fn into_whole(self) -> Option<Vec<u8>> {
        self.gone.is_empty().then_some(self.bytes)
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> Frame<'_> {
        view(self.at, &self.header, self.kind, &self.bytes, &self.gone)
    }
}

#[cfg(test)]
mod tests;

//! One frame, byte by byte: `docs/format.md`, section 6.2.

use crate::{
    error::{AppendError, Damage},
    location::{Cursor, Location, StreamId},
};
use std::ops::Range;

/// The largest frame, all of it counted: 32 MiB.
pub const FRAME_BYTES_MAX: u32 = 32 << 20;
/// The most parts of one frame: two and one for each of 65,536 events.
pub const PARTS_MAX: usize = 65_538;
/// What a frame without parts takes; [`PART_OVERHEAD`] comes on top for each part.
pub const FRAME_OVERHEAD: u32 = FRAME_HEADER_BYTES + CRC_BYTES;
/// What each part takes besides its bytes: its length and its checksum.
pub const PART_OVERHEAD: u32 = LENGTH_BYTES + CRC_BYTES;

pub(crate) const MAGIC: [u8; 2] = [0xa7, 0x3e];
pub(crate) const FRAME_HEADER_BYTES: u32 = 60;
pub(crate) const MARK_BYTES: u32 = FRAME_OVERHEAD;
const CRC_BYTES: u32 = 4;
const LENGTH_BYTES: u32 = 4;
const KIND_MARK: u8 = 3;

// Offsets in the fixed header.
const KIND: usize = 2;
const FLAGS: usize = 3;
const PARTS: usize = 4;
const TOTAL: usize = 8;
const WATERMARK: usize = 12;
const NUMBER: usize = 16;
const STREAM: usize = 24;
const CRC: usize = 56;

const _: () = assert!(STREAM + 32 == CRC && CRC + 4 == FRAME_HEADER_BYTES as usize);
// The promise about small frames: two parts cost 80 bytes.
const _: () = assert!(FRAME_OVERHEAD + 2 * PART_OVERHEAD == 80);
const _: () = assert!(
    FRAME_OVERHEAD as u64 + PART_OVERHEAD as u64 * (PARTS_MAX as u64) < FRAME_BYTES_MAX as u64
);

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

/// The checksum state that binds bytes to one file of one log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding(u32);

impl Binding {
    pub(crate) fn new(log_id: &[u8; 16], file: u32) -> Self {
        Self(crc32c::crc32c_append(
            crc32c::crc32c(log_id),
            &file.to_le_bytes(),
        ))
    }

    /// CRC-32C of log id, file number, offset and bytes.
    fn crc(self, offset: u32, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &offset.to_le_bytes()), bytes)
    }
}

/// The fixed header, once its checksum has been verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    kind: u8,
    flags: u8,
    parts: u32,
    pub(crate) total: u32,
    pub(crate) watermark: u32,
    number: u64,
    stream: StreamId,
}

impl Header {
    /// Reads a header that stands at `offset`. `None`: it is not one, or not in this place.
    pub(crate) fn decode(
        binding: Binding,
        offset: u32,
        bytes: &[u8; FRAME_HEADER_BYTES as usize],
    ) -> Option<Self> {
        if bytes[..2] != MAGIC || binding.crc(offset, &bytes[..CRC]) != u32_at(bytes, CRC) {
            return None;
        }
        let mut stream = [0; 32];
        stream.copy_from_slice(&bytes[STREAM..CRC]);
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[NUMBER..STREAM]);
        let header = Self {
            kind: bytes[KIND],
            flags: bytes[FLAGS],
            parts: u32_at(bytes, PARTS),
            total: u32_at(bytes, TOTAL),
            watermark: u32_at(bytes, WATERMARK),
            number: u64::from_le_bytes(number),
            stream: StreamId(stream),
        };
        let smallest =
            u64::from(FRAME_OVERHEAD) + u64::from(PART_OVERHEAD) * u64::from(header.parts);
        let plausible = header.parts as usize <= PARTS_MAX
            && header.total <= FRAME_BYTES_MAX
            && u64::from(header.total) >= smallest
            && header.watermark <= offset;
        plausible.then_some(header)
    }

    fn encode(&self, binding: Binding, offset: u32) -> [u8; FRAME_HEADER_BYTES as usize] {
        let mut bytes = [0; FRAME_HEADER_BYTES as usize];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[KIND] = self.kind;
        bytes[FLAGS] = self.flags;
        bytes[PARTS..TOTAL].copy_from_slice(&self.parts.to_le_bytes());
        bytes[TOTAL..WATERMARK].copy_from_slice(&self.total.to_le_bytes());
        bytes[WATERMARK..NUMBER].copy_from_slice(&self.watermark.to_le_bytes());
        bytes[NUMBER..STREAM].copy_from_slice(&self.number.to_le_bytes());
        bytes[STREAM..CRC].copy_from_slice(&self.stream.0);
        let crc = binding.crc(offset, &bytes[..CRC]);
        bytes[CRC..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) const fn is_mark(&self) -> bool {
        self.kind == KIND_MARK && self.flags == 0 && self.parts == 0
    }

    /// What visitors get to see, or what kind and flags this build does not know.
    pub(crate) fn meaning(&self) -> Result<Meaning, (u8, u8)> {
        if self.is_mark() {
            return Ok(Meaning::Mark);
        }
        match FrameKind::from_byte(self.kind) {
            Some(kind) if self.flags == 0 => Ok(Meaning::Shown(kind)),
            _ => Err((self.kind, self.flags)),
        }
    }

    const fn table_range(&self) -> Range<usize> {
        let start = FRAME_HEADER_BYTES as usize;
        start..start + self.parts as usize * LENGTH_BYTES as usize
    }
}

/// Whether a frame is for visitors or for the log itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Mark,
    Shown(FrameKind),
}

/// The first damage in a frame, and which bytes of the file could explain it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadFrame {
    pub(crate) damage: Damage,
    pub(crate) region: Range<u32>,
}

/// Appends the frame of `entry` to `buffer`. It is to be written at `offset`.
///
/// `total` is what [`Entry::frame_bytes`] said.
pub(crate) fn encode(
    buffer: &mut Vec<u8>,
    binding: Binding,
    offset: u32,
    watermark: u32,
    entry: &Entry<'_>,
    total: u32,
) {
    let header = Header {
        kind: entry.kind as u8,
        flags: 0,
        parts: entry.parts.len() as u32,
        total,
        watermark,
        number: entry.number,
        stream: entry.stream,
    };
    let start = buffer.len();
    buffer.reserve(total as usize);
    buffer.extend_from_slice(&header.encode(binding, offset));
    for part in entry.parts {
        buffer.extend_from_slice(&(part.len() as u32).to_le_bytes());
    }
    let table = start + FRAME_HEADER_BYTES as usize;
    let crc = binding.crc(offset + FRAME_HEADER_BYTES, &buffer[table..]);
    buffer.extend_from_slice(&crc.to_le_bytes());
    let mut at = offset + (buffer.len() - start) as u32;
    for part in entry.parts {
        buffer.extend_from_slice(part);
        buffer.extend_from_slice(&binding.crc(at, part).to_le_bytes());
        at += part.len() as u32 + CRC_BYTES;
    }
    debug_assert_eq!(buffer.len() - start, total as usize);
}

/// The bytes of a mark at `offset`: everything before `watermark` is durable.
pub(crate) fn encode_mark(binding: Binding, offset: u32, watermark: u32) -> Vec<u8> {
    let header = Header {
        kind: KIND_MARK,
        flags: 0,
        parts: 0,
        total: MARK_BYTES,
        watermark,
        number: 0,
        stream: StreamId([0; 32]),
    };
    let mut bytes = header.encode(binding, offset).to_vec();
    bytes.extend_from_slice(&binding.crc(offset + FRAME_HEADER_BYTES, &[]).to_le_bytes());
    bytes
}

/// First byte of part 0, from the start of a frame with this many parts.
pub(crate) const fn parts_offset(parts: usize) -> u32 {
    FRAME_HEADER_BYTES + parts as u32 * LENGTH_BYTES + CRC_BYTES
}

/// Checks table and parts of a frame whose header is verified; `bytes` is all of the frame.
///
/// # Errors
/// The first damaged piece. If a part is damaged, later parts are not looked at.
pub(crate) fn check(
    binding: Binding,
    offset: u32,
    header: &Header,
    bytes: &[u8],
) -> Result<(), BadFrame> {
    assert_eq!(
        bytes.len(),
        header.total as usize,
        "the caller reads all of the frame"
    );
    let table = header.table_range();
    let body = table.end + CRC_BYTES as usize;
    let table_bad = || BadFrame {
        damage: Damage::FrameTable,
        region: offset + table.start as u32..offset + body as u32,
    };
    // `Header::decode` made sure that table and checksums fit into `total`.
    if binding.crc(offset + table.start as u32, &bytes[table.clone()]) != u32_at(bytes, table.end) {
        return Err(table_bad());
    }
    let sum: u64 = bytes[table.clone()]
        .chunks_exact(4)
        .map(|length| u64::from(u32_at(length, 0)))
        .sum();
    if sum + u64::from(PART_OVERHEAD) * u64::from(header.parts) + u64::from(FRAME_OVERHEAD)
        != u64::from(header.total)
    {
        return Err(table_bad());
    }
    let mut at = body;
    for (index, length) in bytes[table].chunks_exact(4).enumerate() {
        let end = at + u32_at(length, 0) as usize;
        if binding.crc(offset + at as u32, &bytes[at..end]) != u32_at(bytes, end) {
            return Err(BadFrame {
                damage: Damage::FramePart {
                    index: index as u32,
                },
                region: offset + at as u32..offset + end as u32 + CRC_BYTES,
            });
        }
        at = end + CRC_BYTES as usize;
    }
    Ok(())
}

/// The frame in `bytes`, which [`check`] has passed.
pub(crate) fn view<'a>(
    at: Location,
    header: &Header,
    kind: FrameKind,
    bytes: &'a [u8],
) -> Frame<'a> {
    let table = header.table_range();
    let body = table.end + CRC_BYTES as usize;
    Frame {
        at,
        next: Location {
            file: at.file,
            offset: at.offset + header.total,
        },
        kind,
        stream: header.stream,
        number: header.number,
        watermark: Location {
            file: at.file,
            offset: header.watermark,
        },
        body: Body {
            table: &bytes[table],
            bytes: &bytes[body..],
            at: Location {
                file: at.file,
                offset: at.offset + body as u32,
            },
        },
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

#[cfg(test)]
mod tests;

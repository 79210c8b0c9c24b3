//! One frame as bytes: written, recognised, checked. `docs/format.md`, section 6.2.

use super::{
    Body, Entry, FRAME_BYTES_MAX, FRAME_OVERHEAD, Frame, FrameKind, PART_OVERHEAD, PARTS_MAX,
    stored_bytes,
};
use crate::{
    error::Damage,
    file_log::FrameName,
    location::{Location, StreamId},
};
use std::ops::Range;

pub(crate) const MAGIC: [u8; 2] = [0xa7, 0x3e];
pub(crate) const FRAME_HEADER_BYTES: u32 = 60;
pub(crate) const MARK_BYTES: u32 = FRAME_OVERHEAD;
pub(super) const CRC_BYTES: u32 = 4;
pub(super) const LENGTH_BYTES: u32 = 4;
/// What stands in a frame in place of a large body.
pub(crate) const STUB_BYTES: u32 = 16;
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
/// Of the byte at `FLAGS`: how many parts are heads.
const HEAD_PARTS: u8 = 0x0f;
// The promise about small frames: two parts cost 80 bytes.
const _: () = assert!(FRAME_OVERHEAD + 2 * PART_OVERHEAD == 80);
const _: () = assert!(
    FRAME_OVERHEAD as u64 + PART_OVERHEAD as u64 * (PARTS_MAX as u64) < FRAME_BYTES_MAX as u64
);

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
    pub(crate) fn crc(self, offset: u32, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &offset.to_le_bytes()), bytes)
    }
}

/// The fixed header, once its checksum has been verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(crate) head_parts: u8,
    pub(crate) parts: u32,
    pub(crate) total: u32,
    pub(crate) watermark: u32,
    pub(crate) number: u64,
    pub(crate) stream: StreamId,
}

/// A body part of a sealed frame that was erased.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Gone {
    /// Where its first byte stood in the segment.
    pub(crate) at: u32,
    /// What it took there, without its checksum, which is gone too.
    pub(crate) stored: u32,
}

/// Where a large body lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stub {
    pub(crate) file: u32,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
    pub(crate) crc: u32,
}

impl Stub {
    pub(crate) fn encode(&self) -> [u8; STUB_BYTES as usize] {
        let mut bytes = [0; STUB_BYTES as usize];
        bytes[..4].copy_from_slice(&self.file.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[12..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; STUB_BYTES as usize]) -> Self {
        Self {
            file: u32_at(bytes, 0),
            offset: u32_at(bytes, 4),
            bytes: u32_at(bytes, 8),
            crc: u32_at(bytes, 12),
        }
    }

    /// Where the body ends.
    pub(crate) const fn end(&self) -> Location {
        Location {
            file: self.file,
            offset: self.offset.saturating_add(self.bytes),
        }
    }
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
            flags: bytes[FLAGS] & !HEAD_PARTS,
            head_parts: bytes[FLAGS] & HEAD_PARTS,
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

    pub(super) fn encode(
        &self,
        binding: Binding,
        offset: u32,
    ) -> [u8; FRAME_HEADER_BYTES as usize] {
        let mut bytes = [0; FRAME_HEADER_BYTES as usize];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[KIND] = self.kind;
        bytes[FLAGS] = self.flags | self.head_parts;
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
        self.kind == KIND_MARK && self.flags == 0 && self.head_parts == 0 && self.parts == 0
    }

    /// Which frame it is, if it is one that visitors get to see.
    pub(crate) fn name(&self) -> Option<FrameName> {
        match self.meaning() {
            Ok(Meaning::Shown(kind)) => Some(FrameName {
                kind,
                stream: self.stream,
                number: self.number,
            }),
            _ => None,
        }
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

    /// Bytes of the frame before its first body; `frame` holds at least header and table.
    pub(crate) fn head_bytes(&self, frame: &[u8]) -> u32 {
        let table = &frame[self.table_range()];
        let heads = table.chunks_exact(4).take(self.head_parts.into());
        let lengths = heads.map(|length| u32_at(length, 0).saturating_add(CRC_BYTES));
        (self.table_range().end as u32 + CRC_BYTES)
            .saturating_add(lengths.fold(0, u32::saturating_add))
    }

    /// The large bodies that a frame names; `frame` is all of it, checked.
    pub(crate) fn stubs(&self, frame: &[u8]) -> Vec<Stub> {
        let mut at = self.table_range().end + CRC_BYTES as usize;
        let mut stubs = Vec::new();
        for (index, length) in frame[self.table_range()].chunks_exact(4).enumerate() {
            let bytes = u32_at(length, 0);
            let stored = stored_bytes(index, self.head_parts, bytes);
            if stored != bytes
                && let Some(stub) = frame.get(at..).and_then(|rest| rest.first_chunk())
            {
                stubs.push(Stub::decode(stub));
            }
            at += (stored + CRC_BYTES) as usize;
        }
        stubs
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
/// `total` is what [`Entry::frame_bytes`] said; `stubs` yields one for each of its large bodies.
pub(crate) fn encode(
    buffer: &mut Vec<u8>,
    binding: Binding,
    offset: u32,
    watermark: u32,
    entry: &Entry<'_>,
    total: u32,
    stubs: &mut dyn Iterator<Item = Stub>,
) {
    let header = Header {
        kind: entry.kind as u8,
        flags: 0,
        head_parts: entry.head_parts,
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
    for (index, part) in entry.parts.iter().enumerate() {
        let bytes = part.len() as u32;
        let stored = stored_bytes(index, entry.head_parts, bytes);
        if stored == bytes {
            buffer.extend_from_slice(part);
            buffer.extend_from_slice(&binding.crc(at, part).to_le_bytes());
        } else {
            let stub = stubs.next().expect("a stub for each large body").encode();
            buffer.extend_from_slice(&stub);
            buffer.extend_from_slice(&binding.crc(at, &stub).to_le_bytes());
        }
        at += stored + CRC_BYTES;
    }
    debug_assert_eq!(buffer.len() - start, total as usize);
}

/// The bytes of a mark at `offset`: everything before `watermark` is durable.
pub(crate) fn encode_mark(binding: Binding, offset: u32, watermark: u32) -> Vec<u8> {
    let header = Header {
        kind: KIND_MARK,
        flags: 0,
        head_parts: 0,
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

/// Checks table and parts of a frame whose header is verified. `bytes` is all of the frame, or
/// what comes before its bodies; parts in `gone` are passed over.
///
/// # Errors
/// The first damaged piece. If a part is damaged, later parts are not looked at.
pub(crate) fn check(
    binding: Binding,
    offset: u32,
    header: &Header,
    bytes: &[u8],
    gone: &[Gone],
) -> Result<(), BadFrame> {
    let table = check_table(binding, offset, header, bytes)?;
    let mut at = table.end + CRC_BYTES as usize;
    let lengths = &bytes[table];
    let mut gone = gone
        .iter()
        .map(|gone| (gone.at - offset) as usize)
        .peekable();
    for (index, length) in lengths.chunks_exact(4).enumerate() {
        let is_body = index >= header.head_parts.into();
        if is_body && at >= bytes.len() {
            break;
        }
        let stored = stored_bytes(index, header.head_parts, u32_at(length, 0));
        let end = at + stored as usize;
        #[cfg(ate_planted)]
        if crate::planted("skip-part-checksum") {
            at = end + CRC_BYTES as usize;
            continue;
        }
        let is_gone = gone.next_if_eq(&at).is_some();
        if !is_gone && binding.crc(offset + at as u32, &bytes[at..end]) != u32_at(bytes, end) {
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

/// Checks the table of part lengths, and that they add up to the frame; the table's place.
pub(crate) fn check_table(
    binding: Binding,
    offset: u32,
    header: &Header,
    bytes: &[u8],
) -> Result<Range<usize>, BadFrame> {
    let table = header.table_range();
    let bad = || BadFrame {
        damage: Damage::FrameTable,
        region: offset + table.start as u32..offset + table.end as u32 + CRC_BYTES,
    };
    // `Header::decode` made sure that table and checksums fit into `total`.
    if binding.crc(offset + table.start as u32, &bytes[table.clone()]) != u32_at(bytes, table.end) {
        return Err(bad());
    }
    let sum: u64 = bytes[table.clone()]
        .chunks_exact(4)
        .enumerate()
        .map(|(index, length)| u64::from(stored_bytes(index, header.head_parts, u32_at(length, 0))))
        .sum::<u64>();
    if sum + u64::from(PART_OVERHEAD) * u64::from(header.parts) + u64::from(FRAME_OVERHEAD)
        != u64::from(header.total)
    {
        return Err(bad());
    }
    Ok(table)
}

/// The frame in `bytes`, which [`check`] has passed with the same `gone`.
pub(crate) fn view<'a>(
    at: Location,
    header: &Header,
    kind: FrameKind,
    bytes: &'a [u8],
    gone: &'a [Gone],
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
        head_parts: header.head_parts,
        body: Body {
            gone,
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

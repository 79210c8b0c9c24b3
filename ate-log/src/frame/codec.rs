//! One frame as bytes: written, recognised, checked. `docs/format.md`, section 6.2.

use super::{
    Body, Entry, FRAME_BYTES_MAX, FRAME_OVERHEAD, Frame, FrameKind, PART_OVERHEAD, PARTS_MAX,
};
use crate::{
    error::Damage,
    location::{Location, StreamId},
};
use std::ops::Range;

pub(crate) const MAGIC: [u8; 2] = [0xa7, 0x3e];
pub(crate) const FRAME_HEADER_BYTES: u32 = 60;
pub(crate) const MARK_BYTES: u32 = FRAME_OVERHEAD;
pub(super) const CRC_BYTES: u32 = 4;
pub(super) const LENGTH_BYTES: u32 = 4;
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
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) parts: u32,
    pub(crate) total: u32,
    pub(crate) watermark: u32,
    pub(super) number: u64,
    pub(super) stream: StreamId,
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

    pub(super) fn encode(
        &self,
        binding: Binding,
        offset: u32,
    ) -> [u8; FRAME_HEADER_BYTES as usize] {
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
        #[cfg(ate_planted)]
        if crate::planted::planted("skip-part-checksum") {
            at = end + CRC_BYTES as usize;
            continue;
        }
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

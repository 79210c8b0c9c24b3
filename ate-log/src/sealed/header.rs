//! Header and trailer of the sealed files.

use super::{
    GROUPS_MAX, SEALED_FORMAT_VERSION, SEALED_HEADER_BYTES,
    names::{PairFile, PairId},
    tables::{FRAME_ENTRY_BYTES, GONE_ENTRY_BYTES, PLACE_ENTRY_BYTES, STREAM_ENTRY_BYTES},
    take::{Take, checked},
};
use crate::error::{Damage, OpenError};
use std::ops::Range;

const HEADS_MAGIC: [u8; 8] = *b"ATE-HEAD";
const BODIES_MAGIC: [u8; 8] = *b"ATE-BODY";
const TRAILER_MAGIC: [u8; 4] = *b"AEND";
pub(super) const TRAILER_BYTES: u32 = 48;

// Magic, version, segment, log, group, groups, file version, then four numbers, 4 zeros, CRC.
const _: () = assert!(8 + 4 + 4 + 16 + 2 + 2 + 4 + 4 * 4 + 4 + 4 == SEALED_HEADER_BYTES);
// The same, with one number and 16 zeros.
const _: () = assert!(8 + 4 + 4 + 16 + 2 + 2 + 4 + 4 + 16 + 4 == SEALED_HEADER_BYTES);
/// Where both headers have the file version.
const VERSION_AT: usize = 8 + 4 + 4 + 16 + 2 + 2;
const _: () = assert!(4 * 4 + 4 * 4 + 4 + 4 + 4 + 4 == TRAILER_BYTES);

/// What a heads file says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HeadsHeader {
    pub(super) id: PairId,
    /// Where the segment ended.
    pub(super) end: u32,
    pub(super) frames: u32,
    pub(super) streams: u32,
    pub(super) gone: u32,
}

/// What a bodies file says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BodiesHeader {
    pub(super) id: PairId,
    /// Size of the file.
    pub(super) bytes: u32,
}

impl HeadsHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = begin(HEADS_MAGIC, &self.id);
        for number in [self.end, self.frames, self.streams, self.gone, 0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        finish(bytes)
    }

    /// Reads the header of the heads file of `id`.
    pub(super) fn decode(id: &PairId, bytes: &[u8]) -> Result<Self, OpenError> {
        let mut take = open(PairFile::Heads, id, bytes)?;
        let mut fields = || {
            let header = Self {
                id: *id,
                end: take.u32()?,
                frames: take.u32()?,
                streams: take.u32()?,
                gone: take.u32()?,
            };
            take.zeros::<4>()?;
            (header.frames > 0 && (1..=header.frames).contains(&header.streams)).then_some(header)
        };
        fields().ok_or_else(|| corrupt(id))
    }
}

impl BodiesHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = begin(BODIES_MAGIC, &self.id);
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        bytes.extend_from_slice(&[0; 16]);
        finish(bytes)
    }

    /// Reads the header of the bodies file of `id`.
    pub(super) fn decode(id: &PairId, bytes: &[u8]) -> Result<Self, OpenError> {
        let mut take = open(PairFile::Bodies, id, bytes)?;
        let mut fields = || {
            let header = Self {
                id: *id,
                bytes: take.u32()?,
            };
            take.zeros::<16>().map(|()| header)
        };
        fields().ok_or_else(|| corrupt(id))
    }
}

/// The header of a bodies file of `bytes` bytes.
pub(crate) fn bodies_header(id: &PairId, bytes: u32) -> Vec<u8> {
    BodiesHeader { id: *id, bytes }.encode()
}

/// Where the segment ended, as the header of the heads file of `id` says; `None` if it is damaged.
pub(crate) fn heads_header(id: &PairId, bytes: &[u8]) -> Option<u32> {
    HeadsHeader::decode(id, bytes).ok().map(|header| header.end)
}

/// The header of a file as it is in another version of it.
pub(crate) fn at_version(
    header: &[u8; SEALED_HEADER_BYTES as usize],
    version: u32,
) -> [u8; SEALED_HEADER_BYTES as usize] {
    let mut bytes = *header;
    bytes[VERSION_AT..VERSION_AT + 4].copy_from_slice(&version.to_le_bytes());
    let end = bytes.len() - 4;
    let crc = crc32c::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn begin(magic: [u8; 8], id: &PairId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SEALED_HEADER_BYTES as usize);
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&SEALED_FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&id.file.to_le_bytes());
    bytes.extend_from_slice(&id.log_id);
    bytes.extend_from_slice(&id.group.to_le_bytes());
    bytes.extend_from_slice(&id.groups.to_le_bytes());
    bytes.extend_from_slice(&id.version.to_le_bytes());
    bytes
}

fn finish(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    debug_assert_eq!(bytes.len(), SEALED_HEADER_BYTES as usize);
    bytes
}

/// Checks what both headers begin with; returns what comes after it.
fn open<'a>(kind: PairFile, id: &PairId, bytes: &'a [u8]) -> Result<Take<'a>, OpenError> {
    let (magic, name) = match kind {
        PairFile::Heads => (HEADS_MAGIC, id.heads_name()),
        PairFile::Bodies => (BODIES_MAGIC, id.bodies_name()),
    };
    let versioned = || {
        let mut take = Take(checked(bytes.get(..SEALED_HEADER_BYTES as usize)?)?);
        (take.array()? == magic).then_some(())?;
        Some((take.u32()?, take))
    };
    let (version, mut take) = versioned().ok_or_else(|| corrupt(id))?;
    if version > SEALED_FORMAT_VERSION {
        return Err(OpenError::NewerFormat {
            name,
            found: version,
            supported: SEALED_FORMAT_VERSION,
        });
    }
    let mut fields = || {
        let file = take.u32()?;
        let found = PairId {
            file,
            log_id: take.array()?,
            group: take.u16()?,
            groups: take.u16()?,
            version: take.u32()?,
        };
        let plausible = found == *id
            && found.group < found.groups
            && found.groups <= GROUPS_MAX
            && version == SEALED_FORMAT_VERSION;
        plausible.then_some(take)
    };
    fields().ok_or_else(|| corrupt(id))
}

const fn corrupt(id: &PairId) -> OpenError {
    OpenError::Corrupt {
        at: id.location(),
        damage: Damage::SealedHeader,
    }
}

/// The end of a heads file: where its tables stand, and their checksums.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trailer {
    /// Where the four tables start: frames, by place, streams, gone.
    pub(super) tables: [u32; 4],
    pub(super) crcs: [u32; 4],
    /// Size of the file.
    pub(super) end: u32,
}

impl Trailer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TRAILER_BYTES as usize);
        for number in self.tables.iter().chain(&self.crcs).chain([&self.end]) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&TRAILER_MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        debug_assert_eq!(bytes.len(), TRAILER_BYTES as usize);
        bytes
    }

    /// Reads the trailer of a heads file of `length` bytes with this header. `None` unless the
    /// tables fill the room between pieces and trailer exactly, so their sizes may be believed.
    pub(super) fn decode(header: &HeadsHeader, length: u32, bytes: &[u8]) -> Option<Self> {
        let mut take = Take(checked(bytes)?);
        let mut four = || Some([take.u32()?, take.u32()?, take.u32()?, take.u32()?]);
        let trailer = Self {
            tables: four()?,
            crcs: four()?,
            end: take.u32()?,
        };
        (take.array()? == TRAILER_MAGIC).then_some(())?;
        take.zeros::<4>()?;
        take.end()?;
        let mut at = u64::from(trailer.tables[0]);
        let sizes = [
            (header.frames, FRAME_ENTRY_BYTES),
            (header.frames, PLACE_ENTRY_BYTES),
            (header.streams, STREAM_ENTRY_BYTES),
            (header.gone, GONE_ENTRY_BYTES),
        ];
        for (table, (count, bytes)) in trailer.tables.iter().zip(sizes) {
            (u64::from(*table) == at).then_some(())?;
            at += u64::from(count) * bytes as u64;
        }
        let fits = trailer.tables[0] >= SEALED_HEADER_BYTES
            && trailer.end == length
            && at + u64::from(TRAILER_BYTES) == u64::from(length);
        fits.then_some(trailer)
    }

    /// Where table `index` stands.
    pub(super) fn range(&self, index: usize) -> Range<u32> {
        let end = self.tables.get(index + 1);
        self.tables[index]..end.copied().unwrap_or(self.end - TRAILER_BYTES)
    }
}

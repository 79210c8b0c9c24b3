//! The entries of the tables at the end of a heads file.

use super::take::Take;
use crate::{frame::Gone, location::StreamId};

pub(super) const FRAME_ENTRY_BYTES: usize = 24;
pub(super) const PLACE_ENTRY_BYTES: usize = 4;
pub(super) const STREAM_ENTRY_BYTES: usize = 48;
pub(super) const GONE_ENTRY_BYTES: usize = 8;

/// An entry of a fixed size.
pub(super) trait Entry: Sized {
    const BYTES: usize;

    fn encode(&self, bytes: &mut Vec<u8>);

    /// `None` if a byte that must be zero is not.
    fn decode(take: &mut Take<'_>) -> Option<Self>;
}

/// Where the pieces of a frame stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FrameEntry {
    /// Where the frame stood in the segment.
    pub(super) offset: u32,
    /// Its size there.
    pub(super) total: u32,
    /// Size of the piece in the heads file.
    pub(super) head_bytes: u32,
    /// Where that piece starts.
    pub(super) heads_at: u32,
    /// Where the piece in the bodies file starts, 0 if nothing is there.
    pub(super) bodies_at: u32,
    /// Index of its stream.
    pub(super) stream: u32,
}

/// Which frames a stream has: they stand together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct StreamEntry {
    pub(super) id: StreamId,
    /// Index of the first.
    pub(super) first: u32,
    pub(super) count: u32,
}

impl Entry for FrameEntry {
    const BYTES: usize = FRAME_ENTRY_BYTES;

    fn encode(&self, bytes: &mut Vec<u8>) {
        for number in [
            self.offset,
            self.total,
            self.head_bytes,
            self.heads_at,
            self.bodies_at,
            self.stream,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn decode(take: &mut Take<'_>) -> Option<Self> {
        Some(Self {
            offset: take.u32()?,
            total: take.u32()?,
            head_bytes: take.u32()?,
            heads_at: take.u32()?,
            bodies_at: take.u32()?,
            stream: take.u32()?,
        })
    }
}

impl Entry for StreamEntry {
    const BYTES: usize = STREAM_ENTRY_BYTES;

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.id.0);
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
    }

    fn decode(take: &mut Take<'_>) -> Option<Self> {
        let entry = Self {
            id: StreamId(take.array()?),
            first: take.u32()?,
            count: take.u32()?,
        };
        take.zeros::<8>().map(|()| entry)
    }
}

impl Entry for Gone {
    const BYTES: usize = GONE_ENTRY_BYTES;

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.at.to_le_bytes());
        bytes.extend_from_slice(&self.stored.to_le_bytes());
    }

    fn decode(take: &mut Take<'_>) -> Option<Self> {
        Some(Self {
            at: take.u32()?,
            stored: take.u32()?,
        })
    }
}

impl Entry for u32 {
    const BYTES: usize = PLACE_ENTRY_BYTES;

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }

    fn decode(take: &mut Take<'_>) -> Option<Self> {
        take.u32()
    }
}

/// The bytes of a table.
pub(super) fn encode<E: Entry>(entries: &[E]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * E::BYTES);
    for entry in entries {
        entry.encode(&mut bytes);
    }
    bytes
}

/// The entries of a table, all of `bytes`.
pub(super) fn decode<E: Entry>(bytes: &[u8]) -> Option<Vec<E>> {
    let mut take = Take(bytes);
    let mut entries = Vec::with_capacity(bytes.len() / E::BYTES);
    while !take.0.is_empty() {
        entries.push(E::decode(&mut take)?);
    }
    Some(entries)
}

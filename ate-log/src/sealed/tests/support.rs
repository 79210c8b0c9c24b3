//! Segments to seal, and what must be true of them byte by byte.

use crate::{
    error::Damage,
    frame::Binding,
    location::{Location, StreamId},
    sealed::{
        GroupFiles, Index, Pace, Place, Removal, SealError, SealPlan, SealedPair, Set, shape::Shape,
    },
    segment::segment_name,
    storage::{Access, MemStorage, Storage, StorageFile, write_full},
};
use std::{ops::ControlFlow, sync::Arc};

pub(super) const LOG: [u8; 16] = [9; 16];
pub(super) const FILE: u32 = 7;

/// A sequence of numbers that a seed determines (SplitMix64).
pub(super) struct Seeded(pub(super) u64);

impl Seeded {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Bytes of which none is zero.
    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() % 255 + 1) as u8).collect()
    }

    pub(super) fn stream(&mut self) -> StreamId {
        let mut id = [0; 32];
        id.copy_from_slice(&self.bytes(32));
        StreamId(id)
    }
}

/// What a byte of the segment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cell {
    /// In no frame of a stream.
    Nothing,
    Head {
        frame: usize,
    },
    Body {
        frame: usize,
    },
    Gone {
        part: u32,
    },
}

/// A part of a frame, as the model knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ModelPart {
    pub(super) frame: usize,
    pub(super) is_head: bool,
    pub(super) at: u32,
    pub(super) stored: u32,
    pub(super) length: u32,
}

/// A segment and the truth about it.
pub(super) struct Segment {
    pub(super) bytes: Vec<u8>,
    pub(super) cells: Vec<Cell>,
    pub(super) frames: Vec<(u32, u32, StreamId)>,
    pub(super) parts: Vec<ModelPart>,
    binding: Binding,
}

impl Segment {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0xee; 64],
            cells: vec![Cell::Nothing; 64],
            frames: Vec::new(),
            parts: Vec::new(),
            binding: Binding::new(&LOG, FILE),
        }
    }

    /// Appends a frame of parts with these lengths.
    pub(super) fn push(
        &mut self,
        seeded: &mut Seeded,
        stream: StreamId,
        heads: u32,
        lengths: &[u32],
    ) {
        let offset = self.bytes.len() as u32;
        let frame = self.frames.len();
        let first_part = self.parts.len();
        let mut at = offset + 64 + 4 * lengths.len() as u32;
        for (index, length) in (0..).zip(lengths) {
            let stored = crate::frame::stored_bytes(index as usize, heads as u8, *length);
            self.parts.push(ModelPart {
                frame,
                is_head: index < heads,
                at,
                stored,
                length: *length,
            });
            at += stored + 4;
        }
        let total = at - offset;
        self.header(1, heads as u8, lengths.len() as u32, total, stream);
        let table: Vec<u8> = lengths
            .iter()
            .flat_map(|length| length.to_le_bytes())
            .collect();
        self.checked(&table);
        self.cells.resize(self.bytes.len(), Cell::Head { frame });
        for at in first_part..self.parts.len() {
            let part = self.parts[at];
            let bytes = seeded.bytes(part.stored as usize);
            self.checked(&bytes);
            let cell = if part.is_head {
                Cell::Head { frame }
            } else {
                Cell::Body { frame }
            };
            self.cells.resize(self.bytes.len(), cell);
        }
        assert_eq!(self.bytes.len() as u32, at);
        self.frames.push((offset, total, stream));
    }

    /// Appends a mark of the log's own.
    pub(super) fn push_mark(&mut self) {
        self.header(3, 0, 0, 64, StreamId([0; 32]));
        self.checked(&[]);
        self.cells.resize(self.bytes.len(), Cell::Nothing);
    }

    fn header(&mut self, kind: u8, heads: u8, parts: u32, total: u32, stream: StreamId) {
        let mut header = vec![0xa7, 0x3e, kind, heads];
        for number in [parts, total, 0, 5, 0] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        header.extend_from_slice(&stream.0);
        self.checked(&header);
    }

    /// Appends bytes and their checksum.
    fn checked(&mut self, bytes: &[u8]) {
        let crc = self.binding.crc(self.bytes.len() as u32, bytes);
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(&crc.to_le_bytes());
    }

    /// Frames of some streams with parts of all sorts.
    pub(super) fn random(seed: u64, frames: usize, streams: usize) -> Self {
        let mut seeded = Seeded(seed);
        let ids: Vec<StreamId> = (0..streams).map(|_| seeded.stream()).collect();
        let mut segment = Self::new();
        for _ in 0..frames {
            if seeded.below(5) == 0 {
                segment.push_mark();
            }
            let lengths: Vec<u32> = (0..seeded.below(6))
                .map(|_| match seeded.below(8) {
                    0 => 0,
                    // Stands as a stub if it is a body, and is short enough for a test if not.
                    1 => 65_536 + seeded.below(100) as u32,
                    _ => seeded.below(40) as u32,
                })
                .collect();
            let heads = seeded.below(4) as u32;
            let lengths: Vec<u32> = (0..)
                .zip(lengths)
                .map(|(index, length)| if index < heads { length % 97 } else { length })
                .collect();
            let stream = ids[seeded.below(streams as u64) as usize];
            segment.push(&mut seeded, stream, heads, &lengths);
        }
        segment
    }

    pub(super) fn end(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// The segment as a file of an otherwise empty storage.
    pub(super) fn store(&self) -> (Arc<dyn Storage>, MemStorage) {
        let storage = MemStorage::new();
        let file = storage.create(&segment_name(FILE)).expect("memory");
        write_full(&*file, 0, &self.bytes).expect("memory");
        (Arc::new(storage.clone()), storage)
    }

    pub(super) fn plan(&self, groups: u16) -> SealPlan {
        let mut plan = SealPlan::new(LOG, FILE, groups);
        let mut at = 64;
        while at < self.bytes.len() {
            let total = u32::from_le_bytes(self.bytes[at + 8..at + 12].try_into().expect("four"));
            let frame = &self.bytes[at..at + total as usize];
            assert!(Shape::read(frame).is_some());
            plan.add(at as u32, frame).expect("the frame is whole");
            at += frame.len();
        }
        plan
    }

    pub(super) fn seal(
        &self,
        storage: &dyn Storage,
        groups: u16,
        pace: &mut Pace<'_>,
    ) -> Result<Set, SealError> {
        let wal = storage
            .open(&segment_name(FILE), Access::Read)
            .expect("it was stored");
        self.plan(groups).write(storage, &*wal, self.end(), pace)
    }

    /// What [`rewrite`](crate::sealed::rewrite) must make true.
    pub(super) fn remove(&mut self, removal: Removal) {
        let part = *self
            .parts
            .iter()
            .find(|part| (part.at..part.at + part.stored + 4).contains(&removal.at))
            .expect("the test removes what there is");
        let (start, end) = (part.at as usize, (part.at + part.stored) as usize);
        if part.is_head {
            let at = removal.at as usize;
            self.bytes[at..at + removal.bytes as usize].fill(0);
            let crc = self.binding.crc(part.at, &self.bytes[start..end]);
            self.bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
        } else {
            self.cells[start..end + 4].fill(Cell::Gone { part: part.at });
        }
    }

    /// The removal of a body part, or of a random range of a head part.
    pub(super) fn removal_of(part: &ModelPart, seeded: &mut Seeded) -> Removal {
        if !part.is_head {
            return Removal {
                at: part.at,
                bytes: part.length,
            };
        }
        let start = seeded.below(u64::from(part.length) + 1) as u32;
        let bytes = seeded.below(u64::from(part.length - start) + 1) as u32;
        Removal {
            at: part.at + start,
            bytes,
        }
    }

    /// Every byte of the segment is where the index says, or is gone as it says.
    pub(super) fn check_places(&self, pair: &SealedPair, index: &Index) {
        let groups = pair.id().groups;
        let of_pair = |frame: usize| {
            crate::sealed::group_of(&self.frames[frame].2, groups) == pair.id().group
        };
        let mut at = 0;
        while at < self.cells.len() {
            let cell = self.cells[at];
            let run = self.cells[at..]
                .iter()
                .take_while(|next| **next == cell)
                .count();
            let of_this = match cell {
                Cell::Nothing => false,
                Cell::Head { frame } | Cell::Body { frame } => of_pair(frame),
                Cell::Gone { part } => {
                    let part = self
                        .parts
                        .iter()
                        .find(|found| found.at == part)
                        .expect("a part");
                    of_pair(part.frame)
                }
            };
            for within in 0..run {
                let offset = (at + within) as u32;
                let found = index.locate(offset);
                let frame = index.frame_at(offset);
                if !of_this {
                    assert_eq!((found, frame), (None, None), "{offset}");
                    continue;
                }
                let found = found.expect("a byte of a frame");
                let frame = frame.expect("a byte of a frame");
                let gone = pair
                    .gone_in(frame.body_range())
                    .expect("the table is whole");
                assert_eq!(frame.locate(offset, &gone), Some(found), "{offset}");
                assert_eq!(gone, index.gone_in(frame.body_range()), "{offset}");
                assert_eq!(found.bytes as usize, run - within, "{offset}: {found:?}");
                let mut byte = [0];
                match found.place {
                    Place::Heads(at) => pair.read_heads(at, &mut byte).expect("it is there"),
                    Place::Bodies(at) => pair.read_bodies(at, &mut byte).expect("it is there"),
                    Place::Gone => assert!(matches!(cell, Cell::Gone { .. }), "{offset}"),
                }
                if found.place != Place::Gone {
                    assert_eq!(byte[0], self.bytes[offset as usize], "{offset}: {found:?}");
                }
                let is_head = matches!(found.place, Place::Heads(_));
                assert_eq!(is_head, matches!(cell, Cell::Head { .. }), "{offset}");
            }
            at += run;
        }
    }
}

pub(super) fn never_stop(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(super) fn id_of(files: &GroupFiles, groups: u16) -> crate::sealed::PairId {
    crate::sealed::PairId {
        log_id: LOG,
        file: FILE,
        group: files.group,
        groups,
        version: files.version,
    }
}

pub(super) fn open(
    storage: &Arc<dyn Storage>,
    set: &Set,
    files: &GroupFiles,
    groups: u16,
) -> SealedPair {
    SealedPair::open(storage, id_of(files, groups), set.end, files).expect("just written")
}

/// What a full check of the pair finds.
pub(super) fn damages(pair: &SealedPair) -> Vec<(Location, Damage)> {
    let mut found = Vec::new();
    let end = pair
        .scrub(&mut never_stop, &mut |at, damage| found.push((at, damage)))
        .expect("memory does not fail");
    assert!(end.is_continue());
    found
}

/// Flips one bit of a file.
pub(super) fn flip(file: &dyn StorageFile, bit: usize) {
    let mut byte = [0];
    file.read_at((bit / 8) as u64, &mut byte).expect("memory");
    byte[0] ^= 1 << (bit % 8);
    file.write_at((bit / 8) as u64, &byte).expect("memory");
}

//! Seals a segment: its frames sorted by stream into pairs of files.

use super::{
    GROUPS_MAX, Pace, SealError,
    draft::{Draft, Pieces, Source, write_pair},
    index::Index,
    manifest::Set,
    names::{PairId, group_of},
    shape::Shape,
    tables::{FrameEntry, StreamEntry},
};
use crate::{
    error::{Damage, ReadError},
    location::{Location, StreamId},
    segment::segment_name,
    storage::{Storage, StorageFile},
};
use std::collections::HashMap;

/// What is known of a segment after one pass over its frames: some 30 bytes for each.
#[derive(Debug)]
pub(crate) struct SealPlan {
    log_id: [u8; 16],
    file: u32,
    groups: u16,
    version: u32,
    ids: Vec<StreamId>,
    index_of: HashMap<StreamId, u32>,
    /// In logical order.
    frames: Vec<Planned>,
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    offset: u32,
    total: u32,
    head_bytes: u32,
    stream: u32,
}

impl SealPlan {
    /// A plan for segment `file`, its streams put in `groups` groups, 1 to [`GROUPS_MAX`].
    pub(crate) fn new(log_id: [u8; 16], file: u32, groups: u16) -> Self {
        assert!((1..=GROUPS_MAX).contains(&groups), "groups {groups}");
        Self {
            log_id,
            file,
            groups,
            version: 1,
            ids: Vec::new(),
            index_of: HashMap::new(),
            frames: Vec::new(),
        }
    }

    /// Pairs of another version than the first.
    #[must_use]
    pub(crate) const fn at_version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Adds the next frame of the segment, whose checksums the caller has checked. Marks may
    /// be given or left out: they are not sealed.
    ///
    /// # Errors
    /// [`Damage::FrameTable`] if its lengths do not add up.
    pub(crate) fn add(&mut self, offset: u32, frame: &[u8]) -> Result<(), ReadError> {
        let shape = Shape::read(frame)
            .filter(|shape| shape.outline.total as usize == frame.len())
            .ok_or_else(|| ReadError::Corrupt {
                at: self.location(offset),
                damage: Damage::FrameTable,
            })?;
        if shape.outline.is_mark() {
            return Ok(());
        }
        let (outline, next) = (shape.outline, self.ids.len() as u32);
        let stream = *self.index_of.entry(outline.stream).or_insert(next);
        if stream == next {
            self.ids.push(outline.stream);
        }
        self.frames.push(Planned {
            offset,
            total: outline.total,
            head_bytes: shape.head_bytes,
            stream,
        });
        Ok(())
    }

    /// Writes the pairs and syncs them. `wal` is the segment, `end` where
    /// it ends.
    ///
    /// The files have their names then, but those are not durable before the directory is
    /// synced; [`Manifest::store`](super::Manifest::store) does that. Bytes are copied as they
    /// are: to be sure of them, check the pairs before the segment is removed.
    ///
    /// # Errors
    /// No file is left then, not even if the pace has stopped it.
    pub(crate) fn write(
        &self,
        storage: &dyn Storage,
        wal: &dyn StorageFile,
        end: u32,
        pace: &mut Pace<'_>,
    ) -> Result<Set, SealError> {
        let mut draft = Draft::new(storage);
        let mut set = Set {
            file: self.file,
            end,
            groups: Vec::new(),
        };
        let name = segment_name(self.file);
        let source = Source {
            file: wal,
            name: &name,
            at: self.location(0),
            short: Damage::SegmentShort,
        };
        for group in 0..self.groups {
            let id = PairId {
                log_id: self.log_id,
                file: self.file,
                group,
                groups: self.groups,
                version: self.version,
            };
            let frames = self.frames_of_group(group);
            if frames.is_empty() {
                continue;
            }
            let index = self
                .index(&id, end, &frames)
                .ok_or(SealError::TooLarge { file: self.file })?;
            let heads = Pieces {
                source,
                ranges: &mut index
                    .frames
                    .iter()
                    .map(|frame| frame.offset..frame.offset + frame.head_bytes),
                change: &|_, _| {},
            };
            let bodies = Pieces {
                source,
                ranges: &mut index.frames.iter().map(FrameEntry::body_range),
                change: &|_, _| {},
            };
            let files = write_pair(&mut draft, &id, end, &index, heads, Some(bodies), pace)?;
            set.groups.push(files);
        }
        draft.finish()?;
        Ok(set)
    }

    /// The frames of a group in physical order.
    fn frames_of_group(&self, group: u16) -> Vec<Planned> {
        let id_of = |frame: &Planned| self.ids[frame.stream as usize];
        let mut frames: Vec<Planned> = self
            .frames
            .iter()
            .filter(|frame| group_of(&id_of(frame), self.groups) == group)
            .copied()
            .collect();
        frames.sort_unstable_by_key(|frame| (id_of(frame), frame.offset));
        frames
    }

    /// `None` if a file would be too large, or the frames were not those of one segment.
    fn index(&self, id: &PairId, end: u32, frames: &[Planned]) -> Option<Index> {
        let mut streams = Vec::new();
        let mut entries = Vec::with_capacity(frames.len());
        for run in frames.chunk_by(|a, b| a.stream == b.stream) {
            entries.extend(run.iter().map(|frame| FrameEntry {
                offset: frame.offset,
                total: frame.total,
                head_bytes: frame.head_bytes,
                heads_at: 0,
                bodies_at: 0,
                stream: streams.len() as u32,
            }));
            streams.push(StreamEntry {
                id: self.ids[run[0].stream as usize],
                first: (entries.len() - run.len()) as u32,
                count: run.len() as u32,
            });
        }
        Index::build(id, end, entries, streams, Vec::new())
    }

    const fn location(&self, offset: u32) -> Location {
        Location {
            file: self.file,
            offset,
        }
    }
}

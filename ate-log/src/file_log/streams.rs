//! Which frames of a segment belong to which stream, found when somebody asks first.

use super::walk::{Step, Walker, Window};
use crate::{
    error::{Damage, ReadError},
    frame::Binding,
    location::{Location, StreamId},
    segment::segment_name,
    storage::StorageFile,
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// The frames of segments by stream: four bytes for each frame that was indexed.
///
/// A segment is read through when a stream in it is asked for, from where the question begins: a
/// chain that comes back from a snapshot costs what was written since. What was appended is added
/// at the next question, what stands before at the first one that begins earlier.
#[derive(Debug, Default)]
pub(super) struct Streams {
    files: Mutex<HashMap<u32, Arc<Mutex<FileStreams>>>>,
}

#[derive(Debug)]
struct FileStreams {
    /// All frames from here on, a frame's start, up to `indexed_to` are in `frames`.
    indexed_from: u32,
    indexed_to: u32,
    frames: HashMap<StreamId, Vec<u32>>,
}

/// Where the frames of one stream stand in one file.
pub(super) struct Found {
    /// Offsets, ascending.
    pub(super) frames: Vec<u32>,
    /// Why the file could not be read to its end; the frames before are all there.
    pub(super) failed: Option<ReadError>,
}

impl Streams {
    /// The frames of `stream` in segment `number` that start in `[from, limit)`.
    pub(super) fn find(
        &self,
        file: Arc<dyn StorageFile>,
        binding: Binding,
        number: u32,
        stream: StreamId,
        from: u32,
        limit: u32,
    ) -> Found {
        let index = {
            let mut files = self.files.lock();
            Arc::clone(
                files
                    .entry(number)
                    .or_insert_with(|| Arc::new(Mutex::new(FileStreams::new(from)))),
            )
        };
        let mut index = index.lock();
        if from < index.indexed_from {
            *index = FileStreams::new(from);
        }
        let failed = index.extend(&file, binding, number, limit).err();
        if failed.is_some() && index.indexed_to < from {
            // Damage before the place asked for is not this stream's affair.
            let mut behind = FileStreams::new(from);
            let failed = behind.extend(&file, binding, number, limit).err();
            return behind.found(stream, from, limit, failed);
        }
        index.found(stream, from, limit, failed)
    }

    /// Forgets a segment that was sealed.
    pub(super) fn forget(&self, number: u32) {
        self.files.lock().remove(&number);
    }
}

impl FileStreams {
    /// Nothing indexed yet, to begin at a frame's start.
    fn new(from: u32) -> Self {
        Self {
            indexed_from: from,
            indexed_to: from,
            frames: HashMap::new(),
        }
    }

    fn found(&self, stream: StreamId, from: u32, limit: u32, failed: Option<ReadError>) -> Found {
        let offsets = self.frames.get(&stream).map_or(&[][..], Vec::as_slice);
        let start = offsets.partition_point(|&at| at < from);
        let end = offsets.partition_point(|&at| at < limit);
        Found {
            frames: offsets.get(start..end).unwrap_or_default().to_vec(),
            failed,
        }
    }

    fn extend(
        &mut self,
        file: &Arc<dyn StorageFile>,
        binding: Binding,
        number: u32,
        limit: u32,
    ) -> Result<(), ReadError> {
        if self.indexed_to >= limit {
            return Ok(());
        }
        let mut walker = Walker::new(
            Arc::clone(file),
            binding,
            self.indexed_to,
            limit,
            Window::default(),
        );
        loop {
            let corrupt = |offset, damage| ReadError::Corrupt {
                at: Location {
                    file: number,
                    offset,
                },
                damage,
            };
            let at = walker.at;
            let step = walker.step().map_err(|source| ReadError::Io {
                doing: "read",
                name: segment_name(number),
                source,
            })?;
            match step {
                Step::End => return Ok(()),
                Step::Short => return Err(corrupt(at, Damage::SegmentShort)),
                Step::Bad(bad) => return Err(corrupt(at, bad.damage)),
                Step::Frame { at, header, .. } => {
                    if !header.is_mark() {
                        self.frames.entry(header.stream).or_default().push(at);
                    }
                    self.indexed_to = walker.at;
                }
            }
        }
    }
}

//! Files while they are written: pieces copied from other files, and nothing left on failure.

use super::{
    PACE_BYTES, Pace, SealError,
    header::{BodiesHeader, HeadsHeader, TRAILER_BYTES, Trailer},
    index::Index,
    manifest::GroupFiles,
    names::{PairId, new_name},
};
use crate::{
    error::{Damage, ReadError},
    location::Location,
    storage::{Storage, StorageFile, read_full, write_full},
};
use std::{ops::Range, sync::Arc};

/// How much is gathered before it is written, in the order of the new file.
const BATCH_BYTES: usize = 1 << 20;
/// What lies between two pieces is read with them if it is no more than this: cheaper than a call.
const GAP_BYTES: u32 = 4 << 10;

/// Files under other names, until [`finish`](Self::finish). Dropped before that, it removes
/// all of them; a failure of that leaves files that mean nothing.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    storage: &'a dyn Storage,
    /// The names that the files are to have.
    names: Vec<String>,
    /// How many of them have their names.
    renamed: usize,
    finished: bool,
}

impl<'a> Draft<'a> {
    pub(super) const fn new(storage: &'a dyn Storage) -> Self {
        Self {
            storage,
            names: Vec::new(),
            renamed: 0,
            finished: false,
        }
    }

    fn create(&mut self, name: String) -> Result<Output, SealError> {
        let file = self
            .storage
            .create(&new_name(&name))
            .map_err(failed("create", &name))?;
        self.names.push(name.clone());
        Ok(Output {
            file,
            name,
            at: 0,
            buffer: Vec::with_capacity(PACE_BYTES),
        })
    }

    /// Gives the files, which are synced, their names.
    pub(super) fn finish(mut self) -> Result<(), SealError> {
        for name in &self.names {
            self.storage
                .rename(&new_name(name), name)
                .map_err(failed("rename", name))?;
            self.renamed += 1;
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // No manifest names any of them: each has a version that there has never been.
        for (at, name) in self.names.iter().enumerate() {
            drop(if at < self.renamed {
                self.storage.remove(name)
            } else {
                self.storage.remove(&new_name(name))
            });
        }
    }
}

fn failed(doing: &'static str, name: &str) -> impl FnOnce(std::io::Error) -> SealError {
    move |source| SealError::Io {
        doing,
        name: name.into(),
        source,
    }
}

/// A file that is written from start to end.
struct Output {
    file: Arc<dyn StorageFile>,
    name: String,
    /// How much was put in.
    at: u32,
    buffer: Vec<u8>,
}

impl Output {
    fn put(&mut self, mut bytes: &[u8], pace: &mut Pace<'_>) -> Result<(), SealError> {
        while !bytes.is_empty() {
            let room = PACE_BYTES - self.buffer.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            self.at += now.len() as u32;
            bytes = rest;
            if self.buffer.len() == PACE_BYTES {
                self.flush(pace)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, pace: &mut Pace<'_>) -> Result<(), SealError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = self.buffer.len() as u64;
        write_full(&*self.file, u64::from(self.at) - bytes, &self.buffer)
            .map_err(failed("write", &self.name))?;
        self.buffer.clear();
        if pace(bytes).is_break() {
            return Err(SealError::Stopped);
        }
        Ok(())
    }

    fn close(mut self, pace: &mut Pace<'_>) -> Result<u32, SealError> {
        self.flush(pace)?;
        #[cfg(ate_planted)]
        if crate::planted("name-sealed-files-before-their-sync") {
            return Ok(self.at);
        }
        self.file.sync_all().map_err(failed("sync", &self.name))?;
        Ok(self.at)
    }
}

/// A file that pieces are copied from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) file: &'a dyn StorageFile,
    pub(super) name: &'a str,
    /// What to report if it ends before a piece does.
    pub(super) at: Location,
    pub(super) short: Damage,
}

impl Source<'_> {
    pub(super) fn read(&self, at: u32, out: &mut [u8]) -> Result<(), ReadError> {
        let read = read_full(self.file, u64::from(at), out).map_err(|source| ReadError::Io {
            doing: "read",
            name: self.name.into(),
            source,
        })?;
        if read < out.len() {
            return Err(ReadError::Corrupt {
                at: self.at,
                damage: self.short,
            });
        }
        Ok(())
    }
}

/// A piece of a [`Source`], and where in a batch it goes.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    from: u32,
    to: usize,
    bytes: usize,
}

impl Chunk {
    const fn end(&self) -> u32 {
        self.from + self.bytes as u32
    }
}

/// Pieces that stand next to each other in the new file, read in the order of the old one.
#[derive(Default)]
struct Batch {
    chunks: Vec<Chunk>,
    bytes: Vec<u8>,
    filled: usize,
    run: Vec<u8>,
}

impl Batch {
    /// Takes as much of `piece` as there is room for, at least one byte of one.
    fn take(&mut self, piece: &mut Range<u32>) {
        let bytes = piece.len().min(BATCH_BYTES - self.filled);
        let next = Chunk {
            from: piece.start,
            to: self.filled,
            bytes,
        };
        piece.start += bytes as u32;
        self.filled += bytes;
        match self.chunks.last_mut() {
            Some(last) if last.end() == next.from => last.bytes += bytes,
            _ => self.chunks.push(next),
        }
    }

    /// Reads all chunks; the batch is empty after the bytes were used.
    fn read(&mut self, source: &Source<'_>) -> Result<&mut [u8], ReadError> {
        self.bytes.resize(self.bytes.len().max(self.filled), 0);
        self.chunks.sort_unstable_by_key(|chunk| chunk.from);
        let mut rest = &self.chunks[..];
        while let Some(first) = rest.first() {
            let mut end = first.end();
            let count = rest
                .iter()
                .take_while(|chunk| {
                    let near = chunk.from <= end.saturating_add(GAP_BYTES)
                        && (chunk.end() - first.from) as usize <= BATCH_BYTES;
                    if near {
                        end = end.max(chunk.end());
                    }
                    near
                })
                .count();
            let (run, after) = rest.split_at(count);
            if let [only] = run {
                source.read(only.from, &mut self.bytes[only.to..only.to + only.bytes])?;
            } else {
                self.run.resize((end - first.from) as usize, 0);
                source.read(first.from, &mut self.run)?;
                for chunk in run {
                    let at = (chunk.from - first.from) as usize;
                    self.bytes[chunk.to..chunk.to + chunk.bytes]
                        .copy_from_slice(&self.run[at..at + chunk.bytes]);
                }
            }
            rest = after;
        }
        self.chunks.clear();
        let filled = std::mem::take(&mut self.filled);
        Ok(&mut self.bytes[..filled])
    }
}

/// What the pieces of a new file are made of, in its order.
pub(super) struct Pieces<'a> {
    pub(super) source: Source<'a>,
    /// Ranges of the source.
    pub(super) ranges: &'a mut dyn Iterator<Item = Range<u32>>,
    /// Changes bytes on their way to an offset of the new file.
    pub(super) change: &'a dyn Fn(u32, &mut [u8]),
}

impl Pieces<'_> {
    fn copy(self, out: &mut Output, pace: &mut Pace<'_>) -> Result<(), SealError> {
        let mut batch = Batch::default();
        for mut piece in self.ranges {
            while !piece.is_empty() {
                batch.take(&mut piece);
                if batch.filled == BATCH_BYTES {
                    let bytes = batch.read(&self.source)?;
                    (self.change)(out.at, bytes);
                    out.put(bytes, pace)?;
                }
            }
        }
        let bytes = batch.read(&self.source)?;
        (self.change)(out.at, bytes);
        out.put(bytes, pace)
    }
}

/// Writes and syncs the files of a pair; `bodies` may be absent if the index has none.
pub(super) fn write_pair(
    draft: &mut Draft<'_>,
    id: &PairId,
    end: u32,
    index: &Index,
    heads: Pieces<'_>,
    bodies: Option<Pieces<'_>>,
    pace: &mut Pace<'_>,
) -> Result<GroupFiles, SealError> {
    let tables = index.encode();
    let heads_bytes = tables
        .iter()
        .try_fold(index.heads_end + TRAILER_BYTES, |sum, table| {
            sum.checked_add(u32::try_from(table.len()).ok()?)
        })
        .ok_or(SealError::TooLarge { file: id.file })?;
    if let Some(bodies) = bodies.filter(|_| index.bodies_bytes > 0) {
        let mut out = draft.create(id.bodies_name())?;
        let header = BodiesHeader {
            id: *id,
            bytes: index.bodies_bytes,
        };
        out.put(&header.encode(), pace)?;
        bodies.copy(&mut out, pace)?;
        assert_eq!(
            out.close(pace)?,
            index.bodies_bytes,
            "the index has said it"
        );
    }
    let mut out = draft.create(id.heads_name())?;
    let header = HeadsHeader {
        id: *id,
        end,
        frames: index.frames.len() as u32,
        streams: index.streams.len() as u32,
        gone: index.gone.len() as u32,
    };
    out.put(&header.encode(), pace)?;
    heads.copy(&mut out, pace)?;
    assert_eq!(out.at, index.heads_end, "the index has said it");
    let mut trailer = Trailer {
        tables: [0; 4],
        crcs: [0; 4],
        end: heads_bytes,
    };
    for (at, table) in tables.iter().enumerate() {
        trailer.tables[at] = out.at;
        trailer.crcs[at] = crc32c::crc32c(table);
        out.put(table, pace)?;
    }
    out.put(&trailer.encode(), pace)?;
    assert_eq!(out.close(pace)?, heads_bytes, "summed up above");
    Ok(GroupFiles {
        group: id.group,
        version: id.version,
        heads_bytes,
        bodies_bytes: index.bodies_bytes,
    })
}

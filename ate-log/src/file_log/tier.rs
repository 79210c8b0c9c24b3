//! The sealed tier as the log sees it: which segments are sealed, and reading in them by the
//! places that their bytes had.

use super::segments::Segments;
use crate::{
    error::{Damage, OpenError, ReadError},
    location::Location,
    sealed::{GroupFiles, Index, Manifest, Place, SealedPair, Set},
    storage::Storage,
};
use cache::Cache;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;

mod cache;
mod show;
mod survey;

/// The budget for indexes of sealed files in memory: they take about 40 bytes a frame.
const INDEX_BYTES_MAX: usize = 32 << 20;
/// The most pairs of files kept open.
const PAIRS_MAX: usize = 128;

/// The sealed segments of one log.
#[derive(Debug)]
pub(super) struct Tier {
    storage: Arc<dyn Storage>,
    manifest: RwLock<Arc<Manifest>>,
    pairs: Mutex<Cache<PairKey, SealedPair>>,
    indexes: Mutex<Cache<PairKey, Index>>,
}

/// Which version of which pair.
type PairKey = (u32, u16, u32);

impl Tier {
    pub(super) fn new(storage: &Arc<dyn Storage>, manifest: Manifest) -> Self {
        Self {
            storage: Arc::clone(storage),
            manifest: RwLock::new(Arc::new(manifest)),
            pairs: Mutex::new(Cache::new(PAIRS_MAX)),
            indexes: Mutex::new(Cache::new(INDEX_BYTES_MAX)),
        }
    }

    pub(super) fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.manifest.read())
    }

    /// Takes a manifest that stands on the disk.
    pub(super) fn replace(&self, manifest: Manifest) {
        *self.manifest.write() = Arc::new(manifest);
    }

    /// Readers: takes the manifest that the writer has made meanwhile, and tells `segments`.
    pub(super) fn reload(&self, segments: &Segments) -> Result<(), OpenError> {
        let Some(manifest) = Manifest::load(&*self.storage)? else {
            return Ok(());
        };
        if manifest.log_id != *segments.log_id() {
            return Err(OpenError::Corrupt {
                at: Location::default(),
                damage: Damage::Manifest,
            });
        }
        if manifest.generation > self.manifest().generation {
            segments.take_sealed(&manifest);
            self.replace(manifest);
        }
        Ok(())
    }

    /// Whether segment `number` is sealed.
    pub(super) fn has(&self, number: u32) -> bool {
        self.manifest.read().set(number).is_some()
    }

    pub(super) fn pair(&self, set: &Set, files: &GroupFiles) -> Result<Arc<SealedPair>, ReadError> {
        let key = (set.file, files.group, files.version);
        if let Some(pair) = self.pairs.lock().get(&key) {
            return Ok(pair);
        }
        let id = self.manifest().pair_id(set.file, files);
        let pair = Arc::new(SealedPair::open(&self.storage, id, set.end, files)?);
        self.pairs.lock().put(key, Arc::clone(&pair), 1);
        Ok(pair)
    }

    pub(super) fn index(&self, pair: &SealedPair) -> Result<Arc<Index>, ReadError> {
        let id = pair.id();
        let key = (id.file, id.group, id.version);
        if let Some(index) = self.indexes.lock().get(&key) {
            return Ok(index);
        }
        let index = pair.load_index()?;
        let bytes = index.memory_bytes();
        self.indexes.lock().put(key, Arc::clone(&index), bytes);
        Ok(index)
    }

    /// Closes what is held open of a version that was replaced: an open file keeps its space.
    pub(super) fn forget(&self, number: u32, files: &GroupFiles) {
        let key = (number, files.group, files.version);
        self.pairs.lock().remove(&key);
        self.indexes.lock().remove(&key);
    }

    /// Fills `out` with the bytes that stood at `at` in a segment that is sealed.
    ///
    /// # Errors
    /// [`ReadError::Erased`] if any of them is gone; [`Damage::FrameHeader`] where no frame was.
    pub(super) fn read(&self, at: Location, out: &mut [u8]) -> Result<(), ReadError> {
        let mut done = 0;
        while done < out.len() {
            let offset = at.offset + done as u32;
            let (pair, located) = self.locate(Location { offset, ..at })?;
            let size = (located.bytes as usize).min(out.len() - done);
            let piece = &mut out[done..done + size];
            match located.place {
                Place::Heads(from) => pair.read_heads(from, piece)?,
                Place::Bodies(from) => pair.read_bodies(from, piece)?,
                Place::Gone => return Err(ReadError::Erased { at }),
            }
            done += size;
        }
        Ok(())
    }

    fn locate(&self, at: Location) -> Result<(Arc<SealedPair>, crate::sealed::Located), ReadError> {
        let manifest = self.manifest();
        let nowhere = || ReadError::Corrupt {
            at,
            damage: Damage::FrameHeader,
        };
        let set = manifest.set(at.file).ok_or_else(nowhere)?;
        for files in &set.groups {
            let pair = self.pair(set, files)?;
            if let Some(located) = self.index(&pair)?.locate(at.offset) {
                return Ok((pair, located));
            }
        }
        Err(nowhere())
    }
}

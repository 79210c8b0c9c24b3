//! The table of segment files: where each ends, and a bounded cache of open handles.

use crate::{
    error::{Damage, OpenError, ReadError},
    location::Location,
    sealed::{GROUPS_MAX, Manifest},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name},
    storage::{Access, Storage, StorageFile, read_full},
};
use parking_lot::RwLock;
use std::{io, sync::Arc};

/// The most handles kept open at a time; the newest segment is always among them.
const HANDLES_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Segments {
    storage: Arc<dyn Storage>,
    log_id: [u8; 16],
    first: u32,
    /// What the newest segment that was loaded says of large bodies before it.
    large_end: Location,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    handles: usize,
    hand: usize,
}

#[derive(Debug)]
struct Slot {
    /// Where the segment ends, once there is a later one.
    sealed: Option<u32>,
    file: Option<Arc<dyn StorageFile>>,
}

impl Segments {
    /// Reads the headers of all segments that exist; `numbers` is ascending. Those
    /// that the manifest names are sealed, and not looked for.
    ///
    /// # Errors
    /// A gap in the numbers or a damaged header: no segment is ever passed over.
    pub(super) fn load(
        storage: &Arc<dyn Storage>,
        numbers: &[u32],
        manifest: Option<&Manifest>,
    ) -> Result<Self, OpenError> {
        let Some(&newest) = numbers.last() else {
            // There is something of a log, and no log: the newest segment is never sealed.
            let sealed = manifest.map_or(1, |manifest| manifest.first + manifest.sets.len() as u32);
            return Err(missing(sealed));
        };
        let (header, _) = read_header(&**storage, newest)?;
        let segments = Self {
            storage: Arc::clone(storage),
            log_id: header.log_id,
            first: header.first,
            large_end: header.large_end,
            table: RwLock::default(),
        };
        if let Some(manifest) = manifest {
            if manifest.log_id != header.log_id || manifest.first != header.first {
                return Err(OpenError::Corrupt {
                    at: Location::default(),
                    damage: Damage::Manifest,
                });
            }
            segments.take_sealed(manifest);
        }
        let unsealed = header.first + segments.table.read().slots.len() as u32;
        if unsealed > newest {
            // The newest segment is never sealed.
            return Err(missing(unsealed));
        }
        for number in unsealed..=newest {
            if numbers.binary_search(&number).is_err() {
                return Err(missing(number));
            }
            segments.load_next(number)?;
        }
        Ok(segments)
    }

    /// A table of the one segment that was just made.
    pub(super) fn of_first(
        storage: &Arc<dyn Storage>,
        header: &SegmentHeader,
        file: Arc<dyn StorageFile>,
    ) -> Self {
        let segments = Self {
            storage: Arc::clone(storage),
            log_id: header.log_id,
            first: header.first,
            large_end: header.large_end,
            table: RwLock::default(),
        };
        segments.table.write().push(file);
        segments
    }

    /// A table of files as they were found, each with its end; `None` for one that is missing.
    pub(super) fn of_files(
        storage: &Arc<dyn Storage>,
        log_id: [u8; 16],
        first: u32,
        files: Vec<(Option<Arc<dyn StorageFile>>, u32)>,
    ) -> Self {
        let segments = Self {
            storage: Arc::clone(storage),
            log_id,
            first,
            large_end: Location::default(),
            table: RwLock::default(),
        };
        let newest = files.len() - 1;
        let mut table = segments.table.write();
        for (index, (file, end)) in files.into_iter().enumerate() {
            table.make_room();
            table.handles += usize::from(file.is_some());
            table.slots.push(Slot {
                sealed: (index < newest).then_some(end),
                file,
            });
        }
        drop(table);
        segments
    }

    /// Takes in the segments up to `number` that have appeared.
    pub(super) fn extend(&self, number: u32) -> Result<(), OpenError> {
        while self.newest() < number {
            self.load_next(self.newest() + 1)?;
        }
        Ok(())
    }

    /// The manifest of a log in which nothing is sealed.
    pub(super) fn unsealed(&self, groups: u16) -> Manifest {
        Manifest {
            log_id: self.log_id,
            generation: 0,
            store_id: self.log_id,
            groups: groups.clamp(1, GROUPS_MAX),
            first: self.first,
            sets: Vec::new(),
        }
    }

    /// Takes in which segments are sealed, and where they ended.
    pub(super) fn take_sealed(&self, manifest: &Manifest) {
        let mut table = self.table.write();
        for (index, set) in manifest.sets.iter().enumerate() {
            let sealed = Some(set.end);
            match table.slots.get_mut(index) {
                // A reader may have known it as the newest one.
                Some(slot) => slot.sealed = sealed,
                None => table.slots.push(Slot { sealed, file: None }),
            }
        }
        drop(table);
        manifest.sets.iter().for_each(|set| self.release(set.file));
    }

    /// Closes the handle of a segment that was sealed: an open file keeps its space.
    pub(super) fn release(&self, number: u32) {
        let Some(index) = number.checked_sub(self.first) else {
            return;
        };
        let mut table = self.table.write();
        let slot = table.slots.get_mut(index as usize);
        if slot.is_some_and(|slot| slot.file.take().is_some()) {
            table.handles -= 1;
        }
    }

    fn load_next(&self, number: u32) -> Result<(), OpenError> {
        let (header, file) = read_header(&*self.storage, number)?;
        let expected = if number == self.first {
            header.previous.file
        } else {
            number - 1
        };
        let end = self.sealed(number.wrapping_sub(1));
        let follows = end.is_none_or(|end| end == header.previous.offset);
        if header.log_id != self.log_id || header.previous.file != expected || !follows {
            return Err(OpenError::Corrupt {
                at: Location {
                    file: number,
                    offset: 0,
                },
                damage: Damage::SegmentHeader,
            });
        }
        let mut table = self.table.write();
        // Another thread may have been faster.
        if table.slots.len() == (number - self.first) as usize {
            if let Some(previous) = table.slots.last_mut() {
                previous.sealed = Some(header.previous.offset);
            }
            table.push(file);
        }
        Ok(())
    }

    /// Adds the segment that the writer has just made; the one before ends at `sealed`.
    pub(super) fn push(&self, sealed: u32, file: Arc<dyn StorageFile>) {
        let mut table = self.table.write();
        if let Some(previous) = table.slots.last_mut() {
            previous.sealed = Some(sealed);
        }
        table.push(file);
    }

    pub(super) const fn log_id(&self) -> &[u8; 16] {
        &self.log_id
    }

    pub(super) const fn large_end(&self) -> Location {
        self.large_end
    }

    pub(super) const fn first(&self) -> u32 {
        self.first
    }

    pub(super) fn newest(&self) -> u32 {
        self.first + self.table.read().slots.len() as u32 - 1
    }

    /// Where segment `number` ends; `None` if it is the newest or unknown.
    pub(super) fn sealed(&self, number: u32) -> Option<u32> {
        let index = number.checked_sub(self.first)? as usize;
        self.table.read().slots.get(index)?.sealed
    }

    /// Uses the handle of segment `number`, which is opened if need be.
    pub(super) fn with<R>(
        &self,
        number: u32,
        use_it: impl FnOnce(&Arc<dyn StorageFile>) -> R,
    ) -> Result<R, ReadError> {
        let Some(index) = number.checked_sub(self.first).map(|index| index as usize) else {
            return Err(missing(number).into());
        };
        {
            let table = self.table.read();
            match table.slots.get(index) {
                Some(Slot {
                    file: Some(file), ..
                }) => return Ok(use_it(file)),
                Some(_) => {}
                None => return Err(missing(number).into()),
            }
        }
        let name = segment_name(number);
        let file = match self.storage.open(&name, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(missing(number).into());
            }
            Err(source) => {
                return Err(ReadError::Io {
                    doing: "open",
                    name,
                    source,
                });
            }
        };
        let mut table = self.table.write();
        table.make_room();
        if table.slots[index].file.replace(Arc::clone(&file)).is_none() {
            table.handles += 1;
        }
        drop(table);
        Ok(use_it(&file))
    }

    /// A handle that outlives an eviction.
    pub(super) fn handle(&self, number: u32) -> Result<Arc<dyn StorageFile>, ReadError> {
        self.with(number, Arc::clone)
    }
}

impl Table {
    fn push(&mut self, file: Arc<dyn StorageFile>) {
        self.make_room();
        self.slots.push(Slot {
            sealed: None,
            file: Some(file),
        });
        self.handles += 1;
    }

    /// Closes one handle if there are too many, in turn, but never the newest segment's.
    fn make_room(&mut self) {
        while self.handles >= HANDLES_MAX && self.slots.len() > 1 {
            self.hand = (self.hand + 1) % (self.slots.len() - 1);
            if self.slots[self.hand].file.take().is_some() {
                self.handles -= 1;
            }
        }
    }
}

const fn missing(number: u32) -> OpenError {
    OpenError::Corrupt {
        at: Location {
            file: number,
            offset: 0,
        },
        damage: Damage::SegmentMissing,
    }
}

pub(super) fn read_header(
    storage: &dyn Storage,
    number: u32,
) -> Result<(SegmentHeader, Arc<dyn StorageFile>), OpenError> {
    let name = segment_name(number);
    let file = match storage.open(&name, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(number)),
        Err(source) => {
            return Err(OpenError::Io {
                doing: "open",
                name,
                source,
            });
        }
    };
    let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
    match read_full(&*file, 0, &mut bytes) {
        Ok(read) => Ok((SegmentHeader::decode(number, &bytes[..read])?, file)),
        Err(source) => Err(OpenError::Io {
            doing: "read",
            name,
            source,
        }),
    }
}

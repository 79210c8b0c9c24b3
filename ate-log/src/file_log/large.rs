//! Large bodies: files beside the segments, written and synced before a frame names them.
//! `docs/format.md`, section 6.3.

use super::draft::write_error;
use crate::{
    error::{AppendError, Damage, ReadError},
    frame::{Binding, Stub},
    location::Location,
    segment::{FORMAT_VERSION, large_name, large_number},
    storage::{Access, Storage, StorageFile, read_full, write_full},
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, io, sync::Arc};

/// From this size on the next body begins a new file.
const FILE_BYTES_MAX: u32 = 256 << 20;
/// Bodies begin at multiples of this, so that each can be given back to the file system whole.
const ALIGNMENT: u32 = 4096;
const HEADER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"ATE-LARG";
/// The most handles kept open at a time.
const HANDLES_MAX: usize = 64;

/// The files of large bodies of one log.
#[derive(Debug)]
pub(super) struct LargeFiles {
    storage: Arc<dyn Storage>,
    log_id: [u8; 16],
    /// Where the next body goes; all before is durable. File 0: there is none yet.
    end: Mutex<Location>,
    handles: Mutex<BTreeMap<u32, Arc<dyn StorageFile>>>,
}

impl LargeFiles {
    pub(super) fn new(storage: &Arc<dyn Storage>, log_id: [u8; 16]) -> Self {
        Self {
            storage: Arc::clone(storage),
            log_id,
            end: Mutex::default(),
            handles: Mutex::default(),
        }
    }

    /// Where the bodies end that were written.
    pub(super) fn end(&self) -> Location {
        *self.end.lock()
    }

    /// Takes up writing after `named`, the end of the last body that a frame names: what stands
    /// behind it was never named, and goes.
    pub(super) fn settle(&self, named: Location) -> io::Result<()> {
        for number in self.numbers()? {
            if number > named.file {
                self.storage.remove(&large_name(number))?;
            }
        }
        if named.file != 0 {
            let file = self.storage.open(&large_name(named.file), Access::Write)?;
            if file.length()? > u64::from(named.offset) {
                file.truncate(named.offset.into())?;
            }
        }
        *self.end.lock() = named;
        Ok(())
    }

    /// Takes up writing at the end of the newest file, of a log that was closed.
    pub(super) fn settle_closed(&self) -> io::Result<()> {
        let newest = self.numbers()?.into_iter().max();
        if let Some(file) = newest {
            let length = self.storage.size(&large_name(file))?;
            let offset = u32::try_from(length).unwrap_or(u32::MAX);
            *self.end.lock() = Location { file, offset };
        }
        Ok(())
    }

    fn numbers(&self) -> io::Result<Vec<u32>> {
        let names = self.storage.list()?;
        Ok(names.iter().filter_map(|name| large_number(name)).collect())
    }

    /// Writes bodies behind the end and syncs them. A full disk is noticed before anything is
    /// written.
    pub(super) fn put<'a>(
        &self,
        bodies: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<Stub>, AppendError> {
        let mut bodies = bodies.peekable();
        if bodies.peek().is_none() {
            return Ok(Vec::new());
        }
        let mut end = self.end.lock();
        let mut stubs = Vec::new();
        while bodies.peek().is_some() {
            let is_new = end.file == 0 || end.offset >= FILE_BYTES_MAX;
            let number = if is_new { end.file + 1 } else { end.file };
            let at = if is_new {
                HEADER_BYTES as u32
            } else {
                end.offset
            };
            let offset = self.put_in(number, is_new, at, &mut bodies, &mut stubs)?;
            *end = Location {
                file: number,
                offset,
            };
        }
        Ok(stubs)
    }

    /// Writes as many bodies as belong into one file; where they end.
    fn put_in<'a>(
        &self,
        number: u32,
        is_new: bool,
        mut at: u32,
        bodies: &mut std::iter::Peekable<impl Iterator<Item = &'a [u8]>>,
        stubs: &mut Vec<Stub>,
    ) -> Result<u32, AppendError> {
        let name = large_name(number);
        let place = || self.storage.place();
        let failed = |doing| {
            let name = name.clone();
            move |source| AppendError::Io {
                doing,
                name,
                source,
            }
        };
        let file = if is_new {
            let file = self.storage.create(&name);
            file.map_err(|source| write_error("create", place, &name, 0, source))?
        } else {
            let file = self.storage.open(&name, Access::Write);
            file.map_err(failed("open"))?
        };
        if is_new {
            write_full(&*file, 0, &header(&self.log_id, number)).map_err(failed("write"))?;
        }
        let binding = Binding::new(&self.log_id, number);
        while let Some(body) = bodies.next_if(|_| at < FILE_BYTES_MAX) {
            let offset = at.next_multiple_of(ALIGNMENT);
            let next = u64::from(offset) + body.len() as u64;
            file.allocate(next).map_err(|source| {
                write_error("reserve space for", place, &name, body.len() as u64, source)
            })?;
            write_full(&*file, offset.into(), body).map_err(failed("write"))?;
            stubs.push(Stub {
                file: number,
                offset,
                bytes: body.len() as u32,
                crc: binding.crc(offset, body),
            });
            at = offset + body.len() as u32;
        }
        #[cfg(ate_planted)]
        if crate::planted("name-large-body-before-sync") {
            return Ok(at);
        }
        file.sync_data().map_err(failed("sync"))?;
        if is_new {
            let synced = self.storage.sync_dir();
            synced.map_err(failed("sync the directory of"))?;
        }
        self.keep(number, &file);
        Ok(at)
    }

    /// Zeroes bodies and gives their space back, durably; how much that was.
    pub(super) fn punch(&self, stubs: &[Stub]) -> Result<u64, AppendError> {
        let mut by_file: BTreeMap<u32, Vec<&Stub>> = BTreeMap::new();
        for stub in stubs {
            by_file.entry(stub.file).or_default().push(stub);
        }
        let mut bytes = 0;
        for (number, stubs) in by_file {
            let name = large_name(number);
            let failed = |doing| {
                let name = name.clone();
                move |source| AppendError::Io {
                    doing,
                    name,
                    source,
                }
            };
            let file = self.storage.open(&name, Access::Write);
            let file = file.map_err(failed("open"))?;
            for stub in stubs {
                file.punch(stub.offset.into(), stub.bytes.into())
                    .map_err(failed("punch a hole into"))?;
                bytes += u64::from(stub.bytes);
            }
            file.sync_data().map_err(failed("sync"))?;
        }
        Ok(bytes)
    }

    fn keep(&self, number: u32, file: &Arc<dyn StorageFile>) {
        let mut handles = self.handles.lock();
        if handles.len() >= HANDLES_MAX {
            handles.pop_first();
        }
        handles.insert(number, Arc::clone(file));
    }

    fn handle(&self, number: u32) -> io::Result<Arc<dyn StorageFile>> {
        if let Some(file) = self.handles.lock().get(&number) {
            return Ok(Arc::clone(file));
        }
        let file = self.storage.open(&large_name(number), Access::Read)?;
        self.keep(number, &file);
        Ok(file)
    }

    /// Reads and checks the body that a stub at `at` names.
    pub(super) fn read(&self, at: Location, stub: &Stub, out: &mut [u8]) -> Result<(), ReadError> {
        let damaged = || ReadError::Corrupt {
            at,
            damage: Damage::LargeBody,
        };
        if stub.bytes as usize != out.len() {
            return Err(damaged());
        }
        let read = self
            .handle(stub.file)
            .and_then(|file| read_full(&*file, stub.offset.into(), out));
        let read = match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged()),
            Err(source) => {
                return Err(ReadError::Io {
                    doing: "read",
                    name: large_name(stub.file),
                    source,
                });
            }
            Ok(read) => read,
        };
        let binding = Binding::new(&self.log_id, stub.file);
        if read < out.len() || binding.crc(stub.offset, out) != stub.crc {
            return Err(damaged());
        }
        Ok(())
    }
}

/// What a file of large bodies begins with.
pub(super) fn header(log_id: &[u8; 16], number: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..32].copy_from_slice(log_id);
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

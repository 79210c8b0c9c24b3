//! Moving bytes from one file to another, with a checksum of them.

use super::{BackupError, catalog::Listed};
use crate::{
    maintenance::Pace,
    storage::{Storage, StorageFile, read_full, write_full},
};
use std::{io, ops::Range, sync::Arc};

/// How much is moved between two calls of a pace.
const PIECE_BYTES: u64 = 256 << 10;
/// What is zero as a whole is not written: files keep their holes.
pub(super) const BLOCK_BYTES: usize = 4096;

/// Gets each piece of a file with its place.
pub(super) type Each<'a> = dyn FnMut(u64, &[u8]) -> Result<(), BackupError> + 'a;

/// Reads a range of a file in order.
///
/// # Errors
/// The file is shorter, the pace has ended it, or what `each` says.
pub(super) fn pieces(
    file: &dyn StorageFile,
    name: &str,
    range: Range<u64>,
    pace: &mut dyn Pace,
    each: &mut Each<'_>,
) -> Result<(), BackupError> {
    let mut buffer = vec![0; (range.end - range.start).min(PIECE_BYTES) as usize];
    let mut at = range.start;
    while at < range.end {
        let size = (range.end - at).min(PIECE_BYTES) as usize;
        let piece = &mut buffer[..size];
        let read =
            read_full(file, at, piece).map_err(|source| BackupError::io("read", name, source))?;
        if read < size {
            return Err(BackupError::io(
                "read",
                name,
                io::ErrorKind::UnexpectedEof.into(),
            ));
        }
        each(at, piece)?;
        at += size as u64;
        if pace.did(size as u64).is_break() {
            return Err(BackupError::Stopped);
        }
    }
    Ok(())
}

/// Checksum of what is listed of a small file.
pub(super) fn read_crc(file: &dyn StorageFile, listed: &Listed) -> io::Result<u32> {
    let mut bytes = vec![0; listed.checked_bytes() as usize];
    let read = read_full(file, 0, &mut bytes)?;
    Ok(crc32c::crc32c(&bytes[..read]))
}

/// A file that is being filled from start to end.
pub(super) struct Filling<'a> {
    name: &'a str,
    file: Arc<dyn StorageFile>,
    bytes: u64,
    pub(super) crc: u32,
}

impl<'a> Filling<'a> {
    pub(super) fn create(storage: &dyn Storage, name: &'a str) -> Result<Self, BackupError> {
        let file = storage
            .create(name)
            .map_err(|source| BackupError::io("create", name, source))?;
        Ok(Self {
            name,
            file,
            bytes: 0,
            crc: 0,
        })
    }

    /// Goes on with a file of which nothing behind `bytes` is needed.
    pub(super) fn resume(
        file: Arc<dyn StorageFile>,
        name: &'a str,
        bytes: u64,
        crc: u32,
    ) -> Result<Self, BackupError> {
        file.truncate(bytes)
            .map_err(|source| BackupError::io("cut", name, source))?;
        Ok(Self {
            name,
            file,
            bytes,
            crc,
        })
    }

    /// Appends up to where `source` has `end` bytes.
    pub(super) fn up_to(
        &mut self,
        source: &dyn StorageFile,
        source_name: &str,
        end: u64,
        pace: &mut dyn Pace,
    ) -> Result<(), BackupError> {
        let (file, name, crc) = (&self.file, self.name, &mut self.crc);
        pieces(
            source,
            source_name,
            self.bytes..end,
            pace,
            &mut |at, bytes| {
                *crc = crc32c::crc32c_append(*crc, bytes);
                let written = write_blocks(&**file, at, bytes);
                written.map_err(|source| BackupError::io("write", name, source))
            },
        )?;
        self.bytes = end;
        Ok(())
    }

    /// Makes what was written durable, the name excepted.
    pub(super) fn finish(self) -> Result<u32, BackupError> {
        let failed = |doing| move |source| BackupError::io(doing, self.name, source);
        // Zeros at the end were not written.
        let length = self.file.length().map_err(failed("measure"))?;
        if length != self.bytes {
            self.file.truncate(self.bytes).map_err(failed("extend"))?;
        }
        self.file.sync_all().map_err(failed("sync"))?;
        Ok(self.crc)
    }
}

/// Writes bytes, but no block that is zero: nothing stands there yet.
fn write_blocks(file: &dyn StorageFile, at: u64, bytes: &[u8]) -> io::Result<()> {
    let mut run = 0..0;
    for start in (0..bytes.len()).step_by(BLOCK_BYTES) {
        let end = (start + BLOCK_BYTES).min(bytes.len());
        if is_zero(&bytes[start..end]) {
            write_full(file, at + run.start as u64, &bytes[run])?;
            run = end..end;
        } else {
            run.end = end;
        }
    }
    write_full(file, at + run.start as u64, &bytes[run])
}

/// In lines, so that the compiler can look at many bytes at once.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(64)
        .all(|line| line.iter().fold(0, |sum, byte| sum | byte) == 0)
}

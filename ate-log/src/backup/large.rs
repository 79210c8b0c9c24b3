//! Bringing the copy of a file of large bodies up to date.

use super::{
    BackupError,
    catalog::Listed,
    copy::{BLOCK_BYTES, Filling, is_zero, pieces},
};
use crate::{
    maintenance::Pace,
    storage::{Access, Storage, StorageFile, read_full, write_full},
};
use std::{io, ops::Range, sync::Arc};

/// What became of a copy.
pub(super) struct Updated {
    pub(super) listed: Listed,
    pub(super) bytes_written: u64,
    /// Where the log has other bytes than the copy, whose checksum is right: they are damaged there.
    pub(super) damaged: Option<u64>,
}

/// Appends what is new of the first `bytes` bytes of `source`, and lists what has become zero since.
///
/// Up to the old length only bodies that were erased may differ, and they are zero. Other
/// differences are damage, here or there; the checksum of the copy says where, and only a
/// damaged copy is mended.
pub(super) fn update(
    source: &dyn StorageFile,
    to: &dyn Storage,
    earlier: Option<&Listed>,
    name: &str,
    bytes: u64,
    pace: &mut dyn Pace,
) -> Result<Updated, BackupError> {
    let failed = |doing| move |source| BackupError::io(doing, name, source);
    let copy = match earlier.map(|_| to.open(name, Access::Write)) {
        Some(Ok(copy)) => Some(copy),
        Some(Err(source)) if source.kind() != io::ErrorKind::NotFound => {
            return Err(failed("open")(source));
        }
        _ => None,
    };
    let (Some(copy), Some(earlier)) = (copy, earlier) else {
        let mut filling = Filling::create(to, name)?;
        filling.up_to(source, name, bytes, pace)?;
        return Ok(Updated {
            listed: listed(name, bytes, filling.finish()?, Vec::new()),
            bytes_written: bytes,
            damaged: None,
        });
    };
    let compared = compare(source, &*copy, earlier, pace)?;
    let mut damaged = None;
    let mut bytes_written = bytes - earlier.bytes;
    if let Some(first) = compared.other.first() {
        if compared.copy_crc == earlier.crc {
            damaged = Some(first.start);
        } else {
            bytes_written += mend(source, &*copy, name, &compared.other)?;
        }
    }
    let mut filling = Filling::resume(Arc::clone(&copy), name, earlier.bytes, compared.crc)?;
    filling.up_to(source, name, bytes, pace)?;
    Ok(Updated {
        listed: listed(name, bytes, filling.finish()?, compared.holes),
        bytes_written,
        damaged,
    })
}

fn listed(name: &str, bytes: u64, crc: u32, holes: Vec<Range<u64>>) -> Listed {
    Listed {
        name: name.into(),
        bytes,
        crc,
        holes,
    }
}

#[derive(Default)]
struct Compared {
    /// Of the source.
    crc: u32,
    copy_crc: u32,
    /// Zero in the source and not in the copy.
    holes: Vec<Range<u64>>,
    /// Different and not zero.
    other: Vec<Range<u64>>,
}

fn compare(
    source: &dyn StorageFile,
    copy: &dyn StorageFile,
    earlier: &Listed,
    pace: &mut dyn Pace,
) -> Result<Compared, BackupError> {
    let name = &earlier.name;
    let mut compared = Compared::default();
    let mut theirs = Vec::new();
    pieces(source, name, 0..earlier.bytes, pace, &mut |at, ours| {
        theirs.clear();
        // A copy that is cut off reads as zeros behind its end.
        theirs.resize(ours.len(), 0);
        read_full(copy, at, &mut theirs).map_err(|source| BackupError::io("read", name, source))?;
        earlier.mask(at, &mut theirs);
        compared.crc = crc32c::crc32c_append(compared.crc, ours);
        compared.copy_crc = crc32c::crc32c_append(compared.copy_crc, &theirs);
        let blocks = ours.chunks(BLOCK_BYTES).zip(theirs.chunks(BLOCK_BYTES));
        for (index, (ours, theirs)) in blocks.enumerate() {
            if ours == theirs {
                continue;
            }
            let start = at + (index * BLOCK_BYTES) as u64;
            let range = start..start + ours.len() as u64;
            if is_zero(ours) {
                push(&mut compared.holes, range);
            } else {
                push(&mut compared.other, range);
            }
        }
        Ok(())
    })?;
    Ok(compared)
}

/// Adds a range behind all others, to the last one if they touch.
fn push(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// Writes what the source has over what is damaged in the copy.
fn mend(
    source: &dyn StorageFile,
    copy: &dyn StorageFile,
    name: &str,
    ranges: &[Range<u64>],
) -> Result<u64, BackupError> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut written = 0;
    for range in ranges {
        for at in range.clone().step_by(BLOCK_BYTES) {
            let piece = &mut block[..(range.end - at).min(BLOCK_BYTES as u64) as usize];
            let read = read_full(source, at, piece);
            read.map_err(|source| BackupError::io("read", name, source))?;
            let done = write_full(copy, at, piece);
            done.map_err(|source| BackupError::io("write", name, source))?;
            written += piece.len() as u64;
        }
    }
    Ok(written)
}

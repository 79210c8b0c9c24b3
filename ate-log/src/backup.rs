//! Copies of a log in another directory: made while the log is written, and put back.
//!
//! A backup is a directory with the files of a log as they were at one moment, and a file `backup`
//! that lists them with length and checksum (`docs/format.md`, section 6.8). It opens as a log that
//! was not closed. Snapshots and the lock file are not in it.
//!
//! # One commit point
//! **The file `backup` alone says what the backup is**: renaming a new one into place is the commit
//! point. Everything else is arranged so that whatever the old one lists is there until then, and
//! whatever the new one lists from then on, whenever the power goes:
//!
//! 1. Sealed files never change, and a name is never used for other bytes. New ones get their place
//!    at once; the old `backup` does not list them.
//! 2. Segments grow, and disappear when they are sealed. New and grown ones wait under `….new`, and
//!    so does the manifest. This is why: had a segment been sealed since, the manifest that names
//!    its sealed files and the segment behind it would have to appear in one step. With the old
//!    manifest the new segment is a gap, with the new manifest its absence is one.
//! 3. Files of large bodies grow. What is added stands behind the length that the old `backup`
//!    gives, so it is no part of that one.
//! 4. Bodies of large files that were erased become holes. Holes cannot be punched before the
//!    commit: the old backup has the frames that name these bodies, and without an erasure. They are
//!    *listed*; who reads through the list reads zeros there.
//! 5. After the commit the copy is *settled*: manifest, then segments get their places, holes are
//!    punched, what is not listed goes. Every reader of a backup here resolves names and holes
//!    by the list, so it sees the same before, during and after. The next backup settles first.
//!
//! Who opens the directory as a plain log, without the list, sees: before the commit the old
//! backup. While it is being settled: the new manifest first. If the segment after the last sealed
//! one is in place, that is a log that ends where the old or the new backup ends, or at the end of a
//! segment between; if it is not, opening fails for a missing segment. Never another history.
//!
//! # What is not overwritten
//! A backup of another log, of another store of this log (one was restored from a copy of the
//! other), a newer one, one that somebody has opened for writing, and a store. A backup in which what is
//! new does not pass its checksums is not committed: the earlier one stays.
//!
//! # Restoring
//! A directory with a file `restore.new` is not finished, and no log opens in it except through
//! [`Restore::reader`]. It is made before anything else and removed when the caller has verified
//! what it wants. The restored log is another *store*: its manifest has a new store id, so that what
//! is written to it and to the original can be told apart.

mod catalog;
mod copy;
mod destination;
mod error;
mod large;
mod restore;
mod settle;
mod taking;
mod view;

use crate::{
    file_log::FileLog,
    location::Location,
    maintenance::{FullSpeed, Pace},
    sealed::{MANIFEST_NAME, Manifest},
    storage::{Storage, StorageFile},
};
pub(crate) use catalog::{BACKUP_FILE, is_copied};
pub(crate) use destination::{Destination, Frozen};
pub use error::BackupError;
pub(crate) use restore::RESTORE_FILE;
pub use restore::{Restore, Restored, restore};
use std::sync::Arc;
pub(crate) use view::View;

/// What [`FileLog::backup`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BackedUp {
    /// Files that were copied, or of which a part was.
    pub files_copied: u64,
    /// Files that were there from an earlier backup.
    pub files_kept: u64,
    /// Bytes written.
    pub bytes_copied: u64,
    /// Bytes of the whole backup.
    pub bytes: u64,
    /// Where the copied history ends.
    pub end: Location,
}

/// What a backup says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackupInfo {
    /// The log that it is a copy of.
    pub log_id: [u8; 16],
    /// The store that wrote that log.
    pub store_id: [u8; 16],
    /// Where the copied history ends.
    pub end: Location,
    /// Its files.
    pub files: u64,
    /// Their lengths together.
    pub bytes: u64,
}

/// What [`verify_backup`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedBackup {
    /// What the backup says of itself.
    pub info: BackupInfo,
    /// Files that are missing or not what was written. Removed, they are copied again by the next
    /// backup, or replaced from there.
    pub damaged: Vec<String>,
}

/// What the backup in a directory says of itself; `None` if there is none.
///
/// # Errors
/// The file `backup` is damaged or of a newer format, or the storage failed.
pub fn backup_info(from: &Arc<dyn Storage>) -> Result<Option<BackupInfo>, BackupError> {
    Ok(catalog::Catalog::load(&**from)?.map(|catalog| info(&catalog)))
}

/// Opens a backup for reading, also one whose last step was interrupted. Makes and changes nothing.
///
/// # Errors
/// [`BackupError::NotABackup`]; as [`FileLog::open_reader`].
pub fn open_backup(from: &Arc<dyn Storage>) -> Result<FileLog, BackupError> {
    let view = Arc::new(View::of(from)?);
    FileLog::open_reader(view).map_err(|error| BackupError::Source(error.into()))
}

/// Reads all files of a backup and compares them with their checksums. Changes nothing.
///
/// # Errors
/// [`BackupError::NotABackup`], [`BackupError::Stopped`], or the storage failed. Damage to files
/// other than `backup` is none.
pub fn verify_backup(
    from: &Arc<dyn Storage>,
    pace: &mut dyn Pace,
) -> Result<VerifiedBackup, BackupError> {
    let view = View::of(from)?;
    let mut damaged = Vec::new();
    for listed in &view.catalog().files {
        let file = match view.open(&listed.name, crate::storage::Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                damaged.push(listed.name.clone());
                continue;
            }
            Err(source) => return Err(BackupError::io("open", &listed.name, source)),
        };
        let mut crc = 0;
        let range = 0..listed.checked_bytes();
        copy::pieces(&*file, &listed.name, range, pace, &mut |_, bytes| {
            crc = crc32c::crc32c_append(crc, bytes);
            Ok(())
        })?;
        let is_manifest = listed.name == MANIFEST_NAME;
        if crc != listed.crc || is_manifest && Manifest::load(&view).is_err() {
            damaged.push(listed.name.clone());
        }
    }
    Ok(VerifiedBackup {
        info: info(view.catalog()),
        damaged,
    })
}

fn info(catalog: &catalog::Catalog) -> BackupInfo {
    BackupInfo {
        log_id: catalog.log_id,
        store_id: catalog.store_id,
        end: catalog.end,
        files: catalog.files.len() as u64,
        bytes: catalog.bytes(),
    }
}

/// Whether there is a backup in a directory.
pub(crate) fn is_backup(storage: &Arc<dyn Storage>) -> Result<bool, BackupError> {
    Ok(catalog::Catalog::load(&**storage)?.is_some())
}

/// Copies the first `bytes` bytes of a file into a new one, synced.
pub(crate) fn copy_file(
    file: &dyn StorageFile,
    name: &str,
    to: &dyn Storage,
    to_name: &str,
    bytes: u64,
) -> Result<(), BackupError> {
    let mut filling = copy::Filling::create(to, to_name)?;
    filling.up_to(file, name, bytes, &mut FullSpeed)?;
    filling.finish().map(drop)
}

//! Putting a backup back, in a directory of its own.

use super::{
    BackupError,
    catalog::{BACKUP_FILE, is_copied, is_staged},
    copy::Filling,
    settle::list,
    view::View,
};
use crate::{
    error::OpenError,
    file_log::{FileLog, acquire, publication},
    location::Location,
    maintenance::Pace,
    sealed::{MANIFEST_NAME, Manifest, SealError},
    storage::{Access, Storage, StorageLock},
};
use std::{io, sync::Arc};

/// Marks a directory in which a restore was begun and not finished.
pub(crate) const RESTORE_FILE: &str = "restore.new";

/// What was put back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Files.
    pub files: u64,
    /// Their lengths together.
    pub bytes: u64,
    /// Where the history ends.
    pub end: Location,
}

/// A log that was put back and waits to be declared whole. Dropped, it stays unfinished.
#[derive(Debug)]
pub struct Restore {
    to: Arc<dyn Storage>,
    lock: Box<dyn StorageLock>,
    restored: Restored,
}

/// Copies a backup into a directory without a log, every file against its checksum, as the log of
/// the store `store_id`: 16 random bytes that no store had before.
///
/// The directory is unfinished, and no log opens in it, until [`Restore::finish`]. What an
/// interrupted restore has left is removed first.
///
/// # Errors
/// [`BackupError::HoldsAStore`] if there are files of a log; [`BackupError::Damaged`] names what in
/// the backup is not what was written.
pub fn restore(
    from: &Arc<dyn Storage>,
    to: &Arc<dyn Storage>,
    store_id: [u8; 16],
    pace: &mut dyn Pace,
) -> Result<Restore, BackupError> {
    let view = View::of(from)?;
    let place = || to.place();
    to.prepare()
        .map_err(|source| BackupError::io("make", &place(), source))?;
    let names = list(&**to)?;
    let is_unfinished = names.iter().any(|name| name == RESTORE_FILE);
    if !is_unfinished
        && names
            .iter()
            .any(|name| is_copied(name) || name == BACKUP_FILE)
    {
        return Err(BackupError::HoldsAStore { place: place() });
    }
    let lock = acquire(&**to).map_err(|error| match error {
        OpenError::Locked { place } => BackupError::Locked { place },
        other => BackupError::Source(other.into()),
    })?;
    begin(&**to, &names, is_unfinished)?;
    copy(&view, &**to, store_id, pace)?;
    let end = view.catalog().end;
    // For the reader below; whoever comes before the restore is finished is refused anyway.
    let published = lock.publish(&publication(view.catalog().log_id, end));
    published.map_err(|source| BackupError::io("write", "lock", source))?;
    Ok(Restore {
        to: Arc::clone(to),
        lock,
        restored: Restored {
            files: view.catalog().files.len() as u64,
            bytes: view.catalog().bytes(),
            end,
        },
    })
}

/// Copies all files, the manifest last.
fn copy(
    view: &View,
    to: &dyn Storage,
    store_id: [u8; 16],
    pace: &mut dyn Pace,
) -> Result<(), BackupError> {
    let mut manifest = None;
    for listed in &view.catalog().files {
        let name = &listed.name;
        let damaged = || BackupError::Damaged {
            place: view.place(),
            name: name.clone(),
        };
        let file = match view.open(name, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged()),
            Err(source) => return Err(BackupError::io("open", name, source)),
        };
        if name == MANIFEST_NAME {
            manifest = Some(Manifest::load(view)?.ok_or_else(damaged)?);
            continue;
        }
        let mut filling = Filling::create(to, name)?;
        filling.up_to(&*file, name, listed.bytes, pace)?;
        if filling.finish()? != listed.crc {
            return Err(damaged());
        }
    }
    let manifest = manifest.ok_or_else(|| BackupError::Damaged {
        place: view.place(),
        name: MANIFEST_NAME.into(),
    })?;
    let next = Manifest {
        store_id,
        generation: manifest.generation + 1,
        ..manifest
    };
    next.store(to).map_err(|error| match error {
        SealError::Io {
            doing,
            name,
            source,
        } => BackupError::io(doing, &name, source),
        other => BackupError::io("write", MANIFEST_NAME, io::Error::other(other)),
    })
}

/// Marks the directory, and removes what is left of a restore before.
fn begin(to: &dyn Storage, names: &[String], is_unfinished: bool) -> Result<(), BackupError> {
    let failed = |doing| move |source| BackupError::io(doing, RESTORE_FILE, source);
    if !is_unfinished {
        let mark = to.create(RESTORE_FILE).map_err(failed("create"))?;
        mark.sync_all().map_err(failed("sync"))?;
    }
    // Its name must be durable before anything that it stands for.
    to.sync_dir().map_err(failed("sync the directory of"))?;
    for name in names
        .iter()
        .filter(|name| is_copied(name) || is_staged(name))
    {
        let removed = to.remove(name);
        removed.map_err(|source| BackupError::io("remove", name, source))?;
    }
    Ok(())
}

impl Restore {
    /// The log, for reading, to be verified by those who know what is in it.
    ///
    /// # Errors
    /// As [`FileLog::open_reader`].
    pub fn reader(&self) -> Result<FileLog, OpenError> {
        FileLog::open_unfinished(Arc::clone(&self.to))
    }

    /// What was put back.
    #[must_use]
    pub const fn restored(&self) -> Restored {
        self.restored
    }

    /// Declares the log whole: from now on it can be opened.
    ///
    /// # Errors
    /// The storage failed; the log may count as whole or not.
    pub fn finish(self) -> Result<Restored, BackupError> {
        let failed = |doing| move |source| BackupError::io(doing, RESTORE_FILE, source);
        self.to.remove(RESTORE_FILE).map_err(failed("remove"))?;
        self.to
            .sync_dir()
            .map_err(failed("sync the directory of"))?;
        drop(self.lock);
        Ok(self.restored)
    }
}

//! Mending a damaged log with another copy of it: a backup, or a directory that was copied.
//!
//! Places are the same in all copies of a log, and a frame's checksums bind it to log and place. So
//! what passes them at the same place in the other copy is what stood here, whether one of
//! both has sealed it since or not.
//!
//! Nothing is changed while a repair is prepared: new files stand beside the old ones as
//! `repair-NAME` (new versions of sealed files under their own names, which no manifest knows), and
//! [`Repair::reader`] shows the log as it will be, to be verified by those who know what is in it. [`Repair::finish`]
//! copies each damaged file to `damaged-NAME` and renames the new one over it, the manifest last. Cut
//! off in between, the log is as damaged as before or less, and a repair begins anew.
//!
//! Erased bytes do not come back where this copy still knows that they were erased. Where it
//! lost the list of what is gone together with the sealed file, the other copy's is taken as it is,
//! and the layer above, whose history says what was erased, erases again.

use super::{FileLog, acquire, survey::DamagedRange};
use crate::{
    backup::{BackupError, View, is_backup},
    error::OpenError,
    maintenance::Pace,
    sealed::MANIFEST_NAME,
    storage::{Access, Storage, StorageLock},
};
use overlay::Overlay;
use std::{collections::BTreeSet, io, ops::ControlFlow, sync::Arc};

mod large;
mod manifest;
mod overlay;
mod segments;
mod sets;

/// What a file is called that is to take the place of another.
const NEW: &str = "repair-";
/// What a damaged file is called that was replaced.
const KEPT: &str = "damaged-";

/// A file that was mended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mended {
    /// Its name.
    pub name: String,
    /// Bytes that were taken from the other copy.
    pub bytes: u64,
}

/// What a repair did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repaired {
    /// Files that were mended.
    pub mended: Vec<Mended>,
    /// What the damaged files are called now.
    pub kept: Vec<String>,
    /// What stays damaged: the other copy does not have it.
    pub damaged: Vec<DamagedRange>,
}

/// A repair that was prepared: nothing in the log has changed yet. Dropped, it never happened.
#[derive(Debug)]
pub struct Repair {
    storage: Arc<dyn Storage>,
    lock: Box<dyn StorageLock>,
    overlay: Arc<Overlay>,
    /// Files that the new manifest does not name any more.
    replaced: BTreeSet<String>,
    mended: Vec<Mended>,
    damaged: Vec<DamagedRange>,
}

/// Prepares the mending of the log in `storage` with the copy in `from`. Holds the writer's lock.
///
/// `store_id`, 16 random bytes, becomes the store's identity if the manifest, which knows it, is lost:
/// nobody could tell otherwise which writes were this store's.
///
/// # Errors
/// [`BackupError::OtherLog`], [`BackupError::OtherStore`]: what stands at the same places there is something else.
/// [`BackupError::Locked`] beside a writer. Damage is none.
///
/// # Cost
/// Reads both copies, this one three times, and writes the files that are damaged.
pub fn repair(
    storage: &Arc<dyn Storage>,
    from: &Arc<dyn Storage>,
    store_id: [u8; 16],
    pace: &mut dyn Pace,
) -> Result<Repair, BackupError> {
    let theirs: Arc<dyn Storage> = if is_backup(from)? {
        Arc::new(View::of(from)?)
    } else {
        Arc::clone(from)
    };
    let other = Other {
        log: FileLog::open_damaged(Arc::clone(&theirs))?,
        storage: theirs,
    };
    let lock = acquire(&**storage).map_err(|error| match error {
        OpenError::Locked { place } => BackupError::Locked { place },
        error => error.into(),
    })?;
    let names = storage
        .list()
        .map_err(|source| BackupError::io("list", &storage.place(), source))?;
    for name in names.iter().filter(|name| name.starts_with(NEW)) {
        let removed = storage.remove(name);
        removed.map_err(|source| BackupError::io("remove", name, source))?;
    }
    let mut work = Work {
        storage,
        overlay: Overlay::new(storage),
        other: &other,
        replaced: BTreeSet::new(),
        mended: Vec::new(),
        pace,
    };
    work.manifest(store_id)?;
    work.newest_segment()?;
    let ours = work.ours()?;
    work.check(&ours)?;
    work.segments(&ours)?;
    work.sets(&ours)?;
    let ours = work.ours()?;
    work.large(&ours)?;
    let ours = work.ours()?;
    let mut damaged = ours.damage().to_vec();
    damaged.extend(large::damaged(&ours)?.into_iter().map(|(range, ..)| range));
    damaged.sort_by_key(|range| range.at);
    let Work {
        overlay,
        replaced,
        mended,
        ..
    } = work;
    Ok(Repair {
        storage: Arc::clone(storage),
        lock,
        overlay: Arc::new(overlay),
        replaced,
        mended,
        damaged,
    })
}

/// Removes the damaged files that repairs have kept; their names.
///
/// # Errors
/// The storage failed; some may be gone.
pub fn discard_damaged(storage: &Arc<dyn Storage>) -> Result<Vec<String>, BackupError> {
    let names = storage
        .list()
        .map_err(|source| BackupError::io("list", &storage.place(), source))?;
    let mut gone: Vec<String> = names
        .into_iter()
        .filter(|name| {
            name.strip_prefix(KEPT)
                .is_some_and(crate::backup::is_copied)
        })
        .collect();
    gone.sort_unstable();
    for name in &gone {
        let removed = storage.remove(name);
        removed.map_err(|source| BackupError::io("remove", name, source))?;
    }
    let synced = storage.sync_dir();
    synced.map_err(|source| BackupError::io("sync", &storage.place(), source))?;
    Ok(gone)
}

/// The copy that things are taken from.
struct Other {
    log: FileLog,
    storage: Arc<dyn Storage>,
}

/// A repair that is being prepared.
struct Work<'a> {
    storage: &'a Arc<dyn Storage>,
    overlay: Overlay,
    other: &'a Other,
    replaced: BTreeSet<String>,
    mended: Vec<Mended>,
    pace: &'a mut dyn Pace,
}

impl Work<'_> {
    /// This log, as far as it is mended.
    fn ours(&self) -> Result<FileLog, BackupError> {
        Ok(FileLog::open_damaged(Arc::new(self.overlay.clone()))?)
    }

    /// Whether both are copies of one store's log.
    fn check(&self, ours: &FileLog) -> Result<(), BackupError> {
        let place = self.other.storage.place();
        if ours.log_id() != self.other.log.log_id() {
            return Err(BackupError::OtherLog { place });
        }
        let is_new = self.overlay.has(MANIFEST_NAME);
        if !is_new && ours.store_id() != self.other.log.store_id() {
            return Err(BackupError::OtherStore { place });
        }
        Ok(())
    }

    /// Puts a finished file `repair-NAME` in the place of another, in the log as it will be.
    fn take(&mut self, name: &str, bytes: u64) {
        self.overlay.put(name);
        self.mended.push(Mended {
            name: name.into(),
            bytes,
        });
    }

    fn did(&mut self, bytes: u64) -> Result<(), BackupError> {
        match self.pace.did(bytes) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(BackupError::Stopped),
        }
    }
}

impl Repair {
    /// The log as it will be, for reading, to be verified.
    ///
    /// # Errors
    /// As [`FileLog::open_damaged`].
    pub fn reader(&self) -> Result<FileLog, OpenError> {
        FileLog::open_damaged(Arc::clone(&self.overlay) as Arc<dyn Storage>)
    }

    /// What will be mended.
    #[must_use]
    pub fn mended(&self) -> &[Mended] {
        &self.mended
    }

    /// What will stay damaged.
    #[must_use]
    pub fn damaged(&self) -> &[DamagedRange] {
        &self.damaged
    }

    /// Puts the new files in the places of the damaged ones, which are kept beside them.
    ///
    /// # Errors
    /// The storage failed: some files may be mended. Repair again.
    pub fn finish(self) -> Result<Repaired, BackupError> {
        let storage = &*self.storage;
        let sync_dir = || {
            let synced = storage.sync_dir();
            synced.map_err(|source| BackupError::io("sync", &storage.place(), source))
        };
        let mut kept = Vec::new();
        for name in self.overlay.names().chain(&self.replaced) {
            kept.extend(keep(storage, name)?);
        }
        sync_dir()?;
        let (manifest, others): (Vec<&String>, Vec<&String>) = self
            .overlay
            .names()
            .partition(|name| *name == MANIFEST_NAME);
        for name in others.into_iter().chain(manifest) {
            if name == MANIFEST_NAME {
                sync_dir()?;
            }
            let renamed = storage.rename(&format!("{NEW}{name}"), name);
            renamed.map_err(|source| BackupError::io("rename", name, source))?;
        }
        sync_dir()?;
        for name in &self.replaced {
            match storage.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(BackupError::io("remove", name, error));
                }
                _ => {}
            }
        }
        sync_dir()?;
        drop(self.lock);
        Ok(Repaired {
            mended: self.mended,
            kept,
            damaged: self.damaged,
        })
    }
}

/// Copies a file to where damaged ones are kept; where that is. `None`: it is not there.
fn keep(storage: &dyn Storage, name: &str) -> Result<Option<String>, BackupError> {
    let failed = |doing| move |source| BackupError::io(doing, name, source);
    let file = match storage.open(name, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("open")(source)),
    };
    let kept = format!("{KEPT}{name}");
    if storage.size(&kept).is_ok() {
        // From a repair before, which was cut off, or of which it was not discarded: the first
        // is the one that tells what happened.
        return Ok(Some(kept));
    }
    let temporary = format!("{NEW}{KEPT}{name}");
    let bytes = file.length().map_err(failed("measure"))?;
    crate::backup::copy_file(&*file, name, storage, &temporary, bytes)?;
    storage
        .rename(&temporary, &kept)
        .map_err(failed("rename"))?;
    Ok(Some(kept))
}

//! The directory that a backup goes to.

use super::{
    BackedUp, BackupError, View,
    catalog::{BACKUP_FILE, Catalog},
    restore::RESTORE_FILE,
    settle::{list, settle},
    taking::Taking,
};
use crate::{
    error::Damage,
    file_log::{FileLog, LOCK_FILE},
    location::Location,
    log::Log as _,
    maintenance::Pace,
    sealed::{MANIFEST_NAME, Manifest},
    segment::segment_number,
    storage::{LockState, Storage, StorageLock},
};
use std::sync::Arc;

/// Locked by whoever makes a backup.
const BACKUP_LOCK_FILE: &str = "backup.lock";

/// A log at one moment: what is to be copied.
pub(crate) struct Frozen {
    pub(crate) manifest: Manifest,
    /// Where its history ends.
    pub(crate) end: Location,
    /// Segments that are not sealed and their lengths, without a gap.
    pub(crate) segments: Vec<(u32, u32)>,
    /// Files of large bodies and how much of them frames name.
    pub(crate) large: Vec<(u32, u64)>,
}

/// A place for backups of one log.
pub(crate) struct Destination {
    storage: Arc<dyn Storage>,
    earlier: Option<Catalog>,
    _lock: Box<dyn StorageLock>,
}

impl Destination {
    /// Takes a directory that is empty or holds backups, and settles the last one.
    pub(crate) fn open(storage: &Arc<dyn Storage>) -> Result<Self, BackupError> {
        let place = || storage.place();
        storage
            .prepare()
            .map_err(|source| BackupError::io("make", &place(), source))?;
        let names = list(&**storage)?;
        let has = |name: &str| names.iter().any(|other| other == name);
        let is_log = |name: &String| name == MANIFEST_NAME || segment_number(name).is_some();
        if has(LOCK_FILE) && has(BACKUP_FILE) {
            return Err(match storage.lock_state(LOCK_FILE) {
                Ok(LockState::Held(_)) => BackupError::Locked { place: place() },
                _ => BackupError::Written { place: place() },
            });
        }
        if !has(BACKUP_FILE) && names.iter().any(is_log) || has(LOCK_FILE) || has(RESTORE_FILE) {
            return Err(BackupError::HoldsAStore { place: place() });
        }
        let lock = storage
            .lock(BACKUP_LOCK_FILE)
            .map_err(|source| BackupError::io("lock", BACKUP_LOCK_FILE, source))?
            .ok_or_else(|| BackupError::Locked { place: place() })?;
        let earlier = Catalog::load(&**storage)?;
        if let Some(catalog) = &earlier {
            settle(&**storage, catalog)?;
        }
        Ok(Self {
            storage: Arc::clone(storage),
            earlier,
            _lock: lock,
        })
    }

    /// Whether a log may be copied over what is here.
    fn check(&self, frozen: &Frozen) -> Result<(), BackupError> {
        let Some(earlier) = &self.earlier else {
            return Ok(());
        };
        let place = self.storage.place();
        if earlier.log_id != frozen.manifest.log_id {
            return Err(BackupError::OtherLog { place });
        }
        if earlier.store_id != frozen.manifest.store_id {
            return Err(BackupError::OtherStore { place });
        }
        if earlier.end > frozen.end {
            return Err(BackupError::Newer {
                place,
                theirs: earlier.end,
                ours: frozen.end,
            });
        }
        Ok(())
    }

    /// Copies a log and makes the copy the backup here.
    ///
    /// # Errors
    /// Unless the last step failed, which the next backup takes up, the earlier backup stays.
    pub(crate) fn take(
        &self,
        source: &dyn Storage,
        frozen: &Frozen,
        pace: &mut dyn Pace,
    ) -> Result<BackedUp, BackupError> {
        self.check(frozen)?;
        let mut taking = Taking {
            to: &self.storage,
            earlier: self.earlier.as_ref(),
            source,
            files: Vec::new(),
            fresh: Vec::new(),
            done: BackedUp {
                end: frozen.end,
                ..BackedUp::default()
            },
            pace,
        };
        taking.sealed(&frozen.manifest)?;
        for &(number, bytes) in &frozen.segments {
            taking.segment(number, bytes)?;
        }
        let mut found = taking.large(frozen)?;
        taking.manifest(&frozen.manifest)?;
        let Taking {
            mut files,
            fresh,
            mut done,
            ..
        } = taking;
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let catalog = Catalog {
            log_id: frozen.manifest.log_id,
            store_id: frozen.manifest.store_id,
            end: frozen.end,
            files,
        };
        done.bytes = catalog.bytes();
        if done.files_copied == 0 && self.earlier.as_ref() == Some(&catalog) {
            return Ok(done);
        }
        check_copy(&self.storage, &catalog, &fresh, pace, &mut found)?;
        if !found.is_empty() {
            return Err(BackupError::SourceDamaged { found });
        }
        catalog.store(&*self.storage)?;
        settle(&*self.storage, &catalog)?;
        Ok(done)
    }
}

/// Opens the copy as it will be, and checks what is new in it.
fn check_copy(
    storage: &Arc<dyn Storage>,
    catalog: &Catalog,
    fresh: &[u32],
    pace: &mut dyn Pace,
    found: &mut Vec<(Location, Damage)>,
) -> Result<(), BackupError> {
    let view: Arc<dyn Storage> = Arc::new(View::new(storage, catalog.clone()));
    let copy = match FileLog::open_reader(view).map_err(crate::ReadError::from) {
        Ok(copy) => copy,
        Err(crate::ReadError::Corrupt { at, damage }) => {
            found.push((at, damage));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if copy.durable() != catalog.end {
        found.push(
            copy.tail_damage()
                .unwrap_or_else(|| (copy.durable(), Damage::SegmentShort)),
        );
    }
    let mut fresh = fresh.to_vec();
    fresh.sort_unstable();
    fresh.dedup();
    for number in fresh {
        let flow = copy.scrub_file(number, pace, &mut |at, damage| found.push((at, damage)))?;
        if flow.is_break() {
            return Err(BackupError::Stopped);
        }
    }
    Ok(())
}

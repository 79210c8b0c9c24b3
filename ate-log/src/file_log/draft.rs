//! Taking the lock, and making a segment file so that it appears whole or not at all.

use super::{LOCK_FILE, reserve::is_full};
use crate::{
    error::{AppendError, OpenError},
    segment::{SegmentHeader, segment_name, segment_name_new},
    storage::{Storage, StorageFile, StorageLock, write_full},
};
use std::{io, ops::Range, sync::Arc, thread, time::Duration};

const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// Takes the writer's lock. A reader that looks whether it is held holds it shared for a
/// moment, so this tries for about 100 ms.
pub(crate) fn acquire(storage: &dyn Storage) -> Result<Box<dyn StorageLock>, OpenError> {
    for attempt in 0..LOCK_TRIES {
        match storage.lock(LOCK_FILE) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if attempt + 1 < LOCK_TRIES => thread::sleep(LOCK_PAUSE),
            Ok(None) => break,
            Err(source) => {
                return Err(OpenError::Io {
                    doing: "lock",
                    name: LOCK_FILE.into(),
                    source,
                });
            }
        }
    }
    Err(OpenError::Locked {
        place: storage.place(),
    })
}

/// A segment file that has space but no name yet.
pub(super) struct Draft {
    file: Arc<dyn StorageFile>,
    pub(super) size: u32,
}

/// Makes a file with space for at least `need` bytes, better `want`.
pub(super) fn draft(
    storage: &dyn Storage,
    number: u32,
    need: u32,
    want: u32,
) -> Result<Draft, AppendError> {
    let name = segment_name_new(number);
    let place = || storage.place();
    let result = match storage.create(&name) {
        Ok(file) => reserve(&*file, place, &name, 0..need, want).map(|size| Draft { file, size }),
        Err(source) => Err(write_error("create", place, &name, u64::from(need), source)),
    };
    if result.is_err() {
        // It would be removed at the next opening anyway.
        drop(storage.remove(&name));
    }
    result
}

/// Gives the draft its header and its name. Both are durable on return.
pub(super) fn establish(
    storage: &dyn Storage,
    draft: &Draft,
    header: &SegmentHeader,
) -> Result<Arc<dyn StorageFile>, AppendError> {
    let (temporary, name) = (segment_name_new(header.file), segment_name(header.file));
    // Not `DiskFull`, whatever the source: by now the caller's log has changed.
    let failed = |doing, source| AppendError::Io {
        doing,
        name: temporary.clone(),
        source,
    };
    write_full(&*draft.file, 0, &header.encode()).map_err(|error| failed("write", error))?;
    #[cfg(ate_planted)]
    if crate::planted("name-a-segment-before-its-header") {
        let named = storage
            .rename(&temporary, &name)
            .and_then(|()| storage.sync_dir());
        named.map_err(|error| failed("rename", error))?;
        return Ok(Arc::clone(&draft.file));
    }
    draft
        .file
        .sync_all()
        .map_err(|error| failed("sync", error))?;
    storage
        .rename(&temporary, &name)
        .map_err(|error| failed("rename", error))?;
    #[cfg(ate_planted)]
    if crate::planted("forget-directory-sync") {
        return Ok(Arc::clone(&draft.file));
    }
    storage
        .sync_dir()
        .map_err(|error| failed("sync the directory of", error))?;
    Ok(Arc::clone(&draft.file))
}

/// Reserves `want` bytes, or what there is down to the end of `needed`, up to whose start there is space already.
pub(super) fn reserve(
    file: &dyn StorageFile,
    place: impl FnOnce() -> String,
    name: &str,
    needed: Range<u32>,
    want: u32,
) -> Result<u32, AppendError> {
    let need = needed.end;
    let middle = need.saturating_add(64 << 10).min(want);
    let mut result = Err(io::ErrorKind::StorageFull.into());
    for size in [want.max(need), middle.max(need), need] {
        result = file.allocate(u64::from(size)).map(|()| size);
        match &result {
            Err(error) if is_full(error) => {}
            _ => break,
        }
    }
    let bytes = u64::from(need.saturating_sub(needed.start));
    result.map_err(|source| write_error("reserve space for", place, name, bytes, source))
}

pub(super) fn write_error(
    doing: &'static str,
    place: impl FnOnce() -> String,
    name: &str,
    bytes: u64,
    source: io::Error,
) -> AppendError {
    if is_full(&source) {
        AppendError::DiskFull {
            bytes,
            place: place(),
        }
    } else {
        AppendError::Io {
            doing,
            name: name.into(),
            source,
        }
    }
}

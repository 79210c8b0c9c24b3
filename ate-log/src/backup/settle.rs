//! The last step of a backup: its files get their places.

use super::{
    BackupError,
    catalog::{Catalog, Listed, is_copied, is_staged},
    copy::{is_zero, pieces},
    view::place_of,
};
use crate::{
    maintenance::FullSpeed,
    sealed::MANIFEST_NAME,
    segment::large_number,
    storage::{Access, Storage},
};
use std::io;

/// Gives the files of a backup their places: the last step, and idempotent.
pub(super) fn settle(storage: &dyn Storage, catalog: &Catalog) -> Result<(), BackupError> {
    let sync_dir = || {
        let synced = storage.sync_dir();
        synced.map_err(|source| BackupError::io("sync", &storage.place(), source))
    };
    let manifest = catalog
        .files
        .iter()
        .filter(|listed| listed.name == MANIFEST_NAME);
    let others = catalog
        .files
        .iter()
        .filter(|listed| listed.name != MANIFEST_NAME);
    for listed in manifest.chain(others) {
        let failed = |doing| move |source| BackupError::io(doing, &listed.name, source);
        let place = place_of(storage, listed).map_err(failed("find"))?;
        if let Some((name, _)) = place.filter(|(name, _)| *name != listed.name) {
            storage
                .rename(&name, &listed.name)
                .map_err(failed("rename"))?;
            if listed.name == MANIFEST_NAME {
                sync_dir()?;
            }
        }
    }
    sync_dir()?;
    for listed in &catalog.files {
        if large_number(&listed.name).is_some() {
            punch(storage, listed)?;
        }
    }
    let names = list(storage)?;
    let goes = |name: &&String| is_staged(name) || is_copied(name) && catalog.find(name).is_none();
    let mut any = false;
    for name in names.iter().filter(goes) {
        let removed = storage.remove(name);
        removed.map_err(|source| BackupError::io("remove", name, source))?;
        any = true;
    }
    if any { sync_dir() } else { Ok(()) }
}

/// Makes holes what counts as zero, and cuts off what was never listed.
fn punch(storage: &dyn Storage, listed: &Listed) -> Result<(), BackupError> {
    let failed = |doing| move |source| BackupError::io(doing, &listed.name, source);
    let file = match storage.open(&listed.name, Access::Write) {
        Ok(file) => file,
        // The next backup copies it anew.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("open")(source)),
    };
    let mut changed = false;
    if file.length().map_err(failed("measure"))? > listed.bytes {
        file.truncate(listed.bytes).map_err(failed("cut"))?;
        changed = true;
    }
    for hole in &listed.holes {
        let mut is_done = true;
        pieces(
            &*file,
            &listed.name,
            hole.clone(),
            &mut FullSpeed,
            &mut |_, bytes| {
                is_done &= is_zero(bytes);
                Ok(())
            },
        )?;
        if !is_done {
            let punched = file.punch(hole.start, hole.end - hole.start);
            punched.map_err(failed("punch a hole into"))?;
            changed = true;
        }
    }
    if changed {
        file.sync_all().map_err(failed("sync"))
    } else {
        Ok(())
    }
}

pub(super) fn list(storage: &dyn Storage) -> Result<Vec<String>, BackupError> {
    let names = storage.list();
    names.map_err(|source| BackupError::io("list", &storage.place(), source))
}

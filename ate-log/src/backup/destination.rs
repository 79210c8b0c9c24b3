//! The directory that a backup goes to.

use super::{
    BackedUp, BackupError, View,
    catalog::{BACKUP_FILE, Catalog, Listed, is_copied, is_staged, staged_name},
    copy::{Filling, is_zero, pieces},
    large,
    restore::RESTORE_FILE,
    view::place_of,
};
use crate::{
    error::Damage,
    file_log::{FileLog, LOCK_FILE},
    location::Location,
    log::Log as _,
    maintenance::{FullSpeed, Pace},
    sealed::{MANIFEST_NAME, Manifest},
    segment::{SEGMENT_HEADER_BYTES, large_name, large_number, segment_name, segment_number},
    storage::{Access, LockState, Storage, StorageFile, StorageLock, read_full, write_full},
};
use std::{io, sync::Arc};

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

/// A backup that is being made.
struct Taking<'a> {
    to: &'a Arc<dyn Storage>,
    earlier: Option<&'a Catalog>,
    source: &'a dyn Storage,
    files: Vec<Listed>,
    /// Segments, sealed or not, of which there are bytes that were not checked yet.
    fresh: Vec<u32>,
    done: BackedUp,
    pace: &'a mut dyn Pace,
}

impl Taking<'_> {
    fn sealed(&mut self, manifest: &Manifest) -> Result<(), BackupError> {
        for set in &manifest.sets {
            for files in &set.groups {
                let id = manifest.pair_id(set.file, files);
                let heads = (id.heads_name(), files.heads_bytes);
                let bodies = (id.bodies_name(), files.bodies_bytes);
                for (name, bytes) in [heads, bodies] {
                    if bytes > 0 && !self.keep(&name, bytes.into())? {
                        self.fresh.push(set.file);
                        self.sealed_file(&name, bytes.into())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn sealed_file(&mut self, name: &str, bytes: u64) -> Result<(), BackupError> {
        let failed = |doing| move |source| BackupError::io(doing, name, source);
        let (mut crc, mut is_there) = (0, false);
        // An interrupted backup has copied it: it got its name after its bytes were durable.
        if self.to.size(name).is_ok_and(|size| size == bytes) {
            let file = self.to.open(name, Access::Read).map_err(failed("open"))?;
            pieces(&*file, name, 0..bytes, self.pace, &mut |_, piece| {
                crc = crc32c::crc32c_append(crc, piece);
                Ok(())
            })?;
            is_there = self.same_start(name, &*file)?;
        }
        if is_there {
            self.done.files_kept += 1;
        } else {
            let staged = staged_name(name);
            crc = self.copy(name, &staged, bytes, None)?;
            self.to.rename(&staged, name).map_err(failed("rename"))?;
        }
        self.list(name, bytes, crc);
        Ok(())
    }

    fn segment(&mut self, number: u32, bytes: u32) -> Result<(), BackupError> {
        let (name, bytes) = (segment_name(number), u64::from(bytes));
        if self.keep(&name, bytes)? {
            return Ok(());
        }
        let before = self.earlier.and_then(|earlier| earlier.find(&name));
        let before = before.map(|listed| (listed.bytes, listed.crc));
        self.fresh.push(number);
        let crc = self.copy(&name, &staged_name(&name), bytes, before)?;
        self.list(&name, bytes, crc);
        Ok(())
    }

    /// Updates the files of large bodies; where the log is damaged.
    fn large(&mut self, frozen: &Frozen) -> Result<Vec<(Location, Damage)>, BackupError> {
        let mut found = Vec::new();
        for &(number, bytes) in &frozen.large {
            let name = large_name(number);
            let file = self.open(&name)?;
            let earlier = self.earlier.and_then(|earlier| earlier.find(&name));
            if earlier.is_some_and(|earlier| earlier.bytes > bytes) {
                return Err(self.diverged(&name));
            }
            let updated = large::update(&*file, &**self.to, earlier, &name, bytes, self.pace)?;
            if updated.bytes_written == 0 && updated.listed.holes.is_empty() {
                self.done.files_kept += 1;
            } else {
                self.done.files_copied += 1;
            }
            if !updated.listed.holes.is_empty() {
                // Zeros where a body was are an erasure only if no frame names the body.
                let first = frozen.manifest.first;
                self.fresh.extend(first..=frozen.end.file);
            }
            self.done.bytes_copied += updated.bytes_written;
            let at = Location::default();
            found.extend(updated.damaged.map(|_| (at, Damage::LargeBody)));
            self.files.push(updated.listed);
        }
        Ok(found)
    }

    fn manifest(&mut self, manifest: &Manifest) -> Result<(), BackupError> {
        let failed = |doing| move |source| BackupError::io(doing, MANIFEST_NAME, source);
        let bytes = manifest.encode();
        let crc = crc32c::crc32c(&bytes[..bytes.len() - 4]);
        let earlier = self.earlier.and_then(|earlier| earlier.find(MANIFEST_NAME));
        let is_there = earlier
            .filter(|listed| listed.crc == crc && listed.bytes == bytes.len() as u64)
            .map(|listed| place_of(&**self.to, listed));
        if let Some(Some(_)) = is_there.transpose().map_err(failed("read"))? {
            self.done.files_kept += 1;
        } else {
            let staged = staged_name(MANIFEST_NAME);
            let file = self.to.create(&staged).map_err(failed("create"))?;
            write_full(&*file, 0, &bytes).map_err(failed("write"))?;
            file.sync_all().map_err(failed("sync"))?;
            self.done.files_copied += 1;
            self.done.bytes_copied += bytes.len() as u64;
        }
        self.list(MANIFEST_NAME, bytes.len() as u64, crc);
        Ok(())
    }

    /// Takes a file over from the earlier backup, if it is the same.
    fn keep(&mut self, name: &str, bytes: u64) -> Result<bool, BackupError> {
        let earlier = self.earlier.and_then(|earlier| earlier.find(name));
        let Some(listed) = earlier.filter(|listed| listed.bytes >= bytes) else {
            return Ok(false);
        };
        if listed.bytes > bytes {
            return Err(self.diverged(name));
        }
        let failed = |doing| move |source| BackupError::io(doing, name, source);
        match self.to.size(name) {
            Ok(size) if size == bytes => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(failed("measure")(source)),
        }
        let file = self.to.open(name, Access::Read).map_err(failed("open"))?;
        if !self.same_start(name, &*file)? {
            return Err(self.diverged(name));
        }
        self.files.push(listed.clone());
        self.done.files_kept += 1;
        Ok(true)
    }

    /// Whether a file begins as the log's does: the header says which file of which log it is.
    fn same_start(&self, name: &str, copy: &dyn StorageFile) -> Result<bool, BackupError> {
        let failed = |source| BackupError::io("read", name, source);
        let (mut ours, mut theirs) = (
            [0; SEGMENT_HEADER_BYTES as usize],
            [0; SEGMENT_HEADER_BYTES as usize],
        );
        read_full(&*self.open(name)?, 0, &mut ours).map_err(failed)?;
        read_full(copy, 0, &mut theirs).map_err(failed)?;
        Ok(ours == theirs)
    }

    /// Copies the first `bytes` bytes; their checksum. `before`: so many had this one.
    fn copy(
        &mut self,
        name: &str,
        to: &str,
        bytes: u64,
        before: Option<(u64, u32)>,
    ) -> Result<u32, BackupError> {
        let file = self.open(name)?;
        let mut filling = Filling::create(&**self.to, to)?;
        if let Some((bytes, crc)) = before {
            filling.up_to(&*file, name, bytes, self.pace)?;
            if filling.crc != crc {
                return Err(self.diverged(name));
            }
        }
        filling.up_to(&*file, name, bytes, self.pace)?;
        self.done.files_copied += 1;
        self.done.bytes_copied += bytes;
        filling.finish()
    }

    fn list(&mut self, name: &str, bytes: u64, crc: u32) {
        self.files.push(Listed {
            name: name.into(),
            bytes,
            crc,
            holes: Vec::new(),
        });
    }

    /// A file of the log.
    fn open(&self, name: &str) -> Result<Arc<dyn StorageFile>, BackupError> {
        match self.source.open(name, Access::Read) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BackupError::Vanished { name: name.into() })
            }
            Err(source) => Err(BackupError::io("open", name, source)),
        }
    }

    fn diverged(&self, name: &str) -> BackupError {
        BackupError::Diverged {
            place: self.to.place(),
            name: name.into(),
        }
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
                .unwrap_or((copy.durable(), Damage::SegmentShort)),
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

/// Gives the files of a backup their places: the last step, and idempotent.
fn settle(storage: &dyn Storage, catalog: &Catalog) -> Result<(), BackupError> {
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

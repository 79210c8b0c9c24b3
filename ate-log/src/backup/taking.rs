//! Copying what is new, file by file.

use super::{
    BackedUp, BackupError,
    catalog::{Catalog, Listed, staged_name},
    copy::{Filling, pieces},
    destination::Frozen,
    large,
    view::place_of,
};
use crate::{
    error::Damage,
    location::Location,
    maintenance::Pace,
    sealed::{MANIFEST_NAME, Manifest},
    segment::{SEGMENT_HEADER_BYTES, large_name, segment_name},
    storage::{Access, Storage, StorageFile, read_full, write_full},
};
use std::{io, sync::Arc};

/// A backup that is being made.
pub(super) struct Taking<'a> {
    pub(super) to: &'a Arc<dyn Storage>,
    pub(super) earlier: Option<&'a Catalog>,
    pub(super) source: &'a dyn Storage,
    pub(super) files: Vec<Listed>,
    /// Segments, sealed or not, of which there are bytes that were not checked yet.
    pub(super) fresh: Vec<u32>,
    pub(super) done: BackedUp,
    pub(super) pace: &'a mut dyn Pace,
}

impl Taking<'_> {
    pub(super) fn sealed(&mut self, manifest: &Manifest) -> Result<(), BackupError> {
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

    pub(super) fn segment(&mut self, number: u32, bytes: u32) -> Result<(), BackupError> {
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
    pub(super) fn large(
        &mut self,
        frozen: &Frozen,
    ) -> Result<Vec<(Location, Damage)>, BackupError> {
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

    pub(super) fn manifest(&mut self, manifest: &Manifest) -> Result<(), BackupError> {
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

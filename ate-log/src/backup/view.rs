//! A backup as the directory that it stands for.

use super::{
    BackupError,
    catalog::{Catalog, Listed, staged_name},
    copy::read_crc,
};
use crate::{
    sealed::MANIFEST_NAME,
    storage::{Access, LockState, Storage, StorageFile, StorageLock},
};
use std::{io, sync::Arc};

/// The files that a catalog lists, and nothing else, each as the catalog says: where one still
/// waits for its place, where it is longer than that, and where holes are still to be punched.
/// Read only.
#[derive(Debug)]
pub(crate) struct View {
    storage: Arc<dyn Storage>,
    catalog: Catalog,
}

impl View {
    pub(crate) fn new(storage: &Arc<dyn Storage>, catalog: Catalog) -> Self {
        Self {
            storage: Arc::clone(storage),
            catalog,
        }
    }

    /// The backup in a directory.
    ///
    /// # Errors
    /// [`BackupError::NotABackup`], and as [`Catalog::load`].
    pub(crate) fn of(storage: &Arc<dyn Storage>) -> Result<Self, BackupError> {
        let catalog = Catalog::load(&**storage)?.ok_or_else(|| BackupError::NotABackup {
            place: storage.place(),
        })?;
        Ok(Self::new(storage, catalog))
    }

    pub(crate) const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn find(&self, name: &str) -> io::Result<(&Listed, Arc<dyn StorageFile>)> {
        let listed = self.catalog.find(name).ok_or(io::ErrorKind::NotFound)?;
        match place_of(&*self.storage, listed)? {
            Some((_, file)) => Ok((listed, file)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Where a listed file stands, in its place or waiting for it; `None` if nowhere in this length.
///
/// Segments only grow and sealed files never change, so the length tells which of two it is. Of
/// manifests it does not: there the checksum does.
pub(super) fn place_of(
    storage: &dyn Storage,
    listed: &Listed,
) -> io::Result<Option<(String, Arc<dyn StorageFile>)>> {
    let may_be_longer = crate::segment::large_number(&listed.name).is_some();
    let mut fallback = None;
    for name in [listed.name.clone(), staged_name(&listed.name)] {
        let file = match storage.open(&name, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let length = file.length()?;
        if length == listed.bytes || may_be_longer && length > listed.bytes {
            if listed.name == MANIFEST_NAME && read_crc(&*file, listed)? != listed.crc {
                fallback.get_or_insert((name, file));
                continue;
            }
            return Ok(Some((name, file)));
        }
    }
    // A damaged manifest is shown as it is.
    Ok(fallback)
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Storage for View {
    fn place(&self) -> String {
        self.storage.place()
    }

    fn prepare(&self) -> io::Result<()> {
        read_only()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.catalog.files.iter();
        Ok(names.map(|listed| listed.name.clone()).collect())
    }

    fn create(&self, _name: &str) -> io::Result<Arc<dyn StorageFile>> {
        read_only()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        if access != Access::Read {
            return read_only();
        }
        let (listed, file) = self.find(name)?;
        Ok(Arc::new(Shown {
            file,
            listed: listed.clone(),
        }))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.find(name)?.0.bytes)
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        read_only()
    }

    fn sync_dir(&self) -> io::Result<()> {
        read_only()
    }

    fn lock(&self, _name: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        read_only()
    }

    /// Nobody writes to a backup as to a log.
    fn lock_state(&self, _name: &str) -> io::Result<LockState> {
        Ok(LockState::Free)
    }
}

#[derive(Debug)]
struct Shown {
    file: Arc<dyn StorageFile>,
    listed: Listed,
}

impl StorageFile for Shown {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let left = self.listed.bytes.saturating_sub(offset);
        let size = left.min(out.len() as u64) as usize;
        let read = self.file.read_at(offset, &mut out[..size])?;
        self.listed.mask(offset, &mut out[..read]);
        Ok(read)
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<usize> {
        read_only()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.listed.bytes)
    }

    fn truncate(&self, _length: u64) -> io::Result<()> {
        read_only()
    }

    fn allocate(&self, _length: u64) -> io::Result<()> {
        read_only()
    }

    fn punch(&self, _offset: u64, _length: u64) -> io::Result<()> {
        read_only()
    }

    fn sync_data(&self) -> io::Result<()> {
        read_only()
    }

    fn sync_all(&self) -> io::Result<()> {
        read_only()
    }
}

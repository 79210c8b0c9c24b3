//! A directory as it will be when its damaged files are replaced.

use super::NEW;
use crate::storage::{Access, LockState, Storage, StorageFile, StorageLock};
use std::{collections::BTreeSet, io, sync::Arc};

/// Shows the files of another storage, some of them replaced by `repair-NAME`. For reading.
#[derive(Clone, Debug)]
pub(super) struct Overlay {
    storage: Arc<dyn Storage>,
    replaced: BTreeSet<String>,
}

impl Overlay {
    pub(super) fn new(storage: &Arc<dyn Storage>) -> Self {
        Self {
            storage: Arc::clone(storage),
            replaced: BTreeSet::new(),
        }
    }

    pub(super) fn put(&mut self, name: &str) {
        self.replaced.insert(name.into());
    }

    pub(super) fn take_back(&mut self, name: &str) {
        self.replaced.remove(name);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.replaced.contains(name)
    }

    /// The names of the replaced files.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.replaced.iter()
    }

    fn real(&self, name: &str) -> String {
        if self.has(name) {
            format!("{NEW}{name}")
        } else {
            name.into()
        }
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Storage for Overlay {
    fn place(&self) -> String {
        self.storage.place()
    }

    fn prepare(&self) -> io::Result<()> {
        read_only()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.storage.list()?;
        names.retain(|name| !self.has(name));
        names.extend(self.replaced.iter().cloned());
        Ok(names)
    }

    fn create(&self, _name: &str) -> io::Result<Arc<dyn StorageFile>> {
        read_only()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        match access {
            Access::Read => self.storage.open(&self.real(name), access),
            Access::Write => read_only(),
        }
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.storage.size(&self.real(name))
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

    /// Whoever repairs has the lock, so nobody writes.
    fn lock_state(&self, _name: &str) -> io::Result<LockState> {
        Ok(LockState::Free)
    }
}

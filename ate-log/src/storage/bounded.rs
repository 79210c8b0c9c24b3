//! A storage of a size that you choose.

use super::{Access, LockState, Storage, StorageFile, StorageLock};
use parking_lot::Mutex;
use std::{io, sync::Arc};

/// Passes every call on to another storage, as long as the lengths of all its files fit into a number of bytes that you choose.
///
/// What would make a file longer than there is room for fails with [`io::ErrorKind::StorageFull`], a write without having written
/// a part. As on a real disk, bytes that have their space are written over when it is full, and removed files and truncations give
/// theirs back. Names, directory and lock take no space, and a file that was removed takes none, though a handle of it goes on.
#[derive(Clone, Debug)]
pub struct BoundedStorage {
    inner: Arc<dyn Storage>,
    bytes_max: Arc<Mutex<u64>>,
}

impl BoundedStorage {
    /// A storage with room for `bytes_max` bytes.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, bytes_max: u64) -> Self {
        Self {
            inner,
            bytes_max: Arc::new(Mutex::new(bytes_max)),
        }
    }

    /// Makes room, or takes it away: what is there stays.
    pub fn resize(&self, bytes_max: u64) {
        *self.bytes_max.lock() = bytes_max;
    }

    /// The lengths of all files.
    ///
    /// # Errors
    /// The inner storage's.
    pub fn used(&self) -> io::Result<u64> {
        let names = self.inner.list()?;
        names.iter().map(|name| self.inner.size(name)).sum()
    }

    fn wrap(&self, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(BoundedFile {
            inner: file,
            storage: self.clone(),
        })
    }
}

impl Storage for BoundedStorage {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn prepare(&self) -> io::Result<()> {
        self.inner.prepare()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.wrap(self.inner.create(name)?))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.wrap(self.inner.open(name, access)?))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.inner.size(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        self.inner.lock(name)
    }

    fn lock_state(&self, name: &str) -> io::Result<LockState> {
        self.inner.lock_state(name)
    }
}

#[derive(Debug)]
struct BoundedFile {
    inner: Arc<dyn StorageFile>,
    storage: BoundedStorage,
}

impl BoundedFile {
    /// Does what makes the file at least `length` bytes long, if that fits. One at a time, so that two do not share the last room.
    fn growing<T>(&self, length: u64, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let bytes_max = self.storage.bytes_max.lock();
        let more = length.saturating_sub(self.inner.length()?);
        if more > 0 && self.storage.used()? + more > *bytes_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        act()
    }
}

impl StorageFile for BoundedFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.growing(offset + bytes.len() as u64, || {
            self.inner.write_at(offset, bytes)
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.growing(length, || self.inner.truncate(length))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.growing(length, || self.inner.allocate(length))
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.inner.punch(offset, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.inner.sync_all()
    }
}

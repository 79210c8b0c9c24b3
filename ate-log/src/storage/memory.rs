//! A whole directory in memory.

use super::{Access, LockState, Storage, StorageFile, StorageLock};
use parking_lot::{Mutex, RwLock};
use std::{collections::BTreeMap, io, sync::Arc};

/// The files of a directory: names and bytes.
pub type Image = BTreeMap<String, Vec<u8>>;

/// A whole directory in memory; clones share it.
///
/// Nothing is ever lost, so a sync does nothing. [`image`](Self::image) copies the directory
/// and [`from_image`](Self::from_image) makes one from a copy, with or without damage.
#[derive(Clone, Debug, Default)]
pub struct MemStorage {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    files: Mutex<BTreeMap<String, Arc<MemFile>>>,
    locks: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl MemStorage {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A directory with these files, which nobody has locked.
    #[must_use]
    pub fn from_image(image: Image) -> Self {
        let file = |bytes: Vec<u8>| {
            MemFile(RwLock::new(Contents {
                length: bytes.len() as u64,
                bytes,
            }))
        };
        let files = image
            .into_iter()
            .map(|(name, bytes)| (name, Arc::new(file(bytes))))
            .collect();
        Self {
            shared: Arc::new(Shared {
                files: Mutex::new(files),
                locks: Mutex::default(),
            }),
        }
    }

    /// A copy of all files as they are now.
    #[must_use]
    pub fn image(&self) -> Image {
        self.shared
            .files
            .lock()
            .iter()
            .map(|(name, file)| (name.clone(), file.copy()))
            .collect()
    }

    fn find(&self, name: &str) -> io::Result<Arc<MemFile>> {
        self.shared
            .files
            .lock()
            .get(name)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Storage for MemStorage {
    fn place(&self) -> String {
        "memory".into()
    }

    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.shared.files.lock().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = Arc::new(MemFile::default());
        self.shared
            .files
            .lock()
            .insert(name.into(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.find(name)?)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.find(name)?.length()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.shared.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.into(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.shared
            .files
            .lock()
            .remove(name)
            .map(|_| ())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        let mut locks = self.shared.locks.lock();
        if locks.contains_key(name) {
            return Ok(None);
        }
        locks.insert(name.into(), Vec::new());
        Ok(Some(Box::new(MemLock {
            name: name.into(),
            shared: Arc::clone(&self.shared),
        })))
    }

    fn lock_state(&self, name: &str) -> io::Result<LockState> {
        let locks = self.shared.locks.lock();
        Ok(locks
            .get(name)
            .map_or(LockState::Free, |bytes| LockState::Held(bytes.clone())))
    }
}

#[derive(Debug)]
struct MemLock {
    name: String,
    shared: Arc<Shared>,
}

impl StorageLock for MemLock {
    fn publish(&self, bytes: &[u8]) -> io::Result<()> {
        self.shared
            .locks
            .lock()
            .insert(self.name.clone(), bytes.to_vec());
        Ok(())
    }
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.shared.locks.lock().remove(&self.name);
    }
}

#[derive(Debug, Default)]
struct MemFile(RwLock<Contents>);

/// Bytes past `bytes` up to `length` are zero and take no memory.
#[derive(Debug, Default)]
struct Contents {
    bytes: Vec<u8>,
    length: u64,
}

impl MemFile {
    fn copy(&self) -> Vec<u8> {
        let contents = self.0.read();
        let mut bytes = contents.bytes.clone();
        bytes.resize(contents.length as usize, 0);
        bytes
    }
}

impl StorageFile for MemFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let contents = self.0.read();
        let count = contents.length.saturating_sub(offset).min(out.len() as u64) as usize;
        let out = &mut out[..count];
        let stored = contents.bytes.get(offset as usize..).unwrap_or_default();
        let copied = stored.len().min(count);
        out[..copied].copy_from_slice(&stored[..copied]);
        out[copied..].fill(0);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut contents = self.0.write();
        let start = offset as usize;
        let end = start + bytes.len();
        if contents.bytes.len() < start {
            contents.bytes.resize(start, 0);
        }
        let overlap = (contents.bytes.len() - start).min(bytes.len());
        contents.bytes[start..start + overlap].copy_from_slice(&bytes[..overlap]);
        contents.bytes.extend_from_slice(&bytes[overlap..]);
        contents.length = contents.length.max(end as u64);
        Ok(bytes.len())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.read().length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut contents = self.0.write();
        contents.bytes.truncate(length as usize);
        contents.length = length;
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut contents = self.0.write();
        contents.length = contents.length.max(length);
        Ok(())
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut contents = self.0.write();
        let end = ((offset + length) as usize).min(contents.bytes.len());
        if let Some(range) = contents.bytes.get_mut(offset as usize..end) {
            range.fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}

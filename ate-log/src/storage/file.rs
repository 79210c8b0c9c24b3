//! A directory of the operating system.

use super::{
    Access, LockState, PUBLISHED_BYTES_MAX, Storage, StorageFile, StorageLock, platform, read_full,
    write_full,
};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A directory of the operating system.
///
/// The lock is an advisory file lock of the system: it ends with the process, and it does not
/// hold across machines on most network file systems.
#[derive(Debug)]
pub struct FileStorage {
    dir: PathBuf,
}

impl FileStorage {
    /// Names a directory; nothing is touched yet. A writer makes it when it opens the log.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Storage for FileStorage {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn prepare(&self) -> io::Result<()> {
        let missing: Vec<&Path> = self
            .dir
            .ancestors()
            .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
            .collect();
        fs::create_dir_all(&self.dir)?;
        // A directory is durable when its parent is synced.
        for dir in missing {
            match dir.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => platform::sync_dir(parent)?,
                _ => platform::sync_dir(Path::new("."))?,
            }
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // Names of the log are ASCII; whatever else lies there is not the log's.
            if let (true, Ok(name)) = (
                entry.file_type()?.is_file(),
                entry.file_name().into_string(),
            ) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path(name))?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::Write)
            .open(self.path(name))?;
        Ok(Arc::new(OsFile(file)))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name))?.len())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        platform::sync_dir(&self.dir)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(OsLock(OsFile(file))))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_state(&self, name: &str) -> io::Result<LockState> {
        let file = match File::open(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LockState::Free),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => {
                file.unlock()?;
                #[cfg(ate_planted)]
                if crate::planted("believe-the-lock-file") {
                    let mut bytes = vec![0; PUBLISHED_BYTES_MAX];
                    let read = read_full(&OsFile(file), 0, &mut bytes)?;
                    bytes.truncate(read);
                    return Ok(LockState::Held(bytes));
                }
                Ok(LockState::Free)
            }
            Err(TryLockError::WouldBlock) => {
                let mut bytes = vec![0; PUBLISHED_BYTES_MAX];
                let read = read_full(&OsFile(file), 0, &mut bytes)?;
                bytes.truncate(read);
                Ok(LockState::Held(bytes))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[derive(Debug)]
struct OsFile(File);

impl StorageFile for OsFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        platform::read_at(&self.0, offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        platform::write_at(&self.0, offset, bytes)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        if !platform::allocate(&self.0, length)? && self.length()? < length {
            self.0.set_len(length)?;
        }
        Ok(())
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        if platform::punch(&self.0, offset, length)? {
            return Ok(());
        }
        let zeros = vec![0; length.min(1 << 20) as usize];
        let mut at = offset;
        while at < offset + length {
            let piece = (offset + length - at).min(zeros.len() as u64) as usize;
            write_full(self, at, &zeros[..piece])?;
            at += piece as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

#[derive(Debug)]
struct OsLock(OsFile);

impl StorageLock for OsLock {
    fn publish(&self, bytes: &[u8]) -> io::Result<()> {
        write_full(&self.0, 0, bytes)
    }
}

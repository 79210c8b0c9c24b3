//! What lies beneath a [`FileLog`](crate::FileLog): a flat directory of files.

use std::{fmt, io, sync::Arc};

mod bounded;
mod faulty;
mod file;
mod lossy;
mod memory;
mod platform;

pub use bounded::BoundedStorage;
pub use faulty::{Fault, FaultyStorage};
pub use file::FileStorage;
pub use lossy::{Loss, LossyStorage};
pub use memory::{Image, MemStorage};
pub use platform::{private_file, sync_directory};

/// A flat directory of named files.
///
/// Duties of an implementation:
/// - A name is durable only after [`sync_dir`](Self::sync_dir), bytes only after a sync of
///   their file. Until then a crash may leave the old state, the new one, or a mixture in
///   which each aligned 512-byte sector is as it was after *some* of the writes, in order.
/// - Bytes of a file that were never written read as zero.
/// - Errors are reported once and truly; whoever gets one from a sync must assume the worst.
pub trait Storage: Send + Sync + fmt::Debug {
    /// What to call this place in messages: a path.
    fn place(&self) -> String;

    /// Makes the directory if it is not there. Called once, by a writer.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotADirectory`] or [`io::ErrorKind::AlreadyExists`] if it is a file.
    fn prepare(&self) -> io::Result<()>;

    /// The names of all files, in any order.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no directory.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file, in place of one that may be there, for reading and writing.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it is not.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>>;

    /// Length of a file in bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it is not there.
    fn size(&self, name: &str) -> io::Result<u64>;

    /// Renames atomically, in place of a file that may be there.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Open handles of it go on.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it is not there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// What the system says; which names are durable is unknown then.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the exclusive lock on file `name`, made if need be; `None` if it is held. Does
    /// not wait. Dropping the guard gives it back, and so does the end of the process.
    ///
    /// # Errors
    /// What the system says.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn StorageLock>>>;

    /// Whether the lock on `name` is held, and what its holder has published. Makes no file.
    /// May take a shared lock for a moment, so [`lock`](Self::lock) may fail meanwhile.
    ///
    /// # Errors
    /// What the system says; a missing file is [`LockState::Free`].
    fn lock_state(&self, name: &str) -> io::Result<LockState>;
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Access {
    /// For reading.
    Read,
    /// For reading and writing.
    Write,
}

/// One open file. Positions are explicit, so handles are shared between threads.
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// Reads up to `out.len()` bytes; 0 means the end of the file, or a place behind it.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Writes up to `bytes.len()` bytes, extending the file if need be.
    ///
    /// # Errors
    /// What the system says; a part may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn length(&self) -> io::Result<u64>;

    /// Makes the file `length` bytes long; what is new reads as zero.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes sure that the first `length` bytes have space on the disk, and that the file is
    /// at least that long. Falls back to the length alone where the system cannot reserve.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if there is no such space.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Gives the space of a range back; it reads as zero from now on. Writes zeros where the
    /// system cannot give space back.
    ///
    /// # Errors
    /// What the system says.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Makes bytes and length durable.
    ///
    /// # Errors
    /// What was not durable before may now be lost for good, even if a later sync succeeds.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes bytes, length and all metadata durable.
    ///
    /// # Errors
    /// As [`sync_data`](Self::sync_data).
    fn sync_all(&self) -> io::Result<()>;
}

/// A held lock.
pub trait StorageLock: Send + Sync + fmt::Debug {
    /// Puts `bytes`, at most 256, where others see them in [`Storage::lock_state`]; a longer publication's rest may
    /// follow them. Not durable, need not be.
    ///
    /// # Errors
    /// What the system says.
    fn publish(&self, bytes: &[u8]) -> io::Result<()>;
}

/// What [`Storage::lock_state`] finds.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LockState {
    /// Nobody holds the lock.
    Free,
    /// Somebody does, and has published these bytes; an earlier holder's if it has not yet.
    Held(Vec<u8>),
}

/// The most bytes that a lock holder may publish.
pub(crate) const PUBLISHED_BYTES_MAX: usize = 256;

/// Reads until `out` is full or the file ends; returns how much.
pub(crate) fn read_full(
    file: &dyn StorageFile,
    mut offset: u64,
    out: &mut [u8],
) -> io::Result<usize> {
    let mut done = 0;
    while done < out.len() {
        match file.read_at(offset, &mut out[done..]) {
            Ok(0) => break,
            Ok(read) => {
                done += read;
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of `bytes`.
pub(crate) fn write_full(
    file: &dyn StorageFile,
    mut offset: u64,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

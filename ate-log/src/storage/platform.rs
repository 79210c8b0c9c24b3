//! The one file that differs between operating systems.
//!
//! std has positioned I/O under two names and no call that reserves or returns space. On
//! systems other than Linux `allocate` sets the length and `punch` writes zeros; on Windows a
//! directory cannot be synced, and a locked file cannot be read by others, so a live reader
//! there sees nothing new until the writer closes.

use std::{fs::File, io, path::Path};

#[cfg(unix)]
pub(super) fn read_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, out, offset)
}

#[cfg(unix)]
pub(super) fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
pub(super) fn read_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, out, offset)
}

#[cfg(windows)]
pub(super) fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

/// Makes a file that is created with these options readable and writable by its owner alone, where the system knows owners.
#[cfg(unix)]
pub fn private_file(options: &mut std::fs::OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

/// Makes a file that is created with these options readable and writable by its owner alone, where the system knows owners.
#[cfg(not(unix))]
pub fn private_file(_options: &mut std::fs::OpenOptions) {}

/// Makes creations, renames and removals in a directory durable, where the system needs to be asked.
///
/// # Errors
/// What the system says.
pub fn sync_directory(dir: &Path) -> io::Result<()> {
    sync_dir(dir)
}

#[cfg(unix)]
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
pub(super) fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

/// Reserves space for the first `length` bytes; `false` if this system or file system cannot.
#[cfg(target_os = "linux")]
pub(super) fn allocate(file: &File, length: u64) -> io::Result<bool> {
    use rustix::{fs::FallocateFlags, io::Errno};
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn allocate(_file: &File, _length: u64) -> io::Result<bool> {
    Ok(false)
}

/// Gives space back; `false` if this system or file system cannot.
#[cfg(target_os = "linux")]
pub(super) fn punch(file: &File, offset: u64, length: u64) -> io::Result<bool> {
    use rustix::{fs::FallocateFlags, io::Errno};
    match rustix::fs::fallocate(
        file,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        offset,
        length,
    ) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn punch(_file: &File, _offset: u64, _length: u64) -> io::Result<bool> {
    Ok(false)
}

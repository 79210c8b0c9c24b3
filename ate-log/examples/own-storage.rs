//! A storage of your own below the log: a mirror that keeps every file in two places, so that one of them may be lost.
//!
//! `cargo run -p ate-log --example own-storage`; what a storage owes is in docs/swap.md.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use ate_log::{
    Access, Entry, FileLog, FileStorage, FrameKind, LockState, Log, LogOptions, MemStorage, Scan,
    Storage, StorageFile, StorageLock, StreamId, conformance::check_storage,
};
use std::{error::Error, io, ops::ControlFlow, sync::Arc};

/// Every change goes to both sides, the first side first; reads ask the second only if the first fails.
///
/// A change counts only if both sides did it: an error of either is the mirror's, and the log stops writing. So each side alone
/// keeps the promises of a storage.
#[derive(Debug)]
struct Mirror(Arc<dyn Storage>, Arc<dyn Storage>);

impl Mirror {
    /// Makes the second side a copy of the first: a crash, or a time without one side, may have left them different.
    fn new(first: impl Storage + 'static, second: impl Storage + 'static) -> io::Result<Self> {
        first.prepare()?;
        second.prepare()?;
        for name in second.list()? {
            second.remove(&name)?;
        }
        for name in first.list()? {
            let (from, to) = (first.open(&name, Access::Read)?, second.create(&name)?);
            let (mut buffer, mut at) = (vec![0; 1 << 20], 0);
            loop {
                match from.read_at(at, &mut buffer)? {
                    0 => break,
                    read => at += to.write_at(at, &buffer[..read])? as u64,
                }
            }
            to.sync_all()?;
        }
        second.sync_dir()?;
        Ok(Self(Arc::new(first), Arc::new(second)))
    }
}

#[rustfmt::skip]
impl Storage for Mirror {
    fn place(&self) -> String { format!("{} and {}", self.0.place(), self.1.place()) }
    fn prepare(&self) -> io::Result<()> { self.0.prepare()?; self.1.prepare() }
    fn list(&self) -> io::Result<Vec<String>> { self.0.list().or_else(|_| self.1.list()) }
    fn size(&self, name: &str) -> io::Result<u64> { self.0.size(name) }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> { self.0.rename(from, to)?; self.1.rename(from, to) }
    fn remove(&self, name: &str) -> io::Result<()> { self.0.remove(name)?; self.1.remove(name) }
    fn sync_dir(&self) -> io::Result<()> { self.0.sync_dir()?; self.1.sync_dir() }
    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(Both(self.0.create(name)?, self.1.create(name)?)))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(Both(self.0.open(name, access)?, self.1.open(name, access)?)))
    }
    // One lock is enough to keep a second writer out.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn StorageLock>>> { self.0.lock(name) }
    fn lock_state(&self, name: &str) -> io::Result<LockState> { self.0.lock_state(name) }
}

/// One file on both sides.
#[derive(Debug)]
struct Both(Arc<dyn StorageFile>, Arc<dyn StorageFile>);

#[rustfmt::skip]
impl StorageFile for Both {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, out).or_else(|_| self.1.read_at(offset, out))
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        // What only one side wrote will be asked for again, and written again as it is.
        Ok(self.0.write_at(offset, bytes)?.min(self.1.write_at(offset, bytes)?))
    }
    fn length(&self) -> io::Result<u64> { self.0.length() }
    fn truncate(&self, length: u64) -> io::Result<()> { self.0.truncate(length)?; self.1.truncate(length) }
    fn allocate(&self, length: u64) -> io::Result<()> { self.0.allocate(length)?; self.1.allocate(length) }
    fn punch(&self, offset: u64, length: u64) -> io::Result<()> { self.0.punch(offset, length)?; self.1.punch(offset, length) }
    fn sync_data(&self) -> io::Result<()> { self.0.sync_data()?; self.1.sync_data() }
    fn sync_all(&self) -> io::Result<()> { self.0.sync_all()?; self.1.sync_all() }
}

fn count(log: &FileLog) -> Result<u64, Box<dyn Error>> {
    let mut frames = 0;
    log.scan(Scan::from(log.start()), &mut |_| {
        frames += 1;
        ControlFlow::Continue(())
    })?;
    Ok(frames)
}

fn main() -> Result<(), Box<dyn Error>> {
    check_storage(&Mirror::new(MemStorage::new(), MemStorage::new())?);
    println!("the mirror passes the checks of a storage");

    let mirror = Mirror::new(FileStorage::new("left"), FileStorage::new("right"))?;
    let log = FileLog::open(Arc::new(mirror), LogOptions::new(*b"an example's log"))?;
    let entry = Entry {
        kind: FrameKind::Commit,
        head_parts: 1,
        stream: StreamId([1; 32]),
        number: count(&log)?,
        parts: &[b"kept twice"],
    };
    log.append(&[entry], &mut Vec::new())?;
    log.sync()?;
    let written = count(&log)?;
    drop(log);

    let right = FileLog::open_reader(Arc::new(FileStorage::new("right")))?;
    assert_eq!(count(&right)?, written, "each side is whole");
    println!("{written} frames in `left`, and as many in `right` alone");
    Ok(())
}

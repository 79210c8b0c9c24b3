//! A storage that fails at the call you name.

use super::{Access, LockState, Storage, StorageFile, StorageLock};
use parking_lot::Mutex;
use std::{io, sync::Arc};

/// What the chosen call does instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// ENOSPC, and nothing happens.
    NoSpace,
    /// EIO, and nothing happens.
    Io,
    /// EROFS, and nothing happens.
    ReadOnly,
    /// A write writes up to a sector's border near its half and then fails with ENOSPC, as
    /// systems write blocks; other calls fail with EIO.
    ShortWrite,
    /// A write writes half of its bytes, wherever that ends, and then fails with EIO; other
    /// calls fail with EIO. No system does that within a sector and then lives on without a
    /// chance to take it back, so [`Fault::ALL`] is without it.
    HalfWrite,
}

impl Fault {
    /// The faults that systems show, for loops.
    pub const ALL: [Self; 4] = [Self::NoSpace, Self::Io, Self::ReadOnly, Self::ShortWrite];

    fn error(self) -> io::Error {
        match self {
            Self::NoSpace => io::ErrorKind::StorageFull.into(),
            Self::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
            Self::Io | Self::ShortWrite | Self::HalfWrite => io::Error::other("injected fault"),
        }
    }
}

/// Passes every call on to another storage, counts them from 1, and fails the one you name.
///
/// Every call of [`Storage`] and of its files and locks counts, reads too, except
/// [`Storage::place`].
#[derive(Clone, Debug)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    plan: Arc<Plan>,
}

#[derive(Debug, Default)]
struct Plan(Mutex<PlanState>);

#[derive(Debug, Default)]
struct PlanState {
    calls: u64,
    fault: Option<(u64, Fault, Lasting)>,
    fired: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lasting {
    Once,
    Forever,
}

impl FaultyStorage {
    /// A storage that fails at no call yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            plan: Arc::default(),
        }
    }

    /// Call number `call` from the beginning fails, those after it work again.
    pub fn fail_once(&self, call: u64, fault: Fault) {
        self.plan.0.lock().fault = Some((call, fault, Lasting::Once));
    }

    /// Call number `call` from the beginning fails and so does every later one.
    pub fn fail_from(&self, call: u64, fault: Fault) {
        self.plan.0.lock().fault = Some((call, fault, Lasting::Forever));
    }

    /// No further call fails.
    pub fn heal(&self) {
        self.plan.0.lock().fault = None;
    }

    /// How many calls there have been.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.plan.0.lock().calls
    }

    /// Whether a call has been failed.
    #[must_use]
    pub fn fired(&self) -> bool {
        self.plan.0.lock().fired
    }

    fn wrap(&self, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(FaultyFile {
            inner: file,
            plan: Arc::clone(&self.plan),
        })
    }
}

impl Plan {
    /// Counts a call; `Some` if it is to fail.
    fn count(&self) -> Option<Fault> {
        let mut state = self.0.lock();
        state.calls += 1;
        let fault = match state.fault {
            Some((call, fault, Lasting::Once)) if call == state.calls => Some(fault),
            Some((call, fault, Lasting::Forever)) if call <= state.calls => Some(fault),
            _ => None,
        };
        state.fired |= fault.is_some();
        fault
    }

    fn step(&self) -> io::Result<()> {
        self.count().map_or(Ok(()), |fault| Err(fault.error()))
    }
}

impl Storage for FaultyStorage {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn prepare(&self) -> io::Result<()> {
        self.plan.step()?;
        self.inner.prepare()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.plan.step()?;
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.plan.step()?;
        Ok(self.wrap(self.inner.create(name)?))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        self.plan.step()?;
        Ok(self.wrap(self.inner.open(name, access)?))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.plan.step()?;
        self.inner.size(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.plan.step()?;
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.plan.step()?;
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.plan.step()?;
        self.inner.sync_dir()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        self.plan.step()?;
        let lock = self.inner.lock(name)?;
        Ok(lock.map(|inner| {
            Box::new(FaultyLock {
                inner,
                plan: Arc::clone(&self.plan),
            }) as Box<dyn StorageLock>
        }))
    }

    fn lock_state(&self, name: &str) -> io::Result<LockState> {
        self.plan.step()?;
        self.inner.lock_state(name)
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn StorageFile>,
    plan: Arc<Plan>,
}

impl StorageFile for FaultyFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.plan.step()?;
        self.inner.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        match self.plan.count() {
            Some(Fault::ShortWrite) => {
                let half = (offset + bytes.len() as u64 / 2) / 512 * 512;
                self.inner
                    .write_at(offset, &bytes[..half.saturating_sub(offset) as usize])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Some(Fault::HalfWrite) => {
                self.inner.write_at(offset, &bytes[..bytes.len() / 2])?;
                Err(Fault::HalfWrite.error())
            }
            Some(fault) => Err(fault.error()),
            None => self.inner.write_at(offset, bytes),
        }
    }

    fn length(&self) -> io::Result<u64> {
        self.plan.step()?;
        self.inner.length()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.plan.step()?;
        self.inner.truncate(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.plan.step()?;
        self.inner.allocate(length)
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.plan.step()?;
        self.inner.punch(offset, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.plan.step()?;
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.plan.step()?;
        self.inner.sync_all()
    }
}

#[derive(Debug)]
struct FaultyLock {
    inner: Box<dyn StorageLock>,
    plan: Arc<Plan>,
}

impl StorageLock for FaultyLock {
    fn publish(&self, bytes: &[u8]) -> io::Result<()> {
        self.plan.step()?;
        self.inner.publish(bytes)
    }
}

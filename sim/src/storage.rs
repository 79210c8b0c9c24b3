//! The disk of a simulation, as one process sees it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ate::log::{
    Access, Fault, FaultyStorage, Image, LockState, Loss, LossyStorage, Storage, StorageFile,
    StorageLock,
};
use parking_lot::Mutex;

mod file;
mod trace;

use file::{SimFile, SimLock};
use trace::{Call, Trace};

/// A disk that loses what is not synced ([`LossyStorage`], the one model of a disk in this repository), fails calls ([`FaultyStorage`]), has a size, and
/// remembers in a hash everything that was asked of it. Clones are handles of one process; [`process`](Self::process) makes a handle of another.
///
/// Nothing in here is random by itself: which call fails, what a cut leaves and which bit turns is told from outside.
#[derive(Clone, Debug)]
pub struct SimStorage {
    disk: LossyStorage,
    faults: FaultyStorage,
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
    is_alive: Arc<AtomicBool>,
}

/// What all processes and all lives of a machine have in common.
#[derive(Debug, Default)]
struct Shared {
    trace: Mutex<Trace>,
    capacity: Mutex<Option<u64>>,
}

/// What is in store for one process, and what has hit it.
#[derive(Debug, Default)]
struct State {
    was_full: bool,
    /// The sync after so many others fails; 0 is the next one.
    fail_sync_after: Option<u64>,
    has_failed_sync: bool,
    /// In the read after so many others a bit turns.
    flip_read_after: Option<(u64, u64)>,
    has_flipped: bool,
}

impl Default for SimStorage {
    fn default() -> Self {
        Self::of(LossyStorage::new(), Arc::default())
    }
}

impl SimStorage {
    /// An empty disk without limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk with these files, all durable.
    #[must_use]
    pub fn from_image(image: Image) -> Self {
        Self::of(LossyStorage::from_image(image), Arc::default())
    }

    fn of(disk: LossyStorage, shared: Arc<Shared>) -> Self {
        Self {
            faults: FaultyStorage::new(Arc::new(disk.clone())),
            disk,
            shared,
            state: Arc::default(),
            is_alive: Arc::new(AtomicBool::new(true)),
        }
    }

    /// The same disk for another process: what fails for one need not fail for the other.
    #[must_use]
    pub fn process(&self) -> Self {
        Self::of(self.disk.clone(), self.shared.clone())
    }

    /// The machine after it was switched on again, if the power was lost at this moment. Size and trace go on.
    #[must_use]
    pub fn after_cut(&self, loss: Loss) -> Self {
        let image = self.disk.image_after_cut(loss);
        let storage = Self::of(LossyStorage::from_image(image), self.shared.clone());
        storage.heal();
        storage
    }

    /// The process ends without a word: every later call through its handles fails, and what it wrote stays in the system's cache.
    pub fn kill(&self) {
        self.is_alive.store(false, Ordering::Release);
    }

    /// The disk below, for what concerns all processes.
    #[must_use]
    pub const fn disk(&self) -> &LossyStorage {
        &self.disk
    }

    /// All files as programs see them now.
    #[must_use]
    pub fn image(&self) -> Image {
        self.disk.image()
    }

    /// The power goes instead of the changing call after `calls` others.
    pub fn cut_after(&self, calls: u64) {
        self.disk.cut_at(self.disk.calls() + 1 + calls);
    }

    /// The call of this process after `calls` others fails.
    pub fn fail_once_after(&self, calls: u64, fault: Fault) {
        self.faults
            .fail_once(self.faults.calls() + 1 + calls, fault);
    }

    /// The call of this process after `calls` others fails, and so does every later one.
    pub fn fail_from_after(&self, calls: u64, fault: Fault) {
        self.faults
            .fail_from(self.faults.calls() + 1 + calls, fault);
    }

    /// The sync of a file or of the directory after `syncs` others fails, and the system forgets what it should have made durable: it reads on, and no later
    /// sync makes it durable unless it is written again.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.state.lock().fail_sync_after = Some(syncs);
    }

    /// In the bytes of the read after `reads` others one bit turns, which `choice` chooses. The disk keeps it right.
    pub fn flip_read_after(&self, reads: u64, choice: u64) {
        self.state.lock().flip_read_after = Some((reads, choice));
    }

    /// So many bytes have room from now on; `None`: any number. Files that are there stay.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        *self.shared.capacity.lock() = bytes;
    }

    /// No further call fails, the power stays if it is not gone, and there is room.
    pub fn heal(&self) {
        self.disk.cut_at(u64::MAX);
        self.faults.heal();
        *self.shared.capacity.lock() = None;
        *self.state.lock() = State::default();
    }

    /// Whether something was done to this process that it may complain of, since the disk was [healed](Self::heal) last.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let state = self.state.lock();
        self.faults.fired() || state.was_full || state.has_failed_sync || state.has_flipped
    }

    /// Whether a bit was turned in what was read, since the disk was healed last.
    #[must_use]
    pub fn has_flipped(&self) -> bool {
        self.state.lock().has_flipped
    }

    /// A number for everything that was asked of this disk and of what became of it, and for what it answered.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.shared.trace.lock().hash()
    }

    /// The last calls, one a line.
    #[must_use]
    pub fn last_calls(&self) -> Vec<String> {
        self.shared.trace.lock().last()
    }

    fn wrap(&self, name: &str, inner: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(SimFile {
            name: name.to_owned(),
            inner,
            storage: self.clone(),
        })
    }

    /// Answers a call and takes it into the trace.
    fn call<T>(&self, call: &Call<'_>, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let answer = if self.is_alive.load(Ordering::Acquire) {
            run()
        } else {
            Err(io::Error::other("the process is gone"))
        };
        self.shared.trace.lock().take(call, &answer);
        answer
    }

    fn named<T>(
        &self,
        what: &'static str,
        name: &str,
        run: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let call = Call {
            what,
            name,
            offset: 0,
            length: 0,
            bytes: &[],
        };
        self.call(&call, run)
    }

    fn is_limited(&self) -> bool {
        self.shared.capacity.lock().is_some()
    }

    /// How many of `growth` more bytes have room.
    fn room_for(&self, growth: u64) -> u64 {
        let Some(capacity) = *self.shared.capacity.lock() else {
            return growth;
        };
        let room = capacity.saturating_sub(self.disk.bytes()).min(growth);
        self.state.lock().was_full |= room < growth;
        room
    }

    /// Whether this sync is the one that fails; the disk below then does what a system does.
    fn is_failing_sync(&self) -> bool {
        let mut state = self.state.lock();
        match state.fail_sync_after {
            Some(0) => {
                state.fail_sync_after = None;
                state.has_failed_sync = true;
                self.disk.fail_sync_at(self.disk.calls() + 1);
                true
            }
            Some(syncs) => {
                state.fail_sync_after = Some(syncs - 1);
                false
            }
            None => false,
        }
    }

    /// Turns a bit in what was read, if it is time.
    fn flip(&self, read: &mut [u8]) {
        let mut state = self.state.lock();
        match state.flip_read_after {
            Some((0, choice)) if !read.is_empty() => {
                state.flip_read_after = None;
                state.has_flipped = true;
                let bit = choice % (read.len() as u64 * 8);
                read[bit as usize / 8] ^= 1 << (bit % 8);
            }
            Some((reads, choice)) => {
                state.flip_read_after = Some((reads.saturating_sub(1), choice));
            }
            None => {}
        }
    }
}

impl Storage for SimStorage {
    fn place(&self) -> String {
        "the simulated disk".into()
    }

    fn prepare(&self) -> io::Result<()> {
        self.named("prepare", "", || self.faults.prepare())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.named("list", "", || self.faults.list())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.named("create", name, || self.faults.create(name))?;
        Ok(self.wrap(name, file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.named("open", name, || self.faults.open(name, access))?;
        Ok(self.wrap(name, file))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.named("size", name, || self.faults.size(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let call = Call {
            what: "rename",
            name: from,
            offset: 0,
            length: 0,
            bytes: to.as_bytes(),
        };
        self.call(&call, || self.faults.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.named("remove", name, || self.faults.remove(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.named("sync the directory", "", || {
            self.is_failing_sync();
            self.faults.sync_dir()
        })
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        let lock = self.named("lock", name, || self.faults.lock(name))?;
        let wrap = |inner| {
            Box::new(SimLock {
                name: name.to_owned(),
                inner,
                storage: self.clone(),
            }) as Box<dyn StorageLock>
        };
        Ok(lock.map(wrap))
    }

    fn lock_state(&self, name: &str) -> io::Result<LockState> {
        self.named("look at the lock", name, || self.faults.lock_state(name))
    }
}

#[cfg(test)]
mod tests;

//! A storage that forgets what was not synced.

use super::{Access, Image, LockState, Storage, StorageFile, StorageLock};
use parking_lot::Mutex;
use std::{collections::BTreeMap, io, sync::Arc};

mod model;

pub use model::Loss;
use model::{Change, Inode, NameChange, Random};

/// A directory in memory that keeps two images: what a program sees, and what is durable.
/// Clones share it.
///
/// Calls that change anything (writes, lengths, names, syncs, the lock) count from 1. After
/// the [cut](Self::cut_at) every call fails; [`image_after_cut`](Self::image_after_cut) then
/// gives what a restarted machine finds. Model: a sync of a file makes its bytes and length
/// durable, a sync of the directory its names; sectors of 512 bytes are written whole or not
/// at all, in any order between files and sectors, and one sector never shows a later write
/// without the earlier ones. Names come in the order of the calls, or each for itself.
#[derive(Clone, Debug, Default)]
pub struct LossyStorage {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    names_durable: BTreeMap<String, usize>,
    names_pending: Vec<NameChange>,
    locks: BTreeMap<String, Vec<u8>>,
    calls: u64,
    cut_at: Option<u64>,
    cut: bool,
    fail_sync_at: Option<u64>,
}

impl LossyStorage {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A directory with these files, all durable.
    #[must_use]
    pub fn from_image(image: Image) -> Self {
        let mut state = State::default();
        for (name, bytes) in image {
            state.names.insert(name, state.inodes.len());
            state.inodes.push(Inode {
                live: bytes.clone(),
                durable: bytes,
                pending: Vec::new(),
            });
        }
        state.names_durable.clone_from(&state.names);
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The power is cut instead of changing call number `call`, counted from the beginning.
    pub fn cut_at(&self, call: u64) {
        self.state.lock().cut_at = Some(call);
    }

    /// If call number `call` is a sync, it fails, once. What it should have made durable reads
    /// on, but no later sync makes it durable unless it is written again: so Linux does it.
    pub fn fail_sync_at(&self, call: u64) {
        self.state.lock().fail_sync_at = Some(call);
    }

    /// Whether the power is cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.state.lock().cut
    }

    /// How many changing calls there have been.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// The sum of the lengths of all files that have a name.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let state = self.state.lock();
        let length = |inode: &usize| state.inodes[*inode].live.len() as u64;
        state.names.values().map(length).sum()
    }

    /// A copy of all files as programs see them now; after a failed sync that is more than any cut leaves.
    #[must_use]
    pub fn image(&self) -> Image {
        let state = self.state.lock();
        let copy =
            |(name, inode): (&String, &usize)| (name.clone(), state.inodes[*inode].live.clone());
        state.names.iter().map(copy).collect()
    }

    /// What a machine finds that starts now, if the power was lost at this moment.
    #[must_use]
    pub fn image_after_cut(&self, loss: Loss) -> Image {
        let state = self.state.lock();
        let mut random = Random(match loss {
            Loss::Random { seed } => seed,
            _ => 0,
        });
        loss.names_after(&state.names_durable, &state.names_pending, &mut random)
            .into_iter()
            .map(|(name, inode)| (name, state.inodes[inode].after(loss, &mut random)))
            .collect()
    }

    fn step(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        if !state.cut {
            state.calls += 1;
            state.cut = state.cut_at == Some(state.calls);
        }
        if state.cut {
            Err(power_cut())
        } else {
            Ok(state)
        }
    }

    fn look(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.cut {
            Err(power_cut())
        } else {
            Ok(state)
        }
    }

    fn file(&self, inode: usize) -> Arc<dyn StorageFile> {
        Arc::new(LossyFile {
            storage: self.clone(),
            inode,
        })
    }
}

fn failed_sync() -> io::Error {
    io::Error::other("the sync failed")
}

fn power_cut() -> io::Error {
    io::Error::other("the power is cut")
}

impl Storage for LossyStorage {
    fn place(&self) -> String {
        "memory".into()
    }

    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.look()?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let mut state = self.step()?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(name.into(), inode);
        state
            .names_pending
            .push(NameChange::Link(name.into(), inode));
        Ok(self.file(inode))
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let inode = *self
            .look()?
            .names
            .get(name)
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(inode))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        let state = self.look()?;
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.inodes[inode].live.len() as u64)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.step()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = NameChange::Rename(from.into(), to.into());
        change.apply(&mut state.names);
        state.names_pending.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.step()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.names_pending.push(NameChange::Remove(name.into()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.step()?;
        if state.fail_sync_at == Some(state.calls) {
            return Err(failed_sync());
        }
        state.names_durable = state.names.clone();
        state.names_pending.clear();
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        let mut state = self.step()?;
        if state.locks.contains_key(name) {
            return Ok(None);
        }
        state.locks.insert(name.into(), Vec::new());
        Ok(Some(Box::new(LossyLock {
            storage: self.clone(),
            name: name.into(),
        })))
    }

    fn lock_state(&self, name: &str) -> io::Result<LockState> {
        let state = self.look()?;
        Ok(state
            .locks
            .get(name)
            .map_or(LockState::Free, |bytes| LockState::Held(bytes.clone())))
    }
}

#[derive(Debug)]
struct LossyFile {
    storage: LossyStorage,
    inode: usize,
}

impl LossyFile {
    fn change(&self, change: Change) -> io::Result<()> {
        self.storage.step()?.inodes[self.inode].change(change);
        Ok(())
    }
}

impl StorageFile for LossyFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let state = self.storage.look()?;
        let bytes = state.inodes[self.inode]
            .live
            .get(offset as usize..)
            .unwrap_or_default();
        let count = bytes.len().min(out.len());
        out[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            self.change(Change::Write {
                offset,
                bytes: bytes.to_vec(),
            })?;
        }
        Ok(bytes.len())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.storage.look()?.inodes[self.inode].live.len() as u64)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.change(Change::Length(length))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        if self.length()? < length {
            self.change(Change::Length(length))?;
        }
        Ok(())
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let length = length.min(self.length()?.saturating_sub(offset));
        self.change(Change::Zero { offset, length })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.storage.step()?;
        if state.fail_sync_at == Some(state.calls) {
            state.inodes[self.inode].forget();
            return Err(failed_sync());
        }
        state.inodes[self.inode].sync();
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[derive(Debug)]
struct LossyLock {
    storage: LossyStorage,
    name: String,
}

impl StorageLock for LossyLock {
    fn publish(&self, bytes: &[u8]) -> io::Result<()> {
        self.storage
            .step()?
            .locks
            .insert(self.name.clone(), bytes.to_vec());
        Ok(())
    }
}

impl Drop for LossyLock {
    fn drop(&mut self) {
        self.storage.state.lock().locks.remove(&self.name);
    }
}

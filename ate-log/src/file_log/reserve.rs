//! Space that is kept for the moment when the disk is full.
//!
//! A log that was cut off by a crash needs a new segment before it can be opened, and a full disk is what often comes before the
//! crash. So a writer keeps a file whose only worth is that it can be removed. Appends never do: they fail while it is still there.

use super::{FileLog, RESERVE_FILE};
use std::{io, sync::atomic::Ordering};

/// Less than this is not worth a file.
const RESERVE_BYTES_MIN: u32 = 64 << 10;

impl FileLog {
    /// Sees to it that there is a reserve, if there is room for all or a half or a quarter of it and so on. That there is none is no error.
    pub(super) fn keep_reserve(&self) {
        if self.options.reserve_bytes == 0 || self.has_reserve.load(Ordering::Acquire) {
            return;
        }
        // A failed sync of the directory is told once: it must not be a snapshot's that is told here. The next segment tries again.
        let Some(_turn) = self.snapshot_turn.try_lock() else {
            return;
        };
        if self.storage.size(RESERVE_FILE).is_ok_and(|bytes| bytes > 0) {
            self.has_reserve.store(true, Ordering::Release);
            return;
        }
        let mut bytes = self.options.reserve_bytes;
        loop {
            match self.make_reserve(bytes) {
                Ok(()) => return self.has_reserve.store(true, Ordering::Release),
                Err(error) => {
                    // One without space would be a false hope.
                    drop(self.storage.remove(RESERVE_FILE));
                    bytes /= 2;
                    if !is_full(&error) || bytes < RESERVE_BYTES_MIN {
                        return;
                    }
                }
            }
        }
    }

    /// Durable before it is counted on: what a crash takes away is taken by whoever fills the disk.
    fn make_reserve(&self, bytes: u32) -> io::Result<()> {
        let file = self.storage.create(RESERVE_FILE)?;
        file.allocate(u64::from(bytes))?;
        file.sync_all()?;
        self.storage.sync_dir()
    }

    /// Gives the reserve up, so that its space can be used; `false` if there is none.
    pub(super) fn give_up_reserve(&self) -> bool {
        self.has_reserve.store(false, Ordering::Release);
        // Some file systems give space back only once the removal is durable.
        self.storage.remove(RESERVE_FILE).is_ok() && self.storage.sync_dir().is_ok()
    }

    /// A closed log needs no reserve. The removal need not be durable: a reserve that comes back is found at the next opening.
    pub(super) fn return_reserve(&self) {
        if self.has_reserve.swap(false, Ordering::AcqRel) {
            drop(self.storage.remove(RESERVE_FILE));
        }
    }
}

/// Whether an error says that there is no space.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

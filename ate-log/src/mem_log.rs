//! [`MemLog`]: the same log without a disk.

use crate::{
    error::{AppendError, Damage, OpenError, ReadError},
    file_log::{FileLog, LogOptions},
    frame::{Entry, Frame, OwnedFrame, Placed},
    location::{Cursor, Location},
    log::{Log, Scan},
    maintenance::{Least, Pace, Reclaimed, Scrubbed, Span},
    storage::MemStorage,
};
use std::{ops::ControlFlow, sync::Arc};

/// A [`Log`] in memory, gone with its last handle.
///
/// It is a [`FileLog`] over [`MemStorage`], so frames, checks, limits and places are the same;
/// a sync is instant and promises nothing beyond the life of the process.
#[derive(Debug)]
pub struct MemLog {
    log: FileLog,
}

impl MemLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::open(&MemStorage::new())
            .expect("an empty directory in memory has no reason to refuse")
    }

    /// Opens the log in a directory in memory, or makes it there.
    ///
    /// # Errors
    /// As [`FileLog::open`].
    pub fn open(storage: &MemStorage) -> Result<Self, OpenError> {
        let options = LogOptions {
            zero_window_bytes: 0,
            reserve_bytes: 0,
            ..LogOptions::default()
        };
        Ok(Self {
            log: FileLog::open(Arc::new(storage.clone()), options)?,
        })
    }
}

impl Default for MemLog {
    fn default() -> Self {
        Self::new()
    }
}

impl Log for MemLog {
    fn append(&self, group: &[Entry<'_>], placed: &mut Vec<Placed>) -> Result<(), AppendError> {
        self.log.append(group, placed)
    }
    fn sync(&self) -> Result<Cursor, AppendError> {
        self.log.sync()
    }
    fn start(&self) -> Cursor {
        self.log.start()
    }
    fn end(&self) -> Cursor {
        self.log.end()
    }
    fn durable(&self) -> Cursor {
        self.log.durable()
    }
    fn read(&self, at: Location, out: &mut [u8]) -> Result<(), ReadError> {
        self.log.read(at, out)
    }
    fn read_body(&self, at: Location, out: &mut [u8]) -> Result<(), ReadError> {
        self.log.read_body(at, out)
    }
    fn read_frame(&self, at: Location) -> Result<OwnedFrame, ReadError> {
        self.log.read_frame(at)
    }
    fn scan(
        &self,
        scan: Scan,
        visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<Cursor, ReadError> {
        self.log.scan(scan, visit)
    }
    fn snapshot_put(&self, name: &str, bytes: &[u8]) -> Result<(), AppendError> {
        self.log.snapshot_put(name, bytes)
    }
    fn snapshot_get(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.log.snapshot_get(name)
    }
    fn snapshot_remove(&self, name: &str) -> Result<(), AppendError> {
        self.log.snapshot_remove(name)
    }
    fn snapshot_names(&self) -> Result<Vec<String>, ReadError> {
        self.log.snapshot_names()
    }
    fn roll(&self) -> Result<(), AppendError> {
        self.log.roll()
    }
    fn seal(&self, pace: &mut dyn Pace) -> Result<bool, AppendError> {
        self.log.seal(pace)
    }
    fn erase(
        &self,
        spans: &[Span],
        least: Least,
        pace: &mut dyn Pace,
    ) -> Result<Reclaimed, AppendError> {
        self.log.erase(spans, least, pace)
    }
    fn scrub(
        &self,
        pace: &mut dyn Pace,
        found: &mut dyn FnMut(Location, Damage),
    ) -> Result<Scrubbed, ReadError> {
        self.log.scrub(pace, found)
    }
    fn disk_bytes(&self) -> u64 {
        0
    }
    fn close(&self) -> Result<(), AppendError> {
        self.log.close()
    }
    fn writable(&self) -> bool {
        self.log.writable()
    }
    fn refresh(&self) -> Result<Cursor, ReadError> {
        self.log.refresh()
    }
}

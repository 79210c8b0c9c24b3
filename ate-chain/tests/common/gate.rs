//! A log whose appends and syncs fail or wait on demand.

use std::ops::ControlFlow;

use ate_log::{
    AppendError, Cursor, Damage, Entry, Frame, Least, Location, Log, MemLog, OwnedFrame, Pace,
    Placed, ReadError, Reclaimed, Scan, Scrubbed, Span,
};
use parking_lot::{Condvar, Mutex};

#[derive(Default)]
struct State {
    shut: bool,
    /// Somebody waits in a sync.
    waiting: bool,
    fail_append: Option<AppendError>,
    fail_sync: bool,
    syncs: u64,
}

/// A [`MemLog`] behind a gate.
pub(crate) struct Gate {
    log: MemLog,
    state: Mutex<State>,
    moved: Condvar,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            log: MemLog::new(),
            state: Mutex::default(),
            moved: Condvar::new(),
        }
    }

    /// Syncs wait from now on.
    pub(crate) fn shut(&self) {
        self.state.lock().shut = true;
    }

    /// Waiting syncs go on.
    pub(crate) fn lift(&self) {
        self.state.lock().shut = false;
        self.moved.notify_all();
    }

    /// Blocks until a sync waits at the gate.
    pub(crate) fn until_waiting(&self) {
        let mut state = self.state.lock();
        while !state.waiting {
            self.moved.wait(&mut state);
        }
    }

    pub(crate) fn fail_next_append(&self, error: AppendError) {
        self.state.lock().fail_append = Some(error);
    }

    pub(crate) fn fail_syncs(&self) {
        self.state.lock().fail_sync = true;
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }
}

impl Log for Gate {
    fn append(&self, group: &[Entry<'_>], placed: &mut Vec<Placed>) -> Result<(), AppendError> {
        match self.state.lock().fail_append.take() {
            Some(error) => Err(error),
            None => self.log.append(group, placed),
        }
    }

    fn sync(&self) -> Result<Cursor, AppendError> {
        let mut state = self.state.lock();
        state.waiting = true;
        self.moved.notify_all();
        while state.shut {
            self.moved.wait(&mut state);
        }
        state.waiting = false;
        state.syncs += 1;
        if state.fail_sync {
            return Err(AppendError::Poisoned {
                cause: "the test says so".into(),
            });
        }
        drop(state);
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
        self.log.disk_bytes()
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

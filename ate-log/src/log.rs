//! The [`Log`] trait: what the layers above use, and what another implementation owes them.

use crate::{
    error::{AppendError, ReadError},
    frame::{Entry, Frame, OwnedFrame, Placed},
    location::{Cursor, Location},
};
use std::{ops::ControlFlow, sync::Arc};

/// A local, ordered, durable log of frames for many streams.
///
/// Duties of an implementation, which [`conformance`](crate::conformance) checks:
/// - Frames come back in the order of appending, byte for byte, or there is an error.
/// - Nothing counts as durable before [`sync`](Self::sync) has returned `Ok`, and what counted
///   as durable once is there after every crash and every reopening.
/// - After a failed write or sync every later [`append`](Self::append) and [`sync`](Self::sync)
///   fails with [`AppendError::Poisoned`]; reading goes on.
///
/// All methods may be called from any thread at any time. Appends are serialised; a sync does
/// not hold up appends, and reads wait for neither.
pub trait Log: Send + Sync {
    /// Writes one frame for each entry, all in one contiguous run, and pushes one [`Placed`]
    /// for each onto `placed`. *Not durable yet.* A crash may leave any prefix of the group.
    /// Where the group begins a new segment, everything before it becomes durable.
    ///
    /// # Errors
    /// Nothing counts as appended and `placed` is as it was. Over a limit, or
    /// [`AppendError::DiskFull`] when a new segment does not fit: nothing was written, the log
    /// goes on. [`AppendError::Io`]: the log is poisoned, and frames of the group may be found
    /// by the next opening.
    fn append(&self, group: &[Entry<'_>], placed: &mut Vec<Placed>) -> Result<(), AppendError>;

    /// Everything that was appended before this call is on stable storage when it returns;
    /// the cursor is the new durable end.
    ///
    /// # Errors
    /// The log is poisoned: nobody can tell what is on the disk before it is opened anew.
    fn sync(&self) -> Result<Cursor, AppendError>;

    /// Where the first frame of the log starts.
    fn start(&self) -> Cursor;

    /// Where the next frame will start, unless it needs a new segment. Readers: as `durable`.
    fn end(&self) -> Cursor;

    /// Everything before this place is on stable storage. For a live reader, what the writer
    /// had published at the last [`refresh`](Self::refresh).
    fn durable(&self) -> Cursor;

    /// Reads raw bytes of the body of a frame, appended or durable. **No checksum is checked**:
    /// the caller holds a hash of what it reads. One positioned read.
    ///
    /// # Errors
    /// [`ReadError::OutOfBounds`] past the end of the log or before the first frame of a file.
    fn read(&self, at: Location, out: &mut [u8]) -> Result<(), ReadError>;

    /// Reads the frame that starts at `at` and checks all of it.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] also when no frame starts there.
    fn read_frame(&self, at: Location) -> Result<OwnedFrame, ReadError>;

    /// Shows all frames from `from` up to the [durable](Self::durable) end in order, every
    /// checksum checked, until `visit` breaks. Returns the place after the last frame shown,
    /// or the durable end if all were.
    ///
    /// Frames are borrowed from a buffer that is used again: no allocation for each. A `from`
    /// at or past the durable end shows nothing.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] names the damaged frame; those before it were shown.
    fn scan(
        &self,
        from: Cursor,
        visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<Cursor, ReadError>;

    /// Replaces the snapshot `name` (1 to 100 characters of `a-z`, `0-9`, `-`) as a whole: after
    /// a crash it is the old one or the new one. Durable on return. The bytes are stored as
    /// they are, without a checksum: seal them.
    ///
    /// # Errors
    /// The old snapshot is still there, or, if only the last sync failed, the old or the new
    /// one. The log is not poisoned.
    fn snapshot_put(&self, name: &str, bytes: &[u8]) -> Result<(), AppendError>;

    /// The snapshot `name`, all in memory.
    ///
    /// # Errors
    /// The storage failed, or the name is none.
    fn snapshot_get(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError>;

    /// Removes the snapshot `name`; none of that name is no error.
    ///
    /// # Errors
    /// It may be there or not.
    fn snapshot_remove(&self, name: &str) -> Result<(), AppendError>;

    /// The names of all snapshots, ascending.
    ///
    /// # Errors
    /// The storage failed.
    fn snapshot_names(&self) -> Result<Vec<String>, ReadError>;

    /// The sum of the lengths of all files of this log, preallocated space included; 0 if the
    /// storage does not tell.
    fn disk_bytes(&self) -> u64;

    /// Syncs, marks the end as clean, gives preallocated space and the writer's lock back.
    /// Later appends fail with [`AppendError::Closed`], reads go on; a second close does nothing.
    /// Dropping a log without closing it loses nothing that was synced, but the next opening
    /// reads the newest segment through.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    fn close(&self) -> Result<(), AppendError>;

    /// Whether this is the writer and neither closed nor poisoned.
    fn writable(&self) -> bool;

    /// Readers: looks for what has become durable since. The writer: [`durable`](Self::durable).
    ///
    /// # Errors
    /// The storage failed or new files are damaged; the old end stays.
    fn refresh(&self) -> Result<Cursor, ReadError>;
}

impl<L: Log + ?Sized> Log for Arc<L> {
    fn append(&self, group: &[Entry<'_>], placed: &mut Vec<Placed>) -> Result<(), AppendError> {
        (**self).append(group, placed)
    }
    fn sync(&self) -> Result<Cursor, AppendError> {
        (**self).sync()
    }
    fn start(&self) -> Cursor {
        (**self).start()
    }
    fn end(&self) -> Cursor {
        (**self).end()
    }
    fn durable(&self) -> Cursor {
        (**self).durable()
    }
    fn read(&self, at: Location, out: &mut [u8]) -> Result<(), ReadError> {
        (**self).read(at, out)
    }
    fn read_frame(&self, at: Location) -> Result<OwnedFrame, ReadError> {
        (**self).read_frame(at)
    }
    fn scan(
        &self,
        from: Cursor,
        visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<Cursor, ReadError> {
        (**self).scan(from, visit)
    }
    fn snapshot_put(&self, name: &str, bytes: &[u8]) -> Result<(), AppendError> {
        (**self).snapshot_put(name, bytes)
    }
    fn snapshot_get(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        (**self).snapshot_get(name)
    }
    fn snapshot_remove(&self, name: &str) -> Result<(), AppendError> {
        (**self).snapshot_remove(name)
    }
    fn snapshot_names(&self) -> Result<Vec<String>, ReadError> {
        (**self).snapshot_names()
    }
    fn disk_bytes(&self) -> u64 {
        (**self).disk_bytes()
    }
    fn close(&self) -> Result<(), AppendError> {
        (**self).close()
    }
    fn writable(&self) -> bool {
        (**self).writable()
    }
    fn refresh(&self) -> Result<Cursor, ReadError> {
        (**self).refresh()
    }
}

//! The [`Log`] trait: what the layers above use, and what another implementation owes them.

use crate::{
    error::{AppendError, Damage, ReadError},
    frame::{Entry, Frame, OwnedFrame, Placed},
    location::{Cursor, Location, StreamId},
    maintenance::{Least, Pace, Reclaimed, Scrubbed, Span},
};
use std::{ops::ControlFlow, sync::Arc};

/// What a scan shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scan {
    /// Where it begins: the start of a frame, or the end of the log.
    pub from: Cursor,
    /// Only the frames of this stream. They are found by an index: it costs what the stream has.
    pub stream: Option<StreamId>,
    /// Whether bodies are read and checked.
    pub bodies: Bodies,
}

/// Whether a scan reads bodies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Bodies {
    /// They may be passed over.
    Skip,
    /// They are read and checked, except those of
    /// [`LARGE_BODY_BYTES`](crate::LARGE_BODY_BYTES) and more.
    Read,
}

impl Scan {
    /// All streams from a place on, without bodies.
    #[must_use]
    pub const fn from(from: Cursor) -> Self {
        Self {
            from,
            stream: None,
            bodies: Bodies::Skip,
        }
    }

    /// Only this stream.
    #[must_use]
    pub const fn of(mut self, stream: StreamId) -> Self {
        self.stream = Some(stream);
        self
    }

    /// With bodies.
    #[must_use]
    pub const fn with_bodies(mut self) -> Self {
        self.bodies = Bodies::Read;
        self
    }
}

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

    /// Reads raw bytes of a head part or a small body, appended or durable. **No checksum is
    /// checked**: the caller holds a hash of what it reads. One positioned read.
    ///
    /// # Errors
    /// [`ReadError::OutOfBounds`] past the end of the log or before the first frame of a file;
    /// [`ReadError::Erased`].
    fn read(&self, at: Location, out: &mut [u8]) -> Result<(), ReadError>;

    /// Reads a whole body, whatever its length. The checksum of one of
    /// [`LARGE_BODY_BYTES`](crate::LARGE_BODY_BYTES) and more is checked, that of a smaller one
    /// is not. `at` is its place as a frame or a [`Placed`] gives it, `out` as long as it is.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`ReadError::Corrupt`].
    fn read_body(&self, at: Location, out: &mut [u8]) -> Result<(), ReadError>;

    /// Reads the frame that starts at `at` and checks all of it, large bodies excepted.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] also when no frame starts there.
    fn read_frame(&self, at: Location) -> Result<OwnedFrame, ReadError>;

    /// Shows frames up to the [durable](Self::durable) end in order, the checksums of all parts
    /// shown checked, until `visit` breaks. Returns the place after the last frame shown, or the
    /// durable end if all were.
    ///
    /// Frames are borrowed from a buffer that is used again: no allocation for each. A scan from
    /// the durable end or behind it shows nothing.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] names the damaged frame; those before it were shown. With a stream,
    /// damage in frames of others may go unnoticed.
    fn scan(
        &self,
        scan: Scan,
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

    /// Begins a new segment, so that everything appended so far can be sealed. Durable.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn roll(&self) -> Result<(), AppendError>;

    /// Moves the oldest segment that takes no more frames to where frames are sorted by stream;
    /// `false` if there is none, or the pace ended it. Places stay what they are. Writers and
    /// readers go on.
    ///
    /// # Errors
    /// Nothing was moved; [`AppendError::Damaged`] if the segment is.
    fn seal(&self, pace: &mut dyn Pace) -> Result<bool, AppendError>;

    /// Destroys bodies, and ranges within head parts, for good: bodies are
    /// [erased](ReadError::Erased) from now on, ranges of heads are zeros with a right checksum.
    /// What is gone already is left alone. Durable. Writers and readers go on.
    ///
    /// # Errors
    /// A part of the spans may be gone; none is in between, but a large body may read as damaged
    /// until it is erased again. [`AppendError::NotAPart`]: nothing is.
    fn erase(
        &self,
        spans: &[Span],
        least: Least,
        pace: &mut dyn Pace,
    ) -> Result<Reclaimed, AppendError>;

    /// Reads everything that is durable and checks every checksum. `found` gets each damage with
    /// the place of its frame, or of the segment as a whole.
    ///
    /// # Errors
    /// The storage failed. Damage is none.
    fn scrub(
        &self,
        pace: &mut dyn Pace,
        found: &mut dyn FnMut(Location, Damage),
    ) -> Result<Scrubbed, ReadError>;

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
    fn read_body(&self, at: Location, out: &mut [u8]) -> Result<(), ReadError> {
        (**self).read_body(at, out)
    }
    fn read_frame(&self, at: Location) -> Result<OwnedFrame, ReadError> {
        (**self).read_frame(at)
    }
    fn scan(
        &self,
        scan: Scan,
        visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<Cursor, ReadError> {
        (**self).scan(scan, visit)
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
    fn roll(&self) -> Result<(), AppendError> {
        (**self).roll()
    }
    fn seal(&self, pace: &mut dyn Pace) -> Result<bool, AppendError> {
        (**self).seal(pace)
    }
    fn erase(
        &self,
        spans: &[Span],
        least: Least,
        pace: &mut dyn Pace,
    ) -> Result<Reclaimed, AppendError> {
        (**self).erase(spans, least, pace)
    }
    fn scrub(
        &self,
        pace: &mut dyn Pace,
        found: &mut dyn FnMut(Location, Damage),
    ) -> Result<Scrubbed, ReadError> {
        (**self).scrub(pace, found)
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

//! [`FileLog`]: the log in segment files.

use crate::{
    error::{AppendError, Damage, ReadError},
    frame::{
        Binding, Entry, FRAME_HEADER_BYTES, Frame, LARGE_BODY_BYTES, Meaning, OwnedFrame, Placed,
        STUB_BYTES, Stub,
    },
    location::{Cursor, Location},
    log::{Log, Scan},
    maintenance::{Least, Pace, Reclaimed, Scrubbed, Span},
    sealed::{MANIFEST_NAME, Manifest, sealed_file},
    segment::{SEGMENT_HEADER_BYTES, large_number, segment_name, segment_number, snapshot_name},
    storage::{Storage, StorageLock, read_full},
};
use large::LargeFiles;
use parking_lot::Mutex;
use scan::read_one;
use segments::Segments;
use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use streams::Streams;
use tier::Tier;
use writer::Writer;

mod backup;
mod draft;
mod erase;
mod large;
mod maintain;
mod observe;
mod open;
mod recovery;
mod repair;
mod reserve;
mod salvage;
mod scan;
mod scrub;
mod segments;
mod snapshots;
mod streams;
mod survey;
mod tier;
mod walk;
mod writer;

pub(crate) use draft::acquire;
pub(crate) use observe::publication;
pub use repair::{Mended, Repair, Repaired, discard_damaged, repair};
pub use survey::{DamagedRange, FrameName, Surveyed};
pub use writer::GROUP_BYTES_MAX;

pub(crate) const LOCK_FILE: &str = "lock";
pub(crate) const RESERVE_FILE: &str = "reserve";
/// How a log is made and written. The defaults are right for disks; sizes matter to tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// The identity of a *new* log, best 16 random bytes: it keeps frames of another log from
    /// passing as this one's. A log that exists keeps its own and this one is not looked at.
    pub log_id: [u8; 16],
    /// Size of the first segment file; each further one is twice as large.
    pub segment_bytes_min: u32,
    /// The largest planned size of a segment file, at most 1 GiB; a larger group makes it larger.
    pub segment_bytes_max: u32,
    /// How far ahead of small groups zeros are written; 0: not at all.
    pub zero_window_bytes: u32,
    /// Space that a writer keeps aside, in the file `reserve`, for opening after a crash and for closing on a full disk. Appends
    /// never use it. Made when there is room, given back by [`Log::close`]; 0: none.
    pub reserve_bytes: u32,
    /// Into how many groups of files the streams of a sealed segment are put, 1 to 256. Only
    /// looked at as long as nothing is sealed.
    pub groups: u16,
}

impl LogOptions {
    /// Segments of 1 to 64 MiB, zeros 256 KiB ahead, a reserve of 512 KiB.
    #[must_use]
    pub const fn new(log_id: [u8; 16]) -> Self {
        Self {
            log_id,
            segment_bytes_min: 1 << 20,
            segment_bytes_max: 64 << 20,
            zero_window_bytes: 256 << 10,
            reserve_bytes: 512 << 10,
            groups: 1,
        }
    }
}

impl Default for LogOptions {
    /// [`new`](Self::new) with an identity of zeros.
    fn default() -> Self {
        Self::new([0; 16])
    }
}

/// A [`Log`] in segment files of a [`Storage`].
///
/// What opening checks: the names and headers of all segments, that none is missing or, for a
/// writer, too short; and the newest segment, frame by frame, unless a mark at its end says
/// that it was closed. Everything else is checked when it is read by [`Log::scan`] or
/// [`Log::read_frame`]. So opening a closed log costs one small read for each segment and one
/// sync; after a crash also the reading of the newest segment (at most 64 MiB by default).
///
/// An append that fills a segment seals it and makes the next, which takes three syncs. No
/// thread runs in the background, and dropping a log neither syncs nor marks anything:
/// [`Log::close`] does.
#[derive(Debug)]
pub struct FileLog {
    storage: Arc<dyn Storage>,
    options: LogOptions,
    segments: Segments,
    streams: Streams,
    large: LargeFiles,
    tier: Tier,
    /// Held while segments are sealed or rewritten: one such work at a time.
    maintenance: Mutex<()>,
    /// Why there is no more such work, if the manifest may be one of two.
    maintenance_failed: Mutex<Option<String>>,
    /// `None` in a reader.
    writer: Option<Mutex<Writer>>,
    /// Held while a segment is synced and until a failure has poisoned the log: the system
    /// reports a failed sync once, and whoever came next would take its silence for success.
    /// Taken after `writer`, never before it.
    disk_turn: Mutex<()>,
    snapshot_turn: Mutex<()>,
    lock: Mutex<Option<Box<dyn StorageLock>>>,
    poison: Mutex<Option<String>>,
    end: AtomicU64,
    durable: AtomicU64,
    /// Readers: what stands at the end instead of a frame, if that is damage.
    damage: Mutex<Option<Damage>>,
    /// What is damaged, if the log was opened in spite of it.
    salvaged: Option<Vec<DamagedRange>>,
    /// The writer: there is a reserve file.
    has_reserve: AtomicBool,
}

impl FileLog {
    /// The identity of this log.
    #[must_use]
    pub fn log_id(&self) -> [u8; 16] {
        *self.segments.log_id()
    }

    /// The identity of the store that writes this log: its own, unless it was restored from a
    /// copy of another.
    #[must_use]
    pub fn store_id(&self) -> [u8; 16] {
        self.tier.manifest().store_id
    }

    /// Why the log takes no more writes, if a write or sync has failed.
    #[must_use]
    pub fn poisoned(&self) -> Option<String> {
        self.poison.lock().clone()
    }

    fn assemble(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        segments: Segments,
        manifest: Manifest,
        writer: Option<Writer>,
        lock: Option<Box<dyn StorageLock>>,
    ) -> Self {
        let end = match &writer {
            Some(writer) => Location {
                file: writer.number,
                offset: writer.end,
            },
            None => Location {
                file: segments.first(),
                offset: SEGMENT_HEADER_BYTES,
            },
        };
        let large = LargeFiles::new(&storage, *segments.log_id());
        let tier = Tier::new(&storage, manifest);
        Self {
            storage,
            options,
            segments,
            streams: Streams::default(),
            large,
            tier,
            maintenance: Mutex::default(),
            maintenance_failed: Mutex::default(),
            writer: writer.map(Mutex::new),
            disk_turn: Mutex::new(()),
            snapshot_turn: Mutex::new(()),
            lock: Mutex::new(lock),
            poison: Mutex::new(None),
            end: AtomicU64::new(end.to_u64()),
            durable: AtomicU64::new(end.to_u64()),
            damage: Mutex::new(None),
            salvaged: None,
            has_reserve: AtomicBool::new(false),
        }
    }

    fn first_frame(&self) -> Cursor {
        Location {
            file: self.segments.first(),
            offset: SEGMENT_HEADER_BYTES,
        }
    }

    fn durable_cursor(&self) -> Cursor {
        Location::from_u64(self.durable.load(Ordering::Acquire))
    }

    /// What may be read: for the writer all that was appended.
    fn readable_end(&self) -> Cursor {
        Location::from_u64(self.end.load(Ordering::Acquire))
    }

    fn set_end(&self, end: Cursor) {
        self.end.store(end.to_u64(), Ordering::Release);
    }

    /// The durable end never moves back, whichever thread comes last.
    fn raise_durable(&self, end: Cursor) {
        self.durable.fetch_max(end.to_u64(), Ordering::AcqRel);
        if self.writer.is_none() {
            self.end.fetch_max(end.to_u64(), Ordering::AcqRel);
        }
    }

    /// Checks that `bytes` at `at` are in the log.
    fn bounds(&self, at: Location, bytes: u64) -> Result<(), ReadError> {
        let end = self.readable_end();
        let limit = match at.file {
            file if file == end.file => Some(end.offset),
            file if file < end.file => self.segments.sealed(file),
            _ => None,
        };
        match limit {
            Some(limit)
                if at.offset >= SEGMENT_HEADER_BYTES
                    && u64::from(at.offset) + bytes <= u64::from(limit) =>
            {
                Ok(())
            }
            _ => Err(ReadError::OutOfBounds { at, bytes, end }),
        }
    }

    fn read_exact(&self, at: Location, out: &mut [u8]) -> Result<(), ReadError> {
        self.in_either_tier(
            at.file,
            out,
            |out| self.read_segment(at, out),
            |out| self.tier.read(at, out),
        )
    }

    /// Reads in segment `number` where it is: in its own file, or sealed. A writer may seal it
    /// or rewrite it meanwhile; then it is looked for again.
    fn in_either_tier<C: ?Sized, T>(
        &self,
        number: u32,
        context: &mut C,
        mut segment: impl FnMut(&mut C) -> Result<T, ReadError>,
        mut sealed: impl FnMut(&mut C) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        /// Each try sees another manifest; a writer would have to be faster every time.
        const TRIES: u32 = 8;
        let mut tries = 0;
        loop {
            let generation = self.tier.manifest().generation;
            let result = if self.tier.has(number) {
                sealed(context)
            } else {
                segment(context)
            };
            let is_missing = matches!(
                result,
                Err(ReadError::Corrupt {
                    damage: Damage::SegmentMissing | Damage::SealedMissing,
                    ..
                })
            );
            tries += 1;
            if !is_missing || tries == TRIES {
                return result;
            }
            if self.writer.is_none() {
                self.tier.reload(&self.segments)?;
            }
            if self.tier.manifest().generation == generation {
                return result;
            }
        }
    }

    fn read_segment_frame(&self, at: Location) -> Result<OwnedFrame, ReadError> {
        let file = self.segments.handle(at.file)?;
        let binding = Binding::new(self.segments.log_id(), at.file);
        let mut bytes = Vec::new();
        let limit = self.limit_of(at, self.readable_end())?;
        let header = read_one(&*file, binding, at, limit, &mut bytes)?;
        match header.meaning() {
            Ok(Meaning::Shown(kind)) => Ok(OwnedFrame::new(at, header, kind, bytes, Vec::new())),
            Ok(Meaning::Mark) => Err(ReadError::Corrupt {
                at,
                damage: Damage::FrameHeader,
            }),
            Err((kind, flags)) => Err(ReadError::UnknownFrame { at, kind, flags }),
        }
    }

    fn read_segment(&self, at: Location, out: &mut [u8]) -> Result<(), ReadError> {
        let read = self.segments.with(at.file, |file| {
            read_full(&**file, u64::from(at.offset), out)
        })?;
        match read {
            Ok(read) if read == out.len() => Ok(()),
            Ok(_) => Err(ReadError::Corrupt {
                at,
                damage: Damage::SegmentShort,
            }),
            Err(source) => Err(ReadError::Io {
                doing: "read",
                name: segment_name(at.file),
                source,
            }),
        }
    }
}

impl Log for FileLog {
    fn append(&self, group: &[Entry<'_>], placed: &mut Vec<Placed>) -> Result<(), AppendError> {
        self.append_group(group, placed)
    }

    fn sync(&self) -> Result<Cursor, AppendError> {
        self.sync_all_appended()
    }

    fn start(&self) -> Cursor {
        self.first_frame()
    }

    fn end(&self) -> Cursor {
        self.readable_end()
    }

    fn durable(&self) -> Cursor {
        self.durable_cursor()
    }

    fn read(&self, at: Location, out: &mut [u8]) -> Result<(), ReadError> {
        self.bounds(at, out.len() as u64)?;
        self.read_exact(at, out)
    }

    fn read_body(&self, at: Location, out: &mut [u8]) -> Result<(), ReadError> {
        if out.len() < LARGE_BODY_BYTES as usize {
            return self.read(at, out);
        }
        let mut stub = [0; STUB_BYTES as usize];
        self.read(at, &mut stub)?;
        self.large.read(at, &Stub::decode(&stub), out)
    }

    fn read_frame(&self, at: Location) -> Result<OwnedFrame, ReadError> {
        self.bounds(at, FRAME_HEADER_BYTES.into())?;
        self.in_either_tier(
            at.file,
            &mut (),
            |()| self.read_segment_frame(at),
            |()| self.tier.read_frame(at),
        )
    }

    fn scan(
        &self,
        scan: Scan,
        visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<Cursor, ReadError> {
        if self.salvaged.is_some() {
            return self.scan_salvaged(&scan, visit);
        }
        self.scan_frames(&scan, visit)
    }

    fn snapshot_put(&self, name: &str, bytes: &[u8]) -> Result<(), AppendError> {
        self.put_snapshot(name, bytes)
    }

    fn snapshot_get(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.get_snapshot(name)
    }

    fn snapshot_remove(&self, name: &str) -> Result<(), AppendError> {
        self.remove_snapshot(name)
    }

    fn snapshot_names(&self) -> Result<Vec<String>, ReadError> {
        self.list_snapshots()
    }

    fn roll(&self) -> Result<(), AppendError> {
        self.begin_segment()
    }

    fn seal(&self, pace: &mut dyn Pace) -> Result<bool, AppendError> {
        self.seal_oldest(pace)
    }

    fn erase(
        &self,
        spans: &[Span],
        least: Least,
        pace: &mut dyn Pace,
    ) -> Result<Reclaimed, AppendError> {
        self.erase_spans(spans, least, pace)
    }

    fn scrub(
        &self,
        pace: &mut dyn Pace,
        found: &mut dyn FnMut(Location, Damage),
    ) -> Result<Scrubbed, ReadError> {
        self.scrub_all(pace, found)
    }

    fn disk_bytes(&self) -> u64 {
        let ours = |name: &String| {
            segment_number(name).is_some()
                || large_number(name).is_some()
                || sealed_file(name).is_some()
                || name == MANIFEST_NAME
                || snapshot_name(name).is_some()
                || name == LOCK_FILE
                || name == RESERVE_FILE
        };
        let names = self.storage.list().unwrap_or_default();
        names
            .iter()
            .filter(|name| ours(name))
            .map(|name| self.storage.size(name).unwrap_or(0))
            .sum()
    }

    fn close(&self) -> Result<(), AppendError> {
        self.close_writer()
    }

    fn writable(&self) -> bool {
        self.writer
            .as_ref()
            .is_some_and(|writer| self.check_writable(&writer.lock()).is_ok())
    }

    fn refresh(&self) -> Result<Cursor, ReadError> {
        if self.writer.is_some() {
            Ok(self.durable_cursor())
        } else {
            self.observe()
        }
    }
}

//! [`FileLog`]: the log in segment files.

use crate::{
    error::{AppendError, Damage, ReadError},
    frame::{
        Binding, Entry, FRAME_HEADER_BYTES, Frame, Header, Meaning, OwnedFrame, Placed, check, view,
    },
    location::{Cursor, Location},
    log::Log,
    segment::{SEGMENT_HEADER_BYTES, segment_name, segment_number, snapshot_name},
    storage::{Storage, StorageLock, read_full},
};
use parking_lot::Mutex;
use segments::Segments;
use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use walk::{Step, Walker, Window};
use writer::Writer;

mod draft;
mod observe;
mod open;
mod recovery;
mod reserve;
mod salvage;
mod segments;
mod snapshots;
mod survey;
mod walk;
mod writer;

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

    /// Why the log takes no more writes, if a write or sync has failed.
    #[must_use]
    pub fn poisoned(&self) -> Option<String> {
        self.poison.lock().clone()
    }

    fn assemble(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        segments: Segments,
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
        Self {
            storage,
            options,
            segments,
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

    fn read_frame(&self, at: Location) -> Result<OwnedFrame, ReadError> {
        let corrupt = |damage| ReadError::Corrupt { at, damage };
        let mut head = [0; FRAME_HEADER_BYTES as usize];
        self.read(at, &mut head)?;
        let binding = Binding::new(self.segments.log_id(), at.file);
        let header = Header::decode(binding, at.offset, &head)
            .ok_or_else(|| corrupt(Damage::FrameHeader))?;
        let kind = match header.meaning() {
            Ok(Meaning::Shown(kind)) => kind,
            Ok(Meaning::Mark) => return Err(corrupt(Damage::FrameHeader)),
            Err((kind, flags)) => return Err(ReadError::UnknownFrame { at, kind, flags }),
        };
        self.bounds(at, u64::from(header.total))?;
        let mut bytes = vec![0; header.total as usize];
        self.read_exact(at, &mut bytes)?;
        check(binding, at.offset, &header, &bytes).map_err(|bad| corrupt(bad.damage))?;
        Ok(OwnedFrame::new(at, header, kind, bytes))
    }

    fn scan(
        &self,
        from: Cursor,
        visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<Cursor, ReadError> {
        if self.salvaged.is_some() {
            return self.scan_salvaged(from, visit);
        }
        let end = self.durable_cursor();
        let mut at = from.max(self.start());
        let mut window = Window::default();
        while at < end {
            let limit = if at.file == end.file {
                Some(end.offset)
            } else {
                self.segments.sealed(at.file)
            };
            let limit = match limit {
                Some(limit) if at.offset <= limit => limit,
                _ => {
                    return Err(ReadError::Corrupt {
                        at,
                        damage: Damage::FrameHeader,
                    });
                }
            };
            let file = self.segments.handle(at.file)?;
            let binding = Binding::new(self.segments.log_id(), at.file);
            let mut walker = Walker::new(
                file,
                binding,
                at.offset.max(SEGMENT_HEADER_BYTES),
                limit,
                window,
            );
            if let ControlFlow::Break(next) = show_rest(&mut walker, at.file, visit)? {
                return Ok(next);
            }
            window = walker.into_window();
            at = Location {
                file: at.file + 1,
                offset: SEGMENT_HEADER_BYTES,
            };
        }
        match self.tail_damage() {
            Some((at, damage)) if at == end && from <= end => {
                Err(ReadError::Corrupt { at, damage })
            }
            _ => Ok(from.max(end)),
        }
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

    fn disk_bytes(&self) -> u64 {
        let ours = |name: &String| {
            segment_number(name).is_some()
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

/// Shows every frame that is left to `walker` in segment `number`; breaks with the place after the frame at which `visit` did.
fn show_rest(
    walker: &mut Walker,
    number: u32,
    visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<Cursor>, ReadError> {
    let io = |source| ReadError::Io {
        doing: "read",
        name: segment_name(number),
        source,
    };
    loop {
        let at = Location {
            file: number,
            offset: walker.at,
        };
        let corrupt = |damage| ReadError::Corrupt { at, damage };
        match walker.step().map_err(io)? {
            Step::End => return Ok(ControlFlow::Continue(())),
            Step::Short => return Err(corrupt(Damage::SegmentShort)),
            Step::Bad(bad) => return Err(corrupt(bad.damage)),
            Step::Frame { header, bytes, .. } => {
                let kind = match header.meaning() {
                    Ok(Meaning::Mark) => continue,
                    Ok(Meaning::Shown(kind)) => kind,
                    Err((kind, flags)) => {
                        return Err(ReadError::UnknownFrame { at, kind, flags });
                    }
                };
                let frame = view(at, &header, kind, bytes);
                if visit(frame).is_break() {
                    return Ok(ControlFlow::Break(frame.next));
                }
            }
        }
    }
}

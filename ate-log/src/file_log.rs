//! [`FileLog`]: the log in segment files.

use crate::{
    error::{AppendError, Damage, OpenError, ReadError},
    frame::{
        Binding, Entry, FRAME_HEADER_BYTES, Frame, Header, Meaning, OwnedFrame, Placed, check, view,
    },
    location::{Cursor, Location},
    log::Log,
    segment::{
        SEGMENT_HEADER_BYTES, SegmentHeader, is_leftover, segment_name, segment_number,
        snapshot_name,
    },
    storage::{Access, LockState, Storage, StorageFile, StorageLock, read_full, write_full},
};
use parking_lot::Mutex;
use recovery::{Verdict, judge};
use segments::Segments;
use std::{
    io,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use walk::{Step, Walker, Window};
use writer::Writer;

mod recovery;
mod segments;
mod snapshots;
mod walk;
mod writer;

pub use writer::GROUP_BYTES_MAX;

pub(crate) const LOCK_FILE: &str = "lock";
const OBSERVE_TRIES: u32 = 50;
const OBSERVE_PAUSE: Duration = Duration::from_millis(2);

/// How a log is made and written. The defaults are right for disks; sizes matter to tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// The identity of a *new* log, best 16 random bytes: it keeps frames of another log from
    /// passing as this one's. A log that exists keeps its own and this one is not looked at.
    pub log_id: [u8; 16],
    /// Size of the first segment file; each further one is twice as large.
    pub segment_bytes_min: u32,
    /// The largest planned size of a segment file; a larger group makes it larger.
    pub segment_bytes_max: u32,
    /// How far ahead of small groups zeros are written; 0: not at all.
    pub zero_window_bytes: u32,
}

impl LogOptions {
    /// Segments of 1 to 64 MiB, zeros 256 KiB ahead.
    #[must_use]
    pub const fn new(log_id: [u8; 16]) -> Self {
        Self {
            log_id,
            segment_bytes_min: 1 << 20,
            segment_bytes_max: 64 << 20,
            zero_window_bytes: 256 << 10,
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
/// [`Log::read_frame`]. So opening takes a few milliseconds, and at most one segment's reading.
#[derive(Debug)]
pub struct FileLog {
    storage: Arc<dyn Storage>,
    options: LogOptions,
    segments: Segments,
    /// `None` in a reader.
    writer: Option<Mutex<Writer>>,
    /// Held during a sync; taken before `writer`.
    sync_turn: Mutex<()>,
    snapshot_turn: Mutex<()>,
    lock: Mutex<Option<Box<dyn StorageLock>>>,
    poison: Mutex<Option<String>>,
    end: AtomicU64,
    durable: AtomicU64,
    /// Readers: what stands at the end instead of a frame, if that is damage.
    damage: Mutex<Option<Damage>>,
}

impl FileLog {
    /// Opens a log for writing, or makes it.
    ///
    /// A torn tail, which was never acknowledged, is cut off, and everything before it is
    /// durable on return.
    ///
    /// # Errors
    /// [`OpenError::Locked`] while another writer has it (after about 100 ms of trying);
    /// [`OpenError::Corrupt`] for damage, and then nothing is cut.
    pub fn open(storage: Arc<dyn Storage>, options: LogOptions) -> Result<Self, OpenError> {
        let failed = |doing| {
            let storage = &storage;
            move |source| place_error(&**storage, doing, source)
        };
        storage.prepare().map_err(failed("make"))?;
        let names = storage.list().map_err(failed("list"))?;
        // Before anything is made: a directory that cannot be read is not touched.
        let lock = writer::acquire(&*storage)?;
        for name in names.iter().filter(|name| is_leftover(name)) {
            storage.remove(name).map_err(|source| OpenError::Io {
                doing: "remove",
                name: name.clone(),
                source,
            })?;
        }
        let numbers = segment_numbers(&*storage)?;
        let log = if numbers.is_empty() {
            Self::make(storage, options, lock)?
        } else {
            Self::recover(storage, options, lock, &numbers)?
        };
        log.publish();
        Ok(log)
    }

    /// Opens a log for reading, beside a writer or alone. Makes and changes nothing.
    ///
    /// Beside a writer, the end is what it has published last. Without one, the end is found
    /// as a writer would find it. Damage there does not keep a reader from opening: what is
    /// before it can be read, and [`Log::scan`] names it when it gets there.
    ///
    /// # Errors
    /// [`OpenError::NotFound`] if there is no log; damage to names or headers of files.
    pub fn open_reader(storage: Arc<dyn Storage>) -> Result<Self, OpenError> {
        let numbers = segment_numbers(&*storage)?;
        if numbers.is_empty() {
            return Err(OpenError::NotFound {
                place: storage.place(),
            });
        }
        let segments = Segments::load(&storage, &numbers)?;
        let log = Self::assemble(storage, LogOptions::default(), segments, None, None);
        log.observe()?;
        Ok(log)
    }

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

    /// What is damaged at the end of a log that was opened for reading.
    #[must_use]
    pub fn tail_damage(&self) -> Option<(Location, Damage)> {
        self.damage
            .lock()
            .map(|damage| (self.durable_cursor(), damage))
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
            sync_turn: Mutex::new(()),
            snapshot_turn: Mutex::new(()),
            lock: Mutex::new(lock),
            poison: Mutex::new(None),
            end: AtomicU64::new(end.to_u64()),
            durable: AtomicU64::new(end.to_u64()),
            damage: Mutex::new(None),
        }
    }

    /// Makes the first segment.
    fn make(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        lock: Box<dyn StorageLock>,
    ) -> Result<Self, OpenError> {
        let header = SegmentHeader {
            file: 1,
            log_id: options.log_id,
            first: 1,
            previous: Location::default(),
        };
        let size = options.segment_bytes(1);
        let made = writer::draft(&*storage, 1, size, size)
            .and_then(|draft| Ok((writer::establish(&*storage, &draft, &header)?, draft.size)));
        let (file, size) = made.map_err(|error| match error {
            AppendError::DiskFull { .. } => OpenError::DiskFull {
                place: storage.place(),
            },
            AppendError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                OpenError::DiskFull {
                    place: storage.place(),
                }
            }
            AppendError::Io {
                doing,
                name,
                source,
            } => OpenError::Io {
                doing,
                name,
                source,
            },
            other => OpenError::Io {
                doing: "make",
                name: segment_name(1),
                source: io::Error::other(other),
            },
        })?;
        let segments = Segments::of_first(&storage, &header, Arc::clone(&file));
        let writer = Writer {
            file,
            number: 1,
            end: SEGMENT_HEADER_BYTES,
            size,
            zeroed: SEGMENT_HEADER_BYTES,
            marked: false,
            closed: false,
            buffer: Vec::new(),
        };
        Ok(Self::assemble(
            storage,
            options,
            segments,
            Some(writer),
            Some(lock),
        ))
    }

    /// Opens an existing log for writing.
    fn recover(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        lock: Box<dyn StorageLock>,
        numbers: &[u32],
    ) -> Result<Self, OpenError> {
        let segments = Segments::load(&storage, numbers)?;
        for number in segments.first()..segments.newest() {
            let name = segment_name(number);
            let size = storage.size(&name).map_err(|source| OpenError::Io {
                doing: "measure",
                name,
                source,
            })?;
            if segments
                .sealed(number)
                .is_some_and(|sealed| size < u64::from(sealed))
            {
                let at = Location {
                    file: number,
                    offset: size as u32,
                };
                return Err(OpenError::Corrupt {
                    at,
                    damage: Damage::SegmentShort,
                });
            }
        }
        let number = segments.newest();
        let name = segment_name(number);
        let file = storage
            .open(&name, Access::Write)
            .map_err(|source| OpenError::Io {
                doing: "open",
                name: name.clone(),
                source,
            })?;
        let tail = judge(&file, number, Binding::new(segments.log_id(), number))?;
        if let Verdict::Corrupt(damage) = tail.verdict {
            return Err(OpenError::Corrupt {
                at: Location {
                    file: number,
                    offset: tail.end,
                },
                damage,
            });
        }
        let failed = |doing| {
            let name = &name;
            move |source| OpenError::Io {
                doing,
                name: name.clone(),
                source,
            }
        };
        if tail.verdict == Verdict::Torn {
            file.truncate(u64::from(tail.end))
                .map_err(failed("cut the torn tail of"))?;
        }
        rewrite(&*file, tail.proven, tail.end).map_err(failed("rewrite the tail of"))?;
        file.sync_all().map_err(failed("sync"))?;
        let size = file
            .length()
            .map_err(failed("measure"))?
            .min(u64::from(u32::MAX)) as u32;
        let writer = Writer {
            file,
            number,
            end: tail.end,
            size,
            zeroed: tail.end,
            marked: tail.verdict == Verdict::Closed,
            closed: false,
            buffer: Vec::new(),
        };
        let log = Self::assemble(storage, options, segments, Some(writer), Some(lock));
        if tail.verdict == Verdict::Torn {
            // Never write where a torn frame was: some of its sectors might still arrive.
            let mut writer = log.writer.as_ref().expect("made above").lock();
            log.roll(&mut writer, 0).map_err(|error| match error {
                AppendError::DiskFull { .. } => OpenError::DiskFull {
                    place: log.storage.place(),
                },
                other => OpenError::Io {
                    doing: "begin a segment after",
                    name,
                    source: io::Error::other(other),
                },
            })?;
        }
        Ok(log)
    }

    /// Readers: finds the durable end.
    fn observe(&self) -> Result<Cursor, ReadError> {
        for _ in 0..OBSERVE_TRIES {
            match self.lock_state()? {
                LockState::Held(bytes) => {
                    if let Some(end) = Publication::decode(&bytes, self.segments.log_id()) {
                        self.segments.extend(end.file)?;
                        *self.damage.lock() = None;
                        self.raise_durable(end);
                        return Ok(self.durable_cursor());
                    }
                    // The writer has just opened and will publish soon.
                    thread::sleep(OBSERVE_PAUSE);
                }
                LockState::Free => {
                    let newest = segment_numbers(&*self.storage)?
                        .last()
                        .copied()
                        .unwrap_or(0);
                    self.segments.extend(newest)?;
                    let number = self.segments.newest();
                    let file = self.segments.handle(number)?;
                    let tail = judge(&file, number, Binding::new(self.segments.log_id(), number));
                    // A writer that came meanwhile may have been writing under our eyes.
                    if self.lock_state()? != LockState::Free {
                        continue;
                    }
                    let tail = tail?;
                    let end = Location {
                        file: number,
                        offset: tail.end,
                    };
                    *self.damage.lock() = match tail.verdict {
                        Verdict::Corrupt(damage) if end >= self.durable_cursor() => Some(damage),
                        _ => None,
                    };
                    self.raise_durable(end);
                    return Ok(self.durable_cursor());
                }
            }
        }
        Ok(self.durable_cursor())
    }

    fn lock_state(&self) -> Result<LockState, ReadError> {
        self.storage
            .lock_state(LOCK_FILE)
            .map_err(|source| ReadError::Io {
                doing: "look at",
                name: LOCK_FILE.into(),
                source,
            })
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
        Location {
            file: self.segments.first(),
            offset: SEGMENT_HEADER_BYTES,
        }
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
        let end = self.durable_cursor();
        let mut at = from.max(self.start());
        let mut window = Window::default();
        while at < end {
            let limit = if at.file == end.file {
                Some(end.offset)
            } else {
                self.segments.sealed(at.file)
            };
            let corrupt = |offset, damage| ReadError::Corrupt {
                at: Location {
                    file: at.file,
                    offset,
                },
                damage,
            };
            let limit = match limit {
                Some(limit) if at.offset <= limit => limit,
                _ => return Err(corrupt(at.offset, Damage::FrameHeader)),
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
            loop {
                let place = walker.at;
                let io = |source| ReadError::Io {
                    doing: "read",
                    name: segment_name(at.file),
                    source,
                };
                match walker.step().map_err(io)? {
                    Step::End => break,
                    Step::Short => return Err(corrupt(place, Damage::SegmentShort)),
                    Step::Bad(bad) => return Err(corrupt(place, bad.damage)),
                    Step::Frame {
                        at: offset,
                        header,
                        bytes,
                    } => {
                        let at = Location {
                            file: at.file,
                            offset,
                        };
                        let kind = match header.meaning() {
                            Ok(Meaning::Mark) => continue,
                            Ok(Meaning::Shown(kind)) => kind,
                            Err((kind, flags)) => {
                                return Err(ReadError::UnknownFrame { at, kind, flags });
                            }
                        };
                        let frame = view(at, &header, kind, bytes);
                        if visit(frame).is_break() {
                            return Ok(frame.next);
                        }
                    }
                }
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
            segment_number(name).is_some() || snapshot_name(name).is_some() || name == LOCK_FILE
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

/// Writes the bytes of a range again as they are.
///
/// A process whose sync failed may have left pages in the system's cache that read well, count
/// as clean and are not on the disk. A sync alone would then prove nothing about them.
fn rewrite(file: &dyn StorageFile, from: u32, to: u32) -> io::Result<()> {
    let mut buffer = vec![0; (to - from).min(1 << 20) as usize];
    let mut at = from;
    while at < to {
        let size = buffer.len().min((to - at) as usize);
        let piece = &mut buffer[..size];
        if read_full(file, u64::from(at), piece)? < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        write_full(file, u64::from(at), piece)?;
        at += size as u32;
    }
    Ok(())
}

/// The numbers of all segment files, ascending.
fn segment_numbers(storage: &dyn Storage) -> Result<Vec<u32>, OpenError> {
    let names = storage
        .list()
        .map_err(|source| place_error(storage, "list", source))?;
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn place_error(storage: &dyn Storage, doing: &'static str, source: io::Error) -> OpenError {
    let place = storage.place();
    match source.kind() {
        io::ErrorKind::NotFound => OpenError::NotFound { place },
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            OpenError::NotADirectory { place }
        }
        io::ErrorKind::StorageFull => OpenError::DiskFull { place },
        _ => OpenError::Io {
            doing,
            name: place,
            source,
        },
    }
}

/// What the writer tells live readers in the lock file: `docs/format.md`, section 6.5.
struct Publication {
    log_id: [u8; 16],
    end: Cursor,
}

const PUBLICATION_BYTES: usize = 28;

impl Publication {
    fn encode(&self) -> [u8; PUBLICATION_BYTES] {
        let mut bytes = [0; PUBLICATION_BYTES];
        bytes[..16].copy_from_slice(&self.log_id);
        bytes[16..20].copy_from_slice(&self.end.file.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.end.offset.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..24]);
        bytes[24..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` if there is nothing, something torn, or another log's.
    fn decode(bytes: &[u8], log_id: &[u8; 16]) -> Option<Cursor> {
        let bytes: &[u8; PUBLICATION_BYTES] = bytes.first_chunk()?;
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let whole = crc32c::crc32c(&bytes[..24]) == number(24) && bytes[..16] == log_id[..];
        whole.then(|| Location {
            file: number(16),
            offset: number(20),
        })
    }
}

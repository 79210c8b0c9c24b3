//! The writing side: append, roll, sync, close.

use super::{
    FileLog, LogOptions,
    draft::{draft, establish, reserve},
    reserve::is_full,
};
use crate::{
    error::AppendError,
    frame::{self, Binding, Entry, MARK_BYTES, Placed, Stub},
    location::{Cursor, Location},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name},
    storage::{StorageFile, write_full},
};
use std::{io, sync::Arc};

/// The most bytes of one group of entries: 256 MiB.
pub const GROUP_BYTES_MAX: u64 = 256 << 20;

/// No option makes a segment larger, so that with a whole group every offset fits 32 bits.
pub(super) const SEGMENT_BYTES_MAX: u32 = 1 << 30;
/// How much of a group is gathered before it is written.
const FLUSH_BYTES: usize = 1 << 20;
/// The buffer's size from which on it is given back after use.
const BUFFER_KEPT_BYTES: usize = 2 << 20;
/// Groups up to this size are small: their space is filled with zeros ahead of time.
const SMALL_GROUP_BYTES: u32 = 64 << 10;
/// State of the writer, behind one mutex.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) number: u32,
    pub(super) end: u32,
    /// The size up to which it grows, unless one group needs more.
    pub(super) planned: u32,
    /// The length of the file, all of it with space on the disk.
    pub(super) size: u32,
    /// Up to here the file is filled with frames or written zeros.
    pub(super) zeroed: u32,
    /// The last frame is a mark that proves everything before it.
    pub(super) marked: bool,
    pub(super) closed: bool,
    pub(super) buffer: Vec<u8>,
}

impl LogOptions {
    /// The size that a segment gets unless its first frames need more: twice what the one before
    /// held, in powers of two.
    pub(super) fn segment_bytes(&self, previous_end: Option<u32>) -> u32 {
        let held = previous_end.map_or(0, |end| u64::from(end).next_power_of_two());
        let doubled = (2 * held).max(self.segment_bytes_min.into());
        let max = self.segment_bytes_max.min(SEGMENT_BYTES_MAX);
        // A segment that holds no frame would never be left.
        doubled
            .min(u64::from(max))
            .max(u64::from(SEGMENT_HEADER_BYTES + 2 * MARK_BYTES)) as u32
    }
}

impl FileLog {
    pub(super) fn append_group(
        &self,
        group: &[Entry<'_>],
        placed: &mut Vec<Placed>,
    ) -> Result<(), AppendError> {
        let mut writer = self.writer.as_ref().ok_or(AppendError::ReadOnly)?.lock();
        self.check_writable(&writer)?;
        let (mut total, mut apart) = (0_u64, 0_u64);
        for (index, entry) in group.iter().enumerate() {
            total += u64::from(entry.frame_bytes(index)?);
            apart += entry
                .large_bodies()
                .map(|body| body.len() as u64)
                .sum::<u64>();
        }
        if total == 0 {
            return Ok(());
        }
        if total + apart > GROUP_BYTES_MAX {
            return Err(AppendError::GroupTooLarge {
                bytes: total + apart,
                max: GROUP_BYTES_MAX,
            });
        }
        self.make_room(&mut writer, total as u32)?;
        // Durable before a frame that names them is written: nothing on the disk may promise a
        // body that is not there.
        let bodies = group.iter().flat_map(Entry::large_bodies);
        let stubs = self
            .large
            .put(bodies)
            .map_err(|error| self.unless_full(error))?;
        let before = placed.len();
        let result = self.write_group(&mut writer, group, stubs, placed);
        if writer.buffer.capacity() > BUFFER_KEPT_BYTES {
            writer.buffer = Vec::new();
        }
        match result {
            Ok(end) => {
                writer.end = end;
                writer.marked = false;
                self.set_end(Location {
                    file: writer.number,
                    offset: end,
                });
                Ok(())
            }
            #[cfg(ate_planted)]
            Err(source)
                if source.kind() == io::ErrorKind::StorageFull
                    && crate::planted("acknowledge-on-a-full-disk") =>
            {
                Ok(())
            }
            Err(source) => {
                placed.truncate(before);
                let error = self.poison("write", writer.number, source);
                // Half a frame would read as damage after a restart: take it back if that
                // is possible. What was appended before stays.
                drop(writer.file.truncate(u64::from(writer.end)));
                Err(error)
            }
        }
    }

    /// Encodes and writes the group, in order, in pieces that fit into the cache.
    fn write_group(
        &self,
        writer: &mut Writer,
        group: &[Entry<'_>],
        stubs: Vec<Stub>,
        placed: &mut Vec<Placed>,
    ) -> io::Result<u32> {
        let mut stubs = stubs.into_iter();
        let Writer {
            file,
            number,
            end,
            buffer,
            ..
        } = writer;
        let binding = Binding::new(self.segments.log_id(), *number);
        let durable = self.durable_cursor();
        // Segments before this one were durable when it was made, so its start always is.
        let watermark = if durable.file == *number {
            durable.offset
        } else {
            SEGMENT_HEADER_BYTES
        };
        let (mut written, mut at) = (*end, *end);
        buffer.clear();
        for entry in group {
            let total = entry
                .frame_bytes(0)
                .expect("the caller has checked every entry");
            frame::encode(buffer, binding, at, watermark, entry, total, &mut stubs);
            placed.push(Placed {
                frame: Location {
                    file: *number,
                    offset: at,
                },
                parts: Location {
                    file: *number,
                    offset: at + frame::parts_offset(entry.parts.len()),
                },
                next: Location {
                    file: *number,
                    offset: at + total,
                },
                head_parts: entry.head_parts,
            });
            at += total;
            if buffer.len() >= FLUSH_BYTES {
                write_full(&**file, u64::from(written), buffer)?;
                buffer.clear();
                written = at;
            }
        }
        write_full(&**file, u64::from(written), buffer)?;
        Ok(at)
    }

    /// Sees to it that `total` bytes and a mark fit behind the end of the newest segment.
    fn make_room(&self, writer: &mut Writer, total: u32) -> Result<(), AppendError> {
        let need = writer.end.saturating_add(total).saturating_add(MARK_BYTES);
        if need > writer.size {
            let planned = writer.planned;
            let empty = writer.end == SEGMENT_HEADER_BYTES;
            if need <= planned || empty {
                let name = segment_name(writer.number);
                let place = || self.storage.place();
                writer.size = reserve(&*writer.file, place, &name, writer.size..need, planned)
                    .map_err(|error| self.unless_full(error))?;
            } else {
                self.roll(writer, total)?;
                self.keep_reserve();
            }
        }
        self.fill_ahead(writer, total)
    }

    /// Fills a window of zeros ahead of small groups, so that their sync finds blocks that
    /// were written before and needs no commit of the file system's journal.
    fn fill_ahead(&self, writer: &mut Writer, total: u32) -> Result<(), AppendError> {
        let window = self.options.zero_window_bytes;
        let end = writer.end + total;
        if window == 0 || total > SMALL_GROUP_BYTES || end <= writer.zeroed {
            return Ok(());
        }
        let from = writer.zeroed.max(writer.end);
        let to = end.saturating_add(window).min(writer.size);
        if from < to {
            writer.buffer.clear();
            writer.buffer.resize((to - from) as usize, 0);
            if let Err(source) = write_full(&*writer.file, u64::from(from), &writer.buffer) {
                return Err(self.poison("write", writer.number, source));
            }
            writer.zeroed = to;
        }
        Ok(())
    }

    /// Begins a new segment after a torn tail. The log cannot be opened without it, so on a full disk the reserve is given up for it.
    pub(super) fn roll_after_tear(&self, writer: &mut Writer) -> Result<(), AppendError> {
        match self.roll(writer, 0) {
            // As little as can be: what is left of the reserve is not for appends.
            Err(AppendError::DiskFull { .. }) if self.give_up_reserve() => {
                self.roll_to(writer, 0, 0)
            }
            result => result,
        }
    }

    /// Seals the newest segment and begins the next, of its planned size or with space for `total` bytes if they are more.
    pub(super) fn roll(&self, writer: &mut Writer, total: u32) -> Result<(), AppendError> {
        let planned = self.options.segment_bytes(Some(writer.end));
        self.roll_to(writer, total, planned)
    }

    /// Seals the newest segment and begins the next with space for `total` bytes, better `want` in all.
    ///
    /// The order is what makes recovery simple: the old file is durable to its end *before*
    /// a new one names that end, and a segment file has its name only once its header is
    /// durable. So only the newest segment can have an unproven tail.
    fn roll_to(&self, writer: &mut Writer, total: u32, want: u32) -> Result<(), AppendError> {
        let number = writer
            .number
            .checked_add(1)
            .expect("2^32 segments are more than any disk holds");
        let need = SEGMENT_HEADER_BYTES
            .saturating_add(total)
            .saturating_add(MARK_BYTES);
        // Before anything is changed: a full disk leaves the log as it was.
        let draft = draft(&*self.storage, number, need, want.max(need))
            .map_err(|error| self.unless_full(error))?;
        let sealed = Location {
            file: writer.number,
            offset: writer.end,
        };
        let turn = self.disk_turn.lock();
        self.check_poison()?;
        writer
            .file
            .truncate(u64::from(sealed.offset))
            .and_then(|()| {
                #[cfg(ate_planted)]
                if crate::planted("begin-a-segment-before-the-last-is-durable") {
                    return Ok(());
                }
                writer.file.sync_all()
            })
            .map_err(|source| self.poison("seal", writer.number, source))?;
        self.raise_durable(sealed);
        drop(turn);
        let header = SegmentHeader {
            file: number,
            log_id: *self.segments.log_id(),
            first: self.segments.first(),
            previous: sealed,
            large_end: self.large.end(),
        };
        let file =
            establish(&*self.storage, &draft, &header).map_err(|error| self.poison_with(error))?;
        self.segments.push(sealed.offset, Arc::clone(&file));
        let start = Location {
            file: number,
            offset: SEGMENT_HEADER_BYTES,
        };
        writer.file = file;
        writer.number = number;
        writer.planned = self.options.segment_bytes(Some(sealed.offset));
        writer.end = start.offset;
        writer.size = draft.size;
        writer.zeroed = start.offset;
        writer.marked = false;
        self.set_end(start);
        self.raise_durable(start);
        self.publish();
        Ok(())
    }

    pub(super) fn sync_all_appended(&self) -> Result<Cursor, AppendError> {
        let writer = self.writer.as_ref().ok_or(AppendError::ReadOnly)?;
        let (file, appended) = {
            let writer = writer.lock();
            self.check_writable(&writer)?;
            let end = Location {
                file: writer.number,
                offset: writer.end,
            };
            (Arc::clone(&writer.file), end)
        };
        let _turn = self.disk_turn.lock();
        self.check_poison()?;
        // Who waited here finds its work done; earlier segments were synced when sealed.
        if self.durable_cursor() < appended {
            // What others have appended meanwhile goes along.
            let end = match self.readable_end() {
                end if end.file == appended.file => end,
                _ => appended,
            };
            let synced = file.sync_data();
            #[cfg(ate_planted)]
            let synced = match synced {
                Err(_) if crate::planted("retry-a-failed-sync") => file.sync_data(),
                synced => synced,
            };
            synced.map_err(|source| self.poison("sync", end.file, source))?;
            self.raise_durable(end);
            self.publish();
        }
        Ok(self.durable_cursor())
    }

    pub(super) fn close_writer(&self) -> Result<(), AppendError> {
        let Some(writer) = self.writer.as_ref() else {
            return Ok(());
        };
        let mut writer = writer.lock();
        if writer.closed {
            return Ok(());
        }
        self.check_writable(&writer)?;
        if !writer.marked {
            let _turn = self.disk_turn.lock();
            self.check_poison()?;
            self.write_mark(&mut writer)
                .map_err(|source| self.poison("close", writer.number, source))?;
            self.publish();
        }
        writer.closed = true;
        self.return_reserve();
        *self.lock.lock() = None;
        Ok(())
    }

    fn write_mark(&self, writer: &mut Writer) -> io::Result<()> {
        #[cfg(ate_planted)]
        let is_early = crate::planted("mark-the-close-before-the-sync");
        #[cfg(not(ate_planted))]
        let is_early = false;
        if !is_early {
            writer.file.sync_data()?;
        }
        let at = writer.end;
        self.raise_durable(Location {
            file: writer.number,
            offset: at,
        });
        let binding = Binding::new(self.segments.log_id(), writer.number);
        let mark = frame::encode_mark(binding, at, at);
        match write_full(&*writer.file, u64::from(at), &mark) {
            // Only a write is tried again, never a sync: a second one would hide that the first one failed.
            Err(error) if is_full(&error) && self.give_up_reserve() => {
                write_full(&*writer.file, u64::from(at), &mark)?;
            }
            result => result?,
        }
        writer.file.truncate(u64::from(at + MARK_BYTES))?;
        writer.file.sync_all()?;
        writer.end = at + MARK_BYTES;
        writer.size = writer.end;
        writer.marked = true;
        let end = Location {
            file: writer.number,
            offset: writer.end,
        };
        self.set_end(end);
        self.raise_durable(end);
        Ok(())
    }

    pub(super) fn check_writable(&self, writer: &Writer) -> Result<(), AppendError> {
        self.check_poison()?;
        if writer.closed {
            Err(AppendError::Closed)
        } else {
            Ok(())
        }
    }

    fn check_poison(&self) -> Result<(), AppendError> {
        match self.poison.lock().as_ref() {
            Some(cause) => Err(AppendError::Poisoned {
                cause: cause.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Ends all writing; `source` is the failed call's error.
    fn poison(&self, doing: &'static str, number: u32, source: io::Error) -> AppendError {
        self.poison_with(AppendError::Io {
            doing,
            name: segment_name(number),
            source,
        })
    }

    /// A full disk that showed before anything was written leaves the log as it was.
    fn unless_full(&self, error: AppendError) -> AppendError {
        match error {
            AppendError::DiskFull { .. } => error,
            other => self.poison_with(other),
        }
    }

    /// Ends all writing.
    fn poison_with(&self, error: AppendError) -> AppendError {
        let cause = match &error {
            AppendError::Io { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        #[cfg(ate_planted)]
        if crate::planted("write-on-after-a-failed-sync") {
            return error;
        }
        self.poison.lock().get_or_insert(cause);
        error
    }
}

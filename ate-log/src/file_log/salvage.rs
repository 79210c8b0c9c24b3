//! Opening a damaged log for reading, as far as anything in it is intact.

use super::{
    FileLog, LogOptions,
    observe::{published_log_id, refuse_unfinished},
    open::segment_numbers,
    recovery::all_zero,
    segments::{Segments, read_header},
    survey::{DamagedRange, Stretch, Surveyed, find_header, survey_stretch},
};
use crate::{
    error::{Damage, OpenError, ReadError},
    frame::{Binding, Frame},
    location::{Cursor, Location},
    log::Scan,
    sealed::Manifest,
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name},
    storage::{Access, Storage, StorageFile, read_full},
};
use std::{io, ops::ControlFlow, sync::Arc};

/// How far into a file a frame is searched for that proves the log's id.
const SEARCHED_BYTES: u32 = 64 << 20;

impl FileLog {
    /// Opens a log for reading even if it is damaged: [`FileLog::open_reader`], except that damage anywhere does not end it. Makes and changes nothing.
    ///
    /// A [scan](crate::Log::scan) of such a log passes over what is damaged **and does not say so**; what is shown is intact. Who uses it compares the
    /// numbers of frames in a stream, and asks [`FileLog::damage`].
    ///
    /// # Errors
    /// [`OpenError::NotFound`] if there is no log; [`OpenError::Corrupt`] if not one header of a file is whole and no frame tells which log it is.
    ///
    /// # Cost
    /// Reads the whole log once.
    pub fn open_damaged(storage: Arc<dyn Storage>) -> Result<Self, OpenError> {
        refuse_unfinished(&*storage)?;
        let numbers = segment_numbers(&*storage)?;
        if numbers.is_empty() {
            return Err(OpenError::NotFound {
                place: storage.place(),
            });
        }
        let options = LogOptions::default();
        let (segments, manifest, files) = load(&storage, &numbers)?;
        let manifest = manifest.unwrap_or_else(|| segments.unsealed(options.groups));
        let mut log = Self::assemble(storage, options, segments, manifest, None, None);
        log.salvaged = Some(files);
        log.observe()?;
        let behind = log.salvage_tail()?;
        let mut ranges = Vec::new();
        log.survey(&mut |surveyed| {
            match surveyed {
                Surveyed::Frame(_) => {}
                Surveyed::Damaged(range) | Surveyed::Bodiless { damage: range, .. } => {
                    ranges.push(range.clone());
                }
            }
            ControlFlow::Continue(())
        })?;
        ranges.extend(behind);
        log.salvaged = Some(ranges);
        Ok(log)
    }

    /// What is damaged in a log that was opened by [`FileLog::open_damaged`], in order.
    #[must_use]
    pub fn damage(&self) -> &[DamagedRange] {
        self.salvaged.as_deref().unwrap_or_default()
    }

    /// Takes in what is intact behind damage at the end of the newest file, and gives what is damaged behind that.
    fn salvage_tail(&self) -> Result<Vec<DamagedRange>, ReadError> {
        let Some((start, _)) = self.tail_damage() else {
            return Ok(Vec::new());
        };
        let file = self.segments.handle(start.file)?;
        let io = |source| ReadError::Io {
            doing: "read",
            name: segment_name(start.file),
            source,
        };
        let length = u32::try_from(file.length().map_err(io)?).unwrap_or(u32::MAX);
        let stretch = Stretch {
            file: Arc::clone(&file),
            number: start.file,
            from: start.offset,
            limit: length,
        };
        let (mut end, mut behind) = (start, Vec::new());
        let _ = survey_stretch(stretch, self.segments.log_id(), &mut |surveyed| {
            match surveyed {
                Surveyed::Frame(frame) => {
                    end = frame.next;
                    behind.clear();
                }
                // What it lacks is told when the log is surveyed as a whole.
                Surveyed::Bodiless { frame, .. } => {
                    end = frame.next;
                    behind.clear();
                }
                Surveyed::Damaged(range) => behind.push(range.clone()),
            }
            ControlFlow::Continue(())
        })?;
        // Space that was reserved ahead is no damage.
        if let Some(range) = behind.last()
            && all_zero(&*file, range.at.offset..length).map_err(io)?
        {
            behind.pop();
        }
        self.raise_durable(end);
        *self.damage.lock() = None;
        Ok(behind)
    }

    /// Shows what is intact; bodies that are damaged as not read.
    pub(super) fn scan_salvaged(
        &self,
        scan: &Scan,
        visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<Cursor, ReadError> {
        self.survey_from(scan.from, &mut |surveyed| match surveyed {
            Surveyed::Frame(frame) | Surveyed::Bodiless { frame, .. }
                if scan.stream.is_none_or(|stream| stream == frame.stream) =>
            {
                visit(frame)
            }
            _ => ControlFlow::Continue(()),
        })
    }
}

/// More missing files than this between two that are there are no damage of ours: somebody made up a number.
const MISSING_MAX: usize = 1 << 16;

/// The table of files that are there, and what is damaged of them as files.
fn load(
    storage: &Arc<dyn Storage>,
    numbers: &[u32],
) -> Result<(Segments, Option<Manifest>, Vec<DamagedRange>), OpenError> {
    let mut damaged = Vec::new();
    let manifest = match Manifest::load(&**storage) {
        Ok(manifest) => manifest,
        Err(OpenError::Corrupt { damage, .. }) => {
            damaged.push(whole_file(0, 0, damage));
            None
        }
        Err(error) => return Err(error),
    };
    let mut headers = Vec::new();
    for &number in numbers {
        match read_header(&**storage, number) {
            Ok((header, _)) => headers.push(header),
            Err(OpenError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let log_id = match &manifest {
        Some(manifest) => manifest.log_id,
        None => find_log_id(&**storage, numbers, &headers)?,
    };
    headers.retain(|header| header.log_id == log_id);
    let first = headers.last().map_or(numbers[0], |header| header.first);
    let first = manifest.as_ref().map_or(first, |manifest| manifest.first);
    let newest = newest(first, numbers, &headers, manifest.as_ref())?;
    let mut files = Vec::new();
    for number in first..=newest {
        if let Some(set) = manifest.as_ref().and_then(|manifest| manifest.set(number)) {
            files.push((None, set.end));
            continue;
        }
        let (file, length) = match storage.open(&segment_name(number), Access::Read) {
            Ok(file) => {
                let length = file.length().map_err(|source| failed(number, source))?;
                (Some(file), u32::try_from(length).unwrap_or(u32::MAX))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, 0),
            Err(source) => return Err(failed(number, source)),
        };
        let of = |wanted| headers.iter().find(|header| header.file == wanted);
        let head = SEGMENT_HEADER_BYTES.min(length);
        match (&file, of(number)) {
            (None, _) => damaged.push(whole_file(number, 0, Damage::SegmentMissing)),
            (_, None) => damaged.push(whole_file(number, head, Damage::SegmentHeader)),
            _ => {}
        }
        // A file that has a successor was cut to its end when that was made.
        let end = of(number + 1).map_or(length, |next| next.previous.offset);
        files.push((file, end));
    }
    let segments = Segments::of_files(storage, log_id, first, files);
    Ok((segments, manifest, damaged))
}

/// The newest file that belongs to the log: one whose header says so, or that follows one without a gap.
fn newest(
    first: u32,
    numbers: &[u32],
    headers: &[SegmentHeader],
    manifest: Option<&Manifest>,
) -> Result<u32, OpenError> {
    let sealed = manifest.map_or(0, |manifest| manifest.sets.len() as u32);
    let said = headers.last().map_or(first, |header| header.file);
    let mut newest = said.max(first.saturating_add(sealed));
    while numbers.binary_search(&newest.saturating_add(1)).is_ok() && newest < u32::MAX {
        newest += 1;
    }
    let missing = (newest - first) as usize - sealed as usize;
    if missing > numbers.len() + MISSING_MAX {
        return Err(OpenError::Corrupt {
            at: Location {
                file: newest,
                offset: 0,
            },
            damage: Damage::SegmentHeader,
        });
    }
    Ok(newest)
}

const fn whole_file(file: u32, end: u32, damage: Damage) -> DamagedRange {
    DamagedRange {
        at: Location { file, offset: 0 },
        end,
        damage,
        frame: None,
    }
}

fn failed(number: u32, source: io::Error) -> OpenError {
    OpenError::Io {
        doing: "open",
        name: segment_name(number),
        source,
    }
}

/// The log's id: what most headers say, since a file of another log may have got among them. Where no header is whole, what a damaged one or
/// the lock file says, if a frame agrees.
fn find_log_id(
    storage: &dyn Storage,
    numbers: &[u32],
    headers: &[SegmentHeader],
) -> Result<[u8; 16], OpenError> {
    let said_by = |log_id: &[u8; 16]| {
        let same = headers.iter().filter(|header| header.log_id == *log_id);
        same.count()
    };
    if let Some(header) = headers.iter().max_by_key(|header| said_by(&header.log_id)) {
        return Ok(header.log_id);
    }
    let published = published_log_id(storage);
    for &number in numbers {
        let Ok(file) = storage.open(&segment_name(number), Access::Read) else {
            continue;
        };
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        let read = read_full(&*file, 0, &mut bytes).unwrap_or(0);
        let written = bytes[..read]
            .get(SegmentHeader::LOG_ID..)
            .and_then(<[u8]>::first_chunk)
            .copied();
        for log_id in [written, published].into_iter().flatten() {
            if has_frame(&*file, number, &log_id).map_err(|source| failed(number, source))? {
                return Ok(log_id);
            }
        }
    }
    Err(OpenError::Corrupt {
        at: Location {
            file: numbers[0],
            offset: 0,
        },
        damage: Damage::SegmentHeader,
    })
}

fn has_frame(file: &dyn StorageFile, number: u32, log_id: &[u8; 16]) -> io::Result<bool> {
    let length = file.length()?.min(SEARCHED_BYTES.into()) as u32;
    let binding = Binding::new(log_id, number);
    Ok(find_header(file, binding, SEGMENT_HEADER_BYTES, length, |_| true)?.is_some())
}

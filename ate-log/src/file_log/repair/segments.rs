//! Mending segments that are not sealed: frame by frame, from whichever copy has it whole.

use super::{NEW, Other, Work};
use crate::{
    backup::BackupError,
    error::ReadError,
    file_log::{
        FileLog,
        scan::read_one,
        segments::read_header,
        survey::{Surveyed, find_header},
    },
    frame::{Binding, MARK_BYTES, encode_mark},
    location::Location,
    log::Log as _,
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name, segment_number},
    storage::{Access, Storage, StorageFile, read_full, write_full},
};
use std::{collections::BTreeSet, io, ops::ControlFlow, sync::Arc};

impl Other {
    /// Where intact frames of a segment start.
    fn frames_in(&self, number: u32) -> Result<BTreeSet<u32>, ReadError> {
        let mut frames = BTreeSet::new();
        let from = Location {
            file: number,
            offset: SEGMENT_HEADER_BYTES,
        };
        self.log.survey_from(from, &mut |surveyed| match surveyed {
            Surveyed::Frame(frame) if frame.at.file == number => {
                frames.insert(frame.at.offset);
                ControlFlow::Continue(())
            }
            Surveyed::Frame(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })?;
        Ok(frames)
    }

    /// Where a segment ends, if it is known; of the newest, where its intact frames do.
    fn end_of(&self, number: u32) -> Option<u32> {
        let end = self.log.durable();
        if number == end.file {
            return Some(end.offset);
        }
        self.log.segments.sealed(number)
    }

    /// All bytes of an intact frame, if none of them is gone.
    fn frame(&self, at: Location, file: Option<&Arc<dyn StorageFile>>) -> Option<Vec<u8>> {
        if let Some(file) = file {
            return frame(&**file, self.log.log_id(), at);
        }
        let frame = self.log.read_frame(at).ok()?;
        frame.into_whole()
    }
}

/// All bytes of an intact frame of a segment.
fn frame(file: &dyn StorageFile, log_id: [u8; 16], at: Location) -> Option<Vec<u8>> {
    let limit = u32::try_from(file.length().ok()?).ok()?;
    let (binding, mut bytes) = (Binding::new(&log_id, at.file), Vec::new());
    read_one(file, binding, at, limit, &mut bytes).ok()?;
    Some(bytes)
}

fn open(storage: &dyn Storage, number: u32) -> Result<Option<Arc<dyn StorageFile>>, BackupError> {
    let name = segment_name(number);
    match storage.open(&name, Access::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BackupError::io("open", &name, source)),
    }
}

impl Work<'_> {
    /// Sees to it that there is a segment to begin with: the newest is never sealed.
    pub(super) fn newest_segment(&mut self) -> Result<(), BackupError> {
        let names = self.overlay.list();
        let names =
            names.map_err(|source| BackupError::io("list", &self.storage.place(), source))?;
        if names.iter().any(|name| segment_number(name).is_some()) {
            return Ok(());
        }
        let newest = self.other.log.durable().file;
        self.segment(newest, None, None)
    }

    /// Mends every segment that is damaged, missing, or ends before the other copy's.
    pub(super) fn segments(&mut self, ours: &FileLog) -> Result<(), BackupError> {
        let manifest = ours.tier.manifest();
        let first = manifest.first + manifest.sets.len() as u32;
        let (end, theirs) = (ours.durable(), self.other.log.durable());
        for number in first..=end.file.max(theirs.file) {
            let is_damaged = ours.damage().iter().any(|range| range.at.file == number);
            let is_behind = number == end.file && end < theirs || number > end.file;
            if is_damaged || is_behind {
                self.segment(number, Some(ours), Some(end))?;
            }
        }
        Ok(())
    }

    fn segment(
        &mut self,
        number: u32,
        ours: Option<&FileLog>,
        our_end: Option<Location>,
    ) -> Result<(), BackupError> {
        let (other, name) = (self.other, segment_name(number));
        let log_id = other.log.log_id();
        let here = open(&self.overlay, number)?;
        let there = open(&*other.storage, number)?.filter(|_| !other.log.tier.has(number));
        let frames = other.frames_in(number)?;
        let limit = self.limit(number, ours, our_end, here.as_ref())?;
        if limit < SEGMENT_HEADER_BYTES {
            return Ok(());
        }
        let (header, mut taken) = match read_header(&self.overlay, number) {
            Ok((header, _)) if header.log_id == log_id => (header, 0),
            _ => (self.header(number, ours)?, u64::from(SEGMENT_HEADER_BYTES)),
        };
        let new = format!("{NEW}{name}");
        let failed = |doing| {
            let name = &name;
            move |source| BackupError::io(doing, name, source)
        };
        let file = self.storage.create(&new).map_err(failed("create"))?;
        write_full(&*file, 0, &header.encode()).map_err(failed("write"))?;
        let binding = Binding::new(&log_id, number);
        let mut at = SEGMENT_HEADER_BYTES;
        while at < limit {
            let place = Location {
                file: number,
                offset: at,
            };
            let mut bytes = here.as_ref().and_then(|file| frame(&**file, log_id, place));
            if bytes.is_none() && (there.is_some() || frames.contains(&at)) {
                bytes = other.frame(place, there.as_ref());
                taken += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
            }
            let bytes = match bytes.filter(|bytes| at as usize + bytes.len() <= limit as usize) {
                Some(bytes) => bytes,
                None => {
                    let next = next_frame(here.as_ref(), &frames, binding, at, limit);
                    let next = next.map_err(failed("read"))?;
                    if next - at == MARK_BYTES && there.is_none() && !frames.is_empty() {
                        // A mark is not sealed, and says nothing but its place.
                        taken += u64::from(MARK_BYTES);
                        encode_mark(binding, at, at)
                    } else {
                        raw(here.as_ref(), at, next).map_err(failed("read"))?
                    }
                }
            };
            write_full(&*file, at.into(), &bytes).map_err(failed("write"))?;
            at += bytes.len() as u32;
            self.did(bytes.len() as u64)?;
        }
        if taken == 0 {
            return self.storage.remove(&new).map_err(failed("remove"));
        }
        file.sync_all().map_err(failed("sync"))?;
        self.take(&name, taken);
        Ok(())
    }

    /// Up to where there are frames of a segment, or may be.
    fn limit(
        &self,
        number: u32,
        ours: Option<&FileLog>,
        our_end: Option<Location>,
        here: Option<&Arc<dyn StorageFile>>,
    ) -> Result<u32, BackupError> {
        let is_newest = our_end.is_none_or(|end| number >= end.file);
        let mut limit = self.other.end_of(number).unwrap_or(0);
        if let Some(sealed) = ours.and_then(|ours| ours.segments.sealed(number)) {
            limit = if is_newest { limit.max(sealed) } else { sealed };
        } else if let (Some(end), Some(here)) = (our_end.filter(|end| end.file == number), here) {
            limit = limit.max(end.offset);
            // Never cut off what may be a frame that nobody has whole.
            if ours.is_some_and(|ours| ours.damage().iter().any(|range| range.at >= end)) {
                let length = here.length();
                let length = length
                    .map_err(|source| BackupError::io("measure", &segment_name(number), source))?;
                limit = limit.max(u32::try_from(length).unwrap_or(u32::MAX));
            }
        }
        Ok(limit)
    }

    /// The header of a segment of which this copy has none.
    fn header(&self, number: u32, ours: Option<&FileLog>) -> Result<SegmentHeader, BackupError> {
        let log = &self.other.log;
        if let Ok((header, _)) = read_header(&*self.other.storage, number) {
            return Ok(header);
        }
        let previous = Location {
            file: number - 1,
            offset: ours
                .and_then(|ours| ours.segments.sealed(number - 1))
                .or_else(|| log.segments.sealed(number - 1))
                .unwrap_or(0),
        };
        // It is sealed there. What a later segment says of large bodies is at least as far.
        let later = (number + 1..=log.durable().file)
            .find_map(|later| read_header(&*self.other.storage, later).ok());
        Ok(SegmentHeader {
            file: number,
            log_id: log.log_id(),
            first: log.segments.first(),
            previous: if number == log.segments.first() {
                Location {
                    offset: 0,
                    ..previous
                }
            } else {
                previous
            },
            large_end: later
                .map(|(header, _)| header.large_end)
                .unwrap_or_default(),
        })
    }
}

/// Where the next frame starts behind `at`, in either copy.
fn next_frame(
    here: Option<&Arc<dyn StorageFile>>,
    there: &BTreeSet<u32>,
    binding: Binding,
    at: u32,
    limit: u32,
) -> io::Result<u32> {
    let here = match here {
        Some(file) => find_header(&**file, binding, at + 1, limit, |_| true)?,
        None => None,
    };
    let there = there.range(at + 1..).next().copied();
    Ok([here, there, Some(limit)]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(limit)
        .min(limit))
}

/// Bytes as they stand, zeros where there are none.
fn raw(here: Option<&Arc<dyn StorageFile>>, from: u32, to: u32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (to - from) as usize];
    if let Some(file) = here {
        read_full(&**file, from.into(), &mut bytes)?;
    }
    Ok(bytes)
}

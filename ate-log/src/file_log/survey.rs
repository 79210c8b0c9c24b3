//! Reading past damage: every intact frame of a file, and every range that holds none.
//!
//! Where a frame's header is whole, its length is known and the next frame starts behind it. Where it is not, the next header is
//! searched for: its checksum binds it to its place, so what is found is one.

use super::{
    FileLog,
    walk::{Step, Walker, Window},
};
use crate::{
    error::{Damage, ReadError},
    frame::{
        BadFrame, Binding, FRAME_HEADER_BYTES, Frame, FrameKind, Header, MAGIC, Meaning, view,
    },
    location::{Cursor, Location, StreamId},
    segment::{SEGMENT_HEADER_BYTES, segment_name},
    storage::StorageFile,
};
use std::{io, ops::ControlFlow, sync::Arc};

const CHUNK: usize = 256 << 10;

/// What a survey of a log comes upon.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Surveyed<'a> {
    /// A frame, all of it checked, large bodies excepted.
    Frame(Frame<'a>),
    /// A frame whose heads are intact and whose bodies are not: they are given as not read.
    Bodiless {
        /// Its heads.
        frame: Frame<'a>,
        /// All of the frame, and what is damaged first.
        damage: &'a DamagedRange,
    },
    /// A range that holds no intact frame, and should.
    Damaged(&'a DamagedRange),
}

/// A range of a file that should hold frames and does not.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DamagedRange {
    /// Where it starts: a frame, or offset 0 if it is the header of the file, or the file is missing.
    pub at: Location,
    /// Where it ends: an intact frame, or the end of the frames of this file.
    pub end: u32,
    /// What is damaged first.
    pub damage: Damage,
    /// Which frame stands there, if its header is whole. Otherwise nobody can say how many there were, and whose.
    pub frame: Option<FrameName>,
}

/// Which frame it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FrameName {
    /// What it means.
    pub kind: FrameKind,
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// Its number in the stream.
    pub number: u64,
}

/// Takes what a survey comes upon.
pub(super) type Visit<'v> = dyn FnMut(Surveyed<'_>) -> ControlFlow<()> + 'v;

/// The part of a file that is surveyed.
pub(super) struct Stretch {
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) number: u32,
    pub(super) from: u32,
    /// Where frames are known to end, or might.
    pub(super) limit: u32,
}

impl FileLog {
    /// Shows every intact frame up to the [durable](crate::Log::durable) end and every damaged range, in order, until `visit` breaks. Unlike a
    /// scan it does not end at damage. Marks are not shown.
    ///
    /// A log with damage in the head of a file, or without one of its files, opens only by [`FileLog::open_damaged`].
    ///
    /// # Errors
    /// The storage failed, or there is an intact frame of an unknown kind. Damage is no error.
    ///
    /// # Cost
    /// Reads the whole log once.
    pub fn survey(
        &self,
        visit: &mut dyn FnMut(Surveyed<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.survey_from(self.first_frame(), visit).map(drop)
    }

    /// As [`FileLog::survey`], from a place on; where `visit` broke, or the durable end.
    pub(super) fn survey_from(
        &self,
        from: Cursor,
        visit: &mut Visit<'_>,
    ) -> Result<Cursor, ReadError> {
        let end = self.durable_cursor();
        let mut at = from.max(self.first_frame());
        // What belongs to no file: the manifest.
        if at == self.first_frame()
            && let Some(range) = self.damaged_file(0)
            && visit(Surveyed::Damaged(range)).is_break()
        {
            return Ok(at);
        }
        while at <= end {
            // Headers of files were judged when the log was opened.
            if at.offset <= SEGMENT_HEADER_BYTES
                && let Some(range) = self.damaged_file(at.file)
                && visit(Surveyed::Damaged(range)).is_break()
            {
                return Ok(at);
            }
            if at == end {
                break;
            }
            let limit = if at.file == end.file {
                Some(end.offset)
            } else {
                self.segments.sealed(at.file)
            };
            let surveyed = self.in_either_tier(
                at.file,
                &mut *visit,
                |visit| {
                    let stretch = Stretch {
                        file: self.segments.handle(at.file)?,
                        number: at.file,
                        from: at.offset.max(SEGMENT_HEADER_BYTES),
                        limit: limit.unwrap_or(0),
                    };
                    survey_stretch(stretch, self.segments.log_id(), visit)
                },
                |visit| self.tier.survey(at, visit),
            );
            let surveyed = match surveyed {
                // It is missing, which was said above.
                Err(ReadError::Corrupt { .. }) if self.salvaged.is_some() => {
                    ControlFlow::Continue(())
                }
                surveyed => surveyed?,
            };
            if let ControlFlow::Break(next) = surveyed {
                return Ok(next);
            }
            at = Location {
                file: at.file + 1,
                offset: SEGMENT_HEADER_BYTES,
            };
        }
        if from <= end {
            for range in self.damaged_tail(end) {
                if visit(Surveyed::Damaged(&range)).is_break() {
                    break;
                }
            }
        }
        Ok(from.max(end))
    }

    /// What is damaged behind the durable end.
    fn damaged_tail(&self, end: Cursor) -> Vec<DamagedRange> {
        match (&self.salvaged, self.tail_damage()) {
            (Some(ranges), _) => {
                let behind = ranges.iter().filter(|range| range.at >= end);
                behind.cloned().collect()
            }
            (None, Some((at, damage))) => vec![DamagedRange {
                at,
                end: at.offset,
                damage,
                frame: None,
            }],
            (None, None) => Vec::new(),
        }
    }

    /// What was found of file `number` as a whole when the log was opened.
    fn damaged_file(&self, number: u32) -> Option<&DamagedRange> {
        // Sealed files are looked at again each time.
        let is_file = |range: &&DamagedRange| {
            matches!(
                range.damage,
                Damage::SegmentHeader | Damage::SegmentMissing | Damage::Manifest
            )
        };
        self.salvaged
            .as_ref()?
            .iter()
            .filter(is_file)
            .find(|range| range.at.file == number && range.at.offset == 0)
    }
}

/// Surveys a part of one file; breaks with the place behind what `visit` broke at.
pub(super) fn survey_stretch(
    stretch: Stretch,
    log_id: &[u8; 16],
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<Cursor>, ReadError> {
    let Stretch {
        file,
        number,
        from,
        limit,
    } = stretch;
    let binding = Binding::new(log_id, number);
    let io = |source| ReadError::Io {
        doing: "read",
        name: segment_name(number),
        source,
    };
    let place = |offset| Location {
        file: number,
        offset,
    };
    let mut walker = Walker::new(Arc::clone(&file), binding, from, limit, Window::default());
    loop {
        let at = walker.at;
        let bad = match walker.step().map_err(io)? {
            Step::End => return Ok(ControlFlow::Continue(())),
            Step::Frame { header, bytes, .. } => {
                let kind = match header.meaning() {
                    Ok(Meaning::Mark) => continue,
                    Ok(Meaning::Shown(kind)) => kind,
                    Err((kind, flags)) => {
                        let at = place(at);
                        return Err(ReadError::UnknownFrame { at, kind, flags });
                    }
                };
                let frame = view(place(at), &header, kind, bytes, &[]);
                if visit(Surveyed::Frame(frame)).is_break() {
                    return Ok(ControlFlow::Break(frame.next));
                }
                continue;
            }
            Step::Short => None,
            Step::Bad(bad) => Some(bad),
        };
        let bad = damaged(&*file, binding, place(at), limit, bad).map_err(io)?;
        walker.at = bad.range.end;
        let shown = bad
            .heads
            .as_ref()
            .map(|(header, kind, bytes)| view(place(at), header, *kind, bytes, &[]));
        let surveyed = match shown {
            Some(frame) => Surveyed::Bodiless {
                frame,
                damage: &bad.range,
            },
            None => Surveyed::Damaged(&bad.range),
        };
        if visit(surveyed).is_break() {
            return Ok(ControlFlow::Break(place(bad.range.end)));
        }
    }
}

/// A damaged place.
struct Bad {
    range: DamagedRange,
    /// The bytes of the frame up to its bodies, if only those are damaged.
    heads: Option<(Header, FrameKind, Vec<u8>)>,
}

/// What stands at `at`. `bad` is `None` if the frame does not fit.
fn damaged(
    file: &dyn StorageFile,
    binding: Binding,
    at: Location,
    limit: u32,
    bad: Option<BadFrame>,
) -> io::Result<Bad> {
    let mut window = Window::default();
    let header = window
        .get(file, at.offset, FRAME_HEADER_BYTES as usize, limit)?
        .and_then(|bytes| bytes.first_chunk())
        .and_then(|bytes| Header::decode(binding, at.offset, bytes));
    let damage = bad.map_or(Damage::SegmentShort, |bad| bad.damage);
    let mut heads = None;
    let end = match &header {
        Some(header) if header.total <= limit - at.offset => {
            if let Damage::FramePart { index } = damage
                && index >= header.head_parts.into()
                && let Some(name) = header.name()
                && let Some(bytes) = window.get(file, at.offset, header.total as usize, limit)?
            {
                let head_bytes = header.head_bytes(bytes) as usize;
                heads = Some((*header, name.kind, bytes[..head_bytes].to_vec()));
            }
            at.offset + header.total
        }
        _ => find_header(file, binding, at.offset + 1, limit, |_| true)?.unwrap_or(limit),
    };
    let range = DamagedRange {
        at,
        end,
        damage,
        frame: header.and_then(|header| header.name()),
    };
    Ok(Bad { range, heads })
}

/// Where the first valid header in `[from, limit)` stands that `is_wanted`.
pub(super) fn find_header(
    file: &dyn StorageFile,
    binding: Binding,
    from: u32,
    limit: u32,
    is_wanted: impl Fn(&Header) -> bool,
) -> io::Result<Option<u32>> {
    let mut window = Window::default();
    let mut start = from;
    while limit.saturating_sub(start) >= FRAME_HEADER_BYTES {
        let size = ((limit - start) as usize).min(CHUNK);
        let Some(bytes) = window.get(file, start, size, limit)? else {
            return Ok(None);
        };
        for (index, candidate) in bytes.windows(FRAME_HEADER_BYTES as usize).enumerate() {
            if candidate[..2] != MAGIC {
                continue;
            }
            let at = start + index as u32;
            let header = candidate
                .first_chunk()
                .and_then(|bytes| Header::decode(binding, at, bytes));
            if header.is_some_and(|header| is_wanted(&header)) {
                return Ok(Some(at));
            }
        }
        // Headers that straddle the border are looked at in the next round.
        start += size as u32 - (FRAME_HEADER_BYTES - 1);
    }
    Ok(None)
}

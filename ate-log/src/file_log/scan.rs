//! Showing frames in order: all of them, or those of one stream.

use super::{
    FileLog,
    walk::{Step, Walker, Window},
};
use crate::{
    error::{Damage, ReadError},
    frame::{Binding, FRAME_HEADER_BYTES, Frame, Header, Meaning, check, view},
    location::{Cursor, Location, StreamId},
    log::Scan,
    segment::{SEGMENT_HEADER_BYTES, segment_name},
    storage::{StorageFile, read_full},
};
use std::{ops::ControlFlow, sync::Arc};

/// What is read of a frame before its length is known.
const FIRST_READ_BYTES: u32 = 4096;

/// Shows a frame.
pub(super) type Visit<'a> = dyn FnMut(Frame<'_>) -> ControlFlow<()> + 'a;

impl FileLog {
    pub(super) fn scan_frames(
        &self,
        scan: &Scan,
        visit: &mut Visit<'_>,
    ) -> Result<Cursor, ReadError> {
        let end = self.durable_cursor();
        let mut at = scan.from.max(self.first_frame());
        let mut window = Window::default();
        while at < end {
            let limit = self.limit_of(at, end)?;
            let shown = self.show_file(scan, at, limit, &mut window, visit)?;
            if let ControlFlow::Break(next) = shown {
                return Ok(next);
            }
            at = Location {
                file: at.file + 1,
                offset: SEGMENT_HEADER_BYTES,
            };
        }
        match self.tail_damage() {
            Some((at, damage)) if at == end && scan.from <= end => {
                Err(ReadError::Corrupt { at, damage })
            }
            _ => Ok(scan.from.max(end)),
        }
    }

    /// Shows the frames of one segment from `at` on, wherever they are. What was shown is not
    /// shown again if the segment is sealed or rewritten meanwhile.
    fn show_file(
        &self,
        scan: &Scan,
        at: Location,
        limit: u32,
        window: &mut Window,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<Cursor>, ReadError> {
        self.in_either_tier(
            at.file,
            &mut (at, window, visit),
            |(at, window, visit)| {
                let from = *at;
                let mut visit = |frame: Frame<'_>| {
                    *at = frame.next;
                    visit(frame)
                };
                match scan.stream {
                    Some(stream) => self.show_stream(stream, from, limit, &mut visit),
                    None => self.show_all(from, limit, window, &mut visit),
                }
            },
            |(at, _, visit)| {
                let from = *at;
                self.tier.show(scan, from, &mut |frame| {
                    *at = frame.next;
                    visit(frame)
                })
            },
        )
    }

    /// Where the frames of the segment of `at` end.
    pub(super) fn limit_of(&self, at: Location, end: Cursor) -> Result<u32, ReadError> {
        let limit = if at.file == end.file {
            Some(end.offset)
        } else {
            self.segments.sealed(at.file)
        };
        match limit {
            Some(limit) if at.offset <= limit => Ok(limit),
            _ => Err(ReadError::Corrupt {
                at,
                damage: Damage::FrameHeader,
            }),
        }
    }

    fn show_all(
        &self,
        at: Location,
        limit: u32,
        window: &mut Window,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<Cursor>, ReadError> {
        let file = self.segments.handle(at.file)?;
        let binding = Binding::new(self.segments.log_id(), at.file);
        let from = at.offset.max(SEGMENT_HEADER_BYTES);
        let mut walker = Walker::new(file, binding, from, limit, std::mem::take(window));
        let shown = show_rest(&mut walker, at.file, visit);
        *window = walker.into_window();
        shown
    }

    fn show_stream(
        &self,
        stream: StreamId,
        at: Location,
        limit: u32,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<Cursor>, ReadError> {
        let file = self.segments.handle(at.file)?;
        let binding = Binding::new(self.segments.log_id(), at.file);
        let (from, number) = (at.offset.max(SEGMENT_HEADER_BYTES), at.file);
        let found = self
            .streams
            .find(Arc::clone(&file), binding, number, stream, from, limit);
        let mut bytes = Vec::new();
        for offset in found.frames {
            let at = Location {
                file: number,
                offset,
            };
            let header = read_one(&*file, binding, at, limit, &mut bytes)?;
            let kind = match header.meaning() {
                Ok(Meaning::Mark) => continue,
                Ok(Meaning::Shown(kind)) => kind,
                Err((kind, flags)) => return Err(ReadError::UnknownFrame { at, kind, flags }),
            };
            let frame = view(at, &header, kind, &bytes, &[]);
            if visit(frame).is_break() {
                return Ok(ControlFlow::Break(frame.next));
            }
        }
        match found.failed {
            Some(error) => Err(error),
            None => Ok(ControlFlow::Continue(())),
        }
    }
}

/// Reads and checks the frame at `at` into `bytes`.
pub(super) fn read_one(
    file: &dyn StorageFile,
    binding: Binding,
    at: Location,
    limit: u32,
    bytes: &mut Vec<u8>,
) -> Result<Header, ReadError> {
    let corrupt = |damage| ReadError::Corrupt { at, damage };
    let io = |source| ReadError::Io {
        doing: "read",
        name: segment_name(at.file),
        source,
    };
    let left = limit.saturating_sub(at.offset);
    if left < FRAME_HEADER_BYTES {
        return Err(corrupt(Damage::SegmentShort));
    }
    bytes.resize(left.min(FIRST_READ_BYTES) as usize, 0);
    let read = read_full(file, at.offset.into(), bytes).map_err(io)?;
    let header = bytes[..read]
        .first_chunk()
        .and_then(|bytes| Header::decode(binding, at.offset, bytes))
        .ok_or_else(|| corrupt(Damage::FrameHeader))?;
    if header.total > left {
        return Err(corrupt(Damage::SegmentShort));
    }
    let total = header.total as usize;
    bytes.resize(total, 0);
    if total > read {
        let rest = u64::from(at.offset) + read as u64;
        let more = read_full(file, rest, &mut bytes[read..]).map_err(io)?;
        if read + more < total {
            return Err(corrupt(Damage::SegmentShort));
        }
    }
    check(binding, at.offset, &header, bytes, &[]).map_err(|bad| corrupt(bad.damage))?;
    Ok(header)
}

/// Shows every frame that is left to `walker` in segment `number`; breaks with the place after the
/// frame at which `visit` did.
fn show_rest(
    walker: &mut Walker,
    number: u32,
    visit: &mut Visit<'_>,
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
                let frame = view(at, &header, kind, bytes, &[]);
                if visit(frame).is_break() {
                    return Ok(ControlFlow::Break(frame.next));
                }
            }
        }
    }
}

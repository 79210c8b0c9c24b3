//! Showing the frames of sealed segments: put together again from their pieces.

use super::Tier;
use crate::{
    error::{Damage, ReadError},
    file_log::scan::Visit,
    frame::{Binding, FRAME_HEADER_BYTES, Gone, Header, Meaning, OwnedFrame, check, view},
    location::{Cursor, Location},
    log::{Bodies, Scan},
    sealed::{SealedFrame, SealedPair, Set},
};
use std::{ops::ControlFlow, sync::Arc};

/// How much is read at once where pieces follow each other.
const AHEAD_BYTES: usize = 256 << 10;

impl Tier {
    /// Shows the frames of a set from `from` on.
    pub(in crate::file_log) fn show(
        &self,
        scan: &Scan,
        from: Location,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<Cursor>, ReadError> {
        let manifest = self.manifest();
        let set = manifest.set(from.file).ok_or(ReadError::Corrupt {
            at: from,
            damage: Damage::SealedMissing,
        })?;
        match scan.stream {
            Some(_) => self.show_stream(set, scan, from, visit),
            None => self.show_all(set, scan, from, visit),
        }
    }

    fn show_stream(
        &self,
        set: &Set,
        scan: &Scan,
        from: Location,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<Cursor>, ReadError> {
        let stream = scan.stream.expect("asked for by the caller");
        let manifest = self.manifest();
        let group = crate::sealed::group_of(&stream, manifest.groups);
        let Some(files) = set.groups.iter().find(|files| files.group == group) else {
            return Ok(ControlFlow::Continue(()));
        };
        let mut pieces = Pieces::new(self.pair(set, files)?, scan.bodies);
        for frame in pieces.pair.frames_of(&stream)? {
            if frame.offset < from.offset {
                continue;
            }
            let shown = pieces.show(&frame, visit)?;
            if shown.is_break() {
                return Ok(shown);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// All groups, merged by the places that their frames had.
    fn show_all(
        &self,
        set: &Set,
        scan: &Scan,
        from: Location,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<Cursor>, ReadError> {
        let mut groups = Vec::with_capacity(set.groups.len());
        for files in &set.groups {
            let pair = self.pair(set, files)?;
            let index = self.index(&pair)?;
            groups.push((index, Pieces::new(pair, scan.bodies)));
        }
        let mut groups: Vec<_> = groups
            .iter_mut()
            .map(|(index, pieces)| (index.frames_from(from.offset).peekable(), pieces))
            .collect();
        loop {
            let next = groups
                .iter_mut()
                .filter_map(|(frames, pieces)| {
                    let offset = frames.peek()?.offset;
                    Some((offset, frames, pieces))
                })
                .min_by_key(|(offset, ..)| *offset);
            let Some((_, frames, pieces)) = next else {
                return Ok(ControlFlow::Continue(()));
            };
            let frame = frames.next().expect("peeked at");
            let shown = pieces.show(&frame, visit)?;
            if shown.is_break() {
                return Ok(shown);
            }
        }
    }

    /// Reads and checks the frame that stood at `at`.
    pub(in crate::file_log) fn read_frame(&self, at: Location) -> Result<OwnedFrame, ReadError> {
        let manifest = self.manifest();
        let nowhere = || ReadError::Corrupt {
            at,
            damage: Damage::FrameHeader,
        };
        let set = manifest.set(at.file).ok_or_else(nowhere)?;
        for files in &set.groups {
            let pair = self.pair(set, files)?;
            let found = self.index(&pair)?.frame_at(at.offset);
            if let Some(frame) = found.filter(|frame| frame.offset == at.offset) {
                let mut pieces = Pieces::new(pair, Bodies::Read);
                let header = pieces.read(&frame)?;
                let kind = meaning(&header, at)?.ok_or_else(nowhere)?;
                let Pieces { bytes, gone, .. } = pieces;
                return Ok(OwnedFrame::new(at, header, kind, bytes, gone));
            }
        }
        Err(nowhere())
    }
}

/// What a frame is for those who look at it; `None`: for the log alone.
fn meaning(header: &Header, at: Location) -> Result<Option<crate::FrameKind>, ReadError> {
    match header.meaning() {
        Ok(Meaning::Mark) => Ok(None),
        Ok(Meaning::Shown(kind)) => Ok(Some(kind)),
        Err((kind, flags)) => Err(ReadError::UnknownFrame { at, kind, flags }),
    }
}

/// Puts frames of one pair together.
pub(super) struct Pieces {
    pair: Arc<SealedPair>,
    want: Bodies,
    heads: Ahead,
    bodies: Ahead,
    /// The frame read last, as it stood in the segment; what is gone is zero.
    pub(super) bytes: Vec<u8>,
    pub(super) gone: Vec<Gone>,
}

impl Pieces {
    pub(super) fn new(pair: Arc<SealedPair>, want: Bodies) -> Self {
        Self {
            pair,
            want,
            heads: Ahead::default(),
            bodies: Ahead::default(),
            bytes: Vec::new(),
            gone: Vec::new(),
        }
    }

    fn show(
        &mut self,
        frame: &SealedFrame,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<Cursor>, ReadError> {
        let header = self.read(frame)?;
        let at = self.place(frame);
        let Some(kind) = meaning(&header, at)? else {
            return Ok(ControlFlow::Continue(()));
        };
        let shown = view(at, &header, kind, &self.bytes, &self.gone);
        Ok(if visit(shown).is_break() {
            ControlFlow::Break(shown.next)
        } else {
            ControlFlow::Continue(())
        })
    }

    pub(super) fn place(&self, frame: &SealedFrame) -> Location {
        Location {
            file: self.pair.id().file,
            offset: frame.offset,
        }
    }

    /// Reads and checks the heads of a frame whose bodies are damaged.
    pub(super) fn read_heads_alone(&mut self, frame: &SealedFrame) -> Result<Header, ReadError> {
        let want = std::mem::replace(&mut self.want, Bodies::Skip);
        let read = self.read(frame);
        self.want = want;
        read
    }

    /// Reads and checks the pieces of a frame: its heads, and its bodies if they are wanted.
    pub(super) fn read(&mut self, frame: &SealedFrame) -> Result<Header, ReadError> {
        let Self {
            pair,
            heads,
            bodies,
            bytes,
            gone,
            ..
        } = self;
        bytes.resize(frame.head_bytes as usize, 0);
        let size = pair.files().heads_bytes;
        heads.read(frame.heads_at, size, bytes, |at, out| {
            pair.read_heads(at, out)
        })?;
        pair.check_head(frame, bytes)?;
        let range = frame.body_range();
        gone.clear();
        if pair.gone_count() > 0 && !range.is_empty() {
            *gone = pair.gone_in(range.clone())?;
        }
        if self.want == Bodies::Read && !range.is_empty() {
            bytes.resize(frame.total as usize, 0);
            bytes[frame.head_bytes as usize..].fill(0);
            let size = pair.files().bodies_bytes;
            let mut at = range.start;
            let mut from = frame.bodies_at.unwrap_or(size);
            let ends = gone.iter().map(|part| (part.at, part.end() - part.at));
            for (end, skip) in ends.chain([(range.end, 0)]) {
                let piece = (at - frame.offset) as usize..(end - frame.offset) as usize;
                let length = end - at;
                bodies.read(from, size, &mut bytes[piece], |at, out| {
                    pair.read_bodies(at, out)
                })?;
                from += length;
                at = end + skip;
            }
        }
        let at = self.place(frame);
        let corrupt = |damage| ReadError::Corrupt { at, damage };
        let binding = Binding::new(&self.pair.id().log_id, at.file);
        let header = self
            .bytes
            .first_chunk::<{ FRAME_HEADER_BYTES as usize }>()
            .and_then(|bytes| Header::decode(binding, frame.offset, bytes))
            .ok_or_else(|| corrupt(Damage::FrameHeader))?;
        if self.want == Bodies::Read {
            check(binding, frame.offset, &header, &self.bytes, &self.gone)
                .map_err(|bad| corrupt(bad.damage))?;
        }
        Ok(header)
    }
}

/// Reads ahead where pieces follow each other, and no more than asked for where they do not.
#[derive(Default)]
struct Ahead {
    bytes: Vec<u8>,
    start: u32,
    next: u32,
}

impl Ahead {
    /// Fills `out` from `at` of a file of `size` bytes.
    fn read(
        &mut self,
        at: u32,
        size: u32,
        out: &mut [u8],
        read: impl Fn(u32, &mut [u8]) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        if out.is_empty() {
            return Ok(());
        }
        let held = at
            .checked_sub(self.start)
            .map(|from| from as usize..from as usize + out.len())
            .and_then(|range| self.bytes.get(range));
        if let Some(held) = held {
            out.copy_from_slice(held);
        } else if at == self.next && out.len() < AHEAD_BYTES {
            let length = AHEAD_BYTES.min(size.saturating_sub(at) as usize);
            self.bytes.resize(length.max(out.len()), 0);
            self.start = at;
            if let Err(error) = read(at, &mut self.bytes) {
                self.bytes.clear();
                return Err(error);
            }
            out.copy_from_slice(&self.bytes[..out.len()]);
        } else {
            read(at, out)?;
        }
        self.next = at + out.len() as u32;
        Ok(())
    }
}

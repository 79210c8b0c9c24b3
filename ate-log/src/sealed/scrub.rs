//! Checks all of a pair: every byte is covered by a checksum or known to be zero.

use super::{
    PACE_BYTES, Pace,
    index::{Gone, Index, SealedFrame},
    pair::SealedPair,
    shape::{Outline, Shape},
    tables::FrameEntry,
};
use crate::{
    error::{Damage, ReadError},
    frame::{Binding, FRAME_HEADER_BYTES, Header},
    location::Location,
};
use std::ops::ControlFlow;

impl SealedPair {
    /// Reads both files from start to end and checks every frame that the index names: header,
    /// table, each part that is there, and that what is not there is exactly a gone part.
    ///
    /// `found` gets each damage with the logical place of its frame, or offset 0 if it is of
    /// the pair as a whole. If the index is damaged nothing more can be checked. Memory: two
    /// frames at most. `Break`: the pace has stopped it.
    ///
    /// # Errors
    /// Only if the storage fails.
    pub(crate) fn scrub(
        &self,
        pace: &mut Pace<'_>,
        found: &mut dyn FnMut(Location, Damage),
    ) -> Result<ControlFlow<()>, ReadError> {
        let index = match self.load_index() {
            Ok(index) => index,
            Err(ReadError::Corrupt { at, damage }) => {
                found(at, damage);
                return Ok(ControlFlow::Continue(()));
            }
            Err(error) => return Err(error),
        };
        let mut bodies_are_there = index.bodies_bytes > 0;
        if bodies_are_there && let Err(error) = self.bodies() {
            let ReadError::Corrupt { at, damage } = error else {
                return Err(error);
            };
            found(at, damage);
            bodies_are_there = false;
        }
        let mut scrub = Scrub {
            pair: self,
            index: &index,
            binding: Binding::new(&self.id.log_id, self.id.file),
            heads: Ahead::default(),
            bodies: Ahead::default(),
            bodies_are_there,
        };
        let mut done = 0;
        for frame in &index.frames {
            scrub.frame(frame, found)?;
            done += u64::from(frame.total);
            if done >= PACE_BYTES as u64 && pace(std::mem::take(&mut done)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl SealedPair {
    /// Checks the piece of the heads file that `frame` points to: that it is this frame of this
    /// stream, and all checksums in it. Whoever has the frame from
    /// [`frames_of`](Self::frames_of) must ask this before it believes anything.
    ///
    /// # Errors
    /// The first damage, with the place of the frame.
    pub(crate) fn check_head(&self, frame: &SealedFrame, piece: &[u8]) -> Result<(), ReadError> {
        let binding = Binding::new(&self.id.log_id, self.id.file);
        let corrupt = |damage| ReadError::Corrupt {
            at: self.location(frame.offset),
            damage,
        };
        let shape = front(binding, frame.offset, piece).map_err(corrupt)?;
        if !is_of(&shape, frame) || piece.len() != frame.head_bytes as usize {
            return Err(corrupt(Damage::SealedIndex));
        }
        for part in shape.parts().take_while(|part| part.is_head) {
            let bytes = &piece[part.stored.start as usize..part.end() as usize];
            if !is_whole(binding, frame.offset + part.stored.start, bytes) {
                return Err(corrupt(Damage::FramePart { index: part.index }));
            }
        }
        Ok(())
    }
}

/// Whether this is the shape of the frame that the index means.
fn is_of(shape: &Shape<'_>, frame: &SealedFrame) -> bool {
    shape.outline.stream == frame.stream
        && shape.outline.total == frame.total
        && shape.head_bytes == frame.head_bytes
}

struct Scrub<'a> {
    pair: &'a SealedPair,
    index: &'a Index,
    binding: Binding,
    heads: Ahead,
    bodies: Ahead,
    bodies_are_there: bool,
}

impl Scrub<'_> {
    fn frame(
        &mut self,
        frame: &FrameEntry,
        found: &mut dyn FnMut(Location, Damage),
    ) -> Result<(), ReadError> {
        let (pair, at) = (self.pair, self.pair.location(frame.offset));
        let head = self.heads.get(
            frame.heads_at,
            frame.head_bytes,
            self.index.heads_end,
            |at, out| pair.read_heads(at, out),
        )?;
        let stream = self.index.streams[frame.stream as usize].id;
        let shape = match front(self.binding, frame.offset, head) {
            Ok(shape) => shape,
            Err(damage) => {
                found(at, damage);
                return Ok(());
            }
        };
        if !is_of(&shape, &frame.shown(stream)) {
            found(at, Damage::SealedIndex);
            return Ok(());
        }
        let gone = self.index.gone_in(frame.body_range());
        if !gone_are_parts(&shape, frame.offset, gone) {
            found(at, Damage::SealedIndex);
            return Ok(());
        }
        let present = frame.total - frame.head_bytes - self.index.absent_in(frame.body_range());
        let body = if self.bodies_are_there && present > 0 {
            self.bodies.get(
                frame.bodies_at,
                present,
                self.index.bodies_bytes,
                |at, out| pair.read_bodies(at, out),
            )?
        } else {
            &[]
        };
        let (mut gone, mut body_at) = (gone.iter().peekable(), 0);
        for part in shape.parts() {
            let start = frame.offset + part.stored.start;
            let bytes = (part.end() - part.stored.start) as usize;
            let piece = if part.is_head {
                &head[part.stored.start as usize..part.end() as usize]
            } else if gone.next_if(|gone| gone.at == start).is_some() || !self.bodies_are_there {
                continue;
            } else {
                body_at += bytes;
                &body[body_at - bytes..body_at]
            };
            if !is_whole(self.binding, start, piece) {
                found(at, Damage::FramePart { index: part.index });
            }
        }
        Ok(())
    }
}

/// The shape of a frame, header and table checked. `piece` starts with them.
pub(super) fn front(binding: Binding, offset: u32, piece: &[u8]) -> Result<Shape<'_>, Damage> {
    piece
        .first_chunk()
        .and_then(|bytes| Header::decode(binding, offset, bytes))
        .ok_or(Damage::FrameHeader)?;
    let outline = Outline::read(piece).ok_or(Damage::FrameHeader)?;
    piece
        .get(FRAME_HEADER_BYTES as usize..outline.front_bytes() as usize)
        .filter(|table| is_whole(binding, offset + FRAME_HEADER_BYTES, table))
        .and_then(|_| Shape::read(piece))
        .ok_or(Damage::FrameTable)
}

/// Whether the checksum that ends `piece`, which stood at `offset`, is right.
pub(super) fn is_whole(binding: Binding, offset: u32, piece: &[u8]) -> bool {
    piece
        .split_last_chunk()
        .is_some_and(|(bytes, crc)| binding.crc(offset, bytes) == u32::from_le_bytes(*crc))
}

/// Whether each gone entry is one whole body part. Both are in order.
fn gone_are_parts(shape: &Shape<'_>, offset: u32, gone: &[Gone]) -> bool {
    let mut bodies = shape.parts().filter(|part| !part.is_head);
    gone.iter().all(|gone| {
        bodies
            .find(|part| offset + part.stored.start == gone.at)
            .is_some_and(|part| part.stored.end - part.stored.start == gone.stored)
    })
}

/// A file read in big steps, forwards.
#[derive(Default)]
struct Ahead {
    bytes: Vec<u8>,
    start: u32,
}

impl Ahead {
    /// The `need` bytes at `at`. Reads on up to `limit`, to which the caller has checked that
    /// the file goes.
    fn get(
        &mut self,
        at: u32,
        need: u32,
        limit: u32,
        read: impl FnOnce(u32, &mut [u8]) -> Result<(), ReadError>,
    ) -> Result<&[u8], ReadError> {
        let held = at >= self.start
            && u64::from(at) + u64::from(need) <= u64::from(self.start) + self.bytes.len() as u64;
        if !held {
            let wanted = (need as usize).max(PACE_BYTES.min((limit - at) as usize));
            self.bytes.resize(wanted, 0);
            self.start = at;
            if let Err(error) = read(at, &mut self.bytes) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let from = (at - self.start) as usize;
        Ok(&self.bytes[from..from + need as usize])
    }
}

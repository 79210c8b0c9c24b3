//! Verdicts on the end of the newest segment: `docs/format.md`, section 6.4.

use super::{
    survey::find_header,
    walk::{Step, Walker, Window},
};
use crate::{
    error::{Damage, ReadError},
    frame::{BadFrame, Binding, Header, MARK_BYTES, check},
    location::Location,
    segment::{SEGMENT_HEADER_BYTES, segment_name},
    storage::{StorageFile, read_full},
};
use std::{io, ops::Range, sync::Arc};

/// What a disk writes whole or not at all.
const SECTOR: u32 = 512;
const CHUNK: usize = 256 << 10;

/// How the newest segment ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tail {
    /// Where its last valid frame ends.
    pub(super) end: u32,
    /// Everything before was proven durable by a watermark.
    pub(super) proven: u32,
    /// Where the last large body ends that its frames name, if they were read.
    pub(super) large_end: Location,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// A mark ends the file: it was closed, and all before the mark is durable. The frames
    /// were not read.
    Closed,
    /// Valid frames, then nothing or zeros.
    Open,
    /// After `end` stands a frame that was being written when the power went.
    Torn,
    /// At `end` something is damaged that may have been durable.
    Corrupt(Damage),
}

/// Judges the newest segment file. Only reads.
///
/// # Errors
/// The storage failed, or there is a valid frame of an unknown kind.
pub(super) fn judge(
    file: &Arc<dyn StorageFile>,
    number: u32,
    binding: Binding,
) -> Result<Tail, ReadError> {
    let io = |source| ReadError::Io {
        doing: "read",
        name: segment_name(number),
        source,
    };
    let length = file.length().map_err(io)?;
    // No file of ours is that long; the rest of one that is cannot be a frame.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    if length < SEGMENT_HEADER_BYTES {
        let damage = Damage::SegmentHeader;
        return Ok(Tail {
            end: SEGMENT_HEADER_BYTES,
            proven: SEGMENT_HEADER_BYTES,
            large_end: Location::default(),
            verdict: Verdict::Corrupt(damage),
        });
    }
    if closed_by_mark(&**file, length, binding).map_err(io)? {
        return Ok(Tail {
            end: length,
            // The mark proves what is before it, not itself.
            proven: length - MARK_BYTES,
            large_end: Location::default(),
            verdict: Verdict::Closed,
        });
    }
    let mut walker = Walker::new(
        Arc::clone(file),
        binding,
        SEGMENT_HEADER_BYTES,
        length,
        Window::default(),
    );
    let (mut proven, mut large_end) = (SEGMENT_HEADER_BYTES, Location::default());
    let verdict = loop {
        match walker.step().map_err(io)? {
            Step::End => break Verdict::Open,
            Step::Frame { at, header, bytes } => {
                proven = proven.max(header.watermark);
                for stub in header.stubs(bytes) {
                    large_end = large_end.max(stub.end());
                }
                if let Err((kind, flags)) = header.meaning() {
                    let (file, offset) = (number, at);
                    let at = Location { file, offset };
                    return Err(ReadError::UnknownFrame { at, kind, flags });
                }
            }
            Step::Short => {
                break judge_bad(&**file, binding, walker.at, length, None).map_err(io)?;
            }
            Step::Bad(bad) => {
                break judge_bad(&**file, binding, walker.at, length, Some(bad)).map_err(io)?;
            }
        }
    };
    Ok(Tail {
        end: walker.at,
        proven,
        large_end,
        verdict,
    })
}

/// Whether the file ends with a mark that proves everything before it.
fn closed_by_mark(file: &dyn StorageFile, length: u32, binding: Binding) -> io::Result<bool> {
    let Some(at) = length
        .checked_sub(MARK_BYTES)
        .filter(|at| *at >= SEGMENT_HEADER_BYTES)
    else {
        return Ok(false);
    };
    let mut bytes = [0; MARK_BYTES as usize];
    if read_full(file, u64::from(at), &mut bytes)? < bytes.len() {
        return Ok(false);
    }
    let header = bytes
        .first_chunk()
        .and_then(|bytes| Header::decode(binding, at, bytes));
    Ok(header.is_some_and(|header| {
        header.is_mark()
            && header.total == MARK_BYTES
            && header.watermark == at
            && check(binding, at, &header, &bytes, &[]).is_ok()
    }))
}

/// The frame at `at` is not valid; `bad` is `None` if the file ends inside it.
fn judge_bad(
    file: &dyn StorageFile,
    binding: Binding,
    at: u32,
    length: u32,
    bad: Option<BadFrame>,
) -> io::Result<Verdict> {
    let damage = bad.as_ref().map_or(Damage::SegmentShort, |bad| bad.damage);
    if all_zero(file, at..length)? {
        // Preallocated space, or frames of which not one sector arrived.
        return Ok(Verdict::Open);
    }
    #[cfg(ate_planted)]
    if crate::planted("take-damage-for-torn") {
        return Ok(Verdict::Torn);
    }
    if proven_later(file, binding, at, length)? {
        return Ok(Verdict::Corrupt(damage));
    }
    match bad {
        None => Ok(Verdict::Torn),
        Some(bad) if !lost_sector(file, at, bad.region.clone(), length)? => {
            Ok(Verdict::Corrupt(damage))
        }
        Some(_) => Ok(Verdict::Torn),
    }
}

/// Whether a valid header after `at` carries a watermark beyond `at`. Headers of the same
/// group carry an earlier one and prove nothing.
fn proven_later(
    file: &dyn StorageFile,
    binding: Binding,
    at: u32,
    length: u32,
) -> io::Result<bool> {
    let found = find_header(file, binding, at + 1, length, |header| {
        #[cfg(ate_planted)]
        if crate::planted("believe-a-watermark-of-the-same-group") {
            return true;
        }
        header.watermark > at
    })?;
    Ok(found.is_some())
}

/// Whether one of the aligned sectors under `region` never arrived: from the start of the
/// frame, or of the sector, to the end of the sector there are only zeros.
///
/// A sector is written whole, and later frames are written only after a sync of this one or
/// together with it; so where this frame's bytes are missing, later ones in the same sector
/// are missing too.
fn lost_sector(
    file: &dyn StorageFile,
    frame: u32,
    region: Range<u32>,
    length: u32,
) -> io::Result<bool> {
    let mut sector = region.start / SECTOR * SECTOR;
    let mut window = Window::default();
    while sector < region.end {
        let from = sector.max(frame);
        let to = sector.saturating_add(SECTOR).min(length);
        match window.get(file, from, (to - from) as usize, length)? {
            Some(bytes) if is_zero(bytes) => return Ok(true),
            _ => {}
        }
        sector = sector.saturating_add(SECTOR);
    }
    Ok(false)
}

pub(super) fn all_zero(file: &dyn StorageFile, range: Range<u32>) -> io::Result<bool> {
    let mut window = Window::default();
    let mut at = range.start;
    while at < range.end {
        let size = ((range.end - at) as usize).min(CHUNK);
        match window.get(file, at, size, range.end)? {
            Some(bytes) if is_zero(bytes) => at += size as u32,
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// In blocks, so that the compiler can look at many bytes at once.
fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(64)
        .all(|block| block.iter().fold(0, |sum, byte| sum | byte) == 0)
}

//! Walks over the frames of one file with big sequential reads.

use crate::{
    error::Damage,
    frame::{BadFrame, Binding, FRAME_HEADER_BYTES, Header, check},
    storage::{StorageFile, read_full},
};
use std::{io, sync::Arc};

/// How much is read at a time: small enough to stay in a core's second-level cache between
/// the copy out of the page cache and the checksum, large enough to make the call disappear.
const CHUNK_BYTES: usize = 256 << 10;

/// A part of a file in memory.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    start: u32,
    filled: usize,
}

impl Window {
    /// The `need` bytes at `at`, or `None` if the file ends before. Reads ahead up to `limit`.
    pub(super) fn get(
        &mut self,
        file: &dyn StorageFile,
        at: u32,
        need: usize,
        limit: u32,
    ) -> io::Result<Option<&[u8]>> {
        let held = at >= self.start && (at - self.start) as usize + need <= self.filled;
        if !held {
            let wanted = need.max(CHUNK_BYTES.min(limit.saturating_sub(at) as usize));
            if self.bytes.len() < wanted {
                // Nothing of the old bytes is needed, and fresh zeros come from the system.
                self.bytes = vec![0; wanted];
            }
            self.filled = 0;
            self.start = at;
            self.filled = read_full(file, u64::from(at), &mut self.bytes[..wanted])?;
        }
        let from = (at - self.start) as usize;
        Ok(self.bytes[..self.filled].get(from..from + need))
    }
}

/// Reads the frames of one file in order, checking each.
pub(super) struct Walker {
    pub(super) file: Arc<dyn StorageFile>,
    binding: Binding,
    /// Where the next frame starts.
    pub(super) at: u32,
    limit: u32,
    window: Window,
}

/// What stands at the walker's place.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// Nothing, this is the limit.
    End,
    /// A checked frame; the walker has moved behind it.
    Frame {
        at: u32,
        header: Header,
        bytes: &'a [u8],
    },
    /// No valid frame.
    Bad(BadFrame),
    /// Limit or file end before the frame does.
    Short,
}

impl Walker {
    pub(super) const fn new(
        file: Arc<dyn StorageFile>,
        binding: Binding,
        at: u32,
        limit: u32,
        window: Window,
    ) -> Self {
        Self {
            file,
            binding,
            at,
            limit,
            window,
        }
    }

    /// Gives the buffer back for the next file.
    pub(super) fn into_window(self) -> Window {
        Window {
            filled: 0,
            ..self.window
        }
    }

    pub(super) fn step(&mut self) -> io::Result<Step<'_>> {
        let at = self.at;
        let left = self.limit.saturating_sub(at);
        if left == 0 {
            return Ok(Step::End);
        }
        if left < FRAME_HEADER_BYTES {
            return Ok(Step::Short);
        }
        let Some(bytes) =
            self.window
                .get(&*self.file, at, FRAME_HEADER_BYTES as usize, self.limit)?
        else {
            return Ok(Step::Short);
        };
        let Some(header) = bytes
            .first_chunk()
            .and_then(|bytes| Header::decode(self.binding, at, bytes))
        else {
            return Ok(Step::Bad(BadFrame {
                damage: Damage::FrameHeader,
                region: at..at + FRAME_HEADER_BYTES,
            }));
        };
        // The header's checksum was right, so its total may be believed; it is at most 32 MiB.
        if header.total > left {
            return Ok(Step::Short);
        }
        let Some(bytes) = self
            .window
            .get(&*self.file, at, header.total as usize, self.limit)?
        else {
            return Ok(Step::Short);
        };
        if let Err(bad) = check(self.binding, at, &header, bytes, &[]) {
            return Ok(Step::Bad(bad));
        }
        self.at += header.total;
        Ok(Step::Frame { at, header, bytes })
    }
}

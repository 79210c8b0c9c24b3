//! What is asked of a log besides writing and reading: words for sealing, erasing and checking.

use crate::location::Location;
use std::ops::ControlFlow;

/// Says how fast long work may go.
///
/// It is called after each piece of work, about every 256 KiB, and may sleep. No lock is held
/// then that a writer or reader waits for.
pub trait Pace {
    /// `bytes` were moved or checked since the last call. [`ControlFlow::Break`] ends the work
    /// cleanly: what was done is kept or taken back whole.
    fn did(&mut self, bytes: u64) -> ControlFlow<()>;
}

/// As fast as it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FullSpeed;

impl Pace for FullSpeed {
    fn did(&mut self, _bytes: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Bytes that are to be destroyed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    /// The first of them: that of a body, or any within a head part.
    pub at: Location,
    /// How many: all of a body, its real length if it is large; or a range within a head part.
    pub bytes: u32,
}

/// Files are rewritten only if it is worth it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Least {
    /// The share of a file's bodies that would go, in percent.
    pub percent: u8,
    /// The bytes that would go from a file.
    pub bytes: u64,
}

impl Least {
    /// Whatever it takes: for what must not stay.
    pub const ANY: Self = Self {
        percent: 0,
        bytes: 0,
    };
    /// Where a quarter of a file's bodies would go.
    pub const QUARTER: Self = Self {
        percent: 25,
        bytes: 0,
    };

    /// Whether `going` of `held` bytes are worth it.
    pub(crate) fn is_reached(self, going: u64, held: u64) -> bool {
        going >= self.bytes && going.saturating_mul(100) >= held.saturating_mul(self.percent.into())
    }
}

/// What was destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reclaimed {
    /// Spans that are gone now, or were gone before.
    pub spans: u64,
    /// Spans that stay, because too little would have gone from their file.
    pub kept: u64,
    /// Files that were written anew.
    pub files: u64,
    /// Bytes by which files became smaller, holes counted.
    pub bytes: u64,
}

/// What was read and checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scrubbed {
    /// Segments, sealed or not.
    pub segments: u64,
    /// Frames that are whole.
    pub frames: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Large bodies among them.
    pub large_bodies: u64,
    /// Damaged places that were found.
    pub damaged: u64,
    /// Whether the end was reached.
    pub finished: bool,
}

//! The sealed tier: a segment that takes no more frames, sorted by stream into files that never
//! change. `docs/format.md`, section 6.5.
//!
//! Segment N becomes one *set*: for each group of streams a *pair* of a heads file and a bodies
//! file. A frame is cut in two pieces, each verbatim: header, table and head parts stand in the
//! heads file, the parts after them in the bodies file. Pieces stand in the order (stream,
//! logical offset); an index at the end of the heads file finds them by stream and by the place
//! that they had in the segment, which stays their name and stays in their checksums.
//!
//! A pair is never changed. What is to go, goes by [`rewrite`] into a pair of the next version.
//! [`Manifest::store`] is the one commit point: files that the manifest does not name mean nothing.
//!
//! Everything here is about files of one pair and the manifest; which of them to seal, to
//! rewrite, to keep open or to remove is the owner's business.

mod draft;
mod header;
mod index;
mod lookup;
mod manifest;
mod names;
mod pair;
mod rewrite;
mod scrub;
mod seal;
mod shape;
mod tables;
mod take;

use crate::{
    error::{OpenError, ReadError},
    location::Location,
};
use std::{io, ops::ControlFlow};

pub(crate) use header::{at_version, bodies_header, heads_header};
pub(crate) use index::{Index, Located, Place, SealedFrame};
pub(crate) use manifest::{GroupFiles, MANIFEST_NAME, Manifest, Set};
pub(crate) use names::{
    PairFile, PairId, bodies_name, group_of, heads_name, is_sealed_leftover, new_name, sealed_file,
};
pub(crate) use pair::SealedPair;
pub(crate) use rewrite::{Removal, rewrite};
pub(crate) use seal::SealPlan;
pub(crate) use take::{Take, checked};

/// The newest format version of sealed files and of the manifest, and the one written here.
pub(crate) const SEALED_FORMAT_VERSION: u32 = 2;
/// Size of the header of a sealed file; the first piece follows at this offset.
pub(crate) const SEALED_HEADER_BYTES: u32 = 64;
/// The most groups of streams that a set may have: the group is told by one byte.
pub(crate) const GROUPS_MAX: u16 = 256;
/// How much is written or checked between two calls of a pace.
const PACE_BYTES: usize = 256 << 10;

/// Called after each piece of work with the bytes it moved; may wait. `Break`: stop cleanly.
pub(crate) type Pace<'a> = dyn FnMut(u64) -> ControlFlow<()> + 'a;

/// Why sealed files were not written. Nothing is left behind, the files before are unchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// The pace said so.
    #[error("stopped on request")]
    Stopped,
    /// What was to be copied could not be read, or is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A removal names neither a whole body part nor a range within one head part.
    #[error("what stands at {at} is not a body part of this length, nor within a head part")]
    NotAPart {
        /// Where it starts.
        at: Location,
    },
    /// A file would grow past what its 32-bit offsets reach, or past the last version.
    #[error("the sealed files of segment {file} would be too large")]
    TooLarge {
        /// The segment.
        file: u32,
    },
    /// The storage failed.
    #[error("cannot {doing} {name}")]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

impl From<OpenError> for SealError {
    fn from(error: OpenError) -> Self {
        Self::Read(error.into())
    }
}

#[cfg(test)]
mod tests;

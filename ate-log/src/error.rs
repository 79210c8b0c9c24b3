//! What can go wrong, by family of operation.

use crate::location::Location;
use std::{fmt, io};

/// What exactly is damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Damage {
    /// The 64 bytes at the head of a segment file.
    SegmentHeader,
    /// A segment file that a later one names is not there.
    SegmentMissing,
    /// A file ends before the place that is known to be durable.
    SegmentShort,
    /// The fixed header of a frame, or there is no frame at all.
    FrameHeader,
    /// The table of part lengths.
    FrameTable,
    /// One part of a frame.
    FramePart {
        /// Which part, from 0.
        index: u32,
    },
    /// A large body, or the file that holds it.
    LargeBody,
    /// The manifest, which names the sealed files.
    Manifest,
    /// A sealed file that the manifest names is not there.
    SealedMissing,
    /// A sealed file is longer or shorter than the manifest says.
    SealedLength,
    /// The 64 bytes at the head of a sealed file.
    SealedHeader,
    /// The tables at the end of a sealed file, or they do not fit what they describe.
    SealedIndex,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SegmentHeader => f.write_str("the header of the file is damaged"),
            Self::SegmentMissing => f.write_str("the file is missing"),
            Self::SegmentShort => f.write_str("the file ends before what is known to be durable"),
            Self::FrameHeader => f.write_str("the header of a frame is damaged"),
            Self::FrameTable => f.write_str("the length table of a frame is damaged"),
            Self::FramePart { index } => write!(f, "part {index} of a frame is damaged"),
            Self::LargeBody => f.write_str("a large body is damaged or missing"),
            Self::Manifest => f.write_str("the manifest is damaged"),
            Self::SealedMissing => f.write_str("the sealed file is missing"),
            Self::SealedLength => f.write_str("the sealed file has another length than was noted"),
            Self::SealedHeader => f.write_str("the header of the sealed file is damaged"),
            Self::SealedIndex => f.write_str("the index of the sealed file is damaged"),
        }
    }
}

/// Why a log did not open. Nothing was changed except that, for a writer, the directory and
/// an empty lock file may have been created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another writer holds the lock.
    #[error("{place} is open for writing already")]
    Locked {
        /// The directory.
        place: String,
    },
    /// A reader found no segment file.
    #[error("there is no log in {place}")]
    NotFound {
        /// The directory.
        place: String,
    },
    /// A log was being restored there, and that was not finished.
    #[error("the restore into {place} was not finished: restore again")]
    Unfinished {
        /// The directory.
        place: String,
    },
    /// It is a backup, which is for reading.
    #[error("{place} is a backup, and is not written to")]
    Backup {
        /// The directory.
        place: String,
    },
    /// The directory is a file.
    #[error("{place} is not a directory")]
    NotADirectory {
        /// What should be a directory.
        place: String,
    },
    /// The log was written by a newer build.
    #[error("{name} has format version {found}, this build reads up to {supported}")]
    NewerFormat {
        /// The segment file.
        name: String,
        /// Its format version.
        found: u32,
        /// The newest version that this build reads.
        supported: u32,
    },
    /// The log was written by an older build, in a format that this one does not read.
    #[error(
        "{name} has format version {found}, this build reads {supported}: export with the build that wrote it, import with this one"
    )]
    OlderFormat {
        /// The file.
        name: String,
        /// Its format version.
        found: u32,
        /// The version that this build reads.
        supported: u32,
    },
    /// A frame of a kind or with a flag that this build does not know, with a valid checksum.
    #[error("the frame at {at} has kind {kind} and flags {flags:#x}, unknown to this build")]
    UnknownFrame {
        /// Start of the frame.
        at: Location,
        /// Its kind.
        kind: u8,
        /// Its flags.
        flags: u8,
    },
    /// Bytes that had to be there are not: repair from another copy, nothing is truncated.
    #[error("damage at {at}: {damage}")]
    Corrupt {
        /// Start of what is damaged.
        at: Location,
        /// What it is.
        damage: Damage,
    },
    /// No space is left for the first segment, or for the one after a torn tail. What was acknowledged is safe.
    #[error(
        "the disk is full: there is no room for a new file in {place}; what was acknowledged is safe: free space there and try again"
    )]
    DiskFull {
        /// The directory.
        place: String,
    },
    /// The storage failed.
    #[error("cannot {doing} {name}")]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file or directory.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// An earlier write or sync failed; only opening the log anew helps. Reading goes on.
    #[error("the log takes no more writes since one failed ({cause}); open it anew")]
    Poisoned {
        /// The failure that poisoned it.
        cause: String,
    },
    /// No space is left for a new segment or a snapshot. Nothing was changed and the log goes
    /// on; once there is space, the same call succeeds. (Should the system break its promise of
    /// space that was reserved, that is `Io`.)
    #[error(
        "the disk is full: {bytes} bytes more are needed in {place}; nothing was changed, what was acknowledged is safe: free space there and try again"
    )]
    DiskFull {
        /// What was needed.
        bytes: u64,
        /// The directory.
        place: String,
    },
    /// An entry is larger than [`FRAME_BYTES_MAX`](crate::FRAME_BYTES_MAX). Nothing was written.
    #[error("entry {index} of the group makes a frame of {bytes} bytes, the limit is {max}")]
    FrameTooLarge {
        /// Index of the entry in its group.
        index: usize,
        /// Size of its frame.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// An entry has more than [`PARTS_MAX`](crate::PARTS_MAX) parts. Nothing was written.
    #[error("entry {index} of the group has {parts} parts, the limit is {max}")]
    TooManyParts {
        /// Index of the entry in its group.
        index: usize,
        /// Its parts.
        parts: usize,
        /// The limit.
        max: usize,
    },
    /// A group is larger than [`GROUP_BYTES_MAX`](crate::GROUP_BYTES_MAX). Nothing was written.
    #[error("the group has {bytes} bytes, the limit is {max}")]
    GroupTooLarge {
        /// Size of all frames.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// What stands in the log and had to be read for this is damaged. Nothing was changed.
    #[error("nothing was moved: what stands there cannot be read")]
    Damaged {
        /// What was found.
        source: ReadError,
    },
    /// What was to be erased is neither a body nor within a head part. Nothing was changed.
    #[error("what stands at {at} is neither a body of this length nor within a head part")]
    NotAPart {
        /// The place.
        at: Location,
    },
    /// The log was opened by a reader.
    #[error("the log is open for reading only")]
    ReadOnly,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// A snapshot name is not 1 to 100 characters of `a-z`, `0-9`, `-`.
    #[error("`{name}` is not a snapshot name")]
    SnapshotName {
        /// The name.
        name: String,
    },
    /// The storage failed. Unless this was about a snapshot, the log is poisoned now.
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

/// Why something was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A checksum is wrong, or bytes that are known to be durable are missing.
    #[error("damage at {at}: {damage}")]
    Corrupt {
        /// Start of the damaged frame or file.
        at: Location,
        /// What it is.
        damage: Damage,
    },
    /// A frame of a kind or with a flag that this build does not know, with a valid checksum.
    #[error("the frame at {at} has kind {kind} and flags {flags:#x}, unknown to this build")]
    UnknownFrame {
        /// Start of the frame.
        at: Location,
        /// Its kind.
        kind: u8,
        /// Its flags.
        flags: u8,
    },
    /// What stood there was erased.
    #[error("the body at {at} was erased")]
    Erased {
        /// The place asked for.
        at: Location,
    },
    /// The bytes asked for are not in the log.
    #[error("{bytes} bytes at {at} are outside the log, which ends at {end}")]
    OutOfBounds {
        /// The place asked for.
        at: Location,
        /// How many bytes were asked for.
        bytes: u64,
        /// The end of the log.
        end: Location,
    },
    /// A snapshot name is not 1 to 100 characters of `a-z`, `0-9`, `-`.
    #[error("`{name}` is not a snapshot name")]
    SnapshotName {
        /// The name.
        name: String,
    },
    /// A snapshot is larger than this machine can hold in memory.
    #[error("snapshot `{name}` has {bytes} bytes, too many to hold in memory")]
    SnapshotTooLarge {
        /// The name.
        name: String,
        /// Its size.
        bytes: u64,
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

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt { at, damage } => Self::Corrupt { at, damage },
            ReadError::UnknownFrame { at, kind, flags } => Self::UnknownFrame { at, kind, flags },
            ReadError::Io {
                doing,
                name,
                source,
            } => Self::Io {
                doing,
                name,
                source,
            },
            other => Self::Io {
                doing: "read",
                name: "the log".into(),
                source: io::Error::other(other),
            },
        }
    }
}

impl From<OpenError> for ReadError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Corrupt { at, damage } => Self::Corrupt { at, damage },
            OpenError::UnknownFrame { at, kind, flags } => Self::UnknownFrame { at, kind, flags },
            OpenError::Io {
                doing,
                name,
                source,
            } => Self::Io {
                doing,
                name,
                source,
            },
            other => Self::Io {
                doing: "read",
                name: "the log".into(),
                source: io::Error::other(other),
            },
        }
    }
}

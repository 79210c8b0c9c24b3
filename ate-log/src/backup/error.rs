//! Why a backup or a restore did not happen.

use crate::{
    error::{Damage, OpenError, ReadError},
    location::Location,
};
use std::io;

/// Why a backup was not made, read or put back. An earlier backup in the place is untouched; a
/// directory that was being restored is marked as unfinished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The log that was to be copied cannot be read.
    #[error("the log cannot be copied")]
    Source(#[source] ReadError),
    /// What was to be copied does not pass its checksums.
    #[error("the log is damaged in {} places, the first at {}: {}; the earlier backup stays", found.len(), found[0].0, found[0].1)]
    SourceDamaged {
        /// Where and what; never empty.
        found: Vec<(Location, Damage)>,
    },
    /// A file of the log is not there, or is replaced faster than it is copied.
    #[error("{name} is not there, or is replaced faster than it is copied")]
    Vanished {
        /// The file.
        name: String,
    },
    /// There is no file `backup`.
    #[error("there is no backup in {place}")]
    NotABackup {
        /// The directory.
        place: String,
    },
    /// There is a log that is no backup.
    #[error("{place} holds a store")]
    HoldsAStore {
        /// The directory.
        place: String,
    },
    /// The backup there was opened for writing, as a store: it may have a history of its own.
    #[error("the backup in {place} was opened for writing: it may have a history of its own")]
    Written {
        /// The directory.
        place: String,
    },
    /// The backup there is of another log.
    #[error("{place} holds a backup of another store")]
    OtherLog {
        /// The directory.
        place: String,
    },
    /// The backup there is of the same log, but another store wrote it: one of both was restored.
    #[error(
        "{place} holds a backup from before this store was restored, or of the store it was restored from"
    )]
    OtherStore {
        /// The directory.
        place: String,
    },
    /// The backup there has more history than the log.
    #[error("the backup in {place} is newer: it ends at {theirs}, the store at {ours}")]
    Newer {
        /// The directory.
        place: String,
        /// Where the backup ends.
        theirs: Location,
        /// Where the log ends.
        ours: Location,
    },
    /// What was copied before is not in the log any more as it was.
    #[error(
        "{name} is not what it was when it was copied to {place}: it is damaged, or the store has another history"
    )]
    Diverged {
        /// The directory of the backup.
        place: String,
        /// The file.
        name: String,
    },
    /// Another process is at work there.
    #[error("{place} is in use by another process")]
    Locked {
        /// The directory.
        place: String,
    },
    /// A file of a backup is missing or is not what was written.
    #[error("{name} in the backup {place} is missing or damaged")]
    Damaged {
        /// The directory.
        place: String,
        /// The file.
        name: String,
    },
    /// The backup was made by a newer build.
    #[error("the backup in {place} has format version {found}, this build reads up to {supported}")]
    NewerFormat {
        /// The directory.
        place: String,
        /// Its version.
        found: u32,
        /// The newest version that this build reads.
        supported: u32,
    },
    /// No space is left where the copy goes.
    #[error("no space left for {name}")]
    DiskFull {
        /// The file that did not fit.
        name: String,
    },
    /// The pace ended it.
    #[error("stopped on request")]
    Stopped,
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

impl BackupError {
    pub(crate) fn io(doing: &'static str, name: &str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { name: name.into() }
            }
            _ => Self::Io {
                doing,
                name: name.into(),
                source,
            },
        }
    }
}

impl From<ReadError> for BackupError {
    fn from(error: ReadError) -> Self {
        Self::Source(error)
    }
}

impl From<OpenError> for BackupError {
    fn from(error: OpenError) -> Self {
        Self::Source(error.into())
    }
}

//! A crash-safe, group-committed frame log for many streams.
//!
//! The log keeps *frames*: an entry's kind, its stream, its number and its parts, each part
//! with a checksum of its own. It **is** the one place where a store's bytes become durable;
//! it is **not** a database, knows no keys and no cryptography, and cannot tell a forged frame
//! from a true one. The layer above signs and hashes what it stores here.
//!
//! ```text
//!   your code ──► Log (append, sync, scan, read)      FileLog, MemLog
//!                  └──► Storage (files of a directory)  FileStorage, MemStorage, …
//! ```
//!
//! What holds:
//! 1. Whatever was appended before [`Log::sync`] returned `Ok` is there after any crash.
//! 2. A group is one run of frames; a crash leaves whole frames of a prefix of it, or nothing.
//! 3. Damage is never mistaken for the end: a bad frame that a later watermark proves durable,
//!    or that shows no trace of a sector that never arrived, is an error with file and offset.
//!    Nothing is truncated then.
//! 4. After a failed write or sync nothing is written any more; reading goes on.
//! 5. One writer per directory, any number of readers beside it.
//! 6. A full disk changes nothing and loses nothing: the append is refused, a log that was cut off
//!    opens all the same (from a reserve), and with space writing goes on.
//!
//! [`conformance`] checks other implementations of [`Log`] and [`Storage`]; [`LossyStorage`],
//! [`FaultyStorage`] and [`BoundedStorage`] let the layers above test their own crashes, failures and
//! full disks.
//!
//! Limits: a frame ≤ [`FRAME_BYTES_MAX`] and ≤ [`PARTS_MAX`] parts; a group ≤
//! [`GROUP_BYTES_MAX`]; 2³² − 1 segment files of 1 to 64 MiB. What one sync cannot decide is
//! named in `docs/format.md`, section 6.4.
//!
//! ```
//! use ate_log::{Entry, FileLog, FrameKind, Log, LogOptions, MemStorage, Scan, StreamId};
//! use std::{ops::ControlFlow, sync::Arc};
//!
//! // `FileStorage::new("some/dir")` for a real one.
//! let storage = Arc::new(MemStorage::new());
//! let log = FileLog::open(storage.clone(), LogOptions::new([7; 16]))?;
//!
//! let stream = StreamId([1; 32]);
//! let parts: [&[u8]; 2] = [b"head", b"content"];
//! let entry = Entry { kind: FrameKind::Commit, stream, number: 0, head_parts: 1, parts: &parts };
//! let mut placed = Vec::new();
//! log.append(&[entry], &mut placed)?;
//! assert!(log.durable() < placed[0].next, "written, but not durable yet");
//! assert!(log.sync()? >= placed[0].next);
//!
//! // Any byte by its place, without a checksum: you hold a hash of what you look for.
//! let mut content = [0; 7];
//! log.read(placed[0].part(&[4]), &mut content)?;
//! assert_eq!(&content, b"content");
//!
//! // The writer is gone without a goodbye; the next one finds everything.
//! drop(log);
//! let log = FileLog::open(storage, LogOptions::new([7; 16]))?;
//! let mut seen = 0;
//! log.scan(Scan::from(log.start()).of(stream), &mut |frame| {
//!     assert_eq!((frame.stream, frame.number, frame.part(0)), (stream, 0, Some(&b"head"[..])));
//!     seen += 1;
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(seen, 1);
//! log.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backup;
mod error;
mod file_log;
mod frame;
mod location;
mod log;
mod maintenance;
mod mem_log;
#[cfg(ate_planted)]
mod planted;
#[cfg(ate_planted)]
use planted::planted;
mod sealed;
mod segment;
mod storage;

pub mod conformance;

pub use backup::{
    BackedUp, BackupError, BackupInfo, Restore, Restored, VerifiedBackup, backup_info, open_backup,
    restore, verify_backup,
};
pub use error::{AppendError, Damage, OpenError, ReadError};
pub use file_log::{
    DamagedRange, FileLog, FrameName, GROUP_BYTES_MAX, LogOptions, Mended, Repair, Repaired,
    Surveyed, discard_damaged, repair,
};
pub use frame::{
    Entry, FRAME_BYTES_MAX, FRAME_OVERHEAD, Frame, FrameKind, HEAD_PARTS_MAX, LARGE_BODY_BYTES,
    OwnedFrame, PART_OVERHEAD, PARTS_MAX, PartBytes, Parts, Placed, body_bytes_in_frame,
};
pub use location::{Cursor, Location, StreamId};
pub use log::{Bodies, Log, Scan};
pub use maintenance::{FullSpeed, Least, Pace, Reclaimed, Scrubbed, Span};
pub use mem_log::MemLog;
pub use segment::{FORMAT_VERSION, SEGMENT_HEADER_BYTES};
pub use storage::{
    Access, BoundedStorage, Fault, FaultyStorage, FileStorage, Image, LockState, Loss,
    LossyStorage, MemStorage, Storage, StorageFile, StorageLock, private_file, sync_directory,
};

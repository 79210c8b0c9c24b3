//! The logs and storages of this crate pass their suites.

use ate_log::{
    BoundedStorage, FaultyStorage, FileLog, FileStorage, LogOptions, LossyStorage, MemLog,
    MemStorage, OpenError,
    conformance::{Fixture, check_log, check_storage},
};
use std::sync::Arc;

struct Memory(MemStorage);

impl Fixture for Memory {
    type Log = MemLog;
    fn open(&self) -> Result<MemLog, OpenError> {
        MemLog::open(&self.0)
    }
}

struct Files(tempfile::TempDir);

impl Fixture for Files {
    type Log = FileLog;
    fn open(&self) -> Result<FileLog, OpenError> {
        FileLog::open(
            Arc::new(FileStorage::new(self.0.path().join("deep/er"))),
            LogOptions::default(),
        )
    }
}

struct Small(LossyStorage);

impl Fixture for Small {
    type Log = FileLog;
    fn open(&self) -> Result<FileLog, OpenError> {
        let options = LogOptions {
            segment_bytes_min: 512,
            segment_bytes_max: 4096,
            zero_window_bytes: 700,
            reserve_bytes: 4096,
            groups: 3,
            log_id: [1; 16],
        };
        FileLog::open(Arc::new(self.0.clone()), options)
    }
}

#[test]
fn a_log_in_memory_conforms() {
    check_log(|| Memory(MemStorage::new()));
}

#[test]
fn a_log_in_files_conforms() {
    check_log(|| Files(tempfile::tempdir().expect("a temporary directory")));
}

#[test]
fn a_log_of_tiny_segments_conforms() {
    check_log(|| Small(LossyStorage::new()));
}

#[test]
fn storages_conform() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // In a real directory the lock is a file as well, so each storage starts empty.
    check_storage(&FileStorage::new(dir.path().join("files")));
    check_storage(&MemStorage::new());
    check_storage(&LossyStorage::new());
    check_storage(&FaultyStorage::new(Arc::new(MemStorage::new())));
    check_storage(&BoundedStorage::new(Arc::new(MemStorage::new()), 1 << 20));
}

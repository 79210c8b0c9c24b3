//! One writer, readers beside it, in a real directory.

mod common;

use ate_log::{AppendError, FileLog, FileStorage, Log, OpenError, ReadError};
use common::{Remembered, SMALL, append, scan};
use std::{fs, path::Path, sync::Arc};

fn writer(dir: &Path) -> Result<FileLog, OpenError> {
    FileLog::open(Arc::new(FileStorage::new(dir)), SMALL)
}

fn reader(dir: &Path) -> Result<FileLog, OpenError> {
    FileLog::open_reader(Arc::new(FileStorage::new(dir)))
}

fn numbers(log: &FileLog) -> Vec<u64> {
    let (frames, error) = scan(log);
    assert!(error.is_none(), "{error:?}");
    frames.iter().map(|frame| frame.number).collect()
}

fn files(dir: &Path) -> Vec<(String, u64)> {
    let listed = fs::read_dir(dir).and_then(|entries| {
        entries
            .map(|entry| {
                let entry = entry?;
                Ok((
                    entry.file_name().to_string_lossy().into_owned(),
                    entry.metadata()?.len(),
                ))
            })
            .collect::<std::io::Result<Vec<_>>>()
    });
    let mut files = listed.expect("the directory is there");
    files.sort();
    files
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let first = writer(dir.path()).unwrap();
    let error = writer(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert_eq!(
        error.to_string(),
        format!("{} is open for writing already", dir.path().display())
    );
    drop(first);
    let second = writer(dir.path()).unwrap();
    second.close().unwrap();
    let third = writer(dir.path()).unwrap();
    assert!(
        third.writable() && !second.writable(),
        "a close gives the lock back"
    );
}

#[test]
fn a_reader_follows_a_writer_through_its_segments() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path()).unwrap();
    let reader = reader(dir.path()).unwrap();
    assert!(!reader.writable() && numbers(&reader).is_empty());
    for number in 0..12 {
        let placed = append(&writer, &[Remembered::commit(number, 400)]).unwrap();
        reader.refresh().unwrap();
        assert_eq!(
            numbers(&reader).len() as u64,
            number,
            "not synced, not shown"
        );
        assert!(matches!(
            reader.read_frame(placed[0].frame),
            Err(ReadError::OutOfBounds { .. })
        ));
        writer.sync().unwrap();
        assert_eq!(
            numbers(&reader).len() as u64,
            number,
            "the end moves only at a refresh"
        );
        assert_eq!(reader.refresh().unwrap(), writer.durable());
        assert_eq!(reader.durable(), reader.end());
        assert_eq!(numbers(&reader).len() as u64, number + 1);
        assert!(reader.read_frame(placed[0].frame).is_ok());
    }
    assert!(writer.end().file > 2);
    assert!(matches!(
        append(&reader, &[Remembered::commit(1, 1)]),
        Err(AppendError::ReadOnly)
    ));
    assert!(matches!(
        reader.snapshot_put("a", b""),
        Err(AppendError::ReadOnly)
    ));
    reader.close().unwrap();
    writer.close().unwrap();
    assert_eq!(numbers(&reader).len(), 12, "a closed log reads on");
    assert_eq!(reader.refresh().unwrap(), writer.durable());
}

#[test]
fn a_reader_without_a_writer_judges_for_itself_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = writer(dir.path()).unwrap();
    append(&log, &[Remembered::commit(1, 100)]).unwrap();
    log.sync().unwrap();
    append(&log, &[Remembered::commit(2, 100)]).unwrap();
    drop(log);
    let before = files(dir.path());
    let reader_log = reader(dir.path()).unwrap();
    assert_eq!(
        numbers(&reader_log),
        [1, 2],
        "whole frames that were not synced are there too"
    );
    assert_eq!(files(dir.path()), before);

    // Half a frame, as a power cut would leave it.
    let segment = dir.path().join("log-00000001.seg");
    let end = reader_log.durable().offset as usize;
    let mut bytes = fs::read(&segment).unwrap();
    bytes.truncate(end - 10);
    fs::write(&segment, &bytes).unwrap();
    assert_eq!(numbers(&reader(dir.path()).unwrap()), [1], "torn");
    assert_eq!(
        fs::read(&segment).unwrap(),
        bytes,
        "and not cut by a reader"
    );

    // Damage in the last frame: the reader shows what is before it and says where it is.
    bytes = fs::read(&segment).unwrap();
    bytes.resize(1024, 0);
    bytes[150] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let damaged = reader(dir.path()).unwrap();
    let (frames, error) = scan(&damaged);
    assert!(frames.is_empty());
    assert!(
        matches!(error, Some(ReadError::Corrupt { at, .. }) if at.offset == 64),
        "{error:?}"
    );
    assert_eq!(
        damaged.tail_damage().map(|(at, _)| at),
        Some(damaged.start())
    );
    assert!(matches!(writer(dir.path()), Err(OpenError::Corrupt { at, .. }) if at.offset == 64));
    assert_eq!(
        fs::read(&segment).unwrap(),
        bytes,
        "a writer that refuses truncates nothing"
    );
}

#[test]
fn what_the_lock_file_says_counts_only_while_it_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let log = writer(dir.path()).unwrap();
    append(&log, &[Remembered::commit(1, 100)]).unwrap();
    log.sync().unwrap();
    drop(log);
    let lock = dir.path().join("lock");
    for garbage in [&b""[..], b"garbage", &[0xff; 28]] {
        fs::write(&lock, garbage).unwrap();
        assert_eq!(numbers(&reader(dir.path()).unwrap()), [1]);
    }
    fs::remove_file(&lock).unwrap();
    assert_eq!(numbers(&reader(dir.path()).unwrap()), [1]);
    assert!(!lock.exists(), "a reader makes no file");
}

#[test]
fn a_directory_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    assert!(matches!(reader(&missing), Err(OpenError::NotFound { .. })));
    assert!(!missing.exists());
    assert!(
        matches!(reader(dir.path()), Err(OpenError::NotFound { .. })),
        "empty"
    );
    let file = dir.path().join("file");
    fs::write(&file, b"not a directory").unwrap();
    for error in [writer(&file).unwrap_err(), reader(&file).unwrap_err()] {
        assert_eq!(
            error.to_string(),
            format!("{} is not a directory", file.display())
        );
    }
    assert!(matches!(
        writer(&file.join("below")),
        Err(OpenError::NotADirectory { .. })
    ));
}

#[test]
fn an_empty_log_is_small_and_a_closed_one_tiny() {
    let dir = tempfile::tempdir().unwrap();
    let log = FileLog::open(
        Arc::new(FileStorage::new(dir.path())),
        ate_log::LogOptions::new([1; 16]),
    )
    .unwrap();
    assert!(log.disk_bytes() <= 2 << 20);
    let part = vec![1; 10_000];
    for number in 0..3 {
        append(
            &log,
            &[Remembered {
                parts: vec![part.clone()],
                ..Remembered::commit(number, 0)
            }],
        )
        .unwrap();
    }
    log.close().unwrap();
    let used: u64 = files(dir.path()).iter().map(|(_, length)| length).sum();
    assert_eq!(used, log.disk_bytes());
    assert!(
        used < 31_000,
        "{used} bytes: a close gives preallocated space back"
    );
}

#[test]
fn readers_and_a_writer_run_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let log = writer(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let reader = reader(dir.path()).unwrap();
                let mut seen = 0;
                while seen < 200 {
                    reader.refresh().unwrap();
                    let numbers = numbers(&reader);
                    assert!(numbers.len() >= seen, "frames that were shown stay");
                    assert!(
                        numbers
                            .iter()
                            .enumerate()
                            .all(|(index, number)| index as u64 == *number)
                    );
                    seen = numbers.len();
                }
            });
        }
        scope.spawn(|| {
            for number in 0..200 {
                append(&log, &[Remembered::commit(number, 150)]).unwrap();
                log.sync().unwrap();
            }
        });
    });
}

#[test]
fn a_reader_goes_on_when_the_segment_it_ended_in_is_sealed_with_later_ones() {
    let dir = tempfile::tempdir().unwrap();
    let log = writer(dir.path()).unwrap();
    append(&log, &[Remembered::commit(0, 100)]).unwrap();
    log.sync().unwrap();
    let reader = reader(dir.path()).unwrap();
    assert_eq!(numbers(&reader), [0]);
    let end = reader.durable();
    for number in 1..4 {
        log.roll().unwrap();
        append(&log, &[Remembered::commit(number, 100)]).unwrap();
    }
    log.roll().unwrap();
    while log.seal(&mut ate_log::FullSpeed).unwrap() {}
    reader.refresh().unwrap();
    assert_eq!(numbers(&reader), [0, 1, 2, 3]);
    let mut later = Vec::new();
    reader
        .scan(ate_log::Scan::from(end), &mut |frame| {
            later.push(frame.number);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(later, [1, 2, 3], "from where it had ended");
}

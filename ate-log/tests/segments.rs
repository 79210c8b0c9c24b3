//! Many segments, large groups, odd options.

mod common;

use ate_log::{AppendError, FileLog, FileStorage, GROUP_BYTES_MAX, Log, LogOptions, MemStorage};
use common::{Random, Remembered, SMALL, append, scan};
use std::sync::Arc;

#[test]
fn a_log_of_more_segments_than_open_handles_reads_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes_min: 256,
        segment_bytes_max: 256,
        zero_window_bytes: 0,
        reserve_bytes: 0,
        ..SMALL
    };
    let storage = Arc::new(FileStorage::new(dir.path()));
    let log = FileLog::open(storage.clone(), options).unwrap();
    let mut placed = Vec::new();
    for number in 0..400 {
        placed.extend(append(&log, &[Remembered::commit(number, 100)]).unwrap());
    }
    log.close().unwrap();
    assert_eq!(log.end().file, 400, "a segment for each frame");
    drop(log);
    for log in [
        FileLog::open_reader(storage.clone()).unwrap(),
        FileLog::open(storage, options).unwrap(),
    ] {
        let mut random = Random(1);
        for _ in 0..2000 {
            let number = random.below(400);
            let frame = log.read_frame(placed[number as usize].frame).unwrap();
            assert_eq!(frame.frame().number, number);
        }
        assert_eq!(scan(&log).0.len(), 400);
    }
}

#[test]
fn a_group_larger_than_a_segment_gets_one_of_its_own_and_stays_together() {
    let storage = Arc::new(MemStorage::new());
    let log = FileLog::open(storage.clone(), SMALL).unwrap();
    append(&log, &[Remembered::commit(0, 100)]).unwrap();
    let group: Vec<Remembered> = (1..40)
        .map(|number| Remembered::commit(number, 90_000))
        .collect();
    let placed = append(&log, &group).unwrap();
    assert_eq!((placed[0].frame.file, placed[0].frame.offset), (2, 64));
    assert!(
        placed.windows(2).all(|pair| pair[0].next == pair[1].frame),
        "one run"
    );
    append(&log, &[Remembered::commit(40, 100)]).unwrap();
    log.sync().unwrap();
    drop(log);
    let log = FileLog::open(storage, SMALL).unwrap();
    let numbers: Vec<u64> = scan(&log).0.iter().map(|frame| frame.number).collect();
    assert_eq!(numbers, (0..41).collect::<Vec<_>>());
}

#[test]
fn a_group_over_the_limit_is_refused_before_memory_is_taken() {
    let log = FileLog::open(Arc::new(MemStorage::new()), SMALL).unwrap();
    let part = vec![1; 30 << 20];
    let entry = ate_log::Entry {
        kind: ate_log::FrameKind::Commit,
        stream: ate_log::StreamId([1; 32]),
        number: 0,
        head_parts: 1,
        parts: &[&part],
    };
    let result = log.append(&[entry; 9], &mut Vec::new());
    assert!(matches!(
        result,
        Err(AppendError::GroupTooLarge {
            max: GROUP_BYTES_MAX,
            ..
        })
    ));
    assert!(log.writable() && log.end() == log.start());
}

#[test]
fn options_without_sense_make_a_log_all_the_same() {
    for (segment_bytes_min, segment_bytes_max) in
        [(0, 0), (1, u32::MAX), (u32::MAX, 1), (u32::MAX, u32::MAX)]
    {
        let options = LogOptions {
            segment_bytes_min,
            segment_bytes_max,
            ..SMALL
        };
        let log = FileLog::open(Arc::new(MemStorage::new()), options).unwrap();
        for number in 0..5 {
            append(&log, &[Remembered::commit(number, 100)]).unwrap();
        }
        log.close().unwrap();
        assert_eq!(
            scan(&log).0.len(),
            5,
            "{segment_bytes_min} to {segment_bytes_max}"
        );
    }
}

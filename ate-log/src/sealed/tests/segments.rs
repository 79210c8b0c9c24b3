//! Sealing a segment.

use super::support::{FILE, LOG, Seeded, Segment, damages, never_stop, open};
use crate::{
    error::ReadError,
    location::StreamId,
    sealed::{PACE_BYTES, SealError, SealPlan, group_of},
    segment::segment_name,
    storage::{Access, Fault, FaultyStorage, Storage as _},
};
use std::ops::ControlFlow;

#[test]
fn every_byte_of_a_sealed_segment_is_found_where_it_went() {
    for (seed, frames, streams, groups) in [
        (1, 1, 1, 1),
        (2, 40, 5, 1),
        (3, 60, 1, 1),
        (4, 80, 30, 4),
        (5, 30, 30, 256),
    ] {
        let segment = Segment::random(seed, frames, streams);
        let (storage, _) = segment.store();
        let set = segment.seal(&*storage, groups, &mut never_stop).unwrap();
        assert_eq!((set.file, set.end), (FILE, segment.end()));
        let mut seen = 0;
        for files in &set.groups {
            let pair = open(&storage, &set, files, groups);
            let index = pair.load_index().unwrap();
            assert_eq!(damages(&pair), [], "seed {seed}");
            segment.check_places(&pair, &index);
            let expected: Vec<(u32, u32, StreamId)> = segment
                .frames
                .iter()
                .filter(|frame| group_of(&frame.2, groups) == files.group)
                .copied()
                .collect();
            let found: Vec<_> = index
                .frames_from(0)
                .map(|frame| (frame.offset, frame.total, frame.stream))
                .collect();
            assert_eq!(found, expected, "seed {seed}");
            assert_eq!(pair.frame_count() as usize, expected.len());
            assert_eq!(pair.gone_count(), 0);
            assert_eq!(pair.files(), files);
            let after = expected[expected.len() / 2].0 + 1;
            assert_eq!(
                index.frames_from(after).count(),
                expected.iter().filter(|frame| frame.0 >= after).count()
            );
            let totals = index.totals();
            assert_eq!(
                totals.body_bytes,
                u64::from(files.bodies_bytes.saturating_sub(64))
            );
            assert_eq!(totals.gone_bytes, 0);
            seen += found.len();
        }
        assert_eq!(seen, frames, "seed {seed}");
    }
}

#[test]
fn a_segment_of_marks_alone_becomes_an_empty_set() {
    let mut segment = Segment::new();
    segment.push_mark();
    let (storage, memory) = segment.store();
    let set = segment.seal(&*storage, 1, &mut never_stop).unwrap();
    assert_eq!(set.groups, []);
    assert_eq!(memory.list().unwrap(), [segment_name(FILE)]);
}

#[test]
fn without_bodies_there_is_no_bodies_file() {
    let mut segment = Segment::new();
    segment.push(&mut Seeded(1), StreamId([1; 32]), 2, &[3, 4]);
    let (storage, memory) = segment.store();
    let set = segment.seal(&*storage, 1, &mut never_stop).unwrap();
    assert_eq!(set.groups[0].bodies_bytes, 0);
    assert_eq!(memory.list().unwrap().len(), 2);
}

#[test]
fn pieces_larger_than_a_batch_are_copied_whole() {
    let mut seeded = Seeded(3);
    let ids = [seeded.stream(), seeded.stream()];
    let mut segment = Segment::new();
    // Heads are never stubs, so this one is larger than what is gathered before a write.
    for (stream, lengths) in [
        (0, [1_500_000, 60_000]),
        (1, [3, 65_535]),
        (0, [900_000, 65_536]),
    ] {
        segment.push(&mut seeded, ids[stream], 1, &lengths);
    }
    let (storage, _) = segment.store();
    let mut calls = Vec::new();
    let mut pace = |bytes| {
        calls.push(bytes);
        ControlFlow::Continue(())
    };
    let set = segment.seal(&*storage, 1, &mut pace).unwrap();
    assert_eq!(damages(&open(&storage, &set, &set.groups[0], 1)), []);
    assert!(calls.iter().all(|bytes| *bytes <= PACE_BYTES as u64));
    let files = set.groups[0];
    assert_eq!(
        calls.iter().sum::<u64>(),
        u64::from(files.heads_bytes) + u64::from(files.bodies_bytes)
    );
}

#[test]
fn a_pace_that_stops_leaves_nothing_behind() {
    let segment = Segment::random(6, 60, 8);
    for stop in 0.. {
        let (storage, memory) = segment.store();
        let mut calls = 0;
        let mut pace = |_| {
            calls += 1;
            if calls > stop {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        match segment.seal(&*storage, 3, &mut pace) {
            Ok(set) => {
                assert!(set.groups.len() > 1 && stop > 3);
                break;
            }
            Err(error) => assert!(matches!(error, SealError::Stopped), "{error}"),
        }
        assert_eq!(memory.list().unwrap(), [segment_name(FILE)], "{stop} calls");
    }
}

#[test]
fn a_failing_storage_leaves_nothing_behind() {
    let segment = Segment::random(7, 20, 6);
    // The first call opens the segment, and is the test's own.
    for call in 2.. {
        let (storage, memory) = segment.store();
        let faulty = FaultyStorage::new(storage);
        faulty.fail_once(call, Fault::Io);
        let sealed = segment.seal(&faulty, 2, &mut never_stop);
        if !faulty.fired() {
            assert!(sealed.is_ok() && call > 10, "call {call}");
            break;
        }
        assert!(
            matches!(
                sealed,
                Err(SealError::Io { .. } | SealError::Read(ReadError::Io { .. }))
            ),
            "call {call}"
        );
        assert_eq!(memory.list().unwrap(), [segment_name(FILE)], "call {call}");
    }
}

#[test]
fn a_segment_that_is_shorter_than_its_frames_is_damage() {
    let segment = Segment::random(8, 20, 6);
    let (storage, _) = segment.store();
    let wal = storage.open(&segment_name(FILE), Access::Write).unwrap();
    wal.truncate(u64::from(segment.end()) - 1).unwrap();
    let sealed = segment.seal(&*storage, 1, &mut never_stop);
    assert!(matches!(
        sealed,
        Err(SealError::Read(ReadError::Corrupt { .. }))
    ));
}

#[test]
fn a_frame_whose_lengths_do_not_add_up_is_not_planned() {
    let segment = Segment::random(9, 3, 1);
    let (offset, total, _) = segment.frames[2];
    let frame = &segment.bytes[offset as usize..(offset + total) as usize];
    let mut plan = SealPlan::new(LOG, FILE, 1);
    for length in 0..frame.len() {
        assert!(plan.add(offset, &frame[..length]).is_err(), "{length}");
    }
    for at in 4..12 {
        let mut other = frame.to_vec();
        other[at] ^= 0x80;
        assert!(plan.add(offset, &other).is_err(), "byte {at}");
    }
}

#[test]
fn both_files_are_the_same_whoever_writes_them() {
    let segment = Segment::random(10, 30, 5);
    let images = [(); 2].map(|()| {
        let (storage, memory) = segment.store();
        segment.seal(&*storage, 2, &mut never_stop).unwrap();
        memory.image()
    });
    assert_eq!(images[0], images[1]);
}

//! Finding a stream without the index.

use super::support::{Seeded, Segment, never_stop, open};
use crate::{
    location::StreamId,
    sealed::group_of,
    storage::{FaultyStorage, Storage},
};
use std::sync::Arc;

/// Ids that lie close together, far apart, and at both ends.
fn uneven(seeded: &mut Seeded, count: u32) -> Vec<StreamId> {
    let near = seeded.stream();
    (0..count)
        .map(|index| match index % 3 {
            0 => seeded.stream(),
            1 => {
                let mut id = near;
                id.0[28..].copy_from_slice(&index.to_be_bytes());
                id
            }
            _ => StreamId([if index % 2 == 0 { 0 } else { 255 }; 32]),
        })
        .collect()
}

#[test]
fn the_frames_of_each_stream_are_found_without_the_index() {
    for (seed, streams, frames, groups) in [
        (1, 1, 3, 1),
        (2, 31, 40, 1),
        (3, 33, 200, 2),
        (4, 700, 1500, 1),
        (5, 900, 1000, 3),
    ] {
        let mut seeded = Seeded(seed);
        let ids = uneven(&mut seeded, streams);
        let mut segment = Segment::new();
        for _ in 0..frames {
            let stream = ids[seeded.below(ids.len() as u64) as usize];
            let body = seeded.below(3) as u32;
            segment.push(&mut seeded, stream, 1, &[2, body]);
        }
        let (storage, _) = segment.store();
        let set = segment.seal(&*storage, groups, &mut never_stop).unwrap();
        let strangers: Vec<StreamId> = (0..50).map(|_| seeded.stream()).collect();
        for files in &set.groups {
            let pair = open(&storage, &set, files, groups);
            let index = pair.load_index().unwrap();
            for id in ids.iter().chain(&strangers) {
                let found = pair.frames_of(id).unwrap();
                assert_eq!(found, index.frames_of(id).collect::<Vec<_>>());
                let offsets: Vec<u32> = found.iter().map(|frame| frame.offset).collect();
                let expected: Vec<u32> = segment
                    .frames
                    .iter()
                    .filter(|frame| frame.2 == *id && group_of(id, groups) == files.group)
                    .map(|frame| frame.0)
                    .collect();
                assert_eq!(offsets, expected, "seed {seed}");
                for frame in &found {
                    let mut piece = vec![0; frame.head_bytes as usize];
                    pair.read_heads(frame.heads_at, &mut piece).unwrap();
                    pair.check_head(frame, &piece).unwrap();
                }
            }
            assert!(index.streams().is_sorted_by(|a, b| a < b));
        }
    }
}

#[test]
fn a_stream_among_thousands_is_found_in_a_few_reads() {
    let mut seeded = Seeded(8);
    let even: Vec<StreamId> = (0..4000).map(|_| seeded.stream()).collect();
    let uneven = uneven(&mut seeded, 4000);
    // Neighbour check and entries are two more; halving 4000 down to a block takes seven.
    for (ids, most) in [(even, 6), (uneven, 2 * 7 + 2)] {
        let mut segment = Segment::new();
        for id in &ids {
            segment.push(&mut seeded, *id, 1, &[2, 1]);
        }
        let (storage, _) = segment.store();
        let set = segment.seal(&*storage, 1, &mut never_stop).unwrap();
        let counted = Arc::new(FaultyStorage::new(storage));
        let storage: Arc<dyn Storage> = counted.clone();
        let pair = open(&storage, &set, &set.groups[0], 1);
        let mut worst = 0;
        for id in &ids {
            let before = counted.calls();
            assert!(!pair.frames_of(id).unwrap().is_empty());
            worst = worst.max(counted.calls() - before);
        }
        assert!((2..=most).contains(&worst), "{worst} reads");
    }
}

//! Rewriting a pair without what is to go.

use super::support::{ModelPart, Seeded, Segment, damages, never_stop, open};
use crate::{
    error::{Damage, ReadError},
    location::StreamId,
    sealed::{Place, Removal, SealError, rewrite},
    storage::{Access, Storage},
};
use std::ops::ControlFlow;

#[test]
fn what_is_removed_is_gone_and_all_else_stays() {
    for seed in 0..12 {
        let mut seeded = Seeded(seed);
        let groups = 1 + (seed % 2) as u16;
        let mut segment = Segment::random(seed, 30, 4);
        let (storage, memory) = segment.store();
        let mut set = segment.seal(&*storage, groups, &mut never_stop).unwrap();
        for round in 0..4 {
            for at in 0..set.groups.len() {
                let pair = open(&storage, &set, &set.groups[at], groups);
                let index = pair.load_index().unwrap();
                // In the last round everything goes, and much of it has gone before.
                let parts: Vec<ModelPart> = segment
                    .parts
                    .iter()
                    .filter(|part| index.frame_at(part.at).is_some())
                    .filter(|_| round == 3 || seeded.below(4) == 0)
                    .copied()
                    .collect();
                let mut removals: Vec<Removal> = parts
                    .iter()
                    .map(|part| Segment::removal_of(part, &mut seeded))
                    .collect();
                removals.reverse();
                let before = memory.list().unwrap().len();
                let Some(files) = rewrite(&pair, &index, &removals, &mut never_stop).unwrap()
                else {
                    assert_eq!(memory.list().unwrap().len(), before);
                    continue;
                };
                for removal in &removals {
                    segment.remove(*removal);
                }
                assert_eq!(files.version, set.groups[at].version + 1);
                set.groups[at] = files;
                let pair = open(&storage, &set, &files, groups);
                let index = pair.load_index().unwrap();
                assert_eq!(damages(&pair), [], "seed {seed} round {round}");
                segment.check_places(&pair, &index);
                let gone = index.gone_in(0..u32::MAX);
                assert_eq!(gone.len(), pair.gone_count() as usize);
                assert_eq!(
                    index.totals().gone_bytes,
                    gone.iter()
                        .map(|gone| u64::from(gone.stored) + 4)
                        .sum::<u64>()
                );
                let all = rewrite(&pair, &index, &removals, &mut never_stop).unwrap();
                assert_eq!(all, None, "removing again changes nothing");
                if round == 3 {
                    assert_eq!(files.bodies_bytes, 0);
                    assert_eq!(index.totals().body_bytes, 0);
                    assert!(memory.open(&pair.id().bodies_name(), Access::Read).is_err());
                    assert!(pair.read_bodies(64, &mut [0]).is_err());
                }
            }
        }
    }
}

/// One stream, two frames: two head parts and three body parts, one of them a stub; one of each.
fn small() -> Segment {
    let mut seeded = Seeded(1);
    let mut segment = Segment::new();
    segment.push(&mut seeded, StreamId([3; 32]), 2, &[10, 20, 30, 70_000, 0]);
    segment.push(&mut seeded, StreamId([3; 32]), 1, &[10, 8]);
    segment
}

#[test]
fn what_is_neither_a_body_part_nor_within_a_head_part_changes_nothing() {
    let segment = small();
    let (storage, memory) = segment.store();
    let set = segment.seal(&*storage, 1, &mut never_stop).unwrap();
    let pair = open(&storage, &set, &set.groups[0], 1);
    let index = pair.load_index().unwrap();
    let image = memory.image();
    let [head, _, body, stub, empty, ..] = segment.parts[..] else {
        panic!("five parts");
    };
    for (at, bytes) in [
        (body.at, 29),
        (body.at, 31),
        (body.at + 1, 29),
        (body.at, 0),
        (stub.at, 16),
        (stub.at, 70_001),
        (empty.at, 1),
        (empty.at + 1, 0),
        (head.at, 11),
        (head.at + 10, 1),
        (head.at + 11, 0),
        (head.at + 5, u32::MAX),
        (segment.frames[0].0, 60),
        (segment.frames[0].0 + 60, 4),
        (0, 64),
        (segment.end(), 0),
        (u32::MAX, 1),
    ] {
        let removals = [
            Removal {
                at: body.at,
                bytes: 30,
            },
            Removal { at, bytes },
        ];
        let found = rewrite(&pair, &index, &removals, &mut never_stop);
        assert!(
            matches!(found, Err(SealError::NotAPart { .. })),
            "{bytes} at {at}: {found:?}"
        );
        assert_eq!(memory.image(), image, "{bytes} at {at}");
    }
    for removal in [
        Removal {
            at: head.at + 10,
            bytes: 0,
        },
        Removal {
            at: head.at,
            bytes: 0,
        },
    ] {
        let found = rewrite(&pair, &index, &[removal], &mut never_stop).unwrap();
        assert_eq!(found, None, "there is nothing in it");
    }
}

#[test]
fn a_stub_is_removed_by_the_real_length_of_its_part() {
    let segment = small();
    let (storage, _) = segment.store();
    let set = segment.seal(&*storage, 1, &mut never_stop).unwrap();
    let pair = open(&storage, &set, &set.groups[0], 1);
    let (stub, removed) = (segment.parts[3], set.groups[0].bodies_bytes - 20);
    let removals = [Removal {
        at: stub.at,
        bytes: 70_000,
    }];
    let files = rewrite(
        &pair,
        &pair.load_index().unwrap(),
        &removals,
        &mut never_stop,
    );
    let files = files.unwrap().unwrap();
    assert_eq!(files.bodies_bytes, removed);
    let pair = open(&storage, &set, &files, 1);
    let found = pair.load_index().unwrap().locate(stub.at).unwrap();
    assert_eq!((found.place, found.bytes), (Place::Gone, 20));
}

#[test]
fn a_damaged_head_part_gets_no_right_checksum() {
    let segment = small();
    let (storage, memory) = segment.store();
    let set = segment.seal(&*storage, 1, &mut never_stop).unwrap();
    let pair = open(&storage, &set, &set.groups[0], 1);
    let index = pair.load_index().unwrap();
    let head = segment.parts[1];
    let Some(Place::Heads(at)) = index.locate(head.at).map(|found| found.place) else {
        panic!("a head part is in the heads file");
    };
    let file = memory.open(&pair.id().heads_name(), Access::Write).unwrap();
    super::support::flip(&*file, at as usize * 8);
    let image = memory.image();
    let removals = [Removal {
        at: head.at + 3,
        bytes: 4,
    }];
    assert!(matches!(
        rewrite(&pair, &index, &removals, &mut never_stop),
        Err(SealError::Read(ReadError::Corrupt {
            damage: Damage::FramePart { index: 1 },
            ..
        }))
    ));
    assert_eq!(memory.image(), image);
    // Damage elsewhere is copied and stays damage.
    let removals = [Removal {
        at: segment.parts[2].at,
        bytes: 30,
    }];
    let files = rewrite(&pair, &index, &removals, &mut never_stop)
        .unwrap()
        .unwrap();
    let found = damages(&open(&storage, &set, &files, 1));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, Damage::FramePart { index: 1 });
}

#[test]
fn a_range_of_a_head_part_larger_than_a_batch_becomes_zero() {
    let mut seeded = Seeded(5);
    let mut segment = Segment::new();
    segment.push(&mut seeded, StreamId([3; 32]), 2, &[700_000, 2_500_000, 9]);
    segment.push(&mut seeded, StreamId([2; 32]), 1, &[10, 8]);
    let (storage, _) = segment.store();
    let set = segment.seal(&*storage, 1, &mut never_stop).unwrap();
    let pair = open(&storage, &set, &set.groups[0], 1);
    let removals = [
        Removal {
            at: segment.parts[0].at + 1,
            bytes: 699_999,
        },
        Removal {
            at: segment.parts[1].at + 10,
            bytes: 2_400_000,
        },
        Removal {
            at: segment.parts[3].at,
            bytes: 10,
        },
    ];
    let files = rewrite(
        &pair,
        &pair.load_index().unwrap(),
        &removals,
        &mut never_stop,
    );
    let files = files.unwrap().unwrap();
    let pair = open(&storage, &set, &files, 1);
    assert_eq!(damages(&pair), []);
    let index = pair.load_index().unwrap();
    for removal in removals {
        segment.remove(removal);
    }
    for part in &segment.parts {
        let found = index.locate(part.at).unwrap();
        let mut bytes = vec![0; part.stored as usize + 4];
        match found.place {
            Place::Heads(at) => pair.read_heads(at, &mut bytes).unwrap(),
            Place::Bodies(at) => pair.read_bodies(at, &mut bytes).unwrap(),
            Place::Gone => panic!("nothing is gone"),
        }
        let at = part.at as usize;
        assert!(bytes == segment.bytes[at..at + bytes.len()], "{part:?}");
    }
}

#[test]
fn a_pace_that_stops_a_rewrite_leaves_the_old_files_alone() {
    let segment = Segment::random(6, 40, 3);
    let (storage, memory) = segment.store();
    let set = segment.seal(&*storage, 1, &mut never_stop).unwrap();
    let pair = open(&storage, &set, &set.groups[0], 1);
    let index = pair.load_index().unwrap();
    let image = memory.image();
    let body = segment.parts.iter().find(|part| !part.is_head).unwrap();
    let removals = [Removal {
        at: body.at,
        bytes: body.length,
    }];
    for stop in 0..2 {
        let mut left = stop;
        let mut pace = |_| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            ControlFlow::Continue(())
        };
        let found = rewrite(&pair, &index, &removals, &mut pace);
        assert!(matches!(found, Err(SealError::Stopped)), "{found:?}");
        assert_eq!(memory.image(), image);
    }
}

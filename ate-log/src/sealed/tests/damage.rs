//! Sealed files that are not what was written.

use super::support::{Seeded, Segment, damages, flip, id_of, never_stop, open};
use crate::{
    error::{Damage, OpenError, ReadError},
    location::{Location, StreamId},
    sealed::{GroupFiles, SealedFrame, SealedPair, Set, rewrite},
    storage::{Access, MemStorage, Storage},
};
use std::{ops::ControlFlow, sync::Arc};

/// Three streams, small parts, some of them gone. The last version is the one to look at.
fn small() -> (Arc<dyn Storage>, MemStorage, Set, Segment) {
    let mut seeded = Seeded(1);
    let mut segment = Segment::new();
    for stream in [2, 1, 2, 3, 2, 1] {
        segment.push(&mut seeded, StreamId([stream; 32]), 1, &[3, 5, 4]);
    }
    let (storage, memory) = segment.store();
    let mut set = segment.seal(&*storage, 1, &mut never_stop).expect("memory");
    let pair = open(&storage, &set, &set.groups[0], 1);
    let removals =
        [1, 5, 7].map(|part: usize| Segment::removal_of(&segment.parts[part], &mut seeded));
    let index = pair.load_index().expect("whole");
    let files = rewrite(&pair, &index, &removals, &mut never_stop).expect("they are parts");
    set.groups[0] = files.expect("something is removed");
    (storage, memory, set, segment)
}

fn try_open(storage: &Arc<dyn Storage>, set: &Set) -> Result<SealedPair, OpenError> {
    SealedPair::open(storage, id_of(&set.groups[0], 1), set.end, &set.groups[0])
}

/// Whether opening and checking all finds damage.
fn is_found(storage: &Arc<dyn Storage>, set: &Set) -> bool {
    match try_open(storage, set) {
        Ok(pair) => !damages(&pair).is_empty(),
        Err(OpenError::Corrupt { .. }) => true,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_flipped_bit_of_both_files_is_found() {
    let (storage, memory, set, _) = small();
    assert!(!is_found(&storage, &set));
    let id = id_of(&set.groups[0], 1);
    for name in [id.heads_name(), id.bodies_name()] {
        let file = memory.open(&name, Access::Write).unwrap();
        for bit in 0..file.length().unwrap() as usize * 8 {
            flip(&*file, bit);
            assert!(is_found(&storage, &set), "bit {bit} of {name}");
            flip(&*file, bit);
        }
    }
    assert!(!is_found(&storage, &set));
}

/// Whether what was found of a stream is whole: its heads as the log itself checks them, and
/// its bodies if none is gone.
fn is_believed(pair: &SealedPair, frame: &SealedFrame) -> bool {
    let mut piece = vec![0; frame.head_bytes as usize];
    pair.read_heads(frame.heads_at, &mut piece).is_ok() && pair.check_head(frame, &piece).is_ok()
}

#[test]
fn a_flipped_bit_never_makes_a_look_up_believe_a_wrong_frame() {
    let (storage, memory, set, segment) = small();
    let truth = open(&storage, &set, &set.groups[0], 1)
        .load_index()
        .unwrap();
    let file = memory
        .open(&id_of(&set.groups[0], 1).heads_name(), Access::Write)
        .unwrap();
    let streams = [1, 2, 3].map(|byte| StreamId([byte; 32]));
    for bit in 0..file.length().unwrap() as usize * 8 {
        flip(&*file, bit);
        if let Ok(pair) = try_open(&storage, &set) {
            for stream in &streams {
                let expected: Vec<SealedFrame> = truth.frames_of(stream).collect();
                let Ok(found) = pair.frames_of(stream) else {
                    continue;
                };
                // None at all is what a damaged id looks like; some of them never is.
                assert!(
                    found.is_empty() || found.len() == expected.len(),
                    "bit {bit}"
                );
                for (found, expected) in found.iter().zip(&expected) {
                    // The place of the bodies is told by the checksums of the bodies.
                    let same = SealedFrame {
                        bodies_at: expected.bodies_at,
                        ..*found
                    } == *expected;
                    assert!(same || !is_believed(&pair, found), "bit {bit}: {found:?}");
                }
            }
            drop(pair.gone_in(0..segment.end()));
        }
        flip(&*file, bit);
    }
}

#[test]
fn every_truncation_is_found() {
    let (storage, memory, set, _) = small();
    let id = id_of(&set.groups[0], 1);
    for (name, of_heads) in [(id.heads_name(), true), (id.bodies_name(), false)] {
        let whole = memory.image()[&name].clone();
        for length in 0..whole.len() {
            let mut image = memory.image();
            image.insert(name.clone(), whole[..length].to_vec());
            let cut: Arc<dyn Storage> = Arc::new(MemStorage::from_image(image));
            assert!(is_found(&cut, &set), "{length} bytes of {name}");
            // The same with a manifest that agrees with the length.
            let mut set = set.clone();
            let files = &mut set.groups[0];
            let bytes = if of_heads {
                &mut files.heads_bytes
            } else {
                &mut files.bodies_bytes
            };
            *bytes = length as u32;
            assert!(is_found(&cut, &set), "{length} bytes of {name}, as noted");
        }
    }
    let mut image = memory.image();
    image.get_mut(&id.heads_name()).unwrap().push(0);
    assert!(is_found(
        &(Arc::new(MemStorage::from_image(image)) as Arc<dyn Storage>),
        &set
    ));
    assert!(!is_found(&storage, &set));
}

#[test]
fn a_missing_file_is_told_from_a_damaged_one() {
    let (storage, memory, set, _) = small();
    let id = id_of(&set.groups[0], 1);
    memory.remove(&id.bodies_name()).unwrap();
    let pair = try_open(&storage, &set).unwrap();
    let missing = |at| (at, Damage::SealedMissing);
    assert_eq!(damages(&pair), [missing(Location { file: 7, offset: 0 })]);
    assert!(matches!(
        pair.read_bodies(64, &mut [0]),
        Err(ReadError::Corrupt {
            damage: Damage::SealedMissing,
            ..
        })
    ));
    memory.remove(&id.heads_name()).unwrap();
    assert!(matches!(
        try_open(&storage, &set),
        Err(OpenError::Corrupt {
            damage: Damage::SealedMissing,
            ..
        })
    ));
}

#[test]
fn files_of_another_pair_are_refused() {
    let (storage, _, set, _) = small();
    let files = set.groups[0];
    let open_as = |id, end| SealedPair::open(&storage, id, end, &files);
    let id = id_of(&files, 1);
    assert!(open_as(id, set.end).is_ok());
    assert!(open_as(id, set.end + 1).is_err());
    assert!(
        open_as(
            crate::sealed::PairId {
                log_id: [1; 16],
                ..id
            },
            set.end
        )
        .is_err()
    );
    assert!(open_as(crate::sealed::PairId { groups: 2, ..id }, set.end).is_err());
    // The version before has another length and says which version it is.
    let older = GroupFiles {
        version: 1,
        ..files
    };
    assert!(SealedPair::open(&storage, id_of(&older, 1), set.end, &older).is_err());
}

/// Puts right all checksums of a heads file.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let number = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
    };
    let trailer = bytes.len() - 48;
    for table in 0..4 {
        let start = number(&bytes, trailer + 4 * table);
        let end = if table == 3 {
            trailer
        } else {
            number(&bytes, trailer + 4 * table + 4)
        };
        if let Some(table_bytes) = bytes.get(start..end) {
            let crc = crc32c::crc32c(table_bytes).to_le_bytes();
            bytes[trailer + 16 + 4 * table..][..4].copy_from_slice(&crc);
        }
    }
    for (start, end) in [(0, 60), (trailer, trailer + 44)] {
        let crc = crc32c::crc32c(&bytes[start..end]).to_le_bytes();
        bytes[end..end + 4].copy_from_slice(&crc);
    }
    bytes
}

#[test]
fn hostile_numbers_with_right_checksums_are_refused() {
    let (storage, memory, set, segment) = small();
    let pair = try_open(&storage, &set).unwrap();
    let name = pair.id().heads_name();
    let whole = memory.image()[&name].clone();
    assert_eq!(resealed(whole.clone()), whole);
    let tables = pair.trailer.tables[0] as usize;
    let streams = [1, 2, 3].map(|byte| StreamId([byte; 32]));
    let places = (8..60)
        .step_by(4)
        .chain((tables..whole.len() - 4).step_by(4));
    for at in places {
        for value in [
            0,
            1,
            2,
            63,
            64,
            65,
            1000,
            0x7fff_ffff,
            0x8000_0000,
            u32::MAX - 3,
            u32::MAX,
        ] {
            let mut bytes = whole.clone();
            bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
            if bytes == whole {
                continue;
            }
            let mut image = memory.image();
            image.insert(name.clone(), resealed(bytes.clone()));
            let other: Arc<dyn Storage> = Arc::new(MemStorage::from_image(image));
            let crc_of_table = (whole.len() - 32..whole.len() - 16).contains(&at);
            let newer = at == 8;
            if !crc_of_table && !newer {
                assert!(is_found(&other, &set), "{value} at {at}");
            }
            if let Ok(pair) = try_open(&other, &set) {
                for stream in &streams {
                    drop(pair.frames_of(stream));
                }
                drop(pair.gone_in(0..segment.end()));
            }
        }
    }
}

#[test]
fn a_newer_version_is_named() {
    let (_, memory, set, _) = small();
    let name = id_of(&set.groups[0], 1).heads_name();
    let mut image = memory.image();
    let mut bytes = image[&name].clone();
    bytes[8] = 3;
    image.insert(name, resealed(bytes));
    let other: Arc<dyn Storage> = Arc::new(MemStorage::from_image(image));
    assert!(matches!(
        try_open(&other, &set),
        Err(OpenError::NewerFormat {
            found: 3,
            supported: 2,
            ..
        })
    ));
}

#[test]
fn damage_of_a_frame_is_reported_with_its_logical_place() {
    let (storage, memory, set, segment) = small();
    let pair = try_open(&storage, &set).unwrap();
    let index = pair.load_index().unwrap();
    let heads = memory.open(&pair.id().heads_name(), Access::Write).unwrap();
    let bodies = memory
        .open(&pair.id().bodies_name(), Access::Write)
        .unwrap();
    let frame = index.frame_at(segment.frames[2].0).unwrap();
    let at = Location {
        file: 7,
        offset: frame.offset,
    };
    let body_at = frame.bodies_at.unwrap();
    for (file, byte, damage) in [
        (&heads, frame.heads_at + 30, Damage::FrameHeader),
        (&heads, frame.heads_at + 60, Damage::FrameTable),
        (
            &heads,
            frame.heads_at + frame.head_bytes - 1,
            Damage::FramePart { index: 0 },
        ),
        // Its first body part is gone.
        (&bodies, body_at, Damage::FramePart { index: 2 }),
    ] {
        flip(&**file, byte as usize * 8);
        let found = damages(&pair);
        flip(&**file, byte as usize * 8);
        assert_eq!(found, [(at, damage)]);
    }
}

#[test]
fn a_scrub_stops_when_it_is_told_to() {
    let mut seeded = Seeded(1);
    let mut segment = Segment::new();
    for _ in 0..6 {
        segment.push(&mut seeded, StreamId([1; 32]), 1, &[200_000, 60_000]);
    }
    let (storage, _) = segment.store();
    let set = segment.seal(&*storage, 1, &mut never_stop).unwrap();
    let pair = open(&storage, &set, &set.groups[0], 1);
    let mut calls = 0;
    let mut pace = |_| {
        calls += 1;
        if calls == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let end = pair
        .scrub(&mut pace, &mut |at, damage| panic!("{at}: {damage}"))
        .unwrap();
    assert!(end.is_break() && calls == 2);
}

#[test]
fn a_gone_entry_that_is_no_part_is_found() {
    let (_, memory, set, _) = small();
    let id = id_of(&set.groups[0], 1);
    let whole = memory.image()[&id.heads_name()].clone();
    // The first gone entry: one byte further on, and one byte shorter there.
    let entry = whole.len() - 48 - 3 * 8;
    for (at, delta) in [(entry, 1), (entry + 4, -1_i8)] {
        let mut image = memory.image();
        let bytes = image.get_mut(&id.heads_name()).unwrap();
        bytes[at] = bytes[at].checked_add_signed(delta).unwrap();
        *bytes = resealed(bytes.clone());
        let other: Arc<dyn Storage> = Arc::new(MemStorage::from_image(image));
        assert!(is_found(&other, &set), "{delta}");
    }
}

#[test]
fn a_stream_of_another_group_is_found() {
    let (_, memory, set, _) = small();
    let id = crate::sealed::PairId {
        groups: 2,
        ..id_of(&set.groups[0], 1)
    };
    let mut image = memory.image();
    let bytes = image.get_mut(&id.heads_name()).unwrap();
    bytes[34] = 2;
    *bytes = resealed(bytes.clone());
    let other: Arc<dyn Storage> = Arc::new(MemStorage::from_image(image));
    let pair = SealedPair::open(&other, id, set.end, &set.groups[0]).unwrap();
    assert!(matches!(
        pair.load_index(),
        Err(ReadError::Corrupt {
            damage: Damage::SealedIndex,
            ..
        })
    ));
}

#[test]
fn a_look_up_never_returns_a_part_of_a_streams_frames() {
    let mut seeded = Seeded(2);
    let mut ids: Vec<StreamId> = (0..100).map(|_| seeded.stream()).collect();
    let mut segment = Segment::new();
    for round in 0..5 {
        for id in &ids {
            if round < 3 || seeded.below(2) == 0 {
                segment.push(&mut seeded, *id, 1, &[2]);
            }
        }
    }
    let (storage, memory) = segment.store();
    let set = segment.seal(&*storage, 1, &mut never_stop).unwrap();
    let pair = open(&storage, &set, &set.groups[0], 1);
    let file = memory.open(&pair.id().heads_name(), Access::Write).unwrap();
    ids.sort_unstable();
    for (index, id) in ids.iter().enumerate() {
        // First frame and count of the stream's entry.
        let entry = pair.trailer.tables[2] as usize + 48 * index + 32;
        for bit in entry * 8..(entry + 8) * 8 {
            flip(&*file, bit);
            assert!(pair.frames_of(id).is_err(), "bit {bit} of stream {index}");
            flip(&*file, bit);
        }
    }
}

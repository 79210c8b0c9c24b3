//! The manifest and the names.

use super::support::Seeded;
use crate::{
    error::{Damage, OpenError},
    sealed::{
        GroupFiles, MANIFEST_NAME, Manifest, PairFile, SealError, Set, bodies_name, heads_name,
        is_sealed_leftover, sealed_file,
    },
    storage::{Fault, FaultyStorage, MemStorage, Storage, write_full},
};
use std::sync::Arc;

fn manifest(sets: u32, groups: u16) -> Manifest {
    let mut seeded = Seeded(u64::from(sets));
    let sets = (0..sets).map(|index| Set {
        file: 4 + index,
        end: seeded.next() as u32,
        groups: (0..groups)
            .map(|group| GroupFiles {
                group,
                version: 1 + index,
                heads_bytes: 65 + seeded.below(1 << 20) as u32,
                bodies_bytes: if group == 1 { 0 } else { 100 },
            })
            .collect(),
    });
    Manifest {
        log_id: [1; 16],
        generation: 9,
        store_id: [2; 16],
        groups,
        first: 4,
        sets: sets.collect(),
    }
}

fn is_damage(found: Result<Manifest, OpenError>) -> bool {
    matches!(
        found,
        Err(OpenError::Corrupt {
            damage: Damage::Manifest,
            ..
        })
    )
}

/// The bytes with a checksum that is right.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 4);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_manifest_comes_back() {
    for (sets, groups) in [(0, 1), (1, 1), (3, 2), (200, 5), (2, 256)] {
        let manifest = manifest(sets, groups);
        assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
    }
    let manifest = manifest(3, 2);
    assert_eq!(manifest.set(3), None);
    assert_eq!(manifest.set(6), Some(&manifest.sets[2]));
    assert_eq!(manifest.set(7), None);
    let id = manifest.pair_id(6, &manifest.sets[2].groups[1]);
    assert_eq!((id.group, id.groups, id.version), (1, 2, 3));
}

#[test]
fn every_flipped_bit_and_every_truncation_of_a_manifest_is_found() {
    let bytes = manifest(3, 2).encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(is_damage(Manifest::decode(&flipped)), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(is_damage(Manifest::decode(&bytes[..length])), "{length}");
    }
}

#[test]
fn a_manifest_with_a_right_checksum_and_impossible_contents_is_refused() {
    let good = manifest(2, 2);
    let check = |name: &str, at: usize, value: &[u8]| {
        let mut bytes = good.encode();
        bytes[at..at + value.len()].copy_from_slice(value);
        assert!(is_damage(Manifest::decode(&resealed(bytes))), "{name}");
    };
    check("an older version", 8, &1_u32.to_le_bytes());
    check("no groups", 52, &[0, 0]);
    check("too many groups", 52, &257_u16.to_le_bytes());
    check("another first set", 54, &5_u32.to_le_bytes());
    check("a first set 0", 54, &[0; 4]);
    check("fewer sets", 58, &1_u32.to_le_bytes());
    check("more sets", 58, &3_u32.to_le_bytes());
    check("a hostile count of sets", 58, &[0xff; 4]);
    check("a set out of turn", 62, &9_u32.to_le_bytes());
    check("a hostile count of groups", 70, &[0xff; 2]);
    check("groups not ascending", 72, &1_u16.to_le_bytes());
    check("a group that is none", 86, &2_u16.to_le_bytes());
    check("version 0", 74, &[0; 4]);
    check("a heads file without frames", 78, &64_u32.to_le_bytes());
    check("a bodies file without bodies", 82, &64_u32.to_le_bytes());
    let mut longer = good.encode();
    longer.extend_from_slice(&[0; 10]);
    assert!(is_damage(Manifest::decode(&resealed(longer))), "longer");
    let mut newer = good.encode();
    newer[8] = 3;
    assert!(matches!(
        Manifest::decode(&resealed(newer)),
        Err(OpenError::NewerFormat {
            found: 3,
            supported: 2,
            ..
        })
    ));
}

#[test]
fn a_manifest_is_replaced_as_a_whole() {
    let storage = MemStorage::new();
    assert_eq!(Manifest::load(&storage).unwrap(), None);
    for sets in [0, 3, 1] {
        manifest(sets, 2).store(&storage).unwrap();
        assert_eq!(Manifest::load(&storage).unwrap(), Some(manifest(sets, 2)));
        assert_eq!(storage.list().unwrap(), [MANIFEST_NAME]);
    }
    let file = storage.create(MANIFEST_NAME).unwrap();
    file.truncate(1 << 40).unwrap();
    assert!(matches!(
        Manifest::load(&storage),
        Err(OpenError::Corrupt { .. })
    ));
    file.truncate(0).unwrap();
    write_full(&*file, 0, b"ATE-MANI").unwrap();
    assert!(matches!(
        Manifest::load(&storage),
        Err(OpenError::Corrupt { .. })
    ));
}

#[test]
fn a_failure_leaves_the_old_manifest_or_the_new_one() {
    for call in 1.. {
        let memory = MemStorage::new();
        manifest(1, 1).store(&memory).unwrap();
        let faulty = FaultyStorage::new(Arc::new(memory.clone()));
        faulty.fail_once(call, Fault::Io);
        let stored = manifest(2, 1).store(&faulty);
        if !faulty.fired() {
            assert!(stored.is_ok() && call > 4, "call {call}");
            break;
        }
        assert!(matches!(stored, Err(SealError::Io { .. })), "call {call}");
        let found = Manifest::load(&memory).unwrap().unwrap();
        assert!(
            found == manifest(1, 1) || found == manifest(2, 1),
            "call {call}"
        );
        assert_eq!(memory.list().unwrap(), [MANIFEST_NAME], "call {call}");
    }
}

#[test]
fn names_are_told_apart() {
    assert_eq!(heads_name(7, 3, 12), "heads-00000007-03-0012.seg");
    for (file, group, version) in [
        (1, 0, 1),
        (u32::MAX, 255, u32::MAX),
        (123_456_789, 100, 12_345),
    ] {
        assert_eq!(
            sealed_file(&heads_name(file, group, version)),
            Some((PairFile::Heads, file, group, version))
        );
        assert_eq!(
            sealed_file(&bodies_name(file, group, version)),
            Some((PairFile::Bodies, file, group, version))
        );
    }
    for other in [
        "heads-00000000-00-0001.seg",
        "heads-00000001-00-0000.seg",
        "heads-00000001-0-0001.seg",
        "heads-00000001-00-0001-0.seg",
        "heads-00000001-00-0001.new",
        "heads-+0000001-00-0001.seg",
        "log-00000001.seg",
        "manifest",
    ] {
        assert_eq!(sealed_file(other), None, "{other}");
    }
    for leftover in [
        "manifest.new",
        "heads-00000001-00-0001.new",
        "bodies-00000001-10-0001.new",
    ] {
        assert!(is_sealed_leftover(leftover), "{leftover}");
    }
    for other in [
        "manifest",
        "heads-00000001-00-0001.seg",
        "notes.new",
        "log-00000001.new",
    ] {
        assert!(!is_sealed_leftover(other), "{other}");
    }
}

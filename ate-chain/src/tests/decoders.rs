//! Decoders before hostile bytes: no panic, no trust in a length, and one encoding for everything that decodes.

use std::sync::LazyLock;

use ate_crypto::{Hash, KeyId, Suite};
use proptest::prelude::*;

use super::world::*;
use crate::codec::{put_bytes, put_varint};
use crate::commit::{Commit, encode_part_head};
use crate::directory::Directory;
use crate::event::{Change, EventHead, Rotate};
use crate::head::CommitHead;
use crate::ids::{ChainId, LaneId, RecordKey, Ref};
use crate::policy::{ReadPolicy, WritePolicy};
use crate::proof::Proof;
use crate::rest::Rest;

fn bytes_of(head: &EventHead) -> Vec<u8> {
    let mut bytes = Vec::new();
    head.encode_prefix(head.meta.is_some(), head.content.is_some(), &mut bytes);
    head.encode_bodies(&mut bytes);
    bytes
}

/// One event of every kind and shape.
fn events() -> Vec<EventHead> {
    let world = World::unfounded();
    let key = key_of(RecordKey::ROOT, 1);
    let mut full = create_at(
        RecordKey::ROOT,
        1,
        Ref::Lane {
            number: 300,
            event: 2,
        },
    );
    full.meta = Some(BODY);
    full.defines = true;
    full.write = Some(WritePolicy::any_of((0..64).map(|byte| KeyId([byte; 32]))));
    full.read = Some(ReadPolicy::Public {
        read: [1; 32],
        name: [2; 32],
    });
    let mut taken = update(key, at(u64::MAX, u32::MAX));
    taken.write = Some(WritePolicy::Nobody);
    taken.read = Some(ReadPolicy::Keys {
        commitment: Hash([5; 32]),
    });
    let rotate = |link| {
        EventHead::of(Change::Rotate(Box::new(Rotate {
            scope: key,
            epoch: 7,
            commitment: Hash([1; 32]),
            link,
        })))
    };
    let mut events = world.genesis().events;
    events.extend([
        full,
        taken,
        create(key, 3),
        remove(key, Ref::Absent),
        erase(key, Ref::Absent),
        erase(
            key,
            Ref::Lane {
                number: u64::MAX,
                event: 1,
            },
        ),
        horizon(0),
        horizon(u64::MAX),
        require(key, at(3, 4)),
        EventHead::of(Change::Introduce(world.ann.who().clone())),
        grant(key, 200, &world.bob),
        rotate(None),
        rotate(Some([8; 48])),
    ]);
    events
}

fn head_bytes(events: &[EventHead]) -> Vec<u8> {
    let world = World::unfounded();
    let mut raw = world.genesis();
    raw.events = events.to_vec();
    raw.commitments = vec![
        key_in(RecordKey([1; 16]), 1),
        key_in(RecordKey([2; 16]), 300),
    ];
    let mut bytes = Vec::new();
    raw.commit(&ChainId::UNBORN).head.encode(&mut bytes);
    bytes
}

fn part_bytes() -> Vec<u8> {
    let events = events();
    let mut bytes = Vec::new();
    encode_part_head(9, &head_bytes(&events), &mut bytes);
    events
        .iter()
        .for_each(|event| put_bytes(&mut bytes, &bytes_of(event)));
    bytes
}

fn proof_bytes() -> Vec<u8> {
    let world = World::unfounded();
    let mut bytes = Vec::new();
    Proof {
        suite: Suite::Hybrid1,
        author: world.root.id(),
        lane: LaneId([1; 16]),
        link: Hash([2; 32]),
        commits: vec![Hash([3; 32]), Hash([4; 32])],
        leaf_index: 5,
        path: vec![Hash([5; 32]); 3],
        signature: world.root.sign(ate_crypto::Purpose::Batch, b"root"),
    }
    .encode(&mut bytes);
    bytes
}

/// A decoder that returns what its result encodes to.
type Redo = fn(&[u8]) -> Option<Vec<u8>>;

/// What it decodes, samples of it, and the decoder.
type Decoder = (&'static str, Vec<Vec<u8>>, Redo);

static DECODERS: LazyLock<Vec<Decoder>> = LazyLock::new(decoders);

fn decoders() -> Vec<Decoder> {
    let log = ate_log::MemLog::new();
    let mut directory = Directory::new(&log);
    directory.note(crate::directory::DirectoryEntry {
        chain: ChainId(Hash([1; 32])),
        name: "name".into(),
        root: KeyId([2; 32]),
    });
    vec![
        ("event", events().iter().map(bytes_of).collect(), |bytes| {
            let (head, prefix) = EventHead::decode(bytes).ok()?;
            assert!(prefix <= bytes.len());
            Some(bytes_of(&head))
        }),
        ("head", vec![head_bytes(&events())], |bytes| {
            let mut out = Vec::new();
            CommitHead::decode(bytes).ok()?.encode(&mut out);
            Some(out)
        }),
        ("commit", vec![part_bytes()], |bytes| {
            let commit = Commit::decode(&ChainId::UNBORN, bytes).ok()?;
            let (mut out, mut head) = (Vec::new(), Vec::new());
            commit.head.encode(&mut head);
            encode_part_head(commit.order_time_ms, &head, &mut out);
            for event in &commit.events {
                put_bytes(&mut out, &bytes_of(&event.head));
            }
            Some(out)
        }),
        ("proof", vec![proof_bytes()], |bytes| {
            let mut out = Vec::new();
            Proof::decode(bytes).ok()?.encode(&mut out);
            Some(out)
        }),
        ("directory", vec![directory.encode()], |bytes| {
            Some(Directory::decode(bytes).ok()?.encode())
        }),
    ]
}

#[test]
fn what_is_written_reads_back_and_every_cut_is_noticed() {
    for (what, samples, redo) in &*DECODERS {
        for sample in samples {
            assert_eq!(redo(sample).as_ref(), Some(sample), "{what}");
            for end in 0..sample.len() {
                assert_eq!(redo(&sample[..end]), None, "{what} cut at {end}");
            }
            let mut longer = sample.clone();
            longer.push(0);
            assert_eq!(redo(&longer), None, "{what} with a byte too many");
        }
    }
}

#[test]
fn every_flip_is_refused_or_means_something_else() {
    for (what, samples, redo) in &*DECODERS {
        for sample in samples {
            for index in 0..sample.len().min(2500) {
                for bit in 0..8 {
                    let mut flipped = sample.clone();
                    flipped[index] ^= 1 << bit;
                    if let Some(again) = redo(&flipped) {
                        assert_eq!(again, flipped, "{what}, byte {index}");
                    }
                }
            }
        }
    }
}

#[test]
fn reserved_and_unknown_values_are_refused_by_name() {
    use crate::error::FormatError::{Flags, NewerFormat, Reserved, Unknown};
    let key = [0; 16];
    let event = |kind: u8, flags: u8, rest: &[u8]| {
        let bytes = [&[kind, flags][..], &key, rest].concat();
        EventHead::decode(&bytes).unwrap_err()
    };
    for kind in 10..=15 {
        assert_eq!(event(kind, 0, &[0]), Reserved { what: "event kind" });
    }
    assert_eq!(
        event(16, 0, &[0]),
        Unknown {
            what: "event kind",
            got: 16
        }
    );
    assert_eq!(
        event(3, 0, &[3]),
        Unknown {
            what: "reference kind",
            got: 3
        }
    );
    assert_eq!(event(3, 1, &[0]), Flags { kind: 3, flags: 1 });
    for flags in [1, 2, 4, 8, 16] {
        assert_eq!(event(8, flags, &[0]), Flags { kind: 8, flags });
        let horizon = EventHead::decode(&[9, flags, 3]).unwrap_err();
        assert_eq!(horizon, Flags { kind: 9, flags });
    }
    // A position in more bytes than it needs.
    assert!(EventHead::decode(&[9, 0, 0x83, 0]).is_err());
    assert_eq!(event(2, 32, &[0; 9]), Flags { kind: 2, flags: 32 });
    assert_eq!(
        event(2, 4, &[[0; 9].as_slice(), &[4]].concat()),
        Reserved {
            what: "role policy"
        }
    );
    assert_eq!(
        event(2, 8, &[[0; 9].as_slice(), &[3]].concat()),
        Reserved {
            what: "role policy"
        }
    );
    let mut genesis = bytes_of(&World::unfounded().genesis().events[0]);
    genesis[1] = 4;
    assert_eq!(
        EventHead::decode(&genesis).unwrap_err(),
        Flags { kind: 0, flags: 4 }
    );
    let mut head = head_bytes(&events());
    head[0] = 2;
    assert_eq!(
        CommitHead::decode(&head).unwrap_err(),
        NewerFormat { found: 2, known: 1 }
    );
    head[..2].copy_from_slice(&[1, 9]);
    assert_eq!(
        CommitHead::decode(&head).unwrap_err(),
        NewerFormat { found: 9, known: 1 }
    );
    head[1..3].copy_from_slice(&[1, 2]);
    assert_eq!(
        CommitHead::decode(&head).unwrap_err(),
        Unknown {
            what: "suite",
            got: 2
        }
    );
    let mut proof = proof_bytes();
    proof[0] = 2;
    assert_eq!(
        Proof::decode(&proof).err(),
        Some(Unknown {
            what: "proof kind",
            got: 2
        })
    );
}

#[test]
fn the_longest_event_heads_of_records_fit_their_row() {
    let mut longest = World::unfounded().genesis().events.swap_remove(0);
    longest.write = Some(WritePolicy::any_of((0..64).map(|byte| KeyId([byte; 32]))));
    longest.read = Some(ReadPolicy::Public {
        read: [1; 32],
        name: [2; 32],
    });
    if let Change::Genesis(genesis) = &mut longest.change {
        genesis.name = "n".repeat(1024).into();
        genesis.recovery = vec![KeyId([1; 32]); 16].into();
        genesis.note_keys = vec![vec![1; 32 + 1952].into(); 16].into();
        genesis.suites = vec![Suite::Hybrid1; 16].into();
    }
    let bytes = bytes_of(&longest);
    assert!(EventHead::decode(&bytes).is_ok());
    assert!(bytes.len() < usize::from(u16::MAX), "{}", bytes.len());
    // One of anything more is refused.
    if let Change::Genesis(genesis) = &mut longest.change {
        genesis.recovery = vec![KeyId([1; 32]); 17].into();
    }
    assert!(EventHead::decode(&bytes_of(&longest)).is_err());
}

#[test]
fn lengths_do_not_allocate() {
    // Each claims 2^40 or so of something and brings nothing.
    let mut huge = Vec::new();
    put_varint(&mut huge, 1 << 40);
    let mut proof = proof_bytes()[..2 + 32 + 16 + 32].to_vec();
    proof.extend_from_slice(&huge);
    assert!(Proof::decode(&proof).is_err());
    let log = ate_log::MemLog::new();
    let mut directory = Directory::new(&log).encode();
    directory.pop();
    directory.extend_from_slice(&huge);
    assert!(Directory::decode(&directory).is_err());
    let mut part = vec![0; 8];
    part.extend_from_slice(&huge);
    assert!(Commit::decode(&ChainId::UNBORN, &part).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..11, flags in 0u8..32) {
        let mut event = vec![kind, flags];
        event.extend_from_slice(&bytes);
        for input in [&bytes, &event] {
            for (_, _, redo) in &*DECODERS {
                if let Some(again) = redo(input) {
                    prop_assert_eq!(&again, input);
                }
            }
            let _ = Rest::decode(ChainId(Hash([1; 32])), input);
        }
    }

    #[test]
    fn spliced_bytes_never_panic(which in 0usize..5, from in any::<prop::sample::Index>(), cut in 0usize..40, insert in prop::collection::vec(any::<u8>(), 0..40)) {
        let (what, samples, redo) = &DECODERS[which];
        for sample in samples {
            let start = from.index(sample.len());
            let end = (start + cut).min(sample.len());
            let mut spliced = sample[..start].to_vec();
            spliced.extend_from_slice(&insert);
            spliced.extend_from_slice(&sample[end..]);
            if let Some(again) = redo(&spliced) {
                prop_assert_eq!(again, spliced, "{}", what);
            }
        }
    }
}

//! Rules of erasure and horizon, each with a commit that breaks it and nothing else; and what becomes of bodies that are not there.

use std::borrow::Cow;

use ate_crypto::{Part, sha256};

use super::world::*;
use crate::commit::{Commit, Stored, encode_part_head};
use crate::error::Reject;
use crate::event::{BodyHash, EventHead};
use crate::ids::{ChainId, Position, RecordKey, Ref, Version};
use crate::policy::WritePolicy;
use crate::table::flag;

const ROOT: RecordKey = RecordKey::ROOT;

fn writable(mut head: EventHead, write: WritePolicy) -> EventHead {
    head.write = Some(write);
    head
}

fn erased_before(world: &World, key: RecordKey) -> Option<u64> {
    world.state.erased_before(&key)
}

#[test]
fn an_erasure_ends_a_live_record_or_follows_its_end() {
    let mut world = World::new();
    let (live, removed) = (key_of(ROOT, 1), key_of(ROOT, 2));
    let raw = world.raw(vec![create(ROOT, 1), create(ROOT, 2)]);
    let seq = world.good(raw);
    let raw = world.raw(vec![remove(removed, at(seq, 1))]);
    let gone = world.good(raw);
    let count = world.state.live;
    let raw = world.raw(vec![erase(live, at(seq, 0)), erase(removed, at(gone, 0))]);
    let erased = world.good(raw);
    assert_eq!(world.state.live, count - 1);
    for (key, event) in [(live, 0), (removed, 1)] {
        let found = world.state.find(&key).unwrap();
        assert!(!found.is(flag::LIVE) && found.is(flag::ERASED));
        assert_eq!(found.version(), Version { seq: erased, event });
        assert_eq!(erased_before(&world, key), Some(erased));
    }
    assert_eq!(world.state.gone.due.len(), 2);
    // Nothing forbids to erase again what was removed or came back meanwhile.
    let raw = world.raw(vec![erase(live, at(erased, 0))]);
    let again = world.good(raw);
    assert_eq!(erased_before(&world, live), Some(again));
}

#[test]
fn an_erasure_names_the_version_that_stands() {
    let mut world = World::new();
    let key = key_of(ROOT, 1);
    let raw = world.raw(vec![erase(key, Ref::Absent)]);
    assert_eq!(world.bad(raw), Reject::NoRecord { key });
    let raw = world.raw(vec![create(ROOT, 1)]);
    let first = world.good(raw);
    let raw = world.raw(vec![update(key, at(first, 0))]);
    let second = world.good(raw);
    let stored = Some(Version {
        seq: second,
        event: 0,
    });
    for stale in [at(first, 0), Ref::Absent] {
        let raw = world.raw(vec![erase(key, stale)]);
        let expected = Reject::Conflict {
            key,
            expected: stale,
            stored,
        };
        assert_eq!(world.bad(raw), expected);
    }
    let number = world.raw(Vec::new()).number - 1;
    let raw = world.raw(vec![erase(key, Ref::Lane { number, event: 0 })]);
    world.good(raw);
}

#[test]
fn an_erasure_takes_the_right_to_write_at_the_record() {
    let mut world = World::new();
    let (root, ann) = (world.root.clone(), world.ann.clone());
    let (own, tomb) = (key_of(ROOT, 1), key_of(ROOT, 2));
    let anns = WritePolicy::Key(ann.id());
    let raw = world.raw(vec![
        writable(create(ROOT, 1), anns.clone()),
        writable(create(ROOT, 2), anns),
        writable(create(ROOT, 3), WritePolicy::Nobody),
    ]);
    let seq = world.good(raw);
    let raw = world.raw_by(ann.id(), vec![remove(tomb, at(seq, 1))]);
    let gone = world.good(raw);
    for (key, version) in [
        (own, at(seq, 0)),
        (tomb, at(gone, 0)),
        (key_of(ROOT, 3), at(seq, 2)),
    ] {
        let raw = world.raw(vec![erase(key, version)]);
        let author = root.id();
        assert_eq!(world.bad(raw), Reject::Denied { author, key });
    }
    let raw = world.raw_by(
        ann.id(),
        vec![erase(own, at(seq, 0)), erase(tomb, at(gone, 0))],
    );
    world.good(raw);
}

#[test]
fn the_root_record_and_descriptors_are_not_erased() {
    let mut world = World::new();
    let why = "the root record and schema descriptors stay";
    let raw = world.raw(vec![erase(ROOT, at(0, 0))]);
    world.invalid(raw, why);
    let raw = world.raw(vec![erase(key_of(ROOT, 0), at(1, 2))]);
    world.invalid(raw, why);
}

#[test]
fn a_record_is_erased_once_in_a_commit_and_by_nothing_else() {
    let mut world = World::new();
    let raw = world.raw(vec![create(ROOT, 1)]);
    let seq = world.good(raw);
    let key = key_of(ROOT, 1);
    let erasure = || erase(key, at(seq, 0));
    for other in [erasure(), update(key, at(seq, 0)), remove(key, at(seq, 0))] {
        let raw = world.raw(vec![other, erasure()]);
        world.invalid(raw, "a record is targeted twice");
    }
    // Not together with the creation of what it erases either.
    let raw = world.raw(vec![create(ROOT, 2), erase(key_of(ROOT, 2), Ref::Absent)]);
    let missing = key_of(ROOT, 2);
    assert_eq!(world.bad(raw), Reject::NoRecord { key: missing });
    // Nothing is created below what it ends, but what hangs there stays.
    let raw = world.raw(vec![create(key, 1)]);
    let child = world.good(raw);
    let raw = world.raw(vec![erasure(), create(key, 2)]);
    assert_eq!(world.bad(raw), Reject::NoRecord { key });
    let raw = world.raw(vec![erasure()]);
    world.good(raw);
    let raw = world.raw(vec![update(key_of(key, 1), at(child, 0))]);
    world.good(raw);
}

#[test]
fn a_record_that_comes_back_remembers_what_was_erased() {
    let mut world = World::new();
    let key = key_of(ROOT, 1);
    let raw = world.raw(vec![create(ROOT, 1)]);
    let seq = world.good(raw);
    let raw = world.raw(vec![erase(key, at(seq, 0))]);
    let erased = world.good(raw);
    let raw = world.raw(vec![create_at(ROOT, 1, at(seq, 0))]);
    assert!(matches!(world.bad(raw), Reject::Conflict { .. }));
    let raw = world.raw(vec![create_at(ROOT, 1, at(erased, 0))]);
    let back = world.good(raw);
    let raw = world.raw(vec![update(key, at(back, 0))]);
    let last = world.good(raw);
    assert_eq!(erased_before(&world, key), Some(erased));
    let raw = world.raw(vec![remove(key, at(last, 0))]);
    world.good(raw);
    assert_eq!(erased_before(&world, key), Some(erased));
}

#[test]
fn a_pending_erasure_is_taken_back() {
    let mut world = World::new();
    let raw = world.raw(vec![create(ROOT, 1)]);
    let seq = world.good(raw);
    let before = world.state.gone.clone();
    let raw = world.raw(vec![erase(key_of(ROOT, 1), at(seq, 0)), horizon(1)]);
    let pending = world.pend(raw);
    assert_eq!(world.state.next_horizon(), Position(1));
    assert_eq!(world.state.gone, before);
    world.state.rollback_to(pending);
    assert_eq!(world.state.next_horizon(), Position(0));
    assert!(world.state.find(&key_of(ROOT, 1)).unwrap().is(flag::LIVE));
}

#[test]
fn a_horizon_moves_forward_within_what_was_committed_by_who_may_write_at_the_root() {
    let mut world = World::new();
    let ann = world.ann.clone();
    let raw = world.raw_by(ann.id(), vec![horizon(1)]);
    let author = ann.id();
    assert_eq!(world.bad(raw), Reject::Denied { author, key: ROOT });
    let next = world.state.next_seq();
    let raw = world.raw(vec![horizon(next + 1)]);
    world.invalid(raw, "a horizon lies behind what was committed before it");
    let raw = world.raw(vec![horizon(0)]);
    world.invalid(raw, "a horizon moves forward only");
    let raw = world.raw(vec![horizon(next)]);
    world.good(raw);
    assert_eq!(world.state.gone.horizon, Position(next));
    for back in [next, next - 1] {
        let raw = world.raw(vec![horizon(back)]);
        world.invalid(raw, "a horizon moves forward only");
    }
    // Within one commit too, and over one that is not confirmed.
    let raw = world.raw(vec![horizon(next + 1), horizon(next + 1)]);
    world.invalid(raw, "a horizon moves forward only");
    let raw = world.raw(vec![horizon(next + 1)]);
    world.pend(raw);
    let raw = world.raw(vec![horizon(next + 1)]);
    world.invalid(raw, "a horizon moves forward only");
    let raw = world.raw(vec![horizon(next + 2)]);
    world.pend(raw);
    assert_eq!(world.state.next_horizon(), Position(next + 2));
}

/// A commit of one record with these sealed parts.
fn commit_of(meta: &[u8], content: &[u8]) -> Commit<crate::commit::Unverified> {
    let world = World::new();
    let body = |bytes: &[u8]| BodyHash {
        bytes: bytes.len() as u32,
        hash: sha256(&[bytes]),
    };
    let mut event = create(ROOT, 1);
    (event.meta, event.content) = (Some(body(meta)), Some(body(content)));
    let raw = world.raw(vec![event.clone()]);
    let (mut head, mut part, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    raw.commit(&ChainId::UNBORN).head.encode(&mut head);
    encode_part_head(5, &head, &mut part);
    event.encode_prefix(true, true, &mut bytes);
    event.encode_bodies(&mut bytes);
    crate::codec::put_bytes(&mut part, &bytes);
    Commit::decode(&ChainId::UNBORN, &part).unwrap()
}

#[test]
fn what_is_missing_comes_back_and_what_differs_is_damage() {
    let (meta, content) = ([1u8; 40].as_slice(), [2u8; 60].as_slice());
    let verify = |metas: &[u8], stored: fn() -> Stored<'static>, check: bool| {
        let mut contents = vec![stored()];
        let commit = commit_of(meta, content);
        commit
            .verify(metas, || contents.pop(), check)
            .map(|(_, missing)| missing)
    };
    let here = || Stored::Here(Cow::Borrowed(&[2; 60]));
    let absent = || Stored::Absent { bytes: 60 };
    assert_eq!(verify(meta, here, true), Ok(Vec::new()));
    assert_eq!(verify(meta, absent, true), Ok(vec![(0, Part::Content)]));
    assert_eq!(verify(&[0; 40], here, true), Ok(vec![(0, Part::Meta)]));
    // A load that looks at heads needs no bodies, only their places.
    assert_eq!(verify(&[0; 40], absent, false), Ok(Vec::new()));
    let differs = Err("a body does not match its signed hash");
    let short = || Stored::Absent { bytes: 59 };
    assert_eq!(verify(meta, short, false), differs);
    let zeros = || Stored::Here(Cow::Borrowed(&[0; 60]));
    assert_eq!(verify(meta, zeros, true), differs);
    let mut flipped = [0; 40];
    flipped[7] = 1;
    let name = Err("a sealed name does not match its signed hash");
    assert_eq!(verify(&flipped, here, true), name);
}

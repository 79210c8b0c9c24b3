//! Every rule with a commit that breaks it and nothing else, beside one that does not.

use ate_crypto::{Hash, Identity, Seed, Who};
use ate_log::{Location, Placed};

use super::world::*;
use crate::commit::Contents;
use crate::error::Reject;
use crate::event::{Change, EventHead, Rotate};
use crate::head::Seen;
use crate::ids::{LaneId, RecordKey, Ref, SchemaTag, Version};
use crate::policy::{ReadPolicy, WritePolicy};
use crate::rules::DEPTH_MAX;
use crate::state::LANES_MAX;

const ROOT: RecordKey = RecordKey::ROOT;

fn stranger() -> Identity {
    Identity::from_seed(&Seed::from_bytes([77; 32]))
}

fn keys(byte: u8) -> ReadPolicy {
    ReadPolicy::Keys {
        commitment: Hash([byte; 32]),
    }
}

fn public() -> ReadPolicy {
    ReadPolicy::Public {
        read: [1; 32],
        name: [2; 32],
    }
}

fn rotate(scope: RecordKey, epoch: u32) -> EventHead {
    EventHead::of(Change::Rotate(Box::new(Rotate {
        scope,
        epoch,
        commitment: Hash([6; 32]),
        link: None,
    })))
}

fn writable(mut head: EventHead, write: WritePolicy) -> EventHead {
    head.write = Some(write);
    head
}

fn readable(mut head: EventHead, read: ReadPolicy) -> EventHead {
    head.read = Some(read);
    head
}

fn denied(author: &Identity, key: RecordKey) -> Reject {
    Reject::Denied {
        author: author.id(),
        key,
    }
}

#[test]
fn a_genesis_is_signed_by_the_root_it_names_and_says_everything() {
    let mut world = World::unfounded();
    let genesis = world.genesis();
    let bad = |change: &dyn Fn(&mut Raw)| genesis.clone().with(|raw| change(raw));
    let of = |raw: &mut Raw, change: &dyn Fn(&mut crate::event::Genesis)| {
        if let Change::Genesis(genesis) = &mut raw.events[0].change {
            change(genesis);
        }
    };
    let ann = world.ann.clone();
    let known = [
        (
            bad(&|raw| raw.author = ann.id()),
            "the genesis is not signed by the root it names",
        ),
        (
            bad(&|raw| of(raw, &|genesis| genesis.root = ann.who().clone())),
            "the genesis is not signed by the root it names",
        ),
        (
            bad(&|raw| {
                raw.events.remove(0);
            }),
            "a chain begins with a genesis event",
        ),
        (
            bad(&|raw| raw.events = vec![create(ROOT, 1)]),
            "a chain begins with a genesis event",
        ),
        (bad(&|raw| raw.number = 2), "a genesis has seen nothing"),
        (bad(&|raw| raw.after = 1), "a genesis has seen nothing"),
        (bad(&|raw| raw.seen.size = 1), "a genesis has seen nothing"),
        (
            bad(&|raw| raw.seen.root = Hash::ZERO),
            "a genesis has seen nothing",
        ),
        (
            bad(&|raw| raw.events[0].write = Some(WritePolicy::Inherit)),
            "the root record cannot inherit",
        ),
        (
            bad(&|raw| raw.events[0].read = Some(ReadPolicy::Inherit)),
            "the root record cannot inherit",
        ),
        (
            bad(&|raw| of(raw, &|genesis| genesis.rule_version = 2)),
            "the chain follows other rules than its genesis",
        ),
        (
            bad(&|raw| of(raw, &|genesis| genesis.suites = Box::default())),
            "the chain does not list the suite of its genesis",
        ),
        (
            bad(&|raw| {
                of(raw, &|genesis| {
                    genesis.suites = [genesis.suites[0], genesis.suites[0]].into();
                })
            }),
            "the chain does not list the suite of its genesis",
        ),
        (
            bad(&|raw| raw.events.push(create(ROOT, 1))),
            "only grants of the root scope may follow a genesis event",
        ),
        (
            bad(&|raw| raw.events.push(grant(ROOT, 2, &ann))),
            "only grants of the root scope may follow a genesis event",
        ),
        (
            bad(&|raw| raw.events.push(grant(key_of(ROOT, 1), 1, &ann))),
            "only grants of the root scope may follow a genesis event",
        ),
        (
            bad(&|raw| raw.commitments = vec![key_in(key_of(ROOT, 1), 1)]),
            "a genesis knows one scope",
        ),
        (
            bad(&|raw| raw.commitments = vec![key_in(ROOT, 2)]),
            "a genesis knows one scope",
        ),
    ];
    for (raw, why) in known {
        world.invalid(raw, why);
    }
    world.good(genesis.clone());
    let second = world.raw(genesis.events);
    world.invalid(second, "a second genesis");
}

#[test]
fn an_author_is_introduced_first_and_by_one_set_of_keys() {
    let mut world = World::new();
    let carol = stranger();
    let raw = world.raw_by(carol.id(), vec![create(ROOT, 1)]);
    assert_eq!(world.bad(raw), Reject::UnknownAuthor { author: carol.id() });
    // Not even a commit that introduces its own author.
    let raw = world.raw_by(
        carol.id(),
        vec![EventHead::of(Change::Introduce(carol.who().clone()))],
    );
    assert!(matches!(world.bad(raw), Reject::UnknownAuthor { .. }));
    // The key id does not cover the wrap key, so a second one is refused, in one commit as in two.
    let mut bytes = carol.who().to_bytes();
    let wrap_key = world.ann.who().to_bytes().split_off(1 + 32 + 1952);
    bytes.truncate(1 + 32 + 1952);
    bytes.extend_from_slice(&wrap_key);
    let other = Who::from_bytes(&bytes).unwrap();
    let introduce = |who: &Who| EventHead::of(Change::Introduce(who.clone()));
    let raw = world.raw(vec![introduce(carol.who()), introduce(&other)]);
    world.invalid(raw, "this key is known with other parts");
    let raw = world.raw(vec![introduce(carol.who()), introduce(carol.who())]);
    world.good(raw);
    let raw = world.raw(vec![introduce(&other)]);
    world.invalid(raw, "this key is known with other parts");
}

#[test]
fn lane_numbers_rise_and_seen_does_not_fall() {
    let mut world = World::new();
    let raw = |world: &World| world.raw(vec![require(ROOT, at(0, 0))]);
    let zero = raw(&world).with(|raw| (raw.number, raw.lane) = (0, LaneId([2; 16])));
    world.invalid(zero, "lane numbers start at 1");
    let spent = raw(&world).with(|raw| raw.number = 2);
    assert_eq!(world.bad(spent), Reject::Spent { number: 2, last: 2 });
    // Gaps are allowed; what was passed over is dead.
    let gap = raw(&world).with(|raw| raw.number = 9);
    world.good(gap);
    let late = raw(&world).with(|raw| raw.number = 8);
    assert_eq!(world.bad(late), Reject::Spent { number: 8, last: 9 });

    let future = raw(&world).with(|raw| raw.seen.size += 1);
    assert_eq!(world.bad(future), Reject::Seen);
    let other = raw(&world).with(|raw| raw.seen.root = Hash([1; 32]));
    assert_eq!(world.bad(other), Reject::Seen);
    let back = raw(&world).with(|raw| {
        raw.seen = Seen {
            size: 1,
            root: world.state.root_at(1),
        }
    });
    assert_eq!(world.bad(back.clone()), Reject::Seen);
    // Another lane of the same author may have seen less.
    world.good(back.with(|raw| (raw.lane, raw.number) = (LaneId([2; 16]), 1)));

    let after = raw(&world).with(|raw| raw.after = 10);
    assert_eq!(world.bad(after), Reject::After { after: 10 });
    let after = raw(&world).with(|raw| raw.after = 9);
    world.good(after);
    let fresh = raw(&world).with(|raw| (raw.lane, raw.number, raw.after) = (LaneId([3; 16]), 5, 4));
    assert_eq!(world.bad(fresh), Reject::After { after: 4 });
    let earlier = raw(&world).with(|raw| raw.order_time_ms = 4);
    world.invalid(earlier, "order time goes back");
}

#[test]
fn the_oldest_of_256_lanes_is_dropped_and_new_ones_have_seen_that() {
    let mut world = World::new();
    let lane = |number: u64| {
        let mut id = [9; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        LaneId(id)
    };
    let first = |world: &World, index: u64| {
        world
            .raw(vec![require(ROOT, at(0, 0))])
            .with(|raw| (raw.lane, raw.number) = (lane(index), 1))
    };
    let early = world.state.seen();
    // Lane `LANE` is one of the 256.
    for index in 1..LANES_MAX as u64 {
        let raw = first(&world, index);
        world.good(raw);
    }
    let refreshed = world.raw(vec![require(ROOT, at(0, 0))]);
    world.good(refreshed);
    let before_drop = world.state.seen();
    let raw = first(&world, 999);
    let dropped_at = world.good(raw);
    // Lane 1 was the least recently used. Whoever has not seen its end cannot come back, as it or as another.
    for index in [1, 1000] {
        for seen in [early, before_drop] {
            let raw = first(&world, index).with(|raw| raw.seen = seen);
            let known = raw.seen.size >= dropped_at;
            let commit = raw.commit(&world.state.chain);
            if known {
                assert!(world.state.propose(&commit).is_ok());
                let confirmed = world.state.confirmed();
                world.state.rollback_to(confirmed);
            } else {
                assert_eq!(world.bad(raw), Reject::Seen);
            }
        }
    }
    // Having seen it, it starts anew, from 1, and takes the place of the next.
    let raw = first(&world, 1);
    world.good(raw);
    assert_eq!(world.state.lanes.iter_confirmed().count(), LANES_MAX);
    let raw = first(&world, 3);
    assert_eq!(world.bad(raw), Reject::Spent { number: 1, last: 1 });
}

#[test]
fn rights_come_from_stored_parents_before_the_commit() {
    let mut world = World::new();
    let (ann, bob) = (world.ann.clone(), world.bob.clone());
    let (anns, shared, closed) = (key_of(ROOT, 1), key_of(ROOT, 2), key_of(ROOT, 3));
    let raw = world.raw(vec![
        writable(folder(ROOT, 1), WritePolicy::Key(ann.id())),
        writable(folder(ROOT, 2), WritePolicy::any_of([ann.id(), bob.id()])),
        writable(create(ROOT, 3), WritePolicy::Nobody),
        writable(create(ROOT, 4), WritePolicy::Inherit),
    ]);
    let seq = world.good(raw);

    let raw = world.raw_by(ann.id(), vec![create(ROOT, 9)]);
    assert_eq!(world.bad(raw), denied(&ann, ROOT));
    let raw = world.raw_by(bob.id(), vec![create(anns, 9)]);
    assert_eq!(world.bad(raw), denied(&bob, anns));
    // The root of the chain has no rights where a policy of its own stands.
    let raw = world.raw(vec![create(anns, 9)]);
    let root = world.root.clone();
    assert_eq!(world.bad(raw), denied(&root, anns));
    let raw = world.raw(vec![update(closed, at(seq, 2))]);
    assert_eq!(world.bad(raw), denied(&root, closed));
    let raw = world.raw(vec![writable(
        update(closed, at(seq, 2)),
        WritePolicy::Key(root.id()),
    )]);
    assert_eq!(world.bad(raw), denied(&root, closed));
    let raw = world.raw(vec![update(key_of(ROOT, 4), at(seq, 3))]);
    world.good(raw);

    for author in [&ann, &bob] {
        let token = if author.id() == ann.id() { 1 } else { 2 };
        let raw = world.raw_by(author.id(), vec![create(shared, token)]);
        world.good(raw);
    }
    let carols = world.raw_by(ann.id(), vec![create(anns, 1), folder(anns, 2)]);
    let seq = world.good(carols);
    // Inherited over two steps.
    let raw = world.raw_by(ann.id(), vec![create(key_of(anns, 2), 1)]);
    world.good(raw);
    let raw = world.raw_by(bob.id(), vec![remove(key_of(anns, 1), at(seq, 0))]);
    assert_eq!(world.bad(raw), denied(&bob, key_of(anns, 1)));

    // A right that the commit itself gives or takes does not count yet.
    let give = writable(policy(anns, at(2, 0)), WritePolicy::Key(bob.id()));
    let raw = world.raw_by(bob.id(), vec![give.clone(), create(anns, 7)]);
    assert_eq!(world.bad(raw), denied(&bob, anns));
    let raw = world.raw_by(ann.id(), vec![give, create(anns, 7)]);
    world.good(raw);
    let raw = world.raw_by(ann.id(), vec![create(anns, 8)]);
    assert_eq!(world.bad(raw), denied(&ann, anns));
    let raw = world.raw_by(bob.id(), vec![create(anns, 8)]);
    world.good(raw);
}

#[test]
fn records_created_in_the_commit_use_the_policy_it_gives_them() {
    let mut world = World::new();
    let (root, ann) = (world.root.clone(), world.ann.clone());
    let new = key_of(ROOT, 1);
    let locked = writable(folder(ROOT, 1), WritePolicy::Key(ann.id()));
    let raw = world.raw(vec![locked, create(new, 1)]);
    assert_eq!(world.bad(raw), denied(&root, new));
    let own = writable(folder(ROOT, 1), WritePolicy::Key(root.id()));
    let raw = world.raw(vec![own, create(new, 1)]);
    world.good(raw);
    // A parent that comes after its child is none.
    let raw = world.raw(vec![create(key_of(ROOT, 2), 1), folder(ROOT, 2)]);
    assert_eq!(
        world.bad(raw),
        Reject::NoRecord {
            key: key_of(ROOT, 2)
        }
    );
}

#[test]
fn a_tombstone_keeps_its_rights_and_comes_back_with_its_children() {
    let mut world = World::new();
    let (root, ann) = (world.root.clone(), world.ann.clone());
    let key = key_of(ROOT, 1);
    let raw = world.raw(vec![
        writable(create(ROOT, 1), WritePolicy::Key(ann.id())),
        create(ROOT, 2),
    ]);
    let seq = world.good(raw);
    let raw = world.raw_by(ann.id(), vec![remove(key, at(seq, 0))]);
    let gone = world.good(raw);
    let raw = world.raw(vec![remove(key_of(ROOT, 2), at(seq, 1))]);
    let gone_too = world.good(raw);

    let raw = world.raw_by(ann.id(), vec![update(key, at(gone, 0))]);
    assert_eq!(world.bad(raw), Reject::NoRecord { key });
    let raw = world.raw_by(ann.id(), vec![create(key, 1)]);
    assert_eq!(world.bad(raw), Reject::NoRecord { key });
    let raw = world.raw(vec![create(ROOT, 1)]);
    let stored = Some(Version {
        seq: gone,
        event: 0,
    });
    assert_eq!(
        world.bad(raw),
        Reject::Conflict {
            key,
            expected: Ref::Absent,
            stored
        }
    );
    // Rights at the parent do not suffice, nor do those at the tombstone.
    let raw = world.raw(vec![create_at(ROOT, 1, at(gone, 0))]);
    assert_eq!(world.bad(raw), denied(&root, key));
    let raw = world.raw_by(ann.id(), vec![create_at(ROOT, 1, at(gone, 0))]);
    assert_eq!(world.bad(raw), denied(&ann, ROOT));
    // What comes back may bring children.
    let raw = world.raw(vec![
        create_at(ROOT, 2, at(gone_too, 0)),
        create(key_of(ROOT, 2), 1),
    ]);
    let back = world.good(raw);
    // A live record is not created again, whatever is superseded.
    let raw = world.raw(vec![create_at(ROOT, 2, at(back, 0))]);
    assert!(matches!(world.bad(raw), Reject::Conflict { .. }));
}

#[test]
fn a_record_is_targeted_once_and_nothing_hangs_below_what_goes() {
    let mut world = World::new();
    let raw = world.raw(vec![create(ROOT, 1), create(ROOT, 1)]);
    world.invalid(raw, "a record is targeted twice");
    let raw = world.raw(vec![create(ROOT, 1), create(ROOT, 2)]);
    let seq = world.good(raw);
    let key = key_of(ROOT, 1);
    let raw = world.raw(vec![update(key, at(seq, 0)), remove(key, at(seq, 0))]);
    world.invalid(raw, "a record is targeted twice");
    let raw = world.raw(vec![remove(key, at(seq, 0)), create(key, 1)]);
    assert_eq!(world.bad(raw), Reject::NoRecord { key });
    let raw = world.raw(vec![create(key, 1), remove(key, at(seq, 0))]);
    world.good(raw);
}

#[test]
fn records_are_at_most_64_deep() {
    let mut world = World::new();
    let mut events = Vec::new();
    let mut parent = ROOT;
    for _ in 0..DEPTH_MAX {
        events.push(folder(parent, 1));
        parent = key_of(parent, 1);
    }
    let raw = world.raw(events.clone());
    let deeper = raw.clone().with(|raw| raw.events.push(folder(parent, 1)));
    world.invalid(deeper, "records are at most 64 deep");
    world.good(raw);
    let raw = world.raw(vec![folder(parent, 1)]);
    world.invalid(raw, "records are at most 64 deep");
}

#[test]
fn references_name_the_version_that_stands() {
    let mut world = World::new();
    let ann = world.ann.clone();
    let key = key_of(ROOT, 1);
    let raw = world.raw(vec![
        create(ROOT, 5),
        writable(
            create(ROOT, 1),
            WritePolicy::any_of([ann.id(), world.root.id()]),
        ),
    ]);
    let number = raw.number;
    let seq = world.good(raw);
    let stored = Some(Version { seq, event: 1 });
    let lane = |number, event| Ref::Lane { number, event };
    for expected in [
        Ref::Absent,
        at(seq, 0),
        at(seq - 1, 1),
        at(seq + 1, 1),
        lane(number, 0),
        lane(number - 1, 1),
        lane(number + 1, 1),
    ] {
        let conflict = Reject::Conflict {
            key,
            expected,
            stored,
        };
        for event in [
            update(key, expected),
            remove(key, expected),
            require(key, expected),
        ] {
            let raw = world.raw(vec![event]);
            assert_eq!(world.bad(raw), conflict);
        }
    }
    // A lane reference means the author's own lane.
    let raw = world.raw_by(ann.id(), vec![require(key, lane(number, 1))]);
    assert!(matches!(world.bad(raw), Reject::Conflict { .. }));
    let raw = world.raw(vec![require(key, lane(number, 1))]);
    let elsewhere = raw
        .clone()
        .with(|raw| (raw.lane, raw.number) = (LaneId([8; 16]), 1));
    assert!(matches!(world.bad(elsewhere), Reject::Conflict { .. }));
    world.good(raw);

    // The same while it is pending, and after a rollback.
    let raw = world.raw(vec![update(key, at(seq, 1))]);
    let number = raw.number;
    let pending = world.pend(raw);
    let raw = world.raw(vec![update(key, lane(number, 0))]);
    world.pend(raw.clone());
    let raw2 = world.raw_by(ann.id(), vec![update(key, at(pending, 0))]);
    assert!(matches!(world.bad(raw2.clone()), Reject::Conflict { .. }));
    world.state.rollback_to(pending + 1);
    let again = raw2.with(|raw| raw.order_time_ms = 6);
    world.pend(again);
    world.state.rollback_to(pending);
    assert!(matches!(world.bad(raw), Reject::Conflict { .. }));
    let raw = world.raw(vec![require(key, at(seq, 1))]);
    world.good(raw);

    // Preconditions on what never was.
    let raw = world.raw(vec![require(key_of(ROOT, 99), Ref::Absent)]);
    world.good(raw);
    let raw = world.raw(vec![require(key_of(ROOT, 99), at(1, 0))]);
    assert_eq!(
        world.bad(raw),
        Reject::Conflict {
            key: key_of(ROOT, 99),
            expected: at(1, 0),
            stored: None
        }
    );
    let raw = world.raw(vec![update(key_of(ROOT, 99), Ref::Absent)]);
    assert_eq!(
        world.bad(raw),
        Reject::NoRecord {
            key: key_of(ROOT, 99)
        }
    );
}

#[test]
fn bodies_are_sealed_under_the_current_key_of_their_scope() {
    let mut world = World::new();
    let raw = world.raw(vec![create(ROOT, 1)]);
    let uncommitted = raw.clone().with(|raw| raw.commitments.clear());
    world.invalid(
        uncommitted,
        "a body is sealed under a key that the head does not commit to",
    );
    for epoch in [0, 2] {
        let stale = raw
            .clone()
            .with(|raw| raw.commitments = vec![key_in(ROOT, epoch)]);
        assert_eq!(
            world.bad(stale),
            Reject::StaleEpoch {
                scope: ROOT,
                current: 1
            }
        );
    }
    let nowhere = key_of(ROOT, 50);
    let unknown = raw.clone().with(|raw| {
        raw.commitments = vec![key_in(ROOT, 1), key_in(nowhere, 1)];
    });
    assert_eq!(world.bad(unknown), Reject::NoRecord { key: nowhere });

    // After a rotation only the new epoch will do, in the very commit that rotates.
    let rotating = world.raw(vec![rotate(ROOT, 2), create(ROOT, 2)]);
    assert_eq!(
        world.bad(rotating.clone()),
        Reject::StaleEpoch {
            scope: ROOT,
            current: 2
        }
    );
    for epoch in [1, 3, u32::MAX] {
        let raw = world.raw(vec![rotate(ROOT, epoch)]);
        assert_eq!(
            world.bad(raw),
            Reject::StaleEpoch {
                scope: ROOT,
                current: 1
            }
        );
    }
    world.good(rotating.with(|raw| raw.commitments = vec![key_in(ROOT, 2)]));
    assert_eq!(
        world.bad(raw.clone().with(|raw| raw.number += 1)),
        Reject::StaleEpoch {
            scope: ROOT,
            current: 2
        }
    );
    for epoch in [1, 3] {
        let stale = world.raw(vec![grant(ROOT, epoch, &stranger())]);
        assert!(matches!(
            world.bad(stale),
            Reject::StaleEpoch { current: 2, .. }
        ));
    }
    let ann = world.ann.clone();
    let raw = world.raw_by(ann.id(), vec![grant(ROOT, 2, &ann)]);
    assert_eq!(world.bad(raw), denied(&ann, ROOT));
    let raw = world.raw_by(ann.id(), vec![rotate(ROOT, 3)]);
    assert_eq!(world.bad(raw), denied(&ann, ROOT));
    let raw = world.raw(vec![grant(ROOT, 2, &ann)]);
    world.good(raw);
}

#[test]
fn schemas_are_defined_in_their_scope_and_stay() {
    let mut world = World::new();
    let mut odd = create(ROOT, 1);
    if let Change::Create { schema, .. } = &mut odd.change {
        *schema = SchemaTag([8; 8]);
    }
    let key = key_of(ROOT, 1);
    let raw = world.raw(vec![odd.clone()]);
    assert_eq!(world.bad(raw), Reject::UnknownSchema { key });
    let mut descriptor = create(ROOT, 2);
    descriptor.defines = true;
    if let Change::Create { schema, .. } = &mut descriptor.change {
        *schema = SchemaTag([8; 8]);
    }
    // Before or after it in the same commit: both are in being when the commit is.
    let raw = world.raw(vec![odd, descriptor.clone()]);
    let seq = world.good(raw);
    let described = key_of(ROOT, 2);
    let raw = world.raw(vec![update(described, at(seq, 1))]);
    world.invalid(raw, "a schema descriptor cannot change");
    let raw = world.raw(vec![remove(described, at(seq, 1))]);
    world.invalid(raw, "the root record and schema descriptors stay");
    let raw = world.raw(vec![remove(ROOT, at(0, 0))]);
    world.invalid(raw, "the root record and schema descriptors stay");

    let plain =
        "a schema descriptor is a plain record with content, right below the head of its scope";
    for change in [
        |head: &mut EventHead| head.content = None,
        |head: &mut EventHead| head.read = Some(keys(1)),
        |head: &mut EventHead| {
            if let Change::Create { schema, .. } = &mut head.change {
                *schema = SchemaTag::default();
            }
        },
    ] {
        let mut bad = create(ROOT, 3);
        bad.defines = true;
        change(&mut bad);
        let own = bad.read.is_some().then(|| key_in(key_of(ROOT, 3), 1));
        let raw = world.raw(vec![bad]).with(|raw| raw.commitments.extend(own));
        world.invalid(raw, plain);
    }
    let mut bodiless = create(ROOT, 3);
    bodiless.content = None;
    let raw = world.raw(vec![bodiless]);
    world.invalid(raw, "a schema without content");
    // A scope of its own has schemas of its own, defined below the record that heads it.
    let own = key_of(ROOT, 4);
    let scoped = readable(create(ROOT, 4), keys(1));
    let with_own = |raw: Raw| {
        raw.with(|raw| {
            raw.commitments.push(key_in(own, 1));
            raw.commitments.sort_by_key(|key| key.scope);
        })
    };
    let raw = with_own(world.raw(vec![scoped.clone()]));
    assert_eq!(world.bad(raw), Reject::UnknownSchema { key: own });
    let mut below = create(own, 1);
    below.defines = true;
    let raw = with_own(world.raw(vec![scoped, below]));
    world.good(raw);
}

#[test]
fn an_update_carries_what_it_changes() {
    let mut world = World::new();
    let raw = world.raw(vec![create(ROOT, 1), folder(ROOT, 2)]);
    let seq = world.good(raw);
    let (key, bare) = (key_of(ROOT, 1), key_of(ROOT, 2));
    let mut empty = update(key, at(seq, 0));
    empty.content = None;
    let raw = world.raw(vec![empty]);
    world.invalid(raw, "an update of a record with content carries content");
    let raw = world.raw(vec![policy(key, at(seq, 0))]);
    world.invalid(raw, "a new schema needs new content");
    let mut named = update(key, at(seq, 0));
    named.meta = Some(BODY);
    let raw = world.raw(vec![named]);
    world.invalid(raw, "a name is fixed when the record is created");
    let raw = world.raw(vec![writable(policy(ROOT, at(0, 0)), WritePolicy::Inherit)]);
    world.invalid(raw, "the root record cannot inherit");
    let raw = world.raw(vec![readable(policy(ROOT, at(0, 0)), ReadPolicy::Inherit)]);
    world.invalid(raw, "the root record cannot inherit");
    let raw = world.raw(vec![writable(
        policy(bare, at(seq, 1)),
        WritePolicy::Nobody,
    )]);
    world.good(raw);
}

#[test]
fn a_scope_is_given_and_taken_with_the_content_sealed_anew() {
    let mut world = World::new();
    let raw = world.raw(vec![create(ROOT, 1), folder(ROOT, 2)]);
    let seq = world.good(raw);
    let (key, bare) = (key_of(ROOT, 1), key_of(ROOT, 2));
    let mut bodiless = readable(update(key, at(seq, 0)), keys(1));
    bodiless.content = None;
    let raw = world.raw(vec![bodiless]);
    world.invalid(raw, "a change of scope carries the content sealed anew");
    let raw = world.raw(vec![readable(update(key, at(seq, 0)), ReadPolicy::Inherit)]);
    world.invalid(raw, "the record has no scope to give up");

    // Given: sealed under its own key from then on, children too.
    let give = readable(policy(bare, at(seq, 1)), keys(1));
    let raw = world.raw(vec![give.clone(), folder(bare, 1)]);
    let given = world.good(raw);
    let raw = world.raw(vec![readable(policy(bare, at(given, 0)), keys(2))]);
    world.invalid(
        raw,
        "the record is a scope already: rotate it, or let it inherit first",
    );
    let raw = world.raw(vec![create(bare, 2)]);
    world.invalid(
        raw,
        "a body is sealed under a key that the head does not commit to",
    );
    let schema = |parent| {
        let mut head = create(parent, 90);
        head.defines = true;
        head
    };
    let raw = world
        .raw(vec![
            schema(bare),
            create(bare, 2),
            create(key_of(bare, 1), 3),
        ])
        .with(|raw| raw.commitments = vec![key_in(bare, 1)]);
    let inside = world.good(raw);

    // Taken: what the commit seals from there on is sealed for the scope above, and keys of the old one are no longer handed out.
    let take = readable(policy(bare, at(given, 0)), ReadPolicy::Inherit);
    for event in [grant(bare, 1, &stranger()), rotate(bare, 2)] {
        let raw = world.raw(vec![take.clone(), event]);
        assert_eq!(world.bad(raw), Reject::NoRecord { key: bare });
    }
    let raw = world
        .raw(vec![take.clone(), create(bare, 4)])
        .with(|raw| raw.commitments = vec![key_in(bare, 1)]);
    world.invalid(
        raw,
        "a body is sealed under a key that the head does not commit to",
    );
    let raw = world.raw(vec![take, create(bare, 4), create(key_of(bare, 1), 5)]);
    let taken = world.good(raw);
    let raw = world.raw(vec![grant(bare, 1, &stranger())]);
    assert_eq!(world.bad(raw), Reject::NoRecord { key: bare });
    let raw = world.raw(vec![readable(
        policy(bare, at(taken, 0)),
        ReadPolicy::Inherit,
    )]);
    world.invalid(raw, "the record has no scope to give up");

    // Given again: the next epoch, and the schemas are still there.
    let again = readable(policy(bare, at(taken, 0)), public());
    let raw = world
        .raw(vec![again, update(key_of(bare, 2), at(inside, 1))])
        .with(|raw| raw.commitments = vec![key_in(bare, 2)]);
    world.good(raw);
    let raw = world.raw(vec![rotate(bare, 3)]);
    world.invalid(raw, "a public scope has nothing to rotate");
    let found = world.state.find(&key_of(bare, 2)).unwrap();
    assert_eq!(found.sealed(&world.state), (bare, 2));
}

#[test]
fn a_record_that_comes_back_without_a_scope_leaves_it_behind() {
    let mut world = World::new();
    let key = key_of(ROOT, 1);
    let raw = world.raw(vec![readable(folder(ROOT, 1), keys(1)), folder(key, 1)]);
    let seq = world.good(raw);
    let raw = world.raw(vec![remove(key, at(seq, 0))]);
    let gone = world.good(raw);
    // The child outlived its parent and is still in the parent's scope, until the parent comes back without one.
    let outlived = key_of(key, 1);
    let raw = world.raw(vec![create(outlived, 1)]);
    world.invalid(
        raw,
        "a body is sealed under a key that the head does not commit to",
    );
    let raw = world.raw(vec![
        folder(outlived, 8),
        create_at(ROOT, 1, at(gone, 0)),
        create(outlived, 1),
    ]);
    world.good(raw);
    assert!(!world.state.scopes.get(&key).unwrap().active);
}

#[test]
fn a_state_rolls_back_to_any_pending_commit_and_confirms_the_rest() {
    let mut world = World::new();
    let ann = world.ann.clone();
    let key = key_of(ROOT, 1);
    let shared = WritePolicy::any_of([ann.id(), world.root.id()]);
    let raw = world.raw(vec![writable(create(ROOT, 1), shared)]);
    let first = world.pend(raw);
    let raw = world.raw_by(ann.id(), vec![update(key, at(first, 0))]);
    let second = world.pend(raw);
    let raw = world
        .raw(vec![rotate(ROOT, 2)])
        .with(|raw| raw.commitments.clear());
    let third = world.pend(raw);
    let root_two = world.state.root_at(third);
    let place = Location {
        file: 1,
        offset: 64,
    };
    let placed = Placed {
        frame: place,
        parts: place,
        next: place,
        head_parts: 2,
    };
    world
        .state
        .confirm_next(&placed, 100, 0, Contents::InFrame, |_, _| {});
    // Readers see the first; the rules see all.
    let slot = world.state.table.slot(&key).unwrap();
    assert_eq!(u64::from(world.state.table.row(slot).seq), first);
    assert_eq!(world.state.find(&key).unwrap().version().seq, second);
    world.state.rollback_to(third);
    assert_eq!(world.state.scopes.get(&ROOT).unwrap().epoch, 1);
    assert_eq!(world.state.tree.root(), root_two);
    world
        .state
        .confirm_next(&placed, 100, 0, Contents::InFrame, |_, _| {});
    assert_eq!(u64::from(world.state.table.row(slot).seq), second);
    assert_eq!(
        (world.state.next_seq(), world.state.confirmed()),
        (third, third)
    );
}

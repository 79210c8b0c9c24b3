//! One chain's state and commits built by hand, field by field: what an attacker with a key can sign.

use std::collections::HashMap;

use ate_crypto::merkle::{RootBuilder, leaf_hash};
use ate_crypto::{Hash, Identity, KeyId, Random, Salt, Seed, SeededRandom, Suite, record_key};
use ate_log::{Location, Placed};

use crate::commit::{Commit, Contents, Event, Verified};
use crate::common::Common;
use crate::error::Reject;
use crate::event::{BodyHash, Change, EventHead, Grant};
use crate::genesis::{Birth, unseen};
use crate::head::{CommitHead, KeyCommitment, RULE_VERSION, Seen, commit_id};
use crate::ids::{ChainId, CollectionTag, LaneId, Position, RecordKey, Ref, SchemaTag, Version};
use crate::state::State;

/// The schema that [`World::new`] defines in the root scope.
pub(crate) const SCHEMA: SchemaTag = SchemaTag([7; 8]);
/// The lane that commits use unless they say otherwise.
pub(crate) const LANE: LaneId = LaneId([1; 16]);
/// A body that is announced and never looked at: the rules see hashes only.
pub(crate) const BODY: BodyHash = BodyHash {
    bytes: 64,
    hash: Hash([9; 32]),
};

/// Every field of a commit that an author chooses.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) author: KeyId,
    pub(crate) lane: LaneId,
    pub(crate) number: u64,
    pub(crate) seen: Seen,
    pub(crate) commitments: Vec<KeyCommitment>,
    pub(crate) after: u64,
    pub(crate) events: Vec<EventHead>,
    pub(crate) order_time_ms: u64,
}

impl Raw {
    pub(crate) fn commit(&self, chain: &ChainId) -> Commit<Verified> {
        let mut root = RootBuilder::default();
        let (mut events, mut start) = (Vec::new(), 0);
        for head in &self.events {
            let mut bytes = Vec::new();
            head.encode_prefix(head.meta.is_some(), head.content.is_some(), &mut bytes);
            let prefix = bytes.len() as u32;
            head.encode_bodies(&mut bytes);
            let hash = leaf_hash(&bytes);
            root.push(hash);
            events.push(Event {
                head: head.clone(),
                hash,
                start,
                bytes: bytes.len() as u32,
                prefix,
            });
            start += bytes.len() as u32;
        }
        let head = CommitHead {
            rule_version: RULE_VERSION,
            suite: Suite::Hybrid1,
            author: self.author,
            lane: self.lane,
            number: self.number,
            author_time_ms: 0,
            seen: self.seen,
            salt: Salt([3; 32]),
            commitments: self.commitments.clone(),
            after: self.after,
            event_count: events.len() as u32,
            events_root: root.root(),
        };
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        Commit::sealed_here(commit_id(chain, &bytes), head, events, self.order_time_ms)
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// A chain founded by `root`, in which `ann` and `bob` are known and one schema is defined.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) root: Identity,
    pub(crate) ann: Identity,
    pub(crate) bob: Identity,
    numbers: HashMap<(KeyId, LaneId), u64>,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self::unfounded();
        let genesis = world.genesis();
        world.good(genesis);
        let (ann, bob) = (world.ann.who().clone(), world.bob.who().clone());
        let mut descriptor = create(RecordKey::ROOT, 0);
        descriptor.defines = true;
        let raw = world.raw(vec![
            EventHead::of(Change::Introduce(ann)),
            EventHead::of(Change::Introduce(bob)),
            descriptor,
        ]);
        world.good(raw);
        world
    }

    pub(crate) fn unfounded() -> Self {
        let random = SeededRandom::new(11);
        let identity = || {
            let mut seed = [0; 32];
            random.fill(&mut seed);
            Identity::from_seed(&Seed::from_bytes(seed))
        };
        let (root, ann, bob) = (identity(), identity(), identity());
        let birth = Birth::plan(
            "world",
            &root,
            None,
            &[0; 16],
            &Common::default(),
            &random,
            0,
        )
        .unwrap();
        Self {
            state: State::new(birth.chain),
            root,
            ann,
            bob,
            numbers: HashMap::new(),
        }
    }

    /// The commit that founds this chain, or that would found another one.
    pub(crate) fn genesis(&self) -> Raw {
        let random = SeededRandom::new(12);
        let birth = Birth::plan(
            "world",
            &self.root,
            None,
            &[0; 16],
            &Common::default(),
            &random,
            0,
        )
        .unwrap();
        let sealed = birth.sealed();
        Raw {
            author: self.root.id(),
            lane: LANE,
            number: 1,
            seen: unseen(),
            commitments: Vec::new(),
            after: 0,
            events: sealed.events.into_iter().map(|event| event.head).collect(),
            order_time_ms: 0,
        }
    }

    /// A commit by the root that says the right things about everything but its events.
    pub(crate) fn raw(&self, events: Vec<EventHead>) -> Raw {
        self.raw_by(self.root.id(), events)
    }

    pub(crate) fn raw_by(&self, author: KeyId, events: Vec<EventHead>) -> Raw {
        let last = self.numbers.get(&(author, LANE)).copied().unwrap_or(0);
        Raw {
            author,
            lane: LANE,
            number: last + 1,
            seen: self.state.seen(),
            commitments: vec![self.key(RecordKey::ROOT)],
            after: 0,
            events,
            order_time_ms: 5,
        }
    }

    /// The commitment to the current key of a scope.
    pub(crate) fn key(&self, scope: RecordKey) -> KeyCommitment {
        key_in(
            scope,
            self.state.scopes.get(&scope).map_or(1, |scope| scope.epoch),
        )
    }

    /// The commit is valid; it becomes part of the confirmed state.
    pub(crate) fn good(&mut self, raw: Raw) -> u64 {
        let seq = self.pend(raw);
        let at = Location {
            file: 1,
            offset: 64,
        };
        let placed = Placed {
            frame: at,
            parts: at,
            next: at,
            head_parts: 2,
        };
        self.state
            .confirm_next(&placed, 100, 0, Contents::InFrame, |_, _| {});
        seq
    }

    /// The commit is valid; it stays pending.
    pub(crate) fn pend(&mut self, raw: Raw) -> u64 {
        let commit = raw.commit(&self.state.chain);
        let ordered = self.state.propose(&commit).unwrap();
        self.numbers.insert((raw.author, raw.lane), raw.number);
        ordered.seq
    }

    /// Why the commit is refused; the state is as it was.
    pub(crate) fn bad(&mut self, raw: Raw) -> Reject {
        let (size, root) = (self.state.next_seq(), self.state.tree.root());
        let commit = raw.commit(&self.state.chain);
        let reject = self.state.propose(&commit).unwrap_err();
        assert_eq!(
            (self.state.next_seq(), self.state.tree.root()),
            (size, root)
        );
        reject
    }

    /// The commit is refused because of a rule that has no name of its own.
    pub(crate) fn invalid(&mut self, raw: Raw, expected: &str) {
        match self.bad(raw) {
            Reject::Invalid { why } => assert_eq!(why, expected),
            other => panic!("expected `{expected}`, got {other:?}"),
        }
    }
}

pub(crate) fn key_in(scope: RecordKey, epoch: u32) -> KeyCommitment {
    KeyCommitment {
        scope,
        epoch,
        commitment: Hash([4; 32]),
    }
}

pub(crate) fn key_of(parent: RecordKey, token: u8) -> RecordKey {
    RecordKey(record_key(&parent.0, &[1; 8], &[token; 16]))
}

/// A record with content, told from its siblings by `token`.
pub(crate) fn create(parent: RecordKey, token: u8) -> EventHead {
    create_at(parent, token, Ref::Absent)
}

pub(crate) fn create_at(parent: RecordKey, token: u8, supersedes: Ref) -> EventHead {
    let mut head = EventHead::of(Change::Create {
        key: key_of(parent, token),
        parent,
        collection: CollectionTag([1; 8]),
        token: [token; 16],
        schema: SCHEMA,
        supersedes,
    });
    head.content = Some(BODY);
    head
}

/// A record that is nothing but a place for others.
pub(crate) fn folder(parent: RecordKey, token: u8) -> EventHead {
    let mut head = create(parent, token);
    head.content = None;
    if let Change::Create { schema, .. } = &mut head.change {
        *schema = SchemaTag::default();
    }
    head
}

pub(crate) fn update(key: RecordKey, supersedes: Ref) -> EventHead {
    let mut head = EventHead::of(Change::Update {
        key,
        schema: SCHEMA,
        supersedes,
    });
    head.content = Some(BODY);
    head
}

/// A change of policy for a record without content.
pub(crate) fn policy(key: RecordKey, supersedes: Ref) -> EventHead {
    EventHead::of(Change::Update {
        key,
        schema: SchemaTag::default(),
        supersedes,
    })
}

pub(crate) fn remove(key: RecordKey, supersedes: Ref) -> EventHead {
    EventHead::of(Change::Remove { key, supersedes })
}

pub(crate) fn erase(key: RecordKey, supersedes: Ref) -> EventHead {
    EventHead::of(Change::Erase { key, supersedes })
}

pub(crate) fn horizon(position: u64) -> EventHead {
    EventHead::of(Change::Horizon {
        position: Position(position),
    })
}

pub(crate) fn require(key: RecordKey, version: Ref) -> EventHead {
    EventHead::of(Change::Require { key, version })
}

pub(crate) fn grant(scope: RecordKey, epoch: u32, to: &Identity) -> EventHead {
    EventHead::of(Change::Grant(Box::new(Grant {
        scope,
        epoch,
        recipient: to.id(),
        ct: [0; ate_crypto::WRAP_CT_BYTES],
        sealed: [0; ate_crypto::WRAP_SEALED_BYTES],
    })))
}

pub(crate) fn at(seq: u64, event: u32) -> Ref {
    Ref::At(Version { seq, event })
}

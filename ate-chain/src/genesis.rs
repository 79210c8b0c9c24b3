//! The birth of a chain: one commit that names its root of trust and is signed by it.

use std::sync::Arc;

use ate_crypto::merkle::leaf_hash;
use ate_crypto::{
    Hash, Identity, NameKey, Random, ReadKey, Salt, Suite, WrapInfo, tagged, wrap_keys,
};

use crate::codec::put_varint;
use crate::commit::Event;
use crate::common::Common;
use crate::directory::DirectoryEntry;
use crate::error::SealError;
use crate::event::{CHAIN_NAME_BYTES_MAX, Change, EventHead, Genesis, Grant};
use crate::head::{RULE_VERSION, Seen};
use crate::ids::{ChainId, LaneId, RecordKey};
use crate::keyring::{Keyring, ScopeKeys};
use crate::policy::{ReadPolicy, WritePolicy};
use crate::seal::Sealed;

/// Ed25519 and ML-DSA-65, public.
const NOTE_KEY_BYTES: usize = 32 + 1952;

/// The lane of a store under one author: the same in every chain, unlike any other store's.
pub(crate) fn lane_of(store: &[u8; 16], author: &ate_crypto::KeyId) -> LaneId {
    let hash = tagged("ATE-lane-v1", &[store, &author.0]);
    LaneId(hash.0[..16].try_into().expect("16 of 32 bytes"))
}

/// A chain that exists in memory only, until its first commit writes this.
pub(crate) struct Birth {
    pub(crate) chain: ChainId,
    name: Box<str>,
    pub(crate) keyring: Arc<Keyring>,
    root: ScopeKeys,
    salt: Salt,
    events: Vec<EventHead>,
    author_time_ms: u64,
}

impl Birth {
    /// Plans a chain named `name` with `identity` as its root, writable and readable by the root alone.
    pub(crate) fn plan(
        name: &str,
        identity: &Identity,
        sequencer: Option<&[u8]>,
        store: &[u8; 16],
        common: &Common,
        random: &dyn Random,
        author_time_ms: u64,
    ) -> Result<Self, SealError> {
        if name.len() > CHAIN_NAME_BYTES_MAX {
            return Err(SealError::Limit {
                what: "chain name",
                got: name.len() as u64,
                max: CHAIN_NAME_BYTES_MAX as u64,
            });
        }
        // Whoever decides the order signs the checkpoints.
        let note_key = match sequencer {
            None => common.note_key_of(identity),
            Some(key) if key.len() == NOTE_KEY_BYTES => common.note_key(key),
            Some(key) => {
                return Err(SealError::Limit {
                    what: "note key",
                    got: key.len() as u64,
                    max: NOTE_KEY_BYTES as u64,
                });
            }
        };
        let id = identity.id();
        let root = ScopeKeys {
            epoch: 1,
            read: Arc::new(ReadKey::generate(random)),
            name: Arc::new(NameKey::generate(random)),
        };
        let genesis = Genesis {
            name: name.into(),
            root: identity.who().clone(),
            recovery: Box::default(),
            note_keys: Box::new([note_key]),
            rule_version: RULE_VERSION,
            suites: Box::new([Suite::Hybrid1]),
        };
        let mut first = EventHead::of(Change::Genesis(Box::new(genesis)));
        first.write = Some(WritePolicy::Key(id));
        first.read = Some(ReadPolicy::Keys {
            commitment: root.read.scope_commitment(),
        });
        let grant = grant_to(identity, &root)?;
        let mut salt = Salt([0; 32]);
        random.fill(&mut salt.0);
        let mut birth = Self {
            chain: ChainId::UNBORN,
            name: name.into(),
            keyring: Arc::new(Keyring::new(identity.clone(), &common.seal_keys)),
            root,
            salt,
            events: vec![first, EventHead::of(Change::Grant(Box::new(grant)))],
            author_time_ms,
        };
        let placing = birth
            .sealed()
            .place(&ChainId::UNBORN, lane_of(store, &id), 1, unseen(), 0);
        birth.chain = ChainId(placing.commit.id);
        birth.keyring.insert(
            RecordKey::ROOT,
            1,
            birth.root.read.clone(),
            birth.root.name.clone(),
        );
        Ok(birth)
    }

    /// The chain as a list of chains shows it.
    pub(crate) fn entry(&self) -> DirectoryEntry {
        let root = self.keyring.identity.id();
        DirectoryEntry {
            chain: self.chain,
            name: self.name.clone(),
            root,
        }
    }

    /// The genesis commit, ready to be ordered. May be called again after a failed write.
    pub(crate) fn sealed(&self) -> Sealed {
        let (mut heads, mut events) = (Vec::new(), Vec::new());
        for head in &self.events {
            let mut bytes = Vec::new();
            head.encode_prefix(false, false, &mut bytes);
            put_varint(&mut heads, bytes.len() as u64);
            let start = heads.len() as u32;
            heads.extend_from_slice(&bytes);
            events.push(Event {
                head: head.clone(),
                hash: leaf_hash(&bytes),
                start,
                bytes: bytes.len() as u32,
                prefix: bytes.len() as u32,
            });
        }
        let root = ate_crypto::merkle::node_hash(&events[0].hash, &events[1].hash);
        Sealed {
            chain: self.chain,
            keyring: self.keyring.clone(),
            salt: Salt(self.salt.0),
            commitments: Vec::new(),
            events,
            events_root: root,
            heads,
            metas: Vec::new(),
            contents: Vec::new(),
            content_bytes: Vec::new(),
            author_time_ms: self.author_time_ms,
            made: Vec::new(),
        }
    }
}

/// The root scope's keys, wrapped for the root. There is no chain id yet to bind them to.
fn grant_to(identity: &Identity, root: &ScopeKeys) -> Result<Grant, SealError> {
    let id = identity.id();
    let info = WrapInfo {
        chain: &ChainId::UNBORN.0,
        scope: &RecordKey::ROOT.0,
        epoch: 1,
        recipient: &id,
    };
    let wrapped = wrap_keys(identity.who(), &info, &root.read, &root.name)
        .map_err(|_| SealError::Recipient { recipient: id })?;
    Ok(Grant {
        scope: RecordKey::ROOT,
        epoch: 1,
        recipient: id,
        ct: wrapped.ct,
        sealed: wrapped.sealed,
    })
}

/// What a genesis commit has seen.
pub(crate) fn unseen() -> Seen {
    Seen {
        size: 0,
        root: empty_root(),
    }
}

fn empty_root() -> Hash {
    ate_crypto::sha256(&[])
}

//! The commit head: what an author's signature ends up covering. Bytes: docs/format.md section 4.

use ate_crypto::merkle::leaf_hash;
use ate_crypto::{Hash, KeyId, Salt, Suite, tagged};

use crate::codec::{Reader, put_varint};
use crate::error::FormatError;
use crate::ids::{ChainId, Epoch, LaneId, RecordKey};

/// Version of the stored bytes.
pub const FORMAT_VERSION: u8 = 1;
/// Version of the validity rules.
pub const RULE_VERSION: u64 = 1;
/// Most events in one commit.
pub const EVENTS_MAX: u32 = 65_536;
/// Most read keys in one commit.
const COMMITMENTS_MAX: u64 = EVENTS_MAX as u64;

/// Binds the read key that a commit's bodies are sealed under, so that an opened body has one meaning for every reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyCommitment {
    /// Scope of the read key.
    pub scope: RecordKey,
    /// Its epoch.
    pub epoch: Epoch,
    /// Commitment to the key under this commit's salt.
    pub commitment: Hash,
}

/// The size and root of a chain that an author had seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Commits seen.
    pub size: u64,
    /// Merkle root over them.
    pub root: Hash,
}

/// Everything an author says about a commit besides its events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitHead {
    /// Rule version that the author followed.
    pub rule_version: u64,
    /// Suite of the bodies.
    pub suite: Suite,
    /// Signing key.
    pub author: KeyId,
    /// The author's stream of commits in this chain.
    pub lane: LaneId,
    /// Strictly increasing within the lane, from 1.
    pub number: u64,
    /// The author's clock in milliseconds since 1970. For display only.
    pub author_time_ms: u64,
    /// The state the author binds itself to.
    pub seen: Seen,
    /// Salt of every seal in the commit.
    pub salt: Salt,
    /// One for each read key used, scopes strictly ascending.
    pub commitments: Vec<KeyCommitment>,
    /// Valid only after this number of the same lane; 0 for none.
    pub after: u64,
    /// Number of events.
    pub event_count: u32,
    /// RFC 9162 root with the event heads as leaves.
    pub events_root: Hash,
}

impl CommitHead {
    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT_VERSION);
        put_varint(out, self.rule_version);
        out.push(self.suite.id());
        out.extend_from_slice(&self.author.0);
        out.extend_from_slice(&self.lane.0);
        put_varint(out, self.number);
        put_varint(out, self.author_time_ms);
        put_varint(out, self.seen.size);
        out.extend_from_slice(&self.seen.root.0);
        out.extend_from_slice(&self.salt.0);
        put_varint(out, self.commitments.len() as u64);
        for commitment in &self.commitments {
            out.extend_from_slice(&commitment.scope.0);
            put_varint(out, commitment.epoch.into());
            out.extend_from_slice(&commitment.commitment.0);
        }
        put_varint(out, self.after);
        put_varint(out, self.event_count.into());
        out.extend_from_slice(&self.events_root.0);
    }

    /// Decodes a head that fills `bytes` exactly.
    ///
    /// # Errors
    /// [`FormatError`] for anything that is not canonical; [`FormatError::NewerFormat`] for a later version.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            FORMAT_VERSION => {}
            0 => {
                return Err(FormatError::Unknown {
                    what: "commit format",
                    got: 0,
                });
            }
            found => {
                return Err(FormatError::NewerFormat {
                    found: found.into(),
                    known: FORMAT_VERSION.into(),
                });
            }
        }
        let rule_version = reader.varint()?;
        if rule_version != RULE_VERSION {
            return Err(FormatError::NewerFormat {
                found: rule_version,
                known: RULE_VERSION,
            });
        }
        let suite = reader.u8()?;
        let suite = Suite::try_from(suite).map_err(|_| FormatError::Unknown {
            what: "suite",
            got: suite.into(),
        })?;
        let author = KeyId(reader.array()?);
        let lane = LaneId(reader.array()?);
        let number = reader.varint()?;
        let author_time_ms = reader.varint()?;
        let seen = Seen {
            size: reader.varint()?,
            root: Hash(reader.array()?),
        };
        let salt = Salt(reader.array()?);
        let commitments = decode_commitments(&mut reader)?;
        let after = reader.varint()?;
        let event_count = reader.varint32()?;
        if event_count == 0 || event_count > EVENTS_MAX {
            return Err(FormatError::Limit {
                what: "events",
                got: event_count.into(),
                max: EVENTS_MAX.into(),
                offset: reader.offset(),
            });
        }
        let events_root = Hash(reader.array()?);
        reader.finish()?;
        Ok(Self {
            rule_version,
            suite,
            author,
            lane,
            number,
            author_time_ms,
            seen,
            salt,
            commitments,
            after,
            event_count,
            events_root,
        })
    }
}

fn decode_commitments(reader: &mut Reader<'_>) -> Result<Vec<KeyCommitment>, FormatError> {
    let offset = reader.offset();
    let count = reader.varint()?;
    if count > COMMITMENTS_MAX {
        return Err(FormatError::Limit {
            what: "key commitments",
            got: count,
            max: COMMITMENTS_MAX,
            offset,
        });
    }
    let mut commitments: Vec<KeyCommitment> = Vec::new();
    for _ in 0..count {
        let next = KeyCommitment {
            scope: RecordKey(reader.array()?),
            epoch: reader.varint32()?,
            commitment: Hash(reader.array()?),
        };
        if commitments
            .last()
            .is_some_and(|last| last.scope >= next.scope)
        {
            return Err(FormatError::Order {
                what: "key commitments",
            });
        }
        commitments.push(next);
    }
    Ok(commitments)
}

/// The id of a commit: its head under the chain it belongs to.
pub fn commit_id(chain: &ChainId, head: &[u8]) -> Hash {
    tagged("ATE-commit-v1", &[&chain.0.0, head])
}

/// The hash of a chain's leaf: number, order time and commit.
pub fn chain_leaf(seq: u64, order_time_ms: u64, commit: &Hash) -> Hash {
    let mut data = [0u8; 12 + 8 + 8 + 32];
    data[0] = 11;
    data[1..12].copy_from_slice(b"ATE-leaf-v1");
    data[12..20].copy_from_slice(&seq.to_le_bytes());
    data[20..28].copy_from_slice(&order_time_ms.to_le_bytes());
    data[28..].copy_from_slice(&commit.0);
    leaf_hash(&data)
}

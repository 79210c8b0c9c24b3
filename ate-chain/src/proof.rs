//! Proof frames: one hybrid signature over a Merkle tree of commits, linked to the author's last one in the lane.
//!
//! A later signature covers the earlier ones that it is linked to, so a load may verify the last of every unbroken run; see `replay`.

use ate_crypto::merkle::{RootBuilder, leaf_hash, node_hash};
use ate_crypto::{Hash, KeyId, Purpose, SIGNATURE_BYTES, Signature, Suite, Who};

use crate::codec::{Reader, put_varint};
use crate::error::FormatError;
use crate::ids::{ChainId, LaneId};

/// Most commits under one proof.
pub const BATCH_COMMITS_MAX: usize = 65_536;
const DEPTH_MAX: usize = 16;
const KIND_BATCH: u8 = 1;

/// One author's signature over commits of one chain, detachable from the commits.
pub struct Proof {
    /// Suite of the signature.
    pub suite: Suite,
    /// Signing key.
    pub author: KeyId,
    /// Lane of the commits.
    pub lane: LaneId,
    /// Batch leaf that the same store signed before in this lane, or zero.
    pub link: Hash,
    /// The commits covered, in order.
    pub commits: Vec<Hash>,
    /// Index of this chain's leaf in the batch.
    pub leaf_index: u64,
    /// Siblings from that leaf to the batch root.
    pub path: Vec<Hash>,
    /// Over the batch root.
    pub signature: Signature,
}

impl Proof {
    /// Appends the payload of a proof frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[KIND_BATCH, self.suite.id()]);
        out.extend_from_slice(&self.author.0);
        out.extend_from_slice(&self.lane.0);
        out.extend_from_slice(&self.link.0);
        put_varint(out, self.commits.len() as u64);
        self.commits
            .iter()
            .for_each(|commit| out.extend_from_slice(&commit.0));
        out.push(self.path.len() as u8);
        put_varint(out, self.leaf_index);
        self.path
            .iter()
            .for_each(|sibling| out.extend_from_slice(&sibling.0));
        out.extend_from_slice(self.signature.as_bytes());
    }

    /// Decodes a payload that fills `bytes` exactly.
    ///
    /// # Errors
    /// [`FormatError`] for anything that is not canonical or not known.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            KIND_BATCH => {}
            kind => {
                return Err(FormatError::Unknown {
                    what: "proof kind",
                    got: kind.into(),
                });
            }
        }
        let suite = reader.u8()?;
        let suite = Suite::try_from(suite).map_err(|_| FormatError::Unknown {
            what: "suite",
            got: suite.into(),
        })?;
        let author = KeyId(reader.array()?);
        let lane = LaneId(reader.array()?);
        let link = Hash(reader.array()?);
        let offset = reader.offset();
        let count = reader.varint()?;
        if count == 0 || count > BATCH_COMMITS_MAX as u64 {
            return Err(FormatError::Limit {
                what: "commits of a batch",
                got: count,
                max: BATCH_COMMITS_MAX as u64,
                offset,
            });
        }
        let ids = reader.take(32 * count as usize)?;
        let commits = ids
            .chunks_exact(32)
            .map(|id| Hash(id.try_into().expect("chunks of 32")))
            .collect();
        let depth = usize::from(reader.u8()?);
        if depth > DEPTH_MAX {
            return Err(FormatError::Limit {
                what: "batch depth",
                got: depth as u64,
                max: DEPTH_MAX as u64,
                offset: reader.offset(),
            });
        }
        let leaf_index = reader.varint()?;
        if leaf_index >> depth != 0 {
            return Err(FormatError::Limit {
                what: "batch leaf index",
                got: leaf_index,
                max: (1 << depth) - 1,
                offset: reader.offset(),
            });
        }
        let path = (0..depth)
            .map(|_| reader.array().map(Hash))
            .collect::<Result<_, _>>()?;
        let signature =
            Signature::from_slice(reader.take(SIGNATURE_BYTES)?).map_err(|_| FormatError::Key)?;
        reader.finish()?;
        Ok(Self {
            suite,
            author,
            lane,
            link,
            commits,
            leaf_index,
            path,
            signature,
        })
    }

    /// This chain's leaf of the batch.
    pub fn leaf(&self, chain: &ChainId) -> Hash {
        batch_leaf(chain, &self.lane, &self.link, &commits_root(&self.commits))
    }

    /// The batch root that the signature covers.
    pub fn batch_root(&self, leaf: Hash) -> Hash {
        let mut index = self.leaf_index;
        self.path.iter().fold(leaf, |node, sibling| {
            let right = index & 1 == 1;
            index >>= 1;
            if right {
                node_hash(sibling, &node)
            } else {
                node_hash(&node, sibling)
            }
        })
    }
}

/// Whether `who` signed `batch_root`.
pub(crate) fn verify_batch(who: &Who, batch_root: &Hash, signature: &Signature) -> bool {
    who.verify(Purpose::Batch, &batch_root.0, signature).is_ok()
}

/// RFC 9162 root with the commit ids as leaf data.
pub fn commits_root(commits: &[Hash]) -> Hash {
    let mut builder = RootBuilder::default();
    commits
        .iter()
        .for_each(|commit| builder.push(leaf_hash(&commit.0)));
    builder.root()
}

/// The leaf that stands for one chain in a batch.
pub fn batch_leaf(chain: &ChainId, lane: &LaneId, link: &Hash, commits_root: &Hash) -> Hash {
    const TAG: &[u8; 12] = b"ATE-batch-v1";
    let mut data = Vec::with_capacity(13 + 32 + 16 + 32 + 32);
    data.push(TAG.len() as u8);
    data.extend_from_slice(TAG);
    data.extend_from_slice(&chain.0.0);
    data.extend_from_slice(&lane.0);
    data.extend_from_slice(&link.0);
    data.extend_from_slice(&commits_root.0);
    leaf_hash(&data)
}

/// Root and paths of a perfect binary tree over `leaves`, padded by repeating the last leaf: a proof needs index and path only.
pub(crate) fn batch_tree(leaves: &[Hash]) -> (Hash, Vec<Vec<Hash>>) {
    let mut paths = vec![Vec::new(); leaves.len()];
    let mut level = leaves.to_vec();
    let mut depth = 0;
    while level.len() > 1 {
        if level.len() % 2 == 1 {
            level.push(*level.last().expect("more than one leaf"));
        }
        for (index, path) in paths.iter_mut().enumerate() {
            path.push(level[(index >> depth) ^ 1]);
        }
        level = level
            .chunks_exact(2)
            .map(|pair| node_hash(&pair[0], &pair[1]))
            .collect();
        depth += 1;
    }
    (level.first().copied().unwrap_or(Hash::ZERO), paths)
}

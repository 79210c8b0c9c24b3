//! Merkle trees as in RFC 9162, section 2.1, over SHA-256.
//!
//! `leaf = SHA-256(0x00 ‖ data)`, `node = SHA-256(0x01 ‖ left ‖ right)`, and the empty tree has the hash of nothing. Sizes and
//! indices are `u64`. Three forms: [`Tree`] keeps every node and proves; [`RootBuilder`] keeps the right edge only; the
//! `verify_*` functions need nothing but the proof.

mod proof;
mod tree;

pub use proof::{path_sides, root_of_path, root_of_proof, verify_consistency, verify_inclusion};
pub use tree::Tree;

use std::borrow::Borrow;

use sha2::block_api::compress256;

use crate::hash::{Absorb, Hash, INITIAL, sha256, state_bytes};

/// The root of a tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    sha256(&[&[0x00], data])
}

/// The hash of a leaf whose data is the parts joined.
#[must_use]
pub fn leaf_hash_parts(parts: &[&[u8]]) -> Hash {
    let mut absorb = Absorb::new();
    absorb.update(&[0x00]);
    for part in parts {
        absorb.update(part);
    }
    Hash(absorb.finish())
}

/// The hash of an inner node.
///
/// Every node is the same 65 bytes, so its two padded blocks are laid out by hand: with the general hasher a node costs half as
/// much again.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut blocks = [[0; 64]; 2];
    let [first, last] = &mut blocks;
    first[0] = 0x01;
    first[1..33].copy_from_slice(&left.0);
    first[33..].copy_from_slice(&right.0[..31]);
    last[0] = right.0[31];
    last[1] = 0x80;
    last[56..].copy_from_slice(&(65 * 8_u64).to_be_bytes());
    let mut state = INITIAL;
    compress256(&mut state, &blocks);
    Hash(state_bytes(&state))
}

/// The root over leaf hashes, in memory that grows with the logarithm of their number.
#[must_use]
pub fn root_of_leaves<I>(leaves: I) -> Hash
where
    I: IntoIterator,
    I::Item: Borrow<Hash>,
{
    let mut builder = RootBuilder::new();
    for leaf in leaves {
        builder.push(*leaf.borrow());
    }
    builder.root()
}

/// The right edge of a growing tree: one hash for each set bit of its size, at most 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootBuilder {
    size: u64,
    /// Roots of the perfect subtrees that make up the tree, the largest first.
    peaks: Vec<Hash>,
}

impl RootBuilder {
    /// An empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            peaks: Vec::new(),
        }
    }

    /// Adds a leaf hash. Amortised one node hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each trailing one bit of the size is a finished neighbour of the same height.
        for _ in 0..self.size.trailing_ones() {
            let left = self
                .peaks
                .pop()
                .expect("there is a peak for each set bit of the size");
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Leaves so far.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.size
    }

    /// Whether there is no leaf yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// The root over the leaves so far. O(log n).
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return EMPTY_ROOT;
        };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
mod tests;

//! The tree that keeps every finished node.

use super::{EMPTY_ROOT, node_hash};
use crate::hash::Hash;

/// An append-only tree that can prove. Keeps all finished nodes: 64 bytes a leaf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// `levels[k][i]` is the root over the leaves `[i · 2^k, (i + 1) · 2^k)`; only finished ones are kept.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// An empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { levels: Vec::new() }
    }

    /// A tree over a flat list of leaf hashes. One node hash for each leaf.
    #[must_use]
    pub fn from_leaves(leaves: Vec<Hash>) -> Self {
        let mut tree = Self {
            levels: vec![leaves],
        };
        while let Some(level) = tree.levels.last().filter(|level| level.len() >= 2) {
            let above = level
                .as_chunks::<2>()
                .0
                .iter()
                .map(|[left, right]| node_hash(left, right))
                .collect();
            tree.levels.push(above);
        }
        tree
    }

    /// The leaf hashes, in order.
    #[must_use]
    pub fn leaves(&self) -> &[Hash] {
        self.levels.first().map_or(&[], Vec::as_slice)
    }

    /// The finished nodes of every height, leaves first, for a store that trusts its own sealed copy and wants to skip the
    /// hashing at the next start; see [`Tree::from_levels`].
    #[must_use]
    pub fn levels(&self) -> &[Vec<Hash>] {
        &self.levels
    }

    /// Takes back what [`levels`](Tree::levels) gave. Only the lengths are checked (`None` if they do not fit): whoever did
    /// not seal these bytes himself uses [`Tree::from_leaves`].
    #[must_use]
    pub fn from_levels(levels: Vec<Vec<Hash>>) -> Option<Self> {
        let fits = levels
            .windows(2)
            .all(|pair| pair[1].len() == pair[0].len() / 2 && !pair[1].is_empty());
        let complete = levels.last().is_none_or(|top| top.len() <= 1);
        (fits && complete).then_some(Self { levels })
    }

    /// Adds a leaf hash. Amortised one node hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut height = 0;
        loop {
            if height == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let level = &mut self.levels[height];
            level.push(hash);
            if level.len() % 2 == 1 {
                return;
            }
            hash = node_hash(&level[level.len() - 2], &level[level.len() - 1]);
            height += 1;
        }
    }

    /// Number of leaves.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.leaves().len() as u64
    }

    /// Whether there is no leaf.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leaves().is_empty()
    }

    /// The leaf hash at `index`.
    #[must_use]
    pub fn leaf(&self, index: u64) -> Option<Hash> {
        self.leaves().get(usize::try_from(index).ok()?).copied()
    }

    /// The root over all leaves. O(log n).
    #[must_use]
    pub fn root(&self) -> Hash {
        self.span(0, self.leaves().len())
    }

    /// The root over the first `size` leaves; `None` if there are fewer. O(log n).
    #[must_use]
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        Some(self.span(0, self.size(size)?))
    }

    /// The proof that the leaf at `index` is in the tree of the first `size` leaves (RFC 9162, section 2.1.3); `None` unless
    /// `index < size ≤ len`.
    #[must_use]
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        let (mut low, mut high) = (0, self.size(size)?);
        let index = usize::try_from(index).ok().filter(|index| *index < high)?;
        let mut proof = Vec::new();
        while high - low > 1 {
            let middle = low + left_width(high - low);
            if index < middle {
                proof.push(self.span(middle, high));
                high = middle;
            } else {
                proof.push(self.span(low, middle));
                low = middle;
            }
        }
        proof.reverse();
        Some(proof)
    }

    /// The proof that the tree of the first `old` leaves is a beginning of the tree of the first `new` leaves (RFC 9162,
    /// section 2.1.4); empty if one of them needs no proof (`old` is 0 or equals `new`); `None` unless `old ≤ new ≤ len`.
    #[must_use]
    pub fn consistency_proof(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        let (mut low, mut high) = (0, self.size(new)?);
        let old = usize::try_from(old).ok().filter(|old| *old <= high)?;
        let mut proof = Vec::new();
        if old == 0 {
            return Some(proof);
        }
        // The verifier knows the old root; it needs the old tree's last subtree only when that is not the whole old tree.
        let mut old_root_is_known = true;
        while old < high {
            let middle = low + left_width(high - low);
            if old <= middle {
                proof.push(self.span(middle, high));
                high = middle;
            } else {
                proof.push(self.span(low, middle));
                low = middle;
                old_root_is_known = false;
            }
        }
        if !old_root_is_known {
            proof.push(self.span(low, high));
        }
        proof.reverse();
        Some(proof)
    }

    /// Forgets all leaves from `size` on. Does nothing if there are fewer.
    pub fn truncate(&mut self, size: u64) {
        let Some(size) = self.size(size) else { return };
        for (height, level) in self.levels.iter_mut().enumerate() {
            level.truncate(size >> height);
        }
        self.levels.retain(|level| !level.is_empty());
    }

    fn size(&self, size: u64) -> Option<usize> {
        usize::try_from(size)
            .ok()
            .filter(|size| *size <= self.leaves().len())
    }

    /// The root over the leaves `[low, high)`, where `low` is a multiple of every power of two up to the width: the ranges that
    /// the recursion of RFC 9162 visits.
    fn span(&self, low: usize, high: usize) -> Hash {
        let width = high - low;
        let mut right_edge = None;
        let mut end = high;
        for height in (0..usize::BITS).filter(|height| width >> height & 1 == 1) {
            end -= 1 << height;
            let node = self.levels[height as usize][end >> height];
            right_edge = Some(right_edge.map_or(node, |right| node_hash(&node, &right)));
        }
        right_edge.unwrap_or(EMPTY_ROOT)
    }
}

/// The largest power of two below `width`, which is at least 2: the width of the left subtree.
fn left_width(width: usize) -> usize {
    1 << (width - 1).ilog2()
}

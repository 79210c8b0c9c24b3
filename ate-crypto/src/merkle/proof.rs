//! Checking proofs without a tree.

use super::{EMPTY_ROOT, node_hash};
use crate::error::BadProof;
use crate::hash::Hash;

/// Checks that `leaf` is at `index` in the tree of `size` leaves with this `root` (RFC 9162, section 2.1.3.2).
///
/// # Errors
/// [`BadProof`] if it is not, or the proof has the wrong length.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), BadProof> {
    if root_of_proof(leaf, index, size, proof)? == *root {
        Ok(())
    } else {
        Err(BadProof)
    }
}

/// The root that an inclusion proof leads to, for callers who check a signature over it instead of comparing.
///
/// # Errors
/// [`BadProof`] unless `index < size` and the proof has the one length that fits them.
pub fn root_of_proof(leaf: &Hash, index: u64, size: u64, proof: &[Hash]) -> Result<Hash, BadProof> {
    let (sides, length) = sides(index, size).ok_or(BadProof)?;
    if proof.len() != length as usize {
        return Err(BadProof);
    }
    root_of_path(leaf, sides, proof)
}

/// On which side the proof's hashes stand, lowest bit first: 1 where the neighbour is on the left. Equals `index` in a tree
/// whose size is a power of two. With it [`root_of_path`] needs no size. `None` unless `index < size`.
#[must_use]
pub fn path_sides(index: u64, size: u64) -> Option<u64> {
    sides(index, size).map(|(sides, _)| sides)
}

/// The root that a path leads to when the sides of its hashes are known (see [`path_sides`]). Whoever uses this does not learn
/// the leaf's index or the tree's size, only that the leaf is in a tree with this root.
///
/// # Errors
/// [`BadProof`] if the path is longer than 64, or `sides` has a bit beyond it.
pub fn root_of_path(leaf: &Hash, sides: u64, path: &[Hash]) -> Result<Hash, BadProof> {
    let beyond = u32::try_from(path.len())
        .ok()
        .filter(|length| *length <= 64)
        .ok_or(BadProof)?;
    if sides.checked_shr(beyond).unwrap_or(0) != 0 {
        return Err(BadProof);
    }
    let fold = |(below, sides): (Hash, u64), neighbour: &Hash| {
        let node = if sides & 1 == 1 {
            node_hash(neighbour, &below)
        } else {
            node_hash(&below, neighbour)
        };
        (node, sides >> 1)
    };
    Ok(path.iter().fold((*leaf, sides), fold).0)
}

/// Sides and length of an inclusion proof.
fn sides(index: u64, size: u64) -> Option<(u64, u32)> {
    if index >= size {
        return None;
    }
    let (mut at, mut last) = (index, size - 1);
    let (mut sides, mut length) = (0, 0);
    while last > 0 {
        // On the right edge a node without a neighbour moves up unhashed.
        if at & 1 == 1 || at < last {
            sides |= (at & 1) << length;
            length += 1;
        }
        at >>= 1;
        last >>= 1;
    }
    Some((sides, length))
}

/// Checks that the tree of `old_size` leaves with `old_root` is a beginning of the tree of `new_size` leaves with `new_root`
/// (RFC 9162, section 2.1.4.2). The empty tree is a beginning of every tree, with an empty proof.
///
/// # Errors
/// [`BadProof`] if it is not, or the proof has the wrong length.
pub fn verify_consistency(
    old_size: u64,
    new_size: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), BadProof> {
    let holds = if old_size > new_size {
        false
    } else if old_size == new_size {
        proof.is_empty() && old_root == new_root && (old_size > 0 || *old_root == EMPTY_ROOT)
    } else if old_size == 0 {
        proof.is_empty() && *old_root == EMPTY_ROOT
    } else {
        leads_to_both(old_size, new_size, old_root, new_root, proof)
    };
    if holds { Ok(()) } else { Err(BadProof) }
}

/// The case `0 < old < new`: one walk up that rebuilds both roots.
fn leads_to_both(
    old_size: u64,
    new_size: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> bool {
    // A perfect old tree is itself the first node of the walk and is left out of the proof.
    let (start, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        match proof.split_first() {
            Some(split) => split,
            None => return false,
        }
    };
    let up = (old_size - 1).trailing_ones();
    let (mut at, mut last) = ((old_size - 1) >> up, (new_size - 1) >> up);
    let (mut old, mut new) = (*start, *start);
    for neighbour in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old = node_hash(neighbour, &old);
            new = node_hash(neighbour, &new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, neighbour);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old == *old_root && new == *new_root
}

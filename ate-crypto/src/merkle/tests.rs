//! Known roots, a naive tree straight from the definition, and proofs of every size against both.

use super::*;
use crate::error::BadProof;

/// The eight leaves and the roots over the first n of them that the Certificate Transparency implementations test with.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// RFC 9162, section 2.1.1, word for word.
fn naive(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            node_hash(&naive(&leaves[..k]), &naive(&leaves[k..]))
        }
    }
}

/// RFC 9162, section 2.1.3.1.
fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut path, neighbour) = if index < k {
        (naive_path(index, &leaves[..k]), naive(&leaves[k..]))
    } else {
        (naive_path(index - k, &leaves[k..]), naive(&leaves[..k]))
    };
    path.push(neighbour);
    path
}

/// RFC 9162, section 2.1.4.1.
fn naive_consistency(old: usize, leaves: &[Hash], old_is_known: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if old_is_known {
            Vec::new()
        } else {
            vec![naive(leaves)]
        };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut proof, neighbour) = if old <= k {
        (
            naive_consistency(old, &leaves[..k], old_is_known),
            naive(&leaves[k..]),
        )
    } else {
        (
            naive_consistency(old - k, &leaves[k..], false),
            naive(&leaves[..k]),
        )
    };
    proof.push(neighbour);
    proof
}

fn leaves(count: u32) -> Vec<Hash> {
    (0..count)
        .map(|number| leaf_hash(&number.to_le_bytes()))
        .collect()
}

#[test]
fn roots_are_the_known_ones() {
    let hashes: Vec<Hash> = LEAVES.iter().map(|data| leaf_hash(data)).collect();
    let mut tree = Tree::new();
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(tree.root().to_string(), *root, "size {size}");
        assert_eq!(root_of_leaves(&hashes[..size]).to_string(), *root);
        if let Some(leaf) = hashes.get(size) {
            tree.push(*leaf);
        }
    }
    assert_eq!(EMPTY_ROOT, sha256(&[]));
    assert_eq!(leaf_hash(b"abc"), leaf_hash_parts(&[b"a", b"", b"bc"]));
    assert_eq!(leaf_hash(b"abc"), sha256(&[b"\0abc"]));
    for pair in hashes.windows(2) {
        assert_eq!(
            node_hash(&pair[0], &pair[1]),
            sha256(&[&[0x01], &pair[0].0, &pair[1].0])
        );
    }
}

#[test]
fn every_form_of_the_tree_agrees_with_the_definition() {
    let all = leaves(140);
    let (mut tree, mut builder) = (Tree::new(), RootBuilder::new());
    assert!(tree.is_empty() && builder.is_empty());
    for size in 0..all.len() {
        let expected = naive(&all[..size]);
        assert_eq!((tree.root(), tree.len()), (expected, size as u64));
        assert_eq!((builder.root(), builder.len()), (expected, size as u64));
        assert_eq!(Tree::from_leaves(all[..size].to_vec()).root(), expected);
        assert_eq!(tree.leaves(), &all[..size]);
        assert_eq!(
            Tree::from_levels(tree.levels().to_vec()).map(|tree| tree.root()),
            Some(expected)
        );
        tree.push(all[size]);
        builder.push(all[size]);
    }
    for size in 0..all.len() {
        assert_eq!(tree.root_at(size as u64), Some(naive(&all[..size])));
        assert_eq!(tree.leaf(size as u64), Some(all[size]));
    }
    assert_eq!(tree.root_at(141), None);
    assert_eq!(tree.root_at(u64::MAX), None);
    assert_eq!(tree.leaf(140), None);
}

#[test]
fn truncation_gives_back_the_smaller_tree() {
    let all = leaves(70);
    for size in 0..=70 {
        let mut tree = Tree::from_leaves(all.clone());
        tree.truncate(size as u64);
        assert_eq!(tree.leaves(), &all[..size]);
        assert_eq!(tree.root(), naive(&all[..size]));
        let mut again: Tree = Tree::new();
        all[..size].iter().for_each(|leaf| again.push(*leaf));
        for leaf in &all[size..] {
            tree.push(*leaf);
            again.push(*leaf);
        }
        assert_eq!(tree, again);
        assert_eq!(tree.root(), naive(&all));
        tree.truncate(1000);
        assert_eq!(tree.len(), 70);
    }
}

#[test]
fn levels_of_other_shapes_are_refused() {
    let tree = Tree::from_leaves(leaves(11));
    let levels = tree.levels().to_vec();
    assert!(Tree::from_levels(levels.clone()).is_some_and(|again| again == tree));
    assert!(Tree::from_levels(Vec::new()).is_some_and(|tree| tree.is_empty()));
    for height in 0..levels.len() {
        let mut short = levels.clone();
        short[height].pop();
        // The odd leaf at the end has no node above it: without it the shape is that of ten leaves.
        let fits = height == 0;
        assert_eq!(Tree::from_levels(short).is_some(), fits, "height {height}");
    }
    assert!(Tree::from_levels(levels[..levels.len() - 1].to_vec()).is_none());
    assert!(Tree::from_levels(vec![leaves(1), Vec::new()]).is_none());
}

#[test]
fn inclusion_proofs_hold_and_nothing_else_does() {
    let all = leaves(34);
    let tree = Tree::from_leaves(all.clone());
    for size in 1..=34u64 {
        let root = naive(&all[..size as usize]);
        for index in 0..size {
            let leaf = &all[index as usize];
            let proof = tree.inclusion_proof(index, size).expect("in range");
            assert_eq!(proof, naive_path(index as usize, &all[..size as usize]));
            assert_eq!(verify_inclusion(leaf, index, size, &proof, &root), Ok(()));
            let sides = path_sides(index, size).expect("in range");
            assert_eq!(root_of_path(leaf, sides, &proof), Ok(root));
            assert!(!size.is_power_of_two() || sides == index);

            let refused = |leaf: &Hash, index, size, proof: &[Hash], root: &Hash| {
                assert_eq!(
                    verify_inclusion(leaf, index, size, proof, root),
                    Err(BadProof)
                );
            };
            refused(&Hash::ZERO, index, size, &proof, &root);
            refused(leaf, index, size, &proof, &Hash::ZERO);
            refused(leaf, size, size, &proof, &root);
            refused(leaf, index, 0, &proof, &root);
            refused(
                leaf,
                index,
                size,
                &[&proof[..], &[Hash::ZERO]].concat(),
                &root,
            );
            for other in (0..size).filter(|other| *other != index) {
                refused(leaf, other, size, &proof, &root);
            }
            if let Some((_, shorter)) = proof.split_last() {
                refused(leaf, index, size, shorter, &root);
            }
            for at in 0..proof.len() {
                let mut changed = proof.clone();
                changed[at].0[7] ^= 1;
                refused(leaf, index, size, &changed, &root);
            }
        }
        assert_eq!(tree.inclusion_proof(size, size), None);
    }
    assert_eq!(tree.inclusion_proof(0, 35), None);
    assert_eq!(tree.inclusion_proof(0, 0), None);
    assert_eq!(tree.inclusion_proof(u64::MAX, u64::MAX), None);
}

#[test]
fn consistency_proofs_hold_and_nothing_else_does() {
    let all = leaves(34);
    let tree = Tree::from_leaves(all.clone());
    for new in 0..=34u64 {
        let new_root = naive(&all[..new as usize]);
        for old in 0..=new {
            let old_root = naive(&all[..old as usize]);
            let proof = tree.consistency_proof(old, new).expect("in range");
            if old > 0 {
                assert_eq!(
                    proof,
                    naive_consistency(old as usize, &all[..new as usize], true),
                    "{old} {new}"
                );
            }
            assert_eq!(
                verify_consistency(old, new, &old_root, &new_root, &proof),
                Ok(()),
                "{old} {new}"
            );

            let refused = |old, new, old_root: &Hash, new_root: &Hash, proof: &[Hash]| {
                assert_eq!(
                    verify_consistency(old, new, old_root, new_root, proof),
                    Err(BadProof)
                );
            };
            refused(old, new, &Hash::ZERO, &new_root, &proof);
            refused(
                old,
                new,
                &old_root,
                &new_root,
                &[&proof[..], &[Hash::ZERO]].concat(),
            );
            refused(new + 1, new, &old_root, &new_root, &proof);
            if old > 0 {
                refused(old, new, &old_root, &Hash::ZERO, &proof);
            }
            if let Some((_, shorter)) = proof.split_last() {
                refused(old, new, &old_root, &new_root, shorter);
            }
            for at in 0..proof.len() {
                let mut changed = proof.clone();
                changed[at].0[31] ^= 0x80;
                refused(old, new, &old_root, &new_root, &changed);
            }
        }
        assert_eq!(tree.consistency_proof(new + 1, new), None);
    }
    assert_eq!(tree.consistency_proof(1, 35), None);
}

/// A fork: two histories with one beginning cannot be proved consistent beyond it, whatever proof is offered.
#[test]
fn a_rewritten_leaf_breaks_consistency() {
    let all = leaves(20);
    let mut forked = all.clone();
    forked[3] = leaf_hash(b"rewritten");
    let (honest, fork) = (Tree::from_leaves(all), Tree::from_leaves(forked));
    for old in 4..20 {
        let proof = fork.consistency_proof(old, 20).expect("in range");
        let old_root = honest.root_at(old).expect("in range");
        assert_eq!(
            verify_consistency(old, 20, &old_root, &fork.root(), &proof),
            Err(BadProof)
        );
    }
    let proof = fork.consistency_proof(3, 20).expect("in range");
    let old_root = honest.root_at(3).expect("in range");
    assert_eq!(
        verify_consistency(3, 20, &old_root, &fork.root(), &proof),
        Ok(()),
        "the common beginning is common"
    );
}

#[test]
fn proofs_of_huge_claimed_sizes_are_refused_without_work() {
    let leaf = leaf_hash(b"x");
    assert_eq!(
        verify_inclusion(&leaf, u64::MAX - 1, u64::MAX, &[], &leaf),
        Err(BadProof)
    );
    assert_eq!(
        verify_inclusion(&leaf, 5, u64::MAX, &[leaf; 64], &leaf),
        Err(BadProof)
    );
    assert_eq!(
        verify_consistency(1, u64::MAX, &leaf, &leaf, &[leaf; 3]),
        Err(BadProof)
    );
    assert_eq!(
        verify_consistency(u64::MAX, u64::MAX, &leaf, &leaf, &[]),
        Ok(())
    );
    assert_eq!(root_of_path(&leaf, 0, &[leaf; 65]), Err(BadProof));
    assert_eq!(root_of_path(&leaf, 1, &[]), Err(BadProof));
    assert_eq!(root_of_path(&leaf, 2, &[leaf]), Err(BadProof));
    assert!(root_of_path(&leaf, u64::MAX, &[leaf; 64]).is_ok());
}

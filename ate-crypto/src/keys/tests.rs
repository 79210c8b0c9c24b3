//! Derived values, against the formulas of the format written out.

use super::*;
use crate::random::SeededRandom;

fn read_key(number: u64) -> ReadKey {
    ReadKey::generate(&SeededRandom::new(number))
}

/// HMAC by the `hmac` crate, over the formula of docs/format.md joined by hand.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).expect("any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[test]
fn derived_values_are_those_of_the_format() {
    let random = SeededRandom::new(2);
    let (read, name, salt) = (
        read_key(1),
        NameKey::generate(&random),
        Salt::generate(&random),
    );
    let commitment = hmac(
        read.expose(),
        &[b"\x15ATE-key-commitment-v1", &[1], &salt.0, &[1]],
    );
    assert_eq!(read.commitment(&salt).0, commitment);
    let scope = hmac(read.expose(), &[b"\x17ATE-scope-commitment-v1", &[1], &[1]]);
    assert_eq!(read.scope_commitment().0, scope);
    let parent = [4; 16];
    let long = "c".repeat(300);
    for (collection, length) in [("", &[0][..]), ("people", &[6]), (&long, &[0xac, 0x02])] {
        let tag = hmac(
            name.expose(),
            &[b"\x11ATE-collection-v1", collection.as_bytes()],
        );
        assert_eq!(name.collection_tag(collection), tag[..8]);
        let token = hmac(
            name.expose(),
            &[
                b"\x0bATE-name-v1",
                &parent,
                length,
                collection.as_bytes(),
                b"ada",
            ],
        );
        assert_eq!(name.token(&parent, collection, "ada"), token[..16]);
    }
    let schema = hmac(name.expose(), &[b"\x0dATE-schema-v1", &[7; 32]]);
    assert_eq!(name.schema_tag(&Hash([7; 32])), schema[..8]);
    let record = crate::hash::sha256(&[b"\x0dATE-record-v1", &parent, &[5; 8], &[6; 16]]);
    assert_eq!(record_key(&parent, &[5; 8], &[6; 16]), record.0[..16]);
}

#[test]
fn the_border_between_collection_and_name_is_framed() {
    let name = NameKey::generate(&SeededRandom::new(1));
    assert_ne!(
        name.token(&[0; 16], "ab", "c"),
        name.token(&[0; 16], "a", "bc")
    );
    assert_ne!(
        name.token(&[0; 16], "a", "b"),
        name.token(&[1; 16], "a", "b")
    );
}

#[test]
fn commitments_tell_keys_and_salts_apart() {
    let (one, two) = (read_key(1), read_key(2));
    let (salt, other) = (Salt([1; 32]), Salt([2; 32]));
    assert_eq!(one.commitment(&salt), read_key(1).commitment(&salt));
    assert_ne!(one.commitment(&salt), one.commitment(&other));
    assert_ne!(one.commitment(&salt), two.commitment(&salt));
    assert_ne!(one.scope_commitment(), two.scope_commitment());
    assert_ne!(one.scope_commitment(), one.commitment(&salt));
}

#[test]
fn secrets_compare_by_value() {
    assert!(read_key(1) == ReadKey::from_bytes(*read_key(1).expose()));
    assert!(read_key(1) != read_key(2));
    assert!(NameKey::from_bytes([1; 32]) != NameKey::from_bytes([2; 32]));
    assert!(StoreKey::from_bytes([1; 32]) == StoreKey::from_bytes([1; 32]));
}

#[test]
fn an_old_epoch_opens_under_the_new_key_at_its_place_only() {
    let (new, old, other) = (read_key(1), read_key(2), read_key(3));
    let (chain, scope) = (Hash([1; 32]), [2; 16]);
    let info = LinkInfo {
        chain: &chain,
        scope: &scope,
        epoch: 2,
    };
    let sealed = new.link_seal(&info, &old);
    assert!(
        new.link_open(&info, &sealed)
            .is_ok_and(|opened| opened == old)
    );
    assert!(other.link_open(&info, &sealed).is_err());
    assert!(
        new.link_open(
            &LinkInfo {
                chain: &Hash::ZERO,
                ..info
            },
            &sealed
        )
        .is_err()
    );
    assert!(
        new.link_open(
            &LinkInfo {
                scope: &[3; 16],
                ..info
            },
            &sealed
        )
        .is_err()
    );
    assert!(
        new.link_open(&LinkInfo { epoch: 3, ..info }, &sealed)
            .is_err()
    );
    for at in 0..LINK_SEALED_BYTES {
        let mut changed = sealed;
        changed[at] ^= 0x20;
        assert!(new.link_open(&info, &changed).is_err(), "byte {at}");
    }
    for length in [0, 15, 16, 47] {
        assert!(new.link_open(&info, &sealed[..length]).is_err());
    }
    assert!(new.link_open(&info, &[&sealed[..], &[0]].concat()).is_err());
}

#[test]
fn varints_are_shortest_leb128() {
    for (value, bytes) in [
        (0, &[0][..]),
        (127, &[127]),
        (128, &[0x80, 1]),
        (300, &[0xac, 2]),
        (16384, &[0x80, 0x80, 1]),
    ] {
        let (array, used) = varint(value);
        assert_eq!(&array[..used], bytes);
    }
    let (array, used) = varint(u64::MAX);
    assert_eq!((used, array[9]), (10, 1));
}

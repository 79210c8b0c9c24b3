//! A wrap opens for its recipient at its place, and nowhere else.

use super::*;
use crate::identity::Identity;
use crate::random::SeededRandom;
use crate::seed::Seed;

const SCOPE: [u8; 16] = [5; 16];

struct Setting {
    bob: Identity,
    bob_id: KeyId,
    read: ReadKey,
    name: NameKey,
    chain: Hash,
}

fn setting() -> Setting {
    let random = SeededRandom::new(1);
    let bob = Identity::from_seed(&Seed::generate(&random));
    Setting {
        bob_id: bob.id(),
        bob,
        read: ReadKey::generate(&random),
        name: NameKey::generate(&random),
        chain: Hash([8; 32]),
    }
}

impl Setting {
    fn info(&self) -> WrapInfo<'_> {
        WrapInfo {
            chain: &self.chain,
            scope: &SCOPE,
            epoch: 3,
            recipient: &self.bob_id,
        }
    }

    fn wrapped(&self) -> Wrapped {
        wrap_keys(self.bob.who(), &self.info(), &self.read, &self.name).expect("a valid recipient")
    }

    fn opens(&self, info: &WrapInfo<'_>, wrapped: &Wrapped) -> bool {
        self.bob
            .unwrap_keys(info, &wrapped.ct, &wrapped.sealed)
            .is_ok()
    }
}

#[test]
fn the_recipient_gets_both_keys() {
    let setting = setting();
    let wrapped = setting.wrapped();
    let (read, name) = setting
        .bob
        .unwrap_keys(&setting.info(), &wrapped.ct, &wrapped.sealed)
        .expect("opens");
    assert!(read == setting.read && name == setting.name);
    assert_ne!(setting.wrapped(), wrapped, "every wrap is fresh");
}

#[test]
fn another_place_or_person_is_refused() {
    let setting = setting();
    let wrapped = setting.wrapped();
    let info = setting.info();
    assert!(setting.opens(&info, &wrapped));
    let (chain, scope, stranger) = (
        Hash([9; 32]),
        [6; 16],
        Identity::from_seed(&Seed::from_bytes([1; 32])),
    );
    assert!(!setting.opens(
        &WrapInfo {
            chain: &chain,
            ..info
        },
        &wrapped
    ));
    assert!(!setting.opens(
        &WrapInfo {
            scope: &scope,
            ..info
        },
        &wrapped
    ));
    assert!(!setting.opens(&WrapInfo { epoch: 4, ..info }, &wrapped));
    let stranger_id = stranger.id();
    assert!(!setting.opens(
        &WrapInfo {
            recipient: &stranger_id,
            ..info
        },
        &wrapped
    ));
    assert!(
        stranger
            .unwrap_keys(&info, &wrapped.ct, &wrapped.sealed)
            .is_err()
    );
    let theirs = WrapInfo {
        recipient: &stranger_id,
        ..info
    };
    assert!(
        stranger
            .unwrap_keys(&theirs, &wrapped.ct, &wrapped.sealed)
            .is_err()
    );
    let mislabelled = wrap_keys(setting.bob.who(), &theirs, &setting.read, &setting.name);
    assert_eq!(
        mislabelled,
        Err(KeyError::Recipient {
            labelled: stranger_id,
            recipient: setting.bob_id
        })
    );
}

#[test]
fn every_changed_byte_and_length_is_refused() {
    let setting = setting();
    let wrapped = setting.wrapped();
    for at in (0..WRAP_CT_BYTES)
        .step_by(7)
        .chain(WRAP_CT_BYTES - 32..WRAP_CT_BYTES)
    {
        let mut changed = wrapped.clone();
        changed.ct[at] ^= 1;
        assert!(
            !setting.opens(&setting.info(), &changed),
            "ciphertext byte {at}"
        );
    }
    for at in 0..WRAP_SEALED_BYTES {
        for bit in 0..8 {
            let mut changed = wrapped.clone();
            changed.sealed[at] ^= 1 << bit;
            assert!(
                !setting.opens(&setting.info(), &changed),
                "sealed byte {at} bit {bit}"
            );
        }
    }
    let info = setting.info();
    let cut = &wrapped.ct[..WRAP_CT_BYTES - 1];
    assert!(
        setting
            .bob
            .unwrap_keys(&info, cut, &wrapped.sealed)
            .is_err()
    );
    assert!(
        setting
            .bob
            .unwrap_keys(&info, &wrapped.ct, &wrapped.sealed[1..])
            .is_err()
    );
    assert!(setting.bob.unwrap_keys(&info, &[], &[]).is_err());
}

#[test]
fn a_recipient_without_a_usable_x25519_key_is_refused() {
    let setting = setting();
    let mut bytes = setting.bob.who().to_bytes();
    let length = bytes.len();
    bytes[length - 32..].fill(0);
    let who = Who::from_bytes(&bytes).expect("the encoding is fine");
    // The key id does not cover the wrap key, so the label still fits.
    assert_eq!(
        wrap_keys(&who, &setting.info(), &setting.read, &setting.name),
        Err(KeyError::LowOrder)
    );
}

#[test]
fn info_is_that_of_the_format() {
    let setting = setting();
    let expected = [
        &b"\x0bATE-wrap-v1\x01"[..],
        &[8; 32],
        &SCOPE,
        &3u32.to_le_bytes(),
        &setting.bob_id.0,
    ]
    .concat();
    assert_eq!(setting.info().to_bytes(), expected);
}

//! A message of a call opens for the other side at its place, and nowhere else.

use super::*;
use crate::random::SeededRandom;

const AT: CallPlace = CallPlace { call: 7, index: 3 };

fn sides(transcript: [u8; 32]) -> (CallKeys, CallKeys) {
    let receiver = CallReceiver::generate(&SeededRandom::new(1));
    let (ct, secret) = receiver.public().encapsulate().expect("a valid key");
    let other = receiver.decapsulate(&ct).expect("opens");
    (secret.keys(&Hash(transcript)), other.keys(&Hash([1; 32])))
}

fn sealed(key: &CallKey) -> Vec<u8> {
    let mut out = b"header".to_vec();
    key.seal_behind(AT, b"hello", &mut out);
    out
}

#[test]
fn both_sides_have_the_same_two_keys() {
    let (caller, service) = sides([1; 32]);
    let out = sealed(&caller.to_service);
    assert_eq!(out.len(), 6 + 5 + CALL_SEAL_OVERHEAD);
    assert_eq!(
        service.to_service.open(AT, b"header", &out[6..]),
        Ok(b"hello".to_vec())
    );
    let out = sealed(&service.to_caller);
    assert_eq!(
        caller.to_caller.open(AT, b"header", &out[6..]),
        Ok(b"hello".to_vec())
    );
}

#[test]
fn another_direction_transcript_place_or_header_does_not_open() {
    let (caller, service) = sides([1; 32]);
    let out = sealed(&caller.to_service);
    let key = &service.to_service;
    assert!(service.to_caller.open(AT, b"header", &out[6..]).is_err());
    assert!(key.open(AT, b"Header", &out[6..]).is_err());
    for at in [
        CallPlace { call: 8, ..AT },
        CallPlace { index: 2, ..AT },
        CallPlace { call: 3, index: 7 },
    ] {
        assert!(key.open(at, b"header", &out[6..]).is_err());
    }
    for length in 0..out.len() - 6 {
        assert!(key.open(AT, b"header", &out[6..6 + length]).is_err());
    }
    let (other, service) = sides([2; 32]);
    let out = sealed(&other.to_service);
    assert!(service.to_service.open(AT, b"header", &out[6..]).is_err());
}

#[test]
fn a_changed_encapsulation_leads_to_other_keys() {
    let receiver = CallReceiver::generate(&SeededRandom::new(2));
    let (ct, secret) = receiver.public().encapsulate().expect("a valid key");
    let out = sealed(&secret.keys(&Hash::ZERO).to_service);
    for at in (0..ct.len()).step_by(37) {
        let mut changed = ct;
        changed[at] ^= 1;
        let opened = receiver.decapsulate(&changed).and_then(|secret| {
            let keys = secret.keys(&Hash::ZERO);
            keys.to_service.open(AT, b"header", &out[6..])
        });
        assert!(opened.is_err(), "byte {at}");
    }
    assert!(receiver.decapsulate(&ct[1..]).is_err());
}

#[test]
fn a_public_key_is_checked_when_it_is_read() {
    let public = CallReceiver::generate(&SeededRandom::new(3)).public();
    assert_eq!(
        CallPublic::from_bytes(public.as_bytes()),
        Ok(public.clone())
    );
    assert!(matches!(
        CallPublic::from_bytes(&[0; 5]),
        Err(KeyError::Length { got: 5, .. })
    ));
    assert_eq!(
        CallPublic::from_bytes(&[0xff; CALL_PUBLIC_BYTES]),
        Err(KeyError::NotReduced)
    );
}

/// Keys and sealing are format: this frame may never come out otherwise. The encapsulation is one that nobody made, which ML-KEM answers with a secret that
/// follows from the key alone.
#[test]
fn a_sealed_message_has_its_bytes_for_ever() {
    let receiver = CallReceiver::generate(&SeededRandom::new(1));
    let secret = receiver.decapsulate(&[7; CALL_CT_BYTES]).expect("bytes");
    let keys = secret.keys(&Hash([1; 32]));
    let hash = |key: &CallKey| crate::hash::sha256(&[&sealed(key)]).to_string();
    assert_eq!(
        [hash(&keys.to_service), hash(&keys.to_caller)],
        [
            "b62862479357832626c7a4153db0c61483ba789e44ea593886edeade2ba6b211",
            "5abda077be423ecccb946b0f746cd78cde33bdf72dcb9128f7027691a1656d28"
        ]
    );
}

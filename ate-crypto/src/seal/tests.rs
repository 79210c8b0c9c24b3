//! A part opens with its key at its place, and nowhere else.

use super::*;
use crate::keys::ReadKey;
use crate::random::{Random, SeededRandom};

const HEAD: &[u8] = b"event head";

struct Setting {
    key: SealKey,
    ad: Vec<u8>,
    at: PartAt,
    sealed: Vec<u8>,
}

fn context(salt: &Salt, at: PartAt) -> Vec<u8> {
    let mut ad = vec![0xee; 3];
    PartContext {
        chain: &Hash([1; 32]),
        author: &KeyId([2; 32]),
        salt,
    }
    .ad(at, HEAD, &mut ad);
    ad
}

fn setting(part: Part, plaintext: &[u8]) -> Setting {
    let random = SeededRandom::new(1);
    let (read, salt) = (ReadKey::generate(&random), Salt::generate(&random));
    let at = PartAt { event: 7, part };
    let (key, ad) = (read.seal_key(&salt), context(&salt, at));
    let mut prefix = vec![0; part.random_bytes()];
    random.fill(&mut prefix);
    let mut sealed = Vec::new();
    key.seal(at, &ad, &prefix, plaintext, &mut sealed);
    Setting {
        key,
        ad,
        at,
        sealed,
    }
}

#[test]
fn a_part_opens_at_its_place() {
    for part in [Part::Meta, Part::Content] {
        for length in [0, 1, 15, 16, 200, 70_000] {
            let plaintext = vec![0xab; length];
            let mut s = setting(part, &plaintext);
            assert_eq!(s.sealed.len(), part.sealed_bytes(length));
            assert_eq!(s.key.open(s.at, &s.ad, &mut s.sealed), Ok(&plaintext[..]));
        }
    }
}

#[test]
fn sealing_appends() {
    let s = setting(Part::Content, b"one");
    let mut out = b"before".to_vec();
    s.key.seal(
        PartAt {
            event: 8,
            part: Part::Meta,
        },
        &s.ad,
        &[1; 16],
        b"two",
        &mut out,
    );
    assert_eq!(&out[..6], b"before");
    assert_eq!(out.len(), 6 + Part::Meta.sealed_bytes(3));
}

#[test]
fn another_place_key_or_head_is_refused() {
    let s = setting(Part::Content, b"plaintext");
    let open =
        |key: &SealKey, at, ad: &[u8]| key.open(at, ad, &mut s.sealed.clone()).map(<[u8]>::to_vec);
    assert_eq!(open(&s.key, s.at, &s.ad), Ok(b"plaintext".to_vec()));
    assert_eq!(
        open(&s.key, PartAt { event: 8, ..s.at }, &s.ad),
        Err(OpenError)
    );
    assert_eq!(
        open(
            &s.key,
            PartAt {
                part: Part::Meta,
                ..s.at
            },
            &s.ad
        ),
        Err(OpenError)
    );
    for at in 0..s.ad.len() {
        let mut ad = s.ad.clone();
        ad[at] ^= 1;
        assert_eq!(
            open(&s.key, s.at, &ad),
            Err(OpenError),
            "associated data byte {at}"
        );
    }
    let read = ReadKey::generate(&SeededRandom::new(1));
    assert_eq!(
        open(&read.seal_key(&Salt([0; 32])), s.at, &s.ad),
        Err(OpenError),
        "another salt"
    );
    let other = ReadKey::generate(&SeededRandom::new(2));
    assert_eq!(
        open(&other.seal_key(&Salt([0; 32])), s.at, &s.ad),
        Err(OpenError),
        "another read key"
    );
}

#[test]
fn every_flipped_bit_and_every_shorter_part_is_refused() {
    let s = setting(Part::Meta, b"a name");
    for at in 0..s.sealed.len() {
        for bit in 0..8 {
            let mut sealed = s.sealed.clone();
            sealed[at] ^= 1 << bit;
            assert_eq!(
                s.key.open(s.at, &s.ad, &mut sealed),
                Err(OpenError),
                "byte {at} bit {bit}"
            );
        }
    }
    for length in 0..s.sealed.len() {
        assert_eq!(
            s.key.open(s.at, &s.ad, &mut s.sealed[..length].to_vec()),
            Err(OpenError),
            "length {length}"
        );
    }
    let mut longer = s.sealed.clone();
    longer.push(0);
    assert_eq!(s.key.open(s.at, &s.ad, &mut longer), Err(OpenError));
}

/// A part sealed by somebody who leaves the random bytes out must not make the reader cut the plaintext at a wrong place.
#[test]
fn a_part_without_its_random_bytes_is_refused() {
    let s = setting(Part::Content, b"");
    let mut short = vec![1; 31];
    let tag = s.key.0.seal_in_place(s.at.nonce(), &s.ad, &mut short);
    short.extend_from_slice(&tag);
    assert_eq!(s.key.open(s.at, &s.ad, &mut short), Err(OpenError));
}

#[test]
fn nonce_and_associated_data_are_those_of_the_format() {
    let at = PartAt {
        event: 0x0403_0201,
        part: Part::Content,
    };
    assert_eq!(at.nonce(), [1, 2, 3, 4, 1, 0, 0, 0, 0, 1, 0, 0]);
    let expected = [
        &b"\x0bATE-part-v1\x01"[..],
        &[1; 32],
        &[2; 32],
        &[3; 32],
        &[1, 2, 3, 4],
        &[1],
        HEAD,
    ]
    .concat();
    assert_eq!(
        context(&Salt([3; 32]), at),
        expected,
        "what stood in the buffer is replaced"
    );
}

#[test]
fn nonces_are_different_for_different_places() {
    let mut seen = std::collections::HashSet::new();
    for event in (0..300).chain([65_535, 65_536, u32::MAX]) {
        for part in [Part::Meta, Part::Content] {
            assert!(seen.insert(PartAt { event, part }.nonce()));
        }
    }
}

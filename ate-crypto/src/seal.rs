//! Sealed parts of events.

use crate::aead::{Aead, TAG_BYTES};
use crate::error::OpenError;
use crate::hash::{Hash, push_tag};
use crate::keys::Salt;
use crate::suite::Suite;
use crate::who::KeyId;

const TAG_PART: &str = "ATE-part-v1";

/// Bytes by which a sealed part is longer than the random bytes and the plaintext together: the tag.
pub const SEAL_OVERHEAD: usize = TAG_BYTES;

/// Which part of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The name: small, travels with heads.
    Meta = 0,
    /// The value: may be large, fetched later, erased.
    Content = 1,
}

impl Part {
    /// Random bytes at the start of the sealed plaintext. They are destroyed with the part, so that nobody can confirm an
    /// erased body by guessing it.
    #[must_use]
    pub const fn random_bytes(self) -> usize {
        match self {
            Self::Meta => 16,
            Self::Content => 32,
        }
    }

    /// The id in nonces and associated data.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Bytes of the sealed form of a plaintext.
    #[must_use]
    pub const fn sealed_bytes(self, plaintext: usize) -> usize {
        self.random_bytes() + plaintext + SEAL_OVERHEAD
    }
}

/// The place of a part within its commit; it decides the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartAt {
    /// Index of the event in the commit.
    pub event: u32,
    /// Which part of it.
    pub part: Part,
}

impl PartAt {
    /// `event index u32 ‖ part u8 ‖ chunk u32 (0) ‖ last u8 (1) ‖ 0 ‖ 0`.
    fn nonce(self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.event.to_le_bytes());
        nonce[4] = self.part.id();
        nonce[9] = 1;
        nonce
    }
}

/// What is the same for all parts of one commit.
#[derive(Clone, Copy, Debug)]
pub struct PartContext<'a> {
    /// The chain; zero in a genesis commit.
    pub chain: &'a Hash,
    /// Who wrote the commit.
    pub author: &'a KeyId,
    /// The commit's salt.
    pub salt: &'a Salt,
}

impl PartContext<'_> {
    /// Writes the associated data of one part into `out`, replacing what was there: `T("ATE-part-v1") ‖ suite ‖ chain ‖ author
    /// ‖ salt ‖ event index ‖ part ‖ head`. `head` is the event head without its body hashes.
    pub fn ad(&self, at: PartAt, head: &[u8], out: &mut Vec<u8>) {
        out.clear();
        push_tag(out, TAG_PART);
        out.push(Suite::Hybrid1.id());
        out.extend_from_slice(&self.chain.0);
        out.extend_from_slice(&self.author.0);
        out.extend_from_slice(&self.salt.0);
        out.extend_from_slice(&at.event.to_le_bytes());
        out.push(at.part.id());
        out.extend_from_slice(head);
    }
}

/// The AES-256-GCM key of one (read key, commit). Since the key is fresh for every salt, the nonce may be the place.
///
/// The caller seals each place at most once under one salt; a changed commit takes a new salt. Wiped on drop.
pub struct SealKey(Aead);

impl SealKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Aead::new(key))
    }

    /// Appends the sealed form of `random ‖ plaintext` to `out`; its length is [`Part::sealed_bytes`].
    ///
    /// # Panics
    /// If `random` does not have [`Part::random_bytes`] bytes.
    pub fn seal(&self, at: PartAt, ad: &[u8], random: &[u8], plaintext: &[u8], out: &mut Vec<u8>) {
        assert_eq!(
            random.len(),
            at.part.random_bytes(),
            "a part begins with the random bytes of its kind"
        );
        out.reserve(at.part.sealed_bytes(plaintext.len()));
        let start = out.len();
        out.extend_from_slice(random);
        out.extend_from_slice(plaintext);
        let tag = self.0.seal_in_place(at.nonce(), ad, &mut out[start..]);
        out.extend_from_slice(&tag);
    }

    /// Opens a part in place and returns its plaintext without the random bytes. Callers check the part's hash from the
    /// verified head first: an opened part says nothing about who wrote it.
    ///
    /// # Errors
    /// [`OpenError`] if key, place, associated data or bytes differ; `sealed` is then worthless.
    pub fn open<'a>(
        &self,
        at: PartAt,
        ad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], OpenError> {
        if sealed.len() < at.part.sealed_bytes(0) {
            return Err(OpenError);
        }
        let opened = self.0.open_in_place(at.nonce(), ad, sealed)?;
        Ok(&opened[at.part.random_bytes()..])
    }
}

#[cfg(test)]
mod tests;

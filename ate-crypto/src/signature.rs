//! Hybrid signatures: two halves over one labelled message, both of which must hold.

use std::fmt;

use aws_lc_rs::signature::{ED25519, ML_DSA_65, VerificationAlgorithm};

use crate::error::BadSignature;
use crate::hash::sha256;
use crate::suite::Suite;
use crate::who::KeyId;

/// Bytes of an Ed25519 signature (RFC 8032).
pub(crate) const ED25519_BYTES: usize = 64;
/// Bytes of an ML-DSA-65 signature (FIPS 204, table 2).
pub(crate) const ML_DSA_BYTES: usize = 3309;
/// Bytes of a hybrid signature: Ed25519 `[64]` ‖ ML-DSA-65 `[3309]`.
pub const SIGNATURE_BYTES: usize = ED25519_BYTES + ML_DSA_BYTES;

/// First bytes of every message that an identity signs.
const LABEL: &[u8; 10] = b"ATE-sig-v1";
/// Bytes of that message: label, suite, purpose, key id, content hash.
pub(crate) const MESSAGE_BYTES: usize = LABEL.len() + 1 + 1 + 32 + 32;

/// What a signature is for. It stands inside the signed message, so that a signature made for one purpose is worthless for
/// every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// The root of a batch of commits.
    Batch = 1,
    /// That this identity speaks on one network connection: the content begins with the connection's binding.
    Channel = 2,
    /// That this identity serves calls, or opens a session of calls.
    Call = 3,
}

impl Purpose {
    /// The id in the signed message.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }
}

/// A hybrid signature as it was made or read. Holding one says nothing: see [`Who::verify`](crate::Who::verify).
#[derive(Clone, PartialEq, Eq)]
pub struct Signature(Box<[u8; SIGNATURE_BYTES]>);

impl Signature {
    /// Reads a signature; only its length is checked here.
    ///
    /// # Errors
    /// [`BadSignature`] unless `bytes` has [`SIGNATURE_BYTES`] bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, BadSignature> {
        let boxed: Box<[u8]> = if bytes.len() == SIGNATURE_BYTES {
            bytes.into()
        } else {
            return Err(BadSignature);
        };
        boxed.try_into().map(Self).map_err(|_| BadSignature)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.0
    }

    /// Joins two halves made over one message.
    pub(crate) fn join(ed25519: &[u8], ml_dsa: impl FnOnce(&mut [u8])) -> Self {
        let mut bytes = vec![0; SIGNATURE_BYTES];
        bytes[..ED25519_BYTES].copy_from_slice(ed25519);
        ml_dsa(&mut bytes[ED25519_BYTES..]);
        Self(
            bytes
                .into_boxed_slice()
                .try_into()
                .expect("the length was given one line above"),
        )
    }
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        &self.0[..]
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = BadSignature;

    fn try_from(bytes: &[u8]) -> Result<Self, BadSignature> {
        Self::from_slice(bytes)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:?})", sha256(&[&self.0[..]]))
    }
}

/// The message both halves sign: `"ATE-sig-v1" ‖ suite ‖ purpose ‖ key id ‖ SHA-256(content)`.
///
/// The key id binds both public keys, so neither half can be moved under another partner key; the hash keeps the provider's
/// work independent of the content's length and lets the content be anything.
pub(crate) fn message(
    suite: Suite,
    purpose: Purpose,
    key: &KeyId,
    content: &[u8],
) -> [u8; MESSAGE_BYTES] {
    let mut message = [0; MESSAGE_BYTES];
    let (label, rest) = message.split_at_mut(LABEL.len());
    label.copy_from_slice(LABEL);
    rest[0] = suite.id();
    rest[1] = purpose.id();
    rest[2..34].copy_from_slice(&key.0);
    rest[34..].copy_from_slice(&sha256(&[content]).0);
    message
}

/// Verifies one Ed25519 signature. Decoding the key takes no measurable part of the time, so nothing is cached.
///
/// What is accepted is a validity rule of every chain; it is pinned by tests: `S` below the group order, `R` compared as bytes,
/// no cofactor, no batching.
pub(crate) fn verify_ed25519(
    key: &[u8; 32],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    if signature.len() != ED25519_BYTES {
        return Err(BadSignature);
    }
    ED25519
        .verify_sig(key, message, signature)
        .map_err(|_| BadSignature)
}

/// Verifies one ML-DSA-65 signature with the empty context.
pub(crate) fn verify_ml_dsa(
    key: &[u8; 1952],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    if signature.len() != ML_DSA_BYTES {
        return Err(BadSignature);
    }
    ML_DSA_65
        .verify_sig(key, message, signature)
        .map_err(|_| BadSignature)
}

#[cfg(test)]
mod tests;

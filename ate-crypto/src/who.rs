//! The public half of an identity and its short name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{BadSignature, KeyError, TextError};
use crate::hash::{parse_hex, tagged, write_hex};
use crate::signature::{ED25519_BYTES, Purpose, Signature, message, verify_ed25519, verify_ml_dsa};
use crate::suite::Suite;
use crate::xwing;

const TAG_KEY: &str = "ATE-key-v1";
const TAG_TEXT: &str = "ATE-id-text-v1";
const KEY_PREFIX: &str = "ate-key:";
const WHO_PREFIX: &str = "ate-id:";
const CHECK_BYTES: usize = 4;

const ED25519_AT: usize = 1;
const ML_DSA_AT: usize = ED25519_AT + 32;
const XWING_AT: usize = ML_DSA_AT + 1952;

/// Bytes of a public identity: suite `[1]` ‖ Ed25519 `[32]` ‖ ML-DSA-65 `[1952]` ‖ X-Wing `[1216]`.
pub const WHO_BYTES: usize = XWING_AT + xwing::PUBLIC_BYTES;
const _: () = assert!(WHO_BYTES == 3201);

/// Characters of a public identity in base64url without padding.
const WHO_TEXT: usize = ((WHO_BYTES + CHECK_BYTES) * 4).div_ceil(3);

/// The name of an identity: SHA-256 over its suite and both signature keys. Prints as `ate-key:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 32]);

impl KeyId {
    /// The first eight hex digits, for people to tell a few keys apart. Never enough to trust a key by.
    #[must_use]
    pub fn short(&self) -> String {
        let [a, b, c, d, ..] = self.0;
        format!("{a:02x}{b:02x}{c:02x}{d:02x}")
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl AsRef<[u8]> for KeyId {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(KEY_PREFIX)?;
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KEY_PREFIX}{}…", self.short())
    }
}

impl FromStr for KeyId {
    type Err = TextError;

    /// Reads the printed form or the 64 digits alone.
    fn from_str(text: &str) -> Result<Self, TextError> {
        parse_hex(text.strip_prefix(KEY_PREFIX).unwrap_or(text)).map(Self)
    }
}

/// The public half of an identity: what others need to check its signatures and to wrap keys for it. Cheap to clone.
///
/// A value of this type has the right length, a known suite and a reduced ML-KEM key; it does not mean that anybody holds the
/// secret half.
#[derive(Clone)]
pub struct Who(Arc<Inner>);

struct Inner {
    id: KeyId,
    bytes: [u8; WHO_BYTES],
}

impl Who {
    /// Reads a public identity.
    ///
    /// # Errors
    /// [`KeyError`] for a wrong length, an unknown suite, or an ML-KEM key that FIPS 203 does not allow.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; WHO_BYTES] = bytes.try_into().map_err(|_| KeyError::Length {
            expected: WHO_BYTES,
            got: bytes.len(),
        })?;
        let suite = Suite::try_from(bytes[0])?;
        let who = Self(Arc::new(Inner {
            id: key_id(suite, &bytes[ED25519_AT..XWING_AT]),
            bytes,
        }));
        if !xwing::is_reduced(who.xwing_key()) {
            return Err(KeyError::NotReduced);
        }
        Ok(who)
    }

    /// Puts the three public keys of one identity together.
    pub(crate) fn from_keys(suite: Suite, ed25519: &[u8], ml_dsa: &[u8], xwing: &[u8]) -> Self {
        let mut bytes = [0; WHO_BYTES];
        bytes[0] = suite.id();
        bytes[ED25519_AT..ML_DSA_AT].copy_from_slice(ed25519);
        bytes[ML_DSA_AT..XWING_AT].copy_from_slice(ml_dsa);
        bytes[XWING_AT..].copy_from_slice(xwing);
        Self(Arc::new(Inner {
            id: key_id(suite, &bytes[ED25519_AT..XWING_AT]),
            bytes,
        }))
    }

    /// The bytes that stand in a chain.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.bytes.to_vec()
    }

    /// The same bytes, borrowed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; WHO_BYTES] {
        &self.0.bytes
    }

    /// The name of this identity. It covers the suite and both signature keys, **not the wrap key**: before keys are wrapped
    /// for somebody, the whole `Who` must come from a source that is trusted for it (an event that its owner signed, or its
    /// text form from its owner), not merely one with the right key id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.0.id
    }

    /// The algorithms of this identity.
    #[must_use]
    pub fn suite(&self) -> Suite {
        Suite::Hybrid1
    }

    /// Checks that this identity signed `content` for `purpose`: both halves must hold. The classical half is checked first;
    /// two signature checks, about 80 µs together, and one SHA-256 pass over `content`.
    ///
    /// # Errors
    /// [`BadSignature`], without saying which half failed.
    pub fn verify(
        &self,
        purpose: Purpose,
        content: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let message = message(self.suite(), purpose, &self.0.id, content);
        let (ed25519, ml_dsa) = signature.as_bytes().split_at(ED25519_BYTES);
        verify_ed25519(self.ed25519_key(), &message, ed25519)?;
        #[cfg(ate_planted)]
        if crate::planted("skip-signature-half") {
            return Ok(());
        }
        verify_ml_dsa(self.ml_dsa_key(), &message, ml_dsa)
    }

    fn ed25519_key(&self) -> &[u8; 32] {
        self.part::<ED25519_AT, 32>()
    }

    fn ml_dsa_key(&self) -> &[u8; 1952] {
        self.part::<ML_DSA_AT, 1952>()
    }

    pub(crate) fn xwing_key(&self) -> &[u8; xwing::PUBLIC_BYTES] {
        self.part::<XWING_AT, { xwing::PUBLIC_BYTES }>()
    }

    fn part<const AT: usize, const BYTES: usize>(&self) -> &[u8; BYTES] {
        const { assert!(AT + BYTES <= WHO_BYTES, "a part lies inside the identity") };
        self.0.bytes[AT..AT + BYTES]
            .try_into()
            .expect("the range has the length of the array")
    }
}

fn key_id(suite: Suite, signature_keys: &[u8]) -> KeyId {
    KeyId(tagged(TAG_KEY, &[&[suite.id()], signature_keys]).0)
}

impl PartialEq for Who {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.bytes == other.0.bytes
    }
}

impl Eq for Who {}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Who({:?})", self.0.id)
    }
}

impl fmt::Display for Who {
    /// `ate-id:` and base64url of the bytes with four check bytes: about 4300 characters, to be copied, not typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.to_bytes();
        bytes.extend_from_slice(&text_check(&self.0.bytes));
        write!(f, "{WHO_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Who {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let body = text.strip_prefix(WHO_PREFIX).ok_or(TextError::Prefix {
            expected: WHO_PREFIX,
        })?;
        if body.len() != WHO_TEXT {
            return Err(TextError::Length {
                expected: WHO_TEXT,
                got: body.chars().count(),
            }
            .into());
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| TextError::Alphabet)?;
        let (bytes, check) = bytes
            .split_at_checked(WHO_BYTES)
            .ok_or(TextError::Alphabet)?;
        if check != text_check(bytes) {
            return Err(TextError::Check.into());
        }
        Self::from_bytes(bytes)
    }
}

fn text_check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, ..] = tagged(TAG_TEXT, &[bytes]).0;
    [a, b, c, d]
}

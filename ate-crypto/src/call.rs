//! Keys of a call session: two parties, one key for each direction, from one encapsulation.

use std::fmt;

use zeroize::Zeroizing;

use crate::aead::{Aead, TAG_BYTES};
use crate::error::{KeyError, OpenError};
use crate::hash::Hash;
use crate::kdf::Prf;
use crate::random::{Random, array};
use crate::suite::Suite;
use crate::xwing;

const TAG_CALL: &str = "ATE-call-v1";

/// Bytes of the key to which a caller encapsulates: an X-Wing public key.
pub const CALL_PUBLIC_BYTES: usize = xwing::PUBLIC_BYTES;
const _: () = assert!(CALL_PUBLIC_BYTES == 1216);
/// Bytes of the encapsulation in an opening.
pub const CALL_CT_BYTES: usize = xwing::CIPHERTEXT_BYTES;
const _: () = assert!(CALL_CT_BYTES == 1120);
/// Bytes by which a sealed message of a call is longer than its plaintext.
pub const CALL_SEAL_OVERHEAD: usize = TAG_BYTES;

/// The public half of a [`CallReceiver`]: it can keep a secret, and says nothing about who holds the other half.
#[derive(Clone, PartialEq, Eq)]
pub struct CallPublic(Box<[u8; CALL_PUBLIC_BYTES]>);

impl CallPublic {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`KeyError`] for a wrong length or an ML-KEM part that FIPS 203 does not allow.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let key: [u8; CALL_PUBLIC_BYTES] = bytes.try_into().map_err(|_| KeyError::Length {
            expected: CALL_PUBLIC_BYTES,
            got: bytes.len(),
        })?;
        if !xwing::is_reduced(&key) {
            return Err(KeyError::NotReduced);
        }
        Ok(Self(Box::new(key)))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; CALL_PUBLIC_BYTES] {
        &self.0
    }

    /// A fresh secret for the holder of the other half, and what tells it to them. Costs about 60 µs.
    ///
    /// # Errors
    /// [`KeyError::LowOrder`] if this key cannot keep a secret.
    pub fn encapsulate(&self) -> Result<([u8; CALL_CT_BYTES], CallSecret), KeyError> {
        let (ct, shared) = xwing::encapsulate(&self.0).map_err(|_| KeyError::LowOrder)?;
        Ok((*ct, CallSecret(shared)))
    }
}

impl fmt::Debug for CallPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallPublic({:?})", crate::hash::sha256(&[&self.0[..]]))
    }
}

/// A key pair that receives call sessions for a while. It is made fresh for each announcement and forgotten with it, so that whoever steals a service's
/// identity later cannot open the sessions of before.
pub struct CallReceiver(xwing::Secret);

impl CallReceiver {
    /// A new pair; costs about 60 µs.
    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(array(random));
        Self(xwing::Secret::from_seed(&seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> CallPublic {
        CallPublic(Box::new(*self.0.public()))
    }

    /// The secret of a caller's encapsulation. Changed bytes may give another secret and no error: what is sealed under the result shows it.
    /// Costs about 55 µs.
    ///
    /// # Errors
    /// [`OpenError`] for a wrong length, or bytes that no caller makes.
    pub fn decapsulate(&self, ct: &[u8]) -> Result<CallSecret, OpenError> {
        let ct: &[u8; CALL_CT_BYTES] = ct.try_into().map_err(|_| OpenError)?;
        self.0
            .decapsulate(ct)
            .map(CallSecret)
            .map_err(|_| OpenError)
    }
}

/// What both parties of a session share before it is bound to what they said.
pub struct CallSecret(xwing::Shared);

impl CallSecret {
    /// The keys of both directions. `transcript` is the hash of everything that was said at the opening: parties that heard different things get
    /// different keys.
    #[must_use]
    pub fn keys(&self, transcript: &Hash) -> CallKeys {
        let prf = Prf::extract(b"", &self.0[..]);
        let key = |direction: u8| {
            let parts: &[&[u8]] = &[&[Suite::Hybrid1.id(), direction], &transcript.0];
            CallKey(Aead::new(&Zeroizing::new(
                prf.expand_tagged(TAG_CALL, parts),
            )))
        };
        CallKeys {
            to_service: key(1),
            to_caller: key(2),
        }
    }
}

/// The two keys of a session. What was sealed in one direction does not open in the other.
pub struct CallKeys {
    /// Seals what the caller says.
    pub to_service: CallKey,
    /// Seals what the service says.
    pub to_caller: CallKey,
}

/// The place of a message within one direction of a session; it is the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallPlace {
    /// Number of the call.
    pub call: u64,
    /// Number of the message within the call and direction.
    pub index: u32,
}

impl CallPlace {
    /// `call u64 ‖ index u32`.
    fn nonce(self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.call.to_le_bytes());
        nonce[8..].copy_from_slice(&self.index.to_le_bytes());
        nonce
    }
}

/// The AES-256-GCM key of one direction of one session. **The owner seals each place once**; wiped on drop.
pub struct CallKey(Aead);

impl CallKey {
    /// Appends the sealed form of `plaintext` to `out`, which holds the associated data: everything in `out` so far is authenticated with it.
    pub fn seal_behind(&self, at: CallPlace, plaintext: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + plaintext.len() + CALL_SEAL_OVERHEAD, 0);
        let (ad, sealed) = out.split_at_mut(start);
        self.0.seal_into(at.nonce(), ad, plaintext, sealed);
    }

    /// Opens what was sealed at this place behind this associated data.
    ///
    /// # Errors
    /// [`OpenError`] for another session, direction, place or associated data, or changed bytes.
    pub fn open(&self, at: CallPlace, ad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let length = sealed
            .len()
            .checked_sub(CALL_SEAL_OVERHEAD)
            .ok_or(OpenError)?;
        let mut out = vec![0; length];
        self.0.open_into(at.nonce(), ad, sealed, &mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests;

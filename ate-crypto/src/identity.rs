//! The secret half of an identity.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair};
use zeroize::Zeroizing;

use crate::error::OpenError;
use crate::kdf::Prf;
use crate::keys::{NameKey, ReadKey, StoreKey};
use crate::node_key::NodeKey;
use crate::note::NoteKeys;
use crate::seed::Seed;
use crate::signature::{Purpose, Signature, message};
use crate::suite::Suite;
use crate::who::{KeyId, Who};
use crate::wrap::{self, WrapInfo};
use crate::xwing;

/// Salt of the extraction that turns a seed into the identity's root key.
const SALT: &[u8] = b"ATE-identity-v1";

/// All keys of one person, device or service, derived from one [`Seed`]. Cheap to clone; the keys are wiped when the last
/// clone goes. Has no `Debug` and no serialised form: store the seed.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    root: Prf,
    ed25519: Ed25519KeyPair,
    ml_dsa: PqdsaKeyPair,
    xwing: xwing::Secret,
    who: Who,
    #[cfg(feature = "__reproducible")]
    ml_dsa_again: std::sync::OnceLock<ml_dsa::SigningKey<ml_dsa::MlDsa65>>,
}

#[cfg(feature = "__reproducible")]
impl Inner {
    /// The variant of FIPS 204 without hedging, which the provider does not offer.
    fn sign_ml_dsa_again(&self, message: &[u8]) -> ml_dsa::EncodedSignature<ml_dsa::MlDsa65> {
        use ml_dsa::Signer;
        let key = self.ml_dsa_again.get_or_init(|| {
            let seed = Zeroizing::new(self.root.expand(b"sign/ml-dsa-65"));
            ml_dsa::SigningKey::from_seed(&(*seed).into())
        });
        key.sign(message).encode()
    }
}

impl Identity {
    /// Derives the keys: the same seed always gives the same identity. Costs about 0.2 ms.
    ///
    /// # Panics
    /// Only if the provider refuses a 32-byte seed, which none of the three algorithms can.
    #[must_use]
    pub fn from_seed(seed: &Seed) -> Self {
        let root = Prf::extract(SALT, seed.expose());
        let key = |label: &str| Zeroizing::new(root.expand(label.as_bytes()));
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(&key("sign/ed25519")[..])
            .expect("any 32 bytes are an Ed25519 seed");
        let ml_dsa = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &key("sign/ml-dsa-65")[..])
            .expect("any 32 bytes are an ML-DSA seed");
        let xwing = xwing::Secret::from_seed(&key("kem/x-wing"));
        let who = Who::from_keys(
            Suite::Hybrid1,
            ed25519.public_key().as_ref(),
            ml_dsa.public_key().as_ref(),
            xwing.public(),
        );
        Self(Arc::new(Inner {
            root,
            ed25519,
            ml_dsa,
            xwing,
            who,
            #[cfg(feature = "__reproducible")]
            ml_dsa_again: std::sync::OnceLock::new(),
        }))
    }

    /// The public half.
    #[must_use]
    pub fn who(&self) -> &Who {
        &self.0.who
    }

    /// The name of this identity.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.0.who.id()
    }

    /// Signs `content` for `purpose` with both halves; about 0.15 ms. The ML-DSA half is hedged: two calls give two
    /// signatures, both valid, so nothing may hash signature bytes.
    ///
    /// # Panics
    /// If the provider cannot sign, which means that the system gives it no randomness.
    #[must_use]
    pub fn sign(&self, purpose: Purpose, content: &[u8]) -> Signature {
        let message = message(self.0.who.suite(), purpose, &self.id(), content);
        let ed25519 = self.0.ed25519.sign(&message);
        #[cfg(feature = "__reproducible")]
        if crate::reproducible::is_on() {
            return Signature::join(ed25519.as_ref(), |half| {
                half.copy_from_slice(&self.0.sign_ml_dsa_again(&message));
            });
        }
        Signature::join(ed25519.as_ref(), |half| {
            let written = self
                .0
                .ml_dsa
                .sign(&message, half)
                .expect("the provider has randomness");
            assert_eq!(written, half.len(), "an ML-DSA-65 signature has one length");
        })
    }

    /// Opens the keys of a scope that were wrapped for this identity. Costs about 55 µs.
    ///
    /// # Errors
    /// One [`OpenError`] for every cause: wrong lengths, another recipient, chain, scope or epoch, changed bytes.
    pub fn unwrap_keys(
        &self,
        info: &WrapInfo<'_>,
        ct: &[u8],
        sealed: &[u8],
    ) -> Result<(ReadKey, NameKey), OpenError> {
        wrap::unwrap(&self.0.xwing, &self.id(), info, ct, sealed)
    }

    /// The keys that sign checkpoints. They are separate from the signing keys and follow C2SP, so no note can pass for a
    /// batch signature. Derived at each call (about 60 µs): keep the result.
    #[must_use]
    pub fn note_keys(&self) -> NoteKeys {
        NoteKeys::from_seeds(&self.derive("note/ed25519"), &self.derive("note/ml-dsa-65"))
    }

    /// The key with which a node that runs under this identity answers in handshakes. It is separate from the signing keys, so no handshake can yield a signature
    /// of the format. Derived at each call (about 40 µs): keep the result.
    #[must_use]
    pub fn node_key(&self) -> NodeKey {
        NodeKey::from_seed(&self.derive("net/ml-dsa-65"))
    }

    /// The key of this identity's local sealed files.
    #[must_use]
    pub fn store_key(&self) -> StoreKey {
        StoreKey::from_bytes(*self.derive("store"))
    }

    fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.root.expand(label.as_bytes()))
    }
}

#[cfg(test)]
mod tests;

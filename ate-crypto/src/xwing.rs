//! X-Wing: X25519 and ML-KEM-768 as one KEM (draft-connolly-cfrg-xwing-kem-11). A shared secret stays secret as long as one of
//! the two holds.

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::kem::{self, Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use ml_kem::array::Array;
use ml_kem::{KeyExport, MlKem768};
use sha3::{Digest, Sha3_256};
use shake::{ExtendableOutput, Shake256, Update, XofReader};
use zeroize::Zeroizing;

const ML_KEM_PUBLIC: usize = 1184;
const ML_KEM_CIPHERTEXT: usize = 1088;
/// Bytes of a public key: ML-KEM-768 `[1184]` ‖ X25519 `[32]`.
pub(crate) const PUBLIC_BYTES: usize = ML_KEM_PUBLIC + 32;
/// Bytes of a ciphertext: ML-KEM-768 `[1088]` ‖ X25519 `[32]`.
pub(crate) const CIPHERTEXT_BYTES: usize = ML_KEM_CIPHERTEXT + 32;

/// The label of the combiner: the six characters `\./` and `/^\`.
const LABEL: &[u8; 6] = br"\.//^\";

/// The modulus of ML-KEM.
const MODULUS: u16 = 3329;

/// A shared secret, wiped on drop.
pub(crate) type Shared = Zeroizing<[u8; 32]>;

/// A decapsulation key, ready for use.
pub(crate) struct Secret {
    ml_kem: DecapsulationKey,
    x25519: PrivateKey,
    public: Box<[u8; PUBLIC_BYTES]>,
}

impl Secret {
    /// Expands a 32-byte seed. ML-KEM keys come from the `ml-kem` crate, since the provider cannot generate from a seed, and
    /// are imported into the provider, which is faster and hardened at decapsulation. Only keys made here are ever imported.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        let mut expanded = Zeroizing::new([0u8; 96]);
        let mut shake = Shake256::default();
        shake.update(seed);
        shake.finalize_xof().read(&mut expanded[..]);

        let (ml_kem, encapsulation) =
            import_ml_kem(expanded[..64].try_into().expect("64 of 96 bytes"));
        let x25519 = PrivateKey::from_private_key(&X25519, &expanded[64..])
            .expect("any 32 bytes are an X25519 private key");
        let point = x25519
            .compute_public_key()
            .expect("a public key follows from every private key");
        let mut public = Box::new([0; PUBLIC_BYTES]);
        public[..ML_KEM_PUBLIC].copy_from_slice(&encapsulation);
        public[ML_KEM_PUBLIC..].copy_from_slice(point.as_ref());
        Self {
            ml_kem,
            x25519,
            public,
        }
    }

    /// The public key.
    pub(crate) fn public(&self) -> &[u8; PUBLIC_BYTES] {
        &self.public
    }

    /// The shared secret of a ciphertext. A changed ML-KEM part gives another secret and no error (implicit rejection), so
    /// whatever is sealed under the result must be authenticated.
    ///
    /// # Errors
    /// If the X25519 part has low order.
    pub(crate) fn decapsulate(
        &self,
        ciphertext: &[u8; CIPHERTEXT_BYTES],
    ) -> Result<Shared, Unspecified> {
        let (ct_m, ct_x) = ciphertext.split_at(ML_KEM_CIPHERTEXT);
        let ss_m = self.ml_kem.decapsulate(Ciphertext::from(ct_m))?;
        agree(&self.x25519, ct_x, |ss_x| {
            combine(ss_m.as_ref(), ss_x, ct_x, &self.public[ML_KEM_PUBLIC..])
        })
    }
}

/// A fresh shared secret and its ciphertext for the holder of `public`. The randomness comes from inside the provider.
///
/// # Errors
/// If the X25519 part of the key has low order, or the provider refuses the ML-KEM part.
pub(crate) fn encapsulate(
    public: &[u8; PUBLIC_BYTES],
) -> Result<(Box<[u8; CIPHERTEXT_BYTES]>, Shared), Unspecified> {
    #[cfg(feature = "__reproducible")]
    if let Some(seeds) = crate::reproducible::draw().zip(crate::reproducible::draw()) {
        return encapsulate_from(public, seeds);
    }
    let (pk_m, pk_x) = public.split_at(ML_KEM_PUBLIC);
    let (ct_m, ss_m) =
        EncapsulationKey::<kem::AlgorithmId>::new(&ML_KEM_768, pk_m)?.encapsulate()?;
    let ephemeral = PrivateKey::generate(&X25519)?;
    let ct_x = ephemeral.compute_public_key()?;
    let shared = agree(&ephemeral, pk_x, |ss_x| {
        combine(ss_m.as_ref(), ss_x, ct_x.as_ref(), pk_x)
    })?;
    let mut ciphertext = Box::new([0; CIPHERTEXT_BYTES]);
    ciphertext[..ML_KEM_CIPHERTEXT].copy_from_slice(ct_m.as_ref());
    ciphertext[ML_KEM_CIPHERTEXT..].copy_from_slice(ct_x.as_ref());
    Ok((ciphertext, shared))
}

/// As [`encapsulate`], with the randomness of the ML-KEM and of the X25519 part given.
#[cfg(feature = "__reproducible")]
fn encapsulate_from(
    public: &[u8; PUBLIC_BYTES],
    (seed_m, seed_x): ([u8; 32], [u8; 32]),
) -> Result<(Box<[u8; CIPHERTEXT_BYTES]>, Shared), Unspecified> {
    let (pk_m, pk_x) = public.split_at(ML_KEM_PUBLIC);
    let pk_m: [u8; ML_KEM_PUBLIC] = pk_m.try_into().map_err(|_| Unspecified)?;
    let key = ml_kem::EncapsulationKey::<MlKem768>::new(&pk_m.into()).map_err(|_| Unspecified)?;
    let (ct_m, ss_m) = key.encapsulate_deterministic(&seed_m.into());
    let ephemeral = PrivateKey::from_private_key(&X25519, &seed_x).map_err(|_| Unspecified)?;
    let ct_x = ephemeral.compute_public_key()?;
    let shared = agree(&ephemeral, pk_x, |ss_x| {
        combine(&ss_m, ss_x, ct_x.as_ref(), pk_x)
    })?;
    let mut ciphertext = Box::new([0; CIPHERTEXT_BYTES]);
    ciphertext[..ML_KEM_CIPHERTEXT].copy_from_slice(&ct_m);
    ciphertext[ML_KEM_CIPHERTEXT..].copy_from_slice(ct_x.as_ref());
    Ok((ciphertext, shared))
}

/// The modulus check of FIPS 203, section 7.2: each of the 768 coefficients of 12 bits is below 3329. Done here and not left
/// to the provider, because which keys a chain may introduce must not depend on it.
pub(crate) fn is_reduced(public: &[u8; PUBLIC_BYTES]) -> bool {
    public[..ML_KEM_PUBLIC - 32].chunks_exact(3).all(|three| {
        let low = u16::from(three[0]) | u16::from(three[1] & 0x0f) << 8;
        let high = u16::from(three[1] >> 4) | u16::from(three[2]) << 4;
        low < MODULUS && high < MODULUS
    })
}

/// `SHA3-256(ss_M ‖ ss_X ‖ ct_X ‖ pk_X ‖ label)`.
fn combine(ss_m: &[u8], ss_x: &[u8], ct_x: &[u8], pk_x: &[u8]) -> Shared {
    let mut hasher = Sha3_256::new();
    for part in [ss_m, ss_x, ct_x, pk_x, LABEL] {
        Digest::update(&mut hasher, part);
    }
    Zeroizing::new(hasher.finalize().into())
}

/// X25519. The provider refuses a result of all zeros (RFC 7748, section 6.1); it is checked again because a secret that
/// anybody knows must never pass.
fn agree(
    mine: &PrivateKey,
    theirs: &[u8],
    then: impl FnOnce(&[u8]) -> Shared,
) -> Result<Shared, Unspecified> {
    agreement::agree(
        mine,
        UnparsedPublicKey::new(&X25519, theirs),
        Unspecified,
        |secret| {
            if secret.iter().fold(0, |any, byte| any | byte) == 0 {
                Err(Unspecified)
            } else {
                Ok(then(secret))
            }
        },
    )
}

/// The provider's key for the seed `(d, z)` of FIPS 203, with its public key.
fn import_ml_kem(seed: &[u8; 64]) -> (DecapsulationKey, [u8; ML_KEM_PUBLIC]) {
    let seed = Zeroizing::new(Array::from(*seed));
    let generated = ml_kem::DecapsulationKey::<MlKem768>::from_seed(*seed);
    let expanded = expanded_ml_kem(&generated);
    let key = DecapsulationKey::new(&ML_KEM_768, &expanded[..])
        .expect("the expanded form has the length of the standard");
    (key, generated.encapsulation_key().to_bytes().into())
}

#[expect(
    deprecated,
    reason = "the expanded form is the only one that the provider imports; it never leaves this process"
)]
fn expanded_ml_kem(key: &ml_kem::DecapsulationKey<MlKem768>) -> Zeroizing<[u8; 2400]> {
    use ml_kem::ExpandedKeyEncoding;
    Zeroizing::new(key.to_expanded_bytes().into())
}

#[cfg(test)]
mod tests;

//! The key with which a node proves in a TLS handshake who it is.

use aws_lc_rs::signature::{KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair};
use zeroize::Zeroizing;

use crate::kdf::Prf;

/// Bytes of the public key as a handshake shows it: a `SubjectPublicKeyInfo` (RFC 9881, section 4).
pub const NODE_KEY_BYTES: usize = SPKI_PREFIX.len() + 1952;
/// Bytes of the private key: a `OneAsymmetricKey` with the seed alone (RFC 9881, section 6).
const PKCS8_BYTES: usize = PKCS8_PREFIX.len() + 32;

/// Salt of the extraction that turns the seed into further secrets.
const SALT: &[u8] = b"ATE-node-key-v1";

/// DER before the 1952 bytes of the key: SEQUENCE { SEQUENCE { id-ml-dsa-65 }, BIT STRING.
const SPKI_PREFIX: [u8; 22] = [
    0x30, 0x82, 0x07, 0xb2, // SEQUENCE, 1970 bytes
    0x30, 0x0b, 0x06, 0x09, // SEQUENCE, OBJECT IDENTIFIER
    0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12, // 2.16.840.1.101.3.4.3.18
    0x03, 0x82, 0x07, 0xa1, 0x00, // BIT STRING, no unused bits
];
/// DER before the 32 bytes of the seed: SEQUENCE { INTEGER 0, SEQUENCE { id-ml-dsa-65 }, OCTET STRING { [0] seed.
const PKCS8_PREFIX: [u8; 22] = [
    0x30, 0x34, 0x02, 0x01, 0x00, // SEQUENCE, version 0
    0x30, 0x0b, 0x06, 0x09, // SEQUENCE, OBJECT IDENTIFIER
    0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12, // 2.16.840.1.101.3.4.3.18
    0x04, 0x22, 0x80, 0x20, // OCTET STRING, [0] of 32 bytes
];

/// The ML-DSA-65 key of a node, for the TLS handshakes in which it answers and for nothing else: the transcript of a handshake can pass for no signature of the
/// format. Wiped on drop; has no `Debug`, `Clone` or serialised form but the two below.
pub struct NodeKey {
    pkcs8: Zeroizing<[u8; PKCS8_BYTES]>,
    public: Box<[u8; NODE_KEY_BYTES]>,
}

impl NodeKey {
    /// The DER is written here and not by the provider, whose documents are not wiped.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, seed)
            .expect("any 32 bytes are an ML-DSA seed");
        let mut public = Box::new([0; NODE_KEY_BYTES]);
        let (prefix, key) = public.split_at_mut(SPKI_PREFIX.len());
        prefix.copy_from_slice(&SPKI_PREFIX);
        key.copy_from_slice(pair.public_key().as_ref());
        let mut pkcs8 = Zeroizing::new([0; PKCS8_BYTES]);
        let (prefix, rest) = pkcs8.split_at_mut(PKCS8_PREFIX.len());
        prefix.copy_from_slice(&PKCS8_PREFIX);
        rest.copy_from_slice(seed);
        Self { pkcs8, public }
    }

    /// The public key, a `SubjectPublicKeyInfo` in DER: what a handshake shows and what a node's name is the hash of.
    #[must_use]
    pub fn public_bytes(&self) -> &[u8; NODE_KEY_BYTES] {
        &self.public
    }

    /// The private key as PKCS#8 in DER, the form that a TLS library takes. Copies are the caller's to wipe.
    #[must_use]
    pub fn expose_pkcs8(&self) -> &[u8] {
        &self.pkcs8[..]
    }

    /// A secret that follows from the key and a label, for what a node must know again after a restart and nobody else may know, such as the tokens with which it disowns
    /// connections of its former life. HKDF-SHA-256 (RFC 5869). Copies are the caller's to wipe.
    #[must_use]
    pub fn expand(&self, label: &[u8]) -> [u8; 32] {
        Prf::extract(SALT, &self.pkcs8[PKCS8_PREFIX.len()..]).expand(label)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};

    use super::*;

    #[test]
    fn a_node_key_has_the_der_that_the_provider_reads_and_writes() {
        let key = NodeKey::from_seed(&[7; 32]);
        let read = PqdsaKeyPair::from_pkcs8(&ML_DSA_65_SIGNING, key.expose_pkcs8()).unwrap();
        assert_eq!(read.to_pkcs8v1().unwrap().as_ref(), key.expose_pkcs8());
        let public: PublicKeyX509Der<'_> = read.public_key().as_der().unwrap();
        assert_eq!(public.as_ref(), key.public_bytes());
    }

    #[test]
    fn further_secrets_follow_from_the_key_and_the_label() {
        let (key, other) = (NodeKey::from_seed(&[7; 32]), NodeKey::from_seed(&[8; 32]));
        assert_eq!(key.expand(b"a"), NodeKey::from_seed(&[7; 32]).expand(b"a"));
        assert_ne!(key.expand(b"a"), key.expand(b"b"));
        assert_ne!(key.expand(b"a"), other.expand(b"a"));
        assert_ne!(key.expand(b"a"), [7; 32]);
    }
}

//! The named sets of algorithms.

use crate::error::UnknownSuite;

/// A set of algorithms under one id. The id stands in every key, signature, sealed part and genesis, so that a second suite
/// never needs a guess or a fall-back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suite {
    /// Id 1. Signatures: Ed25519 and ML-DSA-65, both must hold. Key wrap: X-Wing (X25519 and ML-KEM-768). Sealing:
    /// AES-256-GCM. Hash and derivation: SHA-256, HKDF-SHA-256. Passphrase: Argon2id.
    Hybrid1,
}

impl Suite {
    /// The id on disk and on the wire.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::Hybrid1 => 1,
        }
    }
}

impl TryFrom<u8> for Suite {
    type Error = UnknownSuite;

    fn try_from(id: u8) -> Result<Self, UnknownSuite> {
        match id {
            1 => Ok(Self::Hybrid1),
            id => Err(UnknownSuite { id }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_but_one_is_refused_and_the_reserved_one_by_name() {
        assert_eq!(Suite::try_from(1), Ok(Suite::Hybrid1));
        for id in (0..=u8::MAX).filter(|id| *id != 1) {
            assert_eq!(Suite::try_from(id), Err(UnknownSuite { id }));
        }
        assert!(UnknownSuite { id: 2 }.to_string().contains("round3"));
    }
}

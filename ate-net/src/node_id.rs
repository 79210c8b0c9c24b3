//! The name of a node: a hash of the key that it proves to hold in every handshake.

use std::fmt;
use std::str::FromStr;

use ate_crypto::Hash;

/// `SHA-256(T("ATE-node-v1") ‖ key)`, where `key` is the node's public key as its handshake shows it (a `SubjectPublicKeyInfo`, RFC 7250, over QUIC).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub Hash);

impl NodeId {
    /// The name of the node that holds this key.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        Self(ate_crypto::tagged("ATE-node-v1", &[key]))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = <Hash as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

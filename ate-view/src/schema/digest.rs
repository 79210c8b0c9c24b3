//! The hash behind descriptor ids: the one place of the schema layer that names a hash function.

pub use ate_crypto::Hash;
pub(crate) use ate_crypto::sha256;

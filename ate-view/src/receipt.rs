//! What an acknowledged commit comes back with.

use ate_chain::{ChainId, Position};
use ate_crypto::Hash;

/// Who has the commit on stable storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Durability {
    /// This store.
    Local,
}

/// A commit is durable and part of the chain's one order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Chain.
    pub chain: ChainId,
    /// Commit id.
    pub commit: Hash,
    /// The state that includes it.
    pub position: Position,
    /// Merkle root at that position.
    pub root: Hash,
    /// The sequencer's time, in milliseconds since 1970.
    pub order_time_ms: u64,
    /// Who has it.
    pub durability: Durability,
}

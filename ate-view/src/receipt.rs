//! What an acknowledged commit comes back with.

use ate_chain::{ChainId, Position};
use ate_crypto::Hash;

/// Who has the commit on stable storage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Durability {
    /// This store. On a replica such a commit is staged: it outlives the process, and may still be refused where the order is made.
    Local,
    /// The node that orders the chain: it answered after its sync. Every receipt of a replica's commit says this.
    Server,
    /// Witnesses too, who have verified the order, hold it on stable storage and have signed it. Whoever wants it asks for it with
    /// [`Transaction::commit_to`](crate::Transaction::commit_to), in a store that names witnesses.
    Witnessed,
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

//! What a client remembers of the nodes that it follows, so that one which goes back, or tells two stories, is found out.

use ate_chain::ChainId;
use ate_crypto::Hash;

use crate::node_id::NodeId;

/// How far a node has said that a chain goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Commits.
    pub size: u64,
    /// Merkle root over them.
    pub root: Hash,
    /// The checkpoint that it signed, as a C2SP note, if its key is listed in the chain.
    pub note: Option<String>,
}

/// What does not fit together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// What was found.
    pub what: String,
    /// What the node had said before.
    pub before: Option<Kept>,
    /// What it says now.
    pub now: Option<Kept>,
}

/// Keeps what nodes have said. Methods may block on a disk.
pub trait Notebook: Send + Sync + 'static {
    /// The furthest that was kept of a chain at a node.
    fn kept(&self, chain: &ChainId, node: &NodeId) -> Option<Kept>;

    /// Keeps in the place of what was kept before.
    fn keep(&self, chain: &ChainId, node: &NodeId, kept: &Kept);

    /// Keeps evidence, beside all that was kept before.
    fn accuse(&self, chain: &ChainId, node: &NodeId, evidence: &Evidence);
}

/// Keeps nothing beyond this process.
#[derive(Clone, Copy, Default, Debug)]
pub struct Forgetful;

impl Notebook for Forgetful {
    fn kept(&self, _: &ChainId, _: &NodeId) -> Option<Kept> {
        None
    }

    fn keep(&self, _: &ChainId, _: &NodeId, _: &Kept) {}

    fn accuse(&self, _: &ChainId, _: &NodeId, _: &Evidence) {}
}

//! What nodes have said, kept in the store's directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ate_chain::ChainId;
use ate_net::{Evidence, Kept, NodeId, Notebook};

use crate::known_nodes::{KeptCheckpoint, KnownNodes};

/// The pages of a store. What cannot be kept is told in the log of the program: a replica goes on without.
pub(super) struct Pages {
    pub(super) known: Arc<KnownNodes>,
    /// Nodes that were found out, one for each time.
    pub(super) accused: Arc<AtomicU64>,
}

impl Notebook for Pages {
    fn kept(&self, chain: &ChainId, node: &NodeId) -> Option<Kept> {
        match self.known.kept(*node, *chain) {
            Ok(kept) => kept.map(|kept| Kept {
                size: kept.size,
                root: kept.root,
                note: Some(kept.note),
            }),
            Err(error) => {
                tracing::warn!(%chain, %node, %error, "the kept checkpoint cannot be read");
                None
            }
        }
    }

    /// Signed ones alone: what a node did not sign convinces nobody.
    fn keep(&self, chain: &ChainId, node: &NodeId, kept: &Kept) {
        let Some(checkpoint) = signed(kept) else {
            return;
        };
        if let Err(error) = self.known.keep(*node, *chain, &checkpoint) {
            tracing::warn!(%chain, %node, %error, "the checkpoint was not kept");
        }
    }

    fn accuse(&self, chain: &ChainId, node: &NodeId, evidence: &Evidence) {
        self.accused.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%chain, %node, what = %evidence.what, "evidence against a node");
        if let Some(shown) = evidence.now.as_ref().and_then(signed)
            && let Err(error) = self.known.accuse(*node, *chain, &shown)
        {
            tracing::error!(%chain, %node, %error, "the evidence was not kept");
        }
    }
}

fn signed(kept: &Kept) -> Option<KeptCheckpoint> {
    Some(KeptCheckpoint {
        size: kept.size,
        root: kept.root,
        note: kept.note.clone()?,
    })
}

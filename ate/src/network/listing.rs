//! The replicas of a store, for whoever looks.

use ate_chain::ChainId;
use ate_net::ChainAddress;

use super::ReplicaStatus;
use crate::known_nodes::KnownNodes;
use crate::store::Store;

/// A chain of this store that follows a node.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ReplicaInfo {
    /// Its id.
    pub chain: ChainId,
    /// The chain at its node; `None` if what the store has kept of it cannot be read. Then it follows nobody.
    pub address: Option<ChainAddress>,
    /// How it stands; `None` if it is not open, or in a store that is open for reading.
    pub status: Option<ReplicaStatus>,
}

impl Store {
    /// The chains of this store that follow nodes, in order of their ids. A chain that was never fetched may be among them.
    #[must_use]
    pub fn replicas(&self) -> Vec<ReplicaInfo> {
        let marked = self.inner.replicas.lock().clone();
        let mut infos: Vec<ReplicaInfo> = marked
            .into_iter()
            .map(|(chain, address)| ReplicaInfo {
                chain,
                address: address.parse().ok(),
                status: self
                    .inner
                    .chains
                    .if_open(&chain)
                    .and_then(|chain| self.inner.replica_status(&chain)),
            })
            .collect();
        infos.sort_unstable_by_key(|info| info.chain);
        infos
    }

    /// What this store remembers of nodes.
    #[must_use]
    pub fn known_nodes(&self) -> KnownNodes {
        match self.dir() {
            Some(dir) => KnownNodes::in_dir(dir),
            None => KnownNodes::in_memory(),
        }
    }
}

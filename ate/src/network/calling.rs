//! Calls of a store: over the node that a chain follows, or within the process.

use std::sync::Arc;

use ate_net::ChainAddress;
use ate_net::calls::CallPath;
use ate_view::Chain;

use crate::calls::{Calls, Home};
use crate::error::Error;
use crate::inner::StoreInner;
use crate::store::Store;

impl Store {
    /// Calls of the chain's identity on a chain of this store.
    ///
    /// If the chain follows a node, they go through that node, to servers of all who follow it there, and come back by themselves when the node does. Otherwise they
    /// reach the servers of this process that came from this store, and those of the peers of this store's own node while it [serves](Store::serve).
    /// Make it once and clone it: each has sessions of its own. [`ChainCalls`](crate::calls::ChainCalls) keeps one for each chain and identity.
    ///
    /// # Errors
    /// [`Error::Net`] or [`Error::Address`] if the chain follows a node and the network cannot be started.
    pub fn calls(&self, chain: &Chain) -> Result<Calls, Error> {
        let (home, path) = self.inner.call_path(chain)?;
        Ok(Calls::at(home, path, chain))
    }
}

impl StoreInner {
    /// Which way calls on a chain go.
    pub(crate) fn call_path(&self, chain: &Chain) -> Result<(Home, Arc<dyn CallPath>), Error> {
        let Some(address) = self.replica_address(&chain.id()) else {
            let net = self.net.lock().clone();
            return Ok((Home::of(net), Arc::new(self.board.clone())));
        };
        let address: ChainAddress = address.parse()?;
        let net = self.net()?;
        let endpoint = address.node().endpoint(net.resolve(address.node())?);
        let link = net.client.link(&endpoint);
        Ok((Home::of(Some(net)), link))
    }
}

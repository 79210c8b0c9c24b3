//! Serving: a store as a node that hosts chains for others.

use std::net::SocketAddr;
use std::sync::Arc;

use ate_chain::Pending;
use ate_net::{
    Admission, Everybody, Listener, Metrics, NetError, Node, NodeAddress, NodeId, NodeLimits,
    NodeParts, QuicLimits, QuicListener, TransportError,
};
use tokio::runtime::Handle;

use super::hosting::Hosted;
use super::pages::Paging;
use crate::error::Error;
use crate::store::Store;

/// Where and for whom a store is served.
#[derive(Clone)]
pub struct ServeOptions {
    /// UDP address; port 0 is one of the system's choice.
    pub listen: SocketAddr,
    /// Who may do what: everybody, within the limits, unless told otherwise.
    pub admission: Arc<dyn Admission>,
    /// Limits of the node.
    pub limits: NodeLimits,
    /// Limits of its connections.
    pub quic: QuicLimits,
    /// TCP address of `/metrics`, `/health` and `/ready`, in clear: one that the monitoring reaches and nobody else. None, unless told otherwise.
    pub pages: Option<SocketAddr>,
}

impl ServeOptions {
    /// On a UDP address, for everybody.
    #[must_use]
    pub fn on(listen: SocketAddr) -> Self {
        Self {
            listen,
            admission: Arc::new(Everybody),
            limits: NodeLimits::default(),
            quic: QuicLimits::default(),
            pages: None,
        }
    }
}

/// A store that is being served, until this is shut down or dropped.
pub struct Serving {
    node: Option<Node>,
    metrics: Arc<Metrics>,
    pages: Option<Paging>,
    id: NodeId,
    local: (String, u16),
    handle: Handle,
    store: Store,
}

impl Store {
    /// Hosts the chains of this store for others, and takes in new ones, over QUIC. The node's key is derived from the store's identity.
    ///
    /// # Errors
    /// [`Error::Net`] if the address cannot be had; a store that is open for reading cannot be served.
    pub fn serve(&self, options: &ServeOptions) -> Result<Serving, Error> {
        let net = self.inner.net()?;
        let _entered = net.handle.enter();
        let key = self.identity().node_key();
        let listener = QuicListener::bind(options.listen, &key, &options.quic);
        let listener = Arc::new(listener.map_err(NetError::from)?);
        self.serve_on(listener, options)
    }

    /// As [`Store::serve`], with a listener of another transport, which must answer with the key [`ate_crypto::Identity::node_key`] of this store's identity.
    ///
    /// # Errors
    /// As [`Store::serve`].
    pub fn serve_on(
        &self,
        listener: Arc<dyn Listener>,
        options: &ServeOptions,
    ) -> Result<Serving, Error> {
        if !self.inner.log.writable() {
            return Err(Error::Net(NetError::Transport(TransportError::Unusable {
                why: "a store that is open for reading cannot be served".to_owned(),
            })));
        }
        let net = self.inner.net()?;
        let _entered = net.handle.enter();
        let parts = NodeParts {
            identity: self.identity().clone(),
            host: Arc::new(Hosted(self.inner.clone())),
            admission: options.admission.clone(),
            clock: self.inner.clock.clone(),
            limits: options.limits.clone(),
        };
        let local = listener.local();
        let node = Node::start_with(listener, parts, &self.inner.board);
        let metrics = node.metrics().clone();
        let pages = options
            .pages
            .map(|at| Paging::start(at, self.inner.clone(), metrics.clone()));
        Ok(Serving {
            pages: pages.transpose()?,
            metrics,
            id: NodeId::of_key(self.identity().node_key().public_bytes()),
            local,
            node: Some(node),
            handle: net.handle.clone(),
            store: self.clone(),
        })
    }
}

impl Serving {
    /// The address under which others reach it, with its key, as far as this side knows: who listens on all addresses has to name one.
    ///
    /// # Errors
    /// [`Error::Address`] if the listener has no place that can be dialled.
    pub fn address(&self) -> Result<NodeAddress, Error> {
        Ok(NodeAddress::new(
            &self.local.0,
            self.local.1,
            Some(self.id),
        )?)
    }

    /// The node's key.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where its pages are answered, with the port that it got; `None` if there are none.
    #[must_use]
    pub fn pages(&self) -> Option<SocketAddr> {
        self.pages.as_ref().map(|pages| pages.local)
    }

    /// What the node counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Takes no more connections, lets what was taken in be answered, and ends.
    pub fn shut_down(mut self) -> Pending<()> {
        let Some(node) = self.node.take() else {
            return Pending::ready(());
        };
        let pages = self.pages.take();
        if let Some(pages) = &pages {
            pages.leave();
        }
        let leaving = async move {
            node.shut_down().await;
            // Whoever watches sees it leave, to the end.
            drop(pages);
        };
        match self.store.inner.net() {
            Ok(net) => net.client.run(leaving, || ()),
            Err(_) => Pending::ready(()),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _entered = self.handle.enter();
        drop(self.node.take());
    }
}

//! A client: links to nodes that reconnect by themselves, and replicas that follow over them.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ate_chain::Pending;
use ate_crypto::{Identity, Random};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::error::NetError;
use crate::node_id::NodeId;
use crate::notebook::Notebook;
use crate::promise::promise;
use crate::transport::{Endpoint, Transport, TransportError};

mod calls;
mod fetch;
mod follow;
mod link;
mod remote;
mod session;
mod submit;
mod witness;

pub use link::{Found, Link, LinkState};
pub use remote::{Remote, RemoteStatus, WeakRemote};
pub use witness::Witnesses;

/// Dials nodes for one identity. Cheap to clone.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) identity: Identity,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) notebook: Arc<dyn Notebook>,
    pub(crate) runtime: Handle,
    links: Mutex<BTreeMap<(String, u16, NodeId), Weak<Link>>>,
    pub(crate) witnesses: Mutex<Witnesses>,
}

impl Client {
    /// A client that works on the tokio runtime of the caller.
    ///
    /// # Errors
    /// [`NetError::Store`] outside of a tokio runtime.
    pub fn new(
        transport: Arc<dyn Transport>,
        identity: Identity,
        random: Arc<dyn Random>,
        notebook: Arc<dyn Notebook>,
    ) -> Result<Self, NetError> {
        let runtime = Handle::try_current().map_err(|error| NetError::Store(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            transport,
            identity,
            random,
            notebook,
            runtime,
            links: Mutex::default(),
            witnesses: Mutex::default(),
        })))
    }

    /// Runs work on the client's runtime, for whoever waits with another one or none. `otherwise` is the answer if the runtime ends first.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
        otherwise: impl FnOnce() -> T + Send + 'static,
    ) -> Pending<T> {
        let (promise, pending) = promise(otherwise);
        self.0
            .runtime
            .spawn(async move { promise.keep(work.await) });
        pending
    }

    /// Which node answers at a place: it proves its key, and nothing is said to it. That it is the one that was meant, only a person can tell.
    ///
    /// # Errors
    /// In the answer: [`NetError`] if nobody answers within `limit`, or the transport cannot find out.
    pub fn discover(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Pending<Result<NodeId, NetError>> {
        let (inner, host) = (self.0.clone(), host.to_owned());
        let ask = async move {
            let found = inner.transport.discover(&host, port);
            match tokio::time::timeout(limit, found).await {
                Ok(found) => Ok(found?),
                Err(_) => Err(NetError::TimedOut {
                    ms: limit.as_millis() as u64,
                }),
            }
        };
        self.run(ask, || Err(TransportError::Closed.into()))
    }

    /// The link to a node: the one that stands, or a new one that begins to connect. It connects again whenever it breaks, until nobody holds it.
    #[must_use]
    pub fn link(&self, endpoint: &Endpoint) -> Arc<Link> {
        let key = (endpoint.host.clone(), endpoint.port, endpoint.node);
        let mut links = self.0.links.lock();
        links.retain(|_, link| link.strong_count() > 0);
        if let Some(link) = links.get(&key).and_then(Weak::upgrade) {
            return link;
        }
        let link = Arc::new(Link::start(&self.0, endpoint));
        links.insert(key, Arc::downgrade(&link));
        link
    }

    /// Names the witnesses of all replicas of this client that nobody has asked for witnesses yet: a replica keeps those with which it began.
    pub fn set_witnesses(&self, witnesses: Witnesses) {
        *self.0.witnesses.lock() = witnesses;
    }

    /// Ends all links for good, and waits until the peers know it, at most for `limit`. Replicas follow no more then.
    pub async fn close(&self, limit: Duration) {
        let links: Vec<Arc<Link>> = {
            let links = self.0.links.lock();
            links.values().filter_map(Weak::upgrade).collect()
        };
        links.iter().for_each(|link| link.end());
        // Whoever cannot be told finds out by itself.
        drop(tokio::time::timeout(limit, self.0.transport.ended()).await);
    }
}

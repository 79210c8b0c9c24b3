//! The network of a store: a runtime of its own, links to nodes, and chains that follow them.
//!
//! It starts with the first address or the first call to serve; a store that uses neither has no runtime and no sockets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ate_chain::{ChainId, Contents, Local, Pending, Position};
use ate_net::{
    ChainAddress, Client, Endpoint, Link, LinkState, NetError, NodeAddress, NodeId, QuicLimits,
    QuicTransport, RefusalCode, Remote, RemoteStatus, Transport, TransportError, WeakRemote,
    Witnesses, blocking,
};
use ate_view::Chain;
use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};

use crate::error::Error;
use crate::inner::StoreInner;
use crate::known_nodes::KnownNodes;

mod calling;
mod hosting;
mod listing;
mod notebook;
mod pages;
mod serve;

pub use listing::ReplicaInfo;
pub use serve::{ServeOptions, Serving};

/// For a node to answer when a chain is opened for the first time, unless the builder says otherwise.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// For the nodes to learn that a store was closed. Those that do not would hold the connection until it is silent for too long.
const GOODBYE_WITHIN: Duration = Duration::from_millis(200);
/// Worker threads of a store's runtime, at least.
const WORKERS_MIN: usize = 2;

/// What a builder says of the network.
#[derive(Clone)]
pub(crate) struct NetOptions {
    /// `None`: QUIC.
    pub(crate) transport: Option<Arc<dyn Transport>>,
    pub(crate) contents: Contents,
    /// For a node to answer when a chain is opened for the first time.
    pub(crate) answer_within: Duration,
    pub(crate) witnesses: Vec<NodeAddress>,
    pub(crate) witnesses_needed: usize,
}

impl NetOptions {
    /// Whoever is trusted for what nobody else says must be named with its key: first use proves nothing here.
    fn witnesses(&self) -> Result<Witnesses, Error> {
        let endpoint = |address: &NodeAddress| match address.node() {
            Some(node) => Ok(address.endpoint(node)),
            None => Err(Error::Net(NetError::Transport(TransportError::Unusable {
                why: format!(
                    "a witness is named with its key, as the node prints it: ate://KEY@{}",
                    address.host_port()
                ),
            }))),
        };
        Ok(Witnesses {
            nodes: self
                .witnesses
                .iter()
                .map(endpoint)
                .collect::<Result<_, _>>()?,
            needed: self.witnesses_needed,
            within: self.answer_within,
        })
    }
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            transport: None,
            contents: Contents::Eager,
            answer_within: ANSWER_WITHIN,
            witnesses: Vec::new(),
            witnesses_needed: 1,
        }
    }
}

/// The network of a store.
pub(crate) struct Net {
    client: Client,
    known: Arc<KnownNodes>,
    /// Times that a node was found out.
    accused: Arc<AtomicU64>,
    contents: Contents,
    answer_within: Duration,
    /// Those of chains that were let go are gone with them, and with the last of a node the link to it.
    remotes: Mutex<HashMap<ChainId, WeakRemote>>,
    handle: Handle,
    /// `None` if the runtime is the caller's.
    runtime: Option<Runtime>,
}

/// How a replica stands to the node that it follows.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// The node's address with its key.
    pub node: Endpoint,
    /// Whether it can be spoken with.
    pub link: LinkState,
    /// What it says, and how far that was checked.
    pub remote: RemoteStatus,
    /// Commits here.
    pub position: Position,
    /// Commits of this store that are not in the chain's order yet.
    pub staged: usize,
}

impl ReplicaStatus {
    /// Whether the node and this store have said the same root for all that either has, and nothing is on its way.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        let is_same =
            self.remote.node_size == Some(self.position.0) && self.remote.agreed == self.position.0;
        is_same && self.staged == 0 && self.remote.diverged.is_none()
    }

    /// Whether the node has signed that.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.is_in_sync() && self.remote.proven == self.position.0
    }
}

/// Whether a chain that is not there is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Existing,
    Create,
}

impl Net {
    fn start(inner: &StoreInner) -> Result<Self, Error> {
        let options = &inner.net_options;
        let own = |error: &dyn std::fmt::Display| Error::Net(NetError::Store(error.to_string()));
        // Whoever simulates brings its transport, and its runtime with its own time.
        let current = options
            .transport
            .as_ref()
            .and_then(|_| Handle::try_current().ok());
        let (handle, runtime) = match current {
            Some(handle) => (handle, None),
            None => {
                let workers = std::thread::available_parallelism().map_or(1, usize::from);
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(workers.max(WORKERS_MIN))
                    .thread_name("ate-net")
                    .enable_all()
                    .build()
                    .map_err(|error| own(&error))?;
                (runtime.handle().clone(), Some(runtime))
            }
        };
        let _entered = handle.enter();
        let transport = match &options.transport {
            Some(transport) => transport.clone(),
            None => {
                Arc::new(QuicTransport::client(&QuicLimits::default()).map_err(NetError::from)?)
            }
        };
        let known = Arc::new(match &inner.dir {
            Some(dir) => KnownNodes::in_dir(dir),
            None => KnownNodes::in_memory(),
        });
        let accused = Arc::new(AtomicU64::new(0));
        let client = Client::new(
            transport,
            inner.identity.clone(),
            inner.random.clone(),
            Arc::new(notebook::Pages {
                known: known.clone(),
                accused: accused.clone(),
            }),
        )?;
        client.set_witnesses(options.witnesses()?);
        Ok(Self {
            client,
            known,
            accused,
            contents: options.contents,
            answer_within: options.answer_within,
            remotes: Mutex::default(),
            handle,
            runtime,
        })
    }

    /// Says goodbye to the nodes. Whoever brought its own runtime may be on its only thread, which must not be waited on.
    fn end(&self) {
        let is_inside = Handle::try_current().is_ok_and(|current| current.id() == self.handle.id());
        if self.runtime.is_some() && !is_inside {
            let client = self.client.clone();
            let ending = async move { client.close(GOODBYE_WITHIN).await };
            self.client.run(ending, || ()).wait();
        }
    }

    /// How a chain that is in memory stands to its node.
    fn remote(&self, chain: &ChainId) -> Option<Remote> {
        self.remotes.lock().get(chain)?.upgrade()
    }

    /// The runtime on which all of it runs.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The key that must answer at an address. If neither the address nor the store names one, whoever answers there now is trusted from now on, and a person is
    /// told.
    async fn resolve_or_meet(
        &self,
        inner: &StoreInner,
        address: &NodeAddress,
    ) -> Result<NodeId, Error> {
        if let Some(node) = self.known.expected(address)? {
            return Ok(node);
        }
        let shown = self
            .client
            .discover(address.host(), address.port(), self.answer_within)
            .await?;
        self.met(inner, address, shown)?;
        Ok(shown)
    }

    /// Notes who answered at an address, and tells a person if it is trusted for that alone.
    fn met(&self, inner: &StoreInner, address: &NodeAddress, shown: NodeId) -> Result<(), Error> {
        let now_ms = inner.clock.now_ms();
        if let Some(first) = self.known.meet(address, shown, now_ms)? {
            tracing::warn!(node = %shown, at = %address.host_port(), "first use of a node");
            inner.note(first.to_string());
        }
        Ok(())
    }

    /// The key that must answer at an address which names one, or is known.
    fn resolve(&self, address: &NodeAddress) -> Result<NodeId, Error> {
        match self.known.expected(address)? {
            Some(node) => Ok(node),
            None => Err(Error::Net(NetError::Transport(TransportError::Unusable {
                why: format!(
                    "the key of the node at {} is not known: name it, as the node prints it: ate://KEY@{}/CHAIN",
                    address.host_port(),
                    address.host_port()
                ),
            }))),
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped on one of its own threads, which cannot wait for itself.
            runtime.shutdown_background();
        }
    }
}

impl StoreInner {
    /// The network, started when it is asked for first.
    pub(crate) fn net(&self) -> Result<Arc<Net>, Error> {
        let mut net = self.net.lock();
        if let Some(net) = &*net {
            return Ok(net.clone());
        }
        let started = Arc::new(Net::start(self)?);
        *net = Some(started.clone());
        Ok(started)
    }

    /// Ends what was started of the network.
    pub(crate) fn end_net(&self) {
        let net = self.net.lock().clone();
        if let Some(net) = net {
            net.end();
        }
    }

    /// The chain at an address.
    pub(crate) fn remote_chain(
        self: &Arc<Self>,
        address: &str,
        want: Want,
    ) -> Pending<Result<Chain, Error>> {
        let address = match address.parse::<ChainAddress>() {
            Ok(address) => address,
            Err(error) => return Pending::ready(Err(error.into())),
        };
        let net = match self.net() {
            Ok(net) => net,
            Err(error) => return Pending::ready(Err(error)),
        };
        let (inner, client) = (self.clone(), net.client.clone());
        let opening = async move { inner.open_remote(&net, &address, want).await };
        client.run(opening, || {
            Err(Error::Net(NetError::Transport(TransportError::Closed)))
        })
    }

    async fn open_remote(
        self: &Arc<Self>,
        net: &Arc<Net>,
        address: &ChainAddress,
        want: Want,
    ) -> Result<Chain, Error> {
        let node = net.resolve_or_meet(self, address.node()).await?;
        let endpoint = address.node().endpoint(node);
        let own = self.identity.id();
        let root = address.root().unwrap_or(own);
        let full = ChainAddress::new(
            address.node().clone().with_node(Some(node)),
            Some(root),
            address.name(),
            None,
        )?;
        if let Some(chain) = self.known_replica(&full) {
            if address.id().is_some_and(|id| id != chain) {
                return Err(Error::NoChain {
                    name: address.to_string(),
                });
            }
            return blocking(|| self.replica(net, chain, &full));
        }
        let link = net.client.link(&endpoint);
        let found = link
            .find(address.name(), Some(root), net.answer_within)
            .await;
        if matches!(&found, Ok(_) | Err(NetError::Refused { .. })) {
            // It has proven its key, whatever it says.
            net.met(self, address.node(), node)?;
        }
        let found = match found {
            Ok(found) => found,
            Err(NetError::Refused {
                code: RefusalCode::Absent,
                ..
            }) if want == Want::Create && root == own && address.id().is_none() => {
                return self.found_at(net, &link, &full).await;
            }
            Err(NetError::Refused {
                code: RefusalCode::Absent,
                ..
            }) => {
                return Err(Error::NoChain {
                    name: address.to_string(),
                });
            }
            Err(error) => return Err(error.into()),
        };
        let now_ms = self.clock.now_ms();
        if address.id().is_some_and(|id| id != found.chain) {
            return Err(Error::NoChain {
                name: address.to_string(),
            });
        }
        net.known
            .meet_name(node, root, address.name(), found.chain, now_ms)?;
        let chain = blocking(|| self.replica(net, found.chain, &full))?;
        self.reaches(net, &chain, found.size).await?;
        // The name and the root stand in the genesis, which was verified: the node's word counts for nothing.
        let genesis = chain.local().genesis();
        let is_meant = genesis
            .is_some_and(|genesis| genesis.root.id() == root && *genesis.name == *address.name());
        if is_meant {
            Ok(chain)
        } else {
            Err(Error::Net(NetError::Diverged(
                "the node answers with a chain of another name or root".to_owned(),
            )))
        }
    }

    /// The replica that follows this chain of this node, if the store has one. Where the node answers may have changed: it is its key that counts.
    fn known_replica(&self, full: &ChainAddress) -> Option<ChainId> {
        let replicas = self.replicas.lock();
        let is_same = |address: &ChainAddress| {
            (address.node().node(), address.root(), address.name())
                == (full.node().node(), full.root(), full.name())
        };
        let mut same = replicas
            .iter()
            .filter(|(_, address)| address.parse().is_ok_and(|address| is_same(&address)));
        same.next().map(|(chain, _)| *chain)
    }

    /// A chain with the own identity as its root, which the node will order.
    async fn found_at(
        self: &Arc<Self>,
        net: &Arc<Net>,
        link: &Arc<Link>,
        full: &ChainAddress,
    ) -> Result<Chain, Error> {
        let note_key = link.note_key(net.answer_within).await?;
        let name = full.name();
        blocking(|| {
            let local =
                Local::create_ordered_by(&self.committer, name, &self.identity, Some(&note_key))?;
            let chain = self.over(local, name);
            self.chains.open(chain.id(), |_| {
                self.mark_replica(chain.id(), &full.to_string())?;
                self.follow_over(net, &chain, full)?;
                Ok(chain.clone())
            })
        })
    }

    /// A replica, loaded as far as the log has it.
    fn replica(
        self: &Arc<Self>,
        net: &Arc<Net>,
        id: ChainId,
        full: &ChainAddress,
    ) -> Result<Chain, Error> {
        self.mark_replica(id, &full.to_string())?;
        let chain = self.chains.open(id, |weak| {
            if let Some(chain) = weak.and_then(|weak| self.upgrade(weak, full.name())) {
                return Ok(chain);
            }
            self.load_replica(id, full.name())
        })?;
        if !chain.local().is_replica() {
            self.follow_over(net, &chain, full)?;
        }
        self.make_room();
        Ok(chain)
    }

    pub(crate) fn follow_node(&self, chain: &Chain, full: &ChainAddress) -> Result<(), Error> {
        let net = self.net()?;
        self.follow_over(&net, chain, full)
    }

    fn follow_over(&self, net: &Arc<Net>, chain: &Chain, full: &ChainAddress) -> Result<(), Error> {
        let node = net.resolve(full.node())?;
        let link = net.client.link(&full.node().endpoint(node));
        let _entered = net.handle.enter();
        let remote = link.follow(chain.local(), net.contents)?;
        let mut remotes = net.remotes.lock();
        remotes.retain(|_, remote| remote.upgrade().is_some());
        remotes.insert(chain.id(), remote.downgrade());
        Ok(())
    }

    /// Waits until a replica has what its node said to have.
    async fn reaches(&self, net: &Net, chain: &Chain, size: u64) -> Result<(), Error> {
        const LOOK_EVERY: Duration = Duration::from_millis(100);
        if let Some(remote) = net.remote(&chain.id()) {
            remote.said(size);
        }
        loop {
            let position = chain.position();
            if position.0 >= size {
                return Ok(());
            }
            let remote = net.remote(&chain.id());
            if let Some(what) = remote.and_then(|remote| remote.status().diverged) {
                return Err(Error::Net(NetError::Diverged(what)));
            }
            let moved = chain.local().past(position);
            // What keeps it may show in the status alone.
            drop(tokio::time::timeout(LOOK_EVERY, moved).await);
        }
    }

    /// How a chain stands to the node that it follows; `None` if it follows none.
    pub(crate) fn replica_status(&self, chain: &Chain) -> Option<ReplicaStatus> {
        let net = self.net.lock().clone()?;
        let remote = net.remote(&chain.id())?;
        Some(ReplicaStatus {
            node: remote.link().endpoint().clone(),
            link: remote.link().state(),
            remote: remote.status(),
            position: chain.position(),
            staged: chain.local().staged().len(),
        })
    }
}

//! The node: chains in one log, opened when they are asked for and let go when nobody holds them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ate::chain::{ChainId, Committer, Directory, Local, OpenError};
use ate::crypto::{Identity, KeyId};
use ate::log::Loss;
use ate_net::{Endpoint, Everybody, Host, Node, NodeId, NodeLimits, NodeParts, SimNetwork};
use parking_lot::Mutex;

use super::machine::Machine;
use super::run::{Broken, Outcome};

/// For a node to end in order: what a peer that does not read may take, and some.
const SHUT_DOWN: Duration = Duration::from_secs(120);

/// Chains of one log.
pub(super) struct Chains {
    committer: Arc<Committer>,
    open: Mutex<BTreeMap<ChainId, Arc<Local>>>,
}

impl Chains {
    fn new(committer: Arc<Committer>) -> Arc<Self> {
        Arc::new(Self {
            committer,
            open: Mutex::default(),
        })
    }

    /// The chain as the log has it.
    pub(super) fn local(&self, chain: ChainId) -> Result<Option<Arc<Local>>, String> {
        let mut open = self.open.lock();
        if let Some(local) = open.get(&chain) {
            return Ok(Some(local.clone()).filter(|local| local.is_born()));
        }
        match Local::open(&self.committer, chain, None) {
            Ok(local) => {
                open.insert(chain, local.clone());
                Ok(Some(local))
            }
            Err(OpenError::NotFound { .. }) => Ok(None),
            Err(error) => Err(format!("{error:?}")),
        }
    }

    /// Lets go of all chains that nobody uses.
    pub(super) fn evict(&self) -> usize {
        let mut open = self.open.lock();
        let before = open.len();
        open.retain(|_, local| Arc::strong_count(local) > 1);
        before - open.len()
    }
}

impl Host for Chains {
    fn find(&self, name: &str, root: Option<KeyId>) -> Result<Option<ChainId>, String> {
        let mut directory = Directory::new(&**self.committer.log());
        directory
            .update(&**self.committer.log())
            .map_err(|error| error.to_string())?;
        let mut entries = directory.entries();
        let found = entries
            .find(|entry| *entry.name == *name && root.is_none_or(|root| entry.root == root));
        Ok(found.map(|entry| entry.chain))
    }

    fn open(&self, chain: ChainId) -> Result<Option<Arc<Local>>, String> {
        self.local(chain)
    }

    fn begin(&self, chain: ChainId, _: &str) -> Result<Arc<Local>, String> {
        if let Some(local) = self.local(chain)? {
            return Ok(local);
        }
        let make = || Local::at(&self.committer, chain, None);
        Ok(self.open.lock().entry(chain).or_insert_with(make).clone())
    }
}

/// The node's machine and what answers on it.
pub(super) struct Hosting {
    pub(super) machine: Machine,
    pub(super) identity: Identity,
    pub(super) id: NodeId,
    chains: Option<Arc<Chains>>,
    node: Option<Node>,
}

impl Hosting {
    pub(super) fn new(machine: Machine, identity: Identity) -> Self {
        let id = NodeId::of_key(identity.node_key().public_bytes());
        Self {
            machine,
            identity,
            id,
            chains: None,
            node: None,
        }
    }

    pub(super) fn chains(&self) -> Option<&Arc<Chains>> {
        self.chains.as_ref()
    }

    /// Boots the machine and answers.
    pub(super) fn start(&mut self, network: &SimNetwork) -> Outcome<Endpoint> {
        self.machine.boot()?;
        let chains = Chains::new(self.machine.committer().clone());
        let listener = network
            .listen(&self.machine.name, self.id)
            .map_err(|error| Broken::of("the harness", error.to_string()))?;
        let endpoint = listener.endpoint();
        let parts = NodeParts {
            identity: self.identity.clone(),
            host: chains.clone(),
            admission: Arc::new(Everybody),
            clock: self.machine.clock(),
            limits: NodeLimits {
                // So small that a chain takes several messages.
                shown_bytes: 20 << 10,
                ..NodeLimits::default()
            },
        };
        self.node = Some(Node::start(Arc::new(listener), parts));
        self.chains = Some(chains);
        Ok(endpoint)
    }

    /// The machine loses its power.
    pub(super) async fn crash(&mut self, network: &SimNetwork, loss: Loss) {
        self.machine.storage.kill();
        network.crash(&self.machine.name);
        self.node = None;
        self.chains = None;
        self.machine.lose_power(loss);
        // What ran there ends with its next turn.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Ends in order, unless the power is faster, which is left to [`Hosting::crash`]. No peer can keep it from that.
    pub(super) async fn shut_down(&mut self) -> Outcome {
        if let Some(node) = self.node.take() {
            let ended = tokio::time::timeout(SHUT_DOWN, node.shut_down()).await;
            ended.map_err(|_| Broken::of("ends", "the node does not shut down".into()))?;
        }
        if self.machine.has_fallen() {
            return Ok(());
        }
        self.chains = None;
        self.machine.switch_off()
    }
}

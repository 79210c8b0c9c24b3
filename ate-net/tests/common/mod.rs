//! A node and clients over stores in memory.
#![allow(
    unreachable_pub,
    dead_code,
    reason = "each test program uses a part of it"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ate_chain::{
    ChainId, Clock, Committed, Committer, Contents, CreateOptions, Draft, Local, Pending, Position,
    RecordKey, SubmitError,
};
use ate_crypto::{Identity, KeyId, Seed, SeededRandom, sha256};
use ate_log::MemLog;
use ate_net::{
    Client, Endpoint, Everybody, Forgetful, Host, Listener, MemoryNetwork, Node, NodeId,
    NodeLimits, NodeParts, Remote, Transport,
};
use parking_lot::Mutex;

pub struct Noon;

impl Clock for Noon {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

pub fn identity(number: u8) -> Identity {
    Identity::from_seed(&Seed::generate(&SeededRandom::new(number.into())))
}

pub fn committer(store: u8) -> Arc<Committer> {
    let random = Arc::new(SeededRandom::new(100 + u64::from(store)));
    let log = Arc::new(MemLog::new());
    Committer::new(log, Arc::new(Noon), random, None, [store; 16])
}

/// Hosts chains in one log.
pub struct Chains {
    pub committer: Arc<Committer>,
    pub open: Mutex<HashMap<ChainId, Arc<Local>>>,
}

impl Chains {
    pub fn new(store: u8) -> Arc<Self> {
        Arc::new(Self {
            committer: committer(store),
            open: Mutex::default(),
        })
    }
}

impl Host for Chains {
    fn find(&self, name: &str, root: Option<KeyId>) -> Result<Option<ChainId>, String> {
        let open = self.open.lock();
        let mut found = open.values().filter(|local| {
            local.genesis().is_some_and(|genesis| {
                *genesis.name == *name && root.is_none_or(|root| genesis.root.id() == root)
            })
        });
        Ok(found.next().map(|local| local.chain()))
    }

    fn open(&self, chain: ChainId) -> Result<Option<Arc<Local>>, String> {
        let open = self.open.lock();
        Ok(open.get(&chain).filter(|local| local.is_born()).cloned())
    }

    fn begin(&self, chain: ChainId, _: &str) -> Result<Arc<Local>, String> {
        let make = || Local::at(&self.committer, chain, None);
        Ok(self.open.lock().entry(chain).or_insert_with(make).clone())
    }
}

pub fn start(listener: Arc<dyn Listener>, identity: Identity, host: Arc<Chains>) -> Node {
    let parts = NodeParts {
        identity,
        host,
        admission: Arc::new(Everybody),
        clock: Arc::new(Noon),
        limits: NodeLimits::default(),
    };
    Node::start(listener, parts)
}

pub fn client(transport: Arc<dyn Transport>, number: u8) -> Client {
    let random = Arc::new(SeededRandom::new(200 + u64::from(number)));
    Client::new(transport, identity(number), random, Arc::new(Forgetful)).expect("in a runtime")
}

/// A network in memory with one node.
pub struct Net {
    pub network: MemoryNetwork,
    pub node: Option<Node>,
    pub node_identity: Identity,
    pub host: Arc<Chains>,
    pub endpoint: Endpoint,
}

impl Net {
    pub fn new() -> Self {
        let (network, node_identity) = (MemoryNetwork::new(), identity(50));
        let host = Chains::new(50);
        let id = NodeId::of_key(node_identity.node_key().public_bytes());
        let listener = network.listen(id).expect("free");
        let endpoint = listener.endpoint();
        let node = start(Arc::new(listener), node_identity.clone(), host.clone());
        Self {
            network,
            node: Some(node),
            node_identity,
            host,
            endpoint,
        }
    }

    /// Cuts all connections of the node.
    pub fn cut(&self) {
        self.network.cut(self.endpoint.node);
    }

    pub fn client(&self, number: u8) -> Client {
        client(Arc::new(self.network.transport()), number)
    }

    /// A chain that its owner founds here and follows.
    pub fn found(&self, number: u8, store: u8) -> Replica {
        let local = Local::create(&committer(store), "notes", &identity(number)).expect("planned");
        self.follow(local, number, Contents::Eager)
    }

    /// A replica in a store of its own.
    pub fn replica(&self, chain: ChainId, number: u8, store: u8, contents: Contents) -> Replica {
        let local = Local::at(&committer(store), chain, None);
        self.follow(local, number, contents)
    }

    pub fn follow(&self, local: Arc<Local>, number: u8, contents: Contents) -> Replica {
        let link = self.client(number).link(&self.endpoint);
        let remote = link.follow(&local, contents).expect("follows");
        Replica {
            local,
            remote,
            identity: identity(number),
        }
    }
}

pub struct Replica {
    pub local: Arc<Local>,
    pub remote: Remote,
    pub identity: Identity,
}

impl Replica {
    /// A named record, with the schema that it needs if this is the first.
    pub fn write(&self, name: &str, content: &str) -> Pending<Result<Committed, SubmitError>> {
        let schema = sha256(&[b"text"]);
        let mut draft = Draft::new(self.local.author(&self.identity));
        let root = RecordKey::ROOT;
        if !self.local.is_born() && self.local.staged().is_empty() {
            let define = CreateOptions {
                defines: true,
                ..CreateOptions::default()
            };
            draft
                .create(
                    root,
                    "schema",
                    Some("text"),
                    &schema,
                    b"text".to_vec(),
                    define,
                )
                .expect("drafted");
        }
        let plain = CreateOptions::default();
        draft
            .create(root, "", Some(name), &schema, content.into(), plain)
            .expect("drafted");
        self.local.commit(draft).expect("sealed")
    }

    pub async fn reaches(&self, position: u64) {
        let reached = async {
            while self.local.position().0 < position {
                self.local.past(self.local.position()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reached)
            .await
            .unwrap_or_else(|_| {
                panic!(
                    "{:?} of {position}: {:?}",
                    self.local.position(),
                    self.remote.status()
                )
            });
    }

    /// The content of a named record.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, ate_chain::ReadError> {
        let author = self.local.author(&self.identity);
        let key = author.named_key(&RecordKey::ROOT, "", name).expect("key");
        Ok(self.local.open_content(&author, &key)?.content)
    }

    pub fn root_at(&self, position: u64) -> Option<ate_crypto::Hash> {
        self.local.root_at(Position(position))
    }
}

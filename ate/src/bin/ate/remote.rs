//! Chains at a node: opening them over a replica here, waiting for the node, and saying what keeps it.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Duration;

use ate::chain::Pending;
use ate::net::{
    AddressError, ChainAddress, LinkState, NetError, NodeAddress, RefusalCode, TransportError,
};
use ate::{Chain, CommitError, ErrorKind, KeyId, ReplicaStatus, Store};

use crate::ambient::Stopwatch;
use crate::args;
use crate::failure::{Code, Failure, fault};
use crate::output::{Count, say};
use crate::progress::Progress;
use crate::store::{Place, tell_notes};
use crate::waiting::wait_while;

/// How often it is looked how a replica stands.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What the command line says of nodes.
pub(crate) struct Nodes {
    url: Option<String>,
    wait: Duration,
    /// Of `wait`, spent already: a command waits so long in all, not at every step.
    spent: Cell<Duration>,
    /// Whether contents are fetched when they are read.
    is_lazy: Cell<bool>,
}

/// Whether a chain that is not there is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Existing,
    Create,
}

impl Nodes {
    pub(crate) fn new(given: &args::Remote) -> Self {
        Self {
            // An empty variable means none.
            url: given.url.clone().filter(|url| !url.trim().is_empty()),
            wait: given.wait,
            spent: Cell::default(),
            is_lazy: Cell::new(false),
        }
    }

    /// Fetches contents only when they are read.
    pub(crate) fn be_lazy(&self) {
        self.is_lazy.set(true);
    }

    pub(crate) const fn is_lazy(&self) -> bool {
        self.is_lazy.get()
    }

    /// How long a node may take to answer.
    pub(crate) const fn wait(&self) -> Duration {
        self.wait
    }

    fn left(&self) -> Duration {
        self.wait.saturating_sub(self.spent.get())
    }

    fn spend(&self, time: Duration) {
        self.spent.set(self.spent.get() + time);
    }
}

impl Place {
    /// Whether the command works on chains of a node.
    pub(crate) fn is_remote(&self) -> bool {
        self.nodes().url.is_some()
    }

    /// The node's address, if one was given.
    pub(crate) fn node(&self) -> Result<Option<NodeAddress>, Failure> {
        let Some(url) = &self.nodes().url else {
            return Ok(None);
        };
        let node = url.trim().parse::<NodeAddress>();
        node.map(Some).map_err(|error| refused(url, &error))
    }

    /// The chain that an argument names at the node.
    pub(crate) fn chain_at(&self, node: NodeAddress, name: &str) -> Result<ChainAddress, Failure> {
        if name.contains("://") {
            return Err(
                Failure::usage(format!("`{name}` is not the name of a chain")).next(
                    "give the node with --url or ATE_URL, and CHAIN or ROOT/CHAIN as the argument",
                ),
            );
        }
        let (root, name) = match name.split_once('/') {
            Some((root, rest)) if root.parse::<KeyId>().is_ok() => (root.parse().ok(), rest),
            _ => (None, name),
        };
        ChainAddress::new(node, root, name, None).map_err(|error| refused(name, &error))
    }

    /// A chain of the node, as far as it can be had now. A first time may take long: it is told how far it is.
    pub(crate) fn remote_chain(
        &self,
        store: &Store,
        name: &str,
        want: Want,
    ) -> Result<Option<Chain>, Failure> {
        let Some(node) = self.node()? else {
            return Ok(None);
        };
        let address = self.chain_at(node, name)?;
        if !store.info().writer {
            return self.copy_beside(store, &address).map(Some);
        }
        let opening = match want {
            Want::Existing => store.chain(&address.to_string()),
            Want::Create => store.create_chain(&address.to_string()),
        };
        let opened = self.fetched(store, &address, opening);
        tell_notes(store);
        let chain = opened?.map_err(|error| self.not_had(error, &address))?;
        self.freshen(store, &chain)?;
        Ok(Some(chain))
    }

    /// Waits for a chain that is fetched for the first time, as long as it comes on.
    fn fetched<T>(
        &self,
        store: &Store,
        address: &ChainAddress,
        opening: Pending<T>,
    ) -> Result<T, Failure> {
        let mut progress = None;
        let (mut before, mut still) = (0, Stopwatch::start());
        let opened = wait_while(opening, || {
            let coming = store.replicas().into_iter().filter_map(|info| info.status);
            let coming = coming.filter(|status| status.remote.node_size > Some(status.position.0));
            let Some(status) = coming.max_by_key(|status| status.remote.node_size) else {
                // What is not here yet is found in time, or the library says why not.
                still = Stopwatch::start();
                return ControlFlow::Continue(());
            };
            if status.position.0 != before {
                (before, still) = (status.position.0, Stopwatch::start());
            }
            progress
                .get_or_insert_with(|| Progress::commits("fetching", status.remote.node_size))
                .reached(before);
            if still.elapsed() > self.nodes().wait {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        drop(progress);
        opened.ok_or_else(|| {
            Failure::failed(format!("cannot fetch all of {}", named(address)))
                .why(format_args!(
                    "the node has fallen silent; {} commits are here",
                    Count(before)
                ))
                .next("the same command again goes on from there")
        })
    }

    /// The copy that another process keeps up to date.
    fn copy_beside(&self, store: &Store, address: &ChainAddress) -> Result<Chain, Failure> {
        let own = address.root().unwrap_or_else(|| store.identity().id());
        let is_meant = |known: &ChainAddress| {
            known.root() == Some(own)
                && known.name() == address.name()
                && (address
                    .node()
                    .node()
                    .is_none_or(|node| known.node().node() == Some(node)))
        };
        let replicas = store.replicas();
        let replica = replicas
            .iter()
            .find(|replica| replica.address.as_ref().is_some_and(is_meant));
        let none = || {
            Failure::failed(format!(
                "no copy of {} is in {}",
                named(address),
                self.shown_dir()
            ))
            .why("another process has the store open for writing, so none can be fetched")
            .next("name the chain to `ate replicate` too, end that process, or use another --dir")
        };
        let replica = replica.ok_or_else(none)?;
        let chain = store.existing_chain(&replica.chain.to_string()).wait();
        chain.map_err(|error| match error {
            ate::Error::NoChain { .. } => none(),
            error => fault(error),
        })
    }

    /// Waits until all that the node has is here, as long as it answers, and says so if it does not.
    pub(crate) fn freshen(&self, store: &Store, chain: &Chain) -> Result<(), Failure> {
        if chain.is_new() {
            return Ok(());
        }
        let progress = Progress::commits("fetching", None);
        let begun = chain.position();
        let (mut before, mut still) = (begun, Stopwatch::start());
        while let Some(status) = store.replica_status(chain) {
            self.check_diverged(store, chain, &status)?;
            let size = status.remote.node_size;
            let is_up = status.link == LinkState::Up && status.remote.trouble.is_none();
            if is_up && size.is_some_and(|size| size <= status.position.0) {
                break;
            }
            if status.position > before {
                (before, still) = (status.position, Stopwatch::start());
                progress.reached(before.0 - begun.0);
            }
            if still.elapsed() >= self.nodes().left() {
                self.nodes().spend(still.elapsed());
                drop(progress);
                say(format_args!(
                    "note: {}: this is what is here, up to position {}",
                    unreached(&status),
                    status.position
                ));
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// The outcome of a commit. On a replica the node is waited for only so long; then it is a failure that says that the commit is durable here and on its way.
    pub(crate) fn landed<T>(
        &self,
        store: &Store,
        chain: &Chain,
        commit: Pending<Result<T, CommitError>>,
    ) -> Result<Result<T, CommitError>, Failure> {
        if !chain.local().is_replica() {
            return Ok(commit.wait());
        }
        let begun = Stopwatch::start();
        let left = self.nodes().left();
        let outcome = wait_while(commit, || {
            if begun.elapsed() < left {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        if let Some(outcome) = outcome {
            return Ok(outcome);
        }
        self.nodes().spend(begun.elapsed());
        chain.local().sync_staged().map_err(fault)?;
        let why = match store.replica_status(chain) {
            Some(status) => {
                self.check_diverged(store, chain, &status)?;
                unreached(&status)
            }
            None => "the node has not answered".to_owned(),
        };
        let name = chain.name();
        Err(Failure::new(
            Code::Unknown,
            "the commit is staged here, and not in the chain yet",
        )
        .why(why)
        .next(format!(
            "it is safe in {} and is sent by the next command that opens the chain, or by `ate replicate {name} --once`; `ate status {name}` shows whether it is in",
            self.shown_dir()
        )))
    }

    /// For whoever waits for news: none will come of a node that shows another history.
    pub(crate) fn check_followed(&self, store: &Store, chain: &Chain) -> Result<(), Failure> {
        match store.replica_status(chain) {
            Some(status) => self.check_diverged(store, chain, &status),
            None => Ok(()),
        }
    }

    /// A node that shows another history is not worked with.
    pub(crate) fn check_diverged(
        &self,
        store: &Store,
        chain: &Chain,
        status: &ReplicaStatus,
    ) -> Result<(), Failure> {
        let Some(what) = &status.remote.diverged else {
            return Ok(());
        };
        let file = store
            .known_nodes()
            .evidence_file(status.node.node, chain.id())
            .filter(|file| file.exists());
        let evidence = match file {
            Some(file) => format!("the evidence is kept in {}; ", file.display()),
            None => String::new(),
        };
        Err(Failure::new(
            Code::Rejected,
            format!(
                "the node at {}:{} shows another history of chain `{}`",
                status.node.host,
                status.node.port,
                chain.name()
            ),
        )
        .why(what)
        .next(format!(
            "{evidence}what is here was proven and stays: read it without --url; do not go on with that node before whoever runs it has explained it"
        )))
    }

    /// Why a chain of a node cannot be had.
    fn not_had(&self, error: ate::Error, address: &ChainAddress) -> Failure {
        let node = address.node().host_port();
        let cannot = format!("cannot open {}", named(address));
        let own_key = || {
            format!(
                "the key that `ate --dir {} identity show` prints",
                self.shown_dir()
            )
        };
        match &error {
            ate::Error::NoChain { .. } => {
                Failure::failed(format!("no {}, or it is not for this identity", named(address)))
                    .next(format!(
                        "only `put` and `import` create one, of this identity's own; another's is ROOT/CHAIN, and whoever has it grants it to {}",
                        own_key()
                    ))
            }
            ate::Error::Net(NetError::Transport(TransportError::WrongNode { .. })) => {
                Failure::from(error).during(cannot).next(format!(
                    "compare the key in --url with the first line that `ate serve` prints at {node}; if that is another one, somebody answers in its place"
                ))
            }
            ate::Error::Net(NetError::Refused {
                code: RefusalCode::Denied,
                ..
            }) => Failure::from(error).during(cannot).next(format!(
                "whoever runs the node lets an identity in with `ate serve --allow KEY`: {}",
                own_key()
            )),
            ate::Error::Net(NetError::Diverged(_)) => Failure::from(error)
                .during(cannot)
                .with_code(Code::Rejected)
                .next("do not go on with that node before whoever runs it has explained it"),
            _ if error.kind() == ErrorKind::Unreachable => {
                Failure::from(error).during(cannot).next(format!(
                    "see that `ate serve` runs there and that UDP packets reach {node}; --wait gives it more time"
                ))
            }
            ate::Error::Net(NetError::Transport(TransportError::Unusable { .. })) => {
                Failure::from(error)
                    .during(cannot)
                    .next("copy the whole first line that `ate serve` prints there")
            }
            _ => Failure::from(error).during(cannot),
        }
    }
}

/// A chain at a node, for people.
fn named(address: &ChainAddress) -> String {
    let node = address.node().host_port();
    match address.root() {
        Some(root) => format!("chain `{}` of {root} at {node}", address.name()),
        None => format!("chain `{}` at {node}", address.name()),
    }
}

/// What keeps a node from being heard.
pub(crate) fn unreached(status: &ReplicaStatus) -> String {
    let node = format!("{}:{}", status.node.host, status.node.port);
    match (&status.link, &status.remote.trouble) {
        (LinkState::Up, Some(trouble)) => {
            format!("the node at {node} does not serve it: {trouble}")
        }
        (LinkState::Up, None) => format!("the node at {node} has not answered in time"),
        (LinkState::Down { why: Some(why) }, _) => {
            format!("the node at {node} is out of reach: {why}")
        }
        _ => format!("the node at {node} has not answered in time"),
    }
}

fn refused(text: &str, error: &AddressError) -> Failure {
    Failure::usage(format!("cannot read the address `{text}`"))
        .because(error)
        .next(error.remedy())
}

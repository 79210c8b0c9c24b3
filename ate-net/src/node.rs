//! A node: hosts chains for others, orders their commits, shows the chains to whoever may follow, and holds no key to what is in them.

use std::sync::Arc;
use std::time::Duration;

use ate_chain::Clock;
use ate_crypto::Identity;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::debug;

use crate::gate::Gate;
use crate::host::{Admission, Host};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::node_id::NodeId;
use crate::transport::signal::Signal;
use crate::transport::{Connection, Counted, Listener};

mod board;
mod budget;
mod calls;
mod follow;
mod greet;
mod measure;
mod serve;
mod submit;
mod witness;

pub use board::CallBoard;

/// Code with which a connection is closed.
pub(crate) mod code {
    /// All went well.
    pub(crate) const DONE: u32 = 0;
    /// The peer did not keep to the protocol.
    pub(crate) const PROTOCOL: u32 = 1;
    /// The node is shutting down.
    pub(crate) const LEAVING: u32 = 2;
    /// The peer may not connect.
    pub(crate) const DENIED: u32 = 3;
    /// A limit was reached.
    pub(crate) const BUSY: u32 = 4;
}

/// Sizes and times of one message, stream and connection, and in `parties` how much of all that one party gets. The transport has limits of its own.
#[derive(Clone, Debug)]
pub struct NodeLimits {
    /// What an address, an identity and a chain may take of the node.
    pub parties: Limits,
    /// For a peer to say who it is: 5 s.
    pub hello: Duration,
    /// For a peer to take in one message: 30 s. One that is slower is cut off.
    pub write: Duration,
    /// For a peer to ask what it wants on a stream that it opened: 10 s.
    pub ask: Duration,
    /// For a batch that has begun to come, besides one second for each `batch_bytes_per_second_min` that have come: 20 s.
    pub batch: Duration,
    /// The slowest that a batch may come after that: 16 KiB a second.
    pub batch_bytes_per_second_min: u32,
    /// Bytes that a follower is shown in one message: 512 KiB, or one commit.
    pub shown_bytes: usize,
    /// Longest batch: 40 MiB.
    pub batch_bytes_max: usize,
    /// Batches of one stream that wait for their answers: 64.
    pub batches_waiting_max: usize,
    /// Bytes of batches that come or wait, of all peers: 192 MiB. What they take in memory while they are decoded is about twice that.
    pub batches_bytes: usize,
    /// The same of one connection, and at least one batch: 64 MiB.
    pub batches_bytes_per_connection: usize,
    /// Bytes on their way to peers, of all: 192 MiB. Only messages of more than 16 KiB are counted.
    pub sending_bytes: usize,
    /// The same of one connection, and at least one message: 64 MiB.
    pub sending_bytes_per_connection: usize,
    /// Contents in one request: 1024.
    pub fetch_max: usize,
    /// Requests that work at one moment, on the disk or the processor: 16. The others wait, in the order in which they came.
    pub working: usize,
    /// The same of one connection: 2.
    pub working_per_connection: usize,
    /// Between two signed checkpoints for one follower: 10 s.
    pub note_every: Duration,
    /// Servers of services that one connection shows: 64.
    pub servers_max: usize,
    /// Paths of calls that one connection opens, and as many to the servers that it shows: 512.
    pub paths_max: usize,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            parties: Limits::default(),
            hello: Duration::from_secs(5),
            write: Duration::from_secs(30),
            ask: Duration::from_secs(10),
            batch: Duration::from_secs(20),
            batch_bytes_per_second_min: 16 << 10,
            shown_bytes: 512 << 10,
            batch_bytes_max: crate::framed::BULK_BYTES_MAX,
            batches_waiting_max: 64,
            batches_bytes: 192 << 20,
            batches_bytes_per_connection: 64 << 20,
            sending_bytes: 192 << 20,
            sending_bytes_per_connection: 64 << 20,
            fetch_max: 1024,
            working: 16,
            working_per_connection: 2,
            note_every: Duration::from_secs(10),
            servers_max: 64,
            paths_max: 512,
        }
    }
}

/// What a node is made of.
pub struct NodeParts {
    /// Its identity: its TLS key is derived from it, and it signs checkpoints of chains that list its note key.
    pub identity: Identity,
    /// Its chains.
    pub host: Arc<dyn Host>,
    /// Whom it lets do what.
    pub admission: Arc<dyn Admission>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// Its limits.
    pub limits: NodeLimits,
}

/// A node that answers, until it is shut down or dropped.
pub struct Node {
    leaving: Arc<Signal<bool>>,
    listener: Arc<dyn Listener>,
    accepting: tokio::task::JoinHandle<()>,
    metrics: Arc<Metrics>,
}

/// What all connections of a node share.
pub(crate) struct Shared {
    pub(crate) parts: NodeParts,
    pub(crate) id: NodeId,
    pub(crate) note_key: Vec<u8>,
    pub(crate) leaving: Arc<Signal<bool>>,
    pub(crate) gate: Arc<Gate>,
    /// Who counts handshakes: the listener, where it can do so before they cost anything.
    counted: Counted,
    batches: Arc<Semaphore>,
    sending: Arc<Semaphore>,
    working: Semaphore,
    pub(crate) board: CallBoard,
}

impl Node {
    /// Answers on a listener whose key is that of `parts.identity`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(listener: Arc<dyn Listener>, parts: NodeParts) -> Self {
        Self::start_with(listener, parts, &CallBoard::new())
    }

    /// As [`Node::start`], with a board of servers that it shares: with other nodes of this process, and with callers and servers of this process.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start_with(listener: Arc<dyn Listener>, parts: NodeParts, board: &CallBoard) -> Self {
        let leaving = Arc::new(Signal::new(false));
        let limits = &parts.limits;
        let gate = Arc::new(Gate::new(limits.parties.clone()));
        let metrics = gate.metrics.clone();
        metrics.started_seconds.set(parts.clock.now_ms() / 1000);
        let largest = limits.batch_bytes_max.saturating_add(1 << 20);
        let shared = Arc::new(Shared {
            counted: listener.guard(&gate),
            batches: budget::room(limits.batches_bytes.max(largest)),
            sending: budget::room(limits.sending_bytes.max(largest)),
            working: Semaphore::new(limits.working.clamp(1, Semaphore::MAX_PERMITS)),
            gate,
            id: NodeId::of_key(parts.identity.node_key().public_bytes()),
            note_key: parts.identity.note_keys().public_bytes(),
            parts,
            leaving: leaving.clone(),
            board: board.clone(),
        });
        let accepting = tokio::spawn(accept(listener.clone(), shared));
        Self {
            leaving,
            listener,
            accepting,
            metrics,
        }
    }

    /// What the node counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Takes no further connections or requests, lets batches that were taken in be answered, and ends the connections.
    pub async fn shut_down(mut self) {
        self.leaving
            .change(|leaving| !std::mem::replace(leaving, true));
        self.listener.close();
        // It ends with its last connection.
        drop((&mut self.accepting).await);
        self.listener.ended().await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.listener.close();
        self.leaving
            .change(|leaving| !std::mem::replace(leaving, true));
        self.accepting.abort();
    }
}

async fn accept(listener: Arc<dyn Listener>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Some(connection) = next(&*listener, &shared).await {
        while connections.try_join_next().is_some() {}
        let metrics = &shared.gate.metrics;
        let from = connection.peer();
        let handshake = match shared.counted {
            Counted::ByNode => shared.gate.handshake(from).map(Some),
            Counted::ByListener => Ok(None),
        };
        let places = handshake.and_then(|place| Ok((place, shared.gate.connection(from)?)));
        match places {
            Ok(places) => {
                metrics.connections_accepted.add(1);
                connections.spawn(serve::connection(shared.clone(), connection, places));
            }
            Err(hit) => {
                debug!(address = ?from, %hit, "refused");
                connection.close(code::BUSY, &hit.to_string());
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn next(listener: &dyn Listener, shared: &Shared) -> Option<Arc<dyn Connection>> {
    tokio::select! {
        biased;
        () = left(shared.leaving.clone()) => None,
        connection = listener.accept() => connection,
    }
}

/// Waits until the node leaves.
pub(crate) async fn left(leaving: Arc<Signal<bool>>) {
    leaving.until(|leaving| leaving.then_some(())).await;
}

/// Runs what may block, on a tokio runtime, where that is allowed: on a runtime with one thread it blocks that.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    let flavor = tokio::runtime::Handle::current().runtime_flavor();
    if flavor == tokio::runtime::RuntimeFlavor::MultiThread {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

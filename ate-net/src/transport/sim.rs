//! A simulated network: hosts with names, and whatever can happen between them, from a seed.
//!
//! Time is tokio's. On a runtime of one thread with paused time (`start_paused`) a run of hours takes moments, and the same seed with the same calls gives the same run.
//! What is simulated is what stays of a network above a reliable connection: delay and order, loss as the delay of a retransmission, connections that break, and bytes
//! that another node altered before it sent them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::link::{Link, LinkConnection};
use super::queue::Queue;
use super::signal::Signal;
use super::{Connection, Endpoint, Listener, Task, Transport, TransportError};
use crate::node_id::NodeId;

mod chance;
mod wire;

use chance::Chance;
use wire::{Onto, SILENCE, Wire};

/// Connections that a listener has not given out yet.
const BACKLOG_MAX: usize = 1024;

/// How the network behaves. Holds for all hosts; may be changed while it runs.
#[derive(Clone, Debug)]
pub struct SimConditions {
    /// The shortest way between two hosts: 1 ms.
    pub latency_min: Duration,
    /// The longest: 20 ms. Each delivery draws its own, so what belongs to different streams overtakes.
    pub latency_max: Duration,
    /// Deliveries of a thousand that are lost, and sent again after `retransmit`: 0.
    pub loss_per_mille: u32,
    /// How long the sender waits before it sends again; doubled at each further loss of the same delivery: 100 ms.
    pub retransmit: Duration,
    /// After so long without anything, both sides give the connection up: 30 s.
    pub idle: Duration,
    /// How long dialling may take: 10 s.
    pub handshake: Duration,
    /// Bytes a second in each direction of each connection; `None`: no limit.
    pub bytes_per_second: Option<u64>,
    /// Dials of a thousand that arrive twice: the listener gets a connection beside the true one on which nothing ever comes: 0.
    pub duplicates_per_mille: u32,
}

impl Default for SimConditions {
    fn default() -> Self {
        Self {
            latency_min: Duration::from_millis(1),
            latency_max: Duration::from_millis(20),
            loss_per_mille: 0,
            retransmit: Duration::from_millis(100),
            idle: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            bytes_per_second: None,
            duplicates_per_mille: 0,
        }
    }
}

impl SimConditions {
    fn time_of(&self, bytes: u64) -> Duration {
        let rate = self.bytes_per_second.map(|rate| rate.max(1));
        rate.map_or(Duration::ZERO, |rate| {
            Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate)
        })
    }
}

/// Bytes of a stream on their way, for [`SimNetwork::alter`].
#[derive(Debug)]
pub struct Passing<'a> {
    /// The host that wrote them.
    pub from: &'a str,
    /// The host that will read them.
    pub to: &'a str,
    /// A part of what was written, in the order of the stream.
    pub bytes: Bytes,
}

type Alter = Box<dyn FnMut(Passing<'_>) -> Bytes + Send>;

/// Hosts that may reach each other. Cheap to clone: a handle.
#[derive(Clone)]
pub struct SimNetwork(Arc<Inner>);

struct Inner {
    seed: u64,
    chance: Chance,
    conditions: Mutex<SimConditions>,
    state: Mutex<State>,
    /// Pairs between which nothing passes, each in order.
    cuts: Signal<BTreeSet<(String, String)>>,
    alter: Mutex<Option<Alter>>,
}

#[derive(Default)]
struct State {
    hosts: BTreeMap<String, Host>,
    connections: u64,
    links: Vec<Standing>,
}

struct Host {
    address: IpAddr,
    /// By port.
    nodes: BTreeMap<u16, (NodeId, Weak<Backlog>)>,
}

type Backlog = Queue<Arc<dyn Connection>>;

/// A connection that may still stand.
struct Standing {
    link: Weak<Link>,
    wire: Weak<Wire>,
    hosts: [String; 2],
}

impl SimNetwork {
    /// A network without hosts, of which everything that is drawn comes from `seed`.
    #[must_use]
    pub fn new(seed: u64, conditions: SimConditions) -> Self {
        Self(Arc::new(Inner {
            seed,
            chance: Chance::new(seed),
            conditions: Mutex::new(conditions),
            state: Mutex::default(),
            cuts: Signal::new(BTreeSet::new()),
            alter: Mutex::new(None),
        }))
    }

    /// Changes how the network behaves, for all that is sent from now on.
    pub fn set_conditions(&self, conditions: SimConditions) {
        *self.0.conditions.lock() = conditions;
    }

    /// A node begins to answer on `host`. One that has answered there before gets its former port, so endpoints that others know stay true.
    ///
    /// # Errors
    /// [`TransportError::Unusable`] if the node answers there already, or if no port is left.
    pub fn listen(&self, host: &str, node: NodeId) -> Result<SimListener, TransportError> {
        let queue = Arc::new(Queue::new(BACKLOG_MAX));
        let mut state = self.0.state.lock();
        let nodes = &mut state.host(host).nodes;
        let known = nodes.iter_mut().find(|(_, (known, _))| *known == node);
        let port = if let Some((&port, (_, known))) = known {
            if known.upgrade().is_some_and(|known| !known.is_closed()) {
                return Err(unusable("the node answers already"));
            }
            *known = Arc::downgrade(&queue);
            port
        } else {
            let last = nodes.last_key_value();
            let next = last.map_or(Some(1), |(&port, _)| port.checked_add(1));
            let port = next.ok_or_else(|| unusable("no port is left"))?;
            nodes.insert(port, (node, Arc::downgrade(&queue)));
            port
        };
        let endpoint = Endpoint {
            host: host.to_owned(),
            port,
            node,
        };
        Ok(SimListener { queue, endpoint })
    }

    /// Dials from `host`.
    #[must_use]
    pub fn transport(&self, host: &str) -> SimTransport {
        self.0.state.lock().host(host);
        SimTransport {
            network: Arc::clone(&self.0),
            host: host.to_owned(),
        }
    }

    /// Nothing passes between two hosts any more. What is sent waits; connections break when it lasts for longer than `idle`.
    pub fn partition(&self, one: &str, other: &str) {
        self.0.cuts.change(|cuts| cuts.insert(pair(one, other)));
    }

    /// Lets everything pass between two hosts again.
    pub fn heal(&self, one: &str, other: &str) {
        self.0.cuts.change(|cuts| cuts.remove(&pair(one, other)));
    }

    /// Lets everything pass between all hosts again.
    pub fn heal_all(&self) {
        self.0.cuts.change(|cuts| {
            let any = !cuts.is_empty();
            cuts.clear();
            any
        });
    }

    /// Breaks all connections between two hosts, for both at once. What is under way is lost.
    pub fn break_between(&self, one: &str, other: &str) {
        for (link, _) in self
            .0
            .standing(|hosts| pair(&hosts[0], &hosts[1]) == pair(one, other))
        {
            link.break_off("the connection was cut");
        }
    }

    /// `host` loses everything: its connections break at once, its listeners close, what is under way to it and from it is lost. Who was connected with it finds out after the way
    /// between them or only after `idle`. It can listen and dial again right away. The tasks that ran on it are the caller's to end.
    pub fn crash(&self, host: &str) {
        let backlogs: Vec<_> = {
            let mut state = self.0.state.lock();
            let nodes = state.host(host).nodes.values();
            nodes.filter_map(|(_, queue)| queue.upgrade()).collect()
        };
        for (link, wire) in self
            .0
            .standing(|hosts| hosts.iter().any(|name| name == host))
        {
            wire.crash(&link, host);
        }
        for backlog in backlogs {
            drop(backlog.close());
        }
    }

    /// Passes all bytes of streams through `hook` before they arrive: as a node in between might change them. It must not call this network.
    pub fn alter(&self, hook: impl FnMut(Passing<'_>) -> Bytes + Send + 'static) {
        *self.0.alter.lock() = Some(Box::new(hook));
    }

    /// Lets all bytes pass unchanged again.
    pub fn alter_nothing(&self) {
        *self.0.alter.lock() = None;
    }
}

fn pair(one: &str, other: &str) -> (String, String) {
    let (low, high) = if one < other {
        (one, other)
    } else {
        (other, one)
    };
    (low.to_owned(), high.to_owned())
}

fn unusable(why: &str) -> TransportError {
    TransportError::Unusable {
        why: why.to_owned(),
    }
}

impl State {
    /// Hosts have addresses in the order in which they are first named.
    fn host(&mut self, name: &str) -> &mut Host {
        let [.., high, low] = self.hosts.len().to_be_bytes();
        self.hosts.entry(name.to_owned()).or_insert_with(|| Host {
            address: Ipv4Addr::new(10, 0, high, low).into(),
            nodes: BTreeMap::new(),
        })
    }
}

impl Inner {
    fn conditions(&self) -> SimConditions {
        self.conditions.lock().clone()
    }

    /// One way, with its losses; `None`: they last for longer than anybody waits.
    fn delay(&self, conditions: &SimConditions) -> Option<Duration> {
        let between = (conditions.latency_min, conditions.latency_max);
        let mut delay = self.chance.between(between.0, between.1);
        let mut wait = conditions.retransmit;
        while self.chance.hits(conditions.loss_per_mille) {
            delay += wait;
            wait *= 2;
            if delay > conditions.idle {
                return None;
            }
        }
        Some(delay)
    }

    /// Waits for one way between two hosts, for ever if it never gets through.
    async fn way(&self, from: &str, to: &str) {
        match self.delay(&self.conditions()) {
            Some(delay) => sleep(delay).await,
            None => std::future::pending().await,
        }
        let pair = pair(from, to);
        self.cuts
            .until(|cuts| (!cuts.contains(&pair)).then_some(()))
            .await;
    }

    fn alter(&self, from: &str, to: &str, bytes: Bytes) -> Bytes {
        match &mut *self.alter.lock() {
            Some(hook) => hook(Passing { from, to, bytes }),
            None => bytes,
        }
    }

    fn standing(&self, which: impl Fn(&[String; 2]) -> bool) -> Vec<(Arc<Link>, Arc<Wire>)> {
        let state = self.state.lock();
        let chosen = state.links.iter().filter(|it| which(&it.hosts));
        chosen
            .filter_map(|it| Some((it.link.upgrade()?, it.wire.upgrade()?)))
            .collect()
    }

    /// Who answers at an endpoint.
    fn answering(&self, to: &Endpoint) -> Result<Arc<Backlog>, TransportError> {
        let state = self.state.lock();
        let node = state.hosts.get(&to.host);
        let node = node.and_then(|host| host.nodes.get(&to.port));
        let open = node.and_then(|(id, queue)| Some((*id, queue.upgrade()?)));
        match open.filter(|(_, queue)| !queue.is_closed()) {
            Some((id, _)) if id != to.node => Err(TransportError::WrongNode { to: to.to_string() }),
            Some((_, queue)) => Ok(queue),
            None => Err(unreachable(to, "nobody answers")),
        }
    }

    /// Both ends of a new connection, with the task that moves its frames.
    fn link(self: &Arc<Self>, from: &str, to: &str) -> (LinkConnection, LinkConnection) {
        let hosts = [from.to_owned(), to.to_owned()];
        let wire = Wire::new(Arc::clone(self), hosts.clone());
        let mut state = self.state.lock();
        state.connections += 1;
        let number = state.connections.to_le_bytes();
        let binding = ate_crypto::tagged("ATE-sim-v1", &[&self.seed.to_le_bytes(), &number]);
        let addresses = [state.host(to).address, state.host(from).address].map(Some);
        let carrier = Box::new(Onto(Arc::clone(&wire)));
        let (near, far) = Link::pair(carrier, binding.0, addresses);
        let link = near.link();
        state.links.retain(|it| it.link.strong_count() > 0);
        state.links.push(Standing {
            link: Arc::downgrade(link),
            wire: Arc::downgrade(&wire),
            hosts,
        });
        tokio::spawn(wire.run(Arc::clone(link)));
        (near, far)
    }
}

fn unreachable(to: &Endpoint, why: &str) -> TransportError {
    TransportError::Unreachable {
        to: to.to_string(),
        why: why.to_owned(),
    }
}

/// Dials from one host of a [`SimNetwork`].
#[derive(Clone)]
pub struct SimTransport {
    network: Arc<Inner>,
    host: String,
}

impl SimTransport {
    async fn dial(&self, to: &Endpoint) -> Result<Arc<dyn Connection>, TransportError> {
        let network = &self.network;
        network.way(&self.host, &to.host).await;
        let answer = network.answering(to);
        let conditions = network.conditions();
        if answer.is_ok() && network.chance.hits(conditions.duplicates_per_mille) {
            self.ghost(to, conditions.idle);
        }
        network.way(&to.host, &self.host).await;
        let backlog = answer?;
        let (near, far) = network.link(&self.host, &to.host);
        // The listener has the connection when the dialler's last words of the handshake are there; of two dials the later one may be first.
        let (network, from, to) = (Arc::clone(network), self.host.clone(), to.host.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = far.closed() => {}
                () = network.way(&from, &to) => {
                    let far: Arc<dyn Connection> = Arc::new(far);
                    // Closed meanwhile: dropping it tells the dialler.
                    drop(backlog.push(far));
                }
            }
        });
        Ok(Arc::new(near))
    }

    /// The second copy of a dial. Nobody is behind it, so it ends in silence.
    fn ghost(&self, to: &Endpoint, idle: Duration) {
        let Ok(backlog) = self.network.answering(to) else {
            return;
        };
        let (near, far) = self.network.link(&self.host, &to.host);
        let (network, from, to) = (
            Arc::clone(&self.network),
            self.host.clone(),
            to.host.clone(),
        );
        tokio::spawn(async move {
            network.way(&from, &to).await;
            let far: Arc<dyn Connection> = Arc::new(far);
            drop(backlog.push(far));
            sleep(idle).await;
            near.link().break_off(SILENCE);
        });
    }
}

impl Transport for SimTransport {
    fn connect<'a>(
        &'a self,
        to: &'a Endpoint,
    ) -> Task<'a, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async {
            let within = self.network.conditions().handshake;
            match timeout(within, self.dial(to)).await {
                Ok(answer) => answer,
                Err(_) => Err(unreachable(to, "no answer in time")),
            }
        })
    }
}

/// Answers on one host of a [`SimNetwork`], until it is closed, dropped, or its host crashes.
pub struct SimListener {
    queue: Arc<Backlog>,
    endpoint: Endpoint,
}

impl SimListener {
    /// Where it can be dialled.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }
}

impl Listener for SimListener {
    fn accept(&self) -> Task<'_, Option<Arc<dyn Connection>>> {
        Box::pin(self.queue.pop())
    }

    fn local(&self) -> (String, u16) {
        (self.endpoint.host.clone(), self.endpoint.port)
    }

    fn close(&self) {
        drop(self.queue.close());
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;

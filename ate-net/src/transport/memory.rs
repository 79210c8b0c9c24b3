//! Nodes in one process: connections of memory alone, for tests and for programs that are their own server.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::link::{Carrier, Frame, Link, Side};
use super::queue::Queue;
use super::{Connection, Endpoint, Listener, Task, Transport, TransportError};
use crate::node_id::NodeId;

/// The host of every endpoint in memory.
const HOST: &str = "memory";
/// Connections that a listener has not given out yet.
const BACKLOG_MAX: usize = 1024;

/// Nodes that can reach each other. Cheap to clone: a handle.
///
/// Everything arrives at once and in the order of the calls; on a runtime of one thread a run is repeatable. Node keys are not proven but looked up: what is in one
/// process needs no proof.
#[derive(Clone, Default)]
pub struct MemoryNetwork(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By port.
    nodes: BTreeMap<u16, Node>,
    connections: u64,
}

struct Node {
    id: NodeId,
    queue: Weak<Queue<Arc<dyn Connection>>>,
    links: Vec<Weak<Link>>,
}

impl MemoryNetwork {
    /// A network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A node begins to answer. One that has answered before gets its former port, so endpoints that others know stay true.
    ///
    /// # Errors
    /// [`TransportError::Unusable`] if the node answers already, or if no port is left.
    pub fn listen(&self, node: NodeId) -> Result<MemoryListener, TransportError> {
        let queue = Arc::new(Queue::new(BACKLOG_MAX));
        let mut state = self.0.state.lock();
        let known = state.nodes.iter_mut().find(|(_, known)| known.id == node);
        let port = if let Some((&port, known)) = known {
            if known
                .queue
                .upgrade()
                .is_some_and(|queue| !queue.is_closed())
            {
                return Err(unusable("the node answers already"));
            }
            known.queue = Arc::downgrade(&queue);
            port
        } else {
            let next = state
                .nodes
                .last_key_value()
                .map_or(Some(1), |(&port, _)| port.checked_add(1));
            let port = next.ok_or_else(|| unusable("no port is left"))?;
            let new = Node {
                id: node,
                queue: Arc::downgrade(&queue),
                links: Vec::new(),
            };
            state.nodes.insert(port, new);
            port
        };
        Ok(MemoryListener { queue, node, port })
    }

    /// Dials within this network.
    #[must_use]
    pub fn transport(&self) -> MemoryTransport {
        MemoryTransport(self.clone())
    }

    /// Breaks all connections to `node`: both sides get [`TransportError::Broken`], and what was not read is lost to neither.
    pub fn cut(&self, node: NodeId) {
        let links: Vec<_> = {
            let mut state = self.0.state.lock();
            let nodes = state.nodes.values_mut().filter(|known| known.id == node);
            nodes
                .flat_map(|node| std::mem::take(&mut node.links))
                .collect()
        };
        for link in links.iter().filter_map(Weak::upgrade) {
            link.break_off("the connection was cut");
        }
    }

    fn connect(&self, to: &Endpoint) -> Result<Arc<dyn Connection>, TransportError> {
        let unreachable = |why: &str| TransportError::Unreachable {
            to: to.to_string(),
            why: why.to_owned(),
        };
        let mut state = self.0.state.lock();
        state.connections += 1;
        let number = state.connections;
        let node = state.nodes.get_mut(&to.port).filter(|_| to.host == HOST);
        let node = node.ok_or_else(|| unreachable("nobody was ever there"))?;
        let queue = node.queue.upgrade();
        let queue = queue.ok_or_else(|| unreachable("nobody answers"))?;
        if node.id != to.node {
            return Err(TransportError::WrongNode { to: to.to_string() });
        }
        let binding = ate_crypto::tagged("ATE-memory-v1", &[&number.to_le_bytes()]);
        let (dialler, listener) = Link::pair(Box::new(AtOnce), binding.0, [None, None]);
        node.links.retain(|link| link.strong_count() > 0);
        node.links.push(Arc::downgrade(dialler.link()));
        drop(state);
        let listener: Arc<dyn Connection> = Arc::new(listener);
        match queue.push(listener) {
            Ok(()) => Ok(Arc::new(dialler)),
            Err(_) => Err(unreachable("it takes no further connections")),
        }
    }
}

fn unusable(why: &str) -> TransportError {
    TransportError::Unusable {
        why: why.to_owned(),
    }
}

/// Frames arrive before the call returns.
struct AtOnce;

impl Carrier for AtOnce {
    fn carry(&self, link: &Arc<Link>, to: Side, frame: Frame) {
        link.arrive(to, frame);
    }
}

/// Dials in a [`MemoryNetwork`].
#[derive(Clone)]
pub struct MemoryTransport(MemoryNetwork);

impl Transport for MemoryTransport {
    fn connect<'a>(
        &'a self,
        to: &'a Endpoint,
    ) -> Task<'a, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async { self.0.connect(to) })
    }
}

/// Answers in a [`MemoryNetwork`], until it is closed or dropped.
pub struct MemoryListener {
    queue: Arc<Queue<Arc<dyn Connection>>>,
    node: NodeId,
    port: u16,
}

impl MemoryListener {
    /// Where it can be dialled.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            host: HOST.to_owned(),
            port: self.port,
            node: self.node,
        }
    }
}

impl Listener for MemoryListener {
    fn accept(&self) -> Task<'_, Option<Arc<dyn Connection>>> {
        Box::pin(self.queue.pop())
    }

    fn local(&self) -> (String, u16) {
        (HOST.to_owned(), self.port)
    }

    fn close(&self) {
        drop(self.queue.close());
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cut_breaks_the_connections_of_a_node_for_both_sides() {
        let network = MemoryNetwork::new();
        let (one, two) = (NodeId::of_key(b"one"), NodeId::of_key(b"two"));
        let one = network.listen(one).unwrap();
        let two = network.listen(two).unwrap();
        let transport = network.transport();
        let near = transport.connect(&one.endpoint()).await.unwrap();
        let far = one.accept().await.unwrap();
        let other = transport.connect(&two.endpoint()).await.unwrap();
        network.cut(one.node);
        for end in [near.closed().await, far.closed().await] {
            assert!(matches!(end, TransportError::Broken { .. }), "{end:?}");
        }
        assert!(other.open().await.is_ok());
        assert!(transport.connect(&one.endpoint()).await.is_ok());
    }

    #[tokio::test]
    async fn a_node_comes_back_where_it_was_and_only_once() {
        let network = MemoryNetwork::new();
        let node = NodeId::of_key(b"a node");
        let first = network.listen(node).unwrap();
        assert!(network.listen(node).is_err());
        let endpoint = first.endpoint();
        drop(first);
        assert!(network.transport().connect(&endpoint).await.is_err());
        let second = network.listen(node).unwrap();
        assert_eq!(second.endpoint(), endpoint);
        assert!(network.transport().connect(&endpoint).await.is_ok());
    }
}

//! QUIC (RFC 9000) with TLS 1.3: nodes on different machines.
//!
//! The key exchange is X25519MLKEM768 and nothing else, the node that answers proves an ML-DSA-65 key as a raw public key (RFC 7250) and nothing else, the node that
//! dials shows no key. There is no resumption and no early data.
//!
//! Both types must be made and used within a tokio runtime with I/O and time: their tasks run there.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use ate_crypto::NodeKey;
use parking_lot::Mutex;
use quinn::{ConnectionError, Incoming};
use rustls::crypto::CryptoProvider;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::queue::Queue;
use super::{Connection, Counted, Endpoint, Listener, Task, Transport, TransportError};
use crate::gate::{Gate, Place};
use crate::metrics::HandshakeEnd;
use crate::node_id::NodeId;

mod connection;
mod farewell;
mod limits;
mod restart;
mod tls;

use connection::{Dialler, QuicConnection, closed};
pub use limits::{QuicLimits, Retry};

/// Addresses of one host name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Bytes of a dialling node that are kept until its handshake begins.
const INCOMING_BYTES_MAX: u64 = 16 * 1024;

/// Dials over QUIC.
pub struct QuicTransport {
    endpoint: quinn::Endpoint,
    provider: Arc<CryptoProvider>,
    limits: QuicLimits,
}

impl QuicTransport {
    /// Takes a UDP port of the system's choice; on a system without IPv6 one of IPv4.
    ///
    /// # Errors
    /// [`TransportError::Unusable`] if there is no port.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn client(limits: &QuicLimits) -> Result<Self, TransportError> {
        let any = |ip: std::net::IpAddr| Self::client_at(SocketAddr::new(ip, 0), limits);
        any(Ipv6Addr::UNSPECIFIED.into()).or_else(|_| any(Ipv4Addr::UNSPECIFIED.into()))
    }

    /// Dials from a UDP address of this machine; port 0 is one of the system's choice.
    ///
    /// # Errors
    /// [`TransportError::Unusable`] if the address cannot be had.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn client_at(from: SocketAddr, limits: &QuicLimits) -> Result<Self, TransportError> {
        Ok(Self {
            endpoint: quinn::Endpoint::client(from).map_err(|error| unusable(&error))?,
            provider: Arc::new(tls::provider()?),
            limits: limits.clone(),
        })
    }

    /// Waits until all connections have ended and their peers know it: what a program does before it ends.
    pub fn wait_idle(&self) -> Task<'_, ()> {
        Box::pin(self.endpoint.wait_idle())
    }

    /// The addresses of a name.
    async fn look_up(
        &self,
        host: &str,
        port: u16,
    ) -> Result<impl Iterator<Item = SocketAddr>, TransportError> {
        let lookup = tokio::net::lookup_host((host, port));
        let found = tokio::time::timeout(self.limits.handshake, lookup).await;
        let found =
            found.map_err(|_| unreachable(host, port, &"its name was not found in time"))?;
        let found = found.map_err(|error| unreachable(host, port, &error))?;
        Ok(found.take(ADDRESSES_MAX))
    }

    async fn dial(
        &self,
        (host, port): (&str, u16),
        address: SocketAddr,
        node: Option<NodeId>,
    ) -> Result<(quinn::Connection, Arc<tls::Answered>), TransportError> {
        let unreachable = |why: &dyn std::fmt::Display| unreachable(host, port, why);
        let answered = Arc::new(tls::Answered::default());
        let provider = Arc::clone(&self.provider);
        let config = tls::quic_client(tls::client(provider, node, Arc::clone(&answered))?)?;
        let mut config = quinn::ClientConfig::new(Arc::new(config));
        config.transport_config(self.limits.dialling()?);
        let connecting = self
            .endpoint
            .connect_with(config, address, tls::SERVER_NAME)
            .map_err(|error| unreachable(&error))?;
        match tokio::time::timeout(self.limits.handshake, connecting).await {
            Ok(Ok(connection)) => Ok((connection, answered)),
            Ok(Err(_)) if node.is_some() && answered.who().is_some_and(|who| Some(who) != node) => {
                let to = place(host, port);
                Err(TransportError::WrongNode { to })
            }
            Ok(Err(error)) => Err(unreachable(&error)),
            Err(_) => Err(unreachable(&"no answer in time")),
        }
    }
}

impl Transport for QuicTransport {
    fn connect<'a>(
        &'a self,
        to: &'a Endpoint,
    ) -> Task<'a, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async move {
            let (host, port) = (to.host.as_str(), to.port);
            let mut last = unreachable(host, port, &"its name has no address");
            for address in self.look_up(host, port).await? {
                match self.dial((host, port), address, Some(to.node)).await {
                    Err(error @ TransportError::Unreachable { .. }) => last = error,
                    Err(error) => return Err(error),
                    Ok((connection, _)) => {
                        let connection = QuicConnection::new(connection, None)?;
                        return Ok(Arc::new(connection) as Arc<dyn Connection>);
                    }
                }
            }
            Err(last)
        })
    }

    /// A handshake with whoever answers, which ends with it: nothing is sent.
    fn discover<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Task<'a, Result<NodeId, TransportError>> {
        Box::pin(async move {
            let mut last = unreachable(host, port, &"its name has no address");
            for address in self.look_up(host, port).await? {
                match self.dial((host, port), address, None).await {
                    Err(error @ TransportError::Unreachable { .. }) => last = error,
                    Err(error) => return Err(error),
                    Ok((connection, answered)) => {
                        connection.close(0_u32.into(), b"");
                        let who = answered.who();
                        return who.ok_or_else(|| unreachable(host, port, &"it showed no key"));
                    }
                }
            }
            Err(last)
        })
    }

    fn ended(&self) -> Task<'_, ()> {
        self.wait_idle()
    }
}

fn place(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn unreachable(host: &str, port: u16, why: &dyn std::fmt::Display) -> TransportError {
    TransportError::Unreachable {
        to: place(host, port),
        why: why.to_string(),
    }
}

/// Answers over QUIC, until it is closed or dropped.
pub struct QuicListener {
    endpoint: quinn::Endpoint,
    queue: Arc<Queue<Arc<dyn Connection>>>,
    accepting: JoinHandle<()>,
    local: SocketAddr,
    node: NodeId,
    door: Arc<Door>,
}

impl QuicListener {
    /// Listens on a UDP address; port 0 is one of the system's choice.
    ///
    /// # Errors
    /// [`TransportError::Unusable`] if the address cannot be had.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(
        address: SocketAddr,
        key: &NodeKey,
        limits: &QuicLimits,
    ) -> Result<Self, TransportError> {
        let crypto = tls::quic_server(tls::server(Arc::new(tls::provider()?), key)?)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(limits.answering()?)
            // A little more, so that those above the limit hear that they are refused.
            .max_incoming(limits.half_open_max.saturating_add(64))
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_MAX * 256);
        let socket = std::net::UdpSocket::bind(address).map_err(|error| unusable(&error))?;
        let local = socket.local_addr().map_err(|error| unusable(&error))?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = restart::endpoint(key, local.port());
        let endpoint = quinn::Endpoint::new(endpoint, Some(config), socket, runtime)
            .map_err(|error| unusable(&error))?;
        let queue = Arc::new(Queue::new(limits.connections_max));
        let door = Arc::new(Door {
            queue: Arc::clone(&queue),
            half_open: places(limits.half_open_max),
            connections: places(limits.connections_max),
            limits: limits.clone(),
            gate: OnceLock::new(),
        });
        let accepting = tokio::spawn(accept(endpoint.clone(), door.clone()));
        Ok(Self {
            endpoint,
            queue,
            accepting,
            local,
            door,
            node: NodeId::of_key(key.public_bytes()),
        })
    }

    /// The node that answers.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The address on which it listens, with the port that it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.local
    }

    /// Waits until all connections have ended and their peers know it: what a program does before it ends.
    pub fn wait_idle(&self) -> Task<'_, ()> {
        Box::pin(self.endpoint.wait_idle())
    }
}

impl Listener for QuicListener {
    fn accept(&self) -> Task<'_, Option<Arc<dyn Connection>>> {
        Box::pin(self.queue.pop())
    }

    /// The address as it was bound. One that means all addresses of the machine can be dialled from that machine alone.
    fn local(&self) -> (String, u16) {
        (self.local.ip().to_string(), self.local.port())
    }

    /// Whoever has no share left is refused at the price of one packet.
    fn guard(&self, gate: &Arc<Gate>) -> Counted {
        // Only the first is asked; a second node on one listener would count for itself.
        match self.door.gate.set(gate.clone()) {
            Ok(()) => Counted::ByListener,
            Err(_) => Counted::ByNode,
        }
    }

    /// Until it is dropped, those that dial are told that they are refused.
    fn close(&self) {
        drop(self.queue.close());
    }

    fn ended(&self) -> Task<'_, ()> {
        self.wait_idle()
    }
}

impl Drop for QuicListener {
    /// Connections that stand keep the socket open; on it, nobody answers any more.
    fn drop(&mut self) {
        self.close();
        self.accepting.abort();
        self.endpoint.set_server_config(None);
    }
}

/// Who may come in.
struct Door {
    queue: Arc<Queue<Arc<dyn Connection>>>,
    half_open: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    limits: QuicLimits,
    /// Who counts handshakes by address, once there is somebody.
    gate: OnceLock<Arc<Gate>>,
}

/// So many permits, or as many as there can be.
fn places(count: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
}

async fn accept(endpoint: quinn::Endpoint, door: Arc<Door>) {
    while let Some(incoming) = endpoint.accept().await {
        door.open(incoming);
    }
}

impl Door {
    /// Refuses at the price of one packet, or begins the handshake in a task of its own.
    fn open(self: &Arc<Self>, incoming: Incoming) {
        if self.queue.is_closed() {
            incoming.refuse();
            return;
        }
        let most = self.limits.half_open_max.min(Semaphore::MAX_PERMITS);
        let half_open = most - self.half_open.available_permits();
        let must_retry = match self.limits.retry {
            Retry::Always => true,
            Retry::Above(count) => half_open >= count,
        };
        if must_retry && !incoming.remote_address_validated() && incoming.may_retry() {
            // Fails only if it may not.
            let _ = incoming.retry();
            return;
        }
        let half_open = Arc::clone(&self.half_open).try_acquire_owned();
        let slot = Arc::clone(&self.connections).try_acquire_owned();
        let (Ok(half_open), Ok(slot)) = (half_open, slot) else {
            tracing::debug!(peer = %incoming.remote_address(), "refused: too many connections");
            incoming.refuse();
            return;
        };
        let address = incoming.remote_address().ip().to_canonical();
        let place = self.gate.get().map(|gate| gate.handshake(Some(address)));
        match place.transpose() {
            Ok(place) => drop(tokio::spawn(
                Arc::clone(self).handshake(incoming, half_open, slot, place),
            )),
            Err(hit) => {
                tracing::debug!(peer = %address, %hit, "refused");
                incoming.refuse();
            }
        }
    }

    async fn handshake(
        self: Arc<Self>,
        incoming: Incoming,
        half_open: OwnedSemaphorePermit,
        slot: OwnedSemaphorePermit,
        place: Option<Place>,
    ) {
        let peer = incoming.remote_address();
        let answered = match incoming.accept() {
            Ok(connecting) => tokio::time::timeout(self.limits.handshake, connecting)
                .await
                .unwrap_or(Err(ConnectionError::TimedOut)),
            Err(error) => Err(error),
        };
        drop(half_open);
        let dialler = Dialler {
            streams_max: self.limits.streams_max,
            window_bytes: self.limits.connection_window_bytes,
            slot: Arc::new(slot),
            place: Mutex::new(place),
        };
        let made = answered
            .map_err(closed)
            .and_then(|connection| QuicConnection::new(connection, Some(dialler)));
        match made {
            // A closed listener drops it, which closes it.
            Ok(connection) => drop(self.queue.push(Arc::new(connection))),
            Err(error) => {
                if let Some(gate) = self.gate.get() {
                    gate.broken(HandshakeEnd::Broken);
                }
                tracing::debug!(%peer, %error, "a handshake failed");
            }
        }
    }
}

fn unusable(why: &dyn std::fmt::Display) -> TransportError {
    TransportError::Unusable {
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests;

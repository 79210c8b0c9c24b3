//! QUIC (RFC 9000) with TLS 1.3: nodes on different machines.
//!
//! The key exchange is X25519MLKEM768 and nothing else, the node that answers proves an ML-DSA-65 key as a raw public key (RFC 7250) and nothing else, the node that
//! dials shows no key. There is no resumption and no early data.
//!
//! Both types must be made and used within a tokio runtime with I/O and time: their tasks run there.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ate_crypto::NodeKey;
use quinn::{ConnectionError, Incoming};
use rustls::crypto::CryptoProvider;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::queue::Queue;
use super::{Connection, Endpoint, Listener, Task, Transport, TransportError};
use crate::node_id::NodeId;

mod connection;
mod limits;
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
        let any = |ip: std::net::IpAddr| quinn::Endpoint::client(SocketAddr::new(ip, 0));
        let endpoint = any(Ipv6Addr::UNSPECIFIED.into())
            .or_else(|_| any(Ipv4Addr::UNSPECIFIED.into()))
            .map_err(|error| unusable(&error))?;
        Ok(Self {
            endpoint,
            provider: Arc::new(tls::provider()?),
            limits: limits.clone(),
        })
    }

    /// Waits until all connections have ended and their peers know it: what a program does before it ends.
    pub fn wait_idle(&self) -> Task<'_, ()> {
        Box::pin(self.endpoint.wait_idle())
    }

    async fn dial(
        &self,
        to: &Endpoint,
        address: SocketAddr,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        let unreachable = |why: &dyn std::fmt::Display| TransportError::Unreachable {
            to: to.to_string(),
            why: why.to_string(),
        };
        let answered = Arc::new(tls::Answered::default());
        let provider = Arc::clone(&self.provider);
        let config = tls::quic_client(tls::client(provider, to.node, Arc::clone(&answered))?)?;
        let mut config = quinn::ClientConfig::new(Arc::new(config));
        config.transport_config(self.limits.dialling()?);
        let connecting = self
            .endpoint
            .connect_with(config, address, tls::SERVER_NAME)
            .map_err(|error| unreachable(&error))?;
        match tokio::time::timeout(self.limits.handshake, connecting).await {
            Ok(Ok(connection)) => Ok(Arc::new(QuicConnection::new(connection, None)?)),
            Ok(Err(_)) if answered.is_other() => {
                Err(TransportError::WrongNode { to: to.to_string() })
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
            let unreachable = |why: &str| TransportError::Unreachable {
                to: to.to_string(),
                why: why.to_owned(),
            };
            let lookup = tokio::net::lookup_host((to.host.as_str(), to.port));
            let found = tokio::time::timeout(self.limits.handshake, lookup).await;
            let found = found.map_err(|_| unreachable("its name was not found in time"))?;
            let found = found.map_err(|error| unreachable(&error.to_string()))?;
            let mut last = unreachable("its name has no address");
            for address in found.take(ADDRESSES_MAX) {
                match self.dial(to, address).await {
                    Err(error @ TransportError::Unreachable { .. }) => last = error,
                    done => return done,
                }
            }
            Err(last)
        })
    }

    fn ended(&self) -> Task<'_, ()> {
        self.wait_idle()
    }
}

/// Answers over QUIC, until it is closed or dropped.
pub struct QuicListener {
    endpoint: quinn::Endpoint,
    queue: Arc<Queue<Arc<dyn Connection>>>,
    accepting: JoinHandle<()>,
    local: SocketAddr,
    node: NodeId,
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
        let endpoint =
            quinn::Endpoint::server(config, address).map_err(|error| unusable(&error))?;
        let local = endpoint.local_addr().map_err(|error| unusable(&error))?;
        let queue = Arc::new(Queue::new(limits.connections_max));
        let door = Arc::new(Door {
            queue: Arc::clone(&queue),
            half_open: places(limits.half_open_max),
            connections: places(limits.connections_max),
            limits: limits.clone(),
        });
        let accepting = tokio::spawn(accept(endpoint.clone(), door));
        Ok(Self {
            endpoint,
            queue,
            accepting,
            local,
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
        tokio::spawn(Arc::clone(self).handshake(incoming, half_open, slot));
    }

    async fn handshake(
        self: Arc<Self>,
        incoming: Incoming,
        half_open: OwnedSemaphorePermit,
        slot: OwnedSemaphorePermit,
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
        };
        let made = answered
            .map_err(closed)
            .and_then(|connection| QuicConnection::new(connection, Some(dialler)));
        match made {
            // A closed listener drops it, which closes it.
            Ok(connection) => drop(self.queue.push(Arc::new(connection))),
            Err(error) => tracing::debug!(%peer, %error, "a handshake failed"),
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

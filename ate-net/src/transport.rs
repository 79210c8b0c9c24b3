//! What moves bytes between two nodes: connections with streams, on which everything else of this crate runs.
//!
//! A transport says *who answered*: the key of the node that was dialled is part of [`Endpoint`], and a connection to any other node is an error. Who dialled is
//! settled above, by a signature over [`Connection::binding`].

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::gate::Gate;
use crate::node_id::NodeId;

mod link;
mod memory;
mod pipe;
mod queue;
mod quic;
mod signal;
mod sim;

pub use memory::{MemoryListener, MemoryNetwork, MemoryTransport};
pub use quic::{QuicLimits, QuicListener, QuicTransport, Retry};
pub use sim::{Passing, SimConditions, SimListener, SimNetwork, SimTransport};

/// A future in a box: no runtime shows in a signature.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a node answers, and which one it must be.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// UDP port, where there is one.
    pub port: u16,
    /// The key that it must prove to hold.
    pub node: NodeId,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// Dials.
///
/// Duties, which [`conformance`](crate::conformance) checks: a connection stands only after the other side has proven the key of the endpoint; streams are reliable,
/// ordered and independent of each other; a reader that does not read slows its own stream's writer down and nothing else; memory for a stream is bounded.
pub trait Transport: Send + Sync + 'static {
    /// Connects. No bytes of the caller are sent before the other side is authenticated. Dropped before it is done, nothing stays behind on this side; the other one may have
    /// seen a connection that ends at once.
    ///
    /// # Errors
    /// [`Unreachable`](TransportError::Unreachable), [`WrongNode`](TransportError::WrongNode) or [`Unusable`](TransportError::Unusable).
    fn connect<'a>(
        &'a self,
        to: &'a Endpoint,
    ) -> Task<'a, Result<Arc<dyn Connection>, TransportError>>;

    /// Which node answers at a place: its key, which it has proven to hold. Whether it is the node that was meant, nobody can tell who has not seen the key elsewhere.
    ///
    /// # Errors
    /// [`TransportError::Unusable`] where a transport cannot find out.
    fn discover<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Task<'a, Result<NodeId, TransportError>> {
        let why = format!("the key of the node at {host}:{port} is not known");
        Box::pin(std::future::ready(Err(TransportError::Unusable { why })))
    }

    /// Waits until the connections that were ended have told their peers so: what a program does before it ends.
    fn ended(&self) -> Task<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Who counts the handshakes of those that dial a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Counted {
    /// The listener, before they cost anything, until [`Connection::admit`].
    ByListener,
    /// The node, when the transport is done with them.
    ByNode,
}

/// Answers.
pub trait Listener: Send + Sync + 'static {
    /// The next connection; `None` when the listener was closed.
    ///
    /// Cancel-safe: a connection is given out or stays.
    fn accept(&self) -> Task<'_, Option<Arc<dyn Connection>>>;

    /// Where it listens, as others may dial it.
    fn local(&self) -> (String, u16);

    /// Takes no further connections. Those that stand live on.
    fn close(&self);

    /// Names who counts those that dial, once, before the first is accepted.
    fn guard(&self, _gate: &Arc<Gate>) -> Counted {
        Counted::ByNode
    }

    /// Waits until the connections have ended and their peers know it: what a node does before it ends.
    fn ended(&self) -> Task<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A connection to one peer. It lives while it, or one of its streams, is held; then it is closed with code 0.
pub trait Connection: Send + Sync + 'static {
    /// Opens a stream in both directions, waiting while the peer allows no further one. Cancel-safe. The peer learns of it with the first bytes, or with those of a stream that was opened later.
    fn open(&self) -> Task<'_, Result<Stream, TransportError>>;

    /// The next stream that the peer opened. Cancel-safe.
    fn accept(&self) -> Task<'_, Result<Stream, TransportError>>;

    /// Where the peer is, for limits; `None` in memory.
    fn peer(&self) -> Option<IpAddr>;

    /// The peer has shown above who it is: from now on it gets the full limits. Before, a transport may hold a dialling stranger to less memory and fewer streams.
    fn admit(&self) {}

    /// 32 bytes that both sides of this connection have and no other connection has: what a signature that authenticates a peer covers.
    fn binding(&self) -> [u8; 32];

    /// Ends the connection, for this side at once. The peer may learn the code and the reason, of which 256 bytes are sent. What was written and not yet delivered is
    /// lost, even on finished streams: who needs an answer waits for it before closing.
    fn close(&self, code: u32, why: &str);

    /// Waits for the end of the connection, whoever ends it.
    fn closed(&self) -> Task<'_, TransportError>;
}

/// A stream: what is written on one side is read on the other, in order.
pub struct Stream {
    /// Writes.
    pub send: Box<dyn SendHalf>,
    /// Reads.
    pub receive: Box<dyn ReceiveHalf>,
}

/// The writing side of a stream. Dropped without [`finish`](SendHalf::finish), the reader gets an error, never a clean end.
pub trait SendHalf: Send + Sync {
    /// Takes all bytes, waiting while the reader is behind. *Not* cancel-safe: a part may have been taken.
    fn write(&mut self, bytes: Bytes) -> Task<'_, Result<(), TransportError>>;

    /// No more bytes will come. Does not wait for the reader, and does not say whether it is still there.
    ///
    /// # Errors
    /// The stream was finished or reset on this side before, or the connection has ended.
    fn finish(&mut self) -> Result<(), TransportError>;

    /// Gives up at once: what was not delivered need not be.
    fn reset(&mut self, code: u32);
}

/// The reading side of a stream. Dropped, the writer is told to stop.
pub trait ReceiveHalf: Send + Sync {
    /// The next bytes, at least one and at most `max`; `None` at the clean end. Cancel-safe.
    fn read(&mut self, max: usize) -> Task<'_, Result<Option<Bytes>, TransportError>>;

    /// Tells the writer that nobody reads on.
    fn stop(&mut self, code: u32);
}

/// Why bytes do not move.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Nobody answers there, or not in time.
    #[error("{to} cannot be reached: {why}")]
    Unreachable {
        /// Where.
        to: String,
        /// The transport's words.
        why: String,
    },
    /// Somebody answers there who is not the node that was meant.
    #[error("{to} is not the node that was expected: it showed another key")]
    WrongNode {
        /// Where.
        to: String,
    },
    /// The peer ended the connection.
    #[error("the peer ended the connection: {why} (code {code})")]
    ClosedByPeer {
        /// Its code.
        code: u32,
        /// Its words, at most 256 bytes.
        why: String,
    },
    /// This side ended the connection.
    #[error("the connection was closed")]
    Closed,
    /// The peer gave the stream up: its writer reset it, or its reader stopped.
    #[error("the peer gave the stream up (code {code})")]
    Reset {
        /// Its code.
        code: u32,
    },
    /// The connection broke: nothing came for too long, or what came makes no sense.
    #[error("the connection broke: {why}")]
    Broken {
        /// The transport's words.
        why: String,
    },
    /// The endpoint cannot be used, whatever is done.
    #[error("{why}")]
    Unusable {
        /// What is wrong with it.
        why: String,
    },
}

/// The words that may cross: at most 256 bytes, cut at a character.
fn short(why: &str) -> String {
    why[..why.floor_char_boundary(256)].to_owned()
}

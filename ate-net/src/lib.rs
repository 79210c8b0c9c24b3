//! Transports, replication, commits and calls over the wire.
//!
//! # Place in the stack
//! Above `ate-crypto`, `ate-log` and `ate-chain`; below `ate`. Sockets and tokio live here and nowhere below.

pub mod calls;
pub mod conformance;
mod error;
mod framed;
mod host;
mod node;
mod node_id;
mod promise;
mod transport;
mod wire;

pub use error::NetError;
pub use host::{Act, Admission, Everybody, Host, Peer, Verdict};
pub use node::{Node, NodeLimits, NodeParts};
pub use wire::{RefusalCode, Standing};

pub use node_id::NodeId;
pub use transport::{
    Connection, Endpoint, Listener, MemoryListener, MemoryNetwork, MemoryTransport, QuicLimits,
    QuicListener, QuicTransport, ReceiveHalf, Retry, SendHalf, Stream, Task, Transport,
    TransportError,
};

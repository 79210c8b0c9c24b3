//! Transports, replication, commits and calls over the wire.
//!
//! # Place in the stack
//! Above `ate-crypto`, `ate-log` and `ate-chain`; below `ate`. Sockets and tokio live here and nowhere below.

pub mod calls;
mod node_id;
mod transport;

pub use node_id::NodeId;
pub use transport::{
    Connection, Endpoint, Listener, ReceiveHalf, SendHalf, Stream, Task, Transport, TransportError,
};

//! Transports, replication, commits and calls over the wire.
//!
//! # Place in the stack
//! Above `ate-crypto`, `ate-log` and `ate-chain`; below `ate`. Sockets and tokio live here and nowhere below.

mod address;
pub mod calls;
mod client;
pub mod conformance;
mod error;
mod framed;
mod gate;
mod host;
mod http;
mod limits;
mod metrics;
mod node;
mod node_id;
mod notebook;
mod promise;
mod transport;
mod wire;

pub use address::{
    ADDRESS_BYTES_MAX, AddressError, ChainAddress, DEFAULT_PORT, NodeAddress, decode_name,
    encode_name,
};
pub use client::{Client, Found, Link, LinkState, Remote, RemoteStatus, WeakRemote, Witnesses};
pub use error::NetError;
pub use gate::Gate;
pub use host::{Act, Admission, Everybody, Host, Peer, Verdict};
pub use http::{HTTP_HEAD_BYTES_MAX, HttpLimits, HttpServer, Pages};
pub use limits::{
    Concurrent, IpPrefix, LimitHit, LimitKind, Limiter, Limits, Permit, Rate, TokenBuckets,
};
pub use metrics::{
    Bounds, CommitRefusal, ConnectionRefusal, Counter, Counters, Counters2, Entered, Gauge,
    HandshakeEnd, Histogram, Label, LatencyMs, METRICS_CONTENT_TYPE, Metrics, RequestEnd,
    RequestKind, SizeBytes,
};
pub use node::{CallBoard, Node, NodeLimits, NodeParts, blocking};
pub use node_id::NodeId;
pub use notebook::{Evidence, Forgetful, Kept, Notebook};
pub use transport::{
    Connection, Counted, Endpoint, Listener, MemoryListener, MemoryNetwork, MemoryTransport,
    Passing, QuicLimits, QuicListener, QuicTransport, ReceiveHalf, Retry, SendHalf, SimConditions,
    SimListener, SimNetwork, SimTransport, Stream, Task, Transport, TransportError,
};
pub use wire::{RefusalCode, Standing};

//! A distributed, immutable, verifiable, end-to-end encrypted data store with a typed in-memory materialised view.
//!
//! This crate is the runtime and the front door: threads, clock, randomness, identity files, the handles that applications hold, and the executable.
//! Every change is a signed commit in a *chain* with its own root of trust. What you read was verified; what was acknowledged is on stable storage.
//!
//! # Place in the stack
//! The top: it uses all other crates and nothing uses it. Programs that need less depend on a layer: [`ate_view`] for an in-process database over a
//! log of their own, [`ate_chain`] for auditors, [`ate_log`] for any write-ahead log, [`ate_crypto`] for hybrid signatures.
//!
//! # Example
//! ```
//! use ate::prelude::*;
//!
//! #[derive(Serialize, Deserialize, Record)]
//! struct World { commandment: String }
//!
//! fn main() -> ate::Result<()> {
//!     let store = Store::in_memory()?;                // or Store::open("ate-data").wait()?
//!     let chain = store.chain("universe").wait()?;    // opens, or creates with this identity as its root
//!     let hello = chain.add(World { commandment: "Hello".into() }).wait()?;
//!     assert_eq!(chain.get(&hello).wait()?.commandment, "Hello");
//!     Ok(())
//! }
//! ```
//! Inside an async runtime write `.await?` in place of `.wait()?`: the same types, the same calls, any runtime.
//!
//! # Limits
//! Those of the layers: names of 1 to 1024 bytes, bodies up to 16 MiB, 65,536 events and 31 MiB a commit. One process writes a directory; any number read it.
//!
//! # Features
//! | feature | adds | default |
//! |---|---|---|
//! | `derive` | `#[derive(Record)]`, `#[derive(Shape)]` | yes |
//! | `net` | chains at addresses, serving, subscriptions and typed calls | no |
//! | `stream` | `futures_core::Stream` for subscriptions and streamed answers | no |
//! | `cli` | the executable `ate` | no |

mod ambient;
mod backup;
mod builder;
#[cfg(feature = "net")]
pub mod calls;
mod chains;
mod error;
mod inner;
mod keystore;
#[cfg(feature = "net")]
mod known_nodes;
mod maintenance;
#[cfg(feature = "net")]
mod network;
mod replicas;
mod rest;
mod salvage;
mod store;
mod upkeep;

pub use ate_chain as chain;
pub use ate_crypto as crypto;
pub use ate_log as log;
#[cfg(feature = "net")]
pub use ate_net as net;
pub use ate_view as view;

pub use ate_chain::{ChainId, Depth, Pending, Position, Proved, RecordKey, Version};
pub use ate_crypto::{Hash, Identity, KeyId, Seed, Who};
pub use ate_view::{
    AnyRecord, Chain, Change, CommitError, ConsumerInfo, Dao, Document, Durability, Expect, Json,
    Key, NamedEntry, ReadError, Receipt, Record, Shape, SubscribeError, Subscription, Transaction,
    View, Write,
};
pub use backup::{
    Backup, RepairedStore, RestoreStep, RestoredStore, Standing, backup, repair, restore,
};
pub use builder::{CACHE_BYTES, IDLE_BYTES_MAX, OPEN_CHAINS_MAX, REPLAY_BYTES_MAX, StoreBuilder};
pub use error::{Error, ErrorKind};
pub use keystore::Keystore;
#[cfg(feature = "net")]
pub use known_nodes::{
    CHECKPOINT_NOTE_BYTES_MAX, CHECKPOINTS_MAX, FirstUse, Kept, KeptCheckpoint, KnownNode,
    KnownNodes, KnownNodesError, NAMES_MAX, NODE_NOTE_BYTES_MAX, NODES_MAX, NamePin,
};
pub use salvage::Missing;
pub use store::{ChainInfo, Store, StoreInfo, Verified};
pub use upkeep::{Upkeep, UpkeepCounts};

#[cfg(feature = "net")]
pub use network::{ReplicaInfo, ReplicaStatus, ServeOptions, Serving};

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What most programs need.
pub mod prelude {
    #[cfg(feature = "net")]
    pub use crate::calls::ChainCalls;
    pub use crate::{Chain, Change, Dao, Key, Position, Receipt, Store, Transaction, View, Who};
    pub use ate_view::{Record, Shape};
    pub use serde::{Deserialize, Serialize};
}

/// What derived code names. Not for use by hand: it changes without notice.
#[doc(hidden)]
pub use ate_view::__private;

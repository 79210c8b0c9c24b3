//! Typed records, names and transactions as a state machine over verified commits.
//!
//! A [`Chain`] is a history as one identity sees it: records by [`Key`] or by name, each a [`Dao`] at one version; a [`Transaction`] becomes one commit or
//! nothing; a [`View`] stays at one position; a [`Subscription`] hands out each change once. It is **not** a store: files, clock, randomness and threads come from outside, through `ate-chain`; the crate
//! `ate` brings them.
//!
//! # Invariants
//! 1. A [`View`] shows confirmed commits only: verified and durable. A [`Chain`] that is a replica also shows what this store has staged, told by
//!    [`Dao::is_staged`]; that is never cached, and not seen any more when it is refused.
//! 2. Names and children are indexed, and outdated values dropped, before a commit is answered.
//! 3. Nothing calls the chain while it holds a lock that is taken under the chain's own: sessions, an index, a shard of the cache.
//! 4. A commit that was handed over is seen through, whether or not its [`ate_chain::Pending`] is kept.
//! 5. A replica may hold commits whose contents are elsewhere. Whatever gives a [`ate_chain::Pending`] fetches them without holding up a thread: `get`, `update`,
//!    `put`, `share` and commits that are sent again. [`Transaction::put`], [`Transaction::put_if`] and [`Transaction::set_writers`], where they have to read what
//!    stands there, and `document` wait on the calling thread, 60 s at most; not from a thread that the replica's own runtime needs. `peek`, `contains`, `names`,
//!    `children`, counts and history read no content and never wait.
//! 6. What a program does not know of a record is written back or the write is refused, never dropped.
//!
//! # Limits
//! Names and collections: 1 to [`NAME_BYTES_MAX`] bytes without control characters. Bodies: 16 MiB sealed. Commits: 31 MiB and 65,536 events, of which each
//! schema used for the first time in a scope takes one, and each read of a serializable transaction.
//!
//! What a record type looks like, and how one program reads what another wrote, is told at [`Record`], [`Descriptor`] and
//! [`Plan`]; the derive at [`macro@Record`].

mod cache;
mod chain;
mod commit;
mod dao;
mod document;
mod error;
mod index;
mod json;
mod key;
mod lacking;
mod merge;
mod offline;
mod prefetch;
mod receipt;
mod schema;
mod session;
mod staging;
mod subscription;
mod transaction;
mod view;
mod weak;
mod write;

pub use cache::ValueCache;
pub use chain::Chain;
pub use dao::Dao;
pub use document::{Document, NamedEntry};
pub use error::{BoxError, CommitError, KeyError, ReadError, SubscribeError, TransactError};
pub use key::{IntoKey, Key, Target};
pub use merge::{Merge, Merged};
pub use offline::RefusedRecord;
pub use prefetch::{Coverage, Keeper, Prefetch, Progress};
pub use receipt::{Durability, Receipt};
pub use session::NAME_BYTES_MAX;
pub use subscription::{AnyRecord, Change, ConsumerInfo, LAG_COMMITS_MAX, Subscription};
pub use transaction::{Conflict, ConflictingRecord, Expect, Transaction};
pub use view::View;
pub use weak::WeakChain;
pub use write::Write;

pub use json::{FieldTextError, JSON_DEPTH_MAX, Json, JsonError, JsonFault};
pub use schema::{
    Codec, DESCRIPTOR_BYTES_MAX, DecodeError, Definition, DefinitionKind, Descriptor,
    DescriptorError, EncodeError, Encoded, FIELDS_MAX, Field, Hash, NewerSchema, Payload, Plan,
    Record, SCHEMA_NAME_BYTES_MAX, Shape, TYPE_DEPTH_MAX, TYPES_MAX, Type, Types, Unknown, Variant,
    check_round_trip, decode, encode, encode_spliced, to_json, unknown_of,
};

#[cfg(feature = "derive")]
pub use ate_derive::{Record, Shape};

/// What derived code names. Not for use by hand: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use crate::schema::{
        Codec, DecodeError, Definition, EncodeError, Field, FieldReader, FieldWriter, Known,
        Payload, Record, Shape, Type, Types, Variant, default_bytes,
    };
    pub use serde;
    pub use std::option::Option;
    pub use std::result::Result;
    pub use std::string::String;
    pub use std::vec::Vec;
}

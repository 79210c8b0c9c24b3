//! Verify, order and prove signed commits against a root of trust.
//!
//! A *chain* is a named history of signed commits with its own root of trust, Merkle tree and record table. This crate seals what an author means to
//! change, judges every commit by rules that are a pure function of the chain's state, makes commits durable through [`ate_log::Log`], and replays and
//! proves a whole history again. It **is not** typed (that is `ate-view`), it reads no clock and draws no randomness of its own.
//!
//! # Place in the stack
//! Above `ate-crypto` and `ate-log`; below `ate-view`, `ate-auth` and `ate-net`.
//!
//! # Invariants
//! 1. **No unverified commit is judged, and no unjudged commit changes the state.** `Commit<Verified>` comes only from checking hashes or from sealing.
//! 2. **Nothing is confirmed before `Log::sync` returned.** Readers, observers, checkpoints and answers see confirmed state only.
//! 3. **State at position p depends on nothing later**, and on no clock: order time stands in the leaf.
//! 4. **Rights come from the state before the commit**, from stored parents, never from what an event claims.
//! 5. **Bytes from the log are believed only through a hash that the state holds**, however often they were read before.
//! 6. **A seal's salt is drawn when the commit is sealed**; a changed commit is sealed anew.
//! 7. **A load verifies every hash and rule, and each signature that nothing later covers**; [`Depth::Deep`] verifies every signature.
//!
//! # Limits
//! | what | limit |
//! |---|---|
//! | events in a commit | 65,536 |
//! | bytes of a commit | 31 MiB |
//! | content of a record | 16 MiB |
//! | name, collection | 1,024 bytes |
//! | depth of records | 64 |
//! | lanes of an author | 256, the least recently used is dropped |
//! | commits in a chain | 2^32 |
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use ate_chain::*;
//! use ate_crypto::{Identity, Seed, SeededRandom, sha256};
//!
//! struct Noon;
//! impl Clock for Noon {
//!     fn now_ms(&self) -> u64 { 1_700_000_000_000 }
//! }
//!
//! let random = Arc::new(SeededRandom::new(7)); // programs pass the operating system's
//! let identity = Identity::from_seed(&Seed::generate(&*random));
//! let log = Arc::new(ate_log::MemLog::new());
//! let committer = Committer::new(log.clone(), Arc::new(Noon), random, None, [1; 16]);
//! let chain = Local::create(&committer, "universe", &identity)?;
//!
//! // A schema is defined once for each scope; then records refer to it.
//! let author = chain.author(&identity);
//! let schema = sha256(&[b"any descriptor"]);
//! let mut draft = Draft::new(author.clone());
//! let define = CreateOptions { defines: true, ..CreateOptions::default() };
//! draft.create(RecordKey::ROOT, "schema", Some("text"), &schema, b"any descriptor".to_vec(), define)?;
//! let key = draft.create(RecordKey::ROOT, "notes", Some("first"), &schema, b"hello".to_vec(), CreateOptions::default())?;
//! let committed = chain.commit(draft)?.wait()?;
//! assert_eq!(committed.position(), Position(2)); // the genesis came first
//! assert_eq!(chain.open_content(&author, &key)?.content, b"hello");
//!
//! // Anybody who holds the log can prove it all again.
//! let (proved, position, _root) = Local::verify(&*log, chain.chain(), Depth::Deep, |_| {})?;
//! assert_eq!((position, proved.commits), (Position(2), 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//! None.

mod batch;
mod bodies;
mod cache;
mod checkpoint;
mod codec;
mod commit;
mod committer;
mod common;
mod directory;
mod dismiss;
mod draft;
mod erasure;
mod error;
mod event;
mod fetched;
mod flight;
mod follow;
mod genesis;
mod head;
mod history;
mod ids;
mod intern;
mod keyring;
mod layered;
mod load;
mod local;
mod mark;
mod names;
mod observe;
mod outbox;
mod overlay;
mod pending;
mod policy;
mod ports;
mod proof;
mod read;
mod refused;
mod replay;
mod replica;
mod rest;
mod rules;
mod scope;
mod seal;
mod sequencer;
mod settle;
mod slot;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod walk;
mod watch;
mod witness;

pub use batch::{Batch, Claimed};
pub use checkpoint::Checkpoint;
pub use committer::{Committed, Committer};
pub use directory::{Directory, DirectoryEntry};
pub use draft::{Author, CreateOptions, Draft, NAME_BYTES_MAX, Readers, parse_meta};
pub use erasure::rest_name;
pub use error::{
    BatchError, CheckpointError, EraseError, FollowError, FormatError, MarkError, OpenError,
    ReadError, Reject, SealError, SubmitError,
};
pub use event::{
    BodyHash, CHAIN_NAME_BYTES_MAX, CONTENT_BYTES_MAX, Change, EventHead, Genesis, Grant,
    META_BYTES_MAX, Rotate,
};
pub use fetched::{Dropped, SealedContents};
pub use follow::{Contents, ShowFrom, ShownFrame};
pub use head::{
    CommitHead, EVENTS_MAX, FORMAT_VERSION, KeyCommitment, RULE_VERSION, Seen, chain_leaf,
    commit_id,
};
pub use history::{HistoryEntry, Kept};
pub use ids::{
    ChainId, CollectionTag, Epoch, LaneId, Position, RecordKey, Ref, SchemaTag, Version,
};
pub use local::{Local, RecordInfo};
pub use mark::{MARK_NAME_BYTES_MAX, Mark};
pub use names::FoundName;
pub use observe::{ConfirmedCommit, RowChange, SealedName};
pub use outbox::{CommitOutcome, Placed, StagedInfo, Submission};
pub use overlay::NO_SLOT;
pub use pending::{Pending, Source};
pub use policy::{POLICY_KEYS_MAX, ReadPolicy, WritePolicy};
pub use ports::{Clock, Observer, Spawn};
pub use proof::{BATCH_COMMITS_MAX, Proof, batch_leaf, commits_root};
pub use read::{CommitInfo, Opened};
pub use refused::RefusedCommit;
pub use replay::{Depth, Proved};
pub use replica::{ContentId, FetchError, Upstream, Wanted};
pub use rest::{Rest, VERIFIER_VERSION};
pub use rules::DEPTH_MAX;
pub use seal::Sealed;
pub use sequencer::Sequencer;
pub use settle::Answered;
pub use state::LANES_MAX;
pub use table::{KeyHasher, KeyMap, KeyState, Slot};
pub use witness::WitnessError;

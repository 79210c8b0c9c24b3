//! What can go wrong, by family of operation.

use ate_chain::{
    EraseError, Position, RecordKey, Reject, SealError, SubmitError, Version, WitnessError,
};
use ate_crypto::Hash;

use crate::receipt::{Durability, Receipt};
use crate::schema::{DecodeError, DescriptorError, EncodeError, NewerSchema};
use crate::transaction::Conflict;

/// Text that is not a key: 32 hexadecimal digits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has 32 hexadecimal digits")]
pub struct KeyError;

/// Why a record cannot be had. The view is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No such record at this position.
    #[error("no record `{name}`")]
    NotFound {
        /// Name or key that was asked for.
        name: String,
    },
    /// The record was erased: its contents and its name from before are gone for good.
    #[error("record `{name}` was erased: what it held is gone for good")]
    Erased {
        /// Name or key that was asked for.
        name: String,
    },
    /// The version was superseded before the chain's horizon, and its content is not kept.
    #[error(
        "this version of record `{name}` is gone: the chain keeps no content that was superseded before position {horizon}"
    )]
    Dropped {
        /// Name or key that was asked for.
        name: String,
        /// The chain's horizon.
        horizon: Position,
    },
    /// The record is of another type, or of a version that this program cannot read.
    #[error("record `{name}` cannot be read as asked")]
    Schema {
        /// Name or key.
        name: String,
        /// Why.
        source: DecodeError,
    },
    /// The stored descriptor of the record's schema is missing or damaged.
    #[error("the schema of record {key} is missing or damaged")]
    Descriptor {
        /// Record.
        key: RecordKey,
        /// Why, if it was found.
        source: Option<DescriptorError>,
    },
    /// A name that no record can have.
    #[error("`{name}` is not a name: 1 to 1024 bytes without control characters")]
    Name {
        /// As given.
        name: String,
    },
    /// A collection that no record can be in.
    #[error(
        "`{collection}` is not a collection: 1 to 1024 bytes without control characters, not beginning with `ate.`"
    )]
    Collection {
        /// As given.
        collection: String,
    },
    /// The chain's error: damage, or a key that is not held.
    #[error(transparent)]
    Chain(#[from] ate_chain::ReadError),
}

/// How a commit ended without a receipt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Somebody else changed what the transaction depends on. Nothing was written, and nothing is lost: the transaction is inside.
    #[error("record {} was changed by somebody else", .0.key())]
    Conflict(Box<Conflict>),
    /// Refused by the chain's rules, for good. Nothing was written.
    #[error("refused by the chain: {reason}")]
    Rejected {
        /// The rule.
        reason: Reject,
    },
    /// It was handed to the disk and the answer was lost. Ask for its outcome ([`crate::Chain::outcome`]) when the store is open again, or, on a replica, when it
    /// has reached its node again: its lane number is used once, so it is in the order once or never, and a later number of the same lane in the order settles
    /// which. Writing it again before that may write it twice.
    #[error("the outcome of commit {commit} is unknown: {why}")]
    Unknown {
        /// Commit id.
        commit: Hash,
        /// What happened.
        why: String,
    },
    /// The store cannot write. Nothing was written.
    #[error(transparent)]
    Store(SubmitError),
    /// A record that the transaction needs cannot be read. Nothing was written.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A value cannot be stored. Nothing was written.
    #[error(transparent)]
    Encode(EncodeError),
    /// The stored record holds what this program does not know and would lose. Nothing was written.
    #[error(transparent)]
    NewerSchema(#[from] NewerSchema),
    /// The commit cannot be sealed: a key is not held, or a limit is exceeded. Nothing was written.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A record stands under this name although none may.
    #[error("record `{name}` exists, at version {version}")]
    Exists {
        /// Name or key.
        name: String,
        /// Its version.
        version: Version,
    },
    /// The record is not at the version that the caller demands.
    #[error("record `{name}` is not at version {expected}")]
    NotAtVersion {
        /// Name or key.
        name: String,
        /// Demanded.
        expected: Version,
        /// Stored; `None` if there is none.
        stored: Option<Version>,
    },
    /// The transaction changes the record in another way already: one commit changes a record once.
    #[error("record {key} is changed by this transaction already")]
    Staged {
        /// Record.
        key: RecordKey,
    },
    /// The erasure is committed, and nobody reads what was erased; but the bytes could not be destroyed yet. They are tried again when the store is closed and
    /// when it is opened, and by [`ate_chain::Local::finish_erasures`].
    #[error("committed at position {}, but the erased bytes are not destroyed yet", .receipt.position)]
    NotDestroyed {
        /// The receipt of the commit.
        receipt: Box<Receipt>,
        /// Why.
        source: EraseError,
    },
    /// The commit is in the chain's order and durable where that is made; but too few witnesses have signed for it in time. It needs no second commit: ask again
    /// with [`crate::Chain::witnessed`].
    #[error("committed at position {}, but not witnessed: {source}", .receipt.position)]
    Unwitnessed {
        /// The receipt of the commit.
        receipt: Box<Receipt>,
        /// Why.
        source: WitnessError,
    },
    /// No commit of this chain reaches the durability that was asked for. Nothing was written.
    #[error("no commit of this chain reaches {asked:?}: it reaches {reached:?}")]
    Durability {
        /// Asked for.
        asked: Durability,
        /// What its commits reach.
        reached: Durability,
    },
    /// The transaction was committed already, or holds nothing.
    #[error("the transaction is {state}")]
    Spent {
        /// What it is.
        state: &'static str,
    },
}

impl From<EncodeError> for CommitError {
    /// What a newer program stored has an error of its own.
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::NewerSchema(newer) => Self::NewerSchema(newer),
            error => Self::Encode(error),
        }
    }
}

/// An error of the caller's own, in a transaction closure.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How [`crate::Chain::transact`] ended without a receipt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactError {
    /// The closure ended it; nothing was written.
    #[error(transparent)]
    Own(BoxError),
    /// The commit failed, or conflicted too often.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Why a subscription has no next change, or a durable consumer no place. The subscription stays where it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The chain cannot be read there.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A consumer of this name runs in this process already.
    #[error("consumer `{name}` runs already")]
    Running {
        /// Its name.
        name: String,
    },
    /// The place of a durable consumer cannot be kept or found.
    #[error(transparent)]
    Mark(#[from] ate_chain::MarkError),
}
